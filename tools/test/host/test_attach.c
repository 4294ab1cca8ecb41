/* SPDX-License-Identifier: BSD-2-Clause */
/* PASIDs, domain ids that tables share, and entries that are replaced while they are present (VT-d 5.10 section 6.2.3.1, table 28). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/attach.h"
#include "iommu/registers.h"
#include "iommu/tables.h"
#include "iommu/unit.h"
#include "tools/test/host/fake_unit.h"
#include "tools/test/host/ranges.h"

#define MB     (1ULL << 20)
#define RW     (STAGE2_READ | STAGE2_WRITE)
#define DEVICE 0x0020
#define OTHER  0x0028
#define PASIDS (1ULL << 40)     /* ECAP.PASID */
#define PSS    BITS(39, 35)

static struct guest *guest;
static struct device dev, other;
static struct domain domain, second;
static struct first_stage first[4];

void engine_fault_sink(struct device *d, const struct nidus_fault *fault) { (void)d, (void)fault; }
void engine_fault_lost(struct device *d) { (void)d; }

bool engine_page_request(struct device *d, const struct engine_page_request *r)
{
    (void)d, (void)r;
    return false;
}

/* Extended capability 1Bh at 100h: the PASIDs that the function may send. */
static void has_pasids(uint16_t bdf, uint8_t width)
{
    struct host_function *f = host_function(0, bdf);
    f->config[0x100] = 0x1b;
    f->config[0x105] = width;
}

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    fake_unit_add();
    fake_set64(REG_ECAP, (fake_get64(REG_ECAP) & ~PSS) | PASIDS | 19ULL << 35);
    guest = host_guest("web", 64 * MB);
    host_function_add(0, DEVICE);
    host_function_add(0, OTHER);
    has_pasids(DEVICE, 20);
    has_pasids(OTHER, 20);
    dev = other = (struct device){ 0 };
    return 0;
}

static void detach_all(struct device *d)
{
    for (uint32_t pasid = 0; d->pasid_directory && engine_next_attached(d, &pasid); pasid++)
        assert_int_equal(engine_detach(d, pasid), 0);
}

static int teardown(void **state)
{
    host_store_hook = NULL;
    fake.silent = false;
    fake.refuses = -1;
    for (struct unit *u = units; u; u = u->next)
        u->dead = false;
    detach_all(&dev);
    detach_all(&other);
    return fake_units_free(state);
}

static void assign(struct device *d, uint16_t source_id)
{
    char reason[160] = "";
    *d = (struct device){ .source_id = source_id, .owner = guest, .id = source_id };
    if (!engine_device_init(d, reason))
        fail_msg("refused: %s", reason);
}

static void start(void)
{
    uint32_t length;
    const void *table = fake_dmar(&length, 1);
    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    assign(&dev, DEVICE);
    assign(&other, OTHER);
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), 0);
    assert_int_equal(engine_domain_init(&second, &dev, ENGINE_NEST_PARENT, guest), 0);
    assert_int_equal(engine_domain_map(&domain, 0, host_guest_hpa(guest, 0), 64 * MB, RW), 0);
    for (unsigned i = 0; i < 4; i++) {
        first[i] = (struct first_stage){ .parent = i < 3 ? &domain : &second, .pgtbl = 0x100000 * (i + 1), .levels = 4 };
        assert_int_equal(engine_first_stage_init(&first[i], &dev), 0);
    }
    fake_forget();
}

static const uint64_t *context_of(uint16_t source_id)
{
    const uint64_t *root = host_phys(fake_get64(REG_RTADDR) & ~0xfffULL);
    uint64_t half = root[source_id >> 8 << 1 | (source_id >> 7 & 1)];
    return half & 1 ? (const uint64_t *)host_phys(half & ~0xfffULL) + (source_id & 127) * 4 : NULL;
}

/* The entry as hardware finds it, NULL: there is no table for it. */
static const uint64_t *entry_of(uint16_t source_id, uint32_t pasid)
{
    const uint64_t *directory = host_phys(context_of(source_id)[0] & ~0xfffULL);
    uint64_t table = directory[pasid >> 6];
    return table & 1 ? (const uint64_t *)host_phys(table & ~0xfffULL) + (pasid & 63) * 8 : NULL;
}

