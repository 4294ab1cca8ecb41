/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_engine_model.c: the whole of iommu/ against the model of the hardware (tools/vtd-model): payloads in a guest's memory go in, and
 * what comes out is DMA of its devices, with the data looked at.  Each test runs on each kind of unit, once with hardware that is calm and
 * once with one that does everything the specification lets it.  No step may be a violation of the specification.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/iommu.h"
#include "iommu/unit.h"
#include "kernel/abi/iommufd.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/whole_call.h"
#include "tools/test/host/units.h"
#include "tools/vtd-model/host_platform.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define RAM (16 * M2)
#define PAYLOAD 0x10000ULL      /* where calls put their payload */
#define DATA 0x20000ULL         /* … and what it points to */
#define TABLES 0x100000ULL      /* the guest's first stage */
#define UNIT_BASE 0xfed90000ULL
#define DEVICE 0x0020u
#define OTHER 0x0128u

static struct model *model;
static struct model_unit *unit;
static struct guest *guest;
static struct iommu_context *context;
static const struct iommu_device_policy no_policy;
static uint32_t ram_ioas, device_id, other_id;
static const char *where;       /* preset and mood, for messages */
static uint64_t next_table;

/* Calls ------------------------------------------------------------------------------------------------ */

static int64_t call(uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(guest, PAYLOAD, payload, size), 0);
    result = whole_call(context, nr, PAYLOAD, device);
    assert_int_equal(platform_guest_read(guest, PAYLOAD, payload, size), 0);
    return result;
}

static uint32_t alloc_ioas(void)
{
    struct nidus_ioas_alloc a = { .size = sizeof a };

    assert_int_equal(call(NIDUS_CALL_IOAS_ALLOC, &a, sizeof a, 0), 0);
    return a.out_ioas_id;
}

static int64_t map(uint32_t ioas, uint64_t iova, uint64_t gpa, uint64_t length, uint32_t rights)
{
    struct nidus_ioas_map m = {
        .size = sizeof m, .flags = NIDUS_IOAS_MAP_FIXED_IOVA | rights, .ioas_id = ioas, .user_va = gpa, .length = length, .iova = iova,
    };

    return call(NIDUS_CALL_IOAS_MAP, &m, sizeof m, 0);
}

static int64_t unmap(uint32_t ioas, uint64_t iova, uint64_t length)
{
    struct nidus_ioas_unmap u = { .size = sizeof u, .ioas_id = ioas, .iova = iova, .length = length };

    return call(NIDUS_CALL_IOAS_UNMAP, &u, sizeof u, 0);
}

static int64_t alloc_hwpt(uint32_t pt, uint32_t flags, const struct nidus_hwpt_vtd_s1 *s1, uint32_t *id)
{
    struct nidus_hwpt_alloc a = { .size = sizeof a, .flags = flags, .dev_id = device_id, .pt_id = pt };
    int64_t result;

    if (s1) {
        a.data_type = NIDUS_HWPT_DATA_VTD_S1;
        a.data_len = sizeof *s1;
        a.data_uptr = DATA;
        assert_int_equal(platform_guest_write(guest, DATA, s1, sizeof *s1), 0);
    }
    result = call(NIDUS_CALL_HWPT_ALLOC, &a, sizeof a, 0);
    *id = a.out_hwpt_id;
    return result;
}

static int64_t attach(uint32_t device, uint32_t pt)
{
    struct nidus_vfio_attach a = { .argsz = 12, .pt_id = pt };

    return call(NIDUS_CALL_ATTACH, &a, 12, device);
}

static int64_t detach(uint32_t device)
{
    struct nidus_vfio_detach d = { .argsz = 8 };

    return call(NIDUS_CALL_DETACH, &d, 8, device);
}

static int64_t destroy(uint32_t id)
{
    struct nidus_destroy d = { .size = sizeof d, .id = id };

    return call(NIDUS_CALL_DESTROY, &d, sizeof d, 0);
}

static int64_t invalidate(uint32_t hwpt, uint64_t address, uint64_t pages, uint32_t flags)
{
    struct nidus_hwpt_vtd_s1_invalidate entry = { .addr = address, .npages = pages, .flags = flags };
    struct nidus_hwpt_invalidate i = { .size = sizeof i, .hwpt_id = hwpt, .data_uptr = DATA, .entry_len = sizeof entry, .entry_num = 1 };

    assert_int_equal(platform_guest_write(guest, DATA, &entry, sizeof entry), 0);
    return call(NIDUS_CALL_HWPT_INVALIDATE, &i, sizeof i, 0);
}

/* The guest's first stage, written as the guest would: bits as section 9.7 has them ----------------------- */

static uint64_t *guest_word(uint64_t gpa)
{
    return (uint64_t *)host_guest_byte(guest, gpa);
}

static uint64_t new_table(void)
{
    uint64_t gpa = next_table;

    next_table += K4;
    memset(host_guest_byte(guest, gpa), 0, K4);
    return gpa;
}

/* Pre-set A and D, for units that do not snoop. */
#define FS_TABLE 0x27ULL
#define FS_LEAF  0x67ULL

static uint64_t *fs_entry(uint64_t top, uint64_t iova, unsigned leaf_level)
{
    uint64_t table = top;

    for (unsigned level = 4; level > leaf_level; level--) {
        uint64_t *e = guest_word(table + (iova >> (12 + 9 * (level - 1)) & 511) * 8);

        if (!(*e & 1))
            *e = new_table() | FS_TABLE;
        table = *e & 0xffffffffff000;
    }
    return guest_word(table + (iova >> (12 + 9 * (leaf_level - 1)) & 511) * 8);
}

static void fs_map(uint64_t top, uint64_t iova, uint64_t gpa)
{
    *fs_entry(top, iova, 1) = gpa | FS_LEAF;
}

