/* SPDX-License-Identifier: BSD-2-Clause */
/* iommufd.c: a guest's context: its objects and ids, and the table of its calls. */
#include "iommu/envelope.h"
#include "iommu/iommu.h"
#include "iommu/objects.h"

/* Order of pages for what is larger than platform_alloc gives. */
#define STEP_ORDER 3
_Static_assert(sizeof(struct invalidate_step) <= PAGE_SIZE << STEP_ORDER, "entries of one step");

/* Objects -------------------------------------------------------------------------------------------- */

struct object *object_find(const struct iommu_context *c, uint64_t id)
{
    return id < OBJECT_SLOTS ? c->objects[id] : NULL;
}

struct object *object_get(const struct iommu_context *c, uint64_t id, enum object_type type)
{
    struct object *object = object_find(c, id);

    return object != NULL && object->type == type ? object : NULL;
}

int object_add(struct iommu_context *c, struct object *object, enum object_type type)
{
    uint32_t id = c->next_id;

    while (id < OBJECT_SLOTS && c->objects[id] != NULL)
        id++;
    c->next_id = id;
    if (id == OBJECT_SLOTS)
        return -NIDUS_ENOMEM;
    object->type = type;
    object->id = id;
    c->objects[id] = object;
    return 0;
}

void object_remove(struct iommu_context *c, const struct object *object)
{
    c->objects[object->id] = NULL;
    if (object->id < c->next_id)
        c->next_id = object->id;
}

void *object_create(struct iommu_context *c, size_t size, enum object_type type)
{
    struct object *object = platform_alloc(c->guest, size);

    if (object != NULL && object_add(c, object, type) != 0) {
        platform_free(c->guest, object, size);
        return NULL;
    }
    return object;
}

void object_destroy(struct iommu_context *c, struct object *object)
{
    object_remove(c, object);
    switch (object->type) {
    case OBJECT_DEVICE: platform_free(c->guest, object, sizeof(struct assigned)); break;
    case OBJECT_IOAS:   ioas_free(c, (struct ioas *)object); break;
    case OBJECT_PAGING: paging_free(c, (struct paging *)object); break;
    case OBJECT_NESTED: nested_free(c, (struct nested *)object); break;
    case OBJECT_FAULT_QUEUE: channel_destroy(c, (struct channel *)object, sizeof(struct fault_queue)); break;
    case OBJECT_VIOMMU:  viommu_free(c, (struct viommu *)object); break;
    case OBJECT_VDEVICE: vdevice_free(c, (struct vdevice *)object); break;
    case OBJECT_VEVENTQ: veventq_free(c, (struct veventq *)object); break;
    }
}

bool is_guest_memory(struct guest *guest, uint64_t gpa, uint64_t size, int rights)
{
    uint64_t end = gpa + size, hpa, run;

    if (end < gpa)
        return false;
    for (gpa -= gpa % PAGE_SIZE; gpa < end; gpa += run) {
        int has = platform_guest_memory(guest, gpa, &hpa, &run);

        if (has < 0 || (has & rights) != rights)
            return false;
    }
    return true;
}

int call_destroy(struct call *call)
{
    struct object *object = object_find(call->context, call->destroy.id);

    if (object == NULL)
        return -NIDUS_ENOENT;
    if (object->users != 0)
        return -NIDUS_EBUSY;
    object_destroy(call->context, object);
    return 0;
}

/* Calls ---------------------------------------------------------------------------------------------- */

/* Of files, processes, VFIO containers and queues in hardware, which are not here. */
static int call_unsupported(struct call *call)
{
    (void)call;
    return -NIDUS_EOPNOTSUPP;
}

struct call_row {
    uint16_t min_size, known_size;
    int (*handler)(struct call *call);
    bool vfio;                  /* an ioctl on a device: RSI, and VFIO's envelope */
};

/* By number, each table from its first on. */
#define LINUX(name) [NIDUS_CALL_##name - NIDUS_CALL_ATTACH]
#define OWN(name)   [NIDUS_CALL_##name - NIDUS_CALL_FAULT_READ]

