/* SPDX-License-Identifier: BSD-2-Clause */
/* trap.c: GDT, TSS and IDT; exceptions end in a panic, interrupts are few. */
#include "kernel/trap.h"

#include "drivers/lapic.h"
#include "drivers/pic.h"
#include "kernel/cpu.h"
#include "kernel/events.h"
#include "kernel/log.h"
#include "kernel/machine_check.h"
#include "kernel/memory.h"
#include "kernel/panic.h"

#define VECTOR_DOUBLE_FAULT  8
#define VECTOR_NMI           2
#define VECTOR_PAGE_FAULT    14
#define VECTOR_MACHINE_CHECK 18
#define VECTOR_EXCEPTIONS    32

#define PORT_NMI_STATUS 0x61
#define   NMI_SERR  (1u << 7)
#define   NMI_IOCHK (1u << 6)
#define NMIS_TOLD 20u           /* then at each doubling of their number */

/* SDM volume 3, 3.4.5: 64-bit code, and data, present, type with A set. */
#define GDT_CODE 0x00209b0000000000ULL
#define GDT_DATA 0x0000930000000000ULL
#define DESCRIPTOR_TSS       0x89
#define DESCRIPTOR_INTERRUPT 0x8e

struct tss {                    /* SDM volume 3, 8.7 */
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM 8.7");

struct tss_descriptor {         /* SDM volume 3, 8.2.3 */
    uint16_t limit;
    uint16_t base_low;
    uint8_t base_16;
    uint8_t type;
    uint8_t limit_flags;
    uint8_t base_24;
    uint32_t base_32;
    uint32_t reserved;
};
_Static_assert(sizeof(struct tss_descriptor) == 16, "SDM 8.2.3");

struct gate {                   /* SDM volume 3, 6.14.1 */
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_16;
    uint32_t offset_32;
    uint32_t reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM 6.14.1");

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static struct {
    uint64_t null, code, data;
    struct tss_descriptor tss;
} __attribute__((packed, aligned(16))) gdt = { .code = GDT_CODE, .data = GDT_DATA };
_Static_assert(offsetof(__typeof__(gdt), tss) == SELECTOR_TSS, "the selectors of trap.h");

static struct tss tss = { .io_map = sizeof(struct tss) };
static struct gate idt[256];
struct stack stacks[STACKS] __attribute__((aligned(4096)));

extern const uint8_t trap_entries[256][16];
void segments_load(void);

static const char *const exception_names[VECTOR_EXCEPTIONS] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode", "no coprocessor",
    "double fault", "coprocessor overrun", "invalid TSS", "segment not present", "stack fault", "general protection",
    "page fault", "exception 15", "x87 error", "alignment check", "machine check", "SIMD error", "virtualization",
    "control protection", "exception 22", "exception 23", "exception 24", "exception 25", "exception 26",
    "exception 27", "hypervisor injection", "VMM communication", "security exception", "exception 31",
};

static uint64_t stack_top(enum stack_use use)
{
    return (uint64_t)&stacks[use].bytes[STACK_SIZE];
}

static uint8_t stack_of(unsigned vector)
{
    switch (vector) {
    case VECTOR_DOUBLE_FAULT:  return STACK_DOUBLE_FAULT;
    case VECTOR_NMI:           return STACK_NMI;
    case VECTOR_MACHINE_CHECK: return STACK_MACHINE_CHECK;
    default:                   return 0;
    }
}

static void gates_init(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t entry = (uint64_t)trap_entries[i];
        idt[i] = (struct gate){ .offset_low = (uint16_t)entry, .offset_16 = (uint16_t)(entry >> 16),
                                .offset_32 = (uint32_t)(entry >> 32), .selector = SELECTOR_CODE,
                                .ist = stack_of(i), .type = DESCRIPTOR_INTERRUPT };
    }
}

static void tss_init(void)
{
    uint64_t base = (uint64_t)&tss;
    for (enum stack_use use = STACK_DOUBLE_FAULT; use < STACKS; use++)
        tss.ist[use - 1] = stack_top(use);
    gdt.tss = (struct tss_descriptor){ .limit = sizeof(tss) - 1, .base_low = (uint16_t)base, .base_16 = (uint8_t)(base >> 16),
                                       .base_24 = (uint8_t)(base >> 24), .base_32 = (uint32_t)(base >> 32), .type = DESCRIPTOR_TSS };
}

void traps_init(void)
{
    gates_init();
    tss_init();
    struct table_pointer gdt_pointer = { sizeof(gdt) - 1, (uint64_t)&gdt };
    struct table_pointer idt_pointer = { sizeof(idt) - 1, (uint64_t)idt };
    __asm__ volatile("lgdt %0" : : "m"(gdt_pointer));
    segments_load();
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
    pic_mask();
}

struct trap_tables traps_tables(void)
{
    return (struct trap_tables){ (uint64_t)&gdt, (uint64_t)idt, (uint64_t)&tss };
}

static bool is_overflow(uint64_t address)
{
    for (unsigned i = 0; i < STACKS; i++)
        if (address - (uint64_t)stacks[i].guard < STACK_GUARD)
            return true;
    return false;
}

static _Noreturn void exception(const struct trap_frame *f)
{
    const char *name = exception_names[f->vector];
    if (f->vector == VECTOR_PAGE_FAULT)
        panic_frame(f, "page fault: %s of %#llx%s", (f->error & 16) != 0 ? "fetch" : (f->error & 2) != 0 ? "write" : "read",
                    (unsigned long long)read_cr2(), (f->error & 1) != 0 ? ", not allowed" : "");
    if (f->vector == VECTOR_DOUBLE_FAULT && is_overflow(read_cr2()))
        panic_frame(f, "a stack overflowed");
    if (f->vector == VECTOR_MACHINE_CHECK)
        machine_check_report();
    panic_frame(f, "%s, error %#llx", name, (unsigned long long)f->error);
}

/* What firmware's devices still send, once each: nobody asked for it. */
static void unexpected(unsigned vector)
{
    static bool told[256];
    if (lapic_in_service(vector))
        lapic_end_of_interrupt();
    if (!told[vector])
        log_line("interrupt %#x, which nothing in nidus asked for", vector);
    told[vector] = true;
}

/* The platform's watchdog, its error signals or somebody's button: for people to know.  It may come in the middle of a line of the log, so
 * it is counted, and told between two slices. */
static volatile unsigned nmis;

void traps_tell_nmis(void)
{
    static unsigned next = 1;
    unsigned count = nmis;
    if (count < next)
        return;
    uint8_t status = in8(PORT_NMI_STATUS);
    log_line("NMI: %u so far, the last %s", count, status & NMI_SERR ? "for SERR#" : status & NMI_IOCHK ? "for IOCHK#"
             : "for a reason that port 61h does not tell");
    next = count < NMIS_TOLD ? count + 1 : 2 * count;
}

void trap_handle(struct trap_frame *frame)
{
    if (frame->vector == VECTOR_NMI) {
        nmis++;
        return;
    }
    if (frame->vector < VECTOR_EXCEPTIONS)
        exception(frame);
    if (frame->vector == VECTOR_UNIT)
        events_note();
    if (frame->vector == VECTOR_TICK || frame->vector == VECTOR_UNIT)
        lapic_end_of_interrupt();
    else if (frame->vector != VECTOR_SPURIOUS && !pic_is_spurious((unsigned)frame->vector))
        unexpected((unsigned)frame->vector);
}
