/* SPDX-License-Identifier: BSD-2-Clause */
/* fault.h: the fault records of a unit (VT-d 5.10 chapter 7). */
#ifndef NIDUS_FAULT_H
#define NIDUS_FAULT_H

#include "iommu/unit.h"

/* What the code in a record means. */
struct fault_reason {
    const char *text;           /* NULL: the spec has no such code */
    uint8_t stage;              /* NIDUS_FAULT_STAGE_*, where the code alone tells */
    bool walk;                  /* a walk of the tables tells which level, and where the code leaves it open which stage */
};
struct fault_reason fault_reason(uint8_t code);

/* Reads and clears the unit's records: prints each in one line and hands it to the owner.  At most one round of them; true: there are more. */
bool fault_poll(struct unit *u);
/* A line about the unit as a whole: a few a second, the rest is counted. */
bool fault_may_print(struct unit *u);

#endif
