/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_model.c: the model of VT-d, rule by rule: registers, every fault code, flags in tables, widths, queue errors, interrupts, page
 * requests, translation requests.  Tables and numbers are written here as the specification has them.
 */
#include "tools/test/host/model_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE 0x40000000ULL      /* where memory is */
#define IOVA 0x5000ULL

static uint64_t ss, fs, target; /* of set-ups: tables, and the page that IOVA leads to */

/* A machine whose RID_PASID entry has this PGTT, IOVA -> target. */
static void set_up_with(const struct model_preset *preset, unsigned pgtt)
{
    unsigned levels = strcmp(preset->name, "3-level") == 0 ? 3 : 4;

    model_start_with(preset, &model_calm, 1, true);
    target = page();
    ss = new_ss();
    fs = page();
    ss_identity(ss, levels, 3);
    *fs_leaf(fs, 4, IOVA, 1) = target | 7;
    if (pgtt == PGTT_SS)
        *ss_leaf(ss, levels, IOVA, 1) = target | 3;
    set_pasid(0, pgtt, pgtt == PGTT_FS || pgtt == PGTT_PT ? 2 : 1, pgtt == PGTT_SS || pgtt == PGTT_NESTED ? ss : 0, levels,
              pgtt == PGTT_FS || pgtt == PGTT_NESTED ? fs : 0, 4);
    write_back();
}

static void set_up(const char *preset, unsigned pgtt)
{
    set_up_with(model_preset(preset), pgtt);
}

/* Registers ---------------------------------------------------------------------------------------------- */

static void commands_change_one_field_at_a_time(void **state)
{
    (void)state;
    model_start_with(model_preset("spr"), &model_calm, 1, false);
    set_reg(0x90, 8, page() | 1 << 11);
    model_write(unit, 0x18, 4, 1u << 26 | 1u << 23);
    assert_true(model_violated(model, "several fields"));
    assert_int_equal(reg(0x1c, 4), 1u << 26 | 1u << 23);
}

static void one_shot_commands_show_in_gsts(void **state)
{
    struct model_freedom slow = { .delay = 1000 };

    (void)state;
    model_start_with(model_preset("spr"), &model_calm, 1, false);
    set_reg(0x18, 4, 1u << 30);
    assert_int_equal(reg(0x1c, 4), 1u << 30);
    set_reg(0x18, 4, 1u << 24);
    assert_int_equal(reg(0x1c, 4), 1u << 30 | 1u << 24);
    model_set_freedom(model, &slow);
    model_write(unit, 0x18, 4, 1u << 30);
    assert_int_equal(reg(0x1c, 4), 1u << 24);   /* off when written, on when done */
    model_write(unit, 0x18, 4, 1u << 24);
    assert_true(model_violated(model, "before the command ahead"));
    model_set_freedom(model, &model_calm);
    model_run(model, 2);
    assert_int_equal(reg(0x1c, 4), 1u << 24);   /* the first one was lost */
}

static void commands_come_in_their_order(void **state)
{
    (void)state;
    model_start_with(model_preset("spr"), &model_calm, 1, false);
    set_reg(0x18, 4, 1u << 31);
    assert_true(model_violated(model, "TE without a root table"));
    model_forgive(model);
    set_reg(0x18, 4, 0);
    set_reg(0x20, 8, root | 1 << 10);
    set_reg(0x18, 4, 1u << 30);
    set_reg(0x18, 4, 1u << 31);
    assert_true(model_violated(model, "global invalidations"));
    model_forgive(model);
    set_reg(0x18, 4, 0);
    set_reg(0x18, 4, 1u << 25);
    assert_true(model_violated(model, "IRE without"));
    model_forgive(model);
    set_reg(0x18, 4, 0);
    set_reg(0x88, 8, 32);
    set_reg(0x18, 4, 1u << 26);
    assert_true(model_violated(model, "QIE with IQT"));
}

/* TTM and the root table count as SRTP latched them. */
static void ttm_is_latched(void **state)
{
    uint64_t hpa;

    (void)state;
    set_up("spr", PGTT_SS);
    set_reg(0x20, 8, 0x1000);
    assert_int_equal(where(IOVA, &hpa), 0);
    assert_int_equal(hpa, target);
    set_reg(0x18, 4, 0xc4000000u & ~(1u << 24));
    assert_true(model_violated(model, "TTM"));  /* legacy while TES=1, ESRTPS=0 */
}

static void translation_off_forgets_all(void **state)
{
    uint64_t hpa;

    (void)state;
    set_up("spr", PGTT_SS);
    where(IOVA, &hpa);
    set_reg(0x18, 4, 1u << 26);
    assert_int_equal(model_cached(unit, MODEL_IOTLB) + model_cached(unit, MODEL_CONTEXT) + model_cached(unit, MODEL_PASID), 0);
    assert_int_equal(where(target, &hpa), 0);   /* untranslated */
    assert_int_equal(hpa, target);
}

static void iqa_is_written_with_the_queue_off(void **state)
{
    uint64_t before;

    (void)state;
    model_start("spr");
    before = reg(0x90, 8);
    set_reg(0x90, 8, 0x7000);
    assert_true(model_violated(model, "IQA"));
    assert_int_equal(reg(0x90, 8), before);
}

static void registers_have_their_width(void **state)
{
    (void)state;
    model_start("spr");
    set_reg(0x18, 8, 0);
    assert_true(model_violated(model, "8-byte write"));
    model_forgive(model);
    reg(0x60, 4);
    assert_true(model_violated(model, "no such register"));
    model_forgive(model);
    set_reg(0xb8, 4, 0x1000);                   /* a 64-bit register in halves */
    set_reg(0xbc, 4, 2);
    assert_int_equal(reg(0xb8, 8), 0x200001000);
    set_reg(0x08, 8, 0);
    assert_int_equal(reg(0x08, 8), 0x19ed008c40780c66);
    assert_int_equal(model_violations(model), 0);
}

static void a_unit_that_is_gone_reads_ones(void **state)
{
    (void)state;
    model_start("spr");
    model_switches(unit)->all_ones = true;
    assert_int_equal(reg(0x08, 8), UINT64_MAX);
    assert_int_equal(reg(0x1c, 4), UINT32_MAX);
}

static void a_unit_that_never_answers(void **state)
{
    (void)state;
    model_start("spr");
    model_switches(unit)->never_answers = true;
    put(CC_GLOBAL, 0);
    assert_false(submit());
    set_reg(0x18, 4, 1u << 26);
    assert_int_equal(reg(0x1c, 4), 0xc4000000);
}

/* Protected memory, section 11.4.8: all DMA, silently; hardware's own reads of tables not. */
static void protected_ranges_block_without_a_fault(void **state)
{
    struct model_result r;

    (void)state;
    set_up("spr", PGTT_SS);
    set_reg(0x70, 8, BASE);
    set_reg(0x78, 8, BASE + M2 - 1);
    set_reg(0x64, 4, 1u << 31);
    assert_int_equal(reg(0x64, 4), 1u << 31 | 1);
    r = access_as((struct model_request){ .source_id = SID }, IOVA);
    assert_int_equal(r.outcome, MODEL_PROTECTED);
    assert_int_equal(reg(0x34, 4), 0);
    set_reg(0x70, 8, 0);
    assert_true(model_violated(model, "protected range"));
    set_reg(0x64, 4, 0);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
}

/* Faults ------------------------------------------------------------------------------------------------- */

/* A unit that lacks or has what others do not. */
static struct model_preset changed(const char *name, uint64_t cap_off, uint64_t cap_on, uint64_t ecap_off, uint64_t ecap_on)
{
    struct model_preset p = *model_preset(name);

    p.cap = (p.cap & ~cap_off) | cap_on;
    p.ecap = (p.ecap & ~ecap_off) | ecap_on;
    return p;
}

struct breakage {
    uint8_t code, condition;
    const char *what;
    unsigned pgtt;
    void (*break_it)(void);
    struct model_request request;
    uint64_t address;           /* 0: IOVA */
};

static void set_ttm(unsigned ttm)
{
    set_reg(0x20, 8, root | ttm << 10);
    set_reg(0x18, 4, 0x44000000);
    set_reg(0x18, 4, 0x04000000);
    set_reg(0x18, 4, 0x44000000);
    set_reg(0x18, 4, 0x84000000);
}

static uint64_t *ss_root(void) { return ss_leaf(ss, 4, BASE, 4); }
static uint64_t *ss_at(uint64_t gpa, unsigned level) { return ss_leaf(ss, 4, gpa, level); }
static uint64_t *root_entry(void) { return word(root + (SID >> 8) * 16); }

/* Splits the second stage's large page of gpa so that one page of it can be treated apart. */
static uint64_t *ss_page(uint64_t gpa)
{
    uint64_t *large = ss_at(gpa, 2), table;

    if (*large & 1 << 7) {
        table = page();
        for (unsigned i = 0; i < 512; i++)
            *word(table + 8 * i) = (*large & ~0x1fffffULL) + i * K4 + 3;
        *large = table | 3;
    }
    return ss_at(gpa, 1);
}

