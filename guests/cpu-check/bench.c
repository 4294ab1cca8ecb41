/* SPDX-License-Identifier: BSD-2-Clause */
/* bench.c: exits, one after the other, for tools/bench: ticks of the TSC for one, less those of the same without it.  Last the one that
 * ends the guest. */
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

/* The registers that a call takes. */
#define CALL_OPERANDS : "=a"(result) : "a"(NO_CALL), "D"(0), "S"(0) : "memory"

static void call(void)
{
    int64_t result;

    if (guest_info->call == NIDUS_CALL_VMMCALL)
        __asm__ volatile("vmmcall" CALL_OPERANDS);
    else
        __asm__ volatile("vmcall" CALL_OPERANDS);
}

static void no_call(void)
{
    int64_t result;

    if (guest_info->call == NIDUS_CALL_VMMCALL)
        __asm__ volatile("nop" CALL_OPERANDS);
    else
        __asm__ volatile("nop; nop" CALL_OPERANDS);
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
        void (*without)(void);  /* the same but for what leaves the guest */
    } exits[] = {
        { "empty hypercall", call, no_call },
        { "CPUID", read_cpuid, nothing },
        { "RDMSR of EFER", read_msr, nothing },
        { "WRMSR of the APIC's TPR", write_tpr, nothing },
    };

    for (unsigned i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        printf("bench: %s: %llu\n", exits[i].name, (unsigned long long)(ticks(exits[i].f) - ticks(exits[i].without)));
    check(true, "%u of each", ROUNDS);
}

/* The report that this ends in has the TSC of before in RDX:RAX, and that of the report itself. */
void bench_violation(void)
{
    __asm__ volatile("rdtsc; movl (%0), %%ecx" : : "r"(NOWHERE) : "rax", "rcx", "rdx", "memory");
}
