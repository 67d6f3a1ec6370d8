/* SPDX-License-Identifier: Apache-2.0
 *
 * KV that leaves the GPU and comes back: block groups, the store, offload policies, and whole runs
 * against times worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "policies/offload.h"
#include "sim/core/rng.h"
#include "sim/engine/kv_internal.h"
#include "sim/fabric/fabric.h"
#include "sim/fabric/tier.h"
#include "sim/kv/store.h"
#include "sim/run.h"

/* ---- block groups ---- */

static struct kv *groups_new(struct arena *a, uint64_t blocks, uint32_t group)
{
    struct kv_config c = {.blocks = blocks, .block_tok = 16, .group_blk = group};
    struct err e = {0};
    struct kv *kv = kv_new(&c, a, &e);

    assert_non_null(kv);
    return kv;
}

/* Two sequences in eight blocks: the first takes all as its group and is robbed of half of what it has
 * not filled, then of the last block that it has not filled. */
static void test_groups_by_hand(void **state)
{
    struct arena a = {0};
    struct err e = {0};
    struct kv *kv = groups_new(&a, 8, 60);
    struct kv_seq s = {0}, t = {0};

    (void)state;
    assert_int_equal(kv_take(kv, &s, 0, 32, 32), 0);
    assert_int_equal(kv_take(kv, &t, 0, 32, 32), 0); /* s: [0,5) of which 2, t: [5,8) of which 2 */
    assert_int_equal(s.group_first->count, 5);
    assert_int_equal(t.group_first->start, 5);
    assert_int_equal(kv_extend(kv, &s, 64, 64), 0);
    assert_int_equal(kv_extend(kv, &t, 64, 64), 0);
    assert_int_equal(kv_extents(kv, &s, 0, 4), 1);
    assert_int_equal(kv_extents(kv, &t, 0, 4), 2); /* [5,8) and [4,5) */
    assert_int_equal(kv_extents(kv, &t, 0, 3), 1);
    assert_int_equal(kv_extents(kv, &t, 3, 4), 1);
    assert_int_equal(kv_free(kv), 0);
    assert_int_equal(kv_check(kv, &e), 0);
    kv_give(kv, &s, 0);
    kv_give(kv, &t, 0);
    assert_int_equal(kv->groups->n, 1); /* melted into one free extent */
    assert_int_equal(kv_check(kv, &e), 0);
    kv_release(kv);
    arena_release(&a);
}

/* Groups keep the count of extents low as long as there is room, and nothing is lost when there is not. */
static void test_groups_hold(void **state)
{
    struct arena a = {0};
    struct err e = {0};
    struct rng_stream s = rng_stream(1, 0, "groups");
    struct kv *kv = groups_new(&a, 400, 16);
    struct kv_seq seq[24] = {0};
    uint64_t most = 0;

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        struct kv_seq *q = &seq[rng_range(s, i, 0, 0, 23)];
        uint64_t grow = rng_range(s, i, 1, 1, 12);

        if (q->n_blk > 0 && rng_range(s, i, 2, 0, 3) == 0) {
            kv_give(kv, q, 0);
        } else if (grow <= kv_free(kv)) {
            uint64_t tok = (q->n_blk + grow) * 16;

            assert_int_equal(q->n_blk ? kv_extend(kv, q, tok, tok) : kv_take(kv, q, 0, tok, tok), 0);
        }
        uint32_t n = kv_extents(kv, q, 0, q->n_blk);

        assert_true(n <= q->n_blk && (n > 0) == (q->n_blk > 0));
        most = n > most ? n : most;
        assert_int_equal(kv_check(kv, &e), 0);
    }
    assert_true(most > 1);
    kv_release(kv);
    arena_release(&a);
}

/* ---- the store ---- */

