/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registers.c: the register page, chapter 11.4.  Each 32-bit word has a mask of bits that software writes and one of bits that it
 * clears by writing 1; all else reads what hardware put there.  Effects of a write come after it, in `effect`.
 */
#include "internal.h"

struct rule {
    uint16_t offset;
    uint8_t bytes;
    uint64_t writable, clears;
};

static const struct rule rules[] = {
    { REG_VER, 4, 0, 0 }, { REG_CAP, 8, 0, 0 }, { REG_ECAP, 8, 0, 0 },
    { REG_GCMD, 4, 0xffffffff, 0 }, { REG_GSTS, 4, 0, 0 },
    { REG_RTADDR, 8, 0xfffffffffffffc00, 0 },
    { REG_CCMD, 8, 0xe0000003ffffffff, 0 },
    { REG_FSTS, 4, 0, 1u << FSTS_PFO | 1u << FSTS_IQE | 1u << FSTS_ICE | 1u << FSTS_ITE },
    { REG_FECTL, 4, 1u << 31, 0 }, { 0x3c, 4, 0xffff, 0 }, { 0x40, 4, 0xfffffffc, 0 }, { 0x44, 4, 0xffffffff, 0 },
    { REG_PMEN, 4, 1u << 31, 0 }, { REG_PLMBASE, 4, 0xffe00000, 0 }, { REG_PLMLIMIT, 4, 0xffe00000, 0 },
    { REG_PHMBASE, 8, 0xffffffffffe00000, 0 }, { REG_PHMLIMIT, 8, 0xffffffffffe00000, 0 },
    { REG_IQH, 8, 0, 0 }, { REG_IQT, 8, 0x7fff0, 0 }, { REG_IQA, 8, 0xfffffffffffff807, 0 }, { REG_ICS, 4, 0, 1 },
    { REG_IECTL, 4, 1u << 31, 0 }, { 0xa4, 4, 0xffff, 0 }, { 0xa8, 4, 0xfffffffc, 0 }, { 0xac, 4, 0xffffffff, 0 },
    { REG_IQERCD, 8, 0, 0 }, { REG_IRTA, 8, 0xfffffffffffff80f, 0 },
    { REG_PQH, 8, 0x7ffe0, 0 }, { REG_PQT, 8, 0x7ffe0, 0 }, { REG_PQA, 8, 0xfffffffffffff007, 0 }, { REG_PRS, 4, 0, 3 },
    { REG_PECTL, 4, 1u << 31, 0 }, { 0xe4, 4, 0xffff, 0 }, { 0xe8, 4, 0xfffffffc, 0 }, { 0xec, 4, 0xffffffff, 0 },
};

static void add_rule(struct model_unit *unit, uint32_t offset, unsigned bytes, uint64_t writable, uint64_t clears)
{
    for (unsigned i = 0; i < bytes / 4; i++) {
        unit->known[offset / 4 + i] = true;
        unit->wide[offset / 4 + i] = bytes == 8;
        unit->writable[offset / 4 + i] = (uint32_t)(writable >> 32 * i);
        unit->clears[offset / 4 + i] = (uint32_t)(clears >> 32 * i);
    }
}

void registers_init(struct model_unit *unit)
{
    const struct capabilities *c = &unit->caps;

    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        add_rule(unit, rules[i].offset, rules[i].bytes, rules[i].writable, rules[i].clears);
    for (unsigned i = 0; i < c->records; i++) {
        add_rule(unit, c->record_offset + 16 * i, 8, 0, 0);
        add_rule(unit, c->record_offset + 16 * i + 8, 8, 0, 1ULL << 63); /* F */
    }
    add_rule(unit, c->iotlb_offset, 8, 0xfffffffffffff07f, 0);           /* IVA */
    add_rule(unit, c->iotlb_offset + 8, 8, 0xb007ffff00000000, 0);       /* IOTLB */
    if (!c->plmr)
        unit->writable[REG_PLMBASE / 4] = unit->writable[REG_PLMLIMIT / 4] = 0;
    if (!c->phmr) {
        add_rule(unit, REG_PHMBASE, 8, 0, 0);
        add_rule(unit, REG_PHMLIMIT, 8, 0, 0);
    }
    if (!c->plmr && !c->phmr)
        unit->writable[REG_PMEN / 4] = 0;
    if (!c->prs)
        for (uint32_t at = REG_PQH; at <= 0xec; at += 4)
            unit->writable[at / 4] = unit->clears[at / 4] = 0;
    set_reg64(unit, REG_CAP, c->cap);
    set_reg64(unit, REG_ECAP, c->ecap);
    set_reg32(unit, REG_FECTL, 1u << 31);
    set_reg32(unit, REG_IECTL, 1u << 31);
    set_reg32(unit, REG_PECTL, c->prs ? 1u << 31 : 0);
}

