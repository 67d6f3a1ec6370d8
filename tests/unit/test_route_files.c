/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded routes and counts: what is read, what is refused and where, and that the draws by count meet
 * the counts. */
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

#include "traces/route_file.h"

static void near(double have, double want, double within)
{
    if (!(fabs(have - want) <= within)) {
        fail_msg("%.9g, expected %.9g within %g", have, want, within);
    }
}

struct fixture {
    struct arena a;
    struct err e;
    struct route_record rec;
    struct route_counts counts;
    int rc;
};

static void read_record(struct fixture *x, const char *text, const char *model, uint32_t top_k)
{
    struct route_file f;
    memset(x, 0, sizeof(*x));
    x->rc = route_file_open_memory(&f, text, strlen(text), "x.csv", &x->a, &x->e);
    x->rc = x->rc == 0 ? route_record_read(&x->rec, &f, model, top_k, &x->a, &x->e) : x->rc;
    route_file_close(&f);
}

static void read_counts(struct fixture *x, const char *text, double cv)
{
    struct route_file f;
    memset(x, 0, sizeof(*x));
    x->rc = route_file_open_memory(&f, text, strlen(text), "x.csv", &x->a, &x->e);
    x->rc = x->rc == 0 ? route_counts_read(&x->counts, &f, cv, &x->a, &x->e) : x->rc;
    route_file_close(&f);
}

static void done(struct fixture *x)
{
    route_record_release(&x->rec);
    arena_release(&x->a);
}

static void refused(struct fixture *x, const char *part)
{
    if (x->rc != SIM_E_DATA || !strstr(x->e.msg, part)) {
        fail_msg("code %d, '%s', expected '%s'", x->rc, x->e.msg, part);
    }
    done(x);
}

/* ---- recordings ---- */

static void test_packed(void **state)
{
    struct fixture x;
    (void)state;
    read_record(&x, "prompt,pos,experts\n7,0,ABcdA/\n7,1,CDBEAZ\n\n9,0,YZABxy\n", NULL, 0);
    assert_int_equal(x.rc, 0);
    assert_int_equal(x.rec.top_k, 2); /* AB cd A/: it breaks off after two */
    assert_int_equal(x.rec.layers, 3);
    assert_int_equal(x.rec.sequences, 2);
    assert_int_equal(x.rec.tokens, 3);
    assert_int_equal(x.rec.start[1], 2);
    assert_int_equal(x.rec.start[2], 3);
    assert_int_equal(x.rec.experts, 64);
    assert_true(x.rec.by_number);
    assert_int_equal(x.rec.expert[2], 28); /* c */
    assert_int_equal(x.rec.expert[5], 63);
    assert_int_equal(x.rec.expert[6 + 3], 4);
    done(&x);
}

static void test_rows_per_layer(void **state)
{
    const char *text = "model,req_id,token_idx,layer,experts\n"
                       "m,r1,0,0,5 3\nm,r1,0,1,1 0\nm,r1,1,0,2 4\nm,r1,1,1,3 1\n"
                       "m,r1,0,0,0 1\nm,r1,0,1,1 2\n"; /* the numbers start over: another sequence */
    struct fixture x;
    (void)state;
    read_record(&x, text, NULL, 0);
    assert_int_equal(x.rc, 0);
    assert_int_equal(x.rec.layers, 2);
    assert_int_equal(x.rec.top_k, 2);
    assert_int_equal(x.rec.sequences, 2);
    assert_int_equal(x.rec.start[1], 2);
    assert_int_equal(x.rec.experts, 6);
    assert_false(x.rec.by_number);
    assert_string_equal(x.rec.model, "m");
    assert_int_equal(x.rec.expert[4 + 3], 1);
    done(&x);
}

static void test_model_is_picked(void **state)
{
    const char *text = "model,pos,layer,experts\na,0,0,1 2\nb,0,0,3 4 5\nb,1,0,1 2 3\n";
    struct fixture x;
    (void)state;
    read_record(&x, text, "b", 0);
    assert_int_equal(x.rc, 0);
    assert_int_equal(x.rec.top_k, 3);
    assert_int_equal(x.rec.tokens, 2);
    done(&x);
    read_record(&x, text, NULL, 0);
    refused(&x, "x.csv:3: routes of 'b' after those of 'a': say which with model=");
    read_record(&x, text, "c", 0);
    refused(&x, "no routes of c");
}

