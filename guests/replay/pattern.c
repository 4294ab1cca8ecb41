/* SPDX-License-Identifier: BSD-2-Clause */
/* pattern.c: see replay.h. */
#include <string.h>

#include "guests/replay/replay.h"

static uint64_t pattern_word(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + (i + 1) * 0x9e3779b97f4a7c15ULL;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void pattern_bytes(uint64_t seed, uint64_t at, void *to, uint32_t length)
{
    for (uint32_t done = 0; done < length;) {
        uint64_t word = pattern_word(seed, (at + done) / 8);
        uint32_t skip = (uint32_t)((at + done) % 8), size = 8 - skip < length - done ? 8 - skip : length - done;

        memcpy((char *)to + done, (char *)&word + skip, size);
        done += size;
    }
}

void pattern_add(struct pattern_sum *sum, const void *bytes, uint32_t length)
{
    for (uint32_t done = 0; done < length; done += 8) {
        uint64_t word = 0;

        memcpy(&word, (const char *)bytes + done, length - done < 8 ? length - done : 8);
        sum->a += word;
        sum->b += sum->a;
    }
}

uint64_t pattern_value(const struct pattern_sum *sum)
{
    return sum->a ^ (sum->b << 32 | sum->b >> 32);
}
