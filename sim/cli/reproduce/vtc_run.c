/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/reproduce/vtc_run.h"

#include <string.h>
#include <unistd.h>

#include "sim/cli/slora.h"

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static const char *recorded_path(struct repro *p, const char *recorded)
{
    const char *path = p->data && recorded
                           ? arena_printf(&p->ar, "%s/groundtruth/vtc/%s.csv.gz", p->data, recorded)
                           : NULL;

    return path && access(path, R_OK) == 0 ? path : NULL;
}

static const char *cold_start(size_t repetition, struct arena *ar)
{
    double off = 2.0 * (double)repetition / (REPRO_RUNS - 1) - 1;

    return arena_printf(ar, "%gms", REPRO_COLD_MS + off * REPRO_COLD_OFF_MS);
}

static int configure(struct repro *p, const struct repro_setup *s, const char *trace, size_t repetition,
                     struct run_config *ret, struct arena *ar, struct err *e)
{
    struct config_args args = {.no_environment = true};
    const char *origin = p->id, *cold = cold_start(repetition, ar);
    const char *number = arena_printf(ar, "%zu", repetition);

    if (!cold || !number) {
        return no_memory(e);
    }
    if (slora_settings(&args, origin, s->policy, s->a100, s->pool_tok, ar, e) < 0 ||
        config_args_add(&args, origin, "gpu", s->a100 ? "a100-80g" : "a10g", ar, e) < 0 ||
        config_args_add(&args, origin, "trace", trace, ar, e) < 0 ||
        config_args_add(&args, origin, "engine.cold_start", cold, ar, e) < 0 ||
        config_args_add(&args, origin, "replication", number, ar, e) < 0 ||
        (s->weights && config_args_add(&args, origin, "client.weights", s->weights, ar, e) < 0)) {
        return e->code;
    }
    return config_resolve(ret, &args, NULL, NULL, ar, e);
}

struct rows {
    struct compare *cmp;
    uint32_t prompt_extra_tok;
};

/* The artifact counts a prompt as the client sent it, without what the server adds. */
static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    struct rows *r = ctx;
    struct request_row sent = *row;

    sent.prompt_tok -= r->prompt_extra_tok;
    return compare_add(r->cmp, &sent, e);
}

/* The artifact numbers its clients by their names; a trace does by first appearance. */
static void number_clients(struct compare *c, const struct run_result *r)
{
    for (size_t i = 0; i < c->n; i++) {
        const char *name = r->clients[c->row[i].client].name;
        uint32_t rank = 0;

        for (size_t k = 0; k < r->n_clients; k++) {
            rank += strverscmp(r->clients[k].name, name) < 0;
        }
        c->row[i].client = rank;
    }
}

static int execute(struct repro *p, const struct repro_setup *s, const char *trace, struct repro_run *ret,
                   struct arena *ar, struct err *e)
{
    struct run_config cfg;
    struct run_result result;
    struct rows rows = {.cmp = &ret->cmp[ret->n]};
    struct run_hooks hooks = {.request = on_request, .ctx = &rows};

    if (configure(p, s, trace, ret->n, &cfg, ar, e) < 0) {
        return e->code;
    }
    rows.prompt_extra_tok = (uint32_t)cfg.prompt_extra_tok;
    if (run_execute(&cfg, &hooks, &result, ar, e) < 0) {
        return err_wrap(e, "%s, %s: ", trace, s->policy);
    }
    ret->n_clients = (uint32_t)result.n_clients;
    number_clients(rows.cmp, &result);
    return 0;
}

int repro_simulate(struct repro *p, const struct repro_setup *s, struct repro_run *ret, struct err *e)
{
    const char *path = recorded_path(p, s->recorded);
    const char *trace = path ? path : s->trace;

    *ret = (struct repro_run){.recorded = path != NULL};
    while (trace && ret->n < REPRO_RUNS) {
        struct arena ar = {0};

        if (p->progress && p->progress(p->progress_ctx, p->id)) {
            return err_set(e, SIM_E_INTR, "interrupted");
        }
        if (execute(p, s, trace, ret, &ar, e) < 0) {
            arena_release(&ar);
            return e->code;
        }
        arena_release(&ar);
        ret->n++;
    }
    return 0;
}

void repro_run_release(struct repro_run *r)
{
    for (size_t i = 0; i < REPRO_RUNS; i++) {
        compare_release(&r->cmp[i]);
    }
}

struct fairness repro_side(const struct repro_run *r, size_t repetition, enum side side,
                           enum fairness_cost cost)
{
    const struct compare *c = &r->cmp[repetition];

    return (struct fairness){.row = c->row, .n = c->n, .n_clients = r->n_clients, .side = side,
                             .cost = cost};
}
