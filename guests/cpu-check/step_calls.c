/* SPDX-License-Identifier: BSD-2-Clause */
/* 8: hypercalls, and those about an IOMMU that is not there. */
#include "guests/cpu-check/steps.h"
#include "guests/runtime/call.h"
#include "guests/runtime/check.h"

void step_calls(void)
{
    struct nidus_ioas_alloc alloc = { .size = sizeof(alloc) };
    struct nidus_console_write print = { .size = sizeof(print) };

    check_step("8", "calls");
    check_errno(nidus_call(NIDUS_CALL_CONSOLE_WRITE, &print, 0), 0, "printing nothing");
    check_errno(nidus_call_gpa(NIDUS_CALL_CONSOLE_WRITE, 1ull << 46, 0), NIDUS_EFAULT, "a payload outside RAM");
    check_errno(nidus_call_gpa(0x12345678, 0, 0), NIDUS_ENOTTY, "a number that is no call's");
    check_errno(nidus_call_gpa(NIDUS_CALL_PCI_CONFIG_READ, 0, 1), NIDUS_EFAULT, "a device call without a payload");
    check(guest_info->default_ioas == 0, "there is no IOMMU: no default IOAS");
    check_errno(nidus_call(NIDUS_CALL_IOAS_ALLOC, &alloc, 0), NIDUS_ENODEV, "IOAS_ALLOC without an IOMMU");
}
