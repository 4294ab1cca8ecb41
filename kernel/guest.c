/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guest.c: a guest from its lines in nidus.conf to its end.
 *
 * RAM comes in frames of 2 MiB that need not be contiguous.  It begins at GPA 0 and leaves a hole from 3 to 4 GiB, where
 * its shared regions and the BARs of its devices are.  Below NIDUS_GUEST_IMAGE_MIN nidus puts what the guest starts with:
 *
 *     0000  not mapped by the first page tables
 *     1000  struct nidus_guest_info
 *     2000  GDT
 *     3000  page tables: one PML4, one PDPT, four page directories, a page table for the first 2 MiB
 */
#include "kernel/guest.h"

#include <string.h>

#include "iommu/iommu.h"
#include "iommu/platform.h"
#include "kernel/frames.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/pci_assign.h"
#include "kernel/scrub.h"
#include "kernel/shared.h"
#include "kernel/time.h"

#define CHUNK       0x200000ull
#define CHUNK_ORDER 9u
#define MIB         0x100000ull
#define GIB         0x40000000ull
#define HOLE_START  (3 * GIB)
#define HOLE_END    (4 * GIB)
#define RECLAIM_STEP 4u         /* chunks scrubbed before the other guests have their turn */
#define LOG_SECOND_NS 1000000000ull

#define INFO_GPA    0x1000ull
#define GDT_GPA     0x2000ull
#define PML4_GPA    0x3000ull
#define PDPT_GPA    0x4000ull
#define PD_GPA      0x5000ull
#define PT_GPA      0x9000ull
#define PTE_PRESENT 0x1ull
#define PTE_WRITE   0x2ull
#define PTE_LARGE   0x80ull
#define TABLE       512u

_Static_assert(sizeof(struct nidus_guest_info) <= PAGE_SIZE, "the info page");

struct chunk {
    uint64_t phys;
    uint64_t run;               /* bytes from here on that are contiguous RAM, in GPA and in physical addresses */
};

struct guest_frames {
    uint64_t count;             /* chunks that are still the guest's; they go from the end */
    unsigned order;             /* of this list's own pages */
    struct chunk chunk[];
};

struct guest guests[BOOT_MAX_GUESTS];
const struct vcpu_ops *guest_cpu;

/* Memory. */

/* The chunk that gpa lies in; NULL: it is no RAM. */
static inline const struct chunk *chunk_at(const struct guest *g, uint64_t gpa)
{
    if (gpa < g->ram[0].size)
        return &g->frames->chunk[gpa / CHUNK];
    return gpa - HOLE_END < g->ram[1].size ? &g->frames->chunk[(gpa - HOLE_END + g->ram[0].size) / CHUNK] : NULL;
}

int guest_ram(struct guest *g, uint64_t gpa, uint64_t *hpa, uint64_t *run)
{
    const struct chunk *c = chunk_at(g, gpa);
    if (c == NULL)
        return -NIDUS_EFAULT;
    *hpa = c->phys + gpa % CHUNK;
    *run = c->run - gpa % CHUNK;
    return 0;
}

void *platform_guest_piece(struct guest *guest, uint64_t gpa, size_t size)
{
    uint64_t inside = gpa - guest->recent.gpa, bytes = guest->recent.bytes;
    return inside < bytes && inside + size <= bytes ? guest->recent.at + inside : NULL;
}

/* But for the page at GPA 0, where no payload may be. */
static void remember(struct guest *g, uint64_t gpa, const struct chunk *c)
{
    uint64_t skip = gpa == 0 ? PAGE_SIZE : 0;
    g->recent.gpa = gpa + skip;
    g->recent.bytes = c->run - skip;
    g->recent.at = phys_to_virt(c->phys + skip);
}

