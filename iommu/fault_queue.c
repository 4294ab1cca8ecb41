/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fault_queue.c: page requests of a guest's devices on their way to the guest, and its answers on their way back.
 *
 *   unit's queue ──► engine_page_request ──► the device's open groups ──last──► waiting in the queue of the HWPT that its PASID is
 *   attached to ──EVENT_READ──► given ──EVENT_WRITE──► engine_page_response
 *
 * All is bounded by what a device may have under way.  A group that the guest does not answer in time is answered "invalid", and so is one
 * whose HWPT is detached.
 */
#include "iommu/iommu.h"
#include "iommu/objects.h"

#define SECOND_NS   1000000000ULL
#define PATIENCE_NS (10 * SECOND_NS) /* a device does not wait for a guest longer than that, and a second in which it is noticed */

_Static_assert(ENGINE_PAGE_REQUESTS == 32, "a word of bits");

/* Requests and groups: the event lock is held -------------------------------------------------------- */

static uint32_t bit_of(const struct page_request *p)
{
    return 1u << (p - p->device->request);
}

/* The lowest of bits, which goes out of it. */
static struct page_request *next_of(struct assigned *a, uint32_t *bits)
{
    struct page_request *p = &a->request[__builtin_ctz(*bits)];

    *bits &= *bits - 1;
    return p;
}

static struct page_request *take_slot(struct assigned *a, const struct engine_page_request *r)
{
    uint32_t unused = ~a->used;
    struct page_request *p;

    if (unused == 0)
        return NULL;
    p = next_of(a, &unused);
    *p = (struct page_request){ .r = *r, .device = a };
    a->used |= bit_of(p);
    return p;
}

static void free_group(struct page_request *group)
{
    struct assigned *a = group->device;

    a->groups &= ~bit_of(group);
    a->given &= ~bit_of(group);
    for (; group != NULL; group = group->next)
        a->used &= ~bit_of(group);
}

static struct page_request *find_open(struct assigned *a, uint16_t number)
{
    for (uint32_t bits = a->groups; bits != 0; ) {
        struct page_request *group = next_of(a, &bits);

        if (group->hwpt == NULL && group->r.group == number)
            return group;
    }
    return NULL;
}

/* Puts it at the end of its queue. */
static void deliver(struct iommu_context *c, struct page_request *group)
{
    struct fault_queue *queue = group->hwpt->faults;
    struct page_request **link = &queue->waiting;

    while (*link != NULL)
        link = &(*link)->next_group;
    *link = group;
    channel_ready(c, &queue->channel, true);
}

static void take_back(struct iommu_context *c, const struct page_request *group)
{
    struct fault_queue *queue = group->hwpt->faults;
    struct page_request **link = &queue->waiting;

    while (*link != NULL && *link != group)
        link = &(*link)->next_group;
    if (*link != NULL)
        *link = group->next_group;
    channel_ready(c, &queue->channel, queue->waiting != NULL);
}

/* The answer to a group, which is over. */
static struct engine_page_answer end_group(struct page_request *group, uint8_t code)
{
    struct engine_page_answer answer = {
        .pasid = group->r.pasid, .group = group->r.group, .has_pasid = group->r.has_pasid, .code = code,
    };

    free_group(group);
    return answer;
}

/* From devices --------------------------------------------------------------------------------------- */

static void drop_open(struct assigned *a)
{
    for (uint32_t bits = a->groups; bits != 0; ) {
        struct page_request *group = next_of(a, &bits);

        if (group->hwpt == NULL)
            free_group(group);
    }
}

/* false: nobody takes it. */
static bool complete(struct iommu_context *c, struct page_request *group)
{
    const struct engine_page_request *r = &group->r;
    struct object *hwpt = device_hwpt(&group->device->device, r->pasid);

    if (hwpt == NULL || hwpt->faults == NULL || r->pasid == group->device->leaving) {
        free_group(group);
        return false;
    }
    group->hwpt = hwpt;
    deliver(c, group);
    return true;
}

static bool add(struct iommu_context *c, struct assigned *a, const struct engine_page_request *r)
{
    struct page_request *group = find_open(a, r->group), *p = take_slot(a, r), **link = &group;

    if (p == NULL) { /* more than it was allowed */
        if (group != NULL)
            free_group(group);
        return false;
    }
    while (*link != NULL)
        link = &(*link)->next;
    *link = p;
    if (group == p) {
        a->groups |= bit_of(p);
        p->since = platform_time_ns();
        if (c->due == UINT64_MAX)
            c->due = p->since + PATIENCE_NS;
    }
    return !r->last || complete(c, group);
}

