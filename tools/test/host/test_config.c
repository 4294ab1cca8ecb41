/* SPDX-License-Identifier: BSD-2-Clause */
/* nidus.conf: what is read, and for every mistake its line and reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/config.h"

static struct config config;
static struct config_error error;

/* In a block of exactly its size, so that the sanitizer sees a read behind the end. */
static bool parse_bytes(const char *text, size_t size)
{
    char *block = malloc(size != 0 ? size : 1);
    bool ok;

    assert_non_null(block);
    memcpy(block, text, size);
    memset(&config, 0xa5, sizeof(config));
    memset(&error, 0xa5, sizeof(error));
    ok = config_parse(&config, block, size, &error);
    free(block);
    return ok;
}

static void accept(const char *text)
{
    if (!parse_bytes(text, strlen(text)))
        fail_msg("line %u: %s", error.line, error.reason);
}

/* A mistake in `line` (0: the file), and a reason that contains `reason`. */
static void refuse_bytes(const char *text, size_t size, unsigned line, const char *reason)
{
    if (parse_bytes(text, size))
        fail_msg("accepted: %s", text);
    if (error.line != line || strstr(error.reason, reason) == NULL)
        fail_msg("line %u: %s\n  instead of line %u: ...%s...", error.line, error.reason, line, reason);
}

static void refuse(const char *text, unsigned line, const char *reason)
{
    refuse_bytes(text, strlen(text), line, reason);
}

/* The key in line 4 of a guest that is otherwise right. */
#define GUEST "[guest a]\nimage = a.elf\nmemory = 2M\n"
static void refuse_guest_key(const char *line, const char *reason)
{
    char text[1024];

    snprintf(text, sizeof(text), "%s%s\n", GUEST, line);
    refuse(text, 4, reason);
}

static void accept_guest_key(const char *line)
{
    char text[1024];

    snprintf(text, sizeof(text), "%s%s\n", GUEST, line);
    accept(text);
}

static void whole_file_is_read(void **state)
{
    (void)state;
    accept("# a comment\n"
           "[system]\r\n"
           "console = screen\r\n"
           "errata-772415 = off ; why\n"
           "at-end=reboot\n"
           "\n"
           "[guest web]\n"
           "image  = guests/web.elf   # text\n"
           "memory = 64M\n"
           "cpus   = 1\n"
           "device = 8086:10c9\n"
           "device = 0001:02:1f.7\n"
           "  device = 02:03.4\n"
           "nested = off\n"
           "args   = a b=c ; d\n"
           "[guest b-2_x.y]\n"
           "memory = 3G\n"
           "image  = b\n");
    assert_int_equal(config.console, BOOT_CONSOLE_SCREEN);
    assert_int_equal(config.errata_772415, BOOT_ERRATA_OFF);
    assert_int_equal(config.at_end, BOOT_END_REBOOT);
    assert_int_equal(config.guest_count, 2);

    const struct config_guest *g = &config.guest[0];

    assert_int_equal(g->line, 7);
    assert_string_equal(g->name, "web");
    assert_string_equal(g->image, "guests/web.elf");
    assert_int_equal(g->image_line, 8);
    assert_string_equal(g->args, "a b=c");
    assert_int_equal(g->memory, 64u << 20);
    assert_int_equal(g->memory_line, 9);
    assert_int_equal(g->cpus, 1);
    assert_false(g->nested);
    assert_int_equal(g->device_count, 3);
    assert_false(g->device[0].by_address);
    assert_int_equal(g->device[0].vendor, 0x8086);
    assert_int_equal(g->device[0].device, 0x10c9);
    assert_int_equal(g->device[0].line, 11);
    assert_true(g->device[1].by_address);
    assert_int_equal(g->device[1].segment, 1);
    assert_int_equal(g->device[1].bdf, 0x02 << 8 | 0x1f << 3 | 7);
    assert_true(g->device[2].by_address);
    assert_int_equal(g->device[2].segment, 0);
    assert_int_equal(g->device[2].bdf, 0x02 << 8 | 3 << 3 | 4);
    assert_string_equal(config.guest[1].name, "b-2_x.y");
    assert_int_equal(config.guest[1].memory, 3ull << 30);
}

