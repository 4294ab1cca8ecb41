# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += areas
HOST_SRC_areas := iommu/areas.c
