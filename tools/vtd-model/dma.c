/* SPDX-License-Identifier: BSD-2-Clause */
/* dma.c: requests of devices: untranslated, translation requests, translated; device-TLBs; prefetching. */
#include <string.h>

#include "internal.h"

bool is_interrupt_range(uint64_t address)
{
    return address >> 20 == 0xfee;
}

/* Translation through the IOTLB ------------------------------------------------------------------------- */

static struct cached *iotlb_find(struct model_unit *unit, const struct model_request *request, uint64_t address)
{
    static const uint8_t shifts[] = { 12, 21, 30 };
    struct cached tags = { .source_id = request->source_id, .with_pasid = request->with_pasid, .pasid = request->pasid };

    for (unsigned i = 0; i < sizeof shifts; i++) {
        struct cached *hit;

        tags.shift = shifts[i];
        tags.page = address >> shifts[i];
        hit = cache_find(unit, MODEL_IOTLB, &tags);
        if (hit)
            return hit;
    }
    return NULL;
}

static void iotlb_fill(struct model_unit *unit, const struct model_request *request, uint64_t address, uint32_t pasid, uint16_t domain,
                       const struct mapping *mapping)
{
    struct cached c = {
        .source_id = request->source_id, .with_pasid = request->with_pasid, .pasid = pasid, .domain = domain, .pgtt = mapping->pgtt,
        .mapping = *mapping,
    };

    if (c.mapping.shift > 12 && chance(unit->model, unit->model->freedom.fracture)) { /* section 6.2.4.1 */
        c.mapping.hpa |= address & mask(mapping->shift - 1, 12);
        c.mapping.shift = 12;
    }
    c.shift = c.mapping.shift;
    c.page = address >> c.shift;
    cache_insert(unit, MODEL_IOTLB, &c);
}

/* CM=1, section 6.2.4.1: what is absent, first-stage entries apart; without a PASID-table entry the DID is 0. */
static void remember_absent(struct model_unit *unit, const struct model_request *request, uint64_t address, uint32_t pasid, uint16_t domain,
                            uint8_t pgtt, uint8_t reason)
{
    struct mapping absent = { .reason = reason, .shift = 12, .pgtt = pgtt };
    bool no_entry = reason == 0x41 || reason == 0x51 || reason == 0x59;

    if (no_entry || reason == 0x79)
        iotlb_fill(unit, request, address, pasid, no_entry ? 0 : domain, &absent);
}

static void remember(struct model_unit *unit, const struct model_request *request, uint64_t address)
{
    unit->recent[unit->next_recent] = (struct recent){ *request, address };
    unit->next_recent = (unit->next_recent + 1) % RECENT_REQUESTS;
    if (unit->recents < RECENT_REQUESTS)
        unit->recents++;
}

/* A hit: its permissions are checked again, and a write whose D flag is not known to be set walks. */
static bool iotlb_serves(struct model_unit *unit, const struct cached *hit, const struct model_request *request, enum address_type at,
                         bool zero_length, bool speculative, struct mapping *mapping, struct fault *fault)
{
    /* RID_PRIV is the context entry's: the entry was filled under it. */
    bool privileged = request->with_pasid ? request->privileged : hit->mapping.privileged;
    bool writes = request->access != MODEL_READ || (at == AT_TRANSLATION && !(request->no_write && unit->caps.nwfs));

    if (privileged && !hit->mapping.sre)
        return false;
    if (hit->mapping.reason) {
        fault->reason = hit->mapping.reason;
        return at == AT_UNTRANSLATED;
    }
    if (writes && !hit->mapping.dirty && !speculative)
        return false;
    *mapping = hit->mapping;
    if (at == AT_UNTRANSLATED && !speculative)
        fault->reason = rights_fault(unit, mapping, privileged, request->access, zero_length);
    if (fault->reason && unit->ttm == TTM_LEGACY)
        fault->reason = fault->reason == 0x85 ? 0x05 : 0x06;
    unit->counters.hits++;
    return true;
}

