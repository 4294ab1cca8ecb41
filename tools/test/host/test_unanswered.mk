# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += unanswered
HOST_SRC_unanswered := $(ENGINE_SRC)
