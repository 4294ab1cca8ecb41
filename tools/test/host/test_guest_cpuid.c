/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor that a guest sees: nothing that nidus does not switch, emulate or stand behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/guest_cpuid.h"
#include "kernel/xstate.h"

#define BIT(n) (1u << (n))

static uint32_t last_basic, last_extended;

/* A processor that has everything. */
static struct cpuid all_ones(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    struct cpuid c = { ~0u, ~0u, ~0u, ~0u };
    if (leaf == 0)
        c.eax = last_basic;
    if (leaf == 0x80000000)
        c.eax = last_extended;
    return c;
}

/* A processor that has nothing. */
static struct cpuid all_zero(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    struct cpuid c = { 0 };
    if (leaf == 0)
        c.eax = last_basic;
    if (leaf == 0x80000000)
        c.eax = last_extended;
    return c;
}

static int setup(void **state)
{
    (void)state;
    last_basic = 0x20;
    last_extended = 0x80000028;
    return 0;
}

static void virtualisation_is_not_offered(void **state)
{
    (void)state;
    assert_int_equal(guest_cpuid(1, 0, all_ones).ecx & BIT(5), 0);
    assert_int_equal(guest_cpuid(0x80000001, 0, all_ones).ecx & BIT(2), 0);
    struct cpuid svm = guest_cpuid(0x8000000a, 0, all_ones);
    assert_int_equal(svm.eax | svm.ebx | svm.ecx | svm.edx, 0);
}

/* AVX, AVX-512 and AMX are switched, by XSAVE; PKRU, CET, PT, MPX and supervisor state are not. */
static void state_that_is_not_switched_is_not_offered(void **state)
{
    (void)state;
    assert_int_equal(guest_cpuid(1, 0, all_ones).ecx & (BIT(26) | BIT(27) | BIT(28)), BIT(26) | BIT(28));
    struct cpuid seven = guest_cpuid(7, 0, all_ones);
    assert_int_equal(seven.ebx & (BIT(5) | BIT(14) | BIT(16) | BIT(25)), BIT(5) | BIT(16));
    assert_int_equal(seven.ecx & (BIT(3) | BIT(7)), 0);
    assert_int_equal(seven.edx & (BIT(20) | BIT(24)), BIT(24)); /* CET-IBT, AMX */
    assert_int_equal(guest_cpuid(0xd, 0, all_ones).eax, BIT(0) | BIT(1) | BIT(2) | BIT(5) | BIT(6) | BIT(7) | BIT(17) | BIT(18));
    assert_int_equal(guest_cpuid(0xd, 0, all_ones).edx, 0);
    assert_int_equal(guest_cpuid(0xd, 1, all_ones).eax & ~(BIT(0) | BIT(1) | BIT(2)), 0); /* XSAVES, XFD */
    assert_int_equal(guest_cpuid(0xd, 1, all_ones).ecx, 0);
    for (uint32_t component = 2; component < 64; component++) {
        bool offered = XCR0_GUESTS >> component & 1;
        assert_int_equal(guest_cpuid(0xd, component, all_ones).eax, offered ? ~0u : 0);
    }
    assert_int_equal(guest_cpuid(0x80000001, 0, all_ones).edx & BIT(25), 0); /* FFXSR: FXSAVE without XMM */
}

/* APIC, x2APIC and TSC-deadline timer are nidus's own. */
static void the_apic_is_there_on_every_machine(void **state)
{
    (void)state;
    assert_int_equal(guest_cpuid(1, 0, all_zero).ecx & (BIT(21) | BIT(24)), BIT(21) | BIT(24));
    assert_int_equal(guest_cpuid(1, 0, all_zero).edx & BIT(9), BIT(9));
}

/* MONITOR, MTRR, MCA, RDTSCP, LA57, RDPID. */
static void what_belongs_to_nidus_is_not_offered(void **state)
{
    (void)state;
    struct cpuid one = guest_cpuid(1, 0, all_ones);
    assert_int_equal(one.ecx & BIT(3), 0);
    assert_int_equal(one.edx & (BIT(7) | BIT(12) | BIT(14)), 0);
    assert_int_equal(guest_cpuid(0x80000001, 0, all_ones).edx & BIT(27), 0);
    assert_int_equal(guest_cpuid(7, 0, all_ones).ecx & (BIT(16) | BIT(22)), 0);
    assert_int_equal(guest_cpuid(0x80000008, 0, all_ones).eax >> 8 & 0xff, 48);
}

