/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard tlp, also steelyard trace tlp: a copy between host and GPU as PCI Express packets. */
#include "sim/cli/cli.h"

#include <errno.h>
#include <string.h>

#include "sim/core/opt.h"
#include "sim/fabric/tlp.h"

static const char usage[] =
    "usage: steelyard tlp [--bytes N] [--to gpu|host] [options] [-o OUT]\n"
    "\n"
    "A copy between host and GPU as PCI Express transaction-layer packets: doorbell, push buffer, data,\n"
    "semaphore, interrupt. Prints a summary, or the packets as CSV, after a check of the rules for\n"
    "completions, tags, sizes, credits and ordering. Also 'steelyard trace tlp'.\n"
    "\n"
    "  --bytes N              size of the copy, default 64Ki\n"
    "  --to gpu|host          where the data go, default gpu\n"
    "  --address N            of the host's buffer, default 4Gi\n"
    "  --gen N                generation, default 5\n"
    "  --lanes N              default 16\n"
    "  --payload N            largest payload, default 256\n"
    "  --read-request N       largest read request, default 512\n"
    "  --boundary N           read completion boundary, 64 or 128, default 64\n"
    "  --tags N               reads under way at most, default 256\n"
    "  --credits H,D,N        posted headers, posted data (16 bytes each), non-posted headers,\n"
    "                         default 784,1456,784\n"
    "  --wire-latency TIME    one way, default 250ns\n"
    "  --read-latency TIME    of host memory, default 300ns\n"
    "  --credit-latency TIME  until freed credits are known, default 50ns\n"
    "  -o, --output OUT       the packets as CSV, - is standard output\n";

extern const struct subcommand cmd_tlp;

struct wishes {
    int64_t bytes, address, gen, lanes, payload, read_request, boundary, tags, to;
    struct opt_doubles credits;
    double wire_ns, read_ns, credit_ns;
    const char *output;
};

#define FIELD(f) offsetof(struct wishes, f)

static const struct opt_choice ends[] = {{"gpu", "host to device"}, {"host", "device to host"}, {NULL, NULL}};

static const struct opt_row rows[] = {
    {"--bytes", OPT_INT, FIELD(bytes), 1, TLP_MAX_BYTES, "64Ki", "byte", "Size.", NULL},
    {"--to", OPT_CHOICE, FIELD(to), 1, 0, "gpu", "1", "Where to.", ends},
    {"--address", OPT_INT, FIELD(address), 0, 1e15, "4Gi", "byte", "Host buffer.", NULL},
    {"--gen", OPT_INT, FIELD(gen), 1, 6, "5", "1", "Generation.", NULL},
    {"--lanes", OPT_INT, FIELD(lanes), 1, 16, "16", "1", "Lanes.", NULL},
    {"--payload", OPT_INT, FIELD(payload), 128, 4096, "256", "byte", "Payload.", NULL},
    {"--read-request", OPT_INT, FIELD(read_request), 128, 4096, "512", "byte", "Read request.", NULL},
    {"--boundary", OPT_INT, FIELD(boundary), 64, 128, "64", "byte", "Completion boundary.", NULL},
    {"--tags", OPT_INT, FIELD(tags), 1, 1024, "256", "1", "Tags.", NULL},
    {"--credits", OPT_DOUBLES, FIELD(credits), 1, 1e6, "784,1456,784", "1", "Credits.", NULL},
    {"--wire-latency", OPT_DOUBLE, FIELD(wire_ns), 0, 1e6, "250", "ns", "One way.", NULL},
    {"--read-latency", OPT_DOUBLE, FIELD(read_ns), 0, 1e6, "300", "ns", "Memory.", NULL},
    {"--credit-latency", OPT_DOUBLE, FIELD(credit_ns), 0, 1e6, "50", "ns", "Credits.", NULL},
    OPT_END,
};

