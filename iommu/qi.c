/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/qi.h"

#include "iommu/registers.h"
#include "iommu/tables.h"
#include "iommu/unit.h"

/* Descriptors, 6.5.2.1 to 6.5.2.9: bits of word 0, then of word 1. */
#define QI_TYPE          BITS(3, 0)
#define     QI_CONTEXT      1u
#define     QI_IOTLB        2u
#define     QI_INTERRUPTS   4u
#define     QI_WAIT         5u
#define     QI_PIOTLB       6u
#define     QI_PASID        7u
#define QI_GRANULARITY   BITS(5, 4)
#define     CONTEXT_GLOBAL  1u
#define     CONTEXT_DEVICE  3u
#define     IOTLB_GLOBAL    1u
#define     IOTLB_DOMAIN    2u
#define     IOTLB_PAGES     3u
#define     PIOTLB_PASID    2u
#define     PIOTLB_PAGES    3u
#define     PASID_DOMAIN    0u
#define     PASID_GLOBAL    3u
#define QI_DID           BITS(31, 16)
#define QI_CONTEXT_SID   BITS(47, 32)
#define QI_IOTLB_DRAIN   BITS(7, 6)     /* DR, DW: implied from VER 2 on */
#define QI_PIOTLB_PASID  BITS(51, 32)
#define QI_WAIT_SW       BIT(5)
#define QI_WAIT_DATA     BITS(63, 32)
#define QI_AM            BITS(5, 0)
#define QI_IH            BIT(6)
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
    d.word[0] |= place(QI_PIOTLB_PASID, pasid);
    return d;
}

struct qi_descriptor qi_first_stage_pages(uint16_t did, uint32_t pasid, uint64_t addr, unsigned am, bool leaf)
{
    struct qi_descriptor d = descriptor(QI_PIOTLB, PIOTLB_PAGES, did);
    d.word[0] |= place(QI_PIOTLB_PASID, pasid);
    d.word[1] = place(QI_AM, am) | (leaf ? QI_IH : 0) | (addr & QI_ADDR);
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

#define SLOT_WORDS (sizeof(struct qi_descriptor) / sizeof(struct hw_word))
#define RING_ORDER 3u
_Static_assert(QI_ENTRIES * sizeof(struct qi_descriptor) == PAGE_SIZE << RING_ORDER, "IQA.QS");

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

static void put(struct unit *u, unsigned slot, const struct qi_descriptor *d)
{
    for (unsigned i = 0; i < SLOT_WORDS; i++)
        hw_store(&u->qi.ring[slot * SLOT_WORDS + i], d->word[i]);
}

static void append(struct unit *u, struct qi_descriptor d)
{
    put(u, u->qi.tail, &d);
    u->qi.tail = (u->qi.tail + 1) % QI_ENTRIES;
}

static void append_wait(struct unit *u)
{
    append(u, qi_wait(u->qi.status_phys + STATUS_DONE * sizeof(uint32_t), u->qi.sequence));
    unit_write64(u, REG_IQT, place(IQ_256_OFFSET, u->qi.tail));
}

static const char *const iqe_reasons[16] = { /* IQERCD.IQEI, 11.4.9 */
    "no information", "invalid tail", "it could not be fetched", "invalid type or granularity", "reserved bits set",
    "wrong descriptor width", "misaligned tail", "invalid translation table mode",
    [8 ... 15] = "unknown reason",
};

/* The unit stands at a descriptor that it refuses: say which, and put one in its place that does nothing.  true: it is the wait at
 * the end of the request. */
static bool replace_refused(struct unit *u, uint64_t iqercd, bool say)
{
    unsigned slot = (unsigned)field(unit_read64(u, REG_IQH), IQ_256_OFFSET) % QI_ENTRIES;
    const struct hw_word *word = &u->qi.ring[slot * SLOT_WORDS];
    struct qi_descriptor nothing = qi_wait(u->qi.status_phys + STATUS_REPLACED * sizeof(uint32_t), 0);
    if (say)
        unit_log(u, "refused invalidation descriptor %u (0x%llx 0x%llx): %s", slot, (ull)hw_load(&word[0]),
                 (ull)hw_load(&word[1]), iqe_reasons[field(iqercd, IQERCD_IQEI)]);
    put(u, slot, &nothing);
    return (slot + 1) % QI_ENTRIES == u->qi.tail;
}

/* 6.5.2.11: the queue stands still until its error is acknowledged. */
static void recover(struct unit *u)
{
    uint64_t status = unit_read32(u, REG_FSTS) & (FSTS_IQE | FSTS_ICE | FSTS_ITE);
    if (!status)
        return;
    uint64_t iqercd = unit_read64(u, REG_IQERCD);
    bool first = !u->qi.error; /* of the request: that one is said */
    bool wait_is_lost = status & FSTS_ITE; /* it may have been aborted */
    u->qi.error = -NIDUS_EIO;
    if (status & FSTS_IQE)
        wait_is_lost |= replace_refused(u, iqercd, first);
    if (status & FSTS_ITE && first)
        unit_log(u, "device-TLB invalidation timed out, source-id 0x%04x", (unsigned)field(iqercd, IQERCD_ITESID));
    if (status & FSTS_ICE && first)
        unit_log(u, "unexpected device-TLB invalidation completion, source-id 0x%04x", (unsigned)field(iqercd, IQERCD_ICESID));
    unit_write32(u, REG_FSTS, status);
    if (wait_is_lost)
        append_wait(u);
}

static void submit(struct unit *u)
{
    struct qi *q = &u->qi;
    q->sequence++;
    q->added = 0;
    append_wait(u);
    uint64_t deadline = platform_time_ns() + UNIT_TIMEOUT_NS;
    while (platform_load32(&q->status[STATUS_DONE]) != q->sequence) {
        recover(u);
        if (platform_time_ns() > deadline) {
            unit_dead(u, "to invalidate its caches");
            return;
        }
        platform_pause();
    }
    recover(u);
}

void qi_add(struct unit *u, struct qi_descriptor d)
{
    if (u->dead)
        return;
    if (u->qi.added == QI_ROOM)
        submit(u);
    append(u, d);
    u->qi.added++;
}

int qi_finish(struct unit *u)
{
    if (!u->dead && u->qi.added)
        submit(u);
    int error = u->dead ? -NIDUS_EIO : u->qi.error;
    u->qi.error = 0;
    return error;
}
