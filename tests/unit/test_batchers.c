/* SPDX-License-Identifier: Apache-2.0
 *
 * Batchers against a slow, plain engine (batch_mock.c). Expected numbers are worked out by hand from
 * the engines' rules; those of the published vectors carry their number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "batch_mock.h"

extern const struct batcher_ops batcher_equinox, batcher_lightllm_slora, batcher_orca, batcher_sarathi, batcher_sglang;
extern const struct batcher_ops batcher_static, batcher_trtllm, batcher_vllm_v0, batcher_vllm_v1;

static struct engine *setup(const struct batcher_ops *ops, const char *options, uint64_t kv_blk)
{
    return mock_new(ops, options, &(struct mock_setup){.kv_blk = kv_blk, .host_blk = kv_blk});
}

/* ---- vLLM V1 ---- */

/* Vector 1: budget 2048, 10 decodes, a prompt of 5000: chunks 2038, 2038, 924. */
static void v1_budget_split(void **state)
{
    (void)state;
    const char *modes[] = {"max_num_batched_tokens=2048,async=off",
                           "max_num_batched_tokens=2048,async=on"};
    for (int a = 0; a < 2; a++) {
        struct engine *m = setup(&batcher_vllm_v1, modes[a], 1000);
        for (int i = 0; i < 10; i++) {
            mock_add_plain(m, 20, 100);
        }
        assert_int_equal(mock_step(m)->n_chunks, 10);
        req_id big = mock_add_plain(m, 5000, 3);
        const uint32_t want[] = {2038, 2038, 924};
        for (int k = 0; k < 3; k++) {
            const struct mock_step *s = mock_step(m);
            assert_int_equal(s->n_decoded, 10);
            assert_int_equal(s->n_chunks, 1);
            assert_int_equal(s->chunk[0].r, big);
            assert_int_equal(s->chunk[0].tok, want[k]);
        }
        const struct mock_step *s = mock_step(m); /* its own first decode follows at once */
        assert_int_equal(s->n_decoded, 11);
        assert_int_equal(s->n_chunks, 0);
        assert_true(s->horizon == UINT64_MAX);
        /* The third chunk is step 4; with two steps in flight its result is seen at the end of step 5. */
        assert_int_equal(mock_first_token_step(m, big), a ? 5 : 4);
        mock_drain(m, 200);
        mock_free(m);
    }
}

/* Vector 3: two prompts share 320 tokens, 40 of their own: 360 + 40 in one step. */
static void v1_same_step_sharing(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1, "max_num_batched_tokens=8192", 100);
    struct mock_spec spec = {.prompt_tok = 360, .output_tok = 4, .prefix_id = 7, .prefix_tok = 320};
    mock_add(m, spec);
    mock_add(m, spec);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_chunks, 2);
    assert_int_equal(s->chunk[0].tok, 360);
    assert_int_equal(s->chunk[1].tok, 40);
    mock_free(m);
    m = setup(&batcher_vllm_v1, "max_num_batched_tokens=8192,prefix_caching=off", 100);
    mock_add(m, spec);
    mock_add(m, spec);
    assert_int_equal(mock_step(m)->prefill_tok, 720);
    mock_free(m);
}

/* Vector 2: full hits recompute the last token, and the last block when the prompt ends on a border. */
static void v1_full_hit(void **state)
{
    (void)state;
    const uint32_t prompt[] = {160, 161, 16}, computed[] = {16, 1, 16};
    for (int i = 0; i < 3; i++) {
        struct engine *m = setup(&batcher_vllm_v1, "async=off", 100);
        struct mock_spec spec = {.prompt_tok = prompt[i], .output_tok = 1, .prefix_id = 7,
                                 .prefix_tok = prompt[i]};
        mock_add(m, spec);
        assert_int_equal(mock_step(m)->prefill_tok, prompt[i]);
        mock_add(m, spec);
        assert_int_equal(mock_step(m)->prefill_tok, computed[i]);
        mock_free(m);
    }
}

/* Vector 4: 10 blocks, A and B of 64 tokens. Both take a fifth block with their first decode; sixteen
 * tokens later A needs a sixth: B goes, and waits until A is through, while A eats B's old blocks. */
static void v1_preempt_last(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1, "async=off,max_num_batched_tokens=2048", 10);
    req_id a = mock_add_plain(m, 64, 60), b = mock_add_plain(m, 64, 40);
    assert_int_equal(mock_step(m)->n_chunks, 2);
    assert_int_equal(eng_kv_free(m), 2);
    mock_decode_steps(m, 16);
    assert_int_equal(eng_kv_free(m), 0);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_preempted, 1);
    assert_int_equal(s->preempted[0], b);
    assert_int_equal(s->n_decoded, 1);
    assert_int_equal(s->decoded[0], a);
    assert_int_equal(s->n_admitted, 0);
    assert_int_equal(s->horizon, 1);
    assert_int_equal(eng_kv_free(m), 4);
    assert_int_equal(eng_context(m, b), 81);
    assert_int_equal(eng_hit(m, b), 64);
    assert_int_equal(eng_kv_need(m, b, 81), 6); /* 4 revived + 2 new */
    s = mock_step(m); /* in 0.19 B waits */
    assert_int_equal(s->n_admitted, 0);
    assert_true(s->horizon == UINT64_MAX);
    mock_decode_steps(m, 14);
    assert_int_equal(eng_hit(m, b), 64); /* A's seventh block comes with its next token */
    mock_decode_steps(m, 1);
    assert_int_equal(eng_hit(m, b), 48);
    while (!mock_is_done(m, a)) {
        assert_int_equal(mock_step(m)->n_admitted, 0);
    }
    s = mock_step(m);
    assert_int_equal(s->n_admitted, 1);
    mock_drain(m, 100);
    assert_int_equal(mock_tokens_out(m, b), 40);
    mock_free(m);
}

/* A step that pushes somebody out admits nobody, even if the queue's head would fit. */
static void v1_no_admission_with_preemption(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1, "async=off,version=0.18,prefix_caching=off", 10);
    mock_add_plain(m, 64, 60);
    mock_add_plain(m, 64, 40);
    mock_step(m);
    mock_decode_steps(m, 16);
    mock_set_victim(m, REQ_NONE);
    mock_add_plain(m, 16, 4);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_preempted, 1);
    assert_int_equal(s->n_admitted, 0);
    mock_drain(m, 200);
    mock_free(m);
}

