# SPDX-License-Identifier: BSD-2-Clause
# nidus.efi: the UEFI application that carries the kernel.

NIDUS_VERSION := 0.1
NIDUS_EFI := $(B)/nidus.efi
KERNEL_BIN ?= $(B)/kernel/nidus.bin
EFI_OBJ := $(patsubst %,$(B)/boot/%.o,main efi devices config image memory_map text inih libc/libc kernel_image)
EFI_CFLAGS := $(CFLAGS_FREESTANDING) -fpic -fshort-wchar -fvisibility=hidden -DGNU_EFI_USE_MS_ABI \
              -isystem boot/libc -I$(B)/inih -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 \
              -DNIDUS_VERSION='"$(NIDUS_VERSION)"'
EFI_SECTIONS := .text .sdata .data .rodata .dynamic .dynsym .rel .rela .rel.* .rela.* .reloc

# What links any EFI program: its objects are the prerequisites.  Debian 13's gnu-efi enters at _entry, which its libefi.a has: that initialises
# itself first, and nothing here uses it.
EFI_LINK = ld -nostdlib -znocombreloc -shared -Bsymbolic --no-undefined -z noexecstack --defsym=_entry=efi_main -T /usr/lib/elf_x86_64_efi.lds \
           -o $@.so /usr/lib/crt0-efi-x86_64.o $(filter %.o,$^) /usr/lib/libgnuefi.a && \
           objcopy $(addprefix -j ,$(EFI_SECTIONS)) --target efi-app-x86_64 --subsystem=10 $@.so $@

.PHONY: efi
efi: $(NIDUS_EFI)

$(NIDUS_EFI): $(EFI_OBJ)
	@echo '  EFI     $@'
	$(Q)$(EFI_LINK)

$(B)/boot/%.o: boot/%.c boot/boot.mk | $(B)/inih.stamp
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(EFI_CFLAGS) -c -o $@ $<

$(B)/boot/libc/libc.o: EFI_CFLAGS += -fno-builtin -O1

$(B)/boot/kernel_image.o: boot/kernel_image.S $(KERNEL_BIN)
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) -c -DKERNEL_IMAGE='"$(KERNEL_BIN)"' -o $@ $<

-include $(EFI_OBJ:.o=.d)
