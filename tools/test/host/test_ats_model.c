/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_ats_model.c: devices with a TLB of their own against the model of the hardware, which keeps in it all that it may keep, and lets
 * the queue overtake wherever it may: after each completed request nothing stale is left, and a page that was taken away is not reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/ats.h"
#include "iommu/unit.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/ranges.h"
#include "tools/test/host/units.h"
#include "tools/vtd-model/host_platform.h"

#define K4     0x1000ULL
#define PAGES  64u              /* of each address space that is looked at */
#define RAM    (4ULL << 20)
#define TABLES 0x100000ULL      /* the first stage: four pages */
#define POOL   0x200000ULL      /* GPAs that its leaves point to */
#define DEVICE 0x0020u
#define OTHER  0x0028u
#define STEPS  4000u

static struct model *model;
static struct model_unit *unit;
static struct guest *guest;
static struct device dev, other;
static struct domain domain;
static struct first_stage first;
static uint64_t seed;

/* What the tables say now, page by page. */
static int leaf[PAGES];         /* first stage: IOVA page -> page of the pool, -1: none */
static bool mapped[PAGES];      /* second stage: is the pool's page there? */

static unsigned changed;        /* the page that is being changed */

static unsigned pick(unsigned n)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (unsigned)(seed >> 20) % n;
}

/* The devices are busy while nidus waits: what the unit still answers is kept. */
static void devices_go_on(void)
{
    const struct model_request r = { .source_id = pick(2) ? DEVICE : OTHER, .access = MODEL_READ };
    uint64_t word;
    model_run(model, 1);
    if (pick(2))
        model_dma_ats(unit, &r, (pick(4) ? changed : pick(PAGES)) * K4, &word, 8);
}

static void add_ats(uint16_t bdf)
{
    struct host_function *f = host_function_add(0, bdf);
    f->config[0x100] = 0x0f;
}

static bool assign(struct device *d, uint16_t source_id)
{
    char reason[160];
    *d = (struct device){ .source_id = source_id, .owner = guest, .id = source_id, .policy = { .ats = IOMMU_ATS_TRUST } };
    bool ok = engine_device_init(d, reason);
    if (!ok)
        print_error("%s\n", reason);
    return ok;
}

static uint64_t *guest_word(uint64_t gpa) { return (uint64_t *)host_guest_byte(guest, gpa); }

