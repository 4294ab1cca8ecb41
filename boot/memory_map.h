/* SPDX-License-Identifier: BSD-2-Clause */
/* memory_map.h: the list of memory in struct boot_info, made from what firmware says. */
#ifndef NIDUS_BOOT_MEMORY_MAP_H
#define NIDUS_BOOT_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/boot_info.h"

/* EFI_MEMORY_DESCRIPTOR (UEFI 2.10, section 7.2.3), which firmware may make longer. */
struct efi_memory {
    uint32_t type;              /*  0 */
    uint32_t pad;               /*  4 */
    uint64_t base;              /*  8 */
    uint64_t virt;              /* 16 */
    uint64_t pages;             /* 24 */
    uint64_t attribute;         /* 32 */
};
_Static_assert(sizeof(struct efi_memory) == 40, "EFI_MEMORY_DESCRIPTOR");

/*
 * Fills boot->memory from map_size bytes of descriptors, each entry_size long, in any order.  Where they overlap,
 * the type that says less freedom wins.  false: more than BOOT_MAX_MEMORY pieces.
 */
bool memory_map_build(struct boot_info *boot, const void *map, size_t map_size, size_t entry_size);
/* Lays one piece over what is there.  base and size are multiples of 4 KiB.  false: no room for more pieces. */
bool memory_map_put(struct boot_info *boot, uint64_t base, uint64_t size, enum boot_mem_type type);
/* Bytes of BOOT_MEM_FREE. */
uint64_t memory_map_free(const struct boot_info *boot);

#endif
