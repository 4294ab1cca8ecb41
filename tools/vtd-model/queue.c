/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue.c: the invalidation queue, section 6.5.2.  Descriptors are fetched in order into a window, and run from there: the oldest
 * that may, or, by chance, any that section 6.5.2.12 lets run.
 */
#include <string.h>

#include "internal.h"

/* IQERCD.IQEI, section 11.4.9.9 */
enum { IQEI_TAIL = 1, IQEI_FETCH, IQEI_TYPE, IQEI_RESERVED, IQEI_WIDTH, IQEI_MISALIGNED, IQEI_TTM };

static unsigned descriptor_type(uint64_t qw0)
{
    return (unsigned)(field(qw0, 11, 9) << 4 | field(qw0, 3, 0));
}

/* Reserved bits, which must be 0: {qw0, qw1}. */
static void reserved_bits(const struct model_unit *unit, unsigned type, uint64_t reserved[2])
{
    uint64_t used[2] = { mask(11, 9) | mask(3, 0), 0 };
    uint64_t pfsid = unit->caps.dit ? mask(63, 52) | mask(15, 12) : 0;

    switch (type) {
    case DSC_CONTEXT:
        used[0] |= mask(5, 4) | mask(31, 16) | mask(47, 32) | mask(49, 48);
        break;
    case DSC_IOTLB:
        used[0] |= mask(7, 4) | mask(31, 16);
        used[1] = mask(6, 0) | mask(63, 12);
        break;
    case DSC_DEVICE_TLB:
        used[0] |= mask(20, 16) | mask(47, 32) | pfsid;
        used[1] = mask(0, 0) | mask(63, 12);
        break;
    case DSC_INTERRUPT:
        used[0] |= mask(4, 4) | mask(31, 27) | mask(47, 32);
        break;
    case DSC_WAIT:
        used[0] |= mask(6, 4) | mask(63, 32) | (unit->caps.pds ? mask(7, 7) : 0);
        used[1] = mask(63, 2);
        break;
    case DSC_PASID_IOTLB:
        used[0] |= mask(5, 4) | mask(31, 16) | mask(51, 32);
        used[1] = mask(6, 0) | mask(63, 12);
        break;
    case DSC_PASID:
        used[0] |= mask(5, 4) | mask(31, 16) | mask(51, 32);
        break;
    case DSC_PASID_DEVICE_TLB:
        used[0] |= mask(8, 4) | mask(31, 16) | mask(51, 32) | pfsid;
        used[1] = mask(0, 0) | mask(11, 11) | mask(63, 12);
        break;
    case DSC_PAGE_RESPONSE:
        used[0] |= mask(4, 4) | mask(15, 12) | mask(31, 16) | mask(51, 32);
        used[1] = mask(11, 3);
        break;
    }
    reserved[0] = ~used[0];
    reserved[1] = ~used[1];
}

/* Section 6.5.2.11, table 26, and what each descriptor says about its granularities.  0: valid. */
static unsigned descriptor_error(const struct model_unit *unit, const uint64_t *word, bool wide)
{
    unsigned type = descriptor_type(word[0]), g = (unsigned)field(word[0], 5, 4);
    uint64_t reserved[2];
    bool scalable_only = type >= DSC_PASID_IOTLB;

    if (unit->ttm == TTM_RESERVED)
        return IQEI_TTM;
    if ((!wide && unit->ttm != TTM_LEGACY) || (wide && !unit->caps.smts && !unit->caps.adms))
        return IQEI_WIDTH;
    if (type < DSC_CONTEXT || type > DSC_PAGE_RESPONSE || (scalable_only && unit->ttm == TTM_LEGACY))
        return IQEI_TYPE;
    if ((type == DSC_DEVICE_TLB || type == DSC_PASID_DEVICE_TLB) && !unit->caps.dt)
        return IQEI_TYPE;
    if (type == DSC_PAGE_RESPONSE && !unit->caps.prs)
        return IQEI_TYPE;
    if ((type == DSC_CONTEXT && g == 0) || (type == DSC_IOTLB && (g == 0 || (g == 3 && !unit->caps.psi))) ||
        (type == DSC_PASID_IOTLB && g < 2) || (type == DSC_PASID && g == 2))
        return IQEI_TYPE;
    reserved_bits(unit, type, reserved);
    if (word[0] & reserved[0] || word[1] & reserved[1] || word[2] || word[3])
        return IQEI_RESERVED;
    return 0;
}

