/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommufd.h: the calls of kernel/abi/iommufd.h and nidus.h as functions.  Each gives 0 or a negative NIDUS_E*; docs/abi.md has the rules.
 * Addresses in the guest's memory are pointers: it is mapped one to one.
 *
 * What each may give is not repeated: ENODEV, where the machine has no IOMMU that nidus can use.  Where a pointer leads to an array or a
 * buffer, EFAULT: it is not all RAM.  ENOMEM is a quota of the guest.  EIO: a unit did not answer.  An id that comes back is 0 on an error.
 */
#ifndef GUESTS_RUNTIME_IOMMUFD_H
#define GUESTS_RUNTIME_IOMMUFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guests/runtime/call.h"

/* Destroys an object of any kind: IOAS, HWPT, fault queue, vIOMMU, vdevice, veventq; a queue's channel goes with it.  ENOENT: there is no such
 * id.  EBUSY: something refers to it or is attached to it, or it is a device. */
static inline int iommufd_destroy(uint32_t id)
{
    struct nidus_destroy call = { .size = sizeof(call), .id = id };

    return nidus_call(NIDUS_CALL_DESTROY, &call, 0);
}

/* An empty I/O address space.  ENOMEM. */
static inline int iommufd_ioas_alloc(uint32_t *ioas)
{
    struct nidus_ioas_alloc call = { .size = sizeof(call) };
    int error = nidus_call(NIDUS_CALL_IOAS_ALLOC, &call, 0);

    *ioas = call.out_ioas_id;
    return error;
}

/*
 * Maps [iova, iova + length) to the guest's own memory at gpa, all in bytes and multiples of 4 KiB.  access: NIDUS_IOAS_MAP_READABLE,
 * NIDUS_IOAS_MAP_WRITEABLE or both.
 *
 * EOPNOTSUPP: another bit in access.  EOVERFLOW: iova or length is UINT64_MAX, or an end is beyond 2^64.  EINVAL: access 0, length 0, not
 * a multiple; a reserved IOVA; read-only in an IOAS with a nest parent while erratum 772415 is in force.  ENOENT: no such IOAS.  EEXIST:
 * something is mapped there.  EFAULT: not all of it is the guest's memory, or to be written to and it may only be read.  ENOMEM.  EIO.
 */
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

/* The same where nidus chooses: *iova becomes the lowest free range, in those of iommufd_ioas_allow_iovas if there are any, 0 on an error.
 * The errors are the same, with ENOSPC (no range is free) for EEXIST. */
static inline int iommufd_ioas_map_anywhere(uint32_t ioas, uint64_t *iova, uint64_t gpa, uint64_t length, uint32_t access)
{
    struct nidus_ioas_map call = { .size = sizeof(call), .flags = access, .ioas_id = ioas, .user_va = gpa, .length = length };
    int error = nidus_call(NIDUS_CALL_IOAS_MAP, &call, 0);

    *iova = call.iova;
    return error;
}

/*
 * Maps what `from` has in [src, src + length), bytes and multiples of 4 KiB, at *dst of `to`.  access: as of iommufd_ioas_map, for the copy;
 * without NIDUS_IOAS_MAP_FIXED_IOVA in it *dst is chosen, and not looked at but that it is not UINT64_MAX.
 *
 * EOPNOTSUPP, EOVERFLOW, EINVAL, EEXIST, ENOSPC, ENOMEM, EIO: as of those two.  ENOENT: no such IOAS, or not all of the source is mapped.
 * EPERM: to be written to, but given to IOAS_MAP read-only.
 */
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

/* The ranges of IOVAs that may be mapped, in order.  *count: room for; then how many there are, also with EMSGSIZE (there are more; those that
 * fit are written).  ENOENT: no such IOAS; *count stays, as with EFAULT. */
static inline int iommufd_ioas_iova_ranges(uint32_t ioas, struct nidus_iova_range *ranges, uint32_t *count)
{
    struct nidus_ioas_iova_ranges call = {
        .size = sizeof(call), .ioas_id = ioas, .num_iovas = *count, .allowed_iovas = (uint64_t)ranges
    };
    int error = nidus_call(NIDUS_CALL_IOAS_IOVA_RANGES, &call, 0);

    *count = call.num_iovas;
    return error;
}

