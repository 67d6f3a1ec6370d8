/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert parallelism at scale: CloudMatrix-Infer (arXiv 2506.12708) and what DeepSeek published of its own. One rank
 * is simulated, cost model `ep` over `roofline`. */
#include <math.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct machine {
    const char *gpu, *dtype;
};
static const struct machine ascend = {"ascend-910c-die", "int8"};
static const struct machine h800 = {"h100", "fp8"}; /* the same chip but for NVLink, which `ep` is told */

/* The chip's kernels by its profile, none of NVIDIA's floors and no host between steps (metadata and sampling are on the
 * NPU): what a layer takes beside its large kernels is layer_us.
 * Decode: 320 ranks, 256 routed experts, 32 copies of hot ones, 32 ranks with the shared one; fused dispatch and combine at EP256, 54 and
 * 103 GB/s; attention has 16 of 24 cube cores while the halves of a batch overlap; one token is guessed. Three numbers of the paper are
 * put in: the imbalance makes a layer at a batch of 96 last its 1,260 us, layer_us makes microbatches worth its 9.4 % there, start_us, to
 * five microseconds, its 5.8 % at 64.
 * Prefill: EP32; bandwidths between those of EP8 and EP256 by the logarithm; eff_gemm makes an NPU do its 6,688 tokens a second. */
#define ASCEND_BASE "base=roofline{kernel_us=0,attn_us=0,step_us=0,seq_us=0"
#define DECODE_320                                                                                 \
    ASCEND_BASE "},ranks=320,redundant=32,shared_ranks=32,dispatch_gb_s=54,combine_gb_s=103,start_us=25,"  \
                "attn_cores=0.667,layer_us=90,imbalance=2"
#define PREFILL_32                                                                                 \
    ASCEND_BASE ",eff_gemm=0.397},ranks=32,redundant=32,dispatch_gb_s=64.2,combine_gb_s=119.8,start_us=25"

struct load {
    const struct machine *on;
    const char *ep, *lengths, *requests, *concurrency, *metric;
};

static int simulate(struct repro *p, const struct load *l, double *ret, struct err *e)
{
    struct arena ar = {0};
    const struct repro_key key[] = {
        {"trace", arena_printf(&ar, "synth:uniform{rates=1000,requests=%s,%s}", l->requests, l->lengths)},
        {"model", "deepseek-v3"},
        {"gpu", l->on->gpu},
        {"weight_dtype", l->on->dtype},
        {"cost", arena_printf(&ar, "ep{%s}", l->ep)},
        {"policy", "fcfs"},
        {"load.concurrency", l->concurrency},
        {"kv.tokens", "4000000"},
        {"batcher", "vllm-v1{max_num_batched_tokens=16384,max_num_seqs=1024}"},
    };
    struct run_result r;
    int rc = key[0].value && key[4].value ? repro_run(p, key, COUNT(key), &r, &ar, e)
                                          : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");

    *ret = rc == 0 ? repro_metric(&r, l->metric) : (double)NAN;
    arena_release(&ar);
    return rc;
}

/* A step with a guessed token gives 1.7: 70 % of the guesses are right. */
#define MTP_TOKENS 1.7

/* Time per output token of so many sequences a die, half of the NPU's batch. */
static int tpot_of(struct repro *p, const char *lengths, const char *sequences, bool mtp, const char *overlap, double *ret_ms,
                   struct err *e)
{
    const char *ep = arena_printf(&p->ar, DECODE_320 ",draft=%d,overlap=%s", mtp, overlap);
    struct load l = {&ascend, ep, lengths, sequences, sequences, "median_itl_ms"};

    if (!ep) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    int rc = simulate(p, &l, ret_ms, e);
    *ret_ms /= mtp ? MTP_TOKENS : 1;
    return rc;
}

static int tpot(struct repro *p, const char *sequences, bool mtp, const char *overlap, double *ret_ms, struct err *e)
{
    return tpot_of(p, "prompt=4096,output=256", sequences, mtp, overlap, ret_ms, e);
}

static int decode_lengths(struct repro *p, struct err *e)
{
    double long_ms, short_ms;

    return tpot_of(p, "prompt=2048,output=256", "56", true, "auto", &long_ms, e) < 0 ||
                   tpot_of(p, "prompt=1024,output=1024", "64", true, "auto", &short_ms, e) < 0 ||
                   repro_number(p, "2048 in, 256 out, batch of 112", "ms", 47.4, long_ms, 0.1, e) < 0 ||
                   repro_number(p, "1024 in, 1024 out, batch of 128", "ms", 46.8, short_ms, 0.1, e) < 0
               ? e->code
               : 0;
}

