/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fabric/collective.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/fabric/reader.h"

static const char *const op_names[] = {
#define COLLECTIVE_NAME(constant, name, rounds) name,
    COLLECTIVE_OP_MAP(COLLECTIVE_NAME)
#undef COLLECTIVE_NAME
};

static const double op_rounds[] = {
#define COLLECTIVE_ROUNDS(constant, name, rounds) rounds,
    COLLECTIVE_OP_MAP(COLLECTIVE_ROUNDS)
#undef COLLECTIVE_ROUNDS
};

static const char *const proto_names[] = {"ll", "ll128", "simple"};

const char *collective_op_name(enum collective_op op)
{
    return op_names[op];
}

const char *collective_algo_name(enum collective_algo a)
{
    static const char *const names[] = {"ring", "tree", "nvls"};
    return names[a];
}

const char *collective_proto_name(enum collective_proto p)
{
    return proto_names[p];
}

/* ---- files ---- */

static struct collective_cost read_cost(struct reader *r, const cJSON *obj, const char *where,
                                        const char *key)
{
    static const char *const keys[] = {"base_us",    "hop_us",    "gb_per_s",  "copy_gb_per_s",
                                       "ramp_us",    "ramp_bytes", "max_bytes", "max_growth"};
    struct collective_cost c = {0};
    const cJSON *v = reader_object(r, obj, where, key, false);
    if (v) {
        const char *at = reader_join(r, where, key);
        reader_keys(r, v, at, keys, 8);
        c.base_us = reader_double(r, v, at, "base_us", 0, 1e6, (double)NAN);
        c.hop_us = reader_double(r, v, at, "hop_us", 0, 1e6, 0);
        c.gb_per_s = reader_double(r, v, at, "gb_per_s", 1e-3, 1e6, (double)NAN);
        c.copy_gb_per_s = reader_double(r, v, at, "copy_gb_per_s", 1e-3, 1e9, 0);
        c.ramp_us = reader_double(r, v, at, "ramp_us", 0, 1e6, 0);
        c.ramp_bytes = reader_double(r, v, at, "ramp_bytes", 1, 1e15, 2e8);
        c.max_bytes = reader_double(r, v, at, "max_bytes", 1, 1e15, 0);
        c.max_growth = reader_double(r, v, at, "max_growth", 0, 2, 0);
    }
    return c;
}

static void read_shares(struct reader *r, const cJSON *obj, const char *op, struct collective_table *t)
{
    const cJSON *v = reader_object(r, obj, op, "rank_share", false);
    const char *at = reader_join(r, op, "rank_share");
    double last = 0;
    for (const cJSON *s = v ? v->child : NULL; s && r->rc == 0; s = s->next) {
        char *end;
        double ranks = strtod(s->string, &end);
        double share = reader_double(r, v, at, s->string, 1e-3, 1e3, 1);
        if (*end || !(ranks >= 2 && ranks <= 1e6) || ranks <= last) {
            reader_fail(r, reader_join(r, at, s->string),
                        "numbers of ranks from 2 on, in rising order, are expected");
        } else if (t->n_shares == COLLECTIVE_SHARES) {
            reader_fail(r, at, "more than %d entries", COLLECTIVE_SHARES);
        } else {
            t->shares[t->n_shares].ranks = last = ranks;
            t->shares[t->n_shares++].share = share;
        }
    }
}

static void read_normal(struct reader *r, const cJSON *obj, const char *op, struct collective_table *t)
{
    static const char *const keys[] = {"net_gb_per_s", "nvlink_gb_per_s"};
    const cJSON *v = reader_object(r, obj, op, "normal", false);

    if (v) {
        const char *at = reader_join(r, op, "normal");
        reader_keys(r, v, at, keys, 2);
        t->normal.net = 1e9 * reader_double(r, v, at, keys[0], 1e-3, 1e6, (double)NAN);
        t->normal.nvlink = 1e9 * reader_double(r, v, at, keys[1], 1e-3, 1e6, (double)NAN);
    }
}

static bool is_expert_op(enum collective_op op)
{
    return op == COLLECTIVE_DISPATCH || op == COLLECTIVE_COMBINE;
}

