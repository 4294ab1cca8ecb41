/* SPDX-License-Identifier: BSD-2-Clause */
/* vcpu.c: which backend this machine can run, and what both have in common. */
#include "kernel/vcpu.h"

#include <stdarg.h>
#include <stddef.h>

#include "iommu/platform.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/log.h"
#include "kernel/memory.h"

#define PF_PRESENT (1u << 0)    /* a page fault's error code */
#define PF_WRITE   (1u << 1)
#define PF_FETCH   (1u << 4)

extern const struct vcpu_ops svm_ops, vmx_ops;

const struct vcpu_ops *vcpu_select(const char **reason)
{
    static const struct vcpu_ops *const backends[] = { &vmx_ops, &svm_ops };
    *reason = "the processor has neither VMX nor SVM";
    for (unsigned i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (backends[i]->present())
            return backends[i]->probe(reason) ? backends[i] : NULL;
    return NULL;
}

const char *vcpu_text(const char *format, ...)
{
    static char text[120];
    va_list arguments;
    va_start(arguments, format);
    format_text_v(text, sizeof(text), format, arguments);
    va_end(arguments);
    return text;
}

void vcpu_machine_check(const struct guest *g)
{
    log_line("guest %s was running when the machine failed", g->name);
    __asm__ volatile("int $18");
}

static const char *const exception_names[VCPU_EXCEPTIONS] = {
    [0] = "divide error", [1] = "debug", [3] = "breakpoint", [4] = "overflow", [5] = "BOUND range exceeded", [6] = "undefined instruction",
    [7] = "no FPU", [8] = "double fault", [10] = "invalid TSS", [11] = "segment not present", [12] = "stack fault",
    [13] = "general protection", [14] = "page fault", [16] = "x87 error", [17] = "misaligned access", [19] = "SSE error",
};

void vcpu_exception(struct vcpu_exit *exit, unsigned vector, uint64_t error, uint64_t address)
{
    exit->kind = VCPU_EXIT_CRASH;
    if (vector == VECTOR_PF) {
        const char *access = error & PF_FETCH ? "fetch" : error & PF_WRITE ? "write" : "read";
        exit->text = vcpu_text("page fault (%s, %s) at 0x%llx, and it has no IDT", access,
                               error & PF_PRESENT ? "not allowed" : "not present", (unsigned long long)address);
        return;
    }
    const char *name = exception_names[vector] != NULL ? exception_names[vector] : "exception";
    exit->text = vcpu_text("%s (vector %u), and it has no IDT", name, vector);
}

/* The guest's own tables: linear address to GPA. */
static bool translate(struct guest *g, uint64_t linear, uint64_t *gpa)
{
    const uint64_t frame = 0x000ffffffffff000ull, present = 1, large = 1 << 7;
    uint64_t entry = guest_cpu->get(g->vcpu, VCPU_CR3);
    for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9) {
        uint64_t slot = (entry & frame) + ((linear >> shift) & 511) * sizeof(entry);
        if (platform_guest_read(g, slot, &entry, sizeof(entry)) != 0 || !(entry & present))
            return false;
        uint64_t offset = ((uint64_t)1 << shift) - 1;
        if (shift == PAGE_SHIFT || ((entry & large) && shift <= 30)) {
            *gpa = (entry & frame & ~offset) | (linear & offset);
            return true;
        }
    }
    return false;
}

const uint8_t *vcpu_code_page(struct guest *g)
{
    uint64_t linear = guest_cpu->get(g->vcpu, VCPU_RIP) + guest_cpu->get(g->vcpu, VCPU_CODE_BASE), gpa, hpa, run;
    if (!translate(g, linear, &gpa) || guest_ram(g, gpa & ~(PAGE_SIZE - 1), &hpa, &run) != 0)
        return NULL;
    return phys_to_virt(hpa);
}

unsigned vcpu_fetch(struct guest *g, uint8_t bytes[VCPU_INSTRUCTION_MAX])
{
    if (!(guest_cpu->get(g->vcpu, VCPU_EFER) & EFER_LMA))
        return 0;
    uint64_t linear = guest_cpu->get(g->vcpu, VCPU_RIP) + guest_cpu->get(g->vcpu, VCPU_CODE_BASE);
    unsigned got = 0;
    while (got < VCPU_INSTRUCTION_MAX) {
        uint64_t gpa, in_page = PAGE_SIZE - ((linear + got) & (PAGE_SIZE - 1));
        unsigned n = in_page < VCPU_INSTRUCTION_MAX - got ? (unsigned)in_page : VCPU_INSTRUCTION_MAX - got;
        if (!translate(g, linear + got, &gpa) || platform_guest_read(g, gpa, bytes + got, n) != 0)
            break;
        got += n;
    }
    return got;
}

void vcpu_report(struct guest *g)
{
    static const struct {
        const char *name;
        enum vcpu_register r;
    } columns[] = {
        { "rip", VCPU_RIP }, { "rsp", VCPU_RSP }, { "rfl", VCPU_RFLAGS }, { "efe", VCPU_EFER },
        { "cr0", VCPU_CR0 }, { "cr2", VCPU_CR2 }, { "cr3", VCPU_CR3 }, { "cr4", VCPU_CR4 },
        { "rax", VCPU_RAX }, { "rbx", VCPU_RBX }, { "rcx", VCPU_RCX }, { "rdx", VCPU_RDX },
        { "rsi", VCPU_RSI }, { "rdi", VCPU_RDI }, { "rbp", VCPU_RBP }, { "r8 ", VCPU_R8 },
        { "r9 ", VCPU_R9 }, { "r10", VCPU_R10 }, { "r11", VCPU_R11 }, { "r12", VCPU_R12 },
        { "r13", VCPU_R13 }, { "r14", VCPU_R14 }, { "r15", VCPU_R15 }, { NULL, 0 },
    };
    char text[160];
    uint64_t tsc = rdtsc();
    for (unsigned i = 0; columns[i].name != NULL;) {
        int n = 0;
        do
            n += format_text(text + n, sizeof(text) - (size_t)n, "  %s %016llx", columns[i].name,
                             (unsigned long long)guest_cpu->get(g->vcpu, columns[i].r));
        while (++i % 4 != 0 && columns[i].name != NULL);
        log_line("guest %s:%s", g->name, text);
    }
    uint8_t bytes[VCPU_INSTRUCTION_MAX];
    unsigned count = vcpu_fetch(g, bytes);
    format_text(text, sizeof(text), " (not readable)");
    for (unsigned i = 0; i < count; i++)
        format_text(text + 3 * i, sizeof(text) - 3 * i, " %02x", bytes[i]);
    log_line("guest %s: cpl %u, TSC 0x%llx, code at rip:%s", g->name, (unsigned)guest_cpu->get(g->vcpu, VCPU_CPL), (unsigned long long)tsc, text);
}
