# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += alloc
HOST_SRC_alloc := kernel/alloc.c
