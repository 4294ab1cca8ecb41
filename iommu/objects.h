/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * objects.h: what a guest's calls act on, private to the object layer.
 *
 *   ioas ◄── paging HWPT (a second stage that holds all that the IOAS maps) ◄── nested HWPT (a first stage) ──► fault queue
 *                 ▲                                                                  ▲
 *                 └────────────────────────── device ────────────────────────────────┘
 *
 * An arrow is a reference: it counts in the target's users, and an object with users is not destroyed.
 * A context's calls come one at a time: its lock guards its objects.  Faults and page requests come from elsewhere, and have a lock of their own.
 */
#ifndef NIDUS_OBJECTS_H
#define NIDUS_OBJECTS_H

#include "iommu/engine.h"
#include "iommu/platform.h"
#include "kernel/abi/nidus.h"

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define OBJECT_SLOTS  (PAGE_SIZE / sizeof(struct object *)) /* ids 1 to 511 */
#define MAX_AREAS     4096u     /* of all IOASes of a guest */
#define IOVA_LIMIT    (1ULL << 57) /* of an IOAS without HWPT: what five levels reach */
#define FAULT_RECORDS 256u
#define MAX_PASIDS    4096u     /* attached at a time, of all devices of a guest */
#define MAX_ALLOWED   256u      /* ranges of ALLOW_IOVAS */
#define STEP_ENTRIES  512u      /* what one step of a long call does: entries of a table, or of HWPT_INVALIDATE … */
#define STEP_REQUEST   64u      /* … and what a request to the units counts as */

/* Requests to this range are interrupts, which the second stage never sees (VT-d spec 3.14). */
#define INTERRUPT_RANGE_FIRST 0xfee00000ULL
#define INTERRUPT_RANGE_LAST  0xfeefffffULL

/* From a handler: a step is done, and another is needed (struct call). */
#define CALL_MORE 1

enum object_type { OBJECT_DEVICE, OBJECT_IOAS, OBJECT_PAGING, OBJECT_NESTED, OBJECT_FAULT_QUEUE, OBJECT_VIOMMU, OBJECT_VDEVICE, OBJECT_VEVENTQ };

struct object {
    enum object_type type;
    uint32_t id;
    unsigned users;             /* objects that refer to it; of a HWPT also attachments */
    bool pasid;                 /* a HWPT that was made for devices with PASIDs */
    struct fault_queue *faults; /* of a HWPT: where page requests go of what is attached to it; or NULL */
};

/* What a guest reads, and perhaps writes, by a number.  The event lock guards everything behind the number. */
#define CHANNELS 64u            /* 1 to 63: as many as a word has bits */
struct channel {
    struct object object;
    unsigned number;
    const struct channel_kind *kind;
};
/* Moves whole records between the channel and length bytes at gpa.  *done: bytes. */
typedef int channel_mover(struct iommu_context *c, struct channel *channel, uint64_t gpa, uint32_t length, uint32_t *done);
struct channel_kind {
    enum object_type type;
    channel_mover *read, *write; /* write NULL: nothing is written to it */
};

/* [iova, iova + length) of an IOAS is the guest's RAM at gpa. */
#define AREA_LANES 2u
struct area {
    struct area *next;          /* by IOVA */
    struct area *lane[AREA_LANES]; /* the next one in the lanes that it is in */
    uint64_t iova, length, gpa;
    unsigned prot;              /* STAGE2_READ | STAGE2_WRITE */
    bool divisible;             /* put there by nidus, not by IOAS_MAP: an unmap may cut it */
    bool writeable;             /* IOAS_MAP gave the memory with WRITEABLE: IOAS_COPY may, too */
};

struct ioas {
    struct object object;
    struct area *areas;
    struct area *lane[AREA_LANES]; /* those of them that a search enters the list at */
    unsigned joined;            /* so many have come */
    struct area *allowed;       /* where IOVAs are chosen; NULL: everywhere */
    struct paging *hwpts;
    bool small_pages;           /* leaves of 4 KiB alone (NIDUS_OPTION_HUGE_PAGES 0) */
    bool merged;                /* a leaf may lie across areas */
};

struct paging {
    struct object object;
    struct ioas *ioas;
    struct paging *next;        /* of the IOAS; when it is none any more, of dying */
    bool automatic;             /* made by attaching the IOAS, no nest parent; goes with the last device */
    struct domain domain;
};

struct nested {
    struct object object;
    struct object *over;        /* the nest parent, or a vIOMMU of it */
    struct first_stage first;
};

