/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmx.c: the vCPU on Intel VMX with EPT (SDM volume 3, chapters 24 to 34).
 *
 * Asked of the processor: what kernel/vmx/capability.c lists; what is missing is named.  Each guest has a VPID and
 * an EPT pointer of its own, and what a former guest left under them is invalidated when it is created; nidus adds to a live guest's EPT
 * but never takes from it, so nothing needs an invalidation after that, save what an emulated instruction itself would have flushed.
 */
#include <string.h>

#include "iommu/platform.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/guest_msr.h"
#include "kernel/log.h"
#include "kernel/trap.h"
#include "kernel/time.h"
#include "kernel/vcpu.h"
#include "kernel/vmx/capability.h"
#include "kernel/vmx/check.h"
#include "kernel/vmx/vmcs.h"

#define CPUID_HAS_VMX   (1u << 5) /* 1 ECX */
#define CR0_CACHE       (CR0_CD | CR0_NW)
#define CR0_OWNED       (CR0_NE | CR0_CACHE)
#define DR6_CAUSES      0xe00full /* B3:B0, BD, BS, BT */
#define DR7_GD          (1ull << 13)
#define VECTOR_GP       13u
#define VECTOR_MC       18u

/* MSRs of a guest's that VMX does not switch and nidus does not use: they stay in the processor until another guest runs. */
static const uint32_t switched_msrs[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084 /* STAR, LSTAR, CSTAR, SFMASK */,
                                          0xc0000102 /* KernelGSbase */ };
#define SWITCHED_MSRS (sizeof(switched_msrs) / sizeof(switched_msrs[0]))

struct vcpu {
    uint32_t *vmcs;
    uint64_t phys;              /* of vmcs */
    struct guest *guest;
    uint16_t vpid;              /* one for each place in guests[]; 0 is nidus */
    bool launched, window;      /* window: it leaves as soon as it can take an interrupt */
    uint64_t msr[SWITCHED_MSRS], cr2, dr6;
};
_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "create() gives it a page");

/* Page-sized, for the processor: its own region, and the bitmap that every guest's VMCS points to. */
struct vmx_pages {
    uint8_t vmxon[PAGE_SIZE];
    uint8_t msr_bitmap[PAGE_SIZE];
};

static struct vmx_pages *pages;
static struct vcpu *loaded;     /* whose VMCS is current, and whose MSRs the processor holds */
static struct vmx_capabilities vmx;

/* Four bitmaps of 1 KiB, SDM 25.6.9: reads of 0h to 1fffh, of c0000000h to c0001fffh, then writes. */
static void allow_msr(uint32_t msr, bool write)
{
    uint8_t *read = pages->msr_bitmap + (msr >> 30 == 3 ? 0x400 : 0) + (msr & 0x1fff) / 8;
    uint8_t bit = (uint8_t)(1u << msr % 8);
    *read &= ~bit;
    if (write)
        read[0x800] &= ~bit;
}

static bool present(void)
{
    return cpuid(1, 0).ecx & CPUID_HAS_VMX;
}

static bool probe(const char **reason)
{
    *reason = vmx_lacks(rdmsr, &vmx);
    return *reason == NULL;
}

static void cpu_init(void)
{
    uint64_t feature = rdmsr(MSR_FEATURE_CONTROL);
    if (!(feature & FEATURE_LOCK))
        wrmsr(MSR_FEATURE_CONTROL, feature | FEATURE_LOCK | FEATURE_VMX);
    pages = platform_pages_alloc(NULL, 1);
    if (pages == NULL)
        platform_panic("no 8 KiB of memory for VMX");
    memcpy(pages->vmxon, &vmx.revision, sizeof(vmx.revision));
    memset(pages->msr_bitmap, 0xff, sizeof(pages->msr_bitmap));
    guest_msr_direct(allow_msr);

    write_cr0(read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0));
    write_cr4(read_cr4() | CR4_VMXE);
    uint64_t phys = platform_phys(pages->vmxon);
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(phys) : "memory");
    if (failed)
        platform_panic("VMXON failed");
}

static unsigned page_sizes(void)
{
    return STAGE2_2M | (vmx.ept_vpid & EPT_VPID_1G ? STAGE2_1G : 0);
}

