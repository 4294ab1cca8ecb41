/* SPDX-License-Identifier: BSD-2-Clause */
/* 4: exceptions, by the processor and by nidus, arrive with vector, error code and address. */
#include <stddef.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/check.h"

#define RFLAGS_TF   0x100
#define NOT_MAPPED  0x123456789000ull
#define DR6_SINGLE  0x4000u
#define DR7_EXEC_0  0x402u     /* DR0, instruction, global */
#define DR7_WRITE_0 0xd0402u   /* DR0, data write, four bytes, global */

static void divide(void *context)
{
    (void)context;
    __asm__ volatile("div %b0" : : "q"((uint8_t)0), "a"(1) : "cc");
}

static void undefined(void *context)
{
    (void)context;
    __asm__ volatile("ud2");
}

static void breakpoint(void *context)
{
    (void)context;
    __asm__ volatile("int3");
}

static void read_not_mapped(void *context)
{
    (void)context;
    *(volatile uint32_t *)NOT_MAPPED;
}

static void write_not_mapped(void *context)
{
    (void)context;
    *(volatile uint32_t *)(NOT_MAPPED + 8) = 1;
}

static void software_interrupt(void *context)
{
    (void)context;
    __asm__ volatile("int $0x44");
}

static void single_step(void *context)
{
    (void)context;
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq; nop; nop" : : "i"(RFLAGS_TF) : "cc", "memory");
}

/* The first #DB comes behind the instruction: in the shadow of STI, and at one that leaves the guest. */
static void step_sti(void *context)
{
    (void)context;
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq; sti; nop; cli" : : "i"(RFLAGS_TF) : "cc", "memory");
}

extern const char behind_cpuid[];

static void step_cpuid_leaf(void *context)
{
    uint32_t eax = 0, ecx = 0;

    (void)context;
    __asm__ volatile("pushfq; orq %2, (%%rsp); popfq; cpuid\nbehind_cpuid: nop; nop"
                     : "+a"(eax), "+c"(ecx) : "i"(RFLAGS_TF) : "rbx", "rdx", "cc", "memory");
}

static void set_cr4(void *context)
{
    write_cr4(read_cr4() | *(uint64_t *)context);
}

static void set_cr8(void *context)
{
    write_cr8(*(uint64_t *)context);
}

/* Each is one instruction that CPUID does not offer, or that belongs to a hypervisor.  (Not RDTSCP: QEMU lets it through.) */
static void monitor(void *context)
{
    __asm__ volatile("monitor" : : "a"(context), "c"(0), "d"(0));
}

/* The address is one that a hypervisor could use: others fault before they leave the guest. */
static void vmrun(void *context)
{
    (void)context;
    __asm__ volatile("vmrun" : : "a"(0x400000ull));
}

static void vmxoff(void *context)
{
    (void)context;
    __asm__ volatile("vmxoff");
}

static void rdpmc(void *context)
{
    (void)context;
    __asm__ volatile("rdpmc" : : "c"(0) : "rax", "rdx");
}

static volatile uint32_t watched;

static void write_watched(void *context)
{
    (void)context;
    watched = 1;
}

static void is(void (*f)(void *), unsigned vector, const char *what)
{
    int on_stack;
    struct trap t = trap_try(f, &on_stack);

    if (t.vector == vector)
        check(true, "%s", what);
    else
        check(false, "%s: vector %u", what, t.vector);
}

static void debug(void)
{
    struct trap t;

    write_dr6(0xffff0ff0);
    t = trap_try(single_step, NULL);
    check(t.vector == VECTOR_DB && (t.dr6 & DR6_SINGLE), "single step: #DB, DR6.BS");
    write_dr6(0xffff0ff0);
    t = trap_try(step_sti, NULL);
    check(t.vector == VECTOR_DB && (t.dr6 & DR6_SINGLE), "single step of STI: #DB, DR6.BS");
    write_dr6(0xffff0ff0);
    t = trap_try(step_cpuid_leaf, NULL);
    check(t.vector == VECTOR_DB && (t.dr6 & DR6_SINGLE) && t.rip == (uint64_t)behind_cpuid, "single step of CPUID: #DB right behind it");
    write_dr6(0xffff0ff0);
    write_dr0((uint64_t)&watched);
    write_dr7(DR7_WRITE_0);
    t = trap_try(write_watched, NULL);
    write_dr7(0x400);
    check(t.vector == VECTOR_DB && (t.dr6 & 0xf) == 1, "write to a watched word: #DB, DR6.B0");
    write_dr6(0xffff0ff0);
    write_dr0((uint64_t)write_watched);
    write_dr7(DR7_EXEC_0);
    t = trap_try(write_watched, NULL);
    write_dr7(0x400);
    check(t.vector == VECTOR_DB && (t.dr6 & 0xf) == 1 && t.rip == (uint64_t)write_watched, "instruction breakpoint: #DB, DR6.B0");
    write_dr0(0);
    write_dr6(0xffff0ff0);
}

static void control_registers(void)
{
    uint64_t bits[] = { 1 << 13, 1 << 12, 1ull << 40, 16 };

    check(trap_try(set_cr4, &bits[0]).vector == VECTOR_GP, "CR4.VMXE is #GP");
    check(trap_try(set_cr4, &bits[1]).vector == VECTOR_GP, "CR4.LA57 is #GP");
    check(trap_try(set_cr4, &bits[2]).vector == VECTOR_GP, "a reserved bit of CR4 is #GP");
    check(trap_try(set_cr8, &bits[3]).vector == VECTOR_GP, "CR8 above 15 is #GP");
    write_cr4(read_cr4() | 1 << 2);
    check((read_cr4() & 1 << 2) != 0, "CR4.TSD can be set");
    write_cr4(read_cr4() & ~(1ull << 2));
    check((read_cr4() & 1 << 2) == 0, "CR4.TSD can be cleared");
}

void step_exceptions(void)
{
    struct trap t;

    check_step("4", "exceptions");
    is(divide, VECTOR_DE, "division by 0: #DE");
    is(undefined, VECTOR_UD, "UD2: #UD");
    is(breakpoint, VECTOR_BP, "INT3: #BP, and on");
    t = trap_try(read_not_mapped, NULL);
    check(t.vector == VECTOR_PF && t.error == 0 && t.cr2 == NOT_MAPPED, "read where nothing is mapped: #PF, error 0, CR2 is the address");
    t = trap_try(write_not_mapped, NULL);
    check(t.vector == VECTOR_PF && t.error == 2 && t.cr2 == NOT_MAPPED + 8, "write there: #PF, error 2, CR2 is the address");
    trap_forget();
    trap_keep_in_service = true;
    trap_try(software_interrupt, NULL);
    trap_keep_in_service = false;
    check(trap_count == 1 && trap_log[0] == 0x44, "INT 44h comes at its gate");
    debug();
    is(monitor, VECTOR_UD, "MONITOR: #UD");
    is(vmrun, VECTOR_UD, "VMRUN: #UD");
    is(vmxoff, VECTOR_UD, "VMXOFF: #UD");
    is(rdpmc, VECTOR_UD, "RDPMC: #UD");
    control_registers();
}
