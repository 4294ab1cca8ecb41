/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage2.c: second-stage page tables.
 *
 *      root            level 4            level 3           level 2            level 1
 *     (levels = 4)   gpa 47:39 ──► table  gpa 38:30 ──►     gpa 29:21 ──►      gpa 20:12 ──► 4 KiB leaf
 *                                          └ 1 GiB leaf      └ 2 MiB leaf
 *
 * Each change has two passes over the same walk: the first finds every error and counts the tables that are
 * missing, the second stores and cannot fail.  Hardware may walk between any two stores, so a new table is
 * complete (and written back) before the entry that leads to it, and a leaf is split by one store that
 * replaces it with a table that says the same.
 *
 * What caches may hold when stage2_unmap returns: every leaf that was taken out; the large leaf of a split, which
 * still covers the part that was cut away; and, in paging-structure caches, the way into tables on the freed chain.
 * The caller invalidates the range for leaves and paging-structure entries (VT-d: IH=0; INVEPT; a new ASID or a TLB
 * flush for NPT) before it reuses the memory behind the range and before stage2_free.  After stage2_map caches hold
 * nothing wrong, except on VT-d units with CAP.CM=1, which may cache entries that are not present (spec 6.1).
 *
 * A full table that says what one leaf would say is merged by one store as well, without break-before-make.  The spec wants the
 * entry not present, and an invalidation, in between only where a store changes the page size *and* the frame, rights or other
 * attributes (6.5.3.3).  Here the page size alone changes: caches may hold both translations, hardware may use either
 * (6.2.4.1), and they are the same.  Until the invalidation it may also go through the old table, by a paging-structure cache that
 * still has the way (6.2.5): so that table keeps every entry until then, and, unlike one that unmapping has emptied, cannot hold a link.
 *
 * No table that is linked is ever empty, save the root: so a large leaf finds either a free entry or something mapped.
 */
#include "kernel/stage2.h"

#include "iommu/platform.h"

#define ENTRIES      512u
#define LEVELS_MAX   5u
#define ADDRESS_MASK 0x000ffffffffff000ULL
#define ADDRESS_END  (ADDRESS_MASK + PAGE_SIZE)

/* The bits of an entry.  Permissions are the leaf's alone: an entry that leads to a table allows everything. */
struct stage2_format {
    uint64_t present;           /* any of these set: present */
    uint64_t table;             /* set in an entry that leads to a table */
    uint64_t large;             /* set in a leaf above level 1 */
    uint64_t read, write;
    uint64_t execute;           /* set when code may run, or … */
    uint64_t no_execute;        /* … set when it may not */
    uint64_t memory_type, cached, uncached; /* a field and its two values */
    uint64_t snoop;
    uint64_t dirty;
    bool needs_read;            /* has no leaf that is present and not readable */
};

/* SDM 3C, tables 29-2 to 29-6.  Memory type WB is 6, UC is 0.  A leaf with W and not R is a misconfiguration; with X alone it is
 * one on CPUs without execute-only translations. */
const struct stage2_format stage2_ept = {
    .present = 0x7, .table = 0x7, .large = 0x80, .read = 0x1, .write = 0x2, .execute = 0x4,
    .memory_type = 0x38, .cached = 0x30, .uncached = 0x00, .needs_read = true,
};

/* APM 2, 15.25: ordinary long-mode entries.  US=1 throughout, for nested walks are user accesses; PCD and PWT
 * give UC. */
const struct stage2_format stage2_npt = {
    .present = 0x1, .table = 0x7, .large = 0x80, .read = 0x1 | 0x4, .write = 0x2, .no_execute = 1ULL << 63,
    .memory_type = 0x18, .cached = 0x00, .uncached = 0x18, .needs_read = true,
};

/* VT-d spec 9.8.  An entry with R=0 and W=0 is not present. */
const struct stage2_format stage2_vtd = {
    .present = 0x3, .table = 0x3, .large = 0x80, .read = 0x1, .write = 0x2, .snoop = 0x800, .dirty = 0x200,
};