/*
 * A page request.  Those of a group are a list, in the order in which they came; the first stands for the group, which is open until its last
 * request has come, then waits in its queue to be read, then has been given to the guest, which answers it.
 */
struct page_request {
    struct engine_page_request r;
    struct page_request *next;
    struct assigned *device;
    uint64_t since;             /* when the group began; */
    struct object *hwpt;        /* what was attached when it was complete, NULL: it is open; */
    struct page_request *next_group; /* in the queue */
};

struct fault_queue {
    struct channel channel;
    struct page_request *waiting; /* the group that is read next */
};

struct assigned {
    struct object object;       /* users is 1: the guest cannot destroy it */
    struct device device;       /* it knows which HWPTs it is attached to: each attachment is a user */
    struct vdevice *vdevice;    /* NULL: it has none */
    unsigned pasids;            /* attached */
    unsigned queued;            /* attachments to HWPTs with a fault queue: while there is one, page requests are on */
    uint32_t leaving;           /* the PASID that is about to be detached: its page requests are taken no more; NOT_LEAVING */
    uint32_t used, groups, given; /* page requests: a bit each; those that stand for a group; for one that the guest has to answer */
    struct page_request request[ENGINE_PAGE_REQUESTS];
};
#define NOT_LEAVING UINT32_MAX

struct call;

/* The oldest record is at [first], at most depth of them; lost counts since the last FAULT_READ; sequence: of the next fault; gap: the one before
 * it was lost. */
struct fault_ring {
    struct nidus_fault record[FAULT_RECORDS];
    unsigned depth, first, count;
    uint64_t lost;
    uint32_t sequence;
    bool gap;
};

/*
 * A unit as a guest shows it to what it runs in turn:  vdevice ──► vIOMMU ──► nest parent
 *                                                     veventq ─────┘
 */
struct viommu {
    struct object object;
    struct paging *parent;
    const struct unit *unit;
    struct veventq *faults;     /* NULL: its devices' faults are not queued */
};

struct vdevice {
    struct object object;
    struct viommu *viommu;
    struct assigned *device;
    uint32_t virt_id;
};

struct veventq {
    struct channel channel;
    struct viommu *viommu;
    struct fault_ring *ring;
};

/* An entry of HWPT_INVALIDATE in words. */
enum { ENTRY_ADDR, ENTRY_PAGES, ENTRY_FLAGS, ENTRY_WORDS };
struct invalidate_step {
    uint64_t entry[STEP_ENTRIES][ENTRY_WORDS];
    struct engine_blocks blocks;     /* what the entries come to */
};

/* Areas that a call maps or unmaps, in steps: which, in which tables, and how far it is. */
struct work {
    struct ioas *ioas;
    struct area *held;          /* a chain that is in no list: they are to be mapped and then join, or have left and are to be unmapped; … */
    struct paging *only;        /* … or all of the IOAS's list, in this new HWPT alone */
    struct paging *paging;      /* the table that it is at, … */
    struct area *area;          /* … the area, … */
    uint64_t done;              /* … and how many of its bytes are done */
    uint64_t hpa;               /* of the only area's memory, which is in one piece; 0: of several, or they lie in pieces */
    bool tells;                 /* the payload says something new when all is done: the IOVA that nidus chose, the bytes that were unmapped */
    bool mergeable;             /* what was mapped may make large pages with what lies beside it; … */
    bool merging;               /* … all is mapped, and it becomes that */
    int error;                  /* of the mapping: what was mapped is then taken back */
    int unmap_error;
    int (*filled)(struct call *call, struct paging *only);
};

/*
 * A call that is being performed.  One that takes long is cut into steps: its handler has set `resume`, does the first step and
 * returns CALL_MORE, and so does resume, until the last.  Payload and progress are here meanwhile, where no guest reaches them.
 */
