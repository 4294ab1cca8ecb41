/* SPDX-License-Identifier: BSD-2-Clause */
/* hwpts.c: page tables of the guests: paging and nested HWPTs, who is attached to which, and the guests' invalidations. */
#include <string.h>

#include "iommu/dmar.h"
#include "property.h"

static struct hwpt *free_slot(struct guest_ *g)
{
    for (unsigned i = 0; i < HWPTS; i++)
        if (!g->hwpt[i].live)
            return &g->hwpt[i];
    return NULL;
}

static struct device_ *some_device(struct guest_ *g)
{
    for (unsigned tries = 0; tries < 32; tries++) {
        struct device_ *d = &m.device[below(m.devices)];

        if (d->guest == g && d->assigned)
            return d;
    }
    return NULL;
}

static struct hwpt *some_hwpt(struct guest_ *g, bool (*suits)(const struct hwpt *))
{
    unsigned from = (unsigned)below(HWPTS);

    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &g->hwpt[(from + i) % HWPTS];

        if (h->live && suits(h))
            return h;
    }
    return NULL;
}

static bool is_parent(const struct hwpt *h) { return h->nest_parent && !h->nested; }
static bool is_stale(const struct hwpt *h) { return h->stales != 0; }
static bool is_nested(const struct hwpt *h) { return h->nested; }
static bool is_any(const struct hwpt *h) { return h->live; }

struct hwpt *stale_hwpt(struct guest_ *g)
{
    struct hwpt *h = percent(90) ? some_hwpt(g, is_stale) : NULL;

    return h ? h : some_hwpt(g, is_nested);
}

struct hwpt *stale_of(struct guest_ *g, const struct tree *t)
{
    unsigned from = (unsigned)below(HWPTS);

    for (unsigned i = 0; i < HWPTS; i++) {
        struct hwpt *h = &g->hwpt[(from + i) % HWPTS];

        if (h->live && h->tree == t && h->stales)
            return h;
    }
    return NULL;
}

unsigned users_of(const struct hwpt *h)
{
    unsigned users = h->children;

    for (unsigned i = 0; i < m.devices; i++)
        for (unsigned n = 0; n < USES; n++)
            users += m.device[i].use[n].hwpt == h;
    return users;
}

/* Alloc ------------------------------------------------------------------------------------------------ */

static bool has_read_only(const struct space *s)
{
    for (unsigned i = 0; i < s->areas; i++)
        if (!s->area[i].write)
            return true;
    return false;
}

static bool reaches_far(const struct space *s)
{
    for (unsigned i = 0; i < s->areas; i++)
        if ((s->area[i].iova + s->area[i].length - 1) >> 39)
            return true;
    return false;
}

static void alloc_paging(struct guest_ *g, struct device_ *d, struct hwpt *h)
{
    struct space *s = some_space(g);
    bool parent = percent(70), pasid = percent(m.crowded ? 95 : 70);
    const struct unit_ *u = &m.unit[d->unit];
    bool dirty = !parent && percent(u->marks ? 60 : 10);
    bool may = (!parent || (u->nest && g->nested && !(m.errata && has_read_only(s)))) && (!dirty || (u->marks && !(d->properties & DMAR_NO_PWSNP)));
    uint32_t id;
    int64_t result;

    note("new paging HWPT, guest %llu: IOAS %llu, device %llu, parent %llu, for PASIDs %llu, dirty tracking %llu", (ull)(g - m.guest), s->id, d->id, parent, pasid,
         dirty);
    if (one_in(16))
        host_fail_allocation(1 + (unsigned)below(12));
    result = call_alloc_hwpt(g, d->id, s->id, (parent ? NIDUS_HWPT_ALLOC_NEST_PARENT : 0) | (pasid ? NIDUS_HWPT_ALLOC_PASID : 0) |
                             (dirty ? NIDUS_HWPT_ALLOC_DIRTY_TRACKING : 0), NULL, &id);
    host_fail_allocation(0);
    if (result == 0 && !may)
        fails("HWPT_ALLOC of a nest parent, or with dirty tracking, was accepted");
    if (result != 0 && may && result != -NIDUS_ENOMEM && !(result == -NIDUS_EADDRINUSE && reaches_far(s)))
        fails("HWPT_ALLOC was refused: %lld", (long long)result);
    if (result == 0)
        *h = (struct hwpt){ .live = true, .id = id, .space = s, .unit = d->unit, .properties = d->properties, .nest_parent = parent, .pasid = pasid,
                             .dirty = dirty };
}

