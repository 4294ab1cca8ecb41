# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += attach
HOST_SRC_attach := $(ENGINE_SRC)
