/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xstate.h: the registers of a guest's CPU that neither SVM nor VMX switches: x87, SSE, AVX, AVX-512 and AMX, XCR0, the
 * breakpoint addresses.  nidus itself uses none of them, so they stay in the processor until another guest runs.
 */
#ifndef NIDUS_XSTATE_H
#define NIDUS_XSTATE_H

#include <stdbool.h>
#include <stdint.h>

/* State components, SDM volume 1, 13.1. */
#define XCR0_X87    (1ull << 0)
#define XCR0_SSE    (1ull << 1)
#define XCR0_AVX    (1ull << 2)
#define XCR0_AVX512 (7ull << 5)
#define XCR0_AMX    (3ull << 17)
/* Those that guests may have, where the processor has them.  Not MPX 4:3 (gone from processors), PT 8 and the supervisor's (the
 * machine's), PKRU 9 (CR4.PKE is not offered). */
#define XCR0_GUESTS (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_AMX)

struct xstate {
    void *area;                 /* XSAVE's standard format, or FXSAVE's */
    uint64_t xcr0;
    uint64_t dr[4];
};

/* Once, before the others: turns the instructions on. */
void xstate_init(void);
/* As after power-on.  false: no memory. */
bool xstate_create(struct xstate *x);
void xstate_destroy(struct xstate *x);
/* Makes the processor hold x. */
void xstate_load(struct xstate *x);
/* XSETBV of the guest whose state is loaded.  false: #GP. */
bool xstate_set_xcr0(struct xstate *x, uint64_t value);

#endif
