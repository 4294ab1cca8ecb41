/* SPDX-License-Identifier: BSD-2-Clause */
/* units.h: the end of what iommu_init began.  nidus keeps its units for ever; a process that begins anew does not. */
#ifndef HOST_UNITS_H
#define HOST_UNITS_H

#include "iommu/unit.h"

/* Frees all units; no device is left behind them. */
static inline void units_free(void)
{
    while (units != NULL) {
        struct unit *u = units;

        units = u->next;
        platform_free(NULL, u, sizeof(*u));
    }
}

#endif
