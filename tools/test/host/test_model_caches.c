/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_model_caches.c: what the model of VT-d keeps and what each invalidation takes: tables 17, 23 and 24 of the specification, and the
 * order of section 6.5.2.12.
 */
#include "tools/test/host/model_tables.h"

#include <string.h>

/*
 * Six translations of one function at the same two addresses, by PASID: DIDs and stages differ.  Each is used, then its table is
 * changed to lead to `later`; after an invalidation a request that still finds `sooner` has been served from a cache.
 */
enum kind { SS_1, SS_2, FS_3, PT_3, NESTED_4, NESTED_4B, KINDS };
#define NEAR 0x7000ULL          /* the address that invalidations name */
#define FAR  0x40000000ULL      /* another page, table and directory */
static uint64_t sooner, later, near_leaf[KINDS], far_leaf[KINDS];
static uint64_t ss_of_caching;
static const uint16_t did_of[KINDS] = { 1, 2, 3, 3, 4, 4 };

static uint32_t pasid_of(unsigned kind)
{
    return kind + 10;
}

static uint64_t address_of(const uint64_t *entry)
{
    for (uint64_t a = root;; a += K4)
        if ((const uint8_t *)entry >= (uint8_t *)word(a) && (const uint8_t *)entry < (uint8_t *)word(a) + K4)
            return a + (uint64_t)((const uint8_t *)entry - (uint8_t *)word(a));
}

static void build(void)
{
    uint64_t nested_ss;

    model_start("spr-svm");
    sooner = page();
    later = page();
    nested_ss = new_ss();
    ss_identity(nested_ss, 4, 3);
    for (unsigned k = 0; k < KINDS; k++) {
        uint64_t top = page();
        bool second = k == SS_1 || k == SS_2;

        if (k == PT_3) {
            set_pasid(pasid_of(k), PGTT_PT, 3, 0, 0, 0, 0);
            continue;
        }
        near_leaf[k] = address_of(second ? ss_leaf(top, 4, NEAR, 1) : fs_leaf(top, 4, NEAR, 1));
        far_leaf[k] = address_of(second ? ss_leaf(top, 4, FAR, 1) : fs_leaf(top, 4, FAR, 1));
        *word(near_leaf[k]) = *word(far_leaf[k]) = sooner | (second ? 3 : 7);
        if (second)
            set_pasid(pasid_of(k), PGTT_SS, did_of[k], top, 4, 0, 0);
        else
            set_pasid(pasid_of(k), k == FS_3 ? PGTT_FS : PGTT_NESTED, did_of[k], k == FS_3 ? 0 : nested_ss, k == FS_3 ? 0 : 4, top, 4);
    }
}

static uint64_t goes_to(unsigned kind, uint64_t address)
{
    struct model_request r = { .source_id = SID, .with_pasid = true, .pasid = pasid_of(kind) };

    return access_as(r, address).address & ~0xfffULL;
}

/* After the change: bit 2k: kind k is stale at NEAR, bit 2k + 1: at FAR. */
static unsigned stale_after(uint64_t w0, uint64_t w1)
{
    unsigned stale = 0;

    build();
    for (unsigned k = 0; k < KINDS; k++)
        if (k != PT_3) {
            assert_int_equal(goes_to(k, NEAR), sooner);
            assert_int_equal(goes_to(k, FAR), sooner);
            *word(near_leaf[k]) ^= sooner ^ later;
            *word(far_leaf[k]) ^= sooner ^ later;
        }
    put(w0, w1);
    assert_true(submit());
    for (unsigned k = 0; k < KINDS; k++)
        if (k != PT_3)
            stale |= (goes_to(k, NEAR) == sooner) << 2 * k | (goes_to(k, FAR) == sooner) << (2 * k + 1);
    assert_int_equal(model_violations(model), 0);
    model_stop(NULL);
    return stale;
}

#define AT_NEAR(k) (1u << 2 * (k))
#define AT_FAR(k)  (2u << 2 * (k))
#define BOTH(k)    (3u << 2 * (k))
#define ALL (BOTH(SS_1) | BOTH(SS_2) | BOTH(FS_3) | BOTH(NESTED_4) | BOTH(NESTED_4B))

