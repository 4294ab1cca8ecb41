/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_events.c: what comes to a guest by itself: page requests of its devices, and the channels that it reads them from and answers
 * through.  The expected errno are Linux 7.x's, except where a name says "nidus".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/iommu.h"
#include "iommu/objects.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/recording_engine.h"
#include "tools/test/host/whole_call.h"

#define K4 0x1000ULL
#define M1 0x100000ULL
#define RAM (16 * M1)
#define PAYLOAD 0x10000ULL
#define DATA 0x20000ULL
#define SECOND 1000000000ULL

#define READ  1u
#define WRITE 2u
#define LAST  4u
#define EXEC  8u
#define PRIV  16u
#define PASID(n) ((n) << 8)

static struct guest *guest;
static struct iommu_context *context;
static uint32_t ram_ioas, device_id, other_id, parent;
static const struct iommu_device_policy no_policy;

static int64_t call(uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(guest, PAYLOAD, payload, size), 0);
    result = iommu_call(context, nr, PAYLOAD, device);
    assert_int_equal(platform_guest_read(guest, PAYLOAD, payload, size), 0);
    return result;
}

#define CALL(nr, payload) call(nr, &(payload), sizeof(payload), 0)

static int64_t destroy(uint32_t id)
{
    struct nidus_destroy d = { .size = sizeof(d), .id = id };

    return CALL(NIDUS_CALL_DESTROY, d);
}

static int64_t attach(uint32_t device, uint32_t pasid, uint32_t pt)
{
    struct nidus_vfio_attach a = { .argsz = 16, .flags = pasid != 0 ? NIDUS_VFIO_ATTACH_PASID : 0, .pt_id = pt, .pasid = pasid };

    return call(NIDUS_CALL_ATTACH, &a, sizeof(a), device);
}

static int64_t detach(uint32_t device, uint32_t pasid)
{
    struct nidus_vfio_detach d = { .argsz = 12, .flags = pasid != 0 ? NIDUS_VFIO_DETACH_PASID : 0, .pasid = pasid };

    return call(NIDUS_CALL_DETACH, &d, sizeof(d), device);
}

static int64_t alloc(uint32_t pt, uint32_t flags, uint32_t fault_id, uint32_t *hwpt)
{
    const struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = M1, .addr_width = 48 };
    bool nested = pt != ram_ioas;
    struct nidus_hwpt_alloc a = {
        .size = sizeof(a), .flags = flags, .dev_id = device_id, .pt_id = pt, .fault_id = fault_id,
        .data_type = nested ? NIDUS_HWPT_DATA_VTD_S1 : NIDUS_HWPT_DATA_NONE, .data_len = nested ? sizeof(s1) : 0, .data_uptr = nested ? DATA : 0,
    };
    int64_t result;

    assert_int_equal(platform_guest_write(guest, DATA, &s1, sizeof(s1)), 0);
    result = CALL(NIDUS_CALL_HWPT_ALLOC, a);
    *hwpt = a.out_hwpt_id;
    return result;
}

#define FAULTS (NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_PASID)

/* A nested HWPT for PASIDs, with that queue; 0: with none. */
static uint32_t hwpt(uint32_t fault_id)
{
    uint32_t id;

    assert_int_equal(alloc(parent, fault_id != 0 ? FAULTS : NIDUS_HWPT_ALLOC_PASID, fault_id, &id), 0);
    return id;
}

static uint32_t new_queue(uint32_t *channel)
{
    struct nidus_fault_alloc f = { .size = sizeof(f) };

    assert_int_equal(CALL(NIDUS_CALL_FAULT_QUEUE_ALLOC, f), 0);
    *channel = f.out_fault_fd;
    return f.out_fault_id;
}

static int64_t io(uint64_t nr, uint32_t channel, uint64_t gpa, uint32_t *length)
{
    struct nidus_event_io e = { .size = sizeof(e), .channel = channel, .data_uptr = gpa, .data_len = *length };
    int64_t result = CALL(nr, e);

    *length = e.data_len;
    return result;
}

static struct nidus_hwpt_pgfault record[64];

/* Reads what there is room for; how many records. */
static unsigned read_records(uint32_t channel, unsigned room)
{
    uint32_t length = room * (uint32_t)sizeof(record[0]);

    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, DATA, &length), 0);
    assert_int_equal(length % sizeof(record[0]), 0);
    assert_int_equal(platform_guest_read(guest, DATA, record, length), 0);
    return length / sizeof(record[0]);
}

static int64_t respond_all(uint32_t channel, const struct nidus_hwpt_page_response *responses, unsigned count, unsigned *done)
{
    uint32_t length = count * (uint32_t)sizeof(*responses);
    int64_t result;

    assert_int_equal(platform_guest_write(guest, DATA, responses, length), 0);
    result = io(NIDUS_CALL_EVENT_WRITE, channel, DATA, &length);
    *done = result == 0 ? length / (unsigned)sizeof(*responses) : 0;
    return result;
}

static int64_t respond(uint32_t channel, uint32_t cookie, uint32_t code)
{
    const struct nidus_hwpt_page_response r = { .cookie = cookie, .code = code };
    unsigned done;
    int64_t result = respond_all(channel, &r, 1, &done);

    assert_int_equal(done, result == 0);
    return result;
}

static struct assigned *assigned(uint32_t id)
{
    return (struct assigned *)object_get(context, id, OBJECT_DEVICE);
}

static bool request(uint32_t device, uint64_t addr, uint16_t group, unsigned flags)
{
    const struct engine_page_request r = {
        .addr = addr, .group = group, .pasid = flags >> 8, .has_pasid = flags >> 8 != 0, .read = flags & READ, .write = flags & WRITE,
        .last = flags & LAST, .execute = flags & EXEC, .privileged = flags & PRIV,
    };

    return engine_page_request(&assigned(device)->device, &r);
}

/* The n-th answer that went to a device, from the first. */
static void assert_answer(unsigned n, uint32_t device, uint16_t group, uint32_t pasid, unsigned code)
{
    assert_true(n < engine.answers);
    assert_ptr_equal(engine.answered[n], &assigned(device)->device);
    assert_int_equal(engine.answer[n].group, group);
    assert_int_equal(engine.answer[n].pasid, pasid);
    assert_int_equal(engine.answer[n].has_pasid, pasid != 0);
    assert_int_equal(engine.answer[n].code, code);
}

