/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/nccl_tests.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, WORDS = 24, HOSTS = 1024, POINTS = 4096, CURVES = 256 };

/* As nccl-tests names its programs, as the collectives here are named. */
static const char *const programs[][2] = {
    {"all_reduce_perf", "all_reduce"},   {"all_gather_perf", "all_gather"}, {"reduce_scatter_perf", "reduce_scatter"},
    {"alltoall_perf", "all_to_all"},
};

struct reading {
    struct measured *out;
    const struct nccl_tests *said;
    const char *file;
    struct arena *arena;
    struct err *err;
    size_t line;
    /* of the test at hand */
    const char *op;
    char other[48];              /* a program that is no collective of ours */
    uint32_t ranks, per_process; /* "Rank" lines; GPUs that "nThread ... nGpus ..." says */
    uint32_t n_hosts;
    uint64_t host[HOSTS];
    int size, time, wrong;       /* columns, of the out-of-place run; -1 = no header yet, or none */
    struct measured_curve *curve;
};

static int fail(struct reading *r, const char *what)
{
    return err_set(r->err, SIM_E_DATA, "%s:%zu: %s", r->file, r->line, what);
}

/* ---- lines ---- */

/* Past blanks and mpirun's tag. */
static char *bare(char *line)
{
    char *end;

    line += strspn(line, " \t");
    if (line[0] == '[' && (end = strstr(line, ">:")) != NULL) {
        line = end + 2;
    }
    return line + strspn(line, " \t");
}

static int words(char *line, char *ret[WORDS])
{
    int n = 0;

    for (char *save, *w = strtok_r(line, " \t", &save); w && n < WORDS; w = strtok_r(NULL, " \t", &save)) {
        ret[n++] = w;
    }
    return n;
}

/* The last path component of a word that ends in "_perf", in buf. */
static const char *program_in(const char *line, char buf[48])
{
    const char *at = strstr(line, "_perf");
    const char *from = at;

    while (from && from > line && (isalnum((unsigned char)from[-1]) || from[-1] == '_')) {
        from--;
    }
    size_t n = at ? (size_t)(at - from) + 5 : 0;
    if (n <= 5 || n >= 48 || isalnum((unsigned char)at[5])) {
        return NULL;
    }
    memcpy(buf, from, n);
    buf[n] = '\0';
    return buf;
}

static void begin_test(struct reading *r)
{
    r->ranks = r->n_hosts = r->per_process = 0;
    r->size = r->time = r->wrong = -1;
    r->curve = NULL;
}

/* A program's name begins a test, also where one is at its rows. */
static void see_program(struct reading *r, const char *line)
{
    char buf[48];
    const char *name = program_in(line, buf);

    if (!name) {
        return;
    }
    begin_test(r);
    r->op = NULL;
    memcpy(r->other, buf, sizeof(r->other));
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (strcmp(name, programs[i][0]) == 0) {
            r->op = programs[i][1];
        }
    }
}

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */

    while (*s) {
        h = (h ^ (unsigned char)*s++) * 1099511628211ull;
    }
    return h;
}

/* "#  Rank  0 Group  0 Pid 429 on HOST device  7 [0xda] NVIDIA ..." */
static void see_rank(struct reading *r, char *line)
{
    char *w[WORDS];
    int n = words(line, w);

    if (r->curve) {
        begin_test(r); /* the rows of the test before are over */
    }
    r->ranks++;
    for (int i = 0; i + 2 < n; i++) {
        if (strcmp(w[i], "on") == 0 && strncmp(w[i + 2], "device", 6) == 0) {
            uint64_t h = hash(w[i + 1]);
            uint32_t k = 0;

            while (k < r->n_hosts && r->host[k] != h) {
                k++;
            }
            if (k == r->n_hosts && k < HOSTS) {
                r->host[r->n_hosts++] = h;
            }
        }
    }
}

/* "# nThread 1 nGpus 4 minBytes ...": as many GPUs where no rank is listed and one process runs. */
static void see_threads(struct reading *r, const char *line)
{
    const char *gpus = strstr(line, "nGpus");
    unsigned long threads = strtoul(line + strcspn(line, "0123456789"), NULL, 10);
    unsigned long n = gpus ? strtoul(gpus + 5, NULL, 10) : 0;

    if (r->curve) {
        begin_test(r);
    }
    r->per_process = threads >= 1 && threads <= 1024 && n <= 1024 ? (uint32_t)(threads * n) : 0;
}

/* "#       size         count      type   redop    root     time   algbw ..." */
static void see_header(struct reading *r, char *line)
{
    char *w[WORDS];
    int n = words(line + 1, w);

    r->size = r->time = r->wrong = -1;
    for (int i = 0; i < n; i++) {
        r->size = strcmp(w[i], "size") == 0 && r->size < 0 ? i : r->size;
        r->time = strcmp(w[i], "time") == 0 && r->time < 0 ? i : r->time;
        r->wrong = strcmp(w[i], "#wrong") == 0 && r->wrong < 0 ? i : r->wrong;
    }
    if (r->size < 0 || r->time < 0) {
        r->size = r->time = -1;
    }
    r->curve = NULL;
}

