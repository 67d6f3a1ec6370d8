/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that lie beside a request file and complete it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "traces/columns.h"

/* Path of `name` in the folder of the trace; NULL when there is no such file or no folder. */
static const char *beside(struct trace *t, const char *name)
{
    const char *path = trace_path(t);
    const char *slash = strrchr(path, '/');
    const char *full = arena_printf(trace_arena(t), "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path,
                                    name);
    return full && access(full, R_OK) == 0 ? full : NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int read_json(const char *path, struct trace *t, cJSON **ret, struct err *e)
{
    struct trace_input *in;
    char *text;
    size_t n;
    int rc = trace_input_open(&in, path, trace_arena(t), e);
    if (rc < 0) {
        return rc;
    }
    rc = trace_input_rest(in, &text, &n, e);
    *ret = rc == 0 ? cJSON_ParseWithLength(text, n) : NULL;
    trace_input_close(in);
    return rc == 0 && !*ret ? err_set(e, SIM_E_DATA, "%s: not valid JSON", path) : rc;
}

static const cJSON *find_run(const cJSON *runs, const char *base)
{
    const cJSON *run;
    cJSON_ArrayForEach(run, runs)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(run, "run");
        if (cJSON_IsString(name)) {
            size_t n = strlen(name->valuestring);
            if (strncmp(base, name->valuestring, n) == 0 && base[n] == '.') {
                return run;
            }
        }
    }
    return NULL;
}

/* Every request of these runs generated exactly requested_output_len tokens (ignore_eos); the column
 * retok_output_tokens counts the text again and is not the work that was done. */
static int read_runs(struct columns *c, struct trace *t, struct err *e)
{
    const char *path = beside(t, "runs.json");
    if (!path) {
        return 0;
    }
    cJSON *runs;
    int rc = read_json(path, t, &runs, e);
    if (rc < 0) {
        return rc;
    }
    const cJSON *run = find_run(runs, base_name(trace_path(t)));
    const cJSON *len = cJSON_GetObjectItemCaseSensitive(run, "requested_output_len");
    if (cJSON_IsNumber(len) && len->valuedouble >= 1 && len->valuedouble <= 1e6) {
        c->requested_output = (uint32_t)len->valuedouble;
    }
    cJSON_Delete(runs);
    return 0;
}

static int init_cycle(struct columns *c, struct trace *t, struct err *e)
{
    if (c->prompt_cycle <= 0) {
        return 0;
    }
    c->cycle_prompt = arena_calloc(trace_arena(t), (size_t)c->prompt_cycle, sizeof(*c->cycle_prompt));
    return c->cycle_prompt ? 0 : err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
}

static bool push_side(struct side_ids *s, uint32_t first, uint32_t n)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 512;
        struct side_row *row = realloc(s->row, cap * sizeof(*row));
        if (!row) {
            return false;
        }
        s->row = row;
        s->cap = cap;
    }
    s->row[s->n++] = (struct side_row){first, n};
    return true;
}

static int side_row(struct columns *c, struct trace *side, const struct arrival *a, struct err *e)
{
    struct side_ids *s = &c->side;
    const char *why = "out of memory";
    uint32_t first = s->all.n;
    for (uint32_t i = 0; i < a->n_hash; i++) {
        if (!id_list_add(&s->all, a->hash[i], a->hash[i], &why)) {
            return trace_bad(side, e, "%s", why);
        }
    }
    return push_side(s, first, a->n_hash) ? 0 : trace_bad(side, e, "%s", why);
}

/* X__requests.csv.gz -> X__prefix_blocks.csv.gz; its row i belongs to the request
 * with i in the column of that name. */
static const char *prefix_blocks_path(struct trace *t)
{
    const char *base = base_name(trace_path(t));
    const char *at = strstr(base, "__requests.csv");
    if (!at) {
        return NULL;
    }
    const char *name = arena_printf(trace_arena(t), "%.*s__prefix_blocks.csv%s", (int)(at - base), base,
                                    at + strlen("__requests.csv"));
    return name ? beside(t, name) : NULL;
}

static int read_prefix_blocks(struct columns *c, struct trace *t, struct err *e)
{
    struct trace *side = NULL;
    struct arrival a;
    const char *path = prefix_blocks_path(t);
    if (!path) {
        return 0;
    }
    int rc = trace_open(&side, path, "columns{rate=1,output=1,hash_block=16}", 1, 0, e);
    while (rc == 0 && (rc = trace_next(side, &a, e)) == 1) {
        rc = side_row(c, side, &a, e);
    }
    trace_close(side);
    return rc;
}

int columns_side(struct columns *c, struct trace *t, struct err *e)
{
    int rc = 0;
    if (!trace_is_file(t)) {
        return init_cycle(c, t, e);
    }
    if (c->layout == LAYOUT_INFERENCE_SIM) {
        rc = read_runs(c, t, e);
    } else if (c->layout == LAYOUT_LLMSERVINGSIM) {
        rc = read_prefix_blocks(c, t, e);
    }
    return rc == 0 ? init_cycle(c, t, e) : rc;
}
