/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/plot/lanes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json.h"

bool lanes_on_gpu(const struct lanes *l, const struct box *b)
{
    return strcmp(l->lane[b->lane].name, "GPU") == 0;
}

static double number(const cJSON *event, const char *key)
{
    const cJSON *v = cJSON_GetObjectItem(event, key);
    return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static const char *text_of(const cJSON *event, const char *key)
{
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(event, key));
    return s ? s : "";
}

static int whole(const cJSON *event, const char *key)
{
    double v = number(event, key);
    return v >= INT32_MIN && v <= INT32_MAX ? (int)v : 0;
}

/* A name of our own, of characters that gnuplot takes inside "..."; NULL = no memory. */
static const char *plain(struct lanes *l, const char *name)
{
    char *own = arena_strdup(l->arena, name);

    for (char *c = own; c && *c; c++) {
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ') {
            *c = ' ';
        }
    }
    return own ? own : "";
}

static struct lane *lane_of(struct lanes *l, const cJSON *event)
{
    int p = whole(event, "pid"), t = whole(event, "tid");
    size_t i = 0;

    while (i < l->n && (l->lane[i].pid != p || l->lane[i].tid != t)) {
        i++;
    }
    if (i == l->n && i < LANES_MOST) {
        char name[32];

        snprintf(name, sizeof name, "thread %d", t);
        l->lane[l->n++] = (struct lane){.pid = p, .tid = t, .order = t, .name = plain(l, name)};
    }
    return i < LANES_MOST ? &l->lane[i] : NULL;
}

/* Names of threads and processes, and their order. */
static void take_metadata(struct lanes *l, const cJSON *event)
{
    const char *what = text_of(event, "name");
    const cJSON *args = cJSON_GetObjectItem(event, "args");
    struct lane *at = strncmp(what, "thread_", 7) == 0 ? lane_of(l, event) : NULL;

    if (at && strcmp(what, "thread_name") == 0) {
        at->name = plain(l, text_of(args, "name"));
    } else if (at && strcmp(what, "thread_sort_index") == 0) {
        at->order = number(args, "sort_index");
    }
}

static void name_processes(struct lanes *l, const cJSON *events)
{
    const cJSON *event;

    cJSON_ArrayForEach(event, events)
    {
        for (size_t i = 0; strcmp(text_of(event, "name"), "process_name") == 0 && i < l->n; i++) {
            if (l->lane[i].pid == whole(event, "pid")) {
                l->lane[i].process = plain(l, text_of(cJSON_GetObjectItem(event, "args"), "name"));
            }
        }
    }
}

/* "L12 3 experts, 6 pairs" -> "experts, pairs": what is the same kind of work has the same colour. */
static const char *kind_name(struct lanes *l, const char *name)
{
    char *kind = arena_strdup(l->arena, name), *to = kind;

    for (const char *from = name; kind && *from; from++) {
        bool number_of = strchr("LE", *from) && from[1] >= '0' && from[1] <= '9';

        if (!number_of && !(*from >= '0' && *from <= '9') && !(*from == ' ' && (to == kind || to[-1] == ' '))) {
            *to++ = *from;
        }
    }
    if (kind) {
        *to = '\0';
    }
    return kind;
}

static size_t kind_of(struct lanes *l, const char *name)
{
    const char *kind = kind_name(l, name);
    size_t i = 0;

    while (kind && i < l->n_kinds && strcmp(l->kind[i], kind) != 0) {
        i++;
    }
    if (i == l->n_kinds && i < LANES_KINDS) {
        l->kind[l->n_kinds] = l->n_kinds + 1 < LANES_KINDS ? kind : "other work";
        l->n_kinds++;
    }
    return i < LANES_KINDS ? i : LANES_KINDS - 1;
}

