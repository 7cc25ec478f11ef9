/* SPDX-License-Identifier: MIT */
#include "conf/follow.h"

#include <errno.h>
#include <string.h>

#include "conf/val.h"

_Static_assert(GUESTCONF_NAME_MAX >= VAL_NAME_MAX, "a name that is valid has room");

static void family_get(const struct nat_family *n, const struct addr *dns, unsigned n_dns, struct follow_family *ret_f)
{
	ret_f->host = n->host;
	ret_f->dns_forward = n->dns_forward;
	ret_f->dns_host = n->dns_host;
	memcpy(ret_f->dns, dns, n_dns * sizeof(*dns));
	ret_f->n_dns = n_dns;
}

void follow_get(const struct guestconf *g, const struct nat *n, struct follow *ret_f)
{
	memset(ret_f, 0, sizeof(*ret_f));
	family_get(&n->v4, g->dns4, g->n_dns4, &ret_f->v4);
	family_get(&n->v6, g->dns6, g->n_dns6, &ret_f->v6);
	for (unsigned i = 0; i < g->n_search; i++)
		memcpy(ret_f->search[i], g->search[i], strnlen(g->search[i], GUESTCONF_NAME_MAX - 1));
	ret_f->n_search = g->n_search;
}

static bool is_host(const struct addr *a, bool v4)
{
	return addr_is4(a) == v4 && !addr_is_any(a) && !addr_is_multicast(a);
}

/* An entry that is all zero is unset. */
static bool is_host_or_unset(const struct addr *a, bool v4)
{
	return addr_eq(a, &addr_any6) || is_host(a, v4);
}

static bool family_is_good(const struct follow_family *f, bool v4)
{
	if (!is_host_or_unset(&f->host, v4) || !is_host_or_unset(&f->dns_forward, v4) || !is_host_or_unset(&f->dns_host, v4) ||
	    f->n_dns > GUESTCONF_DNS)
		return false;
	for (unsigned i = 0; i < f->n_dns; i++) {
		if (!is_host(&f->dns[i], v4))
			return false;
	}
	return true;
}

static bool search_is_good(const struct follow *f)
{
	char name[VAL_NAME_MAX];

	if (f->n_search > GUESTCONF_SEARCH)
		return false;
	for (unsigned i = 0; i < f->n_search; i++) {
		size_t len = strnlen(f->search[i], GUESTCONF_NAME_MAX);

		if (len == GUESTCONF_NAME_MAX || val_name(f->search[i], len, name))
			return false;
	}
	return true;
}

static void family_set(const struct follow_family *f, struct nat_family *n)
{
	n->host = f->host;
	n->dns_forward = f->dns_forward;
	n->dns_host = f->dns_host;
}

int follow_set(const struct follow *f, struct guestconf *g, struct nat *n)
{
	if (!family_is_good(&f->v4, true) || !family_is_good(&f->v6, false) || !search_is_good(f))
		return -EBADMSG;
	family_set(&f->v4, &n->v4);
	family_set(&f->v6, &n->v6);
	memcpy(g->dns4, f->v4.dns, sizeof(g->dns4));
	memcpy(g->dns6, f->v6.dns, sizeof(g->dns6));
	g->n_dns4 = f->v4.n_dns;
	g->n_dns6 = f->v6.n_dns;
	memcpy(g->search, f->search, sizeof(g->search));
	g->n_search = f->n_search;
	return 0;
}

static void family_keep_dns(const struct follow_family *from, struct follow_family *f)
{
	struct addr host = f->host;

	*f = *from;
	f->host = host;
}

void follow_keep_dns(const struct follow *from, struct follow *f)
{
	family_keep_dns(&from->v4, &f->v4);
	family_keep_dns(&from->v6, &f->v6);
	memcpy(f->search, from->search, sizeof(f->search));
	f->n_search = from->n_search;
}
