/* SPDX-License-Identifier: Apache-2.0
 *
 * Several GPUs: copies between two, and NCCL's collectives, where NCCL is installed (opened at run time,
 * so that the probe builds without it). */
#include <dlfcn.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "calibrate/probe/gpu.cuh"

/* ---- copies ---- */

struct peer_pair {
    int from = 0, to = 0;
    char *there_in = nullptr, *there_out = nullptr; /* on the other device */
    cudaStream_t back = nullptr;
    cudaEvent_t begun = nullptr, done = nullptr;

    ~peer_pair()
    {
        cudaSetDevice(to);
        cudaFree(there_in);
        cudaFree(there_out);
        if (back) {
            cudaStreamDestroy(back);
        }
        if (done) {
            cudaEventDestroy(done);
        }
        cudaSetDevice(from);
        if (begun) {
            cudaEventDestroy(begun);
        }
    }
};

static int open_path(int from, int to, struct err *e)
{
    int can = 0;
    cudaError_t r;

    CUDA_TRY(e, cudaDeviceCanAccessPeer(&can, from, to));
    if (!can) {
        return 0; /* copies go through the host then, which is worth measuring, too */
    }
    CUDA_TRY(e, cudaSetDevice(from));
    r = cudaDeviceEnablePeerAccess(to, 0);
    if (r != cudaErrorPeerAccessAlreadyEnabled) {
        CUDA_TRY(e, r);
    }
    cudaGetLastError();
    return 0;
}

static int make_pair(struct peer_pair *p, size_t bytes, struct err *e)
{
    TRY(open_path(p->from, p->to, e));
    TRY(open_path(p->to, p->from, e));
    CUDA_TRY(e, cudaSetDevice(p->to));
    CUDA_TRY(e, cudaMalloc((void **)&p->there_in, bytes));
    CUDA_TRY(e, cudaMalloc((void **)&p->there_out, bytes));
    CUDA_TRY(e, cudaMemset(p->there_out, 0x5a, bytes));
    CUDA_TRY(e, cudaStreamCreateWithFlags(&p->back, cudaStreamNonBlocking));
    CUDA_TRY(e, cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming));
    CUDA_TRY(e, cudaDeviceSynchronize());
    CUDA_TRY(e, cudaSetDevice(p->from));
    CUDA_TRY(e, cudaEventCreateWithFlags(&p->begun, cudaEventDisableTiming));
    return 0;
}

int run_peer(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    size_t bytes = (size_t)case_int(c, "bytes");
    bool both = case_int(c, "both") != 0;
    int far = (int)case_int(c, "to");
    struct peer_pair p;
    char *out = slab_array<char>(g, bytes), *in = slab_array<char>(g, bytes);
    std::vector<char> a(std::min<size_t>(bytes, 65536)), b(a.size());

    if (g->index != 0) {
        return case_skip(m, "pairs are counted from device 0: measure it with --device 0");
    }
    p.from = 0;
    p.to = far;
    if (!out || !in) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, out, bytes / 2, case_seed(c), 1.0f, e));
    TRY(make_pair(&p, bytes, e));
    auto call = [&](int, cudaStream_t s, struct err *er) {
        if (both) {
            CUDA_TRY(er, cudaEventRecord(p.begun, s));
            CUDA_TRY(er, cudaStreamWaitEvent(p.back, p.begun, 0));
            CUDA_TRY(er, cudaMemcpyPeerAsync(in, p.from, p.there_out, p.to, bytes, p.back));
            CUDA_TRY(er, cudaEventRecord(p.done, p.back));
        }
        CUDA_TRY(er, cudaMemcpyPeerAsync(p.there_in, p.to, out, p.from, bytes, s));
        if (both) {
            CUDA_TRY(er, cudaStreamWaitEvent(s, p.done, 0));
        }
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(download(a.data(), out, a.size(), e));
    TRY(download(b.data(), p.there_in, b.size(), e));
    if (a != b) {
        return case_bad(m, "the copy differs from its source");
    }
    m->byte = (double)bytes * (both ? 2 : 1);
    return bench_stream(g, 1, call, m, e);
}

