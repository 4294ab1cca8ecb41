/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/dmar.h"

#include <string.h>

#include "iommu/bits.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"

/* Offsets in the table, 8.1. */
#define HEADER_LENGTH  4u
#define HEADER_WIDTH  36u
#define HEADER_FLAGS  37u
#define HEADER_END    48u
#define FLAG_INTR_REMAP BIT(0)

/* Offsets in a structure, 8.3 to 8.9. */
#define ANY_LENGTH     2u
#define ANY_HEADER     4u
#define DRHD_FLAGS     4u
#define DRHD_SIZE      5u
#define DRHD_BASE      8u
#define ANY_SEGMENT    6u       /* of all that have scopes */
#define RMRR_BASE      8u
#define RMRR_LIMIT    16u
#define DRHD_INCLUDE_PCI_ALL BIT(0)
#define DRHD_SIZE_N          BITS(3, 0)

/* A device scope, 8.3.1. */
#define SCOPE_LENGTH    1u
#define SCOPE_BUS       5u
#define SCOPE_PATH      6u
#define SCOPE_ENDPOINT  1u
#define SCOPE_BRIDGE    2u
#define SCOPE_NAMESPACE 5u      /* the last type that is defined */

#define PCI_HEADER_TYPE     0x0eu
#define PCI_HEADER_LAYOUT   BITS(6, 0)
#define PCI_HEADER_BRIDGE   1u
#define PCI_SECONDARY_BUS   0x19u
#define PCI_SUBORDINATE_BUS 0x1au

/* What each type has before its device scopes; scopes 0: it has none. */
static const struct {
    const char *name;
    uint16_t fixed;
    bool scopes;
} types[DMAR_TYPES] = {
    [DMAR_DRHD] = { "DRHD", 16, true },  [DMAR_RMRR] = { "RMRR", 24, true }, [DMAR_ATSR] = { "ATSR", 8, true },
    [DMAR_RHSA] = { "RHSA", 20, false }, [DMAR_ANDD] = { "ANDD", 9, false }, [DMAR_SATC] = { "SATC", 8, true },
    [DMAR_SIDP] = { "SIDP", 8, true },
};

struct scope {
    uint32_t offset;            /* in the table; 0 starts an iteration */
    uint8_t type, length;
};

/* Firmware aligns nothing, so words are put together from bytes. */
static uint64_t read_bytes(const struct dmar *d, uint32_t offset, unsigned size)
{
    uint64_t value = 0;
    while (size--)
        value = value * 256 + d->bytes[offset + size];
    return value;
}

static uint16_t read16(const struct dmar *d, uint32_t offset) { return (uint16_t)read_bytes(d, offset, 2); }
static uint64_t read64(const struct dmar *d, uint32_t offset) { return read_bytes(d, offset, 8); }

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
    uint32_t said = (uint32_t)read_bytes(d, HEADER_LENGTH, 4);
    if (said < HEADER_END) {
        platform_format(reason, 160, "the DMAR table says it has %u bytes, fewer than its header", said);
        return false;
    }
    if (said < d->length)
        d->length = said;
    return true;
}

static bool width_is_possible(const struct dmar *d) { return d->bytes[HEADER_WIDTH] >= 31 && d->bytes[HEADER_WIDTH] <= 51; }

unsigned dmar_host_width(const struct dmar *d) { return width_is_possible(d) ? d->bytes[HEADER_WIDTH] + 1u : 52; }
bool dmar_interrupt_remapping(const struct dmar *d) { return d->bytes[HEADER_FLAGS] & FLAG_INTR_REMAP; }

enum verdict { GOOD, END, DAMAGED_END, TOO_SHORT, UNKNOWN };

/* Moves s to the structure after it.  DAMAGED_END: its length leaves no way to find the next one. */
static enum verdict step(const struct dmar *d, struct dmar_structure *s)
{
    s->offset = s->offset ? s->offset + s->length : HEADER_END;
    s->length = 0;
    if (s->offset == d->length)
        return END;
    if (d->length - s->offset < ANY_HEADER)
        return DAMAGED_END;
    s->type = read16(d, s->offset);
    s->length = read16(d, s->offset + ANY_LENGTH);
    if (s->length < ANY_HEADER || s->length > d->length - s->offset)
        return DAMAGED_END;
    if (s->type >= DMAR_TYPES)
        return UNKNOWN;
    return s->length < types[s->type].fixed ? TOO_SHORT : GOOD;
}