static unsigned did_of(uint16_t source_id, uint32_t pasid) { return entry_of(source_id, pasid)[1] & 0xffff; }
static void attach(struct device *d, uint32_t pasid, struct first_stage *f) { assert_int_equal(engine_attach(d, pasid, NULL, f), 0); }
static void attach_domain(struct device *d, uint32_t pasid, struct domain *to) { assert_int_equal(engine_attach(d, pasid, to, NULL), 0); }

/* PASIDs --------------------------------------------------------------------------------------------- */

static uint64_t context_with(uint8_t device_bits, uint8_t unit_bits)
{
    has_pasids(DEVICE, device_bits);
    fake_set64(REG_ECAP, (fake_get64(REG_ECAP) & ~PSS) | (uint64_t)(unit_bits - 1) << 35);
    start();
    uint64_t context = context_of(DEVICE)[0];
    return context;
}

/* PDTS: 2^(PDTS + 7) directory entries of 64 PASIDs. */
static void the_directory_has_the_size_of_the_devices_pasids(void **state)
{
    static const struct { uint8_t device, unit, bits, pdts; } rows[] = {
        { 20, 20, 20, 7 }, { 20, 16, 16, 3 }, { 8, 20, 8, 0 }, { 13, 20, 13, 0 }, { 14, 20, 14, 1 }, { 1, 20, 1, 0 },
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t context = context_with(rows[i].device, rows[i].unit);
        assert_int_equal(context >> 9 & 7, rows[i].pdts);
        assert_true(context & 8);                               /* PASIDE */
        assert_int_equal(context_of(DEVICE)[1], 0);             /* RID_PASID */
        assert_int_equal(dev.pasid_bits, rows[i].bits);
        assert_int_equal(host_function(0, DEVICE)->config[0x106], 1); /* the device may send them */
        assert_int_equal(engine_device_fini(&dev), 0);
        assert_int_equal(host_function(0, DEVICE)->config[0x106], 0);
        teardown(state);
        setup(state);
    }
}

static void without_pasids_none_can_be_attached(void **state)
{
    (void)state;
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) & ~PASIDS & ~PSS);
    start();
    assert_false(context_of(DEVICE)[0] & 8);
    assert_int_equal(host_function(0, DEVICE)->config[0x106], 0);
    assert_int_equal(engine_attach(&dev, 1, NULL, &first[0]), -NIDUS_EOPNOTSUPP);
    attach(&dev, ENGINE_NO_PASID, &first[0]);
}

/* Of the physical function's capability; where that is not on, of nothing. */
static void may_ask(uint8_t control)
{
    struct unit_info info;
    engine_unit_info(&dev, &info);
    assert_int_equal(info.execute, control == 3 || control == 7);
    assert_int_equal(info.privileged, control == 5 || control == 7);
}

/* As on Linux: what the device has of both is on with its PASIDs, and nothing else. */
static void execute_and_privileged_mode_go_on_where_the_device_has_them(void **state)
{
    for (uint8_t has = 0; has < 16; has++) {
        host_function(0, DEVICE)->config[0x104] = has;
        context_with(20, 20);
        assert_int_equal(host_function(0, DEVICE)->config[0x106], 1 | (has & 6));
        assert_int_equal(host_function(0, DEVICE)->config[0x107], 0);
        may_ask(1 | (has & 6));
        assert_int_equal(engine_device_fini(&dev), 0);
        assert_int_equal(host_function(0, DEVICE)->config[0x106], 0);
        teardown(state);
        setup(state);
    }
}

