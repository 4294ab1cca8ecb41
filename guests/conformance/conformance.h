/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conformance.h: does nidus answer as Linux's iommufd?  The rules that the tests of Linux's own tree check
 * (tools/testing/selftests/iommu), by number, each as a function that reads as the rule; and what those tests leave out.
 *
 *   items_envelope.c   1-5     items_ioas.c    43-62     items_pasid.c    76-90
 *   items_hwpt.c       6-42    items_dirty.c   63-75     items_beyond.c   from 91 on
 *
 * Runs twice: as a guest in QEMU (main.c), and in a process, on all of iommu/ and the model of the hardware (tools/test/conformance),
 * where a pointer is a GPA as well.  There one can look inside too: what needs that says why it cannot be seen in QEMU.
 *
 * Linux's tests run on a driver that has no hardware.  Where a rule is that driver's alone, or about processes and files, the item says
 * what takes its place.  Where nidus differs on purpose (docs/abi.md, the table at the end), it says "differs" and tests nidus's answer.
 */
#ifndef GUESTS_CONFORMANCE_H
#define GUESTS_CONFORMANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/iommufd.h"
#include "guests/runtime/pgtable.h"

#define K4 0x1000ULL
#define M2 0x200000ULL

/* Items -------------------------------------------------------------------------------------------------- */

struct item {
    unsigned number;
    const char *rule;
    void (*run)(void);
    const char *not_in_qemu;    /* why it cannot be tried there; NULL: it can */
};
#define ITEMS(name) const struct item name[]
#define ITEMS_END { 0 }
extern ITEMS(items_envelope);
extern ITEMS(items_hwpt);
extern ITEMS(items_ioas);
extern ITEMS(items_dirty);
extern ITEMS(items_pasid);
extern ITEMS(items_beyond);

/* Runs them all, a line for each: "ok N rule", "FAIL N rule: what", "n/a N rule: reason".  How many failed. */
unsigned items_run(void);
/* Gives back everything that was made since an item began, as is done after each.  false: something cannot be destroyed. */
bool items_tidy(void);

/* In an item: what does not hold makes it fail; the first such thing is printed. */
void expect_errno(int error, int want, const char *call, int line);
void expect(bool condition, const char *what, int line);
#define is(want, call)   expect_errno(call, want, #call, __LINE__)
#define ok(call)         expect_errno(call, 0, #call, __LINE__)
#define holds(condition) expect(condition, #condition, __LINE__)

/* The rig: main.c, or tools/test/conformance/main.c ------------------------------------------------------ */

enum {
    DMA,                        /* with PASIDs, ATS and page requests */
    PLAIN,                      /* behind the same unit, without them */
    /* Behind other units, which QEMU has not: */
    SHORT,                      /* with tables of 3 levels at most */
    UNTRACKED,                  /* without dirty tracking */
    DEVICES
};
#define BY_RID 0u               /* the PASID of requests without one */

struct rig {
    uint32_t device[DEVICES];   /* ids; 0: there is none */
    uint32_t default_ioas;
    bool keeps;                 /* the hardware keeps all that it may keep in its caches; else it forgets as it likes */
    uint8_t *own[DEVICES];      /* two pages of memory that the device has to reach, to begin with (space_new, table_new) */
    uint8_t *arena;             /* memory for the items, aligned to 2 MiB */
    uint64_t arena_bytes;
    uint8_t *end;               /* of memory: nothing is there */
};
extern struct rig rig;
#define ID(which) (rig.device[which])

/* The device copies bytes from one of its addresses to another.  false: it was refused, at least partly. */
bool rig_copy(unsigned device, uint32_t pasid, uint64_t from, uint64_t to, uint32_t bytes);
/* Something happens on the channel, within seconds. */
bool rig_wait(uint32_t channel);
/* Until nidus has read what units have recorded. */
void rig_settle(void);
/* DMA writes a word where there may be no page: a page request.  What came of that, once it was answered. */
void rig_ask(uint32_t pasid, uint64_t iova);
enum asked { ASKED_DONE, ASKED_INVALID, ASKED_NOTHING } rig_asked(void);

/* What can be seen in the model alone; NULL in QEMU. */
struct descriptor {
    uint64_t word[4];
};
struct inside {
    /* The entry that the device's requests with this PASID, or BY_RID, find; all zero: there is none. */
    void (*pasid_entry)(unsigned device, uint32_t pasid, uint64_t word[8]);
    /* What was put into the queue of the device's unit since the last time, wait descriptors left out; how many. */
    unsigned (*descriptors)(unsigned device, struct descriptor *out, unsigned room);
    /* The values that the entry had after each store since the last time, at most room; how many. */
    unsigned (*stores)(unsigned device, uint32_t pasid, uint64_t (*out)[8], unsigned room);
    /* The n-th allocation from now fails, 0: none.  Did it? */
    void (*fail_allocation)(unsigned n);
    bool (*allocation_failed)(void);
    uint64_t (*allocated)(void);    /* pages and objects that nidus has */
    /* Something that was done against the specification; NULL: nothing. */
    const char *(*violation)(void);
};
extern const struct inside *rig_inside;

/* Helpers ------------------------------------------------------------------------------------------------ */

/* Zeroed pages of the arena, this item's. */
void *pages(unsigned count);
static inline uint64_t gpa(const void *p) { return (uint64_t)p; }
/* Words that differ from page to page and from item to item. */
void *marked_pages(unsigned count);

/* An IOAS with the devices' own pages at IOVA = GPA. */
uint32_t space_new(void);
/* A paging HWPT of the IOAS for the device. */
uint32_t paging_new(unsigned device, uint32_t ioas, uint32_t flags);
/* A nest parent of the default IOAS: all RAM at IOVA = GPA. */
uint32_t parent_new(uint32_t flags);
/* A first-stage table with the devices' own pages at IOVA = GPA. */
struct pgtable *table_new(void);
uint32_t nested_new(unsigned device, uint32_t parent, const struct pgtable *t);
/* Lets t map one page; what it mapped there is replaced. */
void table_set(struct pgtable *t, uint64_t iova, const void *page);

#define RW (NIDUS_IOAS_MAP_READABLE | NIDUS_IOAS_MAP_WRITEABLE)
#define RO NIDUS_IOAS_MAP_READABLE
/* IOAS_MAP at a fixed address; of a range without one: *iova is where. */
int map(uint32_t ioas, uint64_t iova, const void *at, uint64_t bytes);
int map_anywhere(uint32_t ioas, uint64_t *iova, const void *at, uint64_t bytes);
/* IOAS_UNMAP; *bytes: how many there were. */
int unmap(uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *bytes);

/* HWPT_ALLOC in full; out_hwpt_id stays in *call. */
int hwpt_alloc(struct nidus_hwpt_alloc *call);
/* … of a first stage, with the data given. */
struct nidus_hwpt_alloc nested_call(unsigned device, uint32_t parent, struct nidus_hwpt_vtd_s1 *data);
int attach_raw(unsigned device, uint32_t pt, uint32_t pasid, uint32_t *hwpt);

/* Does the device find at iova what the page has / does what it writes there come to be in the page, which is otherwise unchanged? */
bool reads(unsigned device, uint32_t pasid, uint64_t iova, const void *page);
bool writes(unsigned device, uint32_t pasid, uint64_t iova, void *page);
/* It is refused both. */
bool refused(unsigned device, uint32_t pasid, uint64_t iova);

#endif
