/* SPDX-License-Identifier: BSD-2-Clause */
/* call.h: the bare hypercall, and what every guest finds at its start. */
#ifndef GUESTS_RUNTIME_CALL_H
#define GUESTS_RUNTIME_CALL_H

#include <stdint.h>

#include "kernel/abi/nidus.h"

/* The guest-info page.  Set before main runs. */
extern const struct nidus_guest_info *guest_info;

/* Call `number` with the payload at GPA `payload`; `device` where the call is about a device.  0 or a negative errno. */
int64_t nidus_call_gpa(uint32_t number, uint64_t payload, uint64_t device);

/* The same with a pointer: a guest's memory is mapped one to one. */
static inline int nidus_call(uint32_t number, void *payload, uint32_t device)
{
    return (int)nidus_call_gpa(number, (uint64_t)payload, device);
}

/* "EINVAL" for -NIDUS_EINVAL or NIDUS_EINVAL, "ok" for 0. */
const char *errno_name(int64_t error);

#endif
