# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += takeover
HOST_SRC_takeover := $(ENGINE_SRC)
