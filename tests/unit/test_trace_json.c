/* SPDX-License-Identifier: Apache-2.0
 *
 * BurstGPT and the JSON formats: mooncake, llmservingsim, vllm-bench, vtc; the scanner itself. */
#include "tests/unit/trace_test.h"

#include "traces/json_scan.h"

static void read_string(struct read_result *r, const char *text, const char *format)
{
    read_text(r, text, strlen(text), format);
}

static void expect_fault(const char *text, const char *fault)
{
    struct jscan s;
    jscan_init(&s, text);
    bool ok = jscan_skip(&s) && jscan_end(&s);
    if (ok || !strstr(s.fault, fault)) {
        fail_msg("%s: expected '%s', got '%s'", text, fault, ok ? "no fault" : s.fault);
    }
}

static void test_scanner(void **state)
{
    (void)state;
    struct jscan s;
    char buf[16];
    double d;
    uint64_t u;
    jscan_init(&s, " { \"a\\u00e9\\n\" : [ 1 , -2.5e1, null ], \"b\": {}, \"c\":18446744073709551615} ");
    assert_true(jscan_object(&s));
    assert_true(jscan_key(&s, buf, sizeof(buf)));
    assert_string_equal(buf, "a\xc3\xa9\n");
    assert_true(jscan_array(&s));
    assert_true(jscan_element(&s) && jscan_double(&s, &d) && d == 1);
    assert_true(jscan_element(&s) && jscan_double(&s, &d) && d == -25);
    assert_true(jscan_element(&s) && jscan_double(&s, &d) && isnan(d));
    assert_false(jscan_element(&s));
    assert_true(jscan_key(&s, buf, sizeof(buf)) && jscan_skip(&s));
    assert_true(jscan_key(&s, buf, sizeof(buf)) && jscan_u64(&s, &u) && u == UINT64_MAX);
    assert_false(jscan_key(&s, buf, sizeof(buf)));
    assert_true(jscan_end(&s));
    jscan_init(&s, "Infinity");
    assert_true(jscan_double(&s, &d) && isinf(d) && d > 0);
    jscan_init(&s, "-Infinity");
    assert_true(jscan_double(&s, &d) && isinf(d) && d < 0);
    expect_fault("[1 2]", "',' or ']'");
    expect_fault("{\"a\" 1}", "':'");
    expect_fault("{\"a\":1 \"b\":2}", "',' or '}'");
    expect_fault("\"abc", "does not end");
    expect_fault("[1] x", "behind the end");
    expect_fault("{1:2}", "a string is missing");
    expect_fault("[tru]", "a value is missing");
    expect_fault("\"\\q\"", "unknown escape");
    expect_fault("\"\\u12g4\"", "hexadecimal");
    expect_fault("[", "a number is missing");
    char deep[200];
    memset(deep, '[', 199);
    deep[199] = '\0';
    expect_fault(deep, "too deeply");
}

#define BURST1 "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
#define BURST3 "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"

static void test_burstgpt(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = BURST1 "5,ChatGPT,472,18,490,Conversation log\n"
                              "45,ChatGPT,1087,0,1087,Conversation log\n"
                              "118,GPT-4,417,276,693,API log\n";
    read_string(&r, text, NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "burstgpt");
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0, 472, 18);
    expect_row(&r, 1, 113, 417, 276);
    read_string(&r, text, "burstgpt{failed=one,origin=file,client=model}");
    assert_int_equal(r.n, 3);
    expect_row(&r, 1, 45, 1087, 1);
    assert_string_equal(r.client[0], "ChatGPT");
    assert_string_equal(r.client[2], "GPT-4");
    expect_error(text, "burstgpt{failed=error}", SIM_E_DATA, "x:3: a request with 0 output tokens");
    expect_error(BURST1 "5,ChatGPT,472,-1,1,x\n", NULL, SIM_E_DATA,
                 "x:2: column 'Response tokens': '-1' is negative");
    expect_error("Timestamp,Model,Request tokens,Response tokens,Total tokens\n1,2,3,4,5\n", NULL,
                 SIM_E_DATA, "x:1: no column 'Log Type'");
}

