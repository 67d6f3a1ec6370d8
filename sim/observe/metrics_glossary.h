/* SPDX-License-Identifier: Apache-2.0
 *
 * What each metric means. Names are the keys of `vllm bench serve`'s result file where it has one.
 * `explain`, `list metrics`, text output and stored units all read this table. */
#ifndef STEELYARD_METRICS_GLOSSARY_H
#define STEELYARD_METRICS_GLOSSARY_H

struct metric_def {
    const char *name; /* NULL ends the table */
    const char *unit; /* "ms", "1/s", "tok/s", "tok", "s", "byte", "1" */
    const char *group; /* heading in text output */
    const char *label; /* line in text output, as vllm bench serve words it; NULL = not shown there */
    const char *definition;
    const char *source;
};

/* In the order of text output. */
extern const struct metric_def metric_glossary[];

/* Row by name, or NULL. */
const struct metric_def *metric_def_find(const char *name);

#endif
