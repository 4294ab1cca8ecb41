/* SPDX-License-Identifier: BSD-2-Clause */
/* internal.h: a machine and its units, as the model's own files see them. */
#ifndef VTD_MODEL_INTERNAL_H
#define VTD_MODEL_INTERNAL_H

#include "bits.h"
#include "model.h"

/* Caches (cache.c), tags of section 6.2.1 ------------------------------------------------------------ */

struct table_copy {             /* a paging-structure entry: where the next table is */
    uint64_t next;              /* HPA; of a nested first stage after the second */
    bool r, w, u;               /* AND of all levels; first stage: w is R/W, u is U/S */
    bool four_level;            /* first stage: of an address of 48 bits */
    bool updatable;             /* nested first stage: the second stage lets A and D be set in that table */
};

struct mapping {                /* what a walk ends in, and the IOTLB holds, section 6.2.4 */
    uint64_t hpa;               /* of the page */
    uint8_t shift;
    uint8_t pgtt;
    bool first_w, first_u;      /* first stage: AND of R/W, of U/S */
    bool second_r, second_w;    /* second stage: AND of R, of W */
    bool dirty;                 /* a write needs no D flag set any more */
    bool snoop;                 /* PGSNP or SNP */
    bool sre, wpe;
    bool privileged;            /* the request was, or RID_PRIV */
    uint8_t reason;             /* CM=1: a second-stage fault that is remembered; 0: none */
};

struct cached {
    bool valid;
    bool with_pasid;            /* IOTLB, device-TLB: entry of a request-with-PASID */
    uint8_t shift;              /* log2 of what the entry covers */
    uint8_t pgtt;
    uint16_t source_id, domain;
    uint32_t pasid;
    uint64_t page;              /* input address >> shift; IEC: the index */
    union {
        uint64_t word[8];       /* context, PASID entry, IRTE */
        struct table_copy table;
        struct mapping mapping;
        struct model_translation translation;
    };
};

struct cache {
    struct cached *slot;
    unsigned sets, live;
    struct model_unit *unit;
    enum model_cache kind;
};
#define CACHE_WAYS 4

void caches_init(struct model_unit *unit);
void caches_free(struct model_unit *unit);
/* Looks up by the tags that the kind of cache has, section 6.2.1; NULL: a miss. */
struct cached *cache_find(struct model_unit *unit, enum model_cache kind, const struct cached *tags);
void cache_insert(struct model_unit *unit, enum model_cache kind, const struct cached *entry);
void cache_drop(struct model_unit *unit, enum model_cache kind, bool (*matches)(const struct cached *, const void *), const void *what);
void cache_drop_all(struct model_unit *unit, enum model_cache kind);
void cache_evict_some(struct model_unit *unit);

/* Invalidations (invalidate.c): exactly what tables 23 and 24 say --------------------------------------- */

enum scope { SCOPE_GLOBAL, SCOPE_DOMAIN, SCOPE_DEVICE, SCOPE_PASID, SCOPE_PAGE };
struct invalidation {
    enum scope scope;
    uint16_t domain, source_id, source_mask;
    uint32_t pasid;
    uint64_t address;
    unsigned shift;             /* the range is 2^shift bytes */
    bool leaf_only;             /* IH */
    bool all_pasids;            /* GI */
};
uint16_t function_mask(uint64_t word, unsigned high_bit);
void invalidate_context(struct model_unit *unit, const struct invalidation *what);
void invalidate_pasid(struct model_unit *unit, const struct invalidation *what);
void invalidate_iotlb(struct model_unit *unit, const struct invalidation *what);        /* iotlb_inv_dsc */
void invalidate_pasid_iotlb(struct model_unit *unit, const struct invalidation *what);  /* p_iotlb_inv_dsc */
void invalidate_interrupts(struct model_unit *unit, unsigned index, unsigned count_log2, bool global);
void invalidate_device(struct model_unit *unit, const struct invalidation *what, bool with_pasid);
void invalidate_all_dma(struct model_unit *unit);

/* Queue (queue.c) ------------------------------------------------------------------------------------ */

enum descriptor_type {
    DSC_CONTEXT = 1, DSC_IOTLB, DSC_DEVICE_TLB, DSC_INTERRUPT, DSC_WAIT, DSC_PASID_IOTLB, DSC_PASID, DSC_PASID_DEVICE_TLB, DSC_PAGE_RESPONSE,
};
struct pending {
    enum descriptor_type type;
    uint64_t word[4];
};
#define QUEUE_WINDOW 16

/* The unit ------------------------------------------------------------------------------------------- */

enum gcmd_bit { GCMD_CFI = 23, GCMD_SIRTP = 24, GCMD_IRE = 25, GCMD_QIE = 26, GCMD_WBF = 27, GCMD_SRTP = 30, GCMD_TE = 31 };
enum ttm { TTM_LEGACY, TTM_SCALABLE, TTM_RESERVED, TTM_ABORT };

#define REGISTER_WORDS 1024
#define RECENT_REQUESTS 64
#define RING 64
#define PAGE 4096ULL

