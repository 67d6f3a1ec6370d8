/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of collectives as they were measured: output of nccl-tests into curves, curves into files and back, what lies between
 * two sizes, and their use by the fabric and the roofline. Expected values by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calibrate/nccl_tests.h"
#include "models/cost.h"
#include "models/gpu.h"
#include "sim/fabric/collective.h"

static const char two_tests[] =
    "host$ mpirun ./build/all_reduce_perf -b 1M -e 4M -f 2\n"
    "# nThread 1 nGpus 1 minBytes 1048576 maxBytes 4194304 step: 2(factor)\n"
    "# Using devices\n"
    "[1,0]<stdout>:#  Rank  0 Group  0 Pid  429 on inst-a device  0 [0xda] NVIDIA A100-SXM4-40GB\n"
    "#  Rank  1 Group  0 Pid  371 on inst-a device  1 [0x0f] NVIDIA A100-SXM4-40GB\n"
    "#  Rank  2 Group  0 Pid  371 on inst-b device  0 [0x0f] NVIDIA A100-SXM4-40GB\n"
    "#  Rank  3 Group  0 Pid  371 on inst-b device  1 [0x0f] NVIDIA A100-SXM4-40GB\n"
    "#                                                              out-of-place                       in-place\n"
    "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong\n"
    "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)\n"
    "           0             0     float     sum      -1     0.54    0.00    0.00      0     0.20    0.04    0.00      0\n"
    "[1,0]<stdout>:     1048576        262144     float     sum      -1    105.9    9.90   17.33      0    1.7    9.92   17.37      0\n"
    "node7: NCCL WARN something of another program\n"
    "     4194304       1048576     float     sum      -1    211.8   23.68   41.44      0    1.7   23.74   41.55      0\r\n"
    "# Avg bus bandwidth    : 22.0\n"
    "# nccl-tests version 2.18.2 nccl-headers=23007 nccl-library=23007\n"
    "# Collective test starting: alltoall_perf\n"
    "# nThread 2 nGpus 4 minBytes 1048576 maxBytes 4194304 step: 2(factor)\n"
    "#       size         count      type     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong\n"
    "        1024             1     float    10.00    3.09    3.09     N/A   335.85    3.12    3.12     N/A\n";

static int read_text(struct measured *m, const struct nccl_tests *said, const char *text, struct arena *a, struct err *e)
{
    *m = (struct measured){0};
    return nccl_tests_parse(m, said, text, strlen(text), "out.txt", a, e);
}

static void test_output(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct measured m;
    struct nccl_tests said = {0};

    assert_int_equal(read_text(&m, &said, two_tests, &a, &e), 0);
    assert_int_equal(m.n, 2);
    const struct measured_curve *c = measured_find(&m, "all_reduce", 4, 2);
    assert_non_null(c);
    assert_int_equal(c->n, 2);
    assert_true(c->bytes[0] == 1048576 && c->us[0] == 105.9 && c->bytes[1] == 4194304 && c->us[1] == 211.8);
    c = measured_find(&m, "all_to_all", 8, 1); /* no rank is listed: 2 threads of 4 GPUs */
    assert_non_null(c);
    assert_true(c->n == 1 && c->bytes[0] == 1024 && c->us[0] == 10);
    assert_null(measured_find(&m, "all_reduce", 4, 1));
    arena_release(&a);
}

/* A time in which wrong results came about is none. */
static void test_wrong(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct measured m;
    struct nccl_tests said = {.op = "all_reduce", .ranks = 2};
    char text[] = "#  size  count  type  time  algbw  busbw  #wrong  time  algbw  busbw  #wrong\n"
                  "   1024   256 float  10.0   1.0    1.0       0  10.0    1.0    1.0       7\n";

    assert_int_equal(read_text(&m, &said, text, &a, &e), 0); /* the run in place is not what is read */
    *strstr(text, "0  10.0") = '3';
    assert_int_equal(read_text(&m, &said, text, &a, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "out.txt:2: the results of this row were wrong"));
    arena_release(&a);
}