static int setup(void **state)
{
    char reason[160];

    (void)state;
    host_reset();
    engine_recording_reset();
    guest = host_guest("web", RAM);
    context = iommu_context_create(guest, true);
    assert_non_null(context);
    ram_ioas = iommu_default_ioas(context);
    assert_true(iommu_assign(context, 0, 0x20, &no_policy, &device_id, reason));
    assert_true(iommu_assign(context, 0, 0x28, &no_policy, &other_id, reason));
    assert_int_equal(alloc(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_PASID, 0, &parent), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(iommu_context_block(context));
    assert_int_equal(assigned(device_id)->used | assigned(other_id)->used, 0);
    destroy_whole(context);
    assert_int_equal(host_pages_live(), 0);
    assert_int_equal(host_objects_live(), 0);
    assert_int_equal(guest->bytes_used, 0);
    return 0;
}

static void the_calls_of_this_part(void **state)
{
    (void)state;
    assert_true(iommu_handles(NIDUS_CALL_DESTROY) && iommu_handles(NIDUS_CALL_FAULT_READ) && iommu_handles(0x3bff));
    assert_true(iommu_handles(NIDUS_CALL_EVENT_READ) && iommu_handles(NIDUS_CALL_EVENT_WRITE));
    assert_false(iommu_handles(NIDUS_CALL_EVENT_WAIT) || iommu_handles(NIDUS_CALL_CONSOLE_WRITE) || iommu_handles(0x3c00));
}

/* Fault queues and HWPTs ------------------------------------------------------------------------------ */

static void queue_flags_are_eopnotsupp(void **state)
{
    struct nidus_fault_alloc f = { .size = sizeof(f), .flags = 1 };

    (void)state;
    assert_int_equal(CALL(NIDUS_CALL_FAULT_QUEUE_ALLOC, f), -NIDUS_EOPNOTSUPP);
    assert_int_equal(f.out_fault_id, 0);
}

static void a_queue_has_the_lowest_free_channel(void **state)
{
    uint32_t first, second, third, id;

    (void)state;
    id = new_queue(&first);
    new_queue(&second);
    assert_int_equal(first, 1);
    assert_int_equal(second, 2);
    assert_int_equal(iommu_channels(context), 6);
    assert_int_equal(destroy(id), 0);
    assert_int_equal(iommu_channels(context), 4);
    new_queue(&third);
    assert_int_equal(third, 1);
}

static void nidus_more_than_63_channels_are_enomem(void **state)
{
    struct nidus_fault_alloc f = { .size = sizeof(f) };
    uint32_t channel;

    (void)state;
    for (unsigned i = 1; i < CHANNELS; i++)
        new_queue(&channel);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_QUEUE_ALLOC, f), -NIDUS_ENOMEM);
}

static void a_queue_that_cannot_be_made_leaves_nothing(void **state)
{
    struct nidus_fault_alloc f = { .size = sizeof(f) };
    uint32_t channel;

    (void)state;
    host_fail_allocation(1);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_QUEUE_ALLOC, f), -NIDUS_ENOMEM);
    new_queue(&channel);
    assert_int_equal(channel, 1);
}

static void a_bad_fault_id_is_enoent_and_the_hwpt_is_gone(void **state)
{
    uint32_t id, channel, queue = new_queue(&channel);
    unsigned users = object_get(context, parent, OBJECT_PAGING)->users;
    const uint32_t bad[] = { 0, queue + 1, parent, device_id, ram_ioas };

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(alloc(parent, NIDUS_HWPT_FAULT_ID_VALID, bad[i], &id), -NIDUS_ENOENT);
        assert_int_equal(alloc(ram_ioas, NIDUS_HWPT_FAULT_ID_VALID, bad[i], &id), -NIDUS_ENOENT);
    }
    assert_int_equal(object_get(context, parent, OBJECT_PAGING)->users, users);
    assert_null(object_find(context, queue + 1));
}

static void without_the_flag_fault_id_is_not_looked_at(void **state)
{
    uint32_t id;

    (void)state;
    assert_int_equal(alloc(parent, 0, 4711, &id), 0);
}

static void other_errors_come_before_a_bad_fault_id(void **state)
{
    uint32_t id, plain;

    (void)state;
    assert_int_equal(alloc(ram_ioas, 0, 0, &plain), 0);
    assert_int_equal(alloc(plain, NIDUS_HWPT_FAULT_ID_VALID, 4711, &id), -NIDUS_EINVAL);
    assert_int_equal(alloc(ram_ioas, NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_NEST_PARENT, 4711, &id), -NIDUS_EOPNOTSUPP);
}

static void a_queue_in_use_is_not_destroyed(void **state)
{
    uint32_t channel, queue = new_queue(&channel), a = hwpt(queue), b;

    (void)state;
    assert_int_equal(alloc(ram_ioas, NIDUS_HWPT_FAULT_ID_VALID, queue, &b), 0); /* a paging one, as in Linux 7 */
    assert_int_equal(destroy(queue), -NIDUS_EBUSY);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(destroy(queue), -NIDUS_EBUSY);
    assert_int_equal(destroy(b), 0);
    assert_int_equal(destroy(queue), 0);
}

/* Page requests on and off ---------------------------------------------------------------------------- */

static void requests_are_on_while_an_attachment_has_a_queue(void **state)
{
    uint32_t channel, queue = new_queue(&channel), with = hwpt(queue), also = hwpt(queue), without = hwpt(0);

    (void)state;
    assert_int_equal(attach(device_id, 0, without), 0);
    assert_int_equal(engine.count[ENGINE_PAGE_ON], 0);
    assert_int_equal(attach(device_id, 5, with), 0);
    assert_int_equal(engine.count[ENGINE_PAGE_ON], 1);
    assert_int_equal(attach(device_id, 6, also), 0);
    assert_int_equal(attach(device_id, 5, without), 0);
    assert_int_equal(engine.count[ENGINE_PAGE_OFF], 0);
    assert_int_equal(attach(device_id, 6, without), 0); /* replaced */
    assert_int_equal(engine.count[ENGINE_PAGE_OFF], 1);
    assert_int_equal(attach(device_id, 0, with), 0);
    assert_int_equal(engine.count[ENGINE_PAGE_ON], 2);
    assert_int_equal(detach(device_id, 0), 0);
    assert_int_equal(engine.count[ENGINE_PAGE_OFF], 2);
    assert_int_equal(detach(device_id, 0), 0);
    assert_int_equal(assigned(device_id)->queued, 0);
}

