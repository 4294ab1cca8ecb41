/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_unanswered.c: a unit that stops answering within a call, call by call: what the unit may still use stays where it is, and the records
 * say where the device is now.  And what depends on which unit it is: sizes of pages and of invalidations, tables that another unit cannot
 * walk (VT-d 5.10 sections 6.2.3.1, 6.5.3.3, 11.4.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/registers.h"
#include "iommu/remap.h"
#include "iommu/tables.h"
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/fake_unit.h"
#include "tools/test/host/ranges.h"

#define MB 0x100000ULL
#define GB 0x40000000ULL
#define RW (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020u
#define ECAP_ALL 0x3ee9e86f050dfULL

static struct guest *guest;
static struct device dev, dev2;
static struct domain domain, other;
static struct first_stage first, second;
static char reason[160];

void engine_fault_sink(struct device *d, const struct nidus_fault *fault) { (void)d, (void)fault; }
void engine_fault_lost(struct device *d) { (void)d; }
bool engine_page_request(struct device *d, const struct engine_page_request *r) { (void)d, (void)r; return false; }

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    guest = host_guest("web", 64 * MB);
    host_function_add(0, DEVICE);
    host_function_add(0, DEVICE + 1);
    dev = dev2 = (struct device){ 0 };
    return 0;
}

static int teardown(void **state)
{
    fake.silent = false;
    for (struct unit *u = units; u; u = u->next)
        u->dead = false;
    if (dev.unit)
        assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    if (dev2.unit)
        assert_int_equal(engine_detach(&dev2, ENGINE_NO_PASID), 0);
    return fake_units_free(state);
}

static bool assign(struct device *d, uint16_t source_id)
{
    *d = (struct device){ .source_id = source_id, .owner = guest, .id = source_id };
    return engine_device_init(d, reason);
}

static void start(void)
{
    uint32_t length;
    const void *table = fake_dmar(&length, 1);
    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    host_log_clear();
}

static void start_caching(void)
{
    fake_set64(REG_CAP, fake_get64(REG_CAP) | CAP_CM);
    start();
}

static void make_domain(struct domain *d, bool nest_parent)
{
    assert_int_equal(engine_domain_init(d, &dev, nest_parent, guest), 0);
    assert_int_equal(engine_domain_map(d, 0, host_guest_hpa(guest, 0), 64 * MB, RW), 0);
}

static void make_first(struct first_stage *f, uint64_t pgtbl)
{
    *f = (struct first_stage){ .parent = &domain, .pgtbl = pgtbl, .levels = 4 };
    assert_int_equal(engine_first_stage_init(f, &dev), 0);
}

/* What it is attached to: a domain alone, or a first stage. */
static const void *attached(const struct device *d)
{
    struct first_stage *f;
    struct domain *alone;
    engine_attached(d, ENGINE_NO_PASID, &alone, &f);
    return f ? (const void *)f : alone;
}

/* A unit that falls silent -------------------------------------------------------------------------------- */

/* In caching mode an assignment is an invalidation: without it the device is refused, and the tables that the unit may hold on to stay. */
static void test_assign(void **state)
{
    (void)state;
    start_caching();
    fake.silent = true;
    assert_false(assign(&dev, DEVICE));
    assert_string_equal(reason, "its remapping unit does not answer");
    assert_true(guest->bytes_used >= 2 * PAGE_SIZE);
    assert_null(units->devices);
    assert_false(assign(&dev2, DEVICE + 1));
    assert_non_null(strstr(reason, "it did not answer within a second"));
    dev.unit = dev2.unit = NULL;
}

/* The context entry is gone, the unit does not say so: the device stays on the list, its tables in use. */
static void test_fini(void **state)
{
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    uint64_t used = guest->bytes_used;
    fake.silent = true;
    assert_int_equal(engine_device_fini(&dev), -NIDUS_EIO);
    assert_ptr_equal(units->devices, &dev);
    assert_int_equal(guest->bytes_used, used);
}

/* The entry says the new table, the unit may have the old one still: both are in use. */
static void test_replace(void **state)
{
    static struct domain forgotten; /* the record of its use stays for ever */
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&forgotten, false);
    make_domain(&other, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &forgotten, NULL), 0);
    fake.silent = true;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &other, NULL), -NIDUS_EIO);
    assert_ptr_equal(attached(&dev), &other);
    assert_int_equal(forgotten.users, 1);
    assert_int_equal(other.users, 1);
    assert_false(host_function(0, DEVICE)->bus_master);
}

