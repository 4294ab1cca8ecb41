/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_iommufd.c: the calls with Linux's numbers, one rule a test, from the payload in a guest's memory to what
 * the engine is told.  The expected errno are Linux 7.x's, except where a name says "nidus".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/iommu.h"
#include "iommu/objects.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/recording_engine.h"
#include "tools/test/host/whole_call.h"

#define K4 0x1000ULL
#define M1 0x100000ULL
#define RAM (16 * M1)           /* of the guest, in two runs of 8 MiB */
#define PAYLOAD 0x10000ULL      /* where calls put their payload */
#define DATA 0x20000ULL         /* … and what it points to */
#define EVERYTHING UINT64_MAX

static struct guest *guest;
static struct iommu_context *context;
static uint32_t ram_ioas, device_id, other_device;
static const struct iommu_device_policy no_policy;

static void nothing(void) { }
static void (*between_steps)(void); /* of calls that have several … */
static unsigned steps;          /* … as many as the last one had */
static unsigned seen_maps, seen_unmaps; /* of the engine, before the last step */

static void start(bool nested)
{
    char reason[160];

    context = iommu_context_create(guest, nested);
    assert_non_null(context);
    ram_ioas = iommu_default_ioas(context);
    assert_true(iommu_assign(context, 0, 0x20, &no_policy, &device_id, reason));
    assert_true(iommu_assign(context, 0, 0x28, &no_policy, &other_device, reason));
}

static void stop(void)
{
    assert_true(iommu_context_block(context));
    destroy_whole(context);
    assert_int_equal(host_pages_live(), 0);
    assert_int_equal(host_objects_live(), 0);
    assert_int_equal(guest->bytes_used, 0);
}

static int prepare(void **state)
{
    (void)state;
    host_reset();
    engine_recording_reset();
    between_steps = nothing;
    seen_maps = seen_unmaps = 0;
    guest = host_guest("web", RAM / 2);
    host_guest_add_ram(guest, RAM / 2, RAM / 2);
    return 0;
}

static int setup(void **state)
{
    prepare(state);
    start(true);
    return 0;
}

static int setup_without_nested(void **state)
{
    prepare(state);
    start(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop();
    return 0;
}

/* Calls: the payload goes into the guest's memory, and comes back. ---------------------------------- */


static int64_t call_at(uint64_t nr, uint64_t gpa, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(guest, gpa, payload, size), 0);
    for (steps = 1; (result = iommu_call(context, nr, gpa, device)) == IOMMU_AGAIN; steps++)
        between_steps();
    assert_int_equal(platform_guest_read(guest, gpa, payload, size), 0);
    return result;
}

#define CALL(nr, payload) call_at(nr, PAYLOAD, &(payload), (payload).size, 0)

static int64_t attach(uint32_t device, uint32_t pt, uint32_t *out)
{
    struct nidus_vfio_attach a = { .argsz = 12, .pt_id = pt };
    int64_t result = call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, 12, device);

    if (out != NULL)
        *out = a.pt_id;
    return result;
}

static int64_t detach(uint32_t device)
{
    struct nidus_vfio_detach d = { .argsz = 8 };

    return call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 8, device);
}

static int64_t destroy(uint32_t id)
{
    struct nidus_destroy d = { .size = sizeof(d), .id = id };

    return CALL(NIDUS_CALL_DESTROY, d);
}

static uint32_t new_ioas(void)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };

    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOC, a), 0);
    assert_int_not_equal(a.out_ioas_id, 0);
    return a.out_ioas_id;
}

#define RW (NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE)
#define FIXED NIDUS_IOAS_MAP_FIXED_IOVA

static int64_t map(uint32_t ioas, uint32_t flags, uint64_t gpa, uint64_t length, uint64_t *iova)
{
    struct nidus_ioas_map m = {
        .size = sizeof(m), .flags = flags, .ioas_id = ioas, .user_va = gpa, .length = length, .iova = *iova,
    };
    int64_t result = CALL(NIDUS_CALL_IOAS_MAP, m);

    *iova = m.iova;
    return result;
}

static int64_t map_at(uint32_t ioas, uint32_t flags, uint64_t gpa, uint64_t length, uint64_t iova)
{
    return map(ioas, flags | FIXED, gpa, length, &iova);
}

static int64_t unmap(uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
    struct nidus_ioas_unmap u = { .size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = length };
    int64_t result = CALL(NIDUS_CALL_IOAS_UNMAP, u);

    if (unmapped != NULL)
        *unmapped = u.length;
    return result;
}

static struct nidus_hwpt_alloc hwpt_request(uint32_t pt, uint32_t flags)
{
    return (struct nidus_hwpt_alloc){ .size = sizeof(struct nidus_hwpt_alloc), .flags = flags, .dev_id = device_id, .pt_id = pt };
}

static int64_t alloc_paging(uint32_t ioas, uint32_t flags, uint32_t *id)
{
    struct nidus_hwpt_alloc a = hwpt_request(ioas, flags);
    int64_t result = CALL(NIDUS_CALL_HWPT_ALLOC, a);

    *id = a.out_hwpt_id;
    return result;
}

static uint32_t new_parent(uint32_t ioas)
{
    uint32_t id;

    assert_int_equal(alloc_paging(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &id), 0);
    return id;
}

static uint32_t new_plain(uint32_t ioas)
{
    uint32_t id;

    assert_int_equal(alloc_paging(ioas, 0, &id), 0);
    return id;
}

static struct nidus_hwpt_alloc nested_request(uint32_t parent)
{
    struct nidus_hwpt_alloc a = hwpt_request(parent, 0);

    a.data_type = NIDUS_HWPT_DATA_VTD_S1;
    a.data_len = sizeof(struct nidus_hwpt_vtd_s1);
    a.data_uptr = DATA;
    return a;
}

static int64_t alloc_nested_with(uint32_t parent, struct nidus_hwpt_vtd_s1 s1, uint32_t *id)
{
    struct nidus_hwpt_alloc a = nested_request(parent);
    int64_t result;

    assert_int_equal(platform_guest_write(guest, DATA, &s1, sizeof(s1)), 0);
    result = CALL(NIDUS_CALL_HWPT_ALLOC, a);
    *id = a.out_hwpt_id;
    return result;
}

static const struct nidus_hwpt_vtd_s1 good_s1 = { .pgtbl_addr = 0x40000, .addr_width = 48 };

static uint32_t new_nested(uint32_t parent)
{
    uint32_t id;

    assert_int_equal(alloc_nested_with(parent, good_s1, &id), 0);
    return id;
}

static struct nidus_hwpt_invalidate invalidate_request(uint32_t hwpt, uint32_t entries)
{
    return (struct nidus_hwpt_invalidate){
        .size = sizeof(struct nidus_hwpt_invalidate), .hwpt_id = hwpt, .data_uptr = DATA,
        .entry_len = sizeof(struct nidus_hwpt_vtd_s1_invalidate), .entry_num = entries,
    };
}

static void put_entry(unsigned i, struct nidus_hwpt_vtd_s1_invalidate e)
{
    assert_int_equal(platform_guest_write(guest, DATA + i * sizeof(e), &e, sizeof(e)), 0);
}

/* Entry i invalidates page i. */
static void put_good_entries(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put_entry(i, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = i * K4, .npages = 1 });
}

static void expect_invalidate(struct nidus_hwpt_invalidate request, int64_t error, uint32_t done)
{
    assert_int_equal(CALL(NIDUS_CALL_HWPT_INVALIDATE, request), error);
    assert_int_equal(request.entry_num, done);
}

/* The second stage of a paging HWPT. */
static struct stage2 *table_of(uint32_t hwpt)
{
    struct paging *p = (struct paging *)object_get(context, hwpt, OBJECT_PAGING);

    assert_non_null(p);
    return &p->domain.table;
}

static bool maps(uint32_t hwpt, uint64_t iova, uint64_t gpa, unsigned want)
{
    uint64_t hpa;
    unsigned prot;

    return stage2_lookup(table_of(hwpt), iova, &hpa, &prot, NULL, NULL) == 0 && hpa == host_guest_hpa(guest, gpa) && prot == want;
}

static bool absent(uint32_t hwpt, uint64_t iova)
{
    return stage2_lookup(table_of(hwpt), iova, NULL, NULL, NULL, NULL) == -NIDUS_ENOENT;
}

/* Envelope ------------------------------------------------------------------------------------------- */

static void numbers_that_nidus_does_not_know_are_enotty(void **state)
{
    (void)state;
    assert_int_equal(iommu_call(context, 0x3b7f, PAYLOAD, 0), -NIDUS_ENOTTY);
    assert_int_equal(iommu_call(context, 0x3b95, PAYLOAD, 0), -NIDUS_ENOTTY);
    assert_int_equal(iommu_call(context, 0x3bff, 0, 0), -NIDUS_ENOTTY);
    assert_int_equal(iommu_call(context, 0x100003b80, PAYLOAD, 0), -NIDUS_ENOTTY);
    assert_true(iommu_handles(0x3b00) && iommu_handles(0x3bff) && iommu_handles(NIDUS_CALL_FAULT_READ));
    assert_false(iommu_handles(0x3a80) || iommu_handles(0x3c00) || iommu_handles(0x100003b80) || iommu_handles(NIDUS_CALL_EXIT));
}

static const struct {
    uint32_t number, min, known;
} envelopes[] = {
    { NIDUS_CALL_DESTROY, 8, 8 },       { NIDUS_CALL_IOAS_ALLOC, 12, 12 },  { NIDUS_CALL_IOAS_MAP, 40, 40 },
    { NIDUS_CALL_IOAS_UNMAP, 24, 24 },  { NIDUS_CALL_HWPT_ALLOC, 24, 48 },  { NIDUS_CALL_GET_HW_INFO, 32, 40 },
    { NIDUS_CALL_HWPT_INVALIDATE, 32, 32 }, { NIDUS_CALL_FAULT_READ, 32, 32 },
    { NIDUS_CALL_IOAS_ALLOW_IOVAS, 24, 24 }, { NIDUS_CALL_IOAS_COPY, 40, 40 }, { NIDUS_CALL_IOAS_IOVA_RANGES, 32, 32 },
    { NIDUS_CALL_OPTION, 24, 24 },      { NIDUS_CALL_VFIO_IOAS, 12, 12 },   { NIDUS_CALL_IOAS_MAP_FILE, 40, 40 },
    { NIDUS_CALL_IOAS_CHANGE_PROCESS, 8, 8 }, { NIDUS_CALL_HW_QUEUE_ALLOC, 40, 40 },
    { NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, 16, 16 }, { NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, 48, 48 },
};
#define FOR_EACH_ENVELOPE(i) for (unsigned i = 0; i < sizeof(envelopes) / sizeof(envelopes[0]); i++)

static void a_size_below_the_minimum_is_einval(void **state)
{
    uint32_t payload[16] = { 0 };

    (void)state;
    FOR_EACH_ENVELOPE(i) {
        payload[0] = envelopes[i].min - 1;
        assert_int_equal(call_at(envelopes[i].number, PAYLOAD, payload, sizeof(payload), 0), -NIDUS_EINVAL);
        payload[0] = 0;
        assert_int_equal(call_at(envelopes[i].number, PAYLOAD, payload, sizeof(payload), 0), -NIDUS_EINVAL);
    }
}

static void an_unknown_tail_that_is_not_zero_is_e2big(void **state)
{
    (void)state;
    FOR_EACH_ENVELOPE(i) {
        uint8_t payload[128] = { 0 };

        payload[0] = (uint8_t)(envelopes[i].known + 1);
        payload[envelopes[i].known] = 1;
        assert_int_equal(call_at(envelopes[i].number, PAYLOAD, payload, sizeof(payload), 0), -NIDUS_E2BIG);
        payload[0] = 128;
        payload[envelopes[i].known] = 0;
        payload[127] = 1;
        assert_int_equal(call_at(envelopes[i].number, PAYLOAD, payload, sizeof(payload), 0), -NIDUS_E2BIG);
    }
}

static void an_unknown_tail_of_zeros_changes_nothing(void **state)
{
    (void)state;
    FOR_EACH_ENVELOPE(i) {
        uint8_t exact[64] = { 0 }, longer[256] = { 0 };
        int64_t result;

        exact[0] = (uint8_t)envelopes[i].known;
        longer[0] = 0, longer[1] = 1;
        result = call_at(envelopes[i].number, PAYLOAD, exact, sizeof(exact), 0);
        assert_int_equal(call_at(envelopes[i].number, PAYLOAD, longer, sizeof(longer), 0), result);
    }
}

static void a_missing_tail_reads_as_zero_and_is_not_written(void **state)
{
    struct nidus_hw_info info = { .size = 32, .dev_id = device_id, .out_capabilities = 0x1111 };
    struct nidus_hwpt_alloc alloc = hwpt_request(ram_ioas, 0);

    (void)state;
    assert_int_equal(call_at(NIDUS_CALL_GET_HW_INFO, PAYLOAD, &info, sizeof(info), 0), 0);
    assert_int_equal(info.data_type, NIDUS_HW_INFO_TYPE_INTEL_VTD);
    assert_int_equal(info.out_capabilities, 0x1111);
    alloc.size = 24;
    alloc.data_type = 77;       /* beyond size */
    assert_int_equal(call_at(NIDUS_CALL_HWPT_ALLOC, PAYLOAD, &alloc, sizeof(alloc), 0), 0);
    assert_int_not_equal(alloc.out_hwpt_id, 0);
}

static void a_payload_partly_outside_ram_is_efault(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };

    (void)state;
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, RAM, 0), -NIDUS_EFAULT);
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, RAM - 2, 0), -NIDUS_EFAULT);
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, UINT64_MAX - 1, 0), -NIDUS_EFAULT);
    platform_guest_write(guest, RAM - 8, &a, 8);
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, RAM - 8, 0), -NIDUS_EFAULT);
    a.size = 16;
    platform_guest_write(guest, RAM - 12, &a, 12);
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, RAM - 12, 0), -NIDUS_EFAULT);
    assert_int_equal(destroy(other_device + 1), -NIDUS_ENOENT); /* nothing was made */
}

static void a_payload_at_0_is_efault(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };

    (void)state;
    platform_guest_write(guest, 0, &a, sizeof(a));
    assert_int_equal(iommu_call(context, NIDUS_CALL_IOAS_ALLOC, 0, 0), -NIDUS_EFAULT);
    assert_int_equal(iommu_call(context, NIDUS_CALL_DETACH, 0, device_id), -NIDUS_EFAULT);
}

static void a_misaligned_payload_across_pages_works(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };

    (void)state;
    assert_int_equal(call_at(NIDUS_CALL_IOAS_ALLOC, RAM / 2 - 9, &a, sizeof(a), 0), 0);
    assert_int_not_equal(a.out_ioas_id, 0);
}

static void nidus_bounds_the_size(void **state)
{
    struct nidus_ioas_alloc a = { .size = 4096 };

    (void)state;
    assert_int_equal(call_at(NIDUS_CALL_IOAS_ALLOC, PAYLOAD, &a, sizeof(a), 0), 0);
    a.size = 4097;
    a.out_ioas_id = 0;
    assert_int_equal(call_at(NIDUS_CALL_IOAS_ALLOC, PAYLOAD, &a, sizeof(a), 0), -NIDUS_E2BIG);
}

/* Ids and DESTROY ------------------------------------------------------------------------------------ */

static void ids_begin_at_1_and_the_lowest_free_one_is_given(void **state)
{
    uint32_t a, b;

    (void)state;
    assert_int_equal(ram_ioas, 1);
    assert_int_equal(device_id, 2);
    a = new_ioas();
    b = new_ioas();
    assert_int_equal(a, 4);
    assert_int_equal(b, 5);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(new_ioas(), a);
}

static void destroy_of_an_unknown_id_is_enoent(void **state)
{
    uint32_t a = new_ioas();

    (void)state;
    assert_int_equal(destroy(0), -NIDUS_ENOENT);
    assert_int_equal(destroy(9), -NIDUS_ENOENT);
    assert_int_equal(destroy(511), -NIDUS_ENOENT);
    assert_int_equal(destroy(512), -NIDUS_ENOENT);
    assert_int_equal(destroy(UINT32_MAX), -NIDUS_ENOENT);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(destroy(a), -NIDUS_ENOENT);
}

static void an_object_in_use_is_not_destroyed(void **state)
{
    uint32_t ioas = new_ioas(), parent = new_parent(ioas), nested = new_nested(parent);

    (void)state;
    assert_int_equal(destroy(ioas), -NIDUS_EBUSY);
    assert_int_equal(destroy(parent), -NIDUS_EBUSY);
    assert_int_equal(attach(device_id, nested, NULL), 0);
    assert_int_equal(destroy(nested), -NIDUS_EBUSY);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(nested), 0);
    assert_int_equal(attach(device_id, parent, NULL), 0);
    assert_int_equal(destroy(parent), -NIDUS_EBUSY);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(parent), 0);
    assert_int_equal(destroy(ioas), 0);
}

static void an_assigned_device_is_in_use(void **state)
{
    (void)state;
    assert_int_equal(destroy(device_id), -NIDUS_EBUSY);
}

static void a_guest_has_a_bounded_number_of_objects(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };
    unsigned made = 0;
    char reason[160];
    int64_t result;
    uint32_t id;

    (void)state;
    while ((result = CALL(NIDUS_CALL_IOAS_ALLOC, a)) == 0)
        made++;
    assert_int_equal(result, -NIDUS_ENOMEM);
    assert_int_equal(made, 511 - 3);
    assert_int_equal(attach(device_id, ram_ioas, NULL), -NIDUS_ENOMEM); /* no id for the HWPT */
    assert_false(iommu_assign(context, 0, 0x30, &no_policy, &id, reason));
    assert_string_equal(reason, "no memory, or too many objects");
    assert_int_equal(destroy(10), 0);
    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOC, a), 0);
    assert_int_equal(a.out_ioas_id, 10);
}

static void another_guests_id_is_enoent(void **state)
{
    struct guest *second = host_guest("mail", M1);
    struct iommu_context *first = context, *theirs = iommu_context_create(second, true);
    uint32_t ids[8];

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        ids[i] = new_ioas();
    context = theirs;
    guest = second;
    assert_int_equal(destroy(ids[7]), -NIDUS_ENOENT);
    assert_int_equal(attach(device_id, iommu_default_ioas(theirs), NULL), -NIDUS_ENOENT);
    destroy_whole(theirs);
    assert_int_equal(second->bytes_used, 0);
    context = first;
    guest = second->next;
}

/* GET_HW_INFO ---------------------------------------------------------------------------------------- */

static struct nidus_hw_info info_request(uint32_t length)
{
    return (struct nidus_hw_info){ .size = sizeof(struct nidus_hw_info), .dev_id = device_id, .data_len = length, .data_uptr = DATA };
}

static void hw_info_gives_the_units_raw_registers(void **state)
{
    struct nidus_hw_info info = info_request(24);
    struct nidus_hw_info_vtd vtd;

    (void)state;
    engine.unit.errata_772415 = true;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.data_len, 24);
    assert_int_equal(info.data_type, NIDUS_HW_INFO_TYPE_INTEL_VTD);
    assert_int_equal(info.out_max_pasid_log2, 0);
    assert_int_equal(info.out_capabilities, NIDUS_HW_CAP_PCI_ATS_NOT_SUPPORTED);
    platform_guest_read(guest, DATA, &vtd, sizeof(vtd));
    assert_int_equal(vtd.flags, NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17);
    assert_int_equal(vtd.cap_reg, 0x1234);
    assert_int_equal(vtd.ecap_reg, 0x5678);
    engine.unit.errata_772415 = false;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    platform_guest_read(guest, DATA, &vtd, sizeof(vtd));
    assert_int_equal(vtd.flags, 0);
}

static void hw_info_fills_a_smaller_buffer_and_no_more(void **state)
{
    struct nidus_hw_info info = info_request(12);
    uint8_t data[32];

    (void)state;
    memset(data, 0xee, sizeof(data));
    platform_guest_write(guest, DATA, data, sizeof(data));
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.data_len, 24);
    platform_guest_read(guest, DATA, data, sizeof(data));
    assert_int_equal(data[8], 0x34);
    assert_int_equal(data[12], 0xee);
}

