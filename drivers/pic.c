/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pic.h"

#include "kernel/cpu.h"

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1

#define PIC_VECTOR 0x20         /* 16 of them: where both spurious interrupts appear */
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086      0x01

void pic_mask(void)
{
    out8(PIC1_COMMAND, ICW1_INIT_ICW4);
    out8(PIC2_COMMAND, ICW1_INIT_ICW4);
    out8(PIC1_DATA, PIC_VECTOR);
    out8(PIC2_DATA, PIC_VECTOR + 8);
    out8(PIC1_DATA, 1 << 2);    /* the second one is behind line 2 */
    out8(PIC2_DATA, 2);
    out8(PIC1_DATA, ICW4_8086);
    out8(PIC2_DATA, ICW4_8086);
    out8(PIC1_DATA, 0xff);
    out8(PIC2_DATA, 0xff);
}

bool pic_is_spurious(unsigned vector)
{
    return vector == PIC_VECTOR + 7 || vector == PIC_VECTOR + 15;
}

#define IO_APIC_SELECT  0x00
#define IO_APIC_WINDOW  0x10
#define IO_APIC_VERSION 1u      /* bits 23:16: the number of the last line */
#define IO_APIC_LINE(n) (0x10u + 2 * (n))
#define   IO_APIC_MASKED   (1u << 16)

static uint32_t io_apic_read(volatile uint8_t *registers, uint32_t index)
{
    *(volatile uint32_t *)(registers + IO_APIC_SELECT) = index;
    return *(volatile uint32_t *)(registers + IO_APIC_WINDOW);
}

static void io_apic_write(volatile uint8_t *registers, uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)(registers + IO_APIC_SELECT) = index;
    *(volatile uint32_t *)(registers + IO_APIC_WINDOW) = value;
}

void io_apic_mask(volatile void *registers)
{
    uint32_t last = io_apic_read(registers, IO_APIC_VERSION) >> 16 & 0xff;
    for (uint32_t i = 0; i <= last && i < 240; i++)
        io_apic_write(registers, IO_APIC_LINE(i), io_apic_read(registers, IO_APIC_LINE(i)) | IO_APIC_MASKED);
}