static void test_burstgpt_sessions(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, BURST3 "19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log\n"
                           "19440161.0,d5983bf9,2,ChatGPT,36,29,65,Conversation log\n"
                           "19440192.5,1722ac82,1.5,GPT-4,1400,3,1403,Conversation log\n"
                           "19440193.0,,1,GPT-4,1,3,4,API log\n",
                NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 4);
    expect_row(&r, 2, 82.5, 1400, 3);
    assert_int_equal(r.row[0].session, r.row[2].session);
    assert_true(r.row[0].session != r.row[1].session);
    assert_int_equal(r.row[2].turn, 1);
    assert_int_equal(r.row[3].session, 0);
    assert_true(r.row[0].measured_e2e_s == 43);
}

static void test_mooncake(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 500, \"hash_ids\": [0, 1]}\n"
                       "{\"hash_ids\": [0, 7, 9], \"timestamp\": 0, \"extra\": {\"a\":[1]}, \"input_length\": 1100, \"output_length\": 4}\n"
                       "{\"timestamp\": 3000, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": []}\n";
    read_string(&r, text, NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "mooncake");
    assert_int_equal(r.n, 3);
    expect_row(&r, 0, 0, 1000, 500);
    expect_row(&r, 2, 3, 1, 1);
    assert_int_equal(r.row[1].n_hash, 3);
    assert_int_equal(r.row[1].hash_tok, 512);
    assert_int_equal(r.hash[1][2], 9);
    read_string(&r, text, "mooncake{spread=3s}");
    expect_row(&r, 1, 1.5, 1100, 4);
    assert_int_equal(r.hash[1][1], 7);
    expect_error("{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [0,1]}\n", NULL,
                 SIM_E_DATA, "x:1: 2 hash_ids of 512 tokens for a prompt of 5 tokens");
    expect_error("{\"timestamp\": 0, \"input_length\": 5}\n", NULL, SIM_E_DATA,
                 "x:1: key 'output_length' is missing or 0");
    expect_error("{\"timestamp\": -1, \"input_length\": 5}\n", NULL, SIM_E_DATA,
                 "x:1: key 'timestamp': -1 is not a time");
    expect_error("{\"timestamp\": 0, \"input_length\": 5.5}\n", NULL, SIM_E_DATA,
                 "x:1:34: a whole number");
    expect_error("{\"timestamp\": 0, \"input_length\": 5, \n", NULL, SIM_E_DATA, "x:1:");
    expect_error("{\"timestamp\": 0, \"input_length\": 5000000000}\n", NULL, SIM_E_DATA,
                 "key 'input_length': 5000000000 is too large");
}

static void test_llmservingsim(void **state)
{
    (void)state;
    struct read_result r;
    read_string(&r, "{\"input_toks\":5,\"output_toks\":70,\"arrival_time_ns\":46926808,"
                    "\"input_tok_ids\":[1,2,3,4,5],\"output_tok_ids\":[6]}\n"
                    "{\"input_toks\":6,\"output_toks\":7,\"arrival_time_ns\":50000000.0,"
                    "\"input_tok_ids\":[1,2,3,9,5,6]}\n",
                "llmservingsim{hash_block=2}");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0.046926808, 5, 70);
    expect_row(&r, 1, 0.05, 6, 7);
    assert_int_equal(r.row[0].n_hash, 2);
    assert_int_equal(r.row[1].n_hash, 3);
    assert_true(r.hash[0][0] == r.hash[1][0] && r.hash[0][1] != r.hash[1][1]);
    /* A session: the second turn comes a pause later at the earliest. */
    read_string(&r, "{\"session_id\":\"s\",\"arrival_time_ns\":1000000000,\"sub_requests\":["
                    "{\"input_toks\":10,\"output_toks\":2,\"tool_duration_ns\":500000000},"
                    "{\"input_toks\":12,\"output_toks\":3,\"tool_duration_ns\":0}]}\n"
                    "{\"input_toks\":4,\"output_toks\":4,\"arrival_time_ns\":1200000000}\n",
                NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "llmservingsim");
    assert_int_equal(r.n, 3);
    expect_row(&r, 0, 1, 10, 2);
    expect_row(&r, 1, 1.2, 4, 4);
    expect_row(&r, 2, 1.5, 12, 3);
    assert_int_equal(r.row[2].turn, 1);
    assert_int_equal(r.row[2].gap_ns, 500000000);
    assert_true(r.row[0].session == r.row[2].session && r.row[0].session != 0);
    assert_int_equal(r.row[1].session, 0);
    expect_error("{\"input_toks\":1,\"output_toks\":4,\"arrival_time_ns\":12,\"input_tok_ids\":[1,2]}\n",
                 "llmservingsim{hash_block=2}", SIM_E_DATA, "x:1: more input_tok_ids than input_toks (1)");
    expect_error("{\"input_toks\":1,\"output_toks\":4}\n", NULL, SIM_E_DATA,
                 "key 'arrival_time_ns' is missing");
}