/* INVEPT, INVVPID: of the one context that the descriptor names. */
#define INVALIDATE(instruction, value)                                                                                        \
    do {                                                                                                                      \
        const uint64_t descriptor[2] = { value, 0 };                                                                          \
        __asm__ volatile(instruction " %0, %1" : : "m"(descriptor), "r"((uint64_t)1) : "cc", "memory");                       \
    } while (0)

static void flush_linear(const struct vcpu *v)
{
    INVALIDATE("invvpid", v->vpid);
}

void vmcs_write_failed(enum vmcs_field field)
{
    platform_panic("VMWRITE of field 0x%x failed: error %llu", field, (unsigned long long)vmcs_read(VMCS_INSTRUCTION_ERROR));
}

/* What does not depend on the guest.  All other fields that the controls make the processor look at are in set_up(). */
static const struct {
    enum vmcs_field field;
    uint64_t value;
} constants[] = {
    { VMCS_EXCEPTIONS, VCPU_ALL_EXCEPTIONS },
    { VMCS_PF_MASK, 0 }, { VMCS_PF_MATCH, 0 }, { VMCS_CR3_TARGETS, 0 },
    { VMCS_EXIT_STORES, 0 }, { VMCS_EXIT_LOADS, 0 }, { VMCS_ENTRY_LOADS, 0 }, { VMCS_ENTRY_EVENT, 0 },
    { VMCS_LINK, ~0ull }, { VMCS_DEBUGCTL, 0 }, { VMCS_PAT, VCPU_START_PAT }, { VMCS_EFER, VCPU_START_EFER },
    { VMCS_CS, VCPU_START_CODE }, { VMCS_CS_RIGHTS, RIGHTS_CODE64 }, { VMCS_CS_LIMIT, ~0u }, { VMCS_CS_BASE, 0 },
    { VMCS_SS, VCPU_START_DATA }, { VMCS_SS_RIGHTS, RIGHTS_DATA }, { VMCS_SS_LIMIT, ~0u }, { VMCS_SS_BASE, 0 },
    { VMCS_DS, VCPU_START_DATA }, { VMCS_DS_RIGHTS, RIGHTS_DATA }, { VMCS_DS_LIMIT, ~0u }, { VMCS_DS_BASE, 0 },
    { VMCS_ES, VCPU_START_DATA }, { VMCS_ES_RIGHTS, RIGHTS_DATA }, { VMCS_ES_LIMIT, ~0u }, { VMCS_ES_BASE, 0 },
    { VMCS_FS, VCPU_START_DATA }, { VMCS_FS_RIGHTS, RIGHTS_DATA }, { VMCS_FS_LIMIT, ~0u }, { VMCS_FS_BASE, 0 },
    { VMCS_GS, VCPU_START_DATA }, { VMCS_GS_RIGHTS, RIGHTS_DATA }, { VMCS_GS_LIMIT, ~0u }, { VMCS_GS_BASE, 0 },
    { VMCS_LDTR, 0 }, { VMCS_LDTR_RIGHTS, RIGHTS_UNUSABLE }, { VMCS_LDTR_LIMIT, 0 }, { VMCS_LDTR_BASE, 0 },
    { VMCS_TR, 0 }, { VMCS_TR_RIGHTS, RIGHTS_TSS_BUSY }, { VMCS_TR_LIMIT, 0xffff }, { VMCS_TR_BASE, 0 },
    { VMCS_IDTR_LIMIT, 0 }, { VMCS_IDTR_BASE, 0 },
    { VMCS_INTERRUPTIBILITY, 0 }, { VMCS_ACTIVITY, 0 }, { VMCS_PENDING_DEBUG, 0 },
    { VMCS_SYSENTER_CS, 0 }, { VMCS_SYSENTER_ESP, 0 }, { VMCS_SYSENTER_EIP, 0 },
    { VMCS_DR7, VCPU_START_DR7 }, { VMCS_RFLAGS, VCPU_START_RFLAGS }, { VMCS_RSP, 0 },
    /* CR0: NE is 1 whatever a guest writes (A.7), and no entry or exit switches CD and NW: they stay nidus's. */
    { VMCS_CR0_MASK, CR0_OWNED }, { VMCS_CR0_SHADOW, VCPU_START_CR0 }, { VMCS_CR0, VCPU_START_CR0 },
    { VMCS_CR4_MASK, ~0ull }, { VMCS_CR4_SHADOW, VCPU_START_CR4 }, { VMCS_CR4, VCPU_START_CR4 | CR4_VMXE },
    { VMCS_HOST_CS, SELECTOR_CODE }, { VMCS_HOST_SS, SELECTOR_DATA }, { VMCS_HOST_DS, SELECTOR_DATA }, { VMCS_HOST_ES, SELECTOR_DATA },
    { VMCS_HOST_FS, 0 }, { VMCS_HOST_GS, 0 }, { VMCS_HOST_TR, SELECTOR_TSS }, { VMCS_HOST_FS_BASE, 0 }, { VMCS_HOST_GS_BASE, 0 },
    { VMCS_HOST_SYSENTER_CS, 0 }, { VMCS_HOST_SYSENTER_ESP, 0 }, { VMCS_HOST_SYSENTER_EIP, 0 },
    { VMCS_HOST_RIP, (uint64_t)vmx_exit },
};

