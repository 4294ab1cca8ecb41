/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dmar.c: the DMAR parser on tables that are right, real and broken.  Each table lies at the end of an allocation of exactly
 * its size, so the address sanitizer sees any read beyond it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/dmar.h"
#include "iommu/iommu.h"
#include "tools/test/host/platform.h"

static uint8_t image[65536];
static uint32_t image_size;

static int setup(void **state)
{
    (void)state;
    host_reset();
    host_log_clear();
    return 0;
}

static void put(uint64_t value, unsigned bytes)
{
    while (bytes--) {
        image[image_size++] = (uint8_t)value;
        value >>= 8;
    }
}

static void begin(uint8_t width, uint8_t flags)
{
    memset(image, 0, sizeof image);
    memcpy(image, "DMAR", 4);
    image[36] = (uint8_t)(width - 1);
    image[37] = flags;
    image_size = 48;
}

/* Corrects the length in the table's header. */
static void end(void)
{
    memcpy(image + 4, &image_size, 4);
}

static void structure(uint16_t type, uint16_t length)
{
    put(type, 2);
    put(length, 2);
}

static void drhd(uint8_t flags, uint8_t size, uint16_t segment, uint64_t base, uint16_t scopes)
{
    structure(0, 16 + scopes);
    put(flags, 1);
    put(size, 1);
    put(segment, 2);
    put(base, 8);
}

static void rmrr(uint16_t segment, uint64_t base, uint64_t limit, uint16_t scopes)
{
    structure(1, 24 + scopes);
    put(0, 2);
    put(segment, 2);
    put(base, 8);
    put(limit, 8);
}

static void scope(uint8_t type, uint8_t bus, uint8_t device, uint8_t function)
{
    put(type, 1);
    put(8, 1);
    put(0, 3);
    put(bus, 1);
    put(device, 1);
    put(function, 1);
}

static void scope_path2(uint8_t type, uint8_t bus, uint8_t d1, uint8_t d2)
{
    put(type, 1);
    put(10, 1);
    put(0, 3);
    put(bus, 1);
    put(d1, 1);
    put(0, 1);
    put(d2, 1);
    put(0, 1);
}

static void bridge(uint16_t bdf, uint8_t secondary, uint8_t subordinate)
{
    struct host_function *f = host_function_add(0, bdf);
    f->config[0x0e] = 0x81; /* of several functions */
    f->config[0x19] = secondary;
    f->config[0x1a] = subordinate;
}

/* A table of the kind that a server has: a unit for one device, one for all below a bridge, one for the rest. */
static void server_table(void)
{
    begin(52, 1);
    drhd(0, 0, 0, 0xd0000000, 8);
    scope(1, 0, 4, 0);
    drhd(0, 0, 0, 0xd1000000, 8 + 10);
    scope(2, 0, 1, 0);
    scope_path2(1, 0, 2, 3);
    drhd(1, 0, 0, 0xd2000000, 8);
    scope(3, 0xff, 0, 0);
    rmrr(0, 0x7b000000, 0x7bffffff, 8);
    scope(1, 0, 0x14, 0);
    end();
    bridge(0x0008, 0x10, 0x1f);
    bridge(0x0010, 0x20, 0x20);
}

/* Everything that a caller may do with a table, on a copy that ends where the allocation ends.  true: it was opened and is sound.
 * Only a sound table is one that structures, and in them scopes, cover without a gap. */