static void hw_info_zeroes_the_rest_of_a_larger_buffer(void **state)
{
    struct nidus_hw_info info = info_request(300);
    uint8_t data[301];

    (void)state;
    memset(data, 0xee, sizeof(data));
    platform_guest_write(guest, DATA, data, sizeof(data));
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    platform_guest_read(guest, DATA, data, sizeof(data));
    for (unsigned i = 24; i < 300; i++)
        assert_int_equal(data[i], 0);
    assert_int_equal(data[300], 0xee);
}

static void hw_info_needs_no_buffer(void **state)
{
    struct nidus_hw_info info = info_request(0);

    (void)state;
    info.data_uptr = 0;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.data_len, 24);
}

static void hw_info_into_no_memory_is_efault_and_writes_nothing(void **state)
{
    struct nidus_hw_info info = info_request(24);

    (void)state;
    info.data_uptr = 0;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EFAULT);
    info.data_uptr = RAM - 23;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EFAULT);
    assert_int_equal(*host_guest_byte(guest, RAM - 23 + 8), 0);
    info = info_request(40);
    info.data_uptr = RAM - 30;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EFAULT);
    assert_int_equal(*host_guest_byte(guest, RAM - 30 + 8), 0);
}

static void hw_info_checks_in_linuxs_order(void **state)
{
    struct nidus_hw_info info = info_request(24);

    (void)state;
    info.dev_id = ram_ioas;
    info.flags = 2;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EOPNOTSUPP);
    info.flags = 0;
    for (unsigned i = 0; i < 3; i++) {
        info.reserved[i] = 1;
        assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EOPNOTSUPP);
        info.reserved[i] = 0;
    }
    info.flags = NIDUS_HW_INFO_FLAG_INPUT_TYPE;
    info.data_type = 2;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_ENOENT);
    info.dev_id = device_id;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EOPNOTSUPP);
    info.data_type = NIDUS_HW_INFO_TYPE_INTEL_VTD;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    info.data_type = NIDUS_HW_INFO_TYPE_DEFAULT;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    info.flags = 0;
    info.data_type = 77;        /* not an input then */
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
}

static void nidus_bounds_the_hw_info_buffer(void **state)
{
    struct nidus_hw_info info = info_request(4097);

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), -NIDUS_EINVAL);
}

/* IOAS_MAP ------------------------------------------------------------------------------------------- */

static void the_default_ioas_holds_all_ram_one_to_one(void **state)
{
    uint32_t hwpt = new_plain(ram_ioas);

    (void)state;
    for (uint64_t gpa = 0; gpa < RAM; gpa += K4)
        assert_true(maps(hwpt, gpa, gpa, STAGE2_READ | STAGE2_WRITE));
    assert_true(absent(hwpt, RAM));
}

static void ioas_alloc_flags_are_eopnotsupp(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a), .flags = 1 };

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOC, a), -NIDUS_EOPNOTSUPP);
}

static void map_reaches_every_hwpt_of_the_ioas(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas), b = new_parent(ioas), other = new_plain(new_ioas());

    (void)state;
    assert_int_equal(map_at(ioas, RW, M1, M1, 5 * M1), 0);
    assert_true(maps(a, 5 * M1, M1, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(b, 6 * M1 - K4, 2 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(absent(a, 6 * M1));
    assert_true(absent(other, 5 * M1));
}

static void map_follows_ram_across_its_runs(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, RW, RAM / 2 - K4, 2 * K4, M1), 0);
    assert_true(maps(hwpt, M1, RAM / 2 - K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, M1 + K4, RAM / 2, STAGE2_READ | STAGE2_WRITE));
}

static void map_permissions_are_those_asked_for(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, M1, K4, M1), 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_WRITEABLE, M1, K4, 2 * M1), 0);
    assert_true(maps(hwpt, M1, M1, STAGE2_READ));
    assert_true(maps(hwpt, 2 * M1, M1, STAGE2_WRITE));
    assert_int_equal(map_at(ioas, 0, M1, K4, 3 * M1), -NIDUS_EINVAL);
}

static void map_checks_in_linuxs_order(void **state)
{
    struct nidus_ioas_map m = { .size = sizeof(m), .flags = 8, .reserved = 1, .ioas_id = 99, .user_va = RAM, .length = UINT64_MAX };

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EOPNOTSUPP);
    m.flags = FIXED;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EOPNOTSUPP);
    m.reserved = 0;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EOVERFLOW);
    m.length = 0;
    m.iova = UINT64_MAX;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EOVERFLOW);
    m.iova = 1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EINVAL); /* no permission */
    m.flags |= RW;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_ENOENT);
    m.ioas_id = device_id;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_ENOENT);
    m.ioas_id = ram_ioas;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EINVAL); /* length 0 */
    m.length = -K4;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EOVERFLOW); /* user_va + length */
    m.length = K4;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EINVAL); /* iova not aligned */
    m.iova = 0;
    m.user_va = RAM + 1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EEXIST);
    m.iova = RAM;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EINVAL); /* user_va not aligned */
    m.user_va = RAM;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), -NIDUS_EFAULT);
    m.user_va = 0;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_MAP, m), 0);
}

static void nidus_maps_whole_pages(void **state)
{
    uint32_t ioas = new_ioas();

    (void)state;
    assert_int_equal(map_at(ioas, RW, M1 + 1, K4, M1), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, M1, K4 + 1, M1), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, M1, K4, M1 + 1), -NIDUS_EINVAL);
}

static void an_overlap_is_eexist_in_five_shapes(void **state)
{
    uint32_t ioas = new_ioas();

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, 8 * K4, 8 * K4), 0);
    assert_int_equal(map_at(ioas, RW, 0, 8 * K4, 8 * K4), -NIDUS_EEXIST);  /* same */
    assert_int_equal(map_at(ioas, RW, 0, K4, 10 * K4), -NIDUS_EEXIST);     /* inside */
    assert_int_equal(map_at(ioas, RW, 0, 10 * K4, 7 * K4), -NIDUS_EEXIST); /* around */
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 7 * K4), -NIDUS_EEXIST);  /* first page */
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 15 * K4), -NIDUS_EEXIST); /* last page */
    assert_int_equal(map_at(ioas, RW, 0, K4, 7 * K4), 0);
    assert_int_equal(map_at(ioas, RW, 0, K4, 16 * K4), 0);
}

static void memory_that_is_not_the_guests_is_efault(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, RW, RAM, K4, M1), -NIDUS_EFAULT);
    assert_int_equal(map_at(ioas, RW, RAM - K4, 2 * K4, M1), -NIDUS_EFAULT);
    assert_int_equal(map_at(ioas, RW, 1ULL << 60, K4, M1), -NIDUS_EFAULT);
    assert_true(absent(hwpt, M1));
    assert_int_equal(engine.count[ENGINE_MAP], 0);
}

static void the_interrupt_range_is_reserved(void **state)
{
    uint32_t ioas = new_ioas();

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, 0xfee00000), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, K4, 0xfeeff000), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 0xfedff000), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, 2 * M1, 0xfed80000), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, K4, 0xfedff000), 0);
    assert_int_equal(map_at(ioas, RW, 0, K4, 0xfef00000), 0);
}

static void an_iova_beyond_a_table_is_einval(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, 1ULL << 48), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, (1ULL << 48) - K4), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, K4, (1ULL << 48) - K4), 0);
    assert_true(maps(hwpt, (1ULL << 48) - K4, 0, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(map_at(ioas, RW, 0, K4, -K4), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, -K4), -NIDUS_EOVERFLOW);
    assert_int_equal(map_at(new_ioas(), RW, 0, 2 * K4, -K4), -NIDUS_EOVERFLOW); /* without any table, too */
}

static void an_area_beyond_the_new_table_is_eaddrinuse(void **state)
{
    uint32_t ioas = new_ioas(), hwpt;

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, 1ULL << 48), 0);
    assert_int_equal(alloc_paging(ioas, 0, &hwpt), -NIDUS_EADDRINUSE);
    assert_int_equal(attach(device_id, ioas, NULL), -NIDUS_EADDRINUSE);
}

static void what_a_new_table_does_not_reach_is_looked_for_before_what_it_must_not_map(void **state)
{
    uint32_t ioas = new_ioas(), hwpt;

    (void)state;
    engine.unit.errata_772415 = true;
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, 1ULL << 48), 0);
    assert_int_equal(alloc_paging(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), -NIDUS_EADDRINUSE);
    assert_int_equal(unmap(ioas, 1ULL << 48, K4, NULL), 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, M1), 0);
    assert_int_equal(alloc_paging(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), -NIDUS_EINVAL);
}

static void a_chosen_iova_is_the_lowest_gap_as_aligned_as_the_memory(void **state)
{
    uint32_t ioas = new_ioas();
    uint64_t iova = 0x1234567; /* ignored */

    (void)state;
    assert_int_equal(map(ioas, RW, K4, K4, &iova), 0);
    assert_int_equal(iova, K4);
    assert_int_equal(map(ioas, RW, K4, K4, &iova), 0);
    assert_int_equal(iova, 2 * K4);
    assert_int_equal(map(ioas, RW, 0, 3 * K4, &iova), 0); /* 4 pages' alignment */
    assert_int_equal(iova, 4 * K4);
    assert_int_equal(map(ioas, RW, K4, 3 * K4, &iova), 0); /* the memory's own */
    assert_int_equal(iova, 7 * K4);
    assert_int_equal(map(ioas, RW, 0, 4 * M1, &iova), 0); /* a large page at most */
    assert_int_equal(iova, 2 * M1);
    assert_int_equal(unmap(ioas, 2 * K4, K4, NULL), 0);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, 2 * K4);
}

static void a_chosen_iova_avoids_the_interrupt_range(void **state)
{
    uint32_t ioas = new_ioas();
    uint64_t iova = 0;

    (void)state;
    /* Everything below the reserved range but its last 8 KiB is taken, by 16 MiB at a time. */
    for (uint64_t at = 0; at < 0xfe000000; at += RAM)
        assert_int_equal(map_at(ioas, RW, 0, RAM, at), 0);
    assert_int_equal(map_at(ioas, RW, 0, 0xe00000 - 2 * K4, 0xfe000000), 0);
    assert_int_equal(map(ioas, RW, 0, 4 * K4, &iova), 0);
    assert_int_equal(iova, 0xfef00000);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, 0xfee00000 - 2 * K4);
}

static void no_gap_is_enospc(void **state)
{
    uint32_t ioas = new_ioas();
    uint64_t iova = 0;

    (void)state;
    engine.levels = 3;          /* 512 GiB */
    host_guest_add_ram(guest, RAM, 256 * M1);
    new_plain(ioas);
    guest->bytes_left = 1 << 30;
    /* Not by mapping 512 GiB: the areas go in behind the object layer's back. */
    struct ioas *object = (struct ioas *)object_get(context, ioas, OBJECT_IOAS);
    struct area full = { .iova = 0, .length = (1ULL << 39) - K4, .prot = STAGE2_READ };
    object->areas = &full;
    assert_int_equal(map(ioas, RW, 0, 2 * K4, &iova), -NIDUS_ENOSPC);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, (1ULL << 39) - K4); /* the last page is one */
    assert_int_equal(map(ioas, RW, 0, K4, &iova), -NIDUS_ENOSPC);
    object->areas = full.next;
}

static void a_failed_map_is_undone_everywhere(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas), b = new_plain(ioas), c = new_plain(ioas);

    (void)state;
    /* Two runs of RAM each: the fourth engine call is the second half in the second domain. */
    for (unsigned n = 1; n <= 6; n++) {
        engine_fail(ENGINE_MAP, n, -NIDUS_ENOMEM, DAMAGE_NONE);
        assert_int_equal(map_at(ioas, RW, RAM / 2 - K4, 2 * K4, M1), -NIDUS_ENOMEM);
        assert_true(absent(a, M1) && absent(a, M1 + K4));
        assert_true(absent(b, M1) && absent(b, M1 + K4));
        assert_true(absent(c, M1) && absent(c, M1 + K4));
        engine_fail(ENGINE_MAP, n, -NIDUS_EIO, DAMAGE_DONE);
        assert_int_equal(map_at(ioas, RW, RAM / 2 - K4, 2 * K4, M1), -NIDUS_EIO);
        assert_true(absent(a, M1) && absent(b, M1) && absent(c, M1));
        assert_true(absent(a, M1 + K4) && absent(b, M1 + K4) && absent(c, M1 + K4));
    }
    assert_int_equal(map_at(ioas, RW, RAM / 2 - K4, 2 * K4, M1), 0);
}

static void a_guest_has_a_bounded_number_of_areas(void **state)
{
    uint32_t ioas = new_ioas();
    uint64_t iova = 0;
    unsigned made = 0;
    int64_t result;

    (void)state;
    while ((result = map(ioas, RW, 0, K4, &iova)) == 0)
        made++;
    assert_int_equal(result, -NIDUS_ENOMEM);
    assert_int_equal(made, 4096 - 1); /* one holds the RAM */
    assert_int_equal(destroy(ioas), 0);
    ioas = new_ioas();
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
}

/* IOAS_IOVA_RANGES and IOAS_ALLOW_IOVAS --------------------------------------------------------------- */

static int64_t iova_ranges(uint32_t ioas, uint32_t room, uint32_t *count, uint64_t *alignment)
{
    struct nidus_ioas_iova_ranges r = { .size = sizeof(r), .ioas_id = ioas, .num_iovas = room, .allowed_iovas = DATA };
    int64_t result = CALL(NIDUS_CALL_IOAS_IOVA_RANGES, r);

    *count = r.num_iovas;
    if (alignment != NULL)
        *alignment = r.out_iova_alignment;
    return result;
}

static struct nidus_iova_range range_at(unsigned i)
{
    struct nidus_iova_range r;

    platform_guest_read(guest, DATA + i * sizeof(r), &r, sizeof(r));
    return r;
}

#define assert_range(i, first, end) \
    assert_true(range_at(i).start == (first) && range_at(i).last == (end))

static int64_t allow(uint32_t ioas, uint32_t count, const struct nidus_iova_range *ranges)
{
    struct nidus_ioas_allow_iovas a = { .size = sizeof(a), .ioas_id = ioas, .num_iovas = count, .allowed_iovas = DATA };

    platform_guest_write(guest, DATA, ranges, count * sizeof(*ranges));
    return CALL(NIDUS_CALL_IOAS_ALLOW_IOVAS, a);
}

#define ALLOW(ioas, ...) \
    allow(ioas, sizeof((struct nidus_iova_range[]){ __VA_ARGS__ }) / sizeof(struct nidus_iova_range), (struct nidus_iova_range[]){ __VA_ARGS__ })

static void iova_ranges_are_what_is_not_reserved(void **state)
{
    uint32_t ioas = new_ioas(), count;
    uint64_t alignment;

    (void)state;
    assert_int_equal(iova_ranges(ioas, 4, &count, &alignment), 0);
    assert_int_equal(count, 2);
    assert_int_equal(alignment, 4096);
    assert_range(0, 0, 0xfedfffff);
    assert_range(1, 0xfef00000, (1ULL << 57) - 1);
    new_plain(ioas);
    assert_int_equal(iova_ranges(ioas, 2, &count, NULL), 0);
    assert_range(1, 0xfef00000, (1ULL << 48) - 1);
    assert_int_equal(map_at(ioas, RW, 0, K4, M1), 0); /* what is mapped does not count */
    assert_int_equal(iova_ranges(ioas, 2, &count, NULL), 0);
    assert_int_equal(count, 2);
}

static void iova_ranges_without_room_is_emsgsize_and_tells_how_many(void **state)
{
    uint32_t ioas = new_ioas(), count;
    uint64_t alignment = 0;

    (void)state;
    *host_guest_byte(guest, DATA + 16) = 0xee;
    assert_int_equal(iova_ranges(ioas, 1, &count, &alignment), -NIDUS_EMSGSIZE);
    assert_int_equal(count, 2);
    assert_int_equal(alignment, 4096);
    assert_range(0, 0, 0xfedfffff);
    assert_int_equal(*host_guest_byte(guest, DATA + 16), 0xee);
    assert_int_equal(iova_ranges(ioas, 0, &count, NULL), -NIDUS_EMSGSIZE);
    assert_int_equal(count, 2);
}

static void iova_ranges_checks(void **state)
{
    struct nidus_ioas_iova_ranges r = { .size = sizeof(r), .ioas_id = device_id, .num_iovas = 4, .reserved = 1, .allowed_iovas = RAM - 16 };

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_IOVA_RANGES, r), -NIDUS_EOPNOTSUPP);
    r.reserved = 0;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_IOVA_RANGES, r), -NIDUS_ENOENT);
    r.ioas_id = ram_ioas;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_IOVA_RANGES, r), -NIDUS_EFAULT);
    assert_int_equal(r.num_iovas, 4); /* no answer */
}

static void the_rmrr_of_a_tables_device_is_reserved(void **state)
{
    uint32_t ioas = new_ioas(), count, hwpt;
    uint64_t iova = 0;

    (void)state;
    engine.reserved = (struct nidus_iova_range){ 2 * M1, 3 * M1 - 1 };
    assert_int_equal(map_at(ioas, RW, 0, K4, 3 * M1 - K4), 0);
    assert_int_equal(alloc_paging(ioas, 0, &hwpt), -NIDUS_EADDRINUSE);
    assert_int_equal(unmap(ioas, 0, EVERYTHING, NULL), 0);
    assert_int_equal(ALLOW(ioas, { 0, 2 * M1 }), 0);
    assert_int_equal(alloc_paging(ioas, 0, &hwpt), -NIDUS_EADDRINUSE);
    assert_int_equal(ALLOW(ioas, { 0, 4 * M1 + M1 / 2 - 1 }), 0);
    assert_int_equal(attach(device_id, ioas, NULL), -NIDUS_EADDRINUSE);
    assert_int_equal(allow(ioas, 0, NULL), 0);
    assert_int_equal(alloc_paging(ioas, 0, &hwpt), 0);
    assert_int_equal(iova_ranges(ioas, 4, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_range(0, 0, 2 * M1 - 1);
    assert_range(1, 3 * M1, 0xfedfffff);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 2 * M1 - K4), -NIDUS_EINVAL);
    assert_int_equal(map_at(ioas, RW, 0, K4, 3 * M1 - K4), -NIDUS_EINVAL);
    assert_int_equal(ALLOW(ioas, { M1, 2 * M1 }), -NIDUS_EADDRINUSE);
    assert_int_equal(map(ioas, RW, 0, 2 * M1, &iova), 0);
    assert_int_equal(iova, 4 * M1);
    assert_int_equal(destroy(hwpt), 0);
    assert_int_equal(map_at(ioas, RW, 0, K4, 2 * M1), 0); /* with the table it goes */
}

static void chosen_iovas_lie_in_the_allowed_ranges_and_fixed_ones_need_not(void **state)
{
    uint32_t ioas = new_ioas();
    uint64_t iova;

    (void)state;
    assert_int_equal(ALLOW(ioas, { 8 * M1, 8 * M1 + 2 * K4 - 1 }, { 5 * M1, 5 * M1 + K4 - 1 }), 0);
    assert_int_equal(map(ioas, RW, 0, 2 * K4, &iova), 0);
    assert_int_equal(iova, 8 * M1);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, 5 * M1);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), -NIDUS_ENOSPC);
    assert_int_equal(map_at(ioas, RW, 0, K4, M1), 0);
    assert_int_equal(ALLOW(ioas, { K4, 2 * K4 - 1 }, { 2 * K4, 4 * K4 - 1 }), 0); /* in the old ones' place; these two touch */
    assert_int_equal(map(ioas, RW, K4, 3 * K4, &iova), 0);
    assert_int_equal(iova, K4);
    assert_int_equal(allow(ioas, 0, NULL), 0);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, 4 * K4);
    assert_int_equal(ALLOW(ioas, { 0, 1 }), 0);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), -NIDUS_ENOSPC);
}