/* PCI Express 6.0, 7.8.9: the physical function's capability is that of its virtual ones. */
static void a_virtual_function_has_its_physical_ones_pasids(void **state)
{
    for (unsigned on = 0; on < 8; on++) {
        struct host_function *physical = host_function(0, DEVICE), *virtual = host_function_add(0, DEVICE + 1);
        memset(virtual->config, 0xff, 2);
        physical->config[0x104] = 6; /* that it could have been given more does not count */
        physical->config[0x106] = (uint8_t)on;
        physical->config[0x102] = 0x01, physical->config[0x103] = 0x20; /* SR-IOV at 200h */
        physical->config[0x200] = 0x10;
        physical->config[0x210] = 1, physical->config[0x214] = 1, physical->config[0x216] = 1;
        uint32_t length;
        const void *table = fake_dmar(&length, 1);
        iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
        assign(&dev, DEVICE + 1);
        assert_int_equal(dev.pasid_bits, on & 1 ? 20 : 0);
        may_ask((uint8_t)on);
        assert_int_equal(physical->config[0x106], on);          /* it is not this guest's */
        assert_int_equal(engine_device_fini(&dev), 0);
        assert_int_equal(physical->config[0x106], on);
        teardown(state);
        setup(state);
    }
}

static void each_pasid_has_its_entry(void **state)
{
    (void)state;
    start();
    assert_null(entry_of(DEVICE, 70));
    attach(&dev, 70, &first[0]);
    attach(&dev, 0xfffff, &first[1]);
    attach_domain(&dev, ENGINE_NO_PASID, &domain);
    assert_int_equal(entry_of(DEVICE, 70)[2], first[0].pgtbl);
    assert_int_equal(entry_of(DEVICE, 0xfffff)[2], first[1].pgtbl);
    assert_int_equal(entry_of(DEVICE, 0)[0] >> 6 & 7, 2);
    assert_int_equal(entry_of(DEVICE, 71)[0], 0);
    assert_int_equal(engine_attach(&dev, 0x100000, NULL, &first[0]), -NIDUS_EINVAL);
    uint32_t pasid = 1;
    assert_true(engine_next_attached(&dev, &pasid));
    assert_int_equal(pasid, 70);
    pasid = 71;
    assert_true(engine_next_attached(&dev, &pasid));
    assert_int_equal(pasid, 0xfffff);
    pasid = 0x100000;
    assert_false(engine_next_attached(&dev, &pasid));
}

static void bus_master_goes_with_the_last_attachment(void **state)
{
    (void)state;
    start();
    attach(&dev, 1, &first[0]);
    attach(&dev, 2, &first[0]);
    assert_int_equal(engine_detach(&dev, 1), 0);
    assert_true(host_function(0, DEVICE)->bus_master);
    assert_int_equal(engine_detach(&dev, 3), 0);                /* nothing attached */
    assert_true(host_function(0, DEVICE)->bus_master);
    assert_int_equal(engine_detach(&dev, 2), 0);
    assert_false(host_function(0, DEVICE)->bus_master);
    assert_int_equal(first[0].users, 0);
    attach(&dev, 2, &first[0]);
    assert_int_equal(engine_device_fini(&dev), 0);              /* whatever is attached */
    assert_int_equal(first[0].users, 0);
    assert_null(domain.ids);
}

static void fails_without(unsigned allocation, uint32_t pasid)
{
    uint64_t used = guest->bytes_used;
    host_fail_allocation(allocation);
    assert_int_equal(engine_attach(&dev, pasid, NULL, &first[0]), -NIDUS_ENOMEM);
    host_fail_allocation(0);
    assert_int_equal(guest->bytes_used, used);
    assert_int_equal(first[0].users, 1);
}

/* A table's first binding is its own; the second one is not. */
static void no_memory_for_a_binding(void **state)
{
    (void)state;
    start();
    attach(&dev, 1, &first[0]);
    fails_without(1, 2);                                        /* under the DID that there is */
    attach(&other, 2, &first[1]);
    fails_without(1, 2);                                        /* a DID of its own, … */
    fails_without(2, 2);                                        /* … and a binding */
    attach(&dev, 2, &first[0]);
    assert_int_equal(first[0].users, 2);
}

/* Without a PASID table nothing is attached, and nothing is lost. */
static void no_memory_on_the_way(void **state)
{
    (void)state;
    start();
    uint64_t used = guest->bytes_used;
    host_fail_allocation(1);
    assert_int_equal(engine_attach(&dev, 70, NULL, &first[0]), -NIDUS_ENOMEM);
    host_fail_allocation(0);
    assert_null(domain.ids);
    assert_null(first[0].bindings);
    assert_false(host_function(0, DEVICE)->bus_master);
    assert_int_equal(guest->bytes_used, used);
    attach(&dev, 70, &first[0]);
    assert_int_equal(guest->bytes_used, used + 8192);           /* a domain's first DID is its own, and so is a table's first binding */
}

