/* SPDX-License-Identifier: BSD-2-Clause */
/* remap.h: interrupt remapping (VT-d 5.10 chapter 5).  Compatibility format is blocked, and the table is empty but for entries that
 * each let one source-id raise one vector: no device raises another interrupt by a write to FEEx_xxxx. */
#ifndef NIDUS_REMAP_H
#define NIDUS_REMAP_H

#include <stdbool.h>
#include <stdint.h>

struct unit;

bool remap_alloc(struct unit *u);       /* false: no memory */
/* Turns off what firmware left.  The queue may be anybody's. */
bool remap_stop(struct unit *u);
/* The queue works.  false: the unit does not answer. */
bool remap_start(struct unit *u);

/* Lets source_id, and no other, raise vector (fixed, edge) on the local APIC destination.  The entry's index, which its requests carry;
 * -EINVAL: destination above 255; -ENOSPC: no entry is free; -EIO. */
int remap_take(struct unit *u, uint16_t source_id, uint8_t vector, uint32_t destination);
/* Takes it away: when it returns 0 the unit raises nothing more by it.  -EIO. */
int remap_give(struct unit *u, unsigned index);

#endif
