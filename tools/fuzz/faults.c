/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * faults.c: any bytes as what a remapping unit leaves for nidus to read: fault records, FSTS, the page request queue and its registers, errors of
 * the invalidation queue; on units with one record to 256, some of which do not clear what they are told to clear.
 *
 * Two guests have devices there, attached in each way, and write their first-stage tables, which the report of a fault walks.  It must hold that
 *   - a poll makes a bounded number of register accesses, and the log has a bounded number of lines a second;
 *   - each page request that waits for an answer gets one, in order, and no other does;
 *   - a guest reads records of its own devices alone, numbered, each gap marked, with nothing in fields that are not said to be valid;
 *   - a unit whose registers are gone is not touched again.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/ats.h"
#include "iommu/registers.h"
#include "iommu/unit.h"
#include "kernel/abi/nidus.h"
#include "tools/test/host/platform.h"
#include "tools/test/host/whole_call.h"
#include "tools/test/host/units.h"

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "fuzz faults: not so: %s\n", #condition); __builtin_trap(); } } while (0)

#define UNIT_BASE   0xfed90000ULL
#define RECORDS_AT  0x1000u     /* 16 x FRO: behind the first page, 256 of them fit */
#define GUESTS      2u
#define RAM         0x200000ULL
#define PAYLOAD     0x1000ULL
#define TABLES      0x100000ULL
#define TABLE_PAGES 8u
#define OPERATIONS  200u
#define LINES       20u         /* a second: of a guest, of the unit */
#define ONCE        8u          /* … and these: the unit is gone, a device's TLB is */
#define RING        1024u

/* The unit: it does what it is told, and holds what the input puts there ----------------------------------- */

static struct {
    struct host_registers registers;
    uint8_t page[0x2000];
    unsigned accesses;
    bool gone;                  /* all ones */
    bool keeps_records, keeps_status; /* F, FSTS and PRS do not clear */
    bool confused;              /* a device sends completions that nobody asked for: ICE at each request */
    struct qi_descriptor answer[RING];
    unsigned answers;
} hw;

static uint64_t get(uint32_t offset, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, hw.page + offset, bytes);
    return value;
}

static void set(uint32_t offset, unsigned bytes, uint64_t value) { memcpy(hw.page + offset, &value, bytes); }

static uint64_t read_register(void *context, uint32_t offset, unsigned bytes)
{
    (void)context;
    hw.accesses++;
    return hw.gone ? UINT64_MAX >> (64 - 8 * bytes) : get(offset, bytes);
}

/* Page group responses are kept, waits performed, all else forgotten. */
static void run_queue(void)
{
    uint64_t iqa = get(REG_IQA, 8), head = get(REG_IQH, 8);
    for (; head != get(REG_IQT, 8); head = (head + 32) % (PAGE_SIZE << field(iqa, IQA_QS))) {
        struct qi_descriptor d;
        memcpy(&d, host_phys((iqa & BITS(63, 12)) + head), sizeof d);
        if (field(d.word[0], BITS(3, 0)) == 9 && hw.answers < RING)
            hw.answer[hw.answers++] = d;
        if (field(d.word[0], BITS(3, 0)) == 5 && d.word[0] & BIT(5)) {
            uint32_t data = (uint32_t)field(d.word[0], BITS(63, 32));
            memcpy(host_phys(d.word[1]), &data, sizeof data);
        }
    }
    set(REG_IQH, 8, head);
    if (hw.confused)
        set(REG_FSTS, 4, get(REG_FSTS, 4) | FSTS_ICE);
}

static void write_register(void *context, uint32_t offset, unsigned bytes, uint64_t value)
{
    (void)context;
    hw.accesses++;
    if (hw.gone)
        return;
    switch (offset) {
    case REG_GCMD:
        set(REG_GSTS, 4, value);
        return;
    case REG_FSTS:
        set(REG_FSTS, 4, get(REG_FSTS, 4) & ~(hw.keeps_status ? 0 : value & 0x71));
        return;
    case REG_PRS:
        set(REG_PRS, 4, get(REG_PRS, 4) & ~(hw.keeps_status ? 0 : value));
        return;
    }
    if (offset >= RECORDS_AT && offset % FRCD_SIZE == FRCD_TOP)
        value = get(offset, 4) & ~(hw.keeps_records ? 0 : value & FRCD_TOP_F);
    set(offset, bytes, value);
    if (offset == REG_IQT)
        run_queue();
}

