/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_stage2.c: second-stage tables against a naive map of pages.
 *
 * The walk here is the hardware's: written from the formats, not with stage2.c's names, and able to see
 * each word as the CPU sees it or as memory holds it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/stage2.h"
#include "tools/test/host/platform.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL
#define RW (STAGE2_READ | STAGE2_WRITE)

/* A fixed window, so that the naive map is an array: 4 GiB that end at 512 GiB, the limit of 3 levels. */
#define WINDOW_BASE  (508 * G1)
#define WINDOW_PAGES (4 * G1 / K4)

static const struct stage2_format *const formats[] = { &stage2_ept, &stage2_npt, &stage2_vtd };

static struct guest *owner;
static struct stage2 table;

/* A generator of its own: the same sequence on every machine. */
static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static int setup(void **state)
{
    (void)state;
    host_reset();
    owner = host_guest("owner", 0);
    random_state = 0x9e3779b97f4a7c15;
    return 0;
}

static void make(const struct stage2_format *format, unsigned levels, unsigned page_sizes, bool coherent)
{
    assert_int_equal(stage2_init(&table, format, levels, page_sizes, coherent, owner), 0);
}

/* Unmaps and frees at once: these tests have no caches. */
static int unmap(uint64_t gpa, uint64_t size, uint64_t *unmapped)
{
    struct stage2_freed freed = { NULL };
    int error = stage2_unmap(&table, gpa, size, &freed, unmapped);

    stage2_free(&table, &freed);
    return error;
}

static void destroy(void)
{
    stage2_destroy(&table);
    assert_int_equal(host_pages_live(), 0);
    assert_int_equal(owner->bytes_used, 0);
}

/* The hardware's walk ------------------------------------------------------------------------------ */

#define ADDRESS 0x000ffffffffff000ULL

static bool hw_present(uint64_t entry)
{
    if (table.format == &stage2_npt)
        return entry & 1;
    return entry & (table.format == &stage2_ept ? 7 : 3);
}

static unsigned hw_prot(uint64_t e)
{
    if (table.format == &stage2_npt)
        return STAGE2_READ | (e & 2 ? STAGE2_WRITE : 0) | (e >> 63 ? 0 : STAGE2_EXECUTE) | ((e & 0x18) == 0x18 ? STAGE2_UNCACHED : 0);
    if (table.format == &stage2_ept)
        return (e & 7) | ((e & 0x38) == 0 ? STAGE2_UNCACHED : 0);
    return (e & 3) | (e & 0x800 ? STAGE2_SNOOP : 0);
}

static uint64_t hw_span(unsigned level)
{
    return K4 << 9 * (level - 1);
}

/* Bits that no entry of the format may have set. */
static void check_reserved(uint64_t e, unsigned level, bool leaf)
{
    if (level > 3)
        assert_true(!leaf);
    if (level == 1)
        assert_int_equal(e & 0x80, 0); /* NPT: PAT */
    if (leaf)
        assert_int_equal(e & ADDRESS & (hw_span(level) - 1), 0);
    if (table.format == &stage2_npt) {
        assert_int_equal(e & 4, 4); /* US */
        assert_int_equal(e & 0x7ff0000000000f00, 0);
    } else {
        assert_int_equal(e & 0xfff0000000000000, 0);
        assert_int_equal(e & (table.format == &stage2_ept ? 0xf00 : 0x700), 0);
    }
    if (table.format == &stage2_ept)
        assert_true((e & 3) != 2); /* W without R */
    if (!leaf)
        assert_int_equal(e & ~ADDRESS, table.format == &stage2_vtd ? 3 : 7);
}

/* Each word as memory has it or as the CPU has it, by chance; coherent: always as the CPU has it. */
static uint64_t hw_load(uint64_t phys)
{
    return host_walk64(phys, table.coherent || random_below(2) == 0);
}

struct translation {
    bool mapped;
    uint64_t hpa;
    unsigned prot;
};

/* From a table on, to which a paging-structure cache may have the way. */
static struct translation hw_translate(uint64_t phys, unsigned level, uint64_t gpa)
{
    for (;; level--) {
        uint64_t entry = hw_load(phys + gpa / hw_span(level) % 512 * 8);

        if (!hw_present(entry))
            return (struct translation){ .mapped = false };
        if (level == 1 || entry & 0x80)
            return (struct translation){ true, (entry & ADDRESS) + gpa % hw_span(level), hw_prot(entry) };
        phys = entry & ADDRESS;
    }
}

/* The naive map ------------------------------------------------------------------------------------ */

static struct naive_page {
    uint64_t hpa;               /* 0: not mapped */
    unsigned prot;
} *naive;
static uint64_t naive_mapped;   /* pages */

static struct naive_page *naive_at(uint64_t gpa)
{
    return &naive[(gpa - WINDOW_BASE) / K4];
}

static void naive_reset(void)
{
    free(naive);
    naive = calloc(WINDOW_PAGES, sizeof(*naive));
    naive_mapped = 0;
}

static bool naive_any(uint64_t gpa, uint64_t size)
{
    for (uint64_t p = gpa; p < gpa + size; p += K4)
        if (naive_at(p)->hpa != 0)
            return true;
    return false;
}

static void naive_set(uint64_t gpa, uint64_t size, uint64_t hpa, unsigned prot)
{
    for (uint64_t i = 0; i < size; i += K4) {
        struct naive_page *page = naive_at(gpa + i);

        naive_mapped += (hpa != 0) - (page->hpa != 0);
        *page = (struct naive_page){ hpa == 0 ? 0 : hpa + i, prot };
    }
}

/* What the entries of this format can say of prot. */
static unsigned expressible(unsigned prot)
{
    return table.format == &stage2_vtd ? prot & (RW | STAGE2_SNOOP) : prot & ~STAGE2_SNOOP;
}

