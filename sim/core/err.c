/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CUT_MARK "..."

/* vsnprintf into buf[size]; a text that does not fit ends in CUT_MARK. */
static void format_cut(char *buf, size_t size, const char *fmt, va_list ap)
{
    int n = vsnprintf(buf, size, fmt, ap);

    if (n < 0) {
        buf[0] = '\0';
    } else if ((size_t)n >= size) {
        memcpy(buf + size - sizeof CUT_MARK, CUT_MARK, sizeof CUT_MARK);
    }
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;

    if (!e || e->code) {
        return code;
    }
    e->code = code;
    va_start(ap, fmt);
    format_cut(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    return code;
}

/* "ctx" + ": " + msg, cut to the size of msg. */
static void prepend(struct err *e, const char *ctx)
{
    char old[sizeof e->msg];
    size_t len = strlen(ctx);
    const char *sep = len == 0 || ctx[len - 1] == ' ' ? "" : ": ";
    int n;

    memcpy(old, e->msg, sizeof old);
    n = snprintf(e->msg, sizeof e->msg, "%s%s%s", ctx, sep, old);
    if (n >= (int)sizeof e->msg) {
        memcpy(e->msg + sizeof e->msg - sizeof CUT_MARK, CUT_MARK, sizeof CUT_MARK);
    }
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char ctx[sizeof e->msg];
    va_list ap;

    if (!e) {
        return SIM_E_CHECK;
    }
    va_start(ap, fmt);
    format_cut(ctx, sizeof ctx, fmt, ap);
    va_end(ap);
    if (!e->code) {
        return err_set(e, SIM_E_CHECK, "%s", ctx);
    }
    prepend(e, ctx);
    return e->code;
}

int err_exit_status(int code)
{
    switch (code) {
    case 0:
        return 0;
#define SIM_ERR_STATUS(name, value, status, text)                                                  \
    case name:                                                                                     \
        return status;
        SIM_ERR_MAP(SIM_ERR_STATUS)
#undef SIM_ERR_STATUS
    default:
        return 4;
    }
}

const char *err_text(int code)
{
    switch (code) {
    case 0:
        return "no error";
#define SIM_ERR_TEXT(name, value, status, text)                                                    \
    case name:                                                                                     \
        return text;
        SIM_ERR_MAP(SIM_ERR_TEXT)
#undef SIM_ERR_TEXT
    default:
        return "unknown error";
    }
}
