/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * items_pasid.c: several tables for one device.  Linux's tests attach and replace by calls of their own; the calls that user space has, and
 * that nidus has, are VFIO's, where an attach replaces what is attached.
 */
#include <stddef.h>

#include "guests/conformance/conformance.h"

#define IOVA   0x00007e0000000000ULL
#define PASID  2u

/* The device without PASID on a second stage of all RAM; first stages with a page each. */
struct pasids {
    uint32_t plain;             /* a HWPT that was not made for PASIDs */
    uint32_t parent;            /* one that was, and first stages of it */
    uint32_t nested[2];
    uint8_t *page[2];
};

static uint32_t nested_for_pasids(uint32_t parent, uint8_t *page)
{
    struct pgtable *t = table_new();
    uint32_t hwpt;

    table_set(t, IOVA, page);
    ok(iommufd_hwpt_alloc_nested_pasid(ID(DMA), parent, t->root, &hwpt));
    return hwpt;
}

static struct pasids pasids_new(bool attach)
{
    struct pasids p = { .plain = paging_new(DMA, rig.default_ioas, 0), .parent = parent_new(NIDUS_HWPT_ALLOC_PASID) };

    for (unsigned i = 0; i < 2; i++) {
        p.page[i] = marked_pages(1);
        p.nested[i] = nested_for_pasids(p.parent, p.page[i]);
    }
    if (attach)
        ok(iommufd_attach(ID(DMA), p.parent));
    return p;
}

static void detach_unattached(void)
{
    ok(iommufd_detach_pasid(ID(DMA), PASID));
    ok(iommufd_detach_pasid(ID(PLAIN), PASID));
}

static void rid_without(void)
{
    struct pasids p = pasids_new(false);

    ok(iommufd_attach(ID(DMA), p.plain));
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    holds(refused(DMA, PASID, IOVA));
}

static void rid_with(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    holds(reads(DMA, PASID, IOVA, p.page[0]));
    holds(writes(DMA, PASID, IOVA, p.page[0]));
    holds(reads(DMA, BY_RID, gpa(p.page[1]), p.page[1]));
    is(NIDUS_EBUSY, iommufd_destroy(p.nested[0]));
}

static void rid_changes(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    is(NIDUS_EINVAL, iommufd_attach(ID(DMA), p.plain));
    is(NIDUS_EINVAL, iommufd_attach(ID(DMA), rig.default_ioas));
    holds(reads(DMA, BY_RID, gpa(p.page[1]), p.page[1]) && reads(DMA, PASID, IOVA, p.page[0]));
    ok(iommufd_detach_pasid(ID(DMA), PASID));
    ok(iommufd_attach(ID(DMA), p.plain));
}

static void detach_empties(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    holds(reads(DMA, PASID, IOVA, p.page[0]));
    ok(iommufd_detach_pasid(ID(DMA), PASID));
    holds(refused(DMA, PASID, IOVA));
    ok(iommufd_destroy(p.nested[0]));
}

static void device_without(void)
{
    struct pasids p = pasids_new(false);

    ok(iommufd_attach(ID(PLAIN), p.parent));
    holds(reads(PLAIN, BY_RID, gpa(p.page[1]), p.page[1]));
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(PLAIN), PASID, p.nested[0]));
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), 1u << 8, p.nested[0])); /* one that it does not send */
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), 0, p.nested[0]));
}

static void hwpt_without(void)
{
    struct pasids p = pasids_new(true);

    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), PASID, p.plain));
    holds(refused(DMA, PASID, gpa(p.page[0])));
    ok(iommufd_destroy(p.plain));
}

static void ioas_to_pasid(void)
{
    struct pasids p = pasids_new(true);

    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), PASID, rig.default_ioas));
    holds(refused(DMA, PASID, gpa(p.page[0])));
}

static void second_stage_to_pasid(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.parent));
    holds(reads(DMA, PASID, gpa(p.page[0]), p.page[0]));
}

/* Linux's core says EBUSY, but VFIO does not ask it: a second attach is a replace; by the same HWPT nothing happens. */
static void second_attach(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    holds(reads(DMA, PASID, IOVA, p.page[0]));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[1]));
    holds(reads(DMA, PASID, IOVA, p.page[1]));
    ok(iommufd_destroy(p.nested[0]));
}

/* In the same way a replace of nothing, EINVAL in Linux's core, is an attach. */
static void replace_of_nothing(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    ok(iommufd_detach_pasid(ID(DMA), PASID));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[1]));
    holds(reads(DMA, PASID, IOVA, p.page[1]));
}

static void failed_replace(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), PASID, rig.default_ioas));
    is(NIDUS_EINVAL, iommufd_attach_pasid(ID(DMA), PASID, p.plain));
    is(NIDUS_ENOENT, iommufd_attach_pasid(ID(DMA), PASID, 0));
    holds(reads(DMA, PASID, IOVA, p.page[0]));
    is(NIDUS_EBUSY, iommufd_destroy(p.nested[0]));
}

static void replaces(void)
{
    struct pasids p = pasids_new(true);

    ok(iommufd_attach_pasid(ID(DMA), PASID, p.parent));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    holds(reads(DMA, PASID, IOVA, p.page[0]) && refused(DMA, PASID, gpa(p.page[0])));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[1]));
    holds(reads(DMA, PASID, IOVA, p.page[1]));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.parent));
    holds(reads(DMA, PASID, gpa(p.page[0]), p.page[0]) && refused(DMA, PASID, IOVA));
}

