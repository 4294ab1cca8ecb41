/* SPDX-License-Identifier: BSD-2-Clause */
/* start_nidus.h: for test programs that do something to the machine first. */
#ifndef NIDUS_TEST_START_NIDUS_H
#define NIDUS_TEST_START_NIDUS_H

#include <efi.h>
#include <efilib.h>

/* Starts \nidus\nidus.efi from the disk that the program itself came from. */
EFI_STATUS start_nidus(EFI_HANDLE self);

#endif