static bool walk_scalable(struct model_unit *unit, const struct model_request *request, enum address_type at, uint64_t address, bool zero_length,
                          bool speculative, struct mapping *mapping, struct fault *fault, uint32_t *pasid, uint16_t *domain)
{
    struct place place = { .pasid = request->with_pasid ? request->pasid : 0 };
    bool writes = request->access != MODEL_READ || (at == AT_TRANSLATION && !(request->no_write && unit->caps.nwfs));
    struct walk walk = {
        .unit = unit, .access = request->access, .zero_length = zero_length, .probe = speculative || at == AT_TRANSLATION,
        .wants_write = writes && !speculative, .cached = true, .fault = fault,
    };

    bool found = find_entry(unit, request, at, true, &place, fault, NULL);

    *pasid = place.pasid;
    if (!found)
        return false;
    walk.entry = place.entry;
    walk.pasid = place.pasid;
    walk.domain = *domain = place.domain;
    walk.pgtt = place.pgtt;
    walk.privileged = place.privileged;
    walk.snoop = unit->caps.smpwcs && bit(place.entry[1], 23);
    return walk_tables(&walk, address, mapping);
}

/* May the function ask for translations at all?  Its context entry says so (4.2.3), whatever the IOTLB has. */
static bool ats_allowed(struct model_unit *unit, const struct model_request *request, enum address_type at, struct fault *fault)
{
    struct place place;
    uint64_t legacy[2];

    if (at == AT_UNTRANSLATED)
        return true;
    if (unit->ttm == TTM_LEGACY)
        return legacy_allows(unit, request, at, true, legacy, fault, NULL);
    return find_context(unit, request, at, true, &place, fault, NULL);
}

bool translate(struct model_unit *unit, const struct model_request *request, enum address_type at, uint64_t address, bool zero_length,
               bool speculative, struct mapping *mapping, struct fault *fault)
{
    const struct cached *hit;
    uint32_t pasid = 0;
    uint16_t domain = 0;

    mapping->pgtt = 0;
    *fault = (struct fault){ 0 };
    if (!root_allows(unit, request, at, fault))
        return false;
    /* A prefetch is there to fill; what is cached already would stop it. */
    hit = speculative ? NULL : iotlb_find(unit, request, address);
    if (hit && !ats_allowed(unit, request, at, fault))
        return false;
    if (hit && iotlb_serves(unit, hit, request, at, zero_length, speculative, mapping, fault))
        return fault->reason == 0;
    if (unit->ttm == TTM_LEGACY) {
        if (!legacy_translate(unit, request, at, address, zero_length, speculative, true, mapping, &domain, fault, NULL))
            return false;
    } else if (!walk_scalable(unit, request, at, address, zero_length, speculative, mapping, fault, &pasid, &domain)) {
        if (unit->caps.cm)
            remember_absent(unit, request, address, pasid, domain, mapping->pgtt, fault->reason);
        return false;
    }
    iotlb_fill(unit, request, address, pasid, domain, mapping);
    return true;
}

/* Hardware translates again what it translated before, or the page next to it, sections 6.2.4 and 6.2.5. */
void prefetch_some(struct model_unit *unit)
{
    const struct recent *recent;
    struct model_request request;
    struct mapping mapping;
    struct fault fault;
    uint64_t address;

    if (unit->recents == 0 || !status(unit, GCMD_TE))
        return;
    recent = &unit->recent[random_below(unit->model, unit->recents)];
    request = recent->request;
    request.access = MODEL_READ;
    address = recent->address + (random_below(unit->model, 3) - 1) * PAGE;
    if (is_interrupt_range(address))
        return;
    unit->counters.prefetches++;
    translate(unit, &request, AT_UNTRANSLATED, address, false, true, &mapping, &fault);
}

/* Moving data -------------------------------------------------------------------------------------------- */