/* What the output does not say is asked for, and taken. */
static void test_unsaid(void **state)
{
    (void)state;
    static const char rows[] = "#       size         count      type     time\n        1024             1     float    10.00\n";
    static const struct {
        const char *text, *says;
        struct nccl_tests said;
    } bad[] = {
        {rows, "out.txt:2: the output does not say which collective", {0}},
        {rows, "out.txt:2: the output lists less than two ranks", {.op = "all_gather"}},
        {"x\n", "out.txt: no row of nccl-tests", {0}},
        {"./broadcast_perf\n# size time\n8 1\n", "but no other test", {0}},
        {"# size time\n8 oops\n", "out.txt:2: a row with a size and a time", {.op = "all_gather", .ranks = 2}},
    };
    struct nccl_tests said = {.op = "all_gather", .ranks = 16, .nodes = 2};
    struct measured m;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena a = {0};
        struct err e = {0};

        assert_int_equal(read_text(&m, &bad[i].said, bad[i].text, &a, &e), SIM_E_DATA);
        if (!strstr(e.msg, bad[i].says)) {
            fail_msg("'%s' without '%s'", e.msg, bad[i].says);
        }
        arena_release(&a);
    }
    struct arena a = {0};
    struct err e = {0};
    assert_int_equal(read_text(&m, &said, rows, &a, &e), 0);
    assert_non_null(measured_find(&m, "all_gather", 16, 2));
    arena_release(&a);
}

/* 100 us at 1e4, 400 us at 4e6 bytes: at their geometric mean, 2e5, the times' geometric mean; below the first as
 * it, twice beyond the last twice the time. */
static void test_between(void **state)
{
    (void)state;
    double bytes[] = {1e4, 4e6}, us[] = {100, 400};
    struct measured_curve c = {.op = "all_reduce", .ranks = 2, .nodes = 1, .n = 2, .bytes = bytes, .us = us};

    assert_true(fabs(measured_us(&c, 2e5) - 200) < 1e-9);
    assert_true(measured_us(&c, 0) == 100 && measured_us(&c, 1e4) == 100 && measured_us(&c, 4e6) == 400);
    assert_true(fabs(measured_us(&c, 8e6) - 800) < 1e-9);
}

/* Out of order, twice the same size, one disturbed: 59 us at 8 KiB beside 24.6 at 16. */
static void test_mend(void **state)
{
    (void)state;
    double bytes[] = {16384, 4096, 8192, 32768, 4096}, us[] = {24.6, 23, 59, 24.5, 22};
    struct measured_curve c = {.n = 5, .bytes = bytes, .us = us}, thin;
    struct arena a = {0};
    uint32_t lowered;

    measured_mend(&c, &lowered);
    assert_int_equal(c.n, 4);
    assert_int_equal(lowered, 1);
    assert_true(us[0] == 22 && us[1] == 24.5 && us[2] == 24.5 && us[3] == 24.5 && bytes[1] == 8192);
    assert_int_equal(measured_thin(&thin, &c, &a, NULL), 0); /* the last stays */
    assert_int_equal(thin.n, 2);
    assert_true(thin.bytes[0] == 8192 && thin.bytes[1] == 32768);
    arena_release(&a);
}

static const char file[] = "{\"measured\": [{\"op\": \"all_reduce\", \"ranks\": 4, \"bytes\": [1e4, 4e6], \"us\": [100, 400]}]}";

/* The fabric takes the time as it is: no host on top, no other number of ranks. */
static void test_fabric(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct collective_model m;
    struct collective_choice got;
    struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 4, .bytes = 2e5, .host_us = 50};

    assert_int_equal(collective_parse(&m, file, strlen(file), "f.json", &a, &e), 0);
    assert_int_equal(collective_time(&m, &c, &got, &e), 0);
    assert_true(got.measured && fabs(got.us - 200) < 1e-9);
    c.ranks = 8;
    assert_int_equal(collective_time(&m, &c, &got, &e), SIM_E_CONFIG);
    arena_release(&a);
}

