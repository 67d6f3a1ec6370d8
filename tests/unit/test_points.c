/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of measured points: each format from a few hand-made lines, values as written there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/cli/points.h"
#include "sim/cli/replay_meta.h"
#include "sim/cli/replay_points.h"

static int read_text(struct point_list *l, const char *text, struct arena *a, struct err *e)
{
    struct trace_input *in;

    assert_int_equal(trace_input_open_memory(&in, text, strlen(text), "t.csv", a, e), 0);
    return point_list_read(l, in, a, e);
}

/* The rows of a text that must be good. */
static struct point_list good(const char *text, size_t n, struct arena *a)
{
    struct point_list l;
    struct err e = {0};
    int rc = read_text(&l, text, a, &e);

    assert_string_equal(e.msg, "");
    assert_int_equal(rc, 1);
    assert_int_equal(l.n, n);
    return l;
}

static void bad(const char *text, const char *says)
{
    struct arena a = {0};
    struct point_list l;
    struct err e = {0};

    assert_int_equal(read_text(&l, text, &a, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, says));
    arena_release(&a);
}

static void expect_measure(const struct point *p, uint32_t i, const char *metric, double real)
{
    assert_true(i < p->n_measures);
    assert_string_equal(p->measure[i].metric, metric);
    assert_true(fabs(p->measure[i].real - real) < 1e-9 * real);
}

#define SILICON                                                                                       \
    "id,origin,backend,backend_version,model_path,system,precision,mode,isl,osl,concurrency,"         \
    "gemm_quant_mode,tp_size,pp_size,attention_dp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms\n"

static void silicon(void **state)
{
    struct arena a = {0};
    struct point_list l = good(SILICON "7,InferenceMAX csv,vllm,0.12.0,org/M-70B,h100_sxm,fp8,agg,1000,500,16,fp8,4,1,1,1,120.5,16.25\n"
                                       "8,other,trtllm,1.0,org/M,h200_sxm,,agg,100,10,,,2,1,,1,5,2\n"
                                       "9,other,sglang,0.5,org/M,b200_sxm,fp4,disagg,100,10,8,nvfp4,,,,,5,2\n"
                                       "10,other,vllm,0.18,org/M,h200_sxm,,agg,100,10,8,,8,1,4,8,5,2\n",
                               4, &a);
    const struct point *p = l.point;

    (void)state;
    /* Shares 0.8 to 1 of the lengths, ten times as many requests as are in flight. */
    assert_int_equal(p->prompt_low, 800);
    assert_int_equal(p->prompt_high, 1000);
    assert_int_equal(p->output_low, 400);
    assert_int_equal(p->requests, 160);
    assert_int_equal(p->tp, 4);
    assert_string_equal(p->weight_dtype, "fp8");
    assert_string_equal(p->batcher, "vllm-v1{version=0.13,max_num_batched_tokens=8192}");
    assert_null(p->skip);
    expect_measure(p, 0, "mean_ttft_ms", 120.5);
    expect_measure(p, 1, "mean_tpot_ms", 16.25);
    assert_string_equal(p[1].skip, "number of requests in flight is not given");
    assert_string_equal(p[1].weight_dtype, "bf16");
    assert_int_equal(p[1].prompt_low, 90); /* a tenth around */
    assert_int_equal(p[1].prompt_high, 110);
    assert_string_equal(p[2].skip, "prefill and decode on separate workers");
    assert_string_equal(p[3].skip, "data-parallel attention");
    point_list_release(&l);
    arena_release(&a);
}

