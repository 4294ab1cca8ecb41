# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += prq
HOST_SRC_prq := $(ENGINE_SRC)
