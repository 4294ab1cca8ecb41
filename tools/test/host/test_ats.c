/* SPDX-License-Identifier: BSD-2-Clause */
/* test_ats.c: devices with a TLB of their own: who may use it, in which order it goes on and off, what it is told to forget, and what
 * happens to one that does not answer (VT-d 5.10 chapter 4, sections 6.5.2.5 to 6.5.2.12, 8.8, 8.9). */
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
#include "tools/test/host/ranges.h"

#define MB     0x100000ULL
#define RW     (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020u
#define OTHER  0x0028u
#define ATS    0x140u           /* where its capability lies */
#define PRI    0x150u

static struct guest *guest, *neighbour;
static struct device dev, other;
static struct domain domain, domain2;
static struct first_stage first;
static struct nidus_fault last_fault;
static unsigned sunk;
static char reason[160];

void engine_fault_sink(struct device *d, const struct nidus_fault *fault)
{
    assert_int_equal(d->id, fault->dev_id);
    last_fault = *fault;
    sunk++;
}

void engine_fault_lost(struct device *d) { (void)d; }
bool engine_page_request(struct device *d, const struct engine_page_request *r) { (void)d, (void)r; return false; }

/* The DMAR table: the unit, and what a test adds. */
static uint8_t dmar[512];

static void dmar_add(const uint8_t *structure)
{
    memcpy(dmar + dmar[4], structure, structure[2]);
    dmar[4] = (uint8_t)(dmar[4] + structure[2]);
}

static void put16(uint8_t *config, unsigned offset, uint16_t value) { memcpy(config + offset, &value, 2); }

static struct host_function *function_with_ats(uint16_t bdf, unsigned depth)
{
    struct host_function *f = host_function_add(0, bdf);
    put16(f->config, 0x100, 0x0001); /* another capability first */
    put16(f->config, 0x102, ATS << 4);
    put16(f->config, ATS, 0x000f);
    put16(f->config, ATS + 2, PRI << 4);
    put16(f->config, ATS + 4, (uint16_t)depth);
    put16(f->config, PRI, 0x0013);
    put16(f->config, PRI + 8, 64);
    return f;
}

static int setup(void **state)
{
    static const uint8_t drhd[] = { 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0 };
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) | ECAP_PRS);
    guest = host_guest("web", 64 * MB);
    neighbour = host_guest("db", 64 * MB);
    function_with_ats(DEVICE, 8);
    function_with_ats(OTHER, 0);
    memset(dmar, 0, sizeof dmar);
    memcpy(dmar, "DMAR", 4);
    dmar[4] = 48;
    dmar[36] = 51;
    dmar[37] = 1;
    dmar_add(drhd);
    dev = other = (struct device){ 0 };
    sunk = 0;
    return 0;
}

static int teardown(void **state)
{
    host_config_hook = NULL;
    fake.deaf[0] = fake.deaf[1] = 0;
    if (dev.unit)
        assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    if (other.unit)
        assert_int_equal(engine_detach(&other, ENGINE_NO_PASID), 0);
    return fake_units_free(state);
}

static const uint8_t satc[] = { 5, 0, 16, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 4, 0 };          /* 00:04.0 */
static const uint8_t satc_required[] = { 5, 0, 16, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 4, 0 };
static const uint8_t atsr_all[] = { 2, 0, 8, 0, 1, 0, 0, 0 };

static void add_sidp(uint8_t flags)
{
    const uint8_t sidp[] = { 6, 0, 16, 0, 0, 0, 0, 0, 1, 8, flags, 0, 0, 0, 4, 0 };
    dmar_add(sidp);
}

