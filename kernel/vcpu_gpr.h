/* SPDX-License-Identifier: BSD-2-Clause */
/* vcpu_gpr.h: macros of svm.S and vmx.S: the general registers to and from uint64_t gpr[VCPU_GPRS].  RSP is the backend's own. */

/* Offsets: enum vcpu_register times 8. */
    .set RAX, 0
    .set RCX, 8
    .set RDX, 16
    .set RBX, 24
    .set RBP, 40
    .set RSI, 48
    .set RDI, 56
    .set R8, 64

/* All but RAX and the base itself. */
    .macro FOR_GPRS operation, base
    \operation RCX, %rcx, \base
    \operation RDX, %rdx, \base
    \operation RBX, %rbx, \base
    \operation RBP, %rbp, \base
    \operation R8, %r8, \base
    \operation R8+8, %r9, \base
    \operation R8+16, %r10, \base
    \operation R8+24, %r11, \base
    \operation R8+32, %r12, \base
    \operation R8+40, %r13, \base
    \operation R8+48, %r14, \base
    \operation R8+56, %r15, \base
    .endm
    .macro LOAD_GPR offset, register, base
    mov \offset(\base), \register
    .endm
    .macro SAVE_GPR offset, register, base
    mov \register, \offset(\base)
    .endm

/* No value of the guest's stays in a register that nidus's code does not write first. */
    .macro FORGET_GPRS
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    .endm
