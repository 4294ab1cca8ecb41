/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_engine.c: the engine against the registers of one unit: bring-up and take-over, the entries that the unit reads, the
 * invalidations of each change, faults.  Bits are written here as the spec has them, not with the engine's names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/errata.h"
#include "iommu/registers.h"
#include "iommu/remap.h"
#include "iommu/tables.h"
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/fake_unit.h"
#include "tools/test/host/ranges.h"

#define MB 0x100000ULL
#define RW (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020u

#define ECAP_ALL 0x3ee9e86f050dfULL

static struct guest *guest;
static struct device dev, dev2;
static struct domain domain, other;
static struct first_stage first;
static struct nidus_fault last_fault;
static unsigned sunk, lost;

void engine_fault_sink(struct device *d, const struct nidus_fault *fault)
{
    (void)d;
    last_fault = *fault;
    sunk++;
}

void engine_fault_lost(struct device *d)
{
    (void)d;
    lost++;
}

bool engine_page_request(struct device *d, const struct engine_page_request *r)
{
    (void)d, (void)r;
    return false;
}

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    guest = host_guest("web", 64 * MB);
    host_function_add(0, DEVICE);
    host_function_add(0, DEVICE + 1);
    host_hypervisor = "";
    host_cpu_signature = 0x000806f8;
    sunk = lost = 0;
    dev = dev2 = (struct device){ 0 };
    return 0;
}

/* Detaches what a test left attached, from a unit that answers again. */
static int teardown(void **state)
{
    fake.silent = false;
    for (struct unit *u = units; u; u = u->next)
        u->dead = false;
    domain.owner = guest;
    if (dev.unit)
        assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    if (dev2.unit)
        assert_int_equal(engine_detach(&dev2, ENGINE_NO_PASID), 0);
    return fake_units_free(state);
}

/* The second stage that dev's requests without PASID go through. */
static struct domain *attached_to(const struct device *d)
{
    struct first_stage *f;
    struct domain *to;
    engine_attached(d, ENGINE_NO_PASID, &to, &f);
    return to;
}

static void start(enum iommu_errata_policy errata)
{
    uint32_t length;
    const void *table = fake_dmar(&length, 1);
    iommu_init(table, length, errata, IOMMU_RMRR_KEEP);
}

static void assign(struct device *d, uint16_t source_id)
{
    char reason[160] = "";
    *d = (struct device){ .source_id = source_id, .owner = guest, .id = source_id };
    if (!engine_device_init(d, reason))
        fail_msg("refused: %s", reason);
}

static void start_with_device(void)
{
    start(IOMMU_ERRATA_OFF);
    assert_null(iommu_unavailable());
    assign(&dev, DEVICE);
    fake_forget();
}

/* What hardware reads for a source-id. */
static const uint64_t *context_of(uint16_t source_id)
{
    const uint64_t *root = host_phys(fake_get64(0x20) & ~0xfffULL);
    uint64_t half = root[source_id >> 8 << 1 | (source_id >> 7 & 1)];
    return half & 1 ? (const uint64_t *)host_phys(half & ~0xfffULL) + (source_id & 127) * 4 : NULL;
}

static const uint64_t *pasid_entry_of(uint16_t source_id)
{
    const uint64_t *directory = host_phys(context_of(source_id)[0] & ~0xfffULL);
    assert_true(directory[0] & 1);
    return host_phys(directory[0] & ~0xfffULL);
}

/* Bring-up ------------------------------------------------------------------------------------------- */

static void test_bring_up(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_AUTO);
    assert_null(iommu_unavailable());
    assert_int_equal(fake_get32(0x1c) & 0x86800000, 0x86000000); /* TE, QIE, IRE on, CFI off */
    assert_int_equal(fake_get64(0x20) & 0xfff, 1 << 10);         /* scalable */
    const uint64_t *root = host_phys(fake_get64(0x20) & ~0xfffULL);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(root[i], 0);
    const uint64_t *irtes = host_phys(fake_get64(0xb8) & ~0xfffULL);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(irtes[i], 0);
    assert_int_equal(fake_get64(0x90) & 0xfff, 1 << 11 | 3);     /* 256-bit, 1024 entries */
    assert_int_equal(fake_found(qi_interrupts_global()), 0);
    assert_int_equal(fake_found(qi_context_global()), 1);
    assert_int_equal(fake_found(qi_pasid_global()), 2);
    assert_int_equal(fake_found(qi_iotlb_global()), 3);
}

/* GCMD changes one bit at a time, and keeps what is on; SRTP comes before TE. */
static void test_one_bit_at_a_time(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_AUTO);
    uint32_t before = 0;
    for (unsigned i = 0; i < fake.command_count; i++) {
        assert_in_range(__builtin_popcount((fake.commands[i] ^ before) & 0xff800000), 0, 1);
        before = fake.commands[i] & 0x86800000;
    }
    assert_int_equal(fake.commands[fake.command_count - 1] >> 24, 0x86);
    assert_int_equal(fake.commands[fake.command_count - 2] >> 24, 0x46);
}

static void missing(uint64_t cap, uint64_t ecap, uint8_t dmar_flags, const char *why)
{
    uint32_t length;
    setup(NULL);
    fake_set64(REG_CAP, fake_get64(REG_CAP) & ~cap);
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~ecap);
    fake_set32(REG_GSTS, 0x80000000);
    const void *table = fake_dmar(&length, dmar_flags);
    iommu_init(table, length, IOMMU_ERRATA_AUTO, IOMMU_RMRR_KEEP);
    const char *said = iommu_unavailable();
    if (!said || !strstr(said, why) || !strstr(said, "unit 0 at 0xfed90000"))
        fail_msg("\"%s\" does not say \"%s\"", said, why);
    assert_true(host_log_has(why));
    assert_int_equal(fake.command_count, 0); /* what firmware set up is left alone */
    char reason[160];
    dev = (struct device){ .source_id = DEVICE, .owner = guest };
    assert_false(engine_device_init(&dev, reason));
    assert_non_null(strstr(reason, why));
    fake_units_free(NULL);
}

