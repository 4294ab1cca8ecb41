/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/cpu-check/trap.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include "guests/cpu-check/apic.h"

#define GATE_INTERRUPT 0x8e
#define CODE_SELECTOR  0x08
#define RFLAGS_TF      (1u << 8)
#define RFLAGS_RF      (1u << 16)
#define EXCEPTIONS     32u

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "gate of 64-bit mode");

extern const char check_trap_entries[];
void check_trap(struct trap_frame *frame);

static struct gate gates[256];
static jmp_buf back;
static bool trying;
static struct trap last;

unsigned trap_count;
uint8_t trap_log[TRAP_LOG];
bool trap_keep_in_service;

void trap_init(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(gates) - 1, (uint64_t)gates };

    for (unsigned i = 0; i < 256; i++) {
        uint64_t entry = (uint64_t)check_trap_entries + i * 16;

        gates[i] = (struct gate){ .offset_low = (uint16_t)entry, .selector = CODE_SELECTOR, .type = GATE_INTERRUPT,
                                  .offset_middle = (uint16_t)(entry >> 16), .offset_high = (uint32_t)(entry >> 32) };
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void trap_forget(void)
{
    trap_count = 0;
}

void check_trap(struct trap_frame *f)
{
    if (f->vector >= EXCEPTIONS) {
        if (trap_count < TRAP_LOG)
            trap_log[trap_count] = (uint8_t)f->vector;
        trap_count++;
        if (!trap_keep_in_service)
            wrmsr(APIC_EOI, 0);
        return;
    }
    last = (struct trap){ (unsigned)f->vector, f->error, f->rip, read_cr2(), read_dr6() };
    if (f->vector == VECTOR_DB || f->vector == VECTOR_BP) {
        f->rflags = (f->rflags & ~(uint64_t)RFLAGS_TF) | RFLAGS_RF;
        return;
    }
    if (trying)
        longjmp(back, 1);
    printf("cpu-check: exception %u at 0x%llx, error 0x%llx\n", last.vector, (unsigned long long)last.rip, (unsigned long long)last.error);
    exit(128 + (int)last.vector);
}

struct trap trap_try(void (*f)(void *context), void *context)
{
    last = (struct trap){ .vector = NO_VECTOR };
    trying = true;
    if (setjmp(back) == 0)
        f(context);
    trying = false;
    return last;
}

struct msr_access {
    uint32_t msr;
    uint64_t value;
};

static void read_it(void *context)
{
    struct msr_access *a = context;

    a->value = rdmsr(a->msr);
}

static void write_it(void *context)
{
    const struct msr_access *a = context;

    wrmsr(a->msr, a->value);
}

bool try_rdmsr(uint32_t msr, uint64_t *value)
{
    struct msr_access a = { .msr = msr };
    struct trap t = trap_try(read_it, &a);

    *value = a.value;
    return t.vector == NO_VECTOR;
}

bool try_wrmsr(uint32_t msr, uint64_t value)
{
    struct msr_access a = { msr, value };

    return trap_try(write_it, &a).vector == NO_VECTOR;
}
