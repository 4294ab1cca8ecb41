/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * entry.S: the first instructions, at whatever physical address the image was put.
 *
 * RDI: physical address of struct boot_info.  The code builds a top table from the firmware's: its
 * lower half, which maps all memory one to one, stays, and appears again in the upper half, so that
 * DIRECT_MAP + physical address is valid from here on; the last entry leads to the image at
 * KERNEL_VIRT_BASE.  memory_init takes the firmware's entries out again.
 */
#include "kernel/trap.h"

#define PTE_PRESENT_WRITE 3
#define KERNEL_MAGIC      0x6c6e726b7375646e

    .section .entry, "ax"
    .global kernel_entry
kernel_entry:
    jmp .Lstart
    .balign 8
    .quad KERNEL_MAGIC
    .quad image_file_size
    .quad image_size

.Lstart:
    cli
    cld
    mov     %rdi, %r14
    lea     kernel_entry(%rip), %r15        /* physical address of the image */

    lea     image_bss_start(%rip), %rdi
    lea     image_end(%rip), %rcx
    sub     %rdi, %rcx
    xor     %eax, %eax
    rep stosb

    mov     %cr3, %rdx
    and     $~0xfff, %rdx
    lea     image_pml4(%rip), %rbx
    mov     %rdx, %rsi
    mov     %rbx, %rdi
    mov     $256, %ecx
    rep movsq
    mov     %rdx, %rsi
    mov     $255, %ecx
    rep movsq

    lea     image_pdpt+PTE_PRESENT_WRITE(%rip), %rax
    mov     %rax, 511*8(%rbx)
    lea     image_pd+PTE_PRESENT_WRITE(%rip), %rax
    mov     %rax, image_pdpt+510*8(%rip)
    lea     image_pt(%rip), %rdi
    lea     PTE_PRESENT_WRITE(%rdi), %rax
    mov     %rax, image_pd(%rip)
    lea     PTE_PRESENT_WRITE(%r15), %rax
    mov     $512, %ecx
1:  stosq
    add     $4096, %rax
    loop    1b

    mov     %r15, image_phys(%rip)
    mov     %rbx, %cr3
    movabs  $2f, %rax
    jmp     *%rax
2:  lea     stacks+STACK_GUARD+STACK_SIZE(%rip), %rsp
    xor     %ebp, %ebp
    mov     %r14, %rdi
    call    kernel_main
    ud2

    .bss
    .balign 4096
    .global image_pml4, image_pt, image_phys
image_pml4: .skip 4096
image_pdpt: .skip 4096
image_pd:   .skip 4096
image_pt:   .skip 4096
image_phys: .skip 8

    .section .note.GNU-stack, "", @progbits
