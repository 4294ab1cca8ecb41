# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += frames
HOST_SRC_frames := kernel/frames.c
