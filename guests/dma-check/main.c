/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dma-check: drives edu and nidus-dma through page tables of its own and prints, line by line, what it tried and what came
 * back.  `args` in nidus.conf chooses what to do; none: steps 1 to 9.
 *
 *   step=N            only step N (may be repeated)
 *   errata=0, =1      what hw_info must say of erratum 772415
 *   readonly          nested = off: read-only mappings work and hold
 *   refuse-readonly   erratum in force: a nest parent takes no read-only mapping
 *   errata-demo       nidus: errata off, unit: erratum on: what the rule protects from
 *   no-iommu          there are no devices, and that is right
 *   no-nested         a device without nested translation
 *   bad-payloads      hypercalls with every kind of bad payload
 *   again             the steps once more, and so on until one fails; each round ends with a summary
 *   storm             faults for 2 s, and the longest invalidation that a call may ask for
 *   events            faults of nidus-dma as events that one can wait for
 *   paging            pages that nidus-dma asks for (PRI) come when it asks
 *   pasid             several first stages by PASID, with and without ATS
 *   dirty             dirty tracking against what nidus-dma wrote
 *   shared            memory shared with another guest that runs the same: nested = on writes, off reads
 *   shared-left-out   erratum in force: a read-only region is not for devices under nesting
 *   crash, exit-busy, spin   an endless transfer, then a triple fault, an exit, an endless loop
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/dma-check/steps.h"
#include "guests/runtime/check.h"

#define STEPS 9u

const char check_program[] = "dma-check";

struct plan {
    unsigned steps;             /* bit n: step n */
    enum errata_wanted errata;
    void (*scenario)(struct rig *r);
    bool busy;
    enum busy_end busy_end;
    bool no_devices;
    bool again;
};

static const struct {
    const char *name;
    void (*run)(struct rig *r);
} scenarios[] = {
    { "readonly", scenario_plain_read_only },  { "refuse-readonly", scenario_refuse_read_only },
    { "errata-demo", scenario_errata_demo },   { "no-nested", scenario_no_nested },
    { "bad-payloads", scenario_bad_payloads }, { "storm", scenario_storm },
    { "events", scenario_events },             { "paging", scenario_paging },
    { "dirty", scenario_dirty },               { "pasid", scenario_pasid },
    { "shared", scenario_shared },             { "shared-left-out", scenario_shared_left_out },
};

static bool parse_scenario(struct plan *p, const char *word)
{
    static const char *const busy[] = { [BUSY_CRASH] = "crash", [BUSY_EXIT] = "exit-busy", [BUSY_SPIN] = "spin" };

    for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        if (strcmp(word, scenarios[i].name) == 0) {
            p->scenario = scenarios[i].run;
            return true;
        }
    for (unsigned i = 0; i < sizeof(busy) / sizeof(busy[0]); i++)
        if (strcmp(word, busy[i]) == 0) {
            p->busy = true;
            p->busy_end = (enum busy_end)i;
            return true;
        }
    return false;
}

static bool parse_word(struct plan *p, const char *word)
{
    if (strncmp(word, "step=", 5) == 0) {
        unsigned step = (unsigned)strtoul(word + 5, NULL, 10);

        p->steps |= 1u << (step & 31);
        return step >= 1 && step <= STEPS;
    }
    if (strcmp(word, "errata=0") == 0 || strcmp(word, "errata=1") == 0) {
        p->errata = word[7] == '1' ? ERRATA_SET : ERRATA_CLEAR;
        return true;
    }
    if (strcmp(word, "no-iommu") == 0)
        return p->no_devices = true;
    if (strcmp(word, "again") == 0)
        return p->again = true;
    return parse_scenario(p, word);
}

static bool parse(struct plan *p)
{
    char args[sizeof(guest_info->args) + 1] = { 0 };

    memcpy(args, guest_info->args, sizeof(guest_info->args));
    for (char *word = strtok(args, " "); word; word = strtok(NULL, " "))
        if (!parse_word(p, word)) {
            printf("dma-check: unknown argument '%s'\n", word);
            return false;
        }
    if (!p->steps && !p->scenario && !p->busy && !p->no_devices)
        p->steps = ~0u;
    return true;
}

static void run_steps(struct rig *r, const struct plan *p)
{
    static void (*const steps[STEPS + 1])(struct rig *) = {
        [1] = step_blocked, [2] = step_hw_info,    [3] = step_transfers, [4] = step_accessed,  [5] = step_stale,
        [6] = step_faults,  [7] = step_interrupts, [8] = step_read_only, [9] = step_own_bytes,
    };

    for (unsigned n = 1; n <= STEPS; n++)
        if (p->steps & 1u << n)
            steps[n](r);
}

static int no_devices(void)
{
    check_step("0", "a guest without devices");
    check(guest_info->device_count == 0, "no device is assigned: guest_info lists %u", guest_info->device_count);
    check(pci_find(NIDUS_DMA_VENDOR, NIDUS_DMA_DEVICE, 0) == NULL, "no nidus-dma is found");
    return check_summary();
}

int main(void)
{
    struct plan plan = { 0 };
    struct rig rig;

    printf("dma-check: guest %s, %llu MiB, %u device%s%s%s\n", guest_info->name,
           (unsigned long long)(guest_info->ram[0].size >> 20), guest_info->device_count,
           guest_info->device_count == 1 ? "" : "s", guest_info->args[0] ? ", args: " : "", guest_info->args);
    if (!parse(&plan))
        return 2;
    if (plan.no_devices)
        return no_devices();
    check_step("0", NULL);
    if (!rig_open(&rig))
        return check_summary();
    rig.errata = plan.errata;
    if (plan.busy)
        scenario_busy(&rig, plan.busy_end);
    if (plan.scenario)
        plan.scenario(&rig);
    do
        run_steps(&rig, &plan);
    while (plan.again && check_summary() == 0);
    return check_summary();
}
