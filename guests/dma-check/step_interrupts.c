/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Step 7: a DWORD write to 0xFEEx_xxxx is an interrupt request, whatever the tables say.  No index is the guest's: none may arrive.
 */
#include <stdio.h>

#include "guests/dma-check/check.h"
#include "guests/dma-check/steps.h"
#include "guests/runtime/fault.h"

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

/* A FILL seed whose first two bytes are the message. */
static uint64_t message_seed(void)
{
    uint64_t word, seed = 0;

    do
        ndma_pattern(&word, 0, sizeof(word), ++seed);
    while ((uint16_t)word != MESSAGE_DATA);
    return seed;
}

static bool reason_fits(uint8_t reason, bool remappable)
{
    return remappable ? reason == REASON_NOT_PRESENT || reason == REASON_INDEX_BEYOND : reason == REASON_COMPAT;
}

/* index is of no meaning in compatibility format. */
static void check_record(const struct nidus_guest_device *device, bool remappable, unsigned index, const char *sent, const char *what)
{
    char got[160] = "no fault record";
    struct nidus_fault fault;
    bool lost, ok = faults_next(device, &fault, &lost);

    if (ok) {
        fault_describe(&fault, got, sizeof(got));
        ok = fault.stage == NIDUS_FAULT_STAGE_INTERRUPT && reason_fits(fault.reason, remappable) &&
             (!remappable || fault.addr >> INDEX_SHIFT == index);
    }
    check(ok && guard_intact(), "%s (%s): %s%s", what, sent, got, guard_intact() ? "; nothing written" : "; but memory has changed");
}

static void send(struct rig *r, uint64_t offset, bool remappable, unsigned index, uint64_t seed)
{
    char what[100];
    enum ndma_status status;

    if (remappable)
        snprintf(what, sizeof(what), "DWORD write to 0x%llx, remappable format, index %u", INTERRUPT_RANGE + offset, index);
    else
        snprintf(what, sizeof(what), "DWORD write to 0x%llx, compatibility format", INTERRUPT_RANGE + offset);
    faults_drop();
    status = dma_fill(r, INTERRUPT_RANGE + offset, 4, seed);
    check_record(r->dma.device, remappable, index, ndma_status_name(status), what);
}

void step_interrupts(struct rig *r)
{
    static const unsigned indices[] = { 0, 5, 255, 0x7fff, 0xffff };
    uint64_t seed = message_seed();

    check_step("7", "writes to the interrupt range");
    if (!space_open(&s, r))
        return;
    guard_raise();
    /* Were these writes translated, they would hit the guard. */
    space_map(&s, INTERRUPT_RANGE, gpa_of(guard_page(0)), 256 * FRAME_SIZE, FRAME_SIZE, RW);
    send(r, 0, false, 0, seed);
    send(r, 0x000ff00c, false, 0, seed);        /* to every processor, logical, lowest priority */
    for (unsigned i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
        send(r, FORMAT_REMAPPABLE | HANDLE(indices[i]), true, indices[i], seed);
    if (r->has_edu) {
        faults_drop();
        must(edu_write_memory(&r->edu, INTERRUPT_RANGE, 0, 4), "edu's transfer ends within 3 s");
        check_record(r->edu.device, false, 0, "sent", "edu, DWORD write to 0xfee00000, compatibility format");
    } else {
        check_skip("edu: this guest has none");
    }
    guard_drop();
    space_close(&s);
}