static void allow_checks_in_linuxs_order(void **state)
{
    struct nidus_ioas_allow_iovas a = { .size = sizeof(a), .ioas_id = 99, .num_iovas = 1, .reserved = 1, .allowed_iovas = RAM - 8 };
    uint32_t ioas = new_ioas();
    uint64_t iova;

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOW_IOVAS, a), -NIDUS_EOPNOTSUPP);
    a.reserved = 0;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOW_IOVAS, a), -NIDUS_ENOENT);
    a.ioas_id = ioas;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_ALLOW_IOVAS, a), -NIDUS_EFAULT);
    assert_int_equal(ALLOW(ioas, { M1, M1 + K4 - 1 }), 0);
    assert_int_equal(ALLOW(ioas, { K4, K4 }), -NIDUS_EINVAL);
    assert_int_equal(ALLOW(ioas, { K4, 0 }), -NIDUS_EINVAL);
    assert_int_equal(ALLOW(ioas, { 0, K4 }, { K4, 2 * K4 }), -NIDUS_EINVAL);
    assert_int_equal(ALLOW(ioas, { 4 * K4, 5 * K4 }, { 0, 8 * K4 }), -NIDUS_EINVAL);
    assert_int_equal(ALLOW(ioas, { 0xfedff000, 0xfee00000 }), -NIDUS_EADDRINUSE);
    assert_int_equal(ALLOW(ioas, { 0, UINT64_MAX }), -NIDUS_EADDRINUSE);
    assert_int_equal(ALLOW(ioas, { 0, UINT64_MAX }, { 3, 2 }), -NIDUS_EINVAL); /* what is wrong comes before what is taken */
    assert_int_equal(ALLOW(ioas, { 0, UINT64_MAX }, { M1, 2 * M1 }), -NIDUS_EINVAL);
    assert_int_equal(map(ioas, RW, 0, K4, &iova), 0);
    assert_int_equal(iova, M1); /* a call that fails leaves the ranges that were */
}

static void a_guest_has_a_bounded_number_of_allowed_ranges(void **state)
{
    struct nidus_iova_range ranges[257];
    uint64_t used = guest->bytes_used;
    uint32_t ioas = new_ioas();

    (void)state;
    for (unsigned i = 0; i < 257; i++)
        ranges[i] = (struct nidus_iova_range){ 2 * i * K4, 2 * i * K4 + 1 };
    assert_int_equal(allow(ioas, 257, ranges), -NIDUS_ENOMEM);
    assert_int_equal(allow(ioas, 256, ranges), 0);
    assert_int_equal(destroy(ioas), 0);
    assert_int_equal(guest->bytes_used, used);
}

/* IOAS_COPY ------------------------------------------------------------------------------------------- */

static int64_t copy(uint32_t to, uint32_t flags, uint64_t *dst, uint32_t from, uint64_t src, uint64_t length)
{
    struct nidus_ioas_copy c = {
        .size = sizeof(c), .flags = flags, .dst_ioas_id = to, .src_ioas_id = from, .length = length, .dst_iova = *dst, .src_iova = src,
    };
    int64_t result = CALL(NIDUS_CALL_IOAS_COPY, c);

    *dst = c.dst_iova;
    return result;
}

static int64_t copy_at(uint32_t to, uint32_t flags, uint64_t dst, uint32_t from, uint64_t src, uint64_t length)
{
    return copy(to, flags | FIXED, &dst, from, src, length);
}

static void copy_maps_the_same_memory(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);
    uint64_t iova = 0;

    (void)state;
    assert_int_equal(copy_at(ioas, RW, M1, ram_ioas, 3 * M1 + K4, 2 * K4), 0); /* a part of an area */
    assert_true(maps(hwpt, M1, 3 * M1 + K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, M1 + K4, 3 * M1 + 2 * K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(absent(hwpt, M1 + 2 * K4));
    assert_int_equal(copy_at(ioas, NIDUS_IOAS_MAP_READABLE, 2 * M1, ioas, M1, 2 * K4), 0); /* within one IOAS, with fewer rights */
    assert_true(maps(hwpt, 2 * M1, 3 * M1 + K4, STAGE2_READ));
    assert_int_equal(copy(ioas, RW, &iova, ram_ioas, 4 * M1, 2 * M1), 0);
    assert_int_equal(iova, 4 * M1); /* aligned as the memory is */
    assert_true(maps(hwpt, 4 * M1, 4 * M1, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(unmap(ram_ioas, 0, EVERYTHING, NULL), 0);
    assert_true(maps(hwpt, 4 * M1, 4 * M1, STAGE2_READ | STAGE2_WRITE)); /* and the copy stays */
    assert_int_equal(unmap(ioas, 4 * M1, K4, NULL), -NIDUS_ENOENT);     /* it is an area as IOAS_MAP makes them */
}

static void copy_goes_across_areas_that_follow_each_other(void **state)
{
    uint32_t from = new_ioas(), to = new_ioas(), hwpt = new_plain(to);
    uint64_t bytes, iova = 0;

    (void)state;
    assert_int_equal(map_at(from, RW, 7 * M1, 2 * K4, M1), 0);
    assert_int_equal(map_at(from, RW, 3 * M1, K4, M1 + 2 * K4), 0);
    assert_int_equal(map_at(from, RW, 5 * M1, K4, M1 + 4 * K4), 0);
    assert_int_equal(copy_at(to, RW, 2 * M1, from, M1 + K4, 2 * K4), 0);
    assert_true(maps(hwpt, 2 * M1, 7 * M1 + K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, 2 * M1 + K4, 3 * M1, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(copy(to, RW, &iova, from, M1, 3 * K4), 0);
    assert_true(maps(hwpt, iova, 7 * M1, STAGE2_READ | STAGE2_WRITE) && maps(hwpt, iova + 2 * K4, 3 * M1, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(copy_at(to, RW, 4 * M1, from, M1, 5 * K4), -NIDUS_ENOENT); /* a hole */
    assert_int_equal(copy_at(to, RW, 4 * M1, from, M1 - K4, 2 * K4), -NIDUS_ENOENT);
    assert_int_equal(copy_at(to, RW, 4 * M1, from, M1 + 4 * K4, 2 * K4), -NIDUS_ENOENT);
    assert_true(absent(hwpt, 4 * M1));
    assert_int_equal(unmap(to, 0, EVERYTHING, &bytes), 0);
    assert_int_equal(bytes, 5 * K4);
    engine_fail(ENGINE_MAP, 2, -NIDUS_ENOMEM, DAMAGE_NONE);
    assert_int_equal(copy_at(to, RW, 2 * M1, from, M1, 3 * K4), -NIDUS_ENOMEM);
    assert_true(absent(hwpt, 2 * M1));
}

static void copy_checks_in_linuxs_order(void **state)
{
    uint32_t from = new_ioas(), to = new_ioas();
    struct nidus_ioas_copy c = { .size = sizeof(c), .flags = 8, .src_ioas_id = 99, .dst_ioas_id = 99, .length = UINT64_MAX };

    (void)state;
    assert_int_equal(map_at(from, NIDUS_IOAS_MAP_READABLE, M1, 4 * K4, M1), 0);
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EOPNOTSUPP);
    c.flags = FIXED;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EOVERFLOW);
    c.length = 0;
    c.dst_iova = UINT64_MAX;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EOVERFLOW);
    c.dst_iova = 1;
    c.src_iova = UINT64_MAX;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EOVERFLOW);
    c.src_iova = 0;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL); /* no permission */
    c.flags |= RW;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_ENOENT);
    c.src_ioas_id = from;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL); /* length 0 */
    c.length = 2 * K4;
    c.src_iova = UINT64_MAX - K4 + 1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EOVERFLOW);
    c.length = K4;
    c.src_iova = K4;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_ENOENT); /* nothing there */
    c.src_iova = M1 + 1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_ENOENT); /* the destination */
    c.dst_ioas_id = to;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL);
    c.src_iova = M1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL); /* dst_iova */
    c.dst_iova = 0xfee00000;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL);
    c.dst_iova = M1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EPERM); /* given read-only */
    c.length = K4 + 1;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EINVAL);
    c.length = K4;
    c.flags = FIXED | NIDUS_IOAS_MAP_READABLE;
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), 0);
    assert_int_equal(CALL(NIDUS_CALL_IOAS_COPY, c), -NIDUS_EEXIST);
}

static void a_copy_of_a_read_only_copy_may_write_if_the_memory_was_given_so(void **state)
{
    uint32_t ioas = new_ioas();

    (void)state;
    assert_int_equal(copy_at(ioas, NIDUS_IOAS_MAP_READABLE, M1, ram_ioas, 0, K4), 0);
    assert_int_equal(copy_at(ioas, RW, 2 * M1, ioas, M1, K4), 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, 3 * M1), 0);
    assert_int_equal(copy_at(ioas, NIDUS_IOAS_MAP_READABLE, 4 * M1, ioas, 3 * M1, K4), 0);
    assert_int_equal(copy_at(ioas, RW, 5 * M1, ioas, 4 * M1, K4), -NIDUS_EPERM);
}

static void a_read_only_copy_into_a_nest_parent_is_einval(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas), b = new_parent(ioas);

    (void)state;
    engine.unit.errata_772415 = true;
    assert_int_equal(copy_at(ioas, NIDUS_IOAS_MAP_READABLE, M1, ram_ioas, 0, K4), -NIDUS_EINVAL);
    assert_true(absent(a, M1) && absent(b, M1));
}

static void a_long_copy_is_made_in_steps(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(copy_at(ioas, RW, M1 + K4, ram_ioas, 0, RAM), 0);
    assert_true(steps >= RAM / K4 / 512);
    assert_true(maps(hwpt, M1 + K4, 0, STAGE2_READ | STAGE2_WRITE) && maps(hwpt, M1 + RAM, RAM - K4, STAGE2_READ | STAGE2_WRITE));
}

/* OPTION ---------------------------------------------------------------------------------------------- */

static int64_t option(uint32_t id, uint16_t op, uint32_t object, uint64_t *value)
{
    struct nidus_option o = { .size = sizeof(o), .option_id = id, .op = op, .object_id = object, .val64 = *value };
    int64_t result = CALL(NIDUS_CALL_OPTION, o);

    *value = o.val64;
    return result;
}

static int64_t set_huge_pages(uint32_t ioas, uint64_t value)
{
    return option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_SET, ioas, &value);
}

static void option_checks(void **state)
{
    struct nidus_option o = { .size = sizeof(o), .option_id = 2, .reserved = 1 };
    uint64_t value = 7;

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_OPTION, o), -NIDUS_EOPNOTSUPP);
    o.reserved = 0;
    assert_int_equal(CALL(NIDUS_CALL_OPTION, o), -NIDUS_EOPNOTSUPP);
    assert_int_equal(option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_GET, ram_ioas, &value), -NIDUS_EOPNOTSUPP);
    assert_int_equal(option(NIDUS_OPTION_RLIMIT_MODE, 2, 0, &value), -NIDUS_EOPNOTSUPP);
    assert_int_equal(option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_SET, 0, &value), -NIDUS_EPERM);
    assert_int_equal(value, 7);
    assert_int_equal(option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_GET, 0, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_GET, 0, &value), -NIDUS_ENOENT);
    assert_int_equal(option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_GET, device_id, &value), -NIDUS_ENOENT);
    assert_int_equal(option(NIDUS_OPTION_HUGE_PAGES, 2, ram_ioas, &value), -NIDUS_EOPNOTSUPP);
    assert_int_equal(set_huge_pages(ram_ioas, 2), -NIDUS_EINVAL);
    assert_int_equal(option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_GET, ram_ioas, &value), 0);
    assert_int_equal(value, 1);
}

static void without_huge_pages_tables_have_small_ones(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);
    uint64_t leaf, value = 1;

    (void)state;
    assert_int_equal(set_huge_pages(ioas, 0), 0);
    assert_int_equal(option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_GET, ioas, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(map_at(ioas, RW, 0, 4 * M1, 4 * M1), 0);
    assert_int_equal(stage2_lookup(table_of(hwpt), 4 * M1, NULL, NULL, &leaf, NULL), 0);
    assert_int_equal(leaf, K4);
    hwpt = new_plain(ioas);
    assert_int_equal(stage2_lookup(table_of(hwpt), 4 * M1, NULL, NULL, &leaf, NULL), 0);
    assert_int_equal(leaf, K4);
    assert_int_equal(set_huge_pages(ioas, 0), 0);
    assert_int_equal(set_huge_pages(ioas, 1), 0);
    assert_int_equal(map_at(ioas, RW, 0, 4 * M1, 8 * M1), 0);
    assert_int_equal(stage2_lookup(table_of(hwpt), 8 * M1, NULL, NULL, &leaf, NULL), 0);
    assert_int_equal(leaf, 2 * M1);
    assert_int_equal(set_huge_pages(ioas, 0), -NIDUS_EINVAL); /* too late */
}

static void what_has_no_meaning_here_is_eopnotsupp(void **state)
{
    uint32_t payload[10] = { 12 };

    (void)state;
    assert_int_equal(call_at(NIDUS_CALL_VFIO_IOAS, PAYLOAD, payload, 12, 0), -NIDUS_EOPNOTSUPP);
    payload[0] = 8;
    assert_int_equal(call_at(NIDUS_CALL_IOAS_CHANGE_PROCESS, PAYLOAD, payload, 8, 0), -NIDUS_EOPNOTSUPP);
    payload[0] = 40;
    assert_int_equal(call_at(NIDUS_CALL_IOAS_MAP_FILE, PAYLOAD, payload, 40, 0), -NIDUS_EOPNOTSUPP);
    assert_int_equal(call_at(NIDUS_CALL_HW_QUEUE_ALLOC, PAYLOAD, payload, 40, 0), -NIDUS_EOPNOTSUPP);
}

/* IOAS_UNMAP ----------------------------------------------------------------------------------------- */

static void unmap_takes_whole_areas_and_tells_the_bytes(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);
    uint64_t bytes;

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, M1), 0);
    assert_int_equal(map_at(ioas, RW, 0, 3 * K4, 2 * M1), 0);
    assert_int_equal(map_at(ioas, RW, 0, K4, 3 * M1), 0);
    assert_int_equal(unmap(ioas, K4, 2 * M1 + 2 * K4, &bytes), 0);
    assert_int_equal(bytes, 5 * K4);
    assert_true(absent(hwpt, M1) && absent(hwpt, 2 * M1 + 2 * K4));
    assert_true(maps(hwpt, 3 * M1, 0, STAGE2_READ | STAGE2_WRITE));
}

static void unmap_of_nothing_is_enoent(void **state)
{
    uint32_t ioas = new_ioas();

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, M1), 0);
    assert_int_equal(unmap(ioas, 0, M1, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ioas, M1 + K4, M1, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(99, M1, K4, NULL), -NIDUS_ENOENT);
}

static void unmap_that_cuts_an_area_is_enoent_and_nidus_unmaps_nothing(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, M1 - K4), 0);
    assert_int_equal(map_at(ioas, RW, 0, 4 * K4, M1), 0);
    assert_int_equal(unmap(ioas, M1, 2 * K4, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ioas, M1 + 2 * K4, 2 * K4, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ioas, M1 + K4, K4, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ioas, M1 - K4, 2 * K4, NULL), -NIDUS_ENOENT);
    assert_true(maps(hwpt, M1 - K4, 0, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(engine.count[ENGINE_UNMAP], 0);
}

static void unmap_of_everything_succeeds_twice(void **state)
{
    uint32_t ioas = new_ioas(), hwpt = new_plain(ioas);
    uint64_t bytes;

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, 0), 0);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 1ULL << 40), 0);
    assert_int_equal(unmap(ioas, 0, EVERYTHING, &bytes), 0);
    assert_int_equal(bytes, 3 * K4);
    assert_true(absent(hwpt, 0) && absent(hwpt, 1ULL << 40));
    assert_int_equal(unmap(ioas, 0, EVERYTHING, &bytes), 0);
    assert_int_equal(bytes, 0);
}

static void unmap_checks_its_range(void **state)
{
    (void)state;
    assert_int_equal(unmap(99, 1, 0, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ram_ioas, K4, EVERYTHING, NULL), -NIDUS_EOVERFLOW);
    assert_int_equal(unmap(ram_ioas, UINT64_MAX, K4, NULL), -NIDUS_EOVERFLOW);
    assert_int_equal(unmap(ram_ioas, 0, 0, NULL), -NIDUS_EINVAL);
    assert_int_equal(unmap(ram_ioas, K4, -K4 + 1, NULL), -NIDUS_EOVERFLOW);
}

static void nidus_lets_the_default_ioas_be_cut(void **state)
{
    uint32_t hwpt = new_plain(ram_ioas);
    uint64_t bytes;

    (void)state;
    assert_int_equal(unmap(ram_ioas, 2 * M1, K4, &bytes), 0); /* the middle */
    assert_int_equal(bytes, K4);
    assert_true(absent(hwpt, 2 * M1));
    assert_true(maps(hwpt, 2 * M1 - K4, 2 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, 2 * M1 + K4, 2 * M1 + K4, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(unmap(ram_ioas, 0, M1, &bytes), 0); /* the front */
    assert_true(absent(hwpt, 0) && absent(hwpt, M1 - K4));
    hwpt = new_plain(ram_ioas); /* a later table has what is left, where it was */
    assert_true(absent(hwpt, 0) && absent(hwpt, 2 * M1));
    assert_true(maps(hwpt, M1, M1, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, 2 * M1 + K4, 2 * M1 + K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, RAM - K4, RAM - K4, STAGE2_READ | STAGE2_WRITE));
    assert_int_equal(unmap(ram_ioas, RAM - M1, 2 * M1, &bytes), 0); /* the end, and beyond */
    assert_int_equal(bytes, M1);
    assert_int_equal(unmap(ram_ioas, 2 * M1, K4, NULL), -NIDUS_ENOENT);
    assert_int_equal(unmap(ram_ioas, 3 * M1 + 1, K4, NULL), -NIDUS_EINVAL);
    assert_int_equal(map_at(ram_ioas, NIDUS_IOAS_MAP_READABLE, M1, K4, 2 * M1), 0); /* back, otherwise */
    assert_true(maps(hwpt, 2 * M1, M1, STAGE2_READ));
    assert_int_equal(unmap(ram_ioas, 0, EVERYTHING, &bytes), 0);
    assert_int_equal(bytes, RAM - 2 * M1);
}

static void a_cut_without_memory_changes_nothing(void **state)
{
    uint32_t a = new_plain(ram_ioas), b = new_plain(ram_ioas);
    uint64_t used = guest->bytes_used;
    bool failed = true;
    unsigned n;

    (void)state;
    for (n = 1; failed; n++) {
        int64_t result;

        host_fail_allocation(n);
        result = unmap(ram_ioas, 3 * M1, K4, NULL);
        failed = host_allocation_failed();
        host_fail_allocation(0);
        if (!failed) {
            assert_int_equal(result, 0);
            break;
        }
        assert_int_equal(result, -NIDUS_ENOMEM);
        assert_true(maps(a, 3 * M1, 3 * M1, STAGE2_READ | STAGE2_WRITE));
        assert_true(maps(b, 3 * M1, 3 * M1, STAGE2_READ | STAGE2_WRITE));
        assert_true(maps(b, 3 * M1 + K4, 3 * M1 + K4, STAGE2_READ | STAGE2_WRITE));
        assert_int_equal(guest->bytes_used, used);
    }
    assert_true(n > 2);
    assert_true(absent(a, 3 * M1) && absent(b, 3 * M1));
}

static void a_unit_that_does_not_answer_leaves_the_range_unmapped(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas), b = new_plain(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, RW, 0, K4, M1), 0);
    engine_fail(ENGINE_UNMAP, 1, -NIDUS_EIO, DAMAGE_DONE);
    assert_int_equal(unmap(ioas, M1, K4, NULL), -NIDUS_EIO);
    assert_true(absent(a, M1) && absent(b, M1));
    assert_int_equal(unmap(ioas, M1, K4, NULL), -NIDUS_ENOENT);
}

