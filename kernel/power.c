/* SPDX-License-Identifier: BSD-2-Clause */
/* power.c: power-off and reset by ACPI. */
#include "kernel/power.h"

#include <stddef.h>

#include "kernel/acpi.h"
#include "kernel/cpu.h"
#include "kernel/log.h"
#include "kernel/memory.h"
#include "kernel/time.h"

#define NS_PER_S 1000000000ull

/* ACPI 6.5 section 4.8.3.2.1: PM1 control. */
#define PM1_SLP_TYPE(type) ((uint16_t)((type) << 10))
#define PM1_SLP_TYPE_MASK  PM1_SLP_TYPE(7u)
#define PM1_SLP_EN         (1u << 13)

#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET   0xfe
#define RESET_PORT       0xcf9  /* PCH: reset control */
#define RESET_PORT_WARM  0x02
#define RESET_PORT_GO    0x06

static void wait(uint64_t ns)
{
    for (uint64_t end = time_ns() + ns; time_ns() < end;)
        cpu_pause();
}

static volatile void *mapped(const struct acpi_address *a, unsigned bytes)
{
    return a->space == ACPI_SPACE_MEMORY && a->address != 0 ? map_registers(a->address, bytes) : NULL;
}

static bool is_port(const struct acpi_address *a)
{
    return a->space == ACPI_SPACE_IO && a->address != 0 && a->address <= UINT16_MAX - 1;
}

/* SLP_TYP, then SLP_EN, the other bits as they are.  false: the register cannot be reached. */
static bool sleep(const struct acpi_address *a, uint8_t type)
{
    volatile uint16_t *registers = mapped(a, sizeof(uint16_t));
    if (registers == NULL && !is_port(a))
        return false;
    uint16_t value = registers != NULL ? *registers : in16((uint16_t)a->address);
    value = (uint16_t)((value & ~(PM1_SLP_TYPE_MASK | PM1_SLP_EN)) | PM1_SLP_TYPE(type));
    for (unsigned i = 0; i < 2; i++, value |= PM1_SLP_EN) {
        if (registers != NULL)
            *registers = value;
        else
            out16((uint16_t)a->address, value);
    }
    return true;
}

static void power_off(void)
{
    const struct acpi_power *p = acpi_power();
    if (!p->s5_known) {
        log_line("power-off: ACPI has no \\_S5 that nidus can read");
        return;
    }
    if (!sleep(&p->pm1a_control, p->s5_a)) {
        log_line("power-off: ACPI names no PM1a control register");
        return;
    }
    sleep(&p->pm1b_control, p->s5_b);
    wait(NS_PER_S);
    log_line("power-off: the machine stays on");
}

static void reset(void)
{
    const struct acpi_power *p = acpi_power();
    volatile uint8_t *registers = mapped(&p->reset, 1);
    if (registers != NULL)
        *registers = p->reset_value;
    else if (is_port(&p->reset))
        out8((uint16_t)p->reset.address, p->reset_value);
    wait(NS_PER_S / 10);
    out8(RESET_PORT, RESET_PORT_WARM);
    out8(RESET_PORT, RESET_PORT_GO);
    wait(NS_PER_S / 10);
    out8(KEYBOARD_COMMAND, KEYBOARD_RESET);
    wait(NS_PER_S);
    log_line("reset: the machine does not react");
}

void machine_end(enum boot_at_end what)
{
    if (what == BOOT_END_POWEROFF)
        power_off();
    if (what == BOOT_END_REBOOT)
        reset();
    log_line("nidus: halted");
    cpu_stop();
}
