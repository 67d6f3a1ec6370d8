/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameter sets of the latent-factor router, fitted to statistics of real routing. They are not unique:
 * what holds is that the statistics come out again, which tests/unit/test_route_stats.c checks. The first
 * two were fitted to 29 statistics of 300 short prompts of DeepSeek-V2-Lite (moe-beyond's recording:
 * shares, reuse curve, distinct experts, LRU hit rates, co-activation, next layer); the others to the 7 or 8
 * per model of the moe-speed-of-light policy study (LRU and Belady at E/8, E/4 and 3E/8, share of the most
 * used, 16-token union, reuse), in 10 sequences of 768 tokens and 2 layers. These say nothing about c:
 * .96 is DeepSeek's, taken for fine-grained experts, and .45 stands for coarse ones, whose mutual
 * information between layers is 5 to 20 times lower (counts published with OLMoE). */
#include "traces/routes_synth.h"

#include <string.h>
#include <strings.h>

#define FINE   0.96
#define COARSE 0.45

const struct router_preset router_presets[] = {
    {"deepseek-v2-lite", {64, 6, 26}, 12, .130, .128, .423, .604, .072, .962,
     "fitted to 29 statistics of 300 short prompts; 4.0-6.8 % RMS on other seeds"},
    {"deepseek-v2-lite-alt", {64, 6, 26}, 6, .132, .219, .536, .605, .484, 1.0,
     "fitted to 29 statistics of 300 short prompts; 4.2-5.5 % RMS on other seeds"},
    {"deepseek-v2-lite-long", {64, 6, 26}, 9, .00, .14, .49, .62, .19, FINE,
     "long text: 1.5 % RMS over 7 statistics; c not fitted"},
    {"olmoe-1b-7b", {64, 8, 16}, 7, .36, .39, .49, .60, .32, FINE, "2.9 % RMS over 7 statistics; c not fitted"},
    {"gpt-oss-20b", {32, 4, 24}, 15, .32, .25, .45, .93, .22, FINE, "1.9 % RMS over 8 statistics; c not fitted"},
    {"gpt-oss-120b", {128, 4, 36}, 15, .31, .36, .45, .84, .32, FINE,
     "1.5 % RMS over 8 statistics; c not fitted"},
    {"qwen3-30b-a3b", {128, 8, 48}, 9, .15, .47, .50, .88, .38, FINE,
     "2.5 % RMS over 8 statistics; c not fitted"},
    {"mixtral-8x7b", {8, 2, 32}, 10, .03, .03, .34, .76, .05, COARSE, "0.9 % RMS over 7 statistics; c not fitted"},
    {"qwen1.5-moe-a2.7b", {60, 4, 24}, 10, .07, .05, .36, .73, .36, FINE,
     "2.3 % RMS over 7 statistics; c not fitted"},
    {"qwen2-57b-a14b", {64, 8, 28}, 33, .38, .07, .41, .63, .27, FINE,
     "4.6 % RMS over 7 statistics; c not fitted"},
    {"phi-3.5-moe", {16, 2, 32}, 13, .20, .24, .50, .86, .11, COARSE, "1.9 % RMS over 7 statistics; c not fitted"},
    {NULL, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, NULL},
};

const struct router_preset *router_preset_find(const char *name)
{
    for (const struct router_preset *p = router_presets; p->name; p++) {
        if (strcasecmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}
