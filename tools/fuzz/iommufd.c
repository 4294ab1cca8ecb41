/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iommufd.c: any bytes as what several guests do: calls with payloads, first-stage tables, DMA of their devices, on remapping units of several
 * kinds (tools/vtd-model), against all of iommu/.
 *
 * The input chooses the machine (tools/test/property/machine.c), then operation after operation until it ends.  A payload is what a guest could mean,
 * built from a few ids and addresses, now and then with bytes of the input over it; or it is bytes of the input alone.  Devices do DMA
 * between operations, and between any two stores of a call.  Whatever is asked for, it must hold that
 *   - no request of a device, with a PASID or without, reaches memory that is not its guest's, none as translated, no interrupt;
 *   - the driver does nothing against the specification (the model's violations);
 *   - a group of page requests, which devices make where an attachment has a fault queue, is answered once at the most;
 *   - a call ends with an errno that there is, in bounded work and with few lines of the log, and a payload that was refused is as it was;
 *   - when all guests have ended nothing of theirs is left, and of nidus's own pages just the context tables.
 * A unit may fall silent, and then memory stays in use for ever; the rest holds all the same.
 *
 * FUZZ_TRACE=1 in the environment: each operation is a line.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/unit.h"
#include "tools/test/host/whole_call.h"
#include "tools/test/property/property.h"

#define OPERATIONS   300u
#define MOST_LINES   40u        /* of one call: each may fence off every unit and name each device */
#define TABLE_TOPS   4u
#define POOL_PAGES   480u       /* of first-stage tables, behind the tops */
#define RECENT       8u
#define KNOWN        8u

enum kind { DEVICE, IOAS, PAGING, PARENT, NESTED, QUEUE, VIOMMU, EVENTS, KINDS };

static const uint8_t *input;
static size_t left;
static uint64_t recent[RECENT]; /* IOVAs of late */
static unsigned recents;
static uint32_t chance;         /* of what happens within calls: it takes no input, so that a store more does not change what follows */
static bool wrote;              /* a device wrote to memory during the call */
static bool trace;
static bool deaf;               /* a device does not answer invalidations of its TLB */
static struct {                 /* groups of page requests that a device ended, and answers that it got */
    unsigned asked, answered;
} groups[DEVICES];
static struct {                 /* ids that a guest has seen of each kind, the latest at [seen - 1] */
    uint32_t id[KNOWN];
    unsigned seen;
} known[GUESTS][KINDS];

/* What machine.c wants of its surroundings ----------------------------------------------------------------- */

uint64_t below(uint64_t n)
{
    uint64_t value = 0;
    for (unsigned bytes = n <= 0x100 ? 1 : n <= 0x10000 ? 2 : 8; bytes; bytes--) {
        value = value << 8 | (left ? *input++ : 0);
        left -= left != 0;
    }
    return value % n;
}

void note_(const char *format, const ull *numbers, unsigned count)
{
    ull n[6] = { 0 };
    if (!trace)
        return;
    memcpy(n, numbers, count * sizeof *numbers);
    fprintf(stderr, format, n[0], n[1], n[2], n[3], n[4], n[5]);
    fputc('\n', stderr);
}

void fails(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "fuzz iommufd: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

void require_no_violation(void)
{
    for (unsigned i = 0; i < model_violations(m.model) && i < 64; i++)
        if (!m.broken || !strstr(model_violation(m.model, i), "queue error 2")) /* a descriptor that was made unreadable */
            fails("against the specification: %s", model_violation(m.model, i));
}

/* What is left behind a unit that broke is meant to be; machine_stop looks at the rest. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void learn(const struct guest_ *g, enum kind kind, uint32_t id)
{
    known[g - m.guest][kind].id[known[g - m.guest][kind].seen++ % KNOWN] = id;
}

/* A guest that starts knows its devices and its default IOAS; nobody keeps account of what it maps. */
void space_adopt_ram(struct guest_ *g, struct space *s)
{
    (void)s;
    memset(&known[g - m.guest], 0, sizeof known[0]);
    learn(g, IOAS, iommu_default_ioas(g->context));
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g)
            learn(g, DEVICE, m.device[i].id);
}

void tables_forget(struct guest_ *g) { (void)g; }

/* Addresses --------------------------------------------------------------------------------------------- */

static uint64_t any(void) { return below(UINT64_MAX); }

static uint64_t page_of(uint64_t base, uint64_t pages) { return base + below(pages < 256 ? pages : 256) * K4; }

static uint64_t some_gpa(void)
{
    switch (below(8)) {
    case 0: return page_of(0, PRIVATE_PAGES + 1);
    case 1: return page_of(TABLES, 512);
    case 2: return page_of(MORE, MORE_PAGES + 1);
    case 3: return DATA + DATA_BYTES / 2 - below(4) * K4;
    case 4: return DATA + below(5) * M2;
    case 5: return any();
    default: return page_of(DATA, 256);
    }
}

static uint64_t some_address(void)
{
    static const uint64_t places[] = {
        0, 0x200000, 0x40000000, 0x7fffffe000, 0x8000000000, 0x7fffffffe000, 0xffff800000000000, 0xfedff000, 0xfee00000, 0xfef00000,
        1ULL << 47, 1ULL << 48, 1ULL << 57, 0xffffffffffe00000, UINT64_MAX, UINT64_MAX & ~(K4 - 1),
    };
    switch (below(4)) {
    case 0: return recent[below(RECENT)] + below(3) * K4;
    case 1: return places[below(sizeof places / sizeof *places)] + below(4) * K4;
    default: return some_gpa();
    }
}

static uint64_t some_length(void)
{
    switch (below(8)) {
    case 0: return (1 + below(4)) * M2;
    case 1: return DATA_BYTES;
    case 2: return below(2) ? UINT64_MAX : 0;
    case 3: return any();
    default: return (1 + below(16)) * K4;
    }
}

static uint32_t some_id(const struct guest_ *g, enum kind kind)
{
    unsigned seen = known[g - m.guest][kind].seen, which = (unsigned)below(16);
    if (which == 15)
        return (uint32_t)any();
    if (which == 14 || !seen)
        return 1 + (uint32_t)below(20);
    return known[g - m.guest][kind].id[which % (seen < KNOWN ? seen : KNOWN)];
}

/* Something to attach to. */
static enum kind some_kind(void) { return (enum kind)(IOAS + below(KINDS - IOAS)); }

/* Requests ---------------------------------------------------------------------------------------------- */

static bool is_guests(const struct guest_ *g, uint64_t hpa)
{
    for (unsigned i = 0; i < g->host->chunks; i++)
        if (hpa >= g->host->chunk[i].hpa && hpa - g->host->chunk[i].hpa < g->host->chunk[i].size)
            return true;
    return false;
}

/* pasid 0: none. */
static void request(struct device_ *d, uint32_t pasid, enum model_access access, uint64_t address, unsigned size)
{
    struct model_request r = { .source_id = d->source_id, .with_pasid = pasid, .pasid = pasid, .access = access };
    uint64_t data = 0x1122334455667788;
    struct model_unit *unit = m.unit[d->unit].model;
    bool by_tlb = d->ats && address / 8 % 2;
    struct model_result result = by_tlb ? model_dma_ats(unit, &r, address, &data, size) : model_dma(unit, &r, address, &data, size);
    if (result.outcome == MODEL_FAULT || (by_tlb && result.outcome == MODEL_RECOVERABLE))
        return;
    wrote |= access != MODEL_READ;
    if (result.outcome != MODEL_DONE)
        fails("device %04x, address 0x%llx: no fault, and not done: %d", d->source_id, (ull)address, result.outcome);
    if (size && !is_guests(d->guest, result.address))
        fails("device %04x, address 0x%llx: DMA REACHED 0x%llx, which is not its guest's", d->source_id, (ull)address, (ull)result.address);
    if (!d->assigned && (!m.broken || host_function(0, d->source_id)->bus_master)) /* the model's devices go on without Bus Master */
        fails("device %04x, address 0x%llx: DMA after its guest's end", d->source_id, (ull)address);
}

/* Few, so that requests meet attachments. */
static uint32_t some_pasid(void) { return below(4) ? 0 : below(8) ? 1 + (uint32_t)below(3) : (uint32_t)below(1 << 20); }

static void dma(struct device_ *d, uint64_t address)
{
    uint32_t pasid = some_pasid();
    enum model_access access = (enum model_access)below(3);
    unsigned size = access == MODEL_ATOMIC ? 4 : (unsigned)below(access == MODEL_READ ? 9 : 8) + (access != MODEL_READ);
    address = (address & ~15ULL) + 8 * below(2);
    note("DMA of %04llx: PASID %llu, access %llu, address 0x%llx, %llu bytes", d->source_id, pasid, access, address, size);
    if (address >> 20 != 0xfee)
        request(d, pasid, access, address, size);
}

/* What nidus knows of it; NULL: it is nobody's. */
static struct device *device_of(const struct device_ *d)
{
    for (const struct unit *u = units; u; u = u->next)
        if (u->base == UNIT_BASE + d->unit * K4)
            return unit_device(u, d->source_id);
    return NULL;
}

/* May the device send translated requests?  Not when it left an invalidation without an answer. */
static bool sends_translated(const struct device_ *d)
{
    const struct device *dev = device_of(d);
    return dev && dev->tlb.wanted;
}

static bool sends_page_requests(const struct device_ *d)
{
    const struct device *dev = device_of(d);
    return dev && dev->tlb.requests;
}

/* What no device may do: most have no ATS, none has interrupts, or may name the PASID of requests without. */
static void forbidden(struct device_ *d)
{
    struct model_unit *unit = m.unit[d->unit].model;
    uint64_t address = below(2) ? HOST_MEMORY_BASE + below(HOST_TABLE_BYTES + HOST_RAM_BYTES) / 4 * 4 : some_address() & ~7ULL;
    struct model_request r = { .source_id = d->source_id, .with_pasid = below(2), .access = (enum model_access)below(2) };
    struct model_translation t;
    struct model_interrupt interrupt;
    uint32_t data = (uint32_t)below(256);
    unsigned kind = (unsigned)below(3);
    bool done = false;
    note("device %04llx: forbidden request %llu, address 0x%llx, with PASID %llu", d->source_id, kind, address, r.with_pasid);
    switch (kind) {
    case 0: done = !sends_translated(d) && model_dma_translated(unit, &r, address, &data, 4).outcome != MODEL_FAULT; break;
    case 1:
        t = model_translate(unit, &r, address);
        done = t.status == MODEL_SUCCESS && ((!sends_translated(d) && !m.broken) || ((t.read || t.write) && !t.untranslated_only && !is_guests(d->guest, t.address)));
        break;
    default: done = model_interrupt(unit, d->source_id, 0xfee00000 | (address & 0xffffc), data, &interrupt).outcome != MODEL_FAULT; break;
    }
    if (r.with_pasid && address >> 20 != 0xfee)
        done |= model_dma(unit, &r, address, &data, 4).outcome != MODEL_FAULT;
    if (done)
        fails("device %04x: something that it may not do was done", d->source_id);
}

/* A device asks for a page.  What the unit takes goes to the fault queue of what the device is attached to. */
static void page_request(struct device_ *d)
{
    for (unsigned i = 0; i < m.devices && !sends_page_requests(d); i++) /* one that may, if there is one */
        d = &m.device[i];
    uint32_t pasid = some_pasid();
    struct model_page_request r = {
        .source_id = d->source_id, .address = some_address() & ~(K4 - 1), .with_pasid = pasid, .pasid = pasid, .group = (uint16_t)below(8),
    };
    unsigned bits = (unsigned)below(16);
    r.read = bits & 1;
    r.write = bits & 2;
    r.last = bits & 4;
    r.privileged = pasid && bits & 8;
    note("page request of %04llx: PASID %llu, address 0x%llx, group %llu, bits %llu", d->source_id, pasid, r.address, r.group, bits);
    if (model_page_request(m.unit[d->unit].model, &r) != MODEL_PAGE_QUEUED)
        return;
    if (!sends_page_requests(d) && !m.broken) /* a unit that does not answer keeps the context entry that it has cached */
        fails("device %04x: a page request was taken that it may not make", d->source_id);
    groups[d - m.device].asked += r.last && (r.read || r.write); /* else it is a part, or a stop marker (PCIe 10.4.1.2) */
}

/* What the devices were answered. */
static void take_answers(void)
{
    struct model_page_response answer;
    for (unsigned u = 0; u < m.units; u++)
        while (model_page_response(m.unit[u].model, &answer)) {
            bool asked = false;
            for (unsigned i = 0; i < m.devices; i++)
                if (m.device[i].unit == u && m.device[i].source_id == answer.source_id)
                    asked = ++groups[i].answered <= groups[i].asked;
            note("answer to %04llx: group %llu, code %llu", answer.source_id, answer.group, answer.code);
            if (!asked)
                fails("device %04x, group %u: an answer to what it did not ask", answer.source_id, answer.group);
        }
}

/* Between two stores of the driver. */
void dma_within_call(void)
{
    struct device_ *d;
    chance = chance * 1664525 + 1013904223;
    d = &m.device[(chance >> 16) % m.devices];
    if (chance >> 29 && !m.no_dma)
        return;
    m.in_call = false;
    request(d, chance >> 5 & 3 ? 0 : 1, chance >> 27 & 1 ? MODEL_READ : MODEL_WRITE, recent[chance >> 24 & 7] + (chance >> 8 & 3) * K4 + (chance >> 4 & 8), 4);
    m.in_call = true;
}

static void require_blocked_with(struct device_ *d, uint32_t pasid)
{
    struct model_request r = { .source_id = d->source_id, .with_pasid = pasid, .pasid = pasid };
    uint32_t data;
    for (unsigned i = 0; i < RECENT && !m.broken; i++)
        if (model_dma(m.unit[d->unit].model, &r, recent[i] & ~7ULL, &data, 4).outcome != MODEL_FAULT)
            fails("device %04x, PASID %u: it is not blocked", d->source_id, pasid);
}

void require_blocked(struct device_ *d)
{
    for (uint32_t pasid = 0; pasid < 4; pasid++)
        require_blocked_with(d, pasid);
}

/* Calls ------------------------------------------------------------------------------------------------- */

static void remember(uint64_t iova)
{
    if (iova >> 20 != 0xfee)
        recent[recents++ % RECENT] = iova & ~7ULL;
}

/* Most payloads are at the same place; some cross pages, some leave RAM. */
static uint64_t payload_place(void)
{
    switch (below(16)) {
    case 0: return 0x2000 - 8 * (1 + below(5));
    case 1: return MORE + MORE_PAGES * K4 - below(64);
    case 2: return any();
    default: return 0x1000;
    }
}

static void check_result(uint64_t nr, int64_t result)
{
    static const int errors[] = {
        0, NIDUS_ENOENT, NIDUS_E2BIG, NIDUS_ENOMEM, NIDUS_EFAULT, NIDUS_EBUSY, NIDUS_EEXIST, NIDUS_EINVAL, NIDUS_ENOTTY, NIDUS_ENOSPC,
        NIDUS_EOVERFLOW, NIDUS_EOPNOTSUPP, NIDUS_EADDRINUSE, NIDUS_ENODEV, NIDUS_ESPIPE, NIDUS_EPERM, NIDUS_EMSGSIZE,
    };
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
        if (result == -errors[i])
            return;
    if (result != -NIDUS_EIO || !(m.broken || deaf))
        fails("call 0x%llx ended with %lld", (ull)nr, (long long)result);
}

/* payload, of at most 64 bytes, goes to the guest and comes back. */
static int64_t call_with(struct guest_ *g, uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    uint8_t after[64];
    uint64_t gpa = payload_place();
    bool placed = platform_guest_write(g->host, gpa, payload, size) == 0;
    unsigned lines = host_log_lines();
    int64_t result;
    wrote = false;
    m.in_call = true;
    result = whole_call(g->context, nr, gpa, device);
    m.in_call = false;
    note("guest %llu: call 0x%llx at 0x%llx, device %llu: %lld", (ull)(g - m.guest), nr, gpa, device, (ull)result);
    check_result(nr, result);
    if (host_log_lines() - lines > MOST_LINES)
        fails("call 0x%llx: %u lines of the log", (ull)nr, host_log_lines() - lines);
    if (!placed)
        return result;
    platform_guest_read(g->host, gpa, after, size);
    if (result != 0 && result != -NIDUS_EMSGSIZE && nr != NIDUS_CALL_HWPT_INVALIDATE && !wrote && memcmp(after, payload, size))
        fails("call 0x%llx was refused (%lld) and changed its payload", (ull)nr, (long long)result);
    memcpy(payload, after, size);
    return result;
}

/* Bytes of the input over what the guest could have meant. */
static void spoil(void *payload, uint32_t size)
{
    if (below(8))
        return;
    for (unsigned bytes = 1 + (unsigned)below(4), at = (unsigned)below(size); bytes; bytes--, at = (at + 1) % size)
        ((uint8_t *)payload)[at] = (uint8_t)below(256);
}

#define CALL(g, nr, payload, device) \
    do { spoil(&payload, sizeof payload); call_with(g, nr, &payload, sizeof payload, device); } while (0)

static void map(struct guest_ *g)
{
    struct nidus_ioas_map p = { .size = sizeof p, .flags = below(8) ? 7 : (uint32_t)below(16), .ioas_id = some_id(g, IOAS), .user_va = some_gpa() };
    p.length = some_length();
    p.iova = some_address();
    CALL(g, NIDUS_CALL_IOAS_MAP, p, 0);
    remember(p.iova);
}

static void unmap(struct guest_ *g)
{
    struct nidus_ioas_unmap p = { .size = sizeof p, .ioas_id = some_id(g, IOAS), .iova = some_address() };
    p.length = some_length();
    if (p.length == UINT64_MAX && below(2))
        p.iova = 0;
    remember(p.iova);
    CALL(g, NIDUS_CALL_IOAS_UNMAP, p, 0);
}

static void copy(struct guest_ *g)
{
    struct nidus_ioas_copy p = { .size = sizeof p, .flags = below(8) ? 7 : (uint32_t)below(16), .dst_ioas_id = some_id(g, IOAS) };
    p.src_ioas_id = some_id(g, IOAS);
    p.length = some_length();
    p.src_iova = some_address();
    p.dst_iova = some_address();
    CALL(g, NIDUS_CALL_IOAS_COPY, p, 0);
    remember(p.dst_iova);
}

static void iovas(struct guest_ *g)
{
    struct nidus_iova_range r[4];
    struct nidus_ioas_allow_iovas allow = { .size = sizeof allow, .ioas_id = some_id(g, IOAS), .num_iovas = (uint32_t)below(5), .allowed_iovas = 0x3000 };
    struct nidus_ioas_iova_ranges ranges = { .size = sizeof ranges, .ioas_id = some_id(g, IOAS), .num_iovas = (uint32_t)below(5), .allowed_iovas = 0x3000 };
    struct nidus_option option = {
        .size = sizeof option, .option_id = (uint32_t)below(2), .op = (uint16_t)below(2), .object_id = some_id(g, IOAS), .val64 = below(2),
    };
    for (unsigned i = 0; i < 4; i++) {
        r[i].start = some_address();
        r[i].last = r[i].start + some_length() - 1;
    }
    switch (below(3)) {
    case 0:
        platform_guest_write(g->host, allow.allowed_iovas, r, sizeof r);
        CALL(g, NIDUS_CALL_IOAS_ALLOW_IOVAS, allow, 0);
        break;
    case 1: CALL(g, NIDUS_CALL_IOAS_IOVA_RANGES, ranges, 0); break;
    default: CALL(g, NIDUS_CALL_OPTION, option, 0); break;
    }
}

static void dirty(struct guest_ *g)
{
    struct nidus_hwpt_set_dirty_tracking set = {
        .size = sizeof set, .flags = below(4) != 0, .hwpt_id = some_id(g, below(2) ? PAGING : PARENT),
    };
    struct nidus_hwpt_get_dirty_bitmap get = {
        .size = sizeof get, .hwpt_id = some_id(g, below(2) ? PAGING : PARENT), .flags = (uint32_t)below(2), .data = 0x3000 + below(64),
    };
    get.page_size = K4 << below(20);
    get.iova = some_address() & ~(get.page_size - 1);
    get.length = get.page_size * (1 + below(512));
    if (below(3) == 0)
        CALL(g, NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, set, 0);
    else
        CALL(g, NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, get, 0);
}

/* Of page requests, if the HWPT is to have one; there is one as soon as it is wanted. */
static void with_queue(struct guest_ *g, struct nidus_hwpt_alloc *p)
{
    struct nidus_fault_alloc queue = { .size = sizeof queue };
    if (below(2))
        return;
    if (!known[g - m.guest][QUEUE].seen) {
        CALL(g, NIDUS_CALL_FAULT_QUEUE_ALLOC, queue, 0);
        if (queue.out_fault_id)
            learn(g, QUEUE, queue.out_fault_id);
    }
    p->flags |= NIDUS_HWPT_FAULT_ID_VALID;
    p->fault_id = some_id(g, QUEUE);
}

static void alloc_paging(struct guest_ *g)
{
    struct nidus_hwpt_alloc p = { .size = sizeof p, .flags = below(8) ? below(4) != 0 : (uint32_t)below(32), .dev_id = some_id(g, DEVICE), .pt_id = some_id(g, IOAS) };
    p.flags |= below(2) ? NIDUS_HWPT_ALLOC_PASID : 0;
    p.flags |= below(2) ? NIDUS_HWPT_ALLOC_DIRTY_TRACKING : 0;
    if (!(p.flags & NIDUS_HWPT_ALLOC_NEST_PARENT))
        with_queue(g, &p);
    CALL(g, NIDUS_CALL_HWPT_ALLOC, p, 0);
    if (p.out_hwpt_id)
        learn(g, p.flags & NIDUS_HWPT_ALLOC_NEST_PARENT ? PARENT : PAGING, p.out_hwpt_id);
}

static void alloc_nested(struct guest_ *g)
{
    struct nidus_hwpt_vtd_s1 s1 = {
        .flags = below(4) ? 0 : below(16), .pgtbl_addr = below(8) ? TABLES + below(TABLE_TOPS) * K4 : some_address(),
        .addr_width = below(4) ? 48 : below(4) ? 57 : (uint32_t)below(256),
    };
    struct nidus_hwpt_alloc p = {
        .size = sizeof p, .flags = below(2) ? NIDUS_HWPT_ALLOC_PASID : 0, .dev_id = some_id(g, DEVICE), .pt_id = some_id(g, PARENT), .data_type = 1, .data_len = sizeof s1, .data_uptr = 0x3000,
    };
    if (below(4) == 0)
        p.pt_id = some_id(g, VIOMMU);
    with_queue(g, &p);
    if (below(16) == 0)
        p.data_uptr = some_gpa();
    spoil(&s1, sizeof s1);
    platform_guest_write(g->host, p.data_uptr, &s1, sizeof s1);
    CALL(g, NIDUS_CALL_HWPT_ALLOC, p, 0);
    if (p.out_hwpt_id)
        learn(g, NESTED, p.out_hwpt_id);
}

static void invalidate(struct guest_ *g)
{
    struct nidus_hwpt_vtd_s1_invalidate e[8];
    struct nidus_hwpt_invalidate p = { .size = sizeof p, .hwpt_id = some_id(g, NESTED), .data_uptr = 0x3000, .entry_len = sizeof *e };
    unsigned entries = (unsigned)below(9);
    for (unsigned i = 0; i < entries; i++) {
        e[i] = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = some_address() & ~(K4 - 1), .npages = below(8) ? 1 + below(40) : any() };
        e[i].flags = (uint32_t)below(2);
        spoil(&e[i], sizeof e[i]);
    }
    p.entry_num = entries;
    if (below(16) == 0) { /* what lies there, and perhaps no RAM behind it */
        p.entry_num = (uint32_t)below(1 << 20);
        p.data_uptr = below(2) ? some_gpa() : MORE + MORE_PAGES * K4 - 24 * below(4);
    } else {
        platform_guest_write(g->host, p.data_uptr, e, entries * sizeof *e);
    }
    CALL(g, NIDUS_CALL_HWPT_INVALIDATE, p, 0);
}

