/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel, carried inside nidus.efi. */
    .section .rodata
    .balign 16
    .globl kernel_image, kernel_image_end
    .hidden kernel_image, kernel_image_end
kernel_image:
    .incbin KERNEL_IMAGE
kernel_image_end:
    .section .note.GNU-stack, "", @progbits
