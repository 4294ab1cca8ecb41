/* SPDX-License-Identifier: BSD-2-Clause */
/* Step 2: what GET_HW_INFO says of the unit, decoded. */
#include <stdio.h>

#include "guests/runtime/check.h"
#include "guests/dma-check/steps.h"

struct bit {
    unsigned bit;
    const char *name;
};

/* Spec 11.4.2 and 11.4.3; the order is the registers'. */
static const struct bit cap_bits[] = {
    { 4, "RWBF" }, { 7, "CM" }, { 34, "SSLPS-2M" }, { 35, "SSLPS-1G" }, { 39, "PSI" }, { 56, "FS1GP" },
    { 59, "PI" }, { 60, "FS5LP" }, { 62, "ESIRTPS" }, { 63, "ESRTPS" },
};
static const struct bit ecap_bits[] = {
    { 0, "C" }, { 1, "QI" }, { 2, "DT" }, { 3, "IR" }, { 4, "EIM" }, { 6, "PT" }, { 7, "SC" }, { 26, "NEST" },
    { 29, "PRS" }, { 31, "SRS" }, { 34, "EAFS" }, { 40, "PASID" }, { 43, "SMTS" }, { 45, "SSADS" }, { 46, "SSTS" },
    { 47, "FSTS" }, { 48, "SMPWCS" }, { 49, "RPS" },
};
#define ECAP_NEST (1ULL << 26)
#define ECAP_SMTS (1ULL << 43)

static void names_of(uint64_t value, const struct bit *bits, unsigned count, char *out, size_t size)
{
    int n = 0;

    out[0] = 0;
    for (unsigned i = 0; i < count; i++)
        if (value >> bits[i].bit & 1 && (size_t)n < size)
            n += snprintf(out + n, size - (size_t)n, " %s", bits[i].name);
}

static unsigned field(uint64_t value, unsigned high, unsigned low)
{
    return (unsigned)(value >> low & ((2ULL << (high - low)) - 1));
}

void step_hw_info(struct rig *r)
{
    uint64_t cap = r->unit.cap_reg, ecap = r->unit.ecap_reg;
    bool set = r->unit.flags & NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17;
    bool nested = (guest_info->flags & NIDUS_GUEST_NESTED) != 0;
    char names[160];

    check_step("2", "hw_info");
    names_of(cap, cap_bits, sizeof(cap_bits) / sizeof(cap_bits[0]), names, sizeof(names));
    check(cap != 0 && cap != UINT64_MAX, "CAP 0x%llx: %u-bit domain ids, SAGAW 0x%x, MGAW %u, %u fault record%s,%s",
          (unsigned long long)cap, 4 + 2 * field(cap, 2, 0), field(cap, 12, 8), field(cap, 21, 16) + 1, field(cap, 47, 40) + 1,
          field(cap, 47, 40) ? "s" : "", names);
    names_of(ecap, ecap_bits, sizeof(ecap_bits) / sizeof(ecap_bits[0]), names, sizeof(names));
    check((ecap & ECAP_SMTS) && (!nested || (ecap & ECAP_NEST)), "ECAP 0x%llx:%s", (unsigned long long)ecap, names);
    check(r->errata == ERRATA_ANY || set == (r->errata == ERRATA_SET), "erratum 772415: flag %u%s", set,
          r->errata == ERRATA_ANY ? "" : r->errata == ERRATA_SET ? ", expected 1" : ", expected 0");
}
