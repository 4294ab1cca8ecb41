/* SPDX-License-Identifier: BSD-2-Clause */
/* fbtext.h: lines of text on the screen that the firmware set up. */
#ifndef NIDUS_DRIVERS_FBTEXT_H
#define NIDUS_DRIVERS_FBTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* pixels: mapped, stride * height pixels of 32 bits.  false: too small for text. */
bool fbtext_init(volatile uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride);
/* One line at the bottom of what is there; printable ASCII.  Long lines are folded.  Does nothing before fbtext_init. */
void fbtext_line(const char *text, size_t length);

#endif
