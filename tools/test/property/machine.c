/* SPDX-License-Identifier: BSD-2-Clause */
/* machine.c: a machine for one episode: units of unlike kinds, guests, devices spread over the units; and its end. */
#include <stdio.h>
#include <string.h>

#include "iommu/unit.h"
#include "property.h"
#include "tools/test/host/units.h"
#include "tools/test/host/whole_call.h"

struct machine m;

/* Units ------------------------------------------------------------------------------------------------ */

static void change(struct unit_ *u, uint64_t *reg, uint64_t mask, uint64_t value, const char *name)
{
    *reg = (*reg & ~mask) | place(mask, value);
    strncat(u->name, name, sizeof u->name - strlen(u->name) - 1);
}

/* One of the presets, or something near it that could be built as well. */
static void choose_unit(struct unit_ *u)
{
    static const char *const kinds[] = { "spr", "spr4", "spr-svm", "qemu", "3-level", "noncoherent", "granite", "meteor" };
    uint64_t *cap, *ecap;

    u->preset = *model_preset(m.crowded ? "spr-svm" : kinds[below(8)]);
    cap = &u->preset.cap;
    ecap = &u->preset.ecap;
    snprintf(u->name, sizeof u->name, "%s", u->preset.name);
    if (m.crowded || one_in(5))
        change(u, cap, BITS(2, 0), m.crowded ? 0 : below(2), "+few-dids");
    if (one_in(8))
        change(u, cap, BIT(39), 0, "-psi");
    if (one_in(4))
        change(u, cap, BITS(53, 48), 9 * below(3), "+mamv");
    if (one_in(2) && field(*cap, BITS(33, 24)) < 0x80) /* behind more fault records there would be other registers */
        change(u, cap, BITS(47, 40), 7, "+records");
    if (one_in(6))
        change(u, cap, BIT(7), 1, "+cm");
    if (one_in(4))
        change(u, cap, BITS(35, 34), !one_in(8), "-large");
    if (one_in(6))
        change(u, cap, BIT(56), 0, "-fs1g");
    if (one_in(6))
        change(u, ecap, BIT(7), 0, "-sc");
    if (one_in(6))
        change(u, ecap, BIT(31), 0, "-srs");
    if (one_in(8))
        change(u, ecap, BIT(34), 0, "-eafs");
    if (one_in(6))
        change(u, ecap, BIT(33), 0, "-nwfs");
    if (one_in(6))
        change(u, ecap, BIT(41), 0, "-dit");
    if (*ecap & BIT(40) && one_in(4))
        change(u, ecap, BITS(39, 35), one_in(2) ? 15 : 7, "-pss");
    u->pasid = *ecap & BIT(40);
    u->nest = *ecap & BIT(26);
    u->snoops = *ecap & BIT(48);
    u->fs_5level = *cap & BIT(60);
    u->fs_1g = *cap & BIT(56);
    u->eafs = *ecap & BIT(34);
    u->srs = *ecap & BIT(31);
    u->zlr = *cap & BIT(22);
    u->caching = *cap & BIT(7);
    u->ats = *ecap & BIT(2);
    u->nwfs = *ecap & BIT(33);
    u->forces_snoop = *ecap & BIT(7);
    u->marks = *ecap & BIT(45) && u->snoops; /* A and D of the second stage */
    u->records = (unsigned)field(*cap, BITS(47, 40)) + 1;
    u->dids = (16u << 2 * field(*cap, BITS(2, 0))) - 1;
}

static struct model_freedom choose_freedom(void)
{
    if (one_in(8))
        return model_calm;
    if (one_in(4))
        return model_wild;
    return (struct model_freedom){
        .evict = (unsigned)below(40), .miss = (unsigned)below(30), .prefetch = (unsigned)below(300), .fracture = (unsigned)below(300),
        .delay = (unsigned)below(500), .reorder = (unsigned)below(1000), .split = (unsigned)below(100),
    };
}

/* Guests ----------------------------------------------------------------------------------------------- */