/* DMA -------------------------------------------------------------------------------------------------- */

static struct model_result dma(uint16_t source_id, enum model_access access, uint64_t address, void *data, uint64_t size)
{
    struct model_request r = { .source_id = source_id, .access = access };

    return model_dma(unit, &r, address, data, size);
}

static void expect_no_violation(void)
{
    if (model_violations(model))
        fail_msg("%s: %u violations, the first: %s", where, model_violations(model), model_violation(model, 0));
}

/* A write and a read of a few bytes at address reach gpa. */
static void expect_dma(uint16_t source_id, uint64_t address, uint64_t gpa)
{
    static uint32_t number = 0x1000;
    uint32_t out = ++number, in = 0;
    struct model_result r = dma(source_id, MODEL_WRITE, address + 8, &out, 4);

    if (r.outcome != MODEL_DONE)
        fail_msg("%s: write at 0x%llx: outcome %d, %s", where, (unsigned long long)address, r.outcome, model_reason(r.reason));
    memcpy(&in, host_guest_byte(guest, gpa + 8), 4);
    if (in != out)
        fail_msg("%s: write at 0x%llx did not reach GPA 0x%llx", where, (unsigned long long)address, (unsigned long long)gpa);
    out = ++number;
    memcpy(host_guest_byte(guest, gpa + 16), &out, 4);
    r = dma(source_id, MODEL_READ, address + 16, &in, 4);
    if (r.outcome != MODEL_DONE || in != out)
        fail_msg("%s: read at 0x%llx: outcome %d, %s", where, (unsigned long long)address, r.outcome, model_reason(r.reason));
    expect_no_violation();
}

static void expect_fault(uint16_t source_id, enum model_access access, uint64_t address, uint8_t reason)
{
    uint32_t word = 0xbad;
    struct model_result r = dma(source_id, access, address, &word, 4);

    if (r.outcome != MODEL_FAULT || r.reason != reason)
        fail_msg("%s: at 0x%llx: outcome %d, reason %02x (%s), not %02x", where, (unsigned long long)address, r.outcome, r.reason,
                 model_reason(r.reason), reason);
    expect_no_violation();
}

/*
 * Between any two stores of nidus a device asks for its addresses, at any seed: what it gets is the guest's RAM or a fault, never
 * anything else.  Which of the guest's pages it is, is looked at when nidus has finished.
 */
static void (*hardware_looks)(volatile void *entry, unsigned bytes);
static uint64_t probed[4];
static uint64_t always_mapped;  /* for DEVICE, at one of them; 0: nothing is */
static unsigned probes;

static void probe(volatile void *entry, unsigned bytes)
{
    static const uint16_t functions[] = { DEVICE, OTHER };

    hardware_looks(entry, bytes);
    for (unsigned i = 0; i < probes; i++) {
        uint32_t word;
        struct model_result r = dma(functions[i % 2], MODEL_READ, probed[i / 2], &word, 4);
        uint64_t hpa = r.address & ~0xfffULL;
        bool own = false;

        if (r.outcome == MODEL_FAULT && (functions[i % 2] != DEVICE || probed[i / 2] != always_mapped))
            continue;
        for (unsigned c = 0; c < guest->chunks; c++)
            own |= hpa >= guest->chunk[c].hpa && hpa - guest->chunk[c].hpa < guest->chunk[c].size;
        if (r.outcome != MODEL_DONE || !own)
            fail_msg("%s: between two stores 0x%llx led to 0x%llx, outcome %d", where, (unsigned long long)probed[i / 2], (unsigned long long)hpa,
                     r.outcome);
    }
    expect_no_violation();
}

static void probe_at(uint64_t a, uint64_t b)
{
    probed[0] = a;
    probed[1] = b;
    probes = 4;
    hardware_looks = host_store_hook;
    host_store_hook = probe;
}

/* Start and end ---------------------------------------------------------------------------------------- */

static void power_on(const struct model_preset *preset, const struct model_freedom *freedom, uint64_t seed)
{
    host_reset();
    host_log_clear();
    probes = 0;
    always_mapped = 0;
    model = model_host_new(seed);
    unit = model_host_unit(model, preset, UNIT_BASE);
    model_set_freedom(model, freedom);
    guest = host_guest("web", RAM);
    host_function_add(0, DEVICE);
    host_function_add(0, OTHER);
}

static void init(const uint16_t *const *scopes)
{
    uint32_t length;
    const void *table = model_host_dmar(model, scopes, &length);

    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    if (iommu_unavailable())
        fail_msg("%s: %s", where, iommu_unavailable());
    expect_no_violation();
}

static void start_guest(void)
{
    char reason[160] = "";

    context = iommu_context_create(guest, true);
    assert_non_null(context);
    ram_ioas = iommu_default_ioas(context);
    if (!iommu_assign(context, 0, DEVICE, &no_policy, &device_id, reason) || !iommu_assign(context, 0, OTHER, &no_policy, &other_id, reason))
        fail_msg("%s: refused: %s", where, reason);
    next_table = TABLES;
    expect_no_violation();
}

static void start(const struct model_preset *preset, const struct model_freedom *freedom, uint64_t seed)
{
    power_on(preset, freedom, seed);
    init(NULL);
    start_guest();
}

/* Nidus itself never forgets a unit. */
static void engine_forget_units(void)
{
    units_free();
}

static void stop(void)
{
    assert_true(iommu_context_block(context));
    expect_fault(DEVICE, MODEL_READ, 0x1000, 0x59);
    destroy_whole(context);
    expect_no_violation();
    engine_forget_units();
    model_host_free(model);
}

/* MODEL_SEEDS in the environment: more than every day. */
static unsigned seeds(void)
{
    const char *more = getenv("MODEL_SEEDS");

    return more ? (unsigned)atoi(more) : 4;
}

