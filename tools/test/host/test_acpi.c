/* SPDX-License-Identifier: BSD-2-Clause */
/* test_acpi.c: ACPI tables as firmware should write them, and as it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/acpi.h"
#include "kernel/log.h"

/* Each table is a block of its own, so that the address sanitizer sees a read one byte beyond it. */
#define MAX_BLOCKS 16
static struct block {
    uint64_t phys;
    uint32_t length;
    uint8_t *bytes;
} blocks[MAX_BLOCKS];
static unsigned block_count;

#define RSDP 0xe0000u
#define XSDT 0x10000u
#define RSDT 0x20000u
#define FADT 0x30000u
#define DSDT 0x40000u
#define MCFG 0x50003u           /* nothing promises alignment */
#define HPET 0x60000u
#define MADT 0x70000u

static char lines[8192];

void log_line(const char *format, ...)
{
    size_t at = strlen(lines);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(lines + at, sizeof(lines) - at, format, arguments);
    va_end(arguments);
}

const void *acpi_map(uint64_t phys, uint64_t length)
{
    for (unsigned i = 0; i < block_count; i++)
        if (phys >= blocks[i].phys && phys - blocks[i].phys <= blocks[i].length &&
            length <= blocks[i].length - (phys - blocks[i].phys))
            return blocks[i].bytes + (phys - blocks[i].phys);
    return NULL;
}

static struct block *block_at(uint64_t phys)
{
    for (unsigned i = 0; i < block_count; i++)
        if (blocks[i].phys == phys)
            return &blocks[i];
    fail();
    return NULL;
}

static uint8_t *place(uint64_t phys, uint32_t length)
{
    assert_true(block_count < MAX_BLOCKS);
    struct block *b = &blocks[block_count++];
    *b = (struct block){ phys, length, calloc(1, length) };
    return b->bytes;
}

static void set(uint8_t *p, uint64_t value, unsigned bytes)
{
    memcpy(p, &value, bytes);
}

/* Makes bytes sum to zero by the one at `at`. */
static void fix_sum(uint8_t *p, uint32_t length, uint32_t at)
{
    uint8_t sum = 0;
    p[at] = 0;
    for (uint32_t i = 0; i < length; i++)
        sum += p[i];
    p[at] = (uint8_t)-sum;
}

static void fix_table(uint64_t phys)
{
    struct block *b = block_at(phys);
    uint32_t length;
    memcpy(&length, b->bytes + 4, 4);
    if (length >= 36 && length <= b->length)
        fix_sum(b->bytes, length, 9);
}

static void fix_rsdp(void)
{
    struct block *b = block_at(RSDP);
    fix_sum(b->bytes, 20, 8);
    if (b->length >= 36)
        fix_sum(b->bytes, 36, 32);
}

static uint8_t *table(uint64_t phys, const char *signature, uint32_t length)
{
    uint8_t *p = place(phys, length);
    memcpy(p, signature, 4);
    set(p + 4, length, 4);
    return p;
}

static const uint8_t s5_aml[] = {
    0x5b, 0x80, '_', 'S', '5', '_', 0x00,           /* not a Name */
    0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00,
};

/* A machine whose tables are all sound. */
static int setup(void **state)
{
    (void)state;
    lines[0] = '\0';

    uint8_t *p = place(RSDP, 36);
    memcpy(p, "RSD PTR ", 8);
    p[15] = 2;
    set(p + 16, RSDT, 4);
    set(p + 20, 36, 4);
    set(p + 24, XSDT, 8);
    fix_rsdp();

    static const uint32_t listed[] = { FADT, MCFG, HPET, MADT };
    uint8_t *xsdt = table(XSDT, "XSDT", 36 + 8 * 4), *rsdt = table(RSDT, "RSDT", 36 + 4 * 2);
    for (unsigned i = 0; i < 4; i++)
        set(xsdt + 36 + 8 * i, listed[i], 8);
    for (unsigned i = 0; i < 2; i++)
        set(rsdt + 36 + 4 * i, listed[i], 4);

    p = table(FADT, "FACP", 276);
    set(p + 40, DSDT, 4);
    set(p + 64, 0x604, 4);
    set(p + 76, 0x608, 4);
    p[91] = 4;
    set(p + 112, 1u << 8 | 1u << 10, 4);
    p[116] = 1;                 /* reset: port cf9, value f */
    set(p + 120, 0xcf9, 8);
    p[128] = 0xf;

    p = table(DSDT, "DSDT", 36 + sizeof(s5_aml));
    memcpy(p + 36, s5_aml, sizeof(s5_aml));

    p = table(MCFG, "MCFG", 44 + 16 * 2);
    set(p + 44, 0xe0000000, 8);
    p[44 + 11] = 0xff;
    set(p + 60, 0x2000000000, 8);
    p[60 + 8] = 1;
    p[60 + 10] = 0x20;
    p[60 + 11] = 0x3f;

    p = table(HPET, "HPET", 56);
    set(p + 44, 0xfed00000, 8);

    p = table(MADT, "APIC", 44 + 8 + 12 + 12);
    p[44] = 0;
    p[45] = 8;
    for (unsigned i = 0; i < 2; i++) {
        p[52 + 12 * i] = 1;
        p[53 + 12 * i] = 12;
        set(p + 56 + 12 * i, 0xfec00000 + 0x10000 * i, 4);
    }
    for (unsigned i = 1; i < block_count; i++)
        fix_table(blocks[i].phys);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (block_count != 0)
        free(blocks[--block_count].bytes);
    return 0;
}

