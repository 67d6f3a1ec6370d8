/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/replay.cuh"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "calibrate/probe/decoder.cuh"

struct iteration {
    int graph; /* padded batch, 0 = eager */
    int n;
    double median_s, min_s, max_s, host_s;
};

struct replay {
    const struct probe_args *args;
    struct plan plan;
    struct decoder d;
    std::map<int, cudaGraphExec_t> graphs;
    std::vector<struct iteration> done;
    struct json_out device;
    int argc;
    char **argv;
    cudaEvent_t begin, end;
    int32_t *tokens; /* pinned: where the host gets its tokens */
};

/* ---- one step ---- */

/* Sizes at which engines capture graphs: 1, 2, 4, 8, then every 8 (vLLM's default list). */
static int padded_size(int n, int most)
{
    int p = n <= 1 ? 1 : n <= 2 ? 2 : n <= 4 ? 4 : (n + 7) / 8 * 8;

    return p <= most ? p : 0;
}

static int make_graph(struct gpu *g, struct replay *r, const struct decoder_step *st, struct err *e)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    struct err inner = {};
    cudaError_t end;
    int rc;

    TRY(decoder_run(g, &r->d, st, g->stream, e)); /* warm: nothing is loaded while capturing */
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    CUDA_TRY(e, cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal));
    rc = decoder_run(g, &r->d, st, g->stream, &inner);
    end = cudaStreamEndCapture(g->stream, &graph);
    if (rc < 0) {
        return err_set(e, rc, "%s", inner.msg);
    }
    CUDA_TRY(e, end);
    CUDA_TRY(e, cudaGraphInstantiate(&exec, graph, 0));
    CUDA_TRY(e, cudaGraphDestroy(graph));
    r->graphs[st->n_decode] = exec;
    return 0;
}

static int launch(struct gpu *g, struct replay *r, const struct decoder_step *st, bool graph, struct err *e)
{
    if (graph) {
        CUDA_TRY(e, cudaGraphLaunch(r->graphs[st->n_decode], g->stream));
        return 0;
    }
    return decoder_run(g, &r->d, st, g->stream, e);
}

static int time_step(struct gpu *g, struct replay *r, const struct plan_step *s, int padded, double *device_s,
                     double *host_s, struct err *e)
{
    struct decoder_step st;
    double t = now_s();
    float ms = 0;

    decoder_prepare(g, &r->d, s, padded, padded ? decoder_graph_splits(g, &r->d, padded) : 0, &st);
    TRY(decoder_upload(&r->d, g->stream, e));
    CUDA_TRY(e, cudaEventRecord(r->begin, g->stream));
    TRY(launch(g, r, &st, padded > 0, e));
    CUDA_TRY(e, cudaEventRecord(r->end, g->stream));
    if (st.n_sampled > 0) {
        CUDA_TRY(e, cudaMemcpyAsync(r->tokens, r->d.sampled_token, (size_t)st.n_sampled * 4, cudaMemcpyDeviceToHost,
                                    g->stream));
    }
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    *host_s = now_s() - t;
    CUDA_TRY(e, cudaEventElapsedTime(&ms, r->begin, r->end));
    *device_s = std::max((double)ms * 1e-3, 1e-9);
    return 0;
}

