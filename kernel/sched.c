/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sched.c: one CPU for all guests, in turn.
 *
 * A guest has the CPU until the tick, or until it halts or waits.  What it has beyond its slice, in calls that nidus finishes with
 * interrupts off, it owes, and pays with later turns.
 */
#include "kernel/cpu.h"
#include "kernel/events.h"
#include "kernel/guest.h"
#include "kernel/time.h"

/* The end of a slice: it ends halts, too. */
static void tick(void)
{
    events_look(true);
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        if (guests[i].state == GUEST_HALTED)
            guests[i].state = GUEST_RUNNING;
}

static void run_slice(struct guest *g)
{
    struct vcpu_exit exit;
    uint64_t used, start = time_ns();
    interrupts_take();          /* a tick of the slice before */
    tick_arm(SLICE_NS);
    do {
        guest_cpu->enter(g->vcpu, &exit);
        exit_handle(g, &exit);
        used = time_ns() - start;
        if (exit.kind == VCPU_EXIT_INTERRUPT && used < SLICE_NS) { /* a unit's, or a tick that is early by the other clock */
            events_look(false);
            tick_arm(SLICE_NS - used);
        }
    } while (g->state == GUEST_RUNNING && used < SLICE_NS);
    if (used > 2 * SLICE_NS)
        g->debt += used - SLICE_NS;
    if (used >= SLICE_NS)
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

/* Those that can go on; whose waiting is over goes on. */
static unsigned count_running(void)
{
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        events_wake(&guests[i]);
    return count(GUEST_RUNNING);
}

void guests_run(void)
{
    bool reclaiming = false;
    for (;;) {
        if (count_running() == 0 && !reclaiming) {
            if (count(GUEST_HALTED) + count(GUEST_WAITING) == 0)
                return;
            tick_arm(events_rest_ns());
            interrupts_wait();
            tick();
        }
        reclaiming = false;
        for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++) {
            if (may_run(&guests[i], count_running() == 1))
                run_slice(&guests[i]);
            if (guests[i].state == GUEST_ENDED)
                reclaiming |= guest_reclaim(&guests[i]);
        }
    }
}
