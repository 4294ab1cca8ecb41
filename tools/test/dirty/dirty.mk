# SPDX-License-Identifier: BSD-2-Clause
# dirty.efi: leaves VT-d and devices running, then starts nidus.efi.

DIRTY_OBJ := $(B)/test/dirty/dirty.o $(patsubst %,$(B)/boot/%.o,efi memory_map text libc/libc)

$(B)/test/dirty/dirty.o: tools/test/dirty/dirty.c | $(B)/inih.stamp
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(EFI_CFLAGS) -c -o $@ $<

$(B)/dirty.efi: $(DIRTY_OBJ)
	@echo '  EFI     $@'
	$(Q)$(EFI_LINK)

-include $(B)/test/dirty/dirty.d
