/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/lapic.h"

#include <stddef.h>

#include "kernel/cpu.h"
#include "kernel/trap.h"

#define APIC_BASE_X2APIC  (1ULL << 10)
#define APIC_BASE_ENABLED (1ULL << 11)
#define APIC_BASE_ADDRESS 0x000ffffffffff000ULL

#define X2APIC_MSR 0x800u

/* SDM volume 3, table 11-1: numbers of 16-byte registers. */
enum lapic_register {
    LAPIC_ID = 0x02,            /* xAPIC: bits 31:24 */
    LAPIC_TPR = 0x08,
    LAPIC_EOI = 0x0b,
    LAPIC_SVR = 0x0f,
#define SVR_ENABLED (1u << 8)
    LAPIC_ISR = 0x10,           /* 8 words */
    LAPIC_LVT_CMCI = 0x2f,
    LAPIC_LVT_TIMER = 0x32,
    LAPIC_LVT_THERMAL = 0x33,
    LAPIC_LVT_PERFORMANCE = 0x34,
    LAPIC_LVT_LINT0 = 0x35,
    LAPIC_LVT_LINT1 = 0x36,
    LAPIC_LVT_ERROR = 0x37,
#define LVT_MASKED (1u << 16)   /* timer mode 00 (bits 18:17): one-shot */
#define LVT_NMI    (4u << 8)
    LAPIC_TIMER_START = 0x38,
    LAPIC_TIMER_COUNT = 0x39,
    LAPIC_TIMER_DIVIDE = 0x3e,
#define DIVIDE_BY_16 3u
};

static volatile uint8_t *lapic; /* xAPIC */
static bool x2apic;

static bool is_present(void)
{
    return (cpuid(1, 0).edx & 1u << 9) != 0;
}

static uint32_t lapic_read(enum lapic_register r)
{
    if (x2apic)
        return (uint32_t)rdmsr(X2APIC_MSR + r);
    return lapic == NULL ? 0 : *(volatile uint32_t *)(lapic + r * 16);
}

static void lapic_write(enum lapic_register r, uint32_t value)
{
    if (x2apic)
        wrmsr(X2APIC_MSR + r, value);
    else if (lapic != NULL)
        *(volatile uint32_t *)(lapic + r * 16) = value;
}

uint64_t lapic_registers(void)
{
    if (!is_present())
        return 0;
    uint64_t base = rdmsr(MSR_APIC_BASE);
    return (base & APIC_BASE_X2APIC) != 0 ? 0 : base & APIC_BASE_ADDRESS;
}

bool lapic_init(volatile void *registers)
{
    if (!is_present())
        return false;
    uint64_t base = rdmsr(MSR_APIC_BASE);
    x2apic = (base & APIC_BASE_X2APIC) != 0;
    lapic = registers;
    if (!x2apic && lapic == NULL)
        return false;
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLED);

    lapic_write(LAPIC_SVR, SVR_ENABLED | VECTOR_SPURIOUS);
    static const enum lapic_register lvt[] = { LAPIC_LVT_TIMER, LAPIC_LVT_LINT0, LAPIC_LVT_ERROR };
    for (unsigned i = 0; i < sizeof(lvt) / sizeof(lvt[0]); i++)
        lapic_write(lvt[i], LVT_MASKED | VECTOR_SPURIOUS);
    lapic_write(LAPIC_LVT_LINT1, LVT_NMI);  /* where the platform's NMI arrives */
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_16);
    for (unsigned i = 256; i-- != 0;)       /* what the firmware was in the middle of, highest priority first */
        if (lapic_in_service(i))
            lapic_end_of_interrupt();
    return true;
}

void lapic_timer_start(uint32_t start, uint8_t vector)
{
    lapic_write(LAPIC_LVT_TIMER, vector != 0 ? vector : LVT_MASKED | VECTOR_SPURIOUS);
    lapic_write(LAPIC_TIMER_START, start);
}

uint32_t lapic_timer_count(void)
{
    return lapic_read(LAPIC_TIMER_COUNT);
}

/* SDM volume 3, 11.11; of an id beyond 8 bits the rest lies in the upper half, where remapping units have it (VT-d 5.10, 11.4.7.4). */
bool lapic_message(uint8_t vector, uint64_t *address, uint32_t *data)
{
    if (!x2apic && lapic == NULL)
        return false;
    uint64_t id = x2apic ? lapic_read(LAPIC_ID) : lapic_read(LAPIC_ID) >> 24;
    *address = 0xfee00000 | (id & 0xff) << 12 | (id & 0xffffff00) << 32;
    *data = vector;             /* fixed delivery, edge */
    return true;
}

bool lapic_in_service(unsigned vector)
{
    return (lapic_read(LAPIC_ISR + vector / 32) >> vector % 32 & 1) != 0;
}

void lapic_end_of_interrupt(void)
{
    lapic_write(LAPIC_EOI, 0);
}
