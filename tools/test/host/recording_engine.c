/* SPDX-License-Identifier: BSD-2-Clause */
/* recording_engine.c: a contract of engine.h that the object layer breaks aborts. */
#include "tools/test/host/recording_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/iommu.h"
#include "tools/test/host/platform.h"

struct engine_recording engine;

/* What is attached, in no order. */
static struct attached {
    const struct device *dev;
    uint32_t pasid;
    struct domain *d;
    struct first_stage *f;
} attached[4200];

/* Page requests: on for whom? */
static const struct device *requesting[4];

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "recording engine: %s\n", what);
    abort();
}

void engine_recording_reset(void)
{
    free(engine.page);
    memset(attached, 0, sizeof(attached));
    memset(requesting, 0, sizeof(requesting));
    engine = (struct engine_recording){ .levels = 4, .unit = { .cap = 0x1234, .ecap = 0x5678, .nested = true } };
}

void engine_fail(enum engine_call call, unsigned n, int error, enum engine_damage damage)
{
    engine.fail_call = call;
    engine.fail_in = n;
    engine.fail_error = error;
    engine.fail_damage = damage;
}

/* The error that this call is to return. */
static int record(enum engine_call call)
{
    engine.count[call]++;
    if (engine.fail_call != call || engine.fail_in == 0 || --engine.fail_in != 0)
        return 0;
    return engine.fail_error;
}

static struct attached *find(const struct device *dev, uint32_t pasid)
{
    for (unsigned i = 0; i < sizeof(attached) / sizeof(attached[0]); i++)
        if (attached[i].dev == dev && attached[i].pasid == pasid)
            return &attached[i];
    return NULL;
}

static void move(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f)
{
    struct attached *a = find(dev, pasid);

    if (a != NULL) {
        *(a->f != NULL ? &a->f->users : &a->d->users) -= 1;
        *a = (struct attached){ 0 };
    }
    if (d == NULL && f == NULL)
        return;
    a = find(NULL, 0);
    require(a != NULL, "too many attachments for the test");
    *a = (struct attached){ dev, pasid, f != NULL ? f->parent : d, f };
    *(f != NULL ? &f->users : &d->users) += 1;
}

static void detached(const struct device *dev)
{
    for (unsigned i = 0; i < sizeof(attached) / sizeof(attached[0]); i++)
        require(attached[i].dev != dev, "a device goes that is attached");
}

bool engine_device_init(struct device *dev, char reason[160])
{
    require(dev->owner != NULL && dev->context != NULL && dev->id != 0, "device without owner, context or id");
    if (record(ENGINE_DEVICE_INIT) == 0)
        return true;
    snprintf(reason, 160, "refused on demand");
    return false;
}

int engine_device_fini(struct device *dev)
{
    int error = record(ENGINE_DEVICE_FINI);

    if (error == 0)
        detached(dev);
    return error;
}

bool engine_device_fenced(const struct device *dev)
{
    (void)dev;
    return engine.fenced;
}

void engine_unit_info(const struct device *dev, struct unit_info *info)
{
    (void)dev;
    *info = engine.unit;
}

int engine_domain_init(struct domain *d, const struct device *dev, unsigned flags, struct guest *owner)
{
    int error = record(ENGINE_DOMAIN_INIT);

    if (error != 0)
        return error;
    if ((flags & ENGINE_DIRTY) != 0 && !engine.unit.dirty)
        return -NIDUS_EOPNOTSUPP;
    *d = (struct domain){ .nest_parent = flags & ENGINE_NEST_PARENT, .dirty = flags & ENGINE_DIRTY, .owner = owner,
                          .rmrr_of = engine.reserved.last != 0 ? dev : NULL };
    return stage2_init(&d->table, &stage2_vtd, engine.levels, STAGE2_2M, !engine.no_snoop, owner);
}

bool engine_domain_fini(struct domain *d)
{
    record(ENGINE_DOMAIN_FINI);
    require(d->users == 0, "a domain in use is freed");
    return stage2_destroy_some(&d->table);
}

const struct unit *engine_erratum_772415(void)
{
    return engine.unit.errata_772415 ? (const void *)&engine : NULL; /* nobody looks inside */
}

int domain_allows_read_only(const struct domain *d)
{
    return d->nest_parent && engine.unit.errata_772415 ? -NIDUS_EINVAL : 0;
}

int engine_domain_map(struct domain *d, uint64_t iova, uint64_t hpa, uint64_t size, unsigned prot)
{
    int error = record(ENGINE_MAP), result;

    if (error != 0 && engine.fail_damage == DAMAGE_NONE)
        return error;
    result = engine_domain_allows(d, prot);
    if (result == 0)
        result = stage2_map(&d->table, iova, hpa, size, prot);
    return result != 0 ? result : error;
}

bool engine_domain_merge(struct domain *d, uint64_t iova, uint64_t size)
{
    struct stage2_freed freed;

    if (d->dirty || !stage2_merge(&d->table, iova, size, &freed))
        return false;
    stage2_free(&d->table, &freed);
    return true;
}

int engine_domain_split(struct domain *d, uint64_t iova, uint64_t size)
{
    return stage2_split(&d->table, iova, size);
}

int engine_domain_unmap(struct domain *d, uint64_t iova, uint64_t size)
{
    struct stage2_freed freed = { 0 };
    int error = record(ENGINE_UNMAP), result;

    if (error != 0 && engine.fail_damage == DAMAGE_NONE)
        return error;
    result = stage2_unmap(&d->table, iova, size, &freed, NULL);
    stage2_free(&d->table, &freed);
    return result != 0 ? result : error;
}

int engine_domain_track(struct domain *d, bool on)
{
    int error = record(ENGINE_TRACK);

    require(d->dirty, "tracking in a domain that was not made for it");
    if (error == 0)
        d->table.dirty = on;
    return error;
}