uint32_t reg32(const struct model_unit *unit, uint32_t offset)
{
    return unit->reg[offset / 4];
}

uint64_t reg64(const struct model_unit *unit, uint32_t offset)
{
    return unit->reg[offset / 4] | (uint64_t)unit->reg[offset / 4 + 1] << 32;
}

void set_reg32(struct model_unit *unit, uint32_t offset, uint32_t value)
{
    unit->reg[offset / 4] = value;
}

void set_reg64(struct model_unit *unit, uint32_t offset, uint64_t value)
{
    unit->reg[offset / 4] = (uint32_t)value;
    unit->reg[offset / 4 + 1] = (uint32_t)(value >> 32);
}

bool status(const struct model_unit *unit, enum gcmd_bit which)
{
    return bit(reg32(unit, REG_GSTS), which);
}

static void set_status(struct model_unit *unit, enum gcmd_bit which, bool on)
{
    uint32_t now = reg32(unit, REG_GSTS) & ~(1u << which);

    set_reg32(unit, REG_GSTS, on ? now | 1u << which : now);
}

/* Events: IM is bit 31 of the control register, IP bit 30; data, address and upper address follow. ----- */

static void send_event(struct model_unit *unit, uint32_t control)
{
    struct model_msi *m = &unit->msi[(unit->msi_head + unit->msi_count) % RING];

    set_reg32(unit, control, reg32(unit, control) & ~(1u << 30));
    *m = (struct model_msi){
        .address = (uint64_t)reg32(unit, control + 12) << 32 | reg32(unit, control + 8), .data = reg32(unit, control + 4),
    };
    if (unit->msi_count < RING)
        unit->msi_count++;
}

void raise_event(struct model_unit *unit, uint32_t control)
{
    set_reg32(unit, control, reg32(unit, control) | 1u << 30);
    if (!bit(reg32(unit, control), 31))
        send_event(unit, control);
}

void drop_event(struct model_unit *unit, uint32_t control)
{
    set_reg32(unit, control, reg32(unit, control) & ~(1u << 30));
}

/* Commands, section 11.4.4.1 ------------------------------------------------------------------------- */

static void latch_root(struct model_unit *unit)
{
    uint64_t rtaddr = reg64(unit, REG_RTADDR);
    enum ttm ttm = (enum ttm)field(rtaddr, 11, 10);

    if (status(unit, GCMD_TE) && !unit->caps.esrtps && ttm != unit->ttm)
        violation(unit, "SRTP changes TTM from %d to %d while TES=1 and ESRTPS=0 (11.4.5)", unit->ttm, ttm);
    if ((ttm == TTM_SCALABLE && !unit->caps.smts) || ttm == TTM_RESERVED || (ttm == TTM_ABORT && !unit->caps.adms))
        violation(unit, "SRTP with TTM %d, which the unit does not have", ttm);
    if (!fits(rtaddr, unit->haw))
        violation(unit, "RTADDR 0x%llx is wider than HAW", (unsigned long long)rtaddr);
    unit->root = rtaddr & mask(63, 12);
    unit->ttm = ttm;
    unit->ssirwe = unit->caps.ssirws && bit(rtaddr, 7);
    if (unit->caps.esrtps) {
        invalidate_all_dma(unit);
    } else {
        unit->owes_context = unit->owes_iotlb = true;
        unit->owes_pasid = ttm == TTM_SCALABLE;
    }
    set_status(unit, GCMD_SRTP, true);
}

static void latch_interrupt_table(struct model_unit *unit)
{
    uint64_t irta = reg64(unit, REG_IRTA);

    if (bit(irta, 11) && !unit->caps.eim)
        violation(unit, "IRTA.EIME set and ECAP.EIM=0");
    if (status(unit, GCMD_IRE) && bit(irta, 11) != unit->eime)
        violation(unit, "SIRTP changes EIME while IRES=1 (11.4.10)");
    unit->irt = irta & mask(63, 12);
    unit->irt_entries = 2u << field(irta, 3, 0);
    unit->eime = unit->caps.eim && bit(irta, 11);
    if (unit->caps.esirtps)
        invalidate_interrupts(unit, 0, 0, true);
    else
        unit->owes_iec = true;
    set_status(unit, GCMD_SIRTP, true);
}

