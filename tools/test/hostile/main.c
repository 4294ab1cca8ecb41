/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: the calls of guests/hostile/generator.c on the host: two hostile guests and a peaceful one on machines of several kinds
 * (tools/test/property/machine.c), all of iommu/ and the model of the hardware under them.
 *
 * The hostile guests' calls take turns, also between two steps of a call that takes long; meanwhile devices do DMA, ask for pages and fall
 * silent, payloads change, allocations fail, and a guest ends, within a call as well, and comes back.  It must hold that
 *   - a call gives 0 or an errno that it may give, and nidus does nothing against the specification (the model's violations);
 *   - no DMA reaches memory that is not its guest's;
 *   - the peaceful guest's device reads and writes what it should, at any time;
 *   - a guest that ended and came back has as much memory in use as when it first came, and can attach a device; at a machine's end nothing is left.
 *
 * Choices come from seed, machine and call alone: what fails can be repeated from the beginning of its machine.
 */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests/hostile/generator.h"
#include "tools/test/property/property.h"

#define MACHINE_CALLS 50000u    /* of the hostile guests of a machine */
#define GUEST_LIFE    4000u     /* calls, on the average */
#define HOSTILES      2u
#define PEACEFUL      (&m.guest[HOSTILES])
#define QUOTA         (3ULL << 20) /* bytes for tables and objects; a guest of 16 MiB has as much */

#define PEACE_PAGE    (DATA + 5 * K4)

static struct {
    uint64_t seed, calls, machine;
    bool one, trace;
} option = { .seed = 1, .calls = 1000000 };

static struct hostile hostile[HOSTILES];
static uint64_t fresh_bytes[GUESTS]; /* that a guest uses which has just come */
static uint64_t called, machine, call_of_machine;
static uint64_t choices, chance; /* of main; and of what happens within calls */
static bool nested_call;        /* a guest calls between two steps of the other's */
static bool cut_short;          /* the guest's call was not finished: it has to end */
static bool deaf;               /* some device does not answer invalidations */
static bool started;            /* the peaceful guest has what it needs */
static struct device_ *peaceful_device;
static uint64_t peace_iova;
static uint32_t peaceful_pt;     /* what its device is attached to */
static struct { uint64_t calls_done, dma_done, page_requests, lives, peace; } total;

/* What machine.c wants of its surroundings ------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

uint64_t below(uint64_t n)
{
    return (uint64_t)((unsigned __int128)mix(choices += 0x9e3779b97f4a7c15ULL) * n >> 64);
}

void note_(const char *format, const ull *numbers, unsigned count)
{
    ull n[6] = { 0 };

    if (!option.trace)
        return;
    memcpy(n, numbers, count * sizeof *numbers);
    fprintf(stderr, "  %6llu  ", (ull)call_of_machine);
    fprintf(stderr, format, n[0], n[1], n[2], n[3], n[4], n[5]);
    fputc('\n', stderr);
}

/* Whatever ends the program, sanitizers too: which call it was. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1:quarantine_size_mb=32"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1"; }

static void where(void)
{
    fprintf(stderr, "hostile: FAILED: seed %llu, machine %llu, its call %llu\nreplay: build/host/hostile --seed %llu --machine %llu --trace\n",
            (ull)option.seed, (ull)machine, (ull)call_of_machine, (ull)option.seed, (ull)machine);
}

static void aborted(int signal_number)
{
    where();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void fails(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "hostile: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    where();
    _exit(1);
}

void require_no_violation(void)
{
    if (model_violations(m.model))
        fails("against the specification: %s", model_violation(m.model, 0));
}

void tables_forget(struct guest_ *g) { (void)g; }

/* DMA -------------------------------------------------------------------------------------------------------- */

static bool is_guests(const struct guest_ *g, uint64_t hpa)
{
    for (unsigned i = 0; i < g->host->chunks; i++)
        if (hpa >= g->host->chunk[i].hpa && hpa - g->host->chunk[i].hpa < g->host->chunk[i].size)
            return true;
    return false;
}

static struct model_result dma(struct device_ *d, uint32_t pasid, enum model_access access, uint64_t address, uint64_t *data, bool ats)
{
    struct model_request r = { .source_id = d->source_id, .with_pasid = pasid, .pasid = pasid, .access = access };
    struct model_unit *unit = m.unit[d->unit].model;
    struct model_result result = ats ? model_dma_ats(unit, &r, address, data, 4) : model_dma(unit, &r, address, data, 4);

    if (result.outcome == MODEL_DONE && !is_guests(d->guest, result.address))
        fails("device %04x, address 0x%llx: DMA REACHED 0x%llx, which is not its guest's", d->source_id, (ull)address, (ull)result.address);
    return result;
}

/* Of a hostile guest's device; random is what it depends on. */
static void hostile_dma(struct device_ *d, uint64_t random)
{
    const struct hostile *h = &hostile[d->guest - m.guest];
    uint64_t address = h->area[random & 7].iova + (random >> 3 & 3) * K4 + (random >> 5 & 0x3fc), data = random;
    uint32_t pasid = random >> 16 & 1 ? 0 : random >> 17 & 3;
    struct model_page_request ask = {
        .source_id = d->source_id, .with_pasid = pasid, .pasid = pasid, .address = address & ~(K4 - 1), .read = true, .write = random >> 20 & 1,
        .last = random >> 21 & 3, .group = random >> 23 & 0xf,
    };

    if (address >> 20 == 0xfee || d->leaving)
        return;
    if (d->ats && random >> 30 & 1)
        total.page_requests += model_page_request(m.unit[d->unit].model, &ask) == MODEL_PAGE_QUEUED;
    else
        total.dma_done += dma(d, pasid, (enum model_access)((random >> 31 & 1) + (random >> 32 & 15) / 15), address, &data, d->ats && random >> 36 & 1).outcome == MODEL_DONE;
}

static struct device_ *device_of(struct guest_ *g, uint64_t random)
{
    struct device_ *d;

    do
        d = &m.device[random++ % m.devices];
    while (d->guest != g);
    return d;
}

void require_blocked(struct device_ *d)
{
    uint64_t data;

    if (d->guest == PEACEFUL)
        return;
    for (uint32_t pasid = 0; pasid < 3; pasid++)
        for (unsigned i = 0; i < HOSTILE_RECENT; i++)
            if (dma(d, pasid, MODEL_READ, hostile[d->guest - m.guest].area[i].iova & ~7ULL, &data, false).outcome == MODEL_DONE)
                fails("device %04x, PASID %u: it is not blocked", d->source_id, pasid);
}

/* Calls that have to work ------------------------------------------------------------------------------------ */

static int64_t good_call(struct guest_ *g, uint64_t number, void *payload, uint32_t size, uint32_t device)
{
    int64_t result;

    platform_guest_write(g->host, K4, payload, size);
    do
        result = iommu_call(g->context, number, K4, device);
    while (result == IOMMU_AGAIN);
    platform_guest_read(g->host, K4, payload, size);
    return result;
}

/* A guest that comes has all that it may have: no domain id is missing either. */
static void require_attach(struct guest_ *g)
{
    struct nidus_vfio_attach attach = { .argsz = 12, .pt_id = iommu_default_ioas(g->context) };
    struct nidus_vfio_detach detach = { .argsz = 8 };
    struct device_ *d = device_of(g, 0);

    if (good_call(g, NIDUS_CALL_ATTACH, &attach, 12, d->id) != 0 || good_call(g, NIDUS_CALL_DETACH, &detach, 8, d->id) != 0)
        fails("guest %u has just come, and its device %04x is not attached to its first IOAS", (unsigned)(g - m.guest), d->source_id);
}

/* The peaceful guest ----------------------------------------------------------------------------------------- */

/* A first stage of its own: 4 KiB at IOVA 0x7f0000000000. */
static uint32_t peaceful_table(void)
{
    struct nidus_hwpt_alloc alloc = {
        .size = sizeof alloc, .flags = NIDUS_HWPT_ALLOC_NEST_PARENT, .dev_id = peaceful_device->id, .pt_id = iommu_default_ioas(PEACEFUL->context),
    };
    const struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = TABLES, .addr_width = 48 };

    if (good_call(PEACEFUL, NIDUS_CALL_HWPT_ALLOC, &alloc, sizeof alloc, peaceful_device->id) != 0)
        return 0;
    for (unsigned level = 4; level >= 1; level--) {
        uint64_t entry = (level > 1 ? TABLES + (5 - level) * K4 : PEACE_PAGE) | FS_P | FS_W | FS_U | FS_A | (level > 1 ? 0 : FS_D);

        platform_guest_write(PEACEFUL->host, TABLES + (4 - level) * K4 + (0x7f0000000000 >> (12 + 9 * (level - 1)) & 511) * 8, &entry, sizeof entry);
    }
    alloc = (struct nidus_hwpt_alloc){
        .size = sizeof alloc, .dev_id = peaceful_device->id, .pt_id = alloc.out_hwpt_id, .data_type = NIDUS_HWPT_DATA_VTD_S1, .data_len = sizeof s1,
        .data_uptr = 2 * K4,
    };
    platform_guest_write(PEACEFUL->host, 2 * K4, &s1, sizeof s1);
    return good_call(PEACEFUL, NIDUS_CALL_HWPT_ALLOC, &alloc, sizeof alloc, peaceful_device->id) == 0 ? alloc.out_hwpt_id : 0;
}

