/* SPDX-License-Identifier: MIT */
/*
 * Forwarding rules: listen here, deliver there; and their text form (CLIENTS.md 3.4, passt(1) "Port specifiers").
 */
#pragma once

#include <assert.h>

#include "base/addr.h"
#include "base/bitmap.h"

#define FWD_RULES_MAX 255 /* in effect */
#define FWD_PLACES (2 * FWD_RULES_MAX) /* more than that only while rules are replaced */
#define FWD_ERR_LEN 256
#define FWD_PATH_ROOM 112 /* UNIXPATH_MAX, without padding behind it */

enum fwd_flags {
	FWD_DUAL = 0x01, /* no address given: both families, one socket */
	FWD_WEAK = 0x02, /* of "all", or exclusions only: a port that can't be bound is only a warning */
	FWD_SCAN = 0x04, /* of "auto": bound while something listens on the other side */
	FWD_TARGET = 0x08, /* target is set */
	FWD_AT_PATH = 0x10, /* listens on the UNIX socket at path, not on address and port; TCP to the guest */
	FWD_TO_PATH = 0x20, /* leads to the UNIX socket at path; from the namespace, by TCP */
};

struct fwd_rule {
	struct addr addr; /* to listen on; any address of its family */
	char ifname[16]; /* SO_BINDTODEVICE, or empty */
	struct addr target; /* with FWD_TARGET: the address in the guest */
	uint16_t first, last; /* ports to listen on */
	uint16_t to; /* port of the guest that first goes to; the others follow */
	uint8_t proto; /* PROTO_TCP or PROTO_UDP by number: 6 or 17 */
	uint8_t flags; /* enum fwd_flags */
	char path
		[FWD_PATH_ROOM]; /* of a UNIX socket of the host, from the root on; with FWD_AT_PATH or FWD_TO_PATH and their one port */
};

/* Rules are compared byte by byte. */
static_assert(sizeof(struct fwd_rule) == offsetof(struct fwd_rule, path) + FWD_PATH_ROOM, "no padding");

/* While the program runs, a rule keeps its place: one that was taken out leaves a place without ports, which is no rule. */
struct fwd_table {
	struct fwd_rule rule[FWD_PLACES];
	unsigned n; /* places that are or were in use */
	bool none[2]; /* "none" was given for TCP, UDP */
	bool freebind; /* listen on addresses that the host does not have (yet), too (ip(7), IP_FREEBIND) */
};

#define fwd_rule_none ((struct fwd_rule){ .first = 1, .last = 0 })

static inline unsigned fwd_rule_ports(const struct fwd_rule *r)
{
	return r->last - r->first + 1u;
}

/* Makes *to what *from is. Places behind the last one in use are not touched, and so take no memory. */
void fwd_table_copy(const struct fwd_table *from, struct fwd_table *to);

/* What the meaning of a specifier depends on. */
struct fwd_ctx {
	char opt[24]; /* the option, as it is to be named in messages: "-t" */
	uint8_t proto;
	bool v4, v6; /* families that are enabled */
	bool pasta; /* "auto" is allowed */
	bool outwards; /* -T, -U: no listening address allowed */
	uint16_t eph_first, eph_last; /* the host's ephemeral ports, left out by "all", "auto" and exclusions alone */
};

/*
 * Adds the rules that spec asks for to t. On failure t is unchanged, err holds one clear line that names what is wrong (without
 * newline), and the result is -EINVAL (syntax or meaning), -EEXIST (conflict with a rule in t) or -ENOSPC (more than FWD_RULES_MAX).
 */
MUST_USE int fwd_parse(const struct fwd_ctx *c, const char *spec, struct fwd_table *t, char err[FWD_ERR_LEN]);

/* Text form of one rule, as shown at start-up and accepted again by fwd_parse(): "10.0.0.1%eth0/80-81:8080-8081". Returns buf. */
const char *fwd_rule_fmt(const struct fwd_rule *r, char *buf, size_t len);

/* Whether a rule has one of these flags. */
bool fwd_table_has(const struct fwd_table *t, unsigned flags);

/*
 * True if both rules could claim the same port: same protocol, overlapping ports, equal addresses or one of them any of its family; or the
 * same path.
 */
bool fwd_rule_conflict(const struct fwd_rule *a, const struct fwd_rule *b);
