/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Step 8 and its scenarios: read-only mappings, and erratum 772415.
 *
 * Under nested translation a unit with the erratum sets A and D bits in first-stage entries even where the second stage maps the page
 * that holds them read-only.  A guest chooses what is an entry: so it could change every page that it may only read.
 */
#include <stdio.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

#define READ   NIDUS_IOAS_MAP_READABLE
#define WRITE  NIDUS_IOAS_MAP_WRITEABLE
#define ALIAS  (4ULL << 40)                     /* an address that is no memory of the guest */
#define SEED   0x81

/* Fault reasons, spec 5.10 table 30. */
#define TABLE_NOT_WRITABLE 0x77
#define SECOND_NOT_PRESENT 0x79
#define NO_WRITE           0x85
#define NO_READ            0x86

static struct space s;
static uint8_t *page;

static bool page_intact(void)
{
    return ndma_pattern_check(page, 0, FRAME_SIZE, SEED) == FRAME_SIZE;
}

static void page_make(void)
{
    page = frames_need(FRAME_SIZE, FRAME_SIZE, "a read-only page");
    ndma_pattern(page, 0, FRAME_SIZE, SEED);
}

static bool reads_page(struct rig *r, uint64_t iova)
{
    struct ndma_sum sum = { 0, 0 };
    uint64_t device_sum;

    ndma_sum_add(&sum, page, FRAME_SIZE);
    return dma_sum(r, iova, FRAME_SIZE, &device_sum) == NDMA_DONE && device_sum == ndma_sum_value(&sum);
}

static void refused_on_parent(struct rig *r)
{
    uint32_t ioas = guest_info->default_ioas;

    if (!rig_parent(r))
        return;
    check_errno(iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ), NIDUS_EINVAL,
                "IOAS_MAP read-only where a nest parent is");
    check_errno(iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ | WRITE), 0, "the same mapping, writable");
    check_errno(iommufd_ioas_unmap(ioas, ALIAS, FRAME_SIZE), 0, "IOAS_UNMAP of it");
}

static void refused_parent(struct rig *r)
{
    uint32_t ioas, hwpt, device = r->dma.device->id;

    if (!check(iommufd_ioas_alloc(&ioas) == 0, "a new IOAS"))
        return;
    check_errno(iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ), 0, "IOAS_MAP read-only where no nest parent is");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), NIDUS_EINVAL,
                "HWPT_ALLOC of a nest parent over it");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, 0, &hwpt), 0, "HWPT_ALLOC of a plain HWPT over it");
    check_errno(iommufd_destroy(hwpt), 0, "DESTROY of that");
    check_errno(iommufd_ioas_unmap(ioas, ALIAS, FRAME_SIZE), 0, "IOAS_UNMAP of the read-only mapping");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), 0,
                "HWPT_ALLOC of a nest parent, now");
    check_errno(iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ), NIDUS_EINVAL, "IOAS_MAP read-only, again");
    check_errno(iommufd_destroy(hwpt), 0, "DESTROY of the nest parent");
    check_errno(iommufd_destroy(ioas), 0, "DESTROY of the IOAS");
}

static void refuse(struct rig *r)
{
    page_make();
    refused_on_parent(r);
    refused_parent(r);
    frames_free(page, FRAME_SIZE);
}

static void expect_no_write(struct rig *r, uint64_t iova, uint64_t gpa, const char *what)
{
    struct ndma_descriptor fill = { .op = NDMA_FILL, .dst = iova, .len = 64, .seed = 0x82 };
    struct fault_want want = {
        .reason = NO_WRITE, .access = NIDUS_FAULT_WRITE, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 1,
        .has_gpa = true, .addr = iova, .gpa = gpa,
    };

    expect_fault(r, &fill, &want, page_intact, what);
}

