/* SPDX-License-Identifier: BSD-2-Clause */
/* dma.c: requests of devices, and what is wrong with their results. */
#include <stdio.h>
#include <string.h>

#include "iommu/dmar.h"
#include "property.h"

static uint64_t address_for(struct use *use)
{
    const struct hwpt *h = use->hwpt;

    if (use->changing && use->next && percent(50)) {
        const struct hwpt *from = h;

        h = use->next;
        if (from && from->nested && h->nested && h->tree->levels != from->tree->levels) /* what a table of 4 levels left may be found for it */
            return (h->tree->levels == 4 ? h : from)->tree->hot[below(16)] & ((1ULL << 48) - 1);
    }
    if (h && h->nested)
        return percent(97) ? tree_address(h->tree) : 1ULL << below(64);
    return percent(97) ? space_address(h ? h->space : &use->device->guest->space[below(SPACES)]) : 1ULL << below(64);
}

static bool in_tables(uint64_t gpa)
{
    return gpa >= TABLES && gpa < TABLES + TABLE_PAGES * K4;
}

/* A write must not change what the reference reads. */
static bool may_write(const struct outcomes *o)
{
    if (o->many)
        return false;
    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason && in_tables(o->one[i].gpa))
            return false;
    return true;
}

static bool says_done(const struct outcomes *o)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason)
            return true;
    return o->many;
}

static bool says_fault(const struct outcomes *o, uint8_t reason)
{
    for (unsigned i = 0; i < o->count; i++)
        if (o->one[i].reason == reason)
            return true;
    return o->many && reason;
}

static bool is_guests(struct guest_ *g, uint64_t hpa)
{
    for (unsigned i = 0; i < g->host->chunks; i++)
        if (hpa >= g->host->chunk[i].hpa && hpa - g->host->chunk[i].hpa < g->host->chunk[i].size)
            return true;
    return false;
}

static const char *list(const struct outcomes *o, char text[600])
{
    int n = snprintf(text, 600, "allowed:");

    for (unsigned i = 0; i < o->count && n < 560; i++)
        n += o->one[i].reason ? snprintf(text + n, 600 - (size_t)n, " fault %02xh,", o->one[i].reason)
                              : snprintf(text + n, 600 - (size_t)n, " HPA 0x%llx (GPA 0x%llx),", (ull)o->one[i].hpa, (ull)o->one[i].gpa);
    return text;
}

struct page {
    uint64_t address;
    unsigned size;
    bool by_ats;
    struct outcomes allowed;
};

static _Noreturn void wrong(struct device_ *d, const struct model_request *r, const struct page *p, const struct model_result *result, const char *what)
{
    char text[900], allowed[600];

    snprintf(text, sizeof text, "%s: outcome %d, reason %02xh (%s), HPA 0x%llx; %s", what, result->outcome, result->reason,
             model_reason(result->reason), (ull)result->address, list(&p->allowed, allowed));
    dma_fails(d->unit, r, p->address, text);
}

unsigned fault_bit(uint8_t reason, uint8_t access, bool with_pasid, uint32_t pasid, uint64_t address)
{
    uint64_t key = (address & ~(K4 - 1)) ^ (uint64_t)reason << 2 ^ access ^ (with_pasid ? 0x800ULL : 0);

    key = (key ^ (with_pasid ? pasid * 0x9e3779b97f4a7c15ULL : 0)) * 0xbf58476d1ce4e5b9ULL;
    return (unsigned)(key >> 32) % FAULT_BITS;
}

/* The guest may be told: of this page, or with what is left of its address where the unit cuts it. */
static void recorded(struct device_ *d, const struct model_request *r, const struct page *p, uint8_t reason)
{
    static const uint8_t accesses[] = { [MODEL_READ] = NIDUS_FAULT_READ, [MODEL_WRITE] = NIDUS_FAULT_WRITE, [MODEL_ATOMIC] = NIDUS_FAULT_ATOMIC };
    uint8_t access = p->by_ats ? NIDUS_FAULT_READ : accesses[r->access];
    bool with_pasid = r->with_pasid && m.unit[d->unit].pasid;

    for (unsigned width = 39; width <= 66; width += 9) {
        uint64_t address = width < 64 ? p->address & ((1ULL << width) - 1) : p->address;
        unsigned bit = fault_bit(reason, access, with_pasid, r->pasid, address);

        d->faults[bit / 8] |= 1u << bit % 8;
    }
    d->guest->faults++;
}

