/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * property.h: the property test: guests that do whatever comes to a seed's mind, on remapping units of several kinds, against all of
 * iommu/ and the model of the hardware (tools/vtd-model).  Each DMA has to give what the reference (reference.c) says.
 *
 *   machine.c     a machine: units, guests, devices            reference.c   what a request may give, from flat lists alone
 *   calls.c       payloads in, errno out                       dma.c         requests, and the judgement of their results
 *   spaces.c      IOASes: map and unmap                        tables.c      a guest's first-stage tables, and what is stale of them
 *   hwpts.c       page tables: alloc, attach, invalidate       dirty.c       what was written to, and is said to have been
 *   main.c        seeds, episodes, the report of a failure
 *
 * A run is a row of episodes, each a machine of its own.  A step's choices depend on seed, episode and step alone, so a failure
 * is repeated by its numbers, and steps can be left out to find those that matter.
 */
#ifndef PROPERTY_H
#define PROPERTY_H

#include <stdbool.h>
#include <stdint.h>

#include "iommu/iommu.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/platform.h"
#include "tools/vtd-model/host_platform.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL

typedef unsigned long long ull;

/* A guest's memory.  What calls read lies in PRIVATE, which no IOAS maps; first-stage tables lie in TABLES; the rest is data: 8-byte words
 * with bit 0 clear, which are no present entries to a walk that ends up there. */
#define PRIVATE_PAGES 16u
#define TABLES        0x200000ULL   /* 2 MiB, of which tables take some pages */
#define TABLE_PAGES   160u
#define DATA          0x400000ULL
#define DATA_BYTES    (4 * M2)
#define MORE          0x10003000ULL /* pages that are aligned to nothing */
#define MORE_PAGES    13u
#define HUGE_DATA     0x100000000ULL /* of one guest: enough for a leaf of 1 GiB */
#define HUGE_BYTES    (2 * G1)

#define UNIT_BASE 0xfed90000ULL /* registers, page by page */
#define UNITS   5u
#define GUESTS  3u
#define DEVICES 8u
#define AREAS   40u
#define SPACES  4u
#define HWPTS   24u
#define TREES   4u
#define STALE   24u
#define FAULT_BITS 65536u
#define WRITTEN 64u

/* An IOAS: which IOVA is which GPA. */
struct area {
    uint64_t iova, length, gpa;
    bool read, write;
    bool divisible;             /* of the default IOAS: an unmap may cut it */
    bool writeable;             /* a copy may be written to */
};

struct space {
    bool live;
    uint32_t id;
    uint64_t offset;            /* first-stage tables are at IOVA = GPA + offset, where they are mapped at all */
    struct area area[AREAS];
    unsigned areas;
    bool changing;              /* a call is under way, after which it will be next: until then both hold, page by page */
    struct area next[AREAS];
    unsigned nexts;
    uint64_t hot[8];            /* IOVAs that were mapped or unmapped lately */
};

/* A guest's first-stage tables. */
struct tree {
    bool live;
    struct space *space;
    unsigned levels;
    uint64_t top;               /* GPA */
    uint64_t hot[16];
};

/* A first-stage entry that was changed: until its invalidation units may use the old value. */
struct stale {
    uint64_t at;                /* GPA */
    uint64_t old;
    uint64_t first, last;       /* input addresses that it concerns */
    bool leaf;
    uint32_t units;             /* where it may be cached, a bit each */
    struct { uint64_t first, last; } done[4]; /* parts of it that were invalidated */
    unsigned dones;
};

/* A page of a tracked second stage that was written to since it was last cleared. */
struct written {
    uint64_t iova;
    bool sure;                  /* … else it may have been */
    bool late;                  /* while the bitmap was read */
};

struct hwpt {
    bool live, nested, nest_parent, automatic;
    bool pasid;                 /* made for devices with PASIDs */
    uint32_t id;
    struct space *space;
    unsigned unit;              /* of the device that it was made for */
    uint8_t properties;         /* … and what firmware said of it */
    /* paging: */
    bool dirty, tracking;       /* made to be tracked; it is */
    bool setting, reading;      /* a call about that is under way */
    bool vague;                 /* more was written to, or counts as that, than is known */
    struct written written[WRITTEN];
    unsigned writtens;
    /* nested: */
    struct hwpt *parent;
    struct tree *tree;
    bool eafe, sre, wpe;
    unsigned children;
    struct stale stale[STALE];
    unsigned stales;
};

/* What a device sends without PASID, or with one. */
#define USES 4u
struct use {
    struct device_ *device;
    uint32_t pasid;             /* 0: without */
    struct hwpt *hwpt;          /* what it is attached to; NULL: blocked */
    bool changing;              /* a call is under way: hwpt, or next, or blocked … */
    struct hwpt *next;
    bool gapless;               /* … which it must not be */
};

