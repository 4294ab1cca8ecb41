/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach.c: devices, and which table each one's requests go through.
 *
 *   init: context entry -> PASID directory -> PASID table whose RID_PASID entry is absent: blocked, fault 59h
 *   attach: the PASID's entry is filled, or says something else from then on    detach: it is emptied    fini: the context entry goes
 */
#include "iommu/attach.h"

#include "iommu/ats.h"
#include "iommu/binding.h"
#include "iommu/fault.h"
#include "iommu/registers.h"
#include "iommu/rmrr.h"
#include "iommu/tables.h"

static bool refused(char reason[160], const char *why)
{
    platform_format(reason, 160, "%s", why);
    return false;
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

/* PCI Express 6.0, 7.8.9. */
#define CAP_PASID          0x1bu
#define PASID_CAPABILITY      0x04u
#define     PASID_MAX_WIDTH      BITS(12, 8)
#define PASID_CONTROL         0x06u
#define     PASID_ENABLE         BIT(0)
#define     PASID_EXECUTE        BIT(1) /* in both registers */
#define     PASID_PRIVILEGED     BIT(2)

static uint16_t pasid_capability(const struct device *dev)
{
    return platform_pci_extended_capability(dev->segment, dev->tlb.physical, CAP_PASID);
}

/*
 * Which PASIDs the device may send; it then does so for as long as it is assigned, whatever is attached, as the switch must not be touched
 * while ATS is on.  Virtual functions have their physical one's capability: theirs is on where that is.
 *
 * As on Linux they may ask to execute and be privileged where they can.  That opens nothing: such a request has more rights in the guest's own
 * first stage (SRE, U/S) alone, the second stage knows neither, and what the unit does not take (ECAP.SRS, SRE=0) it blocks.
 */
static void decide_pasids(struct device *dev)
{
    uint16_t at = dev->unit->ecap & ECAP_PASID ? pasid_capability(dev) : 0;
    if (!at)
        return;
    uint32_t capability = platform_pci_read(dev->segment, dev->tlb.physical, at + PASID_CAPABILITY, 2);
    uint64_t control = PASID_ENABLE | (capability & (PASID_EXECUTE | PASID_PRIVILEGED));
    uint64_t width = field(capability, PASID_MAX_WIDTH), unit = field(dev->unit->ecap, ECAP_PSS) + 1;
    if (dev->tlb.physical == dev->source_id)
        platform_pci_write(dev->segment, dev->source_id, at + PASID_CONTROL, 2, (uint32_t)control);
    else
        control = platform_pci_read(dev->segment, dev->tlb.physical, at + PASID_CONTROL, 2);
    if (!(control & PASID_ENABLE))
        return;
    dev->pasid_bits = (uint8_t)(width < unit ? width : unit);
    dev->execute = control & PASID_EXECUTE;
    dev->privileged = control & PASID_PRIVILEGED;
}

static void pasids_off(struct device *dev)
{
    if (dev->pasid_bits && dev->tlb.physical == dev->source_id)
        platform_pci_write(dev->segment, dev->source_id, pasid_capability(dev) + PASID_CONTROL, 2, 0);
}

static bool allocate_tables(struct device *dev)
{
    if (!pasid_directory_alloc(dev))
        return false;
    if (pasid_table_ready(dev, RID_PASID) && context_table_ready(dev->unit, dev->source_id))
        return true;
    pasid_tables_free(dev);
    return false;
}

bool device_add(struct device *dev, char reason[160])
{
    dev->snoop = (dev->unit->ecap & ECAP_SMPWCS && !(dev->properties & DMAR_NO_PWSNP) ? SNOOP_WALKS : 0) |
                 (dev->unit->ecap & ECAP_SC && !(dev->properties & DMAR_NO_PGSNP) ? SNOOP_PAGES : 0);
    if (!allocate_tables(dev))
        return refused(reason, "no memory for its PASID tables");
    context_install(dev->unit, dev);
    if (forget_absent(dev->unit, dev->source_id)) /* the tables stay: the unit may hold on to them */
        return refused(reason, "its remapping unit does not answer");
    fault_poll(dev->unit); /* what the device did before is not its new owner's */
    dev->next = dev->unit->devices;
    dev->unit->devices = dev;
    return true;
}

static bool add_new(struct device *dev, char reason[160])
{
    if (unit_device(dev->unit, dev->source_id))
        return refused(reason, "it is already assigned");
    if (!ats_decide(dev, reason))
        return false;
    decide_pasids(dev);
    return device_add(dev, reason);
}

bool engine_device_init(struct device *dev, char reason[160])
{
    dev->pasid_bits = 0;
    dev->execute = dev->privileged = false;
    dev->attachments = 0;
    dev->unit = unit_find(dev->segment, dev->source_id, reason);
    if (!dev->unit || !rmrr_decide(dev, reason))
        return false;
    platform_lock(&dev->unit->lock);
    bool added = add_new(dev, reason);
    platform_unlock(&dev->unit->lock);
    return added;
}

/* Nothing is attached to it. */
static int remove_from_unit(struct device *dev)
{
    struct unit *u = dev->unit;
    pasids_off(dev);
    context_make_absent(u, dev->source_id);
    qi_add(u, qi_context_device(dev->source_id));
    if (u->cap & CAP_CM) { /* that nothing was attached may be remembered, tagged with DID 0 (6.1) */
        qi_add(u, qi_pasid_domain(0));
        qi_add(u, qi_iotlb_domain(0));
    }
    int error = qi_finish(u);
    if (error)
        return error;
    struct device **link = &u->devices;
    while (*link != dev)
        link = &(*link)->next;
    *link = dev->next;
    return 0;
}

int engine_device_fini(struct device *dev)
{
    int error = 0;
    engine_stop(dev);
    for (uint32_t pasid = 0; !error && engine_next_attached(dev, &pasid); )
        error = engine_detach(dev, pasid);
    if (error)
        return error;
    platform_lock(&dev->unit->lock);
    error = remove_from_unit(dev);
    platform_unlock(&dev->unit->lock);
    if (error)
        return error;
    if (dev->faults)
        platform_log(BDF_FORMAT ": %llu faults while %s had it", BDF_ARGS(dev->segment, dev->source_id), (ull)dev->faults,
                     unit_owner_name(dev));
    pasid_tables_free(dev);
    return 0;
}

void engine_orphan(struct device *dev)
{
    platform_lock(&dev->unit->lock);
    dev->context = NULL;
    platform_unlock(&dev->unit->lock);
}

void engine_unit_info(const struct device *dev, struct unit_info *info)
{
    const struct unit *u = dev->unit;
    *info = (struct unit_info){ .cap = u->cap, .ecap = u->ecap, .errata_772415 = u->errata_772415, .nested = u->nested,
                                .ats = dev->tlb.wanted, .dirty = device_tracks(dev), .pasid_bits = dev->pasid_bits,
                                .execute = dev->execute, .privileged = dev->privileged };
}

bool engine_device_fenced(const struct device *dev) { return dev->unit->dead || dev->tlb.lost; }

bool device_tracks(const struct device *dev)
{
    return dev->unit->ecap & ECAP_SSADS && dev->snoop & SNOOP_WALKS;
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
    if (t->coherent && !(dev->snoop & SNOOP_WALKS))
        return refuse(d->owner, NIDUS_EINVAL, "unit %u does not snoop page tables (ECAP.SMPWCS=0, SIDP), made for one that does", u->index);
    if (d->dirty && !device_tracks(dev))
        return refuse(d->owner, NIDUS_EINVAL, "unit %u does not track what device %u writes", u->index, dev->id);
    return 0;
}

static int attach_check(const struct device *dev, uint32_t pasid, const struct domain *d, const struct first_stage *f)
{
    if (dev->unit->dead)
        return -NIDUS_EIO;
    if (pasid != RID_PASID && !(dev->unit->ecap & ECAP_PASID))
        return refuse(dev->owner, NIDUS_EOPNOTSUPP, "the remapping unit of device %u has no PASIDs", dev->id);
    if (pasid >= dev->pasids)
        return refuse(dev->owner, NIDUS_EINVAL, "device %u sends no PASID beyond %u bits", dev->id, dev->pasid_bits);
    if (d->owner != dev->owner)
        return refuse(dev->owner, NIDUS_EINVAL, "device %u and the table it is to use have different owners", dev->id);
    if (d->rmrr_of != (dev->rmrr ? dev : NULL))
        return refuse(dev->owner, NIDUS_EINVAL, "device %u cannot use this table: one with a device's RMRR is for that device alone", dev->id);
    if (f && dev->properties & DMAR_NO_NESTED)
        return refuse(dev->owner, NIDUS_EINVAL, "firmware does not allow nested translation for device %u (SIDP)", dev->id);
    int error = second_stage_check(dev, d);
    return error || !f || f->unit == dev->unit ? error : first_stage_check(dev->unit, f);
}

/* An invalidation that the unit refused a part of is made good by a wider one: … */
static void add_wider(struct unit *u)
{
    qi_add(u, qi_pasid_global());
    qi_add(u, qi_iotlb_global());
}

/* … of everything in the unit, and in the devices' own TLBs.  A unit that refuses that as well cannot be relied on. */
static int finish_wider(struct unit *u)
{
    if (qi_finish(u))
        unit_dead(u, UNIT_REFUSES, "to forget what a device was attached to");
    return u->dead ? -NIDUS_EIO : 0;
}

__attribute__((noinline))
static int make_good(struct device *dev, uint32_t pasid)
{
    add_wider(dev->unit);
    ats_add(dev, pasid, 0, QI_ALL);
    return finish_wider(dev->unit);
}

static inline int finish(struct device *dev, uint32_t pasid)
{
    return qi_finish(dev->unit) ? make_good(dev, pasid) : 0;
}

/* Of an entry that was present and led to b: VT-d 5.10 table 28. */
static void add_gone(struct device *dev, const struct binding *b)
{
    qi_add(dev->unit, qi_pasid_one(b->id->did, b->pasid));
    qi_add(dev->unit, qi_iotlb_domain(b->id->did));
}

static void leave(struct device *dev, struct binding *b)
{
    struct first_stage *f = b->first;
    struct domain *d = b->id->domain;
    binding_drop(b);
    dev->attachments--;
    if (f)
        f->users--;
    else
        d->users--;
}

static void enter(struct device *dev, struct binding *b)
{
    pasid_table(dev, b->pasid)->binding[b->pasid % PASIDS_A_TABLE] = b;
    dev->attachments++;
    if (b->first)
        b->first->users++;
    else
        b->id->domain->users++;
}

/* Takes the translation of dev's requests out of the PASID entry and of all caches.  On -EIO the records stay: the table is still in use. */
static int block(struct device *dev, uint32_t pasid)
{
    struct pasid_entry *e = pasid_entry(dev, pasid);
    struct binding *b = binding_of(dev, pasid);
    if (dev->attachments == 1)
        ats_stop(dev);
    pasid_make_absent(dev->unit, e);
    add_gone(dev, b);
    ats_add(dev, pasid, 0, QI_ALL);
    if (finish(dev, pasid))
        return -NIDUS_EIO;
    pasid_zero(dev->unit, e);
    pasid_table(dev, pasid)->binding[pasid % PASIDS_A_TABLE] = NULL;
    leave(dev, b);
    return 0;
}

/* The PASID entry is absent and zero.  Its P bit becomes visible last. */
static int install(struct device *dev, struct binding *b)
{
    struct pasid_entry *e = pasid_entry(dev, b->pasid);
    pasid_set_first(dev->unit, e, b->first);
    pasid_set_second(dev->unit, e, b); /* P, PGTT, SSPTPTR and DID: one store */
    enter(dev, b);
    return forget_absent(dev->unit, dev->source_id);
}

/*
 * How a present entry comes to say something else.  A unit reads it in pieces of 16 bytes, the one with P first: the second stage's half
 * (P, PGTT, SSPTPTR, AW, DID), then the first stage's (FSPTPTR, FSPM, SRE, WPE, EAFE).  After each store, and between any two pieces, an entry
 * has to mean the old translation or the new one (6.2.3.1).
 *
 *   from            to                              stores
 *   second stage    another one                     the second stage's half, with another DID
 *   second stage    nested                          the first stage's half, which is ignored so far; then as above
 *   nested          second stage                    as above; the first stage's half when no cache has the old one any more
 *   nested          nested, the same nest parent    the first stage's half alone
 *   … whose (DID, PASID) others use, too            before that the second stage's half, with another DID, and what was cached goes: a unit
 *                                                   that has read the old DID must not read the new first stage with it
 *   else                                            P goes, what was cached goes, and the entry is made anew
 */
enum way { WITH_A_GAP, TO_SECOND_STAGE, TO_NESTED, IN_PLACE, OTHER_DID };

/* Until the invalidation, what caches have of the old tables is used with the new entry: found by its levels, allowed by its SRE and
 * WPE, marked by its EAFE. */
static bool are_read_alike(const struct first_stage *a, const struct first_stage *b)
{
    return a->levels == b->levels && a->sre == b->sre && a->wpe == b->wpe && a->eafe == b->eafe;
}

static enum way choose_way(const struct binding *from, const struct domain *d, const struct first_stage *f)
{
    if (!f) /* SRE counts in all modes, and is in the other half */
        return from->first && from->first->sre ? WITH_A_GAP : TO_SECOND_STAGE;
    if (!from->first)
        return f->sre ? WITH_A_GAP : TO_NESTED;
    if (from->id->domain != d || !are_read_alike(from->first, f)) /* the first: two halves at once */
        return WITH_A_GAP;
    return from->devices == 1 ? IN_PLACE : OTHER_DID;
}

static const enum binding_choice choices[] = {
    [WITH_A_GAP] = BINDING_SHARED, [TO_SECOND_STAGE] = BINDING_SHARED, [TO_NESTED] = BINDING_SHARED, [IN_PLACE] = BINDING_IN_PLACE,
};

static void store(struct device *dev, const struct binding *to, enum way way)
{
    struct pasid_entry *e = pasid_entry(dev, to->pasid);
    if (way == TO_NESTED || way == IN_PLACE)
        pasid_set_first(dev->unit, e, to->first);
    if (way != IN_PLACE)
        pasid_set_second(dev->unit, e, to);
}

/* Table 28: all of an old DID; of a first stage that changed under its DID, what has the PASID. */
static void add_replaced(struct device *dev, const struct binding *from, const struct binding *to, enum way way)
{
    if (way == IN_PLACE) {
        qi_add(dev->unit, qi_pasid_one(to->id->did, to->pasid));
        qi_add(dev->unit, qi_first_stage_all(to->id->did, to->pasid));
    } else {
        add_gone(dev, from);
    }
    ats_add(dev, to->pasid, 0, QI_ALL);
}

/* Without a moment in which dev is blocked.  On -EIO both tables count as in use. */
static int replace(struct device *dev, struct binding *from, struct binding *to, enum way way)
{
    store(dev, to, way);
    enter(dev, to);
    add_replaced(dev, from, to, way);
    if (finish(dev, to->pasid))
        return -NIDUS_EIO;
    if (way == TO_SECOND_STAGE)
        pasid_set_first(dev->unit, pasid_entry(dev, to->pasid), NULL);
    leave(dev, from);
    return 0;
}

/* The table that dev has, under a DID where nobody else has that PASID. */
static int take_own_did(struct device *dev, struct binding **b)
{
    struct binding *own;
    int error = binding_take(dev, (*b)->pasid, (*b)->id->domain, (*b)->first, BINDING_ALONE, &own);
    if (!error)
        error = replace(dev, *b, own, OTHER_DID);
    if (!error)
        *b = own;
    return error;
}

static int change(struct device *dev, uint32_t pasid, struct binding *from, struct domain *d, struct first_stage *f)
{
    struct binding *to;
    enum way way = from ? choose_way(from, d, f) : WITH_A_GAP;
    int error = way == OTHER_DID ? take_own_did(dev, &from) : 0;
    if (way == OTHER_DID)
        way = IN_PLACE;
    if (!error)
        error = binding_take(dev, pasid, d, f, choices[way], &to);
    if (error)
        return error;
    if (way != WITH_A_GAP)
        return replace(dev, from, to, way);
    if (from && (error = block(dev, pasid))) {
        binding_drop(to); /* nothing ever used it */
        return error;
    }
    return install(dev, to);
}

static int attach(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f)
{
    const struct pasid_table *table = pasid_table_ready(dev, pasid);
    if (!table)
        return -NIDUS_ENOMEM;
    struct binding *b = table->binding[pasid % PASIDS_A_TABLE];
    if (b && b->id->domain == d && b->first == f)
        return 0;
    bool first = !dev->attachments;
    int error = change(dev, pasid, b, d, f);
    if (error)
        return error;
    ats_on(dev);
    if (first && !dev->tlb.lost)
        platform_pci_bus_master(dev->segment, dev->source_id, true);
    return 0;
}

/* Table 28, row "SSADE": as for an entry that goes.  false: it has nothing of d. */
static bool update(struct device *dev, uint32_t pasid, const struct domain *d)
{
    const struct binding *b = binding_of(dev, pasid);
    if (b->id->domain != d)
        return false;
    pasid_set_second(dev->unit, pasid_entry(dev, pasid), b);
    add_gone(dev, b);
    ats_add(dev, pasid, 0, QI_ALL);
    return true;
}

static int update_all(struct unit *u, const struct domain *d)
{
    bool updated = false;
    for (struct device *dev = u->devices; dev; dev = dev->next)
        for (uint32_t pasid = 0; binding_next(dev, &pasid); pasid++)
            updated |= update(dev, pasid, d);
    if (!updated || !qi_finish(u))
        return 0;
    add_wider(u);
    ats_add_second_stage(u, d);
    return finish_wider(u);
}

int engine_domain_track(struct domain *d, bool on)
{
    int error = 0;
    d->table.dirty = on;
    for (struct unit *u = units; u; u = u->next) {
        platform_lock(&u->lock);
        if (update_all(u, d))
            error = -NIDUS_EIO;
        platform_unlock(&u->lock);
    }
    return error;
}

int engine_attach(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f)
{
    if (f)
        d = f->parent;
    platform_lock(&dev->unit->lock);
    int error = attach_check(dev, pasid, d, f);
    if (!error)
        error = attach(dev, pasid, d, f);
    platform_unlock(&dev->unit->lock);
    return error;
}

void engine_stop(struct device *dev)
{
    platform_pci_bus_master(dev->segment, dev->source_id, false);
}

int engine_detach(struct device *dev, uint32_t pasid)
{
    bool attached = dev->attachments && binding_of(dev, pasid);
    if (dev->attachments <= attached)
        engine_stop(dev);
    if (!attached)
        return 0;
    platform_lock(&dev->unit->lock);
    int error = block(dev, pasid);
    platform_unlock(&dev->unit->lock);
    return error;
}

void engine_attached(const struct device *dev, uint32_t pasid, struct domain **d, struct first_stage **f)
{
    const struct binding *b = binding_of(dev, pasid);
    *f = b ? b->first : NULL;
    *d = b ? b->id->domain : NULL;
}

bool engine_next_attached(const struct device *dev, uint32_t *pasid)
{
    return binding_next(dev, pasid);
}
