# SPDX-License-Identifier: BSD-2-Clause
# QEMU with our patches, and QEMU's own tests of what they touch.

B ?= build

$(B)/qemu/qemu-system-x86_64: tools/qemu/build $(wildcard tools/qemu/patches/*.patch) | $(B)/deps.stamp
	@tools/qemu/build $(B)
	@touch $@

.PHONY: qemu-qtest
qemu-qtest: | $(B)/deps.stamp
	@tools/qemu/build --qtest $(B)
