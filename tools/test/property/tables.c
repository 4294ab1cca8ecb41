/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables.c: a guest's first-stage tables (section 9.7), changed at random, and the list of what units may still have of them.
 *
 * A guest follows two rules.  A table that it has unlinked stays as it is until nothing of it can be cached.  An entry whose change nobody
 * may have seen (it was not present, or its table is attached nowhere) needs no invalidation; every other one is stale until it has had one.
 */
#include <string.h>

#include "property.h"

static uint64_t span(unsigned level)
{
    return 1ULL << (12 + 9 * (level - 1));
}

static unsigned index_of(uint64_t address, unsigned level)
{
    return address >> (12 + 9 * (level - 1)) & 511;
}

uint64_t *guest_word(struct guest_ *g, uint64_t gpa)
{
    return (uint64_t *)host_guest_byte(g->host, gpa);
}

static bool is_leaf(uint64_t e, unsigned level)
{
    return level == 1 || (level <= 3 && e & FS_PS);
}

/* Stale entries ---------------------------------------------------------------------------------------- */

uint32_t units_of(const struct hwpt *h)
{
    uint32_t units = 0;

    for (unsigned i = 0; i < m.devices; i++)
        for (unsigned n = 0; n < USES; n++)
            if (m.device[i].use[n].hwpt == h)
            units |= 1u << m.device[i].unit;
    return units;
}

bool stale_applies(const struct stale *s, unsigned unit, uint64_t address)
{
    if (!(s->units >> unit & 1) || address < s->first || address > s->last)
        return false;
    for (unsigned i = 0; i < s->dones; i++)
        if (address >= s->done[i].first && address <= s->done[i].last)
            return false;
    return true;
}

/* When nothing is stale, what was unlinked can be used again. */
static void settle(struct guest_ *g)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].stales)
            return;
    while (g->limbos)
        g->free_table[g->free_tables++] = g->limbo[--g->limbos];
}

static void drop(struct hwpt *h, unsigned i)
{
    h->stale[i] = h->stale[--h->stales];
}

void stale_keep(struct hwpt *h, uint32_t units)
{
    for (unsigned i = h->stales; i-- > 0;) {
        h->stale[i].units &= units;
        if (!h->stale[i].units)
            drop(h, i);
    }
}

/* The largest leaf that may be cached of what an entry led to: it goes only when all of it is invalidated (6.5.3.3). */
static uint64_t largest_leaf(const struct stale *s)
{
    uint64_t size = s->last - s->first + 1;

    return s->leaf ? size : size <= M2 ? K4 : size <= G1 ? M2 : G1;
}

void stale_done(struct hwpt *h, uint64_t first, uint64_t last, bool leaf_only)
{
    for (unsigned i = h->stales; i-- > 0;) {
        struct stale *s = &h->stale[i];

        if ((leaf_only && !s->leaf) || first > s->last || last < s->first)
            continue;
        if (first <= s->first && last >= s->last) {
            drop(h, i);
        } else if (s->dones < 4) {
            uint64_t leaf = largest_leaf(s), from = first > s->first ? first : s->first, to = last < s->last ? last : s->last;

            from = s->first + (from - s->first + leaf - 1) / leaf * leaf;
            to = s->first + (to - s->first + 1) / leaf * leaf;
            if (from < to) {
                s->done[s->dones].first = from;
                s->done[s->dones++].last = to - 1;
            }
        }
    }
}

static bool room_for_stale(struct guest_ *g, const struct tree *t)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].tree == t && g->hwpt[i].stales == STALE)
            return false;
    return true;
}