static void test_bad_recordings(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "is empty"},
        {"prompt,pos,experts\n", "no routes"},
        {"prompt,pos\n1,2\n", "x.csv:1: no column 'experts'"},
        {"prompt,experts\n1,AB\n", "no column 'pos token token_idx'"},
        {"pos,experts\n0,A?\n", "x.csv:2: column 'experts': '?' is no expert"},
        {"pos,experts\n0,AB\n1,ABCD\n", "x.csv:3: a token with 4 experts over all layers, the first one has 2"},
        {"pos,experts\n0,\n", "x.csv:2: column 'experts' is empty"},
        {"pos,experts\n-1,AB\n", "x.csv:2: column 'pos': '-1' is negative"},
        {"pos,experts\n0,AB,4\n", "x.csv:2: 3 fields where the header has 2"},
        {"pos,layer,experts\n0,0,1 1\n", "x.csv:2: expert 1 twice in a layer"},
        {"pos,layer,experts\n0,0,1 2\n0,2,1 2\n", "x.csv:3: layer 2 after layer 0"},
        {"pos,layer,experts\n0,0,1 2\n0,1,1 2 3\n", "x.csv:3: 3 experts for a token in a layer, 2 expected"},
        {"pos,layer,experts\n0,0,1 2\n0,1,1 2\n1,0,1 2\n", "a token with 2 experts over all layers"},
        {"pos,layer,experts\n0,0,1 1024\n", "'1024'"},
        {"pos,layer,experts\n0,0,\n", "0 experts for a token"},
        {"pos,experts\n0,ABCDEFGHIJKLMNOPQRS\n", "cannot be layers of 19"},
    };
    struct fixture x;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        read_record(&x, bad[i].text, NULL, 0);
        refused(&x, bad[i].part);
    }
    read_record(&x, "pos,experts\n0,ABABAB\n", NULL, 3);
    refused(&x, "ascend in groups of 2, which top_k 3 does not divide");
    read_record(&x, "pos,layer,experts\n0,0,1 2\n", NULL, 3);
    refused(&x, "top_k is 3");
}

/* ---- a file as a source ---- */

static char tmp_path[64];

