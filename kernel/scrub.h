/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NIDUS_SCRUB_H
#define NIDUS_SCRUB_H

#include <stdint.h>

/* Zeroes memory past the caches, so that a device that does not snoop finds zeroes too.  to: 16-byte aligned;
 * size: a multiple of 256, not 0. */
void memory_scrub(void *to, uint64_t size);

#endif