static void test_file_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"measured\": {}}", "is no list"},
        {"{\"measured\": [1]}", "entry 1: an object with 'op'"},
        {"{\"measured\": [{\"op\": \"x\", \"ranks\": 1.5}]}", "entry 1: an object with 'op'"},
        {"{\"measured\": [{\"op\": \"x\", \"ranks\": 2, \"bytes\": [1, 2], \"us\": [1]}]}", "of one length"},
        {"{\"measured\": [{\"op\": \"x\", \"ranks\": 2, \"bytes\": [2, 1], \"us\": [1, 1]}]}", "has to ascend"},
        {"{\"measured\": [{\"op\": \"x\", \"ranks\": 2, \"bytes\": [1, 2], \"us\": [2, 1]}]}", "must not descend"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a = {0};
        struct err e = {0};
        struct measured m;

        assert_int_equal(measured_parse(&m, cases[i][0], strlen(cases[i][0]), "f.json", &a, &e), SIM_E_CONFIG);
        if (!strstr(e.msg, cases[i][1]) || !strstr(e.msg, "f.json:1:")) {
            fail_msg("'%s' without '%s'", e.msg, cases[i][1]);
        }
        arena_release(&a);
    }
}

/* ---- the roofline ---- */

static double step_us(const char *spec, uint32_t tp, uint32_t decodes, struct err *e)
{
    struct arena a = {0};
    struct llm_shape llm;
    struct gpu_profile gpu;
    struct cost_env env = {.llm = &llm, .gpu = &gpu, .tp = tp, .arena = &a};
    const struct cost_ops *ops = cost_find("roofline");
    struct batch_shape s = {.n_decode = decodes, .decode_ctx_tok = 100ull * decodes};
    struct cost_affine c = {0};
    void *state = arena_calloc(&a, 1, ops->state_size);

    assert_int_equal(llm_load(&llm, "llama-3.1-8b", getenv("STEELYARD_DATA"), NULL, NULL, &a, e), 0);
    assert_int_equal(gpu_load(&gpu, "h100", getenv("STEELYARD_DATA"), &a, e), 0);
    if (opt_spec_apply(spec, ops->options, state, &a, e) == 0 && ops->init(state, &env, e) == 0) {
        ops->iteration(state, &s, &c);
    }
    arena_release(&a);
    return (double)c.base / (double)cost_coef(1e-6);
}

/* 32 layers, two all-reduces each of 4096 * 2 bytes a token: 24 tokens are 196,608 bytes, 100 * 19.6608^(ln 4/ln 400) us. */
static void test_roofline(void **state)
{
    (void)state;
    char path[] = "/tmp/measured-XXXXXX", spec[80];
    struct err e = {0};
    int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file));
    close(fd);
    snprintf(spec, sizeof spec, "roofline{collectives=%s}", path);
    double alone = step_us("roofline{eff_link=1,allreduce_us=1}", 4, 24, &e); /* 64 * (1 + 1.5 * 196608 / 450e3) */
    double want = 64 * (100 * pow(19.6608, log(4) / log(400)) - 1 - 1.5 * 196608 / 450e3);
    assert_true(fabs((step_us(spec, 4, 24, &e) - alone) / want - 1) < 1e-3);
    assert_int_equal(e.code, 0);
    step_us(spec, 8, 24, &e);
    assert_int_equal(e.code, SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "no all_reduce of 8 ranks on one node was measured (of ranks: 4)"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output), cmocka_unit_test(test_wrong), cmocka_unit_test(test_unsaid),      cmocka_unit_test(test_between),  cmocka_unit_test(test_mend),
        cmocka_unit_test(test_fabric),  cmocka_unit_test(test_file_errors), cmocka_unit_test(test_roofline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