static void steady_states_and_batches(void **state)
{
    struct arena a = {0};
    struct point_list l = good("task,model_id,weight_precision,gpu_model,num_gpus,max_num_seqs,avg_batch_size,avg_output_len,"
                               "median_itl_ms,output_throughput_tokens_per_sec\n"
                               "lm-arena-chat,o/M-8B,bfloat16,H100,2,64,60,800,11.5,5000\n"
                               "image-chat,o/M-8B,bfloat16,H100,2,64,60,800,11.5,5000\n", 2, &a);

    (void)state;
    assert_int_equal(l.point[0].tp, 2);
    assert_int_equal(l.point[0].concurrency, 64);
    assert_int_equal(l.point[0].output_low + l.point[0].output_high, 1600);
    expect_measure(&l.point[0], 0, "median_itl_ms", 11.5);
    expect_measure(&l.point[0], 1, "e2el_per_token", 12); /* 60 in flight at 5000 a second */
    assert_non_null(l.point[1].skip);
    point_list_release(&l);
    l = good("model,hardware,prompt_tokens,batch_size,output_tokens,prompt_ms,token_ms,tp\nM,a100-80gb,512,4,128,200,50,8\n", 1, &a);
    assert_string_equal(l.point->batcher, "static{batch_size=4}");
    assert_int_equal(l.point->requests, 4);
    assert_false(l.point->http);
    point_list_release(&l);
    l = good("hardware,num_devices,framework,model,in_out_len,batch,latency_s\nNvidia A100 GPU,2,vLLM,o/M,256,16,3.5\n"
             "AMD MI300X GPU,1,TensorRT-LLM,o/M,256,16,3.5\n", 2, &a);
    assert_string_equal(replay_gpu_name(l.point[0].gpu), "a100-40g");
    assert_string_equal(replay_gpu_name(l.point[1].gpu), "mi300x");
    assert_int_equal(l.point[0].output_low, 256);
    assert_true(strncmp(l.point[0].batcher, "vllm-v0{", 8) == 0);
    assert_true(strncmp(l.point[1].batcher, "trtllm{", 7) == 0);
    expect_measure(&l.point[0], 0, "duration", 3.5);
    point_list_release(&l);
    arena_release(&a);
}

static void h200(void **state)
{
    struct arena a = {0};
    struct point_list l = good("model,precision,topology,isl,osl,concurrency,req_s,ttft_ms,itl_ms\n"
                               "M-8B,bf16,agg TP4 x2 replicas,9000,30,9,2.3,273,5.7\n"
                               "M-8B,bf16,disagg TP1 7P+1D,9000,30,16,4.6,1128,\n", 2, &a);

    (void)state;
    assert_int_equal(l.point[0].tp, 4);
    assert_int_equal(l.point[0].concurrency, 5); /* nine over two, rounded up */
    assert_int_equal(l.point[0].n_measures, 2);
    assert_int_equal(l.point[1].n_measures, 1);
    assert_non_null(l.point[1].skip);
    point_list_release(&l);
    l = good("config,concurrency,ttft_p50_ms,itl_p50_ms\nqwen3-32b-fp8-tp8pp1,4,64,5\nqwen3-06b-tp1pp8,4,64,5\n", 2, &a);
    assert_int_equal(l.point[0].tp, 8);
    assert_string_equal(l.point[0].weight_dtype, "fp8");
    assert_string_equal(replay_model_name(l.point[0].model, &a), "qwen3-32b");
    assert_null(l.point[0].skip);
    assert_string_equal(l.point[1].model, "qwen3-0.6b");
    assert_string_equal(l.point[1].skip, "pipeline parallelism");
    point_list_release(&l);
    l = good("model,isl,osl,gpus,concurrency,ttft_p50_ms\nQwen3-32B-FP8-TP4,9000,30,8,12,1475\n", 1, &a);
    assert_int_equal(l.point->tp, 4);
    assert_int_equal(l.point->concurrency, 6);
    point_list_release(&l);
    arena_release(&a);
}

static void own_table(void **state)
{
    struct arena a = {0};
    struct point_list l = good("concurrency,model,gpu,prompt_tokens,output_tokens,mean_tpot_ms\n8,llama-3.1-8b,H100,1000,100,7.5\n", 1, &a);

    (void)state;
    assert_int_equal(l.point->tp, 1);
    assert_int_equal(l.point->requests, 160);
    assert_int_equal(l.point->prompt_low, 1000);
    expect_measure(l.point, 0, "mean_tpot_ms", 7.5);
    point_list_release(&l);
    arena_release(&a);
}

/* A benchmark's result without its requests: means of lengths, load, means of times. */
static void bench(void **state)
{
    static const char text[] = "{\"model_id\": \"o/M\", \"completed\": 4, \"total_input_tokens\": 400, \"total_output_tokens\": 80, "
                               "\"request_rate\": \"inf\", \"max_concurrency\": 2, \"mean_ttft_ms\": 50.5, \"output_throughput\": 99}";
    static const char empty[] = "{\"completed\": 0, \"total_input_tokens\": 0}";
    static const char requests[] = "{\"completed\": 1, \"total_input_tokens\": 1, \"input_lens\": [1]}";
    struct arena a = {0};
    struct err e = {0};
    struct point_list l;

    (void)state;
    assert_int_equal(point_list_bench(&l, text, strlen(text), "b.json", &a, &e), 1);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.point->prompt_low + l.point->prompt_high, 200);
    assert_int_equal(l.point->output_low, 18);
    assert_int_equal(l.point->concurrency, 2);
    assert_true(l.point->rate <= 0);
    assert_int_equal(l.point->requests, 4);
    expect_measure(l.point, 0, "mean_ttft_ms", 50.5);
    expect_measure(l.point, 1, "output_throughput", 99);
    point_list_release(&l);
    assert_int_equal(point_list_bench(&l, requests, strlen(requests), "b.json", &a, &e), 0);
    assert_int_equal(point_list_bench(&l, "[1]", 3, "b.json", &a, &e), 0);
    assert_int_equal(point_list_bench(&l, empty, strlen(empty), "b.json", &a, &e), SIM_E_DATA);
    arena_release(&a);
}

