/* SPDX-License-Identifier: BSD-2-Clause */
/* frames.c: first fit over a byte map.  Memory: image, heap, the map, pages. */
#include "guests/runtime/frames.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/runtime/call.h"

#define HEAP_SIZE (1ULL << 20)

static uint8_t *used;           /* one byte per page from `first` on */
static uint64_t first, end;     /* page numbers */

char *heap_limit(void)
{
    return image_end + HEAP_SIZE;
}

void frames_init(void)
{
    uint64_t map = ((uint64_t)heap_limit() + FRAME_SIZE - 1) / FRAME_SIZE;

    /* Region 0 begins at GPA 0 and is the one that nidus's page tables map; what lies above 4 GiB is left alone.  The last page
     * is frames_last's. */
    end = guest_info->ram[0].size / FRAME_SIZE - 1;
    if (end < map + 1)
        __builtin_trap();
    first = map + (end - map + FRAME_SIZE - 1) / FRAME_SIZE;
    used = (uint8_t *)(map * FRAME_SIZE);
    memset(used, 0, end - first);
}

static bool is_free(uint64_t page, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (used[page - first + i])
            return false;
    return true;
}

void *frames_alloc(size_t bytes, size_t align)
{
    uint64_t count = (bytes + FRAME_SIZE - 1) / FRAME_SIZE;
    uint64_t step = align / FRAME_SIZE;

    for (uint64_t page = (first + step - 1) / step * step; page + count <= end; page += step) {
        if (!is_free(page, count))
            continue;
        memset(used + (page - first), 1, count);
        return memset((void *)(page * FRAME_SIZE), 0, count * FRAME_SIZE);
    }
    return NULL;
}

void *frames_need(size_t bytes, size_t align, const char *what)
{
    void *frames = frames_alloc(bytes, align);

    if (!frames) {
        printf("no memory: %zu KiB for %s\n", bytes / 1024, what);
        exit(2);
    }
    return frames;
}

void frames_free(void *frames, size_t bytes)
{
    memset(used + (gpa_of(frames) / FRAME_SIZE - first), 0, (bytes + FRAME_SIZE - 1) / FRAME_SIZE);
}

uint64_t frames_free_bytes(void)
{
    uint64_t count = 0;

    for (uint64_t page = first; page < end; page++)
        count += !used[page - first];
    return count * FRAME_SIZE;
}

uint64_t frames_end(void)
{
    return (end + 1) * FRAME_SIZE;
}

void *frames_last(void)
{
    return (void *)(end * FRAME_SIZE);
}
