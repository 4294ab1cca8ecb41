/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/dma-check/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/runtime/check.h"
#include "guests/runtime/fault.h"
#include "guests/runtime/paging.h"

#define CAP_FS1GP (1ULL << 56)          /* spec 11.4.2 */
#define DEPTH     8u

void must(bool ok, const char *what)
{
    if (ok)
        return;
    printf("dma-check: cannot go on: %s\n", what);
    exit(1);
}

bool rig_open(struct rig *r)
{
    const struct nidus_guest_device *dma = pci_find(NIDUS_DMA_VENDOR, NIDUS_DMA_DEVICE, 0);
    const struct nidus_guest_device *edu = pci_find(EDU_VENDOR, EDU_DEVICE, 0);
    int error;

    *r = (struct rig){ .has_edu = edu != NULL };
    if (!dma)
        return check(false, "this guest has no nidus-dma (1234:4e44)");
    if (!ndma_open(&r->dma, dma))
        return check(false, "nidus-dma's registers at GPA 0x%llx are not a nidus-dma's", (unsigned long long)dma->bar[0].gpa);
    if (edu && !edu_open(&r->edu, edu))
        return check(false, "edu's registers at GPA 0x%llx are not an edu's", (unsigned long long)edu->bar[0].gpa);
    error = iommufd_hw_info(dma->id, &r->unit);
    if (error)
        return check(false, "GET_HW_INFO of nidus-dma: %s", errno_name(error));
    return true;
}

uint32_t rig_parent(struct rig *r)
{
    int error;

    if (r->parent)
        return r->parent;
    error = iommufd_hwpt_alloc_paging(r->dma.device->id, guest_info->default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT, &r->parent);
    if (error) {
        r->parent = 0;
        check(false, "HWPT_ALLOC of a nest parent over the default IOAS: %s", errno_name(error));
    }
    return r->parent;
}

bool rig_has_1g(const struct rig *r)
{
    return r->unit.cap_reg & CAP_FS1GP;
}

bool space_open_detached(struct space *s, struct rig *r)
{
    uint32_t parent = rig_parent(r);
    int error;

    if (!parent)
        return false;
    *s = (struct space){ .rig = r };
    must(pgtable_init(&s->table, &paging_memory), "no page for a first-stage table");
    space_map(s, IOVA_RING, gpa_of(r->dma.ring), FRAME_SIZE, FRAME_SIZE, RW);
    error = iommufd_hwpt_alloc_nested(r->dma.device->id, parent, s->table.root, &s->hwpt);
    if (error) {
        pgtable_destroy(&s->table);
        return check(false, "HWPT_ALLOC of a first-stage table: %s", errno_name(error));
    }
    return true;
}

bool space_attach(struct space *s)
{
    struct rig *r = s->rig;
    int error;

    ndma_reset(&r->dma);
    error = iommufd_attach(r->dma.device->id, s->hwpt);
    if (error)
        return check(false, "attach of nidus-dma to a first-stage table: %s", errno_name(error));
    if (r->has_edu)
        error = iommufd_attach(r->edu.device->id, s->hwpt);
    if (error)
        return check(false, "attach of edu to a first-stage table: %s", errno_name(error));
    ndma_start(&r->dma, IOVA_RING, DEPTH);
    return true;
}

bool space_open(struct space *s, struct rig *r)
{
    if (!space_open_detached(s, r))
        return false;
    if (space_attach(s))
        return true;
    space_close(s);
    return false;
}

void space_close(struct space *s)
{
    struct rig *r = s->rig;

    ndma_reset(&r->dma);
    must(iommufd_detach(r->dma.device->id) == 0, "detach of nidus-dma");
    must(!r->has_edu || iommufd_detach(r->edu.device->id) == 0, "detach of edu");
    must(iommufd_destroy(s->hwpt) == 0, "DESTROY of a nested HWPT that nothing uses");
    pgtable_destroy(&s->table);
}

void space_map(struct space *s, uint64_t iova, uint64_t gpa, uint64_t size, uint64_t leaf, uint64_t flags)
{
    must(pgtable_map(&s->table, iova, gpa, size, leaf, flags), "a first-stage mapping");
}

void space_invalidate(struct space *s, uint64_t iova, uint64_t pages, bool leaf)
{
    must(iommufd_invalidate_range(s->hwpt, iova, pages, leaf) == 0, "HWPT_INVALIDATE of a good range");
}

/* The same sequence in every run: both guests of step 9 then have the same addresses. */
static uint32_t shuffle_next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

