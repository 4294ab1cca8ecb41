/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ioas.c: I/O address spaces: which IOVA is which of the guest's memory.
 *
 * The areas of an IOAS are mapped in every paging HWPT made from it, always in all or in none.
 */
#include "iommu/objects.h"

#define MAP_FLAGS (NIDUS_IOAS_MAP_FIXED_IOVA | NIDUS_IOAS_MAP_WRITEABLE | NIDUS_IOAS_MAP_READABLE)
/* An IOVA that nidus chooses is aligned as user_va is, up to a large page. */
#define CHOSEN_ALIGNMENT_MAX (2ULL << 20)

/* Areas in the domains ------------------------------------------------------------------------------- */

/* Unmaps a range of whole areas that was not merged with others, which splits no leaf and so needs no memory. */
static void domain_forget(const struct iommu_context *c, struct domain *d, uint64_t iova, uint64_t length)
{
    int error = engine_domain_unmap(d, iova, length);

    if (error != 0)
        platform_guest_log(c->guest, "IOVA 0x%llx to 0x%llx stays mapped after a failed call (error %d)", (unsigned long long)iova,
                           (unsigned long long)(iova + length - 1), -error);
}

/* One area in one domain; nothing of it when that fails. */
static int domain_map(const struct iommu_context *c, struct domain *d, const struct area *a)
{
    uint64_t done = 0, hpa, run;

    while (done < a->length) {
        int error = platform_guest_ram(c->guest, a->gpa + done, &hpa, &run);

        if (error == 0) {
            if (run > a->length - done)
                run = a->length - done;
            error = engine_domain_map(d, a->iova + done, hpa, run, a->prot);
        }
        if (error != 0) {
            /* -EIO may have come after the entries were written. */
            uint64_t written = error == -NIDUS_EIO ? done + run : done;

            if (written != 0)
                domain_forget(c, d, a->iova, written);
            return error;
        }
        done += run;
    }
    return 0;
}

/* One area in every domain of the IOAS, or in none. */
static int map_everywhere(const struct iommu_context *c, struct ioas *ioas, const struct area *a)
{
    int error = 0;

    for (struct paging *p = ioas->hwpts; p != NULL && error == 0; p = p->next)
        error = engine_domain_allows(&p->domain, a->prot);
    if (error != 0)
        return error;
    for (struct paging *p = ioas->hwpts; p != NULL; p = p->next) {
        error = domain_map(c, &p->domain, a);
        if (error == 0)
            continue;
        for (struct paging *undo = ioas->hwpts; undo != p; undo = undo->next)
            domain_forget(c, &undo->domain, a->iova, a->length);
        return error;
    }
    for (struct paging *p = ioas->hwpts; p != NULL; p = p->next)
        engine_domain_merge(&p->domain, a->iova, a->length);
    return 0;
}

/* The list of areas ---------------------------------------------------------------------------------- */

static uint64_t area_last(const struct area *a)
{
    return a->iova + a->length - 1;
}

/* The link to the first area that ends at or behind iova. */
static struct area **area_link(struct ioas *ioas, uint64_t iova)
{
    struct area **link = &ioas->areas;

    while (*link != NULL && area_last(*link) < iova)
        link = &(*link)->next;
    return link;
}

static struct area *area_alloc(struct iommu_context *c)
{
    struct area *a = c->areas < MAX_AREAS ? platform_alloc(c->guest, sizeof(*a)) : NULL;

    if (a != NULL)
        c->areas++;
    return a;
}

static void area_free(struct iommu_context *c, struct area *a)
{
    c->areas--;
    platform_free(c->guest, a, sizeof(*a));
}

/* Maps a copy of *wanted and puts it into the list; the range is free. */
static int area_add(struct iommu_context *c, struct ioas *ioas, const struct area *wanted)
{
    struct area **link = area_link(ioas, wanted->iova), *a = area_alloc(c);
    int error;

    if (a == NULL)
        return -NIDUS_ENOMEM;
    *a = *wanted;
    error = map_everywhere(c, ioas, a);
    if (error != 0) {
        area_free(c, a);
        return error;
    }
    a->next = *link;
    *link = a;
    return 0;
}

/* Which IOVAs may be used ---------------------------------------------------------------------------- */