static void a_device_without_page_requests_keeps_what_it_had(void **state)
{
    static const int errors[] = { -NIDUS_ENODEV, -NIDUS_EINVAL };
    uint32_t channel, with = hwpt(new_queue(&channel)), without = hwpt(0);

    (void)state;
    assert_int_equal(attach(device_id, 0, without), 0);
    for (unsigned i = 0; i < 2; i++) {
        engine_fail(ENGINE_PAGE_CHECK, 1, errors[i], DAMAGE_NONE);
        assert_int_equal(attach(device_id, 0, with), errors[i]);
        assert_int_equal(destroy(without), -NIDUS_EBUSY);
    }
    assert_int_equal(destroy(with), 0);
}

/* Groups ---------------------------------------------------------------------------------------------- */

static uint32_t channel;

/* The device on a HWPT with a queue, whose channel it is; PASID 5 as well. */
static void start(void)
{
    uint32_t queue = new_queue(&channel);

    assert_int_equal(attach(device_id, 0, hwpt(queue)), 0);
    assert_int_equal(attach(device_id, 5, hwpt(queue)), 0);
    assert_int_equal(read_records(channel, 4), 0);
}

static void a_request_becomes_a_record_and_its_response_an_answer(void **state)
{
    (void)state;
    start();
    assert_true(request(device_id, 0x7000, 0x1ff, READ | WRITE | EXEC | PRIV | LAST | PASID(5)));
    assert_int_equal(read_records(channel, 4), 1);
    assert_int_equal(record[0].flags, NIDUS_PGFAULT_FLAGS_PASID_VALID | NIDUS_PGFAULT_FLAGS_LAST_PAGE);
    assert_int_equal(record[0].dev_id, device_id);
    assert_int_equal(record[0].pasid, 5);
    assert_int_equal(record[0].grpid, 0x1ff);
    assert_int_equal(record[0].perm, 15);
    assert_int_equal(record[0].addr, 0x7000);
    assert_int_equal(record[0].length, 0);
    assert_int_not_equal(record[0].cookie, 0);
    assert_int_equal(engine.answers, 0);
    assert_int_equal(respond(channel, record[0].cookie, NIDUS_PAGE_RESP_SUCCESS), 0);
    assert_int_equal(engine.answers, 1);
    assert_answer(0, device_id, 0x1ff, 5, ENGINE_PAGE_SUCCESS);
    assert_int_equal(read_records(channel, 4), 0);
}

/* A group is seen when it is complete: in order, with one cookie, whatever came in between. */
static void groups_come_whole(void **state)
{
    (void)state;
    start();
    assert_true(request(device_id, 0x1000, 1, READ));
    assert_true(request(device_id, 0x5000, 2, WRITE));
    assert_int_equal(read_records(channel, 8), 0);
    assert_true(request(device_id, 0x2000, 1, READ));
    assert_true(request(device_id, 0x6000, 2, WRITE | LAST));
    assert_true(request(device_id, 0x3000, 1, READ | LAST));
    assert_int_equal(read_records(channel, 8), 5);
    for (unsigned i = 0; i < 5; i++) {
        static const uint64_t addr[] = { 0x5000, 0x6000, 0x1000, 0x2000, 0x3000 };

        assert_int_equal(record[i].addr, addr[i]);
        assert_int_equal(record[i].grpid, i < 2 ? 2 : 1);
        assert_int_equal(record[i].cookie, record[i < 2 ? 0 : 2].cookie);
        assert_int_equal(record[i].flags, i == 1 || i == 4 ? NIDUS_PGFAULT_FLAGS_LAST_PAGE : 0);
    }
    assert_int_not_equal(record[0].cookie, record[2].cookie);
    assert_int_equal(respond(channel, record[2].cookie, NIDUS_PAGE_RESP_INVALID), 0);
    assert_int_equal(respond(channel, record[0].cookie, NIDUS_PAGE_RESP_SUCCESS), 0);
    assert_int_equal(engine.answers, 2);
    assert_answer(0, device_id, 1, 0, ENGINE_PAGE_INVALID);
    assert_answer(1, device_id, 2, 0, ENGINE_PAGE_SUCCESS);
}

static void a_group_that_does_not_fit_waits(void **state)
{
    uint32_t length = sizeof(record[0]);

    (void)state;
    start();
    request(device_id, 0x1000, 1, READ | LAST);
    request(device_id, 0x2000, 2, READ);
    request(device_id, 0x3000, 2, READ | LAST);
    assert_int_equal(read_records(channel, 2), 1);
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, DATA, &length), -NIDUS_EINVAL);
    assert_int_equal(read_records(channel, 2), 2);
}

static void both_devices_share_a_queue(void **state)
{
    uint32_t queue = new_queue(&channel), table = hwpt(queue);
    struct nidus_hwpt_page_response both[2] = { { 0 } };
    unsigned done;

    (void)state;
    assert_int_equal(attach(device_id, 0, table), 0);
    assert_int_equal(attach(other_id, 0, table), 0);
    request(other_id, 0x1000, 3, READ | LAST);
    request(device_id, 0x2000, 3, READ | LAST);
    assert_int_equal(read_records(channel, 2), 2);
    assert_int_equal(record[0].dev_id, other_id);
    assert_int_equal(record[1].dev_id, device_id);
    both[0].cookie = record[0].cookie;
    both[1].cookie = record[1].cookie;
    assert_int_equal(respond_all(channel, both, 2, &done), 0);
    assert_int_equal(done, 2);
    assert_answer(0, other_id, 3, 0, ENGINE_PAGE_SUCCESS);
    assert_answer(1, device_id, 3, 0, ENGINE_PAGE_SUCCESS);
}

static void answers_to_one_device_go_together(void **state)
{
    struct nidus_hwpt_page_response r[8] = { { 0 } };
    unsigned done;

    (void)state;
    start();
    for (uint16_t i = 0; i < 8; i++)
        request(device_id, 0x1000, i, READ | LAST);
    assert_int_equal(read_records(channel, 8), 8);
    for (unsigned i = 0; i < 8; i++)
        r[i].cookie = record[i].cookie;
    assert_int_equal(respond_all(channel, r, 8, &done), 0);
    assert_int_equal(done, 8);
    assert_int_equal(engine.answers, 8);
    assert_int_equal(engine.count[ENGINE_PAGE_RESPONSE], 1);
}