/* Tables 23 and 24: nothing else is taken. */
static void each_invalidation_takes_what_its_tags_say_and_no_more(void **state)
{
    static const struct {
        uint64_t w0, w1;
        unsigned taken;
    } rows[] = {
        { CC_GLOBAL, 0, 0 },
        { PC_GLOBAL, 0, 0 },
        { IEC_GLOBAL, 0, 0 },
        { IOTLB_GLOBAL, 0, ALL },
        { IOTLB_DOMAIN(1), 0, BOTH(SS_1) },
        { IOTLB_DOMAIN(3), 0, BOTH(FS_3) },
        { IOTLB_DOMAIN(4), 0, BOTH(NESTED_4) | BOTH(NESTED_4B) },
        { IOTLB_DOMAIN(9), 0, 0 },
        { IOTLB_PAGE(1), NEAR, AT_NEAR(SS_1) },
        { IOTLB_PAGE(1), FAR | 9, AT_FAR(SS_1) },
        { IOTLB_PAGE(1), 0 | 3, AT_NEAR(SS_1) },         /* 8 pages */
        { IOTLB_PAGE(1), 0 | 2, 0 },                     /* 4 pages */
        { IOTLB_PAGE(1), 0 | 19, BOTH(SS_1) },
        { IOTLB_PAGE(2), NEAR | 0x40, AT_NEAR(SS_2) },   /* IH is about paging structures */
        { IOTLB_PAGE(4), 0x123000, BOTH(NESTED_4) | BOTH(NESTED_4B) }, /* whatever the address */
        { IOTLB_PAGE(3), 0x123000, BOTH(FS_3) },
        { P_IOTLB_ALL(4, 14), 0, BOTH(NESTED_4) },
        { P_IOTLB_ALL(4, 15), 0, BOTH(NESTED_4B) },
        { P_IOTLB_ALL(3, 14), 0, 0 },
        { P_IOTLB_ALL(1, 10), 0, BOTH(SS_1) },
        { P_IOTLB_PAGE(1, 10), NEAR, 0 },                /* second-stage entries are not its business */
        { P_IOTLB_PAGE(3, 12), NEAR, AT_NEAR(FS_3) },
        { P_IOTLB_PAGE(4, 14), NEAR, AT_NEAR(NESTED_4) },
        { P_IOTLB_PAGE(4, 15), FAR | 0x40, AT_FAR(NESTED_4B) },
        { P_IOTLB_PAGE(4, 15), 0 | 3, AT_NEAR(NESTED_4B) },
        { P_IOTLB_PAGE(4, 13), NEAR, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned stale = stale_after(rows[i].w0, rows[i].w1);

        if (stale != (ALL & ~rows[i].taken))
            fail_msg("row %u: stale are %03x, not %03x", i, stale, ALL & ~rows[i].taken);
    }
}

/* Paging structures: the table above the leaf is replaced, and the leaf's own translation is not cached: another page is asked for. */
static bool table_is_stale_after(unsigned kind, uint64_t w0, uint64_t w1)
{
    uint64_t old_table, new_table, other = NEAR + K4, *parent;
    bool stale;

    build();
    old_table = near_leaf[kind] & ~0xfffULL;
    new_table = page();
    *word(old_table + 8 * (other >> 12 & 511)) = sooner | 7 >> (kind < FS_3);
    *word(new_table + 8 * (other >> 12 & 511)) = later | 7 >> (kind < FS_3);
    goes_to(kind, NEAR);
    for (parent = word(root);; parent++)
        if ((*parent & 0xffffffffff000) == old_table)
            break;
    *parent = new_table | 7 >> (kind < FS_3);
    put(w0, w1);
    assert_true(submit());
    stale = goes_to(kind, other) == sooner;
    model_stop(NULL);
    return stale;
}

static void paging_structures_go_unless_only_leaves_changed(void **state)
{
    static const struct {
        unsigned kind;
        uint64_t w0, w1;
        bool stale;
    } rows[] = {
        { SS_1, CC_GLOBAL, 0, true },
        { SS_1, IOTLB_GLOBAL, 0, false },
        { SS_1, IOTLB_DOMAIN(1), 0, false },
        { SS_1, IOTLB_DOMAIN(2), 0, true },
        { SS_1, IOTLB_PAGE(1), NEAR, false },           /* IH=0: the structures that control the address */
        { SS_1, IOTLB_PAGE(1), NEAR | 0x40, true },     /* IH=1 */
        { SS_1, IOTLB_PAGE(1), FAR, true },
        { SS_1, P_IOTLB_ALL(1, 10), 0, true },          /* not applicable to the second stage's */
        { FS_3, P_IOTLB_ALL(3, 12), 0, false },
        { FS_3, P_IOTLB_PAGE(3, 12), NEAR, false },
        { FS_3, P_IOTLB_PAGE(3, 12), NEAR | 0x40, true },
        { FS_3, IOTLB_PAGE(3), FAR, false },            /* everything of the DID but the second stage's */
        { NESTED_4, P_IOTLB_PAGE(4, 14), NEAR, false },
        { NESTED_4, P_IOTLB_PAGE(4, 14), NEAR | 0x40, true },
        { NESTED_4, P_IOTLB_PAGE(4, 15), NEAR, true },
        { NESTED_4, IOTLB_PAGE(4), FAR | 0x40, false },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (table_is_stale_after(rows[i].kind, rows[i].w0, rows[i].w1) != rows[i].stale)
            fail_msg("row %u: %s", i, rows[i].stale ? "was taken" : "is stale");
}

/* A page of the second stage that the first stage lies on: cached by GPA, dropped by GPA. */
static void second_stage_structures_of_nested_walks_are_tagged_by_gpa(void **state)
{
    (void)state;
    build();
    goes_to(NESTED_4, NEAR);
    assert_true(model_cached(unit, MODEL_SECOND_STAGE) > 0);
    put(IOTLB_PAGE(4), sooner & ~(M2 - 1));
    assert_true(submit());
    assert_int_equal(model_cached(unit, MODEL_FIRST_STAGE), 0);
}

/* Context and PASID entries. */
static void entries_stay_until_their_tags_are_named(void **state)
{
    static const struct {
        uint64_t w0;
        bool taken;
    } rows[] = {
        { PC_GLOBAL, true }, { PC_DOMAIN(1), true }, { PC_DOMAIN(2), false }, { PC_PASID(1, 10), true }, { PC_PASID(1, 11), false },
        { PC_PASID(2, 10), false }, { CC_GLOBAL, false }, { IOTLB_GLOBAL, false }, { P_IOTLB_ALL(1, 10), false },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        build();
        goes_to(SS_1, NEAR);
        pasid_entry(10)[0] &= ~1ULL;
        put(rows[i].w0, 0);
        assert_true(submit());
        put(IOTLB_GLOBAL, 0);
        assert_true(submit());
        assert_int_equal(fault_of_pasid(10, MODEL_READ, NEAR), rows[i].taken ? 0x59 : 0);
        model_stop(NULL);
    }
}

static void a_context_entry_is_cached_by_source_id(void **state)
{
    static const struct {
        uint64_t w0;
        bool taken;
    } rows[] = {
        { CC_GLOBAL, true }, { 0x21ULL | 5 << 16, true } /* domain-selective is global */, { CC_DEVICE(SID), true }, { CC_DEVICE(SID + 1), false },
        { CC_DEVICE(SID + 4) | 1ULL << 48, true } /* FM: bit 2 */, { CC_DEVICE(SID + 2) | 1ULL << 48, false },
        { CC_DEVICE(SID + 7) | 3ULL << 48, true }, { PC_GLOBAL, false },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        build();
        goes_to(SS_1, NEAR);
        context_entry()[0] &= ~1ULL;
        put(rows[i].w0, 0);
        assert_true(submit());
        put(IOTLB_GLOBAL, 0);
        assert_true(submit());
        assert_int_equal(fault_of_pasid(10, MODEL_READ, NEAR), rows[i].taken ? 0x41 : 0);
        model_stop(NULL);
    }
}

/* CM=0: what is not there is not remembered. */
static void what_faults_is_not_cached(void **state)
{
    (void)state;
    build();
    pasid_entry(10)[0] &= ~1ULL;
    assert_int_equal(fault_of_pasid(10, MODEL_READ, NEAR), 0x59);
    pasid_entry(10)[0] |= 1;
    *word(near_leaf[SS_1]) = 0;
    assert_int_equal(fault_of_pasid(10, MODEL_READ, NEAR), 0x79);
    *word(near_leaf[SS_1]) = later | 3;
    assert_int_equal(goes_to(SS_1, NEAR), later);
    model_stop(NULL);
}

/* CM=1: entries that are absent are, tagged with DID 0, and so are second-stage faults, with their own. */
static void caching_mode_remembers_what_is_absent(void **state)
{
    uint64_t hpa;

    (void)state;
    model_start("caching");
    ss_identity(ss_of_caching = new_ss(), 4, 3);
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0x59);
    set_pasid(0, PGTT_SS, 1, ss_of_caching, 4, 0, 0);
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0x59);
    put(PC_DOMAIN(1), 0);
    assert_true(submit());
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0x59);
    put(PC_DOMAIN(0), 0);
    assert_true(submit());
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0x59); /* … of the IOTLB */
    put(IOTLB_DOMAIN(0), 0);
    assert_true(submit());
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0);
    assert_int_equal(fault_of(MODEL_READ, 0x7000), 0x79);
    *ss_leaf(ss_of_caching, 4, 0x7000, 1) = 0x40000000 | 3;
    assert_int_equal(fault_of(MODEL_READ, 0x7000), 0x79);
    put(IOTLB_PAGE(1), 0x7000);
    assert_true(submit());
    assert_int_equal(where(0x7000, &hpa), 0);
}