/* ---- collectives ---- */

typedef struct ncclComm *nccl_comm;
enum { NCCL_SUM = 0, NCCL_BF16 = 9, NCCL_INT8 = 0 };

struct nccl {
    void *library;
    int (*init_all)(nccl_comm *comms, int n, const int *devices);
    int (*destroy)(nccl_comm);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*all_reduce)(const void *, void *, size_t, int, int, nccl_comm, cudaStream_t);
    int (*all_gather)(const void *, void *, size_t, int, nccl_comm, cudaStream_t);
    int (*send)(const void *, size_t, int, int, nccl_comm, cudaStream_t);
    int (*recv)(void *, size_t, int, int, nccl_comm, cudaStream_t);
    const char *(*text)(int);
};

template <class F>
static bool symbol(void *library, const char *name, F *ret)
{
    *ret = (F)dlsym(library, name);
    return *ret != nullptr;
}

static bool nccl_open(struct nccl *n)
{
    n->library = dlopen("libnccl.so.2", RTLD_NOW);
    if (!n->library) {
        return false;
    }
    return symbol(n->library, "ncclCommInitAll", &n->init_all) && symbol(n->library, "ncclCommDestroy", &n->destroy) &&
           symbol(n->library, "ncclGroupStart", &n->group_start) && symbol(n->library, "ncclGroupEnd", &n->group_end) &&
           symbol(n->library, "ncclAllReduce", &n->all_reduce) && symbol(n->library, "ncclAllGather", &n->all_gather) &&
           symbol(n->library, "ncclSend", &n->send) && symbol(n->library, "ncclRecv", &n->recv) &&
           symbol(n->library, "ncclGetErrorString", &n->text);
}

struct ranks {
    struct nccl lib = {};
    int n = 0, home = 0;
    std::vector<nccl_comm> comms;
    std::vector<cudaStream_t> streams;
    std::vector<char *> in, out;
    size_t bytes = 0;

    ~ranks()
    {
        for (nccl_comm c : comms) {
            lib.destroy(c);
        }
        for (size_t i = 0; i < in.size(); i++) {
            cudaSetDevice((int)i);
            cudaFree(in[i]);
            cudaFree(i < out.size() ? out[i] : nullptr);
            if (i < streams.size()) {
                cudaStreamDestroy(streams[i]);
            }
        }
        cudaSetDevice(home);
        if (lib.library) {
            dlclose(lib.library);
        }
    }
};

static int nccl_failed(const struct ranks &r, int code, const char *what, struct err *e)
{
    return err_set(e, SIM_E_CHECK, "%s: %s", what, r.lib.text(code));
}

