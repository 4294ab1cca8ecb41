/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/config.h"

#include <stdarg.h>
#include <string.h>

#include "boot/inih.h"

enum { MAX_KEYS = 8 };

struct key;

struct parser {
    const char *next, *end;     /* text that inih has not asked for yet */
    struct config *config;
    struct config_error *error;
    const struct key *keys;     /* of the section; NULL: before the first one */
    struct config_guest *guest; /* in [guest NAME] */
    struct config_shared *shared; /* in [shared NAME] */
    const char *kind;           /* of the section: its first word */
    const char *key;
    unsigned line;
    unsigned section_line;
    unsigned system_line;       /* 0: no [system] yet */
    unsigned key_line[MAX_KEYS]; /* in this section; 0: not seen yet */
};

struct key {
    const char *name;           /* NULL ends the table */
    bool (*set)(struct parser *p, const char *value);
    bool repeats;
    bool required;
};

__attribute__((format(printf, 3, 4)))
static bool fail(struct parser *p, unsigned line, const char *format, ...)
{
    va_list arguments;

    p->error->line = line;
    p->error->reason[0] = '\0';
    va_start(arguments, format);
    text_append_v(p->error->reason, sizeof(p->error->reason), format, arguments);
    va_end(arguments);
    return false;
}

static bool fail_value(struct parser *p, const char *value, const char *why)
{
    return fail(p, p->line, "%s = %s: %s", p->key, value, why);
}

static bool is_printable(const char *s)
{
    for (; *s != '\0'; s++)
        if (*s < ' ' || *s > '~')
            return false;
    return true;
}

static bool is_name_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_' || c == '.';
}

/* Index of value in a list of words that ends with NULL; -1: not there. */
static int word_index(const char *value, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (text_equal(value, words[i]))
            return i;
    return -1;
}

static bool copy_text(struct parser *p, char *to, size_t size, const char *value)
{
    if (strlen(value) >= size)
        return fail(p, p->line, "%s is longer than %u characters", p->key, (unsigned)size - 1);
    memcpy(to, value, strlen(value) + 1);
    return true;
}

/* ---- [system] ---- */

static bool set_console(struct parser *p, const char *value)
{
    static const struct { const char *name; uint32_t bit; } consoles[] = {
        { "serial", BOOT_CONSOLE_SERIAL }, { "screen", BOOT_CONSOLE_SCREEN },
    };
    const char *s = value;

    p->config->console = 0;
    while (*s != '\0') {
        uint32_t bit = 0;
        size_t length = 0;

        while (s[length] != '\0' && s[length] != ' ' && s[length] != '\t')
            length++;
        for (unsigned i = 0; i < sizeof(consoles) / sizeof(consoles[0]); i++)
            if (strlen(consoles[i].name) == length && memcmp(s, consoles[i].name, length) == 0)
                bit = consoles[i].bit;
        if (bit == 0)
            return fail_value(p, value, "a list of serial and screen is wanted");
        p->config->console |= bit;
        for (s += length; *s == ' ' || *s == '\t'; s++)
            ;
    }
    return true;
}

static bool set_errata(struct parser *p, const char *value)
{
    static const char *const words[] = { "auto", "on", "off", NULL };
    int i = word_index(value, words);

    if (i < 0)
        return fail_value(p, value, "auto, on or off is wanted");
    p->config->errata_772415 = (enum boot_errata)i;
    return true;
}

static bool set_at_end(struct parser *p, const char *value)
{
    static const char *const words[] = { "halt", "poweroff", "reboot", NULL };
    int i = word_index(value, words);

    if (i < 0)
        return fail_value(p, value, "halt, poweroff or reboot is wanted");
    p->config->at_end = (enum boot_at_end)i;
    return true;
}

static bool set_rmrr(struct parser *p, const char *value)
{
    static const char *const words[] = { "keep", "block", NULL };
    int i = word_index(value, words);

    if (i < 0)
        return fail_value(p, value, "keep or block is wanted");
    p->config->rmrr = (enum boot_rmrr)i;
    return true;
}

/* ---- [guest NAME] ---- */

