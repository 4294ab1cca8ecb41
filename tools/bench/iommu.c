/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommu.c: calls of a guest whose instructions are counted.  It runs under callgrind, which writes one file for each call,
 * with its name; tools/bench/iommu adds them up.  The line of a call says what it gave the unit, and what it took in tables.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "iommu/iommu.h"
#include "kernel/abi/iommufd.h"
#include "tools/bench/platform.h"
#include "tools/test/host/whole_call.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL
#define PAYLOAD 0x1000ULL       /* in the guest's window */
#define ENTRIES 0x2000ULL
#define FIRST_STAGE 0x100000ULL /* where there is none: nobody walks it */
#define FIRST_STAGES 16u
#define DEVICE(i) (0x0010u + (i))

static struct guest guest;
static struct iommu_context *context;
static uint32_t ioas, device[1 + FIRST_STAGES], parent, nested[FIRST_STAGES];

static void call(uint64_t nr, void *payload, size_t size, uint64_t device_id, const char *what)
{
    int64_t result;

    memcpy(&guest.window[PAYLOAD], payload, size);
    CALLGRIND_ZERO_STATS;
    result = whole_call(context, nr, PAYLOAD, device_id);
    if (what != NULL)
        CALLGRIND_DUMP_STATS_AT(what);
    memcpy(payload, &guest.window[PAYLOAD], size);
    if (result != 0) {
        fprintf(stderr, "call 0x%llx (%s): %lld\n", (unsigned long long)nr, what == NULL ? "" : what, (long long)result);
        exit(1);
    }
}

/* With what: counted under that name. */
static void counted(uint64_t nr, void *payload, size_t size, uint64_t device_id, const char *what)
{
    uint64_t bytes = guest.table_bytes;
    unsigned descriptors = bench_descriptors, submissions = bench_submissions;

    call(nr, payload, size, device_id, what);
    if (what != NULL)
        printf("%s\t%u\t%u\t%lld\n", what, bench_descriptors - descriptors, bench_submissions - submissions,
               (long long)(guest.table_bytes - bytes));
}

static void map(uint64_t iova, uint64_t gpa, uint64_t length, const char *what)
{
    struct nidus_ioas_map m = {
        .size = sizeof(m), .flags = NIDUS_IOAS_MAP_FIXED_IOVA | NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE,
        .ioas_id = ioas, .user_va = gpa, .length = length, .iova = iova,
    };

    counted(NIDUS_CALL_IOAS_MAP, &m, sizeof(m), 0, what);
}

static void unmap(uint64_t iova, uint64_t length, const char *what)
{
    struct nidus_ioas_unmap u = { .size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = length };

    counted(NIDUS_CALL_IOAS_UNMAP, &u, sizeof(u), 0, what);
}

/* count entries of npages pages, each stride pages behind the last. */
static void invalidate(unsigned count, uint64_t npages, uint64_t stride, const char *what)
{
    struct nidus_hwpt_vtd_s1_invalidate *entry = (void *)&guest.window[ENTRIES];
    struct nidus_hwpt_invalidate i = {
        .size = sizeof(i), .hwpt_id = nested[0], .data_uptr = ENTRIES, .entry_len = sizeof(*entry), .entry_num = count,
    };

    for (unsigned n = 0; n < count; n++)
        entry[n] = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = G1 + n * stride * K4, .npages = npages, .flags = NIDUS_VTD_INV_LEAF };
    counted(NIDUS_CALL_HWPT_INVALIDATE, &i, sizeof(i), 0, what);
}

/* pasid 0: requests without. */
static void attach(uint32_t id, uint32_t pasid, uint32_t hwpt, const char *what)
{
    struct nidus_vfio_attach a = { .argsz = 16, .flags = pasid != 0 ? NIDUS_VFIO_ATTACH_PASID : 0, .pt_id = hwpt, .pasid = pasid };

    counted(NIDUS_CALL_ATTACH, &a, sizeof(a), id, what);
}

static void detach(uint32_t id, uint32_t pasid, const char *what)
{
    struct nidus_vfio_detach d = { .argsz = 12, .flags = pasid != 0 ? NIDUS_VFIO_DETACH_PASID : 0, .pasid = pasid };

    counted(NIDUS_CALL_DETACH, &d, sizeof(d), id, what);
}

static uint32_t alloc_hwpt(uint32_t pt, uint32_t flags, uint64_t first_stage)
{
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = first_stage, .addr_width = 48 };
    struct nidus_hwpt_alloc a = { .size = sizeof(a), .flags = flags | NIDUS_HWPT_ALLOC_PASID, .dev_id = device[0], .pt_id = pt };

    if (first_stage != 0) {
        a.data_type = NIDUS_HWPT_DATA_VTD_S1;
        a.data_len = sizeof(s1);
        a.data_uptr = ENTRIES;
        memcpy(&guest.window[ENTRIES], &s1, sizeof(s1));
    }
    call(NIDUS_CALL_HWPT_ALLOC, &a, sizeof(a), 0, NULL);
    return a.out_hwpt_id;
}

static void start(void)
{
    struct iommu_device_policy policy = { 0 };
    struct nidus_ioas_alloc a = { .size = sizeof(a) };
    char reason[160];
    uint32_t length;
    const void *table = bench_dmar(&length);

    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    context = iommu_context_create(&guest, true);
    for (unsigned i = 0; i < 1 + FIRST_STAGES; i++)
        if (!iommu_assign(context, 0, DEVICE(i), &policy, &device[i], reason))
            platform_panic("%s\n", reason);
    call(NIDUS_CALL_IOAS_ALLOC, &a, sizeof(a), 0, NULL);
    ioas = a.out_ioas_id;
    parent = alloc_hwpt(ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, 0);
    for (unsigned i = 0; i < FIRST_STAGES; i++)
        nested[i] = alloc_hwpt(parent, 0, FIRST_STAGE + i * K4);
}

