# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += fault
HOST_SRC_fault := $(ENGINE_SRC)
