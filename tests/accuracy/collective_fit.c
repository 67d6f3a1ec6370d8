/* SPDX-License-Identifier: Apache-2.0
 *
 * Fits the parameters of models/collectives/NAME.json to measurements and prints the file.
 * Usage: collective_fit NAME PROFILES > models/collectives/NAME.json
 *
 * Minimised is the mean of |log(predicted/measured)|, cut off at a factor of 1.5 so that outliers of the
 * measurements do not pull, by Nelder and Mead's simplex from several fixed beginnings. Only part of
 * the rows takes part: measured_was_fitted() says which. */
#include <gsl/gsl_multimin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json.h"
#include "tests/accuracy/collective_rows.h"

#define ALSO_WEIGHT 3.0 /* few rows, but the only ones of 6 GPUs and of gigabytes */

#define RAMP_BYTES  2e8 /* half of the ramp, from the differences of the scaling run */

enum { MAX_PARAMS = 24, RESTARTS = 20, LIMIT_RESTARTS = 2, STEPS = 6000, N_OF = 2 };

struct machine {
    const char *name, *full_name, *set, *note;
    const char *about;
    const char *also_set, *also_note; /* more rows, or NULL */
    bool nvls;
    bool shares;   /* bandwidth depends on the number of ranks: fit it at 2, 4 and 8 */
    double gb_per_s; /* where to begin */
    uint32_t max_ranks;
    double host_us;
};

static const struct machine machines[] = {
    {"nvlink3-a100", "A100 SXM, NVLink 3 with NVSwitch", "a100_sxm", "2.27.3", "NCCL 2.27.3 in CUDA graphs", NULL, NULL, false,
     false, 230, 8, 23},
    {"nvlink4-h100", "H100 and H200 SXM, NVLink 4 with NVSwitch", "h100_sxm", "2.27.3", "NCCL 2.27.3 in CUDA graphs",
     "4xH100 eager", "scaling run", true, false, 370, 8, 23},
    {"nvlink5-b200", "B200 SXM, NVLink 5 with NVSwitch", "b200_sxm", "2.27.3", "NCCL 2.27.3 in CUDA graphs", NULL, NULL, true,
     false, 700, 8, 23},
    {"pcie4-l40s", "L40S, PCIe 4.0 across sockets", "l40s", "2.27.3", "NCCL 2.27.3 in CUDA graphs", NULL, NULL, false, true, 20,
     8, 23},
    {"pcie5-rtx-pro-6000", "RTX PRO 6000 server edition, PCIe 5.0", "rtx_pro_6000_server", "2.29.2",
     "NCCL 2.29.2 in CUDA graphs", NULL, NULL, false, true, 40, 8, 23},
    {"h100-tcpx-2x8", "2 nodes of 8 x H100, GPUDirect-TCPX", "2x8 H100", "", "nccl-tests, out of place", NULL, NULL, false, false,
     340, 16, 0},
};

struct problem {
    const struct machine *m;
    const struct measured_rows *rows;
    enum collective_op op;
    struct collective_model model;
    double max_bytes, max_growth; /* of LL128, tried one after the other */
};

/* ---- parameters: logarithms, unpacked in one order ---- */

static void put_cost(struct collective_cost *k, const gsl_vector *x, size_t *i, bool hop, bool copy)
{
    k->base_us = exp(gsl_vector_get(x, (*i)++));
    k->hop_us = hop ? exp(gsl_vector_get(x, (*i)++)) : 0;
    k->gb_per_s = exp(gsl_vector_get(x, (*i)++));
    k->copy_gb_per_s = copy ? exp(gsl_vector_get(x, (*i)++)) : 0;
    k->ramp_us = copy ? exp(gsl_vector_get(x, (*i)++)) : 0;
    k->ramp_bytes = RAMP_BYTES;
}

static void unpack(struct problem *p, const gsl_vector *x)
{
    struct collective_table *t = &p->model.op[p->op];
    size_t i = 0;
    *t = (struct collective_table){.known = true};
    t->overlap = fmin(1 + exp(gsl_vector_get(x, i++)), 16);
    put_cost(&t->proto[COLLECTIVE_LL], x, &i, true, false);
    put_cost(&t->proto[COLLECTIVE_LL128], x, &i, true, false);
    t->proto[COLLECTIVE_LL128].max_bytes = t->proto[COLLECTIVE_LL].max_bytes = p->max_bytes;
    t->proto[COLLECTIVE_LL128].max_growth = t->proto[COLLECTIVE_LL].max_growth = p->max_growth;
    put_cost(&t->proto[COLLECTIVE_SIMPLE], x, &i, true, true);
    if (p->m->nvls && p->op == COLLECTIVE_ALL_REDUCE) {
        put_cost(&t->nvls, x, &i, false, true);
    }
    if (p->m->shares) {
        static const double ranks[] = {2, 4, 8};
        t->n_shares = 3;
        for (int k = 0; k < 3; k++) {
            t->shares[k].ranks = ranks[k];
            t->shares[k].share = k ? exp(gsl_vector_get(x, i++)) : 1;
        }
    }
}

