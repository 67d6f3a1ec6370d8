/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration file of any bytes: an error with a sentence, or a configuration that survives its own
 * JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/cli/cli.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int resolve(const void *text, size_t len, struct run_config *c, struct arena *ar,
                   struct err *e)
{
    char path[64];
    int fd = memfd_create("config", 0);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct config_args args = {.file = path};
    int rc = config_resolve(c, &args, NULL, NULL, ar, e);
    close(fd);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena ar = {0};
    struct err e = {0};
    struct run_config c;
    int rc = resolve(data, size, &c, &ar, &e);
    if (rc < 0 && !*e.msg) {
        abort();
    }
    if (rc == 0) {
        const char *text = config_to_json(&c, true, &ar);
        /* Bytes that are no UTF-8 come out as U+FFFD, once. */
        if (!text || (!strstr(text, "\\ufffd") &&
                      (resolve(text, strlen(text), &c, &ar, &e) < 0 ||
                       strcmp(config_to_json(&c, true, &ar), text) != 0))) {
            abort();
        }
    }
    arena_release(&ar);
    return 0;
}
