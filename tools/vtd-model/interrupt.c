/* SPDX-License-Identifier: BSD-2-Clause */
/* interrupt.c: interrupt remapping and posting, chapter 5, sections 9.9 to 9.11. */
#include <string.h>

#include "internal.h"

struct message {
    uint16_t source_id;
    uint64_t address;
    uint32_t data;
    uint32_t index;
};

static uint8_t request_fault(const struct model_unit *unit, const struct message *m)
{
    if (unit->caps.eimer && !unit->eime)
        return 0x2a;
    if (!bit(m->address, 4)) /* compatibility format */
        return unit->eime || !status(unit, GCMD_CFI) ? 0x25 : 0;
    if (bit(m->address, 3) && m->data >> 16)
        return 0x20;
    return 0;
}

static uint32_t index_of(const struct message *m)
{
    uint32_t handle = (uint32_t)(field(m->address, 19, 5) | field(m->address, 2, 2) << 15);

    return bit(m->address, 3) ? handle + (m->data & 0xffff) : handle; /* SHV */
}

/* SVT, SQ and SID: table 31 of section 9.9. */
static bool comes_from(const uint64_t *irte, uint16_t source_id)
{
    static const uint16_t compared[4] = { 0xffff, 0xfffb, 0xfff9, 0xfff8 };
    uint16_t sid = (uint16_t)field(irte[1], 15, 0), sq = compared[field(irte[1], 17, 16)];

    switch (field(irte[1], 19, 18)) {
    case 0:
        return true;
    case 1:
        return (source_id & sq) == (sid & sq);
    case 2:
        return source_id >> 8 >= sid >> 8 && source_id >> 8 <= (sid & 0xff);
    default:
        return false;
    }
}

static bool irte_reserved(const struct model_unit *unit, const uint64_t *irte)
{
    uint64_t low, high;

    if (field(irte[1], 19, 18) == 3)
        return true;
    if (bit(irte[0], 15)) { /* posted */
        low = mask(7, 2) | mask(13, 12) | mask(37, 24);
        high = mask(31, 20);
        if (!unit->caps.posted || !fits(irte[0] >> 38 << 6 | irte[1] >> 32 << 32, unit->haw))
            return true;
    } else {
        low = mask(14, 12) | mask(31, 24) | (unit->eime ? 0 : mask(39, 32) | mask(63, 48));
        high = mask(63, 20);
        if (field(irte[0], 7, 5) == 3 || field(irte[0], 7, 5) == 6)
            return true;
    }
    return irte[0] & low || irte[1] & high;
}

/* Posts into the descriptor, section 5.2.3: 0, 27h, 28h. */
static uint8_t post(struct model_unit *unit, const uint64_t *irte, struct model_interrupt *out)
{
    uint64_t address = field(irte[0], 63, 38) << 6 | field(irte[1], 63, 32) << 32, *pid = memory_at(unit, address, true);
    uint8_t vector = (uint8_t)field(irte[0], 23, 16);

    if (!pid)
        return 0x27;
    if (pid[4] & (mask(15, 2) | mask(31, 24)) || pid[5] || pid[6] || pid[7] || (!unit->eime && pid[4] & (mask(39, 32) | mask(63, 48))))
        return 0x28;
    pid[vector / 64] |= 1ULL << vector % 64;
    out->posted = true;
    if (!bit(pid[4], 0) && (bit(irte[0], 14) || !bit(pid[4], 1))) { /* ON, URG, SN */
        pid[4] |= 1;
        out->notified = true;
        out->vector = (uint8_t)field(pid[4], 23, 16);
        out->destination = (uint32_t)(unit->eime ? field(pid[4], 63, 32) : field(pid[4], 47, 40));
    }
    return 0;
}

static void remap(const struct model_unit *unit, const uint64_t *irte, struct model_interrupt *out)
{
    out->remapped = true;
    out->vector = (uint8_t)field(irte[0], 23, 16);
    out->delivery = (uint8_t)field(irte[0], 7, 5);
    out->level = bit(irte[0], 4);
    out->redirection = bit(irte[0], 3);
    out->logical = bit(irte[0], 2);
    out->destination = (uint32_t)(unit->eime ? field(irte[0], 63, 32) : field(irte[0], 47, 40));
}

static uint8_t remappable(struct model_unit *unit, struct message *m, bool *muted, struct model_interrupt *out)
{
    struct cached tags = { .page = m->index };
    const struct cached *hit;
    uint64_t irte[2], address = unit->irt + m->index * 16ULL;

    if (m->index >= unit->irt_entries || !fits(address, unit->haw))
        return 0x21;
    hit = cache_find(unit, MODEL_IEC, &tags);
    if (hit)
        memcpy(irte, hit->word, sizeof irte);
    else if (!memory_read(unit, address, unit->caps.c, irte, 2))
        return 0x23;
    *muted = bit(irte[0], 1);
    if (!bit(irte[0], 0))
        return 0x22;
    if (!comes_from(irte, m->source_id) && field(irte[1], 19, 18) != 3)
        return 0x26;
    if (irte_reserved(unit, irte))
        return 0x24;
    if (!hit) {
        memcpy(tags.word, irte, sizeof irte);
        cache_insert(unit, MODEL_IEC, &tags);
    }
    if (bit(irte[0], 15))
        return post(unit, irte, out);
    remap(unit, irte, out);
    return 0;
}

struct model_result model_interrupt(struct model_unit *unit, uint16_t source_id, uint64_t address, uint32_t data, struct model_interrupt *out)
{
    struct message m = { source_id, address, data, 0 };
    struct model_result result = { .outcome = MODEL_INTERRUPTED };
    struct fault fault = { 0 };

    *out = (struct model_interrupt){ .address = (uint32_t)address, .data = data };
    if (!status(unit, GCMD_IRE)) {
        fault.reason = unit->caps.irreq ? 0x2b : 0;
    } else {
        fault.reason = request_fault(unit, &m);
        m.index = index_of(&m);
        out->index = (uint16_t)m.index;
        if (!fault.reason && bit(address, 4))
            fault.reason = remappable(unit, &m, &fault.muted, out);
    }
    if (fault.reason) {
        result.outcome = MODEL_FAULT;
        result.reason = fault.reason;
        result.logged = fault_interrupt_record(unit, source_id, m.index & 0xffff, &fault);
    }
    return result;
}