static void ttm_abort(void) { set_ttm(3); }
static void ttm_reserved(void) { set_ttm(2); }
static void root_unreadable(void) { page_gone(root); }
static void root_absent(void) { *root_entry() &= ~1ULL; }
static void root_reserved(void) { *root_entry() |= 2; }
static void root_wide(void) { *root_entry() |= 1ULL << 52; }
static void context_unreadable(void) { page_gone(context); }
static void context_absent(void) { context_entry()[0] &= ~1ULL; }
static void context_reserved(void) { context_entry()[0] |= 1 << 7; }
static void context_reserved_high(void) { context_entry()[3] = 1; }
static void context_rid_priv(void) { context_entry()[1] |= 1 << 20; }
static void context_pre_without_dte(void) { context_entry()[0] = (context_entry()[0] & ~4ULL) | 1 << 4; }
static void context_rid_pasid_wide(void) { context_entry()[1] = 1 << 13; }
static void context_no_paside(void) { context_entry()[0] &= ~8ULL; }
static void directory_unreadable(void) { page_gone(directory); }
static void directory_absent(void) { *word(directory) &= ~1ULL; }
static void directory_reserved(void) { *word(directory) |= 4; }
static void entry_unreadable(void) { page_gone(pasid_table); }
static void entry_absent(void) { pasid_entry(0)[0] &= ~1ULL; }
static void entry_reserved(void) { pasid_entry(0)[0] |= 1 << 5; }
static void entry_reserved_high(void) { pasid_entry(0)[7] = 1; }
static void entry_wide_ss(void) { pasid_entry(0)[0] |= 1ULL << 52; }
static void entry_aw(void) { pasid_entry(0)[0] = (pasid_entry(0)[0] & ~0x1cULL) | 1 << 2; }
static void entry_pgtt(void) { pasid_entry(0)[0] = (pasid_entry(0)[0] & ~0x1c0ULL) | 5 << 6; }
static void entry_fspm(void) { pasid_entry(0)[2] |= 2 << 2; }
static void entry_wide_fs(void) { pasid_entry(0)[2] |= 1ULL << 48; }
static void fs_top_unreadable(void) { page_gone(fs); }
static void fs_lower_unreadable(void) { page_gone(*fs_leaf(fs, 4, IOVA, 2) & ~0xfffULL); }
static void fs_absent(void) { *fs_leaf(fs, 4, IOVA, 2) = 0; }
static void fs_reserved(void) { *fs_leaf(fs, 4, IOVA, 4) |= 1 << 7; }
static void fs_reserved_large(void) { *fs_leaf(fs, 4, IOVA, 2) = BASE | 1 << 7 | 1 << 13 | 7; }
static void fs_wide(void) { *fs_leaf(fs, 4, IOVA, 1) |= 1ULL << 48; }
static void fs_supervisor(void) { *fs_leaf(fs, 4, IOVA, 3) &= ~4ULL; }
static void fs_read_only(void) { *fs_leaf(fs, 4, IOVA, 3) &= ~2ULL; }
static void fs_to_interrupts(void) { *fs_leaf(fs, 4, IOVA, 1) = 0xfee00000 | 7; }
static void top_unreadable_by_ss(void) { *ss_page(fs) = fs | 2; }
static void lower_unreadable_by_ss(void) { uint64_t t = *fs_leaf(fs, 4, IOVA, 3) & ~0xfffULL; *ss_page(t) = t | 2; }
static void lower_read_only_by_ss(void) { uint64_t t = *fs_leaf(fs, 4, IOVA, 3) & ~0xfffULL; *ss_page(t) = t | 1; }
static void ss_lower_unreadable(void) { page_gone(*ss_at(IOVA, 2) & ~0xfffULL); }
static void ss_top_unreadable(void) { page_gone(ss); }
static void ss_absent(void) { *ss_at(IOVA, 1) = 0; }
static void ss_absent_cumulative(void) { *ss_at(IOVA, 2) = (*ss_at(IOVA, 2) & ~3ULL) | 1; *ss_at(IOVA, 1) = target | 2; }
static void ss_reserved(void) { *ss_at(IOVA, 2) |= 1 << 11; }
static void ss_reserved_62(void) { *ss_at(IOVA, 1) |= 1ULL << 62; }
static void ss_read_only(void) { *ss_at(IOVA, 1) = target | 1; }
static void ss_write_only(void) { *ss_at(IOVA, 1) = target | 2; }
static void ss_to_interrupts(void) { *ss_at(IOVA, 1) = 0xfee01000 | 3; }
static void page_read_only_by_ss(void) { *ss_page(target) = target | 1; }
static void page_write_only_by_ss(void) { *ss_page(target) = target | 2; }
static void page_absent_in_ss(void) { *ss_page(target) = 0; }
static void no_snoop(void) { pasid_entry(0)[1] &= ~(1ULL << 23); }
static void no_snoop_ssade(void) { no_snoop(); pasid_entry(0)[0] |= 1 << 9; write_back(); }
static void no_snoop_fs(void) { no_snoop(); write_back(); }
static void pasid_mapped(void) { memcpy(pasid_entry(3), pasid_entry(0), 64); }
static void root_not_aligned(void) { (void)ss_root(); }

#define READ  { .source_id = SID }
#define WRITE { .source_id = SID, .access = MODEL_WRITE }
#define ATOMIC { .source_id = SID, .access = MODEL_ATOMIC }
#define PASID(n) { .source_id = SID, .with_pasid = true, .pasid = (n) }

