/* SPDX-License-Identifier: BSD-2-Clause */
/* items_beyond.c: what no test of Linux's looks at. */
#include <string.h>

#include "guests/conformance/conformance.h"

#define IOVA   0x00007e0000000000ULL
#define BASE   0x40000000ULL
#define PASID  3u
#define ROOM   64u

#define IN_THE_MODEL "it can be seen in the model alone"
#define ONE_UNIT     "QEMU has one remapping unit"

/* What the registers of DMA's and PLAIN's unit say (VT-d spec 11.4.2, 11.4.3). */
static struct nidus_hw_info_vtd unit(void)
{
    struct nidus_hw_info_vtd info = { 0 };

    ok(iommufd_hw_info(ID(DMA), &info));
    return info;
}
#define CAP_FS5LP   (1ULL << 60)
#define ECAP_SC     (1ULL << 7)
#define ECAP_SRS    (1ULL << 31)
#define ECAP_EAFS   (1ULL << 34)
#define ECAP_SMPWCS (1ULL << 48)

/* A page that a device reaches at IOVA through a first stage. */
struct one {
    struct pgtable *t;
    uint32_t parent, hwpt;
    uint8_t *page;
};

static struct one one_over(unsigned device, uint32_t parent)
{
    struct one o = { .t = table_new(), .parent = parent, .page = marked_pages(1) };

    table_set(o.t, IOVA, o.page);
    o.hwpt = nested_new(device, o.parent, o.t);
    ok(iommufd_attach(ID(device), o.hwpt));
    return o;
}

/* Every step of what a guest does, up to the first error. */
static int whole_life(void)
{
    uint32_t ioas, parent = 0, nested[2], queue, channel, paged, viommu, vdevice, veventq;
    uint8_t *page = rig.arena + rig.arena_bytes - M2;
    struct pgtable *t = table_new();
    uint64_t iova = BASE + M2;
    struct nidus_iova_range range[2] = { { BASE, BASE + 2 * M2 - 1 }, { BASE + 4 * M2, BASE + 5 * M2 - 1 } };
    int error = iommufd_ioas_alloc(&ioas);

    for (unsigned i = 0; i < 2; i++) {
        error = error ? error : map(ioas, BASE + i * M2 / 2, page + i * M2 / 2, M2 / 2);
        error = error ? error : iommufd_ioas_allow_iovas(ioas, range, 2);
    }
    error = error ? error : iommufd_hwpt_alloc_paging(ID(DMA), ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_PASID, &parent);
    error = error ? error : iommufd_ioas_copy(ioas, &iova, ioas, BASE, M2, RW);
    for (unsigned i = 0; i < 2; i++)
        error = error ? error : iommufd_hwpt_alloc_nested(ID(DMA), parent, BASE, &nested[i]);
    error = error ? error : iommufd_attach(ID(DMA), parent);
    error = error ? error : iommufd_attach(ID(DMA), rig.default_ioas);
    for (unsigned i = 0; i < 2; i++)
        error = error ? error : iommufd_attach(ID(DMA), nested[i]);
    error = error ? error : iommufd_fault_queue_alloc(&queue, &channel);
    error = error ? error : iommufd_hwpt_alloc_paged(ID(DMA), parent, t->root, NIDUS_HWPT_ALLOC_PASID, queue, &paged);
    error = error ? error : iommufd_attach(ID(DMA), paged);
    error = error ? error : iommufd_attach_pasid(ID(DMA), PASID, paged);
    error = error ? error : iommufd_fault_events(ID(DMA), parent, 1, 4, &viommu, &vdevice, &veventq, &channel);
    return error ? error : iommufd_ioas_unmap(ioas, BASE, M2);
}

static void allocations_fail(void)
{
    uint64_t before;

    ok(whole_life()); /* what is kept for later is there from now on */
    holds(items_tidy());
    before = rig_inside->allocated();
    for (unsigned n = 1; n < 1000; n++) {
        int error;

        rig_inside->fail_allocation(n);
        error = whole_life();
        if (!rig_inside->allocation_failed()) {
            ok(error);
            holds(n > 20);
            rig_inside->fail_allocation(0);
            return;
        }
        is(NIDUS_ENOMEM, error);
        holds(items_tidy());
        holds(rig_inside->allocated() == before);
    }
    holds(false);
}

