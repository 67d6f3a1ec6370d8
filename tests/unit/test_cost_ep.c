/* SPDX-License-Identifier: Apache-2.0 */
#define COST_NAME "ep"
#include <stdio.h>

#include "tests/unit/cost_model.h"

static struct batch_shape decodes(uint32_t n, uint64_t ctx)
{
    return (struct batch_shape){.n_decode = n, .decode_ctx_tok = n * ctx};
}

/* DeepSeek-V3, EP8, 128 tokens a rank: a dispatch is 128*8*7392 bytes at 98 GB/s = 77.2 us, a combine
 * 128*8*14336 at 127 = 115.6 us (published: 77 and 114), in each of 58 layers. */
static void test_transfers(void **state)
{
    (void)state;
    struct model slow, fast;

    model_open(&slow, "deepseek-v3", "h100", 1, "ep{ranks=8}");
    model_open(&fast, "deepseek-v3", "h100", 1, "ep{ranks=8,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0}");
    double us = 1e6 * (seconds(&slow, decodes(128, 4096)) - seconds(&fast, decodes(128, 4096)));
    assert_true(fabs(us / (58 * (77.2 + 115.6)) - 1) < 0.005);
    us = 1e6 * (seconds(&slow, decodes(1, 4096)) - seconds(&fast, decodes(1, 4096)));
    assert_true(fabs(us / (58 * 2 * 20) - 1) < 0.01); /* the floor */
    model_close(&slow);
    model_close(&fast);
}

/* Normal kernels, 4 nodes: of 8 experts even over 256 a token's lie on 3.61421 nodes, a quarter of them its own
 * (4 * (1 - C(192,8)/C(256,8))): so many copies of 7392 bytes at 43.5 GB/s, of 14336 at 42.75. Inside a node
 * 5.29465 of 8 GPUs, at 153 and 158; a given bandwidth counts nodes. */
static void test_normal(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        double us;
    } want[] = {{"ep{ranks=32,kernel=normal}", 3.614214 * 0.75 * (7392 / 43.5e3 + 14336 / 42.75e3)},
                {"ep{ranks=8,kernel=normal}", 5.294652 * (7392 / 153e3 + 14336 / 158e3)},
                {"ep{ranks=32,kernel=normal,dispatch_gb_s=20,combine_gb_s=30}", 3.614214 * (7392 / 20e3 + 14336 / 30e3)}};
    struct batch_shape s = {.n_prefill = 1, .prefill_tok = 4096, .prefill_done = 1};

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model slow, fast;
        char spec[100];

        snprintf(spec, sizeof(spec), "ep{ranks=%d,kernel=normal,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0}", i == 1 ? 8 : 32);
        model_open(&slow, "deepseek-v3", "h100", 1, want[i].spec);
        model_open(&fast, "deepseek-v3", "h100", 1, spec);
        double us = 1e6 * (seconds(&slow, s) - seconds(&fast, s));
        assert_true(fabs(us / (58 * 4096 * want[i].us) - 1) < 0.005);
        model_close(&slow);
        model_close(&fast);
    }
}

/* All on one rank is the model below, but for tokens sent to themselves. */
static void test_one_rank(void **state)
{
    (void)state;
    struct model ep, plain;

    model_open(&ep, "deepseek-v2-lite", "h100", 1, "ep{ranks=1,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0}");
    model_load(&plain, "deepseek-v2-lite", "h100", 1);
    plain.ops = cost_find("roofline");
    plain.state = arena_alloc(&plain.arena, plain.ops->state_size);
    assert_int_equal(model_init(&plain, "roofline"), 0);
    for (uint32_t n = 1; n < 500; n += 37) {
        assert_true(fabs(seconds(&ep, decodes(n, 999)) / seconds(&plain, decodes(n, 999)) - 1) < 0.01);
    }
    model_close(&ep);
    model_close(&plain);
}

/* What is known of a step's spread counts in place of what the model assumes, and a share of the link is
 * waited for. */
