/* SPDX-License-Identifier: BSD-2-Clause */
/* format.c: vsnprintf, as much of it as log.h promises. */
#include <stdbool.h>
#include <string.h>

#include "kernel/log.h"

struct output {
    char *text;
    size_t size, length;        /* length: of the whole text, kept or not */
};

struct spec {                   /* %[flags][width][.precision][length]conversion */
    bool zero, left, alternative;
    unsigned width;
    int precision;              /* -1: none */
    unsigned longs;             /* 0: int; 1, 2: long, long long, size_t */
};

static void put(struct output *o, char c)
{
    if (o->length + 1 < o->size)
        o->text[o->length] = c;
    o->length++;
}

static void put_repeated(struct output *o, char c, size_t n)
{
    for (; n != 0; n--)
        put(o, c);
}

static void put_text(struct output *o, const struct spec *s, const char *prefix, const char *text, size_t length)
{
    size_t whole = strlen(prefix) + length;
    size_t pad = whole < s->width ? s->width - whole : 0;
    if (!s->left && !s->zero)
        put_repeated(o, ' ', pad);
    for (; *prefix != '\0'; prefix++)
        put(o, *prefix);
    if (!s->left && s->zero)
        put_repeated(o, '0', pad);
    for (; length != 0; length--)
        put(o, *text++);
    if (s->left)
        put_repeated(o, ' ', pad);
}

static void put_number(struct output *o, const struct spec *s, const char *prefix, uint64_t value, unsigned base, bool capital)
{
    const char *digit = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[20];              /* UINT64_MAX in decimal */
    size_t at = sizeof(text);
    do {
        text[--at] = digit[value % base];
        value /= base;
    } while (value != 0);
    put_text(o, s, prefix, text + at, sizeof(text) - at);
}

static uint64_t unsigned_argument(const struct spec *s, va_list *arguments)
{
    return s->longs == 0 ? va_arg(*arguments, unsigned) : va_arg(*arguments, unsigned long);
}

static int64_t signed_argument(const struct spec *s, va_list *arguments)
{
    return s->longs == 0 ? va_arg(*arguments, int) : va_arg(*arguments, long);
}

static void put_string(struct output *o, struct spec *s, const char *text)
{
    if (text == NULL)
        text = "(null)";
    size_t length = 0;
    while ((s->precision < 0 || length < (size_t)s->precision) && text[length] != '\0')
        length++;
    s->zero = false;
    put_text(o, s, "", text, length);
}

static void put_conversion(struct output *o, char conversion, struct spec *s, va_list *arguments)
{
    char c;
    int64_t value;
    switch (conversion) {
    case 's':
        put_string(o, s, va_arg(*arguments, const char *));
        break;
    case 'c':
        c = (char)va_arg(*arguments, int);
        put_text(o, s, "", &c, 1);
        break;
    case 'd':
    case 'i':
        value = signed_argument(s, arguments);
        put_number(o, s, value < 0 ? "-" : "", value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, false);
        break;
    case 'u':
        put_number(o, s, "", unsigned_argument(s, arguments), 10, false);
        break;
    case 'x':
    case 'X':
        put_number(o, s, s->alternative ? "0x" : "", unsigned_argument(s, arguments), 16, conversion == 'X');
        break;
    case 'p':
        put_number(o, s, "0x", (uintptr_t)va_arg(*arguments, void *), 16, false);
        break;
    default:                    /* %% too */
        put(o, conversion);
        break;
    }
}

static const char *read_number(const char *format, int *number, va_list *arguments)
{
    if (*format == '*') {
        *number = va_arg(*arguments, int);
        return format + 1;
    }
    for (*number = 0; *format >= '0' && *format <= '9'; format++)
        *number = *number * 10 + (*format - '0');
    return format;
}

static const char *read_spec(const char *format, struct spec *s, va_list *arguments)
{
    *s = (struct spec){ .precision = -1 };
    for (;; format++) {
        if (*format == '0')
            s->zero = true;
        else if (*format == '-')
            s->left = true;
        else if (*format == '#')
            s->alternative = true;
        else
            break;
    }
    int width;
    format = read_number(format, &width, arguments);
    s->left = s->left || width < 0;
    s->width = width < 0 ? 0 - (unsigned)width : (unsigned)width;
    if (*format == '.')
        format = read_number(format + 1, &s->precision, arguments);
    for (; *format == 'l' || *format == 'z' || *format == 'h'; format++)
        s->longs += *format != 'h';
    return format;
}

int format_text_v(char *out, size_t size, const char *format, va_list arguments)
{
    struct output o = { .text = out, .size = size };
    va_list list;
    va_copy(list, arguments);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(&o, *format);
            continue;
        }
        struct spec s;
        format = read_spec(format + 1, &s, &list);
        if (*format == '\0')
            break;
        put_conversion(&o, *format, &s, &list);
    }
    va_end(list);
    if (size != 0)
        out[o.length < size ? o.length : size - 1] = '\0';
    return (int)o.length;
}

int format_text(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = format_text_v(out, size, format, arguments);
    va_end(arguments);
    return length;
}
