/* SPDX-License-Identifier: BSD-2-Clause */
/* attach.h: where a table is in use: one domain id for each unit. */
#ifndef NIDUS_ATTACH_H
#define NIDUS_ATTACH_H

#include "iommu/unit.h"

/*
 * A second-stage table, or a first-stage table over one, in use on a unit.  Its DID is its own: so the same DID always means the same
 * SSPTPTR, AW, FSPTPTR, FSPM and PGTT, as the spec wants (6.2.3.1).  Owned by the list it is in; lives while devices is not 0.
 */
struct attachment {
    struct attachment *next;
    struct unit *unit;
    uint16_t did;
    uint8_t snoop;              /* SNOOP_* of its entries: the same for all with the DID */
    unsigned devices;
};

/* What requests of dev do with caches, as its unit can and firmware allows (SIDP). */
#define SNOOP_WALKS 1u          /* table walks snoop: PWSNP */
#define SNOOP_PAGES 2u          /* the final access does: PGSNP */
uint8_t device_snoop(const struct device *dev);

/* Puts blocking entries in place for a device whose unit is set.  false: reason says why not. */
bool device_add(struct device *dev, char reason[160]);

/* 0, or why a unit cannot walk f (one line of the log): -EINVAL, -EOPNOTSUPP. */
int first_stage_check(const struct unit *u, const struct first_stage *f);

/* One line about something that owner's call asked for; returns -error. */
#define refuse(owner, error, ...) (platform_guest_log(owner, __VA_ARGS__), -(error))

#endif