static void test_spread(void **state)
{
    (void)state;
    struct model even, uneven, bare;
    struct cost_spread x;
    struct batch_shape s = decodes(256, 4096), half;

    model_open(&even, "deepseek-v3", "h100", 1, "ep{ranks=64,redundant=64,kernel=normal}");
    model_open(&uneven, "deepseek-v3", "h100", 1, "ep{ranks=64,redundant=64,kernel=normal,imbalance=1.5}");
    model_open(&bare, "deepseek-v3", "h100", 1, "ep{ranks=64,redundant=64,kernel=normal,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0}");
    s.spread = (struct batch_spread){.load = 1.5, .arrive = 1.5};
    assert_true(seconds(&even, s) == seconds(&uneven, decodes(256, 4096)));
    s = decodes(8, 4096); /* few tokens: experts are read, 44 MB each at 80 % of 3.35 TB/s, 58 layers */
    s.spread = (struct batch_spread){.active = 2.5};
    double read_s = seconds(&even, decodes(8, 4096)) - seconds(&even, s);
    assert_true(fabs(read_s / (58 * 2.5 * 44.04e6 / (0.8 * 3.35e12)) - 1) < 0.1);
    half = decodes(256, 4096);
    half.spread.link = 0.5;
    double tokens_s = seconds(&even, decodes(256, 4096)) - seconds(&bare, decodes(256, 4096));
    assert_true(fabs((seconds(&even, half) - seconds(&bare, decodes(256, 4096))) / tokens_s - 2) < 0.01);
    even.ops->spread(even.state, &x);
    assert_int_equal(x.ranks, 64);
    assert_int_equal(x.redundant, 64);
    assert_true(x.node_copies && fabs(x.bytes_per_s - 43.5e9 * 8 / 7) < 1); /* 4 nodes are counted, 3.5 remote */
    model_close(&even);
    model_close(&uneven);
    model_close(&bare);
}

static void test_order(void **state)
{
    (void)state;
    struct model even, uneven, cut;

    model_open(&even, "deepseek-v3", "h100", 1, "ep{ranks=64}");
    model_open(&uneven, "deepseek-v3", "h100", 1, "ep{ranks=64,imbalance=1.5}");
    model_open(&cut, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=on}");
    double t = seconds(&even, decodes(256, 4096));
    assert_true(seconds(&uneven, decodes(256, 4096)) > 1.02 * t);
    /* Half and half hides the shorter part at most, and costs weights at few tokens. */
    assert_true(seconds(&cut, decodes(256, 4096)) < 0.9 * t);
    assert_true(seconds(&cut, decodes(256, 4096)) > 0.5 * t);
    assert_true(seconds(&cut, decodes(2, 100)) > 0.9 * seconds(&even, decodes(2, 100)));
    model_close(&even);
    model_close(&uneven);
    model_close(&cut);
}

/* The line is what a fresh evaluation says, to the last tick, on both sides of a knot. */
static void check_line(const char *spec)
{
    struct model m;

    model_open(&m, "deepseek-v3", "h100", 1, spec);
    for (uint64_t ctx = 1; ctx < 40000; ctx += 1511) {
        struct cost_affine line = iterate(&m, decodes(101, ctx));

        for (uint64_t k = 0; k < line.valid && k < 3000; k += 11) {
            assert_true(iterate(&m, decodes(101, ctx + k)).base == line.base + line.slope * (sim_tick)k);
        }
    }
    model_close(&m);
}

static void test_line(void **state)
{
    (void)state;
    check_line("ep{ranks=64}");
    check_line("ep{ranks=64,overlap=on}");
    check_line("ep{ranks=64,overlap=on,dispatch_gb_s=5,combine_gb_s=5}");
    check_line("ep{ranks=64,overlap=auto,dispatch_gb_s=5,combine_gb_s=5}");
    check_line("ep{ranks=64,overlap=auto,attn_cores=0.6,draft=1,layer_us=20,start_us=20}");
    check_line("ep{ranks=320,redundant=32,shared_ranks=32,overlap=on,attn_cores=0.667,draft=2,dispatch_gb_s=9,combine_gb_s=9}");
}

/* 30 us to start, of the 77.2 us of 128 tokens at 98 GB/s and of the 115.6 at 127: at 128 tokens nothing changes, 64 take
 * 30 + 23.6 and 30 + 42.8 us, and one token hardly more than the start. */
