# SPDX-License-Identifier: BSD-2-Clause
# The conformance test's side on the model: build/host/conformance.  The other side is guests/conformance.

CONFORMANCE_SRC := $(wildcard tools/test/conformance/*.c) $(filter-out %/main.c,$(wildcard guests/conformance/*.c)) \
                   guests/runtime/pgtable.c guests/runtime/errno_name.c guests/replay/pattern.c tools/test/threeway/device.c \
                   tools/test/host/platform.c kernel/stage2.c $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
CONFORMANCE := $(B)/host/conformance $(B)/guests/conformance.elf

$(B)/host/conformance: $(CONFORMANCE_SRC:%=$(B)/host/safe/%.o)
	$(Q)$(CC) -fsanitize=address,undefined -pthread -o $@ $^
-include $(CONFORMANCE_SRC:%=$(B)/host/safe/%.d)
