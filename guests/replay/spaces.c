/* SPDX-License-Identifier: BSD-2-Clause */
/* spaces.c: IOASes: flat lists of areas, and the calls that change them. */
#include <string.h>

#include "guests/replay/replay.h"

bool space_find(const struct space *s, uint64_t iova, struct area *page)
{
    for (unsigned i = 0; i < s->areas; i++)
        if (iova >= s->area[i].iova && iova - s->area[i].iova < s->area[i].length) {
            uint64_t inside = (iova - s->area[i].iova) & ~(K4 - 1);

            *page = s->area[i];
            page->iova += inside;
            page->gpa += inside;
            return true;
        }
    return false;
}

static void touch(struct space *s, uint64_t iova)
{
    memmove(s->hot + 1, s->hot, sizeof s->hot - sizeof *s->hot);
    s->hot[0] = iova;
}

struct space *some_space(void)
{
    struct space *s;

    do
        s = &m.space[below(SPACES)];
    while (!s->live);
    return s;
}

uint64_t space_address(struct space *s)
{
    const struct area *a = &s->area[below(s->areas)];

    if (percent(25))
        return (s->hot[below(8)] + K4 * below(3)) & ((1ULL << 52) - 1);
    switch (below(4)) {
    case 0:
        return a->iova + a->length - K4 * (1 - below(2));
    case 1:
        return a->iova;
    case 2:
        return a->iova + (a->length > M2 ? below(a->length / M2) * M2 : 0);
    default:
        return a->iova + below(a->length / K4) * K4;
    }
}

/* Calls ------------------------------------------------------------------------------------------------ */

static int64_t call_map(struct space *s, struct area *a, bool fixed)
{
    struct nidus_ioas_map p = {
        .size = sizeof p, .ioas_id = s->id, .user_va = a->gpa, .length = a->length, .iova = fixed ? a->iova : 0,
        .flags = (fixed ? NIDUS_IOAS_MAP_FIXED_IOVA : 0) | (a->read ? NIDUS_IOAS_MAP_READABLE : 0) | (a->write ? NIDUS_IOAS_MAP_WRITEABLE : 0),
    };
    int64_t result;

    tell_hex(" IOAS ", s->id);
    tell_hex(" GPA ", a->gpa);
    tell_hex(" length ", a->length);
    tell_hex(" rights ", p.flags);
    result = call(NIDUS_CALL_IOAS_MAP, &p, sizeof p, 0);
    a->iova = p.iova;
    tell_hex(" IOVA ", a->iova);
    return result;
}

static int64_t call_unmap(const struct space *s, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
    struct nidus_ioas_unmap p = { .size = sizeof p, .ioas_id = s->id, .iova = iova, .length = length };
    int64_t result;

    tell_hex(" IOAS ", s->id);
    tell_hex(" IOVA ", iova);
    tell_hex(" length ", length);
    result = call(NIDUS_CALL_IOAS_UNMAP, &p, sizeof p, 0);
    *unmapped = p.length;
    tell_hex(" unmapped ", p.length);
    return result;
}

#define READ  1u
#define WRITE 2u

/* What an IOAS begins with. */
static void map_whole(struct space *s, uint64_t gpa, uint64_t length, unsigned rights)
{
    struct area a = {
        .iova = gpa + s->offset, .length = length, .gpa = gpa, .read = rights & READ, .write = rights & WRITE, .pinned = gpa == PINNED,
    };

    if (call_map(s, &a, true) == 0)
        s->area[s->areas++] = a;
    else if (a.pinned)
        wrong("an IOAS without what is pinned, IOVA", a.iova);
}

static uint64_t slice(void)
{
    return SLICES + m.seed % SLICE_COUNT * SLICE_STEP;
}

bool is_other_slice(const struct space *s, uint64_t iova)
{
    return s == m.space && iova >= SLICES && iova < RAM_BYTES && (iova - SLICES) / SLICE_STEP != m.seed % SLICE_COUNT;
}

