/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 6: every wrong translation gives the right fault, and nothing is written anywhere. */
#include <stdio.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

/* Fault reasons, spec 5.10 table 30. */
#define PASID_NOT_PRESENT  0x59
#define FIRST_NOT_PRESENT  0x71
#define FIRST_RESERVED     0x72
#define SECOND_NOT_PRESENT 0x79
#define NOT_CANONICAL      0x80
#define NOT_USER           0x81
#define NO_WRITE           0x85

#define FIRST  NIDUS_FAULT_STAGE_FIRST
#define SECOND NIDUS_FAULT_STAGE_SECOND

#define SMALL  (IOVA_LOW + 1 * SIZE_1G)         /* a 4 KiB leaf */
#define LARGE  (IOVA_LOW + 2 * SIZE_1G)         /* a 2 MiB leaf */
#define UPPER  (IOVA_HIGH + 512 * SIZE_1G)      /* a 4 KiB leaf whose upper entries are ours to spoil */

static struct space s;

static void expect(struct rig *r, enum ndma_op op, uint64_t iova, uint8_t reason, uint8_t stage, uint8_t level, const char *what)
{
    struct ndma_descriptor dma = { .op = op, .src = iova, .dst = iova, .len = 64, .seed = 0x60 };
    struct fault_want want = {
        .reason = reason, .access = op == NDMA_FILL ? NIDUS_FAULT_WRITE : NIDUS_FAULT_READ,
        .stage = stage, .level = level, .addr = iova,
    };

    expect_fault(r, &dma, &want, guard_intact, what);
}

static void not_mapped(struct rig *r)
{
    expect(r, NDMA_FILL, SMALL + FRAME_SIZE, FIRST_NOT_PRESENT, FIRST, 1, "write, no page");
    expect(r, NDMA_SUM, SMALL + FRAME_SIZE, FIRST_NOT_PRESENT, FIRST, 1, "read, no page");
    expect(r, NDMA_FILL, SMALL + SIZE_2M, FIRST_NOT_PRESENT, FIRST, 2, "write, no table of level 1");
    expect(r, NDMA_SUM, IOVA_LOW + 100 * SIZE_1G, FIRST_NOT_PRESENT, FIRST, 3, "read, no table of level 2");
    expect(r, NDMA_FILL, 512 * SIZE_1G, FIRST_NOT_PRESENT, FIRST, 4, "write, no table of level 3");
    expect(r, NDMA_FILL, 0ULL - SIZE_2M, FIRST_NOT_PRESENT, FIRST, 4, "write, high half, no table of level 3");
    expect(r, NDMA_FILL, 1ULL << 47, NOT_CANONICAL, FIRST, 0, "write, address not canonical");
}

/* Runs with bits of one entry changed, and puts the entry back. */
static void with_entry(struct rig *r, uint64_t iova, unsigned level, uint64_t clear, uint64_t set, uint8_t reason, const char *what)
{
    volatile uint64_t *entry = pgtable_entry(&s.table, iova, level);
    uint64_t value = pgtable_read(entry);

    pgtable_write(entry, (value & ~clear) | set);
    space_invalidate(&s, 0, UINT64_MAX, false);
    expect(r, NDMA_FILL, iova, reason, FIRST, (uint8_t)level, what);
    pgtable_write(entry, value);
    space_invalidate(&s, 0, UINT64_MAX, false);
}

static void bad_rights(struct rig *r)
{
    with_entry(r, SMALL, 1, PT_WRITE, 0, NO_WRITE, "write through a read-only 4 KiB leaf");
    with_entry(r, LARGE, 2, PT_WRITE, 0, NO_WRITE, "write through a read-only 2 MiB leaf");
    with_entry(r, UPPER, 3, PT_WRITE, 0, NO_WRITE, "write, an upper entry is read-only");
    with_entry(r, SMALL, 1, PT_USER, 0, NOT_USER, "write through a supervisor leaf");
    with_entry(r, UPPER, 3, PT_USER, 0, NOT_USER, "write, an upper entry is for supervisors");
}

static void reserved_bits(struct rig *r)
{
    with_entry(r, UPPER, 4, 0, PT_LARGE, FIRST_RESERVED, "bit 7 set in a level 4 entry");
    with_entry(r, LARGE, 2, 0, 1ULL << 13, FIRST_RESERVED, "bit 13 set in a 2 MiB leaf");
    if (!rig_has_1g(r))
        with_entry(r, UPPER, 3, PT_ADDRESS, PT_LARGE, FIRST_RESERVED, "a 1 GiB leaf, which CAP.FS1GP does not allow");
}

/* Level of the entry that the 4-level second stage does not have for a GPA outside the guest, whose memory begins at 0 and has a
 * size that is a multiple of 2 MiB. */
static uint8_t absent_level(uint64_t gpa)
{
    uint64_t last = frames_end() - 1;

    return gpa / SIZE_1G == last / SIZE_1G ? 2 : gpa / (512 * SIZE_1G) == last / (512 * SIZE_1G) ? 3 : 4;
}