/* Vector 5: 100 blocks free, prompt of 200 blocks, budget of 64: 0.18 lets it in, 0.19 does not. */
static void v1_gate(void **state)
{
    (void)state;
    const char *version[] = {"version=0.18,max_num_batched_tokens=1024,async=off",
                             "version=0.19,max_num_batched_tokens=1024,async=off",
                             "version=0.19,full_isl=off,max_num_batched_tokens=1024,async=off",
                             "version=0.13,full_isl=on,max_num_batched_tokens=1024"};
    const uint32_t admitted[] = {1, 0, 1, 0};
    for (int i = 0; i < 4; i++) {
        struct engine *m = setup(&batcher_vllm_v1, version[i], 300);
        mock_add_plain(m, 1000, 3000);
        mock_step(m);
        /* 1000 tokens hold 63 blocks; decode on until 200 are held */
        while (eng_kv_free(m) > 100) {
            mock_decode_steps(m, 1);
        }
        mock_add_plain(m, 3200, 10);
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_admitted, admitted[i]);
        assert_int_equal(s->prefill_tok, admitted[i] ? 1023 : 0);
        mock_free(m);
    }
}

/* Version defaults that other parts read. */
static void v1_traits(void **state)
{
    (void)state;
    const double gib = 1024.0 * 1024 * 1024;
    const struct {
        const char *options, *gpu;
        double mem;
        uint32_t budget;
        bool async;
    } row[] = {
        {"version=0.13", "NVIDIA H100 80GB", 79.2 * gib, 8192, false},
        {"version=0.14", "NVIDIA H100 80GB", 79.2 * gib, 8192, true},
        {"", "NVIDIA A100-SXM4-80GB", 79.2 * gib, 2048, true},
        {"", "RTX 4090", 24.0 * gib, 2048, true},
        {"", NULL, 0, 2048, true},
        {"usage=offline", "H200", 139 * gib, 16384, true},
        {"usage=offline,async=off", "L4", 22 * gib, 8192, false},
        {"max_num_batched_tokens=512", "H200", 139 * gib, 512, true},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct mock_setup s = {.kv_blk = 4, .gpu_mem_bytes = row[i].mem, .gpu_name = row[i].gpu};
        struct engine *m = mock_new(&batcher_vllm_v1, row[i].options, &s);
        const struct batcher_traits *t = mock_traits(m);
        assert_int_equal(t->max_batched_tok, row[i].budget);
        assert_int_equal(t->async_depth2, row[i].async);
        assert_int_equal(t->block_tok, 16);
        assert_true(t->prefix_cache && t->null_block);
        mock_free(m);
    }
}

/* With a threshold an old long prompt stays in front of younger decodes and takes the budget first;
 * the last of the younger ones starve for that step. */
static void v1_old_prefill_eats_budget(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1,
        "async=off,max_num_batched_tokens=64,long_prefill_token_threshold=60", 1000);
    req_id old = mock_add_plain(m, 1000, 5);
    req_id d[6];
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->chunk[0].tok, 60);
    for (int i = 0; i < 6; i++) {
        d[i] = mock_add_plain(m, 1, 50);
    }
    s = mock_step(m); /* 60 + four prompts of one token */
    assert_int_equal(s->n_chunks, 5);
    assert_int_equal(s->prefill_tok, 64);
    s = mock_step(m); /* 60 + four decodes; the other two prompts wait */
    assert_int_equal(s->n_chunks, 1);
    assert_int_equal(s->chunk[0].r, old);
    assert_int_equal(s->n_decoded, 4);
    assert_int_equal(s->n_admitted, 0);
    assert_int_equal(s->decoded[3], d[3]);
    mock_free(m);

    m = setup(&batcher_vllm_v1,
        "async=off,max_num_batched_tokens=64,long_prefill_token_threshold=40", 1000);
    mock_add_plain(m, 1000, 5);
    mock_step(m);
    for (int i = 0; i < 24; i++) {
        mock_add_plain(m, 1, 50);
    }
    assert_int_equal(mock_step(m)->n_chunks, 25); /* 40 + 24 */
    mock_add_plain(m, 8, 50);
    s = mock_step(m);
    assert_int_equal(s->n_chunks, 1);
    assert_int_equal(s->n_decoded, 24);
    assert_int_equal(s->horizon, 1);
    mock_drain(m, 200);
    mock_free(m);
}

/* The order of the list when the budget really is short: max_num_seqs above the rest of the budget. */
static void v1_walk_order(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1,
        "async=off,max_num_batched_tokens=32,long_prefill_token_threshold=20", 1000);
    mock_add_plain(m, 500, 5); /* A: 20 a step */
    mock_step(m);
    for (int i = 0; i < 12; i++) {
        mock_add_plain(m, 1, 50);
    }
    mock_step(m);
    req_id late = mock_add_plain(m, 300, 5);
    const struct mock_step *s = mock_step(m); /* A 20 + 12 decodes: full */
    assert_int_equal(s->n_decoded, 12);
    assert_int_equal(s->prefill_tok, 20);
    assert_int_equal(s->n_admitted, 0);
    while (!eng_is_decoding(m, 0)) {
        s = mock_step(m);
    }
    s = mock_step(m); /* 13 decodes leave 19 */
    assert_int_equal(s->n_decoded, 13);
    assert_int_equal(s->chunk[0].r, late);
    assert_int_equal(s->chunk[0].tok, 19);
    mock_free(m);
}

static void v1_whole_prompts(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1,
        "async=off,max_num_batched_tokens=100,chunked_prefill=off", 1000);
    mock_add_plain(m, 60, 3);
    mock_add_plain(m, 60, 3);
    mock_add_plain(m, 10, 3);
    req_id never = mock_add_plain(m, 101, 3);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_chunks, 1); /* the second blocks the third */
    s = mock_step(m);
    assert_int_equal(s->n_chunks, 2);
    assert_int_equal(s->n_refused, 1);
    assert_int_equal(s->refused[0], never);
    mock_drain(m, 20);
    mock_free(m);
}

static void v1_max_seqs_and_horizon(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1, "async=off,max_num_seqs=2", 1000);
    mock_add_plain(m, 10, 5);
    mock_add_plain(m, 10, 9);
    req_id third = mock_add_plain(m, 10, 2);
    assert_int_equal(mock_step(m)->n_chunks, 2);
    for (int i = 0; i < 4; i++) {
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, 2);
        assert_true(s->horizon == UINT64_MAX);
    }
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->admitted[0], third);
    assert_int_equal(s->n_decoded, 1);
    mock_drain(m, 20);
    mock_free(m);
}

