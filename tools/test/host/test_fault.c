/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_fault.c: what a fault record says in words, and where in the tables the walk behind it finds the reason (VT-d 5.10 section 7.1.3, 9.7,
 * 11.4.7.6).  A level that the walk does not find is not told; a wrong one never.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/registers.h"
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/fake_unit.h"

#define MB     0x100000ULL
#define RW     (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020u
#define ELSEWHERE 0x40000000ULL /* where a second stage may have the guest's first MiB */

/* Bits of first-stage entries. */
#define P  0x01ULL
#define W  0x02ULL
#define U  0x04ULL
#define A  0x20ULL
#define D  0x40ULL
#define PS 0x80ULL
#define TABLE (P | W | U | A)
#define LEAF  (TABLE | D)

static struct guest *guest;
static struct device dev;
static struct domain domain;
static struct first_stage first;
static struct nidus_fault last;
static uint64_t addresses[4];   /* of the first ones */
static unsigned sunk, lost;

void engine_fault_sink(struct device *d, const struct nidus_fault *fault)
{
    assert_ptr_equal(d, &dev);
    last = *fault;
    if (sunk < 4)
        addresses[sunk] = fault->addr;
    sunk++;
}

void engine_fault_lost(struct device *d) { (void)d, lost++; }
bool engine_page_request(struct device *d, const struct engine_page_request *r) { (void)d, (void)r; return false; }

static int setup(void **state)
{
    (void)state;
    host_reset();
    fake_unit_add();
    guest = host_guest("web", MB);
    host_guest_add_ram(guest, MB, MB); /* one region in two pieces */
    host_guest_add_ram(guest, 8 * MB, 4 * MB);
    host_function_add(0, DEVICE);
    dev = (struct device){ 0 };
    sunk = lost = 0;
    return 0;
}

static int teardown(void **state)
{
    if (dev.unit)
        assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    return fake_units_free(state);
}

/* host_bits: the width of the machine's addresses. */
static void start(enum iommu_errata_policy errata, unsigned host_bits)
{
    static uint8_t table[128];
    char reason[160];
    uint32_t length;
    const void *dmar = fake_dmar(&length, 1);
    memcpy(table, dmar, length);
    table[36] = (uint8_t)(host_bits - 1);
    iommu_init(table, length, errata, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    dev = (struct device){ .source_id = DEVICE, .owner = guest, .id = 7 };
    assert_true(engine_device_init(&dev, reason));
    host_log_clear();
}

static void map(uint64_t iova, uint64_t gpa, uint64_t size, unsigned prot)
{
    for (uint64_t done = 0, hpa, run; done < size; done += run) {
        assert_true(platform_guest_memory(guest, gpa + done, &hpa, &run) >= 0);
        run = run < size - done ? run : size - done;
        assert_int_equal(engine_domain_map(&domain, iova + done, hpa, run, prot), 0);
    }
}

/* The guest's first 2 MiB at base, and a first stage whose top table is the second MiB's first page. */
static void attach_nested(uint64_t base, unsigned levels)
{
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), 0);
    map(base, 0, 2 * MB, RW);
    first = (struct first_stage){ .parent = &domain, .pgtbl = base + MB, .levels = levels };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
}

/* For IOVA 0: the table of a level is the page behind its parent's. */
static uint64_t table_at(unsigned level) { return MB + (first.levels - level) * 0x1000; }
static void entry(unsigned level, uint64_t value) { memcpy(host_guest_byte(guest, table_at(level)), &value, 8); }

/* Tables of base down to the leaf at that level. */
static void tables(uint64_t base, unsigned level, uint64_t leaf)
{
    for (unsigned above = first.levels; above > level; above--)
        entry(above, (base + table_at(above - 1)) | TABLE);
    entry(level, leaf);
}

static void fault(uint64_t address, uint8_t reason, bool read)
{
    unsigned before = sunk;
    fake_fault(address, DEVICE, reason, read);
    host_log_clear();
    iommu_poll();
    assert_int_equal(sunk, before + 1);
}

