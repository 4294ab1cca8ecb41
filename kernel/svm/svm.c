/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * svm.c: the vCPU on AMD SVM with nested paging (APM volume 2, chapter 15).
 *
 * Asked of the processor: SVM and NPT.  Next RIP is used where it is there; without it the length of an
 * instruction that left the guest comes from its bytes.  Each guest has an ASID of its own, flushed at its first
 * entry; nidus adds to a live guest's NPT but never takes from it, so nothing needs a flush after that.
 */
#include <string.h>

#include "iommu/platform.h"
#include "kernel/cpu.h"
#include "kernel/guest.h"
#include "kernel/guest_msr.h"
#include "kernel/log.h"
#include "kernel/svm/vmcb.h"
#include "kernel/time.h"
#include "kernel/vcpu.h"

#define CPUID_SVM          0x8000000au
#define CPUID_SVM_NP       (1u << 0) /* EDX */
#define CPUID_SVM_NRIPS    (1u << 3) /* EDX */
#define CPUID_HAS_SVM      (1u << 2) /* 80000001 ECX */
#define NO_PAGE            (1ull << 63) /* not canonical: no instruction is there */
#define CPUID_HAS_1G       (1u << 26) /* 80000001 EDX */
#define DR6_BS             (1u << 14)

struct vcpu {
    struct vmcb *vmcb;
    uint64_t phys;              /* of vmcb */
    struct guest *guest;
    uint64_t v_intr;            /* without V_TPR */
    const uint8_t *code;        /* without next RIP: where the page of the last instruction that was read is, its address and CR3 */
    uint64_t code_page, code_cr3;
};
_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "create() gives it a page");

/* svm.S: enters the guest.  vmcb: physical address.  An asm statement, for the compiler saves registers anyway. */
static void svm_enter(uint64_t vmcb, uint64_t *gpr)
{
    __asm__ volatile("call svm_run" : "+D"(vmcb), "+S"(gpr) : : "rax", "rdx", VCPU_ENTER_CLOBBERS);
}

/* Pages that the processor and every guest's VMCB point to. */
struct svm_pages {
    uint8_t host_save[0x1000];  /* VM_HSAVE_PA: the processor's own */
    struct vmcb host;           /* VMSAVE's part of nidus's state */
    uint8_t msr_permissions[0x2000];
    uint8_t io_permissions[0x3000];
    uint8_t rest[0x1000];
};
_Static_assert(sizeof(struct svm_pages) == PAGE_SIZE << 3, "eight pages");

static struct svm_pages *pages;
extern uint64_t svm_host;       /* for svm.S */
uint64_t svm_host;              /* physical address of pages->host */
static bool have_next_rip;

/* Two bits for each MSR, read then write; three ranges of 2000h, APM 2 section 15.11. */
static void allow_msr(uint32_t msr, bool write)
{
    uint32_t range = msr >> 30 == 3 ? 0x800 : 0;
    uint32_t bit = (msr & 0x1fff) * 2;
    uint8_t *byte = &pages->msr_permissions[range + bit / 8];
    *byte &= ~((write ? 3u : 1u) << bit % 8);
}

static bool present(void)
{
    return cpuid_or_zero(0x80000001, 0).ecx & CPUID_HAS_SVM;
}

static bool probe(const char **reason)
{
    if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
        *reason = "firmware has disabled SVM (VM_CR.SVMDIS)";
        return false;
    }
    struct cpuid svm = cpuid_or_zero(CPUID_SVM, 0);
    if (!(svm.edx & CPUID_SVM_NP)) {
        *reason = "the processor's SVM has no nested paging";
        return false;
    }
    if (svm.ebx <= BOOT_MAX_GUESTS) {
        *reason = "the processor's SVM has too few address space identifiers";
        return false;
    }
    return true;
}

static void cpu_init(void)
{
    have_next_rip = cpuid_or_zero(CPUID_SVM, 0).edx & CPUID_SVM_NRIPS;
    pages = platform_pages_alloc(NULL, 3);
    if (pages == NULL)
        platform_panic("no 32 KiB of memory for SVM");
    memset(pages->msr_permissions, 0xff, sizeof(pages->msr_permissions));
    memset(pages->io_permissions, 0xff, sizeof(pages->io_permissions));
    guest_msr_direct(allow_msr);

    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, platform_phys(pages->host_save));
    svm_host = platform_phys(&pages->host);
    __asm__ volatile("vmsave %0" : : "a"(svm_host) : "memory");
}

static unsigned page_sizes(void)
{
    return STAGE2_2M | (cpuid_or_zero(0x80000001, 0).edx & CPUID_HAS_1G ? STAGE2_1G : 0);
}

