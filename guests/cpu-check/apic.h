/* SPDX-License-Identifier: BSD-2-Clause */
/* apic.h: MSRs of the local APIC in x2APIC mode. */
#ifndef GUESTS_CPU_CHECK_APIC_H
#define GUESTS_CPU_CHECK_APIC_H

enum {
    APIC_BASE = 0x1b, TSC_DEADLINE = 0x6e0,
    APIC_ID = 0x802, APIC_VERSION = 0x803, APIC_TPR = 0x808, APIC_PPR = 0x80a, APIC_EOI = 0x80b, APIC_LDR = 0x80d, APIC_SVR = 0x80f,
    APIC_ISR = 0x810, APIC_IRR = 0x820, APIC_ESR = 0x828, APIC_ICR = 0x830, APIC_LVT_TIMER = 0x832, APIC_LVT_LINT0 = 0x835,
    APIC_LVT_ERROR = 0x837, APIC_INITIAL = 0x838, APIC_CURRENT = 0x839, APIC_DIVIDE = 0x83e, APIC_SELF_IPI = 0x83f,
};
#define SVR_ENABLED   0x100u
#define LVT_MASKED    (1u << 16)
#define LVT_PERIODIC  (1u << 17)
#define LVT_DEADLINE  (2u << 17)
#define DIVIDE_BY_1   0xbu

#endif
