/* SPDX-License-Identifier: Apache-2.0
 *
 * Closed loops: a bound on requests in flight, and turns that follow answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/run.h"
#include "sim/workload.h"

#define MOST 16
#define MS   ((sim_ns)1000000)

struct rows {
    struct request_row row[MOST]; /* by serial */
    int n;
};

static int keep(void *ctx, const struct request_row *r, struct err *e)
{
    struct rows *k = ctx;

    (void)e;
    assert_true(r->serial < MOST);
    k->row[r->serial] = *r;
    k->n++;
    return 0;
}

/* Plays the CSV on an engine that serves one step at a time: 10 ms for a prompt, 10 ms for a token. */
static struct rows play(const char *csv, const char *const *set)
{
    char path[] = "/tmp/steelyard-closed-XXXXXX";
    int fd = mkstemp(path);
    struct arena a = {0};
    struct err e = {0};
    struct run_config c;
    struct run_result r;
    struct rows k = {.n = 0};
    struct run_hooks h = {.request = keep, .ctx = &k};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, csv, strlen(csv)), (ssize_t)strlen(csv));
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.cost = "linear{set=custom,prefill_a=10,decode_a=10}";
    c.batcher = "vllm-v1{version=0.13}";
    c.kv_tokens = 4096;
    c.check = true;
    for (; *set; set += 2) {
        assert_int_equal(opt_set_by_name(run_options, &c, "", set[0], set[1], &a, &e), 0);
    }
    if (run_execute(&c, &h, &r, &a, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    unlink(path);
    arena_release(&a);
    return k;
}

static void test_one_at_a_time(void **state)
{
    static const char *const set[] = {"load.concurrency", "1", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens\n0,16,3\n0,16,2\n0.01,16,4\n5,16,1\n", set);
    const sim_ns takes[] = {30 * MS, 20 * MS, 40 * MS, 10 * MS};
    sim_ns at = 0;

    (void)state;
    assert_int_equal(k.n, 4);
    for (int i = 0; i < 3; i++) { /* each is sent when the one before is answered */
        assert_int_equal(k.row[i].arrival_ns, at);
        at += takes[i];
        assert_int_equal(k.row[i].finish_ns, at);
    }
    assert_int_equal(k.row[3].arrival_ns, 5000 * MS); /* nobody was in its way */
}

static void test_two_at_a_time(void **state)
{
    static const char *const set[] = {"load.concurrency", "2", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens\n0,16,2\n0,16,9\n0,16,2\n0,16,2\n", set);

    (void)state;
    assert_int_equal(k.row[0].arrival_ns, 0);
    assert_int_equal(k.row[1].arrival_ns, 0);
    assert_int_equal(k.row[2].arrival_ns, k.row[0].finish_ns);
    assert_int_equal(k.row[3].arrival_ns, k.row[2].finish_ns);
    assert_true(k.row[3].finish_ns < k.row[1].finish_ns + 100 * MS);
}

/* Turns wait for answers, whatever the trace's own times say; strangers do not wait for them. */
static void test_turns_follow_answers(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                         "0,16,3,1,0,\n"
                         "0.001,16,2,1,1,0.5\n"
                         "0.002,16,2,1,2,0\n"
                         "1,16,1,0,0,\n"
                         "9,16,5,2,0,\n",
                         set);

    (void)state;
    assert_int_equal(k.n, 5);
    assert_int_equal(k.row[0].finish_ns, 30 * MS);
    assert_int_equal(k.row[1].arrival_ns, 530 * MS);
    assert_int_equal(k.row[1].finish_ns, 550 * MS);
    assert_int_equal(k.row[2].arrival_ns, 550 * MS);
    assert_int_equal(k.row[2].finish_ns, 570 * MS);
    assert_int_equal(k.row[3].arrival_ns, 1000 * MS);
    assert_int_equal(k.row[4].arrival_ns, 9000 * MS);
}

/* A turn that comes free earlier than the request that was already looked at overtakes it. */
static void test_freed_turn_overtakes(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,turn,gap_s\n"
                         "0,16,1,1,0,\n"
                         "50,16,1,2,0,\n"
                         "60,16,1,1,1,0.1\n",
                         set);

    (void)state;
    assert_int_equal(k.n, 3);
    assert_int_equal(k.row[1].arrival_ns, 110 * MS); /* session 1's second turn */
    assert_int_equal(k.row[2].arrival_ns, 50000 * MS);
}

/* A program of stages 1, 3, 1: the three thoughts run side by side, the last call comes its gap after the
 * slowest of them, whatever the order in which they end. A second program whose calls are all of turn 0 is
 * one stage, and the same session without a class is three turns. */
static void test_stages_wait_for_all_calls(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,turn,gap_s,slo_class\n"
                         "0,16,2,1,0,,compound\n"
                         "0.1,16,2,1,1,0.1,compound\n"
                         "0.1,16,9,1,1,0.1,compound\n"
                         "0.1,16,3,1,1,0.2,compound\n"
                         "0.2,16,1,1,2,0.5,compound\n"
                         "10,16,2,2,0,,compound\n"
                         "10,16,4,2,0,,compound\n"
                         "20,16,2,3,0,,\n"
                         "20,16,4,3,0,0,\n",
                         set);
    sim_ns end;

    (void)state;
    assert_int_equal(k.n, 9);
    assert_int_equal(k.row[0].finish_ns, 20 * MS);
    assert_int_equal(k.row[1].arrival_ns, 120 * MS);
    assert_int_equal(k.row[2].arrival_ns, 120 * MS);
    assert_int_equal(k.row[3].arrival_ns, 220 * MS);
    assert_int_equal(k.row[2].output_tok, 9);
    end = k.row[2].finish_ns > k.row[3].finish_ns ? k.row[2].finish_ns : k.row[3].finish_ns;
    assert_true(k.row[1].finish_ns < end);
    assert_int_equal(k.row[4].arrival_ns, end + 500 * MS);
    assert_int_equal(k.row[5].arrival_ns, 10000 * MS);
    assert_int_equal(k.row[6].arrival_ns, 10000 * MS);
    assert_int_equal(k.row[7].arrival_ns, 20000 * MS);
    assert_int_equal(k.row[8].arrival_ns, k.row[7].finish_ns);
}