/* What a guest may say of its table, most of the time. */
static struct nidus_hwpt_vtd_s1 choose_s1(const struct tree *t, const struct unit_ *u, bool *good)
{
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = t->top + t->space->offset, .addr_width = t->levels == 5 ? 57 : 48 };

    *good = t->levels == 4 || u->fs_5level;
    if (one_in(3)) {
        s1.flags = below(8);
        *good &= (!(s1.flags & NIDUS_VTD_S1_SRE) || u->srs) && (!(s1.flags & NIDUS_VTD_S1_EAFE) || (u->eafs && u->snoops));
    } else if (u->srs && one_in(3)) {
        s1.flags = NIDUS_VTD_S1_SRE;
    }
    if (one_in(12)) { /* bits that would be SRE, FSPM, WPE … of the entry */
        s1.pgtbl_addr |= 1ULL << below(12);
        *good = false;
    } else if (one_in(40)) {
        s1.pgtbl_addr |= 1ULL << (57 + below(7));
        *good = false;
    }
    return s1;
}

static void alloc_nested(struct guest_ *g, struct device_ *d, struct hwpt *h, struct hwpt *parent)
{
    const struct unit_ *u = &m.unit[d->unit];
    struct tree *t = NULL;
    struct nidus_hwpt_vtd_s1 s1;
    bool good, pasid = percent(70), clash = false, other_unit = parent->unit != d->unit;
    uint32_t id;
    int64_t result;

    for (unsigned i = (unsigned)below(TREES), n = 0; n < TREES && !t; i++, n++)
        if (g->tree[i % TREES].live && g->tree[i % TREES].space == parent->space)
            t = &g->tree[i % TREES];
    if (!t || one_in(3)) {
        struct tree *fresh = tree_new(g, parent->space);

        t = fresh ? fresh : t;
    }
    if (!t)
        return;
    s1 = choose_s1(t, u, &good);
    for (unsigned i = 0; i < HWPTS; i++) /* one table over one parent: one format */
        clash |= g->hwpt[i].live && g->hwpt[i].parent == parent && g->hwpt[i].tree == t && g->hwpt[i].eafe != !!(s1.flags & NIDUS_VTD_S1_EAFE);
    note("new nested HWPT, guest %llu: parent %llu, device %llu, table 0x%llx, width %llu, flags 0x%llx", (ull)(g - m.guest), parent->id, d->id,
         s1.pgtbl_addr, s1.addr_width, s1.flags);
    result = call_alloc_hwpt(g, d->id, parent->id, pasid ? NIDUS_HWPT_ALLOC_PASID : 0, &s1, &id);
    if (result == 0 && (!good || clash || !u->nest))
        fails("HWPT_ALLOC of a first stage that the unit cannot walk was accepted");
    if (result != 0 && good && !clash && u->nest && !other_unit)
        fails("HWPT_ALLOC of a first stage was refused: %lld", (long long)result);
    if (result != 0)
        return;
    *h = (struct hwpt){
        .live = true, .nested = true, .id = id, .space = parent->space, .unit = d->unit, .properties = parent->properties, .parent = parent, .tree = t,
        .eafe = s1.flags & NIDUS_VTD_S1_EAFE, .sre = s1.flags & NIDUS_VTD_S1_SRE, .wpe = s1.flags & NIDUS_VTD_S1_SRE && s1.flags & NIDUS_VTD_S1_WPE,
        .pasid = pasid,
    };
    parent->children++;
}

void hwpt_allocs(struct guest_ *g)
{
    struct hwpt *h = free_slot(g), *parent = percent(m.crowded ? 30 : 75) ? some_hwpt(g, is_parent) : NULL;
    struct device_ *d = some_device(g);

    if (!h || !d)
        return;
    if (parent)
        alloc_nested(g, d, h, parent);
    else
        alloc_paging(g, d, h);
}

/* Destroy ---------------------------------------------------------------------------------------------- */

