# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += pgtable
HOST_SRC_pgtable := guests/runtime/pgtable.c
