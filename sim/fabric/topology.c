/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading topology files. Names in them may carry a range: "gpu[0-7]" are eight nodes; a cable between
 * two ranges is many cables, and the longer range falls into equal blocks, one per member of the
 * shorter: "gpu[0-7]" to "switch[0-1]" hangs gpu0..gpu3 on switch0. */
#include "sim/fabric/topology.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/opt.h"
#include "sim/fabric/reader.h"

#define MAX_NODES  4096
#define MAX_LINKS  16384
#define MAX_RATE   1e15
#define MAX_TIME   1e9 /* ns: a second */

struct range {
    const char *stem;
    uint32_t first, count;
    bool numbered;
};

static const char *const kind_names[] = {
#define TOPO_NAME(constant, name, passes) name,
    TOPO_KIND_MAP(TOPO_NAME)
#undef TOPO_NAME
};

const char *topo_kind_name(enum topo_kind k)
{
    return kind_names[k];
}

/* ---- ranges ---- */

static bool digits(const char **p, uint32_t *ret)
{
    char *end;
    if (**p < '0' || **p > '9') {
        return false;
    }
    unsigned long v = strtoul(*p, &end, 10);
    *p = end;
    *ret = (uint32_t)v;
    return v < 1000000;
}

/* "gpu[0-7]" -> stem "gpu", 0, 8; "dram" -> itself. false when the brackets make no sense. */
static bool parse_range(const char *text, struct range *ret, struct arena *a)
{
    const char *open = strchr(text, '[');
    uint32_t last = 0;
    *ret = (struct range){.stem = text, .count = 1};
    if (!open) {
        return *text && !strchr(text, ']');
    }
    ret->stem = arena_strndup(a, text, (size_t)(open - text));
    ret->numbered = true;
    const char *p = open + 1;
    if (!ret->stem || !*ret->stem || !digits(&p, &ret->first) || *p++ != '-' || !digits(&p, &last) ||
        strcmp(p, "]") != 0 || last < ret->first || last - ret->first >= MAX_NODES) {
        return false;
    }
    ret->count = last - ret->first + 1;
    return true;
}

static const char *member(const struct range *g, uint32_t i, struct arena *a)
{
    return g->numbered ? arena_printf(a, "%s%u", g->stem, g->first + i) : arena_strdup(a, g->stem);
}

/* Room for one more in an array that doubles; the old half stays in the arena. */
static bool roomy(void **array, uint32_t n, size_t size, struct arena *a)
{
    if (n > 0 && (n < 16 || (n & (n - 1)) != 0)) {
        return true;
    }
    void *more = arena_calloc(a, n < 16 ? 16 : 2 * (size_t)n, size);
    if (more && n) {
        memcpy(more, *array, n * size);
    }
    *array = more ? more : *array;
    return more != NULL;
}

/* ---- nodes ---- */

