# SPDX-License-Identifier: BSD-2-Clause
# Figures.

.PHONY: bench
bench: $(NIDUS_EFI) $(IMAGE_GUESTS) $(B)/qemu/qemu-system-x86_64
	$(Q)B=$(B) tools/bench/bench
