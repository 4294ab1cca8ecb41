/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/fault.h"

#include "iommu/iommu.h"
#include "iommu/registers.h"
#include "iommu/walk.h"
#include "kernel/abi/nidus.h"

#define NONE      NIDUS_FAULT_STAGE_NONE
#define FIRST     NIDUS_FAULT_STAGE_FIRST
#define SECOND    NIDUS_FAULT_STAGE_SECOND
#define INTERRUPT NIDUS_FAULT_STAGE_INTERRUPT

/* Fault reason codes, VT-d 5.10 section 7.1.3, and 5.1.4.1 for interrupts. */
static const struct fault_reason reasons[256] = {
    [0x20] = { "reserved bits set in the interrupt request", INTERRUPT, false },
    [0x21] = { "interrupt index beyond the remapping table", INTERRUPT, false },
    [0x22] = { "interrupt remapping entry not present", INTERRUPT, false },
    [0x23] = { "interrupt remapping entry cannot be read", INTERRUPT, false },
    [0x24] = { "reserved bits set in the interrupt remapping entry", INTERRUPT, false },
    [0x25] = { "compatibility-format interrupt blocked", INTERRUPT, false },
    [0x26] = { "interrupt request of a source that may not use the entry", INTERRUPT, false },
    [0x27] = { "posted-interrupt descriptor cannot be read", INTERRUPT, false },
    [0x28] = { "reserved bits set in the posted-interrupt descriptor", INTERRUPT, false },
    [0x29] = { "request to the interrupt address range that is no interrupt", INTERRUPT, false },
    [0x2a] = { "interrupt remapping without EIME on a unit that needs it", INTERRUPT, false },
    [0x2b] = { "interrupt request while interrupt remapping is off", INTERRUPT, false },
    [0x30] = { "invalid translation table mode", NONE, false },
    [0x31] = { "request with PASID in legacy mode", NONE, false },
    [0x32] = { "page request in legacy mode", NONE, false },
    [0x33] = { "all DMA is aborted (abort-DMA mode)", NONE, false },
    [0x34] = { "execute request with PASID", NONE, false },
    [0x38] = { "root entry cannot be read", NONE, false },
    [0x39] = { "root entry not present: the device belongs to no guest", NONE, false },
    [0x3a] = { "reserved bits set in the root entry", NONE, false },
    [0x40] = { "context entry cannot be read", NONE, false },
    [0x41] = { "context entry not present: the device belongs to no guest", NONE, false },
    [0x42] = { "reserved bits set in the context entry", NONE, false },
    [0x43] = { "invalid context entry", NONE, false },
    [0x44] = { "translation or translated request of a device without ATS", NONE, false },
    [0x45] = { "request with PASID of a device without PASIDs", NONE, false },
    [0x46] = { "PASID beyond the PASID directory", NONE, false },
    [0x47] = { "page request of a device that may not make any", NONE, false },
    [0x48] = { "request with the PASID of requests without PASID", NONE, false },
    [0x49] = { "translated request with PASID", NONE, false },
    [0x50] = { "PASID directory entry cannot be read", NONE, false },
    [0x51] = { "PASID directory entry not present", NONE, false },
    [0x52] = { "reserved bits set in the PASID directory entry", NONE, false },
    [0x58] = { "PASID table entry cannot be read", NONE, false },
    [0x59] = { "nothing is attached (PASID table entry not present)", NONE, false },
    [0x5a] = { "reserved bits set in the PASID table entry", NONE, false },
    [0x5b] = { "invalid PASID table entry", NONE, false },
    [0x5c] = { "execute requests are off", NONE, false },
    [0x5d] = { "supervisor requests are off", NONE, false },
    [0x60] = { "translated request beyond the host permission table", NONE, false },
    [0x70] = { "first-stage entry cannot be read", FIRST, true },
    [0x71] = { "first-stage entry not present", FIRST, true },
    [0x72] = { "reserved bits set in a first-stage entry", FIRST, true },
    [0x73] = { "top first-stage table cannot be read", FIRST, true },
    [0x74] = { "address in a first-stage entry beyond the second stage", FIRST, true },
    [0x75] = { "second stage does not let the top first-stage table be read", SECOND, true },
    [0x76] = { "second stage does not let a first-stage table be read", SECOND, true },
    [0x77] = { "second stage does not let a first-stage table be written (A/D bits)", SECOND, true },
    [0x78] = { "second-stage entry cannot be read", SECOND, true },
    [0x79] = { "second-stage entry not present", SECOND, true },
    [0x7a] = { "reserved bits set in a second-stage entry", SECOND, true },
    [0x7b] = { "top second-stage table cannot be read", SECOND, true },
    [0x7c] = { "second-stage A/D bits need a walk that snoops", SECOND, true },
    [0x7d] = { "second-stage A/D bits cannot be set", SECOND, true },
    [0x80] = { "address not canonical", FIRST, false },
    [0x81] = { "first-stage entry is not for user requests (U/S=0)", FIRST, true },
    [0x82] = { "execution not allowed", FIRST, false },
    [0x83] = { "address wider than the machine's", NONE, false },
    [0x84] = { "address beyond the second stage", SECOND, false },
    [0x85] = { "no write permission", NONE, true },
    [0x86] = { "no read permission", NONE, true },
    [0x87] = { "translated to the interrupt address range", NONE, false },
    [0x89] = { "PASID wider than the unit's", NONE, false },
    [0x90] = { "first-stage A/D bits need a walk that snoops", FIRST, true },
    [0x91] = { "first-stage A/D bits cannot be set", FIRST, true },
    [0xa0] = { "host permission table cannot be read", NONE, false },
    [0xa1] = { "host permission table entry not present", NONE, false },
    [0xa2] = { "reserved bits set in the host permission table", NONE, false },
    [0xa3] = { "host permission table gives no write permission", NONE, false },
    [0xa4] = { "host permission table gives no read permission", NONE, false },
    [0xa5] = { "host permission table entry invalid", NONE, false },
};

