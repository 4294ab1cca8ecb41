/* SPDX-License-Identifier: BSD-2-Clause */
/* remap.h: interrupt remapping (VT-d 5.10 chapter 5).  The table is empty and compatibility format is blocked: no device can raise
 * an interrupt by a write to FEEx_xxxx. */
#ifndef NIDUS_REMAP_H
#define NIDUS_REMAP_H

#include <stdbool.h>

struct unit;

bool remap_alloc(struct unit *u);       /* false: no memory */
/* Turns off what firmware left.  The queue may be anybody's. */
bool remap_stop(struct unit *u);
/* The queue works.  false: the unit does not answer. */
bool remap_start(struct unit *u);

#endif
