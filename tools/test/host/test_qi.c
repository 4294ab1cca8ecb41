/* SPDX-License-Identifier: BSD-2-Clause */
/* test_qi.c: invalidation descriptors bit by bit (VT-d 5.10 section 6.5.2), and a queue that meets every kind of trouble. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/registers.h"
#include "iommu/unit.h"
#include "tools/test/host/fake_unit.h"
#include "tools/test/host/ranges.h"

void engine_fault_sink(struct device *dev, const struct nidus_fault *fault) { (void)dev, (void)fault; }
void engine_fault_lost(struct device *dev) { (void)dev; }
bool engine_page_request(struct device *dev, const struct engine_page_request *r) { (void)dev, (void)r; return false; }

static struct unit *u;

static int setup(void **state)
{
    uint32_t length;
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    const void *table = fake_dmar(&length, 1);
    iommu_init(table, length, IOMMU_ERRATA_AUTO, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    u = units;
    platform_lock(&u->lock);
    fake_forget();
    host_log_clear();
    return 0;
}

static void is(struct qi_descriptor d, uint64_t word0, uint64_t word1)
{
    assert_int_equal(d.word[0], word0);
    assert_int_equal(d.word[1], word1);
}

static void test_layouts(void **state)
{
    (void)state;
    is(qi_context_global(), 1 | 1 << 4, 0);
    is(qi_context_device(0xabcd), 1 | 3 << 4 | 0xabcdULL << 32, 0);
    is(qi_iotlb_global(), 2 | 1 << 4 | 3 << 6, 0);
    is(qi_iotlb_domain(0x1234), 2 | 2 << 4 | 3 << 6 | 0x1234ULL << 16, 0);
    is(qi_iotlb_pages(0x1234, 0xffff123456200000, 9), 2 | 3 << 4 | 3 << 6 | 0x1234ULL << 16, 0xffff123456200000 | 9);
    is(qi_interrupts_global(), 4, 0);
    is(qi_wait(0x12345678, 0x9abcdef0), 5 | 1 << 5 | 0x9abcdef0ULL << 32, 0x12345678);
    is(qi_first_stage_all(0x1234, 0xfedcb), 6 | 2 << 4 | 0x1234ULL << 16 | 0xfedcbULL << 32, 0);
    is(first_stage_pages(0x1234, 0xfedcb, 0x7000, 0, false), 6 | 3 << 4 | 0x1234ULL << 16 | 0xfedcbULL << 32, 0x7000);
    is(first_stage_pages(0x1234, 0, 0x40000000, 18, true), 6 | 3 << 4 | 0x1234ULL << 16, 0x40000000 | 1 << 6 | 18);
    is(qi_pasid_domain(0x1234), 7 | 0x1234ULL << 16, 0);
    is(qi_pasid_global(), 7 | 3 << 4, 0);
    is(qi_interrupt_entry(0xabcd), 4 | 1 << 4 | 0xabcdULL << 32, 0);
    is(qi_fence(), 5 | 1 << 6, 0);
    is(qi_page_response(0xabcd, true, 0xfedcb, 0x1ff, 0xf), 9 | 1 << 4 | 0xf << 12 | 0xabcdULL << 16 | 0xfedcbULL << 32, 0x1ff << 3);
    is(qi_page_response(0xabcd, false, 0xfedcb, 1, 1), 9 | 1 << 12 | 0xabcdULL << 16, 1 << 3);
}

/* PFSID lies in two pieces; MIP has 5 bits. */
static void test_device_tlb_layouts(void **state)
{
    const struct qi_device d = { .source_id = 0xabcd, .physical = 0x5678, .pending = 0x1f };
    (void)state;
    is(qi_device_tlb(d, 0x7000, 0), 3 | 0x8 << 12 | 0x1f << 16 | 0xabcdULL << 32 | 0x567ULL << 52, 0x7000);
    is(qi_device_tlb_pasid(d, 0xfedcb, 0x7000, 0), 8 | 0x1f << 4 | 0x8 << 12 | 0xabcdULL << 16 | 0xfedcbULL << 32 | 0x567ULL << 52, 0x7000);
    is(qi_device_tlb((struct qi_device){ .source_id = 0xabcd }, 0x7000, 0), 3 | 0xabcdULL << 32, 0x7000);
}

