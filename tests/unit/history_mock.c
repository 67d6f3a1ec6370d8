/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "batch_mock.h"

extern const struct batcher_ops batcher_lightllm_slora, batcher_orca, batcher_sarathi, batcher_sglang;
extern const struct batcher_ops batcher_static, batcher_trtllm, batcher_vllm_v0, batcher_vllm_v1;

static const struct batcher_ops *find(const char *name)
{
    const struct batcher_ops *all[] = {&batcher_lightllm_slora, &batcher_orca, &batcher_sarathi,
                                       &batcher_sglang, &batcher_static, &batcher_trtllm,
                                       &batcher_vllm_v0, &batcher_vllm_v1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    fail_msg("no batcher %s", name);
    return NULL;
}

static void write_step(struct history *h, uint64_t at_ms, const struct mock_step *s)
{
    if (s->n_decoded + s->n_chunks + s->n_preempted == 0) {
        return;
    }
    history_add(h, "%llu: d%u", (unsigned long long)at_ms, s->n_decoded);
    for (uint32_t i = 0; i < s->n_chunks; i++) {
        history_add(h, " p%u:%u", s->chunk[i].r, s->chunk[i].tok);
    }
    if (s->n_preempted) {
        history_add(h, " x%u", s->n_preempted);
    }
    history_add(h, "\n");
}

struct history history_mock(const char *batcher, const char *options, const struct load *l)
{
    struct history h = {0};
    struct engine *m = mock_new(find(batcher), options, &(struct mock_setup){.kv_blk = l->kv_blk});
    size_t next = 0;
    for (int guard = 0; next < l->n || !mock_is_empty(m); guard++) {
        assert_true(guard < 200000);
        while (next < l->n && (l->row[next].at_ms <= mock_now_ms(m) || mock_is_empty(m))) {
            const struct load_row *a = &l->row[next++];
            struct mock_spec spec = {.prompt_tok = a->prompt_tok, .output_tok = a->output_tok,
                                     .max_output_tok = a->max_output_tok, .client = a->client,
                                     .prefix_id = a->prefix_id, .prefix_tok = a->prefix_tok};
            mock_add_at(m, spec, a->at_ms);
        }
        uint64_t at = mock_now_ms(m);
        write_step(&h, at, mock_step(m));
    }
    for (req_id r = 0; r < l->n; r++) {
        history_add(&h, "r%u %llu %llu\n", r, (unsigned long long)mock_first_ms(m, r),
                    (unsigned long long)mock_last_ms(m, r));
    }
    mock_free(m);
    return h;
}
