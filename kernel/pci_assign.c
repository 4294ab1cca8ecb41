/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci_assign.c: what PCI itself says about giving a function to a guest.
 *
 * The remapping unit sees every request that reaches it, so a function may be given away only if its requests do reach it:
 * PCIe access control services (ACS, PCIe 6.0 section 6.12) must keep functions of different guests from talking to each other
 * underneath.  And the guest gets whole pages, so the pages of its BARs must hold nobody else's registers.
 */
#include "kernel/pci_assign.h"

#include "drivers/pci.h"
#include "iommu/platform.h"
#include "kernel/log.h"

#define MAX_FUNCTIONS  2048u
#define FUNCTIONS_ORDER 3u

#define BAR_HOLE_END   0xfe000000ull   /* GPA; BARs lie between 3 GiB and here */
#define CHIPSET_START  0xfec00000ull   /* I/O APIC, HPET, VT-d, local APIC, flash: up to 4 GiB */
#define CHIPSET_END    0x100000000ull
#define LOW_END        0x100000ull
#define BAR_FLAGS_IO   0x1u
#define BAR_TYPE_64    0x4u
#define BAR_FLAG_PREFETCHABLE 0x8u

#define HEADER_BRIDGE  1u

#define EXPRESS_CAPABILITIES 0x02u     /* bits 7:4: the kind of port */
#define EXPRESS_TO_PCI       7u
#define EXPRESS_RELAXED_ORDERING (1u << 4)
#define EXPRESS_STATUS_ERRORS    0xfu

#define MSI_CONTROL    0x02u
#define MSI_ENABLE     (1u << 0)
#define MSIX_ENABLE    (1u << 15)

#define EXTENDED_ACS   0x000du
#define ACS_CAPABILITY 4u
#define ACS_CONTROL    6u
#define ACS_ISOLATING  (1u << 0 | 1u << 2 | 1u << 3 | 1u << 4) /* source validation, request and completion redirect, upstream forwarding */

_Static_assert(PCI_BAR0 + 4 * NIDUS_PCI_BARS <= PCI_EXPANSION_ROM, "six BARs");

struct function {
    uint16_t segment, bdf;
    uint8_t first_below, last_below; /* bridge: the buses behind it */
    bool bridge, express, to_pci;
    uint16_t acs;               /* offset of the ACS capability; 0: none */
};
_Static_assert(MAX_FUNCTIONS * sizeof(struct function) <= PAGE_SIZE << FUNCTIONS_ORDER, "the inventory's pages");

static struct function *functions;
static unsigned function_count;
static const struct boot_info *plan;

/* BARs that guests hold, as HPAs in whole pages. */
static struct held { uint64_t start, end; } held[BOOT_MAX_GUESTS * NIDUS_MAX_DEVICES * NIDUS_PCI_BARS];
static unsigned held_count;

__attribute__((format(printf, 2, 3)))
static bool refuse(char reason[160], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_text_v(reason, 160, format, arguments);
    va_end(arguments);
    return false;
}

/* Inventory. */

