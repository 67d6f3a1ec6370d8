// SPDX-License-Identifier: Apache-2.0
//
// The probe's kernels, run lane by lane on the CPU, against plain loops in double precision. Each runs
// with the threads in both orders and with asynchronous copies arriving at once and as late as allowed.
#define PROBE_EMULATE
#include "calibrate/probe/attention.cuh"
#include "calibrate/probe/small.cuh"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
}

#include <algorithm>
#include <cmath>

typedef std::vector<bf16> words;

static double value(bf16 b)
{
    return (double)lane_bf16(b);
}

static words random_words(size_t n, uint64_t seed, float scale)
{
    words w(n);

    for (size_t i = 0; i < n; i++) {
        w[i] = (bf16)lane_round(rough_normal(seed, i, scale));
    }
    return w;
}

// Runs in all four ways; the results have to be the same bits.
template <class T>
static void run_all_ways(lane_dim grid, unsigned threads, size_t shared, std::vector<T> &out,
                         std::function<void()> kernel)
{
    std::vector<T> start = out, first;

    for (int way = 0; way < 4; way++) {
        out = start;
        assert_true(lane_launch(grid, threads, shared, (way & 1) != 0, (way & 2) != 0, kernel));
        if (way == 0) {
            first = out;
        }
        assert_memory_equal(first.data(), out.data(), out.size() * sizeof(T));
    }
}

static double rel_error(const words &got, const std::vector<double> &want)
{
    double diff = 0, norm = 0;

    assert_int_equal(got.size(), want.size());
    for (size_t i = 0; i < want.size(); i++) {
        if (!std::isfinite(value(got[i]))) {
            return INFINITY;
        }
        diff += (value(got[i]) - want[i]) * (value(got[i]) - want[i]);
        norm += want[i] * want[i];
    }
    return std::sqrt(diff / norm);
}

// ---- attention ----

struct cache {
    int hd, kv_heads, block_log2, stride;
    words k, v;
    std::vector<int32_t> table;

    // Blocks of the sequences are scattered; cells that belong to nobody hold not-a-numbers.
    cache(int hd_, int kv_heads_, int log2, const std::vector<int> &lengths)
        : hd(hd_), kv_heads(kv_heads_), block_log2(log2), stride(0)
    {
        int tok = 1 << log2, blocks = 1, next = 0;

        for (int n : lengths) {
            stride = std::max(stride, (n + tok - 1) / tok + 1);
            blocks += (n + tok - 1) / tok;
        }
        blocks += blocks % 7 == 0; // coprime to 7, which scatters them
        size_t cells = (size_t)blocks * (size_t)tok * (size_t)kv_heads * (size_t)hd;
        k.assign(cells, 0x7fff);
        v.assign(cells, 0x7fff);
        table.assign((size_t)stride * lengths.size(), 1 << 20);
        for (size_t s = 0; s < lengths.size(); s++) {
            for (int b = 0; b * tok < lengths[s]; b++) {
                table[s * (size_t)stride + (size_t)b] = (next * 7 + 3) % blocks;
                next++;
            }
            for (int t = 0; t < lengths[s]; t++) {
                for (int i = 0; i < kv_heads * hd; i++) {
                    size_t at = (size_t)(row(s, t) * kv_heads * hd + i);

                    k[at] = (bf16)lane_round(rough_normal(s + 1, (uint64_t)(t * kv_heads * hd + i), 1.0f));
                    v[at] = (bf16)lane_round(rough_normal(s + 99, (uint64_t)(t * kv_heads * hd + i), 1.0f));
                }
            }
        }
    }

    int64_t row(size_t s, int t) const
    {
        return ((int64_t)table[s * (size_t)stride + (size_t)(t >> block_log2)] << block_log2) +
               (t & ((1 << block_log2) - 1));
    }

    paged_kv view()
    {
        return {k.data(), v.data(), table.data(), stride, block_log2, kv_heads};
    }
};

