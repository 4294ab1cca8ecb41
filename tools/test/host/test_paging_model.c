/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_paging_model.c: demand paging for devices, from the request of a device on the model of the hardware to the guest's answer and back to
 * the device, which then finds its page.  Nobody looks at a unit that has not interrupted.
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
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/units.h"
#include "tools/vtd-model/host_platform.h"
#include "tools/test/host/whole_call.h"

#define K4      0x1000ULL
#define RAM     (4ULL << 20)
#define PAYLOAD 0x10000ULL
#define DATA    0x20000ULL
#define TABLES  0x100000ULL     /* the first stage: a page for each of its four levels */
#define POOL    0x200000ULL     /* where pages come from: IOVA page n gets the n-th */
#define PAGES   256u
#define PASID   5u
#define SECOND  1000000000ULL

static struct model *model;
static struct model_unit *unit;
static uint32_t seed;

/* A guest with one device, whose pages it makes present when they are asked for. */
static struct pager {
    uint16_t source_id;
    struct guest *guest;
    struct iommu_context *context;
    uint32_t device, hwpt, channel;
    unsigned asked;             /* groups that it has answered */
    bool mute;                  /* it reads, and does not answer */
} one, two;

static unsigned pick(unsigned n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static uint64_t *word_at(const struct pager *p, uint64_t gpa)
{
    return (uint64_t *)host_guest_byte(p->guest, gpa);
}

static uint64_t *leaf(const struct pager *p, unsigned page)
{
    return word_at(p, TABLES + 3 * K4 + page * 8);
}

static int64_t call(struct pager *p, uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(p->guest, PAYLOAD, payload, size), 0);
    result = iommu_call(p->context, nr, PAYLOAD, device);
    assert_int_equal(platform_guest_read(p->guest, PAYLOAD, payload, size), 0);
    return result;
}

static uint32_t alloc(struct pager *p, uint32_t pt, uint32_t flags, uint32_t queue)
{
    const struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = TABLES, .addr_width = 48 };
    bool nested = queue != 0;
    struct nidus_hwpt_alloc a = {
        .size = sizeof a, .flags = flags | NIDUS_HWPT_ALLOC_PASID, .dev_id = p->device, .pt_id = pt, .fault_id = queue,
        .data_type = nested, .data_len = nested ? sizeof s1 : 0, .data_uptr = nested ? DATA : 0,
    };

    assert_int_equal(platform_guest_write(p->guest, DATA, &s1, sizeof s1), 0);
    assert_int_equal(call(p, NIDUS_CALL_HWPT_ALLOC, &a, sizeof a, 0), 0);
    return a.out_hwpt_id;
}

static void attach(struct pager *p, uint32_t pasid)
{
    struct nidus_vfio_attach a = { .argsz = 16, .flags = pasid != 0 ? NIDUS_VFIO_ATTACH_PASID : 0, .pt_id = p->hwpt, .pasid = pasid };

    assert_int_equal(call(p, NIDUS_CALL_ATTACH, &a, sizeof a, p->device), 0);
}

static void detach(struct pager *p, uint32_t pasid)
{
    struct nidus_vfio_detach d = { .argsz = 12, .flags = pasid != 0 ? NIDUS_VFIO_DETACH_PASID : 0, .pasid = pasid };

    assert_int_equal(call(p, NIDUS_CALL_DETACH, &d, sizeof d, p->device), 0);
}

static void put16(uint8_t *config, unsigned offset, uint16_t value)
{
    memcpy(config + offset, &value, 2);
}

static void add_function(uint16_t bdf)
{
    uint8_t *config = host_function_add(0, bdf)->config;

    put16(config, 0x100, 0x000f); /* ATS, */
    put16(config, 0x102, 0x140 << 4);
    put16(config, 0x140, 0x0013); /* page requests, 128 at a time, */
    put16(config, 0x142, 0x160 << 4);
    config[0x148] = 128;
    put16(config, 0x160, 0x001b); /* PASIDs of 16 bits */
    put16(config, 0x164, 16 << 8);
}

