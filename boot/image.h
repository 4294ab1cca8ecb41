/* SPDX-License-Identifier: BSD-2-Clause */
/* image.h: a guest's image, an ELF file, checked completely before anything is made of it. */
#ifndef NIDUS_BOOT_IMAGE_H
#define NIDUS_BOOT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/text.h"
#include "kernel/boot_info.h"

/*
 * file: size bytes of a 64-bit x86-64 ELF executable, static, linked to run where it is loaded.  Fills entry,
 * segment_count and segment[] of *guest, whose memory is set; src is the offset in the file plus `phys`.
 * false: *guest is as it was and reason says what is wrong.
 */
bool image_check(const void *file, size_t size, uint64_t phys, struct boot_guest *guest, char reason[TEXT_MAX]);

#endif
