/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crt0.S: from what nidus gives (64-bit mode, RDI = guest-info page, no stack, no IDT; kernel/abi/nidus.h)
 * to what C needs: a stack, SSE, tables of our own, and a report for every exception.
 */

#define STACK_SIZE 65536
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10

#define CR0_MP (1 << 1)
#define CR0_EM (1 << 2)
#define CR0_TS (1 << 3)
#define CR4_OSFXSR (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)

    .section .text.start, "ax"
    .globl _start
_start:
    /* What the CPU held is kept, for a guest that wants to know whether it was anybody else's. */
    movq %rax, start_registers+0(%rip)
    movq %rcx, start_registers+8(%rip)
    movq %rdx, start_registers+16(%rip)
    movq %rbx, start_registers+24(%rip)
    movq %rsp, start_registers+32(%rip)
    movq %rbp, start_registers+40(%rip)
    movq %rsi, start_registers+48(%rip)
    movq %rdi, start_registers+56(%rip)
    movq %r8, start_registers+64(%rip)
    movq %r9, start_registers+72(%rip)
    movq %r10, start_registers+80(%rip)
    movq %r11, start_registers+88(%rip)
    movq %r12, start_registers+96(%rip)
    movq %r13, start_registers+104(%rip)
    movq %r14, start_registers+112(%rip)
    movq %r15, start_registers+120(%rip)
    fxsave64 start_fxsave(%rip)
    cli
    cld
    leaq stack_top(%rip), %rsp
    xorl %ebp, %ebp
    movq %rdi, %rbx

    lgdt gdt_pointer(%rip)
    movl $DATA_SELECTOR, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    pushq $CODE_SELECTOR
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:
    movq %cr0, %rax
    andq $~(CR0_EM | CR0_TS), %rax
    orq $CR0_MP, %rax
    movq %rax, %cr0
    movq %cr4, %rax
    orq $(CR4_OSFXSR | CR4_OSXMMEXCPT), %rax
    movq %rax, %cr4
    fninit
    pushq $0x1f80
    ldmxcsr (%rsp)
    addq $8, %rsp

    movq %rbx, %rdi
    call runtime_start
    ud2                             /* runtime_start does not return */

/* One entry per exception: those that push no error code push a zero, so that struct trap_frame has one shape. */
    .macro trap_entry vector
    .balign 16
    .if \vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17 && \vector != 21 && \vector != 29 && \vector != 30
    pushq $0
    .endif
    pushq $\vector
    jmp trap_common
    .endm

    .text
    .balign 16
    .globl trap_entries
trap_entries:
    .set vector, 0
    .rept 32
    trap_entry vector
    .set vector, vector + 1
    .endr

trap_common:
    movq %rsp, %rdi                 /* struct trap_frame */
    andq $-16, %rsp
    cld
    call trap_report                /* does not return */
    ud2

    .section .rodata
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 64-bit code */
    .quad 0x00cf93000000ffff        /* data */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .bss
    .balign 16
    .globl start_fxsave, start_registers
start_fxsave:
    .skip 512
start_registers:
    .skip 128
    .balign 4096
    .skip STACK_SIZE
stack_top:

    .section .note.GNU-stack, "", @progbits