static void a_queue_is_for_what_is_attached_to_its_hwpts(void **state)
{
    uint32_t second, queue = new_queue(&channel), other_queue = new_queue(&second);

    (void)state;
    assert_int_equal(attach(device_id, 0, hwpt(0)), 0);
    assert_int_equal(attach(device_id, 5, hwpt(queue)), 0);
    assert_int_equal(attach(device_id, 6, hwpt(other_queue)), 0);
    assert_false(request(device_id, 0x1000, 1, READ | LAST));
    assert_false(request(device_id, 0x1000, 1, READ | LAST | PASID(7)));
    assert_true(request(device_id, 0x5000, 2, READ | LAST | PASID(5)));
    assert_true(request(device_id, 0x6000, 3, READ | LAST | PASID(6)));
    assert_int_equal(read_records(second, 4), 1);
    assert_int_equal(record[0].pasid, 6);
    assert_int_equal(respond(channel, record[0].cookie, 0), -NIDUS_EINVAL); /* it is the other queue's */
    assert_int_equal(respond(second, record[0].cookie, 0), 0);
    assert_int_equal(read_records(channel, 4), 1);
    assert_int_equal(record[0].pasid, 5);
}

/* Nobody waits for an answer to it. */
static void a_stop_marker_is_no_request(void **state)
{
    (void)state;
    start();
    assert_true(request(device_id, 0, 1, LAST | PASID(5)));
    assert_int_equal(assigned(device_id)->used, 0);
}

/* read and write --------------------------------------------------------------------------------------- */

static void reading_and_writing_as_linux(void **state)
{
    uint32_t length = 41;
    const struct nidus_hwpt_page_response bad_code = { .cookie = 1, .code = 2 };
    unsigned done;

    (void)state;
    start();
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, DATA, &length), -NIDUS_ESPIPE);
    length = 12;
    assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, channel, DATA, &length), -NIDUS_ESPIPE);
    length = 0;
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, 0, &length), 0);
    assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, channel, 0, &length), 0);
    length = 40;
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, 0, &length), 0); /* there is nothing to be written anywhere */
    assert_int_equal(length, 0);
    request(device_id, 0x1000, 1, READ | LAST);
    length = 40;
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, 0, &length), -NIDUS_EFAULT);
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, channel, RAM - 39, &length), -NIDUS_EFAULT);
    assert_int_equal(read_records(channel, 1), 1); /* it was not lost */
    length = 8;
    assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, channel, 0, &length), -NIDUS_EFAULT);
    assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, channel, RAM - 7, &length), -NIDUS_EFAULT);
    assert_int_equal(respond_all(channel, &bad_code, 1, &done), -NIDUS_EINVAL);
    assert_int_equal(respond(channel, record[0].cookie, 15), -NIDUS_EINVAL);
    assert_int_equal(respond(channel, record[0].cookie ^ 1, 0), -NIDUS_EINVAL);
    assert_int_equal(respond(channel, 0, 0), -NIDUS_EINVAL);
    assert_int_equal(respond(channel, UINT32_MAX, 0), -NIDUS_EINVAL);
    assert_int_equal(engine.answers, 0);
    assert_int_equal(respond(channel, record[0].cookie, 0), 0);
    assert_int_equal(respond(channel, record[0].cookie, 0), -NIDUS_EINVAL); /* once */
}

static void a_group_that_was_not_read_cannot_be_answered(void **state)
{
    (void)state;
    start();
    request(device_id, 0x1000, 1, READ | LAST);
    assert_int_equal(respond(channel, device_id * ENGINE_PAGE_REQUESTS, 0), -NIDUS_EINVAL);
    assert_int_equal(read_records(channel, 1), 1);
    assert_int_equal(record[0].cookie, device_id * ENGINE_PAGE_REQUESTS);
}

static void a_bad_answer_ends_a_write(void **state)
{
    struct nidus_hwpt_page_response r[3] = { { 0 } };
    unsigned done;

    (void)state;
    start();
    request(device_id, 0x1000, 1, READ | LAST);
    request(device_id, 0x1000, 2, READ | LAST);
    assert_int_equal(read_records(channel, 2), 2);
    r[0].cookie = record[0].cookie;
    r[1].cookie = 0;
    r[2].cookie = record[1].cookie;
    assert_int_equal(respond_all(channel, r, 3, &done), 0);
    assert_int_equal(done, 1);
    assert_int_equal(engine.answers, 1);
}

static void bad_channels_and_flags(void **state)
{
    static const uint32_t bad[] = { 0, 2, CHANNELS, UINT32_MAX };
    struct nidus_event_io e = { .size = sizeof(e), .flags = 1 };

    (void)state;
    start();
    for (unsigned i = 0; i < 4; i++) {
        uint32_t length = 40;

        assert_int_equal(io(NIDUS_CALL_EVENT_READ, bad[i], DATA, &length), -NIDUS_ENOENT);
        assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, bad[i], DATA, &length), -NIDUS_ENOENT);
    }
    e.channel = channel;
    assert_int_equal(CALL(NIDUS_CALL_EVENT_READ, e), -NIDUS_EOPNOTSUPP);
    assert_int_equal(CALL(NIDUS_CALL_EVENT_WRITE, e), -NIDUS_EOPNOTSUPP);
}

/* What ends without the guest -------------------------------------------------------------------------- */