static void set_intercepts(struct vmcb *c)
{
    c->intercept_cr = INTERCEPT_CR4_WRITE | INTERCEPT_CR8_WRITE;
    c->intercept3 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_RDPMC | INTERCEPT_CPUID | INTERCEPT_RSM | INTERCEPT_INVD |
                    INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_TASK_SWITCH |
                    INTERCEPT_FERR_FREEZE | INTERCEPT_SHUTDOWN;
    c->intercept4 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |
                    INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_RDTSCP | INTERCEPT_WBINVD |
                    INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV | INTERCEPT_RDPRU;
    c->intercept_exception = VCPU_ALL_EXCEPTIONS;
}

static void set_start(struct vmcb *c, const struct vcpu_start *start)
{
    struct vmcb_segment data = { .selector = VCPU_START_DATA, .attributes = SEGMENT_DATA, .limit = ~0u };
    c->cs = (struct vmcb_segment){ .selector = VCPU_START_CODE, .attributes = SEGMENT_CODE64, .limit = ~0u };
    c->ss = c->ds = c->es = c->fs = c->gs = data;
    c->ldtr = (struct vmcb_segment){ .attributes = SEGMENT_LDT };
    c->tr = (struct vmcb_segment){ .attributes = SEGMENT_TSS_BUSY, .limit = 0xffff };
    c->gdtr.base = start->gdt;
    c->gdtr.limit = start->gdt_size - 1u;
    c->cr0 = VCPU_START_CR0;
    c->cr4 = VCPU_START_CR4;
    c->efer = VCPU_START_EFER | EFER_SVME; /* VMRUN demands SVME */
    c->cr3 = start->cr3;
    c->rip = start->rip;
    c->rflags = VCPU_START_RFLAGS;
    c->dr6 = VCPU_START_DR6;
    c->dr7 = VCPU_START_DR7;
    c->g_pat = VCPU_START_PAT;
}

static struct vcpu *create(struct guest *guest, struct stage2 *memory, const struct vcpu_start *start)
{
    uint8_t *two_pages = platform_pages_alloc(NULL, 1);
    if (two_pages == NULL)
        return NULL;
    struct vcpu *v = (struct vcpu *)(two_pages + PAGE_SIZE);
    *v = (struct vcpu){ .vmcb = (struct vmcb *)two_pages, .phys = platform_phys(two_pages), .guest = guest, .code_page = NO_PAGE };

    struct vmcb *c = v->vmcb;
    set_intercepts(c);
    set_start(c, start);
    c->iopm_base = platform_phys(pages->io_permissions);
    c->msrpm_base = platform_phys(pages->msr_permissions);
    c->asid = (uint32_t)(guest - guests + 1); /* 0 is nidus */
    c->tlb_control = TLB_FLUSH_ALL; /* at the first entry: a former guest may have had this ASID */
    v->v_intr = V_INTR_MASKING;
    c->np_control = NP_ENABLE;
    c->n_cr3 = platform_phys(memory->root);
    return v;
}

static void destroy(struct vcpu *v)
{
    void *two_pages = v->vmcb;
    memset(two_pages, 0, PAGE_SIZE << 1);
    platform_pages_free(NULL, two_pages, 1);
}

/* Where a register is; 0: in guest->gpr[].  CODE_BASE is none. */
static const uint16_t places[VCPU_REGISTERS] = {
#define PLACE(member) offsetof(struct vmcb, member)
    [VCPU_RSP] = PLACE(rsp), [VCPU_RIP] = PLACE(rip), [VCPU_RFLAGS] = PLACE(rflags), [VCPU_CR0] = PLACE(cr0),
    [VCPU_CR2] = PLACE(cr2), [VCPU_CR3] = PLACE(cr3), [VCPU_CR4] = PLACE(cr4), [VCPU_EFER] = PLACE(efer),
#undef PLACE
};

static uint64_t *place(struct vcpu *v, enum vcpu_register r)
{
    return places[r] == 0 ? &v->guest->gpr[r % VCPU_GPRS] : (uint64_t *)((uint8_t *)v->vmcb + places[r]);
}

static uint64_t get(struct vcpu *v, enum vcpu_register r)
{
    if (r == VCPU_CODE_BASE)
        return v->vmcb->cs.attributes & SEGMENT_LONG ? 0 : v->vmcb->cs.base;
    if (r == VCPU_CPL)
        return v->vmcb->cpl;
    return *place(v, r) & ~(r == VCPU_EFER ? EFER_SVME : 0);
}