static uint64_t leaf_at(uint32_t hwpt, uint64_t iova)
{
    uint64_t leaf = 0;

    assert_int_equal(stage2_lookup(table_of(hwpt), iova, NULL, NULL, &leaf, NULL), 0);
    return leaf;
}

/* … and one of them does not go alone without memory, for what stays takes small pages again. */
static void areas_side_by_side_share_large_pages(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas), b = new_plain(ioas);
    uint64_t bytes;

    (void)state;
    assert_int_equal(map_at(ioas, RW, 4 * M1, M1, 2 * M1), 0);
    assert_int_equal(leaf_at(a, 2 * M1), K4);
    assert_int_equal(map_at(ioas, RW, 5 * M1, M1, 3 * M1), 0);
    assert_int_equal(leaf_at(a, 2 * M1), 2 * M1);
    assert_int_equal(leaf_at(b, 2 * M1), 2 * M1);
    assert_int_equal(leaf_at(new_plain(ioas), 2 * M1), 2 * M1);
    guest->bytes_left = 0;
    assert_int_equal(unmap(ioas, 3 * M1, M1, NULL), -NIDUS_ENOMEM);
    assert_true(maps(a, 4 * M1 - K4, 6 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
    guest->bytes_left = 2 * K4; /* of three: those are merged again */
    assert_int_equal(unmap(ioas, 3 * M1, M1, NULL), -NIDUS_ENOMEM);
    assert_int_equal(leaf_at(a, 2 * M1), 2 * M1);
    assert_int_equal(guest->bytes_left, 2 * K4);
    guest->bytes_left = 3 * K4;
    assert_int_equal(unmap(ioas, 3 * M1, M1, &bytes), 0);
    assert_int_equal(bytes, M1);
    assert_true(absent(a, 3 * M1) && absent(b, 3 * M1));
    assert_true(maps(a, 3 * M1 - K4, 5 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(b, 3 * M1 - K4, 5 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
}

static void use_up_areas(void)
{
    uint32_t ioas = new_ioas();
    uint64_t iova = 0;

    while (map(ioas, RW, 0, K4, &iova) == 0)
        ;
}

/* The RAM's IOAS has small pages, and areas that meet in the middle of a large one. */
static uint32_t small_pages_of_two_areas(void)
{
    uint32_t hwpt;

    assert_int_equal(set_huge_pages(ram_ioas, 0), 0);
    hwpt = new_plain(ram_ioas);
    assert_int_equal(unmap(ram_ioas, 3 * M1, M1, NULL), 0);
    assert_int_equal(map_at(ram_ioas, RW, 3 * M1, M1, 3 * M1), 0);
    return hwpt;
}

/* An unmap that cuts an area and fails makes large pages of what it had split, and of what was small before. */
static void a_large_page_that_a_failed_unmap_made_is_not_forgotten(void **state)
{
    uint32_t hwpt = small_pages_of_two_areas();
    uint64_t left;

    (void)state;
    assert_int_equal(set_huge_pages(ram_ioas, 1), 0);
    use_up_areas();
    assert_int_equal(unmap(ram_ioas, 2 * M1 + M1 / 2, M1 / 2, NULL), -NIDUS_ENOMEM);
    assert_int_equal(leaf_at(hwpt, 3 * M1), 2 * M1);
    left = guest->bytes_left;
    guest->bytes_left = 0;
    assert_int_equal(unmap(ram_ioas, 3 * M1, M1, NULL), -NIDUS_ENOMEM);
    assert_true(maps(hwpt, 3 * M1, 3 * M1, STAGE2_READ | STAGE2_WRITE));
    guest->bytes_left = left;
    assert_int_equal(unmap(ram_ioas, 3 * M1, M1, NULL), 0);
    assert_true(absent(hwpt, 3 * M1));
}

static void a_failed_unmap_makes_no_large_page_where_there_are_to_be_none(void **state)
{
    uint32_t hwpt = small_pages_of_two_areas();

    (void)state;
    use_up_areas();
    assert_int_equal(unmap(ram_ioas, 2 * M1 + M1 / 2, M1 / 2, NULL), -NIDUS_ENOMEM);
    assert_int_equal(leaf_at(hwpt, 3 * M1), K4);
}

static void areas_side_by_side_go_at_once_and_without_memory(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas);
    uint64_t bytes;

    (void)state;
    for (uint64_t at = 0; at < 4 * M1; at += 16 * K4)
        assert_int_equal(map_at(ioas, RW, 4 * M1 + at, 16 * K4, 2 * M1 + at), 0);
    assert_int_equal(map_at(ioas, RW, 0, 2 * K4, 7 * M1), 0);
    assert_int_equal(leaf_at(a, 2 * M1), 2 * M1);
    guest->bytes_left = 0;
    assert_int_equal(unmap(ioas, 2 * M1, 6 * M1, &bytes), 0);
    assert_int_equal(bytes, 4 * M1 + 2 * K4);
    assert_int_equal(engine.count[ENGINE_UNMAP], 2); /* a gap in between */
    assert_true(absent(a, 2 * M1) && absent(a, 6 * M1 - K4) && absent(a, 7 * M1 + K4));
}

/* Large pages at both ends of the range: nothing goes when one of them cannot be split. */
static void an_unmap_without_memory_unmaps_nothing(void **state)
{
    uint32_t ioas = new_ioas(), a = new_plain(ioas);
    const uint64_t begin = 3 * M1, end = 9 * M1;

    (void)state;
    assert_int_equal(map_at(ioas, RW, 2 * M1, M1, 2 * M1), 0);
    assert_int_equal(map_at(ioas, RW, 3 * M1, M1, 3 * M1), 0);
    assert_int_equal(map_at(ioas, RW, 0, K4, 5 * M1), 0);
    assert_int_equal(map_at(ioas, RW, 8 * M1, M1, 8 * M1), 0);
    assert_int_equal(map_at(ioas, RW, 9 * M1, M1, 9 * M1), 0);
    for (unsigned pages = 0; pages <= 2; pages++) {
        guest->bytes_left = pages * K4;
        assert_int_equal(unmap(ioas, begin, end - begin, NULL), pages < 2 ? -NIDUS_ENOMEM : 0);
        assert_true(pages < 2 ? maps(a, begin, begin, STAGE2_READ | STAGE2_WRITE) : absent(a, begin));
        assert_true(pages < 2 ? maps(a, 5 * M1, 0, STAGE2_READ | STAGE2_WRITE) : absent(a, 5 * M1));
        assert_true(pages < 2 ? maps(a, end - K4, end - K4, STAGE2_READ | STAGE2_WRITE) : absent(a, end - K4));
        assert_true(maps(a, end, end, STAGE2_READ | STAGE2_WRITE) && maps(a, begin - K4, begin - K4, STAGE2_READ | STAGE2_WRITE));
    }
}

/* HWPT_ALLOC ----------------------------------------------------------------------------------------- */

static int64_t hwpt_alloc(struct nidus_hwpt_alloc request)
{
    return CALL(NIDUS_CALL_HWPT_ALLOC, request);
}

static void hwpt_alloc_checks_in_linuxs_order(void **state)
{
    struct nidus_hwpt_alloc a = hwpt_request(99, 0);

    (void)state;
    a.reserved = 1;
    a.data_len = 24;
    a.dev_id = ram_ioas;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EOPNOTSUPP);
    a.reserved = 0;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL); /* data without type */
    a.data_len = 0;
    a.data_type = NIDUS_HWPT_DATA_VTD_S1;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL); /* type without data */
    a.data_type = NIDUS_HWPT_DATA_NONE;
    assert_int_equal(hwpt_alloc(a), -NIDUS_ENOENT); /* an IOAS is no device */
    a.dev_id = device_id;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL); /* no such pt_id: EINVAL, not ENOENT */
    a.pt_id = device_id;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL);
    a.pt_id = ram_ioas;
    assert_int_equal(hwpt_alloc(a), 0);
}

static void nidus_checks_the_second_reserved_word(void **state)
{
    struct nidus_hwpt_alloc a = hwpt_request(ram_ioas, 0);

    (void)state;
    a.reserved2 = 1;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EOPNOTSUPP);
}

static void paging_flags_that_nidus_lacks_are_eopnotsupp(void **state)
{
    const uint32_t flags[] = {
        16, 1u << 31, NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_FAULT_ID_VALID,
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        assert_int_equal(hwpt_alloc(hwpt_request(ram_ioas, flags[i])), -NIDUS_EOPNOTSUPP);
    assert_int_equal(engine.count[ENGINE_DOMAIN_INIT], 0);
}

static void data_for_a_paging_hwpt_is_eopnotsupp(void **state)
{
    (void)state;
    assert_int_equal(hwpt_alloc(nested_request(ram_ioas)), -NIDUS_EOPNOTSUPP);
}

static void a_new_paging_hwpt_holds_the_whole_ioas(void **state)
{
    uint32_t ioas = new_ioas(), hwpt;

    (void)state;
    assert_int_equal(map_at(ioas, RW, M1, M1, 0), 0);
    assert_int_equal(map_at(ioas, RW, M1, M1, 1ULL << 40), 0);
    hwpt = new_parent(ioas);
    assert_true(maps(hwpt, M1 - K4, 2 * M1 - K4, STAGE2_READ | STAGE2_WRITE));
    assert_true(maps(hwpt, 1ULL << 40, M1, STAGE2_READ | STAGE2_WRITE));
}

static void the_units_refusal_is_passed_on(void **state)
{
    uint32_t id;

    (void)state;
    engine_fail(ENGINE_DOMAIN_INIT, 1, -NIDUS_EOPNOTSUPP, DAMAGE_NONE);
    assert_int_equal(alloc_paging(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &id), -NIDUS_EOPNOTSUPP);
    uint32_t parent = new_parent(ram_ioas);
    engine_fail(ENGINE_FIRST_INIT, 1, -NIDUS_EINVAL, DAMAGE_NONE);
    assert_int_equal(alloc_nested_with(parent, good_s1, &id), -NIDUS_EINVAL);
    assert_int_equal(destroy(parent), 0);
}

static void nested_flags_are_eopnotsupp(void **state)
{
    uint32_t parent = new_parent(ram_ioas);

    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        struct nidus_hwpt_alloc a = nested_request(parent);

        a.flags = 1u << bit;
        if ((a.flags & (NIDUS_HWPT_ALLOC_PASID | NIDUS_HWPT_FAULT_ID_VALID)) == 0)
            assert_int_equal(hwpt_alloc(a), -NIDUS_EOPNOTSUPP);
    }
}

static void nested_without_data_is_eopnotsupp(void **state)
{
    (void)state;
    assert_int_equal(hwpt_alloc(hwpt_request(new_parent(ram_ioas), 0)), -NIDUS_EOPNOTSUPP);
}

static void nested_on_what_is_no_nest_parent_is_einval(void **state)
{
    uint32_t plain = new_plain(ram_ioas), nested = new_nested(new_parent(ram_ioas)), automatic;

    (void)state;
    assert_int_equal(attach(device_id, ram_ioas, &automatic), 0);
    assert_int_equal(hwpt_alloc(nested_request(plain)), -NIDUS_EINVAL);
    assert_int_equal(hwpt_alloc(nested_request(automatic)), -NIDUS_EINVAL);
    assert_int_equal(hwpt_alloc(nested_request(nested)), -NIDUS_EINVAL);
    assert_int_equal(hwpt_alloc(nested_request(device_id)), -NIDUS_EINVAL);
}

static void nested_data_type_length_and_pointer(void **state)
{
    struct nidus_hwpt_alloc a = nested_request(new_parent(ram_ioas));

    (void)state;
    platform_guest_write(guest, DATA, &good_s1, sizeof(good_s1));
    a.data_type = 2;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EOPNOTSUPP);
    a.data_type = NIDUS_HWPT_DATA_VTD_S1;
    a.data_len = 23;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL);
    a.data_len = 25;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EINVAL);
    a.data_len = 24;
    a.data_uptr = 0;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EFAULT);
    a.data_uptr = RAM - 23;
    assert_int_equal(hwpt_alloc(a), -NIDUS_EFAULT);
    a.data_uptr = DATA;
    assert_int_equal(hwpt_alloc(a), 0);
}

static void nidus_checks_the_first_stage_when_it_is_given(void **state)
{
    const struct {
        struct nidus_hwpt_vtd_s1 s1;
        int error;
    } rows[] = {
        { { .flags = 8, .pgtbl_addr = K4, .addr_width = 48 },                 -NIDUS_EOPNOTSUPP },
        { { .flags = 1ULL << 32, .pgtbl_addr = K4, .addr_width = 48 },        -NIDUS_EOPNOTSUPP },
        { { .pgtbl_addr = K4, .addr_width = 48, .reserved = 1 },              -NIDUS_EOPNOTSUPP },
        { { .pgtbl_addr = K4, .addr_width = 0 },                              -NIDUS_EINVAL },
        { { .pgtbl_addr = K4, .addr_width = 39 },                             -NIDUS_EINVAL },
        { { .pgtbl_addr = K4 + 1, .addr_width = 48 },                         -NIDUS_EINVAL },
        { { .pgtbl_addr = K4 + 0x80, .addr_width = 48 },                      -NIDUS_EINVAL },
        { { .pgtbl_addr = 1ULL << 48, .addr_width = 48 },                     -NIDUS_EINVAL },
        { { .pgtbl_addr = K4, .addr_width = 48 },                             0 },
        { { .pgtbl_addr = 0, .addr_width = 57 },                              0 },
    };
    uint32_t parent = new_parent(ram_ioas), id;

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(alloc_nested_with(parent, rows[i].s1, &id), rows[i].error);
}

static void the_first_stage_reaches_the_engine_as_it_was_given(void **state)
{
    uint32_t parent = new_parent(ram_ioas), id;
    const struct first_stage *f;

    (void)state;
    assert_int_equal(alloc_nested_with(parent, (struct nidus_hwpt_vtd_s1){ .flags = NIDUS_VTD_S1_SRE | NIDUS_VTD_S1_WPE,
                                       .pgtbl_addr = 0x7000, .addr_width = 57 }, &id), 0);
    f = &((struct nested *)object_get(context, id, OBJECT_NESTED))->first;
    assert_ptr_equal(&f->parent->table, table_of(parent));
    assert_int_equal(f->pgtbl, 0x7000);
    assert_int_equal(f->levels, 5);
    assert_true(f->sre && f->wpe && !f->eafe);
    assert_int_equal(alloc_nested_with(parent, (struct nidus_hwpt_vtd_s1){ .flags = NIDUS_VTD_S1_EAFE | NIDUS_VTD_S1_WPE,
                                       .pgtbl_addr = 0x8000, .addr_width = 48 }, &id), 0);
    f = &((struct nested *)object_get(context, id, OBJECT_NESTED))->first;
    assert_int_equal(f->levels, 4);
    assert_true(!f->sre && !f->wpe && f->eafe); /* WPE only with SRE */
}

static void a_parent_has_many_children_and_devices_of_its_own(void **state)
{
    uint32_t parent = new_parent(ram_ioas), a = new_nested(parent), b = new_nested(parent);

    (void)state;
    assert_int_equal(attach(device_id, a, NULL), 0);
    assert_int_equal(attach(other_device, parent, NULL), 0);
    assert_int_equal(attach(device_id, b, NULL), 0);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(destroy(parent), -NIDUS_EBUSY);
}

static void without_nested_no_nest_parent_and_no_nested_hwpt(void **state)
{
    uint32_t plain = new_plain(ram_ioas);

    (void)state;
    assert_int_equal(hwpt_alloc(hwpt_request(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT)), -NIDUS_EOPNOTSUPP);
    assert_int_equal(hwpt_alloc(nested_request(plain)), -NIDUS_EOPNOTSUPP);
    assert_int_equal(attach(device_id, plain, NULL), 0);
}

/* Erratum 772415 ------------------------------------------------------------------------------------- */

static void a_nest_parent_refuses_read_only_memory_for_ever(void **state)
{
    uint32_t ioas = new_ioas(), plain = new_plain(ioas), parent = new_parent(ioas);

    (void)state;
    engine.unit.errata_772415 = true;
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, M1), -NIDUS_EINVAL);
    assert_true(absent(plain, M1) && absent(parent, M1));
    assert_int_equal(engine.count[ENGINE_MAP], 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_WRITEABLE, 0, K4, M1), 0);
    assert_int_equal(destroy(parent), 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, 2 * M1), 0);
}

static void an_ioas_with_read_only_memory_gets_no_nest_parent(void **state)
{
    uint32_t ioas = new_ioas(), id;

    (void)state;
    engine.unit.errata_772415 = true;
    assert_int_equal(map_at(ioas, RW, 0, K4, 0), 0);
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, M1), 0);
    assert_int_equal(alloc_paging(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &id), -NIDUS_EINVAL);
    assert_int_equal(destroy(ioas), 0); /* nothing stayed behind */
}

static void without_the_erratum_read_only_memory_is_allowed(void **state)
{
    uint32_t ioas = new_ioas(), parent = new_parent(ioas);

    (void)state;
    assert_int_equal(map_at(ioas, NIDUS_IOAS_MAP_READABLE, 0, K4, M1), 0);
    assert_true(maps(parent, M1, 0, STAGE2_READ));
}

/* Attach --------------------------------------------------------------------------------------------- */

static struct device *engine_device(uint32_t id)
{
    return &((struct assigned *)object_get(context, id, OBJECT_DEVICE))->device;
}

/* The second stage that its requests without PASID go through. */
static struct domain *domain_of(uint32_t id)
{
    struct first_stage *first;
    struct domain *domain;

    engine_attached(engine_device(id), ENGINE_NO_PASID, &domain, &first);
    return domain;
}

static void attach_of_an_ioas_makes_one_automatic_hwpt_for_all(void **state)
{
    uint32_t first, second;

    (void)state;
    assert_int_equal(attach(device_id, ram_ioas, &first), 0);
    assert_int_not_equal(first, ram_ioas);
    assert_int_equal(attach(other_device, ram_ioas, &second), 0);
    assert_int_equal(first, second);
    assert_ptr_equal(domain_of(device_id), domain_of(other_device));
    assert_int_equal(destroy(first), -NIDUS_EBUSY);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(first), -NIDUS_EBUSY);
    assert_int_equal(detach(other_device), 0);
    assert_int_equal(destroy(first), -NIDUS_ENOENT); /* went with its last device */
    assert_int_equal(destroy(ram_ioas), 0);
}

static void attach_of_an_ioas_never_takes_a_users_hwpt(void **state)
{
    uint32_t plain = new_plain(ram_ioas), got;

    (void)state;
    assert_int_equal(attach(device_id, ram_ioas, &got), 0);
    assert_int_not_equal(got, plain);
}

static void an_automatic_hwpt_that_the_unit_cannot_walk_is_passed_over(void **state)
{
    uint32_t first, second;

    (void)state;
    assert_int_equal(attach(device_id, ram_ioas, &first), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EINVAL, DAMAGE_NONE);
    assert_int_equal(attach(other_device, ram_ioas, &second), 0);
    assert_int_not_equal(first, second);
}

static void attach_again_replaces(void **state)
{
    uint32_t ioas = new_ioas(), plain = new_plain(ioas), nested = new_nested(new_parent(ram_ioas)), automatic;

    (void)state;
    assert_int_equal(attach(device_id, ram_ioas, &automatic), 0);
    assert_int_equal(attach(device_id, plain, NULL), 0);
    assert_int_equal(destroy(automatic), -NIDUS_ENOENT);
    assert_int_equal(attach(device_id, nested, NULL), 0);
    assert_int_equal(destroy(plain), 0);
    assert_int_equal(attach(device_id, nested, NULL), 0); /* the same: nothing happens */
    assert_int_equal(attach(device_id, ram_ioas, NULL), 0);
    assert_int_equal(destroy(nested), 0);
}