static void start(const char *preset, const struct model_freedom *freedom, uint64_t with_seed)
{
    static const uint8_t atsr[] = { 2, 0, 8, 0, 1, 0, 0, 0 };
    uint8_t dmar[256];
    uint32_t length;
    host_reset();
    host_log_clear();
    seed = with_seed;
    model = model_host_new(seed);
    unit = model_host_unit(model, model_preset(preset), 0xfed90000);
    model_set_freedom(model, freedom);
    guest = host_guest("web", RAM);
    add_ats(DEVICE);
    add_ats(OTHER);
    const void *table = model_host_dmar(model, NULL, &length);
    memcpy(dmar, table, length);
    memcpy(dmar + length, atsr, sizeof atsr);
    dmar[4] = (uint8_t)(length + sizeof atsr);
    iommu_init(dmar, length + sizeof atsr, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    assert_true(assign(&dev, DEVICE) && assign(&other, OTHER));
    assert_int_equal(engine_domain_init(&domain, &dev, ENGINE_NEST_PARENT, guest), 0);
    assert_int_equal(engine_domain_map(&domain, 0, host_guest_hpa(guest, 0), POOL, STAGE2_READ | STAGE2_WRITE), 0);
    for (unsigned level = 0; level < 3; level++)
        *guest_word(TABLES + level * K4) = (TABLES + (level + 1) * K4) | 0x67;
    for (unsigned i = 0; i < PAGES; i++) {
        leaf[i] = -1;
        mapped[i] = false;
        *guest_word(POOL + i * K4) = 0x5a5a0000 + i; /* says which page it is */
    }
    first = (struct first_stage){ .parent = &domain, .pgtbl = TABLES, .levels = 4 };
    assert_int_equal(engine_first_stage_init(&first, &dev), 0);
    assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
    assert_int_equal(engine_attach(&other, ENGINE_NO_PASID, NULL, &first), 0);
    assert_int_equal(model_violations(model), 0);
    host_pause_hook = devices_go_on;
}

static void stop(void)
{
    for (unsigned i = 0; i < model_violations(model) && i < 5; i++)
        print_error("violation: %s\n", model_violation(model, i));
    assert_int_equal(model_violations(model), 0);
    assert_int_equal(engine_device_fini(&dev), 0);
    assert_int_equal(engine_device_fini(&other), 0);
    engine_first_stage_fini(&first);
    engine_domain_fini(&domain);
    units_free();
    model_host_free(model);
}

/* What the device sees at an IOVA page is what the tables say. */
static void look(uint16_t source_id, unsigned page, bool through_tlb)
{
    const struct model_request r = { .source_id = source_id, .access = MODEL_READ };
    uint64_t word = 0;
    struct model_result result = through_tlb ? model_dma_ats(unit, &r, page * K4, &word, 8) : model_dma(unit, &r, page * K4, &word, 8);
    bool expected = leaf[page] >= 0 && mapped[leaf[page]];
    if (expected && (result.outcome != MODEL_DONE || word != 0x5a5a0000u + (unsigned)leaf[page]))
        fail_msg("page %u of %04x: outcome %d (%s), 0x%llx", page, source_id, result.outcome, model_reason(result.reason), (unsigned long long)word);
    if (!expected && result.outcome == MODEL_DONE)
        fail_msg("page %u of %04x is stale: 0x%llx", page, source_id, (unsigned long long)word);
}

static void change_leaf(unsigned page)
{
    const struct range range = { page * K4, 1, true };
    bool was = leaf[page] >= 0;
    changed = page;
    leaf[page] = (int)pick(PAGES + 16);
    if (leaf[page] >= (int)PAGES)
        leaf[page] = -1;
    *guest_word(TABLES + 3 * K4 + page * 8) = leaf[page] < 0 ? 0 : (POOL + (unsigned)leaf[page] * K4) | 0x67;
    if (was)
        assert_int_equal(invalidate_ranges(&first, &range, 1), 0);
}

static void change_page(unsigned page)
{
    uint64_t gpa = POOL + page * K4;
    mapped[page] = !mapped[page];
    if (mapped[page])
        assert_int_equal(engine_domain_map(&domain, gpa, host_guest_hpa(guest, gpa), K4, STAGE2_READ | STAGE2_WRITE), 0);
    else
        assert_int_equal(engine_domain_unmap(&domain, gpa, K4), 0);
}

static void step(void)
{
    unsigned page = pick(PAGES);
    switch (pick(8)) {
    case 0: change_page(page); break;
    case 1:
    case 2: change_leaf(page); break;
    case 3:
        if (!pick(20)) { /* what the device kept is gone when it is attached again */
            assert_int_equal(engine_detach(&dev, ENGINE_NO_PASID), 0);
            for (unsigned i = 0; i < 20; i++)
                change_leaf(pick(PAGES));
            assert_int_equal(engine_attach(&dev, ENGINE_NO_PASID, NULL, &first), 0);
        }
        break;
    default: look(pick(2) ? DEVICE : OTHER, page, pick(4)); break;
    }
}

static const char *const kinds[] = { "spr", "spr-svm", "noncoherent", "granite" };

static void nothing_stale(const struct model_freedom *freedom)
{
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (uint64_t s = 1; s <= 3; s++) {
            start(kinds[k], freedom, s * 0x9e3779b97f4a7c15ULL);
            for (unsigned i = 0; i < STEPS; i++)
                step();
            stop();
        }
}

static void test_nothing_stale_calm(void **state) { (void)state, nothing_stale(&model_calm); }
static void test_nothing_stale_wild(void **state) { (void)state, nothing_stale(&model_wild); }

/* A device that stops answering is shut out, also for addresses that it translated before; its neighbour goes on. */
static void silent(const struct model_freedom *freedom, uint64_t s, struct device *culprit, struct device *neighbour)
{
    const struct model_request r = { .source_id = culprit->source_id, .access = MODEL_READ };
    const struct range all = { 0, UINT64_MAX, false };
    uint64_t word = 0;
    start("spr", freedom, s);
    for (unsigned i = 0; i < STEPS / 4; i++)
        step();
    leaf[0] = 0;
    *guest_word(TABLES + 3 * K4) = POOL | 0x67;
    assert_int_equal(invalidate_ranges(&first, &all, 1), 0);
    if (!mapped[0])
        change_page(0);
    look(culprit->source_id, 0, true);
    look(neighbour->source_id, 0, true);
    model_device_silent(unit, culprit->source_id, true);
    change_page(0);
    assert_true(culprit->tlb.lost && !neighbour->tlb.lost && !dev.unit->dead);
    assert_true(host_log_has("(web) does not answer invalidations of its TLB"));
    struct model_result result = model_dma_translated(unit, &r, host_guest_hpa(guest, POOL), &word, 8);
    assert_int_equal(result.outcome, MODEL_FAULT);
    assert_int_equal(result.reason, 0x44);
    assert_int_not_equal(model_dma_ats(unit, &r, 0, &word, 8).outcome, MODEL_DONE);
    look(neighbour->source_id, 0, true);
    for (unsigned i = 0; i < 200; i++) {
        unsigned page = pick(PAGES);
        if (pick(2))
            change_page(page);
        else
            change_leaf(page);
        look(neighbour->source_id, pick(PAGES), true);
        look(culprit->source_id, pick(PAGES), false); /* through the unit it does what the tables say */
    }
    model_device_silent(unit, culprit->source_id, false);
    stop();
}

static void test_silent_device(void **state)
{
    (void)state;
    for (uint64_t s = 1; s < 10; s++) {
        silent(s < 3 ? &model_calm : &model_wild, s * 0x9e3779b97f4a7c15ULL, &dev, &other);
        silent(s < 3 ? &model_calm : &model_wild, s * 0x9e3779b97f4a7c15ULL, &other, &dev);
    }
}

/* Two in one request: each time that the unit tells of one, the other is asked again, and told of as often.  The request is done all the same. */
static void test_two_silent_devices(void **state)
{
    (void)state;
    for (uint64_t s = 1; s < 60; s++) {
        start("spr", &model_wild, s * 0x9e3779b97f4a7c15ULL);
        change_page(0);
        if (!mapped[0])
            change_page(0);
        model_device_silent(unit, DEVICE, true);
        model_device_silent(unit, OTHER, true);
        assert_int_equal(engine_domain_unmap(&domain, POOL, K4), 0);
        assert_true(dev.tlb.lost && other.tlb.lost && !dev.unit->dead);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_stale_calm),
        cmocka_unit_test(test_nothing_stale_wild),
        cmocka_unit_test(test_silent_device),
        cmocka_unit_test(test_two_silent_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
