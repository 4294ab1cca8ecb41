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
static uint32_t ram_ioas, device_id, other_id;
static const char *where;       /* preset and mood, for messages */
static uint64_t next_table;

/* Calls ------------------------------------------------------------------------------------------------ */

static int64_t call(uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(guest, PAYLOAD, payload, size), 0);
    result = iommu_call(context, nr, PAYLOAD, device);
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

/* Start and end ---------------------------------------------------------------------------------------- */

static void start(const struct model_preset *preset, const struct model_freedom *freedom, uint64_t seed)
{
    uint32_t length;
    const void *table;
    char reason[160] = "";

    host_reset();
    host_log_clear();
    model = model_host_new(seed);
    unit = model_host_unit(model, preset, UNIT_BASE);
    model_set_freedom(model, freedom);
    guest = host_guest("web", RAM);
    host_function_add(0, DEVICE);
    host_function_add(0, OTHER);
    table = model_host_dmar(model, NULL, &length);
    iommu_init(table, length, IOMMU_ERRATA_OFF);
    if (iommu_unavailable())
        fail_msg("%s: %s", where, iommu_unavailable());
    expect_no_violation();
    context = iommu_context_create(guest, true);
    assert_non_null(context);
    ram_ioas = iommu_default_ioas(context);
    if (!iommu_assign(context, 0, DEVICE, &device_id, reason) || !iommu_assign(context, 0, OTHER, &other_id, reason))
        fail_msg("%s: refused: %s", where, reason);
    next_table = TABLES;
    expect_no_violation();
}

/* Nidus itself never forgets a unit. */
static void engine_forget_units(void)
{
    while (units) {
        struct unit *u = units;

        units = u->next;
        platform_free(NULL, u, sizeof *u);
    }
}

static void stop(void)
{
    assert_true(iommu_context_block(context));
    expect_fault(DEVICE, MODEL_READ, 0x1000, 0x59);
    iommu_context_destroy(context);
    expect_no_violation();
    engine_forget_units();
    model_host_free(model);
}

static const char *const kinds[] = { "spr", "spr4", "spr-svm", "qemu", "3-level", "noncoherent", "granite" };

static void on_each(void (*rule)(void), bool (*suits)(const struct model_preset *))
{
    static char name[64];

    where = name;
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct model_preset *preset = model_preset(kinds[k]);

        if (suits && !suits(preset))
            continue;
        for (unsigned seed = 0; seed < 4; seed++) {
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_attached_is_blocked),
        cmocka_unit_test(a_function_of_nobody_is_blocked),
        cmocka_unit_test(the_default_ioas_maps_all_ram),
        cmocka_unit_test(what_is_unmapped_is_gone_from_every_cache),
        cmocka_unit_test(a_first_stage_of_the_guest_is_nested),
        cmocka_unit_test(an_unmap_reaches_first_stages_over_it),
        cmocka_unit_test(a_device_moves_between_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