static uint64_t level_span(unsigned level)
{
    return 1ULL << (PAGE_SHIFT + 9 * (level - 1));
}

static unsigned level_index(uint64_t gpa, unsigned level)
{
    return gpa / level_span(level) % ENTRIES;
}

/* Where the entry of gpa ends, or the range does. */
static uint64_t part_end(uint64_t gpa, uint64_t end, unsigned level)
{
    uint64_t next = (gpa | (level_span(level) - 1)) + 1;

    return next < end ? next : end;
}

static bool is_present(const struct stage2 *s, uint64_t entry)
{
    return (entry & s->format->present) != 0;
}

static bool is_leaf(const struct stage2 *s, uint64_t entry, unsigned level)
{
    return level == 1 || (entry & s->format->large) != 0;
}

/* Of an entry above level 1. */
static bool leads_on(const struct stage2_format *f, uint64_t entry)
{
    return (entry & (f->table | f->large)) == f->table;
}

static bool is_table(const struct stage2 *s, uint64_t entry, unsigned level)
{
    return level > 1 && leads_on(s->format, entry);
}

static uint64_t *child_of(uint64_t entry)
{
    return platform_virt(entry & ADDRESS_MASK);
}

/*
 * The way from the root to the lowest table under which [gpa, last] lies, and the level of that.  What is at gpa alone is then an
 * entry of it: a leaf, or not present.
 */
struct way {
    uint64_t *table[LEVELS_MAX + 1];
};

static unsigned descend(const struct stage2 *s, uint64_t gpa, uint64_t last, struct way *way)
{
    unsigned lowest = 1 + (unsigned)(51 - __builtin_clzll((gpa ^ last) | PAGE_SIZE)) / 9; /* where their indices differ */
    const struct stage2_format *f = s->format;
    uint64_t *table = s->root;
    unsigned level = s->levels, shift = PAGE_SHIFT + 9 * (level - 1);

    for (way->table[level] = table; level > lowest; shift -= 9) {
        uint64_t entry = platform_load64(&table[(gpa >> shift) % ENTRIES]);

        if (!leads_on(f, entry))
            break;
        table = child_of(entry);
        way->table[--level] = table;
    }
    return level;
}

static uint64_t *entry_at(const struct way *way, uint64_t gpa, unsigned level)
{
    return &way->table[level][level_index(gpa, level)];
}

static void write_back_entries(const struct stage2 *s, const uint64_t *table, unsigned first, unsigned last)
{
    if (!s->coherent)
        platform_write_back(&table[first], (last - first + 1) * sizeof(*table));
}

/*
 * Chains of tables.  The link is a virtual address of a page in the first word: its low bits are zero, so hardware
 * that still walks through a freed table finds an entry that is not present, in all three formats.  For the same
 * reason a link that reached memory does no harm when the table is used later.
 */
static void chain_push(void **chain, uint64_t *table)
{
    platform_store64(table, (uint64_t)(uintptr_t)*chain);
    *chain = table;
}

static uint64_t *chain_pop(void **chain)
{
    uint64_t *table = *chain;

    *chain = (void *)(uintptr_t)platform_load64(table);
    platform_store64(table, 0);
    return table;
}

static void chain_free(struct stage2 *s, void **chain)
{
    while (*chain != NULL)
        platform_pages_free(s->owner, chain_pop(chain), 0);
}

void stage2_free(struct stage2 *s, struct stage2_freed *freed)
{
    chain_free(s, &freed->head);
    while (freed->merges > 0)
        platform_pages_free(s->owner, freed->merged[--freed->merges], 0);
}

