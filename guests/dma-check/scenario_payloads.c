/* SPDX-License-Identifier: BSD-2-Clause */
/* Payloads that are wrong in every way: each has its error, and nothing else happens. */
#include <stdio.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"
#include "guests/dma-check/user_call.h"

#define NO_SUCH_ID 9999u
#define OUTSIDE    (frames_end() + SIZE_1G)     /* a GPA that is no memory */
#define FREE_IOVA  (4ULL << 40)
#define READABLE   NIDUS_IOAS_MAP_READABLE
#define FIXED      NIDUS_IOAS_MAP_FIXED_IOVA

static uint32_t device;                         /* nidus-dma's id */
static uint32_t parent, plain, nested, ioas;

/* One call with a payload of this type and these members. */
#define TRY(call, want, what, type, ...)                                      \
    do {                                                                      \
        struct type payload = { __VA_ARGS__ };                                \
        check_errno(nidus_call(call, &payload, device), want, what);         \
    } while (0)

static void numbers(void)
{
    static const uint32_t unknown[] = { 0, 0x3b7f, 0x3bff, 0x6e00, 0x6eff, 0xffffffff };
    struct nidus_destroy payload = { .size = sizeof(payload) };
    char what[60];

    for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        snprintf(what, sizeof(what), "call number 0x%x", (unsigned)unknown[i]);
        check_errno(nidus_call(unknown[i], &payload, 0), NIDUS_ENOTTY, what);
    }
}

/* A call from ring 3 is refused before it is looked at. */
static void privilege(void)
{
    struct nidus_destroy payload = { .size = sizeof(payload), .id = NO_SUCH_ID };

    check_errno(user_call(NIDUS_CALL_DESTROY, &payload, 0), NIDUS_EPERM, "a call at privilege level 3");
    check_errno(nidus_call(NIDUS_CALL_DESTROY, &payload, 0), NIDUS_ENOENT, "the same call at privilege level 0: the id is looked up");
}

/* Where the payload lies. */
static void places(void)
{
    struct nidus_destroy destroy = { .size = sizeof(destroy), .id = NO_SUCH_ID };
    char *last = (char *)frames_last() + FRAME_SIZE;
    uint8_t *pages = frames_need(2 * FRAME_SIZE, FRAME_SIZE, "two pages");

    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, OUTSIDE, 0), NIDUS_EFAULT, "payload outside memory");
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, UINT64_MAX, 0), NIDUS_EFAULT, "payload at the last GPA of all");
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, UINT64_MAX - 3, 0), NIDUS_EFAULT, "payload that wraps round");
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, 1ULL << 63, 0), NIDUS_EFAULT, "payload at 2^63");
    memcpy(last - 2, &destroy, 2);
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, gpa_of(last - 2), 0), NIDUS_EFAULT, "size crosses the end of memory");
    memcpy(last - 4, &destroy, 4);
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, gpa_of(last - 4), 0), NIDUS_EFAULT, "payload crosses the end of memory");
    memcpy(last - sizeof(destroy), &destroy, sizeof(destroy));
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, gpa_of(last - sizeof(destroy)), 0), NIDUS_ENOENT,
                 "payload that ends with memory: the id is looked up");
    memcpy(pages + FRAME_SIZE - 3, &destroy, sizeof(destroy));
    check_errno(nidus_call_gpa(NIDUS_CALL_DESTROY, gpa_of(pages + FRAME_SIZE - 3), 0), NIDUS_ENOENT,
                 "payload not aligned and across two pages: the id is looked up");
    frames_free(pages, 2 * FRAME_SIZE);
}

