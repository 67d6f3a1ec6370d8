/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/store.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calibrate/probe/args.h"

int probe_store_init(struct store *s, const struct case_list *list, struct err *e)
{
    *s = (struct store){.list = list, .entries = calloc(list->n + 1, sizeof(*s->entries))};
    if (!s->entries) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the results");
    }
    for (size_t i = 0; i < list->n; i++) {
        s->entries[i].c = &list->cases[i];
    }
    return 0;
}

void probe_store_release(struct store *s)
{
    free(s->entries);
    json_out_release(&s->head);
    json_in_release(&s->old);
}

void store_put(struct store *s, size_t i, enum outcome outcome, const struct measurement *m)
{
    s->entries[i].known = true;
    s->entries[i].outcome = outcome;
    s->entries[i].m = *m;
    s->entries[i].median_s = m->n > 0 ? stats_of(m->sample_s, (size_t)m->n).median : 0;
}

/* ---- limits ---- */

static bool measured(const struct store_entry *e)
{
    return e->known && e->outcome == OUTCOME_MEASURED && e->m.n > 0;
}

static void raise_to(double *best, double v)
{
    *best = isnan(*best) || v > *best ? v : *best;
}

/* Products of any size count towards the rate of their type: the ceiling is the best that was seen. */
struct store_limits store_limits(const struct store *s)
{
    struct store_limits l = {(double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    const struct {
        const char *name;
        double *rate;
    } types[] = {{"bf16", &l.bf16}, {"fp16", &l.fp16}, {"fp8", &l.fp8}}, ways[] = {{"read", &l.read}, {"copy", &l.copy}};

    for (size_t i = 0; i < s->list->n; i++) {
        const struct store_entry *e = &s->entries[i];
        bool limit = strcmp(e->c->kind, "limit") == 0, product = strcmp(e->c->kind, "gemm") == 0;

        for (size_t t = 0; measured(e) && (limit || product) && t < 3; t++) {
            if (strcmp(case_word(e->c, "dtype"), types[t].name) == 0) {
                raise_to(types[t].rate, e->m.flop / e->median_s);
            }
        }
        for (size_t w = 0; measured(e) && limit && w < 2; w++) {
            if (strcmp(case_word(e->c, "what"), ways[w].name) == 0) {
                raise_to(ways[w].rate, e->m.byte / e->median_s);
            }
        }
    }
    return l;
}

double store_share(const struct store_limits *l, const struct store_entry *e)
{
    /* Over PCIe, between GPUs and from the host's side the device's limits say nothing. */
    static const char *const others[] = {"launch", "pcie", "blocks", "expert_load", "peer", "collective",
                                         "share", "beside"};
    const char *dtype = case_word(e->c, "dtype");
    double rate = strcmp(dtype, "fp8") == 0 ? l->fp8 : strcmp(dtype, "fp16") == 0 ? l->fp16 : l->bf16;

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (strcmp(e->c->kind, others[i]) == 0) {
            return (double)NAN;
        }
    }
    return fmax(e->m.flop > 0 ? e->m.flop / rate / e->median_s : (double)NAN,
                e->m.byte > 0 ? e->m.byte / l->read / e->median_s : (double)NAN);
}

/* ---- writing ---- */

static void write_params(struct json_out *o, const struct probe_case *c)
{
    json_out_open(o, "params", '{');
    for (int i = 0; i < c->n_params; i++) {
        if (c->params[i].word) {
            json_out_string(o, c->params[i].name, c->params[i].word);
        } else {
            json_out_int(o, c->params[i].name, c->params[i].number);
        }
    }
    json_out_close(o, '}');
}

static void write_times(struct json_out *o, const struct measurement *m)
{
    struct stats t = stats_of(m->sample_s, (size_t)m->n);

    json_out_open(o, "time_s", '{');
    json_out_int(o, "n", m->n);
    json_out_number(o, "min", t.min);
    json_out_number(o, "p25", t.p25);
    json_out_number(o, "median", t.median);
    json_out_number(o, "p75", t.p75);
    json_out_number(o, "max", t.max);
    json_out_close(o, '}');
    json_out_open(o, "samples_s", '[');
    for (int i = 0; i < m->n; i++) {
        json_out_number(o, NULL, m->sample_s[i]);
    }
    json_out_close(o, ']');
}

static void write_if(struct json_out *o, const char *key, double v)
{
    if (v > 0) {
        if (v == floor(v) && v < 9e15) {
            json_out_int(o, key, (int64_t)v);
        } else {
            json_out_number(o, key, v);
        }
    }
}

static void write_measured(struct json_out *o, const struct store_limits *l, const struct store_entry *e)
{
    const struct measurement *m = &e->m;
    double share = store_share(l, e);

    json_out_newline(o);
    json_out_open(o, NULL, '{');
    json_out_string(o, "id", e->c->id);
    json_out_string(o, "kind", e->c->kind);
    write_params(o, e->c);
    write_times(o, m);
    write_if(o, "calls", m->calls);
    write_if(o, "sets", m->sets);
    write_if(o, "flop", m->flop);
    write_if(o, "byte", m->byte);
    if (isfinite(share)) {
        json_out_number(o, "share", share);
    }
    if (m->checked) {
        json_out_number(o, "rel_error", m->rel_error);
    }
    write_if(o, "slowdown", m->slowdown);
    write_if(o, "host_s", m->host_s);
    write_if(o, "active", m->active);
    write_if(o, "sms", m->sms);
    if (m->kernel) {
        json_out_string(o, "kernel", m->kernel);
    }
    write_if(o, "sm_mhz", m->sm_mhz);
    write_if(o, "power_w", m->power_w);
    write_if(o, "temp_c", m->temp_c);
    json_out_close(o, '}');
}

static void write_others(struct json_out *o, const struct store *s, const char *key, enum outcome outcome)
{
    json_out_newline(o);
    json_out_open(o, key, '[');
    for (size_t i = 0; i < s->list->n; i++) {
        const struct store_entry *e = &s->entries[i];

        if (e->known && e->outcome == outcome) {
            json_out_newline(o);
            json_out_open(o, NULL, '{');
            json_out_string(o, "id", e->c->id);
            json_out_string(o, "why", e->m.why);
            json_out_close(o, '}');
        }
    }
    json_out_close(o, ']');
}

static void write_limits(struct json_out *o, const struct store_limits *l)
{
    json_out_newline(o);
    json_out_open(o, "limits", '{');
    json_out_number(o, "bf16_flop_per_s", l->bf16);
    json_out_number(o, "fp16_flop_per_s", l->fp16);
    json_out_number(o, "fp8_flop_per_s", l->fp8);
    json_out_number(o, "read_byte_per_s", l->read);
    json_out_number(o, "copy_byte_per_s", l->copy);
    json_out_close(o, '}');
}

static void write_head(struct json_out *o, const struct store *s, bool complete, const char *updated)
{
    json_out_string(o, "format", "steelyard-probe");
    json_out_int(o, "version", 1);
    json_out_bool(o, "complete", complete);
    json_out_string(o, "mode", s->mode);
    json_out_string(o, "started", s->started);
    json_out_string(o, "updated", updated);
    json_out_string(o, "program", PROBE_VERSION);
    json_out_open(o, "command", '[');
    for (int i = 0; i < s->argc; i++) {
        json_out_string(o, NULL, s->argv[i]);
    }
    json_out_close(o, ']');
}

/* The members that the caller prepared, as they are. */
static void write_prepared(struct json_out *o, const struct json_out *head)
{
    struct json_in_doc d;
    struct err e = {0};

    if (!head->text || head->failed || json_in_parse(&d, head->text, head->n, "device", 1, &e) < 0) {
        return;
    }
    for (const struct json_in *v = d.root->first; v; v = v->next) {
        json_out_newline(o);
        json_out_value(o, v->key, v);
    }
    json_in_release(&d);
}

void store_write(const struct store *s, bool complete, const char *updated, struct json_out *ret)
{
    struct store_limits l = store_limits(s);

    json_out_open(ret, NULL, '{');
    write_head(ret, s, complete, updated);
    write_prepared(ret, &s->head);
    write_limits(ret, &l);
    json_out_newline(ret);
    json_out_open(ret, "measurements", '[');
    for (size_t i = 0; i < s->list->n; i++) {
        if (measured(&s->entries[i])) {
            write_measured(ret, &l, &s->entries[i]);
        }
    }
    json_out_close(ret, ']');
    write_others(ret, s, "skipped", OUTCOME_SKIPPED);
    write_others(ret, s, "wrong", OUTCOME_WRONG);
    json_out_close(ret, '}');
    ret->comma = false;
    json_out_newline(ret);
}

/* ---- reading back ---- */

static struct store_entry *find(struct store *s, const char *id)
{
    for (size_t i = 0; i < s->list->n; i++) {
        if (strcmp(s->list->cases[i].id, id) == 0) {
            return &s->entries[i];
        }
    }
    return NULL;
}

static int take_samples(struct measurement *m, const struct json_in *list, const char *id, const char *name,
                        struct err *e)
{
    if (!list || list->type != JSON_IN_ARRAY || list->n < 1 || list->n > MAX_SAMPLES) {
        return err_set(e, SIM_E_DATA, "%s: '%s' has no samples_s of 1 to %d numbers", name, id, MAX_SAMPLES);
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        if (v->type != JSON_IN_NUMBER || !(v->number > 0)) {
            return err_set(e, SIM_E_DATA, "%s: '%s' has a sample that is no time", name, id);
        }
        m->sample_s[m->n++] = v->number;
    }
    return 0;
}

static unsigned take_count(const struct json_in *v, const char *key)
{
    int64_t n = 0;

    return json_in_int(json_in_get(v, key), 0, 1 << 30, &n) ? (unsigned)n : 0;
}

static int take_entry(struct store *s, const struct json_in *v, const char *name, struct err *e)
{
    const char *id = json_in_string(json_in_get(v, "id"), NULL);
    const struct json_in *error = json_in_get(v, "rel_error");
    struct measurement m = {0};
    struct store_entry *to = id ? find(s, id) : NULL;

    if (!id) {
        return err_set(e, SIM_E_DATA, "%s: a measurement has no id", name);
    }
    if (!to) {
        return 0; /* another selection of cases: not of this run */
    }
    if (take_samples(&m, json_in_get(v, "samples_s"), id, name, e) < 0) {
        return e->code;
    }
    m.calls = (int)take_count(v, "calls");
    m.sets = (int)take_count(v, "sets");
    m.active = (int)take_count(v, "active");
    m.sms = (int)take_count(v, "sms");
    m.sm_mhz = take_count(v, "sm_mhz");
    m.power_w = take_count(v, "power_w");
    m.temp_c = take_count(v, "temp_c");
    m.flop = json_in_number(json_in_get(v, "flop"), 0);
    m.byte = json_in_number(json_in_get(v, "byte"), 0);
    m.slowdown = json_in_number(json_in_get(v, "slowdown"), 0);
    m.host_s = json_in_number(json_in_get(v, "host_s"), 0);
    m.kernel = json_in_string(json_in_get(v, "kernel"), NULL);
    m.checked = error != NULL;
    m.rel_error = json_in_number(error, 0);
    store_put(s, (size_t)(to - s->entries), OUTCOME_MEASURED, &m);
    return 0;
}

static int check_kin(const struct store *s, const struct json_in *root, const char *name, const char *uuid,
                     struct err *e)
{
    const char *format = json_in_string(json_in_get(root, "format"), "");
    const char *mode = json_in_string(json_in_get(root, "mode"), "");
    const char *device = json_in_string(json_in_get(json_in_get(root, "device"), "uuid"), "");
    int64_t version = 0;

