/* SPDX-License-Identifier: BSD-2-Clause */
/* trap.S: the 256 entries of the IDT, 16 bytes each, and what they have in common. */
#include "kernel/trap.h"

    .text
    .balign 16
    .global trap_entries
trap_entries:
    .set vector, 0
    .rept 256
    .balign 16
    /* exceptions that push an error code themselves: 8, 10 to 14, 17, 21, 29, 30 */
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    push    $0
    .endif
    push    $vector
    jmp     trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    push    %rax
    push    %rbx
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    push    %rbp
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    cld
    mov     %rsp, %rdi
    call    trap_handle
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rbp
    pop     %rdi
    pop     %rsi
    pop     %rdx
    pop     %rcx
    pop     %rbx
    pop     %rax
    add     $16, %rsp
    iretq

/* void segments_load(void): CS, SS and the data segments from nidus's GDT. */
    .global segments_load
segments_load:
    mov     $SELECTOR_DATA, %eax
    mov     %eax, %ss
    mov     %eax, %ds
    mov     %eax, %es
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    pop     %rax
    push    $SELECTOR_CODE
    push    %rax
    lretq

    .section .note.GNU-stack, "", @progbits
