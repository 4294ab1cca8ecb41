/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cache.c: the caches of a unit and of the devices behind it.  An entry stays until an invalidation matches its tags, until its set
 * of four is full, or until chance evicts it.  What is found is decided by the lookup tags of section 6.2.1, table 17.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const unsigned sets_of[MODEL_CACHES] = {
    [MODEL_CONTEXT] = 32, [MODEL_PASID] = 32, [MODEL_FIRST_STAGE] = 64, [MODEL_SECOND_STAGE] = 64,
    [MODEL_IOTLB] = 128, [MODEL_IEC] = 32, [MODEL_DEVICE_TLB] = 64,
};

void caches_init(struct model_unit *unit)
{
    for (unsigned i = 0; i < MODEL_CACHES; i++) {
        struct cache *c = &unit->cache[i];

        c->sets = sets_of[i];
        c->slot = calloc(c->sets * CACHE_WAYS, sizeof *c->slot);
        if (!c->slot)
            abort();
        c->unit = unit;
        c->kind = (enum model_cache)i;
    }
}

void caches_free(struct model_unit *unit)
{
    for (unsigned i = 0; i < MODEL_CACHES; i++)
        free(unit->cache[i].slot);
}

/* Table 17, "Lookup", scalable mode. */
static bool same_tags(enum model_cache kind, const struct cached *a, const struct cached *b)
{
    switch (kind) {
    case MODEL_CONTEXT:
        return a->source_id == b->source_id;
    case MODEL_PASID:
        return a->source_id == b->source_id && a->pasid == b->pasid;
    case MODEL_FIRST_STAGE:
        return a->page == b->page && a->shift == b->shift && a->domain == b->domain && a->pasid == b->pasid;
    case MODEL_SECOND_STAGE:
        return a->page == b->page && a->shift == b->shift && a->domain == b->domain;
    case MODEL_IOTLB:
    case MODEL_DEVICE_TLB:
        return a->page == b->page && a->shift == b->shift && a->source_id == b->source_id && a->with_pasid == b->with_pasid &&
               (!a->with_pasid || a->pasid == b->pasid);
    case MODEL_IEC:
        return a->page == b->page;
    case MODEL_CACHES:
        break;
    }
    return false;
}

static struct cached *set_of(struct cache *c, const struct cached *tags)
{
    uint64_t h = tags->page * 0x9e3779b97f4a7c15ULL + tags->shift;

    if (c->kind == MODEL_FIRST_STAGE || c->kind == MODEL_SECOND_STAGE)
        h += tags->domain * 0x85ebca6bULL;
    else if (c->kind != MODEL_IEC)
        h += tags->source_id * 0x85ebca6bULL;
    if (c->kind == MODEL_PASID || c->kind == MODEL_FIRST_STAGE || tags->with_pasid)
        h += tags->pasid * 0xc2b2ae3d27d4eb4fULL;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ULL;
    return c->slot + (h >> 40) % c->sets * CACHE_WAYS;
}

struct cached *cache_find(struct model_unit *unit, enum model_cache kind, const struct cached *tags)
{
    struct cache *c = &unit->cache[kind];
    struct cached *set;

    if (c->live == 0)
        return NULL;
    set = set_of(c, tags);
    for (unsigned i = 0; i < CACHE_WAYS; i++)
        if (set[i].valid && same_tags(kind, &set[i], tags))
            return chance(unit->model, unit->model->freedom.miss) ? NULL : &set[i];
    return NULL;
}

void cache_insert(struct model_unit *unit, enum model_cache kind, const struct cached *entry)
{
    struct cache *c = &unit->cache[kind];
    struct cached *set = set_of(c, entry), *slot = NULL;

    for (unsigned i = 0; i < CACHE_WAYS && !slot; i++)
        if (set[i].valid && same_tags(kind, &set[i], entry))
            slot = &set[i];
    for (unsigned i = 0; i < CACHE_WAYS && !slot; i++)
        if (!set[i].valid)
            slot = &set[i];
    if (!slot)
        slot = &set[random_below(unit->model, CACHE_WAYS)];
    c->live += !slot->valid;
    *slot = *entry;
    slot->valid = true;
}

void cache_drop(struct model_unit *unit, enum model_cache kind, bool (*matches)(const struct cached *, const void *), const void *what)
{
    struct cache *c = &unit->cache[kind];

    for (unsigned i = 0, left = c->live; left > 0; i++) {
        if (!c->slot[i].valid)
            continue;
        left--;
        if (matches(&c->slot[i], what)) {
            c->slot[i].valid = false;
            c->live--;
        }
    }
}

void cache_drop_all(struct model_unit *unit, enum model_cache kind)
{
    struct cache *c = &unit->cache[kind];

    for (unsigned i = 0; c->live > 0; i++) {
        c->live -= c->slot[i].valid;
        c->slot[i].valid = false;
    }
}

/* Any entry may go at any time, sections 6.2.4 and 6.2.5.5. */
void cache_evict_some(struct model_unit *unit)
{
    struct cache *c = &unit->cache[random_below(unit->model, MODEL_CACHES)];
    unsigned total = c->sets * CACHE_WAYS, at = (unsigned)random_below(unit->model, total);

    if (c->live == 0)
        return;
    while (!c->slot[at].valid)
        at = (at + 1) % total;
    c->slot[at].valid = false;
    c->live--;
    unit->counters.evictions++;
}
