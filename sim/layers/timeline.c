/* SPDX-License-Identifier: Apache-2.0
 *
 * Format: "Trace Event Format", complete events ("ph": "X") with microseconds as numbers, names of processes
 * and threads as metadata events in front of the first slice. */
#include "sim/layers/timeline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const track_names[TRACKS] = {
#define TIMELINE_NAME(constant, name) name,
    TIMELINE_TRACK_MAP(TIMELINE_NAME)
#undef TIMELINE_NAME
};

int timeline_open(struct timeline *t, const char *path, uint32_t replicas, struct err *e)
{
    *t = (struct timeline){.path = path, .replicas = replicas};
    t->ends = calloc(replicas ? replicas : 1, sizeof *t->ends);
    if (!t->ends) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a timeline");
    }
    t->out = fopen(path, "w");
    if (!t->out) {
        free(t->ends);
        t->ends = NULL;
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", t->out);
    return 0;
}

/* ---- names ---- */

static void next_event(struct timeline *t, const char *ph, uint32_t replica, int tid)
{
    fprintf(t->out, "%s\n{\"ph\":\"%s\",\"pid\":%u", t->begun ? "," : "", ph, replica + 1);
    if (tid > 0) {
        fprintf(t->out, ",\"tid\":%d", tid);
    }
    t->begun = true;
}

static void name_process(struct timeline *t, uint32_t replica)
{
    next_event(t, "M", replica, 0);
    fputs(",\"name\":\"process_name\",\"args\":{\"name\":\"", t->out);
    fprintf(t->out, t->replicas > 1 ? "replica %u\"}}" : "steelyard\"}}", replica);
    t->ends[replica].named = true;
    if (t->replicas > 1) {
        next_event(t, "M", replica, 0);
        fprintf(t->out, ",\"name\":\"process_sort_index\",\"args\":{\"sort_index\":%u}}", replica);
    }
}

static int tid_of(enum timeline_track track, int line)
{
    return (int)track + 1 + line * TRACKS;
}

static void name_line(struct timeline *t, uint32_t replica, enum timeline_track track, int line)
{
    next_event(t, "M", replica, tid_of(track, line));
    fprintf(t->out, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s", track_names[track]);
    fprintf(t->out, line > 0 ? ", %d\"}}" : "\"}}", line + 1);
    next_event(t, "M", replica, tid_of(track, line));
    fprintf(t->out, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%d}}", (int)track * TIMELINE_LINES + line);
    t->ends[replica].line[track][line].named = true;
}

/* ---- slices ---- */

/* Nanoseconds as microseconds with three decimals, exactly. */
static void write_us(FILE *out, const char *key, sim_ns ns)
{
    fprintf(out, ",\"%s\":%lld.%03lld", key, (long long)(ns / 1000), (long long)(ns % 1000));
}

/* The first line that is free by then; the last one takes what nobody else does. */
static int free_line(const struct timeline_ends *e, enum timeline_track track, sim_ns from)
{
    int line = 0;

    while (line + 1 < TIMELINE_LINES && e->line[track][line].end > from) {
        line++;
    }
    return line;
}

static void write_slice(struct timeline *t, uint32_t replica, enum timeline_track track, sim_ns from, sim_ns to,
                        const char *fmt, va_list ap)
{
    struct timeline_ends *e = &t->ends[replica];
    int line = free_line(e, track, from);
    char name[160];

    if (!e->named) {
        name_process(t, replica);
    }
    if (!e->line[track][line].named) {
        name_line(t, replica, track, line);
    }
    vsnprintf(name, sizeof name, fmt, ap);
    next_event(t, "X", replica, tid_of(track, line));
    fprintf(t->out, ",\"name\":\"%s\"", name);
    write_us(t->out, "ts", from);
    write_us(t->out, "dur", to - from);
    fputc('}', t->out);
    t->slices++;
    e->line[track][line].end = to > e->line[track][line].end ? to : e->line[track][line].end;
}

void timeline_slice(struct timeline *t, enum timeline_track track, sim_ns from, sim_ns to, const char *fmt, ...)
{
    va_list ap;

    if (!t || !t->out || to <= from) {
        return;
    }
    va_start(ap, fmt);
    write_slice(t, 0, track, from, to, fmt, ap);
    va_end(ap);
}

void timeline_slice_of(struct timeline *t, uint32_t replica, enum timeline_track track, sim_ns from, sim_ns to,
                       const char *fmt, ...)
{
    va_list ap;

    if (!t || !t->out || to <= from || (replica > 0 && replica >= t->replicas)) {
        return;
    }
    va_start(ap, fmt);
    write_slice(t, replica, track, from, to, fmt, ap);
    va_end(ap);
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
    free(t->ends);
    t->out = NULL;
    t->ends = NULL;
    return failed ? err_set(e, SIM_E_IO, "%s: not all of the timeline was written", t->path) : 0;
}