static void guest_memory(struct guest_ *g, unsigned index)
{
    static const char *const names[GUESTS] = { "web", "mail", "files" };

    g->host = host_guest(names[index], PRIVATE_PAGES * K4);
    host_guest_add_ram(g->host, TABLES, M2);
    host_guest_add_ram(g->host, DATA, DATA_BYTES / 2);
    host_guest_add_ram(g->host, DATA + DATA_BYTES / 2, DATA_BYTES / 2); /* one in GPA, two in HPA */
    host_guest_add_ram(g->host, MORE, MORE_PAGES * K4);
    g->huge = index == 0 && HOST_RAM_BYTES > HUGE_BYTES + G1;
    for (unsigned i = 0; i < m.units; i++) /* by 4 KiB it would take for ever */
        g->huge &= (m.unit[i].preset.cap & BIT(34)) != 0;
    if (g->huge)
        host_guest_add_ram(g->host, HUGE_DATA, HUGE_BYTES);
}

static void guest_starts(struct guest_ *g)
{
    char reason[160] = "";

    g->lost = true; /* what devices do on the way in may come late */
    m.in_call = true;
    g->context = iommu_context_create(g->host, g->nested);
    m.in_call = false;
    if (!g->context)
        fails("no context for a guest");
    for (unsigned i = 0; i < m.devices; i++) {
        struct device_ *d = &m.device[i];

        if (d->guest != g)
            continue;
        d->ats &= !d->silent; /* nobody knows what it has kept */
        d->silent = false;
        d->leaving = true; /* on its way in */
        d->assigned = true;
        m.in_call = true;
        const struct iommu_device_policy policy = { .ats = d->ats ? IOMMU_ATS_TRUST : IOMMU_ATS_OFF };

        if (!iommu_assign(g->context, 0, d->source_id, &policy, &d->id, reason))
            fails("device %04x is refused: %s", d->source_id, reason);
        m.in_call = false;
        d->leaving = false;
    }
    tables_forget(g);
    space_adopt_ram(g, &g->space[0]);
}

/* All of the device's attachments end: now, or they have. */
static void change_all(struct device_ *d, bool now)
{
    for (unsigned i = 0; i < USES; i++)
        d->use[i] = (struct use){ .device = d, .pasid = d->use[i].pasid, .hwpt = now ? d->use[i].hwpt : NULL, .changing = now };
}

static void guest_ends(struct guest_ *g)
{
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g)
            change_all(&m.device[i], true);
    m.in_call = true;
    if (!iommu_context_block(g->context) && !m.broken)
        fails("a guest's devices could not be blocked");
    m.in_call = false;
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g) {
            change_all(&m.device[i], false);
            require_blocked(&m.device[i]);
            m.device[i].leaving = true;
        }
    m.in_call = true;
    destroy_whole(g->context);
    m.in_call = false;
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].guest == g) {
            m.device[i].assigned = m.device[i].leaving = false;
            memset(m.device[i].faults, 0, sizeof m.device[i].faults);
            require_blocked(&m.device[i]);
        }
    memset(g->space, 0, sizeof g->space);
    memset(g->hwpt, 0, sizeof g->hwpt);
    memset(g->tree, 0, sizeof g->tree);
}

void device_falls_silent(struct device_ *d)
{
    note("device %llu, guest %llu, falls silent", d->id, (ull)(d->guest - m.guest));
    d->silent = true;
    model_device_silent(m.unit[d->unit].model, d->source_id, true);
}

void restart_guest(struct guest_ *g)
{
    note("guest %llu ends and starts again", (ull)(g - m.guest));
    guest_ends(g);
    guest_starts(g);
}

/* The machine ------------------------------------------------------------------------------------------ */

/* Extended capabilities: PASID of 20 bits, 16 or 8; ATS, whose queue takes so many at a time; PRI. */
#define ATS_CONTROL 0x126u

