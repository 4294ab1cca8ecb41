/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/qi.h"

#include "iommu/ats.h"
#include "iommu/fault.h"
#include "iommu/registers.h"
#include "iommu/tables.h"
#include "iommu/unit.h"

/* Descriptors, 6.5.2.1 to 6.5.2.9: bits of word 0, then of word 1. */
#define QI_TYPE          BITS(3, 0)
#define     QI_CONTEXT      1u
#define     QI_IOTLB        2u
#define     QI_DEVICE       3u
#define     QI_INTERRUPTS   4u
#define     QI_WAIT         5u
#define     QI_PIOTLB       6u
#define     QI_PASID        7u
#define     QI_DEVICE_PASID 8u
#define     QI_RESPONSE     9u
#define QI_GRANULARITY   BITS(5, 4)
#define     CONTEXT_GLOBAL  1u
#define     CONTEXT_DEVICE  3u
#define     IOTLB_GLOBAL    1u
#define     IOTLB_DOMAIN    2u
#define     IOTLB_PAGES     3u
#define     PIOTLB_PASID    2u
#define     PIOTLB_PAGES    3u
#define     PASID_DOMAIN    0u
#define     PASID_ONE       1u
#define     PASID_GLOBAL    3u
#define     INTERRUPT_ONE   1u
#define QI_DID           BITS(31, 16)
#define QI_CONTEXT_SID   BITS(47, 32)
#define QI_IOTLB_DRAIN   BITS(7, 6)     /* DR, DW: implied from VER 2 on */
#define QI_ANY_PASID     BITS(51, 32)   /* of types 6 to 9 */
#define QI_PFSID_LOW     BITS(15, 12)
#define QI_PFSID_HIGH    BITS(63, 52)
#define QI_DEVICE_MIP    BITS(20, 16)
#define QI_DEVICE_SID    BITS(47, 32)
#define QI_DEVICE_S      BIT(0)
#define QI_DEVICEP_MIP   BITS(8, 4)
#define QI_DEVICEP_SID   BITS(31, 16)
#define QI_DEVICEP_S     BIT(11)
#define QI_INTERRUPT_IDX BITS(47, 32)
#define QI_RESPONSE_PP   BIT(4)
#define QI_RESPONSE_CODE BITS(15, 12)
#define QI_RESPONSE_SID  BITS(31, 16)
#define QI_RESPONSE_PRGI BITS(11, 3)
#define QI_WAIT_SW       BIT(5)
#define QI_WAIT_FN       BIT(6)
#define QI_WAIT_PD       BIT(7)
#define QI_WAIT_DATA     BITS(63, 32)
#define QI_AM            BITS(5, 0)
#define QI_ADDR          BITS(63, 12)

static struct qi_descriptor descriptor(unsigned type, unsigned granularity, uint16_t did)
{
    return (struct qi_descriptor){ .word = {
        place(QI_TYPE, type) | place(QI_GRANULARITY, granularity) | place(QI_DID, did)
    } };
}

struct qi_descriptor qi_context_global(void) { return descriptor(QI_CONTEXT, CONTEXT_GLOBAL, 0); }
struct qi_descriptor qi_pasid_global(void) { return descriptor(QI_PASID, PASID_GLOBAL, 0); }
struct qi_descriptor qi_pasid_domain(uint16_t did) { return descriptor(QI_PASID, PASID_DOMAIN, did); }
struct qi_descriptor qi_interrupts_global(void) { return descriptor(QI_INTERRUPTS, 0, 0); }

struct qi_descriptor qi_interrupt_entry(uint16_t index)
{
    struct qi_descriptor d = descriptor(QI_INTERRUPTS, INTERRUPT_ONE, 0);
    d.word[0] |= place(QI_INTERRUPT_IDX, index);
    return d;
}

struct qi_descriptor qi_context_device(uint16_t source_id)
{
    struct qi_descriptor d = descriptor(QI_CONTEXT, CONTEXT_DEVICE, 0);
    d.word[0] |= place(QI_CONTEXT_SID, source_id);
    return d;
}

