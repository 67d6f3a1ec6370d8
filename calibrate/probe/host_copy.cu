/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies between host and device: plain ones by size, scattered KV blocks, experts' weights. */
#include <string.h>

#include <algorithm>
#include <vector>

#include "calibrate/probe/gemm.cuh"
#include "calibrate/probe/gpu.cuh"
#include "calibrate/probe/small.cuh"

/* Host memory, pinned or as malloc gives it. */
struct host_memory {
    char *at = nullptr;
    bool pinned = false;

    ~host_memory()
    {
        if (pinned) {
            cudaFreeHost(at);
        } else {
            free(at);
        }
    }

    /* false when there is not enough. Filled with bytes that are not all the same. */
    bool take(size_t bytes, bool pin)
    {
        pinned = pin;
        if (pin ? cudaMallocHost((void **)&at, bytes) != cudaSuccess : !(at = (char *)malloc(bytes))) {
            cudaGetLastError();
            at = nullptr;
            pinned = false;
            return false;
        }
        for (size_t i = 0; i < bytes; i++) {
            at[i] = (char)(i * 31 + (i >> 12));
        }
        return true;
    }
};

static int host_lack(struct measurement *m, size_t bytes, bool pinned)
{
    return case_skip(m, "the host gives no %.0f MB of %s memory", (double)bytes / 1e6, pinned ? "pinned" : "pageable");
}

/* ---- plain copies ---- */

struct copy_data {
    struct host_memory in, out; /* in: to the device */
    char *dev_in, *dev_out;
    size_t bytes;
    bool h2d, d2h;
    cudaStream_t back; /* the stream of the copies to the host */
    cudaEvent_t begun, done;

    ~copy_data()
    {
        if (begun) {
            cudaEventDestroy(begun);
        }
        if (done) {
            cudaEventDestroy(done);
        }
        if (back) {
            cudaStreamDestroy(back);
        }
    }
};

static int make_copy(struct gpu *g, const struct probe_case *c, struct copy_data *d, struct measurement *m, struct err *e)
{
    const char *dir = case_word(c, "dir");
    bool pinned = strcmp(case_word(c, "host"), "pinned") == 0;

    d->bytes = (size_t)case_int(c, "bytes");
    d->h2d = strcmp(dir, "d2h") != 0;
    d->d2h = strcmp(dir, "h2d") != 0;
    d->dev_in = slab_array<char>(g, d->bytes);
    d->dev_out = slab_array<char>(g, d->bytes);
    if (!d->dev_in || !d->dev_out) {
        return slab_lack(g, m);
    }
    if (!d->in.take(d->bytes, pinned) || !d->out.take(d->bytes, pinned)) {
        return host_lack(m, 2 * d->bytes, pinned);
    }
    CUDA_TRY(e, cudaStreamCreateWithFlags(&d->back, cudaStreamNonBlocking));
    CUDA_TRY(e, cudaEventCreateWithFlags(&d->begun, cudaEventDisableTiming));
    CUDA_TRY(e, cudaEventCreateWithFlags(&d->done, cudaEventDisableTiming));
    TRY(upload(d->dev_in, d->in.at, d->bytes, e));
    return upload(d->dev_out, d->in.at, d->bytes, e);
}

/* Both at once: the copy back goes through a stream of its own, between two events. */
static int queue_copy(const struct copy_data &d, cudaStream_t s, struct err *e)
{
    if (d.h2d && d.d2h) {
        CUDA_TRY(e, cudaEventRecord(d.begun, s));
        CUDA_TRY(e, cudaStreamWaitEvent(d.back, d.begun, 0));
    }
    if (d.d2h) {
        CUDA_TRY(e, cudaMemcpyAsync(d.out.at, d.dev_out, d.bytes, cudaMemcpyDeviceToHost, d.h2d ? d.back : s));
    }
    if (d.h2d) {
        CUDA_TRY(e, cudaMemcpyAsync(d.dev_in, d.in.at, d.bytes, cudaMemcpyHostToDevice, s));
    }
    if (d.h2d && d.d2h) {
        CUDA_TRY(e, cudaEventRecord(d.done, d.back));
        CUDA_TRY(e, cudaStreamWaitEvent(s, d.done, 0));
    }
    return 0;
}

