/* SPDX-License-Identifier: Apache-2.0
 *
 * What parses must be written and parse again as an equal tree; an error must have a place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
    if (!ok) {
        abort();
    }
}

static void check_round_trip(const cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    struct err e = {0};
    cJSON *again = text ? json_parse(text, strlen(text), "again", &e) : NULL;

    check(again != NULL && cJSON_Compare(root, again, true));
    cJSON_Delete(again);
    free(text);
}

static void check_locate(const char *text, size_t len, const cJSON *root)
{
    unsigned line, col;

    (void)json_locate(text, len, "a.b.c", &line, &col);
    if (cJSON_IsObject(root) && root->child && !strpbrk(root->child->string, ".\\\"") &&
        root->child->string[0] && !memchr(text, '\\', len)) {
        check(json_locate(text, len, root->child->string, &line, &col));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct err e = {0};
    cJSON *root = json_parse(text, size, "input", &e);

    check((root != NULL) == (e.code == 0));
    check(root || strncmp(e.msg, "input:", 6) == 0);
    check_locate(text, size, root);
    if (root) {
        check_round_trip(root);
    }
    cJSON_Delete(root);
    return 0;
}
