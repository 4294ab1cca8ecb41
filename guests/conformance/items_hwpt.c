/* SPDX-License-Identifier: BSD-2-Clause */
/* items_hwpt.c: HWPT_ALLOC of first stages, HWPT_INVALIDATE, attach and replace. */
#include <string.h>

#include "guests/conformance/conformance.h"

#define NOBODY 0x7ffffff0u      /* an id that nothing has */
#define IOVA   0x00007e0000000000ULL
#define UNKNOWN_TYPE 0x99u

static uint32_t fault_queue(uint32_t *channel)
{
    uint32_t queue;

    ok(iommufd_fault_queue_alloc(&queue, channel));
    return queue;
}

/* HWPT_ALLOC (alloc_hwpt_nested) --------------------------------------------------------------------------- */

static int alloc_paging(uint32_t device, uint32_t pt, uint32_t flags)
{
    uint32_t hwpt;

    return iommufd_hwpt_alloc_paging(device, pt, flags, &hwpt);
}

static int alloc_nested(uint32_t device, uint32_t pt)
{
    uint32_t hwpt;

    return iommufd_hwpt_alloc_nested(device, pt, table_new()->root, &hwpt);
}

static void device_is_an_ioas(void)
{
    uint32_t ioas = space_new();

    is(NIDUS_ENOENT, alloc_paging(ioas, ioas, NIDUS_HWPT_ALLOC_NEST_PARENT));
    is(NIDUS_ENOENT, alloc_nested(ioas, parent_new(0)));
}

static void pt_is_a_device(void)
{
    is(NIDUS_EINVAL, alloc_paging(ID(DMA), ID(DMA), NIDUS_HWPT_ALLOC_NEST_PARENT));
    is(NIDUS_EINVAL, alloc_paging(ID(DMA), NOBODY, 0)); /* what does not exist, too */
}

static void parent_with_faults(void)
{
    uint32_t channel;
    struct nidus_hwpt_alloc call = {
        .flags = NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_FAULT_ID_VALID, .dev_id = ID(DMA), .pt_id = rig.default_ioas,
        .fault_id = fault_queue(&channel),
    };

    is(NIDUS_EOPNOTSUPP, hwpt_alloc(&call));
}

static void parent_and_plain(void)
{
    ok(alloc_paging(ID(DMA), rig.default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT));
    ok(alloc_paging(ID(DMA), rig.default_ioas, 0));
    is(NIDUS_EOPNOTSUPP, alloc_paging(ID(DMA), rig.default_ioas, 1u << 31));
}

/* One thing about the data of a first stage is wrong. */
static int nested_with(uint32_t type, uint32_t length, bool null, uint32_t flags)
{
    struct nidus_hwpt_vtd_s1 data[2] = { { .pgtbl_addr = table_new()->root, .addr_width = 48 } };
    struct nidus_hwpt_alloc call = nested_call(DMA, parent_new(0), data);

    call.data_type = type;
    call.data_len = length;
    call.data_uptr = null ? 0 : call.data_uptr;
    call.flags = flags;
    return hwpt_alloc(&call);
}

static void no_type_but_data(void)
{
    is(NIDUS_EINVAL, nested_with(NIDUS_HWPT_DATA_NONE, sizeof(struct nidus_hwpt_vtd_s1), false, 0));
    is(NIDUS_EINVAL, nested_with(NIDUS_HWPT_DATA_VTD_S1, 0, false, 0));
}

static void unknown_type(void)
{
    is(NIDUS_EOPNOTSUPP, nested_with(UNKNOWN_TYPE, sizeof(struct nidus_hwpt_vtd_s1), false, 0));
    is(NIDUS_EOPNOTSUPP, nested_with(NIDUS_HWPT_DATA_VTD_S1 + 1, sizeof(struct nidus_hwpt_vtd_s1), false, 0));
}

static void wrong_length(void)
{
    is(NIDUS_EINVAL, nested_with(NIDUS_HWPT_DATA_VTD_S1, sizeof(struct nidus_hwpt_vtd_s1) - 1, false, 0));
    is(NIDUS_EINVAL, nested_with(NIDUS_HWPT_DATA_VTD_S1, sizeof(struct nidus_hwpt_vtd_s1) + 1, false, 0));
}

