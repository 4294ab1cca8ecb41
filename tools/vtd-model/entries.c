/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * entries.c: from a request to its PASID-table entry: TTM, root, context, PASID directory, PASID table, with their checks in the order
 * of section 7.1.3.  Context and PASID-table entries come from their caches when these have them.  What faults, and what
 * a request was refused by, is not cached by it (6.2.2, 6.2.3), CM=1 apart.
 */
#include <string.h>

#include "internal.h"

static bool fails(struct fault *fault, uint8_t reason, uint8_t condition, FILE *out)
{
    fault->reason = reason;
    fault->condition = condition;
    if (out)
        say(out, "fault %02Xh.%u: %s%s\n", reason, condition, model_reason(reason), fault->muted ? " (FPD=1: not recorded)" : "");
    return false;
}

/* Faults that depend on the mode alone: 30h to 34h. */
bool root_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, struct fault *fault)
{
    switch (unit->ttm) {
    case TTM_RESERVED:
        return fails(fault, 0x30, 2, NULL);
    case TTM_ABORT:
        return unit->caps.adms ? fails(fault, 0x33, 0, NULL) : fails(fault, 0x30, 1, NULL);
    case TTM_LEGACY:
        if (at == AT_PAGE)
            return fails(fault, 0x32, 0, NULL);
        if (unit->ssirwe)
            return fails(fault, 0x30, 4, NULL);
        return request->with_pasid ? fails(fault, 0x31, 0, NULL) : true;
    case TTM_SCALABLE:
        if (!unit->caps.smts)
            return fails(fault, 0x30, 3, NULL);
        if (request->with_pasid && request->execute && unit->caps.major >= 8)
            return fails(fault, 0x34, 0, NULL);
        break;
    }
    return true;
}

/* Root and context entry ------------------------------------------------------------------------------- */

/* Section 9.4: what is reserved, and what contradicts itself. */
static bool context_valid(struct model_unit *unit, const uint64_t *context, struct fault *fault, FILE *out)
{
    const struct capabilities *c = &unit->caps;
    uint64_t reserved = mask(8, 5) | (c->dt ? 0 : mask(2, 2)) | (c->pasid ? 0 : mask(3, 3)) | (c->prs ? 0 : mask(4, 4)) |
                        (unit->haw < 64 ? mask(63, unit->haw) : 0);
    uint64_t reserved1 = mask(63, 21) | (c->rps ? 0 : mask(19, 0)) | (c->rprivs ? 0 : mask(20, 20));

    fault->muted |= bit(context[0], 1);
    if (!bit(context[0], 0))
        return fails(fault, 0x41, 0, out);
    if (context[0] & reserved || context[1] & reserved1 || context[2] || context[3])
        return fails(fault, 0x42, 0, out);
    if (!bit(context[0], 2) && bit(context[0], 4))
        return fails(fault, 0x43, 1, out);
    if (!fits(field(context[1], 19, 0), (unsigned)field(context[0], 11, 9) + 13))
        return fails(fault, 0x43, 2, out);
    return true;
}

static bool fetch_context(struct model_unit *unit, uint16_t source_id, uint64_t *context, uint64_t *address, struct fault *fault, FILE *out)
{
    uint64_t root, at = unit->root + (source_id >> 8) * 16u + (source_id >> 7 & 1) * 8u;

    if (!memory_read(unit, at, unit->caps.c, &root, 1)) {
        check_no_memory(unit, "the root table", at);
        return fails(fault, 0x38, 0, out);
    }
    say(out, "root entry of bus %02x, %s half, at 0x%llx: %016llx\n", source_id >> 8, source_id & 0x80 ? "upper" : "lower", (unsigned long long)at,
        (unsigned long long)root);
    if (!bit(root, 0))
        return fails(fault, 0x39, 0, out);
    if (root & mask(11, 1) || !fits(root, unit->haw))
        return fails(fault, 0x3a, 0, out);
    *address = (root & mask(63, 12)) + (source_id & 0x7f) * 32u;
    if (!memory_read(unit, *address, unit->caps.c, context, 4)) {
        check_no_memory(unit, "a context table", *address);
        return fails(fault, 0x40, 0, out);
    }
    say(out, "context entry at 0x%llx: %016llx %016llx\n  P=%d FPD=%d DTE=%d PASIDE=%d PRE=%d PDTS=%u PASIDDIRPTR=0x%llx RID_PASID=0x%x RID_PRIV=%d\n",
        (unsigned long long)*address, (unsigned long long)context[0], (unsigned long long)context[1], bit(context[0], 0), bit(context[0], 1),
        bit(context[0], 2), bit(context[0], 3), bit(context[0], 4), (unsigned)field(context[0], 11, 9),
        (unsigned long long)(context[0] & mask(63, 12)), (unsigned)field(context[1], 19, 0), bit(context[1], 20));
    return true;
}