bool engine_page_request(struct device *dev, const struct engine_page_request *r)
{
    struct iommu_context *c = dev->context;
    struct assigned *a = CONTAINER(dev, struct assigned, device);
    bool taken = true;

    if (c == NULL)
        return false;
    platform_lock(&c->event_lock);
    if (r == NULL)
        drop_open(a);
    else if (r->read || r->write) /* else it says that no more will come with this PASID */
        taken = add(c, a, r);
    platform_unlock(&c->event_lock);
    return taken;
}

/* Without the guest ---------------------------------------------------------------------------------- */

/* Groups of hwpt and pasid, open ones too; or, hwpt NULL, those that began at until or before. */
static bool is_over(const struct page_request *group, uint32_t pasid, const struct object *hwpt, uint64_t until)
{
    if (hwpt == NULL)
        return group->since <= until;
    return group->r.pasid == pasid && (group->hwpt == hwpt || group->hwpt == NULL);
}

/* Ends them; true: there were some that waited for the guest. */
static bool answer_invalid(struct iommu_context *c, struct assigned *a, uint32_t pasid, const struct object *hwpt, uint64_t until)
{
    struct engine_page_answer answer[ENGINE_PAGE_REQUESTS];
    unsigned count = 0;

    platform_lock(&c->event_lock);
    for (uint32_t bits = a->groups; bits != 0; ) {
        struct page_request *group = next_of(a, &bits);

        if (!is_over(group, pasid, hwpt, until))
            continue;
        if (group->hwpt == NULL) {
            free_group(group);
            continue;
        }
        take_back(c, group);
        answer[count++] = end_group(group, ENGINE_PAGE_INVALID);
    }
    platform_unlock(&c->event_lock);
    if (count != 0)
        engine_page_response(&a->device, answer, count); /* where it cannot be told, nobody waits any more */
    return count != 0;
}

void fault_queue_leave(struct iommu_context *c, struct assigned *a, uint32_t pasid, const struct object *hwpt)
{
    answer_invalid(c, a, pasid, hwpt, 0);
}

uint64_t iommu_overdue(struct iommu_context *c)
{
    uint64_t now = platform_time_ns();
    bool more = false;

    if (now < c->due)
        return c->due;
    platform_lock(&c->lock);
    c->due = UINT64_MAX;
    for (uint32_t id = 1; id < OBJECT_SLOTS; id++) {
        struct assigned *a = (struct assigned *)object_get(c, id, OBJECT_DEVICE);

        if (a != NULL && a->groups != 0 && answer_invalid(c, a, 0, NULL, now - PATIENCE_NS))
            platform_guest_log(c->guest, "page requests of device %u were not answered for %llu seconds; they are answered as invalid", id,
                               PATIENCE_NS / SECOND_NS);
        more |= a != NULL && a->groups != 0;
    }
    if (more)
        c->due = now + SECOND_NS;
    platform_unlock(&c->lock);
    return c->due;
}

/* Calls ---------------------------------------------------------------------------------------------- */

/* Tells the guest's answer which group it means. */
static uint32_t cookie(const struct page_request *group)
{
    return group->device->object.id * ENGINE_PAGE_REQUESTS + (uint32_t)(group - group->device->request);
}

static struct page_request *find_given(struct iommu_context *c, const struct fault_queue *queue, uint32_t cookie)
{
    struct assigned *a = (struct assigned *)object_get(c, cookie / ENGINE_PAGE_REQUESTS, OBJECT_DEVICE);
    uint32_t slot = cookie % ENGINE_PAGE_REQUESTS;

    if (a == NULL || (a->given >> slot & 1) == 0 || a->request[slot].hwpt->faults != queue)
        return NULL;
    return &a->request[slot];
}

static struct nidus_hwpt_pgfault record_of(const struct page_request *p, uint32_t cookie)
{
    return (struct nidus_hwpt_pgfault){
        .flags = (p->r.has_pasid ? NIDUS_PGFAULT_FLAGS_PASID_VALID : 0) | (p->r.last ? NIDUS_PGFAULT_FLAGS_LAST_PAGE : 0),
        .dev_id = p->device->object.id,
        .pasid = p->r.pasid,
        .grpid = p->r.group,
        .perm = (p->r.read ? NIDUS_PGFAULT_PERM_READ : 0) | (p->r.write ? NIDUS_PGFAULT_PERM_WRITE : 0) |
                (p->r.execute ? NIDUS_PGFAULT_PERM_EXEC : 0) | (p->r.privileged ? NIDUS_PGFAULT_PERM_PRIV : 0),
        .addr = p->r.addr,
        .cookie = cookie,
    };
}

