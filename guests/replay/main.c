/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: replay: random scenarios on three nidus-dma, as text that the same scenarios on tools/vtd-model have to give, too.
 * `args` in nidus.conf:
 *
 *   seeds=A-B    which seeds (1-1)
 *   steps=N      of each (5000)
 *   show=A-B     these steps in full
 *   errata       the unit has erratum 772415
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests/replay/replay.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/iommufd.h"
#include "guests/runtime/nidus_dma.h"


_Static_assert(OP_COPY == (int)NDMA_COPY && OP_FILL == (int)NDMA_FILL && OP_SUM == (int)NDMA_SUM, "operations of nidus-dma");
_Static_assert(DONE == (int)NDMA_DONE && SRC_ERROR == (int)NDMA_SRC_ERROR && DST_ERROR == (int)NDMA_DST_ERROR &&
               RING_ERROR == (int)NDMA_RING_ERROR, "what transfers end with");

static struct ndma dma[DEVICES];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    printf("replay: cannot go on: %s\n", what);
    exit(1);
}

/* The scenario's port -------------------------------------------------------------------------------------- */

void *port_memory(uint64_t gpa)
{
    return (void *)gpa;
}

int64_t port_call(uint32_t number, uint64_t payload, uint32_t device)
{
    return nidus_call_gpa(number, payload, device);
}

void port_start(unsigned device, uint64_t ring)
{
    ndma_start(&dma[device], ring, 1);
}

void port_transfer(unsigned device, struct transfer *t)
{
    struct ndma_descriptor d = { .op = t->op, .src = t->src, .dst = t->dst, .len = t->len, .seed = t->seed };

    if (t->pasid != NO_PASID) {
        d.flags = NDMA_PASID;
        d.pasid = t->pasid;
    }
    t->status = ndma_run(&dma[device], &d);
    must(t->status != NDMA_TIMEOUT, "a transfer without an end");
    t->done = d.done;
    t->sum = d.sum;
    t->error_addr = d.error_addr;
}

void port_bus_master_on(unsigned device)
{
    must(pci_enable(dma[device].device) == 0, "Bus Master");
}

void port_print(const char *line)
{
    write(STDOUT_FILENO, line, strlen(line));
}

/* The start ------------------------------------------------------------------------------------------------ */

/* Memory where the scenario wants it: frames_alloc takes the lowest that suits. */
static void take(uint64_t gpa, uint64_t bytes, uint64_t align)
{
    must(frames_alloc(bytes, align) == (void *)gpa, "the memory that the scenario needs is not free");
}

static void open_devices(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        const struct nidus_guest_device *d = pci_find(NIDUS_DMA_VENDOR, NIDUS_DMA_DEVICE, i);

        must(d && ndma_open(&dma[i], d), "three nidus-dma are needed");
        dma[i].ring = (struct ndma_descriptor *)(PINNED + i * K4);
        m.device[i].id = d->id;
    }
}

struct plan {
    unsigned long first, last, steps, show_first, show_last;
};

static void parse_range(const char *text, unsigned long *first, unsigned long *last)
{
    char *end;

    *first = *last = strtoul(text, &end, 10);
    if (*end == '-')
        *last = strtoul(end + 1, &end, 10);
    must(*end == 0 && *first <= *last, "a range in args is A-B");
}

static void parse(struct plan *p)
{
    static char args[sizeof(guest_info->args) + 1];

    memcpy(args, guest_info->args, sizeof(guest_info->args));
    for (char *word = strtok(args, " "); word; word = strtok(NULL, " ")) {
        if (strncmp(word, "seeds=", 6) == 0)
            parse_range(word + 6, &p->first, &p->last);
        else if (strncmp(word, "show=", 5) == 0)
            parse_range(word + 5, &p->show_first, &p->show_last);
        else if (strncmp(word, "steps=", 6) == 0)
            p->steps = strtoul(word + 6, NULL, 10);
        else if (strcmp(word, "errata") == 0)
            m.errata = true;
        else
            must(false, "an unknown word in args");
    }
}

int main(void)
{
    struct plan p = { .first = 1, .last = 1, .steps = 5000, .show_first = 1, .show_last = 0 };
    struct nidus_hw_info_vtd unit;
    unsigned wrongs = 0;

    parse(&p);
    must(p.last - p.first < SLICE_COUNT, "more seeds than there is memory for");
    take(ARENA, ARENA_BYTES, ARENA);
    take(SLICES, RAM_BYTES - SLICES - M2, SLICES);
    open_devices();
    must(iommufd_hw_info(m.device[0].id, &unit) == 0, "GET_HW_INFO");
    m.cap = unit.cap_reg;
    m.ecap = unit.ecap_reg;
    m.pasids = dma[0].features & NDMA_FEATURE_PASID;
    m.fresh = true;
    m.default_ioas = guest_info->default_ioas;
    printf("replay: cap 0x%llx, ecap 0x%llx, erratum %u\n", (unsigned long long)m.cap, (unsigned long long)m.ecap, m.errata);
    for (unsigned long seed = p.first; seed <= p.last; seed++) {
        uint64_t start = clock_ns();

        wrongs += play(seed, (uint32_t)p.steps, (uint32_t)p.show_first, (uint32_t)p.show_last);
        printf("replay: seed %lu: %lu steps in %llu ms\n", seed, p.steps, (unsigned long long)(clock_ns() - start) / 1000000);
    }
    printf("replay: %u wrong\n", wrongs);
    return wrongs != 0;
}
