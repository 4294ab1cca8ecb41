/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmar.c: any bytes as a DMAR table, on a machine whose bridges are any as well.
 *
 * The input's first byte seeds the bridges, the rest is the table.  Besides what the sanitizers see it must hold that iteration moves
 * forward inside the table, that a sound table has no gap, that the log is short, and that a function's unit is not told by a table that hides units.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/dmar.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"

#define MUST(condition) do { if (!(condition)) __builtin_trap(); } while (0)
#define MOST_LINES 17

static uint8_t bridge_seed;
static unsigned lines;

void platform_log(const char *format, ...)
{
    char line[241];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    lines++;
}

int platform_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    MUST(length > 0 && (size_t)length < size);
    return length;
}

/* Half of all functions are bridges; their bus numbers make trees, circles and nonsense. */
uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width)
{
    MUST(width == 1);
    uint32_t h = ((uint32_t)bridge_seed << 24 ^ (uint32_t)segment << 8 ^ bdf) * 2654435761u;
    if (offset == 0x0e)
        return h >> 31 ? 0x81 : h >> 8 & 0xff;
    return ((bdf >> 8) + (h >> (offset & 3) * 4 & 0x0f)) & 0xff;
}

/* Does each structure begin where the one before it ends, and each scope? */
static bool walk(const struct dmar *d)
{
    uint32_t at = 48;
    bool whole = true;
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); at = s.offset + s.length) {
        MUST(s.offset >= at && s.length >= 4 && s.length <= d->length - s.offset);
        whole &= s.offset == at;
        uint32_t inside = 0;
        for (struct dmar_scope c = { 0 }; dmar_next_scope(d, &s, &c); inside = c.offset + c.length) {
            uint16_t bdf;
            MUST(c.offset > s.offset && c.length >= 6 && c.offset + c.length <= s.offset + s.length && 6 + 2 * c.pairs <= c.length);
            MUST(!inside || c.offset >= inside);
            whole &= !inside || c.offset == inside;
            dmar_scope_function(&c, s.segment, &bdf);
        }
        whole &= !inside || inside == s.offset + s.length;
        if (s.type == DMAR_DRHD)
            MUST(dmar_drhd(d, &s).size >= PAGE_SIZE && dmar_drhd(d, &s).size <= PAGE_SIZE << 15);
        if (s.type == DMAR_RHSA)
            MUST(dmar_rhsa(d, &s).base | 1);
        if (s.type == DMAR_ANDD)
            MUST(strlen(dmar_andd(d, &s).name) < s.length - 8u);
    }
    return whole && at == d->length;
}

static bool is_named(const struct dmar *d, uint16_t segment, uint16_t bdf)
{
    uint16_t named;
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); )
        for (struct dmar_scope c = { 0 }; s.type == DMAR_DRHD && s.segment == segment && dmar_next_scope(d, &s, &c); )
            if (c.type == DMAR_ENDPOINT && dmar_scope_function(&c, segment, &named) && named == bdf)
                return true;
    return false;
}

static void look_up(const struct dmar *d, uint16_t segment, uint16_t bdf)
{
    char reason[160] = "";
    uint32_t offset = 0;
    struct dmar_rmrr rmrr;
    if (dmar_find_drhd(d, segment, bdf, &offset, reason))
        MUST(offset >= 48 && (!d->units_hidden || is_named(d, segment, bdf)));
    else
        MUST(reason[0] && !is_named(d, segment, bdf));
    for (struct dmar_structure s = { 0 }; dmar_next_rmrr(d, segment, bdf, &s, &rmrr); )
        MUST(rmrr.segment == segment);
    dmar_allows_ats(d, segment, bdf);
    MUST(!(dmar_properties(d, segment, bdf) & 0xe0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dmar d;
    char reason[160] = "";
    if (!size)
        return 0;
    bridge_seed = data[0];
    size--;
    uint8_t *table = malloc(size ? size : 1);
    memcpy(table, data + 1, size);
    lines = 0;
    if (dmar_open(&d, table, (uint32_t)size, reason)) {
        MUST(d.length <= size && dmar_host_width(&d) >= 32 && dmar_host_width(&d) <= 52);
        bool whole = walk(&d);
        bool sound = dmar_report(&d);
        MUST(lines <= MOST_LINES && (sound ? whole && !d.units_hidden : lines > 0));
        for (unsigned bdf = 0; bdf < 0x10000; bdf += 0x0e11)
            look_up(&d, 0, (uint16_t)bdf);
        look_up(&d, 0, 0x0010);
        look_up(&d, 1, 0x0010);
    } else {
        MUST(reason[0]);
    }
    MUST(!lines || d.bytes);
    iommu_has_rmrr(table, (uint32_t)size, 0, 0x00a0);
    free(table);
    return 0;
}
