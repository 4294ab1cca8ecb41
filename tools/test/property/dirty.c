/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dirty.c: which pages of a tracked second stage devices have written to, and whether HWPT_GET_DIRTY_BITMAP says so: each page that surely was, since it
 * was last cleared, and none but those that may have been, and what shares a leaf with them.
 */
#include <string.h>

#include "property.h"

#define BITMAP_AT 0x6000ULL     /* in the guest's private pages */
#define BITS_MAX  4096u

static struct written *find(struct hwpt *h, uint64_t iova)
{
    for (unsigned i = 0; i < h->writtens; i++)
        if (h->written[i].iova == (iova & ~(K4 - 1)))
            return &h->written[i];
    return NULL;
}

static void forget(struct hwpt *h)
{
    h->writtens = 0;
    h->vague = false;
}

void dirty_written(struct hwpt *h, uint64_t iova, bool sure)
{
    struct written *w;

    if (!h || !h->dirty || !(h->tracking || h->setting))
        return;
    sure &= !h->setting && !h->space->changing;
    w = find(h, iova);
    if (!w && h->writtens == WRITTEN) {
        h->vague = true;
        return;
    }
    if (!w) {
        w = &h->written[h->writtens++];
        *w = (struct written){ .iova = iova & ~(K4 - 1) };
    }
    w->sure |= sure;
    w->late |= h->reading;
}

void dirty_unmapped(struct guest_ *g, const struct space *s, uint64_t first, uint64_t last, bool split)
{
    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &g->hwpt[i];

        if (!h->live || h->space != s || !h->dirty)
            continue;
        h->vague |= split;      /* all of it counts as written */
        for (unsigned k = 0; k < h->writtens; k++)
            h->written[k].sure &= h->written[k].iova < first || h->written[k].iova > last;
    }
}

/* The largest leaf that may map the page. */
static uint64_t leaf_of(const struct hwpt *h, uint64_t iova)
{
    for (unsigned i = 0; i < h->space->areas; i++) {
        const struct area *a = &h->space->area[i];

        if (iova >= a->iova && iova - a->iova < a->length)
            return a->length >= G1 ? G1 : a->length >= M2 ? M2 : K4;
    }
    return K4;
}

static bool may_be_written(const struct hwpt *h, uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < h->writtens; i++) {
        uint64_t leaf = leaf_of(h, h->written[i].iova), at = h->written[i].iova & ~(leaf - 1);

        if (at <= last && at + leaf - 1 >= first)
            return true;
    }
    return h->vague;
}

static void set_tracking(struct guest_ *g, struct hwpt *h)
{
    bool on = percent(75);
    struct nidus_hwpt_set_dirty_tracking p = {
        .size = sizeof p, .flags = on ? NIDUS_HWPT_DIRTY_TRACKING_ENABLE : 0, .hwpt_id = h->id,
    };
    int64_t result;

    note("dirty tracking of HWPT %llu, guest %llu: %llu", h->id, (ull)(g - m.guest), on);
    forget(h);
    h->setting = true;
    result = call(g, NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, &p, sizeof p, 0);
    h->setting = false;
    if (result != (h->dirty ? 0 : -NIDUS_EOPNOTSUPP))
        fails("SET_DIRTY_TRACKING of a HWPT that %s made for it: %lld", h->dirty ? "was" : "was not", (long long)result);
    h->tracking = on && h->dirty;
}

/* What the call has cleared is written no more; what came meanwhile may have come before, or after. */
static void cleared(struct hwpt *h, const struct nidus_hwpt_get_dirty_bitmap *p, const uint8_t *bitmap)
{
    for (unsigned i = h->writtens; i-- > 0;) {
        struct written *w = &h->written[i];
        uint64_t leaf = leaf_of(h, w->iova), at = w->iova & ~(leaf - 1), bit = (w->iova - p->iova) / p->page_size;

        if (w->iova < p->iova || w->iova - p->iova >= p->length)
            continue;
        if (w->late)
            w->sure &= !(bitmap[bit / 8] >> bit % 8 & 1);
        else if (at >= p->iova && at + leaf <= p->iova + p->length)
            *w = h->written[--h->writtens];
        else
            w->sure = false;
    }
}

