/* SPDX-License-Identifier: BSD-2-Clause */
/* check.h: which field made an entry fail. */
#ifndef NIDUS_VMX_CHECK_H
#define NIDUS_VMX_CHECK_H

#include "kernel/vmx/vmcs.h"

/* The processor says only that the guest's state is invalid.  The first field that breaks a rule of SDM volume 3, 27.3.1, in words;
 * NULL: none that nidus knows.  read: VMREAD. */
const char *vmx_wrong_guest_field(uint64_t (*read)(enum vmcs_field field));

#endif
