/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's image: a good one gives its segments, every broken one its reason and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>

#include "boot/image.h"

#define PHYS   0x12345000u
#define MEMORY (4u << 20)

static struct {
    Elf64_Ehdr header;
    Elf64_Phdr segment[70];
    uint8_t bytes[0x1000];
} elf;
static struct boot_guest guest;
static char reason[TEXT_MAX];

static void segment(unsigned n, uint64_t gpa, uint64_t filesz, uint64_t memsz)
{
    elf.segment[n] = (Elf64_Phdr){
        .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = offsetof(typeof(elf), bytes),
        .p_vaddr = gpa, .p_paddr = gpa, .p_filesz = filesz, .p_memsz = memsz, .p_align = 4096,
    };
    if (elf.header.e_phnum <= n)
        elf.header.e_phnum = (uint16_t)(n + 1);
}

/* A good image of two segments. */
static int good_elf(void **state)
{
    (void)state;
    memset(&elf, 0, sizeof(elf));
    elf.header = (Elf64_Ehdr){
        .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = 0x100010,
        .e_phoff = offsetof(typeof(elf), segment), .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr),
    };
    memcpy(elf.header.e_ident, ELFMAG, SELFMAG);
    elf.header.e_ident[EI_CLASS] = ELFCLASS64;
    elf.header.e_ident[EI_DATA] = ELFDATA2LSB;
    elf.header.e_ident[EI_VERSION] = EV_CURRENT;
    segment(0, 0x100000, 0x1000, 0x1000);
    segment(1, 0x200000, 0x10, 0x2000);
    elf.segment[1].p_flags = PF_R | PF_W;
    guest = (struct boot_guest){ .name = "g", .memory = MEMORY, .entry = 77, .segment_count = 7 };
    return 0;
}

/* In a block of exactly its size, so that the sanitizer sees a read behind the end. */
static bool check_bytes(const void *file, size_t size)
{
    void *block = malloc(size != 0 ? size : 1);
    bool ok;

    assert_non_null(block);
    memcpy(block, file, size);
    reason[0] = '\0';
    ok = image_check(block, size, PHYS, &guest, reason);
    free(block);
    return ok;
}

static void refuse_size(size_t size, const char *wanted)
{
    struct boot_guest before = guest;

    assert_false(check_bytes(&elf, size));
    if (strstr(reason, wanted) == NULL)
        fail_msg("'%s' instead of '...%s...'", reason, wanted);
    assert_memory_equal(&before, &guest, sizeof(guest));
}

static void refuse(const char *wanted)
{
    refuse_size(sizeof(elf), wanted);
}

static void accept(void)
{
    if (!check_bytes(&elf, sizeof(elf)))
        fail_msg("refused: %s", reason);
}

static void good_image_gives_its_segments(void **state)
{
    (void)state;
    accept();
    assert_int_equal(guest.entry, 0x100010);
    assert_int_equal(guest.segment_count, 2);
    assert_int_equal(guest.segment[0].src, PHYS + offsetof(typeof(elf), bytes));
    assert_int_equal(guest.segment[0].gpa, 0x100000);
    assert_int_equal(guest.segment[0].file_size, 0x1000);
    assert_int_equal(guest.segment[0].mem_size, 0x1000);
    assert_int_equal(guest.segment[1].gpa, 0x200000);
    assert_int_equal(guest.segment[1].file_size, 0x10);
    assert_int_equal(guest.segment[1].mem_size, 0x2000);
}

static void no_elf(void **state)
{
    (void)state;
    refuse_size(0, "no ELF");
    refuse_size(3, "no ELF");
    refuse_size(4, "cut off inside the ELF header");
    refuse_size(63, "cut off inside the ELF header");
    elf.header.e_ident[0] = 'M';
    refuse("no ELF");
}

static void another_kind_of_elf(void **state)
{
    (void)state;
    elf.header.e_ident[EI_CLASS] = ELFCLASS32;
    refuse("not for x86-64");
    good_elf(NULL);
    elf.header.e_ident[EI_DATA] = ELFDATA2MSB;
    refuse("not for x86-64");
    good_elf(NULL);
    elf.header.e_machine = EM_AARCH64;
    refuse("not for x86-64");
    good_elf(NULL);
    elf.header.e_ident[EI_VERSION] = 2;
    refuse("unknown ELF version");
    good_elf(NULL);
    elf.header.e_type = ET_DYN;
    refuse("position independent");
    elf.header.e_type = ET_REL;
    refuse("no executable");
    good_elf(NULL);
    elf.segment[1].p_type = PT_INTERP;
    refuse("dynamically linked");
}

static void program_headers(void **state)
{
    (void)state;
    elf.header.e_phentsize = 32;
    refuse("program headers of 32 bytes");
    good_elf(NULL);
    elf.header.e_phnum = 0;
    refuse("0 program headers");
    elf.header.e_phnum = 65;
    refuse("65 program headers");
    elf.header.e_phnum = 0xffff;
    refuse("65535 program headers");
    good_elf(NULL);
    elf.header.e_phoff = sizeof(elf) - 111;
    refuse("headers lie outside the file");
    elf.header.e_phoff = UINT64_MAX - 10;
    refuse("headers lie outside the file");
    good_elf(NULL);
    refuse_size(64 + 111, "headers lie outside the file");
}

