/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nidus-dmar.c: prints an ACPI DMAR table as nidus reads it.
 *
 * A line for the header, one for each structure, and below it one, indented, for each of its device scopes.  A line is a name and
 * key=value fields in a fixed order; a flags field has the names of the bits that are set after it.  What is wrong with the table
 * goes to standard error.
 *
 * Exit status: 0, 1 when something is wrong, 2 when there is nothing to read.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/bits.h"
#include "iommu/dmar.h"
#include "iommu/platform.h"

#define MAX_FILE (1u << 20)

/* The ACPI header, VT-d 8.1. */
#define LENGTH         4
#define REVISION       8
#define CHECKSUM       9
#define OEM           10
#define OEM_TABLE     16
#define OEM_REVISION  24
#define CREATOR       28
#define CREATOR_REVISION 32
#define FLAGS         37

static const char *file_name;

/* What iommu/dmar.c needs from its surroundings ---------------------------------------------------------- */

void platform_log(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", file_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

int platform_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return length;
}

/* The table may be another machine's: no path is resolved. */
uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width)
{
    (void)segment, (void)bdf, (void)offset, (void)width;
    return ~0u;
}

/* Lines -------------------------------------------------------------------------------------------------- */

/* Ends at a NUL; a quote and what is not printable is \xNN. */
static void print_text(const char *key, const void *text, size_t size)
{
    const uint8_t *bytes = text;
    printf(" %s=\"", key);
    for (; size && *bytes; size--, bytes++)
        printf(isprint(*bytes) && *bytes != '"' ? "%c" : "\\x%02x", *bytes);
    putchar('"');
}

static void print_flags(uint8_t flags, const char *const names[8])
{
    printf(" flags=0x%02x", flags);
    for (unsigned bit = 0; bit < 8; bit++)
        if (flags & BIT(bit) && names[bit])
            printf(",%s", names[bit]);
}