static uint32_t find_node(const struct topology *t, const char *name)
{
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (strcmp(t->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static const char *nearest_node(const struct topology *t, const char *name, struct arena *a)
{
    const char **names = arena_calloc(a, t->n_nodes + 1, sizeof *names);
    for (uint32_t i = 0; names && i < t->n_nodes; i++) {
        names[i] = t->nodes[i].name;
    }
    return names ? text_nearest(name, names, t->n_nodes) : NULL;
}

static void add_node(struct reader *r, struct topology *t, const char *where, struct topo_node n)
{
    if (t->n_nodes == MAX_NODES) {
        reader_fail(r, where, "more than %d nodes", MAX_NODES);
    } else if (!n.name || !roomy((void **)&t->nodes, t->n_nodes, sizeof n, r->arena)) {
        r->rc = err_set(r->err, SIM_E_NOMEM, "out of memory for nodes");
    } else if (find_node(t, n.name) != UINT32_MAX) {
        reader_fail(r, where, "there is a node '%s' already", n.name);
    } else {
        t->nodes[t->n_nodes++] = n;
        t->kinds[n.kind]++;
    }
}

static void read_node(struct reader *r, struct topology *t, const cJSON *v)
{
    static const char *const keys[] = {"kind", "bytes_per_s", "engines_in", "engines_out"};
    struct range g;
    const char *where = reader_join(r, "nodes", v->string);
    if (!cJSON_IsObject(v)) {
        reader_fail(r, where, "an object { ... } is expected");
        return;
    }
    if (!parse_range(v->string, &g, r->arena)) {
        reader_fail(r, where, "a name or a range such as gpu[0-7] is expected");
        return;
    }
    reader_keys(r, v, where, keys, 4);
    struct topo_node n = {.kind = (enum topo_kind)reader_choice(r, v, where, "kind", kind_names,
                                                                TOPO_KINDS)};
    n.bytes_per_s = reader_double(r, v, where, "bytes_per_s", 1, MAX_RATE, 0);
    n.engines_in = reader_uint(r, v, where, "engines_in", 1, 64, 1);
    n.engines_out = reader_uint(r, v, where, "engines_out", 1, 64, 1);
    for (uint32_t i = 0; i < g.count && r->rc == 0; i++) {
        n.name = member(&g, i, r->arena);
        add_node(r, t, where, n);
    }
}

/* ---- cables ---- */

/* Both directions from generation and width; the device end is `from`, so it writes forth and reads
 * back. Measured figures in the file come first. */
static void read_pcie(struct reader *r, const cJSON *v, const char *where, struct topo_link *l)
{
    struct pcie_config c = {
        .gen = reader_uint(r, v, where, "gen", 1, 6, (double)NAN),
        .lanes = reader_uint(r, v, where, "lanes", 1, 16, 16),
        .max_payload_byte = reader_uint(r, v, where, "max_payload", 128, 4096, 256),
        .read_request_byte = reader_uint(r, v, where, "read_request", 128, 4096, 512),
    };
    l->bytes_per_s[TOPO_FORTH] = pcie_write_bytes_per_s(&c);
    l->bytes_per_s[TOPO_BACK] = pcie_read_bytes_per_s(&c);
    if (r->rc == 0 && l->bytes_per_s[TOPO_FORTH] <= 0) {
        reader_fail(r, where, "there is no PCI Express of generation %u with %u lanes, payload %u and "
                    "read request %u", c.gen, c.lanes, c.max_payload_byte, c.read_request_byte);
    }
}

/* "collapse": what is left of a cable for the writes of so many GPUs to places behind so many root ports. */
static void read_collapse(struct reader *r, const cJSON *v, const char *where, struct topo_link *l)
{
    static const char *const keys[] = {"writers", "roots", "bytes_per_s"};
    const cJSON *c = reader_object(r, v, where, "collapse", false);
    const char *at = reader_join(r, where, "collapse");
    if (!c) {
        return;
    }
    reader_keys(r, c, at, keys, 3);
    l->collapse.sources = reader_uint(r, c, at, "writers", 1, 64, (double)NAN);
    l->collapse.sinks = reader_uint(r, c, at, "roots", 1, 64, (double)NAN);
    l->collapse.bytes_per_s = reader_double(r, c, at, "bytes_per_s", 1, MAX_RATE, (double)NAN);
}

static void read_rates(struct reader *r, const cJSON *v, const char *where, struct topo_link *l)
{
    bool pcie = cJSON_HasObjectItem(v, "gen");
    if (pcie) {
        read_pcie(r, v, where, l);
    }
    double forth = pcie ? l->bytes_per_s[TOPO_FORTH] : (double)NAN;
    l->bytes_per_s[TOPO_FORTH] = reader_double(r, v, where, "bytes_per_s", 1, MAX_RATE, forth);
    double back = pcie ? l->bytes_per_s[TOPO_BACK] : l->bytes_per_s[TOPO_FORTH];
    l->bytes_per_s[TOPO_BACK] = reader_double(r, v, where, "back_bytes_per_s", 1, MAX_RATE, back);
    l->duplex_bytes_per_s = reader_double(r, v, where, "duplex_bytes_per_s", 1, MAX_RATE, 0);
    l->weight[TOPO_FORTH] = reader_double(r, v, where, "weight", 0.01, 100, 1);
    l->weight[TOPO_BACK] = reader_double(r, v, where, "back_weight", 0.01, 100, 1);
    l->latency_ns = (sim_ns)reader_double(r, v, where, "latency_ns", 0, MAX_TIME, 0);
    read_collapse(r, v, where, l);
}

static uint32_t end_of_cable(struct reader *r, const struct topology *t, const char *where,
                             const char *key, const struct range *g, uint32_t i)
{
    const char *name = member(g, i, r->arena);
    uint32_t n = name ? find_node(t, name) : UINT32_MAX;
    if (n == UINT32_MAX) {
        const char *near = name ? nearest_node(t, name, r->arena) : NULL;
        reader_fail(r, reader_join(r, where, key), "there is no node '%s'%s%s%s", name ? name : "",
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return n;
}

static bool read_ends(struct reader *r, const cJSON *v, const char *where, struct range ends[2])
{
    static const char *const keys[] = {"from", "to"};
    for (int k = 0; k < 2; k++) {
        const char *text = reader_string(r, v, where, keys[k], NULL);
        if (r->rc == 0 && !parse_range(text, &ends[k], r->arena)) {
            reader_fail(r, reader_join(r, where, keys[k]),
                        "a node or a range such as gpu[0-7] is expected");
        }
    }
    uint32_t x = ends[0].count;
    uint32_t y = ends[1].count;
    if (r->rc == 0 && x % y != 0 && y % x != 0) {
        reader_fail(r, where, "%u ends cannot be spread evenly over %u", x > y ? x : y, x > y ? y : x);
    }
    return r->rc == 0;
}

static void add_cable(struct reader *r, struct topology *t, const char *where, const struct topo_link *l)
{
    if (t->n_links == MAX_LINKS) {
        reader_fail(r, where, "more than %d cables", MAX_LINKS);
    } else if (!l->name || !roomy((void **)&t->links, t->n_links, sizeof *l, r->arena)) {
        r->rc = err_set(r->err, SIM_E_NOMEM, "out of memory for cables");
    } else if (l->end[0] == l->end[1]) {
        reader_fail(r, where, "both ends are '%s'", t->nodes[l->end[0]].name);
    } else {
        t->links[t->n_links++] = *l;
    }
}

static void read_cable(struct reader *r, struct topology *t, const cJSON *v)
{
    static const char *const keys[] = {
        "from", "to", "bytes_per_s", "back_bytes_per_s", "duplex_bytes_per_s", "weight", "back_weight",
        "latency_ns", "gen", "lanes", "max_payload", "read_request", "collapse"};
    const char *where = reader_join(r, "links", v->string);
    struct range ends[2] = {0};
    struct topo_link l = {0};
    if (!cJSON_IsObject(v)) {
        reader_fail(r, where, "an object { ... } is expected");
        return;
    }
    reader_keys(r, v, where, keys, sizeof keys / sizeof *keys);
    read_rates(r, v, where, &l);
    if (!read_ends(r, v, where, ends)) {
        return;
    }
    uint32_t n = ends[0].count > ends[1].count ? ends[0].count : ends[1].count;
    for (uint32_t i = 0; i < n && r->rc == 0; i++) {
        l.name = n > 1 ? arena_printf(r->arena, "%s[%u]", v->string, i)
                       : arena_strdup(r->arena, v->string);
        l.end[0] = end_of_cable(r, t, where, "from", &ends[0], i * ends[0].count / n);
        l.end[1] = end_of_cable(r, t, where, "to", &ends[1], i * ends[1].count / n);
        if (r->rc == 0) {
            add_cable(r, t, where, &l);
        }
    }
}

/* ---- files ---- */

static void read_all(struct reader *r, struct topology *t)
{
    static const char *const keys[] = {"full_name", "call_ns", "nodes", "links"};
    reader_keys(r, r->root, "", keys, 4);
    t->full_name = reader_string(r, r->root, "", "full_name", t->name);
    t->provenance = reader_string(r, r->root, "", "_provenance", "topology as given");
    t->call_ns = (sim_ns)reader_double(r, r->root, "", "call_ns", 0, MAX_TIME, 5000);
    const cJSON *nodes = reader_object(r, r->root, "", "nodes", true);
    const cJSON *links = reader_object(r, r->root, "", "links", true);
    for (const cJSON *v = nodes ? nodes->child : NULL; v && r->rc == 0; v = v->next) {
        if (v->string[0] != '_') {
            read_node(r, t, v);
        }
    }
    for (const cJSON *v = links ? links->child : NULL; v && r->rc == 0; v = v->next) {
        if (v->string[0] != '_') {
            read_cable(r, t, v);
        }
    }
}

int topology_parse(struct topology *ret, const char *text, size_t len, const char *file,
                   struct arena *a, struct err *e)
{
    struct reader r;
    *ret = (struct topology){.name = reader_name(file, a)};
    if (!ret->name) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a topology");
    }
    int rc = reader_open(&r, text, len, file, a, e);
    if (rc < 0) {
        return rc;
    }
    read_all(&r, ret);
    reader_close(&r);
    if (r.rc == 0 && ret->n_nodes == 0) {
        return err_set(e, SIM_E_CONFIG, "%s: key 'nodes': there is no node", file);
    }
    return r.rc;
}

int topology_load(struct topology *ret, const char *name, const char *data_dir, struct arena *a,
                  struct err *e)
{
    const char *path = NULL;
    size_t len = 0;
    char *text = reader_find("topology", name, data_dir, "topologies", &path, &len, a, e);
    if (!text) {
        return e && e->code ? e->code : SIM_E_CONFIG;
    }
    return topology_parse(ret, text, len, path, a, e);
}

int topology_node(const struct topology *t, const char *name, uint32_t *ret, struct err *e)
{
    struct arena a = {0};
    *ret = find_node(t, name);
    int rc = 0;
    if (*ret == UINT32_MAX) {
        const char *near = nearest_node(t, name, &a);
        rc = err_set(e, SIM_E_CONFIG, "topology %s has no node '%s'%s%s%s", t->name, name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    arena_release(&a);
    return rc;
}

uint32_t topology_nth(const struct topology *t, enum topo_kind k, uint32_t i)
{
    for (uint32_t n = 0; n < t->n_nodes; n++) {
        if (t->nodes[n].kind == k && i-- == 0) {
            return n;
        }
    }
    return UINT32_MAX;
}