/* The guest writes an entry. */
static void write_entry(struct guest_ *g, struct tree *t, uint64_t address, unsigned level, uint64_t at, uint64_t value)
{
    uint64_t old, width = 12 + 9 * t->levels;

    address = (uint64_t)((int64_t)(address << (64 - width)) >> (64 - width));
    for (unsigned i = 0; *guest_word(g, at) & FS_P && percent(50) && i < HWPTS; i++) /* so that it is cached */
        if (g->hwpt[i].live && g->hwpt[i].tree == t)
            look_at(&g->hwpt[i], address);
    old = *guest_word(g, at);
    *guest_word(g, at) = value;
    note("  first stage 0x%llx: entry of level %llu for 0x%llx at GPA 0x%llx: 0x%llx -> 0x%llx", t->top, level, address, at, old, value);
    memmove(t->hot + 1, t->hot, sizeof t->hot - sizeof *t->hot);
    t->hot[0] = percent(50) ? address : address + below(span(level)) / K4 * K4;
    if (!(old & FS_P) || old == value)
        return;
    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &g->hwpt[i];
        uint32_t units = h->live && h->tree == t ? units_of(h) : 0;

        if (units)
            h->stale[h->stales++] = (struct stale){
                .at = at, .old = old, .first = address & ~(span(level) - 1), .last = address | (span(level) - 1), .leaf = is_leaf(old, level),
                .units = units,
            };
    }
}

/* Tables ----------------------------------------------------------------------------------------------- */

void tables_forget(struct guest_ *g)
{
    g->limbos = 0;
    g->free_tables = TABLE_PAGES;
    for (unsigned i = 0; i < TABLE_PAGES; i++)
        g->free_table[i] = TABLES + (TABLE_PAGES - 1 - i) * K4;
}

/* 0: there is none. */
static uint64_t new_page(struct guest_ *g)
{
    uint64_t gpa;

    settle(g);
    if (!g->free_tables)
        return 0;
    gpa = g->free_table[--g->free_tables];
    memset(guest_word(g, gpa), 0, K4);
    return gpa;
}

static void unlink_pages(struct guest_ *g, const struct tree *t, uint64_t gpa, unsigned level)
{
    for (unsigned i = 0; level > 1 && i < 512; i++) {
        uint64_t e = *guest_word(g, gpa + i * 8), next = (e & FS_ADDR) - t->space->offset;

        if (e & FS_P && !is_leaf(e, level) && next >= TABLES && next < TABLES + TABLE_PAGES * K4)
            unlink_pages(g, t, next, level - 1);
    }
    g->limbo[g->limbos++] = gpa;
}

struct tree *tree_new(struct guest_ *g, struct space *s)
{
    unsigned levels = one_in(3) ? 5 : 4;

    for (unsigned i = 0; i < TREES; i++) /* other levels beside it: what is cached of the one must not serve the other */
        if (g->tree[i].live && g->tree[i].space == s && percent(50))
            levels = 9 - g->tree[i].levels;
    for (unsigned i = 0; i < TREES; i++) {
        struct tree *t = &g->tree[i];

        if (t->live)
            continue;
        *t = (struct tree){ .space = s, .levels = levels, .top = new_page(g) };
        for (unsigned h = 0; h < 16; h++)
            t->hot[h] = tree_address(t);
        t->live = t->top != 0;
        return t->live ? t : NULL;
    }
    return NULL;
}

static bool is_attached(struct guest_ *g, const struct tree *t)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].tree == t && units_of(&g->hwpt[i]))
            return true;
    return false;
}

struct tree *some_tree(struct guest_ *g)
{
    unsigned from = (unsigned)below(TREES);
    struct tree *found = NULL;

    for (unsigned i = 0; i < TREES; i++) {
        struct tree *t = &g->tree[(from + i) % TREES];

        if (!t->live)
            continue;
        found = t;
        if (is_attached(g, t))
            break;
    }
    return found;
}

void tree_free(struct guest_ *g, struct tree *t)
{
    unlink_pages(g, t, t->top, t->levels);
    t->live = false;
}

/* Addresses cluster, so that entries, tables and ranges meet. */
uint64_t tree_address(struct tree *t)
{
    static const uint64_t base[] = { 0, 0x40000000, 0x7fc0000000, 0x8000000000, 0x7fffc0000000, 0x3ffffe00000, 0x800000000000 };
    uint64_t address = base[below(t->levels == 5 ? 7 : 6)];

    if (percent(60))
        return t->hot[below(16)] + (percent(70) ? 0 : percent(50) ? K4 * below(4) : M2 * below(2));
    address += below(4) * M2 + (percent(70) ? below(8) : below(512)) * K4;
    if (one_in(4)) /* the upper half */
        address |= t->levels == 5 ? 0xff00000000000000 : 0xffff800000000000;
    return address;
}