static bool exercise(const uint8_t *bytes, uint32_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    struct dmar d;
    struct dmar_rmrr r;
    char reason[160];
    uint32_t offset, at = 48;
    bool sound = false, gap = false;
    memcpy(copy, bytes, length);
    if (dmar_open(&d, copy, length, reason)) {
        for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); at = s.offset + s.length) {
            uint32_t scope_at = 0;
            assert_in_range(s.offset, at, d.length - s.length);
            gap |= s.offset != at;
            for (struct dmar_scope c = { 0 }; dmar_next_scope(&d, &s, &c); scope_at = c.offset + c.length) {
                uint16_t bdf;
                gap |= scope_at && c.offset != scope_at;
                assert_in_range(c.offset, s.offset + 8, s.offset + s.length - c.length);
                dmar_scope_function(&c, s.segment, &bdf);
            }
            gap |= scope_at && scope_at != s.offset + s.length;
            if (s.type == DMAR_DRHD)
                dmar_drhd(&d, &s);
            if (s.type == DMAR_RMRR)
                dmar_rmrr(&d, &s);
            if (s.type == DMAR_RHSA)
                dmar_rhsa(&d, &s);
            if (s.type == DMAR_ANDD)
                assert_in_range(strlen(dmar_andd(&d, &s).name), 0, s.length - 9);
        }
        gap |= at != d.length;
        for (struct dmar_structure s = { 0 }; dmar_next_rmrr(&d, 0, 0x1100, &s, &r); )
            assert_int_equal(s.type, DMAR_RMRR);
        dmar_find_drhd(&d, 0, 0x0020, &offset, reason);
        dmar_allows_ats(&d, 0, 0x1000);
        dmar_properties(&d, 0, 0x0010);
        assert_in_range(dmar_host_width(&d), 32, 52);
        unsigned lines = host_log_lines();
        sound = dmar_report(&d);
        assert_in_range(host_log_lines(), lines + !sound, lines + 17);
        assert_false(sound && (gap || d.units_hidden));
    }
    iommu_has_rmrr(copy, length, 0, 0x00a0);
    free(copy);
    return sound;
}

static struct dmar opened(void)
{
    struct dmar d;
    char reason[160];
    assert_true(dmar_open(&d, image, image_size, reason));
    return d;
}

/* Why no unit was found, after unit_base_of gave 0. */
static char why[160];

static uint64_t unit_base_of(uint16_t segment, uint16_t bdf)
{
    struct dmar d = opened();
    struct dmar_structure s = { 0 };
    uint32_t offset;
    why[0] = 0;
    if (!dmar_find_drhd(&d, segment, bdf, &offset, why)) {
        assert_true(why[0]);
        return 0;
    }
    while (dmar_next(&d, &s) && s.offset != offset)
        ;
    return dmar_drhd(&d, &s).base;
}

static void test_unit_of_a_function(void **state)
{
    (void)state;
    server_table();
    assert_int_equal(unit_base_of(0, 0x0020), 0xd0000000); /* named */
    assert_int_equal(unit_base_of(0, 0x0008), 0xd1000000); /* the bridge itself */
    assert_int_equal(unit_base_of(0, 0x1000), 0xd1000000); /* below it: first and last bus */
    assert_int_equal(unit_base_of(0, 0x1fff), 0xd1000000);
    assert_int_equal(unit_base_of(0, 0x0f00), 0xd2000000); /* the bus before, the bus after: INCLUDE_PCI_ALL */
    assert_int_equal(unit_base_of(0, 0x2000), 0xd2000000);
    assert_int_equal(unit_base_of(0, 0x2018), 0xd1000000); /* named by a path through a bridge */
    assert_int_equal(unit_base_of(1, 0x0020), 0);          /* another segment has no unit */
    assert_string_equal(why, "no remapping unit covers it");
}

/* A function that an endpoint scope names is its unit's, also when a bridge scope before it covers it. */
static void test_endpoint_before_bridge(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 8);
    scope(2, 0, 1, 0);
    drhd(0, 0, 0, 0xd1000000, 8);
    scope(1, 0x10, 0, 0);
    end();
    bridge(0x0008, 0x10, 0x1f);
    assert_int_equal(unit_base_of(0, 0x1000), 0xd1000000);
    assert_int_equal(unit_base_of(0, 0x1008), 0xd0000000);
    assert_int_equal(unit_base_of(0, 0x0100), 0);
}

/* An endpoint scope is that function alone, and an I/O APIC's or HPET's is no PCI function. */
static void test_scopes_that_cover_less(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 24);
    scope(1, 0, 1, 0);
    scope(3, 0, 0x1e, 7);
    scope(4, 0, 0x1e, 6);
    drhd(1, 0, 0, 0xd1000000, 0);
    end();
    bridge(0x0008, 0x10, 0x1f);
    assert_int_equal(unit_base_of(0, 0x0008), 0xd0000000);
    assert_int_equal(unit_base_of(0, 0x1000), 0xd1000000);
    assert_int_equal(unit_base_of(0, 0x00f7), 0xd1000000);
    assert_int_equal(unit_base_of(0, 0x00f6), 0xd1000000);
}

