# SPDX-License-Identifier: BSD-2-Clause
# Boots the demonstration: ACCEL=tcg (QEMU alone, SVM and VT-d), bochs (VMX, no VT-d) or kvm (QEMU on an Intel host with nested VMX).

ACCEL ?= tcg
RUN_DISK := $(B)/nidus$(if $(filter bochs,$(ACCEL)),-bochs).img

.PHONY: run
run: $(RUN_DISK) $(if $(filter bochs,$(ACCEL)),$(B)/bochs/bochs,$(B)/qemu/qemu-system-x86_64)
	$(Q)B=$(B) tools/run/run --accel $(ACCEL) $(RUN_DISK)