#define NOT_CANONICAL 0x80u

struct fault_reason fault_reason(uint8_t code) { return reasons[code]; }

static const char *const access_names[] = {
    [NIDUS_FAULT_WRITE] = "write to", [NIDUS_FAULT_PAGE_REQUEST] = "page request for",
    [NIDUS_FAULT_READ] = "read of", [NIDUS_FAULT_ATOMIC] = "atomic operation on",
};
_Static_assert(NIDUS_FAULT_READ == 2 && NIDUS_FAULT_ATOMIC == 3, "T1 is the upper bit of {T1, T2}");

/* Records have the address cut to the widest second stage (11.4.7.6): a nested IOVA of the upper half gets its sign back. */
static uint64_t full_address(const struct device *dev, const struct nidus_fault *f)
{
    struct first_stage *first = NULL;
    struct domain *d;
    if (dev)
        engine_attached(dev, f->pasid, &d, &first);
    uint64_t top = first && f->reason != NOT_CANONICAL ? BIT(first->levels == 5 ? 56 : 47) : 0;
    return f->addr & top ? f->addr | ~(top - 1) : f->addr;
}

static void decode(const struct device *dev, uint64_t low, uint64_t high, struct nidus_fault *f)
{
    struct fault_reason reason = fault_reason((uint8_t)field(high, FRCD_FR));
    *f = (struct nidus_fault){
        .dev_id = dev ? dev->id : 0,
        .flags = high & FRCD_PP && reason.stage != INTERRUPT ? NIDUS_FAULT_PASID_VALID : 0,
        .reason = (uint8_t)field(high, FRCD_FR),
        .access = (uint8_t)(2 * field(high, FRCD_T1) + field(high, FRCD_T2)),
        .stage = reason.stage,
        .addr = low & FRCD_FI,
    };
    if (f->flags & NIDUS_FAULT_PASID_VALID)
        f->pasid = (uint32_t)field(high, FRCD_PV);
    if (reason.stage != INTERRUPT)
        f->addr = full_address(dev, f);
}

/* The level, and what the second stage did not allow.  Believed only where it agrees with the unit: the guest goes on meanwhile. */
static void locate(const struct device *dev, struct nidus_fault *f)
{
    if (!fault_reason(f->reason).walk || !dev)
        return;
    struct walk_end end = walk_request(dev, f->pasid, f->addr, f->access == NIDUS_FAULT_WRITE || f->access == NIDUS_FAULT_ATOMIC,
                                       f->reason);
    if (end.stage == NONE || (f->stage != NONE && f->stage != end.stage))
        return;
    f->stage = end.stage;
    f->level = end.level;
    f->first_level = end.first_level;
    f->gpa = end.gpa;
    if (end.gpa_valid)
        f->flags |= NIDUS_FAULT_GPA_VALID;
}

/* Printing ------------------------------------------------------------------------------------------- */

#define LINES_A_SECOND 20u

/* A guest's lines are bounded where they are printed, so that one guest's storm does not hide another's faults. */
bool fault_may_print(struct unit *u)
{
    uint64_t second = platform_time_ns() / 1000000000;
    if (second != u->fault_second) {
        if (u->faults_unprinted)
            unit_log(u, "%llu more faults, not printed", (ull)u->faults_unprinted);
        u->fault_second = second;
        u->fault_lines = 0;
        u->faults_unprinted = 0;
    }
    if (u->fault_lines == LINES_A_SECOND) {
        u->faults_unprinted++;
        return false;
    }
    u->fault_lines++;
    return true;
}

