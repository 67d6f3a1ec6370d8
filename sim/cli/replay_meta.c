/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/replay_meta.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/slora.h"
#include "sim/core/json.h"
#include "sim/core/opt.h"

static const char *text_of(const cJSON *o, const char *key, struct arena *ar)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

    return cJSON_IsString(v) ? arena_strdup(ar, v->valuestring) : NULL;
}

static double number_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

    return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static int give(struct config_args *args, const char *key, const char *value, struct arena *ar,
                struct err *e)
{
    return config_args_add(args, "the run's description", key, value, ar, e);
}

static int give_number(struct config_args *args, const char *key, double v, struct arena *ar,
                       struct err *e)
{
    char buf[32];

    if (!isfinite(v)) {
        return 0;
    }
    return give(args, key, arena_strdup(ar, text_from_double(v, buf)), ar, e);
}

static int give_gpu(struct replay_meta *m, struct config_args *args, struct arena *ar, struct err *e)
{
    const char *name = m->gpu ? replay_gpu_name(m->gpu) : NULL;

    return name ? give(args, "gpu", name, ar, e) : 0;
}

/* ---- S-LoRA as in the VTC artifact ---- */

/* An unlabelled run of its top folder is a VTC run (fairness.md 2.8, trap 5). */
static const char *vtc_policy(struct replay_meta *m, struct arena *ar)
{
    const char *rpm = strstr(m->run, "rpm");
    const char *policy = m->scheduler ? slora_policy(m->scheduler) : NULL;

    if (m->scheduler && strcmp(m->scheduler, "LShare") == 0 && rpm) {
        return slora_rpm(atoi(rpm + 3), ar);
    }
    if (!policy) {
        m->notes = "the scheduler is not recorded: VTC is assumed";
        policy = slora_policy("VTC");
    }
    return policy;
}

static int give_slora(struct replay_meta *m, const cJSON *run, struct config_args *args,
                      struct arena *ar, struct err *e)
{
    bool a100 = m->gpu && strstr(m->gpu, "A100");
    const char *policy = vtc_policy(m, ar);

    if (strncmp(m->run, "debug", 5) == 0) {
        m->notes = "recorded with older code on a GPU that is not stated: not a reference";
    }
    return slora_settings(args, "the run's description", policy, a100,
                          number_of(run, "kv_pool_tokens"), ar, e);
}

/* ---- vLLM ---- */

/* "vLLM 0.15.1" -> "0.15" */
static const char *minor_version(const char *engine, struct arena *ar)
{
    const char *v = strpbrk(engine, "0123456789");
    size_t n = v ? strspn(v, "0123456789") : 0;

    if (!v || v[n] != '.') {
        return NULL;
    }
    return arena_strndup(ar, v, n + 1 + strspn(v + n + 1, "0123456789"));
}

static const char *vllm_batcher(const cJSON *run, const char *version, struct arena *ar)
{
    double seqs = number_of(run, "max_num_seqs"), tok = number_of(run, "max_num_batched_tokens");
    const cJSON *cache = cJSON_GetObjectItemCaseSensitive(run, "prefix_caching");
    const char *spec = arena_printf(ar, "vllm-v1{version=%s", version);

    if (spec && isfinite(seqs)) {
        spec = arena_printf(ar, "%s,max_num_seqs=%.0f", spec, seqs);
    }
    if (spec && isfinite(tok)) {
        spec = arena_printf(ar, "%s,max_num_batched_tokens=%.0f", spec, tok);
    }
    if (spec && cJSON_IsFalse(cache)) {
        spec = arena_printf(ar, "%s,prefix_caching=off", spec);
    }
    return spec ? arena_printf(ar, "%s}", spec) : NULL;
}

int replay_http(struct config_args *args, const char *origin, struct arena *ar, struct err *e)
{
    if (config_args_add(args, origin, "engine.request_serial", "2ms", ar, e) < 0) {
        return e->code;
    }
    return config_args_add(args, origin, "engine.request_delay", "6ms", ar, e);
}

/* From the client to the engine and back: over HTTP, or 1.1 ms for an engine in the client's process,
 * which a description shows by the engine's arguments. */
static bool is_in_process(const cJSON *run)
{
    return cJSON_GetObjectItemCaseSensitive(run, "max_model_len") &&
           cJSON_GetObjectItemCaseSensitive(run, "enable_expert_parallel");
}

static int give_path(const cJSON *run, struct config_args *args, struct arena *ar, struct err *e)
{
    return is_in_process(run) ? give(args, "engine.request_delay", "1.1ms", ar, e)
                      : replay_http(args, "the run's description", ar, e);
}

