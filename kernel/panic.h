/* SPDX-License-Identifier: BSD-2-Clause */
/* panic.h: the end, from an exception. */
#ifndef NIDUS_PANIC_H
#define NIDUS_PANIC_H

struct trap_frame;

/* As panic (log.h), with the registers of frame and the calls that led there. */
_Noreturn void panic_frame(const struct trap_frame *frame, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
