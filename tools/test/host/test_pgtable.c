/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_pgtable.c: the guests' first-stage page tables.
 *
 * The walk here is the hardware's, written from VT-d spec 9.7 and not with pgtable.c's names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "guests/runtime/pgtable.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL
#define RW (PT_WRITE | PT_USER)

#define LOW  0x00007f0000000000ULL
#define HIGH 0xffff800000000000ULL

/* Tables live at addresses that are no pointers: page i is at BASE + i * 4 KiB. */
#define BASE  0x123000000ULL
#define PAGES 64u

static uint64_t pages[PAGES][512] __attribute__((aligned(4096)));
static bool in_use[PAGES];
static unsigned room;           /* pages that alloc may still give */

static uint64_t *page_alloc(void *context, uint64_t *address)
{
    assert_ptr_equal(context, &room);
    for (unsigned i = 0; room && i < PAGES; i++) {
        if (in_use[i])
            continue;
        in_use[i] = true;
        room--;
        memset(pages[i], 0, sizeof(pages[i]));
        *address = BASE + i * K4;
        return pages[i];
    }
    return NULL;
}

static uint64_t *page_at(void *context, uint64_t address)
{
    assert_ptr_equal(context, &room);
    assert_true(address >= BASE && address < BASE + PAGES * K4 && address % K4 == 0);
    assert_true(in_use[(address - BASE) / K4]);
    return pages[(address - BASE) / K4];
}

static void page_free(void *context, uint64_t *table, uint64_t address)
{
    assert_ptr_equal(table, page_at(context, address));
    in_use[(address - BASE) / K4] = false;
}

static struct pgtable table;

static unsigned pages_used(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < PAGES; i++)
        n += in_use[i];
    return n;
}

static int setup(void **state)
{
    struct pgtable_memory memory = { page_alloc, page_free, page_at, &room };

    (void)state;
    memset(in_use, 0, sizeof(in_use));
    room = PAGES;
    return pgtable_init(&table, &memory) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pgtable_destroy(&table);
    return pages_used() == 0 ? 0 : -1;
}

/* Bits 47:39, 38:30, 29:21, 20:12 select the entries; bit 7 ends the walk early.  false: an entry is not present. */
static bool hardware(uint64_t va, uint64_t *pa, unsigned *level, uint64_t *rights)
{
    static const unsigned low[] = { 0, 12, 21, 30, 39 };
    uint64_t at = table.root;

    *rights = PT_WRITE | PT_USER;
    for (*level = 4;; (*level)--) {
        uint64_t e = page_at(&room, at)[(va >> low[*level]) & 0x1ff];

        if (!(e & 1))
            return false;
        *rights &= e;
        if (*level == 1 || (e >> 7 & 1)) {
            uint64_t inside = (1ULL << low[*level]) - 1;

            assert_int_equal(e & inside & ~0xfffULL, 0);   /* reserved in a large leaf */
            *pa = (e & 0x000ffffffffff000ULL) | (va & inside);
            return true;
        }
        at = e & 0x000ffffffffff000ULL;
    }
}

static void expect(uint64_t va, uint64_t want_pa, unsigned want_level, uint64_t want_rights)
{
    uint64_t pa, rights;
    unsigned level;

    assert_true(hardware(va, &pa, &level, &rights));
    assert_int_equal(pa, want_pa);
    assert_int_equal(level, want_level);
    assert_int_equal(rights, want_rights);
}

static void expect_absent(uint64_t va, unsigned want_level)
{
    uint64_t pa, rights;
    unsigned level;

    assert_false(hardware(va, &pa, &level, &rights));
    assert_int_equal(level, want_level);
}

static void test_a_range_maps_every_page_of_it_and_no_other(void **state)
{
    (void)state;
    assert_true(pgtable_map(&table, LOW + 5 * K4, 0x40000000, 3 * K4, K4, RW));
    expect_absent(LOW + 4 * K4, 1);
    expect(LOW + 5 * K4, 0x40000000, 1, RW);
    expect(LOW + 7 * K4 + 0xabc, 0x40002abc, 1, RW);
    expect_absent(LOW + 8 * K4, 1);
    expect_absent(LOW + M2, 2);
    expect_absent(LOW + G1, 3);
    expect_absent(0, 4);
}

