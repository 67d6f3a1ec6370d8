/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUF_FIRST ((size_t)256 << 10)

struct trace_input {
    const char *name;
    gzFile gz; /* NULL for memory */
    const unsigned char *mem;
    size_t mem_size, mem_pos;
    void *map; /* of trace_input_map */
    size_t map_size;
    off_t file_size; /* -1 when unknown */
    char *buf;       /* holds [begin, end), one spare byte for a NUL */
    size_t begin, end, cap;
    uint64_t line;
    bool eof, started;
};

static int init_buf(struct trace_input *in, struct err *e)
{
    in->cap = BUF_FIRST;
    in->buf = malloc(in->cap + 1);
    return in->buf ? 0 : err_set(e, SIM_E_NOMEM, "%s: no memory for a read buffer", in->name);
}

static int open_fd(struct trace_input *in, const char *path, struct err *e)
{
    struct stat st;
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set(e, SIM_E_IO, "%s: %s", in->name, strerror(errno));
    }
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        return err_set(e, SIM_E_IO, "%s: is a directory, not a trace", in->name);
    }
    in->file_size = S_ISREG(st.st_mode) ? st.st_size : -1;
    in->gz = gzdopen(fd, "rb");
    if (!in->gz) {
        close(fd);
        return err_set(e, SIM_E_NOMEM, "%s: no memory for zlib", in->name);
    }
    gzbuffer(in->gz, 128u << 10);
    return 0;
}

int trace_input_open(struct trace_input **ret, const char *path, struct arena *a, struct err *e)
{
    struct trace_input *in = arena_alloc(a, sizeof(*in));
    *ret = NULL;
    if (!in) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", path);
    }
    in->name = strcmp(path, "-") == 0 ? "<stdin>" : arena_strdup(a, path);
    in->file_size = -1;
    int rc = open_fd(in, path, e);
    if (rc == 0) {
        rc = init_buf(in, e);
    }
    if (rc < 0) {
        trace_input_close(in);
        return rc;
    }
    *ret = in;
    return 0;
}

int trace_input_open_memory(struct trace_input **ret, const void *data, size_t size, const char *name,
                            struct arena *a, struct err *e)
{
    struct trace_input *in = arena_alloc(a, sizeof(*in));
    *ret = NULL;
    if (!in) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", name);
    }
    in->name = arena_strdup(a, name);
    in->mem = data;
    in->mem_size = size;
    in->file_size = (off_t)size;
    *ret = in;
    return init_buf(in, e);
}

void trace_input_close(struct trace_input *in)
{
    if (!in) {
        return;
    }
    if (in->gz) {
        gzclose_r(in->gz);
    }
    if (in->map) {
        munmap(in->map, in->map_size);
    }
    free(in->buf);
    in->gz = NULL;
    in->map = NULL;
    in->buf = NULL;
}

static int gz_error(struct trace_input *in, struct err *e)
{
    int code = Z_OK;
    const char *text = gzerror(in->gz, &code);
    if (code == Z_ERRNO) {
        return err_set(e, SIM_E_IO, "%s: %s", in->name, strerror(errno));
    }
    if (code == Z_BUF_ERROR) {
        return err_set(e, SIM_E_DATA, "%s: the gzip file is truncated (after line %llu)", in->name,
                       (unsigned long long)in->line);
    }
    return err_set(e, SIM_E_DATA, "%s: the gzip file is damaged: %s", in->name, text);
}

/* Bytes read, 0 at the end. zlib reports a truncated member only when asked after the last bytes. */
static int read_gz(struct trace_input *in, char *to, size_t room, size_t *ret, struct err *e)
{
    int code = Z_OK;
    int n = gzread(in->gz, to, (unsigned)(room > (1u << 30) ? (1u << 30) : room));
    if (n < 0) {
        return gz_error(in, e);
    }
    gzerror(in->gz, &code);
    if (code != Z_OK && code != Z_STREAM_END) {
        return gz_error(in, e);
    }
    *ret = (size_t)n;
    return 0;
}

static int read_some(struct trace_input *in, struct err *e)
{
    size_t got = 0, room = in->cap - in->end;
    if (in->mem) {
        got = in->mem_size - in->mem_pos < room ? in->mem_size - in->mem_pos : room;
        memcpy(in->buf + in->end, in->mem + in->mem_pos, got);
        in->mem_pos += got;
    } else if (in->gz) {
        int rc = read_gz(in, in->buf + in->end, room, &got, e);
        if (rc < 0) {
            return rc;
        }
    }
    in->end += got;
    in->eof = got == 0;
    return 0;
}

static int grow(struct trace_input *in, size_t limit, const char *what, struct err *e)
{
    size_t cap = in->cap * 2 > limit ? limit : in->cap * 2;
    if (cap <= in->cap) {
        return err_set(e, SIM_E_DATA, "%s:%llu: %s is longer than %zu MiB", in->name,
                       (unsigned long long)in->line + 1, what, limit >> 20);
    }
    char *buf = realloc(in->buf, cap + 1);
    if (!buf) {
        return err_set(e, SIM_E_NOMEM, "%s:%llu: no memory for %s of %zu MiB", in->name,
                       (unsigned long long)in->line + 1, what, cap >> 20);
    }
    in->buf = buf;
    in->cap = cap;
    return 0;
}