static void check_descriptor(struct model_unit *unit, const uint64_t *word)
{
    unsigned type = descriptor_type(word[0]), g = (unsigned)field(word[0], 5, 4), am = (unsigned)field(word[1], 5, 0);
    bool ranged = (type == DSC_IOTLB || type == DSC_PASID_IOTLB) && g == 3;

    if (type == DSC_IOTLB && ranged && am > unit->caps.mamv)
        violation(unit, "iotlb_inv_dsc with AM %u, MAMV is %u", am, unit->caps.mamv);
    if (ranged && am < 52 && word[1] & mask(11 + am, 12) & (am ? UINT64_MAX : 0))
        violation(unit, "descriptor of type %u: address 0x%llx is not aligned to its AM of %u", type, (unsigned long long)(word[1] & mask(63, 12)), am);
    if (type == DSC_INTERRUPT && bit(word[0], 4) && field(word[0], 31, 27) > unit->caps.mhmv)
        violation(unit, "iec_inv_dsc with IM %u, MHMV is %u", (unsigned)field(word[0], 31, 27), unit->caps.mhmv);
    if ((type == DSC_DEVICE_TLB || type == DSC_PASID_DEVICE_TLB) && !status(unit, GCMD_TE))
        violation(unit, "a device-TLB invalidation while TES=0: its completion is an unsupported request (4.2.1)");
}

static bool fetch_one(struct model_unit *unit)
{
    uint64_t iqa = reg64(unit, REG_IQA), head = reg64(unit, REG_IQH), tail = reg64(unit, REG_IQT);
    uint64_t bytes = PAGE << field(iqa, 2, 0);
    bool wide = bit(iqa, 11);
    struct pending *p = &unit->window[unit->in_window];
    unsigned error = 0;

    if (!status(unit, GCMD_QIE) || reg32(unit, REG_FSTS) & (1u << FSTS_IQE | 1u << FSTS_ITE) || head == tail || unit->in_window == QUEUE_WINDOW)
        return false;
    memset(p, 0, sizeof *p);
    if (tail >= bytes)
        error = IQEI_TAIL;
    else if (wide && bit(tail, 4))
        error = IQEI_MISALIGNED;
    else if ((unit->fail_fetch && --unit->fail_fetch == 0) || !memory_read(unit, (iqa & mask(63, 12)) + head, true, p->word, wide ? 4 : 2))
        error = IQEI_FETCH;
    else
        error = descriptor_error(unit, p->word, wide);
    if (error) {
        violation(unit, "invalidation queue error %u at offset 0x%llx: %016llx %016llx", error, (unsigned long long)head,
                  (unsigned long long)p->word[0], (unsigned long long)p->word[1]);
        fault_queue(unit, FSTS_IQE, error, 0);
        return false;
    }
    check_descriptor(unit, p->word);
    p->type = (enum descriptor_type)descriptor_type(p->word[0]);
    unit->in_window++;
    set_reg64(unit, REG_IQH, (head + (wide ? 32 : 16)) % bytes);
    return true;
}

/* Must `earlier` be complete before `later` runs?  Section 6.5.2.12. */
static bool is_ordered(const struct pending *earlier, const struct pending *later)
{
    if (earlier->type == DSC_WAIT)
        return bit(earlier->word[0], 6); /* FN */
    switch (later->type) {
    case DSC_PASID:
        return earlier->type == DSC_CONTEXT;
    case DSC_IOTLB:
    case DSC_PASID_IOTLB:
        return earlier->type == DSC_CONTEXT || earlier->type == DSC_PASID;
    case DSC_DEVICE_TLB: /* a p_iotlb_inv_dsc is not on the list */
        return earlier->type == DSC_IOTLB || earlier->type == DSC_INTERRUPT;
    case DSC_PASID_DEVICE_TLB:
        return earlier->type == DSC_IOTLB || earlier->type == DSC_PASID_IOTLB || earlier->type == DSC_INTERRUPT;
    default:
        return false;
    }
}

static bool may_run(const struct model_unit *unit, unsigned i)
{
    /* A wait completes after all between the previous wait and itself. */
    for (unsigned j = i; j-- > 0;) {
        if (is_ordered(&unit->window[j], &unit->window[i]))
            return false;
        if (unit->window[i].type == DSC_WAIT) {
            if (unit->window[j].type != DSC_WAIT)
                return false;
            for (unsigned k = j; k-- > 0;)
                if (is_ordered(&unit->window[k], &unit->window[i]))
                    return false;
            return true;
        }
    }
    return true;
}

static void run_wait(struct model_unit *unit, const uint64_t *word)
{
    uint32_t data = (uint32_t)field(word[0], 63, 32), *at;

    if (bit(word[0], 5)) { /* SW */
        at = memory_at(unit, word[1] & mask(unit->haw - 1, 2), true);
        if (at)
            __atomic_store_n(at, data, __ATOMIC_SEQ_CST);
        else
            check_no_memory(unit, "a wait's status", word[1]);
    }
    if (bit(word[0], 4) && !bit(reg32(unit, REG_ICS), 0)) { /* IF */
        set_reg32(unit, REG_ICS, 1);
        raise_event(unit, REG_IECTL);
    }
}

/* The ATS encoding of a range: the lowest 0 bit above bit 11 tells its size. */
static unsigned device_range_shift(uint64_t address, bool s)
{
    unsigned shift = 12;

    if (!s)
        return shift;
    while (shift < 63 && bit(address, shift))
        shift++;
    return shift + 1;
}

