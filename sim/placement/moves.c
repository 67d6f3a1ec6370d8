/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/moves.h"

#include <math.h>
#include <string.h>

/* ---- ports ---- */

static int add_ports(struct moves *x, link_id *to, const char *name, double bytes_per_s, struct arena *a, struct err *e)
{
    for (uint32_t i = 0; i < x->cfg.ranks; i++) {
        struct link_spec s = {.name = arena_printf(a, "rank%u.%s", i, name), .bytes_per_s = bytes_per_s};

        if (!s.name) {
            return err_set(e, SIM_E_NOMEM, "out of memory for the ports of ranks");
        }
        if (fabric_add_link(x->fabric, &s, &to[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

int moves_init(struct moves *x, const struct moves_config *c, struct arena *a, struct err *e)
{
    double node = c->node_bytes_per_s > 0 ? c->node_bytes_per_s : c->bytes_per_s;
    link_id *port = arena_calloc(a, 4 * (size_t)c->ranks, sizeof(*port));

    *x = (struct moves){.cfg = *c, .fabric = fabric_new(a)};
    x->sending = arena_calloc(a, c->ranks, sizeof(*x->sending));
    x->receiving = arena_calloc(a, c->ranks, sizeof(*x->receiving));
    if (!port || !x->fabric || !x->sending || !x->receiving) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the ports of ranks");
    }
    x->out = port;
    x->in = port + c->ranks;
    x->node_out = c->node_bytes_per_s > 0 ? port + 2 * c->ranks : x->out;
    x->node_in = c->node_bytes_per_s > 0 ? port + 3 * c->ranks : x->in;
    if (add_ports(x, x->out, "out", c->bytes_per_s, a, e) < 0 || add_ports(x, x->in, "in", c->bytes_per_s, a, e) < 0) {
        return e->code;
    }
    return c->node_bytes_per_s > 0 && (add_ports(x, x->node_out, "node.out", node, a, e) < 0 ||
                                       add_ports(x, x->node_in, "node.in", node, a, e) < 0)
               ? e->code
               : 0;
}

/* ---- a layer ---- */

static bool same_node(const struct moves *x, uint32_t a, uint32_t b)
{
    return a / x->cfg.per_node == b / x->cfg.per_node;
}

/* Of the ranks that hold the expert one of the receiver's node, and of these the one that sends least. */
static uint32_t sender(const struct moves *x, const struct replicas *from, uint32_t expert, uint32_t to)
{
    uint32_t ret = replicas_rank(from, from->copy[from->first[expert]]);

    for (uint32_t i = from->first[expert] + 1; i < from->first[expert + 1]; i++) {
        uint32_t rank = replicas_rank(from, from->copy[i]);
        bool near = same_node(x, rank, to), best_near = same_node(x, ret, to);

        if (near > best_near || (near == best_near && x->sending[rank] < x->sending[ret])) {
            ret = rank;
        }
    }
    return ret;
}

static int send(struct moves *x, sim_ns now, uint32_t from, uint32_t to, struct err *e)
{
    bool near = same_node(x, from, to);
    const link_id path[] = {near ? x->node_out[from] : x->out[from], near ? x->node_in[to] : x->in[to]};
    struct flow_spec s = {.path = path, .n_path = 2, .bytes = x->cfg.expert_bytes,
                          .delay_ns = x->cfg.calls * x->cfg.call_ns};

    if (fabric_start_flow(x->fabric, now, &s) == FLOW_NONE) {
        return err_set(e, SIM_E_CHECK, "expert placement: no copy from rank %u to rank %u can be started", from, to);
    }
    x->sending[from]++;
    x->receiving[to]++;
    x->under_way++;
    x->copies++;
    x->bytes += x->cfg.expert_bytes;
    return 0;
}

int moves_start(struct moves *x, sim_ns now, const struct replicas *from, const struct replicas *to,
                struct err *e)
{
    const struct place_spec *s = &to->at.spec;

    memset(x->sending, 0, x->cfg.ranks * sizeof(*x->sending));
    memset(x->receiving, 0, x->cfg.ranks * sizeof(*x->receiving));
    x->began_ns = now;
    for (uint32_t i = 0; i < s->slots; i++) {
        uint32_t rank = replicas_rank(to, i), expert = to->at.slot[i];

        if (replicas_holds(from, rank, expert)) {
            x->local += from->at.slot[i] != expert;
        } else if (send(x, now, sender(x, from, expert, rank), rank, e) < 0) {
            return e->code;
        }
    }
    for (uint32_t i = 0; i < x->cfg.ranks; i++) {
        x->most_received = x->receiving[i] > x->most_received ? x->receiving[i] : x->most_received;
    }
    return 0;
}

sim_ns moves_next(const struct moves *x)
{
    return x->under_way > 0 ? fabric_next(x->fabric) : SIM_NEVER;
}

bool moves_done(struct moves *x, sim_ns now)
{
    uint64_t tag;

    if (x->under_way == 0) {
        return true;
    }
    for (sim_ns at; x->under_way > 0 && (at = fabric_next(x->fabric)) <= now;) {
        while (fabric_poll(x->fabric, at, &tag)) {
            x->under_way--;
            x->ended_ns = at;
        }
    }
    x->busy_ns += x->under_way == 0 ? x->ended_ns - x->began_ns : 0;
    return x->under_way == 0;
}

static double received(const struct moves *x)
{
    double bytes = 0;

    for (uint32_t i = 0; i < x->cfg.ranks; i++) {
        bytes += fabric_link_bytes(x->fabric, x->in[i]);
        bytes += x->node_in != x->in ? fabric_link_bytes(x->fabric, x->node_in[i]) : 0;
    }
    return bytes;
}

int moves_verify(const struct moves *x, struct err *e)
{
    double got = received(x);

    return x->under_way > 0 || fabs(got - x->bytes) <= 1e-9 * x->bytes
               ? 0
               : err_set(e, SIM_E_CHECK, "expert placement: %.17g bytes were sent and %.17g came", x->bytes, got);
}