static void test_store_loses_the_cheapest(void **state)
{
    static const double bytes[KV_TIERS] = {100, 50, 0};
    struct kv_store s;
    struct err e = {0};

    (void)state;
    assert_int_equal(kv_store_init(&s, bytes), 0);
    struct kept *waits = kv_store_add(&s, 1), *idle = kv_store_add(&s, 2), *old = kv_store_add(&s, 3);
    struct kept *copy = kv_store_add(&s, 4);

    assert_true(kv_store_resize(&s, waits, 30) && kv_store_resize(&s, idle, 20));
    assert_true(kv_store_resize(&s, old, 20) && kv_store_resize(&s, copy, 30));
    idle->use = old->use = KEPT_IDLE;
    copy->use = KEPT_REDUNDANT;
    kv_store_touch(&s, idle); /* `old` was used longest ago now */
    struct kept *more = kv_store_add(&s, 5);

    assert_true(kv_store_resize(&s, more, 30)); /* for the redundant copy */
    assert_null(kv_store_find(&s, 4));
    assert_int_equal(s.lost, 0);
    assert_true(kv_store_resize(&s, more, 50)); /* for the older session */
    assert_null(kv_store_find(&s, 3));
    assert_int_equal(s.lost, 1);
    assert_true(fabs(kv_store_room(&s, more) - 70) < 1e-9); /* all but what waits */
    assert_false(kv_store_resize(&s, more, 71));
    assert_ptr_equal(kv_store_find(&s, 2), idle); /* and nobody went for that */
    kv_store_begin(idle); /* on its way: it cannot go */
    assert_false(kv_store_resize(&s, more, 60));
    kv_store_end(&s, idle);
    assert_true(kv_store_move(&s, idle, KV_NVME));
    assert_true(fabs(s.pool[KV_NVME].used_byte - 20) < 1e-9 && kv_store_resize(&s, more, 70));
    kv_store_rekey(&s, more, 1); /* takes the place of `waits` */
    assert_ptr_equal(kv_store_find(&s, 1), more);
    assert_int_equal(kv_store_check(&s, &e), 0);
    kv_store_release(&s);
}

/* ---- offload by cost ---- */

static double linear_out(const void *ctx, uint32_t from, uint32_t to)
{
    return ((const double *)ctx)[0] * (to - from);
}

static double linear_in(const void *ctx, uint32_t from, uint32_t to)
{
    return ((const double *)ctx)[1] * (to - from);
}

/* A floor, then linear, then quadratic in the position: as a prefill is. */
static double bent_compute(const void *ctx, uint32_t from, uint32_t to)
{
    const double *c = ctx;
    double n = to - from;

    return fmax(c[2], c[3] * n) + c[4] * ((double)to * to - (double)from * from);
}

static void test_by_cost_is_least(void **state)
{
    const struct offload_ops *ops = offload_find("by-cost");
    struct rng_stream s = rng_stream(7, 0, "evict");
    struct arena a = {0};
    struct err e = {0};
    void *st = arena_alloc(&a, ops->state_size);
    bool all = false, none = false, part = false;

    (void)state;
    assert_int_equal(opt_defaults(ops->options, st, &a, &e), 0);
    assert_int_equal(opt_set_by_name(ops->options, st, "", "splits", "125", &a, &e), 0);
    for (uint64_t i = 0; i < 300; i++) {
        double c[5];
        uint32_t best = 0;

        for (uint64_t k = 0; k < 5; k++) {
            c[k] = rng_uniform(s, i, k);
        }
        c[2] *= 500;
        c[4] *= 3e-4;
        struct offload_view v = {.content_tok = 2000, .room_tok = i % 3 ? 4000 : 800, .block_tok = 16,
                               .out_s = linear_out, .in_s = linear_in, .compute_s = bent_compute, .ctx = c};
        uint32_t most = v.room_tok < 2000 ? v.room_tok : 2000, got = ops->keep(st, &v);
        double least = bent_compute(c, 0, 2000);

        for (uint32_t k = 16; k <= most; k += 16) {
            double cost = (c[0] + c[1]) * k + (k < 2000 ? bent_compute(c, k, 2000) : 0);

            if (cost < least - 1e-9) {
                least = cost;
                best = k;
            }
        }
        double ours = (c[0] + c[1]) * got + (got < 2000 ? bent_compute(c, got, 2000) : 0);

        /* 125 places on 2000 tokens are every block; on 800 they are all blocks too. */
        assert_true(fabs(ours - least) < 1e-6 * least);
        all |= got == 2000;
        none |= got == 0;
        part |= best > 0 && got > 0 && got < 2000;
        assert_true(got <= v.room_tok);
    }
    assert_true(all && none && part);
    arena_release(&a);
}

/* ---- whole runs, by hand ---- */

#define MS 1000000.0

struct outcome {
    sim_ns finish[8];
    double metric[8];
};