__attribute__((noinline))
static int copy_runs(struct guest *g, uint64_t gpa, uint8_t *buffer, uint64_t size, bool to_guest)
{
    const struct chunk *c = chunk_at(g, gpa);
    uint64_t end = gpa < g->ram[0].size ? g->ram[0].size : HOLE_END + g->ram[1].size;
    if (c == NULL || size > end - gpa)
        return -NIDUS_EFAULT;
    while (size != 0) {
        uint8_t *here = phys_to_virt(c->phys + gpa % CHUNK);
        uint64_t run = c->run - gpa % CHUNK, n = run < size ? run : size;
        memcpy(to_guest ? here : buffer, to_guest ? buffer : here, n);
        remember(g, gpa - gpa % CHUNK, c);
        buffer += n;
        gpa += n;
        size -= n;
        c += c->run / CHUNK;
    }
    return 0;
}

int platform_guest_read(struct guest *guest, uint64_t gpa, void *to, size_t size)
{
    const void *piece = platform_guest_piece(guest, gpa, size);
    if (piece == NULL || size % 4 != 0)
        return copy_runs(guest, gpa, to, size, false);
    platform_copy(to, piece, size);
    return 0;
}

int platform_guest_write(struct guest *guest, uint64_t gpa, const void *from, size_t size)
{
    void *piece = platform_guest_piece(guest, gpa, size);
    if (piece == NULL || size % 4 != 0)
        return copy_runs(guest, gpa, (void *)from, size, true);
    platform_copy(piece, from, size);
    return 0;
}

/* Scrubs and frees up to limit chunks.  true: there are more. */
static bool give_back(struct guest *g, uint64_t limit)
{
    struct guest_frames *f = g->frames;
    for (; f->count != 0 && limit != 0; limit--) {
        uint64_t phys = f->chunk[--f->count].phys;
        memory_scrub(phys_to_virt(phys), CHUNK);
        frames_free(phys, CHUNK_ORDER);
    }
    if (f->count != 0)
        return true;
    frames_free(virt_to_phys(f), f->order);
    g->frames = NULL;
    return false;
}

/* In the largest blocks that there are: the larger, the larger the pages that map it. */
static bool take_chunks(struct guest_frames *f, uint64_t chunks)
{
    for (unsigned order = FRAMES_MAX_ORDER; f->count < chunks;) {
        uint64_t some = 1ull << (order - CHUNK_ORDER);
        uint64_t phys = some <= chunks - f->count ? frames_alloc(order) : 0;
        if (phys == 0 && order-- == CHUNK_ORDER)
            return false;
        for (uint64_t end = phys + some * CHUNK; phys != 0 && phys < end; phys += CHUNK) {
            memory_scrub(phys_to_virt(phys), CHUNK);
            f->chunk[f->count++].phys = phys;
        }
    }
    return true;
}

static void find_runs(struct guest_frames *f, uint64_t hole)
{
    for (uint64_t i = f->count; i-- != 0;) {
        struct chunk *c = &f->chunk[i];
        bool goes_on = i + 1 < f->count && i + 1 != hole && c[1].phys == c->phys + CHUNK;
        c->run = CHUNK + (goes_on ? c[1].run : 0);
    }
}

static bool take_memory(struct guest *g, uint64_t bytes)
{
    uint64_t chunks = bytes / CHUNK, list = sizeof(struct guest_frames) + chunks * sizeof(struct chunk);
    unsigned order = 0;
    while (PAGE_SIZE << order < list)
        order++;
    uint64_t phys = bytes <= frames_free_bytes() ? frames_alloc(order) : 0;
    if (phys == 0)
        return false;
    g->frames = phys_to_virt(phys);
    g->frames->order = order;
    g->frames->count = 0;
    if (!take_chunks(g->frames, chunks))
        return false;
    find_runs(g->frames, HOLE_START / CHUNK);
    uint64_t low = bytes < HOLE_START ? bytes : HOLE_START;
    g->ram[0] = (struct nidus_guest_ram){ 0, low };
    if (bytes > low)
        g->ram[1] = (struct nidus_guest_ram){ HOLE_END, bytes - low };
    return true;
}

