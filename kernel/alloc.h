/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc.h: small objects, cut from pages that belong to one owner each, so that a quota in pages holds for them too.
 */
#ifndef NIDUS_ALLOC_H
#define NIDUS_ALLOC_H

#include <stddef.h>

struct guest;

/* Zeroed, aligned to 16; size 1 to 4096.  NULL: no page left for this owner. */
void *object_alloc(struct guest *owner, size_t size);
void object_free(struct guest *owner, void *object, size_t size);

#endif