static void test_bridge_that_is_not_there(void **state)
{
    (void)state;
    server_table();
    host_function(0, 0x0010)->config[0x0e] = 0; /* no bridge any more */
    host_function(0, 0x0008)->config[0x19] = 0; /* not numbered */
    assert_int_equal(unit_base_of(0, 0x2018), 0xd2000000);
    assert_int_equal(unit_base_of(0, 0x0100), 0xd2000000);
}

/* The bus numbers below a bridge are above its own: one that says otherwise leads nowhere, and in no circle. */
static void test_bridge_that_leads_back(void **state)
{
    (void)state;
    server_table();
    bridge(0x2018, 0x20, 0x20);
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 12);
    put(1, 1), put(12, 1), put(0, 3), put(0x20, 1);
    for (unsigned i = 0; i < 3; i++)
        put(3, 1), put(0, 1);
    end();
    assert_int_equal(unit_base_of(0, 0x2018), 0);
}

/* Two units may have devices of the same number, in their segments. */
static void test_segments(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 1, 0xd0000000, 8);
    scope(1, 0, 4, 0);
    drhd(0, 0, 0x8001, 0xd1000000, 8);
    scope(2, 0, 1, 0);
    drhd(1, 0, 0, 0xd2000000, 0);
    rmrr(0x8001, 0x7b000000, 0x7bffffff, 8);
    scope(1, 0, 4, 0);
    end();
    struct host_function *f = host_function_add(0x8001, 0x0008);
    f->config[0x0e] = 1, f->config[0x19] = 1, f->config[0x1a] = 2;
    assert_int_equal(unit_base_of(0, 0x0020), 0xd2000000);
    assert_int_equal(unit_base_of(1, 0x0020), 0xd0000000);
    assert_int_equal(unit_base_of(1, 0x0100), 0);
    assert_int_equal(unit_base_of(0x8001, 0x0100), 0xd1000000);
    assert_int_equal(unit_base_of(0x8001, 0x0020), 0);
    assert_true(iommu_has_rmrr(image, image_size, 0x8001, 0x0020));
    assert_false(iommu_has_rmrr(image, image_size, 0, 0x0020));
}

/* 2^N pages of registers; the other bits of that byte mean nothing. */
static void test_size_of_registers(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        struct dmar_structure s = { 0 };
        begin(48, 1);
        drhd(1, (uint8_t)(0xf0 | n), 0, 0xd0000000, 0);
        end();
        struct dmar d = opened();
        assert_true(dmar_next(&d, &s));
        assert_int_equal(dmar_drhd(&d, &s).size, 4096ull << n);
    }
}

static void test_rmrr(void **state)
{
    (void)state;
    struct dmar_rmrr r;
    server_table();
    rmrr(0, 0x7d000000, 0x7d000fff, 8);
    scope(2, 0, 1, 0);
    rmrr(0, 0x7c000000, 0x7c001fff, 16);
    scope(1, 0, 0x1d, 0);
    scope(1, 0, 0x14, 0);
    end();
    struct dmar d = opened();
    struct dmar_structure s = { 0 };
    assert_true(dmar_next_rmrr(&d, 0, 0x00a0, &s, &r));
    assert_int_equal(r.base, 0x7b000000);
    assert_int_equal(r.limit, 0x7bffffff);
    assert_true(dmar_next_rmrr(&d, 0, 0x00a0, &s, &r));
    assert_int_equal(r.base, 0x7c000000);
    assert_false(dmar_next_rmrr(&d, 0, 0x00a0, &s, &r));
    assert_true(iommu_has_rmrr(image, image_size, 0, 0x00a0));
    assert_false(iommu_has_rmrr(image, image_size, 0, 0x00a1));
    assert_false(iommu_has_rmrr(image, image_size, 1, 0x00a0));
    assert_true(iommu_has_rmrr(image, image_size, 0, 0x1100)); /* below the bridge */
    assert_false(iommu_has_rmrr(NULL, 0, 0, 0x00a0));
}