static const char *const kinds[] = { "spr", "spr4", "spr-svm", "qemu", "caching", "3-level", "noncoherent", "granite" };

static void on_each(void (*rule)(void), bool (*suits)(const struct model_preset *))
{
    static char name[64];

    where = name;
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct model_preset *preset = model_preset(kinds[k]);

        if (suits && !suits(preset))
            continue;
        for (unsigned seed = 0; seed < seeds(); seed++) {
            snprintf(name, sizeof name, "%s, %s, seed %u", kinds[k], seed ? "wild" : "calm", seed);
            start(preset, seed ? &model_wild : &model_calm, seed);
            rule();
            stop();
        }
    }
}

static bool has_nest(const struct model_preset *p)
{
    return p->ecap >> 26 & 1;
}

/* Rules ------------------------------------------------------------------------------------------------ */

static void blocked(void)
{
    expect_fault(DEVICE, MODEL_READ, 0x1000, 0x59);
    expect_fault(DEVICE, MODEL_WRITE, 0x1000, 0x59);
}

static void a_device_that_is_not_attached_is_blocked(void **state)
{
    (void)state;
    on_each(blocked, NULL);
}

static void a_function_that_nobody_has(void)
{
    expect_fault(0x0300, MODEL_READ, 0x1000, 0x39);
}

static void a_function_of_nobody_is_blocked(void **state)
{
    (void)state;
    on_each(a_function_that_nobody_has, NULL);
}

/* A function that did DMA while it was nobody's: nothing of that is remembered. */
static void late_assignment(void)
{
    char reason[160];
    uint32_t id;

    host_function_add(0, DEVICE + 8);
    expect_fault(DEVICE + 8, MODEL_READ, 0x1000, 0x41);
    assert_true(iommu_assign(context, 0, DEVICE + 8, &no_policy, &id, reason));
    expect_fault(DEVICE + 8, MODEL_READ, 0x1000, 0x59);
    assert_int_equal(attach(id, ram_ioas), 0);
    expect_dma(DEVICE + 8, 0x1000, 0x1000);
    assert_int_equal(detach(id), 0);
}

static void a_function_that_did_dma_before_can_be_assigned(void **state)
{
    (void)state;
    on_each(late_assignment, NULL);
}

static void second_stage(void)
{
    assert_int_equal(attach(device_id, ram_ioas), 0);
    expect_dma(DEVICE, 0x200000, 0x200000);
    expect_dma(DEVICE, RAM - K4, RAM - K4);
    expect_fault(DEVICE, MODEL_READ, RAM, 0x79);
    expect_fault(OTHER, MODEL_READ, 0x200000, 0x59);
    assert_int_equal(detach(device_id), 0);
    expect_fault(DEVICE, MODEL_READ, 0x200000, 0x59);
}

static void the_default_ioas_maps_all_ram(void **state)
{
    (void)state;
    on_each(second_stage, NULL);
}

#define RW (NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE)

static void map_and_unmap(void)
{
    uint32_t ioas = alloc_ioas();

    assert_int_equal(map(ioas, 0x40000000, 0x400000, M2, RW), 0);
    assert_int_equal(map(ioas, 0x7000, 0x600000, K4, NIDUS_IOAS_MAP_READABLE), 0);
    assert_int_equal(attach(device_id, ioas), 0);
    expect_dma(DEVICE, 0x40000000, 0x400000);
    expect_dma(DEVICE, 0x401ff000, 0x5ff000);
    expect_fault(DEVICE, MODEL_WRITE, 0x7000, 0x85);
    assert_int_equal(unmap(ioas, 0x40000000, M2), 0);
    expect_fault(DEVICE, MODEL_READ, 0x40000000, 0x79);
    expect_fault(DEVICE, MODEL_WRITE, 0x401ff000, 0x79);
    assert_int_equal(map(ioas, 0x40000000, 0x800000, K4, RW), 0);
    expect_dma(DEVICE, 0x40000000, 0x800000);
    expect_fault(DEVICE, MODEL_READ, 0x40001000, 0x79);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(ioas), 0);
}

static void what_is_unmapped_is_gone_from_every_cache(void **state)
{
    (void)state;
    on_each(map_and_unmap, NULL);
}

/*
 * Areas become one large page when the last one comes, and small pages again when it goes, while devices have the way into the small
 * pages' table: they always find what is mapped, and tables that were given back hold other entries meanwhile.
 */
static void merge_and_split(void)
{
    uint32_t ioas = alloc_ioas(), another = alloc_ioas();
    uint64_t live;

    assert_int_equal(map(ioas, M2, 3 * M2, 256 * K4, RW), 0);
    assert_int_equal(map(ioas, M2 + 257 * K4, 3 * M2 + 257 * K4, 255 * K4, RW), 0);
    assert_int_equal(attach(device_id, ioas), 0);
    assert_int_equal(attach(other_id, another), 0);
    probe_at(M2 + 3 * K4, M2);
    always_mapped = M2; /* where a link would be */
    live = host_pages_live();
    for (unsigned round = 0; round < 4; round++) {
        expect_dma(DEVICE, M2, 3 * M2);
        expect_dma(DEVICE, M2 + 511 * K4, 3 * M2 + 511 * K4);
        assert_int_equal(map(ioas, M2 + 256 * K4, 3 * M2 + 256 * K4, K4, RW), 0);
        assert_int_equal(host_pages_live(), live - 1);
        assert_int_equal(map(another, M2, 5 * M2 + K4, M2, RW), 0);
        for (unsigned i = 0; i < 8; i++)
            expect_dma(DEVICE, M2 + (255 + i / 2) * K4, 3 * M2 + (255 + i / 2) * K4);
        assert_int_equal(unmap(another, M2, M2), 0);
        assert_int_equal(unmap(ioas, M2 + 256 * K4, K4), 0);
        assert_int_equal(host_pages_live(), live);
        expect_fault(DEVICE, MODEL_WRITE, M2 + 256 * K4, 0x79);
    }
    always_mapped = 0;
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(detach(other_id), 0);
    assert_int_equal(destroy(ioas), 0);
    assert_int_equal(destroy(another), 0);
}

