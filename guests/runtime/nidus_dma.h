/* SPDX-License-Identifier: BSD-2-Clause */
/* nidus_dma.h: driver of the nidus-dma test device, docs/nidus-dma.md. */
#ifndef GUESTS_RUNTIME_NIDUS_DMA_H
#define GUESTS_RUNTIME_NIDUS_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guests/runtime/pci.h"

#define NIDUS_DMA_VENDOR 0x1234
#define NIDUS_DMA_DEVICE 0x4e44

enum ndma_op { NDMA_NOP, NDMA_COPY, NDMA_FILL, NDMA_SUM, NDMA_CHECK };
#define NDMA_REPEAT 1u

enum ndma_status {
    NDMA_PENDING, NDMA_DONE, NDMA_SRC_ERROR, NDMA_DST_ERROR, NDMA_BAD_DESCRIPTOR, NDMA_MISMATCH,
    /* the driver's own: */
    NDMA_RING_ERROR = 100,      /* the device could not read a descriptor or write a status; it needs ndma_start */
    NDMA_TIMEOUT,               /* no status within the time */
};

struct ndma_descriptor {
    uint32_t op;
    uint32_t flags;
    uint64_t src;
    uint64_t dst;
    uint32_t len;
    uint32_t reserved;
    uint64_t seed;
    volatile uint32_t status;
    uint32_t done;
    uint64_t sum;
    uint64_t error_addr;
};
_Static_assert(sizeof(struct ndma_descriptor) == 64, "docs/nidus-dma.md");

#define NDMA_RING_ENTRIES 64u   /* one page */
#define NDMA_MAX_DEPTH    16u

struct ndma {
    const struct nidus_guest_device *device;
    volatile void *registers;
    struct ndma_descriptor *ring;   /* one page of guest memory */
    uint32_t tail;
};

/* false: this is no nidus-dma version 1, or there is no memory for the ring. */
bool ndma_open(struct ndma *d, const struct nidus_guest_device *device);

/* Resets the device: what was in flight is dropped, the ring is empty. */
void ndma_reset(struct ndma *d);
/* Resets and lets it run with its ring at bus address `ring`. */
void ndma_start(struct ndma *d, uint64_t ring, unsigned depth);

/* Puts a descriptor into the ring (status 0) and rings the doorbell; the answer is its place in the ring. */
const volatile struct ndma_descriptor *ndma_submit(struct ndma *d, const struct ndma_descriptor *descriptor);
/* Waits, at most 5 s, for its status. */
enum ndma_status ndma_wait(struct ndma *d, const volatile struct ndma_descriptor *place);
/* Both; *descriptor gets what the device wrote. */
enum ndma_status ndma_run(struct ndma *d, struct ndma_descriptor *descriptor);

uint64_t ndma_bytes(struct ndma *d);        /* register BYTES */
uint64_t ndma_error_address(struct ndma *d);
const char *ndma_status_name(enum ndma_status status);

/* Bytes [offset, offset + length) of the pattern of seed; offset is a multiple of 8. */
void ndma_pattern(void *to, uint64_t offset, size_t length, uint64_t seed);
/* The offset of the first byte that differs from the pattern; length: none does. */
size_t ndma_pattern_check(const void *bytes, uint64_t offset, size_t length, uint64_t seed);

/* The checksum, over pieces whose lengths are multiples of 8 (the last one's need not be). */
struct ndma_sum {
    uint64_t a, b;
};
void ndma_sum_add(struct ndma_sum *sum, const void *bytes, size_t length);
uint64_t ndma_sum_value(const struct ndma_sum *sum);

#endif
