/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/machine_check.h"

#include "kernel/cpu.h"
#include "kernel/log.h"

#define CPUID_HAS_MCA     (1u << 14 | 1u << 7) /* 1 EDX */
#define MSR_MCG_CAP       0x179u
#define   CAP_COUNT         0xffu
#define   CAP_CTL           (1u << 8)
#define MSR_MCG_CTL       0x17bu
#define MSR_CTL(bank)     (0x400u + 4 * (bank))
#define MSR_STATUS(bank)  (0x401u + 4 * (bank))
#define   STATUS_VALID      (1ull << 63)
#define   STATUS_OVERFLOW   (1ull << 62)
#define   STATUS_UC         (1ull << 61)
#define   STATUS_ADDRESS    (1ull << 58)
#define   STATUS_PCC        (1ull << 57)
#define   STATUS_CODE       0xefffu            /* bit 12 is no part of it: a filter for corrected errors */
#define MSR_ADDRESS(bank) (0x402u + 4 * (bank))

/* Error codes, SDM volume 3, 16.9; the first row that fits. */
static const struct {
    uint16_t mask, value;
    const char *words;
} codes[] = {
    { 0xffff, 0x0000, "no error" },
    { 0xffff, 0x0001, "unclassified error" },
    { 0xffff, 0x0002, "parity of the microcode ROM" },
    { 0xffff, 0x0003, "error of another processor" },
    { 0xffff, 0x0004, "functional redundancy check" },
    { 0xffff, 0x0005, "internal parity" },
    { 0xffff, 0x0006, "SMM handler outside its memory" },
    { 0xffff, 0x0400, "internal timer" },
    { 0xfc00, 0x0400, "internal error" },
    { 0xfffc, 0x000c, "cache hierarchy" },
    { 0xfff0, 0x0010, "TLB" },
    { 0xff80, 0x0080, "memory controller" },
    { 0xff00, 0x0100, "cache" },
    { 0xff80, 0x0280, "memory as cache" },
    { 0xf800, 0x0800, "bus or interconnect" },
    { 0x0000, 0x0000, "unknown error" },
};

static const char *words_of(uint64_t status)
{
    unsigned i = 0;
    while ((status & STATUS_CODE & codes[i].mask) != codes[i].value)
        i++;
    return codes[i].words;
}

void machine_check_describe(char *text, size_t size, unsigned bank, uint64_t status, uint64_t address)
{
    char where[32] = "";
    if (status & STATUS_ADDRESS)
        format_text(where, sizeof(where), " at 0x%llx", (unsigned long long)address);
    format_text(text, size, "bank %u: %s%s%s%s%s, status 0x%llx", bank, words_of(status), where,
                status & STATUS_UC ? ", not corrected" : ", corrected",
                status & STATUS_PCC ? ", the processor's state is damaged" : "",
                status & STATUS_OVERFLOW ? ", others were lost" : "", (unsigned long long)status);
}

static unsigned banks(void)
{
    return (cpuid(1, 0).edx & CPUID_HAS_MCA) == CPUID_HAS_MCA ? rdmsr(MSR_MCG_CAP) & CAP_COUNT : 0;
}

static void tell(const char *when)
{
    for (unsigned i = 0; i < banks(); i++) {
        char text[160];
        uint64_t status = rdmsr(MSR_STATUS(i));
        if (!(status & STATUS_VALID))
            continue;
        machine_check_describe(text, sizeof(text), i, status, status & STATUS_ADDRESS ? rdmsr(MSR_ADDRESS(i)) : 0);
        log_line("machine check%s: %s", when, text);
    }
}

/* 16.8: a processor whose bank has its control register 0 would go on with what it could not correct. */
void machine_check_init(void)
{
    tell(" before nidus started");
    if (banks() != 0 && (rdmsr(MSR_MCG_CAP) & CAP_CTL))
        wrmsr(MSR_MCG_CTL, ~0ull);
    for (unsigned i = 0; i < banks(); i++) {
        wrmsr(MSR_CTL(i), ~0ull);
        wrmsr(MSR_STATUS(i), 0);
    }
}

void machine_check_report(void)
{
    tell("");
}
