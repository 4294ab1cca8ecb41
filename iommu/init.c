/* SPDX-License-Identifier: BSD-2-Clause */
/* init.c: finds the units that the DMAR table names and starts each. */
#include "iommu/unit.h"

#include <string.h>

struct unit *units;

static struct dmar table;       /* a copy: firmware's memory is not nidus's */
static char unavailable[160] = "the remapping units have not been looked for";

static bool copy_table(const void *firmware, uint32_t length)
{
    struct dmar d;
    unsigned order = 0;
    if (!dmar_open(&d, firmware, length, unavailable))
        return false;
    while (PAGE_SIZE << order < d.length)
        order++;
    uint8_t *copy = platform_pages_alloc(NULL, order);
    if (!copy) {
        platform_format(unavailable, sizeof unavailable, "no memory for a DMAR table of %u bytes", d.length);
        return false;
    }
    memcpy(copy, d.bytes, d.length);
    return dmar_open(&table, copy, d.length, unavailable);
}

static bool overlaps(const struct unit *u, const struct dmar_drhd *drhd)
{
    return drhd->base < u->base + u->size && u->base < drhd->base + drhd->size;
}

/* NULL, or what is wrong with the unit's place. */
static const char *misplaced(const struct dmar_drhd *drhd)
{
    if (!drhd->base)
        return "its registers are said to be at address 0";
    if (drhd->base % PAGE_SIZE)
        return "its registers do not begin on a page";
    if (drhd->base + drhd->size < drhd->base || drhd->base + drhd->size > BIT(52))
        return "its registers are beyond any address";
    for (struct unit *u = units; u; u = u->next)
        if (overlaps(u, drhd))
            return "its registers overlap those of the unit before it";
    return NULL;
}

/* last: where the next unit is linked. */
static void add_unit(const struct dmar_structure *s, unsigned index, struct unit ***last)
{
    struct dmar_drhd drhd = dmar_drhd(&table, s);
    const char *problem = misplaced(&drhd);
    struct unit *u = problem ? NULL : platform_alloc(NULL, sizeof *u);
    if (!u) {
        platform_log("DMAR: DRHD at offset 0x%x (0x%llx): %s; it is ignored, its devices cannot be assigned", s->offset,
                     (ull)drhd.base, problem ? problem : "no memory");
        return;
    }
    u->lock.rank = LOCK_UNIT;
    u->index = index;
    u->drhd = s->offset;
    u->segment = drhd.segment;
    u->base = drhd.base;
    u->size = drhd.size;
    u->host_width = dmar_host_width(&table);
    **last = u;
    *last = &u->next;
}

/* Why nothing can be assigned: no unit, or what the first one lacks.  Empty: something can. */
static void find_why_not(void)
{
    platform_format(unavailable, sizeof unavailable, "the DMAR table names no remapping unit that can be used");
    if (units)
        platform_format(unavailable, sizeof unavailable, "%s", units->reason);
    for (struct unit *u = units; u; u = u->next)
        if (u->usable)
            unavailable[0] = 0;
}

void iommu_init(const void *firmware, uint32_t length, enum iommu_errata_policy errata, enum iommu_rmrr_policy rmrr)
{
    struct unit **last = &units;
    unsigned index = 0;
    units = NULL;
    table = (struct dmar){ 0 };
    if (!copy_table(firmware, length)) {
        platform_log("DMA remapping: %s", unavailable);
        return;
    }
    dmar_report(&table);
    for (struct dmar_structure s = { 0 }; dmar_next(&table, &s); )
        if (s.type == DMAR_DRHD)
            add_unit(&s, index++, &last);
    for (struct unit *u = units; u; u = u->next) {
        unit_start(u, dmar_interrupt_remapping(&table), errata, rmrr);
        if (!u->usable && !u->dead)
            platform_log("%s; devices under it cannot be assigned", u->reason);
    }
    find_why_not();
}

bool iommu_interrupts(uint64_t address, uint32_t data)
{
    bool all = true;
    for (struct unit *u = units; u; u = u->next)
        if (u->usable && !u->dead)
            all &= unit_interrupts(u, address, data);
    return all;
}

const char *iommu_unavailable(void)
{
    return unavailable[0] ? unavailable : NULL;
}

/* Segment and bus number pick the DRHD; the unit made from it may be missing. */
struct unit *unit_find(uint16_t segment, uint16_t bdf, char reason[160])
{
    uint32_t drhd;
    if (!table.bytes) {
        platform_format(reason, 160, "%s", unavailable);
        return NULL;
    }
    if (!dmar_find_drhd(&table, segment, unit_physical_function(segment, bdf), &drhd, reason))
        return NULL;
    for (struct unit *u = units; u; u = u->next)
        if (u->drhd == drhd) {
            if (u->usable && !u->dead)
                return u;
            platform_format(reason, 160, "%s", u->reason);
            return NULL;
        }
    platform_format(reason, 160, "its remapping unit (DRHD at offset 0x%x of the DMAR table) was ignored", drhd);
    return NULL;
}

const struct dmar *unit_table(void) { return &table; }

/* PCI Express 6.0, 9.3.3 (SR-IOV): offsets in the capability. */
#define CAP_SRIOV       0x10u
#define SRIOV_NUM_VFS   0x10u
#define SRIOV_OFFSET    0x14u
#define SRIOV_STRIDE    0x16u

static bool has_virtual(uint16_t segment, uint16_t physical, uint16_t bdf)
{
    uint16_t at = platform_pci_read(segment, physical, PCI_VENDOR_ID, 2) == PCI_ABSENT ? 0
                : platform_pci_extended_capability(segment, physical, CAP_SRIOV);
    uint32_t first = physical + platform_pci_read(segment, physical, at + SRIOV_OFFSET, 2);
    uint32_t stride = platform_pci_read(segment, physical, at + SRIOV_STRIDE, 2);
    if (!at || bdf < first)
        return false;
    uint32_t count = platform_pci_read(segment, physical, at + SRIOV_NUM_VFS, 2);
    return bdf == first ? count : stride && (bdf - first) % stride == 0 && (bdf - first) / stride < count;
}

uint16_t unit_physical_function(uint16_t segment, uint16_t bdf)
{
    for (uint32_t physical = platform_pci_read(segment, bdf, PCI_VENDOR_ID, 2) == PCI_ABSENT ? bdf : 0; physical--; )
        if (has_virtual(segment, (uint16_t)physical, bdf))
            return (uint16_t)physical;
    return bdf;
}

bool unit_covers(const struct unit *u, uint16_t bdf)
{
    uint32_t drhd;
    char reason[160];
    return dmar_find_drhd(&table, u->segment, bdf, &drhd, reason) && drhd == u->drhd;
}
