/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dirty.c: a UEFI program that leaves the machine as bad firmware, or an operating system that crashed into a
 * new boot, may leave it, and then starts \nidus\nidus.efi from the same disk:
 *
 *   - the first VT-d unit translates in legacy mode (a second stage of its own, memory below 4 GiB one to one),
 *     remaps interrupts with an empty table, and has an invalidation queue that has moved on;
 *   - faults stand in its records;
 *   - every nidus-dma device writes 64 MiB that firmware says are free, again and again.
 */
#include <string.h>

#include "boot/efi.h"
#include "iommu/registers.h"
#include "tools/test/dirty/start_nidus.h"
#include <efipciio.h>

#define PAGE          4096u
#define MIB           (UINT64_C(1) << 20)
#define GIB           (UINT64_C(1) << 30)
#define VICTIM_SIZE   (64 * MIB)
#define UNMAPPED      (8 * GIB)
#define LOOPS         100000000u

/* Legacy-mode tables, VT-d 9.1, 9.3 and 9.9. */
#define ROOT_PRESENT     1u
#define CONTEXT_PRESENT  1u
#define CONTEXT_DID_1    (UINT64_C(1) << 8)
#define SECOND_RW        3u
#define SECOND_LARGE     (UINT64_C(1) << 7)

/* 128-bit descriptors, VT-d 6.5.2. */
#define QI_CONTEXT_GLOBAL UINT64_C(0x11)
#define QI_IOTLB_GLOBAL   UINT64_C(0x12)
#define QI_IEC_GLOBAL     UINT64_C(0x04)
#define QI_WAIT_STATUS    (UINT64_C(0x25) | UINT64_C(1) << 32)

/* docs/nidus-dma.md */
enum { NDMA_CTRL = 0x08, NDMA_RING = 0x10, NDMA_ENTRIES = 0x18, NDMA_TAIL = 0x24, NDMA_FILL = 2, NDMA_REPEAT = 1,
       NDMA_DST_ERROR = 3 };
struct ndma_descriptor {
    uint32_t op, flags;
    uint64_t src, dst;
    uint32_t len, reserved;
    uint64_t seed;
    uint32_t status, done;
    uint64_t sum, error_addr;
};
_Static_assert(sizeof(struct ndma_descriptor) == 64, "docs/nidus-dma.md");

static volatile uint8_t *unit;

static uint32_t get32(uint32_t offset)
{
    return *(volatile uint32_t *)(unit + offset);
}

static uint64_t get64(uint32_t offset)
{
    return *(volatile uint64_t *)(unit + offset);
}

static void put32(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(unit + offset) = value;
}

static void put64(uint32_t offset, uint64_t value)
{
    *(volatile uint64_t *)(unit + offset) = value;
}

static bool give_up(const char *why)
{
    say("dirty: %s", why);
    return false;
}

/* Memory that nidus will find to be free. */
static void *pages(uint64_t bytes)
{
    EFI_PHYSICAL_ADDRESS base = 4 * GIB - 1;

    if (efi->BootServices->AllocatePages(AllocateMaxAddress, EfiBootServicesData, (bytes + PAGE - 1) / PAGE, &base) !=
        EFI_SUCCESS)
        return NULL;
    return memset((void *)base, 0, bytes);
}

/* ---- the unit ---- */

static const uint8_t *find_dmar(void)
{
    struct boot_info info = { 0 };
    const uint8_t *rsdp, *xsdt;
    uint32_t length;

    platform_find(&info);
    rsdp = (const uint8_t *)info.rsdp;
    if (rsdp == NULL)
        return NULL;
    xsdt = *(const uint8_t *const *)(rsdp + 24);
    length = *(const uint32_t *)(xsdt + 4);
    for (uint32_t at = 36; at + 8 <= length; at += 8) {
        const uint8_t *table;

        memcpy(&table, xsdt + at, sizeof(table)); /* not aligned */
        if (memcmp(table, "DMAR", 4) == 0)
            return table;
    }
    return NULL;
}

static bool find_unit(void)
{
    const uint8_t *dmar = find_dmar();

    if (dmar == NULL)
        return give_up("no DMAR table");
    for (uint32_t at = 48; at + 16 <= *(const uint32_t *)(dmar + 4); at += *(const uint16_t *)(dmar + at + 2)) {
        if (*(const uint16_t *)(dmar + at) == 0) { /* DRHD */
            unit = (volatile uint8_t *)*(const uint64_t *)(dmar + at + 8);
            return true;
        }
    }
    return give_up("no DRHD in the DMAR table");
}

static bool command(uint64_t bit)
{
    put32(REG_GCMD, (uint32_t)((get32(REG_GSTS) & GCMD_PERSISTENT) | bit));
    for (unsigned i = 0; i < LOOPS; i++)
        if ((get32(REG_GSTS) & bit) != 0)
            return true;
    return give_up("the unit does not take a command");
}

static bool start_queue(uint64_t (**queue)[2])
{
    *queue = pages(PAGE);
    if (*queue == NULL)
        return give_up("no memory");
    put64(REG_IQT, 0);
    put64(REG_IQA, (uint64_t)*queue);
    return command(GCMD_QIE);
}

