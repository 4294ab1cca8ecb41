/* SPDX-License-Identifier: BSD-2-Clause */
/* efi.h: firmware's services as nidus.efi uses them. */
#ifndef NIDUS_BOOT_EFI_H
#define NIDUS_BOOT_EFI_H

#include <efi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/config.h"

extern EFI_SYSTEM_TABLE *efi;

/* One line on the console of firmware.  At most TEXT_MAX characters. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same about a line of nidus.conf (0: all of it); false, for the caller to return. */
bool refuse(unsigned line, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *efi_status_name(EFI_STATUS status);

/*
 * Whole pages that stay in use until the kernel frees them: BOOT_MEM_NIDUS.  Zeroed.  NULL: no memory left.
 * type: EfiLoaderData, or EfiLoaderCode for what runs (firmware may forbid to execute data).
 */
void *pages_keep(uint64_t bytes, EFI_MEMORY_TYPE type);
/* Gives all of them back: nothing was started. */
void pages_free_all(void);
/* Marks all of them in boot->memory.  false: no room. */
bool pages_mark(struct boot_info *boot);

/* The volume that nidus.efi came from.  false: said why. */
bool volume_open(EFI_HANDLE image);
/* Where the file NAME of nidus.conf is, until the next call: \nidus\NAME, with backslashes. */
const char *file_path(const char *name);
/*
 * Reads file_path(name), of at most `limit` bytes, into pages_keep memory, behind which a zero byte stands.  line: that of
 * nidus.conf which names the file.  NULL: said why.
 */
void *file_read(const char *name, unsigned line, uint64_t limit, size_t *size);

/* The devices of every guest as exact functions, in boot->guest[].device.  false: said why. */
bool devices_resolve(const struct config *config, struct boot_info *boot);

/* ACPI root pointer and framebuffer; each may be missing. */
void platform_find(struct boot_info *boot);

#endif