static void translation_on(struct model_unit *unit)
{
    if (!status(unit, GCMD_SRTP))
        violation(unit, "TE without a root table: SRTP comes first");
    if (unit->owes_context || unit->owes_pasid || unit->owes_iotlb)
        violation(unit, "TE before the global invalidations that SRTP asks for, in their order (6.6)%s%s%s",
                  unit->owes_context ? " context" : "", unit->owes_pasid ? " PASID" : "", unit->owes_iotlb ? " IOTLB" : "");
    set_status(unit, GCMD_TE, true);
}

static void translation_off(struct model_unit *unit)
{
    set_status(unit, GCMD_TE, false);
    if (unit->caps.smts)
        invalidate_all_dma(unit);
}

static void queue_on_off(struct model_unit *unit, bool on)
{
    set_status(unit, GCMD_QIE, on);
    if (on) {
        if (reg64(unit, REG_IQT) != 0)
            violation(unit, "QIE with IQT 0x%llx: it has to be 0 (6.5.2)", (unsigned long long)reg64(unit, REG_IQT));
        return;
    }
    if (reg64(unit, REG_IQH) != reg64(unit, REG_IQT) || unit->in_window > 0 || (reg64(unit, REG_IQH) != 0 && !unit->last_was_wait))
        violation(unit, "QIE off while the queue is not quiesced: empty, with a wait completed last (6.5.2)");
    queue_stop(unit);
}

static void carry_out(struct model_unit *unit, uint32_t command)
{
    uint32_t changed = command ^ reg32(unit, REG_GSTS);

    if (bit(command, GCMD_SRTP))
        latch_root(unit);
    if (bit(command, GCMD_SIRTP))
        latch_interrupt_table(unit);
    if (bit(changed, GCMD_QIE))
        queue_on_off(unit, bit(command, GCMD_QIE));
    if (bit(changed, GCMD_TE)) {
        if (bit(command, GCMD_TE))
            translation_on(unit);
        else
            translation_off(unit);
    }
    if (bit(changed, GCMD_IRE)) {
        if (bit(command, GCMD_IRE) && !status(unit, GCMD_SIRTP))
            violation(unit, "IRE without an interrupt remapping table: SIRTP comes first");
        if (bit(command, GCMD_IRE) && !status(unit, GCMD_QIE))
            violation(unit, "IRE while QIES=0");
        if (bit(command, GCMD_IRE) && unit->owes_iec)
            violation(unit, "IRE before the global invalidation that SIRTP asks for (6.7)");
        if (!bit(command, GCMD_IRE) && unit->caps.esirtps)
            invalidate_interrupts(unit, 0, 0, true);
        set_status(unit, GCMD_IRE, bit(command, GCMD_IRE));
    }
    if (bit(changed, GCMD_CFI))
        set_status(unit, GCMD_CFI, bit(command, GCMD_CFI));
    set_status(unit, GCMD_WBF, false);
}

bool step_commands(struct model_unit *unit)
{
    bool did = unit->command_pending || unit->pmen_pending;

    if (unit->command_pending) {
        unit->command_pending = false;
        carry_out(unit, unit->command);
    }
    if (unit->pmen_pending) {
        unit->pmen_pending = false;
        set_reg32(unit, REG_PMEN, (reg32(unit, REG_PMEN) & ~1u) | reg32(unit, REG_PMEN) >> 31);
    }
    return did;
}

