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
#include "kernel/log.h"
#include "kernel/svm/vmcb.h"
#include "kernel/vcpu.h"

#define CPUID_SVM          0x8000000au
#define CPUID_SVM_NP       (1u << 0) /* EDX */
#define CPUID_SVM_NRIPS    (1u << 3) /* EDX */
#define CPUID_HAS_SVM      (1u << 2) /* 80000001 ECX */
#define CPUID_HAS_IBPB     (1u << 12) /* 80000008 EBX */

#define CR0_EM             (1ull << 2)
#define CR0_TS             (1ull << 3)
#define DR6_START          0xffff0ff0ull
#define DR7_START          0x400ull
#define RFLAGS_START       0x2ull
#define PAT_START          0x0007040600070406ull
#define VECTOR_DB          1u
#define VECTOR_PF          14u
#define VECTOR_AC          17u
#define ALL_EXCEPTIONS     (~0u & ~(1u << 2)) /* an NMI is none */
/* Those that a guest can make the processor raise for ever while it delivers them, without a single instruction between: each
 * must come out, so that an interrupt can. */
#define ENDLESS_EXCEPTIONS ((1u << VECTOR_DB) | (1u << VECTOR_AC))
#define EXCEPTIONS         32u
#define INSTRUCTION_MAX    15u

struct fpu_state {              /* FXSAVE64 */
    uint16_t control;
    uint8_t reserved_2[22];
    uint32_t mxcsr;
    uint8_t reserved_28[484];
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct fpu_state) == 512, "APM 5, FXSAVE");

struct vcpu {
    struct vmcb *vmcb;
    uint64_t phys;              /* of vmcb */
    struct guest *guest;
    unsigned slot;              /* ASID - 1 */
    uint64_t gpr[VCPU_GPRS];    /* all but RAX and RSP */
    /* What VMRUN does not switch.  It stays in the processor until another guest runs. */
    struct fpu_state fpu;
    uint64_t dr[4];
};
_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "create() gives it a page");

void svm_enter(uint64_t vmcb, uint64_t *gpr, uint64_t host_vmcb);

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
static struct vcpu *vcpus[BOOT_MAX_GUESTS];
static struct vcpu *loaded;     /* whose FPU and debug registers the processor holds */
static bool have_next_rip, have_ibpb;

/* MSRs that a guest uses without leaving: all of them are switched with it. */
static const struct direct_msr {
    uint32_t msr;
    bool write;
} direct_msrs[] = {
    { 0x10, false },            /* TSC: reads as RDTSC does; a write would move nidus's clock */
    { 0x174, true },            /* SYSENTER_CS, ESP, EIP: VMSAVE/VMLOAD */
    { 0x175, true },
    { 0x176, true },
    { MSR_PAT, true },          /* G_PAT in the VMCB under nested paging */
    { 0xc0000081, true },       /* STAR, LSTAR, CSTAR, SFMASK: VMSAVE/VMLOAD */
    { 0xc0000082, true },
    { 0xc0000083, true },
    { 0xc0000084, true },
    { 0xc0000100, true },       /* FS.base, GS.base, KernelGSbase: VMSAVE/VMLOAD */
    { 0xc0000101, true },
    { 0xc0000102, true },
};

/* Two bits for each MSR, read then write; three ranges of 2000h, APM 2 section 15.11. */
static void allow_msr(const struct direct_msr *m)
{
    uint32_t range = m->msr >> 30 == 3 ? 0x800 : 0;
    uint32_t bit = (m->msr & 0x1fff) * 2;
    uint8_t *byte = &pages->msr_permissions[range + bit / 8];
    *byte &= ~((m->write ? 3u : 1u) << bit % 8);
}

static bool probe(const char **reason)
{
    if (!(cpuid_or_zero(0x80000001, 0).ecx & CPUID_HAS_SVM)) {
        *reason = "the processor has no SVM";
        return false;
    }
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
    have_ibpb = cpuid_or_zero(0x80000008, 0).ebx & CPUID_HAS_IBPB;
    pages = platform_pages_alloc(NULL, 3);
    if (pages == NULL)
        platform_panic("no 32 KiB of memory for SVM");
    memset(pages->msr_permissions, 0xff, sizeof(pages->msr_permissions));
    memset(pages->io_permissions, 0xff, sizeof(pages->io_permissions));
    for (unsigned i = 0; i < sizeof(direct_msrs) / sizeof(direct_msrs[0]); i++)
        allow_msr(&direct_msrs[i]);

    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, platform_phys(pages->host_save));
    __asm__ volatile("vmsave %0" : : "a"(platform_phys(&pages->host)) : "memory");
    /* FXSAVE and FXRSTOR, for the guests' sake: nidus itself uses no such register. */
    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP);
    write_cr4(read_cr4() | CR4_OSFXSR);
}