bool dmar_next(const struct dmar *d, struct dmar_structure *s)
{
    enum verdict verdict;
    do {
        verdict = step(d, s);
    } while (verdict == UNKNOWN || verdict == TOO_SHORT);
    return verdict == GOOD;
}

static enum verdict scope_step(const struct dmar *d, const struct dmar_structure *s, struct scope *c)
{
    uint32_t end = s->offset + s->length;
    c->offset = c->offset ? c->offset + c->length : s->offset + types[s->type].fixed;
    c->length = 0;
    if (c->offset == end)
        return END;
    if (end - c->offset < SCOPE_PATH)
        return DAMAGED_END;
    c->type = d->bytes[c->offset];
    c->length = d->bytes[c->offset + SCOPE_LENGTH];
    if (c->length < SCOPE_PATH || c->length > end - c->offset)
        return DAMAGED_END;
    if (!c->type || c->type > SCOPE_NAMESPACE)
        return UNKNOWN;
    return c->length < SCOPE_PATH + 2 || c->length % 2 ? TOO_SHORT : GOOD;
}

struct dmar_drhd dmar_drhd(const struct dmar *d, const struct dmar_structure *s)
{
    return (struct dmar_drhd){
        .segment = read16(d, s->offset + ANY_SEGMENT),
        .include_all = d->bytes[s->offset + DRHD_FLAGS] & DRHD_INCLUDE_PCI_ALL,
        .base = read64(d, s->offset + DRHD_BASE),
        .size = PAGE_SIZE << field(d->bytes[s->offset + DRHD_SIZE], DRHD_SIZE_N),
    };
}

struct dmar_rmrr dmar_rmrr(const struct dmar *d, const struct dmar_structure *s)
{
    return (struct dmar_rmrr){
        .segment = read16(d, s->offset + ANY_SEGMENT),
        .base = read64(d, s->offset + RMRR_BASE),
        .limit = read64(d, s->offset + RMRR_LIMIT),
    };
}

static void report_scopes(const struct dmar *d, const struct dmar_structure *s)
{
    struct scope c = { 0 };
    enum verdict verdict;
    while ((verdict = scope_step(d, s, &c)) != END) {
        if (verdict == DAMAGED_END) {
            platform_log("DMAR: %s at offset 0x%x: the device scope at 0x%x does not fit in it; it and what follows is ignored",
                         types[s->type].name, s->offset, c.offset);
            return;
        }
        if (verdict != GOOD)
            platform_log("DMAR: %s at offset 0x%x: device scope at 0x%x has %s %u, skipped", types[s->type].name, s->offset,
                         c.offset, verdict == UNKNOWN ? "unknown type" : "length", verdict == UNKNOWN ? c.type : c.length);
    }
}

void dmar_report(const struct dmar *d)
{
    struct dmar_structure s = { 0 };
    enum verdict verdict;
    uint32_t said = (uint32_t)read_bytes(d, HEADER_LENGTH, 4);
    if (said > d->length)
        platform_log("DMAR: the table says it has %u bytes, but %u can be read", said, d->length);
    if (!width_is_possible(d))
        platform_log("DMAR: %u-bit addresses are impossible; 52 bits are assumed", d->bytes[HEADER_WIDTH] + 1u);
    while ((verdict = step(d, &s)) != END) {
        if (verdict == DAMAGED_END) {
            platform_log("DMAR: the structure at offset 0x%x (length %u) is cut or has an impossible length; it and what follows is ignored",
                         s.offset, s.length);
            return;
        }
        if (verdict == UNKNOWN)
            platform_log("DMAR: structure of unknown type %u at offset 0x%x skipped", s.type, s.offset);
        else if (verdict == TOO_SHORT)
            platform_log("DMAR: %s at offset 0x%x has %u bytes, it needs %u: skipped", types[s.type].name, s.offset, s.length,
                         types[s.type].fixed);
        else if (types[s.type].scopes)
            report_scopes(d, &s);
    }
}