static void attach(struct guest_ *g)
{
    struct nidus_vfio_attach p = { .argsz = 12, .pt_id = some_id(g, some_kind()), .pasid = some_pasid() };
    if (p.pasid)
        p.argsz = 16, p.flags = NIDUS_VFIO_ATTACH_PASID;
    uint32_t size = p.argsz;
    spoil(&p, size);
    call_with(g, NIDUS_CALL_ATTACH, &p, size, some_id(g, DEVICE));
}

static void detach(struct guest_ *g)
{
    struct nidus_vfio_detach p = { .argsz = 8, .pasid = some_pasid() };
    if (p.pasid)
        p.argsz = 12, p.flags = NIDUS_VFIO_DETACH_PASID;
    uint32_t id = some_id(g, DEVICE), size = p.argsz;
    spoil(&p, size);
    if (call_with(g, NIDUS_CALL_DETACH, &p, size, id) != 0)
        return;
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g && m.device[i].id == id)
            require_blocked_with(&m.device[i], p.flags & NIDUS_VFIO_DETACH_PASID ? p.pasid : 0);
}

static void alloc_for_events(struct guest_ *g)
{
    struct nidus_fault_alloc queue = { .size = sizeof queue };
    struct nidus_viommu_alloc viommu = { .size = sizeof viommu, .type = NIDUS_VIOMMU_TYPE_VTD, .dev_id = some_id(g, DEVICE), .hwpt_id = some_id(g, PARENT) };
    struct nidus_vdevice_alloc device = { .size = sizeof device, .viommu_id = some_id(g, VIOMMU), .dev_id = some_id(g, DEVICE), .virt_id = below(4) };
    struct nidus_veventq_alloc events = { .size = sizeof events, .viommu_id = some_id(g, VIOMMU), .type = NIDUS_VEVENTQ_TYPE_VTD_FAULT, .veventq_depth = 4 };
    switch (below(4)) {
    case 0:
        CALL(g, NIDUS_CALL_FAULT_QUEUE_ALLOC, queue, 0);
        if (queue.out_fault_id)
            learn(g, QUEUE, queue.out_fault_id);
        break;
    case 1:
        CALL(g, NIDUS_CALL_VIOMMU_ALLOC, viommu, 0);
        if (viommu.out_viommu_id)
            learn(g, VIOMMU, viommu.out_viommu_id);
        break;
    case 2: CALL(g, NIDUS_CALL_VDEVICE_ALLOC, device, 0); break;
    default:
        CALL(g, NIDUS_CALL_VEVENTQ_ALLOC, events, 0);
        if (events.out_veventq_id)
            learn(g, EVENTS, events.out_veventq_id);
        break;
    }
}

