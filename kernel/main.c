/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c: from the boot loader's jump to the last guest's end. */
#include <string.h>

#include "drivers/fbtext.h"
#include "drivers/pci.h"
#include "drivers/pic.h"
#include "drivers/uart.h"
#include "iommu/iommu.h"
#include "kernel/acpi.h"
#include "kernel/boot_info.h"
#include "kernel/cpu.h"
#include "kernel/events.h"
#include "kernel/guest.h"
#include "kernel/log.h"
#include "kernel/machine_check.h"
#include "kernel/memory.h"
#include "kernel/power.h"
#include "kernel/time.h"
#include "kernel/trap.h"

#define IO_APIC_BYTES 0x20u
#define MAX_IO_APICS  64u
#define MAX_SCREEN    65536u  /* pixels, either way */
#define PENDING_PATIENCE_NS 100000000u  /* for all devices together */

void kernel_main(uint64_t boot_phys);

static struct boot_info boot;
static struct pci_window pci_windows[PCI_MAX_WINDOWS];

struct dmar_table {
    const void *bytes;          /* NULL: none */
    uint32_t length;
};

/* Without a boot loader that speaks this version there is nothing to fall back on. */
static void take_boot_info(uint64_t phys)
{
    memcpy(&boot, phys_to_virt(phys), sizeof(boot));
    if (boot.magic != BOOT_INFO_MAGIC || boot.version != BOOT_INFO_VERSION || boot.size != sizeof(boot))
        panic("boot_info is not of version %u", BOOT_INFO_VERSION);
    if (boot.memory_count > BOOT_MAX_MEMORY || boot.guest_count > BOOT_MAX_GUESTS)
        panic("boot_info: %u pieces of memory, %u guests", boot.memory_count, boot.guest_count);
}

/* Drops what no memory map can say, and keeps the order of the rest. */
static void check_memory(void)
{
    uint64_t limit = 1ULL << physical_bits();
    uint64_t end = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < boot.memory_count; i++) {
        const struct boot_mem m = boot.memory[i];
        if (m.size == 0 || (m.base | m.size) % PAGE_SIZE != 0 || m.base < end || m.base >= limit || m.size > limit - m.base) {
            log_line("memory: the map's piece at %#llx, %#llx bytes, cannot be: left out", (unsigned long long)m.base,
                     (unsigned long long)m.size);
            continue;
        }
        end = m.base + m.size;
        boot.memory[kept++] = m;
    }
    boot.memory_count = kept;
}

/* Where the screen cannot be used, lines go to the serial line, whatever was asked for. */
static void screen_init(void)
{
    const struct boot_framebuffer *f = &boot.framebuffer;
    if ((boot.console & BOOT_CONSOLE_SCREEN) == 0)
        return;
    uint64_t bytes = (uint64_t)f->stride * f->height * sizeof(uint32_t);
    volatile uint32_t *pixels = NULL;
    if (f->base != 0 && f->width <= f->stride && f->stride <= MAX_SCREEN && f->height <= MAX_SCREEN)
        pixels = (volatile uint32_t *)map_registers(f->base, bytes);
    if (pixels != NULL && fbtext_init(pixels, f->width, f->height, f->stride))
        return;
    log_init(BOOT_CONSOLE_SERIAL);
    if (f->base == 0)
        log_line("console: the firmware has set up no screen");
    else
        log_line("console: the screen of %u x %u cannot be used", f->width, f->height);
}

static void log_version(void)
{
    char brand[49] = "";
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid c = cpuid_or_zero(0x80000002 + i, 0);
        memcpy(brand + i * sizeof(c), &c, sizeof(c));
    }
    const char *name = brand;
    while (*name == ' ')
        name++;
    log_line("nidus " NIDUS_VERSION " on %s, CPU signature %x", *name != '\0' ? name : "a nameless processor", cpuid(1, 0).eax);
}

/* What the firmware had the I/O APICs send would arrive at vectors that nidus uses otherwise. */
static void silence_io_apics(void)
{
    for (unsigned i = 0; i < MAX_IO_APICS; i++) {
        uint64_t phys = acpi_io_apic(i);
        volatile void *registers = phys == 0 ? NULL : map_registers(phys, IO_APIC_BYTES);
        if (registers == NULL)
            return;
        io_apic_mask(registers);
    }
}

