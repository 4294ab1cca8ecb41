# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += qi
HOST_SRC_qi := $(ENGINE_SRC)
