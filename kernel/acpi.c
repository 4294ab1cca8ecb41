/* SPDX-License-Identifier: BSD-2-Clause */
/* acpi.c: the tables.  No read leaves what was mapped and checked, and every loop is bounded. */
#include "kernel/acpi.h"

#include <stddef.h>
#include <string.h>

#include "kernel/log.h"

struct rsdp {                   /* ACPI 6.5 section 5.2.5.3 */
    char signature[8];          /*  0: "RSD PTR " */
    uint8_t checksum;           /*  8: of the first 20 bytes */
    char oem[6];
    uint8_t revision;           /* 15: from 2 on the rest is there */
    uint32_t rsdt;              /* 16 */
    uint32_t length;            /* 20 */
    uint64_t xsdt;              /* 24 */
    uint8_t extended_checksum;  /* 32 */
    uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");
#define RSDP_V1_LENGTH  20u
#define MAX_RSDP_LENGTH 4096u

struct header {                 /* ACPI 6.5 section 5.2.6 */
    char signature[4];          /*  0 */
    uint32_t length;            /*  4: with this header */
    uint8_t revision;           /*  8 */
    uint8_t checksum;           /*  9 */
    char oem[26];
} __attribute__((packed));
_Static_assert(sizeof(struct header) == 36, "ACPI 5.2.6");

struct fadt {                   /* ACPI 6.5 section 5.2.9; older ones are shorter */
    struct header header;
    uint8_t unused0[4];
    uint32_t dsdt;              /*  40 */
    uint8_t unused1[20];
    uint32_t pm1a_control;      /*  64: I/O port */
    uint32_t pm1b_control;      /*  68 */
    uint8_t unused2[4];
    uint32_t pm_timer;          /*  76 */
    uint8_t unused3[11];
    uint8_t pm_timer_length;    /*  91: 4, or 0 without a timer */
    uint8_t unused4[20];
    uint32_t flags;             /* 112 */
    struct acpi_address reset;  /* 116 */
    uint8_t reset_value;        /* 128 */
    uint8_t unused5[11];
    uint64_t x_dsdt;            /* 140 */
    uint8_t unused6[24];
    struct acpi_address x_pm1a_control; /* 172 */
    struct acpi_address x_pm1b_control; /* 184 */
    uint8_t unused7[12];
    struct acpi_address x_pm_timer;     /* 208 */
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, pm_timer_length) == 91 && offsetof(struct fadt, reset) == 116 &&
               offsetof(struct fadt, x_dsdt) == 140 && offsetof(struct fadt, x_pm_timer) == 208, "ACPI 5.2.9");
#define FADT_TIMER_32   (1u << 8)
#define FADT_RESET      (1u << 10)

struct mcfg {                   /* PCI Firmware Specification 4.1.2 */
    struct header header;
    uint8_t reserved[8];
    struct mcfg_entry {
        uint64_t base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
        uint32_t reserved;
    } __attribute__((packed)) entry[];
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg) == 44 && sizeof(struct mcfg_entry) == 16, "PCI firmware 4.1.2");

struct hpet {                   /* IA-PC HPET specification 3.2.4 */
    struct header header;
    uint32_t id;
    struct acpi_address base;
} __attribute__((packed));
_Static_assert(offsetof(struct hpet, base) == 40, "HPET 3.2.4");

struct madt {                   /* ACPI 6.5 section 5.2.12 */
    struct header header;
    uint32_t local_apic, flags;
    uint8_t entries[];
} __attribute__((packed));
struct madt_io_apic {           /* ACPI 6.5 section 5.2.12.3 */
    uint8_t type, length;
    uint8_t id, reserved;
    uint32_t address, first_gsi;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_io_apic) == 12, "ACPI 5.2.12.3");
#define MADT_IO_APIC 1u

#define MAX_TABLES       128u
#define MAX_TABLE_LENGTH (16u << 20)

static struct {
    const struct header *table;
    uint32_t length;
} tables[MAX_TABLES];
static unsigned table_count;
static struct acpi_power power;

static bool sums_to_zero(const void *p, uint32_t length)
{
    const uint8_t *bytes = p;
    uint8_t sum = 0;
    while (length-- != 0)
        sum += *bytes++;
    return sum == 0;
}

/* A signature as text: what is not printable is '?'. */
struct name {
    char text[5];
};

static struct name name_of(const char signature[4])
{
    struct name n = { "" };
    for (unsigned i = 0; i < 4; i++)
        n.text[i] = signature[i] > ' ' && signature[i] <= '~' ? signature[i] : '?';
    return n;
}

