/* SPDX-License-Identifier: Apache-2.0
 *
 * Payload bandwidth of a PCI Express link (the model of Neugebauer et al., "Understanding PCIe
 * performance for end host networking", SIGCOMM'18, section 3, carried on to generation 6).
 *
 *   raw     lane rate * lanes * encoding / 8
 *   usable  raw * (1 - Ack - UpdateFC - SKP): link-layer packets of 8 bytes, one of each kind per
 *           acknowledgement limit, and 4 bytes of SKP per 1538
 *   payload usable * p / (p + TLP overhead)
 *
 * The limits are the spec's AckNak latency limits of a x16 link from generation 3 on; reading them as
 * bytes is on the safe side, and it lands where copies on real machines do (13, 26 and 52 GB/s at
 * payload 256 for generations 3, 4 and 5). */
#include "sim/fabric/fabric.h"

enum {
    TLP_FRAMING = 8,     /* start/end framing 2, sequence number 2, LCRC 4 */
    HEADER_WRITE_64 = 16, /* four double words: addresses above 4 GiB */
    HEADER_COMPLETION = 12
};

struct pcie_gen {
    double gt_per_s;
    double encoding;
};

static const struct pcie_gen gens[] = {
    {2.5, 8.0 / 10},    {5.0, 8.0 / 10},    {8.0, 128.0 / 130},
    {16.0, 128.0 / 130}, {32.0, 128.0 / 130}, {64.0, 242.0 / 256},
};

static bool is_size(uint32_t byte)
{
    return byte >= 128 && byte <= 4096 && (byte & (byte - 1)) == 0;
}

static bool is_possible(const struct pcie_config *c)
{
    bool width = c->lanes == 1 || c->lanes == 2 || c->lanes == 4 || c->lanes == 8 ||
                 c->lanes == 12 || c->lanes == 16;
    return c->gen >= 1 && c->gen <= sizeof gens / sizeof gens[0] && width &&
           is_size(c->max_payload_byte) && is_size(c->read_request_byte);
}

static double ack_limit_byte(uint32_t max_payload_byte)
{
    static const double limit[] = {144, 168, 182, 246, 374, 630}; /* payload 128 << i */
    int i = 0;
    while ((128u << i) < max_payload_byte) {
        i++;
    }
    return limit[i];
}

double pcie_raw_bytes_per_s(const struct pcie_config *c)
{
    if (!is_possible(c)) {
        return 0;
    }
    const struct pcie_gen *g = &gens[c->gen - 1];
    return g->gt_per_s * 1e9 * g->encoding * c->lanes / 8;
}

double pcie_usable_bytes_per_s(const struct pcie_config *c)
{
    double raw = pcie_raw_bytes_per_s(c);
    return raw > 0 ? raw * (1 - 2 * 8 / ack_limit_byte(c->max_payload_byte) - 4.0 / 1538) : 0;
}

double pcie_write_bytes_per_s(const struct pcie_config *c)
{
    if (!is_possible(c)) {
        return 0;
    }
    double p = c->max_payload_byte;
    return pcie_usable_bytes_per_s(c) * p / (p + HEADER_WRITE_64 + TLP_FRAMING);
}

/* A completion carries at most the payload limit and at most what one request asked for. The requests
 * themselves travel in the other direction. */
double pcie_read_bytes_per_s(const struct pcie_config *c)
{
    if (!is_possible(c)) {
        return 0;
    }
    bool small = c->read_request_byte < c->max_payload_byte;
    double p = small ? c->read_request_byte : c->max_payload_byte;
    return pcie_usable_bytes_per_s(c) * p / (p + HEADER_COMPLETION + TLP_FRAMING);
}