static struct qi_descriptor iotlb(unsigned granularity, uint16_t did)
{
    struct qi_descriptor d = descriptor(QI_IOTLB, granularity, did);
    d.word[0] |= QI_IOTLB_DRAIN;
    return d;
}

struct qi_descriptor qi_iotlb_global(void) { return iotlb(IOTLB_GLOBAL, 0); }
struct qi_descriptor qi_iotlb_domain(uint16_t did) { return iotlb(IOTLB_DOMAIN, did); }

struct qi_descriptor qi_iotlb_pages(uint16_t did, uint64_t addr, unsigned am)
{
    struct qi_descriptor d = iotlb(IOTLB_PAGES, did);
    d.word[1] = place(QI_AM, am) | (addr & QI_ADDR);
    return d;
}

struct qi_descriptor qi_first_stage_all(uint16_t did, uint32_t pasid)
{
    struct qi_descriptor d = descriptor(QI_PIOTLB, PIOTLB_PASID, did);
    d.word[0] |= place(QI_ANY_PASID, pasid);
    return d;
}

struct qi_descriptor qi_pasid_one(uint16_t did, uint32_t pasid)
{
    struct qi_descriptor d = descriptor(QI_PASID, PASID_ONE, did);
    d.word[0] |= place(QI_ANY_PASID, pasid);
    return d;
}

struct qi_descriptor qi_first_stage_block(uint16_t did, uint32_t pasid, uint64_t block)
{
    struct qi_descriptor d = descriptor(QI_PIOTLB, PIOTLB_PAGES, did);
    d.word[0] |= place(QI_ANY_PASID, pasid);
    d.word[1] = block;
    return d;
}

/* PFSID is in two pieces. */
static uint64_t physical_function(struct qi_device device)
{
    return place(QI_PFSID_LOW, device.physical) | place(QI_PFSID_HIGH, field(device.physical, BITS(15, 4)));
}

/* The size is where the address has its lowest 0, from bit 12 on: PCI Express 6.0, 10.2.3.2.  s: the bit that says that it is so. */
static uint64_t sized_address(uint64_t addr, unsigned am, uint64_t s)
{
    if (!am)
        return addr & QI_ADDR;
    return (addr & QI_ADDR & ~BITS(11 + am, 0)) | (am > 1 ? BITS(10 + am, 12) : 0) | s;
}

struct qi_descriptor qi_device_tlb(struct qi_device device, uint64_t addr, unsigned am)
{
    return (struct qi_descriptor){ .word = {
        place(QI_TYPE, QI_DEVICE) | physical_function(device) | place(QI_DEVICE_MIP, device.pending) |
            place(QI_DEVICE_SID, device.source_id),
        sized_address(addr, am, QI_DEVICE_S),
    } };
}

struct qi_descriptor qi_device_tlb_pasid(struct qi_device device, uint32_t pasid, uint64_t addr, unsigned am)
{
    return (struct qi_descriptor){ .word = {
        place(QI_TYPE, QI_DEVICE_PASID) | physical_function(device) | place(QI_DEVICEP_MIP, device.pending) |
            place(QI_DEVICEP_SID, device.source_id) | place(QI_ANY_PASID, pasid),
        sized_address(addr, am, QI_DEVICEP_S),
    } };
}

struct qi_descriptor qi_page_response(uint16_t source_id, bool has_pasid, uint32_t pasid, uint16_t group, unsigned code)
{
    return (struct qi_descriptor){ .word = {
        place(QI_TYPE, QI_RESPONSE) | place(QI_RESPONSE_CODE, code) | place(QI_RESPONSE_SID, source_id) |
            (has_pasid ? QI_RESPONSE_PP | place(QI_ANY_PASID, pasid) : 0),
        place(QI_RESPONSE_PRGI, group),
    } };
}

struct qi_descriptor qi_fence(void)
{
    struct qi_descriptor d = descriptor(QI_WAIT, 0, 0);
    d.word[0] |= QI_WAIT_FN;
    return d;
}

struct qi_descriptor qi_wait(uint64_t phys, uint32_t data)
{
    struct qi_descriptor d = descriptor(QI_WAIT, 0, 0);
    d.word[0] |= QI_WAIT_SW | place(QI_WAIT_DATA, data);
    d.word[1] = phys;
    return d;
}

