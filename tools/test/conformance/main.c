/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: build/host/conformance: the items of guests/conformance on all of iommu/ and tools/vtd-model.
 *
 * The guest is a thread whose stack and memory are the host guest's RAM, and that RAM's GPAs are its addresses in this process: so a pointer
 * is a GPA, as in a guest.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/conformance/conformance.h"
#include "iommu/iommu.h"
#include "iommu/registers.h"
#include "tools/test/conformance/port.h"
#include "tools/test/host/whole_call.h"
#include "tools/vtd-model/host_platform.h"

#define UNIT_BASE   0xfed90000ULL
#define RAM_BYTES   (32 * M2)
#define ARENA_BYTES (8 * M2)
#define STACK_BYTES (1ULL << 20)
#define PASID_BITS  8u          /* as -device nidus-dma,pasid=on has it */

typedef unsigned long long ull;

struct rig rig;

static struct guest *guest;
static struct iommu_context *context;
static struct model *model;
static struct port port[DEVICES];
static struct model_page_request asked;

int64_t nidus_call_gpa(uint32_t number, uint64_t payload, uint64_t device)
{
    return whole_call(context, number, payload, device);
}

/* The devices ------------------------------------------------------------------------------------------------ */

bool rig_copy(unsigned device, uint32_t pasid, uint64_t from, uint64_t to, uint32_t bytes)
{
    return port_copy(&port[device], pasid, from, to, bytes);
}

void rig_settle(void)
{
    while (iommu_poll())
        ;
}

bool rig_wait(uint32_t channel)
{
    rig_settle();
    return iommu_ready(context) >> channel & 1;
}

void rig_ask(uint32_t pasid, uint64_t iova)
{
    asked = (struct model_page_request){
        .source_id = port[DMA].function->bdf, .with_pasid = pasid != BY_RID, .pasid = pasid, .address = iova, .write = true, .last = true, .group = 5,
    };
    model_page_request(port[DMA].unit, &asked);
}

enum asked rig_asked(void)
{
    struct model_page_response response;
    struct model_request again = { .source_id = asked.source_id, .with_pasid = asked.with_pasid, .pasid = asked.pasid, .access = MODEL_WRITE };
    uint64_t word = 0;

    if (!model_page_response(port[DMA].unit, &response) || response.source_id != asked.source_id || response.group != asked.group ||
        response.with_pasid != asked.with_pasid || (asked.with_pasid && response.pasid != asked.pasid))
        return ASKED_NOTHING;
    if (response.code == NIDUS_PAGE_RESP_INVALID)
        return ASKED_INVALID;
    return model_dma_ats(port[DMA].unit, &again, asked.address, &word, sizeof word).outcome == MODEL_DONE ? ASKED_DONE : ASKED_NOTHING;
}

/* What is inside --------------------------------------------------------------------------------------------- */

#define POINTER(word) ((word) & ~0xfffULL)

static uint64_t word_at(uint64_t phys)
{
    return host_walk64(phys, true);
}

/* 9.1 to 9.6, scalable mode: root, context, PASID directory, PASID table. */
static void pasid_entry(unsigned device, uint32_t pasid, uint64_t word[8])
{
    uint16_t bdf = port[device].function->bdf;
    uint64_t at = POINTER(model_read(port[device].unit, REG_RTADDR, 8)) + (bdf >> 8) * 16u + (bdf & 0x80 ? 8 : 0);

    memset(word, 0, 8 * sizeof *word);
    at = word_at(at);
    if (at & 1)
        at = word_at(POINTER(at) + (bdf & 0x7f) * 32u);
    if (at & 1)
        at = word_at(POINTER(at) + (pasid >> 6) * 8u);
    for (unsigned i = 0; (at & 1) && i < 8; i++)
        word[i] = word_at(POINTER(at) + (pasid & 63) * 64u + i * 8);
}

