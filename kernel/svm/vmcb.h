/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmcb.h: the virtual machine control block of AMD SVM (AMD64 Architecture Programmer's Manual volume 2,
 * appendix B), its MSRs and exit codes.
 */
#ifndef NIDUS_SVM_VMCB_H
#define NIDUS_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/cpu.h"

/* MSRs, APM 2 section 15.30, and the bits that are used here. */
#define MSR_VM_CR             0xc0010114u
#define   VM_CR_SVMDIS        (1ull << 4)
#define MSR_VM_HSAVE_PA       0xc0010117u

/* Intercept vector 3 (00Ch). */
#define INTERCEPT_INTR        (1u << 0)
#define INTERCEPT_NMI         (1u << 1)
#define INTERCEPT_VINTR       (1u << 4)
#define INTERCEPT_RDPMC       (1u << 15)
#define INTERCEPT_CPUID       (1u << 18)
#define INTERCEPT_RSM         (1u << 19)
#define INTERCEPT_INVD        (1u << 22)
#define INTERCEPT_HLT         (1u << 24)
#define INTERCEPT_INVLPGA     (1u << 26)
#define INTERCEPT_IOIO        (1u << 27)
#define INTERCEPT_MSR         (1u << 28)
#define INTERCEPT_TASK_SWITCH (1u << 29)
#define INTERCEPT_FERR_FREEZE (1u << 30)
#define INTERCEPT_SHUTDOWN    (1u << 31)

/* Intercept vector 4 (010h). */
#define INTERCEPT_VMRUN       (1u << 0)
#define INTERCEPT_VMMCALL     (1u << 1)
#define INTERCEPT_VMLOAD      (1u << 2)
#define INTERCEPT_VMSAVE      (1u << 3)
#define INTERCEPT_STGI        (1u << 4)
#define INTERCEPT_CLGI        (1u << 5)
#define INTERCEPT_SKINIT      (1u << 6)
#define INTERCEPT_RDTSCP      (1u << 7)
#define INTERCEPT_WBINVD      (1u << 9)
#define INTERCEPT_MONITOR     (1u << 10)
#define INTERCEPT_MWAIT       (1u << 11)
#define INTERCEPT_MWAIT_ARMED (1u << 12)
#define INTERCEPT_XSETBV      (1u << 13)
#define INTERCEPT_RDPRU       (1u << 14)

#define INTERCEPT_CR4_WRITE   (1u << (16 + 4)) /* 000h: CR reads 15:0, CR writes 31:16 */
#define INTERCEPT_CR8_WRITE   (1u << (16 + 8))
#define INTERCEPT_MC          (1u << 18)       /* 008h: exceptions by vector */

enum svm_exit {                 /* EXITCODE, appendix C */
    SVM_EXIT_CR4_WRITE = 0x14,
    SVM_EXIT_CR8_WRITE = 0x18,
    SVM_EXIT_EXCEPTION = 0x40,  /* + vector, 0 to 31 */
    SVM_EXIT_MC = 0x52,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI,
    SVM_EXIT_SMI,
    SVM_EXIT_INIT,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_RSM = 0x73,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO,
    SVM_EXIT_MSR,
    SVM_EXIT_TASK_SWITCH,
    SVM_EXIT_FERR_FREEZE,
    SVM_EXIT_SHUTDOWN,
    SVM_EXIT_VMRUN,
    SVM_EXIT_VMMCALL,
    SVM_EXIT_VMLOAD,
    SVM_EXIT_VMSAVE,
    SVM_EXIT_STGI,
    SVM_EXIT_CLGI,
    SVM_EXIT_SKINIT,
    SVM_EXIT_RDTSCP,
    SVM_EXIT_ICEBP,
    SVM_EXIT_WBINVD,
    SVM_EXIT_MONITOR,
    SVM_EXIT_MWAIT,
    SVM_EXIT_MWAIT_ARMED,
    SVM_EXIT_XSETBV,
    SVM_EXIT_RDPRU,
    SVM_EXIT_NPF = 0x400,
};
_Static_assert(SVM_EXIT_RDPRU == 0x8e && SVM_EXIT_VMRUN == 0x80, "appendix C");

#define IOIO_IN               (1ull << 0)      /* EXITINFO1 of IOIO; the port is in 31:16 */
#define IOIO_PORT_SHIFT       16
#define NPF_WRITE             (1ull << 1)      /* EXITINFO1 of NPF: a page-fault error code */
#define NPF_FETCH             (1ull << 4)