/* A request that outgrows the pool ends with a reason; the others go on. */
static void v1_too_big(void **state)
{
    (void)state;
    const char *version[] = {"version=0.18", "version=0.19", "version=0.18,async=off"};
    for (int i = 0; i < 3; i++) {
        struct engine *m = setup(&batcher_vllm_v1, version[i], 10);
        req_id big = mock_add_plain(m, 161, 5), grows = mock_add_plain(m, 100, 100);
        req_id ok = mock_add_plain(m, 100, 61);
        mock_drain(m, 400);
        assert_int_equal(mock_tokens_out(m, big), 0);
        assert_int_equal(mock_tokens_out(m, grows), 61);
        assert_int_equal(mock_tokens_out(m, ok), 61);
        mock_free(m);
    }
    struct engine *m = mock_new(&batcher_vllm_v1, "",
                                &(struct mock_setup){.kv_blk = 100, .max_context_tok = 50});
    mock_add_plain(m, 51, 5);
    mock_add_plain(m, 50, 5);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_refused, 1);
    assert_string_equal(s->why, "the prompt is longer than max_model_len");
    assert_int_equal(s->n_admitted, 1);
    mock_free(m);
}

/* A policy's victim that had its token already gives it back to the budget. */
static void v1_policy_victim(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v1, "async=off,prefix_caching=off", 10);
    req_id a = mock_add_plain(m, 64, 60), b = mock_add_plain(m, 80, 60);
    mock_set_victim(m, a);
    mock_step(m); /* 4 + 5 blocks: 1 free */
    const struct mock_step *s = mock_step(m); /* a takes it, b needs one: a goes, token taken back */
    assert_int_equal(s->n_preempted, 1);
    assert_int_equal(s->preempted[0], a);
    assert_int_equal(s->n_decoded, 1);
    assert_int_equal(s->decoded[0], b);
    assert_int_equal(mock_tokens_out(m, a), 1);
    mock_drain(m, 300);
    mock_free(m);
}

/* Whatever the pool size, everybody gets his tokens and no step is wasted on nothing. */
static void drain_all(const struct batcher_ops *ops, const char *options, uint64_t kv_blk,
                      unsigned seed)
{
    srand(seed);
    struct engine *m = setup(ops, options, kv_blk);
    uint32_t want[60];
    for (int i = 0; i < 60; i++) {
        want[i] = 1 + (uint32_t)rand() % 80;
        mock_add(m, (struct mock_spec){.prompt_tok = 1 + (uint32_t)rand() % 300,
                                       .output_tok = want[i], .client = (uint32_t)i % 3,
                                       .prefix_id = (uint32_t)rand() % 3,
                                       .prefix_tok = (uint32_t)rand() % 100});
        mock_step(m);
    }
    mock_drain(m, 20000);
    for (req_id r = 0; r < 60; r++) {
        assert_int_equal(mock_tokens_out(m, r), want[r]);
    }
    mock_free(m);
}

static void v1_everybody_served(void **state)
{
    (void)state;
    const char *options[] = {"", "version=0.18", "async=off", "prefix_caching=off",
        "version=0.18,async=off,long_prefill_token_threshold=30,max_num_batched_tokens=50",
        "version=0.18,max_num_seqs=3", "max_num_batched_tokens=37"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        drain_all(&batcher_vllm_v1, options[i], 60, (unsigned)i);
    }
}

/* ---- S-LoRA ---- */

/* Vector 8: running (100 held, 50 to come), new (300 + 1, 99 to come): need 501, strictly less than the
 * pool. Each decode step that passes lowers the need by one. */
static void slora_lookahead(void **state)
{
    (void)state;
    const struct {
        uint64_t pool;
        uint64_t horizon; /* 0: admitted at the first try */
    } row[] = {{502, 0}, {501, 1}, {500, 2}, {490, 12}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct engine *m = setup(&batcher_lightllm_slora, "adapter_tok=0", row[i].pool);
        mock_add_plain(m, 89, 62);
        assert_int_equal(mock_step(m)->prefill_tok, 89);
        mock_add_plain(m, 300, 100);
        for (int k = 0; k < 10; k++) {
            const struct mock_step *s = mock_step(m);
            assert_int_equal(s->n_decoded, 1);
            assert_int_equal(s->horizon, 10 - k);
        }
        uint64_t left = row[i].horizon;
        for (const struct mock_step *s = mock_step(m); left > 0; s = mock_step(m), left--) {
            assert_int_equal(s->n_decoded, 1);
            assert_int_equal(s->horizon, left);
        }
        assert_int_equal(mock_step(m)->n_decoded, 2); /* the step before was the prefill, alone */
        mock_drain(m, 200);
        mock_free(m);
    }
}

/* 32 pool tokens per client in the batch, once each. */
static void slora_adapters(void **state)
{
    (void)state;
    /* two requests of (101 held, 9 to come): 9 * 2 + 202 = 220 */
    for (uint64_t pool = 220 + 31; pool <= 220 + 65; pool++) {
        for (uint32_t second = 0; second < 2; second++) {
            struct engine *m = setup(&batcher_lightllm_slora, "", pool);
            mock_add(m, (struct mock_spec){.prompt_tok = 100, .output_tok = 10, .client = 0});
            mock_add(m, (struct mock_spec){.prompt_tok = 100, .output_tok = 10, .client = second});
            uint32_t want = 220 < pool - 32 * (1 + second) ? 2 : 1;
            assert_int_equal(mock_step(m)->n_admitted, want);
            mock_drain(m, 100);
            mock_free(m);
        }
    }
}

/* The sum of prompts in a prefill batch: max(pool / 6, 3072); 35000 / 6 = 5833. */
static void slora_batch_tokens(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_lightllm_slora, "adapter_tok=0,batch_max_tokens=600", 6000);
    for (int i = 0; i < 3; i++) {
        mock_add_plain(m, 300, 20);
    }
    assert_int_equal(mock_step(m)->n_admitted, 2);
    mock_decode_steps(m, 10);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_drain(m, 100);
    mock_free(m);
    m = setup(&batcher_lightllm_slora, "adapter_tok=0", 12000);
    mock_add_plain(m, 1536, 2);
    mock_add_plain(m, 1536, 2);
    mock_add_plain(m, 1, 2);
    assert_int_equal(mock_step(m)->prefill_tok, 3072);
    mock_free(m);
}

