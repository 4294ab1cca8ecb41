/* SPDX-License-Identifier: BSD-2-Clause */
/* errata.h: what is wrong with which unit.  The rest of iommu/ asks only the predicate. */
#ifndef NIDUS_ERRATA_H
#define NIDUS_ERRATA_H

#include "iommu/iommu.h"

/*
 * Erratum 772415 ("SPR17", 4th Gen Xeon Scalable specification update): with PGTT=011b and PWSNP=1 the unit may set accessed and dirty
 * bits in first-stage entries although the second stage maps their page read-only.  Remedy: no read-only
 * page in the second stage under a first stage.  No capability bit tells.
 */
bool errata_772415(uint64_t ecap, uint32_t version, enum iommu_errata_policy policy);

#endif
