/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/test/host/fake_unit.h"
#include "tools/test/host/units.h"

#include <string.h>

#include "iommu/registers.h"
#include "iommu/unit.h"

struct fake_unit fake;

uint64_t fake_get64(uint32_t offset)
{
    uint64_t value;
    memcpy(&value, fake.page + offset, 8);
    return value;
}

uint32_t fake_get32(uint32_t offset)
{
    uint32_t value;
    memcpy(&value, fake.page + offset, 4);
    return value;
}

void fake_set64(uint32_t offset, uint64_t value) { memcpy(fake.page + offset, &value, 8); }
void fake_set32(uint32_t offset, uint32_t value) { memcpy(fake.page + offset, &value, 4); }

int fake_units_free(void **state)
{
    (void)state;
    units_free();
    return 0;
}

void fake_forget(void)
{
    fake.dones = 0;
    fake.tail_writes = 0;
}

int fake_found(struct qi_descriptor d)
{
    for (unsigned i = 0; i < fake.dones; i++)
        if (!memcmp(&fake.done[i], &d, sizeof d))
            return (int)i;
    return -1;
}

void fake_fault(uint64_t address, uint16_t source_id, uint8_t reason, bool read)
{
    fake_set64(FAKE_FRO, address & ~0xfffULL);
    fake_set64(FAKE_FRO + 8, source_id | (uint64_t)reason << 32 | (uint64_t)read << 62 | 1ULL << 63);
    fake_set32(REG_FSTS, fake_get32(REG_FSTS) | 2);
}

void fake_page_request(uint16_t source_id, uint64_t address, uint16_t group, unsigned flags)
{
    uint64_t pqa = fake_get64(REG_PQA), tail = fake_get64(REG_PQT);
    uint64_t words[4] = { 1 | (uint64_t)source_id << 16, flags | (uint64_t)group << 3 | address };
    memcpy(host_phys((pqa & ~0xfffULL) + tail), words, sizeof words);
    fake_set64(REG_PQT, (tail + 32) % (4096ULL << (pqa & 7)));
    fake_set32(REG_PRS, fake_get32(REG_PRS) | 1);
}

/* Is it an invalidation that nobody will answer? */
static bool is_unanswered(const struct qi_descriptor *d)
{
    unsigned type = d->word[0] & 15;
    uint16_t source_id = (uint16_t)(type == 3 ? d->word[0] >> 32 : d->word[0] >> 16);
    if ((type != 3 && type != 8) || !source_id || (source_id != fake.deaf[0] && source_id != fake.deaf[1]))
        return false;
    fake_set64(REG_IQERCD, fake.nameless ? 0 : (uint64_t)source_id << 32);
    return true;
}

/* Descriptors in the queue, until it is empty or something stops it. */
static void run_queue(void)
{
    uint64_t iqa = fake_get64(REG_IQA), head = fake_get64(REG_IQH), size = 4096ULL << (iqa & 7);
    bool unanswered = false;
    while (!fake.silent && !(fake_get32(REG_FSTS) & 0x50) && head != fake_get64(REG_IQT)) {
        struct qi_descriptor d;
        const uint64_t *slot = host_phys((iqa & ~0xfffULL) + head);
        if (!slot)
            break;
        memcpy(&d, slot, sizeof d);
        if ((fake.refuses >= 0 && fake.refuses-- == 0) || slot[2] || slot[3]) {
            fake_set64(REG_IQERCD, slot[2] || slot[3] ? 4 : 3);
            fake_set32(REG_FSTS, fake_get32(REG_FSTS) | 0x10);
            break;
        }
        if ((d.word[0] & 15) == 5 && unanswered) {
            fake.unanswered++;
            fake_set32(REG_FSTS, fake_get32(REG_FSTS) | 0x40);
            head = fake.refetches ? head : (head + FAKE_SLOT) % size;
            break;
        }
        head = (head + FAKE_SLOT) % size;
        fake.drains += (d.word[0] & 15) == 5 && d.word[0] & 128;
        if (is_unanswered(&d)) {
            unanswered = true;
        } else if (((d.word[0] & 15) != 5 || d.word[0] & 64) && fake.dones < FAKE_LOG) {
            fake.done[fake.dones++] = d;
        } else if ((d.word[0] & 15) == 5 && fake.timing_out) {
            fake.timing_out = false;
            fake_set64(REG_IQERCD, 0x1234ULL << 32);
            fake_set32(REG_FSTS, fake_get32(REG_FSTS) | 0x40);
        } else if ((d.word[0] & 15) == 5 && d.word[0] & 32) {
            uint32_t data = (uint32_t)(d.word[0] >> 32);
            memcpy(host_phys(d.word[1]), &data, 4);
        }
    }
    fake_set64(REG_IQH, head);
}