/* After ten decode steps with nobody there, an arrival is looked at in the very next step; the first
 * refused one stops the formation. */
static void slora_tries(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_lightllm_slora, "adapter_tok=0", 1000);
    assert_int_equal(mock_traits(m)->idle_poll_ns, 10000000);
    assert_int_equal(mock_traits(m)->block_tok, 1);
    mock_add_plain(m, 100, 200);
    mock_step(m);
    for (int k = 0; k < 15; k++) {
        assert_true(mock_step(m)->horizon == UINT64_MAX);
    }
    mock_add_plain(m, 50, 20);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_add_plain(m, 900, 20); /* cannot fit beside the first */
    mock_add_plain(m, 10, 5);
    mock_decode_steps(m, 12);
    struct engine *other = setup(&batcher_lightllm_slora, "adapter_tok=0", 1000);
    mock_set_try_others(other, true);
    mock_add_plain(other, 100, 200);
    mock_step(other);
    mock_add_plain(other, 900, 20);
    req_id small = mock_add_plain(other, 10, 5);
    mock_decode_steps(other, 10);
    assert_int_equal(mock_step(other)->admitted[0], small);
    mock_drain(m, 500);
    mock_drain(other, 500);
    mock_free(m);
    mock_free(other);
}

/* skipped() must leave the state that the steps themselves would have left. */
static void slora_skipped(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_lightllm_slora, "adapter_tok=0", 1000);
    mock_add_plain(m, 100, 200);
    mock_step(m);
    mock_decode_steps(m, 3);
    batcher_lightllm_slora.skipped(mock_state(m), m, 7);
    mock_add_plain(m, 50, 20);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_free(m);
}

/* The artifact's test as it is written there: collect, sort, take the maximum. */
static int by_left_descending(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (x[1] < y[1]) - (x[1] > y[1]);
}

static bool slora_admits(struct engine *m, uint32_t n_req, req_id newcomer, uint64_t pool)
{
    int64_t pair[64][2], need = 0, held = 0;
    uint32_t n = 0;
    for (req_id r = 0; r < n_req; r++) {
        if (!mock_is_done(m, r) && mock_blocks_held(m, r) > 0) {
            int64_t out = mock_tokens_out(m, r);
            pair[n][0] = eng_req(m, r)->prompt_tok + out;
            pair[n++][1] = (int64_t)eng_max_output(m, r) - out - 1;
        }
    }
    pair[n][0] = eng_req(m, newcomer)->prompt_tok + 1;
    pair[n++][1] = (int64_t)eng_max_output(m, newcomer) - 1;
    qsort(pair, n, sizeof *pair, by_left_descending);
    for (uint32_t i = 0; i < n; i++) {
        held += pair[i][0];
        int64_t peak = pair[i][1] * (i + 1) + held;
        need = peak > need ? peak : need;
    }
    return need < (int64_t)pool;
}

/* Against that, over random loads; and the horizon: until it is over, no try succeeds. */
static void slora_lookahead_brute(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 30; seed++) {
        srand(seed);
        uint64_t pool = 300 + (uint64_t)rand() % 700;
        struct engine *m = setup(&batcher_lightllm_slora, "adapter_tok=0,max_wait_tokens=0", pool);
        uint32_t n = 40;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t out = 1 + (uint32_t)rand() % 100;
            mock_add(m, (struct mock_spec){.prompt_tok = 1 + (uint32_t)rand() % 100, .output_tok = out,
                                           .max_output_tok = out + (uint32_t)rand() % 20});
        }
        uint64_t quiet = 0; /* steps for which no try can succeed, by the last horizon */
        for (int k = 0; eng_n_waiting(m) > 0; k++) {
            assert_true(k < 5000);
            bool want = slora_admits(m, n, eng_pick(m), pool);
            uint32_t before = eng_n_running(m);
            const struct mock_step *s = mock_step(m);
            assert_int_equal(s->n_admitted > 0, want);
            assert_false(want && quiet > 0);
            assert_int_equal(s->n_preempted, 0);
            bool left = eng_n_running(m) < before + s->n_admitted;
            quiet = want || left ? 0 : s->horizon - 1;
        }
        mock_drain(m, 1000);
        mock_free(m);
    }
}

static void slora_everybody_served(void **state)
{
    (void)state;
    drain_all(&batcher_lightllm_slora, "adapter_tok=0", 1000, 1);
    drain_all(&batcher_lightllm_slora, "", 600, 2);
}

/* ---- Equinox ---- */

/* Pool of 100. A (20 in, 30 out) runs with one token out, so holds 21 and has 28 to come; B (30, 20) then makes
 * max(21 + 28, 52 + 2 * 19) = 90. C (5 in, 20 declared) would make max(49, 27 + 2 * 19, 58 + 3 * 18) = 112; by
 * the 3 tokens that are expected of it, max(49, 52 + 2 * 18, 58 + 3 * 2) = 88. */
static void equinox_looks_ahead(void **state)
{
    (void)state;
    for (int adaptive = 0; adaptive < 2; adaptive++) {
        struct engine *m = setup(&batcher_equinox, adaptive ? "stall_free=off" : "stall_free=off,adaptive=off", 100);
        mock_add_plain(m, 20, 30);
        assert_int_equal(mock_step(m)->prefill_tok, 20);
        mock_add_plain(m, 30, 20);
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->prefill_tok, 30);
        assert_int_equal(s->n_decoded, 0); /* prompts go alone */
        mock_add(m, (struct mock_spec){
                        .prompt_tok = 5, .output_tok = 4, .max_output_tok = 20, .expected_tok = 3});
        s = mock_step(m);
        assert_int_equal(s->n_admitted, adaptive);
        assert_int_equal(s->n_decoded, adaptive ? 0 : 2);
        mock_drain(m, 200);
        mock_free(m);
    }
}

/* Two of 10 in and 40 out fit a pool of 60 as long as they are thought to have 12 out each: the younger one
 * is pushed out and comes back. By the limits the second waits. */