/* Also when it was attached before: whatever others have taken, this is its own. */
static void peaceful_attach(void)
{
    struct nidus_vfio_attach attach = { .argsz = 12, .pt_id = peaceful_pt };
    struct nidus_vfio_detach detach = { .argsz = 8 };
    int64_t result;

    started = false;
    host_fail_allocation(0);
    if (good_call(PEACEFUL, NIDUS_CALL_DETACH, &detach, 8, peaceful_device->id) != 0)
        fails("the peaceful guest's device is not detached");
    result = good_call(PEACEFUL, NIDUS_CALL_ATTACH, &attach, 12, peaceful_device->id);
    if (result != 0 && peaceful_pt != iommu_default_ioas(PEACEFUL->context) && call_of_machine == 0) { /* firmware allows it no first stage */
        peaceful_pt = iommu_default_ioas(PEACEFUL->context);
        peace_iova = PEACE_PAGE;
        peaceful_attach();
    } else if (result != 0) {
        fails("the peaceful guest's device is not attached: %lld", (long long)result);
    }
    started = true;
}

static void peaceful_start(void)
{
    peaceful_device = device_of(PEACEFUL, 0);
    peaceful_pt = peaceful_table();
    peace_iova = peaceful_pt ? 0x7f0000000000 : PEACE_PAGE;
    if (peaceful_pt == 0)
        peaceful_pt = iommu_default_ioas(PEACEFUL->context);
    peaceful_attach();
}