static void start(void)
{
    iommu_init(dmar, dmar[4], IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    host_log_clear();
}

static bool assign(struct device *d, uint16_t source_id, struct guest *owner, enum iommu_ats_policy ats)
{
    *d = (struct device){ .source_id = source_id, .owner = owner, .id = source_id, .policy = { .ats = ats } };
    return engine_device_init(d, reason);
}

static void refused(enum iommu_ats_policy ats, const char *why)
{
    start();
    assert_false(assign(&dev, DEVICE, guest, ats));
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

/* What hardware reads. */
static uint64_t context_word(uint16_t source_id)
{
    const uint64_t *root = host_phys(fake_get64(0x20) & ~0xfffULL);
    return ((const uint64_t *)host_phys(root[source_id >> 8 << 1 | (source_id >> 7 & 1)] & ~0xfffULL))[(source_id & 127) * 4];
}

static uint64_t pasid_word(uint16_t source_id, unsigned word)
{
    const uint64_t *directory = host_phys(context_word(source_id) & ~0xfffULL);
    return ((const uint64_t *)host_phys(directory[0] & ~0xfffULL))[word];
}

static bool ats_is_on(uint16_t bdf) { return host_function(0, bdf)->config[ATS + 7] & 0x80; }

static void make_domain(struct domain *d, const struct device *of, bool nest_parent)
{
    assert_int_equal(engine_domain_init(d, of, nest_parent, of->owner), 0);
    assert_int_equal(engine_domain_map(d, 0, host_guest_hpa(of->owner, 0), 64 * MB, RW), 0);
}

/* dev attached to a first stage, ATS on. */
static void start_nested(void)
{
    dmar_add(satc);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_ON));
    make_domain(&domain, &dev, true);
    first = (struct first_stage){ .parent = &domain, .pgtbl = 0x123000, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    fake_forget();
    host_log_clear();
}

static const struct qi_device to_dev = { .source_id = DEVICE, .physical = DEVICE, .pending = 8 };

/* Who may ------------------------------------------------------------------------------------------- */

static void test_off_unless_asked_for(void **state)
{
    (void)state;
    dmar_add(satc);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_OFF));
    assert_false(context_word(DEVICE) & 4);
    make_domain(&domain, &dev, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_false(ats_is_on(DEVICE));
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 0, 64 * MB), 0);
    for (unsigned i = 0; i < fake.dones; i++)
        assert_int_not_equal(fake.done[i].word[0] & 15, 3);
}

static void test_on_for_a_device_in_satc(void **state)
{
    (void)state;
    dmar_add(satc);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_ON));
    assert_true(context_word(DEVICE) & 4);
    assert_true(host_log_has("0000:00:04.0: ATS is allowed, as firmware vouches for it"));
    assert_false(assign(&other, OTHER, guest, IOMMU_ATS_ON)); /* not in it */
    assert_non_null(strstr(reason, "ats=trust allows it still"));
}

static void test_on_for_a_hardened_device_in_sidp(void **state)
{
    (void)state;
    add_sidp(8);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_ON));
}

/* Where there is an SIDP, SATC says nothing. */
static void test_sidp_overrides_satc(void **state)
{
    (void)state;
    dmar_add(satc);
    add_sidp(0);
    refused(IOMMU_ATS_ON, "firmware does not vouch for it");
}

static void test_trust_says_what_is_given_up(void **state)
{
    (void)state;
    dmar_add(atsr_all);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_TRUST));
    assert_true(host_log_has("(ats=trust)"));
    assert_true(host_log_has("what it sends as translated reaches all memory of the machine, unchecked"));
}

static void test_trust_needs_a_port(void **state)
{
    (void)state;
    refused(IOMMU_ATS_TRUST, "no port for it (ATSR)");
}

static void test_unit_without_device_tlbs(void **state)
{
    (void)state;
    dmar_add(satc);
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~(4ULL | ECAP_PRS));
    refused(IOMMU_ATS_ON, "ECAP.DT=0");
}

static void test_device_without_ats(void **state)
{
    (void)state;
    dmar_add(satc);
    put16(host_function(0, DEVICE)->config, ATS, 0x0019);
    refused(IOMMU_ATS_ON, "the device does not have it");
}

