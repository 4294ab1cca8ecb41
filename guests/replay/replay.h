/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay.h: random scenarios that can be played twice: by a guest in QEMU (main.c), and by a process on tools/vtd-model
 * (tools/test/threeway).  All but main.c is the same code in both, and prints the same text when both translate alike.
 *
 *   scenario.c   seeds and steps              dma.c         transfers of the devices, and what is wrong with their results
 *   spaces.c     IOASes: map and unmap        reference.c   what a request may give, from flat lists alone
 *   tables.c     first-stage tables, stale    output.c      a line for each step; one hash for each, one line for many
 *   hwpts.c      alloc, attach, invalidate
 *
 * A step's choices depend on the seed, on the step and on what is there by then.  What each step says is text: what was asked for, the
 * errno, the device's status, the fault record, the entries on the way with their A and D bits, a sum of the bytes.
 *
 * Between the change of a present entry and its invalidation hardware may use the old value or the new one, for each part of it (6.2.4).  Then
 * both sides may differ, so nothing of the result is said; instead each is held against all that may come (reference.c), and memory
 * is put back to what it is when hardware uses the new one.  Where the specification lets hardware choose between faults
 * (docs/vtd-model.md), the line says which there are to choose from, and the one that came has to be among them.
 */
#ifndef GUESTS_REPLAY_REPLAY_H
#define GUESTS_REPLAY_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/abi/nidus.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL

/* Where things are in the guest's memory.  The first IOAS has them at IOVA = GPA, all but what calls read. */
#define ARENA        0x1000000ULL
#define CALLS        ARENA                      /* payloads and what they point to: no IOAS has it */
#define CALLS_BYTES  0x10000ULL
#define PINNED       (ARENA + 0x10000)          /* in every IOAS, always: rings, and tables that rings are found by */
#define PINNED_PAGES 32u
#define TABLES       (ARENA + M2)               /* first-stage tables that IOASes may lack */
#define TABLE_PAGES  96u
#define DATA         (ARENA + 2 * M2)
#define DATA_BYTES   (2 * M2)
#define MORE         (ARENA + 4 * M2 + 0x3000)  /* pages that are aligned to nothing */
#define MORE_PAGES   13u
#define ARENA_BYTES  (5 * M2)
/* Of the RAM that the default IOAS has from the beginning, and that may be cut (docs/abi.md), each seed has a piece. */
#define SLICES       0x2000000ULL
#define SLICE_STEP   (2 * M2)
#define SLICE_COUNT  8u
#define RAM_BYTES    0x4000000ULL

#define DEVICES 3u
#define AREAS   40u
#define SPACES  4u
#define HWPTS   14u
#define TREES   6u
#define STALE   24u

/* An IOAS: which IOVA is which GPA. */
struct area {
    uint64_t iova, length, gpa;
    bool read, write;
    bool pinned;                /* not to be unmapped */
    bool divisible;             /* of the default IOAS's first: an unmap may cut it */
};

struct space {
    bool live;
    uint32_t id;
    uint64_t offset;            /* tables and rings are at IOVA = GPA + offset */
    struct area area[AREAS];
    unsigned areas;
    uint64_t hot[8];            /* IOVAs that were mapped or unmapped lately */
};

/* First-stage tables of four levels. */
struct tree {
    bool live;
    struct space *space;
    uint64_t top;               /* GPA */
    uint64_t hot[16];
};

/* A first-stage entry that was changed: until its invalidation hardware may use the old value. */
struct stale {
    uint64_t at;                /* GPA */
    uint64_t old;
    uint64_t first, last;       /* input addresses that it concerns */
    bool leaf;
    struct { uint64_t first, last; } done[4]; /* parts of it that were invalidated */
    unsigned dones;
};

struct hwpt {
    bool live, nested, nest_parent, automatic;
    uint32_t id;
    struct space *space;
    struct hwpt *parent;        /* nested: */
    struct tree *tree;
    unsigned children;
    struct stale stale[STALE];
    unsigned stales;
};

