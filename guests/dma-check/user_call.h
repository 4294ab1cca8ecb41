/* SPDX-License-Identifier: BSD-2-Clause */
/* user_call.h: a hypercall from privilege level 3. */
#ifndef GUESTS_DMA_CHECK_USER_CALL_H
#define GUESTS_DMA_CHECK_USER_CALL_H

#include <stdint.h>

/* nidus_call, but made by a page of code that runs at CPL 3. */
int64_t user_call(uint32_t number, void *payload, uint32_t device);

#endif
