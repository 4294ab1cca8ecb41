/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: hostile: a guest that makes any calls, while its devices do any DMA and have their registers written at random.  It has
 * seen nothing wrong when each call gave what a call may give, and ends with all its objects and its DMA as they are.  `args` in nidus.conf:
 *
 *   seed=N            of its choices (1)
 *   calls=N           how many (100000)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/hostile/generator.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/edu.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/iommufd.h"
#include "guests/runtime/mmio.h"
#include "guests/runtime/nidus_dma.h"

#define PLAYGROUND   (8 * SIZE_2M)  /* the end of memory */
#define RING         0x30000ULL     /* of nidus-dma, in the playground */
#define DEVICE_EVERY 8u             /* calls */
#define SAYS         10u            /* how often it says where it is */

#define EDU_SOURCE  0x80
#define EDU_TARGET  0x88
#define EDU_COUNT   0x90
#define EDU_COMMAND 0x98
#define EDU_BUFFER  0x40000ULL

static struct hostile h;
static struct ndma dma;
static struct edu edu;
static bool has_dma, has_edu;
static uint8_t out_of_reach[64] __attribute__((aligned(64)));

/* The generator's port -------------------------------------------------------------------------------------- */

int64_t port_call(struct hostile *of, uint64_t number, uint64_t payload, uint64_t device)
{
    (void)of;
    return nidus_call_gpa((uint32_t)number, payload, device);
}

void port_write(struct hostile *of, uint64_t gpa, const void *from, uint32_t size)
{
    (void)of;
    memcpy((void *)gpa, from, size);
}

void port_read(struct hostile *of, uint64_t gpa, void *to, uint32_t size)
{
    (void)of;
    memcpy(to, (const void *)gpa, size);
}

/* Devices --------------------------------------------------------------------------------------------------- */

static uint64_t any(void)
{
    return hostile_below(&h, UINT64_MAX);
}

static uint32_t some_flags(void)
{
    uint32_t flags = 0;

    if (hostile_below(&h, 4) == 0)
        flags |= NDMA_REPEAT;
    if (dma.features & NDMA_FEATURE_PASID && hostile_below(&h, 2))
        flags |= NDMA_PASID;
    if (dma.features & NDMA_FEATURE_ATS && hostile_below(&h, 2))
        flags |= NDMA_ATS;
    if (dma.features & NDMA_FEATURE_PRI && flags & NDMA_ATS)
        flags |= NDMA_PRI;
    return hostile_below(&h, 32) ? flags : (uint32_t)any();
}

static void transfer(void)
{
    struct ndma_descriptor d = {
        .op = (uint32_t)hostile_below(&h, 7), .flags = some_flags(), .src = hostile_iova(&h) + hostile_below(&h, 64), .dst = hostile_iova(&h),
        .len = hostile_below(&h, 64) ? 1 + (uint32_t)hostile_below(&h, 8192) : (uint32_t)any(), .seed = any(),
    };

    if (d.flags & NDMA_PASID)
        d.pasid = hostile_pasid(&h);
    ndma_submit(&dma, &d);
}

static void edu_transfer(void)
{
    mmio_write64(edu.registers, EDU_SOURCE, hostile_below(&h, 8) ? EDU_BUFFER + hostile_below(&h, 4096) : any());
    mmio_write64(edu.registers, EDU_TARGET, hostile_iova(&h));
    mmio_write64(edu.registers, EDU_COUNT, hostile_below(&h, 8192));
    mmio_write32(edu.registers, EDU_COMMAND, 3 | (uint32_t)hostile_below(&h, 2) << 2);
}

/* Registers, MSI-X tables, and what lies behind them in their pages. */
static void poke(void)
{
    const struct nidus_guest_device *d = &guest_info->device[hostile_below(&h, guest_info->device_count)];
    unsigned bar = (unsigned)hostile_below(&h, NIDUS_PCI_BARS);
    volatile void *registers = pci_map_bar(d, bar);
    uint32_t at = (uint32_t)hostile_below(&h, d->bar[bar].size < 4096 ? FRAME_SIZE / 8 : 64) * 8;

    if (!registers)
        return;
    if (hostile_below(&h, 2))
        mmio_write64(registers, at, hostile_below(&h, 2) ? hostile_iova(&h) : any());
    else
        mmio_write32(registers, at + 4 * (uint32_t)hostile_below(&h, 2), (uint32_t)any());
    mmio_read32(registers, at);
}

