/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/pci.h"

#include <stddef.h>

#include "guests/runtime/frames.h"
#include "guests/runtime/paging.h"

#define PCI_EXTENDED_CONFIG 0x100u

const struct nidus_guest_device *pci_find(uint16_t vendor, uint16_t device, unsigned index)
{
    for (unsigned i = 0; i < guest_info->device_count; i++) {
        const struct nidus_guest_device *d = &guest_info->device[i];

        if (d->vendor == vendor && d->device == device && index-- == 0)
            return d;
    }
    return NULL;
}

int pci_config_read(const struct nidus_guest_device *device, uint16_t offset, uint16_t width, uint32_t *value)
{
    struct nidus_pci_config call = { .size = sizeof(call), .offset = offset, .width = width };
    int error = nidus_call(NIDUS_CALL_PCI_CONFIG_READ, &call, device->id);

    *value = call.value;
    return error;
}

int pci_config_write(const struct nidus_guest_device *device, uint16_t offset, uint16_t width, uint32_t value)
{
    struct nidus_pci_config call = { .size = sizeof(call), .offset = offset, .width = width, .value = value };

    return nidus_call(NIDUS_CALL_PCI_CONFIG_WRITE, &call, device->id);
}

uint16_t pci_extended_capability(const struct nidus_guest_device *device, uint16_t id)
{
    uint32_t header;

    /* Every header has room of its own in the 960 dwords: a longer list is a loop. */
    for (uint16_t at = PCI_EXTENDED_CONFIG, steps = 0; at >= PCI_EXTENDED_CONFIG && steps < 960; at = header >> 20 & ~3u, steps++) {
        if (pci_config_read(device, at, 4, &header) || !header)
            return 0;
        if ((header & 0xffff) == id)
            return at;
    }
    return 0;
}

int pci_enable(const struct nidus_guest_device *device)
{
    uint32_t command;
    int error = pci_config_read(device, PCI_COMMAND, 2, &command);

    return error ? error : pci_config_write(device, PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

volatile void *pci_map_bar(const struct nidus_guest_device *device, unsigned bar)
{
    const struct nidus_guest_bar *b = &device->bar[bar];
    uint64_t size = (b->size + FRAME_SIZE - 1) / FRAME_SIZE * FRAME_SIZE;

    if (!b->gpa)
        return NULL;
    /* A BAR above the low 4 GiB is mapped when it is first asked for. */
    if (!paging_is_mapped(b->gpa) && !paging_map(b->gpa, b->gpa, size, PT_WRITE | PT_PCD | PT_PWT))
        return NULL;
    return (volatile void *)b->gpa;
}