static void what_is_not_said_has_a_default(void **state)
{
    (void)state;
    accept(GUEST);
    assert_int_equal(config.console, BOOT_CONSOLE_SERIAL | BOOT_CONSOLE_SCREEN);
    assert_int_equal(config.errata_772415, BOOT_ERRATA_AUTO);
    assert_int_equal(config.at_end, BOOT_END_HALT);
    assert_int_equal(config.guest[0].cpus, 1);
    assert_true(config.guest[0].nested);
    assert_int_equal(config.guest[0].device_count, 0);
    assert_string_equal(config.guest[0].args, "");
}

static void last_line_needs_no_line_feed(void **state)
{
    (void)state;
    accept("[guest a]\nimage = a.elf\nmemory = 4M");
    assert_int_equal(config.guest[0].memory, 4u << 20);
}

static void byte_order_mark_is_skipped(void **state)
{
    (void)state;
    accept("\xef\xbb\xbf" GUEST);
}

static void comments_may_be_in_any_language(void **state)
{
    (void)state;
    accept("# f\xc3\xbcr Z\xc3\xbcrich\n" GUEST);
}

static void damaged_files(void **state)
{
    char *big = malloc(CONFIG_MAX_SIZE + 1);

    (void)state;
    assert_non_null(big);
    memset(big, '\n', CONFIG_MAX_SIZE + 1);
    refuse("", 0, "empty");
    refuse_bytes(big, CONFIG_MAX_SIZE + 1, 0, "64 KiB");
    refuse_bytes(big, CONFIG_MAX_SIZE, 0, "nothing to start");
    memset(big, 'x', CONFIG_MAX_SIZE);
    refuse_bytes(big, CONFIG_MAX_SIZE, 1, "longer than 509");
    refuse_bytes("[system]\n\0\n", 11, 2, "zero byte");
    refuse_bytes("\xff\xfe[\0s\0", 6, 1, "zero byte");
    refuse("# only a comment\n", 0, "nothing to start");
    refuse("[system]\nconsole = serial\n", 0, "nothing to start");
    free(big);
}

static void longest_line_that_fits(void **state)
{
    char text[600];

    (void)state;
    memset(text, '#', sizeof(text));
    text[509] = '\n';
    strcpy(text + 510, GUEST);
    accept(text);
    text[509] = '#';
    text[510] = '\n';
    strcpy(text + 511, GUEST);
    refuse(text, 1, "longer than 509");
}

static void sections(void **state)
{
    (void)state;
    refuse("console = serial\n", 1, "before the first [section]");
    refuse("[system\n", 1, "'[' without ']'");
    refuse("[guest a] image = x\n", 1, "behind the section's ']'");
    refuse("[sytem]\n", 1, "[sytem] is no section");
    refuse("[guests]\n", 1, "[guests] is no section");
    refuse("[]\n", 1, "no section");
    refuse("[syst\xc3\xa9m]\n", 1, "ASCII");
    refuse("[system]\n[system]\n" GUEST, 2, "in line 1");
    refuse(GUEST "[system]\n[system]\n", 5, "in line 4");
    refuse("[system]\nrubbish\n", 2, "'rubbish': neither");
    refuse("[system]\n= x\n", 2, "'' is no key");
    accept("[system] # comment\n" GUEST);
}

static void guest_names(void **state)
{
    (void)state;
    refuse("[guest]\n", 1, "name is missing");
    refuse("[guest ]\n", 1, "name is missing");
    refuse("[guest a b]\n", 1, "letters, digits");
    refuse("[guest a/b]\n", 1, "letters, digits");
    refuse("[guest 12345678901234567890123456789012]\n", 1, "longer than 31");
    accept("[guest 1234567890123456789012345678901]\nimage = a\nmemory = 2M\n");
    refuse(GUEST "[guest a]\n", 4, "in line 1");
    accept(GUEST "[guest A]\nimage = a\nmemory = 2M\n");
}

static void eight_guests_are_the_most(void **state)
{
    char text[2048] = "";

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        char guest[64];

        if (i == 8)
            accept(text);
        snprintf(guest, sizeof(guest), "[guest g%u]\nimage = a\nmemory = 2M\n", i);
        strcat(text, guest);
    }
    assert_int_equal(config.guest_count, 8);
    refuse(text, 25, "at most 8 guests");
}

