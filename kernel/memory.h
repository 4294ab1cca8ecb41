/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory.h: physical memory, nidus's own address space.
 *
 * All RAM but the image's is mapped, writable and not executable, at DIRECT_MAP + physical address; the image only at
 * KERNEL_VIRT_BASE, with W^X (so virt_to_phys is not for its variables); registers wherever map_registers puts them, uncached.
 */
#ifndef NIDUS_MEMORY_H
#define NIDUS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/boot_info.h"

#define PAGE_SIZE  4096ULL
#define PAGE_SHIFT 12
#define DIRECT_MAP 0xffff800000000000ULL

static inline void *phys_to_virt(uint64_t phys) { return (void *)(phys + DIRECT_MAP); }
/* virt: an address in the direct map. */
static inline uint64_t virt_to_phys(const void *virt) { return (uint64_t)virt - DIRECT_MAP; }

/*
 * Two steps.  memory_init gives the image its rights, maps the ACPI tables and leaves the firmware's page tables; it writes to
 * the image's own memory only.  Once no device has Bus Master, frames_init maps all RAM and opens the
 * allocator: from then on memory that the firmware used is overwritten.
 */
void memory_init(const struct boot_info *boot);
void frames_init(const struct boot_info *boot);

/* 2^order pages (0 to 18), aligned to their size, not zeroed; 0: none left. */
uint64_t frames_alloc(unsigned order);
void frames_free(uint64_t phys, unsigned order);
uint64_t frames_free_bytes(void);

/* Registers or tables outside RAM, uncached; phys and size need no alignment.  Never unmapped.  NULL: no space,
 * or a part of it is RAM of nidus's or the guests'. */
volatile void *map_registers(uint64_t phys, uint64_t size);
/* Data that the firmware left, cached where it lies in RAM that is mapped, else as map_registers. */
const void *map_data(uint64_t phys, uint64_t size);

/* Is all of it memory that the firmware lists as reserved? */
bool memory_is_reserved(uint64_t base, uint64_t size);

/* Width of a physical address: CPUID 80000008h. */
unsigned physical_bits(void);

#endif
