# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += rmrr
HOST_SRC_rmrr := $(ENGINE_SRC)
