# SPDX-License-Identifier: BSD-2-Clause
# The host tests that link something of iommu/, built once more for its coverage; tools/test/coverage/coverage runs them and says how.

COV_DIR := $(B)/cov
COV_TESTS := $(foreach t,$(HOST_TESTS),$(if $(filter iommu/%,$(HOST_SRC_$(t))),$(t)))
COV_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Werror -I. -Itools/test/host -MMD -MP
COV_BIN := $(COV_TESTS:%=$(COV_DIR)/%)

define cov_test
$(COV_DIR)/$(1): $$(patsubst %,$(COV_DIR)/obj/%.o,tools/test/host/test_$(1).c tools/test/host/platform.c $$(HOST_SRC_$(1)))
	$$(Q)clang -fprofile-instr-generate -o $$@ $$^ -lcmocka
-include $$(patsubst %,$(COV_DIR)/obj/%.d,tools/test/host/test_$(1).c tools/test/host/platform.c $$(HOST_SRC_$(1)))
endef
$(foreach t,$(COV_TESTS),$(eval $(call cov_test,$(t))))

$(COV_DIR)/obj/iommu/%.c.o: COV_FLAGS += -fprofile-instr-generate -fcoverage-mapping
$(COV_DIR)/obj/%.c.o: %.c | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)clang $(COV_FLAGS) -MF $(@:.o=.d) -c -o $@ $<
