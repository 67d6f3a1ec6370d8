/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded sessions of agents read as programs: who waits for whom, by hand. */
#include "tests/unit/trace_test.h"

#include <unistd.h>

static const char *waits(const struct arrival *a, char *buf)
{
    size_t n = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < a->n_after; i++) {
        n += (size_t)sprintf(buf + n, "%s%llu", i ? " " : "", (unsigned long long)a->after[i]);
    }
    return buf;
}

struct want {
    uint32_t session, call, turn;
    const char *after;
    double gap_s; /* -1 = none */
};

static void expect_graph(const char *text, const struct want *want, size_t n)
{
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    char buf[400];
    if (trace_open_memory(&t, text, strlen(text), "x", "columns{programs=on}", 1, 0, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    assert_true(trace_caps(t) & TRACE_CALLS);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(trace_next(t, &a, &e), 1);
        double gap_s = a.gap_ns < 0 ? -1 : (double)a.gap_ns * 1e-9;
        if (a.session != want[i].session || a.call != want[i].call || a.turn != want[i].turn ||
            strcmp(waits(&a, buf), want[i].after) != 0 || fabs(gap_s - want[i].gap_s) > 1e-9) {
            fail_msg("row %zu: session %u call %u turn %u after '%s' gap %g", i, (unsigned)a.session, a.call,
                     a.turn, buf, gap_s);
        }
        assert_int_equal(a.slo_class, SLO_COMPOUND);
    }
    assert_int_equal(trace_next(t, &a, &e), 0);
    trace_close(t);
}

/* Session a: 1 takes 0..2; 2 and 3 side by side, 3..5 and 3.5..8; 4 begins at 9 when both are over, but 2 was
 * over before... nobody waited for it but 4; 5 begins while 4 runs: it waits for what 4 waited for. Session b
 * has one call. A call whose last tenth overlaps (6: 20..30, 7 at 29.5) is over. */
static void test_by_times(void **state)
{
    (void)state;
    static const struct want want[] = {
        {1, 1, 0, "", -1},     {2, 1, 0, "", -1},       {1, 2, 1, "1", 1},  {1, 3, 1, "1", 1.5},
        {1, 4, 2, "3 2", 1},   {1, 5, 2, "3 2", 1.5},   {1, 6, 3, "5 4", 9}, {1, 7, 4, "6", 0},
    };
    expect_graph("session,t_s,dur_s,gap_s,input_tokens,output_tokens,model,finish,is_error\n"
                 "a,0,2,,10,5,m,x,False\n"
                 "a,3,2,1,10,5,m,x,False\n"
                 "a,3.5,4.5,-1.5,10,5,m,x,False\n"
                 "a,9,1.5,1,10,5,m,x,False\n"
                 "a,9.5,1.5,-1,10,5,m,x,False\n"
                 "a,20,10,9,10,5,m,x,False\n"
                 "a,29.5,1,-0.5,10,5,m,x,False\n"
                 "b,1,2,,10,5,m,x,False\n",
                 want, 8);
}

/* Main calls 1 and 5; sub-agent 1 (calls 2, 4) and 2 (call 3) are begun by the first and joined by the second;
 * sub-agent 3 (6, 7) begins after 5 and runs beside 8, which does not wait for it; nobody does. */
static void test_sub_agents(void **state)
{
    (void)state;
    static const struct want want[] = {
        {1, 1, 0, "", -1},   {1, 2, 1, "1", 0.5}, {1, 3, 1, "1", 0.75}, {1, 4, 2, "2", 0.25},
        {1, 5, 3, "1 3 4", 1}, {1, 6, 4, "5", 1}, {1, 7, 4, "5", 3},  {1, 8, 5, "6", 0.5},
    };
    expect_graph("session,sub,i,t_s,prompt_tokens,output_tokens,think_s,api_s\n"
                 "s,0,0,0,10,5,,1\n"
                 "s,0,1,5,10,5,4,1\n"
                 "s,0,2,9,10,5,3,1\n"
                 "s,1,0,1.5,10,5,0.5,1\n"
                 "s,1,1,2.75,10,5,0.25,1.25\n"
                 "s,2,0,1.75,10,5,0.75,1\n"
                 "s,3,0,7,10,5,1,2\n"
                 "s,3,1,9.5,10,5,0.5,2\n",
                 want, 8);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("session,t_s,prompt_tokens,output_tokens\na,0,1,1\n", "columns{programs=on}", SIM_E_DATA,
                 "programs=on needs");
    expect_error("t_s,dur_s,prompt_tokens,output_tokens\n0,1,1,1\n", "columns{programs=on}", SIM_E_DATA,
                 "programs=on needs");
    expect_error("session,t_s,dur_s,prompt_tokens,output_tokens\na,0,x,1,1\n", "columns{programs=on}", SIM_E_DATA,
                 "dur_s");
}

static void test_class(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "t_s,prompt_tokens,output_tokens,slo_class\n0,1,1,\n1,1,1,latency\n";
    read_text(&r, text, strlen(text), "columns{slo_class=deadline}");
    assert_int_equal(r.n, 2);
    assert_true(r.row[0].slo_class == SLO_DEADLINE && r.row[1].slo_class == SLO_LATENCY);
}

/* The public coding sessions: every session one program with one root, sub-agents joined. */
static void test_claude_code(void **state)
{
    (void)state;
    const char *dir = getenv("STEELYARD_SHARED");
    char path[512];
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    size_t n = 0, roots = 0, joins = 0;
    uint64_t sessions = 0;
    snprintf(path, sizeof path, "%s/data/traces/agentic_claude_code.csv.gz", dir ? dir : "");
    if (access(path, R_OK) != 0) {
        print_message("# no public data beside the source: skipped\n");
        skip();
    }
    assert_int_equal(trace_open(&t, path, "columns{programs=on}", 1, 0, &e), 0);
    while (trace_next(t, &a, &e) == 1) {
        n++;
        roots += a.n_after == 0;
        joins += a.n_after > 1;
        sessions = a.session > sessions ? a.session : sessions;
    }
    trace_close(t);
    assert_int_equal(n, 28961);
    assert_int_equal(roots, 449);
    assert_true(joins >= 10 && joins <= 41); /* 41 sub-agents, several to a join, some left running */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_times), cmocka_unit_test(test_sub_agents), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_class),    cmocka_unit_test(test_claude_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