/* Make room behind `end`: move what is left to the front, or grow. */
static int make_room(struct trace_input *in, size_t limit, const char *what, struct err *e)
{
    if (in->begin > 0) {
        memmove(in->buf, in->buf + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
    }
    return in->end < in->cap ? 0 : grow(in, limit, what, e);
}

static void skip_bom(struct trace_input *in)
{
    if (!in->started) {
        in->started = true;
        if (in->end - in->begin >= 3 && memcmp(in->buf + in->begin, "\xef\xbb\xbf", 3) == 0) {
            in->begin += 3;
        }
    }
}

int trace_input_head(struct trace_input *in, char head[TRACE_HEAD_MAX + 1], size_t *ret_n,
                     struct err *e)
{
    while (!in->eof && in->end - in->begin < TRACE_HEAD_MAX) {
        int rc = read_some(in, e);
        if (rc < 0) {
            return rc;
        }
    }
    skip_bom(in);
    size_t n = in->end - in->begin < TRACE_HEAD_MAX ? in->end - in->begin : TRACE_HEAD_MAX;
    memcpy(head, in->buf + in->begin, n);
    head[n] = '\0';
    *ret_n = n;
    return 0;
}

static int hand_out(struct trace_input *in, size_t n, size_t eat, char **ret, size_t *ret_n)
{
    char *line = in->buf + in->begin;
    in->begin += eat;
    in->line++;
    if (n > 0 && line[n - 1] == '\r') {
        n--;
    }
    line[n] = '\0';
    *ret = line;
    *ret_n = n;
    return 1;
}

int trace_input_line(struct trace_input *in, char **ret, size_t *ret_n, struct err *e)
{
    size_t seen = 0; /* bytes of this line already searched */
    for (;;) {
        char *from = in->buf + in->begin;
        char *nl = memchr(from + seen, '\n', in->end - in->begin - seen);
        if (nl) {
            skip_bom(in);
            from = in->buf + in->begin;
            return hand_out(in, (size_t)(nl - from), (size_t)(nl - from) + 1, ret, ret_n);
        }
        seen = in->end - in->begin;
        if (in->eof) {
            skip_bom(in);
            seen = in->end - in->begin;
            return seen > 0 ? hand_out(in, seen, seen, ret, ret_n) : 0;
        }
        int rc = make_room(in, TRACE_LINE_MAX, "the line", e);
        if (rc == 0) {
            rc = read_some(in, e);
        }
        if (rc < 0) {
            return rc;
        }
    }
}

int trace_input_rest(struct trace_input *in, char **ret, size_t *ret_n, struct err *e)
{
    while (!in->eof) {
        int rc = make_room(in, TRACE_DOCUMENT_MAX, "the document", e);
        if (rc == 0) {
            rc = read_some(in, e);
        }
        if (rc < 0) {
            return rc;
        }
    }
    skip_bom(in);
    *ret = in->buf + in->begin;
    *ret_n = in->end - in->begin;
    (*ret)[*ret_n] = '\0';
    in->begin = in->end;
    return 0;
}

static int map_file(struct trace_input *in, struct err *e)
{
    int fd = open(in->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set(e, SIM_E_IO, "%s: %s", in->name, strerror(errno));
    }
    in->map_size = (size_t)in->file_size;
    void *p = mmap(NULL, in->map_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        return err_set(e, SIM_E_IO, "%s: cannot map: %s", in->name, strerror(errno));
    }
    in->map = p;
    return 0;
}

int trace_input_map(struct trace_input *in, const void **ret, size_t *ret_n, struct err *e)
{
    if (in->mem) {
        *ret = in->mem;
        *ret_n = in->mem_size;
        return 0;
    }
    if (in->file_size <= 0 || !gzdirect(in->gz) || !trace_input_is_file(in)) {
        return err_set(e, SIM_E_DATA,
                       "%s: this format is mapped into memory: it must be a plain file, neither gzip "
                       "nor a pipe",
                       in->name);
    }
    int rc = in->map ? 0 : map_file(in, e);
    *ret = in->map;
    *ret_n = in->map_size;
    return rc;
}

bool trace_input_is_file(const struct trace_input *in)
{
    return in->gz && strcmp(in->name, "<stdin>") != 0;
}

const char *trace_input_name(const struct trace_input *in)
{
    return in->name;
}

uint64_t trace_input_line_number(const struct trace_input *in)
{
    return in->line;
}

double trace_input_progress(const struct trace_input *in)
{
    if (in->file_size <= 0) {
        return -1;
    }
    double at = in->mem ? (double)in->mem_pos : (double)gzoffset(in->gz);
    double share = at / (double)in->file_size;
    return share > 1 ? 1 : share;
}
