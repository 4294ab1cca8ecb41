/* SPDX-License-Identifier: BSD-2-Clause */
/* start.c: what runs before main, and the report of an exception. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests/runtime/call.h"
#include "guests/runtime/frames.h"

int main(void);
_Noreturn void runtime_start(const struct nidus_guest_info *info);

struct trap_frame {
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
_Noreturn void trap_report(const struct trap_frame *frame);

struct idt_entry {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};
_Static_assert(sizeof(struct idt_entry) == 16, "gate of 64-bit mode");

#define TRAP_VECTORS     32
#define TRAP_ENTRY_BYTES 16     /* .balign in crt0.S */
#define GATE_INTERRUPT   0x8e   /* present, DPL 0, 64-bit interrupt gate */
#define CODE_SELECTOR    0x08

extern const char trap_entries[];
static struct idt_entry idt[TRAP_VECTORS];

static void load_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

    for (unsigned i = 0; i < TRAP_VECTORS; i++) {
        uint64_t entry = (uint64_t)trap_entries + i * TRAP_ENTRY_BYTES;

        idt[i] = (struct idt_entry){
            .offset_low = (uint16_t)entry,
            .selector = CODE_SELECTOR,
            .type = GATE_INTERRUPT,
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
        };
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static const char *const trap_names[TRAP_VECTORS] = {
    [0] = "divide error", [1] = "debug", [2] = "NMI", [3] = "breakpoint", [4] = "overflow", [5] = "bound range",
    [6] = "invalid opcode", [7] = "device not available", [8] = "double fault", [10] = "invalid TSS",
    [11] = "segment not present", [12] = "stack fault", [13] = "general protection", [14] = "page fault",
    [16] = "x87 error", [17] = "alignment check", [18] = "machine check", [19] = "SIMD error",
};

_Noreturn void trap_report(const struct trap_frame *frame)
{
    static bool reporting;
    char line[160];
    uint64_t cr2;
    const char *name = trap_names[frame->vector];
    int length;

    if (reporting)
        _exit(128 + (int)frame->vector);
    reporting = true;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    length = snprintf(line, sizeof(line), "exception %llu (%s) at RIP 0x%llx, error 0x%llx, CR2 0x%llx\n",
                      (unsigned long long)frame->vector, name ? name : "reserved", (unsigned long long)frame->rip,
                      (unsigned long long)frame->error, (unsigned long long)cr2);
    write(STDERR_FILENO, line, (size_t)length);
    _exit(128 + (int)frame->vector);
}

_Noreturn void runtime_start(const struct nidus_guest_info *info)
{
    load_idt();
    guest_info = info;
    /* Nothing can be printed without an info page that says how to call. */
    if (info->magic != NIDUS_GUEST_INFO_MAGIC || info->version != NIDUS_GUEST_INFO_VERSION)
        __builtin_trap();
    frames_init();
    exit(main());
}
