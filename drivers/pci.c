/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pci.h"

#include <stddef.h>

#include "kernel/cpu.h"

#define CF8_ADDRESS 0xcf8
#define CF8_DATA    0xcfc
#define   CF8_ENABLE (1u << 31)

#define CONFIG_BYTES          0x100u
#define CONFIG_EXTENDED_BYTES 0x1000u
#define NOBODY                0xffffffffu

#define MAX_CAPABILITIES          48u   /* as many as fit: (256 - 64) / 4 */
#define MAX_EXTENDED_CAPABILITIES 480u  /* (4096 - 256) / 8 */

#define CLASS_HOST_BRIDGE 0x0600u
#define CLASS_ISA_BRIDGE  0x0601u

#define BAR_IO            (1u << 0)
#define BAR_TYPE          (3u << 1)
#define   BAR_TYPE_64        (2u << 1)
#define BAR_PREFETCHABLE  (1u << 3)
#define BAR_MEMORY_MASK   (~0xfULL)
#define BAR_IO_MASK       (~0x3ULL)
#define BAR_COUNT         6u

static const struct pci_window *windows;
static unsigned window_count;

void pci_init(const struct pci_window *new_windows, unsigned count)
{
    windows = new_windows;
    window_count = count;
}

/* A function, and its registers in ECAM; NULL: it is behind the ports, or out of reach. */
struct function {
    uint16_t segment, bdf;
    volatile uint8_t *registers;
};

static struct function find(uint16_t segment, uint16_t bdf)
{
    for (unsigned i = 0; i < window_count; i++) {
        const struct pci_window *w = &windows[i];
        if (w->segment == segment && PCI_BUS(bdf) >= w->first_bus && PCI_BUS(bdf) <= w->last_bus)
            return (struct function){ segment, bdf, w->registers + (uint64_t)(bdf - PCI_BDF(w->first_bus, 0, 0)) * CONFIG_EXTENDED_BYTES };
    }
    return (struct function){ segment, bdf, NULL };
}

bool pci_is_extended(uint16_t segment, uint16_t bdf)
{
    return find(segment, bdf).registers != NULL;
}

/* Without ECAM: points CF8 at the double word. false: it cannot be reached so. */
static bool select_word(const struct function *f, unsigned offset)
{
    if (window_count != 0 || f->segment != 0 || offset >= CONFIG_BYTES)
        return false;
    out32(CF8_ADDRESS, CF8_ENABLE | (uint32_t)f->bdf << 8 | (offset & ~3u));
    return true;
}