static void equinox_expected_too_little(void **state)
{
    (void)state;
    for (int adaptive = 0; adaptive < 2; adaptive++) {
        struct engine *m = setup(&batcher_equinox, adaptive ? "" : "adaptive=off", 60);
        struct mock_spec spec = {.prompt_tok = 10, .output_tok = 40, .expected_tok = 12};
        req_id a = mock_add(m, spec), b = mock_add(m, spec);
        uint32_t pushed = 0;
        assert_int_equal(mock_step(m)->n_admitted, 1 + adaptive);
        while (!mock_is_empty(m)) {
            const struct mock_step *s = mock_step(m);
            for (uint32_t i = 0; i < s->n_preempted; i++) {
                assert_int_equal(s->preempted[i], b);
                pushed++;
            }
        }
        assert_int_equal(pushed > 0, adaptive);
        assert_int_equal(mock_tokens_out(m, a), 40);
        assert_int_equal(mock_tokens_out(m, b), 40);
        mock_free(m);
    }
}

/* Whoever can never be held is told so; in blocks of 16 too. */
static void equinox_never_fits(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_equinox, "adaptive=off", 100);
    mock_add(m, (struct mock_spec){.prompt_tok = 60, .output_tok = 5, .max_output_tok = 41});
    assert_int_equal(mock_step(m)->n_refused, 1);
    mock_add(m, (struct mock_spec){.prompt_tok = 60, .output_tok = 5, .max_output_tok = 40});
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_drain(m, 20);
    mock_free(m);
    m = setup(&batcher_equinox, "block_size=16", 4); /* 64 slots, up to 15 wasted */
    mock_add_plain(m, 49, 3);
    assert_int_equal(mock_step(m)->n_refused, 1);
    mock_add_plain(m, 48, 1);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_drain(m, 20);
    mock_free(m);
}

static void equinox_everybody_served(void **state)
{
    (void)state;
    drain_all(&batcher_equinox, "", 1000, 1);
    drain_all(&batcher_equinox, "adaptive=off", 600, 2);
    drain_all(&batcher_equinox, "stall_free=off,prefill_tokens=100", 500, 3);
    drain_all(&batcher_equinox, "block_size=16,chunk_size=64", 60, 4);
}

/* ---- SGLang ---- */

/* Vector 9: 0.7 at first, 0.399 after 300 decode steps, 0.098 after 600 and from there on. Seen from
 * outside: a pool of 2000, one running (prompt 1000, 901 declared); a newcomer of 300 tokens and m
 * declared gets in iff 300 + m < 2000 - held - to_come * ratio. */
static void sglang_ratio(void **state)
{
    (void)state;
    const struct {
        uint32_t decodes, most; /* largest m that gets in */
    } row[] = {
        {0, 69},    /* held 1000, 900 to come: 2000 - 1000 - 630 = 370 > 369 */
        {300, 160}, /* held 1300, 600 to come: 2000 - 1300 - 239.4 = 460.6 */
        {600, 70},  /* held 1600, 300 to come: 2000 - 1600 - 29.4 = 370.6 */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        for (uint32_t more = 0; more < 2; more++) {
            struct engine *m = setup(&batcher_sglang, "overlap=off,radix_cache=off", 2000);
            mock_add_plain(m, 1000, 901);
            mock_step(m);
            mock_decode_steps(m, row[i].decodes);
            mock_add_plain(m, 300, row[i].most + more);
            assert_int_equal(mock_step(m)->n_admitted, 1 - more);
            mock_free(m);
        }
    }
}

/* The same after skipped(): a jump is as good as the steps. */
static void sglang_skipped(void **state)
{
    (void)state;
    for (uint32_t more = 0; more < 2; more++) {
        struct engine *m = setup(&batcher_sglang, "overlap=off,radix_cache=off", 2000);
        mock_add_plain(m, 1000, 901);
        mock_step(m);
        mock_decode_steps(m, 100);
        batcher_sglang.skipped(mock_state(m), m, 1000);
        /* held 1100, 800 to come, ratio 0.098: 2000 - 1100 - 78.4 = 821.6 */
        mock_add_plain(m, 300, 521 + more);
        assert_int_equal(mock_step(m)->n_admitted, 1 - more);
        mock_free(m);
    }
}

/* Prefill runs alone; one prompt is cut at the chunk size and goes on first. */
static void sglang_chunks(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_sglang, "overlap=off,chunked_prefill_size=100", 5000);
    mock_add_plain(m, 20, 50);
    mock_step(m);
    mock_decode_steps(m, 2);
    req_id a = mock_add_plain(m, 250, 5), b = mock_add_plain(m, 80, 5);
    const uint32_t want_a[] = {100, 100, 50};
    for (int k = 0; k < 3; k++) {
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, 0);
        assert_int_equal(s->chunk[0].r, a);
        assert_int_equal(s->chunk[0].tok, want_a[k]);
        assert_int_equal(s->n_chunks, k == 2 ? 2 : 1);
    }
    const struct mock_step *s = mock_step(m); /* 50 of b came with a's last */
    assert_int_equal(s->chunk[0].r, b);
    assert_int_equal(s->chunk[0].tok, 30);
    assert_int_equal(mock_step(m)->n_decoded, 3);
    mock_drain(m, 100);
    mock_free(m);

    m = setup(&batcher_sglang, "overlap=off,chunked_prefill_size=100,mixed_chunk=on", 5000);
    mock_add_plain(m, 20, 50);
    mock_step(m);
    mock_add_plain(m, 250, 5);
    s = mock_step(m);
    assert_int_equal(s->n_decoded, 1);
    assert_int_equal(s->prefill_tok, 99);
    mock_drain(m, 100);
    mock_free(m);
}

/* Retraction: pool of 100 tokens. Three decoding requests, the two youngest with equal outputs: the one
 * with the longer prompt goes, then more until 20 tokens for each of the rest are free. */
static void sglang_retract(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_sglang,
        "overlap=off,radix_cache=off,schedule_conservativeness=0", 100);
    req_id a = mock_add_plain(m, 10, 60);
    assert_int_equal(mock_step(m)->n_chunks, 1);
    mock_decode_steps(m, 2); /* 12 held */
    req_id b = mock_add_plain(m, 30, 15), c = mock_add_plain(m, 20, 15);
    assert_int_equal(mock_step(m)->n_chunks, 2); /* 62 held */
    mock_decode_steps(m, 12);                    /* 98 held, 2 free, 3 wanted */
    const struct mock_step *s = mock_step(m);
    /* b frees 42: 44 free >= 2 * 20, enough */
    assert_int_equal(s->n_preempted, 1);
    assert_int_equal(s->preempted[0], b);
    assert_int_equal(s->n_decoded, 2);
    assert_int_equal(mock_is_done(m, a) + mock_is_done(m, c), 0);
    mock_drain(m, 300);
    assert_int_equal(mock_tokens_out(m, b), 15);
    mock_free(m);
}