struct device_ {
    struct guest_ *guest;
    unsigned unit;
    uint16_t source_id;
    uint32_t id;
    bool assigned;
    struct host_function *function;
    bool pasids;                /* it sends some, and its unit knows them: */
    uint8_t pasid_bits;
    bool ats;                   /* it has a TLB of its own, and the guest may use it */
    bool silent;                /* that does not answer invalidations any more */
    uint8_t properties;         /* what firmware says of it: DMAR_NO_NESTED … */
    struct use use[USES];
    bool leaving;               /* it is on its way to the guest, or away from it */
    uint8_t faults[FAULT_BITS / 8]; /* a bit for each fault that it got: reason, access, PASID and page, hashed */
};

struct guest_ {
    struct guest *host;
    struct iommu_context *context;
    bool nested;                /* may have nest parents */
    bool huge;
    uint64_t faults, read;      /* that its devices got, that it has read, since it had read all that there was, … */
    bool lost;                  /* … and whether it was told that some are missing, or nobody knows */
    struct space space[SPACES];
    struct hwpt hwpt[HWPTS];
    struct tree tree[TREES];
    uint64_t free_table[TABLE_PAGES], limbo[TABLE_PAGES]; /* limbo: unlinked, maybe still cached */
    unsigned free_tables, limbos;
};

struct unit_ {
    struct model_preset preset;
    char name[48];
    struct model_unit *model;
    bool pasid, nest, snoops, fs_5level, fs_1g, eafs, srs, zlr, caching, ats, nwfs, forces_snoop, marks;
    unsigned dids, records;
};

struct machine {
    struct model *model;
    struct unit_ unit[UNITS];
    unsigned units;
    struct guest_ guest[GUESTS];
    unsigned guests;
    struct device_ device[DEVICES];
    unsigned devices;
    bool crowded;               /* one unit with few DIDs, and many that want them */
    bool family;                /* one guest, whose devices are all on one unit and use the same tables */
    bool errata;                /* 772415: in force, and in the hardware */
    struct use *focus;          /* what the call that is under way is about, or … */
    const struct hwpt *watched; /* … whoever is attached to this, and … */
    uint64_t watched_at;        /* … an address of it */
    uint64_t own_pages;         /* nidus's own, before the first device was assigned */
    bool broken;                /* a unit may not answer: what it may still use is never given back */
    bool in_call, no_dma;       /* a call is under way; … after which nobody knows yet what holds */
};
extern struct machine m;

/* main.c ----------------------------------------------------------------------------------------------- */

/* The step's choices. */
uint64_t below(uint64_t n);
static inline bool one_in(unsigned n) { return below(n) == 0; }
static inline bool percent(unsigned p) { return below(100) < p; }

/* Kept for the report of a failure; format takes up to six numbers of type ull. */
void note_(const char *format, const ull *numbers, unsigned count);
#define note(format, ...) \
    do { const ull numbers_[] = { __VA_ARGS__ }; note_(format, numbers_, sizeof numbers_ / sizeof *numbers_); } while (0)

