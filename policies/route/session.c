/* SPDX-License-Identifier: Apache-2.0
 *
 * A conversation stays where it began; it begins at the replica with the fewest requests. */
#include <stdlib.h>

#include "policies/route.h"

enum session_key { KEY_SESSION, KEY_CLIENT };

struct seat {
    uint64_t key; /* 0 = empty */
    uint32_t replica;
};

struct session {
    int64_t by;
    uint32_t next; /* where looking begins: of equals each has its turn */
    struct seat *seat; /* open addressing */
    uint64_t cap, n;
    uint64_t kept; /* requests that followed an earlier one */
};

static const struct opt_choice session_keys[] = {
    {"session", "the trace's sessions; a request without one goes where the fewest are"},
    {"client", "the client: everything it sends goes to one replica"},
    {NULL, NULL},
};

static const struct opt_row session_options[] = {
    {.name = "by", .type = OPT_CHOICE, .offset = offsetof(struct session, by), .def = "session",
     .help = "what stays together", .choices = session_keys},
    OPT_END,
};

static struct seat *find(struct seat *seat, uint64_t cap, uint64_t key)
{
    uint64_t i = (key * 0x9E3779B97F4A7C15u >> 20) & (cap - 1);
    while (seat[i].key != 0 && seat[i].key != key) {
        i = (i + 1) & (cap - 1);
    }
    return &seat[i];
}

static bool reach(struct session *s)
{
    if (s->cap > 0 && s->n * 2 < s->cap) {
        return true;
    }
    uint64_t cap = s->cap ? 2 * s->cap : 64;
    struct seat *seat = calloc(cap, sizeof *seat);
    if (!seat) {
        return false;
    }
    for (uint64_t i = 0; i < s->cap; i++) {
        if (s->seat[i].key != 0) {
            *find(seat, cap, s->seat[i].key) = s->seat[i];
        }
    }
    free(s->seat);
    s->seat = seat;
    s->cap = cap;
    return true;
}

static int session_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                         struct err *e)
{
    struct session *s = st;
    uint64_t key = s->by == KEY_CLIENT ? (uint64_t)r->client + 1 : r->session;
    if (!reach(s)) {
        return err_set(e, SIM_E_NOMEM, "no memory for the sessions of a router");
    }
    struct seat *seat = key ? find(s->seat, s->cap, key) : NULL;
    if (seat && seat->key != 0) {
        *ret = seat->replica;
        s->kept++;
        return 0;
    }
    *ret = route_least(v, s->next, route_outstanding);
    s->next = *ret + 1;
    if (seat) {
        *seat = (struct seat){key, *ret};
        s->n++;
    }
    return 0;
}

static void session_release(void *st)
{
    struct session *s = st;
    free(s->seat);
    s->seat = NULL;
    s->cap = 0;
}

static size_t session_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct session *s = st;
    const struct policy_stat all[] = {
        {"router_kept", "1", (double)s->kept},
        {"router_sessions", "1", (double)s->n},
    };
    size_t n = 0;
    for (; n < sizeof all / sizeof *all && n < max; n++) {
        ret[n] = all[n];
    }
    return n;
}

const struct router_ops router_session = {
    .name = "session",
    .summary = "a conversation stays at the replica where it began",
    .source = "textbook (sticky sessions)",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct session),
    .options = session_options,
    .release = session_release,
    .route = session_route,
    .stats = session_stats,
};
