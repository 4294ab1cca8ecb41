/* SPDX-License-Identifier: BSD-2-Clause */
/* model_tables.c: see model_tables.h. */
#include "tools/test/host/model_tables.h"

#include <string.h>

#define BASE  0x40000000ULL
#define PAGES 1024u

struct model *model;
struct model_unit *unit;
uint64_t root, context, directory, pasid_table;

static _Alignas(4096) uint8_t memory[PAGES][4096], image[PAGES][4096];
static bool gone[PAGES];
static unsigned used;
static uint64_t ring, status, tail, sequence, unit_ecap;
static unsigned unit_haw;

static void *at(void *nothing, uint64_t address, bool snoop)
{
    uint64_t n = (address - BASE) / K4;

    (void)nothing;
    if (address < BASE || n >= PAGES || gone[n])
        return NULL;
    return (snoop ? memory[n] : image[n]) + address % K4;
}

uint64_t page(void)
{
    assert_true(used < PAGES);
    return BASE + used++ * K4;
}

uint64_t *word(uint64_t address)
{
    assert_true(address >= BASE && address < BASE + PAGES * K4);
    return (uint64_t *)(memory[(address - BASE) / K4] + address % K4);
}

void write_back(void)
{
    memcpy(image, memory, sizeof memory);
}

void page_gone(uint64_t address)
{
    gone[(address - BASE) / K4] = true;
}

uint64_t reg(uint32_t offset, unsigned bytes)
{
    return model_read(unit, offset, bytes);
}

void set_reg(uint32_t offset, unsigned bytes, uint64_t value)
{
    model_write(unit, offset, bytes, value);
    model_settle(model);
}

static void make_structures(void)
{
    root = page();
    context = page();
    directory = page();
    pasid_table = page();
    *word(root + (SID >> 8) * 16) = context | 1;
    context_entry()[0] = directory | 1 | (unit_ecap >> 40 & 1) << 3 | (unit_ecap >> 2 & 1) << 2;
    *word(directory) = pasid_table | 1;
}

void model_enable(void)
{
    set_reg(0x20, 8, root | 1 << 10);
    set_reg(0x18, 4, 1u << 30);                 /* SRTP */
    ring = page();
    status = page();
    set_reg(0x88, 8, 0);
    set_reg(0x90, 8, ring | 1 << 11);
    set_reg(0x18, 4, 1u << 26);                 /* QIE */
    put(CC_GLOBAL, 0);
    put(PC_GLOBAL, 0);
    put(IOTLB_GLOBAL, 0);
    assert_true(submit());
    set_reg(0x18, 4, 1u << 31 | 1u << 26);      /* TE */
    assert_int_equal(model_violations(model), 0);
}

void model_start_with(const struct model_preset *preset, const struct model_freedom *freedom, uint64_t seed, bool enable)
{
    static const struct model_memory accessors = { NULL, at };

    memset(memory, 0, sizeof memory);
    memset(image, 0, sizeof image);
    memset(gone, 0, sizeof gone);
    used = 0;
    tail = 0;
    model = model_new(&accessors, seed);
    unit = model_unit_add(model, preset);
    model_set_freedom(model, freedom);
    unit_ecap = preset->ecap;
    unit_haw = preset->haw;
    make_structures();
    write_back();
    if (enable)
        model_enable();
}

void model_start(const char *preset)
{
    model_start_with(model_preset(preset), &model_calm, 1, true);
}

int model_stop(void **state)
{
    (void)state;
    if (model)
        model_free(model);
    model = NULL;
    return 0;
}

uint64_t *context_entry(void)
{
    return word(context + (SID & 127) * 32);
}

uint64_t *pasid_entry(uint32_t pasid)
{
    return word(pasid_table + pasid * 64);
}

void add_function(uint16_t source_id)
{
    uint64_t *half = word(root + (source_id >> 8) * 16 + (source_id >> 7 & 1) * 8);

    if (!*half)
        *half = page() | 1;
    memcpy(word((*half & ~0xfffULL) + (source_id & 127) * 32), context_entry(), 32);
}

uint64_t new_ss(void)
{
    return page();
}

void set_pasid(uint32_t pasid, unsigned pgtt, uint16_t did, uint64_t ss, unsigned ss_levels, uint64_t fs, unsigned fs_levels)
{
    uint64_t *e = pasid_entry(pasid);

    memset(e, 0, 64);
    e[1] = did | (unit_ecap >> 48 & 1) << 23;
    e[2] = fs | (uint64_t)(fs_levels == 5) << 2;
    e[0] = ss | (uint64_t)(ss_levels ? ss_levels - 2 : 0) << 2 | pgtt << 6 | 1;
}

static uint64_t *leaf(uint64_t top, unsigned levels, uint64_t input, unsigned level, uint64_t bits)
{
    uint64_t table = top, *e;

    for (unsigned l = levels;; l--) {
        e = word(table + (input >> (12 + 9 * (l - 1)) & 511) * 8);
        if (l == level)
            return e;
        if (!*e)
            *e = page() | bits;
        table = *e & 0xffffffffff000;
    }
}

uint64_t *ss_leaf(uint64_t top, unsigned levels, uint64_t input, unsigned level)
{
    return leaf(top, levels, input, level, 3);
}

uint64_t *fs_leaf(uint64_t top, unsigned levels, uint64_t input, unsigned level)
{
    return leaf(top, levels, input, level, 7);
}

void ss_identity(uint64_t top, unsigned levels, uint64_t rights)
{
    for (uint64_t a = BASE; a < BASE + PAGES * K4; a += M2)
        *ss_leaf(top, levels, a, 2) = a | 1 << 7 | rights;
}

void put(uint64_t w0, uint64_t w1)
{
    uint64_t *d = word(ring + tail);

    d[0] = w0;
    d[1] = w1;
    d[2] = d[3] = 0;
    tail = (tail + 32) % K4;
}

bool submit(void)
{
    put(0x25 | ++sequence << 32, status); /* SW */
    set_reg(0x88, 8, tail);
    model_settle(model);
    return (uint32_t)*word(status) == (uint32_t)sequence;
}

struct model_result access_as(struct model_request request, uint64_t address)
{
    uint32_t data = 0;

    return model_dma(unit, &request, address, &data, 4);
}

uint8_t where(uint64_t address, uint64_t *hpa)
{
    struct model_result r = access_as((struct model_request){ .source_id = SID }, address);

    *hpa = r.address;
    return r.reason;
}

uint8_t fault_of(enum model_access access, uint64_t address)
{
    return access_as((struct model_request){ .source_id = SID, .access = access }, address).reason;
}

uint8_t fault_of_pasid(uint32_t pasid, enum model_access access, uint64_t address)
{
    return access_as((struct model_request){ .source_id = SID, .with_pasid = true, .pasid = pasid, .access = access }, address).reason;
}
