/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmcs.h: Intel VMX: the fields of the virtual-machine control structure (SDM volume 3, appendix B), the bits of its controls (chapter
 * 25), the capability MSRs (appendix A) and the exit reasons (appendix C), as far as nidus uses them.
 */
#ifndef NIDUS_VMX_VMCS_H
#define NIDUS_VMX_VMCS_H

#define VMCS_HOST_RSP 0x6c14    /* vmx.S as well */

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

/* Capability MSRs. */
#define MSR_FEATURE_CONTROL   0x03au
#define   FEATURE_LOCK        (1ull << 0)
#define   FEATURE_VMX         (1ull << 2)      /* VMXON outside SMX operation */
#define MSR_VMX_BASIC         0x480u
#define   BASIC_REVISION      0x7fffffffull
#define   BASIC_32_BIT        (1ull << 48)     /* VMX structures lie below 4 GiB */
#define   BASIC_TYPE(basic)   ((basic) >> 50 & 15)
#define   BASIC_TRUE_CONTROLS (1ull << 55)
#define MSR_VMX_MISC          0x485u
#define   MISC_TIMER_SHIFT(misc) ((misc) & 31) /* the preemption timer counts when this bit of the TSC changes */
#define MSR_VMX_CR0_FIXED0    0x486u
#define MSR_VMX_CR4_FIXED0    0x488u
#define MSR_VMX_PROC2         0x48bu
#define MSR_VMX_EPT_VPID      0x48cu
#define MSR_VMX_TRUE_PIN      0x48du
#define MSR_VMX_TRUE_PROC     0x48eu
#define MSR_VMX_TRUE_EXIT     0x48fu
#define MSR_VMX_TRUE_ENTRY    0x490u

enum vmcs_field {
    /* 16 bits */
    VMCS_VPID = 0x0000,
    VMCS_ES = 0x0800, VMCS_CS = 0x0802, VMCS_SS = 0x0804, VMCS_DS = 0x0806, VMCS_FS = 0x0808, VMCS_GS = 0x080a, VMCS_LDTR = 0x080c,
    VMCS_TR = 0x080e,
    VMCS_HOST_ES = 0x0c00, VMCS_HOST_CS = 0x0c02, VMCS_HOST_SS = 0x0c04, VMCS_HOST_DS = 0x0c06, VMCS_HOST_FS = 0x0c08,
    VMCS_HOST_GS = 0x0c0a, VMCS_HOST_TR = 0x0c0c,
    /* 64 bits */
    VMCS_MSR_BITMAP = 0x2004,
    VMCS_EPT_POINTER = 0x201a,
    VMCS_ENCLS_BITMAP = 0x202e,
    VMCS_GPA = 0x2400,
    VMCS_LINK = 0x2800, VMCS_DEBUGCTL = 0x2802, VMCS_PAT = 0x2804, VMCS_EFER = 0x2806,
    VMCS_HOST_PAT = 0x2c00, VMCS_HOST_EFER = 0x2c02,
    /* 32 bits: controls */
    VMCS_PIN = 0x4000, VMCS_PROC = 0x4002, VMCS_EXCEPTIONS = 0x4004, VMCS_PF_MASK = 0x4006, VMCS_PF_MATCH = 0x4008,
    VMCS_CR3_TARGETS = 0x400a,
    VMCS_EXIT = 0x400c, VMCS_EXIT_STORES = 0x400e, VMCS_EXIT_LOADS = 0x4010,
    VMCS_ENTRY = 0x4012, VMCS_ENTRY_LOADS = 0x4014, VMCS_ENTRY_EVENT = 0x4016, VMCS_ENTRY_ERROR = 0x4018, VMCS_ENTRY_LENGTH = 0x401a,
    VMCS_PROC2 = 0x401e,
    /* 32 bits: what happened */
    VMCS_INSTRUCTION_ERROR = 0x4400, VMCS_REASON = 0x4402, VMCS_EXIT_EVENT = 0x4404, VMCS_EXIT_ERROR = 0x4406,
    VMCS_VECTORING_EVENT = 0x4408, VMCS_VECTORING_ERROR = 0x440a, VMCS_EXIT_LENGTH = 0x440c,
    /* 32 bits: guest and host */
    VMCS_ES_LIMIT = 0x4800, VMCS_CS_LIMIT = 0x4802, VMCS_SS_LIMIT = 0x4804, VMCS_DS_LIMIT = 0x4806, VMCS_FS_LIMIT = 0x4808,
    VMCS_GS_LIMIT = 0x480a, VMCS_LDTR_LIMIT = 0x480c, VMCS_TR_LIMIT = 0x480e, VMCS_GDTR_LIMIT = 0x4810, VMCS_IDTR_LIMIT = 0x4812,
    VMCS_ES_RIGHTS = 0x4814, VMCS_CS_RIGHTS = 0x4816, VMCS_SS_RIGHTS = 0x4818, VMCS_DS_RIGHTS = 0x481a, VMCS_FS_RIGHTS = 0x481c,
    VMCS_GS_RIGHTS = 0x481e, VMCS_LDTR_RIGHTS = 0x4820, VMCS_TR_RIGHTS = 0x4822,
    VMCS_INTERRUPTIBILITY = 0x4824, VMCS_ACTIVITY = 0x4826, VMCS_SYSENTER_CS = 0x482a, VMCS_TIMER = 0x482e,
    VMCS_HOST_SYSENTER_CS = 0x4c00,
    /* natural width */
    VMCS_CR0_MASK = 0x6000, VMCS_CR4_MASK = 0x6002, VMCS_CR0_SHADOW = 0x6004, VMCS_CR4_SHADOW = 0x6006,
    VMCS_QUALIFICATION = 0x6400,
    VMCS_CR0 = 0x6800, VMCS_CR3 = 0x6802, VMCS_CR4 = 0x6804,
    VMCS_ES_BASE = 0x6806, VMCS_CS_BASE = 0x6808, VMCS_SS_BASE = 0x680a, VMCS_DS_BASE = 0x680c, VMCS_FS_BASE = 0x680e,
    VMCS_GS_BASE = 0x6810, VMCS_LDTR_BASE = 0x6812, VMCS_TR_BASE = 0x6814, VMCS_GDTR_BASE = 0x6816, VMCS_IDTR_BASE = 0x6818,
    VMCS_DR7 = 0x681a, VMCS_RSP = 0x681c, VMCS_RIP = 0x681e, VMCS_RFLAGS = 0x6820, VMCS_PENDING_DEBUG = 0x6822,
    VMCS_SYSENTER_ESP = 0x6824, VMCS_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00, VMCS_HOST_CR3 = 0x6c02, VMCS_HOST_CR4 = 0x6c04, VMCS_HOST_FS_BASE = 0x6c06, VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a, VMCS_HOST_GDTR_BASE = 0x6c0c, VMCS_HOST_IDTR_BASE = 0x6c0e, VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12, VMCS_HOST_RIP = 0x6c16,
};

