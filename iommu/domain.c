/* SPDX-License-Identifier: BSD-2-Clause */
/* domain.c: second-stage and first-stage tables, and the invalidations that a change of them takes (VT-d 5.10 section 6.5.3.3). */
#include "iommu/ats.h"
#include "iommu/attach.h"
#include "iommu/binding.h"
#include "iommu/registers.h"
#include "iommu/rmrr.h"
#include "iommu/tables.h"

static bool has_levels(const struct unit *u, unsigned levels)
{
    return field(u->cap, CAP_SAGAW) & BIT(levels - 2);
}

/* Four levels where there are: 2^48 bytes are enough for anybody's memory, and a fifth costs each walk a step. */
static unsigned table_levels(const struct unit *u)
{
    return has_levels(u, 4) ? 4 : has_levels(u, 5) ? 5 : 3;
}

int engine_domain_init(struct domain *d, const struct device *dev, unsigned flags, struct guest *owner)
{
    const struct unit *u = dev->unit;
    unsigned sizes = (u->cap & CAP_SSLPS_2M ? STAGE2_2M : 0) | (u->cap & CAP_SSLPS_1G ? STAGE2_1G : 0);
    if (flags & ENGINE_NEST_PARENT && !u->nested)
        return refuse(owner, NIDUS_EOPNOTSUPP, "unit %u has no nested translation (ECAP.NEST=0)", u->index);
    if (flags & ENGINE_DIRTY && !device_tracks(dev))
        return refuse(owner, NIDUS_EOPNOTSUPP, "unit %u does not track what device %u writes (ECAP.SSADS, SMPWCS, SIDP)", u->index, dev->id);
    *d = (struct domain){ .lock.rank = LOCK_DOMAIN, .nest_parent = flags & ENGINE_NEST_PARENT, .dirty = flags & ENGINE_DIRTY, .owner = owner };
    int error = stage2_init(&d->table, &stage2_vtd, table_levels(u), sizes, dev->snoop & SNOOP_WALKS, owner);
    if (error)
        return error;
    error = rmrr_map(d, dev);
    if (error)
        stage2_destroy(&d->table);
    return error;
}

bool engine_domain_fini(struct domain *d)
{
    return stage2_destroy_some(&d->table);
}

const struct unit *engine_erratum_772415(void)
{
    const struct unit *u = units;
    while (u && !(u->usable && u->errata_772415))
        u = u->next;
    return u;
}

int domain_allows_read_only(const struct domain *d)
{
    const struct unit *u = d->nest_parent ? engine_erratum_772415() : NULL;
    return u ? refuse(d->owner, NIDUS_EINVAL, "read-only memory under a first stage: erratum 772415 lets unit %u write to it", u->index) : 0;
}

/* Invalidations -------------------------------------------------------------------------------------- */

/*
 * Unmapping may have split the largest leaf around each end of the range, and a cached large leaf goes only when the invalidation
 * covers all of it: so the range is taken in whole largest leaves.  One block or, when it does not fit one, the domain.
 */
static struct qi_descriptor second_stage_range(const struct unit *u, const struct stage2 *table, uint16_t did, uint64_t addr, uint64_t size)
{
    unsigned order = table->page_sizes & STAGE2_1G ? 18 : table->page_sizes & STAGE2_2M ? 9 : 0;
    uint64_t first = addr / PAGE_SIZE, last = (addr + size - 1) / PAGE_SIZE;
    if ((first ^ last) >> order)
        order = 64 - (unsigned)__builtin_clzll(first ^ last);
    if (!(u->cap & CAP_PSI) || order > field(u->cap, CAP_MAMV))
        return qi_iotlb_domain(did);
    return qi_iotlb_pages(did, first / BIT(order) * BIT(order) * PAGE_SIZE, order);
}

/* On each unit where d is in use.  What is nested on the range is tagged with the DID and IOVAs, and goes with any address of the DID
 * (table 23). */