static void command(uint32_t value)
{
    uint32_t status = fake_get32(REG_GSTS);
    uint32_t now = (status & 0x41000000) | (value & 0x86800000) | (value & 0x41000000);
    if (fake.command_count < 64)
        fake.commands[fake.command_count++] = value;
    if (status & 0x80000000 && !(value & 0x80000000))
        fake.pmen_at_te_off = fake_get32(REG_PMEN);
    if (!(value & 0x04000000))
        fake_set64(REG_IQH, 0);
    fake_set32(REG_GSTS, (now & ~fake.ignores) | (status & fake.ignores));
}

static uint64_t read(void *context, uint32_t offset, unsigned bytes)
{
    (void)context;
    if (offset == REG_IQH && fake.lags && fake_get64(REG_IQH)) {
        fake.lags--;
        return fake_get64(REG_IQH) - FAKE_SLOT;
    }
    return bytes == 8 ? fake_get64(offset) : fake_get32(offset);
}

/* The upper word of a fault record: F is cleared by writing 1, and PPF says whether any is left. */
static bool is_record_top(uint32_t offset)
{
    return offset >= FAKE_FRO && offset < FAKE_FRO + 16 * FAKE_RECORDS && (offset - FAKE_FRO) % 16 == 12;
}

static void clear_record(uint32_t offset)
{
    uint32_t pending = 0;
    fake_set32(offset, fake_get32(offset) & 0x7fffffff);
    for (unsigned i = 0; i < FAKE_RECORDS; i++)
        pending |= fake_get32(FAKE_FRO + 16 * i + 12) & 0x80000000;
    if (!pending)
        fake_set32(REG_FSTS, fake_get32(REG_FSTS) & ~2u);
}

static void write(void *context, uint32_t offset, unsigned bytes, uint64_t value)
{
    (void)context;
    if (is_record_top(offset)) {
        if (value & 0x80000000)
            clear_record(offset);
        return;
    }
    switch (offset) {
    case REG_GCMD:
        command((uint32_t)value);
        return;
    case REG_FSTS:
        fake_set32(REG_FSTS, fake_get32(REG_FSTS) & ~((uint32_t)value & 0x71));
        run_queue();
        return;
    case REG_PRS:
        if (!fake.prs_stuck)
            fake_set32(REG_PRS, fake_get32(REG_PRS) & ~(uint32_t)value);
        return;
    case REG_PMEN:
        if (!fake.pmen_stuck)
            fake_set32(REG_PMEN, value & 0x80000000 ? 0x80000001 : 0);
        return;
    case REG_IQT:
        fake_set64(REG_IQT, value);
        fake.tail_writes++;
        if (fake_get32(REG_GSTS) & 0x04000000)
            run_queue();
        return;
    }
    if (bytes == 8)
        fake_set64(offset, value);
    else
        fake_set32(offset, (uint32_t)value);
}

void fake_unit_add(void)
{
    fake = (struct fake_unit){
        .registers = { .phys = FAKE_UNIT_BASE, .size = 4096, .read = read, .write = write },
        .refuses = -1,
    };
    fake_set32(REG_VER, 0x60);
    /* Sapphire Rapids' capabilities but for FRO, and a MAMV of 18. */
    fake_set64(REG_CAP, (0x19ed008c40780c66ULL & ~(CAP_FRO | CAP_MAMV)) | place(CAP_FRO, FAKE_FRO / 16) | place(CAP_MAMV, 18));
    fake_set64(REG_ECAP, 0x3ee9e86f050dfULL);
    host_registers_add(&fake.registers);
}

const void *fake_dmar(uint32_t *length, uint8_t flags)
{
    static uint8_t table[48 + 16 + 32];
    static const uint8_t structures[48] = {
        0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0,
        1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7b, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x14, 0,
    };
    memcpy(table, "DMAR", 4);
    table[4] = sizeof table;
    table[36] = 51;
    table[37] = flags;
    memcpy(table + 48, structures, sizeof structures);
    *length = sizeof table;
    return table;
}
