# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += paging_model
HOST_SRC_paging_model := kernel/stage2.c $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