static void gone(struct guest_ *g, struct hwpt *h)
{
    struct tree *t = h->tree;
    bool used = false;

    h->live = false;
    if (h->parent)
        h->parent->children--;
    for (unsigned i = 0; t && i < HWPTS; i++)
        used |= g->hwpt[i].live && g->hwpt[i].tree == t;
    if (t && !used)
        tree_free(g, t);
}

static void destroy_space(struct guest_ *g)
{
    struct space *s = &g->space[1 + below(SPACES - 1)];
    bool used = false;
    int64_t result;

    if (!s->live)
        return;
    for (unsigned i = 0; i < HWPTS; i++)
        used |= g->hwpt[i].live && g->hwpt[i].space == s;
    note("destroy IOAS %llu, guest %llu", s->id, (ull)(g - m.guest));
    result = call_destroy_(g, s->id);
    if (result != (used ? -NIDUS_EBUSY : 0))
        fails("DESTROY of an IOAS, %s: %lld", used ? "in use" : "not in use", (long long)result);
    if (used)
        return;
    s->live = false;
    for (unsigned i = 0; i < TREES; i++)
        if (g->tree[i].live && g->tree[i].space == s)
            tree_free(g, &g->tree[i]);
}

void hwpt_destroys(struct guest_ *g)
{
    struct hwpt *h = some_hwpt(g, is_any);
    int64_t result;

    if (!h || one_in(4)) {
        destroy_space(g);
        return;
    }
    note("destroy HWPT %llu, guest %llu", h->id, (ull)(g - m.guest));
    result = call_destroy_(g, h->id);
    if (result != (users_of(h) ? -NIDUS_EBUSY : 0))
        fails("DESTROY of a HWPT, %s: %lld", users_of(h) ? "in use" : "not in use", (long long)result);
    if (result == 0)
        gone(g, h);
}

/* Attach ----------------------------------------------------------------------------------------------- */

/* d was on `from` and is no more: what is cached of it there goes with its unit's last device. */
static void moved(struct guest_ *g, struct hwpt *from)
{
    if (!from)
        return;
    stale_keep(from, units_of(from));
    if (from->automatic && !users_of(from))
        gone(g, from);
}

/* May it say that there is no domain id?  Each attachment takes one at most; a guest has the share of them that it has of the unit's devices. */
static bool may_be_full(const struct use *use)
{
    const struct device_ *d = use->device;
    unsigned attached = 0, own = 0, all = 0;

    for (unsigned i = 0; i < m.devices; i++) {
        if (m.device[i].unit != d->unit || !m.device[i].assigned)
            continue;
        all++;
        own += m.device[i].guest == d->guest;
        for (unsigned n = 0; n < USES && m.device[i].guest == d->guest; n++)
            attached += m.device[i].use[n].hwpt != NULL;
    }
    return attached >= m.unit[d->unit].dids * own / all;
}

/* Linux's rule on HWPTs that were made for PASIDs. */
static bool pasid_rule(const struct use *use, const struct hwpt *h)
{
    const struct device_ *d = use->device;

    for (unsigned n = 1; n < USES; n++)
        if (!use->pasid && !h->pasid && d->use[n].hwpt)
            return false;
    return !use->pasid || (h->pasid && (!d->use[0].hwpt || d->use[0].hwpt->pasid));
}

/* Can one entry come to say the other without a moment in which it says neither? */
static bool is_gapless(const struct hwpt *from, const struct hwpt *to)
{
    if (!from || !from->nested || !to->nested)
        return from && !(from->nested && from->sre) && !(to->nested && to->sre);
    return from->parent == to->parent && from->tree->levels == to->tree->levels && from->sre == to->sre && from->wpe == to->wpe &&
           from->eafe == to->eafe;
}

static int64_t attach(struct guest_ *g, struct use *use, struct hwpt *next, struct nidus_vfio_attach *p, unsigned allocations)
{
    uint32_t size = use->pasid ? 16 : 12;
    int64_t result;

    p->argsz = size;
    p->flags = use->pasid ? NIDUS_VFIO_ATTACH_PASID : 0;
    p->pasid = use->pasid;
    for (unsigned i = 0; i < 2 && use->hwpt && use->hwpt->nested; i++) /* so that something is cached */
        look_at(use->hwpt, use->hwpt->tree->hot[below(16)]);
    if (percent(50)) /* so that the entry is read between two stores */
        model_forget(m.unit[use->device->unit].model, MODEL_PASID);
    m.focus = use;
    use->changing = true;
    use->next = next;
    use->gapless = is_gapless(use->hwpt, next);
    host_fail_allocation(allocations);
    result = call(g, NIDUS_CALL_ATTACH, p, size, use->device->id);
    host_fail_allocation(0);
    use->changing = false;
    m.focus = NULL;
    return result;
}