static uint32_t word(const struct dmar *d, uint32_t offset)
{
    const uint8_t *b = d->bytes + offset;
    return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

static void print_header(const struct dmar *d)
{
    static const char *const names[8] = { "INTR_REMAP", "X2APIC_OPT_OUT", "DMA_CTRL_PLATFORM_OPT_IN" };
    printf("DMAR length=%u revision=%u checksum=0x%02x", word(d, LENGTH), d->bytes[REVISION], d->bytes[CHECKSUM]);
    print_text("oem", d->bytes + OEM, 6);
    print_text("oem-table", d->bytes + OEM_TABLE, 8);
    printf(" oem-revision=0x%x", word(d, OEM_REVISION));
    print_text("creator", d->bytes + CREATOR, 4);
    printf(" creator-revision=0x%x width=%u", word(d, CREATOR_REVISION), dmar_host_width(d));
    print_flags(d->bytes[FLAGS], names);
    putchar('\n');
}

static void print_scope(const struct dmar_structure *s, const struct dmar_scope *c)
{
    static const char *const types[] = {
        [DMAR_ENDPOINT] = "endpoint", [DMAR_BRIDGE] = "bridge", [DMAR_IOAPIC] = "ioapic", [DMAR_HPET] = "hpet", [DMAR_NAMESPACE] = "namespace",
    };
    static const char *const none[8];
    static const char *const sidp[8] = { "NESTED_NOTALLOWED", "PWSNP_NOTALLOWED", "PGSNP_NOTALLOWED", "ATC_HARDENED", "ATC_REQUIRED" };
    printf("  scope offset=0x%x length=%u type=%u,%s", c->offset, c->length, c->type,
           c->type >= DMAR_ENDPOINT && c->type <= DMAR_NAMESPACE ? types[c->type] : "unknown");
    print_flags(c->flags, s->type == DMAR_SIDP ? sidp : none);
    printf(" id=%u bus=0x%02x path=", c->id, c->bus);
    for (unsigned i = 0; i < c->pairs; i++)
        printf("%s%02x.%x", i ? "/" : "", c->path[2 * i], c->path[2 * i + 1]);
    putchar('\n');
}

static void print_structure(const struct dmar *d, const struct dmar_structure *s)
{
    static const char *const drhd_flags[8] = { "INCLUDE_PCI_ALL" }, *const atsr_flags[8] = { "ALL_PORTS" }, *const satc_flags[8] = { "ATC_REQUIRED" };
    if (s->type >= DMAR_TYPES)
        printf("unknown offset=0x%x length=%u type=%u", s->offset, s->length, s->type);
    else
        printf("%s offset=0x%x length=%u", dmar_type_name(s->type), s->offset, s->length);
    if (s->type < DMAR_TYPES && s->type != DMAR_RHSA && s->type != DMAR_ANDD)
        printf(" segment=0x%04x", s->segment);
    switch (s->type) {
    case DMAR_DRHD:
        print_flags(s->flags, drhd_flags);
        printf(" base=0x%llx size=0x%llx", (ull)dmar_drhd(d, s).base, (ull)dmar_drhd(d, s).size);
        break;
    case DMAR_RMRR:
        printf(" base=0x%llx limit=0x%llx", (ull)dmar_rmrr(d, s).base, (ull)dmar_rmrr(d, s).limit);
        break;
    case DMAR_ATSR:
        print_flags(s->flags, atsr_flags);
        break;
    case DMAR_RHSA:
        printf(" base=0x%llx proximity-domain=0x%x", (ull)dmar_rhsa(d, s).base, dmar_rhsa(d, s).proximity_domain);
        break;
    case DMAR_ANDD:
        printf(" id=%u", dmar_andd(d, s).id);
        print_text("name", dmar_andd(d, s).name, strlen(dmar_andd(d, s).name));
        break;
    case DMAR_SATC:
        print_flags(s->flags, satc_flags);
        break;
    }
    putchar('\n');
}

/* The table ---------------------------------------------------------------------------------------------- */

/* What ACPI wants of every table, and nidus before it looks into one. */
static bool report_acpi(const struct dmar *d, size_t size)
{
    uint32_t said = word(d, LENGTH);
    uint8_t sum = 0;
    for (uint32_t i = 0; i < d->length; i++)
        sum += d->bytes[i];
    if (sum && said <= size)
        platform_log("the checksum at offset 0x9 is wrong: the bytes add up to 0x%02x, not 0", sum);
    if (said < size)
        platform_log("the table says at offset 0x4 that it has %u bytes, but %zu follow", said, size - said);
    return said == size && !sum;
}

static int print_table(const void *bytes, size_t size)
{
    struct dmar d;
    char reason[160];
    unsigned units = 0;
    if (!dmar_open(&d, bytes, (uint32_t)size, reason)) {
        platform_log("%s", reason);
        return 1;
    }
    print_header(&d);
    for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); ) {
        print_structure(&d, &s);
        for (struct dmar_scope c = { 0 }; dmar_next_scope(&d, &s, &c); )
            print_scope(&s, &c);
        units += s.type == DMAR_DRHD;
    }
    bool sound = report_acpi(&d, size);
    sound &= dmar_report(&d);
    if (!units)
        platform_log("the table names no remapping unit (DRHD)");
    return sound && units ? 0 : 1;
}

/* NULL: it cannot be read, and that was said.  The allocation ends where the file ends. */
static uint8_t *read_file(const char *name, size_t *size)
{
    static uint8_t buffer[MAX_FILE + 1];
    FILE *file = fopen(name, "rb");
    if (!file) {
        fprintf(stderr, "nidus-dmar: %s: %s\n", name, strerror(errno));
        return NULL;
    }
    *size = fread(buffer, 1, sizeof buffer, file);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error || *size > MAX_FILE) {
        fprintf(stderr, "nidus-dmar: %s: %s\n", name, error ? strerror(error) : "more than 1 MiB: no DMAR table");
        return NULL;
    }
    uint8_t *bytes = malloc(*size ? *size : 1);
    if (bytes)
        memcpy(bytes, buffer, *size);
    return bytes;
}

int main(int argc, char **argv)
{
    size_t size;
    if (argc != 2) {
        fprintf(stderr, "usage: nidus-dmar FILE\nFILE: an ACPI DMAR table, as in /sys/firmware/acpi/tables/DMAR\n");
        return 2;
    }
    file_name = argv[1];
    uint8_t *bytes = read_file(file_name, &size);
    if (!bytes)
        return 2;
    int status = print_table(bytes, size);
    free(bytes);
    if (fflush(stdout)) {
        fprintf(stderr, "nidus-dmar: standard output: %s\n", strerror(errno));
        return 2;
    }
    return status;
}
