/* SPDX-License-Identifier: BSD-2-Clause */
/* log.c: lines, on every console. */
#include "kernel/log.h"

#include <string.h>

#include "drivers/fbtext.h"
#include "drivers/uart.h"
#include "kernel/boot_info.h"
#include "kernel/time.h"

#define LINE_LENGTH  240u
#define STAMP_LENGTH 20u        /* "[12345.123456] " and a little more */

static bool to_serial = true;   /* until the boot loader's wish is known */

void log_init(uint32_t consoles)
{
    to_serial = (consoles & BOOT_CONSOLE_SERIAL) != 0;
}

static void emit(char *line, size_t length)
{
    fbtext_line(line, length);
    line[length++] = '\r';
    line[length++] = '\n';
    if (to_serial)
        uart_write(line, length);
}

static size_t stamp(char *line)
{
    uint64_t us = time_ns() / 1000;
    int length = format_text(line, STAMP_LENGTH, "[%4llu.%06llu] ", (unsigned long long)(us / 1000000),
                             (unsigned long long)(us % 1000000));
    return (size_t)length < STAMP_LENGTH ? (size_t)length : STAMP_LENGTH - 1;
}

void log_line_v(const char *format, va_list arguments)
{
    char line[STAMP_LENGTH + LINE_LENGTH + 3];
    size_t at = stamp(line);
    int length = format_text_v(line + at, LINE_LENGTH + 1, format, arguments);
    emit(line, at + ((unsigned)length < LINE_LENGTH ? (unsigned)length : LINE_LENGTH));
}

void log_line(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line_v(format, arguments);
    va_end(arguments);
}

void log_guest_line(const char *guest, const char *text, size_t length)
{
    char line[STAMP_LENGTH + 40 + LINE_LENGTH + 3];
    size_t at = stamp(line);
    at += (size_t)format_text(line + at, 40, "%.32s| ", guest);
    if (length > LINE_LENGTH)
        length = LINE_LENGTH;
    for (size_t i = 0; i < length; i++)
        line[at++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    emit(line, at);
}