/* Could the table be one leaf of the level above? */
static bool could_be_leaf(uint64_t phys, unsigned level)
{
    uint64_t first = host_walk64(phys, table.coherent);

    if (level > 2 || !(table.page_sizes & (level == 1 ? STAGE2_2M : STAGE2_1G)) || (level == 2 && !(first & 0x80)))
        return false;
    for (unsigned i = 0; i < 512; i++)
        if (host_walk64(phys + 8 * i, table.coherent) != first + i * hw_span(level))
            return false;
    return hw_present(first) && (first & ADDRESS) % hw_span(level + 1) == 0;
}

static bool splitting;          /* tables that could be a leaf are what was asked for */

/* Compares a whole table with the naive map; counts pages and tables. */
static void check_table(uint64_t phys, unsigned level, uint64_t gpa, uint64_t *pages, uint64_t *tables)
{
    unsigned present = 0;

    ++*tables;
    if (!splitting && could_be_leaf(phys, level))
        fail_msg("gpa %#llx: the table of level %u could be one leaf", (unsigned long long)gpa, level);
    for (unsigned i = 0; i < 512; i++, gpa += hw_span(level)) {
        uint64_t entry = host_walk64(phys + 8 * i, table.coherent);
        bool leaf = level == 1 || entry & 0x80;

        if (!hw_present(entry))
            continue;
        present++;
        check_reserved(entry, level, leaf);
        if (!leaf) {
            check_table(entry & ADDRESS, level - 1, gpa, pages, tables);
            continue;
        }
        assert_true(gpa >= WINDOW_BASE && gpa + hw_span(level) <= WINDOW_BASE + WINDOW_PAGES * K4);
        for (uint64_t p = 0; p < hw_span(level); p += K4) {
            struct naive_page *page = naive_at(gpa + p);

            if (page->hpa != (entry & ADDRESS) + p || expressible(page->prot) != hw_prot(entry))
                fail_msg("gpa %#llx: the entry %#llx is wrong", (unsigned long long)(gpa + p), (unsigned long long)entry);
        }
        *pages += hw_span(level) / K4;
    }
    if (present == 0 && level != table.levels)
        fail_msg("an empty table of level %u is linked", level);
}

static void check_all(void)
{
    uint64_t pages = 0, tables = 0;

    check_table(platform_phys(table.root), table.levels, 0, &pages, &tables);
    assert_int_equal(pages, naive_mapped);
    assert_int_equal(tables, host_pages_live());
}

/* What hardware sees between two stores ------------------------------------------------------------- */

static struct {
    uint64_t gpa, end;          /* the range that changes */
    bool mapping;
    uint64_t hpa;
    unsigned prot;
} change;

/* Ways that paging-structure caches keep until the invalidation. */
static struct {
    uint64_t gpa, phys;
    unsigned level;
} ways[8];
static unsigned way_count;

static void remember_ways(void)
{
    const uint64_t near[] = { change.gpa, change.end - K4, change.gpa - K4, change.end };

    way_count = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t gpa = i < 4 ? near[i] : (change.gpa & ~(M2 - 1)) + random_below(512) * K4, phys = platform_phys(table.root), entry;
        unsigned level = table.levels, stop = 1 + random_below(table.levels);

        if (gpa < WINDOW_BASE || gpa >= WINDOW_BASE + WINDOW_PAGES * K4)
            continue;
        for (; level > stop; level--, phys = entry & ADDRESS) {
            entry = host_walk64(phys + gpa / hw_span(level) % 512 * 8, true);
            if (!hw_present(entry) || entry & 0x80)
                break;
        }
        ways[way_count].gpa = gpa, ways[way_count].phys = phys, ways[way_count++].level = level;
    }
}

static void begin_change(uint64_t gpa, uint64_t size, bool mapping, uint64_t hpa, unsigned prot)
{
    change.gpa = gpa, change.end = gpa + size, change.mapping = mapping, change.hpa = hpa, change.prot = prot;
    remember_ways();
}

/* Is t what gpa was, or what it will be? */
static void check_translation(uint64_t gpa, struct translation t)
{
    struct naive_page *old = naive_at(gpa);
    bool is_old = t.mapped == (old->hpa != 0) && (!t.mapped || (t.hpa == old->hpa && t.prot == expressible(old->prot)));
    bool is_new = gpa >= change.gpa && gpa < change.end && t.mapped == change.mapping &&
                  (!t.mapped || (t.hpa == change.hpa + (gpa - change.gpa) && t.prot == expressible(change.prot)));

    if (!is_old && !is_new)
        fail_msg("gpa %#llx is neither what it was nor what it will be", (unsigned long long)gpa);
}

static void check_ways(void)
{
    for (unsigned i = 0; i < way_count; i++)
        check_translation(ways[i].gpa, hw_translate(ways[i].phys, ways[i].level, ways[i].gpa));
}

static void check_between_stores(volatile void *entry, unsigned bytes)
{
    const uint64_t edges[] = { change.gpa, change.end - K4, change.gpa - K4, change.end };

    (void)entry;
    assert_int_equal(bytes, 8);
    for (unsigned i = 0; i < 6; i++) {
        uint64_t gpa = i < 4 ? edges[i] : WINDOW_BASE + random_below(WINDOW_PAGES) * K4;

        if (gpa >= WINDOW_BASE && gpa < WINDOW_BASE + WINDOW_PAGES * K4)
            check_translation(gpa, hw_translate(platform_phys(table.root), table.levels, gpa));
    }
    check_ways();
}

/* Random sequences --------------------------------------------------------------------------------- */

static uint64_t random_size(uint64_t *unit)
{
    switch (random_below(8)) {
    case 0:  *unit = G1; return G1 * (1 + random_below(2));
    case 1:
    case 2:
    case 3:  *unit = M2; return M2 * (1 + random_below(40));
    default: *unit = K4; return K4 * (1 + random_below(1200));
    }
}

static void random_range(uint64_t *gpa, uint64_t *size, uint64_t *unit)
{
    *size = random_size(unit);
    *gpa = WINDOW_BASE + random_below((WINDOW_PAGES * K4 - *size) / *unit + 1) * *unit;
}

static unsigned merged;         /* tables, by the sequences below */