static const struct breakage breakages[] = {
    { 0x00, 0, "nothing", PGTT_SS, root_not_aligned, READ, 0 },
    { 0x30, 1, "TTM 11b without ADMS", PGTT_SS, ttm_abort, READ, 0 },
    { 0x30, 2, "TTM 10b", PGTT_SS, ttm_reserved, READ, 0 },
    { 0x38, 0, "root unreadable", PGTT_SS, root_unreadable, READ, 0 },
    { 0x39, 0, "LP=0", PGTT_SS, root_absent, READ, 0 },
    { 0x39, 0, "UP=0", PGTT_SS, root_not_aligned, { .source_id = SID | 0x80 }, 0 },
    { 0x3a, 0, "root reserved", PGTT_SS, root_reserved, READ, 0 },
    { 0x3a, 0, "root beyond HAW", PGTT_SS, root_wide, READ, 0 },
    { 0x40, 0, "context unreadable", PGTT_SS, context_unreadable, READ, 0 },
    { 0x41, 0, "context absent", PGTT_SS, context_absent, READ, 0 },
    { 0x42, 0, "context reserved", PGTT_SS, context_reserved, READ, 0 },
    { 0x42, 0, "context reserved, high", PGTT_SS, context_reserved_high, READ, 0 },
    { 0x42, 0, "RID_PRIV without RPRIVS", PGTT_SS, context_rid_priv, READ, 0 },
    { 0x43, 1, "PRE without DTE", PGTT_SS, context_pre_without_dte, READ, 0 },
    { 0x43, 2, "RID_PASID beyond PDTS", PGTT_SS, context_rid_pasid_wide, READ, 0 },
    { 0x45, 0, "PASIDE=0", PGTT_SS, context_no_paside, PASID(3), 0 },
    { 0x46, 0, "PASID beyond PDTS", PGTT_SS, root_not_aligned, PASID(1 << 13), 0 },
    { 0x48, 0, "PASID is RID_PASID", PGTT_SS, root_not_aligned, PASID(0), 0 },
    { 0x89, 0, "PASID beyond PSS", PGTT_SS, root_not_aligned, PASID(1 << 20), 0 },
    { 0x50, 0, "directory unreadable", PGTT_SS, directory_unreadable, READ, 0 },
    { 0x51, 0, "directory absent", PGTT_SS, directory_absent, READ, 0 },
    { 0x52, 0, "directory reserved", PGTT_SS, directory_reserved, READ, 0 },
    { 0x58, 0, "PASID table unreadable", PGTT_SS, entry_unreadable, READ, 0 },
    { 0x59, 0, "PASID entry absent", PGTT_SS, entry_absent, READ, 0 },
    { 0x5a, 0, "PASID entry reserved", PGTT_SS, entry_reserved, READ, 0 },
    { 0x5a, 0, "PASID entry reserved, high", PGTT_SS, entry_reserved_high, READ, 0 },
    { 0x5a, 0, "SSPTPTR beyond HAW", PGTT_SS, entry_wide_ss, READ, 0 },
    { 0x5b, 1, "AW", PGTT_SS, entry_aw, READ, 0 },
    { 0x5b, 2, "PGTT", PGTT_SS, entry_pgtt, READ, 0 },
    { 0x5b, 3, "FSPM", PGTT_FS, entry_fspm, READ, 0 },
    { 0x5b, 4, "FSPTPTR beyond the second stage", PGTT_NESTED, entry_wide_fs, READ, 0 },
    { 0x5c, 0, "execute", PGTT_SS, pasid_mapped, { .source_id = SID, .with_pasid = true, .pasid = 3, .execute = true }, 0 },
    { 0x5d, 0, "supervisor", PGTT_SS, pasid_mapped, { .source_id = SID, .with_pasid = true, .pasid = 3, .privileged = true }, 0 },
    { 0x70, 0, "FS table unreadable", PGTT_FS, fs_lower_unreadable, READ, 0 },
    { 0x71, 0, "FS absent", PGTT_FS, fs_absent, READ, 0 },
    { 0x71, 0, "FS absent, nested", PGTT_NESTED, fs_absent, READ, 0 },
    { 0x72, 0, "FS reserved", PGTT_FS, fs_reserved, READ, 0 },
    { 0x72, 0, "FS reserved in a large page", PGTT_NESTED, fs_reserved_large, READ, 0 },
    { 0x73, 0, "FS top unreadable", PGTT_FS, fs_top_unreadable, READ, 0 },
    { 0x74, 0, "FS address beyond the second stage", PGTT_NESTED, fs_wide, READ, 0 },
    { 0x75, 0, "FS top without R in SS", PGTT_NESTED, top_unreadable_by_ss, READ, 0 },
    { 0x76, 0, "FS table without R in SS", PGTT_NESTED, lower_unreadable_by_ss, READ, 0 },
    { 0x77, 0, "FS table without W in SS", PGTT_NESTED, lower_read_only_by_ss, READ, 0 },
    { 0x78, 0, "SS table unreadable", PGTT_SS, ss_lower_unreadable, READ, 0 },
    { 0x79, 0, "SS absent", PGTT_SS, ss_absent, READ, 0 },
    { 0x79, 0, "SS absent by AND", PGTT_SS, ss_absent_cumulative, READ, 0 },
    { 0x79, 0, "page absent in SS", PGTT_NESTED, page_absent_in_ss, READ, 0 },
    { 0x7a, 0, "SS reserved", PGTT_SS, ss_reserved, READ, 0 },
    { 0x7a, 0, "SS bit 62", PGTT_SS, ss_reserved_62, READ, 0 },
    { 0x7b, 0, "SS top unreadable", PGTT_SS, ss_top_unreadable, READ, 0 },
    { 0x7b, 0, "SS top unreadable, nested", PGTT_NESTED, ss_top_unreadable, READ, 0 },
    { 0x7c, 0, "SSADE without snooping", PGTT_SS, no_snoop_ssade, READ, 0 },
    { 0x80, 0, "not canonical", PGTT_FS, root_not_aligned, READ, 1ULL << 47 },
    { 0x80, 0, "not canonical, nested", PGTT_NESTED, root_not_aligned, READ, 0x7fffffffffffffff },
    { 0x71, 0, "canonical, negative", PGTT_FS, root_not_aligned, READ, 0xffff800000000000 },
    { 0x81, 0, "supervisor page", PGTT_FS, fs_supervisor, READ, 0 },
    { 0x81, 0, "supervisor page, nested", PGTT_NESTED, fs_supervisor, WRITE, 0 },
    { 0x83, 2, "pass-through beyond HAW", PGTT_PT, root_not_aligned, READ, 1ULL << 52 },
    { 0x84, 1, "beyond the second stage", PGTT_SS, root_not_aligned, READ, 1ULL << 48 },
    { 0x85, 0, "FS read-only", PGTT_FS, fs_read_only, WRITE, 0 },
    { 0x85, 0, "FS read-only, atomic", PGTT_NESTED, fs_read_only, ATOMIC, 0 },
    { 0x00, 0, "FS read-only, read", PGTT_NESTED, fs_read_only, READ, 0 },
    { 0x85, 0, "SS read-only", PGTT_SS, ss_read_only, WRITE, 0 },
    { 0x85, 0, "page read-only in SS", PGTT_NESTED, page_read_only_by_ss, WRITE, 0 },
    { 0x00, 0, "page read-only in SS, read", PGTT_NESTED, page_read_only_by_ss, READ, 0 },
    { 0x86, 0, "SS write-only", PGTT_SS, ss_write_only, READ, 0 },
    { 0x00, 0, "SS write-only, write", PGTT_SS, ss_write_only, WRITE, 0 },
    { 0x86, 0, "page write-only in SS, atomic", PGTT_NESTED, page_write_only_by_ss, ATOMIC, 0 },
    { 0x87, 0, "SS to FEEx", PGTT_SS, ss_to_interrupts, READ, 0 },
    { 0x87, 0, "FS to FEEx", PGTT_FS, fs_to_interrupts, READ, 0 },
    { 0x90, 0, "FS A without snooping", PGTT_FS, no_snoop_fs, READ, 0 },
    { 0x29, 0, "a read at FEEx", PGTT_SS, root_not_aligned, READ, 0xfee00000 },
};

/* Not muted by FPD, table 30. */
static bool always_recorded(uint8_t code)
{
    return strchr("\x29\x30\x38\x39\x3a\x40\x50\x58", code) != NULL;
}

static void run_breakage(const struct breakage *b, bool fpd)
{
    uint64_t address = b->address ? b->address : IOVA, high;
    struct model_result r;

    set_up("spr-svm", b->pgtt);
    if (fpd) {
        context_entry()[0] |= 2;
        write_back();
    }
    b->break_it();
    r = access_as(b->request, address);
    if (r.reason != b->code || (b->condition && r.condition != b->condition))
        fail_msg("%s: %02x.%u, not %02x.%u", b->what, r.reason, r.condition, b->code, b->condition);
    high = reg(0x408, 8);
    if (b->code && r.logged != (!fpd || always_recorded(b->code)))
        fail_msg("%s: recorded: %d", b->what, r.logged);
    assert_int_equal(high >> 63, b->code && r.logged);
    if (b->code && r.logged) {
        unsigned type = b->request.access == MODEL_READ ? 2 : b->request.access == MODEL_ATOMIC ? 3 : 0;

        assert_int_equal(high >> 32 & 0xff, b->code);
        assert_int_equal(high & 0xffff, b->request.source_id);
        assert_int_equal((high >> 62 & 1) << 1 | (high >> 28 & 1), type);
        assert_int_equal(high >> 31 & 1, b->request.with_pasid);
        assert_int_equal(high >> 40 & 0xfffff, b->request.with_pasid ? b->request.pasid & 0xfffff : 0);
        assert_int_equal(reg(0x400, 8), address & 0x1fffffffffff000);
        assert_int_equal(reg(0x34, 4), 2);
    }
    model_stop(NULL);
}

static void each_fault_has_its_code(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof breakages / sizeof *breakages; i++)
        run_breakage(&breakages[i], false);
}

static void fpd_mutes_what_is_qualified(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof breakages / sizeof *breakages; i++)
        run_breakage(&breakages[i], true);
}

/* FPD counts in an entry that is absent, too. */
static void fpd_of_an_absent_entry_counts(void **state)
{
    (void)state;
    set_up("spr", PGTT_SS);
    pasid_entry(0)[0] = 2;
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0x59);
    assert_int_equal(reg(0x34, 4), 0);
}

static void abort_dma_mode_blocks(void **state)
{
    (void)state;
    model_start("granite");
    set_ttm(3);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0x33);
}

static void rid_priv_is_the_privilege_of_requests_without_pasid(void **state)
{
    (void)state;
    set_up("granite", PGTT_FS);
    context_entry()[1] = 1 << 20;
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0x5d);
    pasid_entry(0)[2] |= 1;                     /* SRE */
    fs_supervisor();
    fs_read_only();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0); /* WPE=0 */
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0); /* … from the IOTLB too */
}

static void wpe_protects_from_supervisors(void **state)
{
    (void)state;
    set_up("granite", PGTT_FS);
    context_entry()[1] = 1 << 20;
    pasid_entry(0)[2] |= 1 | 1 << 4;
    fs_read_only();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0x85);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0x85);
}

/* P comes before all else in an entry. */
static void an_absent_entry_has_no_other_fault(void **state)
{
    (void)state;
    set_up("spr", PGTT_SS);
    memset(pasid_entry(0), 0xff, 64);
    pasid_entry(0)[0] &= ~3ULL;
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0x59);
}

static void zero_length_reads_pass_write_only_pages_with_zlr(void **state)
{
    struct model_request r = READ;
    struct model_preset without = changed("spr", 1 << 22, 0, 0, 0);

    (void)state;
    set_up("spr", PGTT_SS);
    ss_write_only();
    assert_int_equal(model_dma(unit, &r, IOVA, NULL, 0).outcome, MODEL_DONE);
    model_stop(NULL);
    model_start_with(&without, &model_calm, 1, true);
    ss = new_ss();
    *ss_leaf(ss, 4, IOVA, 1) = page() | 2;
    set_pasid(0, PGTT_SS, 1, ss, 4, 0, 0);
    assert_int_equal(model_dma(unit, &r, IOVA, NULL, 0).reason, 0x86);
}