static uint16_t make_bdf(unsigned bus, uint8_t device, uint8_t function)
{
    return (uint16_t)(place(BITS(15, 8), bus) | place(BITS(7, 3), device) | place(BITS(2, 0), function));
}

/* The buses behind a bridge.  false: no bridge answers there. */
static bool bridge_buses(uint16_t segment, uint16_t bridge, uint8_t *secondary, uint8_t *subordinate)
{
    uint32_t header = platform_pci_read(segment, bridge, PCI_HEADER_TYPE, 1);
    if (field(header, PCI_HEADER_LAYOUT) != PCI_HEADER_BRIDGE)
        return false;
    *secondary = (uint8_t)platform_pci_read(segment, bridge, PCI_SECONDARY_BUS, 1);
    *subordinate = (uint8_t)platform_pci_read(segment, bridge, PCI_SUBORDINATE_BUS, 1);
    return *secondary && *subordinate >= *secondary; /* 0: firmware has not numbered it */
}

/* Follows the scope's path from its start bus: each pair but the last is a bridge. */
static bool scope_function(const struct dmar *d, const struct scope *c, uint16_t segment, uint16_t *bdf)
{
    unsigned bus = d->bytes[c->offset + SCOPE_BUS];
    const uint8_t *pair = d->bytes + c->offset + SCOPE_PATH;
    for (unsigned left = (c->length - SCOPE_PATH) / 2; ; left--, pair += 2) {
        uint8_t secondary, subordinate;
        if (pair[0] > 31 || pair[1] > 7)
            return false;
        *bdf = make_bdf(bus, pair[0], pair[1]);
        if (left == 1)
            return true;
        if (!bridge_buses(segment, *bdf, &secondary, &subordinate))
            return false;
        bus = secondary;
    }
}

/* Does one of the structure's scopes of this type cover the function?  A bridge covers itself and all below it. */
static bool covers(const struct dmar *d, const struct dmar_structure *s, uint8_t type, uint16_t segment, uint16_t bdf)
{
    struct scope c = { 0 };
    enum verdict verdict;
    if (read16(d, s->offset + ANY_SEGMENT) != segment)
        return false;
    while ((verdict = scope_step(d, s, &c)) != END && verdict != DAMAGED_END) {
        uint16_t named;
        uint8_t secondary, subordinate, bus = (uint8_t)field(bdf, BITS(15, 8));
        if (verdict != GOOD || c.type != type || !scope_function(d, &c, segment, &named))
            continue;
        if (named == bdf)
            return true;
        if (type == SCOPE_BRIDGE && bridge_buses(segment, named, &secondary, &subordinate) && bus >= secondary && bus <= subordinate)
            return true;
    }
    return false;
}

bool dmar_find_drhd(const struct dmar *d, uint16_t segment, uint16_t bdf, uint32_t *offset)
{
    for (uint8_t type = SCOPE_ENDPOINT; type <= SCOPE_BRIDGE; type++)
        for (struct dmar_structure s = { 0 }; dmar_next(d, &s); )
            if (s.type == DMAR_DRHD && covers(d, &s, type, segment, bdf)) {
                *offset = s.offset;
                return true;
            }
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); ) {
        if (s.type != DMAR_DRHD)
            continue;
        struct dmar_drhd drhd = dmar_drhd(d, &s);
        if (drhd.include_all && drhd.segment == segment) {
            *offset = s.offset;
            return true;
        }
    }
    return false;
}

bool dmar_find_rmrr(const struct dmar *d, uint16_t segment, uint16_t bdf, struct dmar_rmrr *rmrr)
{
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); ) {
        if (s.type != DMAR_RMRR)
            continue;
        if (covers(d, &s, SCOPE_ENDPOINT, segment, bdf) || covers(d, &s, SCOPE_BRIDGE, segment, bdf)) {
            *rmrr = dmar_rmrr(d, &s);
            return true;
        }
    }
    return false;
}

bool iommu_has_rmrr(const void *table, uint32_t length, uint16_t segment, uint16_t bdf)
{
    struct dmar d;
    struct dmar_rmrr rmrr;
    char reason[160];
    return dmar_open(&d, table, length, reason) && dmar_find_rmrr(&d, segment, bdf, &rmrr);
}