static void areas_that_fill_a_large_page_are_merged(void **state)
{
    (void)state;
    on_each(merge_and_split, NULL);
}

static void nested(void)
{
    uint32_t parent, hwpt;
    uint64_t top = new_table();
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top, .addr_width = 48 };

    fs_map(top, 0x5000, 0x300000);
    assert_int_equal(alloc_hwpt(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, NULL, &parent), 0);
    assert_int_equal(alloc_hwpt(parent, 0, &s1, &hwpt), 0);
    assert_int_equal(attach(device_id, hwpt), 0);
    expect_dma(DEVICE, 0x5000, 0x300000);
    expect_fault(DEVICE, MODEL_READ, 0x6000, 0x71);
    fs_map(top, 0x6000, 0x301000); /* not present to present: nothing to invalidate */
    expect_dma(DEVICE, 0x6000, 0x301000);
    fs_map(top, 0x5000, 0x302000);
    assert_int_equal(invalidate(hwpt, 0x5000, 1, NIDUS_VTD_INV_LEAF), 0);
    expect_dma(DEVICE, 0x5000, 0x302000);
    *fs_entry(top, 0x6000, 1) = 0;
    assert_int_equal(invalidate(hwpt, 0, UINT64_MAX, 0), 0);
    expect_fault(DEVICE, MODEL_WRITE, 0x6000, 0x71);
    expect_fault(DEVICE, MODEL_WRITE, 0x1000000000000, 0x80);
    assert_int_equal(detach(device_id), 0);
    expect_fault(DEVICE, MODEL_READ, 0x5000, 0x59);
    assert_int_equal(destroy(hwpt), 0);
    assert_int_equal(destroy(parent), 0);
}

static void a_first_stage_of_the_guest_is_nested(void **state)
{
    (void)state;
    on_each(nested, has_nest);
}

/* A range of the second stage goes under two first stages of two devices. */
static void unmap_under_nested(void)
{
    uint32_t parent, hwpt[2], ioas = alloc_ioas();
    uint64_t top[2] = { new_table(), new_table() };

    probe_at(0x7000, 0x400000);
    assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
    assert_int_equal(alloc_hwpt(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, NULL, &parent), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top[i], .addr_width = 48 };

        fs_map(top[i], 0x7000 + i * K4, 0x1000000);
        fs_map(top[i], 0x400000, 0x300000 + i * K4);
        assert_int_equal(alloc_hwpt(parent, 0, &s1, &hwpt[i]), 0);
        assert_int_equal(attach(i ? other_id : device_id, hwpt[i]), 0);
    }
    expect_dma(DEVICE, 0x7000, 0x1000000);
    expect_dma(OTHER, 0x8000, 0x1000000);
    expect_dma(DEVICE, 0x400000, 0x300000);
    expect_dma(OTHER, 0x400000, 0x301000);
    assert_int_equal(unmap(ioas, 0, RAM), 0);
    expect_fault(DEVICE, MODEL_READ, 0x7000, 0x79);
    expect_fault(OTHER, MODEL_WRITE, 0x8000, 0x79);
    assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
    expect_dma(DEVICE, 0x7000, 0x1000000);
    expect_dma(OTHER, 0x400000, 0x301000);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(detach(i ? other_id : device_id), 0);
        assert_int_equal(destroy(hwpt[i]), 0);
    }
    assert_int_equal(destroy(parent), 0);
    assert_int_equal(destroy(ioas), 0);
}

static void an_unmap_reaches_first_stages_over_it(void **state)
{
    (void)state;
    on_each(unmap_under_nested, has_nest);
}

/* Attach, replace and detach in every order, with DMA going on. */
static void replace(void)
{
    uint32_t parent, hwpt[2], ioas = alloc_ioas();
    uint64_t top[2] = { new_table(), new_table() };

    probe_at(0x9000, 0xa000);
    assert_int_equal(map(ioas, 0x9000, 0x500000, K4, RW), 0);
    assert_int_equal(alloc_hwpt(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, NULL, &parent), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top[i], .addr_width = 48 };

        fs_map(top[i], 0x9000, 0x300000 + i * K4);
        assert_int_equal(alloc_hwpt(parent, 0, &s1, &hwpt[i]), 0);
    }
    for (unsigned round = 0; round < 8; round++) {
        assert_int_equal(attach(device_id, hwpt[0]), 0);
        expect_dma(DEVICE, 0x9000, 0x300000);
        assert_int_equal(attach(device_id, hwpt[1]), 0);
        expect_dma(DEVICE, 0x9000, 0x301000);
        assert_int_equal(attach(device_id, ioas), 0);
        expect_dma(DEVICE, 0x9000, 0x500000);
        assert_int_equal(attach(device_id, hwpt[1]), 0);
        expect_dma(DEVICE, 0x9000, 0x301000);
        assert_int_equal(attach(device_id, parent), 0);
        expect_dma(DEVICE, 0x9000, 0x9000);
        if (round & 1) {
            assert_int_equal(detach(device_id), 0);
            expect_fault(DEVICE, MODEL_READ, 0x9000, 0x59);
        }
    }
    assert_int_equal(detach(device_id), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(destroy(hwpt[i]), 0);
    assert_int_equal(destroy(parent), 0);
    assert_int_equal(destroy(ioas), 0);
}

static void a_device_moves_between_tables(void **state)
{
    (void)state;
    on_each(replace, has_nest);
}

