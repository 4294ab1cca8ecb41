/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/clocks.h"

#include <stddef.h>

#include "kernel/cpu.h"

#define HPET_CAPABILITIES  0x000    /* 63:32: femtoseconds of a tick */
#define   HPET_COUNTER_64     (1ULL << 13)
#define HPET_CONFIGURATION 0x010
#define   HPET_ENABLE         (1ULL << 0)
#define   HPET_LEGACY         (1ULL << 1)
#define HPET_COUNTER       0x0f0
#define HPET_MAX_PERIOD    100000000u /* IA-PC HPET specification 2.3.4: at least 10 MHz */
#define FEMTOSECONDS       1000000000000000ULL

#define PM_TIMER_HZ 3579545u

#define PIT_HZ      1193182u
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND  0x43
#define   PIT_CHANNEL2_MODE0 0xb0   /* both bytes */
#define   PIT_CHANNEL2_LATCH 0x80
#define PIT_GATE     0x61
#define   PIT_GATE_ON         0x01
#define   PIT_SPEAKER         0x02

static volatile uint8_t *hpet;
static volatile uint32_t *pm_timer;
static uint16_t pm_timer_port;

static uint64_t hpet_read(void)
{
    return *(volatile uint32_t *)(hpet + HPET_COUNTER);
}

bool clock_hpet(volatile void *registers, struct clock *clock)
{
    hpet = registers;
    uint32_t period = *(volatile uint32_t *)(hpet + HPET_CAPABILITIES + 4);
    if (period == 0 || period > HPET_MAX_PERIOD)
        return false;
    volatile uint32_t *configuration = (volatile uint32_t *)(hpet + HPET_CONFIGURATION);
    *configuration = (*configuration | HPET_ENABLE) & ~(uint32_t)HPET_LEGACY;
    *clock = (struct clock){ "HPET", FEMTOSECONDS / period, UINT32_MAX, hpet_read };
    return true;
}

static uint64_t pm_timer_read(void)
{
    return pm_timer != NULL ? *pm_timer : in32(pm_timer_port);
}

void clock_pm_timer(volatile void *registers, uint16_t port, bool wide, struct clock *clock)
{
    pm_timer = registers;
    pm_timer_port = port;
    *clock = (struct clock){ "ACPI PM timer", PM_TIMER_HZ, wide ? UINT32_MAX : 0xffffff, pm_timer_read };
}

static uint64_t pit_read(void)
{
    out8(PIT_COMMAND, PIT_CHANNEL2_LATCH);
    uint16_t low = in8(PIT_CHANNEL2);
    uint16_t high = in8(PIT_CHANNEL2);
    return (uint16_t)-(high << 8 | low);    /* it counts down */
}

void clock_pit(struct clock *clock)
{
    out8(PIT_GATE, (in8(PIT_GATE) & ~PIT_SPEAKER) | PIT_GATE_ON);
    out8(PIT_COMMAND, PIT_CHANNEL2_MODE0);
    out8(PIT_CHANNEL2, 0);
    out8(PIT_CHANNEL2, 0);
    *clock = (struct clock){ "8254", PIT_HZ, 0xffff, pit_read };
}
