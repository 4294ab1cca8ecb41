/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/guest_apic.h"

#include <stddef.h>

#include "kernel/guest.h"
#include "kernel/guest_cpuid.h"
#include "kernel/guest_msr.h"

enum {                          /* SDM volume 3, table 11-6 */
    ID = 0x02, VERSION = 0x03, TPR = GUEST_APIC_TPR, PPR = 0x0a, EOI = 0x0b, LDR = 0x0d, SVR = 0x0f, ISR = 0x10, TMR = 0x18, IRR = 0x20,
    ESR = 0x28, ICR = 0x30, LVT_TIMER = 0x32, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, INITIAL = 0x38,
    CURRENT = 0x39, DIVIDE = 0x3e, SELF_IPI = 0x3f
};
#define SVR_ENABLED      (1u << 8)
#define LVT_MASKED       (1u << 16)
#define LVT_MODE         (3u << 17)
#define   LVT_ONE_SHOT     (0u << 17)
#define   LVT_PERIODIC     (1u << 17)
#define   LVT_DEADLINE     (2u << 17)
#define ICR_DESTINATION  (3ull << 18)  /* 0: by id in 63:32; 1: self; 2: all; 3: all but self */
#define   ICR_OTHERS       (3ull << 18)
#define ICR_LOGICAL      (1ull << 11)
#define ICR_DELIVERY     (7ull << 8)   /* 0: fixed */
#define ICR_VALID        0xffffffff000ccfffull
#define ALL_CPUS         0xffffffffu
#define WORDS            8u            /* of ISR, TMR, IRR */

/* What can be read, which bits can be written (others: #GP), what a register holds at the start.  Not CMCI 2Fh (machine checks are
 * nidus's), and 30h is 64 bits wide. */
static const struct {
    uint8_t number, count;
    bool read, write;
    uint32_t writable, reset;
} rows[] = {
    { ID, 1, true, false, 0, 0 },
    { VERSION, 1, true, false, 0, 0x50014 },    /* six LVT entries */
    { TPR, 1, true, true, 0xff, 0 },
    { PPR, 1, true, false, 0, 0 },
    { EOI, 1, false, true, 0, 0 },
    { LDR, 1, true, false, 0, 1 },
    { SVR, 1, true, true, SVR_ENABLED | 0xff, 0xff },
    { ISR, WORDS, true, false, 0, 0 },
    { TMR, WORDS, true, false, 0, 0 },
    { IRR, WORDS, true, false, 0, 0 },
    { ESR, 1, true, true, 0, 0 },
    { LVT_TIMER, 1, true, true, LVT_MODE | LVT_MASKED | 0xff, LVT_MASKED },
    { LVT_THERMAL, 2, true, true, LVT_MASKED | 0x7ff, LVT_MASKED },  /* nothing raises these, nor LINT and error */
    { LVT_LINT0, 2, true, true, LVT_MASKED | 0xa7ff, LVT_MASKED },
    { LVT_ERROR, 1, true, true, LVT_MASKED | 0xff, LVT_MASKED },
    { INITIAL, 1, true, true, ~0u, 0 },
    { CURRENT, 1, true, false, 0, 0 },
    { DIVIDE, 1, true, true, 0xb, 0 },
    { SELF_IPI, 1, false, true, 0xff, 0 },
};

void guest_apic_reset(struct guest_apic *a)
{
    *a = (struct guest_apic){ 0 };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned j = 0; j < rows[i].count; j++)
            a->reg[rows[i].number + j] = rows[i].reset;
}

/* The highest vector of ISR or IRR; 0: none. */
static unsigned highest(const struct guest_apic *a, unsigned words)
{
    for (unsigned i = WORDS; i-- != 0;)
        if (a->reg[words + i] != 0)
            return i * 32 + 31 - (unsigned)__builtin_clz(a->reg[words + i]);
    return 0;
}

static void set_bit(struct guest_apic *a, unsigned words, unsigned vector, bool value)
{
    a->reg[words + vector / 32] = (a->reg[words + vector / 32] & ~(1u << vector % 32)) | (uint32_t)value << vector % 32;
}

static uint32_t priority(const struct guest_apic *a)
{
    uint32_t in_service = highest(a, ISR) & 0xf0;
    return in_service > (a->reg[TPR] & 0xf0) ? in_service : a->reg[TPR];
}

static void request(struct guest_apic *a, uint8_t vector)
{
    if (vector < 16 || !(a->reg[SVR] & SVR_ENABLED))
        return;
    set_bit(a, IRR, vector, true);
    a->pending = true;
}

/* The vector to deliver; 0: none. */
static unsigned next(const struct guest_apic *a)
{
    unsigned vector = highest(a, IRR);
    return (a->reg[SVR] & SVR_ENABLED) && (vector & 0xf0) > (priority(a) & 0xf0) ? vector : 0;
}

/* Ticks of the TSC in ticks of the count, or back. */
static uint64_t convert(const struct guest_apic *a, uint64_t ticks, bool back)
{
    unsigned divide = (((a->reg[DIVIDE] & 3) | (a->reg[DIVIDE] >> 1 & 4)) + 1) & 7; /* its binary logarithm */
    struct cpuid ratio = guest_cpuid(0x15, 0, cpuid);
    if (ratio.eax == 0 || ratio.ebx == 0)
        ratio.eax = ratio.ebx = 1;
    return back ? ticks * ratio.eax / ratio.ebx >> divide : (ticks << divide) * ratio.ebx / ratio.eax;
}

