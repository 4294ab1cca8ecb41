/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * areas.c: lists of areas, sorted by IOVA.
 *
 * The areas of an IOAS may be thousands.  So every 16th that joins its list is in a fast lane besides, and every 256th in a faster one:
 * lists of their own, in the same order, from which the one below is entered near to where it is looked for.
 *
 *      lane[1]   ──────────────────────────────► a ──────────────────►
 *      lane[0]   ────────► a ──────────────────► a ────────► a ──────►
 *      areas     ► a ► a ► a ► a ► a ► a ► a ► a ► a ► a ► a ► a ► a ►
 *
 * Which ones that are is a matter of speed alone: a guest that unmaps just those walks MAX_AREAS at most.
 */
#include "iommu/objects.h"

#define LANE_STEP 16u           /* so many of a list to one of the lane above it */

inline struct area *area_alloc(struct iommu_context *c)
{
    struct area *a = c->areas < MAX_AREAS ? platform_alloc(c->guest, sizeof(*a)) : NULL;

    if (a != NULL)
        c->areas++;
    return a;
}

int area_hold(struct iommu_context *c, struct area **link, const struct area *wanted)
{
    struct area *a = area_alloc(c);

    if (a == NULL)
        return -NIDUS_ENOMEM;
    *a = *wanted;
    a->next = *link;
    *link = a;
    return 0;
}

inline void areas_free(struct iommu_context *c, struct area **list)
{
    while (*list != NULL) {
        struct area *a = *list;

        *list = a->next;
        c->areas--;
        platform_free(c->guest, a, sizeof(*a));
    }
}

struct area **area_link(struct area **list, uint64_t iova)
{
    struct area **link = list;

    while (*link != NULL && area_last(*link) < iova)
        link = &(*link)->next;
    return link;
}

void areas_unite(struct iommu_context *c, struct area *a)
{
    struct area *behind = a->next;

    a->length += behind->length;
    a->next = behind->next;
    behind->next = NULL;
    areas_free(c, &behind);
}

/* Of an IOAS ----------------------------------------------------------------------------------------- */

/* The link of that lane to the first area in it that ends at or behind iova. */
__attribute__((noinline))
static struct area **lane_link(struct ioas *ioas, unsigned lane, uint64_t iova)
{
    struct area **lanes = ioas->lane;   /* those that lead on from where the search is */

    for (unsigned l = AREA_LANES; l-- > lane;)
        while (lanes[l] != NULL && area_last(lanes[l]) < iova)
            lanes = lanes[l]->lane;
    return &lanes[lane];
}

inline struct area **ioas_area_link(struct ioas *ioas, uint64_t iova)
{
    struct area **link;

    if (ioas->lane[0] == NULL)
        return area_link(&ioas->areas, iova);
    link = lane_link(ioas, 0, iova);
    return area_link(link == &ioas->lane[0] ? &ioas->areas : &CONTAINER(link, struct area, lane[0])->next, iova);
}

/* a is in the list, or about to be: the joined-th. */
__attribute__((noinline))
static void enter_lanes(struct ioas *ioas, struct area *a, unsigned joined)
{
    for (unsigned lane = 0; lane < AREA_LANES && joined % LANE_STEP == 0; lane++, joined /= LANE_STEP) {
        struct area **link = lane_link(ioas, lane, a->iova);

        a->lane[lane] = *link;
        *link = a;
    }
}

static inline void area_joins(struct ioas *ioas, struct area *a)
{
    if (++ioas->joined % LANE_STEP == 0)
        enter_lanes(ioas, a, ioas->joined);
}

inline void ioas_areas_join(struct ioas *ioas, struct area **chain)
{
    struct area **link = ioas_area_link(ioas, (*chain)->iova), *last = *chain;

    for (struct area *a = *chain; a != NULL; last = a, a = a->next)
        area_joins(ioas, a);
    last->next = *link;
    *link = *chain;
    *chain = NULL;
}

/* Those in [first, last] are in none. */
__attribute__((noinline))
static void leave_lanes(struct ioas *ioas, uint64_t first, uint64_t last)
{
    for (unsigned lane = 0; lane < AREA_LANES; lane++) {
        struct area **link = lane_link(ioas, lane, first);

        while (*link != NULL && (*link)->iova <= last)
            *link = (*link)->lane[lane];
    }
}

inline struct area *ioas_areas_leave(struct ioas *ioas, struct area **link, uint64_t last, uint64_t *bytes)
{
    struct area **end = link, *chain = *link;

    for (*bytes = 0; *end != NULL && (*end)->iova <= last; end = &(*end)->next)
        *bytes += (*end)->length;
    if (end == link)
        return NULL;
    if (ioas->lane[0] != NULL)
        leave_lanes(ioas, chain->iova, last);
    *link = *end;
    *end = NULL;
    return chain;
}

int ioas_area_split(struct iommu_context *c, struct ioas *ioas, uint64_t iova)
{
    struct area *a = *ioas_area_link(ioas, iova), *behind;
    uint64_t before;

    if (a == NULL || a->iova >= iova)
        return 0;
    behind = area_alloc(c);
    if (behind == NULL)
        return -NIDUS_ENOMEM;
    before = iova - a->iova;
    *behind = (struct area){
        .next = a->next, .iova = iova, .length = a->length - before, .gpa = a->gpa + before, .prot = a->prot, .divisible = a->divisible,
        .writeable = a->writeable,
    };
    a->length = before;
    a->next = behind;
    area_joins(ioas, behind);
    return 0;
}

void ioas_area_unite(struct iommu_context *c, struct ioas *ioas, struct area *a)
{
    uint64_t bytes;
    struct area *behind = ioas_areas_leave(ioas, &a->next, a->next->iova, &bytes);

    a->length += bytes;
    areas_free(c, &behind);
}