static void an_entry_of_a_request_without_pasid_carries_rid_pasid(void **state)
{
    uint64_t top, hpa;

    (void)state;
    build();
    top = page();
    *fs_leaf(top, 4, NEAR, 1) = sooner | 7;
    context_entry()[1] = 20; /* RID_PASID */
    set_pasid(20, PGTT_FS, 3, 0, 0, top, 4);
    put(CC_DEVICE(SID), 0);
    assert_true(submit());
    assert_int_equal(where(NEAR, &hpa), 0);
    *fs_leaf(top, 4, NEAR, 1) = later | 7;
    put(P_IOTLB_PAGE(3, 19), NEAR);
    assert_true(submit());
    where(NEAR, &hpa);
    assert_int_equal(hpa & ~0xfffULL, sooner);
    put(P_IOTLB_PAGE(3, 20), NEAR);
    assert_true(submit());
    where(NEAR, &hpa);
    assert_int_equal(hpa & ~0xfffULL, later);
    model_stop(NULL);
}

/* A large page: only an invalidation of the whole of it is certain to take it. */
static void a_large_page_wants_the_mask_of_its_size(void **state)
{
    uint64_t top, small;

    (void)state;
    build();
    top = page();
    *ss_leaf(top, 4, 0, 2) = 0x40000000 | 1 << 7 | 3;
    set_pasid(30, PGTT_SS, 5, top, 4, 0, 0);
    assert_int_equal(fault_of_pasid(30, MODEL_READ, 0x5000), 0);
    small = page();
    *ss_leaf(top, 4, 0, 2) = small | 3;
    put(IOTLB_PAGE(5), 0x5000);
    assert_true(submit());
    assert_int_equal(fault_of_pasid(30, MODEL_READ, 0x5000), 0);
    put(IOTLB_PAGE(5), 0 | 9);
    assert_true(submit());
    assert_int_equal(fault_of_pasid(30, MODEL_READ, 0x5000), 0x79);
    model_stop(NULL);
}