static void test_rmrr_that_cannot_be(void **state)
{
    (void)state;
    static const struct { uint64_t base, limit; bool possible; } row[] = {
        { 0x7b000000, 0x7b000fff, true }, { 0x7b000000, 0x7affffff, false }, { 0x7b000800, 0x7b001fff, false },
        { 0x7b000000, 0x7b000ffe, false }, { 0x7b000000, 0, false }, { 0, ~0ull, true },
    };
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        host_log_clear();
        begin(48, 1);
        drhd(1, 0, 0, 0xd0000000, 0);
        rmrr(0, row[i].base, row[i].limit, 8);
        scope(1, 0, 4, 0);
        end();
        assert_int_equal(exercise(image, image_size), row[i].possible);
        assert_int_equal(host_log_has("RMRR at offset 0x40"), !row[i].possible);
        assert_true(iommu_has_rmrr(image, image_size, 0, 0x0020)); /* the device has one, whatever its place */
    }
}

static void flagged(uint16_t type, uint8_t flags, uint16_t segment, uint16_t scopes)
{
    structure(type, 8 + scopes);
    put(flags, 2);
    put(segment, 2);
}

static void test_root_ports_with_ats(void **state)
{
    (void)state;
    server_table();
    flagged(2, 0, 0, 8);
    scope(2, 0, 1, 0);
    flagged(2, 1, 7, 0);        /* ALL_PORTS of segment 7 */
    end();
    struct dmar d = opened();
    assert_true(dmar_allows_ats(&d, 0, 0x1000));
    assert_true(dmar_allows_ats(&d, 0, 0x1fff));
    assert_false(dmar_allows_ats(&d, 0, 0x2018)); /* below another port */
    assert_false(dmar_allows_ats(&d, 0, 0x0020));
    assert_true(dmar_allows_ats(&d, 7, 0x2018));
    assert_false(dmar_allows_ats(&d, 6, 0x2018));
}

static void sidp_scope(uint8_t flags, uint8_t device)
{
    put(1, 1), put(8, 1), put(flags, 1), put(0, 3), put(device, 1), put(0, 1);
}

/* 8.9: where there is an SIDP, no SATC counts. */
static void test_properties_of_devices_in_the_soc(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(1, 0, 0, 0xd0000000, 0);
    flagged(5, 1, 0, 16);
    scope(1, 0, 2, 0);
    scope(1, 0, 5, 0);
    flagged(5, 0, 0, 8);
    scope(1, 0, 6, 0);
    end();
    struct dmar d = opened();
    assert_int_equal(dmar_properties(&d, 0, 0x0010), DMAR_ATC_HARDENED | DMAR_ATC_REQUIRED);
    assert_int_equal(dmar_properties(&d, 0, 0x0028), DMAR_ATC_HARDENED | DMAR_ATC_REQUIRED);
    assert_int_equal(dmar_properties(&d, 0, 0x0030), DMAR_ATC_HARDENED);
    assert_int_equal(dmar_properties(&d, 0, 0x0038), 0);
    assert_int_equal(dmar_properties(&d, 1, 0x0010), 0);

    flagged(6, 0xff, 0, 24);
    sidp_scope(0xff, 2);
    sidp_scope(DMAR_NO_PWSNP, 3);
    sidp_scope(DMAR_NO_PGSNP, 3);
    end();
    d = opened();
    assert_int_equal(dmar_properties(&d, 0, 0x0010), 0x1f);
    assert_int_equal(dmar_properties(&d, 0, 0x0018), DMAR_NO_PWSNP | DMAR_NO_PGSNP);
    assert_int_equal(dmar_properties(&d, 0, 0x0030), 0);
    assert_true(exercise(image, image_size));
}

static void andd(uint8_t id, const char *name, uint16_t size)
{
    structure(4, 8 + size);
    put(0, 3);
    put(id, 1);
    while (size--)
        put(*name ? *name++ : 0, 1);
}

