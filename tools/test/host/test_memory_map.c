/* SPDX-License-Identifier: BSD-2-Clause */
/* Firmware's memory map becomes boot_info's: sorted, merged, without overlap, whatever firmware says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/memory_map.h"

#define PAGE 4096ull
enum { RESERVED = 0, LOADER_DATA = 2, BOOT_DATA = 4, RUNTIME_CODE = 5, CONVENTIONAL = 7, UNUSABLE = 8, ACPI = 9,
       NVS = 10, MMIO = 11, FUTURE = 4711 };

struct long_entry {             /* firmware may make its entries longer */
    struct efi_memory m;
    uint64_t more;
};

static struct boot_info boot;
static struct long_entry map[1200];
static unsigned entries;

static void begin(void)
{
    entries = 0;
}

static void add(uint32_t type, uint64_t base, uint64_t pages)
{
    map[entries++] = (struct long_entry){
        { .type = type, .base = base, .pages = pages, .attribute = 0xf }, 0xdeadbeefdeadbeef,
    };
}

static bool build(void)
{
    return memory_map_build(&boot, map, entries * sizeof(map[0]), sizeof(map[0]));
}

static void check_piece(unsigned i, uint64_t base, uint64_t pages, enum boot_mem_type type)
{
    assert_true(i < boot.memory_count);
    assert_int_equal(boot.memory[i].base, base);
    assert_int_equal(boot.memory[i].size, pages * PAGE);
    assert_int_equal(boot.memory[i].type, type);
}

static void neighbours_of_one_kind_are_one_piece(void **state)
{
    (void)state;
    begin();
    add(CONVENTIONAL, 0x200000, 16);
    add(BOOT_DATA, 0x1f0000, 16);
    add(LOADER_DATA, 0x210000, 16);
    add(CONVENTIONAL, 0x230000, 1);
    assert_true(build());
    assert_int_equal(boot.memory_count, 2);
    check_piece(0, 0x1f0000, 48, BOOT_MEM_FREE);
    check_piece(1, 0x230000, 1, BOOT_MEM_FREE);
    assert_int_equal(memory_map_free(&boot), 49 * PAGE);
}

static void every_type_has_its_meaning(void **state)
{
    static const struct { uint32_t efi; enum boot_mem_type type; } types[] = {
        { RESERVED, BOOT_MEM_RESERVED }, { 1, BOOT_MEM_FREE }, { RUNTIME_CODE, BOOT_MEM_RUNTIME },
        { 3, BOOT_MEM_FREE }, { 6, BOOT_MEM_RUNTIME }, { CONVENTIONAL, BOOT_MEM_FREE }, { UNUSABLE, BOOT_MEM_RESERVED },
        { LOADER_DATA, BOOT_MEM_FREE }, { ACPI, BOOT_MEM_ACPI }, { BOOT_DATA, BOOT_MEM_FREE }, { NVS, BOOT_MEM_ACPI },
        { MMIO, BOOT_MEM_MMIO }, { 12, BOOT_MEM_MMIO }, { 13, BOOT_MEM_RESERVED }, { 14, BOOT_MEM_RESERVED },
        { FUTURE, BOOT_MEM_RESERVED }, { 0x80000001, BOOT_MEM_RESERVED },
    };
    unsigned count = sizeof(types) / sizeof(types[0]);

    (void)state;
    begin();
    for (unsigned i = 0; i < count; i++)
        add(types[i].efi, i * 0x10000, 1);
    assert_true(build());
    assert_int_equal(boot.memory_count, count);
    for (unsigned i = 0; i < count; i++)
        check_piece(i, i * 0x10000, 1, types[i].type);
}

static void memory_without_write_back_is_not_free(void **state)
{
    (void)state;
    begin();
    add(CONVENTIONAL, 0x100000, 1);
    map[0].m.attribute = 1;
    assert_true(build());
    check_piece(0, 0x100000, 1, BOOT_MEM_RESERVED);
}

static void nidus_pages_are_cut_out(void **state)
{
    (void)state;
    begin();
    add(CONVENTIONAL, 0x100000, 16);
    assert_true(build());
    assert_true(memory_map_put(&boot, 0x104000, 2 * PAGE, BOOT_MEM_NIDUS));
    assert_true(memory_map_put(&boot, 0x106000, PAGE, BOOT_MEM_NIDUS));
    assert_true(memory_map_put(&boot, 0x100000, PAGE, BOOT_MEM_NIDUS));
    assert_int_equal(boot.memory_count, 4);
    check_piece(0, 0x100000, 1, BOOT_MEM_NIDUS);
    check_piece(1, 0x101000, 3, BOOT_MEM_FREE);
    check_piece(2, 0x104000, 3, BOOT_MEM_NIDUS);
    check_piece(3, 0x107000, 9, BOOT_MEM_FREE);
    assert_int_equal(memory_map_free(&boot), 12 * PAGE);
}