/* batch_is_full: a refused head is not tried again until somebody leaves, and then one step later. */
static void sglang_full(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_sglang, "overlap=off,max_running_requests=1", 1000);
    mock_add_plain(m, 10, 4);
    req_id b = mock_add_plain(m, 10, 4);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_decoded, 1);
    assert_true(s->horizon == UINT64_MAX);
    mock_decode_steps(m, 2);
    s = mock_step(m);
    assert_int_equal(s->admitted[0], b);
    mock_drain(m, 10);
    mock_free(m);
}

static void sglang_limits(void **state)
{
    (void)state;
    const double mib = 1024.0 * 1024;
    const double mem[] = {24564 * mib, 81559 * mib, 143771 * mib, 183359 * mib, 0};
    const uint32_t want[] = {2048, 8192, 8192, 16384, 8192};
    for (int i = 0; i < 5; i++) {
        struct engine *m = mock_new(&batcher_sglang, "",
            &(struct mock_setup){.kv_blk = 10, .gpu_mem_bytes = mem[i]});
        assert_int_equal(mock_traits(m)->max_batched_tok, want[i]);
        assert_true(mock_traits(m)->async_depth2);
        mock_free(m);
    }
}

static void sglang_everybody_served(void **state)
{
    (void)state;
    const char *options[] = {"", "overlap=off", "chunked_prefill_size=50", "page_size=16",
        "chunked_prefill_size=40,mixed_chunk=on,overlap=off", "schedule_conservativeness=0.1",
        "chunked_prefill_size=50,schedule_conservativeness=0", "max_running_requests=4"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        drain_all(&batcher_sglang, options[i], i == 3 ? 60 : 900, (unsigned)i);
    }
}

/* ---- vLLM V0 ---- */

/* A prompt batch runs alone; padding limits up to 0.3, the sum from 0.4 on. */
static void v0_prompt_batches(void **state)
{
    (void)state;
    const struct {
        const char *options;
        uint32_t prompt[3];
        uint32_t admitted;
    } row[] = {
        {"version=0.3", {100, 300, 10}, 2}, /* padding 200; with the third 490 */
        {"version=0.3", {100, 400, 10}, 1}, /* 300 > 256 */
        {"version=0.3,max_num_batched_tokens=500,max_paddings=1000", {100, 260, 10}, 1}, /* 2 * 260 */
        {"version=0.4,max_num_batched_tokens=500", {100, 390, 10}, 3},
        {"version=0.4,max_num_batched_tokens=500", {100, 391, 10}, 2},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct engine *m = setup(&batcher_vllm_v0, row[i].options, 1000);
        for (int k = 0; k < 3; k++) {
            mock_add_plain(m, row[i].prompt[k], 5);
        }
        assert_int_equal(mock_step(m)->n_admitted, row[i].admitted);
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, row[i].admitted == 3 ? 3 : 0); /* prompts first */
        mock_drain(m, 50);
        mock_free(m);
    }
}

/* 100 blocks: one stays free at admission, and a prompt that leaves none is ignored. */
static void v0_watermark(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v0, "", 100);
    req_id never = mock_add_plain(m, 16 * 100, 5);
    mock_add_plain(m, 16 * 99, 2);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_refused, 1);
    assert_int_equal(s->refused[0], never);
    assert_int_equal(s->n_admitted, 1);
    mock_drain(m, 10);
    mock_add_plain(m, 16 * 50, 5);
    mock_add_plain(m, 16 * 50, 5);
    assert_int_equal(mock_step(m)->n_admitted, 1); /* 50 + 50 + 1 > 100 */
    mock_drain(m, 30);
    mock_free(m);
}

/* Every sequence asks for a free block, needed or not: 10 blocks, two prompts of 4, both take a fifth;
 * in the second decode none is free and the youngest goes, to be recomputed as a whole prompt. */
static void v0_preempt(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v0, "watermark=0", 10);
    req_id a = mock_add_plain(m, 64, 30), b = mock_add_plain(m, 64, 30);
    assert_int_equal(mock_step(m)->n_chunks, 2);
    mock_decode_steps(m, 1);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_preempted, 1);
    assert_int_equal(s->preempted[0], b);
    assert_int_equal(s->decoded[0], a);
    s = mock_step(m); /* 5 blocks are free and b's 66 tokens need 5: prompts first, at once */
    assert_int_equal(s->n_admitted, 1);
    assert_int_equal(s->prefill_tok, 66);
    mock_drain(m, 200);
    mock_free(m);
}

/* Swapping: the victim's blocks go to the host, nobody is admitted while it is out, and it comes back
 * when its blocks, one more and the watermark are free. */
static void v0_swap(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v0, "watermark=0,preemption_mode=swap", 10);
    req_id a = mock_add_plain(m, 64, 30), b = mock_add_plain(m, 64, 30);
    mock_step(m);
    mock_decode_steps(m, 1);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_swapped_out, 1);
    assert_int_equal(s->n_preempted, 0);
    assert_int_equal(eng_first_swapped(m), b);
    req_id c = mock_add_plain(m, 16, 2);
    /* a holds 5 of 10; b needs 5 + 1 */
    while (!mock_is_done(m, a)) {
        s = mock_step(m);
        assert_int_equal(s->n_admitted + s->n_swapped_in, 0);
        assert_int_equal(s->n_decoded, 1);
    }
    s = mock_step(m);
    assert_int_equal(s->n_swapped_in, 1);
    assert_int_equal(s->n_admitted, 0);
    assert_int_equal(s->decoded[0], b); /* it joins the decodes at once */
    assert_int_equal(mock_step(m)->admitted[0], c);
    mock_drain(m, 100);
    assert_int_equal(mock_tokens_out(m, b), 30);
    mock_free(m);
}