/* Descriptors (VT-d spec 6.5.2) ---------------------------------------------------------------------------- */

#define IOTLB        2u         /* types, bits 3:0 */
#define DEVICE_TLB   3u
#define FIRST_STAGE  6u
#define TYPE(d)      ((d).word[0] & 0xf)
#define DID(d)       ((d).word[0] >> 16 & 0xffff)
#define PAGES_OF(did, pasid) (FIRST_STAGE | 3u << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define ALL_OF(did, pasid)   (FIRST_STAGE | 2u << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define IH           (1u << 6)

static uint16_t did_of(unsigned device, uint32_t pasid)
{
    uint64_t entry[8];

    rig_inside->pasid_entry(device, pasid, entry);
    return (uint16_t)entry[1];
}

/* The device's invalidation of [addr, + pages) is this one descriptor for the IOTLB, and nothing else but one for a device TLB. */
static bool issues(unsigned device, uint32_t hwpt, uint64_t addr, uint64_t pages, bool leaf, uint64_t low, uint64_t high)
{
    struct descriptor d[ROOM];
    unsigned count;

    rig_inside->descriptors(device, d, ROOM);
    if (iommufd_invalidate_range(hwpt, addr, pages, leaf))
        return false;
    count = rig_inside->descriptors(device, d, ROOM);
    return count == (device == DMA ? 2 : 1) && d[0].word[0] == low && d[0].word[1] == high && d[0].word[2] == 0 && d[0].word[3] == 0 &&
           (count == 1 || TYPE(d[1]) == DEVICE_TLB);
}

static void descriptors(void)
{
    struct one o = one_over(PLAIN, parent_new(NIDUS_HWPT_ALLOC_PASID));
    uint16_t did = did_of(PLAIN, BY_RID);
    struct nidus_hwpt_vtd_s1_invalidate ranges[] = { { IOVA, 1, 0, 0 }, { IOVA + M2, 1, 0, 0 } };
    struct descriptor d[ROOM];
    uint32_t count = 2;

    holds(did != 0);
    holds(issues(PLAIN, o.hwpt, IOVA, 1, true, PAGES_OF(did, 0), IOVA | IH));
    holds(issues(PLAIN, o.hwpt, IOVA, 1, false, PAGES_OF(did, 0), IOVA));
    holds(issues(PLAIN, o.hwpt, IOVA, 4, true, PAGES_OF(did, 0), IOVA | IH | 2));
    holds(issues(PLAIN, o.hwpt, IOVA, 512, true, PAGES_OF(did, 0), IOVA | IH | 9));
    holds(issues(PLAIN, o.hwpt, 0, UINT64_MAX, false, ALL_OF(did, 0), 0));
    ok(iommufd_invalidate(o.hwpt, ranges, &count));
    holds(rig_inside->descriptors(PLAIN, d, ROOM) == 2 && d[0].word[1] == IOVA && d[1].word[1] == IOVA + M2);
    count = 0;
    ok(iommufd_invalidate(o.hwpt, ranges, &count));
    holds(rig_inside->descriptors(PLAIN, d, ROOM) == 0);
    o = one_over(DMA, o.parent);
    holds(did_of(DMA, BY_RID) != did);
    holds(issues(DMA, o.hwpt, IOVA, 1, true, PAGES_OF(did_of(DMA, BY_RID), 0), IOVA | IH));
}

/* PASID-table entries (9.6) -------------------------------------------------------------------------------- */

#define P        (1ULL << 0)
#define AW_4     (2ULL << 2)
#define SECOND   (2ULL << 6)    /* PGTT */
#define NESTED   (3ULL << 6)
#define SSADE    (1ULL << 9)
#define PWSNP    (1ULL << 23)
#define PGSNP    (1ULL << 24)
#define SRE      (1ULL << 0)
#define WPE      (1ULL << 4)
#define LOW      0xfffULL
#define DID_MASK 0xffffULL

static bool entry_is(unsigned device, uint32_t pasid, uint64_t low, uint64_t first_stage)
{
    struct nidus_hw_info_vtd u = unit();
    uint64_t e[8], snoop = (u.ecap_reg & ECAP_SMPWCS ? PWSNP : 0) | (u.ecap_reg & ECAP_SC ? PGSNP : 0);

    rig_inside->pasid_entry(device, pasid, e);
    return (e[0] & LOW) == low && (e[0] & ~LOW) != 0 && (e[1] & DID_MASK) != 0 && (e[1] & ~DID_MASK) == snoop && e[2] == first_stage &&
           (e[3] | e[4] | e[5] | e[6] | e[7]) == 0;
}