static int keep_row(void *ctx, const struct request_row *r, struct err *e)
{
    (void)e;
    ((struct outcome *)ctx)->finish[r->serial] = r->finish_ns;
    return 0;
}

/* 10 ms for a step, whatever is in it; blocks of 16 tokens are 2 MiB, 64 copies of 10 us each. */
static struct outcome play(const char *csv, const char *const *set, const char *const *metric)
{
    char path[] = "/tmp/steelyard-swap-XXXXXX";
    int fd = mkstemp(path);
    struct arena a = {0};
    struct err e = {0};
    struct run_config c;
    struct run_result r;
    struct outcome o = {{0}, {0}};
    struct run_hooks h = {.request = keep_row, .ctx = &o};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, csv, strlen(csv)), (ssize_t)strlen(csv));
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.model = "llama-3-8b";
    c.gpu = "a10g";
    c.data_dir = getenv("STEELYARD_DATA");
    c.cost = "linear{set=custom,prefill_a=10,decode_a=10}";
    c.batcher = "vllm-v0{version=0.3,watermark=0}";
    c.kv_tokens = 128;
    c.pcie_copy_s = 10e-6;
    c.kv_offload = "swap";
    c.check = true;
    for (; *set; set += 2) {
        assert_int_equal(opt_set_by_name(run_options, &c, "", set[0], set[1], &a, &e), 0);
    }
    if (run_execute(&c, &h, &r, &a, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    for (int i = 0; metric && metric[i]; i++) {
        assert_non_null(run_metric(&r, metric[i]));
        o.metric[i] = run_metric(&r, metric[i])->value;
    }
    unlink(path);
    arena_release(&a);
    return o;
}

static double copy_ns(uint32_t blocks, uint32_t stretches, bool in)
{
    struct pcie_config pc = {.gen = 4, .lanes = 16, .max_payload_byte = 256, .read_request_byte = 512};
    double bw = in ? pcie_read_bytes_per_s(&pc) : pcie_write_bytes_per_s(&pc);

    return stretches * 64 * 10e3 + blocks * 2097152.0 / bw * 1e9;
}

static void assert_near(sim_ns got, double want)
{
    if (fabs((double)got - want) > 3) {
        fail_msg("%lld ns, but by hand %.1f", (long long)got, want);
    }
}

/* Two requests of 32 and 40 tokens in 8 blocks. After 17 decode steps both hold 49 tokens, 4 blocks;
 * vLLM V0 wants a free block for each token, so the younger goes, with 49 tokens in 4 blocks and 18 of its
 * tokens out. The older ends after 40 steps; then the younger comes back, gets its 19th token from a step
 * that computes one position, and 21 more. */
static const char two[] = "time_s,prompt_tokens,output_tokens\n0,32,40\n0,32,40\n";

static void test_swap_before_the_step(void **state)
{
    static const char *const none[] = {NULL}, *const groups[] = {"kv.groups", "60", NULL};
    static const char *const metric[] = {"kv_copy_calls", "kv_blocks_out", "kv_wait_share", NULL};
    struct outcome o = play(two, none, metric);
    double first = 400 * MS + copy_ns(4, 4, false);

    (void)state;
    assert_near(o.finish[0], first);
    assert_near(o.finish[1], first + copy_ns(4, 4, true) + 220 * MS);
    assert_true(fabs(o.metric[0] - 512) < 0.5 && fabs(o.metric[1] - 4) < 0.5);
    assert_true(fabs(o.metric[2] - (copy_ns(4, 4, false) + copy_ns(4, 4, true)) / (double)o.finish[1]) < 1e-6);

    /* In groups: out of two stretches, see test_groups_by_hand, into one. */
    o = play(two, groups, metric);
    first = 400 * MS + copy_ns(4, 2, false);
    assert_near(o.finish[0], first);
    assert_near(o.finish[1], first + copy_ns(4, 1, true) + 220 * MS);
    assert_true(fabs(o.metric[0] - 3 * 64) < 0.5);
}

static void test_swap_beside_the_steps(void **state)
{
    static const char *const set[] = {"kv.swap", "async", NULL};
    struct outcome o = play(two, set, NULL);

    (void)state;
    assert_near(o.finish[0], 400 * MS); /* does not wait: four other blocks are free */
    assert_near(o.finish[1], 400 * MS + copy_ns(4, 4, true) + 220 * MS);
}

/* A third request needs blocks that are still being copied out. It arrives in step 18 (which starts at
 * 180 ms); the copy out starts with that step and takes 2.9 ms with copies of 10 us, but 25.6 ms with
 * copies of 100 us. Then its prompt, planned for 190 ms, waits for the copy to end. */
static void test_conflict_waits(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens\n0,32,40\n0,32,40\n0.185,48,1\n";
    static const char *const set[] = {"kv.swap", "async", "pcie.copy", "100us", "policy", "sjf", NULL};
    static const char *const metric[] = {"kv_conflict_wait", NULL};
    struct outcome o = play(csv, set, metric);
    double end = 180 * MS + copy_ns(4, 40, false);

    (void)state;
    if (o.finish[2] < 250 * 1000000LL) { /* the policy let the small one in first */
        assert_near(o.finish[2], end + 10 * MS);
        assert_true(fabs(o.metric[0] - (end - 190 * MS) / 1e9) < 1e-8);
    } else {
        fail_msg("the third request was not let in before the second came back");
    }
}

static void test_recompute_and_sameness(void **state)
{
    static const char *const set[] = {"kv.offload", "recompute", "batcher",
                                      "vllm-v0{version=0.3,watermark=0.13}", NULL}; /* one block of eight */
    static const char *const metric[] = {"kv_recomputed", "pcie_bytes_up", NULL};
    struct outcome o = play(two, set, metric);

    (void)state;
    /* Computed again in one prompt step, which gives the 19th token: the times of the steps are equal. */
    assert_near(o.finish[0], 400 * MS);
    assert_near(o.finish[1], 620 * MS);
    assert_true(fabs(o.metric[0] - 1) < 0.5 && o.metric[1] < 0.5);
}

/* A conversation: 32 tokens answered by 17, so 48 positions have KV, 3 blocks; 64 tokens answered by 1, the
 * first 48 of which are found; all of 4 blocks are new to the host, or only the fourth. */
static void test_session_comes_back(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                              "0,32,17,1,0,\n1,64,1,1,1,1\n";
    static const char *const again[] = {"load.sessions", "on", "kv.sessions", "on", NULL};
    static const char *const reuse[] = {"load.sessions", "on", "kv.sessions", "on", "kv.reuse", "on", NULL};
    static const char *const metric[] = {"kv_found_tokens", "kv_blocks_out", "pcie_bytes_down",
                                         "kv_host_peak", NULL};
    struct outcome o = play(csv, again, metric);

    (void)state;
    assert_near(o.finish[0], 170 * MS);
    assert_near(o.finish[1], 1170 * MS + copy_ns(3, 3, true) + 10 * MS);
    assert_true(fabs(o.metric[0] - 48) < 0.5 && fabs(o.metric[1] - 7) < 0.5);
    assert_true(fabs(o.metric[2] - 3 * 2097152) < 0.5 && fabs(o.metric[3] - 4 * 2097152) < 0.5);
    o = play(csv, reuse, metric);
    assert_near(o.finish[1], 1170 * MS + copy_ns(3, 3, true) + 10 * MS);
    assert_true(fabs(o.metric[1] - 4) < 0.5);
}

/* The same conversation, with a drive below: with a demotion share of 0 the three blocks sink as soon as they
 * are in host memory, and the second turn loads them from the drive, through the GPU's link. */
static void test_session_sinks(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                              "0,32,17,1,0,\n1,64,1,1,1,1\n";
    static const char *const set[] = {"load.sessions", "on", "kv.sessions", "on", "kv.swap", "async",
                                      "kv.demote", "0", "kv.nvme", "1GB", NULL};
    static const char *const metric[] = {"kv_found_tokens", "kv_bytes_to_nvme", "kv_bytes_from_nvme", NULL};
    struct outcome o = play(csv, set, metric);
    double load = 3 * 64 * 10e3 + 381565 + 3 * 2097152 / 6681444000.0 * 1e9;

    (void)state;
    assert_near(o.finish[0], 170 * MS);
    assert_near(o.finish[1], 1170 * MS + load + 10 * MS);
    assert_true(fabs(o.metric[0] - 48) < 0.5 && fabs(o.metric[1] - 6291456) < 0.5);
    assert_true(fabs(o.metric[2] - 6291456) < 0.5);
}

/* 96 tokens in the remote store (12 MiB), in chunks of 40, 40 and 16; a profile with 100 MB/s and no latency.
 * At once the finest of levels that are a half, a quarter and an eighth, 40 tokens are 2.62, 1.31 and 0.66 MB.
 * With 60 ms for three chunks, 20 ms each, the link's 100 MB/s allow level 1 (13.1 ms of level 2 do, too, and
 * 26.2 of level 3 do not): level 2 it is. It took 13.1 ms and a call of 10 us, so that 99.9 MB/s are seen, and the
 * second chunk comes alike; the third, 16 tokens, is 10.5 ms at level 3. */
static void test_stream(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                              "0,80,17,1,0,\n1,112,1,1,1,9\n";
    char path[] = "/tmp/steelyard-tier-XXXXXX.json";
    int fd = mkstemps(path, 5);
    static const char profile[] = "{\"full_name\": \"x\", \"read_bytes_per_s\": 1e8, \"write_bytes_per_s\": 1e8}";
    const char *const set[] = {"load.sessions", "on", "kv.sessions", "on", "kv.swap", "async", "kv.demote", "0",
                               "kv.remote", "1GB", "kv.remote_tier", path, "kv.stream", "40", "kv.stream_ttft",
                               "60ms", "kv.stream_levels", "0.125;0.25;0.5", NULL};
    const char *const slow[] = {"load.sessions", "on", "kv.sessions", "on", "kv.swap", "async", "kv.demote", "0",
                                "kv.remote", "1GB", "kv.remote_tier", path, "kv.stream", "40", "kv.stream_ttft",
                                "12ms", "kv.stream_levels", "0.125;0.25;0.5", NULL};
    static const char *const metric[] = {"kv_chunks_fine", "kv_chunks_medium", "kv_bytes_from_remote",
                                         "kv_found_tokens", "kv_bytes_to_remote", "kv_streams_cut", NULL};
    const double tok = 131072;

    (void)state;
    assert_true(fd >= 0 && write(fd, profile, sizeof(profile) - 1) > 0);
    close(fd);
    struct outcome o = play(csv, set, metric);
    double load = 3 * 10e3 + (80 * 0.25 + 16 * 0.5) * tok / 1e8 * 1e9;

    assert_near(o.finish[0], 170 * MS);
    assert_near(o.finish[1], 9170 * MS + load + 10 * MS);
    assert_true(fabs(o.metric[0] - 1) < 0.5 && fabs(o.metric[1] - 2) < 0.5);
    assert_true(fabs(o.metric[2] - (80 * 0.25 + 16 * 0.5) * tok) < 1 && fabs(o.metric[3] - 96) < 0.5);
    assert_true(fabs(o.metric[4] - 96 * 0.875 * tok) < 1); /* all three levels */
    /* 4 ms a chunk: no level of 40 tokens does that, so all is computed, in a step as long as any other. */
    o = play(csv, slow, metric);
    assert_near(o.finish[1], 9170 * MS + 10e3 + 10 * MS);
    assert_true(fabs(o.metric[5] - 1) < 0.5 && o.metric[3] < 0.5 && o.metric[2] < 0.5);
    unlink(path);
}

/* ---- KV that stays for programs ---- */

/* The conversation again, 1 ms more for each prompt token. Within two seconds the 48 tokens are still there and
 * 16 are computed; after half a second all 64 are; and what goes then is copied to the host, if that is
 * wanted, while nothing runs. */
static void test_pins(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                              "0,32,17,1,0,\n1,64,1,1,1,1\n";
    static const char cost[] = "linear{set=custom,prefill_a=10,prefill_b=1,decode_a=10}";
    static const char *const stays[] = {"load.sessions", "on", "kv.pin", "fixed", "cost", cost, NULL};
    static const char *const goes[] = {"load.sessions", "on", "kv.pin", "fixed", "kv.pin_time", "0.5s", "cost",
                                       cost, NULL};
    static const char *const sinks[] = {"load.sessions", "on", "kv.pin", "fixed", "kv.pin_time", "0.5s", "cost",
                                        cost, "kv.sessions", "on", NULL};
    static const char *const metric[] = {"kv_pins", "kv_pins_found", "kv_pins_expired", "kv_pinned_share", NULL};
    struct outcome o = play(csv, stays, metric);
    double first = 42 * MS + 160 * MS;

    (void)state;
    assert_near(o.finish[0], first);
    assert_near(o.finish[1], first + 1000 * MS + 26 * MS);
    /* One pin only: the last turn's KV goes at once. Three of eight blocks for one second. */
    assert_true(fabs(o.metric[0] - 1) < 0.5 && fabs(o.metric[1] - 1) < 0.5 && o.metric[2] < 0.5);
    assert_true(fabs(o.metric[3] - 3 / 8.0 * 1000 * MS / (double)o.finish[1]) < 1e-6);
    o = play(csv, goes, metric);
    assert_near(o.finish[1], first + 1000 * MS + 74 * MS);
    assert_true(o.metric[1] < 0.5 && fabs(o.metric[2] - 1) < 0.5);
    o = play(csv, sinks, metric);
    assert_near(o.finish[1], first + 1000 * MS + copy_ns(3, 3, true) + 26 * MS);
}

/* A program of 80 tokens is pinned in 6 of 8 blocks when a request of 48 comes. It does not fit, but then
 * nothing runs, so the pin goes. */
static void test_pin_gives_way(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                              "0,80,2,1,0,\n0.5,48,1,0,0,\n9,96,1,1,1,9\n";
    static const char *const set[] = {"load.sessions", "on", "kv.pin", "fixed", "kv.pin_time", "100s", NULL};
    static const char *const metric[] = {"kv_pins_broken", NULL};
    struct outcome o = play(csv, set, metric);

    (void)state;
    assert_near(o.finish[1], 510 * MS);
    assert_true(fabs(o.metric[0] - 1) < 0.5);
}

/* Blocks of 32 tokens are 64 pages of 64 KiB, 10 us each. 32 tokens answered by 40 take three blocks; a second
 * request of 32 a fourth time one. All are waited for, or only what the step before leaves uncovered (the
 * first, since nothing runs before it), and of those only the ones that were not mapped already. */
static void test_pages_are_mapped(void **state)
{
    static const char csv[] = "time_s,prompt_tokens,output_tokens\n0,32,40\n1,32,1\n";
    static const char *const ahead[] = {"batcher", "vllm-v0{version=0.3,watermark=0,block_size=32}", "kv.page",
                                        "64KiB", "kv.page_map", "10us", NULL};
    static const char *const late[] = {"batcher", "vllm-v0{version=0.3,watermark=0,block_size=32}", "kv.page",
                                       "64KiB", "kv.page_map", "10us", "kv.page_ahead", "off", NULL};
    static const char *const drop[] = {"batcher", "vllm-v0{version=0.3,watermark=0,block_size=32}", "kv.page",
                                       "64KiB", "kv.page_map", "10us", "kv.page_ahead", "off", "kv.page_keep",
                                       "off", NULL};
    static const char *const metric[] = {"kv_pages_mapped", "kv_map_wait", NULL};
    struct outcome o = play(csv, ahead, metric);

    (void)state;
    assert_near(o.finish[0], 400.64 * MS);
    assert_near(o.finish[1], 1010 * MS);
    assert_true(fabs(o.metric[0] - 192) < 0.5 && fabs(o.metric[1] - 0.64e-3) < 1e-9);
    o = play(csv, late, metric);
    assert_near(o.finish[0], 401.92 * MS);
    assert_near(o.finish[1], 1010 * MS);
    o = play(csv, drop, metric);
    assert_near(o.finish[0], 401.92 * MS);
    assert_near(o.finish[1], 1010.64 * MS);
    assert_true(fabs(o.metric[0] - 256) < 0.5);
}

/* ---- bundled tiers against the measurements ---- */

struct job {
    char op[8];
    double block, jobs, mb_s, mean_ms;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static size_t read_jobs(const char *path, const char *tier, struct job *ret, size_t most)
{
    FILE *f = fopen(path, "r");
    char line[512], name[64], op[16], mode[16], engine[16];
    size_t n = 0;

    while (f && n < most && fgets(line, sizeof(line), f)) {
        struct job j;
        char depth[16];
        char *p = line;
        char field[15][64] = {{0}};

        for (int i = 0; i < 15; i++) {
            size_t len = strcspn(p, ",\n");

            snprintf(field[i], sizeof(field[i]), "%.*s", (int)len, p);
            p += len + (p[len] != 0);
        }
        snprintf(name, sizeof(name), "%s", field[0]);
        snprintf(op, sizeof(op), "%.15s", field[2]);
        snprintf(mode, sizeof(mode), "%.15s", field[3]);
        snprintf(depth, sizeof(depth), "%.15s", field[6]);
        snprintf(engine, sizeof(engine), "%.15s", field[7]);
        if (strcmp(name, tier) != 0 || strcmp(op, mode) != 0) {
            continue;
        }
        snprintf(j.op, sizeof(j.op), "%.7s", op);
        j.block = atof(field[4]);
        j.jobs = atof(field[5]);
        j.mb_s = atof(field[8]);
        j.mean_ms = atof(field[10]);
        ret[n++] = j;
    }
    if (f) {
        fclose(f);
    }
    return n;
}

static void judge_tier(const struct job *job, size_t n, const char *op, double rate, sim_ns latency)
{
    double rates[16], waits[16];
    size_t n_rate = 0, n_wait = 0;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(job[i].op, op) == 0 && job[i].jobs > 15) {
            rates[n_rate++] = job[i].mb_s * 1e6;
        }
    }
    assert_true(n_rate >= 3);
    double r = median(rates, n_rate);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(job[i].op, op) == 0 && job[i].jobs < 2) {
            waits[n_wait++] = fmax(0, job[i].mean_ms * 1e6 - job[i].block / r * 1e9);
        }
    }
    assert_true(fabs(rate - r) < 1e-6 * r);
    assert_true(fabs((double)latency - median(waits, n_wait)) < 2);
}