/* A non-leaf entry changes: IH=0 takes the paging structures too. */
static void non_leaf_change(void)
{
    uint32_t parent, hwpt;
    uint64_t top = new_table(), other = new_table();
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top, .addr_width = 48 };

    fs_map(top, 0x5000, 0x300000);
    fs_map(top, 0x6000, 0x302000);
    *guest_word(other + 8 * 5) = 0x301000 | FS_LEAF;
    *guest_word(other + 8 * 6) = 0x303000 | FS_LEAF;
    assert_int_equal(alloc_hwpt(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, NULL, &parent), 0);
    assert_int_equal(alloc_hwpt(parent, 0, &s1, &hwpt), 0);
    assert_int_equal(attach(device_id, hwpt), 0);
    expect_dma(DEVICE, 0x5000, 0x300000);
    *fs_entry(top, 0x5000, 2) = other | FS_TABLE;
    assert_int_equal(invalidate(hwpt, 0, 512, 0), 0);
    expect_dma(DEVICE, 0x5000, 0x301000);
    expect_dma(DEVICE, 0x6000, 0x303000);
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(hwpt), 0);
    assert_int_equal(destroy(parent), 0);
}

static void an_invalidation_of_tables_takes_paging_structures(void **state)
{
    (void)state;
    on_each(non_leaf_change, has_nest);
}

/* Ranges of every length and alignment: what is in them is fresh afterwards, page by page. */
static void ranges(void)
{
    uint32_t parent, hwpt;
    uint64_t top = new_table(), base = 0x3f0000;
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top, .addr_width = 48 };
    unsigned flip[64] = { 0 };

    for (unsigned i = 0; i < 64; i++)
        fs_map(top, base + i * K4, 0x400000 + i * K4);
    assert_int_equal(alloc_hwpt(ram_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, NULL, &parent), 0);
    assert_int_equal(alloc_hwpt(parent, 0, &s1, &hwpt), 0);
    assert_int_equal(attach(device_id, hwpt), 0);
    for (unsigned length = 1; length < 40; length += 3)
        for (unsigned first = 0; first + length <= 64; first += 5) {
            for (unsigned i = first; i < first + length; i++) {
                expect_dma(DEVICE, base + i * K4, (flip[i] ? 0x600000 : 0x400000) + i * K4);
                flip[i] ^= 1;
                fs_map(top, base + i * K4, (flip[i] ? 0x600000 : 0x400000) + i * K4);
            }
            assert_int_equal(invalidate(hwpt, base + first * K4, length, NIDUS_VTD_INV_LEAF), 0);
            for (unsigned i = first; i < first + length; i++)
                expect_dma(DEVICE, base + i * K4, (flip[i] ? 0x600000 : 0x400000) + i * K4);
        }
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(hwpt), 0);
    assert_int_equal(destroy(parent), 0);
}

static void ranges_are_covered_to_the_page(void **state)
{
    (void)state;
    on_each(ranges, has_nest);
}

/* Parts of large leaves of the second stage go, and come back as small ones. */
static void split_leaves(void)
{
    uint32_t ioas = alloc_ioas();

    assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
    assert_int_equal(attach(device_id, ioas), 0);
    for (uint64_t a = M2; a < RAM; a += M2) {
        expect_dma(DEVICE, a + 0x7000, a + 0x7000);
        expect_dma(DEVICE, a + 0x8000, a + 0x8000);
    }
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(unmap(ioas, 0, RAM), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(map(ioas, i * M2, i * M2, M2, RW), 0);
        assert_int_equal(map(ioas, (i + 8) * M2, (i + 8) * M2, K4, RW), 0);
    }
    assert_int_equal(attach(device_id, ioas), 0);
    for (unsigned i = 0; i < 8; i++) {
        expect_dma(DEVICE, i * M2 + 0x3000, i * M2 + 0x3000);
        expect_dma(DEVICE, (i + 8) * M2, (i + 8) * M2);
        assert_int_equal(unmap(ioas, i * M2, M2), 0);
        expect_fault(DEVICE, MODEL_READ, i * M2 + 0x3000, 0x79);
        assert_int_equal(map(ioas, i * M2 + K4, 0x1000000, K4, RW), 0);
        expect_dma(DEVICE, i * M2 + K4, 0x1000000);
        expect_fault(DEVICE, MODEL_WRITE, i * M2 + 0x3000, 0x79);
    }
    assert_int_equal(detach(device_id), 0);
    assert_int_equal(destroy(ioas), 0);
}

static void large_leaves_become_small_ones(void **state)
{
    (void)state;
    on_each(split_leaves, NULL);
}

/* The default IOAS can be cut anywhere: the large leaf around the cut goes from the caches, whole and in pieces. */
static void cut_default(void)
{
    assert_int_equal(attach(device_id, ram_ioas), 0);
    for (unsigned i = 0; i < 6; i++) {
        uint64_t at = 3 * M2 + i * 17 * K4;

        for (uint64_t a = 3 * M2; a < 4 * M2; a += 11 * K4)
            dma(DEVICE, MODEL_READ, a, &(uint32_t){ 0 }, 4);
        expect_dma(DEVICE, at, at);
        assert_int_equal(unmap(ram_ioas, at, K4), 0);
        expect_fault(DEVICE, MODEL_READ, at, 0x79);
        expect_dma(DEVICE, at + K4, at + K4);
    }
    assert_int_equal(detach(device_id), 0);
}

static void a_cut_reaches_large_leaves_in_caches(void **state)
{
    (void)state;
    on_each(cut_default, NULL);
}

/* Requests that do not snoop snoop all the same where the unit can make them (PGSNP): memory is never read behind the caches. */
static void no_snoop(void)
{
    struct model_request r = { .source_id = DEVICE, .no_snoop = true };
    uint32_t word;
    bool can = model_read(unit, 0x10, 8) >> 7 & 1;

    assert_int_equal(attach(device_id, ram_ioas), 0);
    assert_int_equal(model_dma(unit, &r, 0x5000, &word, 4).snooped, can);
    assert_int_equal(detach(device_id), 0);
}

