/* SPDX-License-Identifier: Apache-2.0
 *
 * The results database: what goes in comes out, once, in whole runs; and the pool of threads that feeds it:
 * one thread and four leave the same rows. The run itself is made up here. */
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

#include "sim/results/db.h"
#include "sim/results/sweep.h"

/* ---- a made-up run ---- */

static void make_metrics(struct run_result *r, const struct run_config *c, struct arena *a)
{
    r->n_metrics = 2;
    r->metrics = arena_calloc(a, 2, sizeof *r->metrics);
    r->metrics[0] = (struct metric){"mean_ttft_ms", "ms", 0.1 * (double)c->seed};
    r->metrics[1] = (struct metric){"request_goodput", "1/s", (double)NAN};
}

static void make_hist(struct run_result *r, struct arena *a)
{
    struct hist *h = arena_alloc(a, sizeof *h);
    assert_int_equal(hist_init(h, a), 0);
    hist_add(h, 7, 3);
    hist_add(h, 1000000007, 5);
    r->hists[0].name = "ttft";
    r->hists[0].unit = "ns";
    r->hists[0].h = h;
    r->n_hists = 1;
}

static void make_rest(struct run_result *r, struct arena *a)
{
    double *t = arena_calloc(a, 2, sizeof *t);
    double *v = arena_calloc(a, 2, sizeof *v);
    const char **warnings = arena_calloc(a, 3, sizeof *warnings);
    t[1] = 2.5;
    v[0] = 0.1;
    v[1] = (double)NAN;
    warnings[0] = "first";
    warnings[1] = "second";
    r->warnings = warnings;
    r->n_series = 1;
    r->series = arena_alloc(a, sizeof *r->series);
    r->series[0] = (struct series){"service/0", "tok", 2, t, v};
    r->n_clients = 1;
    r->clients = arena_alloc(a, sizeof *r->clients);
    r->clients[0] = (struct client_result){.name = "a", .requests = 3, .completed = 2, .service = 1.5,
                                           .mean_ttft_ms = (double)NAN, .slo_attainment = 0.5,
                                           .ufc = 12.5, .rfc = 0.25, .hf = (double)NAN};
    r->verdict = RUN_BACKLOGGED;
    r->verdict_text = "97 % of capacity";
    r->policy_oracle = true;
    r->iterations = 42;
}

/* Jobs take different times, so that threads finish out of order; seed 13 fails. */
static int made_up(const struct run_config *c, const struct run_hooks *h, struct run_result *ret,
                   struct arena *a, struct err *e)
{
    (void)h;
    usleep((useconds_t)(c->seed * 7919 % 5) * 300);
    if (c->seed == 13) {
        return err_set(e, SIM_E_DATA, "thirteen");
    }
    make_metrics(ret, c, a);
    make_hist(ret, a);
    make_rest(ret, a);
    return 0;
}

static struct run_result *one_run(int64_t seed, struct arena *a)
{
    struct run_config c = {.seed = seed};
    struct run_result *r = arena_alloc(a, sizeof *r);
    make_metrics(r, &c, a);
    make_hist(r, a);
    make_rest(r, a);
    return r;
}

/* ---- dumping a database as text ---- */

struct dump {
    char *text;
    size_t n;
    FILE *f;
};

static int dump_row(void *ctx, sqlite3_stmt *row, struct err *e)
{
    (void)e;
    struct dump *d = ctx;
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        const char *text = (const char *)sqlite3_column_text(row, i);
        fprintf(d->f, "%s%s", i ? "," : "", text ? text : "null");
    }
    fputc('\n', d->f);
    return 0;
}

static char *dump_sql(struct results *r, const char *sql)
{
    struct dump d = {0};
    d.f = open_memstream(&d.text, &d.n);
    assert_int_equal(results_each(r, sql, NULL, 0, dump_row, &d, NULL), 0);
    fclose(d.f);
    return d.text;
}

