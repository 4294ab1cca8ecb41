/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "guests/runtime/call.h"

static const char *step = "0";
static unsigned line;
static unsigned good, failed, skipped;

void check_step(const char *number, const char *title)
{
    step = number;
    line = 0;
    if (title)
        printf("step %s: %s\n", number, title);
}

static void print_line(const char *verdict, const char *format, va_list arguments)
{
    printf("%-4s %s.%u ", verdict, step, ++line);
    vprintf(format, arguments);
    putchar('\n');
}

bool check(bool ok, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(ok ? "ok" : "FAIL", format, arguments);
    va_end(arguments);
    *(ok ? &good : &failed) += 1;
    return ok;
}

bool check_errno(int64_t error, int want, const char *what)
{
    if (error == -want)
        return check(true, "%s: %s", what, errno_name(error));
    return check(false, "%s: %s, expected %s", what, errno_name(error), errno_name(want));
}

void check_skip(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line("skip", format, arguments);
    va_end(arguments);
    skipped++;
}

int check_summary(void)
{
    printf("%s: %u ok, %u failed", check_program, good, failed);
    if (skipped)
        printf(", %u skipped", skipped);
    putchar('\n');
    return failed || !good;
}