static void test_what_is_missing_is_named(void **state)
{
    (void)state;
    missing(0, 1 << 1, 1, "ECAP.QI=0");
    missing(0, 1ULL << 43, 1, "ECAP.SMTS=0");
    missing(0, 1ULL << 46, 1, "ECAP.SSTS=0");
    missing(0, 1 << 3, 1, "ECAP.IR=0");
    missing(0x1f << 8, 0, 1, "CAP.SAGAW");
    missing(0, 0, 0, "DMAR flags");
}

static void test_no_table(void **state)
{
    (void)state;
    iommu_init(NULL, 0, IOMMU_ERRATA_AUTO, IOMMU_RMRR_KEEP);
    assert_string_equal(iommu_unavailable(), "firmware has no DMAR table");
    assert_true(host_log_has("firmware has no DMAR table"));
}

static void test_nothing_there(void **state)
{
    (void)state;
    memset(fake.page, 0xff, sizeof fake.page);
    start(IOMMU_ERRATA_AUTO);
    assert_non_null(strstr(iommu_unavailable(), "all ones"));
}

static void test_command_that_is_ignored(void **state)
{
    (void)state;
    fake.ignores = 0x80000000;
    start(IOMMU_ERRATA_AUTO);
    assert_non_null(strstr(iommu_unavailable(), "when asked to turn translation on"));
    assert_int_equal(host_log_lines(), 1);
}

/* Firmware left everything on, with legacy tables, on a unit where the table mode cannot change under translation. */
static void test_take_over(void **state)
{
    (void)state;
    void *foreign = platform_pages_alloc(NULL, 0);
    fake_set32(REG_GSTS, 0x86800000);
    fake_set64(REG_IQA, platform_phys(foreign));
    fake_set64(REG_RTADDR, 0x1000);
    fake_fault(0x5000, 0x18, 2, true);
    fake_set32(REG_FSTS, 3);
    start(IOMMU_ERRATA_AUTO);
    assert_null(iommu_unavailable());
    assert_int_equal(fake.commands[0], 0x84800000);      /* IRE off first */
    assert_int_equal(fake.commands[1], 0x80800000);      /* then QIE; translation stays */
    assert_int_equal(fake.pmen_at_te_off, 0x80000001);   /* all memory protected while it is off */
    assert_int_equal(fake_get32(REG_PLMBASE), 0);
    assert_int_equal(fake_get32(REG_PLMLIMIT), 0xffffffff);
    assert_int_equal(fake_get64(REG_PHMBASE), 0x100000000);
    assert_int_equal(fake_get64(REG_PHMLIMIT), 0xfffffffffffff);
    assert_int_equal(fake_get32(REG_PMEN), 0);           /* and open again */
    assert_int_equal(fake_get32(REG_GSTS) & 0x86800000, 0x86000000);
    assert_int_equal(fake_get32(REG_FSTS), 0);
    iommu_poll();
    assert_false(host_log_has("fault:"));
    assert_true(host_log_has("firmware had left on: translation interrupt-remapping invalidation-queue"));
}

static void test_take_over_without_a_gap(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) | 1ULL << 63);
    fake_set32(REG_GSTS, 0x80000000);
    fake.pmen_at_te_off = 0x5a5a;
    start(IOMMU_ERRATA_AUTO);
    assert_null(iommu_unavailable());
    assert_int_equal(fake.pmen_at_te_off, 0x5a5a); /* TE never went off */
}

static void test_protection_that_firmware_left(void **state)
{
    (void)state;
    fake_set32(REG_PMEN, 0x80000001);
    start(IOMMU_ERRATA_AUTO);
    assert_int_equal(fake_get32(REG_PMEN), 0);
}

static void test_stuck_foreign_queue(void **state)
{
    (void)state;
    fake_set32(REG_GSTS, 0x04000000);
    fake_set64(REG_IQT, 0x40);
    start(IOMMU_ERRATA_AUTO);
    assert_true(host_log_has("that firmware left is stuck"));
    assert_null(iommu_unavailable());
}

static void test_errata_policy(void **state)
{
    (void)state;
    const uint64_t nest = 1 << 26;
    host_cpu_signature = 0x000806f8;                                        /* Sapphire Rapids */
    assert_true(errata_772415(nest, 0x60, IOMMU_ERRATA_AUTO));
    assert_false(errata_772415(0, 0x60, IOMMU_ERRATA_AUTO));
    assert_false(errata_772415(nest, 0x60, IOMMU_ERRATA_OFF));
    host_cpu_signature = 0x000a06d0;                                        /* any other: taken to have it */
    assert_true(errata_772415(nest, 0x70, IOMMU_ERRATA_AUTO));
    host_hypervisor = "TCGTCGTCGTCG";
    assert_true(errata_772415(nest, 0x70, IOMMU_ERRATA_AUTO));              /* not QEMU's unit */
    assert_false(errata_772415(nest, 0x10, IOMMU_ERRATA_AUTO));
    assert_true(errata_772415(nest, 0x10, IOMMU_ERRATA_ON));
    host_cpu_signature = 0x000806f8;
    assert_true(errata_772415(nest, 0x10, IOMMU_ERRATA_AUTO));
}