/* The lowest address bit that is 0 tells the size; everything is bit 63 alone. */
static void test_device_tlb_sizes(void **state)
{
    const struct qi_device d = { .source_id = 1 };
    (void)state;
    assert_int_equal(qi_device_tlb(d, 0x6000, 1).word[1], 0x6001);
    assert_int_equal(qi_device_tlb(d, 0x4000, 2).word[1], 0x5001);
    assert_int_equal(qi_device_tlb(d, 0x8000, 3).word[1], 0xb001);
    assert_int_equal(qi_device_tlb(d, 0x40200000, 9).word[1], 0x402ff001);
    assert_int_equal(qi_device_tlb(d, 0, QI_ALL).word[1], 0x7ffffffffffff001);
    assert_int_equal(qi_device_tlb_pasid(d, 1, 0x40200000, 9).word[1], 0x402ff800);
    assert_int_equal(qi_device_tlb_pasid(d, 1, 0, QI_ALL).word[1], 0x7ffffffffffff800);
}

/* 6.5.2.12: a type 3 is not ordered behind a type 6, everything else that matters is.  One fence for all of a request. */
static void test_fence_between_first_stage_and_device_tlb(void **state)
{
    const struct qi_device d = { .source_id = 0x20 };
    (void)state;
    qi_add(u, qi_first_stage_all(1, 0));
    qi_add(u, qi_first_stage_all(2, 0));
    qi_add(u, qi_device_tlb(d, 0, QI_ALL));
    qi_add(u, qi_device_tlb(d, 0x1000, 0));
    qi_add(u, qi_first_stage_all(3, 0));
    qi_add(u, qi_device_tlb(d, 0, QI_ALL));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake.dones, 8);
    assert_int_equal(fake_found(qi_fence()), 2);
    assert_memory_equal(&fake.done[6], &(struct qi_descriptor[1]){ qi_fence() }, sizeof(struct qi_descriptor));
    assert_int_equal(fake.tail_writes, 1);
    fake_forget();
    qi_add(u, qi_iotlb_domain(1)); /* ordered by hardware */
    qi_add(u, qi_device_tlb(d, 0, QI_ALL));
    qi_add(u, qi_first_stage_all(1, 5));
    qi_add(u, qi_device_tlb_pasid(d, 5, 0, QI_ALL));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake_found(qi_fence()), -1);
}

/* … wherever the ring's end falls: before, between and behind the two. */
static void test_fence_at_the_end_of_the_ring(void **state)
{
    (void)state;
    for (unsigned before = QI_ROOM - 3; before <= QI_ROOM; before++) {
        fake_forget();
        for (unsigned i = 0; i < before; i++)
            qi_add(u, qi_iotlb_domain(7));
        qi_add(u, qi_first_stage_all(1, 0));
        qi_add(u, qi_device_tlb((struct qi_device){ .source_id = 0x20 }, 0, QI_ALL));
        assert_int_equal(qi_finish(u), 0);
        int first = fake_found(qi_first_stage_all(1, 0));
        int fence = fake_found(qi_fence()), tlb = fake_found(qi_device_tlb((struct qi_device){ .source_id = 0x20 }, 0, QI_ALL));
        assert_int_equal(first, before);
        assert_true(tlb > first);
        if (fence < 0)
            assert_int_equal(before, QI_ROOM - 1); /* the ring was submitted in between: that is a fence as well */
        else
            assert_true(first < fence && fence < tlb);
    }
}

/* A number that is too wide sets no bit of the field beside it. */
static void test_fields_do_not_spill(void **state)
{
    (void)state;
    is(qi_first_stage_all(1, 0xfff00000), 6 | 2 << 4 | 1 << 16, 0);
    is(qi_iotlb_pages(1, 0x1fff, 0x40), 2 | 3 << 4 | 3 << 6 | 1 << 16, 0x1000);
}

static void test_one_submission_one_tail_write(void **state)
{
    (void)state;
    for (uint16_t did = 1; did <= 512; did++)
        qi_add(u, qi_iotlb_domain(did));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 512);
    is(fake.done[511], qi_iotlb_domain(512).word[0], 0);
}