/* The last page that the request came to. */
static void judge(struct device_ *d, const struct model_request *r, const struct page *p, const struct model_result *result)
{
    bool found = false;

    if (result->outcome == MODEL_FAULT || (p->by_ats && result->outcome == MODEL_RECOVERABLE)) {
        if (result->outcome == MODEL_FAULT)
            recorded(d, r, p, result->reason);
        if (!says_fault(&p->allowed, result->reason))
            wrong(d, r, p, result, "this fault is not what the tables say");
        return;
    }
    if (result->outcome != MODEL_DONE)
        wrong(d, r, p, result, "no fault, and not done");
    if (p->size && !is_guests(d->guest, result->address))
        wrong(d, r, p, result, "DMA REACHED MEMORY OUTSIDE ITS GUEST");
    for (unsigned i = 0; i < p->allowed.count; i++)
        found |= !p->allowed.one[i].reason && p->allowed.one[i].hpa == result->address;
    if (!found && !p->allowed.many && (p->size || !says_done(&p->allowed)))
        wrong(d, r, p, result, "this memory is not what the tables say");
}

/* The bytes at the only place where they can be. */
static void check_data(struct device_ *d, const struct model_request *r, const struct page *p, const struct model_result *result, uint64_t data)
{
    const struct outcome *o = &p->allowed.one[0];
    uint64_t memory = 0;

    if (p->allowed.count != 1 || o->reason || !p->size || in_tables(o->gpa) || r->access == MODEL_ATOMIC)
        return;
    memcpy(&memory, host_guest_byte(d->guest->host, o->gpa), p->size);
    if (memory != data)
        wrong(d, r, p, result, "the data is not what memory holds");
}

/* What second stages are to say of it, if they are tracked.  A translation request marks what it may write. */
static void writes(struct use *use, const struct model_request *r, const struct page *p, bool done)
{
    bool sure = done && p->size && r->access != MODEL_READ && !use->changing && !use->device->silent;

    if (r->access == MODEL_READ && !p->by_ats)
        return;
    dirty_written(use->hwpt, p->address, sure);
    if (use->changing)
        dirty_written(use->next, p->address, false);
}

static bool is_settled(const struct use *use)
{
    return use->hwpt && use->hwpt->nested && !use->hwpt->stales && !use->changing && !use->hwpt->space->changing;
}

static void one_page(struct use *use, struct model_request *r, uint64_t address, unsigned size)
{
    struct device_ *d = use->device;
    struct page p = { .address = address, .size = size, .by_ats = size && !r->privileged && ats_is_on(d) && percent(85) };
    struct model_result result;
    uint64_t data = below(1ULL << 31) << (size == 8 ? 32 : 0) | (below(1ULL << 31) & ~1ULL);

    expect(use, r, address, size == 0, p.by_ats, &p.allowed);
    if (r->access != MODEL_READ && !may_write(&p.allowed)) {
        r->access = MODEL_READ;
        expect(use, r, address, size == 0, p.by_ats, &p.allowed);
    }
    if (address % 8 == 0 && r->access != MODEL_READ)
        data &= ~1ULL;
    if (size < 8)
        data &= (1ULL << 8 * size) - 1;
    result = (p.by_ats ? model_dma_ats : model_dma)(m.unit[d->unit].model, r, address, &data, size);
    judge(d, r, &p, &result);
    writes(use, r, &p, result.outcome == MODEL_DONE);
    if (result.outcome == MODEL_DONE) {
        if (!p.by_ats && !result.snooped && m.unit[d->unit].forces_snoop && !(d->properties & DMAR_NO_PGSNP))
            wrong(d, r, &p, &result, "a request passed by the caches");
        check_data(d, r, &p, &result, data);
        if (is_settled(use) && p.allowed.count == 1 && size && !marks_set(use, address, r->access != MODEL_READ))
            wrong(d, r, &p, &result, "done, and the accessed or dirty flags on the way are not set");
    }
}