/* Sizes: too small, larger with a zero tail, larger with something in it. */
static void sizes(void)
{
    static const struct {
        uint32_t number, minimum;
        const char *name;
    } calls[] = {
        { NIDUS_CALL_DESTROY, 8, "DESTROY" },                 { NIDUS_CALL_IOAS_ALLOC, 12, "IOAS_ALLOC" },
        { NIDUS_CALL_IOAS_MAP, 40, "IOAS_MAP" },              { NIDUS_CALL_IOAS_UNMAP, 24, "IOAS_UNMAP" },
        { NIDUS_CALL_HWPT_ALLOC, 24, "HWPT_ALLOC" },          { NIDUS_CALL_GET_HW_INFO, 32, "GET_HW_INFO" },
        { NIDUS_CALL_HWPT_INVALIDATE, 32, "HWPT_INVALIDATE" }, { NIDUS_CALL_FAULT_READ, 32, "FAULT_READ" },
        { NIDUS_CALL_IOAS_COPY, 40, "IOAS_COPY" },            { NIDUS_CALL_IOAS_IOVA_RANGES, 32, "IOAS_IOVA_RANGES" },
        { NIDUS_CALL_IOAS_ALLOW_IOVAS, 24, "IOAS_ALLOW_IOVAS" }, { NIDUS_CALL_OPTION, 24, "OPTION" },
        { NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, 16, "SET_DIRTY_TRACKING" }, { NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, 48, "GET_DIRTY_BITMAP" },
        { NIDUS_CALL_CONSOLE_WRITE, 16, "CONSOLE_WRITE" },    { NIDUS_CALL_PCI_CONFIG_READ, 16, "PCI_CONFIG_READ" },
        { NIDUS_CALL_PCI_CONFIG_WRITE, 16, "PCI_CONFIG_WRITE" },
    };
    uint32_t payload[16];
    char what[80];

    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        memset(payload, 0, sizeof(payload));
        payload[0] = calls[i].minimum - 1;
        snprintf(what, sizeof(what), "%s, size %u", calls[i].name, (unsigned)payload[0]);
        check_errno(nidus_call(calls[i].number, payload, device), NIDUS_EINVAL, what);
        payload[0] = sizeof(payload);
        payload[15] = 1;
        snprintf(what, sizeof(what), "%s, size %u, something in the unknown tail", calls[i].name, (unsigned)payload[0]);
        check_errno(nidus_call(calls[i].number, payload, device), NIDUS_E2BIG, what);
    }
    memset(payload, 0, sizeof(payload));
    payload[0] = sizeof(payload);
    payload[1] = NO_SUCH_ID;
    check_errno(nidus_call(NIDUS_CALL_DESTROY, payload, 0), NIDUS_ENOENT, "DESTROY, size 64, unknown tail all zero: the id is looked up");
}