/* What a leaf points to: mostly what is mapped. */
static uint64_t target(struct tree *t, unsigned level)
{
    uint64_t size = span(level), iova = one_in(40) ? below(1ULL << 52) : space_address(t->space);

    for (unsigned tries = 0; tries < 4 && t->space->areas && percent(85); tries++) {
        const struct area *a = &t->space->area[below(t->space->areas)];
        uint64_t first = (a->iova + size - 1) & ~(size - 1), last = a->iova + a->length - 1;

        if (first <= last && last - first >= size - 1)
            return (first + below((last - first + 1) / size) * size) & FS_ADDR;
    }
    return iova & ~(size - 1) & FS_ADDR;
}

static uint64_t leaf_flags(void)
{
    return FS_P | (percent(75) ? FS_W : 0) | (one_in(24) ? 0 : FS_U) | (percent(60) ? FS_A | FS_EA | FS_D : percent(50) ? FS_A : 0);
}

static uint64_t table_flags(void)
{
    return FS_P | (one_in(20) ? 0 : FS_W) | (one_in(40) ? 0 : FS_U) | (percent(80) ? FS_A | FS_EA : 0);
}

/* Bits that are reserved at the level. */
static uint64_t broken(unsigned level)
{
    return level >= 4 ? FS_PS : level > 1 ? FS_PS | 0x4000 : 0;
}

/* One entry of level at the address is made something else. */
static void change_leaf(struct guest_ *g, struct tree *t, uint64_t address, unsigned level, uint64_t at)
{
    uint64_t e = *guest_word(g, at), value;

    if (e & FS_P && percent(25))
        value = 0;
    else if (e & FS_P && percent(30))
        value = e ^ (percent(50) ? FS_W : percent(60) ? FS_A | FS_EA | FS_D : FS_D);
    else if (e & FS_P && percent(10))
        value = e ^ FS_U;
    else
        value = target(t, level) | leaf_flags() | (level > 1 ? FS_PS : 0) | (one_in(100) ? broken(level) : 0);
    write_entry(g, t, address, level, at, value);
}

/* A table and all below it goes, or another one takes its place, or its own entry changes. */
static void change_table(struct guest_ *g, struct tree *t, uint64_t address, unsigned level, uint64_t at)
{
    uint64_t e = *guest_word(g, at), child = (e & FS_ADDR) - t->space->offset, fresh;

    if (percent(40)) {
        write_entry(g, t, address, level, at, e ^ (percent(40) ? FS_W : percent(50) ? FS_U : FS_A | FS_EA));
        return;
    }
    fresh = percent(40) ? new_page(g) : 0;
    if (fresh && percent(50) && level == 2) /* … with some of the old one's entries */
        for (unsigned i = 0; i < 512; i++)
            if (i % 3)
                *guest_word(g, fresh + i * 8) = *guest_word(g, child + i * 8);
    write_entry(g, t, address, level, at, fresh ? (fresh + t->space->offset) | table_flags() : one_in(3) ? target(t, level) | leaf_flags() | FS_PS : 0);
    unlink_pages(g, t, child, level - 1);
}

void tree_changes(struct guest_ *g, struct tree *t)
{
    uint64_t address = tree_address(t), table = t->top;
    unsigned wanted = percent(80) ? 1 : percent(80) ? 2 : 3;

    if (!room_for_stale(g, t))
        return;
    for (unsigned level = t->levels;; level--) {
        uint64_t at = table + index_of(address, level) * 8, e = *guest_word(g, at);
        bool present = e & FS_P, points = present && !is_leaf(e, level) && !(level >= 4 && e & FS_PS);

        if (level == 1 || (present && !points) || (level == wanted && !points)) {
            if (level >= 4)
                write_entry(g, t, address, level, at, 0);
            else
                change_leaf(g, t, address, level, at);
            return;
        }
        if (points && ((level == wanted && percent(40)) || one_in(150))) {
            change_table(g, t, address, level, at);
            return;
        }
        if (!points) {
            uint64_t fresh = new_page(g);

            if (!fresh)
                return;
            e = (fresh + t->space->offset) | table_flags();
            write_entry(g, t, address, level, at, e);
        }
        table = (e & FS_ADDR) - t->space->offset;
    }
}
