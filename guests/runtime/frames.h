/* SPDX-License-Identifier: BSD-2-Clause */
/* frames.h: the guest's memory beyond its image and heap, page by page.  A page's address is its GPA. */
#ifndef GUESTS_RUNTIME_FRAMES_H
#define GUESTS_RUNTIME_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE 4096ULL
#define SIZE_2M    (2ULL << 20)
#define SIZE_1G    (1ULL << 30)

extern char image_end[];        /* guest.ld */
char *heap_limit(void);

void frames_init(void);

/* bytes of contiguous zeroed memory, rounded up to pages; align: a power of two of at least FRAME_SIZE.  NULL: there is none. */
void *frames_alloc(size_t bytes, size_t align);
/* The same; no memory ends the guest with a line that says what for. */
void *frames_need(size_t bytes, size_t align, const char *what);
void frames_free(void *frames, size_t bytes);

uint64_t frames_free_bytes(void);
/* First GPA beyond the guest's memory. */
uint64_t frames_end(void);
/* The page before it, which frames_alloc never gives: for what has to lie at the very end of memory. */
void *frames_last(void);

static inline uint64_t gpa_of(const void *p)
{
    return (uint64_t)p;
}

#endif
