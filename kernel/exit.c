/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exit.c: what becomes of a guest that left its CPU.  Three answers: nidus does it for the guest, the guest gets
 * the exception that a processor without the thing would raise, or the guest is stopped with a report.
 */
#include <stdarg.h>

#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/guest_cpuid.h"
#include "kernel/guest_msr.h"
#include "kernel/log.h"
#include "kernel/shared.h"

#define VECTOR_UD 6u
#define VECTOR_GP 13u
#define CPUID_OSXSAVE (1u << 27) /* 1 ECX: CR4.OSXSAVE */

__attribute__((format(printf, 2, 3)))
static void stop(struct guest *g, const char *format, ...)
{
    char why[200];
    va_list arguments;
    va_start(arguments, format);
    format_text_v(why, sizeof(why), format, arguments);
    va_end(arguments);
    guest_crash(g, why);
}

/* The exception that says "you do not have this". */
static void refuse(struct guest *g, unsigned vector, const char *what, uint64_t which)
{
    if (!guest_cpu->inject(g->vcpu, vector, vector == VECTOR_GP, 0))
        stop(g, "%s 0x%llx, which nidus does not offer, and no IDT for the exception", what, (unsigned long long)which);
}

static void do_cpuid(struct guest *g)
{
    uint32_t leaf = (uint32_t)g->gpr[VCPU_RAX];
    struct cpuid c = guest_cpuid(leaf, (uint32_t)g->gpr[VCPU_RCX], cpuid);
    if (leaf == 1 && (guest_cpu->get(g->vcpu, VCPU_CR4) & CR4_OSXSAVE))
        c.ecx |= CPUID_OSXSAVE;
    g->gpr[VCPU_RAX] = (uint32_t)c.eax;
    g->gpr[VCPU_RBX] = (uint32_t)c.ebx;
    g->gpr[VCPU_RCX] = (uint32_t)c.ecx;
    g->gpr[VCPU_RDX] = (uint32_t)c.edx;
}

static bool do_msr(struct guest *g, const struct vcpu_exit *exit)
{
    uint64_t value = (uint32_t)g->gpr[VCPU_RAX] | g->gpr[VCPU_RDX] << 32;
    if (exit->write)
        return guest_msr_write(g, exit->number, value);
    if (!guest_msr_read(g, exit->number, &value))
        return false;
    g->gpr[VCPU_RAX] = (uint32_t)value;
    g->gpr[VCPU_RDX] = value >> 32;
    return true;
}

static bool do_cr4(struct guest *g, uint64_t value)
{
    uint64_t old = guest_cpu->get(g->vcpu, VCPU_CR4);
    bool leaves_paging = !(value & CR4_PAE); /* not allowed in long mode */
    if ((value & ~guest_cr4_allowed(cpuid)) || leaves_paging)
        return false;
    const uint64_t pcide = 1ull << 17, pcid = 0xfff;
    if ((value & ~old & pcide) && (guest_cpu->get(g->vcpu, VCPU_CR3) & pcid))
        return false;
    guest_cpu->set(g->vcpu, VCPU_CR4, value | CR4_MCE);
    return true;
}

static bool do_cr(struct guest *g, const struct vcpu_exit *exit)
{
    if (exit->write)
        return exit->number == 4 ? do_cr4(g, guest_cpu->get(g->vcpu, exit->gpr))
                                 : guest_apic_set_cr8(&g->apic, guest_cpu->get(g->vcpu, exit->gpr));
    guest_cpu->set(g->vcpu, exit->gpr, guest_apic_cr8(&g->apic));
    return true;
}

/* Where interrupts are off, HLT gives the CPU away until the next tick: a guest without interrupts waits that way. */
static void do_hlt(struct guest *g)
{
    g->waits = guest_cpu->get(g->vcpu, VCPU_RFLAGS) & RFLAGS_IF;
    if (!g->waits || !guest_apic_poll(&g->apic))
        g->state = GUEST_HALTED;
}

