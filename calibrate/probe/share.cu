/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations on a part of the SMs, alone and beside one another: green contexts of the driver (CUDA 12.4
 * and later, opened at run time). */
#include <cuda.h>
#include <dlfcn.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "calibrate/probe/attention_host.cuh"
#include "calibrate/probe/gemm.cuh"
#include "calibrate/probe/gpu.cuh"
#include "calibrate/probe/small.cuh"

/* ---- a part of the SMs ---- */

struct part {
    cudaStream_t stream;
    int sms;
};

#if CUDA_VERSION >= 12040
struct driver {
    void *library = nullptr;
    decltype(&cuDeviceGet) device_get = nullptr;
    decltype(&cuDeviceGetDevResource) get = nullptr;
    decltype(&cuDevSmResourceSplitByCount) split = nullptr;
    decltype(&cuDevResourceGenerateDesc) describe = nullptr;
    decltype(&cuGreenCtxCreate) create = nullptr;
    decltype(&cuGreenCtxDestroy) destroy = nullptr;
    decltype(&cuGreenCtxStreamCreate) stream = nullptr;
};

template <class F>
static bool symbol(void *library, const char *name, F *ret)
{
    *ret = (F)dlsym(library, name);
    return *ret != nullptr;
}

static bool driver_open(struct driver *d)
{
    d->library = dlopen("libcuda.so.1", RTLD_NOW);
    return d->library && symbol(d->library, "cuDeviceGet", &d->device_get) &&
           symbol(d->library, "cuDeviceGetDevResource", &d->get) &&
           symbol(d->library, "cuDevSmResourceSplitByCount", &d->split) &&
           symbol(d->library, "cuDevResourceGenerateDesc", &d->describe) &&
           symbol(d->library, "cuGreenCtxCreate", &d->create) && symbol(d->library, "cuGreenCtxDestroy", &d->destroy) &&
           symbol(d->library, "cuGreenCtxStreamCreate", &d->stream);
}

/* Two streams, on some SMs and on the rest. */
struct partition {
    struct driver d;
    CUgreenCtx contexts[2] = {};
    CUstream streams[2] = {};
    int sms[2] = {};

    ~partition()
    {
        for (int i = 0; i < 2; i++) {
            if (streams[i]) {
                cudaStreamDestroy(streams[i]);
            }
            if (contexts[i]) {
                d.destroy(contexts[i]);
            }
        }
        if (d.library) {
            dlclose(d.library);
        }
    }

    bool open_one(CUdevice device, CUdevResource *r, int i)
    {
        CUdevResourceDesc desc;

        sms[i] = (int)r->sm.smCount;
        return d.describe(&desc, r, 1) == CUDA_SUCCESS &&
               d.create(&contexts[i], desc, device, CU_GREEN_CTX_DEFAULT_STREAM) == CUDA_SUCCESS &&
               d.stream(&streams[i], contexts[i], CU_STREAM_NON_BLOCKING, 0) == CUDA_SUCCESS;
    }

    /* false = this driver or chip cannot. */
    bool open(int index, int want)
    {
        CUdevice device;
        CUdevResource all, some, rest;
        unsigned groups = 1;

        if (!driver_open(&d) || d.device_get(&device, index) != CUDA_SUCCESS ||
            d.get(device, &all, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS ||
            d.split(&some, &groups, &all, &rest, 0, (unsigned)want) != CUDA_SUCCESS || groups != 1) {
            return false;
        }
        return open_one(device, &some, 0) && (rest.type != CU_DEV_RESOURCE_TYPE_SM || rest.sm.smCount == 0 ||
                                              open_one(device, &rest, 1));
    }
};
#else
struct partition {
    cudaStream_t streams[2];
    int sms[2];

    bool open(int, int)
    {
        return false;
    }
};
#endif

static int eighths(const struct gpu *g, const struct probe_case *c)
{
    int n = g->prop.multiProcessorCount * (int)case_int(c, "eighths") / 8;

    return n < 1 ? 1 : n;
}

/* ---- operations ---- */

/* Each owns its data and can be queued on any stream. */
struct operation {
    virtual ~operation()
    {
    }
    virtual int make(struct gpu *g, struct err *e) = 0; /* CASE_SKIP = no memory */
    virtual int queue(struct gpu *g, cudaStream_t s, struct err *e) = 0;
    double flop = 0, byte = 0;
};

struct product_operation : operation {
    struct gemm_plan plan = {};
    bf16 *w, *x, *y;
    char *room;

    ~product_operation() override
    {
        gemm_plan_release(&plan);
    }

