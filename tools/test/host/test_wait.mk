# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += wait
HOST_SRC_wait := kernel/events.c