/* IOVAs that nidus chooses are to lie in these ranges (bytes, `last` inclusive), in place of earlier ones; count 0: anywhere.  ENOENT: no
 * such IOAS.  EINVAL: a start that is not below its last, or two overlap.  ENOMEM, also for more than 256.  EADDRINUSE: one overlaps what
 * is reserved. */
static inline int iommufd_ioas_allow_iovas(uint32_t ioas, const struct nidus_iova_range *ranges, uint32_t count)
{
    struct nidus_ioas_allow_iovas call = {
        .size = sizeof(call), .ioas_id = ioas, .num_iovas = count, .allowed_iovas = (uint64_t)ranges
    };

    return nidus_call(NIDUS_CALL_IOAS_ALLOW_IOVAS, &call, 0);
}

/* May the tables of the IOAS have pages larger than 4 KiB?  At first they may.  ENOENT: no such IOAS.  EINVAL: off while something is
 * mapped in a HWPT. */
static inline int iommufd_ioas_huge_pages(uint32_t ioas, bool on)
{
    struct nidus_option call = {
        .size = sizeof(call), .option_id = NIDUS_OPTION_HUGE_PAGES, .op = NIDUS_OPTION_OP_SET, .object_id = ioas, .val64 = on
    };

    return nidus_call(NIDUS_CALL_OPTION, &call, 0);
}

/*
 * Unmaps what was mapped in [iova, iova + length), in bytes; 0 and UINT64_MAX: everything.  Then no device reaches it through the IOAS.
 *
 * ENOENT: no such IOAS, nothing is mapped there, or the range cuts what was mapped as one.  EOVERFLOW: iova or length is UINT64_MAX, or
 * the end is beyond 2^64.  EINVAL: length 0; the range cuts an area that the default IOAS had from the beginning, and not at multiples of 4
 * KiB.  ENOMEM: a large page could not be split; all stays mapped.  EIO: it is unmapped, but a unit may remember it.
 */
static inline int iommufd_ioas_unmap(uint32_t ioas, uint64_t iova, uint64_t length)
{
    struct nidus_ioas_unmap call = { .size = sizeof(call), .ioas_id = ioas, .iova = iova, .length = length };

    return nidus_call(NIDUS_CALL_IOAS_UNMAP, &call, 0);
}

/*
 * A paging HWPT: a second-stage table for the unit of `device` that holds what the IOAS holds.  flags: NIDUS_HWPT_ALLOC_NEST_PARENT,
 * NIDUS_HWPT_ALLOC_DIRTY_TRACKING, NIDUS_HWPT_ALLOC_PASID, or 0.
 *
 * ENOENT: no such device.  EINVAL: no such IOAS; a nest parent of an IOAS with a read-only area while erratum 772415 is in force.
 * EOPNOTSUPP: another flag, a HWPT in place of the IOAS, a nest parent in a guest with nested = off, or the unit cannot do it.  EADDRINUSE:
 * something is mapped, or allowed, that the table does not reach or where the device has an RMRR.  ENOMEM.
 */
