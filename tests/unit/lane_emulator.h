/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the probe's kernels on the CPU, so that their arithmetic and indexing can be tested without a GPU.
 * A block's threads are coroutines; warps run one after the other up to a barrier of the block, their
 * threads up to a warp-wide instruction. The order among them and the moment at which asynchronous copies arrive can be turned
 * round: a kernel that lacks a barrier gives different results. The fragment layouts of mma and ldmatrix
 * are those of the PTX manual. */
#ifndef STEELYARD_LANE_EMULATOR_H
#define STEELYARD_LANE_EMULATOR_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <vector>

#define __global__ __attribute__((unused)) static
#define KERNEL __global__
#define __device__ __attribute__((unused)) static
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) char *name = lane_emulator.shared

struct lane_dim {
    unsigned x, y, z;
};

enum lane_state { LANE_READY, LANE_AT_WARP, LANE_AT_BLOCK, LANE_GONE };

struct lane_copy {
    void *to;
    const void *from;
    bool valid;
};

struct lane_thread {
    ucontext_t context;
    std::vector<char> stack;
    lane_state state;
    unsigned parity;
    std::vector<lane_copy> open;                /* not committed */
    std::vector<std::vector<lane_copy>> groups; /* committed, not arrived */
};

struct lane_word {
    uint32_t w[16];
    const void *row;
};

struct lane_machine {
    lane_dim thread, block, block_dim, grid_dim;
    char *shared;
    ucontext_t scheduler;
    std::vector<lane_thread> threads;
    unsigned now;
    std::vector<lane_word> words[2]; /* what lanes show one another, alternating */
    bool backwards, copies_at_once;
    std::function<void()> kernel;
};

static lane_machine lane_emulator;

#define threadIdx (lane_emulator.thread)
#define blockIdx  (lane_emulator.block)
#define blockDim  (lane_emulator.block_dim)
#define gridDim   (lane_emulator.grid_dim)

static inline void lane_yield(lane_state why)
{
    lane_machine &m = lane_emulator;
    unsigned me = m.now;

    m.threads[me].state = why;
    swapcontext(&m.threads[me].context, &m.scheduler);
    m.now = me;
    m.thread.x = me;
}

static inline void __syncthreads()
{
    lane_yield(LANE_AT_BLOCK);
}

static inline void __syncwarp()
{
    lane_yield(LANE_AT_WARP);
}

/* Shows `mine` to the warp; what all lanes showed, from lane 0 on. */
static inline const lane_word *lane_share(const lane_word &mine)
{
    lane_machine &m = lane_emulator;
    std::vector<lane_word> &w = m.words[m.threads[m.now].parity++ & 1];

    w[m.now] = mine;
    lane_yield(LANE_AT_WARP);
    return &w[m.now & ~31u];
}

static inline float lane_xor(float v, int mask)
{
    lane_word mine = {};
    float r;

    memcpy(mine.w, &v, 4);
    memcpy(&r, lane_share(mine)[(lane_emulator.now & 31) ^ (unsigned)mask].w, 4);
    return r;
}

static inline int lane_xor(int v, int mask)
{
    lane_word mine = {};

    mine.w[0] = (uint32_t)v;
    return (int)lane_share(mine)[(lane_emulator.now & 31) ^ (unsigned)mask].w[0];
}

/* ---- asynchronous copies ---- */

static inline void lane_arrive(const lane_copy &c)
{
    if (c.valid) {
        memcpy(c.to, c.from, 16);
    } else {
        memset(c.to, 0, 16);
    }
}

static inline void copy_async16(void *to_shared, const void *from, bool valid)
{
    lane_copy c = {to_shared, from, valid};

    if (lane_emulator.copies_at_once) {
        lane_arrive(c);
    } else {
        lane_emulator.threads[lane_emulator.now].open.push_back(c);
    }
}

static inline void copy_async_commit()
{
    lane_thread &t = lane_emulator.threads[lane_emulator.now];

    t.groups.push_back(t.open);
    t.open.clear();
}

template <int LEFT>
static inline void copy_async_wait()
{
    lane_thread &t = lane_emulator.threads[lane_emulator.now];

    while (t.groups.size() > LEFT) {
        for (const lane_copy &c : t.groups.front()) {
            lane_arrive(c);
        }
        t.groups.erase(t.groups.begin());
    }
}

/* ---- matrices ---- */

template <bool TRANS>
static inline void load_matrix4(uint32_t r[4], const void *shared_row)
{
    lane_word mine = {};
    const lane_word *all;
    unsigned lane = lane_emulator.now & 31, row = lane / 4, col = lane % 4 * 2;

    mine.row = shared_row;
    all = lane_share(mine);
    for (unsigned i = 0; i < 4; i++) {
        const uint16_t *low, *high;

        if (TRANS) {
            low = (const uint16_t *)all[i * 8 + col].row + row;
            high = (const uint16_t *)all[i * 8 + col + 1].row + row;
        } else {
            low = (const uint16_t *)all[i * 8 + row].row + col;
            high = low + 1;
        }
        r[i] = *low | (uint32_t)*high << 16;
    }
}

static inline float lane_bf16(uint32_t bits)
{
    uint32_t u = bits << 16;
    float f;

    memcpy(&f, &u, 4);
    return f;
}

static inline float lane_half(uint32_t pair, unsigned which)
{
    return lane_bf16(which ? pair >> 16 : pair & 0xffff);
}

