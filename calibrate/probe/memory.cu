/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory bandwidth, the device's limits, launches. */
#include <string.h>

#include <vector>

#include "calibrate/probe/gpu.cuh"
#include "calibrate/probe/small.cuh"

static unsigned stream_blocks(const struct gpu *g, int64_t n)
{
    int64_t all = (n + SMALL_THREADS - 1) / SMALL_THREADS, most = (int64_t)g->prop.multiProcessorCount * 8;

    return (unsigned)(all < 1 ? 1 : all < most ? all : most);
}

/* A copy has to be the same bytes; of a sum and a constant little can go wrong. */
static int check_copy(struct gpu *g, const char *from, const char *to, size_t bytes, struct measurement *m,
                      struct err *e)
{
    const size_t window = bytes < 65536 ? bytes : 65536;
    std::vector<char> a(window), b(window);

    for (int i = 0; i < 8; i++) {
        size_t at = (bytes - window) / 7 * (size_t)i / 16 * 16;

        TRY(download(a.data(), from + at, window, e));
        TRY(download(b.data(), to + at, window, e));
        if (memcmp(a.data(), b.data(), window) != 0) {
            return case_bad(m, "the copy differs from its source");
        }
    }
    (void)g;
    return CASE_DONE;
}

int run_memory(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    const char *what = case_word(c, "what");
    bool copy = strcmp(what, "copy") == 0, read = strcmp(what, "read") == 0;
    size_t bytes = (size_t)case_int(c, "bytes"), stride = copy ? 2 * bytes : bytes;
    int64_t n = (int64_t)(bytes / 16);
    uint32_t *sink = slab_array<uint32_t>(g, 1);
    int sets = sets_for(g, stride, slab_room(g));
    char *data = slab_array<char>(g, stride * (size_t)sets);

    if (!data || !sink) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, data, stride * (size_t)sets / 2, case_seed(c), 1.0f, e));
    auto call = [&](int s, cudaStream_t stream, struct err *err) {
        char *at = data + stride * (size_t)s;

        if (copy) {
            copy_memory<<<stream_blocks(g, n), SMALL_THREADS, 0, stream>>>((const sixteen *)at, (sixteen *)(at + bytes), n);
        } else if (read) {
            read_memory<<<stream_blocks(g, n), SMALL_THREADS, 0, stream>>>((const sixteen *)at, n, sink);
        } else {
            write_memory<<<stream_blocks(g, n), SMALL_THREADS, 0, stream>>>((sixteen *)at, n, 0x3f803f80u);
        }
        CUDA_TRY(err, cudaGetLastError());
        return 0;
    };
    if (copy) {
        TRY(call(0, g->stream, e));
        CUDA_TRY(e, cudaStreamSynchronize(g->stream));
        TRY(check_copy(g, data, data + bytes, bytes, m, e));
    }
    m->byte = (double)stride;
    return bench_graph(g, sets, call, m, e);
}

int run_limit(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    return strcmp(case_word(c, "what"), "gemm") == 0 ? run_gemm(g, c, m, e) : run_memory(g, c, m, e);
}

/* ---- launches ---- */

KERNEL void __launch_bounds__(32) nothing(void)
{
}

static int launch_nothing(int64_t nodes, cudaStream_t s, struct err *e)
{
    for (int64_t i = 0; i < nodes; i++) {
        nothing<<<1, 32, 0, s>>>();
    }
    CUDA_TRY(e, cudaGetLastError());
    return 0;
}

int run_launch(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    int64_t nodes = case_int(c, "nodes");
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    int rc;

    if (strcmp(case_word(c, "what"), "kernel") == 0) {
        return bench_host(g, [&](int, cudaStream_t s, struct err *err) { return launch_nothing(nodes, s, err); }, m, e);
    }
    CUDA_TRY(e, cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal));
    rc = launch_nothing(nodes, g->stream, e);
    CUDA_TRY(e, cudaStreamEndCapture(g->stream, &graph));
    TRY(rc);
    CUDA_TRY(e, cudaGraphInstantiate(&exec, graph, 0));
    rc = bench_host(g, [&](int, cudaStream_t s, struct err *err) {
        CUDA_TRY(err, cudaGraphLaunch(exec, s));
        return 0;
    }, m, e);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    return rc;
}
