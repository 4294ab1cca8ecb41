/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommufd.h: the calls of kernel/abi/iommufd.h and nidus.h as functions.  Each gives 0 or a negative NIDUS_E*.
 * Addresses in the guest's memory are pointers: it is mapped one to one.
 */
#ifndef GUESTS_RUNTIME_IOMMUFD_H
#define GUESTS_RUNTIME_IOMMUFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guests/runtime/call.h"

/* Frees an IOAS or HWPT.  EBUSY while something uses it. */
static inline int iommufd_destroy(uint32_t id)
{
    struct nidus_destroy call = { .size = sizeof(call), .id = id };

    return nidus_call(NIDUS_CALL_DESTROY, &call, 0);
}

/* An empty I/O address space. */
static inline int iommufd_ioas_alloc(uint32_t *ioas)
{
    struct nidus_ioas_alloc call = { .size = sizeof(call) };
    int error = nidus_call(NIDUS_CALL_IOAS_ALLOC, &call, 0);

    *ioas = call.out_ioas_id;
    return error;
}

/* Maps [iova, iova + length) to the guest's own memory at gpa.  access: NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE. */
static inline int iommufd_ioas_map(uint32_t ioas, uint64_t iova, uint64_t gpa, uint64_t length, uint32_t access)
{
    struct nidus_ioas_map call = {
        .size = sizeof(call),
        .flags = NIDUS_IOAS_MAP_FIXED_IOVA | access,
        .ioas_id = ioas,
        .user_va = gpa,
        .length = length,
        .iova = iova,
    };

    return nidus_call(NIDUS_CALL_IOAS_MAP, &call, 0);
}

/* Maps what `from` has in [src, src + length) at *dst of `to`; without NIDUS_IOAS_MAP_FIXED_IOVA in access *dst is chosen.  EPERM: to be
 * written to, but given to IOAS_MAP read-only. */
static inline int iommufd_ioas_copy(uint32_t to, uint64_t *dst, uint32_t from, uint64_t src, uint64_t length, uint32_t access)
{
    struct nidus_ioas_copy call = {
        .size = sizeof(call),
        .flags = access,
        .dst_ioas_id = to,
        .src_ioas_id = from,
        .length = length,
        .dst_iova = *dst,
        .src_iova = src,
    };
    int error = nidus_call(NIDUS_CALL_IOAS_COPY, &call, 0);

    *dst = call.dst_iova;
    return error;
}

/* The ranges of IOVAs that may be mapped.  *count: room for; then, how many there are, also when that is too little (EMSGSIZE). */
static inline int iommufd_ioas_iova_ranges(uint32_t ioas, struct nidus_iova_range *ranges, uint32_t *count)
{
    struct nidus_ioas_iova_ranges call = {
        .size = sizeof(call), .ioas_id = ioas, .num_iovas = *count, .allowed_iovas = (uint64_t)ranges
    };
    int error = nidus_call(NIDUS_CALL_IOAS_IOVA_RANGES, &call, 0);

    *count = call.num_iovas;
    return error;
}

/* IOVAs that nidus chooses are to lie in these ranges; count 0: anywhere.  EADDRINUSE: one of them is reserved. */
static inline int iommufd_ioas_allow_iovas(uint32_t ioas, const struct nidus_iova_range *ranges, uint32_t count)
{
    struct nidus_ioas_allow_iovas call = {
        .size = sizeof(call), .ioas_id = ioas, .num_iovas = count, .allowed_iovas = (uint64_t)ranges
    };

    return nidus_call(NIDUS_CALL_IOAS_ALLOW_IOVAS, &call, 0);
}

/* May the tables of the IOAS have pages larger than 4 KiB?  Off only while nothing is mapped in a table (EINVAL). */
static inline int iommufd_ioas_huge_pages(uint32_t ioas, bool on)
{
    struct nidus_option call = {
        .size = sizeof(call), .option_id = NIDUS_OPTION_HUGE_PAGES, .op = NIDUS_OPTION_OP_SET, .object_id = ioas, .val64 = on
    };

    return nidus_call(NIDUS_CALL_OPTION, &call, 0);
}

/* Unmaps what was mapped in [iova, iova + length); a mapping that the range cuts is ENOENT. */
static inline int iommufd_ioas_unmap(uint32_t ioas, uint64_t iova, uint64_t length)
{
    struct nidus_ioas_unmap call = { .size = sizeof(call), .ioas_id = ioas, .iova = iova, .length = length };

    return nidus_call(NIDUS_CALL_IOAS_UNMAP, &call, 0);
}

