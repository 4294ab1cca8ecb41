# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += pci_assign
HOST_SRC_pci_assign := kernel/pci_assign.c kernel/stage2.c kernel/format.c
