/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * invalidate.c: what each invalidation takes out of the caches: the least that section 6.5.2 demands, tables 23 and 24.
 * Hardware may take more, and chance does (cache.c).
 */
#include "internal.h"

/* Input addresses are compared in the bits that tags have, section 6.2.1, tables 18 and 19. */
static bool overlaps(uint64_t page, unsigned page_shift, const struct invalidation *what)
{
    unsigned shift = page_shift > what->shift ? page_shift : what->shift;

    return shift >= 57 || field(page << page_shift, 56, shift) == field(what->address, 56, shift);
}

/* A translation of a large page goes for certain only when the whole page is named, with the AM of its size, section 6.5.3.3. */
static bool covers(const struct cached *c, const struct invalidation *what)
{
    return what->shift >= c->shift && overlaps(c->page, c->shift, what);
}

/* An entry that is being fetched while its cache is invalidated is not used. */
static void stop_fetches(struct model_unit *unit)
{
    unit->split.active = false;
}

/* FM, table 21: bits of the source-id that do not count. */
uint16_t function_mask(uint64_t word, unsigned high_bit)
{
    static const uint16_t ignored[4] = { 0, 4, 6, 7 };

    return ignored[field(word, high_bit, high_bit - 1)];
}

static bool context_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return (c->source_id & ~what->source_mask) == (what->source_id & ~what->source_mask);
}

static bool domain_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return c->domain == what->domain;
}

void invalidate_context(struct model_unit *unit, const struct invalidation *what)
{
    stop_fetches(unit);
    /* Entries are not tagged with the DID in scalable mode: domain-selective is global, the DID of device-selective is ignored. */
    if (what->scope == SCOPE_GLOBAL || (what->scope == SCOPE_DOMAIN && unit->ttm != TTM_LEGACY)) {
        cache_drop_all(unit, MODEL_CONTEXT);
        unit->owes_context = false;

    } else if (what->scope == SCOPE_DOMAIN) {
        cache_drop(unit, MODEL_CONTEXT, domain_matches, what);
    } else {
        cache_drop(unit, MODEL_CONTEXT, context_matches, what);
    }
}

static bool pasid_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return c->domain == what->domain && c->pasid == what->pasid;
}

void invalidate_pasid(struct model_unit *unit, const struct invalidation *what)
{
    stop_fetches(unit);
    if (what->scope == SCOPE_GLOBAL) {
        cache_drop_all(unit, MODEL_PASID);
        if (!unit->owes_context)
            unit->owes_pasid = false;
    } else if (what->scope == SCOPE_DOMAIN) {
        cache_drop(unit, MODEL_PASID, domain_matches, what);
    } else {
        cache_drop(unit, MODEL_PASID, pasid_matches, what);
    }
}

/* Table 23, page-selective-within-domain: entries of first-stage and nested translations go with their DID, whatever the address,
 * which is one of the second stage. */
static bool iotlb_page_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;
    bool first = c->pgtt == 1 || c->pgtt == 3;

    return c->domain == what->domain && (first || covers(c, what));
}

static bool second_stage_page_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return c->domain == what->domain && overlaps(c->page, c->shift, what);
}

void invalidate_iotlb(struct model_unit *unit, const struct invalidation *what)
{
    switch (what->scope) {
    case SCOPE_GLOBAL:
        cache_drop_all(unit, MODEL_IOTLB);
        cache_drop_all(unit, MODEL_FIRST_STAGE);
        cache_drop_all(unit, MODEL_SECOND_STAGE);
        if (!unit->owes_context && !unit->owes_pasid)
            unit->owes_iotlb = false;
        break;
    case SCOPE_DOMAIN:
        cache_drop(unit, MODEL_IOTLB, domain_matches, what);
        cache_drop(unit, MODEL_FIRST_STAGE, domain_matches, what);
        cache_drop(unit, MODEL_SECOND_STAGE, domain_matches, what);
        break;
    default:
        cache_drop(unit, MODEL_IOTLB, iotlb_page_matches, what);
        cache_drop(unit, MODEL_FIRST_STAGE, domain_matches, what);
        if (!what->leaf_only)
            cache_drop(unit, MODEL_SECOND_STAGE, second_stage_page_matches, what);
    }
    check_domain_done(unit, what);
}

/* Table 24, page-selective-within-PASID: second-stage and pass-through entries are not touched. */
static bool pasid_iotlb_page_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return (c->pgtt == 1 || c->pgtt == 3) && pasid_matches(c, p) && covers(c, what);
}

static bool first_stage_page_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    if (c->table.four_level) { /* its tag has no more bits */
        struct invalidation cut = *what;

        cut.address = field(what->address, 47, 0);
        return pasid_matches(c, p) && overlaps(c->page, c->shift, &cut);
    }
    return pasid_matches(c, p) && overlaps(c->page, c->shift, what);
}

void invalidate_pasid_iotlb(struct model_unit *unit, const struct invalidation *what)
{
    if (what->scope == SCOPE_PASID) {
        cache_drop(unit, MODEL_IOTLB, pasid_matches, what);
        cache_drop(unit, MODEL_FIRST_STAGE, pasid_matches, what);
    } else {
        cache_drop(unit, MODEL_IOTLB, pasid_iotlb_page_matches, what);
        if (!what->leaf_only)
            cache_drop(unit, MODEL_FIRST_STAGE, first_stage_page_matches, what);
    }
}

struct index_range {
    unsigned index, shift;
};

static bool index_matches(const struct cached *c, const void *p)
{
    const struct index_range *range = p;

    return c->page >> range->shift == range->index >> range->shift;
}

void invalidate_interrupts(struct model_unit *unit, unsigned index, unsigned count_log2, bool global)
{
    struct index_range range = { index, count_log2 };

    if (global) {
        cache_drop_all(unit, MODEL_IEC);
        unit->owes_iec = false;
    } else {
        cache_drop(unit, MODEL_IEC, index_matches, &range);
    }
}

/* Sections 6.5.2.5, 6.5.2.6: entries of requests-without-PASID, or with that PASID. */
static bool device_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return c->source_id == what->source_id && !c->with_pasid && overlaps(c->page, c->shift, what);
}

static bool device_pasid_matches(const struct cached *c, const void *p)
{
    const struct invalidation *what = p;

    return c->source_id == what->source_id && c->with_pasid && (what->all_pasids || c->pasid == what->pasid) &&
           overlaps(c->page, c->shift, what);
}

void invalidate_device(struct model_unit *unit, const struct invalidation *what, bool with_pasid)
{
    cache_drop(unit, MODEL_DEVICE_TLB, with_pasid ? device_pasid_matches : device_matches, what);
}

/* TE off with SMTS=1, or SRTP with ESRTPS: sections 6.6, 11.4.4.1. */
void invalidate_all_dma(struct model_unit *unit)
{
    stop_fetches(unit);
    cache_drop_all(unit, MODEL_CONTEXT);
    cache_drop_all(unit, MODEL_PASID);
    cache_drop_all(unit, MODEL_IOTLB);
    cache_drop_all(unit, MODEL_FIRST_STAGE);
    cache_drop_all(unit, MODEL_SECOND_STAGE);
    check_domain_done(unit, &(struct invalidation){ .scope = SCOPE_GLOBAL });
}
