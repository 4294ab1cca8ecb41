# SPDX-License-Identifier: BSD-2-Clause
# nidus: one Makefile; each folder adds its rules in a small *.mk.  `make help` lists what one can ask for.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
B := build
V ?= 0
Q := $(if $(filter 1,$V),,@)
SHELL := /bin/sh
# As many jobs as there are processors, unless -j says otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

# The compiler of everything that runs below an operating system: gcc or clang.
CC_TARGET ?= gcc
CFLAGS_COMMON := -std=c17 -O2 -g -Wall -Wextra -Werror -I.
CFLAGS_FREESTANDING := $(CFLAGS_COMMON) -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
                       -fno-strict-aliasing -fno-common -mno-red-zone -MMD -MP

include $(wildcard boot/*.mk kernel/*.mk iommu/*.mk drivers/*.mk guests/*.mk tools/*/*.mk)

# What the machine lacks is installed before anything is built: make brings what it includes up to date first.
ifneq ($(filter-out help clean deps,$(MAKECMDGOALS)),)
include $(B)/deps.stamp
endif

.PHONY: help clean
help:
	@echo 'make run        build everything and boot the demonstration (Ctrl-C ends it)'
	@echo 'make test       every test; ends with "N passed, N failed"'
	@echo 'make test-host  the tests that need no emulator; T=NAME: those whose name contains NAME'
	@echo '                (bug NAME: one that is put into the code, which the property test has to find)'
	@echo 'make test-boot  the boots in QEMU; T=NAME as above; consoles are kept in build/log/'
	@echo 'make test-abi   kernel/abi against the headers of Linux'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS (60); T=NAME as above; corpora are kept in build/fuzz/'
	@echo 'make overnight  a billion steps of the property test and calls of hostile guests, an hour for each fuzz target,'
	@echo '                the mutants; goes on where it was stopped'
	@echo 'make bench      figures; make bench-host: those that need no emulator'
	@echo 'make nidus-dmar build/host/nidus-dmar FILE prints an ACPI DMAR table'
	@echo 'make image      build/nidus.img, a bootable disk'
	@echo 'make clean      removes build/'

clean:
	$(Q)rm -rf $(B)
