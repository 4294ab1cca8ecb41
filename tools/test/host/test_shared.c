/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_shared.c: memory that two guests share, as their devices see it.  The writer may write it, the reader only read it.  A guest's devices may
 * do what their guest may, and where erratum 772415 would let them do more, they do not have the region at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "iommu/objects.h"
#include "iommu/unit.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/whole_call.h"
#include "tools/test/host/units.h"
#include "tools/vtd-model/host_platform.h"

#define K4      0x1000ULL
#define RAM     (4ULL << 20)
#define SHARED  0xc0000000ULL   /* GPA, in both guests */
#define SIZE    0x10000ULL
#define PAYLOAD 0x10000ULL
#define ELSEWHERE 0x40000000ULL /* an IOVA */
#define READ    NIDUS_IOAS_MAP_READABLE
#define WRITE   NIDUS_IOAS_MAP_WRITEABLE

static struct model *model;
static struct model_unit *unit;

static struct party {
    uint16_t source_id;
    struct guest *guest;
    struct iommu_context *context;
    uint32_t device;
} writer, reader;

static int64_t call(struct party *p, uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;

    assert_int_equal(platform_guest_write(p->guest, PAYLOAD, payload, size), 0);
    result = whole_call(p->context, nr, PAYLOAD, device);
    assert_int_equal(platform_guest_read(p->guest, PAYLOAD, payload, size), 0);
    return result;
}

static int64_t alloc(struct party *p, uint32_t ioas, uint32_t flags, uint32_t *id)
{
    struct nidus_hwpt_alloc a = { .size = sizeof a, .flags = flags, .dev_id = p->device, .pt_id = ioas };
    int64_t result = call(p, NIDUS_CALL_HWPT_ALLOC, &a, sizeof a, 0);

    *id = a.out_hwpt_id;
    return result;
}

static int64_t map(struct party *p, uint32_t ioas, uint64_t gpa, uint64_t size, uint32_t flags)
{
    struct nidus_ioas_map m = { .size = sizeof m, .flags = flags | NIDUS_IOAS_MAP_FIXED_IOVA, .ioas_id = ioas, .user_va = gpa, .length = size, .iova = ELSEWHERE };

    return call(p, NIDUS_CALL_IOAS_MAP, &m, sizeof m, 0);
}

static uint32_t new_ioas(struct party *p)
{
    struct nidus_ioas_alloc a = { .size = sizeof a };

    assert_int_equal(call(p, NIDUS_CALL_IOAS_ALLOC, &a, sizeof a, 0), 0);
    return a.out_ioas_id;
}

static void attach(struct party *p, uint32_t pt)
{
    struct nidus_vfio_attach a = { .argsz = 12, .pt_id = pt };

    assert_int_equal(call(p, NIDUS_CALL_ATTACH, &a, sizeof a, p->device), 0);
}

/* The fault's reason, 0: done. */
static unsigned dma(const struct party *p, unsigned access, uint64_t iova, uint64_t *word)
{
    const struct model_request r = { .source_id = p->source_id, .access = access };
    struct model_result result = model_dma(unit, &r, iova, word, sizeof *word);

    return result.outcome == MODEL_DONE ? 0 : result.reason;
}

static void open_party(struct party *p, uint16_t source_id, bool nested)
{
    const struct iommu_device_policy policy = { .ats = IOMMU_ATS_OFF };
    char reason[160];

    p->source_id = source_id;
    p->context = iommu_context_create(p->guest, nested);
    assert_non_null(p->context);
    if (!iommu_assign(p->context, 0, source_id, &policy, &p->device, reason))
        fail_msg("refused: %s", reason);
}

