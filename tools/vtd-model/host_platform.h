/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_platform.h: model units behind the host's implementation of iommu/platform.h (tools/test/host/platform.h): registers, memory as
 * the processor and as an unsnooped walk sees it, a step of the hardware at each store and each pause of the driver.
 */
#ifndef VTD_MODEL_HOST_PLATFORM_H
#define VTD_MODEL_HOST_PLATFORM_H

#include "model.h"

/* One machine at a time, after host_reset. */
struct model *model_host_new(uint64_t seed);
/* A unit whose registers are at base. */
struct model_unit *model_host_unit(struct model *model, const struct model_preset *preset, uint64_t base);
/* Forgets the machine and the registers: before host_reset. */
void model_host_free(struct model *model);

/* A DMAR table with the units of the machine: all but the last name functions (scopes[i], ended by 0xffff), the last has
 * INCLUDE_PCI_ALL.  Valid until the next one is made. */
const void *model_host_dmar(struct model *model, const uint16_t *const *scopes, uint32_t *length);

#endif