/* The input ---------------------------------------------------------------------------------------------- */

static const uint8_t *input;
static size_t left;

static uint64_t take(unsigned bytes)
{
    uint64_t value = 0;
    for (; bytes; bytes--) {
        value = value << 8 | (left ? *input++ : 0);
        left -= left != 0;
    }
    return value;
}

static unsigned pick(unsigned n) { return (unsigned)take(1) % n; }

/* The machine ---------------------------------------------------------------------------------------------- */

#define KEPT 0x00a0u            /* goes on for firmware */
static const uint16_t source_ids[] = { 0x0020, 0x0028, 0x0030, 0x0130, KEPT, 0x0500 }; /* nested, plain, the other guest's two; nobody's */

static struct {
    struct guest *host;
    struct iommu_context *context;
    uint32_t sequence;          /* of the next record */
    uint32_t device[2];
    uint16_t source_id[2];
} guest[GUESTS];
static uint32_t nested, plain;
static uint64_t started;        /* the log's first second */

static int64_t call(unsigned g, uint64_t nr, void *payload, uint32_t size, uint64_t device)
{
    int64_t result;
    MUST(platform_guest_write(guest[g].host, PAYLOAD, payload, size) == 0);
    result = whole_call(guest[g].context, nr, PAYLOAD, device);
    MUST(platform_guest_read(guest[g].host, PAYLOAD, payload, size) == 0);
    return result;
}

static const void *dmar(uint32_t *length)
{
    static uint8_t table[48 + 56];
    static const uint8_t structures[56] = {
        0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, /* DRHD: all functions */
        1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7b, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x14, 0, /* RMRR of 00:14.0 */
        2, 0, 8, 0, 1, 0, 0, 0,         /* ATSR: all ports */
    };
    memcpy(table, "DMAR", 4);
    table[4] = sizeof table;
    table[36] = 51;
    table[37] = 1;
    memcpy(table + 48, structures, sizeof structures);
    *length = sizeof table;
    return table;
}

static void start_unit(void)
{
    static const unsigned records[] = { 1, 2, 8, 64, 255, 256 };
    unsigned choice = pick(24);
    memset(&hw, 0, sizeof hw);
    hw.registers = (struct host_registers){ .phys = UNIT_BASE, .size = sizeof hw.page, .read = read_register, .write = write_register };
    set(REG_VER, 4, 0x60);
    set(REG_CAP, 8, (0x19ed008c40780c66ULL & ~(CAP_FRO | CAP_NFR)) | place(CAP_FRO, RECORDS_AT / 16) | place(CAP_NFR, records[choice % 6] - 1));
    set(REG_ECAP, 8, 0x3ef9ea6f050dfULL);
    hw.keeps_records = choice / 6 & 1;
    hw.keeps_status = choice / 12;
    host_registers_add(&hw.registers);
}

static void start_guest(unsigned g, const char *name, const uint16_t *ids)
{
    const struct iommu_device_policy policy = { .ats = IOMMU_ATS_TRUST };
    char reason[160];
    memset(&guest[g], 0, sizeof guest[g]);
    guest[g].host = host_guest(name, RAM);
    guest[g].context = iommu_context_create(guest[g].host, true);
    for (unsigned i = 0; i < 2; i++) {
        guest[g].source_id[i] = ids[i];
        MUST(iommu_assign(guest[g].context, 0, ids[i], &policy, &guest[g].device[i], reason));
    }
}

static void attach(unsigned g, uint32_t device, uint32_t pt)
{
    struct nidus_vfio_attach p = { .argsz = 12, .pt_id = pt };
    call(g, NIDUS_CALL_ATTACH, &p, 12, device);
}