/* Of the default IOAS's RAM only the slices stay, and those beyond reach. */
static void unmap_ram(struct space *s)
{
    uint64_t unmapped, at = 0;

    for (unsigned i = 0; i < SLICE_COUNT; i++) {
        if (call_unmap(s, at, SLICES + i * SLICE_STEP - at, &unmapped) != 0)
            wrong("IOAS_UNMAP of RAM at", at);
        at = SLICES + i * SLICE_STEP + M2;
    }
    if (call_unmap(s, at, RAM_BYTES - at, &unmapped) != 0)
        wrong("IOAS_UNMAP of RAM at", at);
}

void space_adopt_ram(struct space *s)
{
    if (m.fresh)
        unmap_ram(s);
    ring_tables_make(s);
    map_whole(s, PINNED, PINNED_PAGES * K4, READ | WRITE);
    map_whole(s, TABLES, M2, READ | WRITE);
    map_whole(s, DATA, DATA_BYTES, READ | WRITE);
    map_whole(s, MORE, MORE_PAGES * K4, READ | WRITE);
    s->area[s->areas++] = (struct area){ .iova = slice(), .length = M2, .gpa = slice(), .read = true, .write = true, .divisible = true };
}

void space_give_back(struct space *s)
{
    uint64_t unmapped;

    while (s->areas) {
        const struct area *a = &s->area[--s->areas];

        if (call_unmap(s, a->iova, a->length, &unmapped) != 0)
            wrong("IOAS_UNMAP at a seed's end, IOVA", a->iova);
    }
}

void space_allocs(void)
{
    struct nidus_ioas_alloc p = { .size = sizeof p };
    static const uint64_t offsets[] = { 0, 0, 0x10000000, 0x4000000000, 0x7f00000000 };

    tell("new IOAS");
    for (unsigned i = 1; i < SPACES; i++) {
        struct space *s = &m.space[i];

        if (s->live)
            continue;
        if (call(NIDUS_CALL_IOAS_ALLOC, &p, sizeof p, 0) != 0)
            return;
        *s = (struct space){ .live = true, .id = p.out_ioas_id, .offset = offsets[below(5)] };
        ring_tables_make(s);
        map_whole(s, PINNED, PINNED_PAGES * K4, READ | WRITE);
        map_whole(s, TABLES, M2, percent(65) ? READ | WRITE : percent(80) ? READ : WRITE);
        for (unsigned n = 0; n < 6; n++)
            space_maps(s);
        return;
    }
}

/* Map -------------------------------------------------------------------------------------------------- */

static void choose_memory(struct area *a)
{
    uint64_t pages, at;

    if (one_in(5)) {
        at = below(MORE_PAGES);
        a->gpa = MORE + at * K4;
        a->length = (1 + below(MORE_PAGES - at)) * K4;
        return;
    }
    at = percent(50) ? below(2) * 512 : below(DATA_BYTES / K4);
    pages = percent(40) ? 512 * (1 + below(2)) : percent(90) ? 1 + below(12) : 1 + below(900);
    if (at + pages > DATA_BYTES / K4)
        pages = DATA_BYTES / K4 - at;
    a->gpa = DATA + at * K4;
    a->length = pages * K4;
}

static void choose_iova(struct space *s, struct area *a)
{
    static const uint64_t base[] = { 0, 0, M2, 0x10000000, 0x40000000, 0xc0000000, 0x7f80000000, 0x123456000, 0xfffff00000 };

    a->iova = percent(30) ? s->hot[below(8)] + (percent(70) ? 0 : K4 * below(3)) : base[below(9)] + (percent(50) ? below(6) * M2 : below(600) * K4);
    if (percent(50)) /* so that large leaves fit */
        a->iova = (a->iova & ~(M2 - 1)) + a->gpa % M2;
}

/* IOVAs where this IOAS may have tables: nothing else goes there, or the data would be tables. */
static bool is_for_tables(const struct space *s, const struct area *a)
{
    uint64_t first = TABLES + s->offset;

    return a->iova < first + M2 && first < a->iova + a->length;
}

/* … and where it has slices, and next to them. */
static bool is_for_slices(const struct area *a)
{
    return a->iova < RAM_BYTES + M2 && SLICES - M2 < a->iova + a->length;
}