static bool has_table(const char *signature)
{
    uint32_t length;
    return acpi_table(signature, 0, &length) != NULL;
}

static void sound_tables_are_all_read(void **state)
{
    (void)state;
    acpi_init(RSDP);
    assert_string_equal(lines, "");

    struct acpi_ecam e;
    assert_true(acpi_ecam(0, &e));
    assert_int_equal(e.base, 0xe0000000);
    assert_int_equal(e.last_bus, 0xff);
    assert_true(acpi_ecam(1, &e));
    assert_int_equal(e.base, 0x2000000000);
    assert_int_equal(e.segment, 1);
    assert_int_equal(e.first_bus, 0x20);
    assert_false(acpi_ecam(2, &e));

    assert_int_equal(acpi_hpet(), 0xfed00000);
    assert_int_equal(acpi_io_apic(0), 0xfec00000);
    assert_int_equal(acpi_io_apic(1), 0xfec10000);
    assert_int_equal(acpi_io_apic(2), 0);

    const struct acpi_power *power = acpi_power();
    assert_int_equal(power->pm1a_control.address, 0x604);
    assert_int_equal(power->pm1a_control.space, ACPI_SPACE_IO);
    assert_int_equal(power->pm1b_control.address, 0);
    assert_int_equal(power->pm_timer.address, 0x608);
    assert_true(power->pm_timer_32);
    assert_int_equal(power->reset.address, 0xcf9);
    assert_int_equal(power->reset_value, 0xf);
    assert_true(power->s5_known);
    assert_int_equal(power->s5_a, 5);
    assert_int_equal(power->s5_b, 6);
}

static void no_acpi_is_said(void **state)
{
    (void)state;
    acpi_init(0);
    assert_string_equal(lines, "ACPI: the firmware has none");
    assert_false(has_table("FACP"));
    assert_int_equal(acpi_power()->pm_timer.address, 0);
}

static void a_damaged_root_pointer_is_not_followed(void **state)
{
    (void)state;
    block_at(RSDP)->bytes[9] ^= 1;
    acpi_init(RSDP);
    assert_non_null(strstr(lines, "root pointer is damaged"));
    assert_false(has_table("FACP"));
    lines[0] = '\0';
    acpi_init(0xdead000);       /* nothing is there */
    assert_non_null(strstr(lines, "root pointer is damaged"));
}

static void version_1_leads_to_the_rsdt(void **state)
{
    (void)state;
    struct block *b = block_at(RSDP);
    b->bytes = realloc(b->bytes, b->length = 20);
    b->bytes[15] = 0;
    fix_rsdp();
    acpi_init(RSDP);
    assert_string_equal(lines, "");
    assert_true(has_table("FACP"));
    assert_true(has_table("MCFG"));
    assert_false(has_table("HPET"));    /* the XSDT alone lists it */
}

static void a_damaged_xsdt_leads_to_the_rsdt(void **state)
{
    (void)state;
    block_at(XSDT)->bytes[40] ^= 1;
    acpi_init(RSDP);
    assert_string_equal(lines, "ACPI: table XSDT at 0x10000 has a wrong checksum: left out");
    assert_true(has_table("FACP"));
    assert_false(has_table("HPET"));
}

static void one_bad_table_leaves_the_others(void **state)
{
    (void)state;
    block_at(MCFG)->bytes[50] ^= 1;
    set(block_at(HPET)->bytes + 4, 35, 4);
    acpi_init(RSDP);
    assert_non_null(strstr(lines, "ACPI: table MCFG at 0x50003 has a wrong checksum: left out"));
    assert_non_null(strstr(lines, "ACPI: table HPET says that it has 35 bytes: left out"));
    struct acpi_ecam e;
    assert_false(acpi_ecam(0, &e));
    assert_int_equal(acpi_hpet(), 0);
    assert_true(has_table("FACP"));
    assert_true(has_table("APIC"));
}

static void a_length_beyond_memory_is_refused(void **state)
{
    (void)state;
    set(block_at(HPET)->bytes + 4, 57, 4);
    set(block_at(MADT)->bytes + 4, 0xffffffff, 4);
    acpi_init(RSDP);
    assert_non_null(strstr(lines, "ACPI: table HPET at 0x60000 cannot be mapped: left out"));
    assert_non_null(strstr(lines, "ACPI: table APIC says that it has 4294967295 bytes: left out"));
}