/* The scheduler runs every 4 decode steps. */
static void v0_multi_step(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v0, "num_scheduler_steps=4", 100);
    mock_add_plain(m, 16, 50);
    mock_step(m);
    mock_decode_steps(m, 5);
    mock_add_plain(m, 16, 5);
    const uint64_t horizon[] = {3, 2, 1};
    for (int i = 0; i < 3; i++) {
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, 1);
        assert_int_equal(s->horizon, horizon[i]);
    }
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_decode_steps(m, 1);
    batcher_vllm_v0.skipped(mock_state(m), m, 6); /* 7 done of 8 */
    mock_add_plain(m, 16, 5);
    mock_decode_steps(m, 1);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_free(m);
}

/* Chunked: decodes and the rest of 512 for a prompt whose blocks must all be there. */
static void v0_chunked(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_vllm_v0, "chunked_prefill=on", 100);
    mock_add_plain(m, 100, 50);
    assert_int_equal(mock_step(m)->prefill_tok, 100);
    req_id big = mock_add_plain(m, 1000, 5);
    const uint32_t want[] = {511, 489};
    for (int i = 0; i < 2; i++) {
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, 1);
        assert_int_equal(s->chunk[0].r, big);
        assert_int_equal(s->chunk[0].tok, want[i]);
    }
    mock_add_plain(m, 480, 5); /* 100 - 8 - 63 blocks are free: 29 < 30 + 1 */
    assert_int_equal(mock_step(m)->n_admitted, 0);
    mock_drain(m, 100);
    mock_free(m);
}

static void v0_options(void **state)
{
    (void)state;
    const char *bad[] = {"version=0.5,chunked_prefill=on", "version=0.5,num_scheduler_steps=4",
                         "chunked_prefill=on,num_scheduler_steps=4"};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        struct mock_setup s = {.kv_blk = 10};
        assert_null(mock_try_new(&batcher_vllm_v0, bad[i], &s, &e));
        assert_int_equal(e.code, SIM_E_CONFIG);
    }
    struct mock_setup s = {.kv_blk = 10, .max_context_tok = 131072};
    struct engine *m = mock_new(&batcher_vllm_v0, "", &s);
    assert_int_equal(mock_traits(m)->max_batched_tok, 512); /* chunked by itself */
    mock_free(m);
    m = mock_new(&batcher_vllm_v0, "version=0.5", &s);
    assert_int_equal(mock_traits(m)->max_batched_tok, 131072);
    mock_free(m);
}

static void v0_everybody_served(void **state)
{
    (void)state;
    const char *options[] = {"", "version=0.2", "preemption_mode=swap", "num_scheduler_steps=8",
        "chunked_prefill=on,max_num_batched_tokens=64", "prefix_caching=on", "max_num_seqs=5",
        "chunked_prefill=on,preemption_mode=swap,max_num_batched_tokens=300"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        drain_all(&batcher_vllm_v0, options[i], 60, (unsigned)i);
    }
}

/* ---- Sarathi-Serve, Orca, static, TensorRT-LLM ---- */

/* 512 tokens, 3 decodes, prompts A = 1000 and B = 300: 3 + 509; 3 + 491 + 18; 4 + 282. */
static void sarathi_batches(const struct batcher_ops *ops, uint64_t kv_blk)
{
    struct engine *m = setup(ops, "", kv_blk);
    for (int i = 0; i < 3; i++) {
        mock_add_plain(m, 10, 50);
    }
    mock_step(m);
    req_id a = mock_add_plain(m, 1000, 20), b = mock_add_plain(m, 300, 20);
    const struct mock_step *s = mock_step(m);
    assert_int_equal(s->n_decoded, 3);
    assert_int_equal(s->n_chunks, 1);
    assert_int_equal(s->chunk[0].tok, 509);
    s = mock_step(m);
    assert_int_equal(s->n_decoded, 3);
    assert_int_equal(s->chunk[0].r, a);
    assert_int_equal(s->chunk[0].tok, 491);
    assert_int_equal(s->chunk[1].r, b);
    assert_int_equal(s->chunk[1].tok, 18);
    s = mock_step(m);
    assert_int_equal(s->n_decoded, 4);
    assert_int_equal(s->chunk[0].tok, 282);
    mock_drain(m, 100);
    mock_free(m);
}

static void sarathi_vector(void **state)
{
    (void)state;
    sarathi_batches(&batcher_sarathi, 1000);
    sarathi_batches(&batcher_equinox, 16000); /* stall-free means the same */
}

/* The whole prompt's blocks and the watermark (1 of 100) must be free, counting what an unfinished
 * prompt has still to take. */
static void sarathi_gate(void **state)
{
    (void)state;
    for (uint32_t blk = 39; blk <= 40; blk++) {
        struct engine *m = setup(&batcher_sarathi, "", 100);
        mock_add_plain(m, 16 * 60, 20);
        assert_int_equal(mock_step(m)->prefill_tok, 512);
        mock_add_plain(m, 16 * blk, 20);
        assert_int_equal(mock_step(m)->n_admitted, blk == 39);
        mock_drain(m, 100);
        mock_free(m);
    }
}

static void orca_reserves(void **state)
{
    (void)state;
    /* blocks of 16, pool of 100: 512 tokens = 32 blocks; 40 + 128 = 11; 40 + 100 = 9 */
    const struct {
        const char *options;
        uint32_t admitted;
    } row[] = {{"max_model_len=512", 3},
               {"max_model_len=512,reserve=pow2", 9},
               {"max_model_len=512,reserve=exact", 11},
               {"max_model_len=512,reserve=exact,max_num_seqs=2", 2}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct engine *m = setup(&batcher_orca, row[i].options, 100);
        for (int k = 0; k < 14; k++) {
            mock_add_plain(m, 40, 100);
        }
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_admitted, row[i].admitted);
        assert_int_equal(s->prefill_tok, 40 * row[i].admitted);
        s = mock_step(m);
        assert_int_equal(s->n_decoded, row[i].admitted);
        assert_true(s->horizon == UINT64_MAX);
        mock_drain(m, 2000);
        mock_free(m);
    }
    struct engine *m = setup(&batcher_orca, "max_model_len=512", 100);
    mock_add_plain(m, 40, 100);
    mock_step(m);
    mock_add_plain(m, 40, 100);
    mock_add_plain(m, 500, 13);
    const struct mock_step *s = mock_step(m); /* a prompt joins the decodes, whole */
    assert_int_equal(s->n_decoded, 1);
    assert_int_equal(s->prefill_tok, 40);
    assert_int_equal(s->n_refused, 1); /* 513 > 512 */
    mock_free(m);
    struct err e = {0};
    struct mock_setup none = {.kv_blk = 10};
    assert_null(mock_try_new(&batcher_orca, "", &none, &e));
    assert_int_equal(e.code, SIM_E_CONFIG);
}