void space_maps(struct space *s)
{
    struct area a = { .read = true, .write = percent(75) };
    bool fixed = percent(92), tables = one_in(3);

    tell("map");
    if (s->areas >= AREAS - 2)
        return;
    if (a.write && one_in(12))
        a.read = false;
    if (tables) {
        a.gpa = TABLES;
        a.length = M2;
        if (percent(40)) {
            a.gpa += below(TABLE_PAGES) * K4;
            a.length = K4;
        }
        a.iova = a.gpa + s->offset;
        fixed = true;
    } else {
        choose_memory(&a);
        choose_iova(s, &a);
        if (is_for_tables(s, &a) || is_for_slices(&a))
            return;
    }
    if (!fixed && a.length > M2)
        a.length = M2; /* what nidus chooses has to be free of all the above: low, and small */
    if (call_map(s, &a, fixed) != 0)
        return;
    if (!fixed && (is_for_tables(s, &a) || is_for_slices(&a)))
        wrong("IOAS_MAP chose a place that the scenario needs, IOVA", a.iova);
    s->area[s->areas++] = a;
    touch(s, a.iova + (percent(50) ? 0 : a.length - K4));
}

/* Unmap ------------------------------------------------------------------------------------------------ */

/* What is left of an area, and of the list, when [first, last] was unmapped. */
static void take_out(struct space *s, uint64_t first, uint64_t last)
{
    for (unsigned i = s->areas; i-- > 0;) {
        struct area old = s->area[i];
        uint64_t end = old.iova + old.length - 1;

        if (old.iova > last || end < first)
            continue;
        s->area[i] = s->area[--s->areas];
        if (old.iova < first) {
            s->area[s->areas] = old;
            s->area[s->areas++].length = first - old.iova;
        }
        if (end > last) {
            s->area[s->areas] = old;
            s->area[s->areas].iova = last + 1;
            s->area[s->areas].gpa += last + 1 - old.iova;
            s->area[s->areas++].length = end - last;
        }
    }
}

static void unmap(struct space *s, uint64_t first, uint64_t length)
{
    uint64_t unmapped;

    if (call_unmap(s, first, length, &unmapped) != 0)
        return;
    take_out(s, first, first + length - 1);
    touch(s, first + (percent(50) ? 0 : length - K4));
}

static bool hits_pinned(const struct space *s, uint64_t first, uint64_t length)
{
    for (unsigned i = 0; i < s->areas; i++)
        if (s->area[i].pinned && s->area[i].iova < first + length && first < s->area[i].iova + s->area[i].length)
            return true;
    return false;
}

/* Everything goes, and at once comes back what an IOAS cannot be without. */
static void unmap_all(struct space *s)
{
    uint64_t unmapped;

    if (call_unmap(s, 0, UINT64_MAX, &unmapped) != 0)
        wrong("IOAS_UNMAP of everything", s->id);
    s->areas = 0;
    map_whole(s, PINNED, PINNED_PAGES * K4, READ | WRITE);
    map_whole(s, TABLES, M2, READ | WRITE);
}

void space_unmaps(struct space *s)
{
    const struct area *a = &s->area[below(s->areas)];
    uint64_t first = a->iova, length = a->length;

    tell("unmap");
    if (s != m.space && one_in(20)) {
        unmap_all(s);
        return;
    }
    if (a->gpa >= TABLES && a->gpa < TABLES + M2 && percent(50)) /* most of the time there is something to be walked */
        return;
    if (one_in(10)) /* more than the area, or a part, which is refused */
        length = percent(50) ? length + M2 * below(8) : (length / 2 & ~(K4 - 1)) + K4;
    if (hits_pinned(s, first, length) || a->divisible || (s == m.space && first + length > SLICES && first < RAM_BYTES))
        return;
    unmap(s, first, length);
}

/* A hole in the slice: large pages are split. */
void space_cuts(void)
{
    struct space *s = m.space;
    const struct area *a = NULL;
    uint64_t at;

    tell("cut");
    for (unsigned i = (unsigned)below(s->areas), n = 0; n < s->areas && !a; n++, i++)
        if (s->area[i % s->areas].divisible)
            a = &s->area[i % s->areas];
    if (!a || s->areas >= AREAS - 2)
        return;
    at = below(a->length / K4) * K4;
    unmap(s, a->iova + at, K4 * (1 + below(percent(90) ? 4 : 64)) < a->length - at ? K4 * (1 + below(4)) : a->length - at);
}
