/* SPDX-License-Identifier: BSD-2-Clause */
/* generator.c: what each call takes, as a table; values that fit, and values that do not. */
#include "guests/hostile/generator.h"

#include <stddef.h>
#include <string.h>

#include "kernel/abi/nidus.h"

#define K4 0x1000ULL
#define M2 0x200000ULL

/* The playground: payloads; arrays; a long array for HWPT_INVALIDATE; first-stage tables; and the rest. */
#define PAYLOADS     0x0ULL
#define ARRAYS       0x10000ULL
#define LONG_ARRAY   0x20000ULL
#define LONG_ENTRIES 2048u
#define TABLES       0x40000ULL
#define TOPS         4u
#define LEVELS       5u         /* tables of level 1 to 5, each TOPS times */

#define MOST_IDS     511u
#define SWEEP_EVERY  4096u      /* calls, on the average: else it would soon have all objects that it may have */
#define MOST_PAYLOAD 64u
#define MOST_WRITTEN 16u        /* elements of an array; behind them is what lies there */

/* Choices: splitmix64 -------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static uint64_t any(struct hostile *h)
{
    return mix(h->choices += 0x9e3779b97f4a7c15ULL);
}

uint64_t hostile_below(struct hostile *h, uint64_t n)
{
    return (uint64_t)((unsigned __int128)any(h) * n >> 64);
}
#define below(n) hostile_below(h, n)

void hostile_next(struct hostile *h)
{
    h->choices = mix(mix(h->seed) + h->calls * 0x9e3779b97f4a7c15ULL);
}

/* Values --------------------------------------------------------------------------------------------------- */

/* Where rules have their borders. */
static uint64_t border(struct hostile *h)
{
    static const uint64_t borders[] = {
        0, 1, K4 - 1, K4, M2, 1ULL << 30, 0xfedff000, 0xfee00000, 0xfef00000, 1ULL << 31, 1ULL << 32, 1ULL << 39, 1ULL << 47, 1ULL << 48, 1ULL << 52,
        1ULL << 56, 1ULL << 57, 1ULL << 63, UINT64_MAX - M2 + 1, UINT64_MAX - K4 + 1, UINT64_MAX,
    };
    uint64_t value = borders[below(sizeof borders / sizeof *borders)];

    return value + (below(2) ? 0 : (below(5) - 2) * (below(2) ? K4 : 1));
}

uint64_t hostile_gpa(struct hostile *h)
{
    switch (below(8)) {
    case 0: return h->low + TABLES + below(TOPS * LEVELS) * K4;
    case 1: return h->end - (1 + below(4)) * K4;
    case 2: return (h->low + M2 - 1) / M2 * M2 + below(2) * M2;
    default: return h->low + below(512) * K4;
    }
}

uint64_t hostile_iova(struct hostile *h)
{
    switch (below(8)) {
    case 0: return border(h) & ~(K4 - 1);
    case 1: case 2: return hostile_gpa(h);
    case 3: return 0x100000000ULL + below(1024) * K4;
    default: {
        const struct hostile_area *a = &h->area[below(HOSTILE_RECENT)];

        h->length = a->length;
        return a->iova + (below(4) ? 0 : below(3) * K4);
    }
    }
}

uint32_t hostile_pasid(struct hostile *h)
{
    return below(8) ? 1 + (uint32_t)below(3) : (uint32_t)below(1 << 21);
}

static uint64_t some_length(struct hostile *h)
{
    switch (below(16)) {
    case 0: return (1 + below(2)) * M2;
    case 1: return h->end - h->low;
    case 2: return UINT64_MAX;
    case 3: return border(h);
    case 4: case 5: case 6: case 7: return (1 + below(8)) * K4;
    default: return h->length;
    }
}

/* Ids are the lowest that are free: a small number is one, of whatever kind. */
static uint32_t some_id(struct hostile *h, enum hostile_kind kind)
{
    unsigned known = kind == KINDS ? 0 : h->ids[kind];

    if (known == 0 || below(16) == 0)
        return below(32) ? 1 + (uint32_t)below(24) : (uint32_t)border(h);
    return h->id[kind][below(known < HOSTILE_KNOWN ? known : HOSTILE_KNOWN)];
}

void hostile_knows(struct hostile *h, enum hostile_kind kind, uint32_t id)
{
    h->id[kind][h->ids[kind]++ % HOSTILE_KNOWN] = id;
}

