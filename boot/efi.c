/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi.h"

#include <stdarg.h>
#include <string.h>

#include "boot/memory_map.h"

enum { EFI_PAGE = 4096, MAX_KEPT = 2 * BOOT_MAX_GUESTS + 8 };

EFI_SYSTEM_TABLE *efi;

static struct kept {
    uint64_t base, pages;
} kept[MAX_KEPT];
static unsigned kept_count;

static EFI_FILE_HANDLE volume;

static void say_text(const char *text)
{
    CHAR16 wide[TEXT_MAX + 3];
    unsigned n = 0;

    if (efi->ConOut == NULL)
        return;
    for (; text[n] != '\0' && n < TEXT_MAX; n++)
        wide[n] = (CHAR16)text[n];
    wide[n++] = '\r';
    wide[n++] = '\n';
    wide[n] = '\0';
    efi->ConOut->OutputString(efi->ConOut, wide);
}

void say(const char *format, ...)
{
    char text[TEXT_MAX] = "";
    va_list arguments;

    va_start(arguments, format);
    text_append_v(text, sizeof(text), format, arguments);
    va_end(arguments);
    say_text(text);
}

bool refuse(unsigned line, const char *format, ...)
{
    char text[TEXT_MAX] = "nidus.conf";
    va_list arguments;

    if (line != 0)
        text_append(text, sizeof(text), ":%u", line);
    text_append(text, sizeof(text), ": ");
    va_start(arguments, format);
    text_append_v(text, sizeof(text), format, arguments);
    va_end(arguments);
    say_text(text);
    return false;
}

const char *efi_status_name(EFI_STATUS status)
{
    switch (status) {
    case EFI_NOT_FOUND: return "not found";
    case EFI_OUT_OF_RESOURCES: return "out of memory";
    case EFI_DEVICE_ERROR: return "the device reported an error";
    case EFI_NO_MEDIA: return "no medium";
    case EFI_VOLUME_CORRUPTED: return "the file system is damaged";
    case EFI_ACCESS_DENIED: return "access denied";
    case EFI_UNSUPPORTED: return "not supported by this firmware";
    case EFI_INVALID_PARAMETER: return "no valid name";
    default: return "firmware error";
    }
}

/* ---- memory ---- */

void *pages_keep(uint64_t bytes, EFI_MEMORY_TYPE type)
{
    uint64_t pages = bytes / EFI_PAGE + (bytes % EFI_PAGE != 0);
    EFI_PHYSICAL_ADDRESS base;

    if (kept_count == MAX_KEPT ||
        efi->BootServices->AllocatePages(AllocateAnyPages, type, pages, &base) != EFI_SUCCESS)
        return NULL;
    kept[kept_count++] = (struct kept){ .base = base, .pages = pages };
    return memset((void *)base, 0, pages * EFI_PAGE);
}

void pages_free_all(void)
{
    while (kept_count > 0) {
        kept_count--;
        efi->BootServices->FreePages(kept[kept_count].base, kept[kept_count].pages);
    }
}

bool pages_mark(struct boot_info *boot)
{
    for (unsigned i = 0; i < kept_count; i++)
        if (!memory_map_put(boot, kept[i].base, kept[i].pages * EFI_PAGE, BOOT_MEM_NIDUS))
            return false;
    return true;
}

/* ---- files ---- */

bool volume_open(EFI_HANDLE image)
{
    EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_FILE_IO_INTERFACE *file_system;
    EFI_STATUS status;

    status = efi->BootServices->HandleProtocol(image, &loaded_image_guid, (void **)&loaded);
    if (status == EFI_SUCCESS)
        status = efi->BootServices->HandleProtocol(loaded->DeviceHandle, &file_system_guid, (void **)&file_system);
    if (status == EFI_SUCCESS)
        status = file_system->OpenVolume(file_system, &volume);
    if (status != EFI_SUCCESS)
        say("nidus: the volume that nidus.efi was loaded from does not open: %s", efi_status_name(status));
    return status == EFI_SUCCESS;
}

const char *file_path(const char *name)
{
    static char path[CONFIG_MAX_IMAGE + 8];

    text_format(path, sizeof(path), "\\nidus\\%s", name);
    for (char *s = path; *s != '\0'; s++)
        if (*s == '/')
            *s = '\\';
    return path;
}