static void keys(void **state)
{
    (void)state;
    refuse_guest_key("memroy = 2M", "'memroy' is no key of [guest]");
    refuse_guest_key("console = serial", "'console' is no key of [guest]");
    refuse_guest_key("memory = 2M", "before, in line 3");
    refuse_guest_key("nested =", "no value");
    refuse_guest_key("nested = # on", "no value");
    refuse_guest_key("n\xc3\xa9sted = on", "ASCII");
    refuse_guest_key("args = caf\xc3\xa9", "args: the value holds");
    refuse_guest_key("args = a\033b", "args: the value holds");
    refuse("[system]\nimage = a\n", 2, "'image' is no key of [system]");
    refuse("[system]\nat-end = halt\nat-end = halt\n", 3, "before, in line 2");
    refuse("[guest a]\nmemory = 2M\n", 1, "[guest a] has no image");
    refuse("\n[guest a]\nimage = x\n[system]\n", 2, "[guest a] has no memory");
    /* each section counts its own keys */
    accept(GUEST "[guest b]\nimage = a\nmemory = 2M\n");
}

static void shared_regions(void **state)
{
    (void)state;
    accept("[shared ring]\nsize = 64K\n[shared rom]\nsize = 256M\n" GUEST "shared = ring rw\n[guest b]\nimage = b\nmemory = 2M\nshared = rom   ro\n");
    assert_int_equal(config.shared_count, 2);
    assert_string_equal(config.shared[0].name, "ring");
    assert_int_equal(config.shared[0].size, 64 << 10);
    assert_int_equal(config.shared[1].size, 256 << 20);
    assert_int_equal(config.guest[0].share[0], BOOT_SHARE_WRITE);
    assert_int_equal(config.guest[0].share[1], BOOT_SHARE_NONE);
    assert_int_equal(config.guest[1].share[0], BOOT_SHARE_NONE);
    assert_int_equal(config.guest[1].share[1], BOOT_SHARE_READ);

    refuse("[shared]\nsize = 4K\n", 1, "[shared NAME]: the name is missing");
    refuse("[shared a/b]\nsize = 4K\n", 1, "[shared a/b]: a name has letters");
    refuse("[shared a123456789012345678901234567890x]\n", 1, "[shared NAME]: the name is longer than 31 characters");
    refuse("[shared a]\nsize = 4K\n[shared a]\nsize = 4K\n", 3, "[shared a] was there before, in line 1");
    refuse("[shared a]\n" GUEST, 1, "[shared a] has no size");
    refuse("[shared a]\nimage = x\n", 2, "'image' is no key of [shared]");
    refuse("[shared a]\nsize = 2048\n", 2, "size = 2048: a power of two from 4K to 256M is wanted");
    refuse("[shared a]\nsize = 12K\n", 2, "size = 12K: a power of two");
    refuse("[shared a]\nsize = 512M\n", 2, "size = 512M: a power of two");
    refuse("[shared a]\nsize = x\n", 2, "size = x: a power of two");
    refuse(GUEST "shared = a rw\n[shared a]\nsize = 4K\n", 4, "shared = a rw: there is no [shared NAME] of that name above this line");
#define REGION "[shared a]\nsize = 4K\n"
    refuse(REGION GUEST "shared = a\n", 6, "shared = a: the name of a [shared NAME] is wanted, and rw or ro");
    refuse(REGION GUEST "shared = a wo\n", 6, "and rw or ro");
    refuse(REGION GUEST "shared = a rw ro\n", 6, "and rw or ro");
    refuse(REGION GUEST "shared = a rw\nshared = a ro\n", 7, "the guest has that region already");
    refuse(REGION "[shared b]\nsize = 256M\n" GUEST "shared = a rw\nshared = b ro\n", 9, "more than 256M of shared memory");
    refuse("[shared a]\nsize=4K\n[shared b]\nsize=4K\n[shared c]\nsize=4K\n[shared d]\nsize=4K\n[shared e]\nsize=4K\n[shared f]\nsize=4K\n"
           "[shared g]\nsize=4K\n[shared h]\nsize=4K\n[shared i]\nsize=4K\n", 17, "there are at most 8 shared regions");
}

