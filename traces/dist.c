/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/dist.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/opt.h"
#include "traces/csv.h"
#include "traces/input.h"

#define LEN_MAX  ((double)(1 << 30))
#define ZIPF_MAX (1u << 22)
#define MIX_MAX  16
#define DEPTH_MAX 4

enum dist_kind { DIST_UNIFORM, DIST_LOGNORMAL, DIST_TABLE, DIST_QUANTILES, DIST_MIX };

struct dist {
    enum dist_kind kind;
    double lo, hi;    /* uniform: the range; else the clip */
    double mu, sigma; /* log-normal */
    /* table: x sorted, p its distribution function (zipf) or NULL (equal weights);
     * quantiles: p the levels */
    size_t n;
    double *x, *p;
    double tail; /* quantiles: lengths of the last step rise with this power */
    const struct dist *part[MIX_MAX];
};

/* What stands between the parentheses: "k=v" pairs and plain items. */
struct args {
    struct arena *a;
    const char *what, *text; /* for messages */
    const char *item[64];
    bool used[64];
    size_t n;
    int depth;
};

static int bad(const struct args *g, struct err *e, const char *why)
{
    return err_set(e, SIM_E_CONFIG, "%s lengths '%.200s': %s", g->what, g->text, why);
}

static char *copy_trimmed(struct arena *a, const char *s, size_t n)
{
    while (n > 0 && (*s == ' ' || *s == '\t')) {
        s++;
        n--;
    }
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t')) {
        n--;
    }
    return arena_strndup(a, s, n);
}

/* Length up to the next comma outside of parentheses. */
static size_t item_length(const char *s, size_t n)
{
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        depth += (s[i] == '(') - (s[i] == ')');
        if (s[i] == ',' && depth == 0) {
            return i;
        }
    }
    return n;
}

static int split_args(struct args *g, const char *s, size_t n, struct err *e)
{
    while (n > 0) {
        size_t len = item_length(s, n);
        if (g->n == 64) {
            return bad(g, e, "more than 64 items");
        }
        g->item[g->n] = copy_trimmed(g->a, s, len);
        if (!g->item[g->n++]) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        len += len < n;
        s += len;
        n -= len;
    }
    return 0;
}

/* Text of key "name", or NULL. */
static const char *arg_text(struct args *g, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < g->n; i++) {
        if (strncmp(g->item[i], name, n) == 0 && g->item[i][n] == '=') {
            g->used[i] = true;
            return g->item[i] + n + 1;
        }
    }
    return NULL;
}

static int arg_number(struct args *g, const char *name, double lo, double hi, double *ret,
                      struct err *e)
{
    const char *text = arg_text(g, name);
    double v;
    if (!text) {
        return 0;
    }
    if (!text_to_double(text, &v) || v < lo || v > hi) {
        return err_set(e, SIM_E_CONFIG, "%s lengths: %s=%.40s is not a number in %g..%g", g->what, name,
                       text, lo, hi);
    }
    *ret = v;
    return 1;
}

static int all_used(struct args *g, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        if (!g->used[i]) {
            return err_set(e, SIM_E_CONFIG, "%s lengths: '%.60s' does not belong in '%.100s'", g->what,
                           g->item[i], g->text);
        }
    }
    return 0;
}

static int read_clip(struct args *g, struct dist *d, struct err *e)
{
    int rc = arg_number(g, "min", 1, LEN_MAX, &d->lo, e);
    rc = rc < 0 ? rc : arg_number(g, "max", 1, LEN_MAX, &d->hi, e);
    if (rc >= 0 && d->lo > d->hi) {
        return bad(g, e, "min is above max");
    }
    return rc < 0 ? rc : 0;
}

static int parse_lognormal(struct args *g, struct dist *d, struct err *e)
{
    double median = 0, mean = 0;
    d->kind = DIST_LOGNORMAL;
    int m = arg_number(g, "median", 1e-6, LEN_MAX, &median, e);
    int a = m < 0 ? m : arg_number(g, "mean", 1e-6, LEN_MAX, &mean, e);
    int u = a < 0 ? a : arg_number(g, "mu", -30, 30, &d->mu, e);
    int s = u < 0 ? u : arg_number(g, "sigma", 0, 20, &d->sigma, e);
    if (s < 0) {
        return s;
    }
    bool by_mean = m == 1 && a == 1 && u == 0 && s == 0;
    if (!by_mean && !(m == 0 && a == 0 && u == 1 && s == 1)) {
        return bad(g, e, "lognormal takes median= and mean=, or mu= and sigma=");
    }
    if (by_mean && mean < median) {
        return bad(g, e, "the mean of a log-normal is above its median");
    }
    if (by_mean) {
        d->mu = log(median);
        d->sigma = sqrt(2 * log(mean / median));
    }
    return read_clip(g, d, e);
}

