/* SPDX-License-Identifier: Apache-2.0
 *
 * The CSV formats: azure, native, vidur, columns. */
#include "tests/unit/trace_test.h"

static void read_string(struct read_result *r, const char *text, const char *format)
{
    read_text(r, text, strlen(text), format);
}

/* First rows of AzureLLMInferenceTrace_conv.csv. */
#define AZURE                                                                                        \
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"                                                      \
    "2023-11-16 18:15:46.6805900,374,44\n"                                                           \
    "2023-11-16 18:15:50.9951690,396,109\n"

static void test_azure(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, AZURE "2023-11-17 00:00:00,1,0\n", NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "azure");
    assert_int_equal(r.n, 3);
    expect_row(&r, 0, 0, 374, 44);
    expect_row(&r, 1, 4.314579, 396, 109);
    expect_row(&r, 2, 20653.31941, 1, 1); /* 5 h 44 min 13.31941 s later */
    read_string(&r, AZURE "2023-11-17 00:00:00,1,0\n", "azure{zero=skip}");
    assert_int_equal(r.n, 2);
    expect_error(AZURE "2023-11-17 00:00:00,1,0\n", "azure{zero=error}", SIM_E_DATA,
                 "x:4: a request with 0 output tokens");
    expect_error(AZURE "soon,1,1\n", NULL, SIM_E_DATA, "x:4: column 'TIMESTAMP': 'soon' is not a time");
    expect_error(AZURE "2023-11-16 18:15:50,1,1\n", NULL, SIM_E_DATA, "x:4: the arrival at 3.31941 s");
    expect_error(AZURE "2023-11-16 18:15:52,-3,1\n", NULL, SIM_E_DATA,
                 "x:4: column 'ContextTokens': '-3' is negative");
    expect_error(AZURE "2023-11-16 18:15:52,3\n", NULL, SIM_E_DATA, "x:4: 2 fields where the header");
    expect_error("TIMESTAMP,Context,GeneratedTokens\n", "azure", SIM_E_DATA,
                 "x:1: no column 'ContextTokens'");
}

#define NATIVE_HEAD                                                                                  \
    "time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,"  \
    "e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class\n"

static void test_native(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, NATIVE_HEAD "0.5,ann,33,4,10,-2,100,20.5,3000,7,1,2.25,16,5-6 9,0.1,0.75,deadline\n"
                                "0.5,bob,1,1,,,,,,,,,,,,,\n",
                NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "native");
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0.5, 33, 4);
    const struct arrival *a = &r.row[0];
    assert_int_equal(a->client, 0);
    assert_string_equal(r.client[0], "ann");
    assert_int_equal(a->max_output_tok, 10);
    assert_int_equal(a->priority, -2);
    assert_true(a->ttft_slo_ms == 100 && a->tpot_slo_ms == 20.5f && a->e2e_slo_ms == 3000);
    assert_int_equal(a->slo_class, SLO_DEADLINE);
    assert_int_equal(a->session, 7);
    assert_int_equal(a->turn, 1);
    assert_int_equal(a->gap_ns, 2250000000);
    assert_int_equal(a->hash_tok, 16);
    assert_int_equal(a->n_hash, 3);
    assert_int_equal(r.hash[0][0], 5);
    assert_int_equal(r.hash[0][1], 6);
    assert_int_equal(r.hash[0][2], 9);
    assert_true(a->measured_ttft_s == 0.1 && a->measured_e2e_s == 0.75);
    a = &r.row[1];
    assert_int_equal(a->client, 1);
    assert_string_equal(r.client[1], "bob");
    assert_int_equal(a->max_output_tok, 0);
    assert_int_equal(a->slo_class, SLO_NONE);
    assert_int_equal(a->gap_ns, -1);
    assert_int_equal(a->n_hash, 0);
    assert_int_equal(a->session, 0);
    assert_true(isnan(a->measured_ttft_s) && isnan(a->measured_e2e_s));
    assert_int_equal(r.caps, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_HASHES | TRACE_MEASURED | TRACE_CLIENTS);
}

#define SMALL "time_s,prompt_tokens,output_tokens"