static void read_op(struct reader *r, struct collective_model *m, enum collective_op op)
{
    static const char *const keys[] = {"overlap", "rank_share", "ll", "ll128", "simple"};
    static const char *const reduce_keys[] = {"overlap", "rank_share", "ll", "ll128", "simple", "nvls"};
    static const char *const expert_keys[] = {"overlap", "rank_share", "ll", "ll128", "simple", "normal"};
    const char *where = op_names[op];
    const cJSON *v = reader_object(r, r->root, "", where, false);
    struct collective_table *t = &m->op[op];
    if (!v) {
        return;
    }
    bool more = op == COLLECTIVE_ALL_REDUCE || is_expert_op(op);
    reader_keys(r, v, where, !more ? keys : is_expert_op(op) ? expert_keys : reduce_keys, more ? 6 : 5);
    t->known = true;
    t->overlap = reader_double(r, v, where, "overlap", 1, 64, 1);
    read_shares(r, v, where, t);
    for (int p = 0; p < COLLECTIVE_PROTOS; p++) {
        t->proto[p] = read_cost(r, v, where, proto_names[p]);
    }
    if (op == COLLECTIVE_ALL_REDUCE) {
        t->nvls = read_cost(r, v, where, "nvls");
    }
    if (is_expert_op(op)) {
        read_normal(r, v, where, t);
    }
    if (r->rc == 0 && t->proto[COLLECTIVE_SIMPLE].gb_per_s <= 0 && t->normal.net <= 0) {
        reader_fail(r, where, is_expert_op(op) ? "needs 'simple' or 'normal'" : "needs at least the protocol 'simple'");
    }
    if (r->rc == 0 && t->normal.net > 0 && t->proto[COLLECTIVE_SIMPLE].gb_per_s > 0) {
        reader_fail(r, reader_join(r, where, "normal"), "goes without 'simple'");
    }
    if (r->rc == 0 && t->proto[COLLECTIVE_SIMPLE].max_bytes > 0) {
        reader_fail(r, reader_join(r, where, "simple.max_bytes"), "the last protocol has no limit");
    }
}

static void read_all(struct reader *r, struct collective_model *m)
{
    static const char *const keys[] = {
        "full_name", "host_us", "net_hop_us", "tree_share", "max_ranks",
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "dispatch", "combine", "measured"};
    reader_keys(r, r->root, "", keys, sizeof keys / sizeof *keys);
    m->full_name = reader_string(r, r->root, "", "full_name", m->name);
    m->provenance = reader_string(r, r->root, "", "_provenance", "parameters as given");
    m->host_us = reader_double(r, r->root, "", "host_us", 0, 1e6, 0);
    m->net_hop_us = reader_double(r, r->root, "", "net_hop_us", 0, 1e6, 0);
    m->tree_share = reader_double(r, r->root, "", "tree_share", 0.01, 1, 0.7);
    m->max_ranks = reader_uint(r, r->root, "", "max_ranks", 2, 1000000, 8);
    bool any = false;
    for (int op = 0; op < COLLECTIVE_OPS; op++) {
        read_op(r, m, (enum collective_op)op);
        any = any || m->op[op].known;
    }
    if (r->rc == 0) {
        r->rc = measured_parse(&m->measured, r->text, r->len, r->file, r->arena, r->err);
    }
    if (r->rc == 0 && !any && m->measured.n == 0) {
        reader_fail(r, "all_reduce", "is missing, and so is every other operation");
    }
}

int collective_parse(struct collective_model *ret, const char *text, size_t len, const char *file,
                     struct arena *a, struct err *e)
{
    struct reader r;
    *ret = (struct collective_model){.name = reader_name(file, a)};
    if (!ret->name) {
        return err_set(e, SIM_E_NOMEM, "out of memory for collectives");
    }
    int rc = reader_open(&r, text, len, file, a, e);
    if (rc == 0) {
        read_all(&r, ret);
        reader_close(&r);
        rc = r.rc;
    }
    return rc;
}

