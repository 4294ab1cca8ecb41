/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 10, this guest's part: an endless transfer, and an end while it runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/clock.h"

#define PAGES  256u                     /* 1 MiB */
#define BYTES  (PAGES * FRAME_SIZE)
#define SOURCE IOVA_LOW
#define TARGET (IOVA_LOW + SIZE_1G)

static bool has_gone_round(void *context)
{
    return ndma_bytes(context) > 4 * BYTES;
}

/* An interrupt without a gate, and none for the fault that follows. */
static _Noreturn void triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    __asm__ volatile("lidt %0; int3" : : "m"(none));
    __builtin_unreachable();
}

_Noreturn void scenario_busy(struct rig *r, enum busy_end end)
{
    static const char *const ends[] = {
        [BUSY_CRASH] = "a triple fault", [BUSY_EXIT] = "an exit", [BUSY_SPIN] = "a loop without end"
    };
    struct ndma_descriptor endless = { .op = NDMA_COPY, .flags = NDMA_REPEAT, .src = SOURCE, .dst = TARGET, .len = BYTES };
    struct scatter source, target;
    struct space s;
    bool moving;

    check_step("10", "an endless transfer");
    if (!space_open(&s, r))
        exit(check_summary());
    scatter_alloc(&source, PAGES);
    scatter_alloc(&target, PAGES);
    scatter_map(&s, &source, SOURCE, RW);
    scatter_map(&s, &target, TARGET, RW);
    ndma_submit(&r->dma, &endless);
    moving = wait_until(has_gone_round, &r->dma, 5000);
    if (!check(moving, "COPY of 1 MiB with REPEAT: %llu KiB moved, and it goes on", (unsigned long long)ndma_bytes(&r->dma) / 1024))
        exit(check_summary());
    printf("dma-check: now %s\n", ends[end]);
    fflush(stdout);
    switch (end) {
    case BUSY_CRASH:
        triple_fault();
    case BUSY_EXIT:
        exit(0);
    case BUSY_SPIN:
        break;
    }
    for (;;)
        cpu_pause();
}