static void take_stock(uint16_t segment, uint16_t bdf, void *context)
{
    (void)context;
    if (function_count == MAX_FUNCTIONS)
        return;
    struct function *f = &functions[function_count++];
    *f = (struct function){ .segment = segment, .bdf = bdf };
    f->bridge = (pci_read(segment, bdf, PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MASK) == HEADER_BRIDGE;
    if (f->bridge) {
        f->first_below = (uint8_t)pci_read(segment, bdf, PCI_SECONDARY_BUS, 1);
        f->last_below = (uint8_t)pci_read(segment, bdf, PCI_SUBORDINATE_BUS, 1);
    }
    unsigned express = pci_capability(segment, bdf, PCI_CAP_EXPRESS);
    f->express = express != 0;
    unsigned kind = express != 0 ? pci_read(segment, bdf, express + EXPRESS_CAPABILITIES, 2) >> 4 & 15 : 0;
    f->to_pci = kind == EXPRESS_TO_PCI;
    f->acs = pci_is_extended(segment, bdf) ? (uint16_t)pci_extended_capability(segment, bdf, EXTENDED_ACS) : 0;
}

void pci_assign_init(const struct boot_info *boot)
{
    plan = boot;
    function_count = held_count = 0;
    functions = platform_pages_alloc(NULL, FUNCTIONS_ORDER);
    if (functions != NULL)
        pci_for_each(take_stock, NULL);
}

static const struct function *find(uint16_t segment, uint16_t bdf)
{
    for (unsigned i = 0; i < function_count; i++)
        if (functions[i].segment == segment && functions[i].bdf == bdf)
            return &functions[i];
    return NULL;
}

/* The bridge right above a function; NULL: it is on a root bus. */
static const struct function *above(const struct function *f)
{
    const struct function *nearest = NULL;
    for (unsigned i = 0; i < function_count; i++) {
        const struct function *b = &functions[i];
        bool leads = b->bridge && b->segment == f->segment && b->first_below > PCI_BUS(b->bdf) &&
                     b->first_below <= PCI_BUS(f->bdf) && PCI_BUS(f->bdf) <= b->last_below;
        if (leads && (nearest == NULL || b->first_below > nearest->first_below))
            nearest = b;
    }
    return nearest;
}

static bool is_above(const struct function *bridge, const struct function *f)
{
    return bridge->segment == f->segment && bridge->first_below <= PCI_BUS(f->bdf) && PCI_BUS(f->bdf) <= bridge->last_below;
}

/* Isolation. */

/* Turns on what keeps f's requests from its neighbours.  false: it cannot. */
static bool isolate(const struct function *f)
{
    if (f->acs == 0)
        return false;
    uint32_t able = pci_read(f->segment, f->bdf, f->acs + ACS_CAPABILITY, 2);
    uint32_t control = pci_read(f->segment, f->bdf, f->acs + ACS_CONTROL, 2);
    pci_write(f->segment, f->bdf, f->acs + ACS_CONTROL, 2, control | (able & ACS_ISOLATING));
    return true;
}

/* The function that f's requests pass through just below the bridge `common` (NULL: below the root); f itself at the end. */
static const struct function *branch(const struct function *f, const struct function *common)
{
    for (const struct function *b = above(f); b != NULL && b != common; b = above(f))
        f = b;
    return f;
}

/* Behind a bridge to conventional PCI, requests carry the bridge's id: the remapping unit cannot tell whose they are. */
static bool has_own_id(const struct function *f, char reason[160])
{
    for (const struct function *b = above(f); b != NULL; b = above(b))
        if (b->to_pci || !b->express)
            return refuse(reason, "it is behind the bridge %02x:%02x.%u to conventional PCI, whose id its requests carry",
                          PCI_BUS(b->bdf), PCI_DEVICE(b->bdf), PCI_FUNCTION(b->bdf));
    return true;
}

/* Do requests of a and of b reach the root complex without meeting?  Two branches on the root bus meet in the root
 * complex: an endpoint of the root complex in a slot of its own needs nothing, a port needs ACS. */
static bool isolated(const struct function *a, const struct function *b, char reason[160])
{
    const struct function *common = above(a);
    while (common != NULL && !is_above(common, b))
        common = above(common);
    const struct function *ends[2] = { branch(a, common), branch(b, common) };
    bool same_slot = ends[0]->bdf >> 3 == ends[1]->bdf >> 3;
    for (unsigned i = 0; i < 2; i++) {
        const struct function *f = ends[i];
        if ((same_slot || f->bridge) && !isolate(f))
            return refuse(reason, "%02x:%02x.%u has no ACS, so it and a device of another guest (%02x:%02x.%u) could reach each other",
                          PCI_BUS(f->bdf), PCI_DEVICE(f->bdf), PCI_FUNCTION(f->bdf), PCI_BUS(b->bdf), PCI_DEVICE(b->bdf),
                          PCI_FUNCTION(b->bdf));
    }
    return true;
}

static bool isolated_from_others(const struct guest *g, const struct function *f, char reason[160])
{
    for (unsigned i = 0; i < plan->guest_count; i++) {
        const struct boot_guest *other = &plan->guest[i];
        for (unsigned j = 0; other != g->config && j < other->device_count; j++) {
            const struct function *o = find(other->device[j].segment, other->device[j].bdf);
            if (o == f)
                return refuse(reason, "guest %s claims it too", other->name);
            if (o != NULL && o->segment == f->segment && !isolated(f, o, reason))
                return false;
        }
    }
    return true;
}

/* BARs. */

/* Does another function have a BAR that begins in [start, end)?  Its own word is enough: no sizing of what others use. */
static const struct function *neighbour(const struct function *self, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < function_count; i++) {
        const struct function *f = &functions[i];
        unsigned bars = f->bridge ? 2 : NIDUS_PCI_BARS;
        for (unsigned bar = 0; f != self && bar < bars; bar++) {
            uint64_t word = pci_read(f->segment, f->bdf, PCI_BAR0 + 4 * bar, 4);
            if (word & BAR_FLAGS_IO)
                continue;
            uint64_t base = word & ~0xfull;
            if ((word & BAR_TYPE_64) && ++bar < bars)
                base |= (uint64_t)pci_read(f->segment, f->bdf, PCI_BAR0 + 4 * bar, 4) << 32;
            if (base != 0 && base >= start && base < end)
                return f;
        }
    }
    return NULL;
}