static void set(struct vcpu *v, enum vcpu_register r, uint64_t value)
{
    *place(v, r) = value | (r == VCPU_EFER ? EFER_SVME : 0);
    if (r >= VCPU_CR0)
        v->vmcb->tlb_control = TLB_FLUSH_ALL; /* what the instruction itself would have flushed */
}

static bool is_prefix(uint8_t byte)
{
    static const uint8_t legacy[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65 };
    for (unsigned i = 0; i < sizeof(legacy); i++)
        if (byte == legacy[i])
            return true;
    return false;
}

/* Legacy prefixes and REX before an opcode; *rex is 0 where there is none. */
static unsigned prefixes(const struct vmcb *c, const uint8_t *bytes, unsigned count, uint8_t *rex)
{
    unsigned n = 0;
    while (n < count && is_prefix(bytes[n]))
        n++;
    *rex = 0;
    if (n < count && (c->cs.attributes & SEGMENT_LONG) && (bytes[n] & 0xf0) == 0x40)
        *rex = bytes[n++];
    return n;
}

/* What makes a guest leave, apart from what decode_other() knows. */
#define EXIT_ROWS (SVM_EXIT_RDPRU + 1)
#define IN_RCX    0xffu
static const struct exit_row {
    uint8_t kind;               /* enum vcpu_exit_kind */
    uint8_t number;             /* of the control register; IN_RCX: of the MSR; 0: it has none */
    uint8_t opcode_size;        /* of the instruction, where it is skipped; 0: text is there */
    union {
        struct {
            uint32_t opcode, mask; /* lowest byte first */
        };
        const char *text;
    };
} exit_rows[EXIT_ROWS] = {
#define SKIP(kind, size, opcode) { kind, 0, size, { { opcode, (1u << 8 * (size)) - 1 } } }
#define CR_WRITE(n)              { VCPU_EXIT_CR, n, 2, { { 0x220f, 0xffff } } }
#define TOLD(kind, words)        { kind, 0, 0, { .text = words } }
    [SVM_EXIT_CR4_WRITE] = CR_WRITE(4),
    [SVM_EXIT_CR8_WRITE] = CR_WRITE(8),
    [SVM_EXIT_INTR] = TOLD(VCPU_EXIT_INTERRUPT, ""),
    [SVM_EXIT_NMI] = TOLD(VCPU_EXIT_INTERRUPT, ""),
    [SVM_EXIT_VINTR] = TOLD(VCPU_EXIT_EVENT, ""),
    [SVM_EXIT_RDPMC] = TOLD(VCPU_EXIT_UNDEFINED, "RDPMC"),
    [SVM_EXIT_CPUID] = SKIP(VCPU_EXIT_CPUID, 2, 0xa20f),
    [SVM_EXIT_RSM] = TOLD(VCPU_EXIT_UNDEFINED, "RSM"),
    [SVM_EXIT_INVD] = TOLD(VCPU_EXIT_OTHER, "INVD, which throws away what all caches hold"),
    [SVM_EXIT_HLT] = SKIP(VCPU_EXIT_HLT, 1, 0xf4),
    [SVM_EXIT_INVLPGA] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of SVM"),
    [SVM_EXIT_MSR] = { VCPU_EXIT_MSR, IN_RCX, 2, { { 0x300f, 0xfdff } } }, /* 30h: WRMSR, 32h: RDMSR */
    [SVM_EXIT_TASK_SWITCH] = TOLD(VCPU_EXIT_OTHER, "a task switch"),
    [SVM_EXIT_FERR_FREEZE] = TOLD(VCPU_EXIT_OTHER, "an x87 error in the old (FERR) way"),
    [SVM_EXIT_SHUTDOWN] = TOLD(VCPU_EXIT_CRASH, "triple fault"),
    [SVM_EXIT_VMRUN] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of SVM"),
    [SVM_EXIT_VMMCALL] = SKIP(VCPU_EXIT_CALL, 3, 0xd9010f),
    [SVM_EXIT_VMLOAD ... SVM_EXIT_SKINIT] = TOLD(VCPU_EXIT_UNDEFINED, "an instruction of SVM"),
    [SVM_EXIT_RDTSCP] = TOLD(VCPU_EXIT_UNDEFINED, "RDTSCP"),
    [SVM_EXIT_WBINVD] = TOLD(VCPU_EXIT_OTHER, "WBINVD, which would stall every guest (CLFLUSH is there)"),
    [SVM_EXIT_MONITOR] = TOLD(VCPU_EXIT_UNDEFINED, "MONITOR"),
    [SVM_EXIT_MWAIT] = TOLD(VCPU_EXIT_UNDEFINED, "MWAIT"),
    [SVM_EXIT_MWAIT_ARMED] = TOLD(VCPU_EXIT_UNDEFINED, "MWAIT"),
    [SVM_EXIT_XSETBV] = SKIP(VCPU_EXIT_XSETBV, 3, 0xd1010f),
    [SVM_EXIT_RDPRU] = TOLD(VCPU_EXIT_UNDEFINED, "RDPRU"),
#undef SKIP
#undef CR_WRITE
#undef TOLD
};

