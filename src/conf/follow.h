/* SPDX-License-Identifier: MIT */
/*
 * What of the configuration follows the host while we run: its resolver and search list, as the guest is told of them, and its own
 * addresses. What the guest has by then stays as it is: its address, its routes, its MTU.
 */
#pragma once

#include "fwd/nat.h"
#include "service/guestconf.h"

/* Members of struct nat_family and struct guestconf. Zero padding. */
struct follow_family {
	struct addr host, dns_forward, dns_host;
	struct addr dns[GUESTCONF_DNS];
	uint32_t n_dns;
};

struct follow {
	struct follow_family v4, v6;
	char search[GUESTCONF_SEARCH][GUESTCONF_NAME_MAX];
	uint32_t n_search;
};

/* What the guest is told, and how addresses are mapped, as it is now. */
void follow_get(const struct guestconf *g, const struct nat *n, struct follow *ret_f);

/*
 * Makes it so. f may hold anything: -EBADMSG, and nothing has changed, if it is not what the options and a host can lead to: numbers of
 * entries, addresses of the other family or of no host, names that are none.
 */
MUST_USE int follow_set(const struct follow *f, struct guestconf *g, struct nat *n);

/* The servers and names of from, where the host doesn't tell them now. */
void follow_keep_dns(const struct follow *from, struct follow *f);