/* A hit is checked against what the entry permits. */
static void a_hit_checks_permission_again(void **state)
{
    (void)state;
    build();
    *word(near_leaf[SS_1]) = sooner | 1;
    assert_int_equal(fault_of_pasid(10, MODEL_READ, NEAR), 0);
    assert_int_equal(fault_of_pasid(10, MODEL_WRITE, NEAR), 0x85);
    *word(near_leaf[SS_1]) = sooner | 3; /* an upgrade, not invalidated */
    assert_int_equal(fault_of_pasid(10, MODEL_WRITE, NEAR), 0x85);
    put(IOTLB_PAGE(1), NEAR | 0x40);
    assert_true(submit());
    assert_int_equal(fault_of_pasid(10, MODEL_WRITE, NEAR), 0);
    model_stop(NULL);
}

/* Evictions, misses and prefetches change nothing that a correct driver can see. */
static void chance_may_evict(void **state)
{
    struct model_freedom f = { .evict = 1000 };

    (void)state;
    build();
    goes_to(SS_1, NEAR);
    goes_to(NESTED_4, NEAR);
    model_set_freedom(model, &f);
    model_run(model, 20000);
    assert_int_equal(model_cached(unit, MODEL_IOTLB) + model_cached(unit, MODEL_PASID) + model_cached(unit, MODEL_CONTEXT), 0);
    assert_int_equal(goes_to(NESTED_4, NEAR), sooner);
    model_stop(NULL);
}