static int flush(const struct domain *d, uint64_t addr, uint64_t size)
{
    int error = 0;
    for (const struct domain_id *id = d->ids; id; ) {
        struct unit *u = id->unit;
        platform_lock(&u->lock);
        do
            qi_add(u, second_stage_range(u, &d->table, id->did, addr, size));
        while ((id = id->next) && id->unit == u);
        if (u->device_tlbs)
            ats_add_second_stage(u, d);
        error |= qi_finish(u);  /* -EIO or 0 */
        platform_unlock(&u->lock);
    }
    return error;
}

/* Is d in use on a unit in caching mode (CAP.CM: emulated ones)?  They remember absent entries, too. */
static bool absent_are_cached(const struct domain *d)
{
    const struct domain_id *id = d->ids;
    while (id && !(id->unit->cap & CAP_CM))
        id = id->next;
    return id;
}

int engine_domain_map(struct domain *d, uint64_t iova, uint64_t hpa, uint64_t size, unsigned prot)
{
    int error = engine_domain_allows(d, prot);
    if (error)
        return error;
    platform_lock(&d->lock);
    error = stage2_map(&d->table, iova, hpa, size, prot);
    platform_unlock(&d->lock);
    return error || !absent_are_cached(d) ? error : flush(d, iova, size);
}

bool engine_domain_merge(struct domain *d, uint64_t iova, uint64_t size)
{
    struct stage2_freed freed;
    if (d->dirty) /* the smaller the leaves, the more a bitmap tells */
        return false;
    platform_lock(&d->lock);
    bool merged = stage2_merge(&d->table, iova, size, &freed);
    platform_unlock(&d->lock);
    if (merged && !flush(d, iova, size))
        stage2_free(&d->table, &freed); /* else the unit may still walk them, as below */
    return merged;
}

int engine_domain_split(struct domain *d, uint64_t iova, uint64_t size)
{
    platform_lock(&d->lock);
    int error = stage2_split(&d->table, iova, size);
    platform_unlock(&d->lock);
    return error;
}

int engine_domain_unmap(struct domain *d, uint64_t iova, uint64_t size)
{
    struct stage2_freed freed;
    uint64_t unmapped = 0;
    freed.head = NULL;
    freed.merges = 0;
    platform_lock(&d->lock);
    int error = stage2_unmap(&d->table, iova, size, &freed, &unmapped);
    platform_unlock(&d->lock);
    if (error)
        return error;
    if (unmapped && flush(d, iova, size))
        return -NIDUS_EIO; /* the unit may still walk the unlinked tables: they are never used again */
    stage2_free(&d->table, &freed);
    return 0;
}

int engine_domain_dirty(struct domain *d, uint64_t iova, uint64_t *size, bool clear, stage2_sink *sink, void *context)
{
    bool cleared;
    platform_lock(&d->lock);
    *size = stage2_dirty(&d->table, iova, *size, clear, &cleared, sink, context);
    platform_unlock(&d->lock);
    return cleared ? flush(d, iova, *size) : 0;
}

/* First stages --------------------------------------------------------------------------------------- */

