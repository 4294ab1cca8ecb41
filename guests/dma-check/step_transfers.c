/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 3: transfers through a 4-level table of the guest's own, each verified by the device and by the CPU. */
#include <stdio.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

#define SECOND_NOT_PRESENT 0x79         /* spec 5.10 SSS.2 */

#define BUFFER_PAGES 1024u              /* 4 MiB, scattered */
#define BUFFER_SIZE  (BUFFER_PAGES * FRAME_SIZE)
#define SOURCE       IOVA_LOW
#define TARGET       (IOVA_LOW + SIZE_1G)

static struct scatter source, target;
static uint8_t *plain;                  /* as large as they are: what they hold, in one piece */

/* FILL the source, COPY, SUM the target, and look at every byte of both; then at the byte before and after the target. */
static void copy_verified(struct rig *r, uint64_t from, uint64_t to, uint32_t length, uint64_t seed, const char *what)
{
    struct ndma_sum sum = { 0, 0 };
    enum ndma_status fill, copy, read;
    uint64_t device_sum;
    size_t bad;

    fill = dma_fill(r, SOURCE + from, length, seed);
    scatter_read(&source, from, plain, length);
    bad = ndma_pattern_check(plain, 0, length, seed);
    if (fill != NDMA_DONE || bad != length) {
        check(false, "%s: FILL of %u bytes at IOVA 0x%llx: %s, byte %zu differs", what, length,
              (unsigned long long)(SOURCE + from), ndma_status_name(fill), bad);
        return;
    }
    copy = dma_copy(r, SOURCE + from, TARGET + to, length);
    read = dma_sum(r, TARGET + to, length, &device_sum);
    scatter_read(&target, to, plain, length);
    bad = ndma_pattern_check(plain, 0, length, seed);
    ndma_sum_add(&sum, plain, length);
    if (copy != NDMA_DONE || read != NDMA_DONE || bad != length || device_sum != ndma_sum_value(&sum))
        check(false, "%s: COPY %u bytes: %s, SUM: %s, byte %zu differs, checksums 0x%llx and 0x%llx", what, length,
              ndma_status_name(copy), ndma_status_name(read), bad, (unsigned long long)device_sum,
              (unsigned long long)ndma_sum_value(&sum));
    else
        check(true, "%s: IOVA 0x%llx -> GPA 0x%llx, to IOVA 0x%llx -> GPA 0x%llx, checksum 0x%llx, verified", what,
              (unsigned long long)(SOURCE + from), (unsigned long long)gpa_of(source.page[from / FRAME_SIZE]),
              (unsigned long long)(TARGET + to), (unsigned long long)gpa_of(target.page[to / FRAME_SIZE]),
              (unsigned long long)device_sum);
}

static void scattered_copies(struct rig *r, struct space *s)
{
    static const struct {
        uint32_t length;
        uint32_t from, to;
        const char *what;
    } copies[] = {
        { 4, 0, 0, "nidus-dma COPY 4 bytes" },
        { 60, 36, 20, "nidus-dma COPY 60 bytes, neither end aligned" },
        { 4096, 4096, 8192, "nidus-dma COPY 4 KiB" },
        { 5000, 3000, 4090, "nidus-dma COPY 5000 bytes across pages, at different offsets" },
        { 65536, 0, 12288, "nidus-dma COPY 64 KiB over 16 scattered pages" },
        { (1 << 20) + 12, 8, 16, "nidus-dma COPY 1 MiB and 12 bytes" },
        { BUFFER_SIZE, 0, 0, "nidus-dma COPY 4 MiB over 1024 scattered pages" },
    };

    scatter_map(s, &source, SOURCE, RW);
    scatter_map(s, &target, TARGET, RW);
    for (unsigned i = 0; i < sizeof(copies) / sizeof(copies[0]); i++)
        copy_verified(r, copies[i].from, copies[i].to, copies[i].length, 0x3000 + i, copies[i].what);
}

/* A COPY that ends in the middle of a page leaves the bytes around it alone. */
static void neighbours_stay(struct rig *r)
{
    enum { MARGIN = 104 };
    const uint64_t at = 5 * FRAME_SIZE + MARGIN;
    const uint32_t length = 2 * FRAME_SIZE - 2 * MARGIN;
    size_t before, inside, after;

    ndma_pattern(plain, 0, 4 * FRAME_SIZE, 0x3100);
    scatter_write(&target, 4 * FRAME_SIZE, plain, 4 * FRAME_SIZE);
    must(dma_fill(r, TARGET + at, length, 0x3101) == NDMA_DONE, "a FILL that worked before");
    scatter_read(&target, 4 * FRAME_SIZE, plain, 4 * FRAME_SIZE);
    before = ndma_pattern_check(plain, 0, FRAME_SIZE + MARGIN, 0x3100);
    inside = ndma_pattern_check(plain + FRAME_SIZE + MARGIN, 0, length, 0x3101);
    after = ndma_pattern_check(plain + 3 * FRAME_SIZE - MARGIN, 3 * FRAME_SIZE - MARGIN, FRAME_SIZE + MARGIN, 0x3100);
    check(before == FRAME_SIZE + MARGIN && inside == length && after == FRAME_SIZE + MARGIN,
          "nidus-dma FILL of %u bytes in the middle of pages: the bytes before and behind stay", length);
}

