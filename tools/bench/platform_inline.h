/* SPDX-License-Identifier: BSD-2-Clause */
/* platform_inline.h: the kernel's own, where a physical address is the address in this process. */
#ifndef BENCH_PLATFORM_INLINE_H
#define BENCH_PLATFORM_INLINE_H

#define NIDUS_MEMORY_H          /* in the place of kernel/memory.h */

static inline void *phys_to_virt(uint64_t phys) { return (void *)phys; }
static inline uint64_t virt_to_phys(const void *virt) { return (uint64_t)virt; }

#include "kernel/platform_inline.h"

#endif
