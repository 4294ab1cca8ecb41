/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * qi.h: queued invalidation (VT-d 5.10 section 6.5): descriptors, and the queue of one unit.
 *
 * A request is qi_add for each descriptor and one qi_finish, which makes one tail write and waits for one status.
 * Hardware orders context-cache before PASID-cache before IOTLB before device-TLB invalidations by itself (6.5.2.12), but for one
 * pair: a device TLB's (type 3) may overtake a first stage's (type 6).  qi_add puts a fence between them.
 */
#ifndef NIDUS_QI_H
#define NIDUS_QI_H

#include <stdbool.h>
#include <stdint.h>

struct unit;

struct qi_descriptor {          /* the lower half of a slot: the upper one is reserved in every type that nidus uses */
    uint64_t word[2];
};
_Static_assert(sizeof(struct qi_descriptor) == 16, "6.5.2");

struct qi_descriptor qi_context_global(void);
struct qi_descriptor qi_context_device(uint16_t source_id);
struct qi_descriptor qi_pasid_global(void);             /* the PASID cache */
struct qi_descriptor qi_pasid_domain(uint16_t did);
struct qi_descriptor qi_pasid_one(uint16_t did, uint32_t pasid);
struct qi_descriptor qi_iotlb_global(void);
struct qi_descriptor qi_iotlb_domain(uint16_t did);
/* 2^am pages at addr, which is aligned to them.  Second-stage addresses; drops all that is nested under did. */
struct qi_descriptor qi_iotlb_pages(uint16_t did, uint64_t addr, unsigned am);
struct qi_descriptor qi_first_stage_all(uint16_t did, uint32_t pasid);
struct qi_descriptor qi_first_stage_block(uint16_t did, uint32_t pasid, uint64_t block); /* engine.h */

/* Whom an invalidation of a device TLB goes to. */
struct qi_device {
    uint16_t source_id;
    uint16_t physical;          /* of its physical function; 0 where ECAP.DIT=0 */
    uint8_t pending;            /* invalidations that it takes at a time, 0: 32 */
};
#define QI_ALL 52u              /* am: everything */
/* 2^am pages at addr of what the device's requests without PASID, or with this one, use. */
struct qi_descriptor qi_device_tlb(struct qi_device device, uint64_t addr, unsigned am);
struct qi_descriptor qi_device_tlb_pasid(struct qi_device device, uint32_t pasid, uint64_t addr, unsigned am);
/* Ends a page request group.  code: NIDUS_PAGE_*. */
struct qi_descriptor qi_page_response(uint16_t source_id, bool has_pasid, uint32_t pasid, uint16_t group, unsigned code);

struct qi_descriptor qi_interrupts_global(void);
struct qi_descriptor qi_interrupt_entry(uint16_t index);
/* Writes data to the word at phys when everything before it has finished. */
struct qi_descriptor qi_wait(uint64_t phys, uint32_t data);
/* What follows begins when everything before it has finished. */
struct qi_descriptor qi_fence(void);

#define QI_ENTRIES 1024u        /* 8 pages: IQA.DW=1, 256 bits each */

struct qi {
    struct hw_word *ring;
    uint64_t ring_phys;
    uint32_t tail;              /* next free slot: its offset in the ring, as IQT has it */
    unsigned added;             /* descriptors since the last tail write; the ring is empty but for them */
    bool first_stage;           /* one of them is type 6, with no fence behind it */
    bool device_tlb;            /* one of them waits for a device */
    int error;                  /* of the request that is being put together */
    uint64_t wait;              /* word 0 of what ends it, but for its sequence number */
    uint32_t *status;           /* the unit writes [0] at the end of a request, [1] for a slot that was taken out; never freed */
    uint64_t status_phys;
    uint32_t sequence;
};

/* How many descriptors fit into one submission; into what is left of this one. */
#define QI_ROOM (QI_ENTRIES - 2u)
static inline unsigned qi_room(const struct qi *q)
{
    return QI_ROOM - q->added;
}

/* Allocates ring and status.  false: no memory. */
bool qi_alloc(struct unit *u);
/* Waits for and turns off the queue that firmware left, then turns on this one.  false: the unit does not answer. */
bool qi_start(struct unit *u);

/* Puts one descriptor into the ring; a full ring is submitted first. */
void qi_add(struct unit *u, struct qi_descriptor descriptor);
/* … and qi_first_stage_block for each of count blocks, one at least, for which there is room.  word0: the descriptors'. */
void qi_add_blocks(struct unit *u, uint64_t word0, const uint64_t *block, unsigned count);
/* Submits what was added and waits until it has happened.  -EIO: the unit is dead, or refused a descriptor (said in the log). */
int qi_finish(struct unit *u);
/* The same; and page requests that the unit had by then are in the page request queue (7.7). */
int qi_finish_drained(struct unit *u);

#endif
