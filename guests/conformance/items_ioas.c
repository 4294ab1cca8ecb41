/* SPDX-License-Identifier: BSD-2-Clause */
/* items_ioas.c: GET_HW_INFO, and the calls about address spaces. */
#include <stddef.h>
#include <string.h>

#include "guests/conformance/conformance.h"

#define NOBODY  0x7ffffff0u
#define BASE    0x40000000ULL   /* of IOVAs */
#define INTERRUPTS     0xfee00000ULL
#define INTERRUPTS_END 0xfef00000ULL

/* GET_HW_INFO ---------------------------------------------------------------------------------------------- */

static struct nidus_hw_info hw_info(void *buffer, uint32_t bytes)
{
    return (struct nidus_hw_info){ .size = sizeof(struct nidus_hw_info), .dev_id = ID(DMA), .data_len = bytes, .data_uptr = gpa(buffer) };
}

static int get(struct nidus_hw_info *call)
{
    return nidus_call(NIDUS_CALL_GET_HW_INFO, call, 0);
}

static void info_no_buffer(void)
{
    struct nidus_hw_info call = hw_info(NULL, 0);

    ok(get(&call));
    holds(call.data_len == sizeof(struct nidus_hw_info_vtd) && call.data_type == NIDUS_HW_INFO_TYPE_INTEL_VTD);
}

static void info_exact(void)
{
    struct nidus_hw_info_vtd info = { .reserved = 1 };
    struct nidus_hw_info call = hw_info(&info, sizeof(info));

    ok(get(&call));
    holds(call.data_len == sizeof(info) && info.cap_reg != 0 && info.ecap_reg != 0 && info.reserved == 0);
    call.reserved[1] = 1;
    is(NIDUS_EOPNOTSUPP, get(&call));
    call = hw_info(&info, sizeof(info));
    call.flags = 2;
    is(NIDUS_EOPNOTSUPP, get(&call));
}

static void info_type(void)
{
    static const struct { uint32_t type; int want; } tries[] = {
        { NIDUS_HW_INFO_TYPE_DEFAULT, 0 }, { NIDUS_HW_INFO_TYPE_INTEL_VTD, 0 }, { 2, NIDUS_EOPNOTSUPP }, { UINT32_MAX, NIDUS_EOPNOTSUPP },
    };

    for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        struct nidus_hw_info call = hw_info(NULL, 0);

        call.flags = NIDUS_HW_INFO_FLAG_INPUT_TYPE;
        call.data_type = tries[i].type;
        is(tries[i].want, get(&call));
        call.flags = 0; /* then nobody looks at it */
        call.data_type = tries[i].type;
        call.data_len = 0;
        ok(get(&call));
    }
}

static void info_buffer(uint32_t bytes)
{
    uint8_t buffer[64], info[sizeof(buffer)] = { 0 };
    struct nidus_hw_info call = hw_info(info, sizeof(struct nidus_hw_info_vtd));

    ok(get(&call));
    memset(buffer, 0xff, sizeof(buffer));
    memset(info + bytes, 0xff, sizeof(info) - bytes);
    call = hw_info(buffer, bytes);
    ok(get(&call));
    holds(memcmp(buffer, info, sizeof(buffer)) == 0);
    holds(call.data_len == sizeof(struct nidus_hw_info_vtd));
}

static void info_larger(void) { info_buffer(48); }
static void info_smaller(void) { info_buffer(12); }

static void info_pasids(void)
{
    struct nidus_hw_info call = hw_info(NULL, 0);

    ok(get(&call));
    holds(call.out_max_pasid_log2 == 8);
    call = hw_info(NULL, 0);
    call.dev_id = ID(PLAIN);
    ok(get(&call));
    holds(call.out_max_pasid_log2 == 0 && (call.out_capabilities & NIDUS_HW_CAP_PCI_ATS_NOT_SUPPORTED));
}

static void info_no_device(void)
{
    struct nidus_hw_info call = hw_info(NULL, 0);

    call.dev_id = NOBODY;
    is(NIDUS_ENOENT, get(&call));
    call.dev_id = rig.default_ioas;
    is(NIDUS_ENOENT, get(&call));
}