/* Takes all memory that nidus lets the guest have: tables, then what is smaller than a page. */
static void starve(void)
{
    uint32_t ioas = space_new(), id;
    uint64_t iova = M2;

    ok(iommufd_ioas_huge_pages(ioas, false));
    ok(map(ioas, gpa(rig.arena), rig.arena, rig.arena_bytes));
    while (iommufd_hwpt_alloc_paging(ID(DMA), ioas, 0, &id) == 0)
        ;
    ok(iommufd_ioas_alloc(&ioas));
    while (map(ioas, iova, rig.arena, K4) == 0)
        iova += K4;
    while (iommufd_ioas_alloc(&id) == 0)
        ;
    is(NIDUS_ENOMEM, iommufd_ioas_alloc(&id));
}

/* Each allocation of the replace in turn, while there is one more. */
static unsigned fail_each(uint32_t hwpt, const struct pasids *p)
{
    unsigned failed = 0;

    for (;; failed++) {
        int error;

        rig_inside->fail_allocation(failed + 1);
        error = iommufd_attach_pasid(ID(DMA), PASID, hwpt);
        if (!rig_inside->allocation_failed())
            break;
        is(NIDUS_ENOMEM, error);
        holds(reads(DMA, PASID, IOVA, p->page[0]));
    }
    rig_inside->fail_allocation(0);
    return failed;
}

/* In the model an allocation fails; in QEMU there is no memory left.  The new first stage is in use with other PASIDs, one of each table, so
 * that yet another takes memory for a record, and for nothing else. */
static void no_memory(void)
{
    struct pasids p = pasids_new(true);
    uint8_t *page = marked_pages(1);
    uint32_t other = nested_for_pasids(parent_new(NIDUS_HWPT_ALLOC_PASID), page), pasid;
    int error = 0;

    for (pasid = 64; pasid < 256; pasid += 64)
        ok(iommufd_attach_pasid(ID(DMA), pasid, other));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[0]));
    if (rig_inside) {
        holds(fail_each(other, &p) != 0);
        holds(reads(DMA, PASID, IOVA, page));
        return;
    }
    starve();
    for (pasid = PASID + 1; error == 0; pasid++)    /* records that there is room for */
        error = iommufd_attach_pasid(ID(DMA), pasid, other);
    is(NIDUS_ENOMEM, error);
    is(NIDUS_ENOMEM, iommufd_attach_pasid(ID(DMA), PASID, other));
    holds(reads(DMA, PASID, IOVA, p.page[0]));
}

static void pasid_iopf(void)
{
    uint32_t queue, channel, hwpt, count = 1, bytes = sizeof(struct nidus_hwpt_pgfault);
    struct pasids p = pasids_new(true);
    struct pgtable *t = table_new();
    struct nidus_hwpt_page_response response = { .code = NIDUS_PAGE_RESP_SUCCESS };
    struct nidus_hwpt_pgfault fault = { 0 };

    ok(iommufd_fault_queue_alloc(&queue, &channel));
    ok(iommufd_hwpt_alloc_paged(ID(DMA), p.parent, t->root, NIDUS_HWPT_ALLOC_PASID, queue, &hwpt));
    ok(iommufd_attach_pasid(ID(DMA), PASID, hwpt));
    rig_ask(PASID, IOVA);
    holds(rig_wait(channel));
    ok(iommufd_event_read(channel, &fault, &bytes));
    holds(bytes == sizeof(fault) && fault.flags & NIDUS_PGFAULT_FLAGS_PASID_VALID && fault.pasid == PASID && fault.addr == IOVA);
    table_set(t, IOVA, p.page[0]);
    response.cookie = fault.cookie;
    ok(iommufd_page_response(channel, &response, &count));
    holds(rig_asked() == ASKED_DONE);
    rig_ask(PASID, IOVA + K4); /* read and not answered when the HWPT is replaced */
    holds(rig_wait(channel));
    bytes = sizeof(fault);
    ok(iommufd_event_read(channel, &fault, &bytes));
    ok(iommufd_attach_pasid(ID(DMA), PASID, p.nested[1]));
    holds(rig_asked() == ASKED_INVALID);
    response.cookie = fault.cookie;
    is(NIDUS_EINVAL, iommufd_page_response(channel, &response, &count));
    holds(reads(DMA, PASID, IOVA, p.page[1]));
    ok(iommufd_destroy(hwpt));
    ok(iommufd_destroy(queue));
}

ITEMS(items_pasid) = {
    { 76, "detach of a PASID that is not attached is 0", detach_unattached, NULL },
    { 77, "a PASID is EINVAL while the device without PASID is on a HWPT that was not made for them", rid_without, NULL },
    { 78, "a PASID on a first stage, while the device is on a HWPT that was", rid_with, NULL },
    { 79, "then the device cannot change to one that was not: EINVAL", rid_changes, NULL },
    { 80, "detach empties the PASID", detach_empties, NULL },
    { 81, "a HWPT made for PASIDs serves a device that has none; a PASID of that device is EINVAL", device_without, NULL },
    { 82, "a PASID on a HWPT that was not made for them is EINVAL, and nothing is attached", hwpt_without, NULL },
    { 83, "a PASID on an IOAS is EINVAL", ioas_to_pasid, NULL },
    { 84, "a PASID on a second stage", second_stage_to_pasid, NULL },
    { 85, "a second attach of a PASID is a replace", second_attach, NULL },
    { 86, "a replace of what is not attached is an attach", replace_of_nothing, NULL },
    { 87, "a failed replace of a PASID keeps the old table", failed_replace, NULL },
    { 88, "replace of a PASID: second stage, first stage, another first stage, second stage", replaces, NULL },
    { 89, "no memory for a replace: ENOMEM, and the old table is kept", no_memory, NULL },
    { 90, "a page request with a PASID is answered; one that is waiting when its HWPT is replaced is answered invalid", pasid_iopf, NULL },
    ITEMS_END
};
