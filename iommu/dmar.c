/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/dmar.h"

#include <string.h>

#include "iommu/bits.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"

/* No machine's table comes near it, and a look-up in one that long is still quick. */
#define MAX_LENGTH (256u << 10)
/* A person reads no more than that of what is wrong with it. */
#define MAX_LINES  16u

/* Offsets in the table, 8.1. */
#define HEADER_LENGTH  4u
#define HEADER_WIDTH  36u
#define HEADER_FLAGS  37u
#define HEADER_END    48u
#define FLAG_INTR_REMAP BIT(0)

/* Offsets in a structure, 8.3 to 8.9. */
#define ANY_LENGTH     2u
#define ANY_HEADER     4u
#define ANY_FLAGS      4u       /* these two of all that have scopes */
#define ANY_SEGMENT    6u
#define DRHD_SIZE      5u
#define DRHD_SIZE_N          BITS(3, 0)
#define DRHD_BASE      8u
#define RMRR_BASE      8u
#define RMRR_LIMIT    16u
#define RHSA_BASE      8u
#define RHSA_DOMAIN   16u
#define ANDD_ID        7u
#define ANDD_NAME      8u

/* A device scope, 8.3.1. */
#define SCOPE_LENGTH    1u
#define SCOPE_FLAGS     2u
#define SCOPE_ID        4u
#define SCOPE_BUS       5u
#define SCOPE_PATH      6u
#define SIDP_FLAGS      BITS(4, 0)
#define LAST_DEVICE    31u
#define LAST_FUNCTION   7u

#define PCI_HEADER_BRIDGE   1u
#define PCI_SECONDARY_BUS   0x19u
#define PCI_SUBORDINATE_BUS 0x1au

/* What each type has before its device scopes. */
static const struct {
    const char *name;
    uint16_t fixed;
    bool scopes;
} types[DMAR_TYPES] = {
    [DMAR_DRHD] = { "DRHD", 16, true },  [DMAR_RMRR] = { "RMRR", 24, true }, [DMAR_ATSR] = { "ATSR", 8, true },
    [DMAR_RHSA] = { "RHSA", 20, false }, [DMAR_ANDD] = { "ANDD", 9, false }, [DMAR_SATC] = { "SATC", 8, true },
    [DMAR_SIDP] = { "SIDP", 8, true },
};

const char *dmar_type_name(uint16_t type) { return type < DMAR_TYPES ? types[type].name : "structure of unknown type"; }

/* Firmware aligns nothing, so words are put together from bytes. */
static uint64_t read_bytes(const struct dmar *d, uint32_t offset, unsigned size)
{
    uint64_t value = 0;
    while (size--)
        value = value * 256 + d->bytes[offset + size];
    return value;
}

static uint16_t read16(const struct dmar *d, uint32_t offset) { return (uint16_t)read_bytes(d, offset, 2); }
static uint32_t read32(const struct dmar *d, uint32_t offset) { return (uint32_t)read_bytes(d, offset, 4); }
static uint64_t read64(const struct dmar *d, uint32_t offset) { return read_bytes(d, offset, 8); }

static bool width_is_possible(const struct dmar *d) { return d->bytes[HEADER_WIDTH] >= 31 && d->bytes[HEADER_WIDTH] <= 51; }

unsigned dmar_host_width(const struct dmar *d) { return width_is_possible(d) ? d->bytes[HEADER_WIDTH] + 1u : 52; }
bool dmar_interrupt_remapping(const struct dmar *d) { return d->bytes[HEADER_FLAGS] & FLAG_INTR_REMAP; }

/* Structures and scopes ------------------------------------------------------------------------------ */

/* BAD: it can be passed over.  LOST: nor can what follows be found. */
enum verdict { GOOD, UNKNOWN, END, BAD, LOST };

static bool name_ends(const struct dmar *d, const struct dmar_structure *andd)
{
    for (uint32_t i = ANDD_NAME; i < andd->length; i++)
        if (!d->bytes[andd->offset + i])
            return true;
    return false;
}