static void start(void)
{
    struct nidus_hwpt_alloc parent = { .size = sizeof parent, .flags = NIDUS_HWPT_ALLOC_NEST_PARENT };
    struct nidus_hwpt_alloc child = { .size = sizeof child, .data_type = 1, .data_len = sizeof(struct nidus_hwpt_vtd_s1), .data_uptr = 0x2000 };
    struct nidus_hwpt_vtd_s1 s1 = { .pgtbl_addr = TABLES };
    uint32_t length;
    const void *table = dmar(&length);
    host_reset();
    host_reserved_base = 0x7b000000;
    host_reserved_size = 0x1000000;
    start_unit();
    for (unsigned i = 0; i + 1 < sizeof source_ids / sizeof *source_ids; i++) {
        struct host_function *f = host_function_add(0, source_ids[i]);
        f->config[0x100] = 0x0f; /* ATS, and behind it PRI */
        f->config[0x103] = 0x20;
        f->config[0x200] = 0x13;
    }
    iommu_init(table, length, IOMMU_ERRATA_OFF, IOMMU_RMRR_KEEP);
    MUST(!iommu_unavailable());
    start_guest(0, "web", &source_ids[0]);
    start_guest(1, "mail", &source_ids[2]);
    parent.dev_id = child.dev_id = guest[0].device[0];
    parent.pt_id = plain = iommu_default_ioas(guest[0].context);
    MUST(call(0, NIDUS_CALL_HWPT_ALLOC, &parent, sizeof parent, 0) == 0);
    s1.addr_width = pick(2) ? 57 : 48;
    MUST(platform_guest_write(guest[0].host, 0x2000, &s1, sizeof s1) == 0);
    child.pt_id = parent.out_hwpt_id;
    MUST(call(0, NIDUS_CALL_HWPT_ALLOC, &child, sizeof child, 0) == 0);
    nested = child.out_hwpt_id;
    attach(0, guest[0].device[0], nested);
    attach(0, guest[0].device[1], plain);
    attach(1, guest[1].device[0], iommu_default_ioas(guest[1].context));
    host_log_clear();
    started = platform_time_ns() / 1000000000;
}

static void stop(void)
{
    hw.gone = false;
    for (unsigned i = 0; i < GUESTS; i++)
        if (guest[i].context && iommu_context_block(guest[i].context))
            destroy_whole(guest[i].context);
    units_free();
}

/* What hardware writes --------------------------------------------------------------------------------------- */

static uint16_t some_source_id(void)
{
    unsigned which = pick(8);
    return which < sizeof source_ids / sizeof *source_ids ? source_ids[which] : (uint16_t)take(2);
}

static void write_record(void)
{
    unsigned records = (unsigned)field(get(REG_CAP, 8), CAP_NFR) + 1, at = pick(2) ? pick(4) % records : (unsigned)take(2) % records;
    uint64_t low = take(8), high = take(8);
    high = (high & ~FRCD_SID) | place(FRCD_SID, some_source_id());
    if (pick(8))
        high |= FRCD_F;
    set(RECORDS_AT + at * FRCD_SIZE + FRCD_LOW, 8, low);
    set(RECORDS_AT + at * FRCD_SIZE + FRCD_HIGH, 8, high);
    if (pick(8))
        set(REG_FSTS, 4, (get(REG_FSTS, 4) & ~FSTS_FRI) | FSTS_PPF | place(FSTS_FRI, pick(4) ? at : pick(256)));
}

/* The same record everywhere: a storm. */
static void write_storm(void)
{
    uint64_t low = take(6) << 12, high = FRCD_F | place(FRCD_SID, some_source_id()) | place(FRCD_FR, take(1)) | place(FRCD_T1, pick(2));
    for (unsigned i = 0; i <= field(get(REG_CAP, 8), CAP_NFR); i++) {
        set(RECORDS_AT + i * FRCD_SIZE + FRCD_LOW, 8, low);
        set(RECORDS_AT + i * FRCD_SIZE + FRCD_HIGH, 8, high);
    }
    set(REG_FSTS, 4, get(REG_FSTS, 4) | FSTS_PPF | (pick(2) ? FSTS_PFO : 0));
}

