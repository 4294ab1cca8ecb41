/* SPDX-License-Identifier: BSD-2-Clause */
/* model.c: a machine: units, memory, chance, time, and the list of what software did wrong. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

const struct model_freedom model_calm = { 0 };
const struct model_freedom model_wild = {
    .evict = 100, .miss = 50, .prefetch = 200, .fracture = 250, .delay = 400, .reorder = 500, .split = 100,
};

struct model *model_new(const struct model_memory *memory, uint64_t seed)
{
    struct model *model = calloc(1, sizeof *model);

    if (!model)
        abort();
    model->memory = *memory;
    model->random = seed * 0x9e3779b97f4a7c15ULL | 1;
    return model;
}

static void capabilities(struct capabilities *c, const struct model_preset *p)
{
    uint64_t cap = p->cap, ecap = p->ecap;

    *c = (struct capabilities){
        .cap = cap, .ecap = ecap, .major = p->version >> 4 & 15,
        .domain_bits = 4 + 2 * (unsigned)field(cap, 2, 0), .sagaw = (unsigned)field(cap, 12, 8), .mgaw = (unsigned)field(cap, 21, 16) + 1,
        .records = (unsigned)field(cap, 47, 40) + 1, .record_offset = (unsigned)field(cap, 33, 24) * 16,
        .iotlb_offset = (unsigned)field(ecap, 17, 8) * 16, .mamv = (unsigned)field(cap, 53, 48), .mhmv = (unsigned)field(ecap, 23, 20),
        .pasid_bits = (unsigned)field(ecap, 39, 35) + 1,
        .cm = bit(cap, 7), .rwbf = bit(cap, 4), .plmr = bit(cap, 5), .phmr = bit(cap, 6), .zlr = bit(cap, 22), .psi = bit(cap, 39),
        .ss_2m = bit(cap, 34), .ss_1g = bit(cap, 35), .fs_1g = bit(cap, 56), .fs_5level = bit(cap, 60), .posted = bit(cap, 59),
        .esirtps = bit(cap, 62), .esrtps = bit(cap, 63),
        .c = bit(ecap, 0), .qi = bit(ecap, 1), .dt = bit(ecap, 2), .ir = bit(ecap, 3), .eim = bit(ecap, 4), .pt = bit(ecap, 6),
        .sc = bit(ecap, 7), .mts = bit(ecap, 25), .nest = bit(ecap, 26), .prs = bit(ecap, 29), .srs = bit(ecap, 31), .nwfs = bit(ecap, 33),
        .eafs = bit(ecap, 34), .pasid = bit(ecap, 40), .dit = bit(ecap, 41), .pds = bit(ecap, 42), .smts = bit(ecap, 43),
        .ssads = bit(ecap, 45), .ssts = bit(ecap, 46), .fsts = bit(ecap, 47), .smpwcs = bit(ecap, 48), .rps = bit(ecap, 49),
        .adms = bit(ecap, 52), .rprivs = bit(ecap, 53), .ssirws = bit(ecap, 57), .eimer = bit(ecap, 61), .irreq = bit(ecap, 62),
    };
}

struct model_unit *model_unit_add(struct model *model, const struct model_preset *preset)
{
    struct model_unit *unit = calloc(1, sizeof *unit);

    if (!unit || model->units == MAX_UNITS)
        abort();
    unit->model = model;
    unit->index = model->units;
    model->unit[model->units++] = unit;
    capabilities(&unit->caps, preset);
    unit->haw = preset->haw;
    unit->domain_generation = 1;
    unit->seen = calloc(SEEN_ENTRIES, sizeof *unit->seen);
    unit->domains = calloc(65536, sizeof *unit->domains);
    unit->device_flags = calloc(65536, 1);
    if (!unit->seen || !unit->domains || !unit->device_flags)
        abort();
    caches_init(unit);
    registers_init(unit);
    set_reg32(unit, REG_VER, preset->version);
    return unit;
}

void model_free(struct model *model)
{
    for (unsigned i = 0; i < model->units; i++) {
        caches_free(model->unit[i]);
        free(model->unit[i]->seen);
        free(model->unit[i]->domains);
        free(model->unit[i]->device_flags);
        free(model->unit[i]);
    }
    free(model->image);
    free(model);
}

struct model_unit *model_unit(struct model *model, unsigned index)
{
    return index < model->units ? model->unit[index] : NULL;
}

void model_set_freedom(struct model *model, const struct model_freedom *freedom)
{
    model->freedom = *freedom;
}

struct model_switches *model_switches(struct model_unit *unit)
{
    return &unit->switches;
}

const struct model_counters *model_counters(const struct model_unit *unit)
{
    return &unit->counters;
}

unsigned model_cached(const struct model_unit *unit, enum model_cache cache)
{
    return unit->cache[cache].live;
}

void model_forget(struct model_unit *unit, enum model_cache cache)
{
    cache_drop_all(unit, cache);
}

void model_device_silent(struct model_unit *unit, uint16_t source_id, bool silent)
{
    unit->device_flags[source_id] = silent ? DEVICE_SILENT : 0;
}

void model_device_confused(struct model_unit *unit, uint16_t source_id, bool confused)
{
    unit->device_flags[source_id] = confused ? DEVICE_CONFUSED : 0;
}

void model_fail_fetch(struct model_unit *unit, unsigned n)
{
    unit->fail_fetch = n;
}

/* Chance: xorshift64*. ------------------------------------------------------------------------------- */