static void test_device_that_needs_ats(void **state)
{
    (void)state;
    dmar_add(satc_required);
    refused(IOMMU_ATS_OFF, "ats=on in the device's line");
}

static void test_device_that_needs_ats_by_sidp(void **state)
{
    (void)state;
    add_sidp(0x10);
    refused(IOMMU_ATS_OFF, "ats=on in the device's line");
}

/* SIDP's other flags hold without ATS. */
static void test_sidp_forbids_nested(void **state)
{
    (void)state;
    add_sidp(1);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_OFF));
    make_domain(&domain, &dev, true);
    first = (struct first_stage){ .parent = &domain, .pgtbl = 0x123000, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), -NIDUS_EINVAL);
    assert_true(host_log_has("does not allow nested translation for device 32 (SIDP)"));
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
}

/* PWSNP=0: the walk does not see caches, so the table is written back, and one that is not cannot be used. */
static void test_sidp_forbids_snooping_walks(void **state)
{
    (void)state;
    add_sidp(2);
    host_function_add(0, 0x30);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_OFF));
    assert_true(assign(&other, 0x30, guest, IOMMU_ATS_OFF));
    make_domain(&domain, &dev, false);
    make_domain(&domain2, &other, false);
    assert_false(domain.table.coherent);
    assert_true(domain2.table.coherent);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain2, NULL), -NIDUS_EINVAL);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_word(DEVICE, 1) & (3 << 23), 2 << 23);
    /* The same DID would mean the same PWSNP: the other gets one of its own. */
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_word(0x30, 1) & (3 << 23), 3 << 23);
    assert_int_not_equal(pasid_word(0x30, 1) & 0xffff, pasid_word(DEVICE, 1) & 0xffff);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    assert_true(fake_found(qi_iotlb_pages((uint16_t)pasid_word(0x30, 1), 0, 18)) >= 0);
    assert_true(fake_found(qi_iotlb_pages((uint16_t)pasid_word(DEVICE, 1), 0, 18)) >= 0);
}

static void test_sidp_forbids_snooping_pages(void **state)
{
    (void)state;
    add_sidp(4);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_OFF));
    make_domain(&domain, &dev, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(pasid_word(DEVICE, 1) & (3 << 23), 1 << 23);
}

/* Order ---------------------------------------------------------------------------------------------- */

static bool was_ready, seen;

/* ATS goes on when the unit is ready for it, and off before anything is taken away. */
static void look_at_order(uint16_t bdf, uint16_t offset, uint32_t value)
{
    if (bdf != DEVICE || offset != ATS + 6)
        return;
    seen = true;
    was_ready = context_word(DEVICE) & 4 && pasid_word(DEVICE, 0) & 1 && fake.dones == 0;
    assert_int_equal(value, host_function(0, DEVICE)->config[ATS + 7] << 8);
}

static void test_order_of_on_and_off(void **state)
{
    (void)state;
    dmar_add(satc);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_ON));
    make_domain(&domain, &dev, false);
    fake_forget();
    host_config_hook = look_at_order;
    seen = false;
    assert_false(ats_is_on(DEVICE));
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_true(seen && was_ready && ats_is_on(DEVICE));
    seen = was_ready = false;
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_true(seen && was_ready && !ats_is_on(DEVICE));
    /* PASID cache, IOTLB, then the device's: 7.2. */
    assert_int_equal(fake_found(qi_pasid_one(1, 0)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), 2);
    assert_int_equal(fake.dones, 3);
}

/* Invalidations -------------------------------------------------------------------------------------- */

static void test_first_stage_ranges(void **state)
{
    (void)state;
    start_nested();
    struct range range = { 0x1000, 3, true };
    assert_int_equal(invalidate_ranges(&first, &range, 1), 0);
    assert_int_equal(fake.dones, 5);
    assert_int_equal(fake_found(first_stage_pages(1, 0, 0x1000, 0, true)), 0);
    assert_int_equal(fake_found(first_stage_pages(1, 0, 0x2000, 1, true)), 1);
    assert_int_equal(fake_found(qi_fence()), 2);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0x1000, 0)), 3);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0x2000, 1)), 4);
    fake_forget();
    struct range all = { 0, UINT64_MAX, false };
    assert_int_equal(invalidate_ranges(&first, &all, 1), 0);
    assert_int_equal(fake_found(qi_first_stage_all(1, 0)), 0);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), 2);
}

