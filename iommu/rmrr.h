/* SPDX-License-Identifier: BSD-2-Clause */
/* rmrr.h: memory that firmware has a device use (RMRR, VT-d 5.10 section 8.4), mapped one to one for that device alone. */
#ifndef NIDUS_RMRR_H
#define NIDUS_RMRR_H

#include "iommu/unit.h"

/* Functions of u with an RMRR, before translation is on: they go on with that memory and nothing else, or are blocked.  One line each. */
void rmrr_keep(struct unit *u, enum iommu_rmrr_policy policy);

/* Can dev, with policy and owner set, be assigned?  Takes it back from rmrr_keep.  false: reason says why not. */
bool rmrr_decide(struct device *dev, char reason[160]);
/* Maps dev's RMRRs in d, which is new; from then on d is for dev alone.  -EOPNOTSUPP: a nest parent; -ENOMEM. */
int rmrr_map(struct domain *d, const struct device *dev);

#endif
