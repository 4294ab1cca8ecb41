/* SPDX-License-Identifier: BSD-2-Clause */
/* steps.h: the steps of the demonstration and the scenarios; each prints its lines. */
#ifndef GUESTS_DMA_CHECK_STEPS_H
#define GUESTS_DMA_CHECK_STEPS_H

#include "guests/dma-check/rig.h"

void step_blocked(struct rig *r);                               /* 1 */
void step_hw_info(struct rig *r);                               /* 2 */
void step_transfers(struct rig *r);                             /* 3 */
void step_accessed(struct rig *r);                              /* 4 */
void step_stale(struct rig *r);                                 /* 5 */
void step_faults(struct rig *r);                                /* 6 */
void step_interrupts(struct rig *r);                            /* 7 */
void step_read_only(struct rig *r);                             /* 8 */
void step_own_bytes(struct rig *r);                             /* 9 */

void scenario_errata_demo(struct rig *r);
void scenario_refuse_read_only(struct rig *r);
void scenario_plain_read_only(struct rig *r);
void scenario_no_nested(struct rig *r);
void scenario_bad_payloads(struct rig *r);
void scenario_storm(struct rig *r);
void scenario_events(struct rig *r);
void scenario_paging(struct rig *r);
void scenario_dirty(struct rig *r);
void scenario_pasid(struct rig *r);
void scenario_shared(struct rig *r);
void scenario_shared_left_out(struct rig *r);

/* An endless transfer, and then an end of each kind. */
enum busy_end { BUSY_CRASH, BUSY_EXIT, BUSY_SPIN };
_Noreturn void scenario_busy(struct rig *r, enum busy_end end);

#endif