/* Moves s to the structure after it. */
static enum verdict step(const struct dmar *d, struct dmar_structure *s)
{
    *s = (struct dmar_structure){ .offset = s->offset ? s->offset + s->length : HEADER_END };
    if (s->offset == d->length)
        return END;
    if (d->length - s->offset < ANY_HEADER)
        return LOST;
    s->type = read16(d, s->offset);
    s->length = read16(d, s->offset + ANY_LENGTH);
    if (s->length < ANY_HEADER || s->length > d->length - s->offset)
        return LOST;
    if (s->type >= DMAR_TYPES)
        return UNKNOWN;
    if (s->length < types[s->type].fixed)
        return BAD;
    if (types[s->type].scopes) {
        s->segment = read16(d, s->offset + ANY_SEGMENT);
        s->flags = d->bytes[s->offset + ANY_FLAGS];
    }
    return s->type == DMAR_ANDD && !name_ends(d, s) ? BAD : GOOD;
}

static bool path_is_possible(const struct dmar_scope *c)
{
    for (unsigned i = 0; i < c->pairs; i++)
        if (c->path[2 * i] > LAST_DEVICE || c->path[2 * i + 1] > LAST_FUNCTION)
            return false;
    return c->pairs && c->length % 2 == 0;
}

/* Moves c to the scope after it. */
static enum verdict scope_step(const struct dmar *d, const struct dmar_structure *s, struct dmar_scope *c)
{
    if (s->type >= DMAR_TYPES || !types[s->type].scopes)
        return END;
    uint32_t end = s->offset + s->length;
    *c = (struct dmar_scope){ .offset = c->offset ? c->offset + c->length : s->offset + types[s->type].fixed };
    if (c->offset == end)
        return END;
    if (end - c->offset < SCOPE_PATH)
        return LOST;
    const uint8_t *bytes = d->bytes + c->offset;
    c->type = bytes[0];
    c->length = bytes[SCOPE_LENGTH];
    if (c->length < SCOPE_PATH || c->length > end - c->offset)
        return LOST;
    c->flags = bytes[SCOPE_FLAGS];
    c->id = bytes[SCOPE_ID];
    c->bus = bytes[SCOPE_BUS];
    c->pairs = (uint8_t)((c->length - SCOPE_PATH) / 2);
    c->path = bytes + SCOPE_PATH;
    if (c->type < DMAR_ENDPOINT || c->type > DMAR_NAMESPACE)
        return UNKNOWN;
    return path_is_possible(c) ? GOOD : BAD;
}

bool dmar_next(const struct dmar *d, struct dmar_structure *s)
{
    enum verdict verdict;
    do {
        verdict = step(d, s);
    } while (verdict == BAD);
    return verdict < END;
}

bool dmar_next_scope(const struct dmar *d, const struct dmar_structure *s, struct dmar_scope *c)
{
    enum verdict verdict;
    do {
        verdict = scope_step(d, s, c);
    } while (verdict == BAD);
    return verdict < END;
}

/* The device of a scope that cannot be read would be taken for another unit's, and a unit that cannot be found stays as
 * firmware left it: letting all through. */
static bool units_hidden(const struct dmar *d)
{
    enum verdict verdict;
    for (struct dmar_structure s = { 0 }; (verdict = step(d, &s)) != END; ) {
        if (verdict == LOST)
            return true;
        if (s.type != DMAR_DRHD)
            continue;
        for (struct dmar_scope c = { 0 }; verdict < END; )
            verdict = scope_step(d, &s, &c);
        if (verdict != END)
            return true;
    }
    return false;
}