static void a_failed_replace_keeps_the_old_attachment(void **state)
{
    uint32_t parent = new_parent(ram_ioas), a = new_nested(parent), b = new_nested(parent);
    const int errors[] = { -NIDUS_EINVAL, -NIDUS_ENOSPC, -NIDUS_ENOMEM, -NIDUS_EIO };
    uint64_t used;

    (void)state;
    assert_int_equal(attach(device_id, a, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        engine_fail(ENGINE_ATTACH, 1, errors[i], DAMAGE_NONE);
        assert_int_equal(attach(device_id, b, NULL), errors[i]);
        assert_int_equal(destroy(a), -NIDUS_EBUSY);
    }
    assert_int_equal(destroy(b), 0);
    used = guest->bytes_used;
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_ENOMEM, DAMAGE_NONE);
    assert_int_equal(attach(device_id, ram_ioas, NULL), -NIDUS_ENOMEM);
    assert_int_equal(destroy(a), -NIDUS_EBUSY);
    assert_int_equal(guest->bytes_used, used); /* nor did an automatic HWPT stay */
}

static void references_follow_what_a_broken_unit_did(void **state)
{
    uint32_t parent = new_parent(ram_ioas), a = new_nested(parent), b = new_nested(parent);

    (void)state;
    assert_int_equal(attach(device_id, a, NULL), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EIO, DAMAGE_DONE);
    assert_int_equal(attach(device_id, b, NULL), -NIDUS_EIO);
    assert_int_equal(destroy(b), -NIDUS_EBUSY);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EIO, DAMAGE_BLOCKED);
    assert_int_equal(attach(device_id, a, NULL), -NIDUS_EIO);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(destroy(b), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EIO, DAMAGE_DONE);
    assert_int_equal(attach(device_id, ram_ioas, NULL), -NIDUS_EIO);
    assert_int_equal(destroy(ram_ioas), -NIDUS_EBUSY); /* the automatic HWPT is in use */
}

/* A unit that stopped answering in a replace may have both in its caches.  The test takes the old one's use away, which nidus never does. */
static void what_a_broken_unit_may_still_have_is_in_use(void **state)
{
    uint32_t parent = new_parent(ram_ioas), a = new_nested(parent), b = new_nested(parent), automatic;
    struct nested *nested = (struct nested *)object_get(context, a, OBJECT_NESTED);
    struct paging *paging;

    (void)state;
    assert_int_equal(attach(device_id, a, NULL), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EIO, DAMAGE_BOTH);
    assert_int_equal(attach(device_id, b, NULL), -NIDUS_EIO);
    assert_int_equal(destroy(a), -NIDUS_EBUSY);
    assert_int_equal(destroy(b), -NIDUS_EBUSY);
    nested->object.users = nested->first.users = 0;
    assert_int_equal(destroy(a), 0);

    assert_int_equal(attach(device_id, ram_ioas, &automatic), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EIO, DAMAGE_BOTH);
    assert_int_equal(attach(device_id, b, NULL), -NIDUS_EIO);
    assert_int_equal(destroy(automatic), -NIDUS_EBUSY);
    paging = (struct paging *)object_get(context, automatic, OBJECT_PAGING);
    paging->object.users = paging->domain.users = 0;
    assert_int_equal(destroy(automatic), 0);
}

static void attach_checks(void **state)
{
    struct nidus_vfio_attach a = { .argsz = 11, .pt_id = ram_ioas };

    (void)state;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), 99), -NIDUS_ENOENT);
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), ram_ioas), -NIDUS_ENOENT);
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id + (1ULL << 32)), -NIDUS_ENOENT);
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_EINVAL);
    assert_int_equal(iommu_call(context, NIDUS_CALL_ATTACH, RAM - 11, device_id), -NIDUS_EFAULT);
    a.argsz = 16;
    a.flags = 2;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_EINVAL);
    a.flags = NIDUS_VFIO_ATTACH_PASID;
    a.argsz = 15;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_EINVAL);
    a.argsz = 16;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, RAM - 12, &a, 12, device_id), -NIDUS_EFAULT);
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_EINVAL); /* PASID 0 */
    a.flags = 0;
    a.pt_id = 99;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_ENOENT);
    a.pt_id = other_device;
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), -NIDUS_EINVAL);
    a.pt_id = ram_ioas;
    a.pasid = 7;                /* behind what is read without ATTACH_PASID */
    assert_int_equal(call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id), 0);
    assert_int_equal(a.pasid, 7);
}

static void detach_of_what_is_not_attached_succeeds(void **state)
{
    struct nidus_vfio_detach d = { .argsz = 7 };

    (void)state;
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(detach(99), -NIDUS_ENOENT);
    assert_int_equal(call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 12, device_id), -NIDUS_EINVAL);
    d = (struct nidus_vfio_detach){ .argsz = 12, .flags = 2 };
    assert_int_equal(call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 12, device_id), -NIDUS_EINVAL);
    d.flags = NIDUS_VFIO_DETACH_PASID;
    assert_int_equal(call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 12, device_id), -NIDUS_EINVAL); /* PASID 0 */
    d.pasid = 5;
    assert_int_equal(call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 12, device_id), 0);
    d.argsz = 11;
    assert_int_equal(call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, 12, device_id), -NIDUS_EINVAL);
}

/* PASIDs --------------------------------------------------------------------------------------------- */

static int64_t attach_pasid(uint32_t pasid, uint32_t pt)
{
    struct nidus_vfio_attach a = { .argsz = 16, .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = pt, .pasid = pasid };
    return call_at(NIDUS_CALL_ATTACH, PAYLOAD, &a, sizeof(a), device_id);
}

static int64_t detach_pasid(uint32_t pasid)
{
    struct nidus_vfio_detach d = { .argsz = 12, .flags = NIDUS_VFIO_DETACH_PASID, .pasid = pasid };
    return call_at(NIDUS_CALL_DETACH, PAYLOAD, &d, sizeof(d), device_id);
}

static uint32_t hwpt_with(uint32_t pt, uint32_t flags)
{
    uint32_t id;

    assert_int_equal(alloc_paging(pt, flags, &id), 0);
    return id;
}

static uint32_t nested_with(uint32_t parent, uint32_t flags)
{
    struct nidus_hwpt_alloc a = nested_request(parent);

    a.flags = flags;
    platform_guest_write(guest, DATA, &good_s1, sizeof(good_s1));
    assert_int_equal(CALL(NIDUS_CALL_HWPT_ALLOC, a), 0);
    return a.out_hwpt_id;
}

/* iommufd_device_pasid.pasid_attach of Linux's own tests, facts 5, items 76 to 88. */
static void pasids_are_attached_where_all_hwpts_were_made_for_them(void **state)
{
    uint32_t plain = hwpt_with(ram_ioas, 0), with = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_PASID);
    uint32_t parent = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_PASID);
    uint32_t nested = nested_with(parent, NIDUS_HWPT_ALLOC_PASID), other = nested_with(parent, 0);

    (void)state;
    assert_int_equal(detach_pasid(7), 0);                       /* nothing there */
    assert_int_equal(attach(device_id, plain, NULL), 0);
    assert_int_equal(attach_pasid(7, nested), -NIDUS_EINVAL);   /* what is without PASID was not made for it */
    assert_int_equal(attach(device_id, with, NULL), 0);
    assert_int_equal(attach_pasid(7, other), -NIDUS_EINVAL);
    assert_int_equal(attach_pasid(7, ram_ioas), -NIDUS_EINVAL);
    assert_int_equal(attach_pasid(7, 99), -NIDUS_ENOENT);
    assert_int_equal(engine.count[ENGINE_ATTACH], 2);
    assert_int_equal(attach_pasid(7, nested), 0);
    assert_int_equal(destroy(nested), -NIDUS_EBUSY);
    assert_int_equal(attach(device_id, plain, NULL), -NIDUS_EINVAL);
    assert_int_equal(attach(device_id, ram_ioas, NULL), -NIDUS_EINVAL);
    assert_int_equal(attach(device_id, nested, NULL), 0);
    assert_int_equal(attach_pasid(7, with), 0);                 /* replace */
    assert_int_equal(attach_pasid(1, nested), 0);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(nested), -NIDUS_EBUSY);
    assert_int_equal(detach_pasid(1), 0);
    assert_int_equal(destroy(nested), 0);
    assert_int_equal(destroy(with), -NIDUS_EBUSY);
    assert_true(iommu_context_block(context));                  /* with all its PASIDs */
    assert_int_equal(destroy(with), 0);
    assert_int_equal(destroy(plain), 0);
    assert_int_equal(destroy(other), 0);
    assert_int_equal(destroy(parent), 0);
}

static void a_guest_has_a_bounded_number_of_pasids(void **state)
{
    uint32_t with = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_PASID), another = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_PASID);

    (void)state;
    assert_int_equal(attach(device_id, with, NULL), 0);         /* this is none */
    for (uint32_t pasid = 1; pasid <= 4096; pasid++)
        assert_int_equal(attach_pasid(pasid, with), 0);
    assert_int_equal(attach_pasid(4097, with), -NIDUS_ENOMEM);
    assert_int_equal(attach_pasid(5, another), 0);              /* one that is there moves */
    assert_int_equal(attach(device_id, another, NULL), 0);
    assert_int_equal(detach_pasid(7), 0);
    assert_int_equal(detach_pasid(7), 0);
    assert_int_equal(attach_pasid(4097, with), 0);
    assert_int_equal(attach_pasid(7, with), -NIDUS_ENOMEM);
}

static void a_failed_replace_of_a_pasid_keeps_the_old_attachment(void **state)
{
    uint32_t with = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_PASID), next = hwpt_with(ram_ioas, NIDUS_HWPT_ALLOC_PASID);

    (void)state;
    assert_int_equal(attach_pasid(7, with), 0);
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_ENOMEM, DAMAGE_NONE);
    assert_int_equal(attach_pasid(7, next), -NIDUS_ENOMEM);
    assert_int_equal(destroy(with), -NIDUS_EBUSY);
    assert_int_equal(destroy(next), 0);
    assert_int_equal(detach_pasid(7), 0);
}

static void a_device_is_fenced_when_the_engine_says_so(void **state)
{
    (void)state;
    assert_false(iommu_fenced(context, device_id));
    engine.fenced = true;
    assert_true(iommu_fenced(context, device_id));
    assert_false(iommu_fenced(context, ram_ioas));
}

static void hw_info_tells_the_width_of_pasids(void **state)
{
    struct nidus_hw_info info = info_request(24);

    (void)state;
    engine.unit.pasid_bits = 20;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.out_max_pasid_log2, 20);
}

static void hw_info_tells_what_requests_with_pasids_may_be(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct nidus_hw_info info = info_request(24);

        engine.unit.pasid_bits = 20;
        engine.unit.execute = i & 1;
        engine.unit.privileged = i & 2;
        assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
        assert_int_equal(!!(info.out_capabilities & NIDUS_HW_CAP_PCI_PASID_EXEC), i & 1);
        assert_int_equal(!!(info.out_capabilities & NIDUS_HW_CAP_PCI_PASID_PRIV), i >> 1);
    }
}

/* HWPT_INVALIDATE ------------------------------------------------------------------------------------ */

static uint32_t invalidated_hwpt(void)
{
    return new_nested(new_parent(ram_ioas));
}

static void invalidate_reaches_the_engine_in_order(void **state)
{
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    put_entry(0, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 5 * K4, .npages = 3 });
    put_entry(1, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 9 * K4, .npages = 1, .flags = NIDUS_VTD_INV_LEAF });
    expect_invalidate(invalidate_request(hwpt, 2), 0, 2);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], 1);
    assert_int_equal(engine.pages, 4);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(engine.page[i], (5 + i) * K4);
    assert_int_equal(engine.page[3], 9 * K4 | BLOCK_IH);
    put_entry(1, (struct nidus_hwpt_vtd_s1_invalidate){ .npages = EVERYTHING });
    expect_invalidate(invalidate_request(hwpt, 2), 0, 2);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], 2);
    assert_int_equal(engine.pages, 5);
    assert_int_equal(engine.page[4], EVERYTHING);
    assert_ptr_equal(engine.invalidated, &((struct nested *)object_get(context, hwpt, OBJECT_NESTED))->first);
}

static void no_entries_probe_the_type(void **state)
{
    struct nidus_hwpt_invalidate inv = invalidate_request(invalidated_hwpt(), 0);

    (void)state;
    inv.data_uptr = 0;
    inv.entry_len = 0;
    expect_invalidate(inv, 0, 0);
    inv.data_type = 1;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], 0);
}

static void invalidate_checks_in_linuxs_order_and_always_writes_entry_num(void **state)
{
    uint32_t hwpt = invalidated_hwpt(), parent = new_parent(ram_ioas);
    struct nidus_hwpt_invalidate inv = invalidate_request(99, 1);

    (void)state;
    put_good_entries(1);
    inv.reserved = 1;
    inv.data_uptr = 0;
    expect_invalidate(inv, -NIDUS_EOPNOTSUPP, 0);
    inv.reserved = 0;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.data_uptr = DATA;
    inv.entry_len = 0;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.entry_len = 4097;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.entry_len = 24;
    inv.entry_num = (1 << 19) + 1;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.entry_num = 1;
    expect_invalidate(inv, -NIDUS_ENOENT, 0);
    inv.hwpt_id = parent;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.hwpt_id = device_id;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.hwpt_id = hwpt;
    inv.data_type = 1;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.data_type = 0;
    inv.entry_len = 25;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.entry_len = 1;
    expect_invalidate(inv, -NIDUS_EINVAL, 0);
    inv.entry_len = 24;
    inv.data_uptr = RAM;
    expect_invalidate(inv, -NIDUS_EFAULT, 0);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], 0);
    inv.data_uptr = DATA;
    expect_invalidate(inv, 0, 1);
}

static void a_bad_entry_stops_after_those_before_it(void **state)
{
    const struct {
        struct nidus_hwpt_vtd_s1_invalidate entry;
        int error;
    } rows[] = {
        { { .addr = K4, .npages = 1, .flags = 2 },                    -NIDUS_EOPNOTSUPP },
        { { .addr = K4, .npages = 1, .flags = UINT32_MAX },           -NIDUS_EOPNOTSUPP },
        { { .addr = K4, .npages = 1, .reserved = 1 },                 -NIDUS_EOPNOTSUPP },
        { { .addr = K4 + 1, .npages = 1 },                            -NIDUS_EINVAL },
        { { .addr = UINT64_MAX, .npages = 1 },                        -NIDUS_EINVAL },
        { { .addr = 2048, .npages = 1ULL << 63 },                     -NIDUS_EINVAL },
        { { .addr = 1, .npages = 0xfff0000000000001 },                -NIDUS_EINVAL },
        { { .addr = 1, .npages = EVERYTHING },                        -NIDUS_EINVAL },
        { { .addr = K4, .npages = EVERYTHING },                       -NIDUS_EINVAL },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t hwpt = invalidated_hwpt();

        for (unsigned position = 0; position < 4; position++) {
            unsigned before = engine.pages;

            put_good_entries(4);
            put_entry(position, rows[i].entry);
            expect_invalidate(invalidate_request(hwpt, 4), rows[i].error, position);
            assert_int_equal(engine.pages - before, position);
        }
    }
}

static void expect_blocks(uint32_t hwpt, unsigned entries, const uint64_t *expected, unsigned count)
{
    expect_invalidate(invalidate_request(hwpt, entries), 0, entries);
    assert_int_equal(engine.blocks.count, count);
    assert_memory_equal(engine.blocks.block, expected, count * sizeof(*expected));
}

/* Guests give up memory page by page, in order. */
static void entries_that_follow_each_other_go_as_one(void **state)
{
    uint32_t hwpt = invalidated_hwpt();
    struct nidus_hwpt_vtd_s1_invalidate e = { .npages = 1, .flags = NIDUS_VTD_INV_LEAF };

    (void)state;
    for (unsigned i = 0; i < 512; i++) {
        e.addr = (512 + i) * K4;
        put_entry(i, e);
    }
    expect_blocks(hwpt, 512, (const uint64_t[]){ 512 * K4 | BLOCK_IH | 9 }, 1);
    e = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = (512 + 256) * K4, .npages = 1 };
    put_entry(256, e);                                  /* one that says more is no part of it */
    expect_blocks(hwpt, 258, (const uint64_t[]){ 512 * K4 | BLOCK_IH | 8, 768 * K4, 769 * K4 | BLOCK_IH }, 3);
    e = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 513 * K4, .npages = 2, .flags = NIDUS_VTD_INV_LEAF };
    put_entry(1, e);                                    /* nor one that begins elsewhere than where another ends */
    expect_blocks(hwpt, 4, (const uint64_t[]){ 512 * K4 | BLOCK_IH | 1, 514 * K4 | BLOCK_IH, 514 * K4 | BLOCK_IH | 1 }, 3);
    e.npages = 1 << 18;
    put_entry(1, e);
    e.addr += e.npages * K4;
    put_entry(2, e);
    expect_invalidate(invalidate_request(hwpt, 3), 0, 3); /* together wide enough for everything */
    assert_int_equal(engine.blocks.count, ENGINE_EVERYTHING);
}

/* Blocks are as large as they are aligned to and as there is room for: the fewest that are the range. */
static void ranges_are_cut_into_aligned_blocks(void **state)
{
    const struct {
        uint64_t addr, npages;
        unsigned blocks;        /* 0: everything */
    } rows[] = {
        { 5 * K4, 1, 1 },
        { 512 * K4, 512, 1 },
        { 0, 1 << 18, 1 },
        { 1ULL << 30, 1 << 18, 1 },
        { K4, 7, 3 },                   /* 1 + 2 + 4 */
        { 0, 7, 3 },                    /* 4 + 2 + 1 */
        { K4, 1 << 18, 19 },            /* 1 + 2 + … + 2^17, and the page at the end */
        { -K4, 1, 1 },
        { 0xffff800000000000, 512, 1 },
        { 1ULL << 30, (1 << 18) + 1, 0 }, /* wider costs less as everything */
    };
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t next = rows[i].addr;

        put_entry(0, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = next, .npages = rows[i].npages });
        expect_invalidate(invalidate_request(hwpt, 1), 0, 1);
        assert_int_equal(engine.blocks.count, rows[i].blocks != 0 ? rows[i].blocks : ENGINE_EVERYTHING);
        for (unsigned n = 0; n < rows[i].blocks; n++) {
            uint64_t block = engine.blocks.block[n], size = K4 << (block & 63);

            assert_int_equal(block & ~63ULL, next);
            assert_int_equal(next % size, 0);
            next += size;
        }
        assert_true(rows[i].blocks == 0 || next == rows[i].addr + rows[i].npages * K4);
    }
}

/* … and when there are more than go with one submission, everything goes. */
static void too_many_blocks_are_everything(void **state)
{
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    for (unsigned i = 0; i < 512; i++)
        put_entry(i, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = (16 * i + 1) * K4, .npages = i < 510 ? 3 : 1 });
    expect_invalidate(invalidate_request(hwpt, 512), 0, 512);
    assert_int_equal(engine.blocks.count, 2 * 510 + 2);
    put_entry(510, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = (16 * 510 + 1) * K4, .npages = 3 });
    expect_invalidate(invalidate_request(hwpt, 512), 0, 512);
    assert_int_equal(engine.blocks.count, ENGINE_EVERYTHING);
    put_entry(510, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = (16 * 510 + 1) * K4, .npages = 15 }); /* in the middle of an entry */
    expect_invalidate(invalidate_request(hwpt, 512), 0, 512);
    assert_int_equal(engine.blocks.count, ENGINE_EVERYTHING);
    put_good_entries(512);
    expect_invalidate(invalidate_request(hwpt, 512), 0, 512); /* the next request begins anew */
    assert_int_equal(engine.blocks.count, 1);
}

/* Addresses do not begin anew behind the last one. */
static void the_last_page_and_the_first_do_not_follow_each_other(void **state)
{
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    put_entry(0, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = -K4, .npages = 1 });
    put_entry(1, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 0, .npages = 1 });
    expect_blocks(hwpt, 2, (const uint64_t[]){ -K4, 0 }, 2);
    put_entry(1, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 0, .npages = EVERYTHING });
    put_entry(2, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = K4, .npages = 0 });
    expect_invalidate(invalidate_request(hwpt, 3), -NIDUS_EINVAL, 2);
    assert_int_equal(engine.blocks.count, ENGINE_EVERYTHING);
}

