/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/gpu.cuh"

#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "calibrate/probe/small.cuh"

int cuda_failed(struct err *e, cudaError_t r, const char *what, const char *file, int line)
{
    return err_set(e, SIM_E_CHECK, "%s:%d: %.200s: %s (%s)", file, line, what, cudaGetErrorName(r),
                   cudaGetErrorString(r));
}

int cublas_failed(struct err *e, cublasStatus_t r, const char *what, const char *file, int line)
{
    return err_set(e, SIM_E_CHECK, "%s:%d: %.200s: %s", file, line, what, cublasGetStatusString(r));
}

/* ---- NVML, where it is installed ---- */

struct nvml {
    void *library, *device;
    int (*clock)(void *device, int type, unsigned *mhz);
    int (*power)(void *device, unsigned *milliwatt);
    int (*temperature)(void *device, int sensor, unsigned *celsius);
    int (*pcie_gen)(void *device, unsigned *gen);
    int (*pcie_width)(void *device, unsigned *lanes);
    int (*driver)(char *text, unsigned length);
    int (*shutdown)(void);
};

template <class F>
static bool symbol(void *library, const char *name, F *ret)
{
    *ret = (F)dlsym(library, name);
    return *ret != nullptr;
}

static void nvml_close(struct nvml *n)
{
    if (n) {
        if (n->shutdown) {
            n->shutdown();
        }
        dlclose(n->library);
        free(n);
    }
}

static struct nvml *nvml_open(const char *bus_id)
{
    int (*init)(void);
    int (*by_bus)(const char *, void **);
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    struct nvml *n = library ? (struct nvml *)calloc(1, sizeof(*n)) : nullptr;

    if (!n) {
        if (library) {
            dlclose(library);
        }
        return nullptr;
    }
    n->library = library;
    if (!symbol(library, "nvmlInit_v2", &init) || !symbol(library, "nvmlDeviceGetHandleByPciBusId_v2", &by_bus) ||
        !symbol(library, "nvmlDeviceGetClockInfo", &n->clock) ||
        !symbol(library, "nvmlDeviceGetPowerUsage", &n->power) ||
        !symbol(library, "nvmlDeviceGetTemperature", &n->temperature) ||
        !symbol(library, "nvmlDeviceGetMaxPcieLinkGeneration", &n->pcie_gen) ||
        !symbol(library, "nvmlDeviceGetMaxPcieLinkWidth", &n->pcie_width) ||
        !symbol(library, "nvmlSystemGetDriverVersion", &n->driver) || init() != 0) {
        n->shutdown = nullptr;
        nvml_close(n);
        return nullptr;
    }
    symbol(library, "nvmlShutdown", &n->shutdown);
    if (by_bus(bus_id, &n->device) != 0) {
        nvml_close(n);
        return nullptr;
    }
    return n;
}

void gpu_state(const struct gpu *g, struct measurement *m)
{
    unsigned milliwatt = 0;

    if (!g->nvml) {
        return;
    }
    if (g->nvml->clock(g->nvml->device, 1, &m->sm_mhz) != 0) {
        m->sm_mhz = 0;
    }
    m->power_w = g->nvml->power(g->nvml->device, &milliwatt) == 0 ? (milliwatt + 500) / 1000 : 0;
    if (g->nvml->temperature(g->nvml->device, 0, &m->temp_c) != 0) {
        m->temp_c = 0;
    }
}

/* ---- opening ---- */

