/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommu.h: what the kernel calls.  The rest of iommu/ is private to it.
 */
#ifndef NIDUS_IOMMU_H
#define NIDUS_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/abi/nidus.h"

struct guest;
struct iommu_context;           /* a guest's IOASes, HWPTs, devices and fault ring; freed by iommu_context_destroy */

enum iommu_errata_policy { IOMMU_ERRATA_AUTO, IOMMU_ERRATA_ON, IOMMU_ERRATA_OFF };
/* A function with an RMRR that no guest owns: goes on with that memory and nothing else, or is blocked. */
enum iommu_rmrr_policy { IOMMU_RMRR_KEEP, IOMMU_RMRR_BLOCK };
/* ON: for a function that firmware vouches for (SATC, SIDP); TRUST: for any. */
enum iommu_ats_policy { IOMMU_ATS_OFF, IOMMU_ATS_ON, IOMMU_ATS_TRUST };

/* What nidus.conf says in the line of a device. */
struct iommu_device_policy {
    bool map_rmrr;              /* it can be assigned although it has an RMRR, which is then mapped for it */
    enum iommu_ats_policy ats;
};

/*
 * Takes over every remapping unit that the DMAR table names: interrupt remapping on with an empty table,
 * translation on with every device blocked.  table: the whole ACPI table, length bytes readable; NULL: there is none.
 * Bus Master is already clear on every function without an RMRR.  Each unit, and each thing that is missing, is one line of the log.
 * Never fails: without usable units devices cannot be assigned, and iommu_unavailable() says why.
 */
void iommu_init(const void *table, uint32_t length, enum iommu_errata_policy errata, enum iommu_rmrr_policy rmrr);

/* Does an RMRR name this function?  Its firmware or option ROM may then do DMA at any time: its Bus Master stays as it is, and it cannot be
 * assigned.  table as above; silent about what is wrong in it; usable before iommu_init. */
bool iommu_has_rmrr(const void *table, uint32_t length, uint16_t segment, uint16_t bdf);

/* NULL when some unit works; else why no device can be assigned, in words. */
const char *iommu_unavailable(void);

/* A guest's context, with its default IOAS, all its RAM at IOVA = GPA.  NULL: no memory.
 * nested: HWPT_ALLOC with NEST_PARENT is allowed. */
struct iommu_context *iommu_context_create(struct guest *guest, bool nested);
uint32_t iommu_default_ioas(const struct iommu_context *context);

/*
 * Gives a device to the guest, blocked.  *id: its device id.  false: refused, and reason holds why, in
 * words: no usable unit covers it, its unit lacks interrupt remapping, scalable mode …, it has an RMRR, policy cannot be followed.
 */
bool iommu_assign(struct iommu_context *context, uint16_t segment, uint16_t bdf, const struct iommu_device_policy *policy, uint32_t *id,
                  char reason[160]);

/* Device id -> segment and bdf.  false: the guest has no such device. */
bool iommu_device(const struct iommu_context *context, uint32_t id, uint16_t *segment, uint16_t *bdf);

/* Was the device cut off from memory for good: its unit does not answer, or it did not answer the unit?  Its Bus Master has to stay off. */
bool iommu_fenced(struct iommu_context *context, uint32_t id);

/* Is nr one of this part's calls (0x3b00 to 0x3bff, FAULT_READ, EVENT_READ, EVENT_WRITE)? */
static inline bool iommu_handles(uint64_t nr)
{
    switch (nr) {
    case 0x3b00 ... 0x3bff:
    case NIDUS_CALL_FAULT_READ:
    case NIDUS_CALL_EVENT_READ:
    case NIDUS_CALL_EVENT_WRITE:
        return true;
    default:
        return false;
    }
}
/* Performs call nr with the payload at gpa.  0 or a negative errno for RAX; or IOMMU_AGAIN: a bounded step of it is done, and the same call
 * has to be made again, before any other of this guest and before it runs on. */
#define IOMMU_AGAIN INT64_MIN
int64_t iommu_call(struct iommu_context *context, uint64_t nr, uint64_t gpa, uint64_t device_id);

/* The guest's event channels: a bit for each that exists, and that has something to read. */
uint64_t iommu_channels(const struct iommu_context *context);
uint64_t iommu_ready(const struct iommu_context *context);

/* Answers the page requests that the guest has left waiting for too long.  When that is next to be done, in platform_time_ns; UINT64_MAX: there
 * are none. */
uint64_t iommu_overdue(struct iommu_context *context);

/* Stops the guest's DMA for good: Bus Master off, every device blocked and its translations gone from all
 * caches.  When it returns true no device reaches the guest's memory.  false: a unit did not answer, the memory must not be
 * used again. */
bool iommu_context_block(struct iommu_context *context);
/* Frees the context, in steps as long as those of a call; iommu_context_block came before.  false: there is more, call it again. */
bool iommu_context_destroy(struct iommu_context *context);

/*
 * From now on units say by this message that iommu_poll has something to do: a write of data to address, which is never remapped.  One
 * that was not followed by iommu_poll is not repeated.  false: some unit cannot, as it has no bits for address (ECAP.EIM=0).
 */
bool iommu_interrupts(uint64_t address, uint32_t data);

/* Reads the fault records and page requests of every unit: logs the former, hands both to the guests that own the devices.  Bounded work; true: there
 * is more of it, and no message will say so. */
bool iommu_poll(void);

#endif
