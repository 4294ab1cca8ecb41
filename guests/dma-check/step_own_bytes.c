/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Step 9: every guest that runs this uses the same IOVAs and the same GPAs, its own name for a seed, and looks at every byte that its
 * device reads or writes: they are its own.
 */
#include <stdio.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/clock.h"

#define PAGES  64u
#define BYTES  (PAGES * FRAME_SIZE)
#define ROUNDS 32u
#define SOURCE (IOVA_LOW + 3 * SIZE_1G)
#define TARGET (IOVA_LOW + 4 * SIZE_1G)

static uint64_t name_seed(void)
{
    uint64_t hash = 0xcbf29ce484222325ULL;      /* FNV-1a */

    for (const char *c = guest_info->name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
    return hash;
}

static bool one_round(struct rig *r, const struct scatter *source, const struct scatter *target, uint8_t *plain, uint64_t seed)
{
    struct ndma_descriptor check_pattern = { .op = NDMA_CHECK, .src = SOURCE, .len = BYTES, .seed = seed };

    ndma_pattern(plain, 0, BYTES, seed);
    scatter_write(source, 0, plain, BYTES);
    cpu_yield();
    if (ndma_run(&r->dma, &check_pattern) != NDMA_DONE || dma_copy(r, SOURCE, TARGET, BYTES) != NDMA_DONE)
        return false;
    cpu_yield();
    scatter_read(target, 0, plain, BYTES);
    if (ndma_pattern_check(plain, 0, BYTES, seed) != BYTES)
        return false;
    scatter_read(source, 0, plain, BYTES);
    return ndma_pattern_check(plain, 0, BYTES, seed) == BYTES;
}

void step_own_bytes(struct rig *r)
{
    struct scatter source, target;
    uint64_t seed = name_seed();
    unsigned good = 0;
    struct space s;
    uint8_t *plain;

    check_step("9", "only our own bytes");
    if (!space_open(&s, r))
        return;
    scatter_alloc(&source, PAGES);
    scatter_alloc(&target, PAGES);
    plain = frames_need(BYTES, FRAME_SIZE, "a plain buffer");
    scatter_map(&s, &source, SOURCE, RW);
    scatter_map(&s, &target, TARGET, RW);
    for (unsigned i = 0; i < ROUNDS; i++)
        good += one_round(r, &source, &target, plain, seed + i);
    check(good == ROUNDS, "%u of %u rounds of %llu KiB, IOVA 0x%llx -> GPA 0x%llx to IOVA 0x%llx -> GPA 0x%llx, saw only the bytes of %s",
          good, ROUNDS, BYTES / 1024, SOURCE, (unsigned long long)gpa_of(source.page[0]), TARGET,
          (unsigned long long)gpa_of(target.page[0]), guest_info->name);
    space_close(&s);
    scatter_free(&source);
    scatter_free(&target);
    frames_free(plain, BYTES);
}
