/* SPDX-License-Identifier: BSD-2-Clause */
/* locked.c: a UEFI program that locks VMX off, as firmware does whose set-up says so, and starts nidus.efi. */
#include <stdint.h>

#include "boot/efi.h"
#include "tools/test/dirty/start_nidus.h"

#define MSR_FEATURE_CONTROL 0x3au
#define FEATURE_LOCK        1u

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    efi = system_table;
    __asm__ volatile("wrmsr" : : "a"(FEATURE_LOCK), "d"(0), "c"(MSR_FEATURE_CONTROL));
    return start_nidus(image);
}
