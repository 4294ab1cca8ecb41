/* SPDX-License-Identifier: BSD-2-Clause */
/* A device whose unit, or whose guest, has no nested translation: the default IOAS attached directly, IOVA = GPA. */
#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/fault.h"

#define BYTES (1u << 20)

static void outside(struct rig *r)
{
    struct nidus_fault fault;
    enum ndma_status status;
    bool lost, found;
    char got[200] = "no fault record";

    faults_drop();
    status = dma_fill(r, frames_end(), 64, 1);
    found = faults_next(r->dma.device, &fault, &lost);
    if (found)
        fault_describe(&fault, got, sizeof(got));
    /* The reason is the unit's: one that has no nested translation may also have the codes of an earlier revision. */
    check(status == NDMA_DST_ERROR && found && fault.addr == frames_end(), "a write behind the guest's memory: %s, %s",
          ndma_status_name(status), got);
}

void scenario_no_nested(struct rig *r)
{
    uint8_t *from = frames_need(BYTES, FRAME_SIZE, "a buffer"), *to = frames_need(BYTES, FRAME_SIZE, "a buffer");
    uint32_t hwpt, device = r->dma.device->id, ioas = guest_info->default_ioas;

    check_step("3", "transfers without nested translation, IOVA = GPA");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), NIDUS_EOPNOTSUPP,
                "HWPT_ALLOC of a nest parent");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, 0, &hwpt), 0, "HWPT_ALLOC over the default IOAS");
    check_errno(iommufd_attach(device, hwpt), 0, "attach of nidus-dma");
    ndma_start(&r->dma, gpa_of(r->dma.ring), 8);
    check(dma_fill(r, gpa_of(from), BYTES, 0x33) == NDMA_DONE && ndma_pattern_check(from, 0, BYTES, 0x33) == BYTES,
          "FILL 1 MiB at GPA 0x%llx, verified", (unsigned long long)gpa_of(from));
    check(dma_copy(r, gpa_of(from), gpa_of(to), BYTES) == NDMA_DONE && ndma_pattern_check(to, 0, BYTES, 0x33) == BYTES,
          "COPY 1 MiB to GPA 0x%llx, verified", (unsigned long long)gpa_of(to));
    outside(r);
    check_errno(iommufd_ioas_unmap(ioas, gpa_of(to), BYTES), 0, "IOAS_UNMAP of the second buffer");
    check(dma_fill(r, gpa_of(to), 64, 0x34) == NDMA_DST_ERROR && ndma_pattern_check(to, 0, BYTES, 0x33) == BYTES,
          "after it a write to GPA 0x%llx is refused; nothing written", (unsigned long long)gpa_of(to));
    ndma_reset(&r->dma);
    check_errno(iommufd_detach(device), 0, "detach");
    check_errno(iommufd_destroy(hwpt), 0, "DESTROY of the HWPT");
}