/* Bits of the controls that more than the table of vmx.c names. */
#define PIN_TIMER             (1u << 6)
#define PROC_INTERRUPT_WINDOW (1u << 2)
#define PROC2_ENCLS           (1u << 15)
#define ENTRY_64_BIT          (1u << 9)

#define CR4_VMXE              (1ull << 13)

/* Event fields: entry, exit, vectoring. */
#define EVENT_VALID           (1u << 31)
#define EVENT_HAS_ERROR       (1u << 11)
#define EVENT_TYPE            (7u << 8)
#define   EVENT_INTERRUPT     (0u << 8)
#define   EVENT_NMI           (2u << 8)
#define   EVENT_EXCEPTION     (3u << 8)        /* 4, 5, 6: an instruction's, which has a length */
#define EVENT_VECTOR          0xffu
#define EVENT_FIELDS          (EVENT_VALID | EVENT_HAS_ERROR | EVENT_TYPE | EVENT_VECTOR)

#define INTERRUPTIBILITY_SHADOW 3u             /* by STI, by MOV SS */

#define PENDING_DEBUG_BS        (1u << 14)     /* a single step is done */

/* Access rights, 25.4.1. */
#define RIGHTS_CODE64         0xa09bu          /* G L P, code, readable, accessed */
#define RIGHTS_DATA           0xc093u          /* G D P, data, writable, accessed */
#define RIGHTS_TSS_BUSY       0x008bu
#define RIGHTS_DPL(rights)    ((rights) >> 5 & 3)
#define RIGHTS_LONG           (1u << 13)
#define RIGHTS_UNUSABLE       (1u << 16)

#define EPT_POINTER_WB        6u
#define EPT_POINTER_LEVELS(n) (((n) - 1u) << 3)
#define EPT_POINTER_DIRTY     (1u << 6)        /* A and D */

#define REASON_FAILED         (1u << 31)       /* the entry did */
enum vmx_reason {
    REASON_EXCEPTION, REASON_INTERRUPT, REASON_TRIPLE_FAULT,
    REASON_WINDOW = 7, REASON_TASK_SWITCH = 9, REASON_CPUID, REASON_GETSEC, REASON_HLT, REASON_INVD,
    REASON_RDPMC = 15, REASON_RSM = 17, REASON_VMCALL, REASON_VMCLEAR, REASON_VMXON = 27, REASON_CR,
    REASON_IO = 30, REASON_RDMSR, REASON_WRMSR, REASON_MWAIT = 36, REASON_MONITOR = 39,
    REASON_MACHINE_CHECK = 41, REASON_EPT_VIOLATION = 48, REASON_EPT_MISCONFIGURED, REASON_INVEPT, REASON_TIMER = 52, REASON_INVVPID,
    REASON_WBINVD, REASON_XSETBV, REASON_ENCLS = 60, REASONS
};
_Static_assert(REASON_CR == 28 && REASON_VMCALL == 18 && REASON_XSETBV == 55, "appendix C");

/* Qualification of CR accesses (28.2.1) and of EPT violations. */
#define CR_NUMBER(q)          ((q) & 15)
#define CR_FROM(q)            (((q) >> 4 & 3) == 1)
#define CR_GPR(q)             ((q) >> 8 & 15)
#define EPT_WRITE             (1ull << 1)
#define EPT_FETCH             (1ull << 2)
#define IO_IN                 (1ull << 3)      /* of IO; the port is in 31:16 */
#define IO_PORT_SHIFT         16

static inline uint64_t vmcs_read(enum vmcs_field field)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

/* A field that is not there, or no VMCS. */
_Noreturn void vmcs_write_failed(enum vmcs_field field);

static inline void vmcs_write(enum vmcs_field field, uint64_t value)
{
    bool failed;
    __asm__ volatile("vmwrite %1, %2" : "=@ccbe"(failed) : "r"(value), "r"((uint64_t)field));
    if (failed)
        vmcs_write_failed(field);
}

extern const char vmx_exit[];   /* vmx.S: where exits arrive */
#endif

#endif