// Attention of one query from its definition.
static void attend(const cache &c, size_t seq, int head, int n, const bf16 *q, double *out)
{
    std::vector<double> p((size_t)n);
    double top = -INFINITY, sum = 0;

    for (int t = 0; t < n; t++) {
        double dot = 0;

        for (int d = 0; d < c.hd; d++) {
            dot += value(q[d]) * value(c.k[(size_t)((c.row(seq, t) * c.kv_heads + head) * c.hd + d)]);
        }
        p[(size_t)t] = dot / std::sqrt((double)c.hd);
        top = std::max(top, p[(size_t)t]);
    }
    for (double &x : p) {
        x = std::exp(x - top);
        sum += x;
    }
    for (int d = 0; d < c.hd; d++) {
        out[d] = 0;
        for (int t = 0; t < n; t++) {
            out[d] += p[(size_t)t] / sum * value(c.v[(size_t)((c.row(seq, t) * c.kv_heads + head) * c.hd + d)]);
        }
    }
}

static float scale_log2(int hd)
{
    return (float)(1.4426950408889634 / std::sqrt((double)hd));
}

template <int HD, int MT>
static void check_prefill(int heads, int kv_heads, int log2, std::vector<int32_t> before, std::vector<int32_t> n)
{
    std::vector<int> lengths;
    std::vector<int32_t> row, seq;
    int rows = 0, longest = 0;

    for (size_t c = 0; c < n.size(); c++) {
        lengths.push_back(before[c] + n[c]);
        row.push_back(rows);
        seq.push_back((int32_t)c);
        rows += n[c];
        longest = std::max(longest, n[c]);
    }
    cache kv(HD, kv_heads, log2, lengths);
    int stride = (heads + 2 * kv_heads) * HD;
    words q = random_words((size_t)(rows * stride), 5, 1.5f), out((size_t)(rows * heads * HD), 0x7fff);
    prefill_args a = {kv.view(), q.data(), stride, NULL, heads, row.data(), n.data(), before.data(), seq.data(),
                      scale_log2(HD)};
    unsigned tiles = (unsigned)((longest + 64 * MT - 1) / (64 * MT));
    std::vector<double> want(out.size());

    run_all_ways<bf16>({tiles, (unsigned)heads, (unsigned)n.size()}, PREFILL_THREADS,
                       prefill_shape<HD, MT>::shared_bytes, out, [&] {
                           a.out = out.data();
                           prefill_attention<HD, MT>(a);
                       });
    for (size_t c = 0; c < n.size(); c++) {
        for (int i = 0; i < n[c]; i++) {
            for (int h = 0; h < heads; h++) {
                attend(kv, c, h / (heads / kv_heads), before[c] + i + 1,
                       &q[(size_t)((row[c] + i) * stride + h * HD)],
                       &want[(size_t)(((row[c] + i) * heads + h) * HD)]);
            }
        }
    }
    assert_true(rel_error(out, want) < 6e-3);
}

static void test_prefill(void **)
{
    check_prefill<128, 2>(2, 1, 4, {0, 70}, {131, 40});
    check_prefill<128, 1>(1, 1, 5, {3}, {65});
    check_prefill<64, 1>(2, 2, 4, {0, 129, 64}, {1, 64, 17});
    check_prefill<64, 2>(1, 1, 0, {5}, {20});
}

template <int HD>
static void check_decode(int heads, int kv_heads, int log2, std::vector<int32_t> ctx, int32_t split)
{
    std::vector<int> lengths(ctx.begin(), ctx.end());
    cache kv(HD, kv_heads, log2, lengths);
    int longest = *std::max_element(ctx.begin(), ctx.end()), group = heads / kv_heads;
    int n_split = (longest + split - 1) / split, stride = (heads + 2 * kv_heads) * HD;
    words q = random_words(ctx.size() * (size_t)stride, 6, 1.5f), out(ctx.size() * (size_t)(heads * HD), 0x7fff);
    std::vector<float> part(ctx.size() * (size_t)(kv_heads * n_split * group * (HD + 2)), NAN);
    decode_args a = {kv.view(),  q.data(), stride,  out.data(),  heads,
                     ctx.data(), &split,   n_split, part.data(), scale_log2(HD)};
    std::vector<double> want(out.size());
    lane_dim grid = {(unsigned)n_split, (unsigned)kv_heads, (unsigned)ctx.size()};

    if (n_split == 1) {
        run_all_ways<bf16>(grid, DECODE_THREADS, decode_shape<HD>::shared_bytes, out, [&] {
            a.out = out.data();
            decode_attention<HD>(a);
        });
    } else {
        run_all_ways<float>(grid, DECODE_THREADS, decode_shape<HD>::shared_bytes, part, [&] {
            a.part = part.data();
            decode_attention<HD>(a);
        });
        run_all_ways<bf16>({(unsigned)heads, (unsigned)ctx.size(), 1}, HD, 0, out, [&] {
            a.out = out.data();
            merge_splits<HD>(a);
        });
    }
    for (size_t s = 0; s < ctx.size(); s++) {
        for (int h = 0; h < heads; h++) {
            double *to = &want[(s * (size_t)heads + (size_t)h) * HD];

            if (ctx[s] == 0) { // a padded place: nothing is read, nothing is written
                for (int d = 0; d < HD; d++) {
                    bf16 &o = out[(s * (size_t)heads + (size_t)h) * HD + (size_t)d];

                    assert_int_equal(o, 0x7fff);
                    o = 0;
                }
                continue;
            }
            attend(kv, s, h / group, ctx[s], &q[s * (size_t)stride + (size_t)(h * HD)], to);
        }
    }
    assert_true(rel_error(out, want) < 6e-3);
}

