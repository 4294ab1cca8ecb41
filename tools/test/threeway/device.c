/* SPDX-License-Identifier: BSD-2-Clause */
/* device.c: nidus-dma on a unit of the model, written from docs/nidus-dma.md: one descriptor at a time, a page of either address at a time. */
#include <stddef.h>
#include <string.h>

#include "tools/test/threeway/device.h"

#define FLAG_PASID 2u
#define STATUS_AT offsetof(struct descriptor, status)
#define RESULT_AT offsetof(struct descriptor, done)

struct descriptor {
    uint32_t op, flags;
    uint64_t src, dst;
    uint32_t len, pasid;
    uint64_t seed;
    uint32_t status, done;
    uint64_t sum, error_addr;
};
_Static_assert(sizeof(struct descriptor) == 64, "docs/nidus-dma.md");

/* Without Bus Master nothing leaves the function, and so no unit records anything. */
static bool request(const struct dma_device *d, uint32_t pasid, enum model_access access, uint64_t address, void *data, uint64_t size)
{
    struct model_request r = {
        .source_id = d->function->bdf, .access = access, .with_pasid = pasid != NO_PASID, .pasid = pasid == NO_PASID ? 0 : pasid,
    };

    return d->function->bus_master && model_dma(d->unit, &r, address, data, size).outcome == MODEL_DONE;
}

void dma_device_start(struct dma_device *d, uint64_t ring)
{
    d->ring = ring;
    d->head = 0;
}

static uint32_t least(uint32_t a, uint64_t b)
{
    return a < b ? a : (uint32_t)b;
}

/* Up to the first page that fails. */
static uint32_t operate(const struct dma_device *d, struct descriptor *t)
{
    static uint8_t page[4096];
    struct pattern_sum sum = { 0, 0 };
    uint8_t tail[8] = { 0 };    /* of a word that is not complete yet */
    bool reads = t->op != OP_FILL, writes = t->op != OP_SUM;
    uint32_t status = DONE, pasid = t->flags & FLAG_PASID ? t->pasid : NO_PASID;

    for (t->done = 0; t->done < t->len && status == DONE;) {
        uint64_t src = t->src + t->done, dst = t->dst + t->done;
        uint32_t size = t->len - t->done;

        if (reads)
            size = least(size, 4096 - src % 4096);
        if (writes)
            size = least(size, 4096 - dst % 4096);
        if (!reads)
            pattern_bytes(t->seed, t->done, page, size);
        if (reads && !request(d, pasid, MODEL_READ, src, page, size)) {
            status = SRC_ERROR;
            t->error_addr = src;
        } else if (writes && !request(d, pasid, MODEL_WRITE, dst, page, size)) {
            status = DST_ERROR;
            t->error_addr = dst;
        } else {
            for (uint32_t i = 0; i < size; i++, t->done++) {
                tail[t->done % 8] = page[i];
                if (t->done % 8 == 7) {
                    pattern_add(&sum, tail, 8);
                    memset(tail, 0, sizeof tail);
                }
            }
        }
    }
    if (t->done % 8)
        pattern_add(&sum, tail, t->done % 8);
    t->sum = pattern_value(&sum);
    return status;
}

void dma_device_run(struct dma_device *d, struct transfer *t)
{
    struct descriptor c = { .op = t->op, .src = t->src, .dst = t->dst, .len = t->len, .seed = t->seed };
    uint64_t at = d->ring + d->head * sizeof c;

    if (t->pasid != NO_PASID) {
        c.flags = FLAG_PASID;
        c.pasid = t->pasid;
    }
    memcpy(d->memory + d->head * sizeof c, &c, sizeof c); /* the driver's store */
    d->head = (d->head + 1) % DMA_RING_ENTRIES;
    t->status = RING_ERROR;
    t->done = 0;
    t->sum = t->error_addr = 0;
    if (!request(d, NO_PASID, MODEL_READ, at, &c, sizeof c))
        return;
    c.status = operate(d, &c);
    if (!request(d, NO_PASID, MODEL_WRITE, at + RESULT_AT, (uint8_t *)&c + RESULT_AT, sizeof c - RESULT_AT) ||
        !request(d, NO_PASID, MODEL_WRITE, at + STATUS_AT, &c.status, sizeof c.status))
        return;
    t->status = c.status;
    t->done = c.done;
    t->sum = c.sum;
    t->error_addr = c.error_addr;
}
