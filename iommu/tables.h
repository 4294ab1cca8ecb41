/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables.h: what a unit reads to find a request's page tables: root, context, PASID directory, PASID table
 * (VT-d 5.10 sections 9.2, 9.4 to 9.6: scalable mode).
 *
 * Hardware may read an entry at any moment, in 16-byte pieces.  So its words are of a type that a plain store to
 * does not compile, and the only ways to write one are hw_store and hw_store_pair.
 */
#ifndef NIDUS_TABLES_H
#define NIDUS_TABLES_H

#include "iommu/bits.h"
#include "iommu/engine.h"
#include "iommu/platform.h"

struct hw_word {
    const uint64_t value;
};

static inline uint64_t hw_load(const struct hw_word *word)
{
    return platform_load64(&word->value);
}

static inline void hw_store(struct hw_word *word, uint64_t value)
{
    platform_store64((volatile uint64_t *)&word->value, value);
}

/* word and the one after it, indivisibly; word is aligned to 16. */
static inline void hw_store_pair(struct hw_word *word, uint64_t low, uint64_t high)
{
    platform_store128((volatile uint64_t *)&word->value, low, high);
}

struct root_entry {                 /* 9.2; index: bus */
    struct hw_word half[2];         /* devices 0 to 15, 16 to 31 */
};
_Static_assert(sizeof(struct root_entry) == 16, "9.2");

struct context_entry {              /* 9.4; index: device and function, 128 in a table */
    struct hw_word word[4];
};
_Static_assert(sizeof(struct context_entry) == 32, "9.4");

struct pasid_directory_entry {      /* 9.5; index: PASID 19:6 */
    struct hw_word word;
};
_Static_assert(sizeof(struct pasid_directory_entry) == 8, "9.5");

struct pasid_entry {                /* 9.6; index: PASID 5:0 */
    struct hw_word word[8];
};
_Static_assert(sizeof(struct pasid_entry) == 64, "9.6");

/* Requests without PASID use this one's entry: the same for every device, and no other request may use it (48h). */
#define RID_PASID ENGINE_NO_PASID

/* A PASID table: a page for the unit, and behind it what nidus knows of the entries. */
#define PASIDS_A_TABLE 64u
struct pasid_table {
    struct pasid_entry entry[PASIDS_A_TABLE];
    struct binding *binding[PASIDS_A_TABLE];
};
_Static_assert(offsetof(struct pasid_table, binding) == PAGE_SIZE, "9.5: a PASID table is a page");

/* Pointers to tables: what is below bit 12 never gets into an entry. */
#define ENTRY_P        BIT(0)
#define ENTRY_POINTER  BITS(63, 12)

/* The table with the entry of pasid, NULL: there is none (yet). */
static inline struct pasid_table *pasid_table(const struct device *dev, uint32_t pasid)
{
    uint64_t entry = pasid < dev->pasids ? hw_load(&dev->pasid_directory[pasid / PASIDS_A_TABLE].word) : 0;
    return entry & ENTRY_P ? platform_virt(entry & ENTRY_POINTER) : NULL;
}

static inline struct pasid_entry *pasid_entry(const struct device *dev, uint32_t pasid)
{
    return &pasid_table(dev, pasid)->entry[pasid % PASIDS_A_TABLE];
}

/* The directory, empty.  false: no memory. */
bool pasid_directory_alloc(struct device *dev);
/* The table with the entry of pasid, which the directory has room for, made if need be.  NULL: no memory. */
struct pasid_table *pasid_table_ready(struct device *dev, uint32_t pasid);
/* Gives directory and tables back, which no unit uses any more. */
void pasid_tables_free(struct device *dev);

/* One half of what an entry says of b, built from zero and stored indivisibly (6.2.3.1): P, PGTT, SSPTPTR, AW, DID and what goes with them; … */
void pasid_set_second(const struct unit *u, struct pasid_entry *e, const struct binding *b);
/* … or the fields of its first stage; f NULL: there is none.  What is behind both halves stays 0. */
void pasid_set_first(const struct unit *u, struct pasid_entry *e, const struct first_stage *f);
/* Clears P alone: the unit may still use the rest until the invalidations that follow are done. */
void pasid_make_absent(const struct unit *u, struct pasid_entry *e);
/* Zeroes an absent entry, after the invalidations. */
void pasid_zero(const struct unit *u, struct pasid_entry *e);

/* Makes sure that the unit has a context table for source_id.  false: no memory. */
bool context_table_ready(struct unit *u, uint16_t source_id);
/* Points source_id's context entry at dev's PASID directory, whose RID_PASID entry is absent: requests are blocked with fault 59h. */
void context_install(const struct unit *u, const struct device *dev);
/* CONTEXT_* bits of a present entry; the invalidations are the caller's. */
#define CONTEXT_DTE BIT(2)      /* ATS */
#define CONTEXT_PRE BIT(4)      /* page requests */
void context_set(const struct unit *u, uint16_t source_id, uint64_t bits, bool on);
void context_make_absent(const struct unit *u, uint16_t source_id);

#endif
