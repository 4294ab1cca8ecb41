/* SPDX-License-Identifier: BSD-2-Clause */
/* device.c: a guest's devices: what their unit can do, and which HWPT they use. */
#include "iommu/iommu.h"
#include "iommu/objects.h"

/* A larger buffer would have nidus zero memory for the guest. */
#define HW_INFO_MAX 4096u

/* Assignment ----------------------------------------------------------------------------------------- */

bool iommu_assign(struct iommu_context *context, uint16_t segment, uint16_t bdf, const struct iommu_device_policy *policy, uint32_t *id,
                  char reason[160])
{
    struct assigned *a = object_create(context, sizeof(*a), OBJECT_DEVICE);

    if (a == NULL) {
        platform_format(reason, 160, "no memory, or too many objects");
        return false;
    }
    a->object.users = 1;
    a->leaving = NOT_LEAVING;
    a->device = (struct device){
        .segment = segment, .source_id = bdf, .owner = context->guest, .context = context, .id = a->object.id,
        .policy = *policy,
    };
    if (!engine_device_init(&a->device, reason)) {
        object_destroy(context, &a->object);
        return false;
    }
    *id = a->object.id;
    return true;
}

bool iommu_device(const struct iommu_context *context, uint32_t id, uint16_t *segment, uint16_t *bdf)
{
    const struct assigned *a = (const struct assigned *)object_get(context, id, OBJECT_DEVICE);

    if (a == NULL)
        return false;
    *segment = a->device.segment;
    *bdf = a->device.source_id;
    return true;
}

bool iommu_fenced(struct iommu_context *context, uint32_t id)
{
    struct assigned *a = (struct assigned *)object_get(context, id, OBJECT_DEVICE);

    return a != NULL && engine_device_fenced(&a->device);
}

/* GET_HW_INFO ---------------------------------------------------------------------------------------- */

/* As much as the buffer holds, and zeros behind it. */
static int write_hw_info(struct guest *guest, const struct nidus_hw_info_vtd *vtd, uint64_t gpa, uint32_t length)
{
    static const uint8_t zeros[64];
    uint32_t done = length < sizeof(*vtd) ? length : sizeof(*vtd);
    int error;

    if (length == 0)
        return 0;
    if (gpa == 0 || !is_guest_memory(guest, gpa, length, PLATFORM_OWN))
        return -NIDUS_EFAULT;
    error = platform_guest_write(guest, gpa, vtd, done);
    while (error == 0 && done < length) {
        uint32_t part = length - done < sizeof(zeros) ? length - done : sizeof(zeros);

        error = platform_guest_write(guest, gpa + done, zeros, part);
        done += part;
    }
    return error;
}

int call_hw_info(struct call *call)
{
    struct nidus_hw_info *info = &call->hw_info;
    struct nidus_hw_info_vtd vtd = { 0 };
    struct unit_info unit;
    struct assigned *a;
    int error;

    if ((info->flags & ~NIDUS_HW_INFO_FLAG_INPUT_TYPE) != 0 || (info->reserved[0] | info->reserved[1] | info->reserved[2]) != 0)
        return -NIDUS_EOPNOTSUPP;
    a = (struct assigned *)object_get(call->context, info->dev_id, OBJECT_DEVICE);
    if (a == NULL)
        return -NIDUS_ENOENT;
    if ((info->flags & NIDUS_HW_INFO_FLAG_INPUT_TYPE) != 0 && info->data_type != NIDUS_HW_INFO_TYPE_DEFAULT &&
        info->data_type != NIDUS_HW_INFO_TYPE_INTEL_VTD)
        return -NIDUS_EOPNOTSUPP;
    if (info->data_len > HW_INFO_MAX)
        return -NIDUS_EINVAL;
    engine_unit_info(&a->device, &unit);
    vtd.flags = unit.errata_772415 ? NIDUS_HW_INFO_VTD_ERRATA_772415_SPR17 : 0;
    vtd.cap_reg = unit.cap;
    vtd.ecap_reg = unit.ecap;
    error = write_hw_info(call->context->guest, &vtd, info->data_uptr, info->data_len);
    if (error != 0)
        return error;
    info->data_len = sizeof(vtd);
    info->data_type = NIDUS_HW_INFO_TYPE_INTEL_VTD;
    info->out_max_pasid_log2 = unit.pasid_bits;
    info->out_capabilities = (unit.dirty ? NIDUS_HW_CAP_DIRTY_TRACKING : 0) | (unit.ats ? 0 : NIDUS_HW_CAP_PCI_ATS_NOT_SUPPORTED) |
                             (unit.execute ? NIDUS_HW_CAP_PCI_PASID_EXEC : 0) | (unit.privileged ? NIDUS_HW_CAP_PCI_PASID_PRIV : 0);
    call->answer = true;
    return 0;
}