static void detaching_answers_what_is_left(void **state)
{
    (void)state;
    start();
    request(device_id, 0x1000, 1, READ | LAST | PASID(5));
    assert_int_equal(read_records(channel, 1), 1);
    request(device_id, 0x2000, 2, READ | LAST | PASID(5));
    request(device_id, 0x3000, 3, READ | LAST);
    assert_int_equal(attach(device_id, 6, device_hwpt(&assigned(device_id)->device, 5)->id), 0);
    request(device_id, 0x5000, 5, READ | LAST | PASID(6)); /* the same HWPT, not the same PASID */
    request(device_id, 0x4000, 4, READ | PASID(5)); /* its group is not complete: nobody waits for an answer */
    assert_int_equal(detach(device_id, 5), 0);
    assert_int_equal(engine.answers, 2);
    assert_answer(0, device_id, 1, 5, ENGINE_PAGE_INVALID);
    assert_answer(1, device_id, 2, 5, ENGINE_PAGE_INVALID);
    assert_int_equal(respond(channel, record[0].cookie, 0), -NIDUS_EINVAL);
    assert_int_equal(read_records(channel, 4), 2); /* those of the other attachments go on */
    assert_int_equal(record[0].grpid, 3);
    assert_int_equal(record[1].grpid, 5);
    assert_int_equal(detach(device_id, 6), 0);
    assert_answer(2, device_id, 5, 6, ENGINE_PAGE_INVALID);
    assert_int_equal(engine.count[ENGINE_PAGE_OFF], 0);
    assert_int_equal(detach(device_id, 0), 0);
    assert_answer(3, device_id, 3, 0, ENGINE_PAGE_INVALID);
    assert_int_equal(engine.count[ENGINE_PAGE_OFF], 1);
}

static void what_comes_during_a_detach_is_refused(void **state)
{
    const struct engine_page_request late = { .addr = 0x9000, .group = 9, .pasid = 5, .has_pasid = true, .read = true, .last = true };

    (void)state;
    start();
    assert_int_equal(detach(device_id, 0), 0);
    engine.late = &late;
    engine.late_taken = true;
    assert_int_equal(detach(device_id, 5), 0);
    assert_false(engine.late_taken);
    engine.late = NULL;
    assert_int_equal(attach(device_id, 5, hwpt(new_queue(&channel))), 0);
    assert_true(request(device_id, 0x1000, 1, READ | LAST | PASID(5))); /* for the time of the detach alone */
}

static void replacing_answers_what_came_for_the_old_one(void **state)
{
    (void)state;
    start();
    uint32_t other = hwpt(device_hwpt(&assigned(device_id)->device, 5)->faults->channel.object.id);
    request(device_id, 0x1000, 1, READ | LAST | PASID(5));
    assert_int_equal(attach(device_id, 5, other), 0);
    assert_int_equal(engine.answers, 1);
    assert_answer(0, device_id, 1, 5, ENGINE_PAGE_INVALID);
    request(device_id, 0x2000, 2, READ | LAST | PASID(5));
    assert_int_equal(attach(device_id, 5, other), 0); /* nothing changes */
    assert_int_equal(read_records(channel, 4), 1);
    assert_int_equal(record[0].grpid, 2);
}

/* What comes for the new one before nidus has looked at the old one's. */
static void replacing_leaves_what_came_for_the_new_one(void **state)
{
    const struct engine_page_request early = { .addr = 0x9000, .group = 9, .pasid = 5, .has_pasid = true, .read = true, .last = true };

    (void)state;
    start();
    uint32_t other = hwpt(device_hwpt(&assigned(device_id)->device, 5)->faults->channel.object.id);
    request(device_id, 0x1000, 1, READ | LAST | PASID(5));
    engine.at_once = &early;
    assert_int_equal(attach(device_id, 5, other), 0);
    assert_int_equal(engine.answers, 1);
    assert_answer(0, device_id, 1, 5, ENGINE_PAGE_INVALID);
    assert_int_equal(read_records(channel, 4), 1);
    assert_int_equal(record[0].grpid, 9);
}

static void a_failed_replace_leaves_requests_alone(void **state)
{
    uint32_t other = hwpt(0);

    (void)state;
    start();
    request(device_id, 0x1000, 1, READ | LAST | PASID(5));
    engine_fail(ENGINE_ATTACH, 1, -NIDUS_EINVAL, DAMAGE_NONE);
    assert_int_equal(attach(device_id, 5, other), -NIDUS_EINVAL);
    assert_int_equal(engine.answers, 0);
    assert_int_equal(read_records(channel, 4), 1);
}

/* More than a device may have under way; its other groups and other devices do not suffer. */
static void too_many_requests(void **state)
{
    (void)state;
    start();
    for (uint16_t i = 0; i < ENGINE_PAGE_REQUESTS; i++)
        assert_true(request(device_id, 0x1000, i, READ | (i % 2 ? LAST : 0)));
    assert_false(request(device_id, 0x1000, 100, READ | LAST));
    assert_false(request(device_id, 0x1000, 2, READ)); /* its group ends */
    assert_true(request(device_id, 0x1000, 101, READ | LAST));
    assert_int_equal(read_records(channel, 64), ENGINE_PAGE_REQUESTS / 2 + 1);
    assert_int_equal(attach(other_id, 0, hwpt(new_queue(&channel))), 0);
    assert_true(request(other_id, 0x1000, 1, READ | LAST));
}

static void a_lost_request_ends_open_groups(void **state)
{
    (void)state;
    start();
    request(device_id, 0x1000, 1, READ);
    request(device_id, 0x2000, 2, READ | LAST);
    assert_true(engine_page_request(&assigned(device_id)->device, NULL));
    request(device_id, 0x3000, 1, READ | LAST);
    assert_int_equal(read_records(channel, 4), 2);
    assert_int_equal(record[0].grpid, 2);
    assert_int_equal(record[1].addr, 0x3000);
}

/* A guest that never answers: its device gets an answer all the same, in the end. */
static void patience_ends(void **state)
{
    (void)state;
    start();
    assert_int_equal(iommu_overdue(context), UINT64_MAX);
    request(device_id, 0x1000, 1, READ | LAST | PASID(5));
    uint64_t due = iommu_overdue(context);
    assert_int_not_equal(due, UINT64_MAX);
    assert_int_equal(read_records(channel, 1), 1);
    host_time_advance(5 * SECOND);
    request(device_id, 0x2000, 2, READ | LAST);
    request(device_id, 0x3000, 3, READ);
    assert_int_equal(iommu_overdue(context), due);
    assert_int_equal(engine.answers, 0);
    host_time_advance(5 * SECOND);
    host_log_clear();
    uint64_t next = iommu_overdue(context);
    assert_in_range(next, due, due + 2 * SECOND);
    assert_int_equal(engine.answers, 1);
    assert_answer(0, device_id, 1, 5, ENGINE_PAGE_INVALID);
    assert_int_equal(host_log_lines(), 1);
    assert_true(host_log_has("guest web: page requests of device"));
    assert_int_equal(respond(channel, record[0].cookie, 0), -NIDUS_EINVAL);
    host_time_advance(5 * SECOND);
    assert_int_equal(iommu_overdue(context), UINT64_MAX);
    assert_int_equal(engine.answers, 2); /* the open one gets none */
    assert_int_equal(assigned(device_id)->used, 0);
    assert_int_equal(read_records(channel, 4), 0);
}

