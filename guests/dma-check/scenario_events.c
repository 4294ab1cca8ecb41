/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes by itself: faults as events, and pages that a device asks for.  The guest waits for them, and nidus for the unit's interrupts. */
#include <string.h>

#include "guests/dma-check/steps.h"
#include "guests/runtime/check.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/fault.h"

#define NS_PER_MS  1000000ULL
#define NS_PER_S   1000000000ULL
#define NOT_MAPPED (IOVA_LOW + SIZE_1G)

/* Waits for one channel. */
static bool wait_for(uint32_t channel, uint64_t ns)
{
    uint64_t channels = 1ULL << channel;

    must(iommufd_event_wait(&channels, ns) == 0, "EVENT_WAIT");
    return channels != 0;
}

static void sleep_ns(uint64_t ns)
{
    uint64_t channels = 0;

    must(iommufd_event_wait(&channels, ns) == 0, "EVENT_WAIT as a sleep");
}

/* Faults ---------------------------------------------------------------------------------------------- */

#define VIRT_ID 0x105u
#define DEPTH   4u

struct event {
    struct nidus_vevent_header header;
    struct nidus_fault fault;
};

/* The next event, with its size; 0: none. */
static uint32_t next_event(uint32_t channel, struct event *e)
{
    uint32_t bytes = sizeof(*e);

    must(iommufd_event_read(channel, e, &bytes) == 0, "EVENT_READ");
    return bytes;
}

static void nothing_happens(uint32_t channel)
{
    uint64_t start = clock_ns();
    bool came = wait_for(channel, 30 * NS_PER_MS);
    uint64_t waited = clock_ns() - start;

    check(!came && waited >= 30 * NS_PER_MS, "EVENT_WAIT of 30 ms, no fault: %s after %llu ms", came ? "something" : "nothing",
          (unsigned long long)(waited / NS_PER_MS));
}

static void one_fault(struct rig *r, uint32_t channel)
{
    enum ndma_status status = dma_fill(r, NOT_MAPPED, 64, 1);
    char got[200] = "no event";
    struct event e = { 0 };
    bool came = wait_for(channel, 5 * NS_PER_S);

    if (came && next_event(channel, &e) == sizeof(e))
        fault_describe(&e.fault, got, sizeof(got));
    check(status == NDMA_DST_ERROR && e.fault.reason == 0x71 && e.fault.addr == NOT_MAPPED && e.fault.dev_id == VIRT_ID &&
              e.header.sequence == 0 && e.header.flags == 0,
          "write, no page: event %u of device 0x%x: %s", e.header.sequence, e.fault.dev_id, got);
}

static void more_than_it_holds(struct rig *r, uint32_t channel)
{
    struct event e = { 0 };
    unsigned events = 0;
    uint32_t bytes, last = 0;

    for (unsigned i = 0; i < 2 * DEPTH; i++) {
        dma_fill(r, NOT_MAPPED, 64, 1);
        sleep_ns(20 * NS_PER_MS);   /* the unit records one at a time */
    }
    while (wait_for(channel, 0) && (bytes = next_event(channel, &e)) == sizeof(e)) {
        last = e.header.sequence;
        events++;
    }
    check(events == DEPTH && (e.header.flags & NIDUS_VEVENTQ_FLAG_LOST_EVENTS) != 0 && e.header.sequence >= last + DEPTH,
          "%u faults, a queue of %u: %u events, then a header: lost up to event %u", 2 * DEPTH, DEPTH, events, e.header.sequence);
    check(!wait_for(channel, 0), "EVENT_WAIT of 0 ms: the queue is empty");
}

void scenario_events(struct rig *r)
{
    uint32_t viommu, vdevice, queue, channel;
    struct space s;

    check_step("13", "faults as events");
    if (!space_open(&s, r))
        return;
    check_errno(iommufd_fault_events(r->dma.device->id, rig_parent(r), VIRT_ID, DEPTH, &viommu, &vdevice, &queue, &channel), 0,
                "VIOMMU_ALLOC, VDEVICE_ALLOC, VEVENTQ_ALLOC");
    nothing_happens(channel);
    one_fault(r, channel);
    more_than_it_holds(r, channel);
    check_errno(iommufd_destroy(viommu), NIDUS_EBUSY, "DESTROY of the vIOMMU while it has a queue");
    check_errno(iommufd_destroy(queue) | iommufd_destroy(vdevice) | iommufd_destroy(viommu), 0, "DESTROY of queue, vdevice, vIOMMU");
    space_close(&s);
}

