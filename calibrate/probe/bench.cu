/* SPDX-License-Identifier: Apache-2.0
 *
 * The stop-watch. Samples are queued one behind the other, so the GPU never waits for the host between
 * them; the first of them does, and is dropped. */
#include <math.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "calibrate/probe/gpu.cuh"

struct events {
    std::vector<cudaEvent_t> at;

    ~events()
    {
        for (cudaEvent_t ev : at) {
            cudaEventDestroy(ev);
        }
    }

    int make(size_t n, struct err *e)
    {
        while (at.size() < n) {
            cudaEvent_t ev;

            CUDA_TRY(e, cudaEventCreate(&ev));
            at.push_back(ev);
        }
        return 0;
    }
};

struct graph {
    cudaGraph_t g = nullptr;
    cudaGraphExec_t exec = nullptr;

    ~graph()
    {
        if (exec) {
            cudaGraphExecDestroy(exec);
        }
        if (g) {
            cudaGraphDestroy(g);
        }
    }
};

double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds between neighbouring events of n + 1. */
static int differences(const struct events &ev, int n, double *ret, struct err *e)
{
    for (int i = 0; i < n; i++) {
        float ms = 0;

        CUDA_TRY(e, cudaEventElapsedTime(&ms, ev.at[(size_t)i], ev.at[(size_t)i + 1]));
        ret[i] = (double)ms * 1e-3;
    }
    return 0;
}

/* Runs `queue` n times between events; the times of the last n - 1. */
static int time_queue(struct gpu *g, int n, const std::function<int(int i)> &queue, double *ret, struct err *e)
{
    struct events ev;
    std::vector<double> all((size_t)n);

    TRY(ev.make((size_t)n + 1, e));
    for (int i = 0; i < n; i++) {
        CUDA_TRY(e, cudaEventRecord(ev.at[(size_t)i], g->stream));
        TRY(queue(i));
    }
    CUDA_TRY(e, cudaEventRecord(ev.at[(size_t)n], g->stream));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(differences(ev, n, all.data(), e));
    std::copy(all.begin() + 1, all.end(), ret);
    return 0;
}

int bench_glance(struct gpu *g, const bench_call &call, double *ret_s, struct err *e)
{
    double s[4];

    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(time_queue(g, 5, [&](int) { return call(0, g->stream, e); }, s, e));
    std::sort(s, s + 4);
    *ret_s = std::max(0.5 * (s[1] + s[2]), 1e-7);
    return 0;
}

static double budget_s(const struct gpu *g)
{
    return g->quick ? 0.06 : 0.25;
}

/* Samples of `each_s` seconds that the budget allows. */
static int samples_for(const struct gpu *g, double each_s)
{
    double n = budget_s(g) / each_s;

    return n < 5 ? 5 : n > 30 ? 30 : (int)n;
}

static int calls_for(double est_s, int sets)
{
    double n = ceil(400e-6 / est_s);

    /* A whole number of rounds over the sets, where there are several: all samples do the same. */
    n = std::min(std::max(n, 1.0), 64.0);
    if (sets > 1) {
        n = n <= sets ? sets : sets * floor(n / sets);
    }
    return (int)n;
}

static int finish(struct gpu *g, int calls, int sets, int n, struct measurement *m)
{
    m->n = n;
    m->calls = calls;
    m->sets = sets;
    for (int i = 0; i < n; i++) {
        m->sample_s[i] = std::max(m->sample_s[i] / calls, 1e-12);
    }
    gpu_state(g, m);
    return CASE_DONE;
}

static int run_samples(struct gpu *g, int calls, int sets, double est_s, const std::function<int(int i)> &queue,
                       struct measurement *m, struct err *e)
{
    int n = samples_for(g, est_s * calls);

    for (int i = 0; i < 2; i++) { /* warm-up */
        TRY(queue(i));
    }
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(time_queue(g, n + 1, queue, m->sample_s, e));
    return finish(g, calls, sets, n, m);
}

int bench_stream(struct gpu *g, int sets, const bench_call &call, struct measurement *m, struct err *e)
{
    double est_s;
    int calls;

    TRY(bench_glance(g, call, &est_s, e));
    calls = calls_for(est_s, sets);
    return run_samples(g, calls, sets, est_s, [&](int) {
        for (int i = 0; i < calls; i++) {
            TRY(call(i % sets, g->stream, e));
        }
        return 0;
    }, m, e);
}

/* 0 = captured, 1 = this cannot be captured. */
static int capture(struct gpu *g, int calls, int sets, const bench_call &call, struct graph *ret, struct err *e)
{
    struct err inner = {};
    int rc = 0;
    cudaError_t end;

    CUDA_TRY(e, cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < calls && rc == 0; i++) {
        rc = call(i % sets, g->stream, &inner);
    }
    end = cudaStreamEndCapture(g->stream, &ret->g);
    if (rc != 0 || end != cudaSuccess) {
        cudaGetLastError();
        return 1;
    }
    if (cudaGraphInstantiate(&ret->exec, ret->g, 0) != cudaSuccess) {
        cudaGetLastError();
        return 1;
    }
    return 0;
}

int bench_graph(struct gpu *g, int sets, const bench_call &call, struct measurement *m, struct err *e)
{
    struct graph graph;
    double est_s;
    int calls, rc;

    TRY(bench_glance(g, call, &est_s, e));
    calls = calls_for(est_s, sets);
    rc = capture(g, calls, sets, call, &graph, e);
    if (rc < 0) {
        return rc;
    }
    if (rc > 0) {
        return bench_stream(g, sets, call, m, e);
    }
    return run_samples(g, calls, sets, est_s, [&](int) {
        CUDA_TRY(e, cudaGraphLaunch(graph.exec, g->stream));
        return 0;
    }, m, e);
}

int bench_host(struct gpu *g, const bench_call &call, struct measurement *m, struct err *e)
{
    double begin = now_s();
    int n = 0, most = g->quick ? 15 : MAX_SAMPLES;

    for (int i = -2; i < most && (i < 5 || now_s() - begin < 2 * budget_s(g)); i++) {
        double t = now_s();

        TRY(call(0, g->stream, e));
        CUDA_TRY(e, cudaStreamSynchronize(g->stream));
        t = now_s() - t;
        if (i >= 0) {
            m->sample_s[n++] = t;
        }
    }
    return finish(g, 1, 1, n, m);
}
