# SPDX-License-Identifier: BSD-2-Clause
# Tests.  A host test is tools/test/host/test_NAME.c and test_NAME.mk; a boot test a Scenario in tools/test/boot/*.py.
# T=NAME runs those whose name contains NAME.

include $(wildcard tools/test/host/test_*.mk)

HOST_DIR := $(B)/test
HOST_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
              -fno-omit-frame-pointer -I. -Itools/test/host -I$(B)/inih -MMD -MP
HOST_BIN := $(addprefix $(HOST_DIR)/,$(foreach t,$(HOST_TESTS),$(if $T,$(if $(findstring $T,$t),$t),$t)))

define host_test
$(HOST_DIR)/$(1): $$(patsubst %,$(HOST_DIR)/obj/%.o,tools/test/host/test_$(1).c tools/test/host/platform.c $$(HOST_SRC_$(1)))
	$$(Q)$$(CC) -fsanitize=address,undefined -o $$@ $$^ -lcmocka
-include $$(patsubst %,$(HOST_DIR)/obj/%.d,tools/test/host/test_$(1).c $$(HOST_SRC_$(1)))
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test,$(t))))

$(HOST_DIR)/obj/%.c.o: %.c | $(B)/inih.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_FLAGS) -MF $(@:.o=.d) -c -o $@ $<

TEST = B=$(B) HOST_TESTS="$(HOST_TESTS)" tools/test/test $(if $T,-k $T)

.PHONY: test test-host test-boot
test-host: $(HOST_BIN)
	$(Q)$(TEST) host
test-boot: $(NIDUS_EFI) $(IMAGE_GUESTS) $(B)/qemu/qemu-system-x86_64
	$(Q)$(TEST) boot

test: $(HOST_BIN) $(NIDUS_EFI) $(IMAGE_GUESTS) $(B)/qemu/qemu-system-x86_64
	$(Q)$(TEST) host qemu boot