/* A group that does not fit, or not into RAM, stays as it is. */
static int give(struct iommu_context *c, struct page_request *group, uint64_t gpa, uint32_t room, uint32_t *done)
{
    struct nidus_hwpt_pgfault record[ENGINE_PAGE_REQUESTS];
    unsigned count = 0;
    int error;

    for (const struct page_request *p = group; p != NULL; p = p->next)
        record[count++] = record_of(p, cookie(group));
    if (count * sizeof(record[0]) > room)
        return -NIDUS_EINVAL;
    error = gpa != 0 ? platform_guest_write(c->guest, gpa, record, count * sizeof(record[0])) : -NIDUS_EFAULT;
    if (error != 0)
        return error;
    take_back(c, group);
    group->device->given |= bit_of(group);
    *done += (uint32_t)(count * sizeof(record[0]));
    return 0;
}

static int read_groups(struct iommu_context *c, struct channel *channel, uint64_t gpa, uint32_t length, uint32_t *done)
{
    struct fault_queue *queue = CONTAINER(channel, struct fault_queue, channel);
    int error = 0;

    if (length % sizeof(struct nidus_hwpt_pgfault) != 0)
        return -NIDUS_ESPIPE;
    platform_lock(&c->event_lock);
    while (error == 0 && *done < length && queue->waiting != NULL)
        error = give(c, queue->waiting, gpa != 0 ? gpa + *done : 0, length - *done, done);
    platform_unlock(&c->event_lock);
    return error;
}

/* Reads one answer of the guest, and ends its group. */
static int take_answer(struct iommu_context *c, struct fault_queue *queue, uint64_t gpa, struct assigned **a,
                       struct engine_page_answer *answer)
{
    struct nidus_hwpt_page_response response;
    struct page_request *group;
    int error = gpa != 0 ? platform_guest_read(c->guest, gpa, &response, sizeof(response)) : -NIDUS_EFAULT;

    if (error != 0)
        return error;
    if (response.code != NIDUS_PAGE_RESP_SUCCESS && response.code != NIDUS_PAGE_RESP_INVALID)
        return -NIDUS_EINVAL;
    platform_lock(&c->event_lock);
    group = find_given(c, queue, response.cookie);
    if (group != NULL) {
        *a = group->device;
        *answer = end_group(group, (uint8_t)response.code);
    }
    platform_unlock(&c->event_lock);
    return group != NULL ? 0 : -NIDUS_EINVAL;
}

_Static_assert((int)NIDUS_PAGE_RESP_SUCCESS == (int)ENGINE_PAGE_SUCCESS && (int)NIDUS_PAGE_RESP_INVALID == (int)ENGINE_PAGE_INVALID,
               "one code, two names");

/* Answers that follow each other to the same device go to it together. */
static int write_answers(struct iommu_context *c, struct channel *channel, uint64_t gpa, uint32_t length, uint32_t *done)
{
    struct fault_queue *queue = CONTAINER(channel, struct fault_queue, channel);
    struct engine_page_answer answer[ENGINE_PAGE_REQUESTS];
    struct assigned *to = NULL, *a;
    unsigned count = 0;
    int error = 0;

    if (length % sizeof(struct nidus_hwpt_page_response) != 0)
        return -NIDUS_ESPIPE;
    for (; *done < length; *done += sizeof(struct nidus_hwpt_page_response)) {
        struct engine_page_answer one;

        error = take_answer(c, queue, gpa != 0 ? gpa + *done : 0, &a, &one);
        if (error != 0)
            break;
        if (count != 0 && a != to) {
            engine_page_response(&to->device, answer, count);
            count = 0;
        }
        to = a;
        answer[count++] = one;
    }
    if (count != 0)
        engine_page_response(&to->device, answer, count); /* a unit that does not answer is said to be dead */
    return error;
}

static const struct channel_kind fault_queue_kind = { OBJECT_FAULT_QUEUE, read_groups, write_answers };

int call_fault_queue_alloc(struct call *call)
{
    struct nidus_fault_alloc *alloc = &call->fault_alloc;
    struct fault_queue *queue;

    if (alloc->flags != 0)
        return -NIDUS_EOPNOTSUPP;
    queue = channel_create(call->context, sizeof(*queue), &fault_queue_kind);
    if (queue == NULL)
        return -NIDUS_ENOMEM;
    alloc->out_fault_id = queue->channel.object.id;
    alloc->out_fault_fd = queue->channel.number;
    call->answer = true;
    return 0;
}
