# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += stage2
HOST_SRC_stage2 := kernel/stage2.c
