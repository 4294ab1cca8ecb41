/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vmx/check.h"

#include <stddef.h>

#include "kernel/cpu.h"

#define CR4_PCIDE     (1ull << 17)
#define HIGH          0xffffffff00000000ull
#define RIGHTS_P_S    0x90u
#define RIGHTS_BIG    (1u << 14)
#define SHADOW_STI    1u
#define DEBUGCTL_BTF  (1u << 1)
#define CANONICAL     UINT64_MAX

/* What holds of a field by itself. */
static const struct {
    enum vmcs_field field;
    const char *name;
    uint64_t zeroes, ones;      /* bits that must be so; zeroes CANONICAL: an address */
} fields[] = {
    { VMCS_CR0, "CR0", HIGH, CR0_NE },
    { VMCS_CR4, "CR4", HIGH, CR4_VMXE },
    { VMCS_CR3, "CR3", 0xfff0000000000000, 0 },
    { VMCS_DR7, "DR7", HIGH, 0 },
    { VMCS_DEBUGCTL, "DEBUGCTL", ~0xffc3ull, 0 },
    { VMCS_EFER, "EFER", ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE), 0 },
    { VMCS_SYSENTER_ESP, "SYSENTER_ESP", CANONICAL, 0 },
    { VMCS_SYSENTER_EIP, "SYSENTER_EIP", CANONICAL, 0 },
    { VMCS_CS_BASE, "CS base", HIGH, 0 },
    { VMCS_CS_RIGHTS, "CS access rights", RIGHTS_UNUSABLE, RIGHTS_P_S },
    { VMCS_FS_BASE, "FS base", CANONICAL, 0 },
    { VMCS_GS_BASE, "GS base", CANONICAL, 0 },
    { VMCS_TR, "TR", 4, 0 },
    { VMCS_TR_BASE, "TR base", CANONICAL, 0 },
    { VMCS_TR_RIGHTS, "TR access rights", RIGHTS_UNUSABLE | 0x10, 0x83 },
    { VMCS_GDTR_BASE, "GDTR base", CANONICAL, 0 },
    { VMCS_GDTR_LIMIT, "GDTR limit", ~0xffffull, 0 },
    { VMCS_IDTR_BASE, "IDTR base", CANONICAL, 0 },
    { VMCS_IDTR_LIMIT, "IDTR limit", ~0xffffull, 0 },
    { VMCS_RIP, "RIP", CANONICAL, 0 },
    { VMCS_RFLAGS, "RFLAGS", 0xffffffffffc08028, 2 },
    { VMCS_ACTIVITY, "activity state", ~3ull, 0 },
    { VMCS_INTERRUPTIBILITY, "interruptibility", ~0x1full, 0 },
    { VMCS_PENDING_DEBUG, "pending debug exceptions", ~0x1500full, 0 },
    { VMCS_LINK, "VMCS link pointer", 0, ~0ull },
};

typedef uint64_t reader(enum vmcs_field field);

static bool paging_contradicts(reader *read)
{
    uint64_t cr0 = read(VMCS_CR0), cr4 = read(VMCS_CR4);
    bool wide = read(VMCS_ENTRY) & ENTRY_64_BIT;
    return ((cr0 & CR0_PG) && !(cr0 & CR0_PE)) || (wide && (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE))) || (!wide && (cr4 & CR4_PCIDE));
}

static bool efer_contradicts(reader *read)
{
    uint64_t efer = read(VMCS_EFER);
    return !(efer & EFER_LMA) != !(read(VMCS_ENTRY) & ENTRY_64_BIT) ||
           ((read(VMCS_CR0) & CR0_PG) && !(efer & EFER_LMA) != !(efer & EFER_LME));
}

static bool pat_is_wrong(reader *read)
{
    uint64_t pat = read(VMCS_PAT);
    for (unsigned i = 0; i < 64; i += 8)
        if ((pat >> i & 0xff) > 7 || (pat >> i & 0xff) == 2 || (pat >> i & 0xff) == 3)
            return true;
    return false;
}

static bool code_contradicts(reader *read)
{
    uint64_t cs = read(VMCS_CS_RIGHTS);
    return (cs & RIGHTS_LONG) ? (cs & RIGHTS_BIG) : read(VMCS_RIP) & HIGH;
}

static bool shadow_contradicts(reader *read)
{
    uint64_t shadow = read(VMCS_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW;
    return shadow == INTERRUPTIBILITY_SHADOW || (shadow == SHADOW_STI && !(read(VMCS_RFLAGS) & RFLAGS_IF));
}

/* Where STI or MOV SS holds back debug exceptions, a single step is pending exactly when RFLAGS asks for steps. */
static bool step_contradicts(reader *read)
{
    bool step = (read(VMCS_RFLAGS) & RFLAGS_TF) && !(read(VMCS_DEBUGCTL) & DEBUGCTL_BTF);
    return (read(VMCS_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) && step != !!(read(VMCS_PENDING_DEBUG) & PENDING_DEBUG_BS);
}

static bool event_contradicts(reader *read)
{
    uint64_t event = read(VMCS_ENTRY_EVENT);
    return (event & EVENT_VALID) && (event & EVENT_TYPE) == EVENT_INTERRUPT &&
           (!(read(VMCS_RFLAGS) & RFLAGS_IF) || (read(VMCS_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW));
}

/* What holds of several. */
static const struct {
    bool (*broken)(reader *read);
    const char *words;
} rules[] = {
    { paging_contradicts, "CR0, CR4 and the control for 64-bit mode" },
    { efer_contradicts, "EFER, CR0 and the control for 64-bit mode" },
    { pat_is_wrong, "PAT" },
    { code_contradicts, "CS access rights and RIP" },
    { shadow_contradicts, "interruptibility and RFLAGS.IF" },
    { step_contradicts, "RFLAGS.TF, interruptibility and pending debug exceptions" },
    { event_contradicts, "an interrupt that RFLAGS.IF or a shadow holds back" },
};

const char *vmx_wrong_guest_field(reader *read)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t value = read(fields[i].field);
        bool right = fields[i].zeroes == CANONICAL ? (uint64_t)((int64_t)(value << 16) >> 16) == value
                                                   : !(value & fields[i].zeroes) && (value & fields[i].ones) == fields[i].ones;
        if (!right)
            return fields[i].name;
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].broken(read))
            return rules[i].words;
    return NULL;
}