static void nidus_refuses_no_pages_and_ranges_that_wrap(void **state)
{
    const struct {
        uint64_t addr, npages;
        int error;
    } rows[] = {
        { 0, 0, -NIDUS_EINVAL },
        { K4, 0, -NIDUS_EINVAL },
        { -K4, 1, 0 },
        { -K4, 2, -NIDUS_EINVAL },
        { 0, 1ULL << 52, 0 },
        { 0, (1ULL << 52) + 1, -NIDUS_EINVAL },
        { K4, 1ULL << 52, -NIDUS_EINVAL },
        { 0, EVERYTHING - 1, -NIDUS_EINVAL },
    };
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_entry(0, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = rows[i].addr, .npages = rows[i].npages });
        expect_invalidate(invalidate_request(hwpt, 1), rows[i].error, rows[i].error == 0);
    }
}

static void entries_that_end_outside_ram_are_efault_after_those_inside(void **state)
{
    struct nidus_hwpt_invalidate inv = invalidate_request(invalidated_hwpt(), 10);

    (void)state;
    inv.data_uptr = RAM - 5 * 24 - 3;
    for (unsigned i = 0; i < 5; i++) {
        struct nidus_hwpt_vtd_s1_invalidate e = { .addr = i * K4, .npages = 1 };

        platform_guest_write(guest, inv.data_uptr + i * 24, &e, 24);
    }
    expect_invalidate(inv, -NIDUS_EFAULT, 5);
    assert_int_equal(engine.pages, 5);
    assert_int_equal(engine.page[4], 4 * K4);
}

/* Entries that a device of the guest writes while the call is made: bytes that become others as soon as they have been loaded so often. */
static struct {
    uint8_t *at, later;
    unsigned loads;
} changing[600 * sizeof(struct nidus_hwpt_vtd_s1_invalidate)];
static unsigned changing_bytes, change_after;

static void change_what_was_loaded(const volatile void *from, size_t bytes)
{
    for (unsigned i = 0; i < changing_bytes; i++)
        if ((uintptr_t)changing[i].at - (uintptr_t)from < bytes && ++changing[i].loads == change_after)
            *changing[i].at = changing[i].later;
}

/* An entry, i of those at gpa, whose words become bad ones. */
static void put_changing_entry(uint64_t gpa, unsigned i, struct nidus_hwpt_vtd_s1_invalidate e)
{
    const struct nidus_hwpt_vtd_s1_invalidate later = { .addr = e.addr ^ 0x40000801, .npages = 0, .flags = NIDUS_VTD_INV_LEAF | 2 };

    gpa += i * sizeof(e);
    assert_int_equal(platform_guest_write(guest, gpa, &e, sizeof(e)), 0);
    changing_bytes = (unsigned)((i + 1) * sizeof(e));
    for (unsigned j = 0; j < sizeof(e); j++) {
        changing[i * sizeof(e) + j].at = host_guest_byte(guest, gpa + j);
        changing[i * sizeof(e) + j].later = ((const uint8_t *)&later)[j];
        changing[i * sizeof(e) + j].loads = 0;
    }
}

static void expect_no_change(uint32_t hwpt, uint64_t gpa, unsigned count)
{
    struct nidus_hwpt_invalidate inv = invalidate_request(hwpt, count);
    unsigned before = engine.pages;

    inv.data_uptr = gpa;
    for (unsigned i = 0; i < count; i++)
        put_changing_entry(gpa, i, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 2 * i * K4, .npages = 1 });
    change_after = 1;
    host_load_hook = change_what_was_loaded;
    expect_invalidate(inv, 0, count);
    host_load_hook = NULL;
    assert_int_equal(engine.pages - before, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(engine.page[before + i], 2 * i * K4);
    for (unsigned i = 0; i < changing_bytes; i++)
        assert_int_equal(changing[i].loads, 1);
}

/* What is checked is what goes: each word is loaded once, where the guest has the entries as well as where they are copied first. */
static void entries_that_change_meanwhile_go_as_they_were(void **state)
{
    const struct {
        uint64_t gpa;
        unsigned count;
    } rows[] = {
        { DATA, 1 },                    /* in place */
        { DATA, 2 },
        { DATA, 600 },                  /* … in two steps, */
        { RAM - 24, 1 },                /* … at the end of RAM */
        { DATA + 4, 1 },                /* copied: not at a multiple of 8, */
        { DATA + 4, 600 },
        { 0x100, 1 },                   /* in the page at GPA 0, */
        { RAM / 2 - 8, 1 },             /* in two runs of RAM */
        { RAM / 2 - 300 * 24 - 8, 600 },
    };
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_no_change(hwpt, rows[i].gpa, rows[i].count);
}

static void expect_good_or_bad(uint32_t hwpt, unsigned word)
{
    const struct nidus_hwpt_vtd_s1_invalidate e = { .addr = 8 * K4, .npages = 3 };
    struct nidus_hwpt_invalidate inv = invalidate_request(hwpt, 1);
    unsigned before = engine.pages;
    int64_t result;

    put_changing_entry(DATA, 0, e);
    for (unsigned i = 0; i < sizeof(e); i++)
        if (i / 8 != word)
            changing[i].later = *changing[i].at;
    host_load_hook = change_what_was_loaded;
    result = CALL(NIDUS_CALL_HWPT_INVALIDATE, inv);
    host_load_hook = NULL;
    assert_int_equal(inv.entry_num, result == 0);
    assert_int_equal(engine.pages - before, result == 0 ? e.npages : 0);
    for (unsigned i = before; i < engine.pages; i++)
        assert_int_equal(engine.page[i], e.addr + (i - before) * K4);
}

/* One that is not of one page may be looked at before it is taken: it goes as it was, or is the bad one that it has become. */
static void an_entry_of_several_pages_that_changes_goes_as_it_was_or_is_refused(void **state)
{
    uint32_t hwpt = invalidated_hwpt();

    (void)state;
    for (change_after = 1; change_after < 4; change_after++)
        for (unsigned word = 0; word < 3; word++)
            expect_good_or_bad(hwpt, word);
}

static void entries_are_taken_in_steps_and_a_unit_that_fails_stops_them(void **state)
{
    struct nidus_hwpt_invalidate inv = invalidate_request(invalidated_hwpt(), 1300);

    (void)state;
    put_good_entries(1300);
    expect_invalidate(inv, 0, 1300);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], 3);
    assert_int_equal(steps, 3);
    assert_int_equal(engine.pages, 1300);
    for (unsigned i = 0; i < 1300; i++)
        assert_int_equal(engine.page[i], i * K4);
    engine_fail(ENGINE_INVALIDATE, 2, -NIDUS_EIO, DAMAGE_NONE);
    expect_invalidate(inv, -NIDUS_EIO, 512);
    put_entry(1024, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 1 });
    expect_invalidate(inv, -NIDUS_EINVAL, 1024); /* the first of a step */
    put_entry(1023, (struct nidus_hwpt_vtd_s1_invalidate){ .addr = 1 });
    expect_invalidate(inv, -NIDUS_EINVAL, 1023);
}

static void as_many_entries_as_linux_takes(void **state)
{
    const uint32_t most = NIDUS_HWPT_INVALIDATE_MAX_ENTRIES;
    struct nidus_hwpt_invalidate inv = invalidate_request(invalidated_hwpt(), most);

    (void)state;
    put_good_entries(most);
    expect_invalidate(inv, 0, most);
    assert_int_equal(steps, most / 512);
    assert_int_equal(engine.count[ENGINE_INVALIDATE], steps);
}

/* Dirty tracking ------------------------------------------------------------------------------------- */

static int64_t set_tracking(uint32_t hwpt, uint32_t flags)
{
    struct nidus_hwpt_set_dirty_tracking s = { .size = sizeof(s), .flags = flags, .hwpt_id = hwpt };

    return CALL(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, s);
}

#define BITMAP 0x30003ULL       /* any alignment */

static struct nidus_hwpt_get_dirty_bitmap bitmap_request(uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t page_size)
{
    return (struct nidus_hwpt_get_dirty_bitmap){
        .size = sizeof(struct nidus_hwpt_get_dirty_bitmap), .hwpt_id = hwpt, .iova = iova, .length = length, .page_size = page_size,
        .data = BITMAP,
    };
}

static int64_t get_bitmap(struct nidus_hwpt_get_dirty_bitmap g)
{
    for (unsigned i = 0; i < 4096; i++)
        *host_guest_byte(guest, BITMAP + i) = 0;
    return CALL(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, g);
}

static bool is_set(uint64_t bit)
{
    return *host_guest_byte(guest, BITMAP + bit / 8) >> bit % 8 & 1;
}

static unsigned bits_set(void)
{
    unsigned set = 0;

    for (unsigned i = 0; i < 4096 * 8; i++)
        set += is_set(i);
    return set;
}

/* As a unit does for a device that writes there. */
static void device_writes(uint32_t hwpt, uint64_t iova)
{
    struct stage2 *t = table_of(hwpt);
    uint64_t *table = t->root, *entry = NULL;

    for (unsigned level = t->levels; level > 0; level--) {
        entry = &table[iova >> (12 + 9 * (level - 1)) & 511];
        assert_int_not_equal(*entry & 3, 0);
        if (level == 1 || (*entry & 0x80) != 0)
            break;
        table = platform_virt(*entry & 0xffffffffff000);
    }
    *entry |= 0x300;
}

/* RAM at IOVA 64 MiB, in 4 KiB pages, and at 128 MiB in large ones. */
static uint32_t tracked_hwpt(void)
{
    uint32_t ioas = new_ioas(), hwpt;

    engine.unit.dirty = true;
    assert_int_equal(map_at(ioas, RW, 0, RAM - K4, 64 * M1 + K4), 0);
    assert_int_equal(map_at(ioas, RW, 0, RAM, 128 * M1), 0);
    assert_int_equal(alloc_paging(ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING | NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), 0);
    return hwpt;
}

static void tracking_needs_a_unit_that_can(void **state)
{
    struct nidus_hw_info info = info_request(0);
    uint32_t hwpt;

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.out_capabilities & NIDUS_HW_CAP_DIRTY_TRACKING, 0);
    assert_int_equal(alloc_paging(ram_ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING, &hwpt), -NIDUS_EOPNOTSUPP);
    engine.unit.dirty = true;
    assert_int_equal(CALL(NIDUS_CALL_GET_HW_INFO, info), 0);
    assert_int_equal(info.out_capabilities & NIDUS_HW_CAP_DIRTY_TRACKING, NIDUS_HW_CAP_DIRTY_TRACKING);
    assert_int_equal(alloc_paging(ram_ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING, &hwpt), 0);
}

static void set_tracking_checks_in_linuxs_order(void **state)
{
    struct nidus_hwpt_set_dirty_tracking s = { .size = sizeof(s), .flags = 2, .hwpt_id = 99, .reserved = 1 };
    uint32_t hwpt = tracked_hwpt();

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, s), -NIDUS_EOPNOTSUPP);
    s.flags = 1;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, s), -NIDUS_EOPNOTSUPP);
    s.reserved = 0;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, s), -NIDUS_ENOENT);
    assert_int_equal(set_tracking(ram_ioas, 1), -NIDUS_ENOENT);
    assert_int_equal(set_tracking(new_nested(hwpt), 1), -NIDUS_ENOENT);
    assert_int_equal(set_tracking(new_plain(ram_ioas), 1), -NIDUS_EOPNOTSUPP);
    assert_int_equal(set_tracking(hwpt, 0), 0); /* it is off */
    assert_int_equal(engine.count[ENGINE_TRACK], 0);
    assert_int_equal(set_tracking(hwpt, 1), 0);
    assert_int_equal(engine.count[ENGINE_TRACK], 1);
    engine_fail(ENGINE_TRACK, 1, -NIDUS_EIO, DAMAGE_NONE);
    assert_int_equal(set_tracking(hwpt, 0), -NIDUS_EIO);
    assert_int_equal(set_tracking(hwpt, 0), 0);
}

static void get_bitmap_checks_in_linuxs_order(void **state)
{
    uint32_t hwpt = tracked_hwpt(), plain = new_plain(ram_ioas);
    struct nidus_hwpt_get_dirty_bitmap g = bitmap_request(99, UINT64_MAX - K4 + 1, 0, 0);

    (void)state;
    g.flags = 2;
    assert_int_equal(get_bitmap(g), -NIDUS_EOPNOTSUPP);
    g.flags = 0;
    g.reserved = 1;
    assert_int_equal(get_bitmap(g), -NIDUS_EOPNOTSUPP);
    g.reserved = 0;
    assert_int_equal(get_bitmap(g), -NIDUS_ENOENT);
    g.hwpt_id = plain;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL); /* length 0 */
    g.length = 2 * K4;
    assert_int_equal(get_bitmap(g), -NIDUS_EOVERFLOW);
    g.length = K4;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL); /* page size */
    g.page_size = 2048;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL);
    g.page_size = 3 * K4;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL);
    g.page_size = 2 * K4;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL); /* not of such pages */
    g.page_size = K4;
    assert_int_equal(get_bitmap(g), -NIDUS_EOPNOTSUPP);
    g.hwpt_id = hwpt;
    assert_int_equal(get_bitmap(g), -NIDUS_EINVAL); /* off */
    assert_int_equal(set_tracking(hwpt, 1), 0);
    g = bitmap_request(hwpt, 64 * M1, 9 * K4, K4);
    g.data = RAM - 1;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, g), -NIDUS_EFAULT);
    g.data = 0;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, g), -NIDUS_EFAULT);
    g.data = RAM - 2;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, g), 0);
    engine_fail(ENGINE_READ_DIRTY, 1, -NIDUS_EIO, DAMAGE_DONE);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 64 * M1, 9 * K4, K4)), -NIDUS_EIO);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 0, 16 * M1, K4)), 0); /* nothing there */
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 1ULL << 60, K4, K4)), 0);
    assert_int_equal(bits_set(), 0);
}

static void written_pages_are_told_once(void **state)
{
    static const uint64_t pages[] = { 1, 2, 7, 8, 9, 63, 64, 511, 512, 2047, 2048, 4095 };
    uint32_t hwpt = tracked_hwpt();
    struct nidus_hwpt_get_dirty_bitmap g = bitmap_request(hwpt, 64 * M1, RAM, K4);
    const unsigned count = sizeof(pages) / sizeof(pages[0]);

    (void)state;
    device_writes(hwpt, 64 * M1 + 5 * K4); /* from before */
    assert_int_equal(set_tracking(hwpt, 1), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < count; i++)
            device_writes(hwpt, 64 * M1 + pages[i] * K4);
        g.flags = NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
        assert_int_equal(get_bitmap(g), 0);
        g.flags = 0;
        assert_int_equal(bits_set(), count);
        assert_int_equal(get_bitmap(g), 0);
        for (unsigned i = 0; i < count; i++)
            assert_true(is_set(pages[i]));
        assert_int_equal(bits_set(), count);
        assert_int_equal(get_bitmap(g), 0);
        assert_int_equal(bits_set(), 0);
    }
    device_writes(hwpt, 64 * M1 + 7 * K4);
    *host_guest_byte(guest, BITMAP) = 0x21;
    assert_int_equal(CALL(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, g), 0);
    assert_int_equal(*host_guest_byte(guest, BITMAP), 0xa1); /* what was set stays */
    device_writes(hwpt, 64 * M1 + 7 * K4);
    assert_int_equal(set_tracking(hwpt, 1), 0); /* again: a new start */
    assert_int_equal(get_bitmap(g), 0);
    assert_int_equal(bits_set(), 0);
}

static void a_bit_may_be_more_than_a_page(void **state)
{
    uint32_t hwpt = tracked_hwpt();

    (void)state;
    assert_int_equal(set_tracking(hwpt, 1), 0);
    device_writes(hwpt, 64 * M1 + 0x5000);
    device_writes(hwpt, 72 * M1 - K4);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 64 * M1, RAM, 64 * 1024)), 0);
    assert_true(is_set(0) && is_set(8 * M1 / 0x10000 - 1));
    assert_int_equal(bits_set(), 2);
    device_writes(hwpt, 64 * M1 + 0x5000);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 0, 1ULL << 40, 1ULL << 40)), 0);
    assert_true(is_set(0));
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 64 * M1, RAM, K4)), 0);
    assert_int_equal(bits_set(), 0);
}

static void each_page_of_a_large_one_is_told(void **state)
{
    uint32_t hwpt = tracked_hwpt();

    (void)state;
    assert_int_equal(set_tracking(hwpt, 1), 0);
    device_writes(hwpt, 130 * M1 + 0x3000);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 128 * M1, RAM, K4)), 0);
    for (unsigned i = 512; i < 1024; i++)
        assert_true(is_set(i));
    assert_int_equal(bits_set(), 512);
    device_writes(hwpt, 130 * M1 + 0x3000);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 130 * M1 - 3 * K4, 4 * M1, K4)), 0);
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(is_set(i), i >= 3 && i < 515);
    /* A part of one is told of, and stays dirty, for the rest would be lost. */
    device_writes(hwpt, 130 * M1);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 131 * M1, 3 * K4, K4)), 0);
    assert_int_equal(bits_set(), 3);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 130 * M1 + K4, 8 * M1, K4)), 0);
    assert_int_equal(bits_set(), 511);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 130 * M1, 2 * M1, K4)), 0);
    assert_int_equal(bits_set(), 512);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 130 * M1, 2 * M1, K4)), 0);
    assert_int_equal(bits_set(), 0);
}

static void a_large_page_that_is_cut_counts_as_written(void **state)
{
    uint32_t hwpt;

    (void)state;
    engine.unit.dirty = true;
    assert_int_equal(alloc_paging(ram_ioas, NIDUS_HWPT_ALLOC_DIRTY_TRACKING, &hwpt), 0);
    assert_int_equal(set_tracking(hwpt, 1), 0);
    assert_int_equal(unmap(ram_ioas, 4 * M1, K4, NULL), 0);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 0, RAM, K4)), 0);
    assert_int_equal(bits_set(), 511);
    assert_true(!is_set(1024) && is_set(1025) && is_set(1535));
}

static void long_bitmaps_are_made_in_steps(void **state)
{
    uint32_t hwpt = tracked_hwpt();
    unsigned seen = engine.count[ENGINE_READ_DIRTY];

    (void)state;
    assert_int_equal(set_tracking(hwpt, 1), 0);
    assert_int_equal(engine.count[ENGINE_READ_DIRTY] - seen, RAM / K4 / 512 + 1);
    assert_true(steps >= RAM / K4 / 512);
    for (uint64_t page = 1; page < RAM / K4; page += 3)
        device_writes(hwpt, 64 * M1 + page * K4);
    assert_int_equal(get_bitmap(bitmap_request(hwpt, 64 * M1, RAM, K4)), 0);
    assert_true(steps >= RAM / K4 / 512);
    for (uint64_t page = 0; page < RAM / K4; page++)
        assert_int_equal(is_set(page), page % 3 == 1);
}

/* Calls in steps ------------------------------------------------------------------------------------- */

static uint32_t long_ioas, long_a, long_b;

/* Where GPA and IOVA differ by an odd number of pages every leaf is 4 KiB. */
#define ODD (M1 + K4)

static void two_tables(void)
{
    long_ioas = new_ioas();
    long_a = new_plain(long_ioas);
    long_b = new_plain(long_ioas);
}

/* A step has at most 512 entries, and 8 requests. */
static void bounded(void)
{
    assert_true(engine.count[ENGINE_MAP] - seen_maps <= 8);
    assert_true(engine.count[ENGINE_UNMAP] - seen_unmaps <= 8);
    seen_maps = engine.count[ENGINE_MAP];
    seen_unmaps = engine.count[ENGINE_UNMAP];
}

static void watch_steps(void (*look)(void))
{
    seen_maps = engine.count[ENGINE_MAP];
    seen_unmaps = engine.count[ENGINE_UNMAP];
    between_steps = look;
}

