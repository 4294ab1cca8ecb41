# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += vmx_check
HOST_SRC_vmx_check := kernel/vmx/check.c
