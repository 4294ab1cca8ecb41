# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += image
HOST_SRC_image := boot/image.c boot/text.c
