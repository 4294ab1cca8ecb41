/* SPDX-License-Identifier: BSD-2-Clause */
/* platform_inline.h: the static inline part of iommu/platform.h in an ordinary process. */
#ifndef HOST_PLATFORM_INLINE_H
#define HOST_PLATFORM_INLINE_H

uint64_t host_phys_of(const void *page);
void *host_virt_of(uint64_t phys);
uint64_t host_register_read(volatile void *registers, uint32_t offset, unsigned bytes);
void host_register_write(volatile void *registers, uint32_t offset, unsigned bytes, uint64_t value);
void host_copy(void *to, const void *from, size_t size);
void host_stored(volatile void *entry, unsigned bytes);
extern void (*host_load_hook)(const volatile void *from, size_t bytes); /* tools/test/host/platform.h */
void host_pause(void);
void host_lock(struct lock *lock);
void host_unlock(struct lock *lock);
void host_require_lock(const struct lock *lock);

static inline uint64_t platform_phys(const void *page)
{
    return host_phys_of(page);
}

static inline void *platform_virt(uint64_t phys)
{
    return host_virt_of(phys);
}

static inline uint32_t platform_read32(volatile void *registers, uint32_t offset)
{
    return (uint32_t)host_register_read(registers, offset, 4);
}

static inline uint64_t platform_read64(volatile void *registers, uint32_t offset)
{
    return host_register_read(registers, offset, 8);
}

static inline void platform_write32(volatile void *registers, uint32_t offset, uint32_t value)
{
    host_register_write(registers, offset, 4, value);
}

static inline void platform_write64(volatile void *registers, uint32_t offset, uint64_t value)
{
    host_register_write(registers, offset, 8, value);
}

static inline void platform_copy(void *to, const void *from, size_t size)
{
    host_copy(to, from, size);
}

static inline void platform_store64(volatile uint64_t *entry, uint64_t value)
{
    *entry = value;
    host_stored(entry, 8);
}

static inline void platform_store128(volatile void *entry, uint64_t low, uint64_t high)
{
    volatile uint64_t *words = entry;

    words[0] = low;
    words[1] = high;
    host_stored(entry, 16);
}

/* Hardware may walk, and set a bit, just before. */
static inline void platform_clear64(volatile uint64_t *entry, uint64_t bits)
{
    host_stored(entry, 8);
    *entry &= ~bits;
    host_stored(entry, 8);
}

static inline uint64_t platform_load64(const volatile uint64_t *entry)
{
    uint64_t value = *entry;

    if (host_load_hook != NULL)
        host_load_hook(entry, 8);
    return value;
}

static inline uint32_t platform_load32(const volatile uint32_t *word)
{
    return *word;
}

static inline void platform_pause(void)
{
    host_pause();
}

static inline void platform_lock(struct lock *lock)
{
    host_lock(lock);
}

static inline void platform_unlock(struct lock *lock)
{
    host_unlock(lock);
}

static inline void platform_require_lock(const struct lock *lock)
{
    host_require_lock(lock);
}

#endif