/* Attach and detach ---------------------------------------------------------------------------------- */

struct object *device_hwpt(const struct device *device, uint32_t pasid)
{
    struct domain *d;
    struct first_stage *f;

    engine_attached(device, pasid, &d, &f);
    if (f != NULL)
        return &CONTAINER(f, struct nested, first)->object;
    return d != NULL ? &CONTAINER(d, struct paging, domain)->object : NULL;
}

/* An automatic HWPT goes with its last user. */
static void put_hwpt(struct iommu_context *c, struct object *hwpt)
{
    hwpt->users--;
    if (hwpt->users == 0 && hwpt->type == OBJECT_PAGING && ((struct paging *)hwpt)->automatic)
        object_destroy(c, hwpt);
}

/* What the engine counts of uses of it, some of which it may keep although it was told to end them. */
static unsigned engine_users(const struct object *hwpt)
{
    if (hwpt == NULL)
        return 0;
    return hwpt->type == OBJECT_NESTED ? ((const struct nested *)hwpt)->first.users : ((const struct paging *)hwpt)->domain.users;
}

/* Counts what the engine has done, which with a unit that stopped answering need not be what it was told: the unit may have what it was to
 * leave in its caches, and that stays in use for ever.  to: what it has now; users: of from, before. */
static void follow_engine(struct iommu_context *c, struct assigned *a, uint32_t pasid, struct object *from, unsigned users, struct object *to)
{
    if (to == from)
        return;
    if (pasid != ENGINE_NO_PASID) {
        unsigned more = (unsigned)(to != NULL) - (unsigned)(from != NULL);

        c->pasids += more;
        a->pasids += more;
    }
    if (to != NULL) {
        to->users++;
        a->queued += to->faults != NULL;
    }
    if (from != NULL) {
        if (from->faults != NULL)
            fault_queue_leave(c, a, pasid, from);
        a->queued -= from->faults != NULL;
        if (engine_users(from) < users)
            put_hwpt(c, from);
    }
}

static int attach_hwpt(struct iommu_context *c, struct assigned *a, uint32_t pasid, struct object *hwpt)
{
    struct object *from = device_hwpt(&a->device, pasid);
    unsigned users = engine_users(from);
    bool requests = a->queued != 0;
    int error = hwpt->faults != NULL ? engine_page_requests_check(&a->device) : 0;

    if (error != 0)
        return error;
    if (hwpt->type == OBJECT_NESTED)
        error = engine_attach(&a->device, pasid, NULL, &((struct nested *)hwpt)->first);
    else
        error = engine_attach(&a->device, pasid, &((struct paging *)hwpt)->domain, NULL);
    follow_engine(c, a, pasid, from, users, error != 0 ? device_hwpt(&a->device, pasid) : hwpt);
    return error != 0 || requests == (a->queued != 0) ? error : engine_page_requests(&a->device, !requests);
}

/* An automatic HWPT was made for the device. */
static int attach_made(struct call *call, struct paging *p)
{
    struct iommu_context *c = call->context;
    int error;

    p->automatic = true;
    error = attach_hwpt(c, (struct assigned *)object_get(c, call->device_id, OBJECT_DEVICE), ENGINE_NO_PASID, &p->object);
    call->attach.pt_id = p->object.id;
    call->answer = error == 0;
    if (error != 0 && p->object.users == 0)
        object_destroy(c, &p->object);
    return error;
}

/* An automatic HWPT of the IOAS that the device's unit can walk, else a new one. */
static int attach_ioas(struct call *call, struct assigned *a, struct ioas *ioas)
{
    for (struct paging *p = ioas->hwpts; p != NULL; p = p->next) {
        uint32_t id = p->object.id;
        int error = p->automatic ? attach_hwpt(call->context, a, ENGINE_NO_PASID, &p->object) : -NIDUS_EINVAL;

        if (error == -NIDUS_EINVAL)
            continue;
        call->attach.pt_id = id;
        call->answer = error == 0;
        return error;
    }
    return paging_create(call, ioas, &a->device, 0, attach_made);
}