static int check_copies(struct gpu *g, const struct copy_data &d, struct measurement *m, struct err *e)
{
    std::vector<char> back(d.bytes);

    CUDA_TRY(e, cudaMemset(d.dev_in, 0, d.bytes));
    memset(d.out.at, 0, d.bytes);
    CUDA_TRY(e, cudaDeviceSynchronize());
    TRY(queue_copy(d, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(download(back.data(), d.dev_in, d.bytes, e));
    if ((d.h2d && memcmp(back.data(), d.in.at, d.bytes) != 0) || (d.d2h && memcmp(d.out.at, d.in.at, d.bytes) != 0)) {
        return case_bad(m, "the copy differs from its source");
    }
    return CASE_DONE;
}

/* Products on the other stream until told to stop. */
struct neighbour {
    struct gemm_plan plan = {};
    char *w, *x, *y, *room;
    double alone_s;

    ~neighbour()
    {
        gemm_plan_release(&plan);
    }
};

#define NEIGHBOUR_SIZE 4096

static int make_neighbour(struct gpu *g, struct neighbour *n, struct measurement *m, struct err *e)
{
    size_t each = (size_t)NEIGHBOUR_SIZE * NEIGHBOUR_SIZE;
    int rc = gemm_plan_make(g, GEMM_BF16, NEIGHBOUR_SIZE, NEIGHBOUR_SIZE, NEIGHBOUR_SIZE, &n->plan, e);

    if (rc != 0) {
        return rc == CASE_SKIP ? case_skip(m, "no product to run beside") : rc;
    }
    n->w = (char *)slab_array<bf16>(g, each);
    n->x = (char *)slab_array<bf16>(g, each);
    n->y = (char *)slab_array<bf16>(g, each);
    n->room = slab_array<char>(g, g->workspace_size);
    if (!n->w || !n->x || !n->y || !n->room) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, n->w, each, 1, 0.02f, e));
    TRY(fill_random(g, n->x, each, 2, 1.0f, e));
    return bench_glance(g, [&](int, cudaStream_t s, struct err *er) {
        return gemm_run(g, &n->plan, n->w, n->x, n->y, n->room, s, er);
    }, &n->alone_s, e);
}

/* The copies are timed while as many products as cover them run in the side stream; the products are
 * timed, too. */
static int time_beside(struct gpu *g, const struct copy_data &d, struct measurement *m, struct err *e)
{
    struct neighbour n;
    double alone_s, beside_s = 0;
    int copies = g->quick ? 6 : 20, products;
    cudaEvent_t at[4] = {};
    auto copy = [&](int, cudaStream_t s, struct err *er) { return queue_copy(d, s, er); };
    auto timed = [&]() {
        float ms = 0;

        for (cudaEvent_t &ev : at) {
            CUDA_TRY(e, cudaEventCreate(&ev));
        }
        CUDA_TRY(e, cudaEventRecord(at[2], g->side));
        for (int i = 0; i < products; i++) {
            TRY(gemm_run(g, &n.plan, n.w, n.x, n.y, n.room, g->side, e));
        }
        CUDA_TRY(e, cudaEventRecord(at[3], g->side));
        for (int i = 0; i < copies; i++) {
            float one = 0;

            CUDA_TRY(e, cudaEventRecord(at[0], g->stream));
            TRY(queue_copy(d, g->stream, e));
            CUDA_TRY(e, cudaEventRecord(at[1], g->stream));
            CUDA_TRY(e, cudaEventSynchronize(at[1]));
            CUDA_TRY(e, cudaEventElapsedTime(&one, at[0], at[1]));
            m->sample_s[m->n++] = std::max((double)one * 1e-3, 1e-12);
            if (cudaEventQuery(at[3]) == cudaSuccess) {
                break; /* the products have ended: what follows would be alone */
            }
            cudaGetLastError(); /* "not ready" is no error */
        }
        CUDA_TRY(e, cudaStreamSynchronize(g->side));
        CUDA_TRY(e, cudaEventElapsedTime(&ms, at[2], at[3]));
        beside_s = (double)ms * 1e-3 / products;
        return 0;
    };
    int rc;

    TRY(make_neighbour(g, &n, m, e));
    TRY(bench_glance(g, copy, &alone_s, e));
    /* Fewer than a stream queues before it blocks the host. */
    products = (int)std::min(std::max(1.5 * (alone_s + 2e-5) * copies / n.alone_s, 20.0), 900.0);
    rc = timed();
    for (cudaEvent_t ev : at) {
        if (ev) {
            cudaEventDestroy(ev);
        }
    }
    TRY(rc);
    if (m->n > 3) { /* the last may have run on alone, the first began before the products */
        m->n--;
        memmove(m->sample_s, m->sample_s + 1, (size_t)--m->n * sizeof(double));
    }
    m->calls = 1;
    m->slowdown = beside_s / n.alone_s;
    gpu_state(g, m);
    return CASE_DONE;
}

