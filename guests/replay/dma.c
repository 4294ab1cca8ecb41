/* SPDX-License-Identifier: BSD-2-Clause */
/* dma.c: transfers of the devices, the faults that come of them, and what is wrong with either. */
#include <string.h>

#include "guests/replay/replay.h"

#define PIECES      4u          /* pages that one transfer touches, at most */
#define STALE_BYTES 64u         /* a transfer that may use old values is short, and within a page */

/* Faults ----------------------------------------------------------------------------------------------- */

#define RECORDS 4u

static unsigned read_faults(struct nidus_fault record[RECORDS])
{
    struct nidus_fault_read p = { .size = sizeof p, .data_uptr = CALL_DATA, .entry_len = sizeof *record, .entry_num = RECORDS };

    memcpy(port_memory(CALLS), &p, sizeof p);
    if (port_call(NIDUS_CALL_FAULT_READ, CALLS, 0) != 0)
        wrong("FAULT_READ failed", 0);
    memcpy(&p, port_memory(CALLS), sizeof p);
    memcpy(record, port_memory(CALL_DATA), p.entry_num * sizeof *record);
    if (p.out_lost)
        wrong("fault records were lost:", p.out_lost);
    return p.entry_num;
}

void no_faults(void)
{
    struct nidus_fault record[RECORDS];

    if (read_faults(record))
        wrong("a fault that nothing caused, reason", record[0].reason);
}

static void tell_choice(const struct outcomes *o)
{
    tell("; fault");
    for (unsigned i = 0; i < o->count; i++)
        tell_hex(i ? " or " : " ", o->one[i].reason);
}

/* The level and the GPA are nidus's own finding, from the tables as they are. */
static void tell_fault(const struct nidus_fault *f)
{
    tell_hex("; fault ", f->reason);
    tell(f->access == NIDUS_FAULT_WRITE ? " write " : f->access == NIDUS_FAULT_READ ? " read " : " other ");
    tell_hex("", f->addr);
    tell_hex(" device ", f->dev_id);
    if (f->flags & NIDUS_FAULT_PASID_VALID)
        tell_hex(" PASID ", f->pasid);
    tell_hex(" stage ", f->stage);
    tell_hex(" level ", f->level);
    tell_hex(".", f->first_level);
    if (f->flags & NIDUS_FAULT_GPA_VALID)
        tell_hex(" GPA ", f->gpa);
}

/* A unit need not record bits of an address that are beyond its widest table (11.4.7.6).  nidus knows them where a first stage is attached
 * that takes the address; otherwise (80h, 84h, and all below 60h) they are not compared. */
static uint64_t recorded(uint64_t address, uint8_t reason)
{
    bool unknown = reason == 0x80 || reason == 0x84 || reason < 0x60;

    return address & ~(K4 - 1) & (unknown ? (1ULL << 48) - 1 : UINT64_MAX);
}

/* Exactly one record, of this device and page, for a reason that is allowed. */
static void fault_of(const struct device *d, uint32_t pasid, uint64_t address, bool write, const struct outcomes *allowed, bool settled)
{
    struct nidus_fault record[RECORDS], *f = &record[0];
    unsigned count = read_faults(record);
    bool found = allowed->many;

    if (count != 1) {
        wrong("a transfer failed, and the number of fault records is", count);
        return;
    }
    f->addr = recorded(f->addr, f->reason);
    if (f->pasid != (pasid == NO_PASID ? 0 : pasid) || !(f->flags & NIDUS_FAULT_PASID_VALID) != (pasid == NO_PASID))
        wrong("the fault has another PASID:", f->pasid);
    if (f->dev_id != d->id || f->addr != recorded(address, f->reason) || (f->access == NIDUS_FAULT_WRITE) != write)
        wrong("the fault is not of this transfer, its address is", f->addr);
    for (unsigned i = 0; i < allowed->count; i++)
        found |= allowed->one[i].reason == f->reason;
    if (!found)
        wrong("this fault is not what the tables say:", f->reason);
    if (settled && allowed->choice)
        tell_choice(allowed);
    else if (settled)
        tell_fault(f);
    else
        aside_hex(" fault ", f->reason);
}