/* Pages ----------------------------------------------------------------------------------------------- */

#define PASID      5u
#define PAGES      256u
#define BASE       IOVA_LOW         /* of what is paged */
#define ASKING     (NDMA_ATS | NDMA_PRI)
#define AT_A_TIME  8u

struct pager {
    struct rig *rig;
    struct space space;
    uint32_t hwpt, queue, channel;
    uint8_t *page[PAGES];           /* what is present of [BASE, …) */
    unsigned groups;                /* answered */
    uint32_t pasid;                 /* of the last record */
};

static void make_present(struct pager *p, uint64_t iova)
{
    uint64_t n = (iova - BASE) / FRAME_SIZE;

    must(iova >= BASE && n < PAGES, "a page request for what no descriptor names");
    if (p->page[n] != NULL)
        return;
    p->page[n] = frames_need(FRAME_SIZE, FRAME_SIZE, "a page that a device asks for");
    space_map(&p->space, iova, gpa_of(p->page[n]), FRAME_SIZE, FRAME_SIZE, RW);
}

/* Takes what the device asks for; code: the answer, or NO_ANSWER.  How many groups. */
#define NO_ANSWER UINT32_MAX
static unsigned serve(struct pager *p, uint64_t ns, uint32_t code)
{
    struct nidus_hwpt_pgfault fault[32];
    struct nidus_hwpt_page_response response[32];
    uint32_t bytes = sizeof(fault), count = 0, done;

    if (!wait_for(p->channel, ns))
        return 0;
    must(iommufd_event_read(p->channel, fault, &bytes) == 0, "EVENT_READ of page requests");
    for (unsigned i = 0; i < bytes / sizeof(fault[0]); i++) {
        p->pasid = fault[i].pasid;
        if (code == NIDUS_PAGE_RESP_SUCCESS)
            make_present(p, fault[i].addr);
        if (fault[i].flags & NIDUS_PGFAULT_FLAGS_LAST_PAGE)
            response[count++] = (struct nidus_hwpt_page_response){ fault[i].cookie, code };
    }
    done = count;
    if (code != NO_ANSWER)
        must(iommufd_page_response(p->channel, response, &done) == 0 && done == count, "EVENT_WRITE of page responses");
    p->groups += count;
    return count;
}

static const volatile struct ndma_descriptor *submit(struct pager *p, unsigned first, unsigned pages, uint32_t flags, uint64_t seed)
{
    struct ndma_descriptor d = {
        .op = NDMA_FILL, .flags = ASKING | flags, .dst = BASE + first * FRAME_SIZE, .len = pages * FRAME_SIZE, .seed = seed,
        .pasid = flags & NDMA_PASID ? PASID : 0,
    };

    return ndma_submit(&p->rig->dma, &d);
}

static bool filled(const struct pager *p, unsigned first, unsigned pages, uint64_t seed)
{
    for (unsigned i = 0; i < pages; i++)
        if (p->page[first + i] == NULL ||
            ndma_pattern_check(p->page[first + i], (uint64_t)i * FRAME_SIZE, FRAME_SIZE, seed) != FRAME_SIZE)
            return false;
    return true;
}

static void one_page(struct pager *p, unsigned n, uint32_t flags, const char *what)
{
    const volatile struct ndma_descriptor *d = submit(p, n, 1, flags, 0x70 + n);
    unsigned groups = serve(p, 5 * NS_PER_S, NIDUS_PAGE_RESP_SUCCESS);
    enum ndma_status status = ndma_wait(&p->rig->dma, d);

    check(groups == 1 && p->pasid == (flags & NDMA_PASID ? PASID : 0) && status == NDMA_DONE && filled(p, n, 1, 0x70 + n),
          "%s: a request with PASID %u, page made present, answered; then %s, verified", what, p->pasid, ndma_status_name(status));
}

