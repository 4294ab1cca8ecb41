/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach.c: devices, and which table each one's requests go through.
 *
 *   init: context entry -> PASID directory -> PASID table whose RID_PASID entry is absent: blocked, fault 59h
 *   attach: that entry is filled    detach: it is emptied, with the hand-shake of 6.2.3.1    fini: the context entry goes
 */
#include "iommu/attach.h"

#include "iommu/ats.h"
#include "iommu/fault.h"
#include "iommu/registers.h"
#include "iommu/rmrr.h"
#include "iommu/tables.h"

static bool refused(char reason[160], const char *why)
{
    platform_format(reason, 160, "%s", why);
    return false;
}

static bool may_be_assigned(struct device *dev, char reason[160])
{
    dev->unit = unit_find(dev->segment, dev->source_id, reason);
    if (!dev->unit || !rmrr_decide(dev, reason))
        return false;
    if (unit_device(dev->unit, dev->source_id))
        return refused(reason, "it is already assigned");
    return ats_decide(dev, reason);
}

/* A unit in caching mode (CAP.CM=1) may remember entries as absent, tagged with DID 0 (6.1). */
static int forget_absent(struct unit *u, uint16_t source_id)
{
    if (!(u->cap & CAP_CM) || !u->usable) /* what was absent before translation is on goes with the old root table */
        return 0;
    qi_add(u, qi_context_device(source_id));
    qi_add(u, qi_pasid_domain(0));
    qi_add(u, qi_iotlb_domain(0));
    return qi_finish(u);
}

static void free_tables(struct device *dev)
{
    platform_pages_free(dev->owner, dev->pasid_directory, 0);
    platform_pages_free(dev->owner, dev->pasid_table, 0);
    dev->pasid_directory = NULL;
    dev->pasid_table = NULL;
}

static bool allocate_tables(struct device *dev)
{
    dev->pasid_directory = platform_pages_alloc(dev->owner, 0);
    dev->pasid_table = dev->pasid_directory ? platform_pages_alloc(dev->owner, 0) : NULL;
    if (dev->pasid_table && context_table_ready(dev->unit, dev->source_id))
        return true;
    if (dev->pasid_table)
        platform_pages_free(dev->owner, dev->pasid_table, 0);
    if (dev->pasid_directory)
        platform_pages_free(dev->owner, dev->pasid_directory, 0);
    return false;
}

bool device_add(struct device *dev, char reason[160])
{
    if (!allocate_tables(dev))
        return refused(reason, "no memory for its PASID table");
    context_install(dev->unit, dev);
    if (forget_absent(dev->unit, dev->source_id)) /* the tables stay: the unit may hold on to them */
        return refused(reason, "its remapping unit does not answer");
    fault_poll(dev->unit); /* what the device did before is not its new owner's */
    dev->next = dev->unit->devices;
    dev->unit->devices = dev;
    return true;
}

bool engine_device_init(struct device *dev, char reason[160])
{
    dev->domain = NULL;
    dev->first = NULL;
    return may_be_assigned(dev, reason) && device_add(dev, reason);
}

int engine_device_fini(struct device *dev)
{
    struct unit *u = dev->unit;
    int error = engine_detach(dev);
    if (error)
        return error;
    context_make_absent(u, dev->source_id);
    qi_add(u, qi_context_device(dev->source_id));
    if (u->cap & CAP_CM) { /* that nothing was attached may be remembered, tagged with DID 0 (6.1) */
        qi_add(u, qi_pasid_domain(0));
        qi_add(u, qi_iotlb_domain(0));
    }
    error = qi_finish(u);
    if (error)
        return error;
    struct device **link = &u->devices;
    while (*link != dev)
        link = &(*link)->next;
    *link = dev->next;
    if (dev->faults)
        platform_log(BDF_FORMAT ": %llu faults while %s had it", BDF_ARGS(dev->segment, dev->source_id), (ull)dev->faults,
                     unit_owner_name(dev));
    free_tables(dev);
    return 0;
}

void engine_unit_info(const struct device *dev, struct unit_info *info)
{
    const struct unit *u = dev->unit;
    *info = (struct unit_info){ .cap = u->cap, .ecap = u->ecap, .errata_772415 = u->errata_772415, .nested = u->nested,
                                .ats = dev->tlb.wanted };
}

uint8_t device_snoop(const struct device *dev)
{
    return (dev->unit->ecap & ECAP_SMPWCS && !(dev->properties & DMAR_NO_PWSNP) ? SNOOP_WALKS : 0) |
           (dev->unit->ecap & ECAP_SC && !(dev->properties & DMAR_NO_PGSNP) ? SNOOP_PAGES : 0);
}

/* Attachments ---------------------------------------------------------------------------------------- */

static struct attachment *attachment_on(struct attachment *list, const struct device *dev)
{
    while (list && (list->unit != dev->unit || list->snoop != device_snoop(dev)))
        list = list->next;
    return list;
}