static const char *file_of(const char *text)
{
    strcpy(tmp_path, "/tmp/steelyard-routes-XXXXXX");
    int fd = mkstemp(tmp_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return tmp_path;
}

static struct routes *open_file(const char *kind, const char *options, const char *text)
{
    char spec[256];
    struct routes_env env = {.seed = 3};
    struct err e = {0};
    struct routes *r;
    snprintf(spec, sizeof(spec), "%s{file=%s%s}", kind, file_of(text), options);
    if (routes_open(&r, spec, &env, &e) < 0) {
        fail_msg("%s: %s", spec, e.msg);
    }
    unlink(tmp_path);
    return r;
}

static uint32_t first_of(struct routes *r, uint64_t seq, uint32_t pos)
{
    struct route a;
    routes_at(r, seq, pos, 0, &a);
    assert_null(a.score);
    return a.expert[0] < a.expert[1] ? a.expert[0] : a.expert[1];
}

static void test_recorded_source(void **state)
{
    /* three prompts of 2, 1 and 2 tokens, whose lower expert is 0, 2, 4, 6 and 8 */
    struct routes *r = open_file("recorded", "", "prompt,pos,experts\n1,0,AB\n1,1,CD\n2,0,EF\n3,0,GH\n3,1,IJ\n");
    (void)state;
    assert_int_equal(routes_sequences(r), 3);
    assert_int_equal(routes_length(r, 0), 2);
    assert_int_equal(routes_length(r, 4), 1);
    assert_int_equal(first_of(r, 0, 1), 2);
    assert_int_equal(first_of(r, 1, 0), 4);
    assert_int_equal(first_of(r, 1, 1), 6); /* reads on in the next prompt */
    assert_int_equal(first_of(r, 2, 2), 0); /* and after the last in the first */
    assert_int_equal(first_of(r, 5, 0), 6); /* sequences start over */
    routes_close(r);
}

static void test_recorded_order(void **state)
{
    struct routes *r = open_file("recorded", "", "pos,layer,experts\n0,0,9 2 5\n1,0,1 7 3\n");
    struct route a;
    (void)state;
    routes_at(r, 0, 1, 0, &a); /* by weight: kept */
    assert_int_equal(a.expert[0], 1);
    assert_int_equal(a.expert[1], 7);
    assert_int_equal(a.expert[2], 3);
    near((double)(a.gate[0] + a.gate[1] + a.gate[2]), 1, 1e-5);
    assert_true(a.gate[0] >= a.gate[1] && a.gate[1] >= a.gate[2]);
    routes_close(r);
}

/* By number: each of the three is first as often as the others. */
static void test_recorded_weights_at_random(void **state)
{
    struct routes *r = open_file("recorded", "", "pos,layer,experts\n0,0,2 5 9\n");
    uint32_t n[10] = {0};
    struct route a;
    (void)state;
    for (uint32_t i = 0; i < 3000; i++) {
        routes_at(r, 0, i, 0, &a);
        n[a.expert[0]]++;
    }
    assert_int_equal(n[2] + n[5] + n[9], 3000);
    near(n[2], 1000, 4 * sqrt(3000 * 2.0 / 9));
    near(n[9], 1000, 4 * sqrt(3000 * 2.0 / 9));
    routes_close(r);
}

/* ---- counts ---- */

static void test_counts(void **state)
{
    struct fixture x;
    (void)state;
    read_counts(&x, "layer,expert,count\n1,0,10\n1,2,5\n2,1,7\n", 0.15);
    assert_int_equal(x.rc, 0);
    assert_int_equal(x.counts.layers, 2); /* 1 and 2 become 0 and 1 */
    assert_int_equal(x.counts.experts, 3);
    near(x.counts.count[2], 5, 0);
    near(x.counts.count[3 + 1], 7, 0);
    done(&x);
    /* an order: Phi^-1 of 7/8, 5/8, 3/8, 1/8 is 1.1503, .3186 and their negatives */
    read_counts(&x, "rank,layer,expert\n3,0,0\n0,0,1\n2,1,0\n1,1,1\n", 0.1);
    assert_int_equal(x.rc, 0);
    assert_true(x.counts.ranked);
    near(x.counts.count[1], 1.11503, 1e-4);
    near(x.counts.count[0], 0.88497, 1e-4);
    near(x.counts.count[2], 0.96814, 1e-4);
    done(&x);
    read_counts(&x, "layer,expert,peer,count\n0,0,1,4\n0,1,0,4\n0,0,2,1\n0,2,0,1\n", 0.1);
    assert_int_equal(x.rc, 0);
    assert_true(x.counts.paired);
    near(x.counts.count[0], 5, 0);
    near(x.counts.pair[2 * 3 + 0], 1, 0);
    done(&x);
}

static void test_bad_counts(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"layer,expert\n0,0\n", "no column 'count rank'"},
        {"expert,count\n0,0\n", "no column 'layer'"},
        {"layer,expert,count\n", "no counts"},
        {"layer,expert,count\n0,0,-1\n", "x.csv:2: column 'count': '-1' is negative"},
        {"layer,expert,count\n0,0,x\n", "x.csv:2: column 'count': 'x'"},
        {"layer,expert,count\n0,5000,1\n", "x.csv:2: column 'expert': '5000'"},
        {"layer,expert,peer,count\n0,1,1,1\n", "x.csv:2: expert 1 as its own peer"},
        {"layer,expert,peer,rank\n0,1,2,1\n", "no column 'count'"},
    };
    struct fixture x;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        read_counts(&x, bad[i].text, 0.1);
        refused(&x, bad[i].part);
    }
}

#define DRAWS 40000

/* Shares of tokens that use each expert; pairs[i][j] likewise, when not NULL. */
static void draw(struct routes *r, double *used, double (*pairs)[8])
{
    uint32_t k = routes_shape(r).top_k;
    struct route a;
    for (uint32_t t = 0; t < DRAWS; t++) {
        routes_at(r, t % 7, t, 0, &a);
        for (uint32_t i = 0; i < k; i++) {
            used[a.expert[i]] += 1.0 / DRAWS;
            for (uint32_t j = 0; j < k && pairs; j++) {
                pairs[a.expert[i]][a.expert[j]] += 1.0 / DRAWS;
            }
        }
    }
}

/* Counts 8 6 5 4 4 3 1 1 of 32 draws of 2: each is in with 2 x count / 32; Pareto sampling is within 2 %. */
static void test_draws_meet_counts(void **state)
{
    static const double count[8] = {8, 6, 5, 4, 4, 3, 1, 1};
    struct routes *r = open_file("counts", ",top_k=2", "layer,expert,count\n0,0,8\n0,1,6\n0,2,5\n0,3,4\n0,4,4\n"
                                 "0,5,3\n0,6,1\n0,7,1\n");
    double used[8] = {0};
    (void)state;
    draw(r, used, NULL);
    for (uint32_t i = 0; i < 8; i++) {
        double want = count[i] / 16;
        near(used[i], want, 0.02 * want + 4 * sqrt(want * (1 - want) / DRAWS));
    }
    routes_close(r);
}

