# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += events
HOST_SRC_events = $(HOST_SRC_iommufd)
