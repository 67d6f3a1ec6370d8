/* SPDX-License-Identifier: Apache-2.0
 *
 * What a results database has, and how lines are called. */
#include "sim/cli/plot/plot.h"

#include <math.h>
#include <string.h>

int plot_no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory while plotting");
}

/* ---- words of labels ---- */

static bool has_word(const char *label, const char *word, size_t n)
{
    for (const char *p = label; (p = strstr(p, word)); p++) {
        bool begins = p == label || p[-1] == ' ';
        if (begins && (p[n] == ' ' || p[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool is_common(const struct plot *p, const char *word)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        if (!has_word(p->groups[i].label, word, strlen(word))) {
            return false;
        }
    }
    return p->n_groups > 1;
}

const char *plot_legend(struct plot *p, const struct plot_group *g, bool drop_load)
{
    const char *out = "";
    char *copy = arena_strdup(&p->ar, g->label);
    char *rest = NULL;
    for (char *w = copy ? strtok_r(copy, " ", &rest) : NULL; w && out; w = strtok_r(NULL, " ", &rest)) {
        bool dropped = is_common(p, w) || (drop_load && strncmp(w, "load.scale=", 11) == 0);
        if (!dropped) {
            out = arena_printf(&p->ar, "%s%s%s", out, *out ? " " : "", w);
        }
    }
    return arena_printf(&p->ar, "%s%s", out && *out ? out : g->label, g->oracle ? "*" : "");
}


/* ---- reading the database ---- */

static bool is_wanted(const struct plot *p, const char *label)
{
    for (size_t i = 0; i < p->o.n_only; i++) {
        if (!has_word(label, p->o.only[i], strlen(p->o.only[i]))) {
            return false;
        }
    }
    return true;
}

static int add_group(struct plot *p, const struct plot_group *g, struct err *e)
{
    if (p->n_groups == p->cap_groups) {
        size_t cap = p->cap_groups ? 2 * p->cap_groups : 16;
        struct plot_group *grown = arena_calloc(&p->ar, cap, sizeof *grown);
        if (!grown) {
            return plot_no_memory(e);
        }
        if (p->n_groups) {
            memcpy(grown, p->groups, p->n_groups * sizeof *grown);
        }
        p->groups = grown;
        p->cap_groups = cap;
    }
    p->groups[p->n_groups++] = *g;
    return 0;
}

static int take_group(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct plot *p = ctx;
    const char *label = (const char *)sqlite3_column_text(q, 0);
    bool oracle = sqlite3_column_int(q, 1);
    struct plot_group g = {
        .label = arena_strdup(&p->ar, label ? label : "run"),
        .oracle = oracle,
        .hash = arena_strdup(&p->ar, (const char *)sqlite3_column_text(q, 2)),
        .seed = sqlite3_column_int64(q, 3),
        .first_run = sqlite3_column_int64(q, 4),
        .load = sqlite3_column_double(q, 5),
        .window_s = sqlite3_column_double(q, 6),
    };
    if (!g.label || !g.hash) {
        return plot_no_memory(e);
    }
    if (!is_wanted(p, g.label)) {
        return 0;
    }
    p->any_oracle = p->any_oracle || oracle;
    return add_group(p, &g, e);
}

int plot_read_groups(struct plot *p, struct err *e)
{
    static const char sql[] =
        "SELECT coalesce(nullif(label, ''), json_extract(config_json, '$.policy')), oracle, config_hash,"
        " seed, min(id), coalesce(json_extract(config_json, '$.\"load.scale\"'), 1),"
        " coalesce(json_extract(config_json, '$.\"service.window\"'), 60)"
        " FROM run GROUP BY config_hash, seed ORDER BY min(id)";
    int rc = results_each(p->db, sql, NULL, 0, take_group, p, e);
    if (rc == 0 && p->n_groups == 0) {
        return err_set(e, SIM_E_DATA, "%s has no run%s", p->o.db,
                       p->o.n_only ? " that --only lets through" : "");
    }
    return rc;
}

const char *plot_runs_of(struct plot *p, const struct plot_group *g)
{
    return arena_printf(&p->ar, "SELECT id FROM run WHERE config_hash='%s' AND seed=%lld", g->hash,
                        (long long)g->seed);
}


/* ---- what is shown ---- */

/* The load nearest to the trace's own. */
static double usual_load(const struct plot *p)
{
    double best = p->groups[0].load;
    for (size_t i = 1; i < p->n_groups; i++) {
        if (fabs(p->groups[i].load - 1) < fabs(best - 1)) {
            best = p->groups[i].load;
        }
    }
    return best;
}

int plot_choose_shown(struct plot *p, const char *figure, size_t most, struct err *e)
{
    double load = usual_load(p);
    p->n_shown = 0;
    p->shown = arena_calloc(&p->ar, p->n_groups, sizeof *p->shown);
    if (!p->shown) {
        return plot_no_memory(e);
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        bool fits = p->n_groups <= most || p->groups[i].load == load;
        if (fits && p->n_shown < most) {
            p->shown[p->n_shown++] = &p->groups[i];
        }
    }
    if (p->n_shown < p->n_groups) {
        fprintf(stderr, "steelyard: plot: %s shows %zu of %zu configurations, at load.scale %g; choose with "
                        "--only KEY=VALUE\n", figure, p->n_shown, p->n_groups, load);
    }
    return 0;
}
