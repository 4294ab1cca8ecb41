/* SPDX-License-Identifier: BSD-2-Clause */
/* vector.h: vector registers as bytes, as wide as XCR0 makes them. */
#ifndef GUESTS_CPU_CHECK_VECTOR_H
#define GUESTS_CPU_CHECK_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_BYTES (32 * 64)  /* 32 registers of 64 bytes at most */

static inline uint64_t xgetbv(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static inline void xsetbv(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(0));
}

/* Sets CR4.OSXSAVE and XCR0 to all that CPUID offers; false: no XSAVE. */
bool vector_enable(uint64_t *offered);
/* Bytes of all vector registers with this XCR0. */
unsigned vector_size(uint64_t xcr0);
void vector_put(uint64_t xcr0, const uint8_t *bytes);
void vector_take(uint64_t xcr0, uint8_t *bytes);

/* What XSAVE alone reaches at once: the parts of AVX, AVX-512's masks among them, and AMX's tiles.  Each as XSAVE has it in memory. */
#define XSAVE_BYTES 16384
/* Are all as after power-on?  xcr0: as it is now. */
bool components_are_initial(uint64_t xcr0);
/* Fills all with a pattern; then: a bit for each that is not so any more.  The same pattern in both. */
void components_put(uint64_t xcr0, uint64_t pattern);
uint64_t components_changed(uint64_t xcr0, uint64_t pattern);

#endif