void scatter_alloc(struct scatter *m, unsigned pages)
{
    uint32_t state = 1;

    m->count = pages;
    m->page = malloc(pages * sizeof(*m->page));
    must(m->page != NULL, "no heap for a list of pages");
    for (unsigned i = 0; i < pages; i++) {
        unsigned j = shuffle_next(&state) % (i + 1);

        m->page[i] = m->page[j];
        m->page[j] = frames_need(FRAME_SIZE, FRAME_SIZE, "a scattered page");
    }
}

void scatter_free(struct scatter *m)
{
    for (unsigned i = 0; i < m->count; i++)
        frames_free(m->page[i], FRAME_SIZE);
    free(m->page);
}

void scatter_map(struct space *s, const struct scatter *m, uint64_t iova, uint64_t flags)
{
    for (unsigned i = 0; i < m->count; i++)
        space_map(s, iova + i * FRAME_SIZE, gpa_of(m->page[i]), FRAME_SIZE, FRAME_SIZE, flags);
}

/* The piece of [at, at + length) that lies in one page. */
static uint8_t *piece(const struct scatter *m, uint64_t at, size_t *length)
{
    size_t inside = at % FRAME_SIZE;

    if (*length > FRAME_SIZE - inside)
        *length = FRAME_SIZE - inside;
    return m->page[at / FRAME_SIZE] + inside;
}

void scatter_read(const struct scatter *m, uint64_t at, void *to, size_t length)
{
    for (size_t done = 0, n; done < length; done += n) {
        const uint8_t *p;

        n = length - done;
        p = piece(m, at + done, &n);
        memcpy((char *)to + done, p, n);
    }
}

void scatter_write(const struct scatter *m, uint64_t at, const void *from, size_t length)
{
    for (size_t done = 0, n; done < length; done += n) {
        uint8_t *p;

        n = length - done;
        p = piece(m, at + done, &n);
        memcpy(p, (const char *)from + done, n);
    }
}

enum ndma_status dma_fill(struct rig *r, uint64_t to, uint32_t length, uint64_t seed)
{
    struct ndma_descriptor d = { .op = NDMA_FILL, .dst = to, .len = length, .seed = seed };

    return ndma_run(&r->dma, &d);
}

enum ndma_status dma_copy(struct rig *r, uint64_t from, uint64_t to, uint32_t length)
{
    struct ndma_descriptor d = { .op = NDMA_COPY, .src = from, .dst = to, .len = length };

    return ndma_run(&r->dma, &d);
}

enum ndma_status dma_sum(struct rig *r, uint64_t from, uint32_t length, uint64_t *sum)
{
    struct ndma_descriptor d = { .op = NDMA_SUM, .src = from, .len = length };
    enum ndma_status status = ndma_run(&r->dma, &d);

    *sum = d.sum;
    return status;
}

void faults_drop(void)
{
    struct nidus_fault fault;
    uint32_t count;
    uint64_t lost;

    do {
        count = 1;
        must(iommufd_fault_read(&fault, &count, &lost) == 0, "FAULT_READ");
    } while (count);
}

bool faults_next(const struct nidus_guest_device *device, struct nidus_fault *fault, bool *lost)
{
    uint64_t lost_now;
    uint32_t count;

    *lost = false;
    for (;;) {
        count = 1;
        must(iommufd_fault_read(fault, &count, &lost_now) == 0, "FAULT_READ");
        *lost |= lost_now != 0;
        if (!count)
            return false;
        if (fault->dev_id == device->id)
            return true;
    }
}

#define RECORDED_BITS 0x0000fffffffff000ULL
#define INDEX_SHIFT   48        /* of an interrupt, in the recorded address */
#define COMPATIBILITY 0x25      /* its address is not defined (spec 5.10) */

static bool address_is(const struct nidus_fault *f, const struct fault_want *want)
{
    if (want->stage != NIDUS_FAULT_STAGE_INTERRUPT)
        return ((f->addr ^ want->addr) & RECORDED_BITS) == 0;
    return want->reason == COMPATIBILITY || f->addr >> INDEX_SHIFT == want->addr >> INDEX_SHIFT;
}

static bool fault_is(const struct nidus_fault *f, const struct fault_want *want)
{
    bool has_gpa = f->flags & NIDUS_FAULT_GPA_VALID;

    if (f->reason != want->reason && (!want->other_reason || f->reason != want->other_reason))
        return false;
    if (f->stage != want->stage || f->level != want->level || f->first_level != want->first_level || has_gpa != want->has_gpa)
        return false;
    if (f->access != want->access && want->stage != NIDUS_FAULT_STAGE_INTERRUPT)
        return false;
    return address_is(f, want) && (!has_gpa || f->gpa / FRAME_SIZE == want->gpa / FRAME_SIZE);
}