static void attach_space(struct guest_ *g, struct use *use, struct space *s)
{
    struct device_ *d = use->device;
    struct hwpt *h = free_slot(g), *old = use->hwpt;
    struct nidus_vfio_attach p = { .pt_id = s->id };
    struct hwpt next = { .live = true, .automatic = true, .space = s, .unit = d->unit, .properties = d->properties };
    int64_t result;

    if (!h)
        return;
    note("attach device %llu, PASID %llu, guest %llu, to IOAS %llu", d->id, use->pasid, (ull)(g - m.guest), s->id);
    result = attach(g, use, &next, &p, one_in(12) ? 1 + (unsigned)below(12) : 0);
    if (!pasid_rule(use, &next)) {
        if (result != -NIDUS_EINVAL)
            fails("ATTACH of an IOAS where PASIDs are attached: %lld", (long long)result);
        return;
    }
    if (result != 0) {
        if (result != -NIDUS_ENOMEM && !(result == -NIDUS_ENOSPC && may_be_full(use)) && !(result == -NIDUS_EADDRINUSE && reaches_far(s)))
            fails("ATTACH of an IOAS was refused: %lld", (long long)result);
        return;
    }
    for (unsigned i = 0; i < HWPTS; i++)
        if (g->hwpt[i].live && g->hwpt[i].id == p.pt_id) {
            if (!g->hwpt[i].automatic || g->hwpt[i].space != s)
                fails("ATTACH of IOAS %u took HWPT %u, which is none of its own", s->id, p.pt_id);
            h = &g->hwpt[i];
        }
    if (!h->live) {
        *h = next;
        h->id = p.pt_id;
    }
    use->hwpt = h;
    if (h != old)
        moved(g, old);
    look_at(h, space_address(s));
}

static void attach_hwpt(struct guest_ *g, struct use *use, struct hwpt *h)
{
    struct device_ *d = use->device;
    struct nidus_vfio_attach p = { .pt_id = h->id };
    struct hwpt *old = use->hwpt;
    bool sure = h->unit == d->unit && (!h->nested || h->parent->unit == d->unit) && (h->properties | d->properties) == h->properties &&
                !(h->nested && d->properties & DMAR_NO_NESTED);
    int64_t result;

    note("attach device %llu, PASID %llu, guest %llu, to HWPT %llu", d->id, use->pasid, (ull)(g - m.guest), h->id);
    result = attach(g, use, h, &p, one_in(16) ? 1 + (unsigned)below(3) : 0);
    if (!pasid_rule(use, h)) {
        if (result != -NIDUS_EINVAL)
            fails("ATTACH of a HWPT that was not made for PASIDs: %lld", (long long)result);
        return;
    }
    if (result == 0 && use->pasid && !d->pasids)
        fails("ATTACH of PASID %u was accepted, which device %u does not send", use->pasid, d->id);
    if (result == 0 && h->nested && (!m.unit[d->unit].nest || (h->tree->levels == 5 && !m.unit[d->unit].fs_5level)))
        fails("ATTACH of a first stage that the unit cannot walk was accepted");
    if (result == 0 && h->nested && d->properties & DMAR_NO_NESTED)
        fails("ATTACH of a first stage was accepted, which firmware does not allow for device %u", d->id);
    if (result == -NIDUS_EOPNOTSUPP && use->pasid && !d->pasids)
        return;
    if (result != 0) {
        if (result != -NIDUS_ENOMEM && !(result == -NIDUS_ENOSPC && may_be_full(use)) &&
            (sure || (result != -NIDUS_EINVAL && result != -NIDUS_EOPNOTSUPP)))
            fails("ATTACH was refused: %lld", (long long)result);
        return;
    }
    if (p.pt_id != h->id)
        fails("ATTACH of HWPT %u says that it took %u", h->id, p.pt_id);
    use->hwpt = h;
    if (h != old)
        moved(g, old);
    look_at(h, h->nested ? tree_address(h->tree) : space_address(h->space));
}