/* The ring --------------------------------------------------------------------------------------------- */

static uint64_t ring_of(const struct device *d)
{
    uint64_t at = K4 * (uint64_t)(d - m.device);

    if (d->hwpt[0] && d->hwpt[0]->nested)
        return RING_IOVA + at;
    return PINNED + at + (d->hwpt[0] ? d->hwpt[0]->space->offset : 0);
}

void device_starts(struct device *d)
{
    port_start((unsigned)(d - m.device), ring_of(d));
}

/* Can the device read its ring?  Nothing on the way to it is ever changed without an invalidation. */
static bool expect_ring(struct device *d, struct outcomes *out)
{
    expect(d, NO_PASID, ring_of(d), false, false, out);
    if (out->count != 1 || out->many || out->stale)
        wrong("the scenario lost the way to the ring", out->count);
    return d->bus_master && !out->one[0].reason;
}

/* A transfer of a device that does not reach its ring. */
static void blocked(struct device *d, struct transfer *t, const struct outcomes *ring)
{
    port_transfer((unsigned)(d - m.device), t);
    tell(" ring");
    tell_hex(" status ", t->status);
    if (t->status != RING_ERROR)
        wrong("the device should not reach its ring, status", t->status);
    if (d->bus_master)
        fault_of(d, NO_PASID, ring_of(d), false, ring, true);
    device_starts(d);
}

/* Pieces: what the device does with one request, a page of either side at most ------------------------- */

struct piece {
    uint64_t src, dst;
    uint32_t at, size;
    struct outcomes from, to;
};
static struct piece piece[PIECES + 1];

static bool reads(const struct transfer *t) { return t->op != OP_FILL; }
static bool writes(const struct transfer *t) { return t->op != OP_SUM; }

static bool is_data(uint64_t gpa)
{
    return (gpa >= DATA && gpa < ARENA + ARENA_BYTES) || (gpa >= SLICES && gpa < RAM_BYTES);
}

/* Writes change data alone. */
static bool may_write(const struct outcomes *o)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason && !is_data(o->one[i].gpa))
            return false;
    return !o->many;
}

/* Rings change while they are read. */
static bool may_read(const struct outcomes *o)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason && o->one[i].gpa >= PINNED && o->one[i].gpa < PINNED + DEVICES * K4)
            return false;
    return !o->many;
}

/* Interrupts, and the units' own registers. */
static bool is_odd(uint64_t address)
{
    return address >> 20 == 0xfee || address >> 20 == 0xfed;
}

/* Cuts a transfer into pieces, up to the first that fails; *ok: it can be played.  *stale: something may be an old value. */
static unsigned cut(const struct device *d, const struct transfer *t, bool *stale, bool *ok)
{
    unsigned count = 0;
    bool fails = false;

    *stale = false;
    *ok = true;
    for (uint32_t done = 0; done < t->len && !fails && *ok; count++) {
        struct piece *p = &piece[count];
        uint64_t src = reads(t) ? t->src + done : 0, dst = writes(t) ? t->dst + done : 0;
        uint32_t size = t->len - done;

        if (count == PIECES) {
            *ok = false;
            break;
        }
        size = size < K4 - src % K4 ? size : (uint32_t)(K4 - src % K4);
        size = size < K4 - dst % K4 ? size : (uint32_t)(K4 - dst % K4);
        *p = (struct piece){ .src = src, .dst = dst, .at = done, .size = size };
        if (reads(t)) {
            expect(d, t->pasid, src, false, false, &p->from);
            *ok &= !is_odd(src) && may_read(&p->from);
        }
        if (writes(t)) {
            expect(d, t->pasid, dst, true, false, &p->to);
            *ok &= !is_odd(dst) && may_write(&p->to);
        }
        *stale |= p->from.stale || p->to.stale;
        fails = (reads(t) && p->from.one[0].reason) || (writes(t) && p->to.one[0].reason);
        done += size;
    }
    return count;
}