/* Of what a payload points to. */
static uint64_t some_count(struct hostile *h)
{
    static const uint32_t counts[] = { 0, 255, 256, 257, 511, 512, 513, 1025, 4096, 1 << 19, (1 << 19) + 1, UINT32_MAX };

    return below(64) ? below(9) : counts[below(sizeof counts / sizeof *counts)];
}

/* Where a payload or an array lies: mostly in a place for it; over the end of a page, or of memory; in a table; or nowhere. */
static uint64_t some_place(struct hostile *h, uint64_t usual, uint64_t bytes)
{
    switch (below(32)) {
    case 0: return h->end - below(64);
    case 1: return h->low + usual + K4 - below(64);
    case 2: return hostile_gpa(h) + 8 * below(512);
    case 3: return below(2) ? h->end + below(M2) : border(h) | 1ULL << 40;
    case 4: return below(4) ? h->low + usual + below(K4) : 0;
    default: return h->low + usual + below(bytes / 64) * 64;
    }
}

/* Grammar -------------------------------------------------------------------------------------------------- */

enum what {
    VALUE,                      /* arg */
    BITS,                       /* some of arg's low 16 bits, all of those above */
    BELOW,                      /* less than arg */
    ID,                         /* of kind arg */
    LOW, ALL,                   /* the playground's beginning, and its length */
    IOVA, LAST, LENGTH, GPA, TABLE, PASID, COOKIE, PAGES, TIMEOUT, CHANNELS,
    ARRAY, COUNT, BYTES,        /* what the payload points to; BYTES: of elements of arg bytes */
};

struct field {
    uint8_t at, bytes, what;
    uint32_t arg;
};

#define FIELD(type, member, what, arg) { offsetof(struct type, member), sizeof(((struct type *)0)->member), what, arg }

struct elements {
    uint8_t bytes;
    struct field field[5];
};

static const struct elements ranges = {
    sizeof(struct nidus_iova_range),
    { FIELD(nidus_iova_range, start, IOVA, 0), FIELD(nidus_iova_range, last, LAST, 0) },
};
static const struct elements first_stage = {
    sizeof(struct nidus_hwpt_vtd_s1),
    { FIELD(nidus_hwpt_vtd_s1, flags, BITS, 7), FIELD(nidus_hwpt_vtd_s1, pgtbl_addr, TABLE, 0), FIELD(nidus_hwpt_vtd_s1, addr_width, VALUE, 48) },
};
static const struct elements invalidations = {
    sizeof(struct nidus_hwpt_vtd_s1_invalidate),
    { FIELD(nidus_hwpt_vtd_s1_invalidate, addr, IOVA, 0), FIELD(nidus_hwpt_vtd_s1_invalidate, npages, PAGES, 0),
      FIELD(nidus_hwpt_vtd_s1_invalidate, flags, BITS, 1) },
};
static const struct elements responses = {
    sizeof(struct nidus_hwpt_page_response),
    { FIELD(nidus_hwpt_page_response, cookie, COOKIE, 0), FIELD(nidus_hwpt_page_response, code, BELOW, 2) },
};
static const struct elements buffer = { .bytes = 1 };

struct row {
    uint16_t number;
    uint16_t weight;
    uint8_t size, min;
    bool device;                /* RSI is one */
    bool own;                   /* nidus's own */
    uint8_t made, made_at;      /* the kind of what it makes, and where its id is; 0: nothing */
    uint8_t channel_at;
    uint8_t iova_at, length_at; /* what it maps */
    const struct elements *elements;
    struct field field[9];
};

#define HAS(type) .size = sizeof(struct type)
#define MAPPED(type, member) .iova_at = offsetof(struct type, member), .length_at = offsetof(struct type, length)
#define MADE(kind, type, member) .made = kind, .made_at = offsetof(struct type, member)