/* IOAS ----------------------------------------------------------------------------------------------------- */

static void destroys(void)
{
    uint32_t ioas = space_new(), hwpt;

    ok(attach_raw(DMA, ioas, BY_RID, &hwpt));
    is(NIDUS_EBUSY, iommufd_destroy(ioas));
    is(NIDUS_EBUSY, iommufd_destroy(hwpt));
    is(NIDUS_EBUSY, iommufd_destroy(ID(DMA)));
    ok(iommufd_detach(ID(DMA)));
    ok(iommufd_destroy(ioas)); /* with what is mapped in it */
    ok(iommufd_ioas_alloc(&ioas));
    ok(iommufd_destroy(ioas));
    is(NIDUS_ENOENT, iommufd_destroy(ioas));
}

static void areas(void)
{
    static const struct { uint64_t first, pages; } overlaps[] = { { 8, 4 }, { 7, 6 }, { 7, 2 }, { 11, 2 }, { 9, 2 } };
    uint8_t *page = pages(16);
    uint32_t ioas = space_new();
    uint64_t bytes;

    is(NIDUS_ENOENT, unmap(ioas, BASE, K4, &bytes));
    for (unsigned i = 0; i < 10; i++)
        ok(map(ioas, BASE + i * K4, page, K4));
    for (unsigned i = 0; i < 10; i++)
        ok(unmap(ioas, BASE + i * K4, K4, &bytes));
    ok(map(ioas, BASE + 8 * K4, page, 4 * K4));
    is(NIDUS_ENOENT, unmap(ioas, BASE + 8 * K4, 2 * K4, &bytes));
    is(NIDUS_ENOENT, unmap(ioas, BASE + 10 * K4, 2 * K4, &bytes));
    for (unsigned i = 0; i < sizeof(overlaps) / sizeof(overlaps[0]); i++)
        is(NIDUS_EEXIST, map(ioas, BASE + overlaps[i].first * K4, page, overlaps[i].pages * K4));
    ok(unmap(ioas, 0, UINT64_MAX, &bytes));
    holds(bytes >= 4 * K4);
    ok(unmap(ioas, 0, UINT64_MAX, &bytes));
    holds(bytes == 0);
}

static void contained_areas(void)
{
    uint8_t *page = pages(1);
    uint32_t ioas = space_new();
    uint64_t bytes;

    for (unsigned i = 0; i < 10; i++)
        ok(map(ioas, BASE + i * 4 * K4, page, K4));
    ok(map(ioas, BASE - 2 * K4, pages(2), 2 * K4));
    is(NIDUS_ENOENT, unmap(ioas, BASE - K4, 45 * K4, &bytes)); /* cuts the one before them; differs: nothing is unmapped */
    ok(unmap(ioas, BASE, 100 * K4, &bytes));
    holds(bytes == 10 * K4);
    is(NIDUS_ENOENT, unmap(ioas, BASE, 100 * K4, &bytes));
    ok(unmap(ioas, BASE - 2 * K4, 2 * K4, &bytes));
}

static bool within(uint64_t iova, uint64_t bytes, uint64_t first, uint64_t last)
{
    return iova >= first && iova + bytes - 1 <= last;
}

static void auto_iova(void)
{
    struct nidus_iova_range ranges[2] = { { BASE, BASE + 4 * M2 - 1 }, { INTERRUPTS - M2, INTERRUPTS - 1 } };
    uint8_t *at = (uint8_t *)((gpa(pages(1024)) + M2 - 1) / M2 * M2);
    uint32_t ioas = space_new();
    uint64_t iova;

    for (uint64_t bytes = K4; bytes <= M2; bytes *= 2) {
        ok(map_anywhere(ioas, &iova, at, bytes));
        holds(iova % bytes == 0 && iova != 0);
        holds(iova + bytes <= INTERRUPTS || iova >= INTERRUPTS_END);
    }
    ok(iommufd_ioas_allow_iovas(ioas, ranges, 2));
    for (unsigned i = 0; i < 5; i++) {
        ok(map_anywhere(ioas, &iova, at, M2));
        holds(within(iova, M2, ranges[0].start, ranges[0].last) || within(iova, M2, ranges[1].start, ranges[1].last));
    }
    is(NIDUS_ENOSPC, map_anywhere(ioas, &iova, at, K4)); /* they are full */
    ok(iommufd_ioas_allow_iovas(ioas, NULL, 0));
    ok(map_anywhere(ioas, &iova, at, K4));
    ranges[1].last = INTERRUPTS;
    is(NIDUS_EADDRINUSE, iommufd_ioas_allow_iovas(ioas, ranges, 2));
}

