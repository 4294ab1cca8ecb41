# SPDX-License-Identifier: BSD-2-Clause
# Tests.  A host test is tools/test/host/test_NAME.c and test_NAME.mk; a boot test a Scenario in tools/test/boot/*.py.
# T=NAME runs those whose name contains NAME.

# The VT-d engine without the object layer above it, and one unit under it.
ENGINE_SRC := tools/test/host/fake_unit.c kernel/stage2.c \
              $(filter-out $(addprefix iommu/,areas.c device.c dirty.c envelope.c events.c fault_queue.c fault_ring.c hwpt.c ioas.c iommufd.c iova.c viommu.c),$(wildcard iommu/*.c))

include $(wildcard tools/test/host/test_*.mk) tools/test/coverage/coverage.mk tools/test/dirty/dirty.mk \
        tools/test/property/property.mk tools/test/hostile/hostile.mk tools/test/threeway/threeway.mk tools/test/conformance/conformance.mk

HOST_DIR := $(B)/test
HOST_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
              -fno-omit-frame-pointer -I. -Itools/test/host -I$(B)/inih -MMD -MP
# What the test of a name takes, when T lets it run.
wanted = $(if $T,$(if $(findstring $T,$(1)),$(2)),$(2))
HOST_BIN := $(addprefix $(HOST_DIR)/,$(foreach t,$(HOST_TESTS),$(call wanted,$t,$t)))

define host_test
$(HOST_DIR)/$(1): $$(patsubst %,$(HOST_DIR)/obj/%.o,tools/test/host/test_$(1).c tools/test/host/platform.c $$(HOST_SRC_$(1)))
	$$(Q)$$(CC) -fsanitize=address,undefined -o $$@ $$^ -lcmocka
-include $$(patsubst %,$(HOST_DIR)/obj/%.d,tools/test/host/test_$(1).c tools/test/host/platform.c $$(HOST_SRC_$(1)))
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test,$(t))))

$(HOST_DIR)/obj/%.c.o: %.c | $(B)/inih.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_FLAGS) -MF $(@:.o=.d) -c -o $@ $<

$(HOST_DIR)/nidus-dmar: $(patsubst %,$(HOST_DIR)/obj/%.o,$(NIDUS_DMAR_SRC))
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^
-include $(patsubst %,$(HOST_DIR)/obj/%.d,$(NIDUS_DMAR_SRC))
HOST_TOOLS := $(NIDUS_DMAR) $(HOST_DIR)/nidus-dmar

# kernel/abi against Linux's own headers.  Debian 12's are too old; newer ones are unpacked, not installed.
$(B)/linux/include/linux/iommufd.h: tools/deps/fetch | $(B)/deps.stamp
	@rm -rf $(B)/linux && mkdir -p $(B)/linux
	$(Q)deb=$$(tools/deps/fetch deb trixie-backports linux-libc-dev) && dpkg-deb -x $$deb $(B)/linux/deb
	$(Q)ln -s deb/usr/include $(B)/linux/include && touch $@

$(HOST_DIR)/abi-check: tools/test/abi/generate kernel/abi/errno.h kernel/abi/iommufd.h $(B)/linux/include/linux/iommufd.h
	@mkdir -p $(@D)
	$(Q)tools/test/abi/generate kernel/abi/errno.h kernel/abi/iommufd.h >$@.c
	$(Q)$(CC) -std=gnu17 -Wall -Wextra -Werror -I. -isystem $(B)/linux/include -o $@ $@.c

CHECK_BIN := $(call wanted,coverage,$(COV_BIN)) $(call wanted,property,$(PROPERTY_BIN)) $(call wanted,hostile,$(HOSTILE_BIN)) $(B)/host/property $(B)/host/conformance

TEST = B=$(B) NIDUS_HOST_TESTS="$(HOST_TESTS)" NIDUS_COVERAGE_TESTS="$(COV_TESTS)" $(PROPERTY_FOR_BUGS) tools/test/test $(if $T,-k $T)

.PHONY: test test-host test-boot test-abi
test-abi: $(HOST_DIR)/abi-check
	$(Q)$(TEST) abi

test-host: $(HOST_BIN) $(CHECK_BIN) $(HOST_TOOLS)
	$(Q)$(TEST) host coverage property hostile bugs dmar conformance
test-boot: $(NIDUS_EFI) $(B)/dirty.efi $(B)/locked.efi $(B)/nmi.efi $(GUEST_IMAGES) $(THREEWAY) $(CONFORMANCE) $(B)/qemu/qemu-system-x86_64 $(B)/bochs/bochs
	$(Q)$(TEST) boot mutants threeway conformance-qemu

test: $(HOST_BIN) $(CHECK_BIN) $(HOST_TOOLS) $(HOST_DIR)/abi-check $(NIDUS_EFI) $(B)/dirty.efi $(B)/locked.efi $(B)/nmi.efi $(GUEST_IMAGES) $(THREEWAY) $(CONFORMANCE) $(B)/qemu/qemu-system-x86_64 $(B)/bochs/bochs
	$(Q)$(TEST) host coverage property hostile bugs dmar conformance abi qemu boot mutants threeway conformance-qemu

# The long runs: hours.
.PHONY: overnight
overnight: $(PROPERTY_BIN) $(HOSTILE_BIN) $(NIDUS_EFI) $(GUEST_IMAGES) $(B)/qemu/qemu-system-x86_64
	$(Q)B=$(B) tools/test/overnight
