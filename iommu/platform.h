/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform.h: all that iommu/ and kernel/stage2.c need from their surroundings.
 *
 * The kernel implements it (kernel/platform_inline.h, kernel/platform.c), and so does an ordinary process on the
 * developer's host, so the same sources run in both.  Nothing in iommu/ reaches the machine in
 * another way: registers through platform_read/write, tables that hardware reads through
 * platform_store64/128.
 *
 * `struct guest *owner`: whom an allocation is charged to.  NULL is nidus itself.  A guest over its quota
 * gets NULL, and only that guest.
 */
#ifndef NIDUS_PLATFORM_H
#define NIDUS_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/abi/errno.h"

struct guest;

#define PAGE_SIZE  4096ULL
#define PAGE_SHIFT 12

/* 2^order zeroed pages, aligned to their size and written back from the caches; NULL: none left.  order 0 to 8. */
void *platform_pages_alloc(struct guest *owner, unsigned order);
void platform_pages_free(struct guest *owner, void *pages, unsigned order);

/* A zeroed object of 1 to 4096 bytes, aligned to 16; NULL: none left.  Free with the same size. */
void *platform_alloc(struct guest *owner, size_t size);
void platform_free(struct guest *owner, void *object, size_t size);

/* A page that platform_pages_alloc gave: its physical address and back. */
static inline uint64_t platform_phys(const void *page);
static inline void *platform_virt(uint64_t phys);

/* Registers of one unit, uncached.  phys is page aligned.  NULL: no address space left. */
volatile void *platform_map_registers(uint64_t phys, uint64_t size);
static inline uint32_t platform_read32(volatile void *registers, uint32_t offset);
static inline uint64_t platform_read64(volatile void *registers, uint32_t offset);
static inline void platform_write32(volatile void *registers, uint32_t offset, uint32_t value);
static inline void platform_write64(volatile void *registers, uint32_t offset, uint64_t value);

/* One indivisible store to a table that hardware reads; entry is aligned to the size of the store.
 * Stores appear in program order. */
static inline void platform_store64(volatile uint64_t *entry, uint64_t value);
static inline void platform_store128(volatile void *entry, uint64_t low, uint64_t high);
/* Clears bits of an entry in which hardware may set others, indivisibly. */
static inline void platform_clear64(volatile uint64_t *entry, uint64_t bits);
/* One indivisible load of a word that hardware may write. */
static inline uint64_t platform_load64(const volatile uint64_t *entry);
static inline uint32_t platform_load32(const volatile uint32_t *word);

/* Writes the cache lines of [p, p + size) back to memory and waits: for units whose walks do not snoop. */
void platform_write_back(const volatile void *p, size_t size);

/* Nanoseconds since some moment, never backwards. */
uint64_t platform_time_ns(void);
static inline void platform_pause(void);

/*
 * A lock: held for a short while, and never by what interrupts whoever holds it.  A processor that holds one takes only those of higher rank;
 * the host's platform stops where that, or platform_require_lock, does not hold.  In this order:
 */
enum lock_rank {
    LOCK_CONTEXT = 1,           /* a guest's objects: one of its calls at a time */
    LOCK_UNIT,                  /* a unit's queue, domain ids, devices and their PASID tables */
    LOCK_DOMAIN,                /* a second-stage table, against the walk that explains a fault */
    LOCK_EVENTS,                /* a guest's fault records and page requests */
};
struct lock {
    enum lock_rank rank;
    volatile uint32_t held;
};
static inline void platform_lock(struct lock *lock);
static inline void platform_unlock(struct lock *lock);
/* The caller's caller has it. */
static inline void platform_require_lock(const struct lock *lock);

/* One line of the log, without its line feed.  At most 240 characters are kept. */
void platform_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for what a guest asked for, with "guest NAME: " before it.  A guest that causes more than a person can read has
 * its lines counted instead of printed. */
void platform_guest_log(struct guest *guest, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* snprintf: %s %c %d %u %x %X with 0, width, l, ll, z; %p.  Returns the length that the whole text has. */
int platform_format(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The guest's memory.  A range that is not wholly RAM is -EFAULT and nothing is copied.  Any alignment. */
int platform_guest_read(struct guest *guest, uint64_t gpa, void *to, size_t size);
int platform_guest_write(struct guest *guest, uint64_t gpa, const void *from, size_t size);
/* Where [gpa, gpa + size) of its RAM lies, if that can be said at once: it is in one piece, that of the copy before, and not in the page at 0; NULL:
 * the two above are the way.  size: below 2^32.
 * Good until the guest ends.  The guest and its devices may change what is there at any time: what is used of a word is what one
 * reading of it has given. */
void *platform_guest_piece(struct guest *guest, uint64_t gpa, size_t size);
/* To or from such a piece.  size: a multiple of 4. */
static inline void platform_copy(void *to, const void *from, size_t size);
/* Where the page of its memory at gpa lies, and how many bytes from there on are contiguous both in GPA and in HPA.  gpa is 4 KiB
 * aligned.  Returns PLATFORM_OWN: its RAM, else a region that it shares with other guests; | PLATFORM_WRITE: it, and its devices, may write there.
 * -EFAULT: no memory. */
int platform_guest_memory(struct guest *guest, uint64_t gpa, uint64_t *hpa, uint64_t *run);
#define PLATFORM_OWN   1
#define PLATFORM_WRITE 2
/* The i-th region of the guest's memory, from 0; the same may be done with all its pages.  false: no more. */
bool platform_guest_region(struct guest *guest, unsigned i, uint64_t *gpa, uint64_t *size);
const char *platform_guest_name(struct guest *guest);
/* Is all of [base, base + size) memory that firmware reserved, and so neither nidus's nor any guest's? */
bool platform_is_reserved(uint64_t base, uint64_t size);

/* PCI configuration.  bdf: bus 15:8, device 7:3, function 2:0.  A function that is not there reads all ones. */
uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width);
/* Offset of an extended capability; 0: none. */
uint16_t platform_pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id);
void platform_pci_write(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value);
/* Sets or clears Bus Master; clearing waits, at most 100 ms, for Transactions Pending to end. */
void platform_pci_bus_master(uint16_t segment, uint16_t bdf, bool on);

/* CPUID 1 EAX, and the hypervisor's id (CPUID 0x40000000, EBX ECX EDX), "" when there is none. */
uint32_t platform_cpu_signature(void);
void platform_hypervisor_id(char id[13]);

/* A state that nidus cannot go on from: says so and stops the machine.  Never for what firmware, a guest or a device did. */
_Noreturn void platform_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#include "platform_inline.h" /* the functions above that are static inline */

#endif
