/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert placement: the examples of deepseek-ai/EPLB's README. */
#include "policies/place.h"
#include "sim/cli/reproduce/reproduce.h"

enum { EXPERTS = 12, SLOTS = 16 };

/* Slots that hold the expert that the README prints: all of them, or it is another algorithm. */
static int layer(struct repro *p, const char *row, const double *weight, const uint32_t *printed,
                 struct err *e)
{
    struct place_spec s = {.experts = EXPERTS, .slots = SLOTS, .groups = 4, .nodes = 2, .gpus = 8};
    struct placement got;
    double same = 0;

    if (place(place_find("eplb"), &s, weight, &got, &p->ar, e) < 0) {
        return e->code;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        same += got.slot[i] == printed[i];
    }
    return repro_number(p, row, "1", SLOTS, same, 0, e);
}

static int eplb(struct repro *p, struct err *e)
{
    static const double weight[2][EXPERTS] = {{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
                                              {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    static const uint32_t printed[2][SLOTS] = {{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1},
                                               {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}};

    return layer(p, "first layer, slots as printed", weight[0], printed[0], e) < 0 ||
                   layer(p, "second layer, slots as printed", weight[1], printed[1], e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_placement[] = {
    {"eplb", "EPLB README", "which expert is in which of 16 slots on 8 GPUs", eplb},
    {NULL, NULL, NULL, NULL},
};
