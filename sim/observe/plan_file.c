/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/plan_file.h"

#include <errno.h>
#include <string.h>

#include "sim/core/json.h"

static void write_model(struct json_writer *w, const struct llm_shape *m)
{
    json_key(w, "model");
    if (!m) {
        json_null(w);
        return;
    }
    json_object(w);
    json_kv_string(w, "name", m->name);
    json_kv_int(w, "layers", m->layers);
    json_kv_int(w, "hidden", m->hidden);
    json_kv_int(w, "heads", m->heads);
    json_kv_int(w, "kv_heads", m->kv_heads);
    json_kv_int(w, "head_dim", m->head_dim);
    json_kv_int(w, "ffn", m->ffn);
    json_kv_int(w, "ffn_matrices", m->ffn_matrices);
    json_kv_int(w, "vocab", m->vocab);
    json_kv_int(w, "experts", m->experts);
    json_kv_int(w, "kv_lora_rank", m->kv_lora_rank);
    json_kv_int(w, "sliding_window", m->sliding_window_tok);
    json_kv_bool(w, "tied_embedding", m->tied_embedding);
    json_end(w);
}

static void write_header(FILE *out, const struct run_config *c, const struct llm_shape *m,
                         const struct engine_config *ec)
{
    struct json_writer w;

    json_begin(&w, out, false);
    json_object(&w);
    json_kv_string(&w, "format", "steelyard-plan");
    json_kv_int(&w, "version", 1);
    write_model(&w, m);
    json_kv_string(&w, "gpu", c->gpu);
    json_kv_int(&w, "tp", c->tp);
    json_kv_int(&w, "block_tok", ec->kv.block_tok);
    json_kv_int(&w, "kv_blocks", (int64_t)ec->kv.blocks);
    json_kv_string(&w, "batcher", c->batcher);
    json_kv_string(&w, "policy", c->policy);
    json_kv_string(&w, "cost", c->cost);
    json_kv_string(&w, "trace", c->trace);
    json_kv_int(&w, "seed", c->seed);
    json_kv_string(&w, "program", steelyard_version());
    json_end(&w);
    fputc('\n', out);
}

int plan_file_open(struct plan_file *f, const char *path, const struct run_config *c,
                   const struct llm_shape *llm, const struct engine_config *ec, struct err *e)
{
    *f = (struct plan_file){.path = path, .out = fopen(path, "w")};
    if (!f->out) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    write_header(f->out, c, llm, ec);
    return 0;
}

static void write_decodes(FILE *out, const struct engine *e, const struct step *s)
{
    const char *comma = "";

    fputs(",\"decode\":[", out);
    for (req_id r = e->view.running_head; s->decode && r != REQ_NONE; r = e->reqs[r].q_next) {
        uint64_t ctx = step_context(e, s, r);

        if (ctx > 0) {
            fprintf(out, "%s%llu", comma, (unsigned long long)ctx);
            comma = ",";
        }
    }
    fprintf(out, "],\"decode_tok\":%llu", (unsigned long long)s->shape.decode_ctx_tok);
}

static void write_chunks(FILE *out, const struct step *s)
{
    fputs(",\"chunks\":[", out);
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        fprintf(out, "%s[%u,%u,%d]", i > 0 ? "," : "", s->chunks[i].start_tok, s->chunks[i].n_tok,
                s->chunks[i].last);
    }
    fputc(']', out);
}

void plan_file_step(void *plan_file, const struct engine *e, const struct step *s)
{
    struct plan_file *f = plan_file;

    fprintf(f->out, "{\"step\":%llu,\"start_ns\":%lld,\"dur_ns\":%lld",
            (unsigned long long)f->steps++, (long long)e->cur_start_ns,
            (long long)(e->cur_end_ns - e->cur_start_ns));
    write_chunks(f->out, s);
    write_decodes(f->out, e, s);
    if (s->out_bytes > 0) {
        fprintf(f->out, ",\"swap_out_byte\":%.0f", s->out_bytes);
    }
    if (s->in_bytes > 0) {
        fprintf(f->out, ",\"swap_in_byte\":%.0f", s->in_bytes);
    }
    fputs("}\n", f->out);
}

int plan_file_close(struct plan_file *f, struct err *e)
{
    bool failed;

    if (!f->out) {
        return 0;
    }
    failed = ferror(f->out) != 0;
    failed = fclose(f->out) != 0 || failed;
    f->out = NULL;
    return failed ? err_set(e, SIM_E_IO, "%s: not all of the plan was written", f->path) : 0;
}
