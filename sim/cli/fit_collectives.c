/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/fit_collectives.h"

#include <errno.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "calibrate/probe_file.h"
#include "sim/core/json.h"

#define POINTS_MIN 2

/* ---- reading ---- */

static struct measured_curve *add_curve(struct measured *m, const struct measured_curve *like, struct arena *ar)
{
    struct measured_curve *list = arena_calloc(ar, m->n + 1, sizeof(*list));

    if (!list) {
        return NULL;
    }
    if (m->n > 0) {
        memcpy(list, m->curve, m->n * sizeof(*list));
    }
    list[m->n] = (struct measured_curve){.op = like->op, .ranks = like->ranks, .nodes = like->nodes};
    m->curve = list;
    return &list[m->n++];
}

/* The points of `more` into the curve of the same operation, ranks and nodes. */
static int join(struct measured *m, const struct measured_curve *more, struct arena *ar, struct err *e)
{
    struct measured_curve *c = NULL;

    for (uint32_t i = 0; i < m->n && !c; i++) {
        bool same = m->curve[i].ranks == more->ranks && m->curve[i].nodes == more->nodes;
        c = same && strcmp(m->curve[i].op, more->op) == 0 ? &m->curve[i] : NULL;
    }
    c = c ? c : add_curve(m, more, ar);
    double *bytes = arena_calloc(ar, (size_t)(c ? c->n : 0) + more->n + 1, sizeof(double));
    double *us = arena_calloc(ar, (size_t)(c ? c->n : 0) + more->n + 1, sizeof(double));
    if (!c || !bytes || !us) {
        return err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    }
    for (uint32_t i = 0; i < c->n + more->n; i++) {
        bytes[i] = i < c->n ? c->bytes[i] : more->bytes[i - c->n];
        us[i] = i < c->n ? c->us[i] : more->us[i - c->n];
    }
    c->n += more->n;
    c->bytes = bytes;
    c->us = us;
    return 0;
}

