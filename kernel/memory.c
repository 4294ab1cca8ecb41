/* SPDX-License-Identifier: BSD-2-Clause */
/* memory.c: nidus's own page tables, and what the memory map gives to the frame allocator. */
#include "kernel/memory.h"

#include <string.h>

#include "kernel/cpu.h"
#include "kernel/frames.h"
#include "kernel/log.h"
#include "kernel/trap.h"

/* SDM volume 3, 4.5.4: entries of four-level paging. */
#define PTE_PRESENT  (1ULL << 0)
#define PTE_WRITE    (1ULL << 1)
#define PTE_UNCACHED (3ULL << 3)    /* PWT and PCD: entry 3 of the PAT */
#define PTE_USED     (3ULL << 5)    /* A and D: the processor need not set them */
#define PTE_LEAF     (1ULL << 7)
#define PTE_GLOBAL   (1ULL << 8)
#define PTE_NX       (1ULL << 63)
#define PTE_ADDRESS  0x000ffffffffff000ULL

#define PTE_TABLE (PTE_PRESENT | PTE_WRITE)
#define PTE_DATA  (PTE_PRESENT | PTE_WRITE | PTE_USED | PTE_GLOBAL)
#define TABLE_ENTRIES 512u

#define PAT_DEFAULT 0x0007040600070406ULL /* SDM volume 3, 12.12.4 */

#define REGISTERS_BASE  0xffffc00000000000ULL
#define REGISTERS_LIMIT 0xffffc10000000000ULL

#define MIB           0x100000ULL
#define LEAF_2M       0x200000ULL
#define LOWEST_MEMORY MIB           /* what lies below is the firmware's, for ever */

extern char image_start[], image_text_end[], image_rodata_end[], image_end[];
extern uint64_t image_pml4[TABLE_ENTRIES], image_pt[TABLE_ENTRIES];
extern uint64_t image_phys;

/*
 * Where pages for tables come from.  Until devices are stopped only the image's own memory may be
 * written: early_tables.  Then a piece of RAM that frames_init sets aside (carve), then the allocator.
 */
static uint64_t early_tables[48][TABLE_ENTRIES] __attribute__((aligned(4096)));
static unsigned early_used;
static uint64_t carve_next, carve_end;
static bool frames_ready;

static const struct boot_info *memory_map;
static uint64_t registers_next = REGISTERS_BASE;
static uint64_t nx;                 /* PTE_NX where the processor has it */
static bool leaf_1g;

static uint64_t image_to_phys(const void *p)
{
    return (uint64_t)p - (uint64_t)image_start + image_phys;
}

static uint64_t image_bytes(void)
{
    return (uint64_t)(image_end - image_start);
}

/* Tables lie in the image or in the direct map. */
static uint64_t *table_at(uint64_t phys)
{
    if (phys - image_phys < image_bytes())
        return (uint64_t *)(image_start + (phys - image_phys));
    return phys_to_virt(phys);
}

static uint64_t table_new(void)
{
    if (frames_ready) {
        uint64_t phys = frames_alloc(0);
        if (phys != 0)
            memset(phys_to_virt(phys), 0, PAGE_SIZE);
        return phys;
    }
    if (carve_next < carve_end) {
        uint64_t phys = carve_next;
        carve_next += PAGE_SIZE;
        memset(phys_to_virt(phys), 0, PAGE_SIZE);
        return phys;
    }
    if (early_used < sizeof(early_tables) / sizeof(early_tables[0]))
        return image_to_phys(early_tables[early_used++]);
    return 0;
}

/* Level 1 is the page table, 4 the PML4. */
static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << 9 * (level - 1);
}

static unsigned level_index(uint64_t virt, unsigned level)
{
    return virt / level_size(level) % TABLE_ENTRIES;
}

static bool leaf_fits(uint64_t virt, uint64_t phys, uint64_t size, unsigned level)
{
    return (virt | phys) % level_size(level) == 0 && size >= level_size(level);
}