static inline int iommufd_hwpt_alloc_paging(uint32_t device, uint32_t ioas, uint32_t flags, uint32_t *hwpt)
{
    struct nidus_hwpt_alloc call = { .size = sizeof(call), .flags = flags, .dev_id = device, .pt_id = ioas };
    int error = nidus_call(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    *hwpt = call.out_hwpt_id;
    return error;
}

/*
 * A nested HWPT: the first-stage table that s1 describes, over a nest parent or a vIOMMU of one (iommufd_fault_events).  s1: pgtbl_addr, an
 * IOVA of the parent's IOAS, a multiple of 4 KiB; addr_width, 48 bits (4 levels) or 57 (5); flags, NIDUS_VTD_S1_SRE, _EAFE, _WPE or 0.
 * flags: NIDUS_HWPT_ALLOC_PASID (for iommufd_attach_pasid), NIDUS_HWPT_FAULT_ID_VALID (page requests go to `queue`, which
 * iommufd_fault_queue_alloc made; without it nobody looks at that), or 0.
 *
 * ENOENT: no such device, or no such queue.  EINVAL: `over` is neither, or the vIOMMU is another unit's; an address or width that is not one
 * of these, or beyond what the parent reaches; 57 bits, SRE or EAFE that the unit lacks (CAP.FS5LP, ECAP.SRS, ECAP.EAFS); the table has a
 * HWPT with another width or EAFE already.  EOPNOTSUPP: another flag, s1->reserved, an IOAS, a guest with nested = off, or the unit has no
 * nested translation.  ENOMEM.
 */
static inline int iommufd_hwpt_alloc_first_stage(uint32_t device, uint32_t over, const struct nidus_hwpt_vtd_s1 *s1, uint32_t flags,
                                                 uint32_t queue, uint32_t *hwpt)
{
    struct nidus_hwpt_alloc call = {
        .size = sizeof(call),
        .flags = flags,
        .dev_id = device,
        .pt_id = over,
        .data_type = NIDUS_HWPT_DATA_VTD_S1,
        .data_len = sizeof(*s1),
        .data_uptr = (uint64_t)s1,
        .fault_id = queue,
    };
    int error = nidus_call(NIDUS_CALL_HWPT_ALLOC, &call, 0);

    *hwpt = call.out_hwpt_id;
    return error;
}

/* The 4-level first-stage table at `root`, without flags.  Errors: as above. */
static inline int iommufd_hwpt_alloc_nested(uint32_t device, uint32_t over, uint64_t root, uint32_t *hwpt)
{
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = root, .addr_width = 48 };

    return iommufd_hwpt_alloc_first_stage(device, over, &s1, 0, 0, hwpt);
}

/* The same for iommufd_attach_pasid, and for the RID of a device that has PASIDs attached. */
static inline int iommufd_hwpt_alloc_nested_pasid(uint32_t device, uint32_t over, uint64_t root, uint32_t *hwpt)
{
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = root, .addr_width = 48 };

    return iommufd_hwpt_alloc_first_stage(device, over, &s1, NIDUS_HWPT_ALLOC_PASID, 0, hwpt);
}

/* The same with a fault queue: what devices miss in the table they ask for by page requests.  flags: 0 or NIDUS_HWPT_ALLOC_PASID. */
static inline int iommufd_hwpt_alloc_paged(uint32_t device, uint32_t over, uint64_t root, uint32_t flags, uint32_t queue, uint32_t *hwpt)
{
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = root, .addr_width = 48 };

    return iommufd_hwpt_alloc_first_stage(device, over, &s1, NIDUS_HWPT_FAULT_ID_VALID | flags, queue, hwpt);
}

/*
 * Attaches a device to an IOAS (then to a HWPT that nidus makes of it) or HWPT, in place of what it was attached to.
 *
 * ENOENT: no such device, or no such pt.  EINVAL: pt is of another kind, the unit cannot walk the table or it is not for this device, or
 * PASIDs are attached and it was not made with NIDUS_HWPT_ALLOC_PASID.  With a fault queue ENODEV: the device cannot make page requests, or
 * EINVAL: it is a virtual function of one that does.  EOPNOTSUPP: the unit has no nested translation.  ENOSPC: no domain id is left for the
 * guest.  ENOMEM.  Of an IOAS also what iommufd_hwpt_alloc_paging gives.  On all of these it stays as it was, but not on EIO.
 */
static inline int iommufd_attach(uint32_t device, uint32_t pt)
{
    struct nidus_vfio_attach call = { .argsz = offsetof(struct nidus_vfio_attach, pasid), .pt_id = pt };

    return nidus_call(NIDUS_CALL_ATTACH, &call, device);
}

/* Blocks a device's requests without PASID.  Not attached: 0.  ENOENT: no such device.  EIO: the table stays in use. */
static inline int iommufd_detach(uint32_t device)
{
    struct nidus_vfio_detach call = { .argsz = offsetof(struct nidus_vfio_detach, pasid) };

    return nidus_call(NIDUS_CALL_DETACH, &call, device);
}