static void data_at_null(void)
{
    is(NIDUS_EFAULT, nested_with(NIDUS_HWPT_DATA_VTD_S1, sizeof(struct nidus_hwpt_vtd_s1), true, 0));
}

static void nested_as_parent(void)
{
    is(NIDUS_EOPNOTSUPP, nested_with(NIDUS_HWPT_DATA_VTD_S1, sizeof(struct nidus_hwpt_vtd_s1), false, NIDUS_HWPT_ALLOC_NEST_PARENT));
    is(NIDUS_EOPNOTSUPP, nested_with(NIDUS_HWPT_DATA_VTD_S1, sizeof(struct nidus_hwpt_vtd_s1), false, NIDUS_HWPT_ALLOC_DIRTY_TRACKING));
}

static void nested_on_plain(void)
{
    is(NIDUS_EINVAL, alloc_nested(ID(DMA), paging_new(DMA, rig.default_ioas, 0)));
}

static void two_nested(void)
{
    uint32_t parent = parent_new(0);

    ok(alloc_nested(ID(DMA), parent));
    ok(alloc_nested(ID(DMA), parent));
}

static void bad_fault_id(void)
{
    uint32_t parent = parent_new(0), hwpt;

    is(NIDUS_ENOENT, iommufd_hwpt_alloc_paged(ID(DMA), parent, table_new()->root, 0, NOBODY, &hwpt));
    is(NIDUS_ENOENT, iommufd_hwpt_alloc_paged(ID(DMA), parent, table_new()->root, 0, parent, &hwpt));
    ok(iommufd_destroy(parent)); /* nothing is left that refers to it */
}

static void nested_with_faults(void)
{
    uint32_t channel, queue = fault_queue(&channel), hwpt;

    ok(iommufd_hwpt_alloc_paged(ID(DMA), parent_new(0), table_new()->root, 0, queue, &hwpt));
    is(NIDUS_EBUSY, iommufd_destroy(queue));
    ok(iommufd_destroy(hwpt));
    ok(iommufd_destroy(queue));
}

/* Linux's mock of a cache holds a known value at first.  Here: nothing is cached of a table that another HWPT had before. */
static void fresh_nested(void)
{
    uint8_t *page = marked_pages(2);
    struct pgtable *t = table_new();
    uint32_t parent = parent_new(0), hwpt = nested_new(DMA, parent, t);

    table_set(t, IOVA, page);
    ok(iommufd_attach(ID(DMA), hwpt));
    holds(reads(DMA, BY_RID, IOVA, page));
    ok(iommufd_detach(ID(DMA)));
    ok(iommufd_destroy(hwpt));
    table_set(t, IOVA, page + K4);
    ok(iommufd_attach(ID(DMA), nested_new(DMA, parent, t)));
    holds(reads(DMA, BY_RID, IOVA, page + K4));
}

static void nested_on_nested(void)
{
    is(NIDUS_EINVAL, alloc_nested(ID(DMA), nested_new(DMA, parent_new(0), table_new())));
}

static void busy_parent(void)
{
    uint32_t parent = parent_new(0), nested = nested_new(DMA, parent, table_new());

    is(NIDUS_EBUSY, iommufd_destroy(parent));
    ok(iommufd_destroy(nested));
    ok(iommufd_destroy(parent));
}

/* HWPT_INVALIDATE ------------------------------------------------------------------------------------------ */

typedef struct nidus_hwpt_vtd_s1_invalidate entry;

/* A first stage whose first pages the device has used, so that they are cached, and that then changed. */
#define SLOTS 4u
struct cached {
    struct pgtable *t;
    uint32_t parent, hwpt;
    uint8_t *old, *new;
};

static struct cached cached_new(void)
{
    struct cached c = { .t = table_new(), .parent = parent_new(0), .old = marked_pages(SLOTS), .new = marked_pages(SLOTS) };

