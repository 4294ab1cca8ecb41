/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * envelope.h: how a payload comes in and its answer goes out, for every call, the kernel's own too.
 *
 * A payload begins with its size.  Each of its bytes is read once, so a guest that changes it meanwhile changes
 * nothing that was checked.
 */
#ifndef NIDUS_ENVELOPE_H
#define NIDUS_ENVELOPE_H

#include <stdint.h>

struct guest;

/* A larger size is -E2BIG before its tail is looked at. */
#define ENVELOPE_MAX_SIZE 4096u

/*
 * Reads the payload at gpa into known bytes; what the guest left out is zero.  min is 4 to known.  *size: the guest's size.
 * -EFAULT: a part is no RAM, or gpa is 0; -EINVAL: size below min; -E2BIG: a byte beyond known is not zero.
 */
int envelope_read(struct guest *guest, uint64_t gpa, void *payload, uint32_t min, uint32_t known, uint32_t *size);

/* Writes the answer, as much of it as the guest's size has room for.  -EFAULT. */
int envelope_write(struct guest *guest, uint64_t gpa, const void *payload, uint32_t known, uint32_t size);

#endif
