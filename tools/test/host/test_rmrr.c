/* SPDX-License-Identifier: BSD-2-Clause */
/* test_rmrr.c: memory that firmware has a device use: kept for it while nobody owns it, and the conditions on which a guest may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/registers.h"
#include "iommu/tables.h"
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/fake_unit.h"

#define MB     0x100000ULL
#define RW     (STAGE2_READ | STAGE2_WRITE)
#define OTHER  0x0020u
#define DEVICE 0x00a0u          /* 00:14.0, which fake_dmar's RMRR names */
#define BASE   0x7b000000ULL
#define LIMIT  0x7bffffffULL

static struct guest *guest;
static struct device dev, other;
static struct domain domain, domain2;
static char reason[160];
static struct device *sunk;

void engine_fault_sink(struct device *d, const struct nidus_fault *fault) { (void)fault, sunk = d; }
void engine_fault_lost(struct device *d) { (void)d; }
bool engine_page_request(struct device *d, const struct engine_page_request *r) { (void)d, (void)r; return false; }

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    guest = host_guest("web", 64 * MB);
    host_function_add(0, DEVICE)->config[4] = 4;
    host_function_add(0, OTHER);
    host_reserved_base = BASE;
    host_reserved_size = LIMIT - BASE + 1;
    dev = other = (struct device){ 0 };
    sunk = NULL;
    return 0;
}

static int teardown(void **state)
{
    if (dev.unit)
        assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    if (other.unit)
        assert_int_equal(engine_detach(&other, ENGINE_NO_PASID), 0);
    for (struct unit *u = units; u; u = u->next)
        while (u->devices && !u->devices->owner) { /* nidus's own: each is the first member of what was allocated */
            struct device *kept = u->devices;
            assert_int_equal(engine_device_fini(kept), 0);
            engine_domain_fini((struct domain *)(kept + 1));
            platform_free(NULL, kept, sizeof(struct device) + sizeof(struct domain));
        }
    return fake_units_free(state);
}

static void start(enum iommu_rmrr_policy policy)
{
    uint32_t length;
    const void *dmar = fake_dmar(&length, 1);
    iommu_init(dmar, length, IOMMU_ERRATA_OFF, policy);
    assert_null(iommu_unavailable());
}

static bool assign(struct device *d, uint16_t source_id, bool map)
{
    *d = (struct device){ .source_id = source_id, .owner = guest, .id = source_id, .policy = { .map_rmrr = map } };
    return engine_device_init(d, reason);
}

