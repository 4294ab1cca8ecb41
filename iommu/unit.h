/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unit.h: one remapping unit: what it can do, what nidus has given it, and its bring-up.
 */
#ifndef NIDUS_UNIT_H
#define NIDUS_UNIT_H

#include "iommu/bits.h"
#include "iommu/dmar.h"
#include "iommu/engine.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"
#include "iommu/prq.h"
#include "iommu/qi.h"

struct root_entry;

/* What is found out at the start stays as it is; the lock guards all else. */
struct unit {
    struct unit *next;
    struct lock lock;
    unsigned index;
    uint32_t drhd;              /* offset of its structure in the DMAR table */
    uint16_t segment;
    uint64_t base, size;        /* of its registers */
    volatile void *registers;
    uint32_t version;
    uint64_t cap, ecap;
    unsigned host_width;        /* of physical addresses */
    bool nested;                /* nested translation works */
    bool errata_772415;
    bool usable;                /* taken over: devices can be assigned */
    bool dead;                  /* did not answer once; never spoken to again */
    char reason[160];           /* why it is not usable */
    struct qi qi;
    struct prq prq;
    struct root_entry *root;
    struct hw_word *irtes;      /* the interrupt remapping table */
    unsigned did_last;          /* domain ids to use are 1 to this */
    uint64_t *dids;             /* a bit for each in use … */
    struct domain_id *ids;      /* … and for what */
    struct device *devices;     /* assigned ones */
    bool device_tlbs;           /* the TLB of one of them was on */
    bool device_lost;           /* the device TLB of one of them did not answer, and it is not blocked yet */
    uint64_t faults, faults_unprinted;
    uint64_t fault_second;      /* in which fault_lines were printed */
    unsigned fault_lines;
};

/* No answer within this time: the unit is dead. */
#define UNIT_TIMEOUT_NS 1000000000ULL

#define unit_log(u, text, ...) \
    platform_log("unit %u at 0x%llx: " text, (u)->index, (ull)(u)->base, ##__VA_ARGS__)

static inline uint32_t unit_read32(const struct unit *u, uint32_t offset) { return platform_read32(u->registers, offset); }
static inline uint64_t unit_read64(const struct unit *u, uint32_t offset) { return platform_read64(u->registers, offset); }
static inline void unit_write32(const struct unit *u, uint32_t offset, uint64_t v) { platform_write32(u->registers, offset, (uint32_t)v); }
static inline void unit_write64(const struct unit *u, uint32_t offset, uint64_t v) { platform_write64(u->registers, offset, v); }

/* Reads the unit's capabilities, then takes it over: afterwards every DMA and every interrupt request is blocked.  On failure
 * u->reason says why; what firmware had set up stays as it is where the unit lacks something. */
void unit_start(struct unit *u, bool interrupt_remapping, enum iommu_errata_policy errata, enum iommu_rmrr_policy rmrr);

/* Has it send this message when it has faults or page requests, if it can. */
bool unit_interrupts(struct unit *u, uint64_t address, uint32_t data);

/* Sets or clears one bit of GCMD and waits for it to show in GSTS.  false: it does not; the unit is then dead. */
bool unit_command(struct unit *u, uint64_t bit, bool on, const char *what);
/* Waits until (register & mask) == value.  false: it does not happen; the unit is then dead. */
bool unit_wait32(struct unit *u, uint32_t offset, uint64_t mask, uint64_t value, const char *what);
enum unit_failure { UNIT_SILENT, UNIT_GONE, UNIT_REFUSES };
/* Fences the unit off: Bus Master of all its devices off, no command ever again.  Says so, once. */
void unit_dead(struct unit *u, enum unit_failure how, const char *what);

/* A domain id that nothing uses, or -ENOSPC. */
int unit_did_alloc(struct unit *u);
/* The caches hold nothing of it any more. */
void unit_did_free(struct unit *u, uint16_t did);

/* Bits of the addresses that the second stage takes from a table of that many levels. */
unsigned unit_address_width(const struct unit *u, unsigned levels);

/* Every unit of the machine, usable or not. */
extern struct unit *units;
/* The unit that covers a function.  NULL: none that devices can be assigned under; reason says why. */
struct unit *unit_find(uint16_t segment, uint16_t bdf, char reason[160]);
/* Is u the unit for this function of its segment? */
bool unit_covers(const struct unit *u, uint16_t bdf);
/* The machine's DMAR table: where there is a unit, there is one. */
const struct dmar *unit_table(void);
/* The physical function that a virtual one belongs to (it has the same unit); else bdf itself. */
uint16_t unit_physical_function(uint16_t segment, uint16_t bdf);

/* The device on u with this source-id that somebody owns, or NULL. */
struct device *unit_device(const struct unit *u, uint16_t source_id);
const char *unit_owner_name(const struct device *dev); /* dev may be NULL */

#endif
