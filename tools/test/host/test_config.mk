# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += config
HOST_SRC_config := boot/config.c boot/text.c boot/inih.c
