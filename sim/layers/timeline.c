/* SPDX-License-Identifier: Apache-2.0
 *
 * Format: "Trace Event Format", complete events ("ph": "X") with microseconds as numbers, thread names as
 * metadata events. */
#include "sim/layers/timeline.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const track_names[TRACKS] = {
    [TRACK_STEP] = "engine steps", [TRACK_GPU] = "GPU", [TRACK_H2D] = "copies to the GPU (H2D)",
    [TRACK_D2H] = "copies to the host (D2H)", [TRACK_CPU] = "CPU experts"};

int timeline_open(struct timeline *t, const char *path, struct err *e)
{
    *t = (struct timeline){.path = path, .out = fopen(path, "w")};
    if (!t->out) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", t->out);
    fputs("{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"steelyard\"}}", t->out);
    for (int i = 0; i < TRACKS; i++) {
        fprintf(t->out, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}",
                i + 1, track_names[i]);
        fprintf(t->out, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_sort_index\","
                        "\"args\":{\"sort_index\":%d}}", i + 1, i + 1);
    }
    return 0;
}

/* Nanoseconds as microseconds with three decimals, exactly. */
static void write_us(FILE *out, const char *key, sim_ns ns)
{
    fprintf(out, ",\"%s\":%lld.%03lld", key, (long long)(ns / 1000), (long long)(ns % 1000));
}

void timeline_slice(struct timeline *t, enum timeline_track track, sim_ns from, sim_ns to, const char *fmt, ...)
{
    char name[160];
    va_list ap;

    if (!t || !t->out || to <= from) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    fprintf(t->out, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"name\":\"%s\"", track + 1, name);
    write_us(t->out, "ts", from);
    write_us(t->out, "dur", to - from);
    fputc('}', t->out);
    t->slices++;
}

int timeline_close(struct timeline *t, struct err *e)
{
    bool failed;

    if (!t->out) {
        return 0;
    }
    fputs("\n]}\n", t->out);
    failed = ferror(t->out) != 0;
    failed = fclose(t->out) != 0 || failed;
    t->out = NULL;
    return failed ? err_set(e, SIM_E_IO, "%s: not all of the timeline was written", t->path) : 0;
}
