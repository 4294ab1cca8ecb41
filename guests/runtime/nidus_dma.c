/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/nidus_dma.h"

#include <string.h>

#include "guests/runtime/clock.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/mmio.h"

#define NDMA_ID         0x00
#define   NDMA_ID_VALUE   0x414d444eu
#define NDMA_VERSION    0x04
#define NDMA_CTRL       0x08
#define   NDMA_CTRL_RUN   (1u << 0)
#define   NDMA_CTRL_RESET (1u << 1)
#define NDMA_STATUS     0x0c
#define   NDMA_STATUS_RING_ERROR   (1u << 1)
#define   NDMA_STATUS_CONFIG_ERROR (1u << 2)
#define NDMA_RING       0x10
#define NDMA_ENTRIES    0x18
#define NDMA_DEPTH      0x1c
#define NDMA_TAIL       0x24
#define NDMA_ERROR_ADDR 0x30
#define NDMA_BYTES      0x38
#define NDMA_FEATURES   0x40
#define NDMA_PAGE_TIMEOUT      0x44
#define NDMA_PAGE_GROUP        0x48
#define NDMA_TLB_VALID         0x4c
#define NDMA_TLB_HITS          0x50
#define NDMA_TLB_MISSES        0x54
#define NDMA_TLB_INVALIDATIONS 0x58
#define NDMA_PAGE_REQUESTS     0x5c
#define NDMA_PAGE_RESPONSES    0x60
#define NDMA_COMPLETION        0x64
#define NDMA_TIMEOUT_MS 5000

bool ndma_open(struct ndma *d, const struct nidus_guest_device *device)
{
    _Static_assert(NDMA_RING_ENTRIES * sizeof(struct ndma_descriptor) == FRAME_SIZE, "the ring is a page");

    d->device = device;
    d->registers = pci_map_bar(device, 0);
    if (!d->registers || mmio_read32(d->registers, NDMA_ID) != NDMA_ID_VALUE || mmio_read32(d->registers, NDMA_VERSION) != 2)
        return false;
    d->features = mmio_read32(d->registers, NDMA_FEATURES);
    d->ring = frames_alloc(FRAME_SIZE, FRAME_SIZE);
    return d->ring != NULL;
}

void ndma_reset(struct ndma *d)
{
    mmio_write32(d->registers, NDMA_CTRL, NDMA_CTRL_RESET);
    d->tail = 0;
}

void ndma_start(struct ndma *d, uint64_t ring, unsigned depth)
{
    ndma_reset(d);
    mmio_write64(d->registers, NDMA_RING, ring);
    mmio_write32(d->registers, NDMA_ENTRIES, NDMA_RING_ENTRIES);
    mmio_write32(d->registers, NDMA_DEPTH, depth);
    mmio_write32(d->registers, NDMA_CTRL, NDMA_CTRL_RUN);
}

const volatile struct ndma_descriptor *ndma_submit(struct ndma *d, const struct ndma_descriptor *descriptor)
{
    struct ndma_descriptor *place = &d->ring[d->tail];

    *place = *descriptor;
    place->status = NDMA_PENDING;
    d->tail = (d->tail + 1) % NDMA_RING_ENTRIES;
    mmio_write32(d->registers, NDMA_TAIL, d->tail);
    return place;
}

struct wait {
    struct ndma *dma;
    const volatile struct ndma_descriptor *place;
    bool ring_error;
};

static bool has_ended(void *context)
{
    struct wait *w = context;

    if (w->place->status != NDMA_PENDING)
        return true;
    w->ring_error = mmio_read32(w->dma->registers, NDMA_STATUS) & (NDMA_STATUS_RING_ERROR | NDMA_STATUS_CONFIG_ERROR);
    return w->ring_error;
}

enum ndma_status ndma_wait(struct ndma *d, const volatile struct ndma_descriptor *place)
{
    struct wait w = { .dma = d, .place = place };
    bool ended = wait_until(has_ended, &w, NDMA_TIMEOUT_MS);

    if (place->status != NDMA_PENDING)
        return place->status & 0xff;
    return ended ? NDMA_RING_ERROR : NDMA_TIMEOUT;
}

enum ndma_status ndma_run(struct ndma *d, struct ndma_descriptor *descriptor)
{
    const volatile struct ndma_descriptor *place = ndma_submit(d, descriptor);
    enum ndma_status status = ndma_wait(d, place);

    descriptor->status = place->status;
    descriptor->done = place->done;
    descriptor->sum = place->sum;
    descriptor->error_addr = place->error_addr;
    return status;
}

