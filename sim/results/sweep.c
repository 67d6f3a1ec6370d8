/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers may run ahead of the writer by a few jobs per thread only: one slow job must not make the
 * results of hundreds of quick ones pile up in memory. */
#include "sim/results/sweep.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AHEAD_PER_THREAD = 4, TICK_MS = 200 };

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_DONE };

struct slot {
    enum slot_state state;
    size_t job;
    double share;
    struct arena arena;
    struct run_result result;
    struct err error;
    struct request_list requests;
    double wall_s;
};

struct sweep {
    const struct sweep_ops *ops;
    size_t n, next, written; /* next job to begin; next job to hand over */
    size_t running;
    bool closing;     /* begin nothing more */
    bool failed;      /* done() said so: hand nothing more over */
    bool interrupted; /* a run ended early */
    struct slot *slots; /* ring: job j is in slot j % n_slots */
    size_t n_slots;
    pthread_mutex_t lock;
    pthread_cond_t changed, room;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- workers ---- */

struct run_context {
    struct sweep *s;
    struct slot *slot;
};

static int on_progress(void *ctx, double share, sim_ns now, uint64_t requests)
{
    (void)now;
    (void)requests;
    struct run_context *c = ctx;
    pthread_mutex_lock(&c->s->lock);
    c->slot->share = share > 0 ? share : 0;
    bool stop = c->s->closing;
    pthread_mutex_unlock(&c->s->lock);
    return stop;
}

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    struct run_context *c = ctx;
    return request_list_add(&c->slot->requests, row, e);
}

static void run_job(struct sweep *s, struct slot *k, const struct run_config *config)
{
    struct run_context c = {s, k};
    struct run_hooks hooks = {.request = s->ops->requests ? on_request : NULL,
                              .progress = on_progress,
                              .ctx = &c};
    double start = now_s();
    arena_init(&k->arena);
    k->error = (struct err){0};
    k->result = (struct run_result){0};
    int rc = s->ops->execute(config, &hooks, &k->result, &k->arena, &k->error);
    if (rc < 0) {
        err_set(&k->error, rc, "the run failed"); /* only where it did not say why */
    }
    k->wall_s = now_s() - start;
}

/* The next job's slot, or NULL when there is nothing more to begin. Lock held. */
static struct slot *begin_job(struct sweep *s)
{
    while (!s->closing && s->next < s->n && s->next - s->written >= s->n_slots) {
        pthread_cond_wait(&s->room, &s->lock);
    }
    if (s->closing || s->next >= s->n) {
        return NULL;
    }
    struct slot *k = &s->slots[s->next % s->n_slots];
    k->state = SLOT_RUNNING;
    k->job = s->next++;
    k->share = 0;
    s->running++;
    return k;
}

static void *worker(void *arg)
{
    struct sweep *s = arg;
    struct slot *k;
    pthread_mutex_lock(&s->lock);
    while ((k = begin_job(s))) {
        const struct run_config *config = s->ops->config(s->ops->ctx, k->job);
        pthread_mutex_unlock(&s->lock);
        run_job(s, k, config);
        pthread_mutex_lock(&s->lock);
        k->state = SLOT_DONE;
        s->running--;
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the caller's thread ---- */

/* Lock held; given up while the caller works on the result. */
static int hand_over(struct sweep *s, struct slot *k, struct err *e)
{
    bool whole = k->error.code != SIM_E_INTR;
    int rc = 0;
    pthread_mutex_unlock(&s->lock);
    if (whole && !s->failed) {
        struct sweep_done d = {k->job, k->error.code ? NULL : &k->result, &k->error, &k->requests,
                               k->wall_s};
        rc = s->ops->done(s->ops->ctx, &d, e);
    }
    arena_release(&k->arena);
    request_list_release(&k->requests);
    pthread_mutex_lock(&s->lock);
    k->state = SLOT_FREE;
    s->written++;
    s->interrupted = s->interrupted || !whole;
    s->failed = s->failed || rc < 0;
    s->closing = s->closing || s->failed;
    pthread_cond_broadcast(&s->room);
    return rc;
}

static double share_done(const struct sweep *s)
{
    double sum = (double)s->written;
    for (size_t i = 0; i < s->n_slots; i++) {
        const struct slot *k = &s->slots[i];
        sum += k->state == SLOT_DONE ? 1 : k->state == SLOT_RUNNING ? k->share : 0;
    }
    return sum / (double)s->n;
}

static void wait_change(struct sweep *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&s->changed, &s->lock, &until);
    if (s->ops->tick) {
        double share = share_done(s);
        size_t done = s->written;
        pthread_mutex_unlock(&s->lock);
        s->ops->tick(s->ops->ctx, share, done);
        pthread_mutex_lock(&s->lock);
    }
}

static bool all_through(const struct sweep *s)
{
    return s->written == s->n || (s->closing && s->running == 0 && s->written == s->next);
}

/* Only this thread reads *stop (a signal handler may write it); the workers see `closing`. */
static void look_at_stop(struct sweep *s)
{
    if (!s->closing && s->ops->stop && *s->ops->stop) {
        s->closing = true;
        pthread_cond_broadcast(&s->room);
    }
}

static int collect(struct sweep *s, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (!all_through(s)) {
        struct slot *k = &s->slots[s->written % s->n_slots];
        look_at_stop(s);
        if (s->written < s->next && k->state == SLOT_DONE) {
            int failed = hand_over(s, k, e);
            rc = rc < 0 ? rc : failed;
        } else {
            wait_change(s);
        }
    }
    s->closing = true;
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Signals go to the caller's thread: workers never take a SIGINT away from it. */
static unsigned start_workers(struct sweep *s, pthread_t *thread, unsigned n)
{
    sigset_t all;
    sigset_t old;
    unsigned started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (started < n && pthread_create(&thread[started], NULL, worker, s) == 0) {
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}

static int run_all(struct sweep *s, pthread_t *thread, unsigned threads, struct err *e)
{
    unsigned started = start_workers(s, thread, threads);
    if (started == 0) {
        return err_set(e, SIM_E_NOMEM, "cannot start a thread: %s", strerror(errno));
    }
    int rc = collect(s, e);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(thread[i], NULL);
    }
    if (rc == 0 && (s->next < s->n || s->interrupted)) {
        rc = err_set(e, SIM_E_INTR, "interrupted");
    }
    return rc;
}

int sweep_run(const struct sweep_ops *ops, size_t n, unsigned threads, struct err *e)
{
    if (n == 0) {
        return 0;
    }
    threads = threads < 1 ? 1 : threads > n ? (unsigned)n : threads;
    struct sweep s = {.ops = ops, .n = n, .n_slots = (size_t)threads * AHEAD_PER_THREAD};
    pthread_t *thread = calloc(threads, sizeof *thread);
    s.slots = calloc(s.n_slots, sizeof *s.slots);
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.changed, NULL);
    pthread_cond_init(&s.room, NULL);
    int rc = thread && s.slots ? run_all(&s, thread, threads, e)
                               : err_set(e, SIM_E_NOMEM, "out of memory for %u threads", threads);
    pthread_cond_destroy(&s.room);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.lock);
    free(s.slots);
    free(thread);
    return rc;
}