static bool set_image(struct parser *p, const char *value)
{
    p->guest->image_line = p->line;
    return copy_text(p, p->guest->image, sizeof(p->guest->image), value);
}

static bool set_args(struct parser *p, const char *value)
{
    return copy_text(p, p->guest->args, sizeof(p->guest->args), value);
}

/* Decimal digits and one of K, M, G; false: no such number, or above 2^63. */
static bool read_size(const char *s, uint64_t *bytes)
{
    static const char letters[] = "KMG";
    uint64_t n = 0;

    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (n > UINT64_MAX / 20)
            return false;
        n = n * 10 + (uint64_t)(*s - '0');
    }
    for (unsigned i = 0; letters[i] != '\0'; i++) {
        if (*s != letters[i])
            continue;
        if (n > (UINT64_MAX >> 1) >> (10 * (i + 1)))
            return false;
        n <<= 10 * (i + 1);
        s++;
        break;
    }
    *bytes = n;
    return *s == '\0';
}

static bool set_size(struct parser *p, const char *value)
{
    uint64_t bytes;

    if (!read_size(value, &bytes) || bytes < CONFIG_SHARED_MIN || bytes > CONFIG_SHARED_MAX || (bytes & (bytes - 1)) != 0)
        return fail_value(p, value, "a power of two from 4K to 256M is wanted");
    p->shared->size = bytes;
    return true;
}

static bool set_memory(struct parser *p, const char *value)
{
    uint64_t bytes;

    p->guest->memory_line = p->line;
    if (!read_size(value, &bytes))
        return fail_value(p, value, "a number with K, M or G is wanted, as in 64M");
    if (bytes < CONFIG_MEMORY_UNIT || bytes % CONFIG_MEMORY_UNIT != 0)
        return fail_value(p, value, "a multiple of 2M is wanted, from 2M on");
    if (bytes > CONFIG_MEMORY_MAX)
        return fail_value(p, value, "more than 3G is not possible: "
                          "a guest's device registers lie between 3G and 4G, and its memory below them");
    p->guest->memory = bytes;
    return true;
}

static bool set_cpus(struct parser *p, const char *value)
{
    if (!text_equal(value, "1"))
        return fail_value(p, value, "a guest has 1 CPU");
    p->guest->cpus = 1;
    return true;
}

static bool set_nested(struct parser *p, const char *value)
{
    static const char *const words[] = { "off", "on", NULL };
    int i = word_index(value, words);

    if (i < 0)
        return fail_value(p, value, "on or off is wanted");
    p->guest->nested = i == 1;
    return true;
}

/* Exactly `digits` hexadecimal digits and then `after`; moves *s behind them. */
static bool read_hex(const char **s, unsigned digits, char after, uint16_t *value)
{
    unsigned n = 0;

    for (unsigned i = 0; i < digits; i++) {
        char c = (*s)[i];

        if (c >= '0' && c <= '9')
            n = n * 16 + (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            n = n * 16 + (unsigned)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    if ((*s)[digits] != after)
        return false;
    *s += digits + (after != '\0');
    *value = (uint16_t)n;
    return true;
}

static bool read_address(const char *s, struct config_device *d)
{
    uint16_t bus, device, function;

    d->segment = 0;
    if (strlen(s) > 4 && s[4] == ':' && !read_hex(&s, 4, ':', &d->segment))
        return false;
    if (!read_hex(&s, 2, ':', &bus) || !read_hex(&s, 2, '.', &device) || !read_hex(&s, 1, '\0', &function))
        return false;
    if (device > 31 || function > 7)
        return false;
    d->bdf = (uint16_t)(bus << 8 | device << 3 | function);
    return true;
}

static bool read_ids(const char *s, struct config_device *d)
{
    return read_hex(&s, 4, ':', &d->vendor) && read_hex(&s, 4, '\0', &d->device);
}

/* The next word of *s, which moves behind it; "" at the end.  false: it does not fit. */
static bool next_word(const char **s, char *word, size_t size)
{
    size_t length = 0;

    while (**s == ' ' || **s == '\t')
        ++*s;
    for (; **s != '\0' && **s != ' ' && **s != '\t'; ++*s) {
        if (length + 1 == size) {
            word[0] = '\0';
            return false;
        }
        word[length++] = **s;
    }
    word[length] = '\0';
    return true;
}

static bool set_device_option(struct config_device *d, const char *word)
{
    static const struct { const char *word; bool rmrr; uint8_t value; } options[] = {
        { "rmrr=deny", true, false }, { "rmrr=map", true, true },
        { "ats=off", false, BOOT_ATS_OFF }, { "ats=on", false, BOOT_ATS_ON }, { "ats=trust", false, BOOT_ATS_TRUST },
    };

    for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!text_equal(options[i].word, word))
            continue;
        if (options[i].rmrr)
            d->map_rmrr = options[i].value;
        else
            d->ats = (enum boot_ats)options[i].value;
        return true;
    }
    return false;
}