struct transfer {
    struct model_unit *unit;
    const struct model_request *request;
    uint8_t *data;
    struct model_result *result;
};

/* A fault ends the request: UR or CA, and a record unless muted. */
static void fail_request(struct transfer *t, enum address_type at, uint64_t address, const struct fault *fault)
{
    t->result->outcome = MODEL_FAULT;
    t->result->reason = fault->reason;
    t->result->condition = fault->condition;
    t->result->logged = fault_record(t->unit, t->request, (uint8_t)at, address, fault);
}

static bool move(struct transfer *t, uint64_t hpa, unsigned size, bool snoop)
{
    uint8_t *p;
    uint64_t old, sum;

    t->result->address = hpa;
    if (protected_memory(t->unit, hpa, size)) {
        t->result->outcome = MODEL_PROTECTED;
        return false;
    }
    t->result->snooped = snoop || !t->request->no_snoop;
    p = memory_at(t->unit, hpa, t->result->snooped);
    if (!p) {
        t->result->outcome = MODEL_NO_MEMORY;
        return false;
    }
    if (size == 0)
        return true;
    if (t->request->access == MODEL_WRITE) {
        memcpy(p, t->data, size);
    } else if (t->request->access == MODEL_READ) {
        memcpy(t->data, p, size);
    } else {
        old = sum = 0;
        memcpy(&old, p, size);
        memcpy(&sum, t->data, size);
        sum += old;
        memcpy(p, &sum, size);
        memcpy(t->data, &old, size);
    }
    t->data += size;
    t->result->done += size;
    return true;
}

/* Section 3.15; true: the request was one of these. */
static bool interrupt_range_request(struct transfer *t, uint64_t address, uint64_t size)
{
    struct fault fault = { .reason = 0x29 };
    struct model_interrupt interrupt;
    uint32_t data;

    if (t->request->with_pasid || !is_interrupt_range(address))
        return false;
    if (t->request->access == MODEL_WRITE && size == 4) {
        memcpy(&data, t->data, 4);
        *t->result = model_interrupt(t->unit, t->request->source_id, address, data, &interrupt);
    } else if (!(t->request->access == MODEL_READ && size == 0) && status(t->unit, GCMD_TE)) {
        fail_request(t, AT_UNTRANSLATED, address, &fault);
    }
    return true;
}

static bool untranslated_page(struct transfer *t, uint64_t address, unsigned size)
{
    struct model_unit *unit = t->unit;
    struct mapping mapping;
    struct fault fault;

    unit->counters.requests++;
    if (unit->switches.all_ones || !status(unit, GCMD_TE))
        return move(t, address, size, true);
    if (unit->model->freedom.prefetch || unit->model->freedom.split)
        remember(unit, t->request, address);
    if (!translate(unit, t->request, AT_UNTRANSLATED, address, size == 0, false, &mapping, &fault)) {
        fail_request(t, AT_UNTRANSLATED, address, &fault);
        return false;
    }
    return move(t, mapping.hpa | (address & mask(mapping.shift - 1, 0)), size, mapping.snoop);
}

static struct model_result by_pages(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size,
                                    bool (*page)(struct transfer *, uint64_t, unsigned))
{
    struct model_result result = { .outcome = MODEL_DONE };
    struct transfer t = { unit, request, data, &result };

    if (page != untranslated_page || !interrupt_range_request(&t, address, size)) {
        do {
            unsigned part = (unsigned)(PAGE - address % PAGE);

            if (part > size)
                part = (unsigned)size;
            if (!page(&t, address, part))
                break;
            address += part;
            size -= part;
        } while (size > 0);
    }
    if (unit->model->freedom.prefetch || unit->model->freedom.evict || unit->model->freedom.split)
        model_run(unit->model, 1);
    return result;
}

struct model_result model_dma(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size)
{
    return by_pages(unit, request, address, data, size, untranslated_page);
}

