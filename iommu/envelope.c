/* SPDX-License-Identifier: BSD-2-Clause */
/* envelope.c: the rules that Linux's copy_struct_from_user and iommufd's ioctl entry set for every payload. */
#include "iommu/envelope.h"

/* Is [gpa, gpa + size) all zero? */
static int check_zero_tail(struct guest *guest, uint64_t gpa, uint32_t size)
{
    uint8_t part[64];

    while (size > 0) {
        uint32_t bytes = size < sizeof(part) ? size : sizeof(part);
        int error = platform_guest_read(guest, gpa, part, bytes);

        if (error != 0)
            return error;
        for (uint32_t i = 0; i < bytes; i++)
            if (part[i] != 0)
                return -NIDUS_E2BIG;
        gpa += bytes;
        size -= bytes;
    }
    return 0;
}

__attribute__((noinline))
int envelope_read_unlike(struct guest *guest, uint64_t gpa, void *payload, uint32_t min, uint32_t known, uint32_t *size, bool whole)
{
    uint32_t *words = payload, present;

    if (gpa == 0 || (!whole && platform_guest_read(guest, gpa, payload, sizeof(*size)) != 0))
        return -NIDUS_EFAULT;
    *size = words[0];
    if (*size < min)
        return -NIDUS_EINVAL;
    if (*size > ENVELOPE_MAX_SIZE)
        return -NIDUS_E2BIG;
    present = *size < known ? *size : known;
    if (!whole && platform_guest_read(guest, gpa + sizeof(*size), words + 1, present - sizeof(*size)) != 0)
        return -NIDUS_EFAULT;
    for (uint32_t i = present; i < known; i++)
        ((uint8_t *)payload)[i] = 0;
    return *size > known ? check_zero_tail(guest, gpa + known, *size - known) : 0;
}
