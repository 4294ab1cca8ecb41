/* SPDX-License-Identifier: BSD-2-Clause */
/* time.h: the clock (TSC, calibrated at boot) and the one-shot tick. */
#ifndef NIDUS_TIME_H
#define NIDUS_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Calibrates the TSC: CPUID 15h/16h where they say it, else against HPET or the ACPI PM timer. */
void time_init(void);
uint64_t tsc_hz(void);
uint64_t tsc_to_ns(uint64_t ticks);
/* At most some seconds. */
uint64_t tsc_of_ns(uint64_t ns);
/* Nanoseconds since time_init, never backwards. */
uint64_t time_ns(void);

/* Asks for the tick interrupt in ns nanoseconds, once. */
void tick_arm(uint64_t ns);

#endif