bool dmar_open(struct dmar *d, const void *table, uint32_t length, char reason[160])
{
    *d = (struct dmar){ .bytes = table, .length = length };
    if (!table) {
        platform_format(reason, 160, "firmware has no DMAR table");
        return false;
    }
    if (length < HEADER_END) {
        platform_format(reason, 160, "the DMAR table has %u bytes, fewer than its header", length);
        return false;
    }
    if (memcmp(d->bytes, "DMAR", 4)) {
        platform_format(reason, 160, "the DMAR table does not begin with its signature");
        return false;
    }
    uint32_t said = read32(d, HEADER_LENGTH);
    if (said < HEADER_END || said > MAX_LENGTH) {
        platform_format(reason, 160, "the DMAR table says it has %u bytes, %s", said,
                        said < HEADER_END ? "fewer than its header" : "more than any machine's");
        return false;
    }
    if (said < d->length)
        d->length = said;
    d->units_hidden = said > d->length || units_hidden(d);
    return true;
}

struct dmar_drhd dmar_drhd(const struct dmar *d, const struct dmar_structure *s)
{
    return (struct dmar_drhd){
        .segment = s->segment,
        .base = read64(d, s->offset + DRHD_BASE),
        .size = PAGE_SIZE << field(d->bytes[s->offset + DRHD_SIZE], DRHD_SIZE_N),
    };
}

struct dmar_rmrr dmar_rmrr(const struct dmar *d, const struct dmar_structure *s)
{
    return (struct dmar_rmrr){
        .segment = s->segment,
        .base = read64(d, s->offset + RMRR_BASE),
        .limit = read64(d, s->offset + RMRR_LIMIT),
    };
}

struct dmar_rhsa dmar_rhsa(const struct dmar *d, const struct dmar_structure *s)
{
    return (struct dmar_rhsa){ .base = read64(d, s->offset + RHSA_BASE), .proximity_domain = read32(d, s->offset + RHSA_DOMAIN) };
}

struct dmar_andd dmar_andd(const struct dmar *d, const struct dmar_structure *s)
{
    const uint8_t *bytes = d->bytes + s->offset;
    return (struct dmar_andd){ .id = bytes[ANDD_ID], .name = (const char *)bytes + ANDD_NAME };
}

bool dmar_rmrr_is_possible(const struct dmar_rmrr *rmrr)
{
    return rmrr->base % PAGE_SIZE == 0 && rmrr->limit % PAGE_SIZE == PAGE_SIZE - 1 && rmrr->limit > rmrr->base;
}

/* What is wrong ---------------------------------------------------------------------------------------- */

struct report {
    unsigned lines;
    bool sound;
};

#define REPORT(r, ...)                       \
    do {                                     \
        if ((r)->lines++ < MAX_LINES)        \
            platform_log("DMAR: " __VA_ARGS__); \
    } while (0)

static void report_scopes(const struct dmar *d, const struct dmar_structure *s, struct report *r)
{
    static const char *const what[] = {
        [UNKNOWN] = "has an unknown type: skipped",
        [BAD] = "has an impossible path: skipped",
        [LOST] = "does not fit in it: it and what follows in it is ignored",
    };
    enum verdict verdict = GOOD;
    for (struct dmar_scope c = { 0 }; verdict != LOST && (verdict = scope_step(d, s, &c)) != END; ) {
        if (verdict == GOOD)
            continue;
        r->sound &= verdict == UNKNOWN;
        REPORT(r, "%s at offset 0x%x: the device scope at 0x%x (type %u, length %u) %s", types[s->type].name, s->offset, c.offset,
               c.type, c.length, what[verdict]);
    }
}

static void report_rmrr(const struct dmar *d, const struct dmar_structure *s, struct report *r)
{
    struct dmar_rmrr rmrr = dmar_rmrr(d, s);
    if (dmar_rmrr_is_possible(&rmrr))
        return;
    r->sound = false;
    REPORT(r, "RMRR at offset 0x%x: 0x%llx to 0x%llx is no range of whole pages", s->offset, (ull)rmrr.base, (ull)rmrr.limit);
}

