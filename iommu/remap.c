/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/remap.h"

#include "iommu/registers.h"
#include "iommu/unit.h"

/* One page of entries: 2^(7+1).  An index beyond it is fault 21h, one inside it 22h. */
#define IRTE_TABLE_S 7u

bool remap_alloc(struct unit *u)
{
    u->irtes = platform_pages_alloc(NULL, 0);
    return u->irtes;
}

bool remap_stop(struct unit *u)
{
    return !(unit_read32(u, REG_GSTS) & GCMD_IRE) || unit_command(u, GCMD_IRE, false, "to turn interrupt remapping off");
}

bool remap_start(struct unit *u)
{
    unit_write64(u, REG_IRTA, platform_phys(u->irtes) | place(IRTA_S, IRTE_TABLE_S));
    if (!unit_command(u, GCMD_SIRTP, true, "to take the interrupt remapping table"))
        return false;
    qi_add(u, qi_interrupts_global());
    if (qi_finish(u))
        return false;
    /* CFI off first: no compatibility-format interrupt gets through between the two. */
    return unit_command(u, GCMD_CFI, false, "to block compatibility-format interrupts") &&
           unit_command(u, GCMD_IRE, true, "to turn interrupt remapping on");
}