static void bad_ioas(void)
{
    uint32_t ram = guest_info->default_ioas;
    uint64_t page = gpa_of(frames_last());

#define MAP(want, what, ...) TRY(NIDUS_CALL_IOAS_MAP, want, "IOAS_MAP, " what, nidus_ioas_map, .size = 40, __VA_ARGS__)
#define UNMAP(want, what, ...) TRY(NIDUS_CALL_IOAS_UNMAP, want, "IOAS_UNMAP, " what, nidus_ioas_unmap, .size = 24, __VA_ARGS__)
    TRY(NIDUS_CALL_DESTROY, NIDUS_ENOENT, "DESTROY, id 0", nidus_destroy, .size = 8);
    TRY(NIDUS_CALL_DESTROY, NIDUS_ENOENT, "DESTROY, no such id", nidus_destroy, .size = 8, .id = NO_SUCH_ID);
    TRY(NIDUS_CALL_IOAS_ALLOC, NIDUS_EOPNOTSUPP, "IOAS_ALLOC, a flag", nidus_ioas_alloc, .size = 12, .flags = 1);
    MAP(NIDUS_EOPNOTSUPP, "an unknown flag", .flags = FIXED | READABLE | 8, .ioas_id = ioas, .user_va = page, .length = 4096);
    MAP(NIDUS_EOPNOTSUPP, "a reserved field", .flags = FIXED | READABLE, .ioas_id = ioas, .reserved = 1, .user_va = page, .length = 4096);
    MAP(NIDUS_EINVAL, "neither readable nor writable", .flags = FIXED, .ioas_id = ioas, .user_va = page, .length = 4096);
    MAP(NIDUS_ENOENT, "no such IOAS", .flags = FIXED | READABLE, .ioas_id = NO_SUCH_ID, .user_va = page, .length = 4096);
    MAP(NIDUS_EINVAL, "length 0", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page);
    MAP(NIDUS_EINVAL, "length not of pages", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page, .length = 100);
    MAP(NIDUS_EINVAL, "address not aligned", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page + 8, .length = 4096);
    MAP(NIDUS_EINVAL, "IOVA not aligned", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page, .length = 4096, .iova = 8);
    MAP(NIDUS_EOVERFLOW, "length 2^64 - 1", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page, .length = UINT64_MAX);
    MAP(NIDUS_EFAULT, "not the guest's memory", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = OUTSIDE, .length = 4096);
    MAP(NIDUS_EFAULT, "across the end of memory", .flags = FIXED | READABLE, .ioas_id = ioas, .user_va = page, .length = 8192);
    MAP(NIDUS_EEXIST, "where memory is mapped", .flags = FIXED | READABLE | NIDUS_IOAS_MAP_WRITEABLE, .ioas_id = ram, .user_va = page,
        .length = 4096, .iova = page);
#define COPY(want, what, ...) TRY(NIDUS_CALL_IOAS_COPY, want, "IOAS_COPY, " what, nidus_ioas_copy, .size = 40, __VA_ARGS__)
    COPY(NIDUS_EOPNOTSUPP, "an unknown flag", .flags = FIXED | READABLE | 8, .dst_ioas_id = ioas, .src_ioas_id = ram, .length = 4096);
    COPY(NIDUS_ENOENT, "nothing there", .flags = FIXED | READABLE, .dst_ioas_id = ioas, .src_ioas_id = ram, .length = 4096, .src_iova = OUTSIDE);
    COPY(NIDUS_ENOENT, "no such destination", .flags = FIXED | READABLE, .dst_ioas_id = NO_SUCH_ID, .src_ioas_id = ram, .length = 4096,
         .src_iova = page);
    TRY(NIDUS_CALL_IOAS_IOVA_RANGES, NIDUS_EMSGSIZE, "IOAS_IOVA_RANGES, no room", nidus_ioas_iova_ranges, .size = 32, .ioas_id = ioas);
    TRY(NIDUS_CALL_IOAS_IOVA_RANGES, NIDUS_EFAULT, "IOAS_IOVA_RANGES, room outside memory", nidus_ioas_iova_ranges, .size = 32, .ioas_id = ioas,
        .num_iovas = 8, .allowed_iovas = OUTSIDE);
    TRY(NIDUS_CALL_IOAS_ALLOW_IOVAS, NIDUS_EFAULT, "IOAS_ALLOW_IOVAS, ranges outside memory", nidus_ioas_allow_iovas, .size = 24,
        .ioas_id = ioas, .num_iovas = 1, .allowed_iovas = OUTSIDE);
    TRY(NIDUS_CALL_OPTION, NIDUS_EOPNOTSUPP, "OPTION, an unknown one", nidus_option, .size = 24, .option_id = 2);
    TRY(NIDUS_CALL_OPTION, NIDUS_EPERM, "OPTION, to count memory otherwise", nidus_option, .size = 24, .val64 = 1);
    UNMAP(NIDUS_ENOENT, "nothing there", .ioas_id = ioas, .iova = FREE_IOVA, .length = 4096);
    must(iommufd_ioas_map(ioas, FREE_IOVA, page - FRAME_SIZE, 2 * FRAME_SIZE, READABLE) == 0, "IOAS_MAP of two pages");
    UNMAP(NIDUS_ENOENT, "a part of a mapping", .ioas_id = ioas, .iova = FREE_IOVA, .length = 4096);
    UNMAP(0, "the whole mapping", .ioas_id = ioas, .iova = FREE_IOVA, .length = 8192);
    UNMAP(NIDUS_ENOENT, "no such IOAS", .ioas_id = NO_SUCH_ID, .iova = 0, .length = 4096);
    TRY(NIDUS_CALL_DESTROY, NIDUS_EBUSY, "DESTROY, the default IOAS, which HWPTs use", nidus_destroy, .size = 8, .id = ram);
#undef MAP
#undef COPY
#undef UNMAP
}