/* As iommufd_attach for the device's requests with this PASID, 1 to 2^20 - 1.  pt: a HWPT, made with NIDUS_HWPT_ALLOC_PASID, as has to be what
 * requests without PASID have.  Errors: as there, and EINVAL: one of the two was made without, or pt is an IOAS; PASID 0, or one beyond what
 * the device sends.  EOPNOTSUPP: the unit has no PASIDs.  ENOMEM, also for more than 4096 of the guest. */
static inline int iommufd_attach_pasid(uint32_t device, uint32_t pasid, uint32_t pt)
{
    struct nidus_vfio_attach call = { .argsz = sizeof(call), .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = pt, .pasid = pasid };

    return nidus_call(NIDUS_CALL_ATTACH, &call, device);
}

/* Blocks the device's requests with this PASID alone.  Nothing is attached by it: 0.  ENOENT: no such device.  EINVAL: PASID 0.  EIO: the
 * table stays in use. */
static inline int iommufd_detach_pasid(uint32_t device, uint32_t pasid)
{
    struct nidus_vfio_detach call = { .argsz = sizeof(call), .flags = NIDUS_VFIO_DETACH_PASID, .pasid = pasid };

    return nidus_call(NIDUS_CALL_DETACH, &call, device);
}

/* What the unit of `device` can do: its registers; what it can do for the device, NIDUS_HW_CAP_*; and how many bits the PASIDs have that the
 * device may send, 0 (none) to 20.  ENOENT: no such device; then the latter two are 0. */
static inline int iommufd_hw_info_full(uint32_t device, struct nidus_hw_info_vtd *info, uint64_t *capabilities, unsigned *pasid_bits)
{
    struct nidus_hw_info call = {
        .size = sizeof(call), .dev_id = device, .data_len = sizeof(*info), .data_uptr = (uint64_t)info
    };
    int error = nidus_call(NIDUS_CALL_GET_HW_INFO, &call, 0);

    *capabilities = call.out_capabilities;
    *pasid_bits = call.out_max_pasid_log2;
    return error;
}

/* The registers alone.  ENOENT: no such device. */
static inline int iommufd_hw_info(uint32_t device, struct nidus_hw_info_vtd *info)
{
    uint64_t capabilities;
    unsigned pasid_bits;

    return iommufd_hw_info_full(device, info, &capabilities, &pasid_bits);
}

/* Tracks what devices write through a paging HWPT, from now on; or no longer.  What was written before is forgotten when it is turned on,
 * also when it is on.  ENOENT: no such paging HWPT.  EOPNOTSUPP: it was made without NIDUS_HWPT_ALLOC_DIRTY_TRACKING.  EIO. */
static inline int iommufd_dirty_tracking(uint32_t hwpt, bool on)
{
    struct nidus_hwpt_set_dirty_tracking call = {
        .size = sizeof(call), .flags = on ? NIDUS_HWPT_DIRTY_TRACKING_ENABLE : 0, .hwpt_id = hwpt
    };

    return nidus_call(NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, &call, 0);
}

/* Sets the bits of the 4 KiB pages in [iova, iova + length) that were written, and then forgets that they were if clear says so.  iova and
 * length in bytes, multiples of 4 KiB; bitmap: a bit for each page, from bit 0 of its first byte on.  ENOENT: no such paging HWPT.  EINVAL:
 * length 0, not a multiple, or tracking is off.  EOVERFLOW: the end is beyond 2^64.  EOPNOTSUPP: made without
 * NIDUS_HWPT_ALLOC_DIRTY_TRACKING.  EIO. */
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

/* Invalidates *count ranges of a nested HWPT, at most NIDUS_HWPT_INVALIDATE_MAX_ENTRIES; *count becomes how many were, also when a bad one
 * ended it.  ENOENT: no such HWPT.  EOPNOTSUPP: it is a vIOMMU; a range with another flag than NIDUS_VTD_INV_LEAF, or reserved.  EINVAL: it
 * is not nested, there are more; a range with addr not a multiple of 4 KiB, npages 0, beyond 2^64, or UINT64_MAX (everything) with another
 * addr than 0.  EIO. */
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