static void set_intercepts(struct vmcb *c)
{
    c->intercept_cr = INTERCEPT_CR4_WRITE;
    c->intercept3 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_RDPMC | INTERCEPT_CPUID | INTERCEPT_RSM | INTERCEPT_INVD |
                    INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_TASK_SWITCH |
                    INTERCEPT_FERR_FREEZE | INTERCEPT_SHUTDOWN;
    c->intercept4 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |
                    INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_RDTSCP | INTERCEPT_WBINVD |
                    INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV | INTERCEPT_RDPRU;
    /* Until the guest has an IDT an exception is its end, and seen here it can be named. */
    c->intercept_exception = ALL_EXCEPTIONS;
}

static void set_start(struct vmcb *c, const struct vcpu_start *start)
{
    struct vmcb_segment data = { .selector = 0x10, .attributes = SEGMENT_DATA, .limit = ~0u };
    c->cs = (struct vmcb_segment){ .selector = 0x08, .attributes = SEGMENT_CODE64, .limit = ~0u };
    c->ss = c->ds = c->es = c->fs = c->gs = data;
    c->ldtr = (struct vmcb_segment){ .attributes = SEGMENT_LDT };
    c->tr = (struct vmcb_segment){ .attributes = SEGMENT_TSS_BUSY, .limit = 0xffff };
    c->gdtr.base = start->gdt;
    c->gdtr.limit = start->gdt_size - 1u;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    c->cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME; /* VMRUN demands SVME */
    c->cr3 = start->cr3;
    c->rip = start->rip;
    c->rflags = RFLAGS_START;
    c->dr6 = DR6_START;
    c->dr7 = DR7_START;
    c->g_pat = PAT_START;
}

static struct vcpu *create(struct guest *guest, struct stage2 *memory, const struct vcpu_start *start)
{
    unsigned slot = 0;
    while (slot < BOOT_MAX_GUESTS && vcpus[slot] != NULL)
        slot++;
    uint8_t *two_pages = slot < BOOT_MAX_GUESTS ? platform_pages_alloc(NULL, 1) : NULL;
    if (two_pages == NULL)
        return NULL;
    struct vcpu *v = (struct vcpu *)(two_pages + PAGE_SIZE);
    *v = (struct vcpu){ .vmcb = (struct vmcb *)two_pages, .phys = platform_phys(two_pages), .guest = guest, .slot = slot };
    v->fpu.control = 0x37f;
    v->fpu.mxcsr = 0x1f80;
    v->gpr[VCPU_RDI] = start->rdi;

    struct vmcb *c = v->vmcb;
    set_intercepts(c);
    set_start(c, start);
    c->iopm_base = platform_phys(pages->io_permissions);
    c->msrpm_base = platform_phys(pages->msr_permissions);
    c->asid = slot + 1;         /* 0 is nidus */
    c->tlb_control = TLB_FLUSH_ALL; /* at the first entry: a former guest may have had this ASID */
    c->v_intr = V_INTR_MASKING;
    c->np_control = NP_ENABLE;
    c->n_cr3 = platform_phys(memory->root);
    vcpus[slot] = v;
    return v;
}

static void destroy(struct vcpu *v)
{
    if (loaded == v)
        loaded = NULL;
    vcpus[v->slot] = NULL;
    void *two_pages = v->vmcb;
    memset(two_pages, 0, PAGE_SIZE << 1);
    platform_pages_free(NULL, two_pages, 1);
}

static void read_debug(uint64_t dr[4])
{
    __asm__ volatile("mov %%db0, %0" : "=r"(dr[0]));
    __asm__ volatile("mov %%db1, %0" : "=r"(dr[1]));
    __asm__ volatile("mov %%db2, %0" : "=r"(dr[2]));
    __asm__ volatile("mov %%db3, %0" : "=r"(dr[3]));
}

