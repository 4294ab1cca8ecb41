/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommufd.h: the calls that carry the payloads of Linux's iommufd.
 *
 * The call number in RAX is the number of the Linux ioctl, (';' << 8) | nr, and the payload at the GPA in
 * RDI has the layout of that ioctl's structure in Linux 7.x <linux/iommufd.h> and <linux/vfio.h>.  Names
 * are Linux's with the prefix NIDUS_/nidus_.  tools/test checks every size, offset and value against
 * Linux's header.
 *
 * Every payload begins with its size in bytes.  A size below the minimum is -EINVAL; a larger one than
 * nidus knows is accepted when the unknown tail is zero, else -E2BIG; a smaller one reads as if the tail
 * were zero.  user_va and data_uptr are GPAs.
 */
#ifndef NIDUS_ABI_IOMMUFD_H
#define NIDUS_ABI_IOMMUFD_H

#include <stdint.h>

#ifdef __cplusplus
#define NIDUS_ABI_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), "size of " #type)
#else
#define NIDUS_ABI_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)
#endif

#define NIDUS_CALL_ATTACH            0x3b77u /* VFIO_DEVICE_ATTACH_IOMMUFD_PT, device id in RSI */
#define NIDUS_CALL_DETACH            0x3b78u /* VFIO_DEVICE_DETACH_IOMMUFD_PT, device id in RSI */
#define NIDUS_CALL_DESTROY           0x3b80u
#define NIDUS_CALL_IOAS_ALLOC        0x3b81u
#define NIDUS_CALL_IOAS_ALLOW_IOVAS  0x3b82u
#define NIDUS_CALL_IOAS_COPY         0x3b83u
#define NIDUS_CALL_IOAS_IOVA_RANGES  0x3b84u
#define NIDUS_CALL_IOAS_MAP          0x3b85u
#define NIDUS_CALL_IOAS_UNMAP        0x3b86u
#define NIDUS_CALL_OPTION            0x3b87u
#define NIDUS_CALL_VFIO_IOAS         0x3b88u /* -EOPNOTSUPP */
#define NIDUS_CALL_HWPT_ALLOC        0x3b89u
#define NIDUS_CALL_GET_HW_INFO       0x3b8au
#define NIDUS_CALL_HWPT_SET_DIRTY_TRACKING 0x3b8bu
#define NIDUS_CALL_HWPT_GET_DIRTY_BITMAP 0x3b8cu
#define NIDUS_CALL_HWPT_INVALIDATE   0x3b8du
#define NIDUS_CALL_IOAS_MAP_FILE     0x3b8fu /* -EOPNOTSUPP, and so the others that say so */
#define NIDUS_CALL_IOAS_CHANGE_PROCESS 0x3b92u /* -EOPNOTSUPP */
#define NIDUS_CALL_HW_QUEUE_ALLOC    0x3b94u /* -EOPNOTSUPP */
#define NIDUS_CALL_FAULT_QUEUE_ALLOC 0x3b8eu
#define NIDUS_CALL_VIOMMU_ALLOC      0x3b90u
#define NIDUS_CALL_VDEVICE_ALLOC     0x3b91u
#define NIDUS_CALL_VEVENTQ_ALLOC     0x3b93u

struct nidus_vfio_attach {      /* struct vfio_device_attach_iommufd_pt */
    uint32_t argsz;             /*  0: 12, or 16 with ATTACH_PASID */
    uint32_t flags;             /*  4: 0 */
    uint32_t pt_id;             /*  8: IOAS or HWPT; out: the HWPT attached */
    uint32_t pasid;             /* 12 */
};
NIDUS_ABI_SIZE(struct nidus_vfio_attach, 16);
#define NIDUS_VFIO_ATTACH_PASID (1u << 0)

struct nidus_vfio_detach {      /* struct vfio_device_detach_iommufd_pt */
    uint32_t argsz;             /* 0: 8, or 12 with DETACH_PASID */
    uint32_t flags;             /* 4: 0 */
    uint32_t pasid;             /* 8 */
};
NIDUS_ABI_SIZE(struct nidus_vfio_detach, 12);
#define NIDUS_VFIO_DETACH_PASID (1u << 0)

