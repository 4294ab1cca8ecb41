/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 4: A and D bits appear in the entries that a transfer used, and only there. */
#include <stdio.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

#define PAGES     IOVA_LOW                      /* four 4 KiB leaves */
#define LARGE     (IOVA_LOW + SIZE_1G)          /* two 2 MiB leaves over the same memory */
#define ELSEWHERE (IOVA_HIGH + 3 * SIZE_1G)     /* one leaf that is never used */

/* What the device did so far: its ring, and up to eight ranges. */
struct use {
    uint64_t from, to;
    bool written;
};

struct expectation {
    struct use use[9];
    unsigned count;
    unsigned entries, wrong;
    uint64_t wrong_va, wrong_entry;
    unsigned wrong_level;
};

static void used(struct expectation *e, uint64_t from, uint64_t length, bool written)
{
    e->use[e->count++] = (struct use){ from, from + length, written };
}

static void compare(void *context, volatile uint64_t *entry, uint64_t va, unsigned level)
{
    struct expectation *e = context;
    uint64_t value = pgtable_read(entry), last = va + (pgtable_span(level) - 1), want = 0;
    bool leaf = level == 1 || (value & PT_LARGE);

    for (unsigned i = 0; i < e->count; i++)
        if (e->use[i].from <= last && va < e->use[i].to)
            want |= PT_ACCESSED | (leaf && e->use[i].written ? PT_DIRTY : 0);
    e->entries++;
    if ((value & (PT_ACCESSED | PT_DIRTY)) == want || e->wrong++)
        return;
    e->wrong_va = va;
    e->wrong_entry = value;
    e->wrong_level = level;
}

static void check_bits(struct space *s, struct expectation *e, bool done, const char *what)
{
    e->entries = e->wrong = 0;
    pgtable_visit(&s->table, compare, e);
    if (!done)
        check(false, "%s: the transfer was refused", what);
    else if (e->wrong)
        check(false, "%s: %u of %u entries are not as expected, first IOVA 0x%llx level %u: 0x%llx", what, e->wrong, e->entries,
              (unsigned long long)e->wrong_va, e->wrong_level, (unsigned long long)e->wrong_entry);
    else
        check(true, "%s: A and D as expected in all %u entries", what, e->entries);
}

/* The record of the fault is no subject here. */
static void refused_write(struct rig *r, struct space *s)
{
    volatile uint64_t *entry = pgtable_entry(&s->table, PAGES + 3 * FRAME_SIZE, 1);
    enum ndma_status status;

    pgtable_write(entry, pgtable_read(entry) & ~PT_WRITE);
    status = dma_fill(r, PAGES + 3 * FRAME_SIZE, 64, 0x44);
    check(status == NDMA_DST_ERROR && !(pgtable_read(entry) & PT_DIRTY), "a write that a read-only entry refuses (%s): D stays clear",
          ndma_status_name(status));
    faults_drop();
}

/* Bits that software clears come back after an invalidation. */
static void set_again(struct rig *r, struct space *s)
{
    volatile uint64_t *entry = pgtable_entry(&s->table, PAGES + FRAME_SIZE, 1);
    bool done;

    pgtable_write(entry, pgtable_read(entry) & ~(PT_ACCESSED | PT_DIRTY));
    space_invalidate(s, PAGES + FRAME_SIZE, 1, true);
    done = dma_fill(r, PAGES + FRAME_SIZE, 64, 0x45) == NDMA_DONE;
    check(done && (pgtable_read(entry) & PT_ACCESSED) && (pgtable_read(entry) & PT_DIRTY),
          "A and D cleared, page invalidated, page written again: entry 0x%llx", (unsigned long long)pgtable_read(entry));
}

void step_accessed(struct rig *r)
{
    struct expectation e = { 0 };
    struct space s;
    uint8_t *memory;
    uint64_t sum;
    bool done;

    check_step("4", "A and D bits");
    if (!space_open(&s, r))
        return;
    memory = frames_need(2 * SIZE_2M, SIZE_2M, "two 2 MiB pages");
    space_map(&s, PAGES, gpa_of(memory), 4 * FRAME_SIZE, FRAME_SIZE, RW);
    space_map(&s, LARGE, gpa_of(memory), 2 * SIZE_2M, SIZE_2M, RW);
    space_map(&s, ELSEWHERE, gpa_of(memory), FRAME_SIZE, FRAME_SIZE, RW);
    check_bits(&s, &e, true, "before the first transfer");

    used(&e, IOVA_RING, FRAME_SIZE, true);
    used(&e, PAGES, 64, false);
    done = dma_sum(r, PAGES, 64, &sum) == NDMA_DONE;
    check_bits(&s, &e, done, "one page read");

    used(&e, PAGES + FRAME_SIZE, 64, true);
    done = dma_fill(r, PAGES + FRAME_SIZE, 64, 0x41) == NDMA_DONE;
    check_bits(&s, &e, done, "the next page written");

    used(&e, PAGES, 64, true);
    done = dma_fill(r, PAGES, 64, 0x42) == NDMA_DONE;
    check_bits(&s, &e, done, "the page that was read (its translation is cached) written");

    used(&e, LARGE + SIZE_2M + 4096, 64, true);
    done = dma_fill(r, LARGE + SIZE_2M + 4096, 64, 0x43) == NDMA_DONE;
    check_bits(&s, &e, done, "the second of two 2 MiB leaves written");

    used(&e, LARGE, 8192, false);
    done = dma_sum(r, LARGE, 8192, &sum) == NDMA_DONE;
    check_bits(&s, &e, done, "the first 2 MiB leaf read");

    refused_write(r, &s);
    set_again(r, &s);
    space_close(&s);
    frames_free(memory, 2 * SIZE_2M);
}
