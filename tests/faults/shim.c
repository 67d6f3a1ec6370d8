/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into the program, makes one allocation or the disk fail:
 * - FAULT_ALLOC=n: the n-th malloc, calloc or realloc answers NULL
 * - FAULT_WRITE=n: from the n-th on, write and pwrite answer ENOSPC; a full disk stays full
 * - FAULT_BYTES=n: no file grows beyond n bytes; reaches stdio, whose writes bypass the two above
 * - FAULT_COUNT=F: "allocations writes" goes into F at exit, to know what n can be
 * Names that begin with STEELYARD_ would be taken for configuration. Only in a process that is
 * named steelyard; glibc only (__libc_malloc and friends). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static atomic_ulong n_alloc, n_write;
static unsigned long fail_alloc, fail_write; /* 0 = never; set before main and then constant */

static unsigned long number(const char *variable)
{
    const char *s = getenv(variable);

    return s ? strtoul(s, NULL, 10) : 0;
}

static bool in_steelyard(void)
{
    return strcmp(program_invocation_short_name, "steelyard") == 0;
}

static void limit_files(unsigned long bytes)
{
    struct rlimit limit = {bytes, bytes};

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

__attribute__((constructor)) static void start(void)
{
    if (!in_steelyard()) {
        return;
    }
    if (getenv("FAULT_BYTES")) {
        limit_files(number("FAULT_BYTES"));
    }
    fail_write = number("FAULT_WRITE");
    atomic_store(&n_alloc, 0);
    fail_alloc = number("FAULT_ALLOC");
}

__attribute__((destructor)) static void stop(void)
{
    const char *path = getenv("FAULT_COUNT");
    int fd = path && in_steelyard() ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;

    if (fd >= 0) {
        dprintf(fd, "%lu %lu\n", atomic_load(&n_alloc), atomic_load(&n_write));
        close(fd);
    }
}

/* Apart, so that a debugger can stop where the fault strikes. */
__attribute__((noinline)) void fault_strikes(void);
void fault_strikes(void)
{
    errno = ENOMEM;
}

static bool alloc_fails(void)
{
    if (atomic_fetch_add(&n_alloc, 1) + 1 != fail_alloc) {
        return false;
    }
    fault_strikes();
    return true;
}

void *malloc(size_t size)
{
    return alloc_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return alloc_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return alloc_fails() ? NULL : __libc_realloc(p, size);
}

/* What the program says about it on standard error must come through. */
static bool write_fails(int fd)
{
    if (fd == STDERR_FILENO || !in_steelyard()) {
        return false;
    }
    if (atomic_fetch_add(&n_write, 1) + 1 < fail_write || fail_write == 0) {
        return false;
    }
    errno = ENOSPC;
    return true;
}

ssize_t write(int fd, const void *buf, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    }
    return write_fails(fd) ? -1 : real(fd, buf, n);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);

    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    }
    return write_fails(fd) ? -1 : real(fd, buf, n, at);
}

#if !defined(_FILE_OFFSET_BITS) || _FILE_OFFSET_BITS != 64 /* else the same symbol as pwrite64 */
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return pwrite64(fd, buf, n, at);
}
#endif