static void add_capabilities(const struct device_ *d)
{
    uint8_t *config = d->function->config;

    config[0x100] = 0x02; /* a virtual channel */
    config[0x103] = d->pasids ? 0x11 : d->ats ? 0x12 : 0;
    if (d->pasids) {
        config[0x110] = 0x1b;
        config[0x113] = d->ats ? 0x12 : 0;
        config[0x115] = d->pasid_bits;
    }
    if (d->ats) {
        config[0x120] = 0x0f;
        config[0x123] = 0x13;
        config[0x124] = (uint8_t)below(32);
        config[0x130] = 0x13;
    }
}

bool ats_is_on(const struct device_ *d)
{
    return d->ats && d->function->config[ATS_CONTROL + 1] & 0x80;
}

/* What firmware may say of a device inside the SoC. */
static uint8_t choose_properties(void)
{
    static const uint8_t some[] = { DMAR_NO_NESTED, DMAR_NO_PWSNP, DMAR_NO_PGSNP, DMAR_NO_PWSNP | DMAR_NO_PGSNP };

    return one_in(6) ? some[below(4)] | (one_in(2) ? DMAR_ATC_HARDENED : 0) : 0;
}

static void choose_devices(bool ats)
{
    static const uint32_t pasids[USES] = { 0, 1, 2, 199 };
    bool firmware_knows = one_in(2);
    static const uint16_t ids[DEVICES] = { 0x0010, 0x0098, 0x0100, 0x01ff, 0x8008, 0xfff8, 0x0011, 0x4080 };

    m.devices = m.crowded || m.family ? DEVICES : m.guests + (unsigned)below(DEVICES - m.guests + 1);
    for (unsigned i = 0; i < m.devices; i++) {
        m.device[i] = (struct device_){
            .guest = &m.guest[i < m.guests ? i : below(m.guests)], .unit = (unsigned)below(m.units), .source_id = ids[i],
        };
        m.device[i].pasids = m.unit[m.device[i].unit].pasid && !one_in(4);
        m.device[i].pasid_bits = m.device[i].pasids ? one_in(4) ? 20 : one_in(2) ? 16 : 8 : 0;
        m.device[i].ats = ats && m.unit[m.device[i].unit].ats && percent(75);
        m.device[i].properties = firmware_knows ? choose_properties() : 0;
        m.device[i].function = host_function_add(0, ids[i]);
        add_capabilities(&m.device[i]);
        for (unsigned n = 0; n < USES; n++)
            m.device[i].use[n] = (struct use){ .device = &m.device[i], .pasid = pasids[n] };
        if (m.device[i].pasids && percent(60)) { /* the last one that it may send, or one that is far from the others */
            unsigned unit_bits = (unsigned)field(m.unit[m.device[i].unit].preset.ecap, BITS(39, 35)) + 1, bits = m.device[i].pasid_bits;
            uint32_t last = (1u << (bits < unit_bits ? bits : unit_bits)) - 1;

            m.device[i].use[USES - 1].pasid = percent(70) ? last : last / 2 + 1;
        }
    }
}

/* ATS is allowed through all ports; what firmware says of devices (SIDP). */
static const void *with_more(const void *table, uint32_t *length)
{
    static const uint8_t atsr[] = { 2, 0, 8, 0, 1, 0, 0, 0 };
    static uint8_t more[1024];
    uint32_t at = *length;

    memset(more, 0, sizeof more);
    memcpy(more, table, at);
    memcpy(more + at, atsr, sizeof atsr);
    at += sizeof atsr;
    for (unsigned i = 0; i < m.devices; i++)
        if (m.device[i].properties) {
            uint16_t id = m.device[i].source_id;
            const uint8_t sidp[] = { 6, 0, 16, 0, 0, 0, 0, 0, 1, 8, m.device[i].properties, 0, 0, (uint8_t)(id >> 8), id >> 3 & 31, id & 7 };

            memcpy(more + at, sidp, sizeof sidp);
            at += sizeof sidp;
        }
    memcpy(more + 4, &at, sizeof at);
    *length = at;
    return more;
}

