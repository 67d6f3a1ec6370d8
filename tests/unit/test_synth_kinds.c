/* SPDX-License-Identifier: Apache-2.0
 *
 * The generators servegen and programs: against closed forms, against ServeGen's own tables where they lie
 * beside the source, and programs by their rules. */
#include "tests/unit/trace_test.h"

#include <unistd.h>

#include "traces/synth.h"

static struct trace *open_spec(const char *spec)
{
    struct trace *t;
    struct err e = {0};

    if (trace_open(&t, spec, NULL, 1, 0, &e) < 0) {
        fail_msg("%s: %s", spec, e.msg);
    }
    return t;
}

static bool next_of(struct trace *t, struct arrival *a)
{
    struct err e = {0};
    int rc = trace_next(t, a, &e);

    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
    return rc == 1;
}

static void near(double have, double want, double share, const char *what)
{
    if (!(fabs(have - want) <= share * fabs(want))) {
        fail_msg("%s: %g, expected %g within %g %%", what, have, want, share * 100);
    }
}

/* ---- servegen ---- */

#define W_HEAD "client,t_s,rate,cv,dist,shape\n"
#define Q_HEAD "client,field,mean,q0000,q0500,q1000\n"
#define LENGTHS "a,input_tokens,30,10,20,100\na,output_tokens,7,7,7,7\n" \
                "b,input_tokens,30,10,20,100\nb,output_tokens,5,5,5,5\n"

static char windows_path[64], quantiles_path[64];

