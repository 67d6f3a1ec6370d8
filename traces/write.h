/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing traces: native CSV (plain or gzip) and the packed binary form. */
#ifndef STEELYARD_TRACE_WRITE_H
#define STEELYARD_TRACE_WRITE_H

#include "traces/trace.h"

enum trace_form { TRACE_NATIVE, TRACE_NATIVE_GZIP, TRACE_PACKED };

/* By the ending: ".packed" = packed, ".gz" = native, gzip; else native. */
enum trace_form trace_form_of_path(const char *path);

struct trace_writer;

/* "-" = standard output (native only). `names` gives client names and caps; it must stay open. */
int trace_writer_open(struct trace_writer **ret, const char *path, enum trace_form form,
                      const struct trace *names, struct err *e);
/* Arrivals in order of time. */
int trace_writer_put(struct trace_writer *w, const struct arrival *a, struct err *e);
/* Completes the file and frees the writer, also after an error; the first error is returned. */
int trace_writer_close(struct trace_writer *w, struct err *e);

/* All of a trace into a file; *ret_n (may be NULL) = requests written. */
int trace_write(struct trace *t, const char *path, enum trace_form form, uint64_t *ret_n,
                struct err *e);

#endif