static void chance_may_prefetch_the_next_page(void **state)
{
    struct model_freedom f = { .prefetch = 1000 };

    (void)state;
    build();
    *word(near_leaf[SS_1] + 8) = sooner | 3;
    model_set_freedom(model, &f);
    goes_to(SS_1, NEAR);
    model_run(model, 100);
    *word(near_leaf[SS_1] + 8) = later | 3;
    assert_int_equal(goes_to(SS_1, NEAR + K4), sooner);
    model_stop(NULL);
}

/* Order, section 6.5.2.12: is there a seed with which `second` has happened although `first` has not? ------------------- */

/* Runs {first, second} one step at a time and looks after each at what the caches still hold. */
static bool can_overtake(uint64_t first, uint64_t first1, uint64_t second, uint64_t second1, bool fenced, enum model_cache of_first,
                         enum model_cache of_second)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct model_freedom f = { .reorder = 1000, .delay = 500 };
        struct model_translation t;
        struct model_request r = { .source_id = SID };
        unsigned before_first, before_second;
        uint64_t top;
        bool overtook = false;

        model_start_with(model_preset("spr-svm"), &model_calm, seed, true);
        top = page();
        *fs_leaf(top, 4, NEAR, 1) = top | 7;
        set_pasid(0, PGTT_FS, 1, 0, 0, top, 4);
        t = model_translate(unit, &r, NEAR);
        assert_true(t.read);
        before_first = model_cached(unit, of_first);
        before_second = model_cached(unit, of_second);
        assert_true(before_first > 0 && before_second > 0);
        model_set_freedom(model, &f);
        put(first, first1);
        if (fenced)
            put(WAIT_FENCE, 0);
        put(second, second1);
        put(0x25, page());
        model_write(unit, 0x88, 8, reg(0x88, 8) + 32 * (fenced ? 4 : 3));
        for (unsigned i = 0; i < 200; i++) {
            overtook |= model_cached(unit, of_second) < before_second && model_cached(unit, of_first) == before_first;
            model_run(model, 1);
        }
        assert_true(model_cached(unit, of_first) < before_first);
        model_stop(NULL);
        if (overtook)
            return true;
    }
    return false;
}

static void a_device_tlb_invalidation_overtakes_p_iotlb_unless_fenced(void **state)
{
    (void)state;
    assert_true(can_overtake(P_IOTLB_PAGE(1, 0), NEAR, DEV_TLB(SID), NEAR, false, MODEL_IOTLB, MODEL_DEVICE_TLB));
    assert_false(can_overtake(P_IOTLB_PAGE(1, 0), NEAR, DEV_TLB(SID), NEAR, true, MODEL_IOTLB, MODEL_DEVICE_TLB));
    assert_false(can_overtake(IOTLB_DOMAIN(1), 0, DEV_TLB(SID), NEAR, false, MODEL_IOTLB, MODEL_DEVICE_TLB));
}

static void context_then_pasid_then_iotlb(void **state)
{
    (void)state;
    assert_false(can_overtake(CC_GLOBAL, 0, PC_GLOBAL, 0, false, MODEL_CONTEXT, MODEL_PASID));
    assert_false(can_overtake(CC_GLOBAL, 0, IOTLB_GLOBAL, 0, false, MODEL_CONTEXT, MODEL_IOTLB));
    assert_false(can_overtake(PC_GLOBAL, 0, IOTLB_GLOBAL, 0, false, MODEL_PASID, MODEL_IOTLB));
    assert_false(can_overtake(PC_GLOBAL, 0, P_IOTLB_ALL(1, 0), 0, false, MODEL_PASID, MODEL_IOTLB));
    assert_true(can_overtake(PC_GLOBAL, 0, CC_GLOBAL, 0, false, MODEL_PASID, MODEL_CONTEXT));
    assert_true(can_overtake(IOTLB_GLOBAL, 0, PC_GLOBAL, 0, false, MODEL_IOTLB, MODEL_PASID));
    assert_true(can_overtake(PC_GLOBAL, 0, DEV_TLB(SID), NEAR, false, MODEL_PASID, MODEL_DEVICE_TLB));
}