static void entry_bits(void)
{
    uint32_t parent = parent_new(NIDUS_HWPT_ALLOC_PASID);
    struct one o = one_over(DMA, parent);
    static const struct { uint64_t flags, bits; } tries[] = {
        { NIDUS_VTD_S1_SRE, SRE }, { NIDUS_VTD_S1_SRE | NIDUS_VTD_S1_WPE, SRE | WPE }, { 0, 0 }, { NIDUS_VTD_S1_WPE, 0 },
    };

    holds(entry_is(DMA, BY_RID, P | AW_4 | NESTED, o.t->root));
    ok(iommufd_attach(ID(PLAIN), o.hwpt));
    holds(entry_is(PLAIN, BY_RID, P | AW_4 | NESTED, o.t->root));
    holds(did_of(DMA, BY_RID) == did_of(PLAIN, BY_RID)); /* the same tables */
    ok(iommufd_attach(ID(PLAIN), parent));
    holds(entry_is(PLAIN, BY_RID, P | AW_4 | SECOND, 0));
    holds(did_of(DMA, BY_RID) != did_of(PLAIN, BY_RID));
    for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        struct nidus_hwpt_vtd_s1 data = { .flags = tries[i].flags, .pgtbl_addr = o.t->root, .addr_width = 48 };
        struct nidus_hwpt_alloc call = nested_call(DMA, parent, &data);

        holds(unit().ecap_reg & ECAP_SRS);
        ok(hwpt_alloc(&call));
        ok(iommufd_attach(ID(DMA), call.out_hwpt_id));
        holds(entry_is(DMA, BY_RID, P | AW_4 | NESTED, o.t->root | tries[i].bits));
    }
    ok(iommufd_detach(ID(DMA)));
    holds(did_of(DMA, BY_RID) == 0 && entry_is(PLAIN, BY_RID, P | AW_4 | SECOND, 0));
}

/* The unit fetches an entry in pieces, at any time (6.2.3.1). */
static void p_ordering(void)
{
    uint32_t nested = nested_new(DMA, parent_new(0), table_new());
    uint64_t seen[ROOM][8], entry[8], zero[8] = { 0 };
    unsigned count, i = 0;

    rig_inside->stores(DMA, BY_RID, seen, ROOM);
    ok(iommufd_attach(ID(DMA), nested));
    rig_inside->pasid_entry(DMA, BY_RID, entry);
    count = rig_inside->stores(DMA, BY_RID, seen, ROOM);
    while (i < count && !(seen[i][0] & P))
        i++;
    holds(i > 0 && i < count); /* not in one store: it has four pieces */
    for (; i < count; i++) /* whoever sees P sees all of it */
        holds(memcmp(seen[i], entry, sizeof(entry)) == 0);
    ok(iommufd_detach(ID(DMA)));
    count = rig_inside->stores(DMA, BY_RID, seen, ROOM);
    entry[0] &= ~P;
    holds(count > 1 && memcmp(seen[0], entry, sizeof(entry)) == 0); /* P alone goes, */
    for (i = 0; i < count; i++)
        holds(!(seen[i][0] & P));
    holds(memcmp(seen[count - 1], zero, sizeof(zero)) == 0); /* and at last the rest */
}

/* Replace by a first stage of another parent, and by one of the same: in each state a complete entry, of the old table or the new, or none. */
static void replace_stores(void)
{
    struct one o = one_over(DMA, parent_new(0));
    uint32_t next[2];
    uint64_t seen[ROOM][8], old[8], new[8];

    next[0] = nested_new(DMA, o.parent, table_new());
    next[1] = nested_new(DMA, parent_new(0), table_new());
    for (unsigned k = 0; k < 2; k++) {
        unsigned count;

        rig_inside->stores(DMA, BY_RID, seen, ROOM);
        rig_inside->pasid_entry(DMA, BY_RID, old);
        ok(iommufd_attach(ID(DMA), next[k]));
        rig_inside->pasid_entry(DMA, BY_RID, new);
        count = rig_inside->stores(DMA, BY_RID, seen, ROOM);
        holds(count > 0 && memcmp(old, new, sizeof(new)) != 0);
        for (unsigned i = 0; i < count; i++)
            if (seen[i][0] & P)
                holds((seen[i][2] == old[2] || seen[i][2] == new[2]) &&
                      ((seen[i][0] >> 12 == old[0] >> 12) || (seen[i][0] >> 12 == new[0] >> 12)));
        if (k == 0) /* no gap under the same parent */
            for (unsigned i = 0; i < count; i++)
                holds(seen[i][0] & P);
    }
}

