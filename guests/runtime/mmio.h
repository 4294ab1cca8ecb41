/* SPDX-License-Identifier: BSD-2-Clause */
/* mmio.h: device registers. */
#ifndef GUESTS_RUNTIME_MMIO_H
#define GUESTS_RUNTIME_MMIO_H

#include <stdint.h>

static inline uint32_t mmio_read32(volatile void *base, uint32_t offset)
{
    return *(volatile uint32_t *)((volatile char *)base + offset);
}

static inline uint64_t mmio_read64(volatile void *base, uint32_t offset)
{
    return *(volatile uint64_t *)((volatile char *)base + offset);
}

static inline void mmio_write32(volatile void *base, uint32_t offset, uint32_t value)
{
    __asm__ volatile("" : : : "memory");    /* what the device will read is in memory before */
    *(volatile uint32_t *)((volatile char *)base + offset) = value;
}

static inline void mmio_write64(volatile void *base, uint32_t offset, uint64_t value)
{
    __asm__ volatile("" : : : "memory");
    *(volatile uint64_t *)((volatile char *)base + offset) = value;
}

#endif
