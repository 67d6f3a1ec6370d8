/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/store.h"

#include <stdlib.h>
#include <string.h>

static bool push_run(struct store *s, uint64_t first, uint32_t n)
{
    if (s->n_runs == s->cap_runs) {
        size_t cap = s->cap_runs ? s->cap_runs * 2 : 256;
        struct id_run *run = realloc(s->run, cap * sizeof(*run));
        if (!run) {
            return false;
        }
        s->run = run;
        s->cap_runs = cap;
    }
    s->run[s->n_runs++] = (struct id_run){first, n};
    return true;
}

static bool push_ids(struct store *s, const uint64_t *id, uint32_t n_ids)
{
    uint32_t i = 0;
    while (i < n_ids) {
        uint32_t n = 1;
        while (i + n < n_ids && id[i + n] == id[i] + n) {
            n++;
        }
        if (!push_run(s, id[i], n)) {
            return false;
        }
        i += n;
    }
    return true;
}

bool store_push(struct store *s, const struct arrival *a)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct stored *row = realloc(s->row, cap * sizeof(*row));
        if (!row) {
            return false;
        }
        s->row = row;
        s->cap = cap;
    }
    size_t first = s->n_runs;
    if (!push_ids(s, a->hash, a->n_hash)) {
        return false;
    }
    s->row[s->n] = (struct stored){.a = *a, .first_run = first, .n_runs = (uint32_t)(s->n_runs - first)};
    s->row[s->n].a.hash = NULL;
    return store_set_after(s, s->n++, a->after, a->n_after);
}

bool store_set_after(struct store *s, size_t i, const uint64_t *id, uint32_t n)
{
    struct stored *r = &s->row[i];
    r->first_after = s->n_runs;
    if (!push_ids(s, id, n)) {
        return false;
    }
    r->n_after_runs = (uint32_t)(s->n_runs - r->first_after);
    r->a.n_after = n;
    r->a.after = NULL;
    return true;
}

/* Merge sort from the bottom up: stable, and it needs no recursion. */
static void merge(const struct stored *from, struct stored *to, size_t lo, size_t mid, size_t hi)
{
    size_t i = lo, j = mid;
    for (size_t k = lo; k < hi; k++) {
        bool left = i < mid && (j >= hi || from[i].a.time_ns <= from[j].a.time_ns);
        to[k] = left ? from[i++] : from[j++];
    }
}

bool store_sort(struct store *s)
{
    struct stored *other = malloc((s->n ? s->n : 1) * sizeof(*other));
    if (!other) {
        return false;
    }
    for (size_t width = 1; width < s->n; width *= 2) {
        for (size_t lo = 0; lo < s->n; lo += 2 * width) {
            size_t mid = lo + width < s->n ? lo + width : s->n;
            size_t hi = lo + 2 * width < s->n ? lo + 2 * width : s->n;
            merge(s->row, other, lo, mid, hi);
        }
        struct stored *swap = s->row;
        s->row = other;
        other = swap;
        s->cap = s->n;
    }
    free(other);
    return true;
}

static bool expand(const struct store *s, size_t first, uint32_t n, struct id_list *to)
{
    const char *why;
    to->n = 0;
    for (uint32_t k = 0; k < n; k++) {
        const struct id_run *run = &s->run[first + k];
        if (!id_list_add(to, run->first, run->first + (run->n - 1), &why)) {
            return false;
        }
    }
    return true;
}

bool store_get(struct store *s, size_t i, struct arrival *ret)
{
    const struct stored *r = &s->row[i];
    if (!expand(s, r->first_run, r->n_runs, &s->ids) ||
        !expand(s, r->first_after, r->n_after_runs, &s->after)) {
        return false;
    }
    *ret = r->a;
    ret->hash = s->ids.id;
    ret->after = s->after.id;
    return true;
}

void store_clear(struct store *s)
{
    s->n = 0;
    s->n_runs = 0;
}

void store_release(struct store *s)
{
    free(s->row);
    free(s->run);
    id_list_release(&s->ids);
    id_list_release(&s->after);
    memset(s, 0, sizeof(*s));
}
