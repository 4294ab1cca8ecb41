# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += vmx_capability
HOST_SRC_vmx_capability := kernel/vmx/capability.c