static bool overlaps(uint64_t a_start, uint64_t a_end, uint64_t b_start, uint64_t b_end)
{
    return a_start < b_end && b_start < a_end;
}

/* May a guest have the pages [start, end) of self's BAR i?  Firmware placed it, and firmware errs. */
static bool check_pages(const struct function *self, unsigned i, uint64_t start, uint64_t end, char reason[160])
{
    unsigned long long at = start;
    if (start < LOW_END || end < start || overlaps(start, end, CHIPSET_START, CHIPSET_END))
        return refuse(reason, "firmware put its BAR %u at 0x%llx, where no device's registers can be", i, at);
    for (unsigned m = 0; m < plan->memory_count; m++)
        if (overlaps(start, end, plan->memory[m].base, plan->memory[m].base + plan->memory[m].size))
            return refuse(reason, "firmware put its BAR %u at 0x%llx, on what it lists as memory", i, at);
    const struct boot_framebuffer *screen = &plan->framebuffer;
    if ((plan->console & BOOT_CONSOLE_SCREEN) && screen->base != 0 &&
        overlaps(start, end, screen->base, screen->base + sizeof(uint32_t) * screen->stride * screen->height))
        return refuse(reason, "its BAR %u at 0x%llx is the screen that nidus prints on (console in [system])", i, at);
    const struct function *other = neighbour(self, start, end);
    if (other != NULL)
        return refuse(reason, "its BAR %u at 0x%llx shares a page with a BAR of %02x:%02x.%u", i, at, PCI_BUS(other->bdf),
                      PCI_DEVICE(other->bdf), PCI_FUNCTION(other->bdf));
    for (unsigned h = 0; h < held_count; h++)
        if (overlaps(start, end, held[h].start, held[h].end))
            return refuse(reason, "its BAR %u at 0x%llx overlaps that of a device that is given away", i, at);
    return true;
}

