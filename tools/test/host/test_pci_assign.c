/* SPDX-License-Identifier: BSD-2-Clause */
/* Which PCI functions may be given to a guest, and what the guest may write to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/pci.h"
#include "kernel/guest.h"
#include "kernel/pci_assign.h"

void host_reset(void); /* tools/test/host/platform.h has a struct guest of its own */

#define EXPRESS_AT 0x60u
#define ACS_AT     0x148u
#define ACS_ID     0x0du
#define ACS_ALL    0x1du
#define ROOT_PORT  4u
#define DOWNSTREAM 6u
#define TO_PCI     7u

/* The machine: functions with configuration space, and the sizes of their BARs, that the driver would find out. */
static struct fake {
    uint16_t bdf;
    uint8_t config[4096];
    uint64_t bar_size[6];
    bool wide[6];
} machine[16];
static unsigned functions;

static struct fake *at(uint16_t bdf)
{
    for (unsigned i = 0; i < functions; i++)
        if (machine[i].bdf == bdf)
            return &machine[i];
    return NULL;
}

static void put(struct fake *f, unsigned offset, unsigned width, uint32_t value)
{
    memcpy(f->config + offset, &value, width);
}

uint32_t pci_read(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width)
{
    uint32_t value = 0;
    struct fake *f = segment == 0 ? at(bdf) : NULL;
    if (f == NULL)
        return 0xffffffffu >> (32 - 8 * width);
    memcpy(&value, f->config + offset, width);
    return value;
}

void pci_write(uint16_t segment, uint16_t bdf, unsigned offset, unsigned width, uint32_t value)
{
    assert_int_equal(segment, 0);
    put(at(bdf), offset, width, value);
}

void pci_for_each(void (*visit)(uint16_t, uint16_t, void *), void *context)
{
    for (unsigned i = 0; i < functions; i++)
        visit(0, machine[i].bdf, context);
}

bool pci_is_extended(uint16_t segment, uint16_t bdf)
{
    return segment == 0 && at(bdf) != NULL;
}

bool pci_is_bridge(uint16_t segment, uint16_t bdf)
{
    return pci_read(segment, bdf, PCI_HEADER_TYPE, 1) == 1;
}

unsigned pci_capability(uint16_t segment, uint16_t bdf, uint8_t id)
{
    return id == PCI_CAP_EXPRESS && pci_read(segment, bdf, EXPRESS_AT, 1) == id ? EXPRESS_AT : 0;
}

unsigned pci_extended_capability(uint16_t segment, uint16_t bdf, uint16_t id)
{
    return id == ACS_ID && pci_read(segment, bdf, ACS_AT, 2) == id ? ACS_AT : 0;
}

void pci_read_bar(uint16_t segment, uint16_t bdf, unsigned i, struct pci_bar *bar)
{
    struct fake *f = at(bdf);
    uint32_t low = pci_read(segment, bdf, PCI_BAR0 + 4 * i, 4);
    *bar = (struct pci_bar){ .base = low & ~0xfull, .size = f->bar_size[i], .io = low & 1, .wide = f->wide[i] };
    if (bar->wide)
        bar->base |= (uint64_t)pci_read(segment, bdf, PCI_BAR0 + 4 * i + 4, 4) << 32;
}

static struct fake *add(uint16_t bdf, unsigned express_kind)
{
    struct fake *f = &machine[functions++];
    *f = (struct fake){ .bdf = bdf };
    put(f, PCI_VENDOR_ID, 4, 0x11e81234);
    put(f, EXPRESS_AT, 1, PCI_CAP_EXPRESS);
    put(f, EXPRESS_AT + 2, 2, express_kind << 4 | 2);
    return f;
}

static void add_acs(struct fake *f)
{
    put(f, ACS_AT, 2, ACS_ID);
    put(f, ACS_AT + 4, 2, ACS_ALL);
}