/* Pages of the device's TLB for which there is no room behind the IOTLB's, and the fence, are everything. */
static void test_first_stage_ranges_that_do_not_fit(void **state)
{
    static struct range ranges[511];
    (void)state;
    start_nested();
    for (unsigned i = 0; i < 511; i++)
        ranges[i] = (struct range){ i * 0x10000ULL, 1, true };
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, ranges, 510), 0);
    assert_int_equal(fake.dones, 510 + 1 + 510);
    assert_int_equal(fake.tail_writes, 1);
    fake_forget();
    assert_int_equal(invalidate_ranges(&first, ranges, 511), 0);
    assert_int_equal(fake.dones, 511 + 1 + 1);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), 511 + 1);
}

/* What is nested on a second stage is kept by addresses that nidus does not know: all of it goes. */
static void test_second_stage_under_a_first(void **state)
{
    (void)state;
    start_nested();
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    assert_int_equal(fake_found(qi_iotlb_pages(1, 0, 18)), 0);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), 1);
}

/* How often the queue performed it. */
static unsigned times(struct qi_descriptor d)
{
    unsigned n = 0;
    for (unsigned i = 0; i < fake.dones; i++)
        n += !memcmp(&fake.done[i], &d, sizeof d);
    return n;
}

/* Whatever the entry says instead, and however it gets there: the device forgets what it had, behind the IOTLB. */
static void test_replaced_table(void **state)
{
    (void)state;
    struct first_stage other_first;
    start_nested();
    other_first = (struct first_stage){ .parent = &domain, .pgtbl = 0x456000, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&other_first, &dev), 0);
    struct first_stage *const to[] = { &other_first, NULL, &first };
    for (unsigned i = 0; i < 3; i++) {
        fake_forget();
        assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, to[i]), 0);
        assert_int_equal(times(qi_device_tlb(to_dev, 0, QI_ALL)), 1);
        assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), (int)fake.dones - 1);
        assert_true(ats_is_on(DEVICE));
    }
    engine_first_stage_fini(&other_first);
}

/* Extended capability 1Bh behind the others: 20 bits of PASIDs. */
static void has_pasids(uint16_t bdf)
{
    uint8_t *config = host_function(0, bdf)->config;
    put16(config, PRI + 2, 0x160 << 4);
    put16(config, 0x160, 0x001b);
    put16(config, 0x164, 20 << 8);
}

/* dev attached to one table, to which other has the same PASID attached where shared, then to another one; no table: detached. */
struct change {
    struct { struct domain *d; struct first_stage *f; } from, to;
    bool shared;
};

/* The unit refuses the n-th descriptor of it, from 0: the device forgets all that it has of the PASID, behind the IOTLB.  false: there is no
 * n-th one. */
static bool forgets_where_refused(const struct change *c, uint32_t pasid, int n)
{
    const struct qi_descriptor tlb = pasid ? qi_device_tlb_pasid(to_dev, pasid, 0, QI_ALL) : qi_device_tlb(to_dev, 0, QI_ALL);
    assert_int_equal(engine_attach(&dev, pasid, c->from.d, c->from.f), 0);
    if (c->shared)
        assert_int_equal(engine_attach(&other, pasid, c->from.d, c->from.f), 0);
    fake_forget();
    fake.refuses = n;
    assert_int_equal(c->to.d || c->to.f ? engine_attach(&dev, pasid, c->to.d, c->to.f) : engine_detach(&dev, pasid), 0);
    bool refused = fake.refuses < 0;
    int iotlb = fake_found(qi_iotlb_global());
    fake.refuses = -1;
    assert_int_equal(iotlb >= 0, refused);
    if (refused && ((unsigned)iotlb + 1 >= fake.dones || memcmp(&fake.done[iotlb + 1], &tlb, sizeof tlb)))
        fail_msg("PASID %u, descriptor %d: the device's TLB is not told behind the IOTLB", pasid, n);
    assert_int_equal(engine_detach(&dev, pasid), 0);
    assert_int_equal(engine_detach(&other, pasid), 0);
    return refused;
}