static const struct row rows[] = {
    { NIDUS_CALL_ATTACH, 24, 12, 12, .device = true, .field = { FIELD(nidus_vfio_attach, pt_id, ID, NESTED) } },
    { NIDUS_CALL_ATTACH, 12, 12, 12, .device = true, .field = { FIELD(nidus_vfio_attach, pt_id, ID, IOAS) } },
    { NIDUS_CALL_ATTACH, 12, 12, 12, .device = true, .field = { FIELD(nidus_vfio_attach, pt_id, ID, KINDS) } },
    { NIDUS_CALL_ATTACH, 16, 16, 12, .device = true, .field = { FIELD(nidus_vfio_attach, pt_id, ID, NESTED),
        FIELD(nidus_vfio_attach, flags, VALUE, NIDUS_VFIO_ATTACH_PASID), FIELD(nidus_vfio_attach, pasid, PASID, 0) } },
    { NIDUS_CALL_DETACH, 8, 8, 8, .device = true },
    { NIDUS_CALL_DETACH, 12, 12, 8, .device = true, .field = { FIELD(nidus_vfio_detach, flags, VALUE, NIDUS_VFIO_DETACH_PASID),
        FIELD(nidus_vfio_detach, pasid, PASID, 0) } },
    { NIDUS_CALL_DESTROY, 80, HAS(nidus_destroy), .min = 8, .field = { FIELD(nidus_destroy, id, ID, KINDS) } },
    { NIDUS_CALL_IOAS_ALLOC, 16, HAS(nidus_ioas_alloc), .min = 12, MADE(IOAS, nidus_ioas_alloc, out_ioas_id) },
    { NIDUS_CALL_IOAS_IOVA_RANGES, 8, HAS(nidus_ioas_iova_ranges), .min = 32, .elements = &ranges, .field = {
        FIELD(nidus_ioas_iova_ranges, ioas_id, ID, IOAS), FIELD(nidus_ioas_iova_ranges, num_iovas, COUNT, 0),
        FIELD(nidus_ioas_iova_ranges, allowed_iovas, ARRAY, 0) } },
    { NIDUS_CALL_IOAS_ALLOW_IOVAS, 8, HAS(nidus_ioas_allow_iovas), .min = 24, .elements = &ranges, .field = {
        FIELD(nidus_ioas_allow_iovas, ioas_id, ID, IOAS), FIELD(nidus_ioas_allow_iovas, num_iovas, COUNT, 0),
        FIELD(nidus_ioas_allow_iovas, allowed_iovas, ARRAY, 0) } },
    { NIDUS_CALL_IOAS_MAP, 40, HAS(nidus_ioas_map), .min = 40, MAPPED(nidus_ioas_map, iova), .field = {
        FIELD(nidus_ioas_map, flags, BITS, 7), FIELD(nidus_ioas_map, ioas_id, ID, IOAS), FIELD(nidus_ioas_map, user_va, GPA, 0),
        FIELD(nidus_ioas_map, length, LENGTH, 0), FIELD(nidus_ioas_map, iova, IOVA, 0) } },
    { NIDUS_CALL_IOAS_MAP, 16, HAS(nidus_ioas_map), .min = 40, .field = {
        FIELD(nidus_ioas_map, flags, VALUE, 7), FIELD(nidus_ioas_map, ioas_id, ID, IOAS), FIELD(nidus_ioas_map, user_va, LOW, 0),
        FIELD(nidus_ioas_map, length, ALL, 0), FIELD(nidus_ioas_map, iova, LOW, 0) } },
    { NIDUS_CALL_IOAS_COPY, 24, HAS(nidus_ioas_copy), .min = 40, MAPPED(nidus_ioas_copy, dst_iova), .field = {
        FIELD(nidus_ioas_copy, flags, BITS, 7), FIELD(nidus_ioas_copy, dst_ioas_id, ID, IOAS), FIELD(nidus_ioas_copy, src_ioas_id, ID, IOAS),
        FIELD(nidus_ioas_copy, dst_iova, IOVA, 0), FIELD(nidus_ioas_copy, src_iova, IOVA, 0), FIELD(nidus_ioas_copy, length, LENGTH, 0) } },
    { NIDUS_CALL_IOAS_UNMAP, 30, HAS(nidus_ioas_unmap), .min = 24, .field = {
        FIELD(nidus_ioas_unmap, ioas_id, ID, IOAS), FIELD(nidus_ioas_unmap, iova, IOVA, 0), FIELD(nidus_ioas_unmap, length, LENGTH, 0) } },
    { NIDUS_CALL_IOAS_UNMAP, 2, HAS(nidus_ioas_unmap), .min = 24, .field = {
        FIELD(nidus_ioas_unmap, ioas_id, ID, IOAS), FIELD(nidus_ioas_unmap, length, LENGTH, 0) } },
    { NIDUS_CALL_OPTION, 6, HAS(nidus_option), .min = 24, .field = {
        FIELD(nidus_option, option_id, BELOW, 2), FIELD(nidus_option, op, BELOW, 2), FIELD(nidus_option, object_id, ID, IOAS),
        FIELD(nidus_option, val64, BELOW, 2) } },
    { NIDUS_CALL_VFIO_IOAS, 1, .size = 16, .min = 16 },
    { NIDUS_CALL_IOAS_MAP_FILE, 1, .size = 40, .min = 40 },
    { NIDUS_CALL_IOAS_CHANGE_PROCESS, 1, .size = 16, .min = 16 },
    { NIDUS_CALL_HW_QUEUE_ALLOC, 1, .size = 40, .min = 40 },
    { NIDUS_CALL_HWPT_ALLOC, 12, HAS(nidus_hwpt_alloc), .min = 24, MADE(PAGING, nidus_hwpt_alloc, out_hwpt_id), .field = {
        FIELD(nidus_hwpt_alloc, flags, BITS, NIDUS_HWPT_ALLOC_DIRTY_TRACKING | NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_PASID),
        FIELD(nidus_hwpt_alloc, dev_id, ID, DEVICE), FIELD(nidus_hwpt_alloc, pt_id, ID, IOAS), FIELD(nidus_hwpt_alloc, fault_id, ID, QUEUE) } },
    { NIDUS_CALL_HWPT_ALLOC, 12, HAS(nidus_hwpt_alloc), .min = 24, MADE(PARENT, nidus_hwpt_alloc, out_hwpt_id), .field = {
        FIELD(nidus_hwpt_alloc, flags, BITS, NIDUS_HWPT_ALLOC_NEST_PARENT << 16 | NIDUS_HWPT_ALLOC_DIRTY_TRACKING | NIDUS_HWPT_ALLOC_PASID),
        FIELD(nidus_hwpt_alloc, dev_id, ID, DEVICE), FIELD(nidus_hwpt_alloc, pt_id, ID, IOAS) } },
    { NIDUS_CALL_HWPT_ALLOC, 40, HAS(nidus_hwpt_alloc), .min = 24, MADE(NESTED, nidus_hwpt_alloc, out_hwpt_id), .elements = &first_stage, .field = {
        FIELD(nidus_hwpt_alloc, flags, BITS, NIDUS_HWPT_FAULT_ID_VALID | NIDUS_HWPT_ALLOC_PASID), FIELD(nidus_hwpt_alloc, dev_id, ID, DEVICE),
        FIELD(nidus_hwpt_alloc, pt_id, ID, PARENT), FIELD(nidus_hwpt_alloc, data_type, VALUE, NIDUS_HWPT_DATA_VTD_S1),
        FIELD(nidus_hwpt_alloc, data_len, VALUE, sizeof(struct nidus_hwpt_vtd_s1)), FIELD(nidus_hwpt_alloc, data_uptr, ARRAY, 0),
        FIELD(nidus_hwpt_alloc, fault_id, ID, QUEUE) } },
    { NIDUS_CALL_HWPT_ALLOC, 8, HAS(nidus_hwpt_alloc), .min = 24, MADE(NESTED, nidus_hwpt_alloc, out_hwpt_id), .elements = &first_stage, .field = {
        FIELD(nidus_hwpt_alloc, dev_id, ID, DEVICE), FIELD(nidus_hwpt_alloc, pt_id, ID, VIOMMU),
        FIELD(nidus_hwpt_alloc, data_type, VALUE, NIDUS_HWPT_DATA_VTD_S1), FIELD(nidus_hwpt_alloc, data_len, VALUE, sizeof(struct nidus_hwpt_vtd_s1)),
        FIELD(nidus_hwpt_alloc, data_uptr, ARRAY, 0) } },
    { NIDUS_CALL_GET_HW_INFO, 8, HAS(nidus_hw_info), .min = 32, .elements = &buffer, .field = {
        FIELD(nidus_hw_info, flags, BITS, 1), FIELD(nidus_hw_info, dev_id, ID, DEVICE), FIELD(nidus_hw_info, data_len, BYTES, 8),
        FIELD(nidus_hw_info, data_uptr, ARRAY, 0) } },
    { NIDUS_CALL_HWPT_SET_DIRTY_TRACKING, 10, HAS(nidus_hwpt_set_dirty_tracking), .min = 16, .field = {
        FIELD(nidus_hwpt_set_dirty_tracking, flags, BITS, 1), FIELD(nidus_hwpt_set_dirty_tracking, hwpt_id, ID, PARENT) } },
    { NIDUS_CALL_HWPT_GET_DIRTY_BITMAP, 10, HAS(nidus_hwpt_get_dirty_bitmap), .min = 48, .elements = &buffer, .field = {
        FIELD(nidus_hwpt_get_dirty_bitmap, hwpt_id, ID, PARENT), FIELD(nidus_hwpt_get_dirty_bitmap, flags, BITS, 1),
        FIELD(nidus_hwpt_get_dirty_bitmap, iova, IOVA, 0), FIELD(nidus_hwpt_get_dirty_bitmap, length, LENGTH, 0),
        FIELD(nidus_hwpt_get_dirty_bitmap, page_size, VALUE, K4), FIELD(nidus_hwpt_get_dirty_bitmap, data, ARRAY, 0) } },
    { NIDUS_CALL_HWPT_INVALIDATE, 30, HAS(nidus_hwpt_invalidate), .min = 32, .elements = &invalidations, .field = {
        FIELD(nidus_hwpt_invalidate, hwpt_id, ID, NESTED), FIELD(nidus_hwpt_invalidate, data_uptr, ARRAY, 0),
        FIELD(nidus_hwpt_invalidate, entry_len, VALUE, sizeof(struct nidus_hwpt_vtd_s1_invalidate)),
        FIELD(nidus_hwpt_invalidate, entry_num, COUNT, 0) } },
    { NIDUS_CALL_FAULT_QUEUE_ALLOC, 6, HAS(nidus_fault_alloc), .min = 16, MADE(QUEUE, nidus_fault_alloc, out_fault_id),
      .channel_at = offsetof(struct nidus_fault_alloc, out_fault_fd) },
    { NIDUS_CALL_VIOMMU_ALLOC, 8, HAS(nidus_viommu_alloc), .min = 24, MADE(VIOMMU, nidus_viommu_alloc, out_viommu_id), .field = {
        FIELD(nidus_viommu_alloc, type, VALUE, NIDUS_VIOMMU_TYPE_VTD), FIELD(nidus_viommu_alloc, dev_id, ID, DEVICE),
        FIELD(nidus_viommu_alloc, hwpt_id, ID, PARENT) } },
    { NIDUS_CALL_VDEVICE_ALLOC, 8, HAS(nidus_vdevice_alloc), .min = 24, MADE(VDEVICE, nidus_vdevice_alloc, out_vdevice_id), .field = {
        FIELD(nidus_vdevice_alloc, viommu_id, ID, VIOMMU), FIELD(nidus_vdevice_alloc, dev_id, ID, DEVICE),
        FIELD(nidus_vdevice_alloc, virt_id, BELOW, 4) } },
    { NIDUS_CALL_VEVENTQ_ALLOC, 8, HAS(nidus_veventq_alloc), .min = 32, MADE(VEVENTQ, nidus_veventq_alloc, out_veventq_id),
      .channel_at = offsetof(struct nidus_veventq_alloc, out_veventq_fd), .field = {
        FIELD(nidus_veventq_alloc, viommu_id, ID, VIOMMU), FIELD(nidus_veventq_alloc, type, VALUE, NIDUS_VEVENTQ_TYPE_VTD_FAULT),
        FIELD(nidus_veventq_alloc, veventq_depth, BELOW, 300) } },
    { NIDUS_CALL_FAULT_READ, 8, HAS(nidus_fault_read), .min = 32, .elements = &buffer, .field = {
        FIELD(nidus_fault_read, data_uptr, ARRAY, 0), FIELD(nidus_fault_read, entry_len, VALUE, sizeof(struct nidus_fault)),
        FIELD(nidus_fault_read, entry_num, COUNT, 0) } },
    { NIDUS_CALL_EVENT_READ, 16, HAS(nidus_event_io), .min = 24, .elements = &buffer, .field = {
        FIELD(nidus_event_io, channel, ID, CHANNEL), FIELD(nidus_event_io, data_uptr, ARRAY, 0), FIELD(nidus_event_io, data_len, BYTES, 40) } },
    { NIDUS_CALL_EVENT_WRITE, 16, HAS(nidus_event_io), .min = 24, .elements = &responses, .field = {
        FIELD(nidus_event_io, channel, ID, CHANNEL), FIELD(nidus_event_io, data_uptr, ARRAY, 0), FIELD(nidus_event_io, data_len, BYTES, 8) } },
    { NIDUS_CALL_EVENT_WAIT, 4, HAS(nidus_event_wait), .min = 24, .own = true, .field = {
        FIELD(nidus_event_wait, channels, CHANNELS, 0), FIELD(nidus_event_wait, timeout_ns, TIMEOUT, 0) } },
    { NIDUS_CALL_CONSOLE_WRITE, 1, HAS(nidus_console_write), .min = 16, .own = true, .elements = &buffer, .field = {
        FIELD(nidus_console_write, length, BYTES, 1), FIELD(nidus_console_write, data_uptr, ARRAY, 0) } },
    { NIDUS_CALL_EXIT, 1, HAS(nidus_exit), .min = 8, .own = true },
    { NIDUS_CALL_PCI_CONFIG_READ, 8, HAS(nidus_pci_config), .min = 16, .device = true, .own = true, .field = {
        FIELD(nidus_pci_config, offset, BELOW, K4), FIELD(nidus_pci_config, width, BITS, 7) } },
    { NIDUS_CALL_PCI_CONFIG_WRITE, 8, HAS(nidus_pci_config), .min = 16, .device = true, .own = true, .field = {
        FIELD(nidus_pci_config, offset, BELOW, 256), FIELD(nidus_pci_config, width, BITS, 7), FIELD(nidus_pci_config, value, BELOW, UINT32_MAX) } },
};
#define ROWS (sizeof rows / sizeof *rows)

