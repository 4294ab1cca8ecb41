/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c: build/host/threeway: plays guests/replay on all of iommu/ and tools/vtd-model; prints what the guest prints. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/replay/replay.h"
#include "iommu/iommu.h"
#include "tools/test/host/whole_call.h"
#include "tools/test/threeway/device.h"
#include "tools/vtd-model/host_platform.h"

#define UNIT_BASE 0xfed90000ULL

typedef unsigned long long ull;

static struct {
    unsigned long first, last, steps, show_first, show_last;
    uint64_t cap, ecap;         /* of the unit, if not those of the preset */
    uint64_t free_seed;
    bool errata, free;
} option = { .first = 1, .last = 1, .steps = 5000, .show_first = 1 };

static struct guest *guest;
static struct iommu_context *context;
static struct dma_device dma[DEVICES];

/* The scenario's port -------------------------------------------------------------------------------------- */

void *port_memory(uint64_t gpa)
{
    return host_guest_byte(guest, gpa);
}

int64_t port_call(uint32_t number, uint64_t payload, uint32_t device)
{
    return whole_call(context, number, payload, device);
}

void port_start(unsigned device, uint64_t ring)
{
    dma_device_start(&dma[device], ring);
}

void port_transfer(unsigned device, struct transfer *t)
{
    dma_device_run(&dma[device], t);
}

void port_bus_master_on(unsigned device)
{
    dma[device].function->bus_master = true;
}

void port_print(const char *line)
{
    fputs(line, stdout);
}

/* The machine: QEMU's, as tools/test/boot/threeway.py has it ------------------------------------------------- */

/* Everything that may happen at any time, but for speculative walks: they set A where the guest sees it. */
static const struct model_freedom freedom = { .evict = 40, .miss = 30, .fracture = 300, .delay = 300, .reorder = 500, .split = 100 };

#define ECAP_PASID (1ULL << 40)
#define PASID_BITS 8u           /* as -device nidus-dma,pasid=on has it */

/* The capability of 7.8.9 in PCI Express 6.0: extended capability 1Bh, privileged mode, no execute permission. */
static void pasid_capability(struct host_function *f)
{
    const uint32_t header = 1u << 16 | 0x1b, capability = PASID_BITS << 8 | 1u << 2;

    memcpy(&f->config[0x100], &header, sizeof header);
    memcpy(&f->config[0x104], &capability, sizeof capability);
}

static struct model *machine_start(void)
{
    static const uint16_t bdf[DEVICES] = { 4 << 3, 5 << 3, 6 << 3 };
    static struct model_preset preset;
    const uint16_t *scopes[1] = { NULL };
    struct model_unit *unit;
    struct model *model;
    const void *table;
    char reason[160] = "";
    uint32_t length;

    host_reset();
    preset = *model_preset("qemu");
    preset.cap = option.cap ? option.cap : preset.cap;
    preset.ecap = option.ecap ? option.ecap : preset.ecap;
    model = model_host_new(option.free_seed);
    unit = model_host_unit(model, &preset, UNIT_BASE);
    model_set_freedom(model, option.free ? &freedom : &model_calm);
    model_switches(unit)->erratum_772415 = option.errata;
    guest = host_guest("replay", RAM_BYTES);
    for (unsigned i = 0; i < DEVICES; i++)
        dma[i] = (struct dma_device){ .unit = unit, .function = host_function_add(0, bdf[i]), .memory = port_memory(PINNED + i * K4) };
    m.pasids = preset.ecap & ECAP_PASID;
    for (unsigned i = 0; i < DEVICES && m.pasids; i++)
        pasid_capability(dma[i].function);
    table = model_host_dmar(model, scopes, &length);
    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    context = iommu_context_create(guest, true);
    for (unsigned i = 0; i < DEVICES; i++)
        if (!iommu_assign(context, 0, bdf[i], &(struct iommu_device_policy){ 0 }, &m.device[i].id, reason)) {
            fprintf(stderr, "threeway: device %u is refused: %s\n", i, reason);
            exit(1);
        }
    m.cap = preset.cap;
    m.ecap = preset.ecap;
    m.default_ioas = iommu_default_ioas(context);
    m.errata = option.errata;
    m.fresh = true;
    return model;
}

/* Many seeds are one boot, as in the guest. */
static unsigned play_all(void)
{
    struct model *model = machine_start();
    unsigned wrongs = 0;

    printf("replay: cap 0x%llx, ecap 0x%llx, erratum %u\n", (ull)m.cap, (ull)m.ecap, m.errata);
    for (unsigned long seed = option.first; seed <= option.last; seed++) {
        wrongs += play(seed, (uint32_t)option.steps, (uint32_t)option.show_first, (uint32_t)option.show_last);
        for (unsigned i = 0; i < model_violations(model) && i < 10; i++, wrongs++)
            printf("seed %lu: WRONG: against the specification: %s\n", seed, model_violation(model, i));
        model_forgive(model);
        printf("replay: seed %lu: %lu steps\n", seed, option.steps);
    }
    printf("replay: %u wrong\n", wrongs);
    return wrongs;
}

static void usage(void)
{
    fprintf(stderr,
            "usage: threeway [--seeds A-B] [--steps N] [--show A-B] [--errata] [--cap VALUE] [--ecap VALUE] [--free SEED]\n"
            "Random scenarios on the VT-d engine and the model of the hardware, as guests/replay plays them in QEMU.  --show: these steps in\n"
            "full.  --cap, --ecap: the unit, if it is not QEMU's as it is.  --free: the model evicts, delays and reorders, by that seed.\n");
    exit(2);
}

static void parse_range(const char *text, unsigned long *first, unsigned long *last)
{
    char *end;

    *first = *last = strtoul(text, &end, 10);
    if (*end == '-')
        *last = strtoul(end + 1, &end, 10);
    if (*end || *first > *last)
        usage();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 's' }, { "steps", required_argument, NULL, 'n' }, { "show", required_argument, NULL, 'v' },
        { "errata", no_argument, NULL, 'e' },      { "free", required_argument, NULL, 'f' },  { "cap", required_argument, NULL, 'c' },
        { "ecap", required_argument, NULL, 'x' },  { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 's': parse_range(optarg, &option.first, &option.last); break;
        case 'n': option.steps = strtoul(optarg, NULL, 0); break;
        case 'v': parse_range(optarg, &option.show_first, &option.show_last); break;
        case 'e': option.errata = true; break;
        case 'c': option.cap = strtoull(optarg, NULL, 0); break;
        case 'x': option.ecap = strtoull(optarg, NULL, 0); break;
        case 'f': option.free = true, option.free_seed = strtoull(optarg, NULL, 0); break;
        default: usage();
        }
    if (optind != argc || option.last - option.first >= SLICE_COUNT)
        usage();
    return play_all() != 0;
}