/* The devices are behind the last unit. */
static void start_with(const char *first, const char *last, enum iommu_errata_policy errata, bool reader_nested)
{
    static const uint16_t nobody[] = { 0x30, 0xffff };
    const uint16_t *const scopes[] = { nobody, NULL };
    uint32_t length;

    host_reset();
    host_log_clear();
    host_hypervisor = "TCGTCGTCGTCG";
    host_cpu_signature = 0x663;
    model = model_host_new(1);
    if (first != NULL)
        model_host_unit(model, model_preset(first), 0xfed80000);
    unit = model_host_unit(model, model_preset(last), 0xfed90000);
    host_function_add(0, 0x20);
    host_function_add(0, 0x28);
    host_function_add(0, 0x30);
    const void *table = model_host_dmar(model, scopes, &length);
    iommu_init(table, length, errata, IOMMU_RMRR_KEEP);
    assert_null(iommu_unavailable());
    struct guest *region = host_guest("region", 0);
    host_guest_add_ram(region, 0, SIZE);
    writer.guest = host_guest("writer", RAM);
    reader.guest = host_guest("reader", RAM);
    host_guest_share(writer.guest, SHARED, region, 0, true);
    host_guest_share(reader.guest, SHARED, region, 0, false);
    open_party(&writer, 0x20, true);
    open_party(&reader, 0x28, reader_nested);
}

static void start(enum iommu_errata_policy errata, bool reader_nested)
{
    start_with(NULL, "spr", errata, reader_nested);
}

static void stop(void)
{
    if (model_violations(model))
        fail_msg("%u violations, the first: %s", model_violations(model), model_violation(model, 0));
    assert_true(iommu_context_block(writer.context) && iommu_context_block(reader.context));
    destroy_whole(writer.context);
    destroy_whole(reader.context);
    assert_int_equal(writer.guest->bytes_used + reader.guest->bytes_used, 0);
    units_free();
    model_host_free(model);
}

/* nested = off: no erratum, whatever the policy. */
static void what_one_device_writes_the_other_reads_and_may_not_write(void **state)
{
    uint64_t word = 0x1122334455667788, got = 0;

    (void)state;
    start(IOMMU_ERRATA_ON, false);
    attach(&writer, iommu_default_ioas(writer.context));
    attach(&reader, iommu_default_ioas(reader.context));
    assert_int_equal(dma(&writer, MODEL_WRITE, SHARED + SIZE - 8, &word), 0);
    assert_int_equal(dma(&reader, MODEL_READ, SHARED + SIZE - 8, &got), 0);
    assert_true(got == word);
    got = 0;
    assert_int_equal(dma(&reader, MODEL_WRITE, SHARED + SIZE - 8, &got), 0x85); /* SSS.5 */
    assert_int_equal(dma(&writer, MODEL_READ, SHARED + SIZE - 8, &got), 0);
    assert_true(got == word);
    stop();
}

static void a_read_only_region_is_left_out_where_erratum_772415_would_let_it_be_written(void **state)
{
    uint64_t word = 0;
    uint32_t id;

    (void)state;
    start(IOMMU_ERRATA_ON, true);
    assert_true(host_log_has("guest reader: 0xc0000000 to 0xc000ffff, which it may only read, is left out of its default IOAS: erratum 772415, and nested = on"));
    assert_false(host_log_has("guest writer"));
    assert_int_equal(alloc(&reader, iommu_default_ioas(reader.context), NIDUS_HWPT_ALLOC_NEST_PARENT, &id), 0);
    attach(&reader, id);
    assert_int_equal(dma(&reader, MODEL_READ, SHARED, &word), 0x79); /* SSS.2: not present */
    assert_int_equal(dma(&reader, MODEL_READ, RAM - 8, &word), 0);
    /* The rule holds for the guest's own calls: under a nest parent not at all, elsewhere read-only. */
    assert_int_equal(map(&reader, iommu_default_ioas(reader.context), SHARED, SIZE, READ), -NIDUS_EINVAL);
    assert_int_equal(map(&reader, iommu_default_ioas(reader.context), SHARED, SIZE, READ | WRITE), -NIDUS_EFAULT);
    stop();
}

static void a_read_only_region_is_there_where_the_erratum_is_not(void **state)
{
    uint64_t word = 0;
    uint32_t id;

    (void)state;
    start(IOMMU_ERRATA_OFF, true);
    assert_int_equal(alloc(&reader, iommu_default_ioas(reader.context), NIDUS_HWPT_ALLOC_NEST_PARENT, &id), 0);
    attach(&reader, id);
    assert_int_equal(dma(&reader, MODEL_READ, SHARED, &word), 0);
    assert_int_equal(dma(&reader, MODEL_WRITE, SHARED, &word), 0x85);
    stop();
}