static void bad_hwpt(void)
{
    struct nidus_hwpt_vtd_s1 good = { .pgtbl_addr = gpa_of(frames_last()), .addr_width = 48 };
    struct nidus_hwpt_vtd_s1 crooked = good, reserved = good, flags = good, width = good;
    uint64_t data = (uint64_t)&good, ram = guest_info->default_ioas;

    crooked.pgtbl_addr += 8;
    reserved.reserved = 1;
    flags.flags = 1ULL << 40;
    width.addr_width = 39;
#define ALLOC(want, what, ...) TRY(NIDUS_CALL_HWPT_ALLOC, want, "HWPT_ALLOC, " what, nidus_hwpt_alloc, .size = 48, __VA_ARGS__)
#define S1(pointer) .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = 24, .data_uptr = (uint64_t)(pointer)
    ALLOC(NIDUS_EOPNOTSUPP, "a reserved field", .dev_id = device, .pt_id = ioas, .reserved = 1);
    ALLOC(NIDUS_EOPNOTSUPP, "an unknown flag", .dev_id = device, .pt_id = ioas, .flags = 1u << 31);
    ALLOC(NIDUS_EINVAL, "data without a type", .dev_id = device, .pt_id = ioas, .data_len = 24, .data_uptr = data);
    ALLOC(NIDUS_EINVAL, "a type without data", .dev_id = device, .pt_id = parent, .data_type = NIDUS_HWPT_DATA_VTD_S1);
    ALLOC(NIDUS_ENOENT, "no such device", .dev_id = NO_SUCH_ID, .pt_id = ioas);
    ALLOC(NIDUS_ENOENT, "an IOAS for a device", .dev_id = (uint32_t)ram, .pt_id = ioas);
    ALLOC(NIDUS_EINVAL, "no such parent", .dev_id = device, .pt_id = NO_SUCH_ID, S1(&good));
    ALLOC(NIDUS_EOPNOTSUPP, "an unknown data type", .dev_id = device, .pt_id = parent, .data_type = 77, .data_len = 24, .data_uptr = data);
    ALLOC(NIDUS_EINVAL, "nested on a HWPT that is no nest parent", .dev_id = device, .pt_id = plain, S1(&good));
    ALLOC(NIDUS_EINVAL, "nested on nested", .dev_id = device, .pt_id = nested, S1(&good));
    ALLOC(NIDUS_EOPNOTSUPP, "NEST_PARENT on nested", .dev_id = device, .pt_id = parent, .flags = NIDUS_HWPT_ALLOC_NEST_PARENT, S1(&good));
    ALLOC(NIDUS_EINVAL, "data too short", .dev_id = device, .pt_id = parent, .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = 23,
          .data_uptr = data);
    ALLOC(NIDUS_EFAULT, "data outside memory", .dev_id = device, .pt_id = parent, S1(OUTSIDE));
    ALLOC(NIDUS_EFAULT, "data across the end of memory", .dev_id = device, .pt_id = parent, S1(frames_end() - 8));
    ALLOC(NIDUS_EINVAL, "table not aligned", .dev_id = device, .pt_id = parent, S1(&crooked));
    ALLOC(NIDUS_EOPNOTSUPP, "a reserved field of the data", .dev_id = device, .pt_id = parent, S1(&reserved));
    ALLOC(NIDUS_EOPNOTSUPP, "an unknown flag of the data", .dev_id = device, .pt_id = parent, S1(&flags));
    ALLOC(NIDUS_EINVAL, "39 bits of address", .dev_id = device, .pt_id = parent, S1(&width));
#define BITMAP(want, what, ...) TRY(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, want, "GET_DIRTY_BITMAP, " what, nidus_hwpt_get_dirty_bitmap, \
                                    .size = 48, __VA_ARGS__)
    TRY(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, NIDUS_ENOENT, "SET_DIRTY_TRACKING, a nested HWPT", nidus_hwpt_set_dirty_tracking, .size = 16,
        .hwpt_id = nested);
    TRY(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, NIDUS_EOPNOTSUPP, "SET_DIRTY_TRACKING, a HWPT that was made without", nidus_hwpt_set_dirty_tracking,
        .size = 16, .hwpt_id = plain, .flags = 1);
    BITMAP(NIDUS_ENOENT, "no such HWPT", .hwpt_id = NO_SUCH_ID, .length = 4096, .page_size = 4096);
    BITMAP(NIDUS_EINVAL, "length 0", .hwpt_id = plain, .page_size = 4096);
    BITMAP(NIDUS_EOPNOTSUPP, "a HWPT that was made without", .hwpt_id = plain, .length = 4096, .page_size = 4096, .data = OUTSIDE);
    TRY(NIDUS_CALL_DESTROY, NIDUS_EBUSY, "DESTROY, a nest parent with a nested HWPT", nidus_destroy, .size = 8, .id = parent);