    c.hwpt = nested_new(DMA, c.parent, c.t);
    ok(iommufd_attach(ID(DMA), c.hwpt));
    for (unsigned i = 0; i < SLOTS; i++)
        table_set(c.t, IOVA + i * K4, c.old + i * K4);
    for (unsigned i = 0; i < SLOTS; i++)
        holds(reads(DMA, BY_RID, IOVA + i * K4, c.old + i * K4));
    for (unsigned i = 0; i < SLOTS; i++)
        table_set(c.t, IOVA + i * K4, c.new + i * K4);
    return c;
}

/* What was cached still holds, where the hardware keeps it. */
static bool kept(unsigned device, uint64_t iova, const void *old, const void *new)
{
    return reads(device, BY_RID, iova, old) || (!rig.keeps && reads(device, BY_RID, iova, new));
}

/* The first `count` slots are as the table has them now; the others were not touched. */
static bool flushed(const struct cached *c, unsigned count)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        uint8_t *old = c->old + i * K4, *new = c->new + i * K4;

        if (i < count ? !reads(DMA, BY_RID, IOVA + i * K4, new) : !kept(DMA, IOVA + i * K4, old, new))
            return false;
    }
    return true;
}

static entry slot(unsigned i)
{
    return (entry){ .addr = IOVA + i * K4, .npages = 1, .flags = NIDUS_VTD_INV_LEAF };
}

static struct nidus_hwpt_invalidate invalidation(uint32_t hwpt, const entry *entries, uint32_t count)
{
    return (struct nidus_hwpt_invalidate){
        .size = sizeof(struct nidus_hwpt_invalidate), .hwpt_id = hwpt, .data_uptr = gpa(entries), .entry_len = sizeof(*entries),
        .data_type = NIDUS_HWPT_INVALIDATE_DATA_VTD_S1, .entry_num = count,
    };
}

/* The answer is `want`, and `done` entries were handled. */
static void invalidates(struct nidus_hwpt_invalidate call, int want, uint32_t done)
{
    is(want, nidus_call(NIDUS_CALL_HWPT_INVALIDATE, &call, 0));
    holds(call.entry_num == done);
}

static void on_parent(void)
{
    struct cached c = cached_new();
    entry e = slot(0);

    invalidates(invalidation(c.parent, &e, 1), NIDUS_EINVAL, 0);
    invalidates(invalidation(rig.default_ioas, &e, 1), NIDUS_EINVAL, 0);
    invalidates(invalidation(NOBODY, &e, 1), NIDUS_ENOENT, 0);
    holds(flushed(&c, 0));
}

static void no_entries(void)
{
    struct cached c = cached_new();

    invalidates(invalidation(c.hwpt, NULL, 0), 0, 0);
    holds(flushed(&c, 0));
}

/* What is wrong with the call, one at a time; the entry is good. */
static void refuses(int want, void (*spoil)(struct nidus_hwpt_invalidate *call, entry *e))
{
    struct cached c = cached_new();
    entry *e = pages(4); /* room for as many as nidus reads at a time */
    struct nidus_hwpt_invalidate call = invalidation(c.hwpt, e, 1);

    *e = slot(0);
    spoil(&call, e);
    invalidates(call, want, 0);
    holds(flushed(&c, 0));
}

static void spoil_type(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->data_type = 1; }
static void spoil_long(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->entry_len++; }
static void spoil_short(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->entry_len = 1; }
static void spoil_flags(struct nidus_hwpt_invalidate *call, entry *e) { (void)call, e->flags = UINT32_MAX; }
static void spoil_data(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->data_uptr = 0; }
static void spoil_length(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->entry_len = 0; }
static void spoil_reserved(struct nidus_hwpt_invalidate *call, entry *e) { (void)call, e->reserved = 1; }
static void spoil_call(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->reserved = 1; }
static void spoil_address(struct nidus_hwpt_invalidate *call, entry *e) { (void)call, e->addr += 8; }
static void spoil_all(struct nidus_hwpt_invalidate *call, entry *e) { (void)call, e->npages = UINT64_MAX; }
static void spoil_huge_length(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->entry_len = 4097; }
static void spoil_count(struct nidus_hwpt_invalidate *call, entry *e) { (void)e, call->entry_num = (1u << 19) + 1; }

