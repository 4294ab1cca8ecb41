# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += format
HOST_SRC_format := kernel/format.c
