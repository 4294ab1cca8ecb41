/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * walk.c: first-stage, second-stage, nested and pass-through translation, sections 3.6 to 3.9.
 *
 * Nested: every first-stage table address is a GPA that the second stage translates, and so is the page in the end.
 *
 *     IOVA -> [FSPTPTR] -ss-> PML4E -ss-> PDPE -ss-> PDE -ss-> PTE -ss-> page
 *
 * Faults come in the order of section 7.1.3.  Entries of a table that lead to another table may come from the paging-structure
 * caches; entries that map a page are read from memory, since the IOTLB had none.
 */
#include "internal.h"

static bool fails(struct walk *w, uint8_t reason)
{
    w->fault->reason = reason;
    if (w->out)
        say(w->out, "fault %02Xh: %s%s\n", reason, model_reason(reason), w->fault->muted ? " (FPD=1: not recorded)" : "");
    return false;
}

static unsigned shift_of(unsigned level)
{
    return 12 + 9 * (level - 1);
}

static uint64_t entry_at(uint64_t table, uint64_t input, unsigned level)
{
    return table + field(input, shift_of(level) + 8, shift_of(level)) * 8;
}

/* Second stage ----------------------------------------------------------------------------------------- */

struct second {
    uint64_t hpa;               /* of the page */
    unsigned shift;
    bool r, w, snp;
    uint64_t leaf, leaf_at;     /* the last entry and where it is */
};

/* The codes of the same thing in scalable and in legacy mode. */
static uint8_t second_code(const struct walk *w, uint8_t scalable)
{
    if (!w->legacy)
        return scalable;
    switch (scalable) {
    case 0x78: case 0x7b:
        return 0x07;            /* LSS.1; the top table: LCT.4.3 */
    case 0x7a:
        return 0x0c;
    case 0x79:
        return w->access == MODEL_READ ? 0x06 : 0x05;
    default:
        return scalable;
    }
}

/* Section 9.8; checked only where R or W is set. */
static bool second_reserved(const struct model_unit *u, uint64_t e, unsigned level)
{
    bool large = level > 1 && bit(e, 7), leaf = large || level == 1;
    uint64_t reserved = mask(51, u->haw < 52 ? u->haw : 51);

    if (u->haw >= 52)
        reserved = 0;
    if (!u->ssirwe)
        reserved |= mask(62, 62);
    if (level >= 4 || (level == 3 && !u->caps.ss_1g) || (level == 2 && !u->caps.ss_2m))
        reserved |= mask(7, 7);
    if (!leaf || !u->caps.sc)
        reserved |= mask(11, 11);
    if (large)
        reserved |= mask(shift_of(level) - 1, 12);
    return e & reserved;
}

static bool second_update(struct walk *w, uint64_t at, uint64_t entry, uint64_t bits)
{
    if ((entry & bits) == bits || w->out)
        return true;
    if (!w->snoop)
        return fails(w, 0x7c);
    return memory_set_bits(w->unit, at, entry, bits) >= 0 ? true : fails(w, 0x7d);
}

static bool second_walk(struct walk *w, uint64_t gpa, struct second *s)
{
    struct model_unit *u = w->unit;
    unsigned top = 2 + (unsigned)field(w->entry[0], 4, 2), level = top;
    bool ssade = bit(w->entry[0], 9) && !w->legacy;
    struct cached c = { .domain = w->domain, .table = { .next = w->entry[0] & mask(63, 12), .r = true, .w = true } };

    for (unsigned l = 2; w->cached && l <= top; l++) { /* from the deepest entry that is cached */
        struct cached tags = { .domain = w->domain, .shift = (uint8_t)shift_of(l), .page = gpa >> shift_of(l) };
        const struct cached *hit = cache_find(u, MODEL_SECOND_STAGE, &tags);

        if (hit) {
            c.table = hit->table;
            level = l - 1;
            break;
        }
    }
    for (;; level--) {
        uint64_t e, at = entry_at(c.table.next, gpa, level);

        if (!memory_read(u, at, w->snoop, &e, 1)) {
            check_no_memory(u, "a second-stage table", at);
            if (w->legacy && level == top)
                w->fault->condition = 3;
            return fails(w, w->legacy && level == top ? 0x03 : second_code(w, level == top ? 0x7b : 0x78));
        }
        bool r = bit(e, u->ssirwe ? 61 : 0), wr = bit(e, u->ssirwe ? 62 : 1);
        if (w->out)
            say(w->out, "    second stage, level %u, at 0x%llx: %016llx %c%c%s%s%s\n", level, (unsigned long long)at, (unsigned long long)e,
                r ? 'R' : '-', wr ? 'W' : '-', level > 1 && bit(e, 7) ? " PS" : "", ssade && bit(e, 8) ? " A" : "", ssade && bit(e, 9) ? " D" : "");
        c.table.r &= r;
        c.table.w &= wr;
        if (!(r || wr) || !(c.table.r || c.table.w))
            return fails(w, second_code(w, 0x79));
        if (second_reserved(u, e, level)) {
            if (!w->out)
                violation(u, "second-stage entry at 0x%llx: reserved bits in %016llx", (unsigned long long)at, (unsigned long long)e);
            return fails(w, second_code(w, 0x7a));
        }
        if (ssade && !second_update(w, at, e, 1 << 8))
            return false;
        if (level == 1 || bit(e, 7)) {
            *s = (struct second){
                .hpa = e & mask(51, shift_of(level)), .shift = shift_of(level), .r = c.table.r, .w = c.table.w, .snp = bit(e, 11),
                .leaf = e, .leaf_at = at,
            };
            if (w->out)
                say(w->out, "    GPA 0x%llx -> HPA 0x%llx, %s page, %c%c\n", (unsigned long long)gpa,
                    (unsigned long long)(s->hpa | (gpa & mask(s->shift - 1, 0))), s->shift == 12 ? "4 KiB" : s->shift == 21 ? "2 MiB" : "1 GiB",
                    s->r ? 'R' : '-', s->w ? 'W' : '-');
            return true;
        }
        c.table.next = e & mask(51, 12);
        if (w->cached) {
            c.shift = (uint8_t)shift_of(level);
            c.page = gpa >> c.shift;
            cache_insert(u, MODEL_SECOND_STAGE, &c);
        }
    }
}

