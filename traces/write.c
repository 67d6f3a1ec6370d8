/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/write.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>

#include "traces/packed.h"

struct trace_writer {
    char *path;
    enum trace_form form;
    const struct trace *names;
    FILE *file;
    gzFile gz;
    FILE *extras, *ids; /* packed: sections collected apart */
    uint64_t count, n_extras, n_ids;
    bool calls; /* the trace has graphs of calls */
    char *buf; /* one CSV line */
    size_t n, cap;
    int rc; /* first failure */
};

enum trace_form trace_form_of_path(const char *path)
{
    size_t n = strlen(path);
    if (n > 7 && strcmp(path + n - 7, ".packed") == 0) {
        return TRACE_PACKED;
    }
    return n > 3 && strcmp(path + n - 3, ".gz") == 0 ? TRACE_NATIVE_GZIP : TRACE_NATIVE;
}

static int io_error(struct trace_writer *w, struct err *e)
{
    w->rc = err_set(e, SIM_E_IO, "%s: %s", w->path, errno ? strerror(errno) : "cannot write");
    return w->rc;
}

/* ---- text ---- */

static bool reserve(struct trace_writer *w, size_t more)
{
    if (w->n + more <= w->cap) {
        return true;
    }
    size_t cap = w->cap ? w->cap : 4096;
    while (cap < w->n + more) {
        cap *= 2;
    }
    char *buf = realloc(w->buf, cap);
    if (!buf) {
        return false;
    }
    w->buf = buf;
    w->cap = cap;
    return true;
}

static void put(struct trace_writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Short pieces only. */
static void put(struct trace_writer *w, const char *fmt, ...)
{
    va_list ap;
    if (!reserve(w, 128)) {
        w->rc = SIM_E_NOMEM;
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(w->buf + w->n, 128, fmt, ap);
    va_end(ap);
    w->n += n < 128 ? (size_t)n : 127;
}

static void put_char(struct trace_writer *w, char c)
{
    if (reserve(w, 1)) {
        w->buf[w->n++] = c;
    } else {
        w->rc = SIM_E_NOMEM;
    }
}

static void put_name(struct trace_writer *w, const char *name)
{
    bool quote = strpbrk(name, ",\"") || name[0] == '\0';
    if (quote) {
        put_char(w, '"');
    }
    for (; *name; name++) {
        if (*name == '"') {
            put_char(w, '"');
        }
        put_char(w, *name == '\n' || *name == '\r' ? ' ' : *name);
    }
    if (quote) {
        put_char(w, '"');
    }
}

/* Exact seconds without trailing zeros. */
static void put_seconds(struct trace_writer *w, sim_ns ns)
{
    char frac[16];
    snprintf(frac, sizeof(frac), "%09lld", (long long)(ns % 1000000000));
    int n = 9;
    while (n > 0 && frac[n - 1] == '0') {
        n--;
    }
    put(w, "%lld%s%.*s", (long long)(ns / 1000000000), n ? "." : "", n, frac);
}

/* Shortest text that reads back as the same number. */
static void put_double(struct trace_writer *w, double v)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    put(w, "%s", text);
}

static void put_float(struct trace_writer *w, float v)
{
    char text[40];
    for (int digits = 5; v != 0 && digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) {
            put(w, "%s", text);
            return;
        }
    }
}

static void put_ids(struct trace_writer *w, const uint64_t *id, uint32_t n_ids)
{
    uint32_t i = 0;
    while (i < n_ids) {
        uint32_t n = 1;
        while (i + n < n_ids && id[i + n] == id[i] + n) {
            n++;
        }
        put(w, "%s%llu", i ? " " : "", (unsigned long long)id[i]);
        if (n > 1) {
            put(w, "-%llu", (unsigned long long)(id[i] + n - 1));
        }
        i += n;
    }
}

static void put_u32(struct trace_writer *w, uint32_t v)
{
    if (v != 0) {
        put(w, "%u", v);
    }
}

static void put_measured(struct trace_writer *w, double v)
{
    if (!isnan(v)) {
        put_double(w, v);
    }
}

static void put_row(struct trace_writer *w, const struct arrival *a)
{
    put_seconds(w, a->time_ns);
    put_char(w, ',');
    put_name(w, trace_client_name(w->names, a->client));
    put(w, ",%u,%u,", a->prompt_tok, a->output_tok);
    put_u32(w, a->max_output_tok);
    put(w, a->priority ? ",%d," : ",,", a->priority);
    put_float(w, a->ttft_slo_ms);
    put_char(w, ',');
    put_float(w, a->tpot_slo_ms);
    put_char(w, ',');
    put_float(w, a->e2e_slo_ms);
    put(w, a->session ? ",%llu," : ",,", (unsigned long long)a->session);
    put_u32(w, a->turn);
    put_char(w, ',');
    if (a->gap_ns >= 0) {
        put_seconds(w, a->gap_ns);
    }
    put_char(w, ',');
    put_u32(w, a->n_hash ? a->hash_tok : 0);
    put_char(w, ',');
    put_ids(w, a->hash, a->n_hash);
    put_char(w, ',');
    put_measured(w, a->measured_ttft_s);
    put_char(w, ',');
    put_measured(w, a->measured_e2e_s);
    put(w, ",%s", a->slo_class ? slo_class_names[a->slo_class] : "");
    if (w->calls) {
        put_char(w, ',');
        put_u32(w, a->call);
        put_char(w, ',');
        put_ids(w, a->after, a->n_after);
    }
    put_char(w, '\n');
}