static const void *dmar(uint32_t *length)
{
    static uint16_t scope[UNITS][DEVICES + 1];
    const uint16_t *scopes[UNITS];

    for (unsigned u = 0; u < m.units; u++) {
        unsigned count = 0;

        for (unsigned i = 0; i < m.devices; i++)
            if (m.device[i].unit == u)
                scope[u][count++] = m.device[i].source_id;
        scope[u][count] = 0xffff;
        scopes[u] = scope[u];
    }
    return with_more(model_host_dmar(m.model, scopes, length), length);
}

static void (*model_hook)(volatile void *entry, unsigned bytes);
static void (*model_pause_hook)(void);

static void stored(volatile void *entry, unsigned bytes)
{
    model_hook(entry, bytes);
    if (m.in_call)
        dma_within_call();
}

static void paused(void)
{
    model_pause_hook();
    if (m.in_call)
        dma_within_call();
}

void machine_start(uint64_t seed, unsigned units, bool ats, unsigned guests)
{
    const void *table;
    uint32_t length;

    memset(&m, 0, sizeof m);
    host_reset();
    m.model = model_host_new(seed);
    host_reuse_early(one_in(2));
    m.crowded = !units && one_in(10);
    m.family = !units && !m.crowded && one_in(8);
    m.units = m.crowded || m.family ? 1 : units ? units : 1 + (unsigned)below(UNITS - 1);
    m.errata = one_in(3);
    for (unsigned i = 0; i < m.units; i++) {
        choose_unit(&m.unit[i]);
        m.unit[i].model = model_host_unit(m.model, &m.unit[i].preset, UNIT_BASE + i * K4);
        model_switches(m.unit[i].model)->erratum_772415 = m.errata;
    }
    struct model_freedom freedom = choose_freedom();
    model_set_freedom(m.model, &freedom);
    note("machine of %llu units, erratum 772415 %llu", m.units, m.errata);
    m.guests = guests ? guests : m.crowded ? 2 : m.family ? 1 : 1 + (unsigned)below(GUESTS);
    for (unsigned i = 0; i < m.guests; i++)
        guest_memory(&m.guest[i], i);
    choose_devices(ats);
    table = dmar(&length);
    iommu_init(table, length, m.errata ? IOMMU_ERRATA_ON : IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    if (iommu_unavailable())
        fails("no unit can be used: %s", iommu_unavailable());
    m.own_pages = host_pages_live();
    model_hook = host_store_hook;
    model_pause_hook = host_pause_hook;
    host_store_hook = stored;
    host_pause_hook = paused;
    for (unsigned i = 0; i < m.guests; i++) {
        m.guest[i].nested = !one_in(8);
        guest_starts(&m.guest[i]);
    }
    require_no_violation();
}

/* nidus itself never forgets a unit. */
static void forget_units(void)
{
    units_free();
}

/* Half a bus of a unit has a context table as soon as one of its functions was assigned. */
static unsigned context_tables(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m.devices; i++) {
        bool first = true;

        for (unsigned k = 0; k < i; k++)
            first &= m.device[k].unit != m.device[i].unit || m.device[k].source_id >> 7 != m.device[i].source_id >> 7;
        count += first;
    }
    return count;
}

static void require_nothing_left(void)
{
    for (unsigned i = 0; i < m.guests; i++)
        if (m.guest[i].host->bytes_used)
            fails("guest %u ended, and %llu bytes of it are still in use", i, (ull)m.guest[i].host->bytes_used);
    if (host_pages_live() != m.own_pages + context_tables() || host_objects_live())
        fails("%llu pages and %llu objects are left, of %llu and 0", (ull)host_pages_live(), (ull)host_objects_live(),
              (ull)m.own_pages + context_tables());
}

void machine_stop(void)
{
    for (unsigned i = 0; i < m.guests; i++)
        guest_ends(&m.guest[i]);
    require_no_violation();
    forget_units();
    if (!m.broken)
        require_nothing_left();
    model_host_free(m.model);
}
