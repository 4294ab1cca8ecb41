/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errno.h: the error numbers that calls return, negated, in RAX.  The values are Linux's, so a guest may
 * compare them with its own <errno.h> only if that has Linux's values too.
 */
#ifndef NIDUS_ABI_ERRNO_H
#define NIDUS_ABI_ERRNO_H

#define NIDUS_EPERM        1
#define NIDUS_ENOENT       2
#define NIDUS_EIO          5
#define NIDUS_E2BIG        7
#define NIDUS_ENOMEM      12
#define NIDUS_EFAULT      14
#define NIDUS_EBUSY       16
#define NIDUS_EEXIST      17
#define NIDUS_ENODEV      19
#define NIDUS_EINVAL      22
#define NIDUS_ENOTTY      25
#define NIDUS_ENOSPC      28
#define NIDUS_ESPIPE      29
#define NIDUS_EOVERFLOW   75
#define NIDUS_EMSGSIZE    90
#define NIDUS_EOPNOTSUPP  95
#define NIDUS_EADDRINUSE  98
#define NIDUS_ETIMEDOUT  110

#endif