struct nidus_destroy {          /* struct iommu_destroy */
    uint32_t size;              /* 0: 8 */
    uint32_t id;                /* 4 */
};
NIDUS_ABI_SIZE(struct nidus_destroy, 8);

struct nidus_ioas_alloc {       /* struct iommu_ioas_alloc */
    uint32_t size;              /* 0: 12 */
    uint32_t flags;             /* 4: 0 */
    uint32_t out_ioas_id;       /* 8: out */
};
NIDUS_ABI_SIZE(struct nidus_ioas_alloc, 12);

struct nidus_iova_range {       /* struct iommu_iova_range */
    uint64_t start;             /* 0 */
    uint64_t last;              /* 8: inclusive */
};
NIDUS_ABI_SIZE(struct nidus_iova_range, 16);

struct nidus_ioas_iova_ranges { /* struct iommu_ioas_iova_ranges */
    uint32_t size;              /*  0: 32 */
    uint32_t ioas_id;           /*  4 */
    uint32_t num_iovas;         /*  8: in: room; out: ranges there are */
    uint32_t reserved;          /* 12: 0 */
    uint64_t allowed_iovas;     /* 16: gets an array of struct nidus_iova_range */
    uint64_t out_iova_alignment; /* 24: out: 4096 */
};
NIDUS_ABI_SIZE(struct nidus_ioas_iova_ranges, 32);

struct nidus_ioas_allow_iovas { /* struct iommu_ioas_allow_iovas */
    uint32_t size;              /*  0: 24 */
    uint32_t ioas_id;           /*  4 */
    uint32_t num_iovas;         /*  8: 0: no restriction */
    uint32_t reserved;          /* 12: 0 */
    uint64_t allowed_iovas;     /* 16: array of struct nidus_iova_range */
};
NIDUS_ABI_SIZE(struct nidus_ioas_allow_iovas, 24);

struct nidus_ioas_map {         /* struct iommu_ioas_map */
    uint32_t size;              /*  0: 40 */
    uint32_t flags;             /*  4: NIDUS_IOAS_MAP_* */
    uint32_t ioas_id;           /*  8 */
    uint32_t reserved;          /* 12: 0 */
    uint64_t user_va;           /* 16: GPA of the guest's own memory, 4 KiB aligned */
    uint64_t length;            /* 24: bytes, a multiple of 4 KiB */
    uint64_t iova;              /* 32: in with FIXED_IOVA, else out */
};
NIDUS_ABI_SIZE(struct nidus_ioas_map, 40);
#define NIDUS_IOAS_MAP_FIXED_IOVA (1u << 0)
#define NIDUS_IOAS_MAP_WRITEABLE  (1u << 1)
#define NIDUS_IOAS_MAP_READABLE   (1u << 2)

struct nidus_ioas_copy {        /* struct iommu_ioas_copy */
    uint32_t size;              /*  0: 40 */
    uint32_t flags;             /*  4: NIDUS_IOAS_MAP_* */
    uint32_t dst_ioas_id;       /*  8 */
    uint32_t src_ioas_id;       /* 12 */
    uint64_t length;            /* 16: bytes, a multiple of 4 KiB */
    uint64_t dst_iova;          /* 24: in with FIXED_IOVA, else out */
    uint64_t src_iova;          /* 32 */
};
NIDUS_ABI_SIZE(struct nidus_ioas_copy, 40);

struct nidus_ioas_unmap {       /* struct iommu_ioas_unmap */
    uint32_t size;              /*  0: 24 */
    uint32_t ioas_id;           /*  4 */
    uint64_t iova;              /*  8: 0 with length UINT64_MAX means everything */
    uint64_t length;            /* 16: out: bytes unmapped */
};
NIDUS_ABI_SIZE(struct nidus_ioas_unmap, 24);