/* Do two page tables over one second stage differ in what a present entry must not come to say at once? */
static bool are_unlike(const struct hwpt *a, const struct hwpt *b)
{
    return a->nested && b->nested ? a->tree->levels != b->tree->levels : a->sre || b->sre;
}

static const struct hwpt *second_stage_of(const struct hwpt *h)
{
    return h->nested ? h->parent : h;
}

/* What another device of the guest on the unit has under this PASID, or a page table over the second stage that this one has: what is to share
 * (DID, PASID)s, and to stop sharing them. */
static struct hwpt *kindred_hwpt(struct guest_ *g, const struct use *use, struct hwpt *otherwise)
{
    const struct device_ *other = some_device(g);
    unsigned from = (unsigned)below(HWPTS);

    if (one_in(2)) {
        struct hwpt *h = other ? other->use[use - use->device->use].hwpt : NULL;

        return h && h != use->hwpt && other->unit == use->device->unit ? h : otherwise;
    }
    for (unsigned i = one_in(2) ? 0 : HWPTS; use->hwpt && i < 2 * HWPTS; i++) { /* first one that is unlike, or any */
        struct hwpt *h = &g->hwpt[(from + i) % HWPTS];

        if (h->live && h != use->hwpt && second_stage_of(h) == second_stage_of(use->hwpt) && (i >= HWPTS || are_unlike(h, use->hwpt)))
            return h;
    }
    return otherwise;
}

/* A device that it was made for, if one comes to mind. */
void hwpt_gets_user(struct guest_ *g, struct hwpt *h)
{
    struct device_ *d = some_device(g);

    for (unsigned tries = 0; d && d->unit != h->unit && tries < 4; tries++)
        d = some_device(g);
    if (d)
        attach_hwpt(g, &d->use[0], h);
}

void hwpt_attaches(struct guest_ *g, struct use *use)
{
    struct hwpt *h = percent(use->pasid ? 97 : 80) ? some_hwpt(g, is_any) : NULL;

    if (h && one_in(2)) {
        struct hwpt *nested = some_hwpt(g, is_nested);

        h = nested ? nested : h;
    }
    if (h && !m.crowded && percent(m.family ? 70 : 50))
        h = kindred_hwpt(g, use, h);
    if (h)
        attach_hwpt(g, use, h);
    else if (!use->pasid)
        attach_space(g, use, some_space(g));
}

void hwpt_detaches(struct guest_ *g, struct use *use)
{
    struct nidus_vfio_detach p = { .argsz = use->pasid ? 12 : 8, .flags = use->pasid ? NIDUS_VFIO_DETACH_PASID : 0, .pasid = use->pasid };
    struct hwpt *old = use->hwpt;

    note("detach device %llu, PASID %llu, guest %llu", use->device->id, use->pasid, (ull)(g - m.guest));
    m.focus = use;
    use->changing = true;
    use->next = NULL;
    use->gapless = false;
    if (call(g, NIDUS_CALL_DETACH, &p, p.argsz, use->device->id) != 0)
        fails("DETACH failed");
    m.focus = NULL;
    use->changing = false;
    use->hwpt = NULL;
    moved(g, old);
    require_blocked(use->device);
}

/* Invalidate ------------------------------------------------------------------------------------------- */

#define ENTRIES_MAX 1200u
#define ENTRIES_AT  0x6000ULL /* in the guest's private pages */
_Static_assert(ENTRIES_AT + ENTRIES_MAX * sizeof(struct nidus_hwpt_vtd_s1_invalidate) < PRIVATE_PAGES * K4, "their room");

