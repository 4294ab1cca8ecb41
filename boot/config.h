/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config.h: nidus.conf, read and checked as far as the text alone tells.
 *
 *     [system]
 *     console       = serial screen     # where nidus prints: any of the two (default: both)
 *     errata-772415 = auto              # auto | on | off
 *     at-end        = halt              # halt | poweroff | reboot: when the last guest has ended
 *     rmrr          = keep              # keep | block: devices that firmware uses (RMRR) and no guest owns
 *
 *     [shared ring]                     # up to 8: memory that several guests have; above the guests that name it
 *     size = 2M                         # a power of two, 4K to 256M; required
 *
 *     [guest web]                       # 1 to 8 of them; 1 to 31 letters, digits, - _ .
 *     image  = guests/web.elf           # from the folder of nidus.conf; required
 *     memory = 64M                      # K, M or G; a multiple of 2M, at most 3G; required
 *     cpus   = 1
 *     device = 8086:10c9                # vendor:device, or an address 0000:01:00.0 or 01:00.0; up to 8 lines.  Behind it:
 *                                       #   rmrr=map: it may have an RMRR, which is mapped for it (needs nested = off); default: deny
 *                                       #   ats=on: address translation services, if firmware vouches for it; ats=trust: anyway; default: off
 *     nested = on                       # on | off
 *     shared = ring rw                  # rw | ro; a line for each region, 256M in all
 *     args   = any text of up to 127 characters
 *
 * A comment begins with # or ; at the start of a line or behind a blank.
 */
#ifndef NIDUS_BOOT_CONFIG_H
#define NIDUS_BOOT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/text.h"
#include "kernel/boot_info.h"

#define CONFIG_MAX_SIZE   65536u
#define CONFIG_MAX_IMAGE  128u
#define CONFIG_MEMORY_MAX (UINT64_C(3) << 30)
#define CONFIG_MEMORY_UNIT (UINT64_C(2) << 20)
#define CONFIG_SHARED_MIN (UINT64_C(4) << 10)
#define CONFIG_SHARED_MAX (UINT64_C(256) << 20) /* of a region, and of all that a guest has */

struct config_device {
    unsigned line;
    bool by_address;
    uint16_t segment, bdf;      /* by_address */
    uint16_t vendor, device;    /* else */
    bool map_rmrr;
    enum boot_ats ats;
};

struct config_shared {
    unsigned line;              /* of [shared NAME] */
    char name[32];
    uint64_t size;              /* bytes */
};

struct config_guest {
    unsigned line;              /* of [guest NAME] */
    unsigned image_line, memory_line;
    char name[32];
    char image[CONFIG_MAX_IMAGE];
    char args[128];
    uint64_t memory;            /* bytes */
    uint32_t cpus;
    bool nested;
    unsigned device_count;
    struct config_device device[BOOT_MAX_GUEST_DEVICES];
    uint8_t share[BOOT_MAX_SHARED]; /* enum boot_share: of config.shared[i] */
};

struct config {
    uint32_t console;           /* BOOT_CONSOLE_* */
    enum boot_errata errata_772415;
    enum boot_at_end at_end;
    enum boot_rmrr rmrr;
    unsigned shared_count;
    struct config_shared shared[BOOT_MAX_SHARED];
    unsigned guest_count;
    struct config_guest guest[BOOT_MAX_GUESTS];
};

struct config_error {
    unsigned line;              /* 0: the file as a whole */
    char reason[TEXT_MAX];
};

/* Reads size bytes at text, which need no end mark.  false: the first mistake is in *error and *config is not to be used. */
bool config_parse(struct config *config, const char *text, size_t size, struct config_error *error);

#endif
