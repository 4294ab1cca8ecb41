/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reference.c: what a request may give: the areas of the IOAS that its device is attached to, and the words of the first-stage tables, in the
 * order of faults of section 7.1.3.  Nothing here knows of second-stage entries or caches.  Where an entry was changed and not yet
 * invalidated, all combinations of old and new are followed, for hardware may have cached each part at another time.
 */
#include "guests/replay/replay.h"

#define ADDRESS_WIDTH 48u       /* of the unit, and of the second stage */

struct question {
    const struct hwpt *hwpt;
    uint64_t address;
    bool write, no_stale;
    struct outcomes *out;
};

struct rights {
    bool write, user;
};

static void add(struct question *q, uint8_t reason, uint64_t gpa)
{
    struct outcomes *out = q->out;

    for (unsigned i = 0; i < out->count; i++)
        if (out->one[i].reason == reason && out->one[i].gpa == gpa)
            return;
    if (out->count == OUTCOMES)
        out->many = true;
    else
        out->one[out->count++] = (struct outcome){ reason, gpa };
}

static void fault(struct question *q, uint8_t reason)
{
    add(q, reason, 0);
}

static void mark(struct question *q, uint64_t at, bool leaf)
{
    struct outcomes *out = q->out;

    for (unsigned i = 0; i < out->marks; i++)
        if (out->mark[i].at == at)
            return;
    if (out->marks == MARKS) {
        out->many = true;
        return;
    }
    out->mark[out->marks].at = at;
    out->mark[out->marks++].leaf = leaf;
}

static void last_page(struct question *q, const struct space *s, uint64_t iova)
{
    struct area page;

    if (is_other_slice(s, iova))
        q->out->many = true;
    else if (!space_find(s, iova, &page))
        fault(q, 0x79);
    else if (q->write && !page.write)
        fault(q, 0x85);
    else if (!q->write && !page.read)
        fault(q, 0x86);
    else
        add(q, 0, page.gpa + iova % K4);
}

/* First stage ------------------------------------------------------------------------------------------ */

static bool reserved_bits(uint64_t e, unsigned level)
{
    if (e & FS_ADDR & ~((1ULL << ADDRESS_WIDTH) - 1))
        return true;
    if (e & FS_PS && (level >= 4 || (level == 3 && !(m.cap & CAP_FS1GP))))
        return true;
    return level > 1 && is_leaf(e, level) && e & (span_of(level) - 1) & ~0x1fffULL;
}

static void table(struct question *q, unsigned level, uint64_t iova, struct rights rights);

/* Flags that are missing have to be set: by what may be written, in tables that are snooped (3.8.1, 3.10). */
static bool cannot_mark(struct question *q, uint64_t e, uint64_t flags, bool writable)
{
    if ((e & flags) == flags)
        return false;
    if (!writable && !m.errata)
        fault(q, 0x77);
    else if (!(m.ecap & ECAP_SMPWCS))
        fault(q, 0x90);
    else
        return false;
    return true;
}

static void entry(struct question *q, uint64_t e, unsigned level, bool writable, struct rights rights)
{
    bool leaf = is_leaf(e, level);
    uint64_t address = e & FS_ADDR;

    if (!(e & FS_P)) {
        fault(q, 0x71);
        return;
    }
    if (reserved_bits(e, level)) {
        fault(q, 0x72);
        return;
    }
    rights.write &= (e & FS_W) != 0;
    rights.user &= (e & FS_U) != 0;
    if (!rights.user) {
        fault(q, 0x81);
        return;
    }
    if (!leaf) {
        if (!cannot_mark(q, e, FS_A, writable))
            table(q, level - 1, address, rights);
        return;
    }
    if (q->write && !rights.write) {
        fault(q, 0x85);
        /* Whether a write that is not allowed is to set A, and fails to, is hardware's choice (3.6.2, last bullet). */
        q->out->choice |= cannot_mark(q, e, FS_A, writable);
        return;
    }
    if (!cannot_mark(q, e, FS_A | (q->write ? FS_D : 0), writable))
        last_page(q, q->hwpt->space, (address & ~(span_of(level) - 1)) | (q->address & (span_of(level) - 1)));
}

static void table(struct question *q, unsigned level, uint64_t iova, struct rights rights)
{
    const struct stale *s;
    struct area page;
    uint64_t at, e;
    unsigned i = 0;

    if (!space_find(q->hwpt->space, iova, &page)) {
        fault(q, 0x79);
        return;
    }
    if (!page.read) {
        fault(q, level == 4 ? 0x75 : 0x76);
        return;
    }
    at = page.gpa + (q->address >> (12 + 9 * (level - 1)) & 511) * 8;
    e = *word_at(at);
    if (e & FS_P)
        mark(q, at, is_leaf(e, level));
    entry(q, e, level, page.write, rights);
    while (!q->no_stale && (s = stale_next(q->hwpt->tree, at, q->address, &i))) {
        q->out->stale = true;
        entry(q, s->old, level, page.write, rights);
    }
}

static void follow(struct question *q)
{
    if (!q->hwpt)
        fault(q, 0x59);
    else if (q->hwpt->nested && !is_canonical(q->address))
        fault(q, 0x80);
    else if (q->hwpt->nested)
        table(q, 4, q->hwpt->tree->top + q->hwpt->tree->space->offset, (struct rights){ true, true });
    else if (q->address >> ADDRESS_WIDTH)
        fault(q, 0x84);
    else
        last_page(q, q->hwpt->space, q->address);
}

/* With CM a unit may remember from a read that the second stage has no such page, and say so to a write that lacks rights as well (6.1). */
static void absent_to_a_read(struct question *written)
{
    struct outcomes read = { 0 };
    struct question q = *written;

    q.write = false;
    q.out = &read;
    follow(&q);
    for (unsigned i = 0; i < read.count; i++)
        if (read.one[i].reason == 0x79 && written->out->one[0].reason != 0x79) {
            fault(written, 0x79);
            written->out->choice = true;
        }
}

/* A PASID that nothing was ever attached to: of requests without PASID (SCT.9); in a directory entry that is absent, or a table that is there;
 * or beyond the directory (SCT.7). */
static void nowhere(struct question *q, uint32_t pasid)
{
    if (!pasid) {
        fault(q, 0x48);
        return;
    }
    fault(q, 0x59);
    fault(q, 0x51);
    fault(q, 0x46);
}

void expect(const struct device *d, uint32_t pasid, uint64_t address, bool write, bool no_stale, struct outcomes *out)
{
    struct question q = { .address = address, .write = write, .no_stale = no_stale, .out = out };
    unsigned place = 0;

    while (place < PLACES && pasid_of[place] != pasid)
        place++;
    out->count = out->marks = 0;
    out->many = out->stale = out->choice = false;
    if (place == PLACES) {
        nowhere(&q, pasid);
        return;
    }
    q.hwpt = d->hwpt[place];
    follow(&q);
    if (write && m.cap & CAP_CM)
        absent_to_a_read(&q);
}