/* The queue ------------------------------------------------------------------------------------------ */

#define SLOT_BYTES 32u          /* of which the upper 16 stay zero */
#define RING_BYTES (QI_ENTRIES * SLOT_BYTES)
#define RING_ORDER 3u
_Static_assert(RING_BYTES == PAGE_SIZE << RING_ORDER, "IQA.QS");
_Static_assert((IQ_256_OFFSET & -IQ_256_OFFSET) == SLOT_BYTES, "IQT and IQH hold offsets");

#define STATUS_DONE    0u
#define STATUS_REPLACED 1u

bool qi_alloc(struct unit *u)
{
    u->qi.ring = platform_pages_alloc(NULL, RING_ORDER);
    u->qi.status = platform_pages_alloc(NULL, 0);
    if (!u->qi.ring || !u->qi.status)
        return false;
    u->qi.ring_phys = platform_phys(u->qi.ring);
    u->qi.status_phys = platform_phys(u->qi.status);
    u->qi.wait = qi_wait(0, 0).word[0];
    return true;
}

/* Descriptors that firmware queued get the time to finish; a queue that is stuck is turned off all the same. */
static bool stop_foreign_queue(struct unit *u)
{
    if (!(unit_read32(u, REG_GSTS) & GCMD_QIE))
        return true;
    uint64_t deadline = platform_time_ns() + UNIT_TIMEOUT_NS;
    while (unit_read64(u, REG_IQH) != unit_read64(u, REG_IQT)) {
        unit_write32(u, REG_FSTS, FSTS_ITE | FSTS_ICE);
        if (unit_read32(u, REG_FSTS) & FSTS_IQE || platform_time_ns() > deadline) {
            unit_log(u, "the invalidation queue that firmware left is stuck; it is turned off as it is");
            break;
        }
        platform_pause();
    }
    return unit_command(u, GCMD_QIE, false, "to turn off firmware's invalidation queue");
}

bool qi_start(struct unit *u)
{
    if (!stop_foreign_queue(u))
        return false;
    unit_write32(u, REG_FSTS, FSTS_IQE | FSTS_ICE | FSTS_ITE);
    unit_write64(u, REG_IQT, 0);
    unit_write64(u, REG_IQA, u->qi.ring_phys | IQA_DW | place(IQA_QS, RING_ORDER));
    return unit_command(u, GCMD_QIE, true, "to turn the invalidation queue on");
}

/* Slots are named by their offset in the ring. */
static struct hw_word *slot_at(const struct qi *q, uint32_t slot)
{
    return (struct hw_word *)((uint8_t *)q->ring + slot);
}

static uint32_t slot_after(uint32_t slot)
{
    return (slot + SLOT_BYTES) % RING_BYTES;
}

/* The first of the request that has been submitted: its wait lies before the tail. */
static uint32_t first_slot(const struct qi *q)
{
    return (q->tail - (q->added + 1) * SLOT_BYTES) % RING_BYTES;
}

static void put(const struct qi *q, uint32_t slot, struct qi_descriptor d)
{
    struct hw_word *word = slot_at(q, slot);
    hw_store(&word[0], d.word[0]);
    hw_store(&word[1], d.word[1]);
}

static struct qi_descriptor get(const struct qi *q, uint32_t slot)
{
    const struct hw_word *word = slot_at(q, slot);
    return (struct qi_descriptor){ .word = { hw_load(&word[0]), hw_load(&word[1]) } };
}

static void append(struct qi *q, struct qi_descriptor d)
{
    put(q, q->tail, d);
    q->tail = slot_after(q->tail);
}

/* Ends the request and has the unit perform it. */
static inline void append_wait(struct unit *u)
{
    struct qi *q = &u->qi;
    append(q, (struct qi_descriptor){ .word = { q->wait | place(QI_WAIT_DATA, ++q->sequence), q->status_phys + STATUS_DONE * sizeof(uint32_t) } });
    unit_write64(u, REG_IQT, q->tail);
}

