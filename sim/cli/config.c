/* SPDX-License-Identifier: Apache-2.0
 *
 * Resolving a configuration: defaults, then a JSON file, then the environment, then flags. Each value
 * remembers where it came from, so that errors found late can still point at the place. */
#include "sim/cli/cli.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "policies/open.h"
#include "sim/cli/catalog.h"
#include "sim/core/json.h"

#define ENV_PREFIX   "STEELYARD_"
#define JSON_INT_MAX 9007199254740992.0 /* 2^53: beyond it a JSON number is not exact */

struct resolver {
    struct run_config *config;
    const char **origin; /* by row */
    const char *file;
    const char *text;
    size_t len;
    bool *in_file; /* by row: set by the file already */
    struct arena *ar;
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory while reading the configuration");
}

static size_t n_rows(void)
{
    size_t n = 0;
    while (run_options[n].name) {
        n++;
    }
    return n;
}

int config_args_add(struct config_args *a, const char *flag, const char *key, const char *value,
                    struct arena *ar, struct err *e)
{
    if (a->n_set == a->cap_set) {
        size_t cap = a->cap_set ? 2 * a->cap_set : 8;
        const char **set = arena_calloc(ar, cap, sizeof(*set));
        const char **fl = arena_calloc(ar, cap, sizeof(*fl));
        if (!set || !fl) {
            return no_memory(e);
        }
        if (a->n_set > 0) {
            memcpy(set, a->set, a->n_set * sizeof(*set));
            memcpy(fl, a->flag, a->n_set * sizeof(*fl));
        }
        a->set = set;
        a->flag = fl;
        a->cap_set = cap;
    }
    a->set[a->n_set] = arena_printf(ar, "%s=%s", key, value);
    a->flag[a->n_set] = flag;
    return a->set[a->n_set++] ? 0 : no_memory(e);
}

/* One value into its field. `where` is the prefix of messages, `origin` what is remembered. */
static int put(struct resolver *r, const char *where, const char *origin, const char *key,
               const char *text, struct err *e)
{
    int rc = opt_set_by_name(run_options, r->config, where, key, text, r->ar, e);
    if (rc < 0) {
        return rc;
    }
    r->origin[opt_find(run_options, key) - run_options] = origin;
    return 0;
}

/* ---- the file ---- */

static const char *place_of(struct resolver *r, const char *path)
{
    unsigned line = 0;
    unsigned col = 0;
    if (json_locate(r->text, r->len, path, &line, &col)) {
        return arena_printf(r->ar, "%s:%u:%u", r->file, line, col);
    }
    return r->file;
}

static int wrong(struct resolver *r, const char *path, const char *key, const char *what,
                 struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "%s: key '%s': %s", place_of(r, path), key, what);
}

/* A scalar as the text that opt_set reads, or NULL for objects and arrays. */
static const char *scalar_text(const cJSON *v, struct arena *ar)
{
    char buf[32];
    if (cJSON_IsString(v)) {
        return v->valuestring;
    }
    if (cJSON_IsBool(v)) {
        return cJSON_IsTrue(v) ? "on" : "off";
    }
    if (cJSON_IsNumber(v) && floor(v->valuedouble) == v->valuedouble &&
        fabs(v->valuedouble) <= JSON_INT_MAX) {
        return arena_printf(ar, "%.0f", v->valuedouble);
    }
    return cJSON_IsNumber(v) ? arena_strdup(ar, text_from_double(v->valuedouble, buf)) : NULL;
}

static const char *array_text(const cJSON *array, const char *separator, struct arena *ar)
{
    const char *text = "";
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, array)
    {
        const char *one = scalar_text(item, ar);
        text = one && text ? arena_printf(ar, "%s%s%s", text, *text ? separator : "", one) : NULL;
    }
    return text;
}

/* {"name": "vtc", "lift": "off"} -> "vtc{lift=off}" */
static int spec_text(struct resolver *r, const cJSON *object, const char *path, const char *key,
                     const char **ret, struct err *e)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "name");
    if (!cJSON_IsString(name)) {
        return wrong(r, path, key, "an object here needs a \"name\", as in {\"name\": \"vtc\"}", e);
    }
    const char *options = "";
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        if (item == name) {
            continue;
        }
        const char *text =
            cJSON_IsArray(item) ? array_text(item, ";", r->ar) : scalar_text(item, r->ar);
        if (!text) {
            const char *inner = arena_printf(r->ar, "%s.%s", path, item->string);
            return wrong(r, inner, inner, "a number, string, bool or list of them is wanted", e);
        }
        options = arena_printf(r->ar, "%s%s%s=%s", options, *options ? "," : "", item->string, text);
    }
    *ret = *options ? arena_printf(r->ar, "%s{%s}", name->valuestring, options) : name->valuestring;
    return 0;
}

