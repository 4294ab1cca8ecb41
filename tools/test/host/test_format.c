/* SPDX-License-Identifier: BSD-2-Clause */
/* test_format.c: format_text says what the host's snprintf says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/log.h"

/* Both, and the same: text and length. */
#define SAME(...)                                                       \
    do {                                                                \
        char ours[100], theirs[100];                                    \
        int our_length = format_text(ours, sizeof(ours), __VA_ARGS__);  \
        assert_int_equal(our_length, snprintf(theirs, sizeof(theirs), __VA_ARGS__)); \
        assert_string_equal(ours, theirs);                              \
    } while (0)

static void numbers(void **state)
{
    (void)state;
    static const long long value[] = { 0, 1, -1, 9, 10, 255, INT_MAX, INT_MIN, LLONG_MAX, LLONG_MIN };
    for (unsigned i = 0; i < sizeof(value) / sizeof(value[0]); i++) {
        long long v = value[i];
        SAME("%d|%5d|%-5d|%05d", (int)v, (int)v, (int)v, (int)v);
        SAME("%u|%x|%X|%8x|%08x", (unsigned)v, (unsigned)v, (unsigned)v, (unsigned)v, (unsigned)v);
        SAME("%lld|%llu|%llx|%016llx", v, (unsigned long long)v, (unsigned long long)v, (unsigned long long)v);
        SAME("%ld|%lu|%lx|%zu", (long)v, (unsigned long)v, (unsigned long)v, (size_t)v);
        if ((unsigned)v != 0)       /* ours says 0x0, C says 0 */
            SAME("%#x|%#llx|%#018llx", (unsigned)v, (unsigned long long)v, (unsigned long long)v);
        SAME("%*d|%-*d", 7, (int)v, 7, (int)v);
    }
}

static void text(void **state)
{
    (void)state;
    SAME("plain 100%%");
    SAME("%s|%8s|%-8s|%c|%3c", "abc", "abc", "abc", 'x', 'y');
    SAME("%.2s|%.9s|%.*s|%8.2s", "abc", "abc", 1, "abc", "abc");
    SAME("%p", (void *)0x1234);
    SAME("%hhu %hu", (unsigned char)200, (unsigned short)60000);
}

static void a_string_is_read_no_further_than_its_precision(void **state)
{
    (void)state;
    char *unterminated = malloc(3);
    memcpy(unterminated, "abc", 3);
    char out[10];
    assert_int_equal(format_text(out, sizeof(out), "%.3s", unterminated), 3);
    assert_string_equal(out, "abc");
    free(unterminated);
}

static void what_does_not_fit_is_cut_and_counted(void **state)
{
    (void)state;
    for (size_t size = 0; size < 12; size++) {
        char *out = malloc(size + 1);
        out[size] = '#';        /* untouched */
        assert_int_equal(format_text(out, size, "%d-%s", 1234, "abcde"), 10);
        assert_int_equal(out[size], '#');
        if (size != 0)
            assert_int_equal(strlen(out), size - 1 < 10 ? size - 1 : 10);
        free(out);
    }
}

static void a_format_that_ends_early_ends(void **state)
{
    (void)state;
    static const char *const formats[] = { "a%", "a%0", "a%-5", "a%.", "a%ll" };
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        char out[10];
        const char *format = formats[i];        /* not literal: the compiler would object */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        assert_int_equal(format_text(out, sizeof(out), format), 1);
#pragma GCC diagnostic pop
        assert_string_equal(out, "a");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(text),
        cmocka_unit_test(a_string_is_read_no_further_than_its_precision),
        cmocka_unit_test(what_does_not_fit_is_cut_and_counted),
        cmocka_unit_test(a_format_that_ends_early_ends),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