static void write_debug(const uint64_t dr[4])
{
    __asm__ volatile("mov %0, %%db0" : : "r"(dr[0]));
    __asm__ volatile("mov %0, %%db1" : : "r"(dr[1]));
    __asm__ volatile("mov %0, %%db2" : : "r"(dr[2]));
    __asm__ volatile("mov %0, %%db3" : : "r"(dr[3]));
}

/* Makes the processor hold v's FPU, SSE and debug registers. */
static void load_rest(struct vcpu *v)
{
    if (loaded == v)
        return;
    if (loaded != NULL) {
        __asm__ volatile("fxsave64 %0" : "=m"(loaded->fpu));
        read_debug(loaded->dr);
    }
    /* AMD's FXRSTOR leaves the last x87 instruction and operand pointers alone when no exception is pending, so the
     * former guest's would stay readable: an instruction of nidus's own replaces them. */
    static const uint32_t zero;
    __asm__ volatile("fnclex; emms; fildl %0" : : "m"(zero));
    __asm__ volatile("fxrstor64 %0" : : "m"(v->fpu));
    write_debug(v->dr);
    if (have_ibpb)
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    loaded = v;
}

/* The guest's own tables: linear address to GPA. */
static bool translate(struct vcpu *v, uint64_t linear, uint64_t *gpa)
{
    const uint64_t frame = 0x000ffffffffff000ull, present = 1, large = 1 << 7;
    uint64_t entry = v->vmcb->cr3;
    for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9) {
        uint64_t slot = (entry & frame) + ((linear >> shift) & 511) * sizeof(entry);
        if (guest_read(v->guest, slot, &entry, sizeof(entry)) != 0 || !(entry & present))
            return false;
        uint64_t offset = ((uint64_t)1 << shift) - 1;
        if (shift == PAGE_SHIFT || ((entry & large) && shift <= 30)) {
            *gpa = (entry & frame & ~offset) | (linear & offset);
            return true;
        }
    }
    return false;
}

