/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/call.h"

const struct nidus_guest_info *guest_info;

int64_t nidus_call_gpa(uint32_t number, uint64_t payload, uint64_t device)
{
    int64_t result;

    if (guest_info->call == NIDUS_CALL_VMMCALL)
        __asm__ volatile("vmmcall" : "=a"(result) : "a"((uint64_t)number), "D"(payload), "S"(device) : "memory");
    else
        __asm__ volatile("vmcall" : "=a"(result) : "a"((uint64_t)number), "D"(payload), "S"(device) : "memory");
    return result;
}
