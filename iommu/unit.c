/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/unit.h"

#include "iommu/errata.h"
#include "iommu/fault.h"
#include "iommu/registers.h"
#include "iommu/remap.h"
#include "iommu/rmrr.h"
#include "iommu/tables.h"

/* One page of bits; a unit whose DIDs are wider is given no more than these. */
#define DIDS_MAX (PAGE_SIZE * 8)

bool unit_wait32(struct unit *u, uint32_t offset, uint64_t mask, uint64_t value, const char *what)
{
    uint64_t deadline = platform_time_ns() + UNIT_TIMEOUT_NS;
    while ((unit_read32(u, offset) & mask) != value) {
        if (platform_time_ns() > deadline) {
            unit_dead(u, UNIT_SILENT, what);
            return false;
        }
        platform_pause();
    }
    return true;
}

bool unit_command(struct unit *u, uint64_t bit, bool on, const char *what)
{
    uint64_t command = unit_read32(u, REG_GSTS) & GCMD_PERSISTENT & ~bit;
    if (u->dead)
        return false;
    unit_write32(u, REG_GCMD, command | (on ? bit : 0));
    return unit_wait32(u, REG_GSTS, bit, on ? bit : 0, what);
}

void unit_dead(struct unit *u, enum unit_failure how, const char *what)
{
    static const char *const failures[] = {
        [UNIT_SILENT] = "it did not answer within a second", [UNIT_GONE] = "its registers read as all ones", [UNIT_REFUSES] = "it refused",
    };
    if (u->dead)
        return;
    u->dead = true;
    platform_format(u->reason, sizeof u->reason, "unit %u at 0x%llx: %s when asked %s", u->index, (ull)u->base, failures[how], what);
    platform_log("%s; it is fenced off: its devices do no more DMA, and the memory they could reach is not used again", u->reason);
    for (struct device *dev = u->devices; dev; dev = dev->next)
        platform_pci_bus_master(dev->segment, dev->source_id, false);
}

/* Domain ids ----------------------------------------------------------------------------------------- */

#define DID_WORD_BIT BITS(5, 0)
#define DID_WORD     BITS(15, 6)

static uint64_t *did_word(const struct unit *u, uint64_t did) { return &u->dids[field(did, DID_WORD)]; }

static bool dids_alloc(struct unit *u)
{
    uint64_t count = BIT(4 + 2 * field(u->cap, CAP_ND));
    u->did_last = (unsigned)(count < DIDS_MAX ? count : DIDS_MAX) - 1;
    u->dids = platform_pages_alloc(NULL, 0);
    if (!u->dids)
        return false;
    *did_word(u, 0) = BIT(0); /* tags absent entries where CAP.CM=1 */
    for (uint64_t did = count; field(did, DID_WORD_BIT); did++) /* the rest of the last word */
        *did_word(u, did) |= BIT(field(did, DID_WORD_BIT));
    return true;
}

int unit_did_alloc(struct unit *u)
{
    for (uint64_t *word = u->dids; word <= did_word(u, u->did_last); word++)
        if (*word != UINT64_MAX) {
            unsigned bit = (unsigned)__builtin_ctzll(~*word);
            *word |= BIT(bit);
            return (int)(place(DID_WORD, (uint64_t)(word - u->dids)) | bit);
        }
    if (fault_may_print(u)) /* a guest may ask for one again and again */
        unit_log(u, "all %u domain ids are in use", u->did_last);
    return -NIDUS_ENOSPC;
}

void unit_did_free(struct unit *u, uint16_t did)
{
    *did_word(u, did) &= ~BIT(field(did, DID_WORD_BIT));
}

struct device *unit_device(const struct unit *u, uint16_t source_id)
{
    struct device *dev = u->devices;
    while (dev && dev->source_id != source_id)
        dev = dev->next;
    return dev;
}

const char *unit_owner_name(const struct device *dev)
{
    return !dev ? "no guest" : dev->owner ? platform_guest_name(dev->owner) : "nidus, for firmware";
}

