/* SPDX-License-Identifier: Apache-2.0
 *
 * Named workloads. Published figures stand beside what is generated; tests/unit/test_trace_synth.c
 * compares them. */
#include "traces/synth.h"

/* Quantiles of AzureLLMInferenceTrace_conv.csv (Azure/AzurePublicDataset, CC-BY-4.0). The steps at
 * about 390, 1020 and 4080 prompt tokens are prompt templates and the limit of the service; no
 * log-normal has them. */
#define AZURE_PROMPT                                                                                 \
    "quantiles(0:2,0.01:29,0.02:91,0.05:181,0.08:201,0.1:207,0.15:372,0.2:387,0.25:396,0.3:403,"    \
    "0.35:414,0.38:433,0.4:703,0.42:903,0.45:984,0.5:1020,0.55:1045,0.6:1071,0.65:1097,0.7:1130,"    \
    "0.75:1189,0.8:1315,0.85:1876,0.88:2401,0.9:2735,0.91:3291,0.92:4073,0.94:4079,0.96:4086,"       \
    "0.98:4098,0.99:4142,0.995:4831,0.998:5652,0.999:6212,0.9999:7650,1:14050)"
#define AZURE_OUTPUT                                                                                 \
    "quantiles(0:7,0.01:16,0.02:24,0.05:41,0.08:49,0.1:54,0.15:67,0.2:77,0.25:85,0.3:91,0.35:96,"    \
    "0.38:100,0.4:103,0.42:107,0.45:113,0.5:129,0.55:151,0.6:177,0.65:217,0.7:384,0.75:395,0.8:400," \
    "0.85:411,0.88:417,0.9:424,0.91:428,0.92:429,0.94:442,0.96:468,0.98:540,0.99:601,0.995:643,"     \
    "0.998:916,0.999:954,0.9999:1000,1:1000)"

/* Quantiles of conversations whose prompt and answer have at most 1024 tokens each (as in VTC's real trace):
 * 53,552 of 58,787 of NanoFlow's ShareGPT file, 99,599 of its 100,000 of LMSYS-Chat-1M
 * (efeslab/Nanoflow d6b381e58, datasets/traces). */
#define SHAREGPT_PROMPT                                                                             \
    "quantiles(0:1,0.02:3,0.05:6,0.1:9,0.15:11,0.2:13,0.25:15,0.3:17,0.35:19,0.4:22,"               \
    "0.45:26,0.5:30,0.55:36,0.6:45,0.65:56,0.7:73,0.75:97,0.8:135,0.85:204,0.9:337,"                \
    "0.93:453,0.95:557,0.97:707,0.98:793,0.99:900,1:1024)"
#define SHAREGPT_OUTPUT                                                                             \
    "quantiles(0:1,0.02:10,0.05:21,0.1:41,0.15:72,0.2:103,0.25:131,0.3:162,0.35:195,"               \
    "0.4:226,0.45:254,0.5:281,0.55:308,0.6:336,0.65:366,0.7:399,0.75:439,0.8:490,"                  \
    "0.85:558,0.9:657,0.93:745,0.95:805,0.97:886,0.98:928,0.99:964,1:1024)"
#define LMSYS_PROMPT                                                                                \
    "quantiles(0:2,0.05:3,0.1:6,0.15:8,0.2:10,0.25:12,0.3:14,0.35:16,0.4:19,0.45:23,"               \
    "0.5:28,0.55:33,0.6:39,0.65:49,0.7:65,0.75:82,0.8:107,0.85:175,0.9:296,0.93:366,"               \
    "0.95:424,0.97:543,0.98:622,0.99:715,1:1024)"
#define LMSYS_OUTPUT                                                                                \
    "quantiles(0:1,0.02:2,0.05:8,0.1:12,0.15:19,0.2:28,0.25:39,0.3:53,0.35:71,0.4:90,"              \
    "0.45:112,0.5:139,0.55:175,0.6:215,0.65:256,0.7:297,0.75:337,0.8:382,0.85:439,"                 \
    "0.9:512,0.93:513,0.95:518,0.97:577,0.98:670,0.99:819,1:1024)"

