/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"

int repro_run(struct repro *p, const struct repro_key *key, size_t n, struct run_result *ret,
              struct arena *ar, struct err *e)
{
    return repro_run_hooked(p, key, n, &(struct run_hooks){0}, ret, ar, e);
}

int repro_run_hooked(struct repro *p, const struct repro_key *key, size_t n, const struct run_hooks *hooks,
                     struct run_result *ret, struct arena *ar, struct err *e)
{
    struct config_args args = {.no_environment = true};
    struct run_config cfg;

    if (p->progress && p->progress(p->progress_ctx, p->id)) {
        return err_set(e, SIM_E_INTR, "interrupted");
    }
    for (size_t i = 0; i < n; i++) {
        if (key[i].value && config_args_add(&args, p->id, key[i].key, key[i].value, ar, e) < 0) {
            return e->code;
        }
    }
    return config_resolve(&cfg, &args, NULL, NULL, ar, e) < 0 ||
                   run_execute(&cfg, hooks, ret, ar, e) < 0
               ? e->code
               : 0;
}

double repro_metric(const struct run_result *r, const char *name)
{
    for (size_t i = 0; i < r->n_metrics; i++) {
        if (strcmp(r->metrics[i].name, name) == 0) {
            return r->metrics[i].value;
        }
    }
    return (double)NAN;
}