int gpu_count(void)
{
    int n = 0;

    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

static int look_for(int index, struct err *e)
{
    int n = 0;
    cudaError_t r = cudaGetDeviceCount(&n);

    if (r != cudaSuccess || n == 0) {
        err_set(e, SIM_E_CHECK, "no usable NVIDIA GPU here: %s (steelyard-probe --list needs none)",
                r != cudaSuccess ? cudaGetErrorString(r) : "none found");
        return PROBE_EXIT_NO_GPU;
    }
    if (index >= n) {
        return err_set(e, SIM_E_USAGE, "--device %d: there %s %d", index, n == 1 ? "is only" : "are only", n);
    }
    return 0;
}

/* The program may lack code for this chip: one tiny launch tells. */
static int try_kernel(struct gpu *g, struct err *e)
{
    uint32_t *word = (uint32_t *)g->workspace;

    fill_bf16<<<1, SMALL_THREADS, 0, g->stream>>>(word, 1, 1, 1.0f);
    if (cudaGetLastError() != cudaSuccess || cudaStreamSynchronize(g->stream) != cudaSuccess) {
        err_set(e, SIM_E_CHECK, "this program has no code for %s (compute capability %d.%d): build it with -arch=native",
                g->prop.name, g->prop.major, g->prop.minor);
        return PROBE_EXIT_NO_GPU;
    }
    return 0;
}

/* Most of what is free, but not more than the largest case asks for. */
static int take_slab(struct gpu *g, bool all, struct err *e)
{
    const size_t largest = all ? SIZE_MAX : (size_t)40 << 30, least = (size_t)256 << 20;
    size_t free_bytes, total, want;

    CUDA_TRY(e, cudaMemGetInfo(&free_bytes, &total));
    want = free_bytes / 20 * (all ? 19 : 17);
    want = want < largest ? want : largest;
    while (want >= least) {
        if (cudaMalloc((void **)&g->slab, want) == cudaSuccess) {
            g->slab_size = want;
            return 0;
        }
        cudaGetLastError();
        want = want / 4 * 3;
    }
    err_set(e, SIM_E_CHECK, "%s has only %.0f MB of memory free", g->prop.name, (double)free_bytes / 1e6);
    return PROBE_EXIT_NO_GPU;
}

int gpu_open(struct gpu *g, int index, bool quick, bool all_memory, struct err *e)
{
    char bus[32] = "";

    memset(g, 0, sizeof(*g));
    TRY(look_for(index, e));
    g->index = index;
    g->quick = quick;
    CUDA_TRY(e, cudaSetDevice(index));
    CUDA_TRY(e, cudaGetDeviceProperties(&g->prop, index));
    if (g->prop.major < 8) {
        err_set(e, SIM_E_CHECK, "%s has compute capability %d.%d; 8.0 or later is needed", g->prop.name, g->prop.major,
                g->prop.minor);
        return PROBE_EXIT_NO_GPU;
    }
    g->l2 = (size_t)g->prop.l2CacheSize;
    g->workspace_size = (size_t)(g->prop.major >= 9 ? 32 : 8) << 20;
    CUDA_TRY(e, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking));
    CUDA_TRY(e, cudaStreamCreateWithFlags(&g->side, cudaStreamNonBlocking));
    CUDA_TRY(e, cudaMalloc(&g->workspace, g->workspace_size));
    TRY(try_kernel(g, e));
    CUBLAS_TRY(e, cublasLtCreate(&g->lt));
    CUBLAS_TRY(e, cublasCreate(&g->blas));
    CUBLAS_TRY(e, cublasSetWorkspace(g->blas, g->workspace, g->workspace_size));
    CUDA_TRY(e, cudaDeviceGetPCIBusId(bus, sizeof(bus), index));
    g->nvml = nvml_open(bus);
    return take_slab(g, all_memory, e);
}

void gpu_close(struct gpu *g)
{
    nvml_close(g->nvml);
    g->nvml = nullptr;
    if (g->lt) {
        cublasLtDestroy(g->lt);
    }
    if (g->blas) {
        cublasDestroy(g->blas);
    }
    cudaFree(g->slab);
    cudaFree(g->workspace);
    if (g->stream) {
        cudaStreamDestroy(g->stream);
    }
    if (g->side) {
        cudaStreamDestroy(g->side);
    }
}

/* ---- describing ---- */

