/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine.h: the VT-d engine as the object layer (iommufd.c …) sees it: devices that are blocked or
 * attached, domains (second-stage tables) and first-stage tables nested on them.
 *
 * Every function validates all before it touches anything: an error leaves tables, caches and
 * translation as they were, and one line in the log says which thing and why.  -EIO everywhere: the unit did not
 * answer; it is fenced off and said so.
 */
#ifndef NIDUS_ENGINE_H
#define NIDUS_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "iommu/bits.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"
#include "kernel/stage2.h"

struct guest;
struct unit;                    /* one remapping unit (DRHD); lives for ever */
struct first_stage;
struct pasid_directory_entry;

/* A table in use under a DID and a PASID, by one device or several (binding.h).  In the list of the first stage, or of the domain; lives
 * while devices is not 0. */
struct binding {
    struct binding *next;       /* of the same table; those of a unit stand together */
    struct domain_id *id;
    struct first_stage *first;  /* NULL: the second stage alone */
    uint32_t pasid;
    unsigned devices;
    uint64_t descriptor;        /* word 0 of what invalidates blocks of it (qi_first_stage_block) */
};

/* A domain id of a unit, in use for one second stage.  In the domain's list; lives while bindings is not 0. */
struct domain_id {
    struct domain_id *next;     /* of the domain; those of a unit stand together */
    struct domain_id *next_of_unit;
    struct domain *domain;
    struct unit *unit;
    uint16_t did;
    uint8_t snoop;              /* SNOOP_* of its entries */
    unsigned bindings;
};

/*
 * A second-stage table and the places that use it.  Members are private to the engine but for `table`.  Changed by calls of its owner, which come
 * one at a time (LOCK_CONTEXT); the lock is for those who walk the table beside them.
 */
struct domain {
    struct lock lock;
    struct stage2 table;
    bool nest_parent;
    bool dirty;                 /* made for dirty tracking; while that is on, table.dirty: SSADE in every entry that leads to it */
    const struct device *rmrr_of; /* holds this device's RMRRs, for it alone; or NULL */
    unsigned users;             /* attachments to it alone, and first stages over it */
    struct first_stage *children;
    struct domain_id *ids;      /* in use for it: … */
    struct domain_id own_id;    /* … most have one at most */
    struct binding *bindings;   /* of entries that lead to it alone: … */
    struct binding own_binding; /* … most tables have one at most */
    struct guest *owner;
};

/* A guest's first-stage table over a nest parent. */
struct first_stage {
    struct domain *parent;
    const struct unit *unit;    /* that it was made for, and can walk it */
    struct first_stage *next;   /* sibling */
    uint64_t pgtbl;             /* GPA, 4 KiB aligned */
    unsigned levels;            /* 4 or 5 */
    bool sre, eafe, wpe;
    unsigned users;             /* attachments */
    struct binding *bindings, own_binding;
};

/* A function's own TLB (PCI Express 6.0, chapter 10): ats.c's. */
struct device_tlb {
    bool wanted;                /* on while the device is attached; DTE in its context entry */
    bool on;                    /* it was attached: there may be something in it */
    bool lost;                  /* it did not answer once: off for ever */
    bool requests;              /* page requests are on */
    uint16_t physical;          /* the physical function of a virtual one, else itself */
    uint8_t pending;            /* invalidations that it takes at a time, 0: 32 */
};

/* A function assigned to a guest.  Its unit's lock guards it; what the owner's calls alone change, they read without. */
struct device {
    struct device *next;        /* the engine's list of the unit's devices */
    struct unit *unit;
    uint16_t segment, source_id;
    struct guest *owner;
    void *context;              /* the object layer's, for engine_fault_sink */
    uint32_t id;                /* the guest's device id */
    struct pasid_directory_entry *pasid_directory;
    uint32_t pasids;            /* that it has room for */
    uint8_t pasid_bits;         /* of the PASIDs that it may send, 0: it sends none; … */
    bool execute, privileged;   /* … and with them requests to execute, and privileged ones */
    unsigned attachments;       /* of all its PASIDs; none: blocked */
    struct iommu_device_policy policy;
    bool rmrr;                  /* it has at least one */
    struct device_tlb tlb;
    uint8_t properties;         /* what firmware says of it: DMAR_NO_NESTED … */
    uint8_t snoop;              /* SNOOP_*: what its requests do with caches, as its unit can and firmware allows (SIDP) */
    uint64_t faults;
};

