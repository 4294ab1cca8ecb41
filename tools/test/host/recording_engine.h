/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recording_engine.h: iommu/engine.h for tests of the object layer: second stages are real tables, units and devices are
 * not; it records what it was told and fails on demand.
 */
#ifndef HOST_RECORDING_ENGINE_H
#define HOST_RECORDING_ENGINE_H

#include "iommu/engine.h"
#include "kernel/abi/iommufd.h"

enum engine_call {
    ENGINE_NONE, ENGINE_DEVICE_INIT, ENGINE_DEVICE_FINI, ENGINE_DOMAIN_INIT, ENGINE_DOMAIN_FINI, ENGINE_MAP, ENGINE_UNMAP,
    ENGINE_TRACK, ENGINE_READ_DIRTY, ENGINE_FIRST_INIT, ENGINE_FIRST_FINI, ENGINE_ATTACH, ENGINE_DETACH, ENGINE_INVALIDATE, ENGINE_POLL, ENGINE_PAGE_CHECK,
    ENGINE_PAGE_ON, ENGINE_PAGE_OFF, ENGINE_PAGE_RESPONSE, ENGINE_CALLS
};

/* What a failed call has done all the same; BOTH: what was to be left is in use as well. */
enum engine_damage { DAMAGE_NONE, DAMAGE_DONE, DAMAGE_BLOCKED, DAMAGE_BOTH };

struct engine_recording {
    unsigned count[ENGINE_CALLS];
    uint64_t *page;             /* of all invalidations: their addresses, with BLOCK_IH; EVERYTHING for everything */
    unsigned pages;
    struct engine_blocks blocks; /* of the last one */
    struct first_stage *invalidated; /* the last one */
    struct engine_page_answer answer[64]; /* to page requests, all of them … */
    const struct device *answered[64]; /* … of this device */
    unsigned answers;
    const struct engine_page_request *late; /* arrives while page requests go off, and was taken or not */
    bool late_taken;
    const struct engine_page_request *at_once; /* arrives when a device has just been attached */
    struct unit_info unit;      /* of every device */
    unsigned levels;            /* of second stages */
    bool no_snoop;
    bool fenced;                /* every device */
    struct nidus_iova_range reserved; /* of every new second stage, where last is not 0 */
    enum engine_call fail_call;
    unsigned fail_in;           /* 1: the next call of fail_call */
    int fail_error;
    enum engine_damage fail_damage;
};
extern struct engine_recording engine;

void engine_recording_reset(void);
/* The n-th engine call of this kind from now returns error. */
void engine_fail(enum engine_call call, unsigned n, int error, enum engine_damage damage);

#endif