static void failed_at(uint8_t stage, uint8_t level, uint8_t first_level, uint64_t gpa)
{
    assert_int_equal(last.stage, stage);
    assert_int_equal(last.level, level);
    assert_int_equal(last.first_level, first_level);
    assert_int_equal(last.gpa, gpa);
}

#define FIRST  NIDUS_FAULT_STAGE_FIRST
#define SECOND NIDUS_FAULT_STAGE_SECOND

/* Records ---------------------------------------------------------------------------------------------- */

static void add_to_record(uint64_t high) { fake_set64(FAKE_FRO + 8, fake_get64(FAKE_FRO + 8) | high); }

/* PP says whether PV holds a PASID; interrupts have none, whatever is there. */
static void test_pasid(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    fake_fault(0x1000, DEVICE, 0x45, true);
    add_to_record(1ULL << 31 | 0x12345ULL << 40);
    iommu_poll();
    assert_int_equal(last.flags, NIDUS_FAULT_PASID_VALID);
    assert_int_equal(last.pasid, 0x12345);
    assert_true(host_log_has("0000:00:04.0, PASID 74565, read of 0x1000: request with PASID of a device without PASIDs (45h)"));
    fake_fault(0x1000, DEVICE, 0x45, true);
    add_to_record(0x12345ULL << 40);
    iommu_poll();
    assert_int_equal(last.flags, 0);
    assert_int_equal(last.pasid, 0);
    fake_fault(0x002a000000000000, DEVICE, 0x25, true);
    add_to_record(1ULL << 31 | 0x12345ULL << 40);
    iommu_poll();
    assert_int_equal(last.flags, 0);
}

/* T1 and T2 together: write, page request, read, atomic. */
static void test_access(void **state)
{
    static const char *const lines[] = { "write to 0x1000", "page request for 0x1000", "read of 0x1000", "atomic operation on 0x1000" };
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    for (unsigned access = 0; access < 4; access++) {
        fake_fault(0x1000, DEVICE, 0x59, access & 2);
        add_to_record((access & 1) << 28);
        host_log_clear();
        iommu_poll();
        assert_int_equal(last.access, access);
        assert_true(host_log_has(lines[access]));
    }
}

/* Codes that the specification does not have are told by number. */
static void test_unknown_reason(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    fault(0x1000, 0xee, true);
    assert_int_equal(last.reason, 0xee);
    assert_int_equal(last.stage, NIDUS_FAULT_STAGE_NONE);
    assert_true(host_log_has("unknown reason (eeh)"));
}

/* PPF, and no record where FRI points. */
static void test_no_record(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    fake_set32(REG_FSTS, 2);
    iommu_poll();
    assert_int_equal(sunk, 0);
    assert_int_equal(host_log_lines(), 0);
}

/* The oldest record is the one that FRI names (7.2.1), and the last one is followed by the first. */
static void test_records_in_order(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) | 3ULL << 40);
    start(IOMMU_ERRATA_OFF, 52);
    for (unsigned i = 0; i < 4; i++) {
        fake_set64(FAKE_FRO + 16 * i, 0x1000 * (i + 1));
        fake_set64(FAKE_FRO + 16 * i + 8, i == 1 ? 0 : 1ULL << 63 | 0x59ULL << 32 | DEVICE);
    }
    fake_set32(REG_FSTS, 2 | 2 << 8);
    assert_false(iommu_poll());
    assert_int_equal(sunk, 3);
    assert_int_equal(addresses[0], 0x3000);
    assert_int_equal(addresses[1], 0x4000);
    assert_int_equal(addresses[2], 0x1000);
    assert_int_equal(fake_get32(REG_FSTS) & 2, 0);
}