/* Domain ids ----------------------------------------------------------------------------------------- */

static void tables_over_one_second_stage_share_its_domain_id(void **state)
{
    (void)state;
    start();
    attach(&dev, 1, &first[0]);
    attach(&dev, 2, &first[1]);
    attach(&other, 1, &first[0]);
    attach(&other, 3, &first[2]);
    attach_domain(&dev, ENGINE_NO_PASID, &domain);
    attach(&dev, 4, &first[3]);                                 /* over another one */
    assert_int_equal(did_of(DEVICE, 1), 1);
    assert_int_equal(did_of(DEVICE, 2), 1);
    assert_int_equal(did_of(OTHER, 1), 1);
    assert_int_equal(did_of(OTHER, 3), 1);
    assert_int_equal(did_of(DEVICE, 0), 1);
    assert_int_equal(did_of(DEVICE, 4), 2);
}

/* 6.2.3.1: the same (PASID, DID) has the same tables and PGTT, on all devices. */
static void not_where_one_pasid_would_have_two_tables(void **state)
{
    (void)state;
    start();
    attach(&dev, 1, &first[0]);
    attach(&other, 1, &first[1]);
    assert_int_equal(did_of(OTHER, 1), 2);
    attach_domain(&dev, ENGINE_NO_PASID, &domain);
    attach(&other, ENGINE_NO_PASID, &first[0]);
    assert_int_equal(did_of(DEVICE, 0), did_of(OTHER, 1));      /* the list begins with the newest */
    assert_int_not_equal(did_of(OTHER, 0), did_of(DEVICE, 0));
}

static void a_change_of_the_second_stage_is_one_invalidation(void **state)
{
    (void)state;
    start();
    for (uint32_t pasid = 1; pasid < 40; pasid++)
        attach(&dev, pasid, &first[pasid % 3]);
    fake_forget();
    assert_int_equal(engine_domain_unmap(&domain, 4 * MB, 2 * MB), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 1);
    assert_int_equal(fake_found(qi_iotlb_pages(1, 0, 18)), 0);
}

static void an_invalidation_names_each_pasid_of_the_table_once(void **state)
{
    struct range range = { 0x5000, 1, true };
    (void)state;
    start();
    attach(&dev, 1, &first[0]);
    attach(&other, 1, &first[0]);
    attach(&dev, 9, &first[0]);
    attach(&dev, 2, &first[1]);
    fake_forget();
    assert_int_equal(invalidate_ranges(&first[0], &range, 1), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 2);
    assert_true(fake_found(first_stage_pages(1, 1, 0x5000, 0, true)) >= 0);
    assert_true(fake_found(first_stage_pages(1, 9, 0x5000, 0, true)) >= 0);
}

/* A unit is asked once, for however many PASIDs that is. */
static void pages_of_many_pasids_that_do_not_fit_are_everything(void **state)
{
    static struct range ranges[512];
    (void)state;
    start();
    for (unsigned i = 0; i < 512; i++)
        ranges[i] = (struct range){ i * 0x2000ULL, 1, true };
    attach(&dev, 1, &first[0]);
    attach(&dev, 2, &first[0]);
    fake_forget();
    assert_int_equal(invalidate_ranges(&first[0], ranges, 511), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 2 * 511);
    fake_forget();
    assert_int_equal(invalidate_ranges(&first[0], ranges, 512), 0);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(fake.dones, 512 + 1);
    assert_true((fake_found(qi_first_stage_all(1, 1)) >= 0) != (fake_found(qi_first_stage_all(1, 2)) >= 0));
}

