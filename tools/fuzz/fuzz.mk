# SPDX-License-Identifier: BSD-2-Clause
# Fuzzing: each target is tools/fuzz/NAME.c, linked with the production sources in FUZZ_SRC_NAME, and runs for FUZZ_SECONDS.  What it
# finds out about the code, its corpus, stays in build/fuzz/NAME/corpus and is where the next run begins; the first one
# begins with the files FUZZ_SEEDS_NAME, each after the bytes FUZZ_PREFIX_NAME (octal escapes), or with noise: as many inputs as
# FUZZ_NOISE_NAME says.  An input that breaks something is kept in build/fuzz/NAME/, and build/fuzz/NAME/fuzz FILE runs it again.
# T=NAME: targets whose name contains NAME.

FUZZ_TARGETS := dmar iommufd faults
FUZZ_SRC_dmar := iommu/dmar.c
FUZZ_SEEDS_dmar := $(wildcard ../shared/data/dmar/*.dmar)
FUZZ_PREFIX_dmar := \001
FUZZ_OPTIONS_dmar := -max_len=4096

FUZZ_SRC_iommufd := tools/test/property/machine.c tools/test/host/platform.c kernel/stage2.c $(wildcard iommu/*.c) \
                    $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c))
FUZZ_FLAGS_iommufd := -DHOST_TABLE_BYTES=0x1000000ULL -DHOST_RAM_BYTES=0x4400000ULL
FUZZ_NOISE_iommufd := 64
FUZZ_OPTIONS_iommufd := -max_len=2048 -len_control=0

FUZZ_SRC_faults := tools/test/host/platform.c kernel/stage2.c $(wildcard iommu/*.c)
FUZZ_FLAGS_faults := -DHOST_TABLE_BYTES=0x1000000ULL -DHOST_RAM_BYTES=0x1000000ULL
FUZZ_NOISE_faults := 64
FUZZ_OPTIONS_faults := -max_len=2048 -len_control=0

FUZZ_DIR := $(B)/fuzz
FUZZ_SECONDS ?= 60
FUZZ_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
              -I. -Itools/test/host -MMD -MP
FUZZ_WANTED := $(foreach t,$(FUZZ_TARGETS),$(if $T,$(if $(findstring $T,$t),$t),$t))

define fuzz_target
$(FUZZ_DIR)/$(1)/fuzz: $$(patsubst %,$(FUZZ_DIR)/$(1)/obj/%.o,tools/fuzz/$(1).c $$(FUZZ_SRC_$(1)))
	$$(Q)clang -fsanitize=fuzzer,address,undefined -o $$@ $$^
$(FUZZ_DIR)/$(1)/obj/%.c.o: %.c | $(B)/deps.stamp
	@mkdir -p $$(@D)
	$$(Q)clang $$(FUZZ_FLAGS) $$(FUZZ_FLAGS_$(1)) -MF $$(@:.o=.d) -c -o $$@ $$<
-include $$(patsubst %,$(FUZZ_DIR)/$(1)/obj/%.d,tools/fuzz/$(1).c $$(FUZZ_SRC_$(1)))
$(FUZZ_DIR)/$(1)/noise: tools/fuzz/noise
	$$(Q)tools/fuzz/noise $$@ $$(FUZZ_NOISE_$(1)) 1024 && touch $$@
.PHONY: fuzz-$(1)
fuzz-$(1): $(FUZZ_DIR)/$(1)/fuzz $(if $(FUZZ_NOISE_$(1)),$(FUZZ_DIR)/$(1)/noise)
	$$(Q)tools/fuzz/run $(FUZZ_DIR)/$(1) $$(FUZZ_SECONDS) '$$(FUZZ_PREFIX_$(1))' '$$(FUZZ_OPTIONS_$(1))' $$(FUZZ_SEEDS_$(1)) \
	    $(if $(FUZZ_NOISE_$(1)),$(FUZZ_DIR)/$(1)/noise/*)
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_target,$(t))))

.PHONY: fuzz
fuzz: $(addprefix fuzz-,$(FUZZ_WANTED))