unsigned unit_address_width(const struct unit *u, unsigned levels)
{
    unsigned table = 12 + 9 * levels, unit = (unsigned)field(u->cap, CAP_MGAW) + 1;
    return table < unit ? table : unit;
}

/* Bring-up ------------------------------------------------------------------------------------------- */

static bool lacks(struct unit *u, const char *what)
{
    platform_format(u->reason, sizeof u->reason, "unit %u at 0x%llx: %s", u->index, (ull)u->base, what);
    return false;
}

static bool read_capabilities(struct unit *u)
{
    u->registers = platform_map_registers(u->base, PAGE_SIZE);
    if (!u->registers)
        return lacks(u, "no address space left for its registers");
    u->version = unit_read32(u, REG_VER);
    u->cap = unit_read64(u, REG_CAP);
    u->ecap = unit_read64(u, REG_ECAP);
    if (u->version == UINT32_MAX || u->cap == UINT64_MAX || u->ecap == UINT64_MAX)
        return lacks(u, "its registers read as all ones: nothing is there");
    /* Firmware older than the size field says one page, whatever the unit has. */
    uint64_t end = FRCD_SIZE * (field(u->cap, CAP_FRO) + field(u->cap, CAP_NFR) + 1);
    if (end > PAGE_SIZE)
        u->registers = platform_map_registers(u->base, (end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1));
    return u->registers || lacks(u, "no address space left for its registers");
}

static bool check_capabilities(struct unit *u, bool interrupt_remapping)
{
    if (!(u->ecap & ECAP_QI))
        return lacks(u, "no queued invalidation (ECAP.QI=0)");
    if (!(u->ecap & ECAP_SMTS))
        return lacks(u, "no scalable mode (ECAP.SMTS=0)");
    if (!(u->ecap & ECAP_SSTS))
        return lacks(u, "no second-stage translation (ECAP.SSTS=0)");
    if (!(field(u->cap, CAP_SAGAW) & BITS(3, 1)))
        return lacks(u, "no second-stage table size that is known (CAP.SAGAW)");
    if (!(u->ecap & ECAP_IR))
        return lacks(u, "no interrupt remapping (ECAP.IR=0): a device could raise any interrupt");
    if (!interrupt_remapping)
        return lacks(u, "firmware forbids interrupt remapping (DMAR flags, bit 0): a device could raise any interrupt");
    return true;
}

static bool allocate(struct unit *u)
{
    u->root = platform_pages_alloc(NULL, 0);
    return (u->root && dids_alloc(u) && qi_alloc(u) && prq_alloc(u) && remap_alloc(u)) || lacks(u, "no memory for its tables");
}

/* Those that firmware left are nobody's. */
static void clear_stale_faults(struct unit *u)
{
    unit_write32(u, REG_FECTL, EVENT_IM);
    unit_write32(u, REG_IECTL, EVENT_IM);
    for (unsigned i = 0; i <= field(u->cap, CAP_NFR); i++)
        unit_write32(u, FRCD_SIZE * ((uint32_t)field(u->cap, CAP_FRO) + i) + FRCD_TOP, FRCD_TOP_F);
    unit_write32(u, REG_FSTS, FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE);
}

static bool protection_off(struct unit *u)
{
    if (!(u->cap & (CAP_PLMR | CAP_PHMR)) || !(unit_read32(u, REG_PMEN) & (PMEN_EPM | PMEN_PRS)))
        return true;
    unit_write32(u, REG_PMEN, 0);
    return unit_wait32(u, REG_PMEN, PMEN_PRS, 0, "to open its protected memory ranges");
}

/* Blocks DMA to all memory while translation is off. */
static bool protection_on(struct unit *u)
{
    if (!(u->cap & (CAP_PLMR | CAP_PHMR)))
        return true;
    if (!protection_off(u))
        return false;
    if (u->cap & CAP_PLMR) {
        unit_write32(u, REG_PLMBASE, 0);
        unit_write32(u, REG_PLMLIMIT, UINT32_MAX);
    }
    if (u->cap & CAP_PHMR) {
        unit_write64(u, REG_PHMBASE, BIT(32));
        unit_write64(u, REG_PHMLIMIT, BITS(u->host_width - 1, 0));
    }
    unit_write32(u, REG_PMEN, PMEN_EPM);
    return unit_wait32(u, REG_PMEN, PMEN_PRS, PMEN_PRS, "to close its protected memory ranges");
}

