/* SPDX-License-Identifier: BSD-2-Clause */
/* fault.c: primary fault recording, sections 7.2 to 7.4 and 11.4.7. */
#include "internal.h"

/* Faults that FPD does not mute: "Qualified: N" in table 30. */
static bool is_qualified(uint8_t reason)
{
    switch (reason) {
    case 0x01: case 0x08: case 0x09: case 0x0a:
    case 0x20: case 0x21: case 0x23: case 0x25: case 0x29: case 0x2a: case 0x2b:
    case 0x30: case 0x31: case 0x32: case 0x33: case 0x34: case 0x38: case 0x39: case 0x3a:
    case 0x40: case 0x50: case 0x58:
        return false;
    }
    return true;
}

static uint32_t record_at(const struct model_unit *unit, unsigned i)
{
    return unit->caps.record_offset + 16 * i;
}

static bool record_full(const struct model_unit *unit, unsigned i)
{
    return bit(reg64(unit, record_at(unit, i) + 8), 63);
}

static bool any_pending(const struct model_unit *unit)
{
    return reg32(unit, REG_FSTS) & FSTS_ALL;
}

static void set_fsts(struct model_unit *unit, unsigned which)
{
    bool pending = any_pending(unit);

    set_reg32(unit, REG_FSTS, reg32(unit, REG_FSTS) | 1u << which);
    if (!pending)
        raise_event(unit, REG_FECTL);
}

static void record(struct model_unit *unit, uint64_t low, uint64_t high, uint16_t source_id)
{
    unsigned i = unit->next_record;
    uint32_t fsts = reg32(unit, REG_FSTS);

    if (bit(fsts, FSTS_PFO))
        return;
    for (unsigned n = 0; unit->switches.fault_compression && n < unit->caps.records; n++)
        if (record_full(unit, n) && field(reg64(unit, record_at(unit, n) + 8), 15, 0) == source_id)
            return;
    if (record_full(unit, i)) {
        set_fsts(unit, FSTS_PFO);
        return;
    }
    set_reg64(unit, record_at(unit, i), low);
    set_reg64(unit, record_at(unit, i) + 8, high | 1ULL << 63);
    unit->next_record = (i + 1) % unit->caps.records;
    if (!bit(fsts, FSTS_PPF))
        set_reg32(unit, REG_FSTS, (fsts & ~0xff00u) | i << 8);
    set_fsts(unit, FSTS_PPF);
}

/* PPF is the OR of all F; with nothing pending any more IP goes, section 7.4. */
void fault_cleared(struct model_unit *unit)
{
    bool any = false;

    for (unsigned i = 0; i < unit->caps.records; i++)
        any |= record_full(unit, i);
    if (!any)
        set_reg32(unit, REG_FSTS, reg32(unit, REG_FSTS) & ~(1u << FSTS_PPF));
    if (!any_pending(unit))
        drop_event(unit, REG_FECTL);
    if (!(reg32(unit, REG_FSTS) & (1u << FSTS_IQE | 1u << FSTS_ICE | 1u << FSTS_ITE)))
        set_reg64(unit, REG_IQERCD, 0);
}

/* FI: bits at and above the largest address width that the unit has are 0. */
static uint64_t fault_information(const struct model_unit *unit, uint64_t address)
{
    unsigned width = unit->caps.fs_5level || bit(unit->caps.sagaw, 3) ? 57 : bit(unit->caps.sagaw, 2) || unit->caps.fsts ? 48 : 39;

    return address & mask(width - 1, 12);
}

static uint64_t record_high(const struct model_unit *unit, uint16_t source_id, uint8_t reason, bool with_pasid, uint32_t pasid, bool privileged,
                            bool execute, uint8_t at, unsigned type)
{
    uint64_t high = source_id | place(reason, 39, 32) | place(type >> 1, 62, 62) | place(type & 1, 28, 28); /* T1, T2 */

    if (unit->caps.pasid && with_pasid)
        high |= place(1, 31, 31) | place(pasid, 59, 40) | place(privileged, 29, 29) | place(execute, 30, 30);
    if (unit->caps.dt)
        high |= place(at, 61, 60);
    return high;
}

bool fault_record(struct model_unit *unit, const struct model_request *request, uint8_t at, uint64_t address, const struct fault *fault)
{
    /* {T1,T2}: 00 write, 10 read, 11 atomic; a translation request is a read. */
    unsigned type = at == AT_TRANSLATION || request->access == MODEL_READ ? 2 : request->access == MODEL_ATOMIC ? 3 : 0;

    if (fault->muted && is_qualified(fault->reason))
        return false;
    record(unit, fault_information(unit, address),
           record_high(unit, request->source_id, fault->reason, request->with_pasid, request->pasid, request->privileged, request->execute, at, type),
           request->source_id);
    return true;
}

bool fault_page_record(struct model_unit *unit, const struct model_page_request *request, const struct fault *fault)
{
    if (fault->muted && is_qualified(fault->reason))
        return false;
    record(unit, fault_information(unit, request->address),
           record_high(unit, request->source_id, fault->reason, request->with_pasid, request->pasid, request->privileged, false, 0, 1),
           request->source_id);
    return true;
}

bool fault_interrupt_record(struct model_unit *unit, uint16_t source_id, uint64_t index, const struct fault *fault)
{
    if (fault->muted && is_qualified(fault->reason))
        return false;
    record(unit, index << 48, source_id | place(fault->reason, 39, 32), source_id);
    return true;
}

