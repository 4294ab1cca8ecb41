/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 1: a device that is not attached to anything reaches nothing, and its owner can read why. */
#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

#define REASON_PASID_ENTRY_NOT_PRESENT 0x59     /* spec 5.10 SPT.2 */
#define TARGET_SEED 0x31

static uint8_t *target;

static bool target_intact(void)
{
    return ndma_pattern_check(target, 0, FRAME_SIZE, TARGET_SEED) == FRAME_SIZE;
}

static void expect_blocked_edu(struct rig *r)
{
    struct fault_want want = { .reason = REASON_PASID_ENTRY_NOT_PRESENT, .access = NIDUS_FAULT_WRITE, .addr = gpa_of(target) };

    if (r->has_edu)
        check(pci_enable(r->edu.device) == 0, "Bus Master of edu set by PCI_CONFIG_WRITE");
    expect_edu_fault(r, &want, target_intact, "edu writes 64 bytes");
}

static void expect_blocked_dma(struct rig *r)
{
    uint64_t ring = gpa_of(r->dma.ring);
    struct fault_want want = { .reason = REASON_PASID_ENTRY_NOT_PRESENT, .access = NIDUS_FAULT_READ, .addr = ring };

    check(pci_enable(r->dma.device) == 0, "Bus Master of nidus-dma set by PCI_CONFIG_WRITE");
    expect_ring_fault(r, ring, &want, target_intact, "nidus-dma reads its ring");
}

void step_blocked(struct rig *r)
{
    check_step("1", "before any attach, DMA is blocked and the fault is there to read");
    target = frames_need(FRAME_SIZE, FRAME_SIZE, "a target");
    ndma_pattern(target, 0, FRAME_SIZE, TARGET_SEED);
    expect_blocked_edu(r);
    expect_blocked_dma(r);
    frames_free(target, FRAME_SIZE);
}
