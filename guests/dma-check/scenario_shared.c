/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that two guests share, and their devices: "ring", which the first may write and the second only read, and "back", in which they tell each
 * other how far they are.
 */
#include "guests/runtime/check.h"
#include "guests/runtime/shared.h"
#include "guests/dma-check/steps.h"

#define SEED     0x51
#define NO_WRITE 0x85           /* SSS.5: the second stage does not allow the write */
#define WAIT_MS  60000u

enum { WRITTEN = 1, READ };     /* what back's first word says */

static const struct nidus_guest_shared *ring;

static bool ring_intact(void)
{
    return ndma_pattern_check((const uint8_t *)ring->gpa, 0, FRAME_SIZE, SEED) == FRAME_SIZE;
}

/* Nested: through a first stage of its own. */
static void writer(struct rig *r, volatile uint64_t *back)
{
    struct space s;

    if (!space_open(&s, r))
        return;
    space_map(&s, IOVA_LOW, ring->gpa, FRAME_SIZE, FRAME_SIZE, RW);
    check(dma_fill(r, IOVA_LOW, FRAME_SIZE, SEED) == NDMA_DONE && ring_intact(), "nidus-dma fills a page of ring through nested tables");
    *back = WRITTEN;
    check(shared_wait(back, READ, WAIT_MS), "the other guest is done");
    check(ring_intact(), "ring is as this guest's device wrote it");
    space_close(&s);
}

/* nested = off: the default IOAS has ring, read-only. */
static void reader(struct rig *r, volatile uint64_t *back)
{
    uint32_t hwpt, device = r->dma.device->id;
    uint8_t *copy = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = ring->gpa + 0x40, .len = 64, .seed = SEED + 1 };
    struct fault_want want = {
        .reason = NO_WRITE, .access = NIDUS_FAULT_WRITE, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 1,
        .has_gpa = true, .addr = ring->gpa, .gpa = ring->gpa,
    };

    if (!check(shared_wait(back, WRITTEN, WAIT_MS), "the other guest's device has filled ring"))
        return;
    check(ring_intact(), "this guest's CPU reads what it wrote");
    check_errno(iommufd_hwpt_alloc_paging(device, guest_info->default_ioas, 0, &hwpt), 0, "HWPT_ALLOC over the default IOAS");
    check_errno(iommufd_attach(device, hwpt), 0, "attach of nidus-dma");
    ndma_start(&r->dma, gpa_of(r->dma.ring), 1);
    check(dma_copy(r, ring->gpa, gpa_of(copy), FRAME_SIZE) == NDMA_DONE && ndma_pattern_check(copy, 0, FRAME_SIZE, SEED) == FRAME_SIZE,
          "and so does its nidus-dma");
    expect_fault(r, &fill, &want, ring_intact, "nidus-dma writes to ring");
    check_errno(iommufd_ioas_map(guest_info->default_ioas, IOVA_LOW, ring->gpa, FRAME_SIZE, NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE),
                NIDUS_EFAULT, "IOAS_MAP of it, to be written");
    ndma_reset(&r->dma);
    check_errno(iommufd_detach(device), 0, "detach");
    *back = READ;
}

void scenario_shared(struct rig *r)
{
    const struct nidus_guest_shared *back = shared_find("back");

    ring = shared_find("ring");
    check_step("10", "memory shared with another guest");
    if (check(ring != NULL && back != NULL, "guest_info lists ring and back"))
        (shared_writeable(ring) ? writer : reader)(r, shared_words(back));
}

/* Erratum 772415 in force and nested = on: a device may not even read what its guest may not write. */
void scenario_shared_left_out(struct rig *r)
{
    struct ndma_descriptor sum = { .op = NDMA_SUM, .src = IOVA_LOW, .len = 64 };
    struct fault_want want = {
        .reason = 0x79, .access = NIDUS_FAULT_READ, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 3, /* SSS.2: not present */
        .has_gpa = true, .addr = IOVA_LOW,
    };
    struct space s;

    ring = shared_find("ring");
    check_step("10", "read-only shared memory under nesting (erratum 772415)");
    if (!check(ring != NULL, "guest_info lists ring") || !space_open(&s, r))
        return;
    want.gpa = ring->gpa;
    space_map(&s, IOVA_LOW, ring->gpa, FRAME_SIZE, FRAME_SIZE, RW);
    expect_fault(r, &sum, &want, NULL, "nidus-dma reads ring");
    check_errno(iommufd_ioas_map(guest_info->default_ioas, ring->gpa, ring->gpa, FRAME_SIZE, NIDUS_IOAS_MAP_READABLE), NIDUS_EINVAL,
                "IOAS_MAP of it, read-only, where a nest parent is");
    space_close(&s);
}
