/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci.h: PCI configuration space.
 *
 * bdf: bus 15:8, device 7:3, function 2:0.  A function that is not there reads all ones; a write to it is lost.
 */
#ifndef NIDUS_DRIVERS_PCI_H
#define NIDUS_DRIVERS_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_VENDOR_ID        0x00u
#define PCI_DEVICE_ID        0x02u
#define PCI_COMMAND          0x04u
#define PCI_COMMAND_IO          (1u << 0)
#define PCI_COMMAND_MEMORY      (1u << 1)
#define PCI_COMMAND_BUS_MASTER  (1u << 2)
#define PCI_COMMAND_INTX_OFF    (1u << 10)
#define PCI_STATUS           0x06u
#define PCI_STATUS_CAPABILITIES (1u << 4)
#define PCI_CLASS_REVISION   0x08u
#define PCI_HEADER_TYPE      0x0eu
#define PCI_HEADER_TYPE_MASK    0x7fu
#define PCI_HEADER_MULTI        0x80u
#define PCI_BAR0             0x10u
#define PCI_SECONDARY_BUS    0x19u
#define PCI_SUBORDINATE_BUS  0x1au
#define PCI_CAPABILITIES     0x34u
#define PCI_EXPANSION_ROM    0x30u

#define PCI_CAP_PM      0x01u
#define PCI_CAP_MSI     0x05u
#define PCI_CAP_EXPRESS 0x10u
#define PCI_CAP_MSIX    0x11u

#define PCI_EXPRESS_DEVICE_CONTROL 0x08u
#define PCI_EXPRESS_CONTROL_NO_SNOOP (1u << 11)
#define PCI_EXPRESS_DEVICE_STATUS  0x0au
#define PCI_EXPRESS_STATUS_PENDING (1u << 5)

#define PCI_BDF(bus, device, function) ((uint16_t)((bus) << 8 | (device) << 3 | (function)))
#define PCI_BUS(bdf)      ((unsigned)(bdf) >> 8)
#define PCI_DEVICE(bdf)   ((unsigned)(bdf) >> 3 & 31u)
#define PCI_FUNCTION(bdf) ((unsigned)(bdf) & 7u)

/* An ECAM window, mapped: registers of first_bus's device 0 stand at registers. */
struct pci_window {
    uint16_t segment;
    uint8_t first_bus, last_bus;
    volatile uint8_t *registers;
};
#define PCI_MAX_WINDOWS 16u

/* windows stays in use.  count 0: ports CF8/CFC, for segment 0 and the first 256 bytes. */
void pci_init(const struct pci_window *windows, unsigned count);
/* Does the function have the 4 KiB of extended configuration space?  (Only through ECAM.) */
bool pci_is_extended(uint16_t segment, uint16_t bdf);

/* width: 1, 2 or 4; offset naturally aligned. */
uint32_t pci_read(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width);
void pci_write(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width, uint32_t value);

/* Calls visit for every function of every segment. */
void pci_for_each(void (*visit)(uint16_t segment, uint16_t bdf, void *context), void *context);
/* A PCI-to-PCI bridge, or a host bridge or LPC bridge: what is never given to a guest nor stopped. */
bool pci_is_bridge(uint16_t segment, uint16_t bdf);

/* Offset of a capability; 0: none.  A list that loops ends. */
unsigned pci_capability(uint16_t segment, uint16_t bdf, uint8_t id);
unsigned pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id);

void pci_set_bus_master(uint16_t segment, uint16_t bdf, bool on);
/* Requests of the function are still under way (false where it cannot say). */
bool pci_transactions_pending(uint16_t segment, uint16_t bdf);

struct pci_bar {
    uint64_t base;
    uint64_t size;              /* 0: not implemented */
    bool io, wide, prefetchable; /* wide: 64 bits, takes the next BAR too */
};
/* Sizes BAR i (0 to 5) with the function's decoding off meanwhile. */
void pci_read_bar(uint16_t segment, uint16_t bdf, unsigned i, struct pci_bar *bar);

#endif
