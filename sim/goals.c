/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/goals.h"

#include <string.h>

#define ROW_GOAL(n, field, h)                                                                        \
    {.name = n, .type = OPT_DOUBLE, .offset = offsetof(struct goal_set, field), .min = 0,             \
     .max = 1e12, .def = "0", .unit = "ms", .help = h}
#define ROW_TBT(n) ROW_GOAL(n, tbt_ms, "time between tokens")

static const struct opt_choice class_choices[] = {
    {"none", NULL}, {"latency", NULL}, {"deadline", NULL}, {"compound", NULL}, {"best-effort", NULL},
    {NULL, NULL},
};

static const struct opt_row class_rows[] = {
    ROW_GOAL("ttft", ttft_ms, "time to first token"),
    ROW_TBT("tbt"),
    ROW_TBT("tpot"),
    ROW_GOAL("e2e", e2e_ms, "time to the last token"),
    OPT_END,
};

static const struct opt_row client_rows[] = {
    {.name = "class", .type = OPT_CHOICE, .offset = offsetof(struct goal_set, slo_class), .min = 1,
     .max = 0, .def = "none", .help = "class of its requests", .choices = class_choices},
    ROW_GOAL("ttft", ttft_ms, "time to first token"),
    ROW_TBT("tbt"),
    ROW_TBT("tpot"),
    ROW_GOAL("e2e", e2e_ms, "time to the last token"),
    OPT_END,
};

static char *trimmed(struct arena *a, const char *s, size_t n)
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

/* "ttft=500ms,tbt=100ms" */
static int parse_set(struct goal_set *g, const char *where, const char *text, const struct opt_row *rows,
                     struct arena *a, struct err *e)
{
    while (*text) {
        size_t n = strcspn(text, ",");
        const char *eq = memchr(text, '=', n);
        const char *name, *value;

        if (!eq) {
            return err_set(e, SIM_E_CONFIG, "%s'%.*s' is not GOAL=TIME", where, (int)n, text);
        }
        name = trimmed(a, text, (size_t)(eq - text));
        value = trimmed(a, eq + 1, (size_t)(text + n - eq - 1));
        if (!name || !value) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        if (opt_set_by_name(rows, g, where, name, value, a, e) < 0) {
            return e->code;
        }
        text += n + (text[n] == ',');
    }
    return 0;
}

typedef int take_entry(struct goals *g, const char *name, const char *set, struct arena *a, struct err *e);

/* "NAME:SET;NAME:SET" */
static int parse_entries(struct goals *g, const char *text, take_entry *take, struct arena *a,
                         struct err *e)
{
    while (text && *text) {
        size_t n = strcspn(text, ";"), colon = n;
        const char *name, *set;

        while (colon > 0 && text[colon - 1] != ':') { /* a client's name may hold colons, goals do not */
            colon--;
        }
        name = trimmed(a, text, colon > 0 ? colon - 1 : n);
        set = trimmed(a, text + (colon > 0 ? colon : n), colon > 0 ? n - colon : 0);
        if (!name || !set) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        if (*name && take(g, name, set, a, e) < 0) {
            return e->code;
        }
        text += n + (text[n] == ';');
    }
    return 0;
}

static int take_class(struct goals *g, const char *name, const char *set, struct arena *a, struct err *e)
{
    int class = slo_class_find(name, strlen(name));

    if (class < 0) {
        const char *near = text_nearest(name, slo_class_names, SLO_CLASSES);

        return err_set(e, SIM_E_CONFIG, "slo.classes: '%.60s' is no class of goals%s%s%s", name,
                       near ? "; did you mean '" : " (latency, deadline, compound, best-effort)",
                       near ? near : "", near ? "'?" : "");
    }
    return parse_set(&g->of_class[class], "slo.classes: ", set, class_rows, a, e);
}

static int take_client(struct goals *g, const char *name, const char *set, struct arena *a, struct err *e)
{
    struct client_goals *all = arena_calloc(a, g->n_client + 1, sizeof(*all));

    if (!all) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (g->n_client > 0) {
        memcpy(all, g->client, g->n_client * sizeof(*all));
    }
    g->client = all;
    all[g->n_client].client = name;
    return parse_set(&all[g->n_client++].goals, "slo.client: ", set, client_rows, a, e);
}

int goals_parse(struct goals *g, const struct run_config *c, struct arena *a, struct err *e)
{
    *g = (struct goals){.run = {SLO_NONE, c->slo_ttft_ms, c->slo_tpot_ms, c->slo_e2e_ms}};
    if (parse_entries(g, c->slo_classes, take_class, a, e) < 0 ||
        parse_entries(g, c->slo_client, take_client, a, e) < 0) {
        return e->code;
    }
    g->any = (c->slo_classes && *c->slo_classes) || g->n_client > 0 || c->slo_ttft_ms > 0 ||
             c->slo_tpot_ms > 0 || c->slo_e2e_ms > 0;
    return 0;
}

const struct goal_set *goals_of_client(const struct goals *g, const char *client)
{
    const struct goal_set *other = NULL;

    for (size_t i = 0; i < g->n_client; i++) {
        if (strcmp(g->client[i].client, client) == 0) {
            return &g->client[i].goals;
        }
        if (strcmp(g->client[i].client, "*") == 0) {
            other = &g->client[i].goals;
        }
    }
    return other;
}

static void fill_in(float *goal_ms, double said_ms)
{
    if (!(*goal_ms > 0)) {
        *goal_ms = (float)said_ms;
    }
}

static void fill_from(struct arrival *a, const struct goal_set *s)
{
    fill_in(&a->ttft_slo_ms, s->ttft_ms);
    fill_in(&a->tpot_slo_ms, s->tbt_ms);
    fill_in(&a->e2e_slo_ms, s->e2e_ms);
}

void goals_apply(const struct goals *g, const struct goal_set *client, struct arrival *a)
{
    if (client && a->slo_class == SLO_NONE) {
        a->slo_class = (uint8_t)client->slo_class;
    }
    if (client) {
        fill_from(a, client);
    }
    fill_from(a, &g->of_class[a->slo_class]);
    if (a->slo_class != SLO_BEST_EFFORT) {
        fill_from(a, &g->run);
    }
}