/* Nobody reserves IOVAs here but nidus; too little is left where too little is allowed. */
static void reserved_overflow(void)
{
    struct nidus_iova_range page = { K4, 2 * K4 - 1 };
    uint8_t *at = pages(2);
    uint32_t ioas = space_new();
    uint64_t iova;

    ok(iommufd_ioas_allow_iovas(ioas, &page, 1));
    is(NIDUS_ENOSPC, map_anywhere(ioas, &iova, at, 2 * K4));
    ok(map_anywhere(ioas, &iova, at, K4));
    holds(iova == K4);
    is(NIDUS_EOVERFLOW, map(ioas, UINT64_MAX - K4 + 1, at, 2 * K4));
    is(NIDUS_EOVERFLOW, map(ioas, UINT64_MAX, at, K4));
    is(NIDUS_EOVERFLOW, map(ioas, BASE, at, UINT64_MAX));
}

static void allowed(void)
{
    struct nidus_iova_range ranges[3] = { { BASE, BASE + M2 - 1 }, { BASE + M2, BASE + 2 * M2 - 1 }, { BASE + M2, BASE + 3 * M2 } };
    struct nidus_iova_range backwards = { BASE + K4, BASE };
    uint8_t *at = pages(1);
    uint32_t ioas = space_new();
    uint64_t iova;

    ok(iommufd_ioas_allow_iovas(ioas, ranges, 2));
    is(NIDUS_EINVAL, iommufd_ioas_allow_iovas(ioas, ranges, 3)); /* two of them overlap */
    is(NIDUS_EINVAL, iommufd_ioas_allow_iovas(ioas, &backwards, 1));
    is(NIDUS_EFAULT, iommufd_ioas_allow_iovas(ioas, (void *)rig.end, 1));
    is(NIDUS_ENOENT, iommufd_ioas_allow_iovas(NOBODY, ranges, 1));
    ok(map_anywhere(ioas, &iova, at, K4)); /* what was allowed at last holds */
    holds(within(iova, K4, BASE, BASE + 2 * M2 - 1));
    ok(map(ioas, BASE + 16 * M2, at, K4)); /* a fixed one lies anywhere */
}

