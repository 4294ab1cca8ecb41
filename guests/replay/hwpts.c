/* SPDX-License-Identifier: BSD-2-Clause */
/* hwpts.c: page tables: alloc, destroy, attach, detach, invalidate. */
#include <string.h>

#include "guests/replay/replay.h"

static struct hwpt *free_slot(void)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (!m.hwpt[i].live)
            return &m.hwpt[i];
    return NULL;
}

static struct hwpt *some_hwpt(bool (*suits)(const struct hwpt *))
{
    unsigned from = (unsigned)below(HWPTS);

    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &m.hwpt[(from + i) % HWPTS];

        if (h->live && suits(h))
            return h;
    }
    return NULL;
}

static bool is_parent(const struct hwpt *h) { return h->nest_parent && !h->nested; }
static bool is_stale(const struct hwpt *h) { return h->stales != 0; }
static bool is_nested(const struct hwpt *h) { return h->nested; }
static bool is_any(const struct hwpt *h) { return h->live; }

struct hwpt *stale_hwpt(void)
{
    struct hwpt *h = percent(90) ? some_hwpt(is_stale) : NULL;

    return h ? h : some_hwpt(is_nested);
}

bool is_attached(const struct hwpt *h)
{
    for (unsigned i = 0; i < DEVICES * PLACES; i++)
        if (m.device[i / PLACES].hwpt[i % PLACES] == h)
            return true;
    return false;
}

/* Alloc ------------------------------------------------------------------------------------------------ */

/* For PASIDs a table has to say so at its birth. */
static int64_t alloc(uint32_t pt, uint32_t flags, const struct nidus_hwpt_vtd_s1 *s1, uint32_t *id)
{
    uint32_t for_pasids = m.pasids && percent(85) ? NIDUS_HWPT_ALLOC_PASID : 0;
    struct nidus_hwpt_alloc p = { .size = sizeof p, .flags = flags | for_pasids, .dev_id = m.device[below(DEVICES)].id, .pt_id = pt };
    int64_t result;

    if (s1) {
        p.data_type = NIDUS_HWPT_DATA_VTD_S1;
        p.data_len = sizeof *s1;
        p.data_uptr = CALL_DATA;
        memcpy(port_memory(CALL_DATA), s1, sizeof *s1);
    }
    tell_hex(" on ", pt);
    tell_hex(" flags ", p.flags);
    result = call(NIDUS_CALL_HWPT_ALLOC, &p, sizeof p, 0);
    *id = p.out_hwpt_id;
    tell_hex(" id ", *id);
    return result;
}

static void alloc_paging(struct hwpt *h)
{
    struct space *s = some_space();
    bool parent = percent(75);
    uint32_t id;

    tell("new paging HWPT");
    if (alloc(s->id, parent ? NIDUS_HWPT_ALLOC_NEST_PARENT : 0, NULL, &id) == 0)
        *h = (struct hwpt){ .live = true, .id = id, .space = s, .nest_parent = parent };
}

static struct tree *tree_for(struct space *s)
{
    struct tree *t = NULL;

    for (unsigned i = (unsigned)below(TREES), n = 0; n < TREES && !t; i++, n++)
        if (m.tree[i % TREES].live && m.tree[i % TREES].space == s)
            t = &m.tree[i % TREES];
    if (!t || one_in(3)) {
        struct tree *fresh = tree_new(s);

        t = fresh ? fresh : t;
    }
    return t;
}

static void alloc_nested(struct hwpt *h, struct hwpt *parent)
{
    struct tree *t = tree_for(parent->space);
    struct nidus_hwpt_vtd_s1 s1 = { .addr_width = 48 };
    uint32_t id;

    tell("new nested HWPT");
    if (!t)
        return;
    s1.pgtbl_addr = t->top + t->space->offset;
    if (one_in(4)) /* SRE, WPE; EAFE is refused */
        s1.flags = percent(80) ? NIDUS_VTD_S1_SRE | (percent(50) ? NIDUS_VTD_S1_WPE : 0) : below(8);
    if (one_in(20))
        s1.addr_width = 57;
    if (one_in(20))
        s1.pgtbl_addr |= 1ULL << (percent(80) ? below(12) : 48 + below(16));
    tell_hex(" table ", s1.pgtbl_addr);
    if (alloc(parent->id, 0, &s1, &id) != 0)
        return;
    *h = (struct hwpt){ .live = true, .nested = true, .id = id, .space = parent->space, .parent = parent, .tree = t };
    parent->children++;
}

