/* SPDX-License-Identifier: BSD-2-Clause */
/* platform.c: iommu/platform.h in an ordinary process.  A misuse of the interface aborts. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "tools/test/host/platform.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY_BYTES (HOST_TABLE_BYTES + HOST_RAM_BYTES)
#define TABLE_PAGES  (HOST_TABLE_BYTES / PAGE_SIZE)
#define LARGE_PAGE   (2ULL << 20)
#define LOG_BYTES    (1u << 20)

/* A run of table pages, kept at the index of its first page. */
struct run {
    bool used;
    unsigned order;
    struct guest *owner;
};

struct object {
    uint64_t magic;
    size_t size;
    struct guest *owner;
    uint64_t unused;
};
#define OBJECT_MAGIC 0x6f626a6563740001ULL

static struct {
    uint8_t *memory, *image;
    struct run run[TABLE_PAGES];
    bool used[TABLE_PAGES];
    uint64_t next_page, ram_end;
    bool reuse_early;
    uint64_t pages_live, objects_live;
    unsigned fail_in;
    bool failed;
    struct guest *guests;
    struct host_registers *registers;
    struct host_function *functions;
    uint64_t now;
    char log[LOG_BYTES];
    size_t log_length;
    unsigned log_lines;
} host;

void (*host_store_hook)(volatile void *entry, unsigned bytes);
void (*host_load_hook)(const volatile void *from, size_t bytes);
void (*host_pause_hook)(void);
void (*host_config_hook)(uint16_t bdf, uint16_t offset, uint32_t value);
uint64_t host_reserved_base, host_reserved_size;
uint32_t host_cpu_signature = 0x806f8;
const char *host_hypervisor = "";

static _Noreturn void misuse(const char *what)
{
    fprintf(stderr, "host platform: %s\n", what);
    abort();
}

/* Locks: there is one thread, so a lock that cannot be taken never will be, and what is checked is the order. */
static struct lock *held[8];
static unsigned locks_held;

void host_lock(struct lock *lock)
{
    if (lock->rank == 0)
        misuse("a lock without a rank");
    if (lock->held || (locks_held != 0 && held[locks_held - 1]->rank >= lock->rank))
        misuse("a lock is taken out of order");
    lock->held = 1;
    held[locks_held++] = lock;
}

void host_unlock(struct lock *lock)
{
    if (locks_held == 0 || held[locks_held - 1] != lock)
        misuse("a lock is given back that was not the last one taken");
    locks_held--;
    lock->held = 0;
}

void host_require_lock(const struct lock *lock)
{
    if (!lock->held)
        misuse("something is done without its lock");
}