    json_in_int(json_in_get(root, "version"), 0, 1000, &version);
    if (strcmp(format, "steelyard-probe") != 0 || version != 1) {
        return err_set(e, SIM_E_DATA, "%s: no file of measurements of version 1", name);
    }
    if (strcmp(mode, s->mode) != 0) {
        return err_set(e, SIM_E_DATA, "%s: was measured in mode '%s', not '%s'", name, mode, s->mode);
    }
    if (strcmp(device, uuid) != 0) {
        return err_set(e, SIM_E_DATA, "%s: is of another device (%s, not %s)", name, device, uuid);
    }
    return 0;
}

int store_parse(struct store *s, const char *text, size_t len, const char *name, const char *uuid,
                struct err *e)
{
    const struct json_in *list;

    json_in_release(&s->old);
    if (json_in_parse(&s->old, text, len, name, 1, e) < 0 ||
        check_kin(s, s->old.root, name, uuid, e) < 0) {
        return e->code;
    }
    list = json_in_get(s->old.root, "measurements");
    if (!list || list->type != JSON_IN_ARRAY) {
        return err_set(e, SIM_E_DATA, "%s: has no measurements", name);
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        if (take_entry(s, v, name, e) < 0) {
            return e->code;
        }
    }
    s->started = json_in_string(json_in_get(s->old.root, "started"), s->started);
    return 0;
}

int store_continue(struct store *s, const char *path, const char *uuid, struct err *e)
{
    size_t len;
    char *text;
    int rc;

    if (access(path, F_OK) < 0 && errno == ENOENT) {
        return 0;
    }
    text = file_read(path, (size_t)256 << 20, &len, e);
    if (!text) {
        return e->code;
    }
    rc = store_parse(s, text, len, path, uuid, e);
    free(text);
    return rc;
}
