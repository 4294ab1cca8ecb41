/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmar.h: reads the ACPI DMAR table (VT-d 5.10 chapter 8), whatever is in it.  No read leaves the table and every loop moves forward.
 *
 * Iteration passes over what is damaged or unknown in silence; dmar_report names it, once.
 */
#ifndef NIDUS_DMAR_H
#define NIDUS_DMAR_H

#include <stdbool.h>
#include <stdint.h>

enum dmar_type { DMAR_DRHD, DMAR_RMRR, DMAR_ATSR, DMAR_RHSA, DMAR_ANDD, DMAR_SATC, DMAR_SIDP, DMAR_TYPES };

struct dmar {
    const uint8_t *bytes;
    uint32_t length;            /* bytes that are both readable and part of the table */
};

struct dmar_structure {
    uint32_t offset;            /* in the table; 0 starts an iteration */
    uint16_t type;              /* enum dmar_type */
    uint16_t length;
};

struct dmar_drhd {
    uint16_t segment;
    bool include_all;
    uint64_t base, size;
};

struct dmar_rmrr {              /* reserved memory that firmware has devices use */
    uint16_t segment;
    uint64_t base, limit;       /* limit: last byte */
};

/* false: it cannot be used at all, reason says why. */
bool dmar_open(struct dmar *d, const void *table, uint32_t length, char reason[160]);
/* Width of physical addresses, as the table has it; 52 where that cannot be (dmar_report says so). */
unsigned dmar_host_width(const struct dmar *d);
/* Does firmware say that the platform can remap interrupts? */
bool dmar_interrupt_remapping(const struct dmar *d);

/* The next undamaged structure of a known type. */
bool dmar_next(const struct dmar *d, struct dmar_structure *s);
struct dmar_drhd dmar_drhd(const struct dmar *d, const struct dmar_structure *s);
struct dmar_rmrr dmar_rmrr(const struct dmar *d, const struct dmar_structure *s);

/* One line of the log for each structure that is damaged or unknown. */
void dmar_report(const struct dmar *d);

/* The DRHD that covers the function: one that names it, else one that names a bridge above it, else the segment's
 * INCLUDE_PCI_ALL.  *offset: of the structure. */
bool dmar_find_drhd(const struct dmar *d, uint16_t segment, uint16_t bdf, uint32_t *offset);
/* The first RMRR that names the function or a bridge above it. */
bool dmar_find_rmrr(const struct dmar *d, uint16_t segment, uint16_t bdf, struct dmar_rmrr *rmrr);

#endif