static void bad_type(void) { refuses(NIDUS_EINVAL, spoil_type); }
static void entry_too_long(void) { refuses(NIDUS_EINVAL, spoil_long); }
static void entry_too_short(void) { refuses(NIDUS_EINVAL, spoil_short); }
static void data_null(void) { refuses(NIDUS_EINVAL, spoil_data); }
static void length_zero(void) { refuses(NIDUS_EINVAL, spoil_length); }

static void bad_flags(void)
{
    refuses(NIDUS_EOPNOTSUPP, spoil_flags);
    refuses(NIDUS_EOPNOTSUPP, spoil_reserved);
    refuses(NIDUS_EOPNOTSUPP, spoil_call);
}

/* Linux's mock has ids in its entries; VT-d's have an address, which is wrong in as many ways. */
static void bad_entry(void)
{
    refuses(NIDUS_EINVAL, spoil_address);
    refuses(NIDUS_EINVAL, spoil_all);
}

static void second_is_bad(int want, uint32_t flags, uint64_t offset)
{
    struct cached c = cached_new();
    entry e[2] = { slot(0), slot(1) };

    e[1].flags |= flags;
    e[1].addr += offset;
    invalidates(invalidation(c.hwpt, e, 2), want, 1);
    holds(flushed(&c, 1));
}

static void second_flags(void) { second_is_bad(NIDUS_EOPNOTSUPP, UINT32_MAX, 0); }
static void second_entry(void) { second_is_bad(NIDUS_EINVAL, 0, 8); }

static void first_entries(uint32_t count)
{
    struct cached c = cached_new();
    entry e[SLOTS] = { slot(0), slot(1), slot(2), slot(3) };

    invalidates(invalidation(c.hwpt, e, count), 0, count);
    holds(flushed(&c, count));
}

static void one_entry(void) { first_entries(1); }
static void two_entries(void) { first_entries(2); }

/* All of one HWPT goes, and nothing of another that a device uses meanwhile. */
static void everything(void)
{
    struct cached c = cached_new();
    uint8_t *page = marked_pages(2);
    struct pgtable *t = table_new();
    uint32_t other = nested_new(PLAIN, c.parent, t);

    table_set(t, IOVA, page);
    ok(iommufd_attach(ID(PLAIN), other));
    holds(reads(PLAIN, BY_RID, IOVA, page));
    table_set(t, IOVA, page + K4);
    ok(iommufd_invalidate_all(c.hwpt));
    holds(flushed(&c, SLOTS));
    holds(kept(PLAIN, IOVA, page, page + K4));
    ok(iommufd_invalidate_all(other));
    holds(reads(PLAIN, BY_RID, IOVA, page + K4));
}

/* The greatest number of entries is looked at: the first of them is bad.  (The greatest entry_len is longer than VT-d's.) */
static void bounds(void)
{
    struct cached c = cached_new();
    entry *e = pages(4);

    refuses(NIDUS_EINVAL, spoil_huge_length);
    refuses(NIDUS_EINVAL, spoil_count);
    e->flags = UINT32_MAX;
    invalidates(invalidation(c.hwpt, e, 1u << 19), NIDUS_EOPNOTSUPP, 0);
}

/* Attach and replace --------------------------------------------------------------------------------------- */

/* Two first stages over one parent that have unlike pages at IOVA. */
struct pair {
    uint32_t parent, hwpt[2];
    uint8_t *page[2];
};

static struct pair pair_new(void)
{
    struct pair p = { .parent = parent_new(0) };

    for (unsigned i = 0; i < 2; i++) {
        struct pgtable *t = table_new();

        p.page[i] = marked_pages(1);
        table_set(t, IOVA, p.page[i]);
        p.hwpt[i] = nested_new(DMA, p.parent, t);
    }
    return p;
}

static void replace_to_nested(void)
{
    struct pair p = pair_new();

    ok(iommufd_attach(ID(DMA), p.parent));
    ok(iommufd_attach(ID(DMA), p.hwpt[0]));
    holds(reads(DMA, BY_RID, IOVA, p.page[0]));
    is(NIDUS_EBUSY, iommufd_destroy(p.hwpt[0]));
}