static void copies(void)
{
    uint32_t from = space_new(), to = space_new(), hwpt;
    uint8_t *page = marked_pages(2);
    uint64_t iova = BASE + M2, bytes;

    ok(map(from, BASE, page, 2 * K4));
    ok(iommufd_ioas_copy(from, &iova, from, BASE, 2 * K4, RW | NIDUS_IOAS_MAP_FIXED_IOVA)); /* within one */
    iova = BASE;
    ok(iommufd_ioas_copy(to, &iova, from, BASE, 2 * K4, RW | NIDUS_IOAS_MAP_FIXED_IOVA)); /* and between two */
    is(NIDUS_EEXIST, iommufd_ioas_copy(to, &iova, from, BASE, 2 * K4, RW | NIDUS_IOAS_MAP_FIXED_IOVA));
    ok(iommufd_ioas_copy(to, &iova, from, BASE + K4, K4, RO));
    ok(unmap(from, 0, UINT64_MAX, &bytes)); /* the source may go */
    hwpt = paging_new(DMA, to, 0);
    ok(iommufd_attach(ID(DMA), hwpt));
    holds(reads(DMA, BY_RID, BASE, page) && reads(DMA, BY_RID, BASE + K4, page + K4) && reads(DMA, BY_RID, iova, page + K4));
    holds(writes(DMA, BY_RID, BASE, page) && !writes(DMA, BY_RID, iova, page + K4));
    is(NIDUS_ENOENT, iommufd_ioas_copy(to, &iova, from, BASE, K4, RW));
    is(NIDUS_ENOENT, iommufd_ioas_copy(NOBODY, &iova, to, BASE, K4, RW));
    is(NIDUS_ENOENT, iommufd_ioas_copy(to, &iova, NOBODY, BASE, K4, RW));
    is(NIDUS_EINVAL, iommufd_ioas_copy(to, &iova, to, BASE, K4, 0));
    is(NIDUS_EOPNOTSUPP, iommufd_ioas_copy(to, &iova, to, BASE, K4, RW | 1u << 31));
    is(NIDUS_EINVAL, iommufd_ioas_copy(to, &iova, to, BASE, 0, RW));
    is(NIDUS_EOVERFLOW, iommufd_ioas_copy(to, &iova, NOBODY, BASE, UINT64_MAX, RW));
    is(NIDUS_EOVERFLOW, iommufd_ioas_copy(to, &iova, NOBODY, UINT64_MAX, K4, RW));
    is(NIDUS_EOVERFLOW, iommufd_ioas_copy(to, &iova, to, UINT64_MAX - K4 + 1, 2 * K4, RW));
    iova = UINT64_MAX;
    is(NIDUS_EOVERFLOW, iommufd_ioas_copy(to, &iova, NOBODY, BASE, K4, RW | NIDUS_IOAS_MAP_FIXED_IOVA));
    iova = BASE;
    ok(iommufd_ioas_map(to, BASE + 65 * K4, gpa(page), K4, RO));
    is(NIDUS_EPERM, iommufd_ioas_copy(to, &iova, to, BASE + 65 * K4, K4, RW)); /* IOAS_MAP was not given that */
}

static void iova_ranges(void)
{
    struct nidus_iova_range ranges[3] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };
    uint32_t ioas = space_new(), count = 3;
    struct nidus_ioas_iova_ranges call = { .size = sizeof(call), .ioas_id = ioas };

    ok(iommufd_ioas_iova_ranges(ioas, ranges, &count));
    holds(count == 2 && ranges[0].start == 0 && ranges[0].last == INTERRUPTS - 1 && ranges[1].start == INTERRUPTS_END);
    holds(ranges[1].last > INTERRUPTS_END && ranges[2].start == 5);
    ranges[1].start = 3;
    count = 1;
    is(NIDUS_EMSGSIZE, iommufd_ioas_iova_ranges(ioas, ranges, &count));
    holds(count == 2 && ranges[1].start == 3);
    is(NIDUS_EMSGSIZE, nidus_call(NIDUS_CALL_IOAS_IOVA_RANGES, &call, 0));
    holds(call.num_iovas == 2 && call.out_iova_alignment == K4);
    is(NIDUS_ENOENT, iommufd_ioas_iova_ranges(NOBODY, ranges, &count));
    is(NIDUS_EINVAL, map(ioas, INTERRUPTS, pages(1), K4));
}

/* Linux's kernel reaches what an IOAS maps; nidus reaches what a payload points to: wherever it lies, across pages, and nothing of it
 * when a part is not there.  There are no processes that fork. */
static void access(void)
{
    uint8_t *page = pages(2);
    struct nidus_ioas_alloc call = { .size = sizeof(call) }, *at;

    for (unsigned offset = 1; offset < sizeof(call); offset++) {
        at = (void *)(page + K4 - offset);
        memcpy(at, &call, sizeof(call));
        ok(nidus_call(NIDUS_CALL_IOAS_ALLOC, at, 0));
        memcpy(&call, at, sizeof(call));
        ok(iommufd_destroy(call.out_ioas_id));
        call.out_ioas_id = 0;
        at = (void *)(rig.end - offset);
        memcpy(at, &call, offset);
        is(NIDUS_EFAULT, nidus_call(NIDUS_CALL_IOAS_ALLOC, at, 0));
        holds(memcmp(at, &call, offset) == 0);
    }
    is(NIDUS_ENOENT, iommufd_destroy(call.out_ioas_id));
}