static void events(struct guest_ *g)
{
    struct nidus_event_io io = { .size = sizeof io, .channel = (uint32_t)below(4), .data_uptr = 0x4000, .data_len = 40 * (uint32_t)below(8) };
    uint32_t answer[2] = { some_id(g, DEVICE) * 32 + (uint32_t)below(4), (uint32_t)below(3) };
    if (below(16) == 0)
        io.data_uptr = some_gpa();
    switch (below(4)) {
    case 0: CALL(g, NIDUS_CALL_EVENT_READ, io, 0); break;
    case 1:
        io.data_len = sizeof answer;
        platform_guest_write(g->host, io.data_uptr, answer, sizeof answer);
        CALL(g, NIDUS_CALL_EVENT_WRITE, io, 0);
        break;
    default: alloc_for_events(g); break;
    }
    if (iommu_ready(g->context) & ~iommu_channels(g->context))
        fails("something to read in a channel that there is not");
}

/* As a guest does that has its devices ask for pages: a queue, a page table with it, a request, an answer. */
static void ask_and_answer(struct device_ *d)
{
    struct guest_ *g = d->guest;
    struct nidus_fault_alloc queue = { .size = sizeof queue };
    struct nidus_hwpt_alloc table = { .size = sizeof table, .flags = NIDUS_HWPT_FAULT_ID_VALID, .dev_id = d->id, .pt_id = iommu_default_ioas(g->context) };
    struct nidus_vfio_attach to = { .argsz = 12 };
    struct nidus_event_io io = { .size = sizeof io, .data_uptr = 0x4000 };
    struct nidus_hwpt_pgfault record[4];
    uint32_t size = to.argsz;
    CALL(g, NIDUS_CALL_FAULT_QUEUE_ALLOC, queue, 0);
    table.fault_id = queue.out_fault_id;
    CALL(g, NIDUS_CALL_HWPT_ALLOC, table, 0);
    to.pt_id = table.out_hwpt_id;
    if (!table.out_hwpt_id || call_with(g, NIDUS_CALL_ATTACH, &to, size, d->id) != 0)
        return;
    learn(g, QUEUE, queue.out_fault_id);
    learn(g, PAGING, table.out_hwpt_id);
    for (uint64_t i = 1 + below(4); i; i--)
        page_request(d);
    iommu_poll();
    io.channel = queue.out_fault_fd;
    io.data_len = sizeof record;
    if (call_with(g, NIDUS_CALL_EVENT_READ, &io, sizeof io, 0) != 0)
        return;
    platform_guest_read(g->host, 0x4000, record, sizeof record);
    for (unsigned i = 0; i < 4 && i < io.data_len / sizeof *record; i++) {
        uint32_t answer[2] = { record[i].cookie + (uint32_t)(below(8) == 0), (uint32_t)below(3) };
        struct nidus_event_io reply = { .size = sizeof reply, .channel = queue.out_fault_fd, .data_uptr = 0x5000, .data_len = sizeof answer };
        platform_guest_write(g->host, reply.data_uptr, answer, sizeof answer);
        CALL(g, NIDUS_CALL_EVENT_WRITE, reply, 0);
    }
}