/* Eight bytes across a page's end. */
static void two_pages(struct use *use, struct model_request *r, uint64_t address)
{
    struct device_ *d = use->device;
    struct page p[2] = { { .address = address | 0xffc, .size = 4 }, { .address = (address | 0xfff) + 1, .size = 4 } };
    struct model_result result;
    uint8_t data[8] = { 0 };
    bool by_ats = !r->privileged && ats_is_on(d) && percent(50);

    for (unsigned i = 0; i < 2; i++) {
        p[i].by_ats = by_ats;
        expect(use, r, p[i].address, false, by_ats, &p[i].allowed);
        if (r->access != MODEL_READ && !may_write(&p[i].allowed)) {
            r->access = MODEL_READ;
            i = (unsigned)-1;
        }
    }
    result = (by_ats ? model_dma_ats : model_dma)(m.unit[d->unit].model, r, p[0].address, data, sizeof data);
    for (unsigned i = 0; i < 2; i++)
        writes(use, r, &p[i], false);
    if (result.done < 4) {
        judge(d, r, &p[0], &result);
        return;
    }
    if (!says_done(&p[0].allowed))
        wrong(d, r, &p[0], &result, "the first page of two was done");
    judge(d, r, &p[1], &result);
}

/* Requests that no device may make: with the PASID of those without, and translated ones. */
static void forbidden(struct device_ *d, struct model_request *r, uint64_t address)
{
    struct page p = { .address = address, .size = 4 };
    struct model_result result;
    uint32_t data = 0;

    r->privileged = false;
    r->with_pasid = one_in(3) || d->ats;
    if (r->with_pasid) {
        r->pasid = 0;
        expect(&d->use[0], r, address, false, false, &p.allowed);
        result = model_dma(m.unit[d->unit].model, r, address, &data, 4);
    } else {
        if (percent(50))
            p.address = HOST_MEMORY_BASE + below(HOST_RAM_BYTES);
        expect(&d->use[0], r, p.address, false, false, &p.allowed);
        for (unsigned i = 0; i < p.allowed.count; i++)
            if (p.allowed.one[i].reason != 0x41 && p.allowed.one[i].reason != 0x39)
                p.allowed.one[i].reason = 0x44;
        result = model_dma_translated(m.unit[d->unit].model, r, p.address, &data, 4);
    }
    judge(d, r, &p, &result);
}

/* Somebody that has it; mostly without PASID and with a TLB of its own, if there is one: its invalidation is what the queue may get wrong. */
static struct use *some_use(const struct hwpt *h)
{
    unsigned from = (unsigned)below(m.devices * USES);
    struct use *found = NULL;

    for (unsigned i = 0; h && i < m.devices * USES; i++) {
        unsigned at = (from + i) % (m.devices * USES);
        struct device_ *d = &m.device[at / USES];

        if (d->use[at % USES].hwpt != h)
            continue;
        found = found ? found : &d->use[at % USES];
        if (at % USES == 0 && ats_is_on(d) && percent(70))
            return &d->use[0];
    }
    return found;
}

static bool has_sre(const struct hwpt *h)
{
    return h && h->nested && h->sre;
}

