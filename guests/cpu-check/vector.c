/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/cpu-check/vector.h"

#include <string.h>

#include "guests/cpu-check/trap.h"

#define CPUID_HAS_XSAVE (1u << 26)
#define CR4_OSXSAVE     (1u << 18)
#define AVX             4u
#define AVX512          0xe0u

#define FOR_16(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define FOR_32(f) FOR_16(f) f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) f(28) f(29) f(30) f(31)

#define PUT_SSE(n)    __asm__ volatile("movdqu %0, %%xmm" #n : : "m"(*(const uint8_t (*)[16])(bytes + 16 * n)));
#define TAKE_SSE(n)   __asm__ volatile("movdqu %%xmm" #n ", %0" : "=m"(*(uint8_t (*)[16])(bytes + 16 * n)));
#define PUT_AVX(n)    __asm__ volatile("vmovdqu %0, %%ymm" #n : : "m"(*(const uint8_t (*)[32])(bytes + 32 * n)));
#define TAKE_AVX(n)   __asm__ volatile("vmovdqu %%ymm" #n ", %0" : "=m"(*(uint8_t (*)[32])(bytes + 32 * n)));
#define PUT_AVX512(n) __asm__ volatile("vmovdqu64 %0, %%zmm" #n : : "m"(*(const uint8_t (*)[64])(bytes + 64 * n)));
#define TAKE_AVX512(n) __asm__ volatile("vmovdqu64 %%zmm" #n ", %0" : "=m"(*(uint8_t (*)[64])(bytes + 64 * n)));

bool vector_enable(uint64_t *offered)
{
    struct cpuid c;

    if (!(cpuid(1, 0).ecx & CPUID_HAS_XSAVE))
        return false;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    c = cpuid(0xd, 0);
    *offered = (uint64_t)c.edx << 32 | c.eax;
    xsetbv(*offered);
    return true;
}

unsigned vector_size(uint64_t xcr0)
{
    return xcr0 & AVX512 ? 32 * 64 : xcr0 & AVX ? 16 * 32 : 16 * 16;
}

void vector_put(uint64_t xcr0, const uint8_t *bytes)
{
    if (xcr0 & AVX512) {
        FOR_32(PUT_AVX512)
    } else if (xcr0 & AVX) {
        FOR_16(PUT_AVX)
    } else {
        FOR_16(PUT_SSE)
    }
}

void vector_take(uint64_t xcr0, uint8_t *bytes)
{
    if (xcr0 & AVX512) {
        FOR_32(TAKE_AVX512)
    } else if (xcr0 & AVX) {
        FOR_16(TAKE_AVX)
    } else {
        FOR_16(TAKE_SSE)
    }
}

#define X87_SSE         3ull
#define TILE_CONFIG     17
#define HEADER          512     /* of XSAVE's area: which components are not as after power-on */
#define HEADER_END      576

static uint8_t area[XSAVE_BYTES] __attribute__((aligned(64)));

static void save(uint64_t components)
{
    memset(area, 0, sizeof(area));
    __asm__ volatile("xsave64 %0" : "+m"(area) : "a"((uint32_t)components), "d"((uint32_t)(components >> 32)) : "memory");
}

/* SDM volume 1, 18.2: palette 1, eight tiles of 16 rows of 64 bytes. */
static void fill_tile_config(uint8_t *config)
{
    memset(config, 0, 64);
    config[0] = 1;
    for (unsigned i = 0; i < 8; i++) {
        config[16 + 2 * i] = 64;
        config[48 + i] = 16;
    }
}

static void fill(uint8_t *bytes, unsigned component, uint32_t size, uint64_t pattern)
{
    if (component == TILE_CONFIG) {
        fill_tile_config(bytes);
        return;
    }
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(pattern * 5 + component + i * 3);
}

bool components_are_initial(uint64_t xcr0)
{
    save(xcr0 & ~X87_SSE);
    for (unsigned i = HEADER_END; i < XSAVE_BYTES; i++)
        if (area[i] != 0)
            return false;
    return true;
}

void components_put(uint64_t xcr0, uint64_t pattern)
{
    uint64_t components = xcr0 & ~X87_SSE;

    memset(area, 0, sizeof(area));
    memcpy(area + HEADER, &components, sizeof(components));
    for (unsigned i = 2; i < 63; i++)
        if (components >> i & 1)
            fill(area + cpuid(0xd, i).ebx, i, cpuid(0xd, i).eax, pattern);
    __asm__ volatile("xrstor64 %0" : : "m"(area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32)) : "memory");
}

uint64_t components_changed(uint64_t xcr0, uint64_t pattern)
{
    static uint8_t wanted[XSAVE_BYTES];
    uint64_t changed = 0;

    save(xcr0 & ~X87_SSE);
    for (unsigned i = 2; i < 63; i++)
        if (xcr0 >> i & 1) {
            struct cpuid where = cpuid(0xd, i);

            fill(wanted, i, where.eax, pattern);
            if (memcmp(wanted, area + where.ebx, where.eax) != 0)
                changed |= 1ull << i;
        }
    return changed;
}
