/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables.c: first-stage tables (section 9.7), changed at random, and the list of what hardware may still have of them.
 *
 * Two rules are kept.  A table that was unlinked stays as it is until nothing of it can be cached.  An entry whose change nobody may
 * have seen (it was not present, or its table is attached nowhere) needs no invalidation; every other one is stale until it has had one.
 */
#include <string.h>

#include "guests/replay/replay.h"

#define RING_TABLES (PINNED + DEVICES * K4)                     /* three for each IOAS */
#define PINNED_TOPS (PINNED + (DEVICES + 3 * SPACES) * K4)      /* one for each tree */
_Static_assert(DEVICES + 3 * SPACES + TREES <= PINNED_PAGES, "what is pinned");

uint64_t span_of(unsigned level)
{
    return 1ULL << (12 + 9 * (level - 1));
}

static unsigned index_of(uint64_t address, unsigned level)
{
    return address >> (12 + 9 * (level - 1)) & 511;
}

uint64_t *word_at(uint64_t gpa)
{
    return port_memory(gpa);
}

static uint64_t sign_extended(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16);
}

bool is_leaf(uint64_t e, unsigned level)
{
    return level == 1 || (level <= 3 && e & FS_PS);
}

bool is_canonical(uint64_t address)
{
    int64_t top = (int64_t)address >> 47;

    return top == 0 || top == -1;
}

/* Stale entries ---------------------------------------------------------------------------------------- */

static bool applies(const struct stale *s, uint64_t address)
{
    if (address < s->first || address > s->last)
        return false;
    for (unsigned i = 0; i < s->dones; i++)
        if (address >= s->done[i].first && address <= s->done[i].last)
            return false;
    return true;
}

/* All page tables of the tree count: nidus may give them one tag in the caches. */
const struct stale *stale_next(const struct tree *t, uint64_t at, uint64_t address, unsigned *i)
{
    while (*i < HWPTS * STALE) {
        const struct hwpt *h = &m.hwpt[*i / STALE];
        unsigned n = (*i)++ % STALE;

        if (!h->live || h->tree != t || n >= h->stales) {
            *i = (*i + STALE - 1) / STALE * STALE;
            continue;
        }
        if (h->stale[n].at == at && applies(&h->stale[n], address))
            return &h->stale[n];
    }
    return NULL;
}

/* When nothing is stale, what was unlinked can be used again. */
static void settle(void)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live && m.hwpt[i].stales)
            return;
    while (m.limbos)
        m.free_table[m.free_tables++] = m.limbo[--m.limbos];
}

void stale_gone(struct hwpt *h)
{
    h->stales = 0;
}

void stale_done(struct hwpt *h, uint64_t first, uint64_t last, bool leaf_only)
{
    for (unsigned i = h->stales; i-- > 0;) {
        struct stale *s = &h->stale[i];

        if ((leaf_only && !s->leaf) || first > s->last || last < s->first)
            continue;
        if (first <= s->first && last >= s->last) {
            h->stale[i] = h->stale[--h->stales];
        } else if (s->dones < 4 && !s->leaf) { /* of a large page a part is not enough: 6.5.3.3 */
            s->done[s->dones].first = first;
            s->done[s->dones++].last = last;
        }
    }
}

static bool room_for_stale(const struct tree *t)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live && m.hwpt[i].tree == t && m.hwpt[i].stales == STALE)
            return false;
    return true;
}

static void write_entry(struct tree *t, uint64_t address, unsigned level, uint64_t at, uint64_t value)
{
    uint64_t old = *word_at(at);

    __atomic_store_n(word_at(at), value, __ATOMIC_RELEASE);
    address = sign_extended(address);
    tell_hex(" entry of level ", level);
    tell_hex(" for ", address);
    tell_hex(" at ", at);
    tell_hex(": ", old);
    tell_hex(" -> ", value);
    memmove(t->hot + 1, t->hot, sizeof t->hot - sizeof *t->hot);
    t->hot[0] = address + below(span_of(level)) / K4 * K4;
    if (!(old & FS_P) || old == value)
        return;
    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &m.hwpt[i];

        if (h->live && h->tree == t && is_attached(h))
            h->stale[h->stales++] = (struct stale){
                .at = at, .old = old, .first = address & ~(span_of(level) - 1), .last = address | (span_of(level) - 1), .leaf = is_leaf(old, level),
            };
    }
}

/* Tables ----------------------------------------------------------------------------------------------- */

static uint64_t ring_tables(const struct space *s)
{
    return RING_TABLES + 3 * K4 * (uint64_t)(s - m.space);
}

