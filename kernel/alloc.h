/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc.h: small objects, cut from pages that belong to one owner each, so that a quota in pages holds for them too.
 */
#ifndef NIDUS_ALLOC_H
#define NIDUS_ALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "iommu/platform.h"

struct guest;
struct slab;

/* Sizes that objects are rounded up to; the last one is half of what a slab's header leaves. */
static const uint16_t object_sizes[] = { 32, 64, 128, 192, 320, 672, 1344, 2016 };
#define OBJECT_CLASSES (sizeof(object_sizes) / sizeof(object_sizes[0])) /* as a class: a page of its own */

/* What an owner has: all zero but for guest, whom its pages are charged to (NULL: nidus itself). */
struct objects {
    struct guest *guest;
    uint64_t count;             /* in use */
    struct slab *room[OBJECT_CLASSES]; /* of each class, those with room for another */
};

/* Known where the size is: most callers' is a constant. */
static inline unsigned object_class(size_t size)
{
    unsigned class = 0;
    while (class < OBJECT_CLASSES && object_sizes[class] < size)
        class++;
    return class;
}

/* What it was used for before is still in it. */
void *object_take(struct objects *o, unsigned class);
void object_put(struct objects *o, void *object, unsigned class);

/* Zeroed, aligned to 16; size 1 to 4096.  NULL: no page left for this owner. */
static inline void *object_alloc(struct objects *o, size_t size)
{
    void *object = size != 0 && size <= PAGE_SIZE ? object_take(o, object_class(size)) : NULL;
    return object != NULL ? __builtin_memset(object, 0, size) : NULL;
}

static inline void object_free(struct objects *o, void *object, size_t size)
{
    if (object != NULL)
        object_put(o, object, object_class(size));
}

#endif
