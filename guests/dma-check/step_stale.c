/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Step 5: an entry is changed.  The old translation may live until HWPT_INVALIDATE, never after; and it is seen to live, or these
 * checks would prove nothing.
 */
#include <stdio.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

/* Fault reasons, spec 5.10 table 30. */
#define NOT_PRESENT        0x71
#define SECOND_NOT_PRESENT 0x79
#define NO_WRITE           0x85

#define PAGES  24u
#define BASE   (IOVA_LOW + 5 * SIZE_2M + 7 * FRAME_SIZE)        /* aligned to nothing but its page */
#define LEAF   (IOVA_LOW + 8 * SIZE_1G)                         /* a 2 MiB leaf */
#define TABLE  (IOVA_LOW + 9 * SIZE_1G)                         /* a table that is exchanged */
#define ALIAS  (4ULL << 40)                                     /* in the IOAS: a second address of a page of ours */

static struct space s;
static struct scatter first, second;    /* the pages before and after a change */
static uint64_t seed;
static unsigned lived;                  /* old translations that were seen before their invalidation */

enum landed { LANDED_FIRST, LANDED_SECOND, REFUSED, LOST };
static const char *const landed_names[] = { "the old page", "the new page", "nowhere (refused)", "neither page" };

/* Writes 64 bytes at iova and looks where they went. */
static enum landed probe(struct rig *r, uint64_t iova, const void *old, const void *new)
{
    enum ndma_status status = dma_fill(r, iova, 64, ++seed);

    if (ndma_pattern_check(old, 0, 64, seed) == 64)
        return LANDED_FIRST;
    if (ndma_pattern_check(new, 0, 64, seed) == 64)
        return LANDED_SECOND;
    return status == NDMA_DONE ? LOST : REFUSED;
}

static enum landed probe_page(struct rig *r, unsigned i)
{
    return probe(r, BASE + i * FRAME_SIZE, first.page[i], second.page[i]);
}

static void point(unsigned i, const struct scatter *m, uint64_t flags)
{
    pgtable_write(pgtable_entry(&s.table, BASE + i * FRAME_SIZE, 1), gpa_of(m->page[i]) | flags | PT_PRESENT);
}

/* Every page translated to its first page, and in the IOTLB; then the entries of [from, to) changed to the second. */
static bool prime_and_change(struct rig *r, unsigned from, unsigned to)
{
    unsigned primed = 0;

    for (unsigned i = 0; i < PAGES; i++)
        point(i, &first, RW);
    space_invalidate(&s, 0, UINT64_MAX, false);
    for (unsigned i = 0; i < PAGES; i++)
        primed += probe_page(r, i) == LANDED_FIRST;
    for (unsigned i = from; i < to; i++)
        point(i, &second, RW);
    return primed == PAGES;
}

static unsigned count_landed(struct rig *r, unsigned from, unsigned to, enum landed where)
{
    unsigned n = 0;

    for (unsigned i = from; i < to; i++)
        n += probe_page(r, i) == where;
    return n;
}

/* Before the invalidation each page of [from, to) may be the old one or the new one; afterwards it is the new one. */
static void check_range(struct rig *r, unsigned from, unsigned to, uint64_t iova, uint64_t pages, bool leaf, const char *what)
{
    bool primed = prime_and_change(r, from, to);
    unsigned old = count_landed(r, from, to, LANDED_FIRST);
    int error = iommufd_invalidate_range(s.hwpt, iova, pages, leaf);
    unsigned new = count_landed(r, from, to, LANDED_SECOND);

    lived += old;
    check(primed && error == 0 && new == to - from, "%s: %u of %u old translations lived until HWPT_INVALIDATE (%s), %u after it", what,
          old, to - from, errno_name(error), to - from - new);
}

static void cleared_entry(struct rig *r)
{
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = BASE, .len = 64, .seed = 0x51 };
    struct fault_want want = { .reason = NOT_PRESENT, .stage = NIDUS_FAULT_STAGE_FIRST, .level = 1, .addr = BASE };
    enum landed before;

    prime_and_change(r, 0, 0);
    pgtable_write(pgtable_entry(&s.table, BASE, 1), 0);
    before = probe_page(r, 0);
    lived += before == LANDED_FIRST;
    space_invalidate(&s, BASE, 1, true);
    expect_fault(r, &fill, &want, NULL, before == LANDED_FIRST ? "an entry cleared: still written before HWPT_INVALIDATE, after it"
                                                               : "an entry cleared: refused before HWPT_INVALIDATE, and after it");
}

static void downgraded_entry(struct rig *r)
{
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = BASE, .len = 64, .seed = 0x52 };
    struct fault_want want = { .reason = NO_WRITE, .stage = NIDUS_FAULT_STAGE_FIRST, .level = 1, .addr = BASE };
    enum landed before;

    prime_and_change(r, 0, 0);
    point(0, &first, PT_USER);
    before = probe_page(r, 0);
    lived += before == LANDED_FIRST;
    space_invalidate(&s, BASE, 1, true);
    expect_fault(r, &fill, &want, NULL, "an entry made read-only: after HWPT_INVALIDATE a write");
}

