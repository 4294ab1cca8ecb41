/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "guests/runtime/call.h"

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
        { NIDUS_EMSGSIZE, "EMSGSIZE" },
    };
    static char other[2][32];
    static unsigned turn;
    int64_t number = error < 0 ? -error : error;

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    turn ^= 1;
    snprintf(other[turn], sizeof(other[turn]), "error %lld", (long long)number);
    return other[turn];
}
