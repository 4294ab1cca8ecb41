# SPDX-License-Identifier: BSD-2-Clause
# UEFI programs that start nidus.efi on a machine in some state: dirty.efi leaves VT-d and devices running, locked.efi locks VMX off, nmi.efi
# has NMIs sent.

DIRTY_COMMON := $(B)/test/dirty/start_nidus.o $(patsubst %,$(B)/boot/%.o,efi memory_map text libc/libc)

$(B)/test/dirty/%.o: tools/test/dirty/%.c | $(B)/inih.stamp
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(EFI_CFLAGS) -c -o $@ $<

$(B)/dirty.efi $(B)/locked.efi $(B)/nmi.efi: $(B)/%.efi: $(B)/test/dirty/%.o $(DIRTY_COMMON)
	@echo '  EFI     $@'
	$(Q)$(EFI_LINK)

-include $(wildcard $(B)/test/dirty/*.d)