static void describe_want(const struct fault_want *want, char *out, size_t size)
{
    struct nidus_fault f = {
        .flags = want->has_gpa ? NIDUS_FAULT_GPA_VALID : 0,
        .reason = want->reason,
        .access = want->access,
        .stage = want->stage,
        .level = want->level,
        .first_level = want->first_level,
        .addr = want->addr,
        .gpa = want->gpa,
    };

    fault_describe(&f, out, size);
}

#define FAULT_TRIES 5

void expect_fault_from(struct rig *r, const struct nidus_guest_device *device, provocation provoke, const void *context,
                       const struct fault_want *want, bool (*untouched)(void), const char *what)
{
    char expected[200], got[200] = "no fault record";
    bool found = false, lost = true;
    const char *instead = NULL;
    struct nidus_fault fault;

    for (unsigned i = 0; i < FAULT_TRIES && !found && lost && !instead; i++) {
        faults_drop();
        instead = provoke(r, context);
        found = faults_next(device, &fault, &lost);
    }
    if (found)
        fault_describe(&fault, got, sizeof(got));
    describe_want(want, expected, sizeof(expected));
    if (instead)
        check(false, "%s: expected to be refused, the device reports %s; %s", what, instead, got);
    else if (!found || !fault_is(&fault, want))
        check(false, "%s: expected %s; got %s", what, expected, got);
    else if (untouched && !untouched())
        check(false, "%s: refused (%s), but memory has changed", what, got);
    else
        check(true, "%s: %s%s", what, got, untouched ? "; nothing written" : "");
}

static const char *run_dma(struct rig *r, const void *context)
{
    struct ndma_descriptor d = *(const struct ndma_descriptor *)context;
    enum ndma_status status = ndma_run(&r->dma, &d);

    return status == (d.op == NDMA_FILL ? NDMA_DST_ERROR : NDMA_SRC_ERROR) ? NULL : ndma_status_name(status);
}

void expect_fault(struct rig *r, const struct ndma_descriptor *dma, const struct fault_want *want, bool (*untouched)(void),
                  const char *what)
{
    expect_fault_from(r, r->dma.device, run_dma, dma, want, untouched, what);
}

static const char *run_ring(struct rig *r, const void *context)
{
    struct ndma_descriptor nop = { .op = NDMA_NOP };
    uint64_t ring = *(const uint64_t *)context;
    enum ndma_status status;

    ndma_start(&r->dma, ring, 1);
    status = ndma_run(&r->dma, &nop);
    if (status == NDMA_RING_ERROR && ndma_error_address(&r->dma) != ring)
        return "RING_ERROR with another address";
    ndma_reset(&r->dma);
    return status == NDMA_RING_ERROR ? NULL : ndma_status_name(status);
}

void expect_ring_fault(struct rig *r, uint64_t ring, const struct fault_want *want, bool (*untouched)(void), const char *what)
{
    expect_fault_from(r, r->dma.device, run_ring, &ring, want, untouched, what);
}

static const char *run_edu(struct rig *r, const void *context)
{
    return edu_write_memory(&r->edu, *(const uint64_t *)context, 0, 64) ? NULL : "no end of the transfer within 3 s";
}

void expect_edu_fault(struct rig *r, const struct fault_want *want, bool (*untouched)(void), const char *what)
{
    if (r->has_edu)
        expect_fault_from(r, r->edu.device, run_edu, &want->addr, want, untouched, what);
    else
        check_skip("%s: this guest has no edu", what);
}

/* Every word holds its own address, and this. */
#define GUARD_WORD 0x6472617567000000ULL

static uint64_t *guard;
static size_t guard_size;

void guard_raise(void)
{
    uint64_t size = frames_free_bytes() & ~(SIZE_2M - 1);

    guard = NULL;
    /* At least 2 MiB stay free, for the page tables that a step makes while the guard is up. */
    while (!guard && size > SIZE_2M) {
        size -= SIZE_2M;
        guard = frames_alloc(size, SIZE_2M);
    }
    must(guard != NULL, "no memory for a guard");
    guard_size = size;
    for (uint64_t *word = guard; word < guard + guard_size / sizeof(*word); word++)
        *word = gpa_of(word) ^ GUARD_WORD;
}

bool guard_intact(void)
{
    for (volatile uint64_t *word = guard; word < guard + guard_size / sizeof(*word); word++)
        if (*word != ((uint64_t)word ^ GUARD_WORD))
            return false;
    return true;
}

void guard_drop(void)
{
    frames_free(guard, guard_size);
}

uint8_t *guard_page(unsigned i)
{
    must(i < guard_size / FRAME_SIZE, "a page beyond the guard");
    return (uint8_t *)guard + i * FRAME_SIZE;
}
