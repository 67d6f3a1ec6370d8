/* SPDX-License-Identifier: Apache-2.0
 *
 * MoE-Lens (arXiv 2504.09345): its equations, and its engine - weights streamed once per iteration, attention
 * on the CPU - as cost model `streamed` below an ordinary batcher. */
#include <math.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/fabric/fabric.h"
#include "sim/run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Equation 2: tokens in flight that saturate the GPU, (FLOP/s over link bytes/s) * (experts / active ones),
 * and the KV that they need at 256 tokens a sequence. The paper rounds the link to 32 GB/s; a x16 link of
 * generation 4 signals 31.5. */
static int equation_2(struct repro *p, struct err *e)
{
    static const struct {
        const char *gpu;
        double tflops, tokens, kv_gb;
    } want[] = {{"A40", 150, 19.2e3, 614}, {"L40", 181, 23.2e3, 741}, {"A100", 312, 40.0e3, 1277}};
    double link = pcie_raw_bytes_per_s(&(struct pcie_config){4, 16, 256, 512});

    for (size_t i = 0; i < COUNT(want); i++) {
        double tokens = want[i].tflops * 1e12 / link * 8 / 2;
        const char *row = arena_printf(&p->ar, "%s, tokens", want[i].gpu);
        const char *kv = arena_printf(&p->ar, "%s, KV at 256 tokens a sequence", want[i].gpu);

        if (!row || !kv) {
            return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
        }
        if (repro_number(p, row, "tok", want[i].tokens, tokens, 0.01, e) < 0 ||
            repro_number(p, kv, "GB", want[i].kv_gb, tokens * 256 * 0.125e-3, 0.01, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* Equation 3 as approximated in the paper: tokens processed at once per token of KV memory. */
static double pme(double prompt, double output)
{
    return 2 * (prompt + output) / ((2 * prompt + output) * output);
}

static int equation_3(struct repro *p, struct err *e)
{
    return repro_number(p, "prompt 98, output 32", "1", 260.0 / 7296, pme(98, 32), 0.001, e) < 0 ||
                   repro_number(p, "prompt 98, output 256", "1", 0.00612, pme(98, 256), 0.001, e) < 0 ||
                   repro_number(p, "gain of overlap, prompt 98, output 256", "1", 1.57,
                                (98 + 256) / (98 + 256 / 2.0), 0.01, e) < 0
               ? e->code
               : 0;
}

/* Mixtral-8x7B on an A40: 70 GB of KV are 534057 tokens; MTBench as the paper idealises it, 98 in, 32 out.
 * The budget of a step is the number of tokens that the GPU computes during one sweep of the weights. */
#define KV_TOKENS "534057"
#define BUDGET    "22600"
#define ACTIVE_PARAMS 12.9e9
#define GEMM_SHARE 0.8 /* of the A40's 149.7 TFLOP/s: the default of `streamed` */

static int engine(struct repro *p, struct err *e)
{
    const struct repro_key key[] = {
        {"trace", "synth:uniform{rates=10000,requests=100000,prompt=98,output=32}"},
        {"model", "mixtral-8x7b"},
        {"gpu", "a40"},
        {"cost", "streamed"},
        {"policy", "fcfs"},
        {"kv.tokens", KV_TOKENS},
        {"batcher", "vllm-v1{max_num_batched_tokens=" BUDGET ",max_num_seqs=20000}"},
    };
    struct arena ar = {0};
    struct run_result r;
    struct repro_estimate share = {0};
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        repro_note(&share, 100 * repro_metric(&r, "total_token_throughput") * 2 * ACTIVE_PARAMS /
                               (149.7e12 * GEMM_SHARE));
    }
    arena_release(&ar);
    return rc < 0 ? rc : repro_between(p, "share of the GPU in use", "%", 90, 80, 100, &share, e);
}

/* Section 5's machine: a Xeon Platinum 8380, 40 cores with 48 reads outstanding from each second-level cache,
 * against the reads of one PCIe root (164, as "Understanding the Host Network" found on the generation before). */
#define LINES "dma_lines=164,cpu_lines=1920"
#define KV_BYTES 210e9

/* Seconds of a decode step over sequences with so many tokens of context. */
static int step_s(struct repro *p, const char *options, uint64_t context_tok, double *ret, struct err *e)
{
    const char *dir = steelyard_data_dir(NULL, &p->ar);
    const struct cost_ops *c = cost_find("streamed");
    void *state = arena_alloc(&p->ar, c->state_size);
    struct llm_shape m;
    struct gpu_profile g;
    struct cost_env env = {.llm = &m, .gpu = &g, .tp = 1, .arena = &p->ar};
    struct cost_affine line;

    if (!state) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    if (llm_load(&m, "mixtral-8x7b", dir, NULL, NULL, &p->ar, e) < 0 || gpu_load(&g, "a40", dir, &p->ar, e) < 0 ||
        opt_spec_apply(options, c->options, state, &p->ar, e) < 0 || c->init(state, &env, e) < 0) {
        return e->code;
    }
    c->iteration(state, &(struct batch_shape){.n_decode = 1, .decode_ctx_tok = context_tok}, &line);
    *ret = (double)line.base / SIM_TICKS_PER_NS / 1e9;
    return 0;
}

static int contention(struct repro *p, struct err *e)
{
    uint64_t tok = (uint64_t)(KV_BYTES / 131072);
    double alone, beside;
    struct repro_estimate slower = {0};

    if (step_s(p, "streamed", 0, &alone, e) < 0 || step_s(p, "streamed{" LINES "}", tok, &beside, e) < 0) {
        return e->code;
    }
    repro_note(&slower, 100 * (beside / alone - 1));
    return repro_number(p, "sweep of the weights alone", "s", 5, alone, 0.1, e) < 0 ||
                   repro_between(p, "slower while 210 GB of KV are read", "%", 20, 10, 30, &slower, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_moe_lens[] = {
    {"moe-lens-eq2", "MoE-Lens, arXiv 2504.09345", "equation 2: tokens in flight that saturate a GPU", equation_2},
    {"moe-lens-eq3", "MoE-Lens, arXiv 2504.09345", "equations 3 and 5: tokens at once per token of KV", equation_3},
    {"moe-lens-run", "MoE-Lens, arXiv 2504.09345", "Mixtral-8x7B on an A40, 70 GB of KV", engine},
    {"moe-lens-dram", "MoE-Lens, arXiv 2504.09345", "copies and CPU attention share the host's memory", contention},
    {NULL, NULL, NULL, NULL},
};