/* Devices -------------------------------------------------------------------------------------------- */

static void test_assigned_device_is_blocked(void **state)
{
    (void)state;
    start_with_device();
    const uint64_t *context = context_of(DEVICE);
    assert_int_equal(context[0] & 0xfff, 1);    /* P; PDTS 0, DTE, PASIDE, PRE off */
    assert_int_equal(context[1] | context[2] | context[3], 0);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(pasid_entry_of(DEVICE)[i], 0);
    assert_false(context_of(DEVICE + 1)[0] & 1);
    assert_false(host_function(0, DEVICE)->bus_master);
}

static void test_refused_devices(void **state)
{
    (void)state;
    char reason[160];
    start_with_device();
    dev2 = (struct device){ .source_id = DEVICE, .owner = guest };
    assert_false(engine_device_init(&dev2, reason));
    assert_non_null(strstr(reason, "already assigned"));
    dev2.source_id = 0x14 << 3;
    assert_false(engine_device_init(&dev2, reason));
    assert_non_null(strstr(reason, "memory at 0x7b000000 (RMRR); rmrr=map in its line"));
    dev2.segment = 1;
    assert_false(engine_device_init(&dev2, reason));
    assert_non_null(strstr(reason, "no remapping unit covers it"));
}

static void test_fini_gives_all_back(void **state)
{
    (void)state;
    start_with_device();
    assert_int_equal(guest->bytes_used, 3 * 4096); /* a directory; a table and what nidus knows of it */
    assert_int_equal(engine_device_fini(&dev), 0);
    assert_int_equal(context_of(DEVICE)[0], 0);
    assert_int_equal(fake_found(qi_context_device(DEVICE)), 0);
    assert_int_equal(guest->bytes_used, 0);
    assign(&dev, DEVICE);
}

/* Each allocation on the way may fail: refused, with nothing left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    char reason[160];
    start(IOMMU_ERRATA_OFF);
    for (unsigned n = 1;; n++) {
        dev = (struct device){ .source_id = DEVICE, .owner = guest };
        host_fail_allocation(n);
        bool ok = engine_device_init(&dev, reason);
        if (ok) {
            assert_int_equal(n, 4); /* directory, table, context table */
            break;
        }
        assert_non_null(strstr(reason, "no memory"));
        assert_int_equal(guest->bytes_used, 0);
    }
}

/* Entries -------------------------------------------------------------------------------------------- */

static void make_domain(struct domain *d, bool nest_parent)
{
    assert_int_equal(engine_domain_init(d, &dev, nest_parent, guest), 0);
    assert_int_equal(engine_domain_map(d, 0, host_guest_hpa(guest, 0), 64 * MB, RW), 0);
}

static void make_first(uint64_t pgtbl)
{
    first = (struct first_stage){ .parent = &domain, .pgtbl = pgtbl, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
}

static void test_second_stage_entry(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    const uint64_t *e = pasid_entry_of(DEVICE);
    assert_int_equal(e[0], 1 | 2 << 2 | 2 << 6 | platform_phys(domain.table.root)); /* P, AW 48, PGTT 010 */
    assert_int_equal(e[1], 1 | 1 << 23 | 1 << 24);                                  /* DID 1, PWSNP, PGSNP */
    for (unsigned i = 2; i < 8; i++)
        assert_int_equal(e[i], 0);
    assert_true(host_function(0, DEVICE)->bus_master);
    assert_int_equal(domain.users, 1);
}

static void test_nested_entry(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    first = (struct first_stage){ .parent = &domain, .pgtbl = 0x123000, .levels = 5, .sre = true, .eafe = true, .wpe = true };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    const uint64_t *e = pasid_entry_of(DEVICE);
    assert_int_equal(e[0], 1 | 2 << 2 | 3 << 6 | platform_phys(domain.table.root)); /* PGTT 011 */
    assert_int_equal(e[1], 1 | 1 << 23 | 1 << 24);
    assert_int_equal(e[2], 1 | 1 << 2 | 1 << 4 | 1 << 7 | 0x123000);                /* SRE, FSPM 01, WPE, EAFE */
    assert_int_equal(e[3] | e[4] | e[5] | e[6] | e[7], 0);
    assert_int_equal(domain.users, 1);
    assert_int_equal(first.users, 1);
}

/* A unit that snoops nothing gets reserved bits clear, and every entry in memory before the unit may look. */
static void test_unit_that_does_not_snoop(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, ECAP_ALL & ~(1ULL | 1 << 7 | 1ULL << 48));
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_entry_of(DEVICE)[1], 1);
    assert_false(domain.table.coherent);
    uint64_t context = host_walk64((fake_get64(0x20) & ~0xfffULL) + 0, false);
    assert_int_equal(context & 1, 1);
    uint64_t directory = host_walk64((context & ~0xfffULL) + (DEVICE & 127) * 32, false);
    assert_int_equal(directory & 1, 1);
    uint64_t table = host_walk64(directory & ~0xfffULL, false);
    assert_int_equal(table & 1, 1);
    assert_int_equal(host_walk64(table & ~0xfffULL, false), pasid_entry_of(DEVICE)[0]);
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_int_equal(host_walk64(table & ~0xfffULL, false), 0);
}

static const uint64_t *watched;
static uint64_t final[8];
static bool seen_absent;

/* P never shows before everything else is there: looked at after each store. */
static void watch(volatile void *entry, unsigned bytes)
{
    (void)entry, (void)bytes;
    if (!(watched[0] & 1))
        seen_absent = true;
    else if (memcmp(watched + 1, final + 1, 56) && seen_absent)
        fail_msg("the entry is present before it is complete");
}