/* The queue of 256-bit descriptors (11.4.9.2), as the driver left it. */
static unsigned descriptors(unsigned device, struct descriptor *out, unsigned room)
{
    static uint64_t tails[DEVICES];
    uint64_t *seen = &tails[device == PLAIN ? DMA : device]; /* they are behind one unit */
    struct model_unit *unit = port[device].unit;
    uint64_t queue = model_read(unit, REG_IQA, 8), bytes = PAGE_SIZE << (queue & 7), tail = model_read(unit, REG_IQT, 8);
    unsigned count = 0;

    for (uint64_t at = *seen; at != tail; at = (at + sizeof *out) % bytes) {
        struct descriptor d;

        for (unsigned i = 0; i < 4; i++)
            d.word[i] = word_at(POINTER(queue) + at + i * 8);
        if ((d.word[0] & 0xf) != 5 && count < room)
            out[count++] = d;
    }
    *seen = tail;
    return count;
}

#define STORES 64u
static struct {
    unsigned device, count;
    uint32_t pasid;
    uint64_t entry[STORES][8];
    void (*stored)(volatile void *entry, unsigned bytes); /* the model's */
} watch;

static void stored(volatile void *entry, unsigned bytes)
{
    uint64_t now[8];

    pasid_entry(watch.device, watch.pasid, now);
    if (watch.count < STORES && memcmp(watch.entry[watch.count - 1], now, sizeof now) != 0)
        memcpy(watch.entry[watch.count++], now, sizeof now);
    watch.stored(entry, bytes);
}

static unsigned stores(unsigned device, uint32_t pasid, uint64_t (*out)[8], unsigned room)
{
    unsigned count = watch.count ? watch.count - 1 : 0; /* without what was there */

    count = count < room ? count : room;
    memcpy(out, watch.entry[1], count * sizeof *out);
    if (host_store_hook != stored) {
        watch.stored = host_store_hook;
        host_store_hook = stored;
    }
    watch.device = device;
    watch.pasid = pasid;
    watch.count = 1;
    pasid_entry(device, pasid, watch.entry[0]);
    return count;
}

static uint64_t allocated(void)
{
    return host_pages_live() + host_objects_live();
}

static const char *violation(void)
{
    static char text[200];

    if (!model_violations(model))
        return NULL;
    snprintf(text, sizeof text, "against the specification: %s", model_violation(model, 0));
    model_forgive(model);
    return text;
}

static const struct inside inside = {
    .pasid_entry = pasid_entry, .descriptors = descriptors, .stores = stores, .fail_allocation = host_fail_allocation,
    .allocation_failed = host_allocation_failed, .allocated = allocated, .violation = violation,
};
const struct inside *rig_inside = &inside;

/* Everything that hardware may do at any time, but for speculative walks, which use entries that an item has not finished. */
static const struct model_freedom freedom = { .evict = 40, .miss = 30, .fracture = 300, .delay = 300, .reorder = 500, .split = 100 };

/* The machine: QEMU's, as tools/test/conformance has it, and two units more ------------------------------------ */

#define CAP_3_LEVELS(cap)  (((cap) & ~(0x1fULL << 8 | 0x3fULL << 16)) | 1ULL << 9 | 38ULL << 16)
#define ECAP_NEEDED   (1ULL << 2 | 1ULL << 29 | 7ULL << 35 | 1ULL << 40 | 1ULL << 42) /* DT, PRS, PSS, PASID, PDS */

static void put16(uint8_t *config, unsigned offset, uint32_t value)
{
    config[offset] = (uint8_t)value;
    config[offset + 1] = (uint8_t)(value >> 8);
}

/* PCI Express 6.0, 7.8.9, 10.5.1, 10.5.2: PASID, ATS, page requests. */
static void capabilities(uint8_t *config)
{
    put16(config, 0x100, 0x1b), put16(config, 0x102, 0x140 << 4 | 1);
    put16(config, 0x104, PASID_BITS << 8 | 1u << 2);
    put16(config, 0x140, 0x0f), put16(config, 0x142, 0x150 << 4 | 1);
    put16(config, 0x150, 0x13), put16(config, 0x152, 1);
    put16(config, 0x158, 32);
}

