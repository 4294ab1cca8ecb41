/* SPDX-License-Identifier: BSD-2-Clause */
/* dirty.c: which pages of a second stage devices have written to. */
#include "iommu/objects.h"

/* A part is told of in one step: so much, in whole leaves. */
#define PART (1ULL << 30)

/* Sets the bits of a range in the guest's bitmap, which is RAM. */
static void set_bits(void *context, uint64_t iova, uint64_t size)
{
    const struct call *call = context;
    const struct nidus_hwpt_get_dirty_bitmap *get = &call->get_dirty;
    uint64_t bit = (iova - get->iova) / get->page_size, last = (iova + size - 1 - get->iova) / get->page_size;
    uint8_t bytes[64];

    while (bit <= last) {
        uint64_t at = bit / 8, count = last / 8 - at + 1;

        if (count > sizeof(bytes))
            count = sizeof(bytes);
        platform_guest_read(call->context->guest, get->data + at, bytes, count);
        for (uint64_t i = 0; i < count; i++, bit = 8 * (at + i)) {
            uint8_t from = (uint8_t)(0xff << bit % 8);

            bytes[i] |= last / 8 == at + i ? from & (uint8_t)(0xff >> (7 - last % 8)) : from;
        }
        platform_guest_write(call->context->guest, get->data + at, bytes, count);
    }
}

static void forget(void *context, uint64_t iova, uint64_t size)
{
    (void)context, (void)iova, (void)size;
}

/* An area has no more entries than pages. */
static int part(const struct work *w, uint64_t iova, uint64_t *length, unsigned *entries, bool clear, stage2_sink *sink, void *context)
{
    int error = engine_domain_dirty(&w->only->domain, iova, length, clear, sink, context);

    *entries = *length / PAGE_SIZE < STEP_ENTRIES ? (unsigned)(*length / PAGE_SIZE) : STEP_ENTRIES;
    return error;
}

static int clear_part(struct call *call, uint64_t *length, unsigned *entries)
{
    struct work *w = &call->work;

    *length = w->area->length - w->done;
    return part(w, w->area->iova + w->done, length, entries, true, forget, NULL);
}

static int read_part(struct call *call, uint64_t *length, unsigned *entries)
{
    const struct nidus_hwpt_get_dirty_bitmap *get = &call->get_dirty;
    struct work *w = &call->work;
    uint64_t iova = w->area->iova + w->done, end = area_last(w->area) + 1, last = get->iova + get->length - 1;

    *entries = 0;
    *length = end - iova;
    if (iova > last || end <= get->iova)
        return 0;               /* not asked for */
    if (iova < get->iova) {
        *length = get->iova - iova;
        return 0;
    }
    end = end - 1 < last ? end : last + 1;
    *length = end - iova < PART - iova % PART ? end - iova : PART - iova % PART;
    return part(w, iova, length, entries, !(get->flags & NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), set_bits, call);
}

static int read_more(struct call *call)
{
    return work_step(call, read_part);
}

/* What was written before is forgotten; then writes count. */
static int enable(struct call *call)
{
    int error = work_step(call, clear_part);

    return error != 0 ? error : engine_domain_track(&call->work.only->domain, true);
}

static int start(struct call *call, struct paging *p, int (*step)(struct call *call))
{
    call->work = (struct work){ .ioas = p->ioas, .only = p };
    work_begin(&call->work);
    call->resume = step;
    return step(call);
}

int call_set_dirty_tracking(struct call *call)
{
    const struct nidus_hwpt_set_dirty_tracking *set = &call->set_dirty;
    struct paging *p;

    if ((set->flags & ~NIDUS_HWPT_DIRTY_TRACKING_ENABLE) != 0 || set->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    p = (struct paging *)object_get(call->context, set->hwpt_id, OBJECT_PAGING);
    if (p == NULL)
        return -NIDUS_ENOENT;
    if (!p->domain.dirty)
        return -NIDUS_EOPNOTSUPP;
    if (set->flags & NIDUS_HWPT_DIRTY_TRACKING_ENABLE)
        return start(call, p, enable);
    return p->domain.table.dirty ? engine_domain_track(&p->domain, false) : 0;
}

static int check_range(const struct nidus_hwpt_get_dirty_bitmap *get)
{
    uint64_t page = get->page_size;

    if (get->length == 0)
        return -NIDUS_EINVAL;
    if (get->iova + get->length - 1 < get->iova)
        return -NIDUS_EOVERFLOW;
    if (page < PAGE_SIZE || (page & (page - 1)) != 0 || ((get->iova | get->length) & (page - 1)) != 0)
        return -NIDUS_EINVAL;
    return 0;
}

int call_get_dirty_bitmap(struct call *call)
{
    const struct nidus_hwpt_get_dirty_bitmap *get = &call->get_dirty;
    struct paging *p;
    int error;

    if ((get->flags & ~NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) != 0 || get->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    p = (struct paging *)object_get(call->context, get->hwpt_id, OBJECT_PAGING);
    if (p == NULL)
        return -NIDUS_ENOENT;
    error = check_range(get);
    if (error != 0)
        return error;
    if (!p->domain.dirty)
        return -NIDUS_EOPNOTSUPP;
    if (!p->domain.table.dirty)
        return -NIDUS_EINVAL;
    if (get->data == 0 || !is_guest_memory(call->context->guest, get->data, (get->length / get->page_size - 1) / 8 + 1, PLATFORM_OWN))
        return -NIDUS_EFAULT;
    return start(call, p, read_more);
}