/* The entries on the way, with their A and D. */
static void tell_marks(const struct outcomes *o)
{
    for (unsigned i = 0; i < o->marks; i++)
        tell_hex(i ? "," : " entries ", *word_at(o->mark[i].at));
}

/* Settled: one result is right ------------------------------------------------------------------------- */

static void check_data(const struct transfer *t, unsigned count)
{
    static uint8_t bytes[K4];
    struct pattern_sum sum = { 0, 0 }, memory = { 0, 0 };
    bool whole = true;

    for (unsigned i = 0; i < count && piece[i].at < t->done; i++) {
        const struct piece *p = &piece[i];

        whole &= p->at % 8 == 0;
        if (t->op == OP_FILL) {
            pattern_bytes(t->seed, p->at, bytes, p->size);
            if (memcmp(bytes, port_memory(p->to.one[0].gpa), p->size) != 0)
                wrong("these bytes were not written, GPA", p->to.one[0].gpa);
        } else {
            pattern_add(&sum, port_memory(p->from.one[0].gpa), p->size);
        }
        if (writes(t))
            pattern_add(&memory, port_memory(p->to.one[0].gpa), p->size);
    }
    if (t->op == OP_SUM && whole && t->sum != pattern_value(&sum))
        wrong("these bytes were not read, their sum is", pattern_value(&sum));
    if (writes(t))
        tell_hex(" memory ", pattern_value(&memory));
}

static void settled(struct device *d, struct transfer *t, unsigned count)
{
    const struct piece *last = &piece[count - 1];
    bool source = reads(t) && last->from.one[0].reason, destination = !source && writes(t) && last->to.one[0].reason;
    uint32_t status = source ? SRC_ERROR : destination ? DST_ERROR : DONE;

    port_transfer((unsigned)(d - m.device), t);
    tell_hex(" status ", t->status);
    tell_hex(" done ", t->done);
    tell_hex(" sum ", t->sum);
    tell_hex(" error ", t->error_addr);
    if (t->status != status || t->done != (status == DONE ? t->len : last->at)) {
        wrong("the tables say that the status is", status);
        return;
    }
    if (t->status == SRC_ERROR || t->status == DST_ERROR) {
        bool write = t->status == DST_ERROR;

        if (t->error_addr != (write ? last->dst : last->src))
            wrong("the error should be at", write ? last->dst : last->src);
        fault_of(d, t->pasid, t->error_addr, write, write ? &last->to : &last->from, true);
    }
    check_data(t, count);
    for (unsigned i = 0; i < count; i++) {
        tell_marks(&piece[i].from);
        tell_marks(&piece[i].to);
    }
}

/* Not settled: any of several --------------------------------------------------------------------------- */

/* What hardware may have marked is marked, so that both sides go on alike: A and D that are set by hand need no invalidation. */
static void mark_all(const struct outcomes *o, bool write)
{
    for (unsigned i = 0; i < o->marks; i++)
        *word_at(o->mark[i].at) |= FS_A | (write && o->mark[i].leaf ? FS_D : 0);
}

/* What each place holds; a transfer of this size is within a page, so that two places are one or have nothing in common. */
static uint8_t kept[OUTCOMES][STALE_BYTES];

static void keep(const struct transfer *t, const struct outcomes *o)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason)
            memcpy(kept[i], port_memory(o->one[i].gpa), t->len);
}

/* How many of the places have the pattern; the others must have what they had. */
static unsigned written(const struct transfer *t, const struct outcomes *o)
{
    uint8_t bytes[STALE_BYTES];
    unsigned count = 0;

    pattern_bytes(t->seed, 0, bytes, t->len);
    for (unsigned i = 0; i < o->count; i++) {
        if (o->one[i].reason)
            continue;
        if (memcmp(port_memory(o->one[i].gpa), bytes, t->len) == 0)
            count++;
        else if (memcmp(port_memory(o->one[i].gpa), kept[i], t->len) != 0)
            wrong("other bytes were written to GPA", o->one[i].gpa);
    }
    return count;
}

