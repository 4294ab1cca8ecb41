/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vmx/capability.h"

#include <stddef.h>

#include "kernel/cpu.h"
#include "kernel/vcpu.h"

typedef uint64_t reader(uint32_t msr);

const struct vmx_control_place vmx_controls[CONTROLS] = {
    [PIN] = { MSR_VMX_TRUE_PIN, VMCS_PIN },
    [PROC] = { MSR_VMX_TRUE_PROC, VMCS_PROC },
    [PROC2] = { MSR_VMX_PROC2, VMCS_PROC2 },
    [EXIT] = { MSR_VMX_TRUE_EXIT, VMCS_EXIT },
    [ENTRY] = { MSR_VMX_TRUE_ENTRY, VMCS_ENTRY },
};

/* What is asked of the controls, SDM 25.6 to 25.8.  All others are 0 wherever they can be. */
static const struct {
    uint8_t control;
    uint8_t bit;
    enum { MUST, MAY, MUST_NOT } want;
    const char *name;
} control_bits[] = {
    { PIN, 0, MUST, "external-interrupt exiting" },
    { PIN, 3, MUST, "NMI exiting" },
    { PIN, 6, MAY, "preemption timer" },
    { PROC, 7, MUST, "HLT exiting" },
    { PROC, 10, MUST, "MWAIT exiting" },
    { PROC, 11, MUST, "RDPMC exiting" },
    { PROC, 15, MUST_NOT, "CR3-load exiting" },        /* 1 unless the true controls let it be 0 */
    { PROC, 16, MUST_NOT, "CR3-store exiting" },
    { PROC, 19, MUST, "CR8-load exiting" },
    { PROC, 20, MUST, "CR8-store exiting" },
    { PROC, 24, MUST, "unconditional I/O exiting" },
    { PROC, 28, MUST, "MSR bitmaps" },
    { PROC, 29, MUST, "MONITOR exiting" },
    { PROC, 31, MUST, "secondary controls" },           /* without them PROC2's MSR is not there */
    { PROC2, 1, MUST, "EPT" },
    { PROC2, 5, MUST, "VPID" },
    { PROC2, 6, MUST, "WBINVD exiting" },
    { PROC2, 7, MUST, "unrestricted guest" },
    { PROC2, 12, MAY, "INVPCID" },
    { PROC2, 15, MAY, "ENCLS exiting" },
    { EXIT, 2, MUST, "saving of debug controls" },
    { EXIT, 9, MUST, "64-bit host" },
    { EXIT, 18, MUST, "saving of PAT" },
    { EXIT, 19, MUST, "loading of PAT at exit" },
    { EXIT, 20, MUST, "saving of EFER" },
    { EXIT, 21, MUST, "loading of EFER at exit" },
    { EXIT, 22, MAY, "saving of the preemption timer" },
    { ENTRY, 2, MUST, "loading of debug controls" },
    { ENTRY, 9, MUST, "64-bit guest" },
    { ENTRY, 14, MUST, "loading of PAT at entry" },
    { ENTRY, 15, MUST, "loading of EFER at entry" },
};

static const struct {
    uint8_t bit;
    const char *name;
} ept_bits[] = {
    { 6, "EPT of four levels" }, { 14, "write-back EPT" }, { 16, "EPT with pages of 2 MiB" }, { 20, "INVEPT" },
    { 25, "INVEPT of one context" }, { 32, "INVVPID" }, { 41, "INVVPID of one context" },
};

/* A.7, A.8: a register's bits that are 1 in VMX operation, and in the next MSR those that may be. */
static const struct {
    uint32_t msr;
    const char *name;
    uint64_t always, used;      /* bits that are 1 whatever a guest writes; those that a guest starts with */
} fixed_bits[] = {
    { MSR_VMX_CR0_FIXED0, "CR0", CR0_PE | CR0_NE | CR0_PG, VCPU_START_CR0 },
    { MSR_VMX_CR4_FIXED0, "CR4", CR4_VMXE, VCPU_START_CR4 | CR4_VMXE },
};

static const char *lacks_control(reader *read, struct vmx_capabilities *c)
{
    for (size_t i = 0; i < sizeof(control_bits) / sizeof(control_bits[0]); i++) {
        uint64_t msr = read(vmx_controls[control_bits[i].control].msr);
        uint32_t bit = 1u << control_bits[i].bit;
        bool may = msr >> 32 & bit;
        c->controls[control_bits[i].control] |= (uint32_t)msr | (may && control_bits[i].want != MUST_NOT ? bit : 0);
        if (control_bits[i].want == MUST_NOT && (msr & bit))
            return vcpu_text("the processor's VMX cannot go without %s", control_bits[i].name);
        if (control_bits[i].want == MUST && !may)
            return vcpu_text("the processor's VMX has no %s", control_bits[i].name);
    }
    return NULL;
}

static const char *lacks_ept(uint64_t ept_vpid)
{
    for (size_t i = 0; i < sizeof(ept_bits) / sizeof(ept_bits[0]); i++)
        if (!(ept_vpid >> ept_bits[i].bit & 1))
            return vcpu_text("the processor's VMX has no %s", ept_bits[i].name);
    return NULL;
}

static const char *fixes_too_much(reader *read)
{
    for (size_t i = 0; i < sizeof(fixed_bits) / sizeof(fixed_bits[0]); i++) {
        uint64_t wrong = (read(fixed_bits[i].msr) & ~fixed_bits[i].always) | (fixed_bits[i].used & ~read(fixed_bits[i].msr + 1));
        if (wrong != 0)
            return vcpu_text("the processor's VMX does not leave bits 0x%llx of %s to guests", (unsigned long long)wrong, fixed_bits[i].name);
    }
    return NULL;
}

const char *vmx_lacks(reader *read, struct vmx_capabilities *c)
{
    uint64_t feature = read(MSR_FEATURE_CONTROL), basic = read(MSR_VMX_BASIC);
    *c = (struct vmx_capabilities){ .revision = basic & BASIC_REVISION };
    if ((feature & FEATURE_LOCK) && !(feature & FEATURE_VMX))
        return vcpu_text("firmware has locked VMX off (IA32_FEATURE_CONTROL 0x%llx)", (unsigned long long)feature);
    if (!(basic & BASIC_TRUE_CONTROLS))
        return "the processor's VMX has no true controls (IA32_VMX_BASIC bit 55)";
    if (basic & BASIC_32_BIT)
        return "the processor's VMX wants its structures below 4 GiB (IA32_VMX_BASIC bit 48)";
    if (BASIC_TYPE(basic) != EPT_POINTER_WB)
        return vcpu_text("the processor's VMX wants its structures in memory of type %u, not write-back", (unsigned)BASIC_TYPE(basic));
    const char *lacks = lacks_control(read, c);
    if (lacks != NULL)
        return lacks;
    c->timer_shift = MISC_TIMER_SHIFT(read(MSR_VMX_MISC));
    c->ept_vpid = read(MSR_VMX_EPT_VPID);
    lacks = lacks_ept(c->ept_vpid);
    return lacks != NULL ? lacks : fixes_too_much(read);
}
