/* SPDX-License-Identifier: BSD-2-Clause */
/* 5: the local APIC: interrupts that a guest sends to itself, and their priorities. */
#include "guests/cpu-check/apic.h"
#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/check.h"

static void registers(void)
{
    check(rdmsr(APIC_ID) == 0 && rdmsr(APIC_VERSION) == 0x50014 && rdmsr(APIC_LDR) == 1, "ID 0, version 14h with 6 LVT entries, LDR 1");
    check(rdmsr(APIC_SVR) == 0xff && rdmsr(APIC_LVT_TIMER) == LVT_MASKED && rdmsr(APIC_LVT_LINT0) == LVT_MASKED &&
          rdmsr(APIC_LVT_ERROR) == LVT_MASKED, "disabled by software, every LVT entry masked");
    check(!try_wrmsr(APIC_ID, 1) && !try_wrmsr(APIC_EOI, 1) && !try_wrmsr(APIC_SVR, 1 << 12) && !try_wrmsr(APIC_SELF_IPI, 0x100),
          "writes to read-only registers and reserved bits are #GP");
    check(!try_wrmsr(APIC_ICR, 0x00000400) && !try_wrmsr(APIC_ICR, 0x00000500), "ICR: NMI and INIT are #GP");
}

static bool came(unsigned count, uint8_t first, uint8_t second)
{
    return trap_count == count && (count < 1 || trap_log[0] == first) && (count < 2 || trap_log[1] == second);
}

static void self(void)
{
    trap_forget();
    wrmsr(APIC_SELF_IPI, 0x41);
    interrupts_on();
    interrupts_off();
    check(came(0, 0, 0), "nothing comes while the APIC is disabled");
    wrmsr(APIC_SVR, SVR_ENABLED | 0xff);
    wrmsr(APIC_SELF_IPI, 0x41);
    check(came(0, 0, 0) && (rdmsr(APIC_IRR + 2) & 2), "with interrupts off it waits in IRR");
    interrupts_on();
    interrupts_off();
    check(came(1, 0x41, 0) && rdmsr(APIC_IRR + 2) == 0 && rdmsr(APIC_ISR + 2) == 0, "it comes as soon as they are on");
    trap_forget();
    interrupts_on();
    wrmsr(APIC_SELF_IPI, 0x42);
    __asm__ volatile("nop");
    interrupts_off();
    check(came(1, 0x42, 0), "with interrupts on it comes at once");
    trap_forget();
    wrmsr(APIC_ICR, 0x43);
    wrmsr(APIC_ICR, 0x40044);
    wrmsr(APIC_ICR, 0x100000045);
    wrmsr(APIC_ICR, 0xc0046);
    interrupts_on();
    interrupts_off();
    check(came(2, 0x44, 0x43), "ICR: by id and to self; to another CPU, which is not there, none comes");
    trap_forget();
    wrmsr(APIC_ICR, 0x0000000100000847);
    wrmsr(APIC_ICR, 0x0001000100000848);
    interrupts_on();
    interrupts_off();
    check(came(1, 0x47, 0), "ICR: by LDR; to the same bit of another cluster, none comes");
}

static void priorities(void)
{
    trap_forget();
    wrmsr(APIC_SELF_IPI, 0x51);
    wrmsr(APIC_SELF_IPI, 0x91);
    interrupts_on();
    interrupts_off();
    check(came(2, 0x91, 0x51), "the higher vector comes first");
    trap_forget();
    write_cr8(9);
    wrmsr(APIC_SELF_IPI, 0x91);
    wrmsr(APIC_SELF_IPI, 0xa1);
    interrupts_on();
    interrupts_off();
    check(came(1, 0xa1, 0) && rdmsr(APIC_TPR) == 0x90 && rdmsr(APIC_PPR) == 0x90, "CR8 is TPR, and holds back what is not above it");
    interrupts_on();
    write_cr8(0);
    __asm__ volatile("nop");
    interrupts_off();
    check(came(2, 0xa1, 0x91), "with CR8 = 0 it comes");
    trap_forget();
    wrmsr(APIC_SELF_IPI, 0x51);
    write_cr8(9);
    interrupts_on();
    interrupts_off();
    check(came(0, 0, 0), "one that waited for STI, and then CR8 held it back: it does not come, and the CPU goes on");
    interrupts_on();
    write_cr8(0);
    __asm__ volatile("nop");
    interrupts_off();
    check(came(1, 0x51, 0), "with CR8 = 0 it comes, too");
    trap_forget();
    trap_keep_in_service = true;
    wrmsr(APIC_SELF_IPI, 0x61);
    interrupts_on();
    wrmsr(APIC_SELF_IPI, 0x62);
    __asm__ volatile("nop");
    check(came(1, 0x61, 0) && rdmsr(APIC_PPR) == 0x60 && (rdmsr(APIC_ISR + 3) & 2), "one in service holds back its own class");
    wrmsr(APIC_EOI, 0);
    __asm__ volatile("nop");
    interrupts_off();
    trap_keep_in_service = false;
    wrmsr(APIC_EOI, 0);
    check(came(2, 0x61, 0x62) && rdmsr(APIC_PPR) == 0, "after EOI the next comes");
}

/* An interrupt and an exception of nidus's making at the same boundary: both arrive. */
static void both(void)
{
    uint64_t value;

    trap_forget();
    wrmsr(APIC_SELF_IPI, 0x71);
    interrupts_on();
    check(!try_rdmsr(0x3a, &value), "an MSR that is not there, with interrupts on: #GP");
    interrupts_off();
    check(came(1, 0x71, 0), "and the interrupt has come, once");
}

void step_interrupts(void)
{
    check_step("5", "local APIC");
    registers();
    self();
    priorities();
    both();
}