/* The translation is in the IOTLB for reading when the entry becomes writable. */
static void upgraded_entry(struct rig *r)
{
    uint64_t sum;
    bool read;

    prime_and_change(r, 0, 0);
    point(0, &first, PT_USER);
    space_invalidate(&s, BASE, 1, true);
    read = dma_sum(r, BASE, 64, &sum) == NDMA_DONE;
    point(0, &first, RW);
    space_invalidate(&s, BASE, 1, true);
    check(read && probe_page(r, 0) == LANDED_FIRST, "a read-only entry made writable: after HWPT_INVALIDATE a write lands in its page");
}

static void exchanged_table(struct rig *r)
{
    uint64_t *other = frames_need(FRAME_SIZE, FRAME_SIZE, "a page table");
    volatile uint64_t *directory;
    uint64_t table;
    enum landed primed, before, after;

    space_map(&s, TABLE, gpa_of(first.page[0]), FRAME_SIZE, FRAME_SIZE, RW);
    directory = pgtable_entry(&s.table, TABLE, 2);
    table = pgtable_read(directory);
    pgtable_write(other, gpa_of(second.page[0]) | RW | PT_PRESENT);
    primed = probe(r, TABLE, first.page[0], second.page[0]);
    pgtable_write(directory, gpa_of(other) | RW | PT_PRESENT);
    before = probe(r, TABLE, first.page[0], second.page[0]);
    lived += before == LANDED_FIRST;
    space_invalidate(&s, TABLE, SIZE_2M / FRAME_SIZE, false);
    after = probe(r, TABLE, first.page[0], second.page[0]);
    check(primed == LANDED_FIRST && after == LANDED_SECOND,
          "a table exchanged in a level 2 entry: before HWPT_INVALIDATE a write landed in %s, after it in %s", landed_names[before],
          landed_names[after]);
    pgtable_write(directory, table);
    space_invalidate(&s, TABLE, SIZE_2M / FRAME_SIZE, false);
    frames_free(other, FRAME_SIZE);
}

static void large_leaf(struct rig *r)
{
    uint8_t *memory = frames_need(2 * SIZE_2M, SIZE_2M, "two 2 MiB pages");
    uint8_t *old = memory + 77 * FRAME_SIZE, *new = old + SIZE_2M;
    const uint64_t iova = LEAF + 77 * FRAME_SIZE;
    enum landed primed, before, after;

    space_map(&s, LEAF, gpa_of(memory), SIZE_2M, SIZE_2M, RW);
    primed = probe(r, iova, old, new);
    pgtable_write(pgtable_entry(&s.table, LEAF, 2), gpa_of(memory + SIZE_2M) | RW | PT_PRESENT | PT_LARGE);
    before = probe(r, iova, old, new);
    lived += before == LANDED_FIRST;
    space_invalidate(&s, LEAF, SIZE_2M / FRAME_SIZE, true);
    after = probe(r, iova, old, new);
    check(primed == LANDED_FIRST && after == LANDED_SECOND,
          "a 2 MiB leaf changed: before HWPT_INVALIDATE a write landed in %s, after it in %s", landed_names[before], landed_names[after]);
    must(pgtable_unmap(&s.table, LEAF, SIZE_2M), "unmap of what was mapped");
    space_invalidate(&s, LEAF, SIZE_2M / FRAME_SIZE, true);
    frames_free(memory, 2 * SIZE_2M);
}

/* Many more entries than a step of nidus's copying, with one in the middle that is wrong. */
#define ARRAY_ENTRIES 1201u
#define ARRAY_BAD     600u
#define ARRAY_BYTES   (ARRAY_ENTRIES * sizeof(struct nidus_hwpt_vtd_s1_invalidate))

/* Entries before the bad one are of the first half of the pages, those behind it of the second. */
static struct nidus_hwpt_vtd_s1_invalidate array_entry(unsigned i)
{
    unsigned half = PAGES / 2;
    unsigned page = i < ARRAY_BAD ? i % half : half + i % half;

    return (struct nidus_hwpt_vtd_s1_invalidate){ .addr = BASE + page * FRAME_SIZE, .npages = 1, .flags = NIDUS_VTD_INV_LEAF };
}

static void bad_in_the_middle(struct rig *r, struct nidus_hwpt_vtd_s1_invalidate bad, int want, const char *what)
{
    struct nidus_hwpt_vtd_s1_invalidate *array = frames_need(ARRAY_BYTES, FRAME_SIZE, "an array of ranges");
    uint32_t count = ARRAY_ENTRIES, rest = ARRAY_ENTRIES - ARRAY_BAD - 1;
    bool primed = prime_and_change(r, 0, PAGES);
    unsigned done, undone, after;
    int error, error_rest;

    for (unsigned i = 0; i < ARRAY_ENTRIES; i++)
        array[i] = i == ARRAY_BAD ? bad : array_entry(i);
    error = iommufd_invalidate(s.hwpt, array, &count);
    done = count_landed(r, 0, PAGES / 2, LANDED_SECOND);
    undone = count_landed(r, PAGES / 2, PAGES, LANDED_FIRST);
    lived += undone;
    error_rest = iommufd_invalidate(s.hwpt, array + ARRAY_BAD + 1, &rest);
    after = count_landed(r, 0, PAGES, LANDED_SECOND);
    check(primed && error == -want && count == ARRAY_BAD && done == PAGES / 2 && undone > 0 && error_rest == 0 && after == PAGES,
          "%u ranges, number %u has %s: %s, entry_num %u; %u of %u pages before it are new, %u of %u behind it still old; the rest: "
          "%s, %u new", ARRAY_ENTRIES, ARRAY_BAD, what, errno_name(error), count, done, PAGES / 2, undone, PAGES / 2,
          errno_name(error_rest), after);
    frames_free(array, ARRAY_BYTES);
}

