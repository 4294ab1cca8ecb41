/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/ats.h"

#include "iommu/binding.h"
#include "iommu/prq.h"
#include "iommu/registers.h"
#include "iommu/tables.h"
#include "kernel/abi/nidus.h"

/* PCI Express 6.0, 10.5.1 and 10.5.2: capability, offsets in it, bits. */
#define CAP_ATS         0x0fu
#define ATS_CAPABILITY     0x04u
#define     ATS_QUEUE_DEPTH   BITS(4, 0)
#define ATS_CONTROL        0x06u
#define     ATS_ENABLE        BIT(15)       /* STU 0: pages of 4 KiB */
#define CAP_PRI         0x13u
#define PRI_CONTROL        0x04u
#define     PRI_ENABLE        BIT(0)
#define     PRI_RESET         BIT(1)
#define PRI_CAPACITY       0x08u
#define PRI_ALLOCATION     0x0cu

static uint16_t capability(const struct device *dev, uint16_t id)
{
    return platform_pci_extended_capability(dev->segment, dev->source_id, id);
}

static void set_control(const struct device *dev, uint16_t id, uint16_t offset, uint64_t value)
{
    platform_pci_write(dev->segment, dev->source_id, capability(dev, id) + offset, 2, (uint32_t)value);
}

static bool refused(char reason[160], const char *why)
{
    platform_format(reason, 160, "ATS: %s", why);
    return false;
}

/* One line of what this device may now do. */
static void announce(const struct device *dev, bool vouched)
{
    platform_log(BDF_FORMAT ": ATS is allowed%s: what it sends as translated reaches all memory of the machine, unchecked",
                 BDF_ARGS(dev->segment, dev->source_id), vouched ? ", as firmware vouches for it" : " (ats=trust), though firmware does not "
                 "vouch for it");
}

bool ats_decide(struct device *dev, char reason[160])
{
    uint16_t physical = unit_physical_function(dev->segment, dev->source_id);
    uint16_t ats = platform_pci_extended_capability(dev->segment, physical, CAP_ATS);
    dev->properties = dmar_properties(unit_table(), dev->segment, physical);
    bool vouched = dev->properties & DMAR_ATC_HARDENED;
    dev->tlb = (struct device_tlb){ .physical = physical };
    if (dev->policy.ats == IOMMU_ATS_OFF)
        return !(dev->properties & DMAR_ATC_REQUIRED) || refused(reason, "firmware says that it works only with it; ats=on in the device's line allows it");
    if (!(dev->unit->ecap & ECAP_DT))
        return refused(reason, "its remapping unit has no support for it (ECAP.DT=0)");
    if (!ats || !capability(dev, CAP_ATS))
        return refused(reason, "the device does not have it");
    if (!vouched && dev->policy.ats != IOMMU_ATS_TRUST)
        return refused(reason, "firmware does not vouch for it (SATC, SIDP): its addresses could not be checked; ats=trust allows it still");
    if (!dev->properties && !dmar_allows_ats(unit_table(), dev->segment, physical)) /* what has properties is inside the SoC, below no root port */
        return refused(reason, "firmware names no port for it (ATSR)");
    dev->tlb.wanted = true;
    /* A virtual function's own field says 0: all of them share the physical one's queue. */
    dev->tlb.pending = (uint8_t)field(platform_pci_read(dev->segment, physical, ats + ATS_CAPABILITY, 2), ATS_QUEUE_DEPTH);
    announce(dev, vouched);
    return true;
}

void ats_on(struct device *dev)
{
    if (!dev->tlb.wanted || dev->tlb.lost)
        return;
    dev->tlb.on = dev->unit->device_tlbs = true;
    set_control(dev, CAP_ATS, ATS_CONTROL, ATS_ENABLE);
}

void ats_stop(struct device *dev)
{
    if (!dev->tlb.on)
        return;
    ats_page_requests(dev, false);
    set_control(dev, CAP_ATS, ATS_CONTROL, 0);
}

/* Invalidations -------------------------------------------------------------------------------------- */

void ats_add(const struct device *dev, uint32_t pasid, uint64_t addr, unsigned am)
{
    bool throttled = dev->unit->ecap & ECAP_DIT;
    struct qi_device to = { .source_id = dev->source_id };
    if (!dev->tlb.on)
        return;
    if (throttled)
        to = (struct qi_device){ dev->source_id, dev->tlb.physical, dev->tlb.pending };
    qi_add(dev->unit, pasid == RID_PASID ? qi_device_tlb(to, addr, am) : qi_device_tlb_pasid(to, pasid, addr, am));
}

/* All that dev's TLB has of these bindings' PASIDs. */
static void add_all(const struct device *dev, const struct binding *b)
{
    for (; b; b = b->next)
        if (b->id->unit == dev->unit && binding_of(dev, b->pasid) == b)
            ats_add(dev, b->pasid, 0, QI_ALL);
}

void ats_add_second_stage(struct unit *u, const struct domain *d)
{
    for (const struct device *dev = u->devices; dev; dev = dev->next) {
        if (!dev->tlb.on)
            continue;
        add_all(dev, d->bindings);
        for (const struct first_stage *f = d->children; f; f = f->next)
            add_all(dev, f->bindings);
    }
}

