/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_takeover.c: units that firmware describes wrongly, that lack memory or stop answering at any step of their bring-up: each ends in a
 * reason that names the unit, and in nothing half started (VT-d 5.10 sections 8.3, 11.4; the order of bring-up: 6.5.2, 11.4.4, 11.4.5).
 */
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

#define DEVICE 0x0020u          /* 00:04.0 */
#define ECAP_ALL 0x3ee9e86f050dfULL

static struct guest *guest;
static char reason[160];
static uint8_t dmar[16384];

void engine_fault_sink(struct device *d, const struct nidus_fault *fault) { (void)d, (void)fault; }
void engine_fault_lost(struct device *d) { (void)d; }
bool engine_page_request(struct device *d, const struct engine_page_request *r) { (void)d, (void)r; return false; }

static void put16(uint8_t *at, uint16_t value) { memcpy(at, &value, 2); }

static uint16_t dmar_length(void)
{
    uint16_t length;
    memcpy(&length, dmar + 4, 2);
    return length;
}

static uint8_t *dmar_add(const void *structure, uint16_t size)
{
    uint8_t *at = dmar + dmar_length();
    memcpy(at, structure, size);
    put16(dmar + 4, (uint16_t)(dmar_length() + size));
    return at;
}

/* A unit for one function, or for all that no other has. */
static void dmar_unit(uint64_t base, uint16_t function)
{
    uint8_t drhd[24] = { 0, 0, 24, 0, [16] = 1, 8, 0, 0, 0, 0, (uint8_t)(function >> 3 & 31), function & 7 };
    memcpy(drhd + 8, &base, 8);
    if (!function)
        drhd[4] = 1, drhd[2] = 16;
    dmar_add(drhd, drhd[2]);
}

static void dmar_rmrr_of(uint8_t device)
{
    const uint8_t rmrr[] = { 1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7b, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, device, 0 };
    dmar_add(rmrr, sizeof rmrr);
}

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    guest = host_guest("web", 1 << 20);
    host_function_add(0, DEVICE);
    memset(dmar, 0, sizeof dmar);
    memcpy(dmar, "DMAR", 4);
    put16(dmar + 4, 48);
    dmar[36] = 51;
    dmar[37] = 1;
    return 0;
}

static void start(void) { iommu_init(dmar, dmar_length(), IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP); }

static void start_fake(void)
{
    dmar_unit(FAKE_UNIT_BASE, 0);
    start();
}

static void unavailable_because(const char *why)
{
    const char *said = iommu_unavailable();
    if (!said || !strstr(said, why))
        fail_msg("\"%s\" does not say \"%s\"", said, why);
}

