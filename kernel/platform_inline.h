/* SPDX-License-Identifier: BSD-2-Clause */
/* platform_inline.h: the part of iommu/platform.h that is single instructions on bare metal. */
#ifndef NIDUS_PLATFORM_INLINE_H
#define NIDUS_PLATFORM_INLINE_H

#include "kernel/memory.h"

static inline uint64_t platform_phys(const void *page) {
    return virt_to_phys(page);
}

static inline void *platform_virt(uint64_t phys) {
    return phys_to_virt(phys);
}

static inline uint32_t platform_read32(volatile void *registers, uint32_t offset) {
    return *(volatile uint32_t *)((volatile uint8_t *)registers + offset);
}

static inline uint64_t platform_read64(volatile void *registers, uint32_t offset) {
    return *(volatile uint64_t *)((volatile uint8_t *)registers + offset);
}

static inline void platform_write32(volatile void *registers, uint32_t offset, uint32_t value) {
    __asm__ volatile("" : : : "memory");
    *(volatile uint32_t *)((volatile uint8_t *)registers + offset) = value;
}

static inline void platform_write64(volatile void *registers, uint32_t offset, uint64_t value) {
    __asm__ volatile("" : : : "memory");
    *(volatile uint64_t *)((volatile uint8_t *)registers + offset) = value;
}

/* Stores of one x86 CPU appear in program order (SDM volume 3, 9.2.2); the compiler has to keep it. */
static inline void platform_store64(volatile uint64_t *entry, uint64_t value) {
    __asm__ volatile("movq %1, %0" : "=m"(*entry) : "r"(value) : "memory");
}

/*
 * CMPXCHG16B is the only 16-byte store that is indivisible without vector registers.  It fails where hardware has written
 * (an A bit) after the load, and then tries again with what it found; the entry's writers are serialised by their caller.
 */
static inline void platform_store128(volatile void *entry, uint64_t low, uint64_t high) {
    const volatile uint64_t *old = entry;
    uint64_t old_low = old[0], old_high = old[1];
    bool done;
    do
        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(done), "+m"(*(volatile unsigned __int128 *)entry), "+a"(old_low), "+d"(old_high)
                         : "b"(low), "c"(high) : "memory");
    while (!done);
}

static inline void platform_clear64(volatile uint64_t *entry, uint64_t bits) {
    __asm__ volatile("lock andq %1, %0" : "+m"(*entry) : "r"(~bits) : "memory", "cc");
}

static inline uint64_t platform_load64(const volatile uint64_t *entry) {
    return *entry;
}

static inline uint32_t platform_load32(const volatile uint32_t *word) {
    return *word;
}

/* Each word of from is read once. */
static inline void platform_copy(void *to, const void *from, size_t size) {
    size_t words = size / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    if (size % 8 != 0)
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
}

static inline void platform_pause(void) {
    __asm__ volatile("pause" : : : "memory");
}

__attribute__((noinline, unused))
static void platform_lock_held(struct lock *lock) {
    do
        while (lock->held)
            platform_pause();
    while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE));
}

static inline void platform_lock(struct lock *lock) {
    uint32_t held = 1;
    __asm__ volatile("xchgl %0, %1" : "+r"(held), "+m"(lock->held) : : "memory");
    if (__builtin_expect(held, 0))
        platform_lock_held(lock);
}

static inline void platform_unlock(struct lock *lock) {
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

static inline void platform_require_lock(const struct lock *lock) {
    (void)lock;
}

#endif
