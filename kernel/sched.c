/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sched.c: one CPU for all guests, in turn.
 *
 * A guest has the CPU until the tick, or until it halts.  What it has beyond its slice, in calls that nidus finishes with
 * interrupts off, it owes, and pays with later turns.
 */
#include "iommu/iommu.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/time.h"

/* Each interrupt is a tick: it ends halts, and faults of devices are looked for. */
static void tick(void)
{
    iommu_poll();
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        if (guests[i].state == GUEST_HALTED)
            guests[i].state = GUEST_RUNNING;
}

static void run_slice(struct guest *g)
{
    struct vcpu_exit exit;
    uint64_t used, start = time_ns();
    interrupts_take();          /* a tick of the slice before must not end this one */
    tick_arm(SLICE_NS);
    xstate_load(&g->xstate);
    guest_cpu->load(g->vcpu);
    do {
        guest_cpu->enter(g->vcpu, &exit);
        exit_handle(g, &exit);
        used = time_ns() - start;
    } while (g->state == GUEST_RUNNING && exit.kind != VCPU_EXIT_INTERRUPT && used < SLICE_NS);
    if (used > 2 * SLICE_NS)
        g->debt += used - SLICE_NS;
    if (exit.kind == VCPU_EXIT_INTERRUPT || used >= SLICE_NS)
        tick();
}

/* A guest in debt lets the others pass. */
static bool may_run(struct guest *g, bool alone)
{
    if (g->state != GUEST_RUNNING)
        return false;
    if (alone || g->debt < SLICE_NS) {
        g->debt = alone ? 0 : g->debt;
        return true;
    }
    g->debt -= SLICE_NS;
    return false;
}

static unsigned count(enum guest_state state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        n += guests[i].state == state;
    return n;
}

void guests_run(void)
{
    bool reclaiming = false;
    for (;;) {
        unsigned running = count(GUEST_RUNNING);
        if (running == 0 && !reclaiming) {
            if (count(GUEST_HALTED) == 0)
                return;
            tick_arm(SLICE_NS);
            interrupts_wait();
            tick();
            continue;
        }
        reclaiming = false;
        for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++) {
            if (may_run(&guests[i], count(GUEST_RUNNING) == 1))
                run_slice(&guests[i]);
            if (guests[i].state == GUEST_ENDED)
                reclaiming |= guest_reclaim(&guests[i]);
        }
    }
}