/* What is left of tables that were merged is as it was until they are freed. */
static void merge(uint64_t gpa, uint64_t size)
{
    struct stage2_freed freed;
    bool any;

    begin_change(gpa, size, true, naive_at(gpa)->hpa, naive_at(gpa)->prot);
    host_store_hook = check_between_stores;
    any = stage2_merge(&table, gpa, size, &freed);
    host_store_hook = NULL;
    check_ways();
    assert_int_equal(any, freed.merges != 0);
    merged += freed.merges;
    stage2_free(&table, &freed);
}

static void map_and_merge(uint64_t gpa, uint64_t size, uint64_t hpa, unsigned prot)
{
    uint64_t before = host_pages_live();
    unsigned merged_before;
    int error;

    begin_change(gpa, size, true, hpa, prot);
    table.mergeable = false;
    host_store_hook = check_between_stores;
    error = stage2_map(&table, gpa, hpa, size, prot);
    host_store_hook = NULL;
    if (naive_any(gpa, size)) {
        assert_int_equal(error, -NIDUS_EEXIST);
    } else if (host_allocation_failed()) {
        assert_int_equal(error, -NIDUS_ENOMEM);
        assert_int_equal(host_pages_live(), before);
    } else {
        assert_int_equal(error, 0);
        naive_set(gpa, size, hpa, prot);
        merged_before = merged;
        merge(gpa, size);
        assert_true(merged == merged_before || table.mergeable);
    }
}

static void random_map(void)
{
    uint64_t gpa, size, unit, hpa;

    random_range(&gpa, &size, &unit);
    hpa = (1 + random_below(1000)) * G1 + (random_below(4) == 0 ? random_below(1 << 20) * K4 : gpa % G1);
    if (random_below(2) == 0) /* what may go on where another ends */
        map_and_merge(gpa, size, gpa + G1, RW);
    else
        map_and_merge(gpa, size, hpa, STAGE2_READ | random_below(32));
}

/* A hole is closed again, as far as it goes within 1 GiB, with what continues the page before it. */
static void random_fill(void)
{
    uint64_t gpa = WINDOW_BASE + random_below(WINDOW_PAGES) * K4, end;
    const struct naive_page *before;

    while (gpa % G1 != 0 && naive_at(gpa)->hpa != 0)
        gpa += K4;
    while (gpa % G1 != 0 && naive_at(gpa - K4)->hpa == 0)
        gpa -= K4;
    if (gpa % G1 == 0)
        return;
    before = naive_at(gpa - K4);
    for (end = gpa; end % G1 != 0 && naive_at(end)->hpa == 0; end += K4)
        ;
    if (end != gpa)
        map_and_merge(gpa, end - gpa, before->hpa + K4, random_below(8) == 0 ? RW : before->prot);
}

/* Freed tables may still be walked through caches: nothing in them may be present. */
static void check_freed(const struct stage2_freed *freed)
{
    for (void *page = freed->head; page != NULL; page = *(void **)page)
        for (unsigned i = 0; i < 512; i++) {
            assert_false(hw_present(host_walk64(platform_phys(page) + 8 * i, true)));
            assert_false(hw_present(host_walk64(platform_phys(page) + 8 * i, table.coherent)));
        }
}

static void random_unmap(void)
{
    struct stage2_freed freed = { NULL };
    uint64_t gpa, size, unit, unmapped = 1, before = naive_mapped, live = host_pages_live();
    int error;

    random_range(&gpa, &size, &unit);
    if (random_below(3) == 0)
        size = unit; /* a small hole */
    begin_change(gpa, size, false, 0, 0);
    host_store_hook = check_between_stores;
    error = stage2_unmap(&table, gpa, size, &freed, &unmapped);
    host_store_hook = NULL;
    check_ways();
    check_freed(&freed);
    stage2_free(&table, &freed);
    if (host_allocation_failed()) {
        assert_int_equal(error, -NIDUS_ENOMEM);
        assert_int_equal(host_pages_live(), live);
        return;
    }
    assert_int_equal(error, 0);
    naive_set(gpa, size, 0, 0);
    assert_int_equal(unmapped, (before - naive_mapped) * K4);
}

/* Nothing changes but the leaves, at both ends of the range; and back. */
static void random_split(void)
{
    uint64_t gpa, size, unit, leaf, live = host_pages_live();
    int error;

    random_range(&gpa, &size, &unit);
    begin_change(gpa, 0, false, 0, 0);
    host_store_hook = check_between_stores;
    error = stage2_split(&table, gpa, size);
    host_store_hook = NULL;
    check_ways();
    if (host_allocation_failed()) {
        assert_int_equal(error, -NIDUS_ENOMEM);
        assert_int_equal(host_pages_live(), live);
        return;
    }
    assert_int_equal(error, 0);
    if (stage2_lookup(&table, gpa, NULL, NULL, &leaf, NULL) == 0)
        assert_int_equal(gpa % leaf, 0);
    if (stage2_lookup(&table, gpa + size, NULL, NULL, &leaf, NULL) == 0)
        assert_int_equal((gpa + size) % leaf, 0);
    splitting = true;
    check_all();
    splitting = false;
    merge(gpa, size);
    assert_int_equal(host_pages_live(), live);
}

/* What was split is unmapped step by step, which takes no memory. */
static void random_unmap_in_steps(void)
{
    uint64_t gpa, size, unit, step;
    unsigned entries;

    random_range(&gpa, &size, &unit);
    if (stage2_split(&table, gpa, size) != 0)
        return;
    naive_set(gpa, size, 0, 0);
    for (; size > 0; gpa += step, size -= step) {
        step = stage2_unmap_step(&table, gpa, size, &entries);
        assert_true(step > 0 && step <= size && entries > 0 && entries <= 512);
        host_fail_allocation(1);
        assert_int_equal(unmap(gpa, step, NULL), 0);
        assert_false(host_allocation_failed());
        host_fail_allocation(0);
    }
}