struct nidus_option {           /* struct iommu_option */
    uint32_t size;              /*  0: 24 */
    uint32_t option_id;         /*  4: NIDUS_OPTION_* */
    uint16_t op;                /*  8: NIDUS_OPTION_OP_* */
    uint16_t reserved;          /* 10: 0 */
    uint32_t object_id;         /* 12: HUGE_PAGES: an IOAS; else 0 */
    uint64_t val64;             /* 16: in or out */
};
NIDUS_ABI_SIZE(struct nidus_option, 24);
#define NIDUS_OPTION_RLIMIT_MODE 0u
#define NIDUS_OPTION_HUGE_PAGES  1u /* 1: tables have the largest pages that fit; 0: 4 KiB pages */
#define NIDUS_OPTION_OP_SET 0u
#define NIDUS_OPTION_OP_GET 1u

struct nidus_hwpt_alloc {       /* struct iommu_hwpt_alloc; minimum size 24 */
    uint32_t size;              /*  0: 48 */
    uint32_t flags;             /*  4: NIDUS_HWPT_ALLOC_* */
    uint32_t dev_id;            /*  8 */
    uint32_t pt_id;             /* 12: an IOAS gives a paging HWPT, a nest parent or a vIOMMU a nested HWPT */
    uint32_t out_hwpt_id;       /* 16: out */
    uint32_t reserved;          /* 20: 0 */
    uint32_t data_type;         /* 24: NIDUS_HWPT_DATA_* */
    uint32_t data_len;          /* 28 */
    uint64_t data_uptr;         /* 32 */
    uint32_t fault_id;          /* 40: with FAULT_ID_VALID */
    uint32_t reserved2;         /* 44 */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_alloc, 48);
#define NIDUS_HWPT_ALLOC_NEST_PARENT    (1u << 0)
#define NIDUS_HWPT_ALLOC_DIRTY_TRACKING (1u << 1)
#define NIDUS_HWPT_FAULT_ID_VALID       (1u << 2)
#define NIDUS_HWPT_ALLOC_PASID          (1u << 3)
#define NIDUS_HWPT_DATA_NONE   0u
#define NIDUS_HWPT_DATA_VTD_S1 1u

struct nidus_hwpt_vtd_s1 {      /* struct iommu_hwpt_vtd_s1 */
    uint64_t flags;             /*  0: NIDUS_VTD_S1_* */
    uint64_t pgtbl_addr;        /*  8: GPA of the top table, 4 KiB aligned */
    uint32_t addr_width;        /* 16: 48, or 57 where CAP.FS5LP */
    uint32_t reserved;          /* 20: 0 */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_vtd_s1, 24);
#define NIDUS_VTD_S1_SRE  (1u << 0)
#define NIDUS_VTD_S1_EAFE (1u << 1)
#define NIDUS_VTD_S1_WPE  (1u << 2)

struct nidus_hw_info {          /* struct iommu_hw_info; minimum size 32 */
    uint32_t size;              /*  0: 40 */
    uint32_t flags;             /*  4: NIDUS_HW_INFO_FLAG_INPUT_TYPE or 0 */
    uint32_t dev_id;            /*  8 */
    uint32_t data_len;          /* 12: in: buffer; out: 24 */
    uint64_t data_uptr;         /* 16: gets struct nidus_hw_info_vtd */
    uint32_t data_type;         /* 24: in with INPUT_TYPE; out: NIDUS_HW_INFO_TYPE_INTEL_VTD */
    uint8_t out_max_pasid_log2; /* 28 */
    uint8_t reserved[3];        /* 29: 0 */
    uint64_t out_capabilities;  /* 32: NIDUS_HW_CAP_* */
};
NIDUS_ABI_SIZE(struct nidus_hw_info, 40);
#define NIDUS_HW_INFO_FLAG_INPUT_TYPE  (1u << 0)
#define NIDUS_HW_INFO_TYPE_DEFAULT     0u
#define NIDUS_HW_INFO_TYPE_INTEL_VTD   1u
#define NIDUS_HW_CAP_DIRTY_TRACKING        (1u << 0)
#define NIDUS_HW_CAP_PCI_PASID_EXEC        (1u << 1)
#define NIDUS_HW_CAP_PCI_PASID_PRIV        (1u << 2)
#define NIDUS_HW_CAP_PCI_ATS_NOT_SUPPORTED (1u << 3)