/* Where the entry has to be absent in between, the device stays with the old table, and nothing uses the new one. */
static void test_replace_with_a_gap(void **state)
{
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    make_domain(&other, true);
    make_first(&first, MB);
    second = (struct first_stage){ .parent = &other, .pgtbl = MB, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&second, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    uint64_t used = guest->bytes_used;
    fake.silent = true;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &second), -NIDUS_EIO);
    assert_ptr_equal(attached(&dev), &first);
    assert_int_equal(first.users, 1);
    assert_int_equal(second.users, 0);
    assert_int_equal(guest->bytes_used, used);
    assert_false(host_function(0, DEVICE)->bus_master);
}

/* In caching mode the entry may be remembered as absent: the device has the table, and no Bus Master. */
static void test_attach_in_caching_mode(void **state)
{
    (void)state;
    start_caching();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, false);
    fake.silent = true;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), -NIDUS_EIO);
    assert_ptr_equal(attached(&dev), &domain);
    assert_int_equal(domain.users, 1);
    assert_false(host_function(0, DEVICE)->bus_master);
}

static void test_map_in_caching_mode(void **state)
{
    (void)state;
    start_caching();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake.silent = true;
    assert_int_equal(engine_domain_map(&domain, GB, GB, MB, RW), -NIDUS_EIO);
}

static void test_invalidate(void **state)
{
    const struct range page = { 0x1000, 1, true };
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    make_first(&first, MB);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    fake.silent = true;
    assert_int_equal(invalidate_ranges(&first, &page, 1), -NIDUS_EIO);
    assert_int_equal(invalidate_ranges(&first, &page, 1), -NIDUS_EIO);
    assert_int_equal(host_log_lines(), 1);
}

static void test_interrupt_entry(void **state)
{
    (void)state;
    start_caching();
    fake.silent = true;
    assert_int_equal(remap_take(units, DEVICE, 0x42, 0), -NIDUS_EIO);
}

/* A function that firmware uses is taken from nidus before a guest gets it: not when its unit does not say that it forgot it. */
static void test_take_back(void **state)
{
    (void)state;
    host_function_add(0, 0xa0);
    host_reserved_base = 0x7b000000;
    host_reserved_size = 0x1000000;
    start();
    struct device *kept = units->devices;
    dev2 = (struct device){ .source_id = 0xa0, .owner = guest, .policy = { .map_rmrr = true } };
    fake.silent = true;
    assert_false(engine_device_init(&dev2, reason));
    assert_string_equal(reason, "its remapping unit does not answer");
    assert_ptr_equal(units->devices, kept);
    assert_non_null(attached(kept));
    fake.silent = units->dead = false;
    assert_int_equal(engine_device_fini(kept), 0);
    engine_domain_fini((struct domain *)(kept + 1)); /* the device is the first member of what was allocated */
    platform_free(NULL, kept, sizeof(struct device) + sizeof(struct domain));
    dev2.unit = NULL;
}

/* Attachments --------------------------------------------------------------------------------------------- */

/* What is there already is there: no invalidation, no new DID. */
static void test_attach_again(void **state)
{
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    make_first(&first, MB);
    make_first(&second, 2 * MB);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    fake_forget();
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    assert_int_equal(fake.dones, 0);
    assert_int_equal(first.users, 1);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &second), 0);
    assert_int_equal(first.users, 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(fake.dones, 0);
}

/* A table that was made for one unit, on a device of another that can do less. */
static void test_unit_that_can_do_less(void **state)
{
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    make_first(&first, MB);
    units->cap &= ~CAP_SSLPS_1G;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), -NIDUS_EINVAL);
    assert_true(host_log_has("unit 0 lacks large pages that the second stage may have"));
    units->cap |= CAP_SSLPS_1G;
    first.unit = NULL; /* that other one */
    units->nested = false;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), -NIDUS_EOPNOTSUPP);
    assert_true(host_log_has("unit 0 has no nested translation"));
    units->nested = true;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
}

/* Same {FSPTPTR, SSPTPTR}: same FSPM and EAFE (6.2.3.1, rule 3).  The same table once more is none of that. */
static void test_one_table_one_format(void **state)
{
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    make_first(&first, MB);
    second = (struct first_stage){ .parent = &domain, .pgtbl = MB, .levels = 5 };
    assert_int_equal(engine_first_stage_init(&second, &dev), -NIDUS_EINVAL);
    assert_true(host_log_has("first-stage table at 0x100000 is in use with other levels or EAFE"));
    second = (struct first_stage){ .parent = &domain, .pgtbl = MB, .levels = 4, .eafe = true };
    assert_int_equal(engine_first_stage_init(&second, &dev), -NIDUS_EINVAL);
    second.pgtbl = 2 * MB;
    assert_int_equal(engine_first_stage_init(&second, &dev), 0);
    engine_first_stage_fini(&second);
    make_first(&second, MB);
    assert_int_equal(domain.users, 2);
}

