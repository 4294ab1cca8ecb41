/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_tables.h: memory, tables and a queue for the tests of tools/vtd-model, written bit by bit as the specification has them.
 * Nothing of iommu/ is in it.
 */
#ifndef HOST_MODEL_TABLES_H
#define HOST_MODEL_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tools/vtd-model/model.h"

#define K4 0x1000ULL
#define M2 0x200000ULL
#define G1 0x40000000ULL

extern struct model *model;
extern struct model_unit *unit;

/* A machine with one unit; 4 MiB of memory at 1 GiB; scalable mode, queue of 256-bit descriptors, translation on. */
void model_start(const char *preset);
void model_start_with(const struct model_preset *preset, const struct model_freedom *freedom, uint64_t seed, bool enable);
void model_enable(void);
int model_stop(void **state);

/* Memory.  page: a new one, zero.  word: as the processor sees it.  write_back: what an unsnooped read sees, of all memory. */
uint64_t page(void);
uint64_t *word(uint64_t address);
void write_back(void);
void page_gone(uint64_t address); /* nothing answers there from now on */

/* The structures of one function, and its PASIDs 0 to 63. */
#define SID 0x0108u
extern uint64_t root, context, directory, pasid_table;
uint64_t *context_entry(void);
uint64_t *pasid_entry(uint32_t pasid);
/* Gives another function the same PASID directory. */
void add_function(uint16_t source_id);

enum { PGTT_FS = 1, PGTT_SS, PGTT_NESTED, PGTT_PT };
/* Present: AW of ss_levels (3 to 5), FSPM of fs_levels (4 or 5), PWSNP where the unit has it. */
void set_pasid(uint32_t pasid, unsigned pgtt, uint16_t did, uint64_t ss, unsigned ss_levels, uint64_t fs, unsigned fs_levels);
uint64_t new_ss(void);

/* The leaf entry of input at that level, tables made on the way with these bits. */
uint64_t *ss_leaf(uint64_t top, unsigned levels, uint64_t input, unsigned level);
uint64_t *fs_leaf(uint64_t top, unsigned levels, uint64_t input, unsigned level);
/* … of a first stage that lies in GPAs equal to HPAs. */
void ss_identity(uint64_t top, unsigned levels, uint64_t rights);

/* Queue: puts descriptors, submit() adds a wait and lets all run; false: the wait was not completed. */
void put(uint64_t w0, uint64_t w1);
bool submit(void);

uint64_t reg(uint32_t offset, unsigned bytes);
void set_reg(uint32_t offset, unsigned bytes, uint64_t value);

/* Where a request of SID ends: 0 and *hpa, or the fault code. */
uint8_t where(uint64_t address, uint64_t *hpa);
struct model_result access_as(struct model_request request, uint64_t address);
uint8_t fault_of(enum model_access access, uint64_t address);
uint8_t fault_of_pasid(uint32_t pasid, enum model_access access, uint64_t address);

/* Descriptors, section 6.5.2 */
#define CC_GLOBAL        0x11ULL
#define CC_DEVICE(sid)   (0x31ULL | (uint64_t)(sid) << 32)
#define PC_GLOBAL        0x37ULL
#define PC_DOMAIN(did)   (0x07ULL | (uint64_t)(did) << 16)
#define PC_PASID(did, pasid) (0x17ULL | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define IOTLB_GLOBAL     0x12ULL
#define IOTLB_DOMAIN(did) (0x22ULL | (uint64_t)(did) << 16)
#define IOTLB_PAGE(did)  (0x32ULL | (uint64_t)(did) << 16)
#define P_IOTLB_ALL(did, pasid)  (0x26ULL | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define P_IOTLB_PAGE(did, pasid) (0x36ULL | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define DEV_TLB(sid)     (0x3ULL | (uint64_t)(sid) << 32 | (uint64_t)((sid) & 15) << 12 | (uint64_t)((sid) >> 4) << 52)
#define P_DEV_TLB(sid, pasid) (0x8ULL | (uint64_t)(sid) << 16 | (uint64_t)(pasid) << 32 | (uint64_t)((sid) & 15) << 12 | (uint64_t)((sid) >> 4) << 52)
#define EVERYTHING       0x7ffffffffffff001ULL /* S */
#define IEC_GLOBAL       0x4ULL
#define IEC_INDEX(i, im) (0x14ULL | (uint64_t)(im) << 27 | (uint64_t)(i) << 32)
#define WAIT_FENCE       0x45ULL

#endif
