/* SPDX-License-Identifier: Apache-2.0
 *
 * How far models/collectives/ are from measurements: prints the tables of results/fabric/README.md.
 * Usage: collective_check MODELS PROFILES */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accuracy/collective_rows.h"

enum { MAX_ERRORS = 20000, SIZES = 40 };

struct machine {
    const char *set, *model;
    const char *fit_note; /* of the fitted rows; NULL = nothing of this set was fitted */
    struct collective_model m;
};

struct errors {
    size_t n;
    double e[MAX_ERRORS];
};

static struct machine machines[] = {
    {"a100_sxm", "nvlink3-a100", "2.27.3", {0}},
    {"h100_sxm", "nvlink4-h100", "2.27.3", {0}},
    {"h200_sxm", "nvlink4-h100", NULL, {0}},
    {"apex H100", "nvlink4-h100", NULL, {0}},
    {"apex H200", "nvlink4-h100", NULL, {0}},
    {"4xH100 eager", "nvlink4-h100", "scaling run", {0}},
    {"4xH100 graph", "nvlink4-h100", NULL, {0}},
    {"b200_sxm", "nvlink5-b200", "2.27.3", {0}},
    {"l40s", "pcie4-l40s", "2.27.3", {0}},
    {"rtx_pro_6000_server", "pcie5-rtx-pro-6000", "2.29.2", {0}},
    {"2x8 H100", "h100-tcpx-2x8", "", {0}},
};
#define MACHINES (sizeof machines / sizeof *machines)

static bool was_fitted(const struct machine *k, const struct measured_row *row)
{
    return k->fit_note && measured_was_fitted(row, k->set, k->fit_note);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(struct errors *e)
{
    qsort(e->e, e->n, sizeof e->e[0], by_value);
    return e->n ? (e->e[(e->n - 1) / 2] + e->e[e->n / 2]) / 2 : (double)NAN;
}

static void print_median(struct errors *e)
{
    if (e->n) {
        printf(" %.1f %% (%zu) |", 100 * median(e), e->n);
    } else {
        printf(" |");
    }
    e->n = 0;
}

/* op < 0: all; log2_bytes < 0: all; */
static void collect(const struct machine *k, const struct measured_rows *rows, int op, int log2_bytes,
                    bool fitted, struct errors *out)
{
    for (size_t i = 0; i < rows->n && out->n < MAX_ERRORS; i++) {
        const struct measured_row *row = &rows->row[i];
        struct collective_choice c;
        bool size_ok = log2_bytes < 0 || (int)lround(log2(row->call.bytes)) == log2_bytes;
        if (strcmp(row->set, k->set) == 0 && (op < 0 || (int)row->call.op == op) && size_ok &&
            was_fitted(k, row) == fitted && collective_time(&k->m, &row->call, &c, NULL) == 0) {
            out->e[out->n++] = fabs(c.us / row->us - 1);
        }
    }
}

static void by_operation(const struct measured_rows *rows, struct errors *e, bool fitted)
{
    printf("| measurements | model | all |");
    for (int op = 0; op <= COLLECTIVE_ALL_TO_ALL; op++) {
        printf(" %s |", collective_op_name((enum collective_op)op));
    }
    printf("\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < MACHINES; i++) {
        collect(&machines[i], rows, -1, -1, fitted, e);
        if (e->n == 0) {
            continue;
        }
        printf("| %s | %s |", machines[i].set, machines[i].model);
        print_median(e);
        for (int op = 0; op <= COLLECTIVE_ALL_TO_ALL; op++) {
            collect(&machines[i], rows, op, -1, fitted, e);
            print_median(e);
        }
        printf("\n");
    }
}

static void print_size(int k)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB"};
    printf("| %d %s |", 1 << k % 10, unit[k / 10]);
}

static void by_size(const struct measured_rows *rows, struct errors *e)
{
    printf("| size | all |");
    for (size_t i = 0; i < MACHINES; i++) {
        printf(" %s |", machines[i].set);
    }
    printf("\n|---|---|");
    for (size_t i = 0; i < MACHINES; i++) {
        printf("---|");
    }
    printf("\n");
    for (int k = 0; k < SIZES; k++) {
        for (size_t i = 0; i < MACHINES; i++) {
            collect(&machines[i], rows, -1, k, false, e);
        }
        if (e->n == 0) {
            continue;
        }
        print_size(k);
        print_median(e);
        for (size_t i = 0; i < MACHINES; i++) {
            collect(&machines[i], rows, -1, k, false, e);
            print_median(e);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    struct arena a = {0};
    struct err err = {0};
    struct measured_rows rows;
    static struct errors e;
    if (argc != 3) {
        fprintf(stderr, "usage: collective_check MODELS PROFILES\n");
        return 2;
    }
    for (size_t i = 0; i < MACHINES; i++) {
        if (collective_load(&machines[i].m, machines[i].model, argv[1], &a, &err) < 0) {
            fprintf(stderr, "collective_check: %s\n", err.msg);
            return 2;
        }
    }
    measured_read(&rows, argv[2]);
    printf("### Held-out rows, by operation\n\n");
    by_operation(&rows, &e, false);
    printf("\n### Held-out rows, by size\n\n");
    by_size(&rows, &e);
    printf("\n### Fitted rows\n\n");
    by_operation(&rows, &e, true);
    measured_free(&rows);
    arena_release(&a);
    return 0;
}