/* A unit that sets no flags finds them set (docs/abi.md, HWPT_ALLOC). */
static uint64_t ring_flags(void)
{
    return FS_P | FS_W | FS_U | (m.ecap & ECAP_SMPWCS ? 0 : FS_A | FS_D);
}

void ring_tables_make(const struct space *s)
{
    uint64_t at = ring_tables(s), offset = s->offset, flags = ring_flags();

    memset(word_at(at), 0, 3 * K4);
    *word_at(at + 8 * index_of(RING_IOVA, 3)) = (at + K4 + offset) | flags;
    *word_at(at + K4 + 8 * index_of(RING_IOVA, 2)) = (at + 2 * K4 + offset) | flags;
    for (unsigned i = 0; i < DEVICES; i++)
        *word_at(at + 2 * K4 + 8 * index_of(RING_IOVA + i * K4, 1)) = (PINNED + i * K4 + offset) | flags;
}

void tables_forget(void)
{
    m.limbos = 0;
    m.free_tables = TABLE_PAGES;
    for (unsigned i = 0; i < TABLE_PAGES; i++)
        m.free_table[i] = TABLES + (TABLE_PAGES - 1 - i) * K4;
    memset(word_at(PINNED), 0, PINNED_PAGES * K4);
    memset(word_at(TABLES), 0, TABLE_PAGES * K4);
}

/* 0: there is none. */
static uint64_t new_page(void)
{
    uint64_t gpa;

    settle();
    if (!m.free_tables)
        return 0;
    gpa = m.free_table[--m.free_tables];
    memset(word_at(gpa), 0, K4);
    return gpa;
}

static bool in_tables(uint64_t gpa)
{
    return gpa >= TABLES && gpa < TABLES + TABLE_PAGES * K4;
}

static void unlink_pages(const struct tree *t, uint64_t gpa, unsigned level)
{
    for (unsigned i = 0; level > 1 && i < 512; i++) {
        uint64_t e = *word_at(gpa + i * 8), next = (e & FS_ADDR) - t->space->offset;

        if (e & FS_P && !is_leaf(e, level) && in_tables(next))
            unlink_pages(t, next, level - 1);
    }
    if (in_tables(gpa))
        m.limbo[m.limbos++] = gpa;
}

/* Most top tables can always be read; the others come and go with the IOAS's mappings. */
struct tree *tree_new(struct space *s)
{
    for (unsigned i = 0; i < TREES; i++) {
        struct tree *t = &m.tree[i];

        if (t->live)
            continue;
        *t = (struct tree){ .space = s, .top = percent(75) ? PINNED_TOPS + i * K4 : new_page() };
        if (!t->top)
            return NULL;
        t->live = true;
        for (unsigned h = 0; h < 16; h++)
            t->hot[h] = tree_address(t);
        memset(word_at(t->top), 0, K4);
        *word_at(t->top + 8 * index_of(RING_IOVA, 4)) = (ring_tables(s) + s->offset) | ring_flags();
        return t;
    }
    return NULL;
}

void tree_free(struct tree *t)
{
    unlink_pages(t, t->top, 4);
    t->live = false;
}

/* Some address that has a leaf, as far as tables go. */
static uint64_t mapped_address(const struct tree *t)
{
    uint64_t table = t->top, address = 0;

    for (unsigned level = 4;; level--) {
        unsigned from = (unsigned)below(512), i = 0;
        uint64_t e = 0;

        for (; i < 512 && !(e & FS_P); i++)
            if (level < 4 || (from + i) % 512 != index_of(RING_IOVA, 4))
                e = *word_at(table + (from + i) % 512 * 8);
        address |= (from + i - 1) % 512 * span_of(level);
        if (!(e & FS_P) || is_leaf(e, level) || !in_tables((e & FS_ADDR) - t->space->offset))
            return sign_extended(address | (below(span_of(level)) & ~(K4 - 1)));
        table = (e & FS_ADDR) - t->space->offset;
    }
}

/* Some address that a stale entry concerns; 0: there is none. */
static uint64_t stale_address(const struct tree *t)
{
    const struct stale *s = NULL;

    for (unsigned i = (unsigned)below(HWPTS), n = 0; n < HWPTS && !s; n++, i++) {
        const struct hwpt *h = &m.hwpt[i % HWPTS];

        if (h->live && h->tree == t && h->stales)
            s = &h->stale[below(h->stales)];
    }
    return s ? s->first + (s->leaf ? below(s->last - s->first + 1) & ~(K4 - 1) : 0) : 0;
}

