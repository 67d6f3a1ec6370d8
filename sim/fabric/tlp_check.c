/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of a packet stream, each looked at on its own from the rows alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/fabric/tlp.h"

enum { PAGE = 4096, FRAMING = 8, MAX_TAGS = 1024, CREDIT_BYTES = 16 };

static const char *const rule_texts[] = {
#define TLP_RULE_TEXT(constant, what) what,
    TLP_RULE_MAP(TLP_RULE_TEXT)
#undef TLP_RULE_TEXT
};

const char *tlp_rule_text(enum tlp_rule r)
{
    return rule_texts[r];
}

struct open_read {
    bool open;
    uint32_t id, left;
    uint64_t next_addr;
    int64_t free_ps; /* last completion's arrival */
};

struct checker {
    const struct tlp_config *c;
    const struct tlp_stream *s;
    struct tlp_report *r;
    double raw_ps_per_byte;
    struct open_read reads[2][MAX_TAGS]; /* by the direction of the request */
};

static void broken(struct checker *k, enum tlp_rule rule, const struct tlp *p)
{
    if (k->r->broken[rule]++ == 0) {
        k->r->first[rule] = p->id;
    }
}

static bool is_read(const struct tlp *p)
{
    return p->kind == TLP_MRD32 || p->kind == TLP_MRD64;
}

static bool is_posted(const struct tlp *p)
{
    return p->kind == TLP_MWR32 || p->kind == TLP_MWR64;
}

/* At the raw rate: link-layer packets in between only make it later. */
static int64_t on_wire_ps(const struct checker *k, const struct tlp *p)
{
    return (int64_t)floor(p->wire_bytes * k->raw_ps_per_byte);
}

static int64_t arrival(const struct checker *k, const struct tlp *p)
{
    return p->t_ps + on_wire_ps(k, p) + k->c->propagation_ps;
}

/* ---- each packet for itself ---- */

static void check_size(struct checker *k, const struct tlp *p)
{
    uint32_t limit = is_read(p) ? k->c->pcie.read_request_byte : k->c->pcie.max_payload_byte;
    uint32_t lead = p->addr & 3;
    uint32_t header = p->kind == TLP_MRD64 || p->kind == TLP_MWR64 ? 16 : 12;
    uint32_t wire = header + FRAMING + (is_read(p) ? 0 : 4u * p->len_dw);
    bool dw_ok = p->byte_len > 0 && p->len_dw == (lead + p->byte_len + 3) / 4 && 4u * p->len_dw <= limit;
    bool page_ok = p->addr / PAGE == (p->addr + p->byte_len - 1) / PAGE;
    bool wide = p->addr + p->byte_len > (1ull << 32);
    bool kind_ok = p->kind == TLP_CPLD || wide == (header == 16);
    if (!dw_ok || !page_ok || !kind_ok || p->wire_bytes != wire) {
        broken(k, TLP_RULE_SIZE, p);
    }
}

/* ---- reads and completions ---- */

static void open_read(struct checker *k, const struct tlp *p)
{
    struct open_read *o = &k->reads[p->dir][p->tag % MAX_TAGS];
    if (o->open || p->t_ps < o->free_ps || p->tag >= k->c->tags) {
        broken(k, TLP_RULE_TAG, p);
    }
    *o = (struct open_read){.open = true, .id = p->id, .left = p->byte_len, .next_addr = p->addr};
}

static void complete(struct checker *k, const struct tlp *p)
{
    struct open_read *o = &k->reads[!p->dir][p->tag % MAX_TAGS];
    if (!o->open || p->cause != o->id || p->byte_len > o->left || p->byte_count != o->left ||
        p->addr != o->next_addr || p->lower_addr != (p->addr & 0x7f)) {
        broken(k, TLP_RULE_COMPLETION, p);
        return;
    }
    o->left -= p->byte_len;
    o->next_addr += p->byte_len;
    if (o->left > 0 && o->next_addr % k->c->rcb_byte != 0) {
        broken(k, TLP_RULE_BOUNDARY, p);
    }
    if (o->left == 0) {
        o->open = false;
        o->free_ps = arrival(k, p);
    }
}

static void check_reads(struct checker *k)
{
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        if (is_read(p)) {
            open_read(k, p);
        } else if (p->kind == TLP_CPLD) {
            complete(k, p);
        }
    }
    for (int d = 0; d < 2; d++) {
        for (int t = 0; t < MAX_TAGS; t++) {
            if (k->reads[d][t].open) {
                struct tlp lost = {.id = k->reads[d][t].id};
                broken(k, TLP_RULE_COMPLETE, &lost);
            }
        }
    }
}

/* ---- one direction ---- */

static void check_serial(struct checker *k, int dir)
{
    const struct tlp *last = NULL;
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        if (p->dir != dir) {
            continue;
        }
        if (p->t_ps < 0 || (last && p->t_ps < last->t_ps + on_wire_ps(k, last))) {
            broken(k, TLP_RULE_SERIAL, p);
        }
        last = p;
    }
}

/* Credits spent and not yet returned at the start of each packet: a window over the same rows, as they
 * come back in the order in which they were spent. */