static void small_call(struct guest_ *g)
{
    struct nidus_ioas_alloc alloc = { .size = sizeof alloc };
    struct nidus_destroy destroy = { .size = sizeof destroy, .id = some_id(g, some_kind()) };
    struct nidus_hw_info info = { .size = sizeof info, .dev_id = some_id(g, DEVICE), .data_len = (uint32_t)below(64), .data_uptr = 0x3000 };
    struct nidus_fault_read faults = { .size = sizeof faults, .data_uptr = 0x4000, .entry_len = sizeof(struct nidus_fault) };
    faults.entry_num = (uint32_t)below(256);
    switch (below(14)) {
    case 8:
    case 9: copy(g); break;
    case 10: iovas(g); break;
    case 11:
    case 12:
    case 13: dirty(g); break;
    case 0:
        CALL(g, NIDUS_CALL_IOAS_ALLOC, alloc, 0);
        if (alloc.out_ioas_id)
            learn(g, IOAS, alloc.out_ioas_id);
        break;
    case 1: CALL(g, NIDUS_CALL_DESTROY, destroy, 0); break;
    case 2: CALL(g, NIDUS_CALL_GET_HW_INFO, info, 0); break;
    case 3: CALL(g, NIDUS_CALL_FAULT_READ, faults, 0); break;
    default: events(g); break;
    }
}