/* The property does not hold: the report, and the end. */
_Noreturn void fails(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* … with the walk of the request in it. */
_Noreturn void dma_fails(unsigned unit, const struct model_request *request, uint64_t address, const char *text);
void require_no_violation(void);

/* machine.c -------------------------------------------------------------------------------------------- */

/* units, guests: so many, 0: any number.  ats: some devices have a TLB of their own, and may use it. */
void machine_start(uint64_t seed, unsigned units, bool ats, unsigned guests);
void machine_stop(void);
/* The device's TLB answers no invalidation any more: nidus shuts it out at the next one. */
void device_falls_silent(struct device_ *d);
/* A guest ends and comes back. */
void restart_guest(struct guest_ *g);

/* calls.c ---------------------------------------------------------------------------------------------- */

int64_t call(struct guest_ *g, uint64_t nr, void *payload, uint32_t size, uint64_t device);
/* Writes what a payload points to; returns its GPA. */
uint64_t put_data(struct guest_ *g, const void *data, uint32_t size);
int64_t call_map(struct guest_ *g, struct space *s, const struct area *a, bool fixed, uint64_t *iova);
int64_t call_copy(struct guest_ *g, const struct space *from, uint64_t source, const struct space *to, const struct area *a, uint64_t *iova);
int64_t call_unmap(struct guest_ *g, struct space *s, uint64_t iova, uint64_t length, uint64_t *unmapped);
int64_t call_alloc_hwpt(struct guest_ *g, uint32_t device, uint32_t pt, uint32_t flags, const struct nidus_hwpt_vtd_s1 *s1, uint32_t *id);
int64_t call_destroy_(struct guest_ *g, uint32_t id);
/* A call with something in it that is to be refused. */
void bad_call(struct guest_ *g);
/* true: maybe there are more. */
bool read_faults(struct guest_ *g, uint32_t room);

/* spaces.c --------------------------------------------------------------------------------------------- */

bool space_find(const struct area *areas, unsigned count, uint64_t iova, struct area *page);
void space_adopt_ram(struct guest_ *g, struct space *s);
void space_allocs(struct guest_ *g);
void space_maps(struct guest_ *g, struct space *s);
void space_unmaps(struct guest_ *g, struct space *s);
void space_copies(struct guest_ *g, struct space *to);
/* Some IOVA that means something in the space, and its page's GPA. */
uint64_t space_address(struct space *s);
struct space *some_space(struct guest_ *g);

/* tables.c --------------------------------------------------------------------------------------------- */

#define FS_P    0x1ULL
#define FS_W    0x2ULL
#define FS_U    0x4ULL
#define FS_A    0x20ULL
#define FS_D    0x40ULL
#define FS_PS   0x80ULL
#define FS_EA   0x400ULL
#define FS_ADDR 0x000ffffffffff000ULL

uint64_t *guest_word(struct guest_ *g, uint64_t gpa);
void tables_forget(struct guest_ *g);
struct tree *tree_new(struct guest_ *g, struct space *s);
void tree_free(struct guest_ *g, struct tree *t);
struct tree *some_tree(struct guest_ *g); /* one that is attached, if there is one; NULL: none */
void tree_changes(struct guest_ *g, struct tree *t);
uint64_t tree_address(struct tree *t);
/* Units on which the page table is attached. */
uint32_t units_of(const struct hwpt *h);
/* Everything of h is gone from the units that are not in this set. */
void stale_keep(struct hwpt *h, uint32_t units);
/* [first, last] was invalidated. */
void stale_done(struct hwpt *h, uint64_t first, uint64_t last, bool leaf_only);
bool stale_applies(const struct stale *s, unsigned unit, uint64_t address);

/* hwpts.c ---------------------------------------------------------------------------------------------- */

void hwpt_allocs(struct guest_ *g);
void hwpt_destroys(struct guest_ *g);
void hwpt_attaches(struct guest_ *g, struct use *use);
void hwpt_detaches(struct guest_ *g, struct use *use);
void hwpt_gets_user(struct guest_ *g, struct hwpt *h);
void hwpt_invalidates(struct guest_ *g, struct hwpt *h);
void hwpt_goes_silent(struct device_ *d);
struct hwpt *stale_hwpt(struct guest_ *g);
struct hwpt *stale_of(struct guest_ *g, const struct tree *t); /* with that tree; NULL: none */
unsigned users_of(const struct hwpt *h);

/* dirty.c ---------------------------------------------------------------------------------------------- */

/* A device has written, or may have, to the page. */
void dirty_written(struct hwpt *h, uint64_t iova, bool sure);
/* [first, last] of the IOAS was unmapped, and large leaves may have been split for that. */
void dirty_unmapped(struct guest_ *g, const struct space *s, uint64_t first, uint64_t last, bool split);
void dirty_asks(struct guest_ *g);

/* reference.c ------------------------------------------------------------------------------------------ */

struct outcome {
    uint8_t reason;             /* 0: done */
    uint64_t hpa;               /* of the byte */
    uint64_t gpa;
};
#define OUTCOMES 64u
struct outcomes {
    unsigned count;
    bool many;                  /* more than fit */
    struct outcome one[OUTCOMES];
};
/* All that a request for one page may give. */
/* … by_ats: and its translation is asked for first. */
void expect(struct use *use, const struct model_request *request, uint64_t address, bool zero_length, bool by_ats, struct outcomes *out);
/* After a request that was done: are A and D set all the way?  Only where exactly one walk is possible. */
bool marks_set(struct use *use, uint64_t address, bool write);

/* dma.c ------------------------------------------------------------------------------------------------ */

void some_dma(void);
/* Some requests of one of the guest's devices, whose faults may be recorded at once. */
void dma_burst(struct guest_ *g);
/* Do those that use it, of them, see what they should at the address? */
void look_at(const struct hwpt *h, uint64_t address);
void write_at(const struct hwpt *h, uint64_t address);
/* Between two stores of the driver. */
void dma_within_call(void);
/* Are the device's translation requests on? */
bool ats_is_on(const struct device_ *d);
/* The bit of its faults that stands for this one. */
unsigned fault_bit(uint8_t reason, uint8_t access, bool with_pasid, uint32_t pasid, uint64_t address);
/* The device must not get anywhere. */
void require_blocked(struct device_ *d);

#endif