static void static_batches(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_static, "batch_size=3", 1000);
    for (uint32_t i = 0; i < 5; i++) {
        mock_add_plain(m, 10, 5 + i);
    }
    assert_int_equal(mock_step(m)->n_admitted, 3);
    for (int k = 0; k < 6; k++) { /* until the longest of 5, 6, 7 is through */
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_admitted, 0);
        assert_int_equal(s->n_decoded, k < 4 ? 3 : k == 4 ? 2 : 1);
    }
    assert_int_equal(mock_step(m)->n_admitted, 2);
    mock_drain(m, 20);
    mock_add_plain(m, 600, 300);
    mock_add_plain(m, 100, 10);
    mock_add_plain(m, 900, 101);
    assert_int_equal(mock_step(m)->n_admitted, 1); /* 900 + 110 > 1000 */
    mock_drain(m, 500);
    mock_free(m);
}

static void trtllm_capacity(void **state)
{
    (void)state;
    /* blocks of 32, pool of 20; requests of 64 + 160 tokens: 7 blocks for life, 2 for the prompt */
    const char *options[] = {"overlap=off,block_reuse=off",
                             "overlap=off,block_reuse=off,capacity=max-utilization"};
    const uint32_t admitted[] = {2, 4};
    for (int i = 0; i < 2; i++) {
        struct engine *m = setup(&batcher_trtllm, options[i], 20);
        for (int k = 0; k < 4; k++) {
            mock_add_plain(m, 64, 160);
        }
        assert_int_equal(mock_step(m)->n_admitted, admitted[i]);
        uint32_t paused = 0, steps = 0;
        while (eng_n_running(m) + eng_n_waiting(m) > 0 && steps++ < 2000) {
            const struct mock_step *s = mock_step(m);
            paused += s->n_preempted;
            if (s->n_preempted) {
                assert_int_equal(s->n_admitted, 0);
            }
        }
        assert_true((paused > 0) == (i == 1));
        for (req_id r = 0; r < 4; r++) {
            assert_int_equal(mock_tokens_out(m, r), 160);
        }
        mock_free(m);
    }
}

/* Without chunks the first context that does not fit stops; with them a cut chunk is whole blocks. */
static void trtllm_tokens(void **state)
{
    (void)state;
    struct engine *m = setup(&batcher_trtllm, "overlap=off,max_num_tokens=200", 100);
    mock_add_plain(m, 150, 5);
    mock_add_plain(m, 60, 5);
    mock_add_plain(m, 10, 5);
    assert_int_equal(mock_step(m)->n_admitted, 1);
    mock_free(m);
    m = setup(&batcher_trtllm, "overlap=off,max_num_tokens=200,chunked_context=on", 100);
    mock_add_plain(m, 10, 50);
    mock_step(m);
    mock_add_plain(m, 300, 5);
    const uint32_t want[] = {192, 108}; /* 199 -> 6 blocks of 32 */
    for (int i = 0; i < 2; i++) {
        const struct mock_step *s = mock_step(m);
        assert_int_equal(s->n_decoded, 1);
        assert_int_equal(s->prefill_tok, want[i]);
    }
    mock_drain(m, 100);
    mock_free(m);
}

static void others_serve_everybody(void **state)
{
    (void)state;
    drain_all(&batcher_sarathi, "", 60, 1);
    drain_all(&batcher_sarathi, "chunk_size=64,max_num_seqs=64", 60, 2);
    drain_all(&batcher_orca, "max_model_len=400", 60, 3);
    drain_all(&batcher_orca, "max_model_len=400,reserve=pow2", 60, 4);
    drain_all(&batcher_static, "", 900, 5);
    drain_all(&batcher_trtllm, "", 30, 6);
    drain_all(&batcher_trtllm, "capacity=max-utilization", 30, 7);
    drain_all(&batcher_trtllm, "capacity=max-utilization,chunked_context=on,max_num_tokens=70", 30, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_budget_split),
        cmocka_unit_test(v1_same_step_sharing),
        cmocka_unit_test(v1_full_hit),
        cmocka_unit_test(v1_preempt_last),
        cmocka_unit_test(v1_no_admission_with_preemption),
        cmocka_unit_test(v1_gate),
        cmocka_unit_test(v1_traits),
        cmocka_unit_test(v1_old_prefill_eats_budget),
        cmocka_unit_test(v1_walk_order),
        cmocka_unit_test(v1_whole_prompts),
        cmocka_unit_test(v1_max_seqs_and_horizon),
        cmocka_unit_test(v1_too_big),
        cmocka_unit_test(v1_policy_victim),
        cmocka_unit_test(v1_everybody_served),
        cmocka_unit_test(slora_lookahead),
        cmocka_unit_test(slora_adapters),
        cmocka_unit_test(slora_batch_tokens),
        cmocka_unit_test(slora_tries),
        cmocka_unit_test(slora_skipped),
        cmocka_unit_test(slora_lookahead_brute),
        cmocka_unit_test(slora_everybody_served),
        cmocka_unit_test(sglang_ratio),
        cmocka_unit_test(sglang_skipped),
        cmocka_unit_test(sglang_chunks),
        cmocka_unit_test(sglang_retract),
        cmocka_unit_test(sglang_full),
        cmocka_unit_test(sglang_limits),
        cmocka_unit_test(sglang_everybody_served),
        cmocka_unit_test(v0_prompt_batches),
        cmocka_unit_test(v0_watermark),
        cmocka_unit_test(v0_preempt),
        cmocka_unit_test(v0_swap),
        cmocka_unit_test(v0_multi_step),
        cmocka_unit_test(v0_chunked),
        cmocka_unit_test(v0_options),
        cmocka_unit_test(v0_everybody_served),
        cmocka_unit_test(sarathi_vector),
        cmocka_unit_test(equinox_looks_ahead),
        cmocka_unit_test(equinox_expected_too_little),
        cmocka_unit_test(equinox_never_fits),
        cmocka_unit_test(equinox_everybody_served),
        cmocka_unit_test(sarathi_gate),
        cmocka_unit_test(orca_reserves),
        cmocka_unit_test(static_batches),
        cmocka_unit_test(trtllm_capacity),
        cmocka_unit_test(trtllm_tokens),
        cmocka_unit_test(others_serve_everybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