/* Addresses cluster, so that entries, tables and ranges meet. */
uint64_t tree_address(struct tree *t)
{
    static const uint64_t base[] = { 0, 0x40000000, 0x7fc0000000, 0x8000000000, 0x7fffc0000000, 0x3ffffe00000 };
    uint64_t address = base[below(6)], stale;

    if (percent(60)) {
        stale = percent(40) ? stale_address(t) : 0;
        return stale ? stale : mapped_address(t);
    }
    if (percent(60))
        return t->hot[below(16)] + (percent(70) ? 0 : percent(50) ? K4 * below(4) : M2 * below(2));
    address += below(4) * M2 + (percent(70) ? below(8) : below(512)) * K4;
    if (one_in(4)) /* the upper half */
        address |= 0xffff800000000000;
    return address;
}

/* What a leaf points to. */
static uint64_t target(struct tree *t, unsigned level)
{
    uint64_t iova = one_in(40) ? below(1ULL << 52) : space_address(t->space);

    return iova & ~(span_of(level) - 1) & FS_ADDR;
}

static uint64_t leaf_flags(void)
{
    return FS_P | (percent(75) ? FS_W : 0) | (one_in(24) ? 0 : FS_U) | (percent(40) ? FS_A | FS_D : percent(50) ? FS_A : 0);
}

static uint64_t table_flags(void)
{
    return FS_P | (one_in(20) ? 0 : FS_W) | (one_in(40) ? 0 : FS_U) | (percent(60) ? FS_A : 0);
}

/* Bits that are reserved at the level. */
static uint64_t broken(unsigned level)
{
    return level >= 4 ? FS_PS : level > 1 ? FS_PS | 0x4000 : 0;
}

static void change_leaf(struct tree *t, uint64_t address, unsigned level, uint64_t at)
{
    uint64_t e = *word_at(at), value;

    if (e & FS_P && percent(25))
        value = 0;
    else if (e & FS_P && percent(40))
        value = e ^ (percent(40) ? FS_W : percent(60) ? FS_A | FS_D : FS_D);
    else if (e & FS_P && percent(10))
        value = e ^ FS_U;
    else
        value = target(t, level) | leaf_flags() | (level > 1 ? FS_PS : 0) | (one_in(100) ? broken(level) : 0);
    write_entry(t, address, level, at, value);
}

/* A table and all below it goes, or another one takes its place, or its own entry changes. */
static void change_table(struct tree *t, uint64_t address, unsigned level, uint64_t at)
{
    uint64_t e = *word_at(at), child = (e & FS_ADDR) - t->space->offset, fresh;

    if (percent(50)) {
        write_entry(t, address, level, at, e ^ (percent(35) ? FS_W : percent(20) ? FS_U : FS_A));
        return;
    }
    fresh = percent(40) ? new_page() : 0;
    if (fresh && percent(50) && level == 2) /* … with some of the old one's entries */
        for (unsigned i = 0; i < 512; i++)
            if (i % 3)
                *word_at(fresh + i * 8) = *word_at(child + i * 8);
    write_entry(t, address, level, at, fresh ? (fresh + t->space->offset) | table_flags() : one_in(3) ? target(t, level) | leaf_flags() | FS_PS : 0);
    unlink_pages(t, child, level - 1);
}

void tree_changes(struct tree *t)
{
    uint64_t address = tree_address(t), table = t->top;
    unsigned wanted = percent(80) ? 1 : percent(80) ? 2 : 3;

    tell("change");
    if (!room_for_stale(t) || index_of(address, 4) == index_of(RING_IOVA, 4))
        return;
    for (unsigned level = 4;; level--) {
        uint64_t at = table + index_of(address, level) * 8, e = *word_at(at);
        bool present = e & FS_P, points = present && !is_leaf(e, level) && !(level >= 4 && e & FS_PS);

        if (level == 1 || (present && !points) || (level == wanted && !points)) {
            if (level >= 4)
                write_entry(t, address, level, at, 0);
            else
                change_leaf(t, address, level, at);
            return;
        }
        if (points && ((level == wanted && percent(40)) || one_in(150))) {
            change_table(t, address, level, at);
            return;
        }
        if (!points) {
            uint64_t fresh = new_page();

            if (!fresh)
                return;
            e = (fresh + t->space->offset) | table_flags();
            write_entry(t, address, level, at, e);
        }
        table = (e & FS_ADDR) - t->space->offset;
    }
}
