/* SPDX-License-Identifier: BSD-2-Clause */
/* test_alloc.c: small objects, and whose pages they are cut from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/alloc.h"
#include "tools/test/host/platform.h"

static struct guest *one, *two;
static struct objects of_one, of_two, of_nobody;

static int setup(void **state)
{
    (void)state;
    host_reset();
    one = host_guest("one", 0);
    two = host_guest("two", 0);
    of_one = (struct objects){ .guest = one };
    of_two = (struct objects){ .guest = two };
    of_nobody = (struct objects){ 0 };
    srandom(1);
    return 0;
}

static bool is_filled(const uint8_t *p, size_t size, uint8_t byte)
{
    while (size-- != 0)
        if (*p++ != byte)
            return false;
    return true;
}

static void every_size_is_zeroed_aligned_and_given_back(void **state)
{
    (void)state;
    for (size_t size = 1; size <= PAGE_SIZE; size++) {
        uint8_t *p = object_alloc(&of_one, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_true(is_filled(p, size, 0));
        memset(p, 0xff, size);
        uint8_t *q = object_alloc(&of_one, size);
        assert_true(is_filled(q, size, 0));
        assert_true(is_filled(p, size, 0xff));
        object_free(&of_one, p, size);
        object_free(&of_one, q, size);
        assert_int_equal(host_pages_live(), 0);
    }
    assert_null(object_alloc(&of_one, 0));
    assert_null(object_alloc(&of_one, PAGE_SIZE + 1));
    object_free(&of_one, NULL, 8);
}

static void objects_keep_apart(void **state)
{
    static struct {
        uint8_t *p;
        size_t size;
        struct objects *owner;
        uint8_t fill;
    } held[500];
    unsigned count = 0;
    (void)state;
    for (unsigned step = 0; step < 30000; step++) {
        if (count < 500 && random() % 2 == 0) {
            struct objects *const owners[] = { &of_one, &of_two, &of_nobody };
            held[count].size = 1 + (size_t)random() % (random() % 4 == 0 ? 4096 : 200);
            held[count].owner = owners[random() % 3];
            held[count].fill = (uint8_t)random();
            held[count].p = object_alloc(held[count].owner, held[count].size);
            assert_non_null(held[count].p);
            assert_true(is_filled(held[count].p, held[count].size, 0));
            memset(held[count].p, held[count].fill, held[count].size);
            count++;
        } else if (count != 0) {
            unsigned i = (unsigned)random() % count;
            assert_true(is_filled(held[i].p, held[i].size, held[i].fill));
            object_free(held[i].owner, held[i].p, held[i].size);
            held[i] = held[--count];
        }
    }
    while (count-- != 0)
        object_free(held[count].owner, held[count].p, held[count].size);
    assert_int_equal(host_pages_live(), 0);
}

static void no_page_has_two_owners(void **state)
{
    (void)state;
    uint8_t *a = object_alloc(&of_one, 32), *b = object_alloc(&of_two, 32), *c = object_alloc(&of_nobody, 32);
    assert_int_not_equal((uintptr_t)a / PAGE_SIZE, (uintptr_t)b / PAGE_SIZE);
    assert_int_not_equal((uintptr_t)a / PAGE_SIZE, (uintptr_t)c / PAGE_SIZE);
    assert_int_not_equal((uintptr_t)b / PAGE_SIZE, (uintptr_t)c / PAGE_SIZE);
    assert_int_equal(one->bytes_used, PAGE_SIZE);
    object_free(&of_one, a, 32);
    object_free(&of_two, b, 32);
    object_free(&of_nobody, c, 32);
    assert_int_equal(one->bytes_used, 0);
}

static void an_owner_without_pages_gets_none_and_others_do(void **state)
{
    (void)state;
    static uint8_t *held[1000];
    unsigned count = 0;
    one->bytes_left = 2 * PAGE_SIZE;
    while (count < 1000 && (held[count] = object_alloc(&of_one, 128)) != NULL)
        count++;
    assert_int_equal(count, 2 * 31);    /* a header of 64 bytes, then 31 of 128 */
    uint8_t *other = object_alloc(&of_two, 128);
    assert_non_null(other);
    object_free(&of_two, other, 128);
    object_free(&of_one, held[5], 128);
    held[5] = object_alloc(&of_one, 128);
    assert_non_null(held[5]);
    while (count != 0)
        object_free(&of_one, held[--count], 128);
    assert_int_equal(one->bytes_used, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_size_is_zeroed_aligned_and_given_back, setup),
        cmocka_unit_test_setup(objects_keep_apart, setup),
        cmocka_unit_test_setup(no_page_has_two_owners, setup),
        cmocka_unit_test_setup(an_owner_without_pages_gets_none_and_others_do, setup),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
