/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_frames.c: the frame allocator against a list of who has which page.
 *
 * DIRECT_MAP + physical address wraps around to an address of this process: a zone is a mapping, and its
 * "physical" addresses are what virt_to_phys makes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/frames.h"
#include "kernel/log.h"
#include "kernel/memory.h"

#define MIB (1ULL << 20)
#define ZONE_BYTES (2048 * MIB) /* sparse: only heads of free blocks are touched */
#define ZONES 3

static struct zone {
    uint64_t base, pages;
} zone[ZONES];
static uint64_t all_bytes;

static jmp_buf on_panic;
static bool panic_expected;

void panic(const char *format, ...)
{
    (void)format;
    if (!panic_expected)
        abort();
    longjmp(on_panic, 1);
}

/* The zones of every test: 2 GiB that begin at a boundary of 1 GiB, an odd 37 pages, and one page. */
static int setup(void **state)
{
    (void)state;
    uint8_t *memory = mmap(NULL, ZONE_BYTES * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    uint64_t base = (virt_to_phys(memory) + 1024 * MIB - 1) / (1024 * MIB) * (1024 * MIB);
    zone[0] = (struct zone){ base, ZONE_BYTES / PAGE_SIZE };
    zone[1] = (struct zone){ base + ZONE_BYTES + 3 * PAGE_SIZE, 37 };
    zone[2] = (struct zone){ base + ZONE_BYTES + 41 * PAGE_SIZE, 1 };
    for (unsigned i = 0; i < ZONES; i++) {
        frames_add_zone(zone[i].base, zone[i].pages, calloc(1, frames_heads_bytes(zone[i].pages)));
        frames_add(zone[i].base, zone[i].pages * PAGE_SIZE);
        all_bytes += zone[i].pages * PAGE_SIZE;
    }
    return 0;
}

static bool inside(uint64_t phys, unsigned order)
{
    for (unsigned i = 0; i < ZONES; i++)
        if (phys >= zone[i].base && phys + (PAGE_SIZE << order) <= zone[i].base + zone[i].pages * PAGE_SIZE)
            return true;
    return false;
}

struct held {
    uint64_t phys;
    unsigned order;
};

static bool overlap(const struct held *a, const struct held *b)
{
    return a->phys < b->phys + (PAGE_SIZE << b->order) && b->phys < a->phys + (PAGE_SIZE << a->order);
}

static void everything_is_free_in_the_largest_blocks(void **state)
{
    (void)state;
    assert_int_equal(frames_free_bytes(), all_bytes);
    uint64_t a = frames_alloc(FRAMES_MAX_ORDER), b = frames_alloc(FRAMES_MAX_ORDER);
    assert_true(a != 0 && b != 0 && a != b);
    assert_int_equal((a | b) % (1024 * MIB), 0);
    assert_int_equal(frames_alloc(FRAMES_MAX_ORDER), 0);
    assert_int_equal(frames_free_bytes(), 38 * PAGE_SIZE);
    frames_free(b, FRAMES_MAX_ORDER);
    frames_free(a, FRAMES_MAX_ORDER);
    assert_int_equal(frames_free_bytes(), all_bytes);
}

static void blocks_are_aligned_inside_and_apart(void **state)
{
    (void)state;
    static struct held held[600];
    unsigned count = 0;
    srandom(1);
    for (unsigned step = 0; step < 20000; step++) {
        if (count < 600 && random() % 3 != 0) {
            struct held h = { .order = (unsigned)random() % 12 };
            h.phys = frames_alloc(h.order);
            if (h.phys == 0)
                continue;
            assert_int_equal(h.phys % (PAGE_SIZE << h.order), 0);
            assert_true(inside(h.phys, h.order));
            for (unsigned i = 0; step % 50 == 0 && i < count; i++)
                assert_false(overlap(&h, &held[i]));
            memset(phys_to_virt(h.phys), 0xff, PAGE_SIZE);      /* whatever is in it, it is not taken for a free one */
            held[count++] = h;
        } else if (count != 0) {
            unsigned i = (unsigned)random() % count;
            frames_free(held[i].phys, held[i].order);
            held[i] = held[--count];
        }
    }
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_false(overlap(&held[i], &held[j]));
    while (count != 0) {
        count--;
        frames_free(held[count].phys, held[count].order);
    }
    everything_is_free_in_the_largest_blocks(state);
}

static void a_block_may_come_back_in_pieces(void **state)
{
    (void)state;
    uint64_t block = frames_alloc(9);
    for (unsigned i = 0; i < 512; i++)
        frames_free(block + (i * 7 % 512) * PAGE_SIZE, 0);
    everything_is_free_in_the_largest_blocks(state);
}

static void every_page_can_be_had(void **state)
{
    (void)state;
    uint64_t pages = 0, first = 0, phys;
    /* chained through the second word: the first pages of all of it are what is touched */
    while ((phys = frames_alloc(9)) != 0) {
        ((uint64_t *)phys_to_virt(phys))[1] = first;
        first = phys;
        pages += 512;
    }
    uint64_t single[64];
    unsigned singles = 0;
    while ((phys = frames_alloc(0)) != 0)
        single[singles++] = phys;
    assert_int_equal((pages + singles) * PAGE_SIZE, all_bytes);
    assert_int_equal(frames_free_bytes(), 0);
    while (singles != 0)
        frames_free(single[--singles], 0);
    while (first != 0) {
        uint64_t next = ((uint64_t *)phys_to_virt(first))[1];
        frames_free(first, 9);
        first = next;
    }
    everything_is_free_in_the_largest_blocks(state);
}

static bool panics(uint64_t phys, unsigned order)
{
    panic_expected = true;
    bool panicked = setjmp(on_panic) != 0;
    if (!panicked)
        frames_free(phys, order);
    panic_expected = false;
    return panicked;
}

static void what_is_not_held_cannot_be_freed(void **state)
{
    (void)state;
    uint64_t block = frames_alloc(3);
    frames_free(block, 3);
    for (unsigned page = 0; page < 8; page++)   /* now inside a larger free block */
        assert_true(panics(block + page * PAGE_SIZE, 0));
    assert_true(panics(block, 3));
    assert_true(panics(0x1000, 0));
    assert_true(panics(zone[2].base + PAGE_SIZE, 0));
    assert_true(panics(zone[1].base, 6));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_free_in_the_largest_blocks),
        cmocka_unit_test(blocks_are_aligned_inside_and_apart),
        cmocka_unit_test(a_block_may_come_back_in_pieces),
        cmocka_unit_test(every_page_can_be_had),
        cmocka_unit_test(what_is_not_held_cannot_be_freed),
    };
    return cmocka_run_group_tests_name("frames", tests, setup, NULL);
}