static void edu_both_ways(struct rig *r, uint64_t length)
{
    size_t bad;

    ndma_pattern(plain, 0, FRAME_SIZE, 0x3200 + length);
    scatter_write(&source, 0, plain, FRAME_SIZE);
    memset(plain, 0, FRAME_SIZE);
    scatter_write(&target, FRAME_SIZE, plain, FRAME_SIZE);
    if (!edu_read_memory(&r->edu, SOURCE, 0, (uint32_t)length) ||
        !edu_write_memory(&r->edu, TARGET + FRAME_SIZE, 0, (uint32_t)length)) {
        check(false, "edu: a transfer of %llu bytes has not ended after 3 s", (unsigned long long)length);
        return;
    }
    scatter_read(&target, FRAME_SIZE, plain, FRAME_SIZE);
    bad = ndma_pattern_check(plain, 0, length, 0x3200 + length);
    check(bad == length, "edu reads %llu bytes at IOVA 0x%llx -> GPA 0x%llx and writes them to IOVA 0x%llx -> GPA 0x%llx, %s",
          (unsigned long long)length, (unsigned long long)SOURCE, (unsigned long long)gpa_of(source.page[0]),
          (unsigned long long)(TARGET + FRAME_SIZE), (unsigned long long)gpa_of(target.page[1]),
          bad == length ? "verified" : "but they differ");
}

/* Fills and sums [iova, iova + length), which is GPA `memory` for the CPU. */
static bool both_sides(struct rig *r, uint64_t iova, const void *memory, uint32_t length, uint64_t seed)
{
    struct ndma_sum sum = { 0, 0 };
    uint64_t device_sum;

    if (dma_fill(r, iova, length, seed) != NDMA_DONE || ndma_pattern_check(memory, 0, length, seed) != length)
        return false;
    ndma_sum_add(&sum, memory, length);
    return dma_sum(r, iova, length, &device_sum) == NDMA_DONE && device_sum == ndma_sum_value(&sum);
}

static void large_leaf(struct rig *r, struct space *s, uint64_t iova, const char *where)
{
    uint8_t *memory = frames_need(SIZE_2M, SIZE_2M, "a 2 MiB page");
    uint8_t *small = frames_need(FRAME_SIZE, FRAME_SIZE, "a page behind it");

    space_map(s, iova, gpa_of(memory), SIZE_2M, SIZE_2M, RW);
    space_map(s, iova + SIZE_2M, gpa_of(small), FRAME_SIZE, FRAME_SIZE, RW);
    check(both_sides(r, iova, memory, SIZE_2M, 0x3300), "2 MiB leaf, %s: FILL and SUM 2 MiB at IOVA 0x%llx -> GPA 0x%llx", where,
          (unsigned long long)iova, (unsigned long long)gpa_of(memory));
    check(dma_fill(r, iova + SIZE_2M - 2048, 4096, 0x3301) == NDMA_DONE &&
          ndma_pattern_check(memory + SIZE_2M - 2048, 0, 2048, 0x3301) == 2048 &&
          ndma_pattern_check(small, 2048, 2048, 0x3301) == 2048,
          "from the 2 MiB leaf into the 4 KiB leaf behind it: IOVA 0x%llx", (unsigned long long)(iova + SIZE_2M - 2048));
    must(pgtable_unmap(&s->table, iova, SIZE_2M + FRAME_SIZE), "unmap of what was mapped");
    space_invalidate(s, iova, SIZE_2M / FRAME_SIZE + 1, true);
    frames_free(memory, SIZE_2M);
    frames_free(small, FRAME_SIZE);
}

/* A leaf over GPA 0 to 1 GiB, of which the guest has only the beginning. */
static void huge_leaf(struct rig *r, struct space *s, uint64_t iova)
{
    uint64_t end = frames_end();
    struct ndma_descriptor beyond = { .op = NDMA_FILL, .dst = iova + end, .len = 64 };
    struct fault_want want = {
        .reason = SECOND_NOT_PRESENT, .access = NIDUS_FAULT_WRITE, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 2,
        .has_gpa = true, .addr = iova + end, .gpa = end,
    };
    uint8_t *memory;

    if (!rig_has_1g(r)) {
        check_skip("1 GiB leaf: CAP.FS1GP is clear");
        return;
    }
    memory = frames_need(SIZE_2M, FRAME_SIZE, "memory behind a 1 GiB leaf");
    space_map(s, iova, 0, SIZE_1G, SIZE_1G, RW);
    check(both_sides(r, iova + gpa_of(memory), memory, SIZE_2M, 0x3400),
          "1 GiB leaf: FILL and SUM 2 MiB at IOVA 0x%llx -> GPA 0x%llx", (unsigned long long)(iova + gpa_of(memory)),
          (unsigned long long)gpa_of(memory));
    if (end < SIZE_1G)
        expect_fault(r, &beyond, &want, NULL, "1 GiB leaf, beyond the guest's memory");
    frames_free(memory, SIZE_2M);
}

