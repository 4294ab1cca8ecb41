/* SPDX-License-Identifier: BSD-2-Clause */
/* legacy.c: legacy mode, TTM=00b: root and context entries of sections 9.1 and 9.3, as firmware leaves them behind. */
#include <string.h>

#include "internal.h"

static bool fails(struct fault *fault, uint8_t reason, uint8_t condition, FILE *out)
{
    fault->reason = reason;
    fault->condition = condition;
    say(out, "fault %02Xh.%u: %s\n", reason, condition, model_reason(reason));
    return false;
}

static bool legacy_context(struct model_unit *unit, const struct model_request *request, bool cached, uint64_t *context, struct fault *fault, FILE *out)
{
    struct cached tags = { .source_id = request->source_id };
    const struct cached *hit = cached ? cache_find(unit, MODEL_CONTEXT, &tags) : NULL;
    uint64_t root[2], at = unit->root + (request->source_id >> 8) * 16u;
    unsigned aw, tt;

    if (hit) {
        memcpy(context, hit->word, 16);
        return true;
    }
    if (!memory_read(unit, at, unit->caps.c, root, 2))
        return fails(fault, 0x08, 0, out);
    say(out, "root entry of bus %02x at 0x%llx: %016llx\n", request->source_id >> 8, (unsigned long long)at, (unsigned long long)root[0]);
    if (!bit(root[0], 0))
        return fails(fault, 0x01, 0, out);
    if (root[0] & mask(11, 1) || !fits(root[0], unit->haw) || root[1])
        return fails(fault, 0x0a, 0, out);
    at = (root[0] & mask(63, 12)) + (request->source_id & 0xff) * 16u;
    if (!memory_read(unit, at, unit->caps.c, context, 2))
        return fails(fault, 0x09, 0, out);
    say(out, "context entry at 0x%llx: %016llx %016llx\n", (unsigned long long)at, (unsigned long long)context[0], (unsigned long long)context[1]);
    fault->muted |= bit(context[0], 1);
    tt = (unsigned)field(context[0], 3, 2);
    aw = (unsigned)field(context[1], 2, 0);
    if (!bit(context[0], 0))
        return fails(fault, 0x02, 0, out);
    if (context[0] & mask(11, 4) || (tt != 2 && !fits(context[0], unit->haw)) || context[1] & mask(63, 24) || bit(context[1], 7))
        return fails(fault, 0x0b, 0, out);
    if (aw < 1 || aw > 3 || !bit(unit->caps.sagaw, aw))
        return fails(fault, 0x03, 1, out);
    if (tt == 3 || (tt == 2 && !unit->caps.pt) || (tt == 1 && !unit->caps.dt))
        return fails(fault, 0x03, 2, out);
    tags.domain = (uint16_t)field(context[1], 23, 8);
    memcpy(tags.word, context, 16);
    if (cached)
        cache_insert(unit, MODEL_CONTEXT, &tags);
    return true;
}

bool legacy_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, uint64_t context[2],
                   struct fault *fault, FILE *out)
{
    if (!legacy_context(unit, request, cached, context, fault, out))
        return false;
    return at == AT_UNTRANSLATED || field(context[0], 3, 2) == 1 || fails(fault, 0x0d, 0, out);
}

bool legacy_translate(struct model_unit *unit, const struct model_request *request, enum address_type at, uint64_t address, bool zero_length,
                      bool speculative, bool cached, struct mapping *mapping, uint16_t *domain, struct fault *fault, FILE *out)
{
    uint64_t context[2], entry[8] = { 0 };
    struct walk walk = {
        .unit = unit, .entry = entry, .access = request->access, .zero_length = zero_length, .probe = speculative || at == AT_TRANSLATION,
        .cached = cached, .legacy = true, .snoop = unit->caps.c, .fault = fault, .out = out,
    };

    if (!legacy_allows(unit, request, at, cached, context, fault, out))
        return false;
    *domain = walk.domain = (uint16_t)field(context[1], 23, 8);
    walk.pgtt = field(context[0], 3, 2) == 2 ? 4 : 2;
    entry[0] = (context[0] & mask(63, 12)) | field(context[1], 2, 0) << 2; /* AW and SSPTPTR where section 9.6 has them */
    return walk_tables(&walk, address, mapping);
}
