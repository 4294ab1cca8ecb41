/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One device, several address spaces: nested HWPTs attached by PASID beside the one that is attached by RID.  The same IOVA is another page in each.
 * With ATS the device keeps translations of its own, which invalidations and replacements have to reach.
 */
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/runtime/paging.h"
#include "guests/dma-check/steps.h"

#define SPACES  4u
#define IOVA    IOVA_LOW
#define NOBODYS 9u              /* a PASID that nothing is attached to */
#define PASID_NOT_PRESENT 0x59  /* SPT.2 */

static const uint32_t pasids[SPACES] = { 1, 7, 64, 200 };

static struct tagged {
    uint32_t pasid, hwpt;
    struct pgtable table;
    uint8_t *page[2];
} tagged[SPACES];
static struct space by_rid;
static uint64_t seed;

static int alloc(struct rig *r, const struct pgtable *table, uint32_t *hwpt)
{
    return iommufd_hwpt_alloc_nested_pasid(r->dma.device->id, rig_parent(r), table->root, hwpt);
}

static enum ndma_status fill(struct rig *r, uint32_t pasid, uint32_t flags)
{
    struct ndma_descriptor d = { .op = NDMA_FILL, .flags = NDMA_PASID | flags, .dst = IOVA, .len = FRAME_SIZE, .pasid = pasid, .seed = ++seed };

    return ndma_run(&r->dma, &d);
}

/* Which page got the last FILL; NULL: none, or more than one. */
static const uint8_t *found(void)
{
    const uint8_t *at = NULL;

    for (unsigned i = 0; i < 2 * SPACES; i++) {
        const uint8_t *page = tagged[i / 2].page[i % 2];

        if (ndma_pattern_check(page, 0, FRAME_SIZE, seed) != FRAME_SIZE)
            continue;
        if (at != NULL)
            return NULL;
        at = page;
    }
    return at;
}

static bool reaches(struct rig *r, uint32_t pasid, uint32_t flags, const uint8_t *page)
{
    return fill(r, pasid, flags) == NDMA_DONE && found() == page;
}

static void each_its_own(struct rig *r, uint32_t flags, const char *how)
{
    unsigned good = 0;

    for (unsigned i = 0; i < 3 * SPACES; i++)
        good += reaches(r, pasids[i % SPACES], flags, tagged[i % SPACES].page[0]);
    check(good == 3 * SPACES, "FILLs to one IOVA with PASIDs 1, 7, 64 and 200 in turn%s: %u of %u went to the page of their own space", how, good, 3 * SPACES);
}

/* The entry of space 0 changes: the old page or the new one until the invalidation is done, then the new one. */
static void changed(struct rig *r, uint32_t flags, const char *how)
{
    struct tagged *t = &tagged[0];
    unsigned to = gpa_of(t->page[0]) == (pgtable_read(pgtable_entry(&t->table, IOVA, 1)) & ~(uint64_t)0xfff) ? 1 : 0;
    const uint8_t *at;
    bool before = reaches(r, t->pasid, flags, t->page[1 - to]), either, after;

    pgtable_write(pgtable_entry(&t->table, IOVA, 1), gpa_of(t->page[to]) | RW | PT_PRESENT);
    either = fill(r, t->pasid, flags) == NDMA_DONE && ((at = found()) == t->page[0] || at == t->page[1]);
    must(iommufd_invalidate_range(t->hwpt, IOVA, 1, true) == 0, "HWPT_INVALIDATE of a good range");
    after = reaches(r, t->pasid, flags, t->page[to]);
    check(before && either && after, "an entry of PASID 1 changes%s: old or new page before the invalidation, the new one after it", how);
    check(reaches(r, pasids[1], flags, tagged[1].page[0]), "PASID 7 does not notice");
}

