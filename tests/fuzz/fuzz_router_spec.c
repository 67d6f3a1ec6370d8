/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a router spec: an error with a message, or a router that sends six requests somewhere. */
#include <stdlib.h>

#include "policies/route.h"

#define REPLICAS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) {
        abort();
    }
}

static void send(const struct router_instance *p, struct err *e)
{
    static const uint64_t ids[] = {1, 2, 3, 1, 2, 4, 9, 9};
    struct route_replica replica[REPLICAS] = {{.n_running = 1}, {.kv_total_tok = 9}, {.kv_used_tok = 5}};
    struct route_view v = {.n = REPLICAS, .replica = replica};
    for (uint32_t i = 0; i < 6; i++) {
        struct route_req r = {.serial = i, .session = i / 2, .client = i % 2, .prompt_tok = 1 + 20 * i,
                              .hash = ids + i % 3, .n_hash = i, .hash_tok = 16};
        uint32_t at = REPLICAS;
        must(p->ops->route(p->st, &v, &r, &at, e) == 0 && at < REPLICAS);
        if (p->ops->left) {
            const struct route_left l = {.serial = i, .session = i / 2, .replica = at, .client = i % 2,
                                         .prompt_tok = 1 + 20 * i, .output_tok = 1u << 4 * i};
            p->ops->left(p->st, &l);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct route_env env = {.arena = &a, .n = REPLICAS, .kv_tok = 100};
    struct router_instance p;
    struct policy_stat stat[4];
    char *spec = arena_strndup(&a, (const char *)data, size);
    if (!spec) {
        return 0;
    }
    int rc = router_open(spec, &env, &p, &e);
    must((rc == 0) == (e.code == 0) && (rc == 0 || e.msg[0]));
    if (rc == 0) {
        send(&p, &e);
        must(!p.ops->stats || p.ops->stats(p.st, stat, 4) <= 4);
    }
    if (p.ops && p.ops->release) {
        p.ops->release(p.st);
    }
    arena_release(&a);
    return 0;
}