static void command_written(struct model_unit *unit)
{
    uint32_t command = reg32(unit, REG_GCMD), now = reg32(unit, REG_GSTS);
    uint32_t kept = 1u << GCMD_TE | 1u << GCMD_QIE | 1u << GCMD_IRE | 1u << GCMD_CFI;
    uint32_t once = 1u << GCMD_SRTP | 1u << GCMD_SIRTP | 1u << GCMD_WBF;
    uint32_t changes = ((command ^ now) & kept) | (command & once);

    set_reg32(unit, REG_GCMD, 0);
    if (unit->command_pending)
        violation(unit, "GCMD 0x%08x before the command ahead of it (0x%08x) shows in GSTS (11.4.4.1)", command, unit->command);
    if (__builtin_popcount(changes) > 1)
        violation(unit, "GCMD 0x%08x changes several fields at once, GSTS is 0x%08x (11.4.4.1)", command, now);
    if (command & ~(kept | once))
        violation(unit, "GCMD 0x%08x has reserved bits set", command);
    if ((bit(command, GCMD_IRE) || bit(command, GCMD_SIRTP)) && !unit->caps.ir)
        violation(unit, "GCMD 0x%08x: ECAP.IR=0", command);
    if (changes == 0)
        return;
    /* RTPS, IRTPS go off when the command is written, and on when it is done. */
    if (bit(command, GCMD_SRTP))
        set_status(unit, GCMD_SRTP, false);
    if (bit(command, GCMD_SIRTP))
        set_status(unit, GCMD_SIRTP, false);
    if (bit(command, GCMD_WBF))
        set_status(unit, GCMD_WBF, true);
    unit->command = command;
    unit->command_pending = true;
    if (!unit->switches.never_answers && unit->model->freedom.delay == 0)
        step_commands(unit);
}

/* Register-based invalidation: units of version 5 and below, in legacy mode, section 6.5.1 -------------- */

static bool register_invalidation_works(struct model_unit *unit, const char *name)
{
    if (unit->caps.major < 6 && unit->ttm == TTM_LEGACY && !status(unit, GCMD_QIE))
        return true;
    violation(unit, "%s used where only the queue invalidates (6.5.1)", name);
    return false;
}

static void context_command(struct model_unit *unit)
{
    uint64_t v = reg64(unit, REG_CCMD);
    unsigned granularity = (unsigned)field(v, 62, 61);
    struct invalidation what = {
        .scope = granularity == 1 ? SCOPE_GLOBAL : granularity == 2 ? SCOPE_DOMAIN : SCOPE_DEVICE,
        .domain = (uint16_t)field(v, 15, 0), .source_id = (uint16_t)field(v, 31, 16),
        .source_mask = function_mask(v, 33),
    };

    if (!bit(v, 63))
        return;
    v &= ~(1ULL << 63) & ~mask(60, 59);
    if (register_invalidation_works(unit, "CCMD")) {
        invalidate_context(unit, &what);
        v |= place(granularity, 60, 59);
    }
    set_reg64(unit, REG_CCMD, v);
}

static void iotlb_command(struct model_unit *unit)
{
    uint64_t v = reg64(unit, unit->caps.iotlb_offset + 8), iva = reg64(unit, unit->caps.iotlb_offset);
    unsigned granularity = (unsigned)field(v, 61, 60);
    struct invalidation what = {
        .scope = granularity == 1 ? SCOPE_GLOBAL : granularity == 2 ? SCOPE_DOMAIN : SCOPE_PAGE,
        .domain = (uint16_t)field(v, 47, 32), .address = iva & mask(63, 12), .shift = 12 + (unsigned)field(iva, 5, 0), .leaf_only = bit(iva, 6),
    };

    if (!bit(v, 63))
        return;
    v &= ~(1ULL << 63) & ~mask(58, 57);
    if (register_invalidation_works(unit, "IOTLB_REG")) {
        invalidate_iotlb(unit, &what);
        v |= place(granularity, 58, 57);
    }
    set_reg64(unit, unit->caps.iotlb_offset + 8, v);
}

/* Writes --------------------------------------------------------------------------------------------- */

/* PLM and PHM registers: section 11.4.8; LIMIT's low bits read 0 and mean 1. */
bool protected_memory(const struct model_unit *unit, uint64_t hpa, uint64_t size)
{
    uint64_t last = hpa + (size ? size - 1 : 0);

    if (!bit(reg32(unit, REG_PMEN), 0))
        return false;
    if (unit->caps.plmr && reg32(unit, REG_PLMLIMIT) >= reg32(unit, REG_PLMBASE) && last >= reg32(unit, REG_PLMBASE) &&
        hpa <= (reg32(unit, REG_PLMLIMIT) | 0x1fffffULL))
        return true;
    return unit->caps.phmr && reg64(unit, REG_PHMLIMIT) >= reg64(unit, REG_PHMBASE) && last >= reg64(unit, REG_PHMBASE) &&
           hpa <= (reg64(unit, REG_PHMLIMIT) | 0x1fffffULL);
}

static void control_written(struct model_unit *unit, uint32_t control, uint32_t old)
{
    /* IM cleared with IP set: the event goes out. */
    if (bit(old, 31) && !bit(reg32(unit, control), 31) && bit(reg32(unit, control), 30))
        send_event(unit, control);
}