/* Many transfers at once over pages that are not there. */
static void load(struct pager *p)
{
    const unsigned first = 16, pages = 24;
    const volatile struct ndma_descriptor *d[AT_A_TIME];
    uint64_t end = clock_ns() + 20 * NS_PER_S;
    unsigned done = 0, good = 0;

    p->groups = 0;
    ndma_set_page_requests(&p->rig->dma, 0, 4);
    for (unsigned i = 0; i < AT_A_TIME; i++)
        d[i] = submit(p, first + i * pages, pages, i % 2 ? NDMA_PASID : 0, 0x100 + i);
    while (done < AT_A_TIME && clock_ns() < end) {
        serve(p, 20 * NS_PER_MS, NIDUS_PAGE_RESP_SUCCESS);
        done = 0;
        for (unsigned i = 0; i < AT_A_TIME; i++)
            done += d[i]->status != NDMA_PENDING;
    }
    for (unsigned i = 0; i < AT_A_TIME; i++)
        good += (d[i]->status & 0xff) == NDMA_DONE && filled(p, first + i * pages, pages, 0x100 + i);
    check(good == AT_A_TIME, "%u FILLs of %u KiB at once, half of them with PASID %u: %u verified, %u groups answered", AT_A_TIME, pages * 4, PASID,
          good, p->groups);
}

static void refused(struct pager *p)
{
    const volatile struct ndma_descriptor *d = submit(p, 1, 1, 0, 1);
    unsigned groups = serve(p, 5 * NS_PER_S, NIDUS_PAGE_RESP_INVALID);
    enum ndma_status status = ndma_wait(&p->rig->dma, d);

    check(groups == 1 && status == NDMA_DST_ERROR && ndma_reason(d) == NDMA_REASON_INVALID, "a request that is answered invalid: %s, %s",
          ndma_status_name(status), ndma_reason_name(ndma_reason(d)));
}

/* nidus answers for a guest that does not, after ten seconds. */
static void forgotten(struct pager *p)
{
    uint64_t start = clock_ns();
    const volatile struct ndma_descriptor *d = submit(p, 2, 1, 0, 1);
    unsigned groups = serve(p, 5 * NS_PER_S, NO_ANSWER);
    uint64_t waited;

    while (d->status == NDMA_PENDING && clock_ns() - start < 20 * NS_PER_S)
        sleep_ns(100 * NS_PER_MS);
    waited = (clock_ns() - start) / NS_PER_MS;
    check(groups == 1 && (d->status & 0xff) == NDMA_DST_ERROR && ndma_reason(d) == NDMA_REASON_INVALID && waited >= 10000,
          "a request that is not answered: %s, %s after %llu ms", ndma_status_name(d->status & 0xff), ndma_reason_name(ndma_reason(d)),
          (unsigned long long)waited);
}

static bool open_pager(struct pager *p, struct rig *r)
{
    uint32_t device = r->dma.device->id;

    *p = (struct pager){ .rig = r };
    if (!space_open_detached(&p->space, r))
        return false;
    if (!check_errno(iommufd_fault_queue_alloc(&p->queue, &p->channel), 0, "FAULT_QUEUE_ALLOC") ||
        !check_errno(iommufd_hwpt_alloc_paged(device, rig_parent(r), p->space.table.root, NIDUS_HWPT_ALLOC_PASID, p->queue, &p->hwpt), 0,
                     "HWPT_ALLOC with the queue") ||
        !check_errno(iommufd_attach(device, p->hwpt), 0, "attach") ||
        !check_errno(iommufd_attach_pasid(device, PASID, p->hwpt), 0, "attach by PASID"))
        return false;
    ndma_start(&r->dma, IOVA_RING, AT_A_TIME);
    return true;
}

static void close_pager(struct pager *p)
{
    uint32_t device = p->rig->dma.device->id;

    ndma_reset(&p->rig->dma);
    check_errno(iommufd_destroy(p->queue), NIDUS_EBUSY, "DESTROY of the queue while a HWPT has it");
    check_errno(iommufd_detach_pasid(device, PASID) | iommufd_detach(device), 0, "detach");
    check_errno(iommufd_destroy(p->hwpt) | iommufd_destroy(p->queue), 0, "DESTROY of HWPT and queue");
    must(iommufd_destroy(p->space.hwpt) == 0, "DESTROY of a nested HWPT that nothing uses");
    pgtable_destroy(&p->space.table);
}

void scenario_paging(struct rig *r)
{
    static struct pager p;

    check_step("14", "pages on demand");
    if (!check((r->dma.features & NDMA_FEATURE_PRI) != 0, "nidus-dma makes page requests") || !open_pager(&p, r))
        return;
    one_page(&p, 0, 0, "write, no page");
    one_page(&p, 3, NDMA_PASID, "the same with a PASID");
    load(&p);
    refused(&p);
    forgotten(&p);
    one_page(&p, 4, 0, "after all that");
    close_pager(&p);
}
