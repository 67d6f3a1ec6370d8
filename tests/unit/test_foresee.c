/* SPDX-License-Identifier: Apache-2.0
 *
 * What oracles are told about the future of experts, against looking at every route to come: sequences that go on,
 * jump, stand still and take one another's place in what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/layers/routing.h"

#define LAYERS 3

static uint32_t brute(struct routing *r, uint32_t layer, uint32_t expert, bool past)
{
    uint32_t best = ROUTING_HORIZON;
    for (uint32_t t = 0; t < r->n_tok; t++) {
        bool last = t + 1 == r->n_tok || r->tok[t + 1].sequence != r->tok[t].sequence;
        for (uint32_t d = past ? 1 : 0; d < (last ? ROUTING_HORIZON : 1); d++) {
            struct route at;
            routes_at(r->source, r->tok[t].sequence, r->tok[t].position + d, layer, &at);
            for (uint32_t i = 0; i < r->k; i++) {
                best = at.expert[i] == expert && d < best ? d : best;
            }
        }
    }
    return best;
}

static void check_step(struct routing *r, const struct expert_token *tok, uint32_t n)
{
    struct err e = {0};
    assert_int_equal(routing_tokens(r, tok, n, &e), 0);
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (int past = 0; past < 2; past++) {
            for (uint32_t j = 0; j < r->experts; j += 13) {
                assert_int_equal(routing_next_use(r, l, j, past), brute(r, l, j, past));
            }
        }
    }
}

static void test_next_use(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct routes *source;
    struct routes_env env = {.seed = 3};
    struct routing r;
    assert_int_equal(routes_open(&source, "synth{preset=olmoe-1b-7b,layers=3}", &env, &e), 0);
    assert_int_equal(routing_init(&r, source, 3, 0, 64, EXPERTS_FUTURE, &a, &e), 0);
    assert_int_equal(r.layers, LAYERS);
    struct expert_token tok[4] = {{.sequence = 1}, {.sequence = 2}, {.sequence = 65}, {.sequence = 9}}; /* 1 and 65 meet */
    for (uint32_t i = 0; i < 16; i++) {
        check_step(&r, tok, 1 + i % 4);
        tok[0].position += 1;
        tok[1].position += i % 3;
        tok[2].position += i == 11 ? 1000 : 1;
        tok[3].position = i % 5 == 4 ? 0 : tok[3].position + 40;
    }
    struct expert_token prompt[3] = {{1, 0, true}, {1, 1, true}, {1, 2, true}};
    check_step(&r, prompt, 3);
    routing_release(&r);
    routes_close(source);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_next_use)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