static void some_device(void)
{
    switch (hostile_below(&h, 16)) {
    case 0:
        if (has_dma) {
            ndma_start(&dma, h.low + RING, 1 + (unsigned)hostile_below(&h, NDMA_MAX_DEPTH));
            ndma_set_page_requests(&dma, 1 + (uint32_t)hostile_below(&h, 20), 1 + (unsigned)hostile_below(&h, 8));
        }
        break;
    case 1:
        if (has_dma)
            ndma_start(&dma, hostile_iova(&h), NDMA_MAX_DEPTH);
        break;
    case 2: poke(); break;
    case 3:
    case 4:
        if (has_edu)
            edu_transfer();
        break;
    default:
        if (has_dma)
            transfer();
    }
}

/* The guest ------------------------------------------------------------------------------------------------- */

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    printf("hostile: cannot go on: %s\n", what);
    exit(2);
}

static uint64_t parse(void)
{
    char args[sizeof(guest_info->args) + 1] = { 0 };
    uint64_t calls = 100000;

    h.seed = 1;
    memcpy(args, guest_info->args, sizeof(guest_info->args));
    for (char *word = strtok(args, " "); word; word = strtok(NULL, " ")) {
        if (strncmp(word, "seed=", 5) == 0)
            h.seed = strtoull(word + 5, NULL, 10);
        else if (strncmp(word, "calls=", 6) == 0)
            calls = strtoull(word + 6, NULL, 10);
        else
            must(false, "an unknown word in args");
    }
    return calls;
}

static void open_devices(void)
{
    const struct nidus_guest_device *d = pci_find(NIDUS_DMA_VENDOR, NIDUS_DMA_DEVICE, 0);

    has_dma = d && ndma_open(&dma, d);
    dma.ring = (void *)(h.low + RING);
    d = pci_find(EDU_VENDOR, EDU_DEVICE, 0);
    has_edu = d && edu_open(&edu, d);
    must(has_dma || has_edu, "it has neither a nidus-dma nor an edu");
}

int main(void)
{
    uint64_t calls = parse(), number;
    int64_t result;

    h.end = frames_end();
    h.low = h.end - PLAYGROUND;
    h.own = true;
    h.out_of_reach = gpa_of(out_of_reach);
    must(frames_free_bytes() > PLAYGROUND + FRAME_SIZE, "there is too little memory");
    open_devices();
    must(iommufd_ioas_unmap(guest_info->default_ioas, 0, h.low) == 0, "memory that devices must not reach");
    hostile_start(&h, guest_info->default_ioas);
    for (unsigned i = 0; i < guest_info->device_count; i++)
        hostile_knows(&h, DEVICE, guest_info->device[i].id);
    printf("hostile: seed %llu, %llu calls\n", (unsigned long long)h.seed, (unsigned long long)calls);
    while (h.calls < calls) {
        hostile_next(&h);
        if (h.calls % DEVICE_EVERY == 0)
            some_device();
        if (!hostile_call(&h, &number, &result)) {
            printf("\nhostile: FAILED: seed %llu, call %llu: number 0x%llx gave %lld, which no call may give\n", (unsigned long long)h.seed,
                   (unsigned long long)h.calls, (unsigned long long)number, (long long)result);
            return 1;
        }
        /* What it printed at random may have left a line unfinished. */
        if (h.calls * SAYS / calls != (h.calls - 1) * SAYS / calls)
            printf("\nhostile: %llu calls, %llu of them done\n", (unsigned long long)h.calls, (unsigned long long)h.done);
    }
    printf("\nhostile: seed %llu: %llu calls held\n", (unsigned long long)h.seed, (unsigned long long)calls);
    return 0;
}
