/* SPDX-License-Identifier: BSD-2-Clause */
/* test_prq.c: page requests of devices: the queue, who gets them, what is answered without being asked, draining (VT-d 5.10 section 7.4 to
 * 7.7; PCI Express 6.0, 10.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/ats.h"
#include "iommu/registers.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/fake_unit.h"

#define MB     0x100000ULL
#define RW     (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020u
#define STRANGER 0x0030u
#define ATS    0x140u
#define PRI    0x150u

/* Flags of a request. */
#define READ  1u
#define WRITE 2u
#define LAST  4u

#define PQ_ENTRIES 1024u

static struct guest *guest;
static struct device dev;
static struct domain domain;
static struct unit *u;

static struct engine_page_request taken[2 * PQ_ENTRIES];
static unsigned takens, losses;
static bool takes;

void engine_fault_sink(struct device *d, const struct nidus_fault *fault) { (void)d, (void)fault; }
void engine_fault_lost(struct device *d) { (void)d; }

bool engine_page_request(struct device *d, const struct engine_page_request *r)
{
    assert_ptr_equal(d, &dev);
    if (!r) {
        losses++;
        return true;
    }
    if (takes)
        taken[takens++] = *r;
    return takes;
}

static void put16(uint8_t *config, unsigned offset, uint16_t value) { memcpy(config + offset, &value, 2); }

static uint16_t get16(unsigned offset)
{
    uint16_t value;
    memcpy(&value, host_function(0, DEVICE)->config + offset, 2);
    return value;
}

