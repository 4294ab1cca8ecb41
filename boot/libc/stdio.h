/* SPDX-License-Identifier: BSD-2-Clause */
/* What inih's file functions need to compile.  nidus.efi has no such files and calls none of these functions. */
#ifndef NIDUS_BOOT_STDIO_H
#define NIDUS_BOOT_STDIO_H

#include <stddef.h>

typedef struct nidus_no_file FILE;

static inline FILE *fopen(const char *name, const char *mode)
{
    (void)name, (void)mode;
    return NULL;
}

static inline int fclose(FILE *file)
{
    (void)file;
    return 0;
}

static inline char *fgets(char *line, int size, FILE *file)
{
    (void)line, (void)size, (void)file;
    return NULL;
}

#endif