static void what_the_machine_lacks_is_not_offered(void **state)
{
    (void)state;
    assert_int_equal(guest_cpuid(1, 0, all_zero).edx, BIT(9));
    assert_int_equal(guest_cpuid(1, 0, all_zero).ecx, BIT(21) | BIT(24) | BIT(31));
    assert_int_equal(guest_cpuid(7, 0, all_zero).ebx, 0);
    last_basic = 5;
    assert_int_equal(guest_cpuid(7, 0, all_ones).ebx, 0);
    assert_int_equal(guest_cpuid(0, 0, all_ones).eax, 5);
}

static void sse2_and_long_mode_are_offered(void **state)
{
    (void)state;
    assert_int_equal(guest_cpuid(1, 0, all_ones).edx & (BIT(24) | BIT(25) | BIT(26)), BIT(24) | BIT(25) | BIT(26));
    assert_int_equal(guest_cpuid(0x80000001, 0, all_ones).edx & BIT(29), BIT(29));
}

static void nidus_gives_its_name(void **state)
{
    (void)state;
    struct cpuid c = guest_cpuid(0x40000000, 0, all_ones);
    char name[12];
    memcpy(name, &c.ebx, 4);
    memcpy(name + 4, &c.ecx, 4);
    memcpy(name + 8, &c.edx, 4);
    assert_memory_equal(name, "nidusnidusni", 12);
    assert_int_equal(c.eax, 0x40000000);
    assert_true(guest_cpuid(1, 0, all_ones).ecx & BIT(31));
    assert_int_equal(guest_cpuid(0x40000001, 0, all_ones).eax, 0);
}

static void leaves_that_no_row_names_read_zero(void **state)
{
    (void)state;
    for (uint32_t leaf = 0x1f; leaf < 0x30; leaf++) {
        struct cpuid c = guest_cpuid(leaf, 0, all_ones);
        assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
    }
    assert_int_equal(guest_cpuid(0, 0, all_ones).eax, 0x1e);
    assert_int_equal(guest_cpuid(0x80000000, 0, all_ones).eax, 0x80000008);
    assert_int_equal(guest_cpuid(7, 1, all_ones).eax, 0);
    assert_int_equal(guest_cpuid(7, 1, all_ones).ebx, 0);
}

static void cr4_has_no_bit_for_what_is_not_offered(void **state)
{
    (void)state;
    const uint64_t la57 = 1 << 12, vmxe = 1 << 13, pke = 1 << 22, cet = 1 << 23, pce = 1 << 8, smap = 1 << 21;
    assert_int_equal(guest_cr4_allowed(all_ones) & (la57 | vmxe | pke | cet | pce), 0);
    assert_int_equal(guest_cr4_allowed(all_ones) >> 24, 0);
    assert_true(guest_cr4_allowed(all_ones) & smap);
    assert_false(guest_cr4_allowed(all_zero) & smap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(virtualisation_is_not_offered, setup),
        cmocka_unit_test_setup(state_that_is_not_switched_is_not_offered, setup),
        cmocka_unit_test_setup(the_apic_is_there_on_every_machine, setup),
        cmocka_unit_test_setup(what_belongs_to_nidus_is_not_offered, setup),
        cmocka_unit_test_setup(what_the_machine_lacks_is_not_offered, setup),
        cmocka_unit_test_setup(sse2_and_long_mode_are_offered, setup),
        cmocka_unit_test_setup(nidus_gives_its_name, setup),
        cmocka_unit_test_setup(leaves_that_no_row_names_read_zero, setup),
        cmocka_unit_test_setup(cr4_has_no_bit_for_what_is_not_offered, setup),
    };
    return cmocka_run_group_tests_name("guest_cpuid", tests, NULL, NULL);
}