static void start(uint64_t ecap)
{
    static uint8_t dmar[48 + 16 + 8] = {
        'D', 'M', 'A', 'R', sizeof dmar, [36] = 51, 1, [48] = 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, [64] = 2, 0, 8, 0, 1,
    };
    char reason[160] = "";
    host_reset();
    host_log_clear();
    fake_unit_add();
    fake_set64(REG_ECAP, ecap);
    guest = host_guest("web", 64 * MB);
    struct host_function *f = host_function_add(0, DEVICE);
    put16(f->config, 0x100, 0x0001);
    put16(f->config, 0x102, ATS << 4);
    put16(f->config, ATS, 0x000f);
    put16(f->config, ATS + 2, PRI << 4);
    put16(f->config, PRI, 0x0013);
    put16(f->config, PRI + 8, 64);
    iommu_init(dmar, sizeof dmar, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    u = units;
    dev = (struct device){ .source_id = DEVICE, .owner = guest, .id = 7, .policy = { .ats = IOMMU_ATS_TRUST } };
    if (!engine_device_init(&dev, reason))
        fail_msg("refused: %s", reason);
    assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
    assert_int_equal(engine_domain_map(&domain, 0, host_guest_hpa(guest, 0), 64 * MB, RW), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    host_log_clear();
    fake_forget();
    takens = losses = 0;
    takes = true;
}

#define ECAP_DEFAULT (0x3ee9e86f050dfULL | ECAP_PRS)

static int setup(void **state)
{
    (void)state;
    start(ECAP_DEFAULT);
    assert_int_equal(engine_page_requests(&dev, true), 0);
    fake_forget();
    return 0;
}

static int teardown(void **state)
{
    host_config_hook = NULL;
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    return fake_units_free(state);
}

static int answer(const struct engine_page_request *r, uint8_t code)
{
    const struct engine_page_answer a = { .pasid = r->pasid, .group = r->group, .has_pasid = r->has_pasid, .code = code };
    return engine_page_response(&dev, &a, 1);
}

static uint64_t context_word(void)
{
    const uint64_t *root = host_phys(fake_get64(0x20) & ~0xfffULL);
    return ((const uint64_t *)host_phys(root[0] & ~0xfffULL))[DEVICE * 4];
}

static bool answered(uint16_t source_id, uint16_t group, unsigned code)
{
    return fake_found(qi_page_response(source_id, false, 0, group, code)) >= 0;
}

/* The queue ------------------------------------------------------------------------------------------ */

static void test_set_up(void **state)
{
    (void)state;
    assert_int_equal(fake_get64(0xd0) & 0xfff, 3); /* 1024 entries */
    assert_non_null(host_phys(fake_get64(0xd0) & ~0xfffULL));
    assert_int_equal(fake_get32(REG_PECTL) >> 31, 1);
}

static void test_unit_without_page_requests(void **state)
{
    teardown(state);
    start(ECAP_DEFAULT & ~ECAP_PRS);
    assert_int_equal(fake_get64(0xd0), 0);
    assert_int_equal(engine_page_requests(&dev, true), -NIDUS_EOPNOTSUPP);
    assert_false(context_word() & 16);
    iommu_poll();
}

static void test_request_reaches_its_owner(void **state)
{
    (void)state;
    fake_page_request(DEVICE, 0x12345000, 0x1ff, READ | WRITE | LAST);
    iommu_poll();
    assert_int_equal(takens, 1);
    assert_int_equal(taken[0].addr, 0x12345000);
    assert_int_equal(taken[0].group, 0x1ff);
    assert_true(taken[0].read && taken[0].write && taken[0].last);
    assert_false(taken[0].has_pasid || taken[0].execute || taken[0].privileged);
    assert_int_equal(fake_get64(REG_PQH), 32);
    assert_int_equal(fake_get32(REG_PRS), 0);
    assert_int_equal(fake.dones, 0); /* it answers when it likes */
    iommu_poll();
    assert_int_equal(takens, 1);
    assert_int_equal(answer(&taken[0], ENGINE_PAGE_SUCCESS), 0);
    assert_true(answered(DEVICE, 0x1ff, 0));
}

static void test_pasid_and_privilege(void **state)
{
    (void)state;
    fake_page_request(DEVICE, 0x1000, 3, READ);
    uint64_t *entry = host_phys(fake_get64(REG_PQA) & ~0xfffULL);
    entry[0] |= 1 << 8 | 0xfedcbULL << 32 | 3ULL << 52;
    iommu_poll();
    assert_true(taken[0].has_pasid && taken[0].execute && taken[0].privileged && !taken[0].write && !taken[0].last);
    assert_int_equal(taken[0].pasid, 0xfedcb);
    assert_int_equal(answer(&taken[0], ENGINE_PAGE_FAILURE), 0);
    assert_int_equal(fake_found(qi_page_response(DEVICE, true, 0xfedcb, 3, 15)), 0);
}

static void test_many_answers_are_one_submission(void **state)
{
    struct engine_page_answer answers[ENGINE_PAGE_REQUESTS];
    (void)state;
    for (unsigned i = 0; i < ENGINE_PAGE_REQUESTS; i++)
        answers[i] = (struct engine_page_answer){ .pasid = i, .group = (uint16_t)(100 + i), .has_pasid = i % 2, .code = i % 3 ? 0 : 1 };
    assert_int_equal(engine_page_response(&dev, answers, ENGINE_PAGE_REQUESTS), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, ENGINE_PAGE_REQUESTS);
    for (unsigned i = 0; i < ENGINE_PAGE_REQUESTS; i++)
        assert_int_equal(fake_found(qi_page_response(DEVICE, i % 2, i, (uint16_t)(100 + i), i % 3 ? 0 : 1)), i);
}

/* A full queue is taken in one go, over its end, and not more. */
static void test_bounded_and_over_the_end(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        takens = 0;
        for (unsigned i = 0; i < PQ_ENTRIES - 1; i++)
            fake_page_request(DEVICE, i * 0x1000ULL, (uint16_t)(i & 0x1ff), READ);
        iommu_poll();
        assert_int_equal(takens, PQ_ENTRIES - 1);
        for (unsigned i = 0; i < takens; i++)
            assert_int_equal(taken[i].addr, i * 0x1000ULL);
        assert_int_equal(fake_get64(REG_PQH), fake_get64(REG_PQT));
    }
}

/* Answers without a question ------------------------------------------------------------------------- */

static void test_nobody_takes_it(void **state)
{
    (void)state;
    takes = false;
    fake_page_request(DEVICE, 0x1000, 5, READ);
    fake_page_request(DEVICE, 0x2000, 5, WRITE | LAST);
    iommu_poll();
    assert_int_equal(fake.dones, 1); /* one answer for the group */
    assert_true(answered(DEVICE, 5, 1));
}

static void test_stranger(void **state)
{
    (void)state;
    fake_page_request(STRANGER, 0x1000, 5, READ);
    fake_page_request(STRANGER, 0x2000, 5, READ | LAST);
    iommu_poll();
    assert_int_equal(takens, 0);
    assert_int_equal(fake.dones, 1);
    assert_true(answered(STRANGER, 5, 1));
}

static void test_device_without_leave(void **state)
{
    (void)state;
    assert_int_equal(engine_page_requests(&dev, false), 0);
    fake_forget();
    fake_page_request(DEVICE, 0x2000, 5, READ | LAST);
    iommu_poll();
    assert_int_equal(takens, 0);
    assert_true(answered(DEVICE, 5, 1));
    assert_int_equal(answer(&(struct engine_page_request){ .group = 5 }, ENGINE_PAGE_SUCCESS), -NIDUS_EINVAL);
}

/* Nobody waits for an answer to a stop marker, or to what is no page request. */
static void test_no_answer(void **state)
{
    (void)state;
    fake_page_request(STRANGER, 0, 5, LAST);
    fake_page_request(DEVICE, 0x1000, 5, READ | LAST);
    uint64_t *entry = host_phys((fake_get64(REG_PQA) & ~0xfffULL) + 32);
    entry[0] = (entry[0] & ~0xffULL) | 2;
    iommu_poll();
    assert_int_equal(takens, 0);
    assert_int_equal(fake.dones, 0);
}

/* Overflow: what there is is taken, cut groups end, and the unit goes on only then. */
static void test_overflow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PQ_ENTRIES - 1; i++)
        fake_page_request(DEVICE, 0x1000, 1, READ);
    fake_set32(REG_PRS, 3);
    iommu_poll();
    assert_int_equal(takens, PQ_ENTRIES - 1);
    assert_int_equal(losses, 1);
    assert_int_equal(fake_get32(REG_PRS), 0);
    assert_int_equal(fake_get64(REG_PQH), fake_get64(REG_PQT));
    assert_true(host_log_has("more page requests than its queue holds"));
}

