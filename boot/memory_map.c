/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/memory_map.h"

#include <string.h>

enum { PAGE = 4096, EFI_WRITE_BACK = 8 };
#define LAST_PAGE (UINT64_MAX - (PAGE - 1))

/* EFI_MEMORY_TYPE; whatever is not here is reserved. */
static const uint8_t type_of[] = {
    [1] = BOOT_MEM_FREE,        /* EfiLoaderCode */
    [2] = BOOT_MEM_FREE,        /* EfiLoaderData */
    [3] = BOOT_MEM_FREE,        /* EfiBootServicesCode */
    [4] = BOOT_MEM_FREE,        /* EfiBootServicesData */
    [5] = BOOT_MEM_RUNTIME,     /* EfiRuntimeServicesCode */
    [6] = BOOT_MEM_RUNTIME,     /* EfiRuntimeServicesData */
    [7] = BOOT_MEM_FREE,        /* EfiConventionalMemory */
    [9] = BOOT_MEM_ACPI,        /* EfiACPIReclaimMemory */
    [10] = BOOT_MEM_ACPI,       /* EfiACPIMemoryNVS */
    [11] = BOOT_MEM_MMIO,       /* EfiMemoryMappedIO */
    [12] = BOOT_MEM_MMIO,       /* EfiMemoryMappedIOPortSpace */
};

/* What lies over what where descriptors overlap: the later, the higher. */
static const enum boot_mem_type layers[] = {
    BOOT_MEM_FREE, BOOT_MEM_MMIO, BOOT_MEM_RESERVED, BOOT_MEM_ACPI, BOOT_MEM_RUNTIME,
};

static enum boot_mem_type memory_type(const struct efi_memory *m)
{
    enum boot_mem_type type = BOOT_MEM_RESERVED;

    if (m->type < sizeof(type_of) && type_of[m->type] != 0)
        type = (enum boot_mem_type)type_of[m->type];
    /* Memory that cannot be cached is no place for tables or guests. */
    return type == BOOT_MEM_FREE && (m->attribute & EFI_WRITE_BACK) == 0 ? BOOT_MEM_RESERVED : type;
}

static bool insert_piece(struct boot_info *boot, unsigned at, struct boot_mem piece)
{
    if (boot->memory_count == BOOT_MAX_MEMORY)
        return false;
    memmove(&boot->memory[at + 1], &boot->memory[at], (boot->memory_count - at) * sizeof(piece));
    boot->memory[at] = piece;
    boot->memory_count++;
    return true;
}

static void remove_piece(struct boot_info *boot, unsigned at)
{
    boot->memory_count--;
    memmove(&boot->memory[at], &boot->memory[at + 1], (boot->memory_count - at) * sizeof(boot->memory[0]));
}

/* Makes sure that no piece crosses addr; *at is the first piece that begins at or after it. */
static bool split(struct boot_info *boot, uint64_t addr, unsigned *at)
{
    unsigned i = 0;

    while (i < boot->memory_count && boot->memory[i].base + boot->memory[i].size <= addr)
        i++;
    *at = i;
    if (i == boot->memory_count || boot->memory[i].base >= addr)
        return true;

    struct boot_mem upper = boot->memory[i];

    upper.size -= addr - upper.base;
    upper.base = addr;
    if (!insert_piece(boot, i + 1, upper))
        return false;
    boot->memory[i].size = addr - boot->memory[i].base;
    *at = i + 1;
    return true;
}

static void merge(struct boot_info *boot, unsigned lower)
{
    struct boot_mem *m = &boot->memory[lower];

    if (lower + 1 < boot->memory_count && m[0].type == m[1].type && m[0].base + m[0].size == m[1].base) {
        m[0].size += m[1].size;
        remove_piece(boot, lower + 1);
    }
}

bool memory_map_put(struct boot_info *boot, uint64_t base, uint64_t size, enum boot_mem_type type)
{
    unsigned first, last;

    if (!split(boot, base, &first) || !split(boot, base + size, &last))
        return false;
    for (; last > first; last--)
        remove_piece(boot, last - 1);
    if (!insert_piece(boot, first, (struct boot_mem){ .base = base, .size = size, .type = type }))
        return false;
    merge(boot, first);
    if (first > 0)
        merge(boot, first - 1);
    return true;
}

static bool put_layer(struct boot_info *boot, const uint8_t *map, size_t map_size, size_t entry_size,
                      enum boot_mem_type layer)
{
    struct efi_memory m;

    for (size_t at = 0; at + sizeof(m) <= map_size; at += entry_size) {
        memcpy(&m, map + at, sizeof(m));
        m.base -= m.base % PAGE;
        /* Sums below must not wrap: the last page of the address space is never memory. */
        if (m.pages > (LAST_PAGE - m.base) / PAGE)
            m.pages = (LAST_PAGE - m.base) / PAGE;
        if (m.pages != 0 && memory_type(&m) == layer && !memory_map_put(boot, m.base, m.pages * PAGE, layer))
            return false;
    }
    return true;
}

bool memory_map_build(struct boot_info *boot, const void *map, size_t map_size, size_t entry_size)
{
    boot->memory_count = 0;
    if (entry_size < sizeof(struct efi_memory))
        return false;
    for (unsigned i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
        if (!put_layer(boot, map, map_size, entry_size, layers[i]))
            return false;
    return true;
}

uint64_t memory_map_free(const struct boot_info *boot)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < boot->memory_count; i++)
        if (boot->memory[i].type == BOOT_MEM_FREE)
            bytes += boot->memory[i].size;
    return bytes;
}
