/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/text.h"

#include <stdarg.h>

struct sink {
    char *out;
    size_t size, used;
};

static void put(struct sink *s, char c)
{
    if (s->used + 1 < s->size)
        s->out[s->used++] = c;
}

static void put_number(struct sink *s, uint64_t value, unsigned base, unsigned width)
{
    char digit[20];
    unsigned n = 0;

    do {
        digit[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    for (unsigned i = n; i < width; i++)
        put(s, '0');
    while (n > 0)
        put(s, digit[--n]);
}

void text_append_v(char *out, size_t size, const char *format, va_list arguments)
{
    struct sink s = { .out = out, .size = size };

    while (s.used + 1 < size && out[s.used] != '\0')
        s.used++;
    for (; *format != '\0'; format++) {
        unsigned width = 0;
        bool is_long = false;

        if (*format != '%') {
            put(&s, *format);
            continue;
        }
        for (format++; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (unsigned)(*format - '0');
        for (; *format == 'l'; format++)
            is_long = true;
        switch (*format) {
        case 's':
            for (const char *text = va_arg(arguments, const char *); *text != '\0'; text++)
                put(&s, *text);
            break;
        case 'c':
            put(&s, (char)va_arg(arguments, int));
            break;
        case 'u':
        case 'x':
            put_number(&s, is_long ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned),
                       *format == 'x' ? 16 : 10, width);
            break;
        default:
            put(&s, '?');
        }
    }
    if (size > 0)
        out[s.used] = '\0';
}

void text_append(char *out, size_t size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    text_append_v(out, size, format, arguments);
    va_end(arguments);
}

void text_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;

    if (size > 0)
        out[0] = '\0';
    va_start(arguments, format);
    text_append_v(out, size, format, arguments);
    va_end(arguments);
}

bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

void text_append_size(char *out, size_t size, uint64_t bytes)
{
    static const struct { uint64_t unit; char letter; } units[] = {
        { UINT64_C(1) << 30, 'G' }, { UINT64_C(1) << 20, 'M' }, { UINT64_C(1) << 10, 'K' },
    };

    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (bytes != 0 && bytes % units[i].unit == 0) {
            text_append(out, size, "%lu%c", (unsigned long)(bytes / units[i].unit), units[i].letter);
            return;
        }
    }
    text_append(out, size, "%lu", (unsigned long)bytes);
}