/* Plans, graph and one run before the clock starts. */
static int warm_up(struct gpu *g, struct replay *r, const struct plan_step *s, int padded, struct err *e)
{
    struct decoder_step st;

    decoder_prepare(g, &r->d, s, padded, padded ? decoder_graph_splits(g, &r->d, padded) : 0, &st);
    TRY(decoder_plans(g, &r->d, &st, e));
    if (padded && r->graphs.count(padded) > 0) {
        return 0;
    }
    TRY(decoder_upload(&r->d, g->stream, e));
    if (padded) {
        return make_graph(g, r, &st, e);
    }
    TRY(decoder_run(g, &r->d, &st, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    return 0;
}

static int run_step(struct gpu *g, struct replay *r, const struct plan_step *s, struct err *e)
{
    int padded = s->n_chunk == 0 && !r->args->eager ? padded_size(s->n_decode, r->args->graph_max) : 0;
    std::vector<double> device, host;
    struct iteration it = {};

    TRY(warm_up(g, r, s, padded, e));
    for (int i = 0; i < r->args->repeat; i++) {
        double d, h;

        TRY(time_step(g, r, s, padded, &d, &h, e));
        device.push_back(d);
        host.push_back(h);
    }
    struct stats t = stats_of(device.data(), device.size());
    it.graph = padded;
    it.n = (int)t.n;
    it.median_s = t.median;
    it.min_s = t.min;
    it.max_s = t.max;
    it.host_s = stats_of(host.data(), host.size()).median;
    r->done.push_back(it);
    return 0;
}

/* The token of a padded or chunked step has to be one of the vocabulary: a crude sign of life for the
 * whole chain, whose parts are checked one by one where they are measured. */
static int check_tokens(const struct replay *r, const struct plan_step *s, struct err *e)
{
    for (int i = 0; i < s->n_decode; i++) {
        if (r->tokens[i] < 0 || r->tokens[i] >= r->plan.model.vocab) {
            return err_set(e, SIM_E_GOAL, "step %lld: sequence %d got token %d", (long long)s->step, i, r->tokens[i]);
        }
    }
    return 0;
}

/* ---- the result ---- */

struct sums {
    double measured, simulated, abs_error;
    std::vector<double> errors;
};

static void add_to(struct sums *x, double measured, double simulated)
{
    double error = simulated / measured - 1;

    x->measured += measured;
    x->simulated += simulated;
    x->abs_error += fabs(error);
    x->errors.push_back(fabs(error));
}

static void write_sums(struct json_out *o, const char *key, struct sums *x)
{
    json_out_open(o, key, '{');
    json_out_int(o, "iterations", (int64_t)x->errors.size());
    json_out_number(o, "measured_s", x->measured);
    json_out_number(o, "simulated_s", x->simulated);
    if (!x->errors.empty()) {
        std::sort(x->errors.begin(), x->errors.end());
        json_out_number(o, "total_error", x->simulated / x->measured - 1);
        json_out_number(o, "mean_abs_error", x->abs_error / (double)x->errors.size());
        json_out_number(o, "p90_abs_error", stats_quantile(x->errors.data(), x->errors.size(), 0.9));
    }
    json_out_close(o, '}');
}

static void write_iteration(struct json_out *o, const struct plan_step *s, const struct iteration &it)
{
    json_out_newline(o);
    json_out_open(o, NULL, '{');
    json_out_int(o, "step", s->step);
    json_out_int(o, "chunks", s->n_chunk);
    json_out_int(o, "prefill_tok", s->prefill_tok);
    json_out_int(o, "n_decode", s->n_decode);
    json_out_int(o, "decode_tok", s->decode_tok);
    json_out_int(o, "graph", it.graph);
    json_out_number(o, "measured_s", it.median_s);
    json_out_number(o, "simulated_s", (double)s->dur_ns * 1e-9);
    json_out_int(o, "n", it.n);
    json_out_number(o, "min_s", it.min_s);
    json_out_number(o, "max_s", it.max_s);
    json_out_number(o, "host_s", it.host_s);
    json_out_close(o, '}');
}

static void write_head(const struct replay *r, bool complete, struct json_out *o)
{
    char now[32];
    struct json_in_doc doc;
    struct err e = {};

    json_out_string(o, "format", "steelyard-replay");
    json_out_int(o, "version", 1);
    json_out_bool(o, "complete", complete);
    json_out_string(o, "updated", utc_now(now));
    json_out_string(o, "program", PROBE_VERSION);
    json_out_open(o, "command", '[');
    for (int i = 0; i < r->argc; i++) {
        json_out_string(o, NULL, r->argv[i]);
    }
    json_out_close(o, ']');
    if (json_in_parse(&doc, r->device.text, r->device.n, "device", 1, &e) == 0) {
        for (const struct json_in *v = doc.root->first; v; v = v->next) {
            json_out_value(o, v->key, v);
        }
        json_in_release(&doc);
    }
    json_out_value(o, "plan", r->plan.head.root);
    json_out_int(o, "block_tok", r->d.block_tok);
    json_out_int(o, "prefill_tile_rows", r->d.tile_rows);
}

static void write_result(const struct replay *r, bool complete, struct json_out *o)
{
    struct sums all = {}, decode = {}, mixed = {};

    json_out_open(o, NULL, '{');
    write_head(r, complete, o);
    json_out_newline(o);
    json_out_open(o, "iterations", '[');
    for (size_t i = 0; i < r->done.size(); i++) {
        const struct plan_step *s = &r->plan.steps[i];
        double simulated = (double)s->dur_ns * 1e-9;

        write_iteration(o, s, r->done[i]);
        add_to(&all, r->done[i].median_s, simulated);
        add_to(s->n_chunk > 0 ? &mixed : &decode, r->done[i].median_s, simulated);
    }
    json_out_close(o, ']');
    json_out_newline(o);
    write_sums(o, "summary", &all);
    write_sums(o, "summary_decode_only", &decode);
    write_sums(o, "summary_with_prefill", &mixed);
    json_out_close(o, '}');
    o->comma = false;
    json_out_newline(o);
    fprintf(stderr, "%zu iterations: measured %.3f s, simulated %.3f s\n", all.errors.size(), all.measured, all.simulated);
}

static int save(const struct replay *r, bool complete, struct err *e)
{
    struct json_out o = {};
    int rc = 0;

    write_result(r, complete, &o);
    if (o.failed) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for the results");
    } else if (r->args->out) {
        rc = file_replace(r->args->out, o.text, o.n, e);
    } else if (fwrite(o.text, 1, o.n, stdout) != o.n) {
        rc = err_set(e, SIM_E_IO, "standard output: %s", strerror(errno));
    }
    json_out_release(&o);
    return rc;
}

/* ---- all steps ---- */

static void show_progress(const struct replay *r, double begin_s)
{
    size_t done = r->done.size(), all = (size_t)r->plan.n_step;
    double left = (now_s() - begin_s) / (double)done * (double)(all - done);

    fprintf(stderr, "\r\033[K%zu/%zu steps  %d:%02d left", done, all, (int)left / 60, (int)left % 60);
    fflush(stderr);
}

static int run_steps(struct gpu *g, struct replay *r, struct err *e)
{
    bool show = !r->args->quiet && isatty(STDERR_FILENO);
    double begin_s = now_s(), shown_s = 0;
    int rc = 0;

    for (int64_t i = 0; i < r->plan.n_step && rc == 0 && !probe_interrupted(); i++) {
        rc = run_step(g, r, &r->plan.steps[i], e);
        rc = rc == 0 ? check_tokens(r, &r->plan.steps[i], e) : rc;
        if (rc == 0 && show && now_s() - shown_s > 0.2) {
            show_progress(r, begin_s);
            shown_s = now_s();
        }
    }
    if (show) {
        fputs("\r\033[K", stderr);
    }
    return rc == 0 && probe_interrupted() ? err_set(e, SIM_E_INTR, "interrupted") : rc;
}

static int set_up(struct gpu *g, struct replay *r, struct err *e)
{
    TRY(plan_read(&r->plan, r->args->replay, r->args->limit, e));
    TRY(gpu_open(g, r->args->device, false, true, e));
    TRY(gpu_describe(g, &r->device, e));
    TRY(decoder_init(g, &r->d, &r->plan, r->args->graph_max, e));
    CUDA_TRY(e, cudaMallocHost((void **)&r->tokens, (size_t)r->d.max_seqs * 4));
    CUDA_TRY(e, cudaEventCreate(&r->begin));
    CUDA_TRY(e, cudaEventCreate(&r->end));
    return 0;
}

static void tear_down(struct replay *r)
{
    for (auto &x : r->graphs) {
        cudaGraphExecDestroy(x.second);
    }
    if (r->begin) {
        cudaEventDestroy(r->begin);
    }
    if (r->end) {
        cudaEventDestroy(r->end);
    }
    cudaFreeHost(r->tokens);
    decoder_release(&r->d);
    plan_release(&r->plan);
    json_out_release(&r->device);
}

int replay_plan(const struct probe_args *a, int argc, char **argv, struct err *e)
{
    struct gpu g = {};
    struct replay r = {};
    struct err late = {};
    int rc, saved = 0;

    r.args = a;
    r.argc = argc;
    r.argv = argv;
    rc = set_up(&g, &r, e);
    if (rc == 0) {
        rc = run_steps(&g, &r, e);
        saved = save(&r, rc == 0, rc < 0 ? &late : e);
    }
    tear_down(&r);
    gpu_close(&g);
    return rc != 0 ? rc : saved;
}
