/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hypercall.c: nidus's own calls.
 *
 * The table says how large a payload is, what it is about and what comes back; the dispatcher checks and copies, so a
 * handler sees a complete payload in nidus's own memory.  The calls with Linux's numbers are iommu/'s.
 */
#include <stddef.h>

#include "iommu/envelope.h"
#include "iommu/iommu.h"
#include "iommu/platform.h"
#include "kernel/events.h"
#include "kernel/guest.h"
#include "kernel/log.h"
#include "kernel/pci_assign.h"

union payload {
    uint32_t size;
    struct nidus_console_write console_write;
    struct nidus_exit exit;
    struct nidus_pci_config pci_config;
    struct nidus_event_wait event_wait;
};

static int64_t console_write(struct guest *g, union payload *p, struct nidus_guest_device *device)
{
    static char text[4096];     /* whole, before a byte of it is printed: the payload may end outside RAM */
    (void)device;
    const struct nidus_console_write *w = &p->console_write;
    if (w->length > sizeof(text))
        return -NIDUS_EINVAL;
    int error = w->length != 0 ? platform_guest_read(g, w->data_uptr, text, w->length) : 0;
    if (error != 0)
        return error;
    uint32_t done = g->console_done < w->length ? g->console_done : w->length;
    done += guest_print(g, text + done, w->length - done);
    g->console_done = done < w->length ? done : 0;
    return done < w->length ? CALL_AGAIN : 0;
}

static int64_t exit_guest(struct guest *g, union payload *p, struct nidus_guest_device *device)
{
    (void)device;
    g->exit_code = p->exit.code;
    char why[48];
    format_text(why, sizeof(why), "exited with code %d", g->exit_code);
    guest_end(g, why);
    return CALL_AGAIN;          /* it has no CPU to go on with */
}

static int64_t pci_config_read(struct guest *g, union payload *p, struct nidus_guest_device *device)
{
    (void)g;
    struct nidus_pci_config *c = &p->pci_config;
    return c->reserved != 0 ? -NIDUS_EINVAL : pci_guest_read(device, c->offset, c->width, &c->value);
}

static int64_t pci_config_write(struct guest *g, union payload *p, struct nidus_guest_device *device)
{
    const struct nidus_pci_config *c = &p->pci_config;
    bool fenced = iommu_fenced(g->iommu, device->id);
    return c->reserved != 0 ? -NIDUS_EINVAL : pci_guest_write(device, c->offset, c->width, c->value, fenced);
}

static int64_t event_wait(struct guest *g, union payload *p, struct nidus_guest_device *device)
{
    (void)device;
    return events_wait(g, &p->event_wait);
}

/* By number, from FIRST_CALL; one that is not there has no run. */
#define FIRST_CALL NIDUS_CALL_FAULT_READ
static const struct call {
    uint16_t min_size, size;
    bool on_device;             /* RSI is a device id */
    bool out;                   /* the payload is copied back */
    int64_t (*run)(struct guest *g, union payload *p, struct nidus_guest_device *device);
} calls[] = {
    [NIDUS_CALL_CONSOLE_WRITE - FIRST_CALL] = { 16, sizeof(struct nidus_console_write), false, false, console_write },
    [NIDUS_CALL_EXIT - FIRST_CALL] = { 8, sizeof(struct nidus_exit), false, false, exit_guest },
    [NIDUS_CALL_PCI_CONFIG_READ - FIRST_CALL] = { 16, sizeof(struct nidus_pci_config), true, true, pci_config_read },
    [NIDUS_CALL_PCI_CONFIG_WRITE - FIRST_CALL] = { 16, sizeof(struct nidus_pci_config), true, false, pci_config_write },
    [NIDUS_CALL_EVENT_WAIT - FIRST_CALL] = { 24, sizeof(struct nidus_event_wait), false, true, event_wait },
};

static struct nidus_guest_device *find_device(struct guest *g, uint64_t id)
{
    for (unsigned i = 0; i < g->device_count; i++)
        if (g->device[i].id == id)
            return &g->device[i];
    return NULL;
}

__attribute__((noinline))
static int64_t perform(struct guest *g, const struct call *call, uint64_t gpa, uint64_t device_id)
{
    union payload payload;
    uint32_t size;
    int error = envelope_read(g, gpa, &payload, call->min_size, call->size, &size);
    if (error != 0)
        return error;
    struct nidus_guest_device *device = call->on_device ? find_device(g, device_id) : NULL;
    if (call->on_device && device == NULL)
        return -NIDUS_ENOENT;
    int64_t result = call->run(g, &payload, device);
    if (result != 0 || !call->out)
        return result;
    return envelope_write(g, gpa, &payload, call->size, size);
}

__attribute__((noinline))
static int64_t without_iommu(struct guest *g, uint64_t number)
{
    if (!iommu_handles(number))
        return -NIDUS_ENOTTY;
    guest_log(g, iommu_unavailable() != NULL ? iommu_unavailable() : "there was no memory for its IOMMU tables");
    return -NIDUS_ENODEV;
}

int64_t hypercall(struct guest *g, uint64_t number, uint64_t gpa, uint64_t device_id)
{
    uint64_t index = number - FIRST_CALL;
    if (index < sizeof(calls) / sizeof(calls[0]) && calls[index].run != NULL)
        return perform(g, &calls[index], gpa, device_id);
    if (g->iommu == NULL)
        return without_iommu(g, number);
    return iommu_call(g->iommu, number, gpa, device_id);
}