/* Calls and devices leave some of it as it is. */
static void write_long_array(struct hostile *h)
{
    for (unsigned i = 0; i < LONG_ENTRIES; i++) {
        struct nidus_hwpt_vtd_s1_invalidate entry = { .addr = 2 * i * K4, .npages = 1 + i % 3 };

        port_write(h, h->low + LONG_ARRAY + i * sizeof entry, &entry, sizeof entry);
    }
}

static const struct row *some_row(struct hostile *h)
{
    unsigned sum = 0;
    const struct row *r;

    if (below(SWEEP_EVERY) == 0) {
        h->sweep = MOST_IDS;
        write_long_array(h);
    }
    for (r = rows; h->sweep && r->number != NIDUS_CALL_DESTROY; r++)
        ;
    if (h->sweep)
        return r;
    for (r = rows; r < rows + ROWS; r++)
        sum += r->weight;
    do {
        uint64_t at = below(sum);

        for (r = rows; at >= r->weight; r++)
            at -= r->weight;
    } while (r->own && !h->own);
    return r;
}

static uint64_t some_value(struct hostile *h, const struct field *f, uint64_t before)
{
    switch ((enum what)f->what) {
    case VALUE: return f->arg;
    case BITS: return (any(h) & f->arg & 0xffff) | f->arg >> 16;
    case BELOW: return below(f->arg);
    case ID: return h->sweep ? h->sweep-- : some_id(h, (enum hostile_kind)f->arg);
    case LOW: return h->low;
    case ALL: return h->end - h->low;
    case IOVA: return hostile_iova(h);
    case LAST: return before + (1 + below(64)) * K4 - 1;
    case LENGTH: return some_length(h);
    case GPA: return hostile_gpa(h);
    case TABLE: return h->low + TABLES + below(TOPS) * K4;
    case PASID: return hostile_pasid(h);
    case COOKIE: return below(2) ? h->cookie : h->cookie + below(3) - 1;
    case PAGES: return below(8) ? 1 + below(40) : UINT64_MAX;
    case TIMEOUT: return below(200000);
    case CHANNELS: return 1ULL << (some_id(h, CHANNEL) & 63);
    case ARRAY: return h->array;
    case COUNT: return h->count;
    case BYTES: return h->count * f->arg;
    }
    return 0;
}