/* A gap that is not given counts from the recording: 0.3 s after the call of the stage before that was
 * answered last. */
static void test_stage_without_gap(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,turn\n"
                         "0,16,1,1,0\n0.1,16,5,1,0\n0.4,16,1,1,1\n", set);

    (void)state;
    assert_int_equal(k.n, 3);
    assert_int_equal(k.row[1].arrival_ns, 100 * MS);
    assert_int_equal(k.row[1].finish_ns, 150 * MS);
    assert_int_equal(k.row[2].arrival_ns, 450 * MS);
}

/* A graph: 2 and 3 wait for 1, 4 for 2 alone, 5 for 3 and 4; 6 for none. Each is sent its own gap after the
 * last of those that it waits for, and 4 does not wait for 3, which takes long. Calls nobody waits for need
 * no number; turns are not looked at. */
static void test_graph(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,turn,gap_s,call,after\n"
                         "0,16,2,5,0,,1,\n"
                         "0.1,16,2,5,0,0.1,2,1\n"
                         "0.2,16,90,5,0,0.2,3,1\n"
                         "0.3,16,3,5,0,0.05,4,2\n"
                         "0.4,16,1,5,0,0.5,,3 4\n"
                         "20,16,1,5,0,,,\n"
                         "30,16,1,0,0,,,\n",
                         set);

    (void)state;
    assert_int_equal(k.n, 7);
    assert_int_equal(k.row[0].finish_ns, 20 * MS);
    assert_int_equal(k.row[1].arrival_ns, 120 * MS);
    assert_int_equal(k.row[2].arrival_ns, k.row[1].finish_ns + 50 * MS); /* the fourth */
    assert_int_equal(k.row[2].output_tok, 3);
    assert_int_equal(k.row[3].arrival_ns, 220 * MS);
    assert_int_equal(k.row[3].output_tok, 90);
    assert_true(k.row[2].finish_ns < k.row[3].finish_ns);
    assert_int_equal(k.row[4].arrival_ns, k.row[3].finish_ns + 500 * MS);
    assert_int_equal(k.row[5].arrival_ns, 20000 * MS);
}

/* A call without a gap keeps its distance from the call it waits for that was answered last. */
static void test_graph_without_gap(void **state)
{
    static const char *const set[] = {"load.sessions", "on", NULL};
    struct rows k = play("time_s,prompt_tokens,output_tokens,session,call,after\n"
                         "0,16,1,1,7,\n0,16,5,1,9,\n0.3,16,1,1,,7 9\n", set);

    (void)state;
    assert_int_equal(k.n, 3);
    assert_int_equal(k.row[1].output_tok, 5);
    assert_int_equal(k.row[2].arrival_ns, k.row[1].finish_ns + 300 * MS);
}