/* 15 ids, two devices, of which the guest has one: 7. */
static void a_guest_has_its_share_of_the_domain_ids(void **state)
{
    struct domain many[9];
    (void)state;
    fake_set64(REG_CAP, fake_get64(REG_CAP) & ~7ULL);
    start();
    struct guest *neighbour = host_guest("mail", MB);
    assert_int_equal(engine_device_fini(&other), 0);
    other = (struct device){ .source_id = OTHER, .owner = neighbour, .id = 1 };
    char reason[160];
    assert_true(engine_device_init(&other, reason));
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(engine_domain_init(&many[i], &dev, 0, guest), 0);
    for (unsigned i = 0; i < 7; i++)
        attach_domain(&dev, i, &many[i]);
    assert_int_equal(engine_attach(&dev, 7, &many[7], NULL), -NIDUS_ENOSPC);
    assert_true(host_log_has("its share of the domain ids is in use"));
    assert_int_equal(engine_attach(&dev, 0, &many[7], NULL), -NIDUS_ENOSPC); /* the old one goes on */
    assert_true(entry_of(DEVICE, 0)[0] & 1);
    assert_int_equal(entry_of(DEVICE, 0)[0] & ~0xfffULL, platform_phys(many[0].table.root));
    attach_domain(&dev, 7, &many[0]);                           /* shares one */
    assert_int_equal(engine_detach(&dev, 1), 0);
    attach_domain(&dev, 1, &many[7]);
    detach_all(&dev);
    for (unsigned i = 0; i < 9; i++)
        engine_domain_fini(&many[i]);
    assert_int_equal(engine_device_fini(&other), 0);
    other.pasid_directory = NULL;
}

/* Replace -------------------------------------------------------------------------------------------- */

static uint64_t before[8], after[8];
static const uint64_t *watched;
static unsigned stores, first_half, second_half;

/* What the entry means: which table, or none. */
static bool means(const uint64_t *e, const uint64_t *like)
{
    bool nested = (like[0] >> 6 & 7) == 3;
    return e[0] == like[0] && (!nested || e[2] == like[2]);
}

static void look(volatile void *entry, unsigned bytes)
{
    if ((const uint64_t *)entry < watched || (const uint64_t *)entry >= watched + 8)
        return;
    stores++;
    assert_int_equal(bytes, 16);
    assert_true(means(watched, before) || means(watched, after));
    second_half += (const uint64_t *)entry == watched;
    first_half += (const uint64_t *)entry == watched + 2;
}

static void replaces(uint32_t pasid, struct domain *d, struct first_stage *f, const uint64_t after_first[2])
{
    watched = entry_of(DEVICE, pasid);
    memcpy(before, watched, sizeof before);
    after[0] = after_first[0];
    after[2] = after_first[1];
    stores = first_half = second_half = 0;
    fake_forget();
    host_store_hook = look;
    assert_int_equal(engine_attach(&dev, pasid, d, f), 0);
    host_store_hook = NULL;
    assert_true(means(watched, after));
    assert_true(watched[0] & 1);
    assert_int_equal(watched[3] | watched[4] | watched[5] | watched[6] | watched[7], 0);
}

#define PRESENT(pgtt) (1 | 2 << 2 | (pgtt) << 6)
#define TO_DOMAIN(d)  (const uint64_t[2]){ PRESENT(2) | platform_phys((d)->table.root), 0 }
#define TO_FIRST(f)   (const uint64_t[2]){ PRESENT(3) | platform_phys((f)->parent->table.root), (f)->pgtbl }