static int huge_pages(uint32_t ioas, uint16_t op, uint64_t *value)
{
    struct nidus_option call = { .size = sizeof(call), .option_id = NIDUS_OPTION_HUGE_PAGES, .op = op, .object_id = ioas, .val64 = *value };
    int error = nidus_call(NIDUS_CALL_OPTION, &call, 0);

    *value = call.val64;
    return error;
}

/* iova_alloc is in 53.  The alignment of IOVAs never changes (differs: it is never 1). */
static void huge_and_sweep(void)
{
    uint32_t ioas = space_new(), to = space_new();
    uint64_t value = 7, iova, bytes;
    uint8_t *at = pages(8);

    ok(huge_pages(ioas, NIDUS_OPTION_OP_GET, &value));
    holds(value == 1);
    for (value = 0; value < 2; value++)
        ok(huge_pages(ioas, NIDUS_OPTION_OP_SET, &value));
    is(NIDUS_EINVAL, huge_pages(ioas, NIDUS_OPTION_OP_SET, &value));
    is(NIDUS_EOPNOTSUPP, huge_pages(ioas, 2, &value));
    paging_new(DMA, ioas, 0); /* something is mapped in a table now */
    value = 0;
    is(NIDUS_EINVAL, huge_pages(ioas, NIDUS_OPTION_OP_SET, &value));
    ok(huge_pages(to, NIDUS_OPTION_OP_SET, &value)); /* no table, or nothing new: allowed */
    paging_new(DMA, to, 0);
    ok(huge_pages(to, NIDUS_OPTION_OP_SET, &value));
    ok(map(ioas, BASE, at, 8 * K4));
    for (uint64_t from = BASE - K4; from < BASE + 8 * K4; from += K4 / 2)
        for (uint64_t length = K4 / 2; length <= 4 * K4; length += K4 / 2) {
            bool covered = from >= BASE && from + length <= BASE + 8 * K4;
            bool aligned = from % K4 == 0 && length % K4 == 0;

            iova = BASE;
            is(!covered ? NIDUS_ENOENT : !aligned ? NIDUS_EINVAL : 0,
               iommufd_ioas_copy(to, &iova, ioas, from, length, RW | NIDUS_IOAS_MAP_FIXED_IOVA));
            if (covered && aligned)
                ok(unmap(to, BASE, length, &bytes));
        }
}

/* There are no files. */
static void dmabuf(void)
{
    uint8_t call[40] = { sizeof(call) };

    is(NIDUS_EOPNOTSUPP, nidus_call(NIDUS_CALL_IOAS_MAP_FILE, call, 0));
}

