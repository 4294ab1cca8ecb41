/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_unit.h: the registers of one remapping unit, as far as nidus commands it: GCMD shows in GSTS, a tail write performs wait
 * descriptors and keeps all others, and fences, for the test to look at.  It translates nothing.
 */
#ifndef HOST_FAKE_UNIT_H
#define HOST_FAKE_UNIT_H

#include "iommu/qi.h"
#include "tools/test/host/platform.h"

#define FAKE_UNIT_BASE 0xfed90000ULL
#define FAKE_FRO       0x220u
#define FAKE_RECORDS   4u       /* there is room for so many; CAP.NFR says one */
#define FAKE_LOG       4096
#define FAKE_SLOT      32u      /* of the queue */

struct fake_unit {
    struct host_registers registers;
    uint8_t page[8192];         /* the second one only where registers.size says so */
    struct qi_descriptor done[FAKE_LOG]; /* all descriptors but waits since fake_forget, in order */
    unsigned dones;
    unsigned tail_writes;
    uint32_t commands[64];      /* values written to GCMD */
    unsigned command_count;
    uint32_t ignores;           /* GCMD bits that never show in GSTS */
    bool silent;                /* the queue stands still */
    int refuses;                /* the n-th descriptor from now ends the queue with IQE; -1: none */
    bool timing_out;            /* the next wait is aborted with ITE */
    uint16_t deaf[2];           /* source-ids whose device TLBs do not answer: the next wait is aborted with ITE; 0: none */
    unsigned unanswered;        /* how often that happened */
    bool nameless;              /* … and ITESID is 0 */
    bool refetches;             /* … and the aborted wait is fetched once more */
    unsigned lags;              /* so many reads of IQH show it one descriptor behind */
    unsigned drains;            /* waits with PD=1 */
    uint32_t pmen_at_te_off;    /* PMEN when TE went off */
    bool pmen_stuck, prs_stuck; /* PMEN, PRS stay as they are */
};

extern struct fake_unit fake;

/* A unit that can do everything, of which a test takes away what it wants before iommu_init. */
void fake_unit_add(void);
/* Forgets all units, which nidus itself never does.  A cmocka teardown. */
int fake_units_free(void **state);
uint64_t fake_get64(uint32_t offset);
void fake_set64(uint32_t offset, uint64_t value);
uint32_t fake_get32(uint32_t offset);
void fake_set32(uint32_t offset, uint32_t value);
void fake_forget(void);
/* A fault record, as hardware leaves one. */
void fake_fault(uint64_t address, uint16_t source_id, uint8_t reason, bool read);
/* A page request at the tail of its queue. */
void fake_page_request(uint16_t source_id, uint64_t address, uint16_t group, unsigned flags);
/* The descriptor in the log, -1: none. */
int fake_found(struct qi_descriptor d);

/* A DMAR table with that unit, INCLUDE_PCI_ALL, and an RMRR of 00:14.0. */
const void *fake_dmar(uint32_t *length, uint8_t flags);

#endif
