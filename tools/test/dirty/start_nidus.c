/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/test/dirty/start_nidus.h"

#include <string.h>

#include "boot/efi.h"

/* The device path of \nidus\nidus.efi on the disk that we came from. */
static EFI_DEVICE_PATH *nidus_path(EFI_HANDLE device)
{
    static const CHAR16 name[] = L"\\nidus\\nidus.efi";
    static uint8_t path[1024];
    EFI_GUID guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
    EFI_DEVICE_PATH *from, *node;
    size_t size = 0;

    if (efi->BootServices->HandleProtocol(device, &guid, (void **)&from) != EFI_SUCCESS)
        return NULL;
    for (node = from; !IsDevicePathEnd(node); node = NextDevicePathNode(node))
        size += DevicePathNodeLength(node);
    if (size > 512)
        return NULL;
    memcpy(path, from, size);
    node = (EFI_DEVICE_PATH *)(path + size);
    node->Type = MEDIA_DEVICE_PATH;
    node->SubType = MEDIA_FILEPATH_DP;
    SetDevicePathNodeLength(node, sizeof(*node) + sizeof(name));
    memcpy(node + 1, name, sizeof(name));
    node = NextDevicePathNode(node);
    SetDevicePathEndNode(node);
    return (EFI_DEVICE_PATH *)path;
}

EFI_STATUS start_nidus(EFI_HANDLE self)
{
    EFI_GUID guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_HANDLE nidus;
    EFI_STATUS status = efi->BootServices->HandleProtocol(self, &guid, (void **)&loaded);

    if (status == EFI_SUCCESS)
        status = efi->BootServices->LoadImage(FALSE, self, nidus_path(loaded->DeviceHandle), NULL, 0, &nidus);
    if (status == EFI_SUCCESS)
        status = efi->BootServices->StartImage(nidus, NULL, NULL);
    say("nidus.efi did not start: %s", efi_status_name(status));
    return status;
}
