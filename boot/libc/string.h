/* SPDX-License-Identifier: BSD-2-Clause */
/* string.h: what inih uses and what the compiler may call by itself (libc.c). */
#ifndef NIDUS_BOOT_STRING_H
#define NIDUS_BOOT_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
char *strchr(const char *s, int c);

#endif