static void words(void **state)
{
    (void)state;
    refuse("[system]\nconsole = serial vga\n", 2, "serial and screen");
    refuse("[system]\nconsole = serials\n", 2, "serial and screen");
    refuse("[system]\nerrata-772415 = yes\n", 2, "auto, on or off");
    refuse("[system]\nat-end = stop\n", 2, "halt, poweroff or reboot");
    refuse_guest_key("nested = ON", "on or off");
    refuse_guest_key("cpus = 2", "1 CPU");
    refuse_guest_key("cpus = 01", "1 CPU");
    accept("[system]\nconsole = screen\tserial\n" GUEST);
    assert_int_equal(config.console, BOOT_CONSOLE_SERIAL | BOOT_CONSOLE_SCREEN);
}

static void memory_sizes(void **state)
{
    static const struct { const char *value; uint64_t bytes; } good[] = {
        { "2M", 2u << 20 }, { "2048K", 2u << 20 }, { "2097152", 2u << 20 }, { "1G", 1u << 30 },
        { "3072M", 3ull << 30 }, { "0064M", 64u << 20 },
    };
    static const struct { const char *value, *reason; } bad[] = {
        { "64", "multiple of 2M" }, { "0", "multiple of 2M" }, { "1M", "multiple of 2M" }, { "3M", "multiple of 2M" },
        { "64MB", "as in 64M" }, { "64 M", "as in 64M" }, { "-2M", "as in 64M" }, { "M", "as in 64M" },
        { "0x200000", "as in 64M" }, { "64m", "as in 64M" }, { "2MM", "as in 64M" },
        { "3074M", "more than 3G" }, { "8388608G", "more than 3G" }, { "8589934592G", "as in 64M" },
        { "18446744073709551616", "as in 64M" }, { "99999999999999999999999M", "as in 64M" },
    };
    char text[128];

    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "[guest a]\nimage = a\nmemory = %s\n", good[i].value);
        accept(text);
        assert_int_equal(config.guest[0].memory, good[i].bytes);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "[guest a]\nimage = a\nmemory = %s\n", bad[i].value);
        refuse(text, 3, bad[i].reason);
    }
}

static void devices(void **state)
{
    static const char *const bad[] = {
        "0000:01:20.0", "0000:01:00.8", "1:00.0", "01:0.0", "01:00.00", "01:00", "0000:01:00", "00000:01:00.0",
        "8086", "8086:", ":10c9", "8086:10c9:", "0x8086:0x10c9", "808g:10c9", "01:00.0,", "8086:10c9,rmrr=map",
    };
    char line[64];

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "device = %s", bad[i]);
        refuse_guest_key(line, "or vendor:device (8086:10c9) is wanted");
    }
    accept_guest_key("device = ABCD:eF01");
    assert_int_equal(config.guest[0].device[0].vendor, 0xabcd);
    assert_int_equal(config.guest[0].device[0].device, 0xef01);
    accept_guest_key("device = ffff:ff:1f.7");
    assert_int_equal(config.guest[0].device[0].segment, 0xffff);
    assert_int_equal(config.guest[0].device[0].bdf, 0xffff);
    accept_guest_key("device = 01:00.0\ndevice = 01:00.1\ndevice = 01:00.2\ndevice = 01:00.3\n"
                     "device = 01:00.4\ndevice = 01:00.5\ndevice = 01:00.6\ndevice = 01:00.7\n");
    assert_int_equal(config.guest[0].device_count, 8);
    refuse(GUEST "device = 01:00.0\ndevice = 01:00.1\ndevice = 01:00.2\ndevice = 01:00.3\ndevice = 01:00.4\n"
           "device = 01:00.5\ndevice = 01:00.6\ndevice = 01:00.7\ndevice = 02:00.0\n", 12, "at most 8 devices");
}

