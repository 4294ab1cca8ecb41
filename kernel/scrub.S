/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scrub.S: void memory_scrub(void *to, uint64_t size)
 *
 * Sixteen bytes a store, non-temporal.  XMM0 may be a guest's and is put back.
 */
    .text
    .globl memory_scrub
    .type memory_scrub, @function
memory_scrub:
    sub $24, %rsp
    movdqu %xmm0, (%rsp)
    pxor %xmm0, %xmm0
    add %rdi, %rsi
1:
    .set offset, 0
    .rept 16
    movntdq %xmm0, offset(%rdi)
    .set offset, offset + 16
    .endr
    add $256, %rdi
    cmp %rsi, %rdi
    jne 1b
    sfence
    movdqu (%rsp), %xmm0
    add $24, %rsp
    ret
    .size memory_scrub, . - memory_scrub

    .section .note.GNU-stack, "", @progbits