/* Translated requests, section 4.2.5. --------------------------------------------------------------------- */

static bool translated_page(struct transfer *t, uint64_t address, unsigned size)
{
    struct model_unit *unit = t->unit;
    struct fault fault = { 0 };
    bool ok;

    unit->counters.requests++;
    if (!status(unit, GCMD_TE)) { /* section 4.2.1: UR, nothing is recorded */
        t->result->outcome = MODEL_FAULT;
        return false;
    }
    ok = root_allows(unit, t->request, AT_TRANSLATED, &fault) && ats_allowed(unit, t->request, AT_TRANSLATED, &fault);
    if (ok && !fits(address, unit->haw)) {
        fault.reason = unit->ttm == TTM_LEGACY ? 0x04 : 0x83;
        fault.condition = unit->ttm == TTM_LEGACY ? 2 : 1;
        ok = false;
    }
    if (ok && is_interrupt_range(address)) {
        fault.reason = unit->ttm == TTM_LEGACY ? 0x0e : 0x87;
        ok = false;
    }
    if (!ok) {
        fail_request(t, AT_TRANSLATED, address, &fault);
        return false;
    }
    return move(t, address, size, true);
}

struct model_result model_dma_translated(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size)
{
    return by_pages(unit, request, address, data, size, translated_page);
}

/* Translation requests, section 4.2.3 and the "Translation Request" column of table 30 --------------------- */

enum recoverable { IS_UR, IS_CA, IS_SUCCESS };

static enum recoverable answer_of(uint8_t reason)
{
    switch (reason) {
    case 0x01: case 0x02: case 0x0d: case 0x31: case 0x33: case 0x34: case 0x39: case 0x41: case 0x44: case 0x45: case 0x46: case 0x48:
    case 0x89:
        return IS_UR;
    case 0x04: case 0x05: case 0x06: case 0x51: case 0x59: case 0x5c: case 0x5d: case 0x80: case 0x81: case 0x83: case 0x84: case 0x85:
    case 0x86: case 0x79: case 0x90: case 0x91:
        return IS_SUCCESS;
    }
    return reason >= 0x70 && reason <= 0x77 ? IS_SUCCESS : IS_CA;
}

static struct model_translation untranslated_completion(struct model_unit *unit, const struct model_request *request, const struct fault *fault,
                                                        uint64_t address)
{
    struct model_translation t = { .status = MODEL_SUCCESS, .reason = fault->reason, .shift = 12, .privileged = request->with_pasid && request->privileged };
    enum recoverable answer = answer_of(fault->reason);

    if (answer != IS_SUCCESS || fault->reason == 0x91) /* SFS.10 is recorded although it completes */
        fault_record(unit, request, AT_TRANSLATION, address, fault);
    if (answer != IS_SUCCESS)
        t.status = answer == IS_UR ? MODEL_UR : MODEL_CA;
    return t;
}

/* S.1, S.2: a device may write interrupts there, untranslated.  Only where none of the conditions of table 30 is met (4.2.3): those of the root
 * entry to the PASID-table entry, for no table says anything of these addresses. */
static struct model_translation interrupt_completion(struct model_unit *unit, const struct model_request *request, uint64_t address)
{
    bool no_write = request->no_write && unit->caps.nwfs;
    struct fault fault = { 0 };
    struct place place;

    if (!root_allows(unit, request, AT_TRANSLATION, &fault) || !ats_allowed(unit, request, AT_TRANSLATION, &fault) ||
        (unit->ttm == TTM_SCALABLE && !find_entry(unit, request, AT_TRANSLATION, true, &place, &fault, NULL)))
        return untranslated_completion(unit, request, &fault, address);
    return (struct model_translation){ .status = MODEL_SUCCESS, .shift = 12, .write = !no_write, .untranslated_only = !no_write };
}

