/* SPDX-License-Identifier: BSD-2-Clause */
/* spaces.c: IOASes: flat lists of areas, and the calls that change them. */
#include <string.h>

#include "property.h"

bool space_find(const struct area *areas, unsigned count, uint64_t iova, struct area *page)
{
    for (unsigned i = 0; i < count; i++)
        if (iova >= areas[i].iova && iova - areas[i].iova < areas[i].length) {
            uint64_t inside = (iova - areas[i].iova) & ~(K4 - 1);

            *page = areas[i];
            page->iova += inside;
            page->gpa += inside;
            return true;
        }
    return false;
}

static bool overlaps(const struct space *s, uint64_t iova, uint64_t length)
{
    for (unsigned i = 0; i < s->areas; i++)
        if (s->area[i].iova < iova + length && iova < s->area[i].iova + s->area[i].length)
            return true;
    return false;
}

static void touch(struct space *s, uint64_t iova)
{
    memmove(s->hot + 1, s->hot, sizeof s->hot - sizeof *s->hot);
    s->hot[0] = iova;
}

static void begin_change(struct space *s)
{
    memcpy(s->next, s->area, sizeof s->next);
    s->nexts = s->areas;
    s->changing = true;
}

static void end_change(struct space *s, bool changed)
{
    if (changed) {
        memcpy(s->area, s->next, sizeof s->area);
        s->areas = s->nexts;
    }
    s->changing = false;
}

struct space *some_space(struct guest_ *g)
{
    struct space *s;

    do
        s = &g->space[below(SPACES)];
    while (!s->live);
    return s;
}

uint64_t space_address(struct space *s)
{
    const struct area *a;

    if (!s->areas || percent(30))
        return (s->hot[below(8)] + K4 * below(3)) & ((1ULL << 52) - 1);
    a = &s->area[below(s->areas)];
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

/* The default IOAS: all RAM, of which what calls read goes at once. */
void space_adopt_ram(struct guest_ *g, struct space *s)
{
    uint64_t gpa, size, unmapped;

    *s = (struct space){ .live = true, .id = iommu_default_ioas(g->context) };
    for (unsigned i = 0; platform_guest_region(g->host, i, &gpa, &size); i++)
        s->area[s->areas++] = (struct area){ gpa, size, gpa, true, true, true, true };
    if (call_unmap(g, s, 0, PRIVATE_PAGES * K4, &unmapped) != 0 || unmapped != PRIVATE_PAGES * K4)
        fails("the default IOAS's first pages could not be unmapped");
    s->areas--;
    memmove(s->area, s->area + 1, s->areas * sizeof *s->area);
}

void space_allocs(struct guest_ *g)
{
    struct nidus_ioas_alloc p = { .size = sizeof p };
    static const uint64_t offsets[] = { 0, 0, 0x10000000, 0x4000000000, 0x7f00000000 };

    for (unsigned i = 1; i < SPACES; i++) {
        struct space *s = &g->space[i];

        if (s->live)
            continue;
        note("new IOAS, guest %llu", (ull)(g - m.guest));
        if (call(g, NIDUS_CALL_IOAS_ALLOC, &p, sizeof p, 0) != 0)
            return;
        *s = (struct space){ .live = true, .id = p.out_ioas_id, .offset = offsets[below(5)] };
        if (percent(80)) { /* first-stage tables lead nowhere without */
            const struct area tables = { .iova = TABLES + s->offset, .length = M2, .gpa = TABLES, .read = true, .write = true, .writeable = true };
            uint64_t iova;

            if (call_map(g, s, &tables, true, &iova) != 0)
                fails("IOAS_MAP of the first-stage tables was refused");
            s->area[s->areas++] = tables;
        }
        return;
    }
}

/* Map -------------------------------------------------------------------------------------------------- */

static void choose_memory(struct guest_ *g, struct area *a)
{
    uint64_t pages, at;

    if (g->huge && one_in(6)) { /* HPAs of the large memory end in 128 MiB + what came before; so a leaf of 1 GiB fits where GPA + HPA say */
        uint64_t hpa = host_guest_hpa(g->host, HUGE_DATA), skip = (G1 - hpa % G1) % G1;

        a->gpa = HUGE_DATA + (percent(60) ? skip : below(512) * M2);
        a->length = percent(60) && a->gpa == HUGE_DATA + skip ? G1 : percent(80) ? (1 + below(40)) * M2 : (1 + below(200)) * K4;
        if (a->gpa + a->length > HUGE_DATA + HUGE_BYTES)
            a->length = HUGE_DATA + HUGE_BYTES - a->gpa;
    } else if (one_in(5)) {
        at = below(MORE_PAGES);
        a->gpa = MORE + at * K4;
        a->length = (1 + below(MORE_PAGES - at)) * K4;
    } else {
        at = percent(50) ? below(4) * 512 : below(DATA_BYTES / K4);
        pages = percent(40) ? 512 * (1 + below(3)) : percent(90) ? 1 + below(12) : 1 + below(900);
        if (at + pages > DATA_BYTES / K4)
            pages = DATA_BYTES / K4 - at;
        a->gpa = DATA + at * K4;
        a->length = pages * K4;
    }
}

static void choose_iova(struct space *s, struct area *a)
{
    static const uint64_t base[] = { 0, 0, M2, 0x10000000, 0x40000000, 0xc0000000, 0x7f80000000, 0x123456000, 0xfffff00000 };

    a->iova = percent(30) ? s->hot[below(8)] + (percent(70) ? 0 : K4 * below(3)) : base[below(9)] + (percent(50) ? below(6) * M2 : below(600) * K4);
    if (a->length >= G1)
        a->iova &= ~(G1 - 1);
    else if (percent(50)) /* so that large leaves fit */
        a->iova = (a->iova & ~(M2 - 1)) + a->gpa % M2;
}

/* What lies beside an area, in IOVA as in memory, as far as a large page goes: leaves may merge. */
static bool choose_beside(struct guest_ *g, const struct space *s, struct area *a)
{
    const struct area *o = s->areas ? &s->area[below(s->areas)] : NULL;
    bool huge = o && g->huge && o->gpa >= HUGE_DATA;
    uint64_t whole = huge && percent(70) ? G1 : M2, begin = huge ? HUGE_DATA : DATA, end = begin + (huge ? HUGE_BYTES : DATA_BYTES), at;

    if (!o || o->gpa < begin || o->gpa >= end)
        return false;
    at = host_guest_hpa(g->host, begin) - begin; /* HPAs are what has to be aligned */
    if (percent(50)) {
        a->gpa = o->gpa + o->length;
        a->length = whole - (a->gpa + at) % whole;
    } else {
        a->length = (o->gpa + at) % whole;
        a->gpa = o->gpa - a->length;
    }
    a->iova = o->iova + (a->gpa - o->gpa);
    if (!a->length || a->gpa < begin || a->gpa + a->length > end || a->iova >> 52)
        return false;
    if (percent(90)) {
        a->read = o->read;
        a->write = o->write;
    }
    return true;
}

/* Is the call to be refused?  0: no. */
static int64_t refused(struct guest_ *g, const struct space *s, const struct area *a)
{
    uint64_t last = a->iova + a->length - 1;

    if (a->iova <= 0xfeefffff && last >= 0xfee00000)
        return -NIDUS_EINVAL;
    if (overlaps(s, a->iova, a->length))
        return -NIDUS_EEXIST;
    for (unsigned i = 0; !a->write && m.errata && i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].space == s && g->hwpt[i].nest_parent && !g->hwpt[i].nested)
            return -NIDUS_EINVAL;
    return 0;
}