/* Nothing but bytes of the input; but for the number, mostly, and the size, half of the time. */
static void raw_call(struct guest_ *g)
{
    static const uint32_t numbers[] = {
        NIDUS_CALL_ATTACH, NIDUS_CALL_DETACH, NIDUS_CALL_DESTROY, NIDUS_CALL_IOAS_ALLOC, NIDUS_CALL_IOAS_MAP, NIDUS_CALL_IOAS_UNMAP,
        NIDUS_CALL_HWPT_ALLOC, NIDUS_CALL_GET_HW_INFO, NIDUS_CALL_HWPT_INVALIDATE, NIDUS_CALL_FAULT_READ, NIDUS_CALL_FAULT_QUEUE_ALLOC,
        NIDUS_CALL_VIOMMU_ALLOC, NIDUS_CALL_VDEVICE_ALLOC, NIDUS_CALL_VEVENTQ_ALLOC, NIDUS_CALL_EVENT_READ, NIDUS_CALL_EVENT_WRITE,
    };
    unsigned which = (unsigned)below(24);
    uint64_t nr = which < sizeof numbers / sizeof *numbers ? numbers[which] : 0x3b00 + below(256);
    uint8_t payload[64];
    uint32_t size = 8 + (uint32_t)below(57);
    for (unsigned i = 0; i < size; i++)
        payload[i] = (uint8_t)below(256);
    if (below(2))
        memcpy(payload, &size, sizeof size);
    call_with(g, nr, payload, size, below(4) ? below(16) : any());
}

