/* SPDX-License-Identifier: BSD-2-Clause */
/* test_areas.c: the list of an IOAS's areas against a naive map of pages, one area or none at each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "iommu/objects.h"
#include "tools/test/host/platform.h"

#define PAGES 16384u
#define LAST(page) (((page) + 1) * PAGE_SIZE - 1)

static struct iommu_context context;
static struct ioas ioas;
static uint32_t area_at[PAGES];         /* the number of the area that has the page; 0: none */
static uint32_t number;

static int setup(void **state)
{
    (void)state;
    host_reset();
    context = (struct iommu_context){ .guest = host_guest("owner", 0) };
    ioas = (struct ioas){ 0 };
    for (unsigned i = 0; i < PAGES; i++)
        area_at[i] = 0;
    number = 0;
    srandom(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    areas_free(&context, &ioas.areas);
    assert_int_equal(context.areas, 0);
    assert_int_equal(host_pages_live(), 0);
    assert_int_equal(context.guest->bytes_used, 0);
    return 0;
}

static struct area *hold(uint64_t first, uint64_t pages)
{
    struct area *a = area_alloc(&context);

    assert_non_null(a);
    a->iova = first * PAGE_SIZE;
    a->length = pages * PAGE_SIZE;
    a->gpa = a->iova + (1ULL << 40);
    for (uint64_t i = first; i < first + pages; i++)
        area_at[i] = number + 1;
    number++;
    return a;
}

static bool is_free(uint64_t first, uint64_t pages)
{
    for (uint64_t i = first; i < first + pages; i++)
        if (area_at[i] != 0)
            return false;
    return true;
}

static void join(uint64_t first, uint64_t pages)
{
    struct area *a = hold(first, pages);

    ioas_areas_join(&ioas, &a);
    assert_null(a);
}

static bool begins(uint64_t page)
{
    return area_at[page] != 0 && (page == 0 || area_at[page - 1] != area_at[page]);
}

/* The list is what the map says, and each lane is a part of the one below, in order. */
static void check_lists(void)
{
    const struct area *a = ioas.areas;
    unsigned areas = 0;

    for (uint64_t page = 0; page < PAGES; page++) {
        if (!begins(page))
            continue;
        assert_non_null(a);
        assert_int_equal(a->iova, page * PAGE_SIZE);
        assert_int_equal(a->gpa, a->iova + (1ULL << 40));
        assert_int_equal(area_at[area_last(a) / PAGE_SIZE], area_at[page]);
        assert_true(area_last(a) == LAST(PAGES - 1) || area_at[(area_last(a) + 1) / PAGE_SIZE] != area_at[page]);
        a = a->next;
        areas++;
    }
    assert_null(a);
    assert_int_equal(areas, context.areas);
    for (unsigned lane = 0; lane < AREA_LANES; lane++) {
        const struct area *below = lane == 0 ? ioas.areas : ioas.lane[0];

        for (a = ioas.lane[lane]; a != NULL; a = a->lane[lane]) {
            while (below != NULL && below != a)
                below = lane == 0 ? below->next : below->lane[0];
            assert_ptr_equal(below, a);
        }
    }
}

static void check_search(uint64_t page)
{
    uint64_t at = page;
    struct area **link = ioas_area_link(&ioas, page * PAGE_SIZE + (uint64_t)random() % PAGE_SIZE);

    while (at < PAGES && area_at[at] == 0)
        at++;
    if (at == PAGES) {
        assert_null(*link);
        return;
    }
    while (at > 0 && area_at[at - 1] == area_at[at])
        at--;
    assert_non_null(*link);
    assert_int_equal((*link)->iova, at * PAGE_SIZE);
    assert_true(link == &ioas.areas || area_last(CONTAINER(link, struct area, next)) < page * PAGE_SIZE);
}

/* What begins in [first, end) leaves. */
static void leave(uint64_t first, uint64_t end)
{
    struct area *chain;
    uint64_t bytes, expected = 0;

    while (first < end && area_at[first] != 0 && !begins(first))
        first++;
    if (first == end)
        return;
    chain = ioas_areas_leave(&ioas, ioas_area_link(&ioas, first * PAGE_SIZE), LAST(end - 1), &bytes);
    for (uint64_t page = first; page < PAGES && (page < end || (area_at[page] != 0 && !begins(page))); page++)
        expected += area_at[page] != 0 ? PAGE_SIZE : 0;
    assert_int_equal(bytes, expected);
    assert_true((chain == NULL) == (expected == 0));
    for (uint64_t page = first, before = 0; page < PAGES && (page < end || (area_at[page] != 0 && area_at[page] == before)); page++) {
        before = area_at[page];
        area_at[page] = 0;
    }
    areas_free(&context, &chain);
}

static void split(uint64_t page)
{
    bool inside = page > 0 && area_at[page] != 0 && area_at[page - 1] == area_at[page];

    assert_int_equal(ioas_area_split(&context, &ioas, page * PAGE_SIZE), 0);
    if (!inside)
        return;
    number++;
    for (uint32_t old = area_at[page]; page < PAGES && area_at[page] == old; page++)
        area_at[page] = number;
}

/* Makes an area that has another one close behind it, and that one, one. */
static void unite(uint64_t page)
{
    struct area *a = *ioas_area_link(&ioas, page * PAGE_SIZE);
    uint64_t behind;

    if (a == NULL || a->next == NULL || a->next->iova != area_last(a) + 1)
        return;
    behind = a->next->iova / PAGE_SIZE;
    ioas_area_unite(&context, &ioas, a);
    for (uint32_t old = area_at[behind]; behind < PAGES && area_at[behind] == old; behind++)
        area_at[behind] = area_at[a->iova / PAGE_SIZE];
}

static void random_changes_of_thousands_of_areas(void **state)
{
    unsigned most = 0;

    (void)state;
    for (unsigned step = 0; step < 60000; step++) {
        uint64_t first = (uint64_t)random() % PAGES, pages = 1 + (uint64_t)random() % 3;

        if (first + pages > PAGES)
            pages = PAGES - first;
        switch (random() % 16) {
        case 0: leave(first, first + pages); break;
        case 1:
            if (context.areas < MAX_AREAS)
                split(first);
            break;
        case 2: unite(first); break;
        case 3: leave(first, step % 1000 == 3 ? PAGES : first + 1 + (uint64_t)random() % (PAGES - first) / 512); break;
        default:
            if (context.areas < MAX_AREAS && is_free(first, pages))
                join(first, pages);
        }
        check_search((uint64_t)random() % PAGES);
        most = context.areas > most ? context.areas : most;
        if (step % 500 == 0)
            check_lists();
    }
    assert_true(most > 3000);
    check_lists();
    leave(0, PAGES);
    assert_null(ioas.areas);
    assert_null(ioas.lane[0]);
    assert_null(ioas.lane[1]);
}

/* What an area may be used for is the same in both parts: a part that could be written more than the whole would open another guest's memory. */
static void both_parts_of_a_cut_area_are_as_it_was(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 16; bits++) {
        struct area *a = hold(10, 4), *behind;

        a->prot = bits & (STAGE2_READ | STAGE2_WRITE);
        a->divisible = bits & 4;
        a->writeable = bits & 8;
        ioas_areas_join(&ioas, &a);
        split(12);
        a = ioas.areas;
        behind = a->next;
        check_lists();
        assert_int_equal(behind->iova, 12 * PAGE_SIZE);
        assert_int_equal(behind->prot, bits & (STAGE2_READ | STAGE2_WRITE));
        assert_true(behind->divisible == a->divisible && a->divisible == ((bits & 4) != 0));
        assert_true(behind->writeable == a->writeable && a->writeable == ((bits & 8) != 0));
        leave(0, PAGES);
    }
}