/* Records, section 7.2: one, two, overflow, compression ----------------------------------------------------- */

static void records_fill_in_a_circle_and_overflow(void **state)
{
    struct model_preset four = changed("spr", 0xffULL << 40, 3ULL << 40, 0, 0);

    (void)state;
    model_start_with(&four, &model_calm, 1, true);
    for (unsigned i = 0; i < 4; i++)
        fault_of(MODEL_READ, i * K4);
    assert_int_equal(reg(0x34, 4), 2);
    fault_of(MODEL_READ, 9 * K4);
    assert_int_equal(reg(0x34, 4), 3);          /* PFO */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(reg(0x400 + 16 * i, 8), i * K4);
    set_reg(0x40c, 4, 1u << 31);
    set_reg(0x41c, 4, 1u << 31);
    fault_of(MODEL_READ, 7 * K4);               /* PFO is still set: lost */
    assert_int_equal(reg(0x408, 8) >> 63, 0);
    set_reg(0x34, 4, 1);
    fault_of(MODEL_READ, 8 * K4);
    assert_int_equal(reg(0x400, 8), 8 * K4);
    set_reg(0x42c, 4, 1u << 31);
    set_reg(0x43c, 4, 1u << 31);
    set_reg(0x40c, 4, 1u << 31);
    assert_int_equal(reg(0x34, 4) & 3, 0);      /* PPF is the OR of F */
    fault_of(MODEL_READ, 5 * K4);
    assert_int_equal(reg(0x34, 4), 1 << 8 | 2); /* FRI */
}

static void compression_drops_faults_of_the_same_source(void **state)
{
    struct model_preset four = changed("spr", 0xffULL << 40, 3ULL << 40, 0, 0);

    (void)state;
    model_start_with(&four, &model_calm, 1, true);
    model_switches(unit)->fault_compression = true;
    fault_of(MODEL_READ, 0);
    fault_of(MODEL_READ, K4);
    assert_int_equal(reg(0x418, 8), 0);
    access_as((struct model_request){ .source_id = 0x300 }, K4);
    assert_int_equal(reg(0x418, 8) & 0xffff, 0x300);
}

static void a_fault_sends_one_message_until_all_is_clear(void **state)
{
    struct model_msi msi;

    (void)state;
    model_start("spr");
    set_reg(0x3c, 4, 0x31);
    set_reg(0x40, 4, 0xfee01000);
    fault_of(MODEL_READ, K4);                   /* masked: pending */
    assert_false(model_msi(unit, &msi));
    assert_int_equal(reg(0x38, 4), 3u << 30);
    set_reg(0x38, 4, 0);
    assert_true(model_msi(unit, &msi));
    assert_int_equal(msi.address, 0xfee01000);
    assert_int_equal(msi.data, 0x31);
    fault_of(MODEL_READ, K4);                   /* overflow while pending */
    assert_false(model_msi(unit, &msi));
    set_reg(0x40c, 4, 1u << 31);
    set_reg(0x34, 4, 1);
    fault_of(MODEL_READ, K4);
    assert_true(model_msi(unit, &msi));
}

/* Accessed and dirty ---------------------------------------------------------------------------------------- */

static void a_is_set_at_each_level_and_d_in_the_leaf_of_a_write(void **state)
{
    static const unsigned kinds[] = { PGTT_FS, PGTT_NESTED };

    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        set_up("spr", kinds[k]);
        assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
        for (unsigned level = 1; level <= 4; level++)
            assert_int_equal(*fs_leaf(fs, 4, IOVA, level) & 0x460, 0x20);
        assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0); /* hits a clean entry */
        assert_int_equal(*fs_leaf(fs, 4, IOVA, 1) & 0x460, 0x60);
        assert_int_equal(*fs_leaf(fs, 4, IOVA, 2) & 0x460, 0x20);
        model_stop(NULL);
    }
}

static void eafe_sets_ea_with_a(void **state)
{
    (void)state;
    set_up("spr", PGTT_FS);
    pasid_entry(0)[2] |= 1 << 7;
    fault_of(MODEL_READ, IOVA);
    for (unsigned level = 1; level <= 4; level++)
        assert_int_equal(*fs_leaf(fs, 4, IOVA, level) & 0x420, 0x420);
}

static void d_is_not_set_by_a_write_that_fails(void **state)
{
    (void)state;
    set_up("spr", PGTT_NESTED);
    page_read_only_by_ss();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0x85);
    assert_int_equal(*fs_leaf(fs, 4, IOVA, 1) & 0x40, 0);
}

static void ssade_sets_a_and_d_of_the_second_stage(void **state)
{
    (void)state;
    set_up("spr", PGTT_SS);
    pasid_entry(0)[0] |= 1 << 9;
    fault_of(MODEL_READ, IOVA);
    for (unsigned level = 1; level <= 4; level++)
        assert_int_equal(*ss_at(IOVA, level) & 0x300, 0x100);
    fault_of(MODEL_WRITE, IOVA);
    assert_int_equal(*ss_at(IOVA, 1) & 0x300, 0x300);
    assert_int_equal(*ss_at(IOVA, 2) & 0x300, 0x100);
    model_stop(NULL);
    set_up("spr", PGTT_SS);
    fault_of(MODEL_WRITE, IOVA);
    assert_int_equal(*ss_at(IOVA, 1) & 0x300, 0);
}

/* Section 3.8.1: with SSADE even a read of a first-stage table needs W. */
static void ssade_wants_writable_first_stage_tables(void **state)
{
    (void)state;
    set_up("spr", PGTT_NESTED);
    pasid_entry(0)[0] |= 1 << 9;
    for (unsigned level = 1; level <= 4; level++)
        *fs_leaf(fs, 4, IOVA, level) |= 0x60;
    lower_read_only_by_ss();
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0x77);
}

static void preset_flags_need_no_update(void **state)
{
    (void)state;
    set_up("spr", PGTT_NESTED);
    for (unsigned level = 1; level <= 4; level++)
        *fs_leaf(fs, 4, IOVA, level) |= 0x20 | (level == 1) << 6;
    lower_read_only_by_ss();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0);
    model_stop(NULL);
    set_up("noncoherent", PGTT_NESTED);
    for (unsigned level = 1; level <= 4; level++)
        *fs_leaf(fs, 4, IOVA, level) |= 0x20 | (level == 1) << 6;
    write_back();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0);
}

static void erratum_772415_writes_to_read_only_tables(void **state)
{
    uint64_t table;

    (void)state;
    set_up("spr", PGTT_NESTED);
    model_switches(unit)->erratum_772415 = true;
    lower_read_only_by_ss();
    table = *fs_leaf(fs, 4, IOVA, 3) & ~0xfffULL;
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
    assert_int_equal(*word(table) & 0x20, 0x20);
}

/* Sizes and levels -------------------------------------------------------------------------------------------- */

static void pages_of_all_sizes(void **state)
{
    static const uint64_t input = 0x123456789000ULL & ~0x7ff000000000ULL;
    uint64_t hpa;

    (void)state;
    for (unsigned level = 1; level <= 3; level++)
        for (unsigned first = 0; first < 2; first++) {
            uint64_t size = K4 << 9 * (level - 1), low = input & (size - 1);
            uint64_t frame = level == 1 ? 0 : BASE & ~(size - 1);
            uint64_t *e;

            set_up("spr", first ? PGTT_FS : PGTT_SS);
            if (level == 1)
                frame = page();
            e = first ? fs_leaf(fs, 4, input & ~0xfff000ULL, level) : ss_leaf(ss, 4, input & ~0xfff000ULL, level);
            *e = frame | (first ? 7 : 3) | (level > 1) << 7;
            low = level == 1 ? 0 : 0x345000 & (size - 1);
            assert_int_equal(where((input & ~(0xfff000ULL | (size - 1))) | low | 0x10, &hpa), 0);
            assert_int_equal(hpa, frame | low | 0x10);
            model_stop(NULL);
        }
}

static void large_pages_that_the_unit_lacks_are_reserved(void **state)
{
    struct model_preset none = changed("spr", 3ULL << 34 | 1ULL << 56, 0, 0, 0);

    (void)state;
    for (unsigned level = 2; level <= 4; level++) {
        model_start_with(&none, &model_calm, 1, true);
        ss = new_ss();
        fs = page();
        *ss_leaf(ss, 4, IOVA, level) = BASE | 1 << 7 | 3;
        *fs_leaf(fs, 4, IOVA, level) = BASE | 1 << 7 | 7;
        set_pasid(0, PGTT_SS, 1, ss, 4, 0, 0);
        assert_int_equal(fault_of(MODEL_READ, IOVA), 0x7a);
        put(PC_GLOBAL, 0);
        assert_true(submit());
        set_pasid(0, PGTT_FS, 2, 0, 0, fs, 4);
        assert_int_equal(fault_of(MODEL_READ, IOVA), level == 2 ? 0 : 0x72); /* 2 MiB always, in the first stage */
        model_stop(NULL);
    }
}

