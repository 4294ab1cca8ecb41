/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/xstate.h"

#include <stddef.h>

#include "iommu/platform.h"
#include "kernel/cpu.h"

#define CPUID_HAS_XSAVE    (1u << 26)  /* 1 ECX */
#define CPUID_HAS_BHI_CTRL (1u << 4)   /* 7.2 EDX */
#define CPUID_HAS_IBPB_AMD (1u << 12)  /* 80000008 EBX */
#define CPUID_HAS_IBPB     (1u << 26)  /* 7 EDX; IBRS as well */
#define CPUID_HAS_ARCH     (1u << 29)  /* 7 EDX */
#define MSR_SPEC_CTRL      0x48u
#define   SPEC_CTRL_IBRS     (1ull << 0)
#define   SPEC_CTRL_BHI_DIS_S (1ull << 10)
#define MSR_PRED_CMD       0x49u
#define   PRED_CMD_IBPB      (1ull << 0)
#define MSR_ARCH_CAPABILITIES 0x10au
#define   ARCH_IBRS_ALL      (1ull << 1)

struct fxsave {                 /* FXSAVE64, and the beginning of XSAVE's area */
    uint16_t control;
    uint8_t reserved_2[22];
    uint32_t mxcsr;
    uint8_t reserved_28[484];
};
_Static_assert(sizeof(struct fxsave) == 512, "SDM volume 1, 10.5.1");

static uint64_t components;     /* that guests may have; 0: no XSAVE */
static unsigned order;          /* of the pages of an area */
static bool have_ibpb;
static struct xstate *loaded;

static void set_xcr0(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(0));
}

void xstate_init(void)
{
    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP);
    write_cr4(read_cr4() | CR4_OSFXSR);
    uint32_t seven = cpuid_or_zero(7, 0).edx;
    have_ibpb = (seven & CPUID_HAS_IBPB) || (cpuid_or_zero(0x80000008, 0).ebx & CPUID_HAS_IBPB_AMD);
    /* Set once and for ever: no indirect branch of nidus follows a target that a guest taught the predictor (SDM volume 3, "enhanced IBRS"), nor
     * chooses among its own by a guest's branch history (BHI_DIS_S). */
    if ((seven & CPUID_HAS_ARCH) && (rdmsr(MSR_ARCH_CAPABILITIES) & ARCH_IBRS_ALL))
        wrmsr(MSR_SPEC_CTRL, SPEC_CTRL_IBRS | (cpuid_or_zero(7, 2).edx & CPUID_HAS_BHI_CTRL ? SPEC_CTRL_BHI_DIS_S : 0));
    if (!(cpuid(1, 0).ecx & CPUID_HAS_XSAVE))
        return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    struct cpuid c = cpuid_or_zero(0xd, 0);
    components = XCR0_GUESTS & ((uint64_t)c.edx << 32 | c.eax);
    set_xcr0(components);
    uint32_t bytes = cpuid(0xd, 0).ebx;
    while (PAGE_SIZE << order < bytes)
        order++;
}

bool xstate_create(struct xstate *x)
{
    /* A header of zeroes says that every component is as after power-on, but MXCSR. */
    struct fxsave *area = platform_pages_alloc(NULL, order);
    if (area == NULL)
        return false;
    area->control = 0x37f;
    area->mxcsr = 0x1f80;
    *x = (struct xstate){ .area = area, .xcr0 = XCR0_X87 };
    return true;
}

void xstate_destroy(struct xstate *x)
{
    if (loaded == x)
        loaded = NULL;
    platform_pages_free(NULL, x->area, order);
    x->area = NULL;
}

static void save(struct xstate *x)
{
    if (components != 0) {
        set_xcr0(components);   /* what x turned off in its XCR0 is in the registers all the same */
        __asm__ volatile("xsave64 (%0)" : : "r"(x->area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32)) : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" : : "r"(x->area) : "memory");
    }
    __asm__ volatile("mov %%db0, %0" : "=r"(x->dr[0]));
    __asm__ volatile("mov %%db1, %0" : "=r"(x->dr[1]));
    __asm__ volatile("mov %%db2, %0" : "=r"(x->dr[2]));
    __asm__ volatile("mov %%db3, %0" : "=r"(x->dr[3]));
}

static void restore(const struct xstate *x)
{
    /* AMD's FXRSTOR and XRSTOR leave the last x87 instruction and operand pointers alone when no exception is pending, so the
     * former guest's would stay readable: an instruction of nidus's own replaces them. */
    static const uint32_t zero;
    __asm__ volatile("fnclex; emms; fildl %0" : : "m"(zero));
    if (components != 0) {
        set_xcr0(components);
        __asm__ volatile("xrstor64 (%0)" : : "r"(x->area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32)) : "memory");
        set_xcr0(x->xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(x->area) : "memory");
    }
    __asm__ volatile("mov %0, %%db0" : : "r"(x->dr[0]));
    __asm__ volatile("mov %0, %%db1" : : "r"(x->dr[1]));
    __asm__ volatile("mov %0, %%db2" : : "r"(x->dr[2]));
    __asm__ volatile("mov %0, %%db3" : : "r"(x->dr[3]));
}

void xstate_load(struct xstate *x)
{
    if (loaded == x)
        return;
    if (loaded != NULL)
        save(loaded);
    restore(x);
    if (have_ibpb)
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    loaded = x;
}

/* SDM volume 1, 13.3: the combinations at which XSETBV faults. */
bool xstate_set_xcr0(struct xstate *x, uint64_t value)
{
    const uint64_t avx512 = value & XCR0_AVX512, amx = value & XCR0_AMX;
    if (components == 0 || (value & ~components) || !(value & XCR0_X87) || ((value & XCR0_AVX) && !(value & XCR0_SSE)) ||
        (avx512 != 0 && (avx512 != XCR0_AVX512 || !(value & XCR0_AVX))) || (amx != 0 && amx != XCR0_AMX))
        return false;
    x->xcr0 = value;
    set_xcr0(value);
    return true;
}