static void device_fill(struct model_unit *unit, const struct model_request *request, uint64_t address, const struct model_translation *t)
{
    struct cached c = {
        .source_id = request->source_id, .with_pasid = request->with_pasid, .pasid = request->pasid, .shift = (uint8_t)t->shift,
        .page = address >> t->shift, .translation = *t,
    };

    cache_insert(unit, MODEL_DEVICE_TLB, &c);
}

struct model_translation model_translate(struct model_unit *unit, const struct model_request *request, uint64_t address)
{
    struct model_translation t = { .status = MODEL_UR };
    bool privileged, no_write = request->no_write && unit->caps.nwfs;
    struct mapping m;
    struct fault fault;

    if (!status(unit, GCMD_TE))
        return t;
    if (!request->with_pasid && is_interrupt_range(address))
        return interrupt_completion(unit, request, address);
    if (!translate(unit, request, AT_TRANSLATION, address, false, false, &m, &fault))
        return untranslated_completion(unit, request, &fault, address);
    privileged = request->with_pasid ? request->privileged : m.privileged;
    t = (struct model_translation){
        .status = MODEL_SUCCESS, .shift = m.shift, .address = m.hpa, .non_snooped = m.snoop, .privileged = request->with_pasid && privileged,
        .read = rights_fault(unit, &m, privileged, MODEL_READ, false) == 0,
        .write = !no_write && rights_fault(unit, &m, privileged, MODEL_WRITE, false) == 0,
    };
    if (!t.read)
        t.reason = rights_fault(unit, &m, privileged, MODEL_READ, false);
    else if (!t.write)
        t.reason = rights_fault(unit, &m, privileged, MODEL_WRITE, false);
    if (t.read || t.write)
        device_fill(unit, request, address, &t);
    return t;
}

/* A device with a device-TLB ------------------------------------------------------------------------------ */

static const struct cached *device_find(struct model_unit *unit, const struct model_request *request, uint64_t address)
{
    static const uint8_t shifts[] = { 12, 21, 30 };
    struct cached tags = { .source_id = request->source_id, .with_pasid = request->with_pasid, .pasid = request->pasid };

    for (unsigned i = 0; i < sizeof shifts; i++) {
        const struct cached *hit;

        tags.shift = shifts[i];
        tags.page = address >> shifts[i];
        hit = cache_find(unit, MODEL_DEVICE_TLB, &tags);
        if (hit)
            return hit;
    }
    return NULL;
}

static bool grants(const struct model_translation *t, enum model_access access)
{
    return (access == MODEL_WRITE || t->read) && (access == MODEL_READ || t->write);
}

static bool ats_page(struct transfer *t, uint64_t address, unsigned size)
{
    const struct cached *hit = device_find(t->unit, t->request, address);
    struct model_request request = *t->request, plain = *t->request;
    struct model_translation translation;
    struct transfer translated = { t->unit, &plain, t->data, t->result };
    bool ok;

    if (hit && grants(&hit->translation, request.access)) {
        translation = hit->translation;
    } else {
        request.no_write = request.access == MODEL_READ;
        translation = model_translate(t->unit, &request, address);
        if (translation.untranslated_only)
            return untranslated_page(t, address, size);
        if (translation.status != MODEL_SUCCESS || !grants(&translation, request.access)) {
            t->result->outcome = translation.status == MODEL_SUCCESS ? MODEL_RECOVERABLE : MODEL_FAULT;
            t->result->completer_abort = translation.status == MODEL_CA;
            t->result->reason = translation.reason;
            return false;
        }
    }
    plain.with_pasid = false; /* a translated request has none, section 4.2.1 */
    ok = translated_page(&translated, translation.address | (address & mask(translation.shift - 1, 0)), size);
    t->data = translated.data;
    return ok;
}

struct model_result model_dma_ats(struct model_unit *unit, const struct model_request *request, uint64_t address, void *data, uint64_t size)
{
    return by_pages(unit, request, address, data, size, ats_page);
}