static void write_tmp(char *path, const char *head, const char *rows)
{
    strcpy(path, "/tmp/steelyard-servegen-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, strlen(head)), (ssize_t)strlen(head));
    assert_int_equal(write(fd, rows, strlen(rows)), (ssize_t)strlen(rows));
    close(fd);
}

static void write_tables(const char *windows, const char *lengths)
{
    write_tmp(windows_path, W_HEAD, windows);
    write_tmp(quantiles_path, Q_HEAD, lengths);
}

static const char *spec_of(const char *options)
{
    static char spec[512];
    snprintf(spec, sizeof(spec), "synth:servegen{windows=%s,quantiles=%s%s}", windows_path, quantiles_path,
             options);
    return spec;
}

/* Client a: Gamma gaps, CV 2; b: Weibull gaps of shape 1/2, whose CV is sqrt(5) (Gamma(5)/Gamma(3)^2 - 1).
 * 300 windows of 600 s each; mean counts are rate times time only if windows begin in the middle of gaps. */
static void test_servegen_closed_forms(void **state)
{
    static char rows[64 * 600];
    double n[2] = {0, 0}, gaps[2] = {0, 0}, gap[2] = {0, 0}, gap2[2] = {0, 0}, last[2] = {-1, -1};
    double prompt = 0;
    size_t len = 0;
    struct arrival a;

    (void)state;
    for (int i = 0; i < 300; i++) {
        len += (size_t)sprintf(rows + len, "a,%d,0.5,2,G,0.25\n", 600 * i);
    }
    for (int i = 0; i < 300; i++) {
        len += (size_t)sprintf(rows + len, "b,%d,0.2,2.236,W,0.5\n", 600 * i);
    }
    write_tables(rows, LENGTHS);
    struct trace *t = open_spec(spec_of(",duration=180000"));
    while (next_of(t, &a)) {
        double at = (double)a.time_ns / 1e9;
        uint32_t c = a.client;
        if (last[c] >= 0 && floor(at / 600) == floor(last[c] / 600)) {
            gap[c] += at - last[c];
            gap2[c] += (at - last[c]) * (at - last[c]);
            gaps[c]++;
        }
        last[c] = at;
        n[c]++;
        prompt += a.prompt_tok;
        assert_int_equal(a.output_tok, c == 0 ? 7 : 5);
    }
    trace_close(t);
    near(n[0], 0.5 * 180000, 0.02, "requests of a");
    near(n[1], 0.2 * 180000, 0.03, "requests of b");
    near(sqrt(gap2[0] / gaps[0] / pow(gap[0] / gaps[0], 2) - 1), 2, 0.04, "CV of a");
    near(sqrt(gap2[1] / gaps[1] / pow(gap[1] / gaps[1], 2) - 1), sqrt(5), 0.06, "CV of b");
    near(prompt / (n[0] + n[1]), 30, 0.02, "mean prompt"); /* straight lines would give 37.5 */
    unlink(windows_path);
    unlink(quantiles_path);
}

static void test_servegen_parts(void **state)
{
    struct arrival a;
    double n = 0;

    (void)state;
    write_tables("a,0,1,1,G,1\na,600,3,1,G,1\nb,600,9,1,G,1\nc,600,50,1,G,1\n", LENGTHS); /* c: no lengths */
    struct trace *t = open_spec(spec_of(",clients=1,start=300,duration=600"));
    while (next_of(t, &a)) { /* b is the busiest: 9/s in the second half */
        assert_int_equal(a.client, 0);
        assert_string_equal(trace_client_name(t, a.client), "b");
        assert_true(a.time_ns >= 300000000000 && a.time_ns < 600000000000);
        n++;
    }
    trace_close(t);
    near(n, 2700, 0.06, "requests of b");
    t = open_spec(spec_of(",rate=20,duration=1200"));
    for (n = 0; next_of(t, &a); n++) {
    }
    trace_close(t);
    near(n, 24000, 0.02, "requests at a given rate");
    t = open_spec(spec_of(",requests=77"));
    for (n = 0; next_of(t, &a); n++) {
    }
    trace_close(t);
    near(n, 77, 0, "requests up to a limit");
    unlink(windows_path);
    unlink(quantiles_path);
}

static void expect_bad(const char *windows, const char *lengths, const char *options, const char *why)
{
    struct trace *t;
    struct err e = {0};

    write_tables(windows, lengths);
    int rc = trace_open(&t, spec_of(options), NULL, 1, 0, &e);
    if (rc == 0) {
        trace_close(t);
    }
    if (rc == 0 || !strstr(e.msg, why)) {
        fail_msg("expected '%s', got %d '%s'", why, rc, e.msg);
    }
    unlink(windows_path);
    unlink(quantiles_path);
}

static void test_servegen_errors(void **state)
{
    struct trace *t;
    struct err e = {0};

    (void)state;
    assert_int_equal(trace_open(&t, "synth:servegen", NULL, 1, 0, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "windows=PATH is missing"));
    expect_bad("a,0,1,1,G,1\n", LENGTHS, ",client=2", "did you mean 'clients'?");
    expect_bad("a,0,1,1,X,1\n", LENGTHS, "", ":2: column 'dist': neither G (Gamma) nor W (Weibull)");
    expect_bad("a,0,-1,1,G,1\n", LENGTHS, "", ":2: column 'rate': '-1' is not a number");
    expect_bad("a,0,1,1,G\n", LENGTHS, "", ":2: another number of fields");
    expect_bad("a,600,1,1,G,1\na,0,1,1,G,1\n", LENGTHS, "", "overlap or go back in time");
    expect_bad("a,0,1,1,G,1\n", "a,input_tokens,1,5,4,9\n", "", ":2: quantiles must rise");
    expect_bad("z,0,1,1,G,1\n", LENGTHS, "", "no client with known lengths has requests");
    expect_bad("a,9000,1,1,G,1\n", LENGTHS, "", "no client with known lengths has requests");
}

/* ServeGen's deepseek-r1 tables: windows' counts against rate * 600 in units of their deviation
 * (cv * sqrt(count)), clients' mean lengths against the published means. */
#define MOST_CLIENTS 128
#define MOST_WINDOWS 144

struct served {
    uint32_t n[MOST_CLIENTS][MOST_WINDOWS];
    double requests[MOST_CLIENTS], in[MOST_CLIENTS], out[MOST_CLIENTS];
};

static char *read_table(const char *path)
{
    char command[512];
    static char text[1 << 20];
    snprintf(command, sizeof(command), "gzip -dc '%s'", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    pclose(f);
    text[n] = '\0';
    return text;
}

static int client_number(const struct trace *t, const char *name)
{
    for (uint32_t c = 0; c < trace_clients(t); c++) {
        if (strcmp(trace_client_name(t, c), name) == 0) {
            return (int)c;
        }
    }
    return -1;
}

static void check_windows(const struct trace *t, const struct served *s, const char *text)
{
    double z = 0, zz = 0, n = 0, rate, cv, all = 0, want = 0;
    char client[32], dist;
    int at, used;

    for (text = strchr(text, '\n') + 1; sscanf(text, "%31[^,],%d,%lf,%lf,%c%n", client, &at, &rate, &cv, &dist, &used) == 5;
         text = strchr(text, '\n') + 1) {
        int c = client_number(t, client);
        double expected = rate * 600, have;
        if (c < 0 || at / 600 >= MOST_WINDOWS) {
            continue;
        }
        have = s->n[c][at / 600];
        all += have;
        want += expected;
        if (dist == 'G' && cv < 2 && expected >= 200) {
            double d = (have - expected) / (cv * sqrt(expected));
            z += d;
            zz += d * d;
            n++;
        }
    }
    near(all, want, 0.005, "requests in all");
    assert_true(n > 500);
    assert_true(fabs(z / n) < 4 / sqrt(n));
    near(zz / n, 1, 0.15, "spread of the counts of windows");
}

static void check_lengths(const struct trace *t, const struct served *s, const char *text)
{
    char client[32], field[32];
    double mean;
    int checked = 0;

    for (text = strchr(text, '\n') + 1; sscanf(text, "%31[^,],%31[^,],%lf", client, field, &mean) == 3;
         text = strchr(text, '\n') + 1) {
        int c = client_number(t, client);
        if (c < 0 || s->requests[c] < 5000 || strcmp(field, "reason_ratio") == 0) {
            continue;
        }
        near((strcmp(field, "output_tokens") == 0 ? s->out : s->in)[c] / s->requests[c], mean, 0.06, client);
        checked++;
    }
    assert_true(checked > 10);
}

static void test_servegen_tables(void **state)
{
    static struct served s;
    const char *dir = getenv("STEELYARD_SHARED");
    char windows[256], quantiles[256], spec[640];
    struct arrival a;

    (void)state;
    snprintf(windows, sizeof(windows), "%s/data/traces/servegen_deepseek-r1_windows.csv.gz", dir ? dir : "");
    snprintf(quantiles, sizeof(quantiles), "%s/data/traces/servegen_deepseek-r1_client_quantiles.csv.gz",
             dir ? dir : "");
    if (access(windows, R_OK) != 0) {
        print_message("# no public data beside the source: skipped\n");
        skip();
    }
    snprintf(spec, sizeof(spec), "synth:servegen{windows=%s,quantiles=%s,duration=86400}", windows, quantiles);
    struct trace *t = open_spec(spec);
    assert_true(trace_clients(t) <= MOST_CLIENTS);
    while (next_of(t, &a)) {
        s.n[a.client][a.time_ns / 600000000000]++;
        s.requests[a.client]++;
        s.in[a.client] += a.prompt_tok;
        s.out[a.client] += a.output_tok;
    }
    check_windows(t, &s, read_table(windows));
    check_lengths(t, &s, read_table(quantiles));
    trace_close(t);
}

/* ---- programs ---- */

static void test_chat(void **state)
{
    struct trace *t = open_spec("synth:chat{programs=4000}");
    static uint32_t turns[4001], prompt[4001], blocks[4001];
    struct arrival a;
    double logs = 0, log2s = 0, gaps = 0, all = 0, singles = 0, few = 0, two = 0;

    (void)state;
    while (next_of(t, &a)) {
        assert_int_equal(a.slo_class, SLO_LATENCY);
        if (a.session == 0) {
            singles++;
            continue;
        }
        assert_true(a.session <= 4000);
        assert_int_equal(a.turn, turns[a.session]); /* in order of time */
        assert_true(a.prompt_tok > prompt[a.session] && a.n_hash >= blocks[a.session]);
        assert_int_equal(a.n_hash, a.prompt_tok / 16);
        turns[a.session]++;
        prompt[a.session] = a.prompt_tok + a.output_tok;
        blocks[a.session] = a.n_hash;
        if (a.turn > 0) {
            double l = log((double)a.gap_ns / 1e9);
            logs += l;
            log2s += l * l;
            gaps++;
        }
    }
    trace_close(t);
    for (int i = 1; i <= 4000; i++) {
        all += turns[i] ? turns[i] : 1;
        two += turns[i] == 2;
        few += turns[i] <= 4;
    }
    near(singles / 4000, 0.35, 0.07, "single turns");
    near((singles + two) / 4000, 0.55, 0.05, "up to the median of 2");
    near(few / 4000, 0.75, 0.04, "up to 4 turns");
    near(all / 4000, 4.2, 0.05, "turns");
    near(logs / gaps, 4.82, 0.01, "mu of the gaps");
    near(sqrt(log2s / gaps - pow(logs / gaps, 2)), 1.25, 0.03, "sigma of the gaps");
}

/* 3;1;3;1: eight calls in four stages, none of which begins before the one before it is through. */
static void test_tree_of_thought(void **state)
{
    struct trace *t = open_spec("synth:tree-of-thought{programs=200}");
    static uint32_t calls[201][4];
    static sim_ns end[201], first[201][4];
    struct arrival a;

    (void)state;
    while (next_of(t, &a)) {
        assert_true(a.session >= 1 && a.session <= 200 && a.turn < 4 && a.output_tok <= 256);
        assert_int_equal(a.slo_class, SLO_COMPOUND);
        assert_true(a.e2e_slo_ms == (float)(4 * 8000 * ((a.session - 1) % 4 + 1)));
        if (calls[a.session][a.turn]++ == 0) {
            first[a.session][a.turn] = a.time_ns;
            assert_true(a.turn == 0 || llabs(a.time_ns - end[a.session] - a.gap_ns) <= 1);
        }
        assert_int_equal(a.time_ns, first[a.session][a.turn]);
        sim_ns done = a.time_ns + a.output_tok * (sim_ns)20000000;
        end[a.session] = done > end[a.session] ? done : end[a.session];
    }
    trace_close(t);
    for (int i = 1; i <= 200; i++) {
        assert_true(calls[i][0] == 3 && calls[i][1] == 1 && calls[i][2] == 3 && calls[i][3] == 1);
    }
}

/* Alternatives of lengths go with those of the stages. */
static void test_lengths_by_shape(void **state)
{
    struct trace *t = open_spec("synth:programs{mix=0;0;1,programs=200,stages=1|1;2,call_prompt=100|200,"
                                "call_output=5|7}");
    static uint32_t calls[201], prompt[201];
    uint32_t shapes[2] = {0, 0};
    struct arrival a;

    (void)state;
    while (next_of(t, &a)) {
        assert_true(a.prompt_tok == 100 || a.prompt_tok == 200);
        assert_int_equal(a.output_tok, a.prompt_tok == 100 ? 5 : 7);
        assert_true(prompt[a.session] == 0 || prompt[a.session] == a.prompt_tok);
        prompt[a.session] = a.prompt_tok;
        calls[a.session]++;
    }
    trace_close(t);
    for (int i = 1; i <= 200; i++) {
        assert_int_equal(calls[i], prompt[i] == 100 ? 1 : 3);
        shapes[prompt[i] == 200]++;
    }
    assert_true(shapes[0] > 70 && shapes[1] > 70);
}

static void test_mix(void **state)
{
    struct trace *t = open_spec("synth:jitserve-mix{clients=3,mix=1;1;0.142857;0.5}");
    double n[SLO_CLASSES] = {0}, clients[3] = {0};
    static bool seen[3001];
    struct arrival a;

    (void)state;
    while (next_of(t, &a)) {
        if (a.session == 0 || !seen[a.session]) {
            n[a.slo_class]++;
            clients[a.client]++;
        }
        seen[a.session] = a.session != 0;
        assert_true((a.slo_class == SLO_LATENCY) == (a.ttft_slo_ms > 0 && a.tpot_slo_ms > 0));
        assert_true((a.slo_class == SLO_DEADLINE || a.slo_class == SLO_COMPOUND) == (a.e2e_slo_ms > 0));
    }
    trace_close(t);
    near(n[SLO_LATENCY], 3000 / 2.642857, 0.08, "latency");
    near(n[SLO_DEADLINE], 3000 / 2.642857, 0.08, "deadline");
    near(n[SLO_COMPOUND], 3000 / 2.642857 / 7, 0.2, "compound");
    near(n[SLO_BEST_EFFORT], 1500 / 2.642857, 0.1, "best effort");
    near(clients[0] + clients[1] + clients[2], 3000, 0, "programs");
    near(clients[1], 1000, 0.1, "of one client");
}

/* A diamond with a tail: 2 and 3 after 1, 4 after both, 5 after 1 and 4. Each call is sent its gap after the
 * last of those that it waits for would be done at 20 ms a token; the deadline is for four levels. */
static void test_graphs(void **state)
{
    static const unsigned after[6][3] = {{0}, {0}, {1}, {1}, {2, 3}, {1, 4}};
    static const unsigned depth[6] = {0, 0, 1, 1, 2, 3};
    struct trace *t = open_spec("synth:programs{mix=0;0;1,programs=200,levels=1,graphs=-;1;1;2+3;1+4}");
    static sim_ns end[201][6];
    struct arrival a;
    unsigned n = 0, out_of_order = 0, last[201] = {0};
    (void)state;
    assert_true(trace_caps(t) & TRACE_CALLS);
    while (next_of(t, &a)) {
        sim_ns from = 0;
        assert_true(a.session >= 1 && a.session <= 200 && a.call >= 1 && a.call <= 5);
        assert_int_equal(a.turn, depth[a.call]);
        assert_int_equal(a.slo_class, SLO_COMPOUND);
        assert_true(a.e2e_slo_ms == 4 * 8000);
        for (unsigned k = 0; k < 3 && after[a.call][k]; k++) {
            assert_true(k < a.n_after && a.after[k] == after[a.call][k]);
            assert_true(end[a.session][after[a.call][k]] > 0); /* it came before */
            from = from > end[a.session][after[a.call][k]] ? from : end[a.session][after[a.call][k]];
        }
        assert_true(a.call == 1 ? a.n_after == 0 && a.gap_ns == -1 : llabs(a.time_ns - from - a.gap_ns) <= 2);
        end[a.session][a.call] = a.time_ns + a.output_tok * (sim_ns)20000000;
        out_of_order += a.call < last[a.session];
        last[a.session] = a.call;
        n++;
    }
    trace_close(t);
    assert_int_equal(n, 1000);
    assert_true(out_of_order > 50 && out_of_order < 150); /* gaps are drawn: 3 before 2 in about half */
}

/* Means of what is left of NanoFlow's files when prompts and answers above 1024 tokens are taken out. */
static void test_chat_lengths(void **state)
{
    static const struct {
        const char *spec;
        double prompt, output;
    } of[] = {{"synth:sharegpt{rates=100,duration=300}", 108.3, 316.9},
              {"synth:lmsys{rates=100,duration=300}", 89.0, 205.3}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct trace *t = open_spec(of[i].spec);
        double n = 0, prompt = 0, output = 0;
        bool seen[27] = {false};
        struct arrival a;

        while (next_of(t, &a)) {
            assert_true(a.prompt_tok <= 1024 && a.output_tok <= 1024 && a.max_output_tok == 1024);
            n++;
            prompt += a.prompt_tok;
            output += a.output_tok;
            seen[a.client] = true;
        }
        trace_close(t);
        near(prompt / n, of[i].prompt, 0.04, "mean prompt");
        near(output / n, of[i].output, 0.03, "mean answer");
        assert_true(seen[0] && seen[26]);
    }
}

static void expect_bad_spec(const char *spec, const char *why)
{
    struct trace *t;
    struct err e = {0};
    int rc = trace_open(&t, spec, NULL, 1, 0, &e);
    if (rc == 0) {
        trace_close(t);
    }
    if (rc != SIM_E_CONFIG || !strstr(e.msg, why)) {
        fail_msg("%s: expected '%s', got %d '%s'", spec, why, rc, e.msg);
    }
}

static void test_programs_errors(void **state)
{
    (void)state;
    expect_bad_spec("synth:programs{call_prompt=1|2|3}", "call_prompt: 3 alternatives, where there are 2 shapes");
    expect_bad_spec("synth:programs{call_output=1..9|oops}", "call_output");
    expect_bad_spec("synth:programs{stages=3;x}", "stages '3;x'");
    expect_bad_spec("synth:programs{stages=3;}", "stages '3;'");
    expect_bad_spec("synth:programs{stages=}", "stages");
    expect_bad_spec("synth:programs{graphs=-;3}", "graphs '-;3'");
    expect_bad_spec("synth:programs{graphs=1}", "graphs '1'");
    expect_bad_spec("synth:programs{graphs=-;1;1+1}", "graphs");
    expect_bad_spec("synth:programs{graphs=-;1;}", "graphs");
    expect_bad_spec("synth:programs{graphs=-|}", "graphs");
    expect_bad_spec("synth:programs{graphs=-;+1}", "graphs");
    expect_bad_spec("synth:programs{mix=0;0}", "all weights are 0");
    expect_bad_spec("synth:programs{mix=1;1;1;1;1}", "5 weights");
    expect_bad_spec("synth:programs{turn=3}", "did you mean 'turns'?");
    expect_bad_spec("synth:program", "did you mean 'programs'?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servegen_closed_forms), cmocka_unit_test(test_servegen_parts),
        cmocka_unit_test(test_servegen_errors),       cmocka_unit_test(test_servegen_tables),
        cmocka_unit_test(test_chat),                  cmocka_unit_test(test_tree_of_thought),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_mix),                   cmocka_unit_test(test_programs_errors),
        cmocka_unit_test(test_lengths_by_shape),      cmocka_unit_test(test_chat_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