static uint64_t *ring(void) { return host_phys(get(REG_PQA, 8) & BITS(63, 12)); }

static void write_requests(void)
{
    unsigned at = (unsigned)field(get(REG_PQT, 8), PQ_OFFSET) % RING, count = pick(4) ? 1 + pick(4) : 1 + (unsigned)take(2) % RING;
    uint64_t low = take(8), high = take(8);
    low = (low & ~BITS(31, 16)) | place(BITS(31, 16), some_source_id());
    if (pick(8))
        low = (low & ~BITS(7, 0)) | 1;
    for (; count; count--, at = (at + 1) % RING) {
        ring()[at * 4] = low;
        ring()[at * 4 + 1] = high ^ place(BITS(11, 3), count);
    }
    if (pick(8))
        set(REG_PQT, 8, place(PQ_OFFSET, at));
    set(REG_PRS, 4, get(REG_PRS, 4) | PRS_PPR);
}

static void write_anything(void)
{
    switch (pick(5)) {
    case 0: set(REG_FSTS, 4, take(4) & ~(uint64_t)(FSTS_IQE)); break; /* the queue here never stands still */
    case 1: set(REG_PRS, 4, take(4)); break;
    case 2: set(REG_PQT, 8, take(8)); break;
    case 3: set(REG_PQH, 8, take(8)); break;
    default: set(REG_IQERCD, 8, take(8)); break;
    }
}

/* Polls -------------------------------------------------------------------------------------------------- */

/* The answers that the queue's entries ask for. */
static unsigned expected_answers(struct qi_descriptor out[RING])
{
    unsigned count = 0, tail = (unsigned)field(get(REG_PQT, 8), PQ_OFFSET) % RING;
    for (unsigned at = (unsigned)field(get(REG_PQH, 8), PQ_OFFSET) % RING; at != tail; at = (at + 1) % RING) {
        uint64_t low = ring()[at * 4], high = ring()[at * 4 + 1];
        bool page = field(low, BITS(7, 0)) == 1, last = high & BIT(2), wants = high & (BIT(0) | BIT(1));
        if (page && last && wants)
            out[count++] = qi_page_response((uint16_t)field(low, BITS(31, 16)), low & BIT(8), (uint32_t)field(low, BITS(51, 32)),
                                            (uint16_t)field(high, BITS(11, 3)), ENGINE_PAGE_INVALID);
    }
    return count;
}

/* Records from FRI on, up to the first that is empty. */
static unsigned expected_faults(void)
{
    unsigned records = (unsigned)field(get(REG_CAP, 8), CAP_NFR) + 1, first = (unsigned)field(get(REG_FSTS, 4), FSTS_FRI) % records, count = 0;
    if (!(get(REG_FSTS, 4) & FSTS_PPF))
        return 0;
    while (count < records && get(RECORDS_AT + (first + count) % records * FRCD_SIZE + FRCD_HIGH, 8) & FRCD_F)
        count++;
    return count;
}

static void check_lines(void)
{
    uint64_t seconds = platform_time_ns() / 1000000000 - started + 1;
    MUST(host_log_lines() <= seconds * (LINES * GUESTS + LINES + 1) + ONCE);
}

static void poll(void)
{
    static struct qi_descriptor expected[RING];
    unsigned records = (unsigned)field(get(REG_CAP, 8), CAP_NFR) + 1, answers = expected_answers(expected);
    uint64_t faults = units->faults + expected_faults();
    bool was_dead = units->dead;
    hw.accesses = hw.answers = 0;
    iommu_poll();
    MUST(hw.accesses <= 4 * records + 64);
    MUST(!was_dead || !hw.accesses);
    if (!was_dead && !units->dead) {
        MUST(units->faults == faults);
        MUST(hw.keeps_status || !(get(REG_FSTS, 4) & FSTS_PFO || get(REG_PRS, 4) & (PRS_PPR | PRS_PRO)));
        MUST(hw.answers == answers && !memcmp(hw.answer, expected, answers * sizeof *expected));
        MUST(field(get(REG_PQH, 8), PQ_OFFSET) == field(get(REG_PQT, 8), PQ_OFFSET) % RING);
    }
}