static void test_native_errors(void **state)
{
    (void)state;
    expect_error(SMALL ",prioritty\n0,1,1,1\n", NULL, SIM_E_DATA,
                 "x:1: unknown column 'prioritty'; did you mean 'priority'?");
    expect_error("time_s,client,prompt_tokens\n", NULL, SIM_E_DATA, "holds no request");
    expect_error("time_s,client,prompt_tokens\n0,a,1\n", NULL, SIM_E_DATA,
                 "x:2: a request with 0 or unknown output tokens");
    expect_error(SMALL "\n0,0,1\n", NULL, SIM_E_DATA, "x:2: a request with 0 or unknown prompt tokens");
    expect_error(SMALL "\n-1,1,1\n", NULL, SIM_E_DATA, "x:2: column 'time_s': '-1' is negative");
    expect_error(SMALL "\nnan,1,1\n", NULL, SIM_E_DATA, "x:2: column 'time_s': 'nan' is not finite");
    expect_error(SMALL "\n1e30,1,1\n", NULL, SIM_E_DATA, "'1e30' is too large");
    expect_error(SMALL "\n4e9,1,1\n", NULL, SIM_E_DATA, "beyond 100 years");
    expect_error(SMALL "\n,1,1\n", NULL, SIM_E_DATA, "x:2: column 'time_s': '' is missing");
    expect_error(SMALL "\n0,4294967296,1\n", NULL, SIM_E_DATA, "'4294967296' is too large");
    expect_error(SMALL "\n0,2000000000,1\n", NULL, SIM_E_DATA, "at most 2^30");
    expect_error(SMALL "\n0,1.5,1\n", NULL, SIM_E_DATA, "'1.5' is not a whole number");
    expect_error(SMALL "\n1,1,1\n0.5,1,1\n", NULL, SIM_E_DATA,
                 "x:3: the arrival at 0.5 s comes after one at 1 s; to sort first, give the format "
                 "native{unsorted=on}");
    expect_error(SMALL ",priority\n0,1,1,3000000000\n", NULL, SIM_E_DATA, "is too large");
    expect_error(SMALL ",ttft_slo_ms\n0,1,1,-3\n", NULL, SIM_E_DATA, "is negative");
    expect_error(SMALL ",slo_class\n0,1,1,dedline\n", NULL, SIM_E_DATA,
                 "x:2: column 'slo_class': 'dedline' is no class of goals; did you mean 'deadline'?");
    expect_error(SMALL ",gap_s\n0,1,1,-3\n", NULL, SIM_E_DATA, "is negative");
    expect_error(SMALL ",hash_ids\n0,1,1,1\n", NULL, SIM_E_DATA, "add a column hash_tokens");
    expect_error(SMALL ",hash_tokens,hash_ids\n0,1,1,,1\n", NULL, SIM_E_DATA, "0 tokens per prefix id");
    expect_error(SMALL ",hash_tokens,hash_ids\n0,32,1,16,1-3\n", NULL, SIM_E_DATA,
                 "3 prefix ids of 16 tokens for a prompt of 32 tokens");
    expect_error(SMALL ",hash_tokens,hash_ids\n0,32,1,16,1-\n", NULL, SIM_E_DATA, "without an end");
    expect_error(SMALL ",session\n0,32,1,x\n", NULL, SIM_E_DATA, "column 'session': 'x' is not a number");
}

static void test_unsorted(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, "time_s,client,prompt_tokens,output_tokens,hash_tokens,hash_ids\n"
                    "3,c,3,1,2,7-8\n1,b,1,1,2,9\n2,a,2,1,,\n1,c,4,1,2,3 5\n",
                "native{unsorted=on}");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 4);
    expect_row(&r, 0, 1, 1, 1);
    expect_row(&r, 1, 1, 4, 1); /* a tie keeps the order of the file */
    expect_row(&r, 2, 2, 2, 1);
    expect_row(&r, 3, 3, 3, 1);
    /* Ids are dense in the order of the sorted trace and names follow them. */
    assert_int_equal(r.row[0].client, 0);
    assert_int_equal(r.row[1].client, 1);
    assert_int_equal(r.row[2].client, 2);
    assert_int_equal(r.row[3].client, 1);
    assert_string_equal(r.client[0], "b");
    assert_string_equal(r.client[3], "c");
    assert_int_equal(r.row[1].n_hash, 2);
    assert_int_equal(r.hash[1][0], 3);
    assert_int_equal(r.hash[1][1], 5);
    assert_int_equal(r.hash[3][1], 8);
}

