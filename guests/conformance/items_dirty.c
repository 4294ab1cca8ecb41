/* SPDX-License-Identifier: BSD-2-Clause */
/* items_dirty.c: dirty tracking; the vIOMMU family. */
#include <stddef.h>
#include <string.h>

#include "guests/conformance/conformance.h"

#define NOBODY 0x7ffffff0u
#define BASE   0x40000000ULL
#define TRACKED 20u             /* pages */
#define PASID  3u

/* Dirty tracking ------------------------------------------------------------------------------------------- */

/* An IOAS with TRACKED pages at BASE, each with an entry of its own, and a HWPT of it that can track. */
struct tracked {
    uint32_t ioas, hwpt;
    uint8_t *page;
};

static struct tracked tracked_new(uint32_t flags)
{
    struct tracked t = { .ioas = space_new(), .page = marked_pages(TRACKED) };

    ok(iommufd_ioas_huge_pages(t.ioas, false));
    ok(map(t.ioas, BASE, t.page, TRACKED * K4));
    t.hwpt = paging_new(DMA, t.ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING | flags);
    return t;
}

/* The device writes every third page. */
static void dirty(const struct tracked *t, uint32_t pasid)
{
    for (unsigned i = 0; i < TRACKED; i += 3)
        holds(writes(DMA, pasid, BASE + i * K4, t->page + i * K4));
}

/* Exactly those are in the bitmap, which begins at `at`, or none. */
static bool tells(const struct tracked *t, bool clear, uint8_t *at, bool written)
{
    uint8_t want[3] = { 0 };

    for (unsigned i = 0; written && i < TRACKED; i += 3)
        want[i / 8] |= (uint8_t)(1u << i % 8);
    memset(at, 0, sizeof(want));
    return iommufd_dirty_bitmap(t->hwpt, BASE, TRACKED * K4, clear, at) == 0 && memcmp(at, want, sizeof(want)) == 0;
}

