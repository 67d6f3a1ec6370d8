/* SPDX-License-Identifier: Apache-2.0
 *
 * Expanding a copy. Both directions of the link are serial; a read needs a free tag and credits, a write
 * credits, and credits come back in the order in which they were spent. So packets can be made in the
 * order of issue, with two clocks and two rings of what is outstanding. */
#include "sim/fabric/tlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 4096,
    FRAMING = 8,
    PUSH_BUFFER_BYTES = 64,
    SEMAPHORE_BYTES = 8,
    DOORBELL_BYTES = 4,
    MAX_TAGS = 1024,
    CREDIT_BYTES = 16,
    MAX_CREDIT_ROWS = 65536
};
#define HIGH_ADDRESS  (1ull << 32)
#define DOORBELL_ADDR 0xd0000090ull /* in a 32-bit window of the GPU */
#define MSI_ADDR      0xfee00000ull
#define MAX_ADDRESS   (1ull << 52)
#define MAX_WAIT_PS   1000000000ll

static const uint8_t headers[] = {
#define TLP_HEADER(constant, name, header) header,
    TLP_KIND_MAP(TLP_HEADER)
#undef TLP_HEADER
};

static const char *const kind_names[] = {
#define TLP_NAME(constant, name, header) name,
    TLP_KIND_MAP(TLP_NAME)
#undef TLP_NAME
};

const char *tlp_kind_name(enum tlp_kind k)
{
    return kind_names[k];
}

const char *tlp_role_name(enum tlp_role r)
{
    static const char *const names[] = {"doorbell", "fetch", "data", "semaphore", "interrupt"};
    return names[r];
}

struct tlp_config tlp_default(void)
{
    return (struct tlp_config){
        .pcie = {5, 16, 256, 512},
        .rcb_byte = 64,
        .tags = 256,
        .credits = {784, 1456, 784},
        .propagation_ps = 250000,
        .read_latency_ps = 300000,
        .credit_return_ps = 50000,
        .doorbell_ps = 500000,
    };
}

/* What was spent and when it comes back, oldest first. */
struct spent {
    int64_t back_ps;
    uint32_t header, data;
};

struct purse {
    struct spent *ring;
    uint32_t head, n, cap;
    uint32_t header, data; /* left */
};

struct maker {
    const struct tlp_config *c;
    struct tlp_stream *s;
    double ps_per_byte;
    int64_t free_ps[2];
    struct purse posted[2], nonposted[2];
    int64_t tag_free_ps[MAX_TAGS];
    uint32_t next_tag;
    uint32_t next_id;
};

static int64_t wire_ps(const struct maker *m, uint32_t wire_bytes)
{
    return (int64_t)ceil(wire_bytes * m->ps_per_byte);
}

static int64_t arrival(const struct maker *m, const struct tlp *p)
{
    return p->t_ps + wire_ps(m, p->wire_bytes) + m->c->propagation_ps;
}

static int64_t latest(int64_t x, int64_t y)
{
    return x > y ? x : y;
}

/* ---- credits ---- */

static void take_back(struct purse *p)
{
    const struct spent *s = &p->ring[p->head];
    p->header += s->header;
    p->data += s->data;
    p->head = (p->head + 1) % p->cap;
    p->n--;
}

/* The first time from t on at which there are enough. */
static int64_t afford(struct purse *p, int64_t t, uint32_t header, uint32_t data)
{
    while (p->n > 0 && p->ring[p->head].back_ps <= t) {
        take_back(p);
    }
    while (p->header < header || p->data < data || p->n == p->cap) {
        t = latest(t, p->ring[p->head].back_ps);
        take_back(p);
    }
    return t;
}

static void spend(struct purse *p, int64_t back_ps, uint32_t header, uint32_t data)
{
    p->ring[(p->head + p->n) % p->cap] = (struct spent){back_ps, header, data};
    p->n++;
    p->header -= header;
    p->data -= data;
}

/* ---- packets ---- */

static void shape(struct tlp *p)
{
    uint32_t lead = p->addr & 3;
    uint32_t dw = (lead + p->byte_len + 3) / 4;
    uint32_t tail = dw * 4 - lead - p->byte_len;
    uint8_t first = (uint8_t)(0xf << lead & 0xf);
    uint8_t last = (uint8_t)(0xf >> tail);
    bool has_data = p->kind != TLP_MRD32 && p->kind != TLP_MRD64;
    p->len_dw = (uint16_t)dw;
    p->first_be = dw == 1 ? first & last : first;
    p->last_be = dw == 1 ? 0 : last;
    p->wire_bytes = (uint16_t)(headers[p->kind] + FRAMING + (has_data ? 4 * dw : 0));
}