static void add_note(struct replay_meta *m, const char *text, struct arena *ar)
{
    if (text) {
        m->notes = m->notes ? arena_printf(ar, "%s; %s", m->notes, text) : text;
    }
}

/* What the description tells of the run that the simulation leaves out. */
static void note_left_out(struct replay_meta *m, const cJSON *run, struct arena *ar)
{
    double timeout_s = number_of(run, "client_timeout_s");

    if (timeout_s > 0) {
        add_note(m, arena_printf(ar, "clients gave up after %g s: here they wait", timeout_s), ar);
    }
    if (number_of(run, "cpu_kv_offload_GiB") > 0) {
        add_note(m, "KV was offloaded to host memory: here it is not", ar);
    }
}

/* Over HTTP the server's default applies, which is the model's; a program with the engine inside says what it
 * wants, and what that is is not recorded. */
static int give_sampling(struct replay_meta *m, const cJSON *run, const char *version, struct config_args *args,
                         struct arena *ar, struct err *e)
{
    const char *model = m->model ? replay_model_name(m->model, ar) : NULL;
    const char *how = model ? replay_sampling(model, version) : NULL;

    if (!how || is_in_process(run)) {
        return 0;
    }
    add_note(m, arena_printf(ar, "sampled by top-p or top-k as %s's generation_config.json asks", model), ar);
    return give(args, "engine.sampling", how, ar, e);
}

static int give_vllm(struct replay_meta *m, const cJSON *run, struct config_args *args,
                     struct arena *ar, struct err *e)
{
    const char *version = minor_version(m->engine, ar);
    double tp = number_of(run, "tp");

    if (!version) {
        return err_set(e, SIM_E_DATA, "%s: run '%s': no version in engine '%s'", m->where, m->run,
                       m->engine);
    }
    note_left_out(m, run, ar);
    tp = isfinite(tp) ? tp : number_of(run, "tensor_parallel_size");
    if (give(args, "batcher", vllm_batcher(run, version, ar), ar, e) < 0 ||
        give_number(args, "tp", tp, ar, e) < 0 ||
        give_number(args, "kv.blocks", number_of(run, "kv_blocks_gpu"), ar, e) < 0 ||
        give_path(run, args, ar, e) < 0 || give_sampling(m, run, version, args, ar, e) < 0) {
        return e->code;
    }
    return m->model ? give(args, "model", replay_model_name(m->model, ar), ar, e) : 0;
}

static int give_engine(struct replay_meta *m, const cJSON *run, struct config_args *args,
                       struct arena *ar, struct err *e)
{
    if (give_gpu(m, args, ar, e) < 0) {
        return e->code;
    }
    if (m->engine && strstr(m->engine, "S-LoRA")) {
        return give_slora(m, run, args, ar, e);
    }
    if (m->engine && strncmp(m->engine, "vLLM ", 5) == 0) {
        return give_vllm(m, run, args, ar, e);
    }
    return err_set(e, SIM_E_DATA, "%s: run '%s': no batcher imitates engine '%s'", m->where, m->run,
                   m->engine ? m->engine : "(not named)");
}

/* ---- finding it ---- */

static const cJSON *run_by_name(const cJSON *runs, const char *name)
{
    const cJSON *run;

    cJSON_ArrayForEach(run, runs)
    {
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(run, "run");

        if (cJSON_IsString(v) && strcmp(v->valuestring, name) == 0) {
            return run;
        }
    }
    return NULL;
}

static void fill(struct replay_meta *m, const cJSON *run, struct arena *ar)
{
    m->engine = text_of(run, "engine", ar);
    m->gpu = text_of(run, "gpu", ar);
    m->model = text_of(run, "model", ar);
    m->scheduler = text_of(run, "scheduler", ar);
    m->measured_total_s = number_of(run, "total_time_s");
    m->aborted = number_of(run, "aborted");
}

/* A description is data that came with the run, not the user's configuration. */
static cJSON *parse_description(const char *path, struct err *e)
{
    cJSON *o = json_parse_file(path, e);

    if (!o && e->code == SIM_E_CONFIG) {
        e->code = SIM_E_DATA;
    }
    return o;
}

static int from_runs(struct replay_meta *m, const char *path, struct config_args *args,
                     struct arena *ar, struct err *e)
{
    cJSON *runs = parse_description(path, e);
    const cJSON *run;
    int rc = 0;

    if (!runs) {
        return e->code;
    }
    run = cJSON_IsArray(runs) ? run_by_name(runs, m->run) : NULL;
    if (run) {
        m->where = path;
        fill(m, run, ar);
        rc = give_engine(m, run, args, ar, e);
    }
    cJSON_Delete(runs);
    return rc;
}

/* GPU__MODEL__requests.csv.gz with GPU__MODEL__meta.json: the engine's arguments, nothing of the GPU but
 * its name in the file's own. */
