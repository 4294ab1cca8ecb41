/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output.c: what the steps say.  A line holds the hashes of STEPS_A_LINE steps, 16 bits each, and one of all steps so far:
 *
 *     replay 7 200: 1f03 77aa … = 0123456789abcdef
 *
 * Steps that are to be shown are printed as text as well: "step 7.213: …".
 */
#include <string.h>

#include "guests/replay/replay.h"

#define WRONG_LINES 20u
#define LINE_BYTES  230u

static struct {
    uint64_t seed, all, hash;   /* all: of the steps so far */
    uint32_t show_first, show_last;
    bool in_step;
    unsigned wrongs;
    char text[2048], line[512];
    size_t length, filled;
} out;

static bool is_shown(void)
{
    return out.in_step && m.step >= out.show_first && m.step <= out.show_last;
}

static void add(char *to, size_t *length, size_t size, const char *words)
{
    while (*words && *length < size - 2)
        to[(*length)++] = *words++;
    to[*length] = 0;
}

static void add_hex(char *to, size_t *length, size_t size, uint64_t value, unsigned digits)
{
    char text[17];
    unsigned at = 16;

    text[16] = 0;
    do {
        text[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value || 16 - at < digits);
    add(to, length, size, text + at);
}

static void add_number(char *to, size_t *length, size_t size, uint64_t value)
{
    char text[21];
    unsigned at = 20;

    text[20] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    add(to, length, size, text + at);
}

static void put(const char *words) { add(out.text, &out.length, sizeof out.text, words); }
static void put_hex(uint64_t value) { add_hex(out.text, &out.length, sizeof out.text, value, 1); }
static void put_number(uint64_t value) { add_number(out.text, &out.length, sizeof out.text, value); }

static void hash(const char *words)
{
    while (*words)
        out.hash = (out.hash ^ (uint8_t)*words++) * 0x100000001b3ULL;
}

/* A console's line is cut: what is long goes on in lines that begin with a plus sign. */
static void print_text(void)
{
    char line[LINE_BYTES + 2];
    bool first = true;

    for (size_t at = 0; at < out.length || first; first = false) {
        size_t from = first ? 0 : 2, size = out.length - at < LINE_BYTES - from ? out.length - at : LINE_BYTES - from;

        memcpy(line, "+ ", 2);
        memcpy(line + from, out.text + at, size);
        memcpy(line + from + size, "\n", 2);
        port_print(line);
        at += size;
    }
}

static void put_place(const char *kind)
{
    out.length = 0;
    put(kind);
    put_number(out.seed);
    put(".");
    put_number(m.step);
    put(": ");
}

void output_start(uint64_t seed, uint32_t show_first, uint32_t show_last)
{
    memset(&out, 0, sizeof out);
    out.seed = seed;
    out.show_first = show_first;
    out.show_last = show_last;
}

void step_begins(void)
{
    out.in_step = true;
    out.hash = 0xcbf29ce484222325ULL;
    put_place("step ");
}

static void line_starts(void)
{
    out.filled = 0;
    add(out.line, &out.filled, sizeof out.line, "replay ");
    add_number(out.line, &out.filled, sizeof out.line, out.seed);
    add(out.line, &out.filled, sizeof out.line, " ");
    add_number(out.line, &out.filled, sizeof out.line, m.step);
    add(out.line, &out.filled, sizeof out.line, ":");
}

static void line_ends(void)
{
    add(out.line, &out.filled, sizeof out.line, " = ");
    add_hex(out.line, &out.filled, sizeof out.line, out.all, 16);
    add(out.line, &out.filled, sizeof out.line, "\n");
    port_print(out.line);
    out.filled = 0;
}

void step_ends(void)
{
    uint64_t folded = out.hash ^ out.hash >> 32;

    if (is_shown())
        print_text();
    out.in_step = false;
    if (!out.filled)
        line_starts();
    out.all = (out.all ^ out.hash) * 0x9e3779b97f4a7c15ULL;
    add(out.line, &out.filled, sizeof out.line, " ");
    add_hex(out.line, &out.filled, sizeof out.line, (folded ^ folded >> 16) & 0xffff, 4);
    if (m.step % STEPS_A_LINE == STEPS_A_LINE - 1)
        line_ends();
}

void output_end(void)
{
    if (out.filled)
        line_ends();
}

unsigned output_wrongs(void)
{
    return out.wrongs;
}

/* Shown or not, the same is hashed: the whole text need not be made then. */
static void tell_text(const char *words, char *number)
{
    if (!out.in_step)
        return;
    hash(words);
    hash(number);
    put(words);
    put(number);
}

void tell(const char *words)
{
    tell_text(words, "");
}

void tell_hex(const char *words, uint64_t value)
{
    char number[18];
    size_t length = 0;

    add_hex(number, &length, sizeof number, value, 1);
    tell_text(words, number);
}

void tell_error(int64_t error)
{
    char number[24];
    size_t length = 0;

    add(number, &length, sizeof number, error < 0 ? " -" : " ");
    add_number(number, &length, sizeof number, (uint64_t)(error < 0 ? -error : error));
    tell_text("", number);
}

void aside_hex(const char *words, uint64_t value)
{
    if (!is_shown())
        return;
    put(words);
    put_hex(value);
}

void wrong(const char *words, uint64_t value)
{
    char kept[sizeof out.text];
    size_t length = out.length;

    if (++out.wrongs > WRONG_LINES)
        return;
    memcpy(kept, out.text, length);
    put(" WRONG: ");
    put(words);
    put(" 0x");
    put_hex(value);
    print_text();
    memcpy(out.text, kept, length);
    out.length = length;
}
