/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a policy spec: an error with a message, or a policy that serves three requests. */
#include <stdlib.h>
#include <string.h>

#include "policies/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) {
        abort();
    }
}

static uint32_t truth(const void *engine, req_id r)
{
    (void)engine;
    return r + 3;
}

static int violation(void *ctx, const char *text)
{
    (void)ctx, (void)text;
    abort();
}

static void serve(const struct policy_instance *p)
{
    struct req reqs[3];
    struct sched_view v = {
        .reqs = reqs, .running_head = REQ_NONE, .running_tail = REQ_NONE, .n_waiting = 0};
    for (req_id r = 0; r < 3; r++) {
        reqs[r] = (struct req){.serial = r, .client = r % 2, .prompt_tok = 9, .weight = 1,
                               .state = REQ_WAITING};
        v.n_waiting += p->ops->arrive(p->st, &v, r) == NULL;
    }
    while (v.n_waiting > 0) {
        req_id r = p->ops->next(p->st, &v);
        must(r < 3 && reqs[r].state == REQ_WAITING);
        v.n_waiting--;
        if (p->ops->admit) {
            p->ops->admit(p->st, &v, r, 0);
        }
        reqs[r].state = REQ_PREFILLING;
    }
    must(p->ops->next(p->st, &v) == REQ_NONE && p->ops->waiting(p->st) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct policy_env env = {
        .arena = &a, .kv_tok = 1000, .truth_output = truth, .violation = violation};
    struct policy_instance p;
    char *spec = arena_strndup(&a, (const char *)data, size);
    if (!spec) {
        return 0;
    }
    int rc = policy_open(spec, &env, &p, &e);
    must((rc == 0) == (e.code == 0) && (rc == 0 || e.msg[0]));
    if (rc == 0) {
        serve(&p);
    }
    if (p.ops && p.ops->release) {
        p.ops->release(p.st);
    }
    arena_release(&a);
    return 0;
}