static void a_chain_joins_as_a_whole(void **state)
{
    struct area *chain = NULL, **end = &chain;

    (void)state;
    join(0, 1);
    join(2000, 1);
    for (uint64_t page = 100; page < 1100; page += 2) {
        *end = hold(page, 2);
        end = &(*end)->next;
    }
    ioas_areas_join(&ioas, &chain);
    assert_null(chain);
    check_lists();
    for (uint64_t page = 0; page < 2100; page++)
        check_search(page);
}

/* In order, as memory is mapped: a search looks at 16 areas of a lane or of the list at most, and so at 48. */
static void check_lanes(void)
{
    unsigned in[AREA_LANES] = { 0 };

    for (unsigned lane = 0; lane < AREA_LANES; lane++)
        for (const struct area *a = ioas.lane[lane]; a != NULL; a = a->lane[lane])
            in[lane]++;
    assert_int_equal(in[0], MAX_AREAS / 16);
    assert_int_equal(in[1], MAX_AREAS / 256);
    check_lists();
}

static void every_16th_area_is_in_a_lane(void **state)
{
    (void)state;
    for (uint64_t page = 0; page < MAX_AREAS; page++)
        join(page, 1);
    check_lanes();
}

static void so_is_every_16th_that_a_cut_makes(void **state)
{
    (void)state;
    join(0, MAX_AREAS);
    for (uint64_t page = 1; page < MAX_AREAS; page++)
        split(page);
    check_lanes();
}

static void a_guest_has_4096_areas_at_most(void **state)
{
    (void)state;
    for (uint64_t page = 0; page < MAX_AREAS; page++)
        join(page, 1);
    assert_null(area_alloc(&context));
    assert_int_equal(ioas_area_split(&context, &ioas, 5 * PAGE_SIZE), 0); /* nothing to cut */
    leave(7, 8);
    join(7, 1);
    assert_null(area_alloc(&context));
    leave(0, 2);
    join(0, 2);
    join(5000, 1);
    assert_int_equal(ioas_area_split(&context, &ioas, PAGE_SIZE), -NIDUS_ENOMEM);
    check_lists();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(random_changes_of_thousands_of_areas),
        TEST(both_parts_of_a_cut_area_are_as_it_was),
        TEST(a_chain_joins_as_a_whole),
        TEST(every_16th_area_is_in_a_lane),
        TEST(so_is_every_16th_that_a_cut_makes),
        TEST(a_guest_has_4096_areas_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