static void test_decode(void **)
{
    check_decode<128>(8, 2, 4, {200, 1, 65, 0}, 64);
    check_decode<128>(4, 1, 4, {130, 7}, 256);
    check_decode<64>(16, 1, 5, {300}, 128);
    check_decode<64>(2, 2, 4, {64, 63, 17}, 64);
    check_decode<64>(1, 1, 0, {20}, 64);
}

static void test_reference(void **)
{
    cache kv(64, 2, 4, {70, 33});
    words q = random_words(3 * 256, 8, 1.0f);
    std::vector<int32_t> row = {2, 0}, head = {3, 0}, keys = {70, 33}, seq = {0, 1};
    std::vector<double> out(2 * 64), scores(2 * 80), want(64);
    reference_args a = {kv.view(),  q.data(),   256,        4,          64,            row.data(), head.data(),
                        keys.data(), seq.data(), out.data(), scores.data(), 80, 1.0 / std::sqrt(64.0)};

    assert_true(lane_launch({2, 1, 1}, 256, 0, false, false, [&] { reference_attention(a); }));
    for (size_t p = 0; p < 2; p++) {
        attend(kv, (size_t)seq[p], head[p] / 2, keys[p], &q[(size_t)(row[p] * 256 + head[p] * 64)], want.data());
        for (size_t d = 0; d < 64; d++) {
            assert_true(std::fabs(out[p * 64 + d] - want[d]) < 1e-9);
        }
    }
}

// ---- small kernels ----

static void check_norm(bool with_residual, bool picked)
{
    const int hidden = 264, rows = 3;
    words x = random_words(hidden * rows, 1, 2.0f), r = random_words(hidden * rows, 2, 1.0f),
          w = random_words(hidden, 3, 1.0f), r0 = r, out(hidden * rows, 0x7fff);
    std::vector<int32_t> pick = {2, 0, 1};
    std::vector<double> want(out.size());

    run_all_ways<bf16>({rows, 1, 1}, SMALL_THREADS, 0, out, [&] {
        norm_args a = {x.data(), with_residual ? r.data() : NULL, w.data(), out.data(),
                       picked ? pick.data() : NULL, hidden, 1e-5f};

        if (threadIdx.x == 0 && blockIdx.x == 0 && with_residual) {
            r = r0; // each way starts from the same residual; storage stays where it is
        }
        __syncthreads();
        rms_norm(a);
    });
    for (int i = 0; i < rows; i++) {
        size_t from = (size_t)(picked ? pick[(size_t)i] : i) * hidden;
        double sum = 0;
        std::vector<double> v(hidden);

        for (size_t j = 0; j < hidden; j++) {
            v[j] = value(x[from + j]) + (with_residual ? value(r0[from + j]) : 0);
            if (with_residual) {
                assert_true(std::fabs(value(r[from + j]) - v[j]) <= std::fabs(v[j]) / 256);
            }
            sum += v[j] * v[j];
        }
        for (size_t j = 0; j < hidden; j++) {
            want[(size_t)i * hidden + j] = v[j] / std::sqrt(sum / hidden + 1e-5) * value(w[j]);
        }
    }
    assert_true(rel_error(out, want) < 5e-3);
}

static void test_norm(void **)
{
    check_norm(false, false);
    check_norm(true, false);
    check_norm(false, true);
}

