/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * svm.S: the way into a guest and back.
 */
    .text

/* Offsets in the array of general registers, enum vcpu_register times 8.  RAX and RSP are in the VMCB. */
    .set RCX, 8
    .set RDX, 16
    .set RBX, 24
    .set RBP, 40
    .set RSI, 48
    .set RDI, 56
    .set R8, 64

/*
 * void svm_enter(uint64_t vmcb, uint64_t gpr[16], uint64_t host_vmcb)
 *
 * vmcb, host_vmcb: physical addresses.  host_vmcb holds nidus's FS, GS, TR, LDTR and system-call MSRs, which
 * VMRUN does not switch.  Interrupts are off at entry and at return.
 *
 * With V_INTR_MASKING the host's IF decides whether an interrupt leaves the guest, so IF is set for VMRUN
 * while GIF holds everything back.  STGI comes last: only then may an NMI find nidus's own state.
 */
    .globl svm_enter
    .type svm_enter, @function
svm_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdx
    push %rsi

    clgi
    sti
    mov %rdi, %rax
    mov RCX(%rsi), %rcx
    mov RDX(%rsi), %rdx
    mov RBX(%rsi), %rbx
    mov RBP(%rsi), %rbp
    mov RDI(%rsi), %rdi
    mov R8(%rsi), %r8
    mov R8+8(%rsi), %r9
    mov R8+16(%rsi), %r10
    mov R8+24(%rsi), %r11
    mov R8+32(%rsi), %r12
    mov R8+40(%rsi), %r13
    mov R8+48(%rsi), %r14
    mov R8+56(%rsi), %r15
    mov RSI(%rsi), %rsi
    vmload %rax
    vmrun %rax
    vmsave %rax

    mov (%rsp), %rax                /* RAX is nidus's again: it needs no saving */
    mov %rcx, RCX(%rax)
    mov %rdx, RDX(%rax)
    mov %rbx, RBX(%rax)
    mov %rbp, RBP(%rax)
    mov %rsi, RSI(%rax)
    mov %rdi, RDI(%rax)
    mov %r8, R8(%rax)
    mov %r9, R8+8(%rax)
    mov %r10, R8+16(%rax)
    mov %r11, R8+24(%rax)
    mov %r12, R8+32(%rax)
    mov %r13, R8+40(%rax)
    mov %r14, R8+48(%rax)
    mov %r15, R8+56(%rax)

    pop %rsi
    pop %rax
    vmload %rax
    cli
    stgi
    /* No value of the guest's stays in a register that nidus's code does not write first. */
    xor %ecx, %ecx
    xor %edx, %edx
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size svm_enter, . - svm_enter

    .section .note.GNU-stack, "", @progbits