static void device_options(void **state)
{
    const char *const wanted = "behind the device, rmrr=deny, rmrr=map, ats=off, ats=on or ats=trust is wanted";

    (void)state;
    accept_guest_key("device = 01:00.0");
    assert_false(config.guest[0].device[0].map_rmrr);
    assert_int_equal(config.guest[0].device[0].ats, BOOT_ATS_OFF);
    accept_guest_key("device = 01:00.0 \t ats=on\ndevice = 0000:01:00.1 ats=trust rmrr=deny\ndevice = 8086:10c9 rmrr=map\nnested = off");
    assert_int_equal(config.guest[0].device[0].ats, BOOT_ATS_ON);
    assert_int_equal(config.guest[0].device[1].ats, BOOT_ATS_TRUST);
    assert_false(config.guest[0].device[1].map_rmrr);
    assert_true(config.guest[0].device[2].map_rmrr);
    assert_int_equal(config.guest[0].device[2].ats, BOOT_ATS_OFF);
    refuse_guest_key("device = 01:00.0 ats", wanted);
    refuse_guest_key("device = 01:00.0 ats = on", wanted);
    refuse_guest_key("device = 8086:10c9 8086:10ca", wanted);
    refuse_guest_key("device = 01:00.0 rmrr=mapmapmapmapmapmap", wanted);
    refuse(GUEST "nested = on\ndevice = 01:00.0 rmrr=map\n", 5, "rmrr=map needs nested = off");
    refuse(GUEST "device = 01:00.0 rmrr=map\n[guest b]\nimage = a\nmemory = 2M\nnested = off\n", 4, "rmrr=map needs nested = off");
    accept(GUEST);
    assert_int_equal(config.rmrr, BOOT_RMRR_KEEP);
    accept("[system]\nrmrr = block\n" GUEST);
    assert_int_equal(config.rmrr, BOOT_RMRR_BLOCK);
    refuse("[system]\nrmrr = map\n", 2, "keep or block is wanted");
}

static void texts_that_are_too_long(void **state)
{
    char line[300];

    (void)state;
    snprintf(line, sizeof(line), "args = %0127d", 0);
    accept_guest_key(line);
    assert_int_equal(strlen(config.guest[0].args), 127);
    snprintf(line, sizeof(line), "args = %0128d", 0);
    refuse_guest_key(line, "args is longer than 127");
    snprintf(line, sizeof(line), "[guest a]\nimage = %0127d\nmemory = 2M", 0);
    accept(line);
    snprintf(line, sizeof(line), "[guest a]\nimage = %0128d\nmemory = 2M", 0);
    refuse(line, 2, "image is longer than 127");
}

/* Whatever the bytes are: an answer, with a reason and a line of the file when it is a refusal. */
static void random_changes_never_break_it(void **state)
{
    static const char seed_text[] = "[system]\nconsole = serial\nat-end = halt\n[guest web]\nimage = a.elf\n"
                                    "memory = 64M\ndevice = 8086:10c9\ndevice = 0000:01:00.0\nargs = x y # z\n";
    uint64_t random = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char text[sizeof(seed_text)];
        size_t size = sizeof(seed_text) - 1;

        memcpy(text, seed_text, sizeof(text));
        for (unsigned change = 0; change <= round % 6; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[(random >> 40) % size] = round % 3 == 0 ? (char)(random >> 56) : "[]\n=#: 9M."[(random >> 56) % 10];
        }
        if (!parse_bytes(text, size - (random >> 33) % 8)) {
            assert_true(error.reason[0] != '\0');
            assert_true(memchr(error.reason, '\0', sizeof(error.reason)) != NULL);
            assert_true(error.line < 64);
        } else {
            assert_true(config.guest_count >= 1 && config.guest_count <= BOOT_MAX_GUESTS);
            for (unsigned i = 0; i < config.guest_count; i++)
                assert_true(config.guest[i].memory % CONFIG_MEMORY_UNIT == 0 && config.guest[i].memory != 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_regions),
        cmocka_unit_test(whole_file_is_read),
        cmocka_unit_test(what_is_not_said_has_a_default),
        cmocka_unit_test(last_line_needs_no_line_feed),
        cmocka_unit_test(byte_order_mark_is_skipped),
        cmocka_unit_test(comments_may_be_in_any_language),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(longest_line_that_fits),
        cmocka_unit_test(sections),
        cmocka_unit_test(guest_names),
        cmocka_unit_test(eight_guests_are_the_most),
        cmocka_unit_test(keys),
        cmocka_unit_test(words),
        cmocka_unit_test(memory_sizes),
        cmocka_unit_test(devices), cmocka_unit_test(device_options),
        cmocka_unit_test(texts_that_are_too_long),
        cmocka_unit_test(random_changes_never_break_it),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