static bool set_device(struct parser *p, const char *value)
{
    struct config_device d = { .line = p->line };
    const char *rest = value;
    char word[16];

    if (p->guest->device_count == BOOT_MAX_GUEST_DEVICES)
        return fail(p, p->line, "a guest has at most %u devices", BOOT_MAX_GUEST_DEVICES);
    if (next_word(&rest, word, sizeof(word)))
        d.by_address = read_address(word, &d);
    if (!d.by_address && !read_ids(word, &d))
        return fail_value(p, value, "an address (0000:01:00.0 or 01:00.0) or vendor:device (8086:10c9) is wanted");
    for (;;) {
        if (!next_word(&rest, word, sizeof(word)) || (word[0] != '\0' && !set_device_option(&d, word)))
            return fail_value(p, value, "behind the device, rmrr=deny, rmrr=map, ats=off, ats=on or ats=trust is wanted");
        if (word[0] == '\0')
            break;
    }
    p->guest->device[p->guest->device_count++] = d;
    return true;
}

static bool set_shared(struct parser *p, const char *value)
{
    static const char *const rights[] = { "ro", "rw", NULL };
    struct config *c = p->config;
    const char *rest = value;
    char name[32], right[4], end[2];
    uint64_t bytes = 0;
    unsigned i = 0;

    if (!next_word(&rest, name, sizeof(name)) || !next_word(&rest, right, sizeof(right)) || !next_word(&rest, end, sizeof(end)) ||
        end[0] != '\0' || word_index(right, rights) < 0)
        return fail_value(p, value, "the name of a [shared NAME] is wanted, and rw or ro");
    while (i < c->shared_count && !text_equal(c->shared[i].name, name))
        i++;
    if (i == c->shared_count)
        return fail_value(p, value, "there is no [shared NAME] of that name above this line");
    if (p->guest->share[i] != BOOT_SHARE_NONE)
        return fail_value(p, value, "the guest has that region already");
    p->guest->share[i] = (uint8_t)(BOOT_SHARE_READ + word_index(right, rights));
    for (i = 0; i < c->shared_count; i++)
        bytes += p->guest->share[i] != BOOT_SHARE_NONE ? c->shared[i].size : 0;
    return bytes <= CONFIG_SHARED_MAX || fail_value(p, value, "more than 256M of shared memory is not possible for a guest");
}

static const struct key system_keys[] = {
    { .name = "console", .set = set_console },
    { .name = "errata-772415", .set = set_errata },
    { .name = "at-end", .set = set_at_end },
    { .name = "rmrr", .set = set_rmrr },
    { .name = NULL },
};

static const struct key guest_keys[] = {
    { .name = "image", .set = set_image, .required = true },
    { .name = "memory", .set = set_memory, .required = true },
    { .name = "cpus", .set = set_cpus },
    { .name = "device", .set = set_device, .repeats = true },
    { .name = "nested", .set = set_nested },
    { .name = "shared", .set = set_shared, .repeats = true },
    { .name = "args", .set = set_args },
    { .name = NULL },
};

static const struct key shared_keys[] = {
    { .name = "size", .set = set_size, .required = true },
    { .name = NULL },
};
_Static_assert(sizeof(guest_keys) / sizeof(guest_keys[0]) <= MAX_KEYS, "key_line has room");

/* ---- sections and keys ---- */

