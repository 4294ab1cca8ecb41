/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events.c: remapping units interrupt; the handler takes a note, and the units are looked at between two runs of a guest.
 *
 * A unit interrupts once and then is silent until it has been looked at, so how often it is looked at bounds its interrupts, too: while guests
 * run, looking takes a quarter of the time at most, whatever their devices do.
 */
#include "kernel/events.h"

#include <stddef.h>

#include "drivers/lapic.h"
#include "iommu/iommu.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/time.h"
#include "kernel/trap.h"

static volatile bool noted = true; /* what was there before the first interrupt */
static bool silent;             /* some unit cannot interrupt: each tick is a note */
static uint64_t next_look;

void events_init(void)
{
    uint64_t address;
    uint32_t data;
    silent = !lapic_message(VECTOR_UNIT, &address, &data) || !iommu_interrupts(address, data);
}

void events_note(void)
{
    noted = true;
}

static uint64_t overdue(void)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++)
        if (guests[i].iommu != NULL) {
            uint64_t its = iommu_overdue(guests[i].iommu);
            due = its < due ? its : due;
        }
    return due;
}

void events_look(bool on_tick)
{
    uint64_t start = time_ns();
    if (on_tick) {
        overdue();
        noted |= silent;
    }
    if (!noted || (start < next_look && !on_tick))
        return;
    noted = false;
    noted |= iommu_poll();
    uint64_t end = time_ns();
    next_look = end + 3 * (end - start);
}

void events_wake(struct guest *g)
{
    if (g->state != GUEST_WAITING)
        return;
    bool ready = g->iommu != NULL && (iommu_ready(g->iommu) & g->wait_channels) != 0;
    if (ready || time_ns() >= g->wait_until || (g->waits && guest_apic_poll(&g->apic)))
        g->state = GUEST_RUNNING;
}

uint64_t events_rest_ns(void)
{
    uint64_t now = time_ns(), until = overdue();
    for (unsigned i = 0; i < BOOT_MAX_GUESTS; i++) {
        if (guests[i].state == GUEST_WAITING && guests[i].wait_until < until)
            until = guests[i].wait_until;
        if (((guests[i].state == GUEST_HALTED && !guests[i].waits) || silent) && now + SLICE_NS < until)
            until = now + SLICE_NS;
    }
    return noted || until < now ? 0 : until - now;
}

int64_t events_wait(struct guest *g, struct nidus_event_wait *wait)
{
    uint64_t now = time_ns(), began = g->wait_until;
    g->wait_until = 0;
    if (wait->flags != 0)
        return -NIDUS_EOPNOTSUPP;
    if ((wait->channels & ~(g->iommu != NULL ? iommu_channels(g->iommu) : 0)) != 0)
        return -NIDUS_ENOENT;
    uint64_t until = began != 0 ? began : wait->timeout_ns < UINT64_MAX - now ? now + wait->timeout_ns : UINT64_MAX;
    uint64_t ready = wait->channels & (g->iommu != NULL ? iommu_ready(g->iommu) : 0);
    if (ready == 0 && now < until) {
        g->wait_channels = wait->channels;
        g->wait_until = until;
        g->waits = guest_cpu->get(g->vcpu, VCPU_RFLAGS) & RFLAGS_IF; /* it has its interrupt, and then makes the call again */
        g->state = GUEST_WAITING;
        return CALL_AGAIN;
    }
    wait->channels = ready;
    return 0;
}
