# SPDX-License-Identifier: BSD-2-Clause
# Bochs, which Debian 12 has in a version that knows no Sapphire Rapids.

$(B)/bochs/bochs: tools/bochs/build | $(B)/deps.stamp
	@tools/bochs/build $(B)
	@touch $@