static void a_short_fadt_says_what_it_has(void **state)
{
    (void)state;
    struct block *b = block_at(FADT);
    b->bytes = realloc(b->bytes, b->length = 116);      /* ACPI 1.0 */
    set(b->bytes + 4, 116, 4);
    fix_table(FADT);
    acpi_init(RSDP);
    assert_int_equal(acpi_power()->pm_timer.address, 0x608);
    assert_int_equal(acpi_power()->reset.address, 0);
    assert_true(acpi_power()->s5_known);
}

static void zero_length_entries_end_the_walk(void **state)
{
    (void)state;
    block_at(MADT)->bytes[45] = 0;
    fix_table(MADT);
    acpi_init(RSDP);
    assert_int_equal(acpi_io_apic(0), 0);
}

static void s5_of(const uint8_t *aml, uint32_t length, bool found, uint8_t a, uint8_t b)
{
    uint8_t *copy = malloc(length);     /* exact, for the address sanitizer */
    memcpy(copy, aml, length);
    uint8_t got_a = 0xff, got_b = 0xff;
    assert_int_equal(acpi_find_s5(copy, length, &got_a, &got_b), found);
    if (found) {
        assert_int_equal(got_a, a);
        assert_int_equal(got_b, b);
    }
    free(copy);
}

static void s5_in_its_forms(void **state)
{
    (void)state;
    static const uint8_t rooted[] = { 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x04, 0x02, 0x01, 0x00 };
    s5_of(rooted, sizeof(rooted), true, 1, 0);
    static const uint8_t one_element[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x01, 0x0a, 0x07 };
    s5_of(one_element, sizeof(one_element), true, 7, 0);
    static const uint8_t long_length[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x47, 0x00, 0x02, 0x0b, 5, 0, 0x01 };
    s5_of(long_length, sizeof(long_length), true, 5, 1);
    static const uint8_t too_large[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x02, 0x0a, 0x08, 0x00 };
    s5_of(too_large, sizeof(too_large), false, 0, 0);
    static const uint8_t package_beyond_end[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x02, 0x01, 0x00 };
    s5_of(package_beyond_end, sizeof(package_beyond_end), false, 0, 0);
    static const uint8_t elements_beyond_package[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x03, 0x02, 0x01, 0x00 };
    s5_of(elements_beyond_package, sizeof(elements_beyond_package), false, 0, 0);
    static const uint8_t method[] = { 0x14, '_', 'S', '5', '_', 0x12, 0x04, 0x02, 0x01, 0x00 };
    s5_of(method, sizeof(method), false, 0, 0);
}

static void s5_cut_anywhere_is_not_found(void **state)
{
    (void)state;
    for (uint32_t length = 0; length < sizeof(s5_aml); length++) {
        uint8_t a, b, *copy = malloc(length + 1);
        memcpy(copy, s5_aml, length);
        uint8_t *exact = realloc(copy, length == 0 ? 1 : length);
        assert_false(acpi_find_s5(exact, length, &a, &b));
        free(exact);
    }
}

/* Any byte of any table has any of these values, its checksum right: nothing is read outside, and it ends. */
static void no_byte_is_trusted(void **state)
{
    static const uint8_t values[] = { 0x00, 0x01, 0x02, 0x7f, 0x80, 0xff };
    (void)state;
    for (unsigned b = 0; b < block_count; b++)
        for (uint32_t at = 0; at < blocks[b].length; at++)
            for (unsigned v = 0; v < sizeof(values); v++) {
                uint8_t *byte = &blocks[b].bytes[at], before = *byte;
                *byte = values[v];
                b == 0 ? fix_rsdp() : fix_table(blocks[b].phys);
                lines[0] = '\0';
                acpi_init(RSDP);
                struct acpi_ecam e;
                for (unsigned i = 0; acpi_ecam(i, &e); i++)
                    assert_true(i < 2);
                for (unsigned i = 0; acpi_io_apic(i) != 0; i++)
                    assert_true(i < 64);
                acpi_hpet();
                *byte = before;
                b == 0 ? fix_rsdp() : fix_table(blocks[b].phys);
            }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(sound_tables_are_all_read),
        TEST(no_acpi_is_said),
        TEST(a_damaged_root_pointer_is_not_followed),
        TEST(version_1_leads_to_the_rsdt),
        TEST(a_damaged_xsdt_leads_to_the_rsdt),
        TEST(one_bad_table_leaves_the_others),
        TEST(a_length_beyond_memory_is_refused),
        TEST(a_short_fadt_says_what_it_has),
        TEST(zero_length_entries_end_the_walk),
        TEST(s5_in_its_forms),
        TEST(s5_cut_anywhere_is_not_found),
        TEST(no_byte_is_trusted),
    };
    return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
