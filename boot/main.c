/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: nidus.efi.  Everything that can be wrong is found before anything starts; then nothing but the kernel
 * is left.
 */
#include <string.h>

#include "boot/efi.h"
#include "boot/image.h"
#include "boot/memory_map.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

#define CONFIG_NAME     "nidus.conf"
#define IMAGE_MAX_SIZE  (1024 * MIB)
#define KERNEL_MAX_SIZE (64 * MIB)
#define STACK_SIZE      (16 * KIB)
/* What the kernel takes for itself, and for the tables of a guest: its two second stages, objects, records. */
#define KERNEL_MEMORY   (16 * MIB)
#define GUEST_OVERHEAD  (2 * MIB)
/* Descriptors more than firmware asked for: AllocatePages below splits some. */
#define MAP_SLACK       32u
#define EXIT_ATTEMPTS   8

extern const uint8_t kernel_image[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_end[] __attribute__((visibility("hidden")));

/* firmware's memory map, as last read */
static struct {
    void *descriptors;
    UINTN room, size, entry_size, key;
} map;

static struct config config;    /* 12 KiB: too much for the stack */

/* ---- the kernel ---- */

static bool place_kernel(struct boot_info *boot)
{
    uint64_t stored = (uint64_t)(kernel_image_end - kernel_image);
    struct kernel_header header;
    uint8_t *kernel;

    if (stored < 8 + sizeof(header)) {
        say("nidus: damaged nidus.efi: there is no kernel in it");
        return false;
    }
    memcpy(&header, kernel_image + 8, sizeof(header));
    if (header.magic != KERNEL_MAGIC || header.file_size != stored ||
        header.image_size < stored || header.image_size > KERNEL_MAX_SIZE) {
        say("nidus: damaged nidus.efi: the kernel in it has a bad header");
        return false;
    }
    kernel = pages_keep(header.image_size, EfiLoaderCode);
    if (kernel == NULL) {
        say("nidus: no memory for the kernel: %lu bytes", (unsigned long)header.image_size);
        return false;
    }
    memcpy(kernel, kernel_image, stored);
    boot->kernel_phys = (uint64_t)kernel;
    return true;
}

/* ---- the guests ---- */

static bool load_guest(const struct config_guest *from, struct boot_guest *to)
{
    char reason[TEXT_MAX];
    size_t size;
    void *file;

    memcpy(to->name, from->name, sizeof(to->name));
    memcpy(to->args, from->args, sizeof(to->args));
    to->memory = from->memory;
    to->cpus = from->cpus;
    to->nested = from->nested;
    memcpy(to->share, from->share, sizeof(to->share));
    file = file_read(from->image, from->image_line, IMAGE_MAX_SIZE, &size);
    if (file == NULL)
        return false;
    if (!image_check(file, size, (uint64_t)file, to, reason))
        return refuse(from->image_line, "%s: %s", file_path(from->image), reason);
    return true;
}

static bool read_config(struct boot_info *boot)
{
    struct config_error error;
    size_t size;
    const char *text = file_read(CONFIG_NAME, 0, CONFIG_MAX_SIZE, &size);

    if (text == NULL)
        return false;
    if (!config_parse(&config, text, size, &error))
        return refuse(error.line, "%s", error.reason);
    boot->console = config.console;
    boot->errata_772415 = config.errata_772415;
    boot->at_end = config.at_end;
    boot->rmrr = config.rmrr;
    boot->guest_count = config.guest_count;
    boot->shared_count = config.shared_count;
    for (unsigned i = 0; i < config.shared_count; i++) {
        memcpy(boot->shared[i].name, config.shared[i].name, sizeof(boot->shared[i].name));
        boot->shared[i].size = config.shared[i].size;
    }
    if (!devices_resolve(&config, boot))
        return false;
    for (unsigned i = 0; i < config.guest_count; i++)
        if (!load_guest(&config.guest[i], &boot->guest[i]))
            return false;
    return true;
}

static void say_guests(void)
{
    char text[TEXT_MAX] = "";

    for (unsigned i = 0; i < config.guest_count; i++) {
        const struct config_guest *g = &config.guest[i];

        text_append(text, sizeof(text), "%s %s (", i == 0 ? "" : ",", g->name);
        text_append_size(text, sizeof(text), g->memory);
        text_append(text, sizeof(text), ", %u device%s)", g->device_count, g->device_count == 1 ? "" : "s");
    }
    say("nidus.conf: %u guest%s:%s", config.guest_count, config.guest_count == 1 ? "" : "s", text);
}

/* ---- memory ---- */

static EFI_STATUS read_map(void)
{
    UINT32 version;
    EFI_STATUS status;

    map.size = map.room;
    status = efi->BootServices->GetMemoryMap(&map.size, map.descriptors, &map.key, &map.entry_size, &version);
    if (status != EFI_BUFFER_TOO_SMALL)
        return status;
    map.room = map.size + MAP_SLACK * map.entry_size;
    map.descriptors = pages_keep(map.room, EfiLoaderData);
    map.size = map.room;
    if (map.descriptors == NULL)
        return EFI_OUT_OF_RESOURCES;
    return efi->BootServices->GetMemoryMap(&map.size, map.descriptors, &map.key, &map.entry_size, &version);
}

static bool take_map(struct boot_info *boot)
{
    EFI_STATUS status = read_map();

    if (status != EFI_SUCCESS) {
        say("nidus: no memory map: %s", efi_status_name(status));
        return false;
    }
    if (!memory_map_build(boot, map.descriptors, map.size, map.entry_size) || !pages_mark(boot)) {
        say("nidus: the memory map has more than %u pieces", BOOT_MAX_MEMORY);
        return false;
    }
    return true;
}

static bool check_memory(const struct boot_info *boot)
{
    uint64_t wanted = KERNEL_MEMORY, free = memory_map_free(boot);

    for (unsigned i = 0; i < config.guest_count; i++)
        wanted += config.guest[i].memory + GUEST_OVERHEAD;
    for (unsigned i = 0; i < config.shared_count; i++)
        wanted += config.shared[i].size;
    if (wanted > free)
        return refuse(config.guest[0].memory_line, "too little memory: the guests, what they share and nidus take %lu MiB, free are %lu MiB",
                      (unsigned long)((wanted + MIB - 1) / MIB), (unsigned long)(free / MIB));
    return true;
}

/* ---- the end of boot services ---- */

/* The kernel brings its own tables of four levels and cannot be entered with five. */
static bool check_paging(void)
{
    uint64_t cr4;

    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    if ((cr4 & (1u << 12)) == 0)
        return true;
    say("nidus: firmware runs with 5-level paging (CR4.LA57); nidus needs 4-level: switch it off in the firmware's setup");
    return false;
}

static uint64_t read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/*
 * UEFI 2.10, section 7.4.6: the key is good for the memory map as it is; when something changed it in between, take
 * the new map and try again.  No service but those for memory may be used after the first attempt.
 */
static bool leave_firmware(EFI_HANDLE image, struct boot_info *boot)
{
    for (unsigned i = 0; i < EXIT_ATTEMPTS; i++) {
        if (!take_map(boot))
            return false;
        if (efi->BootServices->ExitBootServices(image, map.key) == EFI_SUCCESS) {
            boot->exit_tsc = read_tsc();
            return true;
        }
    }
    say("nidus: firmware does not let go: ExitBootServices failed %u times", EXIT_ATTEMPTS);
    return false;
}

static _Noreturn void enter_kernel(const struct boot_info *boot, uint8_t *stack)
{
    __asm__ volatile("cli\n\t"
                     "cld\n\t"
                     "mov %[stack], %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "jmp *%[kernel]"
                     :
                     : "D"(boot), [stack] "r"(stack + STACK_SIZE), [kernel] "r"(boot->kernel_phys)
                     : "memory");
    __builtin_unreachable();
}

static bool start(EFI_HANDLE image)
{
    struct boot_info *boot = pages_keep(sizeof(*boot), EfiLoaderData);
    uint8_t *stack = pages_keep(STACK_SIZE, EfiLoaderData);

    if (boot == NULL || stack == NULL) {
        say("nidus: no memory");
        return false;
    }
    boot->magic = BOOT_INFO_MAGIC;
    boot->version = BOOT_INFO_VERSION;
    boot->size = sizeof(*boot);
    if (!check_paging() || !volume_open(image) || !read_config(boot) || !place_kernel(boot))
        return false;
    platform_find(boot);
    if (!take_map(boot) || !check_memory(boot))
        return false;
    say_guests();
    if (!leave_firmware(image, boot))
        return false;
    enter_kernel(boot, stack);
}

/* Called by GNU-EFI's start-up code, which has turned firmware's calling convention into ours. */
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    efi = system_table;
    /* Firmware ends a program that takes more than five minutes, and the watchdog outlives ExitBootServices on some. */
    efi->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    say("nidus %s", NIDUS_VERSION);
    start(image);
    pages_free_all();
    say("nidus: nothing was started");
    return EFI_LOAD_ERROR;
}
