/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fabric/tier.h"

#include <math.h>

#include "sim/fabric/reader.h"

#define MOST_RATE 1e15
#define MOST_NS   1e11 /* 100 s */

int tier_parse(struct tier_profile *ret, const char *text, size_t len, const char *file, struct arena *a,
               struct err *e)
{
    static const char *const known[] = {"full_name", "read_bytes_per_s", "write_bytes_per_s", "read_latency_ns",
                                        "write_latency_ns"};
    struct reader r;

    *ret = (struct tier_profile){0};
    if (reader_open(&r, text, len, file, a, e) < 0) {
        return e->code;
    }
    reader_keys(&r, r.root, "", known, sizeof(known) / sizeof(known[0]));
    ret->name = reader_name(file, a);
    ret->full_name = reader_string(&r, r.root, "", "full_name", NULL);
    ret->provenance = reader_string(&r, r.root, "", "_provenance", "");
    ret->read_bytes_per_s = reader_double(&r, r.root, "", "read_bytes_per_s", 1, MOST_RATE, (double)NAN);
    ret->write_bytes_per_s = reader_double(&r, r.root, "", "write_bytes_per_s", 1, MOST_RATE, (double)NAN);
    ret->read_latency_ns = llround(reader_double(&r, r.root, "", "read_latency_ns", 0, MOST_NS, 0));
    ret->write_latency_ns = llround(reader_double(&r, r.root, "", "write_latency_ns", 0, MOST_NS, 0));
    reader_close(&r);
    return r.rc;
}

int tier_load(struct tier_profile *ret, const char *name, const char *data_dir, struct arena *a,
              struct err *e)
{
    const char *path;
    size_t len;
    char *text = reader_find("tier", name, data_dir, "tiers", &path, &len, a, e);

    return text ? tier_parse(ret, text, len, path, a, e) : e->code;
}
