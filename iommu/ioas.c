/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ioas.c: I/O address spaces: which IOVA is which of the guest's memory.
 *
 * The areas of an IOAS are mapped in every paging HWPT made from it, always in all or in none: new ones are mapped everywhere before
 * they join the IOAS's list, and those that go leave it before they are unmapped.  Both are done in steps.
 */
#include "iommu/objects.h"

#define MAP_FLAGS (NIDUS_IOAS_MAP_FIXED_IOVA | NIDUS_IOAS_MAP_WRITEABLE | NIDUS_IOAS_MAP_READABLE)

/* Areas in the tables -------------------------------------------------------------------------------- */

static struct area *work_areas(const struct work *w)
{
    return w->only != NULL ? w->ioas->areas : w->held;
}

/* What w is for: areas of ioas, in all its tables. */
static void work_init(struct work *w, struct ioas *ioas, struct area *held, bool tells)
{
    w->ioas = ioas;
    w->held = held;
    w->only = NULL;
    w->hpa = 0;
    w->tells = tells;
    w->mergeable = w->merging = false;
    w->error = w->unmap_error = 0;
}

void work_begin(struct work *w)
{
    w->paging = w->only != NULL ? w->only : w->ioas->hwpts;
    w->area = work_areas(w);
    w->done = 0;
}

static inline int map_part(struct call *call, uint64_t *length, unsigned *entries)
{
    struct work *w = &call->work;
    struct stage2 *table = &w->paging->domain.table;
    const struct area *a = w->area;
    unsigned prot = a->prot | (w->ioas->small_pages ? STAGE2_SMALL : 0);
    uint64_t left = a->length - w->done, hpa = w->hpa + w->done, run = left;
    int error = 0;

    if (w->hpa == 0)
        error = platform_guest_memory(call->context->guest, a->gpa + w->done, &hpa, &run);
    if (error < 0)
        return error;
    table->mergeable = false;
    *length = stage2_map_step(table, a->iova + w->done, hpa, run < left ? run : left, prot, entries);
    error = engine_domain_map(&w->paging->domain, a->iova + w->done, hpa, *length, prot);
    w->mergeable |= table->mergeable;
    return error;
}

/* Goes on whatever happens: what leaves an IOAS has to leave all tables.  It splits no leaf, and so needs no memory. */
static inline int unmap_part(struct call *call, uint64_t *length, unsigned *entries)
{
    struct work *w = &call->work;
    uint64_t iova = w->area->iova + w->done;
    int error;

    *length = stage2_unmap_step(&w->paging->domain.table, iova, w->area->length - w->done, entries);
    error = engine_domain_unmap(&w->paging->domain, iova, *length);
    if (error != 0)
        w->unmap_error = error;
    return 0;
}

/* Once an area is everywhere: a page that reaches beyond it takes memory to unmap it alone. */
static int merge_part(struct call *call, uint64_t *length, unsigned *entries)
{
    struct work *w = &call->work;

    *entries = 0;
    *length = w->area->length;
    w->ioas->merged |= engine_domain_merge(&w->paging->domain, w->area->iova, w->area->length);
    return 0;
}

inline int work_step(struct call *call, work_part *part)
{
    struct work *w = &call->work;
    unsigned spent = 0, entries;
    uint64_t length;

    while (w->paging != NULL && w->area != NULL) {
        int error = spent < STEP_ENTRIES ? part(call, &length, &entries) : CALL_MORE;

        if (error != 0)
            return error;
        spent += entries + STEP_REQUEST;
        w->done += length;
        if (w->done < w->area->length)
            continue;
        w->done = 0;
        w->area = w->area->next;
        if (w->area != NULL)
            continue;
        w->paging = w->only != NULL ? NULL : w->paging->next;
        w->area = work_areas(w);
    }
    return 0;
}

int ioas_fill(struct call *call)
{
    struct work *w = &call->work;
    int error = w->merging ? 0 : work_step(call, map_part);

    if (error != 0 || !w->mergeable || w->ioas->small_pages)
        return error;
    if (!w->merging) {
        w->merging = true;
        work_begin(w);
    }
    return work_step(call, merge_part);
}

/* Of IOAS_UNMAP, and of a map that failed: nothing is left of the areas when it is done. */
static int unmap_held(struct call *call)
{
    struct work *w = &call->work;

    if (work_step(call, unmap_part) == CALL_MORE)
        return CALL_MORE;
    if (w->error != 0 && w->unmap_error != 0)
        platform_guest_log(call->context->guest, "IOVA 0x%llx to 0x%llx stays mapped after a failed call (error %d)",
                           (unsigned long long)w->held->iova, (unsigned long long)area_last(w->held), -w->unmap_error);
    areas_free(call->context, &w->held);
    call->answer = w->tells && w->error == 0 && w->unmap_error == 0;
    return w->error != 0 ? w->error : w->unmap_error;
}