/*
 * Puts one leaf, as large as alignment, size and largest (a level) allow, and returns its size.  What is mapped already
 * stays, and is passed over (in the direct map it cannot mean anything else).  0: no page for a table.
 */
static uint64_t map_leaf(uint64_t virt, uint64_t phys, uint64_t size, uint64_t flags, unsigned largest)
{
    uint64_t *table = image_pml4;
    for (unsigned level = 4;; level--) {
        uint64_t *entry = &table[level_index(virt, level)];
        if (*entry == 0 && level <= largest && leaf_fits(virt, phys, size, level)) {
            *entry = phys | flags | (level > 1 ? PTE_LEAF : 0);
            return level_size(level);
        }
        if (level == 1 || (*entry & PTE_LEAF) != 0)
            return level_size(level) - virt % level_size(level);
        if (*entry == 0) {
            uint64_t new_table = table_new();
            if (new_table == 0)
                return 0;
            *entry = new_table | PTE_TABLE;
        }
        table = table_at(*entry & PTE_ADDRESS);
    }
}

static bool map(uint64_t virt, uint64_t phys, uint64_t size, uint64_t flags, unsigned largest)
{
    while (size != 0) {
        uint64_t done = map_leaf(virt, phys, size, flags, largest);
        if (done == 0)
            return false;
        if (done >= size)
            break;
        virt += done;
        phys += done;
        size -= done;
    }
    return true;
}

static bool map_direct(uint64_t phys, uint64_t size, unsigned largest)
{
    return map(DIRECT_MAP + phys, phys, size, PTE_DATA | nx, largest);
}

static bool is_ram(const struct boot_mem *m)
{
    return m->type == BOOT_MEM_FREE || m->type == BOOT_MEM_NIDUS;
}

/* Does firmware say that registers, or tables, are where nidus and its guests have their memory? */
static bool touches_ram(uint64_t phys, uint64_t size)
{
    for (unsigned i = 0; i < memory_map->memory_count; i++) {
        const struct boot_mem *m = &memory_map->memory[i];
        if (is_ram(m) && phys < m->base + m->size && m->base < phys + size)
            return true;
    }
    return false;
}

static bool is_mapped(uint64_t virt)
{
    uint64_t *table = image_pml4;
    for (unsigned level = 4;; level--) {
        uint64_t entry = table[level_index(virt, level)];
        if ((entry & PTE_PRESENT) == 0 || level == 1 || (entry & PTE_LEAF) != 0)
            return (entry & PTE_PRESENT) != 0;
        table = table_at(entry & PTE_ADDRESS);
    }
}

unsigned physical_bits(void)
{
    unsigned bits = cpuid_or_zero(0x80000008, 0).eax & 0xff;
    return bits >= 36 && bits <= 52 ? bits : 36;
}

static bool is_physical(uint64_t phys, uint64_t size)
{
    uint64_t limit = 1ULL << physical_bits();
    return size != 0 && phys < limit && size <= limit - phys;
}

