/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/test/conformance/port.h"

#include "tools/test/threeway/device.h"

bool port_copy(struct port *p, uint32_t pasid, uint64_t from, uint64_t to, uint32_t bytes)
{
    struct dma_device d = { .unit = p->unit, .function = p->function, .memory = p->ring };
    struct transfer t = { .op = OP_COPY, .pasid = pasid ? pasid : NO_PASID, .src = from, .dst = to, .len = bytes };

    dma_device_start(&d, (uint64_t)p->ring);
    dma_device_run(&d, &t);
    return t.status == DONE;
}