static void tables_of_three_and_five_levels(void **state)
{
    uint64_t hpa;

    (void)state;
    set_up("3-level", PGTT_SS);
    assert_int_equal(where(IOVA, &hpa), 0);
    assert_int_equal(hpa, target);
    assert_int_equal(fault_of(MODEL_READ, 1ULL << 39), 0x84);
    model_stop(NULL);
    model_start("spr");
    ss = new_ss();
    fs = page();
    target = page();
    *ss_leaf(ss, 5, 1ULL << 56, 1) = target | 3;
    set_pasid(0, PGTT_SS, 1, ss, 5, 0, 0);
    assert_int_equal(where(1ULL << 56, &hpa), 0);
    assert_int_equal(hpa, target);
    assert_int_equal(fault_of(MODEL_READ, 1ULL << 57), 0x84);
    *fs_leaf(fs, 5, 1ULL << 55, 1) = target | 7;
    put(PC_GLOBAL, 0);
    put(IOTLB_GLOBAL, 0);
    assert_true(submit());
    set_pasid(0, PGTT_FS, 2, 0, 0, fs, 5);
    assert_int_equal(where(1ULL << 55, &hpa), 0);
    assert_int_equal(hpa, target);
    assert_int_equal(fault_of(MODEL_READ, 1ULL << 56), 0x80);
}

/* Data: pages one after the other; what a fault leaves undone. */
static void data_moves_page_by_page(void **state)
{
    struct model_request w = WRITE, r = READ, a = ATOMIC;
    uint8_t out[3 * 4096], in[3 * 4096];
    struct model_result result;
    uint64_t second, word64 = 5;

    (void)state;
    set_up("spr", PGTT_SS);
    second = page();
    *ss_leaf(ss, 4, IOVA + K4, 1) = second | 3;
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7 + (i >> 8));
    result = model_dma(unit, &w, IOVA + 0x800, out, 0x1000);
    assert_int_equal(result.outcome, MODEL_DONE);
    assert_memory_equal((uint8_t *)word(target) + 0x800, out, 0x800);
    assert_memory_equal((uint8_t *)word(second), out + 0x800, 0x800);
    result = model_dma(unit, &r, IOVA + 0x800, in, sizeof in);
    assert_int_equal(result.outcome, MODEL_FAULT);
    assert_int_equal(result.reason, 0x79);
    assert_int_equal(result.done, 0x1800);
    assert_memory_equal(in, out, 0x1000);
    *word(target) = 37;
    assert_int_equal(model_dma(unit, &a, IOVA, &word64, 8).outcome, MODEL_DONE);
    assert_int_equal(word64, 37);
    assert_int_equal(*word(target), 42);
}

static void a_request_that_does_not_snoop_sees_memory_unless_pgsnp(void **state)
{
    struct model_request r = { .source_id = SID, .no_snoop = true };
    uint64_t data = 0;

    (void)state;
    set_up("spr", PGTT_SS);
    *word(target) = 11;
    model_dma(unit, &r, IOVA, &data, 8);
    assert_int_equal(data, 0);
    put(PC_GLOBAL, 0);
    put(IOTLB_GLOBAL, 0);
    pasid_entry(0)[1] |= 1 << 24;
    assert_true(submit());
    model_dma(unit, &r, IOVA, &data, 8);
    assert_int_equal(data, 11);
}

/* Queue errors, section 6.5.2.11 ---------------------------------------------------------------------------- */

static void a_bad_descriptor_stops_the_queue(void **state)
{
    static const struct {
        const char *preset;
        uint64_t w0, w1;
        unsigned info;
    } rows[] = {
        { "spr", 0, 0, 3 }, { "spr", 0xb, 0, 3 }, { "spr", 0x201, 0, 3 }, { "spr", 0x1, 0, 3 } /* G=0 */, { "spr", 0x2, 0, 3 },
        { "spr", 0x6, 0, 3 }, { "spr", 0x16, 0, 3 }, { "spr", 0x27, 0, 3 } /* pc_inv G=2 */, { "spr", 0x9, 0, 3 } /* PRS=0 */,
        { "qemu", 0x3, 0, 3 } /* DT=0 */, { "qemu", 0x8, 0, 3 },
        { "spr", CC_GLOBAL | 1 << 8, 0, 4 }, { "spr", CC_GLOBAL, 1, 4 }, { "spr", IOTLB_GLOBAL, 0x80, 4 }, { "spr", PC_GLOBAL, 0x1000, 4 },
        { "spr", P_IOTLB_ALL(1, 0) | 1ULL << 52, 0, 4 }, { "spr", IEC_GLOBAL, 1, 4 }, { "spr", 0x5 | 1 << 8, 0, 4 }, { "spr", 0x5, 1, 4 },
        { "qemu", 0x5 | 1 << 7, 0, 4 } /* PD, PDS=0 */,
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t head;

        model_start(rows[i].preset);
        head = reg(0x80, 8);
        put(IOTLB_GLOBAL, 0);
        put(rows[i].w0, rows[i].w1);
        assert_false(submit());
        if ((reg(0x34, 4) & 0x10) == 0 || (reg(0xb0, 8) & 15) != rows[i].info)
            fail_msg("row %u: FSTS %x, IQEI %u", i, (unsigned)reg(0x34, 4), (unsigned)reg(0xb0, 8) & 15);
        assert_int_equal(reg(0x80, 8), head + 32);      /* at the bad one */
        model_run(model, 100);
        assert_int_equal(reg(0x80, 8), head + 32);
        /* Corrected, the queue goes on. */
        *word((reg(0x90, 8) & ~0xfffULL) + head + 32) = 0x5;
        word((reg(0x90, 8) & ~0xfffULL) + head + 32)[1] = 0;
        set_reg(0x34, 4, 0x10);
        assert_int_equal(reg(0x80, 8), reg(0x88, 8));
        assert_int_equal(reg(0xb0, 8), 0);
        model_stop(NULL);
    }
}

static void tails_and_widths_are_checked(void **state)
{
    (void)state;
    model_start("spr");
    set_reg(0x88, 8, 0x10 + reg(0x80, 8));
    assert_int_equal(reg(0xb0, 8) & 15, 6);
    model_stop(NULL);
    model_start("spr");
    set_reg(0x88, 8, 0x2000);
    assert_int_equal(reg(0xb0, 8) & 15, 1);
    model_stop(NULL);
    model_start("spr");
    model_fail_fetch(unit, 1);
    assert_false(submit());
    assert_int_equal(reg(0xb0, 8) & 15, 2);
    model_stop(NULL);
    /* 128-bit descriptors in scalable mode. */
    model_start_with(model_preset("spr"), &model_calm, 1, false);
    set_reg(0x20, 8, root | 1 << 10);
    set_reg(0x18, 4, 1u << 30);
    set_reg(0x90, 8, page());
    set_reg(0x18, 4, 1u << 26);
    set_reg(0x88, 8, 0x10);
    assert_int_equal(reg(0xb0, 8) & 15, 5);
}

/* pc_inv and p_iotlb need scalable mode, as latched by SRTP. */
static void scalable_descriptors_in_legacy_mode_are_invalid(void **state)
{
    uint64_t queue;

    (void)state;
    model_start_with(model_preset("spr"), &model_calm, 1, false);
    queue = page();
    set_reg(0x90, 8, queue | 1 << 11);
    set_reg(0x18, 4, 1u << 26);
    *word(queue) = PC_GLOBAL;
    set_reg(0x88, 8, 0x20);
    assert_int_equal(reg(0xb0, 8) & 15, 3);
}

static void a_silent_device_aborts_the_waits(void **state)
{
    (void)state;
    model_start("spr");
    model_device_silent(unit, SID, true);
    put(DEV_TLB(SID), EVERYTHING);
    assert_false(submit());
    assert_int_equal(reg(0x34, 4) & 0x40, 0x40);
    assert_int_equal(reg(0xb0, 8) >> 32 & 0xffff, SID);
    set_reg(0x34, 4, 0x40);
    model_device_silent(unit, SID, false);
    put(DEV_TLB(SID), EVERYTHING);
    assert_true(submit());
    model_device_confused(unit, SID, true);
    put(DEV_TLB(SID), EVERYTHING);
    assert_true(submit());
    assert_int_equal(reg(0x34, 4) & 0x20, 0x20);
    assert_int_equal(reg(0xb0, 8) >> 48, SID);
}

static void a_wait_can_interrupt(void **state)
{
    struct model_msi msi;

    (void)state;
    model_start("spr");
    set_reg(0xa4, 4, 0x77);
    set_reg(0xa8, 4, 0xfee00000);
    set_reg(0xa0, 4, 0);
    put(0x15, 0);
    submit();
    assert_int_equal(reg(0x9c, 4), 1);
    assert_true(model_msi(unit, &msi));
    assert_int_equal(msi.data, 0x77);
    put(0x15, 0);
    submit();
    assert_false(model_msi(unit, &msi));        /* IWC was set */
    set_reg(0x9c, 4, 1);
    put(0x15, 0);
    submit();
    assert_true(model_msi(unit, &msi));
}

