/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/binding.h"

#include "iommu/attach.h"

struct binding *binding_next(const struct device *dev, uint32_t *pasid)
{
    for (; *pasid < dev->pasids; ++*pasid) {
        struct binding *b = binding_of(dev, *pasid);
        if (b)
            return b;
        if (!pasid_table(dev, *pasid))
            *pasid |= PASIDS_A_TABLE - 1;
    }
    return NULL;
}

/* Domain ids ----------------------------------------------------------------------------------------- */

/* May an entry of dev for pasid that leads to f have this DID?  alone: and nobody else has that PASID under it. */
static bool suits(const struct domain_id *id, const struct device *dev, uint32_t pasid, const struct first_stage *f, bool alone)
{
    if (id->unit != dev->unit || id->snoop != dev->snoop)
        return false;
    for (const struct device *other = id->unit->devices; other; other = other->next) {
        const struct binding *b = binding_of(other, pasid);
        if (b && b->id == id && (alone || b->first != f))
            return false;
    }
    return true;
}

/* A guest may have the share of a unit's DIDs that it has of the unit's devices, so that none runs out because of another. */
static bool has_its_share(const struct device *dev)
{
    uint64_t devices = 0, own = 0, ids = 0;
    for (const struct device *other = dev->unit->devices; other; other = other->next) {
        devices++;
        own += other->owner == dev->owner;
    }
    for (const struct domain_id *id = dev->unit->ids; id; id = id->next_of_unit)
        ids += id->domain->owner == dev->owner;
    uint64_t share = dev->unit->did_last * own / devices;
    return ids >= (share ? share : 1);
}

static int new_id(const struct device *dev, struct domain *d, struct domain_id **out)
{
    struct unit *u = dev->unit;
    if (has_its_share(dev))
        return refuse(dev->owner, NIDUS_ENOSPC, "unit %u: its share of the domain ids is in use", u->index);
    int did = unit_did_alloc(u);
    if (did < 0)
        return did;
    struct domain_id *id = &d->own_id;
    if (id->bindings)
        id = platform_alloc(dev->owner, sizeof *id);
    if (!id) {
        unit_did_free(u, (uint16_t)did);
        return -NIDUS_ENOMEM;
    }
    struct domain_id **link = &d->ids;
    while (*link && (*link)->unit != u)
        link = &(*link)->next;
    *id = (struct domain_id){ .next = *link, .next_of_unit = u->ids, .domain = d, .unit = u, .did = (uint16_t)did, .snoop = dev->snoop };
    *link = u->ids = id;
    *out = id;
    return 0;
}

static void free_id(struct domain_id *id)
{
    struct domain_id **link = &id->domain->ids, **of_unit = &id->unit->ids;
    while (*link != id)
        link = &(*link)->next;
    while (*of_unit != id)
        of_unit = &(*of_unit)->next_of_unit;
    *link = id->next;
    *of_unit = id->next_of_unit;
    unit_did_free(id->unit, id->did);
    if (id != &id->domain->own_id)
        platform_free(id->domain->owner, id, sizeof *id);
}

/* Bindings ------------------------------------------------------------------------------------------- */

static struct binding **list_of(struct domain *d, struct first_stage *f)
{
    return f ? &f->bindings : &d->bindings;
}

static struct binding *own_of(struct domain *d, struct first_stage *f)
{
    return f ? &f->own_binding : &d->own_binding;
}

static int choose_id(const struct device *dev, uint32_t pasid, struct domain *d, const struct first_stage *f, enum binding_choice how,
                     struct domain_id **out)
{
    if (how == BINDING_IN_PLACE) {
        *out = binding_of(dev, pasid)->id;
        return 0;
    }
    for (*out = d->ids; *out; *out = (*out)->next)
        if (suits(*out, dev, pasid, f, how == BINDING_ALONE))
            return 0;
    return new_id(dev, d, out);
}

static struct binding *find(struct binding *list, const struct domain_id *id, uint32_t pasid)
{
    while (list && (list->id != id || list->pasid != pasid))
        list = list->next;
    return list;
}

/* Puts a new binding next to the others of its unit. */
static struct binding *add(struct domain_id *id, uint32_t pasid, struct first_stage *f)
{
    struct binding **link = list_of(id->domain, f), *b = own_of(id->domain, f);
    if (b->devices)
        b = platform_alloc(id->domain->owner, sizeof *b);
    if (!b)
        return NULL;
    while (*link && (*link)->id->unit != id->unit)
        link = &(*link)->next;
    *b = (struct binding){ .next = *link, .id = id, .first = f, .pasid = pasid };
    b->descriptor = qi_first_stage_block(id->did, pasid, 0).word[0];
    *link = b;
    id->bindings++;
    return b;
}

int binding_take(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f, enum binding_choice how, struct binding **out)
{
    struct domain_id *id;
    int error = choose_id(dev, pasid, d, f, how, &id);
    if (error)
        return error;
    struct binding *b = find(*list_of(d, f), id, pasid);
    if (!b)
        b = add(id, pasid, f);
    if (!b) {
        if (!id->bindings)
            free_id(id);
        return -NIDUS_ENOMEM;
    }
    b->devices++;
    *out = b;
    return 0;
}

void binding_drop(struct binding *b)
{
    struct domain_id *id = b->id;
    if (--b->devices)
        return;
    struct binding **link = list_of(id->domain, b->first);
    while (*link != b)
        link = &(*link)->next;
    *link = b->next;
    if (b != own_of(id->domain, b->first))
        platform_free(id->domain->owner, b, sizeof *b);
    if (!--id->bindings)
        free_id(id);
}