static void test_tiers_are_measured(void **state)
{
    static const char *const tiers[] = {"local-nvme-pcie4", "vpc-block", "cephfs", "s3"};
    const char *shared = getenv("STEELYARD_SHARED");
    char path[512];

    (void)state;
    snprintf(path, sizeof(path), "%s/data/profiles/kv_tier_storage_fio.csv", shared ? shared : "");
    if (access(path, R_OK) != 0) {
        print_message("the measurements are not here: %s\n", path);
        skip();
    }
    for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        struct arena a = {0};
        struct err e = {0};
        struct tier_profile t;
        struct job job[64];
        size_t n = read_jobs(path, tiers[i], job, 64);

        assert_int_equal(tier_load(&t, tiers[i], getenv("STEELYARD_DATA"), &a, &e), 0);
        judge_tier(job, n, "read", t.read_bytes_per_s, t.read_latency_ns);
        judge_tier(job, n, "write", t.write_bytes_per_s, t.write_latency_ns);
        arena_release(&a);
    }
}

static void test_tier_errors(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"full_name\": \"x\", \"read_bytes_per_s\": 1e9}", "write_bytes_per_s"},
        {"{\"full_name\": \"x\",\n \"read_bytes_per_s\": 0, \"write_bytes_per_s\": 1}", "t.json:2:"},
        {"{\"full_name\": \"x\", \"read_byte_per_s\": 1, \"write_bytes_per_s\": 1}", "read_bytes_per_s"},
        {"[]", "object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct arena a = {0};
        struct err e = {0};
        struct tier_profile t;

        assert_true(tier_parse(&t, bad[i].text, strlen(bad[i].text), "t.json", &a, &e) < 0);
        if (!strstr(e.msg, bad[i].says)) {
            fail_msg("'%s' does not say '%s'", e.msg, bad[i].says);
        }
        arena_release(&a);
    }
}