static int parse_word(struct wishes *q, int argc, char **argv, int *i, struct arena *ar, struct err *e)
{
    const char *value = NULL;
    for (const struct opt_row *row = rows; row->name; row++) {
        int rc = cli_flag_value(row->name, argc, argv, i, &value, e);
        struct err why = {0};
        if (rc > 0 && opt_set(row, q, value, ar, &why) < 0) {
            return err_set(e, SIM_E_USAGE, "%s", why.msg);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = cli_flag_value("--output", argc, argv, i, &q->output, e);
    return rc == 0 ? cli_flag_value("-o", argc, argv, i, &q->output, e) : rc;
}

static int parse(struct wishes *q, int argc, char **argv, struct arena *ar, struct err *e)
{
    int rc = opt_defaults(rows, q, ar, e);
    for (int i = 1; i < argc && rc >= 0; i++) {
        rc = parse_word(q, argc, argv, &i, ar, e);
        if (rc == 0) {
            return cli_unknown(&cmd_tlp, argv[i], e);
        }
    }
    if (rc >= 0 && q->credits.n != 3) {
        return err_set(e, SIM_E_USAGE, "--credits: three numbers are expected, as 784,1456,784");
    }
    return rc < 0 ? rc : 0;
}

static struct tlp_config config_of(const struct wishes *q)
{
    struct tlp_config c = tlp_default();
    c.pcie = (struct pcie_config){(uint32_t)q->gen, (uint32_t)q->lanes, (uint32_t)q->payload,
                                  (uint32_t)q->read_request};
    c.rcb_byte = (uint32_t)q->boundary;
    c.tags = (uint32_t)q->tags;
    c.credits = (struct tlp_credits){(uint32_t)q->credits.v[0], (uint32_t)q->credits.v[1],
                                     (uint32_t)q->credits.v[2]};
    c.propagation_ps = (int64_t)(q->wire_ns * 1e3);
    c.read_latency_ps = (int64_t)(q->read_ns * 1e3);
    c.credit_return_ps = (int64_t)(q->credit_ns * 1e3);
    return c;
}

/* ---- output ---- */

static void write_row(FILE *out, const struct tlp *p)
{
    bool read = p->kind == TLP_MRD32 || p->kind == TLP_MRD64;
    bool done = p->kind == TLP_CPLD;
    fprintf(out, "%.3f,%s,%s,%u,%u,%s,", (double)p->t_ps * 1e-3, p->dir == TLP_DOWN ? "DS" : "US",
            tlp_kind_name((enum tlp_kind)p->kind), p->id, p->cause, tlp_role_name((enum tlp_role)p->role));
    fprintf(out, "%s,", p->dir == TLP_UP || done ? "01:00.0" : "00:00.0");
    if (read || done) {
        fprintf(out, "%u", p->tag);
    }
    fprintf(out, ",0x%llx,%u,%x,%x,", (unsigned long long)p->addr, p->len_dw, p->first_be, p->last_be);
    if (done) {
        fprintf(out, "%u,0x%02x", p->byte_count, p->lower_addr);
    } else {
        fprintf(out, ",");
    }
    fprintf(out, ",%u\n", p->wire_bytes);
}

static int write_csv(const char *path, const struct tlp_stream *s, struct err *e)
{
    bool std = strcmp(path, "-") == 0;
    FILE *out = std ? stdout : fopen(path, "w");
    if (!out) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    fputs("t_ns,dir,tlp,id,cause_id,role,req_id,tag,addr,len_dw,first_be,last_be,byte_count,lower_addr,"
          "wire_bytes\n", out);
    for (size_t i = 0; i < s->n && !cli_interrupted; i++) {
        write_row(out, &s->row[i]);
    }
    bool bad = fflush(out) != 0 || ferror(out);
    int why = errno;
    if (!std) {
        bad = fclose(out) != 0 || bad;
    }
    if (bad) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(why));
    }
    return cli_interrupted ? err_set(e, SIM_E_INTR, "interrupted; the packets are not complete") : 0;
}

static void print_direction(const struct tlp_stream *s, enum tlp_dir dir, const char *what)
{
    uint64_t n[TLP_KINDS] = {0};
    uint64_t wire = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->row[i].dir == dir) {
            n[s->row[i].kind]++;
            wire += s->row[i].wire_bytes;
        }
    }
    printf("%-16s", what);
    for (int k = 0; k < TLP_KINDS; k++) {
        if (n[k]) {
            printf("%llu %s, ", (unsigned long long)n[k], tlp_kind_name((enum tlp_kind)k));
        }
    }
    printf("%llu bytes on the wire\n", (unsigned long long)wire);
}

static void print_summary(const struct wishes *q, const struct tlp_config *c, const struct tlp_stream *s)
{
    double analytic = q->to == TLP_DOWN ? pcie_read_bytes_per_s(&c->pcie) : pcie_write_bytes_per_s(&c->pcie);
    printf("copy             %lld bytes to the %s\n", (long long)q->bytes, ends[q->to].name);
    print_direction(s, TLP_DOWN, "from the host");
    print_direction(s, TLP_UP, "from the GPU");
    printf("doorbell to end  %.3f us\n", (double)s->end_ps * 1e-6);
    printf("data             %.3f us, %.2f GB/s (a long copy: %.2f)\n", (double)s->data_ps * 1e-6,
           (double)q->bytes / (double)s->data_ps * 1e3, analytic * 1e-9);
    printf("rules            %d looked at, none broken\n", TLP_RULES);
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct wishes q = {0};
    struct tlp_stream s = {0};
    struct tlp_report r;
    int rc = parse(&q, argc, argv, &ar, e);
    if (rc == 0) {
        struct tlp_config c = config_of(&q);
        struct tlp_transfer x = {(enum tlp_dir)q.to, (uint64_t)q.bytes, (uint64_t)q.address};
        rc = tlp_expand(&c, &x, &s, &ar, e);
        rc = rc == 0 ? tlp_check(&c, &s, &r, e) : rc;
        rc = rc == 0 && q.output ? write_csv(q.output, &s, e) : rc;
        if (rc == 0 && !q.output) {
            print_summary(&q, &c, &s);
        }
    }
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_tlp = {"tlp", "the PCI Express packets of a copy", usage, run};
