/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nidus.h: what a guest finds when it starts, and nidus's own calls (numbers from 0x6e00).
 *
 * A guest starts in 64-bit mode at its ELF entry point, interrupts off, RDI = GPA of its guest-info page.
 * Its memory begins at GPA 0.  nidus puts the info page and the first page tables, which map the low 4 GiB
 * one to one except page 0, below NIDUS_GUEST_IMAGE_MIN; they are ordinary guest memory from then on.
 * RSP is not valid, all else as after power-on.  GDT: 64-bit code 0x08, data 0x10.  There is no IDT: an exception before the guest has
 * loaded one stops it with a report.  The local APIC is in x2APIC mode.  HLT waits for an interrupt; with interrupts off it gives the CPU
 * away until the next tick.
 *
 * A call is VMMCALL or VMCALL (guest_info.call says which) at CPL 0, else -EPERM: RAX = number, RDI = GPA of the payload,
 * RSI = device id where the call is about a device.  Only RAX changes: 0 or a negative errno.
 */
#ifndef NIDUS_ABI_NIDUS_H
#define NIDUS_ABI_NIDUS_H

#include "errno.h"
#include "iommufd.h"

#define NIDUS_GUEST_IMAGE_MIN 0x100000u  /* an image's segments begin at or above this GPA */

#define NIDUS_GUEST_INFO_MAGIC   0x6f666e697375646eULL /* "ndusinfo" */
#define NIDUS_GUEST_INFO_VERSION 2u
#define NIDUS_MAX_DEVICES        8u
#define NIDUS_MAX_RAM_REGIONS    2u
#define NIDUS_MAX_SHARED         8u
#define NIDUS_PCI_BARS           6u

struct nidus_guest_ram {
    uint64_t gpa;               /* 4 KiB aligned */
    uint64_t size;              /* bytes; 0: unused */
};

/* A [shared NAME] of nidus.conf: memory that other guests have as well, all zero when nidus starts.  The first page tables map it.  Calls take
 * no payload from it. */
struct nidus_guest_shared {
    char name[32];              /* zero-terminated */
    uint64_t gpa;               /* aligned to size */
    uint64_t size;              /* bytes, a power of two from 4 KiB on; 0: unused */
    uint32_t flags;             /* NIDUS_SHARED_WRITE, or it may only be read */
    uint32_t reserved;
};
#define NIDUS_SHARED_WRITE (1u << 0)

struct nidus_guest_bar {
    uint64_t gpa;               /* where the BAR is mapped for the CPU; 0: no memory BAR here */
    uint64_t size;              /* bytes */
};

struct nidus_guest_device {
    uint32_t id;                /* device id for calls */
    uint16_t vendor, device;    /* PCI ids */
    uint16_t segment;
    uint16_t bdf;               /* bus 15:8, device 7:3, function 2:0 of the machine, for messages */
    uint32_t class_code;        /* 23:0 */
    uint32_t reserved;
    struct nidus_guest_bar bar[NIDUS_PCI_BARS];
};

struct nidus_guest_info {
    uint64_t magic;             /* NIDUS_GUEST_INFO_MAGIC */
    uint32_t version;           /* NIDUS_GUEST_INFO_VERSION */
    uint32_t size;              /* sizeof(struct nidus_guest_info) */
    char name[32];              /* of the guest in nidus.conf, zero-terminated */
    char args[128];             /* `args` in nidus.conf, zero-terminated */
    uint32_t call;              /* NIDUS_CALL_VMCALL or NIDUS_CALL_VMMCALL */
    uint32_t flags;             /* NIDUS_GUEST_* */
    uint64_t tsc_hz;
    uint32_t default_ioas;      /* id of the IOAS that holds all RAM and shared regions at IOVA = GPA; 0: no IOMMU */
    uint32_t device_count;
    struct nidus_guest_ram ram[NIDUS_MAX_RAM_REGIONS];
    struct nidus_guest_device device[NIDUS_MAX_DEVICES];
    struct nidus_guest_shared shared[NIDUS_MAX_SHARED];
};
#define NIDUS_CALL_VMCALL  0u
#define NIDUS_CALL_VMMCALL 1u
#define NIDUS_GUEST_NESTED (1u << 0) /* nested = on */

/* nidus's own calls.  All begin with their size, with the envelope rules of iommufd.h. */
#define NIDUS_CALL_FAULT_READ       0x6e01u
#define NIDUS_CALL_CONSOLE_WRITE    0x6e02u
#define NIDUS_CALL_EXIT             0x6e03u
#define NIDUS_CALL_PCI_CONFIG_READ  0x6e04u /* device id in RSI */
#define NIDUS_CALL_PCI_CONFIG_WRITE 0x6e05u /* device id in RSI */
#define NIDUS_CALL_EVENT_READ       0x6e06u
#define NIDUS_CALL_EVENT_WRITE      0x6e07u
#define NIDUS_CALL_EVENT_WAIT       0x6e08u

/* FAULT_READ: takes the oldest records of the guest's own devices out of its fault ring. */
struct nidus_fault_read {
    uint32_t size;              /*  0: 32 */
    uint32_t flags;             /*  4: 0, else -EOPNOTSUPP */
    uint64_t data_uptr;         /*  8: array of struct nidus_fault */
    uint32_t entry_len;         /* 16: sizeof(struct nidus_fault), else -EINVAL */
    uint32_t entry_num;         /* 20: in: room, at most 256; out: records written, 0 if there is none */
    uint64_t out_lost;          /* 24: out: records lost since the last call: the ring was full, or the unit overflowed */
};
NIDUS_ABI_SIZE(struct nidus_fault_read, 32);