/* Linux takes HWPT_ALLOC, GET_HW_INFO and VIOMMU_ALLOC from callers that know less of them. */
static const struct call_row linux_calls[] = {
    LINUX(ATTACH)                  = { 12, 12,                                           call_attach, true },
    LINUX(DETACH)                  = {  8, 8,                                            call_detach, true },
    LINUX(DESTROY)                 = {  8, sizeof(struct nidus_destroy),                 call_destroy, false },
    LINUX(IOAS_ALLOC)              = { 12, sizeof(struct nidus_ioas_alloc),              call_ioas_alloc, false },
    LINUX(IOAS_ALLOW_IOVAS)        = { 24, sizeof(struct nidus_ioas_allow_iovas),        call_ioas_allow_iovas, false },
    LINUX(IOAS_COPY)               = { 40, sizeof(struct nidus_ioas_copy),               call_ioas_copy, false },
    LINUX(IOAS_IOVA_RANGES)        = { 32, sizeof(struct nidus_ioas_iova_ranges),        call_ioas_iova_ranges, false },
    LINUX(IOAS_MAP)                = { 40, sizeof(struct nidus_ioas_map),                call_ioas_map, false },
    LINUX(IOAS_UNMAP)              = { 24, sizeof(struct nidus_ioas_unmap),              call_ioas_unmap, false },
    LINUX(OPTION)                  = { 24, sizeof(struct nidus_option),                  call_option, false },
    LINUX(VFIO_IOAS)               = { 12, 12,                                           call_unsupported, false },
    LINUX(HWPT_ALLOC)              = { 24, sizeof(struct nidus_hwpt_alloc),              call_hwpt_alloc, false },
    LINUX(GET_HW_INFO)             = { 32, sizeof(struct nidus_hw_info),                 call_hw_info, false },
    LINUX(HWPT_SET_DIRTY_TRACKING) = { 16, sizeof(struct nidus_hwpt_set_dirty_tracking), call_set_dirty_tracking, false },
    LINUX(HWPT_GET_DIRTY_BITMAP)   = { 48, sizeof(struct nidus_hwpt_get_dirty_bitmap),   call_get_dirty_bitmap, false },
    LINUX(HWPT_INVALIDATE)         = { 32, sizeof(struct nidus_hwpt_invalidate),         call_hwpt_invalidate, false },
    LINUX(FAULT_QUEUE_ALLOC)       = { 16, sizeof(struct nidus_fault_alloc),             call_fault_queue_alloc, false },
    LINUX(VIOMMU_ALLOC)            = { 24, sizeof(struct nidus_viommu_alloc),            call_viommu_alloc, false },
    LINUX(VDEVICE_ALLOC)           = { 24, sizeof(struct nidus_vdevice_alloc),           call_vdevice_alloc, false },
    LINUX(VEVENTQ_ALLOC)           = { 32, sizeof(struct nidus_veventq_alloc),           call_veventq_alloc, false },
    LINUX(IOAS_MAP_FILE)           = { 40, 40,                                           call_unsupported, false },
    LINUX(IOAS_CHANGE_PROCESS)     = {  8, 8,                                            call_unsupported, false },
    LINUX(HW_QUEUE_ALLOC)          = { 40, 40,                                           call_unsupported, false },
};