/* VFIO reads what the flag adds when it has seen the flag. */
static int read_pasid(struct call *call, uint32_t flags, uint32_t at, uint32_t *pasid)
{
    *pasid = ENGINE_NO_PASID;
    if (flags == 0)
        return 0;
    if (call->attach.argsz < at + sizeof(*pasid))
        return -NIDUS_EINVAL;
    if (platform_guest_read(call->context->guest, call->gpa + at, pasid, sizeof(*pasid)) != 0)
        return -NIDUS_EFAULT;
    return *pasid == ENGINE_NO_PASID ? -NIDUS_EINVAL : 0;
}

/* Linux's rule: where PASIDs are attached, all of the device's HWPTs were made for that (NIDUS_HWPT_ALLOC_PASID). */
static bool pasid_rule(const struct assigned *a, uint32_t pasid, const struct object *hwpt)
{
    const struct object *plain;

    if (pasid == ENGINE_NO_PASID)
        return hwpt->pasid || a->pasids == 0;
    plain = device_hwpt(&a->device, ENGINE_NO_PASID);
    return hwpt->pasid && (plain == NULL || plain->pasid);
}

int call_attach(struct call *call)
{
    struct assigned *a = (struct assigned *)object_get(call->context, call->device_id, OBJECT_DEVICE);
    struct nidus_vfio_attach *attach = &call->attach;
    struct object *pt;
    uint32_t pasid;
    int error;

    if ((attach->flags & ~NIDUS_VFIO_ATTACH_PASID) != 0)
        return -NIDUS_EINVAL;
    error = read_pasid(call, attach->flags, offsetof(struct nidus_vfio_attach, pasid), &pasid);
    if (error != 0)
        return error;
    pt = object_find(call->context, attach->pt_id);
    if (pt == NULL)
        return -NIDUS_ENOENT;
    if ((pt->type != OBJECT_IOAS && pt->type != OBJECT_PAGING && pt->type != OBJECT_NESTED) ||
        !pasid_rule(a, pasid, pt)) /* an IOAS's HWPT is not made for PASIDs */
        return -NIDUS_EINVAL;
    if (pt->type == OBJECT_IOAS)
        return attach_ioas(call, a, (struct ioas *)pt);
    if (pasid != ENGINE_NO_PASID && device_hwpt(&a->device, pasid) == NULL && call->context->pasids == MAX_PASIDS)
        return -NIDUS_ENOMEM;
    error = attach_hwpt(call->context, a, pasid, pt);
    call->answer = error == 0;
    return error;
}

/* Page requests of this PASID end while the device can still be answered; with the last HWPT that has a fault queue, all of them. */
static void end_page_requests(struct iommu_context *c, struct assigned *a, uint32_t pasid, const struct object *from)
{
    a->leaving = pasid; /* before those are looked for that came until now */
    fault_queue_leave(c, a, pasid, from);
    if (a->queued == 1)
        engine_page_requests(&a->device, false); /* a unit that does not answer says so again */
}

static int device_detach(struct iommu_context *c, struct assigned *a, uint32_t pasid)
{
    struct object *from = device_hwpt(&a->device, pasid);
    unsigned users = engine_users(from);
    int error;

    if (from != NULL && from->faults != NULL)
        end_page_requests(c, a, pasid, from);
    error = engine_detach(&a->device, pasid);
    follow_engine(c, a, pasid, from, users, error != 0 ? device_hwpt(&a->device, pasid) : NULL);
    a->leaving = NOT_LEAVING;
    return error;
}

int device_block(struct iommu_context *c, struct assigned *a)
{
    int error = 0;

    engine_stop(&a->device);
    for (uint32_t pasid = 0; error == 0 && engine_next_attached(&a->device, &pasid); )
        error = device_detach(c, a, pasid);
    return error;
}

int call_detach(struct call *call)
{
    struct assigned *a = (struct assigned *)object_get(call->context, call->device_id, OBJECT_DEVICE);
    uint32_t pasid;
    int error;

    if ((call->detach.flags & ~NIDUS_VFIO_DETACH_PASID) != 0)
        return -NIDUS_EINVAL;
    error = read_pasid(call, call->detach.flags, offsetof(struct nidus_vfio_detach, pasid), &pasid);
    return error != 0 ? error : device_detach(call->context, a, pasid);
}