#undef ALLOC
#undef BITMAP
#undef S1
}

static void bad_hw_info(void)
{
    uint64_t last = frames_end() - 8;

#define INFO(want, what, ...) TRY(NIDUS_CALL_GET_HW_INFO, want, "GET_HW_INFO, " what, nidus_hw_info, .size = 40, __VA_ARGS__)
    INFO(NIDUS_EOPNOTSUPP, "an unknown flag", .dev_id = device, .flags = 2);
    INFO(NIDUS_EOPNOTSUPP, "a reserved byte", .dev_id = device, .reserved = { 0, 1, 0 });
    INFO(NIDUS_ENOENT, "no such device", .dev_id = NO_SUCH_ID);
    INFO(NIDUS_EOPNOTSUPP, "another vendor's type", .dev_id = device, .flags = NIDUS_HW_INFO_FLAG_INPUT_TYPE, .data_type = 2);
    INFO(NIDUS_EFAULT, "a buffer across the end of memory", .dev_id = device, .data_len = 24, .data_uptr = last);
    INFO(0, "no buffer", .dev_id = device);
#undef INFO
}

static bool works(struct rig *r)
{
    static uint64_t seed;

    return dma_fill(r, IOVA_LOW, 64, ++seed) == NDMA_DONE && ndma_pattern_check(frames_last(), 0, 64, seed) == 64;
}

static void bad_attach(struct rig *r)
{
    struct nidus_vfio_attach attach = { .argsz = 12, .pt_id = ioas };
    struct nidus_vfio_detach detach = { .argsz = 8 };

#define ATTACH(want, what, ...) TRY(NIDUS_CALL_ATTACH, want, "attach, " what, nidus_vfio_attach, __VA_ARGS__)
    ATTACH(NIDUS_EINVAL, "argsz 11", .argsz = 11, .pt_id = ioas);
    ATTACH(NIDUS_EINVAL, "an unknown flag", .argsz = 12, .flags = 1u << 8, .pt_id = ioas);
    ATTACH(NIDUS_ENOENT, "no such table", .argsz = 12, .pt_id = NO_SUCH_ID);
    ATTACH(NIDUS_EINVAL, "a device for a table", .argsz = 12, .pt_id = device);
    ATTACH(NIDUS_EINVAL, "a PASID to an IOAS", .argsz = 16, .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = ioas, .pasid = 5);
    ATTACH(NIDUS_EINVAL, "a PASID, argsz 12", .argsz = 12, .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = ioas, .pasid = 5);
#undef ATTACH
    check(works(r), "after attaches that failed, a transfer through the old table: verified");
    must(iommufd_detach(device) == 0, "detach");
    TRY(NIDUS_CALL_DETACH, NIDUS_EINVAL, "detach, argsz 7", nidus_vfio_detach, .argsz = 7);
    TRY(NIDUS_CALL_DETACH, NIDUS_EINVAL, "detach, an unknown flag", nidus_vfio_detach, .argsz = 8, .flags = 1u << 8);
    TRY(NIDUS_CALL_DETACH, 0, "detach of what is not attached", nidus_vfio_detach, .argsz = 8);
    check_errno(nidus_call(NIDUS_CALL_ATTACH, &attach, NO_SUCH_ID), NIDUS_ENOENT, "attach, no such device");
    check_errno(nidus_call(NIDUS_CALL_DETACH, &detach, NO_SUCH_ID), NIDUS_ENOENT, "detach, no such device");
}