/* What a guest reads --------------------------------------------------------------------------------------- */

static void check_record(unsigned g, const struct nidus_fault *f)
{
    MUST(f->dev_id == guest[g].device[0] || f->dev_id == guest[g].device[1]);
    MUST(!(f->flags & ~(NIDUS_FAULT_PASID_VALID | NIDUS_FAULT_GPA_VALID | NIDUS_FAULT_LOST | NIDUS_FAULT_DEVICE_TLB)));
    MUST(f->stage <= NIDUS_FAULT_STAGE_INTERRUPT && f->level <= 5 && f->first_level <= 5 && f->access <= 3);
    MUST(f->flags & NIDUS_FAULT_PASID_VALID || !f->pasid);
    MUST(f->flags & NIDUS_FAULT_GPA_VALID || (!f->gpa && !f->first_level));
    MUST(!(f->addr & 0xfff) && !(f->reserved[0] | f->reserved[1] | f->reserved[2]));
    MUST(f->sequence - guest[g].sequence < 1u << 31 && (f->sequence != guest[g].sequence) == !!(f->flags & NIDUS_FAULT_LOST));
    guest[g].sequence = f->sequence + 1;
}

static void read_faults(void)
{
    static struct nidus_fault record[256];
    unsigned g = pick(GUESTS);
    struct nidus_fault_read p = { .size = sizeof p, .data_uptr = 0x4000, .entry_len = sizeof *record, .entry_num = (uint32_t)take(2) % 257 };
    uint32_t room = p.entry_num;
    hw.answers = 0;
    MUST(call(g, NIDUS_CALL_FAULT_READ, &p, sizeof p, 0) == 0 && p.entry_num <= room);
    MUST(platform_guest_read(guest[g].host, 0x4000, record, p.entry_num * sizeof *record) == 0);
    for (unsigned i = 0; i < p.entry_num; i++)
        check_record(g, &record[i]);
}

/* What else happens meanwhile ------------------------------------------------------------------------------- */

static void write_table(void)
{
    uint64_t gpa = TABLES + take(1) % TABLE_PAGES * PAGE_SIZE + (pick(2) ? 0 : take(2) % 512 * 8);
    uint64_t entry = pick(2) ? take(8) : (TABLES + pick(TABLE_PAGES) * PAGE_SIZE) | take(2) % PAGE_SIZE;
    MUST(platform_guest_write(guest[0].host, gpa, &entry, sizeof entry) == 0);
}

static void change_attachment(void)
{
    unsigned g = pick(GUESTS), i = pick(2);
    struct nidus_vfio_detach detach = { .argsz = 8 };
    struct device *dev = unit_device(units, guest[g].source_id[i]);
    switch (pick(4)) {
    case 0: attach(g, guest[g].device[i], g ? iommu_default_ioas(guest[1].context) : nested); break;
    case 1: attach(g, guest[g].device[i], g ? iommu_default_ioas(guest[1].context) : plain); break;
    case 2: call(g, NIDUS_CALL_DETACH, &detach, 8, guest[g].device[i]); break;
    default: engine_page_requests(dev, pick(2)); break;
    }
}

static void operation(void)
{
    switch (pick(16)) {
    case 0: case 1: case 2: write_record(); break;
    case 3: write_storm(); break;
    case 4: case 5: write_requests(); break;
    case 6: case 7: write_anything(); break;
    case 8: case 9: write_table(); break;
    case 10: change_attachment(); break;
    case 11: host_time_advance(take(4)); break;
    case 12: read_faults(); break;
    case 13:
        hw.gone |= pick(16) == 0;
        hw.confused = pick(2);
        break;
    default: poll(); break;
    }
    check_lines();
}

/* What a unit that is gone may still use is never given back. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
    start();
    for (unsigned i = 0; left && i < OPERATIONS; i++)
        operation();
    poll();
    check_lines();
    stop();
    return 0;
}
