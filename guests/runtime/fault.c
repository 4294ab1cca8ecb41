/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/fault.h"

#include <stdio.h>

#define INDEX_SHIFT 48      /* nidus_fault.addr of an interrupt request */

const char *fault_reason(uint8_t code)
{
    static const struct {
        uint8_t code;
        const char *words;
    } reasons[] = {
        { 0x20, "reserved bits in an interrupt request" },
        { 0x21, "interrupt index beyond the table" },
        { 0x22, "interrupt entry not present" },
        { 0x25, "compatibility-format interrupt blocked" },
        { 0x26, "interrupt's source not allowed" },
        { 0x29, "interrupt range accessed by something else than a DWORD write" },
        { 0x41, "context entry not present" },
        { 0x51, "PASID directory entry not present" },
        { 0x59, "PASID entry not present" },
        { 0x5a, "reserved bits in the PASID entry" },
        { 0x5b, "PASID entry invalid" },
        { 0x70, "first-stage table not accessible" },
        { 0x71, "first-stage entry not present" },
        { 0x72, "reserved bits in a first-stage entry" },
        { 0x73, "top first-stage table not accessible" },
        { 0x74, "first-stage entry beyond the second stage" },
        { 0x75, "top first-stage table not readable in the second stage" },
        { 0x76, "first-stage table not readable in the second stage" },
        { 0x77, "first-stage table not writable in the second stage, A or D not set" },
        { 0x78, "second-stage table not accessible" },
        { 0x79, "second-stage entry not present" },
        { 0x7a, "reserved bits in a second-stage entry" },
        { 0x80, "address not canonical" },
        { 0x81, "supervisor page" },
        { 0x85, "write not permitted" },
        { 0x86, "read not permitted" },
        { 0x87, "output in the interrupt range" },
        { 0x90, "A or D to be set by a walk without snooping" },
        { 0x91, "A or D not set" },
    };

    for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return reasons[i].words;
    return "reason not known";
}

void fault_describe(const struct nidus_fault *f, char *out, size_t size)
{
    static const char *const access[] = { "write to", "page request for", "read of", "atomic on" };
    int n = snprintf(out, size, "%02xh %s: ", f->reason, fault_reason(f->reason));

#define MORE(...) n += snprintf(out + n, (size_t)n < size ? size - (size_t)n : 0, __VA_ARGS__)
    if (f->stage == NIDUS_FAULT_STAGE_INTERRUPT) {
        MORE("interrupt request, index %u", (unsigned)(f->addr >> INDEX_SHIFT));
        return;
    }
    MORE("%s 0x%llx", access[f->access & 3], (unsigned long long)f->addr);
    if (f->stage != NIDUS_FAULT_STAGE_NONE)
        MORE(", %s stage", f->stage == NIDUS_FAULT_STAGE_FIRST ? "first" : "second");
    if (f->level)
        MORE(" level %u", f->level);
    if (f->flags & NIDUS_FAULT_GPA_VALID)
        MORE(", GPA 0x%llx", (unsigned long long)f->gpa);
    if (f->first_level)
        MORE(" (a first-stage table of level %u)", f->first_level);
#undef MORE
}