static void test_overflow_storm_is_few_lines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        fake_set32(REG_PRS, 2);
        iommu_poll();
    }
    assert_int_equal(losses, 100);
    assert_in_range(host_log_lines(), 1, 20);
}

/* On, off, draining ---------------------------------------------------------------------------------- */

static char order[16];

static void note_order(uint16_t bdf, uint16_t offset, uint32_t value)
{
    (void)bdf;
    size_t n = strlen(order);
    if (n < sizeof order - 1)
        order[n] = offset == PRI + 4 ? (value == 1 ? 'P' : value ? 'r' : 'p') : offset == PRI + 12 ? 'c' : value ? 'A' : 'a';
}

/* The unit first, then the device; capacity before enable (10.5.2). */
static void test_order_of_on(void **state)
{
    teardown(state);
    start(ECAP_DEFAULT);
    memset(order, 0, sizeof order);
    host_config_hook = note_order;
    assert_int_equal(engine_page_requests(&dev, true), 0);
    assert_string_equal(order, "rcP");
    assert_int_equal(get16(PRI + 12), ENGINE_PAGE_REQUESTS); /* it could have 64 under way */
    assert_true(context_word() & 16);
    assert_int_equal(fake_found(qi_context_device(DEVICE)), 0);
    assert_int_equal(fake_found(qi_pasid_domain(1)), 1);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 2);
}