int collective_load(struct collective_model *ret, const char *name, const char *data_dir,
                    struct arena *a, struct err *e)
{
    const char *path = NULL;
    size_t len = 0;
    char *text = reader_find("collective model", name, data_dir, "collectives", &path, &len, a, e);
    if (!text) {
        return e && e->code ? e->code : SIM_E_CONFIG;
    }
    return collective_parse(ret, text, len, path, a, e);
}

/* ---- times ---- */

/* Bytes that a rank puts on the wire, as a multiple of the size. */
static double wire_share(const struct collective_call *c)
{
    if (is_expert_op(c->op)) {
        return 1;
    }
    return op_rounds[c->op] * (c->ranks - 1) / c->ranks;
}

/* Constant beyond both ends. */
static double rank_share(const struct collective_table *m, double ranks)
{
    uint32_t i = 0;
    while (i < m->n_shares && m->shares[i].ranks < ranks) {
        i++;
    }
    if (m->n_shares == 0) {
        return 1;
    }
    if (i == 0 || i == m->n_shares) {
        return m->shares[i == 0 ? 0 : i - 1].share;
    }
    double x0 = log(m->shares[i - 1].ranks);
    double x1 = log(m->shares[i].ranks);
    double y0 = log(m->shares[i - 1].share);
    double y1 = log(m->shares[i].share);
    return exp(y0 + (y1 - y0) * (log(ranks) - x0) / (x1 - x0));
}

/* Steps in a row inside of nodes and between them (NCCL: 2 per node of a ring all-reduce, 1 less than
 * the nodes otherwise; a tree goes up and down, a chain inside of each node). */
static double latency_us(const struct collective_model *m, const struct collective_call *c,
                         enum collective_algo a, const struct collective_cost *k)
{
    double nodes = c->nodes ? c->nodes : 1;
    double inside = op_rounds[c->op] * (c->ranks - 1.0);
    double between = 0;
    if (a == COLLECTIVE_TREE) {
        inside = 2 * (c->ranks / nodes - 1);
        between = 2 * ceil(log2(nodes));
    } else if (nodes > 1) {
        between = c->op == COLLECTIVE_ALL_REDUCE ? 2 * nodes : nodes - 1;
        inside -= between;
    }
    return k->base_us + fmax(inside, 0) * k->hop_us + between * m->net_hop_us;
}

static double joined(double latency, double transfer, double q)
{
    double big = fmax(latency, transfer);
    if (q <= 1 || big <= 0) {
        return latency + transfer;
    }
    return big * pow(pow(latency / big, q) + pow(transfer / big, q), 1 / q);
}

static double transfer_us(const struct collective_cost *k, const struct collective_call *c,
                          double wire_bytes, double gb_per_s)
{
    double own = k->copy_gb_per_s > 0 ? c->bytes / c->ranks / k->copy_gb_per_s : 0;
    double ramp = k->ramp_us > 0 ? k->ramp_us * c->bytes / (c->bytes + k->ramp_bytes) : 0;
    return (wire_bytes / gb_per_s + own) * 1e-3 + ramp; /* byte/(GB/s) = ns */
}

static double nvls_us(const struct collective_model *m, const struct collective_call *c)
{
    const struct collective_cost *k = &m->op[c->op].nvls;
    if (c->op != COLLECTIVE_ALL_REDUCE || k->gb_per_s <= 0 || c->nodes > 1) {
        return HUGE_VAL;
    }
    return k->base_us + k->hop_us * c->ranks + transfer_us(k, c, c->bytes, k->gb_per_s);
}

static bool is_beyond(const struct collective_cost *k, const struct collective_call *c)
{
    return k->max_bytes > 0 && c->bytes > k->max_bytes * pow(c->ranks / 2.0, k->max_growth);
}

static bool is_routed(const struct reach *r)
{
    return r->per_tok >= 1 && r->experts >= r->per_tok && r->per_node >= 1 && r->node_limit >= 0;
}

/* c->bytes count a copy per expert. */
static double normal_us(const struct collective_table *t, const struct collective_call *c)
{
    struct reach r = c->routed;

    r.ranks = c->ranks;
    return 1e6 * reach_normal_s(&r, &t->normal, c->bytes / r.per_tok);
}

