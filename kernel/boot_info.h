/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boot_info.h: what nidus.efi hands to the kernel.
 *
 * nidus.efi fills one struct boot_info, leaves boot services and jumps to the kernel's first byte
 * (boot_info.kernel_phys) with RDI = physical address of the structure, in 64-bit mode with four-level
 * paging that maps all memory one to one (the firmware's own tables), interrupts off, direction flag
 * clear, and a stack of at least 4 KiB in memory that is none of BOOT_MEM_FREE.
 *
 * The kernel image is flat: its file bytes, then zeroes up to header.image_size.  It runs at the physical
 * address where it was put (4 KiB aligned) and is linked at KERNEL_VIRT_BASE.
 *
 * Everything that can be wrong with nidus.conf or an image has been checked; the kernel checks again only what
 * the machine may contradict (a device that is not there, memory that is not enough).
 */
#ifndef NIDUS_BOOT_INFO_H
#define NIDUS_BOOT_INFO_H

#include <stdint.h>

#define KERNEL_VIRT_BASE 0xffffffff80000000ULL

/* At offset 8 of the kernel image; a jump to the entry code stands in the first 8 bytes. */
struct kernel_header {
    uint64_t magic;             /* KERNEL_MAGIC */
    uint64_t file_size;         /* bytes of the image that are stored */
    uint64_t image_size;        /* bytes that it occupies: file_size rounded up, with .bss and stacks */
};
#define KERNEL_MAGIC 0x6c6e726b7375646eULL /* "nduskrnl" */

#define BOOT_INFO_MAGIC   0x746f6f627375646eULL /* "ndusboot" */
#define BOOT_INFO_VERSION 3u

#define BOOT_MAX_GUESTS        8u
#define BOOT_MAX_GUEST_DEVICES 8u
#define BOOT_MAX_SEGMENTS      8u
#define BOOT_MAX_SHARED        8u
#define BOOT_MAX_MEMORY        512u

enum boot_mem_type {
    BOOT_MEM_FREE = 1,          /* conventional, loader and boot-services memory that nothing below uses */
    BOOT_MEM_NIDUS,             /* kernel image, boot_info, guest images: in use until the kernel frees it */
    BOOT_MEM_RUNTIME,           /* UEFI runtime services code and data */
    BOOT_MEM_ACPI,              /* ACPI tables, NVS */
    BOOT_MEM_RESERVED,          /* everything else that firmware lists as reserved: RMRRs must lie here */
    BOOT_MEM_MMIO,
};

struct boot_mem {               /* sorted by base, no overlap, 4 KiB granularity */
    uint64_t base;
    uint64_t size;
    uint32_t type;              /* enum boot_mem_type */
    uint32_t reserved;
};

struct boot_segment {           /* one PT_LOAD of a guest's image */
    uint64_t src;               /* physical address of its bytes, in BOOT_MEM_NIDUS */
    uint64_t gpa;
    uint64_t file_size;         /* bytes to copy */
    uint64_t mem_size;          /* bytes that it occupies; the rest is zero */
};

enum boot_ats { BOOT_ATS_OFF = 0, BOOT_ATS_ON, BOOT_ATS_TRUST };

struct boot_device {
    uint16_t segment;
    uint16_t bdf;
    uint8_t map_rmrr;           /* 0 or 1 */
    uint8_t ats;                /* enum boot_ats */
    uint16_t reserved;
};

struct boot_shared {            /* memory that several guests have */
    char name[32];
    uint64_t size;              /* bytes, a power of two from 4 KiB on */
};

enum boot_share { BOOT_SHARE_NONE = 0, BOOT_SHARE_READ, BOOT_SHARE_WRITE };

struct boot_guest {
    char name[32];
    char args[128];
    uint64_t memory;            /* bytes, a multiple of 2 MiB */
    uint64_t entry;             /* GPA */
    uint32_t cpus;              /* 1 */
    uint32_t nested;            /* 0 or 1 */
    uint32_t segment_count;
    uint32_t device_count;
    struct boot_segment segment[BOOT_MAX_SEGMENTS];
    struct boot_device device[BOOT_MAX_GUEST_DEVICES];
    uint8_t share[BOOT_MAX_SHARED]; /* enum boot_share: of boot_info.shared[i] */
};

enum boot_errata { BOOT_ERRATA_AUTO = 0, BOOT_ERRATA_ON, BOOT_ERRATA_OFF };
enum boot_rmrr { BOOT_RMRR_KEEP = 0, BOOT_RMRR_BLOCK };
enum boot_at_end { BOOT_END_HALT = 0, BOOT_END_POWEROFF, BOOT_END_REBOOT };

#define BOOT_CONSOLE_SERIAL 1u
#define BOOT_CONSOLE_SCREEN 2u

struct boot_framebuffer {
    uint64_t base;              /* 0: none */
    uint32_t width, height;     /* pixels */
    uint32_t stride;            /* pixels in a line */
    uint32_t format;            /* 0: RGBX, 1: BGRX, 8 bits each */
};

struct boot_info {
    uint64_t magic;             /* BOOT_INFO_MAGIC */
    uint32_t version;           /* BOOT_INFO_VERSION */
    uint32_t size;              /* sizeof(struct boot_info) */
    uint64_t kernel_phys;
    uint64_t exit_tsc;          /* TSC when ExitBootServices returned */
    uint64_t rsdp;              /* physical address of the ACPI root pointer; 0: none */
    uint32_t console;           /* BOOT_CONSOLE_* */
    uint32_t errata_772415;     /* enum boot_errata */
    uint32_t at_end;            /* enum boot_at_end: when the last guest has ended (`at-end` in [system]) */
    uint32_t memory_count;
    uint32_t guest_count;
    uint32_t rmrr;              /* enum boot_rmrr: devices with an RMRR that no guest owns */
    uint32_t shared_count;
    uint32_t reserved;
    struct boot_framebuffer framebuffer;
    struct boot_shared shared[BOOT_MAX_SHARED];
    struct boot_guest guest[BOOT_MAX_GUESTS];
    struct boot_mem memory[BOOT_MAX_MEMORY];
};

#endif
