/* SPDX-License-Identifier: BSD-2-Clause */
/* edu.h: QEMU's educational device (1234:11e8, docs/specs/edu): one transfer of at most 4 KiB at a time, 100 ms after it was asked for. */
#ifndef GUESTS_RUNTIME_EDU_H
#define GUESTS_RUNTIME_EDU_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/pci.h"

#define EDU_VENDOR      0x1234
#define EDU_DEVICE      0x11e8
#define EDU_BUFFER_SIZE 4096u

struct edu {
    const struct nidus_guest_device *device;
    volatile void *registers;
};

/* false: this is no edu (its identification register says so). */
bool edu_open(struct edu *e, const struct nidus_guest_device *device);

/* Memory at bus address `from` into the device's buffer at `offset`, and back.  The device does not tell whether a transfer was
 * refused.  false: it did not end within 3 s; also when the previous transfer has not ended. */
bool edu_read_memory(struct edu *e, uint64_t from, uint32_t offset, uint32_t length);
bool edu_write_memory(struct edu *e, uint64_t to, uint32_t offset, uint32_t length);

#endif