/* EAFE takes both: the feature, and walks that snoop. */
static void test_eafe_needs_snooping_walks(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, ECAP_ALL & ~ECAP_SMPWCS);
    start();
    assert_true(assign(&dev, DEVICE));
    make_domain(&domain, true);
    first = (struct first_stage){ .parent = &domain, .pgtbl = MB, .levels = 4, .eafe = true };
    assert_int_equal(engine_first_stage_init(&first, &dev), -NIDUS_EINVAL);
}

/* Sizes ---------------------------------------------------------------------------------------------------- */

/* What an unmap of size bytes at iova, mapped before, is as one descriptor. */
static void unmapped_as(uint64_t cap, uint64_t iova, uint64_t size, struct qi_descriptor expected)
{
    setup(NULL);
    fake_set64(REG_CAP, cap);
    start();
    assert_true(assign(&dev, DEVICE));
    assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
    assert_int_equal(engine_domain_map(&domain, iova, 4 * GB, size, RW), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, iova, size), 0);
    assert_int_equal(fake.dones, 1);
    if (fake_found(expected) != 0)
        fail_msg("0x%llx, not 0x%llx", (ull)fake.done[0].word[1], (ull)expected.word[1]);
    teardown(NULL);
}

/* The largest leaf that may have been cut, on units whose leaves are of 4 KiB, 2 MiB and 1 GiB; without PSI all of the domain. */
static void test_invalidation_by_largest_leaf(void **state)
{
    (void)state;
    fake_unit_add();
    uint64_t cap = fake_get64(REG_CAP);
    unmapped_as(cap & ~(CAP_SSLPS_2M | CAP_SSLPS_1G), 0x5000, 0x1000, qi_iotlb_pages(1, 0x5000, 0));
    unmapped_as(cap & ~(CAP_SSLPS_2M | CAP_SSLPS_1G), 0x5000, 0x3000, qi_iotlb_pages(1, 0x4000, 2));
    unmapped_as(cap & ~CAP_SSLPS_1G, 0x5000, 0x1000, qi_iotlb_pages(1, 0, 9));
    unmapped_as(cap, GB + 0x5000, 0x1000, qi_iotlb_pages(1, GB, 18));
    unmapped_as(cap & ~CAP_PSI, 0x5000, 0x1000, qi_iotlb_domain(1));
    unmapped_as(cap & ~CAP_MAMV, 0x5000, 0x1000, qi_iotlb_domain(1));
}

/* Four levels where there are, else five, else three. */
static void test_levels(void **state)
{
    static const struct { uint64_t sagaw; unsigned levels; } units_of[] = { { 2, 3 }, { 4, 4 }, { 8, 5 }, { 10, 5 }, { 6, 4 }, { 14, 4 } };
    (void)state;
    for (unsigned i = 0; i < sizeof units_of / sizeof *units_of; i++) {
        setup(NULL);
        fake_set64(REG_CAP, (fake_get64(REG_CAP) & ~CAP_SAGAW) | place(CAP_SAGAW, units_of[i].sagaw));
        start();
        assert_true(assign(&dev, DEVICE));
        assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
        assert_int_equal(domain.table.levels, units_of[i].levels);
        engine_domain_fini(&domain);
        teardown(NULL);
    }
}

/* A leaf that cannot be split for lack of memory: nothing has changed, and nothing is invalidated. */
static void test_unmap_without_memory(void **state)
{
    uint64_t at;
    (void)state;
    start();
    assert_true(assign(&dev, DEVICE));
    assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
    assert_int_equal(engine_domain_map(&domain, GB, 4 * GB, GB, RW), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    host_fail_allocation(1);
    assert_int_equal(engine_domain_unmap(&domain, GB + 0x5000, 0x1000), -NIDUS_ENOMEM);
    assert_int_equal(fake.dones, 0);
    assert_int_equal(stage2_lookup(&domain.table, GB + 0x5000, &at, NULL, NULL, NULL), 0);
    assert_int_equal(at, 4 * GB + 0x5000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_assign), T(test_fini), T(test_replace), T(test_replace_with_a_gap), T(test_attach_in_caching_mode),
        T(test_map_in_caching_mode), T(test_invalidate), T(test_interrupt_entry), T(test_take_back), T(test_attach_again), T(test_unit_that_can_do_less), T(test_one_table_one_format),
        T(test_eafe_needs_snooping_walks), T(test_invalidation_by_largest_leaf), T(test_levels), T(test_unmap_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
