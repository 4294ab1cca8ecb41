/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * string.c: memcpy and memset in place of newlib's, which are REP MOVS and REP STOS: an emulator without hardware help (QEMU's TCG) goes
 * through those one element at a time.
 */
#include <emmintrin.h>
#include <stddef.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    char *t = to;
    const char *f = from;

    for (; length >= sizeof(__m128i); length -= sizeof(__m128i), t += sizeof(__m128i), f += sizeof(__m128i))
        _mm_storeu_si128((__m128i *)t, _mm_loadu_si128((const __m128i *)f));
    while (length--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    const __m128i value = _mm_set1_epi8((char)byte);
    char *t = to;

    for (; length >= sizeof(value); length -= sizeof(value), t += sizeof(value))
        _mm_storeu_si128((__m128i *)t, value);
    while (length--)
        *t++ = (char)byte;
    return to;
}
