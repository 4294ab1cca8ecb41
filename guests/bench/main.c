/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench: calls of a guest with an edu, counted from the guest's side in ticks of the TSC, which in QEMU with -icount shift=0 are
 * instructions: from before the call to behind it, nidus's exit, entry and wait for the unit with it.  Each is made once where nothing of what
 * it takes is there yet (cold), and then ROUNDS times (warm: the median).  What comes between, and undoes it, is not counted.
 *
 * The edu is attached to a first stage over the default IOAS, so what is unmapped is invalidated in the unit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/edu.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/iommufd.h"
#include "guests/runtime/paging.h"

const char check_program[] = "bench";

#define ROUNDS      20u
#define ENTRIES_MAX 512u
#define IOVA_MAPS   (1ULL << 40)        /* beyond all RAM; nothing is mapped there */
#define IOVA_BUFFER (1ULL << 32)        /* in the first stage */
#define RW          (PT_WRITE | PT_USER)

static uint32_t device, parent, first[2];
static struct pgtable table;
static struct nidus_hwpt_vtd_s1_invalidate entries[ENTRIES_MAX];

/* Counting ------------------------------------------------------------------------------------------- */

/* The registers of a call; the same for what is subtracted. */
#define CALL_OPERANDS : "=a"(result) : "a"((uint64_t)number), "D"(payload), "S"((uint64_t)about) : "memory"

static uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static uint64_t count_nothing(uint32_t number, void *payload, uint32_t about)
{
    uint64_t begin = rdtsc();
    int64_t result;

    __asm__ volatile("" CALL_OPERANDS);
    return rdtsc() - begin;
}

/* A call that fails ends the guest.  All calls of a figure are made from here: on SVM without NRIPS nidus has to look at the instruction when
 * the page that it is in is another one. */
static uint64_t count(uint32_t number, void *payload, uint32_t about)
{
    uint64_t begin, ticks;
    int64_t result;

    if (guest_info->call == NIDUS_CALL_VMMCALL) {
        begin = rdtsc();
        __asm__ volatile("vmmcall" CALL_OPERANDS);
        ticks = rdtsc() - begin;
    } else {
        begin = rdtsc();
        __asm__ volatile("vmcall" CALL_OPERANDS);
        ticks = rdtsc() - begin;
    }
    if (result != 0) {
        printf("bench: call 0x%x: %s\n", number, errno_name(result));
        exit(1);
    }
    return ticks - count_nothing(number, payload, about);
}

static void must(int error, const char *what)
{
    if (error == 0)
        return;
    printf("bench: %s: %s\n", what, errno_name(error));
    exit(1);
}

/* Invalidation --------------------------------------------------------------------------------------- */

/* Entries of one page, `stride` pages apart. */
static uint64_t invalidate(unsigned number, unsigned stride)
{
    struct nidus_hwpt_invalidate call = {
        .size = sizeof(call), .hwpt_id = first[0], .data_uptr = (uint64_t)entries, .data_type = NIDUS_HWPT_INVALIDATE_DATA_VTD_S1,
        .entry_len = sizeof(entries[0]), .entry_num = number,
    };

    for (unsigned i = 0; i < number; i++)
        entries[i] = (struct nidus_hwpt_vtd_s1_invalidate){
            .addr = IOVA_BUFFER + i * stride * FRAME_SIZE, .npages = 1, .flags = NIDUS_VTD_INV_LEAF
        };
    return count(NIDUS_CALL_HWPT_INVALIDATE, &call, 0);
}

static uint64_t invalidate_none(void)         { return invalidate(0, 0); }
static uint64_t invalidate_one(void)          { return invalidate(1, 1); }
static uint64_t invalidate_16(void)           { return invalidate(16, 3); }
static uint64_t invalidate_128(void)          { return invalidate(128, 3); }
static uint64_t invalidate_512(void)          { return invalidate(512, 3); }
static uint64_t invalidate_512_adjacent(void) { return invalidate(512, 1); }

/* HWPTs and attachments ------------------------------------------------------------------------------ */

