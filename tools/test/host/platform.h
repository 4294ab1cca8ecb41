/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform.h: iommu/platform.h in an ordinary process, and what a test sets up and looks at there.
 *
 * Physical memory is one sparse array at HOST_MEMORY_BASE: table pages in its lower part, guests' RAM above.
 * Each table page has a second copy, the *memory image*: what a device sees that does not snoop caches.
 * platform_write_back brings the image up to date.  Freed pages are poisoned under the address sanitizer.
 */
#ifndef HOST_PLATFORM_H
#define HOST_PLATFORM_H

#include "iommu/platform.h"

#define HOST_MEMORY_BASE  0x100000000ULL
#ifndef HOST_TABLE_BYTES
#define HOST_TABLE_BYTES  (128ULL << 20)
#endif
#ifndef HOST_RAM_BYTES
#define HOST_RAM_BYTES    (512ULL << 20)
#endif
#define HOST_GUEST_CHUNKS 8

/* Guests --------------------------------------------------------------------------------------------- */

struct host_chunk {
    uint64_t gpa, size, hpa;
    int rights;                 /* PLATFORM_OWN, PLATFORM_WRITE */
};

struct guest {
    char name[32];
    struct host_chunk chunk[HOST_GUEST_CHUNKS]; /* by GPA */
    unsigned chunks;
    uint64_t bytes_left;        /* quota */
    uint64_t bytes_used;        /* by what is allocated now */
    uint64_t log_second;        /* in which log_lines were logged */
    unsigned log_lines;
    struct guest *next;
};

/* Everything as at the start of the process: no memory, guests, registers, functions, hooks; clock 0. */
void host_reset(void);

struct guest *host_guest(const char *name, uint64_t ram);
/* More RAM; the HPA does not follow the last chunk's.  Chunks that touch in GPA are one region. */
void host_guest_add_ram(struct guest *guest, uint64_t gpa, uint64_t size);
/* Another guest's chunk at gpa: a region that they share. */
void host_guest_share(struct guest *guest, uint64_t gpa, struct guest *other, uint64_t other_gpa, bool write);
/* The byte at gpa, which must be memory of the guest. */
uint8_t *host_guest_byte(struct guest *guest, uint64_t gpa);
uint64_t host_guest_hpa(struct guest *guest, uint64_t gpa);

/* Memory --------------------------------------------------------------------------------------------- */

/* What the CPU sees at phys, NULL: no memory. */
void *host_phys(uint64_t phys);
/* The word that a walker reads: from the memory image when it does not snoop, else as the CPU sees it.  phys must be memory. */
uint64_t host_walk64(uint64_t phys, bool coherent);
bool host_phys_is_table(uint64_t phys); /* an allocated table page */
/* The same byte as memory holds it, without what is only in the CPU's caches.  NULL: no memory. */
void *host_phys_unsnooped(uint64_t phys);

uint64_t host_pages_live(void);         /* pages allocated now */
uint64_t host_objects_live(void);
/* The n-th allocation of pages or objects from now fails, 1: the next; 0: none.  Once. */
void host_fail_allocation(unsigned n);
/* A page that is freed is the next one to be allocated, or the last. */
void host_reuse_early(bool on);
bool host_allocation_failed(void);      /* did that happen since? */

/* Called after each store to a table. */
extern void (*host_store_hook)(volatile void *entry, unsigned bytes);
/* Called after each load of a table's word, or of one that a guest has in place, and after each copy from a guest's memory. */
extern void (*host_load_hook)(const volatile void *from, size_t bytes);
/* Called at each platform_pause: time for hardware to get on. */
extern void (*host_pause_hook)(void);

/* Registers ------------------------------------------------------------------------------------------ */

struct host_registers {
    uint64_t phys, size;
    void *context;
    uint64_t (*read)(void *context, uint32_t offset, unsigned bytes);
    void (*write)(void *context, uint32_t offset, unsigned bytes, uint64_t value);
    struct host_registers *next;
};
/* registers is kept by reference until host_reset. */
void host_registers_add(struct host_registers *registers);

/* Time, log, CPU, PCI -------------------------------------------------------------------------------- */

void host_time_advance(uint64_t ns);    /* each platform_time_ns is 100 ns, each platform_pause 1 us */

/* The log: kept since host_log_clear, printed too where HOST_LOG is in the environment. */
unsigned host_log_lines(void);
bool host_log_has(const char *text);
void host_log_clear(void);

extern uint32_t host_cpu_signature;
extern const char *host_hypervisor;

/* A guest's lines in a second; more are lost. */
#define HOST_GUEST_LINES 20u

/* What firmware has reserved: one range. */
extern uint64_t host_reserved_base, host_reserved_size;
/* Called after each configuration write. */
extern void (*host_config_hook)(uint16_t bdf, uint16_t offset, uint32_t value);

struct host_function {
    uint16_t segment, bdf;
    bool bus_master;
    uint8_t config[4096];
    struct host_function *next;
};
struct host_function *host_function_add(uint16_t segment, uint16_t bdf);
struct host_function *host_function(uint16_t segment, uint16_t bdf);

#endif