static void where_descriptors_overlap_the_restriction_wins(void **state)
{
    (void)state;
    begin();
    add(RUNTIME_CODE, 0x104000, 2);
    add(RESERVED, 0x103000, 2);
    add(CONVENTIONAL, 0x100000, 16);
    assert_true(build());
    assert_int_equal(boot.memory_count, 4);
    check_piece(0, 0x100000, 3, BOOT_MEM_FREE);
    check_piece(1, 0x103000, 1, BOOT_MEM_RESERVED);
    check_piece(2, 0x104000, 2, BOOT_MEM_RUNTIME);
    check_piece(3, 0x106000, 10, BOOT_MEM_FREE);
}

static void damaged_descriptors(void **state)
{
    (void)state;
    begin();
    add(CONVENTIONAL, 0x100000, 0);
    add(CONVENTIONAL, 0x200800, 1);
    add(RESERVED, 0xfffffffffffff000, 1);
    add(RESERVED, 0xffffffffffffe000, UINT64_MAX);
    assert_true(build());
    assert_int_equal(boot.memory_count, 2);
    check_piece(0, 0x200000, 1, BOOT_MEM_FREE);
    check_piece(1, 0xffffffffffffe000, 1, BOOT_MEM_RESERVED);
    begin();
    add(RESERVED, 0, UINT64_MAX);
    assert_true(build());
    check_piece(0, 0, UINT64_MAX / PAGE, BOOT_MEM_RESERVED);
    /* entries too short to be any, and a list that ends inside one */
    assert_false(memory_map_build(&boot, map, sizeof(map[0]), 39));
    assert_false(memory_map_build(&boot, map, sizeof(map[0]), 0));
    assert_true(memory_map_build(&boot, map, 39, sizeof(map[0])));
    assert_int_equal(boot.memory_count, 0);
}

static void at_most_512_pieces(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < BOOT_MAX_MEMORY; i++)
        add(i % 2 == 0 ? CONVENTIONAL : RESERVED, (BOOT_MAX_MEMORY - i) * PAGE, 1);
    assert_true(build());
    assert_int_equal(boot.memory_count, BOOT_MAX_MEMORY);
    assert_true(memory_map_put(&boot, PAGE, BOOT_MAX_MEMORY * PAGE, BOOT_MEM_NIDUS));
    assert_int_equal(boot.memory_count, 1);
    add(CONVENTIONAL, 0x10000000, 1);
    assert_false(build());
}

/* Against a model of one byte for each page. */
static void random_maps(void **state)
{
    static const uint8_t rank[] = { [BOOT_MEM_FREE] = 1, [BOOT_MEM_MMIO] = 2, [BOOT_MEM_RESERVED] = 3,
                                    [BOOT_MEM_ACPI] = 4, [BOOT_MEM_RUNTIME] = 5 };
    static const struct { uint32_t efi; uint8_t type; } kinds[] = {
        { CONVENTIONAL, BOOT_MEM_FREE }, { BOOT_DATA, BOOT_MEM_FREE }, { RESERVED, BOOT_MEM_RESERVED },
        { RUNTIME_CODE, BOOT_MEM_RUNTIME }, { ACPI, BOOT_MEM_ACPI }, { MMIO, BOOT_MEM_MMIO },
    };
    uint64_t random = 1;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t page[256] = { 0 };
        uint64_t end = 0;

        begin();
        for (unsigned i = 0; i < 1 + round % 40; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;

            unsigned kind = (random >> 60) % 6, base = (random >> 33) % 200, pages = (random >> 45) % 56;

            add(kinds[kind].efi, base * PAGE, pages);
            for (unsigned p = base; p < base + pages; p++)
                if (rank[kinds[kind].type] > rank[page[p]])
                    page[p] = kinds[kind].type;
        }
        assert_true(build());
        for (unsigned i = 0; i < boot.memory_count; i++) {
            const struct boot_mem *m = &boot.memory[i];

            assert_true(m->base >= end && m->size > 0);
            assert_true(i == 0 || m->base > end || m->type != boot.memory[i - 1].type);
            for (uint64_t p = end / PAGE; p < m->base / PAGE; p++)
                assert_int_equal(page[p], 0);
            end = m->base + m->size;
            for (uint64_t p = m->base / PAGE; p < end / PAGE; p++)
                assert_int_equal(page[p], m->type);
        }
        for (uint64_t p = end / PAGE; p < 256; p++)
            assert_int_equal(page[p], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_of_one_kind_are_one_piece),
        cmocka_unit_test(every_type_has_its_meaning),
        cmocka_unit_test(memory_without_write_back_is_not_free),
        cmocka_unit_test(nidus_pages_are_cut_out),
        cmocka_unit_test(where_descriptors_overlap_the_restriction_wins),
        cmocka_unit_test(damaged_descriptors),
        cmocka_unit_test(at_most_512_pieces),
        cmocka_unit_test(random_maps),
    };
    return cmocka_run_group_tests_name("memory_map", tests, NULL, NULL);
}
