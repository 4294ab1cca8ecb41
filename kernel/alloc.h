/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc.h: small objects, cut from pages that belong to one owner each, so that a quota in pages holds for them too.
 */
#ifndef NIDUS_ALLOC_H
#define NIDUS_ALLOC_H

#include <stddef.h>
#include <stdint.h>

struct guest;
struct slab;

#define OBJECT_CLASSES 8u       /* sizes that objects are rounded up to */

/* What an owner has: all zero but for guest, whom its pages are charged to (NULL: nidus itself). */
struct objects {
    struct guest *guest;
    uint64_t count;             /* in use */
    struct slab *room[OBJECT_CLASSES]; /* of each class, those with room for another */
};

/* Zeroed, aligned to 16; size 1 to 4096.  NULL: no page left for this owner. */
void *object_alloc(struct objects *o, size_t size);
void object_free(struct objects *o, void *object, size_t size);

#endif