/* EXITINTINFO and EVENTINJ. */
#define EVENT_TYPE            (7ull << 8)
#define   EVENT_INTERRUPT     (0ull << 8)
#define   EVENT_EXCEPTION     (3ull << 8)      /* 4: a software interrupt */
#define EVENT_HAS_ERROR       (1ull << 11)
#define EVENT_VALID           (1ull << 31)
#define EVENT_ERROR_SHIFT     32

#define TLB_FLUSH_ALL         1u
#define SHADOW                (1ull << 0)      /* of interrupt_shadow */
#define V_IRQ                 (1ull << 8)
#define V_IGNORE_TPR          (1ull << 20)
#define V_INTR_MASKING        (1ull << 24)
#define NP_ENABLE             (1ull << 0)

struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes;        /* descriptor bits 55:52 and 47:40 */
    uint32_t limit;
    uint64_t base;
};
_Static_assert(sizeof(struct vmcb_segment) == 16, "table B-2");
#define SEGMENT_CODE64        0xa9bu           /* G L P, code, readable, accessed */
#define SEGMENT_DATA          0xc93u           /* G D P, data, writable, accessed */
#define SEGMENT_TSS_BUSY      0x08bu
#define SEGMENT_LDT           0x082u
#define SEGMENT_LONG          0x200u           /* L */

struct vmcb {
    uint32_t intercept_cr;      /* 000 */
    uint32_t intercept_dr;      /* 004 */
    uint32_t intercept_exception; /* 008 */
    uint32_t intercept3;        /* 00c */
    uint32_t intercept4;        /* 010 */
    uint32_t intercept5;        /* 014 */
    uint8_t reserved_018[0x040 - 0x018];
    uint64_t iopm_base;         /* 040 */
    uint64_t msrpm_base;        /* 048 */
    uint64_t tsc_offset;        /* 050 */
    uint32_t asid;              /* 058 */
    uint32_t tlb_control;       /* 05c */
    uint64_t v_intr;            /* 060 */
    uint64_t interrupt_shadow;  /* 068 */
    uint64_t exit_code;         /* 070 */
    uint64_t exit_info1;        /* 078 */
    uint64_t exit_info2;        /* 080 */
    uint64_t exit_int_info;     /* 088 */
    uint64_t np_control;        /* 090 */
    uint8_t reserved_098[0x0a8 - 0x098];
    uint64_t event_inject;      /* 0a8 */
    uint64_t n_cr3;             /* 0b0 */
    uint64_t lbr_control;       /* 0b8 */
    uint64_t clean;             /* 0c0: 0: nothing is taken from the processor's cache of this block */
    uint64_t next_rip;          /* 0c8 */
    uint8_t reserved_0d0[0x400 - 0x0d0];

    /* The state save area. */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 400 */
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl;                /* 4cb */
    uint32_t reserved_4cc;
    uint64_t efer;              /* 4d0 */
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0;     /* 548 */
    uint64_t dr7, dr6;          /* 560 */
    uint64_t rflags, rip;       /* 570 */
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;               /* 5d8 */
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax;               /* 5f8 */
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base; /* 600 */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;    /* 628 */
    uint64_t cr2;               /* 640 */
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;             /* 668 */
    uint8_t reserved_670[0x1000 - 0x670];
};
_Static_assert(sizeof(struct vmcb) == 0x1000, "one page");
_Static_assert(offsetof(struct vmcb, iopm_base) == 0x040, "table B-1");
_Static_assert(offsetof(struct vmcb, asid) == 0x058, "table B-1");
_Static_assert(offsetof(struct vmcb, exit_code) == 0x070, "table B-1");
_Static_assert(offsetof(struct vmcb, event_inject) == 0x0a8, "table B-1");
_Static_assert(offsetof(struct vmcb, next_rip) == 0x0c8, "table B-1");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "table B-2");
_Static_assert(offsetof(struct vmcb, tr) == 0x490, "table B-2");
_Static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "table B-2");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "table B-2");
_Static_assert(offsetof(struct vmcb, cr4) == 0x548, "table B-2");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "table B-2");
_Static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "table B-2");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "table B-2");
_Static_assert(offsetof(struct vmcb, sysenter_cs) == 0x628, "table B-2");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "table B-2");
_Static_assert(offsetof(struct vmcb, g_pat) == 0x668, "table B-2");

#endif
