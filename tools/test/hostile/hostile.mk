# SPDX-License-Identifier: BSD-2-Clause
# build/host/hostile: the calls of guests/hostile on the model of VT-d, with sanitizers.

HOSTILE_SRC := tools/test/hostile/main.c guests/hostile/generator.c tools/test/property/machine.c tools/test/host/platform.c kernel/stage2.c \
               $(wildcard iommu/*.c) $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
HOSTILE_FLAGS := $(PROPERTY_FLAGS) -O2 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
                 -DHOST_TABLE_BYTES=0x1000000ULL -DHOST_RAM_BYTES=0x4400000ULL
HOSTILE_BIN := $(B)/host/hostile

$(HOSTILE_BIN): $(HOSTILE_SRC:%=$(B)/host/hostile.obj/%.o)
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^
$(B)/host/hostile.obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOSTILE_FLAGS) -c -o $@ $<
-include $(HOSTILE_SRC:%=$(B)/host/hostile.obj/%.d)
