/* SPDX-License-Identifier: Apache-2.0
 *
 * A topology on a fabric, and the ways through it. */
#include <math.h>
#include <stdlib.h>

#include "sim/fabric/topology.h"

#define NO_LINK UINT32_MAX
#define FAR     UINT32_MAX

static const bool passes[] = {
#define TOPO_PASSES(constant, name, passes) passes,
    TOPO_KIND_MAP(TOPO_PASSES)
#undef TOPO_PASSES
};

/* ---- laying it down ---- */

static int add_limit(struct fabric *f, const char *name, const char *what, double bytes_per_s,
                     link_id *ret, struct arena *a, struct err *e)
{
    *ret = NO_LINK;
    if (bytes_per_s <= 0) {
        return 0;
    }
    struct link_spec s = {.name = arena_printf(a, "%s%s", name, what), .bytes_per_s = bytes_per_s};
    return s.name ? fabric_add_link(f, &s, ret, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int add_cable(const struct topology *t, uint32_t i, struct fabric *f, link_id ret[2],
                     struct arena *a, struct err *e)
{
    const struct topo_link *l = &t->links[i];
    for (int d = 0; d < 2; d++) {
        struct link_spec s = {
            .name = arena_printf(a, "%s:%s>%s", l->name, t->nodes[l->end[d]].name,
                                 t->nodes[l->end[!d]].name),
            .bytes_per_s = l->bytes_per_s[d],
            .latency_ns = l->latency_ns,
        };
        int rc = s.name ? fabric_add_link(f, &s, &ret[d], e) : err_set(e, SIM_E_NOMEM, "out of memory");
        if (rc == 0 && t->faults && d == TOPO_FORTH && l->collapse.bytes_per_s > 0) {
            rc = fabric_set_fault(f, ret[d], &l->collapse, e);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

struct topo_map *topology_attach(const struct topology *t, struct fabric *f, struct arena *a,
                                 struct err *e)
{
    struct topo_map *m = arena_alloc(a, sizeof *m);
    if (!m) {
        err_set(e, SIM_E_NOMEM, "out of memory");
        return NULL;
    }
    *m = (struct topo_map){.topo = t,
                           .node_limit = arena_calloc(a, t->n_nodes, sizeof *m->node_limit),
                           .duplex = arena_calloc(a, t->n_links, sizeof *m->duplex),
                           .cable = arena_calloc(a, t->n_links, sizeof *m->cable)};
    if (!m->node_limit || !m->duplex || !m->cable) {
        err_set(e, SIM_E_NOMEM, "out of memory");
        return NULL;
    }
    int rc = 0;
    for (uint32_t i = 0; i < t->n_nodes && rc == 0; i++) {
        rc = add_limit(f, t->nodes[i].name, "", t->nodes[i].bytes_per_s, &m->node_limit[i], a, e);
    }
    for (uint32_t i = 0; i < t->n_links && rc == 0; i++) {
        rc = add_cable(t, i, f, m->cable[i], a, e);
        rc = rc == 0 ? add_limit(f, t->links[i].name, ":duplex", t->links[i].duplex_bytes_per_s,
                                 &m->duplex[i], a, e)
                     : rc;
    }
    return rc == 0 ? m : NULL;
}

/* ---- ways ---- */

struct step {
    uint32_t hops;
    double width;  /* narrowest cable so far */
    uint32_t link; /* that led here */
    enum topo_direction dir;
};

static bool better(const struct step *x, const struct step *y)
{
    return x->hops != y->hops ? x->hops < y->hops : x->width > y->width; /* the first in the file stays */
}

static bool is_open(const struct topology *t, uint32_t node, uint32_t from)
{
    return node == from || passes[t->nodes[node].kind];
}

/* All nodes at `hops` - 1 reach out one cable; true when one gets somewhere new or on a wider way. */
static bool widen(const struct topology *t, struct step *steps, uint32_t from, uint32_t hops)
{
    bool any = false;
    for (uint32_t i = 0; i < t->n_links; i++) {
        const struct topo_link *l = &t->links[i];
        for (int d = 0; d < 2; d++) {
            const struct step *s = &steps[l->end[d]];
            struct step *n = &steps[l->end[!d]];
            if (s->hops + 1 != hops || !is_open(t, l->end[d], from)) {
                continue;
            }
            struct step next = {hops, fmin(s->width, l->bytes_per_s[d]), i, (enum topo_direction)d};
            if (better(&next, n)) {
                *n = next;
                any = true;
            }
        }
    }
    return any;
}

static struct step *search(const struct topology *t, uint32_t from)
{
    struct step *steps = calloc(t->n_nodes, sizeof *steps);
    for (uint32_t i = 0; steps && i < t->n_nodes; i++) {
        steps[i] = (struct step){.hops = FAR, .link = NO_LINK};
    }
    if (steps) {
        steps[from].hops = 0;
        steps[from].width = HUGE_VAL;
        for (uint32_t h = 1; widen(t, steps, from, h); h++) {
        }
    }
    return steps;
}

static void put(struct topo_route *r, link_id l)
{
    if (l != NO_LINK) {
        if (r->n_path < FABRIC_MAX_PATH) {
            r->path[r->n_path] = l;
        }
        r->n_path++;
    }
}

static void narrow(struct topo_route *r, double bytes_per_s)
{
    if (bytes_per_s > 0) {
        r->bytes_per_s = fmin(r->bytes_per_s, bytes_per_s);
    }
}

/* Collected from the far end; the order of links in a path means nothing to the fabric. */
static void collect(const struct topo_map *m, const struct step *steps, uint32_t from, uint32_t to,
                    struct topo_route *r)
{
    const struct topology *t = m->topo;
    *r = (struct topo_route){.weight = 1, .bytes_per_s = HUGE_VAL, .hops = steps[to].hops};
    uint32_t n = to;
    put(r, m->node_limit[n]);
    narrow(r, t->nodes[n].bytes_per_s);
    while (n != from) {
        const struct step *s = &steps[n];
        const struct topo_link *l = &t->links[s->link];
        put(r, m->cable[s->link][s->dir]);
        put(r, m->duplex[s->link]);
        narrow(r, l->bytes_per_s[s->dir]);
        narrow(r, l->duplex_bytes_per_s);
        r->weight = fmin(r->weight, l->weight[s->dir]);
        r->latency_ns += l->latency_ns;
        n = l->end[s->dir];
        if (r->sink == 0 && t->nodes[n].kind == TOPO_ROOT) {
            r->sink = n + 1;
        }
        r->by_pcie = r->by_pcie || t->nodes[n].kind == TOPO_PCIE_SWITCH || t->nodes[n].kind == TOPO_ROOT ||
                     t->nodes[n].kind == TOPO_SOCKET;
        put(r, m->node_limit[n]);
        narrow(r, t->nodes[n].bytes_per_s);
    }
    r->source = t->nodes[from].kind == TOPO_GPU && r->sink > 0 ? from + 1 : 0;
}

int topology_route(const struct topo_map *m, uint32_t from, uint32_t to, struct topo_route *ret,
                   struct err *e)
{
    const struct topology *t = m->topo;
    if (from >= t->n_nodes || to >= t->n_nodes) {
        return err_set(e, SIM_E_CONFIG, "topology %s: there is no such node", t->name);
    }
    struct step *steps = search(t, from);
    if (!steps) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a route");
    }
    int rc = 0;
    if (steps[to].hops == FAR) {
        rc = err_set(e, SIM_E_CONFIG, "topology %s: there is no way from %s to %s", t->name,
                     t->nodes[from].name, t->nodes[to].name);
    } else {
        collect(m, steps, from, to, ret);
    }
    free(steps);
    if (rc == 0 && ret->n_path > FABRIC_MAX_PATH) {
        rc = err_set(e, SIM_E_CONFIG, "topology %s: the way from %s to %s is longer than %d shared links",
                     t->name, t->nodes[from].name, t->nodes[to].name, FABRIC_MAX_PATH);
    }
    return rc;
}
