/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/clock.h"

#include "guests/runtime/call.h"

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL
#define SPINS     2000u         /* looks before the CPU is given away: a short transfer needs no tick */

uint64_t clock_ns(void)
{
    uint64_t hz = guest_info->tsc_hz, ticks;
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    ticks = ((uint64_t)high << 32) | low;
    /* In two parts: ticks * 10^9 would not fit. */
    return ticks / hz * NS_PER_S + ticks % hz * NS_PER_S / hz;
}

bool wait_until(bool (*done)(void *context), void *context, unsigned ms)
{
    uint64_t deadline = clock_ns() + ms * NS_PER_MS;

    for (unsigned i = 0; i < SPINS; i++) {
        if (done(context))
            return true;
        cpu_pause();
    }
    while (clock_ns() < deadline) {
        if (done(context))
            return true;
        cpu_yield();
    }
    return done(context);
}