/* A compound program began with its first call, in each pass over the trace anew; everybody else by himself. */
static void test_began(void **state)
{
    static const double want_s[] = {1, 2, 1, 4, 1}; /* of the first pass */
    static const uint64_t session_of[] = {7, 0, 7, 8, 7};
    char path[] = "/tmp/steelyard-began-XXXXXX";
    int fd = mkstemp(path);
    const char *csv = "time_s,prompt_tokens,output_tokens,session,turn,slo_class\n"
                      "1,1,1,7,0,compound\n2,1,1,,,\n3,1,1,7,1,compound\n4,1,1,8,0,latency\n5,1,1,7,2,compound\n";
    struct arena a = {0};
    struct err e = {0};
    struct run_config c;
    struct workload w;
    struct arrival got;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, csv, strlen(csv)), (ssize_t)strlen(csv));
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.trace_repeat = 2;
    assert_int_equal(workload_open(&w, &c, &a, &e), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(workload_next(&w, &got, &e), 1);
        assert_true(session_of[i % 5] ? (got.session == session_of[i % 5]) == (i < 5) : got.session == 0);
        if (i < 5) {
            assert_int_equal(got.began_ns, (sim_ns)(want_s[i] * 1e9));
        } else if (i == 5) {
            assert_int_equal(got.began_ns, got.time_ns);
            assert_true(got.time_ns > 5000 * MS);
        } else if (i == 7 || i == 9) {
            assert_true(got.began_ns > 5000 * MS && got.began_ns < got.time_ns);
        }
    }
    assert_int_equal(workload_next(&w, &got, &e), 0);
    workload_close(&w);
    unlink(path);
    arena_release(&a);
}

/* Ten blocks of a second with one session each: a block drawn again is another session, and the first
 * time it is drawn it is its own. Replication 0 is the trace as it is. */
static void test_resampled_sessions(void **state)
{
    char path[] = "/tmp/steelyard-blocks-XXXXXX";
    int fd = mkstemp(path), again = 0;
    struct arena a = {0};
    struct err e = {0};
    struct run_config c;

    (void)state;
    assert_true(fd >= 0);
    dprintf(fd, "time_s,prompt_tokens,output_tokens,session\n");
    for (int i = 0; i < 10; i++) {
        dprintf(fd, "%d.5,1,1,%d\n", i, i + 1);
    }
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.load_bootstrap_s = 1;
    for (c.replication = 0; c.replication < 5; c.replication++) {
        struct workload w;
        struct arrival got;
        uint64_t seen[10];

        assert_int_equal(workload_open(&w, &c, &a, &e), 0);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(workload_next(&w, &got, &e), 1);
            for (int k = 0; k < i; k++) {
                assert_true(seen[k] != got.session);
            }
            seen[i] = got.session;
            again += got.session > 10;
            assert_true(c.replication > 0 || got.session == (uint64_t)i + 1);
        }
        workload_close(&w);
    }
    assert_true(again > 0);
    unlink(path);
    arena_release(&a);
}

/* Same times, in any order of the file: who is waited for must come before. */
static void graph_error(const char *csv, const char *part)
{
    char path[] = "/tmp/steelyard-graph-XXXXXX";
    int fd = mkstemp(path);
    struct arena a = {0};
    struct err e = {0};
    struct run_config c;
    struct run_result r;
    struct run_hooks h = {.ctx = NULL};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, csv, strlen(csv)), (ssize_t)strlen(csv));
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.cost = "linear{set=custom,prefill_a=10,decode_a=10}";
    c.kv_tokens = 4096;
    c.load_sessions = true;
    assert_int_equal(run_execute(&c, &h, &r, &a, &e), SIM_E_DATA);
    if (!strstr(e.msg, part)) {
        fail_msg("'%s' is not in '%s'", part, e.msg);
    }
    unlink(path);
    arena_release(&a);
}

static void test_graph_errors(void **state)
{
    (void)state;
    graph_error("time_s,prompt_tokens,output_tokens,session,call,after\n0,1,1,3,1,2\n1,1,1,3,2,\n",
                "session 3: the call at 0 s waits for call 2, which does not come before it");
    graph_error("time_s,prompt_tokens,output_tokens,session,call,after\n0,1,1,3,1,\n1,1,1,3,1,\n2,1,1,3,,1\n",
                "session 3 has two calls with number 1 (at 1 s)");
    graph_error("time_s,prompt_tokens,output_tokens,session,call,after\n0,1,1,3,1,1\n", "none waits for itself");
    graph_error("time_s,prompt_tokens,output_tokens,session,call,after\n0,1,1,,1,3\n", "belongs to no session");
    graph_error("time_s,prompt_tokens,output_tokens,session,call,after\n0,1,1,2,1,x\n", ":2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_two_at_a_time),
        cmocka_unit_test(test_turns_follow_answers),
        cmocka_unit_test(test_freed_turn_overtakes),
        cmocka_unit_test(test_stages_wait_for_all_calls),
        cmocka_unit_test(test_stage_without_gap),
        cmocka_unit_test(test_began),
        cmocka_unit_test(test_resampled_sessions),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_graph_without_gap),
        cmocka_unit_test(test_graph_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
