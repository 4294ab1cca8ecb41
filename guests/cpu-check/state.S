/* SPDX-License-Identifier: BSD-2-Clause */
/* state.S: the general registers over a turn of the other guests. */
    .text
/* uint64_t state_registers(uint64_t pattern): 0 when all but RSP are after HLT what they were before. */
    .globl state_registers
state_registers:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rdi, pattern(%rip)
    leaq 1(%rdi), %rax
    leaq 2(%rdi), %rcx
    leaq 3(%rdi), %rdx
    leaq 4(%rdi), %rbx
    leaq 5(%rdi), %rbp
    leaq 6(%rdi), %rsi
    leaq 8(%rdi), %r8
    leaq 9(%rdi), %r9
    leaq 10(%rdi), %r10
    leaq 11(%rdi), %r11
    leaq 12(%rdi), %r12
    leaq 13(%rdi), %r13
    leaq 14(%rdi), %r14
    leaq 15(%rdi), %r15
    leaq 7(%rdi), %rdi
    hlt
    pushq %r15
    pushq %r14
    pushq %r13
    pushq %r12
    pushq %r11
    pushq %r10
    pushq %r9
    pushq %r8
    pushq %rdi
    pushq %rsi
    pushq %rbp
    pushq %rbx
    pushq %rdx
    pushq %rcx
    pushq %rax
    movq pattern(%rip), %rdi
    movl $15, %ecx
    xorl %eax, %eax
1:  incq %rdi
    popq %rdx
    subq %rdi, %rdx
    orq %rdx, %rax
    loop 1b
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .bss
    .balign 8
pattern:
    .skip 8

    .section .note.GNU-stack, "", @progbits