static void enforce_dirty(void)
{
    struct tracked t = tracked_new(0);
    uint32_t hwpt;

    is(NIDUS_EINVAL, iommufd_attach(ID(UNTRACKED), t.hwpt));
    is(NIDUS_EOPNOTSUPP, iommufd_hwpt_alloc_paging(ID(UNTRACKED), t.ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
    ok(iommufd_attach(ID(PLAIN), t.hwpt));
    ok(iommufd_attach(ID(UNTRACKED), paging_new(DMA, t.ioas, 0))); /* it can walk such a table */
    holds(reads(UNTRACKED, BY_RID, BASE, t.page));
}

static int set_tracking(uint32_t hwpt, uint32_t flags)
{
    struct nidus_hwpt_set_dirty_tracking call = { .size = sizeof(call), .flags = flags, .hwpt_id = hwpt };

    return nidus_call(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, &call, 0);
}

static void set_dirty_tracking(void)
{
    struct tracked t = tracked_new(0);

    ok(set_tracking(t.hwpt, NIDUS_HWPT_DIRTY_TRACKING_ENABLE));
    ok(set_tracking(t.hwpt, 0));
    ok(iommufd_attach(ID(DMA), t.hwpt));
    ok(set_tracking(t.hwpt, NIDUS_HWPT_DIRTY_TRACKING_ENABLE));
    ok(set_tracking(t.hwpt, NIDUS_HWPT_DIRTY_TRACKING_ENABLE));
    ok(set_tracking(t.hwpt, 0));
    is(NIDUS_EOPNOTSUPP, set_tracking(t.hwpt, 2));
    is(NIDUS_ENOENT, set_tracking(NOBODY, 0));
    is(NIDUS_ENOENT, set_tracking(t.ioas, 0));
    is(NIDUS_ENOENT, set_tracking(nested_new(DMA, parent_new(0), table_new()), 0));
    is(NIDUS_EOPNOTSUPP, set_tracking(paging_new(DMA, t.ioas, 0), NIDUS_HWPT_DIRTY_TRACKING_ENABLE));
}

static void pasid_dirty_tracking(void)
{
    struct tracked t = tracked_new(NIDUS_HWPT_ALLOC_PASID);
    uint8_t *bitmap = pages(1);

    ok(iommufd_attach(ID(DMA), paging_new(DMA, rig.default_ioas, NIDUS_HWPT_ALLOC_PASID)));
    ok(iommufd_attach_pasid(ID(DMA), PASID, t.hwpt));
    ok(iommufd_dirty_tracking(t.hwpt, true));
    dirty(&t, PASID);
    holds(tells(&t, true, bitmap, true));
    ok(iommufd_dirty_tracking(t.hwpt, false));
}

static void dirty_capability(void)
{
    for (unsigned device = 0; device < DEVICES; device++) {
        struct nidus_hw_info_vtd unit;
        uint64_t capabilities;
        unsigned pasid_bits;

        if (!ID(device))
            continue;
        ok(iommufd_hw_info_full(ID(device), &unit, &capabilities, &pasid_bits));
        holds(!!(capabilities & NIDUS_HW_CAP_DIRTY_TRACKING) == (device != UNTRACKED));
    }
}

static void dirty_bitmap(void)
{
    struct tracked t = tracked_new(0);
    struct nidus_hwpt_get_dirty_bitmap call = { .size = sizeof(call), .hwpt_id = t.hwpt, .iova = BASE, .length = K4, .page_size = K4 };
    uint8_t *bitmap = pages(2);
    static const unsigned at[] = { 0, 8, 1, 4091, 4095 }; /* of the bitmap: a page, a word, a byte, across pages */

    ok(iommufd_attach(ID(DMA), t.hwpt));
    ok(iommufd_dirty_tracking(t.hwpt, true));
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        dirty(&t, BY_RID);
        holds(tells(&t, true, bitmap + at[i], true));
        holds(tells(&t, true, bitmap + at[i], false));
    }
    holds(reads(DMA, BY_RID, BASE, t.page)); /* that is no write */
    holds(tells(&t, true, bitmap, false));
    is(NIDUS_ENOENT, iommufd_dirty_bitmap(NOBODY, BASE, K4, true, bitmap));
    is(NIDUS_EINVAL, iommufd_dirty_bitmap(t.hwpt, BASE, 0, true, bitmap));
    is(NIDUS_EINVAL, iommufd_dirty_bitmap(t.hwpt, BASE + 8, K4, true, bitmap));
    is(NIDUS_EOVERFLOW, iommufd_dirty_bitmap(t.hwpt, UINT64_MAX - K4 + 1, 2 * K4, true, bitmap));
    is(NIDUS_EFAULT, iommufd_dirty_bitmap(t.hwpt, BASE, K4, true, rig.end));
    call.flags = 2;
    is(NIDUS_EOPNOTSUPP, nidus_call(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, &call, 0));
    is(NIDUS_EOPNOTSUPP, iommufd_dirty_bitmap(paging_new(DMA, t.ioas, 0), BASE, K4, true, bitmap));
    /* Differs: with tracking off Linux answers 0 with an empty bitmap. */
    ok(iommufd_dirty_tracking(t.hwpt, false));
    is(NIDUS_EINVAL, iommufd_dirty_bitmap(t.hwpt, BASE, K4, true, bitmap));
}

static void no_clear(void)
{
    struct tracked t = tracked_new(0);
    uint8_t *bitmap = pages(1);

    ok(iommufd_attach(ID(DMA), t.hwpt));
    ok(iommufd_dirty_tracking(t.hwpt, true));
    dirty(&t, BY_RID);
    holds(tells(&t, false, bitmap, true));
    holds(tells(&t, false, bitmap, true));
    holds(tells(&t, true, bitmap, true));
    holds(tells(&t, true, bitmap, false));
}

/* vIOMMU --------------------------------------------------------------------------------------------------- */

/* Linux has no types for VT-d; what it asks of those that it has holds for nidus's own. */
static int viommu_alloc(uint32_t type, uint32_t hwpt, uint32_t data_len, uint32_t *id)
{
    struct nidus_viommu_alloc call = { .size = sizeof(call), .type = type, .dev_id = ID(DMA), .hwpt_id = hwpt, .data_len = data_len };
    int error = nidus_call(NIDUS_CALL_VIOMMU_ALLOC, &call, 0);

    *id = call.out_viommu_id;
    return error;
}

static int vdevice_alloc(uint32_t viommu, uint32_t device, uint64_t virt_id, uint32_t *id)
{
    struct nidus_vdevice_alloc call = { .size = sizeof(call), .viommu_id = viommu, .dev_id = device, .virt_id = virt_id };
    int error = nidus_call(NIDUS_CALL_VDEVICE_ALLOC, &call, 0);

    *id = call.out_vdevice_id;
    return error;
}

static int veventq_alloc(uint32_t viommu, uint32_t type, uint32_t depth, uint32_t *id, uint32_t *channel)
{
    struct nidus_veventq_alloc call = { .size = sizeof(call), .viommu_id = viommu, .type = type, .veventq_depth = depth };
    int error = nidus_call(NIDUS_CALL_VEVENTQ_ALLOC, &call, 0);

    *id = call.out_veventq_id;
    *channel = call.out_veventq_fd;
    return error;
}

static uint32_t viommu_new(uint32_t parent)
{
    uint32_t viommu;

    ok(viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, parent, 0, &viommu));
    return viommu;
}

