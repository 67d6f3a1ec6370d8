/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "calibrate/fit.h"
#include "sim/core/json.h"

/* Measured times carry four or five digits; more would be noise. */
static double rounded(double v)
{
    char buf[32];
    snprintf(buf, sizeof(buf), "%.6g", v);
    return strtod(buf, NULL);
}

static void numbers(struct json_writer *w, const char *key, const double *v, uint32_t n)
{
    json_key(w, key);
    json_array(w);
    for (uint32_t i = 0; i < n; i++) {
        json_double(w, rounded(v[i]));
    }
    json_end(w);
}

static void write_term(struct json_writer *w, const struct profile_term *t)
{
    json_object(w);
    json_kv_string(w, "name", t->name);
    json_kv_string(w, "family", t->family);
    json_kv_double(w, "count", t->count);
    json_kv_string(w, "when", profile_when_names[t->when]);
    json_key(w, "axes");
    json_array(w);
    for (uint32_t d = 0; d < t->n_axes; d++) {
        json_object(w);
        json_kv_string(w, "name", profile_axis_names[t->axis[d]]);
        numbers(w, "at", t->at[d], t->n[d]);
        json_end(w);
    }
    json_end(w);
    numbers(w, "us", t->us, profile_term_size(t));
    json_end(w);
}

static void write_errors(struct json_writer *w, const struct profile *p)
{
    json_key(w, "errors");
    json_array(w);
    for (uint32_t i = 0; i < p->n_errors; i++) {
        json_object(w);
        json_kv_string(w, "family", p->error[i].family);
        json_kv_int(w, "points", p->error[i].points);
        json_kv_double(w, "error", rounded(p->error[i].error));
        json_kv_double(w, "p90", rounded(p->error[i].p90));
        json_kv_double(w, "roofline_error", rounded(p->error[i].roofline_error));
        json_end(w);
    }
    json_end(w);
}

static void write_overheads(struct json_writer *w, const struct profile *p)
{
    json_key(w, "overheads");
    json_object(w);
    json_kv_double(w, "step_us", p->step_us);
    json_kv_double(w, "seq_us", p->seq_us);
    json_kv_double(w, "wait_us", p->wait_us);
    json_end(w);
}

int profile_write(const struct profile *p, FILE *out, struct err *e)
{
    struct json_writer w;
    json_begin(&w, out, false);
    json_object(&w);
    json_kv_string(&w, "schema", PROFILE_SCHEMA);
    json_kv_string(&w, "provenance", p->provenance);
    json_kv_string(&w, "source", p->source);
    json_kv_string(&w, "engine", p->engine);
    json_kv_string(&w, "gpu", p->gpu);
    json_kv_string(&w, "model", p->model);
    json_kv_int(&w, "tp", p->tp);
    write_overheads(&w, p);
    write_errors(&w, p);
    if (p->skew.n) {
        json_key(&w, "skew");
        json_object(&w);
        numbers(&w, "decodes", p->skew.decodes, p->skew.n);
        numbers(&w, "pure", p->skew.pure, p->skew.n);
        numbers(&w, "mixed", p->skew.mixed, p->skew.n);
        json_end(&w);
    }
    json_key(&w, "terms");
    json_array(&w);
    for (uint32_t i = 0; i < p->n_terms; i++) {
        write_term(&w, &p->term[i]);
    }
    json_end(&w);
    json_end(&w);
    fputc('\n', out);
    return ferror(out) ? err_set(e, SIM_E_IO, "writing the profile failed") : 0;
}