static void test_rhsa_and_andd(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(1, 0, 0, 0xd0000000, 0);
    structure(3, 20);
    put(0, 4);
    put(0xfedcba9876543000, 8);
    put(0x89abcdef, 4);
    andd(7, "\\_SB.I2C0", 12);
    andd(8, "", 1);
    end();
    struct dmar d = opened();
    struct dmar_structure s = { 0 };
    assert_true(dmar_next(&d, &s) && dmar_next(&d, &s));
    assert_int_equal(dmar_rhsa(&d, &s).base, 0xfedcba9876543000);
    assert_int_equal(dmar_rhsa(&d, &s).proximity_domain, 0x89abcdef);
    assert_true(dmar_next(&d, &s));
    assert_int_equal(dmar_andd(&d, &s).id, 7);
    assert_string_equal(dmar_andd(&d, &s).name, "\\_SB.I2C0");
    assert_true(exercise(image, image_size));

    andd(9, "\\_SB.I2C1", 9); /* no byte for the NUL */
    drhd(1, 0, 1, 0xd1000000, 0);
    end();
    assert_false(exercise(image, image_size));
    assert_true(host_log_has("ANDD at offset 0x71: its name has no end"));
    assert_int_equal(unit_base_of(1, 0), 0xd1000000);
}

/* HPETs and namespace devices have their source-id in the scope itself. */
static void test_functions_of_scopes(void **state)
{
    (void)state;
    static const uint16_t expected[] = { 0x0020, 0x0008, 0x2018, 0xf0ff };
    server_table();
    struct dmar d = opened();
    unsigned n = 0;
    uint16_t bdf;
    drhd(0, 0, 0, 0xd3000000, 8);
    put(4, 1), put(8, 1), put(0, 2), put(1, 1), put(0xf0, 1), put(31, 1), put(7, 1);
    end();
    d = opened();
    for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); )
        for (struct dmar_scope c = { 0 }; s.type == DMAR_DRHD && dmar_next_scope(&d, &s, &c); )
            if (c.type != DMAR_IOAPIC) {
                assert_true(dmar_scope_function(&c, 0, &bdf));
                assert_int_equal(bdf, expected[n++]);
            }
    assert_int_equal(n, 4);
}

static void test_sound_table_says_nothing(void **state)
{
    (void)state;
    server_table();
    assert_true(exercise(image, image_size));
    assert_int_equal(host_log_lines(), 0);
    struct dmar d = opened();
    assert_true(dmar_interrupt_remapping(&d));
    image[37] = 0xfe;
    assert_false(dmar_interrupt_remapping(&d));
}

static void refused(const uint8_t *bytes, uint32_t length, const char *text)
{
    struct dmar d;
    char reason[160] = "";
    assert_false(dmar_open(&d, bytes, length, reason));
    if (!strstr(reason, text))
        fail_msg("\"%s\" does not say \"%s\"", reason, text);
}

static void test_header(void **state)
{
    (void)state;
    refused(NULL, 0, "no DMAR table");
    server_table();
    refused(image, 47, "47 bytes");
    image[0] = 'X';
    refused(image, image_size, "signature");
    image[0] = 'D', image[3] = 'X';
    refused(image, image_size, "signature");
    image[3] = 'R';
    image[4] = 47, image[5] = 0;
    refused(image, image_size, "says it has 47 bytes");
    image[4] = 1, image[6] = 4;
    refused(image, image_size, "says it has 262145 bytes");
    image[6] = 0;
    image[36] = 255;
    end();
    exercise(image, image_size);
    assert_true(host_log_has("256-bit addresses are impossible"));
    image[36] = 51;
    image[6] = 1; /* 64 KiB more than there are */
    assert_false(exercise(image, image_size));
    assert_true(host_log_has("can be read"));
    assert_int_equal(unit_base_of(0, 0x0020), 0xd0000000);
    assert_int_equal(unit_base_of(0, 0x0f00), 0); /* there may be more units */
}

/* A length of 0 to 3 leads nowhere: said, and the rest is ignored. */
static void test_zero_length(void **state)
{
    (void)state;
    for (uint16_t length = 0; length < 4; length++) {
        host_log_clear();
        begin(48, 1);
        structure(5, length);
        drhd(1, 0, 0, 0xd0000000, 0);
        end();
        exercise(image, image_size);
        assert_true(host_log_has("SATC at offset 0x30 has an impossible length"));
        assert_int_equal(host_log_lines(), 1);
        assert_int_equal(unit_base_of(0, 0), 0);
        assert_non_null(strstr(why, "damaged"));
    }
}

