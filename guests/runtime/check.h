/* SPDX-License-Identifier: BSD-2-Clause */
/* check.h: the lines that a test guest prints: "ok   3.4 what was tried and what came back". */
#ifndef GUESTS_RUNTIME_CHECK_H
#define GUESTS_RUNTIME_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* The name in the last line; the guest defines it. */
extern const char check_program[];

/* The lines that follow are number.1, number.2, …  title NULL: no line of its own. */
void check_step(const char *number, const char *title);

/* One line: ok or FAIL.  The text says what was tried and, where it is not as expected, what was expected and what came.  Gives `ok`. */
bool check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call's error: it has to be -want. */
bool check_errno(int64_t error, int want, const char *what);
/* One line: something that this machine does not have. */
void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The last line; the guest's exit code: 0, or 1 when something failed or nothing was checked. */
int check_summary(void);

#endif
