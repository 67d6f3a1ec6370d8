/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert parallelism at scale: CloudMatrix-Infer (arXiv 2506.12708) and DeepSeek's published profiles. One rank
 * is simulated, cost model `ep` over `roofline` with its default shares of peak. */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct machine {
    const char *gpu, *dtype;
};
static const struct machine ascend = {"ascend-910c-die", "int8"};
static const struct machine h800 = {"h100", "fp8"}; /* the same chip but for NVLink, which `ep` is told */

/* 320 ranks: 256 routed experts, 32 copies of hot ones, 32 shared ones; fused dispatch and combine at
 * EP256, 54 and 103 GB/s. Prefill at EP32: 71 and 131 GB/s were published at EP8, between them about so. */
#define DECODE_320  "ranks=320,redundant=64,dispatch_gb_s=54,combine_gb_s=103"
#define PREFILL_32  "ranks=32,kernel=normal,dispatch_gb_s=65,combine_gb_s=120"

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

/* A step computes two tokens a sequence: its next one and a draft, of which 70 % are accepted, so a step
 * gives 1.7. Two sequences of the run stand for one. */
#define MTP_TOKENS 1.7

static int decode(struct repro *p, struct err *e)
{
    static const struct {
        const char *row, *tokens; /* of a die and step: half of the NPU's batch, twice for the draft */
        double ms;
    } want[] = {{"batch of 96 an NPU", "96", 49.4}, {"batch of 24 an NPU", "24", 24.6}, {"batch of 8 an NPU", "8", 14.9}};

    for (size_t i = 0; i < COUNT(want); i++) {
        struct load l = {&ascend, DECODE_320 ",overlap=on", "prompt=4096,output=64", want[i].tokens,
                         want[i].tokens, "median_itl_ms"};
        double ms;

        if (simulate(p, &l, &ms, e) < 0 ||
            repro_number(p, want[i].row, "ms", want[i].ms, ms / MTP_TOKENS, 0.1, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int gain(struct repro *p, const char *row, const struct load *with, const struct load *without,
                bool rate, double from, double to, struct err *e)
{
    double a, b;
    struct repro_estimate v = {0};

    if (simulate(p, with, &a, e) < 0 || simulate(p, without, &b, e) < 0) {
        return e->code;
    }
    repro_note(&v, 100 * ((rate ? a / b : b / a) - 1));
    return repro_between(p, row, "%", NAN, from, to, &v, e);
}

static int microbatches(struct repro *p, struct err *e)
{
    struct load cut = {&ascend, DECODE_320 ",overlap=on", "prompt=4096,output=64", "96", "96", "median_itl_ms"};
    struct load whole = cut, prefill_cut = {&ascend, PREFILL_32 ",overlap=on", "prompt=4096,output=1", "400", "64",
                                            "total_token_throughput"};
    struct load prefill = prefill_cut;

    whole.ep = DECODE_320;
    prefill.ep = PREFILL_32;
    return gain(p, "decode, faster by", &cut, &whole, false, 5.8, 9.4, e) < 0 ||
                   gain(p, "prefill, more by", &prefill_cut, &prefill, true, 23, 31, e) < 0
               ? e->code
               : 0;
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

const struct reproduction reproductions_expert_parallel[] = {
    {"cloudmatrix-decode", "CloudMatrix-Infer", "time per output token at 4096 tokens of context, EP320", decode},
    {"cloudmatrix-microbatch", "CloudMatrix-Infer", "gain of two microbatches", microbatches},
    {"deepseek-profile", "DeepSeek profile data", "decode and prefill on H800", profiles},
    {NULL, NULL, NULL, NULL},
};