static void open_pager(struct pager *p, const char *name, uint16_t source_id)
{
    const struct iommu_device_policy policy = { .ats = IOMMU_ATS_TRUST };
    struct nidus_fault_alloc queue = { .size = sizeof queue };
    char reason[160];

    *p = (struct pager){ .source_id = source_id, .guest = host_guest(name, RAM) };
    p->context = iommu_context_create(p->guest, true);
    assert_non_null(p->context);
    if (!iommu_assign(p->context, 0, source_id, &policy, &p->device, reason))
        fail_msg("refused: %s", reason);
    for (unsigned level = 0; level < 3; level++)
        *word_at(p, TABLES + level * K4) = (TABLES + (level + 1) * K4) | 0x67;
    assert_int_equal(call(p, NIDUS_CALL_FAULT_QUEUE_ALLOC, &queue, sizeof queue, 0), 0);
    p->channel = queue.out_fault_fd;
    p->hwpt = alloc(p, alloc(p, iommu_default_ioas(p->context), NIDUS_HWPT_ALLOC_NEST_PARENT, 0), NIDUS_HWPT_FAULT_ID_VALID, queue.out_fault_id);
    attach(p, 0);
}

static void start(const char *preset, const struct model_freedom *freedom, uint32_t with_seed)
{
    static const uint8_t atsr[] = { 2, 0, 8, 0, 1, 0, 0, 0 };
    uint8_t dmar[256];
    uint32_t length;

    host_reset();
    host_log_clear();
    seed = with_seed;
    model = model_host_new(seed);
    unit = model_host_unit(model, model_preset(preset), 0xfed90000);
    model_set_freedom(model, freedom);
    add_function(0x20);
    add_function(0x28);
    const void *table = model_host_dmar(model, NULL, &length);
    memcpy(dmar, table, length);
    memcpy(dmar + length, atsr, sizeof atsr);
    dmar[4] = (uint8_t)(length + sizeof atsr);
    iommu_init(dmar, length + sizeof atsr, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    assert_true(iommu_interrupts(0xfee00000, 0x31));
    open_pager(&one, "one", 0x20);
    open_pager(&two, "two", 0x28);
}

static void no_violation(void)
{
    if (model_violations(model))
        fail_msg("%u violations, the first: %s", model_violations(model), model_violation(model, 0));
}

static void stop(void)
{
    no_violation();
    assert_true(iommu_context_block(one.context) && iommu_context_block(two.context));
    destroy_whole(one.context);
    destroy_whole(two.context);
    assert_int_equal(one.guest->bytes_used + two.guest->bytes_used, 0);
    units_free();
    model_host_free(model);
}

/* What nidus does: it looks when it was interrupted. */
static void interrupts(void)
{
    struct model_msi msi;

    while (model_msi(unit, &msi))
        while (iommu_poll())
            ;
}

/* What a guest does whose channel has something. */
static void serve(struct pager *p)
{
    struct nidus_hwpt_pgfault fault[64];
    struct nidus_hwpt_page_response answer[64];
    struct nidus_event_io io = { .size = sizeof io, .channel = p->channel, .data_uptr = DATA, .data_len = sizeof fault };
    unsigned answers = 0;

    if ((iommu_ready(p->context) >> p->channel & 1) == 0)
        return;
    assert_int_equal(call(p, NIDUS_CALL_EVENT_READ, &io, sizeof io, 0), 0);
    assert_true(io.data_len != 0);
    assert_int_equal(platform_guest_read(p->guest, DATA, fault, io.data_len), 0);
    for (unsigned i = 0; i < io.data_len / sizeof fault[0]; i++) {
        assert_true(fault[i].addr < PAGES * K4);
        *leaf(p, (unsigned)(fault[i].addr / K4)) = (POOL + fault[i].addr) | 0x67;
        if (fault[i].flags & NIDUS_PGFAULT_FLAGS_LAST_PAGE)
            answer[answers++] = (struct nidus_hwpt_page_response){ fault[i].cookie, NIDUS_PAGE_RESP_SUCCESS };
    }
    if (p->mute)
        return;
    io = (struct nidus_event_io){ .size = sizeof io, .channel = p->channel, .data_uptr = DATA, .data_len = answers * 8 };
    assert_int_equal(platform_guest_write(p->guest, DATA, answer, answers * 8), 0);
    assert_int_equal(call(p, NIDUS_CALL_EVENT_WRITE, &io, sizeof io, 0), 0);
    assert_int_equal(io.data_len, answers * 8);
    p->asked += answers;
}

static bool reaches(const struct pager *p, uint32_t pasid, unsigned page)
{
    const struct model_request r = { .source_id = p->source_id, .access = MODEL_WRITE, .with_pasid = pasid != 0, .pasid = pasid };
    uint64_t word = 0xabcd000000000000ULL + page;

    if (model_dma_ats(unit, &r, page * K4 + 8, &word, 8).outcome != MODEL_DONE)
        return false;
    assert_true(*word_at(p, POOL + page * K4 + 8) == word);
    return true;
}

static enum model_page_answer ask(const struct pager *p, uint32_t pasid, unsigned page, uint16_t group, bool last)
{
    const struct model_page_request r = {
        .source_id = p->source_id, .with_pasid = pasid != 0, .pasid = pasid, .address = page * K4, .read = true, .write = true,
        .last = last, .group = group,
    };

    return model_page_request(unit, &r);
}

static void expect_answer(const struct pager *p, uint32_t pasid, uint16_t group, uint8_t code)
{
    struct model_page_response r;

    assert_true(model_page_response(unit, &r));
    assert_int_equal(r.source_id, p->source_id);
    assert_int_equal(r.group, group);
    assert_int_equal(r.with_pasid, pasid != 0);
    assert_int_equal(r.with_pasid ? r.pasid : 0, pasid);
    assert_int_equal(r.code, code);
}

/* Of groups first to last each is answered, once and so; in no certain order (6.5.2.12). */
static void expect_answers(const struct pager *p, unsigned first, unsigned last, uint8_t code)
{
    struct model_page_response r;
    uint64_t seen = 0;

    for (unsigned i = first; i <= last; i++) {
        assert_true(model_page_response(unit, &r));
        assert_int_equal(r.source_id, p->source_id);
        assert_int_equal(r.code, code);
        seen |= 1ULL << (r.group - first);
    }
    assert_int_equal(seen, (1ULL << (last + 1 - first)) - 1);
    assert_false(model_page_response(unit, &r));
}

static const char *const kinds[] = { "spr-svm", "granite" };

static void on_each(void (*test)(void))
{
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t s = 1; s <= 4; s++) {
            start(kinds[k], s == 1 ? &model_calm : &model_wild, s);
            test();
            stop();
        }
}

