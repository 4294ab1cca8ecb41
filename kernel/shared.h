/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shared.h: the [shared NAME] regions of nidus.conf: memory that several guests have, each read-write or read-only.
 *
 * A region is one aligned block that stays until nidus ends: it belongs to no guest, and what one has left in it is for the others to read.
 * Guests have it between their RAM and their BARs; nothing in it is executed, and calls take no payload from it.
 */
#ifndef NIDUS_SHARED_H
#define NIDUS_SHARED_H

#include <stdint.h>

#include "kernel/boot_info.h"

struct guest;

/* Takes and scrubs the memory of all regions.  One that there is no memory for is a line of the log, and no guest has it. */
void shared_init(const struct boot_info *boot);
/* Maps g's regions for its CPU; before its BARs are.  It starts without one that cannot be mapped, which is a line of the log. */
void shared_give(struct guest *g);
/* platform_guest_memory, for gpa outside g's RAM. */
int shared_memory(const struct guest *g, uint64_t gpa, uint64_t *hpa, uint64_t *run);
/* The region around gpa; NULL: there is none. */
const struct nidus_guest_shared *shared_find(const struct guest *g, uint64_t gpa);

#endif