static void machine_start(uint64_t seed, const char *name)
{
    static const uint16_t bdf[DEVICES] = { 4 << 3, 5 << 3, 6 << 3, 7 << 3 };
    static const uint8_t atsr[] = { 2, 0, 8, 0, 1, 0, 0, 0 }; /* 8.5: ATS at every port */
    static const uint16_t of_short[] = { 6 << 3, 0xffff }, of_untracked[] = { 7 << 3, 0xffff };
    static const uint16_t *const scopes[] = { of_short, of_untracked, NULL };
    struct model_preset preset = *model_preset(name), levels, untracked;
    struct model_unit *unit[DEVICES];
    static uint8_t dmar[512];
    char reason[160] = "";
    const void *table;
    uint32_t length;

    host_reset();
    preset.ecap |= ECAP_NEEDED;
    levels = untracked = preset;
    levels.cap = CAP_3_LEVELS(levels.cap);
    untracked.ecap &= ~ECAP_SSADS;
    model = model_host_new(seed);
    unit[SHORT] = model_host_unit(model, &levels, UNIT_BASE);
    unit[UNTRACKED] = model_host_unit(model, &untracked, UNIT_BASE + PAGE_SIZE);
    unit[DMA] = unit[PLAIN] = model_host_unit(model, &preset, UNIT_BASE + 2 * PAGE_SIZE);
    rig.keeps = seed == 0;
    model_set_freedom(model, rig.keeps ? &model_calm : &freedom);
    guest = host_guest("conformance", RAM_BYTES);
    rig.arena = host_guest_byte(guest, 0);
    guest->chunk[0].gpa = gpa(rig.arena);
    rig.end = rig.arena + RAM_BYTES;
    for (unsigned i = 0; i < DEVICES; i++) {
        rig.own[i] = rig.end - (2 * i + 4) * K4;
        port[i] = (struct port){ .unit = unit[i], .function = host_function_add(0, bdf[i]), .ring = rig.own[i] };
    }
    capabilities(port[DMA].function->config);
    table = model_host_dmar(model, scopes, &length);
    memcpy(dmar, table, length);
    memcpy(dmar + length, atsr, sizeof atsr);
    length += sizeof atsr;
    put16(dmar, 4, length); /* the table's own length */
    iommu_init(dmar, length, IOMMU_ERRATA_ON, IOMMU_RMRR_KEEP);
    context = iommu_context_create(guest, true);
    for (unsigned i = 0; i < DEVICES; i++) {
        const struct iommu_device_policy policy = { .ats = i == DMA ? IOMMU_ATS_TRUST : IOMMU_ATS_OFF };

        if (!iommu_assign(context, 0, bdf[i], &policy, &rig.device[i], reason)) {
            fprintf(stderr, "conformance: device %u is refused: %s\n", i, reason);
            exit(1);
        }
    }
    rig.default_ioas = iommu_default_ioas(context);
    rig.arena = (uint8_t *)((gpa(rig.arena) + STACK_BYTES + M2 - 1) / M2 * M2);
    rig.arena_bytes = ARENA_BYTES;
    printf("conformance: cap 0x%llx, ecap 0x%llx\n", (ull)preset.cap, (ull)preset.ecap);
}

static void *play(void *failed)
{
    *(unsigned *)failed = items_run();
    return NULL;
}

/* seed: hardware that forgets, delays and reorders by it; 0: that keeps all it may.  preset: of tools/vtd-model, with what the items need. */
int main(int argc, char **argv)
{
    unsigned failed = 1;
    pthread_attr_t attributes;
    pthread_t thread;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 3 || (argc > 2 && !model_preset(argv[2]))) {
        fprintf(stderr, "usage: conformance [seed [preset]]\n");
        return 2;
    }
    machine_start(argc > 1 ? strtoull(argv[1], NULL, 0) : 0, argc > 2 ? argv[2] : "qemu");
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, (void *)guest->chunk[0].gpa, STACK_BYTES) || pthread_create(&thread, &attributes, play, &failed)) {
        fprintf(stderr, "conformance: no thread\n");
        return 1;
    }
    pthread_join(thread, NULL);
    return failed != 0;
}
