/* SPDX-License-Identifier: BSD-2-Clause */
/* pic.h: the two 8259 interrupt controllers, only to silence them, and the I/O APICs likewise. */
#ifndef NIDUS_DRIVERS_PIC_H
#define NIDUS_DRIVERS_PIC_H

#include <stdbool.h>
#include <stdint.h>

/* Masks all lines; the vectors move above the exceptions' because spurious ones come even so. */
void pic_mask(void);
bool pic_is_spurious(unsigned vector);

/* Masks every line of an I/O APIC.  registers: 32 bytes, mapped. */
void io_apic_mask(volatile void *registers);

#endif
