/* SPDX-License-Identifier: Apache-2.0 */
#include "models/measured.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <string.h>

#include "models/datafile.h"
#include "sim/core/json.h"

#define POINTS_MAX 4096

/* ---- files ---- */

static int wrong(struct datafile *f, int i, const char *what)
{
    return datafile_fail(f, "measured", "entry %d: %s", i + 1, what);
}

/* An array of `n` numbers above zero that ascend (or do not descend, when `equal`); its length the first time (*n = 0). */
static double *numbers(struct datafile *f, const cJSON *v, int i, bool equal, uint32_t *n)
{
    int len = cJSON_GetArraySize(v);
    double *ret = arena_calloc(f->arena, (size_t)len + 1, sizeof(*ret)), last = 0;
    uint32_t k = 0;

    if (!cJSON_IsArray(v) || len < 2 || len > POINTS_MAX || (*n > 0 && (uint32_t)len != *n)) {
        wrong(f, i, "'bytes' and 'us' are lists of numbers of one length, from 2 to 4096");
        return NULL;
    }
    for (const cJSON *x = v->child; x && ret; x = x->next) {
        if (!cJSON_IsNumber(x) || !(x->valuedouble > 0 && x->valuedouble < 1e18) ||
            !(x->valuedouble > last || (equal && x->valuedouble >= last))) {
            wrong(f, i, "'bytes' has to ascend, 'us' must not descend; both are above 0");
            return NULL;
        }
        ret[k++] = last = x->valuedouble;
    }
    *n = (uint32_t)len;
    return ret;
}

static bool whole(const cJSON *v, double otherwise, double min, double max, uint32_t *ret)
{
    double x = v ? v->valuedouble : otherwise;

    if ((v && !cJSON_IsNumber(v)) || !(x >= min && x <= max) || floor(x) < x) {
        return false;
    }
    *ret = (uint32_t)x;
    return true;
}

static int read_curve(struct datafile *f, const cJSON *v, int i, struct measured_curve *c)
{
    const cJSON *op = cJSON_GetObjectItemCaseSensitive(v, "op");

    if (!cJSON_IsObject(v) || !cJSON_IsString(op) ||
        !whole(cJSON_GetObjectItemCaseSensitive(v, "ranks"), 0, 2, 1e6, &c->ranks) ||
        !whole(cJSON_GetObjectItemCaseSensitive(v, "nodes"), 1, 1, 1e6, &c->nodes)) {
        return wrong(f, i, "an object with 'op', 'ranks' from 2, 'nodes' from 1 (1 when left out), 'bytes' and 'us' is expected");
    }
    c->op = arena_strdup(f->arena, op->valuestring);
    c->bytes = numbers(f, cJSON_GetObjectItemCaseSensitive(v, "bytes"), i, false, &c->n);
    c->us = c->bytes ? numbers(f, cJSON_GetObjectItemCaseSensitive(v, "us"), i, true, &c->n) : NULL;
    return f->rc < 0 ? f->rc : c->op && c->us ? 0 : err_set(f->err, SIM_E_NOMEM, "out of memory for collectives");
}

int measured_parse(struct measured *ret, const char *text, size_t len, const char *file, struct arena *a, struct err *e)
{
    struct datafile f;
    int rc = datafile_open(&f, text, len, file, a, e), i = 0;

    *ret = (struct measured){0};
    if (rc < 0) {
        return rc;
    }
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(f.root, "measured");
    ret->curve = arena_calloc(a, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*ret->curve));
    if (!ret->curve) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    } else if (list && !cJSON_IsArray(list)) {
        rc = datafile_fail(&f, "measured", "is no list");
    }
    for (const cJSON *v = rc == 0 && list ? list->child : NULL; v && rc == 0; v = v->next) {
        rc = read_curve(&f, v, i++, &ret->curve[ret->n++]);
    }
    datafile_close(&f);
    return rc;
}

int measured_load(struct measured *ret, const char *path, struct arena *a, struct err *e)
{
    size_t len = 0;
    char *text = json_read_file(path, &len, a, e);

    return text ? measured_parse(ret, text, len, path, a, e) : e->code;
}

/* ---- curves ---- */

const struct measured_curve *measured_find(const struct measured *m, const char *op, uint32_t ranks, uint32_t nodes)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const struct measured_curve *c = &m->curve[i];

        if (c->ranks == ranks && c->nodes == nodes && strcmp(c->op, op) == 0) {
            return c;
        }
    }
    return NULL;
}

const char *measured_ranks(const struct measured *m, const char *op, uint32_t nodes, struct arena *a)
{
    const char *ret = "none";
    bool any = false;

    for (uint32_t i = 0; i < m->n && ret; i++) {
        if (m->curve[i].nodes == nodes && strcmp(m->curve[i].op, op) == 0) {
            ret = any ? arena_printf(a, "%s, %u", ret, m->curve[i].ranks) : arena_printf(a, "%u", m->curve[i].ranks);
            any = true;
        }
    }
    return ret;
}

double measured_us(const struct measured_curve *c, double bytes)
{
    uint32_t i = 1;

    if (bytes <= c->bytes[0]) {
        return c->us[0];
    }
    if (bytes >= c->bytes[c->n - 1]) {
        return c->us[c->n - 1] * bytes / c->bytes[c->n - 1];
    }
    while (c->bytes[i] < bytes) {
        i++;
    }
    double w = log(bytes / c->bytes[i - 1]) / log(c->bytes[i] / c->bytes[i - 1]);
    return c->us[i - 1] * pow(c->us[i] / c->us[i - 1], w);
}

void measured_mend(struct measured_curve *c, uint32_t *ret_lowered)
{
    uint32_t n = 0;

    gsl_sort2(c->bytes, 1, c->us, 1, c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        if (n > 0 && !(c->bytes[i] > c->bytes[n - 1])) {
            c->us[n - 1] = fmin(c->us[n - 1], c->us[i]);
        } else {
            c->bytes[n] = c->bytes[i];
            c->us[n++] = c->us[i];
        }
    }
    c->n = n;
    *ret_lowered = 0;
    for (uint32_t i = n; i-- > 1;) {
        *ret_lowered += c->us[i - 1] > 1.1 * c->us[i];
        c->us[i - 1] = fmin(c->us[i - 1], c->us[i]);
    }
}

uint32_t measured_first(const struct measured_curve *c)
{
    return c->n % 2 == 0;
}

int measured_thin(struct measured_curve *ret, const struct measured_curve *c, struct arena *a, struct err *e)
{
    *ret = *c;
    ret->n = (c->n + 1) / 2;
    ret->bytes = arena_calloc(a, ret->n + 1, sizeof(double));
    ret->us = arena_calloc(a, ret->n + 1, sizeof(double));
    if (!ret->bytes || !ret->us) {
        return err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    }
    for (uint32_t i = 0; i < ret->n; i++) {
        ret->bytes[i] = c->bytes[2 * i + measured_first(c)];
        ret->us[i] = c->us[2 * i + measured_first(c)];
    }
    return 0;
}