/* D of the second stage's leaf (and A with it). */
static bool second_dirty(struct walk *w, const struct second *s)
{
    if (!bit(w->entry[0], 9) || w->legacy)
        return true;
    return second_update(w, s->leaf_at, s->leaf | (w->out ? 0 : 1 << 8), 3 << 8);
}

/* First stage ------------------------------------------------------------------------------------------ */

static bool is_nested(const struct walk *w)
{
    return w->pgtt == 3;
}

/* Section 9.7. */
static bool first_reserved(const struct model_unit *u, uint64_t e, unsigned level)
{
    bool large = (level == 2 || level == 3) && bit(e, 7);
    uint64_t reserved = u->haw < 52 ? mask(51, u->haw) : 0;

    if (level >= 4 || (level == 3 && !u->caps.fs_1g))
        reserved |= mask(7, 7);
    if (large)
        reserved |= mask(shift_of(level) - 1, 13);
    return e & reserved;
}

/* Where a first-stage table is, and whether A and D may be set there: through the second stage under nesting, section 3.8.1. */
static bool first_table(struct walk *w, uint64_t address, bool top, struct table_copy *table)
{
    struct second s;

    table->next = address;
    table->updatable = true;
    if (!is_nested(w))
        return true;
    if (w->out)
        say(w->out, "  first-stage table at GPA 0x%llx\n", (unsigned long long)address);
    if (!second_walk(w, address, &s))
        return false;
    if (!s.r)
        return fails(w, top ? 0x75 : 0x76);
    /* With SSADE a mere read of a table needs write permission, and dirties it as on a processor. */
    if (bit(w->entry[0], 9)) {
        if (!s.w)
            return fails(w, 0x77);
        if (!second_dirty(w, &s))
            return false;
    }
    table->next = s.hpa | (address & mask(s.shift - 1, 12));
    table->updatable = s.w;
    return true;
}

static uint64_t accessed_bits(const struct walk *w)
{
    return 1 << 5 | (bit(w->entry[2], 7) ? 1 << 10 : 0); /* A, and EA with EAFE */
}

/* May bits be set in an entry of this table?  77h, 90h. */
static bool first_updatable(struct walk *w, const struct table_copy *table, uint64_t entry, uint64_t bits)
{
    bool erratum = w->unit->switches.erratum_772415 && is_nested(w) && bit(w->entry[1], 23);

    if ((entry & bits) == bits)
        return true;
    if (!table->updatable && !erratum)
        return fails(w, 0x77);
    return w->snoop ? true : fails(w, 0x90);
}

static bool first_update(struct walk *w, uint64_t at, uint64_t entry, uint64_t bits)
{
    if ((entry & bits) == bits || w->out)
        return true;
    return memory_set_bits(w->unit, at, entry, bits) >= 0 ? true : fails(w, 0x91);
}

static bool is_canonical(uint64_t input, unsigned width)
{
    uint64_t high = input >> (width - 1);

    return high == 0 || high == UINT64_MAX >> (width - 1);
}