static struct fake *add_bridge(uint16_t bdf, unsigned express_kind, uint8_t first, uint8_t last)
{
    struct fake *f = add(bdf, express_kind);
    put(f, PCI_HEADER_TYPE, 1, 1);
    put(f, PCI_SECONDARY_BUS, 1, first);
    put(f, PCI_SUBORDINATE_BUS, 1, last);
    return f;
}

static void set_bar(struct fake *f, unsigned i, uint32_t base, uint64_t size)
{
    put(f, PCI_BAR0 + 4 * i, 4, base);
    f->bar_size[i] = size;
}

/* Two guests, each with the functions that nidus.conf gives it. */
static struct boot_info boot;
static struct guest alpha, beta;
static struct nidus_guest_device device;
static char reason[160];

static int setup(void **state)
{
    (void)state;
    host_reset();
    functions = 0;
    memset(&boot, 0, sizeof(boot));
    boot.guest_count = 2;
    boot.memory_count = 1;
    boot.memory[0] = (struct boot_mem){ .base = 0x100000, .size = 0x7ff00000, .type = BOOT_MEM_FREE };
    struct guest *g[2] = { &alpha, &beta };
    for (unsigned i = 0; i < 2; i++) {
        memset(g[i], 0, sizeof(*g[i]));
        g[i]->config = &boot.guest[i];
        g[i]->bar_top = 0xc0000000;
        assert_int_equal(stage2_init(&g[i]->memory, &stage2_npt, 4, STAGE2_2M, true, NULL), 0);
    }
    reason[0] = '\0';
    return 0;
}

static void claim(unsigned guest, uint16_t bdf)
{
    boot.guest[guest].device[boot.guest[guest].device_count++] = (struct boot_device){ .bdf = bdf };
}

static void assert_given(struct guest *g, uint16_t bdf)
{
    if (!pci_assign(g, 0, bdf, &device, reason))
        fail_msg("refused: %s", reason);
}

static void assert_refused(struct guest *g, uint16_t bdf, const char *why)
{
    assert_false(pci_assign(g, 0, bdf, &device, reason));
    if (strstr(reason, why) == NULL)
        fail_msg("the reason '%s' does not say '%s'", reason, why);
}

static void a_bar_is_mapped_uncached_where_the_guest_is_told(void **state)
{
    (void)state;
    set_bar(add(0x20, 0), 0, 0xfea00000, 0x100000);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    uint64_t hpa;
    unsigned prot;
    assert_int_equal(device.bar[0].size, 0x100000);
    assert_int_equal(stage2_lookup(&alpha.memory, device.bar[0].gpa, &hpa, &prot, NULL, NULL), 0);
    assert_int_equal(hpa, 0xfea00000);
    assert_int_equal(prot, STAGE2_READ | STAGE2_WRITE | STAGE2_UNCACHED);
    assert_int_equal(stage2_lookup(&alpha.memory, device.bar[0].gpa + 0x100000, &hpa, NULL, NULL, NULL), -NIDUS_ENOENT);
    uint32_t value;
    assert_int_equal(pci_guest_read(&device, PCI_BAR0, 4, &value), 0);
    assert_int_equal(value, device.bar[0].gpa);
}

static void a_wide_bar_reads_as_the_guests_address_in_both_words(void **state)
{
    (void)state;
    struct fake *f = add(0x20, 0);
    set_bar(f, 2, 0x00000004, 0x4000);
    put(f, PCI_BAR0 + 12, 4, 0x38);
    f->wide[2] = true;
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    uint32_t low, high;
    assert_int_equal(pci_guest_read(&device, PCI_BAR0 + 8, 4, &low), 0);
    assert_int_equal(pci_guest_read(&device, PCI_BAR0 + 12, 4, &high), 0);
    assert_int_equal(low, device.bar[2].gpa | 4);
    assert_int_equal(high, 0);
}