static void after_the_guest_nobody_gets_requests(void **state)
{
    (void)state;
    start();
    assigned(device_id)->device.context = NULL;
    assert_false(request(device_id, 0x1000, 1, READ | LAST));
    assigned(device_id)->device.context = context;
}

/* Which channels have something ------------------------------------------------------------------------ */

static void ready_follows_the_queue(void **state)
{
    (void)state;
    start();
    assert_int_equal(iommu_ready(context), 0);
    request(device_id, 0x1000, 1, READ);
    assert_int_equal(iommu_ready(context), 0);
    request(device_id, 0x1000, 1, READ | LAST);
    request(device_id, 0x1000, 2, READ | LAST | PASID(5));
    assert_int_equal(iommu_ready(context), 1u << channel);
    assert_int_equal(read_records(channel, 2), 2);
    assert_int_equal(iommu_ready(context), 1u << channel);
    assert_int_equal(detach(device_id, 5), 0); /* with what was not read */
    assert_int_equal(iommu_ready(context), 0);
    request(device_id, 0x1000, 3, READ | LAST);
    assert_int_equal(iommu_ready(context), 1u << channel);
    assert_int_equal(read_records(channel, 1), 1);
    assert_int_equal(iommu_ready(context), 0);
}

/* vIOMMUs ---------------------------------------------------------------------------------------------- */

static struct nidus_viommu_alloc viommu_request(void)
{
    return (struct nidus_viommu_alloc){
        .size = sizeof(struct nidus_viommu_alloc), .type = NIDUS_VIOMMU_TYPE_VTD, .dev_id = device_id, .hwpt_id = parent,
    };
}

static uint32_t new_viommu(void)
{
    struct nidus_viommu_alloc v = viommu_request();

    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), 0);
    return v.out_viommu_id;
}

static int64_t vdevice(uint32_t viommu, uint32_t device, uint64_t virt_id, uint32_t *id)
{
    struct nidus_vdevice_alloc d = { .size = sizeof(d), .viommu_id = viommu, .dev_id = device, .virt_id = virt_id };
    int64_t result = CALL(NIDUS_CALL_VDEVICE_ALLOC, d);

    if (id != NULL)
        *id = d.out_vdevice_id;
    return result;
}

static struct nidus_veventq_alloc veventq_request(uint32_t viommu)
{
    return (struct nidus_veventq_alloc){
        .size = sizeof(struct nidus_veventq_alloc), .viommu_id = viommu, .type = NIDUS_VEVENTQ_TYPE_VTD_FAULT, .veventq_depth = 3,
    };
}

/* Its id; *events: its channel. */
static uint32_t new_veventq(uint32_t viommu, uint32_t *events)
{
    struct nidus_veventq_alloc q = veventq_request(viommu);

    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), 0);
    *events = q.out_veventq_fd;
    return q.out_veventq_id;
}

static void viommu_checks_in_linux_order(void **state)
{
    struct nidus_viommu_alloc v = viommu_request(), short_one = v;
    uint32_t plain;

    (void)state;
    assert_int_equal(alloc(ram_ioas, 0, 0, &plain), 0);
    v.data_len = 8;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EOPNOTSUPP);
    v.hwpt_id = plain;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EINVAL);
    v.hwpt_id = ram_ioas;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_ENOENT);
    v.type = 1;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EOPNOTSUPP);
    v.dev_id = ram_ioas;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_ENOENT);
    v.type = NIDUS_VIOMMU_TYPE_DEFAULT;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EOPNOTSUPP);
    v = viommu_request();
    v.flags = 1;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EOPNOTSUPP);
    v = viommu_request();
    v.reserved = 1;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_EOPNOTSUPP);
    short_one.size = 24; /* of a caller that knows no more */
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, short_one), 0);
    assert_int_equal(destroy(parent), -NIDUS_EBUSY);
    assert_int_equal(destroy(short_one.out_viommu_id), 0);
    assert_int_equal(destroy(parent), 0);
}

static void vdevice_checks(void **state)
{
    uint32_t v, d;

    (void)state;
    assigned(device_id)->device.unit = (struct unit *)0x1000;
    v = new_viommu();
    assert_int_equal(vdevice(v, device_id, 1ULL << 32, NULL), -NIDUS_EINVAL);
    assert_int_equal(vdevice(parent, device_id, 8, NULL), -NIDUS_ENOENT);
    assert_int_equal(vdevice(v, v, 8, NULL), -NIDUS_ENOENT);
    assert_int_equal(vdevice(v, other_id, 8, NULL), -NIDUS_EINVAL); /* behind another unit */
    assigned(other_id)->device.unit = (struct unit *)0x1000;
    assert_int_equal(vdevice(v, device_id, 8, &d), 0);
    assert_int_equal(vdevice(v, device_id, 9, NULL), -NIDUS_EEXIST);
    assert_int_equal(vdevice(v, other_id, 8, NULL), -NIDUS_EEXIST);
    assert_int_equal(vdevice(v, other_id, 9, NULL), 0);
    assert_int_equal(destroy(v), -NIDUS_EBUSY);
    assert_int_equal(destroy(d), 0);
    assert_int_equal(vdevice(v, device_id, 8, NULL), 0);
}

static void veventq_checks_in_linux_order(void **state)
{
    uint32_t v = new_viommu(), events, id;
    struct nidus_veventq_alloc q = veventq_request(v);

    (void)state;
    q.veventq_depth = FAULT_RECORDS + 1;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_ENOMEM);
    q.type = 1;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_EOPNOTSUPP);
    q.viommu_id = parent;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_ENOENT);
    q.veventq_depth = 0;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_EINVAL);
    q.type = NIDUS_VEVENTQ_TYPE_DEFAULT;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_EOPNOTSUPP);
    q = veventq_request(v);
    q.reserved = 1;
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_EOPNOTSUPP);
    id = new_veventq(v, &events);
    q = veventq_request(v);
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_EEXIST);
    assert_int_equal(destroy(v), -NIDUS_EBUSY);
    assert_int_equal(destroy(id), 0);
    new_veventq(v, &events);
}