static void random_lookup(void)
{
    uint64_t gpa = WINDOW_BASE + random_below(WINDOW_PAGES) * K4 + random_below(K4), hpa = 0, leaf = 0;
    struct naive_page *page = naive_at(gpa);
    unsigned prot = 0;
    int error = stage2_lookup(&table, gpa, &hpa, &prot, &leaf, NULL);

    if (page->hpa == 0) {
        assert_int_equal(error, -NIDUS_ENOENT);
        return;
    }
    assert_int_equal(error, 0);
    assert_int_equal(hpa, page->hpa + gpa % K4);
    assert_int_equal(prot, expressible(page->prot));
    assert_true(leaf == K4 || leaf == M2 || leaf == G1);
}

static void random_sequence(unsigned levels, unsigned page_sizes, bool coherent, unsigned steps)
{
    for (unsigned f = 0; f < 3; f++) {
        naive_reset();
        merged = 0;
        make(formats[f], levels, page_sizes, coherent);
        for (unsigned i = 0; i < steps; i++) {
            host_fail_allocation(random_below(6) == 0 ? 1 + random_below(6) : 0);
            switch (random_below(10)) {
            case 0:
            case 1:  random_map(); break;
            case 2:
            case 3:  random_fill(); break;
            case 4:
            case 5:  random_split(); break;
            case 6:  random_unmap_in_steps(); break;
            default: random_unmap(); break;
            }
            host_fail_allocation(0);
            random_lookup();
            if (i % 8 == 0)
                check_all();
        }
        check_all();
        assert_true(page_sizes == 0 ? merged == 0 : merged >= steps / 40);
        destroy();
    }
}

static void random_sequences_with_all_page_sizes(void **state)
{
    (void)state;
    random_sequence(4, STAGE2_2M | STAGE2_1G, true, 400);
}

static void random_sequences_with_2m_pages_in_three_levels(void **state)
{
    (void)state;
    random_sequence(3, STAGE2_2M, true, 200);
}

static void random_sequences_with_4k_pages_in_five_levels(void **state)
{
    (void)state;
    random_sequence(5, 0, true, 60);
}

static void random_sequences_when_walks_do_not_snoop(void **state)
{
    (void)state;
    random_sequence(4, STAGE2_2M | STAGE2_1G, false, 400);
}

/* Rules -------------------------------------------------------------------------------------------- */

static void levels_other_than_3_to_5_are_refused(void **state)
{
    (void)state;
    assert_int_equal(stage2_init(&table, &stage2_ept, 2, 0, true, owner), -NIDUS_EINVAL);
    assert_int_equal(stage2_init(&table, &stage2_ept, 6, 0, true, owner), -NIDUS_EINVAL);
    assert_int_equal(host_pages_live(), 0);
}