/* A guest that has an IDT gets its exception: a fault by running the instruction again without the intercept. */
static void pass_exception(struct vmcb *c, unsigned vector, struct vcpu_exit *exit)
{
    exit->kind = VCPU_EXIT_EVENT;
    c->intercept_exception = INTERCEPT_MC | VCPU_ENDLESS_EXCEPTIONS;
    if (vector == VECTOR_DB)
        c->event_inject = EVENT_VALID | EVENT_EXCEPTION | vector;
    else if (vector == VECTOR_AC)
        c->event_inject = EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | vector; /* the error code is always 0 */
}

static bool is_opcode(const uint8_t *bytes, const struct exit_row *row)
{
    uint32_t value;
    __builtin_memcpy(&value, bytes, sizeof(value));
    return (value & row->mask) == row->opcode;
}

/* The same instruction in the page that the last one was in?  A guest that has put another page there without a new CR3 finds its own
 * bytes misread, if they are the same instruction with prefixes, and nobody else's. */
static bool is_in_known_page(const struct vcpu *v, const struct vmcb *c, const struct exit_row *row)
{
    uint64_t offset = c->rip - v->code_page;
    return offset <= PAGE_SIZE - sizeof(row->opcode) && v->code_cr3 == c->cr3 && (c->cs.attributes & SEGMENT_LONG) &&
           is_opcode(v->code + offset, row);
}

/* Length of the instruction that left, and what only its bytes say; OTHER: they are not what row says. */
__attribute__((noinline))
static void read_instruction(struct vcpu *v, const struct exit_row *row, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    bool modrm = exit->kind == VCPU_EXIT_CR;
    uint8_t bytes[VCPU_INSTRUCTION_MAX + sizeof(row->opcode)] = { 0 }, rex;
    unsigned count = vcpu_fetch(v->guest, bytes), at = prefixes(c, bytes, count, &rex);
    exit->length = at + row->opcode_size + modrm;
    if (exit->length > count || !is_opcode(bytes + at, row)) {
        exit->kind = VCPU_EXIT_OTHER;
        exit->text = vcpu_text("an instruction that nidus cannot read (exit 0x%llx)", (unsigned long long)exit->raw);
        return;
    }
    if (modrm)
        exit->gpr = (bytes[exit->length - 1] & 7u) | (rex & 1u) << 3;
    v->code = vcpu_code_page(v->guest);
    v->code_page = v->code != NULL ? c->rip - c->rip % PAGE_SIZE : NO_PAGE;
    v->code_cr3 = c->cr3;
}

static void decode_instruction(struct vcpu *v, const struct exit_row *row, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    exit->cpl = c->cpl;
    exit->length = row->opcode_size;
    if (row->number != 0) {
        bool is_msr = row->number == IN_RCX;
        exit->number = is_msr ? (uint32_t)v->guest->gpr[VCPU_RCX] : row->number;
        exit->write = !is_msr || c->exit_info1 != 0;
    }
    if (have_next_rip && exit->kind != VCPU_EXIT_CR)
        exit->length = (unsigned)(c->next_rip - c->rip);
    else if (exit->kind == VCPU_EXIT_CR || !is_in_known_page(v, c, row))
        read_instruction(v, row, exit);
}

static void decode_other(struct vcpu *v, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    uint64_t vector = exit->raw - SVM_EXIT_EXCEPTION;
    if (exit->raw == SVM_EXIT_MC)
        vcpu_machine_check(v->guest);
    if (exit->raw == SVM_EXIT_NPF) {
        exit->kind = VCPU_EXIT_MEMORY;
        exit->write = c->exit_info1 & NPF_WRITE;
        exit->fetch = c->exit_info1 & NPF_FETCH;
        exit->gpa = c->exit_info2;
    } else if (exit->raw == SVM_EXIT_IOIO) {
        exit->kind = VCPU_EXIT_IO;
        exit->write = !(c->exit_info1 & IOIO_IN);
        exit->number = (uint32_t)(c->exit_info1 >> IOIO_PORT_SHIFT) & 0xffff;
    } else if (exit->raw == ~0ull) {
        exit->kind = VCPU_EXIT_CRASH;
        exit->text = "control registers that contradict each other";
    } else if (vector < VCPU_EXCEPTIONS && c->idtr.limit != 0) {
        pass_exception(c, (unsigned)vector, exit);
    } else if (vector < VCPU_EXCEPTIONS) {
        vcpu_exception(exit, (unsigned)vector, c->exit_info1, c->exit_info2);
    }
}