/* Element (row, k) of A: held by lane (row % 8) * 4 + k % 8 / 2 in register row / 8 + 2 * (k / 8). */
static inline float lane_a(const lane_word *all, unsigned row, unsigned k)
{
    return lane_half(all[row % 8 * 4 + k % 8 / 2].w[row / 8 + 2 * (k / 8)], k & 1);
}

/* Element (k, n) of B: held by lane n * 4 + k % 8 / 2 in register k / 8. */
static inline float lane_b(const lane_word *all, unsigned k, unsigned n)
{
    return lane_half(all[n * 4 + k % 8 / 2].w[4 + k / 8], k & 1);
}

static inline void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    lane_word mine = {};
    const lane_word *all;
    unsigned lane = lane_emulator.now & 31;

    memcpy(mine.w, a, 16);
    mine.w[4] = b0;
    mine.w[5] = b1;
    all = lane_share(mine);
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;

        for (unsigned k = 0; k < 16; k++) {
            c[i] += lane_a(all, row, k) * lane_b(all, k, n);
        }
    }
}

static inline uint32_t lane_round(float v)
{
    uint32_t u;

    memcpy(&u, &v, 4);
    if (v != v) {
        return 0x7fff;
    }
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static inline uint32_t pack_bf16(float low, float high)
{
    return lane_round(low) | lane_round(high) << 16;
}

static inline float fast_exp2(float v)
{
    return exp2f(v);
}

static inline uint32_t atomicAdd(uint32_t *at, uint32_t v)
{
    uint32_t old = *at;

    *at += v;
    return old;
}

/* ---- running a grid ---- */

static inline void lane_main()
{
    lane_emulator.kernel();
    lane_yield(LANE_GONE);
}

/* Everybody of a group who is still there waits for the others: let them go on. */
static inline bool lane_release(unsigned from, unsigned to, lane_state at)
{
    bool any = false;

    for (unsigned i = from; i < to; i++) {
        lane_state s = lane_emulator.threads[i].state;

        if (s != at && s != LANE_GONE) {
            return false;
        }
        any = any || s == at;
    }
    for (unsigned i = from; any && i < to; i++) {
        if (lane_emulator.threads[i].state == at) {
            lane_emulator.threads[i].state = LANE_READY;
        }
    }
    return any;
}

/* Runs the threads of one warp until each waits for the block or is gone; true when any moved. */
static inline bool lane_run_warp(unsigned from, unsigned to)
{
    lane_machine &m = lane_emulator;
    bool any = false, moved = true;

    while (moved) {
        moved = false;
        for (unsigned k = 0; k < to - from; k++) {
            unsigned i = m.backwards ? to - 1 - k : from + k;

            if (m.threads[i].state == LANE_READY) {
                m.now = i;
                m.thread.x = i;
                swapcontext(&m.scheduler, &m.threads[i].context);
                moved = true;
            }
        }
        moved = lane_release(from, to, LANE_AT_WARP) || moved;
        any = any || moved;
    }
    return any;
}

/* A warp runs as far as it can before the next one starts: as far ahead of it as barriers allow. false =
 * a barrier that some threads never reach. */
static inline bool lane_run_block()
{
    lane_machine &m = lane_emulator;
    unsigned n = (unsigned)m.threads.size(), warps = (n + 31) / 32;
    bool moved = true;

    while (moved) {
        moved = false;
        for (unsigned k = 0; k < warps; k++) {
            unsigned w = m.backwards ? warps - 1 - k : k;

            moved = lane_run_warp(w * 32, w * 32 + 32 < n ? w * 32 + 32 : n) || moved;
        }
        moved = lane_release(0, n, LANE_AT_BLOCK) || moved;
    }
    for (const lane_thread &t : m.threads) {
        if (t.state != LANE_GONE) {
            return false;
        }
    }
    return true;
}

static inline void lane_start(lane_thread &t)
{
    t.stack.resize(64 << 10);
    t.state = LANE_READY;
    t.parity = 0;
    t.open.clear();
    t.groups.clear();
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = t.stack.data();
    t.context.uc_stack.ss_size = t.stack.size();
    t.context.uc_link = NULL;
    makecontext(&t.context, lane_main, 0);
}

static inline bool lane_launch(lane_dim grid, unsigned threads, size_t shared_bytes, bool backwards,
                               bool copies_at_once, std::function<void()> kernel)
{
    lane_machine &m = lane_emulator;
    std::vector<uint64_t> shared(shared_bytes / 8 + 2);
    bool ok = true;

    m.kernel = kernel;
    m.grid_dim = grid;
    m.block_dim = {threads, 1, 1};
    m.backwards = backwards;
    m.copies_at_once = copies_at_once;
    m.thread = {0, 0, 0};
    m.threads.resize(threads);
    m.words[0].assign(threads, lane_word());
    m.words[1].assign(threads, lane_word());
    for (unsigned b = 0; ok && b < grid.x * grid.y * grid.z; b++) {
        memset(shared.data(), 0xff, shared.size() * 8); /* not-a-numbers */
        m.shared = (char *)(((uintptr_t)shared.data() + 15) & ~(uintptr_t)15);
        m.block = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        for (lane_thread &t : m.threads) {
            lane_start(t);
        }
        ok = lane_run_block();
    }
    return ok;
}

#endif
