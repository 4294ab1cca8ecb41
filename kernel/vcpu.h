/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vcpu.h: a virtual CPU, whatever the processor's virtualisation is called.
 *
 * A backend (kernel/svm, later kernel/vmx) enters the guest and turns what made it leave into a
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
    VCPU_CR3 = VCPU_GPRS, VCPU_CR4, VCPU_EFER /* as the guest sees them */
};

enum vcpu_exit_kind {
    VCPU_EXIT_INTERRUPT,        /* for nidus; already taken when enter returns */
    VCPU_EXIT_EVENT,            /* one that the guest gets at its next entry: nothing to do */
    VCPU_EXIT_CALL,             /* VMMCALL or VMCALL */
    VCPU_EXIT_CPUID,
    VCPU_EXIT_HLT,
    VCPU_EXIT_MSR_READ, VCPU_EXIT_MSR_WRITE,
    VCPU_EXIT_CR4_WRITE,
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
    bool write;                 /* MEMORY, IO */
    bool fetch;                 /* MEMORY: of an instruction */
    uint32_t number;            /* MSR index; IO port */
    uint64_t value;             /* CR4_WRITE */
    char text[80];              /* CRASH, UNDEFINED, OTHER: what happened, in words */
};

struct vcpu_start {
    uint64_t cr3, rip, rdi;
    uint64_t gdt;               /* GPA: a null descriptor, 64-bit code, data */
    uint16_t gdt_size;
};

struct vcpu_ops {
    const char *name;           /* "SVM" */
    uint32_t call_instruction;  /* NIDUS_CALL_VMCALL or NIDUS_CALL_VMMCALL */
    const struct stage2_format *stage2;
    /* Is it there?  false: why not, in words. */
    bool (*probe)(const char **reason);
    void (*cpu_init)(void);
    /* A CPU in 64-bit mode, everything that start does not give as in kernel/abi/nidus.h.  NULL: no memory, or no room. */
    struct vcpu *(*create)(struct guest *guest, struct stage2 *memory, const struct vcpu_start *start);
    void (*destroy)(struct vcpu *vcpu);
    /* Runs until something is to be done. */
    void (*enter)(struct vcpu *vcpu, struct vcpu_exit *exit);
    uint64_t (*get)(struct vcpu *vcpu, enum vcpu_register r);
    void (*set)(struct vcpu *vcpu, enum vcpu_register r, uint64_t value);
    uint64_t (*rip)(struct vcpu *vcpu);
    unsigned (*cpl)(struct vcpu *vcpu);
    void (*skip)(struct vcpu *vcpu, unsigned length);       /* RIP += length, interrupt shadow gone */
    /* A fault at the current instruction.  false: the guest has no IDT. */
    bool (*inject)(struct vcpu *vcpu, unsigned vector, bool has_error, uint32_t error);
    void (*report)(struct vcpu *vcpu);                      /* registers, a few lines of the log */
};

/* The backend of this machine; NULL: none, and *reason says why. */
const struct vcpu_ops *vcpu_select(const char **reason);

#endif
