# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += acpi
HOST_SRC_acpi := kernel/acpi.c
