/* SPDX-License-Identifier: BSD-2-Clause */
/* fault_ring.c: faults of a guest's devices on their way to the guest: by FAULT_READ all of them, by event channels those of a vIOMMU's devices. */
#include "iommu/iommu.h"
#include "iommu/objects.h"

/* Everything is numbered, what is lost as well: a reader sees where something is missing. */
static void lose(struct fault_ring *ring)
{
    ring->lost++;
    ring->sequence++;
    ring->gap = true;
}

/* The oldest records say how it began, so a full ring keeps them. */
static void put(struct fault_ring *ring, const struct nidus_fault *fault, uint32_t dev_id)
{
    struct nidus_fault *record = &ring->record[(ring->first + ring->count) % FAULT_RECORDS];

    if (ring->count == ring->depth) {
        lose(ring);
        return;
    }
    *record = *fault;
    record->dev_id = dev_id;
    record->sequence = ring->sequence++;
    record->flags |= ring->gap ? NIDUS_FAULT_LOST : 0;
    ring->gap = false;
    ring->count++;
}

/* fault NULL: one was lost. */
static void tell(struct fault_ring *ring, const struct nidus_fault *fault, uint32_t dev_id)
{
    if (fault != NULL)
        put(ring, fault, dev_id);
    else
        lose(ring);
}

static void sink(struct device *dev, const struct nidus_fault *fault)
{
    struct iommu_context *c = dev->context;
    const struct vdevice *v;

    if (c == NULL)
        return;
    platform_lock(&c->event_lock);
    tell(c->faults, fault, dev->id);
    v = CONTAINER(dev, struct assigned, device)->vdevice;
    if (v != NULL && v->viommu->faults != NULL) {
        tell(v->viommu->faults->ring, fault, v->virt_id);
        channel_ready(c, &v->viommu->faults->channel, true);
    }
    platform_unlock(&c->event_lock);
}

void engine_fault_sink(struct device *dev, const struct nidus_fault *fault)
{
    sink(dev, fault);
}

void engine_fault_lost(struct device *dev)
{
    sink(dev, NULL);
}

#define RING_ORDER 2
_Static_assert(sizeof(struct fault_ring) <= PAGE_SIZE << RING_ORDER, "fault ring");

struct fault_ring *fault_ring_create(struct iommu_context *c, unsigned depth)
{
    struct fault_ring *ring = platform_pages_alloc(c->guest, RING_ORDER);

    if (ring != NULL)
        ring->depth = depth;
    return ring;
}

void fault_ring_free(struct iommu_context *c, struct fault_ring *ring)
{
    platform_pages_free(c->guest, ring, RING_ORDER);
}

static void drop_first(struct fault_ring *ring)
{
    ring->first = (ring->first + 1) % FAULT_RECORDS;
    ring->count--;
}

static int take(struct call *call, struct fault_ring *ring)
{
    struct nidus_fault_read *read = &call->fault_read;
    struct guest *guest = call->context->guest;
    unsigned count = read->entry_num < ring->count ? read->entry_num : ring->count;

    if (count != 0 && (read->data_uptr == 0 || !is_guest_memory(guest, read->data_uptr, count * sizeof(struct nidus_fault), PLATFORM_OWN)))
        return -NIDUS_EFAULT;
    for (unsigned i = 0; i < count; i++) {
        int error = platform_guest_write(guest, read->data_uptr + i * sizeof(struct nidus_fault), &ring->record[ring->first],
                                         sizeof(struct nidus_fault));

        if (error != 0)
            return error;
        drop_first(ring);
    }
    read->entry_num = count;
    read->out_lost = ring->lost;
    ring->lost = 0;
    call->answer = true;
    return 0;
}

int call_fault_read(struct call *call)
{
    struct nidus_fault_read *read = &call->fault_read;
    int error;

    if (read->flags != 0)
        return -NIDUS_EOPNOTSUPP;
    if (read->entry_len != sizeof(struct nidus_fault) || read->entry_num > FAULT_RECORDS)
        return -NIDUS_EINVAL;
    iommu_poll();
    platform_lock(&call->context->event_lock);
    error = take(call, call->context->faults);
    platform_unlock(&call->context->event_lock);
    return error;
}

/* Events ---------------------------------------------------------------------------------------------- */

struct event {
    struct nidus_vevent_header header;
    struct nidus_fault fault;
};

/* The oldest; behind them all, what was lost since: a header alone. */
static uint32_t first_event(const struct fault_ring *ring, struct event *e)
{
    bool lost = ring->count == 0;
    uint32_t sequence = lost ? ring->sequence - 1 : ring->record[ring->first].sequence;

    e->header = (struct nidus_vevent_header){ .flags = lost ? NIDUS_VEVENTQ_FLAG_LOST_EVENTS : 0, .sequence = sequence & INT32_MAX };
    e->fault = ring->record[ring->first];
    return lost ? sizeof(e->header) : sizeof(*e);
}

int fault_events_read(struct iommu_context *c, struct channel *channel, uint64_t gpa, uint32_t length, uint32_t *done)
{
    struct fault_ring *ring = CONTAINER(channel, struct veventq, channel)->ring;
    struct event e;
    int error = 0;

    platform_lock(&c->event_lock);
    while (ring->count != 0 || ring->gap) {
        uint32_t size = first_event(ring, &e);

        if (size > length - *done)
            break;
        error = gpa != 0 ? platform_guest_write(c->guest, gpa + *done, &e, size) : -NIDUS_EFAULT;
        if (error != 0)
            break;
        if (ring->count != 0)
            drop_first(ring);
        else
            ring->gap = false;
        *done += size;
    }
    channel_ready(c, channel, ring->count != 0 || ring->gap);
    platform_unlock(&c->event_lock);
    return error;
}
