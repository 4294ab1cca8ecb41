/* SPDX-License-Identifier: BSD-2-Clause */
/* user_call.S: to CPL 3 by IRETQ, back by INT3. */

#define USER_DATA (0x18 | 3)
#define USER_CODE (0x20 | 3)
#define RFLAGS    0x2
#define TSS_RSP0  4

    .text
/* int64_t user_enter(number RDI, payload RSI, device RDX, rip RCX, rsp R8) */
    .globl user_enter
user_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, user_tss+TSS_RSP0(%rip)  /* the gate comes back to this stack */
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    pushq $USER_DATA
    pushq %r8
    pushq $RFLAGS
    pushq $USER_CODE
    pushq %rcx
    iretq

    .globl user_return
user_return:
    movq user_tss+TSS_RSP0(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/* What runs at CPL 3, copied to a page of its own: one of the two. */
    .section .rodata
    .globl user_vmmcall, user_vmcall, user_code_end
user_vmmcall:
    vmmcall
    int3
user_vmcall:
    vmcall
    int3
user_code_end:

    .bss
    .balign 8
    .globl user_tss
user_tss:
    .skip 104

    .section .note.GNU-stack, "", @progbits