static void viommu_negative(void)
{
    uint32_t parent = parent_new(0), viommu, nested;

    is(NIDUS_ENOENT, viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, 0, 0, &viommu));
    is(NIDUS_ENOENT, viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, ID(DMA), 0, &viommu));
    is(NIDUS_EINVAL, viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, paging_new(DMA, rig.default_ioas, 0), 0, &viommu));
    is(NIDUS_EOPNOTSUPP, viommu_alloc(NIDUS_VIOMMU_TYPE_DEFAULT, parent, 0, &viommu));
    is(NIDUS_EOPNOTSUPP, viommu_alloc(1, parent, 0, &viommu)); /* ARM's */
    ok(viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, parent, 0, &viommu));
    is(NIDUS_EBUSY, iommufd_destroy(parent));
    nested = nested_new(DMA, viommu, table_new());
    is(NIDUS_EBUSY, iommufd_destroy(viommu));
    ok(iommufd_destroy(nested));
    ok(iommufd_destroy(viommu));
    ok(iommufd_destroy(parent));
}

/* Differs: a first stage over a vIOMMU is attached whether or not the device is a vdevice of it (in Linux that is up to the driver). */
static void viommu_iopf(void)
{
    uint32_t viommu = viommu_new(parent_new(0)), queue, channel, hwpt, count = 1, bytes = sizeof(struct nidus_hwpt_pgfault);
    struct pgtable *t = table_new();
    struct nidus_hwpt_vtd_s1 data = { .pgtbl_addr = t->root, .addr_width = 48 };
    struct nidus_hwpt_alloc call = nested_call(DMA, viommu, &data);
    struct nidus_hwpt_page_response response = { .code = NIDUS_PAGE_RESP_SUCCESS };
    struct nidus_hwpt_pgfault fault = { 0 };

    ok(iommufd_fault_queue_alloc(&queue, &channel));
    is(NIDUS_ENOENT, iommufd_hwpt_alloc_paged(ID(DMA), viommu, t->root, 0, NOBODY, &hwpt));
    call.flags = 1u << 31;
    is(NIDUS_EOPNOTSUPP, hwpt_alloc(&call));
    ok(iommufd_hwpt_alloc_paged(ID(DMA), viommu, t->root, 0, queue, &hwpt));
    ok(iommufd_attach(ID(DMA), hwpt));
    rig_ask(BY_RID, BASE);
    holds(rig_wait(channel));
    ok(iommufd_event_read(channel, &fault, &bytes));
    holds(bytes == sizeof(fault) && fault.addr == BASE);
    table_set(t, BASE, pages(1));
    response.cookie = fault.cookie;
    ok(iommufd_page_response(channel, &response, &count));
    holds(rig_asked() == ASKED_DONE);
}

/* The type has no data, and no pages to be mapped. */
static void viommu_data(void)
{
    uint32_t viommu;

    is(NIDUS_EOPNOTSUPP, viommu_alloc(NIDUS_VIOMMU_TYPE_VTD, parent_new(0), 8, &viommu));
}

#define DEPTH 2u
struct event {
    struct nidus_vevent_header header;
    struct nidus_fault fault;
};

static void vdevices(void)
{
    uint32_t viommu = viommu_new(parent_new(0)), first, second, queue, channel, none, bytes;
    struct event e;

    ok(vdevice_alloc(viommu, ID(DMA), 0x99, &first));
    is(NIDUS_EEXIST, vdevice_alloc(viommu, ID(DMA), 0x88, &second));
    is(NIDUS_EEXIST, vdevice_alloc(viommu, ID(PLAIN), 0x99, &second));
    ok(vdevice_alloc(viommu, ID(PLAIN), 0x88, &second));
    is(NIDUS_ENOENT, vdevice_alloc(NOBODY, ID(DMA), 1, &none));
    is(NIDUS_EINVAL, veventq_alloc(viommu, NIDUS_VEVENTQ_TYPE_VTD_FAULT, 0, &queue, &channel));
    is(NIDUS_EOPNOTSUPP, veventq_alloc(viommu, NIDUS_VEVENTQ_TYPE_DEFAULT, DEPTH, &queue, &channel));
    ok(veventq_alloc(viommu, NIDUS_VEVENTQ_TYPE_VTD_FAULT, DEPTH, &queue, &channel));
    is(NIDUS_EEXIST, veventq_alloc(viommu, NIDUS_VEVENTQ_TYPE_VTD_FAULT, DEPTH, &none, &none));
    is(NIDUS_EBUSY, iommufd_destroy(viommu));
    ok(iommufd_attach(ID(DMA), nested_new(DMA, viommu, table_new())));
    for (unsigned i = 0; i < DEPTH + 2; i++) {
        holds(!rig_copy(DMA, BY_RID, BASE, gpa(rig.own[DMA]) + K4, 8));
        rig_settle();
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        bytes = sizeof(e);
        ok(iommufd_event_read(channel, &e, &bytes));
        holds(bytes == sizeof(e) && e.header.sequence == i && e.header.flags == 0 && e.fault.dev_id == 0x99);
    }
    bytes = sizeof(e);
    ok(iommufd_event_read(channel, &e, &bytes)); /* what was lost is told once */
    holds(bytes == sizeof(e.header) && e.header.flags == NIDUS_VEVENTQ_FLAG_LOST_EVENTS && e.header.sequence == DEPTH + 1);
    bytes = sizeof(e);
    ok(iommufd_event_read(channel, &e, &bytes));
    holds(bytes == 0);
}