static int from_meta(struct replay_meta *m, const char *path, struct config_args *args,
                     struct arena *ar, struct err *e)
{
    cJSON *meta = parse_description(path, e);
    const cJSON *kwargs;
    const char *version;
    int rc;

    if (!meta) {
        return e->code;
    }
    m->where = path;
    fill(m, meta, ar);
    version = text_of(meta, "vllm_version", ar);
    kwargs = cJSON_GetObjectItemCaseSensitive(meta, "engine_kwargs");
    m->engine = version ? arena_printf(ar, "vLLM %s", version) : m->engine;
    m->gpu = m->gpu ? m->gpu : m->run;
    rc = give_engine(m, kwargs ? kwargs : meta, args, ar, e);
    cJSON_Delete(meta);
    return rc;
}

/* The detailed result of `vllm bench serve` describes its load and model itself: with --max-concurrency a
 * closed loop, whose start times are the measured run's and not ours. */
static int from_bench(struct replay_meta *m, const char *path, struct config_args *args, struct arena *ar, struct err *e)
{
    cJSON *o = parse_description(path, e);
    double flight;
    int rc = 0;

    if (!o) {
        return e->code;
    }
    if (!cJSON_GetObjectItemCaseSensitive(o, "input_lens")) { /* the reader of the trace says what is wrong */
        cJSON_Delete(o);
        return 0;
    }
    m->where = path;
    m->engine = "vLLM (version not recorded)";
    m->model = text_of(o, "model_id", ar);
    m->measured_total_s = number_of(o, "duration");
    add_note(m, "GPU, TP and the engine's settings are not in a benchmark's result: --gpu, --tp, --batcher say them", ar);
    flight = number_of(o, "max_concurrency");
    if (m->model) {
        rc = give(args, "model", replay_model_name(m->model, ar), ar, e);
    }
    if (rc == 0 && flight >= 1) {
        add_note(m, "a closed loop: sent again when answered, not at the recorded times", ar);
        rc = give_number(args, "load.concurrency", flight, ar, e);
        rc = rc < 0 ? rc : give(args, "load.scale", "1e6", ar, e);
    }
    rc = rc < 0 ? rc : replay_http(args, "the benchmark's result", ar, e);
    cJSON_Delete(o);
    return rc;
}

/* Prompts share prefixes only as far as NAME__prefix_blocks.csv[.gz] beside the requests tells. */
static void look_for_prefixes(struct replay_meta *m, const char *folder, int base_length, struct arena *ar)
{
    const char *plain = arena_printf(ar, "%s%.*s__prefix_blocks.csv", folder, base_length, m->run);
    const char *zipped = arena_printf(ar, "%s%.*s__prefix_blocks.csv.gz", folder, base_length, m->run);

    if (plain && zipped && access(plain, F_OK) != 0 && access(zipped, F_OK) != 0) {
        add_note(m, "no __prefix_blocks file beside it: no prompts share a prefix", ar);
    }
}

static const char *run_name(const char *path, struct arena *ar)
{
    const char *slash = strrchr(path, '/');
    char *name = arena_strdup(ar, slash ? slash + 1 : path);
    char *dot = name ? strstr(name, ".csv") : NULL;

    if (name && !dot) {
        dot = strstr(name, ".json");
    }
    if (dot) {
        *dot = '\0';
    }
    return name;
}

int replay_meta_find(struct replay_meta *m, const char *path, struct config_args *args,
                     struct arena *ar, struct err *e)
{
    const char *slash = strrchr(path, '/');
    const char *folder = arena_strndup(ar, path, slash ? (size_t)(slash - path) + 1 : 0);
    const char *runs = arena_printf(ar, "%sruns.json", folder ? folder : "");
    const char *meta, *suffix;

    memset(m, 0, sizeof(*m));
    m->measured_total_s = m->aborted = (double)NAN;
    m->run = run_name(path, ar);
    if (!m->run || !folder || !runs) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (access(runs, F_OK) == 0 && (from_runs(m, runs, args, ar, e) < 0 || m->where)) {
        return e->code;
    }
    suffix = strstr(m->run, "__requests");
    meta = arena_printf(ar, "%s%.*s__meta.json", folder,
                        (int)(suffix ? (size_t)(suffix - m->run) : strlen(m->run)), m->run);
    if (meta && access(meta, F_OK) == 0) {
        if (suffix) {
            look_for_prefixes(m, folder, (int)(suffix - m->run), ar);
        }
        return from_meta(m, meta, args, ar, e);
    }
    suffix = strrchr(path, '.');
    return suffix && strcmp(suffix, ".json") == 0 ? from_bench(m, path, args, ar, e) : 0;
}