static void refused_because(const char *why)
{
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

/* What hardware reads for a source-id; NULL: it has no entry. */
static const uint64_t *entry_of(uint16_t source_id)
{
    const uint64_t *root = host_phys(fake_get64(0x20) & ~0xfffULL);
    uint64_t half = root[source_id >> 8 << 1 | (source_id >> 7 & 1)];
    const uint64_t *context = half & 1 ? (const uint64_t *)host_phys(half & ~0xfffULL) + (source_id & 127) * 4 : NULL;
    if (!context || !(context[0] & 1))
        return NULL;
    const uint64_t *directory = host_phys(context[0] & ~0xfffULL);
    return host_phys(directory[0] & ~0xfffULL);
}

static void reaches(const struct domain *d, uint64_t address, uint64_t hpa)
{
    uint64_t at;
    unsigned prot;
    assert_int_equal(stage2_lookup(&d->table, address, &at, &prot, NULL, NULL), 0);
    assert_int_equal(at, hpa);
    assert_int_equal(prot & RW, RW);
}

static void does_not_reach(const struct domain *d, uint64_t address)
{
    uint64_t at;
    assert_int_equal(stage2_lookup(&d->table, address, &at, NULL, NULL, NULL), -NIDUS_ENOENT);
}

/* Nobody's ------------------------------------------------------------------------------------------- */

static const struct domain *attached_to(const struct device *dev)
{
    struct first_stage *f;
    struct domain *d;
    engine_attached(dev, ENGINE_NO_PASID, &d, &f);
    return d;
}

static void test_kept_with_its_memory_and_nothing_else(void **state)
{
    (void)state;
    host_function(0, DEVICE)->bus_master = true;
    start(IOMMU_RMRR_KEEP);
    assert_true(host_log_has("unit 0, 0000:00:14.0: goes on using 0x7b000000 to 0x7bffffff"));
    const struct device *kept = units->devices;
    assert_null(kept->owner);
    assert_int_equal(entry_of(DEVICE)[0] & 0x1c1, 1 | 2 << 6); /* P, second stage */
    reaches(attached_to(kept), BASE, BASE);
    reaches(attached_to(kept), LIMIT, LIMIT);
    does_not_reach(attached_to(kept), BASE - 1);
    does_not_reach(attached_to(kept), LIMIT + 1);
    assert_true(host_function(0, DEVICE)->bus_master);
    assert_null(entry_of(OTHER));
    fake_fault(0x1000, DEVICE, 0x79, false);
    iommu_poll();
    assert_true(host_log_has("0000:00:14.0 (nidus, for firmware), write to 0x1000"));
}

static unsigned present;
static bool translating;

static void look_at_entry(volatile void *entry, unsigned bytes)
{
    if (bytes != 16 || !units || !units->devices || entry != pasid_entry(units->devices, ENGINE_NO_PASID) || !(*(volatile uint64_t *)entry & 1))
        return;
    present++;
    translating = fake_get32(REG_GSTS) & 0x80000000;
}

/* Its entry is there before translation is on, so that it does not miss a beat. */
static void test_kept_before_translation_is_on(void **state)
{
    (void)state;
    present = 0;
    host_store_hook = look_at_entry;
    start(IOMMU_RMRR_KEEP);
    host_store_hook = NULL;
    assert_int_equal(present, 1);
    assert_false(translating);
}

static void test_bus_master_stays_as_it_was(void **state)
{
    (void)state;
    host_function(0, DEVICE)->config[4] = 0;
    start(IOMMU_RMRR_KEEP);
    assert_false(host_function(0, DEVICE)->bus_master);
}

static void test_blocked_by_policy(void **state)
{
    (void)state;
    host_function(0, DEVICE)->bus_master = true;
    start(IOMMU_RMRR_BLOCK);
    assert_true(host_log_has("0000:00:14.0: has an RMRR and is blocked: rmrr = block in nidus.conf"));
    assert_null(entry_of(DEVICE));
    assert_false(host_function(0, DEVICE)->bus_master);
}

/* A wrong RMRR would give the device nidus's memory. */
static void test_blocked_outside_reserved_memory(void **state)
{
    (void)state;
    host_reserved_size -= PAGE_SIZE;
    start(IOMMU_RMRR_KEEP);
    assert_true(host_log_has("is blocked: its RMRR 0x7b000000 to 0x7bffffff is not in memory that firmware reserved"));
    assert_null(entry_of(DEVICE));
}

static void test_blocked_with_an_impossible_range(void **state)
{
    uint8_t dmar[128];
    uint32_t length;
    const void *good = fake_dmar(&length, 1);
    (void)state;
    memcpy(dmar, good, length);
    dmar[48 + 16 + 16] = 0xfe; /* the limit's lowest byte */
    iommu_init(dmar, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_true(host_log_has("is blocked: its RMRR 0x7b000000 to 0x7bfffffe is no range of whole pages"));
    assert_null(entry_of(DEVICE));
}

static void test_absent_function_is_no_line(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    guest = host_guest("web", 64 * MB);
    start(IOMMU_RMRR_KEEP);
    assert_false(host_log_has("00:14.0"));
    assert_null(units->devices);
}

static void test_no_memory_to_keep_it(void **state)
{
    unsigned failed = 0;
    for (unsigned n = 1; n < 40; n++) {
        setup(state);
        host_fail_allocation(n);
        uint32_t length;
        const void *dmar = fake_dmar(&length, 1);
        iommu_init(dmar, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
        if (units && units->usable && host_log_has("has an RMRR and is blocked: no memory")) {
            const uint64_t *e = entry_of(DEVICE);
            failed++;
            assert_true(!e || !(e[0] & 1));
        }
        host_fail_allocation(0);
        while (units && units->devices) {
            struct device *kept = units->devices;
            units->devices = kept->next;
            engine_detach(kept, ENGINE_NO_PASID);
            platform_free(NULL, kept, sizeof(struct device) + sizeof(struct domain));
        }
        fake_units_free(state);
    }
    assert_in_range(failed, 5, 12);
    setup(state);
}

/* A guest's ------------------------------------------------------------------------------------------ */

static void test_denied_unless_asked_for(void **state)
{
    (void)state;
    start(IOMMU_RMRR_KEEP);
    assert_false(assign(&dev, DEVICE, false));
    refused_because("memory at 0x7b000000 (RMRR); rmrr=map in its line, in a guest with nested = off");
    assert_non_null(units->devices); /* it goes on as it was */
    assert_int_equal(entry_of(DEVICE)[0] & 1, 1);
}

static void test_mapped_for_that_device_only(void **state)
{
    (void)state;
    start(IOMMU_RMRR_KEEP);
    assert_true(assign(&dev, DEVICE, true));
    assert_true(assign(&other, OTHER, false));
    assert_ptr_equal(unit_device(units, DEVICE), &dev);
    assert_int_equal(entry_of(DEVICE)[0], 0);
    assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
    assert_int_equal(engine_domain_map(&domain, 0, host_guest_hpa(guest, 0), 64 * MB, RW), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    reaches(&domain, BASE, BASE);
    reaches(&domain, LIMIT, LIMIT);
    does_not_reach(&domain, LIMIT + 1);
    reaches(&domain, 0x1000, host_guest_hpa(guest, 0x1000));
    /* … and the other one has a table of its own, without it. */
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, &domain, NULL), -NIDUS_EINVAL);
    assert_true(host_log_has("one with a device's RMRR is for that device alone"));
    assert_int_equal(engine_domain_init(&domain2, &other, 0, guest), 0);
    does_not_reach(&domain2, BASE);
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, &domain2, NULL), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain2, NULL), -NIDUS_EINVAL);
    uint64_t first, last;
    assert_true(engine_domain_reserved(&domain, 0, UINT64_MAX, &first, &last));
    assert_true(first == BASE && last == LIMIT);
    assert_true(engine_domain_reserved(&domain, LIMIT, LIMIT, &first, &last) && engine_domain_reserved(&domain, BASE, BASE, &first, &last));
    assert_false(engine_domain_reserved(&domain, 0, BASE - 1, &first, &last) || engine_domain_reserved(&domain, LIMIT + 1, UINT64_MAX, &first, &last));
    assert_false(engine_domain_reserved(&domain2, 0, UINT64_MAX, &first, &last));
    /* What the guest maps cannot replace it. */
    assert_int_equal(engine_domain_map(&domain, BASE, host_guest_hpa(guest, 0), PAGE_SIZE, RW), -NIDUS_EEXIST);
}