static void refused_because(const char *why)
{
    struct device dev = { .source_id = DEVICE, .owner = guest };
    assert_false(engine_device_init(&dev, reason));
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

/* What the table says ---------------------------------------------------------------------------------- */

/* A unit whose place is impossible is left out, with its devices; the others work. */
static void misplaced(uint64_t base, const char *why)
{
    setup(NULL);
    dmar_unit(base, DEVICE);
    dmar_unit(FAKE_UNIT_BASE, 0);
    start();
    assert_true(host_log_has(why));
    assert_null(iommu_unavailable());
    assert_null(units->next);
    refused_because("its remapping unit (DRHD at offset 0x30 of the DMAR table) was ignored");
    fake_units_free(NULL);
}

static void test_misplaced_registers(void **state)
{
    (void)state;
    misplaced(0, "DRHD at offset 0x30 (0x0): its registers are said to be at address 0; it is ignored");
    misplaced(0xfed90800, "its registers do not begin on a page");
    misplaced(0xfffffffffffff000, "its registers are beyond any address");
    misplaced(1ULL << 52, "its registers are beyond any address");
}

static void test_overlapping_registers(void **state)
{
    (void)state;
    dmar_unit(FAKE_UNIT_BASE, DEVICE);
    dmar_unit(FAKE_UNIT_BASE, 0);
    dmar_unit(FAKE_UNIT_BASE - 0x1000, DEVICE + 8);
    dmar_unit(FAKE_UNIT_BASE + 0x1000, DEVICE + 16);
    start();
    assert_true(host_log_has("DRHD at offset 0x48 (0xfed90000): its registers overlap those of the unit before it"));
    assert_non_null(units->next); /* the others lie beside it, before and behind */
    assert_string_equal(units->next->reason, "unit 2 at 0xfed8f000: no address space left for its registers");
    assert_non_null(units->next->next);
    assert_string_equal(units->next->next->reason, "unit 3 at 0xfed91000: no address space left for its registers");
}

/* A table of any size is copied: firmware's memory is not nidus's. */
static void test_large_table(void **state)
{
    static const uint8_t andd[16] = { 4, 0, 16, 0, 0, 0, 0, 1, '\\', 'D', 0 };
    (void)state;
    while (dmar_length() < 9000)
        dmar_add(andd, sizeof andd);
    start_fake();
    assert_null(iommu_unavailable());
    memset(dmar, 0xff, sizeof dmar);
    struct device dev = { .source_id = DEVICE, .owner = guest };
    assert_true(engine_device_init(&dev, reason));
    assert_int_equal(engine_device_fini(&dev), 0);
}

static void test_no_table(void **state)
{
    (void)state;
    start(); /* … that names a unit */
    unavailable_because("the DMAR table names no remapping unit that can be used");
    refused_because("no remapping unit covers it");
    iommu_init(NULL, 0, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    refused_because("firmware has no DMAR table");
}

/* Each allocation on the way may fail: the copy of the table, the unit, its tables, its queues. */
static void test_no_memory(void **state)
{
    static const char *const whys[] = { "no memory for a DMAR table of 64 bytes", "names no remapping unit that can be used" };
    unsigned n = 1;
    (void)state;
    for (;; n++) {
        setup(NULL);
        fake_set64(REG_ECAP, ECAP_ALL | ECAP_PRS);
        host_fail_allocation(n);
        start_fake();
        if (!host_allocation_failed())
            break;
        unavailable_because(n <= 2 ? whys[n - 1] : "unit 0 at 0xfed90000: no memory for its tables");
        assert_int_equal(fake.command_count, 0);
        refused_because(n == 1 ? whys[0] : n == 2 ? "was ignored" : "no memory for its tables");
        fake_units_free(NULL);
    }
    assert_int_equal(n, 9); /* two, then root, domain ids, ring, status, page requests, interrupts */
    assert_null(iommu_unavailable());
}

/* What the registers say ------------------------------------------------------------------------------- */

/* One register that reads as all ones is enough: nothing is there. */
static void test_nothing_there(void **state)
{
    static const uint32_t registers[] = { REG_VER, REG_CAP, REG_ECAP };
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        setup(NULL);
        memset(fake.page + registers[i], 0xff, registers[i] == REG_VER ? 4 : 8);
        start_fake();
        unavailable_because("unit 0 at 0xfed90000: its registers read as all ones: nothing is there");
        fake_units_free(NULL);
    }
}

/* Firmware older than DRHD's size says one page, though fault records may lie behind it. */
static void test_fault_records_behind_the_first_page(void **state)
{
    (void)state;
    fake_set64(REG_CAP, (fake_get64(REG_CAP) & ~(CAP_FRO | CAP_NFR)) | place(CAP_FRO, 0xff) | place(CAP_NFR, 7));
    fake.registers.size = 8192;
    start_fake();
    assert_null(iommu_unavailable());
    assert_int_equal(fake_get32(0x1060 + 12), 0x80000000); /* what firmware left is cleared in the last record as well */
}

static void test_no_address_space_for_fault_records(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) | CAP_FRO);
    start_fake();
    unavailable_because("no address space left for its registers");
}

/* First stages need both: nested translation, and first-stage tables to nest. */
static void test_nested_needs_first_stages(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, ECAP_ALL & ~ECAP_FSTS);
    start_fake();
    assert_null(iommu_unavailable());
    assert_false(units->nested);
    assert_true(host_log_has("second stage only"));
}

/* Who does not answer ------------------------------------------------------------------------------------ */

/* A bit of GCMD that never shows in GSTS: said once, with the unit and what it was asked. */
static void ignored(uint32_t left_on, uint32_t bit, const char *what)
{
    char why[160];
    setup(NULL);
    fake_set32(REG_GSTS, left_on);
    fake.ignores = bit;
    start_fake();
    platform_format(why, sizeof why, "unit 0 at 0xfed90000: it did not answer within a second when asked %s", what);
    unavailable_because(why);
    assert_true(units->dead);
    assert_int_equal(host_log_lines(), 1);
    refused_because(why);
    fake_units_free(NULL);
}