volatile void *map_registers(uint64_t phys, uint64_t size)
{
    uint64_t offset = phys % PAGE_SIZE;
    if (!is_physical(phys, size) || touches_ram(phys, size))
        return NULL;
    phys -= offset;
    size = (size + offset + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;

    uint64_t virt = registers_next;
    if (size >= LEAF_2M)            /* the same offset in a large page on both sides */
        virt = (virt + LEAF_2M - 1) / LEAF_2M * LEAF_2M + phys % LEAF_2M;
    if (size > REGISTERS_LIMIT - virt || !map(virt, phys, size, PTE_DATA | PTE_UNCACHED | nx, 2))
        return NULL;
    registers_next = virt + size;
    return (volatile void *)(virt + offset);
}

const void *map_data(uint64_t phys, uint64_t size)
{
    if (!is_physical(phys, size))
        return NULL;
    for (uint64_t page = phys / PAGE_SIZE * PAGE_SIZE; page < phys + size; page += PAGE_SIZE)
        if (!is_mapped(DIRECT_MAP + page))
            return (const void *)map_registers(phys, size);
    return phys_to_virt(phys);
}

static bool is_guard(const char *page)
{
    for (unsigned i = 0; i < STACKS; i++)
        if (page == (const char *)stacks[i].guard)
            return true;
    return false;
}

static uint64_t image_rights(const char *page)
{
    if (is_guard(page))
        return 0;
    if (page < image_text_end)
        return PTE_PRESENT | PTE_USED | PTE_GLOBAL;
    if (page < image_rodata_end)
        return PTE_PRESENT | PTE_USED | PTE_GLOBAL | nx;
    return PTE_DATA | nx;
}

static void protect_image(void)
{
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t offset = i * PAGE_SIZE;
        uint64_t rights = offset < image_bytes() ? image_rights(image_start + offset) : 0;
        image_pt[i] = rights == 0 ? 0 : (image_phys + offset) | rights;
    }
}

/* Control registers as nidus wants them, not as the firmware left them. */
static void cpu_protect(void)
{
    struct cpuid features = cpuid_or_zero(7, 0);
    uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cr4 |= (features.ebx & 1u << 7) != 0 ? CR4_SMEP : 0;
    cr4 |= (features.ebx & 1u << 20) != 0 ? CR4_SMAP : 0;
    cr4 |= (features.ecx & 1u << 2) != 0 ? CR4_UMIP : 0;
    bool global = (cpuid(1, 0).edx & 1u << 13) != 0;

    write_cr4(cr4);                 /* without PGE: drops the firmware's global entries */
    write_cr0(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE);
    wrmsr(MSR_PAT, PAT_DEFAULT);
    write_cr3(image_to_phys(image_pml4));
    write_cr4(cr4 | (global ? CR4_PGE : 0));
}

bool memory_is_reserved(uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < memory_map->memory_count && size != 0; i++) {
        const struct boot_mem *m = &memory_map->memory[i];
        if (m->type != BOOT_MEM_RESERVED || base < m->base || base - m->base >= m->size)
            continue;
        uint64_t here = m->size - (base - m->base);
        if (here >= size)
            return true;
        base += here;
        size -= here;
    }
    return false;
}

void memory_init(const struct boot_info *boot)
{
    memory_map = boot;
    struct cpuid extended = cpuid_or_zero(0x80000001, 0);
    nx = (extended.edx & 1u << 20) != 0 ? PTE_NX : 0;
    leaf_1g = (extended.edx & 1u << 26) != 0;
    wrmsr(MSR_EFER, EFER_LME | (nx != 0 ? EFER_NXE : 0));

    protect_image();
    memset(image_pml4, 0, (TABLE_ENTRIES - 1) * sizeof(image_pml4[0]));
    for (unsigned i = 0; i < boot->memory_count; i++) {
        const struct boot_mem *m = &boot->memory[i];
        if (m->type == BOOT_MEM_ACPI && is_physical(m->base, m->size) && !map_direct(m->base, m->size, 2))
            log_line("memory: no table left to map ACPI memory at %#llx", (unsigned long long)m->base);
    }
    cpu_protect();
}

/* For each run: the rounding of its bitmap, and page tables of three levels at its ends and at those of the image. */
#define RUN_OVERHEAD (16 * PAGE_SIZE)

/* A run of RAM: entries of the map that touch. */
struct run {
    uint64_t base, end;
};

/* The next run from entry *i on.  false: no more. */
static bool next_run(const struct boot_info *boot, unsigned *i, struct run *run)
{
    while (*i < boot->memory_count && !is_ram(&boot->memory[*i]))
        ++*i;
    if (*i == boot->memory_count)
        return false;
    run->base = run->end = boot->memory[*i].base;
    for (; *i < boot->memory_count && is_ram(&boot->memory[*i]) && boot->memory[*i].base == run->end; ++*i)
        run->end += boot->memory[*i].size;
    return true;
}

