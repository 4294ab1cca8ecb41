/* SPDX-License-Identifier: BSD-2-Clause */
/* iova.c: which IOVAs of an IOAS may be used, and which are chosen. */
#include "iommu/objects.h"

/* An IOVA that nidus chooses is aligned as user_va is, up to a large page. */
#define CHOSEN_ALIGNMENT_MAX (2ULL << 20)

/* First IOVA that some table of the IOAS does not reach. */
static uint64_t ioas_limit(const struct ioas *ioas)
{
    uint64_t limit = IOVA_LIMIT;

    for (const struct paging *p = ioas->hwpts; p != NULL; p = p->next)
        if (p->domain.table.limit < limit)
            limit = p->domain.table.limit;
    return limit;
}

/* The lowest range in [first, last] that may not be used: interrupts, RMRRs of the tables' devices, what a table does not reach. */
static bool next_reserved(const struct ioas *ioas, uint64_t first, uint64_t last, struct nidus_iova_range *out)
{
    struct nidus_iova_range r;

    *out = (struct nidus_iova_range){ ioas_limit(ioas), UINT64_MAX };
    if (first <= INTERRUPT_RANGE_LAST && last >= INTERRUPT_RANGE_FIRST)
        *out = (struct nidus_iova_range){ INTERRUPT_RANGE_FIRST, INTERRUPT_RANGE_LAST };
    for (const struct paging *p = ioas->hwpts; p != NULL; p = p->next)
        if (engine_domain_reserved(&p->domain, first, last, &r.start, &r.last) && r.start < out->start)
            *out = r;
    return out->start <= last;
}

/* Does the domain not reach a part of [first, last], or has its device an RMRR there? */
static bool collides(const struct domain *d, uint64_t first, uint64_t last)
{
    struct nidus_iova_range r;

    return last >= d->table.limit || engine_domain_reserved(d, first, last, &r.start, &r.last);
}

bool iova_collide(const struct area *list, const struct domain *d)
{
    for (const struct area *a = list; a != NULL; a = a->next)
        if (collides(d, a->iova, area_last(a)))
            return true;
    return false;
}

/* Is any of [first, last] reserved?  As next_reserved, which says what. */
static bool is_reserved(const struct ioas *ioas, uint64_t first, uint64_t last)
{
    if (last >= IOVA_LIMIT || (first <= INTERRUPT_RANGE_LAST && last >= INTERRUPT_RANGE_FIRST))
        return true;
    for (const struct paging *p = ioas->hwpts; p != NULL; p = p->next)
        if (collides(&p->domain, first, last))
            return true;
    return false;
}

int iova_check(struct ioas *ioas, uint64_t iova, uint64_t length)
{
    uint64_t last = iova + length - 1;
    const struct area *next;

    if ((iova | length) % PAGE_SIZE != 0)
        return -NIDUS_EINVAL;
    if (last < iova)
        return -NIDUS_EOVERFLOW;
    if (is_reserved(ioas, iova, last))
        return -NIDUS_EINVAL;
    next = *ioas_area_link(ioas, iova);
    return next != NULL && next->iova <= last ? -NIDUS_EEXIST : 0;
}

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

/* As Linux aligns: as the memory is, but no more than the length rounded up to a power of two. */
static uint64_t chosen_alignment(uint64_t gpa, uint64_t length)
{
    uint64_t alignment = PAGE_SIZE;

    while (alignment < CHOSEN_ALIGNMENT_MAX && alignment < length && gpa % (2 * alignment) == 0)
        alignment *= 2;
    return alignment;
}

/* The lowest free range in [first, last], not at 0.  All tables reach last, so what is reserved there ends. */
static int choose_within(const struct ioas *ioas, uint64_t first, uint64_t last, uint64_t length, uint64_t alignment, uint64_t *iova)
{
    uint64_t candidate = first == 0 ? alignment : align_up(first, alignment);
    struct nidus_iova_range reserved = { 0 };
    const struct area *a = ioas->areas;

    while (candidate <= last && last - candidate >= length - 1) {
        while (a != NULL && area_last(a) < candidate)
            a = a->next;
        if (reserved.last < candidate) /* the next one is behind */
            next_reserved(ioas, candidate, UINT64_MAX, &reserved);
        if (reserved.start <= candidate + length - 1) {
            candidate = align_up(reserved.last + 1, alignment);
        } else if (a != NULL && a->iova <= candidate + length - 1) {
            candidate = align_up(area_last(a) + 1, alignment);
        } else {
            *iova = candidate;
            return 0;
        }
    }
    return -NIDUS_ENOSPC;
}