static void test_vllm_bench(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "{\n \"date\": \"20260102-030405\", \"num_prompts\": 3, \"request_throughput\": 1.5,\n"
                       " \"input_lens\": [100, 200, 50],\n \"output_lens\": [3, 2, 0],\n"
                       " \"ttfts\": [0.5, 0.25, 0.0],\n \"itls\": [[0.125, 0.25], [0.5], []],\n"
                       " \"start_times\": [11.5, 10.0, 12.0],\n \"generated_texts\": [\"a\", \"\", \"\"],\n"
                       " \"errors\": [\"\", \"\", \"timeout\"]\n}\n";
    read_string(&r, text, NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "vllm-bench");
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0, 200, 2);
    expect_row(&r, 1, 1.5, 100, 3);
    assert_true(r.row[0].measured_ttft_s == 0.25 && r.row[0].measured_e2e_s == 0.75);
    assert_true(r.row[1].measured_ttft_s == 0.5 && r.row[1].measured_e2e_s == 0.875);
    read_string(&r, text, "vllm-bench{failed=one}");
    assert_int_equal(r.n, 3);
    expect_row(&r, 2, 2, 50, 1);
    assert_true(isnan(r.row[2].measured_ttft_s));
    expect_error("{\"input_lens\":[1,2],\"output_lens\":[1],\"start_times\":[1,2]}", NULL, SIM_E_DATA,
                 "the arrays of requests differ in length: one ends after 1");
    expect_error("{\"input_lens\":[1],\"output_lens\":[1]}", NULL, SIM_E_DATA, "no start_times");
    expect_error("{\"input_lens\":[1],\"output_lens\":[1],\"start_times\":[0],\"ttfts\":[NaN],\"itls\":[[]]}", NULL,
                 SIM_E_DATA, "ttfts of request 0: nan is not a time");
    expect_error("{\"input_lens\":[1],\"output_lens\":[2],\"start_times\":[0],\"ttfts\":[1],\"itls\":[[-1]]}", NULL,
                 SIM_E_DATA, "itls of request 0: -1 is not a time");
    expect_error("{\"date\":\"x\",\"num_prompts\":4}", NULL, SIM_E_DATA, "--save-detailed");
    expect_error("{\"input_lens\":[1],\n\"output_lens\":[1,\n", NULL, SIM_E_DATA, "x:3:1:");
}

static void test_vtc(void **state)
{
    (void)state;
    struct read_result r;
    const char *text =
        "{\"config\": {\"num_adapters\": 2, \"req_rate\": [1.5, 3]}, \"result\": {\"total_time\": 2.5, "
        "\"responses\": [{\"adapter_dir\": \"a-1\", \"prompt_len\": 256, \"output_len\": 250, "
        "\"request_latency\": 12.5, \"first_token_latency\": 1.25, \"req_time\": 0.9163502971184}, "
        "{\"adapter_dir\": \"a-0\", \"prompt_len\": 64, \"output_len\": 32, \"request_latency\": -1, "
        "\"first_token_latency\": -1, \"req_time\": 0.65}]}}\n";
    read_string(&r, text, NULL);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.format, "vtc");
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 0.65, 64, 32);
    expect_row(&r, 1, 0.916350297, 256, 250);
    assert_string_equal(r.client[0], "a-0");
    assert_int_equal(r.row[0].client, 0);
    assert_true(isnan(r.row[0].measured_ttft_s) && isnan(r.row[0].measured_e2e_s));
    assert_true(r.row[1].measured_ttft_s == 1.25 && r.row[1].measured_e2e_s == 12.5);
    expect_error(text, "vtc{run=2}", SIM_E_DATA, "there is no run 2");
    expect_error("{\"result\":{\"responses\":[{\"adapter_dir\":\"a\",\"prompt_len\":1}]}}", NULL, SIM_E_DATA,
                 "a response without req_time");
    expect_error("{\"config\":{}, \"x\": {\"responses\":[], \"adapter_dir\":1}}", NULL, SIM_E_DATA,
                 "no key 'result'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scanner),       cmocka_unit_test(test_burstgpt),
        cmocka_unit_test(test_burstgpt_sessions), cmocka_unit_test(test_mooncake),
        cmocka_unit_test(test_llmservingsim), cmocka_unit_test(test_vllm_bench),
        cmocka_unit_test(test_vtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
