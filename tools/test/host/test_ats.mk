# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += ats
HOST_SRC_ats := $(ENGINE_SRC)
