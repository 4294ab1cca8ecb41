/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/shared.h"

#include <string.h>

#include "iommu/platform.h"
#include "kernel/guest.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/scrub.h"

#define KIB 1024ull

_Static_assert(NIDUS_MAX_SHARED == BOOT_MAX_SHARED, "a guest can have them all");

static const struct boot_shared *regions;
static uint64_t region_hpa[BOOT_MAX_SHARED]; /* 0: there is none */

void shared_init(const struct boot_info *boot)
{
    regions = boot->shared;
    for (unsigned i = 0; i < boot->shared_count && i < BOOT_MAX_SHARED; i++) {
        unsigned order = 0;
        while (PAGE_SIZE << order < regions[i].size)
            order++;
        region_hpa[i] = frames_alloc(order);
        if (region_hpa[i] != 0)
            memory_scrub(phys_to_virt(region_hpa[i]), regions[i].size);
        else
            log_line("shared region %s: there are no %llu KiB of memory in one piece for it", regions[i].name,
                     (unsigned long long)(regions[i].size / KIB));
    }
}

static bool map(struct guest *g, unsigned i)
{
    uint64_t size = regions[i].size, gpa = (g->bar_top + size - 1) & ~(size - 1);
    bool write = g->config->share[i] == BOOT_SHARE_WRITE;
    if (region_hpa[i] == 0 || stage2_map(&g->memory, gpa, region_hpa[i], size, STAGE2_READ | (write ? STAGE2_WRITE : 0)) != 0)
        return false;
    g->bar_top = gpa + size;
    g->shared[i] = (struct nidus_guest_shared){ .gpa = gpa, .size = size, .flags = write ? NIDUS_SHARED_WRITE : 0 };
    memcpy(g->shared[i].name, regions[i].name, sizeof(g->shared[i].name));
    log_line("guest %s: shared region %s, %llu KiB at 0x%llx, read-%s", g->name, regions[i].name, (unsigned long long)(size / KIB),
             (unsigned long long)gpa, write ? "write" : "only");
    return true;
}

void shared_give(struct guest *g)
{
    for (unsigned i = 0; i < BOOT_MAX_SHARED; i++)
        if (g->config->share[i] != BOOT_SHARE_NONE && !map(g, i))
            log_line("guest %s: starts without shared region %s: no memory for it", g->name, regions[i].name);
}

const struct nidus_guest_shared *shared_find(const struct guest *g, uint64_t gpa)
{
    for (unsigned i = 0; i < BOOT_MAX_SHARED; i++)
        if (gpa >= g->shared[i].gpa && gpa - g->shared[i].gpa < g->shared[i].size)
            return &g->shared[i];
    return NULL;
}

int shared_memory(const struct guest *g, uint64_t gpa, uint64_t *hpa, uint64_t *run)
{
    const struct nidus_guest_shared *s = shared_find(g, gpa);
    if (s == NULL)
        return -NIDUS_EFAULT;
    *hpa = region_hpa[s - g->shared] + (gpa - s->gpa);
    *run = s->size - (gpa - s->gpa);
    return s->flags & NIDUS_SHARED_WRITE ? PLATFORM_WRITE : 0;
}