static void check_credits(struct checker *k, int dir, bool posted)
{
    const struct tlp_credits *c = &k->c->credits;
    uint32_t most = posted ? c->posted_header : c->nonposted_header;
    uint64_t header = 0;
    uint64_t data = 0;
    size_t oldest = 0;
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        if (p->dir != dir || (posted ? !is_posted(p) : !is_read(p))) {
            continue;
        }
        for (; oldest < i; oldest++) {
            const struct tlp *q = &k->s->row[oldest];
            bool counts = q->dir == dir && (posted ? is_posted(q) : is_read(q));
            if (counts && arrival(k, q) + k->c->credit_return_ps > p->t_ps) {
                break;
            }
            header -= counts;
            data -= counts ? (4u * q->len_dw + CREDIT_BYTES - 1) / CREDIT_BYTES : 0;
        }
        header++;
        data += (4u * p->len_dw + CREDIT_BYTES - 1) / CREDIT_BYTES;
        if (header > most || (posted && data > c->posted_data)) {
            broken(k, TLP_RULE_CREDIT, p);
        }
    }
}

/* Issue order against wire order: a posted write with a lower id must not come after. */
static void check_order(struct checker *k, int dir)
{
    uint32_t least = UINT32_MAX; /* lowest id of a posted write at or after row i */
    for (size_t i = k->s->n; i-- > 0;) {
        const struct tlp *p = &k->s->row[i];
        if (p->dir != dir) {
            continue;
        }
        if (least < p->id) {
            broken(k, TLP_RULE_ORDER, p);
        }
        least = is_posted(p) && p->id < least ? p->id : least;
    }
}

/* ---- what follows from what ---- */

static bool follows(const struct checker *k, const struct tlp *p, const struct tlp *cause)
{
    int64_t from = p->dir == cause->dir ? cause->t_ps + on_wire_ps(k, cause) : arrival(k, cause);
    return p->t_ps >= from;
}

static int check_causes(struct checker *k)
{
    uint32_t most = 0;
    for (size_t i = 0; i < k->s->n; i++) {
        most = k->s->row[i].id > most ? k->s->row[i].id : most;
    }
    const struct tlp **by_id = most <= 16 * k->s->n ? calloc((size_t)most + 1, sizeof *by_id) : NULL;
    if (!by_id) {
        return SIM_E_NOMEM;
    }
    for (size_t i = 0; i < k->s->n; i++) {
        by_id[k->s->row[i].id] = &k->s->row[i];
    }
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        const struct tlp *cause = p->cause <= most ? by_id[p->cause] : NULL;
        bool first = p->role == TLP_DOORBELL;
        if (first ? p->cause != 0 : p->cause == 0 || !cause || !follows(k, p, cause)) {
            broken(k, TLP_RULE_CAUSE, p);
        }
    }
    free(by_id);
    return 0;
}

/* Data that come as completions are there when the last one has arrived; data that go as writes cannot be
 * passed by a write that leaves later. */
static void check_visible(struct checker *k)
{
    int64_t data_ps = 0;
    int64_t semaphore_ps = -1;
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        if (p->role == TLP_DATA && !is_read(p)) {
            int64_t t = p->kind == TLP_CPLD ? arrival(k, p) : p->t_ps + on_wire_ps(k, p);
            data_ps = t > data_ps ? t : data_ps;
        }
    }
    for (size_t i = 0; i < k->s->n; i++) {
        const struct tlp *p = &k->s->row[i];
        bool early = (p->role == TLP_SEMAPHORE && p->t_ps < data_ps) ||
                     (p->role == TLP_INTERRUPT && (semaphore_ps < 0 || p->t_ps < semaphore_ps));
        if (early) {
            broken(k, TLP_RULE_VISIBLE, p);
        }
        semaphore_ps = p->role == TLP_SEMAPHORE ? p->t_ps + on_wire_ps(k, p) : semaphore_ps;
    }
}

static int verdict(const struct tlp_report *r, struct err *e)
{
    for (int i = 0; i < TLP_RULES; i++) {
        if (r->broken[i]) {
            return err_set(e, SIM_E_CHECK, "packet %u: broken: %s (%llu packets)", r->first[i],
                           rule_texts[i], (unsigned long long)r->broken[i]);
        }
    }
    return 0;
}

int tlp_check(const struct tlp_config *c, const struct tlp_stream *s, struct tlp_report *ret,
              struct err *e)
{
    *ret = (struct tlp_report){0};
    double raw = pcie_raw_bytes_per_s(&c->pcie);
    if (raw <= 0) {
        return err_set(e, SIM_E_CONFIG, "there is no such link");
    }
    struct checker *k = calloc(1, sizeof *k);
    if (!k) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the check");
    }
    *k = (struct checker){.c = c, .s = s, .r = ret, .raw_ps_per_byte = 1e12 / raw};
    for (size_t i = 0; i < s->n; i++) {
        check_size(k, &s->row[i]);
    }
    check_reads(k);
    for (int dir = 0; dir < 2; dir++) {
        check_serial(k, dir);
        check_credits(k, dir, true);
        check_credits(k, dir, false);
        check_order(k, dir);
    }
    check_visible(k);
    int rc = check_causes(k);
    free(k);
    return rc < 0 ? err_set(e, rc, "out of memory for the check") : verdict(ret, e);
}