static void bad_entries(struct rig *r)
{
    bad_in_the_middle(r, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = BASE + 8, .npages = 1 }, NIDUS_EINVAL,
                      "an address that is not aligned");
    bad_in_the_middle(r, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = BASE, .npages = 1, .flags = 2 }, NIDUS_EOPNOTSUPP,
                      "an unknown flag");
    bad_in_the_middle(r, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = BASE, .npages = 1, .reserved = 1 }, NIDUS_EOPNOTSUPP,
                      "a reserved field set");
    bad_in_the_middle(r, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = BASE, .npages = UINT64_MAX }, NIDUS_EINVAL,
                      "all pages but not address 0");
}

/* The last entries of the array lie beyond the guest's memory. */
static void array_beyond_memory(struct rig *r)
{
    const uint32_t inside = PAGES / 2;
    struct nidus_hwpt_vtd_s1_invalidate *array =
        (struct nidus_hwpt_vtd_s1_invalidate *)frames_end() - inside;
    uint32_t count = PAGES;
    bool primed = prime_and_change(r, 0, PAGES);
    unsigned done;
    int error;

    for (unsigned i = 0; i < inside; i++)
        array[i] = array_entry(i);
    error = iommufd_invalidate(s.hwpt, array, &count);
    done = count_landed(r, 0, inside, LANDED_SECOND);
    check(primed && error == -NIDUS_EFAULT && count <= inside && done >= count,
          "an array of %u ranges whose second half is beyond the guest's memory: %s, entry_num %u, %u pages new", PAGES,
          errno_name(error), count, done);
    space_invalidate(&s, 0, UINT64_MAX, false);
}

/* The second stage changes under the first: nidus invalidates on its own. */
static void second_stage_unmapped(struct rig *r)
{
    const uint64_t iova = IOVA_LOW + 10 * SIZE_1G;
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = iova, .len = 64, .seed = 0x53 };
    struct fault_want want = {
        .reason = SECOND_NOT_PRESENT, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 4, .has_gpa = true, .addr = iova, .gpa = ALIAS
    };
    uint32_t ioas = guest_info->default_ioas;
    int error;

    error = iommufd_ioas_map(ioas, ALIAS, gpa_of(first.page[0]), FRAME_SIZE, NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE);
    if (error) {
        check(false, "IOAS_MAP of a page at 4 TiB: %s", errno_name(error));
        return;
    }
    space_map(&s, iova, ALIAS, FRAME_SIZE, FRAME_SIZE, RW);
    check(probe(r, iova, first.page[0], second.page[0]) == LANDED_FIRST,
          "IOAS_MAP of a page a second time, at 4 TiB: a write through it lands in the page");
    error = iommufd_ioas_unmap(ioas, ALIAS, FRAME_SIZE);
    if (error)
        check(false, "IOAS_UNMAP of it: %s", errno_name(error));
    else
        expect_fault(r, &fill, &want, NULL, "after IOAS_UNMAP, with no HWPT_INVALIDATE, a write");
    must(pgtable_unmap(&s.table, iova, FRAME_SIZE), "unmap of what was mapped");
}

void step_stale(struct rig *r)
{
    check_step("5", "changed entries and HWPT_INVALIDATE");
    if (!space_open(&s, r))
        return;
    lived = 0;
    scatter_alloc(&first, PAGES);
    scatter_alloc(&second, PAGES);
    scatter_map(&s, &first, BASE, RW);
    check_range(r, 3, 4, BASE + 3 * FRAME_SIZE, 1, false, "one page");
    check_range(r, 3, 4, BASE + 3 * FRAME_SIZE, 1, true, "one page, LEAF");
    check_range(r, 2, 19, BASE + 2 * FRAME_SIZE, 17, true, "a range of 17 pages, aligned to nothing");
    check_range(r, 0, PAGES, 0, UINT64_MAX, false, "everything");
    cleared_entry(r);
    downgraded_entry(r);
    upgraded_entry(r);
    exchanged_table(r);
    large_leaf(r);
    bad_entries(r);
    array_beyond_memory(r);
    second_stage_unmapped(r);
    check(lived > 0, "%u old translations were seen to live until their invalidation", lived);
    space_close(&s);
    scatter_free(&first);
    scatter_free(&second);
}