static void a_shortage_leaves_nothing_of_a_viommu(void **state)
{
    uint32_t events;

    (void)state;
    for (unsigned n = 1; n < 3; n++) {
        struct nidus_viommu_alloc v = viommu_request();
        uint32_t good = new_viommu();
        struct nidus_veventq_alloc q = veventq_request(good);

        host_fail_allocation(1);
        assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_ENOMEM);
        host_fail_allocation(1);
        assert_int_equal(vdevice(good, device_id, 8, NULL), -NIDUS_ENOMEM);
        host_fail_allocation(n);
        assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_ENOMEM);
        assert_int_equal(destroy(good), 0);
    }
    for (unsigned i = 1; i < CHANNELS; i++)
        new_queue(&events);
    struct nidus_veventq_alloc q = veventq_request(new_viommu());
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_ENOMEM);
}

static void ids_run_out(void **state)
{
    struct nidus_viommu_alloc v = viommu_request();
    struct nidus_fault_alloc f = { .size = sizeof(f) };
    struct nidus_ioas_alloc ioas = { .size = sizeof(ioas) };
    uint32_t good = new_viommu();

    (void)state;
    while (CALL(NIDUS_CALL_IOAS_ALLOC, ioas) == 0)
        ;
    assert_int_equal(CALL(NIDUS_CALL_VIOMMU_ALLOC, v), -NIDUS_ENOMEM);
    assert_int_equal(vdevice(good, device_id, 8, NULL), -NIDUS_ENOMEM);
    assert_int_equal(CALL(NIDUS_CALL_FAULT_QUEUE_ALLOC, f), -NIDUS_ENOMEM);
    struct nidus_veventq_alloc q = veventq_request(good);
    assert_int_equal(CALL(NIDUS_CALL_VEVENTQ_ALLOC, q), -NIDUS_ENOMEM);
    assert_int_equal(iommu_channels(context), 0);
    assert_int_equal(destroy(good), 0);
}

/* As Linux has it: over the vIOMMU's parent, for devices of its unit, with a reference to the vIOMMU. */
static void a_nested_hwpt_of_a_viommu(void **state)
{
    uint32_t v, id;

    (void)state;
    assigned(other_id)->device.unit = (struct unit *)0x1000;
    v = new_viommu();
    assert_int_equal(alloc(v, NIDUS_HWPT_ALLOC_NEST_PARENT, 0, &id), -NIDUS_EOPNOTSUPP);
    assert_int_equal(alloc(v, NIDUS_HWPT_ALLOC_PASID, 0, &id), 0);
    assert_ptr_equal(((struct nested *)object_get(context, id, OBJECT_NESTED))->first.parent,
                     &((struct paging *)object_get(context, parent, OBJECT_PAGING))->domain);
    assert_int_equal(attach(device_id, 0, id), 0);
    assert_int_equal(destroy(v), -NIDUS_EBUSY);
    assert_int_equal(detach(device_id, 0), 0);
    assert_int_equal(destroy(id), 0);
    assert_int_equal(destroy(v), 0);
    device_id ^= other_id, other_id ^= device_id, device_id ^= other_id; /* the device behind the other unit */
    v = new_viommu();
    device_id ^= other_id, other_id ^= device_id, device_id ^= other_id;
    assert_int_equal(alloc(v, 0, 0, &id), -NIDUS_EINVAL);
}

static void what_is_no_hwpt_is_not_attached(void **state)
{
    uint32_t v = new_viommu(), events, d, ids[4];

    (void)state;
    assert_int_equal(vdevice(v, device_id, 1, &d), 0);
    ids[0] = v, ids[1] = d, ids[2] = new_veventq(v, &events), ids[3] = new_queue(&events);
    for (unsigned i = 0; i < 4; i++) {
        struct nidus_hwpt_invalidate inv = { .size = sizeof(inv), .hwpt_id = ids[i] };

        assert_int_equal(attach(device_id, 0, ids[i]), -NIDUS_EINVAL);
        assert_int_equal(CALL(NIDUS_CALL_HWPT_INVALIDATE, inv), ids[i] == v ? -NIDUS_EOPNOTSUPP : -NIDUS_EINVAL);
    }
    assert_int_equal(engine.count[ENGINE_ATTACH], 0);
}

/* A vIOMMU is a user of its parent that the engine does not know of: an attachment counts all the same. */
static void attachments_of_a_parent_with_a_viommu(void **state)
{
    uint32_t v = new_viommu(), a, b;

    (void)state;
    assert_int_equal(alloc(v, 0, 0, &a), 0);
    assert_int_equal(alloc(v, 0, 0, &b), 0);
    assert_int_equal(attach(device_id, 0, parent), 0);
    assert_int_equal(detach(device_id, 0), 0);
    assert_int_equal(destroy(a), 0);
    assert_int_equal(destroy(b), 0);
    assert_int_equal(destroy(v), 0);
    assert_int_equal(destroy(parent), 0);
}

/* Faults as events ------------------------------------------------------------------------------------- */

static void fault(uint32_t device, uint64_t addr)
{
    const struct nidus_fault f = { .dev_id = device, .reason = 0x71, .addr = addr };

    engine_fault_sink(&assigned(device)->device, &f);
}

struct event {
    struct nidus_vevent_header header;
    struct nidus_fault fault;
};

/* The next event, with its size; 0: none. */
static uint32_t next_event(uint32_t events, uint32_t room, struct event *e)
{
    uint32_t length = room;

    assert_int_equal(io(NIDUS_CALL_EVENT_READ, events, DATA, &length), 0);
    assert_int_equal(platform_guest_read(guest, DATA, e, sizeof(*e)), 0);
    return length;
}

