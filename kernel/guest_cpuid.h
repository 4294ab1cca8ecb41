/* SPDX-License-Identifier: BSD-2-Clause */
/* guest_cpuid.h: the processor that a guest sees: its CPUID, and the bits of CR4 that it may set. */
#ifndef NIDUS_GUEST_CPUID_H
#define NIDUS_GUEST_CPUID_H

#include "kernel/cpu.h"

/* What CPUID gives a guest.  host: the machine's own. */
struct cpuid guest_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid (*host)(uint32_t leaf, uint32_t subleaf));
/* The bits of CR4 that go with that. */
uint64_t guest_cr4_allowed(struct cpuid (*host)(uint32_t leaf, uint32_t subleaf));

#endif