static unsigned fields_of(const struct field *f, unsigned most)
{
    unsigned count = 0;

    while (count < most && f[count].bytes)
        count++;
    return count;
}

static void fill(struct hostile *h, uint8_t *to, const struct field *f, unsigned most)
{
    unsigned count = fields_of(f, most);
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++) {
        value = some_value(h, &f[i], value);
        memcpy(to + f[i].at, &value, f[i].bytes);
    }
}

/* One field, or the gap behind it, is something else. */
static void spoil(struct hostile *h, uint8_t *payload, uint32_t size)
{
    uint64_t value = below(2) ? border(h) : any(h);
    uint32_t bytes = 1u << below(4), at = (uint32_t)below(size / bytes) * bytes;

    memcpy(payload + at, &value, bytes);
}

static void noise(struct hostile *h, uint8_t *payload)
{
    for (unsigned i = 0; i < MOST_PAYLOAD; i += 8) {
        uint64_t value = below(3) == 0 ? border(h) : below(2) ? any(h) : below(64) | below(64) << 32;

        memcpy(payload + i, &value, sizeof value);
    }
}

/* Bytes from there to the end of the playground. */
static uint64_t room(const struct hostile *h, uint64_t gpa)
{
    return gpa >= h->low && gpa < h->end ? h->end - gpa : 0;
}

