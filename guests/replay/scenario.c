/* SPDX-License-Identifier: BSD-2-Clause */
/* scenario.c: a seed: what is there at the beginning, the steps, and everything given back at the end. */
#include <string.h>

#include "guests/replay/replay.h"

struct machine m;

const uint32_t pasid_of[PLACES] = { NO_PASID, 1, 5 };

/* Choices: splitmix64, begun anew at each step. ---------------------------------------------------------- */

static uint64_t choices;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static void begin_choices(uint64_t at)
{
    choices = mix(mix(m.seed) + at * 0x9e3779b97f4a7c15ULL);
}

uint64_t below(uint64_t n)
{
    uint64_t x = mix(choices += 0x9e3779b97f4a7c15ULL);

    return (uint64_t)((unsigned __int128)x * n >> 64);
}

/* Calls -------------------------------------------------------------------------------------------------- */

int64_t call(uint32_t number, void *payload, uint32_t size, uint32_t device)
{
    int64_t result;

    memcpy(port_memory(CALLS), payload, size);
    result = port_call(number, CALLS, device);
    memcpy(payload, port_memory(CALLS), size);
    tell_error(result);
    return result;
}

/* Steps -------------------------------------------------------------------------------------------------- */

/* Of those that are in use, most of the time. */
static void change_some_tree(const struct device *d)
{
    const struct hwpt *h = d->hwpt[m.pasids ? below(PLACES) : 0];
    struct tree *t = h && h->tree && percent(85) ? h->tree : &m.tree[below(TREES)];

    if (t->live)
        tree_changes(t);
    else
        tell("no such tree");
}

static void invalidate_some(void)
{
    struct hwpt *h = stale_hwpt();

    if (h)
        hwpt_invalidates(h);
    else
        tell("nothing to invalidate");
}

static void one_step(void)
{
    struct device *d = &m.device[below(DEVICES)];
    unsigned kind = (unsigned)below(1000);

    if (!d->hwpt[0] && percent(30))
        hwpt_attaches(d);
    else if (kind < 620)
        some_dma(d);
    else if (kind < 800)
        change_some_tree(d);
    else if (kind < 900)
        invalidate_some();
    else if (kind < 925)
        space_maps(some_space());
    else if (kind < 940)
        space_unmaps(some_space());
    else if (kind < 943)
        space_cuts();
    else if (kind < 968)
        hwpt_attaches(d);
    else if (kind < 972)
        hwpt_detaches(d);
    else if (kind < 979)
        hwpt_allocs();
    else if (kind < 984)
        hwpt_destroys();
    else if (kind < 985)
        space_allocs();
    else if (kind < 990)
        tell_memory();
    else
        no_faults();
}

/* Each word its own address: data that is read says where it was. */
static void fill_data(uint64_t gpa, uint64_t length)
{
    for (uint64_t at = gpa; at < gpa + length; at += 8)
        *word_at(at) = at << 1 ^ m.seed << 40;
}

static void begin(void)
{
    tables_forget();
    fill_data(DATA, DATA_BYTES);
    fill_data(MORE, MORE_PAGES * K4);
    fill_data(SLICES + m.seed % SLICE_COUNT * SLICE_STEP, M2);
    for (unsigned i = 0; i < DEVICES; i++)
        hwpt_detaches(&m.device[i]);
    space_adopt_ram(&m.space[0]);
    for (unsigned n = 1; n < SPACES; n++)
        space_allocs();
    for (unsigned n = 0; n < 11; n++)
        hwpt_allocs();
    for (unsigned i = 0; i < DEVICES * PLACES; i++)
        hwpt_attaches(&m.device[i % DEVICES]);
}

static void forget(uint64_t seed)
{
    memset(m.space, 0, sizeof m.space);
    m.space[0] = (struct space){ .live = true, .id = m.default_ioas };
    memset(m.hwpt, 0, sizeof m.hwpt);
    memset(m.tree, 0, sizeof m.tree);
    m.seed = seed;
    m.step = 0;
    for (unsigned i = 0; i < DEVICES; i++)
        memset(m.device[i].hwpt, 0, sizeof m.device[i].hwpt);
}

unsigned play(uint64_t seed, uint32_t steps, uint32_t show_first, uint32_t show_last)
{
    forget(seed);
    output_start(seed, show_first, show_last);
    begin_choices(UINT64_MAX);
    begin();
    for (; m.step < steps && !output_wrongs(); m.step++) { /* what follows a wrong result says nothing */
        begin_choices(m.step);
        step_begins();
        one_step();
        step_ends();
    }
    begin_choices(UINT64_MAX - 1);
    no_faults();
    hwpts_give_back();
    space_give_back(&m.space[0]);
    m.fresh = false;
    output_end();
    return output_wrongs();
}