static bool section_end(struct parser *p)
{
    for (unsigned i = 0; p->keys != NULL && p->keys[i].name != NULL; i++)
        if (p->keys[i].required && p->key_line[i] == 0)
            return fail(p, p->section_line, "[%s %s] has no %s", p->kind, p->guest != NULL ? p->guest->name : p->shared->name, p->keys[i].name);
    for (unsigned i = 0; p->guest != NULL && i < p->guest->device_count; i++)
        if (p->guest->device[i].map_rmrr && p->guest->nested)
            return fail(p, p->guest->device[i].line, "rmrr=map needs nested = off: that memory is mapped in the second stage, "
                        "where the device's own addresses have to arrive");
    return true;
}

static bool system_begin(struct parser *p)
{
    if (p->system_line != 0)
        return fail(p, p->line, "[system] was there before, in line %u", p->system_line);
    p->system_line = p->line;
    p->keys = system_keys;
    return true;
}

static bool shared_begin(struct parser *p, const char *name)
{
    struct config *c = p->config;

    for (unsigned i = 0; i < c->shared_count; i++)
        if (text_equal(c->shared[i].name, name))
            return fail(p, p->line, "[shared %s] was there before, in line %u", name, c->shared[i].line);
    if (c->shared_count == BOOT_MAX_SHARED)
        return fail(p, p->line, "[shared %s]: there are at most %u shared regions", name, BOOT_MAX_SHARED);
    p->keys = shared_keys;
    p->shared = &c->shared[c->shared_count++];
    p->shared->line = p->line;
    memcpy(p->shared->name, name, strlen(name) + 1);
    return true;
}

static bool guest_begin(struct parser *p, const char *name)
{
    struct config *c = p->config;

    for (unsigned i = 0; i < c->guest_count; i++)
        if (text_equal(c->guest[i].name, name))
            return fail(p, p->line, "[guest %s] was there before, in line %u", name, c->guest[i].line);
    if (c->guest_count == BOOT_MAX_GUESTS)
        return fail(p, p->line, "[guest %s]: there are at most %u guests", name, BOOT_MAX_GUESTS);
    p->keys = guest_keys;
    p->guest = &c->guest[c->guest_count++];
    *p->guest = (struct config_guest){ .line = p->line, .cpus = 1, .nested = true };
    memcpy(p->guest->name, name, strlen(name) + 1);
    return true;
}

/* [KIND NAME]: a section of that kind begins.  NULL: it is of another kind; the name is checked. */
static const char *section_name(const char *section, const char *kind)
{
    size_t length = strlen(kind);

    if (strlen(section) < length || memcmp(section, kind, length) != 0)
        return NULL;
    section += length;
    if (*section != ' ' && *section != '\t' && *section != '\0')
        return NULL;
    while (*section == ' ' || *section == '\t')
        section++;
    return section;
}

static bool named_begin(struct parser *p, const char *name, bool (*begin)(struct parser *p, const char *name))
{
    if (*name == '\0')
        return fail(p, p->line, "[%s NAME]: the name is missing", p->kind);
    if (strlen(name) >= sizeof(p->guest->name))
        return fail(p, p->line, "[%s NAME]: the name is longer than %u characters", p->kind, (unsigned)sizeof(p->guest->name) - 1);
    for (const char *s = name; *s != '\0'; s++)
        if (!is_name_letter(*s))
            return fail(p, p->line, "[%s %s]: a name has letters, digits, '-', '_' and '.' only", p->kind, name);
    return begin(p, name);
}

static bool section_begin(struct parser *p, const char *section)
{
    static const struct { const char *kind; bool (*begin)(struct parser *p, const char *name); } named[] = {
        { "guest", guest_begin }, { "shared", shared_begin },
    };

    if (!section_end(p))
        return false;
    memset(p->key_line, 0, sizeof(p->key_line));
    p->section_line = p->line;
    p->guest = NULL;
    p->shared = NULL;
    if (!is_printable(section))
        return fail(p, p->line, "the section's name holds a character that is not plain ASCII");
    p->kind = "system";
    if (text_equal(section, p->kind))
        return system_begin(p);
    for (unsigned i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        const char *name = section_name(section, p->kind = named[i].kind);

        if (name != NULL)
            return named_begin(p, name, named[i].begin);
    }
    return fail(p, p->line, "[%s] is no section; there are [system], [shared NAME] and [guest NAME]", section);
}

