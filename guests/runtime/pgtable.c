/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/pgtable.h"

#include <stddef.h>

#define PAGE_SHIFT   12u
#define INDEX_BITS   9u
#define ADDRESS_BITS (PAGE_SHIFT + PT_LEVELS * INDEX_BITS)
#define HALF         (1ULL << (ADDRESS_BITS - 1))

uint64_t pgtable_span(unsigned level)
{
    return 1ULL << (PAGE_SHIFT + (level - 1) * INDEX_BITS);
}

static unsigned index_of(uint64_t va, unsigned level)
{
    return (unsigned)(va / pgtable_span(level)) % PT_ENTRIES;
}

/* Bits 63:48 are copies of bit 47. */
static uint64_t canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << (64 - ADDRESS_BITS)) >> (64 - ADDRESS_BITS));
}

static unsigned leaf_level(uint64_t leaf)
{
    for (unsigned level = 1; level <= 3; level++)
        if (leaf == pgtable_span(level))
            return level;
    return 0;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PT_LARGE);
}

/* [va, va + size) lies in one canonical half. */
static bool range_valid(uint64_t va, uint64_t size)
{
    return size && canonical(va) == va && (va ^ (va + (size - 1))) < HALF;
}

bool pgtable_init(struct pgtable *t, const struct pgtable_memory *memory)
{
    t->memory = *memory;
    return memory->alloc(memory->context, &t->root) != NULL;
}

static void free_table(struct pgtable *t, uint64_t address, unsigned level)
{
    uint64_t *table = t->memory.at(t->memory.context, address);

    for (unsigned i = 0; level > 1 && i < PT_ENTRIES; i++)
        if ((table[i] & PT_PRESENT) && !is_leaf(table[i], level))
            free_table(t, table[i] & PT_ADDRESS, level - 1);
    t->memory.free(t->memory.context, table, address);
}

void pgtable_destroy(struct pgtable *t)
{
    free_table(t, t->root, PT_LEVELS);
}

volatile uint64_t *pgtable_entry(const struct pgtable *t, uint64_t va, unsigned level)
{
    uint64_t address = t->root;

    if (canonical(va) != va)
        return NULL;
    for (unsigned l = PT_LEVELS;; l--) {
        volatile uint64_t *entry = t->memory.at(t->memory.context, address) + index_of(va, l);
        uint64_t value = pgtable_read(entry);

        if (l == level)
            return entry;
        if (!(value & PT_PRESENT) || is_leaf(value, l))
            return NULL;
        address = value & PT_ADDRESS;
    }
}

volatile uint64_t *pgtable_leaf(const struct pgtable *t, uint64_t va, unsigned *level)
{
    for (unsigned l = 1; l < PT_LEVELS; l++) {
        volatile uint64_t *entry = pgtable_entry(t, va, l);

        if (!entry || !(pgtable_read(entry) & PT_PRESENT) || !is_leaf(pgtable_read(entry), l))
            continue;
        *level = l;
        return entry;
    }
    return NULL;
}

/* The entry of `level` for va, with the tables on the way to it made.  NULL: no page, or a larger leaf is there. */
static volatile uint64_t *reach(struct pgtable *t, uint64_t va, unsigned level, uint64_t flags)
{
    uint64_t address = t->root;

    for (unsigned l = PT_LEVELS;; l--) {
        volatile uint64_t *entry = t->memory.at(t->memory.context, address) + index_of(va, l);
        uint64_t value = pgtable_read(entry);

        if (l == level)
            return entry;
        if (!(value & PT_PRESENT)) {
            if (!t->memory.alloc(t->memory.context, &address))
                return NULL;
            pgtable_write(entry, address | PT_PRESENT | PT_WRITE | (flags & PT_USER));
            continue;
        }
        if (is_leaf(value, l))
            return NULL;
        address = value & PT_ADDRESS;
    }
}

bool pgtable_map(struct pgtable *t, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf, uint64_t flags)
{
    unsigned level = leaf_level(leaf);

    if (!level || (va | pa | size) & (leaf - 1) || !range_valid(va, size) || (pa + (size - 1)) & ~(PT_ADDRESS | 0xfff))
        return false;
    for (uint64_t done = 0; done < size; done += leaf) {
        volatile uint64_t *entry = reach(t, va + done, level, flags);

        if (!entry || (pgtable_read(entry) & PT_PRESENT))
            return false;
    }
    for (uint64_t done = 0; done < size; done += leaf)
        pgtable_write(pgtable_entry(t, va + done, level), (pa + done) | flags | PT_PRESENT | (level > 1 ? PT_LARGE : 0));
    return true;
}

bool pgtable_unmap(struct pgtable *t, uint64_t va, uint64_t size)
{
    unsigned level = 1;

    if ((va | size) & (pgtable_span(1) - 1) || !range_valid(va, size))
        return false;
    for (uint64_t done = 0; done < size; done += pgtable_span(level)) {
        if (!pgtable_leaf(t, va + done, &level) || (va + done) & (pgtable_span(level) - 1) || size - done < pgtable_span(level))
            return false;
    }
    for (uint64_t done = 0; done < size; done += pgtable_span(level))
        pgtable_write(pgtable_leaf(t, va + done, &level), 0);
    return true;
}

static void visit_table(const struct pgtable *t, uint64_t address, uint64_t va, unsigned level,
                        void (*visit)(void *, volatile uint64_t *, uint64_t, unsigned), void *context)
{
    uint64_t *table = t->memory.at(t->memory.context, address);

    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        uint64_t value = pgtable_read(&table[i]);
        uint64_t at = canonical(va + i * pgtable_span(level));

        if (!(value & PT_PRESENT))
            continue;
        visit(context, &table[i], at, level);
        if (!is_leaf(value, level))
            visit_table(t, value & PT_ADDRESS, at, level - 1, visit, context);
    }
}

void pgtable_visit(const struct pgtable *t, void (*visit)(void *context, volatile uint64_t *entry, uint64_t va, unsigned level),
                   void *context)
{
    visit_table(t, t->root, 0, PT_LEVELS, visit, context);
}