static void memory_init(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    if (host.memory != NULL)
        return;
    host.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    host.image = mmap(NULL, HOST_TABLE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (host.memory == MAP_FAILED || host.image == MAP_FAILED)
        misuse("no memory");
    ASAN_POISON_MEMORY_REGION(host.memory, MEMORY_BYTES);
    host.ram_end = HOST_TABLE_BYTES;
}

void host_reset(void)
{
    locks_held = 0;
    while (host.guests != NULL) {
        struct guest *guest = host.guests;

        host.guests = guest->next;
        free(guest);
    }
    while (host.functions != NULL) {
        struct host_function *function = host.functions;

        host.functions = function->next;
        free(function);
    }
    if (host.memory != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(host.memory, MEMORY_BYTES);
        munmap(host.memory, MEMORY_BYTES);
        munmap(host.image, HOST_TABLE_BYTES);
    }
    host_store_hook = NULL;
    host_load_hook = NULL;
    host_pause_hook = NULL;
    host_cpu_signature = 0x806f8;
    host_hypervisor = "";
    memset(&host, 0, sizeof(host) - sizeof(host.log) - sizeof(host.log_length) - sizeof(host.log_lines));
    host_log_clear();
}

/* Allocation ----------------------------------------------------------------------------------------- */

static bool allocation_allowed(struct guest *owner, uint64_t bytes)
{
    if (host.fail_in != 0 && --host.fail_in == 0) {
        host.failed = true;
        return false;
    }
    if (owner == NULL)
        return true;
    if (owner->bytes_left < bytes)
        return false;
    owner->bytes_left -= bytes;
    owner->bytes_used += bytes;
    return true;
}

static void give_back(struct guest *owner, uint64_t bytes)
{
    if (owner == NULL)
        return;
    if (owner->bytes_used < bytes)
        misuse("freed on behalf of a guest that did not allocate it");
    owner->bytes_left += bytes;
    owner->bytes_used -= bytes;
}

static bool pages_free_at(uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        if (host.used[i])
            return false;
    return true;
}

void *platform_pages_alloc(struct guest *owner, unsigned order)
{
    uint64_t count = 1ULL << order, first;
    uint8_t *pages;

    memory_init();
    if (order > 8)
        misuse("order above 8");
    if (!allocation_allowed(owner, count * PAGE_SIZE))
        return NULL;
    /* From where the last one ended, so that a freed page is taken again late; or from the beginning, so that it is at once. */
    if (host.reuse_early)
        host.next_page = 0;
    first = (host.next_page + count - 1) / count * count;
    for (uint64_t tries = 0;; tries++, first += count) {
        if (tries > 2 * TABLE_PAGES)
            misuse("out of table pages");
        if (first + count > TABLE_PAGES)
            first = 0;
        if (pages_free_at(first, count))
            break;
    }
    host.next_page = first + count;
    host.run[first] = (struct run){ .used = true, .order = order, .owner = owner };
    memset(&host.used[first], true, count);
    host.pages_live += count;
    pages = host.memory + first * PAGE_SIZE;
    ASAN_UNPOISON_MEMORY_REGION(pages, count * PAGE_SIZE);
    memset(pages, 0, count * PAGE_SIZE);
    memset(host.image + first * PAGE_SIZE, 0, count * PAGE_SIZE);
    return pages;
}

void platform_pages_free(struct guest *owner, void *pages, unsigned order)
{
    uint64_t first = (uint64_t)((uint8_t *)pages - host.memory) / PAGE_SIZE, count = 1ULL << order;

    if (first >= TABLE_PAGES || !host.run[first].used)
        misuse("freed pages that are not allocated");
    if (host.run[first].order != order || host.run[first].owner != owner)
        misuse("freed pages with another order or owner");
    host.run[first].used = false;
    memset(&host.used[first], false, count);
    host.pages_live -= count;
    ASAN_POISON_MEMORY_REGION(pages, count * PAGE_SIZE);
    give_back(owner, count * PAGE_SIZE);
}

void *platform_alloc(struct guest *owner, size_t size)
{
    struct object *object;

    if (size == 0 || size > 4096)
        misuse("object size");
    if (!allocation_allowed(owner, size))
        return NULL;
    object = calloc(1, sizeof(*object) + size);
    if (object == NULL)
        misuse("no memory");
    *object = (struct object){ .magic = OBJECT_MAGIC, .size = size, .owner = owner };
    host.objects_live++;
    return object + 1;
}

void platform_free(struct guest *owner, void *p, size_t size)
{
    struct object *object = (struct object *)p - 1;

    if (object->magic != OBJECT_MAGIC || object->size != size || object->owner != owner)
        misuse("freed an object with another size or owner");
    object->magic = 0;
    host.objects_live--;
    give_back(owner, size);
    free(object);
}

uint64_t host_pages_live(void)
{
    return host.pages_live;
}

uint64_t host_objects_live(void)
{
    return host.objects_live;
}

void host_reuse_early(bool on)
{
    host.reuse_early = on;
}

void host_fail_allocation(unsigned n)
{
    host.fail_in = n;
    host.failed = false;
}

bool host_allocation_failed(void)
{
    return host.failed;
}

/* Memory --------------------------------------------------------------------------------------------- */

void *host_phys(uint64_t phys)
{
    if (phys < HOST_MEMORY_BASE || phys - HOST_MEMORY_BASE >= MEMORY_BYTES)
        return NULL;
    phys -= HOST_MEMORY_BASE;
    if (phys < HOST_TABLE_BYTES ? !host.used[phys / PAGE_SIZE] : phys >= host.ram_end)
        return NULL;
    return host.memory + phys;
}

bool host_phys_is_table(uint64_t phys)
{
    return phys >= HOST_MEMORY_BASE && phys - HOST_MEMORY_BASE < HOST_TABLE_BYTES && host_phys(phys) != NULL;
}

void *host_phys_unsnooped(uint64_t phys)
{
    return host_phys_is_table(phys) ? host.image + (phys - HOST_MEMORY_BASE) : host_phys(phys);
}

uint64_t host_walk64(uint64_t phys, bool coherent)
{
    uint64_t word;
    void *p = coherent ? host_phys(phys) : host_phys_unsnooped(phys);

    if (p == NULL)
        misuse("a walk read where there is no memory");
    memcpy(&word, p, sizeof(word));
    return word;
}

uint64_t host_phys_of(const void *page)
{
    uint64_t offset = (uint64_t)((const uint8_t *)page - host.memory);

    if (offset >= HOST_TABLE_BYTES || !host.used[offset / PAGE_SIZE])
        misuse("physical address of something that platform_pages_alloc did not give");
    return HOST_MEMORY_BASE + offset;
}

void *host_virt_of(uint64_t phys)
{
    if (!host_phys_is_table(phys))
        misuse("virtual address of what is no table page");
    return host_phys(phys);
}

void host_stored(volatile void *entry, unsigned bytes)
{
    if ((uintptr_t)entry % bytes != 0)
        misuse("a store to a table is not aligned");
    if (host_store_hook != NULL)
        host_store_hook(entry, bytes);
}

void host_copy(void *to, const void *from, size_t size)
{
    if (size % 4 != 0)
        misuse("platform_copy of what is no whole number of words");
    memcpy(to, from, size);
    if (host_load_hook != NULL)
        host_load_hook(from, size);
}

void platform_write_back(const volatile void *p, size_t size)
{
    const uint8_t *from = (const uint8_t *)((uintptr_t)p & ~(uintptr_t)63);
    uint64_t offset = (uint64_t)(from - host.memory);
    size_t bytes = ((uintptr_t)p + size + 63 - (uintptr_t)from) & ~(size_t)63;

    if (size == 0)
        return;
    if (offset >= HOST_TABLE_BYTES || offset + bytes > HOST_TABLE_BYTES)
        misuse("write-back of what is no table page");
    memcpy(host.image + offset, from, bytes);
}

/* Guests --------------------------------------------------------------------------------------------- */

struct guest *host_guest(const char *name, uint64_t ram)
{
    struct guest *guest = calloc(1, sizeof(*guest));

    if (guest == NULL)
        misuse("no memory");
    snprintf(guest->name, sizeof(guest->name), "%s", name);
    guest->bytes_left = 64 << 20;
    guest->next = host.guests;
    host.guests = guest;
    if (ram != 0)
        host_guest_add_ram(guest, 0, ram);
    return guest;
}

static void chunk_add(struct guest *guest, struct host_chunk chunk)
{
    unsigned i = guest->chunks;

    if (guest->chunks == HOST_GUEST_CHUNKS || chunk.gpa % PAGE_SIZE != 0)
        misuse("guest memory");
    for (; i > 0 && guest->chunk[i - 1].gpa > chunk.gpa; i--)
        guest->chunk[i] = guest->chunk[i - 1];
    guest->chunk[i] = chunk;
    guest->chunks++;
}

void host_guest_add_ram(struct guest *guest, uint64_t gpa, uint64_t size)
{
    memory_init();
    if (size % PAGE_SIZE != 0 || size > MEMORY_BYTES - host.ram_end - LARGE_PAGE)
        misuse("guest RAM");
    chunk_add(guest, (struct host_chunk){ .gpa = gpa, .size = size, .hpa = HOST_MEMORY_BASE + host.ram_end, .rights = PLATFORM_OWN | PLATFORM_WRITE });
    ASAN_UNPOISON_MEMORY_REGION(host.memory + host.ram_end, size);
    /* Large leaves fit; the gap of at least a page stays poisoned. */
    host.ram_end = (host.ram_end + size + LARGE_PAGE) / LARGE_PAGE * LARGE_PAGE;
}

static const struct host_chunk *chunk_at(struct guest *guest, uint64_t gpa)
{
    for (unsigned i = 0; i < guest->chunks; i++)
        if (gpa >= guest->chunk[i].gpa && gpa - guest->chunk[i].gpa < guest->chunk[i].size)
            return &guest->chunk[i];
    return NULL;
}

void host_guest_share(struct guest *guest, uint64_t gpa, struct guest *other, uint64_t other_gpa, bool write)
{
    const struct host_chunk *chunk = chunk_at(other, other_gpa);

    if (chunk == NULL || chunk->gpa != other_gpa)
        misuse("no chunk begins there");
    chunk_add(guest, (struct host_chunk){ .gpa = gpa, .size = chunk->size, .hpa = chunk->hpa, .rights = write ? PLATFORM_WRITE : 0 });
}

uint64_t host_guest_hpa(struct guest *guest, uint64_t gpa)
{
    const struct host_chunk *chunk = chunk_at(guest, gpa);

    if (chunk == NULL)
        misuse("no guest memory there");
    return chunk->hpa + (gpa - chunk->gpa);
}

uint8_t *host_guest_byte(struct guest *guest, uint64_t gpa)
{
    return host_phys(host_guest_hpa(guest, gpa));
}

static bool is_guest_ram(struct guest *guest, uint64_t gpa, size_t size)
{
    while (size > 0) {
        const struct host_chunk *chunk = chunk_at(guest, gpa);
        uint64_t left;

        if (chunk == NULL || !(chunk->rights & PLATFORM_OWN))
            return false;
        left = chunk->size - (gpa - chunk->gpa);
        if (left >= size)
            return true;
        gpa += left;
        size -= left;
    }
    return true;
}

/* How many of the bytes at gpa lie in the same chunk. */
static size_t contiguous(struct guest *guest, uint64_t gpa, size_t size)
{
    const struct host_chunk *chunk = chunk_at(guest, gpa);
    uint64_t left = chunk->size - (gpa - chunk->gpa);

    return left < size ? (size_t)left : size;
}

int platform_guest_read(struct guest *guest, uint64_t gpa, void *to, size_t size)
{
    if (!is_guest_ram(guest, gpa, size))
        return -NIDUS_EFAULT;
    for (size_t done = 0, part; done < size; done += part) {
        part = contiguous(guest, gpa + done, size - done);
        memcpy((uint8_t *)to + done, host_guest_byte(guest, gpa + done), part);
        if (host_load_hook != NULL)
            host_load_hook(host_guest_byte(guest, gpa + done), part);
    }
    return 0;
}

int platform_guest_write(struct guest *guest, uint64_t gpa, const void *from, size_t size)
{
    if (!is_guest_ram(guest, gpa, size))
        return -NIDUS_EFAULT;
    for (size_t done = 0, part; done < size; done += part) {
        part = contiguous(guest, gpa + done, size - done);
        memcpy(host_guest_byte(guest, gpa + done), (const uint8_t *)from + done, part);
    }
    return 0;
}

void *platform_guest_piece(struct guest *guest, uint64_t gpa, size_t size)
{
    bool ram = gpa >= PAGE_SIZE && size != 0 && is_guest_ram(guest, gpa, size);

    return ram && contiguous(guest, gpa, size) == size ? host_guest_byte(guest, gpa) : NULL;
}

int platform_guest_memory(struct guest *guest, uint64_t gpa, uint64_t *hpa, uint64_t *run)
{
    const struct host_chunk *chunk = chunk_at(guest, gpa);

    if (gpa % PAGE_SIZE != 0)
        misuse("platform_guest_memory: not page aligned");
    if (chunk == NULL)
        return -NIDUS_EFAULT;
    *hpa = chunk->hpa + (gpa - chunk->gpa);
    *run = chunk->size - (gpa - chunk->gpa);
    return chunk->rights;
}

bool platform_guest_region(struct guest *guest, unsigned i, uint64_t *gpa, uint64_t *size)
{
    for (unsigned c = 0; c < guest->chunks; c++) {
        *gpa = guest->chunk[c].gpa;
        *size = guest->chunk[c].size;
        while (c + 1 < guest->chunks && guest->chunk[c + 1].gpa == *gpa + *size && guest->chunk[c + 1].rights == guest->chunk[c].rights)
            *size += guest->chunk[++c].size;
        if (i-- == 0)
            return true;
    }
    return false;
}

const char *platform_guest_name(struct guest *guest)
{
    return guest->name;
}

/* Registers ------------------------------------------------------------------------------------------ */

void host_registers_add(struct host_registers *registers)
{
    registers->next = host.registers;
    host.registers = registers;
}

volatile void *platform_map_registers(uint64_t phys, uint64_t size)
{
    for (struct host_registers *r = host.registers; r != NULL; r = r->next)
        if (r->phys == phys && r->size >= size)
            return r;
    return NULL;
}

static struct host_registers *registers_at(volatile void *p, uint32_t offset, unsigned bytes)
{
    for (struct host_registers *r = host.registers; r != NULL; r = r->next) {
        if (r != p)
            continue;
        if (offset % bytes != 0 || offset + bytes > r->size)
            misuse("a register outside its page");
        return r;
    }
    misuse("registers that were not mapped");
}

uint64_t host_register_read(volatile void *p, uint32_t offset, unsigned bytes)
{
    struct host_registers *r = registers_at(p, offset, bytes);

    return r->read(r->context, offset, bytes);
}

void host_register_write(volatile void *p, uint32_t offset, unsigned bytes, uint64_t value)
{
    struct host_registers *r = registers_at(p, offset, bytes);

    r->write(r->context, offset, bytes, value);
}

/* Time, log, CPU, PCI -------------------------------------------------------------------------------- */

uint64_t platform_time_ns(void)
{
    host.now += 100;
    return host.now;
}

void host_pause(void)
{
    host.now += 1000;
    if (host_pause_hook != NULL)
        host_pause_hook();
}

void host_time_advance(uint64_t ns)
{
    host.now += ns;
}

static void keep_line(const char *line)
{
    size_t length = strlen(line);

    if (getenv("HOST_LOG") != NULL)
        fprintf(stderr, "log: %s\n", line);
    host.log_lines++;
    if (host.log_length + length + 2 > LOG_BYTES)
        host.log_length = 0;
    memcpy(host.log + host.log_length, line, length);
    host.log_length += length;
    host.log[host.log_length++] = '\n';
    host.log[host.log_length] = '\0';
}

void platform_log(const char *format, ...)
{
    char line[241];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    keep_line(line);
}

void platform_guest_log(struct guest *guest, const char *format, ...)
{
    char text[230], line[280];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (host.now / 1000000000 != guest->log_second) {
        guest->log_second = host.now / 1000000000;
        guest->log_lines = 0;
    }
    if (guest->log_lines++ >= HOST_GUEST_LINES)
        return;
    snprintf(line, sizeof(line), "guest %s: %s", guest->name, text);
    keep_line(line);
}

unsigned host_log_lines(void)
{
    return host.log_lines;
}

bool host_log_has(const char *text)
{
    return strstr(host.log, text) != NULL;
}

void host_log_clear(void)
{
    host.log[0] = '\0';
    host.log_length = 0;
    host.log_lines = 0;
}

int platform_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return length;
}