/* Virtual interrupts, 15.21.4: only so that the guest leaves when it can take one; the one that it gets is injected. */
static void ask_for_window(struct vcpu *v, bool wanted)
{
    struct vmcb *c = v->vmcb;
    v->v_intr = V_INTR_MASKING | (wanted ? V_IRQ | V_IGNORE_TPR : 0);
    c->intercept3 = (c->intercept3 & ~INTERCEPT_VINTR) | (wanted ? INTERCEPT_VINTR : 0);
}

/* What made the guest leave. */
static void decode(struct vcpu *v, struct vcpu_exit *exit)
{
    exit->raw = v->vmcb->exit_code;
    const struct exit_row *row = &exit_rows[exit->raw < EXIT_ROWS ? exit->raw : 0];
    exit->kind = row->kind;
    if (row->opcode_size != 0) {
        decode_instruction(v, row, exit);
        return;
    }
    exit->text = row->text;
    if (exit->raw == SVM_EXIT_VINTR)    /* what it was for may be held back by CR8 now: the guest would leave again and again */
        ask_for_window(v, false);
    if (exit->kind == VCPU_EXIT_INTERRUPT)
        interrupts_take();
    else if (exit->kind == VCPU_EXIT_UNKNOWN)
        decode_other(v, exit);
}

/* An event whose delivery was cut short is delivered at the next entry; a software interrupt's instruction runs again. */
static void keep_event(struct vcpu *v, uint64_t event)
{
    if ((event & EVENT_TYPE) == EVENT_EXCEPTION)
        v->vmcb->event_inject = event;
    if ((event & EVENT_TYPE) == EVENT_INTERRUPT)
        guest_apic_again(&v->guest->apic, (uint8_t)event);
}

static void before_entry(struct vcpu *v, const struct guest *g)
{
    struct vmcb *c = v->vmcb;
    c->v_intr = v->v_intr | guest_apic_cr8(&g->apic); /* V_TPR, which a read of CR8 gives without an exit */
    c->rax = g->gpr[VCPU_RAX];
}

static void after_exit(struct vcpu *v)
{
    struct vmcb *c = v->vmcb;
    v->guest->gpr[VCPU_RAX] = c->rax;
    c->tlb_control = 0;
    c->event_inject = 0;
    if (c->exit_int_info & EVENT_VALID)
        keep_event(v, c->exit_int_info);
}

static void enter(struct vcpu *v, struct vcpu_exit *exit)
{
    struct guest *g = v->guest;
    before_entry(v, g);
    svm_enter(v->phys, g->gpr);
    after_exit(v);
    decode(v, exit);
}

static void skip(struct vcpu *v, unsigned length)
{
    struct vmcb *c = v->vmcb;
    c->rip += length;
    c->interrupt_shadow = 0;
    if ((c->rflags & RFLAGS_TF) && !(c->event_inject & EVENT_VALID)) {
        c->dr6 |= DR6_BS;
        c->event_inject = EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB;
    }
}

static bool interrupt(struct vcpu *v, unsigned vector)
{
    struct vmcb *c = v->vmcb;
    bool can = (c->rflags & RFLAGS_IF) && !(c->interrupt_shadow & SHADOW) && !(c->event_inject & EVENT_VALID);
    if (can)
        c->event_inject = EVENT_VALID | EVENT_INTERRUPT | vector;
    ask_for_window(v, !can);
    return can;
}

static void arm(struct vcpu *v, uint64_t ticks)
{
    (void)v;
    tick_arm(tsc_to_ns(ticks));
}

static bool inject(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
    if (v->vmcb->idtr.limit == 0)
        return false;
    v->vmcb->event_inject = EVENT_VALID | EVENT_EXCEPTION | vector |
                            (has_error ? EVENT_HAS_ERROR | (uint64_t)error << EVENT_ERROR_SHIFT : 0);
    return true;
}

const struct vcpu_ops svm_ops = {
    .name = "SVM",
    .call_instruction = NIDUS_CALL_VMMCALL,
    .stage2 = &stage2_npt,
    .present = present,
    .probe = probe,
    .cpu_init = cpu_init,
    .page_sizes = page_sizes,
    .create = create,
    .destroy = destroy,
    .enter = enter,
    .get = get,
    .set = set,
    .skip = skip,
    .inject = inject,
    .interrupt = interrupt,
    .arm = arm,
};
