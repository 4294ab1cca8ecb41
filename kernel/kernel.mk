# SPDX-License-Identifier: BSD-2-Clause
# The kernel: everything in kernel/, iommu/ and drivers/ becomes one flat image, build/kernel/nidus.bin, and the ELF file
# with its debug information.  It is linked twice: the addresses of the first link make the table of symbols that a
# backtrace names its calls with, and the table lies behind the code, so it moves none of them.

KERNEL_DIR := $(B)/kernel
KERNEL_SRC := $(wildcard kernel/*.c kernel/*.S kernel/svm/*.c kernel/svm/*.S kernel/vmx/*.c kernel/vmx/*.S iommu/*.c drivers/*.c)
KERNEL_OBJ := $(patsubst %,$(KERNEL_DIR)/%.o,$(KERNEL_SRC))

KERNEL_FLAGS := $(CFLAGS_FREESTANDING) -isystem kernel/include -iquote kernel -mcmodel=kernel -mgeneral-regs-only -mcx16 \
                -fno-pic -fno-pie -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-jump-tables \
                -Wstrict-prototypes -Wmissing-prototypes -Wvla -DNIDUS_VERSION='"$(NIDUS_VERSION)"'
# gcc optimizes all files as one: a guest's call goes through many of them, and the way from one to the next is a good part of what it costs.
# Not what the compiler calls on its own account, which would be gone by the time that it does.
KERNEL_LTO := $(if $(findstring clang,$(CC_TARGET)),,-flto=1 -flto-partition=one -ffat-lto-objects)
$(filter %/kernel/stage2.c.o $(KERNEL_DIR)/iommu/%,$(KERNEL_OBJ)): KERNEL_LTO += -O3
$(KERNEL_DIR)/kernel/string.c.o: KERNEL_LTO :=
KERNEL_ASFLAGS := -I. -g -Wall -Werror -MMD -MP

.PHONY: kernel
kernel: $(KERNEL_DIR)/nidus.bin

$(KERNEL_DIR)/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(KERNEL_FLAGS) $(KERNEL_LTO) -c $< -o $@

$(KERNEL_DIR)/%.S.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(KERNEL_ASFLAGS) -c $< -o $@

KERNEL_LINK = $(CC_TARGET) $(KERNEL_FLAGS) $(KERNEL_LTO) -nostdlib -static -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--fatal-warnings -T kernel/kernel.ld

$(KERNEL_DIR)/no-symbols.S: tools/symbols/symbols.awk
	@mkdir -p $(@D)
	$(Q)awk -f $< </dev/null >$@

$(KERNEL_DIR)/first.elf: $(KERNEL_OBJ) $(KERNEL_DIR)/no-symbols.S.o kernel/kernel.ld
	$(Q)$(KERNEL_LINK) -o $@ $(KERNEL_OBJ) $(KERNEL_DIR)/no-symbols.S.o

$(KERNEL_DIR)/symbols.S: $(KERNEL_DIR)/first.elf tools/symbols/symbols.awk
	$(Q)nm -n $< | awk -f tools/symbols/symbols.awk >$@

$(KERNEL_DIR)/symbols.S.o $(KERNEL_DIR)/no-symbols.S.o: $(KERNEL_DIR)/%.S.o: $(KERNEL_DIR)/%.S
	$(Q)$(CC_TARGET) $(KERNEL_ASFLAGS) -c $< -o $@

$(KERNEL_DIR)/nidus.elf: $(KERNEL_OBJ) $(KERNEL_DIR)/symbols.S.o kernel/kernel.ld
	$(Q)$(KERNEL_LINK) -o $@ $(KERNEL_OBJ) $(KERNEL_DIR)/symbols.S.o
	$(Q)nm -n $@ | awk -f tools/symbols/symbols.awk | cmp -s - $(KERNEL_DIR)/symbols.S || \
		{ echo 'kernel: the table of symbols moved the code it describes' >&2; rm -f $@; exit 1; }

$(KERNEL_DIR)/nidus.bin: $(KERNEL_DIR)/nidus.elf
	$(Q)objcopy -O binary $< $@

-include $(KERNEL_OBJ:.o=.d)
