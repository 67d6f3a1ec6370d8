/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameter sets of the latent-factor router, fitted to statistics of real routing. They are not unique:
 * what holds is that the statistics come out again, which tests/unit/test_route_stats.c checks. The first
 * two were fitted to 29 statistics of 300 short prompts of DeepSeek-V2-Lite (moe-beyond's recording:
 * shares, reuse curve, distinct experts, LRU hit rates, co-activation, next layer); the others to those that the
 * moe-speed-of-light policy study gives per model (LRU, Belady and share of the most used at E/8, E/4 and
 * 3E/8, 16-token union, reuse), in 10 sequences of 768 tokens. Ten sequences differ by a point or two from ten
 * others; the rows "on other seeds" are means over 8 draws (tests/accuracy/router_fit.c), the rest over two,
 * and their errors are those of the draws they were fitted to. None of these says anything about c:
 * .96 is DeepSeek's, taken for fine-grained experts, and .45 stands for coarse ones, whose mutual
 * information between layers is 5 to 20 times lower (counts published with OLMoE).
 *
 * deepseek-v3 is a stand-in, as no tokens of it were there to fit: the parameters of qwen3-30b-a3b, of those fitted
 * the one with the most and smallest experts that was trained, like it, with balance over batches and not inside
 * sequences; its own limit on groups; and sigma_a so that 4096 tokens of as many sequences load experts with a
 * coefficient of variation of 1.28, as TensorRT-LLM counted on DeepSeek-R1 (tech blog 4, table 1: 164.1 of 128).
 * What else that table says is compared in results/reproduce/placement.md. */
#include "traces/routes_synth.h"

#include <string.h>
#include <strings.h>

/* SmallThinker's report says of how often experts are used for a task: 70 to 80 % of them below .14, 20 to
 * 30 % at .4 to .6. With 4 of 32 that can be; with 6 of 64 it cannot, as all together use .094 each. So
 * the set that is nearest to deepseek-v2-lite-long (also 6 of 64) and holds for 4 of 32 at the near ends - 70 %
 * below .14, the first 20 % at .4 on the average - is taken for both: only w_q is fitted, and w_f keeps its
 * share of what is not the sequence's. */
#define SMALLTHINKER "nearest to deepseek-v2-lite-long with the report's two shares of use; c not fitted"

#define FINE   0.96
#define COARSE 0.45
/* No statistics of Switch's routing are known to us. Its balancing loss makes experts equally popular over all
 * text (sigma_a 0); d, w_f, rho and sigma_n are those of the fitted model with 32 experts. One number went in, which
 * w_q was calibrated on: LRU with 16 of Switch-Base-32's experts per layer hits 76.61 % in decode steps of 4
 * sequences of 16 tokens (ExpertFlow, figure 10); 64 and 128 experts have the same w_q. */
#define SWITCH "one hit rate of Switch-Base-32 under LRU (ExpertFlow); the rest as gpt-oss-20b's, experts equally popular"

const struct router_preset router_presets[] = {
    {"deepseek-v2-lite", {64, 6, 26}, 12, .130, .128, .423, .604, .072, .962,
     "fitted to 29 statistics of 300 short prompts; 4.0-6.8 % RMS on other seeds"},
    {"deepseek-v2-lite-alt", {64, 6, 26}, 6, .132, .219, .536, .605, .484, 1.0,
     "fitted to 29 statistics of 300 short prompts; 4.2-5.5 % RMS on other seeds"},
    {"deepseek-v2-lite-long", {64, 6, 26}, 9, .00, .14, .49, .62, .19, FINE,
     "long text: 1.5 % RMS over 7 statistics; c not fitted"},
    {"olmoe-1b-7b", {64, 8, 16}, 12, .401, .260, .668, .626, .266, FINE,
     "1.4 % RMS over 10 statistics on other seeds; c not fitted"},
    {"gpt-oss-20b", {32, 4, 24}, 15, .32, .25, .45, .93, .22, FINE, "1.9 % RMS over 8 statistics; c not fitted"},
    {"gpt-oss-120b", {128, 4, 36}, 15, .31, .36, .45, .84, .32, FINE,
     "1.5 % RMS over 8 statistics; c not fitted"},
    {"qwen3-30b-a3b", {128, 8, 48}, 9, .015, .533, .313, .804, .172, FINE,
     "2.1 % RMS over 11 statistics on other seeds; c not fitted"},
    {"mixtral-8x7b", {8, 2, 32}, 10, .03, .03, .34, .76, .05, COARSE, "0.9 % RMS over 7 statistics; c not fitted"},
    {"qwen1.5-moe-a2.7b", {60, 4, 24}, 22, .094, .089, .344, .631, .222, FINE,
     "3.8 % RMS over 10 statistics on other seeds; c not fitted"},
    {"qwen2-57b-a14b", {64, 8, 28}, 37, .401, .042, .669, .488, .365, FINE,
     "3.6 % RMS over 10 statistics on other seeds; c not fitted"},
    {"phi-3.5-moe", {16, 2, 32}, 20, .175, .312, .536, .745, .283, COARSE,
     "1.4 % RMS over 10 statistics on other seeds; c not fitted"},
    {"smallthinker-21b-a3b", {64, 6, 52}, 9, .00, .52, .274, .62, .19, FINE, SMALLTHINKER},
    {"smallthinker-4b-a0.6b", {32, 4, 32}, 9, .00, .52, .274, .62, .19, FINE, SMALLTHINKER},
    {"switch-base-32", {32, 1, 6}, 15, 0, .305, .45, .93, .22, FINE, SWITCH},
    {"switch-base-64", {64, 1, 6}, 15, 0, .305, .45, .93, .22, FINE, SWITCH},
    {"switch-base-128", {128, 1, 6}, 15, 0, .305, .45, .93, .22, FINE, SWITCH},
    {"deepseek-v3", {256, 8, 58}, 9, .46, .533, .313, .804, .172, FINE,
     "not fitted but pieced together: qwen3-30b-a3b, routing limited to 4 of 8 groups, skew as published for R1"},
    {NULL, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, NULL},
};

const struct router_limit router_limits[] = {{"deepseek-v3", 8, 4}, {NULL, 0, 0}};

const struct router_preset *router_preset_find(const char *name)
{
    for (const struct router_preset *p = router_presets; p->name; p++) {
        if (strcasecmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}
