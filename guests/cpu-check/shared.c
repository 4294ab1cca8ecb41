/* SPDX-License-Identifier: BSD-2-Clause */
/* shared.c: two guests and their shared regions: "ring", which one writes and the other reads, and "back", where both answer. */
#include <stdio.h>

#include "guests/cpu-check/steps.h"
#include "guests/runtime/check.h"
#include "guests/runtime/shared.h"

#define PATTERN 0x9e3779b97f4a7c15ull
#define WAIT_MS 60000u

enum { WRITTEN = 1, READ };     /* what back's first word says */

static uint64_t count_wrong(const struct nidus_guest_shared *ring, uint64_t pattern)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < ring->size / 8; i++)
        wrong += shared_words(ring)[i] != i * pattern;
    return wrong;
}

void scenario_shared(void)
{
    const struct nidus_guest_shared *ring = shared_find("ring"), *back = shared_find("back");

    check_step("9", "memory shared with another guest");
    if (!check(ring != NULL && back != NULL && shared_find("rin") == NULL, "guest_info lists ring and back"))
        return;
    check(ring->gpa % ring->size == 0 && shared_writeable(back), "ring: %llu bytes, aligned to them; back may be written",
          (unsigned long long)ring->size);
    if (shared_writeable(ring)) {
        check(count_wrong(ring, 0) == 0, "ring is zero");
        for (uint64_t i = 0; i < ring->size / 8; i++)
            shared_words(ring)[i] = i * PATTERN;
        *shared_words(back) = WRITTEN;
        check(shared_wait(shared_words(back), READ, WAIT_MS), "the other guest has read it");
        return;
    }
    if (check(shared_wait(shared_words(back), WRITTEN, WAIT_MS), "the other guest has written ring, and said so in back"))
        check(count_wrong(ring, PATTERN) == 0, "every word of ring is what it wrote");
    *shared_words(back) = READ;
}

void shared_write(void)
{
    *shared_words(shared_find("ring")) = 1;
}
