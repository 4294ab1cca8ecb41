/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guest_cpuid.c: the processor that a guest sees.
 *
 * A register that no row names reads 0, so a feature is offered only because someone said so here: it must work
 * for a guest without nidus's help or be nidus's own, and hold no state that would pass from one guest to the next.
 */
#include <stddef.h>

#include "kernel/guest_cpuid.h"
#include "kernel/xstate.h"

enum { EAX, EBX, ECX, EDX };
#define ALL      0xffffffffu
#define BIT(n)   (1u << (n))
#define ANY_SUBLEAF ALL

#define LEAF_HYPERVISOR 0x40000000u

#define WHOLE(leaf, subleaf) \
    { leaf, subleaf, EAX, ALL, 0 }, { leaf, subleaf, EBX, ALL, 0 }, { leaf, subleaf, ECX, ALL, 0 }, { leaf, subleaf, EDX, ALL, 0 }

static const struct cpuid_row {
    uint32_t leaf, subleaf;
    unsigned reg;
    uint32_t pass;              /* bits that the machine decides */
    uint32_t set;               /* bits that are always set */
} rows[] = {
    /* Vendor: code that works around one vendor's errata must know whose processor it runs on. */
    WHOLE(0, ANY_SUBLEAF),
    /* Family, model, stepping: the same. */
    { 1, ANY_SUBLEAF, EAX, ALL, 0 },
    /* CLFLUSH line size; one CPU, APIC id 0 whichever it runs on. */
    { 1, ANY_SUBLEAF, EBX, 0x0000ff00u, BIT(16) },
    /* SSE3 0, PCLMULQDQ 1, SSSE3 9, FMA 12, CMPXCHG16B 13, PCID 17, SSE4.1 19, SSE4.2 20, MOVBE 22, POPCNT 23, AES 25, XSAVE 26,
     * AVX 28, F16C 29, RDRAND 30: plain instructions, and state that kernel/xstate.c switches.  x2APIC 21 and TSC-deadline 24 are
     * nidus's, not the machine's.  Not MONITOR 3 (a sleep that the tick alone would end), VMX 5; OSXSAVE 27 follows CR4. */
    { 1, ANY_SUBLEAF, ECX, BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) |
      BIT(26) | BIT(28) | BIT(29) | BIT(30), BIT(21) | BIT(24) | BIT(31) },
    /* FPU 0 DE 2 PSE 3 TSC 4 MSR 5 PAE 6 CX8 8 SYSENTER 11 PGE 13 CMOV 15 PAT 16 PSE36 17 CLFLUSH 19 MMX 23 FXSR 24 SSE 25
     * SSE2 26, and nidus's APIC 9.  Not MTRR 12, MCE 7 and MCA 14 (the machine's, not a guest's). */
    { 1, ANY_SUBLEAF, EDX, BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) | BIT(15) | BIT(16) |
      BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26), BIT(9) },
    /* The APIC's timer never stops 2. */
    { 6, ANY_SUBLEAF, EAX, 0, BIT(2) },
    /* FSGSBASE 0, BMI1 3, AVX2 5, SMEP 7, BMI2 8, ERMS 9, INVPCID 10, AVX-512 F 16 DQ 17, RDSEED 18, ADX 19, SMAP 20, AVX-512 IFMA
     * 21, CLFLUSHOPT 23, CLWB 24, AVX-512 CD 28, SHA 29, AVX-512 BW 30 VL 31.  Not MPX 14, PT 25 (state), and not TSX 11
     * (aborts that other guests can see). */
    { 7, 0, EBX, BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) |
      BIT(23) | BIT(24) | BIT(28) | BIT(29) | BIT(30) | BIT(31), 0 },
    /* AVX-512 VBMI 1, UMIP 2, AVX-512 VBMI2 6, GFNI 8, VAES 9, VPCLMULQDQ 10, AVX-512 VNNI 11, BITALG 12, VPOPCNTDQ 14.  Not PKU 3
     * and CET 7 (state), LA57 16 (nidus reads guests' tables with four levels), RDPID 22 (TSC_AUX is nidus's). */
    { 7, 0, ECX, BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14), 0 },
    /* Fast short REP MOV 4, SERIALIZE 14, AMX-BF16 22, AVX-512 FP16 23, AMX-TILE 24, AMX-INT8 25. */
    { 7, 0, EDX, BIT(4) | BIT(14) | BIT(22) | BIT(23) | BIT(24) | BIT(25), 0 },
    /* XSAVE: the components; their size now, and at most (with some of the machine's that a guest has not: too much does no harm). */
    { 0xd, 0, EAX, (uint32_t)XCR0_GUESTS, 0 },
    { 0xd, 0, EBX, ALL, 0 },
    { 0xd, 0, ECX, ALL, 0 },
    /* XSAVEOPT 0, XSAVEC 1, XGETBV with ECX = 1 2.  Not XSAVES 3 (there is no supervisor state), XFD 4 (an MSR). */
    { 0xd, 1, EAX, BIT(0) | BIT(1) | BIT(2), 0 },
    { 0xd, 1, EBX, ALL, 0 },
    /* Where AVX, AVX-512 and AMX state is. */
    WHOLE(0xd, 2), WHOLE(0xd, 5), WHOLE(0xd, 6), WHOLE(0xd, 7), WHOLE(0xd, 17), WHOLE(0xd, 18),
    /* TSC and core frequencies: true for a guest too, its TSC is the machine's. */
    WHOLE(0x15, ANY_SUBLEAF),
    { 0x16, ANY_SUBLEAF, EAX, 0xffff, 0 },
    { 0x16, ANY_SUBLEAF, EBX, 0xffff, 0 },
    /* AMX: palettes and the multiplier. */
    WHOLE(0x1d, ANY_SUBLEAF), WHOLE(0x1e, ANY_SUBLEAF),
    /* "nidusnidusni". */
    { LEAF_HYPERVISOR, ANY_SUBLEAF, EAX, 0, LEAF_HYPERVISOR },
    { LEAF_HYPERVISOR, ANY_SUBLEAF, EBX, 0, 0x7564696e },
    { LEAF_HYPERVISOR, ANY_SUBLEAF, ECX, 0, 0x64696e73 },
    { LEAF_HYPERVISOR, ANY_SUBLEAF, EDX, 0, 0x696e7375 },
    WHOLE(0x80000000, ANY_SUBLEAF),
    { 0x80000001, ANY_SUBLEAF, EAX, ALL, 0 },
    /* LAHF 0, LZCNT 5, SSE4A 6, misaligned SSE 7, PREFETCHW 8.  Not SVM 2, and nothing that has MSRs of its own. */
    { 0x80000001, ANY_SUBLEAF, ECX, BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8), 0 },
    /* Leaf 1's where AMD repeats them, SYSCALL 11, NX 20, MMX extensions 22, 1 GiB pages 26, long mode 29.  Not FFXSR 25 (it
     * would leave XMM out of what nidus saves), RDTSCP 27 (TSC_AUX). */
    { 0x80000001, ANY_SUBLEAF, EDX, BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) | BIT(15) |
      BIT(16) | BIT(17) | BIT(20) | BIT(22) | BIT(23) | BIT(24) | BIT(26) | BIT(29), 0 },
    /* The processor's name, and its caches and TLBs: for people and for tuning. */
    WHOLE(0x80000002, ANY_SUBLEAF), WHOLE(0x80000003, ANY_SUBLEAF), WHOLE(0x80000004, ANY_SUBLEAF), WHOLE(0x80000005, ANY_SUBLEAF),
    WHOLE(0x80000006, ANY_SUBLEAF),
    /* Invariant TSC 8.  The rest is power management, the machine's. */
    { 0x80000007, ANY_SUBLEAF, EDX, BIT(8), 0 },
    /* Physical address bits; 48 linear ones, as there is no LA57. */
    { 0x80000008, ANY_SUBLEAF, EAX, 0xff, 48 << 8 },
};