static bool may_write(struct model_unit *unit, uint32_t base)
{
    if (base == REG_IQA && status(unit, GCMD_QIE)) {
        violation(unit, "IQA written while QIES=1 (6.5.2)");
        return false;
    }
    if (base >= REG_PLMBASE && base <= REG_PHMLIMIT && bit(reg32(unit, REG_PMEN), 0)) {
        violation(unit, "protected range at 0x%x written while PMEN.PRS=1 (11.4.8)", base);
        return false;
    }
    if (base == REG_PMEN && unit->pmen_pending)
        violation(unit, "PMEN written before PRS shows the write ahead of it");
    if (base == REG_PQA && unit->caps.prs && reg64(unit, REG_PQH) != reg64(unit, REG_PQT))
        violation(unit, "PQA written while the page request queue is not empty");
    return true;
}

static void effect(struct model_unit *unit, uint32_t base, uint32_t old)
{
    switch (base) {
    case REG_GCMD:
        command_written(unit);
        break;
    case REG_CCMD:
        context_command(unit);
        break;
    case REG_FECTL:
    case REG_IECTL:
    case REG_PECTL:
        control_written(unit, base, old);
        break;
    case REG_FSTS:
        fault_cleared(unit);
        break;
    case REG_ICS:
        if (!bit(reg32(unit, REG_ICS), 0))
            drop_event(unit, REG_IECTL);
        break;
    case REG_PRS:
        if ((reg32(unit, REG_PRS) & 3) == 0)
            drop_event(unit, REG_PECTL);
        break;
    case REG_PMEN:
        unit->pmen_pending = true;
        if (!unit->switches.never_answers && unit->model->freedom.delay == 0)
            step_commands(unit);
        break;
    default:
        if (base == unit->caps.iotlb_offset + 8)
            iotlb_command(unit);
        else if (base >= unit->caps.record_offset && base < unit->caps.record_offset + 16 * unit->caps.records)
            fault_cleared(unit);
    }
}

static void write_word(struct model_unit *unit, uint32_t offset, uint32_t value)
{
    uint32_t *r = &unit->reg[offset / 4], writable = unit->writable[offset / 4];

    if (offset == unit->caps.record_offset + 12 && value & ~unit->clears[offset / 4])
        value &= unit->clears[offset / 4];
    *r = ((*r & ~writable) | (value & writable)) & ~(value & unit->clears[offset / 4]);
}

void model_write(struct model_unit *unit, uint32_t offset, unsigned bytes, uint64_t value)
{
    uint32_t base = offset, old;

    if (unit->switches.all_ones)
        return;
    if ((bytes != 4 && bytes != 8) || offset % bytes != 0 || offset / 4 >= REGISTER_WORDS || !unit->known[offset / 4]) {
        violation(unit, "write of %u bytes at 0x%x: no such register", bytes, offset);
        return;
    }
    if (unit->wide[offset / 4])
        base &= ~7u;
    else if (bytes == 8) {
        violation(unit, "8-byte write to the 4-byte register 0x%x (11.2)", offset);
        return;
    }
    if (!may_write(unit, base))
        return;
    old = unit->reg[base / 4];
    write_word(unit, offset, (uint32_t)value);
    if (bytes == 8)
        write_word(unit, offset + 4, (uint32_t)(value >> 32));
    effect(unit, base, old);
    if (unit->model->freedom.delay)
        model_run(unit->model, 1);
    else if (base == REG_IQT || base == REG_FSTS || base == REG_GCMD)
        model_settle(unit->model);
}

uint64_t model_read(struct model_unit *unit, uint32_t offset, unsigned bytes)
{
    if (unit->switches.all_ones)
        return bytes == 8 ? UINT64_MAX : UINT32_MAX;
    if ((bytes != 4 && bytes != 8) || offset % bytes != 0 || offset / 4 >= REGISTER_WORDS || !unit->known[offset / 4]) {
        violation(unit, "read of %u bytes at 0x%x: no such register", bytes, offset);
        return 0;
    }
    if (bytes == 8 && !unit->wide[offset / 4])
        violation(unit, "8-byte read of the 4-byte register 0x%x (11.2)", offset);
    if (unit->model->freedom.delay)
        model_run(unit->model, 1);
    return bytes == 8 ? reg64(unit, offset) : reg32(unit, offset);
}