/* What the context entry says about this kind of request: 44h to 49h, 89h.  The last is not for page requests (table 30, SGN.10). */
static bool context_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, struct place *place,
                           struct fault *fault, FILE *out)
{
    uint64_t c0 = place->context[0], rid_pasid = field(place->context[1], 19, 0);
    unsigned pdts = (unsigned)field(c0, 11, 9);

    if (!bit(c0, 2) && (at == AT_TRANSLATION || at == AT_TRANSLATED))
        return fails(fault, 0x44, 0, out);
    if (at == AT_TRANSLATED && request->with_pasid)
        return fails(fault, 0x49, 0, out);
    if (!bit(c0, 4) && at == AT_PAGE)
        return fails(fault, 0x47, 0, out);
    place->source_id = request->source_id;
    place->pasid = request->with_pasid ? request->pasid : (uint32_t)rid_pasid;
    place->privileged = request->with_pasid ? request->privileged : bit(place->context[1], 20);
    if (!request->with_pasid)
        return true;
    if (!bit(c0, 3))
        return fails(fault, 0x45, 0, out);
    if (at != AT_PAGE && !fits(request->pasid, unit->caps.pasid_bits))
        return fails(fault, 0x89, 0, out);
    if (request->pasid == rid_pasid)
        return fails(fault, 0x48, 0, out);
    if (!fits(request->pasid, pdts + 13))
        return fails(fault, 0x46, 0, out);
    return true;
}

bool find_context(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, struct place *place,
                  struct fault *fault, FILE *out)
{
    struct cached tags = { .source_id = request->source_id };
    const struct cached *hit = cached ? cache_find(unit, MODEL_CONTEXT, &tags) : NULL;
    uint64_t address = 0;

    if (hit)
        memcpy(place->context, hit->word, sizeof place->context);
    else if (!fetch_context(unit, request->source_id, place->context, &address, fault, out))
        return false;
    if (!context_valid(unit, place->context, fault, out)) {
        if (fault->reason != 0x41 && !out)
            violation(unit, "context entry of %04x at 0x%llx: %s", request->source_id, (unsigned long long)address, model_reason(fault->reason));
        if (!unit->caps.cm || hit || !cached)
            return false;
        memcpy(tags.word, place->context, sizeof place->context);
        cache_insert(unit, MODEL_CONTEXT, &tags);
        return false;
    }
    if (!context_allows(unit, request, at, place, fault, out))
        return false;
    if (!hit && cached) {
        memcpy(tags.word, place->context, sizeof place->context);
        cache_insert(unit, MODEL_CONTEXT, &tags);
    }
    return true;
}

/* PASID directory and PASID-table entry ---------------------------------------------------------------- */

unsigned second_stage_width(const struct model_unit *unit, const uint64_t *entry)
{
    unsigned agaw = 30 + 9 * (unsigned)field(entry[0], 4, 2);

    return agaw < unit->caps.mgaw ? agaw : unit->caps.mgaw;
}

/* Section 9.6.  A field that PGTT makes no use of is ignored. */
static bool entry_reserved(const struct model_unit *unit, const uint64_t *e)
{
    const struct capabilities *c = &unit->caps;
    unsigned pgtt = (unsigned)field(e[0], 8, 6);
    bool first = pgtt != 2 && pgtt != 4, second = pgtt != 1 && pgtt != 4;
    uint64_t r0 = mask(5, 5) | mask(11, 10), r1 = mask(22, 16) | mask(31, 27), r2 = mask(1, 1) | mask(11, 8);

    if (second)
        r0 |= c->ssts ? mask(63, unit->haw) | (c->ssads ? 0 : mask(9, 9)) : mask(4, 2) | mask(9, 9) | mask(63, 12);
    if (c->domain_bits < 16)
        r1 |= mask(15, c->domain_bits);
    r1 |= (c->smpwcs ? 0 : mask(23, 23)) | (c->sc ? 0 : mask(24, 24)) | (c->mts ? 0 : mask(25, 25) | mask(63, 32));
    if (second && !c->mts)
        r1 |= mask(26, 26);
    if (!c->srs)
        r2 |= mask(0, 0);
    if (first)
        r2 |= c->fsts ? mask(63, unit->haw) | (c->eafs ? 0 : mask(7, 7)) : mask(4, 2) | mask(63, 12) | mask(7, 7);
    return e[0] & r0 || e[1] & r1 || e[2] & r2 || e[3] || e[4] || e[5] || e[6] || e[7];
}