static void nested_to_nested(void)
{
    struct pair p = pair_new();

    ok(iommufd_attach(ID(DMA), p.hwpt[0]));
    holds(reads(DMA, BY_RID, IOVA, p.page[0]));
    ok(iommufd_attach(ID(DMA), p.hwpt[1]));
    holds(reads(DMA, BY_RID, IOVA, p.page[1]));
    ok(iommufd_destroy(p.hwpt[0]));
    is(NIDUS_EBUSY, iommufd_destroy(p.hwpt[1]));
}

/* One page request: read, answered; the device hears it. */
static void one_fault(uint32_t code, enum asked want)
{
    uint32_t channel, queue = fault_queue(&channel), hwpt, count = 1, bytes = sizeof(struct nidus_hwpt_pgfault);
    struct nidus_hwpt_page_response response = { .code = code };
    struct nidus_hwpt_pgfault fault = { 0 };
    struct pgtable *t = table_new();
    uint8_t *page = marked_pages(1);

    ok(iommufd_hwpt_alloc_paged(ID(DMA), parent_new(0), t->root, 0, queue, &hwpt));
    ok(iommufd_attach(ID(DMA), nested_new(DMA, parent_new(0), table_new())));
    ok(iommufd_attach(ID(DMA), hwpt));
    rig_ask(BY_RID, IOVA);
    holds(rig_wait(channel));
    ok(iommufd_event_read(channel, &fault, &bytes));
    holds(bytes == sizeof(fault) && fault.dev_id == ID(DMA) && fault.addr == IOVA);
    holds((fault.flags & NIDUS_PGFAULT_FLAGS_LAST_PAGE) && !(fault.flags & NIDUS_PGFAULT_FLAGS_PASID_VALID));
    holds(fault.perm & NIDUS_PGFAULT_PERM_WRITE && fault.length == 0);
    table_set(t, IOVA, page);
    response.cookie = fault.cookie;
    ok(iommufd_page_response(channel, &response, &count));
    holds(count == 1);
    holds(rig_asked() == want);
    is(NIDUS_EINVAL, iommufd_page_response(channel, &response, &count)); /* it is answered once */
}

static void fault_answered(void)
{
    one_fault(NIDUS_PAGE_RESP_SUCCESS, ASKED_DONE);
    ok(iommufd_detach(ID(DMA)));
    one_fault(NIDUS_PAGE_RESP_INVALID, ASKED_INVALID);
}

static void back_to_the_ioas(void)
{
    struct pair p = pair_new();

    ok(iommufd_attach(ID(DMA), p.hwpt[0]));
    ok(iommufd_attach(ID(DMA), p.parent));
    holds(reads(DMA, BY_RID, gpa(p.page[0]), p.page[0]));
    ok(iommufd_destroy(p.hwpt[0]));
    ok(iommufd_destroy(p.hwpt[1]));
    is(NIDUS_EBUSY, iommufd_destroy(p.parent));
    ok(iommufd_attach(ID(DMA), rig.default_ioas));
    ok(iommufd_destroy(p.parent));
    holds(reads(DMA, BY_RID, gpa(p.page[0]), p.page[0]));
}

static void without_device(void)
{
    uint32_t parent = parent_new(0);
    static const uint32_t nobody[] = { 0, NOBODY };

    for (unsigned i = 0; i < 2; i++) {
        is(NIDUS_ENOENT, alloc_paging(nobody[i], rig.default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT));
        is(NIDUS_ENOENT, alloc_nested(nobody[i], parent));
        is(NIDUS_ENOENT, iommufd_attach(nobody[i], parent));
        is(NIDUS_ENOENT, iommufd_detach(nobody[i]));
        is(NIDUS_ENOENT, iommufd_attach(ID(DMA), nobody[i]));
    }
}

