# SPDX-License-Identifier: BSD-2-Clause
# nidus-dmar: prints a DMAR table, with the parser that nidus has.

NIDUS_DMAR := $(B)/host/nidus-dmar
NIDUS_DMAR_SRC := tools/nidus-dmar/nidus-dmar.c iommu/dmar.c

.PHONY: nidus-dmar
nidus-dmar: $(NIDUS_DMAR)

$(NIDUS_DMAR): $(NIDUS_DMAR_SRC) $(wildcard iommu/*.h kernel/abi/*.h) tools/test/host/platform_inline.h | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_COMMON) -Itools/test/host -o $@ $(NIDUS_DMAR_SRC)