int first_stage_check(const struct unit *u, const struct first_stage *f)
{
    struct guest *owner = f->parent->owner;
    unsigned width = unit_address_width(u, f->parent->table.levels);
    if (!f->parent->nest_parent)
        return refuse(owner, NIDUS_EINVAL, "a first stage over a second stage that is no nest parent");
    if (!u->nested)
        return refuse(owner, NIDUS_EOPNOTSUPP, "unit %u has no nested translation (ECAP.NEST=0)", u->index);
    if (f->pgtbl % PAGE_SIZE || f->pgtbl >= BIT(width))
        return refuse(owner, NIDUS_EINVAL, "first-stage table at 0x%llx: not on a page, or beyond %u bits", (ull)f->pgtbl, width);
    if (f->levels != 4 && !(f->levels == 5 && u->cap & CAP_FS5LP))
        return refuse(owner, NIDUS_EINVAL, "first-stage table of %u levels: unit %u cannot walk it", f->levels, u->index);
    if (f->sre && !(u->ecap & ECAP_SRS))
        return refuse(owner, NIDUS_EINVAL, "supervisor requests (SRE): unit %u has none (ECAP.SRS=0)", u->index);
    if (f->eafe && !((u->ecap & ECAP_EAFS) && (u->ecap & ECAP_SMPWCS)))
        return refuse(owner, NIDUS_EINVAL, "extended accessed flag (EAFE): unit %u has none (ECAP.EAFS=0)", u->index);
    /* Same FSPTPTR and SSPTPTR => same FSPM and EAFE, 6.2.3.1: it holds for those that there are, so the first one speaks for all. */
    const struct first_stage *other = f->parent->children;
    while (other && other->pgtbl != f->pgtbl)
        other = other->next;
    if (other && (other->levels != f->levels || other->eafe != f->eafe))
        return refuse(owner, NIDUS_EINVAL, "first-stage table at 0x%llx is in use with other levels or EAFE", (ull)f->pgtbl);
    return 0;
}

int engine_first_stage_init(struct first_stage *f, const struct device *dev)
{
    int error = first_stage_check(dev->unit, f);
    if (error)
        return error;
    f->unit = dev->unit;
    f->next = f->parent->children;
    f->parent->children = f;
    f->parent->users++;
    return 0;
}

void engine_first_stage_fini(struct first_stage *f)
{
    struct first_stage **link = &f->parent->children;
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    f->parent->users--;
}

/* The guest's invalidations -------------------------------------------------------------------------- */

_Static_assert(ENGINE_EVERYTHING > QI_ROOM, "no submission holds so many");

__attribute__((noinline))
static void add_everything(struct unit *u, const struct binding *b)
{
    qi_add(u, qi_first_stage_all(b->id->did, b->pasid));
}

/* What does not fit into what is left of the unit's submission goes as everything. */
static inline void add_iotlb(struct unit *u, const struct binding *b, const struct engine_blocks *blocks)
{
    if (blocks->count + u->qi.added <= QI_ROOM)
        qi_add_blocks(u, b->descriptor, blocks->block, (unsigned)blocks->count);
    else
        add_everything(u, b);
}

static void add_device(const struct device *dev, uint32_t pasid, const struct engine_blocks *blocks)
{
    if (blocks->count >= qi_room(&dev->unit->qi)) { /* a fence may come first */
        ats_add(dev, pasid, 0, QI_ALL);
        return;
    }
    for (unsigned i = 0; i < blocks->count; i++)
        ats_add(dev, pasid, blocks->block[i] & BLOCK_ADDR, (unsigned)field(blocks->block[i], BLOCK_AM));
}

/* For those that use bindings from b to end, of one unit.  Apart: most units have none. */
__attribute__((noinline))
static void add_devices(const struct binding *b, const struct binding *end, const struct engine_blocks *blocks)
{
    for (; b != end; b = b->next)
        for (const struct device *dev = b->id->unit->devices; dev; dev = dev->next)
            if (dev->tlb.on && binding_of(dev, b->pasid) == b)
                add_device(dev, b->pasid, blocks);
}

int engine_invalidate(struct first_stage *f, const struct engine_blocks *blocks)
{
    int error = 0;
    for (const struct binding *b = f->bindings, *end = b; b; b = end) {
        struct unit *u = b->id->unit;
        platform_lock(&u->lock);
        do
            add_iotlb(u, end, blocks);
        while ((end = end->next) && end->id->unit == u);
        if (u->device_tlbs)
            add_devices(b, end, blocks);
        error |= qi_finish(u);  /* -EIO or 0 */
        platform_unlock(&u->lock);
    }
    return error;
}
