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
    f->config[0x0e] = 1;
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

/* Everything that a caller may do with a table, on a copy that ends where the allocation ends. */
static void exercise(const uint8_t *bytes, uint32_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    struct dmar d;
    struct dmar_rmrr r;
    char reason[160];
    uint32_t offset;
    memcpy(copy, bytes, length);
    if (dmar_open(&d, copy, length, reason)) {
        dmar_report(&d);
        for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); ) {
            assert_in_range(s.offset, 48, d.length - s.length);
            if (s.type == DMAR_DRHD)
                dmar_drhd(&d, &s);
            if (s.type == DMAR_RMRR)
                dmar_rmrr(&d, &s);
        }
        dmar_find_drhd(&d, 0, 0x0020, &offset);
        dmar_find_rmrr(&d, 0, 0x1100, &r);
        assert_in_range(dmar_host_width(&d), 32, 52);
    }
    iommu_has_rmrr(copy, length, 0, 0x00a0);
    free(copy);
}

static uint64_t unit_base_of(uint16_t segment, uint16_t bdf)
{
    struct dmar d;
    char reason[160];
    struct dmar_structure s = { 0 };
    uint32_t offset;
    assert_true(dmar_open(&d, image, image_size, reason));
    if (!dmar_find_drhd(&d, segment, bdf, &offset))
        return 0;
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

static void test_bridge_that_is_not_there(void **state)
{
    (void)state;
    server_table();
    host_function(0, 0x0010)->config[0x0e] = 0; /* no bridge any more */
    host_function(0, 0x0008)->config[0x19] = 0; /* not numbered */
    assert_int_equal(unit_base_of(0, 0x2018), 0xd2000000);
    assert_int_equal(unit_base_of(0, 0x0100), 0xd2000000);
}

static void test_rmrr(void **state)
{
    (void)state;
    struct dmar d;
    struct dmar_rmrr r;
    char reason[160];
    server_table();
    assert_true(dmar_open(&d, image, image_size, reason));
    assert_true(dmar_find_rmrr(&d, 0, 0x00a0, &r));
    assert_int_equal(r.base, 0x7b000000);
    assert_int_equal(r.limit, 0x7bffffff);
    assert_true(iommu_has_rmrr(image, image_size, 0, 0x00a0));
    assert_false(iommu_has_rmrr(image, image_size, 0, 0x00a1));
    assert_false(iommu_has_rmrr(image, image_size, 1, 0x00a0));
    assert_false(iommu_has_rmrr(NULL, 0, 0, 0x00a0));
}

static void test_sound_table_says_nothing(void **state)
{
    (void)state;
    server_table();
    exercise(image, image_size);
    assert_int_equal(host_log_lines(), 0);
}

static void refused(const uint8_t *bytes, uint32_t length, const char *why)
{
    struct dmar d;
    char reason[160] = "";
    assert_false(dmar_open(&d, bytes, length, reason));
    if (!strstr(reason, why))
        fail_msg("\"%s\" does not say \"%s\"", reason, why);
}

static void test_header(void **state)
{
    (void)state;
    refused(NULL, 0, "no DMAR table");
    server_table();
    refused(image, 47, "47 bytes");
    image[0] = 'X';
    refused(image, image_size, "signature");
    image[0] = 'D';
    image[4] = 47, image[5] = 0;
    refused(image, image_size, "says it has 47 bytes");
    image[36] = 255;
    end();
    exercise(image, image_size);
    assert_true(host_log_has("256-bit addresses are impossible"));
    image[36] = 51;
    image[6] = 1; /* 64 KiB more than there are */
    exercise(image, image_size);
    assert_true(host_log_has("can be read"));
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
        assert_true(host_log_has("offset 0x30"));
        assert_true(host_log_has("impossible length"));
        assert_int_equal(host_log_lines(), 1);
        assert_int_equal(unit_base_of(0, 0), 0);
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
    exercise(image, image_size);
    assert_true(host_log_has("unknown type 77 at offset 0x30 skipped"));
    assert_int_equal(unit_base_of(0, 0), 0xd0000000);
}

static void test_short_structure_is_skipped(void **state)
{
    (void)state;
    begin(48, 1);
    structure(0, 8);
    put(0, 4);
    drhd(1, 0, 0, 0xd0000000, 0);
    end();
    exercise(image, image_size);
    assert_true(host_log_has("DRHD at offset 0x30 has 8 bytes, it needs 16: skipped"));
    assert_int_equal(unit_base_of(0, 0), 0xd0000000);
}

static void test_damaged_scopes(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 32);
    scope(9, 0, 4, 0);      /* unknown */
    scope(1, 0, 4, 0);
    put(0, 8);              /* length 0 */
    scope(1, 0, 5, 0);      /* lost */
    drhd(1, 0, 0, 0xd2000000, 0);
    end();
    exercise(image, image_size);
    assert_true(host_log_has("device scope at 0x40 has unknown type 9"));
    assert_true(host_log_has("device scope at 0x50 does not fit"));
    assert_int_equal(unit_base_of(0, 0x0020), 0xd0000000);
    assert_int_equal(unit_base_of(0, 0x0028), 0xd2000000);
}

