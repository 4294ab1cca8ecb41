/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guest_apic.h: the local APIC of a guest's only CPU, in x2APIC mode from its start (SDM volume 3, 11.12): interrupts to itself, and a
 * timer: one-shot, periodic or TSC-deadline.  Its count runs at the rate that CPUID 15h gives the crystal, else at the TSC's.
 */
#ifndef NIDUS_GUEST_APIC_H
#define NIDUS_GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

struct guest;

#define GUEST_APIC_REGISTERS 0x40u
#define GUEST_APIC_TPR       0x08u

struct guest_apic {
    uint32_t reg[GUEST_APIC_REGISTERS]; /* by the number of their MSR, less 800h */
    uint64_t deadline;          /* of the timer, in ticks of the TSC; 0: it stands */
    uint64_t period;            /* periodic: ticks of the TSC */
    bool pending;               /* a request that may be deliverable */
};

void guest_apic_reset(struct guest_apic *a);
/* MSRs 800h to 83fh and IA32_TSC_DEADLINE.  false: #GP. */
bool guest_apic_read(struct guest *g, uint32_t msr, uint64_t *value);
bool guest_apic_write(struct guest *g, uint32_t msr, uint64_t value);
/* CR8 is bits 7:4 of TPR.  false: #GP. */
static inline uint64_t guest_apic_cr8(const struct guest_apic *a)
{
    return a->reg[GUEST_APIC_TPR] >> 4;
}
bool guest_apic_set_cr8(struct guest_apic *a, uint64_t value);

/* Looks whether the timer has come to its end.  true: there is an interrupt that the APIC would deliver. */
bool guest_apic_poll(struct guest_apic *a);
/* Gives the CPU the interrupt that is next, or has it leave as soon as it takes one.  Before each entry with a->pending. */
void guest_apic_deliver(struct guest *g);
/* An interrupt whose delivery was cut short is requested again. */
void guest_apic_again(struct guest_apic *a, uint8_t vector);

#endif