/* Its device writes a number, and reads another. */
static void peace(void)
{
    uint64_t at = 8 * (++total.peace % 512), data = total.peace * 0x9e3779b9, memory = 0, back = 0;

    if (dma(peaceful_device, 0, MODEL_WRITE, peace_iova + at, &data, false).outcome != MODEL_DONE)
        fails("the peaceful guest's device may not write to 0x%llx", (ull)(peace_iova + at));
    platform_guest_read(PEACEFUL->host, PEACE_PAGE + at, &memory, 4);
    if ((uint32_t)memory != (uint32_t)data)
        fails("the peaceful guest's device wrote 0x%x, and in memory is 0x%x", (uint32_t)data, (uint32_t)memory);
    memory = ~memory;
    platform_guest_write(PEACEFUL->host, PEACE_PAGE + at, &memory, 4);
    if (dma(peaceful_device, 0, MODEL_READ, peace_iova + at, &back, false).outcome != MODEL_DONE || (uint32_t)back != (uint32_t)memory)
        fails("the peaceful guest's device read 0x%x, and in memory is 0x%x", (uint32_t)back, (uint32_t)memory);
}

/* The hostile guests ------------------------------------------------------------------------------------------- */

void port_write(struct hostile *h, uint64_t gpa, const void *from, uint32_t size)
{
    platform_guest_write(m.guest[h - hostile].host, gpa, from, size);
}

void port_read(struct hostile *h, uint64_t gpa, void *to, uint32_t size)
{
    platform_guest_read(m.guest[h - hostile].host, gpa, to, size);
}

/* Between two stores of the driver: DMA of anybody's device; or one has just changed what lies in the playground. */
void dma_within_call(void)
{
    uint64_t random = chance = chance * 6364136223846793005 + 1442695040888963407;
    struct hostile *h = &hostile[random >> 33 & 1];

    if (random >> 59 || m.no_dma || !started)
        return;
    m.in_call = false;
    random = mix(random);
    if (random >> 62 == 0)
        peace();
    else if (random >> 62 == 1)
        port_write(h, h->low + (random & 0xffff) / 8 * 8, &random, 8);
    else
        hostile_dma(device_of(&m.guest[h - hostile], random >> 50 & 7), random);
    m.in_call = true;
}

static void one_call(struct hostile *h);

int64_t port_call(struct hostile *h, uint64_t number, uint64_t payload, uint64_t device)
{
    struct guest_ *g = &m.guest[h - hostile];
    int64_t result;

    for (;;) {
        m.in_call = true;
        result = iommu_call(g->context, number, payload, device);
        m.in_call = false;
        if (result != IOMMU_AGAIN || nested_call)
            break;
        if (one_in(64)) { /* … and never finished */
            cut_short = true;
            return 0;
        }
        if (one_in(4)) {
            nested_call = true;
            one_call(&hostile[h == hostile]);
            nested_call = false;
        }
    }
    while (result == IOMMU_AGAIN) {
        m.in_call = true;
        result = iommu_call(g->context, number, payload, device);
        m.in_call = false;
    }
    note("guest %llu: call 0x%llx, payload at 0x%llx, device %llu: %lld", (ull)(h - hostile), number, payload, device, (ull)result);
    return result == -NIDUS_EIO && deaf ? -NIDUS_EINVAL : result;
}