static const struct call_row own_calls[] = {
    OWN(FAULT_READ) = { 32, sizeof(struct nidus_fault_read), call_fault_read, false },
    OWN(EVENT_READ) = { 24, sizeof(struct nidus_event_io), call_event_read, false },
    OWN(EVENT_WRITE) = { 24, sizeof(struct nidus_event_io), call_event_write, false },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* NULL: there is no such call. */
static const struct call_row *find_row(uint64_t nr)
{
    uint64_t linux_nr = nr - NIDUS_CALL_ATTACH, own_nr = nr - NIDUS_CALL_FAULT_READ;
    const struct call_row *row = linux_nr < COUNT(linux_calls) ? &linux_calls[linux_nr] : own_nr < COUNT(own_calls) ? &own_calls[own_nr] : NULL;

    return row != NULL && row->handler != NULL ? row : NULL;
}

/* VFIO reads the part that it knows and ignores what follows, whatever argsz says. */
static int vfio_envelope_read(struct call *call)
{
    call->size = call->known;
    if (call->gpa == 0 || platform_guest_read(call->context->guest, call->gpa, &call->attach, call->known) != 0)
        return -NIDUS_EFAULT;
    return call->attach.argsz < call->known ? -NIDUS_EINVAL : 0;
}

/* With any payload. */
__attribute__((noinline))
static int begin_any(struct call *call, const struct call_row *row)
{
    int error;

    call->piece = NULL;
    error = row->vfio ? vfio_envelope_read(call)
                      : envelope_read(call->context->guest, call->gpa, &call->attach, row->min_size, row->known_size, &call->size);
    return error == 0 ? row->handler(call) : error;
}

/* Most payloads are in one piece and as large as nidus knows them: then that is all that the envelopes ask for. */
static inline int begin(struct call *call, uint64_t nr, uint64_t gpa, uint64_t device_id)
{
    const struct call_row *row = find_row(nr);

    call->answer = false;
    if (row == NULL)
        return -NIDUS_ENOTTY;
    /* Where Linux would not even have a file descriptor. */
    if (row->vfio && object_get(call->context, device_id, OBJECT_DEVICE) == NULL)
        return -NIDUS_ENOENT;
    call->gpa = gpa;
    call->device_id = device_id;
    call->known = row->known_size;
    call->piece = platform_guest_piece(call->context->guest, gpa, row->known_size);
    if (call->piece == NULL)
        return begin_any(call, row);
    platform_copy(&call->attach, call->piece, row->known_size);
    return call->attach.argsz == row->known_size ? row->handler(call) : begin_any(call, row);
}

__attribute__((noinline))
static int answer_any(struct call *call, int error)
{
    int answered = envelope_write(call->context->guest, call->gpa, &call->attach, call->known, call->size);

    return answered != 0 ? answered : error;
}

static inline int finish(struct call *call, int error)
{
    call->resume = NULL;
    if (!call->answer)
        return error;
    if (call->piece == NULL)
        return answer_any(call, error);
    platform_copy(call->piece, &call->attach, call->known);
    return error;
}

/* The call is done, and goes on until the HWPTs that it ended are freed. */
static int bury(struct call *call)
{
    return paging_bury(call->context) ? call->result : CALL_MORE;
}

__attribute__((noinline))
static int begin_to_bury(struct call *call, int result)
{
    call->result = result;
    call->resume = bury;
    return bury(call);
}

int64_t iommu_call(struct iommu_context *context, uint64_t nr, uint64_t gpa, uint64_t device_id)
{
    struct call *call = &context->call;
    int error;

    platform_lock(&context->lock);
    error = call->resume == NULL ? begin(call, nr, gpa, device_id) : call->resume(call);
    if (error != CALL_MORE && context->dying != NULL)
        error = begin_to_bury(call, error);
    if (error != CALL_MORE)
        error = finish(call, error);
    platform_unlock(&call->context->lock);
    return error == CALL_MORE ? IOMMU_AGAIN : error;
}

/* Contexts ------------------------------------------------------------------------------------------- */

static void free_context(struct iommu_context *c)
{
    if (c->objects != NULL)
        platform_free(c->guest, c->objects, OBJECT_SLOTS * sizeof(*c->objects));
    if (c->faults != NULL)
        fault_ring_free(c, c->faults);
    if (c->step != NULL)
        platform_pages_free(c->guest, c->step, STEP_ORDER);
    platform_free(c->guest, c, sizeof(*c));
}

struct iommu_context *iommu_context_create(struct guest *guest, bool nested)
{
    struct iommu_context *c = platform_alloc(guest, sizeof(*c));
    struct ioas *ioas;

    if (c == NULL)
        return NULL;
    *c = (struct iommu_context){
        .lock.rank = LOCK_CONTEXT, .event_lock.rank = LOCK_EVENTS, .guest = guest, .nested = nested, .due = UINT64_MAX,
    };
    c->call.context = c;
    c->next_id = 1;
    c->objects = platform_alloc(guest, OBJECT_SLOTS * sizeof(*c->objects));
    c->faults = fault_ring_create(c, FAULT_RECORDS);
    c->step = platform_pages_alloc(guest, STEP_ORDER);
    ioas = c->objects != NULL && c->faults != NULL && c->step != NULL ? ioas_create(c) : NULL;
    if (ioas != NULL && ioas_map_ram(c, ioas) != 0) {
        object_destroy(c, &ioas->object);
        ioas = NULL;
    }
    if (ioas == NULL) {
        free_context(c);
        return NULL;
    }
    c->default_ioas = ioas->object.id;
    return c;
}

uint32_t iommu_default_ioas(const struct iommu_context *context)
{
    return context->default_ioas;
}

bool iommu_context_block(struct iommu_context *context)
{
    bool blocked = true;

    platform_lock(&context->lock);
    for (uint32_t id = 1; id < OBJECT_SLOTS; id++) {
        struct object *device = object_get(context, id, OBJECT_DEVICE);

        if (device != NULL && device_block(context, (struct assigned *)device) != 0)
            blocked = false;
    }
    platform_unlock(&context->lock);
    return blocked;
}

/* What a unit that does not answer may still use has users, and stays. */
static bool destroy_all(struct iommu_context *c, enum object_type type)
{
    bool all = true;

    for (uint32_t id = 1; id < OBJECT_SLOTS; id++) {
        struct object *object = object_get(c, id, type);

        if (object != NULL && object->users == 0)
            object_destroy(c, object);
        else if (object != NULL)
            all = false;
    }
    return all;
}

static void release_devices(struct iommu_context *c)
{
    for (uint32_t id = 1; id < OBJECT_SLOTS; id++) {
        struct assigned *device = (struct assigned *)object_get(c, id, OBJECT_DEVICE);

        if (device == NULL)
            continue;
        engine_orphan(&device->device);
        if (device_block(c, device) == 0 && engine_device_fini(&device->device) == 0)
            device->object.users = 0;
    }
}

/* All but the HWPTs' tables. */
static void release(struct iommu_context *context)
{
    /* What refers to something goes before it. */
    static const enum object_type order[] = {
        OBJECT_VDEVICE, OBJECT_DEVICE, OBJECT_NESTED, OBJECT_VEVENTQ, OBJECT_VIOMMU, OBJECT_PAGING, OBJECT_IOAS, OBJECT_FAULT_QUEUE,
    };
    bool all = true;

    context->released = true;
    context->due = UINT64_MAX;
    areas_free(context, &context->call.work.held); /* of a call that was not finished */
    release_devices(context);
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        all &= destroy_all(context, order[i]);
    if (!all)
        platform_log("guest %s: tables that a unit may still use are never given back", platform_guest_name(context->guest));
}

bool iommu_context_destroy(struct iommu_context *context)
{
    if (!context->released)
        release(context);
    if (!paging_bury(context))
        return false;
    free_context(context);
    return true;
}