static const char *const iqe_reasons[16] = { /* IQERCD.IQEI, 11.4.9 */
    "no information", "invalid tail", "it could not be fetched", "invalid type or granularity", "reserved bits set",
    "wrong descriptor width", "misaligned tail", "invalid translation table mode",
    [8 ... 15] = "unknown reason",
};

static void put_nothing(const struct qi *q, uint32_t slot)
{
    put(q, slot, qi_wait(q->status_phys + STATUS_REPLACED * sizeof(uint32_t), 0));
}

/* The unit stands at a descriptor that it refuses: say which, and put one in its place that does nothing.  true: it is the wait at
 * the end of the request. */
static bool replace_refused(struct unit *u, uint64_t iqercd, bool say)
{
    uint32_t slot = (uint32_t)(unit_read64(u, REG_IQH) & IQ_256_OFFSET) % RING_BYTES;
    struct qi_descriptor d = get(&u->qi, slot);
    if (say)
        unit_log(u, "refused invalidation descriptor %u (0x%llx 0x%llx): %s", slot / SLOT_BYTES, (ull)d.word[0], (ull)d.word[1],
                 iqe_reasons[field(iqercd, IQERCD_IQEI)]);
    put_nothing(&u->qi, slot);
    return slot_after(slot) == u->qi.tail;
}

/* Is it for a device TLB?  Then whose. */
static bool is_for_device(const struct qi_descriptor *d, uint16_t *source_id)
{
    uint64_t type = field(d->word[0], QI_TYPE);
    *source_id = (uint16_t)field(d->word[0], type == QI_DEVICE ? QI_DEVICE_SID : QI_DEVICEP_SID);
    return type == QI_DEVICE || type == QI_DEVICE_PASID;
}

/*
 * A device did not answer: what it was asked goes out of the request, which lies before the wait.  A device that is asked several times is told of
 * as often, the last times when nothing of it is left there.  A unit that does not tell which device it was: all of them.  false: nobody was asked.
 */
static bool take_out(struct unit *u, uint16_t culprit)
{
    bool known = ats_device_lost(u, culprit), found = known;
    uint32_t slot = first_slot(&u->qi);
    for (unsigned left = u->qi.added; left; slot = slot_after(slot), left--) {
        struct qi_descriptor d = get(&u->qi, slot);
        uint16_t source_id;
        if (!is_for_device(&d, &source_id) || (known && source_id != culprit))
            continue;
        found = true;
        ats_device_lost(u, source_id);
        put_nothing(&u->qi, slot);
    }
    return found;
}

/* 6.5.2.11: the queue stands still until its error is acknowledged.  true: the request has to be made again. */
static bool recover(struct unit *u)
{
    uint32_t fsts = unit_read32(u, REG_FSTS);
    uint64_t status = fsts & (FSTS_IQE | FSTS_ICE | FSTS_ITE);
    if (fsts == UINT32_MAX)
        unit_dead(u, UNIT_GONE, "to invalidate its caches");
    if (!status || u->dead)
        return false;
    uint64_t iqercd = unit_read64(u, REG_IQERCD);
    uint16_t silent = (uint16_t)field(iqercd, IQERCD_ITESID);
    bool harmless = status == FSTS_ITE && take_out(u, silent);
    bool say = !harmless && !u->qi.error && fault_may_print(u); /* the request's first; a device may cause one of every request */
    bool wait_is_lost = status & FSTS_ITE; /* it was aborted */
    if (!harmless)
        u->qi.error = -NIDUS_EIO;
    if (status & FSTS_IQE)
        wait_is_lost |= replace_refused(u, iqercd, say);
    if (status & FSTS_ITE && say)
        unit_log(u, "device-TLB invalidation timed out, source-id 0x%04x", silent);
    if (status & FSTS_ICE && say)
        unit_log(u, "unexpected device-TLB invalidation completion, source-id 0x%04x", (unsigned)field(iqercd, IQERCD_ICESID));
    unit_write32(u, REG_FSTS, status);
    return wait_is_lost;
}

/*
 * After a time-out nothing behind the oldest device-TLB invalidation is certain, and the wait was aborted (6.5.2.11): once the unit
 * has fetched all there is, the whole request follows itself in the ring.
 */