#define NCCL_TRY(r, e, call)                                                                       \
    do {                                                                                           \
        int result_ = (call);                                                                      \
        if (result_ != 0) {                                                                        \
            return nccl_failed(r, result_, #call, e);                                              \
        }                                                                                          \
    } while (0)

/* Rank i sends bytes of the value i + 1. */
static int make_ranks(struct ranks *r, struct err *e)
{
    std::vector<int> devices;

    for (int i = 0; i < r->n; i++) {
        char *p;
        cudaStream_t s;

        devices.push_back(i);
        CUDA_TRY(e, cudaSetDevice(i));
        CUDA_TRY(e, cudaMalloc((void **)&p, r->bytes));
        r->in.push_back(p);
        CUDA_TRY(e, cudaMemset(p, i + 1, r->bytes));
        CUDA_TRY(e, cudaMalloc((void **)&p, r->bytes));
        r->out.push_back(p);
        CUDA_TRY(e, cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        r->streams.push_back(s);
        CUDA_TRY(e, cudaDeviceSynchronize());
    }
    r->comms.resize((size_t)r->n);
    int rc = r->lib.init_all(r->comms.data(), r->n, devices.data());
    if (rc != 0) {
        r->comms.clear();
        return nccl_failed(*r, rc, "ncclCommInitAll", e);
    }
    CUDA_TRY(e, cudaSetDevice(r->home));
    return 0;
}

static int queue_rank(const struct ranks &r, const char *what, size_t i, struct err *e)
{
    size_t share = r.bytes / (size_t)r.n;
    cudaStream_t s = r.streams[i];

    if (strcmp(what, "all_reduce") == 0) {
        NCCL_TRY(r, e, r.lib.all_reduce(r.in[i], r.out[i], r.bytes / 2, NCCL_BF16, NCCL_SUM, r.comms[i], s));
    } else if (strcmp(what, "all_gather") == 0) {
        NCCL_TRY(r, e, r.lib.all_gather(r.in[i], r.out[i], share, NCCL_INT8, r.comms[i], s));
    } else {
        for (size_t j = 0; j < (size_t)r.n; j++) {
            NCCL_TRY(r, e, r.lib.send(r.in[i] + j * share, share, NCCL_INT8, (int)j, r.comms[i], s));
            NCCL_TRY(r, e, r.lib.recv(r.out[i] + j * share, share, NCCL_INT8, (int)j, r.comms[i], s));
        }
    }
    return 0;
}

/* All ranks, and wait: the time is that of the slowest. */
static int queue_all(const struct ranks &r, const char *what, struct err *e)
{
    NCCL_TRY(r, e, r.lib.group_start());
    for (size_t i = 0; i < (size_t)r.n; i++) {
        int rc = queue_rank(r, what, i, e);

        if (rc != 0) {
            r.lib.group_end();
            return rc;
        }
    }
    NCCL_TRY(r, e, r.lib.group_end());
    return 0;
}

static int wait_all(const struct ranks &r, struct err *e)
{
    for (cudaStream_t s : r.streams) {
        CUDA_TRY(e, cudaStreamSynchronize(s));
    }
    return 0;
}

/* bf16 numbers that the bytes 0x0101, 0x0202 ... stand for are tiny; their sum is not looked at in detail:
 * it has to be the same on all ranks and differ from what was sent. Gathered bytes are known. */
static int check_ranks(const struct ranks &r, const char *what, struct measurement *m, struct err *e)
{
    size_t share = r.bytes / (size_t)r.n;
    std::vector<unsigned char> first(r.bytes), out(r.bytes);

    TRY(download(first.data(), r.out[0], r.bytes, e));
    for (size_t i = 1; i < (size_t)r.n; i++) {
        TRY(download(out.data(), r.out[i], r.bytes, e));
        if (out != first) {
            return case_bad(m, "ranks 0 and %zu got different results", i);
        }
    }
    for (size_t j = 0; strcmp(what, "all_reduce") != 0 && j < share * (size_t)r.n; j++) {
        if (first[j] != j / share + 1) {
            return case_bad(m, "byte %zu is not that of rank %zu", j, j / share);
        }
    }
    return CASE_DONE;
}

int run_collective(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    const char *what = case_word(c, "what");
    struct ranks r;
    int calls;
    double t, one;

    r.n = (int)case_int(c, "ranks");
    r.home = g->index;
    r.bytes = (size_t)case_int(c, "bytes");
    if (!nccl_open(&r.lib)) {
        return case_skip(m, "NCCL (libnccl.so.2) is not installed");
    }
    TRY(make_ranks(&r, e));
    TRY(queue_all(r, what, e));
    TRY(wait_all(r, e));
    TRY(check_ranks(r, what, m, e));
    t = now_s();
    TRY(queue_all(r, what, e));
    TRY(wait_all(r, e));
    one = now_s() - t;
    calls = (int)std::min(std::max(2e-3 / one, 1.0), 50.0);
    for (int sample = -1; sample < (g->quick ? 5 : 20); sample++) { /* many calls, one wait */
        t = now_s();
        for (int i = 0; i < calls; i++) {
            TRY(queue_all(r, what, e));
        }
        TRY(wait_all(r, e));
        if (sample >= 0) {
            m->sample_s[m->n++] = (now_s() - t) / calls;
        }
    }
    m->calls = calls;
    m->byte = (double)r.bytes;
    gpu_state(g, m);
    return CASE_DONE;
}
