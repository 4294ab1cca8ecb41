/* SPDX-License-Identifier: BSD-2-Clause */
/* shared.h: the [shared NAME] regions that a guest has, and one that it can wait in for another guest. */
#ifndef GUESTS_RUNTIME_SHARED_H
#define GUESTS_RUNTIME_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/call.h"

/* NULL: nidus.conf gives the guest no region of that name. */
const struct nidus_guest_shared *shared_find(const char *name);

static inline bool shared_writeable(const struct nidus_guest_shared *region)
{
    return region->flags & NIDUS_SHARED_WRITE;
}

static inline volatile uint64_t *shared_words(const struct nidus_guest_shared *region)
{
    return (volatile uint64_t *)region->gpa; /* the first page tables map it */
}

/* Waits, at most ms milliseconds, until the word is value. */
bool shared_wait(volatile uint64_t *word, uint64_t value, unsigned ms);

#endif