void space_maps(struct guest_ *g, struct space *s)
{
    struct area a = { .read = true, .write = percent(85) };
    bool fixed = percent(90), failing = one_in(12);
    int64_t result, wanted;
    uint64_t iova;

    if (s->areas >= AREAS - 2)
        return;
    if (!a.write)
        a.read = true;
    else if (one_in(12))
        a.read = false;
    if (one_in(4)) {
        a.gpa = TABLES;
        a.length = M2;
        if (percent(30)) {
            a.gpa += below(TABLE_PAGES) * K4;
            a.length = K4;
        }
        a.iova = a.gpa + s->offset;
        fixed = true;
    } else if (one_in(4) && choose_beside(g, s, &a)) {
        fixed = true;
    } else {
        choose_memory(g, &a);
        choose_iova(s, &a);
    }
    note("map, guest %llu: IOAS %llu, IOVA 0x%llx, length 0x%llx, GPA 0x%llx, rights %llu", (ull)(g - m.guest), s->id, fixed ? a.iova : 0, a.length,
         a.gpa, a.read + 2u * a.write);
    a.writeable = a.write;
    wanted = refused(g, s, &a);
    if (!fixed) { /* nobody knows which it will be, so no DMA looks at it before the call is over */
        m.no_dma = true;
        result = call_map(g, s, &a, false, &iova);
        m.no_dma = false;
        a.iova = iova;
        if (result == 0 && (iova % K4 || refused(g, s, &a)))
            fails("IOAS_MAP chose IOVA 0x%llx for 0x%llx bytes, which may not be used", (ull)iova, (ull)a.length);
        if (result == 0) {
            s->area[s->areas++] = a;
            touch(s, a.iova);
        }
        return;
    }
    begin_change(s);
    if (!wanted)
        s->next[s->nexts++] = a;
    if (failing)
        host_fail_allocation(1 + (unsigned)below(6));
    result = call_map(g, s, &a, true, &iova);
    host_fail_allocation(0);
    end_change(s, result == 0 && !wanted);
    if (result == 0 && wanted)
        fails("IOAS_MAP of IOVA 0x%llx was accepted", (ull)a.iova);
    if (result != 0 && !wanted && result != -NIDUS_ENOMEM && !(result == -NIDUS_EINVAL && (a.iova + a.length) >> 39))
        fails("IOAS_MAP of IOVA 0x%llx was refused: %lld", (ull)a.iova, (long long)result);
    touch(s, a.iova + (percent(50) ? 0 : a.length - K4));
}