static void report_damage(const struct dmar *d, const struct dmar_structure *s, enum verdict verdict, struct report *r)
{
    const char *name = dmar_type_name(s->type);
    uint32_t left = d->length - s->offset;
    r->sound = false;
    if (left < ANY_HEADER)
        REPORT(r, "the structure at offset 0x%x is cut after %u bytes: it is ignored", s->offset, left);
    else if (verdict == LOST)
        REPORT(r, "%s at offset 0x%x has an impossible length, %u of the %u bytes that are left: it and what follows is ignored", name,
               s->offset, s->length, left);
    else if (s->length < types[s->type].fixed)
        REPORT(r, "%s at offset 0x%x has %u bytes, it needs %u: skipped", name, s->offset, s->length, types[s->type].fixed);
    else
        REPORT(r, "%s at offset 0x%x: its name has no end: skipped", name, s->offset);
}

static void report_header(const struct dmar *d, struct report *r)
{
    uint32_t said = read32(d, HEADER_LENGTH);
    r->sound = said <= d->length && width_is_possible(d);
    if (said > d->length)
        REPORT(r, "the table says it has %u bytes, but %u can be read", said, d->length);
    if (!width_is_possible(d))
        REPORT(r, "%u-bit addresses are impossible: 52 bits are assumed", d->bytes[HEADER_WIDTH] + 1u);
}

bool dmar_report(const struct dmar *d)
{
    struct report r = { 0 };
    enum verdict verdict = GOOD;
    report_header(d, &r);
    for (struct dmar_structure s = { 0 }; verdict != LOST && (verdict = step(d, &s)) != END; ) {
        if (verdict > END)
            report_damage(d, &s, verdict, &r);
        else if (verdict == UNKNOWN)
            REPORT(&r, "%s %u at offset 0x%x skipped", dmar_type_name(s.type), s.type, s.offset);
        else if (s.type == DMAR_RMRR)
            report_rmrr(d, &s, &r);
        if (verdict == GOOD)
            report_scopes(d, &s, &r);
    }
    if (r.lines > MAX_LINES)
        platform_log("DMAR: %u more such things are not listed", r.lines - MAX_LINES);
    return r.sound;
}

/* Whose device it is ----------------------------------------------------------------------------------- */

static uint16_t make_bdf(unsigned bus, uint8_t device, uint8_t function)
{
    return (uint16_t)(place(BITS(15, 8), bus) | place(BITS(7, 3), device) | place(BITS(2, 0), function));
}

/* The buses behind a bridge.  false: no bridge answers there, or none that firmware has numbered. */
static bool bridge_buses(uint16_t segment, uint16_t bridge, uint8_t *secondary, uint8_t *subordinate)
{
    uint32_t header = platform_pci_read(segment, bridge, PCI_HEADER_TYPE, 1);
    if (field(header, PCI_HEADER_LAYOUT) != PCI_HEADER_BRIDGE)
        return false;
    *secondary = (uint8_t)platform_pci_read(segment, bridge, PCI_SECONDARY_BUS, 1);
    *subordinate = (uint8_t)platform_pci_read(segment, bridge, PCI_SUBORDINATE_BUS, 1);
    return *secondary > field(bridge, BITS(15, 8));
}

bool dmar_scope_function(const struct dmar_scope *c, uint16_t segment, uint16_t *bdf)
{
    uint8_t bus = c->bus, subordinate;
    for (unsigned i = 0; i < c->pairs; i++) {
        if (i && !bridge_buses(segment, *bdf, &bus, &subordinate))
            return false;
        *bdf = make_bdf(bus, c->path[2 * i], c->path[2 * i + 1]);
    }
    return true;
}

/* The structure's next scope of this type that covers the function.  A bridge covers itself and all below it. */
static bool next_covering(const struct dmar *d, const struct dmar_structure *s, enum dmar_scope_type type, uint16_t segment, uint16_t bdf,
                          struct dmar_scope *c)
{
    uint8_t secondary, subordinate, bus = (uint8_t)field(bdf, BITS(15, 8));
    uint16_t named;
    if (s->segment != segment)
        return false;
    while (dmar_next_scope(d, s, c)) {
        if (c->type != type || !dmar_scope_function(c, segment, &named))
            continue;
        if (named == bdf)
            return true;
        if (type == DMAR_BRIDGE && bridge_buses(segment, named, &secondary, &subordinate) && bus >= secondary && bus <= subordinate)
            return true;
    }
    return false;
}