/* What devices and other processors could do meanwhile has no effect: the payload is nidus's from the first step on. */
static void spoil_the_payload(void)
{
    uint64_t bad[8] = { 0, UINT64_MAX, 1, UINT64_MAX, UINT64_MAX };

    bounded();
    platform_guest_write(guest, PAYLOAD, bad, sizeof(bad));
}

static bool all_mapped(uint32_t hwpt, uint64_t iova)
{
    bool all = true;

    for (uint64_t at = 0; at < RAM; at += K4)
        all = all && maps(hwpt, iova + at, at, STAGE2_READ | STAGE2_WRITE);
    return all;
}

static bool all_absent(uint32_t hwpt, uint64_t iova)
{
    bool all = true;

    for (uint64_t at = 0; at < RAM; at += K4)
        all = all && absent(hwpt, iova + at);
    return all;
}

static void a_long_map_is_made_in_steps(void **state)
{
    (void)state;
    two_tables();
    watch_steps(spoil_the_payload);
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    assert_true(steps >= 2 * RAM / K4 / 512);
    assert_true(all_mapped(long_a, ODD) && all_mapped(long_b, ODD));
    watch_steps(bounded);
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), -NIDUS_EEXIST);
    assert_int_equal(map_at(long_ioas, RW, 0, RAM / 2, 64 * M1), 0);
    assert_int_equal(steps, 1);        /* a few large pages */
}

static void a_long_map_that_fails_is_taken_back_in_steps(void **state)
{
    unsigned calls;

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    calls = engine.count[ENGINE_MAP];
    assert_int_equal(unmap(long_ioas, ODD, RAM, NULL), 0);
    watch_steps(bounded);
    for (unsigned n = 1; n <= calls; n++) {
        engine_fail(ENGINE_MAP, n, n % 2 ? -NIDUS_ENOMEM : -NIDUS_EIO, n % 2 ? DAMAGE_NONE : DAMAGE_DONE);
        assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), n % 2 ? -NIDUS_ENOMEM : -NIDUS_EIO);
        assert_true(all_absent(long_a, ODD) && all_absent(long_b, ODD));
    }
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0); /* nothing is left in the list */
}

static void a_long_unmap_is_made_in_steps(void **state)
{
    uint64_t bytes;

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    watch_steps(bounded);
    assert_int_equal(unmap(long_ioas, ODD, RAM, &bytes), 0);
    assert_int_equal(bytes, RAM);
    assert_true(steps >= 2 * RAM / K4 / 512);
    assert_true(all_absent(long_a, ODD) && all_absent(long_b, ODD));
    assert_int_equal(unmap(long_ioas, ODD, RAM, &bytes), -NIDUS_ENOENT);
}

static void many_small_areas_are_unmapped_in_steps(void **state)
{
    uint64_t bytes;

    (void)state;
    two_tables();
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(map_at(long_ioas, RW, 0, K4, 2 * i * K4), 0);
    watch_steps(bounded);
    assert_int_equal(unmap(long_ioas, 0, EVERYTHING, &bytes), 0);
    assert_int_equal(bytes, 1000 * K4);
    assert_true(steps >= 2 * 1000 / 8);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(absent(long_a, 2 * i * K4) && absent(long_b, 2 * i * K4));
}

static void a_long_unmap_goes_on_when_a_unit_does_not_answer(void **state)
{
    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    engine_fail(ENGINE_UNMAP, 3, -NIDUS_EIO, DAMAGE_DONE);
    assert_int_equal(unmap(long_ioas, ODD, RAM, NULL), -NIDUS_EIO);
    assert_true(all_absent(long_a, ODD) && all_absent(long_b, ODD));
}

static void a_new_table_is_filled_in_steps(void **state)
{
    uint32_t hwpt;
    uint64_t used;

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    used = guest->bytes_used;
    watch_steps(bounded);
    for (unsigned n = 1; n <= RAM / K4 / 512; n++) {
        engine_fail(ENGINE_MAP, n, -NIDUS_ENOMEM, DAMAGE_NONE);
        assert_int_equal(alloc_paging(long_ioas, 0, &hwpt), -NIDUS_ENOMEM);
        assert_int_equal(guest->bytes_used, used);
        engine_fail(ENGINE_MAP, n, -NIDUS_ENOMEM, DAMAGE_NONE);
        assert_int_equal(attach(device_id, long_ioas, NULL), -NIDUS_ENOMEM);
        assert_int_equal(guest->bytes_used, used);
    }
    assert_int_equal(alloc_paging(long_ioas, 0, &hwpt), 0);
    assert_true(steps >= RAM / K4 / 512);
    assert_true(all_mapped(hwpt, ODD));
    assert_int_equal(attach(device_id, long_ioas, &hwpt), 0);
    assert_true(steps >= RAM / K4 / 512);
    assert_true(all_mapped(hwpt, ODD));
}

/* Another guest's calls come between the steps of one. */
static struct iommu_context *others;
static struct guest *other_guest;

static void other_guest_maps(void)
{
    struct nidus_ioas_map m = {
        .size = sizeof(m), .flags = RW, .ioas_id = iommu_default_ioas(others), .length = K4, .user_va = K4,
    };

    platform_guest_write(other_guest, PAYLOAD, &m, sizeof(m));
    assert_int_equal(iommu_call(others, NIDUS_CALL_IOAS_MAP, PAYLOAD, 0), 0);
}

static void other_guests_go_on_between_the_steps(void **state)
{
    (void)state;
    other_guest = host_guest("mail", M1);
    others = iommu_context_create(other_guest, true);
    two_tables();
    between_steps = other_guest_maps;
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    assert_true(all_mapped(long_a, ODD) && all_mapped(long_b, ODD));
    destroy_whole(others);
    assert_int_equal(other_guest->bytes_used, 0);
}

/* stop(), in the teardown, finds that nothing is left. */
static void begin_and_end(uint64_t nr, void *payload, uint32_t size, unsigned made)
{
    platform_guest_write(guest, PAYLOAD, payload, size);
    for (unsigned i = 0; i < made; i++)
        assert_true(iommu_call(context, nr, PAYLOAD, device_id) == IOMMU_AGAIN);
}

static void a_guest_may_end_in_the_middle_of_a_map(void **state)
{
    struct nidus_ioas_map m = { .size = sizeof(m), .flags = RW | FIXED, .length = RAM, .iova = ODD };

    (void)state;
    two_tables();
    m.ioas_id = long_ioas;
    begin_and_end(NIDUS_CALL_IOAS_MAP, &m, sizeof(m), 3);
}

static void a_guest_may_end_in_the_middle_of_an_unmap(void **state)
{
    struct nidus_ioas_unmap u = { .size = sizeof(u), .length = RAM, .iova = ODD };

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    u.ioas_id = long_ioas;
    begin_and_end(NIDUS_CALL_IOAS_UNMAP, &u, sizeof(u), 3);
}

/* A page in each GiB takes two tables. */
#define FAR 600u

static uint32_t ioas_with_many_tables(void)
{
    uint32_t ioas = new_ioas();

    for (uint64_t i = 1; i <= FAR; i++)
        assert_int_equal(map_at(ioas, RW, 0, K4, i << 30), 0);
    return ioas;
}

static uint64_t used_before;

static void at_most_512_tables_went(void)
{
    assert_in_range(used_before - guest->bytes_used, 1, 512 * K4);
    used_before = guest->bytes_used;
}

/* What ends a HWPT returns when all its tables are given back. */
static void expect_ended_in_steps(uint64_t before)
{
    assert_in_range(steps, 2 * FAR / 512 + 1, 2 * FAR / 512 + 2);
    assert_in_range(before - guest->bytes_used, 2 * FAR * K4, (2 * FAR + 8) * K4);
    between_steps = nothing;
}

static void a_large_hwpt_is_destroyed_in_steps(void **state)
{
    uint32_t hwpt = new_plain(ioas_with_many_tables());
    uint64_t before = used_before = guest->bytes_used;

    (void)state;
    between_steps = at_most_512_tables_went;
    assert_int_equal(destroy(hwpt), 0);
    expect_ended_in_steps(before);
    assert_int_equal(destroy(hwpt), -NIDUS_ENOENT);
}

static void a_large_automatic_hwpt_goes_in_steps(void **state)
{
    uint32_t ioas = ioas_with_many_tables(), plain = new_plain(ram_ioas), out;
    uint64_t before;

    (void)state;
    assert_int_equal(attach(device_id, ioas, NULL), 0);
    before = used_before = guest->bytes_used;
    between_steps = at_most_512_tables_went;
    assert_int_equal(detach(device_id), 0);
    expect_ended_in_steps(before);

    assert_int_equal(attach(device_id, ioas, NULL), 0);
    before = used_before = guest->bytes_used;
    between_steps = at_most_512_tables_went;
    assert_int_equal(attach(device_id, plain, &out), 0);
    expect_ended_in_steps(before);
    assert_int_equal(out, plain);
}

static void a_large_hwpt_that_cannot_be_filled_goes_in_steps(void **state)
{
    uint32_t ioas = ioas_with_many_tables(), id;
    uint64_t used = guest->bytes_used;

    (void)state;
    engine_fail(ENGINE_MAP, FAR, -NIDUS_ENOMEM, DAMAGE_NONE);
    assert_int_equal(alloc_paging(ioas, 0, &id), -NIDUS_ENOMEM);
    assert_int_equal(steps, FAR / 8 + 2 * FAR / 512); /* the filling, a map 65 of 512 entries, and two more */
    assert_int_equal(guest->bytes_used, used);
}

static void a_guest_may_end_in_the_middle_of_a_destroy(void **state)
{
    struct nidus_destroy d = { .size = sizeof(d), .id = new_plain(ioas_with_many_tables()) };

    (void)state;
    begin_and_end(NIDUS_CALL_DESTROY, &d, sizeof(d), 1);
}

static void a_context_with_large_hwpts_is_destroyed_in_steps(void **state)
{
    uint32_t ioas = ioas_with_many_tables();
    unsigned made = 1;

    (void)state;
    new_plain(ioas);
    new_plain(ioas);
    assert_true(iommu_context_block(context));
    for (used_before = guest->bytes_used; !iommu_context_destroy(context); made++)
        if (made > 1) /* the first frees all else, too */
            at_most_512_tables_went();
        else
            used_before = guest->bytes_used;
    assert_in_range(made, 2 * (2 * FAR / 512 + 1), 2 * (2 * FAR / 512 + 2));
    assert_int_equal(guest->bytes_used, 0);
    start(true);
}

static void a_guest_may_end_while_a_table_is_filled(void **state)
{
    struct nidus_hwpt_alloc a;

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    a = hwpt_request(long_ioas, 0);
    begin_and_end(NIDUS_CALL_HWPT_ALLOC, &a, sizeof(a), 3);
}

static void a_guest_may_end_while_it_attaches(void **state)
{
    struct nidus_vfio_attach a = { .argsz = 12 };

    (void)state;
    two_tables();
    assert_int_equal(map_at(long_ioas, RW, 0, RAM, ODD), 0);
    a.pt_id = long_ioas;
    begin_and_end(NIDUS_CALL_ATTACH, &a, sizeof(a), 3);
}

/* Faults --------------------------------------------------------------------------------------------- */

static struct nidus_fault_read fault_request(uint32_t room)
{
    return (struct nidus_fault_read){
        .size = sizeof(struct nidus_fault_read), .data_uptr = DATA, .entry_len = sizeof(struct nidus_fault), .entry_num = room,
        .out_lost = 77,
    };
}

static void put_faults(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        engine_fault_sink(engine_device(device_id), &(struct nidus_fault){ .addr = i * K4, .reason = 0x51 });
}

static struct nidus_fault fault_at(unsigned i)
{
    struct nidus_fault f;

    platform_guest_read(guest, DATA + i * sizeof(f), &f, sizeof(f));
    return f;
}

static void faults_come_out_oldest_first_with_the_devices_id(void **state)
{
    struct nidus_fault_read r = fault_request(2);

    (void)state;
    put_faults(3);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(engine.count[ENGINE_POLL], 1);
    assert_int_equal(r.entry_num, 2);
    assert_int_equal(r.out_lost, 0);
    assert_int_equal(fault_at(0).dev_id, device_id);
    assert_int_equal(fault_at(0).addr, 0);
    assert_int_equal(fault_at(1).addr, K4);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 1);
    assert_int_equal(fault_at(0).addr, 2 * K4);
    r = fault_request(2);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 0);
}

static void a_full_ring_counts_what_is_lost_and_keeps_the_oldest(void **state)
{
    struct nidus_fault_read r = fault_request(256);

    (void)state;
    put_faults(100);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 100);
    put_faults(260);
    engine_fault_lost(engine_device(device_id));
    r = fault_request(256);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 256);
    assert_int_equal(r.out_lost, 5);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(fault_at(i).addr, i * K4);
    r = fault_request(0);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.out_lost, 0);
}

/* As vEVENTQ's headers: a number for each, lost ones too, and a flag on the first behind a gap. */
static void records_are_numbered_and_a_gap_is_marked(void **state)
{
    struct nidus_fault_read r = fault_request(256);

    (void)state;
    put_faults(256);
    put_faults(3);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(fault_at(i).sequence, i);
        assert_int_equal(fault_at(i).flags & NIDUS_FAULT_LOST, 0);
    }
    put_faults(1);
    engine_fault_lost(engine_device(device_id));
    put_faults(2);
    r = fault_request(256);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 3);
    assert_int_equal(r.out_lost, 1);
    assert_int_equal(fault_at(0).sequence, 259);
    assert_int_equal(fault_at(0).flags, NIDUS_FAULT_LOST);
    assert_int_equal(fault_at(1).sequence, 261);
    assert_int_equal(fault_at(1).flags, NIDUS_FAULT_LOST);
    assert_int_equal(fault_at(2).sequence, 262);
    assert_int_equal(fault_at(2).flags, 0);
}

static void fault_read_checks(void **state)
{
    struct nidus_fault_read r = fault_request(257);

    (void)state;
    put_faults(2);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EINVAL);
    r = fault_request(2);
    r.flags = 1;
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EOPNOTSUPP);
    r = fault_request(2);
    r.entry_len = 41;
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EINVAL);
    r = fault_request(2);
    r.data_uptr = 0;
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EFAULT);
    r.data_uptr = RAM - 79;
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EFAULT);
    r.data_uptr = UINT64_MAX - 40; /* the end wraps */
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), -NIDUS_EFAULT);
    r = fault_request(2);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 2); /* none was lost by the errors */
}

/* Contexts ------------------------------------------------------------------------------------------- */

static void assignment_gives_an_id_or_the_reason(void **state)
{
    uint16_t segment = 9, bdf = 9;
    char reason[160] = "";
    uint32_t id;

    (void)state;
    assert_true(iommu_device(context, device_id, &segment, &bdf));
    assert_int_equal(segment, 0);
    assert_int_equal(bdf, 0x20);
    assert_false(iommu_device(context, ram_ioas, &segment, &bdf));
    assert_false(iommu_device(context, 99, &segment, &bdf));
    engine_fail(ENGINE_DEVICE_INIT, 1, -1, DAMAGE_NONE);
    assert_false(iommu_assign(context, 0, 0x30, &no_policy, &id, reason));
    assert_string_equal(reason, "refused on demand");
    host_fail_allocation(1);
    assert_false(iommu_assign(context, 0, 0x30, &no_policy, &id, reason));
    assert_string_equal(reason, "no memory, or too many objects");
}

static void block_detaches_every_device(void **state)
{
    (void)state;
    assert_int_equal(attach(device_id, new_nested(new_parent(ram_ioas)), NULL), 0);
    assert_int_equal(attach(other_device, ram_ioas, NULL), 0);
    engine_fail(ENGINE_DETACH, 1, -NIDUS_EIO, DAMAGE_NONE);
    assert_false(iommu_context_block(context));
    assert_null(domain_of(other_device)); /* the others are blocked all the same */
    assert_true(iommu_context_block(context));
    assert_null(domain_of(device_id));
}

/* What a dead unit may still walk is never freed: here the test frees it, to see that it was there. */
static void tables_of_a_unit_that_does_not_answer_are_not_given_back(void **state)
{
    struct first_stage *first;
    struct domain *domain;
    struct paging *p;
    struct device *d;

    prepare(state);
    start(true);
    assert_int_equal(attach(device_id, ram_ioas, NULL), 0);
    d = engine_device(device_id);
    p = (struct paging *)((char *)domain_of(device_id) - offsetof(struct paging, domain));
    engine_fail(ENGINE_DETACH, 1, -NIDUS_EIO, DAMAGE_NONE);
    destroy_whole(context);
    assert_true(host_log_has("never given back"));
    engine_attached(d, ENGINE_NO_PASID, &domain, &first);
    assert_ptr_equal(domain, &p->domain);
    assert_true(host_pages_live() > 0);
    engine_fault_sink(d, &(struct nidus_fault){ 0 });
    engine_fault_lost(d);
    /* The address sanitizer would find the leak that this test is about. */
    stage2_destroy(&p->domain.table);
    struct ioas *ioas = p->ioas;
    platform_free(guest, ioas->areas, sizeof(struct area));
    platform_free(guest, ioas, sizeof(*ioas));
    platform_free(guest, p, sizeof(*p));
    platform_free(guest, (char *)d - offsetof(struct assigned, device), sizeof(struct assigned));
    assert_int_equal(guest->bytes_used, 0);
}

static void a_context_without_memory_leaves_nothing(void **state)
{
    bool failed = true;

    prepare(state);
    for (unsigned n = 1; failed; n++) {
        host_fail_allocation(n);
        context = iommu_context_create(guest, true);
        failed = host_allocation_failed();
        host_fail_allocation(0);
        if (failed) {
            assert_null(context);
            assert_int_equal(guest->bytes_used, 0);
        }
    }
    stop();
}

/* Every allocation of every call fails once: -ENOMEM, and nothing is held that was not before. ------- */

static void expect_enomem_until_it_fits(int64_t (*step)(void), void (*undo)(void))
{
    bool failed = true;

    for (unsigned n = 1; failed; n++) {
        uint64_t used = guest->bytes_used;
        int64_t result;

        host_fail_allocation(n);
        result = step();
        failed = host_allocation_failed();
        host_fail_allocation(0);
        assert_int_equal(result, failed ? -NIDUS_ENOMEM : 0);
        if (failed)
            assert_int_equal(guest->bytes_used, used);
    }
    undo();
}

static uint32_t oom_ioas, oom_parent, oom_id;

static int64_t step_ioas_alloc(void)
{
    struct nidus_ioas_alloc a = { .size = sizeof(a) };
    int64_t result = CALL(NIDUS_CALL_IOAS_ALLOC, a);

    oom_id = a.out_ioas_id;
    return result;
}

static int64_t step_map(void)
{
    return map_at(oom_ioas, RW, RAM / 2 - K4, 2 * K4, 1ULL << 40);
}

static int64_t step_paging(void)
{
    return alloc_paging(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &oom_id);
}

static int64_t step_nested(void)
{
    return alloc_nested_with(oom_parent, good_s1, &oom_id);
}

static int64_t step_attach_ioas(void)
{
    return attach(device_id, ram_ioas, NULL);
}

static void undo_object(void)
{
    assert_int_equal(destroy(oom_id), 0);
}

static void undo_map(void)
{
    assert_int_equal(unmap(oom_ioas, 0, EVERYTHING, NULL), 0);
}

static void undo_attach(void)
{
    assert_int_equal(detach(device_id), 0);
}

static void calls_without_memory_leave_nothing(void **state)
{
    (void)state;
    oom_ioas = new_ioas();
    new_plain(oom_ioas);
    oom_parent = new_parent(oom_ioas);
    expect_enomem_until_it_fits(step_ioas_alloc, undo_object);
    expect_enomem_until_it_fits(step_map, undo_map);
    expect_enomem_until_it_fits(step_paging, undo_object);
    expect_enomem_until_it_fits(step_nested, undo_object);
    expect_enomem_until_it_fits(step_attach_ioas, undo_attach);
}