static void write_inside(struct hostile *h, uint64_t gpa, const void *from, uint32_t size)
{
    if (room(h, gpa) != 0)
        port_write(h, gpa, from, room(h, gpa) < size ? (uint32_t)room(h, gpa) : size);
}

static void write_array(struct hostile *h, const struct row *r)
{
    h->count = some_count(h);
    h->array = some_place(h, ARRAYS, LONG_ARRAY - ARRAYS);
    if (r->elements == &invalidations && h->count > MOST_WRITTEN) {
        h->array = h->low + LONG_ARRAY + below(8) * r->elements->bytes;
        return;
    }
    for (unsigned i = 0; r->elements && r->elements != &buffer && i < MOST_WRITTEN && (i < h->count || i == 0); i++) {
        uint8_t element[32] = { 0 };

        fill(h, element, r->elements->field, sizeof r->elements->field / sizeof *r->elements->field);
        if (below(32) == 0)
            spoil(h, element, r->elements->bytes);
        write_inside(h, h->array + i * r->elements->bytes, element, r->elements->bytes);
    }
}

static void map(struct hostile *h, uint64_t iova, uint64_t length)
{
    h->area[h->areas++ % HOSTILE_RECENT] = (struct hostile_area){ iova, length };
}

/* First-stage tables ----------------------------------------------------------------------------------------- */

