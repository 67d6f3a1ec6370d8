/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/accuracy/collective_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What the host of the 4 x H100 needs per operation: its smallest operations take 23.3 us one by one, and
 * about 15 us when each replay of a graph starts one (9.4 us in graphs of many, elsewhere). */
#define EAGER_US  23.0
#define REPLAY_US 14.0

enum { MAX_FIELDS = 16, LINE = 512 };

static void add(struct measured_rows *r, const struct measured_row *row)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 1024;
        r->row = realloc(r->row, r->cap * sizeof *r->row);
        if (!r->row) {
            abort();
        }
    }
    r->row[r->n++] = *row;
}

/* Fields may stand in quotes with commas inside. */
static int split(char *line, char *field[MAX_FIELDS])
{
    int n = 0;
    char *p = line;
    line[strcspn(line, "\r\n")] = '\0';
    while (n < MAX_FIELDS) {
        bool quoted = *p == '"';
        field[n++] = p += quoted;
        p += strcspn(p, quoted ? "\"" : ",");
        if (quoted && *p) {
            *p++ = '\0';
        }
        if (!*p) {
            break;
        }
        *p++ = '\0';
    }
    return n;
}

static bool op_of(const char *word, enum collective_op *ret)
{
    for (int i = 0; i < COLLECTIVE_OPS; i++) {
        if (strcmp(word, collective_op_name((enum collective_op)i)) == 0) {
            *ret = (enum collective_op)i;
            return true;
        }
    }
    *ret = COLLECTIVE_ALL_TO_ALL;
    return strcmp(word, "alltoall") == 0;
}

typedef bool (*line_fn)(char **f, int n, struct measured_row *row);

static void each_line(struct measured_rows *r, const char *profiles, const char *file, line_fn take)
{
    char path[1024];
    char line[LINE];
    char *f[MAX_FIELDS];
    snprintf(path, sizeof path, "%s/%s", profiles, file);
    gzFile in = gzopen(path, "rb");
    bool head = true;
    while (in && gzgets(in, line, LINE)) {
        struct measured_row row = {.call.nodes = 1};
        int n = split(line, f);
        if (!head && take(f, n, &row) && row.us > 0 && row.call.bytes > 0) {
            add(r, &row);
        }
        head = false;
    }
    if (in) {
        gzclose(in);
    }
}

/* system,nccl,op_name,dtype,num_gpus,message_elements,latency_ms; CUDA graphs */
static bool aiconfigurator(char **f, int n, struct measured_row *row)
{
    if (n != 7 || !op_of(f[2], &row->call.op)) {
        return false;
    }
    row->call.ranks = (uint32_t)atoi(f[4]);
    row->call.bytes = atof(f[5]) * (strcmp(f[3], "half") == 0 ? 2 : 1);
    row->us = atof(f[6]) * 1e3;
    snprintf(row->set, sizeof row->set, "%s", f[0]);
    snprintf(row->note, sizeof row->note, "%s", f[1]);
    return true;
}

/* gpu,op,num_nodes,gpus_per_node,dtype,size_kb,time_us: whole microseconds. V100 left out: no model. */
static bool apex(char **f, int n, struct measured_row *row)
{
    if (n != 7 || !op_of(f[1], &row->call.op) || f[0][0] == 'V') {
        return false;
    }
    row->call.ranks = (uint32_t)atoi(f[3]);
    row->call.bytes = atof(f[5]) * 1024;
    row->us = atof(f[6]);
    snprintf(row->set, sizeof row->set, "apex %.4s", f[0]);
    snprintf(row->note, sizeof row->note, "%s", f[4]);
    return true;
}

/* collective,gpus,nccl,mode,note,bytes,time_us,...: without the runs that other people's work disturbed
 * and those with NCCL's kernels for symmetric memory, which are none of the model's algorithms. */
static bool four_h100(char **f, int n, struct measured_row *row)
{
    if (n < 7 || !op_of(f[0], &row->call.op) || strstr(f[4], "shared") || strstr(f[4], "symmetric")) {
        return false;
    }
    row->call.ranks = (uint32_t)atoi(f[1]);
    bool eager = strcmp(f[3], "eager") == 0;
    row->call.host_us = eager ? EAGER_US : REPLAY_US;
    row->call.bytes = atof(f[5]);
    row->us = atof(f[6]);
    snprintf(row->set, sizeof row->set, "4xH100 %s", eager ? "eager" : "graph");
    snprintf(row->note, sizeof row->note, "%.31s", f[4]);
    return true;
}

/* bytes,oop_time_us,...: all-reduce by 16 ranks on two nodes */
static bool two_nodes(char **f, int n, struct measured_row *row)
{
    row->call = (struct collective_call){.op = COLLECTIVE_ALL_REDUCE, .ranks = 16, .nodes = 2};
    row->call.bytes = n > 2 ? atof(f[0]) : 0;
    row->us = n > 2 ? atof(f[1]) : 0;
    snprintf(row->set, sizeof row->set, "2x8 H100");
    return true;
}

void measured_read(struct measured_rows *r, const char *profiles)
{
    *r = (struct measured_rows){0};
    each_line(r, profiles, "aiconfigurator/nccl_collectives.csv.gz", aiconfigurator);
    each_line(r, profiles, "apex_plus_nccl.csv", apex);
    each_line(r, profiles, "nccl_4xH100_nvswitch.csv", four_h100);
    each_line(r, profiles, "nccl_allreduce_16xH100_2nodes.csv", two_nodes);
}

void measured_free(struct measured_rows *r)
{
    free(r->row);
    *r = (struct measured_rows){0};
}

bool measured_was_fitted(const struct measured_row *row, const char *set, const char *note)
{
    int k = (int)lround(log2(row->call.bytes));
    return strcmp(row->set, set) == 0 && strcmp(row->note, note) == 0 && k % 2 == 0;
}
