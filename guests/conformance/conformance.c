/* SPDX-License-Identifier: BSD-2-Clause */
/* conformance.c: items one by one, each with nothing left of those before it; and what they are written with. */
#include "guests/conformance/conformance.h"

#include <stdio.h>
#include <string.h>

#define HIGHEST_ID   512u
#define PASID_TRIED  256u       /* items attach PASIDs below it */
#define KEPT_TABLES  16u

static char failure[240];
static uint64_t used;           /* of the arena */
static struct pgtable tables[KEPT_TABLES];
static unsigned tables_used;

void expect(bool condition, const char *what, int line)
{
    if (!condition && failure[0] == '\0')
        snprintf(failure, sizeof(failure), "line %d: %s: no", line, what);
}

void expect_errno(int error, int want, const char *call, int line)
{
    if (error != -want && failure[0] == '\0')
        snprintf(failure, sizeof(failure), "line %d: %s: %s, expected %s", line, call, errno_name(error), errno_name(want));
}

bool items_tidy(void)
{
    bool more = true;
    unsigned left = 0;

    for (unsigned i = 0; i < DEVICES; i++)
        for (uint32_t pasid = 0; ID(i) && pasid < PASID_TRIED; pasid++)
            if (pasid ? iommufd_detach_pasid(ID(i), pasid) : iommufd_detach(ID(i)))
                return false;
    while (more) {
        more = false;
        left = 0;
        for (uint32_t id = HIGHEST_ID; id != 0; id--) {
            int error = id == rig.default_ioas ? -NIDUS_ENOENT : iommufd_destroy(id);

            more |= error == 0;
            left += error == -NIDUS_EBUSY;
        }
    }
    for (unsigned i = 0; i < DEVICES; i++)
        left -= ID(i) != 0;
    memset(rig.arena, 0, used);
    used = 0;
    tables_used = 0;
    return left == 0;
}

static bool run_item(const struct item *item)
{
    if (item->not_in_qemu && !rig_inside) {
        printf("n/a %u %s: %s\n", item->number, item->rule, item->not_in_qemu);
        return true;
    }
    failure[0] = '\0';
    item->run();
    expect(items_tidy(), "everything can be given back", 0);
    if (rig_inside && rig_inside->violation())
        expect(false, rig_inside->violation(), 0);
    if (failure[0])
        printf("FAIL %u %s: %s\n", item->number, item->rule, failure);
    else
        printf("ok %u %s\n", item->number, item->rule);
    return failure[0] == '\0';
}

unsigned items_run(void)
{
    static const struct item *const all[] = { items_envelope, items_hwpt, items_ioas, items_dirty, items_pasid, items_beyond };
    unsigned failed = 0;

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (const struct item *item = all[i]; item->number; item++)
            failed += !run_item(item);
    printf("conformance: %u failed\n", failed);
    return failed;
}

/* Memory and tables -------------------------------------------------------------------------------------- */

void *pages(unsigned count)
{
    uint8_t *p = rig.arena + used;

    used += count * K4;
    if (used > rig.arena_bytes) {
        printf("conformance: the arena is too small\n");
        __builtin_trap();
    }
    return p;
}

void *marked_pages(unsigned count)
{
    static uint64_t mark = 0x6d61726b00000000ULL;
    uint64_t *p = pages(count);

    for (unsigned i = 0; i < count * K4 / 8; i++)
        p[i] = mark++;
    return p;
}

static uint64_t *table_alloc(void *context, uint64_t *address)
{
    uint64_t *table = pages(1);

    (void)context;
    *address = gpa(table);
    return table;
}

static void table_free(void *context, uint64_t *table, uint64_t address)
{
    (void)context, (void)table, (void)address; /* goes with the item */
}

static uint64_t *table_at(void *context, uint64_t address)
{
    (void)context;
    return (uint64_t *)address;
}

uint32_t space_new(void)
{
    uint32_t ioas;

    ok(iommufd_ioas_alloc(&ioas));
    for (unsigned i = 0; i < DEVICES; i++)
        if (ID(i) && i != SHORT)
            ok(map(ioas, gpa(rig.own[i]), rig.own[i], 2 * K4));
    return ioas;
}

uint32_t paging_new(unsigned device, uint32_t ioas, uint32_t flags)
{
    uint32_t hwpt;

    ok(iommufd_hwpt_alloc_paging(ID(device), ioas, flags, &hwpt));
    return hwpt;
}

