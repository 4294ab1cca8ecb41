/* SPDX-License-Identifier: BSD-2-Clause */
/* 3: model-specific registers: those that are there, those that are not. */
#include "guests/cpu-check/apic.h"
#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/check.h"

#define NOTHING 0
#define READ    1
#define WRITE   2
#define RW      3

static const struct {
    uint32_t msr;
    unsigned can;
    const char *name;
} msrs[] = {
    { 0x10, READ, "TSC" },
    { APIC_BASE, RW, "APIC_BASE" },
    { 0x3a, NOTHING, "FEATURE_CONTROL" },
    { 0x48, NOTHING, "SPEC_CTRL" },
    { 0x49, NOTHING, "PRED_CMD" },
    { 0x79, NOTHING, "BIOS_UPDT_TRIG" },
    { 0xc1, NOTHING, "PMC0" },
    { 0x10a, NOTHING, "ARCH_CAPABILITIES" },
    { 0x122, NOTHING, "TSX_CTRL" },
    { 0x174, RW, "SYSENTER_CS" },
    { 0x175, RW, "SYSENTER_ESP" },
    { 0x176, RW, "SYSENTER_EIP" },
    { 0x179, NOTHING, "MCG_CAP" },
    { 0x1a0, NOTHING, "MISC_ENABLE" },
    { 0x1c4, NOTHING, "XFD" },
    { 0x1d9, NOTHING, "DEBUGCTL" },
    { 0x277, RW, "PAT" },
    { 0x2ff, NOTHING, "MTRR_DEF_TYPE" },
    { 0x38f, NOTHING, "PERF_GLOBAL_CTRL" },
    { 0x400, NOTHING, "MC0_CTL" },
    { 0x480, NOTHING, "VMX_BASIC" },
    { 0x570, NOTHING, "RTIT_CTL" },
    { TSC_DEADLINE, RW, "TSC_DEADLINE" },
    { 0x6a2, NOTHING, "S_CET" },
    { APIC_ID, READ, "x2APIC ID" },
    { APIC_TPR, RW, "x2APIC TPR" },
    { 0x82f, NOTHING, "x2APIC LVT CMCI" },
    { 0x840, NOTHING, "what follows the x2APIC" },
    { 0xda0, NOTHING, "XSS" },
    { 0x2000, NOTHING, "2000h" },
    { 0xc0000080, RW, "EFER" },
    { 0xc0000081, RW, "STAR" },
    { 0xc0000082, RW, "LSTAR" },
    { 0xc0000083, RW, "CSTAR" },
    { 0xc0000084, RW, "SFMASK" },
    { 0xc0000100, RW, "FS.base" },
    { 0xc0000101, RW, "GS.base" },
    { 0xc0000102, RW, "KernelGSbase" },
    { 0xc0000103, NOTHING, "TSC_AUX" },
    { 0xc0002000, NOTHING, "C0002000h" },
    { 0xc0010114, NOTHING, "VM_CR" },
    { 0xc0010117, NOTHING, "VM_HSAVE_PA" },
};

void step_msr(void)
{
    static const char *const can[] = { "not there", "read only", "write only", "there" };
    uint64_t value = 0, efer = rdmsr(0xc0000080);

    check_step("3", "model-specific registers");
    for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
        bool reads = try_rdmsr(msrs[i].msr, &value);
        bool writes = try_wrmsr(msrs[i].msr, value);

        check(reads == (msrs[i].can & READ) && writes == !!(msrs[i].can & WRITE), "%s (%xh) is %s", msrs[i].name, (unsigned)msrs[i].msr,
              can[msrs[i].can]);
    }
    for (unsigned i = 0; i < 5; i++) {
        static const uint32_t plain[] = { 0xc0000082, 0xc0000084, 0xc0000102, 0x175, 0xc0000083 };

        wrmsr(plain[i], 0x12345600 + i);
        value = rdmsr(plain[i]);
        wrmsr(plain[i], 0);
        check(value == 0x12345600 + i, "MSR %xh holds what is written to it", (unsigned)plain[i]);
    }
    check(rdmsr(APIC_BASE) == 0xfee00d00, "APIC_BASE: at FEE00000h, x2APIC mode, boot CPU");
    check(!try_wrmsr(APIC_BASE, 0xfee00900), "APIC_BASE: back to xAPIC mode is #GP");
    check(!try_wrmsr(0xc0000080, efer | 1 << 12), "EFER: SVME is #GP");
    check(!try_wrmsr(0xc0000080, efer & ~0x100ull), "EFER: leaving long mode is #GP");
    check(try_wrmsr(0xc0000080, efer | 1) && rdmsr(0xc0000080) == (efer | 1), "EFER: SCE can be set");
    wrmsr(0xc0000080, efer);
}