static int map_held(struct call *call)
{
    struct work *w = &call->work;
    int error = ioas_fill(call);

    if (error == CALL_MORE)
        return error;
    if (error != 0) {
        w->error = error;
        work_begin(w);
        call->resume = unmap_held;
        return unmap_held(call);
    }
    ioas_areas_join(w->ioas, &w->held);
    call->answer = w->tells;
    return 0;
}

/* May the areas that call->work holds be mapped in all tables?  Then they are. */
static inline int map_everywhere(struct call *call)
{
    struct work *w = &call->work;
    int error = 0;

    if (!(w->held->prot & STAGE2_WRITE))
        for (struct paging *p = w->ioas->hwpts; p != NULL && error == 0; p = p->next)
            error = engine_domain_allows(&p->domain, w->held->prot);
    if (error != 0) {
        areas_free(call->context, &w->held);
        return error;
    }
    work_begin(w);
    call->resume = map_held;
    return map_held(call);
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
    areas_free(c, &ioas->areas);
    areas_free(c, &ioas->allowed);
    platform_free(c->guest, ioas, sizeof(*ioas));
}

int ioas_map_ram(struct iommu_context *c, struct ioas *ioas)
{
    struct area a = { .divisible = true }, *one = NULL;
    uint64_t hpa, run;

    for (unsigned i = 0; platform_guest_region(c->guest, i, &a.gpa, &a.length); i++) {
        a.iova = a.gpa;
        a.writeable = platform_guest_memory(c->guest, a.gpa, &hpa, &run) & PLATFORM_WRITE;
        a.prot = STAGE2_READ | (a.writeable ? STAGE2_WRITE : 0);
        if (!a.writeable && c->nested && engine_erratum_772415() != NULL) { /* the IOAS could have no nest parent */
            platform_guest_log(c->guest, "0x%llx to 0x%llx, which it may only read, is left out of its default IOAS: erratum 772415, and nested = on",
                               (unsigned long long)a.gpa, (unsigned long long)(a.gpa + a.length - 1));
            continue;
        }
        if (area_hold(c, &one, &a) != 0)
            return -NIDUS_ENOMEM;
        ioas_areas_join(ioas, &one);
    }
    return 0;
}