/* The list's attachment for dev with one more device; a new one, with a DID of its own, if there is none. */
static int attachment_take(struct attachment **list, const struct device *dev, struct attachment **out)
{
    struct unit *u = dev->unit;
    struct guest *owner = dev->owner;
    struct attachment *a = attachment_on(*list, dev);
    if (!a) {
        a = platform_alloc(owner, sizeof *a);
        if (!a)
            return -NIDUS_ENOMEM;
        int did = unit_did_alloc(u);
        if (did < 0) {
            platform_free(owner, a, sizeof *a);
            return did;
        }
        *a = (struct attachment){ .next = *list, .unit = u, .did = (uint16_t)did, .snoop = device_snoop(dev) };
        *list = a;
    }
    a->devices++;
    *out = a;
    return 0;
}

/* One device fewer.  The last one's DID is free again: no cache of the unit may hold anything of it. */
static void attachment_drop(struct attachment **list, struct attachment *a, struct guest *owner)
{
    if (--a->devices)
        return;
    while (*list != a)
        list = &(*list)->next;
    *list = a->next;
    unit_did_free(a->unit, a->did);
    platform_free(owner, a, sizeof *a);
}

static struct attachment **attachments_of(struct domain *d, struct first_stage *f)
{
    return f ? &f->attachments : &d->attachments;
}

/* Attach and detach ---------------------------------------------------------------------------------- */

static int second_stage_check(const struct device *dev, const struct domain *d)
{
    const struct unit *u = dev->unit;
    const struct stage2 *t = &d->table;
    unsigned sizes = (u->cap & CAP_SSLPS_2M ? STAGE2_2M : 0) | (u->cap & CAP_SSLPS_1G ? STAGE2_1G : 0);
    if (!(field(u->cap, CAP_SAGAW) & BIT(t->levels - 2)))
        return refuse(d->owner, NIDUS_EINVAL, "unit %u cannot walk a second stage of %u levels", u->index, t->levels);
    if (t->page_sizes & ~sizes)
        return refuse(d->owner, NIDUS_EINVAL, "unit %u lacks large pages that the second stage may have", u->index);
    if (t->coherent && !(device_snoop(dev) & SNOOP_WALKS))
        return refuse(d->owner, NIDUS_EINVAL, "unit %u does not snoop page tables (ECAP.SMPWCS=0, SIDP), made for one that does", u->index);
    return 0;
}

static int attach_check(const struct device *dev, const struct domain *d, const struct first_stage *f)
{
    if (dev->unit->dead)
        return -NIDUS_EIO;
    if (d->owner != dev->owner)
        return refuse(dev->owner, NIDUS_EINVAL, "device %u and the table it is to use have different owners", dev->id);
    if (d->rmrr_of != (dev->rmrr ? dev : NULL))
        return refuse(dev->owner, NIDUS_EINVAL, "device %u cannot use this table: one with a device's RMRR is for that device alone", dev->id);
    if (f && dev->properties & DMAR_NO_NESTED)
        return refuse(dev->owner, NIDUS_EINVAL, "firmware does not allow nested translation for device %u (SIDP)", dev->id);
    int error = second_stage_check(dev, d);
    return error || !f ? error : first_stage_check(dev->unit, f);
}

/* Takes dev's translation out of its PASID entry and of all caches.  On -EIO the records stay: the table is still in use. */
static int block(struct device *dev)
{
    struct unit *u = dev->unit;
    struct attachment **list = attachments_of(dev->domain, dev->first);
    struct attachment *a = attachment_on(*list, dev);
    ats_stop(dev);
    pasid_make_absent(u, &dev->pasid_table[RID_PASID]);
    qi_add(u, qi_pasid_domain(a->did));
    qi_add(u, qi_iotlb_domain(a->did));
    ats_add(dev, RID_PASID, 0, QI_ALL);
    if (qi_finish(u))
        return -NIDUS_EIO;
    pasid_zero(u, &dev->pasid_table[RID_PASID]);
    attachment_drop(list, a, dev->owner);
    if (dev->first)
        dev->first->users--;
    else
        dev->domain->users--;
    dev->domain = NULL;
    dev->first = NULL;
    return 0;
}

/* The PASID entry is absent and zero. */
static int install(struct device *dev, struct domain *d, struct first_stage *f, const struct attachment *a)
{
    struct unit *u = dev->unit;
    struct pasid_value value = f ? pasid_nested(u, f, a->did) : pasid_second_stage(u, &d->table, a->did);
    pasid_snoop(&value, device_snoop(dev));
    pasid_install(u, &dev->pasid_table[RID_PASID], &value);
    dev->first = f;
    dev->domain = f ? NULL : d;
    if (f)
        f->users++;
    else
        d->users++;
    return forget_absent(u, dev->source_id);
}

int engine_attach(struct device *dev, struct domain *d, struct first_stage *f)
{
    struct attachment *a;
    if (f)
        d = f->parent;
    if (dev->first == f && (f || dev->domain == d))
        return 0;
    int error = attach_check(dev, d, f);
    if (error)
        return error;
    struct attachment **list = attachments_of(d, f);
    error = attachment_take(list, dev, &a);
    if (error)
        return error;
    if ((dev->domain || dev->first) && (error = block(dev))) {
        attachment_drop(list, a, dev->owner); /* nothing ever used it */
        return error;
    }
    error = install(dev, d, f, a);
    if (error)
        return error;
    ats_on(dev);
    platform_pci_bus_master(dev->segment, dev->source_id, true);
    return 0;
}

int engine_detach(struct device *dev)
{
    platform_pci_bus_master(dev->segment, dev->source_id, false);
    return dev->domain || dev->first ? block(dev) : 0;
}