/* Puts it on the wire at the first moment from `ready` on that line and credits allow. */
static struct tlp *emit(struct maker *m, struct tlp p, int64_t ready)
{
    struct purse *purse = p.kind == TLP_CPLD ? NULL
                          : p.kind <= TLP_MRD64 ? &m->nonposted[p.dir] : &m->posted[p.dir];
    uint32_t data = p.kind <= TLP_MRD64 ? 0 : 1;
    shape(&p);
    data *= (4u * p.len_dw + CREDIT_BYTES - 1) / CREDIT_BYTES;
    p.id = ++m->next_id;
    p.t_ps = latest(ready, m->free_ps[p.dir]);
    if (purse) {
        p.t_ps = afford(purse, p.t_ps, 1, data);
        spend(purse, arrival(m, &p) + m->c->credit_return_ps, 1, data);
    }
    m->free_ps[p.dir] = p.t_ps + wire_ps(m, p.wire_bytes);
    struct tlp *row = &m->s->row[m->s->n++];
    *row = p;
    m->s->end_ps = latest(m->s->end_ps, arrival(m, row));
    return row;
}

/* Limits count whole double words, so a start between them costs its lead. */
static uint32_t to_page(uint64_t addr, uint64_t left, uint32_t limit)
{
    uint64_t n = PAGE - addr % PAGE;
    limit -= addr & 3;
    n = n < left ? n : left;
    return (uint32_t)(n < limit ? n : limit);
}

/* A completion ends at a boundary unless it is the last of its request. */
static uint32_t to_boundary(uint64_t addr, uint32_t left, uint32_t limit, uint32_t rcb)
{
    limit -= addr & 3;
    return left <= limit ? left : (uint32_t)((addr + limit) / rcb * rcb - addr);
}

static int64_t complete(struct maker *m, const struct tlp *read)
{
    uint64_t addr = read->addr;
    uint32_t left = read->byte_len;
    uint32_t id = read->id;
    int64_t ready = arrival(m, read) + m->c->read_latency_ps;
    struct tlp p = {.kind = TLP_CPLD, .dir = !read->dir, .role = read->role, .tag = read->tag,
                    .cause = id};
    int64_t done = 0;
    while (left > 0) {
        p.addr = addr;
        p.byte_len = to_boundary(addr, left, m->c->pcie.max_payload_byte, m->c->rcb_byte);
        p.byte_count = left;
        p.lower_addr = addr & 0x7f;
        done = arrival(m, emit(m, p, ready));
        addr += p.byte_len;
        left -= p.byte_len;
    }
    return done;
}

/* One read with all its completions; the time at which the last byte is there. */
static int64_t fetch(struct maker *m, struct tlp p, int64_t ready)
{
    p.kind = p.addr + p.byte_len > HIGH_ADDRESS ? TLP_MRD64 : TLP_MRD32;
    p.tag = (uint16_t)m->next_tag;
    m->next_tag = (m->next_tag + 1) % m->c->tags;
    const struct tlp *read = emit(m, p, latest(ready, m->tag_free_ps[p.tag]));
    int64_t done = complete(m, read);
    m->tag_free_ps[p.tag] = done;
    return done;
}

static struct tlp *post(struct maker *m, struct tlp p, int64_t ready)
{
    p.kind = p.addr + p.byte_len > HIGH_ADDRESS ? TLP_MWR64 : TLP_MWR32;
    return emit(m, p, ready);
}

/* All data; returns when the last byte is where it should be (reads) or has left (writes). */
static int64_t move(struct maker *m, const struct tlp_transfer *x, int64_t ready, uint32_t cause,
                    uint32_t *ret_last)
{
    uint64_t addr = x->host_addr;
    uint64_t left = x->bytes;
    uint32_t limit = x->dir == TLP_DOWN ? m->c->pcie.read_request_byte : m->c->pcie.max_payload_byte;
    int64_t done = ready;
    int64_t first = -1;
    while (left > 0) {
        struct tlp p = {.addr = addr, .dir = TLP_UP, .role = TLP_DATA, .cause = cause,
                        .byte_len = to_page(addr, left, limit)};
        size_t at = m->s->n;
        if (x->dir == TLP_DOWN) {
            done = fetch(m, p, ready);
        } else {
            done = post(m, p, ready)->t_ps;
        }
        first = first < 0 ? m->s->row[at].t_ps : first;
        addr += p.byte_len;
        left -= p.byte_len;
    }
    const struct tlp *last = &m->s->row[m->s->n - 1];
    m->s->data_ps = arrival(m, last) - first;
    *ret_last = last->id;
    return done;
}

static void make(struct maker *m, const struct tlp_transfer *x)
{
    struct tlp p = {.addr = DOORBELL_ADDR, .byte_len = DOORBELL_BYTES, .dir = TLP_DOWN,
                    .role = TLP_DOORBELL};
    const struct tlp *bell = post(m, p, 0);
    int64_t t = arrival(m, bell) + m->c->doorbell_ps;
    uint64_t ring = (x->host_addr + x->bytes + 2 * PAGE - 1) / PAGE * PAGE; /* host memory behind it */
    p = (struct tlp){.addr = ring, .byte_len = PUSH_BUFFER_BYTES, .dir = TLP_UP, .role = TLP_FETCH,
                     .cause = bell->id};
    t = fetch(m, p, t);
    uint32_t last = 0;
    t = move(m, x, t, m->next_id, &last);
    p = (struct tlp){.addr = ring + PAGE, .byte_len = SEMAPHORE_BYTES, .dir = TLP_UP,
                     .role = TLP_SEMAPHORE, .cause = last};
    const struct tlp *semaphore = post(m, p, t);
    p = (struct tlp){.addr = MSI_ADDR, .byte_len = 4, .dir = TLP_UP, .role = TLP_INTERRUPT,
                     .cause = semaphore->id};
    post(m, p, semaphore->t_ps);
}