/* Page requests go off and are drained while ATS is on; then ATS; then the table (7.7, 4.5.2). */
static void test_order_of_off(void **state)
{
    (void)state;
    memset(order, 0, sizeof order);
    host_config_hook = note_order;
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_string_equal(order, "pa");
    assert_false(context_word() & 16);
    assert_int_equal(fake_found(qi_fence()), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    assert_int_equal(fake_found(qi_device_tlb((struct qi_device){ DEVICE, DEVICE, 0 }, 0, QI_ALL)), 2);
    assert_int_equal(fake.drains, 1);
}

/* What was under way comes before the wait ends: its owner still gets it. */
static void test_drain_hands_over_what_was_under_way(void **state)
{
    (void)state;
    fake_page_request(DEVICE, 0x5000, 2, READ | LAST);
    assert_int_equal(engine_page_requests(&dev, false), 0);
    assert_int_equal(takens, 1);
    assert_int_equal(fake_get64(REG_PQH), fake_get64(REG_PQT));
}

/* 7.7: if the queue overflowed meanwhile, once more. */
static void test_drain_again_after_overflow(void **state)
{
    (void)state;
    fake_set32(REG_PRS, 2);
    assert_int_equal(engine_page_requests(&dev, false), 0);
    assert_int_equal(fake.drains, 2);
    assert_int_equal(losses, 1);
}

/* PD is reserved where PDS=0. */
static void test_drain_of_a_unit_without_pds(void **state)
{
    teardown(state);
    start(ECAP_DEFAULT & ~(1ULL << 42));
    assert_int_equal(engine_page_requests(&dev, true), 0);
    assert_int_equal(engine_page_requests(&dev, false), 0);
    assert_int_equal(fake.drains, 0);
}

/* A unit that does not answer while requests are allowed: the device is not told to make any. */
static void test_on_without_an_answer(void **state)
{
    teardown(state);
    start(ECAP_DEFAULT);
    fake.silent = true;
    assert_int_equal(engine_page_requests(&dev, true), -NIDUS_EIO);
    assert_false(dev.tlb.requests);
    assert_int_equal(get16(PRI + 4), 0);
    fake.silent = u->dead = false;
}

/* … and while they are drained: they are off all the same. */
static void test_off_without_an_answer(void **state)
{
    (void)state;
    fake.silent = true;
    assert_int_equal(engine_page_requests(&dev, false), -NIDUS_EIO);
    assert_false(dev.tlb.requests);
    assert_int_equal(get16(PRI + 4), 0);
    fake.silent = u->dead = false;
}

/* Overflow after overflow: the rounds of draining are bounded. */
static void test_drain_is_bounded(void **state)
{
    (void)state;
    fake_set32(REG_PRS, 2);
    fake.prs_stuck = true;
    assert_int_equal(engine_page_requests(&dev, false), 0);
    assert_int_equal(fake.drains, 4);
    assert_int_equal(losses, 4);
    fake.prs_stuck = false;
}

static void test_not_without_ats(void **state)
{
    (void)state;
    assert_int_equal(engine_page_requests(&dev, false), 0);
    assert_int_equal(engine_page_requests_check(&dev), 0);
    dev.tlb.on = false;
    assert_int_equal(engine_page_requests(&dev, true), -NIDUS_EOPNOTSUPP);
    put16(host_function(0, DEVICE)->config, PRI, 0x0019);
    dev.tlb.on = true;
    assert_int_equal(engine_page_requests(&dev, true), -NIDUS_EOPNOTSUPP);
    assert_int_equal(engine_page_requests_check(&dev), -NIDUS_ENODEV);
    assert_false(context_word() & 16);
}

static void test_who_can_make_requests(void **state)
{
    (void)state;
    assert_int_equal(engine_page_requests_check(&dev), 0);
    dev.tlb.lost = true;
    assert_int_equal(engine_page_requests_check(&dev), -NIDUS_ENODEV);
    dev.tlb.lost = false;
    dev.tlb.wanted = false;
    assert_int_equal(engine_page_requests_check(&dev), -NIDUS_ENODEV);
    dev.tlb.wanted = true;
    /* Of a physical function without requests a virtual one has none; with them, it may not use them. */
    struct host_function *physical = host_function_add(0, 0x18);
    dev.tlb.physical = 0x18;
    assert_int_equal(engine_page_requests_check(&dev), 0);
    put16(physical->config, 0x100, 0x0013);
    assert_int_equal(engine_page_requests_check(&dev), -NIDUS_EINVAL);
    dev.tlb.physical = DEVICE;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_set_up), T(test_unit_without_page_requests), T(test_request_reaches_its_owner), T(test_pasid_and_privilege),
        T(test_bounded_and_over_the_end), T(test_nobody_takes_it), T(test_stranger), T(test_device_without_leave), T(test_no_answer),
        T(test_overflow), T(test_overflow_storm_is_few_lines), T(test_order_of_on), T(test_order_of_off),
        T(test_drain_hands_over_what_was_under_way), T(test_drain_again_after_overflow), T(test_drain_of_a_unit_without_pds),
        T(test_on_without_an_answer), T(test_off_without_an_answer), T(test_drain_is_bounded), T(test_not_without_ats),
        T(test_who_can_make_requests), T(test_many_answers_are_one_submission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
