/* SPDX-License-Identifier: BSD-2-Clause */
/* envelope.c: the rules that Linux's copy_struct_from_user and iommufd's ioctl entry set for every payload. */
#include "iommu/envelope.h"

#include "iommu/platform.h"

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

int envelope_read(struct guest *guest, uint64_t gpa, void *payload, uint32_t min, uint32_t known, uint32_t *size)
{
    uint32_t *words = payload, present;
    bool whole;

    if (gpa == 0)
        return -NIDUS_EFAULT;
    /* All that is known at once, in which a shorter payload lies as well; where that is not all RAM, the size first. */
    whole = platform_guest_read(guest, gpa, payload, known) == 0;
    if (!whole && platform_guest_read(guest, gpa, payload, sizeof(*size)) != 0)
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

int envelope_write(struct guest *guest, uint64_t gpa, const void *payload, uint32_t known, uint32_t size)
{
    return platform_guest_write(guest, gpa, payload, size < known ? size : known);
}