struct call {
    struct iommu_context *context;
    uint64_t gpa;               /* of the payload */
    void *piece;                /* the payload in the guest's memory: in one piece, and as large as nidus knows it; else NULL */
    uint64_t device_id;         /* RSI */
    uint32_t known, size;       /* of the payload: for nidus; without piece: for the guest */
    bool answer;                /* the payload goes back to the guest, set by the handler; even with an error */
    int (*resume)(struct call *call);
    int result;                 /* when all is done but the burying */
    struct work work;
    struct first_stage *first;  /* HWPT_INVALIDATE, … */
    uint32_t entries;           /* … which has so many */
    union {
        struct nidus_vfio_attach attach;
        struct nidus_vfio_detach detach;
        struct nidus_destroy destroy;
        struct nidus_ioas_alloc ioas_alloc;
        struct nidus_ioas_iova_ranges iova_ranges;
        struct nidus_ioas_allow_iovas allow_iovas;
        struct nidus_ioas_map ioas_map;
        struct nidus_ioas_copy ioas_copy;
        struct nidus_ioas_unmap ioas_unmap;
        struct nidus_option option;
        struct nidus_hwpt_alloc hwpt_alloc;
        struct nidus_hw_info hw_info;
        struct nidus_hwpt_set_dirty_tracking set_dirty;
        struct nidus_hwpt_get_dirty_bitmap get_dirty;
        struct nidus_hwpt_invalidate invalidate;
        struct nidus_fault_read fault_read;
        struct nidus_fault_alloc fault_alloc;
        struct nidus_event_io event_io;
        struct nidus_viommu_alloc viommu_alloc;
        struct nidus_vdevice_alloc vdevice_alloc;
        struct nidus_veventq_alloc veventq_alloc;
    };
};

struct iommu_context {
    struct call call;           /* the last one; with resume, it is not finished, and there is no other */
    struct lock lock;
    struct guest *guest;
    bool nested;
    uint32_t default_ioas;
    unsigned areas;             /* of all IOASes */
    unsigned pasids;            /* attached, of all devices */
    struct object **objects;    /* [id]: … */
    uint32_t next_id;           /* … none below this one is free */
    struct lock event_lock;     /* guards faults, page requests, and: */
    struct channel *channel[CHANNELS];
    uint64_t ready;             /* a bit for each channel that has something to read */
    uint64_t due;               /* when page requests have to be looked at that the guest may have forgotten; UINT64_MAX: there are none */
    struct fault_ring *faults;
    struct invalidate_step *step;
    struct paging *dying;       /* HWPTs that are gone but for their tables: the call goes on until there is none */
    bool released;              /* iommu_context_destroy has begun */
};

/* iommufd.c: objects and ids.  A new object has no id before object_add; its memory is the guest's. */
struct object *object_find(const struct iommu_context *c, uint64_t id);
/* The object if it has this type, else NULL. */
struct object *object_get(const struct iommu_context *c, uint64_t id, enum object_type type);
/* Gives it the lowest free id.  -ENOMEM: the guest has as many as it may. */
int object_add(struct iommu_context *c, struct object *object, enum object_type type);
/* It has none any more, and is the caller's. */
void object_remove(struct iommu_context *c, const struct object *object);
/* A zeroed one of size bytes, whose first member is its struct object, with an id.  NULL: -ENOMEM. */
void *object_create(struct iommu_context *c, size_t size, enum object_type type);
/* Frees an object without users and drops its references. */
void object_destroy(struct iommu_context *c, struct object *object);
/* Is all of [gpa, gpa + size) the guest's memory, with these rights (PLATFORM_*)? */
bool is_guest_memory(struct guest *guest, uint64_t gpa, uint64_t size, int rights);

/* ioas.c.  NULL: no memory. */
struct ioas *ioas_create(struct iommu_context *c);
void ioas_free(struct iommu_context *c, struct ioas *ioas);
/* All RAM at IOVA = GPA.  The IOAS is new. */
int ioas_map_ram(struct iommu_context *c, struct ioas *ioas);
/* Puts the HWPT, whose domain is new and empty, into its IOAS; ioas_fill comes next.
 * -EADDRINUSE: an area that the table does not reach, or where it has an RMRR; -EINVAL: a read-only area in a nest parent. */
int ioas_add_hwpt(struct ioas *ioas, struct paging *paging);
void ioas_remove_hwpt(struct paging *paging);
/* NULL: there is none. */
struct ioas *ioas_get(const struct call *call, uint32_t id);
/* What work is done with: the next part of an area in a table, at most one step of that.  *length: so many bytes; *entries: of the table. */
typedef int work_part(struct call *call, uint64_t *length, unsigned *entries);
/* From the first area in the first table on. */
void work_begin(struct work *w);
/* A step of doing part to all areas, table by table. */
int work_step(struct call *call, work_part *part);
/* A step of mapping all areas in call->work.only.  On an error the domain holds some. */
int ioas_fill(struct call *call);

