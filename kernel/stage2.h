/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage2.h: the one walker of second-stage page tables: EPT, NPT and VT-d.
 *
 * The three have the same shape (512 entries of 8 bytes, 9 bits a level, leaves of 4 KiB, 2 MiB and 1 GiB)
 * and differ in the bits of their entries, which struct stage2_format holds.  The largest leaf that
 * alignment and page_sizes allow is used.  Portable C: what it needs comes from iommu/platform.h.
 *
 * The walker does not invalidate and does not lock: its caller holds the lock of the table, and frees
 * what stage2_unmap and stage2_merge took out only after the invalidation that makes it safe.
 */
#ifndef NIDUS_STAGE2_H
#define NIDUS_STAGE2_H

#include <stdbool.h>
#include <stdint.h>

struct guest;
struct stage2_format;

extern const struct stage2_format stage2_ept;
extern const struct stage2_format stage2_npt;
extern const struct stage2_format stage2_vtd;

#define STAGE2_READ     1u
#define STAGE2_WRITE    2u
#define STAGE2_EXECUTE  4u      /* ignored by VT-d */
#define STAGE2_UNCACHED 8u      /* device memory; ignored by VT-d */
#define STAGE2_SNOOP    16u     /* VT-d: SNP in the leaf */
#define STAGE2_SMALL    32u     /* to stage2_map: leaves of 4 KiB alone */

#define STAGE2_2M 1u
#define STAGE2_1G 2u

struct stage2 {
    const struct stage2_format *format;
    struct guest *owner;        /* pays for the tables */
    uint64_t *root;
    unsigned levels;            /* 3, 4 or 5 */
    unsigned page_sizes;        /* STAGE2_2M | STAGE2_1G: leaves above 4 KiB that may be used */
    uint64_t limit;             /* the first address beyond it: 2^39, 2^48 or 2^57 */
    bool coherent;              /* false: every store is written back */
    bool dirty;                 /* hardware sets D in leaves that are written through (VT-d: SSADE) */
    bool mergeable;             /* a table that stage2_map wrote to may be full: its ends are; set by it, for its caller to clear */
};

/* Tables that were unlinked and may still be in a walker's caches. */
#define STAGE2_MERGES 4u        /* two levels at each end of a range */
struct stage2_freed {
    void *head;                 /* empty ones, chained through their first word */
    void *merged[STAGE2_MERGES]; /* and full ones, in which a walker still finds what it should: nothing is written to them */
    unsigned merges;
};

/* An empty table.  -EINVAL: levels; -ENOMEM. */
int stage2_init(struct stage2 *s, const struct stage2_format *format, unsigned levels, unsigned page_sizes,
                bool coherent, struct guest *owner);
/* Frees its tables, of which there may be a million, at most STAGE2_DESTROY_STEP at a time.  No hardware may use it any more, and nothing
 * but this is done with it.  false: there are more. */
#define STAGE2_DESTROY_STEP 512u
bool stage2_destroy_some(struct stage2 *s);
/* All at once. */
void stage2_destroy(struct stage2 *s);

/*
 * Maps [gpa, gpa + size) to [hpa, hpa + size).  All or nothing.
 * -EINVAL: not 4 KiB aligned, size 0 or no permission; -EOVERFLOW: beyond the limit or 2^52;
 * -EEXIST: something in the range is mapped; -ENOMEM.
 */
int stage2_map(struct stage2 *s, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot);

/*
 * Gives back tables that the mapping of [gpa, gpa + size), or of its last part, has made full: where the entries of one are leaves of one
 * run that is contiguous and aligned, with the same bits, the larger leaf takes its place, if page_sizes allow.  Looks at the tables of
 * the first and the last page alone: stage2_map makes none that lies within its range and could be a leaf.
 * true: *freed has what was taken out, for stage2_free after the invalidation of the range and of the largest leaves around it.
 * false: nothing was changed.
 * For what devices walk.  A CPU that runs on the table may not bear that the page size of code changes under it
 * (IA32_ARCH_CAPABILITIES.IF_PSCHANGE_MC_NO=0).
 */
bool stage2_merge(struct stage2 *s, uint64_t gpa, uint64_t size, struct stage2_freed *freed);

/* Splits the leaves that begin before or end behind [gpa, gpa + size) but reach into it: what is mapped stays the same, nothing has to be
 * invalidated, and unmapping the range takes no memory.  -EINVAL, -EOVERFLOW as above; -ENOMEM: nothing was changed. */
int stage2_split(struct stage2 *s, uint64_t gpa, uint64_t size);

/*
 * Long ranges are mapped and unmapped in steps, so that their caller gets a chance to do something else: how many bytes from gpa on, at
 * most size, are one step.  That is at most 512 entries, no more than *entries, of one table, and makes the leaves that one call would have made.
 */
uint64_t stage2_map_step(const struct stage2 *s, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot, unsigned *entries);
uint64_t stage2_unmap_step(const struct stage2 *s, uint64_t gpa, uint64_t size, unsigned *entries);

/*
 * Tells `sink` of the parts of [gpa, gpa + size) that lie in leaves with D=1; with clear, D of those leaves that lie in it wholly is cleared.
 * *cleared: some were: only after the invalidation of the range does a write set them again, and what was written until then counts
 * as told.  Does one step as above, and returns its bytes.  A leaf that is split while s->dirty has D=1 in all its parts.
 */
typedef void stage2_sink(void *context, uint64_t gpa, uint64_t size);
uint64_t stage2_dirty(struct stage2 *s, uint64_t gpa, uint64_t size, bool clear, bool *cleared, stage2_sink *sink, void *context);

/*
 * Unmaps whatever is mapped in [gpa, gpa + size).  A leaf that the range cuts is split.  Tables that end
 * up empty are unlinked and added to *freed: give them to stage2_free after the invalidation.
 * *unmapped (may be NULL): bytes that were mapped.
 * -EINVAL, -EOVERFLOW as above; -ENOMEM: no page for a split, nothing was changed.
 */
int stage2_unmap(struct stage2 *s, uint64_t gpa, uint64_t size, struct stage2_freed *freed, uint64_t *unmapped);
void stage2_free(struct stage2 *s, struct stage2_freed *freed);

/* What gpa maps to.  *prot: STAGE2_READ | … as the entries say, *leaf: bytes of the leaf, *level: the
 * level at which the walk ended, 1 for a 4 KiB leaf (any pointer may be NULL).  -ENOENT: not mapped; *level is
 * then the level of the entry that is not present. */
int stage2_lookup(const struct stage2 *s, uint64_t gpa, uint64_t *hpa, unsigned *prot, uint64_t *leaf, unsigned *level);

#endif