/* Whatever was refused, of detach and of each way in which an entry comes to say something else (attach.c): not the IOTLB alone is made
 * good, but the device's TLB, too. */
static void test_refused_invalidation_is_made_good_for_the_device(void **state)
{
    struct first_stage sibling, stranger;
    const struct change changes[] = {
        { { NULL, &first }, { NULL, NULL }, false },
        { { &domain, NULL }, { NULL, NULL }, false },
        { { NULL, &first }, { NULL, &stranger }, false },   /* with a gap */
        { { &domain, NULL }, { &domain2, NULL }, false },
        { { NULL, &first }, { &domain, NULL }, false },
        { { &domain, NULL }, { NULL, &first }, false },
        { { NULL, &first }, { NULL, &sibling }, false },    /* in place */
        { { NULL, &first }, { NULL, &sibling }, true },     /* … under a DID of its own, which it gets first */
    };
    (void)state;
    fake_set64(REG_ECAP, (fake_get64(REG_ECAP) & ~BITS(39, 35)) | ECAP_PASID | 19ULL << 35);
    has_pasids(DEVICE);
    has_pasids(OTHER);
    dmar_add(atsr_all);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_TRUST));
    assert_true(assign(&other, OTHER, guest, IOMMU_ATS_TRUST));
    make_domain(&domain, &dev, true);
    make_domain(&domain2, &dev, true);
    first = (struct first_stage){ .parent = &domain, .pgtbl = 0x123000, .levels = 4 };
    sibling = (struct first_stage){ .parent = &domain, .pgtbl = 0x456000, .levels = 4 };
    stranger = (struct first_stage){ .parent = &domain2, .pgtbl = 0x789000, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_first_stage_init(&sibling, &dev), 0);
    assert_int_equal(engine_first_stage_init(&stranger, &dev), 0);
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++)
        for (uint32_t pasid = ENGINE_NO_PASID; pasid <= 5; pasid += 5) {
            int n = 0;
            while (forgets_where_refused(&changes[i], pasid, n))
                n++;
            assert_true(n >= 4); /* PASID cache, IOTLB, device TLB, wait */
        }
    engine_first_stage_fini(&stranger);
    engine_first_stage_fini(&sibling);
}

/* Of dirty tracking the same holds for each device that has the table, by whatever way. */
static void test_refused_tracking_is_made_good_for_all_devices(void **state)
{
    const struct qi_device to_other = { .source_id = OTHER, .physical = OTHER };
    const struct qi_descriptor tlbs[] = {
        qi_device_tlb(to_dev, 0, QI_ALL), qi_device_tlb_pasid(to_dev, 5, 0, QI_ALL), qi_device_tlb(to_other, 0, QI_ALL),
    };
    bool refused = true;
    (void)state;
    fake_set64(REG_ECAP, (fake_get64(REG_ECAP) & ~BITS(39, 35)) | ECAP_PASID | 19ULL << 35 | ECAP_SSADS);
    has_pasids(DEVICE);
    dmar_add(atsr_all);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_TRUST));
    assert_true(assign(&other, OTHER, guest, IOMMU_ATS_TRUST));
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT | ENGINE_DIRTY, guest), 0);
    first = (struct first_stage){ .parent = &domain, .pgtbl = 0x123000, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(engine_attach(&dev, 5, NULL, &first), 0);
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, NULL, &first), 0);
    for (int n = 0; refused; n++) {
        fake_forget();
        fake.refuses = n;
        assert_int_equal(engine_domain_track(&domain, n % 2 == 0), 0);
        refused = fake.refuses < 0;
        int iotlb = fake_found(qi_iotlb_global());
        fake.refuses = -1;
        assert_int_equal(iotlb >= 0, refused);
        for (unsigned i = 0; refused && i < sizeof tlbs / sizeof tlbs[0]; i++) {
            int at = -1;
            for (unsigned done = (unsigned)iotlb + 1; done < fake.dones; done++)
                if (!memcmp(&fake.done[done], &tlbs[i], sizeof tlbs[i]))
                    at = (int)done;
            if (at < 0)
                fail_msg("descriptor %d: device TLB %u is not told behind the IOTLB", n, i);
        }
        assert_true(refused || n >= 9); /* three of each table's, three of devices … */
    }
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_int_equal(engine_detach(&dev, 5), 0);
    assert_int_equal(engine_detach(&other, ENGINE_NO_PASID), 0);
}

