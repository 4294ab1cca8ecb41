# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += shared
HOST_SRC_shared := kernel/stage2.c $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
