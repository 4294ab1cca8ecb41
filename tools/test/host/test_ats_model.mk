# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += ats_model
HOST_SRC_ats_model := kernel/stage2.c $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