static int read_probe(struct measured *m, const char *path, struct arena *ar, struct err *e)
{
    static const char *const ops[] = {"all_reduce", "all_gather", "all_to_all"};
    struct probe_file f;
    uint32_t before = m->n;

    if (probe_file_load(&f, path, ar, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < f.n && e->code == 0; i++) {
        const struct probe_point *p = &f.point[i];
        double bytes = strcmp(p->kind, "collective") == 0 ? probe_number(p, "bytes") : 0, us = 1e6 * p->s;
        struct measured_curve c = {.ranks = bytes > 0 ? (uint32_t)probe_number(p, "ranks") : 0, .nodes = 1, .n = 1,
                                   .bytes = &bytes, .us = &us};

        for (size_t k = 0; k < sizeof(ops) / sizeof(ops[0]) && c.ranks > 1 && us > 0; k++) {
            if (probe_says(p, "what", ops[k])) {
                c.op = ops[k];
                join(m, &c, ar, e);
            }
        }
    }
    probe_file_release(&f);
    return e->code < 0 ? e->code : m->n > before ? 0 : err_set(e, SIM_E_DATA, "%s: no collective was measured", path);
}

static int read_text(struct measured *m, const struct nccl_tests *said, const char *path, struct arena *ar, struct err *e)
{
    struct measured found = {0};
    size_t len = 0;
    char *text = json_read_file(path, &len, ar, e);

    if (!text || nccl_tests_parse(&found, said, text, len, path, ar, e) < 0) {
        return e->code;
    }
    for (uint32_t i = 0; i < found.n; i++) {
        if (join(m, &found.curve[i], ar, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- judging ---- */

int held_out(const struct measured_curve *c, struct held_out *ret, struct arena *ar, struct err *e)
{
    struct measured_curve thin;
    double *error = arena_calloc(ar, c->n + 1, sizeof(double));

    *ret = (struct held_out){.median = NAN, .worst = NAN};
    if (!error || measured_thin(&thin, c, ar, e) < 0) {
        return error ? e->code : err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    }
    for (uint32_t i = 1 - measured_first(c); i < c->n && thin.n >= POINTS_MIN; i += 2) {
        double off = fabs(measured_us(&thin, c->bytes[i]) / c->us[i] - 1);

        if (!(off <= ret->worst)) {
            ret->worst = off;
            ret->worst_bytes = c->bytes[i];
        }
        error[ret->n++] = off;
    }
    if (ret->n > 0) {
        gsl_sort(error, 1, ret->n);
        ret->median = gsl_stats_median_from_sorted_data(error, 1, ret->n);
    }
    return 0;
}

/* ---- writing ---- */

static void write_list(struct json_writer *w, const char *key, const double *v, uint32_t n)
{
    json_key(w, key);
    json_array(w);
    for (uint32_t i = 0; i < n; i++) {
        json_double(w, v[i]);
    }
    json_end(w);
}

static void write_curve(struct json_writer *w, const struct measured_curve *c)
{
    json_object(w);
    json_kv_string(w, "op", c->op);
    json_kv_int(w, "ranks", c->ranks);
    json_kv_int(w, "nodes", c->nodes);
    write_list(w, "bytes", c->bytes, c->n);
    write_list(w, "us", c->us, c->n);
    json_end(w);
}

static void write_file(FILE *out, const struct measured *m, const char *sources)
{
    struct json_writer w;
    uint32_t ranks = 2;

    json_begin(&w, out, true);
    json_object(&w);
    json_kv_string(&w, "_provenance", sources);
    for (uint32_t i = 0; i < m->n; i++) {
        ranks = m->curve[i].ranks > ranks ? m->curve[i].ranks : ranks;
    }
    json_kv_int(&w, "max_ranks", ranks);
    json_key(&w, "measured");
    json_array(&w);
    for (uint32_t i = 0; i < m->n; i++) {
        write_curve(&w, &m->curve[i]);
    }
    json_end(&w);
    json_end(&w);
    fputc('\n', out);
}

/* Written beside and moved over, so that a reader never sees half a file. */
static int save(const struct fit_collectives *q, const struct measured *m, struct arena *ar, struct err *e)
{
    const char *part = arena_printf(ar, "%s.part", q->output);
    const char *sources = "times as measured by";
    FILE *out;

    for (size_t i = 0; i < q->n_files && sources; i++) {
        sources = arena_printf(ar, "%s%s %s", sources, i ? "," : "", q->file[i]);
    }
    if (!part || !sources) {
        return err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    }
    if (!(out = fopen(part, "w"))) {
        return err_set(e, SIM_E_IO, "%s: cannot be written: %s", q->output, strerror(errno));
    }
    write_file(out, m, sources);
    bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad || rename(part, q->output) != 0) {
        unlink(part);
        return err_set(e, SIM_E_IO, "%s: cannot be written", q->output);
    }
    return 0;
}

/* ---- the report ---- */

static void print_text(const struct measured_curve *c, uint32_t lowered, const struct held_out *h)
{
    printf("%-16s %5u %5u %6u  %10.4g %10.4g ", c->op, c->ranks, c->nodes, c->n, c->bytes[0], c->bytes[c->n - 1]);
    if (h->n > 0) {
        printf(" %7.1f %% %7.1f %% at %.10g", 100 * h->median, 100 * h->worst, h->worst_bytes);
    } else {
        printf(" too few sizes to leave any out");
    }
    printf(lowered ? ", %u disturbed\n" : "\n", lowered);
}

static void print_json(struct json_writer *w, const struct measured_curve *c, uint32_t lowered, const struct held_out *h)
{
    json_object(w);
    json_kv_string(w, "op", c->op);
    json_kv_int(w, "ranks", c->ranks);
    json_kv_int(w, "nodes", c->nodes);
    json_kv_int(w, "sizes", c->n);
    json_kv_double(w, "from_bytes", c->bytes[0]);
    json_kv_double(w, "to_bytes", c->bytes[c->n - 1]);
    json_kv_int(w, "held_out", h->n);
    json_kv_double(w, "held_out_median", h->median);
    json_kv_double(w, "held_out_worst", h->worst);
    json_kv_double(w, "held_out_worst_bytes", h->n ? h->worst_bytes : (double)NAN);
    json_kv_int(w, "disturbed", lowered);
    json_end(w);
}

static int report(const struct fit_collectives *q, struct measured *m, struct arena *ar, struct err *e)
{
    struct json_writer w;

    json_begin(&w, stdout, true);
    if (q->json) {
        json_array(&w);
    } else {
        printf("every second size by a curve of the others\n%-16s %5s %5s %6s  %10s %10s  %9s %9s\n", "collective", "ranks", "nodes",
               "sizes", "from", "to bytes", "median", "worst");
    }
    for (uint32_t i = 0; i < m->n; i++) {
        struct held_out h;
        uint32_t lowered;

        measured_mend(&m->curve[i], &lowered);
        if (m->curve[i].n < POINTS_MIN) {
            return err_set(e, SIM_E_DATA, "%s of %u ranks: one size only; two are needed", m->curve[i].op, m->curve[i].ranks);
        }
        if (held_out(&m->curve[i], &h, ar, e) < 0) {
            return e->code;
        }
        if (q->json) {
            print_json(&w, &m->curve[i], lowered, &h);
        } else {
            print_text(&m->curve[i], lowered, &h);
        }
    }
    if (q->json) {
        json_end(&w);
        printf("\n");
    } else {
        printf("\nwritten to %s\n", q->output);
    }
    return 0;
}

int fit_collectives(const struct fit_collectives *q, struct arena *ar, struct err *e)
{
    struct measured m = {0};

    for (size_t i = 0; i < q->n_files; i++) {
        int rc = probe_file_is(q->file[i]) ? read_probe(&m, q->file[i], ar, e) : read_text(&m, &q->said, q->file[i], ar, e);

        if (rc < 0) {
            return rc;
        }
    }
    return report(q, &m, ar, e) < 0 ? e->code : save(q, &m, ar, e);
}
