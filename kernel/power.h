/* SPDX-License-Identifier: BSD-2-Clause */
/* power.h: what happens to the machine when the last guest has ended. */
#ifndef NIDUS_POWER_H
#define NIDUS_POWER_H

#include "kernel/boot_info.h"

/* Halts where the machine cannot do what is asked, and says why. */
_Noreturn void machine_end(enum boot_at_end what);

#endif
