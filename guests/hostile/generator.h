/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * generator.h: the calls of a guest that means no good.  The same code makes them in a guest (main.c) and in a process on the host with all of
 * iommu/ and the model of VT-d (tools/test/hostile).
 *
 * The choices of a call depend on seed and number of the call, and on what earlier calls gave.  Most payloads are made by a grammar of what a call
 * takes, with something wrong in many of them; the others are noise.
 */
#ifndef GUESTS_HOSTILE_GENERATOR_H
#define GUESTS_HOSTILE_GENERATOR_H

#include <stdbool.h>
#include <stdint.h>

enum hostile_kind { DEVICE, IOAS, PAGING, PARENT, NESTED, QUEUE, VIOMMU, VDEVICE, VEVENTQ, CHANNEL, KINDS };
#define HOSTILE_KNOWN  8u
#define HOSTILE_RECENT 8u

struct hostile {
    uint64_t seed;
    uint64_t calls;             /* made */
    uint64_t low, end;          /* the playground, at least 8 MiB: calls and devices may write to it.  At end is no RAM. */
    bool own;                   /* nidus's own calls are there, not only those of iommu/; … */
    uint64_t out_of_reach;      /* … and this is 64 bytes of RAM that no device gets to */
    uint64_t done;              /* calls that were 0 */
    /* private: */
    uint64_t choices;
    uint64_t array;             /* what the payload points to, … */
    uint64_t count;             /* … and how many of it there are */
    uint32_t id[KINDS][HOSTILE_KNOWN]; /* those that nidus gave of late, also when they are gone again */
    unsigned ids[KINDS];
    uint32_t sweep;             /* ids that it tries to destroy one after the other, before it goes on */
    uint32_t cookie;            /* of page requests */
    struct hostile_area {
        uint64_t iova, length;
    } area[HOSTILE_RECENT];     /* that were mapped of late, in the IOAS or in a first-stage table */
    unsigned areas;
    uint64_t length;            /* of the one that was last named */
};

/* What it stands on. */
int64_t port_call(struct hostile *h, uint64_t number, uint64_t payload, uint64_t device);
/* The playground. */
void port_write(struct hostile *h, uint64_t gpa, const void *from, uint32_t size);
void port_read(struct hostile *h, uint64_t gpa, void *to, uint32_t size);

/* seed, low, end and own are set.  The guest has just started: it knows the default IOAS and its devices. */
void hostile_start(struct hostile *h, uint32_t default_ioas);
void hostile_knows(struct hostile *h, enum hostile_kind kind, uint32_t id);
/* Begins the choices of the next call, which also those of devices are made from. */
void hostile_next(struct hostile *h);
uint64_t hostile_below(struct hostile *h, uint64_t n);
/* An address that a device may use, and one of the playground. */
uint64_t hostile_iova(struct hostile *h);
uint64_t hostile_gpa(struct hostile *h);
uint32_t hostile_pasid(struct hostile *h);
/* Makes it.  false: *result is nothing that a call may give. */
bool hostile_call(struct hostile *h, uint64_t *number, int64_t *result);

#endif