/* One expert asks for more than a place in every token: it gets that, and the others share the rest. */
static void test_draws_of_a_full_expert(void **state)
{
    struct routes *r = open_file("counts", ",top_k=2", "layer,expert,count\n0,0,90\n0,1,5\n0,2,5\n");
    double used[8] = {0};
    (void)state;
    draw(r, used, NULL);
    near(used[0], 1, 0.001);
    near(used[1], 0.5, 0.02);
    routes_close(r);
}

/* Two clusters, 0-1 and 2-3, joined by few pairs: both counts and joint counts come out. */
static void test_draws_meet_pairs(void **state)
{
    static const double joint[4][4] = {{0, 80, 10, 10}, {80, 0, 10, 10}, {10, 10, 0, 80}, {10, 10, 80, 0}};
    char text[600] = "layer,expert,peer,count\n";
    double used[8] = {0}, pairs[8][8] = {{0}};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < 4; j++) {
            size_t n = strlen(text);
            if (i != j) {
                snprintf(text + n, sizeof(text) - n, "0,%u,%u,%g\n", i, j, joint[i][j]);
            }
        }
    }
    struct routes *r = open_file("counts", ",top_k=2", text);
    draw(r, used, pairs);
    for (uint32_t i = 0; i < 4; i++) {
        near(used[i], 0.5, 0.02);
        for (uint32_t j = 0; j < 4; j++) {
            near(i == j ? 0 : pairs[i][j], joint[i][j] / 200, 0.01); /* 400 ordered pairs, two to a token */
        }
    }
    routes_close(r);
}

static void test_missing_files(void **state)
{
    struct routes_env none = {0};
    struct err e = {0};
    struct routes *r;
    (void)state;
    assert_int_equal(routes_open(&r, "recorded", &none, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "file= is missing"));
    e = (struct err){0};
    assert_int_equal(routes_open(&r, "counts{file=/nowhere.csv,top_k=2}", &none, &e), SIM_E_IO);
    assert_non_null(strstr(e.msg, "/nowhere.csv"));
}

/* ---- the files of the recordings, where they are ---- */

static bool shared_file(char *path, size_t size, const char *name)
{
    const char *shared = getenv("STEELYARD_SHARED");
    snprintf(path, size, "%s/data/moe/%s", shared ? shared : "", name);
    if (!shared || access(path, R_OK) != 0) {
        print_message("skipped: no %s in STEELYARD_SHARED\n", name);
        return false;
    }
    return true;
}

static void test_shared_files(void **state)
{
    char path[512], spec[600];
    struct routes_env env = {.shape = {8, 2, 32}}, lite = {.shape = {64, 6, 26}}, none = {0};
    struct err e = {0};
    struct routes *r;
    (void)state;
    if (!shared_file(path, sizeof(path), "mixtral_8x7b_popularity_order.csv")) {
        skip();
    }
    snprintf(spec, sizeof(spec), "counts{file=%s}", path);
    assert_int_equal(routes_open(&r, spec, &env, &e), 0);
    routes_close(r);
    shared_file(path, sizeof(path), "deepseek_v2_lite_counts.csv.gz");
    snprintf(spec, sizeof(spec), "counts{file=%s}", path);
    assert_int_equal(routes_open(&r, spec, &lite, &e), 0);
    routes_close(r);
    shared_file(path, sizeof(path), "layer0_routes_small.csv.gz");
    snprintf(spec, sizeof(spec), "recorded{file=%s,model=olmoe-1b-7b-0924}", path);
    assert_int_equal(routes_open(&r, spec, &none, &e), 0);
    assert_int_equal(routes_shape(r).top_k, 8);
    assert_int_equal(routes_shape(r).experts, 64);
    routes_close(r);
    snprintf(spec, sizeof(spec), "recorded{file=%s}", path);
    assert_int_equal(routes_open(&r, spec, &none, &e), SIM_E_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_rows_per_layer),
        cmocka_unit_test(test_model_is_picked),
        cmocka_unit_test(test_bad_recordings),
        cmocka_unit_test(test_recorded_source),
        cmocka_unit_test(test_recorded_order),
        cmocka_unit_test(test_recorded_weights_at_random),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_bad_counts),
        cmocka_unit_test(test_draws_meet_counts),
        cmocka_unit_test(test_draws_of_a_full_expert),
        cmocka_unit_test(test_draws_meet_pairs),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_shared_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