static void format_place(const struct nidus_fault *f, char out[96])
{
    static const char *const stages[] = { [FIRST] = "first", [SECOND] = "second" };
    out[0] = 0;
    if (!f->level)
        return;
    if (!(f->flags & NIDUS_FAULT_GPA_VALID))
        platform_format(out, 96, "; %s stage, level %u", stages[f->stage], f->level);
    else if (f->first_level)
        platform_format(out, 96, "; %s stage, level %u, for the first-stage entry of level %u at GPA 0x%llx", stages[f->stage], f->level,
                        f->first_level, (ull)f->gpa);
    else
        platform_format(out, 96, "; %s stage, level %u, GPA 0x%llx", stages[f->stage], f->level, (ull)f->gpa);
}

static void print(struct unit *u, const struct device *dev, uint16_t source_id, const struct nidus_fault *f)
{
    const char *text = fault_reason(f->reason).text;
    char line[200], pasid[24] = "", place[96];
    if (f->flags & NIDUS_FAULT_PASID_VALID)
        platform_format(pasid, sizeof pasid, ", PASID %u", f->pasid);
    format_place(f, place);
    if (f->stage == INTERRUPT)
        platform_format(line, sizeof line, "interrupt request 0x%x: %s (%02xh)", (unsigned)field(f->addr, BITS(63, 48)),
                        text ? text : "unknown reason", f->reason);
    else
        platform_format(line, sizeof line, "%s 0x%llx: %s (%02xh)%s", access_names[f->access], (ull)f->addr,
                        text ? text : "unknown reason", f->reason, place);
    if (dev && dev->owner)
        platform_guest_log(dev->owner, "fault: unit %u, " BDF_FORMAT "%s, %s", u->index, BDF_ARGS(u->segment, source_id), pasid, line);
    else if (fault_may_print(u))
        platform_log("fault: unit %u, " BDF_FORMAT " (%s)%s, %s", u->index, BDF_ARGS(u->segment, source_id), unit_owner_name(dev), pasid, line);
}

/* Records -------------------------------------------------------------------------------------------- */

static void handle(struct unit *u, uint64_t low, uint64_t high)
{
    struct nidus_fault fault;
    uint16_t source_id = (uint16_t)field(high, FRCD_SID);
    struct device *dev = unit_device(u, source_id);
    u->faults++;
    decode(dev, low, high, &fault);
    locate(dev, &fault);
    print(u, dev, source_id, &fault);
    if (!dev)
        return;
    dev->faults++;
    engine_fault_sink(dev, &fault);
}

static void overflowed(struct unit *u)
{
    if (fault_may_print(u))
        unit_log(u, "more faults than it can record; some are lost");
    for (struct device *dev = u->devices; dev; dev = dev->next)
        engine_fault_lost(dev);
}

/*
 * 7.2.1: no fault is recorded until PFO is acknowledged, and none is announced while anything is pending: neither a record nor an error of the queue,
 * which is empty now, so that it can only be a device's answer that nobody asked for.
 */
static void acknowledge(struct unit *u, uint32_t status)
{
    if (status & FSTS_PFO)
        overflowed(u);
    if (status & (FSTS_ICE | FSTS_ITE) && fault_may_print(u))
        unit_log(u, "a device answered an invalidation that it was not asked for");
    if (status & (FSTS_PFO | FSTS_ICE | FSTS_ITE))
        unit_write32(u, REG_FSTS, status & (FSTS_PFO | FSTS_ICE | FSTS_ITE));
}

bool fault_poll(struct unit *u)
{
    uint32_t status = unit_read32(u, REG_FSTS);
    if (status == UINT32_MAX) {
        unit_dead(u, UNIT_GONE, "for its faults");
        return false;
    }
    unsigned records = (unsigned)field(u->cap, CAP_NFR) + 1, at = (unsigned)field(status, FSTS_FRI) % records;
    for (unsigned left = status & FSTS_PPF ? records : 0; left; left--, at = (at + 1) % records) {
        uint32_t record = FRCD_SIZE * ((uint32_t)field(u->cap, CAP_FRO) + at);
        uint64_t high = unit_read64(u, record + FRCD_HIGH);
        if (!(high & FRCD_F))
            break;
        uint64_t low = unit_read64(u, record + FRCD_LOW);
        unit_write32(u, record + FRCD_TOP, FRCD_TOP_F);
        handle(u, low, high);
    }
    status = unit_read32(u, REG_FSTS);
    acknowledge(u, status);
    return status & FSTS_PPF;
}

bool iommu_poll(void)
{
    bool more = false;
    for (struct unit *u = units; u; u = u->next)
        if (u->usable && !u->dead) {
            platform_lock(&u->lock);
            more |= fault_poll(u);
            prq_poll(u);
            platform_unlock(&u->lock);
        }
    return more;
}
