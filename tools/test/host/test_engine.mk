# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += engine
HOST_SRC_engine := tools/test/host/fake_unit.c kernel/stage2.c $(addprefix iommu/, attach.c dmar.c domain.c errata.c fault.c init.c qi.c \
               remap.c tables.c unit.c walk.c)