static bool map_bar(struct guest *g, const struct function *f, unsigned i, const struct pci_bar *bar, struct nidus_guest_bar *out,
                    char reason[160])
{
    uint64_t start = bar->base & ~(PAGE_SIZE - 1);
    uint64_t end = (bar->base + bar->size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    if (bar->base == 0)
        return refuse(reason, "firmware gave its BAR %u no address", i);
    if (!check_pages(f, i, start, end, reason))
        return false;
    uint64_t align = bar->size > PAGE_SIZE ? bar->size : PAGE_SIZE; /* a power of two */
    uint64_t gpa = (g->bar_top + align - 1) & ~(align - 1);
    if (gpa + (end - start) > BAR_HOLE_END || gpa < g->bar_top)
        return refuse(reason, "its BAR %u (%llu KiB) does not fit in what is left of a guest's room for BARs", i,
                      (unsigned long long)(bar->size >> 10));
    int error = held_count == sizeof(held) / sizeof(held[0]) ? -NIDUS_ENOMEM
              : stage2_map(&g->memory, gpa, start, end - start, STAGE2_READ | STAGE2_WRITE | STAGE2_UNCACHED);
    if (error != 0)
        return refuse(reason, "no memory to map its BAR %u", i);
    held[held_count++] = (struct held){ start, end };
    g->bar_top = gpa + (end - start);
    *out = (struct nidus_guest_bar){ gpa + bar->base - start, bar->size };
    return true;
}

/* No interrupts yet, nothing that hides a write from the caches, registers reachable, DMA off. */
static void prepare(uint16_t segment, uint16_t bdf)
{
    unsigned msi = pci_capability(segment, bdf, PCI_CAP_MSI), msix = pci_capability(segment, bdf, PCI_CAP_MSIX);
    unsigned express = pci_capability(segment, bdf, PCI_CAP_EXPRESS);
    if (msi != 0)
        pci_write(segment, bdf, msi + MSI_CONTROL, 2, pci_read(segment, bdf, msi + MSI_CONTROL, 2) & ~MSI_ENABLE);
    if (msix != 0)
        pci_write(segment, bdf, msix + MSI_CONTROL, 2, pci_read(segment, bdf, msix + MSI_CONTROL, 2) & ~MSIX_ENABLE);
    if (express != 0) {
        unsigned at = express + PCI_EXPRESS_DEVICE_CONTROL;
        pci_write(segment, bdf, at, 2, pci_read(segment, bdf, at, 2) & ~PCI_EXPRESS_CONTROL_NO_SNOOP);
    }
    uint32_t command = pci_read(segment, bdf, PCI_COMMAND, 2) & ~(PCI_COMMAND_BUS_MASTER | PCI_COMMAND_IO);
    pci_write(segment, bdf, PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF);
}

bool pci_assign(struct guest *g, uint16_t segment, uint16_t bdf, struct nidus_guest_device *device, char reason[160])
{
    const struct function *f = find(segment, bdf);
    if (f == NULL)
        return refuse(reason, "%s", function_count == MAX_FUNCTIONS ? "the machine has more functions than nidus counts" :
                                                                     "there is no such device");
    if (pci_is_bridge(segment, bdf))
        return refuse(reason, "it is a bridge");
    if (!has_own_id(f, reason) || !isolated_from_others(g, f, reason))
        return false;
    *device = (struct nidus_guest_device){ .vendor = (uint16_t)pci_read(segment, bdf, PCI_VENDOR_ID, 2),
                                           .device = (uint16_t)pci_read(segment, bdf, PCI_DEVICE_ID, 2),
                                           .segment = segment, .bdf = bdf,
                                           .class_code = pci_read(segment, bdf, PCI_CLASS_REVISION, 4) >> 8 };
    for (unsigned i = 0; i < NIDUS_PCI_BARS; i++) {
        struct pci_bar bar;
        pci_read_bar(segment, bdf, i, &bar);
        if (bar.size != 0 && !bar.io && !map_bar(g, f, i, &bar, &device->bar[i], reason)) {
            pci_unassign(g, device);
            return false;
        }
        i += bar.wide;
    }
    prepare(segment, bdf);
    return true;
}

void pci_unassign(struct guest *g, const struct nidus_guest_device *device)
{
    for (unsigned i = 0; i < NIDUS_PCI_BARS; i++) {
        if (device->bar[i].size == 0)
            continue;
        struct stage2_freed freed = { 0 };
        uint64_t start = device->bar[i].gpa & ~(PAGE_SIZE - 1);
        uint64_t end = (device->bar[i].gpa + device->bar[i].size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
        if (stage2_unmap(&g->memory, start, end - start, &freed, NULL) != 0)
            platform_panic("guest %s: a BAR that was mapped does not unmap", g->name);
        stage2_free(&g->memory, &freed);
        held_count--;
    }
}

/* The guest's own accesses. */

/* What a guest may write.  A row is a register, in a capability when capability is not 0, and its bits. */
static const struct allowed {
    uint8_t capability;
    uint8_t offset;
    uint8_t width;
    uint16_t bits;
} allow_list[] = {
    /* Bus Master: the unit blocks what is not attached, and a guest that wants to see that may.  INTx off: no interrupt is
     * routed anyway.  Not Memory Space: an access to registers that do not answer is a fatal error on some machines.  Not
     * SERR and parity: they raise errors in the machine. */
    { 0, PCI_COMMAND, 2, PCI_COMMAND_BUS_MASTER | PCI_COMMAND_INTX_OFF },
    /* Errors that the device recorded, cleared by writing 1. */
    { 0, PCI_STATUS, 2, 0xf900 },
    /* Cache line size: a number that the device alone reads. */
    { 0, 0x0c, 1, 0xff },
    /* Relaxed Ordering: the order of the device's own writes.  Not payload sizes (they must suit the path), error
     * reporting (the machine's), No Snoop (caches would go unseen), function reset (it loses the BARs). */
    { PCI_CAP_EXPRESS, PCI_EXPRESS_DEVICE_CONTROL, 2, EXPRESS_RELAXED_ORDERING },
    /* Errors that the device recorded, cleared by writing 1. */
    { PCI_CAP_EXPRESS, PCI_EXPRESS_DEVICE_STATUS, 2, EXPRESS_STATUS_ERRORS },
};

/* The bits of the register at [offset, offset + width) that a guest may write. */
static uint32_t writable(const struct nidus_guest_device *d, unsigned offset, unsigned width)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < sizeof(allow_list) / sizeof(allow_list[0]); i++) {
        const struct allowed *a = &allow_list[i];
        unsigned base = a->capability != 0 ? pci_capability(d->segment, d->bdf, a->capability) : 0;
        if (a->capability != 0 && base == 0)
            continue;
        for (unsigned byte = 0; byte < a->width; byte++) {
            unsigned at = base + a->offset + byte;
            if (at >= offset && at < offset + width)
                mask |= (a->bits >> 8 * byte & 0xffu) << 8 * (at - offset);
        }
    }
    return mask;
}

