# SPDX-License-Identifier: BSD-2-Clause
# build/nidus.img: the demonstration as a disk.

IMAGE_GUESTS := $(B)/guests/cpu-check.elf $(B)/guests/dma-check.elf

.PHONY: image
image: $(B)/nidus.img

$(B)/nidus.img: tools/image/mkimage tools/image/nidus.conf $(NIDUS_EFI) $(IMAGE_GUESTS)
	@echo '  IMAGE   $@'
	$(Q)tools/image/mkimage -o $@ -b $(NIDUS_EFI) -c tools/image/nidus.conf \
	    $(foreach f,$(IMAGE_GUESTS),nidus/guests/$(notdir $f)=$f)
