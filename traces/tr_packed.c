/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/packed.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "traces/reader.h"

struct packed {
    const struct packed_record *record;
    const char *extra;
    uint32_t extra_size;
    const uint64_t *id;
    uint64_t next, count, n_extras, n_ids;
};

static int probe(const char *head, size_t n)
{
    return n >= 8 && memcmp(head, PACKED_MAGIC, 8) == 0 ? 100 : 0;
}

static uint32_t extra_size(uint32_t version)
{
    return sizeof(struct packed_extra) + (version == PACKED_CALLS ? sizeof(struct packed_call) : 0);
}

static int check_header(const struct packed_header *h, struct trace *t, struct err *e)
{
    struct packed_header copy = *h;
    copy.checksum = 0;
    if (memcmp(h->magic, PACKED_MAGIC, 8) != 0) {
        return trace_bad(t, e, "not a packed trace");
    }
    if (h->byte_order != PACKED_BYTE_ORDER) {
        return trace_bad(t, e, "packed on a machine of another byte order; convert it from its source");
    }
    if (h->version != PACKED_VERSION && h->version != PACKED_CALLS) {
        return trace_bad(t, e, "packed form of version %u, this program reads %u and %u; convert it from "
                         "its source", h->version, PACKED_VERSION, PACKED_CALLS);
    }
    if (XXH3_64bits(&copy, sizeof(copy)) != h->checksum) {
        return trace_bad(t, e, "the header of the packed trace is damaged");
    }
    if (h->header_size != sizeof(*h) || h->record_size != sizeof(struct packed_record) ||
        h->extra_size != extra_size(h->version)) {
        return trace_bad(t, e, "the packed trace has records of another size");
    }
    return 0;
}

/* Bytes that the sections take, or UINT64_MAX when the counts cannot be true. */
static uint64_t size_of_sections(const struct packed_header *h)
{
    const uint64_t most = (uint64_t)1 << 56;
    if (h->count > most / 32 || h->n_extras > most / 80 || h->n_ids > most / 8 || h->names_size > most) {
        return UINT64_MAX;
    }
    return sizeof(*h) + h->count * sizeof(struct packed_record) +
           h->n_extras * h->extra_size + h->n_ids * 8 + h->names_size;
}

static int read_names(struct trace *t, const char *names, uint64_t size, uint32_t n, struct err *e)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id;
        size_t len = strnlen(names, size);
        if (len == size) {
            return trace_bad(t, e, "the packed trace names fewer than %u clients", n);
        }
        int rc = trace_client_id(t, names, len, &id, e);
        if (rc < 0 || id != i) {
            return rc < 0 ? rc : trace_bad(t, e, "the packed trace names client '%.60s' twice", names);
        }
        names += len + 1;
        size -= len + 1;
    }
    return 0;
}

/* Memory of a caller may begin anywhere; a mapped file is aligned. */
static const void *aligned(struct trace *t, const void *data, size_t size)
{
    if ((uintptr_t)data % 8 == 0) {
        return data;
    }
    void *copy = arena_alloc(trace_arena(t), size);
    return copy ? memcpy(copy, data, size) : NULL;
}

static int open_packed(void *state, struct trace *t, struct err *e)
{
    struct packed *s = state;
    const void *data;
    size_t size;
    struct packed_header h;
    int rc = trace_input_map(trace_input_of(t), &data, &size, e);
    if (rc < 0) {
        return rc;
    }
    if (size < sizeof(h)) {
        return trace_bad(t, e, "the packed trace is truncated: %zu bytes are no header", size);
    }
    memcpy(&h, data, sizeof(h));
    rc = check_header(&h, t, e);
    if (rc < 0) {
        return rc;
    }
    if (size_of_sections(&h) != h.file_size || h.file_size != size) {
        return trace_bad(t, e, "the packed trace is %s: %llu bytes instead of %llu",
                         size < h.file_size ? "truncated" : "damaged", (unsigned long long)size,
                         (unsigned long long)h.file_size);
    }
    const char *p = aligned(t, data, size);
    if (!p) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
    }
    s->record = (const void *)(p + sizeof(h));
    s->extra = (const void *)(s->record + h.count);
    s->extra_size = h.extra_size;
    s->id = (const void *)(s->extra + h.n_extras * h.extra_size);
    s->count = h.count;
    s->n_extras = h.n_extras;
    s->n_ids = h.n_ids;
    trace_set_caps(t, h.caps);
    trace_set_total(t, h.count);
    return read_names(t, (const char *)(s->id + h.n_ids), h.names_size, h.n_clients, e);
}

static int add_extra(const struct packed *s, struct trace *t, uint32_t i, struct arrival *a,
                     struct err *e)
{
    if (i >= s->n_extras) {
        return trace_bad(t, e, "record %llu points behind the extras: the packed trace is damaged",
                         (unsigned long long)s->next);
    }
    const struct packed_extra *x = (const void *)(s->extra + (size_t)i * s->extra_size);
    static const struct packed_call none;
    const struct packed_call *call = s->extra_size > sizeof(*x) ? (const void *)(x + 1) : &none;
    uint64_t n_ids = (uint64_t)x->n_ids + call->n_after;
    if (n_ids > s->n_ids || x->first_id > s->n_ids - n_ids) {
        return trace_bad(t, e, "record %llu points behind the prefix ids: the packed trace is damaged",
                         (unsigned long long)s->next);
    }
    if (x->slo_class >= SLO_CLASSES) {
        return trace_bad(t, e, "record %llu has an unknown class of goals: the packed trace is damaged",
                         (unsigned long long)s->next);
    }
    a->session = x->session;
    a->gap_ns = x->gap_ns;
    a->turn = x->turn;
    a->priority = x->priority;
    a->ttft_slo_ms = x->ttft_slo_ms;
    a->tpot_slo_ms = x->tpot_slo_ms;
    a->e2e_slo_ms = x->e2e_slo_ms;
    a->slo_class = (uint8_t)x->slo_class;
    a->measured_ttft_s = x->measured_ttft_s;
    a->measured_e2e_s = x->measured_e2e_s;
    a->hash = s->id + x->first_id;
    a->n_hash = x->n_ids;
    a->hash_tok = x->hash_tok;
    a->call = call->call;
    a->after = a->hash + x->n_ids;
    a->n_after = call->n_after;
    return 1;
}

static int next_packed(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct packed *s = state;
    if (s->next == s->count) {
        return 0;
    }
    const struct packed_record *r = &s->record[s->next++];
    /* Member by member: gcc clears a compound literal of this size by `rep stos`, which alone takes
     * longer than all of this. */
    a->time_ns = r->time_ns;
    a->client = r->client;
    a->prompt_tok = r->prompt_tok;
    a->output_tok = r->output_tok;
    a->max_output_tok = r->max_output_tok;
    a->priority = 0;
    a->ttft_slo_ms = a->tpot_slo_ms = a->e2e_slo_ms = 0;
    a->slo_class = SLO_NONE;
    a->session = 0;
    a->turn = 0;
    a->gap_ns = a->began_ns = -1;
    a->hash = a->after = NULL;
    a->n_hash = a->hash_tok = a->call = a->n_after = 0;
    a->measured_ttft_s = a->measured_e2e_s = NAN;
    return r->extra == PACKED_NO_EXTRA ? 1 : add_extra(s, t, r->extra, a, e);
}

const struct trace_ops trace_packed = {
    .name = "packed",
    .summary = "Steelyard's binary form, mapped into memory (traces/packed.h)",
    .source = "steelyard trace convert",
    .probe = probe,
    .state_size = sizeof(struct packed),
    .open = open_packed,
    .next = next_packed,
};
