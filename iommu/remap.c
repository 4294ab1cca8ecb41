/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/remap.h"

#include "iommu/registers.h"
#include "iommu/tables.h"
#include "iommu/unit.h"

/* One page of entries: 2^(7+1).  An index beyond it is fault 21h, an empty one inside it 22h. */
#define IRTE_TABLE_S 7u
#define IRTES        256u
#define IRTE_WORDS   2u
_Static_assert(IRTES * IRTE_WORDS * sizeof(struct hw_word) == PAGE_SIZE, "IRTA.S");

/* A remapped entry, 9.10: bits of its two words. */
#define IRTE_P       BIT(0)
#define IRTE_VECTOR  BITS(23, 16)
#define IRTE_DST     BITS(47, 40)   /* IRTA.EIME=0: 8 bits */
#define IRTE_SID     BITS(15, 0)
#define IRTE_SVT     BITS(19, 18)
#define     SVT_ALL_OF_SID 1u       /* with SQ 0 */

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

/* P, and what it stands for, in one store. */
static int store(struct unit *u, unsigned index, uint64_t low, uint64_t high, bool invalidate)
{
    struct hw_word *irte = &u->irtes[index * IRTE_WORDS];
    hw_store_pair(irte, low, high);
    if (!(u->ecap & ECAP_C))
        platform_write_back(irte, IRTE_WORDS * sizeof *irte);
    if (invalidate)
        qi_add(u, qi_interrupt_entry((uint16_t)index));
    return qi_finish(u);
}

static int take(struct unit *u, uint64_t low, uint64_t high)
{
    for (unsigned index = 0; index < IRTES; index++) {
        if (hw_load(&u->irtes[index * IRTE_WORDS]) & IRTE_P)
            continue;
        int error = store(u, index, low, high, u->cap & CAP_CM);
        return error ? error : (int)index;
    }
    unit_log(u, "all %u entries of its interrupt remapping table are in use", IRTES);
    return -NIDUS_ENOSPC;
}

int remap_take(struct unit *u, uint16_t source_id, uint8_t vector, uint32_t destination)
{
    if (destination > UINT8_MAX)
        return -NIDUS_EINVAL;
    platform_lock(&u->lock);
    int index = take(u, IRTE_P | place(IRTE_VECTOR, vector) | place(IRTE_DST, destination),
                     place(IRTE_SID, source_id) | place(IRTE_SVT, SVT_ALL_OF_SID));
    platform_unlock(&u->lock);
    return index;
}

int remap_give(struct unit *u, unsigned index)
{
    platform_lock(&u->lock);
    int error = store(u, index, 0, 0, true);
    platform_unlock(&u->lock);
    return error;
}