/* Smallest max whose mean H(max, theta-1) / H(max, theta) reaches `mean`; 0 when none does. */
static size_t zipf_max(double theta, double mean)
{
    double weights = 0, sum = 0;
    for (size_t k = 1; k <= ZIPF_MAX; k++) {
        double w = pow((double)k, -theta);
        weights += w;
        sum += w * (double)k;
        if (sum >= mean * weights) {
            return k;
        }
    }
    return 0;
}

static int zipf_table(struct args *g, struct dist *d, double theta, struct err *e)
{
    double total = 0;
    d->x = arena_calloc(g->a, d->n, sizeof(double));
    d->p = arena_calloc(g->a, d->n, sizeof(double));
    if (!d->x || !d->p) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t k = 0; k < d->n; k++) {
        total += pow((double)(k + 1), -theta);
        d->x[k] = (double)(k + 1);
        d->p[k] = total;
    }
    for (size_t k = 0; k < d->n; k++) {
        d->p[k] /= total;
    }
    return 0;
}

static int parse_zipf(struct args *g, struct dist *d, struct err *e)
{
    double theta = 0, max = 0, mean = 0;
    d->kind = DIST_TABLE;
    int t = arg_number(g, "theta", 0, 20, &theta, e);
    int m = t < 0 ? t : arg_number(g, "max", 1, ZIPF_MAX, &max, e);
    int a = m < 0 ? m : arg_number(g, "mean", 1, ZIPF_MAX, &mean, e);
    if (a < 0) {
        return a;
    }
    if (t == 0 || m == a) {
        return bad(g, e, "zipf takes theta= and one of max= and mean=");
    }
    d->n = m ? (size_t)max : zipf_max(theta, mean);
    if (d->n == 0) {
        return bad(g, e, "no maximum up to 4194304 gives this mean");
    }
    return zipf_table(g, d, theta, e);
}

/* "p:v" */
static int read_pair(struct args *g, size_t i, double *p, const char **ret_v, struct err *e)
{
    const char *colon = strchr(g->item[i], ':');
    const char *left = colon ? copy_trimmed(g->a, g->item[i], (size_t)(colon - g->item[i])) : NULL;
    if (!left || !text_to_double(left, p)) {
        return err_set(e, SIM_E_CONFIG, "%s lengths: '%.60s' is not NUMBER:VALUE", g->what, g->item[i]);
    }
    g->used[i] = true;
    *ret_v = colon + 1;
    return 0;
}