/* ---- jumping against walking ---- */

static struct run_result *go(const char *batcher, const char *policy, const char *const *set, bool skip,
                             struct arena *a)
{
    static const char trace[] = "synth:programs{rate=0.8,mix=1,programs=60,context=1500,turns=1..6,think_mu=1,"
                                "prompt=1..300,message=1..120,output=1..250,ttft=0,tbt=0}";
    struct run_result *r = arena_alloc(a, sizeof(*r));
    struct err e = {0};
    struct run_config c;

    assert_int_equal(opt_defaults(run_options, &c, a, &e), 0);
    c.trace = trace;
    c.model = "llama-3-8b";
    c.gpu = "a10g";
    c.data_dir = getenv("STEELYARD_DATA");
    c.batcher = batcher;
    c.policy = policy;
    c.kv_tokens = 3000;
    c.host_kv_bytes = 2e9;
    c.load_sessions = true;
    c.kv_offload = "swap";
    c.kv_sessions = true;
    c.check = true;
    c.skip = skip;
    for (; *set; set += 2) {
        assert_int_equal(opt_set_by_name(run_options, &c, "", set[0], set[1], a, &e), 0);
    }
    if (run_execute(&c, NULL, r, a, &e) < 0) {
        fail_msg("%s %s: %s", batcher, policy, e.msg);
    }
    return r;
}