static void test_present_last(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    make_first(0x123000);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    watched = pasid_entry_of(DEVICE);
    memcpy(final, watched, sizeof final);
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    seen_absent = true;
    host_store_hook = watch;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    host_store_hook = NULL;
    assert_memory_equal(watched, final, sizeof final);
}

/* Attach, replace, detach ---------------------------------------------------------------------------- */

static void test_detach(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    make_first(0x123000);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    fake_forget();
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake_found(qi_pasid_one(1, 0)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pasid_entry_of(DEVICE)[i], 0);
    assert_false(host_function(0, DEVICE)->bus_master);
    assert_int_equal(first.users, 0);
    assert_null(first.bindings);
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0); /* nothing attached */
    engine_first_stage_fini(&first);
    assert_int_equal(domain.users, 0);
    engine_domain_fini(&domain);
    assert_int_equal(engine_device_fini(&dev), 0);
    assert_int_equal(guest->bytes_used, 0);
}

/* Two devices share a table's DID; other tables never do; a DID comes back when its last device has left. */
static void test_domain_ids(void **state)
{
    (void)state;
    start_with_device();
    assign(&dev2, DEVICE + 1);
    make_domain(&domain, true);
    make_domain(&other, false);
    make_first(0x123000);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(engine_attach(&dev2, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_entry_of(DEVICE)[1] & 0xffff, 1);
    assert_int_equal(pasid_entry_of(DEVICE + 1)[1] & 0xffff, 1);
    assert_int_equal(engine_attach(&dev2, ENGINE_NO_PASID, NULL, &first), 0);
    assert_int_equal(pasid_entry_of(DEVICE + 1)[1] & 0xffff, 2);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &other, NULL), 0);
    assert_int_equal(pasid_entry_of(DEVICE)[1] & 0xffff, 3);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_entry_of(DEVICE)[1] & 0xffff, 1);
}

static void test_no_domain_id_left(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) & ~7ULL); /* 4 bits: 1 to 15 */
    start_with_device();
    make_domain(&domain, false);
    make_domain(&other, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &other, NULL), 0);
    for (unsigned i = 2; i < 16; i++)
        assert_int_equal(unit_did_alloc(dev.unit), i);
    host_log_clear();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), -NIDUS_ENOSPC);
    assert_true(host_log_has("unit 0 at 0xfed90000: all 15 domain ids are in use"));
    assert_int_equal(host_log_lines(), 20); /* however often a guest asks */
    assert_int_equal(pasid_entry_of(DEVICE)[1] & 0xffff, 1);   /* the old one goes on */
    assert_true(pasid_entry_of(DEVICE)[0] & 1);
    assert_ptr_equal(attached_to(&dev), &other);
}

/* A refused replace leaves entry, caches and records as they were. */
static void test_refused_replace(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    make_domain(&other, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &other, NULL), 0);
    uint64_t before[8];
    memcpy(before, pasid_entry_of(DEVICE), sizeof before);
    fake_forget();
    make_first(0x123000);
    first.unit = NULL; /* made for another one, … */
    first.pgtbl = 1ULL << 48; /* … which has wider addresses */
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), -NIDUS_EINVAL);
    first.pgtbl = 0x123000;
    domain.table.levels = 3; /* the unit has 4 and 5 */
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), -NIDUS_EINVAL);
    domain.table.levels = 4;
    domain.owner = host_guest("thief", 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), -NIDUS_EINVAL);
    domain.owner = guest;
    domain.own_id.bindings = 1; /* in use on another unit */
    host_fail_allocation(1);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), -NIDUS_ENOMEM);
    domain.own_id.bindings = 0;
    assert_memory_equal(pasid_entry_of(DEVICE), before, sizeof before);
    assert_int_equal(fake.dones, 0);
    assert_ptr_equal(attached_to(&dev), &other);
    assert_true(host_function(0, DEVICE)->bus_master);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    assert_int_equal(fake_found(qi_pasid_one(1, 0)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
}

static void test_first_stage_checks(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) & ~(1ULL << 60));                 /* no 5 levels */
    fake_set64(REG_ECAP, ECAP_ALL & ~(1ULL << 31 | 1ULL << 34));              /* no SRS, no EAFS */
    start_with_device();
    make_domain(&domain, true);
    make_domain(&other, false);
    const struct first_stage bad[] = {
        { .parent = &domain, .pgtbl = 0x123001, .levels = 4 }, { .parent = &domain, .pgtbl = 1ULL << 48, .levels = 4 },
        { .parent = &domain, .pgtbl = 0x123000, .levels = 5 }, { .parent = &domain, .pgtbl = 0x123000, .levels = 3 },
        { .parent = &domain, .pgtbl = 0x123000, .levels = 4, .sre = true },
        { .parent = &domain, .pgtbl = 0x123000, .levels = 4, .eafe = true }, { .parent = &other, .pgtbl = 0x123000, .levels = 4 },
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        first = bad[i];
        host_log_clear();
        assert_int_equal(engine_first_stage_init(&first, &dev), -NIDUS_EINVAL);
        assert_int_equal(host_log_lines(), 1);
    }
    assert_null(domain.children);
    assert_int_equal(domain.users, 0);
}

static void test_unit_without_nesting(void **state)
{
    (void)state;
    struct unit_info info;
    fake_set64(REG_ECAP, ECAP_ALL & ~(1ULL << 26));
    start_with_device();
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), -NIDUS_EOPNOTSUPP);
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    engine_unit_info(&dev, &info);
    assert_false(info.nested);
    assert_int_equal(info.ecap, ECAP_ALL & ~(1ULL << 26));
}