/* count empty tables, or none and -ENOMEM. */
static int chain_alloc(struct stage2 *s, void **chain, uint64_t count)
{
    for (*chain = NULL; count > 0; count--) {
        uint64_t *table = platform_pages_alloc(s->owner, 0);

        if (table == NULL) {
            chain_free(s, chain);
            return -NIDUS_ENOMEM;
        }
        chain_push(chain, table);
    }
    return 0;
}

int stage2_init(struct stage2 *s, const struct stage2_format *format, unsigned levels, unsigned page_sizes,
                bool coherent, struct guest *owner)
{
    if (levels < 3 || levels > LEVELS_MAX)
        return -NIDUS_EINVAL;
    *s = (struct stage2){
        .format = format, .owner = owner, .levels = levels, .page_sizes = page_sizes, .limit = 1ULL << (PAGE_SHIFT + 9 * levels),
        .coherent = coherent,
    };
    s->root = platform_pages_alloc(owner, 0);
    return s->root == NULL ? -NIDUS_ENOMEM : 0;
}

/* Frees what is under the table, and it, as far as *left tables go.  What it frees is linked no more. */
static bool destroy_table(struct stage2 *s, uint64_t *table, unsigned level, unsigned *left)
{
    for (unsigned i = 0; level > 1 && i < ENTRIES; i++) {
        uint64_t entry = platform_load64(&table[i]);

        if (!is_table(s, entry, level))
            continue;
        if (!destroy_table(s, child_of(entry), level - 1, left))
            return false;
        platform_store64(&table[i], 0);
    }
    if (*left == 0)
        return false;
    --*left;
    platform_pages_free(s->owner, table, 0);
    return true;
}

bool stage2_destroy_some(struct stage2 *s)
{
    unsigned left = STAGE2_DESTROY_STEP;

    if (s->root != NULL && !destroy_table(s, s->root, s->levels, &left))
        return false;
    s->root = NULL;
    return true;
}

void stage2_destroy(struct stage2 *s)
{
    while (!stage2_destroy_some(s))
        ;
}

static int check_range(const struct stage2 *s, uint64_t gpa, uint64_t size)
{
    if (size == 0 || gpa % PAGE_SIZE != 0 || size % PAGE_SIZE != 0)
        return -NIDUS_EINVAL;
    if (size > s->limit || gpa > s->limit - size)
        return -NIDUS_EOVERFLOW;
    return 0;
}

/* Bytes of a leaf of this level; 0: there may be none. */
static uint64_t leaf_span(unsigned page_sizes, unsigned level)
{
    bool has = level == 1 || (level == 2 && (page_sizes & STAGE2_2M)) || (level == 3 && (page_sizes & STAGE2_1G));

    return has ? level_span(level) : 0;
}

/* Can one leaf of that span map all of it? */
static bool leaf_fits(uint64_t gpa, uint64_t hpa, uint64_t size, uint64_t span)
{
    return size == span && ((gpa | hpa) & (span - 1)) == 0;
}

/* What is mapped how, and the tables that it takes. */
struct mapping {
    struct stage2 *s;
    unsigned page_sizes;
    uint64_t bits;              /* of the leaves */
    uint64_t tables;
    void *spare;
};

