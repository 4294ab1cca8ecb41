/* SPDX-License-Identifier: BSD-2-Clause */
/* trap.h: exceptions that are expected, and interrupts. */
#ifndef GUESTS_CPU_CHECK_TRAP_H
#define GUESTS_CPU_CHECK_TRAP_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_DE 0
#define VECTOR_DB 1
#define VECTOR_BP 3
#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14
#define NO_VECTOR 0xffu

/* What trap.S leaves on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct trap {
    unsigned vector;            /* NO_VECTOR: none came */
    uint64_t error, rip, cr2, dr6;
};

/* A table of 256 gates that leads here. */
void trap_init(void);

/* Runs f; an exception in it ends it.  Breakpoints and debug exceptions are noted, and it goes on. */
struct trap trap_try(void (*f)(void *context), void *context);

/* Interrupts since trap_forget, in the order in which they came; each was ended at once, unless keep_in_service. */
#define TRAP_LOG 16u
extern unsigned trap_count;
extern uint8_t trap_log[TRAP_LOG];
extern bool trap_keep_in_service;
void trap_forget(void);

static inline void interrupts_on(void)
{
    __asm__ volatile("sti; nop" : : : "memory");
}

static inline void interrupts_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* RDMSR and WRMSR that may fault: false then. */
bool try_rdmsr(uint32_t msr, uint64_t *value);
bool try_wrmsr(uint32_t msr, uint64_t value);

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr) : "memory");
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid c;

    __asm__ volatile("cpuid" : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx) : "a"(leaf), "c"(subleaf));
    return c;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

#define CPU_REGISTER(name, code)                                                                                      \
    static inline uint64_t read_##name(void)                                                                          \
    {                                                                                                                 \
        uint64_t value;                                                                                               \
                                                                                                                      \
        __asm__ volatile("mov %%" code ", %0" : "=r"(value) : : "memory");                                            \
        return value;                                                                                                 \
    }                                                                                                                 \
    static inline void write_##name(uint64_t value)                                                                   \
    {                                                                                                                 \
        __asm__ volatile("mov %0, %%" code : : "r"(value) : "memory");                                                \
    }
CPU_REGISTER(cr0, "cr0")
CPU_REGISTER(cr2, "cr2")
CPU_REGISTER(cr4, "cr4")
CPU_REGISTER(cr8, "cr8")
CPU_REGISTER(dr0, "db0")
CPU_REGISTER(dr1, "db1")
CPU_REGISTER(dr2, "db2")
CPU_REGISTER(dr3, "db3")
CPU_REGISTER(dr6, "db6")
CPU_REGISTER(dr7, "db7")

#endif