static void test_impossible_path(void **state)
{
    (void)state;
    begin(48, 1);
    drhd(0, 0, 0, 0xd0000000, 8);
    scope(1, 0, 36, 0);     /* device 36 is not device 4 of the next bus */
    end();
    assert_int_equal(unit_base_of(0, 0x0120), 0);
    assert_int_equal(unit_base_of(0, 0x0020), 0);
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

/* Tables of real machines: nothing in them is damaged, each names a unit, and cut or with a byte changed they harm nobody. */
static void test_real_tables(void **state)
{
    (void)state;
    DIR *directory = opendir(REAL_TABLES);
    unsigned tables = 0;
    if (!directory) {
        print_message("no tables of real machines in " REAL_TABLES ": skipped\n");
        skip();
    }
    for (struct dirent *e; (e = readdir(directory)); ) {
        char path[512], reason[160];
        if (!strstr(e->d_name, ".dmar"))
            continue;
        snprintf(path, sizeof path, REAL_TABLES "/%s", e->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        image_size = (uint32_t)fread(image, 1, sizeof image, file);
        fclose(file);

        struct dmar d;
        unsigned units = 0;
        host_log_clear();
        assert_true(dmar_open(&d, image, image_size, reason));
        for (struct dmar_structure s = { 0 }; dmar_next(&d, &s); )
            units += s.type == DMAR_DRHD; /* one of them has its unit at address 0 */
        dmar_report(&d);
        if (!units || host_log_lines())
            fail_msg("%s: %u units, %u complaints", e->d_name, units, host_log_lines());
        exercise(image, image_size);
        for (uint32_t length = 0; length < image_size; length += 7)
            exercise(image, length);
        for (uint32_t at = 48; at < image_size; at++) {
            uint8_t was = image[at];
            image[at] ^= 0xff;
            exercise(image, image_size);
            image[at] = was;
        }
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
        cmocka_unit_test_setup(test_bridge_that_is_not_there, setup),
        cmocka_unit_test_setup(test_rmrr, setup),
        cmocka_unit_test_setup(test_sound_table_says_nothing, setup),
        cmocka_unit_test_setup(test_header, setup),
        cmocka_unit_test_setup(test_zero_length, setup),
        cmocka_unit_test_setup(test_unknown_type_is_skipped, setup),
        cmocka_unit_test_setup(test_short_structure_is_skipped, setup),
        cmocka_unit_test_setup(test_damaged_scopes, setup),
        cmocka_unit_test_setup(test_impossible_path, setup),
        cmocka_unit_test_setup(test_every_cut_and_every_byte, setup),
        cmocka_unit_test_setup(test_real_tables, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