static bool takes_spec(const char *key)
{
    static const char *const keys[] = {"policy", "batcher", "router", "cost", "trace.format", "experts.routes",
                                       "experts.evict", "experts.prefetch", "experts.miss"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_group(const char *key)
{
    size_t n = strlen(key);
    for (const struct opt_row *row = run_options; row->name; row++) {
        if (strncmp(row->name, key, n) == 0 && row->name[n] == '.') {
            return true;
        }
    }
    return false;
}

static int put_from_file(struct resolver *r, const cJSON *v, const char *path, const char *key,
                         struct err *e)
{
    const struct opt_row *row = opt_find(run_options, key);
    const char *place = place_of(r, path);
    const char *text = NULL;
    if (row && cJSON_IsNull(v)) {
        return 0; /* null leaves the default */
    }
    if (row && r->in_file[row - run_options]) {
        return wrong(r, path, key, "given twice in this file", e);
    }
    if (row && row->type == OPT_INT && cJSON_IsNumber(v) && fabs(v->valuedouble) > JSON_INT_MAX) {
        return wrong(r, path, key, "beyond 2^53 a JSON number is not exact; put it in quotes", e);
    }
    if (row && cJSON_IsObject(v) && takes_spec(key)) {
        int rc = spec_text(r, v, path, key, &text, e);
        if (rc < 0) {
            return rc;
        }
    } else {
        text = cJSON_IsArray(v) ? array_text(v, ",", r->ar) : scalar_text(v, r->ar);
    }
    if (row && !text) {
        return wrong(r, path, key, "a single value is wanted here, not an object", e);
    }
    int rc = put(r, arena_printf(r->ar, "%s: ", place), place, key, text ? text : "", e);
    if (rc == 0) {
        r->in_file[row - run_options] = true;
    }
    return rc;
}

/* Nested objects are dotted keys. Where a key is both a value and a group ("trace"), the value is
 * called "path" inside the object. */
static int walk(struct resolver *r, const cJSON *object, const char *prefix, struct err *e)
{
    const cJSON *v = NULL;
    cJSON_ArrayForEach(v, object)
    {
        const char *path = *prefix ? arena_printf(r->ar, "%s.%s", prefix, v->string) : v->string;
        bool own = strcmp(v->string, "path") == 0 && opt_find(run_options, prefix);
        int rc;
        if (!path) {
            return no_memory(e);
        }
        if (cJSON_IsObject(v) && is_group(path)) {
            rc = walk(r, v, path, e);
        } else {
            rc = put_from_file(r, v, path, own ? prefix : path, e);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int read_file(struct resolver *r, struct err *e)
{
    r->text = json_read_file(r->file, &r->len, r->ar, e);
    if (!r->text) {
        return e->code;
    }
    cJSON *root = json_parse(r->text, r->len, r->file, e);
    if (!root) {
        return e->code;
    }
    int rc = cJSON_IsObject(root)
                 ? walk(r, root, "", e)
                 : err_set(e, SIM_E_CONFIG, "%s: a configuration is one JSON object", r->file);
    cJSON_Delete(root);
    return rc;
}

/* ---- the environment ---- */

/* "LOAD__SCALE=2" -> "load.scale"; the value starts behind '='. */
static char *key_of_variable(const char *variable, struct arena *ar)
{
    size_t n = strcspn(variable, "=");
    char *key = arena_strndup(ar, variable, n);
    size_t out = 0;
    for (size_t i = 0; key && i < n; i++) {
        if (key[i] == '_' && key[i + 1] == '_') {
            key[out++] = '.';
            i++;
        } else {
            key[out++] = (char)tolower((unsigned char)key[i]);
        }
    }
    if (key) {
        key[out] = '\0';
    }
    return key;
}

/* Variables that are not configuration keys: where the data lies (see steelyard_data_dir), and where
 * tests find real traces. */
static bool is_reserved(const char *variable)
{
    return strncmp(variable, "DATA=", 5) == 0 || strncmp(variable, "SHARED=", 7) == 0;
}

static int read_environment(struct resolver *r, struct err *e)
{
    for (char **p = environ; p && *p; p++) {
        if (strncmp(*p, ENV_PREFIX, strlen(ENV_PREFIX)) != 0 || !strchr(*p, '=') ||
            is_reserved(*p + strlen(ENV_PREFIX))) {
            continue;
        }
        const char *variable = *p + strlen(ENV_PREFIX);
        const char *key = key_of_variable(variable, r->ar);
        const char *origin =
            arena_printf(r->ar, "environment %.*s", (int)strcspn(*p, "="), *p);
        const char *where = arena_printf(r->ar, "%s: ", origin);
        if (!key || !origin || !where) {
            return no_memory(e);
        }
        int rc = put(r, where, origin, key, strchr(variable, '=') + 1, e);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- flags ---- */

static int read_flags(struct resolver *r, const struct config_args *a, struct err *e)
{
    for (size_t i = 0; i < a->n_set; i++) {
        const char *equal = strchr(a->set[i], '=');
        const char *key = equal ? arena_strndup(r->ar, a->set[i], (size_t)(equal - a->set[i])) : NULL;
        if (!equal) {
            return err_set(e, SIM_E_USAGE, "%s '%s': KEY=VALUE is wanted", a->flag[i], a->set[i]);
        }
        const char *where = arena_printf(r->ar, "%s: ", a->flag[i]);
        if (!key || !where) {
            return no_memory(e);
        }
        const struct opt_row *row = opt_find(run_options, key);
        if (i < a->n_weak && row && r->in_file[row - run_options]) {
            continue;
        }
        int rc = put(r, where, a->flag[i], key, equal + 1, e);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- plug-ins ---- */

/* Look behind wrappers such as check(...) around a policy. */
static int unwrap(const char **spec, struct arena *ar, struct err *e)
{
    const char *names[16];
    size_t n = 0;
    for (; policy_wrappers[n].name && n < 16; n++) {
        names[n] = policy_wrappers[n].name;
    }
    const char *wrapper = NULL;
    const char *inner = NULL;
    while (opt_spec_wrapper(*spec, &wrapper, &inner, ar)) {
        size_t i = 0;
        while (i < n && strcmp(wrapper, names[i]) != 0) {
            i++;
        }
        if (i == n) {
            return cli_not_known("policy wrapper", wrapper, names, n, "", SIM_E_CONFIG, e);
        }
        *spec = inner;
    }
    return 0;
}

static int check_library(const char *spec, const char *name, struct arena *ar, struct err *e)
{
    static const struct opt_row none[] = {OPT_END};
    const struct policy_ops *ops = NULL;
    if (policy_library_open(name, &ops, ar, e) < 0) {
        return e->code;
    }
    void *scratch = arena_alloc(ar, ops->state_size);
    if (!scratch) {
        return no_memory(e);
    }
    int rc = opt_spec_apply(spec, ops->options ? ops->options : none, scratch, ar, e);
    return rc < 0 ? err_wrap(e, "policy '%s': ", ops->name) : 0;
}

static int check_plugin(enum catalog_kind kind, const char *spec, struct arena *ar, struct err *e);

/* A policy that plans with output lengths names who tells them. */
static int check_predictor(const struct catalog_item *policy, const void *options, struct arena *ar,
                           struct err *e)
{
    const struct opt_row *row = policy->options ? opt_find(policy->options, "predictor") : NULL;
    const char *spec = row && row->type == OPT_STRING ? opt_text(row, options, ar) : "none";
    if (!spec) {
        return no_memory(e);
    }
    return strcmp(spec, "none") == 0 ? 0 : check_plugin(CATALOG_PREDICTOR, spec, ar, e);
}

static int check_plugin(enum catalog_kind kind, const char *spec, struct arena *ar, struct err *e)
{
    static const struct opt_row none[] = {OPT_END};
    int rc = kind == CATALOG_POLICY ? unwrap(&spec, ar, e) : 0;
    if (rc < 0) {
        return rc;
    }
    const char *name = opt_spec_name(spec, ar);
    if (!name) {
        return no_memory(e);
    }
    if (kind == CATALOG_POLICY && policy_is_library(name)) {
        return check_library(spec, name, ar, e);
    }
    if (strchr(name, '/')) {
        return 0; /* a file: looked at by whoever loads it */
    }
    const struct catalog_item *found = catalog_find(kind, name, NULL, ar);
    if (!found) {
        size_t n = 0;
        const char **names = catalog_names(kind, NULL, &n, ar);
        const char *hint = arena_printf(ar, " (steelyard list %s)", catalog_plural(kind));
        return cli_not_known(catalog_singular(kind), name, names, n, hint, SIM_E_CONFIG, e);
    }
    void *scratch = arena_alloc(ar, found->state_size + 1);
    if (!scratch) {
        return no_memory(e);
    }
    rc = opt_spec_apply(spec, found->options ? found->options : none, scratch, ar, e);
    if (rc == 0 && kind == CATALOG_POLICY) {
        rc = check_predictor(found, scratch, ar, e);
    }
    return rc < 0 ? err_wrap(e, "%s '%s': ", catalog_singular(kind), name) : 0;
}

static int check_plugins(struct resolver *r, struct err *e)
{
    const struct {
        enum catalog_kind kind;
        const char *spec, *key;
    } all[] = {
        {CATALOG_POLICY, r->config->policy, "policy"},
        {CATALOG_BATCHER, r->config->batcher, "batcher"},
        {CATALOG_ROUTER, r->config->router, "router"},
        {CATALOG_COST, r->config->cost, "cost"},
        {CATALOG_OFFLOAD, r->config->kv_offload, "kv.offload"},
        {CATALOG_EVICT, r->config->experts_evict, "experts.evict"},
        {CATALOG_PREFETCH, r->config->experts_prefetch, "experts.prefetch"},
        {CATALOG_MISS, r->config->experts_miss, "experts.miss"},
        {CATALOG_PLACEMENT, r->config->placement_policy, "placement.policy"},
        {CATALOG_ROUTES, r->config->experts_routes, "experts.routes"},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (all[i].spec && check_plugin(all[i].kind, all[i].spec, r->ar, e) < 0) {
            return err_wrap(e, "%s: ", r->origin[opt_find(run_options, all[i].key) - run_options]);
        }
    }
    return 0;
}

static int list_origins(struct resolver *r, struct config_origin **ret, size_t *ret_n,
                        struct err *e)
{
    size_t n = n_rows();
    struct config_origin *rows = arena_calloc(r->ar, n, sizeof(*rows));
    if (!rows) {
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct config_origin){.key = run_options[i].name,
                                         .value = opt_text(&run_options[i], r->config, r->ar),
                                         .origin = r->origin[i]};
    }
    *ret = rows;
    *ret_n = n;
    return 0;
}

int config_resolve(struct run_config *ret, const struct config_args *a,
                   struct config_origin **ret_origin, size_t *ret_n, struct arena *ar, struct err *e)
{
    struct resolver r = {.config = ret, .file = a->file, .ar = ar};
    size_t n = n_rows();
    memset(ret, 0, sizeof(*ret));
    r.origin = arena_calloc(ar, n, sizeof(*r.origin));
    r.in_file = arena_calloc(ar, n, sizeof(*r.in_file));
    if (!r.origin || !r.in_file) {
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        r.origin[i] = "default";
    }
    int rc = opt_defaults(run_options, ret, ar, e);
    rc = rc == 0 && a->file ? read_file(&r, e) : rc;
    rc = rc == 0 && !a->no_environment ? read_environment(&r, e) : rc;
    rc = rc == 0 ? read_flags(&r, a, e) : rc;
    rc = rc == 0 ? check_plugins(&r, e) : rc;
    return rc == 0 && ret_origin ? list_origins(&r, ret_origin, ret_n, e) : rc;
}

int config_check(const struct run_config *c, struct err *e)
{
    if (!c->trace || !*c->trace) {
        return err_set(e, SIM_E_CONFIG,
                       "no trace is named: use --trace FILE, or the key 'trace' in a config file");
    }
    if (c->kv_tokens > 0 && c->kv_blocks > 0) {
        return err_set(e, SIM_E_CONFIG,
                       "keys 'kv.tokens' and 'kv.blocks' both give the size of the KV pool; "
                       "keep one");
    }
    return 0;
}

/* ---- as JSON ---- */

static char *to_json(const struct run_config *c, bool pretty, const char *const *leave_out,
                     struct arena *ar)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f) {
        return NULL;
    }
    struct json_writer w;
    json_begin(&w, f, pretty);
    run_config_write(&w, c, leave_out);
    bool ok = fclose(f) == 0 && text;
    char *ret = ok ? arena_strndup(ar, text, len) : NULL;
    free(text);
    return ret;
}

char *config_to_json(const struct run_config *c, bool pretty, struct arena *ar)
{
    return to_json(c, pretty, NULL, ar);
}

const char *config_hash(const struct run_config *c, struct arena *ar)
{
    static const char *const leave_out[] = {"seed", "replication", "skip", "check", "label", NULL};
    const char *text = to_json(c, false, leave_out, ar);
    return text ? arena_printf(ar, "%016llx", (unsigned long long)XXH3_64bits(text, strlen(text)))
                : NULL;
}