static void test_leaves_of_each_size(void **state)
{
    (void)state;
    assert_true(pgtable_map(&table, LOW, 0x40000000, M2 * 2, M2, RW));
    assert_true(pgtable_map(&table, LOW + G1, 0x80000000, G1, G1, RW));
    assert_true(pgtable_map(&table, LOW + 2 * M2, 0x7000, K4, K4, RW));
    expect(LOW + M2 + 0x12345, 0x40212345, 2, RW);
    expect(LOW + G1 + 0x1234567, 0x81234567, 3, RW);
    expect(LOW + 2 * M2 + 1, 0x7001, 1, RW);
}

static void test_the_high_half_and_the_borders_of_both(void **state)
{
    (void)state;
    assert_true(pgtable_map(&table, HIGH, 0x1000, K4, K4, RW));
    assert_true(pgtable_map(&table, ~0ULL - K4 + 1, 0x2000, K4, K4, RW));
    assert_true(pgtable_map(&table, (1ULL << 47) - K4, 0x3000, K4, K4, RW));
    assert_true(pgtable_map(&table, 0, 0x4000, K4, K4, RW));
    expect(HIGH, 0x1000, 1, RW);
    expect(~0ULL, 0x2fff, 1, RW);
    expect((1ULL << 47) - 1, 0x3fff, 1, RW);
    expect(0, 0x4000, 1, RW);
}

static void test_a_range_outside_one_half_is_refused(void **state)
{
    (void)state;
    assert_false(pgtable_map(&table, 1ULL << 47, 0, K4, K4, RW));              /* not canonical */
    assert_false(pgtable_map(&table, HIGH - K4, 0, K4, K4, RW));
    assert_false(pgtable_map(&table, (1ULL << 47) - K4, 0, 2 * K4, K4, RW));   /* leaves the low half */
    assert_false(pgtable_map(&table, ~0ULL - K4 + 1, 0, 2 * K4, K4, RW));      /* wraps */
    assert_false(pgtable_map(&table, 0, 0, 0, K4, RW));
    assert_false(pgtable_map(&table, 0x800, 0, K4, K4, RW));
    assert_false(pgtable_map(&table, 0, 0x800, K4, K4, RW));
    assert_false(pgtable_map(&table, K4, 0, M2, M2, RW));
    assert_false(pgtable_map(&table, 0, K4, M2, M2, RW));
    assert_false(pgtable_map(&table, 0, 0, M2, 2 * K4, RW));                   /* no such leaf */
    assert_false(pgtable_map(&table, 0, 1ULL << 52, K4, K4, RW));              /* would set bits above the address */
    assert_null(pgtable_entry(&table, 1ULL << 47, 4));
    assert_int_equal(pages_used(), 1);
}

static void test_what_is_mapped_is_not_mapped_over(void **state)
{
    (void)state;
    assert_true(pgtable_map(&table, LOW + K4, 0x1000, K4, K4, RW));
    assert_true(pgtable_map(&table, LOW + M2, 0x200000, M2, M2, RW));
    assert_false(pgtable_map(&table, LOW, 0x5000, 2 * K4, K4, RW));
    expect_absent(LOW, 1);
    expect(LOW + K4, 0x1000, 1, RW);
    assert_false(pgtable_map(&table, LOW + M2, 0x5000, K4, K4, RW));
    assert_false(pgtable_map(&table, LOW, 0x40000000, M2, M2, RW));
}

static void test_rights_and_flags(void **state)
{
    unsigned level;

    (void)state;
    assert_true(pgtable_map(&table, LOW, 0x1000, K4, K4, PT_USER));
    assert_true(pgtable_map(&table, LOW + K4, 0x2000, K4, K4, RW | PT_PCD | PT_ACCESSED | PT_DIRTY));
    assert_true(pgtable_map(&table, HIGH, 0x2000, K4, K4, PT_WRITE));
    expect(LOW, 0x1000, 1, PT_USER);
    expect(HIGH, 0x2000, 1, PT_WRITE);
    assert_int_equal(*pgtable_leaf(&table, LOW + K4, &level), 0x2000 | 1 | 2 | 4 | 0x10 | 0x20 | 0x40);
    assert_int_equal(level, 1);
    /* A and D of what was not asked for stay clear: hardware's bits are seen only where hardware was. */
    assert_int_equal(*pgtable_entry(&table, LOW, 4) & 0xfff, 7);
    assert_int_equal(*pgtable_entry(&table, LOW, 2) & 0xfff, 7);
}

