/* SPDX-License-Identifier: BSD-2-Clause */
/* pci_assign.h: PCI functions in the hands of guests: what may be given away, and what a guest may do to it. */
#ifndef NIDUS_PCI_ASSIGN_H
#define NIDUS_PCI_ASSIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/guest.h"

/* Takes stock of the machine's functions; boot says whom each is meant for. */
void pci_assign_init(const struct boot_info *boot);

/* Can the function be given to g by what PCI says of it?  true: its BARs are in g's memory and *device is complete but for
 * the id.  false: reason says why not. */
bool pci_assign(struct guest *g, uint16_t segment, uint16_t bdf, struct nidus_guest_device *device, char reason[160]);
/* Takes that back.  g has not run yet. */
void pci_unassign(struct guest *g, const struct nidus_guest_device *device);

/* The guest's calls.  -EINVAL: offset or width; -EPERM: a write outside the allow-list; -EIO: one that sets Bus Master while fenced: the
 * device was cut off from memory for good. */
int64_t pci_guest_read(const struct nidus_guest_device *device, unsigned offset, unsigned width, uint32_t *value);
int64_t pci_guest_write(const struct nidus_guest_device *device, unsigned offset, unsigned width, uint32_t value, bool fenced);

#endif