static void faults_of_a_vdevice_are_events(void **state)
{
    uint32_t v = new_viommu(), events;
    struct event e;

    (void)state;
    new_veventq(v, &events);
    fault(device_id, 0x1000); /* it is no vdevice yet */
    assert_int_equal(vdevice(v, device_id, 0x208, NULL), 0);
    assert_int_equal(iommu_ready(context), 0);
    fault(device_id, 0x2000);
    fault(other_id, 0x3000);
    assert_int_equal(iommu_ready(context), 1u << events);
    assert_int_equal(next_event(events, sizeof(e) - 1, &e), 0);
    assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e));
    assert_int_equal(e.header.flags, 0);
    assert_int_equal(e.header.sequence, 0);
    assert_int_equal(e.fault.dev_id, 0x208);
    assert_int_equal(e.fault.reason, 0x71);
    assert_int_equal(e.fault.addr, 0x2000);
    assert_int_equal(next_event(events, sizeof(e), &e), 0);
    assert_int_equal(iommu_ready(context), 0);
    /* The simple way has them all, by the device's own id. */
    struct nidus_fault_read r = { .size = sizeof(r), .data_uptr = DATA, .entry_len = sizeof(struct nidus_fault), .entry_num = 8 };
    assert_int_equal(CALL(NIDUS_CALL_FAULT_READ, r), 0);
    assert_int_equal(r.entry_num, 3);
    struct nidus_fault second;
    assert_int_equal(platform_guest_read(guest, DATA + sizeof(second), &second, sizeof(second)), 0);
    assert_int_equal(second.dev_id, device_id);
}

/* Lost ones are counted; the last ones are told by a header alone, unless another event tells. */
static void lost_events_as_linux_tells_them(void **state)
{
    uint32_t v = new_viommu(), events;
    struct event e;

    (void)state;
    new_veventq(v, &events); /* holds 3 */
    assert_int_equal(vdevice(v, device_id, 1, NULL), 0);
    for (unsigned i = 0; i < 5; i++)
        fault(device_id, i * K4);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e));
        assert_int_equal(e.header.sequence, i);
        assert_int_equal(e.header.flags, 0);
    }
    assert_int_equal(iommu_ready(context), 1u << events);
    assert_int_equal(next_event(events, 7, &e), 0);
    assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e.header));
    assert_int_equal(e.header.flags, NIDUS_VEVENTQ_FLAG_LOST_EVENTS);
    assert_int_equal(e.header.sequence, 4);
    assert_int_equal(iommu_ready(context), 0);
    for (unsigned i = 0; i < 4; i++)
        fault(device_id, i * K4);
    assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e));
    fault(device_id, 0x9000); /* tells by its number that 8 was lost */
    for (unsigned i = 6; i < 8; i++) {
        assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e));
        assert_int_equal(e.header.sequence, i);
    }
    assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e));
    assert_int_equal(e.header.sequence, 9);
    assert_int_equal(e.header.flags, 0);
    assert_int_equal(next_event(events, sizeof(e), &e), 0);
    engine_fault_lost(&assigned(device_id)->device); /* by the unit */
    assert_int_equal(next_event(events, sizeof(e), &e), sizeof(e.header));
    assert_int_equal(e.header.sequence, 10);
}

static void several_events_in_one_read(void **state)
{
    uint32_t v = new_viommu(), events, length = 3 * sizeof(struct event) + 4, bad = 100;
    struct event e[2];

    (void)state;
    new_veventq(v, &events);
    assert_int_equal(vdevice(v, device_id, 1, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        fault(device_id, i * K4);
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, events, 0, &bad), -NIDUS_EFAULT);
    assert_int_equal(io(NIDUS_CALL_EVENT_READ, events, RAM - sizeof(e), &length), 0); /* the third does not lie in RAM, and stays */
    assert_int_equal(length, sizeof(e));
    assert_int_equal(platform_guest_read(guest, RAM - sizeof(e), e, sizeof(e)), 0);
    assert_int_equal(e[1].fault.addr, K4);
    assert_int_equal(next_event(events, sizeof(e), e), sizeof(e[0]));
    assert_int_equal(e[0].fault.addr, 2 * K4);
    assert_int_equal(io(NIDUS_CALL_EVENT_WRITE, events, DATA, &length), -NIDUS_EINVAL);
}

static void without_queue_or_vdevice_there_are_no_events(void **state)
{
    uint32_t v = new_viommu(), events, queue = new_veventq(v, &events), d;
    struct event e;

    (void)state;
    assert_int_equal(vdevice(v, device_id, 1, &d), 0);
    assert_int_equal(destroy(d), 0);
    fault(device_id, 0x1000);
    assert_int_equal(next_event(events, sizeof(e), &e), 0);
    assert_int_equal(vdevice(v, device_id, 1, &d), 0);
    fault(device_id, 0x1000);
    assert_int_equal(destroy(queue), 0);
    assert_int_equal(iommu_ready(context), 0);
    fault(device_id, 0x1000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_calls_of_this_part), T(queue_flags_are_eopnotsupp), T(a_queue_has_the_lowest_free_channel), T(nidus_more_than_63_channels_are_enomem),
        T(a_queue_that_cannot_be_made_leaves_nothing), T(a_bad_fault_id_is_enoent_and_the_hwpt_is_gone),
        T(without_the_flag_fault_id_is_not_looked_at), T(other_errors_come_before_a_bad_fault_id), T(a_queue_in_use_is_not_destroyed),
        T(requests_are_on_while_an_attachment_has_a_queue), T(a_device_without_page_requests_keeps_what_it_had),
        T(a_request_becomes_a_record_and_its_response_an_answer), T(groups_come_whole), T(a_group_that_does_not_fit_waits),
        T(both_devices_share_a_queue), T(answers_to_one_device_go_together), T(a_queue_is_for_what_is_attached_to_its_hwpts),
        T(a_stop_marker_is_no_request), T(reading_and_writing_as_linux), T(a_group_that_was_not_read_cannot_be_answered),
        T(a_bad_answer_ends_a_write), T(bad_channels_and_flags), T(detaching_answers_what_is_left),
        T(what_comes_during_a_detach_is_refused), T(replacing_answers_what_came_for_the_old_one),
        T(replacing_leaves_what_came_for_the_new_one), T(a_failed_replace_leaves_requests_alone), T(too_many_requests), T(a_lost_request_ends_open_groups), T(patience_ends),
        T(after_the_guest_nobody_gets_requests), T(ready_follows_the_queue),
        T(viommu_checks_in_linux_order), T(vdevice_checks), T(veventq_checks_in_linux_order), T(a_shortage_leaves_nothing_of_a_viommu), T(ids_run_out),
        T(a_nested_hwpt_of_a_viommu), T(what_is_no_hwpt_is_not_attached), T(attachments_of_a_parent_with_a_viommu),
        T(faults_of_a_vdevice_are_events), T(lost_events_as_linux_tells_them), T(several_events_in_one_read),
        T(without_queue_or_vdevice_there_are_no_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