static bool map_memory(struct guest *g)
{
    if (stage2_init(&g->memory, guest_cpu->stage2, 4, guest_cpu->page_sizes(), true, g) != 0)
        return false;
    for (unsigned i = 0; i < NIDUS_MAX_RAM_REGIONS; i++)
        for (uint64_t at = 0, run, hpa; at < g->ram[i].size; at += run)
            if (guest_ram(g, g->ram[i].gpa + at, &hpa, &run) != 0 ||
                stage2_map(&g->memory, g->ram[i].gpa + at, hpa, run, STAGE2_READ | STAGE2_WRITE | STAGE2_EXECUTE) != 0)
                return false;
    return true;
}

/* What the guest starts with. */

static int write_tables(struct guest *g)
{
    uint64_t table[TABLE] = { 0 };
    table[0] = PDPT_GPA | PTE_PRESENT | PTE_WRITE;
    int error = platform_guest_write(g, PML4_GPA, table, sizeof(table));
    for (unsigned i = 0; i < 4; i++)
        table[i] = (PD_GPA + i * PAGE_SIZE) | PTE_PRESENT | PTE_WRITE;
    error |= platform_guest_write(g, PDPT_GPA, table, sizeof(table));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < TABLE; j++)
            table[j] = (i * GIB + j * CHUNK) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
        if (i == 0)
            table[0] = PT_GPA | PTE_PRESENT | PTE_WRITE;
        error |= platform_guest_write(g, PD_GPA + i * PAGE_SIZE, table, sizeof(table));
    }
    for (unsigned i = 0; i < TABLE; i++)
        table[i] = i == 0 ? 0 : i * PAGE_SIZE | PTE_PRESENT | PTE_WRITE;
    return error | platform_guest_write(g, PT_GPA, table, sizeof(table));
}

static int write_info(struct guest *g)
{
    static struct nidus_guest_info info;
    info = (struct nidus_guest_info){
        .magic = NIDUS_GUEST_INFO_MAGIC,
        .version = NIDUS_GUEST_INFO_VERSION,
        .size = sizeof(info),
        .call = guest_cpu->call_instruction,
        .flags = g->config->nested ? NIDUS_GUEST_NESTED : 0,
        .tsc_hz = tsc_hz(),
        .default_ioas = g->iommu != NULL ? iommu_default_ioas(g->iommu) : 0,
        .device_count = g->device_count,
    };
    memcpy(info.name, g->name, sizeof(info.name));
    memcpy(info.args, g->config->args, sizeof(info.args));
    memcpy(info.ram, g->ram, sizeof(info.ram));
    memcpy(info.shared, g->shared, sizeof(info.shared));
    memcpy(info.device, g->device, sizeof(info.device));
    return platform_guest_write(g, INFO_GPA, &info, sizeof(info));
}

static const uint64_t guest_gdt[] = {
    0,
    0x00af9b000000ffff,         /* 64-bit code */
    0x00cf93000000ffff,         /* data */
};

static bool load(struct guest *g)
{
    int error = 0;
    for (unsigned i = 0; i < g->config->segment_count; i++) {
        const struct boot_segment *s = &g->config->segment[i];
        error |= platform_guest_write(g, s->gpa, phys_to_virt(s->src), s->file_size);
    }
    return (error | write_tables(g) | write_info(g) | platform_guest_write(g, GDT_GPA, guest_gdt, sizeof(guest_gdt))) == 0;
}

/* Devices. */

static const char *device_name(char name[16], uint16_t segment, uint16_t bdf)
{
    format_text(name, 16, "%04x:%02x:%02x.%x", segment, bdf >> 8, bdf >> 3 & 31, bdf & 7);
    return name;
}

_Static_assert((int)BOOT_ATS_ON == (int)IOMMU_ATS_ON && (int)BOOT_ATS_TRUST == (int)IOMMU_ATS_TRUST, "one policy, two names");

