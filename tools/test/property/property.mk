# SPDX-License-Identifier: BSD-2-Clause
# The property test: build/host/property, and the same with sanitizers, which is slower; and what tools/test/seeded.py needs to build it
# with a bug.

PROPERTY_SRC := $(wildcard tools/test/property/*.c) tools/test/host/platform.c kernel/stage2.c $(wildcard iommu/*.c) \
                $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
PROPERTY_FLAGS := -std=gnu17 -g -Wall -Wextra -Werror -I. -Itools/test/host -MMD -MP
PROPERTY_FAST := -O2 -DHOST_RAM_BYTES=0xe0000000ULL
PROPERTY_SAFE := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

PROPERTY_BIN := $(B)/host/property $(B)/host/property-safe

$(B)/host/property: $(PROPERTY_SRC:%=$(B)/host/fast/%.o)
	$(Q)$(CC) $(PROPERTY_FAST) -o $@ $^
$(B)/host/property-safe: $(PROPERTY_SRC:%=$(B)/host/safe/%.o)
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^
$(B)/host/fast/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(PROPERTY_FLAGS) $(PROPERTY_FAST) -c -o $@ $<
$(B)/host/safe/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(PROPERTY_FLAGS) $(PROPERTY_SAFE) -c -o $@ $<
-include $(PROPERTY_SRC:%=$(B)/host/fast/%.d) $(PROPERTY_SRC:%=$(B)/host/safe/%.d)

PROPERTY_FOR_BUGS = NIDUS_PROPERTY_CC="$(CC) $(filter-out -MMD -MP,$(PROPERTY_FLAGS)) $(PROPERTY_FAST)" \
                    NIDUS_PROPERTY_OBJ="$(PROPERTY_SRC:%=$(B)/host/fast/%.o)"
