/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/prq.h"

#include "iommu/fault.h"
#include "iommu/registers.h"
#include "iommu/tables.h"

/* A page request, 7.4.1: bits of word 0, then of word 1.  Two more words are reserved. */
#define PR_TYPE      BITS(7, 0)
#define     PR_PAGE     1u
#define PR_PP        BIT(8)
#define PR_SID       BITS(31, 16)
#define PR_PASID     BITS(51, 32)
#define PR_EXECUTE   BIT(52)
#define PR_PRIVILEGE BIT(53)
#define PR_READ      BIT(0)
#define PR_WRITE     BIT(1)
#define PR_LAST      BIT(2)
#define PR_GROUP     BITS(11, 3)
#define PR_ADDR      BITS(63, 12)

#define PRQ_ORDER   3u
#define PRQ_ENTRIES 1024u
#define ENTRY_WORDS 4u
_Static_assert(PRQ_ENTRIES * ENTRY_WORDS * sizeof(struct hw_word) == PAGE_SIZE << PRQ_ORDER, "PQA.PQS");

bool prq_alloc(struct unit *u)
{
    if (u->ecap & ECAP_PRS)
        u->prq.ring = platform_pages_alloc(NULL, PRQ_ORDER);
    return u->prq.ring || !(u->ecap & ECAP_PRS);
}

void prq_start(struct unit *u)
{
    if (!u->prq.ring)
        return;
    unit_write32(u, REG_PECTL, EVENT_IM);
    unit_write64(u, REG_PQH, 0);
    unit_write64(u, REG_PQT, 0);
    unit_write64(u, REG_PQA, platform_phys(u->prq.ring) | place(PQA_PQS, PRQ_ORDER));
    unit_write32(u, REG_PRS, PRS_PPR | PRS_PRO);
}

static void take(struct unit *u, unsigned at)
{
    uint64_t low = hw_load(&u->prq.ring[at * ENTRY_WORDS]), high = hw_load(&u->prq.ring[at * ENTRY_WORDS + 1]);
    uint16_t source_id = (uint16_t)field(low, PR_SID);
    struct device *dev = unit_device(u, source_id);
    struct engine_page_request r = {
        .addr = high & PR_ADDR, .pasid = (uint32_t)field(low, PR_PASID), .group = (uint16_t)field(high, PR_GROUP),
        .has_pasid = low & PR_PP, .read = high & PR_READ, .write = high & PR_WRITE, .last = high & PR_LAST,
        .execute = low & PR_EXECUTE, .privileged = low & PR_PRIVILEGE,
    };
    if (field(low, PR_TYPE) != PR_PAGE)
        return;
    if (dev && dev->tlb.requests && engine_page_request(dev, &r))
        return;
    if (r.last && (r.read || r.write)) /* without both it is a stop marker: nobody waits for an answer */
        qi_add(u, qi_page_response(source_id, r.has_pasid, r.pasid, r.group, ENGINE_PAGE_INVALID));
}

/* The unit writes nothing more until PRO is clear, and groups whose last request did not fit stay without it. */
static void overflowed(struct unit *u)
{
    for (struct device *dev = u->devices; dev; dev = dev->next)
        if (dev->tlb.requests)
            engine_page_request(dev, NULL);
    unit_write32(u, REG_PRS, PRS_PRO);
    if (fault_may_print(u))
        unit_log(u, "more page requests than its queue holds; some are lost");
}

bool prq_poll(struct unit *u)
{
    if (!u->prq.ring || u->dead)
        return false;
    uint32_t status = unit_read32(u, REG_PRS);
    unit_write32(u, REG_PRS, PRS_PPR); /* before the tail is read: what comes later sets it again */
    unsigned head = (unsigned)field(unit_read64(u, REG_PQH), PQ_OFFSET) % PRQ_ENTRIES;
    unsigned tail = (unsigned)field(unit_read64(u, REG_PQT), PQ_OFFSET) % PRQ_ENTRIES;
    for (; head != tail; head = (head + 1) % PRQ_ENTRIES)
        take(u, head);
    unit_write64(u, REG_PQH, place(PQ_OFFSET, head));
    if (status & PRS_PRO)
        overflowed(u);
    qi_finish(u); /* an answer that does not get out is the unit's end, which is said */
    return status & PRS_PRO;
}

int engine_page_response(struct device *dev, const struct engine_page_answer *answer, unsigned count)
{
    struct unit *u = dev->unit;
    platform_lock(&u->lock);
    bool on = dev->tlb.requests;
    for (unsigned i = 0; on && i < count; i++)
        qi_add(u, qi_page_response(dev->source_id, answer[i].has_pasid, answer[i].pasid, answer[i].group, answer[i].code));
    int error = on ? qi_finish(u) : -NIDUS_EINVAL;
    platform_unlock(&u->lock);
    return error;
}