static EFI_STATUS file_open(const char *path, EFI_FILE_HANDLE *file)
{
    CHAR16 wide[CONFIG_MAX_IMAGE + 8];
    size_t n = 0;

    do
        wide[n] = (CHAR16)path[n];
    while (path[n++] != '\0');
    return volume->Open(volume, file, wide, EFI_FILE_MODE_READ, 0);
}

static EFI_STATUS file_size(EFI_FILE_HANDLE file, uint64_t *size)
{
    static union {
        EFI_FILE_INFO info;
        uint8_t room[sizeof(EFI_FILE_INFO) + 512];
    } buffer;                   /* the name follows the structure */
    EFI_GUID guid = EFI_FILE_INFO_ID;
    UINTN bytes = sizeof(buffer);
    EFI_STATUS status = file->GetInfo(file, &guid, &bytes, &buffer);

    if (status != EFI_SUCCESS)
        return status;
    if ((buffer.info.Attribute & EFI_FILE_DIRECTORY) != 0)
        return EFI_NOT_FOUND;
    *size = buffer.info.FileSize;
    return EFI_SUCCESS;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE file, uint8_t *to, uint64_t size)
{
    while (size > 0) {
        UINTN bytes = size;
        EFI_STATUS status = file->Read(file, &bytes, to);

        if (status != EFI_SUCCESS)
            return status;
        if (bytes == 0 || bytes > size)
            return EFI_VOLUME_CORRUPTED;
        to += bytes;
        size -= bytes;
    }
    return EFI_SUCCESS;
}

void *file_read(const char *name, unsigned line, uint64_t limit, size_t *size)
{
    const char *path = file_path(name);
    EFI_FILE_HANDLE file;
    EFI_STATUS status = file_open(path, &file);
    uint64_t bytes = 0;
    void *data = NULL;

    if (status != EFI_SUCCESS) {
        refuse(line, "%s: %s", path, efi_status_name(status));
        return NULL;
    }
    status = file_size(file, &bytes);
    if (status == EFI_SUCCESS && bytes > limit) {
        refuse(line, "%s: %lu bytes; the most is %lu", path, (unsigned long)bytes, (unsigned long)limit);
    } else if (status == EFI_SUCCESS) {
        data = pages_keep(bytes + 1, EfiLoaderData);
        status = data == NULL ? EFI_OUT_OF_RESOURCES : read_all(file, data, bytes);
    }
    if (status != EFI_SUCCESS) {
        refuse(line, "%s: %s", path, efi_status_name(status));
        data = NULL;
    }
    file->Close(file);
    *size = bytes;
    return data;
}

/* ---- what firmware tells about the machine ---- */

static uint64_t find_table(EFI_GUID guid)
{
    for (UINTN i = 0; i < efi->NumberOfTableEntries; i++)
        if (memcmp(&efi->ConfigurationTable[i].VendorGuid, &guid, sizeof(guid)) == 0)
            return (uint64_t)efi->ConfigurationTable[i].VendorTable;
    return 0;
}

static void find_framebuffer(struct boot_framebuffer *f)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *screen;

    if (efi->BootServices->LocateProtocol(&guid, NULL, (void **)&screen) != EFI_SUCCESS ||
        screen->Mode == NULL || screen->Mode->Info == NULL)
        return;
    switch (screen->Mode->Info->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor:
        f->format = 0;
        break;
    case PixelBlueGreenRedReserved8BitPerColor:
        f->format = 1;
        break;
    default:
        return;
    }
    f->base = screen->Mode->FrameBufferBase;
    f->width = screen->Mode->Info->HorizontalResolution;
    f->height = screen->Mode->Info->VerticalResolution;
    f->stride = screen->Mode->Info->PixelsPerScanLine;
}

void platform_find(struct boot_info *boot)
{
    boot->rsdp = find_table((EFI_GUID)ACPI_20_TABLE_GUID);
    if (boot->rsdp == 0)
        boot->rsdp = find_table((EFI_GUID)ACPI_TABLE_GUID);
    find_framebuffer(&boot->framebuffer);
}