static void masks_beyond_the_unit_are_violations(void **state)
{
    (void)state;
    model_start("qemu");
    put(IOTLB_PAGE(1), 19);
    submit();
    assert_true(model_violated(model, "MAMV"));
    model_forgive(model);
    put(P_IOTLB_PAGE(1, 0), 30);                /* any AM here */
    put(IOTLB_PAGE(1), 0x1000 | 1);
    submit();
    assert_true(model_violated(model, "not aligned"));
    assert_int_equal(model_violations(model), 1);
}

/* Translation requests, section 4.2.3 ------------------------------------------------------------------------ */

static void a_translation_request_gets_what_the_tables_permit(void **state)
{
    struct model_request r = READ;
    struct model_translation t;

    (void)state;
    set_up("spr", PGTT_NESTED);
    r.no_write = true;
    t = model_translate(unit, &r, IOVA);
    assert_true(t.status == MODEL_SUCCESS && t.read && !t.write && t.address == target && t.shift == 12);
    assert_int_equal(*fs_leaf(fs, 4, IOVA, 1) & 0x60, 0x20);
    r.no_write = false;
    t = model_translate(unit, &r, IOVA);
    assert_true(t.read && t.write);
    assert_int_equal(*fs_leaf(fs, 4, IOVA, 1) & 0x60, 0x60);
}

static void a_translation_request_is_answered_as_table_30_says(void **state)
{
    static const struct {
        const char *what;
        unsigned pgtt;
        void (*break_it)(void);
        enum model_completion status;
    } rows[] = {
        { "LP=0", PGTT_SS, root_absent, MODEL_UR }, { "root reserved", PGTT_SS, root_reserved, MODEL_CA },
        { "context absent", PGTT_SS, context_absent, MODEL_UR }, { "context reserved", PGTT_SS, context_reserved, MODEL_CA },
        { "directory absent", PGTT_SS, directory_absent, MODEL_SUCCESS }, { "entry absent", PGTT_SS, entry_absent, MODEL_SUCCESS },
        { "entry reserved", PGTT_SS, entry_reserved, MODEL_CA }, { "AW", PGTT_SS, entry_aw, MODEL_CA },
        { "FS absent", PGTT_FS, fs_absent, MODEL_SUCCESS }, { "FS reserved", PGTT_FS, fs_reserved, MODEL_SUCCESS },
        { "supervisor", PGTT_FS, fs_supervisor, MODEL_SUCCESS }, { "77h", PGTT_NESTED, lower_read_only_by_ss, MODEL_SUCCESS },
        { "SS absent", PGTT_SS, ss_absent, MODEL_SUCCESS }, { "SS reserved", PGTT_SS, ss_reserved, MODEL_CA },
        { "SS table unreadable", PGTT_SS, ss_lower_unreadable, MODEL_CA }, { "to FEEx", PGTT_SS, ss_to_interrupts, MODEL_CA },
    };
    struct model_request r = READ;

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct model_translation t;

        set_up("spr-svm", rows[i].pgtt);
        rows[i].break_it();
        t = model_translate(unit, &r, IOVA);
        if (t.status != rows[i].status || t.read || t.write)
            fail_msg("%s: %d", rows[i].what, t.status);
        assert_int_equal(reg(0x34, 4), t.status == MODEL_SUCCESS ? 0 : 2);
        if (t.status != MODEL_SUCCESS)
            assert_int_equal(reg(0x408, 8) >> 60 & 3, 1); /* AT */
        model_stop(NULL);
    }
}

static void dte_rules_ats(void **state)
{
    struct model_request r = READ;
    uint32_t data;

    (void)state;
    set_up("spr", PGTT_SS);
    context_entry()[0] &= ~4ULL;
    assert_int_equal(model_translate(unit, &r, IOVA).status, MODEL_UR);
    assert_int_equal(model_dma_translated(unit, &r, target, &data, 4).reason, 0x44);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
}

/* 4.2.3: the context entry is asked for each translation request, whatever is cached of the translation. */
static void dte_counts_where_the_iotlb_has_it(void **state)
{
    struct model_request r = READ;

    (void)state;
    set_up("spr", PGTT_SS);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
    assert_int_equal(model_cached(unit, MODEL_IOTLB), 1);
    context_entry()[0] &= ~4ULL;
    put(CC_DEVICE(SID), 0);
    assert_true(submit());
    assert_int_equal(model_cached(unit, MODEL_IOTLB), 1);
    assert_int_equal(model_translate(unit, &r, IOVA).status, MODEL_UR);
    assert_int_equal(model_translate(unit, &r, IOVA).reason, 0x44);
    assert_int_equal(model_cached(unit, MODEL_DEVICE_TLB), 0);
}

/* Table 30, S.1 and S.2; what NW means where NWFS=0; and 4.2.3: only where no other condition is met. */
static void a_translation_request_to_the_interrupt_range(void **state)
{
    struct model_preset without = changed("spr-svm", 0, 0, 1ULL << 33, 0);
    struct model_request r = READ, w = { .source_id = SID, .no_write = true };
    struct model_translation t;

    (void)state;
    set_up("spr-svm", PGTT_SS);
    t = model_translate(unit, &r, 0xfee00000);
    assert_true(t.status == MODEL_SUCCESS && !t.read && t.write && t.untranslated_only);
    t = model_translate(unit, &w, 0xfee00000);
    assert_true(t.status == MODEL_SUCCESS && !t.read && !t.write && !t.untranslated_only);
    context_entry()[0] &= ~4ULL;                /* DTE */
    put(CC_DEVICE(SID), 0);
    assert_true(submit());
    t = model_translate(unit, &r, 0xfee00000);
    assert_true(t.status == MODEL_UR && t.reason == 0x44);
    assert_int_equal(reg(0x408, 8) >> 32 & 0xff, 0x44);
    model_stop(NULL);
    set_up_with(&without, PGTT_SS);
    t = model_translate(unit, &w, 0xfee00000);
    assert_true(t.status == MODEL_SUCCESS && !t.read && t.write && t.untranslated_only);
    pasid_entry(0)[0] = 0;
    put(PC_GLOBAL, 0);
    assert_true(submit());
    t = model_translate(unit, &r, 0xfee00000);
    assert_true(t.status == MODEL_SUCCESS && t.reason == 0x59 && !t.write && !t.untranslated_only);
}

static void translated_requests_bypass_the_tables(void **state)
{
    struct model_request r = READ, p = PASID(3);
    uint32_t data;

    (void)state;
    set_up("spr-svm", PGTT_SS);
    pasid_entry(0)[0] = 0;
    assert_int_equal(model_dma_translated(unit, &r, target, &data, 4).outcome, MODEL_DONE);
    assert_int_equal(model_dma_translated(unit, &r, 1ULL << 52, &data, 4).reason, 0x83);
    assert_int_equal(model_dma_translated(unit, &r, 0xfee00000, &data, 4).reason, 0x87);
    assert_int_equal(model_dma_translated(unit, &p, target, &data, 4).reason, 0x49);
}

static void a_device_tlb_is_stale_until_it_is_invalidated(void **state)
{
    struct model_request r = WRITE;
    uint64_t later;
    uint32_t data = 0x77;

    (void)state;
    set_up("spr", PGTT_SS);
    later = page();
    assert_int_equal(model_dma_ats(unit, &r, IOVA, &data, 4).address, target);
    *ss_at(IOVA, 1) = later | 3;
    put(IOTLB_PAGE(1), IOVA | 0x40);
    put(DEV_TLB(SID), IOVA + K4);
    assert_true(submit());
    assert_int_equal(model_dma_ats(unit, &r, IOVA, &data, 4).address, target);
    put(DEV_TLB(SID), (IOVA & ~0xfffULL) | 1);  /* bit 12 set, 13 clear: 16 KiB at 4000h */
    assert_true(submit());
    assert_int_equal(model_dma_ats(unit, &r, IOVA, &data, 4).address, later);
    *ss_at(IOVA, 1) = 0;
    put(IOTLB_PAGE(1), IOVA | 0x40);
    put(DEV_TLB(SID), EVERYTHING);
    assert_true(submit());
    assert_int_equal(model_dma_ats(unit, &r, IOVA, &data, 4).outcome, MODEL_RECOVERABLE);
}

/* Page requests ------------------------------------------------------------------------------------------------ */

static void start_page_requests_with(const struct model_preset *preset)
{
    set_up_with(preset, PGTT_SS);
    context_entry()[0] |= 1 << 4;
    set_reg(0xc0, 8, 0);
    set_reg(0xc8, 8, 0);
    set_reg(0xd0, 8, page());
    set_reg(0xe0, 4, 0);
}

static void start_page_requests(void)
{
    start_page_requests_with(model_preset("spr-svm"));
}