/* The last leaf of each range that a row can name: what lies above is not there. */
static uint32_t last_leaf(uint32_t leaf)
{
    return leaf == 0 ? 0x1e : 0x80000008;
}

struct cpuid guest_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid (*host)(uint32_t leaf, uint32_t subleaf))
{
    uint32_t out[4] = { 0 };
    uint32_t range = leaf & 0xffff0000u;
    if (range != LEAF_HYPERVISOR && host(range, 0).eax < leaf)
        return (struct cpuid){ 0 };
    struct cpuid machine = host(leaf, subleaf);
    const uint32_t in[4] = { machine.eax, machine.ebx, machine.ecx, machine.edx };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && rows[i].leaf <= leaf; i++) {   /* they are in order */
        const struct cpuid_row *r = &rows[i];
        if (r->leaf == leaf && (r->subleaf == ANY_SUBLEAF || r->subleaf == subleaf))
            out[r->reg] = (in[r->reg] & r->pass) | r->set;
    }
    if ((leaf == 0 || leaf == 0x80000000) && out[EAX] > last_leaf(leaf))
        out[EAX] = last_leaf(leaf);
    return (struct cpuid){ out[EAX], out[EBX], out[ECX], out[EDX] };
}

/* A bit of CR4 needs the feature that a guest sees for it; reg -1: none.  Not VME 0 and PVI 1 (there is no 16-bit code), PCE 8
 * (counters are the machine's), LA57 12, VMXE 13, SMXE 14, PKE 22, CET 23. */
static const struct {
    unsigned bit;
    uint32_t leaf;
    int reg;
    uint32_t feature;
} cr4_bits[] = {
    { 2, 0, -1, 0 },            /* TSD */
    { 3, 1, EDX, BIT(2) },      /* DE */
    { 4, 1, EDX, BIT(3) },      /* PSE */
    { 5, 1, EDX, BIT(6) },      /* PAE */
    { 6, 0, -1, 0 },            /* MCE: set for a guest whatever it writes, a machine check is nidus's */
    { 7, 1, EDX, BIT(13) },     /* PGE */
    { 9, 1, EDX, BIT(24) },     /* OSFXSR */
    { 10, 1, EDX, BIT(25) },    /* OSXMMEXCPT */
    { 11, 7, ECX, BIT(2) },     /* UMIP */
    { 16, 7, EBX, BIT(0) },     /* FSGSBASE */
    { 17, 1, ECX, BIT(17) },    /* PCIDE */
    { 18, 1, ECX, BIT(26) },    /* OSXSAVE */
    { 20, 7, EBX, BIT(7) },     /* SMEP */
    { 21, 7, EBX, BIT(20) },    /* SMAP */
};

uint64_t guest_cr4_allowed(struct cpuid (*host)(uint32_t leaf, uint32_t subleaf))
{
    uint64_t allowed = 0;
    for (size_t i = 0; i < sizeof(cr4_bits) / sizeof(cr4_bits[0]); i++) {
        struct cpuid c = guest_cpuid(cr4_bits[i].leaf, 0, host);
        const uint32_t registers[4] = { c.eax, c.ebx, c.ecx, c.edx };
        if (cr4_bits[i].reg < 0 || (registers[cr4_bits[i].reg] & cr4_bits[i].feature))
            allowed |= 1ull << cr4_bits[i].bit;
    }
    return allowed;
}
