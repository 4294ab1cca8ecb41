/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/bench/platform.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/registers.h"

/* Memory --------------------------------------------------------------------------------------------- */

#define ORDERS 9

static struct free_pages {
    struct free_pages *next;
} *free_pages[ORDERS];

void *platform_pages_alloc(struct guest *owner, unsigned order)
{
    struct free_pages *pages = free_pages[order];

    if (pages != NULL)
        free_pages[order] = pages->next;
    else
        pages = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
    if (pages != NULL && owner != NULL)
        owner->table_bytes += PAGE_SIZE << order;
    return pages == NULL ? NULL : memset(pages, 0, PAGE_SIZE << order);
}

void platform_pages_free(struct guest *owner, void *pages, unsigned order)
{
    struct free_pages *p = pages;

    if (p == NULL)
        return;
    p->next = free_pages[order];
    free_pages[order] = p;
    if (owner != NULL)
        owner->table_bytes -= PAGE_SIZE << order;
}

void *platform_alloc(struct guest *owner, size_t size)
{
    (void)owner;
    return calloc(1, size);
}

void platform_free(struct guest *owner, void *object, size_t size)
{
    (void)owner, (void)size;
    free(object);
}

void platform_write_back(const volatile void *p, size_t size)
{
    (void)p, (void)size;
}

/* The unit ------------------------------------------------------------------------------------------- */

unsigned bench_descriptors, bench_submissions;

static _Alignas(4096) uint8_t registers[4096];
static uint64_t seen_tail;

#define REGISTER32(offset) (*(volatile uint32_t *)&registers[offset])
#define REGISTER64(offset) (*(volatile uint64_t *)&registers[offset])

static void run_queue(void)
{
    uint64_t iqa = REGISTER64(REG_IQA), size = PAGE_SIZE << (iqa & 7);

    if (REGISTER64(REG_IQT) != seen_tail)
        bench_submissions++;
    for (; seen_tail != REGISTER64(REG_IQT); seen_tail = (seen_tail + 32) % size) {
        const uint64_t *d = platform_virt((iqa & ~(PAGE_SIZE - 1)) + seen_tail);

        if ((d[0] & 15) != 5)
            bench_descriptors++;
        else if (d[0] & 32)
            *(volatile uint32_t *)platform_virt(d[1]) = d[0] >> 32;
    }
    REGISTER64(REG_IQH) = seen_tail;
}

void bench_written(uint32_t offset)
{
    if (offset == REG_IQT)
        run_queue();
}

/* The moment at which the unit does what else it is told. */
uint64_t platform_time_ns(void)
{
    static uint64_t now;

    REGISTER32(REG_GSTS) = REGISTER32(REG_GCMD);
    REGISTER32(REG_FSTS) = 0; /* what is written to it clears it */
    return now += 100;
}

/* A unit of Sapphire Rapids. */
volatile void *platform_map_registers(uint64_t phys, uint64_t size)
{
    (void)phys, (void)size;
    REGISTER32(REG_VER) = 0x60;
    REGISTER64(REG_CAP) = (0x19ed008c40780c66 & ~0x3ff000000ULL) | 0x22ULL << 24; /* its fault record in the first page */
    REGISTER64(REG_ECAP) = 0x3ee9e86f050df | ECAP_PASID;
    return registers;
}

const void *bench_dmar(uint32_t *length)
{
    /* Header with a host address width of 52; DRHD: INCLUDE_PCI_ALL, at 0xfed90000. */
    static const uint8_t table[64] = {
        'D', 'M', 'A', 'R', 64, [36] = 51, 1, [48] = 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe,
    };

    *length = sizeof(table);
    return table;
}

/* The guest ------------------------------------------------------------------------------------------ */

int platform_guest_read(struct guest *guest, uint64_t gpa, void *to, size_t size)
{
    if (gpa + size > WINDOW_BYTES)
        return -NIDUS_EFAULT;
    memcpy(to, &guest->window[gpa], size);
    return 0;
}

int platform_guest_write(struct guest *guest, uint64_t gpa, const void *from, size_t size)
{
    if (gpa + size > WINDOW_BYTES)
        return -NIDUS_EFAULT;
    memcpy(&guest->window[gpa], from, size);
    return 0;
}

void *platform_guest_piece(struct guest *guest, uint64_t gpa, size_t size)
{
    return gpa >= PAGE_SIZE && gpa + size <= WINDOW_BYTES ? &guest->window[gpa] : NULL;
}

int platform_guest_memory(struct guest *guest, uint64_t gpa, uint64_t *hpa, uint64_t *run)
{
    (void)guest;
    *hpa = RAM_HPA + gpa;
    *run = RAM_BYTES - gpa;
    return gpa < RAM_BYTES ? PLATFORM_OWN | PLATFORM_WRITE : -NIDUS_EFAULT;
}

bool platform_guest_region(struct guest *guest, unsigned i, uint64_t *gpa, uint64_t *size)
{
    (void)guest;
    *gpa = 0;
    *size = RAM_BYTES;
    return i == 0;
}

const char *platform_guest_name(struct guest *guest)
{
    (void)guest;
    return "bench";
}

bool platform_is_reserved(uint64_t base, uint64_t size)
{
    (void)base, (void)size;
    return false;
}

/* PCI, CPU, log -------------------------------------------------------------------------------------- */

#define PASID_CAPABILITY 0x100u /* of 20 bits, and no other one */

uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width)
{
    (void)segment, (void)bdf, (void)width;
    return offset == PASID_CAPABILITY + 4 ? 20 << 8 : 0;
}

uint16_t platform_pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id)
{
    (void)segment, (void)bdf;
    return id == 0x1b ? PASID_CAPABILITY : 0;
}

void platform_pci_write(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
    (void)segment, (void)bdf, (void)offset, (void)width, (void)value;
}

void platform_pci_bus_master(uint16_t segment, uint16_t bdf, bool on)
{
    (void)segment, (void)bdf, (void)on;
}

uint32_t platform_cpu_signature(void)
{
    return 0x000806f8;
}

void platform_hypervisor_id(char id[13])
{
    id[0] = '\0';
}

/* A line means that something is refused, which nothing here should be; but for the first, of a unit that starts. */
void platform_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void platform_guest_log(struct guest *guest, const char *format, ...)
{
    va_list arguments;

    (void)guest;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int platform_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return length;
}

void platform_panic(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    exit(1);
}
