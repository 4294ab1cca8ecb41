/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/uart.h"

#include "kernel/cpu.h"

#define UART_BASE 0x3f8

#define UART_DATA          (UART_BASE + 0)
#define UART_DIVISOR_LOW   (UART_BASE + 0)  /* with LCR.DLAB */
#define UART_IER           (UART_BASE + 1)
#define UART_DIVISOR_HIGH  (UART_BASE + 1)  /* with LCR.DLAB */
#define UART_FCR           (UART_BASE + 2)
#define   FCR_ENABLE_CLEAR    0x07
#define UART_LCR           (UART_BASE + 3)
#define   LCR_8N1             0x03
#define   LCR_DLAB            0x80
#define UART_MCR           (UART_BASE + 4)
#define   MCR_DTR_RTS         0x03
#define UART_LSR           (UART_BASE + 5)
#define   LSR_THR_EMPTY       0x20
#define UART_SCRATCH       (UART_BASE + 7)

#define FIFO_BYTES 16
#define PATIENCE   100000       /* reads of LSR: at least 50 ms, where a full FIFO takes 1.4 ms */

static bool present;

bool uart_init(void)
{
    out8(UART_SCRATCH, 0xa5);
    if (in8(UART_SCRATCH) != 0xa5)
        return false;
    out8(UART_IER, 0);
    out8(UART_LCR, LCR_DLAB);
    out8(UART_DIVISOR_LOW, 1);
    out8(UART_DIVISOR_HIGH, 0);
    out8(UART_LCR, LCR_8N1);
    out8(UART_FCR, FCR_ENABLE_CLEAR);
    out8(UART_MCR, MCR_DTR_RTS);
    present = true;
    return true;
}

static bool wait_empty(void)
{
    for (unsigned i = 0; i < PATIENCE; i++)
        if ((in8(UART_LSR) & LSR_THR_EMPTY) != 0)
            return true;
    return false;
}

void uart_write(const char *text, size_t length)
{
    while (present && length != 0) {
        if (!wait_empty()) {
            present = false;
            return;
        }
        for (unsigned i = 0; i < FIFO_BYTES && length != 0; i++, length--)
            out8(UART_DATA, (uint8_t)*text++);
    }
}
