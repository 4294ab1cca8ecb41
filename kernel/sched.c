/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sched.c: one CPU for all guests, in turn.
 *
 * A guest has the CPU for a slice, or until it halts or waits.  What it has beyond its slice, in calls that nidus finishes with
 * interrupts off, it owes, and pays with later turns.  Its own timer interrupts it in its slice; those of guests that halted are
 * looked at between slices, so that no guest can cut another's short.
 */
#include <stddef.h>

#include "kernel/cpu.h"
#include "kernel/events.h"
#include "kernel/guest.h"
#include "kernel/time.h"
#include "kernel/trap.h"

#define TIMER_MIN_NS 1000u      /* the shortest time a CPU is let run for: one that asks for less would not run at all */

/* Between slices: guests that halted go on, and so does what has become due; NMIs are told. */
static void tick(void)
{
    events_look(true);
    traps_tell_nmis();
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        if (guests[i].state == GUEST_HALTED && (!guests[i].waits || guest_apic_poll(&guests[i].apic)))
            guests[i].state = GUEST_RUNNING;
}

/* Ticks of the TSC until end, or until g's timer, if that is earlier. */
static uint64_t until(const struct guest *g, uint64_t end)
{
    uint64_t now = rdtsc(), least = now + tsc_of_ns(TIMER_MIN_NS), deadline = g->apic.deadline;
    end = deadline != 0 && deadline < end ? deadline : end;
    return (end > least ? end : least) - now;
}

/* Lets the guest run, or a call of it that has steps left: between those others have their turns, but it sees nothing of that. */
static void enter(struct guest *g, struct vcpu_exit *exit)
{
    if (g->call_length == 0) {
        guest_cpu->enter(g->vcpu, exit);
        return;
    }
    *exit = (struct vcpu_exit){ .kind = VCPU_EXIT_CALL, .length = g->call_length };
    g->call_length = 0;
}

static void run_slice(struct guest *g)
{
    struct vcpu_exit exit = { .kind = VCPU_EXIT_INTERRUPT };
    uint64_t start = rdtsc(), end = start + tsc_of_ns(SLICE_NS), deadline = 0;
    interrupts_take();          /* a tick of the slice before must not end this one */
    xstate_load(&g->xstate);
    if (guest_cpu->load != NULL)
        guest_cpu->load(g->vcpu);
    do {
        if (exit.kind == VCPU_EXIT_INTERRUPT || deadline != g->apic.deadline) {
            events_look(false); /* it may have been a unit's */
            guest_apic_poll(&g->apic);
            deadline = g->apic.deadline;
            guest_cpu->arm(g->vcpu, until(g, end));
        }
        if (g->apic.pending)
            guest_apic_deliver(g);
        enter(g, &exit);
        exit_handle(g, &exit);
    } while (g->state == GUEST_RUNNING && rdtsc_about() < end);
    uint64_t used = tsc_to_ns(rdtsc() - start);
    if (used > 2 * SLICE_NS)
        g->debt += used - SLICE_NS;
    if (used >= SLICE_NS)
        tick();
}

#define IDLE_MAX_NS 1000000000u

/* All have halted or wait: until something is due, or the first of their timers. */
static void idle(void)
{
    uint64_t rest = events_rest_ns(), ticks = tsc_of_ns(rest < IDLE_MAX_NS ? rest : IDLE_MAX_NS);
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        if (guests[i].state == GUEST_HALTED || (guests[i].state == GUEST_WAITING && guests[i].waits))
            ticks = until(&guests[i], rdtsc() + ticks);
    tick_arm(tsc_to_ns(ticks));
    interrupts_wait();
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
            idle();
            continue;
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