/* Invalidates `pages` 4 KiB pages, one at least, from iova (bytes, a multiple of 4 KiB) on.  leaf: only leaf entries have changed.  Errors: as
 * above. */
static inline int iommufd_invalidate_range(uint32_t hwpt, uint64_t iova, uint64_t pages, bool leaf)
{
    struct nidus_hwpt_vtd_s1_invalidate range = {
        .addr = iova, .npages = pages, .flags = leaf ? NIDUS_VTD_INV_LEAF : 0
    };
    uint32_t count = 1;

    return iommufd_invalidate(hwpt, &range, &count);
}

/* Invalidates everything of a nested HWPT, tables included.  ENOENT: no such HWPT.  EOPNOTSUPP: it is a vIOMMU.  EINVAL: it is not nested.
 * EIO. */
static inline int iommufd_invalidate_all(uint32_t hwpt)
{
    return iommufd_invalidate_range(hwpt, 0, UINT64_MAX, false);
}

/* Takes at most *count fault records, 256 or less, of the guest's devices, the oldest first; *count becomes how many there were.  *lost:
 * records lost since the last call.  EINVAL: *count above 256, and it stays. */
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

/* A queue for page requests of devices: its id is for iommufd_hwpt_alloc_paged, its channel (1 to 63) for iommufd_event_read,
 * iommufd_event_wait and iommufd_page_response.  ENOMEM, also when all channels are in use. */
static inline int iommufd_fault_queue_alloc(uint32_t *queue, uint32_t *channel)
{
    struct nidus_fault_alloc call = { .size = sizeof(call) };
    int error = nidus_call(NIDUS_CALL_FAULT_QUEUE_ALLOC, &call, 0);

    *queue = call.out_fault_id;
    *channel = call.out_fault_fd;
    return error;
}

/*
 * A queue of the faults of `device`, whose second stage `parent` is: a vIOMMU, the device as a vdevice of it under the name virt_id, and
 * its queue, of `depth` events, 1 to 256, on a channel (1 to 63).  *viommu can be given to iommufd_hwpt_alloc_nested in place of the
 * parent.
 *
 * ENOENT: no such device or paging HWPT.  EINVAL: parent is no nest parent, or depth 0.  EEXIST: the device is a vdevice already.
 * ENOMEM, also for a larger depth.  What was made before the error stays, and has its id.
 */
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

/* Takes records of an event channel, at most *bytes; *bytes becomes how many bytes there were, 0 for none and on an error.  ENOENT: no such
 * channel.  Of a fault queue ESPIPE: *bytes is not a multiple of 40; EINVAL: a group has more records than there is room for. */
static inline int iommufd_event_read(uint32_t channel, void *records, uint32_t *bytes)
{
    struct nidus_event_io call = { .size = sizeof(call), .channel = channel, .data_uptr = (uint64_t)records, .data_len = *bytes };
    int error = nidus_call(NIDUS_CALL_EVENT_READ, &call, 0);

    *bytes = error == 0 ? call.data_len : 0;
    return error;
}

/* Waits until one of *channels (bit n: channel n) has something to read; *channels becomes those that have, 0: not within timeout_ns, or an
 * error.  timeout_ns: 0 does not wait, UINT64_MAX has no end.  ENOENT: one of them is no channel. */
static inline int iommufd_event_wait(uint64_t *channels, uint64_t timeout_ns)
{
    struct nidus_event_wait call = { .size = sizeof(call), .channels = *channels, .timeout_ns = timeout_ns };
    int error = nidus_call(NIDUS_CALL_EVENT_WAIT, &call, 0);

    *channels = error == 0 ? call.channels : 0;
    return error;
}

/* Answers *count groups of page requests of a fault queue's channel; *count becomes how many were, 0 on an error.  An error is told when
 * the first one has it: ENOENT: no such channel.  EINVAL: it is a veventq's, an unknown code, or a cookie of no group that was read and not
 * answered. */
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