/* 32 copies in the ring at once, 16 of them worked on at the same time. */
static void many_in_flight(struct rig *r)
{
    enum { COPIES = 32, BYTES = 20000 };
    const volatile struct ndma_descriptor *place[COPIES];
    unsigned good = 0;

    for (unsigned i = 0; i < COPIES; i++) {
        ndma_pattern(plain, 0, BYTES, 0x3500 + i);
        scatter_write(&source, i * BYTES, plain, BYTES);
    }
    ndma_start(&r->dma, IOVA_RING, NDMA_MAX_DEPTH);
    for (unsigned i = 0; i < COPIES; i++) {
        struct ndma_descriptor d = {
            .op = NDMA_COPY, .src = SOURCE + i * BYTES, .dst = TARGET + (COPIES - 1 - i) * BYTES, .len = BYTES
        };

        place[i] = ndma_submit(&r->dma, &d);
    }
    for (unsigned i = 0; i < COPIES; i++) {
        enum ndma_status status = ndma_wait(&r->dma, place[i]);

        scatter_read(&target, (COPIES - 1 - i) * BYTES, plain, BYTES);
        good += status == NDMA_DONE && ndma_pattern_check(plain, 0, BYTES, 0x3500 + i) == BYTES;
    }
    check(good == COPIES, "%u COPYs of %u bytes in the ring, %u in flight: %u verified", COPIES, BYTES, NDMA_MAX_DEPTH, good);
}

/* The same IOVA in two tables: attaching the other one replaces the translation at once. */
static void replace(struct rig *r, struct space *first)
{
    struct space second;
    uint8_t *old = frames_need(FRAME_SIZE, FRAME_SIZE, "a page"), *new = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
    const uint64_t iova = IOVA_LOW + 64 * SIZE_1G;

    space_map(first, iova, gpa_of(old), FRAME_SIZE, FRAME_SIZE, RW);
    check(dma_fill(r, iova, 64, 0x3600) == NDMA_DONE && ndma_pattern_check(old, 0, 64, 0x3600) == 64,
          "IOVA 0x%llx -> GPA 0x%llx", (unsigned long long)iova, (unsigned long long)gpa_of(old));
    if (space_open_detached(&second, r)) {
        space_map(&second, iova, gpa_of(new), FRAME_SIZE, FRAME_SIZE, RW);
        check(space_attach(&second) && dma_fill(r, iova, 64, 0x3601) == NDMA_DONE &&
              ndma_pattern_check(old, 0, 64, 0x3600) == 64 && ndma_pattern_check(new, 0, 64, 0x3601) == 64,
              "another table attached in place of this one: the same IOVA -> GPA 0x%llx", (unsigned long long)gpa_of(new));
        check(space_attach(first) && dma_fill(r, iova, 64, 0x3602) == NDMA_DONE &&
              ndma_pattern_check(old, 0, 64, 0x3602) == 64 && ndma_pattern_check(new, 0, 64, 0x3601) == 64,
              "the first table attached again: the same IOVA -> GPA 0x%llx", (unsigned long long)gpa_of(old));
        must(iommufd_destroy(second.hwpt) == 0, "DESTROY of a nested HWPT that nothing uses");
        pgtable_destroy(&second.table);
    }
    frames_free(old, FRAME_SIZE);
    frames_free(new, FRAME_SIZE);
}

static void edu_transfers(struct rig *r)
{
    static const uint64_t lengths[] = { 4, 100, 4096 };

    if (!r->has_edu) {
        check_skip("edu: this guest has none");
        return;
    }
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        edu_both_ways(r, lengths[i]);
}

void step_transfers(struct rig *r)
{
    struct space s;

    check_step("3", "transfers through a table of our own, IOVA != GPA");
    if (!space_open(&s, r))
        return;
    scatter_alloc(&source, BUFFER_PAGES);
    scatter_alloc(&target, BUFFER_PAGES);
    plain = frames_need(BUFFER_SIZE, FRAME_SIZE, "a plain buffer");
    scattered_copies(r, &s);
    neighbours_stay(r);
    edu_transfers(r);
    large_leaf(r, &s, IOVA_LOW + 16 * SIZE_1G, "low half");
    large_leaf(r, &s, IOVA_HIGH, "high half");
    large_leaf(r, &s, 0ULL - SIZE_1G, "end of the high half");
    huge_leaf(r, &s, IOVA_HIGH + 512 * SIZE_1G);
    many_in_flight(r);
    replace(r, &s);
    space_close(&s);
    scatter_free(&source);
    scatter_free(&target);
    frames_free(plain, BUFFER_SIZE);
}
