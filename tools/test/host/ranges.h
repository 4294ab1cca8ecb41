/* SPDX-License-Identifier: BSD-2-Clause */
/* ranges.h: invalidations of a first stage as a test thinks of them. */
#ifndef HOST_RANGES_H
#define HOST_RANGES_H

#include "iommu/engine.h"
#include "iommu/qi.h"

struct range {
    uint64_t addr, npages;      /* npages UINT64_MAX: everything */
    bool leaf;
};

/* Each in the largest blocks that fit: as many as there is room for. */
static inline int invalidate_ranges(struct first_stage *f, const struct range *range, unsigned count)
{
    static struct engine_blocks b;

    b.count = 0;
    for (unsigned i = 0; i < count; i++)
        for (uint64_t done = 0; done < range[i].npages && b.count < ENGINE_EVERYTHING; b.count++) {
            uint64_t addr = range[i].addr + done * PAGE_SIZE;
            unsigned am = 0;

            while (am < 18 && addr % (PAGE_SIZE << (am + 1)) == 0 && done + (2ULL << am) <= range[i].npages)
                am++;
            b.block[b.count] = addr | range[i].leaf << 6 | am;
            done += 1ULL << am;
        }
    return engine_invalidate(f, &b);
}

static inline struct qi_descriptor first_stage_pages(uint16_t did, uint32_t pasid, uint64_t addr, unsigned am, bool leaf)
{
    return qi_first_stage_block(did, pasid, addr | leaf << 6 | am);
}

#endif
