/* SPDX-License-Identifier: BSD-2-Clause */
/* log.h: the console of nidus, and panic. */
#ifndef NIDUS_LOG_H
#define NIDUS_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Chooses the consoles (BOOT_CONSOLE_*); before, lines go to the serial line. */
void log_init(uint32_t consoles);

/* One line on every console: "[   1.234567] text".  At most 240 characters are kept. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_line_v(const char *format, va_list arguments);

/* One line that a guest printed: "[   1.234567] name| text".  Bytes that are not printable ASCII appear as '?'. */
void log_guest_line(const char *guest, const char *text, size_t length);

/* snprintf and vsnprintf: %s %c %d %u %x %X with 0, -, #, width, l, ll, z, .* for strings; %p. */
int format_text(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int format_text_v(char *out, size_t size, const char *format, va_list arguments);

/* Says why, with a symbolised backtrace, and stops the machine. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
