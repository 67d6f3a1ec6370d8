/* SPDX-License-Identifier: Apache-2.0
 *
 * Feeds each file of the folders named on the command line to the fuzz target that this is linked
 * with, so that the corpus is a test in every build. A missing or empty folder fails. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes lie in a block of exactly their size, so that a read beyond them is seen. */
static int replay(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    int ok = f && data && fread(data, 1, size, f) == size;

    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    if (f) {
        fclose(f);
    }
    return ok ? 0 : -1;
}

static int plain_file(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Number of files replayed, -1 on error. */
static int replay_folder(const char *folder)
{
    struct dirent **entry;
    struct stat st;
    char path[4096];
    int n = scandir(folder, &entry, plain_file, alphasort), bad = 0;

    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        if (stat(path, &st) < 0 || replay(path, (size_t)st.st_size) < 0) {
            perror(path);
            bad = 1;
        }
        free(entry[i]);
    }
    if (n >= 0) {
        free(entry);
    }
    return bad ? -1 : n;
}

int main(int argc, char **argv)
{
    int n;

    for (int i = 1; i < argc; i++) {
        n = replay_folder(argv[i]);
        if (n <= 0) {
            fprintf(stderr, "%s: no corpus, or not readable\n", argv[i]);
            return 1;
        }
        printf("%s: %d inputs\n", argv[i], n);
    }
    return argc < 2;
}