struct nidus_hw_info_vtd {      /* struct iommu_hw_info_vtd */
    uint32_t flags;             /*  0: NIDUS_HW_INFO_VTD_* */
    uint32_t reserved;          /*  4 */
    uint64_t cap_reg;           /*  8: the unit's CAP register, spec 11.4.2 */
    uint64_t ecap_reg;          /* 16: the unit's ECAP register, spec 11.4.3 */
};
NIDUS_ABI_SIZE(struct nidus_hw_info_vtd, 24);
#define NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17 (1u << 0)

struct nidus_hwpt_set_dirty_tracking { /* struct iommu_hwpt_set_dirty_tracking */
    uint32_t size;              /*  0: 16 */
    uint32_t flags;             /*  4: NIDUS_HWPT_DIRTY_TRACKING_ENABLE, or 0: off */
    uint32_t hwpt_id;           /*  8: a paging HWPT made with DIRTY_TRACKING */
    uint32_t reserved;          /* 12: 0 */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_set_dirty_tracking, 16);
#define NIDUS_HWPT_DIRTY_TRACKING_ENABLE (1u << 0)

struct nidus_hwpt_get_dirty_bitmap { /* struct iommu_hwpt_get_dirty_bitmap */
    uint32_t size;              /*  0: 48 */
    uint32_t hwpt_id;           /*  4 */
    uint32_t flags;             /*  8: NIDUS_HWPT_GET_DIRTY_BITMAP_* */
    uint32_t reserved;          /* 12: 0 */
    uint64_t iova;              /* 16 */
    uint64_t length;            /* 24: bytes */
    uint64_t page_size;         /* 32: of a bit; a power of two from 4096 on */
    uint64_t data;              /* 40: GPA of the bitmap: bit i of it, from bit 0 of its first byte on, is iova + i * page_size */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_get_dirty_bitmap, 48);
#define NIDUS_HWPT_GET_DIRTY_BITMAP_NO_CLEAR (1u << 0)

struct nidus_hwpt_invalidate {  /* struct iommu_hwpt_invalidate */
    uint32_t size;              /*  0: 32 */
    uint32_t hwpt_id;           /*  4: a nested HWPT */
    uint64_t data_uptr;         /*  8: array of struct nidus_hwpt_vtd_s1_invalidate */
    uint32_t data_type;         /* 16: NIDUS_HWPT_INVALIDATE_DATA_VTD_S1 */
    uint32_t entry_len;         /* 20: 24 */
    uint32_t entry_num;         /* 24: in: entries; out: entries handled */
    uint32_t reserved;          /* 28: 0 */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_invalidate, 32);
#define NIDUS_HWPT_INVALIDATE_DATA_VTD_S1 0u
#define NIDUS_HWPT_INVALIDATE_MAX_ENTRIES (1u << 19)

struct nidus_hwpt_vtd_s1_invalidate { /* struct iommu_hwpt_vtd_s1_invalidate */
    uint64_t addr;              /*  0: 4 KiB aligned */
    uint64_t npages;            /*  8: 4 KiB pages; UINT64_MAX with addr 0 means everything */
    uint32_t flags;             /* 16: NIDUS_VTD_INV_LEAF or 0 */
    uint32_t reserved;          /* 20: 0 */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_vtd_s1_invalidate, 24);
#define NIDUS_VTD_INV_LEAF (1u << 0) /* only leaf entries changed */

struct nidus_fault_alloc {      /* struct iommu_fault_alloc */
    uint32_t size;              /*  0: 16 */
    uint32_t flags;             /*  4: 0 */
    uint32_t out_fault_id;      /*  8: out: for HWPT_ALLOC */
    uint32_t out_fault_fd;      /* 12: out: an event channel (nidus.h): gives hwpt_pgfault, takes hwpt_page_response */
};
NIDUS_ABI_SIZE(struct nidus_fault_alloc, 16);