const char *gpu_uuid(const struct gpu *g, char buf[48])
{
    const unsigned char *u = (const unsigned char *)g->prop.uuid.bytes;
    size_t n = (size_t)snprintf(buf, 48, "GPU-");

    for (int i = 0; i < 16; i++) {
        n += (size_t)snprintf(buf + n, 48 - n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    }
    return buf;
}

static void describe_attribute(const struct gpu *g, struct json_out *o, const char *key, cudaDeviceAttr a, int divide)
{
    int v = 0;

    if (cudaDeviceGetAttribute(&v, a, g->index) == cudaSuccess && v > 0) {
        json_out_int(o, key, v / divide);
    } else {
        cudaGetLastError();
        json_out_string(o, key, NULL);
    }
}

static void describe_versions(const struct gpu *g, struct json_out *o)
{
    char text[96] = "";
    int driver = 0, runtime = 0;
    unsigned gen = 0, lanes = 0;

    if (g->nvml && g->nvml->pcie_gen(g->nvml->device, &gen) == 0) {
        json_out_int(o, "pcie_gen", gen);
    } else {
        json_out_string(o, "pcie_gen", NULL);
    }
    if (g->nvml && g->nvml->pcie_width(g->nvml->device, &lanes) == 0) {
        json_out_int(o, "pcie_lanes", lanes);
    } else {
        json_out_string(o, "pcie_lanes", NULL);
    }
    json_out_string(o, "driver", g->nvml && g->nvml->driver(text, sizeof(text)) == 0 ? text : NULL);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    json_out_int(o, "cuda_driver", driver);
    json_out_int(o, "cuda_runtime", runtime);
    json_out_int(o, "cublas", (int64_t)cublasLtGetVersion());
}

/* The first processor's name. */
static const char *cpu_name(char *buf, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    const char *found = NULL;

    while (f && !found && fgets(buf, (int)size, f)) {
        char *colon = strchr(buf, ':');

        if (colon && strncmp(buf, "model name", 10) == 0) {
            colon[strcspn(colon, "\n")] = '\0';
            found = colon[1] == ' ' ? colon + 2 : colon + 1;
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

int gpu_describe(const struct gpu *g, struct json_out *o, struct err *e)
{
    char text[256], cc[16], bus[32] = "";
    struct utsname u;

    CUDA_TRY(e, cudaDeviceGetPCIBusId(bus, sizeof(bus), g->index));
    snprintf(cc, sizeof(cc), "%d.%d", g->prop.major, g->prop.minor);
    json_out_open(o, NULL, '{');
    json_out_open(o, "device", '{');
    json_out_string(o, "name", g->prop.name);
    json_out_string(o, "uuid", gpu_uuid(g, text));
    json_out_string(o, "compute_capability", cc);
    json_out_int(o, "sm_count", g->prop.multiProcessorCount);
    json_out_int(o, "l2_byte", g->prop.l2CacheSize);
    json_out_int(o, "memory_byte", (int64_t)g->prop.totalGlobalMem);
    json_out_int(o, "smem_per_sm_byte", (int64_t)g->prop.sharedMemPerMultiprocessor);
    describe_attribute(g, o, "sm_clock_max_mhz", cudaDevAttrClockRate, 1000);
    describe_attribute(g, o, "memory_clock_max_mhz", cudaDevAttrMemoryClockRate, 1000);
    describe_attribute(g, o, "memory_bus_bit", cudaDevAttrGlobalMemoryBusWidth, 1);
    json_out_string(o, "pci_bus_id", bus);
    json_out_bool(o, "ecc", g->prop.ECCEnabled != 0);
    describe_versions(g, o);
    json_out_close(o, '}');
    json_out_open(o, "host", '{');
    json_out_string(o, "name", gethostname(text, sizeof(text) - 1) == 0 ? text : NULL);
    json_out_string(o, "kernel", uname(&u) == 0 ? u.release : NULL);
    json_out_string(o, "cpu", cpu_name(text, sizeof(text)));
    json_out_int(o, "gpus", gpu_count());
    json_out_close(o, '}');
    json_out_close(o, '}');
    return o->failed ? err_set(e, SIM_E_NOMEM, "out of memory") : 0;
}

/* ---- memory ---- */

void *slab_take(struct gpu *g, size_t bytes)
{
    size_t need = (bytes + 255) / 256 * 256;
    void *p = g->slab + g->slab_used;

    if (need > g->slab_size - g->slab_used) {
        g->slab_short = true;
        return nullptr;
    }
    g->slab_used += need;
    return p;
}

int case_skip(struct measurement *m, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(m->why, sizeof(m->why), fmt, ap);
    va_end(ap);
    return CASE_SKIP;
}

int case_bad(struct measurement *m, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(m->why, sizeof(m->why), fmt, ap);
    va_end(ap);
    return CASE_BAD;
}

int slab_lack(const struct gpu *g, struct measurement *m)
{
    return case_skip(m, "its data does not fit into %.1f GB of free device memory", (double)g->slab_size / 1e9);
}

int sets_for(const struct gpu *g, size_t bytes, size_t room)
{
    size_t want, fit;

    bytes = bytes ? bytes : 1;
    want = (3 * g->l2 + bytes - 1) / bytes + 1;
    fit = room / bytes;
    want = want < fit ? want : fit;
    return want < 1 ? 1 : want > 64 ? 64 : (int)want;
}

int upload(void *to, const void *from, size_t bytes, struct err *e)
{
    CUDA_TRY(e, cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
    /* From pageable memory it may return while the last piece is under way. */
    CUDA_TRY(e, cudaStreamSynchronize(nullptr));
    return 0;
}

int download(void *to, const void *from, size_t bytes, struct err *e)
{
    CUDA_TRY(e, cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
    return 0;
}

int fill_random(struct gpu *g, void *to, size_t n, uint64_t seed, float scale, struct err *e)
{
    fill_bf16<<<(unsigned)g->prop.multiProcessorCount * 8, SMALL_THREADS, 0, g->stream>>>((uint32_t *)to, (int64_t)(n / 2),
                                                                                         seed, scale);
    CUDA_TRY(e, cudaGetLastError());
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    return 0;
}

int check_error(struct measurement *m, double rel_error, double limit)
{
    m->checked = true;
    m->rel_error = rel_error;
    if (!(rel_error <= limit)) {
        return case_bad(m, "relative error %.3g against the reference, %.3g allowed", rel_error, limit);
    }
    return CASE_DONE;
}