struct capabilities {           /* sections 11.4.2, 11.4.3 */
    uint64_t cap, ecap;
    unsigned major, domain_bits, sagaw, mgaw, records, record_offset, iotlb_offset, mamv, mhmv, pasid_bits;
    bool cm, rwbf, plmr, phmr, zlr, psi, ss_2m, ss_1g, fs_1g, fs_5level, posted, esrtps, esirtps;
    bool c, qi, dt, ir, eim, pt, sc, nest, prs, srs, nwfs, eafs, pasid, dit, pds, smts, ssads, ssts, fsts, smpwcs, rps, mts;
    bool rprivs, adms, ssirws, eimer, irreq;
};

struct seen_entry {             /* an entry that hardware has fetched, for the check of stores */
    uint64_t address;
    uint64_t word[8];
    uint16_t source_id;
    uint32_t pasid;
    bool present;
};
#define SEEN_ENTRIES 256

struct domain_use {             /* what a DID was last used for, section 6.2.3.1 */
    uint32_t generation;        /* the unit's: in use; another: not */
    bool second;
    uint8_t width;
    uint64_t sspt;
};

struct split_fetch {            /* an entry of 32 or 64 bytes of which 16-byte pieces are there already */
    bool active;
    uint64_t address;
    unsigned pieces, total;
    uint64_t word[8];
    uint32_t pasid;
    struct model_request request;
    uint64_t input;
};

struct recent {
    struct model_request request;
    uint64_t address;
};

struct model_unit {
    struct model *model;
    unsigned index;
    struct capabilities caps;
    unsigned haw;
    struct model_switches switches;

    uint32_t reg[REGISTER_WORDS], writable[REGISTER_WORDS], clears[REGISTER_WORDS];
    bool known[REGISTER_WORDS], wide[REGISTER_WORDS];
    uint64_t root;              /* latched by SRTP */
    enum ttm ttm;
    bool ssirwe;
    uint64_t irt;               /* latched by SIRTP */
    unsigned irt_entries;
    bool eime;
    uint32_t command;           /* GCMD being carried out */
    bool command_pending, pmen_pending;
    bool owes_context, owes_pasid, owes_iotlb, owes_iec; /* global invalidations after SRTP, SIRTP without ES(I)RTPS */

    struct pending window[QUEUE_WINDOW];
    unsigned in_window;
    bool last_was_wait;
    unsigned fail_fetch;
    unsigned next_record;

    struct cache cache[MODEL_CACHES];
    struct split_fetch split;
    struct recent recent[RECENT_REQUESTS];
    unsigned recents, next_recent;

    struct seen_entry *seen;
    struct domain_use *domains; /* 65536 */
    uint32_t domain_generation;
    uint8_t *device_flags;      /* 65536 */

    struct model_msi msi[RING];
    unsigned msi_head, msi_count;
    struct model_page_response response[RING];
    unsigned response_head, response_count;
    struct model_counters counters;
};
#define DEVICE_SILENT   1
#define DEVICE_CONFUSED 2

#define MAX_UNITS 16
#define MAX_VIOLATIONS 64

struct model {
    struct model_memory memory;
    struct model_freedom freedom;
    uint64_t random;
    struct model_unit *unit[MAX_UNITS];
    unsigned units;
    bool busy;                  /* no steps within a step */
    char violation[MAX_VIOLATIONS][240];
    unsigned violations;
    void *image;                /* of model_load */
};