/* Adds what one entry permits; 81h for a user request at a supervisor entry. */
static bool first_entry(struct walk *w, uint64_t at, unsigned level, unsigned top, struct table_copy *t, uint64_t *entry)
{
    uint64_t e;

    if (!memory_read(w->unit, at, w->snoop, &e, 1))
        return fails(w, level == top ? 0x73 : 0x70);
    if (w->out)
        say(w->out, "  first stage, level %u, at 0x%llx: %016llx %s%s%s%s%s%s\n", level, (unsigned long long)at, (unsigned long long)e,
            bit(e, 0) ? "P" : "-", bit(e, 1) ? " W" : "", bit(e, 2) ? " U" : "", bit(e, 5) ? " A" : "", bit(e, 6) ? " D" : "",
            level > 1 && bit(e, 7) ? " PS" : "");
    if (!bit(e, 0))
        return fails(w, 0x71);
    if (first_reserved(w->unit, e, level))
        return fails(w, 0x72);
    t->w &= bit(e, 1);
    t->u &= bit(e, 2);
    if (!w->privileged && !t->u)
        return fails(w, 0x81);
    if (is_nested(w) && !fits(e & mask(51, 12), second_stage_width(w->unit, w->entry)))
        return fails(w, 0x74);
    *entry = e;
    return true;
}

/* 6.2.5.2 to 6.2.5.4: what a table of 4 levels left is found by bits 47 and below, also for an address that has more. */
static const struct cached *first_cached(struct walk *w, uint64_t input, unsigned level, unsigned top)
{
    struct cached tags = { .domain = w->domain, .pasid = w->pasid, .shift = (uint8_t)shift_of(level), .page = field(input, 56, shift_of(level)) };
    const struct cached *hit = top == 5 ? cache_find(w->unit, MODEL_FIRST_STAGE, &tags) : NULL;

    if (hit && !hit->table.four_level)
        return hit;
    tags.page = field(input, 47, shift_of(level));
    hit = level < 5 ? cache_find(w->unit, MODEL_FIRST_STAGE, &tags) : NULL;
    return hit && hit->table.four_level ? hit : NULL;
}

struct first {
    uint64_t address, at, entry;
    unsigned shift;
    struct table_copy rights;
};

/* Down to the entry that maps the page. */
static bool first_walk(struct walk *w, uint64_t input, struct first *f)
{
    unsigned top = 4 + (unsigned)field(w->entry[2], 3, 2), level = top;
    struct cached c = { .domain = w->domain, .pasid = w->pasid, .pgtt = w->pgtt, .table = { .w = true, .u = true } };
    bool found = false;

    for (unsigned l = 2; w->cached && l <= top && !found; l++) {
        const struct cached *hit = first_cached(w, input, l, top);

        if (hit && (w->privileged || hit->table.u)) {
            c.table = hit->table;
            level = l - 1;
            found = true;
        }
    }
    if (!found && !first_table(w, w->entry[2] & mask(63, 12), true, &c.table))
        return false;
    for (;; level--) {
        uint64_t e = 0, at = entry_at(c.table.next, input, level);

        if (!first_entry(w, at, level, top, &c.table, &e))
            return false;
        if (level == 1 || ((level == 2 || level == 3) && bit(e, 7))) {
            *f = (struct first){ .address = e & mask(51, shift_of(level)), .at = at, .entry = e, .shift = shift_of(level), .rights = c.table };
            return true;
        }
        if (!first_updatable(w, &c.table, e, accessed_bits(w)) || !first_update(w, at, e, accessed_bits(w)))
            return false;
        if (!first_table(w, e & mask(51, 12), false, &c.table))
            return false;
        if (w->cached) {
            c.shift = (uint8_t)shift_of(level);
            c.page = field(input, top == 5 ? 56 : 47, c.shift);
            c.table.four_level = top == 4;
            cache_insert(w->unit, MODEL_FIRST_STAGE, &c);
        }
    }
}

/* Rights ----------------------------------------------------------------------------------------------- */

static bool may_write_first(const struct mapping *m, bool privileged)
{
    return privileged ? m->first_w || !m->wpe : m->first_w && m->first_u;
}

uint8_t rights_fault(const struct model_unit *unit, const struct mapping *m, bool privileged, enum model_access access, bool zero_length)
{
    if (privileged && !m->sre)
        return 0x5d;
    if (!privileged && !m->first_u)
        return 0x81;
    if (access != MODEL_READ && !(may_write_first(m, privileged) && m->second_w))
        return 0x85;
    if (access != MODEL_WRITE && !m->second_r && !(unit->caps.zlr && zero_length))
        return 0x86;
    return 0;
}

/* Will this request set D flags? */
static bool sets_dirty(const struct walk *w, const struct mapping *m)
{
    return w->wants_write && may_write_first(m, w->privileged) && m->second_w;
}

