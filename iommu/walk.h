/* SPDX-License-Identifier: BSD-2-Clause */
/* walk.h: where a device's request fails, found by doing the walk in software. */
#ifndef NIDUS_WALK_H
#define NIDUS_WALK_H

#include "iommu/unit.h"

struct walk_end {
    uint8_t stage;              /* NIDUS_FAULT_STAGE_*; NONE: the walk finds nothing wrong (any more) */
    uint8_t level;              /* of that stage's table */
    bool gpa_valid;             /* the second stage does not allow gpa … */
    uint8_t first_level;        /* … of the first-stage entry of this level, 0: the final address */
    uint64_t gpa;
};

/* A request of dev's with pasid (ENGINE_NO_PASID: without).  write: it writes too.  reason: the fault that the unit reports. */
struct walk_end walk_request(const struct device *dev, uint32_t pasid, uint64_t addr, bool write, uint8_t reason);

#endif
