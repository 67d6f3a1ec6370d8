/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cluster/mail.h"

#include <stdlib.h>
#include <string.h>

static struct letter *letter_new(struct cluster *c)
{
    struct letter *l = c->spare;

    if (l) {
        c->spare = l->next;
        return l;
    }
    return calloc(1, sizeof(*l));
}

static int copy_prefix(struct letter *l)
{
    if (l->a.n_hash > l->cap_hash) {
        uint64_t *hash = realloc(l->hash, l->a.n_hash * sizeof(*hash));

        if (!hash) {
            return SIM_E_NOMEM;
        }
        l->hash = hash;
        l->cap_hash = l->a.n_hash;
    }
    if (l->a.n_hash > 0) {
        memcpy(l->hash, l->a.hash, l->a.n_hash * sizeof(*l->hash));
    }
    l->a.hash = l->hash;
    return 0;
}

int mail_send(struct replica *r, const struct arrival *a, uint64_t serial, struct err *e)
{
    struct letter *l = letter_new(r->cluster);

    if (!l) {
        return err_set(e, SIM_E_NOMEM, "out of memory for requests on their way");
    }
    l->a = *a;
    l->serial = serial;
    l->next = NULL;
    *(r->first ? &r->last->next : &r->first) = l;
    r->last = l;
    r->unopened_tok += a->prompt_tok;
    return copy_prefix(l) < 0 ? err_set(e, SIM_E_NOMEM, "out of memory for requests on their way") : 0;
}

bool mail_open(struct replica *r, struct arrival *a)
{
    struct letter *l = r->first;

    if (r->opened) {
        r->opened->next = r->cluster->spare;
        r->cluster->spare = r->opened;
    }
    r->opened = l;
    if (!l) {
        return false;
    }
    r->first = l->next;
    r->unopened_tok -= l->a.prompt_tok;
    *a = l->a;
    return true;
}

static void free_letters(struct letter *l)
{
    while (l) {
        struct letter *next = l->next;

        free(l->hash);
        free(l);
        l = next;
    }
}

void mail_release(struct cluster *c)
{
    free_letters(c->spare);
    c->spare = NULL;
    for (uint32_t i = 0; i < c->n; i++) {
        struct replica *r = &c->replica[i];

        free_letters(r->first);
        if (r->opened) {
            r->opened->next = NULL;
            free_letters(r->opened);
        }
        r->first = r->opened = NULL;
    }
}