static int decode(struct repro *p, struct err *e)
{
    static const struct {
        const char *row, *sequences;
        double ms;
    } want[] = {{"batch of 96 an NPU", "48", 49.4}, {"batch of 24 an NPU", "12", 24.6}, {"batch of 8 an NPU", "4", 14.9}};

    for (size_t i = 0; i < COUNT(want); i++) {
        double ms;

        if (tpot(p, want[i].sequences, true, "auto", &ms, e) < 0 ||
            repro_number(p, want[i].row, "ms", want[i].ms, ms, 0.1, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int gain(struct repro *p, const char *row, double published, double ratio, double from, double to, struct err *e)
{
    struct repro_estimate v = {0};

    repro_note(&v, 100 * (ratio - 1));
    return repro_between(p, row, "%", published, from, to, &v, e);
}

static int decode_gains(struct repro *p, struct err *e)
{
    static const struct {
        const char *row, *sequences;
        double published;
    } want[] = {{"decode, microbatches, batch of 64", "32", 5.8},
                {"decode, microbatches, batch of 96", "48", 9.4},
                {"decode, microbatches, batch of 128", "64", 6.9}};
    double with, without;

    for (size_t i = 0; i < COUNT(want); i++) {
        if (tpot(p, want[i].sequences, true, "on", &with, e) < 0 || tpot(p, want[i].sequences, true, "off", &without, e) < 0 ||
            gain(p, want[i].row, want[i].published, without / with, 5.8, 9.4, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int mtp_gains(struct repro *p, struct err *e)
{
    static const char *const row[][2] = {{"multi-token prediction, batch of 8", "4"},
                                         {"multi-token prediction, batch of 96", "48"}};
    double with, without;

    for (size_t i = 0; i < COUNT(row); i++) {
        if (tpot(p, row[i][1], true, "auto", &with, e) < 0 || tpot(p, row[i][1], false, "auto", &without, e) < 0 ||
            gain(p, row[i][0], NAN, without / with, 6, 49, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int prefill_gain(struct repro *p, struct err *e)
{
    struct load cut = {&ascend, PREFILL_32 ",overlap=on", "prompt=4096,output=1", "400", "64", "total_token_throughput"};
    struct load whole = cut;
    double with, without;

    whole.ep = PREFILL_32;
    return simulate(p, &cut, &with, e) < 0 || simulate(p, &whole, &without, e) < 0 ||
                   gain(p, "prefill, microbatches", NAN, with / without, 23, 31, e) < 0
               ? e->code
               : 0;
}

static int microbatches(struct repro *p, struct err *e)
{
    return decode_gains(p, e) < 0 || mtp_gains(p, e) < 0 || prefill_gain(p, e) < 0 ? e->code : 0;
}

/* What a further layer adds to a step: the same model with one more. */
static int layer_us(struct repro *p, bool mtp, double *ret_us, struct err *e)
{
    struct arena *ar = &p->ar;
    const char *spec = arena_printf(ar, "ep{" DECODE_320 ",draft=%d,overlap=on}", mtp);
    const struct cost_ops *ops = cost_find("ep");
    struct batch_shape b = {.n_decode = 48, .decode_ctx_tok = 48 * (4096 + 128), .n_resident = 48};
    struct llm_shape llm;
    struct gpu_profile gpu;
    struct cost_env env = {.llm = &llm, .gpu = &gpu, .tp = 1, .arena = ar};
    struct cost_affine c[2];

    if (!spec || llm_load(&llm, "deepseek-v3", steelyard_data_dir(NULL, ar), "int8", NULL, ar, e) < 0 ||
        gpu_load(&gpu, ascend.gpu, steelyard_data_dir(NULL, ar), ar, e) < 0) {
        return e->code ? e->code : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    for (size_t i = 0; i < 2; i++, llm.layers++) {
        void *state = arena_calloc(ar, 1, ops->state_size);

        if (!state || opt_spec_apply(spec, ops->options, state, ar, e) < 0 || ops->init(state, &env, e) < 0) {
            return e->code ? e->code : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
        }
        ops->iteration(state, &b, &c[i]);
    }
    *ret_us = (double)(c[1].base - c[0].base) / (double)cost_coef(1e-6);
    return 0;
}

static int layers(struct repro *p, struct err *e)
{
    double with = NAN, without = NAN;

    return layer_us(p, true, &with, e) < 0 || layer_us(p, false, &without, e) < 0 ||
                   repro_number(p, "with multi-token prediction", "us", 1260, with, 0.1, e) < 0 ||
                   repro_number(p, "without", "us", 874, without, 0.1, e) < 0
               ? e->code
               : 0;
}

/* ---- the context cache ---- */

/* Conversations of two turns, the second one's prompt 4096 tokens of which `cached` are in the pool; mean time to their first token. */
struct turns {
    double sum_ms;
    unsigned n;
};

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    struct turns *t = ctx;

    (void)e;
    if (row->prompt_tok == 4096) {
        t->sum_ms += (double)(row->first_token_ns - row->arrival_ns) / 1e6;
        t->n++;
    }
    return 0;
}

static int first_token(struct repro *p, int cached, double *ret_ms, struct err *e)
{
    struct arena ar = {0};
    struct turns t = {0};
    struct run_hooks hooks = {.request = on_request, .ctx = &t};
    struct run_result r;
    const char *one = "synth:uniform{rates=0.02,requests=20,prompt=4096,output=1}";
    const struct repro_key key[] = {
        {"trace", cached ? arena_printf(&ar,
                                        "synth:programs{rate=0.01,mix=1,programs=20,turns=2,context=100000,prompt=%d,message=%d,"
                                        "output=1,think_mu=4,think_sigma=0,ttft=0,tbt=0}",
                                        cached, 4095 - cached)
                         : one},
        {"model", "deepseek-v3"},
        {"gpu", ascend.gpu},
        {"weight_dtype", ascend.dtype},
        {"cost", "ep{" PREFILL_32 ",overlap=on}"},
        {"policy", "fcfs"},
        {"load.sessions", "on"},
        {"kv.offload", "swap"},
        {"kv.sessions", "on"},
        {"kv.swap", "async"},
        {"kv.demote", "0"},
        {"kv.host", "1GB"},
        {"kv.remote", "100TB"},
        {"kv.remote_tier", "cloudmatrix-ems"},
        {"kv.tokens", "400000"},
        {"batcher", "vllm-v1{prefix_caching=off,max_num_batched_tokens=16384}"},
    };
    int rc = key[0].value ? repro_run_hooked(p, key, COUNT(key), &hooks, &r, &ar, e)
                          : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");

    *ret_ms = t.n ? t.sum_ms / t.n : (double)NAN;
    arena_release(&ar);
    return rc;
}

static int context_cache(struct repro *p, struct err *e)
{
    static const struct {
        const char *prefill, *ttft;
        int cached;
        double faster, of_none;
    } want[] = {{"prefill, half reused", "time to first token, half reused", 2048, 1.42, 0.66},
                {"prefill, 90 % reused", "time to first token, 90 % reused", 3686, 2.28, 0.41}};
    double none, ms;

    if (first_token(p, 0, &none, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(want); i++) {
        if (first_token(p, want[i].cached, &ms, e) < 0 ||
            repro_number(p, want[i].prefill, "x", want[i].faster, none / ms, 0.1, e) < 0 ||
            repro_number(p, want[i].ttft, "x", want[i].of_none, ms / none, 0.1, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* deepseek-ai/profile-data: decode at EP128, 4096 tokens of context; prefill at EP32, prompts of 4096 in steps
 * of 16,384 tokens; both with dual batches. Throughputs as CloudMatrix-Infer reports them. */
static int profiles(struct repro *p, struct err *e)
{
    struct load decode128 = {&h800, "ranks=128,overlap=on", "prompt=4096,output=64", "128", "128", "median_itl_ms"};
    struct load prefill = {&h800, "ranks=32,kernel=normal,overlap=on", "prompt=4096,output=1", "400", "64",
                           "total_token_throughput"};
    double ms, tok_s;

    if (simulate(p, &decode128, &ms, e) < 0 || simulate(p, &prefill, &tok_s, e) < 0) {
        return e->code;
    }
    return repro_number(p, "decode, time per token", "ms", 50.2, ms, 0.1, e) < 0 ||
                   repro_number(p, "prefill, a GPU", "tok/s", 7839, tok_s, 0.1, e) < 0
               ? e->code
               : 0;
}

/* DeepSeek-V3/R1 in production, averages of a day. Two numbers of DeepSeek's profile data are put in: layer_us makes its decode
 * take its 50.2 ms (EP128, 128 sequences), eff_gemm its prefill do its 7,839 tokens a second; FlashMLA's shares of peak are its own. */
#define DEEPSEEK_DECODE "base=roofline{eff_attn=0.667,eff_kv=0.896},redundant=32,overlap=on,layer_us=130"
#define DEEPSEEK_PREFILL "base=roofline{eff_gemm=0.37},ranks=32,redundant=32,kernel=normal,overlap=on"

/* One GPU of a decode node: 14.8 k tokens a second of 8 GPUs at 21 a user are 88 users each, with 4,989 tokens of KV in the mean. */
static int decode_node(struct repro *p, struct err *e)
{
    struct load l = {&h800, DEEPSEEK_DECODE ",ranks=144", "prompt=4957,output=64", "88", "88", "median_itl_ms"};
    struct repro_estimate v = {0};
    double ms;

    if (simulate(p, &l, &ms, e) < 0 || repro_number(p, "out of a decode node", "tok/s", 14800, 8 * 88e3 / ms, 0.2, e) < 0) {
        return e->code;
    }
    repro_note(&v, 1e3 / ms);
    return repro_between(p, "a user", "tok/s", 21, 0.8 * 20, 1.2 * 22, &v, e);
}

/* One GPU of a prefill node under the published load, 73.7 k tokens a second into 8 GPUs: conversations of three turns with prompts
 * of 2816, 4086 and 5356 tokens, so that 56.3 % are found in host memory. */
static int prefill_node(struct repro *p, struct err *e)
{
    struct arena ar = {0};
    const struct repro_key key[] = {
        {"trace", "synth:programs{rate=0.7515,mix=1,programs=3000,turns=3,context=100000,prompt=2816,message=1269,output=1,"
                  "think_mu=3,think_sigma=0,ttft=0,tbt=0}"},
        {"model", "deepseek-v3"},
        {"gpu", h800.gpu},
        {"weight_dtype", h800.dtype},
        {"cost", "ep{" DEEPSEEK_PREFILL "}"},
        {"policy", "fcfs"},
        {"load.sessions", "on"},
        {"kv.offload", "swap"},
        {"kv.sessions", "on"},
        {"kv.swap", "async"},
        {"kv.host", "1TB"},
        {"kv.tokens", "400000"},
        {"batcher", "vllm-v1{prefix_caching=off,max_num_batched_tokens=16384}"},
    };
    struct run_result r;
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        double found = repro_metric(&r, "kv_found_tokens") / repro_metric(&r, "total_input_tokens");
        double tok_s = repro_metric(&r, "total_input_tokens") / repro_metric(&r, "duration");

        rc = repro_number(p, "into a prefill node at that load", "tok/s", 73700, 8 * tok_s, 0.2, e) < 0 ||
                     repro_number(p, "of it found in the cache", "%", 56.3, 100 * found, 0.2, e) < 0
                 ? e->code
                 : 0;
    }
    arena_release(&ar);
    return rc;
}

static int deepseek_system(struct repro *p, struct err *e)
{
    return prefill_node(p, e) < 0 || decode_node(p, e) < 0 ? e->code : 0;
}

const struct reproduction reproductions_expert_parallel[] = {
    {"cloudmatrix-decode", "CloudMatrix-Infer", "time per output token at 4096 tokens of context, EP320", decode},
    {"cloudmatrix-lengths", "CloudMatrix-Infer", "time per output token with shorter sequences", decode_lengths},
    {"cloudmatrix-layer", "CloudMatrix-Infer", "time of a layer in decode, batch of 96", layers},
    {"cloudmatrix-microbatch", "CloudMatrix-Infer", "gain of two microbatches and of multi-token prediction", microbatches},
    {"cloudmatrix-cache", "CloudMatrix-Infer", "prompts of 4096 tokens, part of their KV in the memory pool", context_cache},
    {"deepseek-profile", "DeepSeek profile data", "decode and prefill on H800", profiles},
    {"deepseek-system", "DeepSeek-V3/R1 inference", "tokens a second of a node of 8 H800", deepseek_system},
    {NULL, NULL, NULL, NULL},
};
