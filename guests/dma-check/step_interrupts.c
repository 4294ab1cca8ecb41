/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Step 7: a DWORD write to 0xFEEx_xxxx is an interrupt request, whatever the tables say.  No index is the guest's: none may arrive.
 */
#include <stdio.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

/* Spec 5.1.2: address bits of a request in remappable format. */
#define INTERRUPT_RANGE     0xfee00000ULL
#define FORMAT_REMAPPABLE   (1ULL << 4)
#define HANDLE(index)       (((uint64_t)(index) & 0x7fff) << 5 | ((uint64_t)(index) >> 15) << 2)
#define INDEX_SHIFT         48                  /* in the recorded address */

#define REASON_INDEX_BEYOND 0x21
#define REASON_NOT_PRESENT  0x22
#define REASON_COMPAT       0x25

/* A vector that nidus could take for its own: fixed delivery of 0x30 in compatibility format is the message data 0x0030. */
#define MESSAGE_DATA 0x0030

static struct space s;
static uint64_t seed;                          /* of a FILL whose first two bytes are the message */

static uint64_t message_seed(void)
{
    uint64_t word, candidate = 0;

    do
        ndma_pattern(&word, 0, sizeof(word), ++candidate);
    while ((uint16_t)word != MESSAGE_DATA);
    return candidate;
}

/* Posted writes: whether the device hears of the refusal is not architectural. */
static const char *write_dword(struct rig *r, const void *context)
{
    enum ndma_status status = dma_fill(r, *(const uint64_t *)context, 4, seed);

    return status == NDMA_DONE || status == NDMA_DST_ERROR ? NULL : ndma_status_name(status);
}

static const char *edu_write_dword(struct rig *r, const void *context)
{
    return edu_write_memory(&r->edu, *(const uint64_t *)context, 0, 4) ? NULL : "no end of the transfer within 3 s";
}

static void compatibility(struct rig *r, uint64_t offset)
{
    struct fault_want want = { .reason = REASON_COMPAT, .stage = NIDUS_FAULT_STAGE_INTERRUPT };
    uint64_t address = INTERRUPT_RANGE + offset;
    char what[80];

    snprintf(what, sizeof(what), "DWORD write to 0x%llx, compatibility format", (unsigned long long)address);
    expect_fault_from(r, r->dma.device, write_dword, &address, &want, guard_intact, what);
}

static void remappable(struct rig *r, unsigned index)
{
    struct fault_want want = {
        .reason = REASON_NOT_PRESENT, .other_reason = REASON_INDEX_BEYOND, .stage = NIDUS_FAULT_STAGE_INTERRUPT,
        .addr = (uint64_t)index << INDEX_SHIFT,
    };
    uint64_t address = INTERRUPT_RANGE | FORMAT_REMAPPABLE | HANDLE(index);
    char what[80];

    snprintf(what, sizeof(what), "DWORD write to 0x%llx, remappable format", (unsigned long long)address);
    expect_fault_from(r, r->dma.device, write_dword, &address, &want, guard_intact, what);
}

static void compatibility_edu(struct rig *r)
{
    static const struct fault_want want = { .reason = REASON_COMPAT, .stage = NIDUS_FAULT_STAGE_INTERRUPT };
    static const uint64_t address = INTERRUPT_RANGE;

    if (r->has_edu)
        expect_fault_from(r, r->edu.device, edu_write_dword, &address, &want, guard_intact, "edu, DWORD write to 0xfee00000");
    else
        check_skip("edu, DWORD write to 0xfee00000: this guest has no edu");
}

void step_interrupts(struct rig *r)
{
    static const unsigned indices[] = { 0, 5, 255, 0x7fff, 0xffff };

    check_step("7", "writes to the interrupt range");
    if (!space_open(&s, r))
        return;
    seed = message_seed();
    guard_raise();
    /* Were these writes translated, they would hit the guard. */
    space_map(&s, INTERRUPT_RANGE, gpa_of(guard_page(0)), 256 * FRAME_SIZE, FRAME_SIZE, RW);
    compatibility(r, 0);
    compatibility(r, 0xff00c);                  /* to every processor, logical, lowest priority */
    for (unsigned i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
        remappable(r, indices[i]);
    compatibility_edu(r);
    guard_drop();
    space_close(&s);
}