/* Counts the tables that mapping [gpa, end) takes.  table NULL: one that is still to be made. */
static int plan_map(struct mapping *m, const uint64_t *table, unsigned level, uint64_t gpa, uint64_t end, uint64_t hpa)
{
    uint64_t leaf = leaf_span(m->page_sizes, level), next;

    if (level == 1 && table == NULL)
        return 0;
    for (; gpa < end; hpa += next - gpa, gpa = next) {
        uint64_t entry = table == NULL ? 0 : platform_load64(&table[level_index(gpa, level)]);
        const uint64_t *child = NULL;
        int error;

        next = part_end(gpa, end, level);
        if (is_present(m->s, entry)) {
            if (is_leaf(m->s, entry, level))
                return -NIDUS_EEXIST;
            child = child_of(entry);
        } else if (leaf_fits(gpa, hpa, next - gpa, leaf)) {
            continue;
        } else {
            m->tables++;
        }
        error = plan_map(m, child, level - 1, gpa, next, hpa);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Entries first to last of the table are leaves and tables now. */
static void written(struct stage2 *s, const uint64_t *table, unsigned first, unsigned last)
{
    write_back_entries(s, table, first, last);
    if (is_present(s, platform_load64(&table[0])) && is_present(s, platform_load64(&table[ENTRIES - 1])))
        s->mergeable = true;
}

/* Maps [gpa, end), which plan_map has accepted, with the spare tables. */
static void map_range(struct mapping *m, uint64_t *table, unsigned level, uint64_t gpa, uint64_t end, uint64_t hpa)
{
    unsigned first = level_index(gpa, level), last = level_index(end - 1, level);
    uint64_t leaf = leaf_span(m->page_sizes, level), next;

    for (; gpa < end; hpa += next - gpa, gpa = next) {
        uint64_t *entry = &table[level_index(gpa, level)];

        next = part_end(gpa, end, level);
        if (is_present(m->s, platform_load64(entry))) {
            map_range(m, child_of(platform_load64(entry)), level - 1, gpa, next, hpa);
        } else if (leaf_fits(gpa, hpa, next - gpa, leaf)) {
            platform_store64(entry, hpa | m->bits | (level > 1 ? m->s->format->large : 0));
        } else {
            uint64_t *child = chain_pop(&m->spare);

            map_range(m, child, level - 1, gpa, next, hpa);
            platform_store64(entry, platform_phys(child) | m->s->format->table);
        }
    }
    written(m->s, table, first, last);
}

static uint64_t leaf_bits(const struct stage2_format *f, unsigned prot)
{
    return (prot & STAGE2_READ ? f->read : 0) | (prot & STAGE2_WRITE ? f->write : 0) |
           (prot & STAGE2_EXECUTE ? f->execute : f->no_execute) |
           (prot & STAGE2_UNCACHED ? f->uncached : f->cached) | (prot & STAGE2_SNOOP ? f->snoop : 0);
}

static unsigned sizes_for(const struct stage2 *s, unsigned prot)
{
    return prot & STAGE2_SMALL ? 0 : s->page_sizes;
}

/* Apart: most ranges are one leaf in a table that is there. */
__attribute__((noinline))
static int map_in(struct mapping *m, uint64_t *table, unsigned level, uint64_t gpa, uint64_t size, uint64_t hpa)
{
    int error = plan_map(m, table, level, gpa, gpa + size, hpa);

    if (error == 0)
        error = chain_alloc(m->s, &m->spare, m->tables);
    if (error == 0)
        map_range(m, table, level, gpa, gpa + size, hpa);
    return error;
}

int stage2_map(struct stage2 *s, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot)
{
    uint64_t bits = leaf_bits(s->format, prot), *table;
    int error = check_range(s, gpa, size);
    struct way way;
    unsigned level, i;

    if (error != 0)
        return error;
    if (hpa % PAGE_SIZE != 0 || !(bits & s->format->present) || (s->format->needs_read && !(prot & STAGE2_READ)))
        return -NIDUS_EINVAL;
    if (size > ADDRESS_END || hpa > ADDRESS_END - size)
        return -NIDUS_EOVERFLOW;
    level = descend(s, gpa, gpa + size - 1, &way);
    table = way.table[level];
    i = level_index(gpa, level);
    if (!leaf_fits(gpa, hpa, size, leaf_span(sizes_for(s, prot), level)) || is_present(s, platform_load64(&table[i])))
        return map_in(&(struct mapping){ .s = s, .page_sizes = sizes_for(s, prot), .bits = bits }, table, level, gpa, size, hpa);
    platform_store64(&table[i], hpa | bits | (level > 1 ? s->format->large : 0));
    written(s, table, i, i);
    return 0;
}

/* Of one of level 1, and not all of it? */
static bool is_part_of_table(uint64_t gpa, uint64_t size)
{
    return (gpa ^ (gpa + size)) < level_span(2);
}

uint64_t stage2_map_step(const struct stage2 *s, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot, unsigned *entries)
{
    uint64_t leaf = PAGE_SIZE, left;
    unsigned level = 1;

    if (is_part_of_table(gpa, size)) {
        *entries = (unsigned)(size / PAGE_SIZE);
        return size;
    }
    for (; level < 3 && ((gpa | hpa) & (level_span(level + 1) - 1)) == 0 && size >= level_span(level + 1); level++) {
        if (leaf_span(sizes_for(s, prot), level + 1) == 0)
            break;
        leaf = level_span(level + 1);
    }
    left = level_span(level + 1) - gpa % level_span(level + 1);
    if (left > size)
        left = size - size % leaf;
    *entries = (unsigned)(left / leaf);
    return left;
}

/* Does the whole table say what one leaf above it would say?  One that fills up in order, from either end, is seen not to by its ends. */
static bool is_one_leaf(const struct stage2 *s, const uint64_t *table, unsigned level)
{
    uint64_t first = platform_load64(&table[0]), step = level_span(level);

    if (!is_present(s, first) || !is_leaf(s, first, level) || (first & ADDRESS_MASK) % level_span(level + 1) != 0 ||
        platform_load64(&table[ENTRIES - 1]) != first + (ENTRIES - 1) * step)
        return false;
    for (unsigned i = 1; i < ENTRIES - 1; i++)
        if (platform_load64(&table[i]) != first + i * step)
            return false;
    return true;
}

/* Merges the tables on the way to gpa that have become full, from the smallest leaves up. */
static void merge_at(struct stage2 *s, uint64_t gpa, struct stage2_freed *freed)
{
    struct way way;

    for (unsigned level = descend(s, gpa, gpa, &way); leaf_span(s->page_sizes, level + 1) != 0 && is_one_leaf(s, way.table[level], level);) {
        uint64_t *full = way.table[level++], *above = entry_at(&way, gpa, level);

        platform_store64(above, platform_load64(full) | s->format->large);
        write_back_entries(s, above, 0, 0);
        freed->merged[freed->merges++] = full;
    }
}

bool stage2_merge(struct stage2 *s, uint64_t gpa, uint64_t size, struct stage2_freed *freed)
{
    uint64_t last = gpa + size - 1;

    *freed = (struct stage2_freed){ 0 };
    merge_at(s, gpa, freed);
    if (last / level_span(2) != gpa / level_span(2))
        merge_at(s, last, freed);
    return freed->merges != 0;
}

/* A complete table, linked nowhere yet, that maps what the leaf of this level maps. */
static uint64_t *split_leaf(const struct stage2 *s, uint64_t leaf, unsigned level, void **spare)
{
    uint64_t *child = chain_pop(spare);
    uint64_t entry = (level == 2 ? leaf & ~s->format->large : leaf) | (s->dirty ? s->format->dirty : 0);

    for (unsigned i = 0; i < ENTRIES; i++)
        platform_store64(&child[i], entry + i * level_span(level - 1));
    write_back_entries(s, child, 0, ENTRIES - 1);
    return child;
}

/* The entry of the leaf that gpa cuts, and its level; NULL: it cuts none. */
static uint64_t *cut_leaf(const struct stage2 *s, uint64_t gpa, unsigned *level)
{
    struct way way;
    uint64_t *slot;

    *level = descend(s, gpa, gpa, &way);
    slot = entry_at(&way, gpa, *level);
    return gpa % level_span(*level) != 0 && is_present(s, platform_load64(slot)) ? slot : NULL;
}

/* How many leaves have to be split, one inside the other, for an edge at gpa, when one at other is there already: 0, 1 or 2. */
static unsigned splits_at(const struct stage2 *s, uint64_t gpa, uint64_t other)
{
    unsigned level, splits = 0;

    if (cut_leaf(s, gpa, &level) == NULL)
        return 0;
    for (; gpa % level_span(level) != 0; level--)
        if (other % level_span(level) == 0 || other / level_span(level) != gpa / level_span(level))
            splits++;
    return splits;
}

static void split_at(struct stage2 *s, uint64_t gpa, void **spare)
{
    uint64_t *slot;
    unsigned level;

    while ((slot = cut_leaf(s, gpa, &level)) != NULL) {
        uint64_t *child = split_leaf(s, platform_load64(slot), level, spare);

        platform_store64(slot, platform_phys(child) | s->format->table);
        write_back_entries(s, slot, 0, 0);
    }
}

/* Does [gpa, end) consist of whole entries of a table of this level, the lowest over it?  Then it cuts no leaf. */
static bool is_whole(uint64_t gpa, uint64_t end, unsigned level)
{
    return ((gpa | end) & (level_span(level) - 1)) == 0;
}

int stage2_split(struct stage2 *s, uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;
    void *spare;
    unsigned splits;
    int error = check_range(s, gpa, size);

    if (error != 0)
        return error;
    splits = splits_at(s, gpa, 0) + splits_at(s, end, gpa); /* at most 4 */
    if (splits == 0)
        return 0;
    error = chain_alloc(s, &spare, splits);
    if (error != 0)
        return error;
    split_at(s, gpa, &spare);
    split_at(s, end, &spare);
    return 0;
}

static bool is_empty(const struct stage2 *s, const uint64_t *table)
{
    if (is_present(s, platform_load64(&table[ENTRIES - 1]))) /* the last to go, or else it is the first */
        return false;
    for (unsigned i = 0; i < ENTRIES - 1; i++)
        if (is_present(s, platform_load64(&table[i])))
            return false;
    return true;
}

/* Unmaps [gpa, end), whose ends are ends of leaves, and returns the bytes that were mapped. */
__attribute__((noinline))
static uint64_t unmap_range(struct stage2 *s, uint64_t *table, unsigned level, uint64_t gpa, uint64_t end, struct stage2_freed *freed)
{
    unsigned first = level_index(gpa, level), last = level_index(end - 1, level);
    uint64_t unmapped = 0, next;

    for (; gpa < end; gpa = next) {
        uint64_t *slot = &table[level_index(gpa, level)];
        uint64_t entry = platform_load64(slot), *child;

        next = part_end(gpa, end, level);
        if (!is_present(s, entry))
            continue;
        if (!is_leaf(s, entry, level)) {
            child = child_of(entry);
            unmapped += unmap_range(s, child, level - 1, gpa, next, freed);
            if (is_empty(s, child)) {
                platform_store64(slot, 0);
                chain_push(&freed->head, child);
            }
        } else {
            platform_store64(slot, 0);
            unmapped += level_span(level);
        }
    }
    write_back_entries(s, table, first, last);
    return unmapped;
}

/* Unlinks the tables on the way to gpa that are empty, from this level up. */
static void unlink_empty(struct stage2 *s, const struct way *way, uint64_t gpa, unsigned level, struct stage2_freed *freed)
{
    while (level < s->levels && is_empty(s, way->table[level])) {
        uint64_t *empty = way->table[level++], *above = entry_at(way, gpa, level);

        platform_store64(above, 0);
        write_back_entries(s, above, 0, 0);
        chain_push(&freed->head, empty);
    }
}

int stage2_unmap(struct stage2 *s, uint64_t gpa, uint64_t size, struct stage2_freed *freed, uint64_t *unmapped)
{
    int error = check_range(s, gpa, size);
    struct way way;
    unsigned level;
    uint64_t bytes, *slot;
    bool whole;

    if (error != 0)
        return error;
    level = descend(s, gpa, gpa + size - 1, &way);
    whole = is_whole(gpa, gpa + size, level);
    if (!whole) {
        error = stage2_split(s, gpa, size);
        if (error != 0)
            return error;
        level = descend(s, gpa, gpa + size - 1, &way);
    }
    slot = entry_at(&way, gpa, level);
    if (!whole || size != level_span(level)) {
        bytes = unmap_range(s, way.table[level], level, gpa, gpa + size, freed);
    } else if (is_present(s, platform_load64(slot))) { /* a leaf: the way would have gone on through a table */
        platform_store64(slot, 0);
        write_back_entries(s, slot, 0, 0);
        bytes = size;
    } else {
        bytes = 0;
    }
    unlink_empty(s, &way, gpa, level, freed);
    if (unmapped != NULL)
        *unmapped = bytes;
    return 0;
}

uint64_t stage2_unmap_step(const struct stage2 *s, uint64_t gpa, uint64_t size, unsigned *entries)
{
    struct way way;
    unsigned level, i;
    uint64_t first, end;

    if (is_part_of_table(gpa, size)) { /* without a look */
        *entries = (unsigned)(size / PAGE_SIZE);
        return size;
    }
    level = descend(s, gpa, gpa, &way);
    i = level_index(gpa, level);
    first = end = gpa - gpa % level_span(level);
    do
        end += level_span(level);
    while (end - gpa < size && ++i < ENTRIES && !is_table(s, platform_load64(&way.table[level][i]), level));
    *entries = (unsigned)((end - first) / level_span(level));
    return end - gpa < size ? end - gpa : size;
}

uint64_t stage2_dirty(struct stage2 *s, uint64_t gpa, uint64_t size, bool clear, bool *cleared, stage2_sink *sink, void *context)
{
    struct way way;
    unsigned level = descend(s, gpa, gpa, &way), entries;
    uint64_t *entry = entry_at(&way, gpa, level), step = stage2_unmap_step(s, gpa, size, &entries);
    uint64_t span = level_span(level), at = gpa - gpa % span;

    *cleared = false;
    for (; at < gpa + step; entry++, at += span) {
        uint64_t first = at > gpa ? at : gpa, end = at + span < gpa + step ? at + span : gpa + step;

        if (!(platform_load64(entry) & s->format->dirty))
            continue;
        if (clear && end - first == span) {
            platform_clear64(entry, s->format->dirty);
            *cleared = true;
        }
        sink(context, first, end - first);
    }
    return step;
}

static unsigned leaf_prot(const struct stage2_format *f, uint64_t entry)
{
    bool executable = f->execute != 0 ? (entry & f->execute) != 0 : f->no_execute != 0 && !(entry & f->no_execute);

    return ((entry & f->read) != 0 ? STAGE2_READ : 0) | ((entry & f->write) != 0 ? STAGE2_WRITE : 0) |
           (executable ? STAGE2_EXECUTE : 0) |
           (f->memory_type != 0 && (entry & f->memory_type) == f->uncached ? STAGE2_UNCACHED : 0) |
           ((entry & f->snoop) != 0 ? STAGE2_SNOOP : 0);
}

int stage2_lookup(const struct stage2 *s, uint64_t gpa, uint64_t *hpa, unsigned *prot, uint64_t *leaf, unsigned *level)
{
    struct way way;
    unsigned l = gpa < s->limit ? descend(s, gpa, gpa, &way) : s->levels;
    uint64_t entry = gpa < s->limit ? platform_load64(entry_at(&way, gpa, l)) : 0, inside;

    if (level != NULL)
        *level = l;
    if (!is_present(s, entry))
        return -NIDUS_ENOENT;
    inside = gpa % level_span(l);
    if (hpa != NULL)
        *hpa = (entry & ADDRESS_MASK) + inside;
    if (prot != NULL)
        *prot = leaf_prot(s->format, entry);
    if (leaf != NULL)
        *leaf = level_span(l);
    return 0;
}

