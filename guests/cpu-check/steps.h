/* SPDX-License-Identifier: BSD-2-Clause */
/* steps.h: what cpu-check does, one function a step, and the ways in which it ends. */
#ifndef GUESTS_CPU_CHECK_STEPS_H
#define GUESTS_CPU_CHECK_STEPS_H

#include <stdbool.h>

void step_start(void);          /* 1: what the CPU holds when a guest starts */
void step_cpuid(void);          /* 2 */
void step_msr(void);            /* 3 */
void step_exceptions(void);     /* 4 */
void step_interrupts(void);     /* 5 */
void step_timer(void);          /* 6 */
void step_xsave(void);          /* 7 */
void step_calls(void);          /* 8 */
/* Fills every register with a pattern of its own, gives the CPU away, and looks again; not in the steps. */
void scenario_state(unsigned seed);
/* Shared regions; the other guest does the same with other rights. */
void scenario_shared(void);
void shared_write(void);        /* to the one that it may only read */
/* Does what no guest may: name is "io", "msr" …; false: no such end.  Returns from it only when nothing happened. */
bool scenario_end(const char *name);
/* Hypercalls and exits to count instructions with; prints a line for each. */
void scenario_bench(void);
/* Reads at NOWHERE right after the TSC: an end. */
void bench_violation(void);

#define NOWHERE 0x30000000ull   /* mapped by the first page tables, and no RAM */

#endif
