/* SPDX-License-Identifier: BSD-2-Clause */
/* prq.c: page requests, their queue and the answers of software, sections 7.5 to 7.7 and 6.5.3.1. */
#include "internal.h"

enum { PRS_PPR, PRS_PRO };

static void set_prs(struct model_unit *unit, unsigned which)
{
    uint32_t prs = reg32(unit, REG_PRS);

    set_reg32(unit, REG_PRS, prs | 1u << which);
    if (!(prs & 3))
        raise_event(unit, REG_PECTL);
}

/* Table 27: what a page request takes out of the caches before it is written to the queue, where there is room for it (7.4.1). */
static void implicit_invalidation(struct model_unit *unit, const struct place *place, uint64_t address)
{
    struct invalidation what = { .scope = SCOPE_PAGE, .domain = place->domain, .pasid = place->pasid, .address = address & mask(63, 12), .shift = 12 };

    switch (place->pgtt) {
    case 1:
        invalidate_pasid_iotlb(unit, &what);
        break;
    case 3:
        what.scope = SCOPE_DOMAIN;
        invalidate_iotlb(unit, &what);
        break;
    default:
        invalidate_iotlb(unit, &what);
    }
}

static bool queue_request(struct model_unit *unit, const struct model_page_request *r, const struct place *of)
{
    uint64_t pqa = reg64(unit, REG_PQA), tail = reg64(unit, REG_PQT), bytes = PAGE << field(pqa, 2, 0);
    uint64_t next = (tail + 32) % bytes, *entry;

    if (bit(reg32(unit, REG_PRS), PRS_PRO))
        return false;
    if (next == reg64(unit, REG_PQH)) {
        set_prs(unit, PRS_PRO);
        return false;
    }
    entry = memory_at(unit, (pqa & mask(63, 12)) + tail, true);
    if (!entry) {
        check_no_memory(unit, "the page request queue", (pqa & mask(63, 12)) + tail);
        return false;
    }
    implicit_invalidation(unit, of, r->address);
    entry[0] = 1 | place(r->with_pasid, 8, 8) | place(r->source_id, 31, 16) | place(r->with_pasid ? r->pasid : 0, 51, 32) |
               place(r->with_pasid && r->privileged, 53, 53);
    entry[1] = place(r->read, 0, 0) | place(r->write, 1, 1) | place(r->last, 2, 2) | place(r->group, 11, 3) | (r->address & mask(63, 12));
    entry[2] = entry[3] = 0;
    set_reg64(unit, REG_PQT, next);
    set_prs(unit, PRS_PPR);
    return true;
}

enum model_page_answer model_page_request(struct model_unit *unit, const struct model_page_request *r)
{
    struct model_request request = { .source_id = r->source_id, .with_pasid = r->with_pasid, .pasid = r->pasid, .privileged = r->privileged };
    struct place place;
    struct fault fault = { 0 };

    if (!status(unit, GCMD_TE) || !unit->caps.prs)
        return r->last ? MODEL_PAGE_INVALID : MODEL_PAGE_DROPPED;
    if (!root_allows(unit, &request, AT_PAGE, &fault) || !find_entry(unit, &request, AT_PAGE, true, &place, &fault, NULL)) {
        /* Whether a page may be accessed in this way is found out by the translation request that follows. */
        fault_page_record(unit, r, &fault);
        return r->last ? MODEL_PAGE_INVALID : MODEL_PAGE_DROPPED;
    }
    if (queue_request(unit, r, &place))
        return MODEL_PAGE_QUEUED;
    return r->last ? MODEL_PAGE_SUCCESS : MODEL_PAGE_DROPPED;
}

/* page_grp_resp_dsc, section 7.6.1 */
void page_response(struct model_unit *unit, const uint64_t *word)
{
    if (unit->response_count == RING) {
        unit->response_head = (unit->response_head + 1) % RING;
        unit->response_count--;
    }
    unit->response[(unit->response_head + unit->response_count++) % RING] = (struct model_page_response){
        .source_id = (uint16_t)field(word[0], 31, 16), .group = (uint16_t)field(word[1], 11, 3), .with_pasid = bit(word[0], 4),
        .pasid = (uint32_t)field(word[0], 51, 32), .code = (uint8_t)field(word[0], 15, 12),
    };
}

bool model_page_response(struct model_unit *unit, struct model_page_response *response)
{
    if (unit->response_count == 0)
        return false;
    *response = unit->response[unit->response_head];
    unit->response_head = (unit->response_head + 1) % RING;
    unit->response_count--;
    return true;
}