/* Copy ------------------------------------------------------------------------------------------------- */

/* What `from` has in the range, one part after the other, as `to` is to have it.  0: there is a hole, or more than fits. */
static unsigned take_parts(const struct space *from, uint64_t iova, const struct area *whole, struct area *parts)
{
    struct area page;
    unsigned count = 0;

    for (uint64_t done = 0; done < whole->length; done += parts[count++].length) {
        if (count == AREAS / 4 || !space_find(from->area, from->areas, iova + done, &page))
            return 0;
        parts[count] = (struct area){ .iova = whole->iova + done, .gpa = page.gpa, .read = whole->read, .write = whole->write, .writeable = page.writeable };
        for (unsigned i = 0; i < from->areas; i++) /* up to the end of the one that page is of */
            if (iova + done >= from->area[i].iova && iova + done - from->area[i].iova < from->area[i].length)
                parts[count].length = from->area[i].iova + from->area[i].length - (iova + done);
        if (parts[count].length > whole->length - done)
            parts[count].length = whole->length - done;
    }
    return count;
}

/* From any IOAS of the guest, the same one as well: a part of an area, or what adjoins as well. */
void space_copies(struct guest_ *g, struct space *to)
{
    struct space *from = some_space(g);
    const struct area *a = from->areas ? &from->area[below(from->areas)] : NULL;
    struct area whole = { .read = true, .write = percent(70) }, parts[AREAS / 4];
    uint64_t skip, source, iova;
    unsigned count;
    bool may;
    int64_t result;

    if (!a || to->areas >= AREAS / 2)
        return;
    skip = percent(30) ? 0 : percent(50) && a->length > M2 ? below(a->length / M2) * M2 : below(a->length / K4) * K4;
    whole.gpa = a->gpa + skip;
    whole.length = percent(60) ? 1 + below(12) : percent(80) ? 512 : 1 + below(1500);
    whole.length = percent(30) ? a->length - skip : whole.length * K4;
    if (whole.length > 2 * DATA_BYTES)
        whole.length = 2 * M2;
    source = a->iova + skip;
    choose_iova(to, &whole);
    count = take_parts(from, source, &whole, parts);
    for (unsigned i = 0; i < count; i++) /* first-stage tables are at one IOVA, or a guest's invalidations would not be all */
        if (parts[i].gpa < TABLES + M2 && parts[i].gpa + parts[i].length > TABLES && parts[i].iova != parts[i].gpa + to->offset)
            return;
    may = count != 0 && refused(g, to, &whole) == 0;
    for (unsigned i = 0; i < count; i++)
        may &= !whole.write || parts[i].writeable;
    note("copy, guest %llu: IOAS %llu, IOVA 0x%llx, length 0x%llx, to IOAS %llu, IOVA 0x%llx", (ull)(g - m.guest), from->id, source, whole.length, to->id,
         whole.iova);
    begin_change(to);
    for (unsigned i = 0; may && i < count; i++)
        to->next[to->nexts++] = parts[i];
    if (one_in(12))
        host_fail_allocation(1 + (unsigned)below(6));
    result = call_copy(g, from, source, to, &whole, &iova);
    host_fail_allocation(0);
    end_change(to, result == 0 && may);
    if (result == 0 && (!may || iova != whole.iova))
        fails("IOAS_COPY to IOVA 0x%llx was accepted", (ull)whole.iova);
    if (result != 0 && may && result != -NIDUS_ENOMEM && !((result == -NIDUS_EINVAL || result == -NIDUS_EADDRINUSE) && (whole.iova + whole.length) >> 39))
        fails("IOAS_COPY to IOVA 0x%llx was refused: %lld", (ull)whole.iova, (long long)result);
    touch(to, whole.iova + (percent(50) ? 0 : below(whole.length / K4) * K4));
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && !g->hwpt[i].nested && g->hwpt[i].space == to)
            look_at(&g->hwpt[i], to->hot[0]);
}