/* All places as if hardware had used what memory has now. */
static void write_anew(const struct device *d, const struct transfer *t, const struct outcomes *o)
{
    struct outcomes now;

    for (unsigned i = 0; i < o->count; i++)
        if (!o->one[i].reason)
            memcpy(port_memory(o->one[i].gpa), kept[i], t->len);
    expect(d, t->pasid, t->dst, true, true, &now);
    if (!now.one[0].reason)
        pattern_bytes(t->seed, 0, port_memory(now.one[0].gpa), t->len);
}

static bool read_somewhere(const struct transfer *t, const struct outcomes *o)
{
    for (unsigned i = 0; i < o->count; i++) {
        struct pattern_sum sum = { 0, 0 };

        if (o->one[i].reason)
            continue;
        pattern_add(&sum, port_memory(o->one[i].gpa), t->len);
        if (t->sum == pattern_value(&sum))
            return true;
    }
    return false;
}

static void unsettled(struct device *d, struct transfer *t)
{
    const struct outcomes *o = t->op == OP_FILL ? &piece[0].to : &piece[0].from;
    bool write = t->op == OP_FILL;

    tell(" not settled");
    aside_hex(" ways ", o->count);
    if (write)
        keep(t, o);
    port_transfer((unsigned)(d - m.device), t);
    aside_hex(" status ", t->status);
    if (t->status == DONE) {
        if (write ? written(t, o) != 1 : !read_somewhere(t, o))
            wrong("neither the old page nor the new one; the sum is", t->sum);
    } else if (t->status == (write ? DST_ERROR : SRC_ERROR)) {
        fault_of(d, t->pasid, t->error_addr, write, o, false);
        if (write && written(t, o) != 0)
            wrong("refused, and written nevertheless", 0);
    } else {
        wrong("status", t->status);
    }
    if (write)
        write_anew(d, t, o);
    mark_all(o, write);
    tell_marks(o);
}

/* Choices ---------------------------------------------------------------------------------------------- */

static uint64_t address_for(struct hwpt *h)
{
    if (h && h->nested)
        return percent(97) ? tree_address(h->tree) : 1ULL << below(64);
    return percent(97) ? space_address(h ? h->space : some_space()) : 1ULL << below(64);
}

/* The page after the first one is interesting, too. */
static void choose(struct device *d, struct transfer *t)
{
    unsigned place = m.pasids && percent(40) ? 1 + (unsigned)below(PLACES - 1) : 0;
    struct hwpt *h = d->hwpt[place];
    uint64_t address = (address_for(h) & ~(K4 - 1)) + (percent(50) ? below(K4) : 8 * below(K4 / 8));
    unsigned kind = (unsigned)below(100);

    t->pasid = pasid_of[place];
    if (place && one_in(40))
        t->pasid = one_in(3) ? 0 : (uint32_t)below(256);
    t->op = kind < 45 ? OP_SUM : kind < 92 ? OP_FILL : OP_COPY;
    t->src = t->dst = address;
    if (t->op == OP_COPY)
        t->src = (address_for(h) & ~(K4 - 1)) + below(K4);
    t->len = 1 + (uint32_t)below(percent(50) ? 64 : percent(80) ? 2048 : 9000);
    t->seed = below(UINT64_MAX);
}

