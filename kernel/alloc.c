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
#include "kernel/boot_info.h"

struct object {
    struct object *next;
};

struct slab {
    struct slab *next;          /* of the same owner and class, with room */
    struct slab **link;         /* what points here; NULL: full, in no list */
    struct object *free;
    uint32_t used;
    uint32_t fresh;             /* objects from here on were never handed out */
    uint8_t pad[32];
};
_Static_assert(sizeof(struct slab) == 64, "objects stay aligned");

static const uint16_t class_size[] = { 32, 64, 128, 192, 320, 672, 1344, 2016 }; /* 2016: half of what the header leaves */
#define CLASSES (sizeof(class_size) / sizeof(class_size[0]))
#define OWNERS  (BOOT_MAX_GUESTS + 1)

static struct owner {
    struct guest *guest;
    uint64_t objects;           /* in use; 0: the place is unused */
    struct slab *room[CLASSES];
} owners[OWNERS];

/* CLASSES: a page of its own. */
static unsigned class_of(size_t size)
{
    unsigned c = 0;
    while (c < CLASSES && class_size[c] < size)
        c++;
    return c;
}

static uint32_t capacity(unsigned c)
{
    return (uint32_t)((PAGE_SIZE - sizeof(struct slab)) / class_size[c]);
}

static struct owner *owner_of(struct guest *guest)
{
    struct owner *unused = NULL;
    for (struct owner *o = owners; o < owners + OWNERS; o++) {
        if (o->objects != 0 && o->guest == guest)
            return o;
        if (o->objects == 0 && unused == NULL)
            unused = o;
    }
    if (unused != NULL)
        *unused = (struct owner){ .guest = guest };
    return unused;
}

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

static void slab_free(struct guest *guest, struct slab *s)
{
    slab_unlink(s);
    platform_pages_free(guest, s, 0);
}

void *object_alloc(struct guest *guest, size_t size)
{
    unsigned c = class_of(size);
    if (size == 0 || size > PAGE_SIZE)
        return NULL;
    if (c == CLASSES)
        return platform_pages_alloc(guest, 0);

    struct owner *o = owner_of(guest);
    if (o == NULL)
        return NULL;
    struct slab *s = o->room[c];
    if (s == NULL) {
        s = platform_pages_alloc(guest, 0);
        if (s == NULL)
            return NULL;
        slab_link(s, &o->room[c]);
    }

    struct object *object = s->free;
    if (object != NULL)
        s->free = object->next;
    else
        object = (struct object *)((uint8_t *)(s + 1) + (size_t)s->fresh++ * class_size[c]);
    o->objects++;
    if (++s->used == capacity(c))
        slab_unlink(s);
    return memset(object, 0, class_size[c]);
}

void object_free(struct guest *guest, void *p, size_t size)
{
    unsigned c = class_of(size);
    if (p == NULL)
        return;
    if (c == CLASSES) {
        platform_pages_free(guest, p, 0);
        return;
    }

    struct owner *o = owner_of(guest);
    struct slab *s = (struct slab *)((uintptr_t)p & ~(uintptr_t)(PAGE_SIZE - 1));
    struct object *object = p;
    object->next = s->free;
    s->free = object;
    if (s->link == NULL)
        slab_link(s, &o->room[c]);
    if (--s->used == 0 && (s->next != NULL || s->link != &o->room[c]))
        slab_free(guest, s);
    if (--o->objects == 0)
        for (c = 0; c < CLASSES; c++)
            if (o->room[c] != NULL)
                slab_free(guest, o->room[c]);
}