static void an_io_bar_is_not_there(void **state)
{
    (void)state;
    struct fake *f = add(0x20, 0);
    set_bar(f, 1, 0x6001, 0x20);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    uint32_t value = 1;
    assert_int_equal(device.bar[1].gpa, 0);
    assert_int_equal(pci_guest_read(&device, PCI_BAR0 + 4, 4, &value), 0);
    assert_int_equal(value, 0);
}

static void a_page_shared_with_another_functions_bar_is_refused(void **state)
{
    (void)state;
    set_bar(add(0x20, 0), 0, 0xfea00000, 0x100);
    set_bar(add(0x30, 0), 1, 0xfea00800, 0x100);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x20, "shares a page");
    uint64_t hpa;
    assert_int_equal(stage2_lookup(&alpha.memory, 0xc0000000, &hpa, NULL, NULL, NULL), -NIDUS_ENOENT);
}

static void a_refused_bar_takes_back_those_before_it(void **state)
{
    (void)state;
    struct fake *f = add(0x20, 0);
    set_bar(f, 0, 0xfea00000, 0x1000);
    set_bar(f, 1, 0, 0x1000);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x20, "no address");
    uint64_t hpa;
    assert_int_equal(stage2_lookup(&alpha.memory, 0xc0000000, &hpa, NULL, NULL, NULL), -NIDUS_ENOENT);
}

static void a_bar_on_memory_or_on_the_chipset_is_refused(void **state)
{
    (void)state;
    struct fake *f = add(0x20, 0);
    claim(0, 0x20);
    pci_assign_init(&boot);
    set_bar(f, 0, 0x40000000, 0x1000);
    assert_refused(&alpha, 0x20, "memory");
    set_bar(f, 0, 0xfee00000, 0x1000);
    assert_refused(&alpha, 0x20, "where no device's registers can be");
    set_bar(f, 0, 0xfe800000, 0x800000);
    assert_refused(&alpha, 0x20, "where no device's registers can be");
}

static void a_bar_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    set_bar(add(0x20, 0), 0, 0x80000000, 0x40000000);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x20, "does not fit");
}

static void slots_of_the_root_bus_are_apart(void **state)
{
    (void)state;
    add(0x20, 9);
    add(0x28, 9);
    claim(0, 0x20);
    claim(1, 0x28);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    assert_given(&beta, 0x28);
}

static void functions_of_a_slot_need_acs_to_have_two_owners(void **state)
{
    (void)state;
    struct fake *zero = add(0x20, 0), *one = add(0x21, 0);
    claim(0, 0x20);
    claim(1, 0x21);
    add_acs(zero);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x20, "00:04.1 has no ACS");
    add_acs(one);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    assert_given(&beta, 0x21);
}

static void functions_of_a_slot_may_have_one_owner(void **state)
{
    (void)state;
    add(0x20, 0);
    add(0x21, 0);
    claim(0, 0x20);
    claim(0, 0x21);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    assert_given(&alpha, 0x21);
}

static void ports_need_acs_and_get_it_turned_on(void **state)
{
    (void)state;
    struct fake *a = add_bridge(0x40, ROOT_PORT, 1, 1), *b = add_bridge(0x48, ROOT_PORT, 2, 2);
    add(0x100, 0);
    add(0x200, 0);
    claim(0, 0x100);
    claim(1, 0x200);
    add_acs(a);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x100, "00:09.0 has no ACS");
    add_acs(b);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x100);
    assert_int_equal(a->config[ACS_AT + 6], ACS_ALL);
    assert_int_equal(b->config[ACS_AT + 6], ACS_ALL);
}

static void below_a_switch_the_ports_that_part_count(void **state)
{
    (void)state;
    add_acs(add_bridge(0x40, ROOT_PORT, 1, 4));
    add_bridge(0x100, 5, 2, 4);
    struct fake *a = add_bridge(0x200, DOWNSTREAM, 3, 3);
    add_bridge(0x208, DOWNSTREAM, 4, 4);
    add(0x300, 0);
    add(0x400, 0);
    claim(0, 0x300);
    claim(1, 0x400);
    add_acs(a);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x300, "02:01.0 has no ACS");
}