static uint32_t low_bytes(uint32_t value, unsigned width)
{
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

static bool is_valid(const struct nidus_guest_device *d, unsigned offset, unsigned width)
{
    unsigned limit = pci_is_extended(d->segment, d->bdf) ? 4096 : 256;
    return (width == 1 || width == 2 || width == 4) && offset % width == 0 && offset + width <= limit;
}

/* BAR registers as the guest sees them: its own addresses, and no I/O BAR. */
static uint32_t bar_word(const struct nidus_guest_device *d, unsigned i)
{
    const uint32_t flags_of = BAR_TYPE_64 | BAR_FLAG_PREFETCHABLE;
    bool upper = i != 0 && d->bar[i].size == 0 && d->bar[i - 1].size != 0 &&
                 (pci_read(d->segment, d->bdf, PCI_BAR0 + 4 * (i - 1), 4) & BAR_TYPE_64);
    if (upper)
        return (uint32_t)(d->bar[i - 1].gpa >> 32);
    if (d->bar[i].size == 0)
        return 0;
    return (uint32_t)d->bar[i].gpa | (pci_read(d->segment, d->bdf, PCI_BAR0 + 4 * i, 4) & flags_of);
}

int64_t pci_guest_read(const struct nidus_guest_device *d, unsigned offset, unsigned width, uint32_t *value)
{
    if (!is_valid(d, offset, width))
        return -NIDUS_EINVAL;
    unsigned word = offset & ~3u;
    if (word >= PCI_BAR0 && word < PCI_BAR0 + 4 * NIDUS_PCI_BARS)
        *value = low_bytes(bar_word(d, (word - PCI_BAR0) / 4) >> 8 * (offset & 3), width);
    else if (word == PCI_EXPANSION_ROM)
        *value = 0;
    else
        *value = pci_read(d->segment, d->bdf, offset, width);
    return 0;
}

int64_t pci_guest_write(const struct nidus_guest_device *d, unsigned offset, unsigned width, uint32_t value, bool fenced)
{
    if (!is_valid(d, offset, width))
        return -NIDUS_EINVAL;
    uint32_t mask = writable(d, offset, width);
    uint32_t now = pci_read(d->segment, d->bdf, offset, width);
    value = low_bytes(value, width);
    if (mask == 0 || ((value ^ now) & ~mask))
        return -NIDUS_EPERM;
    if (fenced && offset == PCI_COMMAND && value & ~now & PCI_COMMAND_BUS_MASTER)
        return -NIDUS_EIO;
    pci_write(d->segment, d->bdf, offset, width, value);
    return 0;
}