static void a_quota_that_is_used_up_is_enomem_for_that_guest(void **state)
{
    uint32_t id;

    (void)state;
    guest->bytes_left = 0;
    assert_int_equal(alloc_paging(ram_ioas, 0, &id), -NIDUS_ENOMEM);
    guest->bytes_left = 1 << 20;
    assert_int_equal(alloc_paging(ram_ioas, 0, &id), 0);
}

/* Random calls against a naive map of pages --------------------------------------------------------- */

#define NAIVE_PAGES 2048u
#define NAIVE_HWPTS 3

static uint64_t random_state = 0x2545f4914f6cdd1d;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static struct naive_page {
    uint32_t area;              /* 0: not mapped */
    uint64_t gpa;
    unsigned prot;
} naive[NAIVE_PAGES];

static void check_naive(uint32_t hwpt)
{
    for (unsigned i = 0; i < NAIVE_PAGES; i++)
        if (naive[i].area == 0 ? !absent(hwpt, i * K4) : !maps(hwpt, i * K4, naive[i].gpa, naive[i].prot))
            fail_msg("page %u of HWPT %u", i, hwpt);
}

static void random_map(uint32_t ioas, uint32_t *areas)
{
    uint64_t pages = 1 + random_below(random_below(4) == 0 ? 1024 : 40), first = random_below(NAIVE_PAGES - pages + 1);
    uint64_t gpa = random_below(RAM / K4 - pages + 1) * K4, iova = first * K4;
    unsigned prot = 1 + random_below(3); /* STAGE2_READ, STAGE2_WRITE */
    uint32_t flags = (prot & STAGE2_READ ? NIDUS_IOAS_MAP_READABLE : 0) | (prot & STAGE2_WRITE ? NIDUS_IOAS_MAP_WRITEABLE : 0);
    bool fixed = random_below(2) == 0, taken = false;
    int64_t result = map(ioas, flags | (fixed ? FIXED : 0), gpa, pages * K4, &iova);

    first = iova / K4;
    if (!fixed && (result == -NIDUS_ENOMEM || iova + pages * K4 > NAIVE_PAGES * K4)) {
        if (result == 0) /* beyond the window */
            assert_int_equal(unmap(ioas, iova, pages * K4, NULL), 0);
        return;
    }
    for (uint64_t i = first; i < first + pages; i++)
        taken |= naive[i].area != 0;
    assert_true(fixed || !taken);
    if (result == -NIDUS_ENOMEM && host_allocation_failed())
        return;
    assert_int_equal(result, taken ? -NIDUS_EEXIST : 0);
    ++*areas;
    for (uint64_t i = first; !taken && i < first + pages; i++)
        naive[i] = (struct naive_page){ *areas, gpa + (i - first) * K4, prot };
}

static void random_unmap(uint32_t ioas)
{
    uint64_t pages = 1 + random_below(200), first = random_below(NAIVE_PAGES - pages + 1), mapped = 0, bytes;
    uint64_t end = first + pages;
    bool cuts;
    int64_t result;

    if (random_below(2) == 0 && naive[first].area != 0) { /* a whole area */
        for (; first > 0 && naive[first - 1].area == naive[first].area; first--)
            ;
        for (end = first; end < NAIVE_PAGES && naive[end].area == naive[first].area; end++)
            ;
    }
    cuts = (first > 0 && naive[first].area != 0 && naive[first - 1].area == naive[first].area) ||
           (end < NAIVE_PAGES && naive[end].area != 0 && naive[end - 1].area == naive[end].area);
    for (uint64_t i = first; i < end; i++)
        mapped += naive[i].area != 0;
    result = unmap(ioas, first * K4, (end - first) * K4, &bytes);
    if (cuts || mapped == 0) {
        assert_int_equal(result, -NIDUS_ENOENT);
        return;
    }
    assert_int_equal(result, 0);
    assert_int_equal(bytes, mapped * K4);
    memset(&naive[first], 0, (end - first) * sizeof(naive[0]));
}

static void random_calls_keep_all_second_stages_equal(void **state)
{
    uint32_t ioas = new_ioas(), hwpt[NAIVE_HWPTS] = { 0 }, areas = 0;

    (void)state;
    memset(naive, 0, sizeof(naive));
    for (unsigned step = 0; step < 1500; step++) {
        uint32_t *h = &hwpt[random_below(NAIVE_HWPTS)];

        host_fail_allocation(random_below(5) == 0 ? 1 + random_below(8) : 0);
        switch (random_below(8)) {
        case 0:
            if (*h != 0) {
                assert_int_equal(destroy(*h), 0);
                *h = 0;
            } else if (alloc_paging(ioas, 0, h) != 0) {
                assert_true(host_allocation_failed());
                *h = 0;
            }
            break;
        case 1: case 2: case 3: case 4: random_map(ioas, &areas); break;
        default: random_unmap(ioas); break;
        }
        host_fail_allocation(0);
        for (unsigned i = 0; step % 5 == 0 && i < NAIVE_HWPTS; i++)
            if (hwpt[i] != 0)
                check_naive(hwpt[i]);
    }
    assert_true(areas > 100);
}

/* The id of an object of this type, if a few tries find one; else any. */
static uint32_t random_id(enum object_type type)
{
    uint32_t id = 0;

    for (unsigned tries = 0; tries < 20; tries++) {
        id = 1 + (uint32_t)random_below(40);
        if (object_get(context, id, type) != NULL)
            break;
    }
    return id;
}

/* A payload that may well be good: real sizes, ids that may exist, addresses that may be right. */
static uint32_t random_request(unsigned n, uint32_t payload[16])
{
    uint32_t a = random_id((enum object_type)random_below(4)), b = (uint32_t)random_below(14), ioas = random_id(OBJECT_IOAS), device = random_below(2) == 0 ? device_id : other_device;
    uint64_t page = random_below(64) * K4, length = (1 + random_below(8)) * K4;
    bool nested = random_below(2) == 0;

#define REQUEST(number, ...) { memcpy(payload, &(__VA_ARGS__), sizeof(__VA_ARGS__)); return number; }
    switch (n) {
    case 0: REQUEST(NIDUS_CALL_ATTACH, (struct nidus_vfio_attach){ 12, 0, a, 0 })
    case 1: REQUEST(NIDUS_CALL_DETACH, (struct nidus_vfio_detach){ 8, 0, 0 })
    case 2: REQUEST(NIDUS_CALL_DESTROY, (struct nidus_destroy){ 8, a })
    case 3: REQUEST(NIDUS_CALL_IOAS_ALLOC, (struct nidus_ioas_alloc){ 12, 0, 0 })
    case 4: REQUEST(NIDUS_CALL_IOAS_MAP, (struct nidus_ioas_map){ 40, 1 + (uint32_t)random_below(7), ioas, 0, page, length, RAM + page })
    case 5: REQUEST(NIDUS_CALL_IOAS_UNMAP, (struct nidus_ioas_unmap){ 24, ioas, random_below(2) * RAM + page, length })
    case 6: REQUEST(NIDUS_CALL_HWPT_ALLOC, (struct nidus_hwpt_alloc){
                .size = 48, .flags = nested ? 0 : (uint32_t)random_below(2), .dev_id = device, .pt_id = nested ? random_id(OBJECT_PAGING) : ioas,
                .data_type = nested, .data_len = nested * 24, .data_uptr = DATA })
    case 7: REQUEST(NIDUS_CALL_GET_HW_INFO, (struct nidus_hw_info){ .size = 40, .dev_id = device, .data_len = b, .data_uptr = DATA + M1 })
    case 8: REQUEST(NIDUS_CALL_HWPT_INVALIDATE, (struct nidus_hwpt_invalidate){ 32, random_id(OBJECT_NESTED), DATA + M1, 0, 24, b, 0 })
    default: REQUEST(NIDUS_CALL_FAULT_READ, (struct nidus_fault_read){ 32, 0, DATA + M1, 40, b, 0 })
    }
#undef REQUEST
}

/* Whatever is called, in whatever order, with memory failing and units not answering: the sanitizers, the engine's contract and the
 * teardown's accounting find nothing, and every answer is 0 or an errno. */
static void random_payloads_do_no_harm(void **state)
{
    const enum engine_call calls[] = { ENGINE_ATTACH, ENGINE_FIRST_INIT, ENGINE_DOMAIN_INIT, ENGINE_MAP, ENGINE_UNMAP, ENGINE_DETACH };
    const struct nidus_hwpt_vtd_s1_invalidate entry = { .addr = K4, .npages = 2 };
    unsigned succeeded[10] = { 0 }, failed[10] = { 0 };

    (void)state;
    for (unsigned i = 0; i < 60000; i++) {
        unsigned n = (unsigned)random_below(10), kind = n == 3 && random_below(8) != 0 ? 2 : n; /* fewer IOASes than are destroyed */
        uint32_t payload[16] = { 0 }, number = random_request(kind, payload);
        int64_t result;

        platform_guest_write(guest, DATA, &good_s1, sizeof(good_s1));
        for (unsigned e = 0; e < 14; e++)
            platform_guest_write(guest, DATA + M1 + e * sizeof(entry), &entry, sizeof(entry));
        while (random_below(3) == 0) /* and then some of it is wrong */
            payload[random_below(13)] = (uint32_t)(random_below(UINT64_MAX) >> random_below(32) << random_below(32));
        while (random_below(6) == 0)
            *host_guest_byte(guest, (random_below(2) == 0 ? DATA : DATA + M1) + random_below(100)) ^= 1u << random_below(8);
        put_faults((unsigned)random_below(3));
        host_fail_allocation(random_below(10) == 0 ? 1 + random_below(6) : 0);
        if (random_below(10) == 0) {
            enum engine_call broken = calls[random_below(6)];

            engine_fail(broken, 1, broken == ENGINE_UNMAP || broken == ENGINE_DETACH || random_below(2) == 0 ? -NIDUS_EIO : -NIDUS_EINVAL,
                        broken == ENGINE_UNMAP ? DAMAGE_DONE : DAMAGE_NONE);
        }
        result = call_at(number, random_below(40) == 0 ? RAM - 64 : PAYLOAD, payload, sizeof(payload), 1 + random_below(4));
        host_fail_allocation(0);
        assert_true(result <= 0 && result > -4096);
        ++*(result == 0 ? &succeeded[kind] : &failed[kind]);
    }
    engine_fail(ENGINE_NONE, 0, 0, DAMAGE_NONE);
    for (unsigned n = 0; n < 10; n++)
        assert_true(succeeded[n] > 50 && failed[n] > 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_that_nidus_does_not_know_are_enotty),
        TEST(a_size_below_the_minimum_is_einval),
        TEST(an_unknown_tail_that_is_not_zero_is_e2big),
        TEST(an_unknown_tail_of_zeros_changes_nothing),
        TEST(a_missing_tail_reads_as_zero_and_is_not_written),
        TEST(a_payload_partly_outside_ram_is_efault),
        TEST(a_payload_at_0_is_efault),
        TEST(a_misaligned_payload_across_pages_works),
        TEST(nidus_bounds_the_size),
        TEST(ids_begin_at_1_and_the_lowest_free_one_is_given),
        TEST(destroy_of_an_unknown_id_is_enoent),
        TEST(an_object_in_use_is_not_destroyed),
        TEST(an_assigned_device_is_in_use),
        TEST(a_guest_has_a_bounded_number_of_objects),
        TEST(another_guests_id_is_enoent),
        TEST(hw_info_gives_the_units_raw_registers),
        TEST(hw_info_fills_a_smaller_buffer_and_no_more),
        TEST(hw_info_zeroes_the_rest_of_a_larger_buffer),
        TEST(hw_info_needs_no_buffer),
        TEST(hw_info_into_no_memory_is_efault_and_writes_nothing),
        TEST(hw_info_checks_in_linuxs_order),
        TEST(nidus_bounds_the_hw_info_buffer),
        TEST(the_default_ioas_holds_all_ram_one_to_one),
        TEST(ioas_alloc_flags_are_eopnotsupp),
        TEST(map_reaches_every_hwpt_of_the_ioas),
        TEST(map_follows_ram_across_its_runs),
        TEST(map_permissions_are_those_asked_for),
        TEST(map_checks_in_linuxs_order),
        TEST(nidus_maps_whole_pages),
        TEST(an_overlap_is_eexist_in_five_shapes),
        TEST(memory_that_is_not_the_guests_is_efault),
        TEST(the_interrupt_range_is_reserved),
        TEST(an_iova_beyond_a_table_is_einval),
        TEST(an_area_beyond_the_new_table_is_eaddrinuse), TEST(what_a_new_table_does_not_reach_is_looked_for_before_what_it_must_not_map),
        TEST(a_chosen_iova_is_the_lowest_gap_as_aligned_as_the_memory),
        TEST(a_chosen_iova_avoids_the_interrupt_range),
        TEST(no_gap_is_enospc),
        TEST(a_failed_map_is_undone_everywhere),
        TEST(a_guest_has_a_bounded_number_of_areas),
        TEST(iova_ranges_are_what_is_not_reserved),
        TEST(iova_ranges_without_room_is_emsgsize_and_tells_how_many),
        TEST(iova_ranges_checks),
        TEST(the_rmrr_of_a_tables_device_is_reserved),
        TEST(chosen_iovas_lie_in_the_allowed_ranges_and_fixed_ones_need_not),
        TEST(allow_checks_in_linuxs_order),
        TEST(a_guest_has_a_bounded_number_of_allowed_ranges),
        TEST(copy_maps_the_same_memory),
        TEST(copy_goes_across_areas_that_follow_each_other),
        TEST(copy_checks_in_linuxs_order),
        TEST(a_copy_of_a_read_only_copy_may_write_if_the_memory_was_given_so),
        TEST(a_read_only_copy_into_a_nest_parent_is_einval),
        TEST(a_long_copy_is_made_in_steps),
        TEST(option_checks),
        TEST(without_huge_pages_tables_have_small_ones),
        TEST(what_has_no_meaning_here_is_eopnotsupp),
        TEST(unmap_takes_whole_areas_and_tells_the_bytes),
        TEST(unmap_of_nothing_is_enoent),
        TEST(unmap_that_cuts_an_area_is_enoent_and_nidus_unmaps_nothing),
        TEST(unmap_of_everything_succeeds_twice),
        TEST(unmap_checks_its_range),
        TEST(nidus_lets_the_default_ioas_be_cut),
        TEST(a_cut_without_memory_changes_nothing),
        TEST(areas_side_by_side_share_large_pages),
        TEST(a_large_page_that_a_failed_unmap_made_is_not_forgotten), TEST(a_failed_unmap_makes_no_large_page_where_there_are_to_be_none),
        TEST(areas_side_by_side_go_at_once_and_without_memory),
        TEST(an_unmap_without_memory_unmaps_nothing),
        TEST(a_unit_that_does_not_answer_leaves_the_range_unmapped),
        TEST(hwpt_alloc_checks_in_linuxs_order),
        TEST(nidus_checks_the_second_reserved_word),
        TEST(paging_flags_that_nidus_lacks_are_eopnotsupp),
        TEST(data_for_a_paging_hwpt_is_eopnotsupp),
        TEST(a_new_paging_hwpt_holds_the_whole_ioas),
        TEST(the_units_refusal_is_passed_on),
        TEST(nested_flags_are_eopnotsupp),
        TEST(nested_without_data_is_eopnotsupp),
        TEST(nested_on_what_is_no_nest_parent_is_einval),
        TEST(nested_data_type_length_and_pointer),
        TEST(nidus_checks_the_first_stage_when_it_is_given),
        TEST(the_first_stage_reaches_the_engine_as_it_was_given),
        TEST(a_parent_has_many_children_and_devices_of_its_own),
        cmocka_unit_test_setup_teardown(without_nested_no_nest_parent_and_no_nested_hwpt, setup_without_nested, teardown),
        TEST(a_nest_parent_refuses_read_only_memory_for_ever),
        TEST(an_ioas_with_read_only_memory_gets_no_nest_parent),
        TEST(without_the_erratum_read_only_memory_is_allowed),
        TEST(attach_of_an_ioas_makes_one_automatic_hwpt_for_all),
        TEST(attach_of_an_ioas_never_takes_a_users_hwpt),
        TEST(an_automatic_hwpt_that_the_unit_cannot_walk_is_passed_over),
        TEST(attach_again_replaces),
        TEST(a_failed_replace_keeps_the_old_attachment),
        TEST(pasids_are_attached_where_all_hwpts_were_made_for_them),
        TEST(a_guest_has_a_bounded_number_of_pasids),
        TEST(a_failed_replace_of_a_pasid_keeps_the_old_attachment),
        TEST(hw_info_tells_the_width_of_pasids),
        TEST(hw_info_tells_what_requests_with_pasids_may_be),
        TEST(a_device_is_fenced_when_the_engine_says_so),
        TEST(references_follow_what_a_broken_unit_did),
        TEST(what_a_broken_unit_may_still_have_is_in_use),
        TEST(attach_checks),
        TEST(detach_of_what_is_not_attached_succeeds),
        TEST(invalidate_reaches_the_engine_in_order),
        TEST(no_entries_probe_the_type),
        TEST(invalidate_checks_in_linuxs_order_and_always_writes_entry_num),
        TEST(a_bad_entry_stops_after_those_before_it),
        TEST(entries_that_follow_each_other_go_as_one), TEST(ranges_are_cut_into_aligned_blocks), TEST(too_many_blocks_are_everything),
        TEST(the_last_page_and_the_first_do_not_follow_each_other),
        TEST(nidus_refuses_no_pages_and_ranges_that_wrap),
        TEST(entries_that_end_outside_ram_are_efault_after_those_inside),
        TEST(entries_that_change_meanwhile_go_as_they_were),
        TEST(an_entry_of_several_pages_that_changes_goes_as_it_was_or_is_refused),
        TEST(entries_are_taken_in_steps_and_a_unit_that_fails_stops_them),
        TEST(as_many_entries_as_linux_takes),
        TEST(tracking_needs_a_unit_that_can),
        TEST(set_tracking_checks_in_linuxs_order),
        TEST(get_bitmap_checks_in_linuxs_order),
        TEST(written_pages_are_told_once),
        TEST(a_bit_may_be_more_than_a_page),
        TEST(each_page_of_a_large_one_is_told),
        TEST(a_large_page_that_is_cut_counts_as_written),
        TEST(long_bitmaps_are_made_in_steps),
        TEST(a_long_map_is_made_in_steps),
        TEST(a_long_map_that_fails_is_taken_back_in_steps),
        TEST(a_long_unmap_is_made_in_steps),
        TEST(many_small_areas_are_unmapped_in_steps),
        TEST(a_long_unmap_goes_on_when_a_unit_does_not_answer),
        TEST(a_new_table_is_filled_in_steps),
        TEST(other_guests_go_on_between_the_steps),
        TEST(a_large_hwpt_is_destroyed_in_steps),
        TEST(a_large_automatic_hwpt_goes_in_steps),
        TEST(a_large_hwpt_that_cannot_be_filled_goes_in_steps),
        TEST(a_guest_may_end_in_the_middle_of_a_destroy),
        TEST(a_context_with_large_hwpts_is_destroyed_in_steps),
        TEST(a_guest_may_end_in_the_middle_of_a_map),
        TEST(a_guest_may_end_in_the_middle_of_an_unmap),
        TEST(a_guest_may_end_while_a_table_is_filled),
        TEST(a_guest_may_end_while_it_attaches),
        TEST(faults_come_out_oldest_first_with_the_devices_id),
        TEST(a_full_ring_counts_what_is_lost_and_keeps_the_oldest),
        TEST(records_are_numbered_and_a_gap_is_marked), TEST(fault_read_checks),
        TEST(assignment_gives_an_id_or_the_reason),
        TEST(block_detaches_every_device),
        cmocka_unit_test(tables_of_a_unit_that_does_not_answer_are_not_given_back),
        cmocka_unit_test(a_context_without_memory_leaves_nothing),
        TEST(calls_without_memory_leave_nothing),
        TEST(a_quota_that_is_used_up_is_enomem_for_that_guest),
        TEST(random_calls_keep_all_second_stages_equal),
        TEST(random_payloads_do_no_harm),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);

    host_reset();
    engine_recording_reset();
    return failures;
}