struct unit_info {
    uint64_t cap, ecap;         /* raw registers */
    bool errata_772415;         /* in force on this unit */
    bool nested;                /* can do nested translation */
    bool ats;                   /* the device may use ATS */
    bool dirty;                 /* can track what the device writes */
    uint8_t pasid_bits;         /* it may be attached by PASIDs below 2^pasid_bits, 0: by none; … */
    bool execute, privileged;   /* … and with one ask to execute, and be privileged */
};

/* Requests without PASID, as a PASID: they use this one's entry. */
#define ENGINE_NO_PASID 0u

/* Finds the unit and puts blocking entries in place.  dev: segment, source_id, owner, context, id and policy are set.  false: refused,
 * reason says why. */
bool engine_device_init(struct device *dev, char reason[160]);
/* Detaches if needed and gives its tables back.  -EIO: the device's unit does not answer; it stays on the list and its memory in use. */
int engine_device_fini(struct device *dev);
void engine_unit_info(const struct device *dev, struct unit_info *info);
/* Its unit is dead, or its TLB did not answer once: Bus Master stays off for good. */
bool engine_device_fenced(const struct device *dev);

/* An empty second stage as dev's unit can walk it.  flags: first stages may be put over it; what devices write through it can be tracked.
 * -EOPNOTSUPP: the unit cannot do that, or firmware does not let its walks for dev snoop; -ENOMEM. */
#define ENGINE_NEST_PARENT 1u
#define ENGINE_DIRTY       2u
int engine_domain_init(struct domain *d, const struct device *dev, unsigned flags, struct guest *owner);
/* users is 0.  Frees its tables, a step of them as stage2_destroy_some does.  false: there are more. */
bool engine_domain_fini(struct domain *d);
/* The unit because of which erratum 772415 is in force; NULL: it is not. */
const struct unit *engine_erratum_772415(void);
int domain_allows_read_only(const struct domain *d);
/* May prot (STAGE2_*) be mapped here?  -EINVAL: read-only in a nest parent while erratum 772415 is in force on any unit. */
static inline int engine_domain_allows(const struct domain *d, unsigned prot)
{
    return prot & STAGE2_WRITE ? 0 : domain_allows_read_only(d);
}
/* stage2_map's errors, and engine_domain_allows'. */
int engine_domain_map(struct domain *d, uint64_t iova, uint64_t hpa, uint64_t size, unsigned prot);
/* What was mapped, one map or several after each other, is there to stay: large pages where it can have them now, with what lies beside
 * it.  Not before: a page that reaches beyond a range takes memory to unmap the range alone.  false: nothing changed. */
bool engine_domain_merge(struct domain *d, uint64_t iova, uint64_t size);
/* No large page reaches beyond the range: engine_domain_unmap of it then takes no memory.  -ENOMEM: nothing changed. */
int engine_domain_split(struct domain *d, uint64_t iova, uint64_t size);
/* Unmaps and invalidates on every unit, first stages over it included.  When it returns 0 no device reaches the pages.
 * -ENOMEM: nothing changed; -EIO: a unit does not answer. */
int engine_domain_unmap(struct domain *d, uint64_t iova, uint64_t size);
/* Dirty tracking on or off, for all that is attached to d or to a first stage over it, and for what will be.  -EIO. */
int engine_domain_track(struct domain *d, bool on);
/* Tells sink what was written in a part of [iova, iova + *size), with clear from then on anew: *size is how much of it one step did.
 * When it returns, a write that it did not tell of is told of next time.  -EIO. */
int engine_domain_dirty(struct domain *d, uint64_t iova, uint64_t *size, bool clear, stage2_sink *sink, void *context);
bool rmrr_reserved(const struct device *dev, uint64_t first, uint64_t last, uint64_t *range_first, uint64_t *range_last);
/* The lowest range in [first, last] that d's device has in it, whatever is mapped (RMRR).  false: none. */
static inline bool engine_domain_reserved(const struct domain *d, uint64_t first, uint64_t last, uint64_t *range_first, uint64_t *range_last)
{
    return d->rmrr_of && rmrr_reserved(d->rmrr_of, first, last, range_first, range_last);
}

/* f: parent, pgtbl, levels, sre, eafe, wpe are set, the rest is 0.  Checks them against dev's unit and links f.  -EINVAL: pgtbl not aligned or beyond the
 * second stage, levels, sre/eafe/wpe that the unit lacks; -EOPNOTSUPP. */
int engine_first_stage_init(struct first_stage *f, const struct device *dev);
/* users is 0. */
void engine_first_stage_fini(struct first_stage *f);

