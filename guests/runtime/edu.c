/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/runtime/edu.h"

#include "guests/runtime/clock.h"
#include "guests/runtime/mmio.h"

#define EDU_ID         0x00     /* 0xRRrr00ed: version and "edu" */
#define   EDU_ID_MASK    0xffffu
#define   EDU_ID_VALUE   0x00edu
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_TARGET 0x88
#define EDU_DMA_COUNT  0x90
#define EDU_DMA_COMMAND 0x98
#define   EDU_START      (1u << 0)
#define   EDU_TO_MEMORY  (1u << 1)
#define EDU_BUFFER     0x40000  /* the buffer's address in the device */
#define EDU_TIMEOUT_MS 3000

bool edu_open(struct edu *e, const struct nidus_guest_device *device)
{
    e->device = device;
    e->registers = pci_map_bar(device, 0);
    return e->registers && (mmio_read32(e->registers, EDU_ID) & EDU_ID_MASK) == EDU_ID_VALUE;
}

static bool is_idle(void *context)
{
    struct edu *e = context;

    return !(mmio_read32(e->registers, EDU_DMA_COMMAND) & EDU_START);
}

static bool transfer(struct edu *e, uint64_t source, uint64_t target, uint32_t length, uint32_t direction)
{
    if (!wait_until(is_idle, e, EDU_TIMEOUT_MS))
        return false;
    mmio_write64(e->registers, EDU_DMA_SOURCE, source);
    mmio_write64(e->registers, EDU_DMA_TARGET, target);
    mmio_write64(e->registers, EDU_DMA_COUNT, length);
    mmio_write32(e->registers, EDU_DMA_COMMAND, EDU_START | direction);
    return wait_until(is_idle, e, EDU_TIMEOUT_MS);
}

bool edu_read_memory(struct edu *e, uint64_t from, uint32_t offset, uint32_t length)
{
    return transfer(e, from, EDU_BUFFER + offset, length, 0);
}

bool edu_write_memory(struct edu *e, uint64_t to, uint32_t offset, uint32_t length)
{
    return transfer(e, EDU_BUFFER + offset, to, length, EDU_TO_MEMORY);
}
