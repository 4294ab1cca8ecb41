# SPDX-License-Identifier: BSD-2-Clause
# The three-way check's side on the model: build/host/threeway.  The other side is guests/replay.

THREEWAY_SRC := $(wildcard tools/test/threeway/*.c) $(filter-out %/main.c,$(wildcard guests/replay/*.c)) tools/test/host/platform.c \
                kernel/stage2.c $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
THREEWAY := $(B)/host/threeway $(B)/guests/replay.elf

$(B)/host/threeway: $(THREEWAY_SRC:%=$(B)/host/fast/%.o)
	$(Q)$(CC) $(PROPERTY_FAST) -o $@ $^
-include $(THREEWAY_SRC:%=$(B)/host/fast/%.d)
