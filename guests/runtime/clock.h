/* SPDX-License-Identifier: BSD-2-Clause */
/* clock.h: time from the TSC, and waiting with a bound. */
#ifndef GUESTS_RUNTIME_CLOCK_H
#define GUESTS_RUNTIME_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds since the TSC began. */
uint64_t clock_ns(void);

/* Gives the CPU to the other guests until the next tick. */
static inline void cpu_yield(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* Waits, at most `ms` milliseconds, until done(context).  The last word has done: false only when it still says no at the
 * end.  Spins for a moment, then yields between looks. */
bool wait_until(bool (*done)(void *context), void *context, unsigned ms);

#endif