/* model.c */
uint64_t random_below(struct model *model, uint64_t n);
bool chance(struct model *model, unsigned per_mille);
void violation(struct model_unit *unit, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void *memory_at(struct model_unit *unit, uint64_t address, bool snoop)
{
    return unit->model->memory.at(unit->model->memory.context, address, snoop);
}
/* A naturally aligned word of 8, or words of it.  false: nothing answers. */
bool memory_read(struct model_unit *unit, uint64_t address, bool snoop, uint64_t *words, unsigned count);
/* Sets bits of a word if it is still what was read: 1 done, 0 it has changed, -1 nothing answers. */
int memory_set_bits(struct model_unit *unit, uint64_t address, uint64_t seen, uint64_t bits);

/* registers.c */
void registers_init(struct model_unit *unit);
uint32_t reg32(const struct model_unit *unit, uint32_t offset);
uint64_t reg64(const struct model_unit *unit, uint32_t offset);
void set_reg32(struct model_unit *unit, uint32_t offset, uint32_t value);
void set_reg64(struct model_unit *unit, uint32_t offset, uint64_t value);
bool status(const struct model_unit *unit, enum gcmd_bit which); /* of GSTS */
/* The unit has something to tell; the MSI goes out unless masked, section 7.4, 6.5.2.10, 7.5. */
void raise_event(struct model_unit *unit, uint32_t control);
/* What it had to tell is gone. */
void drop_event(struct model_unit *unit, uint32_t control);
bool step_commands(struct model_unit *unit); /* false: nothing to do */
bool protected_memory(const struct model_unit *unit, uint64_t hpa, uint64_t size);

enum {
    REG_VER = 0x00, REG_CAP = 0x08, REG_ECAP = 0x10, REG_GCMD = 0x18, REG_GSTS = 0x1c, REG_RTADDR = 0x20, REG_CCMD = 0x28, REG_FSTS = 0x34,
    REG_FECTL = 0x38, REG_PMEN = 0x64, REG_PLMBASE = 0x68, REG_PLMLIMIT = 0x6c, REG_PHMBASE = 0x70, REG_PHMLIMIT = 0x78, REG_IQH = 0x80,
    REG_IQT = 0x88, REG_IQA = 0x90, REG_ICS = 0x9c, REG_IECTL = 0xa0, REG_IQERCD = 0xb0, REG_IRTA = 0xb8, REG_PQH = 0xc0, REG_PQT = 0xc8,
    REG_PQA = 0xd0, REG_PRS = 0xdc, REG_PECTL = 0xe0,
};
enum { FSTS_PFO = 0, FSTS_PPF = 1, FSTS_IQE = 4, FSTS_ICE = 5, FSTS_ITE = 6 };
#define FSTS_ALL 0x73u

/* queue.c */
bool step_queue(struct model_unit *unit); /* false: nothing to do */
void queue_stop(struct model_unit *unit);

/* fault.c */
struct fault {
    uint8_t reason, condition;
    bool muted;                 /* FPD was set in a structure on the way */
};
/* Records a non-recoverable fault unless it is muted and qualified; true: it was not muted. */
bool fault_record(struct model_unit *unit, const struct model_request *request, uint8_t at, uint64_t information, const struct fault *fault);
bool fault_page_record(struct model_unit *unit, const struct model_page_request *request, const struct fault *fault);
bool fault_interrupt_record(struct model_unit *unit, uint16_t source_id, uint64_t index, const struct fault *fault);
void fault_cleared(struct model_unit *unit);   /* software wrote FSTS or a record */
void fault_queue(struct model_unit *unit, unsigned fsts_bit, unsigned info, uint16_t source_id); /* IQE, ICE, ITE */

/* entries.c: root, context, PASID directory and PASID-table entries */
struct place {                  /* what the structures say about a request */
    uint16_t source_id;
    uint64_t context[4];
    uint64_t entry[8];
    uint32_t pasid;             /* the request's or RID_PASID */
    bool privileged;            /* PR or RID_PRIV */
    uint8_t pgtt;
    uint16_t domain;
};
enum address_type { AT_UNTRANSLATED, AT_TRANSLATION, AT_TRANSLATED, AT_PAGE };
/* NULL out: no tracing. */
bool find_context(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, struct place *place,
                  struct fault *fault, FILE *out);
bool find_entry(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, struct place *place,
                struct fault *fault, FILE *out);
bool root_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, struct fault *fault);
unsigned second_stage_width(const struct model_unit *unit, const uint64_t *entry); /* X = min(MGAW, AW) */
void split_begin(struct model_unit *unit);
/* … some of whose pieces hold what the entry was before a store. */
void split_had_begun(struct model_unit *unit, const struct seen_entry *before, unsigned pieces);
void split_continue(struct model_unit *unit);

/* walk.c */
struct walk {
    struct model_unit *unit;
    const uint64_t *entry;      /* PASID-table entry; legacy: made from the context entry */
    uint32_t pasid;
    uint16_t domain;
    uint8_t pgtt;
    bool privileged;
    enum model_access access;
    bool zero_length;
    bool probe;                 /* a translation request, or a prefetch: lack of permission is no fault */
    bool wants_write;           /* D is to be set if it may be written */
    bool cached;                /* use and fill the paging-structure caches */
    bool legacy, snoop;
    struct fault *fault;
    FILE *out;
};
bool walk_tables(struct walk *walk, uint64_t input, struct mapping *mapping);
/* Rights of a finished translation: 0, 81h, 85h, 86h. */
uint8_t rights_fault(const struct model_unit *unit, const struct mapping *m, bool privileged, enum model_access access, bool zero_length);

/* dma.c */
bool translate(struct model_unit *unit, const struct model_request *request, enum address_type at, uint64_t address, bool zero_length,
               bool speculative, struct mapping *mapping, struct fault *fault);
void prefetch_some(struct model_unit *unit);
bool is_interrupt_range(uint64_t address);

/* legacy.c */
/* The context entry alone, and its TT. */
bool legacy_allows(struct model_unit *unit, const struct model_request *request, enum address_type at, bool cached, uint64_t context[2],
                   struct fault *fault, FILE *out);
bool legacy_translate(struct model_unit *unit, const struct model_request *request, enum address_type at, uint64_t address, bool zero_length,
                      bool speculative, bool cached, struct mapping *mapping, uint16_t *domain, struct fault *fault, FILE *out);

/* interrupt.c, prq.c */
void page_response(struct model_unit *unit, const uint64_t *word);

/* check.c: violations that only a look at entries and stores shows */
void check_fetched(struct model_unit *unit, uint64_t address, const struct place *place);
void check_store(struct model_unit *unit, uint64_t address, unsigned bytes);
void check_domain_done(struct model_unit *unit, const struct invalidation *what);
void check_no_memory(struct model_unit *unit, const char *what, uint64_t address);

/* trace.c */
void say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