static void test_not_under_a_first_stage(void **state)
{
    (void)state;
    start(IOMMU_RMRR_KEEP);
    assert_true(assign(&dev, DEVICE, true));
    uint64_t live = host_pages_live();
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), -NIDUS_EOPNOTSUPP);
    assert_int_equal(host_pages_live(), live);
    assert_true(host_log_has("device 160 has an RMRR: its second stage cannot be a nest parent"));
}

static void test_not_on_the_guests_memory(void **state)
{
    (void)state;
    host_guest_add_ram(guest, LIMIT + 1 - 4 * MB, 8 * MB);
    start(IOMMU_RMRR_KEEP);
    assert_false(assign(&dev, DEVICE, true));
    refused_because("its RMRR 0x7b000000 to 0x7bffffff overlaps addresses of the guest's memory");
}

static void test_not_outside_reserved_memory(void **state)
{
    (void)state;
    host_reserved_base += PAGE_SIZE;
    start(IOMMU_RMRR_KEEP);
    assert_false(assign(&dev, DEVICE, true));
    refused_because("is not in memory that firmware reserved");
}

static void test_given_after_it_was_blocked(void **state)
{
    (void)state;
    start(IOMMU_RMRR_BLOCK);
    assert_true(assign(&dev, DEVICE, true));
}

static void test_given_once(void **state)
{
    (void)state;
    start(IOMMU_RMRR_KEEP);
    assert_true(assign(&dev, DEVICE, true));
    assert_false(assign(&other, DEVICE, true));
    refused_because("already assigned");
    other.unit = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_kept_with_its_memory_and_nothing_else), T(test_kept_before_translation_is_on), T(test_bus_master_stays_as_it_was),
        T(test_blocked_by_policy), T(test_blocked_outside_reserved_memory), T(test_blocked_with_an_impossible_range),
        T(test_absent_function_is_no_line), T(test_no_memory_to_keep_it), T(test_denied_unless_asked_for),
        T(test_mapped_for_that_device_only), T(test_not_under_a_first_stage), T(test_not_on_the_guests_memory),
        T(test_not_outside_reserved_memory), T(test_given_after_it_was_blocked), T(test_given_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
