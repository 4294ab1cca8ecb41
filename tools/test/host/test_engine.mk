# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += engine
HOST_SRC_engine := $(ENGINE_SRC)
