/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/rmrr.h"

#include "iommu/attach.h"

/* A function that nidus itself keeps going. */
struct kept {
    struct device device;       /* owner NULL */
    struct domain domain;
};

static bool overlaps_ram(struct guest *guest, const struct dmar_rmrr *r)
{
    uint64_t gpa, size;
    for (unsigned i = 0; guest && platform_guest_region(guest, i, &gpa, &size); i++)
        if (r->base < gpa + size && gpa <= r->limit)
            return true;
    return false;
}

/* NULL, or why it cannot be mapped: a wrong RMRR would open memory of nidus or of a guest. */
static const char *problem(const struct unit *u, const struct dmar_rmrr *r, struct guest *guest)
{
    if (!dmar_rmrr_is_possible(r) || r->limit >> u->host_width)
        return "is no range of whole pages";
    if (!platform_is_reserved(r->base, r->limit - r->base + 1))
        return "is not in memory that firmware reserved";
    if (overlaps_ram(guest, r))
        return "overlaps addresses of the guest's memory";
    return NULL;
}

int rmrr_map(struct domain *d, const struct device *dev)
{
    struct dmar_rmrr r;
    int error = 0;
    if (!dev->rmrr)
        return 0;
    if (d->nest_parent)
        return refuse(d->owner, NIDUS_EOPNOTSUPP, "device %u has an RMRR: its second stage cannot be a nest parent", dev->id);
    d->rmrr_of = dev;
    for (struct dmar_structure s = { 0 }; !error && dmar_next_rmrr(unit_table(), dev->segment, dev->source_id, &s, &r); ) {
        error = stage2_map(&d->table, r.base, r.base, r.limit - r.base + 1, STAGE2_READ | STAGE2_WRITE);
        if (error == -NIDUS_EEXIST) /* two structures may name the same memory */
            error = 0;
    }
    return error;
}

bool rmrr_reserved(const struct device *dev, uint64_t first, uint64_t last, uint64_t *range_first, uint64_t *range_last)
{
    struct dmar_rmrr r;
    bool found = false;
    for (struct dmar_structure s = { 0 }; dmar_next_rmrr(unit_table(), dev->segment, dev->source_id, &s, &r); )
        if (r.base <= last && r.limit >= first && (!found || r.base < *range_first)) {
            *range_first = r.base;
            *range_last = r.limit;
            found = true;
        }
    return found;
}

/* Of functions that no guest owns ---------------------------------------------------------------------- */

static bool keep(struct unit *u, uint16_t bdf, char reason[160])
{
    struct kept *k = platform_alloc(NULL, sizeof *k);
    if (!k) {
        platform_format(reason, 160, "no memory");
        return false;
    }
    k->device = (struct device){ .unit = u, .segment = u->segment, .source_id = bdf, .rmrr = true };
    if (!device_add(&k->device, reason)) {
        platform_free(NULL, k, sizeof *k);
        return false;
    }
    bool was_on = platform_pci_read(u->segment, bdf, PCI_COMMAND, 2) & PCI_COMMAND_BUS_MASTER;
    if (engine_domain_init(&k->domain, &k->device, 0, NULL) || engine_attach(&k->device, ENGINE_NO_PASID, &k->domain, NULL)) {
        platform_format(reason, 160, "no memory, or no domain id"); /* what there is stays, and blocks */
        return false;
    }
    if (!was_on)
        platform_pci_bus_master(u->segment, bdf, false);
    return true;
}

static bool check_all(const struct unit *u, uint16_t bdf, struct guest *guest, char reason[160])
{
    struct dmar_rmrr r;
    for (struct dmar_structure s = { 0 }; dmar_next_rmrr(unit_table(), u->segment, bdf, &s, &r); ) {
        const char *why = problem(u, &r, guest);
        if (why) {
            platform_format(reason, 160, "its RMRR 0x%llx to 0x%llx %s", (ull)r.base, (ull)r.limit, why);
            return false;
        }
    }
    return true;
}

static void decide_unowned(struct unit *u, uint16_t bdf, const struct dmar_rmrr *first, enum iommu_rmrr_policy policy)
{
    char reason[160] = "rmrr = block in nidus.conf";
    if (policy == IOMMU_RMRR_KEEP && check_all(u, bdf, NULL, reason) && keep(u, bdf, reason)) {
        platform_log("unit %u, " BDF_FORMAT ": goes on using 0x%llx to 0x%llx, which firmware reserves for it (RMRR), and nothing else",
                     u->index, BDF_ARGS(u->segment, bdf), (ull)first->base, (ull)first->limit);
        return;
    }
    platform_pci_bus_master(u->segment, bdf, false);
    platform_log("unit %u, " BDF_FORMAT ": has an RMRR and is blocked: %s", u->index, BDF_ARGS(u->segment, bdf), reason);
}

/* A function that is there, and of which s is the first RMRR. */
static bool is_new(const struct unit *u, uint16_t bdf, const struct dmar_structure *s)
{
    struct dmar_structure first = { 0 };
    struct dmar_rmrr r;
    return platform_pci_read(u->segment, bdf, PCI_VENDOR_ID, 2) != PCI_ABSENT && !unit_device(u, bdf) && unit_covers(u, bdf) &&
           dmar_next_rmrr(unit_table(), u->segment, bdf, &first, &r) && first.offset == s->offset;
}

/* Scopes of bridges are left out: no table names one here, and what is below stays blocked. */
void rmrr_keep(struct unit *u, enum iommu_rmrr_policy policy)
{
    uint16_t bdf;
    for (struct dmar_structure s = { 0 }; dmar_next(unit_table(), &s); ) {
        if (s.type != DMAR_RMRR || s.segment != u->segment)
            continue;
        struct dmar_rmrr r = dmar_rmrr(unit_table(), &s);
        for (struct dmar_scope c = { 0 }; dmar_next_scope(unit_table(), &s, &c); )
            if (c.type == DMAR_ENDPOINT && dmar_scope_function(&c, u->segment, &bdf) && is_new(u, bdf, &s))
                decide_unowned(u, bdf, &r, policy);
    }
}

/* Of functions that a guest is to own ------------------------------------------------------------------ */

static bool take_back(struct device *device, char reason[160])
{
    struct kept *k = (struct kept *)device;
    _Static_assert(!offsetof(struct kept, device), "a kept device is a struct kept");
    if (engine_device_fini(device)) {
        platform_format(reason, 160, "its remapping unit does not answer");
        return false;
    }
    stage2_destroy(&k->domain.table);
    platform_free(NULL, k, sizeof *k);
    return true;
}

bool rmrr_decide(struct device *dev, char reason[160])
{
    struct dmar_rmrr r;
    dev->rmrr = dmar_next_rmrr(unit_table(), dev->segment, dev->source_id, &(struct dmar_structure){ 0 }, &r);
    if (!dev->rmrr)
        return true;
    if (!dev->policy.map_rmrr) {
        platform_format(reason, 160, "firmware may still use it, with memory at 0x%llx (RMRR); rmrr=map in its line, in a guest with nested = off, "
                        "gives it that memory", (ull)r.base);
        return false;
    }
    struct device *kept = unit_device(dev->unit, dev->source_id);
    return check_all(dev->unit, dev->source_id, dev->owner, reason) && (!kept || kept->owner || take_back(kept, reason));
}