/* 11.4.7.6: a record has no bits above the widest second stage; an IOVA of a first stage's upper half gets them back, by its width. */
static void test_sign_of_an_address(void **state)
{
    static const struct { unsigned levels; uint64_t recorded, told; } rows[] = {
        { 4, 0x0000800000001000, 0xffff800000001000 }, { 4, 0x00007ffffffff000, 0x00007ffffffff000 },
        { 5, 0x0100000000001000, 0xff00000000001000 }, { 5, 0x0000800000001000, 0x0000800000001000 },
    };
    for (unsigned i = 0; i < 4; i++) {
        start(IOMMU_ERRATA_OFF, 52);
        attach_nested(0, rows[i].levels);
        fault(rows[i].recorded, 0x71, true);
        assert_int_equal(last.addr, rows[i].told);
        fault(rows[i].recorded, 0x80, true); /* not canonical: nobody knows */
        assert_int_equal(last.addr, rows[i].recorded);
        teardown(state);
        setup(state);
    }
}

/* Each overflow reaches each owner; its line is one of the few that the unit has in a second. */
static void test_overflow_storm(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    for (unsigned i = 0; i < 100; i++) {
        fake_set32(REG_FSTS, 1);
        iommu_poll();
        assert_int_equal(fake_get32(REG_FSTS), 0);
    }
    assert_int_equal(lost, 100);
    assert_int_equal(host_log_lines(), 20);
}

/* Units that are not used are not looked at. */
static void test_unusable_unit(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    units->usable = false;
    fake_fault(0x1000, DEVICE, 0x59, true);
    iommu_poll();
    assert_int_equal(sunk, 0);
    units->usable = true;
}

/* Where it failed ---------------------------------------------------------------------------------------- */

/* Nothing attached: there is nothing to walk, though the code would say so. */
static void test_blocked_device(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    fault(0x1000, 0x79, true);
    failed_at(SECOND, 0, 0, 0);
}

static void test_second_stage(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    assert_int_equal(engine_domain_init(&domain, &dev, 0, guest), 0);
    map(0, 0, MB, RW);
    map(MB, MB, MB, STAGE2_READ);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fault(4 * MB, 0x79, true);
    failed_at(SECOND, 2, 0, 4 * MB);
    fault(MB, 0x85, false);                             /* the code alone does not say which stage */
    failed_at(SECOND, 1, 0, MB);
    fault(1ULL << 48, 0x79, true);                      /* beyond the table */
    failed_at(SECOND, 0, 0, 1ULL << 48);
    fault(0, 0x79, true);                               /* mapped by now */
    failed_at(SECOND, 0, 0, 0);
}

/* Bits that are reserved in an entry of each level, on a unit with leaves of 1 GiB and on one without (9.7). */
static void test_reserved_bits(void **state)
{
    static const struct {
        unsigned level;
        uint64_t entry;
        bool no_1g;
    } bad[] = {
        { 4, TABLE | PS, false }, { 3, LEAF | PS, true }, { 3, LEAF | PS | 0x2000, false }, { 3, LEAF | PS | 0x20000000, false },
        { 2, LEAF | PS | 0x2000, false }, { 2, LEAF | PS | 0x100000, false }, { 1, LEAF | 1ULL << 46, false }, { 2, TABLE | 1ULL << 46, false },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        setup(NULL);
        if (bad[i].no_1g)
            fake_set64(REG_CAP, fake_get64(REG_CAP) & ~CAP_FS1GP);
        start(IOMMU_ERRATA_OFF, 46);
        attach_nested(0, 4);
        tables(0, bad[i].level, bad[i].entry);
        fault(0, 0x72, true);
        failed_at(FIRST, (uint8_t)bad[i].level, 0, 0);
        teardown(NULL);
    }
}

/* … and what is none: PAT of a large leaf, U/S and the rest of the low bits; 5 levels; PS of a 4 KiB leaf is PAT as well. */
static void test_no_reserved_bits(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 46);
    attach_nested(0, 5);
    tables(0, 3, LEAF | PS | 0x1000);
    fault(0, 0x72, true);                               /* nothing wrong: no level */
    failed_at(FIRST, 0, 0, 0);
    tables(0, 2, LEAF | PS | 0x1000);
    fault(0, 0x72, true);
    failed_at(FIRST, 0, 0, 0);
    tables(0, 1, LEAF | PS);
    fault(0, 0x72, true);
    failed_at(FIRST, 0, 0, 0);
    tables(0, 5, 0);
    fault(0, 0x71, true);
    failed_at(FIRST, 5, 0, 0);
}