static bool key_value(struct parser *p, const char *name, const char *value)
{
    if (!is_printable(name))
        return fail(p, p->line, "the key holds a character that is not plain ASCII");
    if (value == NULL)
        return fail(p, p->line, "'%s': neither [section] nor key = value", name);
    if (p->keys == NULL)
        return fail(p, p->line, "'%s' stands before the first [section]", name);
    for (const char *s = value; *s != '\0'; s++)
        if ((*s < ' ' && *s != '\t') || *s > '~')
            return fail(p, p->line, "%s: the value holds a character that is not plain ASCII", name);
    p->key = name;
    for (unsigned i = 0; p->keys[i].name != NULL; i++) {
        if (!text_equal(p->keys[i].name, name))
            continue;
        if (*value == '\0')
            return fail(p, p->line, "%s has no value", name);
        if (p->key_line[i] != 0 && !p->keys[i].repeats)
            return fail(p, p->line, "%s was there before, in line %u", name, p->key_line[i]);
        p->key_line[i] = p->line;
        return p->keys[i].set(p, value);
    }
    return fail(p, p->line, "'%s' is no key of [%s]", name, p->kind);
}

/* ---- the text ---- */

static int handle(void *user, const char *section, const char *name, const char *value, int line)
{
    struct parser *p = user;

    p->line = (unsigned)line;
    return name == NULL ? section_begin(p, section) : key_value(p, name, value);
}

/* fgets on the text; check_lines has seen that every line fits. */
static char *next_line(char *to, int size, void *stream)
{
    struct parser *p = stream;
    int n = 0;

    if (p->next == p->end)
        return NULL;
    while (n + 1 < size && p->next != p->end) {
        to[n++] = *p->next++;
        if (to[n - 1] == '\n')
            break;
    }
    to[n] = '\0';
    return to;
}

/* inih drops what stands behind a ']', and so would we. */
static bool section_tail_is_empty(const char *line, const char *end)
{
    while (line != end && (*line == ' ' || *line == '\t'))
        line++;
    if (line == end || *line != '[')
        return true;
    while (line != end && *line != ']')
        line++;
    if (line == end)
        return true;
    for (line++; line != end && (*line == ' ' || *line == '\t' || *line == '\r'); line++)
        ;
    return line == end || *line == '#' || *line == ';';
}

/* What inih would not tell: bytes that are no text, lines that it cuts, sections with something behind them. */
static bool check_lines(struct parser *p)
{
    const char *line = p->next;
    unsigned number = 1;

    for (; line != p->end; number++) {
        const char *end = line;

        while (end != p->end && *end != '\n') {
            if (*end == '\0')
                return fail(p, number, "a zero byte: this is no plain text file");
            end++;
        }
        if (end - line > INI_MAX_LINE - 3)
            return fail(p, number, "the line is longer than %u characters", INI_MAX_LINE - 3u);
        if (!section_tail_is_empty(line, end))
            return fail(p, number, "something stands behind the section's ']'");
        line = end + (end != p->end);
    }
    return true;
}

bool config_parse(struct config *config, const char *text, size_t size, struct config_error *error)
{
    struct parser p = { .next = text, .end = text + size, .config = config, .error = error };
    int line;

    *config = (struct config){ .console = BOOT_CONSOLE_SERIAL | BOOT_CONSOLE_SCREEN };
    *error = (struct config_error){ .line = 0 };
    if (size == 0)
        return fail(&p, 0, "the file is empty");
    if (size > CONFIG_MAX_SIZE)
        return fail(&p, 0, "the file is larger than 64 KiB");
    if (!check_lines(&p))
        return false;
    line = ini_parse_stream(next_line, &p, handle, &p);
    if (line != 0)
        return error->reason[0] != '\0' ? false : fail(&p, (unsigned)line, "'[' without ']'");
    if (!section_end(&p))
        return false;
    if (config->guest_count == 0)
        return fail(&p, 0, "there is no [guest NAME]: nothing to start");
    return true;
}