static void one_call(struct hostile *h)
{
    struct iommu_context *c = m.guest[h - hostile].context;
    uint64_t number;
    int64_t result;

    called++;
    call_of_machine++;
    hostile_next(h);
    if (!hostile_call(h, &number, &result))
        fails("call 0x%llx gave %lld, which no call may give", (ull)number, (long long)result);
    if (iommu_ready(c) & ~iommu_channels(c))
        fails("something to read in a channel that there is not");
    require_no_violation();
}

/* A guest has its context and its devices. */
void space_adopt_ram(struct guest_ *g, struct space *s)
{
    unsigned i = (unsigned)(g - m.guest);
    uint64_t used = g->host->bytes_used;

    (void)s;
    g->host->bytes_left = QUOTA - used;
    if (fresh_bytes[i] == 0)
        fresh_bytes[i] = used;
    if (used != fresh_bytes[i])
        fails("guest %u has come back and uses %llu bytes; when it first came it were %llu", i, (ull)used, (ull)fresh_bytes[i]);
    if (g == PEACEFUL)
        return;
    require_attach(g);
    total.lives++;
    total.calls_done += hostile[i].done;
    hostile[i].done = 0;
    hostile_start(&hostile[i], iommu_default_ioas(g->context));
    for (unsigned k = 0; k < m.devices; k++)
        if (m.device[k].guest == g)
            hostile_knows(&hostile[i], DEVICE, m.device[k].id);
}

static void surroundings(struct hostile *h)
{
    struct guest_ *g = &m.guest[h - hostile];

    switch (below(8)) {
    case 0: host_fail_allocation(1 + (unsigned)below(16)); break;
    case 1:
        host_time_advance(below(3000000000));
        iommu_overdue(g->context);
        break;
    case 2: model_run(m.model, 16); break;
    case 3:
        if (one_in(200)) {
            struct device_ *d = device_of(g, below(DEVICES));

            device_falls_silent(d);
            deaf |= d->silent;
        }
        break;
    case 4:
        if (one_in(64))
            peaceful_attach();
        peace();
        break;
    case 5: iommu_poll(); break;
    default: hostile_dma(device_of(g, below(DEVICES)), below(UINT64_MAX));
    }
}

static void machine_lives(uint64_t calls)
{
    deaf = started = cut_short = false;
    memset(fresh_bytes, 0, sizeof fresh_bytes);
    chance = choices = mix(mix(option.seed) + machine * 0x9e3779b97f4a7c15ULL);
    call_of_machine = 0;
    for (unsigned i = 0; i < HOSTILES; i++)
        hostile[i] = (struct hostile){ .seed = choices + i, .low = TABLES, .end = DATA + DATA_BYTES };
    machine_start(choices, 0, true, HOSTILES + 1);
    peaceful_start();
    while (call_of_machine < calls) {
        struct hostile *h = &hostile[below(HOSTILES)];

        one_call(h);
        if (one_in(2))
            surroundings(h);
        if (cut_short || one_in(GUEST_LIFE)) {
            host_fail_allocation(0);
            cut_short = false;
            restart_guest(&m.guest[h - hostile]);
        }
    }
    peace();
    host_fail_allocation(0);
    started = false;
    machine_stop();
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (end == text || *end) {
        fprintf(stderr, "hostile: '%s' is no number\n", text);
        exit(2);
    }
    return n;
}

int main(int count, char **words)
{
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' }, { "calls", required_argument, NULL, 'c' }, { "machine", required_argument, NULL, 'm' },
        { "trace", no_argument, NULL, 't' }, { NULL, 0, NULL, 0 },
    };

    for (int o; (o = getopt_long(count, words, "", options, NULL)) != -1;) {
        switch (o) {
        case 's': option.seed = number_of(optarg); break;
        case 'c': option.calls = number_of(optarg); break;
        case 'm': option.machine = number_of(optarg), option.one = true; break;
        case 't': option.trace = true; break;
        default:
            fprintf(stderr, "usage: %s [--seed N] [--calls N] [--machine N: that one alone] [--trace]\n", words[0]);
            return 2;
        }
    }
    signal(SIGABRT, aborted);
    for (machine = option.machine; called < option.calls; machine++) {
        uint64_t left = option.calls - called;

        machine_lives(left < MACHINE_CALLS ? left : MACHINE_CALLS);
        if (option.one)
            break;
    }
    printf("hostile: seed %llu: %llu calls hold, of which %llu succeeded; guests came %llu times, did %llu DMAs and queued %llu page requests; %llu checks of "
           "the peaceful guest\n",
           (ull)option.seed, (ull)called, (ull)total.calls_done, (ull)total.lives, (ull)total.dma_done, (ull)total.page_requests, (ull)total.peace);
    return 0;
}