/* What cannot be written is read; what may use old values becomes short. */
static unsigned adapt(const struct device *d, struct transfer *t, bool *stale)
{
    bool ok;
    unsigned count = cut(d, t, stale, &ok);

    if (ok && !*stale)
        return count;
    if (*stale) {
        uint32_t room = (uint32_t)(K4 - t->dst % K4);

        t->op = t->op == OP_COPY ? OP_FILL : t->op;
        t->len = t->len < STALE_BYTES ? t->len : STALE_BYTES;
        t->len = t->len < room ? t->len : room;
        count = cut(d, t, stale, &ok);
    }
    if (!ok) {
        t->op = OP_SUM;
        t->src = t->dst;
        t->len = t->len < K4 - t->src % K4 ? t->len : (uint32_t)(K4 - t->src % K4);
        t->len = t->len < STALE_BYTES ? t->len : STALE_BYTES;
        count = cut(d, t, stale, &ok);
    }
    return ok ? count : 0;
}

/* Requests to FEEx_xxxxh (3.15): a write of one DWORD is an interrupt, and the device may raise none; all else is refused.  The index is recorded,
 * but not with 20h, 25h and 29h (5.1.4.1). */
static void some_interrupt(struct device *d)
{
    struct transfer t = { .pasid = NO_PASID, .op = percent(75) ? OP_FILL : OP_SUM, .len = 1u << below(4), .seed = below(UINT64_MAX) };
    struct nidus_fault record[RECORDS];
    unsigned count;

    t.len = percent(70) ? 4 : t.len;
    t.src = t.dst = (0xfee00000 | below(0x100000)) & ~(uint64_t)(t.len - 1);
    tell(t.op == OP_FILL ? " fill" : " sum");
    tell_hex(" at ", t.dst);
    tell_hex(" length ", t.len);
    port_transfer((unsigned)(d - m.device), &t);
    tell_hex(" status ", t.status);
    tell_hex(" done ", t.done);
    count = read_faults(record);
    if (t.status != (t.op == OP_FILL ? DST_ERROR : SRC_ERROR) || count != 1) {
        wrong("an interrupt that is not refused, or not once: faults", count);
        return;
    }
    tell_hex("; fault ", record[0].reason);
    tell_hex(" device ", record[0].dev_id);
    tell_hex(" stage ", record[0].stage);
    if (record[0].reason == 0x21 || record[0].reason == 0x22)
        tell_hex(" index ", record[0].addr >> 48);
    if (record[0].stage != NIDUS_FAULT_STAGE_INTERRUPT || ((t.op == OP_SUM || t.len != 4) && record[0].reason != 0x29))
        wrong("the fault of an interrupt request is", record[0].reason);
}

void some_dma(struct device *d)
{
    struct transfer t = { 0 };
    struct outcomes ring;
    unsigned count;
    bool stale;

    tell_hex("device ", d->id);
    choose(d, &t);
    if (!expect_ring(d, &ring)) {
        blocked(d, &t, &ring);
        return;
    }
    if (one_in(50)) {
        some_interrupt(d);
        return;
    }
    count = adapt(d, &t, &stale);
    if (!count)
        return;
    tell(t.op == OP_SUM ? " sum" : t.op == OP_FILL ? " fill" : " copy");
    if (reads(&t))
        tell_hex(" from ", t.src);
    if (writes(&t))
        tell_hex(" to ", t.dst);
    tell_hex(" length ", t.len);
    if (t.pasid != NO_PASID)
        tell_hex(" PASID ", t.pasid);
    if (stale)
        unsettled(d, &t);
    else
        settled(d, &t, count);
}

static uint64_t sum_of(uint64_t gpa, uint64_t length)
{
    struct pattern_sum sum = { 0, 0 };

    pattern_add(&sum, port_memory(gpa), (uint32_t)length);
    return pattern_value(&sum);
}

void tell_memory(void)
{
    no_faults();
    tell_hex("memory: tables ", sum_of(TABLES, TABLE_PAGES * K4));
    tell_hex(" rings' and tops ", sum_of(PINNED + DEVICES * K4, (PINNED_PAGES - DEVICES) * K4));
    tell_hex(" data ", sum_of(DATA, DATA_BYTES));
    tell_hex(" more ", sum_of(MORE, MORE_PAGES * K4));
    tell_hex(" slice ", sum_of(SLICES + m.seed % SLICE_COUNT * SLICE_STEP, M2));
}