static int flush_text(struct trace_writer *w, struct err *e)
{
    size_t n = w->n;
    w->n = 0;
    if (w->rc == SIM_E_NOMEM) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", w->path);
    }
    errno = 0;
    bool ok = w->gz ? gzwrite(w->gz, w->buf, (unsigned)n) == (int)n : fwrite(w->buf, 1, n, w->file) == n;
    return ok ? 0 : io_error(w, e);
}

static int begin_text(struct trace_writer *w, struct err *e)
{
    put(w, "time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,");
    put(w, "ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class");
    put(w, w->calls ? ",call,after\n" : "\n");
    return flush_text(w, e);
}

/* ---- packed ---- */

static bool is_plain(const struct arrival *a)
{
    return a->session == 0 && a->turn == 0 && a->gap_ns == -1 && a->n_hash == 0 && a->priority == 0 &&
           a->ttft_slo_ms == 0 && a->tpot_slo_ms == 0 && a->e2e_slo_ms == 0 &&
           a->slo_class == SLO_NONE && a->call == 0 && a->n_after == 0 && isnan(a->measured_ttft_s) &&
           isnan(a->measured_e2e_s);
}

static bool put_list(FILE *to, const uint64_t *id, uint32_t n)
{
    return n == 0 || fwrite(id, sizeof(*id), n, to) == n;
}

static bool put_extra(struct trace_writer *w, const struct arrival *a)
{
    struct packed_extra x = {
        .session = a->session,
        .gap_ns = a->gap_ns,
        .first_id = w->n_ids,
        .measured_ttft_s = a->measured_ttft_s,
        .measured_e2e_s = a->measured_e2e_s,
        .n_ids = a->n_hash,
        .hash_tok = a->n_hash ? a->hash_tok : 0,
        .turn = a->turn,
        .priority = a->priority,
        .ttft_slo_ms = a->ttft_slo_ms,
        .tpot_slo_ms = a->tpot_slo_ms,
        .e2e_slo_ms = a->e2e_slo_ms,
        .slo_class = a->slo_class,
    };
    struct packed_call call = {a->call, a->n_after};
    w->n_extras++;
    w->n_ids += a->n_hash + (w->calls ? a->n_after : 0);
    return fwrite(&x, sizeof(x), 1, w->extras) == 1 && put_list(w->ids, a->hash, a->n_hash) &&
           (!w->calls ||
            (fwrite(&call, sizeof(call), 1, w->extras) == 1 && put_list(w->ids, a->after, a->n_after)));
}

static int put_packed(struct trace_writer *w, const struct arrival *a, struct err *e)
{
    struct packed_record r = {
        .time_ns = a->time_ns,
        .client = a->client,
        .prompt_tok = a->prompt_tok,
        .output_tok = a->output_tok,
        .max_output_tok = a->max_output_tok,
        .extra = PACKED_NO_EXTRA,
    };
    errno = 0;
    if (!is_plain(a)) {
        if (w->n_extras == PACKED_NO_EXTRA) {
            return w->rc = err_set(e, SIM_E_DATA, "%s: more than 2^32 requests with extras", w->path);
        }
        r.extra = (uint32_t)w->n_extras;
        if (!put_extra(w, a)) {
            return io_error(w, e);
        }
    }
    return fwrite(&r, sizeof(r), 1, w->file) == 1 ? 0 : io_error(w, e);
}

static int append(struct trace_writer *w, FILE *from, struct err *e)
{
    char block[16384];
    size_t n;
    errno = 0;
    if (fflush(from) != 0) {
        return io_error(w, e);
    }
    rewind(from);
    while ((n = fread(block, 1, sizeof(block), from)) > 0) {
        if (fwrite(block, 1, n, w->file) != n) {
            return io_error(w, e);
        }
    }
    return ferror(from) ? io_error(w, e) : 0;
}

static uint64_t put_names(struct trace_writer *w, uint32_t n)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = trace_client_name(w->names, i);
        fwrite(name, 1, strlen(name) + 1, w->file);
        size += strlen(name) + 1;
    }
    for (; size % 8 != 0; size++) {
        fputc(0, w->file);
    }
    return size;
}