static void test_vidur(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, "arrived_at,num_prefill_tokens,num_decode_tokens\n0.25,100,7\n1.5,3,2\n", NULL);
    assert_string_equal(r.format, "vidur");
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0.25, 100, 7);
    expect_row(&r, 1, 1.5, 3, 2);
    expect_error("num_prefill_tokens,num_decode_tokens\n1,2\n", NULL, SIM_E_DATA,
                 "lengths only. Give a rate to draw Poisson arrivals: trace.format=vidur{rate=2}");
}

static void test_columns_order(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, "note,output_tokens,client,t_ms,prompt_tokens\nq,5,u1,1500,9\n,6,u2,1501,8\n", NULL);
    assert_string_equal(r.format, "columns");
    expect_row(&r, 0, 1.5, 9, 5);
    expect_row(&r, 1, 1.501, 8, 6);
    assert_string_equal(r.client[1], "u2");
    read_string(&r, "when_ms,in,out,who\n250,9,5,z\n", "columns{time=when_ms,prompt=in,output_column=out,client=who}");
    assert_int_equal(r.rc, 0);
    expect_row(&r, 0, 0.25, 9, 5);
    assert_string_equal(r.client[0], "z");
    expect_error("when,in,out\n250,9,5\n", "columns{time=whn,prompt=in}", SIM_E_DATA,
                 "no column 'whn' (found 'when')");
    expect_error("a,b\n1,2\n", "columns", SIM_E_DATA, "no column with prompt lengths");
}

static void test_columns_rate(void **state)
{
    (void)state;
    struct read_result r;
    char text[2048] = "prompt_tokens,output_tokens\n";
    for (int i = 0; i < 100; i++) {
        strcat(text, "10,5\n");
    }
    read_string(&r, text, "columns{rate=4,cv=0}");
    assert_int_equal(r.n, 100);
    expect_row(&r, 0, 0.25, 10, 5);
    expect_row(&r, 15, 4, 10, 5);
    read_string(&r, text, "columns{rate=4}");
    assert_int_equal(r.n, 100);
    assert_true(r.row[0].time_ns > 0 && r.row[1].time_ns > r.row[0].time_ns);
    expect_error(text, NULL, SIM_E_DATA, "trace.format=columns{rate=2}");
    expect_error(text, "columns{rate=1e-9}", SIM_E_DATA, "beyond 100 years");
}

static void test_incomplete(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "t_s,prompt_tokens,output_tokens\n0,5,\n1,0,3\n2,4,0\n3,6,7\n";
    expect_error(text, NULL, SIM_E_DATA, "x:2: a request with 0 or unknown output tokens; choose");
    read_string(&r, text, "columns{incomplete=skip}");
    assert_int_equal(r.n, 1);
    expect_row(&r, 0, 3, 6, 7);
    read_string(&r, text, "columns{incomplete=one}");
    assert_int_equal(r.n, 4);
    expect_row(&r, 0, 0, 5, 1);
    expect_row(&r, 1, 1, 1, 3);
    read_string(&r, text, "columns{output=99,incomplete=skip}");
    assert_int_equal(r.n, 3);
    expect_row(&r, 1, 2, 4, 99);
}

static void test_spread(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "t_ms,prompt_tokens,output_tokens,hash_ids\n"
                       "0,1,1,3\n0,2,1,4\n0,3,1,5\n3000,4,1,6\n4000,5,1,7\n4000,6,1,8\n";
    read_string(&r, text, "columns{spread=3s}");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 6);
    expect_row(&r, 0, 0, 1, 1);
    expect_row(&r, 1, 1, 2, 1);
    expect_row(&r, 2, 2, 3, 1);
    expect_row(&r, 3, 3, 4, 1);
    expect_row(&r, 4, 4, 5, 1);
    expect_row(&r, 5, 5.5, 6, 1);
    assert_int_equal(r.hash[2][0], 5);
    assert_int_equal(r.row[2].hash_tok, 512);
    expect_error("t_ms,prompt_tokens,output_tokens\n5,1,1\n5,1,1\n4,1,1\n", "columns{spread=3s}",
                 SIM_E_DATA, "x:4: the arrival at 0.004 s comes after");
}