/* Sets memory aside for the bitmaps and for the tables of the direct map: in the largest free piece, mapped with large leaves. */
static void carve_init(const struct boot_info *boot, uint64_t bytes)
{
    struct run best = { 0 };
    for (unsigned i = 0; i < boot->memory_count; i++) {
        const struct boot_mem *m = &boot->memory[i];
        if (m->type != BOOT_MEM_FREE || m->base < LOWEST_MEMORY)
            continue;
        uint64_t base = (m->base + LEAF_2M - 1) / LEAF_2M * LEAF_2M;
        uint64_t end = (m->base + m->size) / LEAF_2M * LEAF_2M;
        if (base < end && end - base > best.end - best.base)
            best = (struct run){ base, end };
    }
    bytes = (bytes + LEAF_2M - 1) / LEAF_2M * LEAF_2M;
    if (best.end - best.base < bytes)
        panic("memory: the largest free piece has %llu MiB; %llu MiB are needed to begin with",
              (unsigned long long)((best.end - best.base) / MIB), (unsigned long long)(bytes / MIB));
    if (!map_direct(best.base, bytes, 2))
        panic("memory: no table left to map the first %llu MiB", (unsigned long long)(bytes / MIB));
    carve_next = best.base;
    carve_end = best.base + bytes;
}

static uint64_t *carve_bitmap(uint64_t bytes)
{
    uint64_t *bitmap = phys_to_virt(carve_next);
    memset(bitmap, 0, bytes);
    carve_next += (bytes + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    return bitmap;
}

/* [base, end) of the direct map, the image left out. */
static void map_run(struct run run)
{
    uint64_t image_limit = image_phys + image_bytes();
    uint64_t before = run.end < image_phys ? run.end : image_phys;
    uint64_t after = run.base > image_limit ? run.base : image_limit;
    unsigned largest = leaf_1g ? 3 : 2;
    bool ok = true;
    if (run.base < before)
        ok = map_direct(run.base, before - run.base, largest);
    if (ok && after < run.end)
        ok = map_direct(after, run.end - after, largest);
    if (!ok)
        panic("memory: no page for the tables of RAM at %#llx", (unsigned long long)run.base);
}

/* Frees a free piece, but for what was carved out of it. */
static void free_piece(uint64_t base, uint64_t end, struct run carved)
{
    if (base < LOWEST_MEMORY)
        base = LOWEST_MEMORY;
    if (base >= end)
        return;
    if (carved.base >= end || carved.end <= base) {
        frames_add(base, end - base);
        return;
    }
    if (base < carved.base)
        frames_add(base, carved.base - base);
    if (carved.end < end)
        frames_add(carved.end, end - carved.end);
}

void frames_init(const struct boot_info *boot)
{
    struct run run;
    uint64_t need = 0, ram = 0;
    for (unsigned i = 0; next_run(boot, &i, &run);) {
        uint64_t size = run.end - run.base;
        need += frames_heads_bytes(size / PAGE_SIZE) + RUN_OVERHEAD;
        need += leaf_1g ? 0 : size / level_size(3) * PAGE_SIZE;
        ram += size;
    }
    carve_init(boot, need);
    uint64_t carve_start = carve_next;

    for (unsigned i = 0; next_run(boot, &i, &run);) {
        uint64_t pages = (run.end - run.base) / PAGE_SIZE;
        frames_add_zone(run.base, pages, carve_bitmap(frames_heads_bytes(pages)));
        map_run(run);
    }
    for (unsigned i = 0; i < boot->memory_count; i++) {
        const struct boot_mem *m = &boot->memory[i];
        if (m->type == BOOT_MEM_FREE)
            free_piece(m->base, m->base + m->size, (struct run){ carve_start, carve_next });
    }
    frames_ready = true;
    log_line("memory: %llu MiB, %llu MiB free", (unsigned long long)(ram / MIB),
             (unsigned long long)(frames_free_bytes() / MIB));
}