static void dma(struct device_ *d)
{
    struct use *watched = m.watched && percent(95) ? some_use(m.watched) : NULL;
    struct use *use = watched ? watched : m.focus && percent(75) ? m.focus : &d->use[percent(d->pasids ? 50 : 95) ? 0 : below(USES)];
    struct model_request r = { .source_id = d->source_id, .with_pasid = use->pasid, .pasid = use->pasid, .access = percent(45) ? MODEL_READ : percent(90) ? MODEL_WRITE : MODEL_ATOMIC };
    uint64_t address = (watched ? m.watched_at : address_for(use)) & ~7ULL;
    unsigned kind = (unsigned)below(watched ? 80 : 100);

    if (watched && percent(60)) /* what is cached serves it, dirty or not */
        r.access = MODEL_READ;
    d = use->device;
    r.source_id = d->source_id;
    r.privileged = use->pasid && one_in(use->changing && (has_sre(use->hwpt) || has_sre(use->next)) ? 2 : 5);
    r.no_snoop = one_in(4);

    if ((address & ~0xfffULL) >> 20 == 0xfee || address >> 20 == 0xfed) /* interrupts */
        return;
    if (kind < 80)
        one_page(use, &r, address + 8 * below(512), percent(50) ? 4 : 8);
    else if (kind < 84)
        one_page(use, &r, address, 1 + (unsigned)below(7));
    else if (kind < 88)
        one_page(use, &r, address, r.access == MODEL_ATOMIC ? 8 : 0);
    else if (kind < 98 && r.access != MODEL_ATOMIC)
        two_pages(use, &r, address);
    else
        forbidden(d, &r, address);
}

/* A function that nobody has. */
static void stranger(void)
{
    struct model_request r = { .source_id = (uint16_t)(0x0200 + below(64)), .access = percent(50) ? MODEL_READ : MODEL_WRITE };
    unsigned unit = (unsigned)below(m.units);
    uint32_t data = 0;
    uint64_t address = HOST_MEMORY_BASE + below(1 << 28) / 4 * 4;
    struct model_result result = model_dma(m.unit[unit].model, &r, address, &data, 4);

    if (result.outcome != MODEL_FAULT || (result.reason != 0x39 && result.reason != 0x41))
        dma_fails(unit, &r, address, "a function of nobody is not blocked");
}

static void all_go_to(const struct hwpt *h, uint64_t address, bool write)
{
    if (address >> 20 == 0xfee || address >> 20 == 0xfed)
        return;
    for (unsigned i = 0; i < m.devices; i++)
        for (unsigned n = 0; n < USES; n++) {
            struct use *use = &m.device[i].use[n];
            struct model_request r = {
                .source_id = m.device[i].source_id, .with_pasid = use->pasid, .pasid = use->pasid,
                .access = write || one_in(3) ? MODEL_WRITE : MODEL_READ,
            };

            if (use->hwpt == h)
                one_page(use, &r, address & ~7ULL, 4);
        }
}

void look_at(const struct hwpt *h, uint64_t address)
{
    all_go_to(h, address, false);
}

void write_at(const struct hwpt *h, uint64_t address)
{
    all_go_to(h, address, true);
}

void some_dma(void)
{
    if (one_in(200))
        stranger();
    else
        dma(&m.device[below(m.devices)]);
}

void dma_burst(struct guest_ *g)
{
    struct device_ *d = NULL;
    unsigned from = (unsigned)below(m.devices);

    for (unsigned i = 0; i < m.devices; i++) {
        struct device_ *other = &m.device[(from + i) % m.devices];

        if (other->guest == g && (!d || m.unit[other->unit].records > m.unit[d->unit].records))
            d = other;
    }
    for (uint64_t i = 2 + below(8); d && i > 0; i--)
        dma(d);
}

void dma_within_call(void)
{
    if (m.no_dma || !(m.watched ? percent(75) : m.focus ? percent(60) : one_in(6)))
        return;
    m.in_call = false;
    dma(&m.device[below(m.devices)]);
    m.in_call = true;
}

void require_blocked(struct device_ *d)
{
    bool attached = false;

    for (unsigned i = 0; i < USES; i++)
        attached |= d->use[i].hwpt != NULL;
    if (!attached && (d->function->bus_master || ats_is_on(d)))
        fails("device %04x has nothing attached, and %s is on", d->source_id, d->function->bus_master ? "Bus Master" : "ATS");
    for (unsigned i = 0; i < 3; i++) {
        struct use *use = &d->use[i ? 0 : below(USES)];
        struct model_request r = {
            .source_id = d->source_id, .with_pasid = use->pasid, .pasid = use->pasid, .access = i ? MODEL_READ : MODEL_WRITE,
        };
        uint64_t address = address_for(use);

        if (address >> 20 != 0xfee && address >> 20 != 0xfed)
            one_page(use, &r, address & ~7ULL, 4);
    }
}