static void test_commands_that_are_ignored(void **state)
{
    (void)state;
    ignored(0, 0x04000000, "to turn the invalidation queue on");
    ignored(0, 0x01000000, "to take the interrupt remapping table");
    ignored(0, 0x02000000, "to turn interrupt remapping on");
    ignored(0x00800000, 0x00800000, "to block compatibility-format interrupts");
    ignored(0, 0x40000000, "to take the root table");
    ignored(0, 0x80000000, "to turn translation on");
    ignored(0x02000000, 0x02000000, "to turn interrupt remapping off");
    ignored(0x04000000, 0x04000000, "to turn off firmware's invalidation queue");
    ignored(0x80000000, 0x80000000, "to turn firmware's translation off");
}

/* The first requests of all are of the interrupt entry cache and, with the root table, of all others. */
static void test_first_invalidations_refused(void **state)
{
    (void)state;
    for (int n = 0; n < 5; n += n ? 1 : 2) { /* 1 is a wait */
        setup(NULL);
        fake.refuses = n;
        start_fake();
        unavailable_because("unit 0 at 0xfed90000: it refused the first invalidations");
        assert_false(units->dead);
        assert_int_equal(fake_get32(REG_GSTS) & 0x80000000, 0); /* and translation, with old entries, never went on */
        fake_units_free(NULL);
    }
}

/* Where the table mode cannot change under translation, protected ranges cover all memory, as far as there are such ranges. */
static void taken_over(uint64_t without, uint32_t low_limit, uint64_t high_limit)
{
    setup(NULL);
    fake_set64(REG_CAP, fake_get64(REG_CAP) & ~without);
    fake_set32(REG_GSTS, 0x80000000);
    start_fake();
    assert_null(iommu_unavailable());
    assert_int_equal(fake_get32(REG_PLMLIMIT), low_limit);
    assert_int_equal(fake_get64(REG_PHMLIMIT), high_limit);
    assert_int_equal(fake.pmen_at_te_off, low_limit || high_limit ? 0x80000001 : 0);
    assert_int_equal(fake_get32(REG_PMEN), 0);
    fake_units_free(NULL);
}

static void test_protected_ranges_while_translation_is_off(void **state)
{
    (void)state;
    taken_over(0, 0xffffffff, 0xfffffffffffff);
    taken_over(CAP_PHMR, 0xffffffff, 0);
    taken_over(CAP_PLMR, 0, 0xfffffffffffff);
    taken_over(CAP_PLMR | CAP_PHMR, 0, 0);
}

static void test_protected_ranges_that_do_not_answer(void **state)
{
    (void)state;
    fake_set32(REG_GSTS, 0x80000000);
    fake.pmen_stuck = true;
    start_fake();
    unavailable_because("to close its protected memory ranges");
    assert_int_equal(fake_get32(REG_GSTS) & 0x80000000, 0x80000000); /* firmware's translation stays as long as nothing else protects */
    fake_units_free(NULL);
    setup(NULL);
    fake_set32(REG_PMEN, 0x80000001);
    fake.pmen_stuck = true;
    start_fake();
    unavailable_because("to open its protected memory ranges");
    fake_units_free(NULL);
    setup(NULL);
    fake_set32(REG_GSTS, 0x80000000);
    fake_set32(REG_PMEN, 0x80000001);
    fake.pmen_stuck = true;
    start_fake();
    unavailable_because("to open its protected memory ranges"); /* before they are set anew */
}

/* A queue that firmware left at work gets the time to finish. */
static void let_the_queue_finish(void) { fake_set64(REG_IQH, fake_get64(REG_IQT)); }

static void test_foreign_queue_finishes(void **state)
{
    (void)state;
    fake_set32(REG_GSTS, 0x04000000);
    fake_set64(REG_IQT, 0x40);
    host_pause_hook = let_the_queue_finish;
    start_fake();
    assert_null(iommu_unavailable());
    assert_false(host_log_has("stuck"));
}

/* … but not when it stands at an error. */
static void test_foreign_queue_at_an_error(void **state)
{
    (void)state;
    fake_set32(REG_GSTS, 0x04000000);
    fake_set64(REG_IQT, 0x40);
    fake_set32(REG_FSTS, 0x10);
    uint64_t start_ns = platform_time_ns();
    start_fake();
    assert_in_range(platform_time_ns() - start_ns, 0, 100000000);
    assert_true(host_log_has("the invalidation queue that firmware left is stuck; it is turned off as it is"));
    assert_null(iommu_unavailable());
}