static bool give_device(struct guest *g, const struct boot_device *from, char reason[160])
{
    const struct iommu_device_policy policy = { .map_rmrr = from->map_rmrr, .ats = (enum iommu_ats_policy)from->ats };
    struct nidus_guest_device *d = &g->device[g->device_count];
    const char *unavailable = iommu_unavailable();
    if (g->iommu == NULL) {
        format_text(reason, 160, "%s", unavailable != NULL ? unavailable : "no memory for its tables");
        return false;
    }
    if (!pci_assign(g, from->segment, from->bdf, d, reason))
        return false;
    if (!iommu_assign(g->iommu, from->segment, from->bdf, &policy, &d->id, reason)) {
        pci_unassign(g, d);
        return false;
    }
    g->device_count++;
    return true;
}

/* A device that cannot be given leaves the guest without it, not without its life. */
static void give_devices(struct guest *g)
{
    char reason[160], name[16];
    if (iommu_unavailable() == NULL)
        g->iommu = iommu_context_create(g, g->config->nested);
    for (unsigned i = 0; i < g->config->device_count; i++) {
        const struct boot_device *d = &g->config->device[i];
        if (!give_device(g, d, reason)) {
            log_line("guest %s: starts without device %s: %s", g->name, device_name(name, d->segment, d->bdf), reason);
            continue;
        }
        const struct nidus_guest_device *given = &g->device[g->device_count - 1];
        log_line("guest %s: device %u is %s, %04x:%04x", g->name, given->id, device_name(name, d->segment, d->bdf), given->vendor,
                 given->device);
    }
}

/* Creation. */

/* Gives back what a guest that does not start had got; all of it, unless a unit no longer answers. */
static void abandon(struct guest *g)
{
    if (g->iommu != NULL && !iommu_context_block(g->iommu))
        return;
    while (g->iommu != NULL && !iommu_context_destroy(g->iommu))
        ;
    if (g->xstate.area != NULL)
        xstate_destroy(&g->xstate);
    if (g->memory.root != NULL)
        stage2_destroy(&g->memory);
    if (g->frames != NULL)
        give_back(g, UINT64_MAX);
    *g = (struct guest){ 0 };
}

static uint64_t quota(const struct boot_guest *config)
{
    return 512 + config->memory / PAGE_SIZE / 16;
}

static bool create(struct guest *g, const struct boot_guest *config)
{
    *g = (struct guest){ .config = config, .exit_code = -1, .pages_left = quota(config), .objects.guest = g,
                         .bar_top = HOLE_START, .gpr = { [VCPU_RDI] = INFO_GPA } };
    memcpy(g->name, config->name, sizeof(g->name) - 1);
    if (!take_memory(g, config->memory)) {
        uint64_t free = frames_free_bytes() + (g->frames != NULL ? g->frames->count * CHUNK : 0);
        log_line("guest %s: does not start: it wants %llu MiB in pieces of 2 MiB, and of %llu MiB free there are not enough",
                 g->name, (unsigned long long)(config->memory / MIB), (unsigned long long)(free / MIB));
        return false;
    }
    if (!map_memory(g)) {
        log_line("guest %s: does not start: no memory for its page tables", g->name);
        return false;
    }
    shared_give(g);
    give_devices(g);
    if (!load(g)) {
        log_line("guest %s: does not start: its image does not fit in its %llu MiB", g->name,
                 (unsigned long long)(config->memory / MIB));
        return false;
    }
    const struct vcpu_start start = { .cr3 = PML4_GPA, .rip = config->entry, .gdt = GDT_GPA,
                                      .gdt_size = sizeof(guest_gdt) };
    guest_apic_reset(&g->apic);
    if (xstate_create(&g->xstate))
        g->vcpu = guest_cpu->create(g, &g->memory, &start);
    if (g->vcpu == NULL) {
        log_line("guest %s: does not start: no memory for its CPU", g->name);
        return false;
    }
    g->state = GUEST_RUNNING;
    log_line("guest %s: %llu MiB, %u device%s, starts at 0x%llx", g->name, (unsigned long long)(config->memory / MIB),
             g->device_count, g->device_count == 1 ? "" : "s", (unsigned long long)config->entry);
    return true;
}