static void second_stage_to_second_stage(void **state)
{
    (void)state;
    start();
    attach_domain(&dev, 5, &domain);
    replaces(5, &second, NULL, TO_DOMAIN(&second));
    assert_int_equal(second_half, 1);
    assert_int_not_equal(did_of(DEVICE, 5), before[1] & 0xffff);
    assert_int_equal(fake_found(qi_pasid_one(1, 5)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    assert_int_equal(fake.dones, 2);
    assert_int_equal(fake.tail_writes, 1);
    assert_int_equal(domain.users, 3); /* its first stages */
}

static void second_stage_to_nested(void **state)
{
    (void)state;
    start();
    attach_domain(&dev, 5, &domain);
    replaces(5, NULL, &first[0], TO_FIRST(&first[0]));
    assert_int_equal(first_half, 1);
    assert_int_equal(second_half, 1);
    assert_int_equal(did_of(DEVICE, 5), 2); /* PGTT changes: another DID, though the second stage is the same */
    assert_int_equal(fake_found(qi_pasid_one(1, 5)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    assert_int_equal(fake.dones, 2);
}

/* The first stage's half goes when nothing in the caches is made of it any more. */
static unsigned dones_at_zero;

static void look_for_zero(volatile void *entry, unsigned bytes)
{
    look(entry, bytes);
    if ((const uint64_t *)entry == watched + 2)
        dones_at_zero = fake.dones;
}

static void nested_to_second_stage(void **state)
{
    (void)state;
    start();
    attach(&dev, 5, &first[0]);
    watched = entry_of(DEVICE, 5);
    memcpy(before, watched, sizeof before);
    after[0] = TO_DOMAIN(&domain)[0];
    fake_forget();
    host_store_hook = look_for_zero;
    attach_domain(&dev, 5, &domain);
    assert_int_equal(dones_at_zero, 2);
    assert_int_equal(watched[0], after[0]);
    assert_int_equal(watched[2], 0);
    assert_int_equal(first[0].users, 0);
    assert_null(first[0].bindings);
}

static void nested_to_nested_in_place(void **state)
{
    (void)state;
    start();
    attach(&dev, 5, &first[0]);
    replaces(5, NULL, &first[1], TO_FIRST(&first[1]));
    assert_int_equal(stores, 1);
    assert_int_equal(first_half, 1);
    assert_int_equal(did_of(DEVICE, 5), 1);
    /* Table 28, "any other field". */
    assert_int_equal(fake_found(qi_pasid_one(1, 5)), 0);
    assert_int_equal(fake_found(qi_first_stage_all(1, 5)), 1);
    assert_int_equal(fake.dones, 2);
}

/* Where another device has the same (DID, PASID) for the old table, or for the new one. */
static void nested_to_nested_beside_others(void **state)
{
    (void)state;
    start();
    attach(&dev, 5, &first[0]);
    attach(&other, 5, &first[0]);
    replaces(5, NULL, &first[1], TO_FIRST(&first[1]));
    assert_int_equal(did_of(OTHER, 5), 1);
    assert_int_equal(did_of(DEVICE, 5), 2);
    assert_int_equal(fake_found(qi_pasid_one(1, 5)), 0);
    assert_int_equal(fake_found(qi_iotlb_domain(1)), 1);
    assert_int_equal(fake_found(qi_pasid_one(2, 5)), 2);
    assert_int_equal(fake_found(qi_first_stage_all(2, 5)), 3);
    assert_int_equal(fake.tail_writes, 2);      /* the old DID is read no more when the first stage changes */
    replaces(5, NULL, &first[0], TO_FIRST(&first[0]));          /* not under DID 1: the device has its own by now */
    assert_int_equal(did_of(DEVICE, 5), 2);
}

static unsigned absent;

static void count_absent(volatile void *entry, unsigned bytes)
{
    (void)entry, (void)bytes;
    absent += !(watched[0] & 1);
}

static void has_a_gap(uint32_t pasid, struct domain *d, struct first_stage *f)
{
    watched = entry_of(DEVICE, pasid);
    absent = 0;
    host_store_hook = count_absent;
    assert_int_equal(engine_attach(&dev, pasid, d, f), 0);
    host_store_hook = NULL;
    assert_true(absent > 0);
    assert_true(watched[0] & 1);
}

/* What two stores would not keep: both halves; caches that are used in two ways; SRE, which counts in every mode. */
static void what_has_a_gap(void **state)
{
    struct first_stage wide = { .parent = &domain, .pgtbl = 0x900000, .levels = 5 };
    struct first_stage supervisor = { .parent = &domain, .pgtbl = 0xa00000, .levels = 4, .sre = true };
    struct first_stage protected = { .parent = &domain, .pgtbl = 0xb00000, .levels = 4, .sre = true, .wpe = true };
    struct first_stage extended = { .parent = &domain, .pgtbl = 0xc00000, .levels = 4, .eafe = true };
    (void)state;
    start();
    assert_int_equal(engine_first_stage_init(&wide, &dev), 0);
    assert_int_equal(engine_first_stage_init(&protected, &dev), 0);
    assert_int_equal(engine_first_stage_init(&extended, &dev), 0);
    assert_int_equal(engine_first_stage_init(&supervisor, &dev), 0);
    attach(&dev, 5, &first[0]);
    has_a_gap(5, NULL, &first[3]);
    has_a_gap(5, NULL, &first[0]);
    has_a_gap(5, NULL, &wide);
    has_a_gap(5, NULL, &supervisor);
    has_a_gap(5, &domain, NULL);
    has_a_gap(5, NULL, &supervisor);
    has_a_gap(5, NULL, &protected);
    has_a_gap(5, NULL, &first[0]);
    has_a_gap(5, NULL, &extended);
    assert_int_equal(engine_detach(&dev, 5), 0);
    engine_first_stage_fini(&extended);
    engine_first_stage_fini(&protected);
    engine_first_stage_fini(&supervisor);
    engine_first_stage_fini(&wide);
}

/* A descriptor that the unit refuses: everything is invalidated instead, and the call has done what it says. */
static void a_refused_invalidation_is_made_good(void **state)
{
    (void)state;
    start();
    attach(&dev, 5, &first[0]);
    fake_forget();
    fake.refuses = 0;
    assert_int_equal(engine_detach(&dev, 5), 0);
    assert_true(fake_found(qi_pasid_global()) >= 0);
    assert_true(fake_found(qi_iotlb_global()) > fake_found(qi_pasid_global()));
    assert_true(host_log_has("refused invalidation descriptor"));
    assert_null(domain.ids);
}

static void a_unit_that_does_not_answer_keeps_both_tables(void **state)
{
    (void)state;
    start();
    attach(&dev, 5, &first[0]);
    fake.silent = true;
    assert_int_equal(engine_attach(&dev, 5, NULL, &first[1]), -NIDUS_EIO);
    assert_int_equal(first[0].users, 1);
    assert_int_equal(first[1].users, 1);
    assert_false(host_function(0, DEVICE)->bus_master);
    assert_int_equal(engine_attach(&dev, 5, NULL, &first[1]), -NIDUS_EIO);
    first[0].users = 0;
}

/* Dirty tracking ------------------------------------------------------------------------------------- */

#define SSADE BIT(9)
#define SSADS BIT(45)

static bool tracks(uint16_t source_id, uint32_t pasid) { return entry_of(source_id, pasid)[0] & SSADE; }

static void start_tracked(void)
{
    fake_set64(REG_ECAP, fake_get64(REG_ECAP) | SSADS);
    start();
    for (unsigned i = 0; i < 4; i++)
        engine_first_stage_fini(&first[i]);
    engine_domain_fini(&domain);
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT | ENGINE_DIRTY, guest), 0);
    for (unsigned i = 0; i < 4; i++) {
        first[i] = (struct first_stage){ .parent = i < 3 ? &domain : &second, .pgtbl = 0x100000 * (i + 1), .levels = 4 };
        assert_int_equal(engine_first_stage_init(&first[i], &dev), 0);
    }
    fake_forget();
}

/* 6.2.3.1: the same SSPTPTR, the same SSADE.  Table 28, row "SSADE": the entry's (DID, PASID), the DID. */
static void tracking_is_on_in_every_entry_over_the_table(void **state)
{
    uint64_t before;
    (void)state;
    start_tracked();
    attach_domain(&dev, ENGINE_NO_PASID, &domain);
    attach(&dev, 70, &first[0]);
    attach(&other, ENGINE_NO_PASID, &first[1]);
    attach(&other, 5, &first[3]);                               /* over another table */
    before = entry_of(DEVICE, 70)[0];
    fake_forget();
    assert_int_equal(engine_domain_track(&domain, true), 0);
    assert_true(tracks(DEVICE, 0) && tracks(DEVICE, 70) && tracks(OTHER, 0));
    assert_false(tracks(OTHER, 5));
    assert_int_equal(entry_of(DEVICE, 70)[0], before | SSADE);
    assert_int_equal(entry_of(DEVICE, 70)[2], first[0].pgtbl);
    assert_int_equal(fake.tail_writes, 1);
    assert_true(fake_found(qi_pasid_one(did_of(DEVICE, 0), 0)) >= 0);
    assert_true(fake_found(qi_pasid_one(did_of(DEVICE, 70), 70)) >= 0);
    assert_true(fake_found(qi_pasid_one(did_of(OTHER, 0), 0)) >= 0);
    assert_true(fake_found(qi_iotlb_domain(did_of(DEVICE, 0))) >= 0 && fake_found(qi_iotlb_domain(did_of(OTHER, 0))) >= 0);
    assert_int_equal(fake_found(qi_iotlb_domain(did_of(OTHER, 5))), -1);
    /* What is attached later has it, too. */
    attach(&dev, 71, &first[2]);
    attach(&other, 5, &first[0]);
    attach(&dev, 70, &first[3]);
    assert_true(tracks(DEVICE, 71) && tracks(OTHER, 5) && !tracks(DEVICE, 70));
    fake_forget();
    assert_int_equal(engine_domain_track(&domain, false), 0);
    assert_false(tracks(DEVICE, 0) || tracks(DEVICE, 71) || tracks(OTHER, 0) || tracks(OTHER, 5));
    assert_true(fake_found(qi_iotlb_domain(did_of(DEVICE, 0))) >= 0);
    attach(&dev, 72, &first[1]);
    assert_false(tracks(DEVICE, 72));
    fake.silent = true;
    assert_int_equal(engine_domain_track(&domain, true), -NIDUS_EIO);
}

static void tracking_needs_ssads_and_walks_that_snoop(void **state)
{
    static const uint64_t lacks[] = { SSADS, ECAP_SMPWCS };
    struct domain d;
    for (unsigned i = 0; i < 2; i++) {
        struct unit_info info;
        fake_set64(REG_ECAP, (fake_get64(REG_ECAP) | SSADS) & ~lacks[i]);
        start();
        engine_unit_info(&dev, &info);
        assert_false(info.dirty);
        assert_int_equal(engine_domain_init(&d, &dev, ENGINE_DIRTY, guest), -NIDUS_EOPNOTSUPP);
        teardown(state);
        setup(state);
    }
    start_tracked();
    other.snoop &= (uint8_t)~SNOOP_WALKS;                       /* as SIDP may say */
    assert_int_equal(engine_domain_init(&d, &other, ENGINE_DIRTY, guest), -NIDUS_EOPNOTSUPP);
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, &domain, NULL), -NIDUS_EINVAL);
    dev.unit->ecap &= ~SSADS;
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first[0]), -NIDUS_EINVAL);
    assert_true(host_log_has("does not track what device 32 writes"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_directory_has_the_size_of_the_devices_pasids),
        TEST(execute_and_privileged_mode_go_on_where_the_device_has_them),
        TEST(without_pasids_none_can_be_attached),
        TEST(a_virtual_function_has_its_physical_ones_pasids),
        TEST(each_pasid_has_its_entry),
        TEST(bus_master_goes_with_the_last_attachment),
        TEST(no_memory_on_the_way),
        TEST(no_memory_for_a_binding),
        TEST(tables_over_one_second_stage_share_its_domain_id),
        TEST(not_where_one_pasid_would_have_two_tables),
        TEST(a_change_of_the_second_stage_is_one_invalidation),
        TEST(pages_of_many_pasids_that_do_not_fit_are_everything),
        TEST(an_invalidation_names_each_pasid_of_the_table_once),
        TEST(a_guest_has_its_share_of_the_domain_ids),
        TEST(second_stage_to_second_stage),
        TEST(second_stage_to_nested),
        TEST(nested_to_second_stage),
        TEST(nested_to_nested_in_place),
        TEST(nested_to_nested_beside_others),
        TEST(what_has_a_gap),
        TEST(tracking_is_on_in_every_entry_over_the_table),
        TEST(tracking_needs_ssads_and_walks_that_snoop),
        TEST(a_refused_invalidation_is_made_good),
        TEST(a_unit_that_does_not_answer_keeps_both_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
