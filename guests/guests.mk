# SPDX-License-Identifier: BSD-2-Clause
# Guests: static ELF images on newlib.  A guest is a folder here and a line in GUESTS.

GUESTS := bench conformance cpu-check dma-check hostile replay

GUEST_IMAGES := $(GUESTS:%=$(B)/guests/%.elf)

# Only the compiler's own headers and newlib's: nothing of the host's C library may slip in.
GUEST_CFLAGS = $(CFLAGS_COMMON) -nostdinc -isystem $(shell $(CC_TARGET) -print-file-name=include) \
               -isystem $(B)/newlib/include -U__linux__ -ffreestanding -fno-pic -fno-pie -mno-red-zone \
               -mcmodel=small -fcf-protection=none -fno-stack-protector -fno-asynchronous-unwind-tables \
               -fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections -MMD -MP

GUEST_RUNTIME_OBJECTS := $(patsubst %,$(B)/%.o,$(wildcard guests/runtime/*.c guests/runtime/*.S))

$(B)/guests/%.c.o: guests/%.c guests/guests.mk | $(B)/newlib/lib/libc.a
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(GUEST_CFLAGS) -c -o $@ $<

$(B)/guests/%.S.o: guests/%.S guests/guests.mk
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(GUEST_CFLAGS) -c -o $@ $<

define guest_image
$(B)/guests/$(1).elf: $$(patsubst %,$$(B)/%.o,$$(wildcard guests/$(1)/*.c guests/$(1)/*.S)) \
                      $$(GUEST_RUNTIME_OBJECTS) guests/runtime/guest.ld $$(B)/newlib/lib/libc.a
	$$(Q)ld -nostdlib -static --fatal-warnings --gc-sections -z noexecstack -z max-page-size=4096 \
	    -T guests/runtime/guest.ld -o $$@ $$(filter %.o,$$^) $$(B)/newlib/lib/libc.a
endef
$(foreach g,$(GUESTS),$(eval $(call guest_image,$(g))))

.PHONY: guests
guests: $(GUEST_IMAGES)

-include $(wildcard $(B)/guests/*/*.d)
