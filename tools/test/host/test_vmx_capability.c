/* SPDX-License-Identifier: BSD-2-Clause */
/* What a processor's VMX lacks is named, one thing at a time, and no MSR is read that such a processor has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/vcpu.h"
#include "kernel/vmx/capability.h"

/* The MSRs by number, SDM volume 3, appendix A. */
enum {
    FEATURE_CONTROL = 0x3a, BASIC = 0x480, MISC = 0x485, CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1, PROC2_CAP = 0x48b, EPT_CAP,
    TRUE_PIN_CAP, TRUE_PROC_CAP, TRUE_EXIT_CAP, TRUE_ENTRY_CAP, MSRS
};
#define ALLOWED(bit) (1ull << (32 + (bit)))
#define REQUIRED(bit) (1ull << (bit))

static uint64_t value[MSRS];

const char *vcpu_text(const char *format, ...)
{
    static char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return text;
}

/* As the processor: #GP where an MSR is not there. */
static uint64_t read_msr(uint32_t msr)
{
    if (msr >= TRUE_PIN_CAP && msr <= TRUE_ENTRY_CAP && !(value[BASIC] >> 55 & 1))
        fail_msg("MSR 0x%x is not there without true controls", msr);
    if (msr == PROC2_CAP && !(value[TRUE_PROC_CAP] & ALLOWED(31)))
        fail_msg("MSR 0x%x is not there without secondary controls", msr);
    if (msr == EPT_CAP && !(value[PROC2_CAP] & (ALLOWED(1) | ALLOWED(5))))
        fail_msg("MSR 0x%x is not there without EPT and VPID", msr);
    if (msr != FEATURE_CONTROL && (msr < BASIC || msr >= MSRS || value[msr] == ~0ull))
        fail_msg("MSR 0x%x is not there", msr);
    return value[msr];
}

/* A processor that may do everything and must do what has been so since the first (the "default1" bits, A.3 to A.5). */
static int setup(void **state)
{
    (void)state;
    memset(value, 0xff, sizeof(value));
    value[FEATURE_CONTROL] = 0;
    value[BASIC] = 1ull << 55 | 6ull << 50 | 0x1000ull << 32 | 0x12;
    value[MISC] = 0x7004c1e7;
    value[CR0_FIXED0] = 0x80000021;
    value[CR0_FIXED1] = 0xffffffff;
    value[CR4_FIXED0] = 0x2000;
    value[CR4_FIXED1] = 0x003767ff;
    value[TRUE_PIN_CAP] = 0xffull << 32 | 0x16;
    value[TRUE_PROC_CAP] = 0xffffffffull << 32 | 0x04006172;
    value[PROC2_CAP] = 0xffffffffull << 32;
    value[TRUE_EXIT_CAP] = 0x1ffffffull << 32 | 0x36dfb;
    value[TRUE_ENTRY_CAP] = 0x3ffffull << 32 | 0x11fb;
    value[EPT_CAP] = 0xf0106f34141;
    return 0;
}

static void lacks(const char *words)
{
    struct vmx_capabilities c;
    const char *said = vmx_lacks(read_msr, &c);
    assert_non_null(said);
    assert_string_equal(said, words);
}

static void lacks_nothing(struct vmx_capabilities *c)
{
    const char *said = vmx_lacks(read_msr, c);
    if (said != NULL)
        fail_msg("%s", said);
}

static void a_processor_with_everything_lacks_nothing(void **state)
{
    (void)state;
    struct vmx_capabilities c;
    lacks_nothing(&c);
    assert_int_equal(c.revision, 0x12);
    assert_int_equal(c.timer_shift, 7);
    assert_true(c.ept_vpid == 0xf0106f34141);
    assert_int_equal(c.controls[PIN], 0x16 | 1 << 0 | 1 << 3 | 1 << 6);
    assert_int_equal(c.controls[PROC], 0x04006172 | 0xb1180c80);
    assert_int_equal(c.controls[PROC2], 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 15);
    assert_int_equal(c.controls[EXIT], 0x36dfb | 1 << 2 | 1 << 9 | 0x1f << 18);
    assert_int_equal(c.controls[ENTRY], 0x11fb | 1 << 2 | 1 << 9 | 3 << 14);
}