static void find_pci(void)
{
    struct acpi_ecam e;
    unsigned count = 0;
    for (unsigned i = 0; acpi_ecam(i, &e); i++) {
        if (count == PCI_MAX_WINDOWS) {
            log_line("pci: more than %u ECAM windows, the others are left out", PCI_MAX_WINDOWS);
            break;
        }
        uint64_t first = (uint64_t)e.first_bus << 20, bytes = (e.last_bus - e.first_bus + 1ULL) << 20;
        volatile void *registers = map_registers(e.base + first, bytes);
        if (registers == NULL) {
            log_line("pci: ECAM of segment %u at %#llx cannot be mapped", e.segment, (unsigned long long)e.base);
            continue;
        }
        pci_windows[count++] = (struct pci_window){ e.segment, e.first_bus, e.last_bus, registers };
    }
    pci_init(pci_windows, count);
    if (count == 0)
        log_line("pci: no ECAM, ports CF8 and CFC are used");
}

struct quiesce {
    const struct dmar_table *dmar;
    unsigned functions, stopped, left;
    uint64_t deadline;
};

static void stop_device(uint16_t segment, uint16_t bdf, void *context)
{
    struct quiesce *q = context;
    q->functions++;
    if (pci_is_bridge(segment, bdf) || (pci_read(segment, bdf, PCI_COMMAND, 2) & PCI_COMMAND_BUS_MASTER) == 0)
        return;
    if (q->dmar->bytes != NULL && iommu_has_rmrr(q->dmar->bytes, q->dmar->length, segment, bdf)) {
        q->left++;
        return;
    }
    pci_set_bus_master(segment, bdf, false);
    q->stopped++;
}

static void wait_for_device(uint16_t segment, uint16_t bdf, void *context)
{
    struct quiesce *q = context;
    if (pci_is_bridge(segment, bdf) || (pci_read(segment, bdf, PCI_COMMAND, 2) & PCI_COMMAND_BUS_MASTER) != 0)
        return;
    while (pci_transactions_pending(segment, bdf)) {
        if (time_ns() > q->deadline) {
            log_line("pci: %04x:%02x:%02x.%u does not end its transactions", segment, PCI_BUS(bdf), PCI_DEVICE(bdf),
                     PCI_FUNCTION(bdf));
            return;
        }
        cpu_pause();
    }
}

/* Until this is done, what the firmware started may still write to any memory that the firmware used. */
static void stop_devices(const struct dmar_table *dmar)
{
    struct quiesce q = { .dmar = dmar };
    pci_for_each(stop_device, &q);
    q.deadline = time_ns() + PENDING_PATIENCE_NS;
    pci_for_each(wait_for_device, &q);
    log_line("pci: %u functions; Bus Master was on in %u and is off now%s", q.functions, q.stopped,
             q.left != 0 ? ", but for those with an RMRR" : "");
}

static unsigned count_failed(void)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < boot.guest_count; i++)
        failed += guests[i].config == NULL || guests[i].exit_code != 0;
    return failed;
}

void kernel_main(uint64_t boot_phys)
{
    uart_init();
    traps_init();
    take_boot_info(boot_phys);
    log_init(boot.console);
    check_memory();
    memory_init(&boot);
    machine_check_init();
    screen_init();
    log_version();
    acpi_init(boot.rsdp);
    time_init();
    silence_io_apics();
    find_pci();
    struct dmar_table dmar = { 0 };
    dmar.bytes = acpi_table("DMAR", 0, &dmar.length);
    stop_devices(&dmar);
    frames_init(&boot);

    iommu_init(dmar.bytes, dmar.length, (enum iommu_errata_policy)boot.errata_772415,
               (enum iommu_rmrr_policy)boot.rmrr);
    events_init();
    if (guests_create(&boot) != 0) {
        uint64_t ticks = rdtsc() - boot.exit_tsc;
        log_line("first guest starts %llu ms after ExitBootServices (%llu ticks of the TSC)",
                 (unsigned long long)(ticks / (tsc_hz() / 1000)), (unsigned long long)ticks);
        guests_run();
    }
    log_line("nidus: %u guest%s ended, %u failed", boot.guest_count, boot.guest_count == 1 ? "" : "s", count_failed());
    machine_end((enum boot_at_end)boot.at_end);
}

const void *acpi_map(uint64_t phys, uint64_t length)
{
    return map_data(phys, length);
}

_Static_assert((int)BOOT_ERRATA_ON == (int)IOMMU_ERRATA_ON && (int)BOOT_ERRATA_OFF == (int)IOMMU_ERRATA_OFF,
               "one policy, two names");
