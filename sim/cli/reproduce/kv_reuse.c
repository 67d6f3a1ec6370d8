/* SPDX-License-Identifier: Apache-2.0
 *
 * KV that is kept for later: CacheGen's choice of a level per chunk, vAttention's pages. These are
 * rules with one right answer; the vectors were worked out from the published rules apart from this
 * program (serving.md, regression vectors). */
#include "sim/cli/reproduce/reproduce.h"
#include "sim/kv/pages.h"
#include "sim/kv/stream.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define EXACT 1e-9

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* The first bandwidth trace of the repository; sizes in MB by level, a goal of 2 s, 0.2 s to
 * compute a chunk. */
static int cachegen(struct repro *p, struct err *e)
{
    static const double gbit[] = {0.566, 5.026, 2.219, 0.650, 2.751, 3.738, 7.542, 2.705, 0.828, 6.840};
    static const double bytes[STREAM_LEVELS + 1] = {0, 35e6, 45e6, 60e6};
    static const int want[] = {0, 3, 2, 0, 3, 3, 3, 3, 0, 3};
    const struct stream_goal goal = {.ttft_s = 2, .chunks = COUNT(gbit), .recompute_s = 0.2};
    double rate[COUNT(gbit)], ttft;
    int level[COUNT(gbit)];
    size_t same = 0;

    for (size_t i = 0; i < COUNT(gbit); i++) {
        rate[i] = gbit[i] * 1e9 / 8;
    }
    ttft = stream_play(&goal, bytes, rate, level);
    for (size_t i = 0; i < COUNT(gbit); i++) {
        same += level[i] == want[i];
    }
    if (repro_number(p, "chunks with the level of the script, of 10", "1", 10, (double)same, EXACT, e) < 0) {
        return e->code;
    }
    return repro_number(p, "time to the last chunk", "s", 1.4719, ttft, 5e-5, e);
}

/* Llama-3-8B on one GPU: 32 layers, keys of a token and layer 2 KiB. */
static int vattention(struct repro *p, struct err *e)
{
    static const struct {
        const char *name;
        double page_byte, tok;
    } page[] = {{"64 KiB", 65536, 32}, {"256 KiB", 262144, 128}, {"2 MiB", 2097152, 1024}};

    for (size_t i = 0; i < COUNT(page); i++) {
        const struct pages_shape s = {.layers = 32, .tensor_byte_per_tok = 2048, .page_byte = page[i].page_byte};
        const struct {
            const char *what, *unit;
            double published, ours;
        } row[] = {
            {"tokens per page", "tok", page[i].tok, (double)pages_tok(&s)},
            {"mapped for 1000 tokens", "MiB", 128, (double)pages_held(&s, 1000) * s.page_byte / 1048576},
            {"pages for token 1025", "1", 64, (double)pages_grown(&s, 1024, 1025)},
        };

        for (size_t k = 0; k < COUNT(row); k++) {
            const char *name = arena_printf(&p->ar, "pages of %s: %s", page[i].name, row[k].what);

            if (!name) {
                return no_memory(e);
            }
            if (repro_number(p, name, row[k].unit, row[k].published, row[k].ours, EXACT, e) < 0) {
                return e->code;
            }
        }
    }
    return 0;
}

const struct reproduction reproductions_kv_reuse[] = {
    {"cachegen", "CacheGen (SIGCOMM'24)", "level of each chunk on a varying network", cachegen},
    {"vattention", "vAttention (ASPLOS'25)", "pages of a growing sequence", vattention},
    {NULL, NULL, NULL, NULL},
};
