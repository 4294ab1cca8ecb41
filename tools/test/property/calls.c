/* SPDX-License-Identifier: BSD-2-Clause */
/* calls.c: a guest's calls: payloads in its private pages, DMA of everybody meanwhile. */
#include <string.h>

#include "iommu/registers.h"
#include "property.h"
#include "tools/test/host/whole_call.h"

#define PAYLOAD   0x1000ULL
#define DATA_AREA 0x2000ULL

/* Payloads may cross pages. */
static uint64_t payload_place(void)
{
    return PAYLOAD + (one_in(4) ? K4 - 8 * (1 + below(5)) : 8 * below(64));
}

uint64_t put_data(struct guest_ *g, const void *data, uint32_t size)
{
    uint64_t gpa = DATA_AREA + K4 + 4 * below(64);

    memcpy(host_guest_byte(g->host, gpa), data, size);
    return gpa;
}

int64_t call(struct guest_ *g, uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    uint64_t gpa = payload_place();
    int64_t result;

    memcpy(host_guest_byte(g->host, gpa), payload, size);
    m.in_call = true;
    result = whole_call(g->context, nr, gpa, device);
    m.in_call = false;
    memcpy(payload, host_guest_byte(g->host, gpa), size);
    note("  call 0x%llx: %lld", nr, (ull)result);
    return result;
}

int64_t call_map(struct guest_ *g, struct space *s, const struct area *a, bool fixed, uint64_t *iova)
{
    struct nidus_ioas_map p = {
        .size = sizeof p, .ioas_id = s->id, .user_va = a->gpa, .length = a->length, .iova = a->iova,
        .flags = (fixed ? NIDUS_IOAS_MAP_FIXED_IOVA : 0) | (a->read ? NIDUS_IOAS_MAP_READABLE : 0) | (a->write ? NIDUS_IOAS_MAP_WRITEABLE : 0),
    };
    int64_t result = call(g, NIDUS_CALL_IOAS_MAP, &p, sizeof p, 0);

    *iova = p.iova;
    return result;
}

int64_t call_copy(struct guest_ *g, const struct space *from, uint64_t source, const struct space *to, const struct area *a, uint64_t *iova)
{
    struct nidus_ioas_copy p = {
        .size = sizeof p, .src_ioas_id = from->id, .src_iova = source, .dst_ioas_id = to->id, .dst_iova = a->iova, .length = a->length,
        .flags = NIDUS_IOAS_MAP_FIXED_IOVA | (a->read ? NIDUS_IOAS_MAP_READABLE : 0) | (a->write ? NIDUS_IOAS_MAP_WRITEABLE : 0),
    };
    int64_t result = call(g, NIDUS_CALL_IOAS_COPY, &p, sizeof p, 0);

    *iova = p.dst_iova;
    return result;
}

int64_t call_unmap(struct guest_ *g, struct space *s, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
    struct nidus_ioas_unmap p = { .size = sizeof p, .ioas_id = s->id, .iova = iova, .length = length };
    int64_t result = call(g, NIDUS_CALL_IOAS_UNMAP, &p, sizeof p, 0);

    *unmapped = p.length;
    return result;
}

int64_t call_alloc_hwpt(struct guest_ *g, uint32_t device, uint32_t pt, uint32_t flags, const struct nidus_hwpt_vtd_s1 *s1, uint32_t *id)
{
    struct nidus_hwpt_alloc p = { .size = sizeof p, .flags = flags, .dev_id = device, .pt_id = pt };
    int64_t result;

    if (s1) {
        p.data_type = NIDUS_HWPT_DATA_VTD_S1;
        p.data_len = sizeof *s1;
        p.data_uptr = put_data(g, s1, sizeof *s1);
    }
    result = call(g, NIDUS_CALL_HWPT_ALLOC, &p, sizeof p, 0);
    *id = p.out_hwpt_id;
    return result;
}

int64_t call_destroy_(struct guest_ *g, uint32_t id)
{
    struct nidus_destroy p = { .size = sizeof p, .id = id };

    return call(g, NIDUS_CALL_DESTROY, &p, sizeof p, 0);
}

static struct device_ *device_of(struct guest_ *g)
{
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g)
            return &m.device[i];
    return NULL;
}

static void expect_error(int64_t result, const char *what)
{
    if (result >= 0)
        fails("%s was accepted", what);
}

/* A HWPT that was made for PASIDs, or an IOAS. */
static uint32_t for_pasids(const struct guest_ *g)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].pasid)
            return g->hwpt[i].id;
    return g->space[0].id;
}

/* A first stage over a HWPT that was not made for one.  false: there is none. */
static bool over_no_parent(struct guest_ *g, const struct device_ *d, struct nidus_hwpt_alloc *alloc)
{
    const struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = TABLES, .addr_width = 48 };

    for (unsigned i = 0; i < HWPTS; i++) {
        const struct hwpt *h = &g->hwpt[i];

        if (!d || !h->live || h->nested || h->nest_parent || !m.unit[d->unit].nest)
            continue;
        *alloc = (struct nidus_hwpt_alloc){
            .size = sizeof *alloc, .dev_id = d->id, .pt_id = h->id, .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = sizeof s1,
            .data_uptr = put_data(g, &s1, sizeof s1),
        };
        return true;
    }
    return false;
}

