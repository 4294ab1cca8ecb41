/* SPDX-License-Identifier: BSD-2-Clause */
/* 6: the APIC's timer in its three modes, and HLT. */
#include "guests/cpu-check/apic.h"
#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/call.h"
#include "guests/runtime/check.h"
#include "guests/runtime/clock.h"

#define TIMER   0x81
#define SECOND  1000000000ull

static uint64_t ticks_of_ms(unsigned ms)
{
    return guest_info->tsc_hz / 1000 * ms;
}

/* TSC ticks as counts of the timer, divided by 1. */
static uint32_t count_of(uint64_t ticks)
{
    struct cpuid ratio = cpuid(0x15, 0);

    return (uint32_t)(ratio.eax && ratio.ebx ? ticks * ratio.eax / ratio.ebx : ticks);
}

/* Until there were n interrupts, or for five seconds; in HLT, or running. */
static bool wait_for(unsigned n, bool halt)
{
    uint64_t end = clock_ns() + 5 * SECOND;

    while (*(volatile unsigned *)&trap_count < n && clock_ns() < end) {
        if (halt)
            __asm__ volatile("sti; hlt; cli" : : : "memory");
        else
            __asm__ volatile("sti; nop; pause; cli" : : : "memory");
    }
    return trap_count == n;
}

static void one_shot(bool halt, const char *how)
{
    uint64_t begin;

    trap_forget();
    wrmsr(APIC_LVT_TIMER, TIMER);
    begin = rdtsc();
    wrmsr(APIC_INITIAL, count_of(ticks_of_ms(12)));
    check(wait_for(1, halt) && trap_log[0] == TIMER && rdtsc() - begin >= ticks_of_ms(12) - 2 && rdmsr(APIC_CURRENT) == 0,
          "one-shot, %s: one interrupt, not before its time", how);
}

static void deadline(bool halt, const char *how)
{
    uint64_t when = rdtsc() + ticks_of_ms(60000);   /* it is still to come, however slow the machine is */

    trap_forget();
    wrmsr(APIC_LVT_TIMER, LVT_DEADLINE | TIMER);
    wrmsr(TSC_DEADLINE, when);
    check(rdmsr(TSC_DEADLINE) == when, "TSC-deadline, %s: the MSR holds it", how);
    when = rdtsc() + ticks_of_ms(12);
    wrmsr(TSC_DEADLINE, when);
    check(wait_for(1, halt) && trap_log[0] == TIMER && rdtsc() >= when && rdmsr(TSC_DEADLINE) == 0,
          "TSC-deadline, %s: one interrupt, not before its time, and the MSR is 0", how);
}

/* HLT lasts until there is an interrupt: one is enough. */
static void halt_once(void)
{
    uint64_t when = rdtsc() + ticks_of_ms(23);

    trap_forget();
    wrmsr(TSC_DEADLINE, when);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    check(trap_count == 1 && rdtsc() >= when, "one HLT lasts until the interrupt, however many ticks of nidus pass");
    trap_forget();
    wrmsr(APIC_SELF_IPI, 0x42);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    check(trap_count == 1, "STI; HLT with an interrupt waiting: HLT is left at once");
    trap_forget();
    __asm__ volatile("hlt" : : : "memory");
    check(trap_count == 0, "HLT with interrupts off gives the CPU away and comes back");
}

/* Periods of 7 ms during an EVENT_WAIT of 200: were they taken at its end, there would be one.  (A machine that stands still for
 * periods has fewer interrupts.) */
static void waiting(void)
{
    struct nidus_event_wait wait = { .size = sizeof(wait), .timeout_ns = 200000000 };
    uint64_t begin = rdtsc(), took;
    int error;

    trap_forget();
    wrmsr(APIC_LVT_TIMER, LVT_PERIODIC | TIMER);
    wrmsr(APIC_INITIAL, count_of(ticks_of_ms(7)));
    interrupts_on();
    error = nidus_call(NIDUS_CALL_EVENT_WAIT, &wait, 0);
    interrupts_off();
    took = rdtsc() - begin;
    wrmsr(APIC_INITIAL, 0);
    check(error == 0 && trap_count >= 3 && took >= ticks_of_ms(200), "EVENT_WAIT takes interrupts meanwhile, and lasts as long as it was to");
}

static void stopped(void)
{
    trap_forget();
    wrmsr(APIC_LVT_TIMER, TIMER);
    wrmsr(APIC_INITIAL, count_of(ticks_of_ms(500)));   /* printing a line may take milliseconds */
    check(rdmsr(APIC_CURRENT) != 0 && rdmsr(APIC_CURRENT) <= rdmsr(APIC_INITIAL), "the current count goes down from the initial one");
    wrmsr(APIC_INITIAL, 0);
    check(rdmsr(APIC_CURRENT) == 0, "an initial count of 0 stops it");
    wrmsr(APIC_LVT_TIMER, LVT_MASKED | TIMER);
    wrmsr(APIC_INITIAL, count_of(ticks_of_ms(1)));
    for (uint64_t end = rdtsc() + ticks_of_ms(12); rdtsc() < end;)
        cpu_yield();
    interrupts_on();
    interrupts_off();
    check(trap_count == 0 && rdmsr(APIC_CURRENT) == 0, "masked it counts, and nothing comes");
}

void step_timer(void)
{
    check_step("6", "timer");
    wrmsr(APIC_SVR, SVR_ENABLED | 0xff);
    wrmsr(APIC_DIVIDE, DIVIDE_BY_1);
    one_shot(false, "running");
    one_shot(true, "halted");
    deadline(false, "running");
    deadline(true, "halted");
    halt_once();
    trap_forget();
    wrmsr(APIC_LVT_TIMER, LVT_PERIODIC | TIMER);
    wrmsr(APIC_INITIAL, count_of(ticks_of_ms(7)));
    check((wait_for(3, true) || trap_count > 3) && trap_log[2] == TIMER, "periodic: three interrupts");
    wrmsr(APIC_INITIAL, 0);
    waiting();
    stopped();
}