struct host_function *host_function(uint16_t segment, uint16_t bdf)
{
    for (struct host_function *f = host.functions; f != NULL; f = f->next)
        if (f->segment == segment && f->bdf == bdf)
            return f;
    return NULL;
}

struct host_function *host_function_add(uint16_t segment, uint16_t bdf)
{
    struct host_function *function = calloc(1, sizeof(*function));

    if (function == NULL)
        misuse("no memory");
    function->segment = segment;
    function->bdf = bdf;
    function->next = host.functions;
    host.functions = function;
    return function;
}

uint32_t platform_pci_read(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width)
{
    struct host_function *f = host_function(segment, bdf);
    uint32_t value = UINT32_MAX;

    if (width != 1 && width != 2 && width != 4)
        misuse("width of a configuration read");
    if (f != NULL && offset % width == 0 && offset + width <= sizeof(f->config)) {
        value = 0;
        memcpy(&value, &f->config[offset], width);
    }
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

void platform_pci_write(uint16_t segment, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
    struct host_function *f = host_function(segment, bdf);

    if ((width != 1 && width != 2 && width != 4) || offset % width != 0)
        misuse("width or offset of a configuration write");
    if (f != NULL && offset + width <= sizeof(f->config))
        memcpy(&f->config[offset], &value, width);
    if (host_config_hook != NULL)
        host_config_hook(bdf, offset, value);
}

uint16_t platform_pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id)
{
    uint32_t header;

    for (unsigned at = 0x100, left = 960; at >= 0x100 && left != 0; at = header >> 20 & 0xffc, left--) {
        header = platform_pci_read(segment, bdf, (uint16_t)at, 4);
        if (header == UINT32_MAX || header == 0)
            return 0;
        if ((header & 0xffff) == id)
            return (uint16_t)at;
    }
    return 0;
}

bool platform_is_reserved(uint64_t base, uint64_t size)
{
    return base >= host_reserved_base && size <= host_reserved_size && base - host_reserved_base <= host_reserved_size - size;
}

void platform_pci_bus_master(uint16_t segment, uint16_t bdf, bool on)
{
    struct host_function *f = host_function(segment, bdf);

    if (f != NULL)
        f->bus_master = on;
}

uint32_t platform_cpu_signature(void)
{
    return host_cpu_signature;
}

void platform_hypervisor_id(char id[13])
{
    snprintf(id, 13, "%s", host_hypervisor);
}

_Noreturn void platform_panic(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    misuse(": panic");
}