struct nidus_hwpt_pgfault {     /* struct iommu_hwpt_pgfault */
    uint32_t flags;             /*  0: NIDUS_PGFAULT_FLAGS_* */
    uint32_t dev_id;            /*  4 */
    uint32_t pasid;             /*  8: with PASID_VALID */
    uint32_t grpid;             /* 12: the device's number of the group */
    uint32_t perm;              /* 16: NIDUS_PGFAULT_PERM_* */
    uint32_t reserved;          /* 20 */
    uint64_t addr;              /* 24: the page */
    uint32_t length;            /* 32: 0 */
    uint32_t cookie;            /* 36: of the group, whose last record has LAST_PAGE: it is answered once */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_pgfault, 40);
#define NIDUS_PGFAULT_FLAGS_PASID_VALID (1u << 0)
#define NIDUS_PGFAULT_FLAGS_LAST_PAGE   (1u << 1)
#define NIDUS_PGFAULT_PERM_READ  (1u << 0)
#define NIDUS_PGFAULT_PERM_WRITE (1u << 1)
#define NIDUS_PGFAULT_PERM_EXEC  (1u << 2)
#define NIDUS_PGFAULT_PERM_PRIV  (1u << 3)

struct nidus_hwpt_page_response { /* struct iommu_hwpt_page_response */
    uint32_t cookie;            /* 0 */
    uint32_t code;              /* 4: NIDUS_PAGE_RESP_* */
};
NIDUS_ABI_SIZE(struct nidus_hwpt_page_response, 8);
#define NIDUS_PAGE_RESP_SUCCESS 0u /* the device tries again */
#define NIDUS_PAGE_RESP_INVALID 1u /* it gives up */

struct nidus_viommu_alloc {     /* struct iommu_viommu_alloc; minimum size 24 */
    uint32_t size;              /*  0: 40 */
    uint32_t flags;             /*  4: 0 */
    uint32_t type;              /*  8: NIDUS_VIOMMU_TYPE_VTD (nidus.h) */
    uint32_t dev_id;            /* 12: a device of the unit */
    uint32_t hwpt_id;           /* 16: a nest parent */
    uint32_t out_viommu_id;     /* 20: out */
    uint32_t data_len;          /* 24: 0 */
    uint32_t reserved;          /* 28: 0 */
    uint64_t data_uptr;         /* 32 */
};
NIDUS_ABI_SIZE(struct nidus_viommu_alloc, 40);
#define NIDUS_VIOMMU_TYPE_DEFAULT 0u

struct nidus_vdevice_alloc {    /* struct iommu_vdevice_alloc */
    uint32_t size;              /*  0: 24 */
    uint32_t viommu_id;         /*  4 */
    uint32_t dev_id;            /*  8 */
    uint32_t out_vdevice_id;    /* 12: out */
    uint64_t virt_id;           /* 16: the device's name in events of this vIOMMU, 32 bits */
};
NIDUS_ABI_SIZE(struct nidus_vdevice_alloc, 24);

struct nidus_veventq_alloc {    /* struct iommu_veventq_alloc */
    uint32_t size;              /*  0: 32 */
    uint32_t flags;             /*  4: 0 */
    uint32_t viommu_id;         /*  8 */
    uint32_t type;              /* 12: NIDUS_VEVENTQ_TYPE_VTD_FAULT (nidus.h) */
    uint32_t veventq_depth;     /* 16: events that it holds, 1 to 256 */
    uint32_t out_veventq_id;    /* 20: out */
    uint32_t out_veventq_fd;    /* 24: out: an event channel (nidus.h) */
    uint32_t reserved;          /* 28: 0 */
};
NIDUS_ABI_SIZE(struct nidus_veventq_alloc, 32);
#define NIDUS_VEVENTQ_TYPE_DEFAULT 0u

struct nidus_vevent_header {    /* struct iommufd_vevent_header */
    uint32_t flags;             /* 0: NIDUS_VEVENTQ_FLAG_* */
    uint32_t sequence;          /* 4: counts events from 0, lost ones too; 31 bits */
};
NIDUS_ABI_SIZE(struct nidus_vevent_header, 8);
#define NIDUS_VEVENTQ_FLAG_LOST_EVENTS (1u << 0) /* nothing follows the header: the events up to this one were lost */

#endif
