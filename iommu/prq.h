/* SPDX-License-Identifier: BSD-2-Clause */
/* prq.h: the page request queue of a unit (VT-d 5.10 section 7.4 to 7.7): read by iommu_poll, answered through the invalidation queue. */
#ifndef NIDUS_PRQ_H
#define NIDUS_PRQ_H

#include <stdbool.h>

struct unit;

struct prq {
    struct hw_word *ring;       /* NULL: the unit has no page requests */
};

/* ECAP.PRS=0: nothing.  false: no memory. */
bool prq_alloc(struct unit *u);
/* Before translation is on. */
void prq_start(struct unit *u);

/* Hands at most one full queue to the owners of the devices; what nobody takes is answered "invalid".  true: some had not fitted, the unit
 * answered or dropped them by itself. */
bool prq_poll(struct unit *u);

#endif
