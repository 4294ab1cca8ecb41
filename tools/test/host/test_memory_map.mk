# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += memory_map
HOST_SRC_memory_map := boot/memory_map.c
