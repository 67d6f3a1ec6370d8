/* SPDX-License-Identifier: Apache-2.0
 *
 * Flows per second through a fabric of many machines: each GPU has copies over its port and the memory of its
 * socket, one after the other, of random sizes. Printed with a checksum of all ends, so that two versions of the
 * fabric can be compared: they have to agree. */
#include <stdio.h>
#include <time.h>

#include "sim/core/rng.h"
#include "sim/fabric/fabric.h"

enum { GPUS_MOST = 512, FLOWS = 40000 };

struct world {
    struct fabric *f;
    struct rng_stream rng;
    link_id port[GPUS_MOST], memory[GPUS_MOST];
    uint32_t gpus, per_socket;
    uint64_t n;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int build(struct world *w, struct arena *a)
{
    struct link_spec port = {.name = "port", .bytes_per_s = 26e9}, memory = {.name = "memory", .bytes_per_s = 80e9};

    w->f = fabric_new(a);
    for (uint32_t i = 0; w->f && i < w->gpus; i++) {
        if (fabric_add_link(w->f, &port, &w->port[i], NULL) < 0 ||
            (i % w->per_socket == 0 && fabric_add_link(w->f, &memory, &w->memory[i / w->per_socket], NULL) < 0)) {
            return -1;
        }
    }
    return w->f ? 0 : -1;
}

static void start(struct world *w, sim_ns now, uint32_t gpu)
{
    link_id path[2] = {w->port[gpu], w->memory[gpu / w->per_socket]};
    double bytes = 1e6 + 1e7 * rng_uniform(w->rng, w->n, 0);

    fabric_start_flow(w->f, now, &(struct flow_spec){.path = path, .n_path = 2, .bytes = bytes, .tag = gpu,
                                                     .weight = gpu % 3 ? 1 : 0.731});
    w->n++;
}

static uint64_t play(struct world *w)
{
    uint64_t sum = 0, gpu;

    for (uint32_t i = 0; i < w->gpus; i++) {
        start(w, 0, i);
    }
    for (sim_ns t; (t = fabric_next(w->f)) != SIM_NEVER;) {
        while (fabric_poll(w->f, t, &gpu)) {
            sum = sum * 31 + (uint64_t)t + gpu;
            if (w->n < FLOWS) {
                start(w, t, (uint32_t)gpu);
            }
        }
    }
    return sum;
}

int main(void)
{
    static const uint32_t shape[][2] = {{4, 4}, {16, 4}, {64, 4}, {64, 64}, {256, 4}};

    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        struct arena a = {0};
        static struct world w;
        double begun;
        uint64_t sum;

        w = (struct world){.rng = rng_stream(1, 0, "bench"), .gpus = shape[i][0], .per_socket = shape[i][1]};
        if (build(&w, &a) < 0) {
            return 1;
        }
        begun = now_s();
        sum = play(&w);
        printf("%3u GPUs, %2u a socket %9.2f us a flow  (ends %016llx)\n", w.gpus, w.per_socket,
               (now_s() - begun) * 1e6 / (double)w.n, (unsigned long long)sum);
        arena_release(&a);
    }
    return 0;
}
