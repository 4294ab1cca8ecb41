/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmx.S: the way into a guest and back.
 */
#include "kernel/vmx/vmcs.h"

    .text

/* Offsets in the array of general registers, enum vcpu_register times 8.  RSP is in the VMCS. */
    .set RAX, 0
    .set RCX, 8
    .set RDX, 16
    .set RBX, 24
    .set RBP, 40
    .set RSI, 48
    .set RDI, 56
    .set R8, 64

/*
 * bool vmx_enter(uint64_t gpr[16], bool launched)
 *
 * Interrupts are off at entry and at return: VMX puts nothing of the guest's into nidus's RFLAGS.
 */
    .globl vmx_enter, vmx_exit
    .type vmx_enter, @function
vmx_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi

    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
    test %sil, %sil
    mov RAX(%rdi), %rax
    mov RCX(%rdi), %rcx
    mov RDX(%rdi), %rdx
    mov RBX(%rdi), %rbx
    mov RBP(%rdi), %rbp
    mov RSI(%rdi), %rsi
    mov R8(%rdi), %r8
    mov R8+8(%rdi), %r9
    mov R8+16(%rdi), %r10
    mov R8+24(%rdi), %r11
    mov R8+32(%rdi), %r12
    mov R8+40(%rdi), %r13
    mov R8+48(%rdi), %r14
    mov R8+56(%rdi), %r15
    mov RDI(%rdi), %rdi
    jz 1f
    vmresume
    jmp .Lfailed
1:  vmlaunch
.Lfailed:
    pop %rdi
    xor %eax, %eax
    jmp .Lout

vmx_exit:
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, RAX(%rdi)
    mov %rcx, RCX(%rdi)
    mov %rdx, RDX(%rdi)
    mov %rbx, RBX(%rdi)
    mov %rbp, RBP(%rdi)
    mov %rsi, RSI(%rdi)
    mov %r8, R8(%rdi)
    mov %r9, R8+8(%rdi)
    mov %r10, R8+16(%rdi)
    mov %r11, R8+24(%rdi)
    mov %r12, R8+32(%rdi)
    mov %r13, R8+40(%rdi)
    mov %r14, R8+48(%rdi)
    mov %r15, R8+56(%rdi)
    pop %rax
    mov %rax, RDI(%rdi)
    pop %rdi
    mov $1, %eax
    /* One call before the first return: else that return may still follow what the guest taught the predictor (Intel's advisory on
     * post-barrier return stack buffer predictions). */
    call 2f
    int3
2:  add $8, %rsp
    lfence

    /* No value of the guest's stays in a register that nidus's code does not write first. */
.Lout:
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
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
    .size vmx_enter, . - vmx_enter

    .section .note.GNU-stack, "", @progbits
