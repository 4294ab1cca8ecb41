/* SPDX-License-Identifier: BSD-2-Clause */
/* The inih library, compiled with the choices in boot/inih.h. */
#include "boot/inih.h"

#include "ini.c"
