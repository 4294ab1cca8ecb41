/* SPDX-License-Identifier: BSD-2-Clause */
/* platform.c: iommu/platform.h on bare metal; copies from and to guests are in guest.c. */
#include "iommu/platform.h"

#include <string.h>

#include "drivers/pci.h"
#include "kernel/alloc.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/shared.h"
#include "kernel/time.h"

#define CACHE_LINE 64u
#define PENDING_PATIENCE_NS 100000000u  /* PCIe 6.0 section 6.6.2: what a function reset waits for, too */
#define CPUID_HYPERVISOR 0x40000000u

void *platform_pages_alloc(struct guest *owner, unsigned order)
{
    uint64_t count = 1ULL << order;
    if (owner != NULL && owner->pages_left < count)
        return NULL;
    uint64_t phys = frames_alloc(order);
    if (phys == 0)
        return NULL;
    if (owner != NULL)
        owner->pages_left -= count;
    void *pages = memset(phys_to_virt(phys), 0, PAGE_SIZE << order);
    platform_write_back(pages, PAGE_SIZE << order);
    return pages;
}

void platform_pages_free(struct guest *owner, void *pages, unsigned order)
{
    if (pages == NULL)
        return;
    frames_free(virt_to_phys(pages), order);
    if (owner != NULL)
        owner->pages_left += 1ULL << order;
}

static struct objects *objects_of(struct guest *owner)
{
    static struct objects own;
    return owner != NULL ? &owner->objects : &own;
}

void *platform_alloc(struct guest *owner, size_t size)
{
    return object_alloc(objects_of(owner), size);
}

void platform_free(struct guest *owner, void *object, size_t size)
{
    object_free(objects_of(owner), object, size);
}

volatile void *platform_map_registers(uint64_t phys, uint64_t size)
{
    return map_registers(phys, size);
}

void platform_write_back(const volatile void *p, size_t size)
{
    const volatile char *line = (const volatile char *)((uintptr_t)p & ~(uintptr_t)(CACHE_LINE - 1));
    for (; line < (const volatile char *)p + size; line += CACHE_LINE)
        __asm__ volatile("clflush %0" : : "m"(*line) : "memory");
    __asm__ volatile("mfence" : : : "memory");
}

uint64_t platform_time_ns(void)
{
    return time_ns();
}

void platform_log(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line_v(format, arguments);
    va_end(arguments);
}

void platform_guest_log(struct guest *guest, const char *format, ...)
{
    char text[230];
    va_list arguments;
    va_start(arguments, format);
    format_text_v(text, sizeof(text), format, arguments);
    va_end(arguments);
    guest_log(guest, text);
}

int platform_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = format_text_v(out, size, format, arguments);
    va_end(arguments);
    return length;
}

int platform_guest_memory(struct guest *guest, uint64_t gpa, uint64_t *hpa, uint64_t *run)
{
    return guest_ram(guest, gpa, hpa, run) == 0 ? PLATFORM_OWN | PLATFORM_WRITE : shared_memory(guest, gpa, hpa, run);
}

bool platform_guest_region(struct guest *guest, unsigned i, uint64_t *gpa, uint64_t *size)
{
    for (unsigned r = 0; r < NIDUS_MAX_RAM_REGIONS + NIDUS_MAX_SHARED; r++) {
        bool ram = r < NIDUS_MAX_RAM_REGIONS;
        *gpa = ram ? guest->ram[r].gpa : guest->shared[r - NIDUS_MAX_RAM_REGIONS].gpa;
        *size = ram ? guest->ram[r].size : guest->shared[r - NIDUS_MAX_RAM_REGIONS].size;
        if (*size != 0 && i-- == 0)
            return true;
    }
    return false;
}

const char *platform_guest_name(struct guest *guest)
{
    return guest->name;
}

uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width)
{
    return pci_read(segment, bdf, offset, width);
}

void platform_pci_write(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
    pci_write(segment, bdf, offset, width, value);
}

uint16_t platform_pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id)
{
    return (uint16_t)pci_extended_capability(segment, bdf, id);
}

bool platform_is_reserved(uint64_t base, uint64_t size)
{
    return memory_is_reserved(base, size);
}

__attribute__((noinline))
static void await_transactions(uint16_t segment, uint16_t bdf)
{
    uint64_t deadline = time_ns() + PENDING_PATIENCE_NS;
    while (pci_transactions_pending(segment, bdf)) {
        if (time_ns() > deadline) {
            log_line("pci: %04x:%02x:%02x.%u still has transactions pending", segment, PCI_BUS(bdf), PCI_DEVICE(bdf),
                     PCI_FUNCTION(bdf));
            return;
        }
        cpu_pause();
    }
}

void platform_pci_bus_master(uint16_t segment, uint16_t bdf, bool on)
{
    pci_set_bus_master(segment, bdf, on);
    if (!on)
        await_transactions(segment, bdf);
}

uint32_t platform_cpu_signature(void)
{
    return cpuid(1, 0).eax;
}

void platform_hypervisor_id(char id[13])
{
    memset(id, 0, 13);
    if ((cpuid(1, 0).ecx & 1u << 31) == 0)
        return;
    struct cpuid c = cpuid(CPUID_HYPERVISOR, 0);
    memcpy(id, &c.ebx, 4);
    memcpy(id + 4, &c.ecx, 4);
    memcpy(id + 8, &c.edx, 4);
}

void platform_panic(const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    format_text_v(text, sizeof(text), format, arguments);
    va_end(arguments);
    panic("%s", text);
}