/*
 * Attaches dev's requests with pasid (ENGINE_NO_PASID: those without) to f (nested) or, f NULL, to d, in place of what they had.  The first
 * attachment sets Bus Master, but of a device that is fenced.  What the entry's format allows to be replaced without a gap is: each request in flight gets the old or the new translation, and
 * when the call returns the new one.  That is all but: another nest parent under a first stage; a first stage with other levels, SRE, WPE or
 * EAFE; from or to the second stage alone, one with SRE.
 * -EINVAL: the unit cannot walk this table (levels, page sizes, it does not snoop tables that are not written back …), dev is not the
 * owner's, pasid is beyond what dev sends; -EOPNOTSUPP: dev or unit has no PASIDs; -ENOSPC: no DID; -ENOMEM; on an error the old attachment
 * goes on.
 */
int engine_attach(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f);
/* Blocks them.  With the last attachment of dev, Bus Master goes.  Nothing attached: 0. */
int engine_detach(struct device *dev, uint32_t pasid);
/* What they are attached to: *f, or *f NULL and *d; both NULL: nothing. */
void engine_attached(const struct device *dev, uint32_t pasid, struct domain **d, struct first_stage **f);
/* The first PASID from *pasid on that is attached.  false: none. */
bool engine_next_attached(const struct device *dev, uint32_t *pasid);
/* Bus Master off, whatever is attached. */
void engine_stop(struct device *dev);
/* Its faults and page requests go to nobody from now on. */
void engine_orphan(struct device *dev);

/*
 * What is to be invalidated: 2^n pages each, at an address that is aligned to them, as units and device TLBs take it.  Made once, for all of
 * them.  A block is word 1 of a page-selective p_iotlb_inv (6.5.2.4).
 */
#define BLOCK_AM   BITS(5, 0)   /* n */
#define BLOCK_IH   BIT(6)       /* only leaf entries changed */
#define BLOCK_ADDR BITS(63, 12)
#define ENGINE_EVERYTHING 1023u /* as a count: more than a unit is asked for at a time, so everything is what goes */
struct engine_blocks {
    uint64_t count;
    uint64_t block[ENGINE_EVERYTHING];
};

/* Invalidates them, one at least, on every unit where f is attached.  Returns when it has happened. */
int engine_invalidate(struct first_stage *f, const struct engine_blocks *blocks);

/* The object layer implements this: a fault of an assigned device.  Bounded, must not block; the unit's lock is held. */
struct nidus_fault;
void engine_fault_sink(struct device *dev, const struct nidus_fault *fault);
/* … and this: count records of unknown devices of the unit were lost (overflow): every owner of a device on it is told. */
void engine_fault_lost(struct device *dev);


/* A page that a device asks for (PRI); last: its group ends here and is answered once. */
struct engine_page_request {
    uint64_t addr;
    uint32_t pasid;
    uint16_t group;
    bool has_pasid, read, write, execute, privileged, last;
};
enum engine_page_code { ENGINE_PAGE_SUCCESS = 0, ENGINE_PAGE_INVALID = 1, ENGINE_PAGE_FAILURE = 15 };
/* … and this: takes the request; engine_page_response answers its group.  false: it does not, the answer is "invalid".  r NULL: requests
 * were lost, groups without their last one end here.  Bounded, must not block, and answers later, not from within. */
bool engine_page_request(struct device *dev, const struct engine_page_request *r);

/* As many requests as a device may have under way, as on Linux: those of 31 devices fit into the queue of their unit together. */
#define ENGINE_PAGE_REQUESTS 32u
/* Can the device make page requests once it is attached?  -ENODEV: it, its unit or its policy lacks what that takes; -EINVAL: a virtual
 * function, whose requests are its physical one's. */
int engine_page_requests_check(const struct device *dev);
/* Page requests of an attached device, off at first.  -EOPNOTSUPP: unit or device has none, or ATS is off; -EIO. */
int engine_page_requests(struct device *dev, bool on);

/* What ends a group.  What made its pages present has been invalidated before. */
struct engine_page_answer {
    uint32_t pasid;
    uint16_t group;
    bool has_pasid;
    uint8_t code;               /* ENGINE_PAGE_* */
};
/* One submission for all of them.  -EINVAL: page requests are off, and when they go on again the device has forgotten what it asked for; -EIO. */
int engine_page_response(struct device *dev, const struct engine_page_answer *answer, unsigned count);

#endif