static void test_rope(void **)
{
    const int heads = 4, kv_heads = 2, hd = 64, rows = 3, all = heads + 2 * kv_heads;
    cache kv(hd, kv_heads, 4, {40, 25});
    std::vector<int32_t> position = {39, 24, -1}, seq = {0, 1, 0};
    std::vector<float> turn(64 * hd);
    words before = random_words(rows * all * hd, 4, 1.0f), qkv = before;
    paged_kv view = kv.view();

    for (int p = 0; p < 64; p++) {
        for (int i = 0; i < hd / 2; i++) {
            double angle = p * std::pow(10000.0, -2.0 * i / hd);

            turn[(size_t)(p * hd + 2 * i)] = (float)std::cos(angle);
            turn[(size_t)(p * hd + 2 * i + 1)] = (float)std::sin(angle);
        }
    }
    rope_args a = {qkv.data(), view, position.data(), seq.data(), turn.data(), rows, heads, hd};
    assert_true(lane_launch({(rows * all * hd / 4 + SMALL_THREADS - 1) / SMALL_THREADS, 1, 1}, SMALL_THREADS, 0,
                            false, false, [&] { rotate_and_store(a); }));
    for (int r = 0; r < rows; r++) {
        for (int h = 0; h < all; h++) {
            for (int d = 0; d < hd; d++) {
                size_t at = (size_t)((r * all + h) * hd + d), partner = at + (d < hd / 2 ? hd / 2 : -hd / 2);
                double angle = position[(size_t)r] * std::pow(10000.0, -2.0 * (d % (hd / 2)) / hd);
                double sign = d < hd / 2 ? -1 : 1;
                double want = value(before[at]) * std::cos(angle) + sign * value(before[partner]) * std::sin(angle);
                bool turned = h < heads + kv_heads && r < 2;

                want = turned ? want : value(before[at]);
                assert_true(std::fabs(value(qkv[at]) - want) < 0.02);
                if (h >= heads && r < 2) {
                    const words &to = h < heads + kv_heads ? kv.k : kv.v;
                    int head = (h - heads) % kv_heads;
                    int64_t cell = kv.row((size_t)seq[(size_t)r], position[(size_t)r]) * kv_heads + head;

                    assert_int_equal(to[(size_t)(cell * hd + d)], qkv[at]);
                }
            }
        }
    }
}

static void test_act_and_embed(void **)
{
    const int ffn = 2056, rows = 2;
    words in = random_words(2 * ffn * rows, 7, 2.0f), out(ffn * rows, 0x7fff);
    std::vector<double> want(out.size());
    std::vector<int32_t> token = {3, 0, 3};
    words table = random_words(5 * 24, 9, 1.0f), got(3 * 24);

    run_all_ways<bf16>({rows, (ffn / 8 + SMALL_THREADS - 1) / SMALL_THREADS, 1}, SMALL_THREADS, 0, out,
                       [&] { silu_times(in.data(), out.data(), ffn); });
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < ffn; i++) {
            double g = value(in[r * 2 * ffn + i]);

            want[r * ffn + i] = g / (1 + std::exp(-g)) * value(in[r * 2 * ffn + ffn + i]);
        }
    }
    assert_true(rel_error(out, want) < 5e-3);
    run_all_ways<bf16>({3, 1, 1}, SMALL_THREADS, 0, got, [&] { embed_rows(table.data(), token.data(), got.data(), 24); });
    for (size_t r = 0; r < 3; r++) {
        assert_memory_equal(&got[r * 24], &table[(size_t)token[r] * 24], 48);
    }
}

static void test_argmax(void **)
{
    const int vocab = 9000, rows = 2;
    words logits = random_words(vocab * rows, 10, 3.0f);
    std::vector<int32_t> token(rows);

    logits[8765] = 0x4300;        // 128
    logits[8999] = 0x4300;        // the first of equals counts
    logits[vocab + 8999] = 0x4300; // the very last
    run_all_ways<int32_t>({rows, 1, 1}, SAMPLE_THREADS, 0, token,
                          [&] { argmax_rows(logits.data(), token.data(), vocab); });
    assert_int_equal(token[0], 8765);
    assert_int_equal(token[1], 8999);
}