static char *dump_all(struct results *r)
{
    struct dump d = {0};
    d.f = open_memstream(&d.text, &d.n);
    for (size_t i = 0; results_tables[i]; i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY 1, 2, 3, 4", results_tables[i]);
        fprintf(d.f, "%s\n", results_tables[i]);
        assert_int_equal(results_each(r, sql, NULL, 0, dump_row, &d, NULL), 0);
    }
    fclose(d.f);
    return d.text;
}

static void expect_sql(struct results *r, const char *sql, const char *want)
{
    char *got = dump_sql(r, sql);
    assert_string_equal(got, want);
    free(got);
}

static struct results *open_new(const char *path)
{
    struct results *r = NULL;
    struct err e = {0};
    if (results_open(&r, path, RESULTS_CREATE, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    return r;
}

static int add(struct results *r, int64_t id, const char *hash, int64_t seed, struct arena *a)
{
    struct request_row q = {.serial = 5, .client = 1, .prompt_tok = 10, .arrival_ns = 99,
                            .admit_ns = SIM_NEVER, .first_token_ns = SIM_NEVER,
                            .finish_ns = SIM_NEVER, .status = REQUEST_REJECTED, .reason = "why",
                            .measured_ttft_s = (double)NAN, .measured_e2e_s = 2.5};
    struct results_meta m = {.id = id, .config_hash = hash, .seed = seed, .label = "l",
                             .config_json = "{}", .version = "v", .parts = RESULTS_ALL,
                             .requests = &q, .n_requests = 1, .started = "today", .wall_s = 1};
    struct err e = {0};
    int rc = results_add(r, &m, one_run(seed, a), &e);
    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
    return rc;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct arena a = {0};
    struct results *r = open_new(":memory:");
    assert_int_equal(add(r, 0, "aa", 3, &a), 0);
    expect_sql(r, "SELECT id,config_hash,seed,replication,verdict,verdict_text,oracle,iterations,"
                  "warnings FROM run", "1,aa,3,0,backlogged,97 % of capacity,1,42,first\nsecond\n");
    /* 0.1*3 is not 0.3: the value must come back to the last bit */
    double v = 0;
    assert_true(results_metric(r, 1, "mean_ttft_ms", &v));
    assert_true(v == 0.1 * 3);
    assert_true(results_metric(r, 1, "request_goodput", &v));
    assert_true(isnan(v));
    assert_false(results_metric(r, 1, "nothing", &v));
    expect_sql(r, "SELECT name, unit, value IS NULL FROM metric ORDER BY k",
               "mean_ttft_ms,ms,0\nrequest_goodput,1/s,1\n");
    /* 7 is exact; 1000000007 lies in a bin of relative width 2^-9 */
    expect_sql(r, "SELECT low<=7 AND 7<high AND high-low=1 AND n=3 FROM hist WHERE low<100", "1\n");
    expect_sql(r, "SELECT low<=1000000007 AND 1000000007<high AND (high-low)*512<=low AND n=5 FROM hist"
                  " WHERE low>100", "1\n");
    expect_sql(r, "SELECT name,unit,k,t_s,value FROM series",
               "service/0,tok,0,0.0,0.1\nservice/0,tok,1,2.5,null\n");
    expect_sql(r, "SELECT name,requests,completed,service,mean_ttft_ms FROM client", "a,3,2,1.5,null\n");
    expect_sql(r, "SELECT slo_attainment,ufc,rfc,hf FROM client", "0.5,12.5,0.25,null\n");
    expect_sql(r, "SELECT serial,client,arrival_ns,admit_ns,status,reason,measured_ttft_s,"
                  "measured_e2e_s FROM request", "5,1,99,null,rejected,why,null,2.5\n");
    expect_sql(r, "SELECT started,wall_s FROM run_log", "today,1.0\n");
    results_close(r);
    arena_release(&a);
}

static void test_once_and_numbers(void **state)
{
    (void)state;
    struct arena a = {0};
    struct results *r = open_new(":memory:");
    assert_int_equal(add(r, 5, "aa", 1, &a), 0);
    assert_int_equal(add(r, 5, "aa", 1, &a), 1); /* the same run */
    assert_int_equal(add(r, 5, "aa", 2, &a), 0); /* 5 is taken: 6 */
    assert_int_equal(add(r, 2, "bb", 1, &a), 0); /* free */
    assert_int_equal(add(r, 0, "cc", 1, &a), 0); /* the next */
    expect_sql(r, "SELECT id,config_hash,seed FROM run ORDER BY id",
               "2,bb,1\n5,aa,1\n6,aa,2\n7,cc,1\n");
    int64_t id = 0;
    assert_int_equal(results_find(r, "aa", 2, 0, &id, NULL), 1);
    assert_int_equal(id, 6);
    assert_true(results_has(r, "bb", 1, 0));
    assert_false(results_has(r, "bb", 1, 1));
    results_close(r);
    arena_release(&a);
}

/* ---- files ---- */

struct folder {
    char dir[64], a[96], b[96], out[96];
};

static void folder_make(struct folder *f)
{
    snprintf(f->dir, sizeof f->dir, "/tmp/steelyard-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->a, sizeof f->a, "%s/a.db", f->dir);
    snprintf(f->b, sizeof f->b, "%s/b.db", f->dir);
    snprintf(f->out, sizeof f->out, "%s/out.db", f->dir);
}

static void folder_remove(struct folder *f)
{
    unlink(f->a);
    unlink(f->b);
    unlink(f->out);
    assert_int_equal(rmdir(f->dir), 0); /* and no journal is left behind */
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int open_code(const char *path, enum results_mode mode, const char *part)
{
    struct results *r = NULL;
    struct err e = {0};
    int rc = results_open(&r, path, mode, &e);
    assert_true(rc == 0 || strstr(e.msg, part));
    results_close(r);
    return rc;
}

static void test_opening(void **state)
{
    (void)state;
    struct folder f;
    folder_make(&f);
    assert_int_equal(open_code(f.a, RESULTS_READ, "a.db"), SIM_E_IO);
    write_file(f.a, "this is no database, it is a text of more than a hundred bytes, written to see "
                    "that a foreign file is refused and left as it is");
    assert_int_equal(open_code(f.a, RESULTS_CREATE, "not a database"), SIM_E_DATA);
    write_file(f.b, ""); /* the maker was killed before its first transaction */
    assert_int_equal(open_code(f.b, RESULTS_READ, "not a steelyard"), SIM_E_DATA);
    assert_int_equal(open_code(f.b, RESULTS_CREATE, ""), 0);
    assert_int_equal(open_code(f.b, RESULTS_READ, ""), 0);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f.b, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_int_equal(open_code(f.b, RESULTS_READ, "schema 99"), SIM_E_DATA);
    assert_int_equal(sqlite3_open(f.out, &db), SQLITE_OK);
    sqlite3_exec(db, "CREATE TABLE other(x)", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_int_equal(open_code(f.out, RESULTS_CREATE, "not a steelyard"), SIM_E_DATA);
    folder_remove(&f);
}

static void test_merge(void **state)
{
    (void)state;
    struct arena a = {0};
    struct folder f;
    struct results_merged m;
    folder_make(&f);
    struct results *x = open_new(f.a);
    struct results *y = open_new(f.b);
    struct results *whole = open_new(":memory:");
    for (int64_t seed = 1; seed <= 6; seed++) { /* two shards of one sweep */
        add(seed % 2 ? x : y, seed, "aa", seed, &a);
        add(whole, seed, "aa", seed, &a);
    }
    results_close(x);
    results_close(y);
    struct results *out = open_new(f.out);
    assert_int_equal(results_merge(out, f.b, &m, NULL), 0);
    assert_int_equal(m.added, 3);
    assert_int_equal(results_merge(out, f.a, &m, NULL), 0);
    assert_int_equal(results_merge(out, f.a, &m, NULL), 0); /* nothing is doubled */
    assert_int_equal(m.added, 0);
    assert_int_equal(m.present, 3);
    char *got = dump_all(out);
    char *want = dump_all(whole);
    assert_string_equal(got, want);
    free(got);
    free(want);
    results_close(whole);
    results_close(out);
    folder_remove(&f);
    arena_release(&a);
}

/* A database of schema 1 has no goals or counters of clients. It is read as it is, merged with none, and brought
 * up to date by the first writer. */
static void test_older_schema(void **state)
{
    (void)state;
    struct arena a = {0};
    struct folder f;
    struct results_merged m;
    sqlite3 *db = NULL;
    folder_make(&f);
    struct results *r = open_new(f.a);
    add(r, 1, "aa", 1, &a);
    results_close(r);
    assert_int_equal(sqlite3_open(f.a, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE client DROP COLUMN slo_attainment;"
                                  "ALTER TABLE client DROP COLUMN ufc; ALTER TABLE client DROP COLUMN rfc;"
                                  "ALTER TABLE client DROP COLUMN hf; PRAGMA user_version=1", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(results_open(&r, f.a, RESULTS_READ, NULL), 0);
    expect_sql(r, "PRAGMA user_version", "1\n");
    expect_sql(r, "SELECT * FROM client", "1,0,a,3,2,0,0,0,1.5,null,0.0,0.0\n");
    results_close(r);
    r = open_new(f.out);
    assert_int_equal(results_merge(r, f.a, &m, NULL), 0);
    assert_int_equal(m.added, 1);
    expect_sql(r, "SELECT name,service,slo_attainment,ufc,rfc,hf FROM client", "a,1.5,null,null,null,null\n");
    results_close(r);
    r = open_new(f.a);
    expect_sql(r, "PRAGMA user_version", "2\n");
    add(r, 2, "aa", 2, &a);
    expect_sql(r, "SELECT run,slo_attainment,ufc FROM client", "1,null,null\n2,0.5,12.5\n");
    results_close(r);
    folder_remove(&f);
    arena_release(&a);
}

static void test_merge_conflicts(void **state)
{
    (void)state;
    struct arena a = {0};
    struct folder f;
    struct results_merged m;
    struct err e = {0};
    folder_make(&f);
    struct results *x = open_new(f.a);
    add(x, 1, "aa", 1, &a);
    add(x, 2, "bb", 1, &a);
    add(x, 3, "cc", 1, &a);
    results_close(x);
    struct results *out = open_new(f.out);
    add(out, 1, "zz", 1, &a);
    add(out, 2, "bb", 1, &a);
    add(out, 3, "yy", 1, &a);
    assert_int_equal(results_merge(out, f.a, &m, NULL), 0); /* 1 and 3 are taken: 4 and 5 */
    expect_sql(out, "SELECT id,config_hash FROM run ORDER BY id", "1,zz\n2,bb\n3,yy\n4,aa\n5,cc\n");
    expect_sql(out, "SELECT count(*) FROM metric WHERE run IN (4,5)", "4\n");
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f.a, &db), SQLITE_OK);
    sqlite3_exec(db, "UPDATE metric SET value=9 WHERE run=2 AND k=0", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_int_equal(results_merge(out, f.a, &m, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "other metrics"));
    results_close(out);
    folder_remove(&f);
    arena_release(&a);
}

/* ---- the pool ---- */

enum { JOBS = 40 };

struct pool_test {
    struct run_config config[JOBS];
    struct results *db;
    size_t next, failed, stop_at;
    volatile int stop;
    int error;
};

static const struct run_config *job_config(void *ctx, size_t job)
{
    struct pool_test *p = ctx;
    return &p->config[job];
}

static int job_done(void *ctx, const struct sweep_done *d, struct err *e)
{
    struct pool_test *p = ctx;
    assert_int_equal(d->job, p->next);
    p->next++;
    p->stop = p->stop_at && p->next >= p->stop_at;
    if (p->error) {
        return err_set(e, p->error, "the disk is full");
    }
    if (!d->result) {
        assert_string_equal(d->error->msg, "thirteen");
        p->failed++;
        return 0;
    }
    struct results_meta m = {.id = (int64_t)d->job + 1, .config_hash = "aa", .config_json = "{}",
                             .seed = p->config[d->job].seed, .parts = RESULTS_ALL,
                             .wall_s = d->wall_s};
    return results_add(p->db, &m, d->result, e);
}

static struct pool_test *pool_new(void)
{
    struct pool_test *p = calloc(1, sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < JOBS; i++) {
        p->config[i].seed = (int64_t)i;
    }
    p->db = open_new(":memory:");
    return p;
}

static void pool_free(struct pool_test *p)
{
    results_close(p->db);
    free(p);
}

static struct sweep_ops pool_ops(struct pool_test *p)
{
    return (struct sweep_ops){.execute = made_up, .config = job_config, .done = job_done, .ctx = p,
                              .stop = &p->stop};
}

static char *pool_dump(unsigned threads)
{
    struct pool_test *p = pool_new();
    struct sweep_ops ops = pool_ops(p);
    assert_int_equal(sweep_run(&ops, JOBS, threads, NULL), 0);
    assert_int_equal(p->next, JOBS);
    assert_int_equal(p->failed, 1);
    char *text = dump_all(p->db);
    pool_free(p);
    return text;
}

static void test_threads_same_bytes(void **state)
{
    (void)state;
    char *one = pool_dump(1);
    char *four = pool_dump(4);
    assert_true(strlen(one) > 1000);
    assert_string_equal(one, four);
    free(one);
    free(four);
}

static void test_stop_keeps_whole_runs(void **state)
{
    (void)state;
    struct pool_test *p = pool_new();
    struct sweep_ops ops = pool_ops(p);
    struct err e = {0};
    p->stop_at = 10;
    assert_int_equal(sweep_run(&ops, JOBS, 3, &e), SIM_E_INTR);
    assert_true(p->next >= 10 && p->next < JOBS);
    char want[20];
    snprintf(want, sizeof want, "%zu\n", p->next - p->failed);
    expect_sql(p->db, "SELECT count(*) FROM run", want);
    pool_free(p);
}

static void test_failing_writer_ends_it(void **state)
{
    (void)state;
    struct pool_test *p = pool_new();
    struct sweep_ops ops = pool_ops(p);
    struct err e = {0};
    p->error = SIM_E_IO;
    assert_int_equal(sweep_run(&ops, JOBS, 4, &e), SIM_E_IO);
    assert_int_equal(p->next, 1); /* told once, never asked again */
    assert_string_equal(e.msg, "the disk is full");
    pool_free(p);
}

static void test_request_list(void **state)
{
    (void)state;
    struct request_list l = {0};
    for (uint64_t i = 0; i < 5000; i++) {
        assert_int_equal(request_list_add(&l, &(struct request_row){.serial = i}, NULL), 0);
    }
    assert_int_equal(l.n, 5000);
    assert_int_equal(l.rows[4999].serial, 4999);
    request_list_release(&l);
    assert_null(l.rows);
}

static void test_file_hash(void **state)
{
    (void)state;
    struct arena a = {0};
    struct folder f;
    const char *hash = "x";
    folder_make(&f);
    assert_int_equal(results_file_hash("synth:poisson", &hash, &a, NULL), 0);
    assert_null(hash);
    write_file(f.a, "");
    assert_int_equal(results_file_hash(f.a, &hash, &a, NULL), 0);
    assert_string_equal(hash, "2d06800538d394c2"); /* XXH3-64 of nothing, from its specification */
    assert_int_equal(results_file_hash(f.b, &hash, &a, NULL), SIM_E_IO);
    folder_remove(&f);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_once_and_numbers),
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_older_schema),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_conflicts),
        cmocka_unit_test(test_threads_same_bytes),
        cmocka_unit_test(test_stop_keeps_whole_runs),
        cmocka_unit_test(test_failing_writer_ends_it),
        cmocka_unit_test(test_request_list),
        cmocka_unit_test(test_file_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
