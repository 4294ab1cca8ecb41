/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/image.h"

#include <stdarg.h>
#include <string.h>

#include "kernel/abi/nidus.h"

/* ELF-64 object file format, version 1.2: the file header and a program header. */
struct elf_header {
    uint8_t ident[16];          /*  0: magic, 4: class, 5: byte order, 6: version */
    uint16_t type;              /* 16 */
    uint16_t machine;           /* 18 */
    uint32_t version;           /* 20 */
    uint64_t entry;             /* 24 */
    uint64_t phoff;             /* 32 */
    uint64_t shoff;             /* 40 */
    uint32_t flags;             /* 48 */
    uint16_t ehsize;            /* 52 */
    uint16_t phentsize;         /* 54 */
    uint16_t phnum;             /* 56 */
    uint16_t shentsize;         /* 58 */
    uint16_t shnum;             /* 60 */
    uint16_t shstrndx;          /* 62 */
};
_Static_assert(sizeof(struct elf_header) == 64, "ELF header");

struct elf_segment {
    uint32_t type;              /*  0 */
    uint32_t flags;             /*  4 */
    uint64_t offset;            /*  8 */
    uint64_t vaddr;             /* 16 */
    uint64_t paddr;             /* 24 */
    uint64_t filesz;            /* 32 */
    uint64_t memsz;             /* 40 */
    uint64_t align;             /* 48 */
};
_Static_assert(sizeof(struct elf_segment) == 56, "ELF program header");

enum {
    ELF_CLASS_64 = 2, ELF_LITTLE_ENDIAN = 1, ELF_VERSION = 1,
    ELF_EXECUTABLE = 2, ELF_SHARED = 3, ELF_X86_64 = 62,
    ELF_LOAD = 1, ELF_INTERPRETER = 3, ELF_EXECUTE = 1,
    ELF_MAX_HEADERS = 64,
};

struct image {
    const uint8_t *file;
    uint64_t size;
    struct elf_header header;
    char *reason;
};

__attribute__((format(printf, 2, 3)))
static bool fail(const struct image *i, const char *format, ...)
{
    va_list arguments;

    i->reason[0] = '\0';
    va_start(arguments, format);
    text_append_v(i->reason, TEXT_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* [offset, offset + length) lies within limit. */
static bool within(uint64_t offset, uint64_t length, uint64_t limit)
{
    return length <= limit && offset <= limit - length;
}

static bool check_header(struct image *i)
{
    struct elf_header *h = &i->header;

    if (i->size < 4 || memcmp(i->file, "\177ELF", 4) != 0)
        return fail(i, "no ELF file");
    if (i->size < sizeof(*h))
        return fail(i, "cut off inside the ELF header");
    memcpy(h, i->file, sizeof(*h));
    if (h->ident[4] != ELF_CLASS_64 || h->ident[5] != ELF_LITTLE_ENDIAN || h->machine != ELF_X86_64)
        return fail(i, "an ELF file, but not for x86-64 (class %u, byte order %u, machine %u)",
                    h->ident[4], h->ident[5], h->machine);
    if (h->ident[6] != ELF_VERSION || h->version != ELF_VERSION)
        return fail(i, "unknown ELF version %u", h->version);
    if (h->type == ELF_SHARED)
        return fail(i, "position independent or a shared object; link it -static -no-pie");
    if (h->type != ELF_EXECUTABLE)
        return fail(i, "no executable (ELF type %u)", h->type);
    if (h->phentsize != sizeof(struct elf_segment))
        return fail(i, "program headers of %u bytes instead of %u", h->phentsize, (unsigned)sizeof(struct elf_segment));
    if (h->phnum == 0 || h->phnum > ELF_MAX_HEADERS)
        return fail(i, "%u program headers; 1 to %u are possible", h->phnum, ELF_MAX_HEADERS);
    if (!within(h->phoff, (uint64_t)h->phnum * sizeof(struct elf_segment), i->size))
        return fail(i, "cut off: the program headers lie outside the file");
    return true;
}

static struct elf_segment program_header(const struct image *i, unsigned n)
{
    struct elf_segment s;

    memcpy(&s, i->file + i->header.phoff + n * sizeof(s), sizeof(s));
    return s;
}

static bool check_segment(const struct image *i, const struct elf_segment *s, const struct boot_guest *g)
{
    unsigned long gpa = s->paddr, bytes = s->memsz;

    if (s->filesz > s->memsz)
        return fail(i, "segment at 0x%lx: more bytes in the file (%lu) than in memory (%lu)",
                    gpa, (unsigned long)s->filesz, bytes);
    if (!within(s->offset, s->filesz, i->size))
        return fail(i, "cut off: segment at 0x%lx lies outside the file", gpa);
    if (s->vaddr != s->paddr)
        return fail(i, "segment at 0x%lx: linked to run at 0x%lx; both must be the same", gpa, (unsigned long)s->vaddr);
    if (s->paddr < NIDUS_GUEST_IMAGE_MIN)
        return fail(i, "segment at 0x%lx lies below 0x%x, where nidus puts the guest's first tables",
                    gpa, NIDUS_GUEST_IMAGE_MIN);
    if (!within(s->paddr, s->memsz, g->memory))
        return fail(i, "segment at 0x%lx, %lu bytes, lies outside the guest's memory of %lu bytes",
                    gpa, bytes, (unsigned long)g->memory);
    for (unsigned n = 0; n < g->segment_count; n++)
        if (s->paddr < g->segment[n].gpa + g->segment[n].mem_size && g->segment[n].gpa < s->paddr + s->memsz)
            return fail(i, "segments at 0x%lx and 0x%lx overlap", (unsigned long)g->segment[n].gpa, gpa);
    if (g->segment_count == BOOT_MAX_SEGMENTS)
        return fail(i, "more than %u segments to load", BOOT_MAX_SEGMENTS);
    return true;
}

static bool is_entry(const struct image *i, const struct elf_segment *s)
{
    return (s->flags & ELF_EXECUTE) != 0 && i->header.entry >= s->paddr && i->header.entry - s->paddr < s->memsz;
}

bool image_check(const void *file, size_t size, uint64_t phys, struct boot_guest *guest, char reason[TEXT_MAX])
{
    struct image i = { .file = file, .size = size, .reason = reason };
    struct boot_guest g = *guest;
    bool entry_found = false;

    if (!check_header(&i))
        return false;
    g.segment_count = 0;
    for (unsigned n = 0; n < i.header.phnum; n++) {
        struct elf_segment s = program_header(&i, n);

        if (s.type == ELF_INTERPRETER)
            return fail(&i, "dynamically linked; link it -static -no-pie");
        if (s.type != ELF_LOAD || s.memsz == 0)
            continue;
        if (!check_segment(&i, &s, &g))
            return false;
        entry_found |= is_entry(&i, &s);
        g.segment[g.segment_count++] = (struct boot_segment){
            .src = phys + s.offset, .gpa = s.paddr, .file_size = s.filesz, .mem_size = s.memsz,
        };
    }
    if (g.segment_count == 0)
        return fail(&i, "nothing in it to load");
    if (!entry_found)
        return fail(&i, "the entry point 0x%lx lies in no executable segment", (unsigned long)i.header.entry);
    g.entry = i.header.entry;
    *guest = g;
    return true;
}
