/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * svm.S: the way into a guest and back.
 */
#include "kernel/vcpu_gpr.h"

    .text

/*
 * svm_run: RDI: vmcb, a physical address; RSI: uint64_t gpr[16].  That at svm_host holds nidus's FS, GS, TR, LDTR and
 * system-call MSRs, which VMRUN does not switch.  Interrupts are off at entry and at return.
 *
 * With V_INTR_MASKING the host's IF decides whether an interrupt leaves the guest, so IF is set for VMRUN
 * while GIF holds everything back.  STGI comes last: only then may an NMI find nidus's own state.
 */
    .globl svm_run
    .type svm_run, @function
svm_run:
    push %rbp
    push %rbx
    push %r12
    push %rsi

    clgi
    sti
    mov %rdi, %rax
    FOR_GPRS LOAD_GPR, %rsi
    mov RDI(%rsi), %rdi
    mov RSI(%rsi), %rsi
    vmload %rax
    vmrun %rax
    vmsave %rax

    pop %rax                        /* gpr; RAX and RSP are in the VMCB */
    FOR_GPRS SAVE_GPR, %rax
    mov %rsi, RSI(%rax)
    mov %rdi, RDI(%rax)

    mov svm_host(%rip), %rax
    vmload %rax
    cli
    stgi
    FORGET_GPRS
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size svm_run, . - svm_run

    .section .note.GNU-stack, "", @progbits