/* A second-stage table for the unit of `device` that holds what the IOAS holds.  flags: NIDUS_HWPT_ALLOC_NEST_PARENT … */
static inline int iommufd_hwpt_alloc_paging(uint32_t device, uint32_t ioas, uint32_t flags, uint32_t *hwpt)
{
    struct nidus_hwpt_alloc call = { .size = sizeof(call), .flags = flags, .dev_id = device, .pt_id = ioas };
    int error = nidus_call(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    *hwpt = call.out_hwpt_id;
    return error;
}

/* The 4-level first-stage table at `root` over a nest parent. */
static inline int iommufd_hwpt_alloc_nested(uint32_t device, uint32_t parent, uint64_t root, uint32_t *hwpt)
{
    struct nidus_hwpt_vtd_s1 data = { .pgtbl_addr = root, .addr_width = 48 };
    struct nidus_hwpt_alloc call = {
        .size = sizeof(call),
        .dev_id = device,
        .pt_id = parent,
        .data_type = NIDUS_HWPT_DATA_VTD_S1,
        .data_len = sizeof(data),
        .data_uptr = (uint64_t)&data,
    };
    int error = nidus_call(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    *hwpt = call.out_hwpt_id;
    return error;
}

/* Attaches a device to an IOAS or HWPT, in place of what it was attached to. */
static inline int iommufd_attach(uint32_t device, uint32_t pt)
{
    struct nidus_vfio_attach call = { .argsz = offsetof(struct nidus_vfio_attach, pasid), .pt_id = pt };

    return nidus_call(NIDUS_CALL_ATTACH, &call, device);
}

/* Blocks a device.  Not attached: 0. */
static inline int iommufd_detach(uint32_t device)
{
    struct nidus_vfio_detach call = { .argsz = offsetof(struct nidus_vfio_detach, pasid) };

    return nidus_call(NIDUS_CALL_DETACH, &call, device);
}

/* The same for the device's requests with this PASID; pt was made with NIDUS_HWPT_ALLOC_PASID. */
static inline int iommufd_attach_pasid(uint32_t device, uint32_t pasid, uint32_t pt)
{
    struct nidus_vfio_attach call = { .argsz = sizeof(call), .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = pt, .pasid = pasid };

    return nidus_call(NIDUS_CALL_ATTACH, &call, device);
}

static inline int iommufd_detach_pasid(uint32_t device, uint32_t pasid)
{
    struct nidus_vfio_detach call = { .argsz = sizeof(call), .flags = NIDUS_VFIO_DETACH_PASID, .pasid = pasid };

    return nidus_call(NIDUS_CALL_DETACH, &call, device);
}

/* What the unit of `device` can do. */
static inline int iommufd_hw_info(uint32_t device, struct nidus_hw_info_vtd *info)
{
    struct nidus_hw_info call = {
        .size = sizeof(call), .dev_id = device, .data_len = sizeof(*info), .data_uptr = (uint64_t)info
    };

    return nidus_call(NIDUS_CALL_GET_HW_INFO, &call, 0);
}

/* Tracks what devices write through a paging HWPT that was made with NIDUS_HWPT_ALLOC_DIRTY_TRACKING, from now on; or no longer. */
static inline int iommufd_dirty_tracking(uint32_t hwpt, bool on)
{
    struct nidus_hwpt_set_dirty_tracking call = {
        .size = sizeof(call), .flags = on ? NIDUS_HWPT_DIRTY_TRACKING_ENABLE : 0, .hwpt_id = hwpt
    };

    return nidus_call(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, &call, 0);
}

/* Sets the bits of the 4 KiB pages in [iova, iova + length) that were written, and then forgets that they were if clear says so. */
static inline int iommufd_dirty_bitmap(uint32_t hwpt, uint64_t iova, uint64_t length, bool clear, uint8_t *bitmap)
{
    struct nidus_hwpt_get_dirty_bitmap call = {
        .size = sizeof(call),
        .hwpt_id = hwpt,
        .flags = clear ? 0 : NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
        .iova = iova,
        .length = length,
        .page_size = 4096,
        .data = (uint64_t)bitmap,
    };

    return nidus_call(NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, &call, 0);
}

/* Invalidates *count ranges of a nested HWPT; *count becomes how many were, also when a bad one ended it. */
static inline int iommufd_invalidate(uint32_t hwpt, const struct nidus_hwpt_vtd_s1_invalidate *ranges, uint32_t *count)
{
    struct nidus_hwpt_invalidate call = {
        .size = sizeof(call),
        .hwpt_id = hwpt,
        .data_uptr = (uint64_t)ranges,
        .data_type = NIDUS_HWPT_INVALIDATE_DATA_VTD_S1,
        .entry_len = sizeof(*ranges),
        .entry_num = *count,
    };
    int error = nidus_call(NIDUS_CALL_HWPT_INVALIDATE, &call, 0);

    *count = call.entry_num;
    return error;
}

/* Invalidates `pages` 4 KiB pages from iova on.  leaf: only leaf entries have changed. */
static inline int iommufd_invalidate_range(uint32_t hwpt, uint64_t iova, uint64_t pages, bool leaf)
{
    struct nidus_hwpt_vtd_s1_invalidate range = {
        .addr = iova, .npages = pages, .flags = leaf ? NIDUS_VTD_INV_LEAF : 0
    };
    uint32_t count = 1;

    return iommufd_invalidate(hwpt, &range, &count);
}

static inline int iommufd_invalidate_all(uint32_t hwpt)
{
    return iommufd_invalidate_range(hwpt, 0, UINT64_MAX, false);
}

/* Takes at most *count fault records of the guest's devices; *count becomes how many there were. */
static inline int iommufd_fault_read(struct nidus_fault *faults, uint32_t *count, uint64_t *lost)
{
    struct nidus_fault_read call = {
        .size = sizeof(call), .data_uptr = (uint64_t)faults, .entry_len = sizeof(*faults), .entry_num = *count
    };
    int error = nidus_call(NIDUS_CALL_FAULT_READ, &call, 0);

    *count = call.entry_num;
    *lost = call.out_lost;
    return error;
}

/* A queue for page requests of devices: its id is for iommufd_hwpt_alloc_paged, its channel for the two functions behind that. */
static inline int iommufd_fault_queue_alloc(uint32_t *queue, uint32_t *channel)
{
    struct nidus_fault_alloc call = { .size = sizeof(call) };
    int error = nidus_call(NIDUS_CALL_FAULT_QUEUE_ALLOC, &call, 0);

    *queue = call.out_fault_id;
    *channel = call.out_fault_fd;
    return error;
}

/* As iommufd_hwpt_alloc_nested; what devices miss in the table they ask for by page requests.  flags: 0 or NIDUS_HWPT_ALLOC_PASID. */
static inline int iommufd_hwpt_alloc_paged(uint32_t device, uint32_t parent, uint64_t root, uint32_t flags, uint32_t queue, uint32_t *hwpt)
{
    struct nidus_hwpt_vtd_s1 data = { .pgtbl_addr = root, .addr_width = 48 };
    struct nidus_hwpt_alloc call = {
        .size = sizeof(call),
        .flags = NIDUS_HWPT_FAULT_ID_VALID | flags,
        .dev_id = device,
        .pt_id = parent,
        .data_type = NIDUS_HWPT_DATA_VTD_S1,
        .data_len = sizeof(data),
        .data_uptr = (uint64_t)&data,
        .fault_id = queue,
    };
    int error = nidus_call(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    *hwpt = call.out_hwpt_id;
    return error;
}

/* A queue of the faults of `device`, whose second stage `parent` is: a vIOMMU, the device as a vdevice of it under the name virt_id, and its
 * queue.  *viommu can be given to iommufd_hwpt_alloc_nested in place of the parent. */
static inline int iommufd_fault_events(uint32_t device, uint32_t parent, uint32_t virt_id, uint32_t depth, uint32_t *viommu, uint32_t *vdevice,
                                       uint32_t *queue, uint32_t *channel)
{
    struct nidus_viommu_alloc v = { .size = sizeof(v), .type = NIDUS_VIOMMU_TYPE_VTD, .dev_id = device, .hwpt_id = parent };
    int error = nidus_call(NIDUS_CALL_VIOMMU_ALLOC, &v, 0);
    struct nidus_vdevice_alloc d = { .size = sizeof(d), .viommu_id = v.out_viommu_id, .dev_id = device, .virt_id = virt_id };
    struct nidus_veventq_alloc q = {
        .size = sizeof(q), .viommu_id = v.out_viommu_id, .type = NIDUS_VEVENTQ_TYPE_VTD_FAULT, .veventq_depth = depth
    };

    if (error == 0)
        error = nidus_call(NIDUS_CALL_VDEVICE_ALLOC, &d, 0);
    if (error == 0)
        error = nidus_call(NIDUS_CALL_VEVENTQ_ALLOC, &q, 0);
    *viommu = v.out_viommu_id;
    *vdevice = d.out_vdevice_id;
    *queue = q.out_veventq_id;
    *channel = q.out_veventq_fd;
    return error;
}

/* Takes records of an event channel, at most *bytes; *bytes becomes how many there were, 0 for none. */
static inline int iommufd_event_read(uint32_t channel, void *records, uint32_t *bytes)
{
    struct nidus_event_io call = { .size = sizeof(call), .channel = channel, .data_uptr = (uint64_t)records, .data_len = *bytes };
    int error = nidus_call(NIDUS_CALL_EVENT_READ, &call, 0);

    *bytes = error == 0 ? call.data_len : 0;
    return error;
}

/* Waits until one of *channels (a bit each) has something to read; *channels becomes those that have, 0: not within timeout_ns. */
static inline int iommufd_event_wait(uint64_t *channels, uint64_t timeout_ns)
{
    struct nidus_event_wait call = { .size = sizeof(call), .channels = *channels, .timeout_ns = timeout_ns };
    int error = nidus_call(NIDUS_CALL_EVENT_WAIT, &call, 0);

    *channels = error == 0 ? call.channels : 0;
    return error;
}

/* Answers *count groups of page requests; *count becomes how many were. */
static inline int iommufd_page_response(uint32_t channel, const struct nidus_hwpt_page_response *responses, uint32_t *count)
{
    struct nidus_event_io call = {
        .size = sizeof(call), .channel = channel, .data_uptr = (uint64_t)responses, .data_len = *count * (uint32_t)sizeof(*responses)
    };
    int error = nidus_call(NIDUS_CALL_EVENT_WRITE, &call, 0);

    *count = error == 0 ? call.data_len / (uint32_t)sizeof(*responses) : 0;
    return error;
}

#endif