/* Each bad HWPT_INVALIDATE also says 0 entries. */
static void invalidate(struct nidus_hwpt_invalidate call, int want, const char *what)
{
    int error;

    call.size = sizeof(call);
    error = nidus_call(NIDUS_CALL_HWPT_INVALIDATE, &call, 0);
    check(error == -want && call.entry_num == 0, "HWPT_INVALIDATE, %s: %s, entry_num %u%s%s", what, errno_name(error), call.entry_num,
          error == -want ? "" : ", expected ", error == -want ? "" : errno_name(want));
}

static void bad_invalidate(void)
{
    struct nidus_hwpt_vtd_s1_invalidate all = { .npages = UINT64_MAX };
    struct nidus_hwpt_vtd_s1_invalidate nothing = { .addr = IOVA_LOW }, beyond = { .addr = 0ULL - FRAME_SIZE, .npages = 2 };
    uint64_t array = (uint64_t)&all;

#define INVALIDATE(want, what, ...) invalidate((struct nidus_hwpt_invalidate){ __VA_ARGS__ }, want, what)
    INVALIDATE(0, "no entries", .hwpt_id = nested, .data_uptr = array, .entry_len = 24);
    INVALIDATE(NIDUS_EINVAL, "an unknown data type", .hwpt_id = nested, .data_uptr = array, .entry_len = 24, .entry_num = 1, .data_type = 1);
    INVALIDATE(NIDUS_EOPNOTSUPP, "a reserved field", .hwpt_id = nested, .data_uptr = array, .entry_len = 24, .entry_num = 1, .reserved = 1);
    INVALIDATE(NIDUS_EINVAL, "entry_len 25", .hwpt_id = nested, .data_uptr = array, .entry_len = 25, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "entry_len 0", .hwpt_id = nested, .data_uptr = array, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "no array", .hwpt_id = nested, .entry_len = 24, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "2^19 + 1 entries", .hwpt_id = nested, .data_uptr = array, .entry_len = 24,
               .entry_num = NIDUS_HWPT_INVALIDATE_MAX_ENTRIES + 1);
    INVALIDATE(NIDUS_EFAULT, "an array outside memory", .hwpt_id = nested, .data_uptr = OUTSIDE, .entry_len = 24, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "a range of no pages", .hwpt_id = nested, .data_uptr = (uint64_t)&nothing, .entry_len = 24, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "a range beyond 2^64", .hwpt_id = nested, .data_uptr = (uint64_t)&beyond, .entry_len = 24, .entry_num = 1);
    INVALIDATE(NIDUS_ENOENT, "no such HWPT", .hwpt_id = NO_SUCH_ID, .data_uptr = array, .entry_len = 24, .entry_num = 1);
    INVALIDATE(NIDUS_EINVAL, "a HWPT that is not nested", .hwpt_id = parent, .data_uptr = array, .entry_len = 24, .entry_num = 1);
#undef INVALIDATE
}

