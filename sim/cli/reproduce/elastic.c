/* SPDX-License-Identifier: Apache-2.0
 *
 * ElasticMoE (arXiv 2510.02613): time to grow a serving instance while it serves, with its mechanisms switched
 * off one after the other (table 1). What each costs is read off the table of the opposite move (table 3,
 * DP4 to DP3) and carried over by bytes and by ranks; nothing is read off table 1. */
#include <math.h>

#include "models/llm.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/placement/elastic.h"

#define TOL 0.15

/* Unified Bus, bytes/s of a die and direction (CloudMatrix-Infer, section 3): the machine of both papers. */
#define UB 196e9

/* Table 3: cumulative, in the paper's order. */
#define DOWN_FULL     1.38
#define DOWN_NO_ALLOC 1.36
#define DOWN_NO_P2P   7.74
#define DOWN_NO_INIT  50.21
#define DOWN_NO_COPY  64.57

/* Seconds of each stage. Starting and booting are work on every rank of the new instance, which the paper has grow with
 * their number (insight 1); a disk gives its bytes to all who read; what replaces zero-copy loads the whole
 * model anew. */
struct stages {
    double start, start_no_alloc, boot; /* a rank */
    double disk;                        /* bytes/s */
    double reload;
};

static struct stages from_table_3(const struct elastic_plan *down)
{
    double move = down->most_bytes / UB, n = down->ranks;

    return (struct stages){.start = (DOWN_FULL - move) / n,
                           .start_no_alloc = (DOWN_NO_ALLOC - move) / n,
                           .disk = down->bytes / (DOWN_NO_P2P - DOWN_NO_ALLOC + move),
                           .boot = (DOWN_NO_INIT - DOWN_NO_P2P) / n,
                           .reload = DOWN_NO_COPY - DOWN_NO_INIT};
}

static int rows(struct repro *p, const struct stages *s, const struct elastic_plan *up, struct err *e)
{
    double move = up->most_bytes / UB, n = up->ranks;
    double from_disk = s->start_no_alloc * n + up->bytes / s->disk, booted = from_disk + s->boot * n;

    return repro_number(p, "all mechanisms", "s", 2.43, s->start * n + move, TOL, e) < 0 ||
                   repro_number(p, "without the IPC-safe allocator", "s", 3.14, s->start_no_alloc * n + move, TOL, e) < 0 ||
                   repro_number(p, "and without P2P copies", "s", 10.42, from_disk, TOL, e) < 0 ||
                   repro_number(p, "and without instances ready", "s", 62.78, booted, TOL, e) < 0 ||
                   repro_number(p, "and without zero-copy", "s", 67.40, booted + s->reload, TOL, e) < 0
               ? e->code
               : 0;
}

static int scale_up(struct repro *p, struct err *e)
{
    struct llm_shape m;
    struct elastic_plan up, down;

    if (llm_load(&m, "deepseek-v2-lite", steelyard_data_dir(NULL, &p->ar), "bf16", NULL, &p->ar, e) < 0 ||
        elastic_plan(&(struct elastic_spec){&m, 2, 4, 3}, &down, e) < 0 ||
        elastic_plan(&(struct elastic_spec){&m, 2, 3, 4}, &up, e) < 0) {
        return e->code;
    }
    struct stages s = from_table_3(&down);

    return rows(p, &s, &up, e);
}

const struct reproduction reproductions_elastic[] = {
    {"elasticmoe", "ElasticMoE, table 1", "time from three to four replicas of two NPUs, DeepSeek-V2-Lite", scale_up},
    {NULL, NULL, NULL, NULL},
};
