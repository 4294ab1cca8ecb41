/* SPDX-License-Identifier: BSD-2-Clause */
/* lapic.h: the local APIC of this CPU: its one-shot timer.  x2APIC where the firmware turned that on, else xAPIC. */
#ifndef NIDUS_DRIVERS_LAPIC_H
#define NIDUS_DRIVERS_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

/* Physical address of the registers that lapic_init wants mapped (4 KiB); 0: none are needed. */
uint64_t lapic_registers(void);
/* Enables it with every local interrupt masked.  registers: NULL with x2APIC.  false: there is no local APIC. */
bool lapic_init(volatile void *registers);

/* The timer counts down from start to 0, and then, with a vector that is not 0, interrupts. */
void lapic_timer_start(uint32_t start, uint8_t vector);
uint32_t lapic_timer_count(void);

/* The message that interrupts this CPU with vector: a write of *data to *address.  false: there is no local APIC. */
bool lapic_message(uint8_t vector, uint64_t *address, uint32_t *data);

bool lapic_in_service(unsigned vector);
void lapic_end_of_interrupt(void);

#endif
