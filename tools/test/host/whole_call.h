/* SPDX-License-Identifier: BSD-2-Clause */
/* whole_call.h: a guest's call, and the end of its context, with all their steps, as the kernel makes them. */
#ifndef HOST_WHOLE_CALL_H
#define HOST_WHOLE_CALL_H

#include "iommu/iommu.h"

static inline int64_t whole_call(struct iommu_context *context, uint64_t nr, uint64_t gpa, uint64_t device)
{
    int64_t result;

    do
        result = iommu_call(context, nr, gpa, device);
    while (result == IOMMU_AGAIN);
    return result;
}

static inline void destroy_whole(struct iommu_context *context)
{
    while (!iommu_context_destroy(context))
        ;
}

#endif