static size_t begin(const struct problem *p, gsl_vector *x)
{
    double b = p->m->gb_per_s;
    double far = p->m->max_ranks > 8 ? 60 : 0;
    double first[MAX_PARAMS] = {log(1), log(5 + far), log(0.8), log(b / 6), log(8 + far), log(0.9),
                                log(b / 2), log(15 + far), log(1), log(b), log(3 * b), log(30)};
    size_t n = 12;
    if (p->m->nvls && p->op == COLLECTIVE_ALL_REDUCE) {
        first[n++] = log(25);
        first[n++] = log(b * 0.8);
        first[n++] = log(b);
        first[n++] = log(50);
    }
    if (p->m->shares) {
        first[n++] = log(0.5);
        first[n++] = log(0.3);
    }
    for (size_t i = 0; x && i < n; i++) {
        gsl_vector_set(x, i, first[i]);
    }
    return n;
}

static bool is_row_of(const struct problem *p, const struct measured_row *row)
{
    return row->call.op == p->op &&
           (measured_was_fitted(row, p->m->set, p->m->note) ||
            (p->m->also_set && measured_was_fitted(row, p->m->also_set, p->m->also_note)));
}

static double loss(const gsl_vector *x, void *ctx)
{
    struct problem *p = ctx;
    double sum = 0;
    size_t n = 0;
    unpack(p, x);
    for (size_t i = 0; i < p->rows->n; i++) {
        const struct measured_row *row = &p->rows->row[i];
        struct collective_choice c;
        if (is_row_of(p, row)) {
            collective_time(&p->model, &row->call, &c, NULL);
            double weight = strcmp(row->set, p->m->set) == 0 ? 1 : ALSO_WEIGHT;
            sum += weight * fmin(fabs(log(c.us / row->us)), log(1.5));
            n++;
        }
    }
    double wild = 0; /* keeps idle parameters from running away */
    for (size_t i = 0; i < x->size; i++) {
        wild += fabs(gsl_vector_get(x, i)) > 9 ? 1 : 0;
    }
    return n ? sum / (double)n + wild : 0;
}

/* ---- the search ---- */

static double once(struct problem *p, gsl_vector *x, double step)
{
    gsl_multimin_fminimizer *s = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, x->size);
    gsl_multimin_function f = {.f = loss, .n = x->size, .params = p};
    gsl_vector *size = gsl_vector_alloc(x->size);
    gsl_vector_set_all(size, step);
    gsl_multimin_fminimizer_set(s, &f, x, size);
    for (int i = 0; i < STEPS && gsl_multimin_fminimizer_iterate(s) == 0 &&
                    gsl_multimin_fminimizer_size(s) > 1e-5; i++) {
    }
    gsl_vector_memcpy(x, s->x);
    double best = s->fval;
    gsl_multimin_fminimizer_free(s);
    gsl_vector_free(size);
    return best;
}

/* A protocol that is the fastest on no row has parameters that mean nothing: leave it out. */
static void drop_idle(struct problem *p)
{
    struct collective_table *t = &p->model.op[p->op];
    bool used[COLLECTIVE_PROTOS] = {false};
    bool nvls = false;
    for (size_t i = 0; i < p->rows->n; i++) {
        struct collective_choice c;
        if (is_row_of(p, &p->rows->row[i])) {
            collective_time(&p->model, &p->rows->row[i].call, &c, NULL);
            used[c.proto] = used[c.proto] || c.algo != COLLECTIVE_NVLS;
            nvls = nvls || c.algo == COLLECTIVE_NVLS;
        }
    }
    for (int k = 0; k < COLLECTIVE_SIMPLE; k++) {
        t->proto[k] = used[k] ? t->proto[k] : (struct collective_cost){0};
    }
    t->nvls = nvls ? t->nvls : (struct collective_cost){0};
}

static size_t fitted_rows(const struct problem *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->rows->n; i++) {
        n += is_row_of(p, &p->rows->row[i]);
    }
    return n;
}

/* Betters `best` (of loss `least`) from random beginnings around it. */
static double wander(struct problem *p, gsl_vector *best, double least, int restarts, uint64_t seed)
{
    gsl_vector *x = gsl_vector_alloc(best->size);
    for (int r = 0; r < restarts; r++) {
        gsl_vector_memcpy(x, best);
        for (size_t i = 0; i < x->size && r > 0; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            double u = (double)(seed >> 11) / (double)(1ull << 53) - 0.5;
            gsl_vector_set(x, i, gsl_vector_get(x, i) + u * (r % 4 == 0 ? 1.5 : 0.5));
        }
        once(p, x, 0.3);
        double got = once(p, x, 0.1);
        if (got < least) {
            least = got;
            gsl_vector_memcpy(best, x);
        }
    }
    gsl_vector_free(x);
    return least;
}