/* false: no answer from the device, section 6.5.2.11. */
static bool run_device_tlb(struct model_unit *unit, const struct pending *p)
{
    bool with_pasid = p->type == DSC_PASID_DEVICE_TLB;
    uint16_t source_id = (uint16_t)(with_pasid ? field(p->word[0], 31, 16) : field(p->word[0], 47, 32));
    bool s = with_pasid ? bit(p->word[1], 11) : bit(p->word[1], 0);
    struct invalidation what = {
        .source_id = source_id, .pasid = (uint32_t)field(p->word[0], 51, 32), .address = p->word[1] & mask(63, 12),
        .shift = device_range_shift(p->word[1], s), .all_pasids = with_pasid && bit(p->word[1], 0),
    };

    if (unit->device_flags[source_id] == DEVICE_SILENT || !status(unit, GCMD_TE)) {
        fault_queue(unit, FSTS_ITE, 0, source_id);
        return false;
    }
    if (unit->device_flags[source_id] == DEVICE_CONFUSED)
        fault_queue(unit, FSTS_ICE, 0, source_id);
    invalidate_device(unit, &what, with_pasid);
    return true;
}

static bool run(struct model_unit *unit, const struct pending *p)
{
    uint64_t w0 = p->word[0], w1 = p->word[1];
    unsigned g = (unsigned)field(w0, 5, 4);
    struct invalidation what = {
        .domain = (uint16_t)(field(w0, 31, 16) & mask(unit->caps.domain_bits - 1, 0)), .pasid = (uint32_t)field(w0, 51, 32),
        .address = w1 & mask(63, 12), .shift = 12 + (unsigned)field(w1, 5, 0), .leaf_only = bit(w1, 6),
    };

    switch (p->type) {
    case DSC_CONTEXT:
        what.scope = g == 1 ? SCOPE_GLOBAL : g == 2 ? SCOPE_DOMAIN : SCOPE_DEVICE;
        what.source_id = (uint16_t)field(w0, 47, 32);
        what.source_mask = function_mask(w0, 49);
        invalidate_context(unit, &what);
        break;
    case DSC_PASID:
        what.scope = g == 3 ? SCOPE_GLOBAL : g == 0 ? SCOPE_DOMAIN : SCOPE_PASID;
        invalidate_pasid(unit, &what);
        break;
    case DSC_IOTLB:
        what.scope = g == 1 ? SCOPE_GLOBAL : g == 2 ? SCOPE_DOMAIN : SCOPE_PAGE;
        what.pasid = 0;
        if (what.scope == SCOPE_PAGE)
            what.address &= mask(unit->caps.mgaw - 1, 0);
        invalidate_iotlb(unit, &what);
        break;
    case DSC_PASID_IOTLB:
        what.scope = g == 2 ? SCOPE_PASID : SCOPE_PAGE;
        invalidate_pasid_iotlb(unit, &what);
        break;
    case DSC_INTERRUPT:
        invalidate_interrupts(unit, (unsigned)field(w0, 47, 32), (unsigned)field(w0, 31, 27), !bit(w0, 4));
        break;
    case DSC_DEVICE_TLB:
    case DSC_PASID_DEVICE_TLB:
        return run_device_tlb(unit, p);
    case DSC_PAGE_RESPONSE:
        page_response(unit, p->word);
        break;
    case DSC_WAIT:
        run_wait(unit, p->word);
        break;
    }
    return true;
}

void queue_stop(struct model_unit *unit)
{
    unit->in_window = 0;
    set_reg64(unit, REG_IQH, 0);
}

bool step_queue(struct model_unit *unit)
{
    struct model *model = unit->model;
    unsigned eligible[QUEUE_WINDOW], count = 0, at;
    struct pending p;
    bool fetched = false;

    do
        fetched |= fetch_one(unit);
    while (model->freedom.reorder && !chance(model, 300) && unit->in_window < QUEUE_WINDOW && fetched &&
           reg64(unit, REG_IQH) != reg64(unit, REG_IQT) && !(reg32(unit, REG_FSTS) & (1u << FSTS_IQE | 1u << FSTS_ITE)));
    if (unit->in_window == 0)
        return fetched;
    for (unsigned i = 0; i < unit->in_window; i++)
        if (may_run(unit, i))
            eligible[count++] = i;
    if (count == 0)
        return fetched;
    at = eligible[chance(model, model->freedom.reorder) ? random_below(model, count) : 0];
    p = unit->window[at];
    memmove(&unit->window[at], &unit->window[at + 1], (unit->in_window - at - 1) * sizeof p);
    unit->in_window--;
    unit->counters.descriptors++;
    unit->last_was_wait = p.type == DSC_WAIT;
    if (!run(unit, &p)) /* ITE: what is pending is aborted; the rest behind it need not happen either */
        unit->in_window = 0;
    return true;
}
