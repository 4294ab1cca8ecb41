# SPDX-License-Identifier: BSD-2-Clause
# Bochs with our patches; Debian 12 has a version that knows no Sapphire Rapids.

$(B)/bochs/bochs: tools/bochs/build $(wildcard tools/bochs/patches/*.patch) | $(B)/deps.stamp
	@tools/bochs/build $(B)
	@touch $@