static void assert_same(const struct run_result *a, const struct run_result *b, const char *what)
{
    assert_int_equal(a->n_metrics, b->n_metrics);
    for (size_t i = 0; i < a->n_metrics; i++) {
        if (memcmp(&a->metrics[i].value, &b->metrics[i].value, sizeof(double)) != 0) {
            fail_msg("%s: %s is %.17g with jumps, %.17g without", what, a->metrics[i].name,
                     a->metrics[i].value, b->metrics[i].value);
        }
    }
}

/* Every way to swap, with every batcher that can and a policy that pushes out for the sake of others. The
 * invariants are looked at after each step, too. */
static void test_skip_changes_nothing(void **state)
{
    static const char *const batchers[] = {"vllm-v0{version=0.3}", "vllm-v0{chunked_prefill=on}",
                                           "vllm-v1{prefix_caching=off}",
                                           "vllm-v1{version=0.13,prefix_caching=off}", "sarathi"};
    static const char *const sets[][13] = {
        {NULL},
        {"kv.reuse", "on", "kv.groups", "20", NULL},
        {"kv.swap", "async", NULL},
        {"kv.swap", "async", "kv.reuse", "on", "kv.groups", "20", "pcie.copy", "100us", NULL},
        {"kv.swap", "async", "kv.reuse", "on", "kv.offload", "by-cost", "kv.host", "300MB", NULL},
        {"kv.offload", "by-cost{splits=7}", "pcie.copy", "20us", NULL},
        {"kv.swap", "async", "kv.host", "400MB", "kv.nvme", "1GB", "kv.demote", "0.3", NULL},
        {"kv.host", "300MB", "kv.nvme", "300MB", "kv.remote", "1GB", "kv.demote", "0.5", NULL},
        {"kv.pin", "fixed", "kv.pin_time", "3s", "kv.swap", "async", "kv.reuse", "on", NULL},
        {"kv.pin", "ttl", "kv.groups", "20", NULL},
        {"kv.host", "100MB", "kv.remote", "10GB", "kv.demote", "0", "kv.stream", "100", "kv.stream_ttft", "60ms", NULL},
        {"kv.page", "32KiB", "kv.page_map", "1ms", NULL},
        {"kv.page", "32KiB", "kv.page_map", "200us", "kv.page_ahead", "off", "kv.page_keep", "off", NULL},
        {"kv.pin", "fixed", "kv.pin_time", "10s", "policy", "continuum", "kv.host", "100MB", NULL},
    };
    bool swapped = false, conflict = false;

    (void)state;
    for (size_t b = 0; b < sizeof(batchers) / sizeof(batchers[0]); b++) {
        for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
            const char *policy = i % 2 ? "fastswitch{frequency=0.05}" : "fcfs";
            struct arena a = {0};
            struct run_result *jump = go(batchers[b], policy, sets[i], true, &a);

            assert_same(jump, go(batchers[b], policy, sets[i], false, &a),
                        arena_printf(&a, "%s, set %zu", batchers[b], i));
            swapped |= run_metric(jump, "kv_copied_in")->value > 20;
            conflict |= run_metric(jump, "kv_conflict_wait")->value > 0;
            assert_true(run_metric(jump, "completed")->value > 100);
            arena_release(&a);
        }
    }
    assert_true(swapped && conflict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_by_hand),
        cmocka_unit_test(test_groups_hold),
        cmocka_unit_test(test_store_loses_the_cheapest),
        cmocka_unit_test(test_by_cost_is_least),
        cmocka_unit_test(test_swap_before_the_step),
        cmocka_unit_test(test_swap_beside_the_steps),
        cmocka_unit_test(test_conflict_waits),
        cmocka_unit_test(test_recompute_and_sameness),
        cmocka_unit_test(test_session_comes_back),
        cmocka_unit_test(test_session_sinks),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_pin_gives_way),
        cmocka_unit_test(test_pages_are_mapped),
        cmocka_unit_test(test_tiers_are_measured),
        cmocka_unit_test(test_tier_errors),
        cmocka_unit_test(test_skip_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
