/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc.c: a slab is a page: a header, then objects of one size class.  Of an owner's empty slabs one of each class stays for the next
 * object, until the owner has none at all.
 */
#include "kernel/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "iommu/platform.h"

struct object {
    struct object *next;
};

struct slab {
    struct slab *next;          /* of the same owner and class, with room */
    struct slab **link;         /* what points here; NULL: full, in no list */
    struct object *free;
    uint32_t used;
    uint32_t fresh;             /* objects from here on were never handed out */
    uint32_t capacity;
    uint8_t pad[28];
};
_Static_assert(sizeof(struct slab) == 64, "objects stay aligned");

static void slab_link(struct slab *s, struct slab **head)
{
    s->next = *head;
    s->link = head;
    if (s->next != NULL)
        s->next->link = &s->next;
    *head = s;
}

static void slab_unlink(struct slab *s)
{
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    s->link = NULL;
}

/* Apart: most objects find one with room. */
__attribute__((noinline))
static struct slab *slab_new(struct objects *o, unsigned c)
{
    struct slab *s = platform_pages_alloc(o->guest, 0);
    if (s == NULL)
        return NULL;
    s->capacity = (uint32_t)((PAGE_SIZE - sizeof(*s)) / object_sizes[c]);
    slab_link(s, &o->room[c]);
    return s;
}

static void slab_free(struct objects *o, struct slab *s)
{
    slab_unlink(s);
    platform_pages_free(o->guest, s, 0);
}

void *object_take(struct objects *o, unsigned c)
{
    if (c == OBJECT_CLASSES)
        return platform_pages_alloc(o->guest, 0);

    struct slab *s = o->room[c] != NULL ? o->room[c] : slab_new(o, c);
    if (s == NULL)
        return NULL;
    struct object *object = s->free;
    if (object != NULL)
        s->free = object->next;
    else
        object = (struct object *)((uint8_t *)(s + 1) + (size_t)s->fresh++ * object_sizes[c]);
    o->count++;
    if (++s->used == s->capacity)
        slab_unlink(s);
    return object;
}

void object_put(struct objects *o, void *p, unsigned c)
{
    if (c == OBJECT_CLASSES) {
        platform_pages_free(o->guest, p, 0);
        return;
    }

    struct slab *s = (struct slab *)((uintptr_t)p & ~(uintptr_t)(PAGE_SIZE - 1));
    struct object *object = p;
    object->next = s->free;
    s->free = object;
    if (s->link == NULL)
        slab_link(s, &o->room[c]);
    if (--s->used == 0 && (s->next != NULL || s->link != &o->room[c]))
        slab_free(o, s);
    if (--o->count == 0)
        for (c = 0; c < OBJECT_CLASSES; c++)
            if (o->room[c] != NULL)
                slab_free(o, o->room[c]);
}
