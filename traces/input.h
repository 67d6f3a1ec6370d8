/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a trace: a plain file, a gzip file (by its magic), standard input or memory, read line by
 * line with a bounded line length, so that a damaged or hostile file cannot exhaust memory. */
#ifndef STEELYARD_TRACE_INPUT_H
#define STEELYARD_TRACE_INPUT_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

/* Longest line: an LLMServingSim line with its token ids takes about 1 MiB for 128 Ki tokens. */
#define TRACE_LINE_MAX ((size_t)16 << 20)
/* Largest document that is one JSON value (a detailed benchmark result). */
#define TRACE_DOCUMENT_MAX ((size_t)256 << 20)
#define TRACE_HEAD_MAX 4096

struct trace_input;

/* "-" is standard input. `name` in messages is the path ("<stdin>" for "-"). The input is closed by
 * trace_input_close; only the struct itself lives in the arena. */
int trace_input_open(struct trace_input **ret, const char *path, struct arena *a, struct err *e);
/* Reads `size` bytes that stay the caller's and must outlive the input. */
int trace_input_open_memory(struct trace_input **ret, const void *data, size_t size, const char *name,
                            struct arena *a, struct err *e);
void trace_input_close(struct trace_input *in);

/* The first bytes without consuming them, NUL-terminated. Only before the first line. */
int trace_input_head(struct trace_input *in, char head[TRACE_HEAD_MAX + 1], size_t *ret_n,
                     struct err *e);

/* Next line without its end (\n or \r\n), NUL-terminated, writable, valid until the next call. A UTF-8
 * byte order mark before the first line is dropped. 1 = a line, 0 = end, < 0 = error. */
int trace_input_line(struct trace_input *in, char **ret, size_t *ret_n, struct err *e);

/* All that is left, NUL-terminated, valid until close; SIM_E_DATA beyond TRACE_DOCUMENT_MAX. */
int trace_input_rest(struct trace_input *in, char **ret, size_t *ret_n, struct err *e);

/* The whole input as one block of memory without copying: a mapped plain file, or memory. SIM_E_DATA
 * for gzip and pipes. Only before the first line. */
int trace_input_map(struct trace_input *in, const void **ret, size_t *ret_n, struct err *e);

bool trace_input_is_file(const struct trace_input *in); /* neither memory nor standard input */
const char *trace_input_name(const struct trace_input *in);
uint64_t trace_input_line_number(const struct trace_input *in); /* of the last line, from 1 */
double trace_input_progress(const struct trace_input *in);      /* 0..1, -1 = unknown */

#endif