static void test_unknown_type_is_skipped(void **state)
{
    (void)state;
    begin(48, 1);
    structure(77, 12);
    put(0, 8);
    drhd(1, 0, 0, 0xd0000000, 0);
    end();
    assert_true(exercise(image, image_size));
    assert_true(host_log_has("structure of unknown type 77 at offset 0x30 skipped"));
    assert_int_equal(unit_base_of(0, 0), 0xd0000000);
}

/* Each type with one byte less than it needs.  A short DRHD is a unit that nidus cannot find; the others hide none. */
static void test_short_structure_is_skipped(void **state)
{
    (void)state;
    static const struct { const char *name; uint16_t fixed; } row[] = {
        { "DRHD", 16 }, { "RMRR", 24 }, { "ATSR", 8 }, { "RHSA", 20 }, { "ANDD", 9 }, { "SATC", 8 }, { "SIDP", 8 },
    };
    for (uint16_t type = 0; type < 7; type++) {
        char line[80];
        host_log_clear();
        begin(48, 1);
        structure(type, row[type].fixed - 1);
        for (unsigned i = 4; i < row[type].fixed - 1u; i++)
            put(0, 1);
        drhd(1, 0, 0, 0xd0000000, 0);
        end();
        assert_false(exercise(image, image_size));
        snprintf(line, sizeof line, "%s at offset 0x30 has %u bytes, it needs %u: skipped", row[type].name, row[type].fixed - 1, row[type].fixed);
        assert_true(host_log_has(line));
        assert_int_equal(host_log_lines(), 1);
        assert_int_equal(unit_base_of(0, 0), type == 0 ? 0 : 0xd0000000);
    }
}

/* The scopes that are lost may name any device, so only one that is named elsewhere has its unit for sure. */
static void test_damaged_scopes(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 32);
    scope(9, 0, 4, 0);      /* unknown */
    scope(1, 0, 4, 0);
    put(0, 8);              /* length 0 */
    scope(1, 0, 5, 0);      /* lost */
    drhd(0, 0, 0, 0xd1000000, 8);
    scope(2, 0, 1, 0);
    drhd(1, 0, 0, 0xd2000000, 0);
    end();
    bridge(0x0008, 0x10, 0x1f);
    assert_false(exercise(image, image_size));
    assert_true(host_log_has("DRHD at offset 0x30: the device scope at 0x40 (type 9, length 8) has an unknown type"));
    assert_true(host_log_has("DRHD at offset 0x30: the device scope at 0x50 (type 0, length 0) does not fit"));
    assert_int_equal(unit_base_of(0, 0x0020), 0xd0000000);
    assert_int_equal(unit_base_of(0, 0x0028), 0);
    assert_non_null(strstr(why, "damaged"));
    assert_int_equal(unit_base_of(0, 0x1000), 0);
}

/* A scope of a type that came after nidus names no device of the types before. */
static void test_unknown_scope_hides_nothing(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 7);
    put(6, 1), put(7, 1), put(0, 5);
    drhd(1, 0, 0, 0xd2000000, 0);
    end();
    assert_true(exercise(image, image_size));
    assert_int_equal(unit_base_of(0, 0x0028), 0xd2000000);
}

/* Damage elsewhere than in a DRHD leaves each device its unit. */
static void test_damaged_scope_of_an_rmrr(void **state)
{
    (void)state;
    server_table();
    rmrr(0, 0x7c000000, 0x7c001fff, 16);
    scope(1, 0, 0x1d, 0);
    put(0, 8);
    end();
    assert_false(exercise(image, image_size));
    assert_true(host_log_has("RMRR at offset"));
    assert_int_equal(unit_base_of(0, 0x0f00), 0xd2000000);
    assert_true(iommu_has_rmrr(image, image_size, 0, 0x00e8));
}

