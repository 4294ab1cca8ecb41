/* SPDX-License-Identifier: BSD-2-Clause */
/* text.h: messages, put together without a C library. */
#ifndef NIDUS_BOOT_TEXT_H
#define NIDUS_BOOT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX 400u           /* bytes of the longest message, with its end */

/* %s, %c, %u and %x with l, %0Nx.  What does not fit into size bytes is cut off; out is always terminated. */
void text_format(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same behind the text that out holds. */
void text_append(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void text_append_v(char *out, size_t size, const char *format, __builtin_va_list arguments);

bool text_equal(const char *a, const char *b);
/* A whole number of bytes the way people write it: 64M, 1G, 12288. */
void text_append_size(char *out, size_t size, uint64_t bytes);

#endif