/* areas.c: lists of areas, sorted by IOVA. */
static inline uint64_t area_last(const struct area *a)
{
    return a->iova + a->length - 1;
}
/* All 0, in no list.  NULL: no memory, or the guest has as many as it may. */
struct area *area_alloc(struct iommu_context *c);
void areas_free(struct iommu_context *c, struct area **list);
/* The link to the first area that ends at or behind iova. */
struct area **area_link(struct area **list, uint64_t iova);
/* A copy of *wanted, at that link.  -ENOMEM as above. */
int area_hold(struct iommu_context *c, struct area **link, const struct area *wanted);
/* Makes a and the one behind it, where it ends, one. */
void areas_unite(struct iommu_context *c, struct area *a);
/* The same of the list of an IOAS, whose links nothing else may change: … */
struct area **ioas_area_link(struct ioas *ioas, uint64_t iova);
void ioas_area_unite(struct iommu_context *c, struct ioas *ioas, struct area *a);
/* … puts a chain of areas that follow each other where nothing is; … */
void ioas_areas_join(struct ioas *ioas, struct area **chain);
/* … takes those from *link to last out, and tells their bytes; … */
struct area *ioas_areas_leave(struct ioas *ioas, struct area **link, uint64_t last, uint64_t *bytes);
/* … cuts the area that iova lies inside in two.  -ENOMEM. */
int ioas_area_split(struct iommu_context *c, struct ioas *ioas, uint64_t iova);

/* iova.c */
/* Is there an area that the domain does not reach, or that would lie where its device has an RMRR? */
bool iova_collide(const struct area *list, const struct domain *d);
/* May this range be mapped?  length is not 0.  -EINVAL: not whole pages, or reserved; -EOVERFLOW; -EEXIST. */
int iova_check(struct ioas *ioas, uint64_t iova, uint64_t length);
/* A free range for the memory at gpa.  -ENOSPC. */
int iova_choose(const struct ioas *ioas, uint64_t gpa, uint64_t length, uint64_t *iova);

/* hwpt.c */
/* Makes a HWPT with all that the IOAS maps, in steps, and then calls filled. */
int paging_create(struct call *call, struct ioas *ioas, const struct device *device, unsigned flags,
                  int (*filled)(struct call *call, struct paging *paging));
/* It is no object any more, and is buried in steps. */
void paging_free(struct iommu_context *c, struct paging *paging);
/* A step of freeing the tables of those.  true: none is left. */
bool paging_bury(struct iommu_context *c);
void nested_free(struct iommu_context *c, struct nested *nested);

/* events.c */
/* As object_create, with the lowest free number.  NULL: -ENOMEM. */
void *channel_create(struct iommu_context *c, size_t size, const struct channel_kind *kind);
/* Frees it; its id is gone. */
void channel_destroy(struct iommu_context *c, struct channel *channel, size_t size);
/* The event lock is held.  It has something to read, or not. */
void channel_ready(struct iommu_context *c, const struct channel *channel, bool ready);

/* fault_queue.c */
/* The requests that came while the device was attached to hwpt with this PASID are answered "invalid". */
void fault_queue_leave(struct iommu_context *c, struct assigned *a, uint32_t pasid, const struct object *hwpt);

/* fault_ring.c.  NULL: no memory. */
struct fault_ring *fault_ring_create(struct iommu_context *c, unsigned depth);
void fault_ring_free(struct iommu_context *c, struct fault_ring *ring);
/* Headers and faults, of a veventq. */
channel_mover fault_events_read;

/* viommu.c */
void viommu_free(struct iommu_context *c, struct viommu *v);
void vdevice_free(struct iommu_context *c, struct vdevice *d);
void veventq_free(struct iommu_context *c, struct veventq *q);

/* device.c */
/* What the engine has these requests of the device on; NULL: nothing. */
struct object *device_hwpt(const struct device *device, uint32_t pasid);
/* Stops the device and detaches it from everything.  -EIO: its unit does not answer. */
int device_block(struct iommu_context *c, struct assigned *device);

/* The handlers of the calls: 0 or a negative errno. */
int call_destroy(struct call *call);
int call_ioas_alloc(struct call *call);
int call_ioas_iova_ranges(struct call *call);
int call_ioas_allow_iovas(struct call *call);
int call_ioas_map(struct call *call);
int call_ioas_copy(struct call *call);
int call_ioas_unmap(struct call *call);
int call_option(struct call *call);
int call_hwpt_alloc(struct call *call);
int call_set_dirty_tracking(struct call *call);
int call_get_dirty_bitmap(struct call *call);
int call_hwpt_invalidate(struct call *call);
int call_hw_info(struct call *call);
int call_attach(struct call *call);
int call_detach(struct call *call);
int call_fault_read(struct call *call);
int call_fault_queue_alloc(struct call *call);
int call_viommu_alloc(struct call *call);
int call_vdevice_alloc(struct call *call);
int call_veventq_alloc(struct call *call);
int call_event_read(struct call *call);
int call_event_write(struct call *call);

#endif