static int put_header(struct trace_writer *w, uint32_t n_clients, uint64_t names_size, struct err *e)
{
    struct packed_header h = {
        .magic = {'S', 'T', 'Y', 'D', 'T', 'R', 'C', '\n'},
        .version = w->calls ? PACKED_CALLS : PACKED_VERSION,
        .byte_order = PACKED_BYTE_ORDER,
        .header_size = sizeof(h),
        .record_size = sizeof(struct packed_record),
        .extra_size = sizeof(struct packed_extra) + (w->calls ? sizeof(struct packed_call) : 0),
        .caps = trace_caps(w->names),
        .count = w->count,
        .n_extras = w->n_extras,
        .n_ids = w->n_ids,
        .names_size = names_size,
        .n_clients = n_clients,
    };
    h.file_size = sizeof(h) + w->count * sizeof(struct packed_record) +
                  w->n_extras * h.extra_size + w->n_ids * 8 + names_size;
    h.checksum = XXH3_64bits(&h, sizeof(h));
    errno = 0;
    if (fseek(w->file, 0, SEEK_SET) != 0 || fwrite(&h, sizeof(h), 1, w->file) != 1) {
        return io_error(w, e);
    }
    return 0;
}

static int begin_packed(struct trace_writer *w, struct err *e)
{
    static const struct packed_header none;
    errno = 0;
    w->extras = tmpfile();
    w->ids = tmpfile();
    return w->extras && w->ids && fwrite(&none, sizeof(none), 1, w->file) == 1 ? 0 : io_error(w, e);
}

static int finish_packed(struct trace_writer *w, struct err *e)
{
    uint32_t n_clients = trace_clients(w->names);
    int rc = append(w, w->extras, e);
    if (rc == 0) {
        rc = append(w, w->ids, e);
    }
    return rc == 0 ? put_header(w, n_clients, put_names(w, n_clients), e) : rc;
}

/* ---- both ---- */

static void free_writer(struct trace_writer *w)
{
    if (w->extras) {
        fclose(w->extras);
    }
    if (w->ids) {
        fclose(w->ids);
    }
    free(w->buf);
    free(w->path);
    free(w);
}

static int open_file(struct trace_writer *w, struct err *e)
{
    bool out = strcmp(w->path, "-") == 0;
    if (out && w->form == TRACE_PACKED) {
        return err_set(e, SIM_E_USAGE, "a packed trace cannot be written to standard output");
    }
    errno = 0;
    if (w->form == TRACE_NATIVE_GZIP && !out) {
        w->gz = gzopen(w->path, "wb9");
    } else {
        w->file = out ? stdout : fopen(w->path, "wb");
    }
    return w->gz || w->file ? 0 : io_error(w, e);
}

int trace_writer_open(struct trace_writer **ret, const char *path, enum trace_form form,
                      const struct trace *names, struct err *e)
{
    struct trace_writer *w = calloc(1, sizeof(*w));
    *ret = NULL;
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    w->form = form;
    w->names = names;
    w->calls = trace_caps(names) & TRACE_CALLS;
    int rc = open_file(w, e);
    if (rc < 0) {
        free_writer(w);
        return rc;
    }
    rc = form == TRACE_PACKED ? begin_packed(w, e) : begin_text(w, e);
    if (rc < 0) {
        trace_writer_close(w, e);
        return rc;
    }
    *ret = w;
    return 0;
}

int trace_writer_put(struct trace_writer *w, const struct arrival *a, struct err *e)
{
    w->count++;
    if (w->form == TRACE_PACKED) {
        return put_packed(w, a, e);
    }
    put_row(w, a);
    return flush_text(w, e);
}

static int close_file(struct trace_writer *w)
{
    errno = 0;
    if (w->gz) {
        return gzclose_w(w->gz) == Z_OK ? 0 : -1;
    }
    return w->file == stdout ? fflush(stdout) : fclose(w->file);
}

int trace_writer_close(struct trace_writer *w, struct err *e)
{
    if (w->form == TRACE_PACKED && w->rc == 0) {
        w->rc = finish_packed(w, e);
    }
    if (close_file(w) != 0 && w->rc == 0) {
        io_error(w, e);
    }
    int rc = w->rc;
    free_writer(w);
    return rc;
}

int trace_write(struct trace *t, const char *path, enum trace_form form, uint64_t *ret_n, struct err *e)
{
    struct trace_writer *w;
    struct arrival a;
    uint64_t n = 0;
    int rc = trace_writer_open(&w, path, form, t, e);
    if (rc < 0) {
        return rc;
    }
    while ((rc = trace_next(t, &a, e)) == 1) {
        rc = trace_writer_put(w, &a, e);
        if (rc < 0) {
            break;
        }
        n++;
    }
    int closed = trace_writer_close(w, e);
    if (ret_n) {
        *ret_n = n;
    }
    return rc < 0 ? rc : closed;
}