/* Requests without PASID are the first place of a device; the others have PASIDs, if device and unit do. */
#define PLACES  3u
#define NO_PASID UINT32_MAX
extern const uint32_t pasid_of[PLACES];

/* A nidus-dma. */
struct device {
    uint32_t id;
    struct hwpt *hwpt[PLACES];  /* what they are attached to; NULL: blocked */
    bool bus_master;
};

struct machine {
    uint64_t seed;
    uint32_t step;
    uint32_t default_ioas;
    bool fresh;                 /* the first seed since the guest began */
    uint64_t cap, ecap;         /* registers of the unit */
#define CAP_CM      (1ULL << 7)
#define CAP_FS1GP   (1ULL << 56)
#define ECAP_SMPWCS (1ULL << 48)
    bool pasids;                /* the devices have them */
    bool errata;                /* the unit sets A and D through read-only mappings (772415) */
    struct device device[DEVICES];
    struct space space[SPACES]; /* the first is the default IOAS */
    struct hwpt hwpt[HWPTS];
    struct tree tree[TREES];
    uint64_t free_table[TABLE_PAGES], limbo[TABLE_PAGES]; /* limbo: unlinked, maybe still cached */
    unsigned free_tables, limbos;
};
extern struct machine m;

/* What is under the scenario: main.c in the guest, tools/test/threeway/host.c in the process --------------------- */

struct transfer {
    uint32_t op;                /* of docs/nidus-dma.md */
    uint32_t pasid;             /* or NO_PASID */
    uint64_t src, dst;
    uint32_t len;
    uint64_t seed;
    uint32_t status, done;
    uint64_t sum, error_addr;
};
enum { OP_COPY = 1, OP_FILL = 2, OP_SUM = 3 };
enum { DONE = 1, SRC_ERROR = 2, DST_ERROR = 3, RING_ERROR = 100 };

void *port_memory(uint64_t gpa);
int64_t port_call(uint32_t number, uint64_t payload, uint32_t device);
/* The device is reset and runs, with its ring at this bus address; the ring is the device's page of PINNED. */
void port_start(unsigned device, uint64_t ring);
/* One operation, to its end. */
void port_transfer(unsigned device, struct transfer *t);
/* What PCI_CONFIG_WRITE of a guest does, without attaching. */
void port_bus_master_on(unsigned device);
void port_print(const char *line);

/* scenario.c ----------------------------------------------------------------------------------------------------- */

/* The step's choices. */
uint64_t below(uint64_t n);
static inline bool one_in(unsigned n) { return below(n) == 0; }
static inline bool percent(unsigned p) { return below(100) < p; }

/* Plays a seed.  m.device[].id, m.default_ioas, m.fresh, m.errata, m.pasids, m.cap, m.ecap are set.  Steps from show_first to show_last are printed in
 * full.  Ends with the first step that has a wrong result; gives their number. */
unsigned play(uint64_t seed, uint32_t steps, uint32_t show_first, uint32_t show_last);

/* output.c ------------------------------------------------------------------------------------------------------- */

#define STEPS_A_LINE 36u

void output_start(uint64_t seed, uint32_t show_first, uint32_t show_last);
void step_begins(void);
void step_ends(void);
/* A last line: the rest of the hashes. */
void output_end(void);
unsigned output_wrongs(void);
void tell(const char *words);
void tell_hex(const char *words, uint64_t value);
void tell_error(int64_t error);
/* The same, but only for whoever reads the steps in full: the sides may differ. */
void aside_hex(const char *words, uint64_t value);
/* Not what it has to be: printed at once, and counted. */
void wrong(const char *words, uint64_t value);

/* calls ---------------------------------------------------------------------------------------------------------- */

/* Puts a payload into memory, calls, takes the answer; says the number and the errno. */
int64_t call(uint32_t number, void *payload, uint32_t size, uint32_t device);
#define CALL_DATA (CALLS + 0x2000)

/* spaces.c ------------------------------------------------------------------------------------------------------- */