/* Tests ------------------------------------------------------------------------------------------------ */

/* Page by page, with PASID and without. */
static void paging(void)
{
    attach(&one, PASID);
    for (unsigned i = 0; i < 100; i++) {
        unsigned page = pick(PAGES);
        uint32_t pasid = pick(2) ? PASID : 0;
        bool there = *leaf(&one, page) != 0;

        assert_int_equal(reaches(&one, pasid, page), there);
        if (there)
            continue;
        assert_int_equal(ask(&one, pasid, page, (uint16_t)(i & 511), true), MODEL_PAGE_QUEUED);
        interrupts();
        serve(&one);
        expect_answer(&one, pasid, (uint16_t)(i & 511), 0);
        assert_true(reaches(&one, pasid, page));
    }
    assert_true(one.asked > 30);
    no_violation();
}

static void pages_come_when_they_are_asked_for(void **state)
{
    (void)state;
    on_each(paging);
}

/* Groups of several pages, of two guests' devices, all mixed up. */
static void load(void)
{
    for (unsigned round = 0; round < 40; round++) {
        unsigned base[2] = { pick(PAGES - 4), pick(PAGES - 4) }, sent[2] = { 0, 0 };

        while (sent[0] < 4 || sent[1] < 4) {
            unsigned who = sent[0] == 4 ? 1 : sent[1] == 4 ? 0 : pick(2);

            assert_int_equal(ask(who ? &two : &one, 0, base[who] + sent[who], (uint16_t)(round & 511), sent[who] == 3), MODEL_PAGE_QUEUED);
            sent[who]++;
            if (pick(3) == 0)
                interrupts();
        }
        interrupts();
        serve(&one);
        serve(&two);
        expect_answer(&one, 0, (uint16_t)(round & 511), 0);
        expect_answer(&two, 0, (uint16_t)(round & 511), 0);
        for (unsigned i = 0; i < 4; i++)
            assert_true(reaches(&one, 0, base[0] + i) && reaches(&two, 0, base[1] + i));
    }
    no_violation();
}