/* More than the ring holds goes in steps; none is lost, none is overwritten before it was fetched. */
static void test_more_than_the_ring_holds(void **state)
{
    (void)state;
    for (uint16_t did = 0; did < 3000; did++)
        qi_add(u, qi_iotlb_domain(did));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake.tail_writes, 3);
    assert_int_equal(fake.dones, 3000);
    for (uint16_t did = 0; did < 3000; did++)
        assert_int_equal(fake.done[did].word[0], qi_iotlb_domain(did).word[0]);
}

/* A descriptor that the unit refuses is named and taken out; the others happen, the caller learns of it, and the queue goes on. */
static void test_refused_descriptor(void **state)
{
    (void)state;
    fake.refuses = 1;
    qi_add(u, qi_iotlb_domain(1));
    qi_add(u, qi_iotlb_domain(2));
    qi_add(u, qi_iotlb_domain(3));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(2)), -1);
    assert_int_equal(fake_found(qi_iotlb_domain(3)), 1);
    assert_true(host_log_has("(0x200e2 0x0): invalid type or granularity"));
    assert_int_equal(host_log_lines(), 1);
    assert_false(u->dead);
    qi_add(u, qi_iotlb_domain(4));
    assert_int_equal(qi_finish(u), 0);
}

/* The same where it is in a part of the request that went before the rest, when the ring was full. */
static void test_refused_in_a_full_ring(void **state)
{
    (void)state;
    fake.refuses = 1;
    for (uint16_t did = 0; did < QI_ROOM + 5; did++)
        qi_add(u, qi_iotlb_domain(did));
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_int_equal(fake.dones, QI_ROOM + 4);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), -1);
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), 0);
}

static void test_timed_out_device_tlb(void **state)
{
    (void)state;
    fake.timing_out = true;
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_true(host_log_has("source-id 0x1234"));
    assert_false(u->dead);
    qi_add(u, qi_iotlb_domain(2));
    assert_int_equal(qi_finish(u), 0);
}

/* A completion that nobody waits for (ICE): the request fails, the queue goes on, and a device that sends them all the time fills no log. */
static void test_unexpected_completion(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        fake_set64(REG_IQERCD, 0x5678ULL << 48);
        fake_set32(REG_FSTS, 0x20);
        qi_add(u, qi_device_tlb((struct qi_device){ .source_id = 0x20 }, 0, QI_ALL));
        assert_int_equal(qi_finish(u), -NIDUS_EIO);
        assert_int_equal(fake_get32(REG_FSTS), 0);
    }
    assert_true(host_log_has("unit 0 at 0xfed90000: unexpected device-TLB invalidation completion, source-id 0x5678"));
    assert_int_equal(host_log_lines(), 20);
    qi_add(u, qi_iotlb_domain(2));
    assert_int_equal(qi_finish(u), 0);
}

/* … and one that asks no device has nothing to do with it: who reads the faults finds it. */
static void test_completion_between_requests(void **state)
{
    (void)state;
    fake_set32(REG_FSTS, 0x20);
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake_get32(REG_FSTS), 0x20);
    platform_unlock(&u->lock);
    iommu_poll();
    platform_lock(&u->lock);
    assert_int_equal(fake_get32(REG_FSTS), 0);
    assert_int_equal(host_log_lines(), 1);
    assert_true(host_log_has("a device answered an invalidation that it was not asked for"));
}