static void a_page_request_is_queued(void **state)
{
    struct model_page_request r = { .source_id = SID, .address = 0x123000, .write = true, .last = true, .group = 5 };
    struct model_msi msi;
    uint64_t *d;

    (void)state;
    start_page_requests();
    d = word(reg(0xd0, 8));
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
    assert_int_equal(d[0], 1 | (uint64_t)SID << 16);
    assert_int_equal(d[1], 2 | 4 | 5 << 3 | 0x123000);
    assert_int_equal(reg(0xc8, 8), 32);
    assert_int_equal(reg(0xdc, 4), 1);
    assert_true(model_msi(unit, &msi));
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
    assert_false(model_msi(unit, &msi));
}

static void a_full_page_request_queue_answers_itself(void **state)
{
    struct model_page_request r = { .source_id = SID, .read = true };

    (void)state;
    start_page_requests();
    for (unsigned i = 0; i < 127; i++)
        assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_DROPPED);
    assert_int_equal(reg(0xdc, 4), 3);          /* PRO */
    r.last = true;
    set_reg(0xc0, 8, 64);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_SUCCESS); /* while PRO is set */
    set_reg(0xdc, 4, 2);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
}

static void page_requests_that_the_tables_forbid_are_invalid(void **state)
{
    struct model_page_request r = { .source_id = SID, .read = true, .last = true };

    (void)state;
    start_page_requests();
    context_entry()[0] &= ~(1ULL << 4);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_INVALID);
    assert_int_equal(reg(0x408, 8) >> 32 & 0xff, 0x47);
    assert_int_equal((reg(0x408, 8) >> 62 & 1) << 1 | (reg(0x408, 8) >> 28 & 1), 1); /* {T1,T2}: page request */
    model_stop(NULL);
    start_page_requests();
    pasid_entry(0)[0] = 0;
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_INVALID);
    r.last = false;
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_DROPPED);
    assert_int_equal(reg(0xc8, 8), 0);
}

/* Table 30, SPT.5, SPT.6, SGN.10: 5Ch, 5Dh and 89h are not for page requests; 46h is. */
static void page_requests_know_no_rights(void **state)
{
    struct model_preset narrow = changed("spr-svm", 0, 0, 0x1fULL << 35, 7ULL << 35);   /* PSS: 8 bits */
    struct model_page_request r = { .source_id = SID, .read = true, .last = true, .with_pasid = true, .pasid = 3, .privileged = true };
    struct model_request untranslated = PASID(3);

    (void)state;
    start_page_requests();
    pasid_mapped();
    untranslated.privileged = true;
    assert_int_equal(access_as(untranslated, IOVA).reason, 0x5d);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
    model_stop(NULL);
    start_page_requests_with(&narrow);
    assert_int_equal(fault_of_pasid(0x100, MODEL_READ, IOVA), 0x89);
    set_reg(0x40c, 4, 1u << 31);
    r.pasid = 0x100;                            /* its directory entry is not there */
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_INVALID);
    assert_int_equal(reg(0x408, 8) >> 32 & 0xff, 0x51);
    set_reg(0x40c, 4, 1u << 31);
    r.pasid = 1 << 13;
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_INVALID);
    assert_int_equal(reg(0x408, 8) >> 32 & 0xff, 0x46);
}

/* 7.4.1: a request that finds the queue full is not written, and takes nothing out of the caches. */
static void a_page_request_without_room_invalidates_nothing(void **state)
{
    struct model_page_request r = { .source_id = SID, .address = IOVA, .write = true };

    (void)state;
    start_page_requests();
    set_reg(0xc0, 8, 32);                       /* PQH: one behind the tail */
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
    for (unsigned i = 0; i < 2; i++) {          /* it is full; PRO is set */
        assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_DROPPED);
        assert_int_equal(model_cached(unit, MODEL_IOTLB), 1);
    }
    set_reg(0xc0, 8, 64);
    set_reg(0xdc, 4, 2);
    assert_int_equal(model_page_request(unit, &r), MODEL_PAGE_QUEUED);
    assert_int_equal(model_cached(unit, MODEL_IOTLB), 0);
}

/* Table 27. */
static void a_page_request_invalidates_first(void **state)
{
    struct model_page_request r = { .source_id = SID, .address = IOVA, .write = true };

    (void)state;
    start_page_requests();
    ss_read_only();
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0x85);
    assert_int_equal(fault_of(MODEL_READ, IOVA), 0);
    *ss_at(IOVA, 1) = target | 3;
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0x85);
    model_page_request(unit, &r);
    assert_int_equal(fault_of(MODEL_WRITE, IOVA), 0);
}

static void page_responses_reach_the_device(void **state)
{
    struct model_page_response response;

    (void)state;
    start_page_requests();
    put(0x9 | 1ULL << 4 | 1ULL << 12 | (uint64_t)SID << 16 | 7ULL << 32, 5 << 3);
    assert_true(submit());
    assert_true(model_page_response(unit, &response));
    assert_true(response.source_id == SID && response.group == 5 && response.with_pasid && response.pasid == 7 && response.code == 1);
}

/* Interrupts -------------------------------------------------------------------------------------------------- */

static uint64_t irt;

static void start_interrupts(bool x2apic)
{
    model_start("spr");
    irt = page();
    set_reg(0xb8, 8, irt | (uint64_t)x2apic << 11 | 7); /* 256 entries */
    set_reg(0x18, 4, 0x85000000);
    put(IEC_GLOBAL, 0);
    assert_true(submit());
    set_reg(0x18, 4, 0x86000000);
    assert_int_equal(model_violations(model), 0);
}

static struct model_interrupt last;

static uint8_t interrupt(uint16_t source_id, unsigned index, uint32_t data, bool shv)
{
    uint64_t address = 0xfee00010 | (uint64_t)(index & 0x7fff) << 5 | (uint64_t)(index >> 15) << 2 | (uint64_t)shv << 3;

    return model_interrupt(unit, source_id, address, data, &last).reason;
}

static void interrupts_are_remapped(void **state)
{
    (void)state;
    start_interrupts(false);
    word(irt)[10] = 0x0500ULL << 32 | 0x44 << 16 | 1;
    assert_int_equal(interrupt(SID, 5, 0, false), 0);
    assert_true(last.remapped && last.vector == 0x44 && last.destination == 5 && last.index == 5);
    assert_int_equal(interrupt(SID, 2, 3, true), 0);    /* handle + subhandle */
    assert_int_equal(last.vector, 0x44);
    word(irt)[10] = 0;
    assert_int_equal(interrupt(SID, 5, 0, false), 0);   /* cached */
    put(IEC_INDEX(4, 0), 0);
    assert_true(submit());
    assert_int_equal(interrupt(SID, 5, 0, false), 0);
    put(IEC_INDEX(4, 1), 0);
    assert_true(submit());
    assert_int_equal(interrupt(SID, 5, 0, false), 0x22);
}

static void interrupt_faults(void **state)
{
    static const struct {
        uint64_t low, high;
        uint8_t code;
    } rows[] = {
        { 1, 0, 0 }, { 0, 0, 0x22 }, { 1 | 1 << 12, 0, 0x24 }, { 1 | 1 << 24, 0, 0x24 }, { 1 | 1ULL << 32, 0, 0x24 }, { 1, 1 << 20, 0x24 },
        { 1, 3 << 18, 0x24 }, { 1, 1 << 18 | SID, 0 }, { 1, 1 << 18 | (SID + 1), 0x26 }, { 1, 1 << 18 | 1 << 16 | (SID ^ 4), 0 },
        { 1, 1 << 18 | 3 << 16 | (SID ^ 7), 0 }, { 1, 1 << 18 | 2 << 16 | (SID ^ 7), 0x26 },
        { 1, 2 << 18 | 0x0001, 0 }, { 1, 2 << 18 | 0x0103, 0 }, { 1, 2 << 18 | 0x0203, 0x26 },
    };
    struct model_interrupt out;

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t code;

        start_interrupts(false);
        word(irt)[2] = rows[i].low;
        word(irt)[3] = rows[i].high;
        code = interrupt(SID, 1, 0, false);
        if (code != rows[i].code)
            fail_msg("row %u: %02x, not %02x", i, code, rows[i].code);
        if (code) {
            assert_int_equal(reg(0x400, 8), 1ULL << 48);
            assert_int_equal(reg(0x408, 8) >> 32 & 0xff, code);
        }
        model_stop(NULL);
    }
    start_interrupts(false);
    assert_int_equal(interrupt(SID, 256, 0, false), 0x21);
    assert_int_equal(interrupt(SID, 1, 0x10000, true), 0x20);
    assert_int_equal(model_interrupt(unit, SID, 0xfee00000, 0x31, &out).reason, 0x25);
    set_reg(0x18, 4, 0x86800000);               /* CFI */
    assert_int_equal(model_interrupt(unit, SID, 0xfee00000, 0x31, &out).reason, 0);
    page_gone(irt);
    assert_int_equal(interrupt(SID, 7, 0, false), 0x23);
    model_stop(NULL);
    start_interrupts(true);
    set_reg(0x18, 4, 0x86800000);
    assert_int_equal(model_interrupt(unit, SID, 0xfee00000, 0x31, &out).reason, 0x25); /* EIME */
}

