/* SPDX-License-Identifier: BSD-2-Clause */
/* time.c: the TSC as the clock, the local APIC's timer as the tick, both calibrated in one window of at most 1 ms. */
#include "kernel/time.h"

#include <stddef.h>

#include "drivers/clocks.h"
#include "drivers/lapic.h"
#include "kernel/acpi.h"
#include "kernel/cpu.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/trap.h"

#define NS_PER_S   1000000000ULL
#define HZ_ASSUMED 1000000000ULL    /* when nothing in the machine tells */
#define WINDOWS_PER_S 1000          /* of 1 ms */
#define READINGS     5
#define WINDOW_LIMIT 20000000ULL    /* TSC ticks: a clock that has not passed a window by then stands still */

typedef unsigned __int128 uint128;

static uint64_t hz;
static uint64_t base;               /* TSC at time_init */
static uint64_t ns_factor;          /* nanoseconds of a TSC tick, times 2^32 */
static uint64_t timer_factor;       /* ticks of the APIC timer in a nanosecond, times 2^32; 0: no timer */

/* CPUID 15h, and 16h for the processors whose 15h leaves the crystal out (SDM volume 3, 19.7.3). */
static uint64_t hz_from_cpuid(void)
{
    struct cpuid ratio = cpuid_or_zero(0x15, 0);
    if (ratio.eax == 0 || ratio.ebx == 0)
        return 0;
    if (ratio.ecx != 0)
        return (uint64_t)ratio.ecx * ratio.ebx / ratio.eax;
    return (uint64_t)(cpuid_or_zero(0x16, 0).eax & 0xffff) * 1000000;
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return (uint64_t)((uint128)ticks * ns_factor >> 32);
}

uint64_t tsc_of_ns(uint64_t ns)
{
    return ns * (hz / 1000) / 1000000;
}

/* All three at one moment. */
struct reading {
    uint64_t tsc, clock;
    uint32_t timer;
};

/* The quickest of a few: the others were interrupted, by SMM or by the machine around an emulated one. */
static struct reading read_all(const struct clock *clock)
{
    struct reading best = { 0 };
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < READINGS; i++) {
        struct reading r = { .tsc = rdtsc() };
        r.clock = clock->read();
        r.timer = lapic_timer_count();
        uint64_t took = rdtsc() - r.tsc;
        if (took < least) {
            least = took;
            best = r;
        }
    }
    return best;
}

/* How far each went in the window. */
struct window {
    uint64_t tsc, clock;
    uint32_t timer;
};

/* Watches the clock for a millisecond.  false: it stands still. */
static bool watch(const struct clock *clock, struct window *w)
{
    uint64_t wanted = clock->hz / WINDOWS_PER_S;
    struct reading first = read_all(clock);
    while (((clock->read() - first.clock) & clock->mask) < wanted && rdtsc() - first.tsc < WINDOW_LIMIT)
        ;
    struct reading last = read_all(clock);
    *w = (struct window){ last.tsc - first.tsc, (last.clock - first.clock) & clock->mask, first.timer - last.timer };
    return w->clock >= wanted;
}

static uint64_t tsc_read(void)
{
    return rdtsc();
}

static bool find_pm_timer(struct clock *clock)
{
    const struct acpi_power *power = acpi_power();
    const struct acpi_address *a = &power->pm_timer;
    volatile void *registers = NULL;
    if (a->address == 0 || (a->space == ACPI_SPACE_IO && a->address > UINT16_MAX) || a->space > ACPI_SPACE_IO)
        return false;
    if (a->space == ACPI_SPACE_MEMORY && (registers = map_registers(a->address, sizeof(uint32_t))) == NULL)
        return false;
    clock_pm_timer(registers, (uint16_t)a->address, power->pm_timer_32, clock);
    return true;
}

static bool find_hpet(struct clock *clock)
{
    uint64_t phys = acpi_hpet();
    volatile void *registers = phys == 0 ? NULL : map_registers(phys, 1024);
    return registers != NULL && clock_hpet(registers, clock);
}

static bool find_pit(struct clock *clock)
{
    clock_pit(clock);
    return true;
}

/* hz from the first clock that runs; *by: its name. */
static bool measure(struct window *w, const char **by)
{
    static bool (*const find[])(struct clock *) = { find_hpet, find_pm_timer, find_pit };
    struct clock clock;
    for (unsigned i = 0; i < sizeof(find) / sizeof(find[0]); i++) {
        if (!find[i](&clock))
            continue;
        if (watch(&clock, w)) {
            hz = w->tsc * clock.hz / w->clock;
            *by = clock.name;
            return true;
        }
        log_line("clock: the %s stands still", clock.name);
    }
    return false;
}

void time_init(void)
{
    struct window w = { 0 };
    const char *by = "CPUID";
    uint64_t phys = lapic_registers();
    bool timer = lapic_init(phys == 0 ? NULL : map_registers(phys, PAGE_SIZE));
    lapic_timer_start(UINT32_MAX, 0);

    hz = hz_from_cpuid();
    struct clock tsc = { "TSC", hz, UINT64_MAX, tsc_read };
    if (hz != 0)
        watch(&tsc, &w);
    else if (!measure(&w, &by) || hz == 0) {
        hz = HZ_ASSUMED;
        log_line("clock: nothing to measure the TSC with, taken to run at 1 GHz");
    }
    ns_factor = (NS_PER_S << 32) / hz;
    base = rdtsc();

    uint64_t window_ns = tsc_to_ns(w.tsc);
    if (timer && window_ns != 0)
        timer_factor = ((uint64_t)w.timer << 32) / window_ns;
    log_line("clock: TSC at %llu.%03llu MHz (%s)", (unsigned long long)(hz / 1000000), (unsigned long long)(hz / 1000 % 1000), by);
    if (timer_factor == 0)
        log_line("clock: no local APIC timer, so a guest keeps the CPU for as long as it likes");
}

uint64_t tsc_hz(void)
{
    return hz;
}

uint64_t time_ns(void)
{
    return ns_factor == 0 ? 0 : tsc_to_ns(rdtsc() - base);
}

void tick_arm(uint64_t ns)
{
    uint128 count = (uint128)ns * timer_factor >> 32;
    if (timer_factor != 0)
        lapic_timer_start(count == 0 ? 1 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count, VECTOR_TICK);
}