static void test_read_only_under_a_first_stage(void **state)
{
    (void)state;
    start(IOMMU_ERRATA_ON);
    assign(&dev, DEVICE);
    make_domain(&domain, true);
    make_domain(&other, false);
    assert_int_equal(engine_domain_allows(&domain, STAGE2_READ), -NIDUS_EINVAL);
    assert_int_equal(engine_domain_map(&domain, 1ULL << 32, 0x1000, 4096, STAGE2_READ), -NIDUS_EINVAL);
    assert_int_equal(engine_domain_map(&domain, 1ULL << 32, 0x1000, 4096, RW), 0);
    assert_int_equal(engine_domain_map(&other, 1ULL << 32, 0x1000, 4096, STAGE2_READ), 0);
}

/* Invalidations -------------------------------------------------------------------------------------- */

static void test_unmap_invalidates_every_child(void **state)
{
    (void)state;
    start_with_device();
    assign(&dev2, DEVICE + 1);
    make_domain(&domain, true);
    make_first(0x123000);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);        /* DID 1 */
    assert_int_equal(engine_attach(&dev2, ENGINE_NO_PASID, NULL, &first), 0);        /* DID 2 */
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 4 * MB, 2 * MB), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 2);
    /* The largest leaf, 1 GiB, may have been cut: all of it. */
    assert_true(fake_found(qi_iotlb_pages(1, 0, 18)) >= 0);
    assert_true(fake_found(qi_iotlb_pages(2, 0, 18)) >= 0);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 1ULL << 33, 2 * MB), 0); /* nothing was mapped */
    assert_int_equal(fake.dones, 0);
    assert_int_equal(engine_domain_map(&domain, 4 * MB, 4 * MB, 2 * MB, RW), 0);
    assert_int_equal(fake.dones, 0);                                /* absent entries are not cached */
}

static void test_unmap_of_more_than_one_block(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_domain_map(&domain, 0x3fe00000, 0x3fe00000, 4 * MB, RW), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 0x3fe00000, 4 * MB), 0); /* on both sides of 1 GiB: AM 19 > MAMV */
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 0);
}

/* All of 2 MiB but its last page, then that page. */
static void map_in_two(uint64_t iova)
{
    assert_int_equal(engine_domain_map(&domain, iova, iova, 2 * MB - 4096, RW), 0);
    engine_domain_merge(&domain, iova, 2 * MB - 4096);
    assert_int_equal(engine_domain_map(&domain, iova + 2 * MB - 4096, iova + 2 * MB - 4096, 4096, RW), 0);
}

static uint64_t leaf_at(uint64_t iova)
{
    uint64_t leaf = 0;
    assert_int_equal(stage2_lookup(&domain.table, iova, NULL, NULL, &leaf, NULL), 0);
    return leaf;
}

/* The unit may still know the way into the table that is not needed any more: non-leaf entries too (IH=0), around all of the leaf. */
static void test_merge_invalidates_before_it_frees(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    map_in_two(1ULL << 33);
    assert_int_equal(leaf_at(1ULL << 33), 4096);
    uint64_t live = host_pages_live();
    fake_forget();
    engine_domain_merge(&domain, (1ULL << 33) + 2 * MB - 4096, 4096);
    assert_int_equal(leaf_at(1ULL << 33), 2 * MB);
    assert_int_equal(fake.dones, 1);
    assert_int_equal(fake_found(qi_iotlb_pages(1, 1ULL << 33, 18)), 0);
    assert_int_equal(host_pages_live(), live - 1);
    engine_domain_merge(&domain, (1ULL << 33) + 2 * MB - 4096, 4096);
    assert_int_equal(fake.dones, 1); /* nothing was merged */
}

/* The smaller the leaves, the more a bitmap tells. */
static void test_dirty_tracking_keeps_small_leaves(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    domain.dirty = true;
    map_in_two(1ULL << 33);
    engine_domain_merge(&domain, (1ULL << 33) + 2 * MB - 4096, 4096);
    assert_int_equal(leaf_at(1ULL << 33), 4096);
    domain.dirty = false;
    engine_domain_merge(&domain, (1ULL << 33) + 2 * MB - 4096, 4096);
    assert_int_equal(leaf_at(1ULL << 33), 2 * MB);
}

/* What it may still know is never used again. */
static void test_merge_without_an_answer(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    map_in_two(1ULL << 33);
    uint64_t live = host_pages_live();
    fake.silent = true;
    engine_domain_merge(&domain, (1ULL << 33) + 2 * MB - 4096, 4096);
    assert_int_equal(leaf_at(1ULL << 33), 2 * MB);
    assert_int_equal(host_pages_live(), live);
}

static void test_caching_mode(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) | 1 << 7);
    start(IOMMU_ERRATA_OFF);
    fake_forget();
    assign(&dev, DEVICE);
    assert_true(fake_found(qi_context_device(DEVICE)) >= 0);
    make_domain(&domain, false);
    fake_forget();
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_true(fake_found(qi_pasid_domain(0)) >= 0);
    fake_forget();
    assert_int_equal(engine_domain_map(&domain, 1ULL << 32, 0x1000, 4096, RW), 0);
    assert_true(fake_found(qi_iotlb_pages(1, 1ULL << 32, 18)) >= 0);
}

