/* SPDX-License-Identifier: BSD-2-Clause */
/* platform_inline.h: the kernel's own, where a physical address is the address in this process. */
#ifndef BENCH_PLATFORM_INLINE_H
#define BENCH_PLATFORM_INLINE_H

#define NIDUS_MEMORY_H          /* in the place of kernel/memory.h */

static inline void *phys_to_virt(uint64_t phys) { return (void *)phys; }
static inline uint64_t virt_to_phys(const void *virt) { return (uint64_t)virt; }

#define platform_write64 kernel_write64
#include "kernel/platform_inline.h"
#undef platform_write64

void bench_written(uint32_t offset);

/* The unit performs what is in its queue at the write of the tail, as QEMU's does. */
static inline void platform_write64(volatile void *registers, uint32_t offset, uint64_t value)
{
    kernel_write64(registers, offset, value);
    bench_written(offset);
}

#endif