/* Refused, with a record that has the PASID. */
static void refused(struct rig *r, uint32_t pasid, uint32_t flags, const char *what)
{
    struct nidus_fault f = { 0 };
    bool lost, recorded;
    enum ndma_status status;

    faults_drop();
    status = fill(r, pasid, flags);
    recorded = faults_next(r->dma.device, &f, &lost);
    check(status == NDMA_DST_ERROR && found() == NULL && recorded && f.reason == PASID_NOT_PRESENT && (f.flags & NIDUS_FAULT_PASID_VALID) && f.pasid == pasid,
          "%s: %s; %s %02xh with PASID %u", what, ndma_status_name(status), recorded ? "fault" : "no fault record,", f.reason, f.pasid);
}

static bool open_spaces(struct rig *r)
{
    unsigned good = 0;

    for (unsigned i = 0; i < SPACES; i++) {
        struct tagged *t = &tagged[i];

        t->pasid = pasids[i];
        t->page[0] = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
        t->page[1] = frames_need(FRAME_SIZE, FRAME_SIZE, "a page");
        must(pgtable_init(&t->table, &paging_memory) && pgtable_map(&t->table, IOVA, gpa_of(t->page[0]), FRAME_SIZE, FRAME_SIZE, RW), "a first-stage table");
        good += alloc(r, &t->table, &t->hwpt) == 0 && iommufd_attach_pasid(r->dma.device->id, t->pasid, t->hwpt) == 0;
    }
    return check(good == SPACES, "%u first-stage tables, each attached by a PASID of its own", SPACES);
}

static void several(struct rig *r)
{
    uint32_t device = r->dma.device->id;
    unsigned good = 0;

    each_its_own(r, 0, "");
    each_its_own(r, NDMA_ATS, ", with ATS");
    check(ndma_counters(&r->dma).tlb_hits != 0, "the device used translations that it had kept");
    changed(r, 0, "");
    changed(r, NDMA_ATS, ", with ATS");
    check_errno(iommufd_attach_pasid(device, pasids[2], tagged[3].hwpt), 0, "PASID 64 gets the table of PASID 200 instead");
    check(reaches(r, pasids[2], 0, tagged[3].page[0]) && reaches(r, pasids[2], NDMA_ATS, tagged[3].page[0]), "and reaches its page, with ATS too");
    check_errno(iommufd_detach_pasid(device, pasids[1]), 0, "detach of PASID 7");
    refused(r, pasids[1], 0, "a FILL with PASID 7");
    check(fill(r, pasids[1], NDMA_ATS) == NDMA_DST_ERROR && found() == NULL, "the same with ATS: nothing is kept of it");
    refused(r, NOBODYS, 0, "a FILL with a PASID that never was attached");
    check(reaches(r, pasids[3], NDMA_ATS, tagged[3].page[0]), "PASID 200 goes on");
    check_errno(iommufd_destroy(tagged[3].hwpt), NIDUS_EBUSY, "DESTROY of a table that PASIDs are attached to");
    for (unsigned i = 0; i < SPACES; i++) {
        good += (i == 1 || iommufd_detach_pasid(device, pasids[i]) == 0);
        pgtable_destroy(&tagged[i].table);
    }
    for (unsigned i = 0; i < SPACES; i++)
        good += iommufd_destroy(tagged[i].hwpt) == 0;
    check(good == 2 * SPACES, "all are detached and destroyed");
}

void scenario_pasid(struct rig *r)
{
    uint32_t device = r->dma.device->id;

    check_step("12", "several address spaces for one device, by PASID");
    if (!space_open_detached(&by_rid, r))
        return;
    must(iommufd_destroy(by_rid.hwpt) == 0, "DESTROY of a nested HWPT that nothing uses");
    if (!check_errno(alloc(r, &by_rid.table, &by_rid.hwpt), 0, "HWPT_ALLOC with ALLOC_PASID, for the RID") || !space_attach(&by_rid))
        return;
    if (r->dma.features & NDMA_FEATURE_PASID) {
        if (open_spaces(r))
            several(r);
    } else {
        check_errno(iommufd_attach_pasid(device, pasids[0], by_rid.hwpt), NIDUS_EOPNOTSUPP, "attach by PASID where the unit has none (ECAP.PASID=0)");
        check(dma_fill(r, IOVA_RING + 2048, 64, 1) == NDMA_DONE, "by RID the device works with that table");
    }
    space_close(&by_rid);
}