/* QEMU's unit alone needs no rule (auto); beside one that does, whichever comes first, it has it too: a domain can be attached on both. */
static void the_rule_is_in_force_where_one_of_unlike_units_needs_it(void **state)
{
    static const struct { const char *first, *last; bool rule; } machines[] = {
        { NULL, "qemu", false }, { "qemu", "qemu", false }, { "qemu", "spr", true }, { "spr", "qemu", true },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        uint32_t ioas, parent;

        start_with(machines[i].first, machines[i].last, IOMMU_ERRATA_AUTO, true);
        assert_int_equal(host_log_has("is left out of its default IOAS: erratum 772415"), machines[i].rule);
        ioas = new_ioas(&reader);
        assert_int_equal(map(&reader, ioas, SHARED, SIZE, READ), 0);
        assert_int_equal(alloc(&reader, ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &parent), machines[i].rule ? -NIDUS_EINVAL : 0);
        stop();
    }
}

static void what_may_only_be_read_cannot_be_mapped_or_copied_for_writing(void **state)
{
    uint32_t ioas, other;

    (void)state;
    start(IOMMU_ERRATA_ON, false);
    ioas = new_ioas(&reader);
    other = new_ioas(&reader);
    assert_int_equal(map(&reader, ioas, SHARED, SIZE, WRITE), -NIDUS_EFAULT);
    assert_int_equal(map(&reader, ioas, SHARED + SIZE - K4, 2 * K4, READ), -NIDUS_EFAULT); /* a page beyond it */
    assert_int_equal(map(&reader, ioas, SHARED, SIZE, READ), 0);
    struct nidus_ioas_copy copy = { .size = sizeof copy, .flags = NIDUS_IOAS_MAP_FIXED_IOVA | READ | WRITE, .dst_ioas_id = other, .src_ioas_id = ioas,
                                    .length = SIZE, .dst_iova = ELSEWHERE, .src_iova = ELSEWHERE };
    assert_int_equal(call(&reader, NIDUS_CALL_IOAS_COPY, &copy, sizeof copy, 0), -NIDUS_EPERM);
    copy.src_ioas_id = iommu_default_ioas(reader.context);
    copy.src_iova = SHARED;
    assert_int_equal(call(&reader, NIDUS_CALL_IOAS_COPY, &copy, sizeof copy, 0), -NIDUS_EPERM);
    assert_int_equal(map(&writer, new_ioas(&writer), SHARED, SIZE, READ | WRITE), 0);
    stop();
}

/* Another guest could change it, or could not be kept from seeing what nidus answers. */
static void no_payload_lies_in_a_shared_region(void **state)
{
    struct nidus_ioas_alloc a = { .size = sizeof a };
    struct nidus_hw_info info = { .size = sizeof info, .dev_id = writer.device, .data_len = 24, .data_uptr = SHARED };

    (void)state;
    start(IOMMU_ERRATA_ON, false);
    memcpy(host_guest_byte(writer.guest, SHARED), &a, sizeof a);
    assert_int_equal(whole_call(writer.context, NIDUS_CALL_IOAS_ALLOC, SHARED, 0), -NIDUS_EFAULT);
    info.dev_id = writer.device;
    assert_int_equal(call(&writer, NIDUS_CALL_GET_HW_INFO, &info, sizeof info, 0), -NIDUS_EFAULT);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_device_writes_the_other_reads_and_may_not_write),
        cmocka_unit_test(a_read_only_region_is_left_out_where_erratum_772415_would_let_it_be_written),
        cmocka_unit_test(a_read_only_region_is_there_where_the_erratum_is_not),
        cmocka_unit_test(the_rule_is_in_force_where_one_of_unlike_units_needs_it),
        cmocka_unit_test(what_may_only_be_read_cannot_be_mapped_or_copied_for_writing),
        cmocka_unit_test(no_payload_lies_in_a_shared_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
