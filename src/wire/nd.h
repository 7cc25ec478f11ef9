/* SPDX-License-Identifier: MIT */
/* Neighbour discovery (RFC 4861) with the options of RFC 8106. Messages begin with the ICMPv6 header; its checksum is left zero. */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/dnsname.h"

#define ND_RS 133
#define ND_RA 134
#define ND_NS 135
#define ND_NA 136
#define ND_REDIRECT 137

#define ND_HOPLIMIT 255 /* what a message must still have on arrival: it has passed no router */
#define ND_CSUM_AT 2 /* offset of the checksum */

#define ND_OPT_SRC_LLADDR 1
#define ND_OPT_TGT_LLADDR 2
#define ND_OPT_PREFIX 3
#define ND_OPT_MTU 5
#define ND_OPT_RDNSS 25
#define ND_OPT_DNSSL 31

#define ND_NA_ROUTER 0x80
#define ND_NA_SOLICITED 0x40
#define ND_NA_OVERRIDE 0x20

#define ND_RA_MANAGED 0x80
#define ND_RA_OTHER 0x40

#define ND_PREFIX_ONLINK 0x80
#define ND_PREFIX_AUTO 0x40

#define ND_LIFETIME_INFINITE UINT32_MAX /* of prefixes, RDNSS and DNSSL; seconds */

struct nd_opt {
	uint8_t type;
	struct rd body; /* behind type and length */
};

/* A solicitation: neighbour (with its target) or router. */
struct nd_sol {
	uint8_t type;
	struct addr target; /* ND_NS only */
	bool has_lladdr; /* a source link-layer address option was there */
};

struct nd_ra {
	uint8_t hop_limit; /* that hosts should use */
	uint8_t flags; /* ND_RA_* */
	uint16_t lifetime; /* of the default route, seconds */
};

/* Next option of a message (RFC 4861 4.6). -EBADMSG drops the packet. */
MUST_USE int nd_opt_next(struct rd *r, struct nd_opt *ret_opt);

/* Reads a whole ND_RS or ND_NS with its options (RFC 4861 6.1.1, 7.1.1, as far as the message itself tells). -EBADMSG drops it. */
MUST_USE int nd_sol_read(struct rd *r, struct nd_sol *ret_sol);

void nd_ns_put(struct wr *w, const struct addr *target);
void nd_na_put(struct wr *w, uint8_t flags, const struct addr *target);
void nd_ra_put(struct wr *w, const struct nd_ra *ra);

/* Options. type is ND_OPT_SRC_LLADDR or ND_OPT_TGT_LLADDR. The prefix is the first 64 bits of the address. */
void nd_opt_lladdr_put(struct wr *w, uint8_t type, const uint8_t mac[MAC_LEN]);
void nd_opt_mtu_put(struct wr *w, uint32_t mtu);
void nd_opt_prefix64_put(struct wr *w, uint8_t flags, const struct addr *prefix);
void nd_opt_rdnss_put(struct wr *w, const struct addr *dns, unsigned n);

/* As many names as fit into room bytes with the option's header and padding; no option at all if there is none. */
void nd_opt_dnssl_put(struct wr *w, const char (*names)[DNSNAME_TEXT_MAX], unsigned n, size_t room);