static void set_up(struct vcpu *v, struct stage2 *memory, const struct vcpu_start *start)
{
    for (unsigned i = 0; i < CONTROLS; i++)
        vmcs_write(vmx_controls[i].field, vmx.controls[i]);
    for (unsigned i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
        vmcs_write(constants[i].field, constants[i].value);
    uint64_t ept = platform_phys(memory->root) | EPT_POINTER_WB | EPT_POINTER_LEVELS(memory->levels) |
                   (vmx.ept_vpid & EPT_VPID_DIRTY ? EPT_POINTER_DIRTY : 0);
    vmcs_write(VMCS_EPT_POINTER, ept);
    vmcs_write(VMCS_VPID, v->vpid);
    INVALIDATE("invept", ept);
    flush_linear(v);
    vmcs_write(VMCS_MSR_BITMAP, platform_phys(pages->msr_bitmap));
    if (vmx.controls[PROC2] & PROC2_ENCLS)
        vmcs_write(VMCS_ENCLS_BITMAP, ~0ull);

    vmcs_write(VMCS_CR3, start->cr3);
    vmcs_write(VMCS_RIP, start->rip);
    vmcs_write(VMCS_GDTR_BASE, start->gdt);
    vmcs_write(VMCS_GDTR_LIMIT, start->gdt_size - 1u);

    struct trap_tables t = traps_tables();
    vmcs_write(VMCS_HOST_GDTR_BASE, t.gdt);
    vmcs_write(VMCS_HOST_IDTR_BASE, t.idt);
    vmcs_write(VMCS_HOST_TR_BASE, t.tss);
    vmcs_write(VMCS_HOST_CR0, read_cr0());
    vmcs_write(VMCS_HOST_CR3, read_cr3());
    vmcs_write(VMCS_HOST_CR4, read_cr4());
    vmcs_write(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmcs_write(VMCS_HOST_EFER, rdmsr(MSR_EFER));
}

static void load(struct vcpu *v)
{
    if (loaded == v)
        return;
    if (loaded != NULL) {
        loaded->cr2 = read_cr2();
        __asm__ volatile("mov %%db6, %0" : "=r"(loaded->dr6));
    }
    for (unsigned i = 0; i < SWITCHED_MSRS; i++) {
        if (loaded != NULL)
            loaded->msr[i] = rdmsr(switched_msrs[i]);
        wrmsr(switched_msrs[i], v->msr[i]);
    }
    write_cr2(v->cr2);
    __asm__ volatile("mov %0, %%db6" : : "r"(v->dr6));
    __asm__ volatile("vmptrld %0" : : "m"(v->phys) : "cc", "memory");
    loaded = v;
}

static struct vcpu *create(struct guest *guest, struct stage2 *memory, const struct vcpu_start *start)
{
    uint8_t *two_pages = platform_pages_alloc(NULL, 1);
    if (two_pages == NULL)
        return NULL;
    struct vcpu *v = (struct vcpu *)(two_pages + PAGE_SIZE);
    *v = (struct vcpu){ .vmcs = (uint32_t *)two_pages, .phys = platform_phys(two_pages), .guest = guest, .vpid = (uint16_t)(guest - guests + 1), .dr6 = VCPU_START_DR6 };
    v->vmcs[0] = vmx.revision;
    __asm__ volatile("vmclear %0" : : "m"(v->phys) : "cc", "memory");
    load(v);
    set_up(v, memory, start);
    return v;
}

static void destroy(struct vcpu *v)
{
    if (loaded == v)
        loaded = NULL;
    __asm__ volatile("vmclear %0" : : "m"(v->phys) : "cc", "memory");
    void *two_pages = v->vmcs;
    memset(two_pages, 0, PAGE_SIZE << 1);
    platform_pages_free(NULL, two_pages, 1);
}

/* Where a register is; 0: in guest->gpr[], or get() knows. */
static const uint16_t places[VCPU_REGISTERS] = {
    [VCPU_RSP] = VMCS_RSP, [VCPU_RIP] = VMCS_RIP, [VCPU_RFLAGS] = VMCS_RFLAGS, [VCPU_CR0] = VMCS_CR0_SHADOW, [VCPU_CR3] = VMCS_CR3,
    [VCPU_CR4] = VMCS_CR4_SHADOW, [VCPU_EFER] = VMCS_EFER,
};

static uint64_t get(struct vcpu *v, enum vcpu_register r)
{
    if (r == VCPU_CPL)
        return RIGHTS_DPL(vmcs_read(VMCS_SS_RIGHTS));
    if (r == VCPU_CR2)
        return read_cr2();
    if (r == VCPU_CODE_BASE)
        return vmcs_read(VMCS_CS_RIGHTS) & RIGHTS_LONG ? 0 : vmcs_read(VMCS_CS_BASE);
    if (r == VCPU_CR0)
        return (vmcs_read(VMCS_CR0) & ~CR0_OWNED) | (vmcs_read(VMCS_CR0_SHADOW) & CR0_OWNED);
    return places[r] != 0 ? vmcs_read(places[r]) : v->guest->gpr[r % VCPU_GPRS];
}

static void set(struct vcpu *v, enum vcpu_register r, uint64_t value)
{
    if (places[r] == 0)
        v->guest->gpr[r % VCPU_GPRS] = value;
    else
        vmcs_write(places[r], value);
    if (r == VCPU_CR4)
        vmcs_write(VMCS_CR4, value | CR4_VMXE);
    if (r == VCPU_CR0)
        vmcs_write(VMCS_CR0, (value & ~CR0_CACHE) | CR0_NE);
    if (r >= VCPU_CR0)
        flush_linear(v);
}

static void end_shadow(void)
{
    uint64_t state = vmcs_read(VMCS_INTERRUPTIBILITY);
    if (state & INTERRUPTIBILITY_SHADOW)
        vmcs_write(VMCS_INTERRUPTIBILITY, state & ~(uint64_t)INTERRUPTIBILITY_SHADOW);
}

static void skip(struct vcpu *v, unsigned length)
{
    (void)v;
    vmcs_write(VMCS_RIP, vmcs_read(VMCS_RIP) + length);
    end_shadow();
    if (vmcs_read(VMCS_RFLAGS) & RFLAGS_TF)
        vmcs_write(VMCS_PENDING_DEBUG, vmcs_read(VMCS_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

static void ask_for_window(struct vcpu *v, bool wanted)
{
    if (v->window == wanted)
        return;
    v->window = wanted;
    vmcs_write(VMCS_PROC, vmx.controls[PROC] | (wanted ? PROC_INTERRUPT_WINDOW : 0));
}

static bool interrupt(struct vcpu *v, unsigned vector)
{
    bool can = (vmcs_read(VMCS_RFLAGS) & RFLAGS_IF) && !(vmcs_read(VMCS_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) &&
               !(vmcs_read(VMCS_ENTRY_EVENT) & EVENT_VALID);
    if (can)
        vmcs_write(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_INTERRUPT | vector);
    ask_for_window(v, !can);
    return can;
}

/* The preemption timer counts while the guest runs, and needs no interrupt. */
static void arm(struct vcpu *v, uint64_t ticks)
{
    (void)v;
    if (vmx.controls[PIN] & PIN_TIMER)
        vmcs_write(VMCS_TIMER, ticks >> vmx.timer_shift);
    else
        tick_arm(tsc_to_ns(ticks));
}

static bool inject(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
    (void)v;
    if (vmcs_read(VMCS_IDTR_LIMIT) == 0)
        return false;
    vmcs_write(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_EXCEPTION | vector | (has_error ? EVENT_HAS_ERROR : 0));
    vmcs_write(VMCS_ENTRY_ERROR, error);
    return true;
}

/* A guest that has an IDT gets its exception: a fault by running the instruction again without the intercept. */
static void pass_exception(uint32_t event, struct vcpu_exit *exit)
{
    unsigned vector = event & EVENT_VECTOR;
    exit->kind = VCPU_EXIT_EVENT;
    vmcs_write(VMCS_EXCEPTIONS, 1u << VECTOR_MC | VCPU_ENDLESS_EXCEPTIONS);
    if (!(VCPU_ENDLESS_EXCEPTIONS & 1u << vector))
        return;
    if (vector == VECTOR_DB) {  /* neither the exit nor the injection does what delivery does to DR6 and DR7 (28.1) */
        uint64_t dr6;
        __asm__ volatile("mov %%db6, %0" : "=r"(dr6));
        __asm__ volatile("mov %0, %%db6" : : "r"((dr6 & ~DR6_CAUSES) | (vmcs_read(VMCS_QUALIFICATION) & DR6_CAUSES)));
        vmcs_write(VMCS_DR7, vmcs_read(VMCS_DR7) & ~DR7_GD);
        end_shadow();           /* a step of STI: with TF and its shadow, but no pending BS, the entry would fail (27.3.1.5) */
    }
    vmcs_write(VMCS_ENTRY_EVENT, event & EVENT_FIELDS);
    vmcs_write(VMCS_ENTRY_ERROR, vmcs_read(VMCS_EXIT_ERROR));
    vmcs_write(VMCS_ENTRY_LENGTH, vmcs_read(VMCS_EXIT_LENGTH)); /* looked at for INT1's #DB */
}

static void decode_exception(struct vcpu *v, struct vcpu_exit *exit)
{
    uint32_t event = (uint32_t)vmcs_read(VMCS_EXIT_EVENT);
    if ((event & EVENT_TYPE) == EVENT_NMI) {    /* swallowed with the exit: its handler runs now, and its IRET lets the next one come */
        __asm__ volatile("int $2");
        exit->kind = VCPU_EXIT_INTERRUPT;
        return;
    }
    if ((event & EVENT_VECTOR) == VECTOR_MC)
        vcpu_machine_check(v->guest);
    if (vmcs_read(VMCS_IDTR_LIMIT) != 0)
        pass_exception(event, exit);
    else
        vcpu_exception(exit, event & EVENT_VECTOR, vmcs_read(VMCS_EXIT_ERROR), vmcs_read(VMCS_QUALIFICATION));
}

/* A guest that changes CD, NW or NE sees what it wrote; the rest of the register is as it wants. */
static void set_cr0(struct vcpu *v, struct vcpu_exit *exit)
{
    uint64_t value = get(v, exit->gpr);
    exit->kind = VCPU_EXIT_EVENT;
    if ((value >> 32) != 0 || (value & CR0_CACHE) == CR0_NW) {
        inject(v, VECTOR_GP, true, 0);
        return;
    }
    if ((value ^ get(v, VCPU_CR0)) & (CR0_PG | CR0_PE)) {
        exit->kind = VCPU_EXIT_OTHER;
        exit->text = vcpu_text("a move of 0x%llx to CR0: paging and caching are not changed in one",
                    (unsigned long long)value);
        return;
    }
    set(v, VCPU_CR0, value);
    skip(v, exit->length);
}

static void decode_cr(struct vcpu *v, struct vcpu_exit *exit)
{
    uint64_t q = vmcs_read(VMCS_QUALIFICATION);
    exit->number = CR_NUMBER(q);
    exit->write = !CR_FROM(q);
    exit->gpr = CR_GPR(q);
    if (exit->number == 0)
        set_cr0(v, exit);
}

static void decode_msr(struct vcpu *v, struct vcpu_exit *exit)
{
    exit->write = exit->raw == REASON_WRMSR;
    exit->number = (uint32_t)v->guest->gpr[VCPU_RCX];
}

static void decode_io(struct vcpu *v, struct vcpu_exit *exit)
{
    (void)v;
    uint64_t q = vmcs_read(VMCS_QUALIFICATION);
    exit->write = !(q & IO_IN);
    exit->number = (uint32_t)(q >> IO_PORT_SHIFT) & 0xffff;
}

static void decode_memory(struct vcpu *v, struct vcpu_exit *exit)
{
    (void)v;
    uint64_t q = vmcs_read(VMCS_QUALIFICATION);
    exit->write = q & EPT_WRITE;
    exit->fetch = q & EPT_FETCH;
    exit->gpa = vmcs_read(VMCS_GPA);
}

/* What it was opened for may be held back by CR8 now: the guest would leave again and again. */
static void decode_window(struct vcpu *v, struct vcpu_exit *exit)
{
    (void)exit;
    ask_for_window(v, false);
}

static void decode_privileged(struct vcpu *v, struct vcpu_exit *exit)
{
    exit->cpl = (unsigned)get(v, VCPU_CPL);
}

/* What makes a guest leave, by the basic reason. */
static const struct exit_row {
    uint8_t kind;               /* enum vcpu_exit_kind */
    void (*more)(struct vcpu *v, struct vcpu_exit *exit);
    const char *text;
} exit_rows[REASONS] = {
#define TOLD(kind, words) { kind, NULL, words }
    [REASON_EXCEPTION] = { VCPU_EXIT_UNKNOWN, decode_exception, "" },
    [REASON_INTERRUPT] = { VCPU_EXIT_INTERRUPT, NULL, "" },
    [REASON_TRIPLE_FAULT] = TOLD(VCPU_EXIT_CRASH, "triple fault"),
    [REASON_WINDOW] = { VCPU_EXIT_EVENT, decode_window, "" },
    [REASON_TASK_SWITCH] = TOLD(VCPU_EXIT_OTHER, "a task switch"),
    [REASON_CPUID] = { VCPU_EXIT_CPUID, NULL, "" },
    [REASON_GETSEC] = TOLD(VCPU_EXIT_UNDEFINED, "GETSEC"),
    [REASON_HLT] = { VCPU_EXIT_HLT, NULL, "" },
    [REASON_INVD] = TOLD(VCPU_EXIT_OTHER, "INVD, which throws away what all caches hold"),
    [REASON_RDPMC] = TOLD(VCPU_EXIT_UNDEFINED, "RDPMC"),
    [REASON_RSM] = TOLD(VCPU_EXIT_UNDEFINED, "RSM"),
    [REASON_VMCALL] = { VCPU_EXIT_CALL, decode_privileged, "" },
    [REASON_VMCLEAR ... REASON_VMXON] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of VMX"),
    [REASON_CR] = { VCPU_EXIT_CR, decode_cr, "" },
    [REASON_IO] = { VCPU_EXIT_IO, decode_io, "" },
    [REASON_RDMSR] = { VCPU_EXIT_MSR, decode_msr, "" },
    [REASON_WRMSR] = { VCPU_EXIT_MSR, decode_msr, "" },
    [REASON_MWAIT] = TOLD(VCPU_EXIT_UNDEFINED, "MWAIT"),
    [REASON_MONITOR] = TOLD(VCPU_EXIT_UNDEFINED, "MONITOR"),
    [REASON_EPT_VIOLATION] = { VCPU_EXIT_MEMORY, decode_memory, "" },
    [REASON_EPT_MISCONFIGURED] = TOLD(VCPU_EXIT_OTHER, "an access for which nidus's EPT holds an entry that the processor does not take"),
    [REASON_INVEPT] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of VMX"),
    [REASON_TIMER] = { VCPU_EXIT_INTERRUPT, NULL, "" },
    [REASON_INVVPID] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of VMX"),
    [REASON_WBINVD] = TOLD(VCPU_EXIT_OTHER, "WBINVD, which would stall every guest (CLFLUSH is there)"),
    [REASON_XSETBV] = { VCPU_EXIT_XSETBV, decode_privileged, "" },
    [REASON_ENCLS] = TOLD(VCPU_EXIT_UNDEFINED, "ENCLS"),
#undef TOLD
};

/* What made the guest leave.  (The length means something for instructions only.) */
static void decode(struct vcpu *v, struct vcpu_exit *exit)
{
    static const struct exit_row unknown = { VCPU_EXIT_UNKNOWN, NULL, "" };
    exit->raw = vmcs_read(VMCS_REASON);
    exit->length = (unsigned)vmcs_read(VMCS_EXIT_LENGTH);
    const struct exit_row *row = exit->raw < REASONS ? &exit_rows[exit->raw] : &unknown;
    exit->kind = row->kind;
    exit->text = row->text;
    if (row->more != NULL)
        row->more(v, exit);
    if (exit->kind == VCPU_EXIT_INTERRUPT)
        interrupts_take();
}

/* An event whose delivery was cut short is delivered at the next entry; a software interrupt's instruction runs again. */
static void keep_event(struct vcpu *v)
{
    uint32_t event = (uint32_t)vmcs_read(VMCS_VECTORING_EVENT);
    if (!(event & EVENT_VALID))
        return;
    if ((event & EVENT_TYPE) == EVENT_INTERRUPT)
        guest_apic_again(&v->guest->apic, event & EVENT_VECTOR);
    if ((event & EVENT_TYPE) != EVENT_EXCEPTION)
        return;
    vmcs_write(VMCS_ENTRY_EVENT, event & EVENT_FIELDS);
    vmcs_write(VMCS_ENTRY_ERROR, vmcs_read(VMCS_VECTORING_ERROR));
}

/* vmx.S: enters the guest of the current VMCS.  false: VMLAUNCH or VMRESUME failed.  An asm statement, for the compiler saves registers
 * anyway. */
static bool vmx_enter(uint64_t *gpr, uint64_t launched)
{
    uint64_t done;
    __asm__ volatile("call vmx_run" : "=a"(done), "+D"(gpr), "+S"(launched) : : "rdx", VCPU_ENTER_CLOBBERS);
    return done != 0;
}

/* VMLAUNCH or VMRESUME failed (SDM volume 3, 31.4), which they do for what nidus itself has set. */
static void decode_failure(struct vcpu_exit *exit)
{
    unsigned error = (unsigned)vmcs_read(VMCS_INSTRUCTION_ERROR);
    exit->kind = VCPU_EXIT_CRASH;
    exit->text = vcpu_text("its VM entry failed with error %u%s", error, error == 8 ? ": a field of the host's state" : "");
    for (unsigned i = 0; i < CONTROLS && error == 7; i++) {
        uint64_t msr = rdmsr(vmx_controls[i].msr), value = vmcs_read(vmx_controls[i].field), wrong = ((uint32_t)msr & ~value) | (value & ~(msr >> 32));
        exit->text = wrong == 0 ? "its VM entry failed with error 7: a control field"
                                : vcpu_text("its VM entry failed with error 7: bits 0x%llx of control field 0x%x", (unsigned long long)wrong,
                                            vmx_controls[i].field);
        if (wrong != 0)
            return;
    }
}

/* The entry ended in an exit. */
static void decode_invalid(struct vcpu *v, struct vcpu_exit *exit)
{
    const char *field = vmx_wrong_guest_field(vmcs_read);
    if ((uint32_t)exit->raw == (REASON_FAILED | REASON_MACHINE_CHECK))
        vcpu_machine_check(v->guest);
    exit->kind = VCPU_EXIT_CRASH;
    exit->text = vcpu_text("its VM entry failed with reason %u: %s", (unsigned)(exit->raw & ~REASON_FAILED),
                           field != NULL ? field : "nothing that nidus can see is wrong");
}

static void enter(struct vcpu *v, struct vcpu_exit *exit)
{
    if (!vmx_enter(v->guest->gpr, v->launched)) {
        decode_failure(exit);
        return;
    }
    v->launched = true;
    keep_event(v);
    decode(v, exit);
    if (exit->raw & REASON_FAILED)
        decode_invalid(v, exit);
}

const struct vcpu_ops vmx_ops = {
    .name = "VMX",
    .call_instruction = NIDUS_CALL_VMCALL,
    .stage2 = &stage2_ept,
    .present = present,
    .probe = probe,
    .cpu_init = cpu_init,
    .page_sizes = page_sizes,
    .create = create,
    .destroy = destroy,
    .load = load,
    .enter = enter,
    .get = get,
    .set = set,
    .skip = skip,
    .inject = inject,
    .interrupt = interrupt,
    .arm = arm,
};