/* A table of level 1 in the read-only page: without the erratum the unit may not set its A bit, and says so. */
static void table_in_read_only_page(struct rig *r)
{
    const uint64_t iova = IOVA_LOW + SIZE_1G;
    struct ndma_descriptor sum = { .op = NDMA_SUM, .src = iova, .len = 64 };
    struct fault_want want = {
        .reason = TABLE_NOT_WRITABLE, .access = NIDUS_FAULT_READ, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 1,
        .first_level = 1, .has_gpa = true, .addr = iova, .gpa = ALIAS,
    };
    uint8_t *target = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
    uint64_t *entry = (uint64_t *)page, before = gpa_of(target) | RW | PT_PRESENT, table;
    volatile uint64_t *directory;

    *entry = before;
    space_map(&s, iova, gpa_of(target), FRAME_SIZE, FRAME_SIZE, RW);
    directory = pgtable_entry(&s.table, iova, 2);
    table = pgtable_read(directory);
    pgtable_write(directory, ALIAS | RW | PT_PRESENT);
    space_invalidate(&s, 0, UINT64_MAX, false);
    expect_fault(r, &sum, &want, NULL, "a first-stage table in the read-only page");
    check(pgtable_read(entry) == before, "its entry is still 0x%llx", (unsigned long long)before);
    pgtable_write(directory, table);
    ndma_pattern(page, 0, FRAME_SIZE, SEED);
    frames_free(target, FRAME_SIZE);
}

/* The rule is off, and the unit does not have the erratum: read-only mappings under nesting work and hold. */
static void hold_nested(struct rig *r)
{
    uint32_t ioas = guest_info->default_ioas;

    page_make();
    if (!space_open(&s, r))
        return;
    check_errno(iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ), 0, "IOAS_MAP read-only where a nest parent is");
    space_map(&s, IOVA_LOW, ALIAS, FRAME_SIZE, FRAME_SIZE, RW);
    check(reads_page(r, IOVA_LOW), "the device reads it through a writable first-stage entry");
    expect_no_write(r, IOVA_LOW, ALIAS, "the device writes to it");
    table_in_read_only_page(r);
    space_close(&s);
    check_errno(iommufd_ioas_unmap(ioas, ALIAS, FRAME_SIZE), 0, "IOAS_UNMAP of it");
    frames_free(page, FRAME_SIZE);
}

void step_read_only(struct rig *r)
{
    bool errata = r->unit.flags & NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17;

    check_step("8", errata ? "read-only mappings are refused under nesting (erratum 772415)" : "read-only mappings under nesting");
    if (errata)
        refuse(r);
    else
        hold_nested(r);
}

void scenario_refuse_read_only(struct rig *r)
{
    check_step("8", "read-only mappings are refused under nesting (erratum 772415)");
    check(r->unit.flags & NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17, "hw_info says that the rule is in force");
    refuse(r);
}

/* Text that happens to be an entry: 'G' is 0x47, present, writable, user, and its A bit, 0x20, makes it 'g'. */
static const char text[] = "Guests may read this page and not change a letter of it.";

/*
 * nidus believes that the unit has no erratum (errata-772415 = off), and it has.  A page of text that devices may only read is named as a
 * table of level 2; the unit walks it, sets the A bit of its first word, and only then finds that the word leads nowhere.
 */
void scenario_errata_demo(struct rig *r)
{
    const uint64_t iova = IOVA_LOW;
    uint8_t *other = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
    uint32_t ioas = guest_info->default_ioas;
    volatile uint64_t *directory;
    uint64_t sum, table;
    int error;

    check_step("8", "what the rule of erratum 772415 protects from");
    check(!(r->unit.flags & NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17), "hw_info says that the rule is not in force");
    page = frames_need(FRAME_SIZE, FRAME_SIZE, "a read-only page");
    memcpy(page, text, sizeof(text));
    if (!space_open(&s, r))
        return;
    error = iommufd_ioas_map(ioas, ALIAS, gpa_of(page), FRAME_SIZE, READ);
    check_errno(error, 0, "a page of text is mapped for devices, read-only");
    space_map(&s, iova, gpa_of(other), FRAME_SIZE, FRAME_SIZE, RW);
    directory = pgtable_entry(&s.table, iova, 3);
    table = pgtable_read(directory);
    pgtable_write(directory, ALIAS | RW | PT_PRESENT);
    space_invalidate(&s, 0, UINT64_MAX, false);
    printf("before: \"%s\"\n", (const char *)page);
    dma_sum(r, iova, 64, &sum);
    printf("after:  \"%s\"\n", (const char *)page);
    faults_drop();
    pgtable_write(directory, table);
    check(page[0] == 'g' && memcmp(page + 1, text + 1, sizeof(text) - 1) == 0,
          "one DMA later the read-only page %s", page[0] == 'g' ? "has changed: the unit set bit 5 of its first byte" : "is the same");
    space_close(&s);
    check_errno(iommufd_ioas_unmap(ioas, ALIAS, FRAME_SIZE), 0, "IOAS_UNMAP of it");
}