/* A unit that does not answer: the tables that were unlinked are never used again, and everything says so. */
static void test_unmap_without_an_answer(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    uint64_t live = host_pages_live();
    fake.silent = true;
    assert_int_equal(engine_domain_unmap(&domain, 0, 64 * MB), -NIDUS_EIO);
    assert_int_equal(host_pages_live(), live);
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), -NIDUS_EIO);
    assert_ptr_equal(attached_to(&dev), &domain);
    assert_int_equal(domain.users, 1);
    assert_int_equal(engine_device_fini(&dev), -NIDUS_EIO);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &other, NULL), -NIDUS_EIO);
    assert_false(host_function(0, DEVICE)->bus_master);
}

static void invalidated(uint64_t addr, uint64_t npages, bool leaf, unsigned blocks)
{
    struct range range = { addr, npages, leaf };
    uint64_t next = addr;
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, &range, 1), 0);
    assert_int_equal(fake.dones, blocks);
    for (unsigned i = 0; i < blocks; i++) {
        const uint64_t *w = fake.done[i].word;
        uint64_t size = 4096ULL << (w[1] & 63);
        assert_int_equal(w[0], 6 | 3 << 4 | 1 << 16);
        assert_int_equal(w[1] >> 6 & 1, leaf);
        assert_int_equal(w[1] & ~0xfffULL, next);
        assert_int_equal(next % size, 0);
        next += size;
    }
    assert_int_equal(next, addr + npages * 4096);
}

static void test_invalidated_ranges(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    make_first(0x123000);
    struct range all = { 0, UINT64_MAX, false };
    assert_int_equal(invalidate_ranges(&first, &all, 1), 0);
    assert_int_equal(fake.dones, 0); /* in use nowhere */
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);

    invalidated(0x5000, 1, true, 1);
    invalidated(0x1000, 7, false, 3);           /* 1 + 2 + 4 */
    invalidated(0xffff800000000000, 512, true, 1);
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, &all, 1), 0);
    assert_int_equal(fake.dones, 1);
    assert_int_equal(fake_found(qi_first_stage_all(1, 0)), 0);
}

static void test_many_ranges_are_one_submission(void **state)
{
    (void)state;
    static struct range ranges[512];
    start_with_device();
    make_domain(&domain, true);
    make_first(0x123000);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    for (unsigned i = 0; i < 512; i++)
        ranges[i] = (struct range){ i * 0x10000ULL, 1, true };
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, ranges, 512), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 512);
    for (unsigned i = 0; i < 510; i++)
        ranges[i].addr += 0x1000, ranges[i].npages = 3;
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, ranges, 512), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 1022);
    ranges[510].addr += 0x1000, ranges[510].npages = 3;
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, ranges, 512), 0); /* one block more does not fit: all of the PASID at once */
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 1);
    assert_int_equal(fake_found(qi_first_stage_all(1, 0)), 0);
}

/* Interrupts ----------------------------------------------------------------------------------------- */

static uint64_t irte(unsigned index, unsigned word)
{
    return ((const uint64_t *)host_phys(fake_get64(0xb8) & ~0xfffULL))[2 * index + word];
}

/* An entry is for one source-id, all of it (SVT 01, SQ 00), and one vector; taken away, it is gone from the unit's cache. */
static void test_interrupt_entries(void **state)
{
    (void)state;
    start_with_device();
    struct unit *u = dev.unit;
    assert_int_equal(remap_take(u, 0xabcd, 0x42, 3), 0);
    assert_int_equal(remap_take(u, DEVICE, 0x43, 0xff), 1);
    assert_int_equal(irte(0, 0), 1 | 0x42 << 16 | 3ULL << 40);
    assert_int_equal(irte(0, 1), 0xabcd | 1 << 18);
    assert_int_equal(irte(1, 0), 1 | 0x43 << 16 | 0xffULL << 40);
    assert_int_equal(fake.dones, 0); /* absent entries are not cached */
    assert_int_equal(remap_take(u, DEVICE, 0x43, 0x100), -NIDUS_EINVAL);
    assert_int_equal(remap_give(u, 0), 0);
    assert_int_equal(irte(0, 0) | irte(0, 1), 0);
    assert_int_equal(fake_found(qi_interrupt_entry(0)), 0);
    assert_int_equal(fake.dones, 1);
    assert_int_equal(remap_take(u, DEVICE, 0x44, 0), 0);
    for (int i = 2; i < 256; i++)
        assert_int_equal(remap_take(u, DEVICE, 0x44, 0), i);
    assert_int_equal(remap_take(u, DEVICE, 0x44, 0), -NIDUS_ENOSPC);
    assert_true(host_log_has("all 256 entries of its interrupt remapping table are in use"));
    fake.silent = true;
    assert_int_equal(remap_give(u, 5), -NIDUS_EIO);
}

/* In caching mode an absent entry may be remembered, and without snooping (C=0) an entry has to reach memory. */
static void test_interrupt_entries_of_another_unit(void **state)
{
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) | 1 << 7);
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~1ULL);
    start_with_device();
    assert_int_equal(remap_take(dev.unit, DEVICE, 0x42, 3), 0);
    assert_int_equal(fake_found(qi_interrupt_entry(0)), 0);
    assert_int_equal(host_walk64(fake_get64(0xb8) & ~0xfffULL, false), 1 | 0x42 << 16 | 3ULL << 40);
}

/* Faults --------------------------------------------------------------------------------------------- */

static void fault(uint64_t address, uint8_t reason, bool read)
{
    fake_fault(address, DEVICE, reason, read);
    host_log_clear();
    iommu_poll();
    assert_int_equal(fake_get32(REG_FSTS), 0);
}

static void failed_at(uint8_t stage, uint8_t level, uint8_t first_level, uint64_t gpa)
{
    assert_int_equal(last_fault.stage, stage);
    assert_int_equal(last_fault.level, level);
    assert_int_equal(last_fault.first_level, first_level);
    assert_int_equal(last_fault.flags & NIDUS_FAULT_GPA_VALID, gpa ? NIDUS_FAULT_GPA_VALID : 0);
    assert_int_equal(last_fault.gpa, gpa);
}

