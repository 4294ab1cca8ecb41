/* SPDX-License-Identifier: BSD-2-Clause */
/* port.h: a nidus-dma on a unit of the model, for one transfer at a time. */
#ifndef TEST_CONFORMANCE_PORT_H
#define TEST_CONFORMANCE_PORT_H

#include "tools/test/host/platform.h"
#include "tools/vtd-model/model.h"

struct port {
    struct model_unit *unit;
    struct host_function *function;
    uint8_t *ring;              /* a page, at its GPA on the bus */
};

/* false: it was refused.  pasid 0: without. */
bool port_copy(struct port *p, uint32_t pasid, uint64_t from, uint64_t to, uint32_t bytes);

#endif