/* nested = off: an IOAS of our own, attached directly. */
void scenario_plain_read_only(struct rig *r)
{
    const uint64_t read_only = 0x10000000000, write_only = read_only + FRAME_SIZE;
    struct ndma_descriptor read = { .op = NDMA_SUM, .src = write_only, .len = 64 };
    struct fault_want want = {
        .reason = NO_READ, .access = NIDUS_FAULT_READ, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 1,
        .has_gpa = true, .addr = write_only, .gpa = write_only,
    };
    struct ndma_descriptor write = { .op = NDMA_FILL, .dst = write_only, .len = 64 };
    struct fault_want unmapped = {
        .reason = SECOND_NOT_PRESENT, .access = NIDUS_FAULT_WRITE, .stage = NIDUS_FAULT_STAGE_SECOND, .level = 1,
        .has_gpa = true, .addr = write_only, .gpa = write_only,
    };
    uint32_t ioas, hwpt, device = r->dma.device->id;

    check_step("8", "read-only mappings without nesting");
    page_make();
    check_errno(iommufd_hwpt_alloc_paging(device, guest_info->default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &hwpt), NIDUS_EOPNOTSUPP,
                "HWPT_ALLOC of a nest parent");
    check_errno(iommufd_ioas_alloc(&ioas), 0, "a new IOAS");
    check_errno(iommufd_ioas_map(ioas, IOVA_RING, gpa_of(r->dma.ring), FRAME_SIZE, READ | WRITE), 0, "IOAS_MAP of the ring");
    check_errno(iommufd_ioas_map(ioas, read_only, gpa_of(page), FRAME_SIZE, READ), 0, "IOAS_MAP of a page, read-only");
    check_errno(iommufd_ioas_map(ioas, write_only, gpa_of(page), FRAME_SIZE, WRITE), 0, "IOAS_MAP of the same page, write-only");
    check_errno(iommufd_hwpt_alloc_paging(device, ioas, 0, &hwpt), 0, "HWPT_ALLOC over it");
    check_errno(iommufd_attach(device, hwpt), 0, "attach of nidus-dma");
    ndma_start(&r->dma, IOVA_RING, 1);
    check(reads_page(r, read_only), "the device reads the read-only page");
    expect_no_write(r, read_only, read_only, "the device writes to it");
    expect_fault(r, &read, &want, page_intact, "the device reads the write-only page");
    check(dma_fill(r, write_only, FRAME_SIZE, SEED + 1) == NDMA_DONE && ndma_pattern_check(page, 0, FRAME_SIZE, SEED + 1) == FRAME_SIZE,
          "the device writes to the write-only page");
    check_errno(iommufd_ioas_unmap(ioas, write_only, FRAME_SIZE), 0, "IOAS_UNMAP of the write-only mapping");
    expect_fault(r, &write, &unmapped, NULL, "the device writes to it");
    ndma_reset(&r->dma);
    check_errno(iommufd_detach(device), 0, "detach");
    check_errno(iommufd_destroy(hwpt), 0, "DESTROY of the HWPT");
    check_errno(iommufd_destroy(ioas), 0, "DESTROY of the IOAS");
}
