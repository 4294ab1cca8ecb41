/* SPDX-License-Identifier: BSD-2-Clause */
/* pci.h: the devices that nidus gave to this guest. */
#ifndef GUESTS_RUNTIME_PCI_H
#define GUESTS_RUNTIME_PCI_H

#include <stdint.h>

#include "guests/runtime/call.h"

#define PCI_COMMAND        0x04
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)

/* The index-th device (from 0) with these ids; NULL: the guest has none. */
const struct nidus_guest_device *pci_find(uint16_t vendor, uint16_t device, unsigned index);

/* Configuration space; width 1, 2 or 4.  0 or a negative NIDUS_E*; EPERM: not on nidus's allow-list. */
int pci_config_read(const struct nidus_guest_device *device, uint16_t offset, uint16_t width, uint32_t *value);
int pci_config_write(const struct nidus_guest_device *device, uint16_t offset, uint16_t width, uint32_t value);

#define PCI_CAP_ATS   0x0fu
#define PCI_CAP_PRI   0x13u
#define PCI_CAP_PASID 0x1bu

/* Where its extended capability with this id is; 0: it has none.  nidus keeps the switches of ATS, PRI and PASID to itself. */
uint16_t pci_extended_capability(const struct nidus_guest_device *device, uint16_t id);

/* Sets Bus Master and memory decoding.  (nidus sets Bus Master itself when the device is attached.) */
int pci_enable(const struct nidus_guest_device *device);

/* A pointer to the registers of a memory BAR; NULL: there is no such BAR. */
volatile void *pci_map_bar(const struct nidus_guest_device *device, unsigned bar);

#endif