static int alloc_table(struct args *g, struct dist *d, size_t n, struct err *e)
{
    d->n = n;
    d->x = arena_calloc(g->a, n, sizeof(double));
    d->p = arena_calloc(g->a, n, sizeof(double));
    return d->x && d->p ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int parse_quantiles(struct args *g, struct dist *d, struct err *e)
{
    const char *v = NULL;
    d->kind = DIST_QUANTILES;
    int rc = alloc_table(g, d, g->n ? g->n : 1, e);
    for (size_t i = 0; rc == 0 && i < g->n; i++) {
        rc = read_pair(g, i, &d->p[i], &v, e);
        if (rc == 0 && (!text_to_double(v, &d->x[i]) || d->x[i] < 0 || d->x[i] > LEN_MAX)) {
            return bad(g, e, "a length is not a number in 0..2^30");
        }
        if (rc == 0 && i > 0 && (d->p[i] <= d->p[i - 1] || d->x[i] < d->x[i - 1])) {
            return bad(g, e, "quantiles must rise");
        }
    }
    if (rc == 0 && (g->n < 2 || d->p[0] != 0 || d->p[g->n - 1] != 1)) {
        return bad(g, e, "quantiles go from level 0 to level 1");
    }
    return rc;
}

static int parse_at(struct dist **ret, const char *text, const char *what, int depth, struct arena *a,
                    struct err *e);

static int parse_mix(struct args *g, struct dist *d, struct err *e)
{
    double total = 0;
    d->kind = DIST_MIX;
    if (g->n == 0 || g->n > MIX_MAX) {
        return bad(g, e, "mix takes 1 to 16 parts WEIGHT:LENGTHS");
    }
    int rc = alloc_table(g, d, g->n, e);
    for (size_t i = 0; rc == 0 && i < g->n; i++) {
        const char *v = NULL;
        struct dist *part = NULL;
        rc = read_pair(g, i, &d->p[i], &v, e);
        if (rc == 0 && !(d->p[i] > 0)) {
            return bad(g, e, "weights are above 0");
        }
        if (rc == 0) {
            rc = parse_at(&part, v, g->what, g->depth + 1, g->a, e);
        }
        total += d->p[i];
        d->part[i] = part;
    }
    double sum = 0;
    for (size_t i = 0; rc == 0 && i < g->n; i++) {
        sum += d->p[i];
        d->p[i] = sum / total;
    }
    return rc;
}

/* ---- file() ---- */

struct length_file {
    struct args *g;
    struct trace_input *in;
    struct csv head, row;
    const char *path, *column, *client, *field;
    double *x;
    size_t n, cap;
};

static int file_bad(struct length_file *f, struct err *e, const char *why)
{
    return err_set(e, SIM_E_DATA, "%s:%llu: %s", f->path,
                   (unsigned long long)trace_input_line_number(f->in), why);
}

static int push_length(struct length_file *f, const char *text, struct err *e)
{
    double v;
    if (num_double(text, &v) != NUM_OK || v < 0 || v > LEN_MAX) {
        return file_bad(f, e, "a length is not a number in 0..2^30");
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 1024;
        double *x = realloc(f->x, cap * sizeof(*x));
        if (!x) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        f->x = x;
        f->cap = cap;
    }
    f->x[f->n++] = v;
    return 0;
}

static bool row_matches(const struct length_file *f, const char *column, const char *want)
{
    int at = csv_find(&f->head, column);
    return !want || (at >= 0 && strcmp(f->row.field[at], want) == 0);
}

/* Columns q0000 .. q1000 of the row that client= and field= pick. */
static int take_quantiles(struct length_file *f, struct dist *d, struct err *e)
{
    if (!row_matches(f, "client", f->client) || !row_matches(f, "field", f->field)) {
        return 0;
    }
    if (d->n > 0) {
        return file_bad(f, e, "more than one row fits: pick one with client= and field=");
    }
    int rc = alloc_table(f->g, d, f->head.n, e);
    d->n = 0;
    for (size_t i = 0; rc == 0 && i < f->head.n; i++) {
        uint64_t level;
        const char *name = f->head.field[i];
        if (name[0] == 'q' && num_uint(name + 1, 1000, &level) == NUM_OK) {
            rc = push_length(f, f->row.field[i], e);
            d->p[d->n] = (double)level / 1000;
            d->x[d->n] = rc == 0 ? f->x[f->n - 1] : 0;
            d->n++;
        }
    }
    d->kind = DIST_QUANTILES;
    return rc;
}

static int read_lengths(struct length_file *f, struct dist *d, struct err *e)
{
    char *line, *copy;
    size_t n;
    int rc = trace_input_line(f->in, &line, &n, e);
    if (rc <= 0) {
        return rc < 0 ? rc : file_bad(f, e, "no header line");
    }
    copy = arena_strndup(f->g->a, line, n);
    if (!copy || csv_split(&f->head, copy) < 0) {
        return file_bad(f, e, "no header line");
    }
    bool quantiles = csv_find(&f->head, "q0500") >= 0;
    int at = csv_find(&f->head, f->column);
    if (at < 0 && !quantiles) {
        return err_set(e, SIM_E_DATA, "%s: no column '%s'; name one: file(PATH, column=NAME)", f->path,
                       f->column);
    }
    while ((rc = trace_input_line(f->in, &line, &n, e)) == 1) {
        if (n == 0) {
            continue;
        }
        if (csv_split(&f->row, line) != (int)f->head.n) {
            return file_bad(f, e, "another number of fields than the header");
        }
        rc = quantiles ? take_quantiles(f, d, e) : push_length(f, f->row.field[at], e);
        if (rc < 0) {
            return rc;
        }
    }
    return rc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int keep_lengths(struct length_file *f, struct dist *d, struct err *e)
{
    if (d->kind == DIST_QUANTILES && d->n >= 2) {
        return 0;
    }
    if (f->n == 0 || d->kind == DIST_QUANTILES) {
        return err_set(e, SIM_E_DATA, "%s: no lengths found", f->path);
    }
    d->kind = DIST_TABLE;
    d->n = f->n;
    d->x = arena_calloc(f->g->a, f->n, sizeof(double));
    if (!d->x) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    memcpy(d->x, f->x, f->n * sizeof(double));
    qsort(d->x, d->n, sizeof(double), by_value); /* neighbouring draws are neighbouring lengths */
    return 0;
}

static int parse_file(struct args *g, struct dist *d, struct err *e)
{
    struct length_file f = {.g = g};
    f.column = arg_text(g, "column");
    f.client = arg_text(g, "client");
    f.field = arg_text(g, "field");
    f.column = f.column ? f.column : (strcmp(g->what, "output") == 0 ? "output_tokens" : "prompt_tokens");
    if (g->n == 0 || strchr(g->item[0], '=')) {
        return bad(g, e, "file takes a path first");
    }
    g->used[0] = true;
    f.path = g->item[0];
    int rc = trace_input_open(&f.in, f.path, g->a, e);
    if (rc == 0) {
        rc = read_lengths(&f, d, e);
    }
    if (rc == 0) {
        rc = keep_lengths(&f, d, e);
    }
    trace_input_close(f.in);
    csv_release(&f.head);
    csv_release(&f.row);
    free(f.x);
    return rc;
}

/* ---- all kinds ---- */

static int parse_constant(struct args *g, struct dist *d, struct err *e)
{
    double v;
    d->kind = DIST_UNIFORM;
    if (g->n != 1 || !text_to_double(g->item[0], &v) || v < 1 || v > LEN_MAX || v != floor(v)) {
        return bad(g, e, "a length is a whole number in 1..2^30");
    }
    g->used[0] = true;
    d->lo = d->hi = v;
    return 0;
}

static int parse_range(struct args *g, struct dist *d, const char *lo, const char *hi, struct err *e)
{
    d->kind = DIST_UNIFORM;
    bool ok = lo && hi && text_to_double(lo, &d->lo) && text_to_double(hi, &d->hi);
    if (!ok || d->lo < 1 || d->hi > LEN_MAX || d->lo > d->hi || d->lo != floor(d->lo) ||
        d->hi != floor(d->hi)) {
        return bad(g, e, "a range is LOW..HIGH of whole numbers, 1 <= LOW <= HIGH");
    }
    return 0;
}

static int parse_uniform(struct args *g, struct dist *d, struct err *e)
{
    if (g->n != 2) {
        return bad(g, e, "uniform takes (LOW, HIGH)");
    }
    g->used[0] = g->used[1] = true;
    return parse_range(g, d, g->item[0], g->item[1], e);
}

static const struct {
    const char *name;
    int (*parse)(struct args *g, struct dist *d, struct err *e);
} kinds[] = {
    {"constant", parse_constant}, {"uniform", parse_uniform},     {"lognormal", parse_lognormal},
    {"zipf", parse_zipf},         {"quantiles", parse_quantiles}, {"mix", parse_mix},
    {"file", parse_file},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int parse_kind(struct args *g, struct dist *d, const char *open, struct err *e)
{
    const char *names[N_KINDS];
    size_t n = strlen(g->text);
    const char *name = copy_trimmed(g->a, g->text, (size_t)(open - g->text));
    if (g->text[n - 1] != ')') {
        return bad(g, e, "')' is missing");
    }
    int rc = split_args(g, open + 1, n - (size_t)(open - g->text) - 2, e);
    for (size_t i = 0; rc == 0 && name && i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (strcmp(name, kinds[i].name) == 0) {
            rc = kinds[i].parse(g, d, e);
            return rc < 0 ? rc : all_used(g, e);
        }
    }
    const char *near = rc == 0 && name ? text_nearest(name, names, N_KINDS) : NULL;
    return rc < 0 ? rc
                  : bad(g, e, near ? arena_printf(g->a, "did you mean '%s'?", near)
                                   : "known are constant, uniform, lognormal, zipf, quantiles, mix, file");
}

static int parse_at(struct dist **ret, const char *text, const char *what, int depth, struct arena *a,
                    struct err *e)
{
    struct dist *d = arena_alloc(a, sizeof(*d));
    struct args *g = arena_alloc(a, sizeof(*g));
    const char *own = copy_trimmed(a, text, strlen(text));
    if (!d || !g || !own) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    *g = (struct args){.a = a, .what = what, .text = own, .depth = depth};
    d->lo = d->tail = 1;
    d->hi = LEN_MAX;
    *ret = d;
    if (depth > DEPTH_MAX) {
        return bad(g, e, "mixed too deeply");
    }
    const char *open = strchr(own, '(');
    const char *dots = strstr(own, "..");
    if (open && (!dots || open < dots)) {
        return parse_kind(g, d, open, e);
    }
    if (dots) {
        return parse_range(g, d, copy_trimmed(a, own, (size_t)(dots - own)),
                           copy_trimmed(a, dots + 2, strlen(dots + 2)), e);
    }
    int rc = split_args(g, own, strlen(own), e);
    return rc < 0 ? rc : parse_constant(g, d, e);
}

/* The mean of lo + (hi - lo) * s^power over s in (0,1) is lo + (hi - lo) / (power + 1). */
static double tail_power(const double *p, const double *x, size_t n, double mean)
{
    double rest = 0, lo = x[n - 2], hi = x[n - 1];
    for (size_t i = 1; i + 1 < n; i++) {
        rest += (p[i] - p[i - 1]) * (x[i] + x[i - 1]) / 2;
    }
    double want = (mean - rest) / (p[n - 1] - p[n - 2]);
    if (hi <= lo || mean <= 0) {
        return 1;
    }
    return want <= lo ? 1000 : fmin(1000, fmax(0.001, (hi - lo) / (want - lo) - 1));
}

int dist_quantiles(struct dist **ret, const double *p, const double *x, size_t n, double mean,
                   struct arena *a, struct err *e)
{
    struct dist *d = arena_alloc(a, sizeof(*d));
    struct args g = {.a = a};
    if (n < 2 || p[0] != 0 || p[n - 1] != 1) {
        return err_set(e, SIM_E_DATA, "quantiles go from level 0 to level 1");
    }
    for (size_t i = 1; i < n; i++) {
        if (p[i] <= p[i - 1] || x[i] < x[i - 1]) {
            return err_set(e, SIM_E_DATA, "quantiles must rise");
        }
    }
    if (!d || alloc_table(&g, d, n, e) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    d->kind = DIST_QUANTILES;
    d->lo = 1;
    d->hi = LEN_MAX;
    memcpy(d->p, p, n * sizeof(*p));
    memcpy(d->x, x, n * sizeof(*x));
    d->tail = tail_power(p, x, n, mean);
    *ret = d;
    return 0;
}

int dist_parse(struct dist **ret, const char *text, const char *what, struct arena *a, struct err *e)
{
    return parse_at(ret, text, what, 0, a, e);
}

/* First index with p[i] >= u. */
static size_t find_level(const struct dist *d, double u)
{
    size_t lo = 0, hi = d->n - 1;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (d->p[mid] < u) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static double draw_quantile(const struct dist *d, double u)
{
    size_t i = find_level(d, u);
    if (i == 0) {
        return d->x[0];
    }
    double share = (u - d->p[i - 1]) / (d->p[i] - d->p[i - 1]);
    if (i == d->n - 1 && d->tail != 1) {
        share = pow(share, d->tail);
    }
    return d->x[i - 1] + share * (d->x[i] - d->x[i - 1]);
}

static double draw_table(const struct dist *d, double u)
{
    size_t i = d->p ? find_level(d, u) : (size_t)(u * (double)d->n);
    return d->x[i < d->n ? i : d->n - 1];
}

uint32_t dist_draw(const struct dist *d, double u)
{
    double v = 1;
    if (d->kind == DIST_MIX) {
        size_t i = find_level(d, u);
        double from = i ? d->p[i - 1] : 0;
        return dist_draw(d->part[i], (u - from) / (d->p[i] - from));
    }
    if (d->kind == DIST_UNIFORM) {
        v = floor(d->lo + u * (d->hi - d->lo + 1));
    } else if (d->kind == DIST_LOGNORMAL) {
        v = round(gsl_cdf_lognormal_Pinv(u, d->mu, d->sigma));
    } else {
        v = round(d->kind == DIST_QUANTILES ? draw_quantile(d, u) : draw_table(d, u));
    }
    if (!(v > d->lo)) {
        v = d->lo;
    }
    return (uint32_t)(v < d->hi ? v : d->hi);
}