unsigned guests_create(const struct boot_info *boot)
{
    const char *reason;
    unsigned running = 0;
    const struct vcpu_ops *ops = vcpu_select(&reason);
    if (ops == NULL) {
        log_line("no guest can run: %s", reason);
        return 0;
    }
    xstate_init();
    ops->cpu_init();
    guest_cpu = ops;
    pci_assign_init(boot);
    shared_init(boot);
    for (unsigned i = 0; i < boot->guest_count && i < BOOT_MAX_GUESTS; i++) {
        if (create(&guests[i], &boot->guest[i]))
            running++;
        else
            abandon(&guests[i]);
    }
    return running;
}

/* The console. */

static void print_line(struct guest *g)
{
    log_guest_line(g->name, g->line, g->line_length);
    g->line_length = 0;
}

static void log_count_left_out(struct guest *g)
{
    if (g->log_left_out != 0)
        log_line("guest %s: %u more lines about its requests, not printed", g->name, g->log_left_out);
    g->log_lines = g->log_left_out = 0;
}

void guest_log(struct guest *g, const char *text)
{
    uint64_t now = time_ns();
    if (now - g->log_since >= LOG_SECOND_NS) {
        log_count_left_out(g);
        g->log_since = now;
    }
    if (g->log_lines == GUEST_LOG_LINES) {
        g->log_left_out++;
        return;
    }
    g->log_lines++;
    log_line("guest %s: %s", g->name, text);
}

uint32_t guest_print(struct guest *g, const char *text, uint32_t length)
{
    uint64_t end = time_ns() + SLICE_NS;
    uint32_t i = 0;
    while (i < length) {
        char c = text[i++];
        if (c != '\n' && c != '\r')
            g->line[g->line_length++] = c;
        if (c != '\n' && g->line_length < sizeof(g->line))
            continue;
        print_line(g);          /* a serial line may take milliseconds */
        if (time_ns() >= end)
            break;
    }
    return i;
}

/* The end. */

/* Nothing that a device could still reach is given to anyone: a guest whose DMA did not stop keeps its memory for ever. */
void guest_end(struct guest *g, const char *why)
{
    if (g->line_length != 0)
        print_line(g);
    log_count_left_out(g);
    bool blocked = g->iommu == NULL || iommu_context_block(g->iommu);
    g->state = GUEST_ENDED;
    guest_cpu->destroy(g->vcpu);
    g->vcpu = NULL;
    xstate_destroy(&g->xstate);
    stage2_destroy(&g->memory);
    memset(g->ram, 0, sizeof(g->ram));
    g->recent.bytes = 0;
    memset(g->shared, 0, sizeof(g->shared));
    if (!blocked) {
        g->frames = NULL;
        log_line("guest %s: %s; a remapping unit did not confirm that its DMA has stopped: its memory is not used again", g->name, why);
        return;
    }
    log_line("guest %s: %s%s", g->name, why, g->device_count != 0 ? "; DMA of its devices is stopped and blocked" : "");
    g->device_count = 0;
}

bool guest_reclaim(struct guest *g)
{
    if (g->frames == NULL)
        return false;
    if (g->iommu != NULL) {
        if (iommu_context_destroy(g->iommu))
            g->iommu = NULL;
        return true;
    }
    bool more = give_back(g, RECLAIM_STEP);
    if (!more)
        log_line("guest %s: its %llu MiB are scrubbed and free; of %llu pages for tables and objects %llu are missing", g->name,
                 (unsigned long long)(g->config->memory / MIB), (unsigned long long)quota(g->config),
                 (unsigned long long)(quota(g->config) - g->pages_left));
    return more;
}

void guest_crash(struct guest *g, const char *why)
{
    vcpu_report(g);
    g->exit_code = -1;
    guest_end(g, why);
}
