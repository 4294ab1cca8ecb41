/* SPDX-License-Identifier: BSD-2-Clause */
/* hwpt.c: hardware page tables: paging HWPTs (second stages), nested HWPTs (first stages), and a guest's invalidations. */
#include "iommu/objects.h"

#define S1_FLAGS (NIDUS_VTD_S1_SRE | NIDUS_VTD_S1_EAFE | NIDUS_VTD_S1_WPE)
#define PAGING_FLAGS (NIDUS_HWPT_ALLOC_NEST_PARENT | NIDUS_HWPT_ALLOC_DIRTY_TRACKING | NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_PASID)
#define ADDRESS_PAGES BIT(52)
#define WIDE_PAGES BIT(18)      /* to invalidate more than that costs less as everything */

/* Fault queues --------------------------------------------------------------------------------------- */

static void put_faults(struct object *hwpt)
{
    if (hwpt->faults != NULL)
        hwpt->faults->channel.object.users--;
}

/* The new HWPT, with the fault queue that it is to have: as on Linux the last thing that is looked at. */
static int hwpt_made(struct call *call, struct object *hwpt)
{
    struct nidus_hwpt_alloc *alloc = &call->hwpt_alloc;

    if ((alloc->flags & NIDUS_HWPT_FAULT_ID_VALID) != 0) {
        struct object *queue = object_get(call->context, alloc->fault_id, OBJECT_FAULT_QUEUE);

        if (queue == NULL) {
            object_destroy(call->context, hwpt);
            return -NIDUS_ENOENT;
        }
        hwpt->faults = (struct fault_queue *)queue;
        queue->users++;
    }
    hwpt->pasid = (alloc->flags & NIDUS_HWPT_ALLOC_PASID) != 0;
    alloc->out_hwpt_id = hwpt->id;
    call->answer = true;
    return 0;
}

/* Paging --------------------------------------------------------------------------------------------- */

static int fill(struct call *call)
{
    struct paging *p = call->work.only;
    int error = ioas_fill(call);

    if (error == CALL_MORE)
        return error;
    if (error == 0)
        return call->work.filled(call, p);
    object_destroy(call->context, &p->object);
    return error;
}

int paging_create(struct call *call, struct ioas *ioas, const struct device *device, unsigned flags,
                  int (*filled)(struct call *call, struct paging *paging))
{
    struct iommu_context *c = call->context;
    struct paging *p = platform_alloc(c->guest, sizeof(*p));
    int error;

    if (p == NULL)
        return -NIDUS_ENOMEM;
    error = engine_domain_init(&p->domain, device, flags, c->guest);
    if (error != 0)
        goto free_object;
    error = object_add(c, &p->object, OBJECT_PAGING);
    if (error != 0)
        goto free_domain;
    error = ioas_add_hwpt(ioas, p);
    if (error != 0)
        goto free_id;
    call->work = (struct work){ .ioas = ioas, .only = p, .paging = p, .area = ioas->areas, .filled = filled };
    call->resume = fill;
    return fill(call);

free_id:
    object_remove(c, &p->object);
free_domain:
    while (!engine_domain_fini(&p->domain)) /* which has RMRRs at most */
        ;
free_object:
    platform_free(c->guest, p, sizeof(*p));
    return error;
}

void paging_free(struct iommu_context *c, struct paging *p)
{
    ioas_remove_hwpt(p);
    put_faults(&p->object);
    p->next = c->dying;
    c->dying = p;
}

bool paging_bury(struct iommu_context *c)
{
    struct paging *p = c->dying;

    if (p != NULL && engine_domain_fini(&p->domain)) {
        c->dying = p->next;
        platform_free(c->guest, p, sizeof(*p));
    }
    return c->dying == NULL;
}

static int paging_made(struct call *call, struct paging *p)
{
    return hwpt_made(call, &p->object);
}

/* HWPT_ALLOC over an IOAS. */
static int alloc_paging(struct call *call, struct ioas *ioas, const struct device *device)
{
    struct nidus_hwpt_alloc *alloc = &call->hwpt_alloc;
    unsigned flags = (alloc->flags & NIDUS_HWPT_ALLOC_NEST_PARENT ? ENGINE_NEST_PARENT : 0) |
                     (alloc->flags & NIDUS_HWPT_ALLOC_DIRTY_TRACKING ? ENGINE_DIRTY : 0);

    if ((alloc->flags & ~PAGING_FLAGS) != 0 || alloc->data_type != NIDUS_HWPT_DATA_NONE)
        return -NIDUS_EOPNOTSUPP;
    if ((flags & ENGINE_NEST_PARENT) != 0 && (!call->context->nested || (alloc->flags & NIDUS_HWPT_FAULT_ID_VALID) != 0))
        return -NIDUS_EOPNOTSUPP;
    return paging_create(call, ioas, device, flags, paging_made);
}