struct nidus_fault {
    uint32_t dev_id;            /*  0 */
    uint32_t flags;             /*  4: NIDUS_FAULT_* */
    uint32_t pasid;             /*  8: with PASID_VALID */
    uint8_t reason;             /* 12: fault reason, spec 5.10 table 30 */
    uint8_t access;             /* 13: NIDUS_FAULT_WRITE … */
    uint8_t stage;              /* 14: the stage that failed: NIDUS_FAULT_STAGE_* */
    uint8_t level;              /* 15: table level of that stage, 1 to 5; 0: none */
    uint64_t addr;              /* 16: the request's address, bits 63:12; an interrupt request: its index (bits 63:48) */
    uint64_t gpa;               /* 24: with GPA_VALID: the guest address that the second stage did not allow */
    uint8_t first_level;        /* 32: stage 2 under nested: level of the first-stage entry being fetched; 0: the final address */
    uint8_t reserved[3];        /* 33 */
    uint32_t sequence;          /* 36: counts all faults of the guest from 0, lost ones too (as vEVENTQ's headers in iommufd) */
};
NIDUS_ABI_SIZE(struct nidus_fault, 40);
#define NIDUS_FAULT_PASID_VALID (1u << 0)
#define NIDUS_FAULT_GPA_VALID   (1u << 1)
#define NIDUS_FAULT_LOST        (1u << 2) /* records before this one were lost */
#define NIDUS_FAULT_DEVICE_TLB  (1u << 3) /* no fault: the device did not answer an invalidation of its TLB; ATS and Bus Master are off */
#define NIDUS_FAULT_WRITE        0u
#define NIDUS_FAULT_PAGE_REQUEST 1u
#define NIDUS_FAULT_READ         2u
#define NIDUS_FAULT_ATOMIC       3u
#define NIDUS_FAULT_STAGE_NONE      0u /* root, context or PASID table */
#define NIDUS_FAULT_STAGE_FIRST     1u
#define NIDUS_FAULT_STAGE_SECOND    2u
#define NIDUS_FAULT_STAGE_INTERRUPT 3u

/* Types of its own, where Linux has none for VT-d.  An event is a struct nidus_vevent_header, then a struct nidus_fault whose dev_id is the
 * device's virt_id. */
#define NIDUS_VIOMMU_TYPE_VTD        0x6e000000u
#define NIDUS_VEVENTQ_TYPE_VTD_FAULT 0x6e000000u

/*
 * Event channels: what Linux gives a file descriptor for (out_fault_fd …) is a channel's number here, 1 to 63.  A channel goes with
 * its object.  Records are Linux's; a call moves as many whole ones as fit, and of page requests whole groups.
 *
 * EVENT_READ is read() of the descriptor, EVENT_WRITE write(); neither waits.  Where Linux moves some bytes and then meets an error, it is 0
 * with data_len saying how many; an error means that it was none.
 */
struct nidus_event_io {
    uint32_t size;              /*  0: 24 */
    uint32_t channel;           /*  4 */
    uint64_t data_uptr;         /*  8 */
    uint32_t data_len;          /* 16: in: bytes; out: how many of them were moved, 0 when there is nothing to read */
    uint32_t flags;             /* 20: 0, else -EOPNOTSUPP */
};
NIDUS_ABI_SIZE(struct nidus_event_io, 24);

/* EVENT_WAIT: until one of the channels has something to read, or the time is over.  The guest does not have its processor meanwhile. */
struct nidus_event_wait {
    uint32_t size;              /*  0: 24 */
    uint32_t flags;             /*  4: 0, else -EOPNOTSUPP */
    uint64_t channels;          /*  8: in: bit n: channel n, 0: none; out: those that have something, 0: the time is over */
    uint64_t timeout_ns;        /* 16: 0: does not wait, UINT64_MAX: as long as it takes */
};
NIDUS_ABI_SIZE(struct nidus_event_wait, 24);

struct nidus_console_write {
    uint32_t size;              /*  0: 16 */
    uint32_t length;            /*  4: bytes, at most 4096, else -EINVAL */
    uint64_t data_uptr;         /*  8: text; each line appears with the guest's name before it */
};
NIDUS_ABI_SIZE(struct nidus_console_write, 16);

struct nidus_exit {
    uint32_t size;              /* 0: 8 */
    int32_t code;               /* 4: 0: success */
};
NIDUS_ABI_SIZE(struct nidus_exit, 8);

/* PCI_CONFIG_READ/WRITE: offset 0 to 4095 (to 255 where the machine has no ECAM), width 1, 2 or 4,
 * naturally aligned, else -EINVAL.  Base address registers read as the GPAs of guest_info.  A write
 * outside the allow-list is -EPERM. */
struct nidus_pci_config {
    uint32_t size;              /*  0: 16 */
    uint16_t offset;            /*  4 */
    uint16_t width;             /*  6 */
    uint32_t value;             /*  8: in or out */
    uint32_t reserved;          /* 12: 0 */
};
NIDUS_ABI_SIZE(struct nidus_pci_config, 16);

#endif
