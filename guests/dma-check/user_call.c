/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * user_call.c: a page of code at CPL 3 makes one hypercall and comes back through INT3.  For that it takes what a guest without
 * user programs has no other use for: user segments, a TSS, a gate that CPL 3 may use.
 */
#include "guests/dma-check/user_call.h"

#include <stdbool.h>
#include <string.h>

#include "guests/dma-check/rig.h"
#include "guests/runtime/paging.h"

#define USER_PAGE     (1ULL << 40)      /* a part of the address space where no table is yet that lacks the user bit */
#define KERNEL_CODE   0x08
#define BREAKPOINT    3
#define GATE_USER     0xee              /* present, DPL 3, 64-bit interrupt gate */
#define TSS_SELECTOR  0x28
#define TSS_SIZE      104

struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "gate of 64-bit mode");

/* user_call.S */
int64_t user_enter(uint64_t number, uint64_t payload, uint64_t device, uint64_t rip, uint64_t rsp);
extern char user_tss[TSS_SIZE];
extern const char user_return[], user_vmmcall[], user_vmcall[], user_code_end[];

static struct gate gates[BREAKPOINT + 1];
static uint64_t gdt[] = {
    0,
    0x00af9b000000ffff,                 /* 0x08 code, CPL 0, as in crt0.S */
    0x00cf93000000ffff,                 /* 0x10 data */
    0x00cff3000000ffff,                 /* 0x18 data, CPL 3 */
    0x00affb000000ffff,                 /* 0x20 code, CPL 3 */
    0, 0,                               /* 0x28 TSS */
};

static void prepare(void)
{
    uint64_t t = (uint64_t)user_tss, handler = (uint64_t)user_return;
    struct descriptor_pointer pointer = { sizeof(gdt) - 1, (uint64_t)gdt };

    gdt[5] = (TSS_SIZE - 1) | (t & 0xffffff) << 16 | 0x89ULL << 40 | (t >> 24 & 0xff) << 56;
    gdt[6] = t >> 32;
    gates[BREAKPOINT] = (struct gate){
        .offset_low = (uint16_t)handler,
        .selector = KERNEL_CODE,
        .type = GATE_USER,
        .offset_middle = (uint16_t)(handler >> 16),
        .offset_high = (uint32_t)(handler >> 32),
    };
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(TSS_SELECTOR));
}

/* The code begins the page, its stack ends it. */
static void make_page(void)
{
    const char *code = guest_info->call == NIDUS_CALL_VMMCALL ? user_vmmcall : user_vmcall;
    void *page = frames_need(FRAME_SIZE, FRAME_SIZE, "a page at CPL 3");

    memcpy(page, code, (size_t)(user_code_end - code));
    must(paging_map(USER_PAGE, gpa_of(page), FRAME_SIZE, PT_WRITE | PT_USER), "mapping of a page for CPL 3");
}

int64_t user_call(uint32_t number, void *payload, uint32_t device)
{
    struct descriptor_pointer ours, theirs = { sizeof(gates) - 1, (uint64_t)gates };
    static bool ready;
    int64_t result;

    if (!ready) {
        prepare();
        make_page();
        ready = true;
    }
    __asm__ volatile("sidt %0" : "=m"(ours));
    __asm__ volatile("lidt %0" : : "m"(theirs));
    result = user_enter(number, (uint64_t)payload, device, USER_PAGE, USER_PAGE + FRAME_SIZE);
    __asm__ volatile("lidt %0" : : "m"(ours));
    return result;
}
