/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.c: what software owes that no fault shows: the rules of section 6.2.3.1 for PASID-table entries, stores that change a present
 * entry, pointers to memory that is gone.
 */
#include <string.h>

#include "internal.h"

void check_no_memory(struct model_unit *unit, const char *what, uint64_t address)
{
    violation(unit, "hardware reads %s at 0x%llx, where there is no memory", what, (unsigned long long)address);
}

static struct seen_entry *seen_slot(struct model_unit *unit, uint64_t address)
{
    return &unit->seen[(address >> 5) * 0x9e3779b97f4a7c15ULL >> 56];
}

/* One DID, one second stage; first-stage and pass-through entries share theirs with no second stage. */
static void check_domain(struct model_unit *unit, const struct place *place, uint64_t address)
{
    const uint64_t *e = place->entry;
    uint16_t domain = (uint16_t)field(e[1], 15, 0);
    unsigned pgtt = (unsigned)field(e[0], 8, 6);
    bool second = pgtt == 2 || pgtt == 3;
    struct domain_use *use = &unit->domains[domain];
    struct domain_use now = { .generation = unit->domain_generation, .second = second, .width = second ? (uint8_t)field(e[0], 4, 2) : 0, .sspt = second ? e[0] & mask(63, 12) : 0 };

    if (unit->caps.cm && domain == 0)
        violation(unit, "PASID-table entry at 0x%llx uses DID 0 although CM=1", (unsigned long long)address);
    if (use->generation == now.generation && (use->second != now.second || use->width != now.width || use->sspt != now.sspt))
        violation(unit, "DID 0x%x used for SSPTPTR 0x%llx (entry at 0x%llx) while entries of SSPTPTR 0x%llx may still be cached (6.2.3.1)", domain,
                  (unsigned long long)now.sspt, (unsigned long long)address, (unsigned long long)use->sspt);
    *use = now;
}

/* Same PASID and DID: same tables, whichever the source-id.  One source-id's own entry may change its first stage under its DID: table 28, "any
 * other field". */
static void check_same_pasid(struct model_unit *unit, const struct place *place, uint64_t address)
{
    const struct cache *c = &unit->cache[MODEL_PASID];
    const uint64_t *e = place->entry;

    for (unsigned i = 0; i < c->sets * CACHE_WAYS; i++) {
        const struct cached *o = &c->slot[i];

        if (!o->valid || o->source_id == place->source_id || o->pasid != place->pasid || o->domain != field(e[1], 15, 0))
            continue;
        if (field(o->word[0], 8, 6) != field(e[0], 8, 6) ||
            (field(e[0], 8, 6) % 2 == 1 && (o->word[2] & (mask(63, 12) | mask(3, 2))) != (e[2] & (mask(63, 12) | mask(3, 2)))))
            violation(unit, "PASID 0x%x, DID 0x%x: entry at 0x%llx has other tables than one that is cached for %04x (6.2.3.1)", place->pasid,
                      o->domain, (unsigned long long)address, o->source_id);
    }
}

void check_fetched(struct model_unit *unit, uint64_t address, const struct place *place)
{
    struct seen_entry *s = seen_slot(unit, address);

    check_domain(unit, place, address);
    check_same_pasid(unit, place, address);
    s->address = address;
    s->source_id = place->source_id;
    s->pasid = place->pasid;
    s->present = memory_read(unit, address, true, s->word, 8); /* what was fetched in pieces may be older than what is there now */
}

/* A DID may be used for something else once its PASID entries and then its translations are gone, table 28 "Re-use Domain-ID". */
static bool domain_cached(const struct model_unit *unit, enum model_cache kind, uint16_t domain)
{
    const struct cache *c = &unit->cache[kind];

    for (unsigned i = 0, left = c->live; left > 0; i++) {
        left -= c->slot[i].valid;
        if (c->slot[i].valid && c->slot[i].domain == domain)
            return true;
    }
    return false;
}

void check_domain_done(struct model_unit *unit, const struct invalidation *what)
{
    if (what->scope == SCOPE_GLOBAL && unit->cache[MODEL_PASID].live == 0)
        unit->domain_generation++;
    else if (what->scope == SCOPE_DOMAIN && !domain_cached(unit, MODEL_PASID, what->domain))
        unit->domains[what->domain] = (struct domain_use){ 0 };
}

/* Stores to a PASID-table entry that hardware has read: a present one keeps its meaning with each 16 bytes, section 6.2.3.1. */
void check_store(struct model_unit *unit, uint64_t address, unsigned bytes)
{
    struct seen_entry *s = seen_slot(unit, address & ~63ULL);
    struct place place = { .source_id = s->source_id, .pasid = s->pasid };
    uint64_t now[8];

    if (!s->present || s->address != (address & ~63ULL))
        return;
    if (!memory_read(unit, s->address, true, now, 8)) {
        s->present = false;
        return;
    }
    if (bit(s->word[0], 0) && bit(now[0], 0)) {
        bool tables = (s->word[0] ^ now[0]) & (mask(63, 12) | mask(8, 6) | mask(4, 2)), domain = (s->word[1] ^ now[1]) & mask(15, 0);

        if (tables && (!domain || bytes < 16))
            violation(unit, "a store of %u bytes changes SSPTPTR, AW or PGTT of the present entry at 0x%llx without its DID (6.2.3.1)", bytes,
                      (unsigned long long)s->address);
        memcpy(place.entry, now, sizeof now);
        check_same_pasid(unit, &place, s->address);
    }
    if (bit(s->word[0], 0) && !unit->split.active && chance(unit->model, 3 * unit->model->freedom.split))
        split_had_begun(unit, s, 1 + (unsigned)random_below(unit->model, 3));
    if (!bit(now[0], 0))
        s->present = false;
    memcpy(s->word, now, sizeof now);
}