static bool do_xsetbv(struct guest *g, const struct vcpu_exit *exit)
{
    uint64_t value = (uint32_t)g->gpr[VCPU_RAX] | g->gpr[VCPU_RDX] << 32;
    return exit->cpl == 0 && (uint32_t)g->gpr[VCPU_RCX] == 0 && xstate_set_xcr0(&g->xstate, value);
}

static void do_call(struct guest *g, const struct vcpu_exit *exit)
{
    int64_t result = -NIDUS_EPERM;
    if (exit->cpl == 0)
        result = hypercall(g, g->gpr[VCPU_RAX], g->gpr[VCPU_RDI], g->gpr[VCPU_RSI]);
    if (result > CALL_AGAIN) {  /* as 0 and every errno */
        g->gpr[VCPU_RAX] = (uint64_t)result;
        guest_cpu->skip(g->vcpu, exit->length);
    } else if (result == IOMMU_AGAIN) {
        g->call_length = exit->length;
    }
}

static void stop_for_memory(struct guest *g, const struct vcpu_exit *exit)
{
    const struct nidus_guest_shared *shared = shared_find(g, exit->gpa);
    if (exit->fetch)
        stop(g, "ran into guest-physical address 0x%llx, which is not its RAM", (unsigned long long)exit->gpa);
    else if (shared != NULL)
        stop(g, "wrote guest-physical address 0x%llx in shared region %s, which it may only read", (unsigned long long)exit->gpa, shared->name);
    else
        stop(g, "%s guest-physical address 0x%llx, which is neither its RAM nor a BAR of its devices",
             exit->write ? "wrote" : "read", (unsigned long long)exit->gpa);
}

/* Apart, so that a call does not pay for the registers that the others take. */
__attribute__((noinline))
static void handle_other(struct guest *g, const struct vcpu_exit *exit)
{
    switch (exit->kind) {
    case VCPU_EXIT_CALL:        /* exit_handle's */
    case VCPU_EXIT_INTERRUPT:
    case VCPU_EXIT_EVENT:
        break;
    case VCPU_EXIT_CPUID:
        do_cpuid(g);
        guest_cpu->skip(g->vcpu, exit->length);
        break;
    case VCPU_EXIT_HLT:
        guest_cpu->skip(g->vcpu, exit->length);
        do_hlt(g);
        break;
    case VCPU_EXIT_MSR:
        if (do_msr(g, exit))
            guest_cpu->skip(g->vcpu, exit->length);
        else
            refuse(g, VECTOR_GP, exit->write ? "wrote MSR" : "read MSR", exit->number);
        break;
    case VCPU_EXIT_CR:
        if (do_cr(g, exit))
            guest_cpu->skip(g->vcpu, exit->length);
        else
            refuse(g, VECTOR_GP, exit->number == 4 ? "set CR4 to" : "set CR8 to", guest_cpu->get(g->vcpu, exit->gpr));
        break;
    case VCPU_EXIT_XSETBV:
        if (do_xsetbv(g, exit))
            guest_cpu->skip(g->vcpu, exit->length);
        else
            refuse(g, VECTOR_GP, "set XCR0 to", g->gpr[VCPU_RAX]);
        break;
    case VCPU_EXIT_UNDEFINED:
        if (!guest_cpu->inject(g->vcpu, VECTOR_UD, false, 0))
            stop(g, "executed %s, which nidus does not offer, and it has no IDT", exit->text);
        break;
    case VCPU_EXIT_IO:
        stop(g, "%s I/O port 0x%x: guests have no ports", exit->write ? "wrote" : "read", exit->number);
        break;
    case VCPU_EXIT_MEMORY:
        stop_for_memory(g, exit);
        break;
    case VCPU_EXIT_CRASH:
        stop(g, "crashed: %s", exit->text);
        break;
    case VCPU_EXIT_UNKNOWN:
        stop(g, "left its CPU with exit 0x%llx, which nidus does not know", (unsigned long long)exit->raw);
        break;
    case VCPU_EXIT_OTHER:
        stop(g, "executed %s", exit->text);
        break;
    }
}

void exit_handle(struct guest *g, const struct vcpu_exit *exit)
{
    if (exit->kind == VCPU_EXIT_CALL)
        do_call(g, exit);
    else
        handle_other(g, exit);
}
