/* SPDX-License-Identifier: BSD-2-Clause */
/* device.h: nidus-dma (docs/nidus-dma.md) behind a unit of tools/vtd-model, with DEPTH 1. */
#ifndef THREEWAY_DEVICE_H
#define THREEWAY_DEVICE_H

#include "guests/replay/replay.h"
#include "tools/test/host/platform.h"
#include "tools/vtd-model/model.h"

#define DMA_RING_ENTRIES 64u

struct dma_device {
    struct model_unit *unit;
    struct host_function *function;
    uint8_t *memory;            /* the ring as the driver sees it */
    uint64_t ring;              /* its bus address */
    unsigned head;
};

void dma_device_start(struct dma_device *d, uint64_t ring);
/* Puts an operation into the ring and takes its result out.  status RING_ERROR: the device needs a start. */
void dma_device_run(struct dma_device *d, struct transfer *t);

#endif
