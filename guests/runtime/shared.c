/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/shared.h"

#include <stddef.h>
#include <string.h>

#include "guests/runtime/clock.h"

struct wanted {
    volatile uint64_t *word;
    uint64_t value;
};

const struct nidus_guest_shared *shared_find(const char *name)
{
    for (unsigned i = 0; i < NIDUS_MAX_SHARED; i++)
        if (guest_info->shared[i].size != 0 && strncmp(guest_info->shared[i].name, name, sizeof(guest_info->shared[i].name)) == 0)
            return &guest_info->shared[i];
    return NULL;
}

static bool has_come(void *context)
{
    const struct wanted *w = context;

    return *w->word == w->value;
}

bool shared_wait(volatile uint64_t *word, uint64_t value, unsigned ms)
{
    struct wanted w = { word, value };

    return wait_until(has_come, &w, ms);
}
