/* SPDX-License-Identifier: Apache-2.0
 *
 * One copy between host and GPU as PCI Express transaction-layer packets (TLPs), and a check of the
 * rules such a stream has to keep. The fabric moves bursts with analytic rates (pcie.c); this expands a
 * burst into packets when somebody wants to see them.
 *
 * The flow of a copy: the host writes a doorbell; the GPU reads its push buffer; data go as reads with
 * completions (host to device) or as posted writes (device to host); a semaphore write and an interrupt
 * (a 4-byte write) follow. Sizes, splits, ordering, flow control: PCI Express Base Specification 4.0,
 * 2.2 to 2.6 and 3.x; overheads as in pcie.c.
 *
 * Times are whole picoseconds: the start of a packet on the wire. */
#ifndef STEELYARD_TLP_H
#define STEELYARD_TLP_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/fabric/fabric.h"

#define TLP_MAX_BYTES (256u << 20) /* of one transfer: 4 million packets at most */

enum tlp_dir { TLP_DOWN, TLP_UP }; /* host to device; device to host */
/*   constant   name     header */
#define TLP_KIND_MAP(X)                                                                            \
    X(TLP_MRD32, "MRd32", 12)                                                                      \
    X(TLP_MRD64, "MRd64", 16)                                                                      \
    X(TLP_MWR32, "MWr32", 12)                                                                      \
    X(TLP_MWR64, "MWr64", 16)                                                                      \
    X(TLP_CPLD, "CplD", 12)

enum tlp_kind {
#define TLP_ENUM(constant, name, header) constant,
    TLP_KIND_MAP(TLP_ENUM)
#undef TLP_ENUM
    TLP_KINDS
};
enum tlp_role { TLP_DOORBELL, TLP_FETCH, TLP_DATA, TLP_SEMAPHORE, TLP_INTERRUPT, TLP_ROLES };

const char *tlp_kind_name(enum tlp_kind k);
const char *tlp_role_name(enum tlp_role r);

/* Credits that a receiver advertises: headers, and data in units of 16 bytes. */
struct tlp_credits {
    uint32_t posted_header, posted_data, nonposted_header;
};

struct tlp_config {
    struct pcie_config pcie;
    uint32_t rcb_byte;            /* read completion boundary: 64 or 128 */
    uint32_t tags;                /* reads under way at most, 1..1024 */
    struct tlp_credits credits;   /* of either end; completions have infinite credits */
    int64_t propagation_ps;       /* from wire to receiver, one way */
    int64_t read_latency_ps;      /* a request's arrival to its first completion */
    int64_t credit_return_ps;     /* a packet's arrival until the sender knows of its freed credits */
    int64_t doorbell_ps;          /* doorbell's arrival until the GPU does something about it */
};
/* PCI Express 5.0 x16, payload 256, request 512, boundary 64, 256 tags; credits as a hard IP port of
 * generation 5 advertises them (784 headers, 1456 data); 250 ns a way, 300 ns for a read of memory. */
struct tlp_config tlp_default(void);

struct tlp {
    int64_t t_ps;
    uint64_t addr;
    uint32_t id;          /* order of issue, from 1 */
    uint32_t cause;       /* id of the packet that allowed this one, 0 = none */
    uint32_t byte_len;    /* of payload, or asked for */
    uint32_t byte_count;  /* completions: bytes to come, with this one */
    uint16_t len_dw;
    uint16_t tag;
    uint16_t wire_bytes;
    uint8_t lower_addr;   /* completions: low 7 bits of the first byte's address */
    uint8_t first_be, last_be;
    uint8_t dir, kind, role;
};

struct tlp_transfer {
    enum tlp_dir dir; /* of the data */
    uint64_t bytes;
    uint64_t host_addr;
};

struct tlp_stream {
    size_t n;
    struct tlp *row; /* sorted by start, then by issue */
    int64_t end_ps;  /* last byte of the last packet at its receiver */
    int64_t data_ps; /* first data packet's start to the last one's arrival */
};

/* SIM_E_CONFIG for settings that no link can have, for 0 bytes and for more than TLP_MAX_BYTES. */
int tlp_expand(const struct tlp_config *c, const struct tlp_transfer *x, struct tlp_stream *ret,
               struct arena *a, struct err *e);

/* ---- rules ---- */
/*   constant               what */
#define TLP_RULE_MAP(X)                                                                            \
    X(TLP_RULE_COMPLETION, "a completion belongs to a read under way and goes on where the last ended") \
    X(TLP_RULE_COMPLETE, "every read gets all its bytes")                                          \
    X(TLP_RULE_TAG, "a tag is not used again while its read is under way")                         \
    X(TLP_RULE_SIZE, "payload, request and 4 KiB limits; length and bytes on the wire agree")      \
    X(TLP_RULE_BOUNDARY, "completions are split at the read completion boundary only")             \
    X(TLP_RULE_CREDIT, "no packet leaves without credits")                                         \
    X(TLP_RULE_SERIAL, "packets of one direction do not overlap on the wire")                      \
    X(TLP_RULE_CAUSE, "a packet follows the arrival of what caused it")                            \
    X(TLP_RULE_ORDER, "nothing passes an earlier posted write of its direction")                   \
    X(TLP_RULE_VISIBLE, "the semaphore follows the last data, the interrupt the semaphore")

enum tlp_rule {
#define TLP_RULE_ENUM(constant, what) constant,
    TLP_RULE_MAP(TLP_RULE_ENUM)
#undef TLP_RULE_ENUM
    TLP_RULES
};
const char *tlp_rule_text(enum tlp_rule r);

struct tlp_report {
    uint64_t broken[TLP_RULES];
    uint32_t first[TLP_RULES]; /* id of the first packet that breaks it */
};
/* Looks at nothing but the rows and the configuration. 0 when all rules hold, SIM_E_CHECK and the first
 * broken one in `e` otherwise, SIM_E_NOMEM. */
int tlp_check(const struct tlp_config *c, const struct tlp_stream *s, struct tlp_report *ret,
              struct err *e);

#endif