static void behind_conventional_pci_nothing_has_an_id_of_its_own(void **state)
{
    (void)state;
    add_bridge(0x40, TO_PCI, 1, 1);
    add(0x108, 0);
    claim(0, 0x108);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x108, "conventional PCI");
}

static void bridges_absent_devices_and_a_second_owner_are_refused(void **state)
{
    (void)state;
    add_bridge(0x40, ROOT_PORT, 1, 1);
    add(0x20, 0);
    claim(0, 0x40);
    claim(0, 0x50);
    claim(0, 0x20);
    claim(1, 0x20);
    pci_assign_init(&boot);
    assert_refused(&alpha, 0x40, "bridge");
    assert_refused(&alpha, 0x50, "no such device");
    assert_refused(&alpha, 0x20, "claims it too");
}

static struct fake *given_device(void)
{
    struct fake *f = add(0x20, 0);
    set_bar(f, 0, 0xfea00000, 0x1000);
    put(f, PCI_COMMAND, 2, PCI_COMMAND_BUS_MASTER | PCI_COMMAND_IO);
    put(f, EXPRESS_AT + 8, 2, 0x2810);
    claim(0, 0x20);
    pci_assign_init(&boot);
    assert_given(&alpha, 0x20);
    return f;
}

static void a_given_device_answers_but_does_no_dma_yet(void **state)
{
    (void)state;
    struct fake *f = given_device();
    uint16_t command, control;
    memcpy(&command, f->config + PCI_COMMAND, 2);
    memcpy(&control, f->config + EXPRESS_AT + 8, 2);
    assert_int_equal(command, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF);
    assert_int_equal(control, 0x2010); /* No Snoop is off, the rest as it was */
}

static void bus_master_is_the_guests_to_write(void **state)
{
    (void)state;
    struct fake *f = given_device();
    uint32_t value = PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF | PCI_COMMAND_BUS_MASTER;
    assert_int_equal(pci_guest_write(&device, PCI_COMMAND, 2, value, false), 0);
    assert_int_equal(f->config[PCI_COMMAND] & PCI_COMMAND_BUS_MASTER, PCI_COMMAND_BUS_MASTER);
    /* The same through a wider write that leaves the neighbours alone. */
    assert_int_equal(pci_guest_write(&device, PCI_COMMAND, 4, value & ~PCI_COMMAND_BUS_MASTER, false), 0);
    assert_int_equal(f->config[PCI_COMMAND] & PCI_COMMAND_BUS_MASTER, 0);
}

/* Whose unit is out of order, or who did not answer an invalidation. */
static void a_fenced_device_does_not_get_bus_master_back(void **state)
{
    (void)state;
    struct fake *f = given_device();
    uint32_t off = PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF, on = off | PCI_COMMAND_BUS_MASTER;
    for (unsigned width = 1; width <= 4; width *= 2)
        assert_int_equal(pci_guest_write(&device, PCI_COMMAND, width, (on | pci_read(0, 0x20, PCI_STATUS, 2) << 16) & (uint32_t)((1ULL << 8 * width) - 1),
                                         true), -NIDUS_EIO);
    assert_int_equal(f->config[PCI_COMMAND] & PCI_COMMAND_BUS_MASTER, 0);
    assert_int_equal(pci_guest_write(&device, PCI_COMMAND, 2, PCI_COMMAND_MEMORY, true), 0); /* all else it may still write */
    assert_int_equal(pci_guest_write(&device, 0x0c, 1, 4, true), 0);
}