uint64_t ndma_bytes(struct ndma *d)
{
    return mmio_read64(d->registers, NDMA_BYTES);
}

uint64_t ndma_error_address(struct ndma *d)
{
    return mmio_read64(d->registers, NDMA_ERROR_ADDR);
}

const char *ndma_status_name(enum ndma_status status)
{
    switch (status) {
    case NDMA_PENDING: return "no status";
    case NDMA_DONE: return "DONE";
    case NDMA_SRC_ERROR: return "SRC_ERROR";
    case NDMA_DST_ERROR: return "DST_ERROR";
    case NDMA_BAD_DESCRIPTOR: return "BAD_DESCRIPTOR";
    case NDMA_MISMATCH: return "MISMATCH";
    case NDMA_RING_ERROR: return "RING_ERROR";
    case NDMA_TIMEOUT: return "nothing within 5 s";
    }
    return "an unknown status";
}

enum ndma_reason ndma_reason(const volatile struct ndma_descriptor *descriptor)
{
    return descriptor->status >> 8 & 0xff;
}

const char *ndma_reason_name(enum ndma_reason reason)
{
    switch (reason) {
    case NDMA_REASON_ACCESS: return "the access failed";
    case NDMA_REASON_DISABLED: return "a capability is not enabled";
    case NDMA_REASON_UR: return "translation: Unsupported Request";
    case NDMA_REASON_CA: return "translation: Completer Abort";
    case NDMA_REASON_PERMISSION: return "translation: no permission";
    case NDMA_REASON_TRANSLATED: return "the translated access failed";
    case NDMA_REASON_INVALID: return "page response: Invalid Request";
    case NDMA_REASON_FAILURE: return "page response: Response Failure";
    case NDMA_REASON_TIMEOUT: return "no page response in time";
    }
    return "an unknown reason";
}

void ndma_set_page_requests(struct ndma *d, uint32_t timeout_ms, unsigned group)
{
    mmio_write32(d->registers, NDMA_PAGE_TIMEOUT, timeout_ms);
    mmio_write32(d->registers, NDMA_PAGE_GROUP, group);
}

struct ndma_counters ndma_counters(struct ndma *d)
{
    return (struct ndma_counters){
        .tlb_valid = mmio_read32(d->registers, NDMA_TLB_VALID),
        .tlb_hits = mmio_read32(d->registers, NDMA_TLB_HITS),
        .tlb_misses = mmio_read32(d->registers, NDMA_TLB_MISSES),
        .tlb_invalidations = mmio_read32(d->registers, NDMA_TLB_INVALIDATIONS),
        .page_requests = mmio_read32(d->registers, NDMA_PAGE_REQUESTS),
        .page_responses = mmio_read32(d->registers, NDMA_PAGE_RESPONSES),
    };
}

uint32_t ndma_completion(struct ndma *d)
{
    return mmio_read32(d->registers, NDMA_COMPLETION);
}

static uint64_t pattern_word(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + (i + 1) * 0x9e3779b97f4a7c15ULL;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void ndma_pattern(void *to, uint64_t offset, size_t length, uint64_t seed)
{
    for (size_t done = 0; done < length; done += 8) {
        uint64_t word = pattern_word(seed, (offset + done) / 8);

        if (length - done >= 8)
            memcpy((char *)to + done, &word, 8);
        else
            memcpy((char *)to + done, &word, length - done);
    }
}

size_t ndma_pattern_check(const void *bytes, uint64_t offset, size_t length, uint64_t seed)
{
    for (size_t done = 0; done < length; done += 8) {
        uint64_t word = pattern_word(seed, (offset + done) / 8), is;
        const uint8_t *at = (const uint8_t *)bytes + done;
        size_t size = length - done < 8 ? length - done : 8;

        if (size == 8) {
            memcpy(&is, at, 8);
            if (is == word)
                continue;
        }
        for (size_t i = 0; i < size; i++)
            if (at[i] != ((const uint8_t *)&word)[i])
                return done + i;
    }
    return length;
}

void ndma_sum_add(struct ndma_sum *sum, const void *bytes, size_t length)
{
    for (size_t done = 0; done < length; done += 8) {
        uint64_t word = 0;

        if (length - done >= 8)
            memcpy(&word, (const char *)bytes + done, 8);
        else
            memcpy(&word, (const char *)bytes + done, length - done);
        sum->a += word;
        sum->b += sum->a;
    }
}

uint64_t ndma_sum_value(const struct ndma_sum *sum)
{
    return sum->a ^ (sum->b << 32 | sum->b >> 32);
}
