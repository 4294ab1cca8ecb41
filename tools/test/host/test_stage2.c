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

static struct translation hw_translate(uint64_t gpa)
{
    uint64_t phys = platform_phys(table.root);

    for (unsigned level = table.levels;; level--) {
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

/* Compares a whole table with the naive map; counts pages and tables. */
static void check_table(uint64_t phys, unsigned level, uint64_t gpa, uint64_t *pages, uint64_t *tables)
{
    unsigned present = 0;

    ++*tables;
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

static void check_between_stores(volatile void *entry, unsigned bytes)
{
    const uint64_t edges[] = { change.gpa, change.end - K4, change.gpa - K4, change.end };

    (void)entry;
    assert_int_equal(bytes, 8);
    for (unsigned i = 0; i < 6; i++) {
        uint64_t gpa = i < 4 ? edges[i] : WINDOW_BASE + random_below(WINDOW_PAGES) * K4;
        struct naive_page *old;
        struct translation t;
        bool is_old, is_new;

        if (gpa < WINDOW_BASE || gpa >= WINDOW_BASE + WINDOW_PAGES * K4)
            continue;
        old = naive_at(gpa);
        t = hw_translate(gpa);
        is_old = t.mapped == (old->hpa != 0) && (!t.mapped || (t.hpa == old->hpa && t.prot == expressible(old->prot)));
        is_new = gpa >= change.gpa && gpa < change.end && t.mapped == change.mapping &&
                 (!t.mapped || (t.hpa == change.hpa + (gpa - change.gpa) && t.prot == expressible(change.prot)));
        if (!is_old && !is_new)
            fail_msg("between two stores gpa %#llx is neither what it was nor what it will be", (unsigned long long)gpa);
    }
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

static void random_map(void)
{
    uint64_t gpa, size, unit, hpa, before = host_pages_live();
    unsigned prot = STAGE2_READ | random_below(32);
    int error;

    random_range(&gpa, &size, &unit);
    hpa = (1 + random_below(1000)) * G1 + (random_below(4) == 0 ? random_below(1 << 20) * K4 : gpa % G1);
    change.gpa = gpa, change.end = gpa + size, change.mapping = true, change.hpa = hpa, change.prot = prot;
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
    }
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
    change.gpa = gpa, change.end = gpa + size, change.mapping = false;
    host_store_hook = check_between_stores;
    error = stage2_unmap(&table, gpa, size, &freed, &unmapped);
    host_store_hook = NULL;
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
        make(formats[f], levels, page_sizes, coherent);
        for (unsigned i = 0; i < steps; i++) {
            host_fail_allocation(random_below(6) == 0 ? 1 + random_below(6) : 0);
            if (random_below(2) == 0)
                random_map();
            else
                random_unmap();
            host_fail_allocation(0);
            random_lookup();
            if (i % 8 == 0)
                check_all();
        }
        check_all();
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
        assert_int_equal(stage2_limit(&table), 1ULL << (12 + 9 * levels));
        assert_int_equal(stage2_map(&table, stage2_limit(&table) - K4, K4, K4, RW), 0);
        assert_int_equal(stage2_map(&table, stage2_limit(&table), K4, K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(stage2_map(&table, stage2_limit(&table) - 2 * K4, K4, 3 * K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(stage2_map(&table, K4, K4, -2 * K4, RW), -NIDUS_EOVERFLOW);
        assert_int_equal(unmap(stage2_limit(&table), K4, NULL), -NIDUS_EOVERFLOW);
        assert_int_equal(unmap(0, stage2_limit(&table), NULL), 0);
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
        cmocka_unit_test_setup(lookup_tells_the_level_where_the_walk_ended, setup),
        cmocka_unit_test_setup(unmapping_nothing_succeeds_with_0_bytes, setup),
        cmocka_unit_test_setup(tables_are_charged_to_the_owner_and_its_quota_holds, setup),
        cmocka_unit_test_setup(unmapped_tables_live_until_they_are_freed, setup),
        cmocka_unit_test_setup(an_unmap_within_one_leaf_takes_one_table_for_each_split, setup),
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
