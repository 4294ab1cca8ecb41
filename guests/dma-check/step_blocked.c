/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 1: a device that is not attached to anything reaches nothing, and its owner can read why. */
#include <string.h>

#include "guests/dma-check/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/fault.h"

#define REASON_PASID_ENTRY_NOT_PRESENT 0x59     /* spec 5.10 SPT.2 */
#define TARGET_SEED 0x31

static uint8_t *target;

static bool target_intact(void)
{
    return ndma_pattern_check(target, 0, FRAME_SIZE, TARGET_SEED) == FRAME_SIZE;
}

static void expect_blocked(const struct nidus_guest_device *device, uint8_t access, uint64_t addr, const char *what)
{
    struct fault_want want = { .reason = REASON_PASID_ENTRY_NOT_PRESENT, .access = access, .addr = addr };
    char expected[160], got[160] = "no fault record";
    struct nidus_fault fault;
    bool lost;

    fault_want_describe(&want, expected, sizeof(expected));
    if (!faults_next(device, &fault, &lost)) {
        check(false, "%s: expected %s; got %s%s", what, expected, got, lost ? " (lost)" : "");
        return;
    }
    fault_describe(&fault, got, sizeof(got));
    if (!fault_is(&fault, &want))
        check(false, "%s: expected %s; got %s", what, expected, got);
    else
        check(target_intact(), "%s: %s; %s", what, got, target_intact() ? "nothing written" : "but memory has changed");
}

static void blocked_edu(struct rig *r)
{
    if (!r->has_edu) {
        check_skip("edu: this guest has none");
        return;
    }
    check(pci_enable(r->edu.device) == 0, "Bus Master of edu set by PCI_CONFIG_WRITE");
    faults_drop();
    if (!edu_write_memory(&r->edu, gpa_of(target), 0, 64)) {
        check(false, "edu writes 64 bytes to GPA 0x%llx: the transfer has not ended after 3 s", (unsigned long long)gpa_of(target));
        return;
    }
    expect_blocked(r->edu.device, NIDUS_FAULT_WRITE, gpa_of(target), "edu writes 64 bytes before any attach");
}

static void blocked_dma(struct rig *r)
{
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = gpa_of(target), .len = 64, .seed = 1 };
    uint64_t ring = gpa_of(r->dma.ring);
    enum ndma_status status;

    check(pci_enable(r->dma.device) == 0, "Bus Master of nidus-dma set by PCI_CONFIG_WRITE");
    faults_drop();
    ndma_start(&r->dma, ring, 1);
    status = ndma_run(&r->dma, &fill);
    check(status == NDMA_RING_ERROR && ndma_error_address(&r->dma) == ring,
          "nidus-dma's ring at GPA 0x%llx before any attach: expected RING_ERROR, the device reports %s", (unsigned long long)ring,
          ndma_status_name(status));
    expect_blocked(r->dma.device, NIDUS_FAULT_READ, ring, "nidus-dma reads its ring before any attach");
    ndma_reset(&r->dma);
}

void step_blocked(struct rig *r)
{
    check_step("1", "before any attach, DMA is blocked and the fault is there to read");
    target = frames_need(FRAME_SIZE, FRAME_SIZE, "a target");
    ndma_pattern(target, 0, FRAME_SIZE, TARGET_SEED);
    blocked_edu(r);
    blocked_dma(r);
    frames_free(target, FRAME_SIZE);
}