static uint32_t low_bytes(uint32_t value, unsigned width)
{
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

static inline uint32_t read(struct function f, unsigned offset, unsigned width)
{
    bool reachable = offset + width <= CONFIG_EXTENDED_BYTES && offset % width == 0;
    uint16_t port = (uint16_t)(CF8_DATA + offset % 4);
    if (!reachable || (f.registers == NULL && !select_word(&f, offset)))
        return low_bytes(NOBODY, width);
    switch (width) {
    case 1:
        return f.registers != NULL ? f.registers[offset] : in8(port);
    case 2:
        return f.registers != NULL ? *(volatile uint16_t *)(f.registers + offset) : in16(port);
    default:
        return f.registers != NULL ? *(volatile uint32_t *)(f.registers + offset) : in32(port);
    }
}

static inline void write(struct function f, unsigned offset, unsigned width, uint32_t value)
{
    bool reachable = offset + width <= CONFIG_EXTENDED_BYTES && offset % width == 0;
    uint16_t port = (uint16_t)(CF8_DATA + offset % 4);
    if (!reachable || (f.registers == NULL && !select_word(&f, offset)))
        return;
    if (f.registers == NULL && width == 1)
        out8(port, (uint8_t)value);
    else if (f.registers == NULL && width == 2)
        out16(port, (uint16_t)value);
    else if (f.registers == NULL)
        out32(port, value);
    else if (width == 1)
        f.registers[offset] = (uint8_t)value;
    else if (width == 2)
        *(volatile uint16_t *)(f.registers + offset) = (uint16_t)value;
    else
        *(volatile uint32_t *)(f.registers + offset) = value;
}

uint32_t pci_read(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width)
{
    return read(find(segment, bdf), offset, width);
}

void pci_write(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width, uint32_t value)
{
    write(find(segment, bdf), offset, width, value);
}

static bool is_present(uint16_t segment, uint16_t bdf)
{
    return pci_read(segment, bdf, PCI_VENDOR_ID, 2) != 0xffff;
}

static void visit_bus(uint16_t segment, unsigned bus, void (*visit)(uint16_t, uint16_t, void *), void *context)
{
    for (unsigned device = 0; device < 32; device++) {
        uint16_t first = PCI_BDF(bus, device, 0);
        if (!is_present(segment, first))
            continue;
        bool multi = (pci_read(segment, first, PCI_HEADER_TYPE, 1) & PCI_HEADER_MULTI) != 0;
        for (unsigned function = 0; function < (multi ? 8 : 1); function++)
            if (is_present(segment, first + function))
                visit(segment, first + function, context);
    }
}

/* Every bus is looked at: a machine has several root buses, and only AML knows which. */
void pci_for_each(void (*visit)(uint16_t segment, uint16_t bdf, void *context), void *context)
{
    static const struct pci_window ports = { .segment = 0, .first_bus = 0, .last_bus = 255 };
    const struct pci_window *w = window_count != 0 ? windows : &ports;
    for (unsigned i = 0; i < (window_count != 0 ? window_count : 1); i++, w++)
        for (unsigned bus = w->first_bus; bus <= w->last_bus; bus++)
            visit_bus(w->segment, bus, visit, context);
}

bool pci_is_bridge(uint16_t segment, uint16_t bdf)
{
    uint32_t class = pci_read(segment, bdf, PCI_CLASS_REVISION, 4) >> 16;
    return (pci_read(segment, bdf, PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MASK) != 0 ||
           class == CLASS_HOST_BRIDGE || class == CLASS_ISA_BRIDGE;
}

unsigned pci_capability(uint16_t segment, uint16_t bdf, uint8_t id)
{
    struct function f = find(segment, bdf);
    if ((read(f, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES) == 0)
        return 0;
    unsigned at = read(f, PCI_CAPABILITIES, 1) & ~3u;
    for (unsigned i = 0; i < MAX_CAPABILITIES && at >= 0x40; i++) {
        uint32_t header = read(f, at, 2);
        if ((header & 0xff) == id)
            return at;
        at = header >> 8 & ~3u;
    }
    return 0;
}

unsigned pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id)
{
    struct function f = find(segment, bdf);
    unsigned at = CONFIG_BYTES;
    for (unsigned i = 0; i < MAX_EXTENDED_CAPABILITIES && at >= CONFIG_BYTES; i++) {
        uint32_t header = read(f, at, 4);
        if (header == 0 || header == NOBODY)
            return 0;
        if ((header & 0xffff) == id)
            return at;
        at = header >> 20 & ~3u;
    }
    return 0;
}

void pci_set_bus_master(uint16_t segment, uint16_t bdf, bool on)
{
    struct function f = find(segment, bdf);
    uint32_t command = read(f, PCI_COMMAND, 2);
    write(f, PCI_COMMAND, 2, on ? command | PCI_COMMAND_BUS_MASTER : command & ~PCI_COMMAND_BUS_MASTER);
}

bool pci_transactions_pending(uint16_t segment, uint16_t bdf)
{
    unsigned express = pci_capability(segment, bdf, PCI_CAP_EXPRESS);
    uint32_t status = express == 0 ? 0 : pci_read(segment, bdf, express + PCI_EXPRESS_DEVICE_STATUS, 2);
    return status != 0xffff && (status & PCI_EXPRESS_STATUS_PENDING) != 0;
}

/* All ones written and read back: the bits that stay 0 are below the size.  The register is as before afterwards. */
static uint32_t probe_word(uint16_t segment, uint16_t bdf, unsigned offset, uint32_t *value)
{
    *value = pci_read(segment, bdf, offset, 4);
    pci_write(segment, bdf, offset, 4, UINT32_MAX);
    uint32_t mask = pci_read(segment, bdf, offset, 4);
    pci_write(segment, bdf, offset, 4, *value);
    return mask;
}

void pci_read_bar(uint16_t segment, uint16_t bdf, unsigned i, struct pci_bar *bar)
{
    *bar = (struct pci_bar){ 0 };
    if (i >= BAR_COUNT)
        return;
    unsigned offset = PCI_BAR0 + i * 4;
    uint32_t command = pci_read(segment, bdf, PCI_COMMAND, 2);
    pci_write(segment, bdf, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));

    uint32_t low, high = 0, low_mask = probe_word(segment, bdf, offset, &low);
    uint32_t high_mask = UINT32_MAX;
    bar->io = (low & BAR_IO) != 0;
    bar->wide = !bar->io && (low & BAR_TYPE) == BAR_TYPE_64 && i + 1 < BAR_COUNT;
    bar->prefetchable = !bar->io && (low & BAR_PREFETCHABLE) != 0;
    if (bar->wide)
        high_mask = probe_word(segment, bdf, offset + 4, &high);
    pci_write(segment, bdf, PCI_COMMAND, 2, command);

    uint64_t keep = bar->io ? BAR_IO_MASK : BAR_MEMORY_MASK;
    uint64_t mask = ((uint64_t)high_mask << 32 | low_mask) & keep;
    if (bar->io && (low_mask >> 16) == 0)   /* a device may leave the upper half of an I/O BAR out */
        mask |= 0xffff0000u;
    bar->base = ((uint64_t)high << 32 | low) & keep;
    bar->size = (low_mask & keep) == 0 && !bar->wide ? 0 : ~mask + 1;
    if (bar->wide && mask == 0)
        bar->size = 0;
}