/* A 512-bit entry that changes while it is fetched in pieces. */
static void an_entry_changed_in_place_is_seen_torn(void **state)
{
    struct model_freedom f = { .split = 1000 };
    unsigned torn = 0;

    (void)state;
    for (uint64_t seed = 1; seed < 50; seed++) {
        uint64_t ss[2];

        model_start_with(model_preset("spr"), &f, seed, true);
        for (unsigned i = 0; i < 2; i++) {
            ss[i] = new_ss();
            ss_identity(ss[i], 4, 3);
        }
        set_pasid(0, PGTT_NESTED, 1, ss[0], 4, 0x40000000, 4);
        fault_of(MODEL_READ, NEAR);
        put(PC_GLOBAL, 0);
        assert_true(submit());
        /* DID and SSPTPTR in one store, FSPTPTR in the next: a piece of each may meet. */
        for (unsigned i = 0; i < 8; i++) {
            pasid_entry(0)[2] = 0x40000000 + (i & 1) * K4 * 3;
            model_stored(model, pasid_table + 16, 8);
        }
        torn += model_counters(unit)->splits > 0;
        model_stop(NULL);
    }
    assert_true(torn > 40);
}

static void a_store_that_changes_the_second_stage_alone_is_a_violation(void **state)
{
    uint64_t ss;

    (void)state;
    model_start("spr");
    ss = new_ss();
    ss_identity(ss, 4, 3);
    set_pasid(0, PGTT_SS, 1, ss, 4, 0, 0);
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0);
    pasid_entry(0)[0] += K4;
    model_stored(model, pasid_table, 8);
    assert_true(model_violated(model, "without its DID"));
    model_stop(NULL);
}

static void a_did_that_is_used_again_too_early_is_a_violation(void **state)
{
    uint64_t ss[2];

    (void)state;
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        model_start("spr-svm");
        for (unsigned i = 0; i < 2; i++) {
            ss[i] = new_ss();
            ss_identity(ss[i], 4, 3);
        }
        set_pasid(5, PGTT_SS, 1, ss[0], 4, 0, 0);
        assert_int_equal(fault_of_pasid(5, MODEL_READ, 0x40000000), 0);
        pasid_entry(5)[0] = 0;
        put(PC_PASID(1, 5), 0);
        put(flushed ? IOTLB_DOMAIN(1) : P_IOTLB_ALL(1, 5), 0);
        assert_true(submit());
        set_pasid(6, PGTT_SS, 1, ss[1], 4, 0, 0);
        fault_of_pasid(6, MODEL_READ, 0x40000000);
        assert_int_equal(model_violated(model, "DID 0x1 used for"), !flushed);
        model_stop(NULL);
    }
}

/* Unsnooped tables: what was not written back is not there. */
static void a_walk_that_does_not_snoop_sees_memory(void **state)
{
    uint64_t ss;

    (void)state;
    model_start("noncoherent");
    ss = new_ss();
    ss_identity(ss, 4, 3);
    set_pasid(0, PGTT_SS, 1, ss, 4, 0, 0);
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0x59);
    write_back();
    assert_int_equal(fault_of(MODEL_READ, 0x40000000), 0);
    model_stop(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_invalidation_takes_what_its_tags_say_and_no_more),
        cmocka_unit_test(paging_structures_go_unless_only_leaves_changed),
        cmocka_unit_test_teardown(second_stage_structures_of_nested_walks_are_tagged_by_gpa, model_stop),
        cmocka_unit_test(entries_stay_until_their_tags_are_named),
        cmocka_unit_test(a_context_entry_is_cached_by_source_id),
        cmocka_unit_test(what_faults_is_not_cached),
        cmocka_unit_test_teardown(caching_mode_remembers_what_is_absent, model_stop),
        cmocka_unit_test(an_entry_of_a_request_without_pasid_carries_rid_pasid),
        cmocka_unit_test(a_large_page_wants_the_mask_of_its_size),
        cmocka_unit_test(a_hit_checks_permission_again),
        cmocka_unit_test(chance_may_evict),
        cmocka_unit_test(chance_may_prefetch_the_next_page),
        cmocka_unit_test(a_device_tlb_invalidation_overtakes_p_iotlb_unless_fenced),
        cmocka_unit_test(context_then_pasid_then_iotlb),
        cmocka_unit_test(an_entry_changed_in_place_is_seen_torn),
        cmocka_unit_test(a_store_that_changes_the_second_stage_alone_is_a_violation),
        cmocka_unit_test(a_did_that_is_used_again_too_early_is_a_violation),
        cmocka_unit_test(a_walk_that_does_not_snoop_sees_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