static void test_sessions(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "session,sub,i,t_s,prompt_tokens,output_tokens,n_blocks,lcp_blocks,think_s,hash_ids\n"
                       "1,0,0,0,130,5,2,0,0,1-2\n1,0,1,10,200,0,3,2,4,1-3\n"
                       "1,1,0,5,70,3,1,0,0,9\n2,0,0,0,64,2,1,0,0,1\n";
    read_string(&r, text, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 4);
    expect_row(&r, 0, 0, 130, 5);
    expect_row(&r, 1, 0, 64, 2);
    expect_row(&r, 2, 5, 70, 3);
    expect_row(&r, 3, 10, 200, 1); /* an agent turn without output counts as one token */
    assert_int_equal(r.row[0].session, r.row[3].session);
    assert_true(r.row[0].session != r.row[1].session && r.row[0].session != r.row[2].session);
    assert_int_equal(r.row[3].turn, 1);
    assert_int_equal(r.row[3].gap_ns, 4000000000);
    assert_int_equal(r.row[0].hash_tok, 64);
    /* Ids are shared inside a session, never between sessions. */
    assert_true(r.hash[0][0] == r.hash[3][0] && r.hash[0][1] == r.hash[3][1]);
    assert_true(r.hash[0][0] != r.hash[1][0]);
    /* Sessions start at random; inside one the times of the file hold. */
    read_string(&r, text, "columns{session_rate=0.5}");
    assert_int_equal(r.n, 4);
    size_t first = 0, last = 0;
    for (size_t i = 0; i < 4; i++) {
        first = r.row[i].prompt_tok == 130 ? i : first;
        last = r.row[i].prompt_tok == 200 ? i : last;
    }
    assert_true(r.row[first].time_ns > 0);
    assert_int_equal(r.row[last].time_ns - r.row[first].time_ns, 10000000000);
    expect_error("t_s,prompt_tokens,output_tokens\n0,1,1\n", "columns{session_rate=1}", SIM_E_CONFIG,
                 "needs a session column");
}

static void test_explained(void **state)
{
    (void)state;
    expect_error("client,t_s,rate,cv,dist,shape\n0,1,1,1,G,1\n", NULL, SIM_E_DATA,
                 "x:1: not a request trace: these are arrival rates per client and window (ServeGen)");
    expect_error("day,requests,total_tokens\n0,1,2\n", NULL, SIM_E_DATA, "counts per day");
    expect_error("model,task,bin_lo,bin_hi,count\n", NULL, SIM_E_DATA, "a histogram of lengths");
}

/* A failed request lost its lengths: its prompt is that of the same place in the cycle. */
static void test_failed_requests(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "arrival_s,prompt_tokens,retok_output_tokens,ttft_s,e2e_s,error\n"
                       "0,40,7,0.5,1.5,0\n1,20,8,0.25,,0\n2,0,0,-1,,1\n";
    read_string(&r, text, "columns{prompt_cycle=2,output=9}");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 3);
    expect_row(&r, 2, 2, 40, 9);
    assert_true(r.row[0].measured_ttft_s == 0.5 && isnan(r.row[2].measured_ttft_s));
    assert_true(r.row[1].measured_ttft_s == 0.25 && isnan(r.row[1].measured_e2e_s));
    assert_int_equal(r.row[0].n_hash, 2); /* 40 tokens = 2 full blocks of 16 */
    assert_int_equal(r.hash[0][1], r.hash[2][1]);
    assert_true(r.hash[0][0] != r.hash[1][0]);
}

static void test_measured_times(void **state)
{
    (void)state;
    expect_error("arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,4,2,0.5,0.5\n1,4,2,0.5,0.25\n", NULL, SIM_E_DATA,
                 "x:3: measured: the request ended after 0.25 s, before its first token after 0.5 s");
    expect_error("arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,4,2,nan,0.5\n", NULL, SIM_E_DATA,
                 "x:2: column 'ttft_s': 'nan' is not finite");
    expect_error("arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,4,2,0.5,inf\n", NULL, SIM_E_DATA,
                 "x:2: column 'e2e_s': 'inf' is not finite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_azure),         cmocka_unit_test(test_native),
        cmocka_unit_test(test_native_errors), cmocka_unit_test(test_unsorted),
        cmocka_unit_test(test_vidur),         cmocka_unit_test(test_columns_order),
        cmocka_unit_test(test_columns_rate),  cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_spread),        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_explained),     cmocka_unit_test(test_failed_requests), cmocka_unit_test(test_measured_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