static bool check_rights(struct walk *w, const struct mapping *m)
{
    uint8_t reason = w->probe ? 0 : rights_fault(w->unit, m, w->privileged, w->access, w->zero_length);

    if (reason && w->legacy)
        reason = reason == 0x85 ? 0x05 : 0x06;
    return reason ? fails(w, reason) : true;
}

/* Whole requests ---------------------------------------------------------------------------------------- */

static bool second_only(struct walk *w, uint64_t input, struct mapping *m)
{
    struct second s;

    if (!fits(input, second_stage_width(w->unit, w->entry))) {
        w->fault->condition = 1;
        return fails(w, w->legacy ? 0x04 : 0x84);
    }
    if (!second_walk(w, input, &s))
        return false;
    m->hpa = s.hpa;
    m->shift = (uint8_t)s.shift;
    m->first_w = m->first_u = true;
    m->second_r = s.r;
    m->second_w = s.w;
    m->snoop |= s.snp;
    m->dirty = !bit(w->entry[0], 9) || bit(s.leaf, 9);
    if (!check_rights(w, m))
        return false;
    if (!sets_dirty(w, m))
        return true;
    m->dirty = true;
    return second_dirty(w, &s);
}

/* After the first stage's leaf under nesting: the page's own second-stage translation. */
static bool nested_page(struct walk *w, uint64_t gpa, struct mapping *m, struct second *s)
{
    if (w->out)
        say(w->out, "  page at GPA 0x%llx\n", (unsigned long long)gpa);
    if (!second_walk(w, gpa, s))
        return false;
    m->second_r = s->r;
    m->second_w = s->w;
    m->snoop |= s->snp;
    return true;
}

static bool first_or_nested(struct walk *w, uint64_t input, struct mapping *m)
{
    struct first f;
    struct second s = { .shift = 63, .leaf = UINT64_MAX };
    uint64_t need, gpa;

    if (!is_canonical(input, field(w->entry[2], 3, 2) ? 57 : 48))
        return fails(w, 0x80);
    if (!first_walk(w, input, &f))
        return false;
    m->first_w = f.rights.w;
    m->first_u = f.rights.u;
    m->second_r = m->second_w = true;
    if (!check_rights(w, m)) /* 85h of the first stage */
        return false;
    need = accessed_bits(w) | (sets_dirty(w, m) ? 1 << 6 : 0);
    if (!first_updatable(w, &f.rights, f.entry, need))
        return false;
    gpa = f.address | (input & mask(f.shift - 1, 0));
    if (is_nested(w) && (!nested_page(w, gpa, m, &s) || !check_rights(w, m)))
        return false;
    /* D is set by what really writes; one indivisible update sets it together with A (and EA), section 3.6.2. */
    if (!sets_dirty(w, m))
        need &= ~(uint64_t)(1 << 6);
    if (!first_update(w, f.at, f.entry, need))
        return false;
    m->dirty = bit(f.entry | need, 6);
    if (is_nested(w) && sets_dirty(w, m) && !second_dirty(w, &s))
        return false;
    if (is_nested(w) && bit(w->entry[0], 9) && !sets_dirty(w, m))
        m->dirty &= bit(s.leaf, 9);
    m->shift = (uint8_t)(f.shift < s.shift ? f.shift : s.shift);
    m->hpa = (is_nested(w) ? s.hpa | (gpa & mask(s.shift - 1, 0)) : gpa) & ~mask(m->shift - 1, 0);
    return true;
}

static bool pass_through(struct walk *w, uint64_t input, struct mapping *m)
{
    if (!fits(input, w->unit->haw)) {
        w->fault->condition = w->legacy ? 3 : 2;
        return fails(w, w->legacy ? 0x04 : 0x83);
    }
    m->shift = 21;
    m->hpa = input & ~mask(20, 0);
    m->first_w = m->first_u = m->second_r = m->second_w = m->dirty = true;
    return true;
}

bool walk_tables(struct walk *w, uint64_t input, struct mapping *m)
{
    bool ok;

    *m = (struct mapping){ .pgtt = w->pgtt, .privileged = w->privileged, .snoop = !w->legacy && bit(w->entry[1], 24), .sre = bit(w->entry[2], 0), .wpe = bit(w->entry[2], 4) };
    w->unit->counters.walks++;
    if (w->pgtt == 2)
        ok = second_only(w, input, m);
    else if (w->pgtt == 4)
        ok = pass_through(w, input, m);
    else
        ok = first_or_nested(w, input, m);
    if (ok && is_interrupt_range(m->hpa | (input & mask(m->shift - 1, 0)))) {
        if (!w->out && w->pgtt != 4)
            violation(w->unit, "a table maps 0x%llx to the interrupt range (3.15)", (unsigned long long)input);
        return fails(w, w->legacy ? 0x0e : 0x87);
    }
    return ok;
}
