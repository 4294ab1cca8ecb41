/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * binding.h: which PASID-table entries lead to which table, and under which domain id.
 *
 *   device, PASID ──► binding {DID, PASID, table} ──► domain_id {unit, DID} ──► domain (SSPTPTR)
 *                        └──► first stage, or none: the domain itself
 *
 * What the spec wants of entries (6.2.3.1) holds by construction: a DID belongs to one second stage, so the same DID means the same SSPTPTR,
 * AW, PWSNP and PGSNP; and a binding is added only where no other device has the same (DID, PASID) for another table.
 *
 * Tables over one second stage share its DID wherever that allows it: a change of the second stage then takes one invalidation a unit
 * instead of one for each address space.  The price: taking one of them down flushes the IOTLB of all (docs/vtd-engine.md has figures).
 */
#ifndef NIDUS_BINDING_H
#define NIDUS_BINDING_H

#include "iommu/tables.h"
#include "iommu/unit.h"

/* What dev's requests with this PASID use; NULL: nothing, they are blocked. */
static inline struct binding *binding_of(const struct device *dev, uint32_t pasid)
{
    const struct pasid_table *table = pasid_table(dev, pasid);
    return table ? table->binding[pasid % PASIDS_A_TABLE] : NULL;
}
/* The first PASID from *pasid on that has one, or NULL. */
struct binding *binding_next(const struct device *dev, uint32_t *pasid);

/* How the DID of a new binding is chosen. */
enum binding_choice {
    BINDING_SHARED,             /* one that is there, where it can be */
    BINDING_ALONE,              /* the same, but nobody else has that PASID under it */
    BINDING_IN_PLACE,           /* the DID that dev has there now: nobody else has that (DID, PASID) */
};

/* A binding of dev and pasid to f or, f NULL, to d, that no entry leads to yet; or the one that others have.
 * -ENOMEM; -ENOSPC: the owner has as many DIDs of the unit as it may. */
int binding_take(struct device *dev, uint32_t pasid, struct domain *d, struct first_stage *f, enum binding_choice how, struct binding **out);
/* One device fewer.  With the last one of a DID, the DID is free again: no cache holds anything of it. */
void binding_drop(struct binding *b);

#endif
