# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += guest_cpuid
HOST_SRC_guest_cpuid := kernel/guest_cpuid.c