/* ---- set up ---- */

static bool purse_open(struct purse *p, uint32_t header, uint32_t data, struct arena *a)
{
    p->cap = header < MAX_CREDIT_ROWS ? header : MAX_CREDIT_ROWS;
    p->header = header;
    p->data = data;
    p->ring = arena_calloc(a, p->cap, sizeof *p->ring);
    return p->ring != NULL;
}

static bool wait_ok(int64_t ps)
{
    return ps >= 0 && ps <= MAX_WAIT_PS;
}

static int check_config(const struct tlp_config *c, struct err *e)
{
    const struct pcie_config *p = &c->pcie;
    uint32_t need = p->max_payload_byte / CREDIT_BYTES;
    if (pcie_raw_bytes_per_s(p) <= 0) {
        return err_set(e, SIM_E_CONFIG, "there is no PCI Express of generation %u with %u lanes, payload "
                       "%u and read request %u", p->gen, p->lanes, p->max_payload_byte,
                       p->read_request_byte);
    }
    if (c->rcb_byte != 64 && c->rcb_byte != 128) {
        return err_set(e, SIM_E_CONFIG, "read completion boundary %u is neither 64 nor 128", c->rcb_byte);
    }
    if (c->tags == 0 || c->tags > MAX_TAGS) {
        return err_set(e, SIM_E_CONFIG, "%u tags are outside 1..%d", c->tags, MAX_TAGS);
    }
    if (c->credits.posted_header == 0 || c->credits.nonposted_header == 0 ||
        c->credits.posted_data < need) {
        return err_set(e, SIM_E_CONFIG, "credits %u, %u, %u: a link needs at least one header of each kind "
                       "and %u units of data for a payload of %u", c->credits.posted_header,
                       c->credits.posted_data, c->credits.nonposted_header, need, p->max_payload_byte);
    }
    if (!wait_ok(c->propagation_ps) || !wait_ok(c->read_latency_ps) || !wait_ok(c->credit_return_ps) ||
        !wait_ok(c->doorbell_ps)) {
        return err_set(e, SIM_E_CONFIG, "latencies have to be between 0 and 1 ms");
    }
    return 0;
}

/* Upper bound: one more piece per page than the limit alone would make, and the frame of a copy. */
static size_t most_rows(const struct tlp_config *c, uint64_t bytes)
{
    uint64_t pages = bytes / PAGE + 2;
    uint64_t payload = bytes / c->pcie.max_payload_byte;
    uint64_t requests = bytes / c->pcie.read_request_byte + pages;
    return (size_t)(payload + 2 * requests + pages + 8);
}

static int by_start(const void *x, const void *y)
{
    const struct tlp *a = x;
    const struct tlp *b = y;
    return a->t_ps != b->t_ps ? (a->t_ps < b->t_ps ? -1 : 1) : (a->id > b->id) - (a->id < b->id);
}

int tlp_expand(const struct tlp_config *c, const struct tlp_transfer *x, struct tlp_stream *ret,
               struct arena *a, struct err *e)
{
    int rc = check_config(c, e);
    if (rc < 0) {
        return rc;
    }
    if (x->bytes == 0 || x->bytes > TLP_MAX_BYTES || x->host_addr > MAX_ADDRESS) {
        return err_set(e, SIM_E_CONFIG, "a transfer of %llu bytes at 0x%llx: 1..%u bytes below 0x%llx are "
                       "possible", (unsigned long long)x->bytes, (unsigned long long)x->host_addr,
                       TLP_MAX_BYTES, MAX_ADDRESS);
    }
    *ret = (struct tlp_stream){.row = arena_calloc(a, most_rows(c, x->bytes), sizeof *ret->row)};
    struct maker *m = arena_alloc(a, sizeof *m);
    if (!ret->row || !m) {
        return err_set(e, SIM_E_NOMEM, "out of memory for packets");
    }
    *m = (struct maker){.c = c, .s = ret, .ps_per_byte = 1e12 / pcie_usable_bytes_per_s(&c->pcie)};
    for (int d = 0; d < 2; d++) {
        if (!purse_open(&m->posted[d], c->credits.posted_header, c->credits.posted_data, a) ||
            !purse_open(&m->nonposted[d], c->credits.nonposted_header, 0, a)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for credits");
        }
    }
    make(m, x);
    qsort(ret->row, ret->n, sizeof *ret->row, by_start);
    return 0;
}
