# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += dmar
HOST_SRC_dmar := iommu/dmar.c