static void what_is_optional_is_left_out_where_it_is_not_there(void **state)
{
    (void)state;
    struct vmx_capabilities c;
    value[TRUE_PIN_CAP] &= ~ALLOWED(6);
    value[PROC2_CAP] &= ~(ALLOWED(12) | ALLOWED(15));
    value[TRUE_EXIT_CAP] &= ~ALLOWED(22);
    value[EPT_CAP] &= ~(1ull << 17 | 1ull << 21);
    lacks_nothing(&c);
    assert_int_equal(c.controls[PIN], 0x16 | 1 << 0 | 1 << 3);
    assert_int_equal(c.controls[PROC2], 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7);
    assert_int_equal(c.controls[EXIT], 0x36dfb | 1 << 2 | 1 << 9 | 0xf << 18);
}

static void firmware_may_have_locked_vmx_on_or_not_locked_it(void **state)
{
    (void)state;
    struct vmx_capabilities c;
    for (uint64_t bits = 0; bits < 8; bits++) {
        value[FEATURE_CONTROL] = bits | 0xff00;     /* SENTER's, which are nobody's business */
        if ((bits & 1) && !(bits & 4))
            lacks(bits == 1 ? "firmware has locked VMX off (IA32_FEATURE_CONTROL 0xff01)"
                            : "firmware has locked VMX off (IA32_FEATURE_CONTROL 0xff03)");     /* on inside SMX only */
        else
            lacks_nothing(&c);
    }
}

static void structures_lie_anywhere_in_write_back_memory(void **state)
{
    (void)state;
    value[BASIC] |= 1ull << 48;
    lacks("the processor's VMX wants its structures below 4 GiB (IA32_VMX_BASIC bit 48)");
    value[BASIC] &= ~(1ull << 48 | 15ull << 50);
    lacks("the processor's VMX wants its structures in memory of type 0, not write-back");
}

static void without_true_controls_none_is_read(void **state)
{
    (void)state;
    value[BASIC] &= ~(1ull << 55);
    lacks("the processor's VMX has no true controls (IA32_VMX_BASIC bit 55)");
}

static const struct {
    unsigned msr, bit;
    const char *name;
} asked_for[] = {
    { TRUE_PIN_CAP, 0, "external-interrupt exiting" }, { TRUE_PIN_CAP, 3, "NMI exiting" },
    { TRUE_PROC_CAP, 7, "HLT exiting" }, { TRUE_PROC_CAP, 10, "MWAIT exiting" }, { TRUE_PROC_CAP, 11, "RDPMC exiting" },
    { TRUE_PROC_CAP, 19, "CR8-load exiting" }, { TRUE_PROC_CAP, 20, "CR8-store exiting" },
    { TRUE_PROC_CAP, 24, "unconditional I/O exiting" }, { TRUE_PROC_CAP, 28, "MSR bitmaps" }, { TRUE_PROC_CAP, 29, "MONITOR exiting" },
    { TRUE_PROC_CAP, 31, "secondary controls" },
    { PROC2_CAP, 1, "EPT" }, { PROC2_CAP, 5, "VPID" }, { PROC2_CAP, 6, "WBINVD exiting" }, { PROC2_CAP, 7, "unrestricted guest" },
    { TRUE_EXIT_CAP, 2, "saving of debug controls" }, { TRUE_EXIT_CAP, 9, "64-bit host" }, { TRUE_EXIT_CAP, 18, "saving of PAT" },
    { TRUE_EXIT_CAP, 19, "loading of PAT at exit" }, { TRUE_EXIT_CAP, 20, "saving of EFER" },
    { TRUE_EXIT_CAP, 21, "loading of EFER at exit" },
    { TRUE_ENTRY_CAP, 2, "loading of debug controls" }, { TRUE_ENTRY_CAP, 9, "64-bit guest" },
    { TRUE_ENTRY_CAP, 14, "loading of PAT at entry" }, { TRUE_ENTRY_CAP, 15, "loading of EFER at entry" },
};

