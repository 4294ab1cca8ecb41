/* SPDX-License-Identifier: BSD-2-Clause */
/* events.c: a guest's event channels: what Linux gives a file descriptor for. */
#include "iommu/iommu.h"
#include "iommu/objects.h"

void *channel_create(struct iommu_context *c, size_t size, const struct channel_kind *kind)
{
    struct channel *channel;
    unsigned number = 1;

    while (number < CHANNELS && c->channel[number] != NULL)
        number++;
    channel = number < CHANNELS ? object_create(c, size, kind->type) : NULL;
    if (channel == NULL)
        return NULL;
    channel->number = number;
    channel->kind = kind;
    c->channel[number] = channel;
    return channel;
}

void channel_destroy(struct iommu_context *c, struct channel *channel, size_t size)
{
    platform_lock(&c->event_lock);
    channel_ready(c, channel, false);
    c->channel[channel->number] = NULL;
    platform_unlock(&c->event_lock);
    platform_free(c->guest, channel, size);
}

uint64_t iommu_channels(const struct iommu_context *c)
{
    uint64_t channels = 0;

    for (unsigned i = 1; i < CHANNELS; i++)
        channels |= c->channel[i] != NULL ? 1ULL << i : 0;
    return channels;
}

uint64_t iommu_ready(const struct iommu_context *c)
{
    return c->ready;
}

void channel_ready(struct iommu_context *c, const struct channel *channel, bool ready)
{
    uint64_t bit = 1ULL << channel->number;

    platform_require_lock(&c->event_lock);
    c->ready = ready ? c->ready | bit : c->ready & ~bit;
}

/* As of Linux's read and write: an error is told when nothing was moved before it. */
static int move(struct call *call, bool write)
{
    struct nidus_event_io *io = &call->event_io;
    struct channel *channel = io->channel < CHANNELS ? call->context->channel[io->channel] : NULL;
    channel_mover *mover;
    uint32_t done = 0;
    int error;

    if (io->flags != 0)
        return -NIDUS_EOPNOTSUPP;
    if (channel == NULL)
        return -NIDUS_ENOENT;
    mover = write ? channel->kind->write : channel->kind->read;
    error = mover != NULL ? mover(call->context, channel, io->data_uptr, io->data_len, &done) : -NIDUS_EINVAL;
    if (error != 0 && done == 0)
        return error;
    io->data_len = done;
    call->answer = true;
    return 0;
}

int call_event_read(struct call *call)
{
    return move(call, false);
}

int call_event_write(struct call *call)
{
    return move(call, true);
}