uint32_t parent_new(uint32_t flags)
{
    return paging_new(DMA, rig.default_ioas, NIDUS_HWPT_ALLOC_NEST_PARENT | flags);
}

struct pgtable *table_new(void)
{
    static const struct pgtable_memory memory = { .alloc = table_alloc, .free = table_free, .at = table_at };
    struct pgtable *t = &tables[tables_used++ % KEPT_TABLES];

    holds(pgtable_init(t, &memory));
    for (unsigned i = 0; i < DEVICES; i++)
        if (ID(i))
            holds(pgtable_map(t, gpa(rig.own[i]), gpa(rig.own[i]), 2 * K4, K4, PT_WRITE | PT_USER));
    return t;
}

uint32_t nested_new(unsigned device, uint32_t parent, const struct pgtable *t)
{
    uint32_t hwpt;

    ok(iommufd_hwpt_alloc_nested(ID(device), parent, t->root, &hwpt));
    return hwpt;
}

void table_set(struct pgtable *t, uint64_t iova, const void *page)
{
    unsigned level;
    volatile uint64_t *leaf = pgtable_leaf(t, iova, &level);

    if (leaf)
        pgtable_write(leaf, gpa(page) | PT_PRESENT | PT_WRITE | PT_USER);
    else
        holds(pgtable_map(t, iova, gpa(page), K4, K4, PT_WRITE | PT_USER));
}

/* Calls -------------------------------------------------------------------------------------------------- */

int map(uint32_t ioas, uint64_t iova, const void *at, uint64_t bytes)
{
    return iommufd_ioas_map(ioas, iova, gpa(at), bytes, RW);
}

int map_anywhere(uint32_t ioas, uint64_t *iova, const void *at, uint64_t bytes)
{
    return iommufd_ioas_map_anywhere(ioas, iova, gpa(at), bytes, RW);
}

int unmap(uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *bytes)
{
    struct nidus_ioas_unmap call = { .size = sizeof(call), .ioas_id = ioas, .iova = iova, .length = length };
    int error = nidus_call(NIDUS_CALL_IOAS_UNMAP, &call, 0);

    *bytes = call.length;
    return error;
}

int hwpt_alloc(struct nidus_hwpt_alloc *call)
{
    call->size = sizeof(*call);
    return nidus_call(NIDUS_CALL_HWPT_ALLOC, call, 0);
}

struct nidus_hwpt_alloc nested_call(unsigned device, uint32_t parent, struct nidus_hwpt_vtd_s1 *data)
{
    return (struct nidus_hwpt_alloc){
        .dev_id = ID(device), .pt_id = parent, .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = sizeof(*data), .data_uptr = gpa(data),
    };
}

int attach_raw(unsigned device, uint32_t pt, uint32_t pasid, uint32_t *hwpt)
{
    struct nidus_vfio_attach call = {
        .argsz = sizeof(call), .flags = pasid ? NIDUS_VFIO_ATTACH_PASID : 0, .pt_id = pt, .pasid = pasid
    };
    int error = nidus_call(NIDUS_CALL_ATTACH, &call, ID(device));

    *hwpt = call.pt_id;
    return error;
}

/* DMA ---------------------------------------------------------------------------------------------------- */

#define SOME 64u                /* bytes */

/* The second of the device's own pages: where it copies to and from. */
static uint8_t *window(unsigned device)
{
    return rig.own[device] + K4;
}

bool reads(unsigned device, uint32_t pasid, uint64_t iova, const void *page)
{
    memset(window(device), 0xa5, SOME);
    return rig_copy(device, pasid, iova, gpa(window(device)), SOME) && memcmp(window(device), page, SOME) == 0;
}

bool writes(unsigned device, uint32_t pasid, uint64_t iova, void *page)
{
    static uint8_t value, before[K4];

    memcpy(before, page, K4);
    memset(window(device), ++value, SOME);
    memset(before, value, SOME);
    return rig_copy(device, pasid, gpa(window(device)), iova, SOME) && memcmp(before, page, K4) == 0;
}

bool refused(unsigned device, uint32_t pasid, uint64_t iova)
{
    return !rig_copy(device, pasid, iova, gpa(window(device)), SOME) && !rig_copy(device, pasid, gpa(window(device)), iova, SOME);
}