static void see_comment(struct reading *r, char *line)
{
    const char *what = line + 1 + strspn(line + 1, " \t");

    if (strncmp(what, "nThread", 7) == 0) {
        see_threads(r, what);
    } else if (strncmp(what, "Rank", 4) == 0) {
        see_rank(r, line);
    } else if (strncmp(what, "size", 4) == 0) {
        see_header(r, line);
    } else {
        see_program(r, what);
    }
}

/* ---- rows ---- */

static const char *one_of_ours(const char *op)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (strcmp(op, programs[i][1]) == 0) {
            return programs[i][1];
        }
    }
    return NULL;
}

static int identify(struct reading *r, struct measured_curve *c)
{
    uint32_t listed = r->ranks ? r->ranks : r->per_process;

    c->op = r->op ? r->op : r->said->op ? one_of_ours(r->said->op) : NULL;
    c->ranks = r->said->ranks ? r->said->ranks : listed;
    c->nodes = r->said->nodes ? r->said->nodes : r->n_hosts ? r->n_hosts : 1;
    if (!c->op) {
        return fail(r, r->other[0] ? "all_reduce, all_gather, reduce_scatter and alltoall are known, but no other test"
                                   : "the output does not say which collective this is: give --op");
    }
    if (c->ranks < 2) {
        return fail(r, "the output lists less than two ranks: give --ranks");
    }
    return c->nodes > c->ranks ? fail(r, "there are more nodes than ranks") : 0;
}

static int begin_curve(struct reading *r)
{
    struct measured *m = r->out;

    if (m->n == CURVES) {
        return fail(r, "more than 256 tests");
    }
    if (!m->curve && !(m->curve = arena_calloc(r->arena, CURVES, sizeof(*m->curve)))) {
        return err_set(r->err, SIM_E_NOMEM, "out of memory for collectives");
    }
    struct measured_curve *c = &m->curve[m->n];
    *c = (struct measured_curve){0};
    if (identify(r, c) < 0) {
        return r->err->code;
    }
    c->bytes = arena_calloc(r->arena, POINTS, sizeof(double));
    c->us = arena_calloc(r->arena, POINTS, sizeof(double));
    if (!c->bytes || !c->us) {
        return err_set(r->err, SIM_E_NOMEM, "out of memory for collectives");
    }
    r->curve = c;
    m->n++;
    return 0;
}

static bool number(const char *word, double *ret)
{
    char *end;

    *ret = strtod(word, &end);
    return end > word && *end == '\0' && isfinite(*ret);
}

/* A line that begins with a digit below a header. What is not the start of a row is some other program's. */
static int see_row(struct reading *r, char *line)
{
    char *w[WORDS];
    int n = words(line, w);
    double bytes, us, wrong;

    if (n <= r->time || n <= r->size || !number(w[r->size], &bytes) || floor(bytes) < bytes) {
        return 0;
    }
    if (!number(w[r->time], &us) || us < 0 || bytes < 0 || bytes >= 1e18 || us >= 1e15) {
        return fail(r, "a row with a size and a time in microseconds is expected here");
    }
    if (bytes < 1 || us <= 0) {
        return 0; /* sizes that are rounded to nothing: no message is sent */
    }
    if (r->wrong >= 0 && n > r->wrong && number(w[r->wrong], &wrong) && wrong > 0) {
        return fail(r, "the results of this row were wrong (#wrong), so its time means nothing");
    }
    if (!r->curve && begin_curve(r) < 0) {
        return r->err->code;
    }
    if (r->curve->n == POINTS) {
        return fail(r, "more than 4096 sizes in one test");
    }
    r->curve->bytes[r->curve->n] = bytes;
    r->curve->us[r->curve->n++] = us;
    return 0;
}

static int see_line(struct reading *r, char *line)
{
    line = bare(line);
    if (line[0] == '#') {
        see_comment(r, line);
        return 0;
    }
    if (isdigit((unsigned char)line[0]) && r->time >= 0) {
        return see_row(r, line);
    }
    see_program(r, line);
    return 0;
}

int nccl_tests_parse(struct measured *ret, const struct nccl_tests *said, const char *text, size_t len, const char *file,
                     struct arena *a, struct err *e)
{
    struct reading r = {.out = ret, .said = said, .file = file, .arena = a, .err = e, .size = -1, .time = -1, .wrong = -1};
    uint32_t before = ret->n;

    for (size_t i = 0; i < len;) {
        const char *end = memchr(text + i, '\n', len - i);
        size_t n = end ? (size_t)(end - (text + i)) : len - i;
        size_t keep = n < LINE - 1 ? n : LINE - 1;
        char line[LINE];

        memcpy(line, text + i, keep);
        line[keep] = '\0';
        line[strcspn(line, "\r")] = '\0';
        r.line++;
        if (see_line(&r, line) < 0) {
            return e->code;
        }
        i += n + 1;
    }
    return ret->n > before ? 0 : err_set(e, SIM_E_DATA, "%s: no row of nccl-tests is in there", file);
}
