/* SPDX-License-Identifier: BSD-2-Clause */
/* uart.h: a 16550 at the ports of the first serial line, 115200 8n1. */
#ifndef NIDUS_DRIVERS_UART_H
#define NIDUS_DRIVERS_UART_H

#include <stdbool.h>
#include <stddef.h>

/* false: there is none. */
bool uart_init(void);
/* Text as it is.  A line that stops to take bytes is given up, not waited for. */
void uart_write(const char *text, size_t length);

#endif
