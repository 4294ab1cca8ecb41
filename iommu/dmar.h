/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmar.h: reads the ACPI DMAR table (VT-d 5.10 chapter 8), whatever is in it.  No read leaves the table and every loop moves forward.
 *
 * Iteration passes over what is damaged in silence, and gives what is of unknown type with that type; dmar_report names both, once.
 * A table is read in place: its bytes stay as they are while it is used.  tools/nidus-dmar prints tables with the same code.
 */
#ifndef NIDUS_DMAR_H
#define NIDUS_DMAR_H

#include <stdbool.h>
#include <stdint.h>

enum dmar_type { DMAR_DRHD, DMAR_RMRR, DMAR_ATSR, DMAR_RHSA, DMAR_ANDD, DMAR_SATC, DMAR_SIDP, DMAR_TYPES };

struct dmar {
    const uint8_t *bytes;
    uint32_t length;            /* bytes that are both readable and part of the table */
    bool units_hidden;          /* damage may hide which devices a unit has, or a whole unit */
};

struct dmar_structure {
    uint32_t offset;            /* in the table; 0 starts an iteration */
    uint16_t type;              /* enum dmar_type, or one that is not known */
    uint16_t length;
    uint16_t segment;           /* not of RHSA, ANDD */
    uint8_t flags;              /* of DRHD, ATSR, SATC */
};

#define DMAR_DRHD_INCLUDE_PCI_ALL 0x01u
#define DMAR_ATSR_ALL_PORTS       0x01u
#define DMAR_SATC_ATC_REQUIRED    0x01u

/* One device, or all below a bridge, that a DRHD, RMRR, ATSR, SATC or SIDP is about (8.3.1). */
struct dmar_scope {
    uint32_t offset;            /* in the table; 0 starts an iteration */
    uint8_t type;               /* enum dmar_scope_type, or one that is not known */
    uint8_t length;
    uint8_t flags;              /* in SIDP: DMAR_NO_NESTED … */
    uint8_t id;                 /* of an I/O APIC, an HPET, a namespace device */
    uint8_t bus;                /* that the path begins on */
    uint8_t pairs;
    const uint8_t *path;        /* {device, function} of each bridge on the way, then of the device */
};

enum dmar_scope_type { DMAR_ENDPOINT = 1, DMAR_BRIDGE, DMAR_IOAPIC, DMAR_HPET, DMAR_NAMESPACE };

/* What firmware says of a device inside the SoC. */
#define DMAR_NO_NESTED    0x01u /* requests without PASID should not use nested translation */
#define DMAR_NO_PWSNP     0x02u /* and must not have PWSNP=1 */
#define DMAR_NO_PGSNP     0x04u /* nor PGSNP=1 or SNP=1 in a leaf */
#define DMAR_ATC_HARDENED 0x08u /* its ATC was validated as 4.4 says: ATS may be on */
#define DMAR_ATC_REQUIRED 0x10u /* it does not work without ATS */

struct dmar_drhd {
    uint16_t segment;
    uint64_t base, size;        /* of its registers */
};

struct dmar_rmrr {              /* reserved memory that firmware has devices use */
    uint16_t segment;
    uint64_t base, limit;       /* limit: last byte */
};

struct dmar_rhsa {              /* a unit and the memory near it */
    uint64_t base;
    uint32_t proximity_domain;
};

struct dmar_andd {              /* the ACPI device that a namespace scope's id means */
    uint8_t id;
    const char *name;
};

/* false: it cannot be used at all, reason says why.  Never for what is in its structures. */
bool dmar_open(struct dmar *d, const void *table, uint32_t length, char reason[160]);
/* Width of physical addresses, as the table has it; 52 where that cannot be (dmar_report says so). */
unsigned dmar_host_width(const struct dmar *d);
/* Does firmware say that the platform can remap interrupts? */
bool dmar_interrupt_remapping(const struct dmar *d);
const char *dmar_type_name(uint16_t type);

/* The next structure that is not damaged. */
bool dmar_next(const struct dmar *d, struct dmar_structure *s);
/* The structure's next scope that is not damaged; a structure that has none gives none. */
bool dmar_next_scope(const struct dmar *d, const struct dmar_structure *s, struct dmar_scope *c);
struct dmar_drhd dmar_drhd(const struct dmar *d, const struct dmar_structure *s);
struct dmar_rmrr dmar_rmrr(const struct dmar *d, const struct dmar_structure *s);
struct dmar_rhsa dmar_rhsa(const struct dmar *d, const struct dmar_structure *s);
struct dmar_andd dmar_andd(const struct dmar *d, const struct dmar_structure *s);

/* One line of the log for each thing that is damaged, impossible or unknown, up to what a person reads.  true: nothing is but
 * unknown types, which firmware newer than nidus may have. */
bool dmar_report(const struct dmar *d);
/* Is the RMRR whole pages, as 8.4 wants it? */
bool dmar_rmrr_is_possible(const struct dmar_rmrr *rmrr);

/* The source-id that the scope names; bridges on the way tell their secondary bus.  false: the way is not there. */
bool dmar_scope_function(const struct dmar_scope *c, uint16_t segment, uint16_t *bdf);

/* The DRHD that covers the function: one that names it, else one that names a bridge above it, else the segment's
 * INCLUDE_PCI_ALL.  *offset: of the structure.  false: there is none, or it cannot be told, and reason says why.  A virtual function is
 * its physical function's in this and all that follows (8.3.3). */
bool dmar_find_drhd(const struct dmar *d, uint16_t segment, uint16_t bdf, uint32_t *offset, char reason[160]);
/* The next RMRR that names the function or a bridge above it.  s: as for dmar_next. */
bool dmar_next_rmrr(const struct dmar *d, uint16_t segment, uint16_t bdf, struct dmar_structure *s, struct dmar_rmrr *rmrr);
/* Does the function lie below a root port that an ATSR allows ATS through? */
bool dmar_allows_ats(const struct dmar *d, uint16_t segment, uint16_t bdf);
/* DMAR_NO_NESTED … of the function: from SIDP, or from SATC where no SIDP is (8.9). */
uint8_t dmar_properties(const struct dmar *d, uint16_t segment, uint16_t bdf);

#endif
