/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of measurements of any content, to be gone on with: an error, or one that can be written and
 * read again with the same outcome. */
#include <stdlib.h>
#include <string.h>

#include "calibrate/probe/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t known(const struct store *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->list->n; i++) {
        n += s->entries[i].known;
    }
    return n;
}

static void read_again(struct store *s)
{
    struct store again;
    struct json_out o = {0};
    struct err e = {0};

    if (probe_store_init(&again, s->list, &e) < 0) {
        return;
    }
    again.mode = "quick";
    json_out_open(&s->head, NULL, '{');
    json_out_open(&s->head, "device", '{');
    json_out_string(&s->head, "uuid", "GPU-1");
    json_out_close(&s->head, '}');
    json_out_close(&s->head, '}');
    store_write(s, false, "now", &o);
    if (o.failed || store_parse(&again, o.text, o.n, "again", "GPU-1", &e) < 0 || known(&again) != known(s)) {
        abort();
    }
    json_out_release(&o);
    probe_store_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct case_list list;
    struct store s;
    struct err e = {0};

    if (cases_build(&list, true, "limit,norm", 1, &e) < 0 || probe_store_init(&s, &list, &e) < 0) {
        return 0;
    }
    s.mode = "quick";
    if (store_parse(&s, (const char *)data, size, "fuzz", "GPU-1", &e) == 0) {
        read_again(&s);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    probe_store_release(&s);
    cases_release(&list);
    return 0;
}