/* The bytes at RIP, as many as can be read. */
static unsigned fetch(struct vcpu *v, uint8_t bytes[INSTRUCTION_MAX])
{
    struct vmcb *c = v->vmcb;
    if (!(c->efer & EFER_LMA))
        return 0;
    uint64_t linear = c->rip + (c->cs.attributes & SEGMENT_LONG ? 0 : c->cs.base);
    unsigned got = 0;
    while (got < INSTRUCTION_MAX) {
        uint64_t gpa, in_page = PAGE_SIZE - ((linear + got) & (PAGE_SIZE - 1));
        unsigned n = in_page < INSTRUCTION_MAX - got ? (unsigned)in_page : INSTRUCTION_MAX - got;
        if (!translate(v, linear + got, &gpa) || guest_read(v->guest, gpa, bytes + got, n) != 0)
            break;
        got += n;
    }
    return got;
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

/* What makes a guest leave, apart from exceptions. */
static const struct exit_row {
    uint16_t code;
    uint8_t kind;               /* enum vcpu_exit_kind */
    uint8_t opcode_size;        /* of the instruction, where it is skipped */
    uint8_t opcode[3];
    const char *text;
} exit_rows[] = {
    { SVM_EXIT_CR4_WRITE, VCPU_EXIT_CR4_WRITE, 2, { 0x0f, 0x22 }, NULL },
    { SVM_EXIT_INTR, VCPU_EXIT_INTERRUPT, 0, { 0 }, NULL },
    { SVM_EXIT_NMI, VCPU_EXIT_INTERRUPT, 0, { 0 }, NULL },
    { SVM_EXIT_RDPMC, VCPU_EXIT_UNDEFINED, 0, { 0 }, "RDPMC" },
    { SVM_EXIT_CPUID, VCPU_EXIT_CPUID, 2, { 0x0f, 0xa2 }, NULL },
    { SVM_EXIT_RSM, VCPU_EXIT_UNDEFINED, 0, { 0 }, "RSM" },
    { SVM_EXIT_INVD, VCPU_EXIT_OTHER, 0, { 0 }, "INVD, which throws away what all caches hold" },
    { SVM_EXIT_HLT, VCPU_EXIT_HLT, 1, { 0xf4 }, NULL },
    { SVM_EXIT_INVLPGA, VCPU_EXIT_UNDEFINED, 0, { 0 }, "INVLPGA" },
    { SVM_EXIT_IOIO, VCPU_EXIT_IO, 0, { 0 }, NULL },
    { SVM_EXIT_MSR, VCPU_EXIT_MSR_READ, 2, { 0x0f, 0x32 }, NULL },
    { SVM_EXIT_TASK_SWITCH, VCPU_EXIT_OTHER, 0, { 0 }, "a task switch" },
    { SVM_EXIT_FERR_FREEZE, VCPU_EXIT_OTHER, 0, { 0 }, "an x87 error in the old (FERR) way" },
    { SVM_EXIT_SHUTDOWN, VCPU_EXIT_CRASH, 0, { 0 }, "triple fault" },
    { SVM_EXIT_VMRUN, VCPU_EXIT_UNDEFINED, 0, { 0 }, "VMRUN" },
    { SVM_EXIT_VMMCALL, VCPU_EXIT_CALL, 3, { 0x0f, 0x01, 0xd9 }, NULL },
    { SVM_EXIT_VMLOAD, VCPU_EXIT_UNDEFINED, 0, { 0 }, "VMLOAD" },
    { SVM_EXIT_VMSAVE, VCPU_EXIT_UNDEFINED, 0, { 0 }, "VMSAVE" },
    { SVM_EXIT_STGI, VCPU_EXIT_UNDEFINED, 0, { 0 }, "STGI" },
    { SVM_EXIT_CLGI, VCPU_EXIT_UNDEFINED, 0, { 0 }, "CLGI" },
    { SVM_EXIT_SKINIT, VCPU_EXIT_UNDEFINED, 0, { 0 }, "SKINIT" },
    { SVM_EXIT_RDTSCP, VCPU_EXIT_UNDEFINED, 0, { 0 }, "RDTSCP" },
    { SVM_EXIT_WBINVD, VCPU_EXIT_OTHER, 0, { 0 }, "WBINVD, which would stall every guest (CLFLUSH is there)" },
    { SVM_EXIT_MONITOR, VCPU_EXIT_UNDEFINED, 0, { 0 }, "MONITOR" },
    { SVM_EXIT_MWAIT, VCPU_EXIT_UNDEFINED, 0, { 0 }, "MWAIT" },
    { SVM_EXIT_MWAIT_ARMED, VCPU_EXIT_UNDEFINED, 0, { 0 }, "MWAIT" },
    { SVM_EXIT_XSETBV, VCPU_EXIT_UNDEFINED, 0, { 0 }, "XSETBV" },
    { SVM_EXIT_RDPRU, VCPU_EXIT_UNDEFINED, 0, { 0 }, "RDPRU" },
    { SVM_EXIT_NPF, VCPU_EXIT_MEMORY, 0, { 0 }, NULL },
};

static const char *const exception_names[EXCEPTIONS] = {
    [0] = "divide error", [1] = "debug", [3] = "breakpoint", [4] = "overflow", [5] = "BOUND range exceeded", [6] = "undefined instruction",
    [7] = "no FPU", [8] = "double fault", [10] = "invalid TSS", [11] = "segment not present", [12] = "stack fault",
    [13] = "general protection", [14] = "page fault", [16] = "x87 error", [17] = "misaligned access", [19] = "SSE error",
};

/* A guest that has an IDT gets its exception: a fault by running the instruction again without the intercept. */
static void pass_exception(struct vmcb *c, unsigned vector, struct vcpu_exit *exit)
{
    exit->kind = VCPU_EXIT_EVENT;
    c->intercept_exception = INTERCEPT_MC | ENDLESS_EXCEPTIONS;
    if (vector == VECTOR_DB)
        c->event_inject = EVENT_VALID | EVENT_EXCEPTION | vector;
    else if (vector == VECTOR_AC)
        c->event_inject = EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | vector; /* the error code is always 0 */
}

static void decode_exception(struct vcpu *v, unsigned vector, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    if (c->idtr.limit != 0) {
        pass_exception(c, vector, exit);
        return;
    }
    exit->kind = VCPU_EXIT_CRASH;
    uint64_t error = c->exit_info1;
    if (vector == VECTOR_PF) {
        const char *access = error & PF_FETCH ? "fetch" : error & PF_WRITE ? "write" : "read";
        format_text(exit->text, sizeof(exit->text), "page fault (%s, %s) at 0x%llx, and it has no IDT", access,
                    error & PF_PRESENT ? "not allowed" : "not present", (unsigned long long)c->exit_info2);
        return;
    }
    const char *name = exception_names[vector] != NULL ? exception_names[vector] : "exception";
    format_text(exit->text, sizeof(exit->text), "%s (vector %u), and it has no IDT", name, vector);
}

/* Length of the instruction that left, and what only its bytes say.  false: they are not what row says. */
static bool decode_instruction(struct vcpu *v, const struct exit_row *row, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    if (have_next_rip && exit->kind != VCPU_EXIT_CR4_WRITE) {
        exit->length = (unsigned)(c->next_rip - c->rip);
        return exit->length <= INSTRUCTION_MAX;
    }
    uint8_t bytes[INSTRUCTION_MAX], rex, opcode[3];
    memcpy(opcode, row->opcode, sizeof(opcode));
    if (exit->kind == VCPU_EXIT_MSR_WRITE)
        opcode[1] = 0x30;
    unsigned count = fetch(v, bytes), at = prefixes(c, bytes, count, &rex);
    unsigned modrm = exit->kind == VCPU_EXIT_CR4_WRITE;
    exit->length = at + row->opcode_size + modrm;
    if (exit->length > count || memcmp(bytes + at, opcode, row->opcode_size) != 0)
        return false;
    if (modrm) {
        unsigned rm = (bytes[exit->length - 1] & 7u) | (rex & 1u) << 3;
        exit->value = rm == VCPU_RAX ? c->rax : rm == VCPU_RSP ? c->rsp : v->gpr[rm];
    }
    return true;
}

static void decode_row(struct vcpu *v, const struct exit_row *row, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    exit->kind = row->kind;
    if (row->text != NULL)
        format_text(exit->text, sizeof(exit->text), "%s", row->text);
    switch (row->code) {
    case SVM_EXIT_MSR:
        exit->kind = c->exit_info1 ? VCPU_EXIT_MSR_WRITE : VCPU_EXIT_MSR_READ;
        exit->write = c->exit_info1;
        exit->number = (uint32_t)v->gpr[VCPU_RCX];
        break;
    case SVM_EXIT_IOIO:
        exit->write = !(c->exit_info1 & IOIO_IN);
        exit->number = (uint32_t)(c->exit_info1 >> IOIO_PORT_SHIFT) & 0xffff;
        break;
    case SVM_EXIT_NPF:
        exit->write = c->exit_info1 & NPF_WRITE;
        exit->fetch = c->exit_info1 & NPF_FETCH;
        exit->gpa = c->exit_info2;
        break;
    }
    if (row->opcode_size != 0 && !decode_instruction(v, row, exit)) {
        exit->kind = VCPU_EXIT_OTHER;
        format_text(exit->text, sizeof(exit->text), "an instruction that nidus cannot read (exit 0x%llx)",
                    (unsigned long long)exit->raw);
    }
}

/* What made the guest leave. */
static void decode(struct vcpu *v, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    *exit = (struct vcpu_exit){ .kind = VCPU_EXIT_OTHER, .raw = c->exit_code };
    if (exit->raw == SVM_EXIT_MC)
        __asm__ volatile("int $18"); /* the machine check itself was swallowed with the exit */
    if (exit->raw - SVM_EXIT_EXCEPTION < EXCEPTIONS) {
        decode_exception(v, (unsigned)(exit->raw - SVM_EXIT_EXCEPTION), exit);
        return;
    }
    for (unsigned i = 0; i < sizeof(exit_rows) / sizeof(exit_rows[0]); i++)
        if (exit_rows[i].code == exit->raw) {
            decode_row(v, &exit_rows[i], exit);
            return;
        }
    if (exit->raw == ~0ull) {
        exit->kind = VCPU_EXIT_CRASH;
        format_text(exit->text, sizeof(exit->text), "control registers that contradict each other");
    } else {
        format_text(exit->text, sizeof(exit->text), "what gives the unknown exit 0x%llx", (unsigned long long)exit->raw);
    }
}

/* An event whose delivery was cut short is delivered at the next entry; a software interrupt's instruction runs again. */
static void keep_event(struct vmcb *c)
{
    bool again = (c->exit_int_info & EVENT_VALID) && (c->exit_int_info & EVENT_TYPE) != EVENT_SOFTWARE;
    c->event_inject = again ? c->exit_int_info : 0;
}

static void enter(struct vcpu *v, struct vcpu_exit *exit)
{
    struct vmcb *c = v->vmcb;
    load_rest(v);
    svm_enter(v->phys, v->gpr, platform_phys(&pages->host));
    c->tlb_control = 0;
    keep_event(c);
    if (c->exit_code == SVM_EXIT_INTR)
        interrupts_take();
    decode(v, exit);
}

static uint64_t get(struct vcpu *v, enum vcpu_register r)
{
    switch (r) {
    case VCPU_RAX:
        return v->vmcb->rax;
    case VCPU_RSP:
        return v->vmcb->rsp;
    case VCPU_CR3:
        return v->vmcb->cr3;
    case VCPU_CR4:
        return v->vmcb->cr4;
    case VCPU_EFER:
        return v->vmcb->efer & ~EFER_SVME;
    default:
        return v->gpr[r];
    }
}

static void set(struct vcpu *v, enum vcpu_register r, uint64_t value)
{
    switch (r) {
    case VCPU_RAX:
        v->vmcb->rax = value;
        break;
    case VCPU_RSP:
        v->vmcb->rsp = value;
        break;
    case VCPU_CR3:
        v->vmcb->cr3 = value;
        v->vmcb->tlb_control = TLB_FLUSH_ALL;
        break;
    case VCPU_CR4:
        v->vmcb->cr4 = value;
        v->vmcb->tlb_control = TLB_FLUSH_ALL; /* what MOV to CR4 itself would have flushed */
        break;
    case VCPU_EFER:
        v->vmcb->efer = value | EFER_SVME;
        v->vmcb->tlb_control = TLB_FLUSH_ALL;
        break;
    default:
        v->gpr[r] = value;
    }
}

static uint64_t rip(struct vcpu *v)
{
    return v->vmcb->rip;
}

static unsigned cpl(struct vcpu *v)
{
    return v->vmcb->cpl;
}

static void skip(struct vcpu *v, unsigned length)
{
    v->vmcb->rip += length;
    v->vmcb->interrupt_shadow = 0;
}

static bool inject(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
    if (v->vmcb->idtr.limit == 0)
        return false;
    v->vmcb->event_inject = EVENT_VALID | EVENT_EXCEPTION | vector |
                            (has_error ? EVENT_HAS_ERROR | (uint64_t)error << EVENT_ERROR_SHIFT : 0);
    return true;
}

static void report(struct vcpu *v)
{
    struct vmcb *c = v->vmcb;
    const char *name = v->guest->name;
    uint64_t *r = v->gpr;
#define X(value) ((unsigned long long)(value))
    log_line("guest %s: rip %016llx  rsp %016llx  rflags %08llx  cpl %u", name, X(c->rip), X(c->rsp), X(c->rflags), c->cpl);
    log_line("guest %s: cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %04llx", name, X(c->cr0), X(c->cr2),
             X(c->cr3), X(c->cr4), X(c->efer & ~EFER_SVME));
    log_line("guest %s: rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx", name, X(c->rax), X(r[VCPU_RBX]),
             X(r[VCPU_RCX]), X(r[VCPU_RDX]));
    log_line("guest %s: rsi %016llx  rdi %016llx  rbp %016llx  r8  %016llx", name, X(r[VCPU_RSI]), X(r[VCPU_RDI]),
             X(r[VCPU_RBP]), X(r[VCPU_R8]));
    log_line("guest %s: r9  %016llx  r10 %016llx  r11 %016llx  r12 %016llx", name, X(r[VCPU_R9]), X(r[VCPU_R10]),
             X(r[VCPU_R11]), X(r[VCPU_R12]));
    log_line("guest %s: r13 %016llx  r14 %016llx  r15 %016llx", name, X(r[VCPU_R13]), X(r[VCPU_R14]), X(r[VCPU_R15]));
    uint8_t bytes[INSTRUCTION_MAX];
    char text[3 * INSTRUCTION_MAX + 1] = " (not readable)";
    unsigned count = fetch(v, bytes);
    for (unsigned i = 0; i < count; i++)
        format_text(text + 3 * i, sizeof(text) - 3 * i, " %02x", bytes[i]);
    log_line("guest %s: code at rip:%s", name, text);
#undef X
}

const struct vcpu_ops svm_ops = {
    .name = "SVM",
    .call_instruction = NIDUS_CALL_VMMCALL,
    .stage2 = &stage2_npt,
    .probe = probe,
    .cpu_init = cpu_init,
    .create = create,
    .destroy = destroy,
    .enter = enter,
    .get = get,
    .set = set,
    .rip = rip,
    .cpl = cpl,
    .skip = skip,
    .inject = inject,
    .report = report,
};
