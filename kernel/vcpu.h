/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vcpu.h: a virtual CPU, whatever the processor's virtualisation is called.
 *
 * A backend (kernel/svm, kernel/vmx) enters the guest and turns what made it leave into a
 * struct vcpu_exit; all policy is in kernel/exit.c, written once.
 */
#ifndef NIDUS_VCPU_H
#define NIDUS_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/stage2.h"

struct vcpu;
struct guest;

enum vcpu_register {            /* in the order of their encoding */
    VCPU_RAX, VCPU_RCX, VCPU_RDX, VCPU_RBX, VCPU_RSP, VCPU_RBP, VCPU_RSI, VCPU_RDI,
    VCPU_R8, VCPU_R9, VCPU_R10, VCPU_R11, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15, VCPU_GPRS,
    VCPU_RIP = VCPU_GPRS, VCPU_RFLAGS, VCPU_CR0, VCPU_CR2, VCPU_CR3, VCPU_CR4, VCPU_EFER, /* as the guest sees them */
    VCPU_CODE_BASE, VCPU_CPL,   /* what to add to RIP: 0 in 64-bit mode; the privilege level.  Not for set */
    VCPU_REGISTERS
};

enum vcpu_exit_kind {
    VCPU_EXIT_UNKNOWN,          /* one that no guest should be able to cause: stop it */
    VCPU_EXIT_INTERRUPT,        /* for nidus; already taken when enter returns */
    VCPU_EXIT_EVENT,            /* one that the guest gets at its next entry, or can take now: nothing to do */
    VCPU_EXIT_CALL,             /* VMMCALL or VMCALL */
    VCPU_EXIT_CPUID,
    VCPU_EXIT_HLT,
    VCPU_EXIT_MSR,
    VCPU_EXIT_CR,               /* CR4 written, CR8 read or written */
    VCPU_EXIT_XSETBV,
    VCPU_EXIT_IO,
    VCPU_EXIT_MEMORY,           /* an access that the second stage does not allow */
    VCPU_EXIT_UNDEFINED,        /* an instruction that the guest's CPUID does not offer: #UD */
    VCPU_EXIT_CRASH,            /* triple fault, shutdown, invalid state */
    VCPU_EXIT_OTHER,            /* an instruction that no guest may use: stop it */
};

struct vcpu_exit {
    enum vcpu_exit_kind kind;
    unsigned length;            /* bytes of the instruction, where it is skipped */
    uint64_t raw;               /* the backend's exit code, for reports */
    uint64_t gpa;               /* MEMORY */
    bool write;                 /* MEMORY, IO, MSR, CR */
    bool fetch;                 /* MEMORY: of an instruction */
    uint32_t number;            /* MSR index; IO port; CR number */
    enum vcpu_register gpr;     /* CR: the other operand */
    unsigned cpl;               /* CALL, XSETBV: at which privilege level */
    const char *text;           /* CRASH, UNDEFINED, OTHER: what happened, in words; valid until the next exit */
};

struct vcpu_start {
    uint64_t cr3, rip;
    uint64_t gdt;               /* GPA: a null descriptor, 64-bit code, data */
    uint16_t gdt_size;
};

/* The state of a CPU at its start, the same on both backends: 64-bit mode with paging, everything else as after power-on. */
#define VCPU_START_CR0    (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)
#define VCPU_START_CR4    (CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define VCPU_START_EFER   (EFER_LME | EFER_LMA | EFER_NXE)
#define VCPU_START_RFLAGS 0x2ull
#define VCPU_START_DR6    0xffff0ff0ull
#define VCPU_START_DR7    0x400ull
#define VCPU_START_PAT    0x0007040600070406ull
#define VCPU_START_CODE   0x08u
#define VCPU_START_DATA   0x10u