/* Unmap ------------------------------------------------------------------------------------------------ */

/* Takes [first, last] out of next; false: it cuts an area that may not be cut, or there is nothing. */
static bool take_out(struct space *s, uint64_t first, uint64_t last, uint64_t *bytes)
{
    bool any = false;

    *bytes = 0;
    for (unsigned i = s->nexts; i-- > 0;) {
        struct area *a = &s->next[i], old = *a;
        uint64_t end = a->iova + a->length - 1, from, to;

        if (a->iova > last || end < first)
            continue;
        any = true;
        from = a->iova > first ? a->iova : first;
        to = end < last ? end : last;
        if ((from != a->iova || to != end) && !a->divisible)
            return false;
        *bytes += to - from + 1;
        *a = s->next[--s->nexts];
        if (from != old.iova)
            s->next[s->nexts++] = (struct area){ old.iova, from - old.iova, old.gpa, old.read, old.write, true, true };
        if (to != end)
            s->next[s->nexts++] = (struct area){ to + 1, end - to, old.gpa + (to + 1 - old.iova), old.read, old.write, true, true };
    }
    return any;
}

void space_unmaps(struct guest_ *g, struct space *s)
{
    uint64_t first, length, unmapped, bytes;
    const struct area *a;
    bool good, divisible, all = one_in(60);
    int64_t result;

    if (!s->areas || s->areas >= AREAS - 2)
        return;
    a = &s->area[below(s->areas)];
    divisible = s == &g->space[0];
    first = a->iova;
    length = a->length;
    if (a->divisible && percent(90)) {
        uint64_t pages = length / K4, at = percent(20) ? below(pages) : below(pages) / 512 * 512;

        length = (percent(20) ? 1 + below(8) : percent(90) ? 512 : 1 + below(1200)) * K4;
        first += at * K4;
        if (first + length > a->iova + a->length)
            length = a->iova + a->length - first;
    } else if (one_in(10)) {
        length = percent(50) ? length + M2 * below(8) : length / 2 & ~(K4 - 1);
        if (!length)
            length = K4;
    }
    if (all) {
        first = 0;
        length = UINT64_MAX;
    }
    note("unmap, guest %llu: IOAS %llu, IOVA 0x%llx, length 0x%llx", (ull)(g - m.guest), s->id, first, length);
    begin_change(s);
    good = take_out(s, first, all ? UINT64_MAX : first + length - 1, &bytes);
    if (!good) {
        memcpy(s->next, s->area, sizeof s->next);
        s->nexts = s->areas;
    }
    if (one_in(8))
        host_fail_allocation(1 + (unsigned)below(3));
    for (unsigned i = 0; !all && i < HWPTS; i++)
        if (g->hwpt[i].live && !g->hwpt[i].nested && g->hwpt[i].space == s && users_of(&g->hwpt[i]) > g->hwpt[i].children)
            m.watched = &g->hwpt[i];
    m.watched_at = first + (percent(50) ? 0 : below(length / K4) * K4);
    for (unsigned i = 0; !all && percent(50) && i < HWPTS; i++) /* so that it is cached */
        if (g->hwpt[i].live && !g->hwpt[i].nested && g->hwpt[i].space == s)
            look_at(&g->hwpt[i], m.watched_at);
    result = call_unmap(g, s, first, length, &unmapped);
    m.watched = NULL;
    host_fail_allocation(0);
    end_change(s, result == 0);
    dirty_unmapped(g, s, first, all ? UINT64_MAX : first + length - 1, divisible);
    if (result == 0 && !good)
        fails("IOAS_UNMAP of IOVA 0x%llx, length 0x%llx, was accepted", (ull)first, (ull)length);
    if (result != 0 && good && result != -NIDUS_ENOMEM)
        fails("IOAS_UNMAP of IOVA 0x%llx, length 0x%llx, was refused: %lld", (ull)first, (ull)length, (long long)result);
    if (result == 0 && unmapped != bytes)
        fails("IOAS_UNMAP says 0x%llx bytes, it was 0x%llx", (ull)unmapped, (ull)bytes);
    touch(s, all ? s->hot[1] : first + (percent(50) ? 0 : length - K4));
    for (unsigned i = 0; !all && i < HWPTS; i++)
        if (g->hwpt[i].live && !g->hwpt[i].nested && g->hwpt[i].space == s)
            look_at(&g->hwpt[i], percent(50) ? m.watched_at : first + below(length / K4) * K4);
}
