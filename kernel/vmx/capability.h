/* SPDX-License-Identifier: BSD-2-Clause */
/* capability.h: what nidus asks of a processor's VMX, and what this one has. */
#ifndef NIDUS_VMX_CAPABILITY_H
#define NIDUS_VMX_CAPABILITY_H

#include "kernel/vmx/vmcs.h"

enum vmx_control { PIN, PROC, PROC2, EXIT, ENTRY, CONTROLS };
extern const struct vmx_control_place {
    uint32_t msr;               /* bits 31:0: those that must be 1, 63:32: those that may be */
    enum vmcs_field field;
} vmx_controls[CONTROLS];

struct vmx_capabilities {
    uint32_t revision;          /* of VMX structures */
    uint32_t controls[CONTROLS]; /* as every guest's VMCS has them */
    uint64_t ept_vpid;          /* IA32_VMX_EPT_VPID_CAP, A.10 */
    unsigned timer_shift;       /* the preemption timer counts once in 2^timer_shift ticks of the TSC */
};
#define EPT_VPID_1G    (1ull << 17)
#define EPT_VPID_DIRTY (1ull << 21)

/* The first thing that a processor with VMX lacks of what nidus asks for, in words; NULL: nothing, and *c is complete.  read: RDMSR;
 * no MSR is read that is not there. */
const char *vmx_lacks(uint64_t (*read)(uint32_t msr), struct vmx_capabilities *c);

#endif