static void onto_a_hwpt(void)
{
    struct pair p = pair_new();
    uint32_t hwpt;

    holds(refused(DMA, BY_RID, gpa(p.page[0])));
    ok(attach_raw(DMA, p.parent, BY_RID, &hwpt));
    holds(hwpt == p.parent);
    holds(writes(DMA, BY_RID, gpa(p.page[0]), p.page[0]));
    ok(iommufd_detach(ID(DMA)));
    holds(refused(DMA, BY_RID, gpa(p.page[0])));
    ok(attach_raw(DMA, rig.default_ioas, BY_RID, &hwpt)); /* an IOAS: the id of a HWPT comes back */
    holds(hwpt != rig.default_ioas && hwpt != p.parent);
    is(NIDUS_EBUSY, iommufd_destroy(hwpt));
    is(NIDUS_EINVAL, alloc_nested(ID(DMA), hwpt));
    ok(iommufd_detach(ID(DMA)));
    is(NIDUS_ENOENT, iommufd_destroy(hwpt)); /* it went with its last device */
}

ITEMS(items_hwpt) = {
    { 6, "HWPT_ALLOC for a device that is an IOAS is ENOENT", device_is_an_ioas, NULL },
    { 7, "HWPT_ALLOC on a device, or on nothing, is EINVAL", pt_is_a_device, NULL },
    { 8, "a nest parent with a fault queue is EOPNOTSUPP", parent_with_faults, NULL },
    { 9, "a nest parent can be made, and one that is none; an unknown flag is EOPNOTSUPP", parent_and_plain, NULL },
    { 10, "data without a type, or a type without data, is EINVAL", no_type_but_data, NULL },
    { 11, "an unknown type is EOPNOTSUPP", unknown_type, NULL },
    { 12, "data of another length than the type's is EINVAL", wrong_length, NULL },
    { 13, "data at NULL is EFAULT", data_at_null, NULL },
    { 14, "NEST_PARENT or DIRTY_TRACKING for a first stage is EOPNOTSUPP", nested_as_parent, NULL },
    { 15, "a first stage over what is no nest parent is EINVAL", nested_on_plain, NULL },
    { 16, "two first stages over one parent", two_nested, NULL },
    { 17, "a fault queue that is none is ENOENT, and nothing stays", bad_fault_id, NULL },
    { 18, "a first stage with a fault queue, which is busy as long", nested_with_faults, NULL },
    { 19, "nothing is cached of a new first stage", fresh_nested, NULL },
    { 20, "a first stage over a first stage is EINVAL", nested_on_nested, NULL },
    { 21, "DESTROY of a parent with a first stage is EBUSY", busy_parent, NULL },
    { 22, "HWPT_INVALIDATE of a parent is EINVAL, none handled", on_parent, NULL },
    { 23, "no entries, the right type: 0", no_entries, NULL },
    { 24, "another type is EINVAL, none handled", bad_type, NULL },
    { 25, "entries that are longer than known are EINVAL, none handled", entry_too_long, NULL },
    { 26, "entries of one byte are EINVAL, none handled", entry_too_short, NULL },
    { 27, "an unknown flag, or something reserved, is EOPNOTSUPP, none handled", bad_flags, NULL },
    { 28, "entries at NULL are EINVAL, none handled", data_null, NULL },
    { 29, "entries of no length are EINVAL, none handled", length_zero, NULL },
    { 30, "an entry with a wrong address is EINVAL, none handled", bad_entry, NULL },
    { 31, "the second of two has an unknown flag: EOPNOTSUPP, the first alone is handled", second_flags, NULL },
    { 32, "the second of two has a wrong address: EINVAL, the first alone is handled", second_entry, NULL },
    { 33, "one entry: that page, and no other", one_entry, NULL },
    { 34, "two entries: those pages, and no other", two_entries, NULL },
    { 35, "everything of one first stage, and nothing of another", everything, NULL },
    { 36, "entry_len above 4096 and entry_num above 2^19 are EINVAL; 2^19 is not", bounds, NULL },
    { 37, "replace of a second by a first stage, which is then busy", replace_to_nested, NULL },
    { 38, "replace of a first stage by another; the old one can be destroyed", nested_to_nested, NULL },
    { 39, "a page request is read, answered, and the device hears the answer", fault_answered, NULL },
    { 40, "back to the parent, then to the IOAS; what was left can be destroyed", back_to_the_ioas, NULL },
    { 41, "without a device every alloc, attach and replace is ENOENT", without_device, NULL },
    { 42, "a device goes onto a HWPT that is there, or gets one with the IOAS", onto_a_hwpt, NULL },
    ITEMS_END
};
