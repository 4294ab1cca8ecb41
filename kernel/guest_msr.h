/* SPDX-License-Identifier: BSD-2-Clause */
/* guest_msr.h: the model-specific registers that a guest has.  Any other is #GP. */
#ifndef NIDUS_GUEST_MSR_H
#define NIDUS_GUEST_MSR_H

#include <stdbool.h>
#include <stdint.h>

struct guest;

#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u

/* allow: for each that a guest uses without leaving, to read it or, with write, for both.  A backend switches them with it. */
void guest_msr_direct(void (*allow)(uint32_t msr, bool write));
/* The others.  false: #GP. */
bool guest_msr_read(struct guest *g, uint32_t msr, uint64_t *value);
bool guest_msr_write(struct guest *g, uint32_t msr, uint64_t value);

#endif