/* The whole table at phys, checked.  wanted: its signature, or NULL.  NULL: no table, and a line says why. */
static const struct header *open_table(uint64_t phys, const char *wanted)
{
    const struct header *h = acpi_map(phys, sizeof(*h));
    if (h == NULL) {
        log_line("ACPI: the table at %#llx cannot be mapped: left out", (unsigned long long)phys);
        return NULL;
    }
    struct name n = name_of(h->signature);
    uint32_t length = h->length;
    if (wanted != NULL && memcmp(h->signature, wanted, 4) != 0) {
        log_line("ACPI: at %#llx there is %s instead of %.4s: left out", (unsigned long long)phys, n.text, wanted);
        return NULL;
    }
    if (length < sizeof(*h) || length > MAX_TABLE_LENGTH) {
        log_line("ACPI: table %s says that it has %u bytes: left out", n.text, length);
        return NULL;
    }
    h = acpi_map(phys, length);
    if (h == NULL || h->length != length || !sums_to_zero(h, length)) {
        log_line("ACPI: table %s at %#llx %s: left out", n.text, (unsigned long long)phys,
                 h == NULL ? "cannot be mapped" : "has a wrong checksum");
        return NULL;
    }
    return h;
}

/* XSDT or RSDT: entries of 8 or 4 bytes, not aligned. */
static void open_list(const struct header *list, unsigned entry_bytes)
{
    uint32_t count = (list->length - sizeof(*list)) / entry_bytes;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t phys = 0;
        memcpy(&phys, (const uint8_t *)(list + 1) + i * entry_bytes, entry_bytes);
        if (table_count == MAX_TABLES) {
            log_line("ACPI: %u tables; those after the first %u are left out", count, MAX_TABLES);
            return;
        }
        const struct header *h = phys == 0 ? NULL : open_table(phys, NULL);
        if (h != NULL) {
            tables[table_count].table = h;
            tables[table_count++].length = h->length;
        }
    }
}

const void *acpi_table(const char signature[4], unsigned index, uint32_t *length)
{
    for (unsigned i = 0; i < table_count; i++) {
        if (memcmp(tables[i].table->signature, signature, 4) != 0 || index-- != 0)
            continue;
        *length = tables[i].length;
        return tables[i].table;
    }
    return NULL;
}

bool acpi_ecam(unsigned i, struct acpi_ecam *ecam)
{
    uint32_t length;
    const struct mcfg *m = acpi_table("MCFG", 0, &length);
    if (m == NULL || length < sizeof(*m))
        return false;
    uint32_t count = (length - sizeof(*m)) / sizeof(m->entry[0]);
    for (uint32_t at = 0; at < count; at++) {
        const struct mcfg_entry *e = &m->entry[at];
        if (e->base == 0 || e->first_bus > e->last_bus || i-- != 0)
            continue;
        *ecam = (struct acpi_ecam){ e->base, e->segment, e->first_bus, e->last_bus };
        return true;
    }
    return false;
}

uint64_t acpi_hpet(void)
{
    uint32_t length;
    const struct hpet *h = acpi_table("HPET", 0, &length);
    return h != NULL && length >= sizeof(*h) && h->base.space == ACPI_SPACE_MEMORY ? h->base.address : 0;
}

uint64_t acpi_io_apic(unsigned i)
{
    uint32_t length;
    const struct madt *m = acpi_table("APIC", 0, &length);
    if (m == NULL || length < sizeof(*m))
        return 0;
    for (uint32_t at = sizeof(*m); length - at >= sizeof(struct madt_io_apic);) {
        const struct madt_io_apic *e = (const void *)((const uint8_t *)m + at);
        if (e->type == MADT_IO_APIC && e->length >= sizeof(*e) && i-- == 0)
            return e->address;
        if (e->length < 2 || e->length > length - at)
            return 0;
        at += e->length;
    }
    return 0;
}

const struct acpi_power *acpi_power(void)
{
    return &power;
}

/* AML, ACPI 6.5 section 20.2. */
#define AML_ZERO    0x00
#define AML_ONE     0x01
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_WORD    0x0b
#define AML_DWORD   0x0c
#define AML_PACKAGE 0x12
#define AML_ROOT    '\\'

struct aml {
    const uint8_t *next, *end;
};

static bool aml_byte(struct aml *a, uint8_t *value)
{
    if (a->next == a->end)
        return false;
    *value = *a->next++;
    return true;
}

/* An integer constant; its low byte is wanted. */
static bool aml_integer(struct aml *a, uint8_t *value)
{
    uint8_t op;
    unsigned more;              /* bytes behind the lowest */
    if (!aml_byte(a, &op))
        return false;
    switch (op) {
    case AML_ZERO:
    case AML_ONE:
        *value = op;
        return true;
    case AML_BYTE:  more = 0; break;
    case AML_WORD:  more = 1; break;
    case AML_DWORD: more = 3; break;
    default:
        return false;
    }
    if (!aml_byte(a, value) || (size_t)(a->end - a->next) < more)
        return false;
    a->next += more;
    return true;
}

