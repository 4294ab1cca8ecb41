/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acpi.h: what nidus reads from ACPI: static tables, and the one AML object that powers the machine off.
 *
 * Firmware writes these tables and gets much wrong, so each is checked (length, checksum, room for what is read)
 * and one that fails is left out with a line that says which and why.
 */
#ifndef NIDUS_ACPI_H
#define NIDUS_ACPI_H

#include <stdbool.h>
#include <stdint.h>

struct acpi_address {           /* generic address structure, ACPI 6.5 section 5.2.3.2 */
    uint8_t space;              /* 0: memory, 1: I/O ports */
    uint8_t bits;
    uint8_t bit_offset;
    uint8_t access;
    uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_address) == 12, "ACPI 5.2.3.2");
#define ACPI_SPACE_MEMORY 0u
#define ACPI_SPACE_IO     1u

struct acpi_ecam {              /* MCFG: PCI Firmware Specification 4.1.2 */
    uint64_t base;              /* of bus 0, whether or not it belongs to the range */
    uint16_t segment;
    uint8_t first_bus, last_bus;
};

/* What nidus wants from the fixed hardware. address.address 0: there is none. */
struct acpi_power {
    struct acpi_address pm1a_control, pm1b_control, pm_timer, reset;
    uint8_t reset_value;
    bool pm_timer_32;           /* the PM timer has 32 bits, not 24 */
    bool s5_known;              /* \_S5 was found: */
    uint8_t s5_a, s5_b;
};

/* Takes the root pointer and the list of tables. rsdp 0: there is none.  Every problem is one line of the log. */
void acpi_init(uint64_t rsdp);
/* The table, its whole length checked and readable; NULL: there is none.  index: the how-many-th of this signature, from 0. */
const void *acpi_table(const char signature[4], unsigned index, uint32_t *length);

/* The i-th ECAM window, from 0; false: no more. */
bool acpi_ecam(unsigned i, struct acpi_ecam *ecam);
/* Physical address of the HPET's registers; 0: none. */
uint64_t acpi_hpet(void);
/* Physical address of the i-th I/O APIC; 0: no more. */
uint64_t acpi_io_apic(unsigned i);
/* From FADT and DSDT. */
const struct acpi_power *acpi_power(void);

/* \_S5 in AML: the sleep type values for PM1a and PM1b.  false: not found, or not as expected. */
bool acpi_find_s5(const uint8_t *aml, uint32_t length, uint8_t *a, uint8_t *b);

/* Supplied by the kernel (a test supplies its own): length readable bytes at phys; NULL: cannot be mapped. */
const void *acpi_map(uint64_t phys, uint64_t length);

#endif