static void sampling(void **state)
{
    (void)state;
    assert_string_equal(replay_sampling("llama-3.1-8b", "0.15.1"), "sort");
    assert_string_equal(replay_sampling("qwen3-32b", "0.18"), "select");
    assert_string_equal(replay_sampling("qwen3-32b", ""), "select");
    assert_null(replay_sampling("mistral-nemo", "0.15.1"));
}

#define OWN "gpu,model,prompt_tokens,output_tokens,concurrency,mean_ttft_ms\n"

static void refusals(void **state)
{
    struct arena a = {0};
    struct point_list l;
    struct err e = {0};

    (void)state;
    assert_int_equal(read_text(&l, "time_s,prompt_tokens,output_tokens\n0,1,1\n", &a, &e), 0);
    assert_int_equal(read_text(&l, "", &a, &e), 0);
    assert_int_equal(e.code, 0);
    bad(OWN "H100,m,1000,100,0,5\n", "t.csv:2: column 'concurrency'");
    bad(OWN "H100,m,1000,1.5,1,5\n", "no whole number");
    bad(OWN "H100,m,1000,100,1,x\n", "column 'mean_ttft_ms': 'x'");
    bad(OWN "H100,m,1000,100,1,\n", "nothing is measured");
    bad(OWN "H100,m,1000,100,1\n", "fields are expected");
    bad("config,concurrency,ttft_p50_ms,itl_p50_ms\nm-tp0pp1,4,64,5\n", "-tpNppN");
    arena_release(&a);
}

static void names(void **state)
{
    struct arena a = {0};

    (void)state;
    assert_string_equal(replay_model_name("nvidia/Llama-3.1-8B-Instruct-FP8", &a), "llama-3.1-8b");
    assert_string_equal(replay_model_name("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", &a), "qwen3-235b-a22b");
    assert_string_equal(replay_model_name("deepseek-ai/DeepSeek-R1-0528", &a), "deepseek-v3");
    assert_string_equal(replay_gpu_name("gb200"), "gb200");
    assert_string_equal(replay_gpu_name("b200_sxm"), "b200");
    assert_null(replay_gpu_name("TPU v5e"));
    arena_release(&a);
}

/* A batch of one by hand: with 10 output tokens TPOT is the mean of nine steps, and latency is TTFT plus them. */
static void simulated(void **state)
{
    struct arena a = {0};
    struct err e = {0};
    struct config_args args = {0};
    struct point_settings s = {.args = &args};
    struct point_result r;
    struct point_list l = good("gpu,model,prompt_tokens,output_tokens,concurrency,requests,engine,mean_ttft_ms,mean_tpot_ms,mean_e2el_ms\n"
                               "H100,llama-3.1-8b,100,10,1,1,static,10,10,10\nTPU,llama-3.1-8b,100,10,1,1,static,10,10,10\n"
                               "H100,llama-3.1-405b,100,10,1,1,static,10,10,10\n", 3, &a);

    (void)state;
    assert_int_equal(replay_point(&l.point[0], &s, &r, &a, &e), 0);
    assert_true(r.done[POINT_ROOFLINE]);
    assert_false(r.done[POINT_TABLE]);
    double *v = r.simulated[POINT_ROOFLINE];
    assert_true(v[0] > 0 && v[1] > 0 && fabs(v[2] - v[0] - 9 * v[1]) < 1e-6 * v[2]);
    assert_int_equal(replay_point(&l.point[1], &s, &r, &a, &e), 0);
    assert_string_equal(r.why, "no data of this GPU");
    assert_int_equal(replay_point(&l.point[2], &s, &r, &a, &e), 0);
    assert_non_null(strstr(r.why, "does not fit"));
    point_list_release(&l);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silicon),  cmocka_unit_test(steady_states_and_batches),
        cmocka_unit_test(h200),     cmocka_unit_test(own_table),
        cmocka_unit_test(refusals), cmocka_unit_test(names),
        cmocka_unit_test(simulated),
        cmocka_unit_test(bench),    cmocka_unit_test(sampling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
