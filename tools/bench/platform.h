/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform.h: iommu/platform.h at the least cost: one guest whose RAM is numbers, but for a window for its calls; one unit that has done
 * what it is told by the time nidus first looks at the clock.
 */
#ifndef BENCH_PLATFORM_H
#define BENCH_PLATFORM_H

#include "iommu/platform.h"

#define WINDOW_BYTES 0x10000ULL         /* of the guest's RAM, from GPA 0: what it is made of */
#define RAM_BYTES    (1100ULL << 30)
#define RAM_HPA      (1ULL << 45)

struct guest {
    uint64_t table_bytes;               /* pages that it has now */
    uint8_t window[WINDOW_BYTES];
};

extern unsigned bench_descriptors;      /* that the unit was given, waits apart */
extern unsigned bench_submissions;      /* tail writes */

/* A DMAR table with the unit, which has everything that it names below it. */
const void *bench_dmar(uint32_t *length);

#endif