// With uniform numbers spread evenly, each of the k largest comes up as often as its weight says, and
// nothing else ever does. The order of equals and of the list is free, so draws may differ between ways.
static void check_topk(const words &row, int k, bool backwards)
{
    const int vocab = (int)row.size(), draws = 40;
    std::vector<float> uniform;
    std::vector<int32_t> token(draws, -1);
    std::vector<double> best;
    words logits;
    double sum = 0;
    int at101 = 0;

    for (int i = 0; i < draws; i++) {
        logits.insert(logits.end(), row.begin(), row.end());
        uniform.push_back(((float)i + 0.5f) / draws);
    }
    assert_true(lane_launch({draws, 1, 1}, SAMPLE_THREADS, 0, backwards, false, [&] {
        topk_rows(logits.data(), token.data(), vocab, k, uniform.data());
    }));
    for (bf16 b : row) {
        best.push_back(value(b));
    }
    std::sort(best.rbegin(), best.rend());
    for (int i = 0; i < k; i++) {
        sum += std::exp(best[(size_t)i]);
    }
    for (int32_t t : token) {
        assert_in_range(t, 0, vocab - 1);
        assert_true(value(row[(size_t)t]) >= best[(size_t)k - 1]);
        at101 += t == 101;
    }
    assert_true(std::abs(at101 - draws * std::exp(5.25) / sum) <= 1.01);
}

static void test_topk(void **)
{
    words row = random_words(2048, 11, 1.0f);

    for (bf16 &b : row) {
        b &= 0xfff0; // ties in the tail
    }
    row[17] = 0x4080;   // 4
    row[2047] = 0x4090; // 4.5
    row[100] = 0x40a0;  // 5
    row[101] = 0x40a8;  // 5.25
    row[0] = 0x4060;    // 3.5, against whatever the tail has
    check_topk(row, 5, false);
    check_topk(row, 5, true);
}

static void test_moves(void **)
{
    std::vector<sixteen> cache(8 * 20), packed(3 * 20), out(8 * 20);
    std::vector<int32_t> index = {6, 0, 3};
    std::vector<uint32_t> sink(1);

    for (size_t i = 0; i < cache.size(); i++) {
        cache[i].word[0] = (uint32_t)i;
    }
    assert_true(lane_launch({3, 1, 1}, SMALL_THREADS, 0, false, false,
                            [&] { move_blocks(cache.data(), packed.data(), index.data(), 20, true); }));
    for (size_t i = 0; i < 60; i++) {
        assert_int_equal(packed[i].word[0], (size_t)index[i / 20] * 20 + i % 20);
    }
    cache.assign(8 * 20, sixteen());
    assert_true(lane_launch({3, 2, 1}, SMALL_THREADS, 0, false, false,
                            [&] { move_blocks(cache.data(), packed.data(), index.data(), 20, false); }));
    for (size_t i = 0; i < 60; i++) {
        assert_int_equal(cache[(size_t)index[i / 20] * 20 + i % 20].word[0], packed[i].word[0]);
    }
    cache.resize(5000);
    for (size_t i = 0; i < cache.size(); i++) {
        cache[i].word[3] = (uint32_t)(i * i);
    }
    out.assign(5000, sixteen());
    assert_true(lane_launch({2, 1, 1}, SMALL_THREADS, 0, false, false, [&] { copy_memory(cache.data(), out.data(), 5000); }));
    assert_memory_equal(cache.data(), out.data(), 5000 * sizeof(sixteen));
    assert_true(lane_launch({2, 1, 1}, SMALL_THREADS, 0, false, false, [&] { read_memory(out.data(), 5000, sink.data()); }));
    assert_true(lane_launch({2, 1, 1}, SMALL_THREADS, 0, false, false, [&] { write_memory(out.data(), 5000, 9); }));
    for (const sixteen &s : out) {
        assert_int_equal(s.word[2], 45);
    }
}

static void test_fill(void **)
{
    const int64_t pairs = 20000;
    std::vector<uint32_t> data(pairs);
    double sum = 0, sq = 0;

    run_all_ways<uint32_t>({4, 1, 1}, SMALL_THREADS, 0, data, [&] { fill_bf16(data.data(), pairs, 42, 0.5f); });
    for (uint32_t p : data) {
        for (unsigned i = 0; i < 2; i++) {
            double v = (double)lane_half(p, i);

            sum += v;
            sq += v * v;
        }
    }
    assert_true(std::fabs(sum / (2 * pairs)) < 0.01);
    assert_true(std::fabs(std::sqrt(sq / (2 * pairs)) - 0.5) < 0.01);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefill), cmocka_unit_test(test_decode),        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_norm),    cmocka_unit_test(test_rope),          cmocka_unit_test(test_act_and_embed),
        cmocka_unit_test(test_argmax),  cmocka_unit_test(test_topk),          cmocka_unit_test(test_moves),
        cmocka_unit_test(test_fill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
