/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model.h: a software model of VT-d remapping units, written from the specification (D51397, revision 5.10).
 *
 * A machine has memory and units.  A driver writes registers and memory; devices send requests; the model does what hardware
 * may do in between: keeps what it cached as long as section 6 lets it, fetches early, runs its queue late and out of order,
 * all decided by a seed.  What software does against the specification is kept in a list of violations.
 * One thread; nothing here calls back into the driver.
 */
#ifndef VTD_MODEL_H
#define VTD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct model;                   /* a machine */
struct model_unit;

/* Memory.  at: the byte at a physical address, and those to the end of its 4 KiB page; NULL: nothing answers there.
 * snoop false: what memory itself holds, without what is still in the processor's caches. */
struct model_memory {
    void *context;
    void *(*at)(void *context, uint64_t address, bool snoop);
};

struct model_preset {
    const char *name;
    uint32_t version;           /* VER_REG */
    uint64_t cap, ecap;
    unsigned haw;               /* host address width */
};
/* spr spr4 spr-svm qemu caching 3-level noncoherent granite meteor legacy; ends with a name of NULL. */
extern const struct model_preset model_presets[];
const struct model_preset *model_preset(const char *name);

/* How freely the hardware behaves, each in 1/1000.  All 0: it keeps all it may keep, and the queue runs at once and in order. */
struct model_freedom {
    unsigned evict;             /* an entry of some cache goes, at a step */
    unsigned miss;              /* a lookup does not find what is there */
    unsigned prefetch;          /* an earlier request is translated again, at a step */
    unsigned fracture;          /* a large page is cached as a small one */
    unsigned delay;             /* a step does not move the queue, a command or a status on */
    unsigned reorder;           /* of the descriptors that may run, another than the oldest does */
    unsigned split;             /* an entry larger than 16 bytes is fetched in pieces, with steps between them */
};
extern const struct model_freedom model_calm, model_wild;

struct model *model_new(const struct model_memory *memory, uint64_t seed);
void model_free(struct model *model);
struct model_unit *model_unit_add(struct model *model, const struct model_preset *preset);
void model_set_freedom(struct model *model, const struct model_freedom *freedom);

/* Switches of a unit. */
struct model_switches {
    bool erratum_772415;        /* A, D and EA are set through read-only second-stage mappings (nested, PWSNP=1) */
    bool fault_compression;     /* a fault of a source-id that has a record already is dropped, section 7.4.1 */
    bool never_answers;         /* commands are not carried out, the queue stands still */
    bool all_ones;              /* the registers are gone */
};
struct model_switches *model_switches(struct model_unit *unit);

/* Registers.  bytes: 4 or 8. */
uint64_t model_read(struct model_unit *unit, uint32_t offset, unsigned bytes);
void model_write(struct model_unit *unit, uint32_t offset, unsigned bytes, uint64_t value);

/* The driver stored bytes (8 or 16) at a physical address: hardware may look between any two stores. */
void model_stored(struct model *model, uint64_t address, unsigned bytes);
/* Time passes: steps of every unit. */
void model_run(struct model *model, unsigned steps);
/* Until nothing is left to do: queues empty or stopped, commands carried out. */
void model_settle(struct model *model);

/* Requests ------------------------------------------------------------------------------------------- */

enum model_access { MODEL_READ, MODEL_WRITE, MODEL_ATOMIC };

struct model_request {
    uint16_t source_id;
    bool with_pasid;
    uint32_t pasid;
    bool privileged;            /* PR */
    bool execute;               /* ER */
    bool no_snoop;              /* NS */
    bool no_write;              /* NW of a translation request */
    enum model_access access;
};

enum model_outcome {
    MODEL_DONE,
    MODEL_FAULT,                /* answered with UR, or CA; reason holds the fault */
    MODEL_RECOVERABLE,          /* a device with a device-TLB got no permission: it may ask for the page */
    MODEL_PROTECTED,            /* a protected memory range: silently not done */
    MODEL_NO_MEMORY,            /* translated, and nothing answers there */
    MODEL_INTERRUPTED,          /* a write to FEEx_xxxxh that was taken as an interrupt */
};

struct model_result {
    enum model_outcome outcome;
    uint8_t reason, condition;  /* section 7.1.3: 5Bh, and its .1 .2 … where there are several */
    bool completer_abort;       /* CA instead of UR */
    bool logged;                /* went to fault recording: not muted by FPD */
    bool snooped;               /* the access to the last page */
    uint64_t done;              /* bytes moved before the page that failed */
    uint64_t address;           /* physical, of the last page */
};

