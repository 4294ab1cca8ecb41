/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NIDUS_BOOT_CTYPE_H
#define NIDUS_BOOT_CTYPE_H

static inline int isspace(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