static int take_slice(struct lanes *l, const cJSON *event, struct err *e)
{
    double from = number(event, "ts") / 1e3, to = from + number(event, "dur") / 1e3;
    struct lane *at = lane_of(l, event);

    if (!at || !(to > l->from) || !(from < l->to)) {
        return 0;
    }
    if (l->n_boxes == LANES_BOXES) {
        return err_set(e, SIM_E_DATA, "%s: more than %d slices between %g and %g ms: choose less with --from and --for",
                       l->file, LANES_BOXES, l->from, l->to);
    }
    const char *name = plain(l, text_of(event, "name"));
    struct box *b = &l->box[l->n_boxes++];
    *b = (struct box){.from = fmax(from, l->from), .to = fmin(to, l->to), .name = name,
                      .lane = (size_t)(at - l->lane), .kind = at->boxes++ % 2};
    b->kind = lanes_on_gpu(l, b) ? kind_of(l, name) : b->kind;
    return 0;
}

/* The whole of it, in ms. */
static void span(const cJSON *events, double *from, double *to)
{
    const cJSON *event;

    *from = HUGE_VAL;
    *to = -HUGE_VAL;
    cJSON_ArrayForEach(event, events)
    {
        if (strcmp(text_of(event, "ph"), "X") == 0) {
            double ts = number(event, "ts") / 1e3, end = ts + number(event, "dur") / 1e3;

            *from = ts < *from ? ts : *from;
            *to = end > *to ? end : *to;
        }
    }
}

static int take_events(struct lanes *l, const cJSON *events, double from_s, double for_s, struct err *e)
{
    const cJSON *event;
    double from, to;
    int rc = 0;

    span(events, &from, &to);
    if (!(to > from) || !isfinite(to - from)) {
        return err_set(e, SIM_E_DATA, "%s: there is no slice in it", l->file);
    }
    l->from = isnan(from_s) ? from : from_s * 1e3;
    l->to = isnan(for_s) ? to : l->from + for_s * 1e3;
    if (for_s < LANES_SHORTEST_S) {
        return err_set(e, SIM_E_USAGE, "--for: a window of %g ns: %g are the least", for_s * 1e9, LANES_SHORTEST_S * 1e9);
    }
    cJSON_ArrayForEach(event, events)
    {
        const char *ph = text_of(event, "ph");

        if (strcmp(ph, "M") == 0) {
            take_metadata(l, event);
        } else if (strcmp(ph, "X") == 0 && (rc = take_slice(l, event, e)) < 0) {
            return rc;
        }
    }
    name_processes(l, events);
    return l->n_boxes > 0 ? 0
                          : err_set(e, SIM_E_DATA, "%s: nothing between %g and %g ms; its slices lie between %g and %g",
                                    l->file, l->from, l->to, from, to);
}

static int by_order(const void *x, const void *y)
{
    const struct lane *a = *(const struct lane *const *)x, *b = *(const struct lane *const *)y;

    return a->pid != b->pid ? (a->pid > b->pid) - (a->pid < b->pid)
                            : (a->order > b->order) - (a->order < b->order);
}

static void sort_lanes(struct lanes *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->lane[i].boxes > 0) {
            l->shown[l->rows++] = &l->lane[i];
        }
    }
    qsort(l->shown, l->rows, sizeof *l->shown, by_order);
}

int lanes_read(struct lanes *ret, const char *text, size_t len, const char *file, double from_s, double for_s,
               struct arena *a, struct err *e)
{
    cJSON *root = json_parse(text, len, file, e);
    const cJSON *events = cJSON_IsArray(root) ? root : cJSON_GetObjectItem(root, "traceEvents");
    int rc = root ? 0 : e->code;

    *ret = (struct lanes){.arena = a, .file = file, .box = arena_calloc(a, LANES_BOXES, sizeof *ret->box)};
    if (!ret->box) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory while plotting");
    } else if (root && !cJSON_IsArray(events)) {
        rc = err_set(e, SIM_E_DATA, "%s: no Chrome trace: there are no 'traceEvents'", file);
    }
    rc = rc < 0 ? rc : take_events(ret, events, from_s, for_s, e);
    cJSON_Delete(root);
    sort_lanes(ret);
    return rc;
}
