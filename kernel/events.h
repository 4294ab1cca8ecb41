/* SPDX-License-Identifier: BSD-2-Clause */
/* events.h: what remapping units announce by interrupts, and guests that wait for what comes of it. */
#ifndef NIDUS_EVENTS_H
#define NIDUS_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct guest;
struct nidus_event_wait;

/* After iommu_init: units interrupt this processor from now on. */
void events_init(void);
/* For the interrupt handler: a unit has something.  No more than a note is taken. */
void events_note(void);
/* Looks at the units if one has said that there is something.  on_tick: and does what has become due. */
void events_look(bool on_tick);
/* Lets a guest go on that waits, if its time or what it waits for has come, or an interrupt of its own. */
void events_wake(struct guest *g);
/* All guests wait: how long nothing is to be done, if no interrupt comes. */
uint64_t events_rest_ns(void);

/* The call EVENT_WAIT.  CALL_AGAIN: the guest waits. */
int64_t events_wait(struct guest *g, struct nidus_event_wait *wait);

#endif