/* Devices that do not answer ------------------------------------------------------------------------- */

bool ats_device_lost(struct unit *u, uint16_t source_id)
{
    struct device *dev = unit_device(u, source_id);
    if (!dev || !dev->tlb.wanted)
        return false;
    u->device_lost = dev->tlb.lost = true;
    dev->tlb.on = false;
    return true;
}

/* DTE goes with its PASID entries present, so all that the caches hold of them goes, too (6.5.3.3). */
static void shut_out(struct device *dev)
{
    struct nidus_fault told = { .dev_id = dev->id, .flags = NIDUS_FAULT_DEVICE_TLB };
    platform_pci_bus_master(dev->segment, dev->source_id, false);
    set_control(dev, CAP_ATS, ATS_CONTROL, 0);
    context_set(dev->unit, dev->source_id, CONTEXT_DTE | CONTEXT_PRE, false);
    dev->tlb.wanted = dev->tlb.requests = false;
    qi_add(dev->unit, qi_context_device(dev->source_id));
    platform_log("unit %u, " BDF_FORMAT " (%s) does not answer invalidations of its TLB: Bus Master and ATS are off, its translated requests blocked",
                 dev->unit->index, BDF_ARGS(dev->segment, dev->source_id), unit_owner_name(dev));
    engine_fault_sink(dev, &told);
}

int ats_block_lost(struct unit *u)
{
    u->device_lost = false;
    for (struct device *dev = u->devices; dev; dev = dev->next)
        if (dev->tlb.lost && dev->tlb.wanted)
            shut_out(dev);
    qi_add(u, qi_pasid_global());
    qi_add(u, qi_iotlb_global());
    return qi_finish(u);
}

/* Page requests -------------------------------------------------------------------------------------- */

/* All that the IOTLB, and the PASID-cache if pasids, have of dev's tables. */
static void add_tables(const struct device *dev, bool pasids)
{
    const struct binding *b;
    for (uint32_t pasid = 0; (b = binding_next(dev, &pasid)); pasid++) {
        if (pasids)
            qi_add(dev->unit, qi_pasid_domain(b->id->did));
        qi_add(dev->unit, qi_iotlb_domain(b->id->did));
    }
}

/* All that its own TLB has. */
static void add_device(const struct device *dev)
{
    for (uint32_t pasid = 0; binding_next(dev, &pasid); pasid++)
        ats_add(dev, pasid, 0, QI_ALL);
}

static int allow_requests(struct device *dev, bool on)
{
    context_set(dev->unit, dev->source_id, CONTEXT_PRE, on);
    qi_add(dev->unit, qi_context_device(dev->source_id));
    add_tables(dev, true);
    return qi_finish(dev->unit);
}

#define DRAIN_ROUNDS 4u /* each takes a full queue; a device that is off makes no more */

/* 7.7: what the device sent is in the queue and answered, and the unit has forgotten the requests that did not fit. */
static int drain(struct device *dev)
{
    int error;
    unsigned rounds = DRAIN_ROUNDS;
    do {
        qi_add(dev->unit, qi_fence());
        add_tables(dev, false);
        add_device(dev);
        error = qi_finish_drained(dev->unit);
    } while (!error && prq_poll(dev->unit) && --rounds);
    return error;
}

int ats_page_requests(struct device *dev, bool on)
{
    uint16_t pri = capability(dev, CAP_PRI);
    if (dev->tlb.requests == on)
        return 0;
    if (!pri || !dev->tlb.on || !dev->unit->prq.ring)
        return -NIDUS_EOPNOTSUPP;
    if (!on) {
        set_control(dev, CAP_PRI, PRI_CONTROL, 0);
        int error = drain(dev);
        dev->tlb.requests = false;
        return error ? error : allow_requests(dev, false);
    }
    int error = allow_requests(dev, true);
    if (error)
        return error;
    dev->tlb.requests = true;
    set_control(dev, CAP_PRI, PRI_CONTROL, PRI_RESET);
    uint32_t capacity = platform_pci_read(dev->segment, dev->source_id, pri + PRI_CAPACITY, 4);
    platform_pci_write(dev->segment, dev->source_id, pri + PRI_ALLOCATION, 4,
                       capacity < ENGINE_PAGE_REQUESTS ? capacity : ENGINE_PAGE_REQUESTS);
    set_control(dev, CAP_PRI, PRI_CONTROL, PRI_ENABLE);
    return 0;
}

int engine_page_requests_check(const struct device *dev)
{
    if (dev->tlb.physical != dev->source_id && platform_pci_extended_capability(dev->segment, dev->tlb.physical, CAP_PRI))
        return -NIDUS_EINVAL;
    return dev->tlb.wanted && !dev->tlb.lost && dev->unit->prq.ring && capability(dev, CAP_PRI) ? 0 : -NIDUS_ENODEV;
}

int engine_page_requests(struct device *dev, bool on)
{
    platform_lock(&dev->unit->lock);
    int error = ats_page_requests(dev, on);
    platform_unlock(&dev->unit->lock);
    return error;
}
