/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cpu-check: the processor that nidus gives a guest, tried from inside, and printed line by line.  The lines are the same whatever
 * processor nidus runs on.  `args` in nidus.conf chooses what to do; none: all steps.
 *
 *   step=N            only step N (may be repeated)
 *   state=N           fills every register with a pattern made of N, again and again, between turns of other guests
 *   shared            regions that it shares with another guest, which does the same
 *   end=NAME          what no guest may do (end.c)
 *   bench             exits to count instructions with
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/call.h"
#include "guests/runtime/check.h"

const char check_program[] = "cpu-check";

static void (*const steps[])(void) = {
    NULL, step_start, step_cpuid, step_msr, step_exceptions, step_interrupts, step_timer, step_xsave, step_calls,
};
#define STEPS (sizeof(steps) / sizeof(steps[0]) - 1)

/* false: no such argument. */
static bool perform(const char *word, unsigned *wanted)
{
    const char *value = strchr(word, '=') ? strchr(word, '=') + 1 : "";
    unsigned number = (unsigned)strtoul(value, NULL, 10);

    if (strncmp(word, "step=", 5) == 0 && number >= 1 && number <= STEPS)
        return *wanted |= 1u << number;
    if (strncmp(word, "state=", 6) == 0)
        return scenario_state(number), true;
    if (strncmp(word, "end=", 4) == 0)
        return scenario_end(value);
    if (strcmp(word, "shared") == 0)
        return scenario_shared(), true;
    if (strcmp(word, "bench") == 0)
        return scenario_bench(), true;
    return false;
}

int main(void)
{
    char args[sizeof(guest_info->args) + 1] = { 0 };
    unsigned wanted = 0;

    trap_init();
    memcpy(args, guest_info->args, sizeof(guest_info->args));
    if (args[0] == '\0')
        wanted = ~0u;
    for (char *word = strtok(args, " "); word; word = strtok(NULL, " "))
        if (!perform(word, &wanted)) {
            printf("cpu-check: unknown argument '%s'\n", word);
            return 2;
        }
    for (unsigned n = 1; n <= STEPS; n++)
        if (wanted & 1u << n)
            steps[n]();
    return check_summary();
}