/* First-stage tables ------------------------------------------------------------------------------------ */

#define FS_FLAGS 0x867ULL       /* P, R/W, U/S, A, D and an ignored one */

static void store_word(struct guest_ *g, uint64_t gpa, uint64_t value)
{
    memcpy(host_guest_byte(g->host, gpa), &value, sizeof value);
}

/* One page of the pool for each table, though two may come to the same one. */
static uint64_t pool_page(uint64_t top, uint64_t address, unsigned level)
{
    uint64_t index = (address >> (12 + 9 * level)) * 31 + level * 7 + (top - TABLES) / K4 * 113;
    return TABLES + (TABLE_TOPS + index % POOL_PAGES) * K4;
}

/* A way through a table of four levels, or five, to a leaf. */
static void write_path(struct guest_ *g)
{
    uint64_t top = TABLES + below(TABLE_TOPS) * K4, address = some_address(), target = some_address(), table = top;
    unsigned level = below(4) ? 4 : 5, leaf = below(4) ? 1 : 1 + (unsigned)below(3);
    uint64_t flags = below(4) ? FS_FLAGS : below(0x1000);
    for (; level > leaf; level--) {
        uint64_t next = pool_page(top, address, level - 1);
        store_word(g, table + (address >> (12 + 9 * (level - 1)) & 511) * 8, next | FS_FLAGS);
        table = next;
    }
    store_word(g, table + (address >> (12 + 9 * (leaf - 1)) & 511) * 8, (target & FS_ADDR & ~((K4 << 9 * (leaf - 1)) - 1)) | flags | (leaf > 1 ? FS_PS : 0));
    note("guest %llu: first stage 0x%llx: 0x%llx -> 0x%llx, level %llu, flags 0x%llx", (ull)(g - m.guest), top, address, target, leaf, flags);
    remember(address);
}

