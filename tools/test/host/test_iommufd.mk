# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += iommufd
HOST_SRC_iommufd := iommu/iommufd.c iommu/ioas.c iommu/areas.c iommu/iova.c iommu/hwpt.c iommu/dirty.c iommu/device.c iommu/fault_ring.c iommu/fault_queue.c iommu/events.c iommu/viommu.c iommu/envelope.c kernel/stage2.c \
                    tools/test/host/recording_engine.c