/* A device's request: page by page; ATOMIC adds data to what is there and returns the old bytes (4 or 8).
 * size 0: a zero-length read. */
struct model_result model_dma(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size);
/* The same by a device with ATS, through its device-TLB. */
struct model_result model_dma_ats(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size);
/* A translated request, AT=10b, as a device sends it that has the address from anywhere. */
struct model_result model_dma_translated(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data,
                                         uint64_t size);

enum model_completion { MODEL_SUCCESS, MODEL_UR, MODEL_CA };
struct model_translation {      /* section 4.1.2 */
    enum model_completion status;
    uint8_t reason;             /* behind a UR, a CA or the lack of permission */
    bool read, write, untranslated_only, non_snooped, privileged;
    uint64_t address;
    unsigned shift;             /* log2 of the size */
};
struct model_translation model_translate(struct model_unit *unit, const struct model_request *request, uint64_t address);

/* Page requests, section 7.5. */
enum model_page_answer { MODEL_PAGE_QUEUED, MODEL_PAGE_DROPPED, MODEL_PAGE_SUCCESS, MODEL_PAGE_INVALID };
struct model_page_request {
    uint16_t source_id;
    bool with_pasid;
    uint32_t pasid;
    uint64_t address;
    bool read, write, privileged, last;
    uint16_t group;             /* PRG index, 9 bits */
};
enum model_page_answer model_page_request(struct model_unit *unit, const struct model_page_request *request);
struct model_page_response {
    uint16_t source_id, group;
    bool with_pasid;
    uint32_t pasid;
    uint8_t code;
};
/* The oldest response that software sent; false: none. */
bool model_page_response(struct model_unit *unit, struct model_page_response *response);

/* Interrupts, chapter 5. */
struct model_interrupt {
    uint32_t address, data;     /* compatibility format, as it was passed on */
    bool remapped, posted;
    uint8_t vector, delivery;   /* … or remapped; posted: the notification, when there is one */
    uint32_t destination;
    bool logical, redirection, level, notified;
    uint16_t index;
};
struct model_result model_interrupt(struct model_unit *unit, uint16_t source_id, uint64_t address, uint32_t data, struct model_interrupt *out);

/* What the unit itself sent. */
struct model_msi {
    uint64_t address;
    uint32_t data;
};
bool model_msi(struct model_unit *unit, struct model_msi *msi); /* the oldest; false: none */

/* Faults of others ----------------------------------------------------------------------------------- */

/* The device does not answer invalidations (ITE), or answers wrongly (ICE). */
void model_device_silent(struct model_unit *unit, uint16_t source_id, bool silent);
void model_device_confused(struct model_unit *unit, uint16_t source_id, bool confused);
/* The n-th descriptor fetched from now cannot be read (IQE), 1: the next. */
void model_fail_fetch(struct model_unit *unit, unsigned n);

/* Violations ----------------------------------------------------------------------------------------- */

unsigned model_violations(const struct model *model);
/* The i-th of the first 64. */
const char *model_violation(const struct model *model, unsigned i);
bool model_violated(const struct model *model, const char *text); /* does one contain text? */
void model_forgive(struct model *model);

/* Looking in ----------------------------------------------------------------------------------------- */

enum model_cache { MODEL_CONTEXT, MODEL_PASID, MODEL_FIRST_STAGE, MODEL_SECOND_STAGE, MODEL_IOTLB, MODEL_IEC, MODEL_DEVICE_TLB, MODEL_CACHES };
unsigned model_cached(const struct model_unit *unit, enum model_cache cache);
/* The cache loses all that it has, as it may at any time. */
void model_forget(struct model_unit *unit, enum model_cache cache);

struct model_counters {
    uint64_t requests, hits, walks, walk_reads, descriptors, prefetches, evictions, splits;
};
const struct model_counters *model_counters(const struct model_unit *unit);

/* Prints the walk of a request, step by step, from memory, touching nothing. */
void model_trace(struct model_unit *unit, const struct model_request *request, uint64_t address, FILE *out);
/* The units' state and the memory in [base, base + size), zero pages left out, for `vtd-model trace`.  false: not written. */
bool model_save(struct model *model, uint64_t base, uint64_t size, FILE *out);
/* A machine from such a file; its memory belongs to it.  NULL: error says why. */
struct model *model_load(FILE *in, char error[160]);
struct model_unit *model_unit(struct model *model, unsigned index); /* NULL: there are not so many */

/* Fault reasons in words, section 7.1.3. */
const char *model_reason(uint8_t reason);

#endif