/* HWPT_INVALIDATE, HWPT_ALLOC: what Linux lets pass ------------------------------------------------------------ */

/* Differs: Linux takes these. */
static void odd_ranges(void)
{
    struct one o = one_over(DMA, parent_new(0));
    static const struct nidus_hwpt_vtd_s1_invalidate odd[] = {
        { IOVA, 0, 0, 0 }, { 0, 0, 0, 0 }, { 0xfffffffffffff000, 2, 0, 0 }, { IOVA, 1ULL << 52, 0, 0 }, { 0, UINT64_MAX - 1, 0, 0 },
        { K4, (1ULL << 52), 0, 0 },
    };

    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct nidus_hwpt_vtd_s1_invalidate ranges[2] = { { IOVA, 1, 0, 0 }, odd[i] };
        uint32_t count = 2;

        is(NIDUS_EINVAL, iommufd_invalidate(o.hwpt, ranges, &count));
        holds(count == 1);
    }
    ok(iommufd_invalidate_range(o.hwpt, 0xfffffffffffff000, 1, false));
    ok(iommufd_invalidate_range(o.hwpt, 0, 1ULL << 52, false)); /* that is everything, too */
}

/* Differs: Linux looks at these at attach, or never. */
static void odd_first_stages(void)
{
    uint64_t root = table_new()->root;
    uint32_t parent = parent_new(0), hwpt;
    struct nidus_hwpt_vtd_s1 five = { .pgtbl_addr = root, .addr_width = 57 };
    struct nidus_hwpt_alloc wide = nested_call(DMA, parent, &five);
    const struct { struct nidus_hwpt_vtd_s1 data; int want; } tries[] = {
        { { 0, root, 48, 0 }, 0 },
        { { 0, root, 48, 1 }, NIDUS_EOPNOTSUPP },
        { { 1u << 3, root, 48, 0 }, NIDUS_EOPNOTSUPP },
        { { 1ULL << 63, root, 48, 0 }, NIDUS_EOPNOTSUPP },
        { { 0, root + 8, 48, 0 }, NIDUS_EINVAL },
        { { 0, root | 1, 48, 0 }, NIDUS_EINVAL },
        { { 0, 1ULL << 52, 48, 0 }, NIDUS_EINVAL },
        { { 0, root, 39, 0 }, NIDUS_EINVAL },
        { { 0, root, 0, 0 }, NIDUS_EINVAL },
        { { 0, root, 57, 0 }, unit().cap_reg & CAP_FS5LP ? 0 : NIDUS_EINVAL },
        { { NIDUS_VTD_S1_SRE, root, 48, 0 }, unit().ecap_reg & ECAP_SRS ? 0 : NIDUS_EINVAL },
        { { NIDUS_VTD_S1_EAFE, root, 48, 0 }, unit().ecap_reg & ECAP_EAFS ? 0 : NIDUS_EINVAL },
    };

    for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        struct nidus_hwpt_vtd_s1 data = tries[i].data;
        struct nidus_hwpt_alloc call = nested_call(DMA, parent, &data);

        is(tries[i].want, hwpt_alloc(&call));
        if (tries[i].want == 0)
            ok(iommufd_destroy(call.out_hwpt_id));
        call = nested_call(DMA, parent, &data);
        call.reserved2 = 1;
        is(NIDUS_EOPNOTSUPP, hwpt_alloc(&call));
    }
    /* Another width of a table that is there, too: the unit may mix what it has cached of them. */
    ok(iommufd_hwpt_alloc_nested(ID(DMA), parent, root, &hwpt));
    is(NIDUS_EINVAL, hwpt_alloc(&wide));
    ok(iommufd_destroy(hwpt));
    is(unit().cap_reg & CAP_FS5LP ? 0 : NIDUS_EINVAL, hwpt_alloc(&wide));
}

