/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/pci.h"

#include <stddef.h>

#include "guests/runtime/frames.h"
#include "guests/runtime/pgtable.h"

#define MAPPED_BY_NIDUS (4ULL << 30)    /* kernel/abi/nidus.h: the low 4 GiB */

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

int pci_enable(const struct nidus_guest_device *device)
{
    uint32_t command;
    int error = pci_config_read(device, PCI_COMMAND, 2, &command);

    return error ? error : pci_config_write(device, PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static uint64_t *cpu_table_alloc(void *context, uint64_t *address)
{
    uint64_t *table = frames_alloc(FRAME_SIZE, FRAME_SIZE);

    (void)context;
    *address = gpa_of(table);
    return table;
}

static uint64_t *cpu_table_at(void *context, uint64_t address)
{
    (void)context;
    return (uint64_t *)address;
}

volatile void *pci_map_bar(const struct nidus_guest_device *device, unsigned bar)
{
    const struct nidus_guest_bar *b = &device->bar[bar];
    struct pgtable cpu = { .memory = { .alloc = cpu_table_alloc, .at = cpu_table_at } };
    uint64_t size = (b->size + FRAME_SIZE - 1) / FRAME_SIZE * FRAME_SIZE;
    unsigned level;

    if (!b->gpa)
        return NULL;
    /* A BAR above what nidus's first page tables map is added to them, one to one. */
    __asm__ volatile("mov %%cr3, %0" : "=r"(cpu.root));
    cpu.root &= PT_ADDRESS;
    if (b->gpa + size > MAPPED_BY_NIDUS && !pgtable_leaf(&cpu, b->gpa, &level) &&
        !pgtable_map(&cpu, b->gpa, b->gpa, size, FRAME_SIZE, PT_WRITE | PT_PCD | PT_PWT | PT_ACCESSED | PT_DIRTY))
        return NULL;
    return (volatile void *)b->gpa;
}