static void requests_are_made_to_snoop(void **state)
{
    (void)state;
    on_each(no_snoop, NULL);
}

/* The guest is told of its device's fault: address, reason, access, and which stage. */
static void fault_reports(void)
{
    struct nidus_fault_read read = { .size = sizeof read, .data_uptr = DATA, .entry_len = sizeof(struct nidus_fault), .entry_num = 4 };
    struct nidus_fault fault;

    assert_int_equal(attach(device_id, ram_ioas), 0);
    expect_fault(DEVICE, MODEL_WRITE, RAM + 0x5008, 0x79);
    iommu_poll();
    assert_int_equal(call(NIDUS_CALL_FAULT_READ, &read, sizeof read, 0), 0);
    assert_int_equal(read.entry_num, 1);
    assert_int_equal(platform_guest_read(guest, DATA, &fault, sizeof fault), 0);
    assert_int_equal(fault.dev_id, device_id);
    assert_int_equal(fault.reason, 0x79);
    assert_int_equal(fault.access, NIDUS_FAULT_WRITE);
    assert_int_equal(fault.addr, RAM + 0x5000);
    assert_int_equal(fault.stage, NIDUS_FAULT_STAGE_SECOND);
    /* A storm: the unit has one record, and what it lost is counted. */
    for (unsigned i = 0; i < 5; i++)
        expect_fault(DEVICE, MODEL_READ, RAM + i * K4, 0x79);
    iommu_poll();
    iommu_poll();
    read.entry_num = 4;
    assert_int_equal(call(NIDUS_CALL_FAULT_READ, &read, sizeof read, 0), 0);
    assert_int_equal(read.entry_num, 1);
    assert_true(read.out_lost > 0);
    expect_fault(DEVICE, MODEL_READ, RAM, 0x79); /* records go on */
    iommu_poll();
    read.entry_num = 4;
    assert_int_equal(call(NIDUS_CALL_FAULT_READ, &read, sizeof read, 0), 0);
    assert_int_equal(read.entry_num, 1);
    assert_int_equal(detach(device_id), 0);
}

/* The unit says that there is a fault, once until it is looked at. */
static void fault_interrupts(void)
{
    struct model_msi msi;

    assert_true(iommu_interrupts(0xfee00000, 0x31));
    while (model_msi(unit, &msi))
        assert_int_equal(msi.data, 0x31); /* of what was pending */
    iommu_poll();
    for (unsigned i = 0; i < 3; i++) {
        expect_fault(DEVICE, MODEL_READ, i * K4, 0x59);
        assert_true(model_msi(unit, &msi));
        assert_int_equal(msi.address, 0xfee00000);
        assert_int_equal(msi.data, 0x31);
        expect_fault(DEVICE, MODEL_READ, i * K4, 0x59);
        assert_false(model_msi(unit, &msi));
        while (iommu_poll())
            ;
    }
}

static void faults_interrupt(void **state)
{
    (void)state;
    on_each(fault_interrupts, NULL);
}

static void faults_reach_the_guest(void **state)
{
    (void)state;
    on_each(fault_reports, NULL);
}

/* Firmware left the unit on: legacy tables, its own queue, interrupt remapping, a fault.  Nidus takes it over. */
static void leave_it_on(const struct model_preset *preset)
{
    uint64_t aw = preset->cap >> 11 & 1 ? 3 : preset->cap >> 10 & 1 ? 2 : 1;
    uint8_t *tables = platform_pages_alloc(NULL, 3);
    uint64_t at = platform_phys(tables), *root = (uint64_t *)tables;

    model_set_freedom(model, &model_calm);
    root[0] = (at + K4) | 1;                    /* context table: pass-through for bus 0 */
    for (unsigned i = 0; i < 256; i++) {
        uint64_t *context = (uint64_t *)(tables + K4) + 2 * i;

        context[0] = 1 | 2 << 2;
        context[1] = aw | 9 << 8;
    }
    platform_write_back(tables, 8 * K4);
    model_write(unit, 0x20, 8, at);
    model_write(unit, 0x18, 4, 1u << 30);       /* SRTP */
    model_write(unit, 0x90, 8, at + 2 * K4);    /* 128-bit descriptors */
    model_write(unit, 0x18, 4, 1u << 26);
    ((uint64_t *)(tables + 2 * K4))[0] = 0x11;
    ((uint64_t *)(tables + 2 * K4))[2] = 0x12;
    ((uint64_t *)(tables + 2 * K4))[4] = 0x4;
    ((uint64_t *)(tables + 2 * K4))[6] = 0x5;
    model_write(unit, 0xb8, 8, (at + 3 * K4) | 7);
    model_write(unit, 0x18, 4, 1u << 26 | 1u << 24);
    model_write(unit, 0x88, 8, 0x40);
    model_write(unit, 0x18, 4, 1u << 26 | 1u << 25);
    model_write(unit, 0x18, 4, 1u << 31 | 1u << 26 | 1u << 25);
}

static void a_unit_that_firmware_left_on_is_taken_over(void **state)
{
    char name[64];

    (void)state;
    where = name;
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned seed = 0; seed < seeds(); seed++) {
            uint32_t word;

            snprintf(name, sizeof name, "%s, %s, seed %u, left on", kinds[k], seed ? "wild" : "calm", seed);
            power_on(model_preset(kinds[k]), &model_calm, seed);
            leave_it_on(model_preset(kinds[k]));
            assert_int_equal(dma(DEVICE, MODEL_READ, host_guest_hpa(guest, 0x5000), &word, 4).outcome, MODEL_DONE);
            dma(0x300, MODEL_READ, 0x5000, &word, 4); /* a fault */
            expect_no_violation();
            model_set_freedom(model, seed ? &model_wild : &model_calm);
            init(NULL);
            start_guest();
            second_stage();
            stop();
        }
}