static uint64_t random_word(struct model *model)
{
    uint64_t x = model->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    model->random = x;
    return x * 0x2545f4914f6cdd1dULL;
}

uint64_t random_below(struct model *model, uint64_t n)
{
    return (random_word(model) >> 32) * n >> 32;
}

bool chance(struct model *model, unsigned per_mille)
{
    return per_mille != 0 && random_below(model, 1000) < per_mille;
}

/* Memory --------------------------------------------------------------------------------------------- */

bool memory_read(struct model_unit *unit, uint64_t address, bool snoop, uint64_t *words, unsigned count)
{
    const void *p = memory_at(unit, address, snoop);

    if (!p)
        return false;
    memcpy(words, p, count * sizeof *words);
    unit->counters.walk_reads++;
    return true;
}

int memory_set_bits(struct model_unit *unit, uint64_t address, uint64_t seen, uint64_t bits)
{
    uint64_t *p = memory_at(unit, address, true);

    if (!p)
        return -1;
    return __atomic_compare_exchange_n(p, &seen, seen | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? 1 : 0;
}

/* Time ----------------------------------------------------------------------------------------------- */

static bool step_unit(struct model_unit *unit)
{
    struct model *model = unit->model;
    bool more;

    if (unit->switches.never_answers || unit->switches.all_ones)
        return false;
    if (unit->split.active && chance(model, 500))
        split_continue(unit);
    else if (!unit->split.active && chance(model, model->freedom.split))
        split_begin(unit);
    if (chance(model, model->freedom.prefetch))
        prefetch_some(unit);
    if (chance(model, model->freedom.evict))
        cache_evict_some(unit);
    if (chance(model, model->freedom.delay))
        return true;
    more = step_commands(unit);
    return step_queue(unit) || more;
}

void model_run(struct model *model, unsigned steps)
{
    if (model->busy)
        return;
    model->busy = true;
    for (unsigned s = 0; s < steps; s++)
        for (unsigned i = 0; i < model->units; i++)
            step_unit(model->unit[i]);
    model->busy = false;
}

void model_settle(struct model *model)
{
    bool more = true;

    if (model->busy)
        return;
    model->busy = true;
    while (more) {
        more = false;
        for (unsigned i = 0; i < model->units; i++)
            more |= step_unit(model->unit[i]);
    }
    model->busy = false;
}

void model_stored(struct model *model, uint64_t address, unsigned bytes)
{
    for (unsigned i = 0; i < model->units; i++)
        check_store(model->unit[i], address, bytes);
    if (model->freedom.prefetch || model->freedom.split || model->freedom.evict)
        model_run(model, 1);
}

/* Violations ----------------------------------------------------------------------------------------- */

void violation(struct model_unit *unit, const char *format, ...)
{
    struct model *model = unit->model;
    va_list arguments;
    char *line;
    int n;

    if (model->violations++ >= MAX_VIOLATIONS)
        return;
    line = model->violation[model->violations - 1];
    n = snprintf(line, sizeof model->violation[0], "unit %u: ", unit->index);
    va_start(arguments, format);
    vsnprintf(line + n, sizeof model->violation[0] - (size_t)n, format, arguments);
    va_end(arguments);
}

unsigned model_violations(const struct model *model)
{
    return model->violations;
}

const char *model_violation(const struct model *model, unsigned i)
{
    return i < model->violations && i < MAX_VIOLATIONS ? model->violation[i] : "";
}

bool model_violated(const struct model *model, const char *text)
{
    for (unsigned i = 0; i < model->violations && i < MAX_VIOLATIONS; i++)
        if (strstr(model->violation[i], text))
            return true;
    return false;
}

void model_forgive(struct model *model)
{
    model->violations = 0;
}

bool model_msi(struct model_unit *unit, struct model_msi *msi)
{
    if (unit->msi_count == 0)
        return false;
    *msi = unit->msi[unit->msi_head];
    unit->msi_head = (unit->msi_head + 1) % RING;
    unit->msi_count--;
    return true;
}