static uint64_t table(const struct hostile *h, unsigned level, unsigned top)
{
    return h->low + TABLES + ((LEVELS - level) * TOPS + top) * K4;
}

static void write_entry(struct hostile *h, uint64_t at, uint64_t iova, unsigned level, uint64_t value)
{
    write_inside(h, at + (iova >> (12 + 9 * (level - 1)) & 511) * 8, &value, sizeof value);
}

/* The way of an address to its page; or an entry that is anything: a loop, garbage, a table that is none, outside RAM. */
static void change_tables(struct hostile *h)
{
    uint64_t iova = hostile_iova(h), flags = below(4) ? 0x67 : any(h) & 0x80000000000008ffULL;
    unsigned top = (unsigned)below(TOPS), levels = 5 - (below(4) != 0), leaf = below(8) ? 1 : 2;

    if (below(4) == 0) {
        uint64_t value = below(3) == 0 ? any(h) : below(2) ? border(h) | flags : table(h, 1 + (unsigned)below(LEVELS), top) | flags;

        write_entry(h, table(h, 1 + (unsigned)below(LEVELS), top), iova, 1 + (unsigned)below(LEVELS), value);
        return;
    }
    map(h, iova, leaf == 1 ? K4 : M2);
    for (unsigned level = levels; level > leaf; level--) /* four levels begin with a table of level 5 as well: TABLE is their top */
        write_entry(h, level == levels ? h->low + TABLES + top * K4 : table(h, level, top), iova, level, table(h, level - 1, top) | 0x67);
    write_entry(h, table(h, leaf, top), iova, leaf, leaf == 1 ? hostile_gpa(h) | flags : (hostile_gpa(h) & ~(M2 - 1)) | flags | 0x80);
}

/* Calls ------------------------------------------------------------------------------------------------------ */

static bool is_errno(int64_t result)
{
    static const uint8_t errors[] = {
        0, NIDUS_ENOENT, NIDUS_E2BIG, NIDUS_ENOMEM, NIDUS_EFAULT, NIDUS_EBUSY, NIDUS_EEXIST, NIDUS_EINVAL, NIDUS_ENOTTY, NIDUS_ENOSPC,
        NIDUS_EOVERFLOW, NIDUS_EOPNOTSUPP, NIDUS_EADDRINUSE, NIDUS_ENODEV, NIDUS_ESPIPE, NIDUS_EPERM, NIDUS_EMSGSIZE,
    };

    for (unsigned i = 0; i < sizeof errors; i++)
        if (result == -(int64_t)errors[i])
            return true;
    return false;
}

static uint32_t some_size(struct hostile *h, const struct row *r)
{
    switch (below(64)) {
    case 0: return (uint32_t)border(h);
    case 1: return (uint32_t)below(r->size + 1u);
    case 2: return r->min;
    case 3: return r->size + 1 + (uint32_t)below(MOST_PAYLOAD - r->size);
    case 4: return 4096 + (uint32_t)below(2);
    default: return r->size;
    }
}

/*
 * A guest can end itself, sleep for ever, or let devices and nidus write to what it runs on; that would show nothing.  So it does not exit, it wakes
 * up, whatever devices do to payloads, and it names no memory below the playground.
 */