    int make(struct gpu *g, struct err *e) override
    {
        size_t n = 4096;

        w = slab_array<bf16>(g, n * n);
        x = slab_array<bf16>(g, n * n);
        y = slab_array<bf16>(g, n * n);
        room = slab_array<char>(g, g->workspace_size);
        if (!w || !x || !y || !room) {
            return CASE_SKIP;
        }
        flop = 2.0 * (double)n * (double)n * (double)n;
        byte = 6.0 * (double)(n * n);
        TRY(fill_random(g, w, n * n, 1, 0.016f, e));
        TRY(fill_random(g, x, n * n, 2, 1.0f, e));
        return gemm_plan_make(g, GEMM_BF16, 4096, 4096, 4096, &plan, e);
    }

    int queue(struct gpu *g, cudaStream_t s, struct err *e) override
    {
        return gemm_run(g, &plan, w, x, y, room, s, e);
    }
};

struct copy_operation : operation {
    char *data;

    int make(struct gpu *g, struct err *e) override
    {
        data = slab_array<char>(g, (size_t)512 << 20);
        byte = (double)(512 << 20);
        return data ? fill_random(g, data, (size_t)256 << 20, 3, 1.0f, e) : CASE_SKIP;
    }

    int queue(struct gpu *g, cudaStream_t s, struct err *e) override
    {
        copy_memory<<<(unsigned)g->prop.multiProcessorCount * 8, SMALL_THREADS, 0, s>>>(
            (const sixteen *)data, (sixteen *)(data + ((size_t)256 << 20)), (int64_t)16 << 20);
        CUDA_TRY(e, cudaGetLastError());
        return 0;
    }
};

/* Attention of one layer of Llama-3.1-8B: a chunk of 2048 tokens, or 64 decodes at 4096. */
struct attention_operation : operation {
    enum { HEADS = 32, KV_HEADS = 8, HD = 128, BLOCK = 16, SEQS = 64, CTX = 4096, CHUNK = 2048 };
    bool decode;
    bf16 *q, *out, *kv;
    int32_t *index, *table;
    float *part;
    struct paged_kv cache;
    int n_split = 1;

    explicit attention_operation(bool decode_) : decode(decode_)
    {
    }

    int seqs() const
    {
        return decode ? (int)SEQS : 1;
    }

    int rows() const
    {
        return decode ? (int)SEQS : (int)CHUNK;
    }

    int length() const
    {
        return decode ? (int)CTX : (int)CHUNK;
    }

    int make(struct gpu *g, struct err *e) override
    {
        size_t width = (HEADS + 2 * KV_HEADS) * HD, cells = (size_t)seqs() * (size_t)length() * KV_HEADS * HD;
        std::vector<int32_t> ctx((size_t)seqs(), (int32_t)length()), blocks, head;
        int32_t split = decode_split(g, ctx.data(), seqs(), KV_HEADS);

        n_split = (length() + split - 1) / split;
        q = slab_array<bf16>(g, (size_t)rows() * width);
        out = slab_array<bf16>(g, (size_t)rows() * HEADS * HD);
        kv = slab_array<bf16>(g, 2 * cells);
        index = slab_array<int32_t>(g, SEQS + 1);
        table = slab_array<int32_t>(g, (size_t)(seqs() * length() / BLOCK));
        part = slab_array<float>(g, decode_part_floats(seqs(), HEADS, n_split, HD));
        if (!q || !out || !kv || !index || !table || !part) {
            return CASE_SKIP;
        }
        for (int i = 0; i < seqs() * length() / BLOCK; i++) {
            blocks.push_back(i);
        }
        head = decode ? ctx : std::vector<int32_t>{0, CHUNK, 0, 0};
        head.push_back(split);
        TRY(upload(table, blocks.data(), blocks.size() * 4, e));
        TRY(upload(index, head.data(), head.size() * 4, e));
        TRY(fill_random(g, q, (size_t)rows() * width, 4, 1.0f, e));
        TRY(fill_random(g, kv, 2 * cells, 5, 1.0f, e));
        cache = {kv, kv + cells, table, length() / BLOCK, 4, KV_HEADS};
        byte = 4.0 * (double)cells + 4.0 * rows() * HEADS * HD;
        flop = 4.0 * HEADS * HD * (decode ? (double)SEQS * CTX : 0.5 * CHUNK * (CHUNK + 1.0));
        return 0;
    }

    int queue(struct gpu *, cudaStream_t s, struct err *e) override
    {
        int width = (HEADS + 2 * KV_HEADS) * HD;

        if (decode) {
            struct decode_args a = {cache, q,       width, out,  HEADS, index, index + SEQS,
                                    n_split, part, softmax_scale_log2(HD)};

            return launch_decode(&a, HD, SEQS, s, e);
        }
        struct prefill_args a = {cache, q, width, out, HEADS, index, index + 1, index + 2, index + 3,
                                 softmax_scale_log2(HD)};

        return launch_prefill(&a, HD, 128, CHUNK, 1, s, e);
    }
};

static std::unique_ptr<operation> operation_of(const char *what)
{
    if (strcmp(what, "gemm") == 0) {
        return std::unique_ptr<operation>(new product_operation());
    }
    if (strcmp(what, "copy") == 0) {
        return std::unique_ptr<operation>(new copy_operation());
    }
    return std::unique_ptr<operation>(new attention_operation(strcmp(what, "decode") == 0));
}

static int make_operation(struct gpu *g, operation *o, struct measurement *m, struct err *e)
{
    int rc = o->make(g, e);

    return rc == CASE_SKIP ? slab_lack(g, m) : rc;
}

/* ---- timing ---- */

struct two_events {
    cudaEvent_t a = nullptr, b = nullptr;