/* IOVA, GPA and HPA are aligned alike where nothing else is said.  One page at 1 GiB keeps the tables above it. */
static void second_stage(void)
{
    attach(device[0], 0, parent, NULL);
    map(1ULL << 40, 1ULL << 40, K4, "map 4 KiB, with three new tables");
    unmap(1ULL << 40, K4, "unmap 4 KiB, and three tables with it");
    map(G1, G1, K4, NULL);
    map(G1 + K4, G1 + K4, K4, "map 4 KiB");
    unmap(G1 + K4, K4, "unmap 4 KiB");
    map(G1 + K4, G1 + K4, M2 - 2 * K4, NULL);
    map(G1 + M2 - K4, G1 + M2 - K4, K4, "map 4 KiB that make 2 MiB full");
    unmap(G1 + M2 - K4, K4, "unmap 4 KiB out of 2 MiB");
    for (unsigned i = 0; i < 512; i++)
        map(G1 + M2 + i * K4, G1 + M2 + i * K4, K4, i == 255 ? "map 4 KiB, the 256th of 512 in order" : NULL);
    for (unsigned i = 0; i < 512; i++)
        unmap(G1 + M2 + i * K4, K4, i == 255 ? "unmap 4 KiB, the 256th of 512 in order" : NULL);
    for (unsigned i = 0; i < 4000; i++)
        map(3 * G1 + i * 2 * K4, 3 * G1, K4, NULL);
    map(3 * G1 + 4001 * K4, 3 * G1, K4, "map 4 KiB among 4,000 areas");
    unmap(3 * G1 + 4001 * K4, K4, "unmap 4 KiB among 4,000 areas");
    unmap(3 * G1, G1, NULL);
    map(G1 + M2, G1 + M2, M2, "map 2 MiB");
    unmap(G1 + M2, M2, "unmap 2 MiB");
    for (unsigned i = 0; i < 128; i++)
        map(G1 + M2 + i * 4 * K4, G1 + M2 + i * 4 * K4, 4 * K4, NULL);
    unmap(G1 + M2, M2, "unmap 2 MiB that 128 maps have made");
    map(2 * G1, 2 * G1, G1, "map 1 GiB");
    unmap(2 * G1, G1, "unmap 1 GiB");
    map(64 * G1, 64 * G1, 64 * G1, "map 64 GiB");
    unmap(64 * G1, 64 * G1, "unmap 64 GiB");
    map(1ULL << 40, 0, 1ULL << 40, "map 1 TiB");
    unmap(1ULL << 40, 1ULL << 40, "unmap 1 TiB");
    map(2 * G1, 2 * G1 + M2, G1, "map 1 GiB in leaves of 2 MiB");
    unmap(2 * G1, G1, "unmap 1 GiB in leaves of 2 MiB");
    map(2 * G1, 2 * G1 + K4, G1, "map 1 GiB in leaves of 4 KiB");
    unmap(2 * G1, G1, "unmap 1 GiB in leaves of 4 KiB");
}

static void first_stages(void)
{
    static const unsigned counts[] = { 1, 16, 128, 512 };
    char name[64];

    attach(device[1], 0, nested[0], NULL);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "invalidate %u page%s", counts[i], i == 0 ? "" : "s");
        invalidate(1, counts[i], 0, name);
        if (i == 0)
            continue;
        snprintf(name, sizeof(name), "invalidate %u pages, an entry each", counts[i]);
        invalidate(counts[i], 1, 1, name);
        snprintf(name, sizeof(name), "invalidate %u pages, scattered", counts[i]);
        invalidate(counts[i], 1, 3, name);
    }
    map(G1 + M2, G1 + M2, M2, NULL);
    unmap(G1 + M2, M2, "unmap 2 MiB under 1 first stage");
    /* One PASID, so each needs a domain id. */
    for (unsigned i = 1; i < FIRST_STAGES; i++)
        attach(device[1 + i], 0, nested[i], NULL);
    map(G1 + M2, G1 + M2, M2, NULL);
    unmap(G1 + M2, M2, "unmap 2 MiB under 16 first stages of 16 devices");
    for (unsigned i = 0; i < FIRST_STAGES; i++)
        detach(device[1 + i], 0, NULL);
    /* A PASID each: one domain id. */
    for (unsigned i = 0; i < FIRST_STAGES; i++)
        attach(device[1], 1 + i, nested[i], NULL);
    map(G1 + M2, G1 + M2, M2, NULL);
    unmap(G1 + M2, M2, "unmap 2 MiB under 16 first stages of 16 PASIDs");
    for (unsigned i = 0; i < FIRST_STAGES; i++)
        detach(device[1], 1 + i, NULL);
}

static void attachments(void)
{
    attach(device[1], 0, nested[0], "attach to a first stage, which is in use nowhere");
    attach(device[2], 0, nested[0], "attach to a first stage, which is in use");
    detach(device[2], 0, NULL);
    attach(device[1], 0, nested[1], "replace a first stage by another one");
    attach(device[1], 0, parent, "replace a first stage by its second stage");
    attach(device[1], 0, nested[0], "replace a second stage by a first stage over it");
    detach(device[1], 0, "detach");
    attach(device[1], 5, nested[0], "attach a PASID");
    detach(device[1], 5, "detach a PASID");
}

int main(void)
{
    start();
    second_stage();
    first_stages();
    attachments();
    return 0;
}