/* Two unlike units, a device behind each. */
static void two_units(const char *first, const char *second)
{
    static const uint16_t scope[] = { DEVICE, 0xffff };
    const uint16_t *const scopes[] = { scope };
    struct model_unit *one, *two;

    for (unsigned seed = 0; seed < seeds(); seed++) {
        static char name[96];
        uint32_t ioas;

        where = name;
        snprintf(name, sizeof name, "%s and %s, seed %u", first, second, seed);
        power_on(model_preset(first), seed ? &model_wild : &model_calm, seed);
        one = unit;
        two = model_host_unit(model, model_preset(second), UNIT_BASE + 0x10000);
        init(scopes);
        start_guest();
        ioas = alloc_ioas();
        assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
        assert_int_equal(attach(device_id, ioas), 0);
        assert_int_equal(attach(other_id, ioas), 0); /* an IOAS gets a table for each kind of unit */
        for (unsigned round = 0; round < 3; round++) {
            unit = one;
            expect_dma(DEVICE, 0x200000, 0x200000);
            unit = two;
            expect_dma(OTHER, 0x200000, 0x200000);
            assert_int_equal(unmap(ioas, 0, RAM), 0);
            expect_fault(OTHER, MODEL_READ, 0x200000, 0x79);
            unit = one;
            expect_fault(DEVICE, MODEL_READ, 0x200000, 0x79);
            assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
        }
        unit = one;
        stop();
    }
}

static void unlike_units_serve_one_guest(void **state)
{
    (void)state;
    two_units("spr", "spr4");
    two_units("spr", "noncoherent");
    two_units("noncoherent", "granite");
    two_units("3-level", "spr4");
}

/* A unit that stops answering in the middle: an error, not a hang; what it may still read is never freed. */
static struct iommu_context *volatile abandoned[2];

static void a_unit_that_falls_silent_is_an_error(void **state)
{
    (void)state;
    where = "spr, silent";
    start(model_preset("spr"), &model_calm, 1);
    assert_int_equal(attach(device_id, ram_ioas), 0);
    model_switches(unit)->never_answers = true;
    assert_int_equal(detach(device_id), -NIDUS_EIO);
    assert_int_equal(attach(other_id, ram_ioas), -NIDUS_EIO);
    assert_false(iommu_context_block(context));
    abandoned[0] = context;
    assert_non_null(abandoned[0]);
    engine_forget_units();
    model_host_free(model);
    host_reset();
}

/* In caching mode a map ends with an invalidation: without an answer it has failed, cannot be undone, and that is said. */
static void a_map_without_an_answer_is_said(void **state)
{
    (void)state;
    where = "caching, silent";
    start(model_preset("caching"), &model_calm, 1);
    assert_int_equal(attach(device_id, ram_ioas), 0);
    model_switches(unit)->never_answers = true;
    assert_int_equal(map(ram_ioas, RAM, 0x200000, K4, NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE), -NIDUS_EIO);
    assert_true(host_log_has("guest web: IOVA 0x2000000 to 0x2000fff stays mapped after a failed call (error 5)"));
    abandoned[1] = context;
    assert_non_null(abandoned[1]);
    engine_forget_units();
    model_host_free(model);
    host_reset();
}

/* A descriptor cannot be fetched, once: the queue goes on. */
static void a_queue_error_is_recovered(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 4; n++) {
        where = "spr, queue error";
        start(model_preset("spr"), &model_calm, n);
        assert_int_equal(attach(device_id, ram_ioas), 0);
        expect_dma(DEVICE, 0x200000, 0x200000);
        model_fail_fetch(unit, n);
        assert_int_equal(detach(device_id), 0); /* everything was invalidated instead */
        assert_true(model_violated(model, "invalidation queue error 2"));
        model_forgive(model);
        expect_fault(DEVICE, MODEL_READ, 0x200000, 0x59);
        stop();
    }
}

/* Dirty tracking: a bitmap of the RAM IOAS against what devices wrote, some of it while nidus reads and clears. */
#define PAGES  (RAM / K4)
#define BITMAP 0x30000ULL

/* Since the last bitmap; while one is made; while the last one was, when it may be told of both times. */
static bool written[PAGES], between[PAGES], late[PAGES];
static bool in_bitmap;

static void device_writes(uint16_t source_id, uint64_t iova, uint64_t gpa)
{
    uint32_t word = 1;

    if (dma(source_id, MODEL_WRITE, iova, &word, 4).outcome != MODEL_DONE)
        fail_msg("%s: write at 0x%llx", where, (unsigned long long)iova);
    (in_bitmap ? between : written)[gpa / K4] = true;
}

static unsigned pace;

static void write_between(volatile void *entry, unsigned bytes)
{
    uint64_t page = 0x700 + pace++ % 0x80;

    hardware_looks(entry, bytes);
    in_bitmap = true;
    if (pace % 3 == 0)
        device_writes(DEVICE, page * K4, page * K4);
    in_bitmap = false;
}

static int64_t set_tracking(uint32_t hwpt, bool on)
{
    struct nidus_hwpt_set_dirty_tracking s = { .size = sizeof s, .flags = on ? NIDUS_HWPT_DIRTY_TRACKING_ENABLE : 0, .hwpt_id = hwpt };

    return call(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, &s, sizeof s, 0);
}