/* None of these may change anything; the DMAs that follow see to that. */
void bad_call(struct guest_ *g)
{
    struct device_ *d = device_of(g);
    struct space *s = some_space(g);
    struct nidus_vfio_attach attach = { .argsz = 16, .flags = NIDUS_VFIO_ATTACH_PASID, .pt_id = s->id, .pasid = (uint32_t)below(4) };
    struct nidus_ioas_map map = { .size = sizeof map, .flags = 7, .ioas_id = s->id, .user_va = DATA, .length = K4, .iova = 0xfee00000 - K4 * below(2) };
    struct nidus_ioas_unmap unmap = { .size = sizeof unmap, .ioas_id = s->id, .iova = below(1 << 20), .length = 0 };
    struct nidus_hwpt_alloc alloc = { .size = sizeof alloc, .flags = 1u << (4 + below(28)), .dev_id = d ? d->id : 1, .pt_id = s->id };
    uint8_t noise[48];

    note("bad call");
    switch (below(11)) {
    case 0:
        expect_error(call(g, NIDUS_CALL_ATTACH, &attach, sizeof attach, d ? d->id : 1), "attaching a PASID to an IOAS");
        break;
    case 1:
        attach.flags = 0;
        attach.pt_id = 400 + (uint32_t)below(200);
        expect_error(call(g, NIDUS_CALL_ATTACH, &attach, sizeof attach, d ? d->id : 1), "attaching nothing");
        break;
    case 2:
        map.length += K4 * (map.iova == 0xfee00000 - K4);
        expect_error(call(g, NIDUS_CALL_IOAS_MAP, &map, sizeof map, 0), "mapping the interrupt range");
        break;
    case 3:
        map.iova = 0x123000;
        map.user_va = MORE + (MORE_PAGES - 1) * K4; /* the second page is no RAM */
        map.length = 2 * K4;
        expect_error(call(g, NIDUS_CALL_IOAS_MAP, &map, sizeof map, 0), "mapping what is no RAM");
        break;
    case 4:
        expect_error(call(g, NIDUS_CALL_IOAS_UNMAP, &unmap, sizeof unmap, 0), "unmapping nothing");
        break;
    case 5:
        expect_error(call(g, NIDUS_CALL_HWPT_ALLOC, &alloc, sizeof alloc, 0), "HWPT_ALLOC with an unknown flag");
        break;
    case 6:
        map.iova = 0x123000;
        map.user_va = DATA + 8 * (1 + below(511)); /* the low bits would be bits of an entry */
        expect_error(call(g, NIDUS_CALL_IOAS_MAP, &map, sizeof map, 0), "mapping memory that begins within a page");
        break;
    case 7:
        attach.flags = 0;
        expect_error(call(g, NIDUS_CALL_ATTACH, &attach, sizeof attach, 400 + below(1000)), "attaching a device of nobody");
        break;
    case 9:
        attach.pt_id = for_pasids(g);
        attach.pasid = 1u << (d ? d->pasid_bits : 0);
        expect_error(call(g, NIDUS_CALL_ATTACH, &attach, sizeof attach, d ? d->id : 1), "attaching a PASID that the device does not send");
        break;
    case 8:
        if (over_no_parent(g, d, &alloc))
            expect_error(call(g, NIDUS_CALL_HWPT_ALLOC, &alloc, sizeof alloc, 0), "a first stage over a second stage that is no nest parent");
        break;
    default:
        for (unsigned i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)below(256);
        expect_error(call(g, 0x3b00 + below(0x70), noise, sizeof noise, below(16)), "a call that there is not");
    }
}

/* Each record is about one of the guest's own devices, and something that it did. */
bool read_faults(struct guest_ *g, uint32_t room)
{
    struct nidus_fault record[64];
    struct nidus_fault_read p = {
        .size = sizeof p, .data_uptr = DATA_AREA + 2 * K4, .entry_len = sizeof record[0], .entry_num = room,
    };
    unsigned bit;

    note("read faults, guest %llu", (ull)(g - m.guest));
    m.no_dma = true; /* what came after the unit was looked at would be missing */
    if (call(g, NIDUS_CALL_FAULT_READ, &p, sizeof p, 0) != 0 || p.entry_num > room)
        fails("FAULT_READ failed");
    m.no_dma = false;
    memcpy(record, host_guest_byte(g->host, DATA_AREA + 2 * K4), sizeof record);
    for (uint32_t i = 0; i < p.entry_num; i++) {
        struct device_ *d = NULL;

        for (unsigned k = 0; k < m.devices; k++)
            if (m.device[k].guest == g && m.device[k].assigned && m.device[k].id == record[i].dev_id)
                d = &m.device[k];
        if (!d)
            fails("a fault of a device that the guest does not have: id %u", record[i].dev_id);
        if (record[i].flags & NIDUS_FAULT_DEVICE_TLB) {
            if (!d->silent)
                fails("device %u is said not to answer", record[i].dev_id);
            continue;
        }
        bit = fault_bit(record[i].reason, record[i].access, record[i].flags & NIDUS_FAULT_PASID_VALID, record[i].pasid, record[i].addr);
        if (!(d->faults[bit / 8] >> bit % 8 & 1))
            fails("device %u: a fault that it did not cause: %02xh, %s, access %u, PASID %u, address 0x%llx", record[i].dev_id, record[i].reason,
                  model_reason(record[i].reason), record[i].access, record[i].pasid, (ull)record[i].addr);
        g->read++;
    }
    g->lost |= p.out_lost != 0;
    for (unsigned i = 0; i < m.units; i++) {
        uint64_t status = model_read(m.unit[i].model, REG_FSTS, 4);

        if (status & FSTS_PFO)
            fails("unit %u has had more faults than it can record, and records none any more", i);
        if (status & FSTS_PPF)
            fails("unit %u has a fault record that nobody reads", i);
    }
    if (p.entry_num == room)
        return true;
    if (!g->lost && g->read != g->faults)
        fails("%llu faults were recorded, %llu were read, and none is said to be lost", (ull)g->faults, (ull)g->read);
    g->faults = g->read = 0;
    g->lost = false;
    return false;
}
