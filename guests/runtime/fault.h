/* SPDX-License-Identifier: BSD-2-Clause */
/* fault.h: a fault record in words. */
#ifndef GUESTS_RUNTIME_FAULT_H
#define GUESTS_RUNTIME_FAULT_H

#include <stddef.h>

#include "guests/runtime/call.h"

/* What reason `code` means (spec 5.10 table 30), for the reasons that a guest can cause. */
const char *fault_reason(uint8_t code);

/* "71h first-stage entry not present: write to 0x7f0000000000, first stage level 1". */
void fault_describe(const struct nidus_fault *fault, char *out, size_t size);

#endif
