/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty tracking under a first stage: the bitmap against what nidus-dma really wrote.  The nest parent is made of pages of 4 KiB, so every page has a
 * bit of its own; the last check is about one of 2 MiB.
 */
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

#define BYTES  (2u << 20)
#define PAGES  (BYTES / FRAME_SIZE)
#define WRITES 60u

static struct space s;
static uint8_t *buffer;
static uint8_t written[PAGES / 8]; /* what the bitmap has to be */
static uint32_t seed = 7;

static uint32_t pick(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* Writes and reads of random lengths at random places; every second one through leaves of 2 MiB of the first stage. */
static bool some_transfers(struct rig *r)
{
    for (unsigned i = 0; i < WRITES; i++) {
        uint32_t length = 8 + pick(i % 8 == 0 ? 5 * FRAME_SIZE : 200), at = pick(BYTES - length) & ~7u;
        uint64_t sum, from = (i % 2 == 0 ? IOVA_LOW : IOVA_HIGH) + at;

        if (i % 3 == 0) {
            if (dma_sum(r, from, length, &sum) != NDMA_DONE)
                return false;
            continue;
        }
        if (dma_fill(r, from, length, i) != NDMA_DONE || ndma_pattern_check(buffer + at, 0, length, i) != length)
            return false;
        for (uint32_t page = at / FRAME_SIZE; page <= (at + length - 1) / FRAME_SIZE; page++)
            written[page / 8] |= (uint8_t)(1u << page % 8);
    }
    return true;
}

/* Does the bitmap of [from, from + pages) of the buffer say what was written? */
static bool is_told(uint32_t parent, unsigned from, unsigned pages, bool clear)
{
    static uint8_t bitmap[PAGES / 8];

    memset(bitmap, 0, sizeof(bitmap));
    return iommufd_dirty_bitmap(parent, gpa_of(buffer) + from * FRAME_SIZE, pages * FRAME_SIZE, clear, bitmap) == 0 &&
           memcmp(bitmap, written + from / 8, pages / 8) == 0;
}

static void forget(unsigned from, unsigned pages)
{
    memset(written + from / 8, 0, pages / 8);
}

static void track(struct rig *r, uint32_t parent)
{
    const uint64_t ring = gpa_of(r->dma.ring) & ~(uint64_t)(FRAME_SIZE - 1);
    uint8_t bits = 0;

    check_errno(iommufd_dirty_bitmap(parent, 0, FRAME_SIZE, true, &bits), NIDUS_EINVAL, "GET_DIRTY_BITMAP while tracking is off");
    check(some_transfers(r), "transfers before tracking begins");
    forget(0, PAGES);
    check_errno(iommufd_dirty_tracking(parent, true), 0, "SET_DIRTY_TRACKING, on");
    check(is_told(parent, 0, PAGES, true), "nothing is dirty yet");
    check(some_transfers(r), "%u transfers, two of three are writes", WRITES);
    check(is_told(parent, 0, PAGES, false) && is_told(parent, 0, PAGES, false), "the bitmap has exactly the pages that were written; NO_CLEAR, twice");
    check(iommufd_dirty_bitmap(parent, ring, FRAME_SIZE, true, &bits) == 0 && bits == 1, "and the page of the ring, where nidus-dma writes its status");
    check(is_told(parent, 64, 128, true), "128 pages of it, read and cleared");
    forget(64, 128);
    check(is_told(parent, 0, PAGES, false), "those are clean now, the others are dirty still");
    check(some_transfers(r) && is_told(parent, 0, PAGES, true), "more transfers: what was clean gets dirty again");
    forget(0, PAGES);
    check(is_told(parent, 0, PAGES, true), "read and cleared: nothing is dirty");
    check(some_transfers(r) && is_told(parent, 0, PAGES, true), "transfers again");
    check_errno(iommufd_dirty_tracking(parent, false), 0, "SET_DIRTY_TRACKING, off");
    check(some_transfers(r), "transfers that are not tracked");
    check_errno(iommufd_dirty_tracking(parent, true), 0, "SET_DIRTY_TRACKING, on again");
    forget(0, PAGES);
    check(is_told(parent, 0, PAGES, true), "what was written while it was off does not count");
    check_errno(iommufd_dirty_tracking(parent, false), 0, "SET_DIRTY_TRACKING, off");
}

/* A nest parent of all RAM with dirty tracking, over an IOAS of our own; *ioas. */
static bool make_parent(struct rig *r, bool huge, uint32_t *ioas)
{
    const struct nidus_guest_ram *ram = &guest_info->ram[0];
    int error = iommufd_ioas_alloc(ioas);

    error = error ? error : iommufd_ioas_huge_pages(*ioas, huge);
    error = error ? error : iommufd_ioas_map(*ioas, ram->gpa, ram->gpa, ram->size, NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE);
    error = error ? error : iommufd_hwpt_alloc_paging(r->dma.device->id, *ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_DIRTY_TRACKING, &r->parent);
    return check(error == 0, "a nest parent with DIRTY_TRACKING over all RAM, leaves of %s: %s", huge ? "any size" : "4 KiB", errno_name(error));
}

static bool begin(struct rig *r, bool huge, uint32_t *ioas)
{
    if (!make_parent(r, huge, ioas) || !space_open(&s, r))
        return false;
    for (unsigned i = 0; i < PAGES; i++)
        space_map(&s, IOVA_LOW + i * FRAME_SIZE, gpa_of(buffer) + i * FRAME_SIZE, FRAME_SIZE, FRAME_SIZE, RW);
    space_map(&s, IOVA_HIGH, gpa_of(buffer), BYTES, BYTES, RW);
    return true;
}

static void end(struct rig *r, uint32_t ioas)
{
    space_close(&s);
    check(iommufd_destroy(r->parent) == 0 && iommufd_destroy(ioas) == 0, "DESTROY of both");
    r->parent = 0;
}

static void large_leaf(struct rig *r)
{
    check_errno(iommufd_dirty_tracking(r->parent, true), 0, "SET_DIRTY_TRACKING, on");
    forget(0, PAGES);
    check(is_told(r->parent, 0, PAGES, true) && dma_fill(r, IOVA_LOW + 5 * FRAME_SIZE, 8, 1) == NDMA_DONE, "8 bytes are written");
    memset(written, 0xff, sizeof(written));
    check(is_told(r->parent, 0, PAGES, true), "the whole leaf of 2 MiB is dirty");
}

void scenario_dirty(struct rig *r)
{
    uint32_t ioas;

    check_step("11", "dirty tracking under a first stage");
    buffer = frames_need(BYTES, BYTES, "a buffer of 2 MiB");
    if (!begin(r, false, &ioas))
        return;
    track(r, r->parent);
    end(r, ioas);
    if (!begin(r, true, &ioas))
        return;
    large_leaf(r);
    end(r, ioas);
}
