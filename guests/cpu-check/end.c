/* SPDX-License-Identifier: BSD-2-Clause */
/* end.c: what ends a guest, each in its way. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"

static void no_idt(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    __asm__ volatile("lidt %0" : : "m"(none));
}

static void io(void)
{
    __asm__ volatile("outb %b0, $0x80" : : "a"(1));
}

static void memory(void)
{
    *(volatile uint32_t *)NOWHERE = 1;
}

static void fetch(void)
{
    ((void (*)(void))NOWHERE)();
}

static void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static void invd(void)
{
    __asm__ volatile("invd" : : : "memory");
}

static void exception(void)
{
    no_idt();
    __asm__ volatile("ud2");
}

static void msr(void)
{
    no_idt();
    rdmsr(0x3a);
}

/* An IDT whose gates are not present: #UD, #NP, double fault, and that one's #NP. */
static void triple(void)
{
    static const uint64_t gates[64];
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(gates) - 1, (uint64_t)gates };

    __asm__ volatile("lidt %0" : : "m"(pointer));
    __asm__ volatile("ud2");
}

static void code(void)
{
    exit(3);
}

static void undefined(void *context)
{
    (void)context;
    __asm__ volatile("ud2");
}

/* From its first exception on a guest gets them without nidus, but for a few: that is how it spins. */
static void spin(void)
{
    trap_try(undefined, NULL);
    for (;;)
        ;
}

bool scenario_end(const char *name)
{
    static const struct {
        const char *name;
        void (*end)(void);
    } ends[] = {
        { "io", io },     { "memory", memory },       { "fetch", fetch }, { "wbinvd", wbinvd }, { "invd", invd },
        { "msr", msr },   { "exception", exception }, { "triple", triple }, { "code", code },   { "spin", spin },
        { "shared", shared_write }, { "bench-violation", bench_violation },
    };

    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (strcmp(name, ends[i].name) == 0) {
            printf("cpu-check: now %s\n", name);
            ends[i].end();
            return true;
        }
    return false;
}