void hwpt_allocs(void)
{
    struct hwpt *h = free_slot(), *parent = percent(80) ? some_hwpt(is_parent) : NULL;

    if (!h)
        tell("no new HWPT");
    else if (parent)
        alloc_nested(h, parent);
    else
        alloc_paging(h);
}

/* Destroy ---------------------------------------------------------------------------------------------- */

static void gone(struct hwpt *h)
{
    struct tree *t = h->tree;
    bool used = false;

    h->live = false;
    if (h->parent)
        h->parent->children--;
    for (unsigned i = 0; t && i < HWPTS; i++)
        used |= m.hwpt[i].live && m.hwpt[i].tree == t;
    if (t && !used)
        tree_free(t);
}

static int64_t destroy(uint32_t id)
{
    struct nidus_destroy p = { .size = sizeof p, .id = id };

    tell_hex(" id ", id);
    return call(NIDUS_CALL_DESTROY, &p, sizeof p, 0);
}

static void destroy_space(struct space *s)
{
    tell("destroy IOAS");
    if (!s->live || destroy(s->id) != 0)
        return;
    s->live = false;
    for (unsigned i = 0; i < TREES; i++)
        if (m.tree[i].live && m.tree[i].space == s)
            tree_free(&m.tree[i]);
}

static void destroy_hwpt(struct hwpt *h)
{
    tell("destroy HWPT");
    if (destroy(h->id) == 0)
        gone(h);
}

void hwpt_destroys(void)
{
    struct hwpt *h = some_hwpt(is_any);

    if (!h || one_in(6))
        destroy_space(&m.space[1 + below(SPACES - 1)]);
    else
        destroy_hwpt(h);
}

/* Attach ----------------------------------------------------------------------------------------------- */

/* Something was on `from` and is no more: what is cached of it goes with the last of them. */
static void moved(struct hwpt *from)
{
    if (!from || is_attached(from))
        return;
    stale_gone(from);
    if (from->automatic)
        gone(from);
}

static unsigned some_place(void)
{
    return m.pasids && percent(45) ? 1 + (unsigned)below(PLACES - 1) : 0;
}

/* The HWPT that an attach of an IOAS took. */
static struct hwpt *automatic(struct space *s, uint32_t id, struct hwpt *slot)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live && m.hwpt[i].id == id)
            return &m.hwpt[i];
    *slot = (struct hwpt){ .live = true, .automatic = true, .id = id, .space = s };
    return slot;
}

static void attach(struct device *d, unsigned place, struct hwpt *h, struct space *s)
{
    struct nidus_vfio_attach p = { .argsz = offsetof(struct nidus_vfio_attach, pasid), .pt_id = h ? h->id : s->id };
    struct hwpt *old = d->hwpt[place], *slot = free_slot();

    if (!h && !slot)
        return;
    if (place) {
        p.argsz = sizeof p;
        p.flags = NIDUS_VFIO_ATTACH_PASID;
        p.pasid = pasid_of[place];
        tell_hex(" PASID ", p.pasid);
    }
    tell_hex(" device ", d->id);
    tell_hex(" to ", p.pt_id);
    if (call(NIDUS_CALL_ATTACH, &p, p.argsz, d->id) != 0)
        return;
    tell_hex(" HWPT ", p.pt_id);
    d->hwpt[place] = h ? h : automatic(s, p.pt_id, slot);
    d->bus_master = true;
    if (d->hwpt[place] == old)
        return;
    moved(old);
    device_starts(d);
}

void hwpt_attaches(struct device *d)
{
    struct hwpt *h = percent(88) ? some_hwpt(is_any) : NULL;

    tell("attach");
    if (h && percent(50)) {
        struct hwpt *nested = some_hwpt(is_nested);

        h = nested ? nested : h;
    }
    attach(d, some_place(), h, some_space());
}

/* The last one clears Bus Master, which a guest may set again. */
static void detach(struct device *d, unsigned place)
{
    struct nidus_vfio_detach p = { .argsz = offsetof(struct nidus_vfio_detach, pasid) };
    struct hwpt *old = d->hwpt[place];
    bool last = true;

    if (place) {
        p.argsz = sizeof p;
        p.flags = NIDUS_VFIO_DETACH_PASID;
        p.pasid = pasid_of[place];
        tell_hex(" PASID ", p.pasid);
    }
    tell_hex(" device ", d->id);
    if (call(NIDUS_CALL_DETACH, &p, p.argsz, d->id) != 0)
        wrong("DETACH of device", d->id);
    d->hwpt[place] = NULL;
    moved(old);
    for (unsigned i = 0; i < PLACES; i++)
        last &= !d->hwpt[i];
    d->bus_master &= !last;
    if (last && percent(50)) {
        port_bus_master_on((unsigned)(d - m.device));
        d->bus_master = true;
    }
    device_starts(d);
}

