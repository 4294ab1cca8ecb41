/* SPDX-License-Identifier: BSD-2-Clause */
/* frames.c: the frame allocator, a buddy system over the zones of RAM; see frames.h. */
#include "kernel/frames.h"

#include <stddef.h>

#include "kernel/log.h"
#include "kernel/memory.h"

struct free_block {
    struct free_block *next;
    struct free_block **link;   /* what points here */
    uint64_t order;
};

struct zone {
    uint64_t base, pages;
    uint64_t *heads;            /* a bit for each page: a free block begins here */
};

static struct zone zones[FRAMES_MAX_ZONES];
static unsigned zone_count;
static struct free_block *free_list[FRAMES_MAX_ORDER + 1];
static uint64_t free_pages;

static inline uint64_t block_size(unsigned order)
{
    return PAGE_SIZE << order;
}

static struct zone *zone_of(uint64_t phys)
{
    unsigned low = 0, high = zone_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        struct zone *z = &zones[middle];
        if (phys < z->base)
            high = middle;
        else if (phys - z->base >= z->pages * PAGE_SIZE)
            low = middle + 1;
        else
            return z;
    }
    return NULL;
}

static bool zone_holds(const struct zone *z, uint64_t phys, uint64_t size)
{
    return phys >= z->base && phys - z->base <= z->pages * PAGE_SIZE && size <= z->pages * PAGE_SIZE - (phys - z->base);
}

static bool is_head(const struct zone *z, uint64_t phys)
{
    uint64_t page = (phys - z->base) / PAGE_SIZE;
    return z->heads[page / 64] >> page % 64 & 1;
}

static void flip_head(struct zone *z, uint64_t phys)
{
    uint64_t page = (phys - z->base) / PAGE_SIZE;
    z->heads[page / 64] ^= 1ULL << page % 64;
}

static void put(struct zone *z, uint64_t phys, unsigned order)
{
    struct free_block *block = phys_to_virt(phys);
    *block = (struct free_block){ .next = free_list[order], .link = &free_list[order], .order = order };
    if (block->next != NULL)
        block->next->link = &block->next;
    free_list[order] = block;
    flip_head(z, phys);
}

static void take(struct zone *z, uint64_t phys)
{
    struct free_block *block = phys_to_virt(phys);
    *block->link = block->next;
    if (block->next != NULL)
        block->next->link = block->link;
    flip_head(z, phys);
}

/* Is there a free block of exactly this order at phys? */
static bool is_free_block(const struct zone *z, uint64_t phys, unsigned order)
{
    return zone_holds(z, phys, block_size(order)) && is_head(z, phys) &&
           ((struct free_block *)phys_to_virt(phys))->order == order;
}

/* Does phys lie in a free block, of whatever order? */
static bool is_free(const struct zone *z, uint64_t phys)
{
    for (unsigned order = 0; order <= FRAMES_MAX_ORDER; order++) {
        uint64_t head = phys / block_size(order) * block_size(order);
        if (head < z->base)
            return false;
        if (is_head(z, head) && ((struct free_block *)phys_to_virt(head))->order >= order)
            return true;
    }
    return false;
}

uint64_t frames_alloc(unsigned order)
{
    unsigned found = order;
    while (found <= FRAMES_MAX_ORDER && free_list[found] == NULL)
        found++;
    if (found > FRAMES_MAX_ORDER)
        return 0;

    uint64_t phys = virt_to_phys(free_list[found]);
    struct zone *z = zone_of(phys);
    take(z, phys);
    while (found > order) {
        found--;
        put(z, phys + block_size(found), found);
    }
    free_pages -= 1ULL << order;
    return phys;
}

void frames_free(uint64_t phys, unsigned order)
{
    struct zone *z = zone_of(phys);
    if (z == NULL || order > FRAMES_MAX_ORDER || phys % block_size(order) != 0 || !zone_holds(z, phys, block_size(order)))
        panic("frames_free: %#llx, order %u, is no block of RAM", (unsigned long long)phys, order);
    if (is_free(z, phys))
        panic("frames_free: %#llx is free already", (unsigned long long)phys);

    free_pages += 1ULL << order;
    while (order < FRAMES_MAX_ORDER) {
        uint64_t buddy = phys ^ block_size(order);
        if (!is_free_block(z, buddy, order))
            break;
        take(z, buddy);
        if (buddy < phys)
            phys = buddy;
        order++;
    }
    put(z, phys, order);
}

uint64_t frames_free_bytes(void)
{
    return free_pages * PAGE_SIZE;
}

void frames_add_zone(uint64_t base, uint64_t pages, uint64_t *heads)
{
    if (zone_count == FRAMES_MAX_ZONES)
        panic("memory: more than %u runs of RAM", FRAMES_MAX_ZONES);
    zones[zone_count++] = (struct zone){ .base = base, .pages = pages, .heads = heads };
}

void frames_add(uint64_t base, uint64_t size)
{
    for (uint64_t end = base + size; base < end;) {
        unsigned order = FRAMES_MAX_ORDER;
        while (base % block_size(order) != 0 || end - base < block_size(order))
            order--;
        frames_free(base, order);
        base += block_size(order);
    }
}