/* Everything is forgotten, and IQT stands in the middle of the queue. */
static bool invalidate(uint64_t (*queue)[2])
{
    static volatile uint32_t done;

    queue[0][0] = QI_CONTEXT_GLOBAL;
    queue[1][0] = QI_IOTLB_GLOBAL;
    queue[2][0] = QI_IEC_GLOBAL;
    queue[3][0] = QI_WAIT_STATUS;
    queue[3][1] = (uint64_t)&done;
    put64(REG_IQT, 4 * sizeof(queue[0]));
    for (unsigned i = 0; i < LOOPS; i++)
        if (done == 1)
            return true;
    return give_up("the unit does not answer its invalidation queue");
}

/* The lower 4 GiB one to one, in 2 MiB pages; returns the top table. */
static uint64_t *identity_tables(void)
{
    uint64_t *table = pages(6 * PAGE);

    if (table == NULL)
        return NULL;
    table[0] = (uint64_t)(table + 512) | SECOND_RW;
    for (unsigned i = 0; i < 4; i++)
        table[512 + i] = (uint64_t)(table + 1024 + 512 * i) | SECOND_RW;
    for (unsigned i = 0; i < 4 * 512; i++)
        table[1024 + i] = i * 2 * MIB | SECOND_LARGE | SECOND_RW;
    return table;
}

static bool start_translation(void)
{
    uint64_t (*root)[2] = pages(PAGE), (*context)[2] = pages(PAGE), *top = identity_tables();

    if (root == NULL || context == NULL || top == NULL)
        return give_up("no memory");
    if ((field(get64(REG_CAP), CAP_SAGAW) & 4) == 0 || (get64(REG_CAP) & CAP_SSLPS_2M) == 0)
        return give_up("the unit lacks 4-level tables or 2 MiB pages");
    for (unsigned i = 0; i < 256; i++) {
        root[i][0] = (uint64_t)context | ROOT_PRESENT;
        context[i][0] = (uint64_t)top | CONTEXT_PRESENT;
        context[i][1] = CONTEXT_DID_1 | 2; /* 4 levels */
    }
    put64(REG_RTADDR, (uint64_t)root);
    return command(GCMD_SRTP);
}

static bool start_interrupt_remapping(void)
{
    uint64_t *table = pages(PAGE);

    if (table == NULL)
        return give_up("no memory");
    put64(REG_IRTA, (uint64_t)table | 7);
    return command(GCMD_SIRTP);
}

static bool start_unit(void)
{
    uint64_t (*queue)[2];

    return find_unit() && start_queue(&queue) && start_translation() && start_interrupt_remapping() &&
           invalidate(queue) && command(GCMD_TE) && command(GCMD_IRE);
}

/* ---- the devices ---- */

static void device_put(EFI_PCI_IO_PROTOCOL *pci, uint32_t offset, uint32_t value)
{
    pci->Mem.Write(pci, EfiPciIoWidthUint32, 0, offset, 1, &value);
}

/* One write that faults, then one that never ends. */
static bool start_device(EFI_PCI_IO_PROTOCOL *pci, uint64_t victim)
{
    volatile struct ndma_descriptor *ring = pages(PAGE);

    if (ring == NULL)
        return give_up("no memory");
    ring[0].op = NDMA_FILL;
    ring[0].dst = UNMAPPED;
    ring[0].len = PAGE;
    ring[1].op = NDMA_FILL;
    ring[1].flags = NDMA_REPEAT;
    ring[1].dst = victim;
    ring[1].len = VICTIM_SIZE;
    ring[1].seed = victim;
    pci->Attributes(pci, EfiPciIoAttributeOperationEnable, EFI_PCI_IO_ATTRIBUTE_MEMORY | EFI_PCI_IO_ATTRIBUTE_BUS_MASTER, NULL);
    device_put(pci, NDMA_CTRL, 2);
    device_put(pci, NDMA_RING, (uint32_t)(uint64_t)ring);
    device_put(pci, NDMA_RING + 4, (uint32_t)((uint64_t)ring >> 32));
    device_put(pci, NDMA_ENTRIES, 2 * 2);
    device_put(pci, NDMA_CTRL, 1);
    device_put(pci, NDMA_TAIL, 2);
    for (unsigned i = 0; i < LOOPS; i++)
        if (ring[0].status == NDMA_DST_ERROR && *(volatile uint64_t *)victim != 0)
            return true;
    return give_up("a nidus-dma device does not work");
}

static unsigned start_devices(void)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_HANDLE *handles;
    UINTN count;
    unsigned started = 0;
    uint64_t victim = (uint64_t)pages(VICTIM_SIZE);

    if (victim == 0 || efi->BootServices->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles) != EFI_SUCCESS)
        return 0;
    for (UINTN i = 0; i < count; i++) {
        EFI_PCI_IO_PROTOCOL *pci;
        uint32_t ids = 0;

        if (efi->BootServices->HandleProtocol(handles[i], &guid, (void **)&pci) == EFI_SUCCESS &&
            pci->Pci.Read(pci, EfiPciIoWidthUint32, 0, 1, &ids) == EFI_SUCCESS && ids == 0x4e441234 &&
            start_device(pci, victim))
            started++;
    }
    return started;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    unsigned devices;

    efi = system_table;
    if (!start_unit())
        return EFI_DEVICE_ERROR;
    devices = start_devices();
    say("dirty: status %x, faults %x, %u devices write without end", get32(REG_GSTS), get32(REG_FSTS), devices);
    return start_nidus(image);
}
