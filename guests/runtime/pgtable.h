/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pgtable.h: first-stage page tables: 4 levels, 48-bit canonical addresses, 4 KiB, 2 MiB and 1 GiB leaves.
 *
 * The format is that of the CPU's own tables (VT-d spec 9.7), so the library builds either.  Nothing here invalidates a
 * cache: that is the caller's duty, with HWPT_INVALIDATE or INVLPG.  Entries change by single 64-bit stores, and
 * hardware may set A and D bits at any time.
 */
#ifndef GUESTS_RUNTIME_PGTABLE_H
#define GUESTS_RUNTIME_PGTABLE_H

#include <stdbool.h>
#include <stdint.h>

#define PT_PRESENT  (1ULL << 0)
#define PT_WRITE    (1ULL << 1)
#define PT_USER     (1ULL << 2)     /* every level needs it: a device without PASID asks as a user */
#define PT_PWT      (1ULL << 3)
#define PT_PCD      (1ULL << 4)
#define PT_ACCESSED (1ULL << 5)
#define PT_DIRTY    (1ULL << 6)
#define PT_LARGE    (1ULL << 7)     /* a leaf at level 2 or 3 */
#define PT_ADDRESS  0x000ffffffffff000ULL

#define PT_LEVELS   4u
#define PT_ENTRIES  512u

/* Where tables come from.  `at` gives the table at an address that is in an entry. */
struct pgtable_memory {
    uint64_t *(*alloc)(void *context, uint64_t *address);   /* one zeroed page; NULL: there is none */
    void (*free)(void *context, uint64_t *table, uint64_t address);
    uint64_t *(*at)(void *context, uint64_t address);
    void *context;
};

struct pgtable {
    struct pgtable_memory memory;
    uint64_t root;              /* address of the top table */
};

/* Bytes that one entry of a level covers: 4 KiB, 2 MiB, 1 GiB, 512 GiB for levels 1 to 4. */
uint64_t pgtable_span(unsigned level);

/* An empty table.  false: no page. */
bool pgtable_init(struct pgtable *t, const struct pgtable_memory *memory);
/* Frees every table.  No device may use it any more. */
void pgtable_destroy(struct pgtable *t);

/*
 * Maps [va, va + size) to [pa, pa + size) with leaves of `leaf` bytes (4 KiB, 2 MiB, 1 GiB); flags: PT_WRITE, PT_USER, PT_PWT, PT_PCD,
 * PT_ACCESSED, PT_DIRTY.  New tables are PRESENT, WRITE and, with PT_USER, USER.
 * false, and nothing changed but perhaps empty tables: not canonical, not aligned to leaf, size 0 or beyond the end of the half,
 * something is mapped there, no page for a table.
 */
bool pgtable_map(struct pgtable *t, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf, uint64_t flags);

/* Clears the leaves of [va, va + size).  false, and nothing changed: a page of it is not mapped, or a leaf is only partly in it.
 * Tables stay until pgtable_destroy. */
bool pgtable_unmap(struct pgtable *t, uint64_t va, uint64_t size);

/* The entry of `level` on the way to va, whatever it holds; NULL: no table there, or va is not canonical. */
volatile uint64_t *pgtable_entry(const struct pgtable *t, uint64_t va, unsigned level);

/* The leaf that maps va and its level; NULL: not mapped. */
volatile uint64_t *pgtable_leaf(const struct pgtable *t, uint64_t va, unsigned *level);

static inline uint64_t pgtable_read(const volatile uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

/* One store, after everything before it. */
static inline void pgtable_write(volatile uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* Calls visit for every present entry, tables before what they hold.  va: the first address that the entry covers. */
void pgtable_visit(const struct pgtable *t, void (*visit)(void *context, volatile uint64_t *entry, uint64_t va, unsigned level),
                   void *context);

#endif