/* The table, its owner and the device are well; the device lacks what the new HWPT needs. */
static void failed_replace(void)
{
    uint32_t queue, channel, paged;
    struct one o = one_over(PLAIN, parent_new(0));

    ok(iommufd_fault_queue_alloc(&queue, &channel));
    ok(iommufd_hwpt_alloc_paged(ID(PLAIN), o.parent, table_new()->root, 0, queue, &paged));
    is(NIDUS_ENODEV, iommufd_attach(ID(PLAIN), paged));
    holds(reads(PLAIN, BY_RID, IOVA, o.page) && writes(PLAIN, BY_RID, IOVA, o.page));
    ok(iommufd_invalidate_all(o.hwpt));
    holds(reads(PLAIN, BY_RID, IOVA, o.page));
    is(NIDUS_EBUSY, iommufd_destroy(o.hwpt));
    ok(iommufd_destroy(paged));
}

/* A nest parent of its own IOAS, which has the arena's memory at IOVA = GPA in two areas: all but the last 2 MiB, and those. */
struct own {
    uint32_t ioas, parent;
    uint8_t *last;
};

static struct own own_new(uint32_t flags)
{
    struct own o = { .ioas = space_new(), .last = rig.arena + rig.arena_bytes - M2 };

    ok(iommufd_ioas_huge_pages(o.ioas, false));
    ok(map(o.ioas, gpa(rig.arena), rig.arena, rig.arena_bytes - M2));
    ok(map(o.ioas, gpa(o.last), o.last, M2));
    o.parent = paging_new(DMA, o.ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | flags);
    return o;
}

/* What a first stage leads to is forgotten with the second stage's page, by each DID that was used for it. */
static void unmap_drops_nested(void)
{
    struct own own = own_new(NIDUS_HWPT_ALLOC_PASID);
    struct one o = one_over(DMA, own.parent), other = one_over(PLAIN, own.parent);
    struct descriptor d[ROOM];
    unsigned count, found = 0;
    uint64_t bytes;

    table_set(o.t, IOVA + M2, own.last);
    table_set(other.t, IOVA + M2, own.last);
    memcpy(own.last, o.page, K4);
    holds(reads(DMA, BY_RID, IOVA + M2, own.last) && reads(PLAIN, BY_RID, IOVA + M2, own.last));
    if (rig_inside)
        rig_inside->descriptors(DMA, d, ROOM);
    ok(unmap(own.ioas, gpa(own.last), M2, &bytes));
    holds(refused(DMA, BY_RID, IOVA + M2) && refused(PLAIN, BY_RID, IOVA + M2));
    holds(reads(DMA, BY_RID, IOVA, o.page) && reads(PLAIN, BY_RID, IOVA, other.page));
    count = rig_inside ? rig_inside->descriptors(DMA, d, ROOM) : 0;
    for (unsigned i = 0; i < count; i++)
        if (TYPE(d[i]) == IOTLB)
            found |= (DID(d[i]) == did_of(DMA, BY_RID)) | (DID(d[i]) == did_of(PLAIN, BY_RID)) << 1;
    holds(!rig_inside || found == 3);
    memset(own.last, 0, K4);
}

/* Does the parent tell that the page was written, through the first stage? */
static bool told(const struct own *own, const struct one *o)
{
    uint8_t bit = 0;

    if (!writes(DMA, BY_RID, IOVA, o->page) || iommufd_dirty_bitmap(own->parent, gpa(o->page), K4, true, &bit) || bit != 1)
        return false;
    bit = 0;
    return iommufd_dirty_bitmap(own->parent, gpa(o->page), K4, true, &bit) == 0 && bit == 0;
}

/* Whether the first stage was attached before tracking began or after. */
static void ssade(void)
{
    struct own own = own_new(NIDUS_HWPT_ALLOC_DIRTY_TRACKING);
    struct one o = one_over(DMA, own.parent);

    ok(iommufd_dirty_tracking(own.parent, true));
    holds(told(&own, &o));
    holds(!rig_inside || entry_is(DMA, BY_RID, P | AW_4 | NESTED | SSADE, o.t->root));
    o = one_over(DMA, own.parent);
    holds(told(&own, &o));
    holds(!rig_inside || entry_is(DMA, BY_RID, P | AW_4 | NESTED | SSADE, o.t->root));
    ok(iommufd_dirty_tracking(own.parent, false));
    holds(!rig_inside || entry_is(DMA, BY_RID, P | AW_4 | NESTED, o.t->root));
    holds(reads(DMA, BY_RID, IOVA, o.page));
}

