/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/paging.h"

#include <stddef.h>

#include "guests/runtime/frames.h"

static uint64_t *table_alloc(void *context, uint64_t *address)
{
    uint64_t *table = frames_alloc(FRAME_SIZE, FRAME_SIZE);

    (void)context;
    *address = gpa_of(table);
    return table;
}

static void table_free(void *context, uint64_t *table, uint64_t address)
{
    (void)context, (void)address;
    frames_free(table, FRAME_SIZE);
}

static uint64_t *table_at(void *context, uint64_t address)
{
    (void)context;
    return (uint64_t *)address;
}

const struct pgtable_memory paging_memory = { .alloc = table_alloc, .free = table_free, .at = table_at };

static struct pgtable current(void)
{
    struct pgtable t = { .memory = paging_memory };

    __asm__ volatile("mov %%cr3, %0" : "=r"(t.root));
    t.root &= PT_ADDRESS;
    return t;
}

bool paging_is_mapped(uint64_t va)
{
    struct pgtable t = current();
    unsigned level;

    return pgtable_leaf(&t, va, &level) != NULL;
}

bool paging_map(uint64_t va, uint64_t gpa, uint64_t size, uint64_t flags)
{
    struct pgtable t = current();

    return pgtable_map(&t, va, gpa, size, FRAME_SIZE, flags | PT_ACCESSED | PT_DIRTY);
}