/* Steps of a limit have no slope for the simplex: they are tried one by one, the best is refined. */
static double fit(struct problem *p)
{
    static const double growths[] = {0, 0.5, 1};
    gsl_vector *best = gsl_vector_alloc(begin(p, NULL));
    gsl_vector *x = gsl_vector_alloc(best->size);
    begin(p, best);
    double least = wander(p, best, loss(best, p), RESTARTS, 1);
    double max_bytes = 0;
    double max_growth = 0;
    gsl_vector *from = gsl_vector_alloc(best->size);
    gsl_vector_memcpy(from, best);
    bool few = fitted_rows(p) < 30; /* a limit more would only fit their noise */
    for (int k = 19; k <= 22 && !few; k++) {
        for (int g = 0; g < 3; g++) {
            p->max_bytes = 1.5 * (1 << k);
            p->max_growth = growths[g];
            gsl_vector_memcpy(x, from);
            double got = wander(p, x, loss(x, p), LIMIT_RESTARTS, 7);
            if (got < least - 1e-4) {
                least = got;
                max_bytes = p->max_bytes;
                max_growth = p->max_growth;
                gsl_vector_memcpy(best, x);
            }
        }
    }
    p->max_bytes = max_bytes;
    p->max_growth = max_growth;
    least = wander(p, best, least, RESTARTS / 2, 3);
    unpack(p, best);
    drop_idle(p);
    gsl_vector_free(best);
    gsl_vector_free(from);
    gsl_vector_free(x);
    return least;
}

/* ---- the file ---- */

static double rounded(double v)
{
    double scale = v > 0 ? pow(10, 3 - floor(log10(v))) : 1;
    return round(v * scale) / scale;
}

static void write_cost(struct json_writer *w, const char *key, const struct collective_cost *k)
{
    if (k->gb_per_s <= 0) {
        return;
    }
    json_key(w, key);
    json_object(w);
    json_kv_double(w, "base_us", rounded(k->base_us));
    json_kv_double(w, "hop_us", rounded(k->hop_us));
    json_kv_double(w, "gb_per_s", rounded(k->gb_per_s));
    if (k->copy_gb_per_s > 0) {
        json_kv_double(w, "copy_gb_per_s", rounded(k->copy_gb_per_s));
    }
    if (k->ramp_us > 0) {
        json_kv_double(w, "ramp_us", rounded(k->ramp_us));
        json_kv_double(w, "ramp_bytes", k->ramp_bytes);
    }
    if (k->max_bytes > 0) {
        json_kv_double(w, "max_bytes", k->max_bytes);
        json_kv_double(w, "max_growth", k->max_growth);
    }
    json_end(w);
}

static void write_op(struct json_writer *w, const struct problem *p, double error)
{
    const struct collective_table *t = &p->model.op[p->op];
    char text[100];
    json_key(w, collective_op_name(p->op));
    json_object(w);
    snprintf(text, sizeof text, "mean |log error| on the fitted rows %.3f", error);
    json_kv_string(w, "_fit", text);
    json_kv_double(w, "overlap", rounded(t->overlap));
    for (int k = 0; k < COLLECTIVE_PROTOS; k++) {
        write_cost(w, collective_proto_name((enum collective_proto)k), &t->proto[k]);
    }
    write_cost(w, "nvls", &t->nvls);
    if (t->n_shares) {
        json_key(w, "rank_share");
        json_object(w);
        for (uint32_t k = 0; k < t->n_shares; k++) {
            snprintf(text, sizeof text, "%g", t->shares[k].ranks);
            json_kv_double(w, text, rounded(t->shares[k].share));
        }
        json_end(w);
    }
    json_end(w);
}

static void write_machine(const struct machine *m, const struct measured_rows *rows)
{
    struct json_writer w;
    char text[500];
    json_begin(&w, stdout, true);
    json_object(&w);
    snprintf(text, sizeof text,
             "Fitted by collective_fit %s to the rows '%s' (%s)%s%s of ../shared/data/profiles with sizes of "
             "2^even bytes; all other rows are held out", m->name, m->set, m->about,
             m->also_set ? " and " : "", m->also_set ? "the scaling run of 4xH100 eager" : "");
    json_kv_string(&w, "_provenance", text);
    json_kv_string(&w, "full_name", m->full_name);
    json_kv_double(&w, "host_us", m->host_us);
    json_kv_int(&w, "max_ranks", m->max_ranks);
    for (int op = 0; op < COLLECTIVE_OPS; op++) {
        struct problem p = {.m = m, .rows = rows, .op = (enum collective_op)op};
        p.model.tree_share = 0.7;
        if (fitted_rows(&p) > 0) {
            double error = fit(&p);
            fprintf(stderr, "%s %s: %zu rows, %.4f\n", m->name, collective_op_name(p.op), fitted_rows(&p), error);
            write_op(&w, &p, error);
        }
    }
    json_end(&w);
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct measured_rows rows;
    if (argc != 1 + N_OF) {
        fprintf(stderr, "usage: collective_fit NAME PROFILES\n");
        return 2;
    }
    measured_read(&rows, argv[2]);
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        if (strcmp(machines[i].name, argv[1]) == 0 && rows.n > 0) {
            write_machine(&machines[i], &rows);
            measured_free(&rows);
            return 0;
        }
    }
    fprintf(stderr, "collective_fit: no machine '%s', or no measurements in %s\n", argv[1], argv[2]);
    return 2;
}
