/* SPDX-License-Identifier: BSD-2-Clause */
/* cpu.h: instructions of the processor as functions, and the bits of its registers that nidus names. */
#ifndef NIDUS_CPU_H
#define NIDUS_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define CR0_PE (1ULL << 0)
#define CR0_MP (1ULL << 1)
#define CR0_EM (1ULL << 2)
#define CR0_TS (1ULL << 3)
#define CR0_ET (1ULL << 4)
#define CR0_NE (1ULL << 5)
#define CR0_WP (1ULL << 16)
#define CR0_NW (1ULL << 29)
#define CR0_CD (1ULL << 30)
#define CR0_PG (1ULL << 31)

#define CR4_PAE        (1ULL << 5)
#define CR4_MCE        (1ULL << 6)
#define CR4_PGE        (1ULL << 7)
#define CR4_OSFXSR     (1ULL << 9)
#define CR4_OSXMMEXCPT (1ULL << 10)
#define CR4_UMIP       (1ULL << 11)
#define CR4_OSXSAVE    (1ULL << 18)
#define CR4_SMEP       (1ULL << 20)
#define CR4_SMAP       (1ULL << 21)

#define RFLAGS_TF (1ULL << 8)
#define RFLAGS_IF (1ULL << 9)

#define MSR_APIC_BASE 0x1bu
#define MSR_PAT       0x277u
#define MSR_EFER      0xc0000080u
#define EFER_SCE  (1ULL << 0)
#define EFER_LME  (1ULL << 8)
#define EFER_LMA  (1ULL << 10)
#define EFER_NXE  (1ULL << 11)
#define EFER_SVME (1ULL << 12)

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid c;
    __asm__ volatile("cpuid" : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx) : "a"(leaf), "c"(subleaf));
    return c;
}

/* The leaf, or zeroes where the processor does not have it. */
static inline struct cpuid cpuid_or_zero(uint32_t leaf, uint32_t subleaf)
{
    if (cpuid(leaf & 0xffff0000u, 0).eax < leaf)
        return (struct cpuid){ 0 };
    return cpuid(leaf, subleaf);
}

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

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

/* The same where it does not matter what the processor does before and after. */
static inline uint64_t rdtsc_about(void)
{
    return __builtin_ia32_rdtsc();
}

#define CPU_CONTROL_REGISTER(name)                                              \
    static inline uint64_t read_##name(void) {                                  \
        uint64_t value;                                                         \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value) : : "memory");     \
        return value;                                                           \
    }                                                                           \
    static inline void write_##name(uint64_t value) {                           \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");         \
    }
CPU_CONTROL_REGISTER(cr0)
CPU_CONTROL_REGISTER(cr2)
CPU_CONTROL_REGISTER(cr3)
CPU_CONTROL_REGISTER(cr4)

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause");
}

/* Interrupts are off in nidus but for these two: what is pending is taken now … */
static inline void interrupts_take(void)
{
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

/* … or the CPU sleeps until there is one. */
static inline void interrupts_wait(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline _Noreturn void cpu_stop(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" : : : "memory");
}

#endif