/* Blocks go as they are, one submission for all of them, wherever the ring's end falls. */
static void test_blocks(void **state)
{
    static uint64_t block[QI_ROOM];
    const struct qi_device d = { .source_id = 0x20 };
    (void)state;
    for (unsigned i = 0; i < QI_ROOM; i++)
        block[i] = i * 0x10000ULL | i % 10 | i % 2 << 6;
    for (unsigned before = 0; before < 4; before++) {
        unsigned count = QI_ROOM - before;
        fake_forget();
        assert_int_equal(qi_room(&u->qi), QI_ROOM);
        for (unsigned i = 0; i < before; i++)
            qi_add(u, qi_iotlb_domain(7));
        assert_int_equal(qi_room(&u->qi), count);
        qi_add_blocks(u, qi_first_stage_block(0x1234, 0xfedcb, 0).word[0], block, count);
        assert_int_equal(qi_room(&u->qi), 0);
        assert_int_equal(fake.tail_writes, 0);
        assert_int_equal(qi_finish(u), 0);
        assert_int_equal(fake.tail_writes, 1);
        assert_int_equal(fake.dones, QI_ROOM);
        for (unsigned i = 0; i < count; i++)
            is(fake.done[before + i], 6 | 3 << 4 | 0x1234ULL << 16 | 0xfedcbULL << 32, block[i]);
    }
    fake_forget();
    qi_add_blocks(u, qi_first_stage_block(1, 0, 0).word[0], block, 2); /* type 6 as any other: the fence comes behind them */
    qi_add(u, qi_device_tlb(d, 0, QI_ALL));
    assert_int_equal(qi_finish(u), 0);
    assert_int_equal(fake_found(qi_fence()), 2);
    assert_int_equal(fake_found(qi_device_tlb(d, 0, QI_ALL)), 3);
    fake_forget();
    u->dead = true;
    qi_add_blocks(u, qi_first_stage_block(1, 1, 0).word[0], block, 1);
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_int_equal(fake.dones, 0);
}

/* Several errors of one request are one line. */
static void test_first_error_is_said(void **state)
{
    (void)state;
    fake.refuses = 0;
    fake.timing_out = true;
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_true(host_log_has("refused invalidation descriptor"));
    assert_int_equal(host_log_lines(), 1);
}

/* Registers that read as all ones are no error of the queue: the unit is gone, and nobody waits a minute for its devices. */
static void test_unit_that_vanished(void **state)
{
    (void)state;
    memset(fake.page, 0xff, sizeof fake.page);
    uint64_t start = platform_time_ns();
    qi_add(u, qi_device_tlb((struct qi_device){ .source_id = 0x20 }, 0, QI_ALL));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_in_range(platform_time_ns() - start, 0, 1000000);
    assert_true(u->dead);
    assert_int_equal(host_log_lines(), 1);
    assert_true(host_log_has("its registers read as all ones when asked to invalidate its caches"));
}

/* No answer: bounded, said once, and never spoken to again; Bus Master of its devices goes off. */
static void test_silent_unit(void **state)
{
    (void)state;
    struct host_function *f = host_function_add(0, 0x0020);
    struct device dev = { .segment = 0, .source_id = 0x0020 };
    f->bus_master = true;
    dev.unit = u;
    u->devices = &dev;
    fake.silent = true;
    uint64_t start = platform_time_ns();
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_in_range(platform_time_ns() - start, 900000000, 1200000000);
    assert_true(u->dead);
    assert_false(f->bus_master);
    assert_int_equal(host_log_lines(), 1);
    assert_true(host_log_has("unit 0 at 0xfed90000: it did not answer"));
    unsigned writes = fake.tail_writes;
    qi_add(u, qi_iotlb_domain(2));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    assert_int_equal(fake.tail_writes, writes);
    assert_int_equal(host_log_lines(), 1);
    u->devices = NULL;
}

/* Its status of a request that timed out may still be written: not into memory that was given back. */
static void test_late_status(void **state)
{
    (void)state;
    fake.silent = true;
    qi_add(u, qi_iotlb_domain(1));
    assert_int_equal(qi_finish(u), -NIDUS_EIO);
    fake.silent = false;
    fake.registers.write(NULL, REG_IQT, 8, fake_get64(REG_IQT));
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_fields_do_not_spill),
        cmocka_unit_test(test_device_tlb_layouts),
        cmocka_unit_test(test_device_tlb_sizes),
        cmocka_unit_test_setup_teardown(test_fence_between_first_stage_and_device_tlb, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_fence_at_the_end_of_the_ring, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_one_submission_one_tail_write, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_more_than_the_ring_holds, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_refused_descriptor, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_refused_in_a_full_ring, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_timed_out_device_tlb, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_unexpected_completion, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_completion_between_requests, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_blocks, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_first_error_is_said, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_unit_that_vanished, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_silent_unit, setup, fake_units_free),
        cmocka_unit_test_setup_teardown(test_late_status, setup, fake_units_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