/* A range that covers something of what is stale, exactly or not. */
static void choose_range(struct hwpt *h, struct nidus_hwpt_vtd_s1_invalidate *e)
{
    const struct stale *s = h->stales ? &h->stale[percent(75) ? h->stales - 1 : below(h->stales)] : NULL;

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

/* What was changed lately in [first, last], or anything there. */
static uint64_t hot_within(const struct tree *t, uint64_t first, uint64_t last)
{
    unsigned from = (unsigned)below(16);

    for (unsigned i = 0; i < 16; i++) {
        uint64_t hot = t->hot[(from + i) % 16];

        if (hot >= first && hot <= last)
            return hot;
    }
    return first + below((last - first) / K4 + 1) * K4;
}

void hwpt_invalidates(struct guest_ *g, struct hwpt *h)
{
    static struct nidus_hwpt_vtd_s1_invalidate entry[ENTRIES_MAX];
    struct nidus_hwpt_invalidate p = { .size = sizeof p, .hwpt_id = h->id, .entry_len = sizeof entry[0] };
    uint32_t many = percent(60) ? 100 + (uint32_t)below(200) : 1030 + (uint32_t)below(170), bad = UINT32_MAX;
    uint32_t count = percent(70) ? 1 : percent(90) ? 1 + (uint32_t)below(12) : many;
    bool one_counts = count > 1 && one_in(2);
    uint64_t pages = (2ULL << below(3)) - 1; /* in so many blocks that what does not adjoin is more than the ring holds, with the devices' TLBs */
    uint32_t counts = one_in(2) ? count - 1 : 0; /* the one that is looked at */
    int64_t result;

    for (uint32_t i = 0; i < count; i++)
        if (i != counts && one_counts)
            entry[i] = (struct nidus_hwpt_vtd_s1_invalidate){ .addr = (0x123451 + i * (pages + 1)) * K4, .npages = pages };
        else
            choose_range(h, &entry[i]);
    if (one_in(count > 100 ? 20 : 5)) {
        count = 1;
        counts = 0;
        entry[0] = (struct nidus_hwpt_vtd_s1_invalidate){ .npages = UINT64_MAX };
    }
    if (one_in(25)) {
        bad = (uint32_t)below(count);
        entry[bad].addr |= 8;
    }
    note("invalidate HWPT %llu, guest %llu: %llu entries, the first 0x%llx, pages 0x%llx, flags %llu", h->id, (ull)(g - m.guest), count, entry[0].addr,
         entry[0].npages, entry[0].flags);
    p.entry_num = count;
    p.data_uptr = ENTRIES_AT;
    memcpy(host_guest_byte(g->host, p.data_uptr), entry, count * sizeof entry[0]);
    m.watched = h;
    m.watched_at = entry[counts].npages == UINT64_MAX ? h->tree->hot[below(16)]
                 : hot_within(h->tree, entry[counts].addr, entry[counts].addr + entry[counts].npages * K4 - 1);
    result = call(g, NIDUS_CALL_HWPT_INVALIDATE, &p, sizeof p, 0);
    m.watched = NULL;
    if (result != (bad == UINT32_MAX ? 0 : -NIDUS_EINVAL) || p.entry_num != (bad == UINT32_MAX ? count : bad))
        fails("HWPT_INVALIDATE of %u entries, the bad one %d: %lld after %u", count, (int)bad, (long long)result, p.entry_num);
    for (uint32_t i = 0; i < p.entry_num; i++) {
        bool all = entry[i].npages == UINT64_MAX;

        stale_done(h, entry[i].addr, all ? UINT64_MAX : entry[i].addr + entry[i].npages * K4 - 1, entry[i].flags & NIDUS_VTD_INV_LEAF);
    }
    if (p.entry_num > counts) {
        const struct nidus_hwpt_vtd_s1_invalidate *e = &entry[counts];

        look_at(h, e->npages == UINT64_MAX ? tree_address(h->tree) : hot_within(h->tree, e->addr, e->addr + e->npages * K4 - 1));
    }
}

/* Silence ---------------------------------------------------------------------------------------------- */

/* A device falls silent while others with a TLB have its page table: the request that meets it asks them as well. */
void hwpt_goes_silent(struct device_ *d)
{
    struct guest_ *g = d->guest;
    struct hwpt *h = d->use[0].hwpt;

    if (!h || h->automatic || d->silent || !ats_is_on(d))
        return;
    for (unsigned i = 0; i < m.devices; i++) {
        struct device_ *other = &m.device[i];

        if (other != d && other->guest == g && other->unit == d->unit && other->ats && !other->silent && other->use[0].hwpt != h)
            attach_hwpt(g, &other->use[0], h);
    }
    device_falls_silent(d);
    if (!h->nested) {
        space_unmaps(g, h->space);
        return;
    }
    tree_changes(g, h->tree);
    if (h->stales)
        hwpt_invalidates(g, h);
}