static void guest_word(uint64_t gpa, uint64_t value) { memcpy(host_guest_byte(guest, gpa), &value, 8); }

static void test_blocked_device_faults(void **state)
{
    (void)state;
    start_with_device();
    fault(0x12345000, 0x59, false);
    assert_int_equal(sunk, 1);
    assert_int_equal(last_fault.reason, 0x59);
    assert_int_equal(last_fault.access, NIDUS_FAULT_WRITE);
    assert_int_equal(last_fault.addr, 0x12345000);
    assert_int_equal(last_fault.dev_id, DEVICE);
    failed_at(NIDUS_FAULT_STAGE_NONE, 0, 0, 0);
    assert_true(host_log_has("guest web: fault: unit 0, 0000:00:04.0, write to 0x12345000: nothing is attached"));
    fake_fault(0x1000, 0x0018, 0x39, true);
    iommu_poll();
    assert_int_equal(sunk, 1);
    assert_true(host_log_has("0000:00:03.0 (no guest), read of 0x1000: root entry not present"));
}

static void test_interrupt_fault(void **state)
{
    (void)state;
    start_with_device();
    fault(0x002a000000000000, 0x22, false);
    failed_at(NIDUS_FAULT_STAGE_INTERRUPT, 0, 0, 0);
    assert_int_equal(last_fault.addr, 0x002a000000000000);
    assert_true(host_log_has("interrupt request 0x2a: interrupt remapping entry not present (22h)"));
}

static void test_second_stage_fault(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fault(0x7f00000000, 0x79, true);
    failed_at(NIDUS_FAULT_STAGE_SECOND, 3, 0, 0x7f00000000);
}

/* A first stage at 1 MiB: IOVA 0 -> tables at 1M+4K, 1M+8K, 1M+12K. */
static void make_tables(uint64_t leaf)
{
    guest_word(MB, (MB + 0x1000) | 0x27);
    guest_word(MB + 0x1000, (MB + 0x2000) | 0x27);
    guest_word(MB + 0x2000, (MB + 0x3000) | 0x27);
    guest_word(MB + 0x3000, leaf);
}

static void test_nested_faults(void **state)
{
    (void)state;
    start_with_device();
    make_domain(&domain, true);
    make_first(MB);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);

    make_tables(0);
    fault(0, 0x71, true);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 1, 0, 0);
    assert_true(host_log_has("first-stage entry not present (71h); first stage, level 1"));
    make_tables(0x200000 | 0x25);                       /* read-only */
    fault(0, 0x85, false);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 1, 0, 0);
    make_tables(0x200000 | 0x23);                       /* U/S=0 */
    fault(0, 0x81, true);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 1, 0, 0);
    make_tables(0x30000000 | 0x67);                     /* beyond the guest's memory */
    fault(0, 0x79, true);
    failed_at(NIDUS_FAULT_STAGE_SECOND, 2, 0, 0x30000000);
    guest_word(MB + 0x2000, 0x31000000 | 0x27);         /* a table page beyond it */
    fault(0x5000, 0x79, true);
    failed_at(NIDUS_FAULT_STAGE_SECOND, 2, 1, 0x31000028);
    assert_true(host_log_has("for the first-stage entry of level 1 at GPA 0x31000028"));
    guest_word(MB + 0x1000, (MB + 0x2000) | 0x27 | 0x80 | 0x2000); /* 1 GiB leaf, reserved bits */
    fault(0, 0x72, true);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 3, 0, 0);
    guest_word(MB, 1ULL << 48 | 0x27);                  /* wider than the second stage */
    fault(0, 0x74, true);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 4, 0, 0);

    /* The upper half: records have it cut off. */
    fault(0x0000ffffffffe000, 0x71, true);
    assert_int_equal(last_fault.addr, 0xffffffffffffe000);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 4, 0, 0);
    fault(0x0000ffffffffe000, 0x80, true);
    assert_int_equal(last_fault.addr, 0x0000ffffffffe000);

    /* The guest has repaired it meanwhile: no level is better than a wrong one. */
    make_tables(0x200000 | 0x67);
    fault(0, 0x71, true);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 0, 0, 0);
}

/* A first-stage table in memory that the second stage lets nobody write: A cannot be set. */
static void test_read_only_table_page(void **state)
{
    (void)state;
    start_with_device();
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), 0);
    assert_int_equal(engine_domain_map(&domain, 0, host_guest_hpa(guest, 0), 4 * MB, STAGE2_READ), 0);
    make_first(MB);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    make_tables(0x200000 | 0x67);
    guest_word(MB + 0x1000, (MB + 0x2000) | 0x07);      /* A clear */
    fault(0, 0x77, true);
    assert_int_equal(last_fault.stage, NIDUS_FAULT_STAGE_SECOND);
    assert_int_equal(last_fault.first_level, 3);
    assert_int_equal(last_fault.gpa, MB + 0x1000);

    /* Whether a write that the entry denies is to set A there is the unit's choice (3.6.2): the place follows from what it reports. */
    make_tables(0x200000 | 0x05);
    fault(0, 0x85, false);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 1, 0, 0);
    fault(0, 0x77, false);
    failed_at(NIDUS_FAULT_STAGE_SECOND, 2, 1, MB + 0x3000);
    fault(0, 0x90, false);
    failed_at(NIDUS_FAULT_STAGE_FIRST, 1, 0, 0);
}