static void test_second_stage_alone(void **state)
{
    (void)state;
    dmar_add(satc);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_ON));
    make_domain(&domain, &dev, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    assert_int_equal(fake_found(qi_iotlb_pages(1, 0, 18)), 0);
    assert_int_equal(fake_found(qi_device_tlb(to_dev, 0, QI_ALL)), 1);
}

/* Without throttling (DIT=0) PFSID is reserved. */
static void test_unit_without_throttling(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~(1ULL << 41));
    start_nested();
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_true(fake_found(qi_device_tlb((struct qi_device){ .source_id = DEVICE }, 0, QI_ALL)) >= 0);
}

/* SR-IOV: a virtual function has its physical function's unit, word of firmware, and queue. */
static void test_virtual_function(void **state)
{
    struct host_function *pf = function_with_ats(0x0100, 4), *vf = function_with_ats(0x0182, 0);
    static const uint8_t satc_pf[] = { 5, 0, 16, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 1, 0, 0 }; /* 01:00.0 */
    (void)state;
    put16(pf->config, 0x102, 0x180 << 4);
    put16(pf->config, 0x180, 0x0010);
    put16(pf->config, 0x182, ATS << 4);
    put16(pf->config, 0x180 + 0x10, 3);     /* NumVFs */
    put16(pf->config, 0x180 + 0x14, 0x80);  /* 01:10.0, */
    put16(pf->config, 0x180 + 0x16, 2);     /* 01:10.2, 01:10.4 */
    put16(vf->config, 0, 0xffff);
    dmar_add(satc_pf);
    start();
    assert_int_equal(unit_physical_function(0, 0x0182), 0x0100);
    assert_int_equal(unit_physical_function(0, 0x0184), 0x0100);
    assert_int_equal(unit_physical_function(0, 0x0181), 0x0181); /* between two */
    assert_int_equal(unit_physical_function(0, 0x0186), 0x0186); /* a fourth */
    assert_int_equal(unit_physical_function(0, 0x0100), 0x0100);
    assert_true(assign(&dev, 0x0182, guest, IOMMU_ATS_ON));
    make_domain(&domain, &dev, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_true(ats_is_on(0x0182));
    assert_false(ats_is_on(0x0100));
    fake_forget();
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_true(fake_found(qi_device_tlb((struct qi_device){ 0x0182, 0x0100, 4 }, 0, QI_ALL)) >= 0);
}

/* Devices that do not answer ------------------------------------------------------------------------- */

static void start_two(void)
{
    dmar_add(atsr_all);
    start();
    assert_true(assign(&dev, DEVICE, guest, IOMMU_ATS_TRUST));
    assert_true(assign(&other, OTHER, guest, IOMMU_ATS_TRUST));
    make_domain(&domain, &dev, false);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, &domain, NULL), 0);
    fake_forget();
    host_log_clear();
}

