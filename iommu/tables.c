/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/tables.h"

#include "iommu/attach.h"
#include "iommu/binding.h"
#include "iommu/registers.h"
#include "iommu/unit.h"

/* PASID-table entry, 9.6, by 64-bit word. */
#define PASID0_AW      BITS(4, 2)   /* levels - 2 */
#define PASID0_PGTT    BITS(8, 6)
#define     PGTT_SECOND 2u
#define     PGTT_NESTED 3u
#define PASID0_SSADE   BIT(9)       /* A and D in the second stage */
#define PASID0_SSPTPTR BITS(63, 12)
#define PASID1_DID     BITS(15, 0)
#define PASID1_PWSNP   BIT(23)
#define PASID1_PGSNP   BIT(24)
#define PASID2_SRE     BIT(0)
#define PASID2_FSPM    BITS(3, 2)   /* levels - 4 */
#define PASID2_WPE     BIT(4)
#define PASID2_EAFE    BIT(7)
#define PASID2_FSPTPTR BITS(63, 12)

/* Context entry, 9.4: word 0; word 1 begins with RID_PASID. */
#define CONTEXT_PASIDE BIT(3)
#define CONTEXT_PDTS   BITS(11, 9)  /* 2^(PDTS + 7) entries in the directory */

#define CONTEXT_TABLE_ENTRIES BITS(6, 0)
#define SOURCE_BUS            BITS(15, 8)
#define SOURCE_HALF           BIT(7)

/* ECAP.C=0, 11.4.3: the unit does not snoop these tables, so a store has to reach memory before it may look. */
static void written(const struct unit *u, const volatile void *entry, size_t size)
{
    if (!(u->ecap & ECAP_C))
        platform_write_back(entry, size);
}

void pasid_set_second(const struct unit *u, struct pasid_entry *e, const struct binding *b)
{
    const struct stage2 *table = &b->id->domain->table;
    hw_store_pair(&e->word[0],
                  ENTRY_P | place(PASID0_AW, table->levels - 2) | place(PASID0_PGTT, b->first ? PGTT_NESTED : PGTT_SECOND) |
                      (table->dirty ? PASID0_SSADE : 0) | (platform_phys(table->root) & PASID0_SSPTPTR),
                  place(PASID1_DID, b->id->did) | (b->id->snoop & SNOOP_WALKS ? PASID1_PWSNP : 0) |
                      (b->id->snoop & SNOOP_PAGES ? PASID1_PGSNP : 0));
    written(u, e, sizeof *e);
}

void pasid_set_first(const struct unit *u, struct pasid_entry *e, const struct first_stage *f)
{
    hw_store_pair(&e->word[2],
                  !f ? 0 : place(PASID2_FSPM, f->levels - 4) | (f->sre ? PASID2_SRE : 0) | (f->wpe ? PASID2_WPE : 0) |
                               (f->eafe ? PASID2_EAFE : 0) | (f->pgtbl & PASID2_FSPTPTR), 0);
    written(u, e, sizeof *e);
}

void pasid_make_absent(const struct unit *u, struct pasid_entry *e)
{
    hw_store(&e->word[0], hw_load(&e->word[0]) & ~ENTRY_P);
    written(u, e, sizeof *e);
}

void pasid_zero(const struct unit *u, struct pasid_entry *e)
{
    for (unsigned i = 0; i < 4; i += 2)
        hw_store_pair(&e->word[i], 0, 0);
    written(u, e, sizeof *e);
}

/* PASID directory and tables ------------------------------------------------------------------------- */

#define DIRECTORY_MIN BIT(7)    /* entries: PDTS 0 */
#define TABLE_ORDER   1u        /* struct pasid_table */
_Static_assert(sizeof(struct pasid_table) <= PAGE_SIZE << TABLE_ORDER, "a PASID table");

static uint64_t directory_entries(const struct device *dev)
{
    uint64_t entries = BIT(dev->pasid_bits) / PASIDS_A_TABLE;
    return entries < DIRECTORY_MIN ? DIRECTORY_MIN : entries;
}

static unsigned directory_order(const struct device *dev)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < directory_entries(dev) * sizeof(struct pasid_directory_entry))
        order++;
    return order;
}

bool pasid_directory_alloc(struct device *dev)
{
    dev->pasids = dev->pasid_bits ? 1u << dev->pasid_bits : RID_PASID + 1;
    dev->pasid_directory = platform_pages_alloc(dev->owner, directory_order(dev));
    return dev->pasid_directory;
}

struct pasid_table *pasid_table_ready(struct device *dev, uint32_t pasid)
{
    struct pasid_table *table = pasid_table(dev, pasid);
    if (table)
        return table;
    table = platform_pages_alloc(dev->owner, TABLE_ORDER);
    if (!table)
        return NULL;
    struct pasid_directory_entry *e = &dev->pasid_directory[pasid / PASIDS_A_TABLE];
    hw_store(&e->word, platform_phys(table) | ENTRY_P);
    written(dev->unit, e, sizeof *e);
    return table;
}

void pasid_tables_free(struct device *dev)
{
    for (uint32_t pasid = 0; pasid < dev->pasids; pasid += PASIDS_A_TABLE) {
        struct pasid_table *table = pasid_table(dev, pasid);
        if (table)
            platform_pages_free(dev->owner, table, TABLE_ORDER);
    }
    platform_pages_free(dev->owner, dev->pasid_directory, directory_order(dev));
    dev->pasid_directory = NULL;
}

/* Root and context tables ---------------------------------------------------------------------------- */

static struct hw_word *root_half(const struct unit *u, uint16_t source_id)
{
    return &u->root[field(source_id, SOURCE_BUS)].half[field(source_id, SOURCE_HALF)];
}

static struct context_entry *context_entry(const struct unit *u, uint16_t source_id)
{
    struct context_entry *table = platform_virt(hw_load(root_half(u, source_id)) & ENTRY_POINTER);
    return &table[field(source_id, CONTEXT_TABLE_ENTRIES)];
}

bool context_table_ready(struct unit *u, uint16_t source_id)
{
    struct hw_word *half = root_half(u, source_id);
    if (hw_load(half) & ENTRY_P)
        return true;
    void *table = platform_pages_alloc(NULL, 0);
    if (!table)
        return false;
    hw_store(half, platform_phys(table) | ENTRY_P);
    written(u, half, sizeof *half);
    return true;
}

void context_install(const struct unit *u, const struct device *dev)
{
    struct context_entry *e = context_entry(u, dev->source_id);
    uint64_t size = place(CONTEXT_PDTS, (uint64_t)__builtin_ctzll(directory_entries(dev) / DIRECTORY_MIN));
    hw_store_pair(&e->word[2], 0, 0);
    hw_store_pair(&e->word[0], platform_phys(dev->pasid_directory) | size | ENTRY_P | (dev->tlb.wanted ? CONTEXT_DTE : 0) |
                  (dev->pasid_bits ? CONTEXT_PASIDE : 0), RID_PASID);
    written(u, e, sizeof *e);
}

void context_set(const struct unit *u, uint16_t source_id, uint64_t bits, bool on)
{
    struct context_entry *e = context_entry(u, source_id);
    hw_store(&e->word[0], (hw_load(&e->word[0]) & ~bits) | (on ? bits : 0));
    written(u, e, sizeof *e);
}

void context_make_absent(const struct unit *u, uint16_t source_id)
{
    struct context_entry *e = context_entry(u, source_id);
    hw_store_pair(&e->word[0], 0, 0);
    written(u, e, sizeof *e);
}