static void each_control_that_is_missing_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(asked_for) / sizeof(asked_for[0]); i++) {
        char words[100];
        snprintf(words, sizeof(words), "the processor's VMX has no %s", asked_for[i].name);
        value[asked_for[i].msr] &= ~(ALLOWED(asked_for[i].bit) | REQUIRED(asked_for[i].bit));
        lacks(words);
        value[asked_for[i].msr] |= ALLOWED(asked_for[i].bit);
    }
}

static void no_other_control_is_asked_for(void **state)
{
    (void)state;
    struct vmx_capabilities c;
    uint64_t needed[MSRS] = { 0 };
    for (size_t i = 0; i < sizeof(asked_for) / sizeof(asked_for[0]); i++)
        needed[asked_for[i].msr] |= ALLOWED(asked_for[i].bit);
    for (unsigned msr = PROC2_CAP; msr <= TRUE_ENTRY_CAP; msr++)
        if (msr != EPT_CAP)
            value[msr] = needed[msr];
    lacks_nothing(&c);
    for (unsigned i = 0; i < CONTROLS; i++)
        assert_int_equal(c.controls[i], needed[vmx_controls[i].msr] >> 32);
}

static void exits_that_cannot_be_turned_off_are_named(void **state)
{
    (void)state;
    value[TRUE_PROC_CAP] |= REQUIRED(15);
    lacks("the processor's VMX cannot go without CR3-load exiting");
    value[TRUE_PROC_CAP] ^= REQUIRED(15) | REQUIRED(16);
    lacks("the processor's VMX cannot go without CR3-store exiting");
}

static void each_part_of_ept_that_is_missing_is_named(void **state)
{
    (void)state;
    static const struct {
        unsigned bit;
        const char *words;
    } parts[] = {
        { 6, "the processor's VMX has no EPT of four levels" }, { 14, "the processor's VMX has no write-back EPT" },
        { 16, "the processor's VMX has no EPT with pages of 2 MiB" }, { 20, "the processor's VMX has no INVEPT" },
        { 25, "the processor's VMX has no INVEPT of one context" }, { 32, "the processor's VMX has no INVVPID" },
        { 41, "the processor's VMX has no INVVPID of one context" },
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        value[EPT_CAP] ^= 1ull << parts[i].bit;
        lacks(parts[i].words);
        value[EPT_CAP] ^= 1ull << parts[i].bit;
    }
}

static void control_registers_are_left_to_guests(void **state)
{
    (void)state;
    value[CR0_FIXED0] |= 1 << 18;   /* AM would always be on */
    lacks("the processor's VMX does not leave bits 0x40000 of CR0 to guests");
    value[CR0_FIXED0] ^= 1 << 18;
    value[CR0_FIXED1] ^= 1 << 16;   /* WP could not be */
    lacks("the processor's VMX does not leave bits 0x10000 of CR0 to guests");
    value[CR0_FIXED1] ^= 1 << 16;
    value[CR4_FIXED0] |= 1 << 14;
    lacks("the processor's VMX does not leave bits 0x4000 of CR4 to guests");
    value[CR4_FIXED0] ^= 1 << 14;
    value[CR4_FIXED1] ^= 1 << 6;
    lacks("the processor's VMX does not leave bits 0x40 of CR4 to guests");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(a_processor_with_everything_lacks_nothing),
        TEST(what_is_optional_is_left_out_where_it_is_not_there),
        TEST(firmware_may_have_locked_vmx_on_or_not_locked_it),
        TEST(structures_lie_anywhere_in_write_back_memory),
        TEST(without_true_controls_none_is_read),
        TEST(each_control_that_is_missing_is_named),
        TEST(no_other_control_is_asked_for),
        TEST(exits_that_cannot_be_turned_off_are_named),
        TEST(each_part_of_ept_that_is_missing_is_named),
        TEST(control_registers_are_left_to_guests),
    };
#undef TEST
    return cmocka_run_group_tests_name("vmx_capability", tests, NULL, NULL);
}