static bool pgtt_supported(const struct capabilities *c, unsigned pgtt)
{
    switch (pgtt) {
    case 1:
        return c->fsts;
    case 2:
        return c->ssts;
    case 3:
        return c->nest;
    case 4:
        return c->pt;
    default:
        return false;
    }
}

static bool entry_valid(struct model_unit *unit, const uint64_t *e, struct fault *fault, FILE *out)
{
    const struct capabilities *c = &unit->caps;
    unsigned pgtt = (unsigned)field(e[0], 8, 6), aw = (unsigned)field(e[0], 4, 2), fspm = (unsigned)field(e[2], 3, 2);

    fault->muted |= bit(e[0], 1);
    if (!bit(e[0], 0))
        return fails(fault, 0x59, 0, out);
    if (entry_reserved(unit, e))
        return fails(fault, 0x5a, 0, out);
    if (!pgtt_supported(c, pgtt))
        return fails(fault, 0x5b, 2, out);
    if ((pgtt == 2 || pgtt == 3) && (aw < 1 || aw > 3 || !bit(c->sagaw, aw)))
        return fails(fault, 0x5b, 1, out);
    if ((pgtt == 1 || pgtt == 3) && (fspm > 1 || (fspm == 1 && !c->fs_5level)))
        return fails(fault, 0x5b, 3, out);
    if (pgtt == 3 && !fits(e[2] & mask(63, 12), second_stage_width(unit, e)))
        return fails(fault, 0x5b, 4, out);
    return true;
}

static void say_entry(FILE *out, uint64_t address, const uint64_t *e)
{
    static const char *const names[8] = { "reserved", "first stage", "second stage", "nested", "pass-through", "reserved", "reserved", "reserved" };

    if (!out)
        return;
    say(out, "PASID-table entry at 0x%llx:", (unsigned long long)address);
    for (unsigned i = 0; i < 8; i++)
        say(out, " %016llx", (unsigned long long)e[i]);
    say(out, "\n  P=%d FPD=%d AW=%u PGTT=%u (%s) SSADE=%d SSPTPTR=0x%llx DID=0x%x PWSNP=%d PGSNP=%d CD=%d EMTE=%d\n", bit(e[0], 0), bit(e[0], 1),
        (unsigned)field(e[0], 4, 2), (unsigned)field(e[0], 8, 6), names[field(e[0], 8, 6)], bit(e[0], 9), (unsigned long long)(e[0] & mask(63, 12)),
        (unsigned)field(e[1], 15, 0), bit(e[1], 23), bit(e[1], 24), bit(e[1], 25), bit(e[1], 26));
    say(out, "  SRE=%d FSPM=%u WPE=%d EAFE=%d FSPTPTR=0x%llx\n", bit(e[2], 0), (unsigned)field(e[2], 3, 2), bit(e[2], 4), bit(e[2], 7),
        (unsigned long long)(e[2] & mask(63, 12)));
}

/* Where the PASID-table entry is: through the directory, which nothing caches. */
static bool entry_address(struct model_unit *unit, const struct place *place, uint64_t *address, struct fault *fault, FILE *out)
{
    uint64_t directory, at = (place->context[0] & mask(63, 12)) + field(place->pasid, 19, 6) * 8;

    if (!memory_read(unit, at, unit->caps.c, &directory, 1)) {
        check_no_memory(unit, "a PASID directory", at);
        return fails(fault, 0x50, 0, out);
    }
    say(out, "PASID directory entry of PASID 0x%x at 0x%llx: %016llx\n", place->pasid, (unsigned long long)at, (unsigned long long)directory);
    fault->muted |= bit(directory, 1);
    if (!bit(directory, 0))
        return fails(fault, 0x51, 0, out);
    if (directory & mask(11, 2) || !fits(directory, unit->haw))
        return fails(fault, 0x52, 0, out);
    *address = (directory & mask(63, 12)) + field(place->pasid, 5, 0) * 64;
    return true;
}

static void keep_entry(struct model_unit *unit, uint16_t source_id, const struct place *place, bool faulty)
{
    struct cached c = { .source_id = source_id, .pasid = place->pasid, .domain = faulty ? 0 : (uint16_t)field(place->entry[1], 15, 0) };

    memcpy(c.word, place->entry, sizeof c.word);
    cache_insert(unit, MODEL_PASID, &c);
}

