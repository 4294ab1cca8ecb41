/* SPDX-License-Identifier: BSD-2-Clause */
/* clocks.h: clocks whose rate is known, to measure others with: HPET, ACPI PM timer, 8254. */
#ifndef NIDUS_DRIVERS_CLOCKS_H
#define NIDUS_DRIVERS_CLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct clock {
    const char *name;
    uint64_t hz;
    uint64_t mask;              /* of the bits that count; it wraps to 0 */
    uint64_t (*read)(void);
};

/* registers: 1 KiB, mapped.  false: what they say is no HPET. */
bool clock_hpet(volatile void *registers, struct clock *clock);
/* registers: mapped, or NULL and an I/O port. */
void clock_pm_timer(volatile void *registers, uint16_t port, bool wide, struct clock *clock);
/* Channel 2, which no interrupt hangs on; wraps after 54 ms. */
void clock_pit(struct clock *clock);

#endif
