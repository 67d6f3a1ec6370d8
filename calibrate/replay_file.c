/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/replay_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)256 << 20)
#define STEPS_MAX  10000000

static int bad(const struct replay_file *f, size_t i, const char *key, const char *what, struct err *e)
{
    return err_set(e, SIM_E_DATA, "%s: iterations[%zu]: key '%s': %s", f->name, i, key, what);
}

static int read_step(struct replay_file *f, const struct json_in *v, size_t i, struct err *e)
{
    struct replay_step *s = &f->step[i];
    const struct {
        const char *key;
        int64_t *to;
    } numbers[] = {{"step", &s->step},         {"chunks", &s->chunks},         {"prefill_tok", &s->prefill_tok},
                   {"n_decode", &s->n_decode}, {"decode_tok", &s->decode_tok}, {"graph", &s->graph}};
    for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
        if (!json_in_int(json_in_get(v, numbers[j].key), 0, (int64_t)1 << 31, numbers[j].to)) {
            return bad(f, i, numbers[j].key, "a whole number from 0 is expected", e);
        }
    }
    s->measured_s = json_in_number(json_in_get(v, "measured_s"), (double)NAN);
    s->simulated_s = json_in_number(json_in_get(v, "simulated_s"), (double)NAN);
    if (!(s->measured_s > 0 && s->measured_s < 1e6)) {
        return bad(f, i, "measured_s", "a time above 0 is expected", e);
    }
    if (!(s->simulated_s >= 0 && s->simulated_s < 1e6)) {
        return bad(f, i, "simulated_s", "a time is expected", e);
    }
    return 0;
}

static int read_steps(struct replay_file *f, struct arena *a, struct err *e)
{
    const struct json_in *list = json_in_get(f->doc.root, "iterations");
    if (!list || list->type != JSON_IN_ARRAY || list->n == 0 || list->n > STEPS_MAX) {
        return err_set(e, SIM_E_DATA, "%s: key 'iterations': no steps were executed", f->name);
    }
    f->step = arena_calloc(a, list->n, sizeof(*f->step));
    if (!f->step) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        if (read_step(f, v, f->n, e) < 0) {
            return e->code;
        }
        f->n++;
    }
    return 0;
}

/* A list of words has one that begins so. */
static bool has_word(const struct json_in *list, const char *word)
{
    const struct json_in *v = list && list->type == JSON_IN_ARRAY ? list->first : NULL;
    while (v && strncmp(json_in_string(v, ""), word, strlen(word)) != 0) {
        v = v->next;
    }
    return v != NULL;
}

static int read_all(struct replay_file *f, struct arena *a, struct err *e)
{
    const struct json_in *root = f->doc.root, *complete = json_in_get(root, "complete");
    if (strcmp(json_in_string(json_in_get(root, "format"), ""), "steelyard-replay") != 0) {
        return err_set(e, SIM_E_DATA, "%s: key 'format': is not \"steelyard-replay\": not a file of steelyard-probe "
                                      "--replay", f->name);
    }
    f->complete = !complete || (complete->type == JSON_IN_BOOL && complete->number > 0);
    f->device = json_in_string(json_in_get(json_in_get(root, "device"), "name"), "a GPU without a name");
    f->model = json_in_string(json_in_get(json_in_get(json_in_get(root, "plan"), "model"), "name"), "");
    f->tp = json_in_number(json_in_get(json_in_get(root, "plan"), "tp"), (double)NAN);
    f->limited = has_word(json_in_get(root, "command"), "--limit");
    return read_steps(f, a, e);
}

int replay_file_parse(struct replay_file *ret, const char *text, size_t len, const char *name, struct arena *a,
                      struct err *e)
{
    *ret = (struct replay_file){.name = name};
    if (json_in_parse(&ret->doc, text, len, name, 1, e) < 0) {
        return e->code;
    }
    if (read_all(ret, a, e) < 0) {
        replay_file_release(ret);
        return e->code;
    }
    return 0;
}

int replay_file_load(struct replay_file *ret, const char *path, struct arena *a, struct err *e)
{
    size_t len;
    *ret = (struct replay_file){.name = path};
    char *text = file_read(path, FILE_LIMIT, &len, e);
    int rc = text ? replay_file_parse(ret, text, len, path, a, e) : e->code;
    free(text);
    return rc;
}

void replay_file_release(struct replay_file *f)
{
    json_in_release(&f->doc);
}
