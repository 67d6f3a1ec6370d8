/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#ifndef ADDRESS_SANITIZER
#define ADDRESS_SANITIZER 0
#endif

/* Sizes from 0 to 300 KB, so that small, large and own blocks all occur. */
static size_t nth_size(unsigned i)
{
    return i % 50 == 49 ? (size_t)i * 1000 : (i * 7919u) % 700;
}

static void test_objects_do_not_overlap(void **state)
{
    enum { N = 300 };
    struct arena a = {0};
    unsigned char *p[N];

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        size_t n = nth_size(i);
        p[i] = arena_alloc(&a, n);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(p[i][k], 0);
        }
        memset(p[i], (int)(i & 0xff), n);
    }
    for (unsigned i = 0; i < N; i++) {
        for (size_t k = 0; k < nth_size(i); k++) {
            assert_int_equal(p[i][k], i & 0xff);
        }
    }
    assert_true(a.held_bytes >= a.used_bytes);
    arena_release(&a);
    assert_null(a.head);
    assert_int_equal(a.used_bytes, 0);
}

static void test_usable_after_release(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a);
    arena_release(&a);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_release(&a);
}

static void test_impossible_sizes(void **state)
{
    struct arena a = {0};

    (void)state;
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(arena_calloc(&a, (size_t)1 << 32, (size_t)1 << 32));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 40));
    assert_non_null(arena_alloc(&a, 0));
    assert_ptr_not_equal(arena_alloc(&a, 8), arena_alloc(&a, 8));
    assert_non_null(arena_calloc(&a, 0, 8));
    arena_release(&a);
}

static void test_strings(void **state)
{
    struct arena a = {0};
    char *big;

    (void)state;
    assert_string_equal(arena_strdup(&a, ""), "");
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&a, "ab", 10), "ab");
    assert_string_equal(arena_printf(&a, "%s=%d", "x", 42), "x=42");
    big = arena_printf(&a, "%09999d", 7);
    assert_int_equal(strlen(big), 9999);
    assert_int_equal(big[9998], '7');
    arena_release(&a);
}

static void test_many_small_cost_few_blocks(void **state)
{
    struct arena a = {0};

    (void)state;
    for (int i = 0; i < 100000; i++) {
        assert_non_null(arena_alloc(&a, 16));
    }
    assert_true(a.used_bytes >= 1600000);
#if !ADDRESS_SANITIZER /* else one malloc per object */
    assert_true(a.held_bytes < 2 * a.used_bytes);
#endif
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_do_not_overlap),
        cmocka_unit_test(test_usable_after_release),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_many_small_cost_few_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