struct vcpu_ops {
    const char *name;           /* "SVM" */
    uint32_t call_instruction;  /* NIDUS_CALL_VMCALL or NIDUS_CALL_VMMCALL */
    const struct stage2_format *stage2;
    /* Does CPUID list it? */
    bool (*present)(void);
    /* Then: does it have all that nidus needs?  false: what not, in words. */
    bool (*probe)(const char **reason);
    void (*cpu_init)(void);
    /* Leaves of the second stage above 4 KiB: STAGE2_2M, STAGE2_1G.  After cpu_init. */
    unsigned (*page_sizes)(void);
    /* A CPU in 64-bit mode, everything that start does not give as in kernel/abi/nidus.h.  Its general registers, but for RSP, are
     * guest->gpr.  NULL: no memory. */
    struct vcpu *(*create)(struct guest *guest, struct stage2 *memory, const struct vcpu_start *start);
    void (*destroy)(struct vcpu *vcpu);
    /* Makes the processor hold it: all that follows is for the CPU that was loaded last.  NULL: enter does it all. */
    void (*load)(struct vcpu *vcpu);
    /* Runs until something is to be done. */
    void (*enter)(struct vcpu *vcpu, struct vcpu_exit *exit);
    uint64_t (*get)(struct vcpu *vcpu, enum vcpu_register r);
    void (*set)(struct vcpu *vcpu, enum vcpu_register r, uint64_t value);
    void (*skip)(struct vcpu *vcpu, unsigned length);       /* RIP += length, interrupt shadow gone */
    /* A fault at the current instruction.  false: the guest has no IDT. */
    bool (*inject)(struct vcpu *vcpu, unsigned vector, bool has_error, uint32_t error);
    /* An interrupt, at the next entry.  false: the guest does not take one now, and leaves (EVENT) as soon as it does. */
    bool (*interrupt)(struct vcpu *vcpu, unsigned vector);
    /* It leaves (INTERRUPT) when it has run for so many ticks of the TSC. */
    void (*arm)(struct vcpu *vcpu, uint64_t ticks);
};

/* The backend of this machine; NULL: none, and *reason says why. */
const struct vcpu_ops *vcpu_select(const char **reason);

/* For backends. */

#define VCPU_EXCEPTIONS 32u
#define VCPU_INSTRUCTION_MAX 15u
/* Those that a guest can make the processor raise for ever while it delivers them, without a single instruction between: each
 * must come out, so that an interrupt can. */
#define VECTOR_DB 1u
#define VECTOR_AC 17u
#define VCPU_ENDLESS_EXCEPTIONS ((1u << VECTOR_DB) | (1u << VECTOR_AC))
#define VECTOR_PF 14u
/* Until the guest has an IDT an exception is its end, and seen here it can be named.  (An NMI is none.) */
#define VCPU_ALL_EXCEPTIONS (~0u & ~(1u << 2))

/* What vcpu_gpr.h's macros overwrite, but for RAX, RDI, RSI and RDX; RBP, RBX and R12 are kept. */
#define VCPU_ENTER_CLOBBERS "rcx", "r8", "r9", "r10", "r11", "r13", "r14", "r15", "cc", "memory"

/* Words for an exit, or for what the processor lacks. */
const char *vcpu_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A machine check that a guest was left with, and that was swallowed with the exit: ends nidus, with a report. */
void vcpu_machine_check(const struct guest *g);
/* An exception of a guest that has no IDT: CRASH, with what happened.  address: of a page fault. */
void vcpu_exception(struct vcpu_exit *exit, unsigned vector, uint64_t error, uint64_t address);

/* For all; the CPU is loaded. */

/* Where the page of the instruction at RIP is, in nidus's own address space; NULL: in no RAM of the guest's. */
const uint8_t *vcpu_code_page(struct guest *g);
/* The bytes at RIP, as many as can be read. */
unsigned vcpu_fetch(struct guest *g, uint8_t bytes[VCPU_INSTRUCTION_MAX]);
/* Registers and code, a few lines of the log. */
void vcpu_report(struct guest *g);

#endif
