# SPDX-License-Identifier: BSD-2-Clause
# Boots the demonstration.

.PHONY: run
run: $(B)/nidus.img $(if $(filter bochs,$(ACCEL)),,$(B)/qemu/qemu-system-x86_64)
	$(Q)B=$(B) tools/run/run $(if $(ACCEL),--accel $(ACCEL))
