/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of measurements: kept in memory, written whole again while measuring, read back to go on. */
#ifndef STEELYARD_PROBE_STORE_H
#define STEELYARD_PROBE_STORE_H

#include <stdbool.h>

#include "calibrate/probe/c_begin.h"
#include "calibrate/probe/cases.h"
#include "calibrate/probe/json_in.h"
#include "calibrate/probe/json_out.h"
#include "calibrate/probe/stats.h"
#include "sim/core/err.h"

#define MAX_SAMPLES 64

/* What running a case gave. Zero fields do not apply and are not written. */
struct measurement {
    int n;
    double sample_s[MAX_SAMPLES];
    int calls, sets;
    double flop, byte;
    double rel_error;
    bool checked;
    double slowdown, host_s;
    int active;         /* experts with rows */
    int sms;            /* that the operation had */
    const char *kernel; /* static or in the store */
    unsigned sm_mhz, power_w, temp_c;
    char why[160];      /* skipped or wrong: the reason */
};

enum outcome { OUTCOME_MEASURED, OUTCOME_SKIPPED, OUTCOME_WRONG };

struct store_entry {
    const struct probe_case *c;
    enum outcome outcome;
    bool known;
    struct measurement m;
    double median_s; /* of a measured one */
};

/* The best rates that a file has; NaN = not measured. */
struct store_limits {
    double bf16, fp16, fp8; /* flop/s */
    double read, copy;      /* byte/s */
};

/* One entry for each case of the list. */
struct store {
    const struct case_list *list;
    struct store_entry *entries;
    struct json_out head; /* members "device" and "host", without braces around */
    const char *path;     /* NULL: the text is for standard output */
    const char *mode, *started;
    int argc;
    char **argv;
    struct json_in_doc old; /* strings of entries read back live here */
};

int probe_store_init(struct store *s, const struct case_list *list, struct err *e);
void probe_store_release(struct store *s);

/* Takes over what the file at `path` has for cases of the list. It has to be of this format and
 * mode and of the device with this uuid (SIM_E_DATA otherwise). A file that is not there is an empty one.
 * Skipped and wrong cases are tried again. */
int store_continue(struct store *s, const char *path, const char *uuid, struct err *e);
/* The same from text; `name` is for messages. */
int store_parse(struct store *s, const char *text, size_t len, const char *name, const char *uuid,
                struct err *e);

void store_put(struct store *s, size_t i, enum outcome outcome, const struct measurement *m);
/* The whole file as text, into an empty *ret. */
void store_write(const struct store *s, bool complete, const char *updated, struct json_out *ret);
struct store_limits store_limits(const struct store *s);
/* Share of the device's limits that a measurement reached, NaN = not known. */
double store_share(const struct store_limits *l, const struct store_entry *e);

#include "calibrate/probe/c_end.h"
#endif