static void test_impossible_path(void **state)
{
    (void)state;
    static const uint8_t row[][2] = { { 36, 0 }, { 32, 0 }, { 4, 8 } }; /* device 36 is not device 4 of the next bus */
    for (unsigned i = 0; i < 3; i++) {
        host_log_clear();
        begin(48, 1);
        drhd(0, 0, 0, 0xd0000000, 16);
        scope(1, 0, row[i][0], row[i][1]);
        scope(1, 0, 6, 0);
        drhd(1, 0, 0, 0xd2000000, 0);
        end();
        assert_false(exercise(image, image_size));
        assert_true(host_log_has("the device scope at 0x40 (type 1, length 8) has an impossible path"));
        assert_int_equal(unit_base_of(0, 0x0120), 0);
        assert_int_equal(unit_base_of(0, 0x0020), 0);
        assert_int_equal(unit_base_of(0, 0x0028), 0);
        assert_int_equal(unit_base_of(0, 0x0030), 0xd0000000); /* the scope after it */
    }
}

/* A path has whole pairs, and one at least. */
static void test_length_of_a_path(void **state)
{
    (void)state;
    for (uint8_t length = 6; length <= 9; length++) {
        begin(48, 1);
        drhd(0, 0, 0, 0xd0000000, length);
        put(1, 1), put(length, 1), put(0, length - 2u);
        end();
        assert_int_equal(exercise(image, image_size), length == 8);
        assert_int_equal(unit_base_of(0, 0), length == 8 ? 0xd0000000 : 0);
    }
}

/* However much is wrong, it is few lines. */
static void test_log_is_bounded(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 8000);
    for (unsigned i = 0; i < 1000; i++)
        scope(1, 0, 99, 0);
    end();
    struct dmar d = opened();
    assert_false(dmar_report(&d));
    assert_int_equal(host_log_lines(), 17);
    assert_true(host_log_has("984 more such things"));
}

/* Every way of cutting it short, and every value of every byte, zeroed tails included. */
static void test_every_cut_and_every_byte(void **state)
{
    (void)state;
    server_table();
    static uint8_t sound[sizeof image];
    uint32_t size = image_size;
    memcpy(sound, image, size);
    for (uint32_t length = 0; length < size; length++) {
        exercise(sound, length);
        memset(image + length, 0, size - length);
        exercise(image, size);
        memcpy(image, sound, size);
    }
    for (uint32_t at = 0; at < size; at++) {
        for (unsigned value = 0; value < 256; value++) {
            image[at] = (uint8_t)value;
            exercise(image, size);
        }
        image[at] = sound[at];
    }
}

#define REAL_TABLES "../shared/data/dmar"

static bool boundary[sizeof image + 1]; /* a structure of the sound table ends here, or its first begins */

/* Puts value in place of the length field at that offset, for one exercise. */
static bool exercise_length(uint32_t at, unsigned bytes, uint32_t value)
{
    uint8_t was[4];
    memcpy(was, image + at, bytes);
    memcpy(image + at, &value, bytes);
    bool sound = exercise(image, image_size);
    memcpy(image + at, was, bytes);
    return sound;
}

static void break_header_length(void)
{
    for (uint32_t value = 0; value <= image_size + 300; value++)
        if (value != image_size)
            assert_int_equal(exercise_length(4, 4, value), value < image_size && boundary[value]);
    assert_false(exercise_length(4, 4, 0x7fffffff));
    assert_false(exercise_length(4, 4, 0xffffffff));
}

static void break_structures(const struct dmar *d)
{
    for (struct dmar_structure s = { 0 }; dmar_next(d, &s); ) {
        for (uint32_t value = 0; value <= image_size + 8; value++)
            exercise_length(s.offset + 2, 2, value);
        exercise_length(s.offset + 2, 2, 0x7fff);
        assert_false(exercise_length(s.offset + 2, 2, 0xffff));
        assert_false(exercise_length(s.offset + 2, 2, 0));
        for (struct dmar_scope c = { 0 }; dmar_next_scope(d, &s, &c); )
            for (uint32_t value = 0; value < 256; value++)
                assert_false(exercise_length(c.offset + 1, 1, value) && value < 8);
    }
}