static void where_a_segment_lies(void **state)
{
    (void)state;
    segment(1, 0xff000, 0x10, 0x1000);
    refuse("segment at 0xff000 lies below 0x100000");
    segment(1, 0, 0x10, 0x1000);
    refuse("segment at 0x0 lies below 0x100000");
    segment(1, MEMORY - 0x1000, 0x10, 0x1000);
    accept();
    segment(1, MEMORY - 0x1000, 0x10, 0x1001);
    refuse("outside the guest's memory");
    segment(1, MEMORY, 0, 1);
    refuse("outside the guest's memory");
    segment(1, UINT64_MAX - 0xfff, 0x10, 0x2000);
    refuse("outside the guest's memory");
    segment(1, 0x200000, 0x10, UINT64_MAX);
    refuse("outside the guest's memory");
    segment(1, 0x200000, 0x10, 0x1000);
    elf.segment[1].p_vaddr = 0xffffffff80200000;
    refuse("linked to run at 0xffffffff80200000");
}

static void what_a_segment_takes_from_the_file(void **state)
{
    (void)state;
    segment(1, 0x200000, 0x1000, 0xfff);
    refuse("more bytes in the file");
    segment(1, 0x200000, 0x1000, 0x1000);
    elf.segment[1].p_offset++;
    refuse("segment at 0x200000 lies outside the file");
    elf.segment[1].p_offset = UINT64_MAX - 0xff;
    refuse("segment at 0x200000 lies outside the file");
    good_elf(NULL);
    refuse_size(sizeof(elf) - 1, "segment at 0x100000 lies outside the file");
}

static void segments_that_overlap(void **state)
{
    (void)state;
    segment(1, 0x100fff, 0x10, 0x1000);
    refuse("segments at 0x100000 and 0x100fff overlap");
    segment(0, 0x101000, 0x10, 0x1000);
    segment(1, 0x100000, 0x10, 0x4000);
    refuse("segments at 0x101000 and 0x100000 overlap");
    segment(1, 0x100000, 0x10, 0x1000);
    accept();
}

static void eight_segments_are_the_most(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        segment(i, 0x100000 + i * 0x1000, 0x10, 0x1000);
    accept();
    assert_int_equal(guest.segment_count, 8);
    segment(8, 0x200000, 0x10, 0x1000);
    refuse("more than 8 segments");
}

static void what_is_not_loaded_does_not_count(void **state)
{
    (void)state;
    segment(1, 0, 0, 0);
    accept();
    assert_int_equal(guest.segment_count, 1);
    segment(1, 0, 0x10, 0x10);
    elf.segment[1].p_type = PT_NOTE;
    accept();
    elf.segment[0].p_type = PT_NULL;
    refuse("nothing in it to load");
}

static void entry_point(void **state)
{
    (void)state;
    elf.header.e_entry = 0x101000;
    refuse("entry point 0x101000 lies in no executable segment");
    elf.header.e_entry = 0xfffff;
    refuse("entry point 0xfffff");
    elf.header.e_entry = 0x200000;
    refuse("entry point 0x200000");
    elf.header.e_entry = 0x100fff;
    accept();
}

/* Whatever the bytes are: an answer, and what was accepted lies in the file and in the guest. */
static void random_changes_never_break_it(void **state)
{
    uint64_t random = 1;
    size_t headers = offsetof(typeof(elf), segment[2]);

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        good_elf(NULL);
        for (unsigned change = 0; change <= round % 5; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            ((uint8_t *)&elf)[(random >> 33) % headers] = (uint8_t)(random >> 56);
        }
        if (!check_bytes(&elf, sizeof(elf) - (round % 7 == 0 ? (random >> 40) % 4096 : 0))) {
            assert_true(reason[0] != '\0');
            continue;
        }
        assert_true(guest.segment_count >= 1 && guest.segment_count <= BOOT_MAX_SEGMENTS);
        for (unsigned i = 0; i < guest.segment_count; i++) {
            const struct boot_segment *s = &guest.segment[i];

            assert_true(s->src >= PHYS && s->src - PHYS <= sizeof(elf));
            assert_true(s->file_size <= sizeof(elf) - (s->src - PHYS) && s->file_size <= s->mem_size);
            assert_true(s->gpa >= 0x100000 && s->gpa <= MEMORY && s->mem_size <= MEMORY - s->gpa);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good_image_gives_its_segments, good_elf),
        cmocka_unit_test_setup(no_elf, good_elf),
        cmocka_unit_test_setup(another_kind_of_elf, good_elf),
        cmocka_unit_test_setup(program_headers, good_elf),
        cmocka_unit_test_setup(where_a_segment_lies, good_elf),
        cmocka_unit_test_setup(what_a_segment_takes_from_the_file, good_elf),
        cmocka_unit_test_setup(segments_that_overlap, good_elf),
        cmocka_unit_test_setup(eight_segments_are_the_most, good_elf),
        cmocka_unit_test_setup(what_is_not_loaded_does_not_count, good_elf),
        cmocka_unit_test_setup(entry_point, good_elf),
        cmocka_unit_test_setup(random_changes_never_break_it, good_elf),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
