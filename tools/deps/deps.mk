# SPDX-License-Identifier: BSD-2-Clause
# What the developer's machine needs: packages, and the two libraries that are built from source.

B ?= build

.PHONY: deps
deps: $(B)/deps.stamp

$(B)/deps.stamp: tools/deps/setup
	@tools/deps/setup
	@mkdir -p $(@D) && touch $@

# Both are links into the cache, so the stamp, not the file behind the link, tells make their age.
$(B)/newlib.stamp: tools/deps/newlib | $(B)/deps.stamp
	@tools/deps/newlib $(B)
	@touch $@

$(B)/newlib/lib/libc.a $(B)/newlib/lib/libm.a: $(B)/newlib.stamp ;

$(B)/inih.stamp: tools/deps/inih tools/deps/fetch | $(B)/deps.stamp
	@tools/deps/inih $(B)
	@touch $@

$(B)/inih/ini.c $(B)/inih/ini.h: $(B)/inih.stamp ;