static bool covers(const struct dmar *d, const struct dmar_structure *s, enum dmar_scope_type type, uint16_t segment, uint16_t bdf)
{
    struct dmar_scope c = { 0 };
    return next_covering(d, s, type, segment, bdf, &c);
}

static bool is_for_the_rest(const struct dmar_structure *s, uint16_t segment)
{
    return s->segment == segment && s->flags & DMAR_DRHD_INCLUDE_PCI_ALL;
}

bool dmar_find_drhd(const struct dmar *d, uint16_t segment, uint16_t bdf, uint32_t *offset, char reason[160])
{
    enum { NAMED, BELOW, REST, PASSES };
    for (unsigned pass = NAMED; pass < PASSES; pass++) {
        if (pass == BELOW && d->units_hidden) {
            platform_format(reason, 160, "the DMAR table is damaged, and its undamaged part does not name it: what unit it has cannot be told");
            return false;
        }
        for (struct dmar_structure s = { 0 }; dmar_next(d, &s); ) {
            if (s.type != DMAR_DRHD)
                continue;
            if (pass == REST ? is_for_the_rest(&s, segment) : covers(d, &s, pass == NAMED ? DMAR_ENDPOINT : DMAR_BRIDGE, segment, bdf)) {
                *offset = s.offset;
                return true;
            }
        }
    }
    platform_format(reason, 160, "no remapping unit covers it");
    return false;
}

bool dmar_next_rmrr(const struct dmar *d, uint16_t segment, uint16_t bdf, struct dmar_structure *s, struct dmar_rmrr *rmrr)
{
    while (dmar_next(d, s)) {
        if (s->type != DMAR_RMRR)
            continue;
        if (covers(d, s, DMAR_ENDPOINT, segment, bdf) || covers(d, s, DMAR_BRIDGE, segment, bdf)) {
            *rmrr = dmar_rmrr(d, s);
            return true;
        }
    }
    return false;
}

bool dmar_allows_ats(const struct dmar *d, uint16_t segment, uint16_t bdf)
{
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); )
        if (s.type == DMAR_ATSR && s.segment == segment && (s.flags & DMAR_ATSR_ALL_PORTS || covers(d, &s, DMAR_BRIDGE, segment, bdf)))
            return true;
    return false;
}

static bool has_structure(const struct dmar *d, enum dmar_type type)
{
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); )
        if (s.type == type)
            return true;
    return false;
}

uint8_t dmar_properties(const struct dmar *d, uint16_t segment, uint16_t bdf)
{
    enum dmar_type type = has_structure(d, DMAR_SIDP) ? DMAR_SIDP : DMAR_SATC;
    uint64_t properties = 0;
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); ) {
        if (s.type != type)
            continue;
        for (struct dmar_scope c = { 0 }; next_covering(d, &s, DMAR_ENDPOINT, segment, bdf, &c); ) {
            if (type == DMAR_SIDP)
                properties |= c.flags & SIDP_FLAGS;
            else
                properties |= DMAR_ATC_HARDENED | (s.flags & DMAR_SATC_ATC_REQUIRED ? DMAR_ATC_REQUIRED : 0);
        }
    }
    return (uint8_t)properties;
}

bool iommu_has_rmrr(const void *table, uint32_t length, uint16_t segment, uint16_t bdf)
{
    struct dmar d;
    struct dmar_structure s = { 0 };
    struct dmar_rmrr rmrr;
    char reason[160];
    return dmar_open(&d, table, length, reason) && dmar_next_rmrr(&d, segment, bdf, &s, &rmrr);
}