static void test_unmap_takes_whole_leaves_only(void **state)
{
    (void)state;
    assert_true(pgtable_map(&table, LOW, 0x1000, 3 * K4, K4, RW));
    assert_true(pgtable_map(&table, LOW + M2, 0x200000, 2 * M2, M2, RW));
    assert_false(pgtable_unmap(&table, LOW, 4 * K4));            /* its last page is not mapped */
    assert_false(pgtable_unmap(&table, LOW + M2 + K4, K4));      /* inside a larger leaf */
    assert_false(pgtable_unmap(&table, LOW + M2, K4));
    assert_false(pgtable_unmap(&table, LOW + M2 + K4, M2));      /* halves of two larger leaves */
    assert_false(pgtable_unmap(&table, LOW, 0));
    expect(LOW, 0x1000, 1, RW);
    assert_true(pgtable_unmap(&table, LOW + K4, K4));
    expect(LOW, 0x1000, 1, RW);
    expect_absent(LOW + K4, 1);
    expect(LOW + 2 * K4, 0x3000, 1, RW);
    assert_true(pgtable_unmap(&table, LOW + M2, M2));
    expect_absent(LOW + M2, 2);
    assert_true(pgtable_map(&table, LOW + M2, 0x400000, M2, M2, RW));
}

static void test_no_page_for_a_table(void **state)
{
    (void)state;
    room = 2;
    assert_false(pgtable_map(&table, LOW, 0x1000, K4, K4, RW));
    expect_absent(LOW, 2);
    room = 1;
    assert_true(pgtable_map(&table, LOW, 0x1000, K4, K4, RW));
    expect(LOW, 0x1000, 1, RW);
}

static void test_entries_and_leaves(void **state)
{
    unsigned level = 0;

    (void)state;
    assert_true(pgtable_map(&table, LOW, 0x40000000, M2, M2, RW));
    assert_ptr_equal(pgtable_entry(&table, LOW, 2), pgtable_leaf(&table, LOW + 0x12345, &level));
    assert_int_equal(level, 2);
    assert_null(pgtable_entry(&table, LOW, 1));                  /* no table below a leaf */
    assert_non_null(pgtable_entry(&table, LOW + M2, 2));         /* an entry that is not present is still an entry */
    assert_null(pgtable_leaf(&table, LOW + M2, &level));
    pgtable_write(pgtable_entry(&table, LOW + M2, 2), 0x80000000 | 0x87);
    expect(LOW + M2 + 5, 0x80000005, 2, RW);
}

struct seen {
    uint64_t va[16];
    unsigned level[16];
    unsigned count;
};

static void visit(void *context, volatile uint64_t *entry, uint64_t va, unsigned level)
{
    struct seen *s = context;

    assert_true(s->count < 16);
    assert_true(*entry & PT_PRESENT);
    s->va[s->count] = va;
    s->level[s->count++] = level;
}

static void test_visit_sees_each_present_entry_once(void **state)
{
    static const struct seen want = {
        .va = { LOW & ~(512 * G1 - 1), LOW, LOW, LOW, LOW + K4, LOW + M2, HIGH, HIGH },
        .level = { 4, 3, 2, 1, 1, 2, 4, 3 },
        .count = 8,
    };
    struct seen seen = { .count = 0 };

    (void)state;
    assert_true(pgtable_map(&table, LOW, 0x1000, 2 * K4, K4, RW));
    assert_true(pgtable_map(&table, LOW + M2, 0x200000, M2, M2, RW));
    assert_true(pgtable_map(&table, HIGH, 0x40000000, G1, G1, RW));
    pgtable_visit(&table, visit, &seen);
    assert_int_equal(seen.count, want.count);
    for (unsigned i = 0; i < want.count; i++) {
        assert_int_equal(seen.va[i], want.va[i]);
        assert_int_equal(seen.level[i], want.level[i]);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_range_maps_every_page_of_it_and_no_other),
        T(leaves_of_each_size),
        T(the_high_half_and_the_borders_of_both),
        T(a_range_outside_one_half_is_refused),
        T(what_is_mapped_is_not_mapped_over),
        T(rights_and_flags),
        T(unmap_takes_whole_leaves_only),
        T(no_page_for_a_table),
        T(entries_and_leaves),
        T(visit_sees_each_present_entry_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
