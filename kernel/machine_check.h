/* SPDX-License-Identifier: BSD-2-Clause */
/* machine_check.h: the processor's reports of errors in the machine (SDM volume 3, chapter 16). */
#ifndef NIDUS_MACHINE_CHECK_H
#define NIDUS_MACHINE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Turns every report on, and tells those of before nidus started. */
void machine_check_init(void);
/* Lines of the log: what every bank says. */
void machine_check_report(void);

/* What a bank's status and address registers say, in words. */
void machine_check_describe(char *text, size_t size, unsigned bank, uint64_t status, uint64_t address);

#endif