int ioas_add_hwpt(struct ioas *ioas, struct paging *paging)
{
    if (iova_collide(ioas->areas, &paging->domain) || iova_collide(ioas->allowed, &paging->domain))
        return -NIDUS_EADDRINUSE;
    for (const struct area *a = ioas->areas; a != NULL; a = a->next)
        if (engine_domain_allows(&paging->domain, a->prot) != 0)
            return -NIDUS_EINVAL;
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

struct ioas *ioas_get(const struct call *call, uint32_t id)
{
    return (struct ioas *)object_get(call->context, id, OBJECT_IOAS);
}

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

/* Where the memory goes: as the guest says, or map->iova is chosen.  In Linux's order. */
static int place_map(struct ioas *ioas, struct nidus_ioas_map *map)
{
    int error;

    if (map->length == 0)
        return -NIDUS_EINVAL;
    if (map->user_va + map->length < map->user_va)
        return -NIDUS_EOVERFLOW;
    if ((map->flags & NIDUS_IOAS_MAP_FIXED_IOVA) == 0)
        return (map->user_va | map->length) % PAGE_SIZE != 0 ? -NIDUS_EINVAL : iova_choose(ioas, map->user_va, map->length, &map->iova);
    error = iova_check(ioas, map->iova, map->length);
    return error == 0 && map->user_va % PAGE_SIZE != 0 ? -NIDUS_EINVAL : error;
}

/* Is all of it the guest's memory, with these rights?  *hpa: where it is, when that is one piece; else 0. */
static bool find_memory(struct guest *guest, const struct nidus_ioas_map *map, int rights, uint64_t *hpa)
{
    uint64_t run;
    int has = platform_guest_memory(guest, map->user_va, hpa, &run);

    if (has >= 0 && map->length <= run)
        return (has & rights) == rights;
    *hpa = 0;
    return is_guest_memory(guest, map->user_va, map->length, rights);
}

static unsigned map_prot(uint32_t flags)
{
    return (flags & NIDUS_IOAS_MAP_READABLE ? STAGE2_READ : 0) | (flags & NIDUS_IOAS_MAP_WRITEABLE ? STAGE2_WRITE : 0);
}

int call_ioas_map(struct call *call)
{
    struct nidus_ioas_map *map = &call->ioas_map;
    struct iommu_context *c = call->context;
    unsigned prot = map_prot(map->flags);
    struct ioas *ioas;
    struct area *a;
    uint64_t hpa;
    int error;

    if ((map->flags & ~MAP_FLAGS) != 0 || map->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    if (map->iova == UINT64_MAX || map->length == UINT64_MAX)
        return -NIDUS_EOVERFLOW;
    if (prot == 0)
        return -NIDUS_EINVAL;
    ioas = ioas_get(call, map->ioas_id);
    if (ioas == NULL)
        return -NIDUS_ENOENT;
    error = place_map(ioas, map);
    if (error != 0)
        return error;
    if (!find_memory(c->guest, map, prot & STAGE2_WRITE ? PLATFORM_WRITE : 0, &hpa))
        return -NIDUS_EFAULT;
    a = area_alloc(c);
    if (a == NULL)
        return -NIDUS_ENOMEM;
    a->iova = map->iova;
    a->length = map->length;
    a->gpa = map->user_va;
    a->prot = prot;
    a->writeable = (prot & STAGE2_WRITE) != 0;
    work_init(&call->work, ioas, a, !(map->flags & NIDUS_IOAS_MAP_FIXED_IOVA));
    call->work.hpa = hpa;
    return map_everywhere(call);
}

/* What the source has in the range, as a chain of areas for the destination. */
static int hold_copy(struct call *call, struct ioas *from, unsigned prot)
{
    const struct nidus_ioas_copy *copy = &call->ioas_copy;
    struct area **link = &call->work.held;
    uint64_t at = copy->src_iova, last = at + copy->length - 1;

    for (const struct area *a = *ioas_area_link(from, at); a != NULL && a->iova <= at; a = a->next) {
        uint64_t end = area_last(a) < last ? area_last(a) : last;
        struct area part = { .iova = copy->dst_iova + (at - copy->src_iova), .length = end - at + 1, .gpa = a->gpa + (at - a->iova),
                             .prot = prot, .writeable = a->writeable };
        int error = area_hold(call->context, link, &part);

        if (error != 0 || end == last)
            return error;
        link = &(*link)->next;
        at = end + 1;
    }
    return -NIDUS_ENOENT;
}

/* Where the copy goes. */
static int place_copy(struct call *call)
{
    struct nidus_ioas_copy *copy = &call->ioas_copy;
    uint64_t distance;
    int error;

    call->work.ioas = ioas_get(call, copy->dst_ioas_id);
    if (call->work.ioas == NULL)
        return -NIDUS_ENOENT;
    if ((copy->src_iova | copy->length) % PAGE_SIZE != 0)
        return -NIDUS_EINVAL;
    distance = copy->dst_iova;
    error = copy->flags & NIDUS_IOAS_MAP_FIXED_IOVA
                ? iova_check(call->work.ioas, copy->dst_iova, copy->length)
                : iova_choose(call->work.ioas, call->work.held->gpa, copy->length, &copy->dst_iova);
    distance = copy->dst_iova - distance;
    for (struct area *a = call->work.held; a != NULL && error == 0; a = a->next) {
        a->iova += distance;
        if ((a->prot & STAGE2_WRITE) != 0 && !a->writeable)
            error = -NIDUS_EPERM;
    }
    return error;
}

int call_ioas_copy(struct call *call)
{
    struct nidus_ioas_copy *copy = &call->ioas_copy;
    unsigned prot = map_prot(copy->flags);
    struct ioas *from;
    int error;

    if ((copy->flags & ~MAP_FLAGS) != 0)
        return -NIDUS_EOPNOTSUPP;
    if (copy->length == UINT64_MAX || copy->src_iova == UINT64_MAX || copy->dst_iova == UINT64_MAX)
        return -NIDUS_EOVERFLOW;
    if (prot == 0)
        return -NIDUS_EINVAL;
    from = ioas_get(call, copy->src_ioas_id);
    if (from == NULL)
        return -NIDUS_ENOENT;
    if (copy->length == 0)
        return -NIDUS_EINVAL;
    if (copy->src_iova + copy->length - 1 < copy->src_iova)
        return -NIDUS_EOVERFLOW;
    work_init(&call->work, NULL, NULL, !(copy->flags & NIDUS_IOAS_MAP_FIXED_IOVA));
    error = hold_copy(call, from, prot);
    if (error == 0)
        error = place_copy(call);
    if (error == 0)
        return map_everywhere(call);
    areas_free(call->context, &call->work.held);
    return error;
}

/* May [first, last] be unmapped, where a is the first area?  *mapped: from the first to the last IOVA in it that is.  *cut: an area reaches beyond it. */
static int check_unmap(const struct area *a, uint64_t first, uint64_t last, struct nidus_iova_range *mapped, bool *cut)
{
    if (a == NULL || a->iova > last)
        return -NIDUS_ENOENT;
    mapped->start = a->iova > first ? a->iova : first;
    do {
        mapped->last = area_last(a) < last ? area_last(a) : last;
        if (a->iova >= first && area_last(a) <= last)
            continue;
        *cut = true;
        if (!a->divisible)
            return -NIDUS_ENOENT;
        if (first % PAGE_SIZE != 0 || (last + 1) % PAGE_SIZE != 0)
            return -NIDUS_EINVAL;
    } while ((a = a->next) != NULL && a->iova <= last);
    return 0;
}

/* Makes the ends of what is mapped in [first, last] ends of leaves in all tables and, where it is cut there, of areas, so that nothing behind
 * this needs memory.  Of leaves that is so but where areas are cut or were merged.  -ENOMEM: devices find no difference, and the leaves that
 * could be split are merged again. */
static int make_borders(struct iommu_context *c, struct ioas *ioas, const struct nidus_iova_range *mapped, bool cut)
{
    uint64_t length = mapped->last - mapped->start + 1;
    unsigned areas = c->areas;
    int error = 0;

    for (struct paging *p = cut || ioas->merged ? ioas->hwpts : NULL; p != NULL && error == 0; p = p->next)
        error = engine_domain_split(&p->domain, mapped->start, length);
    if (error == 0 && cut) {
        error = ioas_area_split(c, ioas, mapped->start);
        if (error == 0)
            error = ioas_area_split(c, ioas, mapped->last + 1);
        if (error != 0 && c->areas != areas)
            ioas_area_unite(c, ioas, *ioas_area_link(ioas, mapped->start - 1));
    }
    for (struct paging *p = ioas->hwpts; p != NULL && error != 0 && !ioas->small_pages; p = p->next)
        ioas->merged |= engine_domain_merge(&p->domain, mapped->start, length);
    return error;
}

int call_ioas_unmap(struct call *call)
{
    struct nidus_ioas_unmap *unmap = &call->ioas_unmap;
    struct ioas *ioas = ioas_get(call, unmap->ioas_id);
    bool all = unmap->iova == 0 && unmap->length == UINT64_MAX;
    uint64_t last = all ? UINT64_MAX : unmap->iova + unmap->length - 1, bytes;
    struct nidus_iova_range mapped;
    struct area **link, *held;
    bool cut = false;
    int error;

    if (ioas == NULL)
        return -NIDUS_ENOENT;
    if (!all && (unmap->iova == UINT64_MAX || unmap->length == UINT64_MAX))
        return -NIDUS_EOVERFLOW;
    if (unmap->length == 0)
        return -NIDUS_EINVAL;
    if (last < unmap->iova)
        return -NIDUS_EOVERFLOW;
    link = ioas_area_link(ioas, unmap->iova);
    if (!all) {
        error = check_unmap(*link, unmap->iova, last, &mapped, &cut);
        if (error == 0)
            error = make_borders(call->context, ioas, &mapped, cut);
        if (error != 0)
            return error;
    }
    if (cut)
        link = ioas_area_link(ioas, unmap->iova);
    held = ioas_areas_leave(ioas, link, last, &bytes);
    work_init(&call->work, ioas, held, bytes != unmap->length);
    unmap->length = bytes;
    for (struct area *a = held; a != NULL; a = a->next) /* a large page may lie across areas */
        while (a->next != NULL && a->next->iova == area_last(a) + 1)
            areas_unite(call->context, a);
    work_begin(&call->work);
    call->resume = unmap_held;
    return unmap_held(call);
}

/* As with Linux, large pages can be given up only while nothing is mapped in a table. */
static int set_huge_pages(struct ioas *ioas, uint64_t value)
{
    if (value > 1 || (value == 0 && !ioas->small_pages && ioas->hwpts != NULL && ioas->areas != NULL))
        return -NIDUS_EINVAL;
    ioas->small_pages = value == 0;
    return 0;
}

int call_option(struct call *call)
{
    struct nidus_option *option = &call->option;
    bool get = option->op == NIDUS_OPTION_OP_GET;
    struct ioas *ioas;

    if (option->reserved != 0 || option->option_id > NIDUS_OPTION_HUGE_PAGES)
        return -NIDUS_EOPNOTSUPP;
    if (option->option_id == NIDUS_OPTION_RLIMIT_MODE && option->object_id != 0)
        return -NIDUS_EOPNOTSUPP;
    ioas = ioas_get(call, option->object_id);
    if (option->option_id == NIDUS_OPTION_HUGE_PAGES && ioas == NULL)
        return -NIDUS_ENOENT;
    if (!get && option->op != NIDUS_OPTION_OP_SET)
        return -NIDUS_EOPNOTSUPP;
    if (get) {
        call->answer = true;
        option->val64 = ioas != NULL && !ioas->small_pages;
        return 0;
    }
    return ioas != NULL ? set_huge_pages(ioas, option->val64) : -NIDUS_EPERM; /* what a guest uses is counted as nidus says */
}
