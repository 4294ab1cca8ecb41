/* SPDX-License-Identifier: BSD-2-Clause */
/* image.c: a machine in a file: lines of the units' state, then pages of memory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MAGIC "vtd-model image 1\n"

struct image_page {
    uint64_t address;
    uint8_t bytes[PAGE];
};
struct image {
    struct image_page *page;    /* by address */
    size_t pages;
};

bool model_save(struct model *model, uint64_t base, uint64_t size, FILE *out)
{
    static const uint8_t zero[PAGE];

    fputs(MAGIC, out);
    for (unsigned i = 0; i < model->units; i++) {
        const struct model_unit *u = model->unit[i];

        fprintf(out, "unit ver=%" PRIx32 " cap=%" PRIx64 " ecap=%" PRIx64 " haw=%u gsts=%" PRIx32 " root=%" PRIx64 " ttm=%d ssirwe=%d\n",
                reg32(u, REG_VER), u->caps.cap, u->caps.ecap, u->haw, reg32(u, REG_GSTS), u->root, u->ttm, u->ssirwe);
    }
    fputs("memory\n", out);
    for (uint64_t a = base & ~(PAGE - 1); a < base + size; a += PAGE) {
        const void *p = model->memory.at(model->memory.context, a, true);

        if (p && memcmp(p, zero, PAGE) != 0) {
            fwrite(&a, sizeof a, 1, out);
            fwrite(p, PAGE, 1, out);
        }
    }
    return fflush(out) == 0 && !ferror(out);
}

static int by_address(const void *a, const void *b)
{
    uint64_t x = ((const struct image_page *)a)->address, y = ((const struct image_page *)b)->address;

    return (x > y) - (x < y);
}

static void *image_at(void *context, uint64_t address, bool snoop)
{
    const struct image *image = context;
    uint64_t key = address & ~(PAGE - 1);
    struct image_page *p;

    (void)snoop;
    p = image->pages ? bsearch(&key, image->page, image->pages, sizeof *p, by_address) : NULL;
    return p ? p->bytes + address % PAGE : NULL;
}

/* One "unit" line. */
static bool load_unit(struct model *model, const char *line)
{
    struct model_preset preset = { .name = "image" };
    struct model_unit *unit;
    uint32_t gsts;
    uint64_t root;
    int ttm, ssirwe;

    if (sscanf(line, "unit ver=%" SCNx32 " cap=%" SCNx64 " ecap=%" SCNx64 " haw=%u gsts=%" SCNx32 " root=%" SCNx64 " ttm=%d ssirwe=%d",
               &preset.version, &preset.cap, &preset.ecap, &preset.haw, &gsts, &root, &ttm, &ssirwe) != 8 ||
        preset.haw < 32 || preset.haw > 63 || ttm < 0 || ttm > 3 || model->units == MAX_UNITS ||
        field(preset.cap, 33, 24) * 16 + 16 * (field(preset.cap, 47, 40) + 1) > 4096 || field(preset.ecap, 17, 8) * 16 > 4080)
        return false;
    unit = model_unit_add(model, &preset);
    set_reg32(unit, REG_GSTS, gsts);
    unit->root = root & mask(63, 12);
    unit->ttm = (enum ttm)ttm;
    unit->ssirwe = ssirwe;
    return true;
}

static bool load_pages(struct image *image, FILE *in)
{
    size_t room = 0;
    uint64_t address;

    while (fread(&address, sizeof address, 1, in) == 1) {
        if (image->pages == room) {
            struct image_page *more = realloc(image->page, (room = room ? 2 * room : 64) * sizeof *more);

            if (!more)
                return false;
            image->page = more;
        }
        image->page[image->pages].address = address;
        if (fread(image->page[image->pages].bytes, PAGE, 1, in) != 1)
            return false;
        image->pages++;
    }
    if (image->pages)
        qsort(image->page, image->pages, sizeof *image->page, by_address);
    return true;
}

struct model *model_load(FILE *in, char error[160])
{
    static struct image image; /* one at a time: the command's */
    struct model_memory memory = { &image, image_at };
    struct model *model = model_new(&memory, 1);
    char line[256];
    bool memory_follows = false;

    free(image.page);
    image = (struct image){ 0 };
    if (!fgets(line, sizeof line, in) || strcmp(line, MAGIC) != 0) {
        snprintf(error, 160, "does not begin with \"%.*s\"", (int)sizeof MAGIC - 2, MAGIC);
        model_free(model);
        return NULL;
    }
    while (!memory_follows && fgets(line, sizeof line, in)) {
        memory_follows = strcmp(line, "memory\n") == 0;
        if (!memory_follows && !load_unit(model, line)) {
            snprintf(error, 160, "not a unit: %.100s", line);
            model_free(model);
            return NULL;
        }
    }
    if (!memory_follows || !load_pages(&image, in)) {
        snprintf(error, 160, "ends in the middle");
        model_free(model);
        return NULL;
    }
    return model;
}
