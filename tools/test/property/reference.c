/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reference.c: what a request may give: the areas of the IOAS that its device is attached to, and the words that the guest wrote into its
 * first-stage tables, in the order of facts that section 7.1.3 gives them.  Nothing here knows of domains, DIDs, second-stage
 * entries or caches.
 *
 * Where a call is under way, or the guest has changed an entry and not yet invalidated it, several values are possible at that place;
 * all combinations are followed, for hardware may have cached each part at another time.
 */
#include "iommu/dmar.h"
#include "property.h"

struct question {
    struct use *use;
    struct device_ *device;
    const struct unit_ *unit;
    const struct hwpt *hwpt;
    enum model_access access;
    bool zero_length, privileged;
    bool by_ats;                /* a translation request: rights do not stop its walk, they are what it asks for */
    uint64_t address;
    struct outcomes *out;
};

static void add(struct outcomes *out, uint8_t reason, uint64_t gpa, uint64_t hpa)
{
    for (unsigned i = 0; i < out->count; i++)
        if (out->one[i].reason == reason && out->one[i].hpa == hpa)
            return;
    if (out->count == OUTCOMES)
        out->many = true;
    else
        out->one[out->count++] = (struct outcome){ reason, hpa, gpa };
}

static void fault(struct question *q, uint8_t reason)
{
    add(q->out, reason, 0, 0);
}

/* The second stage at iova: one answer, or two while a call changes it.  An unmapped page has gpa UINT64_MAX. */
static unsigned second_stage(const struct space *s, uint64_t iova, struct area out[2])
{
    unsigned count = 1;

    if (!space_find(s->area, s->areas, iova, &out[0]))
        out[0] = (struct area){ .gpa = UINT64_MAX };
    if (s->changing) {
        if (!space_find(s->next, s->nexts, iova, &out[1]))
            out[1] = (struct area){ .gpa = UINT64_MAX };
        count += out[0].gpa != out[1].gpa || out[0].read != out[1].read || out[0].write != out[1].write;
    }
    return count;
}

/* Tables of three levels end at 2^39; how many there are is the driver's choice. */
static bool maybe_too_wide(uint64_t address)
{
    return address >> 39 != 0;
}

static void last_page(struct question *q, const struct space *s, uint64_t iova, bool nested, bool may_write)
{
    struct area page[2];
    unsigned count = second_stage(s, iova, page);

    for (unsigned i = 0; i < count; i++) {
        if (page[i].gpa == UINT64_MAX) {
            fault(q, 0x79);
            if (!nested && maybe_too_wide(iova))
                fault(q, 0x84);
        } else if (q->by_ats && !page[i].read && (q->access != MODEL_WRITE || !(page[i].write && may_write))) { /* lacks that first */
            fault(q, 0x86);
        } else if (q->access != MODEL_READ && !(page[i].write && may_write)) {
            fault(q, 0x85);
        } else if (q->access != MODEL_WRITE && !page[i].read && !(q->zero_length && q->unit->zlr)) {
            fault(q, 0x86);
        } else {
            uint64_t gpa = page[i].gpa + iova % K4;

            add(q->out, 0, gpa, host_guest_hpa(q->device->guest->host, gpa));
        }
    }
}

/* First stage ------------------------------------------------------------------------------------------ */

static uint64_t span(unsigned level)
{
    return 1ULL << (12 + 9 * (level - 1));
}

static bool reserved_bits(const struct question *q, uint64_t e, unsigned level)
{
    bool large = (level == 2 || level == 3) && e & FS_PS;

    if (e & FS_ADDR & ~((1ULL << q->unit->preset.haw) - 1))
        return true;
    if (e & FS_PS && (level >= 4 || (level == 3 && !q->unit->fs_1g)))
        return true;
    return large && e & (span(level) - 1) & ~0x1fffULL;
}

struct rights {
    bool write, user;
};

static void table(struct question *q, unsigned level, uint64_t iova, struct rights rights);

/* Are first-stage tables snooped for the device? */
static bool snoops(const struct question *q)
{
    return q->unit->snoops && !(q->device->properties & DMAR_NO_PWSNP);
}

/* Marks that are missing have to be set: by what may be written, in tables that are snooped. */
static bool cannot_mark(struct question *q, uint64_t e, uint64_t marks, bool writable)
{
    if ((e & marks) == marks)
        return false;
    if (!writable && !(m.errata && snoops(q))) {
        fault(q, 0x77);
        return true;
    }
    if (!snoops(q))
        fault(q, 0x90);
    return !snoops(q);
}

static void entry(struct question *q, uint64_t e, unsigned level, bool writable, struct rights rights)
{
    bool leaf = level == 1 || ((level == 2 || level == 3) && e & FS_PS), write = q->access != MODEL_READ;
    uint64_t address = e & FS_ADDR, marks = FS_A | (q->hwpt->eafe ? FS_EA : 0);
    bool may_write;

    if (!(e & FS_P)) {
        fault(q, 0x71);
        return;
    }
    if (reserved_bits(q, e, level)) {
        fault(q, 0x72);
        return;
    }
    rights.write &= (e & FS_W) != 0;
    rights.user &= (e & FS_U) != 0;
    if (!rights.user && !q->privileged) {
        fault(q, 0x81);
        return;
    }
    if (maybe_too_wide(address))
        fault(q, 0x74);
    if (!leaf) {
        if (!cannot_mark(q, e, marks, writable))
            table(q, level - 1, address, rights);
        return;
    }
    may_write = rights.write || (q->privileged && !q->hwpt->wpe);
    if (write && !may_write && !q->by_ats) {
        fault(q, 0x85);
        return;
    }
    if (q->by_ats && !q->unit->nwfs) /* each translation request may write */
        write = true;
    if (!cannot_mark(q, e, marks | (write && may_write ? FS_D : 0), writable))
        last_page(q, q->hwpt->space, (address & ~(span(level) - 1)) | (q->address & (span(level) - 1)), true, may_write);
}