static void limit_follows_the_levels(void **state)
{
    (void)state;
    for (unsigned levels = 3; levels <= 5; levels++) {
        make(&stage2_vtd, levels, 0, true);
        assert_int_equal(table.limit, 1ULL << (12 + 9 * levels));
        assert_int_equal(stage2_map(&table, table.limit - K4, K4, K4, RW), 0);
        assert_int_equal(stage2_map(&table, table.limit, K4, K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(stage2_map(&table, table.limit - 2 * K4, K4, 3 * K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(stage2_map(&table, K4, K4, -2 * K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(unmap(table.limit, K4, NULL), -NIDUS_EOVERFLOW);
        assert_int_equal(unmap(0, table.limit, NULL), 0);
        destroy();
    }
}

static void entries_have_exactly_these_bits(void **state)
{
    const struct {
        const struct stage2_format *format;
        unsigned prot;
        uint64_t small, large;
    } rows[] = {
        { &stage2_ept, RW | STAGE2_EXECUTE,           0x37, 0xb7 },
        { &stage2_ept, RW,                            0x33, 0xb3 },
        { &stage2_ept, STAGE2_READ,                   0x31, 0xb1 },
        { &stage2_ept, STAGE2_READ | STAGE2_EXECUTE,  0x35, 0xb5 },
        { &stage2_ept, RW | STAGE2_UNCACHED,          0x03, 0x83 },
        { &stage2_npt, RW | STAGE2_EXECUTE,           0x07, 0x87 },
        { &stage2_npt, RW,                            0x8000000000000007, 0x8000000000000087 },
        { &stage2_npt, STAGE2_READ,                   0x8000000000000005, 0x8000000000000085 },
        { &stage2_npt, RW | STAGE2_UNCACHED,          0x800000000000001f, 0x800000000000009f },
        { &stage2_vtd, RW,                            0x03, 0x83 },
        { &stage2_vtd, STAGE2_WRITE,                  0x02, 0x82 },
        { &stage2_vtd, STAGE2_READ | STAGE2_EXECUTE,  0x01, 0x81 },
        { &stage2_vtd, RW | STAGE2_SNOOP,             0x803, 0x883 },
        { &stage2_vtd, RW | STAGE2_UNCACHED,          0x03, 0x83 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t *entry;

        make(rows[i].format, 3, STAGE2_2M | STAGE2_1G, true);
        assert_int_equal(stage2_map(&table, 3 * G1, 7 * G1, G1, rows[i].prot), 0);
        assert_int_equal(table.root[3], 7 * G1 | rows[i].large);
        assert_int_equal(stage2_map(&table, M2, 5 * M2, M2, rows[i].prot), 0);
        assert_int_equal(table.root[0] & 0xfff, rows[i].format == &stage2_vtd ? 3 : 7);
        entry = platform_virt(table.root[0] & ADDRESS);
        assert_int_equal(entry[1], 5 * M2 | rows[i].large);
        assert_int_equal(stage2_map(&table, K4, 9 * K4, K4, rows[i].prot), 0);
        entry = platform_virt(entry[0] & ADDRESS);
        assert_int_equal(entry[1], 9 * K4 | rows[i].small);
        destroy();
    }
}

static void permissions_that_a_format_cannot_give_are_refused(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 3; f++) {
        bool vtd = formats[f] == &stage2_vtd;

        make(formats[f], 4, 0, true);
        assert_int_equal(stage2_map(&table, 0, 0, K4, 0), -NIDUS_EINVAL);
        assert_int_equal(stage2_map(&table, 0, 0, K4, STAGE2_SNOOP | STAGE2_UNCACHED), -NIDUS_EINVAL);
        assert_int_equal(stage2_map(&table, 0, 0, K4, STAGE2_EXECUTE), -NIDUS_EINVAL);
        assert_int_equal(stage2_map(&table, 0, 0, K4, STAGE2_WRITE), vtd ? 0 : -NIDUS_EINVAL);
        destroy();
    }
}

static void ranges_are_whole_pages(void **state)
{
    (void)state;
    make(&stage2_ept, 4, 0, true);
    assert_int_equal(stage2_map(&table, 0, 0, 0, RW), -NIDUS_EINVAL);
    assert_int_equal(stage2_map(&table, 1, 0, K4, RW), -NIDUS_EINVAL);
    assert_int_equal(stage2_map(&table, 0, 1, K4, RW), -NIDUS_EINVAL);
    assert_int_equal(stage2_map(&table, 0, 0, K4 + 1, RW), -NIDUS_EINVAL);
    assert_int_equal(unmap(0, 0, NULL), -NIDUS_EINVAL);
    assert_int_equal(unmap(1, K4, NULL), -NIDUS_EINVAL);
    assert_int_equal(unmap(0, 1, NULL), -NIDUS_EINVAL);
    destroy();
}

static void a_physical_address_has_52_bits(void **state)
{
    (void)state;
    make(&stage2_ept, 4, 0, true);
    assert_int_equal(stage2_map(&table, 0, (1ULL << 52) - K4, K4, RW), 0);
    assert_int_equal(stage2_map(&table, M2, (1ULL << 52) - K4, 2 * K4, RW), -NIDUS_EOVERFLOW);
    assert_int_equal(stage2_map(&table, M2, 1ULL << 52, K4, RW), -NIDUS_EOVERFLOW);
    destroy();
}

static void the_largest_leaf_that_alignment_allows_is_used(void **state)
{
    const struct {
        unsigned page_sizes;
        uint64_t gpa, hpa, size, leaf;
    } rows[] = {
        { STAGE2_2M | STAGE2_1G, G1, 2 * G1,      G1,      G1 },
        { STAGE2_2M | STAGE2_1G, G1, 2 * G1 + M2, G1,      M2 },
        { STAGE2_2M | STAGE2_1G, G1, 2 * G1 + K4, G1,      K4 },
        { STAGE2_2M | STAGE2_1G, G1, 2 * G1,      G1 - K4, M2 },
        { STAGE2_2M,             G1, 2 * G1,      G1,      M2 },
        { STAGE2_1G,             M2, M2,          M2,      K4 },
        { 0,                     G1, 2 * G1,      G1,      K4 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t leaf = 0;

        make(&stage2_npt, 4, rows[i].page_sizes, true);
        assert_int_equal(stage2_map(&table, rows[i].gpa, rows[i].hpa, rows[i].size, RW), 0);
        assert_int_equal(stage2_lookup(&table, rows[i].gpa, NULL, NULL, &leaf, NULL), 0);
        assert_int_equal(leaf, rows[i].leaf);
        destroy();
    }
}

/* In steps of at most 512 entries come the leaves that one call makes. */
static void steps_make_the_same_leaves(void **state)
{
    static const struct { uint64_t gpa, hpa, size; } ranges[] = {
        { 0, 0, K4 }, { K4, K4, 2 * M2 }, { M2 - K4, 3 * M2 - K4, G1 + 3 * M2 }, { K4, 2 * K4, 3 * M2 }, { G1, 3 * G1, 3 * G1 },
        { G1 - M2, G1 - M2, G1 + 2 * M2 + 5 * K4 }, { M2, M2 + K4, M2 }, { 3 * G1 + M2, M2, 2 * G1 }, { 511 * G1, G1, 600 * G1 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (unsigned sizes = 0; sizes <= (ranges[i].size < 4 * G1 ? 4 : 3); sizes++) {
            unsigned prot = RW | (sizes == 4 ? STAGE2_SMALL : 0), entries;
            struct stage2 whole;
            uint64_t done, step, leaf, other, hpa;

            if (sizes == 2 || (sizes != 3 && ranges[i].size > 2 * G1))
                continue;       /* no unit has 1 GiB and not 2 MiB */
            assert_int_equal(stage2_init(&whole, &stage2_vtd, 4, sizes == 4 ? 3 : sizes, true, owner), 0);
            assert_int_equal(stage2_map(&whole, ranges[i].gpa, ranges[i].hpa, ranges[i].size, prot), 0);
            make(&stage2_vtd, 4, sizes == 4 ? 3 : sizes, true);
            for (done = 0; done < ranges[i].size; done += step) {
                step = stage2_map_step(&table, ranges[i].gpa + done, ranges[i].hpa + done, ranges[i].size - done, prot, &entries);
                assert_true(entries > 0 && entries <= 512 && step <= ranges[i].size - done);
                assert_int_equal(stage2_map(&table, ranges[i].gpa + done, ranges[i].hpa + done, step, prot), 0);
                assert_int_equal(stage2_lookup(&table, ranges[i].gpa + done, NULL, NULL, &leaf, NULL), 0);
                assert_int_equal(step, entries * leaf);
            }
            for (done = 0; done < ranges[i].size; done += leaf) {
                assert_int_equal(stage2_lookup(&table, ranges[i].gpa + done, &hpa, NULL, &leaf, NULL), 0);
                assert_int_equal(stage2_lookup(&whole, ranges[i].gpa + done, NULL, NULL, &other, NULL), 0);
                assert_int_equal(leaf, other);
                assert_int_equal(hpa, ranges[i].hpa + done);
                assert_true(sizes != 4 || leaf == K4);
            }
            stage2_destroy(&whole);
            destroy();
        }
    }
}

static void lookup_tells_the_level_where_the_walk_ended(void **state)
{
    unsigned level = 0;

    (void)state;
    make(&stage2_vtd, 4, STAGE2_2M, true);
    assert_int_equal(stage2_lookup(&table, 0, NULL, NULL, NULL, &level), -NIDUS_ENOENT);
    assert_int_equal(level, 4);
    assert_int_equal(stage2_map(&table, M2, M2, M2 + K4, RW), 0);
    assert_int_equal(stage2_lookup(&table, M2, NULL, NULL, NULL, &level), 0);
    assert_int_equal(level, 2);
    assert_int_equal(stage2_lookup(&table, 2 * M2, NULL, NULL, NULL, &level), 0);
    assert_int_equal(level, 1);
    assert_int_equal(stage2_lookup(&table, 2 * M2 + K4, NULL, NULL, NULL, &level), -NIDUS_ENOENT);
    assert_int_equal(level, 1);
    assert_int_equal(stage2_lookup(&table, 0, NULL, NULL, NULL, &level), -NIDUS_ENOENT);
    assert_int_equal(level, 2);
    assert_int_equal(stage2_lookup(&table, G1, NULL, NULL, NULL, &level), -NIDUS_ENOENT);
    assert_int_equal(level, 3);
    assert_int_equal(stage2_lookup(&table, 1ULL << 48, NULL, NULL, NULL, &level), -NIDUS_ENOENT);
    destroy();
}

static void unmapping_nothing_succeeds_with_0_bytes(void **state)
{
    uint64_t unmapped = 1;

    (void)state;
    make(&stage2_ept, 4, 0, true);
    assert_int_equal(unmap(0, 1ULL << 48, &unmapped), 0);
    assert_int_equal(unmapped, 0);
    destroy();
}

static void tables_are_charged_to_the_owner_and_its_quota_holds(void **state)
{
    (void)state;
    make(&stage2_ept, 4, 0, true);
    assert_int_equal(owner->bytes_used, K4);
    assert_int_equal(stage2_map(&table, 0, 0, K4, RW), 0);
    assert_int_equal(owner->bytes_used, 4 * K4);
    owner->bytes_left = 2 * K4;
    assert_int_equal(stage2_map(&table, G1, 0, 2 * M2, RW), -NIDUS_ENOMEM);
    assert_int_equal(owner->bytes_used, 4 * K4);
    destroy();
}

static void unmapped_tables_live_until_they_are_freed(void **state)
{
    struct stage2_freed freed = { NULL };

    (void)state;
    make(&stage2_ept, 4, 0, true);
    assert_int_equal(stage2_map(&table, 0, 0, K4, RW), 0);
    assert_int_equal(stage2_unmap(&table, 0, K4, &freed, NULL), 0);
    assert_int_equal(host_pages_live(), 4);
    check_freed(&freed);
    stage2_free(&table, &freed);
    assert_int_equal(host_pages_live(), 1);
    destroy();
}

static unsigned stores, leaves;

static void count_stores(volatile void *entry, unsigned bytes)
{
    assert_int_equal(bytes, 8);
    stores++;
    leaves += (*(volatile uint64_t *)entry & 0x83) == 0x83;
}

static uint64_t leaf_at(uint64_t gpa)
{
    uint64_t leaf = 0;

    assert_int_equal(stage2_lookup(&table, gpa, NULL, NULL, &leaf, NULL), 0);
    return leaf;
}

/* Maps, merges, frees at once; how many tables were merged. */
static unsigned map_merged(uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot)
{
    struct stage2_freed freed;
    unsigned merges;

    assert_int_equal(stage2_map(&table, gpa, hpa, size, prot), 0);
    stage2_merge(&table, gpa, size, &freed);
    merges = freed.merges;
    stage2_free(&table, &freed);
    return merges;
}

static void a_table_that_has_become_full_is_merged_in_whatever_order(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 3; f++)
        for (unsigned stride = 1; stride < 512; stride += 2) { /* 1: ascending, 511: descending */
            make(formats[f], 4, STAGE2_2M | STAGE2_1G, f != 0);
            for (unsigned i = 0; i < 512; i++) {
                uint64_t at = i * stride % 512 * K4;

                assert_int_equal(map_merged(G1 + at, 3 * M2 + at, K4, STAGE2_READ), i == 511);
                assert_int_equal(leaf_at(G1 + at), i == 511 ? M2 : K4);
            }
            assert_int_equal(host_pages_live(), 3);
            destroy();
        }
}

static void merging_goes_up_to_1_gib(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 3; f++) {
        make(formats[f], 5, STAGE2_2M | STAGE2_1G, true);
        assert_int_equal(map_merged(G1, 7 * G1, M2 + K4, RW), 0);
        assert_int_equal(map_merged(G1 + M2 + 2 * K4, 7 * G1 + M2 + 2 * K4, G1 - M2 - 2 * K4, RW), 0);
        assert_int_equal(host_pages_live(), 5);
        assert_int_equal(map_merged(G1 + M2 + K4, 7 * G1 + M2 + K4, K4, RW), 2);
        assert_int_equal(leaf_at(G1), G1);
        assert_int_equal(host_pages_live(), 3);
        destroy();
    }
}

static void both_ends_of_a_range_merge(void **state)
{
    (void)state;
    make(&stage2_vtd, 4, STAGE2_2M | STAGE2_1G, false);
    assert_int_equal(map_merged(0, 0, K4, RW), 0);
    assert_int_equal(map_merged(3 * G1 - K4, 3 * G1 - K4, K4, RW), 0);
    assert_int_equal(map_merged(K4, K4, 3 * G1 - 2 * K4, RW), STAGE2_MERGES);
    assert_int_equal(leaf_at(0), G1);
    assert_int_equal(leaf_at(3 * G1 - K4), G1);
    assert_int_equal(host_pages_live(), 2);
    destroy();
}

static void what_was_split_is_merged_again(void **state)
{
    (void)state;
    make(&stage2_ept, 4, STAGE2_2M | STAGE2_1G, true);
    assert_int_equal(map_merged(0, G1, G1, RW), 0);
    assert_int_equal(unmap(5 * M2 + 7 * K4, K4, NULL), 0);
    assert_int_equal(host_pages_live(), 4);
    assert_int_equal(map_merged(5 * M2 + 7 * K4, G1 + 5 * M2 + 7 * K4, K4, RW), 2);
    assert_int_equal(leaf_at(0), G1);
    assert_int_equal(host_pages_live(), 2);
    destroy();
}

/* The page that makes the table full is at `at`; all rows but the first are not one leaf. */
static void only_what_is_one_run_with_the_same_bits_is_merged(void **state)
{
    const struct {
        unsigned page_sizes, prot;
        uint64_t at, hpa, wrong;
        unsigned merges;
    } rows[] = {
        { STAGE2_2M, RW,                K4 * 100, 5 * M2,          0,  1 },
        { 0,         RW,                K4 * 100, 5 * M2,          0,  0 },
        { STAGE2_1G, RW,                K4 * 100, 5 * M2,          0,  0 },
        { STAGE2_2M, STAGE2_READ,       K4 * 100, 5 * M2,          0,  0 },
        { STAGE2_2M, STAGE2_READ,       0,        5 * M2,          0,  0 },
        { STAGE2_2M, STAGE2_READ,       M2 - K4,  5 * M2,          0,  0 },
        { STAGE2_2M, RW | STAGE2_SNOOP, K4 * 100, 5 * M2,          0,  0 },
        { STAGE2_2M, RW,                K4 * 100, 5 * M2,          K4, 0 },
        { STAGE2_2M, RW,                0,        5 * M2,          M2, 0 },
        { STAGE2_2M, RW,                K4,       5 * M2,          M2, 0 },
        { STAGE2_2M, RW,                M2 - 2 * K4, 5 * M2,       M2, 0 },
        { STAGE2_2M, RW,                M2 - K4,  5 * M2,          M2, 0 },
        { STAGE2_2M, RW,                K4 * 100, 5 * M2 + K4,     0,  0 },
        { STAGE2_2M, RW,                K4 * 100, 5 * M2 + M2 / 2, 0,  0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t at = rows[i].at, hpa = rows[i].hpa;

        make(&stage2_vtd, 4, rows[i].page_sizes, true);
        if (at != 0)
            assert_int_equal(map_merged(0, hpa, at, RW), 0);
        if (at + K4 != M2)
            assert_int_equal(map_merged(at + K4, hpa + at + K4, M2 - at - K4, RW), 0);
        assert_int_equal(map_merged(at, hpa + at + rows[i].wrong, K4, rows[i].prot), rows[i].merges);
        assert_int_equal(leaf_at(at), rows[i].merges ? M2 : K4);
        destroy();
    }
}

/* A paging-structure cache still has the way into it. */
static void a_merged_table_lives_as_it_is_until_it_is_freed(void **state)
{
    struct stage2_freed freed;
    const uint64_t *small;

    (void)state;
    make(&stage2_vtd, 4, STAGE2_2M, true);
    assert_int_equal(stage2_map(&table, 0, 5 * M2, M2 - K4, RW), 0);
    small = host_phys(host_walk64(host_walk64(host_walk64(platform_phys(table.root), true) & ADDRESS, true) & ADDRESS, true) & ADDRESS);
    assert_int_equal(stage2_map(&table, M2 - K4, 6 * M2 - K4, K4, RW), 0);
    assert_true(stage2_merge(&table, M2 - K4, K4, &freed));
    assert_int_equal(leaf_at(0), M2);
    assert_int_equal(host_pages_live(), 4);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(small[i], (5 * M2 + i * K4) | 3);
    stage2_free(&table, &freed);
    assert_int_equal(host_pages_live(), 3);
    destroy();
}

static void nothing_to_merge_is_no_store(void **state)
{
    struct stage2_freed freed;

    (void)state;
    make(&stage2_vtd, 4, STAGE2_2M | STAGE2_1G, true);
    assert_int_equal(stage2_map(&table, 0, 0, G1 + 2 * M2 + K4, RW), 0);
    stores = 0;
    host_store_hook = count_stores;
    assert_false(stage2_merge(&table, 0, G1 + 2 * M2 + K4, &freed));
    host_store_hook = NULL;
    assert_int_equal(stores, 0);
    destroy();
}

static void an_aligned_tebibyte_is_1024_leaves_in_two_tables_and_what_leads_to_them(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        make(&stage2_vtd, levels, STAGE2_2M | STAGE2_1G, true);
        stores = leaves = 0;
        host_store_hook = count_stores;
        assert_int_equal(stage2_map(&table, 1ULL << 40, 1ULL << 41, 1ULL << 40, RW), 0);
        host_store_hook = NULL;
        assert_int_equal(leaves, 1024);
        assert_int_equal(stores, 1024 + (levels - 2) * 3); /* each new table: into the chain, out of it, linked */
        assert_int_equal(host_pages_live(), levels - 1);
        destroy();
    }
}

static void bytes_of_tables_for_a_gibibyte(void **state)
{
    const struct {
        unsigned page_sizes;
        uint64_t bytes;         /* without root and level 3 */
    } rows[] = {
        { 0,                     M2 + K4 },
        { STAGE2_2M,             K4 },
        { STAGE2_2M | STAGE2_1G, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        make(&stage2_vtd, 4, rows[i].page_sizes, true);
        assert_int_equal(map_merged(G1, G1, G1, RW), 0);
        assert_int_equal(owner->bytes_used, 2 * K4 + rows[i].bytes);
        destroy();
        make(&stage2_vtd, 4, rows[i].page_sizes, true);
        for (uint64_t at = 0; at < G1; at += K4) /* page by page it is the same in the end */
            map_merged(G1 + at, G1 + at, K4, RW);
        assert_int_equal(owner->bytes_used, 2 * K4 + rows[i].bytes);
        destroy();
    }
}

static void an_unmap_within_one_leaf_takes_one_table_for_each_split(void **state)
{
    const struct {
        uint64_t gpa, size;
        unsigned tables;
    } rows[] = {
        { M2,          2 * M2,      1 },
        { M2 + K4,     K4,          2 },
        { M2 + K4,     M2,          3 },
        { 0,           K4,          2 },
        { M2,          M2 + K4,     2 },
        { G1 - K4,     2 * K4,      4 },
        { G1 - M2,     M2 + K4,     3 },
        { G1,          G1,          0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned tables = 0; tables <= rows[i].tables; tables++) {
            make(&stage2_npt, 4, STAGE2_2M | STAGE2_1G, true);
            assert_int_equal(stage2_map(&table, 0, 0, 2 * G1, RW), 0);
            owner->bytes_left = tables * K4;
            assert_int_equal(unmap(rows[i].gpa, rows[i].size, NULL), tables < rows[i].tables ? -NIDUS_ENOMEM : 0);
            destroy();
        }
}

static void what_was_split_is_unmapped_without_memory(void **state)
{
    (void)state;
    make(&stage2_npt, 4, STAGE2_2M | STAGE2_1G, true);
    assert_int_equal(stage2_map(&table, 0, 0, 2 * G1, RW), 0);
    assert_int_equal(stage2_split(&table, G1 - K4, M2), 0);
    owner->bytes_left = 0;
    assert_int_equal(stage2_split(&table, G1 - K4, M2), 0);
    assert_int_equal(unmap(G1 - K4, M2, NULL), 0);
    assert_int_equal(stage2_split(&table, 0, 0), -NIDUS_EINVAL);
    assert_int_equal(stage2_split(&table, 1ULL << 48, K4), -NIDUS_EOVERFLOW);
    destroy();
}

/* Every allocation of a map and of an unmap with four splits fails once. */
static void an_allocation_that_fails_changes_nothing(void **state)
{
    const uint64_t gpa = WINDOW_BASE;

    (void)state;
    for (unsigned f = 0; f < 3; f++) {
        bool failed = true;

        naive_reset();
        make(formats[f], 4, STAGE2_2M | STAGE2_1G, false);
        for (unsigned n = 1; failed; n++) {
            host_fail_allocation(n);
            assert_int_equal(stage2_map(&table, gpa + G1 - K4, G1 - K4, G1 + M2 + K4, RW),
                             n <= 4 ? -NIDUS_ENOMEM : 0);
            failed = host_allocation_failed();
            host_fail_allocation(0);
            if (failed)
                check_all();
        }
        naive_set(gpa + G1 - K4, G1 + M2 + K4, G1 - K4, RW);
        check_all();
        assert_int_equal(stage2_map(&table, gpa + 3 * G1, 3 * G1, G1, RW), 0);
        naive_set(gpa + 3 * G1, G1, 3 * G1, RW);
        failed = true;
        for (unsigned n = 1; failed; n++) {
            host_fail_allocation(n);
            assert_int_equal(unmap(gpa + G1 + K4, 2 * G1 + 3 * K4, NULL), n <= 4 ? -NIDUS_ENOMEM : 0);
            failed = host_allocation_failed();
            host_fail_allocation(0);
            if (failed)
                check_all();
        }
        naive_set(gpa + G1 + K4, 2 * G1 + 3 * K4, 0, 0);
        check_all();
        destroy();
    }
}

static void no_memory_for_the_root(void **state)
{
    (void)state;
    host_fail_allocation(1);
    assert_int_equal(stage2_init(&table, &stage2_ept, 4, 0, true, owner), -NIDUS_ENOMEM);
    host_fail_allocation(0);
    stage2_destroy(&table);
    assert_int_equal(host_pages_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(levels_other_than_3_to_5_are_refused, setup),
        cmocka_unit_test_setup(limit_follows_the_levels, setup),
        cmocka_unit_test_setup(entries_have_exactly_these_bits, setup),
        cmocka_unit_test_setup(permissions_that_a_format_cannot_give_are_refused, setup),
        cmocka_unit_test_setup(ranges_are_whole_pages, setup),
        cmocka_unit_test_setup(a_physical_address_has_52_bits, setup),
        cmocka_unit_test_setup(the_largest_leaf_that_alignment_allows_is_used, setup),
        cmocka_unit_test_setup(steps_make_the_same_leaves, setup),
        cmocka_unit_test_setup(lookup_tells_the_level_where_the_walk_ended, setup),
        cmocka_unit_test_setup(unmapping_nothing_succeeds_with_0_bytes, setup),
        cmocka_unit_test_setup(tables_are_charged_to_the_owner_and_its_quota_holds, setup),
        cmocka_unit_test_setup(unmapped_tables_live_until_they_are_freed, setup),
        cmocka_unit_test_setup(a_table_that_has_become_full_is_merged_in_whatever_order, setup),
        cmocka_unit_test_setup(merging_goes_up_to_1_gib, setup),
        cmocka_unit_test_setup(both_ends_of_a_range_merge, setup),
        cmocka_unit_test_setup(what_was_split_is_merged_again, setup),
        cmocka_unit_test_setup(only_what_is_one_run_with_the_same_bits_is_merged, setup),
        cmocka_unit_test_setup(a_merged_table_lives_as_it_is_until_it_is_freed, setup),
        cmocka_unit_test_setup(nothing_to_merge_is_no_store, setup),
        cmocka_unit_test_setup(an_aligned_tebibyte_is_1024_leaves_in_two_tables_and_what_leads_to_them, setup),
        cmocka_unit_test_setup(bytes_of_tables_for_a_gibibyte, setup),
        cmocka_unit_test_setup(an_unmap_within_one_leaf_takes_one_table_for_each_split, setup),
        cmocka_unit_test_setup(what_was_split_is_unmapped_without_memory, setup),
        cmocka_unit_test_setup(an_allocation_that_fails_changes_nothing, setup),
        cmocka_unit_test_setup(no_memory_for_the_root, setup),
        cmocka_unit_test_setup(random_sequences_with_all_page_sizes, setup),
        cmocka_unit_test_setup(random_sequences_with_2m_pages_in_three_levels, setup),
        cmocka_unit_test_setup(random_sequences_with_4k_pages_in_five_levels, setup),
        cmocka_unit_test_setup(random_sequences_when_walks_do_not_snoop, setup),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);

    free(naive);
    return failures;
}