/* As of a driver that has no cache of the vIOMMU: VT-d's caches are of first stages.  22 to 35 are about those; they hold for one over a
 * vIOMMU as well. */
static void vdevice_cache(void)
{
    uint32_t viommu = viommu_new(parent_new(0)), nested, count = 1;
    struct nidus_hwpt_vtd_s1_invalidate range[2] = { { .addr = BASE, .npages = 1 }, { .addr = BASE, .npages = 1, .flags = UINT32_MAX } };
    uint8_t *page = marked_pages(2);
    struct pgtable *t = table_new();

    is(NIDUS_EOPNOTSUPP, iommufd_invalidate(viommu, range, &count));
    holds(count == 0);
    nested = nested_new(DMA, viommu, t);
    table_set(t, BASE, page);
    ok(iommufd_attach(ID(DMA), nested));
    holds(reads(DMA, BY_RID, BASE, page));
    table_set(t, BASE, page + K4);
    count = 2;
    is(NIDUS_EOPNOTSUPP, iommufd_invalidate(nested, range, &count));
    holds(count == 1);
    holds(reads(DMA, BY_RID, BASE, page + K4));
}

static void hw_queue(void)
{
    uint8_t call[40] = { sizeof(call) };

    is(NIDUS_EOPNOTSUPP, nidus_call(NIDUS_CALL_HW_QUEUE_ALLOC, call, 0));
}

/* In Linux the device goes before its vdevice does.  Here a guest has its devices to the end. */
static void tombstone(void)
{
    uint32_t viommu = viommu_new(parent_new(0)), vdevice, again;

    ok(vdevice_alloc(viommu, ID(DMA), 1, &vdevice));
    is(NIDUS_EBUSY, iommufd_destroy(ID(DMA)));
    is(NIDUS_EBUSY, iommufd_destroy(viommu));
    ok(iommufd_destroy(vdevice));
    is(NIDUS_ENOENT, iommufd_destroy(vdevice));
    ok(vdevice_alloc(viommu, ID(DMA), 1, &again)); /* the device is free for another */
}

#define ONE_UNIT "QEMU has one remapping unit"

ITEMS(items_dirty) = {
    { 63, "a HWPT that tracks refuses a device that cannot; nor is one made for it", enforce_dirty, ONE_UNIT },
    { 64, "tracking on and off; unknown flags, other ids and HWPTs that cannot are refused", set_dirty_tracking, NULL },
    { 65, "what is written with a PASID is tracked", pasid_dirty_tracking, NULL },
    { 66, "GET_HW_INFO says who can be tracked", dirty_capability, NULL },
    { 67, "the bitmap has exactly what was written since the last one, wherever it lies", dirty_bitmap, NULL },
    { 68, "with NO_CLEAR it is written still", no_clear, NULL },
    { 69, "VIOMMU_ALLOC: no HWPT is ENOENT, no parent EINVAL, another type EOPNOTSUPP; what is in use is EBUSY", viommu_negative, NULL },
    { 70, "page requests through a vIOMMU; a fault queue that is none is ENOENT, an unknown flag EOPNOTSUPP", viommu_iopf, NULL },
    { 71, "VIOMMU_ALLOC with data that its type does not have is EOPNOTSUPP", viommu_data, NULL },
    { 72, "a second vdevice and a second event queue are EEXIST; what an event queue lost is told once", vdevices, NULL },
    { 73, "HWPT_INVALIDATE of a vIOMMU is EOPNOTSUPP, of a first stage over it as of any", vdevice_cache, NULL },
    { 74, "HW_QUEUE_ALLOC is EOPNOTSUPP", hw_queue, NULL },
    { 75, "a vdevice keeps its vIOMMU and goes first", tombstone, NULL },
    ITEMS_END
};