static void table(struct question *q, unsigned level, uint64_t iova, struct rights rights)
{
    struct area page[2];
    unsigned count = second_stage(q->hwpt->space, iova, page);

    for (unsigned i = 0; i < count; i++) {
        uint64_t at = page[i].gpa + (q->address >> (12 + 9 * (level - 1)) & 511) * 8;

        if (page[i].gpa == UINT64_MAX) {
            fault(q, 0x79);
            continue;
        }
        if (!page[i].read) {
            fault(q, level == q->hwpt->tree->levels ? 0x75 : 0x76);
            continue;
        }
        entry(q, *guest_word(q->device->guest, at), level, page[i].write, rights);
        for (unsigned s = 0; s < q->hwpt->stales; s++)
            if (q->hwpt->stale[s].at == at && stale_applies(&q->hwpt->stale[s], q->device->unit, q->address))
                entry(q, q->hwpt->stale[s].old, level, page[i].write, rights);
    }
}

static bool is_canonical(uint64_t address, unsigned levels)
{
    unsigned width = 12 + 9 * levels;
    int64_t top = (int64_t)address >> (width - 1);

    return top == 0 || top == -1;
}

static void attached(struct question *q, const struct hwpt *h)
{
    q->hwpt = h;
    if (!h) {
        fault(q, 0x59);
        if (q->use->pasid >= 64) /* its table comes with its first attachment */
            fault(q, 0x51);
    } else if (q->privileged && !(h->nested && h->sre))
        fault(q, 0x5d);
    else if (!h->nested)
        last_page(q, h->space, q->address, false, true);
    else if (!is_canonical(q->address, h->tree->levels))
        fault(q, 0x80);
    else
        table(q, h->tree->levels, h->tree->top + h->tree->space->offset, (struct rights){ true, true });
}

/* All that the request may be attached to. */
static void follow(struct question *q)
{
    attached(q, q->use->hwpt);
    if (q->use->changing)
        attached(q, q->use->next);
    if (q->device->leaving || (q->use->changing && !q->use->gapless))
        attached(q, NULL);
}

/* In caching mode (CAP.CM) a unit may remember from a read, or from a supervisor's request, that the second stage has no such page, and
 * then says so to one that by itself would have failed for lack of rights. */
static void absent_to_others(const struct question *asked, bool privileged)
{
    struct outcomes other = { 0 };
    struct question q = *asked;

    q.access = MODEL_READ;
    q.privileged = privileged;
    q.out = &other;
    follow(&q);
    for (unsigned i = 0; i < other.count; i++)
        if (other.one[i].reason == 0x79)
            add(asked->out, 0x79, 0, 0);
}

void expect(struct use *use, const struct model_request *request, uint64_t address, bool zero_length, bool by_ats, struct outcomes *out)
{
    struct device_ *d = use->device;
    struct question q = {
        .use = use, .device = d, .unit = &m.unit[d->unit], .access = request->access, .zero_length = zero_length, .address = address, .out = out,
        .privileged = request->with_pasid && request->privileged, .by_ats = by_ats,
    };

    out->count = 0;
    out->many = false;
    if (!d->assigned || d->leaving) { /* context entries come and go with their bus */
        fault(&q, 0x39);
        fault(&q, 0x41);
    }
    if (!d->assigned)
        return;
    if (request->with_pasid && !d->pasids) {
        fault(&q, 0x45);
        return;
    }
    if (request->with_pasid && request->pasid == 0) { /* that of requests without */
        fault(&q, 0x48);
        return;
    }
    follow(&q);
    if (q.unit->caching && !q.privileged && request->with_pasid)
        absent_to_others(&q, true);
    if (q.unit->caching && request->access != MODEL_READ)
        absent_to_others(&q, q.privileged);
}

/* Marks ------------------------------------------------------------------------------------------------ */

bool marks_set(struct use *use, uint64_t address, bool write)
{
    const struct hwpt *h = use->hwpt;
    uint64_t table = h->tree->top + h->tree->space->offset, marks = FS_A | (h->eafe ? FS_EA : 0);
    struct area page;

    for (unsigned level = h->tree->levels;; level--) {
        uint64_t e;

        if (!space_find(h->space->area, h->space->areas, table, &page))
            return false;
        e = *guest_word(use->device->guest, page.gpa + (address >> (12 + 9 * (level - 1)) & 511) * 8);
        if ((e & marks) != marks)
            return false;
        if (level == 1 || ((level == 2 || level == 3) && e & FS_PS))
            return !write || e & FS_D;
        table = e & FS_ADDR;
    }
}
