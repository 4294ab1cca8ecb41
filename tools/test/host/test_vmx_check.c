/* SPDX-License-Identifier: BSD-2-Clause */
/* When an entry fails, the field that is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/cpu.h"
#include "kernel/vmx/check.h"

#define FIELDS 0x7000

static uint64_t value[FIELDS];

static uint64_t read_field(enum vmcs_field field)
{
    return value[field];
}

/* A guest in 64-bit mode with paging. */
static int setup(void **state)
{
    (void)state;
    memset(value, 0, sizeof(value));
    value[VMCS_CR0] = CR0_PE | CR0_NE | CR0_PG;
    value[VMCS_CR4] = CR4_PAE | 1 << 13;
    value[VMCS_EFER] = EFER_LME | EFER_LMA;
    value[VMCS_PAT] = 0x0007040600070406;
    value[VMCS_CS_RIGHTS] = RIGHTS_CODE64;
    value[VMCS_TR_RIGHTS] = RIGHTS_TSS_BUSY;
    value[VMCS_RFLAGS] = 2;
    value[VMCS_LINK] = ~0ull;
    value[VMCS_ENTRY] = ENTRY_64_BIT;
    return 0;
}

static void is_named(enum vmcs_field field, uint64_t wrong, const char *name)
{
    uint64_t right = value[field];
    value[field] = wrong;
    const char *said = vmx_wrong_guest_field(read_field);
    assert_non_null(said);
    assert_string_equal(said, name);
    value[field] = right;
    assert_null(vmx_wrong_guest_field(read_field));
}

static void a_good_state_has_no_wrong_field(void **state)
{
    (void)state;
    assert_null(vmx_wrong_guest_field(read_field));
    value[VMCS_RIP] = 0xffffffff80001000;   /* canonical */
    value[VMCS_FS_BASE] = 0x00007fffffffffff;
    assert_null(vmx_wrong_guest_field(read_field));
    value[VMCS_RFLAGS] |= RFLAGS_IF;        /* what STI leaves */
    value[VMCS_INTERRUPTIBILITY] = 1;
    assert_null(vmx_wrong_guest_field(read_field));
}

static void a_field_that_is_wrong_by_itself_is_named(void **state)
{
    (void)state;
    is_named(VMCS_CR0, CR0_PE | CR0_PG, "CR0");
    is_named(VMCS_CR0, CR0_PE | CR0_PG | CR0_NE | 1ull << 32, "CR0");
    is_named(VMCS_CR4, CR4_PAE, "CR4");
    is_named(VMCS_CR3, 1ull << 52, "CR3");
    is_named(VMCS_DR7, 1ull << 32, "DR7");
    is_named(VMCS_DEBUGCTL, 4, "DEBUGCTL");
    is_named(VMCS_EFER, EFER_LME | EFER_LMA | EFER_SVME, "EFER");
    is_named(VMCS_SYSENTER_ESP, 1ull << 47, "SYSENTER_ESP");
    is_named(VMCS_SYSENTER_EIP, 1ull << 63, "SYSENTER_EIP");
    is_named(VMCS_CS_BASE, 1ull << 32, "CS base");
    is_named(VMCS_CS_RIGHTS, RIGHTS_CODE64 & ~0x80u, "CS access rights");
    is_named(VMCS_GS_BASE, 0x0000800000000000, "GS base");
    is_named(VMCS_TR, 4, "TR");
    is_named(VMCS_TR_RIGHTS, RIGHTS_TSS_BUSY | RIGHTS_UNUSABLE, "TR access rights");
    is_named(VMCS_GDTR_LIMIT, 0x10000, "GDTR limit");
    is_named(VMCS_IDTR_BASE, 1ull << 60, "IDTR base");
    is_named(VMCS_RIP, 1ull << 50, "RIP");
    is_named(VMCS_RFLAGS, 0, "RFLAGS");
    is_named(VMCS_RFLAGS, 2 | 1 << 15, "RFLAGS");
    is_named(VMCS_ACTIVITY, 4, "activity state");
    is_named(VMCS_INTERRUPTIBILITY, 0x20, "interruptibility");
    is_named(VMCS_PENDING_DEBUG, 0x10, "pending debug exceptions");
    is_named(VMCS_LINK, 0, "VMCS link pointer");
}

static void fields_that_contradict_each_other_are_named(void **state)
{
    (void)state;
    is_named(VMCS_CR0, CR0_NE | CR0_PG, "CR0, CR4 and the control for 64-bit mode");
    is_named(VMCS_CR4, 1 << 13, "CR0, CR4 and the control for 64-bit mode");
    is_named(VMCS_ENTRY, 0, "EFER, CR0 and the control for 64-bit mode");
    is_named(VMCS_EFER, EFER_LMA, "EFER, CR0 and the control for 64-bit mode");
    is_named(VMCS_PAT, 0x0007040600070402, "PAT");
    is_named(VMCS_PAT, 8, "PAT");
    is_named(VMCS_CS_RIGHTS, RIGHTS_CODE64 | 1 << 14, "CS access rights and RIP");
    value[VMCS_CS_RIGHTS] &= ~RIGHTS_LONG;
    is_named(VMCS_RIP, 1ull << 32, "CS access rights and RIP");
    is_named(VMCS_INTERRUPTIBILITY, 1, "interruptibility and RFLAGS.IF");
    is_named(VMCS_INTERRUPTIBILITY, 3, "interruptibility and RFLAGS.IF");
    value[VMCS_RFLAGS] |= RFLAGS_IF | RFLAGS_TF;    /* STI under TF */
    value[VMCS_PENDING_DEBUG] = PENDING_DEBUG_BS;
    value[VMCS_INTERRUPTIBILITY] = 1;
    is_named(VMCS_PENDING_DEBUG, 0, "RFLAGS.TF, interruptibility and pending debug exceptions");
    is_named(VMCS_RFLAGS, 2 | RFLAGS_IF, "RFLAGS.TF, interruptibility and pending debug exceptions");
    setup(state);
    is_named(VMCS_ENTRY_EVENT, EVENT_VALID | 0x40, "an interrupt that RFLAGS.IF or a shadow holds back");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_state_has_no_wrong_field, setup),
        cmocka_unit_test_setup(a_field_that_is_wrong_by_itself_is_named, setup),
        cmocka_unit_test_setup(fields_that_contradict_each_other_are_named, setup),
    };
    return cmocka_run_group_tests_name("vmx_check", tests, NULL, NULL);
}