static void two_devices_under_load(void **state)
{
    (void)state;
    on_each(load);
}

/* Nobody takes what comes: the unit answers that the device may try again, and when nidus has looked all goes on. */
static void overflow(void)
{
    unsigned queued = 0, page = pick(PAGES);

    while (ask(&one, 0, page, (uint16_t)(queued & 511), true) == MODEL_PAGE_QUEUED)
        queued++;
    assert_int_equal(queued, 1023);
    assert_int_equal(ask(&two, 0, page, 1, true), MODEL_PAGE_SUCCESS);
    assert_false(reaches(&two, 0, page));
    interrupts();
    assert_true(host_log_has("more page requests than its queue holds"));
    struct model_page_response r;
    unsigned refused = 0;
    while (model_page_response(unit, &r)) /* what is beyond what one device may have under way */
        refused += r.code == 1 && r.source_id == one.source_id;
    assert_true(refused > 0);
    serve(&one);
    while (model_page_response(unit, &r))
        assert_int_equal(r.code, 0);
    assert_int_equal(one.asked, ENGINE_PAGE_REQUESTS);
    assert_int_equal(ask(&two, 0, page, 2, true), MODEL_PAGE_QUEUED);
    interrupts();
    serve(&two);
    expect_answer(&two, 0, 2, 0);
    assert_true(reaches(&two, 0, page));
    no_violation();
}

static void the_queue_overflows(void **state)
{
    (void)state;
    on_each(overflow);
}

/* Its device waits, is refused more, and gets its answer in the end; the other guest's does not notice. */
static void mute(void)
{
    one.mute = true;
    for (uint16_t i = 0; i < 40; i++)
        assert_int_equal(ask(&one, 0, i, i, true), MODEL_PAGE_QUEUED);
    interrupts();
    serve(&one);
    expect_answers(&one, ENGINE_PAGE_REQUESTS, 39, 1);
    for (unsigned second = 0; second < 11; second++) {
        bool over = host_log_has("guest one: page requests of device");

        assert_int_equal(over, second == 10); /* after ten seconds, and not before */
        if (over)
            expect_answers(&one, 0, ENGINE_PAGE_REQUESTS - 1, 1);
        assert_int_equal(ask(&two, 0, 10 + second, (uint16_t)second, true), MODEL_PAGE_QUEUED);
        interrupts();
        serve(&two);
        expect_answer(&two, 0, (uint16_t)second, 0);
        assert_true(reaches(&two, 0, 10 + second));
        host_time_advance(SECOND);
        iommu_overdue(one.context);
        iommu_overdue(two.context);
    }
    assert_false(host_log_has("guest two: page requests"));
    no_violation();
}

static void a_guest_that_never_answers(void **state)
{
    (void)state;
    on_each(mute);
}

/* What was under way is answered, and afterwards the unit takes none of this device. */
static void leaving(void)
{
    assert_int_equal(ask(&one, 0, 1, 1, true), MODEL_PAGE_QUEUED);
    interrupts();
    assert_int_equal(ask(&one, 0, 2, 2, true), MODEL_PAGE_QUEUED); /* nobody has looked yet */
    assert_int_equal(ask(&two, 0, 3, 3, true), MODEL_PAGE_QUEUED);
    detach(&one, 0);
    expect_answers(&one, 1, 2, 1);
    assert_int_equal(ask(&one, 0, 3, 4, true), MODEL_PAGE_INVALID);
    interrupts();
    serve(&two);
    expect_answer(&two, 0, 3, 0);
    attach(&one, 0);
    assert_int_equal(ask(&one, 0, 3, 5, true), MODEL_PAGE_QUEUED);
    interrupts();
    serve(&one);
    expect_answer(&one, 0, 5, 0);
    no_violation();
}

static void a_detached_device_is_answered(void **state)
{
    (void)state;
    on_each(leaving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_when_they_are_asked_for), cmocka_unit_test(two_devices_under_load), cmocka_unit_test(the_queue_overflows),
        cmocka_unit_test(a_guest_that_never_answers), cmocka_unit_test(a_detached_device_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