/* Each unit's tables are its own. */
static void unlike_units(void)
{
    uint8_t *page = marked_pages(2);
    uint32_t ioas, four, three, automatic[2];
    uint64_t bytes;

    ok(iommufd_ioas_alloc(&ioas));
    for (unsigned i = 0; i < DEVICES; i++)
        ok(map(ioas, BASE + i * M2, rig.own[i], 2 * K4));
    ok(map(ioas, BASE - M2, page, K4));
    four = paging_new(DMA, ioas, 0);
    three = paging_new(SHORT, ioas, 0);
    is(NIDUS_EINVAL, iommufd_attach(ID(SHORT), four)); /* more levels than its unit has: no level is left out */
    ok(iommufd_attach(ID(SHORT), three));
    is(NIDUS_EINVAL, map(ioas, 1ULL << 40, page, K4)); /* beyond what one of them reaches */
    ok(iommufd_detach(ID(SHORT)));
    ok(attach_raw(DMA, ioas, BY_RID, &automatic[0]));
    ok(attach_raw(SHORT, ioas, BY_RID, &automatic[1]));
    holds(automatic[0] != automatic[1]);
    ok(unmap(ioas, BASE - M2, K4, &bytes));
    holds(bytes == K4);
}

/* 772415: in force here, by nidus.conf. */
static void errata(void)
{
    uint32_t plain = space_new(), parent = space_new(), hwpt;
    uint8_t *page = marked_pages(1);
    uint64_t iova = BASE, bytes;

    holds(unit().flags == NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17);
    paging_new(DMA, plain, 0);
    ok(iommufd_ioas_map(plain, BASE, gpa(page), K4, RO));
    is(NIDUS_EINVAL, iommufd_hwpt_alloc_paging(ID(DMA), plain, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt));
    hwpt = paging_new(DMA, parent, NIDUS_HWPT_ALLOC_NEST_PARENT);
    is(NIDUS_EINVAL, iommufd_ioas_map(parent, BASE, gpa(page), K4, RO));
    is(NIDUS_EINVAL, iommufd_ioas_copy(parent, &iova, plain, BASE, K4, RO | NIDUS_IOAS_MAP_FIXED_IOVA));
    is(NIDUS_ENOENT, unmap(parent, BASE, K4, &bytes)); /* nothing came of it */
    ok(iommufd_ioas_map(parent, BASE, gpa(page), K4, NIDUS_IOAS_MAP_WRITEABLE));
    ok(iommufd_destroy(hwpt));
    ok(iommufd_ioas_map(parent, BASE + K4, gpa(page), K4, RO));
}

ITEMS(items_beyond) = {
    { 91, "whichever allocation fails: ENOMEM, and nothing is left", allocations_fail, "an allocation of nidus cannot be made to fail" },
    { 92, "HWPT_INVALIDATE is one descriptor of type 6 for a range or for all, with DID, PASID, IH and AM", descriptors, IN_THE_MODEL },
    { 93, "a PASID entry has the bits of its table, and no others", entry_bits, IN_THE_MODEL },
    { 94, "P is set last and cleared first", p_ordering, IN_THE_MODEL },
    { 95, "in a replace each present entry is of the old table or the new", replace_stores, IN_THE_MODEL },
    { 96, "npages 0, and a range beyond the end, are EINVAL", odd_ranges, NULL },
    { 97, "a first stage is looked at when its HWPT is made", odd_first_stages, NULL },
    { 98, "a replace that fails after the table was found good keeps the old one", failed_replace, NULL },
    { 99, "unmap in the second stage reaches what is nested over it", unmap_drops_nested, NULL },
    { 100, "a first stage over a parent that tracks is tracked, whichever came first", ssade, NULL },
    { 101, "a second stage with more levels than the unit has is EINVAL; an IOAS has a table for each kind", unlike_units, ONE_UNIT },
    { 102, "erratum 772415: no read-only mapping in a nest parent, whichever came first", errata, NULL },
    ITEMS_END
};
