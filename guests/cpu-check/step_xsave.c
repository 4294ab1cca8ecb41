/* SPDX-License-Identifier: BSD-2-Clause */
/* 7: XSAVE: the components that the processor has can be turned on, and hold what is put there while others run. */
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/cpu-check/vector.h"
#include "guests/runtime/check.h"
#include "guests/runtime/clock.h"

static void xgetbv_early(void *context)
{
    *(uint64_t *)context = xgetbv();
}

static void xsetbv_it(void *context)
{
    xsetbv(*(uint64_t *)context);
}

static bool refused(uint64_t value)
{
    return trap_try(xsetbv_it, &value).vector == VECTOR_GP;
}

void step_xsave(void)
{
    uint64_t offered, value, changed;
    uint8_t here[VECTOR_BYTES], back[VECTOR_BYTES];

    check_step("7", "XSAVE");
    check(trap_try(xgetbv_early, &value).vector == VECTOR_UD, "XGETBV without CR4.OSXSAVE: #UD");
    if (!vector_enable(&offered)) {
        check_skip("the processor has no XSAVE");
        return;
    }
    check((cpuid(1, 0).ecx & 1u << 27) != 0, "CPUID follows CR4.OSXSAVE");
    check((offered & 3) == 3 && (offered & ~0x600e7ull) == 0, "x87 and SSE are offered, and nothing but AVX, AVX-512 and AMX besides");
    check(xgetbv() == offered, "XCR0 takes all that is offered");
    check(components_are_initial(offered), "all components beyond SSE hold 0");
    check(refused(0), "XCR0 without x87: #GP");
    check(refused(1 | 4), "XCR0 with AVX and not SSE: #GP");
    check(refused(1 | 1 << 3), "XCR0 with MPX: #GP");
    check(refused(1 | 1ull << 62), "XCR0 with a reserved bit: #GP");
    check(refused((offered & ~0xe0ull) | 0x20), "XCR0 with a part of AVX-512: #GP");
    check(xgetbv() == offered, "and XCR0 is as before");
    for (unsigned i = 0; i < VECTOR_BYTES; i++)
        here[i] = (uint8_t)(i * 7 + 1);
    vector_put(offered, here);
    cpu_yield();
    memset(back, 0, sizeof(back));
    vector_take(offered, back);
    check(memcmp(here, back, vector_size(offered)) == 0, "vector registers hold what was put there, after a turn of the others");
    components_put(offered, 99);
    cpu_yield();
    changed = components_changed(offered, 99);
    if (changed == 0)
        check(true, "and so do all components beyond SSE");
    else
        check(false, "components 0x%llx do not", (unsigned long long)changed);
}