bool space_find(const struct space *s, uint64_t iova, struct area *page);
/* Is there, or was there, another seed's slice?  Then nobody knows what is there. */
bool is_other_slice(const struct space *s, uint64_t iova);
void space_adopt_ram(struct space *s);
void space_give_back(struct space *s);
void space_allocs(void);
void space_maps(struct space *s);
void space_unmaps(struct space *s);
void space_cuts(void);
/* Some IOVA that means something in the space. */
uint64_t space_address(struct space *s);
struct space *some_space(void);

/* tables.c ------------------------------------------------------------------------------------------------------- */

#define FS_P    0x1ULL
#define FS_W    0x2ULL
#define FS_U    0x4ULL
#define FS_A    0x20ULL
#define FS_D    0x40ULL
#define FS_PS   0x80ULL
#define FS_ADDR 0x000ffffffffff000ULL

/* Where rings are in every first stage. */
#define RING_IOVA 0x6e0000000000ULL

uint64_t *word_at(uint64_t gpa);
uint64_t span_of(unsigned level);
bool is_leaf(uint64_t entry, unsigned level);
bool is_canonical(uint64_t address);
void tables_forget(void);
/* Each IOAS has three tables that lead to the rings; they are made before anything uses them, and never change. */
void ring_tables_make(const struct space *s);
struct tree *tree_new(struct space *s);
void tree_free(struct tree *t);
void tree_changes(struct tree *t);
uint64_t tree_address(struct tree *t);
/* [first, last] of h was invalidated. */
void stale_done(struct hwpt *h, uint64_t first, uint64_t last, bool leaf_only);
/* Nothing of h is cached any more. */
void stale_gone(struct hwpt *h);
/* Does the tree have a stale value at this place, for this address, that is not known to be gone?  i: to start with; the next one. */
const struct stale *stale_next(const struct tree *t, uint64_t at, uint64_t address, unsigned *i);

/* hwpts.c -------------------------------------------------------------------------------------------------------- */

void hwpt_allocs(void);
void hwpt_destroys(void);
void hwpt_attaches(struct device *d);
void hwpt_detaches(struct device *d);
void hwpt_invalidates(struct hwpt *h);
bool is_attached(const struct hwpt *h);
struct hwpt *stale_hwpt(void);
unsigned users_of(const struct hwpt *h);
void hwpts_give_back(void);

/* reference.c ---------------------------------------------------------------------------------------------------- */

struct outcome {
    uint8_t reason;             /* 0: done */
    uint64_t gpa;               /* of the byte */
};
#define OUTCOMES 24u
#define MARKS    96u
struct outcomes {
    unsigned count;
    struct outcome one[OUTCOMES];
    bool many;                  /* more than fit */
    bool stale;                 /* something on the way may be an old value */
    bool choice;                /* the specification does not say which of them */
    unsigned marks;             /* entries as memory has them, on all ways */
    struct { uint64_t at; bool leaf; } mark[MARKS];
};
/* All that a request with pasid of d for a byte may give.  no_stale: only what it gives when hardware has cached nothing. */
void expect(const struct device *d, uint32_t pasid, uint64_t address, bool write, bool no_stale, struct outcomes *out);

/* pattern.c: what nidus-dma writes, and how it adds up (docs/nidus-dma.md) ------------------------------------------ */

struct pattern_sum {
    uint64_t a, b;
};
/* Bytes [at, at + length) of the pattern. */
void pattern_bytes(uint64_t seed, uint64_t at, void *to, uint32_t length);
/* length is a multiple of 8, but in the last call. */
void pattern_add(struct pattern_sum *sum, const void *bytes, uint32_t length);
uint64_t pattern_value(const struct pattern_sum *sum);

/* dma.c ---------------------------------------------------------------------------------------------------------- */

void some_dma(struct device *d);
/* After an attachment changed: the device begins anew. */
void device_starts(struct device *d);
/* The tables, with their A and D bits, and the data. */
void tell_memory(void);
/* There must be none. */
void no_faults(void);

#endif
