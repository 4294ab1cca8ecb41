# SPDX-License-Identifier: BSD-2-Clause
# build/nidus.img: the demonstration as a disk; build/nidus-bochs.img: the one for a machine without VT-d.

IMAGE_GUESTS := $(B)/guests/cpu-check.elf $(B)/guests/dma-check.elf

.PHONY: image
image: $(B)/nidus.img

$(B)/nidus.img: CONF := tools/image/nidus.conf
$(B)/nidus-bochs.img: CONF := tools/bochs/nidus.conf
$(B)/nidus.img $(B)/nidus-bochs.img: tools/image/mkimage tools/image/nidus.conf tools/bochs/nidus.conf $(NIDUS_EFI) $(IMAGE_GUESTS)
	@echo '  IMAGE   $@'
	$(Q)tools/image/mkimage -o $@ -b $(NIDUS_EFI) -c $(CONF) \
	    $(foreach f,$(IMAGE_GUESTS),nidus/guests/$(notdir $f)=$f)