static uint64_t alloc_nested(void)
{
    struct nidus_hwpt_vtd_s1 data = { .pgtbl_addr = table.root, .addr_width = 48 };
    struct nidus_hwpt_alloc call = {
        .size = sizeof(call), .dev_id = device, .pt_id = parent, .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = sizeof(data),
        .data_uptr = (uint64_t)&data,
    };
    uint64_t ticks = count(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    count(NIDUS_CALL_DESTROY, &(struct nidus_destroy){ .size = sizeof(struct nidus_destroy), .id = call.out_hwpt_id }, 0);
    return ticks;
}

static uint64_t attach_to(uint32_t hwpt)
{
    struct nidus_vfio_attach call = { .argsz = offsetof(struct nidus_vfio_attach, pasid), .pt_id = hwpt };

    return count(NIDUS_CALL_ATTACH, &call, device);
}

static uint64_t leave(void)
{
    struct nidus_vfio_detach call = { .argsz = offsetof(struct nidus_vfio_detach, pasid) };

    return count(NIDUS_CALL_DETACH, &call, device);
}

static uint64_t attach(void)
{
    leave();
    return attach_to(first[0]);
}

static uint64_t detach(void)
{
    uint64_t ticks = leave();

    attach_to(first[0]);
    return ticks;
}

static uint64_t replace(void)
{
    uint64_t ticks = attach_to(first[1]);

    attach_to(first[0]);
    return ticks;
}

/* Maps ----------------------------------------------------------------------------------------------- */

static void *memory_4k, *memory_2m;    /* 1 GiB: all of the guest's, from GPA 0 on */

static uint64_t map_at(uint64_t iova, uint64_t gpa, uint64_t length)
{
    struct nidus_ioas_map call = {
        .size = sizeof(call), .flags = NIDUS_IOAS_MAP_FIXED_IOVA | NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE,
        .ioas_id = guest_info->default_ioas, .user_va = gpa, .length = length, .iova = iova,
    };

    return count(NIDUS_CALL_IOAS_MAP, &call, 0);
}

static uint64_t unmap_at(uint64_t iova, uint64_t length)
{
    struct nidus_ioas_unmap call = { .size = sizeof(call), .ioas_id = guest_info->default_ioas, .iova = iova, .length = length };

    return count(NIDUS_CALL_IOAS_UNMAP, &call, 0);
}

static uint64_t map_again(uint64_t iova, void *memory, uint64_t length)
{
    uint64_t ticks = map_at(iova, (uint64_t)memory, length);

    unmap_at(iova, length);
    return ticks;
}

static uint64_t unmap_again(uint64_t iova, void *memory, uint64_t length)
{
    map_at(iova, (uint64_t)memory, length);
    return unmap_at(iova, length);
}

static uint64_t map_4k(void)   { return map_again(IOVA_MAPS, memory_4k, FRAME_SIZE); }
static uint64_t unmap_4k(void) { return unmap_again(IOVA_MAPS, memory_4k, FRAME_SIZE); }
static uint64_t map_2m(void)   { return map_again(IOVA_MAPS, memory_2m, SIZE_2M); }
static uint64_t unmap_2m(void) { return unmap_again(IOVA_MAPS, memory_2m, SIZE_2M); }
static uint64_t map_1g(void)   { return map_again(IOVA_MAPS, NULL, SIZE_1G); }
static uint64_t unmap_1g(void) { return unmap_again(IOVA_MAPS, NULL, SIZE_1G); }

/* A page behind what is mapped and unmapped keeps the tables above it. */
static uint64_t kept_at;

static void keep(uint64_t iova)
{
    kept_at = iova;
    map_at(iova, (uint64_t)memory_4k, FRAME_SIZE);
}

static void keep_4k(void) { keep(IOVA_MAPS + FRAME_SIZE); }
static void keep_2m(void) { keep(IOVA_MAPS + SIZE_2M); }
static void keep_1g(void) { keep(IOVA_MAPS + SIZE_1G); }

/* Figures -------------------------------------------------------------------------------------------- */

static const struct figure {
    const char *name;
    uint64_t (*once)(void);
    void (*keep)(void);         /* between cold and warm; NULL: nothing is needed */
} figures[] = {
    { "invalidate, 0 entries", invalidate_none, NULL },
    { "invalidate, 1 entry of 1 page", invalidate_one, NULL },
    { "invalidate, 16 entries, scattered", invalidate_16, NULL },
    { "invalidate, 128 entries, scattered", invalidate_128, NULL },
    { "invalidate, 512 entries, scattered", invalidate_512, NULL },
    { "invalidate, 512 entries, adjacent", invalidate_512_adjacent, NULL },
    { "nested HWPT alloc", alloc_nested, NULL },
    { "attach", attach, NULL },
    { "replace", replace, NULL },
    { "detach", detach, NULL },
    { "map 4 KiB", map_4k, keep_4k },
    { "unmap 4 KiB", unmap_4k, keep_4k },
    { "map 2 MiB", map_2m, keep_2m },
    { "unmap 2 MiB", unmap_2m, keep_2m },
    { "map 1 GiB", map_1g, keep_1g },
    { "unmap 1 GiB", unmap_1g, keep_1g },
};

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* *cold: the first; the median of those behind it. */
static uint64_t measure(const struct figure *f, uint64_t *cold)
{
    uint64_t warm[ROUNDS];

    cpu_yield(); /* a turn that is as long as all of them: none is counted that the end of one falls into */
    *cold = f->once();
    kept_at = 0;
    if (f->keep)
        f->keep();
    for (unsigned i = 0; i < ROUNDS; i++)
        warm[i] = f->once();
    if (kept_at)
        unmap_at(kept_at, FRAME_SIZE);
    qsort(warm, ROUNDS, sizeof(warm[0]), compare);
    return (warm[ROUNDS / 2 - 1] + warm[ROUNDS / 2]) / 2;
}

static bool dma_works(struct edu *edu)
{
    char *from = frames_need(FRAME_SIZE, FRAME_SIZE, "a buffer"), *to = frames_need(FRAME_SIZE, FRAME_SIZE, "a buffer");

    strcpy(from, "through both stages");
    must(!pgtable_map(&table, IOVA_BUFFER, gpa_of(from), FRAME_SIZE, FRAME_SIZE, RW), "first stage");
    must(!pgtable_map(&table, IOVA_BUFFER + FRAME_SIZE, gpa_of(to), FRAME_SIZE, FRAME_SIZE, RW), "first stage");
    return edu_read_memory(edu, IOVA_BUFFER, 0, 64) && edu_write_memory(edu, IOVA_BUFFER + FRAME_SIZE, 0, 64) && strcmp(from, to) == 0;
}

int main(void)
{
    const struct nidus_guest_device *found = pci_find(EDU_VENDOR, EDU_DEVICE, 0);
    uint64_t cold[FIGURES], warm[FIGURES];
    struct edu edu;

    if (!found || !edu_open(&edu, found) || frames_end() < SIZE_1G) {
        printf("bench: it takes an edu and 1 GiB\n");
        return 1;
    }
    device = found->id;
    memory_4k = frames_need(FRAME_SIZE, FRAME_SIZE, "a page to map");
    memory_2m = frames_need(SIZE_2M, SIZE_2M, "2 MiB to map");
    must(!pgtable_init(&table, &paging_memory), "first stage");
    must(iommufd_hwpt_alloc_paging(device, guest_info->default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &parent), "HWPT_ALLOC of a nest parent");
    for (unsigned i = 0; i < 2; i++)
        must(iommufd_hwpt_alloc_nested(device, parent, table.root, &first[i]), "HWPT_ALLOC of a first stage");
    must(iommufd_attach(device, first[0]), "ATTACH");
    for (unsigned i = 0; i < FIGURES; i++)
        warm[i] = measure(&figures[i], &cold[i]);
    for (unsigned i = 0; i < FIGURES; i++)
        printf("bench: %s: warm %llu cold %llu\n", figures[i].name, (unsigned long long)warm[i], (unsigned long long)cold[i]);
    check(dma_works(&edu), "DMA through the tables that were counted with");
    return check_summary();
}
