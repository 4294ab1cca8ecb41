/* SPDX-License-Identifier: BSD-2-Clause */
/* bits.h: fields of words, named by the bit ranges that the specification prints. */
#ifndef VTD_MODEL_BITS_H
#define VTD_MODEL_BITS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool bit(uint64_t word, unsigned n)
{
    return word >> n & 1;
}

/* Bits hi:lo, all 64 at most. */
static inline uint64_t mask(unsigned hi, unsigned lo)
{
    return UINT64_MAX >> (63 - hi) & UINT64_MAX << lo;
}

static inline uint64_t field(uint64_t word, unsigned hi, unsigned lo)
{
    return (word & mask(hi, lo)) >> lo;
}

static inline uint64_t place(uint64_t value, unsigned hi, unsigned lo)
{
    return value << lo & mask(hi, lo);
}

/* Is value below 2^width? */
static inline bool fits(uint64_t value, unsigned width)
{
    return width >= 64 || value >> width == 0;
}

#endif
