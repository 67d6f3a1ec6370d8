/* SPDX-License-Identifier: Apache-2.0
 *
 * What steelyard-probe would have written on a GPU that does not exist (tests/unit/probe_synth.h), so that
 * the way from its files to a verdict can be walked without one.
 *
 *   synth_probe probe [quick]      the file of measurements
 *   synth_probe replay PLAN.jsonl  the file of --replay: a plan of Llama-3.1-8B, executed */
#include "calibrate/probe/plan.h"
#include "tests/unit/probe_synth.h"

/* The probe's graphs: 1, 2, 4, 8, then every 8, up to 512. */
static int graph_of(const struct plan_step *s)
{
    int n = s->n_decode;
    if (s->n_chunk > 0 || n > 512) {
        return 0;
    }
    return n <= 2 ? n : n <= 4 ? 4 : (n + 7) / 8 * 8;
}

static double step_us(const struct plan_step *s, int graph)
{
    int n = graph ? graph : s->n_decode, sampled = n;
    double us = n > 0 ? 32 * synth_decode_us(32, 8, 128, n, (double)s->decode_tok) : 0;
    us += s->n_chunk > 0 ? 32 * SYNTH_ATTN_FLOOR : 0;
    for (int i = 0; i < s->n_chunk; i++) {
        us += 32 * (synth_chunk_us(32, 8, 128, s->chunks[i].n_tok, s->chunks[i].start_tok) - SYNTH_ATTN_FLOOR);
        sampled += s->chunks[i].last;
    }
    return us + synth_dense_us(n + (double)s->prefill_tok, sampled);
}

static int replay(const char *path)
{
    struct plan p;
    struct err e = {0};
    if (plan_read(&p, path, 0, &e) < 0) {
        fprintf(stderr, "%s\n", e.msg);
        return 3;
    }
    printf("{\"format\":\"steelyard-replay\",\"version\":1,\"complete\":true,\"device\":{\"name\":\"Synthetic H200\"},"
           "\"plan\":{\"model\":{\"name\":\"%s\"}},\n\"iterations\":[", p.model.name);
    for (int64_t i = 0; i < p.n_step; i++) {
        const struct plan_step *s = &p.steps[i];
        int graph = graph_of(s);
        char id[32];
        snprintf(id, sizeof(id), "step %lld", (long long)s->step);
        printf("%s\n{\"step\":%lld,\"chunks\":%d,\"prefill_tok\":%lld,\"n_decode\":%d,\"decode_tok\":%lld,\"graph\":%d,"
               "\"measured_s\":%.9g,\"simulated_s\":%.9g,\"n\":3}", i ? "," : "", (long long)s->step, s->n_chunk,
               (long long)s->prefill_tok, s->n_decode, (long long)s->decode_tok, graph,
               1e-6 * step_us(s, graph) * synth_noise(id, 0.01), 1e-9 * (double)s->dur_ns);
    }
    printf("]}\n");
    plan_release(&p);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "replay") == 0) {
        return replay(argv[2]);
    }
    if (argc < 2 || strcmp(argv[1], "probe") != 0) {
        fprintf(stderr, "usage: synth_probe probe [quick] | replay PLAN.jsonl\n");
        return 2;
    }
    char *text = synth_file(argc > 2, 1, NULL, 0, 0.02);
    if (!text) {
        return 4;
    }
    fputs(text, stdout);
    free(text);
    return 0;
}