int iova_choose(const struct ioas *ioas, uint64_t gpa, uint64_t length, uint64_t *iova)
{
    uint64_t alignment = chosen_alignment(gpa, length);

    if (ioas->allowed == NULL)
        return choose_within(ioas, 0, ioas_limit(ioas) - 1, length, alignment, iova);
    for (const struct area *a = ioas->allowed; a != NULL; a = a->next) {
        uint64_t first = a->iova;

        /* Ranges that touch are one. */
        while (a->next != NULL && a->next->iova == area_last(a) + 1)
            a = a->next;
        if (choose_within(ioas, first, area_last(a), length, alignment, iova) == 0)
            return 0;
    }
    return -NIDUS_ENOSPC;
}

/* Calls ---------------------------------------------------------------------------------------------- */

/* The ranges between the reserved ones; those that the guest has room for are written. */
static int write_ranges(const struct call *call, const struct ioas *ioas, uint32_t room, uint32_t *count)
{
    struct nidus_iova_range hole = { 0 }, reserved;

    while (next_reserved(ioas, hole.start, UINT64_MAX, &reserved)) {
        hole.last = reserved.start - 1;
        if (reserved.start > hole.start) {
            if (*count < room && platform_guest_write(call->context->guest, call->iova_ranges.allowed_iovas + *count * sizeof(hole), &hole,
                                                      sizeof(hole)) != 0)
                return -NIDUS_EFAULT;
            ++*count;
        }
        if (reserved.last == UINT64_MAX)
            break;
        hole.start = reserved.last + 1;
    }
    return *count > room ? -NIDUS_EMSGSIZE : 0;
}

int call_ioas_iova_ranges(struct call *call)
{
    struct nidus_ioas_iova_ranges *ranges = &call->iova_ranges;
    uint32_t room = ranges->num_iovas;
    const struct ioas *ioas;
    int error;

    if (ranges->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    ioas = ioas_get(call, ranges->ioas_id);
    if (ioas == NULL)
        return -NIDUS_ENOENT;
    ranges->num_iovas = 0;
    ranges->out_iova_alignment = PAGE_SIZE;
    error = write_ranges(call, ioas, room, &ranges->num_iovas);
    call->answer = error != -NIDUS_EFAULT;
    return error;
}

/* Adds the guest's ranges to *list, which is sorted.  One that is reserved is an error once all are good. */
static int read_allowed(const struct call *call, const struct ioas *ioas, struct area **list)
{
    const struct nidus_ioas_allow_iovas *allow = &call->allow_iovas;
    struct nidus_iova_range r;
    int result = 0, error = 0;

    for (uint32_t i = 0; i < allow->num_iovas && error == 0; i++) {
        struct area **link;

        error = platform_guest_read(call->context->guest, allow->allowed_iovas + i * sizeof(r), &r, sizeof(r));
        if (error != 0)
            return error;
        if (r.start >= r.last)
            return -NIDUS_EINVAL;
        link = area_link(list, r.start);
        if (*link != NULL && (*link)->iova <= r.last)
            return -NIDUS_EINVAL;
        if (is_reserved(ioas, r.start, r.last))
            result = -NIDUS_EADDRINUSE;
        error = i == MAX_ALLOWED ? -NIDUS_ENOMEM
                                 : area_hold(call->context, link, &(struct area){ .iova = r.start, .length = r.last - r.start + 1 });
    }
    return error != 0 ? error : result;
}

int call_ioas_allow_iovas(struct call *call)
{
    struct area *list = NULL, *old;
    struct ioas *ioas;
    int error;

    if (call->allow_iovas.reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    ioas = ioas_get(call, call->allow_iovas.ioas_id);
    if (ioas == NULL)
        return -NIDUS_ENOENT;
    error = read_allowed(call, ioas, &list);
    if (error == 0) {
        old = ioas->allowed;
        ioas->allowed = list;
        list = old;
    }
    areas_free(call->context, &list);
    return error;
}
