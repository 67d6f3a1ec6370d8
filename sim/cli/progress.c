/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of progress on stderr: only on a terminal, at most five times a second. */
#include "sim/cli/cli.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_S 0.2

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *what, bool allow)
{
    *p = (struct progress){
        .on = allow && isatty(STDERR_FILENO), .started_s = wall_s(), .what = what};
    p->last_s = p->started_s;
}

static void write_left(double left_s)
{
    if (left_s >= 3600) {
        fprintf(stderr, ", %.0f:%02.0f h left", floor(left_s / 3600), floor(fmod(left_s, 3600) / 60));
    } else if (left_s >= 60) {
        fprintf(stderr, ", %.0f:%02.0f min left", floor(left_s / 60), floor(fmod(left_s, 60)));
    } else {
        fprintf(stderr, ", %.0f s left", ceil(left_s));
    }
}

void progress_update(struct progress *p, double share, const char *detail)
{
    double now_s = wall_s();
    if (!p->on || now_s - p->last_s < REDRAW_S) {
        return;
    }
    p->last_s = now_s;
    fprintf(stderr, "\r\033[K%s", p->what);
    if (share > 0) {
        fprintf(stderr, " %3.0f %%", 100 * fmin(share, 1));
        write_left((now_s - p->started_s) * (1 - fmin(share, 1)) / share);
    }
    fprintf(stderr, "%s%s", detail && *detail ? "  " : "", detail ? detail : "");
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->on) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
        p->on = false;
    }
}