/* Every byte of configuration space: what the allow-list does not name stays as it is, whatever the width. */
static void nothing_else_can_be_written(void **state)
{
    (void)state;
    struct fake *f = given_device(), before = *f;
    static const struct { unsigned offset; uint32_t bits; } allowed[] = {
        { PCI_COMMAND, 0xf9000404 }, { 0x0c, 0xff }, { EXPRESS_AT + 8, 0x000f0010 },
    };
    for (unsigned offset = 0; offset < 4096; offset++)
        for (unsigned width = 1; width <= 4 && offset % width == 0; width *= 2)
            for (unsigned bit = 0; bit < 8 * width; bit++) {
                uint32_t now = pci_read(0, 0x20, offset, width), may = 0;
                for (unsigned i = 0; i < 3; i++)
                    if (allowed[i].offset == (offset & ~3u))
                        may = allowed[i].bits >> 8 * (offset & 3) >> bit & 1;
                int64_t result = pci_guest_write(&device, offset, width, now ^ 1u << bit, false);
                if (result != (may ? 0 : -NIDUS_EPERM))
                    fail_msg("offset 0x%x width %u bit %u: %d", offset, width, bit, (int)result);
                *f = before;
            }
}

static void accesses_must_be_aligned_and_inside(void **state)
{
    (void)state;
    given_device();
    uint32_t value;
    assert_int_equal(pci_guest_read(&device, 0, 3, &value), -NIDUS_EINVAL);
    assert_int_equal(pci_guest_read(&device, 0, 0, &value), -NIDUS_EINVAL);
    assert_int_equal(pci_guest_read(&device, 0, 8, &value), -NIDUS_EINVAL);
    assert_int_equal(pci_guest_read(&device, 2, 4, &value), -NIDUS_EINVAL);
    assert_int_equal(pci_guest_read(&device, 4096, 1, &value), -NIDUS_EINVAL);
    assert_int_equal(pci_guest_read(&device, 4092, 4, &value), 0);
    assert_int_equal(pci_guest_write(&device, 4096, 4, 0, false), -NIDUS_EINVAL);
}

static void the_rom_reads_zero(void **state)
{
    (void)state;
    struct fake *f = given_device();
    put(f, PCI_EXPANSION_ROM, 4, 0xfeb00001);
    uint32_t value = 1;
    assert_int_equal(pci_guest_read(&device, PCI_EXPANSION_ROM, 4, &value), 0);
    assert_int_equal(value, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_bar_is_mapped_uncached_where_the_guest_is_told, setup),
        cmocka_unit_test_setup(a_wide_bar_reads_as_the_guests_address_in_both_words, setup),
        cmocka_unit_test_setup(an_io_bar_is_not_there, setup),
        cmocka_unit_test_setup(a_page_shared_with_another_functions_bar_is_refused, setup),
        cmocka_unit_test_setup(a_refused_bar_takes_back_those_before_it, setup),
        cmocka_unit_test_setup(a_bar_on_memory_or_on_the_chipset_is_refused, setup),
        cmocka_unit_test_setup(a_bar_that_does_not_fit_is_refused, setup),
        cmocka_unit_test_setup(slots_of_the_root_bus_are_apart, setup),
        cmocka_unit_test_setup(functions_of_a_slot_need_acs_to_have_two_owners, setup),
        cmocka_unit_test_setup(functions_of_a_slot_may_have_one_owner, setup),
        cmocka_unit_test_setup(ports_need_acs_and_get_it_turned_on, setup),
        cmocka_unit_test_setup(below_a_switch_the_ports_that_part_count, setup),
        cmocka_unit_test_setup(behind_conventional_pci_nothing_has_an_id_of_its_own, setup),
        cmocka_unit_test_setup(bridges_absent_devices_and_a_second_owner_are_refused, setup),
        cmocka_unit_test_setup(a_given_device_answers_but_does_no_dma_yet, setup),
        cmocka_unit_test_setup(bus_master_is_the_guests_to_write, setup),
        cmocka_unit_test_setup(a_fenced_device_does_not_get_bus_master_back, setup),
        cmocka_unit_test_setup(nothing_else_can_be_written, setup),
        cmocka_unit_test_setup(accesses_must_be_aligned_and_inside, setup),
        cmocka_unit_test_setup(the_rom_reads_zero, setup),
    };
    return cmocka_run_group_tests_name("pci_assign", tests, NULL, NULL);
}
