/* SPDX-License-Identifier: BSD-2-Clause */
/* fault_ring.c: faults of a guest's devices on their way to the guest. */
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

    if (ring->count == FAULT_RECORDS) {
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

void engine_fault_sink(struct device *dev, const struct nidus_fault *fault)
{
    struct iommu_context *c = dev->context;

    if (c == NULL)
        return;
    platform_lock(&c->event_lock);
    put(c->faults, fault, dev->id);
    platform_unlock(&c->event_lock);
}

void engine_fault_lost(struct device *dev)
{
    struct iommu_context *c = dev->context;

    if (c == NULL)
        return;
    platform_lock(&c->event_lock);
    lose(c->faults);
    platform_unlock(&c->event_lock);
}

static int take(struct call *call, struct fault_ring *ring)
{
    struct nidus_fault_read *read = &call->fault_read;
    struct guest *guest = call->context->guest;
    unsigned count = read->entry_num < ring->count ? read->entry_num : ring->count;

    if (count != 0 && (read->data_uptr == 0 || !is_guest_ram(guest, read->data_uptr, count * sizeof(struct nidus_fault))))
        return -NIDUS_EFAULT;
    for (unsigned i = 0; i < count; i++) {
        int error = platform_guest_write(guest, read->data_uptr + i * sizeof(struct nidus_fault), &ring->record[ring->first],
                                         sizeof(struct nidus_fault));

        if (error != 0)
            return error;
        ring->first = (ring->first + 1) % FAULT_RECORDS;
        ring->count--;
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