int engine_domain_dirty(struct domain *d, uint64_t iova, uint64_t *size, bool clear, stage2_sink *sink, void *context)
{
    bool cleared;

    require(*size != 0 && iova + *size <= d->table.limit, "a range that the table does not reach");
    *size = stage2_dirty(&d->table, iova, *size, clear, &cleared, sink, context);
    return record(ENGINE_READ_DIRTY);
}

bool rmrr_reserved(const struct device *dev, uint64_t first, uint64_t last, uint64_t *range_first, uint64_t *range_last)
{
    (void)dev;
    *range_first = engine.reserved.start;
    *range_last = engine.reserved.last;
    return first <= engine.reserved.last && last >= engine.reserved.start;
}

int engine_first_stage_init(struct first_stage *f, const struct device *dev)
{
    int error = record(ENGINE_FIRST_INIT);

    (void)dev;
    if (error != 0)
        return error;
    require(f->parent->nest_parent, "a first stage over no nest parent");
    if (f->pgtbl >= f->parent->table.limit)
        return -NIDUS_EINVAL;
    f->parent->users++;
    return 0;
}

void engine_first_stage_fini(struct first_stage *f)
{
    record(ENGINE_FIRST_FINI);
    require(f->users == 0, "a first stage in use is freed");
    f->parent->users--;
}

int engine_attach(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f)
{
    int error = record(ENGINE_ATTACH);

    if (error == 0 || engine.fail_damage == DAMAGE_DONE)
        move(dev, pasid, d, f);
    else if (engine.fail_damage == DAMAGE_BLOCKED)
        move(dev, pasid, NULL, NULL);
    else if (engine.fail_damage == DAMAGE_BOTH) {
        struct attached old = *find(dev, pasid);

        move(dev, pasid, d, f);
        *(old.f != NULL ? &old.f->users : &old.d->users) += 1;
    }
    if (engine.at_once != NULL)
        engine_page_request(dev, engine.at_once);
    return error;
}

int engine_detach(struct device *dev, uint32_t pasid)
{
    int error = record(ENGINE_DETACH);

    if (error == 0)
        move(dev, pasid, NULL, NULL);
    return error;
}

void engine_attached(const struct device *dev, uint32_t pasid, struct domain **d, struct first_stage **f)
{
    const struct attached *a = find(dev, pasid);

    *d = a != NULL ? a->d : NULL;
    *f = a != NULL ? a->f : NULL;
}

bool engine_next_attached(const struct device *dev, uint32_t *pasid)
{
    const struct attached *next = NULL;

    for (unsigned i = 0; i < sizeof(attached) / sizeof(attached[0]); i++)
        if (attached[i].dev == dev && attached[i].pasid >= *pasid && (next == NULL || attached[i].pasid < next->pasid))
            next = &attached[i];
    if (next != NULL)
        *pasid = next->pasid;
    return next != NULL;
}

void engine_stop(struct device *dev)
{
    (void)dev;
}

void engine_orphan(struct device *dev)
{
    dev->context = NULL;
}

static void record_page(uint64_t page)
{
    static size_t room;

    if (engine.page == NULL)
        room = 0;
    if (engine.pages == room) {
        room = room == 0 ? 1024 : 2 * room;
        engine.page = realloc(engine.page, room * sizeof(*engine.page));
        require(engine.page != NULL, "no memory");
    }
    engine.page[engine.pages++] = page;
}

int engine_invalidate(struct first_stage *f, const struct engine_blocks *blocks)
{
    int error = record(ENGINE_INVALIDATE);

    require(blocks->count >= 1 && blocks->count <= ENGINE_EVERYTHING, "number of blocks");
    if (error != 0)
        return error;
    engine.blocks = *blocks;
    engine.invalidated = f;
    if (blocks->count == ENGINE_EVERYTHING)
        record_page(UINT64_MAX);
    for (unsigned i = 0; i < blocks->count && blocks->count != ENGINE_EVERYTHING; i++)
        for (uint64_t page = 0; page < BIT(blocks->block[i] & BLOCK_AM); page++)
            record_page((blocks->block[i] & ~BLOCK_AM) + page * PAGE_SIZE);
    return 0;
}

static const struct device **find_requesting(const struct device *dev)
{
    for (unsigned i = 0; i < sizeof(requesting) / sizeof(requesting[0]); i++)
        if (requesting[i] == dev)
            return &requesting[i];
    return NULL;
}

int engine_page_requests_check(const struct device *dev)
{
    (void)dev;
    return record(ENGINE_PAGE_CHECK);
}

int engine_page_requests(struct device *dev, bool on)
{
    bool is_on = find_requesting(dev) != NULL;
    int error;

    if (is_on == on)
        return 0;
    if (!on && engine.late != NULL) /* the drain brings what was under way */
        engine.late_taken = engine_page_request(dev, engine.late);
    error = record(on ? ENGINE_PAGE_ON : ENGINE_PAGE_OFF);
    if (error == 0)
        *find_requesting(on ? NULL : dev) = on ? dev : NULL;
    return error;
}

int engine_page_response(struct device *dev, const struct engine_page_answer *answer, unsigned count)
{
    int error = record(ENGINE_PAGE_RESPONSE);

    require(find_requesting(dev) != NULL, "an answer while page requests are off");
    require(count >= 1 && engine.answers + count <= 64, "number of answers");
    for (unsigned i = 0; i < count; i++, engine.answers++) {
        engine.answer[engine.answers] = answer[i];
        engine.answered[engine.answers] = dev;
    }
    return error;
}

bool iommu_poll(void)
{
    record(ENGINE_POLL);
    return false;
}
