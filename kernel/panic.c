/* SPDX-License-Identifier: BSD-2-Clause */
/* panic.c: says why, where and how it came there, and stops. */
#include "kernel/panic.h"

#include "kernel/cpu.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/trap.h"

#define MAX_CALLS 24

struct symbol {
    uint32_t offset, name;
};
extern const struct symbol symbol_table[];
extern const char symbol_names[];
extern const uint32_t symbol_count;
extern const char image_text_end[];

static void log_address(uint64_t rip)
{
    uint64_t offset = rip - KERNEL_VIRT_BASE;
    if (rip >= (uint64_t)image_text_end || rip < KERNEL_VIRT_BASE || symbol_count == 0 || symbol_table[0].offset > offset) {
        log_line("    %#018llx", (unsigned long long)rip);
        return;
    }
    unsigned low = 0;           /* the last symbol at or below offset */
    for (unsigned high = symbol_count; high - low > 1;) {
        unsigned middle = (low + high) / 2;
        if (symbol_table[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    log_line("    %#018llx %s+%#llx", (unsigned long long)rip, symbol_names + symbol_table[low].name,
             (unsigned long long)(offset - symbol_table[low].offset));
}

/* Room for a saved frame pointer and a return address on one of nidus's stacks? */
static bool is_frame(uint64_t rbp)
{
    if (rbp % sizeof(uint64_t) != 0)
        return false;
    for (unsigned i = 0; i < STACKS; i++) {
        uint64_t bottom = (uint64_t)stacks[i].bytes;
        if (rbp >= bottom && rbp <= bottom + STACK_SIZE - 2 * sizeof(uint64_t))
            return true;
    }
    return false;
}

void backtrace(uint64_t rip, uint64_t rbp)
{
    log_address(rip);
    for (unsigned i = 0; i < MAX_CALLS && is_frame(rbp); i++) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] == 0 || (frame[0] != 0 && frame[0] <= rbp))
            break;
        log_address(frame[1] - 1);  /* inside the call */
        rbp = frame[0];
    }
}

static void log_registers(const struct trap_frame *f)
{
    static const struct {
        const char *name;
        unsigned word;
    } columns[] = {
#define WORD(member) offsetof(struct trap_frame, member) / sizeof(uint64_t)
        { "rax", WORD(rax) }, { "rbx", WORD(rbx) }, { "rcx", WORD(rcx) }, { "rdx", WORD(rdx) },
        { "rsi", WORD(rsi) }, { "rdi", WORD(rdi) }, { "rbp", WORD(rbp) }, { "rsp", WORD(rsp) },
        { "r8 ", WORD(r8) },  { "r9 ", WORD(r9) },  { "r10", WORD(r10) }, { "r11", WORD(r11) },
        { "r12", WORD(r12) }, { "r13", WORD(r13) }, { "r14", WORD(r14) }, { "r15", WORD(r15) },
#undef WORD
    };
    const uint64_t *words = (const uint64_t *)f;
    for (unsigned i = 0; i < sizeof(columns) / sizeof(columns[0]); i += 4)
        log_line("    %s %016lx  %s %016lx  %s %016lx  %s %016lx", columns[i].name, words[columns[i].word],
                 columns[i + 1].name, words[columns[i + 1].word], columns[i + 2].name, words[columns[i + 2].word],
                 columns[i + 3].name, words[columns[i + 3].word]);
    log_line("    rip %016lx  flags %lx  cr2 %016lx  cr3 %lx  error %lx", f->rip, f->rflags, read_cr2(), read_cr3(), f->error);
}

/* A panic while one is being told ends at once. */
static void enter(void)
{
    static bool entered;
    __asm__ volatile("cli");
    if (entered)
        cpu_stop();
    entered = true;
}

static void say(const char *format, va_list arguments)
{
    char text[200];
    format_text_v(text, sizeof(text), format, arguments);
    log_line("nidus: panic: %s", text);
}

void panic(const char *format, ...)
{
    va_list arguments;
    enter();
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    backtrace((uint64_t)__builtin_return_address(0) - 1, *(uint64_t *)__builtin_frame_address(0));
    cpu_stop();
}

void panic_frame(const struct trap_frame *frame, const char *format, ...)
{
    va_list arguments;
    enter();
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    log_registers(frame);
    backtrace(frame->rip, frame->rbp);
    cpu_stop();
}