/* Nested --------------------------------------------------------------------------------------------- */

/* What does not depend on the unit; the engine checks the rest. */
static int check_first_stage(const struct nidus_hwpt_vtd_s1 *s1)
{
    if ((s1->flags & ~(uint64_t)S1_FLAGS) != 0 || s1->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    if ((s1->addr_width != 48 && s1->addr_width != 57) || s1->pgtbl_addr % PAGE_SIZE != 0)
        return -NIDUS_EINVAL;
    return 0;
}

static int nested_create(struct iommu_context *c, struct paging *parent, struct object *over, const struct device *device,
                         const struct nidus_hwpt_vtd_s1 *s1, struct nested **out)
{
    struct nested *n = platform_alloc(c->guest, sizeof(*n));
    int error;

    if (n == NULL)
        return -NIDUS_ENOMEM;
    n->over = over;
    n->first.parent = &parent->domain;
    n->first.pgtbl = s1->pgtbl_addr;
    n->first.levels = s1->addr_width == 57 ? 5 : 4;
    n->first.sre = (s1->flags & NIDUS_VTD_S1_SRE) != 0;
    n->first.eafe = (s1->flags & NIDUS_VTD_S1_EAFE) != 0;
    /* Write protection is about supervisor requests: without SRE Linux leaves it out, too. */
    n->first.wpe = (s1->flags & NIDUS_VTD_S1_WPE) != 0 && n->first.sre;
    error = object_add(c, &n->object, OBJECT_NESTED);
    if (error == 0) {
        error = engine_first_stage_init(&n->first, device);
        if (error != 0)
            object_remove(c, &n->object);
    }
    if (error != 0) {
        platform_free(c->guest, n, sizeof(*n));
        return error;
    }
    over->users++;
    *out = n;
    return 0;
}

void nested_free(struct iommu_context *c, struct nested *n)
{
    engine_first_stage_fini(&n->first);
    n->over->users--;
    put_faults(&n->object);
    platform_free(c->guest, n, sizeof(*n));
}

/* HWPT_ALLOC over a paging HWPT, or over a vIOMMU of that. */
static int alloc_nested(struct call *call, struct paging *parent, struct object *over, const struct device *device)
{
    struct nidus_hwpt_alloc *alloc = &call->hwpt_alloc;
    struct nidus_hwpt_vtd_s1 s1;
    struct nested *n;
    int error;

    if ((alloc->flags & ~(NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_PASID)) != 0 || alloc->data_len == 0 || !call->context->nested)
        return -NIDUS_EOPNOTSUPP;
    if (!parent->domain.nest_parent)
        return -NIDUS_EINVAL;
    if (alloc->data_type != NIDUS_HWPT_DATA_VTD_S1)
        return -NIDUS_EOPNOTSUPP;
    if (alloc->data_len != sizeof(s1))
        return -NIDUS_EINVAL;
    if (alloc->data_uptr == 0)
        return -NIDUS_EFAULT;
    error = platform_guest_read(call->context->guest, alloc->data_uptr, &s1, sizeof(s1));
    if (error == 0)
        error = check_first_stage(&s1);
    if (error == 0)
        error = nested_create(call->context, parent, over, device, &s1, &n);
    return error != 0 ? error : hwpt_made(call, &n->object);
}

int call_hwpt_alloc(struct call *call)
{
    struct nidus_hwpt_alloc *alloc = &call->hwpt_alloc;
    struct assigned *device;
    struct object *pt;

    if ((alloc->reserved | alloc->reserved2) != 0)
        return -NIDUS_EOPNOTSUPP;
    if ((alloc->data_type == NIDUS_HWPT_DATA_NONE) != (alloc->data_len == 0))
        return -NIDUS_EINVAL;
    device = (struct assigned *)object_get(call->context, alloc->dev_id, OBJECT_DEVICE);
    if (device == NULL)
        return -NIDUS_ENOENT;
    pt = object_find(call->context, alloc->pt_id);
    if (pt != NULL && pt->type == OBJECT_IOAS)
        return alloc_paging(call, (struct ioas *)pt, &device->device);
    if (pt != NULL && pt->type == OBJECT_PAGING)
        return alloc_nested(call, (struct paging *)pt, pt, &device->device);
    if (pt != NULL && pt->type == OBJECT_VIOMMU && ((struct viommu *)pt)->unit == device->device.unit)
        return alloc_nested(call, ((struct viommu *)pt)->parent, pt, &device->device);
    return -NIDUS_EINVAL;
}

/* Invalidation --------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct nidus_hwpt_vtd_s1_invalidate) == ENTRY_WORDS * sizeof(uint64_t) &&
               offsetof(struct nidus_hwpt_vtd_s1_invalidate, addr) == ENTRY_ADDR * sizeof(uint64_t) &&
               offsetof(struct nidus_hwpt_vtd_s1_invalidate, npages) == ENTRY_PAGES * sizeof(uint64_t) &&
               offsetof(struct nidus_hwpt_vtd_s1_invalidate, flags) == ENTRY_FLAGS * sizeof(uint64_t), "its words");

/* Copies the entries at gpa, or those before the first one that is not in RAM, and tells how many. */
__attribute__((noinline))
static unsigned copy_entries(struct iommu_context *c, uint64_t gpa, unsigned count)
{
    uint64_t (*entry)[ENTRY_WORDS] = c->step->entry;
    unsigned i = 0;

    while (i < count && platform_guest_read(c->guest, gpa + i * sizeof(*entry), entry[i], sizeof(*entry)) == 0)
        i++;
    return i;
}

/* Most are read where the guest has them.  They may change meanwhile: what one reading of a word has checked is what is used of it.  NULL: they
 * are to be copied. */
static inline const uint64_t *entries_in_place(const struct iommu_context *c, uint64_t gpa, unsigned count)
{
    return gpa % sizeof(uint64_t) == 0 ? platform_guest_piece(c->guest, gpa, count * ENTRY_WORDS * sizeof(uint64_t)) : NULL;
}

/* What an entry says, which is read once. */
struct range {
    uint64_t page, end;         /* 0, UINT64_MAX: everything */
    uint64_t flags;
};

static inline struct range entry_range(const uint64_t *entry)
{
    uint64_t addr = platform_load64(&entry[ENTRY_ADDR]);
    /* An address that is not on a page becomes one beyond all pages. */
    uint64_t page = addr >> PAGE_SHIFT | addr << (64 - PAGE_SHIFT);

    return (struct range){ page, page + platform_load64(&entry[ENTRY_PAGES]), platform_load64(&entry[ENTRY_FLAGS]) };
}

/* 0: it is good. */
static inline int range_error(const struct range *r)
{
    if ((r->flags & ~(uint64_t)NIDUS_VTD_INV_LEAF) != 0)
        return -NIDUS_EOPNOTSUPP;
    if (r->page < r->end && r->end <= ADDRESS_PAGES)
        return 0;
    return r->page == 0 && r->end == UINT64_MAX ? 0 : -NIDUS_EINVAL;
}

static inline uint64_t block(uint64_t page, uint64_t flags, unsigned am)
{
    return place(BLOCK_ADDR, page) | place(BLOCK_IH, flags) | am;
}

/* Adds a range that is not empty to count blocks, as the fewest that make it up: the next one is as large as its address is aligned to and as
 * what is left has room for.  A first stage's descriptor takes any AM: CAP.MAMV limits a second stage's.  Returns how many there are then. */
static inline uint64_t add_blocks(struct engine_blocks *blocks, uint64_t count, const struct range *r)
{
    uint64_t page = r->page, left = r->end - page;

    if (left > WIDE_PAGES || count == ENGINE_EVERYTHING)
        return ENGINE_EVERYTHING;
    do {
        unsigned am = left == 1 ? 0 : (unsigned)__builtin_ctzll(page | BIT(63 - (unsigned)__builtin_clzll(left)));

        blocks->block[count++] = block(page, r->flags, am);
        page += BIT(am);
        left -= BIT(am);
    } while (left != 0 && count != ENGINE_EVERYTHING);
    return count;
}

/*
 * Makes blocks of the first *count entries.  Those that go on where another ends go with it: guests give up memory page by page, in
 * order.  The first bad one ends that with its error; *count: those before it.
 */
static inline int make_blocks(struct engine_blocks *blocks, const uint64_t *entry, unsigned *count)
{
    const uint64_t *e = entry, *stop = entry + *count * ENTRY_WORDS;
    struct range together = { 0 };
    uint64_t made = 0;
    int error = 0;

    for (; e != stop; e += ENTRY_WORDS) {
        struct range r = entry_range(e);

        if (r.page != together.end || r.flags != together.flags) {
            if (together.page != together.end)
                made = add_blocks(blocks, made, &together);
            together = (struct range){ r.page, r.page, r.flags };
        }
        error = range_error(&r);
        if (error != 0)
            break;
        together.end = r.end;
    }
    if (together.page != together.end)
        made = add_blocks(blocks, made, &together);
    blocks->count = made;
    if (error != 0)
        *count = (unsigned)(e - entry) / ENTRY_WORDS;
    return error;
}

/* Is the call right as a whole?  Then *first is what it is about. */
static inline int check_invalidate(struct call *call, struct first_stage **first)
{
    const struct nidus_hwpt_invalidate *inv = &call->invalidate;
    struct object *object;

    if (inv->reserved != 0)
        return -NIDUS_EOPNOTSUPP;
    if (inv->entry_num != 0 && (inv->data_uptr == 0 || inv->entry_len == 0))
        return -NIDUS_EINVAL;
    if (inv->entry_len > PAGE_SIZE || inv->entry_num > NIDUS_HWPT_INVALIDATE_MAX_ENTRIES)
        return -NIDUS_EINVAL;
    object = object_find(call->context, inv->hwpt_id);
    if (object == NULL)
        return -NIDUS_ENOENT;
    if (object->type != OBJECT_NESTED)  /* a vIOMMU: as in Linux where a driver's has no caches of its own */
        return object->type == OBJECT_VIOMMU ? -NIDUS_EOPNOTSUPP : -NIDUS_EINVAL;
    if (inv->data_type != NIDUS_HWPT_INVALIDATE_DATA_VTD_S1)
        return -NIDUS_EINVAL;
    if (inv->entry_num != 0 && inv->entry_len != sizeof(struct nidus_hwpt_vtd_s1_invalidate))
        return -NIDUS_EINVAL;
    *first = &((struct nested *)object)->first;
    return 0;
}

/* A step.  entry_num: entries that are good and whose invalidation has happened. */
static int invalidate(struct call *call)
{
    struct nidus_hwpt_invalidate *inv = &call->invalidate;
    struct iommu_context *c = call->context;
    struct engine_blocks *blocks = &c->step->blocks;
    uint64_t gpa = inv->data_uptr + inv->entry_num * sizeof(c->step->entry[0]);
    uint32_t left = call->entries - inv->entry_num;
    unsigned wanted = left < STEP_ENTRIES ? left : STEP_ENTRIES, count = wanted;
    const uint64_t *entry = entries_in_place(c, gpa, count);
    int error = 0, bad;

    if (entry == NULL) {
        count = copy_entries(c, gpa, count);
        entry = c->step->entry[0];
    }
    bad = make_blocks(blocks, entry, &count);
    if (blocks->count != 0)
        error = engine_invalidate(call->first, blocks);
    if (error != 0)
        return error;
    inv->entry_num += count;
    if (count != wanted)
        return bad != 0 ? bad : -NIDUS_EFAULT;
    return inv->entry_num < call->entries ? CALL_MORE : 0;
}

__attribute__((noinline))
static int invalidate_all(struct call *call, struct first_stage *first)
{
    call->entries = call->invalidate.entry_num;
    call->invalidate.entry_num = 0;
    call->answer = true;        /* entry_num goes back, on every path */
    call->first = first;
    call->resume = invalidate;
    return invalidate(call);
}

/* The most frequent call: of one entry, in place, of one page, good.  Then blocks are that. */
static inline bool is_one_page(const struct call *call, struct engine_blocks *blocks)
{
    const uint64_t *entry = call->invalidate.entry_num == 1 ? entries_in_place(call->context, call->invalidate.data_uptr, 1) : NULL;
    struct range r;

    if (entry == NULL)
        return false;
    r = entry_range(entry);
    if (r.end - r.page != 1 || range_error(&r) != 0)
        return false;
    blocks->block[0] = block(r.page, r.flags, 0);
    blocks->count = 1;
    return true;
}

int call_hwpt_invalidate(struct call *call)
{
    struct engine_blocks *blocks = &call->context->step->blocks;
    struct first_stage *first;
    int error = check_invalidate(call, &first);

    if (error == 0) {
        if (!is_one_page(call, blocks))
            return invalidate_all(call, first);
        error = engine_invalidate(first, blocks);
        if (error == 0)
            return 0;           /* entry_num is what the guest has there */
    }
    call->invalidate.entry_num = 0;
    call->answer = true;
    return error;
}
