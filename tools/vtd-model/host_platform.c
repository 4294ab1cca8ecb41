/* SPDX-License-Identifier: BSD-2-Clause */
/* host_platform.c: see host_platform.h. */
#include <sanitizer/asan_interface.h>
#include <string.h>

#include "host_platform.h"
#include "internal.h"
#include "tools/test/host/platform.h"

static struct {
    struct model *model;
    struct host_registers registers[MAX_UNITS];
    uint8_t dmar[4096];
} host;

#ifdef __SANITIZE_ADDRESS__ /* gcc says it so */
#define ASAN 1
#elif defined(__clang__)
#define ASAN __has_feature(address_sanitizer)
#else
#define ASAN 0
#endif

#if ASAN
#define poisoned(p) __asan_address_is_poisoned(p)
#else
#define poisoned(p) false
#endif

/* Memory that nobody has, freed or never given, answers nothing. */
static void *at(void *context, uint64_t address, bool snoop)
{
    void *p = host_phys(address);

    (void)context;
    if (!p || poisoned(p))
        return NULL;
    return snoop ? p : host_phys_unsnooped(address);
}

static uint64_t read_register(void *context, uint32_t offset, unsigned bytes)
{
    return model_read(context, offset, bytes);
}

static void write_register(void *context, uint32_t offset, unsigned bytes, uint64_t value)
{
    model_write(context, offset, bytes, value);
}

static void stored(volatile void *entry, unsigned bytes)
{
    const void *page = (const void *)((uintptr_t)entry & ~(uintptr_t)(PAGE - 1));

    model_stored(host.model, host_phys_of(page) + (uintptr_t)entry % PAGE, bytes);
}

static void paused(void)
{
    model_run(host.model, 1);
}

struct model *model_host_new(uint64_t seed)
{
    static const struct model_memory memory = { NULL, at };

    host.model = model_new(&memory, seed);
    host_store_hook = stored;
    host_pause_hook = paused;
    return host.model;
}

struct model_unit *model_host_unit(struct model *model, const struct model_preset *preset, uint64_t base)
{
    struct model_unit *unit = model_unit_add(model, preset);

    host.registers[unit->index] =
        (struct host_registers){ .phys = base, .size = 4096, .context = unit, .read = read_register, .write = write_register };
    host_registers_add(&host.registers[unit->index]);
    return unit;
}

void model_host_free(struct model *model)
{
    host_store_hook = NULL;
    host_pause_hook = NULL;
    model_free(model);
    host.model = NULL;
}

static uint8_t *put(uint8_t *p, uint64_t value, unsigned bytes)
{
    memcpy(p, &value, bytes);
    return p + bytes;
}

const void *model_host_dmar(struct model *model, const uint16_t *const *scopes, uint32_t *length)
{
    uint8_t *p = host.dmar + 48, sum = 0;
    unsigned haw = 63;

    memset(host.dmar, 0, sizeof host.dmar);
    for (unsigned i = 0; i < model->units; i++) {
        const uint16_t *scope = i + 1 < model->units ? scopes[i] : NULL;
        unsigned functions = 0;

        while (scope && scope[functions] != 0xffff)
            functions++;
        p = put(p, 0, 2);
        p = put(p, 16 + 8 * functions, 2);
        p = put(p, i + 1 == model->units, 4); /* INCLUDE_PCI_ALL, 4 KiB of registers, segment 0 */
        p = put(p, host.registers[i].phys, 8);
        for (unsigned f = 0; f < functions; f++) {
            p = put(p, 0x0801, 2); /* endpoint, 8 bytes */
            p = put(p, (uint64_t)(scope[f] >> 8) << 24, 4);
            p = put(p, (scope[f] >> 3 & 31) | (scope[f] & 7) << 8, 2);
        }
        if (model->unit[i]->haw < haw)
            haw = model->unit[i]->haw;
    }
    *length = (uint32_t)(p - host.dmar);
    memcpy(host.dmar, "DMAR", 4);
    put(host.dmar + 4, *length, 4);
    host.dmar[8] = 1;
    host.dmar[36] = (uint8_t)(haw - 1);
    host.dmar[37] = 1; /* INTR_REMAP */
    for (uint32_t i = 0; i < *length; i++)
        sum += host.dmar[i];
    host.dmar[9] = (uint8_t)-sum;
    return host.dmar;
}
