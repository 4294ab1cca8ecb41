/* SPDX-License-Identifier: BSD-2-Clause */
/* bench.c: exits, one after the other, for tools/bench: ticks of the TSC for one, less what the loop itself takes. */
#include <stdio.h>

#include "guests/cpu-check/apic.h"
#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/call.h"
#include "guests/runtime/check.h"

#define ROUNDS     1000u
#define NO_CALL    0x6effu      /* a number of nidus's own that no call has */

static void nothing(void)
{
    __asm__ volatile("nop");
}

static void call(void)
{
    nidus_call_gpa(NO_CALL, 0, 0);
}

static void read_cpuid(void)
{
    cpuid(1, 0);
}

static void read_msr(void)
{
    rdmsr(0xc0000080);
}

static void write_tpr(void)
{
    wrmsr(APIC_TPR, 0);
}

static uint64_t ticks(void (*f)(void))
{
    uint64_t begin;

    f();
    begin = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        f();
    return (rdtsc() - begin) / ROUNDS;
}

void scenario_bench(void)
{
    static const struct {
        const char *name;
        void (*f)(void);
    } exits[] = {
        { "empty hypercall", call }, { "CPUID", read_cpuid }, { "RDMSR of EFER", read_msr }, { "WRMSR of the APIC's TPR", write_tpr },
    };
    uint64_t loop = ticks(nothing);

    for (unsigned i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        printf("bench: %s: %llu\n", exits[i].name, (unsigned long long)(ticks(exits[i].f) - loop));
    check(true, "%u of each", ROUNDS);
}