static bool fetch_entry(struct model_unit *unit, struct place *place, uint64_t *address, struct fault *fault, FILE *out)
{
    if (!entry_address(unit, place, address, fault, out))
        return false;
    if (!memory_read(unit, *address, unit->caps.c, place->entry, 8)) {
        check_no_memory(unit, "a PASID table", *address);
        return fails(fault, 0x58, 0, out);
    }
    say_entry(out, *address, place->entry);
    return true;
}

/* Checks of the request against a valid entry: 5Ch, 5Dh.  Neither is for page requests (table 30, SPT.5, SPT.6). */
static bool entry_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, const struct place *place,
                         struct fault *fault, FILE *out)
{
    if (at == AT_PAGE)
        return true;
    if (request->with_pasid && request->execute && unit->caps.major < 8)
        return fails(fault, 0x5c, 0, out);
    if (place->privileged && !bit(place->entry[2], 0))
        return fails(fault, 0x5d, 0, out);
    return true;
}

bool find_entry(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, struct place *place,
                struct fault *fault, FILE *out)
{
    struct cached tags = { .source_id = request->source_id };
    const struct cached *hit;
    uint64_t address = 0;

    if (!find_context(unit, request, at, cached, place, fault, out))
        return false;
    tags.pasid = place->pasid;
    hit = cached ? cache_find(unit, MODEL_PASID, &tags) : NULL;
    if (hit)
        memcpy(place->entry, hit->word, sizeof place->entry);
    else if (!fetch_entry(unit, place, &address, fault, out))
        return false;
    if (!entry_valid(unit, place->entry, fault, out)) {
        if (fault->reason != 0x59 && !out)
            violation(unit, "PASID-table entry of %04x, PASID 0x%x, at 0x%llx: %s", request->source_id, place->pasid, (unsigned long long)address,
                      model_reason(fault->reason));
        if (unit->caps.cm && cached && !hit)
            keep_entry(unit, request->source_id, place, true);
        return false;
    }
    place->pgtt = (uint8_t)field(place->entry[0], 8, 6);
    place->domain = (uint16_t)field(place->entry[1], 15, 0);
    if (!entry_allows(unit, request, at, place, fault, out))
        return false;
    if (!hit && cached) {
        check_fetched(unit, address, place);
        keep_entry(unit, request->source_id, place, false);
    }
    return true;
}

/*
 * A fetch in pieces --------------------------------------------------------------------------------------
 *
 * Hardware reads 16 bytes indivisibly, and an entry of 64 in four such reads, with anything between them (section 9, "atomicity").
 * The first piece comes first: entries that are made present by a store to their first word need no invalidation.
 */
void split_begin(struct model_unit *unit)
{
    struct split_fetch *s = &unit->split;
    struct place place = { .pasid = 0 };
    struct fault fault = { 0 };
    struct recent *recent;

    if (unit->recents == 0 || unit->ttm != TTM_SCALABLE || !status(unit, GCMD_TE))
        return;
    recent = &unit->recent[random_below(unit->model, unit->recents)];
    if (!find_context(unit, &recent->request, AT_UNTRANSLATED, true, &place, &fault, NULL) ||
        !entry_address(unit, &place, &s->address, &fault, NULL))
        return;
    s->active = true;
    s->request = recent->request;
    s->pasid = place.pasid;
    s->pieces = 0;
    unit->counters.splits++;
    split_continue(unit);
}

void split_had_begun(struct model_unit *unit, const struct seen_entry *before, unsigned pieces)
{
    struct split_fetch *s = &unit->split;

    *s = (struct split_fetch){ .active = true, .address = before->address, .pieces = pieces, .pasid = before->pasid };
    s->request.source_id = before->source_id;
    memcpy(s->word, before->word, 16 * pieces);
    unit->counters.splits++;
}

void split_continue(struct model_unit *unit)
{
    struct split_fetch *s = &unit->split;
    struct place place = { .source_id = s->request.source_id, .pasid = s->pasid };
    struct fault fault = { 0 };

    if (!memory_read(unit, s->address + 16 * s->pieces, unit->caps.c, s->word + 2 * s->pieces, 2)) {
        check_no_memory(unit, "a PASID table", s->address);
        s->active = false;
        return;
    }
    if (++s->pieces < 4)
        return;
    s->active = false;
    memcpy(place.entry, s->word, sizeof place.entry);
    if (!bit(place.entry[0], 0))
        return;
    if (!entry_valid(unit, place.entry, &fault, NULL)) {
        violation(unit, "PASID-table entry of %04x, PASID 0x%x, fetched in pieces while it changed: %s", s->request.source_id, s->pasid,
                  model_reason(fault.reason));
        return;
    }
    check_fetched(unit, s->address, &place);
    keep_entry(unit, s->request.source_id, &place, false);
}
