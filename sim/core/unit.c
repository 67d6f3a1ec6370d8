/* SPDX-License-Identifier: Apache-2.0
 *
 * Ratios are integers so that "7ms" for "s" is 7/1000, correctly rounded, and not 7 * 0.001. */
#include "sim/core/unit.h"

#include <string.h>

enum kind { KIND_COUNT, KIND_SHARE, KIND_TIME, KIND_BYTE };

struct unit {
    const char *name;
    enum kind kind;
    int64_t num, den; /* in the kind's base: 1, ns, byte */
};

#define KI INT64_C(1024)

/* Counts also serve shares; within a kind the first match wins. */
static const struct unit units[] = {
    {"k", KIND_COUNT, 1000, 1},
    {"K", KIND_COUNT, 1000, 1},
    {"M", KIND_COUNT, 1000000, 1},
    {"G", KIND_COUNT, 1000000000, 1},
    {"T", KIND_COUNT, 1000000000000, 1},
    {"Ki", KIND_COUNT, KI, 1},
    {"Mi", KIND_COUNT, KI *KI, 1},
    {"Gi", KIND_COUNT, KI *KI *KI, 1},
    {"Ti", KIND_COUNT, KI *KI *KI *KI, 1},
    {"1", KIND_SHARE, 1, 1},
    {"%", KIND_SHARE, 1, 100},
    {"ns", KIND_TIME, 1, 1},
    {"us", KIND_TIME, 1000, 1},
    {"\xc2\xb5s", KIND_TIME, 1000, 1}, /* micro sign */
    {"ms", KIND_TIME, 1000000, 1},
    {"s", KIND_TIME, 1000000000, 1},
    {"m", KIND_TIME, 60000000000, 1},
    {"min", KIND_TIME, 60000000000, 1},
    {"h", KIND_TIME, 3600000000000, 1},
    {"B", KIND_BYTE, 1, 1},
    {"byte", KIND_BYTE, 1, 1},
    {"bytes", KIND_BYTE, 1, 1},
    {"kB", KIND_BYTE, 1000, 1},
    {"KB", KIND_BYTE, 1000, 1},
    {"MB", KIND_BYTE, 1000000, 1},
    {"GB", KIND_BYTE, 1000000000, 1},
    {"TB", KIND_BYTE, 1000000000000, 1},
    {"KiB", KIND_BYTE, KI, 1},
    {"MiB", KIND_BYTE, KI *KI, 1},
    {"GiB", KIND_BYTE, KI *KI *KI, 1},
    {"TiB", KIND_BYTE, KI *KI *KI *KI, 1},
};

static const struct unit one = {"", KIND_COUNT, 1, 1};

static const struct unit *find(const char *name, size_t len, enum kind kind)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].kind == kind && strlen(units[i].name) == len &&
            memcmp(units[i].name, name, len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Length of a unit without its "/s" tail. */
static size_t head_len(const char *unit)
{
    return strcspn(unit, "/");
}

/* The unit that a row names; a name of its own ("tok", "req") is a count. */
static const struct unit *wanted(const char *unit)
{
    const struct unit *u = NULL;
    size_t len = unit ? head_len(unit) : 0;

    for (enum kind k = KIND_SHARE; len > 0 && !u && k <= KIND_BYTE; k++) {
        u = find(unit, len, k);
    }
    return u ? u : &one;
}

/* What a value carries, where `to` is wanted. A bare k, M, Gi ... counts bytes for bytes. */
static const struct unit *carried(const char *suffix, size_t len, const struct unit *to)
{
    const struct unit *u = find(suffix, len, to->kind);

    if (len == 0) {
        return to;
    }
    return u || to->kind == KIND_TIME ? u : find(suffix, len, KIND_COUNT);
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

bool unit_ratio(const char *suffix, const char *unit, struct unit_ratio *ret)
{
    const struct unit *to = wanted(unit), *from;
    size_t len = head_len(suffix);
    int64_t num, den, common;

    if (suffix[len] && (!unit || strcmp(suffix + len, unit + head_len(unit)) != 0)) {
        return false;
    }
    if (unit && len == head_len(unit) && memcmp(suffix, unit, len) == 0) {
        from = to;
    } else {
        from = carried(suffix, len, to);
    }
    if (!from) {
        return false;
    }
    num = from->num * to->den;
    den = from->den * to->num;
    common = gcd(num, den);
    *ret = (struct unit_ratio){num / common, den / common};
    return true;
}

const char *unit_suffixes(const char *unit)
{
    switch (wanted(unit)->kind) {
    case KIND_TIME:
        return "ns us ms s m h";
    case KIND_BYTE:
        return "B kB MB GB TB KiB MiB GiB TiB";
    case KIND_SHARE:
        return "% k M G T Ki Mi Gi Ti";
    case KIND_COUNT:
        break;
    }
    return "k M G T Ki Mi Gi Ti";
}
