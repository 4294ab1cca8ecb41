/* SPDX-License-Identifier: BSD-2-Clause */
/* items_envelope.c: what is common to all calls. */
#include <string.h>

#include "guests/conformance/conformance.h"

#define NO_CALL        0x3b7fu
#define TEST_CALL      0x3ba0u  /* IOMMU_TEST_CMD, which only Linux's test kernels have */

static void cmd_fail(void)
{
    struct nidus_destroy call = { .size = sizeof(call) };

    is(NIDUS_ENOENT, iommufd_destroy(0));
    is(NIDUS_EFAULT, nidus_call(NIDUS_CALL_DESTROY, NULL, 0));
    is(NIDUS_EFAULT, nidus_call(NIDUS_CALL_DESTROY, rig.end, 0));
    memcpy(rig.end - sizeof(call.size), &call.size, sizeof(call.size));
    is(NIDUS_EFAULT, nidus_call(NIDUS_CALL_DESTROY, rig.end - sizeof(call.size), 0));
    is(NIDUS_ENOTTY, nidus_call(NO_CALL, &call, 0));
    is(NIDUS_ENOTTY, nidus_call(TEST_CALL, &call, 0));
    is(NIDUS_ENOTTY, nidus_call(NO_CALL, NULL, 0));
}

static const struct {
    uint32_t number, least, size;
} commands[] = {
    { NIDUS_CALL_DESTROY, 8, 8 },           { NIDUS_CALL_IOAS_ALLOC, 12, 12 },        { NIDUS_CALL_IOAS_ALLOW_IOVAS, 24, 24 },
    { NIDUS_CALL_IOAS_COPY, 40, 40 },       { NIDUS_CALL_IOAS_IOVA_RANGES, 32, 32 },  { NIDUS_CALL_IOAS_MAP, 40, 40 },
    { NIDUS_CALL_IOAS_UNMAP, 24, 24 },      { NIDUS_CALL_OPTION, 24, 24 },            { NIDUS_CALL_VFIO_IOAS, 12, 12 },
    { NIDUS_CALL_HWPT_ALLOC, 24, 48 },      { NIDUS_CALL_GET_HW_INFO, 32, 40 },       { NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, 16, 16 },
    { NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, 48, 48 }, { NIDUS_CALL_HWPT_INVALIDATE, 32, 32 }, { NIDUS_CALL_FAULT_QUEUE_ALLOC, 16, 16 },
    { NIDUS_CALL_IOAS_MAP_FILE, 40, 40 },   { NIDUS_CALL_VIOMMU_ALLOC, 24, 40 },      { NIDUS_CALL_VDEVICE_ALLOC, 24, 24 },
    { NIDUS_CALL_IOAS_CHANGE_PROCESS, 8, 8 }, { NIDUS_CALL_VEVENTQ_ALLOC, 32, 32 },   { NIDUS_CALL_HW_QUEUE_ALLOC, 40, 40 },
};

/* All zero but for the size and the byte behind what is known. */
static int sized(uint32_t number, uint32_t size, uint32_t known, uint8_t tail)
{
    uint8_t payload[64] = { 0 };

    memcpy(payload, &size, sizeof(size));
    payload[known] = tail;
    return nidus_call(number, payload, 0);
}

static void cmd_length(void)
{
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        uint32_t number = commands[i].number, size = commands[i].size;

        is(NIDUS_EINVAL, sized(number, commands[i].least - 1, size, 0));
        is(NIDUS_E2BIG, sized(number, size + 1, size, 1));
        holds(sized(number, size + 1, size, 0) == sized(number, size, size, 1));
        holds(sized(number, commands[i].least, size, 1) == sized(number, size, size, 1));
    }
}

static void cmd_ex_fail(void)
{
    struct {
        struct nidus_destroy call;
        uint64_t tail;
    } longer = { .call = { .size = sizeof(longer) } };

    is(NIDUS_ENOENT, nidus_call(NIDUS_CALL_DESTROY, &longer, 0));
    longer.tail = 1;
    is(NIDUS_E2BIG, nidus_call(NIDUS_CALL_DESTROY, &longer, 0));
    longer.call.size = sizeof(longer.call);
    is(NIDUS_ENOENT, nidus_call(NIDUS_CALL_DESTROY, &longer, 0));
    longer.call.size--;
    is(NIDUS_EINVAL, nidus_call(NIDUS_CALL_DESTROY, &longer, 0));
}

static int option(uint32_t id, uint16_t op, uint32_t object, uint64_t *value)
{
    struct nidus_option call = { .size = sizeof(call), .option_id = id, .op = op, .object_id = object, .val64 = *value };
    int error = nidus_call(NIDUS_CALL_OPTION, &call, 0);

    *value = call.val64;
    return error;
}

/* Differs: what a guest uses is counted in one way, so SET is what Linux answers the unprivileged. */
static void global_options(void)
{
    uint64_t value = 7;

    ok(option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_GET, 0, &value));
    holds(value == 0);
    for (value = 0; value <= 2; value++)
        is(NIDUS_EPERM, option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_SET, 0, &value));
    is(NIDUS_EOPNOTSUPP, option(NIDUS_OPTION_RLIMIT_MODE, NIDUS_OPTION_OP_GET, rig.default_ioas, &value));
    is(NIDUS_EOPNOTSUPP, option(NIDUS_OPTION_RLIMIT_MODE, 2, 0, &value));
    is(NIDUS_EOPNOTSUPP, option(2, NIDUS_OPTION_OP_GET, 0, &value));
    is(NIDUS_ENOENT, option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_GET, 0, &value));
    is(NIDUS_ENOENT, option(NIDUS_OPTION_HUGE_PAGES, NIDUS_OPTION_OP_SET, 0, &value));
}

/* There is no VFIO container: its numbers are none, and the call that belongs to it is not supported. */
static void vfio_compat(void)
{
    struct nidus_vfio_attach call = { .argsz = sizeof(call) };
    static const uint32_t numbers[] = {
        0x3b64, /* GET_API_VERSION */ 0x3b65, /* CHECK_EXTENSION */ 0x3b66, /* SET_IOMMU */
        0x3b70, /* IOMMU_GET_INFO */  0x3b71, /* MAP_DMA */         0x3b72, /* UNMAP_DMA */
    };

    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        is(NIDUS_ENOTTY, nidus_call(numbers[i], &call, 0));
    is(NIDUS_EOPNOTSUPP, sized(NIDUS_CALL_VFIO_IOAS, 12, 12, 0));
}

ITEMS(items_envelope) = {
    { 1, "DESTROY of id 0 is ENOENT, a payload at NULL EFAULT, a number that is none ENOTTY", cmd_fail, NULL },
    { 2, "every call: too short is EINVAL, a tail that is not zero E2BIG, a zero tail as if there were none", cmd_length, NULL },
    { 3, "DESTROY with a tail: zero is ENOENT, else E2BIG; exact is ENOENT, short EINVAL", cmd_ex_fail, NULL },
    { 4, "RLIMIT_MODE reads 0 and cannot be set; HUGE_PAGES of no IOAS is ENOENT", global_options, NULL },
    { 5, "VFIO's own calls are ENOTTY, VFIO_IOAS is EOPNOTSUPP", vfio_compat, NULL },
    ITEMS_END
};