int run_pcie(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct copy_data d = {};

    TRY(make_copy(g, c, &d, m, e));
    TRY(check_copies(g, d, m, e));
    m->byte = (double)d.bytes * (d.h2d && d.d2h ? 2 : 1);
    if (strcmp(case_word(c, "beside"), "gemm") == 0) {
        return time_beside(g, d, m, e);
    }
    if (!d.in.pinned) { /* returns late or early as it likes: the host's clock tells */
        return bench_host(g, [&](int, cudaStream_t s, struct err *er) { return queue_copy(d, s, er); }, m, e);
    }
    return bench_stream(g, 1, [&](int, cudaStream_t s, struct err *er) { return queue_copy(d, s, er); }, m, e);
}

/* ---- scattered blocks ---- */

struct block_data {
    struct host_memory host, host_packed;
    char *cache, *packed;
    int32_t *index;
    std::vector<int32_t> order; /* block of the cache for each place */
    size_t bytes, count;
    bool h2d;
    std::vector<void *> to;
    std::vector<const void *> from;
    std::vector<size_t> sizes;
};

static int make_blocks(struct gpu *g, const struct probe_case *c, struct block_data *d, struct measurement *m,
                       struct err *e)
{
    size_t cells;
    uint64_t x = case_seed(c);

    d->bytes = (size_t)case_int(c, "bytes");
    d->count = (size_t)case_int(c, "count");
    d->h2d = strcmp(case_word(c, "dir"), "h2d") == 0;
    cells = 2 * d->count; /* every other block is somebody else's, on both sides */
    d->cache = slab_array<char>(g, cells * d->bytes);
    d->packed = slab_array<char>(g, d->count * d->bytes);
    d->index = slab_array<int32_t>(g, d->count);
    if (!d->cache || !d->packed || !d->index) {
        return slab_lack(g, m);
    }
    if (!d->host.take(cells * d->bytes, true)) {
        return host_lack(m, cells * d->bytes, true);
    }
    for (size_t i = 0; i < d->count; i++) {
        d->order.push_back((int32_t)(2 * i));
    }
    for (size_t i = d->count; i > 1; i--) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(d->order[i - 1], d->order[(x >> 33) % i]);
    }
    for (size_t i = 0; i < d->count; i++) {
        char *there = d->cache + (size_t)d->order[i] * d->bytes, *here = d->host.at + 2 * i * d->bytes;

        d->to.push_back(d->h2d ? there : here);
        d->from.push_back(d->h2d ? here : there);
        d->sizes.push_back(d->bytes);
    }
    TRY(upload(d->index, d->order.data(), d->count * 4, e));
    return fill_random(g, d->cache, cells * d->bytes / 2, case_seed(c), 1.0f, e);
}

static int copy_each(const struct block_data &d, cudaStream_t s, struct err *e)
{
    for (size_t i = 0; i < d.count; i++) {
        CUDA_TRY(e, cudaMemcpyAsync(d.to[i], d.from[i], d.bytes, d.h2d ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                                    s));
    }
    return 0;
}

