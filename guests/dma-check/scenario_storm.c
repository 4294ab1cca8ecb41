/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that asks for as much work as it can: faults without end, the longest invalidation.  Others go on, and so does nidus. */
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/clock.h"

#define STORM_NS   2000000000ULL
#define NS_PER_MS  1000000ULL
#define NOT_MAPPED (IOVA_LOW + SIZE_1G)

struct count {
    unsigned long refused, records, lost;
};

static void take_records(struct count *c)
{
    static struct nidus_fault faults[256];
    uint32_t count = 256;
    uint64_t lost;

    must(iommufd_fault_read(faults, &count, &lost) == 0, "FAULT_READ");
    c->records += count;
    c->lost += lost;
}

static void fault_storm(struct rig *r)
{
    uint64_t end = clock_ns() + STORM_NS;
    struct count c = { 0 };

    while (clock_ns() < end) {
        c.refused += dma_fill(r, NOT_MAPPED, 64, 1) == NDMA_DST_ERROR;
        if (c.refused % 512 == 0)
            take_records(&c);
    }
    take_records(&c);
    check(c.refused > 0 && c.records > 0, "2 s of writes to a page that is not mapped: %lu refused, %lu fault records, %lu lost", c.refused,
          c.records, c.lost);
}

/* As many entries as a call may have, each a page of its own. */
static void longest_invalidation(struct space *s)
{
    const uint32_t entries = NIDUS_HWPT_INVALIDATE_MAX_ENTRIES;
    const size_t bytes = entries * sizeof(struct nidus_hwpt_vtd_s1_invalidate);
    struct nidus_hwpt_vtd_s1_invalidate *array = frames_need(bytes, FRAME_SIZE, "the longest array of ranges");
    uint32_t count = entries;
    uint64_t start;
    int error;

    for (uint32_t i = 0; i < entries; i++)
        array[i] = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = IOVA_LOW + 2 * i * FRAME_SIZE, .npages = 1 };
    start = clock_ns();
    error = iommufd_invalidate(s->hwpt, array, &count);
    check(error == 0 && count == entries, "HWPT_INVALIDATE of %u ranges: %s, entry_num %u, %llu ms", entries, errno_name(error), count,
          (unsigned long long)((clock_ns() - start) / NS_PER_MS));
    frames_free(array, bytes);
}

void scenario_storm(struct rig *r)
{
    struct space s;

    check_step("12", "a guest that asks for much");
    if (!space_open(&s, r))
        return;
    fault_storm(r);
    longest_invalidation(&s);
    space_close(&s);
}