    ~two_events()
    {
        if (a) {
            cudaEventDestroy(a);
        }
        if (b) {
            cudaEventDestroy(b);
        }
    }

    int make(struct err *e)
    {
        CUDA_TRY(e, cudaEventCreate(&a));
        CUDA_TRY(e, cudaEventCreate(&b));
        return 0;
    }
};

/* Seconds of one of `n` runs in a row on `s`. */
static int time_runs(struct gpu *g, operation *o, int n, cudaStream_t s, double *ret, struct err *e)
{
    struct two_events ev;
    float ms = 0;

    TRY(ev.make(e));
    TRY(o->queue(g, s, e));
    CUDA_TRY(e, cudaEventRecord(ev.a, s));
    for (int i = 0; i < n; i++) {
        TRY(o->queue(g, s, e));
    }
    CUDA_TRY(e, cudaEventRecord(ev.b, s));
    CUDA_TRY(e, cudaEventSynchronize(ev.b));
    CUDA_TRY(e, cudaEventElapsedTime(&ms, ev.a, ev.b));
    *ret = std::max((double)ms * 1e-3 / n, 1e-12);
    return 0;
}

#define RUNS 8

static int sample_alone(struct gpu *g, operation *o, cudaStream_t s, struct measurement *m, struct err *e)
{
    for (int i = -1; i < (g->quick ? 5 : 15); i++) {
        double t;

        TRY(time_runs(g, o, RUNS, s, &t, e));
        if (i >= 0) {
            m->sample_s[m->n++] = t;
        }
    }
    m->calls = RUNS;
    m->flop = o->flop;
    m->byte = o->byte;
    gpu_state(g, m);
    return CASE_DONE;
}

static int no_partition(struct measurement *m)
{
    return case_skip(m, "green contexts (CUDA 12.4 and a driver for it) are not to be had here");
}

int run_share(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    std::unique_ptr<operation> o = operation_of(case_word(c, "what"));
    struct partition p;

    TRY(make_operation(g, o.get(), m, e));
    if (case_int(c, "eighths") == 8) {
        m->sms = g->prop.multiProcessorCount;
        return sample_alone(g, o.get(), g->stream, m, e);
    }
    if (!p.open(g->index, eighths(g, c))) {
        return no_partition(m);
    }
    m->sms = p.sms[0];
    return sample_alone(g, o.get(), p.streams[0], m, e);
}

/* Runs of `o` while enough of `other` is queued to outlast them. */
static int sample_beside(struct gpu *g, operation *o, operation *other, const struct partition &p, double own_s,
                         double other_s, struct measurement *m, struct err *e)
{
    /* Twice as many as fit in the time that the runs take alone; more would only be waited for. */
    int n = (int)std::min(std::max(3 * own_s * (RUNS + 1) / other_s, 4.0), 400.0);

    for (int i = -1; i < (g->quick ? 4 : 10); i++) {
        double t;

        for (int k = 0; k < n; k++) {
            TRY(other->queue(g, p.streams[1], e));
        }
        TRY(time_runs(g, o, RUNS, p.streams[0], &t, e));
        bool covered = cudaStreamQuery(p.streams[1]) == cudaErrorNotReady;
        cudaGetLastError();
        CUDA_TRY(e, cudaStreamSynchronize(p.streams[1]));
        if (i >= 0 && covered) { /* else part of it ran alone */
            m->sample_s[m->n++] = t;
        }
    }
    m->calls = RUNS;
    return m->n > 0 ? CASE_DONE : case_skip(m, "the other operation always ended first");
}

int run_beside(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    std::unique_ptr<operation> o = operation_of(case_word(c, "what")), other = operation_of(case_word(c, "other"));
    struct partition p;
    double own_s, other_s;

    TRY(make_operation(g, o.get(), m, e));
    TRY(make_operation(g, other.get(), m, e));
    if (!p.open(g->index, eighths(g, c)) || !p.streams[1]) {
        return no_partition(m);
    }
    TRY(time_runs(g, o.get(), RUNS, p.streams[0], &own_s, e));
    TRY(time_runs(g, other.get(), RUNS, p.streams[1], &other_s, e));
    TRY(sample_beside(g, o.get(), other.get(), p, own_s, other_s, m, e));
    m->sms = p.sms[0];
    m->slowdown = stats_of(m->sample_s, (size_t)m->n).median / own_s;
    m->flop = o->flop;
    m->byte = o->byte;
    gpu_state(g, m);
    return CASE_DONE;
}