static void is_shut_out(struct device *d, uint16_t source_id)
{
    assert_false(context_word(source_id) & 4);
    assert_true(context_word(source_id) & 1);
    assert_false(ats_is_on(source_id));
    assert_false(host_function(0, source_id)->bus_master);
    assert_true(d->tlb.lost && !d->tlb.on && !d->tlb.wanted);
    assert_true(fake_found(qi_context_device(source_id)) >= 0);
    assert_true(fake_found(qi_iotlb_global()) > fake_found(qi_pasid_global()));
    assert_true(fake_found(qi_pasid_global()) > fake_found(qi_context_device(source_id)));
}

/* It is named and shut out, its guest told; the request happens for everybody else, and no page that it takes away is reached again. */
static void unanswered(bool refetches, unsigned lags)
{
    const struct qi_device to_other = { .source_id = OTHER, .physical = OTHER };
    start_two();
    fake.deaf[0] = DEVICE;
    fake.refetches = refetches;
    fake.lags = lags;
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    assert_int_equal(fake.unanswered, 1);
    is_shut_out(&dev, DEVICE);
    assert_true(host_log_has("0000:00:04.0 (web) does not answer invalidations of its TLB"));
    assert_int_equal(host_log_lines(), 1);
    assert_int_equal(sunk, 1);
    assert_int_equal(last_fault.flags, NIDUS_FAULT_DEVICE_TLB);
    assert_int_equal(last_fault.dev_id, DEVICE);
    assert_false(dev.unit->dead);
    /* Of what went with it nothing is certain: all of it is there once more, behind the time-out. */
    assert_int_equal(times(qi_device_tlb(to_other, 0, QI_ALL)), 2);
    assert_int_equal(times(qi_iotlb_pages(1, 0, 18)), 2);
    assert_true(ats_is_on(OTHER));
    assert_true(host_function(0, OTHER)->bus_master);
    /* It is not asked again. */
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 2 * MB, 2 * MB), 0);
    assert_int_equal(fake.unanswered, 1);
    assert_int_equal(times(qi_device_tlb(to_other, 0, QI_ALL)), 1);
    assert_true(engine_device_fenced(&dev));
    assert_false(engine_device_fenced(&other));
    /* It can be attached again, without ATS and without Bus Master. */
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, &domain, NULL), 0);
    assert_false(ats_is_on(DEVICE));
    assert_false(host_function(0, DEVICE)->bus_master);
}

static void test_device_that_does_not_answer(void **state) { (void)state, unanswered(false, 0); }
static void test_aborted_wait_that_is_fetched_again(void **state) { (void)state, unanswered(true, 0); }
/* The request is made again when the unit has fetched all of it, not before. */
static void test_unit_that_fetches_late(void **state)
{
    (void)state;
    unanswered(false, 3);
    assert_int_equal(fake.lags, 0);
}

/* The last of the request is repeated as well. */
static void test_answer_behind_one_that_is_missing(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = OTHER;
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    is_shut_out(&other, OTHER);
    assert_int_equal(times(qi_device_tlb(to_dev, 0, QI_ALL)), 2);
}

static void test_two_that_do_not_answer(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = DEVICE;
    fake.deaf[1] = OTHER;
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    is_shut_out(&dev, DEVICE);
    is_shut_out(&other, OTHER);
    assert_int_equal(sunk, 2);
    assert_int_equal(host_log_lines(), 2);
}

/* A unit that does not tell which it was: all that were asked. */
static void test_time_out_without_a_name(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = DEVICE;
    fake.nameless = true;
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), 0);
    assert_int_equal(fake.unanswered, 1);
    is_shut_out(&dev, DEVICE);
    is_shut_out(&other, OTHER);
}

/* While it is detached: nothing of it stays, and the guest's end is not held up. */
static void test_detach_of_a_device_that_does_not_answer(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = DEVICE;
    assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
    is_shut_out(&dev, DEVICE);
    assert_int_equal(pasid_word(DEVICE, 0), 0);
    assert_int_equal(engine_device_fini(&dev), 0);
}

