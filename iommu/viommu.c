/* SPDX-License-Identifier: BSD-2-Clause */
/* viommu.c: vIOMMUs, their devices, and the queue of these devices' faults. */
#include "iommu/objects.h"

/* vIOMMUs --------------------------------------------------------------------------------------------- */

int call_viommu_alloc(struct call *call)
{
    struct nidus_viommu_alloc *alloc = &call->viommu_alloc;
    struct iommu_context *c = call->context;
    const struct assigned *device;
    struct paging *parent;
    struct viommu *v;

    if (alloc->flags != 0 || alloc->type == NIDUS_VIOMMU_TYPE_DEFAULT)
        return -NIDUS_EOPNOTSUPP;
    device = (const struct assigned *)object_get(c, alloc->dev_id, OBJECT_DEVICE);
    if (device == NULL)
        return -NIDUS_ENOENT;
    if (alloc->type != NIDUS_VIOMMU_TYPE_VTD)
        return -NIDUS_EOPNOTSUPP;
    parent = (struct paging *)object_get(c, alloc->hwpt_id, OBJECT_PAGING);
    if (parent == NULL)
        return -NIDUS_ENOENT;
    if (!parent->domain.nest_parent)
        return -NIDUS_EINVAL;
    if (alloc->data_len != 0 || alloc->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    v = object_create(c, sizeof(*v), OBJECT_VIOMMU);
    if (v == NULL)
        return -NIDUS_ENOMEM;
    v->parent = parent;
    v->unit = device->device.unit;
    parent->object.users++;
    alloc->out_viommu_id = v->object.id;
    call->answer = true;
    return 0;
}

void viommu_free(struct iommu_context *c, struct viommu *v)
{
    v->parent->object.users--;
    platform_free(c->guest, v, sizeof(*v));
}

/* Devices --------------------------------------------------------------------------------------------- */

static bool is_named(const struct iommu_context *c, const struct viommu *v, uint64_t virt_id)
{
    for (uint32_t id = 1; id < OBJECT_SLOTS; id++) {
        const struct vdevice *d = (const struct vdevice *)object_get(c, id, OBJECT_VDEVICE);

        if (d != NULL && d->viommu == v && d->virt_id == virt_id)
            return true;
    }
    return false;
}

int call_vdevice_alloc(struct call *call)
{
    struct nidus_vdevice_alloc *alloc = &call->vdevice_alloc;
    struct iommu_context *c = call->context;
    struct viommu *v = (struct viommu *)object_get(c, alloc->viommu_id, OBJECT_VIOMMU);
    struct assigned *device = (struct assigned *)object_get(c, alloc->dev_id, OBJECT_DEVICE);
    struct vdevice *d;

    if (alloc->virt_id > UINT32_MAX)
        return -NIDUS_EINVAL;
    if (v == NULL || device == NULL)
        return -NIDUS_ENOENT;
    if (device->device.unit != v->unit)
        return -NIDUS_EINVAL;
    if (device->vdevice != NULL || is_named(c, v, alloc->virt_id))
        return -NIDUS_EEXIST;
    d = object_create(c, sizeof(*d), OBJECT_VDEVICE);
    if (d == NULL)
        return -NIDUS_ENOMEM;
    d->viommu = v;
    d->device = device;
    d->virt_id = (uint32_t)alloc->virt_id;
    v->object.users++;
    platform_lock(&c->event_lock);
    device->vdevice = d;
    platform_unlock(&c->event_lock);
    alloc->out_vdevice_id = d->object.id;
    call->answer = true;
    return 0;
}

void vdevice_free(struct iommu_context *c, struct vdevice *d)
{
    platform_lock(&c->event_lock);
    d->device->vdevice = NULL;
    platform_unlock(&c->event_lock);
    d->viommu->object.users--;
    platform_free(c->guest, d, sizeof(*d));
}

/* Their faults ---------------------------------------------------------------------------------------- */

static const struct channel_kind veventq_kind = { OBJECT_VEVENTQ, fault_events_read, NULL };

static struct veventq *veventq_create(struct iommu_context *c, unsigned depth)
{
    struct fault_ring *ring = fault_ring_create(c, depth);
    struct veventq *q = ring != NULL ? channel_create(c, sizeof(*q), &veventq_kind) : NULL;

    if (q != NULL)
        q->ring = ring;
    else if (ring != NULL)
        fault_ring_free(c, ring);
    return q;
}

int call_veventq_alloc(struct call *call)
{
    struct nidus_veventq_alloc *alloc = &call->veventq_alloc;
    struct iommu_context *c = call->context;
    struct veventq *q;
    struct viommu *v;

    if (alloc->flags != 0 || alloc->reserved != 0 || alloc->type == NIDUS_VEVENTQ_TYPE_DEFAULT)
        return -NIDUS_EOPNOTSUPP;
    if (alloc->veventq_depth == 0)
        return -NIDUS_EINVAL;
    v = (struct viommu *)object_get(c, alloc->viommu_id, OBJECT_VIOMMU);
    if (v == NULL)
        return -NIDUS_ENOENT;
    if (alloc->type != NIDUS_VEVENTQ_TYPE_VTD_FAULT)
        return -NIDUS_EOPNOTSUPP;
    if (v->faults != NULL)
        return -NIDUS_EEXIST;
    q = alloc->veventq_depth <= FAULT_RECORDS ? veventq_create(c, alloc->veventq_depth) : NULL;
    if (q == NULL)
        return -NIDUS_ENOMEM;
    q->viommu = v;
    v->object.users++;
    platform_lock(&c->event_lock);
    v->faults = q;
    platform_unlock(&c->event_lock);
    alloc->out_veventq_id = q->channel.object.id;
    alloc->out_veventq_fd = q->channel.number;
    call->answer = true;
    return 0;
}

void veventq_free(struct iommu_context *c, struct veventq *q)
{
    platform_lock(&c->event_lock);
    q->viommu->faults = NULL;
    platform_unlock(&c->event_lock);
    q->viommu->object.users--;
    fault_ring_free(c, q->ring);
    channel_destroy(c, &q->channel, sizeof(*q));
}