static void write_word(struct guest_ *g)
{
    store_word(g, TABLES + below(TABLE_TOPS + 16) * K4 + below(512) * 8, any());
}

/* The surroundings -------------------------------------------------------------------------------------- */

static void (*machine_pause)(void);

/* A silent unit has its second, but not in real time. */
static void paused(void)
{
    machine_pause();
    if (m.broken)
        host_time_advance(10000000);
}

/* A device with a TLB falls silent, or answers again. */
static void tlb_of(struct device_ *d)
{
    bool silent = below(2);
    if (!d->ats || !device_of(d))
        return;
    note("TLB of device %04llx: silent %llu", d->source_id, silent);
    deaf |= silent;
    model_device_silent(m.unit[d->unit].model, d->source_id, silent);
}

static void surroundings(struct guest_ *g)
{
    struct model_unit *unit = m.unit[below(m.units)].model;
    struct device_ *d = &m.device[below(m.devices)];
    switch (below(9)) {
    case 0: host_fail_allocation(1 + (unsigned)below(16)); break;
    case 1: model_run(m.model, (unsigned)below(64)); break;
    case 2: iommu_poll(); break;
    case 3: host_time_advance(below(1 << 30)); break;
    case 4:
        host_fail_allocation(0);
        if (!m.broken)
            restart_guest(g);
        break;
    case 5:
        if (below(8))
            break;
        m.broken = true;
        if (below(2))
            model_switches(unit)->never_answers = true;
        else
            model_fail_fetch(unit, 1 + (unsigned)below(8));
        note("a unit breaks");
        break;
    case 6:
        for (unsigned i = 0; i < m.devices && !d->ats; i++)
            d = &m.device[i];
        if (below(2))
            tlb_of(d);
        else if (d->ats && d->assigned)
            ask_and_answer(d);
        break;
    default: forbidden(d); break;
    }
}

