/* SPDX-License-Identifier: BSD-2-Clause */
/* paging.h: the CPU's own page tables, which nidus began (the low 4 GiB one to one, page 0 apart). */
#ifndef GUESTS_RUNTIME_PAGING_H
#define GUESTS_RUNTIME_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/pgtable.h"

/* Tables in the guest's own memory: an address in them is a pointer. */
extern const struct pgtable_memory paging_memory;

/* Adds [va, va + size) -> [gpa, gpa + size) in 4 KiB pages; flags as of pgtable_map.  false: something else is mapped there, or there is
 * no page for a table. */
bool paging_map(uint64_t va, uint64_t gpa, uint64_t size, uint64_t flags);
/* Is va mapped? */
bool paging_is_mapped(uint64_t va);

#endif
