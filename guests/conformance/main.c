/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c: the rig in QEMU: two nidus-dma, the first with PASIDs, ATS and page requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/conformance/conformance.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/nidus_dma.h"

#define NS_PER_MS    1000000ULL
#define ARENA_BYTES  (8 * M2)
#define ASKED_BYTES  64u
#define GIVE_UP_MS   5000u

struct rig rig;
const struct inside *rig_inside;

static struct ndma dma[DEVICES];
static const volatile struct ndma_descriptor *asked;

static void must(bool good, const char *what)
{
    if (good)
        return;
    printf("conformance: cannot go on: %s\n", what);
    exit(1);
}

static bool run(unsigned device, struct ndma_descriptor *d)
{
    enum ndma_status status;

    ndma_start(&dma[device], gpa(rig.own[device]), 1);
    status = ndma_run(&dma[device], d);
    must(status != NDMA_TIMEOUT, "a transfer without an end");
    return status == NDMA_DONE;
}

bool rig_copy(unsigned device, uint32_t pasid, uint64_t from, uint64_t to, uint32_t bytes)
{
    struct ndma_descriptor d = { .op = NDMA_COPY, .flags = pasid ? NDMA_PASID : 0, .pasid = pasid, .src = from, .dst = to, .len = bytes };

    return run(device, &d);
}

bool rig_wait(uint32_t channel)
{
    uint64_t channels = 1ULL << channel;

    return iommufd_event_wait(&channels, GIVE_UP_MS * NS_PER_MS) == 0 && channels != 0;
}

void rig_settle(void)
{
    uint64_t none = 0;

    iommufd_event_wait(&none, 20 * NS_PER_MS);
}

void rig_ask(uint32_t pasid, uint64_t iova)
{
    struct ndma_descriptor d = {
        .op = NDMA_FILL, .flags = NDMA_ATS | NDMA_PRI | (pasid ? NDMA_PASID : 0), .pasid = pasid, .dst = iova, .len = ASKED_BYTES,
    };

    ndma_start(&dma[DMA], gpa(rig.own[DMA]), 1);
    ndma_set_page_requests(&dma[DMA], GIVE_UP_MS, 1);
    asked = ndma_submit(&dma[DMA], &d);
}

enum asked rig_asked(void)
{
    enum ndma_status status = ndma_wait(&dma[DMA], asked);

    if (status == NDMA_DONE)
        return ASKED_DONE;
    return status == NDMA_DST_ERROR && ndma_reason(asked) == NDMA_REASON_INVALID ? ASKED_INVALID : ASKED_NOTHING;
}

int main(void)
{
    const uint32_t needed = NDMA_FEATURE_PASID | NDMA_FEATURE_ATS | NDMA_FEATURE_PRI;
    struct nidus_hw_info_vtd unit;

    rig.default_ioas = guest_info->default_ioas;
    rig.keeps = true;
    rig.end = (uint8_t *)frames_end();
    rig.arena_bytes = ARENA_BYTES;
    rig.arena = frames_need(ARENA_BYTES, M2, "the items");
    for (unsigned i = DMA; i <= PLAIN; i++) {
        const struct nidus_guest_device *d = pci_find(NIDUS_DMA_VENDOR, NIDUS_DMA_DEVICE, i);

        must(d && ndma_open(&dma[i], d), "two nidus-dma are needed");
        must(i != DMA || (dma[i].features & needed) == needed, "the first without PASIDs, ATS or PRI");
        rig.device[i] = d->id;
        rig.own[i] = frames_need(2 * K4, K4, "a device's ring");
        dma[i].ring = (struct ndma_descriptor *)rig.own[i];
    }
    must(iommufd_hw_info(ID(DMA), &unit) == 0, "GET_HW_INFO");
    printf("conformance: cap 0x%llx, ecap 0x%llx\n", (unsigned long long)unit.cap_reg, (unsigned long long)unit.ecap_reg);
    return items_run() != 0;
}