static void test_start(void **state)
{
    (void)state;
    static const struct {
        uint32_t n;
        double us;
    } want[] = {{128, 77.2 + 115.6}, {64, 60 + 23.6 + 42.8}, {1, 60 + 0.369 + 0.669}};
    struct model slow, fast;

    model_open(&slow, "deepseek-v3", "h100", 1, "ep{ranks=8,start_us=30,floor_us=0}");
    model_open(&fast, "deepseek-v3", "h100", 1, "ep{ranks=8,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0}");
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double us = 1e6 * (seconds(&slow, decodes(want[i].n, 4096)) - seconds(&fast, decodes(want[i].n, 4096)));

        assert_true(fabs(us / (58 * want[i].us) - 1) < 0.005);
    }
    model_close(&slow);
    model_close(&fast);
}

/* 256 decodes at 40,000 tokens, attention on half of the cores: 256 * 40000 pairs of 2*128*1088 operations at a quarter of
 * 989.4 TFLOPS (half of the cores, half of the peak) in 61 layers, beside which the other stream is hidden. Beside it:
 * projections, 187 MB of weights twice, and small kernels. */
static void test_streams(void **state)
{
    (void)state;
    struct model m, whole;

    model_open(&m, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=on,attn_cores=0.5,dispatch_gb_s=1e5,combine_gb_s=1e5}");
    model_open(&whole, "deepseek-v3", "h100", 1, "ep{ranks=64,dispatch_gb_s=1e5,combine_gb_s=1e5}");
    double attention_s = 61 * 256.0 * 40000 * 2 * 128 * 1088 / (989.4e12 / 4), weights_s = 61 * 2 * 187.1e6 / (0.8 * 3.35e12);
    assert_true(fabs(seconds(&m, decodes(256, 40000)) / (attention_s + weights_s) - 1) < 0.02);
    /* All of the cores are twice as fast. */
    assert_true(seconds(&whole, decodes(256, 40000)) < 0.6 * seconds(&m, decodes(256, 40000)));
    model_close(&m);
    model_close(&whole);
    /* 8 GB/s: the other stream is the longer one: transfers of 128 tokens twice, 1024 pairs on half of the cores, a shared
     * expert of 44 MB read twice, in each of 61 layers; around it three dense layers of 396 MB twice, the head, 0.2 ms and 4 us a sequence of the host. */
    model_open(&m, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=on,attn_cores=0.5,dispatch_gb_s=8,combine_gb_s=8}");
    double moved_s = 61 * 256.0 * 8 * (7392 + 14336) / 8e9;
    double read_s = (61 * 2 * 44.04e6 + 3 * 2 * 396.4e6 + 129280 * 7168 * 2.0) / (0.8 * 3.35e12), host_s = 200e-6 + 256 * 4e-6;
    double pairs_s = 61 * 2 * 1024 * 6.0 * 7168 * 2048 / (0.8 * 1978.9e12 / 2);
    assert_true(fabs(seconds(&m, decodes(256, 4096)) / (moved_s + read_s + pairs_s + host_s) - 1) < 0.01);
    model_close(&m);
}

/* 512 tokens a rank, experts bound by arithmetic: a rank with a shared expert gets 10 * 512 pairs, one with a routed one
 * 8 * 320/288 * 1.5 = 13.33 * 512 where it is busiest. A pair is 6 * 7168 * 2048 operations at 0.8 of 1978.9 T. */
static void test_shared_ranks(void **state)
{
    (void)state;
    struct model even, uneven;
    const char *spec = "ep{ranks=320,redundant=32,shared_ranks=32,dispatch_gb_s=1e5,combine_gb_s=1e5,floor_us=0,imbalance=%s}";
    char text[200];

    snprintf(text, sizeof text, spec, "1");
    model_open(&even, "deepseek-v3", "h100", 1, text);
    snprintf(text, sizeof text, spec, "1.5");
    model_open(&uneven, "deepseek-v3", "h100", 1, text);
    double want = 58 * (13.3333 - 10) * 512 * 6.0 * 7168 * 2048 / (0.8 * 1978.9e12);
    double got = seconds(&uneven, decodes(512, 100)) - seconds(&even, decodes(512, 100));
    assert_true(fabs(got / want - 1) < 0.02);
    model_close(&even);
    model_close(&uneven);
}