/* leaf: of the second stage.  The unit may write to the first stage's tables as well. */
static void expect_dirty(uint32_t hwpt, uint64_t leaf, bool clear, bool more)
{
    struct nidus_hwpt_get_dirty_bitmap g = {
        .size = sizeof g, .hwpt_id = hwpt, .flags = clear ? 0 : NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, .length = RAM, .page_size = K4, .data = BITMAP,
    };
    const uint8_t *bits = host_guest_byte(guest, BITMAP);
    uint64_t each = leaf / K4;

    memset(host_guest_byte(guest, BITMAP), 0, PAGES / 8);
    memcpy(late, between, sizeof late);
    memset(between, 0, sizeof between);
    hardware_looks = host_store_hook;
    if (more)
        host_store_hook = write_between;
    assert_int_equal(call(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, &g, sizeof g, 0), 0);
    host_store_hook = hardware_looks;
    for (uint64_t page = 0; page < PAGES; page++) {
        bool set = bits[page / 8] >> page % 8 & 1, told = false, maybe = false;

        for (uint64_t p = page / each * each; p < (page / each + 1) * each; p++) {
            told |= written[p];
            maybe |= between[p] || late[p] || (p >= TABLES / K4 && p * K4 < next_table);
        }
        if ((told && !set) || (set && !told && !maybe))
            fail_msg("%s: page 0x%llx is %sdirty in the bitmap", where, (unsigned long long)page, set ? "" : "not ");
    }
    for (uint64_t page = 0; page < PAGES; page++) /* what was not told of this time has to be next time */
        written[page] = clear ? between[page] && !(bits[page / 8] >> page % 8 & 1) : written[page] || between[page];
    expect_no_violation();
}

static void dirty(void)
{
    static const uint64_t leaves[] = { K4, M2 };
    uint64_t top = new_table();
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = top, .addr_width = 48 };
    const uint32_t flags = NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_DIRTY_TRACKING;

    for (unsigned l = 0; l < 2; l++) {
        uint32_t ioas = alloc_ioas(), parent, nested;
        struct nidus_option small = { .size = sizeof small, .option_id = NIDUS_OPTION_HUGE_PAGES, .object_id = ioas, .val64 = l };

        memset(written, 0, sizeof written);
        memset(between, 0, sizeof between);
        assert_int_equal(call(NIDUS_CALL_OPTION, &small, sizeof small, 0), 0);
        assert_int_equal(map(ioas, 0, 0, RAM, RW), 0);
        assert_int_equal(alloc_hwpt(ioas, flags, NULL, &parent), 0);
        assert_int_equal(alloc_hwpt(parent, 0, &s1, &nested), 0);
        assert_int_equal(attach(device_id, parent), 0);
        expect_dma(DEVICE, 0x700000, 0x700000);     /* not tracked yet, and in the IOTLB */
        assert_int_equal(set_tracking(parent, true), 0);
        assert_int_equal(attach(other_id, nested), 0);
        expect_dirty(parent, leaves[l], true, false);
        for (unsigned round = 0; round < 12; round++) {
            for (unsigned i = 0; i < 6; i++) {
                uint64_t page = 0x400 + (unsigned)rand() % 0x80 * (round % 2 ? 8 : 1), iova = 0x7000000000 + page * K4;
                uint32_t word;

                device_writes(DEVICE, page * K4, page * K4);
                dma(DEVICE, MODEL_READ, (page ^ 1) * K4, &word, 4);
                fs_map(top, iova, (page ^ 2) * K4);
                device_writes(OTHER, iova, (page ^ 2) * K4);
            }
            expect_dirty(parent, leaves[l], round % 3 != 0, round % 4 == 1);
            if (round == 6) { /* off, written, and on again: that does not count */
                assert_int_equal(set_tracking(parent, false), 0);
                expect_dma(DEVICE, 0x700000, 0x700000);
                fs_map(top, 0x5000, 0x710000);
                expect_dma(OTHER, 0x5000, 0x710000);
                assert_int_equal(set_tracking(parent, true), 0);
                memset(written, 0, sizeof written);
            }
        }
        assert_int_equal(detach(device_id), 0);
        assert_int_equal(detach(other_id), 0);
        assert_int_equal(destroy(nested), 0);
        assert_int_equal(destroy(parent), 0);
        assert_int_equal(destroy(ioas), 0);
    }
}

static bool has_dirty(const struct model_preset *p)
{
    return has_nest(p) && p->ecap >> 45 & 1 && p->ecap >> 48 & 1;
}

static void a_bitmap_tells_what_devices_wrote(void **state)
{
    (void)state;
    on_each(dirty, has_dirty);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_attached_is_blocked),
        cmocka_unit_test(a_function_of_nobody_is_blocked),
        cmocka_unit_test(a_function_that_did_dma_before_can_be_assigned),
        cmocka_unit_test(the_default_ioas_maps_all_ram),
        cmocka_unit_test(what_is_unmapped_is_gone_from_every_cache),
        cmocka_unit_test(areas_that_fill_a_large_page_are_merged),
        cmocka_unit_test(a_first_stage_of_the_guest_is_nested),
        cmocka_unit_test(an_unmap_reaches_first_stages_over_it),
        cmocka_unit_test(a_device_moves_between_tables),
        cmocka_unit_test(an_invalidation_of_tables_takes_paging_structures),
        cmocka_unit_test(ranges_are_covered_to_the_page),
        cmocka_unit_test(large_leaves_become_small_ones),
        cmocka_unit_test(a_cut_reaches_large_leaves_in_caches),
        cmocka_unit_test(requests_are_made_to_snoop),
        cmocka_unit_test(faults_reach_the_guest),
        cmocka_unit_test(faults_interrupt),
        cmocka_unit_test(a_unit_that_firmware_left_on_is_taken_over),
        cmocka_unit_test(unlike_units_serve_one_guest),
        cmocka_unit_test(a_unit_that_falls_silent_is_an_error),
        cmocka_unit_test(a_map_without_an_answer_is_said),
        cmocka_unit_test(a_queue_error_is_recovered),
        cmocka_unit_test(a_bitmap_tells_what_devices_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
