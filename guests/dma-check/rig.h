/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rig.h: what the steps work with: the two devices, an address space of ours, scattered memory, faults.
 */
#ifndef GUESTS_DMA_CHECK_RIG_H
#define GUESTS_DMA_CHECK_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/edu.h"
#include "guests/runtime/frames.h"
#include "guests/runtime/iommufd.h"
#include "guests/runtime/nidus_dma.h"
#include "guests/runtime/pgtable.h"

/* Where things are in the device's address space.  None of it is where it is in memory. */
#define IOVA_RING  0x00006e0000000000ULL    /* nidus-dma's ring, in every space */
#define IOVA_LOW   0x00007f0000000000ULL
#define IOVA_HIGH  0xffff900000000000ULL

#define RW (PT_WRITE | PT_USER)

enum errata_wanted { ERRATA_ANY, ERRATA_CLEAR, ERRATA_SET };

struct rig {
    struct edu edu;
    bool has_edu;               /* the guest may have only a nidus-dma */
    struct ndma dma;
    struct nidus_hw_info_vtd unit;
    enum errata_wanted errata;  /* what hw_info has to say of erratum 772415 */
    uint32_t parent;            /* nest parent over the default IOAS; 0: not there yet */
};

/* Finds and opens the devices.  false: a check line says why. */
bool rig_open(struct rig *r);
/* The nest parent over the default IOAS, made when first asked for; 0: a check line says why. */
uint32_t rig_parent(struct rig *r);
/* Capabilities of the unit: CAP.FS1GP … */
bool rig_has_1g(const struct rig *r);

/* A first-stage table, its nested HWPT, and the devices attached to it. */
struct space {
    struct rig *rig;
    struct pgtable table;
    uint32_t hwpt;
};

/* An empty table but for the ring; both devices attached; nidus-dma runs.  false: a check line says why. */
bool space_open(struct space *s, struct rig *r);
/* Attaches nothing: for a second table. */
bool space_open_detached(struct space *s, struct rig *r);
/* The devices stop, are blocked, HWPT and table are freed. */
void space_close(struct space *s);
/* Lets nidus-dma work with s; needed after another space had it. */
bool space_attach(struct space *s);

/* As pgtable_map; a failure ends the guest: the table is ours. */
void space_map(struct space *s, uint64_t iova, uint64_t gpa, uint64_t size, uint64_t leaf, uint64_t flags);
/* HWPT_INVALIDATE; an error ends the guest. */
void space_invalidate(struct space *s, uint64_t iova, uint64_t pages, bool leaf);

/* Pages that are next to each other for the device and nowhere near each other in memory. */
struct scatter {
    unsigned count;
    uint8_t **page;
};
void scatter_alloc(struct scatter *m, unsigned pages);
void scatter_free(struct scatter *m);
void scatter_map(struct space *s, const struct scatter *m, uint64_t iova, uint64_t flags);
/* Bytes [at, at + length) of it, to or from a plain buffer. */
void scatter_read(const struct scatter *m, uint64_t at, void *to, size_t length);
void scatter_write(const struct scatter *m, uint64_t at, const void *from, size_t length);

/* One operation of nidus-dma. */
enum ndma_status dma_fill(struct rig *r, uint64_t to, uint32_t length, uint64_t seed);
enum ndma_status dma_copy(struct rig *r, uint64_t from, uint64_t to, uint32_t length);
/* *sum: what the device read. */
enum ndma_status dma_sum(struct rig *r, uint64_t from, uint32_t length, uint64_t *sum);

/* What a fault has to be.  Fields are those of struct nidus_fault. */
struct fault_want {
    uint8_t reason;
    uint8_t other_reason;       /* also right; 0: none */
    uint8_t access;
    uint8_t stage;
    uint8_t level;
    uint8_t first_level;
    bool has_gpa;
    uint64_t addr;              /* compared in bits 47:12: hardware need not record more (spec 11.4.14); an interrupt: in its index */
    uint64_t gpa;               /* its page */
};

/* Throws away the records that are there. */
void faults_drop(void);
/* Reads the next record of `device`.  false: there is none; *lost: records were lost since the last call. */
bool faults_next(const struct nidus_guest_device *device, struct nidus_fault *fault, bool *lost);

/* Does what is to be refused.  NULL: the device was refused as it should be; else what happened instead. */
typedef const char *(*provocation)(struct rig *r, const void *context);

/*
 * Provokes a fault once or, where other guests' faults pushed ours out of the unit's records, a few times, and checks that the record is
 * `want`.  untouched (may be NULL) is then asked whether memory is as it was.  One check line.
 */
void expect_fault_from(struct rig *r, const struct nidus_guest_device *device, provocation provoke, const void *context,
                       const struct fault_want *want, bool (*untouched)(void), const char *what);
/* The same with an operation of nidus-dma, whose status has to be SRC_ERROR or DST_ERROR. */
void expect_fault(struct rig *r, const struct ndma_descriptor *dma, const struct fault_want *want, bool (*untouched)(void),
                  const char *what);
/* The same with a NOP of nidus-dma, whose ring at bus address `ring` cannot be read. */
void expect_ring_fault(struct rig *r, uint64_t ring, const struct fault_want *want, bool (*untouched)(void), const char *what);
/* The same with 64 bytes that edu writes. */
void expect_edu_fault(struct rig *r, const struct fault_want *want, bool (*untouched)(void), const char *what);

/* All memory that is free becomes guard memory with a pattern; guard_intact looks at every byte of it. */
void guard_raise(void);
bool guard_intact(void);
void guard_drop(void);
/* The i-th page of the guard; the guard begins at a 2 MiB boundary and has at least 2 MiB. */
uint8_t *guard_page(unsigned i);

/* Ends the guest when something that is no subject of a check goes wrong. */
void must(bool ok, const char *what);

#endif