/* One 4 KiB leaf, or with `level` above 1 an entry that should lead to a table, points at a GPA that the guest does not own. */
static void outside(struct rig *r, unsigned level, uint64_t gpa, const char *what)
{
    volatile uint64_t *entry = pgtable_entry(&s.table, UPPER, level);
    uint64_t value = pgtable_read(entry);
    struct ndma_descriptor dma = { .op = NDMA_FILL, .dst = UPPER, .len = 64, .seed = 0x61 };
    struct fault_want want = {
        .reason = SECOND_NOT_PRESENT, .access = NIDUS_FAULT_WRITE, .stage = SECOND, .level = absent_level(gpa),
        .first_level = (uint8_t)(level - 1), .has_gpa = true, .addr = UPPER, .gpa = gpa,
    };
    char text[120];

    snprintf(text, sizeof(text), "%s at GPA 0x%llx", what, (unsigned long long)gpa);
    pgtable_write(entry, (value & ~PT_ADDRESS) | gpa);
    space_invalidate(&s, 0, UINT64_MAX, false);
    expect_fault(r, &dma, &want, guard_intact, text);
    pgtable_write(entry, value);
    space_invalidate(&s, 0, UINT64_MAX, false);
}

static void beyond_memory(struct rig *r)
{
    uint64_t end = frames_end();

    outside(r, 1, end, "a leaf behind the guest's memory,");
    outside(r, 1, 0xfee00000, "a leaf in the interrupt range,");
    outside(r, 1, 256 * SIZE_1G, "a leaf far outside,");
    outside(r, 1, 1024 * SIZE_1G, "a leaf farther outside,");
    outside(r, 1, r->dma.device->bar[0].gpa & ~(FRAME_SIZE - 1), "a leaf over the device's own registers,");
    outside(r, 2, end, "a table of level 1");
    outside(r, 3, 256 * SIZE_1G, "a table of level 2");
    outside(r, 4, 1024 * SIZE_1G, "a table of level 3");
}

/* The top table itself is outside: no ring can be read, so the ring's own address faults. */
static void root_beyond_memory(struct rig *r)
{
    uint64_t end = frames_end();
    struct fault_want want = {
        .reason = SECOND_NOT_PRESENT, .access = NIDUS_FAULT_READ, .stage = SECOND, .level = absent_level(end),
        .first_level = 4, .has_gpa = true, .addr = IOVA_RING, .gpa = end,
    };
    uint32_t hwpt;
    int error = iommufd_hwpt_alloc_nested(r->dma.device->id, rig_parent(r), end, &hwpt);

    if (error == 0)
        error = iommufd_attach(r->dma.device->id, hwpt);
    if (error) {
        check(false, "a top table at GPA 0x%llx: HWPT_ALLOC or attach: %s", (unsigned long long)end, errno_name(error));
        return;
    }
    expect_ring_fault(r, IOVA_RING, &want, guard_intact, "a top table behind the guest's memory");
    must(space_attach(&s), "attach of the table that was attached before");
    must(iommufd_destroy(hwpt) == 0, "DESTROY of a nested HWPT that nothing uses");
}

static void edu_faults(struct rig *r)
{
    struct fault_want want = {
        .reason = FIRST_NOT_PRESENT, .access = NIDUS_FAULT_WRITE, .stage = FIRST, .level = 1, .addr = SMALL + 2 * FRAME_SIZE
    };

    expect_edu_fault(r, &want, guard_intact, "edu, no page");
}

/* A detached device is as blocked as one that never was attached. */
static void detached(struct rig *r)
{
    struct fault_want want = { .reason = PASID_NOT_PRESENT, .access = NIDUS_FAULT_READ, .addr = IOVA_RING };
    uint64_t sum;
    int error;

    /* The translations that must go are in the IOTLB. */
    check(dma_sum(r, SMALL, 64, &sum) == NDMA_DONE, "nidus-dma reads its ring and a page");
    ndma_reset(&r->dma);
    error = iommufd_detach(r->dma.device->id);
    check(error == 0, "detach of nidus-dma: %s", errno_name(error));
    must(pci_enable(r->dma.device) == 0, "Bus Master set by PCI_CONFIG_WRITE");
    expect_ring_fault(r, IOVA_RING, &want, guard_intact, "after it, nidus-dma reads its ring");
}

void step_faults(struct rig *r)
{
    check_step("6", "wrong translations: reason, stage and level of each fault");
    if (!space_open(&s, r))
        return;
    guard_raise();
    space_map(&s, SMALL, gpa_of(guard_page(0)), FRAME_SIZE, FRAME_SIZE, RW);
    space_map(&s, LARGE, gpa_of(guard_page(0)), SIZE_2M, SIZE_2M, RW);
    space_map(&s, UPPER, gpa_of(guard_page(3)), FRAME_SIZE, FRAME_SIZE, RW);
    not_mapped(r);
    bad_rights(r);
    reserved_bits(r);
    beyond_memory(r);
    root_beyond_memory(r);
    edu_faults(r);
    detached(r);
    guard_drop();
    space_close(&s);
}