static void bad_own_calls(void)
{
    static const char lines[] = "line one\nline two\nline three\n";
    struct nidus_pci_config config = { .size = 16, .width = 4 };
    struct nidus_fault fault;

#define CONFIG(call, want, what, ...) TRY(NIDUS_CALL_PCI_CONFIG_##call, want, "PCI_CONFIG_" #call ", " what, nidus_pci_config, \
                                          .size = 16, __VA_ARGS__)
    TRY(NIDUS_CALL_FAULT_READ, NIDUS_EOPNOTSUPP, "FAULT_READ, a flag", nidus_fault_read, .size = 32, .flags = 1,
        .data_uptr = (uint64_t)&fault, .entry_len = sizeof(fault), .entry_num = 1);
    TRY(NIDUS_CALL_FAULT_READ, NIDUS_EINVAL, "FAULT_READ, entry_len 39", nidus_fault_read, .size = 32, .data_uptr = (uint64_t)&fault,
        .entry_len = sizeof(fault) - 1, .entry_num = 1);
    TRY(NIDUS_CALL_FAULT_READ, NIDUS_EINVAL, "FAULT_READ, room for 257", nidus_fault_read, .size = 32, .data_uptr = (uint64_t)&fault,
        .entry_len = sizeof(fault), .entry_num = 257);
    TRY(NIDUS_CALL_CONSOLE_WRITE, NIDUS_EINVAL, "CONSOLE_WRITE, 4097 bytes", nidus_console_write, .size = 16, .length = 4097,
        .data_uptr = gpa_of(frames_last()) - FRAME_SIZE);
    TRY(NIDUS_CALL_CONSOLE_WRITE, NIDUS_EFAULT, "CONSOLE_WRITE, text outside memory", nidus_console_write, .size = 16, .length = 1,
        .data_uptr = OUTSIDE);
    TRY(NIDUS_CALL_CONSOLE_WRITE, NIDUS_EFAULT, "CONSOLE_WRITE, text across the end of memory", nidus_console_write, .size = 16,
        .length = 16, .data_uptr = frames_end() - 8);
    TRY(NIDUS_CALL_CONSOLE_WRITE, 0, "CONSOLE_WRITE, three lines", nidus_console_write, .size = 16, .length = sizeof(lines) - 1,
        .data_uptr = (uint64_t)lines);
    CONFIG(READ, NIDUS_EINVAL, "offset 4096", .offset = 4096, .width = 4);
    CONFIG(READ, NIDUS_EINVAL, "width 3", .offset = 0, .width = 3);
    CONFIG(READ, NIDUS_EINVAL, "not aligned", .offset = 2, .width = 4);
    CONFIG(READ, NIDUS_EINVAL, "width 0", .offset = 0, .width = 0);
    CONFIG(READ, NIDUS_EINVAL, "a reserved field", .offset = 0, .width = 4, .reserved = 1);
    CONFIG(WRITE, NIDUS_EPERM, "a base address register", .offset = 0x10, .width = 4, .value = 0);
    CONFIG(WRITE, NIDUS_EPERM, "the vendor id", .offset = 0, .width = 2, .value = 0);
    CONFIG(WRITE, NIDUS_EINVAL, "width 8", .offset = 0, .width = 8);
#undef CONFIG
    check_errno(nidus_call(NIDUS_CALL_PCI_CONFIG_READ, &config, NO_SUCH_ID), NIDUS_ENOENT, "PCI_CONFIG_READ, no such device");
}

void scenario_bad_payloads(struct rig *r)
{
    struct space s;

    check_step("11", "hypercalls with bad payloads");
    if (!space_open(&s, r))
        return;
    device = r->dma.device->id;
    parent = r->parent;
    nested = s.hwpt;
    space_map(&s, IOVA_LOW, gpa_of(frames_last()), FRAME_SIZE, FRAME_SIZE, RW);
    must(iommufd_ioas_alloc(&ioas) == 0, "IOAS_ALLOC");
    must(iommufd_hwpt_alloc_paging(device, ioas, 0, &plain) == 0, "HWPT_ALLOC over an empty IOAS");
    numbers();
    privilege();
    places();
    sizes();
    bad_ioas();
    bad_hwpt();
    bad_hw_info();
    bad_attach(r);
    bad_invalidate();
    bad_own_calls();
    /* After all that, everything still works. */
    must(iommufd_destroy(plain) == 0 && iommufd_destroy(ioas) == 0, "DESTROY of what nothing uses");
    check(space_attach(&s) && works(r), "after all that, a transfer: verified");
    space_close(&s);
}