/* Package () {a, b, ...}: section 20.2.5.4; PkgLength is in 20.2.4. */
static bool aml_s5_package(struct aml *a, uint8_t *s5_a, uint8_t *s5_b)
{
    uint8_t op, lead, count;
    const uint8_t *start = a->next + 1;     /* what PkgLength counts from */
    if (!aml_byte(a, &op) || op != AML_PACKAGE || !aml_byte(a, &lead))
        return false;
    uint32_t length = lead & 0x3f;
    for (unsigned i = 0; i < lead >> 6; i++) {
        uint8_t byte;
        if (!aml_byte(a, &byte))
            return false;
        length = i == 0 ? (lead & 0xfu) | (uint32_t)byte << 4 : length | (uint32_t)byte << (4 + 8 * i);
    }
    if (length > (size_t)(a->end - start))
        return false;
    a->end = start + length;
    if (a->next > a->end || !aml_byte(a, &count) || count < 1 || !aml_integer(a, s5_a))
        return false;
    *s5_b = 0;
    return count < 2 || aml_integer(a, s5_b);
}

bool acpi_find_s5(const uint8_t *aml, uint32_t length, uint8_t *a, uint8_t *b)
{
    for (uint32_t at = 1; length >= 4 && at <= length - 4; at++) {
        if (memcmp(aml + at, "_S5_", 4) != 0)
            continue;
        bool named = aml[at - 1] == AML_NAME || (at >= 2 && aml[at - 1] == AML_ROOT && aml[at - 2] == AML_NAME);
        struct aml rest = { aml + at + 4, aml + length };
        uint8_t s5_a, s5_b;
        if (!named || !aml_s5_package(&rest, &s5_a, &s5_b) || s5_a > 7 || s5_b > 7)
            continue;
        *a = s5_a;
        *b = s5_b;
        return true;
    }
    return false;
}

/* A register that newer tables describe with an address structure, and older ones with a port. */
static struct acpi_address register_of(const struct acpi_address *wide, uint32_t port)
{
    if (wide->address != 0)
        return *wide;
    return (struct acpi_address){ .space = ACPI_SPACE_IO, .address = port };
}

static void read_fadt(void)
{
    uint32_t length;
    const void *table = acpi_table("FACP", 0, &length);
    if (table == NULL)
        return;
    struct fadt f;              /* what an old, shorter one leaves out is zero */
    memset(&f, 0, sizeof(f));
    memcpy(&f, table, length < sizeof(f) ? length : sizeof(f));

    power.pm1a_control = register_of(&f.x_pm1a_control, f.pm1a_control);
    power.pm1b_control = register_of(&f.x_pm1b_control, f.pm1b_control);
    if (f.pm_timer_length == 4)
        power.pm_timer = register_of(&f.x_pm_timer, f.pm_timer);
    power.pm_timer_32 = (f.flags & FADT_TIMER_32) != 0;
    if ((f.flags & FADT_RESET) != 0)
        power.reset = f.reset;
    power.reset_value = f.reset_value;

    uint64_t dsdt = f.x_dsdt != 0 ? f.x_dsdt : f.dsdt;
    const struct header *d = dsdt == 0 ? NULL : open_table(dsdt, "DSDT");
    if (d != NULL)
        power.s5_known = acpi_find_s5((const uint8_t *)(d + 1), d->length - sizeof(*d), &power.s5_a, &power.s5_b);
}

/* The root pointer, checked.  *wide: its second part, with the XSDT, is there and sound. */
static bool open_rsdp(uint64_t phys, struct rsdp *r, bool *wide)
{
    const void *p = acpi_map(phys, RSDP_V1_LENGTH);
    if (p == NULL || memcmp(p, "RSD PTR ", 8) != 0 || !sums_to_zero(p, RSDP_V1_LENGTH))
        return false;
    memset(r, 0, sizeof(*r));
    memcpy(r, p, RSDP_V1_LENGTH);
    *wide = false;
    if (r->revision < 2 || (p = acpi_map(phys, sizeof(*r))) == NULL)
        return true;
    memcpy(r, p, sizeof(*r));
    if (r->length < sizeof(*r) || r->length > MAX_RSDP_LENGTH || (p = acpi_map(phys, r->length)) == NULL)
        return true;
    *wide = sums_to_zero(p, r->length);
    return true;
}

void acpi_init(uint64_t rsdp)
{
    struct rsdp r;
    bool wide;
    table_count = 0;
    power = (struct acpi_power){ 0 };
    if (rsdp == 0 || !open_rsdp(rsdp, &r, &wide)) {
        log_line("ACPI: %s", rsdp == 0 ? "the firmware has none" : "the root pointer is damaged, nothing is read");
        return;
    }
    const struct header *list = wide && r.xsdt != 0 ? open_table(r.xsdt, "XSDT") : NULL;
    if (list != NULL)
        open_list(list, sizeof(uint64_t));
    else if (r.rsdt != 0 && (list = open_table(r.rsdt, "RSDT")) != NULL)
        open_list(list, sizeof(uint32_t));
    else
        log_line("ACPI: the root pointer leads to no list of tables");
    read_fadt();
}