/* A guessed token for each of 64 sequences is 128 tokens, one more layer and the LM head once more (129280 * 7168 weights of 16 bit). */
static void test_draft(void **state)
{
    (void)state;
    struct model guess, plain;

    model_open(&guess, "deepseek-v3", "h100", 1, "ep{ranks=64,draft=1}");
    model_open(&plain, "deepseek-v3", "h100", 1, "ep{ranks=64}");
    double plain_s = seconds(&plain, decodes(128, 4096)), head_s = 129280 * 7168 * 2.0 / (0.8 * 3.35e12);
    double more_s = seconds(&guess, decodes(64, 4096)) - plain_s - head_s;
    assert_true(more_s > 0.9 * (plain_s - head_s - 1e-3) / 61 && more_s < 1.1 * plain_s / 61);
    model_close(&guess);
    model_close(&plain);
}

/* What the chip's kernels reach comes from its profile, unless it is said. */
static void test_profile_shares(void **state)
{
    (void)state;
    struct model by_profile, said, other;

    model_open(&by_profile, "deepseek-v3", "ascend-910c-die", 1, "ep{ranks=64}");
    model_open(&said, "deepseek-v3", "ascend-910c-die", 1,
               "ep{ranks=64,base=roofline{eff_gemm=0.8,eff_attn=0.654,eff_mem=0.841,eff_kv=0.841}}");
    model_open(&other, "deepseek-v3", "ascend-910c-die", 1, "ep{ranks=64,base=roofline{eff_attn=0.5}}");
    assert_true(seconds(&by_profile, decodes(64, 4096)) == seconds(&said, decodes(64, 4096)));
    assert_true(seconds(&by_profile, decodes(64, 4096)) < seconds(&other, decodes(64, 4096)));
    model_close(&by_profile);
    model_close(&said);
    model_close(&other);
}

static void test_auto(void **state)
{
    (void)state;
    struct model on, off, choice;

    model_open(&on, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=on}");
    model_open(&off, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=off}");
    model_open(&choice, "deepseek-v3", "h100", 1, "ep{ranks=64,overlap=auto}");
    for (uint32_t n = 1; n < 600; n = n * 3 + 1) {
        double best = fmin(seconds(&on, decodes(n, 4096)), seconds(&off, decodes(n, 4096)));

        assert_true(seconds(&choice, decodes(n, 4096)) == best);
    }
    assert_true(seconds(&on, decodes(1, 4096)) > seconds(&off, decodes(1, 4096)));
    assert_true(seconds(&on, decodes(256, 4096)) < seconds(&off, decodes(256, 4096)));
    model_close(&on);
    model_close(&off);
    model_close(&choice);
}

static void refused(const char *llm, uint32_t tp, const char *spec, const char *says)
{
    struct model m;

    model_load(&m, llm, "h100", tp);
    assert_int_equal(model_init(&m, spec), SIM_E_CONFIG);
    assert_non_null(strstr(m.err.msg, says));
    model_close(&m);
}

static void test_errors(void **state)
{
    (void)state;
    refused("llama-3.1-8b", 1, "ep", "llama-3.1-8b");
    refused("deepseek-v3", 8, "ep", "tp has to be 1");
    refused("deepseek-v3", 1, "ep{ranks=7}", "256 experts");
    refused("deepseek-v3", 1, "ep{ranks=320,redundant=32,shared_ranks=31}", "over 289 ranks");
    refused("deepseek-v3", 1, "ep{ranks=8,shared_ranks=8}", "fewer than the 8 ranks");
    refused("mixtral-8x7b", 1, "ep{ranks=8,shared_ranks=4}", "with shared experts");
    refused("deepseek-v3", 1, "ep{base=linear}", "'linear'");
    refused("deepseek-v3", 1, "ep{base=rooflin}", "'rooflin'");
    refused("deepseek-v3", 1, "ep{base=roofline{eff_gem=1}}", "eff_gemm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transfers), cmocka_unit_test(test_normal), cmocka_unit_test(test_one_rank),
        cmocka_unit_test(test_spread), cmocka_unit_test(test_order),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_shared_ranks),
        cmocka_unit_test(test_draft),
        cmocka_unit_test(test_profile_shares),
        cmocka_unit_test(test_auto),     cmocka_unit_test(test_line),   cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
