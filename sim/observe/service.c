/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/service.h"

#include <math.h>

static void halve(struct metrics *m, double *curve)
{
    if (!curve) {
        return;
    }
    for (int i = 0; i < SERVICE_BINS / 2; i++) {
        curve[i] = curve[2 * i] + curve[2 * i + 1];
    }
    for (int i = SERVICE_BINS / 2; i < SERVICE_BINS; i++) {
        curve[i] = 0;
    }
    (void)m;
}

static void reach(struct metrics *m, double t_s)
{
    while (t_s >= m->bin_s * SERVICE_BINS) {
        for (uint32_t c = 0; c < m->n_clients; c++) {
            halve(m, m->clients[c].served);
            halve(m, m->clients[c].asked);
        }
        m->bin_s *= 2;
    }
}

void service_ask(struct metrics *m, struct client_stats *c, double at_s, double v)
{
    if (c->asked) {
        reach(m, at_s);
        c->asked[(int)(at_s / m->bin_s)] += v;
    }
}

void service_add(struct metrics *m, struct client_stats *c, double from_s, double to_s, double v)
{
    int first, last;

    if (!c->served) {
        return;
    }
    reach(m, to_s);
    first = (int)(from_s / m->bin_s);
    last = (int)(to_s / m->bin_s);
    if (first == last) {
        c->served[first] += v;
        return;
    }
    for (int i = first; i <= last; i++) {
        double lo = i == first ? from_s : i * m->bin_s;
        double hi = i == last ? to_s : (i + 1) * m->bin_s;

        c->served[i] += v * (hi - lo) / (to_s - from_s);
    }
}

double service_between(const struct metrics *m, const double *curve, double from_s, double to_s)
{
    double sum = 0;
    int first, last;

    from_s = fmax(from_s, 0); /* in a run shorter than half a window the first ticks lie before it */
    first = (int)(from_s / m->bin_s);
    last = (int)(to_s / m->bin_s);
    for (int i = first; i <= last && i < SERVICE_BINS; i++) {
        double lo = fmax(from_s, i * m->bin_s), hi = fmin(to_s, (i + 1) * m->bin_s);

        if (hi > lo) {
            sum += curve[i] * (hi - lo) / m->bin_s;
        }
    }
    return sum;
}

/* One tick of the windowed difference (fairness.md 2.6): a client that got more than it asked for, or
 * less, can only complain about what others got beyond it. */
static double window_diff(const struct metrics *m, double from_s, double window_s)
{
    double most = 0, diff = 0;

    for (uint32_t c = 0; c < m->n_clients; c++) {
        if (m->clients[c].served) {
            most = fmax(most, service_between(m, m->clients[c].served, from_s, from_s + window_s));
        }
    }
    for (uint32_t c = 0; c < m->n_clients; c++) {
        const struct client_stats *s = &m->clients[c];

        if (s->served) {
            double y = service_between(m, s->served, from_s, from_s + window_s) / window_s;
            double d = service_between(m, s->asked, from_s, from_s + window_s) / window_s;

            diff += fmin(most / window_s - y, fabs(d - y));
        }
    }
    return diff;
}

static double accumulated_diff(const struct metrics *m, double to_s)
{
    double least = INFINITY, most = 0;

    for (uint32_t c = 0; c < m->n_clients; c++) {
        if (m->clients[c].served) {
            double v = service_between(m, m->clients[c].served, 0, to_s) / m->clients[c].weight;

            least = fmin(least, v);
            most = fmax(most, v);
        }
    }
    return most > least ? most - least : 0;
}

static double jain(const struct metrics *m, double horizon_s)
{
    double sum = 0, sum_sq = 0;
    int n = 0;

    for (uint32_t c = 0; c < m->n_clients; c++) {
        if (m->clients[c].served) {
            double x = service_between(m, m->clients[c].served, 0, horizon_s) / m->clients[c].weight;

            sum += x;
            sum_sq += x * x;
            n++;
        }
    }
    return sum_sq > 0 ? sum * sum / (n * sum_sq) : (double)NAN;
}

struct service_summary service_summarise(const struct metrics *m, double horizon_s, double window_s)
{
    struct service_summary s = {.jain = jain(m, horizon_s)};
    double sum = 0, sum_sq = 0;
    int n = SERVICE_TICKS - 1;

    for (int i = 1; i <= n; i++) {
        double d = window_diff(m, (horizon_s - window_s / 2) / SERVICE_TICKS * i, window_s);
        double a = accumulated_diff(m, horizon_s / SERVICE_TICKS * i);

        sum += d;
        sum_sq += d * d;
        s.max_diff = fmax(s.max_diff, d);
        s.max_acc = fmax(s.max_acc, a);
        s.mean_acc += a / n;
    }
    s.mean_diff = sum / n;
    s.var_diff = fmax(0, sum_sq / n - s.mean_diff * s.mean_diff);
    return s;
}
