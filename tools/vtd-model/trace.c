/* SPDX-License-Identifier: BSD-2-Clause */
/* trace.c: the walk of one request in words, from memory as it is, without caches and without a trace in them. */
#include <stdarg.h>

#include "internal.h"

void say(FILE *out, const char *format, ...)
{
    va_list arguments;

    if (!out)
        return;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
}

static void say_mapping(FILE *out, uint64_t address, const struct mapping *m)
{
    static const char *const stages[8] = { [1] = "first stage", [2] = "second stage", [3] = "nested", [4] = "pass-through" };

    say(out, "0x%llx -> HPA 0x%llx, %s, %llu KiB, ", (unsigned long long)address, (unsigned long long)(m->hpa | (address & mask(m->shift - 1, 0))),
        stages[m->pgtt], 1ULL << (m->shift - 10));
    say(out, "first stage%s%s, second stage%s%s%s\n", m->first_u ? " user" : " supervisor", m->first_w ? " writable" : " read-only",
        m->second_r ? " R" : "", m->second_w ? " W" : "", m->snoop ? ", snooped" : "");
}

static bool trace_scalable(struct model_unit *unit, const struct model_request *request, uint64_t address, struct mapping *m, FILE *out)
{
    struct place place;
    struct fault fault = { 0 };
    struct walk walk = {
        .unit = unit, .access = request->access, .wants_write = request->access != MODEL_READ, .fault = &fault, .out = out,
    };

    if (!find_entry(unit, request, AT_UNTRANSLATED, false, &place, &fault, out))
        return false;
    walk.entry = place.entry;
    walk.pasid = place.pasid;
    walk.domain = place.domain;
    walk.pgtt = place.pgtt;
    walk.privileged = place.privileged;
    walk.snoop = unit->caps.smpwcs && bit(place.entry[1], 23);
    return walk_tables(&walk, address, m);
}

void model_trace(struct model_unit *unit, const struct model_request *request, uint64_t address, FILE *out)
{
    static const char *const modes[4] = { "legacy", "scalable", "reserved", "abort" };
    static const char *const accesses[3] = { "read", "write", "atomic" };
    unsigned violations = unit->model->violations;
    struct model_counters counters = unit->counters;
    struct fault fault = { 0 };
    struct mapping m;
    uint16_t domain;
    bool ok;

    say(out, "unit %u: %02x:%02x.%u %s 0x%llx", unit->index, request->source_id >> 8, request->source_id >> 3 & 31, request->source_id & 7,
        accesses[request->access], (unsigned long long)address);
    if (request->with_pasid)
        say(out, ", PASID 0x%x%s", request->pasid, request->privileged ? ", supervisor" : "");
    say(out, "\nTES=%d, TTM %s, root table 0x%llx\n", status(unit, GCMD_TE), modes[unit->ttm], (unsigned long long)unit->root);
    if (!status(unit, GCMD_TE)) {
        say(out, "translation is off: HPA 0x%llx\n", (unsigned long long)address);
        return;
    }
    if (!root_allows(unit, request, AT_UNTRANSLATED, &fault)) {
        say(out, "fault %02Xh: %s\n", fault.reason, model_reason(fault.reason));
        return;
    }
    ok = unit->ttm == TTM_LEGACY ? legacy_translate(unit, request, AT_UNTRANSLATED, address, false, false, false, &m, &domain, &fault, out)
                                 : trace_scalable(unit, request, address, &m, out);
    if (ok)
        say_mapping(out, address, &m);
    unit->model->violations = violations;
    unit->counters = counters;
}