static void operation(void)
{
    struct guest_ *g = &m.guest[below(m.guests)];
    switch (below(16)) {
    case 0: case 1: map(g); break;
    case 2: unmap(g); break;
    case 3: alloc_paging(g); break;
    case 4: alloc_nested(g); break;
    case 5: invalidate(g); break;
    case 6: case 7: attach(g); break;
    case 8: detach(g); break;
    case 9: small_call(g); break;
    case 10: raw_call(g); break;
    case 11: write_path(g); break;
    case 12: write_word(g); break;
    case 13: surroundings(g); break;
    case 14: dma(&m.device[below(m.devices)], some_address()); break;
    default:
        if (below(2))
            dma(&m.device[below(m.devices)], some_address());
        else
            page_request(&m.device[below(m.devices)]);
    }
    take_answers();
    require_no_violation();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    trace = getenv("FUZZ_TRACE") != NULL;
    input = data;
    left = size;
    recents = 0;
    memset(recent, 0, sizeof recent);
    deaf = false;
    memset(groups, 0, sizeof groups);
    chance = (uint32_t)below(0x10000);
    machine_start(chance, 1 + (unsigned)below(3), below(2), 0);
    machine_pause = host_pause_hook;
    host_pause_hook = paused;
    for (unsigned i = 0; left && i < OPERATIONS; i++)
        operation();
    host_fail_allocation(0);
    machine_stop();
    return 0;
}
