/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/reproduce/links_nccl.h"

#include <math.h>
#include <string.h>

#include "calibrate/sheet.h"
#include "sim/fabric/collective.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OPS      3
#define SIZES    64

static const enum collective_op op[OPS] = {COLLECTIVE_ALL_REDUCE, COLLECTIVE_ALL_GATHER, COLLECTIVE_REDUCE_SCATTER};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- by the bundled file ---- */

struct nccl_row {
    const char *size;
    double bytes, us[3];
};

static int nccl_rows(struct repro *p, const struct collective_model *m, const struct nccl_row *r,
                     struct err *e)
{
    for (size_t i = 0; i < COUNT(op); i++) {
        struct collective_call c = {.op = op[i], .ranks = 4, .bytes = r->bytes, .host_us = m->host_us};
        struct collective_choice got;
        const char *row = arena_printf(&p->ar, "%s of %s", collective_op_name(op[i]), r->size);

        if (!row) {
            return no_memory(e);
        }
        if (collective_time(m, &c, &got, e) < 0 ||
            repro_number(p, row, "us", r->us[i], got.us, 0.09, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

int links_nccl_bundled(struct repro *p, struct err *e)
{
    static const struct nccl_row row[] = {
        {"32 KiB", 32768, {25.05, 23.63, 21.94}},       {"128 KiB", 131072, {26.32, 26.28, 23.96}},
        {"512 KiB", 524288, {27.88, 28.24, 25.95}},     {"1 MiB", 1048576, {26.76, 27.87, 25.83}},
        {"2 MiB", 2097152, {30.32, 27.76, 25.69}},      {"4 MiB", 4194304, {43.43, 38.62, 35.72}},
        {"8 MiB", 8388608, {63.07, 47.30, 42.74}},      {"16 MiB", 16777216, {101.86, 67.25, 62.56}},
        {"32 MiB", 33554432, {175.8, 109.2, 105.9}},    {"64 MiB", 67108864, {329.4, 194.9, 189.9}},
        {"128 MiB", 134217728, {617.7, 349.9, 346.8}},  {"256 MiB", 268435456, {1186, 658.9, 662.6}},
        {"1 GiB", 1073741824, {4533, 2459, 2446}},      {"8 GiB", 8589934592, {35188, 18754, 18360}},
    };
    struct collective_model m;

    if (collective_load(&m, "nvlink4-h100", steelyard_data_dir(NULL, &p->ar), &p->ar, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(row); i++) {
        if (nccl_rows(p, &m, &row[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- by their own measurements ---- */

/* Rows of one operation on 4 GPUs, started one by one on a quiet machine, into `c`. */
static int read_curve(const char *folder, struct measured_curve *c, struct arena *ar, struct err *e)
{
    struct sheet s;
    int rc = sheet_open(&s, folder, "nccl_4xH100_nvswitch", ar, e);

    if (rc < 0) {
        return rc;
    }
    int what = sheet_column(&s, "collective"), gpus = sheet_column(&s, "gpus"), nccl = sheet_column(&s, "nccl");
    int mode = sheet_column(&s, "mode"), note = sheet_column(&s, "note"), bytes = sheet_column(&s, "bytes");
    int us = sheet_column(&s, "time_us");
    bool ok = e->code == 0;

    while (ok && (rc = sheet_next(&s)) > 0) {
        double size = sheet_number(&s, bytes, &ok), time = sheet_number(&s, us, &ok);
        bool ours = strcmp(sheet_text(&s, what), c->op) == 0 && strcmp(sheet_text(&s, gpus), "4") == 0 &&
                    strcmp(sheet_text(&s, nccl), "2.29.2") == 0 && strcmp(sheet_text(&s, mode), "eager") == 0 &&
                    strcmp(sheet_text(&s, note), "quiet box") == 0;

        if (ok && ours && size > 0 && c->n < SIZES) {
            c->bytes[c->n] = size;
            c->us[c->n++] = time;
        }
    }
    sheet_close(&s);
    return e->code < 0 ? e->code : rc;
}

static const char *size_name(double bytes, struct arena *ar)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB"};
    size_t i = 0;

    while (bytes >= 1024 && i + 1 < COUNT(unit)) {
        bytes /= 1024;
        i++;
    }
    return arena_printf(ar, "%g %s", bytes, unit[i]);
}

/* The model got every second size, the largest among them; the others are asked for. */
static int left_out(struct repro *p, struct collective_model *m, const struct measured_curve *c, enum collective_op o,
                    struct err *e)
{
    for (uint32_t i = 1 - measured_first(c); i < c->n; i += 2) {
        struct collective_call call = {.op = o, .ranks = 4, .bytes = c->bytes[i], .host_us = m->host_us};
        const char *size = size_name(c->bytes[i], &p->ar);
        const char *row = size ? arena_printf(&p->ar, "%s of %s", c->op, size) : NULL;
        struct collective_choice got;

        if (!row) {
            return no_memory(e);
        }
        if (collective_time(m, &call, &got, e) < 0 || repro_number(p, row, "us", c->us[i], got.us, 0.09, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int own(struct repro *p, const char *folder, enum collective_op o, struct err *e)
{
    double bytes[SIZES], us[SIZES];
    struct measured_curve all = {.op = collective_op_name(o), .ranks = 4, .nodes = 1, .bytes = bytes, .us = us}, half;
    struct collective_model m = {.name = "4 x H100", .measured = {1, &half}};
    uint32_t lowered;

    if (read_curve(folder, &all, &p->ar, e) < 0 || measured_thin(&half, &all, &p->ar, e) < 0) {
        return e->code;
    }
    measured_mend(&half, &lowered);
    return left_out(p, &m, &all, o, e);
}

int links_nccl_own(struct repro *p, struct err *e)
{
    const char *folder = p->data ? arena_printf(&p->ar, "%s/profiles", p->data) : NULL;

    if (!folder) {
        return repro_number(p, "measurements of four H100", "us", NAN, NAN, 0.09, e);
    }
    for (size_t i = 0; i < OPS; i++) {
        if (own(p, folder, op[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}