static void start_timer(struct guest_apic *a)
{
    uint64_t ticks = convert(a, a->reg[INITIAL], false);
    a->period = (a->reg[LVT_TIMER] & LVT_MODE) == LVT_PERIODIC ? ticks : 0;
    a->deadline = ticks != 0 ? rdtsc() + ticks : 0;
}

static uint32_t current_count(const struct guest_apic *a)
{
    uint64_t now = rdtsc();
    return (a->reg[LVT_TIMER] & LVT_MODE) != LVT_DEADLINE && a->deadline > now ? (uint32_t)convert(a, a->deadline - now, true) : 0;
}

bool guest_apic_poll(struct guest_apic *a)
{
    uint64_t now = a->deadline != 0 ? rdtsc() : 0;
    if (now != 0 && now >= a->deadline) {
        if (!(a->reg[LVT_TIMER] & LVT_MASKED))
            request(a, (uint8_t)a->reg[LVT_TIMER]);
        /* A guest that was away for several periods gets one interrupt. */
        a->deadline = a->period != 0 ? now + a->period - (now - a->deadline) % a->period : 0;
    }
    return next(a) != 0;
}

void guest_apic_deliver(struct guest *g)
{
    struct guest_apic *a = &g->apic;
    unsigned vector = next(a);
    if (vector != 0 && guest_cpu->interrupt(g->vcpu, vector)) {
        set_bit(a, IRR, vector, false);
        set_bit(a, ISR, vector, true);
        vector = next(a);
    }
    a->pending = vector != 0;
}

void guest_apic_again(struct guest_apic *a, uint8_t vector)
{
    set_bit(a, ISR, vector, false);
    set_bit(a, IRR, vector, true);
    a->pending = true;
}

static int find(uint32_t number)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (number >= rows[i].number && number < rows[i].number + rows[i].count)
            return (int)i;
    return -1;
}

bool guest_apic_read(struct guest *g, uint32_t msr, uint64_t *value)
{
    struct guest_apic *a = &g->apic;
    uint32_t number = msr - MSR_X2APIC;
    int row = find(number);
    if (msr == MSR_TSC_DEADLINE)
        *value = (a->reg[LVT_TIMER] & LVT_MODE) == LVT_DEADLINE ? a->deadline : 0;
    else if (number == ICR)
        *value = (uint64_t)a->reg[ICR + 1] << 32 | a->reg[ICR];
    else if (row < 0 || !rows[row].read)
        return false;
    else
        *value = number == PPR ? priority(a) : number == CURRENT ? current_count(a) : a->reg[number];
    return true;
}

/* An interrupt to another CPU goes nowhere: there is none.  Only fixed ones: a guest has no NMI, INIT or SMI. */
static bool write_icr(struct guest_apic *a, uint64_t value)
{
    if ((value & ~ICR_VALID) || (value & ICR_DELIVERY))
        return false;
    a->reg[ICR] = (uint32_t)value;
    a->reg[ICR + 1] = (uint32_t)(value >> 32);
    uint32_t to = (uint32_t)(value >> 32);
    bool by_id = (value & ICR_DESTINATION) == 0;
    bool logical = (value & ICR_LOGICAL) && to >> 16 == a->reg[LDR] >> 16 && (to & a->reg[LDR] & 0xffff); /* cluster, bits in it */
    if (by_id ? (!(value & ICR_LOGICAL) && to == a->reg[ID]) || to == ALL_CPUS || logical : (value & ICR_DESTINATION) != ICR_OTHERS)
        request(a, (uint8_t)value);
    return true;
}

static void after_write(struct guest_apic *a, uint32_t number, uint32_t old)
{
    switch (number) {
    case EOI:
        set_bit(a, ISR, highest(a, ISR), false);
        break;
    case SELF_IPI:
        request(a, (uint8_t)a->reg[SELF_IPI]);
        break;
    case LVT_TIMER:
        if ((a->reg[LVT_TIMER] ^ old) & LVT_MODE)
            a->deadline = a->period = 0;
        break;
    case INITIAL:
        if ((a->reg[LVT_TIMER] & LVT_MODE) != LVT_DEADLINE)
            start_timer(a);
        break;
    case SVR:
        for (unsigned i = LVT_TIMER; i <= LVT_ERROR && !(a->reg[SVR] & SVR_ENABLED); i++)
            a->reg[i] |= LVT_MASKED;
        break;
    }
    a->pending = next(a) != 0;
}

bool guest_apic_write(struct guest *g, uint32_t msr, uint64_t value)
{
    struct guest_apic *a = &g->apic;
    uint32_t number = msr - MSR_X2APIC, old;
    int row = find(number);
    if (msr == MSR_TSC_DEADLINE) {
        if ((a->reg[LVT_TIMER] & LVT_MODE) == LVT_DEADLINE)
            a->deadline = value;
        return true;
    }
    if (number == ICR)
        return write_icr(a, value);
    if (row < 0 || !rows[row].write || (value & ~(uint64_t)rows[row].writable))
        return false;
    old = a->reg[number];
    a->reg[number] = (uint32_t)value;
    after_write(a, number, old);
    return true;
}

bool guest_apic_set_cr8(struct guest_apic *a, uint64_t value)
{
    if (value > 15)
        return false;
    a->reg[TPR] = (uint32_t)value << 4;
    a->pending = next(a) != 0;
    return true;
}
