/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guest.h: a guest: its memory, its CPU, its devices, its end.
 */
#ifndef NIDUS_GUEST_H
#define NIDUS_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "iommu/iommu.h"
#include "kernel/abi/nidus.h"
#include "kernel/alloc.h"
#include "kernel/boot_info.h"
#include "kernel/guest_apic.h"
#include "kernel/stage2.h"
#include "kernel/vcpu.h"
#include "kernel/xstate.h"

#define SLICE_NS 5000000ull     /* a guest's turn on the CPU */

enum guest_state {
    GUEST_UNUSED,
    GUEST_RUNNING,
    GUEST_HALTED,               /* for an interrupt, or, where it takes none, until the next tick */
    GUEST_WAITING,              /* in EVENT_WAIT */
    GUEST_ENDED,
};

struct guest {
    enum guest_state state;
    char name[32];
    const struct boot_guest *config;
    struct nidus_guest_ram ram[NIDUS_MAX_RAM_REGIONS];
    struct nidus_guest_shared shared[NIDUS_MAX_SHARED]; /* as nidus.conf numbers them */
    struct stage2 memory;       /* for the CPU: RAM, shared regions and BARs */
    struct vcpu *vcpu;
    uint64_t gpr[VCPU_GPRS];    /* its registers, but for RSP: guest_cpu->get and set have that */
    struct xstate xstate;
    struct guest_apic apic;
    struct iommu_context *iommu;
    uint64_t pages_left;        /* quota of pages for tables and objects */
    struct objects objects;
    int exit_code;              /* what it exited with; -1 until then, and for one that ended otherwise */
    bool waits;                 /* HALTED: for an interrupt; WAITING: it takes interrupts */
    unsigned device_count;
    struct nidus_guest_device device[NIDUS_MAX_DEVICES];
    /* kernel/guest.c keeps the frames behind ram here; see there */
    struct guest_frames *frames;
    struct {                    /* the piece of RAM that the last copy was in: the next is likely to be, too */
        uint64_t gpa, bytes;
        uint8_t *at;
    } recent;
    char line[240];             /* console output up to the next line feed */
    unsigned line_length;
    unsigned call_length;       /* of the instruction of a call that is not finished; 0: there is none */
    uint32_t console_done;      /* bytes of an unfinished CONSOLE_WRITE that were printed in earlier turns */
    uint64_t wait_channels, wait_until; /* of an EVENT_WAIT: a bit each; time_ns of its end, 0: there is none */
    uint64_t log_since;         /* time_ns when the second began that the next two count in */
    unsigned log_lines, log_left_out; /* lines about its requests, printed and not */
    uint64_t debt;              /* nanoseconds that it had over its slices, by calls that took long */
    uint64_t bar_top;           /* GPA: shared regions, then BARs, are mapped up to here */
};

extern const struct vcpu_ops *guest_cpu; /* the backend; NULL before guests_create */
extern struct guest guests[BOOT_MAX_GUESTS];

/* Creates every guest that boot lists; one that cannot run is refused with a reason.  Returns how many run. */
unsigned guests_create(const struct boot_info *boot);
/* Round-robin until the last guest has ended. */
void guests_run(void);
/* Ends a guest, in one line of the log: devices stopped and blocked, then its CPU is gone.  Its IOMMU objects and its memory, scrubbed, are given
 * back by guest_reclaim, in steps of a few milliseconds so that the other guests go on; true: there is more to do. */
void guest_end(struct guest *g, const char *why);
bool guest_reclaim(struct guest *g);
/* Ends a guest that did what no guest may, with its registers in the log. */
void guest_crash(struct guest *g, const char *why);
/* One line about something that it asked for; at most GUEST_LOG_LINES a second, the others are counted. */
#define GUEST_LOG_LINES 20u
void guest_log(struct guest *g, const char *text);
/* Text for the console; appears line by line.  Stops when a turn's time is used up, and returns how many bytes it took. */
uint32_t guest_print(struct guest *g, const char *text, uint32_t length);

/* What platform_guest_memory promises of RAM: where the page at gpa lies, and how far RAM goes on in both. */
int guest_ram(struct guest *g, uint64_t gpa, uint64_t *hpa, uint64_t *run);

/* Handles what made g's CPU leave. */
void exit_handle(struct guest *g, const struct vcpu_exit *exit);
/* A call: number, payload GPA, device id.  CALL_AGAIN: its turn is over and it is not finished: the guest makes it again in its
 * next one; or the guest is no more.  IOMMU_AGAIN: a step of it is done; it goes on before the guest
 * runs again. */
#define CALL_AGAIN (-65536)
int64_t hypercall(struct guest *g, uint64_t number, uint64_t gpa, uint64_t device_id);

#endif