/* One guest's storm is twenty lines a second, and hides no line of another; all is counted, per unit and per device. */
static void test_overflow_and_storm(void **state)
{
    (void)state;
    start_with_device();
    assign(&dev2, DEVICE + 1);
    dev2.owner = host_guest("db", 4 * MB);
    host_log_clear();
    for (unsigned i = 0; i < 100; i++) {
        fake_fault(0x1000, DEVICE, 0x59, true);
        iommu_poll();
    }
    assert_int_equal(sunk, 100);
    assert_int_equal(host_log_lines(), 20);
    fake_fault(0x2000, DEVICE + 1, 0x59, true);
    iommu_poll();
    assert_true(host_log_has("guest db: fault: unit 0, 0000:00:04.1, read of 0x2000"));
    assert_int_equal(dev.faults, 100);
    assert_int_equal(dev2.faults, 1);
    assert_int_equal(dev.unit->faults, 101);
    dev2.owner = guest;
    host_log_clear();
    for (unsigned i = 0; i < 100; i++) { /* nobody's */
        fake_fault(0x1000, 0x18, 0x39, true);
        iommu_poll();
    }
    assert_int_equal(host_log_lines(), 20);
    host_time_advance(1000000000);
    fake_fault(0x1000, DEVICE, 0x59, true);
    fake_set32(REG_FSTS, 3);
    iommu_poll();
    assert_true(host_log_has("80 more faults, not printed"));
    assert_true(host_log_has("more faults than it can record"));
    assert_int_equal(lost, 2);
    assert_int_equal(fake_get32(REG_FSTS), 0);
}

static void test_unit_that_vanished(void **state)
{
    (void)state;
    start_with_device();
    memset(fake.page, 0xff, sizeof fake.page);
    host_log_clear();
    iommu_poll();
    iommu_poll();
    assert_int_equal(host_log_lines(), 1);
    assert_true(dev.unit->dead);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The message of a unit's events; a unit without page requests has one event less, and no unit waits by interrupt. */
static void test_interrupts(void **state)
{
    (void)state;
    start_with_device();
    assert_int_equal(fake_get32(REG_FECTL), 0x80000000);
    assert_true(iommu_interrupts(0xfee01000, 0x31));
    assert_int_equal(fake_get32(REG_FECTL), 0);
    assert_int_equal(fake_get32(0x3c), 0x31);
    assert_int_equal(fake_get32(0x40), 0xfee01000);
    assert_int_equal(fake_get32(0x44), 0);
    assert_int_equal(fake_get32(REG_IECTL), 0x80000000);
    assert_int_equal(fake_get32(0xe8), 0);
    /* A processor beyond the 256th needs the extended mode, which this unit has. */
    assert_true(iommu_interrupts(0x12fee34000, 0x31));
    assert_int_equal(fake_get32(0x44), 0x12);
}

static void test_unit_that_cannot_interrupt(void **state)
{
    (void)state;
    start_with_device();
    dev.unit->ecap &= ~ECAP_EIM;
    assert_true(iommu_interrupts(0xfee01000, 0x31));
    fake_set32(REG_FECTL, 0x80000000);
    assert_false(iommu_interrupts(0x1fee01000, 0x31));
    assert_int_equal(fake_get32(REG_FECTL), 0x80000000);
    assert_true(host_log_has("it cannot interrupt this processor"));
}

/* Nothing is announced any more while something is pending: no error of the queue stays, and where a record is left it is said. */
static void test_nothing_stays_pending(void **state)
{
    (void)state;
    start_with_device();
    assert_false(iommu_poll());
    fake_set32(REG_FSTS, FSTS_ICE | FSTS_ITE);
    host_log_clear();
    assert_false(iommu_poll());
    assert_int_equal(fake_get32(REG_FSTS), 0);
    assert_true(host_log_has("answered an invalidation that it was not asked for"));
    fake_fault(0x1000, DEVICE, 0x59, true);
    assert_false(iommu_poll());
    fake_set32(REG_FSTS, FSTS_PPF); /* a record that the round does not reach */
    assert_true(iommu_poll());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_bring_up), T(test_one_bit_at_a_time), T(test_what_is_missing_is_named), T(test_no_table), T(test_nothing_there),
        T(test_command_that_is_ignored), T(test_take_over), T(test_take_over_without_a_gap), T(test_protection_that_firmware_left),
        T(test_stuck_foreign_queue), T(test_errata_policy), T(test_assigned_device_is_blocked), T(test_refused_devices),
        T(test_fini_gives_all_back), T(test_no_memory), T(test_second_stage_entry), T(test_nested_entry),
        T(test_unit_that_does_not_snoop), T(test_present_last), T(test_detach), T(test_domain_ids), T(test_no_domain_id_left),
        T(test_refused_replace), T(test_first_stage_checks), T(test_unit_without_nesting), T(test_read_only_under_a_first_stage),
        T(test_unmap_invalidates_every_child), T(test_unmap_of_more_than_one_block), T(test_caching_mode),
        T(test_merge_invalidates_before_it_frees), T(test_dirty_tracking_keeps_small_leaves), T(test_merge_without_an_answer), T(test_unmap_without_an_answer),
        T(test_invalidated_ranges), T(test_many_ranges_are_one_submission),
        T(test_interrupt_entries), T(test_interrupt_entries_of_another_unit), T(test_blocked_device_faults), T(test_interrupt_fault), T(test_second_stage_fault), T(test_nested_faults),
        T(test_read_only_table_page), T(test_overflow_and_storm), T(test_unit_that_vanished), T(test_interrupts),
        T(test_unit_that_cannot_interrupt), T(test_nothing_stays_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
