/* SPDX-License-Identifier: BSD-2-Clause */
/* attach.h: devices, for the rest of the engine. */
#ifndef NIDUS_ATTACH_H
#define NIDUS_ATTACH_H

#include "iommu/unit.h"

/* struct device, snoop. */
#define SNOOP_WALKS 1u          /* table walks snoop: PWSNP */
#define SNOOP_PAGES 2u          /* the final access does: PGSNP */

/* Can its unit set A and D in the second stage for it?  Only where its walks snoop (3.10). */
bool device_tracks(const struct device *dev);

/* Puts blocking entries in place for a device whose unit is set.  false: reason says why not. */
bool device_add(struct device *dev, char reason[160]);

/* 0, or why a unit cannot walk f (one line of the log): -EINVAL, -EOPNOTSUPP. */
int first_stage_check(const struct unit *u, const struct first_stage *f);

/* One line about something that owner's call asked for; returns -error. */
#define refuse(owner, error, ...) (platform_guest_log(owner, __VA_ARGS__), -(error))

#endif
