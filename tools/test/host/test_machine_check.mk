# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += machine_check
HOST_SRC_machine_check := kernel/machine_check.c kernel/format.c