static bool repeat(struct unit *u)
{
    if (unit_read64(u, REG_IQH) != unit_read64(u, REG_IQT))
        return false;
    uint32_t slot = first_slot(&u->qi);
    for (unsigned left = u->qi.added; left; slot = slot_after(slot), left--)
        append(&u->qi, get(&u->qi, slot));
    append_wait(u);
    return true;
}

/* PCI Express 6.0, 10.3.1: a device has a minute for an invalidation, and half of one more. */
#define DEVICE_TIMEOUT_NS 90000000000ULL

static bool is_done(const struct unit *u)
{
    return platform_load32(&u->qi.status[STATUS_DONE]) == u->qi.sequence;
}

/* Waits for the request, and has the queue go on when something stops it.  Apart: most are done by then. */
__attribute__((noinline))
static void await(struct unit *u)
{
    uint64_t deadline = platform_time_ns() + (u->qi.device_tlb ? DEVICE_TIMEOUT_NS : UNIT_TIMEOUT_NS);
    bool again = false;
    while (again || !is_done(u)) {
        again |= recover(u);
        if (u->dead)
            return;
        if (again && repeat(u))
            again = false;
        if (platform_time_ns() > deadline) {
            unit_dead(u, UNIT_SILENT, "to invalidate its caches");
            return;
        }
        platform_pause();
    }
    recover(u);
}

/* Only what a device does is an error of a request whose wait was performed: where none was asked, done is done. */
static inline bool is_good(const struct unit *u)
{
    return !u->qi.device_tlb && is_done(u);
}

static inline void empty(struct qi *q)
{
    q->added = 0;
    q->first_stage = q->device_tlb = false;
}

/* Of a part of a request that is larger than the ring. */
__attribute__((noinline))
static void submit(struct unit *u)
{
    append_wait(u);
    if (!is_good(u))
        await(u);
    empty(&u->qi);
}

static void add(struct unit *u, struct qi_descriptor d)
{
    if (!qi_room(&u->qi))
        submit(u);
    append(&u->qi, d);
    u->qi.added++;
}

void qi_add(struct unit *u, struct qi_descriptor d)
{
    uint64_t type = field(d.word[0], QI_TYPE);
    if (u->usable) /* before, nobody else knows the unit */
        platform_require_lock(&u->lock);
    if (u->dead)
        return;
    if (type == QI_DEVICE && u->qi.first_stage) {
        add(u, qi_fence());
        u->qi.first_stage = false;
    }
    add(u, d);
    u->qi.first_stage |= type == QI_PIOTLB;
    u->qi.device_tlb |= type == QI_DEVICE || type == QI_DEVICE_PASID;
}

void qi_add_blocks(struct unit *u, uint64_t word0, const uint64_t *block, unsigned count)
{
    struct qi *q = &u->qi;
    platform_require_lock(&u->lock);
    if (u->dead)
        return;
    uint32_t tail = q->tail;
    const uint64_t *end = block + count;
    do {
        put(q, tail, (struct qi_descriptor){ .word = { word0, *block } });
        tail = slot_after(tail);
    } while (++block != end);
    q->tail = tail;
    q->added += count;
    q->first_stage = true;
}

/* Of a request that is nowhere, or was submitted and is not good.  Apart: the frequent case does not pay for the registers that it takes. */
__attribute__((noinline))
static int settle(struct unit *u)
{
    if (!u->dead && u->qi.added)
        await(u);
    empty(&u->qi);
    int error = u->qi.error;
    u->qi.error = 0;
    if (!u->dead && u->device_lost && ats_block_lost(u))
        error = -NIDUS_EIO;
    return u->dead ? -NIDUS_EIO : error;
}

int qi_finish(struct unit *u)
{
    if (u->dead || !u->qi.added)
        return settle(u);
    append_wait(u);
    if (!is_good(u) || u->qi.error || u->device_lost)
        return settle(u);
    empty(&u->qi);
    return 0;
}

int qi_finish_drained(struct unit *u)
{
    uint64_t wait = u->qi.wait;
    if (u->ecap & ECAP_PDS)
        u->qi.wait |= QI_WAIT_PD;
    int error = qi_finish(u);
    u->qi.wait = wait;
    return error;
}