/*
 * Firmware's translation stays on until the new root table, which blocks everything, is in force.  The table mode
 * may change under translation only where ESRTPS=1 (11.4.5); elsewhere protected memory ranges cover the gap.
 */
static bool start_translation(struct unit *u)
{
    bool was_on = unit_read32(u, REG_GSTS) & GCMD_TE;
    bool legacy = field(unit_read64(u, REG_RTADDR), RTADDR_TTM) != TTM_SCALABLE;
    if (was_on && legacy && !(u->cap & CAP_ESRTPS)) {
        if (!protection_on(u) || !unit_command(u, GCMD_TE, false, "to turn firmware's translation off"))
            return false;
    }
    unit_write64(u, REG_RTADDR, platform_phys(u->root) | place(RTADDR_TTM, TTM_SCALABLE));
    if (!unit_command(u, GCMD_SRTP, true, "to take the root table"))
        return false;
    qi_add(u, qi_context_global());
    qi_add(u, qi_pasid_global());
    qi_add(u, qi_iotlb_global());
    return !qi_finish(u) && unit_command(u, GCMD_TE, true, "to turn translation on") && protection_off(u);
}

static void announce(const struct unit *u, uint32_t found)
{
    bool any = found & (GCMD_TE | GCMD_QIE | GCMD_IRE);
    unit_log(u, "VT-d %u.%u, scalable mode, %s; all DMA and device interrupts blocked%s%s%s%s",
             (unsigned)field(u->version, VER_MAJOR), (unsigned)field(u->version, VER_MINOR),
             !u->nested ? "second stage only (no ECAP.NEST)" : u->errata_772415 ? "nested, erratum 772415 in force" : "nested",
             any ? "; firmware had left on:" : "", found & GCMD_TE ? " translation" : "",
             found & GCMD_IRE ? " interrupt-remapping" : "", found & GCMD_QIE ? " invalidation-queue" : "");
}

static void refused_first(struct unit *u)
{
    if (!u->dead)
        lacks(u, "it refused the first invalidations");
}

void unit_start(struct unit *u, bool interrupt_remapping, enum iommu_errata_policy errata, enum iommu_rmrr_policy rmrr)
{
    if (!read_capabilities(u) || !check_capabilities(u, interrupt_remapping) || !allocate(u))
        return;
    u->nested = (u->ecap & ECAP_NEST) && (u->ecap & ECAP_FSTS);
    u->errata_772415 = errata_772415(u->ecap, u->version, errata);

    uint32_t found = unit_read32(u, REG_GSTS);
    if (!remap_stop(u) || !qi_start(u)) /* remapping needs a queue, so it goes first */
        return;
    clear_stale_faults(u);
    prq_start(u);
    if (!remap_start(u))
        return refused_first(u);
    rmrr_keep(u, rmrr);
    if (!start_translation(u))
        return refused_first(u);
    u->usable = true;
    announce(u, found);
}

/* A wait in the queue raises no interrupt (IF=0), so the third event, IECTL, stays masked; the queue's errors come with the first. */
bool unit_interrupts(struct unit *u, uint64_t address, uint32_t data)
{
    static const uint32_t control[] = { REG_FECTL, REG_PECTL };
    if (address >> 32 && !(u->ecap & ECAP_EIM)) {
        unit_log(u, "it cannot interrupt this processor (ECAP.EIM=0)");
        return false;
    }
    for (unsigned i = 0; i < (u->prq.ring ? 2 : 1); i++) {
        unit_write32(u, control[i] + EVENT_DATA, data);
        unit_write32(u, control[i] + EVENT_ADDRESS, (uint32_t)address);
        unit_write32(u, control[i] + EVENT_UPPER, address >> 32);
        unit_write32(u, control[i], 0);
    }
    return true;
}