double collective_us(const struct collective_model *m, const struct collective_call *c,
                     enum collective_algo a, enum collective_proto p)
{
    const struct collective_table *t = &m->op[c->op];
    const struct collective_cost *k = &t->proto[p];
    if (c->ranks < 2) {
        return 0;
    }
    if (t->normal.net > 0) {
        bool whole = a == COLLECTIVE_RING && p == COLLECTIVE_SIMPLE && is_routed(&c->routed);
        return whole ? normal_us(t, c) : HUGE_VAL;
    }
    if (a == COLLECTIVE_NVLS) {
        return p == COLLECTIVE_SIMPLE ? nvls_us(m, c) : HUGE_VAL;
    }
    if (k->gb_per_s <= 0 || is_beyond(k, c) || (a == COLLECTIVE_TREE && c->op != COLLECTIVE_ALL_REDUCE)) {
        return HUGE_VAL;
    }
    double gb_per_s = k->gb_per_s * rank_share(t, c->ranks) *
                      (a == COLLECTIVE_TREE ? m->tree_share : 1);
    double transfer = transfer_us(k, c, c->bytes * wire_share(c), gb_per_s);
    return joined(latency_us(m, c, a, k), transfer, p == COLLECTIVE_SIMPLE ? 1 : t->overlap);
}

/* The host starts the next one while this one runs, so the longer of the two counts; where both are
 * alike neither hides the other wholly. The exponent fits 4 x H100 (nccl_4xH100_nvswitch). */
#define HOST_OVERLAP 3.0

int collective_time(const struct collective_model *m, const struct collective_call *c,
                    struct collective_choice *ret, struct err *e)
{
    const struct measured_curve *curve = measured_find(&m->measured, op_names[c->op], c->ranks, c->nodes ? c->nodes : 1);

    *ret = (struct collective_choice){.us = HUGE_VAL};
    if (!m->op[c->op].known && !curve) {
        return err_set(e, SIM_E_CONFIG, "collectives %s do not have %s%s", m->name, op_names[c->op],
                       m->measured.n ? " of so many ranks" : "");
    }
    if (!(c->bytes >= 0) || !isfinite(c->bytes) || !(c->host_us >= 0) || !isfinite(c->host_us) ||
        (c->nodes > 1 && c->ranks % c->nodes != 0)) {
        return err_set(e, SIM_E_CONFIG, "%s of %g bytes by %u ranks on %u nodes makes no sense",
                       op_names[c->op], c->bytes, c->ranks, c->nodes);
    }
    if (c->ranks < 2) {
        ret->us = 0;
        return 0;
    }
    if (curve) {
        *ret = (struct collective_choice){measured_us(curve, c->bytes), COLLECTIVE_RING, COLLECTIVE_SIMPLE, true};
        return 0;
    }
    if (m->op[c->op].normal.net > 0 && !is_routed(&c->routed)) {
        return err_set(e, SIM_E_CONFIG, "%s by %s needs the routing: experts of a layer and of a token, GPUs of a node",
                       op_names[c->op], m->name);
    }
    for (int a = COLLECTIVE_RING; a <= COLLECTIVE_NVLS; a++) {
        for (int p = 0; p < COLLECTIVE_PROTOS; p++) {
            double us = collective_us(m, c, (enum collective_algo)a, (enum collective_proto)p);
            if (us < ret->us) {
                *ret = (struct collective_choice){us, (enum collective_algo)a, (enum collective_proto)p, false};
            }
        }
    }
    ret->us = joined(c->host_us, ret->us, HOST_OVERLAP);
    return 0;
}

double collective_expert_bytes(double tokens, uint32_t experts_per_tok, uint32_t hidden,
                               bool fp8_with_scales)
{
    double per_copy = fp8_with_scales ? hidden + ceil(hidden / 128.0) * 4 : 2.0 * hidden;
    return tokens * experts_per_tok * per_copy;
}

double collective_busbw(const struct collective_call *c, double us)
{
    return us > 0 ? c->bytes * wire_share(c) / us * 1e-3 : 0;
}