/* First IOVA that some table of the IOAS does not reach. */
static uint64_t ioas_limit(const struct ioas *ioas)
{
    uint64_t limit = IOVA_LIMIT;

    for (const struct paging *p = ioas->hwpts; p != NULL; p = p->next)
        if (stage2_limit(&p->domain.table) < limit)
            limit = stage2_limit(&p->domain.table);
    return limit;
}

static bool is_reserved(uint64_t iova, uint64_t length)
{
    return iova <= INTERRUPT_RANGE_LAST && iova + length - 1 >= INTERRUPT_RANGE_FIRST;
}

/* May this range be mapped?  length is not 0. */
static int check_iova(struct ioas *ioas, uint64_t iova, uint64_t length)
{
    const struct area *next;

    if (iova % PAGE_SIZE != 0 || length % PAGE_SIZE != 0)
        return -NIDUS_EINVAL;
    if (iova + length - 1 < iova)
        return -NIDUS_EOVERFLOW;
    if (is_reserved(iova, length) || iova + length - 1 >= ioas_limit(ioas))
        return -NIDUS_EINVAL;
    next = *area_link(ioas, iova);
    return next != NULL && next->iova <= iova + length - 1 ? -NIDUS_EEXIST : 0;
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

/* The lowest free range, not at 0. */
static int choose_iova(const struct ioas *ioas, const struct area *wanted, uint64_t *iova)
{
    uint64_t alignment = chosen_alignment(wanted->gpa, wanted->length), limit = ioas_limit(ioas);
    uint64_t candidate = alignment;
    const struct area *a = ioas->areas;

    if (wanted->length > limit)
        return -NIDUS_ENOSPC;
    while (candidate <= limit - wanted->length) {
        while (a != NULL && area_last(a) < candidate)
            a = a->next;
        if (is_reserved(candidate, wanted->length)) {
            candidate = align_up(INTERRUPT_RANGE_LAST + 1, alignment);
        } else if (a != NULL && a->iova <= candidate + wanted->length - 1) {
            candidate = align_up(area_last(a) + 1, alignment);
        } else {
            *iova = candidate;
            return 0;
        }
    }
    return -NIDUS_ENOSPC;
}

/* IOASes --------------------------------------------------------------------------------------------- */

struct ioas *ioas_create(struct iommu_context *c)
{
    struct ioas *ioas = platform_alloc(c->guest, sizeof(*ioas));

    if (ioas != NULL && object_add(c, &ioas->object, OBJECT_IOAS) != 0) {
        platform_free(c->guest, ioas, sizeof(*ioas));
        return NULL;
    }
    return ioas;
}

void ioas_free(struct iommu_context *c, struct ioas *ioas)
{
    while (ioas->areas != NULL) {
        struct area *a = ioas->areas;

        ioas->areas = a->next;
        area_free(c, a);
    }
    platform_free(c->guest, ioas, sizeof(*ioas));
}

int ioas_map_ram(struct iommu_context *c, struct ioas *ioas)
{
    struct area a = { .prot = STAGE2_READ | STAGE2_WRITE, .divisible = true };

    for (unsigned i = 0; platform_guest_region(c->guest, i, &a.gpa, &a.length); i++) {
        int error;

        a.iova = a.gpa;
        error = area_add(c, ioas, &a);
        if (error != 0)
            return error;
    }
    return 0;
}

int ioas_add_hwpt(struct iommu_context *c, struct ioas *ioas, struct paging *paging)
{
    for (const struct area *a = ioas->areas; a != NULL; a = a->next)
        if (area_last(a) >= stage2_limit(&paging->domain.table))
            return -NIDUS_EADDRINUSE;
    for (const struct area *a = ioas->areas; a != NULL; a = a->next) {
        int error = domain_map(c, &paging->domain, a);

        if (error != 0)
            return error;
        engine_domain_merge(&paging->domain, a->iova, a->length);
    }
    paging->ioas = ioas;
    paging->next = ioas->hwpts;
    ioas->hwpts = paging;
    ioas->object.users++;
    return 0;
}

void ioas_remove_hwpt(struct paging *paging)
{
    struct paging **link = &paging->ioas->hwpts;

    while (*link != paging)
        link = &(*link)->next;
    *link = paging->next;
    paging->ioas->object.users--;
}

/* Calls ---------------------------------------------------------------------------------------------- */

int call_ioas_alloc(struct call *call)
{
    struct ioas *ioas;

    if (call->ioas_alloc.flags != 0)
        return -NIDUS_EOPNOTSUPP;
    ioas = ioas_create(call->context);
    if (ioas == NULL)
        return -NIDUS_ENOMEM;
    call->ioas_alloc.out_ioas_id = ioas->object.id;
    call->answer = true;
    return 0;
}

/* The checks that concern the memory alone. */
static int check_memory(const struct nidus_ioas_map *map)
{
    if (map->length == 0)
        return -NIDUS_EINVAL;
    if (map->user_va + map->length < map->user_va)
        return -NIDUS_EOVERFLOW;
    return map->user_va % PAGE_SIZE != 0 || map->length % PAGE_SIZE != 0 ? -NIDUS_EINVAL : 0;
}

int call_ioas_map(struct call *call)
{
    struct nidus_ioas_map *map = &call->ioas_map;
    struct iommu_context *c = call->context;
    struct area area = { .iova = map->iova, .length = map->length, .gpa = map->user_va };
    struct ioas *ioas;
    int error;

    if ((map->flags & ~MAP_FLAGS) != 0 || map->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    if (map->iova == UINT64_MAX || map->length == UINT64_MAX)
        return -NIDUS_EOVERFLOW;
    area.prot = (map->flags & NIDUS_IOAS_MAP_READABLE ? STAGE2_READ : 0) | (map->flags & NIDUS_IOAS_MAP_WRITEABLE ? STAGE2_WRITE : 0);
    if (area.prot == 0)
        return -NIDUS_EINVAL;
    ioas = (struct ioas *)object_get(c, map->ioas_id, OBJECT_IOAS);
    if (ioas == NULL)
        return -NIDUS_ENOENT;
    error = check_memory(map);
    if (error == 0)
        error = map->flags & NIDUS_IOAS_MAP_FIXED_IOVA ? check_iova(ioas, map->iova, map->length) : choose_iova(ioas, &area, &area.iova);
    if (error != 0)
        return error;
    if (!is_guest_ram(c->guest, map->user_va, map->length))
        return -NIDUS_EFAULT;
    error = area_add(c, ioas, &area);
    if (error != 0)
        return error;
    map->iova = area.iova;
    call->answer = true;
    return 0;
}

/* The part of *a that lies in [first, last]. */
static void clip(const struct area *a, uint64_t first, uint64_t last, uint64_t *iova, uint64_t *length)
{
    uint64_t end = area_last(a) < last ? area_last(a) : last;

    *iova = a->iova > first ? a->iova : first;
    *length = end - *iova + 1;
}

/* Takes [iova, iova + length) out of the area at *link; behind: an area for what is left behind it, when there is a part before it too.
 * Returns the link to what follows. */
static struct area **area_cut(struct iommu_context *c, struct area **link, uint64_t iova, uint64_t length, struct area **behind)
{
    struct area *a = *link;
    uint64_t before = iova - a->iova, after = area_last(a) - (iova + length - 1);

    if (before != 0 && after != 0) {
        **behind = *a;
        a->next = *behind;
        a = *behind;
        *behind = NULL;
        (*link)->length = before;
        link = &(*link)->next;
    } else if (before != 0) {
        a->length = before;
        return &a->next;
    }
    if (after == 0) {
        *link = a->next;
        area_free(c, a);
        return link;
    }
    a->gpa += a->length - after;
    a->iova += a->length - after;
    a->length = after;
    return &a->next;
}

/* May [first, last] be unmapped?  *middle: an area stays on both sides of it. */
static int check_unmap(struct ioas *ioas, uint64_t first, uint64_t last, bool *middle)
{
    const struct area *a = *area_link(ioas, first);

    *middle = false;
    if (a == NULL || a->iova > last)
        return -NIDUS_ENOENT;
    for (; a != NULL && a->iova <= last; a = a->next) {
        if (a->iova >= first && area_last(a) <= last)
            continue;
        if (!a->divisible)
            return -NIDUS_ENOENT;
        if (first % PAGE_SIZE != 0 || (last + 1) % PAGE_SIZE != 0)
            return -NIDUS_EINVAL;
        *middle |= a->iova < first && area_last(a) > last;
    }
    return 0;
}

/* The next part of [first, last] that is mapped without a gap, from area *a on; *a goes on behind it.  false: there is no more. */
static bool next_run(const struct area **a, uint64_t first, uint64_t last, uint64_t *iova, uint64_t *length)
{
    struct area run;

    if (*a == NULL || (*a)->iova > last)
        return false;
    run = **a;
    while ((*a = (*a)->next) != NULL && (*a)->iova == area_last(&run) + 1 && (*a)->iova <= last)
        run.length += (*a)->length;
    clip(&run, first, last, iova, length);
    return true;
}

/*
 * Before anything is unmapped: the large pages that reach beyond a run are split in every domain, the only thing that takes memory.
 * -ENOMEM: the devices find no difference, and what could be split is merged again.
 */
static int split_everywhere(struct ioas *ioas, uint64_t first, uint64_t last)
{
    const struct area *a = *area_link(ioas, first);
    uint64_t iova, length;
    int error = 0;

    while (error == 0 && next_run(&a, first, last, &iova, &length))
        for (struct paging *p = ioas->hwpts; p != NULL && error == 0; p = p->next)
            error = engine_domain_split(&p->domain, iova, length);
    if (error == 0)
        return 0;
    for (a = *area_link(ioas, first); next_run(&a, first, last, &iova, &length); )
        for (struct paging *p = ioas->hwpts; p != NULL; p = p->next)
            engine_domain_merge(&p->domain, iova, length);
    return error;
}

/* -EIO: all is gone from all tables, but a unit did not answer. */
static int unmap_everywhere(struct ioas *ioas, uint64_t first, uint64_t last)
{
    const struct area *a = *area_link(ioas, first);
    uint64_t iova, length;
    int result = 0;

    while (next_run(&a, first, last, &iova, &length))
        for (struct paging *p = ioas->hwpts; p != NULL; p = p->next)
            if (engine_domain_unmap(&p->domain, iova, length) != 0)
                result = -NIDUS_EIO;
    return result;
}

/* Unmaps what lies in [first, last], which check_unmap has allowed: all of it or, -ENOMEM, nothing. */
static int unmap_areas(struct iommu_context *c, struct ioas *ioas, uint64_t first, uint64_t last, struct area **behind, uint64_t *unmapped)
{
    struct area **link = area_link(ioas, first);
    int error = split_everywhere(ioas, first, last);

    if (error != 0)
        return error;
    error = unmap_everywhere(ioas, first, last);
    while (*link != NULL && (*link)->iova <= last) {
        uint64_t iova, length;

        clip(*link, first, last, &iova, &length);
        *unmapped += length;
        link = area_cut(c, link, iova, length, behind);
    }
    return error;
}

int call_ioas_unmap(struct call *call)
{
    struct nidus_ioas_unmap *unmap = &call->ioas_unmap;
    struct iommu_context *c = call->context;
    struct ioas *ioas = (struct ioas *)object_get(c, unmap->ioas_id, OBJECT_IOAS);
    bool all = unmap->iova == 0 && unmap->length == UINT64_MAX, middle = false;
    uint64_t last = all ? UINT64_MAX : unmap->iova + unmap->length - 1, unmapped = 0;
    struct area *behind = NULL;
    int error = 0;

    if (ioas == NULL)
        return -NIDUS_ENOENT;
    if (!all && (unmap->iova == UINT64_MAX || unmap->length == UINT64_MAX))
        return -NIDUS_EOVERFLOW;
    if (unmap->length == 0)
        return -NIDUS_EINVAL;
    if (last < unmap->iova)
        return -NIDUS_EOVERFLOW;
    if (!all)
        error = check_unmap(ioas, unmap->iova, last, &middle);
    if (error == 0 && middle) {
        behind = area_alloc(c);
        error = behind == NULL ? -NIDUS_ENOMEM : 0;
    }
    if (error == 0)
        error = unmap_areas(c, ioas, unmap->iova, last, &behind, &unmapped);
    if (behind != NULL)
        area_free(c, behind);
    if (error != 0)
        return error;
    unmap->length = unmapped;
    call->answer = true;
    return 0;
}