static void tame(const struct hostile *h, uint64_t number, uint8_t *payload)
{
    static const uint64_t soon = 200000;
    static const uint32_t too_small = 7;

    if (number == NIDUS_CALL_EXIT)
        memcpy(payload, &too_small, sizeof too_small);
    if (number == NIDUS_CALL_EVENT_WAIT)
        memcpy(payload + offsetof(struct nidus_event_wait, timeout_ns), &soon, sizeof soon);
    for (const struct row *r = rows; r < rows + ROWS; r++)
        for (unsigned i = 0; r->number == number && i < sizeof r->field / sizeof *r->field; i++) {
            uint64_t value;

            if (r->field[i].what != GPA && r->field[i].what != LOW && r->field[i].what != ARRAY)
                continue;
            memcpy(&value, payload + r->field[i].at, sizeof value);
            if (value < h->low && (value != 0 || r->field[i].what != ARRAY))
                value += h->low;
            memcpy(payload + r->field[i].at, &value, sizeof value);
        }
}

static void forget(struct hostile *h, uint32_t id)
{
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < h->ids[kind] && i < HOSTILE_KNOWN; i++)
            if (h->id[kind][i] == id && h->ids[kind] > 1)
                h->id[kind][i] = h->id[kind][(h->ids[kind] - 1) % HOSTILE_KNOWN];
}

/* What it has learnt: the id of what was made, and of what is gone, of which some stay known; what was mapped; a cookie. */
static void learn(struct hostile *h, const struct row *r, uint64_t gpa)
{
    uint8_t payload[MOST_PAYLOAD];
    uint32_t number;

    h->done++;
    if (room(h, gpa) < MOST_PAYLOAD)
        return;
    port_read(h, gpa, payload, sizeof payload);
    if (r->made) {
        memcpy(&number, payload + r->made_at, sizeof number);
        hostile_knows(h, (enum hostile_kind)r->made, number);
    }
    if (r->channel_at) {
        memcpy(&number, payload + r->channel_at, sizeof number);
        hostile_knows(h, CHANNEL, number);
    }
    if (r->iova_at) {
        uint64_t iova, length;

        memcpy(&iova, payload + r->iova_at, sizeof iova);
        memcpy(&length, payload + r->length_at, sizeof length);
        map(h, iova, length);
    }
    if (r->number == NIDUS_CALL_DESTROY && below(4)) {
        memcpy(&number, payload + offsetof(struct nidus_destroy, id), sizeof number);
        forget(h, number);
    }
    if (r->number == NIDUS_CALL_EVENT_READ && room(h, h->array) >= sizeof(struct nidus_hwpt_pgfault))
        port_read(h, h->array + offsetof(struct nidus_hwpt_pgfault, cookie), &h->cookie, sizeof h->cookie);
}

static uint64_t some_number(struct hostile *h)
{
    switch (below(4)) {
    case 0: return NIDUS_CALL_FAULT_READ - 1 + below(16);
    case 1: return border(h);
    default: return 0x3b70 + below(0x30);
    }
}

bool hostile_call(struct hostile *h, uint64_t *number, int64_t *result)
{
    const struct row *r = some_row(h);
    uint64_t gpa = some_place(h, PAYLOADS, ARRAYS), device;
    uint8_t payload[MOST_PAYLOAD] = { 0 };
    uint32_t size = some_size(h, r);
    bool nonsense = below(32) == 0;

    if (below(4) == 0)
        change_tables(h);
    *number = nonsense ? some_number(h) : r->number;
    write_array(h, r);
    if (nonsense || below(32) == 0)
        noise(h, payload);
    else
        fill(h, payload, r->field, sizeof r->field / sizeof *r->field);
    if (below(16) == 0)
        spoil(h, payload, r->size);
    memcpy(payload, &size, sizeof size);
    tame(h, *number, payload);
    if (*number == NIDUS_CALL_EXIT || *number == NIDUS_CALL_EVENT_WAIT)
        port_write(h, gpa = h->out_of_reach, payload, sizeof payload);
    else
        write_inside(h, gpa, payload, sizeof payload);
    device = r->device ? some_id(h, DEVICE) : below(8) ? 0 : border(h);
    h->calls++;
    *result = port_call(h, *number, gpa, device);
    if (*result == 0 && !nonsense)
        learn(h, r, gpa);
    return is_errno(*result);
}

void hostile_start(struct hostile *h, uint32_t default_ioas)
{
    memset(h->ids, 0, sizeof h->ids);
    h->cookie = h->sweep = 0;
    h->areas = 0;
    for (unsigned i = 0; i < HOSTILE_RECENT; i++)
        map(h, h->low + i * K4, K4);
    hostile_knows(h, IOAS, default_ioas);
    write_long_array(h);
}
