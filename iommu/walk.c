/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/walk.h"

#include "iommu/registers.h"
#include "kernel/abi/nidus.h"

/* First-stage entries, 9.7. */
#define FS_P    BIT(0)
#define FS_W    BIT(1)
#define FS_U    BIT(2)
#define FS_A    BIT(5)
#define FS_D    BIT(6)
#define FS_PS   BIT(7)
#define FS_ADDR BITS(51, 12)

#define INDEX_BITS 9u

/* The block of addresses that one entry of a table of that level maps. */
static uint64_t entry_span(unsigned level) { return PAGE_SIZE << (INDEX_BITS * (level - 1)); }

static struct walk_end first_fails(unsigned level)
{
    return (struct walk_end){ .stage = NIDUS_FAULT_STAGE_FIRST, .level = (uint8_t)level };
}

/* Does the second stage grant rights at gpa?  If not, end says where it stops. */
static bool second_allows(const struct domain *d, uint64_t gpa, unsigned rights, uint64_t *hpa, struct walk_end *end)
{
    unsigned granted = 0, level = 0;
    bool mapped = gpa < d->table.limit && !stage2_lookup(&d->table, gpa, hpa, &granted, NULL, &level);
    if (mapped && (granted & rights) == rights)
        return true;
    *end = (struct walk_end){ .stage = NIDUS_FAULT_STAGE_SECOND, .level = (uint8_t)level, .gpa_valid = true, .gpa = gpa };
    return false;
}

static bool is_leaf(uint64_t entry, unsigned level) { return level == 1 || entry & FS_PS; }

/* Bits that have to be 0 in an entry that is present. */
static bool has_reserved_bits(const struct unit *u, uint64_t entry, unsigned level)
{
    if (entry & FS_ADDR & ~BITS(u->host_width - 1, 0))
        return true;
    if (level == 1 || !(entry & FS_PS))
        return false;
    if (level > 3 || (level == 3 && !(u->cap & CAP_FS1GP)))
        return true;
    return entry & (entry_span(level) - 1) & BITS(51, 13); /* bit 12 of a large leaf is PAT */
}

/* The GPA of the guest's memory at hpa.  Mostly it is the address that the second stage maps there, guess. */
static bool ram_at(struct guest *owner, uint64_t hpa, uint64_t guess, uint64_t *gpa)
{
    uint64_t page = hpa & ~(PAGE_SIZE - 1), base, size, at, run;
    *gpa = guess;
    if (platform_guest_memory(owner, guess & ~(PAGE_SIZE - 1), &at, &run) >= 0 && at == page)
        return true;
    for (unsigned i = 0; platform_guest_region(owner, i, &base, &size); i++)
        for (uint64_t done = 0; done < size && platform_guest_memory(owner, base + done, &at, &run) >= 0; done += run)
            if (page - at < run) {
                *gpa = base + done + (hpa - at);
                return true;
            }
    return false;
}

#define MARKS_NOT_WRITTEN 0x77u     /* SFS.8 */
#define MARKS_NOT_SNOOPED 0x90u     /* SFS.9 */

/* Did A or D that this entry lacks stop the request?  Only the unit knows when it has to set them: a request that it refused for another
 * reason got beyond that, or would never have set them. */
static bool marks_allow(const struct domain *d, uint64_t gpa, uint8_t reason, struct walk_end *end)
{
    uint64_t hpa;
    if (reason == MARKS_NOT_WRITTEN)
        return second_allows(d, gpa, STAGE2_READ | STAGE2_WRITE, &hpa, end);
    return reason != MARKS_NOT_SNOOPED;
}

/*
 * The checks of a first-stage entry in the order in which hardware makes them.  The entry is read where the second stage has it, which
 * is a guest's memory: it may change at any time, and only the report depends on it.
 */
static bool entry_allows(const struct device *dev, const struct domain *d, uint64_t gpa, unsigned level, bool write, uint8_t reason, uint64_t *entry,
                         struct walk_end *end)
{
    uint64_t hpa;
    if (!second_allows(d, gpa, STAGE2_READ, &hpa, end)) {
        end->first_level = (uint8_t)level;
        return false;
    }
    uint64_t ram;
    *end = (struct walk_end){ 0 };
    if (!ram_at(d->owner, hpa, gpa, &ram) || platform_guest_read(d->owner, ram, entry, sizeof *entry))
        return false;
    *end = first_fails(level);
    if (!(*entry & FS_P) || has_reserved_bits(dev->unit, *entry, level) || !(*entry & FS_U))
        return false;
    if ((*entry & FS_ADDR) >= BIT(unit_address_width(dev->unit, d->table.levels)))
        return false;
    bool marks = !(*entry & FS_A) || (write && is_leaf(*entry, level) && !(*entry & FS_D));
    if (marks && !marks_allow(d, gpa, reason, end)) {
        end->first_level = reason == MARKS_NOT_WRITTEN ? (uint8_t)level : 0;
        return false;
    }
    return true;
}

static struct walk_end walk_second(const struct domain *d, uint64_t addr, bool write)
{
    struct walk_end end, nothing = { 0 };
    uint64_t hpa;
    return second_allows(d, addr, write ? STAGE2_WRITE : STAGE2_READ, &hpa, &end) ? nothing : end;
}

static struct walk_end walk_first(const struct device *dev, const struct first_stage *f, uint64_t addr, bool write, uint8_t reason)
{
    struct walk_end end;
    uint64_t table = f->pgtbl, entry;
    unsigned read_only_at = 0, level = f->levels;
    for (;; level--) {
        uint64_t index = addr / entry_span(level) % BIT(INDEX_BITS);
        if (!entry_allows(dev, f->parent, table + index * sizeof entry, level, write, reason, &entry, &end))
            return end;
        if (!(entry & FS_W) && !read_only_at)
            read_only_at = level;
        if (is_leaf(entry, level))
            break;
        table = entry & FS_ADDR;
    }
    if (write && read_only_at)
        return first_fails(read_only_at);
    uint64_t span = entry_span(level);
    return walk_second(f->parent, (entry & FS_ADDR & ~(span - 1)) | (addr & (span - 1)), write);
}

struct walk_end walk_request(const struct device *dev, uint32_t pasid, uint64_t addr, bool write, uint8_t reason)
{
    struct first_stage *f;
    struct domain *d;
    engine_attached(dev, pasid, &d, &f);
    if (!d)
        return (struct walk_end){ 0 };
    platform_lock(&d->lock);
    struct walk_end end = f ? walk_first(dev, f, addr, write, reason) : walk_second(d, addr, write);
    platform_unlock(&d->lock);
    return end;
}
