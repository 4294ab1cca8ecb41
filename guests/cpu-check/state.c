/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state.c: every register that a guest can write gets a pattern of its own, the CPU is given away, and all have to be as they were:
 * neither lost nor another guest's.  Two guests that do it at once look for each other's.
 */
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/cpu-check/vector.h"
#include "guests/runtime/check.h"
#include "guests/runtime/clock.h"

#define ROUNDS     20u
#define CR8        5u
#define DR6_FIXED  0xffff0ff0u
#define XCR0_FIRST 3u           /* of rounds with an odd number: AVX is off while the others run */
#define FX_TAG     4
#define FX_OPCODE  6
#define FX_FIP     8
#define FX_FDP     16
#define FX_ST      32
#define ST_BYTES   10
#define ST_COUNT   8

uint64_t state_registers(uint64_t pattern);

static const struct {
    uint32_t msr;
    uint64_t mask;              /* bits of it that take the pattern's; what is not there is 0 */
} msrs[] = {                    /* not PAT, which QEMU's VMRUN does not switch */
    { 0x174, 0xffff }, { 0x175, ~0ull }, { 0x176, ~0ull },
    { 0xc0000081, ~0ull }, { 0xc0000082, ~0ull }, { 0xc0000083, ~0ull }, { 0xc0000084, 0xffffffff },
    { 0xc0000100, ~0ull }, { 0xc0000101, ~0ull }, { 0xc0000102, ~0ull },
};
#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

/* Bits of control registers that mean nothing to this guest. */
#define CR0_AM   (1ull << 18)
#define CR4_TSD  (1ull << 2)
#define EFER     0xc0000080
#define EFER_SCE 1u
#define DR7_KIND 0xffff0000u    /* what breakpoints watch: none is on */

enum { GENERAL, VECTORS, COMPONENTS, X87, X87_POINTERS, XCR0, DEBUG, CONTROL, CR2, TASK_PRIORITY, MODEL_SPECIFIC, KINDS };
static const char *const kinds[KINDS] = {
    "general registers", "vector registers", "AVX, AVX-512 with its masks, AMX's tiles (those that there are)", "x87 registers", "x87 pointers (where the processor keeps them)",
    "bits of XCR0", "debug registers", "bits of CR0, CR4 and EFER", "bits of CR2", "bits of CR8", "model-specific registers",
};

struct fx {
    uint8_t bytes[512];
} __attribute__((aligned(16)));

static bool x87_put_take(uint64_t pattern, bool *pointers)
{
    struct fx put, took;
    uint64_t fip = 0x5eed000000 + pattern, fdp = 0xface000000 + pattern, got;
    bool same = true;

    __asm__ volatile("fxsave64 %0" : "=m"(put));
    put.bytes[FX_TAG] = 0xff;
    memcpy(put.bytes + FX_FIP, &fip, sizeof(fip));
    memcpy(put.bytes + FX_FDP, &fdp, sizeof(fdp));
    for (unsigned i = 0; i < ST_COUNT; i++)
        memset(put.bytes + FX_ST + 16 * i, (int)(pattern + i), ST_BYTES);
    __asm__ volatile("fxrstor64 %0" : : "m"(put));
    cpu_yield();
    __asm__ volatile("fxsave64 %0" : "=m"(took));
    for (unsigned i = 0; i < ST_COUNT; i++)
        same &= memcmp(put.bytes + FX_ST + 16 * i, took.bytes + FX_ST + 16 * i, ST_BYTES) == 0;
    memcpy(&got, took.bytes + FX_FIP, sizeof(got));
    *pointers = got == fip || got == 0;
    memcpy(&got, took.bytes + FX_FDP, sizeof(got));
    *pointers &= got == fdp || got == 0;
    __asm__ volatile("fninit");
    return same;
}

static void set_bits(bool on)
{
    write_cr0((read_cr0() & ~CR0_AM) | (on ? CR0_AM : 0));
    write_cr4((read_cr4() & ~CR4_TSD) | (on ? CR4_TSD : 0));
    wrmsr(EFER, (rdmsr(EFER) & ~(uint64_t)EFER_SCE) | on);
}

static bool bits_are(bool on)
{
    return !(read_cr0() & CR0_AM) == !on && !(read_cr4() & CR4_TSD) == !on && (rdmsr(EFER) & EFER_SCE) == on;
}

static bool components_put_take(uint64_t offered, uint64_t pattern)
{
    components_put(offered, pattern);
    cpu_yield();
    return components_changed(offered, pattern) == 0;
}

static void one_round(uint64_t pattern, uint64_t offered, bool narrow, unsigned wrong[KINDS])
{
    uint8_t here[VECTOR_BYTES], back[VECTOR_BYTES];
    uint64_t xcr0 = narrow ? XCR0_FIRST : offered;
    bool pointers, same = true;

    for (unsigned i = 0; i < VECTOR_BYTES; i++)
        here[i] = (uint8_t)(pattern + i);
    write_dr0(pattern);
    write_dr1(pattern + 1);
    write_dr2(pattern + 2);
    write_dr3(pattern + 3);
    write_dr6(DR6_FIXED | (pattern & 15));
    write_dr7(0x400 | ((pattern << 16) & DR7_KIND & 0xddddffff)); /* not kind 2: I/O */
    set_bits(pattern & 1);
    write_cr2(pattern + 4);
    write_cr8(CR8 + (pattern & 7));
    for (unsigned i = 0; i < MSRS; i++)
        wrmsr(msrs[i].msr, (pattern + i) & msrs[i].mask);
    vector_put(offered, here);
    if (offered != 0 && narrow)
        xsetbv(XCR0_FIRST);

    wrong[GENERAL] += state_registers(pattern) != 0;

    wrong[XCR0] += offered != 0 && xgetbv() != xcr0;
    if (offered != 0 && narrow)
        xsetbv(offered);
    vector_take(offered, back);
    wrong[VECTORS] += memcmp(here, back, vector_size(offered)) != 0;
    wrong[DEBUG] += read_dr0() != pattern || read_dr1() != pattern + 1 || read_dr2() != pattern + 2 || read_dr3() != pattern + 3 ||
                    read_dr6() != (DR6_FIXED | (pattern & 15)) || (read_dr7() & DR7_KIND) != ((pattern << 16) & DR7_KIND & 0xddddffff);
    wrong[CONTROL] += !bits_are(pattern & 1);
    wrong[COMPONENTS] += offered != 0 && !components_put_take(offered, pattern);
    wrong[CR2] += read_cr2() != pattern + 4;
    wrong[TASK_PRIORITY] += read_cr8() != CR8 + (pattern & 7);
    for (unsigned i = 0; i < MSRS; i++)
        same &= rdmsr(msrs[i].msr) == ((pattern + i) & msrs[i].mask);
    wrong[MODEL_SPECIFIC] += !same;
    wrong[X87] += !x87_put_take(pattern, &pointers);
    wrong[X87_POINTERS] += !pointers;
}

void scenario_state(unsigned seed)
{
    unsigned wrong[KINDS] = { 0 };
    uint64_t offered = 0;

    step_start();               /* the others have had their turns by now, or not: either way nothing of theirs is here */
    if (vector_enable(&offered))
        check(components_are_initial(offered), "AVX, AVX-512, AMX: all that there are hold 0");
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round((uint64_t)seed << 16 | i, offered, i & 1, wrong);
    check_step("S", "state over the turns of other guests");
    for (unsigned i = 0; i < KINDS; i++)
        check(wrong[i] == 0, "%s are as they were, %u times%s", kinds[i], ROUNDS, wrong[i] ? ": not always" : "");
}
