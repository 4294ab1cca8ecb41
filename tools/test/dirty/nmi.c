/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmi.c: a UEFI program that has the 8254 send NMIs from the moment when nidus takes the machine, and starts nidus.efi.  They go through the
 * I/O APIC, so it takes a machine without ACPI tables, where nidus does not find that to silence it.
 */
#include <stdint.h>

#include "boot/efi.h"
#include "tools/test/dirty/start_nidus.h"

#define IO_APIC      0xfec00000u
#define LINE_8254    2u
#define DELIVER_NMI  (4u << 8)  /* edge, to the APIC with id 0 */
#define PIT_COUNT    30011u     /* 25 ms: by the first nidus has its IDT; no multiple of anything of nidus's */

static EFI_EXIT_BOOT_SERVICES exit_boot_services;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void io_apic_write(uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)IO_APIC = index;
    *(volatile uint32_t *)(uint64_t)(IO_APIC + 0x10) = value;
}

static EFI_STATUS EFIAPI exit_and_start(EFI_HANDLE image, UINTN key)
{
    EFI_STATUS status = exit_boot_services(image, key);

    if (status != EFI_SUCCESS)
        return status;
    out8(0x43, 0x34);           /* channel 0, both bytes, mode 2 */
    out8(0x40, PIT_COUNT & 0xff);
    out8(0x40, PIT_COUNT >> 8);
    io_apic_write(0x11 + 2 * LINE_8254, 0);
    io_apic_write(0x10 + 2 * LINE_8254, DELIVER_NMI);
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    efi = system_table;
    exit_boot_services = efi->BootServices->ExitBootServices;
    efi->BootServices->ExitBootServices = exit_and_start;
    return start_nidus(image);
}
