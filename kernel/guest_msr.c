/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/guest_msr.h"

#include <stddef.h>

#include "kernel/cpu.h"
#include "kernel/guest.h"

#define APIC_BASE_START 0xfee00d00u    /* x2APIC, enabled, this is the boot CPU */

/* SVME is nidus's own, and long mode stays as it is. */
static bool read_efer(struct guest *g, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = guest_cpu->get(g->vcpu, VCPU_EFER);
    return true;
}

static bool write_efer(struct guest *g, uint32_t msr, uint64_t value)
{
    (void)msr;
    const uint64_t may_change = EFER_SCE | EFER_NXE;
    uint64_t efer = guest_cpu->get(g->vcpu, VCPU_EFER);
    if ((value ^ efer) & ~(may_change | EFER_LMA))
        return false;
    guest_cpu->set(g->vcpu, VCPU_EFER, (efer & ~may_change) | (value & may_change));
    return true;
}

static bool read_apic_base(struct guest *g, uint32_t msr, uint64_t *value)
{
    (void)g, (void)msr;
    *value = APIC_BASE_START;
    return true;
}

/* There is no other mode and no other place. */
static bool write_apic_base(struct guest *g, uint32_t msr, uint64_t value)
{
    (void)g, (void)msr;
    return value == APIC_BASE_START;
}

static const struct row {
    uint32_t first, last;
    enum { EXITS, READ_DIRECT, DIRECT } how;
    bool (*read)(struct guest *g, uint32_t msr, uint64_t *value);
    bool (*write)(struct guest *g, uint32_t msr, uint64_t value);
} rows[] = {
    { 0x10, 0x10, READ_DIRECT, NULL, NULL },    /* TSC: reads as RDTSC does; a write would move nidus's clock */
    { MSR_APIC_BASE, MSR_APIC_BASE, EXITS, read_apic_base, write_apic_base },
    { 0x174, 0x176, DIRECT, NULL, NULL },       /* SYSENTER_CS, ESP, EIP: switched by hardware, as PAT, FS.base and GS.base are */
    { MSR_PAT, MSR_PAT, DIRECT, NULL, NULL },
    { MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, EXITS, guest_apic_read, guest_apic_write },
    { MSR_X2APIC, MSR_X2APIC + GUEST_APIC_REGISTERS - 1, EXITS, guest_apic_read, guest_apic_write },
    { MSR_EFER, MSR_EFER, EXITS, read_efer, write_efer },
    { 0xc0000081, 0xc0000084, DIRECT, NULL, NULL }, /* STAR, LSTAR, CSTAR, SFMASK: switched by VMLOAD, or with the guest on VMX */
    { 0xc0000100, 0xc0000102, DIRECT, NULL, NULL }, /* FS.base, GS.base, KernelGSbase */
};

static const struct row *find(uint32_t msr)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (msr >= rows[i].first && msr <= rows[i].last)
            return &rows[i];
    return NULL;
}

void guest_msr_direct(void (*allow)(uint32_t msr, bool write))
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (uint32_t msr = rows[i].first; msr <= rows[i].last && rows[i].how != EXITS; msr++)
            allow(msr, rows[i].how == DIRECT);
}

bool guest_msr_read(struct guest *g, uint32_t msr, uint64_t *value)
{
    const struct row *r = find(msr);
    return r != NULL && r->read != NULL && r->read(g, msr, value);
}

bool guest_msr_write(struct guest *g, uint32_t msr, uint64_t value)
{
    const struct row *r = find(msr);
    return r != NULL && r->write != NULL && r->write(g, msr, value);
}
