/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/call.h"

#include <stdio.h>

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

const char *errno_name(int64_t error)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        { 0, "ok" },                              { NIDUS_EPERM, "EPERM" },
        { NIDUS_ENOENT, "ENOENT" },               { NIDUS_EIO, "EIO" },
        { NIDUS_E2BIG, "E2BIG" },                 { NIDUS_ENOMEM, "ENOMEM" },
        { NIDUS_EFAULT, "EFAULT" },               { NIDUS_EBUSY, "EBUSY" },
        { NIDUS_EEXIST, "EEXIST" },               { NIDUS_ENODEV, "ENODEV" },
        { NIDUS_EINVAL, "EINVAL" },               { NIDUS_ENOTTY, "ENOTTY" },
        { NIDUS_ENOSPC, "ENOSPC" },               { NIDUS_ESPIPE, "ESPIPE" },
        { NIDUS_EOVERFLOW, "EOVERFLOW" },         { NIDUS_EOPNOTSUPP, "EOPNOTSUPP" },
        { NIDUS_EADDRINUSE, "EADDRINUSE" },       { NIDUS_ETIMEDOUT, "ETIMEDOUT" },
    };
    static char other[2][24];
    static unsigned turn;
    int64_t number = error < 0 ? -error : error;

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    turn ^= 1;
    snprintf(other[turn], sizeof(other[turn]), "error %lld", (long long)number);
    return other[turn];
}
