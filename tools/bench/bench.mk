# SPDX-License-Identifier: BSD-2-Clause
# Figures.  bench-host: those that take no emulator.

# The kernel's flags but for where it lies, and its platform header on the host.  Older valgrinds do not read clang's DWARF 5.
BENCH_FLAGS := $(filter-out -mcmodel=% -fno-pic -fno-pie -isystem kernel/include -iquote kernel,$(KERNEL_FLAGS)) -iquote tools/bench -gdwarf-4
BENCH_SRC := tools/bench/iommu.c tools/bench/platform.c kernel/stage2.c $(wildcard iommu/*.c)
BENCH_OBJ := $(BENCH_SRC:%=$(B)/bench/obj/%.o)

$(B)/bench/iommu: $(BENCH_OBJ)
	$(Q)$(CC_TARGET) $(BENCH_FLAGS) $(KERNEL_LTO) -o $@ $^
# What is counted is compiled as in the kernel; what calls it and what it calls is not part of it.
$(filter-out $(B)/bench/obj/tools/%,$(BENCH_OBJ)): KERNEL_LTO += -O3
$(filter $(B)/bench/obj/tools/%,$(BENCH_OBJ)): KERNEL_LTO :=
$(B)/bench/obj/%.c.o: %.c | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)$(CC_TARGET) $(BENCH_FLAGS) $(KERNEL_LTO) -c -o $@ $<
-include $(BENCH_OBJ:.o=.d)

.PHONY: bench bench-host
bench-host: $(B)/bench/iommu
	$(Q)B=$(B) COMPILER="$$($(CC_TARGET) --version | head -n 1)" tools/bench/iommu

bench: bench-host $(NIDUS_EFI) $(addprefix $(B)/guests/,bench.elf cpu-check.elf dma-check.elf) $(B)/qemu/qemu-system-x86_64 $(B)/bochs/bochs
	$(Q)B=$(B) tools/bench/bench