/* The level that takes the right to write away is the first of them that does. */
static void test_read_only(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(0, 4);
    tables(0, 1, LEAF & ~W);
    entry(3, (table_at(2) | TABLE) & ~W);
    fault(0, 0x85, false);
    failed_at(FIRST, 3, 0, 0);
    fault(0, 0x85, true);                               /* a read fails for no such reason */
    failed_at(NIDUS_FAULT_STAGE_NONE, 0, 0, 0);
}

/* Leaves of each size lead to the right GPA. */
static void test_large_leaves(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(0, 4);
    tables(0, 3, 0x80000000 | LEAF | PS);
    fault(0x12345000, 0x79, true);
    failed_at(SECOND, 3, 0, 0x92345000);
    tables(0, 2, 0x200000 | LEAF | PS);
    fault(0x123000, 0x79, true);
    failed_at(SECOND, 2, 0, 0x323000);
}

/* A and D are set by walks that snoop, in entries whose page may be written; a read sets no D. */
static void test_accessed_and_dirty(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~(ECAP_SMPWCS | ECAP_EAFS));
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(0, 4);
    tables(0, 1, 0x1000 | (LEAF & ~D));
    fault(0, 0x90, false);
    failed_at(FIRST, 1, 0, 0);
    entry(2, table_at(1) | (TABLE & ~A));
    fault(0, 0x90, true);
    failed_at(FIRST, 2, 0, 0);
    tables(0, 1, 0x1000 | (LEAF & ~D));
    fault(0, 0x90, true);                               /* nothing to set */
    failed_at(FIRST, 0, 0, 0);
}

/* The guest reads its tables through its second stage, whose addresses need not be the guest's. */
static void test_tables_elsewhere(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(ELSEWHERE, 4);
    tables(ELSEWHERE, 1, 0);
    fault(0, 0x71, true);
    failed_at(FIRST, 1, 0, 0);
    tables(ELSEWHERE, 1, (ELSEWHERE + 0x3000) | LEAF);
    entry(2, (ELSEWHERE + 16 * MB) | TABLE);            /* a table where nothing is mapped */
    fault(0, 0x79, true);
    failed_at(SECOND, 2, 1, ELSEWHERE + 16 * MB);
}

/* … in each piece of its memory. */
static void test_tables_in_each_region(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(ELSEWHERE, 4);
    map(0x80000000, 8 * MB, 4 * MB, RW);
    tables(ELSEWHERE, 4, 0x80201000 | TABLE);
    uint64_t absent = 0;
    memcpy(host_guest_byte(guest, 8 * MB + 0x201000), &absent, 8);
    fault(0, 0x71, true);
    failed_at(FIRST, 3, 0, 0);
}

/* A second stage may hold memory that is no RAM of the guest: what lies there is not looked at. */
static void test_tables_that_are_no_ram(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_OFF, 52);
    attach_nested(0, 4);
    assert_int_equal(engine_domain_map(&domain, 0x80000000, 0x7b000000, MB, RW), 0);
    tables(0, 4, 0x80000000 | TABLE);
    fault(0, 0x71, true);
    failed_at(FIRST, 0, 0, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_pasid), T(test_access), T(test_unknown_reason), T(test_no_record), T(test_records_in_order), T(test_sign_of_an_address), T(test_overflow_storm), T(test_unusable_unit),
        T(test_blocked_device), T(test_second_stage), T(test_reserved_bits), T(test_no_reserved_bits), T(test_read_only),
        T(test_large_leaves), T(test_accessed_and_dirty), T(test_tables_elsewhere), T(test_tables_in_each_region),
        T(test_tables_that_are_no_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
