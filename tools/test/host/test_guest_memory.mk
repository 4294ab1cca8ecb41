# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += guest_memory