/* Before and after the tables are made; with one and two of them. */
static void mock_domain(void)
{
    uint32_t ioas = space_new(), first = paging_new(DMA, ioas, 0), second;
    uint8_t *page = marked_pages(16);
    uint64_t bytes;

    for (unsigned i = 0; i < 4; i++)
        ok(map(ioas, BASE + i * i * K4, page + i * K4, K4));
    second = paging_new(PLAIN, ioas, 0);
    ok(iommufd_ioas_map(ioas, BASE + 20 * K4, gpa(page + 4 * K4), K4, RO));
    ok(iommufd_attach(ID(DMA), first));
    ok(iommufd_attach(ID(PLAIN), second));
    for (unsigned device = DMA; device <= PLAIN; device++) {
        for (unsigned i = 0; i < 4; i++)
            holds(reads(device, BY_RID, BASE + i * i * K4, page + i * K4) && writes(device, BY_RID, BASE + i * i * K4, page + i * K4));
        holds(refused(device, BY_RID, BASE + 2 * K4));
        holds(reads(device, BY_RID, BASE + 20 * K4, page + 4 * K4) && !writes(device, BY_RID, BASE + 20 * K4, page + 4 * K4));
    }
    ok(iommufd_attach(ID(DMA), second)); /* replace */
    holds(reads(DMA, BY_RID, BASE, page));
    for (unsigned offset = 0; offset < 4; offset++) /* every place and length */
        for (unsigned count = 1; count <= 4; count++) {
            ok(map(ioas, BASE + (32 + offset) * K4, page + (8 + offset) * K4, count * K4));
            holds(reads(DMA, BY_RID, BASE + (31 + offset + count) * K4, page + (7 + offset + count) * K4));
            ok(unmap(ioas, BASE + (32 + offset) * K4, count * K4, &bytes));
            holds(bytes == count * K4 && refused(DMA, BY_RID, BASE + (32 + offset) * K4));
        }
    /* Differs: no page is divided. */
    is(NIDUS_EINVAL, map(ioas, BASE + M2 + 8, page, K4));
    is(NIDUS_EINVAL, map(ioas, BASE + M2, page + 8, K4));
    is(NIDUS_EINVAL, map(ioas, BASE + M2, page, K4 + 8));
    is(NIDUS_EINVAL, map(ioas, BASE + M2, page, 0));
    is(NIDUS_EINVAL, iommufd_ioas_map(ioas, BASE + M2, gpa(page), K4, 0));
    is(NIDUS_EOPNOTSUPP, iommufd_ioas_map(ioas, BASE + M2, gpa(page), K4, RW | 1u << 31));
    is(NIDUS_EFAULT, map(ioas, BASE + M2, rig.end - K4, 2 * K4));
}

/* There are no processes, and so one way to count. */
static void change_process(void)
{
    uint8_t call[8] = { sizeof(call) };

    is(NIDUS_EOPNOTSUPP, nidus_call(NIDUS_CALL_IOAS_CHANGE_PROCESS, call, 0));
}

ITEMS(items_ioas) = {
    { 43, "GET_HW_INFO without a buffer", info_no_buffer, NULL },
    { 44, "GET_HW_INFO with a buffer that fits; unknown flags and what is reserved are EOPNOTSUPP", info_exact, NULL },
    { 45, "GET_HW_INFO for another type is EOPNOTSUPP", info_type, NULL },
    { 46, "GET_HW_INFO: the tail of a larger buffer is zeroed", info_larger, NULL },
    { 47, "GET_HW_INFO: a smaller buffer gets what fits, and the full length is told", info_smaller, NULL },
    { 48, "GET_HW_INFO: the width of PASIDs, 0 where there are none", info_pasids, NULL },
    { 49, "GET_HW_INFO of no device is ENOENT", info_no_device, NULL },
    { 50, "DESTROY of an IOAS, and of its automatic HWPT, is EBUSY while a device is attached", destroys, NULL },
    { 51, "areas: unmap of nothing or of a half is ENOENT, overlaps are EEXIST, unmap of all works twice", areas, NULL },
    { 52, "unmap of areas that lie in the range; a range that cuts one is ENOENT", contained_areas, NULL },
    { 53, "IOVAs that are chosen are aligned, not reserved, and allowed", auto_iova, NULL },
    { 54, "where nothing fits a map is ENOSPC; beyond the end EOVERFLOW", reserved_overflow, NULL },
    { 55, "ALLOW_IOVAS: ranges in order, apart from each other, for what is not fixed", allowed, NULL },
    { 56, "copies within an IOAS and between two", copies, NULL },
    { 57, "IOVA_RANGES tells how many there are; EMSGSIZE where that is too many", iova_ranges, NULL },
    { 58, "a payload lies anywhere; one that is not all there is EFAULT, and untouched", access, NULL },
    { 59, "HUGE_PAGES is set before anything is mapped; COPY of each part of an area", huge_and_sweep, NULL },
    { 60, "IOAS_MAP_FILE is EOPNOTSUPP", dmabuf, NULL },
    { 61, "what is mapped is what devices of each table reach, as permitted, and no more", mock_domain, NULL },
    { 62, "IOAS_CHANGE_PROCESS is EOPNOTSUPP", change_process, NULL },
    ITEMS_END
};
