/* SPDX-License-Identifier: BSD-2-Clause */
/* What a bank of the machine-check architecture says, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/log.h"
#include "kernel/machine_check.h"

#define VALID     (1ull << 63)
#define OVERFLOWS (1ull << 62)
#define UC        (1ull << 61)
#define ENABLED   (1ull << 60)
#define ADDRESS   (1ull << 58)
#define PCC       (1ull << 57)

void log_line(const char *format, ...)
{
    (void)format;
    fail();
}

static void says(unsigned bank, uint64_t status, uint64_t address, const char *words)
{
    char text[160];
    machine_check_describe(text, sizeof(text), bank, status, address);
    assert_string_equal(text, words);
}

static void flags_are_words(void **state)
{
    (void)state;
    says(0, VALID | 0x400, 0, "bank 0: internal timer, corrected, status 0x8000000000000400");
    says(4, VALID | UC | ENABLED | ADDRESS | PCC | 0x90, 0x12345000,
         "bank 4: memory controller at 0x12345000, not corrected, the processor's state is damaged, status 0xb600000000000090");
    says(4, VALID | UC | 0x90, 0x12345000, "bank 4: memory controller, not corrected, status 0xa000000000000090");
    says(31, VALID | OVERFLOWS | 0x10, 0, "bank 31: TLB, corrected, others were lost, status 0xc000000000000010");
}

/* SDM volume 3, tables 16-8 and 16-9. */
static void each_kind_of_error_is_named(void **state)
{
    (void)state;
    static const struct {
        uint16_t code;
        const char *words;
    } codes[] = {
        { 0x0000, "no error" }, { 0x0001, "unclassified error" }, { 0x0002, "parity of the microcode ROM" },
        { 0x0003, "error of another processor" }, { 0x0004, "functional redundancy check" }, { 0x0005, "internal parity" },
        { 0x0006, "SMM handler outside its memory" }, { 0x0400, "internal timer" }, { 0x0401, "internal error" },
        { 0x07ff, "internal error" }, { 0x000c, "cache hierarchy" }, { 0x000f, "cache hierarchy" }, { 0x0010, "TLB" },
        { 0x001b, "TLB" }, { 0x0080, "memory controller" }, { 0x00cf, "memory controller" }, { 0x0100, "cache" },
        { 0x0174, "cache" }, { 0x0280, "memory as cache" }, { 0x02cf, "memory as cache" }, { 0x0800, "bus or interconnect" },
        { 0x0fff, "bus or interconnect" }, { 0x1100, "cache" },     /* bit 12: corrected ones are counted by half */
        { 0x0007, "unknown error" }, { 0x0020, "unknown error" }, { 0x2000, "unknown error" }, { 0x8800, "unknown error" },
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char words[160];
        format_text(words, sizeof(words), "bank 1: %s, corrected, status 0x%llx", codes[i].words,
                    (unsigned long long)(VALID | 0x55aa0000 | codes[i].code));
        says(1, VALID | 0x55aa0000 | codes[i].code, 0, words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_are_words),
        cmocka_unit_test(each_kind_of_error_is_named),
    };
    return cmocka_run_group_tests_name("machine_check", tests, NULL, NULL);
}
