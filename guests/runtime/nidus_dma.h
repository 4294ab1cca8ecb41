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

enum ndma_op { NDMA_NOP, NDMA_COPY, NDMA_FILL, NDMA_SUM, NDMA_CHECK, NDMA_ASK };

/* Flags of descriptors.  All but REPEAT need a feature of the device. */
#define NDMA_REPEAT       (1u << 0)
#define NDMA_PASID        (1u << 1)
#define NDMA_PRIVILEGED   (1u << 2) /* with NDMA_PASID */
#define NDMA_ATS          (1u << 3)
#define NDMA_PRI          (1u << 4) /* with NDMA_ATS */

#define NDMA_FEATURE_PASID        (1u << 0)
#define NDMA_FEATURE_ATS          (1u << 1)
#define NDMA_FEATURE_PRI          (1u << 2)
#define NDMA_FEATURE_MSIX         (1u << 3)

/* Bits 7:0 of a descriptor's status word. */
enum ndma_status {
    NDMA_PENDING, NDMA_DONE, NDMA_SRC_ERROR, NDMA_DST_ERROR, NDMA_BAD_DESCRIPTOR, NDMA_MISMATCH,
    /* the driver's own: */
    NDMA_RING_ERROR = 100,      /* the device could not read a descriptor or write a status; it needs ndma_start */
    NDMA_TIMEOUT,               /* no status within the time */
};

/* Its bits 15:8, with SRC_ERROR and DST_ERROR. */
enum ndma_reason {
    NDMA_REASON_ACCESS, NDMA_REASON_DISABLED, NDMA_REASON_UR, NDMA_REASON_CA, NDMA_REASON_PERMISSION, NDMA_REASON_TRANSLATED,
    NDMA_REASON_INVALID, NDMA_REASON_FAILURE, NDMA_REASON_TIMEOUT,
};

struct ndma_descriptor {
    uint32_t op;
    uint32_t flags;
    uint64_t src;
    uint64_t dst;
    uint32_t len;
    uint32_t pasid;                 /* with NDMA_PASID */
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
    uint32_t features;              /* NDMA_FEATURE_* */
    struct ndma_descriptor *ring;   /* one page of guest memory */
    uint32_t tail;
};

/* false: this is no nidus-dma version 2, or there is no memory for the ring. */
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

/* Why an access failed, of a descriptor whose status is SRC_ERROR or DST_ERROR. */
enum ndma_reason ndma_reason(const volatile struct ndma_descriptor *descriptor);
const char *ndma_reason_name(enum ndma_reason reason);

/* How long page requests wait for their response (0: for ever), and pages to a group, 1 to 8.  ndma_reset: 1000 and 1. */
void ndma_set_page_requests(struct ndma *d, uint32_t timeout_ms, unsigned group);

/* What the device counted since ndma_reset; all wrap but tlb_valid, which is the number of translations that it holds. */
struct ndma_counters {
    uint32_t tlb_valid;
    uint32_t tlb_hits;
    uint32_t tlb_misses;
    uint32_t tlb_invalidations;
    uint32_t page_requests;
    uint32_t page_responses;
};
struct ndma_counters ndma_counters(struct ndma *d);

/* The answer to the last translation request, register COMPLETION. */
#define NDMA_COMPLETION_R               (1u << 0)
#define NDMA_COMPLETION_W               (1u << 1)
#define NDMA_COMPLETION_UNTRANSLATED    (1u << 2)
#define NDMA_COMPLETION_NON_SNOOPED     (1u << 3)
#define NDMA_COMPLETION_PRIVILEGED      (1u << 4)
#define NDMA_COMPLETION_STATUS          (3u << 8)
#define   NDMA_COMPLETION_SUCCESS         (1u << 8)
#define   NDMA_COMPLETION_UR              (2u << 8)
#define   NDMA_COMPLETION_CA              (3u << 8)
#define NDMA_COMPLETION_SHIFT(value)    ((value) >> 16)     /* address bits in the page */
uint32_t ndma_completion(struct ndma *d);

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
