/* SPDX-License-Identifier: BSD-2-Clause */
/* devices.c: `device =` of nidus.conf as exact PCI functions. */
#include <string.h>

#include "boot/efi.h"
#include <efipciio.h>

#define MAX_FUNCTIONS 1024u
#define LISTED        8u        /* addresses in one message */

enum { PCI_CLASS_BRIDGE = 6 };

struct function {               /* one PCI function of the machine */
    uint16_t segment, bdf;
    uint16_t vendor, device;
    uint8_t class_code;
    uint8_t header;             /* type, without the multi-function bit */
    unsigned owner_line;        /* of nidus.conf; 0: nobody's */
};

static struct function *functions;
static unsigned function_count;

static void append_address(char *text, const struct function *f)
{
    text_append(text, TEXT_MAX, "%04x:%02x:%02x.%x", f->segment, (f->bdf >> 8) & 255u, (f->bdf >> 3) & 31u, f->bdf & 7u);
}

static bool read_function(EFI_HANDLE handle, struct function *f)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_PCI_IO_PROTOCOL *pci;
    UINTN segment, bus, device, function;
    uint32_t config[4];

    if (efi->BootServices->HandleProtocol(handle, &guid, (void **)&pci) != EFI_SUCCESS ||
        pci->GetLocation(pci, &segment, &bus, &device, &function) != EFI_SUCCESS ||
        pci->Pci.Read(pci, EfiPciIoWidthUint32, 0, 4, config) != EFI_SUCCESS)
        return false;
    *f = (struct function){
        .segment = (uint16_t)segment,
        .bdf = (uint16_t)(bus << 8 | device << 3 | function),
        .vendor = (uint16_t)config[0],
        .device = (uint16_t)(config[0] >> 16),
        .class_code = (uint8_t)(config[2] >> 24),
        .header = (config[3] >> 16) & 0x7f,
    };
    return true;
}

/* Sorted by address, so that lists in messages are. */
static void add_function(const struct function *f)
{
    unsigned i = function_count++;

    while (i > 0 && (functions[i - 1].segment > f->segment ||
                     (functions[i - 1].segment == f->segment && functions[i - 1].bdf > f->bdf))) {
        functions[i] = functions[i - 1];
        i--;
    }
    functions[i] = *f;
}

static bool find_functions(void)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_HANDLE *handles;
    UINTN count;
    EFI_STATUS status;

    status = efi->BootServices->AllocatePool(EfiLoaderData, MAX_FUNCTIONS * sizeof(*functions), (void **)&functions);
    if (status != EFI_SUCCESS) {
        say("nidus: no memory for the list of PCI devices");
        return false;
    }
    if (efi->BootServices->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles) != EFI_SUCCESS)
        return true;            /* a machine without PCI devices */
    for (UINTN i = 0; i < count && function_count < MAX_FUNCTIONS; i++) {
        struct function f;

        if (read_function(handles[i], &f))
            add_function(&f);
    }
    efi->BootServices->FreePool(handles);
    return true;
}

static bool matches(const struct config_device *d, const struct function *f)
{
    return d->by_address ? d->segment == f->segment && d->bdf == f->bdf
                         : d->vendor == f->vendor && d->device == f->device;
}

static bool refuse_ambiguous(const struct config_device *d)
{
    char list[TEXT_MAX] = "";
    unsigned listed = 0;

    for (unsigned i = 0; i < function_count; i++) {
        if (!matches(d, &functions[i]))
            continue;
        if (listed++ == LISTED) {
            text_append(list, sizeof(list), " ...");
            break;
        }
        text_append(list, sizeof(list), " ");
        append_address(list, &functions[i]);
    }
    return refuse(d->line, "several devices are %04x:%04x; give the address of one:%s", d->vendor, d->device, list);
}

/* The function that d means; NULL: said why there is none. */
static struct function *find_one(const struct config_device *d)
{
    struct function *found = NULL;

    for (unsigned i = 0; i < function_count; i++) {
        if (!matches(d, &functions[i]))
            continue;
        if (found != NULL) {
            refuse_ambiguous(d);
            return NULL;
        }
        found = &functions[i];
    }
    if (found != NULL)
        return found;
    if (d->by_address)
        refuse(d->line, "there is no device at %04x:%02x:%02x.%x", d->segment,
               (d->bdf >> 8) & 255u, (d->bdf >> 3) & 31u, d->bdf & 7u);
    else
        refuse(d->line, "there is no device %04x:%04x", d->vendor, d->device);
    return NULL;
}

static bool resolve(const struct config_device *d, struct boot_device *out)
{
    struct function *f = find_one(d);
    char address[TEXT_MAX] = "";

    if (f == NULL)
        return false;
    append_address(address, f);
    if (f->header != 0 || f->class_code == PCI_CLASS_BRIDGE)
        return refuse(d->line, "%s (%04x:%04x) is a bridge and cannot be given to a guest", address, f->vendor, f->device);
    if (f->owner_line != 0)
        return refuse(d->line, "%s (%04x:%04x) was given away before, in line %u",
                      address, f->vendor, f->device, f->owner_line);
    f->owner_line = d->line;
    *out = (struct boot_device){ .segment = f->segment, .bdf = f->bdf, .map_rmrr = d->map_rmrr, .ats = (uint8_t)d->ats };
    return true;
}

bool devices_resolve(const struct config *config, struct boot_info *boot)
{
    bool ok = find_functions();

    for (unsigned g = 0; ok && g < config->guest_count; g++) {
        const struct config_guest *from = &config->guest[g];
        struct boot_guest *to = &boot->guest[g];

        for (unsigned i = 0; ok && i < from->device_count; i++)
            ok = resolve(&from->device[i], &to->device[i]);
        to->device_count = from->device_count;
    }
    if (functions != NULL)
        efi->BootServices->FreePool(functions);
    functions = NULL;
    function_count = 0;
    return ok;
}