/* Two RMRRs may name the same memory: it is there once. */
static void test_memory_that_is_reserved_twice(void **state)
{
    struct first_stage *first;
    struct domain *domain;
    uint64_t at;
    (void)state;
    host_function_add(0, 0xa0);
    host_reserved_base = 0x7b000000;
    host_reserved_size = 0x1000000;
    dmar_unit(FAKE_UNIT_BASE, 0);
    dmar_rmrr_of(0x14);
    dmar_rmrr_of(0x14);
    start();
    assert_true(host_log_has("0000:00:14.0: goes on using 0x7b000000 to 0x7bffffff"));
    struct device *kept = units->devices;
    assert_null(kept->next);
    engine_attached(kept, ENGINE_NO_PASID, &domain, &first);
    assert_int_equal(stage2_lookup(&domain->table, 0x7bfff000, &at, NULL, NULL, NULL), 0);
    assert_int_equal(at, 0x7bfff000);
    assert_int_equal(engine_device_fini(kept), 0);
    engine_domain_fini((struct domain *)(kept + 1)); /* the device is the first member of what was allocated */
    platform_free(NULL, kept, sizeof(struct device) + sizeof(struct domain));
}

static void reserve(void)
{
    host_function_add(0, 0xa0);
    host_function_add(0, 0xa8);
    host_reserved_base = 0x7b000000;
    host_reserved_size = 0x1000000;
}

/* A function is kept by its own unit, and only by what an RMRR of its segment names itself: no bridge, no path that leads nowhere. */
static void test_who_is_kept(void **state)
{
    static const uint8_t bridge[] = { 1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7b, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0, 0x14, 0 };
    static const uint8_t nowhere[] = { 1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7b, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x34, 9 };
    (void)state;
    reserve();
    dmar_unit(0xfed80000, 0xa8); /* a unit that does not work */
    dmar_unit(FAKE_UNIT_BASE, 0);
    dmar_add(bridge, sizeof bridge);
    dmar_add(nowhere, sizeof nowhere);
    dmar_rmrr_of(0x15);
    dmar_rmrr_of(0x14);
    dmar[dmar_length() - 32 + 6] = 1; /* of segment 1 */
    start();
    assert_null(iommu_unavailable());
    assert_null(units->next->devices);
    assert_false(host_log_has("goes on using"));
    assert_false(host_log_has("is blocked"));
}

/* With several RMRRs it is still one function, and one line. */
static void test_blocked_once(void **state)
{
    (void)state;
    reserve();
    dmar_unit(FAKE_UNIT_BASE, 0);
    dmar_rmrr_of(0x14);
    dmar_rmrr_of(0x14);
    iommu_init(dmar, dmar_length(), IOMMU_ERRATA_OFF, IOMMU_RMRR_BLOCK);
    assert_null(iommu_unavailable());
    assert_true(host_log_has("unit 0, 0000:00:14.0: has an RMRR and is blocked: rmrr = block in nidus.conf"));
    assert_int_equal(host_log_lines(), 2); /* it and the unit */
}

/* Registers that vanish while devices with an RMRR get their tables: said once, whatever is still to be done. */
static void vanish(volatile void *entry, unsigned bytes)
{
    (void)entry, (void)bytes;
    if (fake.command_count > 3) /* queue and interrupt remapping are on: the next table is a context table */
        memset(fake.page, 0xff, sizeof fake.page);
}

static void test_unit_that_vanishes(void **state)
{
    (void)state;
    reserve();
    dmar_unit(FAKE_UNIT_BASE, 0);
    dmar_rmrr_of(0x14);
    dmar_rmrr_of(0x15);
    host_store_hook = vanish;
    start();
    unavailable_because("its registers read as all ones when asked for its faults");
    assert_true(units->dead);
    assert_true(host_log_has("0000:00:15.0: has an RMRR and is blocked"));
    assert_int_equal(host_log_lines(), 3); /* the unit, and each device */
    while (units->devices) { /* which nidus keeps for ever; the device is the first member of what was allocated */
        struct device *kept = units->devices;
        units->devices = kept->next;
        platform_free(NULL, kept, sizeof(struct device) + sizeof(struct domain));
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_units_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_misplaced_registers), T(test_overlapping_registers), T(test_large_table), T(test_no_table), T(test_no_memory),
        T(test_nothing_there), T(test_fault_records_behind_the_first_page), T(test_no_address_space_for_fault_records),
        T(test_nested_needs_first_stages), T(test_commands_that_are_ignored), T(test_first_invalidations_refused),
        T(test_protected_ranges_while_translation_is_off), T(test_protected_ranges_that_do_not_answer), T(test_foreign_queue_finishes),
        T(test_foreign_queue_at_an_error), T(test_memory_that_is_reserved_twice), T(test_who_is_kept),
        T(test_blocked_once), T(test_unit_that_vanishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