static void fall_silent(uint16_t bdf, uint16_t offset, uint32_t value) { (void)bdf, (void)offset, (void)value, fake.silent = true; }

/* The unit falls silent while the device is being shut out: the request has failed, and both are off. */
static void test_unit_that_falls_silent_then(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = DEVICE;
    host_config_hook = fall_silent;
    assert_int_equal(engine_domain_unmap(&domain, 0, 2 * MB), -NIDUS_EIO);
    assert_true(dev.unit->dead);
    assert_false(host_function(0, DEVICE)->bus_master);
    assert_false(host_function(0, OTHER)->bus_master);
    fake.silent = dev.unit->dead = false;
}

/* The largest request, and the ring's end within it. */
static void test_time_out_of_a_full_ring(void **state)
{
    static struct range ranges[500];
    (void)state;
    start_nested();
    for (unsigned i = 0; i < 500; i++)
        ranges[i] = (struct range){ i * 0x10000ULL, 1, true };
    for (unsigned round = 0; round < 7; round++) {
        dev.tlb = (struct device_tlb){ .wanted = true, .on = true, .physical = DEVICE, .pending = 8 };
        fake.deaf[0] = DEVICE;
        fake.refetches = round % 2;
        fake_forget();
        assert_int_equal(invalidate_ranges(&first, ranges, 500), 0);
        for (unsigned i = 0; i < 500; i++) { /* each was performed again */
            if (times(first_stage_pages(1, 0, i * 0x10000ULL, 0, true)) != 2)
                fail_msg("round %u, range %u", round, i);
        }
        assert_false(dev.unit->dead);
    }
}

/* One that falls silent in the first part of a request that is larger than the ring is shut out by that request, though its last part has
 * nothing for a device any more: once it has returned, what it took away may be another's. */
static void test_time_out_in_the_first_part_of_a_request(void **state)
{
    (void)state;
    start_two();
    fake.deaf[0] = DEVICE;
    platform_lock(&dev.unit->lock);
    qi_add(dev.unit, qi_device_tlb(to_dev, 0, QI_ALL));
    for (unsigned i = 0; i < QI_ROOM; i++)
        qi_add(dev.unit, qi_iotlb_domain(1));
    assert_true(dev.tlb.lost);
    assert_false(dev.unit->qi.device_tlb);
    assert_int_equal(qi_finish(dev.unit), 0);
    platform_unlock(&dev.unit->lock);
    is_shut_out(&dev, DEVICE);
    assert_int_equal(sunk, 1);
    assert_false(dev.unit->device_lost);
    assert_true(ats_is_on(OTHER));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_off_unless_asked_for), T(test_on_for_a_device_in_satc), T(test_on_for_a_hardened_device_in_sidp),
        T(test_sidp_overrides_satc), T(test_trust_says_what_is_given_up), T(test_trust_needs_a_port), T(test_unit_without_device_tlbs),
        T(test_device_without_ats), T(test_device_that_needs_ats), T(test_device_that_needs_ats_by_sidp), T(test_sidp_forbids_nested),
        T(test_sidp_forbids_snooping_walks), T(test_sidp_forbids_snooping_pages), T(test_order_of_on_and_off),
        T(test_refused_tracking_is_made_good_for_all_devices), T(test_first_stage_ranges), T(test_first_stage_ranges_that_do_not_fit), T(test_second_stage_under_a_first), T(test_replaced_table), T(test_refused_invalidation_is_made_good_for_the_device), T(test_second_stage_alone), T(test_unit_without_throttling),
        T(test_virtual_function), T(test_device_that_does_not_answer), T(test_aborted_wait_that_is_fetched_again), T(test_unit_that_fetches_late),
        T(test_answer_behind_one_that_is_missing), T(test_two_that_do_not_answer), T(test_time_out_without_a_name), T(test_detach_of_a_device_that_does_not_answer),
        T(test_unit_that_falls_silent_then), T(test_time_out_of_a_full_ring), T(test_time_out_in_the_first_part_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