static void compare(struct hwpt *h, const struct nidus_hwpt_get_dirty_bitmap *p, const uint8_t *bitmap, const bool *before)
{
    uint64_t bits = p->length / p->page_size;

    for (uint64_t i = 0; i < BITS_MAX; i++) {
        uint64_t first = p->iova + i * p->page_size;

        if (!(bitmap[i / 8] >> i % 8 & 1))
            continue;
        if (i >= bits)
            fails("GET_DIRTY_BITMAP wrote to bit %llu of %llu", (ull)i, (ull)bits);
        if (!may_be_written(h, first, first + p->page_size - 1))
            fails("GET_DIRTY_BITMAP: IOVA 0x%llx, which was not written to", (ull)first);
    }
    for (unsigned i = 0; i < h->writtens; i++) {
        uint64_t iova = h->written[i].iova, bit = (iova - p->iova) / p->page_size;

        if (before[i] && iova >= p->iova && iova - p->iova < p->length && !(bitmap[bit / 8] >> bit % 8 & 1))
            fails("GET_DIRTY_BITMAP: not IOVA 0x%llx, which was written to", (ull)iova);
    }
}

/* Of what is at the address and behind it, or of the whole area. */
static void get_bitmap(struct guest_ *g, struct hwpt *h, uint64_t address)
{
    struct area page;
    struct nidus_hwpt_get_dirty_bitmap p = {
        .size = sizeof p, .hwpt_id = h->id, .flags = one_in(4) ? NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR : 0, .page_size = one_in(6) ? M2 : K4,
        .data = BITMAP_AT,
    };
    uint8_t *bitmap = host_guest_byte(g->host, BITMAP_AT);
    bool before[WRITTEN];
    int64_t result;

    p.iova = address & ~(p.page_size - 1);
    p.length = (1 + below(percent(50) ? 8 : 700)) * K4;
    for (unsigned i = 0; percent(30) && i < h->space->areas; i++)
        if (space_find(&h->space->area[i], 1, address, &page)) {
            p.iova = h->space->area[i].iova & ~(p.page_size - 1);
            p.length = h->space->area[i].length;
        }
    p.length = (p.length + p.page_size - 1) & ~(p.page_size - 1);
    if (p.length > BITS_MAX / 2 * p.page_size)
        p.length = BITS_MAX / 2 * p.page_size;
    note("dirty bitmap of HWPT %llu, guest %llu: IOVA 0x%llx, length 0x%llx, pages of 0x%llx, flags %llu", h->id, (ull)(g - m.guest), p.iova, p.length,
         p.page_size, p.flags);
    memset(bitmap, 0, BITS_MAX / 8);
    for (unsigned i = 0; i < WRITTEN; i++) {
        before[i] = i < h->writtens && h->written[i].sure;
        h->written[i].late = false;
    }
    h->reading = true;
    result = call(g, NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, &p, sizeof p, 0);
    h->reading = false;
    if (result != (h->tracking ? 0 : h->dirty ? -NIDUS_EINVAL : -NIDUS_EOPNOTSUPP))
        fails("GET_DIRTY_BITMAP of a HWPT that %s tracked: %lld", h->tracking ? "is" : "is not", (long long)result);
    if (result != 0)
        return;
    compare(h, &p, bitmap, before);
    if (!(p.flags & NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR))
        cleared(h, &p, bitmap);
}

/* A page is written to before and after its flag is cleared: the second time nothing that is cached may stand in its way. */
static void read_twice(struct guest_ *g, struct hwpt *h)
{
    uint64_t address = h->writtens && percent(50) ? h->written[below(h->writtens)].iova : space_address(h->space);

    write_at(h, address);
    get_bitmap(g, h, percent(40) ? address ^ below(512) * K4 : address);
    if (percent(50))
        write_at(h, address);
    get_bitmap(g, h, address);
}

/* Some second stage's: mostly one that was made for it, and is used. */
void dirty_asks(struct guest_ *g)
{
    unsigned from = (unsigned)below(HWPTS);
    bool any = one_in(20);
    struct hwpt *found = NULL;

    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &g->hwpt[(from + i) % HWPTS];

        if (h->live && !h->nested && (h->dirty || any) && (!found || users_of(h)))
            found = h;
    }
    if (!found)
        return;
    if (!users_of(found))
        hwpt_gets_user(g, found);
    if (found->tracking && !found->vague ? percent(95) : one_in(8))
        read_twice(g, found);
    else
        set_tracking(g, found);
}