/* A DWORD write to FEEx without PASID is an interrupt, whatever tables say; one with PASID is DMA. */
static void writes_to_the_interrupt_range(void **state)
{
    struct model_request w = WRITE;
    uint32_t data = 0;
    uint64_t data64 = 0;

    (void)state;
    start_interrupts(false);
    word(irt)[2] = 1;
    assert_int_equal(model_dma(unit, &w, 0xfee00030, &data, 4).outcome, MODEL_INTERRUPTED);
    assert_int_equal(model_dma(unit, &w, 0xfee00050, &data, 4).reason, 0x22);
    assert_int_equal(model_dma(unit, &w, 0xfee00030, &data64, 8).reason, 0x29);
    w.access = MODEL_READ;
    assert_int_equal(model_dma(unit, &w, 0xfee00030, NULL, 0).outcome, MODEL_DONE);
}

static void interrupts_are_posted(void **state)
{
    uint64_t pid;

    (void)state;
    start_interrupts(true);
    pid = page();
    word(pid)[4] = 7ULL << 32 | 0xf2 << 16;
    word(irt)[2] = (pid & 0xffffffc0) << 32 | 0x61 << 16 | 1 << 15 | 1;
    word(irt)[3] = pid >> 32 << 32;
    assert_int_equal(interrupt(SID, 1, 0, false), 0);
    assert_true(last.posted && last.notified && last.vector == 0xf2 && last.destination == 7);
    assert_int_equal(word(pid)[1], 1ULL << 33);
    assert_int_equal(word(pid)[4] & 3, 1);
    assert_int_equal(interrupt(SID, 1, 0, false), 0);
    assert_false(last.notified);                /* ON */
    word(pid)[7] = 1;
    assert_int_equal(interrupt(SID, 1, 0, false), 0x28);
    page_gone(pid);
    assert_int_equal(interrupt(SID, 1, 0, false), 0x27);
}

/* Legacy mode, as firmware leaves it. ------------------------------------------------------------------------ */

static void start_legacy(void)
{
    model_start_with(model_preset("legacy"), &model_calm, 1, false);
    target = page();
    ss = new_ss();
    *ss_leaf(ss, 4, IOVA, 1) = target | 3;
    *word(root + 16) = context | 1;
    word(context + 8 * 16)[0] = ss | 1;
    word(context + 8 * 16)[1] = 2 | 5 << 8;
    set_reg(0x20, 8, root);
    set_reg(0x18, 4, 1u << 30);
    set_reg(0x28, 8, 1ULL << 63 | 1ULL << 61);
    set_reg((reg(0x10, 8) >> 8 & 0x3ff) * 16 + 8, 8, 1ULL << 63 | 1ULL << 60);
    set_reg(0x18, 4, 1u << 31);
    assert_int_equal(model_violations(model), 0);
}

static void legacy_mode_translates(void **state)
{
    uint64_t hpa;

    (void)state;
    start_legacy();
    assert_int_equal(where(IOVA, &hpa), 0);
    assert_int_equal(hpa, target);
    assert_int_equal(fault_of(MODEL_READ, IOVA + K4), 0x06);
    assert_int_equal(fault_of(MODEL_WRITE, IOVA + K4), 0x05);
    assert_int_equal(fault_of(MODEL_READ, 1ULL << 48), 0x04);
    assert_int_equal(access_as((struct model_request){ .source_id = 0x300 }, IOVA).reason, 0x01);
    assert_int_equal(access_as((struct model_request){ .source_id = SID + 1 }, IOVA).reason, 0x02);
    assert_int_equal(fault_of_pasid(1, MODEL_READ, IOVA), 0x31);
    word(context + 9 * 16)[0] = 1 | 3 << 2;
    word(context + 9 * 16)[1] = 2;
    assert_int_equal(access_as((struct model_request){ .source_id = SID + 1 }, IOVA).reason, 0x03);
    word(context + 10 * 16)[0] = 1 | 1 << 4;
    assert_int_equal(access_as((struct model_request){ .source_id = SID + 2 }, IOVA).reason, 0x0b);
}

/* The trace ---------------------------------------------------------------------------------------------------- */

static void a_trace_names_each_step_and_changes_nothing(void **state)
{
    struct model_request r = WRITE;
    char text[8192], copy[160];
    FILE *out = fmemopen(text, sizeof text, "w"), *file = tmpfile();
    struct model *loaded;
    uint64_t before;

    (void)state;
    set_up("spr", PGTT_NESTED);
    before = *fs_leaf(fs, 4, IOVA, 1);
    model_trace(unit, &r, IOVA, out);
    fclose(out);
    assert_non_null(strstr(text, "root entry of bus 01, lower half"));
    assert_non_null(strstr(text, "PGTT=3 (nested)"));
    assert_non_null(strstr(text, "first stage, level 4"));
    assert_non_null(strstr(text, "second stage, level 2"));
    snprintf(copy, sizeof copy, "0x5000 -> HPA 0x%llx, nested, 4 KiB", (unsigned long long)target);
    assert_non_null(strstr(text, copy));
    assert_int_equal(*fs_leaf(fs, 4, IOVA, 1), before);
    assert_int_equal(model_cached(unit, MODEL_IOTLB), 0);
    assert_int_equal(reg(0x34, 4), 0);
    /* … and the same from a file. */
    assert_true(model_save(model, BASE, 4 << 20, file));
    rewind(file);
    loaded = model_load(file, copy);
    assert_non_null(loaded);
    out = fmemopen(text, sizeof text, "w");
    model_trace(model_unit(loaded, 0), &r, IOVA + K4, out);
    fclose(out);
    fclose(file);
    model_free(loaded);
    assert_non_null(strstr(text, "fault 71h: first-stage entry not present"));
}

#define RULE(name) cmocka_unit_test_teardown(name, model_stop)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RULE(commands_change_one_field_at_a_time), RULE(one_shot_commands_show_in_gsts), RULE(commands_come_in_their_order),
        RULE(ttm_is_latched), RULE(translation_off_forgets_all), RULE(iqa_is_written_with_the_queue_off), RULE(registers_have_their_width),
        RULE(a_unit_that_is_gone_reads_ones), RULE(a_unit_that_never_answers), RULE(protected_ranges_block_without_a_fault),
        RULE(each_fault_has_its_code), RULE(fpd_mutes_what_is_qualified), RULE(fpd_of_an_absent_entry_counts), RULE(abort_dma_mode_blocks),
        RULE(rid_priv_is_the_privilege_of_requests_without_pasid), RULE(wpe_protects_from_supervisors),
        RULE(an_absent_entry_has_no_other_fault), RULE(zero_length_reads_pass_write_only_pages_with_zlr),
        RULE(records_fill_in_a_circle_and_overflow), RULE(compression_drops_faults_of_the_same_source),
        RULE(a_fault_sends_one_message_until_all_is_clear), RULE(a_is_set_at_each_level_and_d_in_the_leaf_of_a_write),
        RULE(eafe_sets_ea_with_a), RULE(d_is_not_set_by_a_write_that_fails), RULE(ssade_sets_a_and_d_of_the_second_stage),
        RULE(ssade_wants_writable_first_stage_tables), RULE(preset_flags_need_no_update), RULE(erratum_772415_writes_to_read_only_tables),
        RULE(pages_of_all_sizes), RULE(large_pages_that_the_unit_lacks_are_reserved), RULE(tables_of_three_and_five_levels),
        RULE(data_moves_page_by_page), RULE(a_request_that_does_not_snoop_sees_memory_unless_pgsnp), RULE(a_bad_descriptor_stops_the_queue),
        RULE(tails_and_widths_are_checked), RULE(scalable_descriptors_in_legacy_mode_are_invalid), RULE(a_silent_device_aborts_the_waits),
        RULE(a_wait_can_interrupt), RULE(masks_beyond_the_unit_are_violations), RULE(a_translation_request_gets_what_the_tables_permit),
        RULE(a_translation_request_is_answered_as_table_30_says), RULE(dte_rules_ats), RULE(dte_counts_where_the_iotlb_has_it),
        RULE(a_translation_request_to_the_interrupt_range), RULE(translated_requests_bypass_the_tables),
        RULE(a_device_tlb_is_stale_until_it_is_invalidated), RULE(a_page_request_is_queued), RULE(a_full_page_request_queue_answers_itself),
        RULE(page_requests_that_the_tables_forbid_are_invalid), RULE(page_requests_know_no_rights),
        RULE(a_page_request_without_room_invalidates_nothing), RULE(a_page_request_invalidates_first), RULE(page_responses_reach_the_device),
        RULE(interrupts_are_remapped), RULE(interrupt_faults), RULE(writes_to_the_interrupt_range), RULE(interrupts_are_posted),
        RULE(legacy_mode_translates), RULE(a_trace_names_each_step_and_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