void hwpt_detaches(struct device *d)
{
    tell("detach");
    detach(d, some_place());
}

void hwpts_give_back(void)
{
    for (unsigned i = 0; i < DEVICES; i++)
        for (unsigned place = m.pasids ? PLACES : 1; place-- > 0;)
            detach(&m.device[i], place);
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live && m.hwpt[i].nested)
            destroy_hwpt(&m.hwpt[i]);
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live)
            destroy_hwpt(&m.hwpt[i]);
    for (unsigned i = 1; i < SPACES; i++)
        destroy_space(&m.space[i]);
    for (unsigned i = 0; i < HWPTS; i++)
        if (m.hwpt[i].live)
            wrong("a HWPT could not be destroyed at a seed's end, id", m.hwpt[i].id);
    for (unsigned i = 1; i < SPACES; i++)
        if (m.space[i].live)
            wrong("an IOAS could not be destroyed at a seed's end, id", m.space[i].id);
}

/* Invalidate ------------------------------------------------------------------------------------------- */

#define ENTRIES_MAX 1200u

/* A range that covers something of what is stale, exactly or not. */
static void choose_range(struct hwpt *h, struct nidus_hwpt_vtd_s1_invalidate *e)
{
    const struct stale *s = h->stales ? &h->stale[below(h->stales)] : NULL;

    *e = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = tree_address(h->tree) & ~(K4 - 1), .npages = 1 + below(percent(80) ? 20 : 5000) };
    if (s && percent(90)) {
        e->addr = s->first;
        e->npages = (s->last - s->first) / K4 + 1;
        e->flags = s->leaf && percent(70) ? NIDUS_VTD_INV_LEAF : 0;
        if (one_in(8)) { /* a part */
            e->addr += below(e->npages) * K4;
            e->npages = 1;
        } else if (one_in(6)) { /* and more */
            uint64_t before = below(9) * K4;

            e->addr -= before <= (e->addr & 0xffffffffff) ? before : 0;
            e->npages += below(40);
        }
    } else {
        e->flags = one_in(4) ? NIDUS_VTD_INV_LEAF : 0;
    }
    if (e->npages > (1ULL << 52) - e->addr / K4)
        e->npages = (1ULL << 52) - e->addr / K4;
}

void hwpt_invalidates(struct hwpt *h)
{
    static struct nidus_hwpt_vtd_s1_invalidate entry[ENTRIES_MAX];
    struct nidus_hwpt_invalidate p = { .size = sizeof p, .hwpt_id = h->id, .entry_len = sizeof entry[0], .data_uptr = CALL_DATA };
    uint32_t count = percent(70) ? 1 : percent(97) ? 1 + (uint32_t)below(12) : percent(80) ? 100 + (uint32_t)below(200) : ENTRIES_MAX;

    tell("invalidate");
    for (uint32_t i = 0; i < count; i++)
        choose_range(h, &entry[i]);
    if (one_in(5)) {
        count = 1;
        entry[0] = (struct nidus_hwpt_vtd_s1_invalidate){ .npages = UINT64_MAX };
    }
    if (one_in(25))
        entry[below(count)].addr |= 8;
    p.entry_num = count;
    tell_hex(" HWPT ", h->id);
    tell_hex(" entries ", count);
    tell_hex(", the first ", entry[0].addr);
    tell_hex(" pages ", entry[0].npages);
    tell_hex(" flags ", entry[0].flags);
    memcpy(port_memory(CALL_DATA), entry, count * sizeof entry[0]);
    call(NIDUS_CALL_HWPT_INVALIDATE, &p, sizeof p, 0);
    tell_hex(" done ", p.entry_num);
    for (uint32_t i = 0; i < p.entry_num; i++) {
        bool all = entry[i].npages == UINT64_MAX;

        stale_done(h, entry[i].addr, all ? UINT64_MAX : entry[i].addr + entry[i].npages * K4 - 1, entry[i].flags & NIDUS_VTD_INV_LEAF);
    }
}