/* The copies as one call; 1 = the toolkit or the driver has no such call. */
static int copy_batched(struct block_data &d, cudaStream_t s, struct err *e)
{
#if CUDART_VERSION >= 13000
    struct cudaMemcpyAttributes how = {};
    size_t first = 0;
    cudaError_t r;

    how.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    r = cudaMemcpyBatchAsync(d.to.data(), d.from.data(), d.sizes.data(), d.count, &how, &first, 1, s);
    if (r == cudaErrorNotSupported || r == cudaErrorCallRequiresNewerDriver) {
        cudaGetLastError();
        return 1;
    }
    CUDA_TRY(e, r);
    return 0;
#else
    (void)d, (void)s, (void)e;
    return 1;
#endif
}

static int copy_gathered(const struct block_data &d, cudaStream_t s, struct err *e)
{
    int64_t each = (int64_t)(d.bytes / 16);
    dim3 grid((unsigned)d.count, (unsigned)std::min<int64_t>((each + SMALL_THREADS - 1) / SMALL_THREADS, 16));

    if (d.h2d) {
        CUDA_TRY(e, cudaMemcpyAsync(d.packed, d.host.at, d.count * d.bytes, cudaMemcpyHostToDevice, s));
    }
    move_blocks<<<grid, SMALL_THREADS, 0, s>>>((sixteen *)d.cache, (sixteen *)d.packed, d.index, each, !d.h2d);
    CUDA_TRY(e, cudaGetLastError());
    if (!d.h2d) {
        CUDA_TRY(e, cudaMemcpyAsync(d.host.at, d.packed, d.count * d.bytes, cudaMemcpyDeviceToHost, s));
    }
    return 0;
}

/* Block i on the host and its block of the cache are the same afterwards. */
static int check_blocks(const struct block_data &d, bool gathered, struct measurement *m, struct err *e)
{
    std::vector<char> there(d.bytes);
    size_t picks[] = {0, d.count / 2, d.count - 1};

    for (size_t i : picks) {
        const char *here = d.host.at + (gathered ? i : 2 * i) * d.bytes;

        TRY(download(there.data(), d.cache + (size_t)d.order[i] * d.bytes, d.bytes, e));
        if (memcmp(there.data(), here, d.bytes) != 0) {
            return case_bad(m, "block %zu differs after the copy", i);
        }
    }
    return CASE_DONE;
}

int run_blocks(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    const char *how = case_word(c, "how");
    bool gather = strcmp(how, "gather") == 0, batched = strcmp(how, "batched") == 0;
    struct block_data d;
    int rc;
    auto call = [&](int, cudaStream_t s, struct err *er) {
        return gather ? copy_gathered(d, s, er) : batched ? copy_batched(d, s, er) : copy_each(d, s, er);
    };

    TRY(make_blocks(g, c, &d, m, e));
    rc = call(0, g->stream, e);
    if (rc == 1) {
        return case_skip(m, "this CUDA version has no batched copies");
    }
    TRY(rc);
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(check_blocks(d, gather, m, e));
    m->byte = (double)(d.bytes * d.count);
    return bench_host(g, call, m, e);
}

/* ---- experts ---- */

int run_experts(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    size_t bytes = (size_t)case_int(c, "bytes"), count = (size_t)case_int(c, "count");
    struct host_memory host;
    char *dev = slab_array<char>(g, bytes * count);
    std::vector<char> back(65536);

    if (!dev) {
        return slab_lack(g, m);
    }
    if (!host.take(bytes * count, true)) {
        return host_lack(m, bytes * count, true);
    }
    auto call = [&](int, cudaStream_t s, struct err *er) {
        for (size_t i = 0; i < count; i++) {
            CUDA_TRY(er, cudaMemcpyAsync(dev + i * bytes, host.at + i * bytes, bytes, cudaMemcpyHostToDevice, s));
        }
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(download(back.data(), dev + bytes * count - back.size(), back.size(), e));
    if (memcmp(back.data(), host.at + bytes * count - back.size(), back.size()) != 0) {
        return case_bad(m, "the copy differs from its source");
    }
    m->byte = (double)(bytes * count);
    return bench_stream(g, 1, call, m, e);
}