/* The bytes from each offset on are gone, are gone and the header says so, are zero.  last: where the last structure begins. */
static void cut_everywhere(uint32_t last)
{
    static uint8_t sound[sizeof image];
    uint32_t size = image_size;
    memcpy(sound, image, size);
    for (uint32_t length = 0; length < size; length++) {
        assert_false(exercise(sound, length));
        memset(image + length, 0, size - length);
        assert_false(exercise(image, size) && length <= last + 2); /* of type 0 and length 0; further on zeros mean something */
        memcpy(image, sound, size);
        if (length >= 48) {
            memcpy(image + 4, &length, 4);
            assert_int_equal(exercise(image, length), boundary[length]);
            memcpy(image, sound, size);
        }
    }
}

/* Tables of real machines: nothing in them is damaged, each names a unit, and broken in every way they harm nobody. */
static void test_real_tables(void **state)
{
    (void)state;
    DIR *directory = opendir(REAL_TABLES);
    unsigned tables = 0;
    if (!directory) {
        print_message("SKIP: no tables of real machines in " REAL_TABLES "\n");
        skip();
    }
    for (struct dirent *e; (e = readdir(directory)); ) {
        char path[512];
        if (!strstr(e->d_name, ".dmar"))
            continue;
        snprintf(path, sizeof path, REAL_TABLES "/%s", e->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        image_size = (uint32_t)fread(image, 1, sizeof image - 1, file);
        fclose(file);

        unsigned units = 0;
        uint32_t last = 0;
        struct dmar d = opened();
        memset(boundary, 0, sizeof boundary);
        boundary[48] = true;
        host_log_clear();
        for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); boundary[s.offset + s.length] = true) {
            units += s.type == DMAR_DRHD; /* one of them has its unit at address 0 */
            last = s.offset;
        }
        if (!exercise(image, image_size) || !units || host_log_lines())
            fail_msg("%s: %u units, %u complaints", e->d_name, units, host_log_lines());
        break_header_length();
        break_structures(&d);
        cut_everywhere(last);
        for (uint32_t at = 48; at < image_size; at++)
            exercise_length(at, 1, image[at] ^ 0xffu);
        tables++;
    }
    closedir(directory);
    print_message("%u tables of real machines\n", tables);
    assert_int_not_equal(tables, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unit_of_a_function, setup),
        cmocka_unit_test_setup(test_endpoint_before_bridge, setup),
        cmocka_unit_test_setup(test_scopes_that_cover_less, setup),
        cmocka_unit_test_setup(test_bridge_that_is_not_there, setup),
        cmocka_unit_test_setup(test_bridge_that_leads_back, setup),
        cmocka_unit_test_setup(test_segments, setup),
        cmocka_unit_test_setup(test_size_of_registers, setup),
        cmocka_unit_test_setup(test_rmrr, setup),
        cmocka_unit_test_setup(test_rmrr_that_cannot_be, setup),
        cmocka_unit_test_setup(test_root_ports_with_ats, setup),
        cmocka_unit_test_setup(test_properties_of_devices_in_the_soc, setup),
        cmocka_unit_test_setup(test_rhsa_and_andd, setup),
        cmocka_unit_test_setup(test_functions_of_scopes, setup),
        cmocka_unit_test_setup(test_sound_table_says_nothing, setup),
        cmocka_unit_test_setup(test_header, setup),
        cmocka_unit_test_setup(test_zero_length, setup),
        cmocka_unit_test_setup(test_unknown_type_is_skipped, setup),
        cmocka_unit_test_setup(test_short_structure_is_skipped, setup),
        cmocka_unit_test_setup(test_damaged_scopes, setup),
        cmocka_unit_test_setup(test_unknown_scope_hides_nothing, setup),
        cmocka_unit_test_setup(test_damaged_scope_of_an_rmrr, setup),
        cmocka_unit_test_setup(test_impossible_path, setup),
        cmocka_unit_test_setup(test_length_of_a_path, setup),
        cmocka_unit_test_setup(test_log_is_bounded, setup),
        cmocka_unit_test_setup(test_every_cut_and_every_byte, setup),
        cmocka_unit_test_setup(test_real_tables, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
