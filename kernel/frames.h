/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frames.h: how memory.c fills the frame allocator.
 *
 * A zone is a run of RAM.  Free blocks of 2^order pages are chained through their own first bytes; one bit a page
 * in the zone tells the head of a free block, so that no content of a page in use can pass for one.  That is all
 * the bookkeeping: 32 MiB for a terabyte, and filling costs one step for each GiB.
 */
#ifndef NIDUS_FRAMES_H
#define NIDUS_FRAMES_H

#include <stdint.h>

#define FRAMES_MAX_ORDER 18u
#define FRAMES_MAX_ZONES 512u

/* Bytes of the bitmap of a zone. */
static inline uint64_t frames_heads_bytes(uint64_t pages)
{
    return (pages + 63) / 64 * 8;
}

/* Zones come in ascending order.  heads: frames_heads_bytes(pages), zeroed.  Nothing of the zone is free yet. */
void frames_add_zone(uint64_t base, uint64_t pages, uint64_t *heads);
/* Frees [base, base + size), part of a zone, in page units. */
void frames_add(uint64_t base, uint64_t size);

#endif