void fault_queue(struct model_unit *unit, unsigned fsts_bit, unsigned info, uint16_t source_id)
{
    uint64_t iqercd = reg64(unit, REG_IQERCD);

    if (!bit(reg32(unit, REG_FSTS), fsts_bit)) { /* only the first of its kind is captured, section 11.4.9.9 */
        if (fsts_bit == FSTS_IQE)
            iqercd = (iqercd & ~mask(3, 0)) | info;
        else if (fsts_bit == FSTS_ITE)
            iqercd = (iqercd & ~mask(47, 32)) | place(source_id, 47, 32);
        else
            iqercd = (iqercd & ~mask(63, 48)) | place(source_id, 63, 48);
        set_reg64(unit, REG_IQERCD, iqercd);
    }
    set_fsts(unit, fsts_bit);
}

/* Section 7.1.3, table 30. */
const char *model_reason(uint8_t reason)
{
    static const char *const words[256] = {
        [0x01] = "root entry not present (LRT.2)", [0x02] = "context entry not present (LCT.2)", [0x03] = "context entry invalid (LCT.4)",
        [0x04] = "address beyond what the unit translates (LGN.1)", [0x05] = "no write permission (LGN.2)", [0x06] = "no read permission (LGN.3)",
        [0x07] = "second-stage entry not readable (LSS.1)", [0x08] = "root entry not readable (LRT.1)", [0x09] = "context entry not readable (LCT.1)",
        [0x0a] = "reserved bits in root entry (LRT.3)", [0x0b] = "reserved bits in context entry (LCT.3)",
        [0x0c] = "reserved bits in second-stage entry (LSS.2)", [0x0d] = "TT blocks ATS requests (LCT.5)", [0x0e] = "result in FEEx_xxxxh (LGN.4)",
        [0x20] = "reserved bits in interrupt request", [0x21] = "interrupt index beyond the table", [0x22] = "IRTE not present",
        [0x23] = "IRTE not readable", [0x24] = "reserved bits in IRTE", [0x25] = "compatibility-format interrupt blocked",
        [0x26] = "interrupt from another source-id", [0x27] = "posted-interrupt descriptor not accessible",
        [0x28] = "reserved bits in posted-interrupt descriptor", [0x29] = "no interrupt, but a request to FEEx_xxxxh", [0x2a] = "EIME=0 and EIMER=1",
        [0x2b] = "interrupt remapping off and IRREQ=1", [0x30] = "TTM invalid (RTA.1)", [0x31] = "request with PASID in legacy mode (RTA.2)",
        [0x32] = "page request in legacy mode (RTA.3)", [0x33] = "abort-DMA mode (RTA.4)", [0x34] = "execute requested (RTA.5)",
        [0x38] = "root entry not readable (SRT.1)", [0x39] = "root entry half not present (SRT.2)", [0x3a] = "reserved bits in root entry (SRT.3)",
        [0x40] = "context entry not readable (SCT.1)", [0x41] = "context entry not present (SCT.2)", [0x42] = "reserved bits in context entry (SCT.3)",
        [0x43] = "context entry invalid (SCT.4)", [0x44] = "DTE=0 (SCT.5)", [0x45] = "PASIDE=0 (SCT.6)", [0x46] = "PASID beyond PDTS (SCT.7)",
        [0x47] = "PRE=0 (SCT.8)", [0x48] = "PASID is RID_PASID (SCT.9)", [0x49] = "EPTR=0 (SCT.10)", [0x50] = "PASID directory not readable (SPD.1)",
        [0x51] = "PASID directory entry not present (SPD.2)", [0x52] = "reserved bits in PASID directory entry (SPD.3)",
        [0x58] = "PASID table not readable (SPT.1)", [0x59] = "PASID-table entry not present (SPT.2)",
        [0x5a] = "reserved bits in PASID-table entry (SPT.3)", [0x5b] = "PASID-table entry invalid (SPT.4)", [0x5c] = "execute requested (SPT.5)",
        [0x5d] = "supervisor request and SRE=0 (SPT.6)", [0x70] = "first-stage entry not readable (SFS.1)", [0x71] = "first-stage entry not present (SFS.2)",
        [0x72] = "reserved bits in first-stage entry (SFS.3)", [0x73] = "first-stage top table not readable (SFS.4)",
        [0x74] = "first-stage address beyond the second stage (SFS.5)", [0x75] = "no second-stage read of the first-stage top table (SFS.6)",
        [0x76] = "no second-stage read of a first-stage table (SFS.7)", [0x77] = "no second-stage write for A/D of a first-stage table (SFS.8)",
        [0x78] = "second-stage entry not readable (SSS.1)", [0x79] = "second-stage entry not present (SSS.2)",
        [0x7a] = "reserved bits in second-stage entry (SSS.3)", [0x7b] = "second-stage top table not readable (SSS.4)",
        [0x7c] = "second-stage A/D without snooping (SSS.5)", [0x7d] = "second-stage A/D update failed (SSS.6)", [0x80] = "address not canonical (SGN.1)",
        [0x81] = "user request to a supervisor page (SGN.2)", [0x83] = "address beyond HAW (SGN.4)", [0x84] = "address beyond the second stage (SGN.5)",
        [0x85] = "no write permission (SGN.6)", [0x86] = "no read permission (SGN.7)", [0x87] = "result in FEEx_xxxxh (SGN.8)",
        [0x89] = "PASID beyond PSS (SGN.10)", [0x90] = "first-stage A/D without snooping (SFS.9)", [0x91] = "first-stage A/D update failed (SFS.10)",
    };

    return words[reason] ? words[reason] : "unknown";
}