/* Tree of thought of JITServe's artifact (benchmark/trace/client.py): three thoughts on the question, their
 * comparison, three revisions of one answer, their comparison; at most 256 tokens each. Comparisons hold
 * three answers, revisions one. */
#define THOUGHT_PROMPT "mix(3:" LMSYS_PROMPT ",3:30..290,2:120..880)"
#define THOUGHT_OUTPUT "lognormal(median=225,mean=344,max=256)"
/* Calls of deep research: mean 1,911, P95 7,573 (notes on the paper); the context ends at 8192. */
#define RESEARCH_PROMPT "lognormal(median=498,mean=1911,max=7936)"
#define RESEARCH_OUTPUT "1..256"

const struct synth_preset synth_presets[] = {
    {"azure-conv", "process=gamma,rates=5.5304,cv=1.094,requests=19366,prompt=" AZURE_PROMPT
                   ",output=" AZURE_OUTPUT,
     NULL, "Azure 2023 conversation: n 19,366 in one hour, prompt mean 1154.7 median 1020, output mean 211.1 "
     "median 129 (public file); gaps as gamma with the file's CV 1.094"},
    /* 1,429,737 requests in 61 days = 0.2713/s; mean lengths as Llumnix gives them for the GPT-4
     * conversations (OSDI'24); alpha 0.5, 20 min and theta 1.1 are the paper's start values. */
    {"burstgpt", "process=modulated,rates=0.2713,alpha=0.5,period=1200,duration=86400,"
                 "prompt=zipf(theta=1.1,mean=830),output=zipf(theta=1.1,mean=271)",
     NULL, "BurstGPT model (KDD'25): Gamma-modulated rate every 20 min, Zipf lengths; published means 830 "
     "and 271, 0.2713 requests/s; one day"},
    /* Sheng et al., OSDI'24, section 5 and the artifact's exp_suite.py. */
    {"vtc-overload", "process=uniform,rates=1.5;3,duration=360,prompt=256,output=256",
     NULL, "VTC figure 3: two clients, both backlogged"},
    {"vtc-overload-multi",
     "process=uniform,rates=0.4;0.4;0.4;0.6;0.6;0.6;0.6;0.6,duration=360,prompt=256,output=256",
     NULL, "VTC appendix B: eight clients"},
    {"vtc-overload-weighted", "process=uniform,rates=0.8;0.8;1.2;1.6,duration=360,prompt=256,output=256",
     NULL, "VTC appendix: weighted clients"},
    {"vtc-proportional", "process=uniform,rates=0.25;0.5;1.5,duration=600,prompt=256,output=256",
     NULL, "VTC figure 4: two clients below their share, one above"},
    {"vtc-on-off-less", "process=uniform,rates=0.5;2,on=60,off=60,on_off=1;0,duration=600,prompt=256,output=256",
     NULL, "VTC figure 5: client 1 on for 60 s, off for 60 s, below its share"},
    {"vtc-on-off-overload",
     "process=uniform,rates=2;3,on=60,off=60,on_off=1;0,duration=600,prompt=256,output=256",
     NULL, "VTC figure 6: client 1 on and off, above its share"},
    {"vtc-poisson-short-long",
     "process=poisson,shared=on,stop=count,rates=8;1.5,duration=600,prompt=64;256,output=64;256",
     NULL, "VTC figure 7: many short against few long requests"},
    {"vtc-poisson-short-long-2",
     "process=poisson,shared=on,stop=count,rates=8;1.5,duration=600,prompt=512;32,output=32;512",
     NULL, "VTC figure 8: long prompts against long outputs"},
    {"vtc-increase",
     "process=uniform,rates=0.5;0.2,rates_end=0.5;2,duration=600,prompt=256,output=256",
     NULL, "VTC figure 9: client 2 ramps from 0.2 to 2 per second"},
    {"vtc-dist-shift",
     "process=uniform,phases=3,rates=0.5;2;1;1;0.5;1.5,on=60,off=60,on_off=1;0;0;0;0;0,duration=900,"
     "prompt=256,output=256",
     NULL, "VTC figure 10: three phases of 300 s"},
    {"vtc-poisson-on-off-overload",
     "process=poisson,shared=on,stop=count,rates=0.5;2,on=60,off=60,on_off=1;0,duration=600,"
     "prompt=16..511,output=16..511",
     NULL, "VTC artifact: Poisson arrivals, client 1 on and off, lengths 16 to 511"},
    {"vtc-overload-s4-256", "process=uniform,rates=3;6,duration=600,prompt=256,output=256",
     NULL, "VTC figure 15: A100, pool of 35,000 tokens, lengths 256"},
    {"vtc-overload-s4-512", "process=uniform,rates=1.5;3,duration=600,prompt=512,output=512",
     NULL, "VTC figure 15: lengths 512"},
    {"vtc-overload-s4-768", "process=uniform,rates=1;2,duration=600,prompt=768,output=768",
     NULL, "VTC figure 15: lengths 768"},
    {"vtc-ablation-lshare", "process=uniform,rates=0.2;0.8,duration=300,prompt=256,output=256",
     NULL, "VTC introduction: requests-per-minute limits"},
    /* Gaps are Poisson numbers of milliseconds, so their CV is 0.06 at these rates; answers end at
     * max_output_len 1024; questions are LMSYS-Chat-1M's (JITServe a94f40dd, benchmark/). */
    {"jitserve-mix",
     "rate=3.5,cv=0.06,programs=3000,prompt=" LMSYS_PROMPT ",output=lognormal(median=225,mean=344,max=1024),"
     "call_prompt=" THOUGHT_PROMPT "|" RESEARCH_PROMPT ",call_output=" THOUGHT_OUTPUT "|" RESEARCH_OUTPUT,
     &synth_programs,
     "JITServe's artifact: latency, deadline and compound programs 1 : 1 : 1/7, half tree of thought, half "
     "deep research; TTFT 0.8 s, TBT 0.08 s, 8 s a stage, times 1 to 4"},
    {"chat", "rate=0.5,mix=1,programs=500,turns=mix(0.35:1,0.2:2,0.2:3..4,0.25:5..17)", &synth_programs,
     "conversations: 35 % one turn, median 2, 75 % at most 4, mean 4.2 (BurstGPT); gaps log-normal, mu "
     "4.82 and sigma 1.25 of seconds (Bailian)"},
    {"tree-of-thought",
     "rate=0.5,mix=0;0;1,programs=500,stages=3;1;3;1,call_prompt=" THOUGHT_PROMPT ",call_output=" THOUGHT_OUTPUT,
     &synth_programs,
     "JITServe's tree of thought: two rounds of three thoughts and a value, at most 256 tokens each"},
    {"deep-research",
     "rate=0.5,mix=0;0;1,programs=500,stages=1;1;1;1;1;1,call_prompt=" RESEARCH_PROMPT
     ",call_output=" RESEARCH_OUTPUT,
     &synth_programs, "JITServe's deep research: six calls one after the other"},
    {"sharegpt",
     "rates=4,clients=27,shared=on,duration=600,max_output=1024,prompt=" SHAREGPT_PROMPT
     ",output=" SHAREGPT_OUTPUT,
     NULL, "ShareGPT lengths (up to 1024 each; means 108 and 317), 27 clients with shares 1/k, limit 1024 declared"},
    {"lmsys",
     "rates=4,clients=27,shared=on,duration=600,max_output=1024,prompt=" LMSYS_PROMPT
     ",output=" LMSYS_OUTPUT,
     NULL, "LMSYS-Chat-1M lengths (up to 1024 each; means 89 and 205), 27 clients with shares 1/k, limit 1024 declared"},
    {.name = NULL},
};
