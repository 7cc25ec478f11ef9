/* SPDX-License-Identifier: MIT */
/* DHCPv6 messages between client and server (RFC 8415) with the options of RFC 3646 and RFC 4704. Behind the UDP header. */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"

#define DHCP6_PORT_CLIENT 546
#define DHCP6_PORT_SERVER 547

#define DHCP6_HDR_LEN 4
#define DHCP6_OPT_HLEN 4
#define DHCP6_DUID_LL_LEN 10 /* of the DUID that we write */
#define DHCP6_INFINITY UINT32_MAX

enum dhcp6_type {
	DHCP6_SOLICIT = 1,
	DHCP6_ADVERTISE = 2,
	DHCP6_REQUEST = 3,
	DHCP6_CONFIRM = 4,
	DHCP6_RENEW = 5,
	DHCP6_REBIND = 6,
	DHCP6_REPLY = 7,
	DHCP6_RELEASE = 8,
	DHCP6_DECLINE = 9,
	DHCP6_INFORMATION_REQUEST = 11,
};

enum dhcp6_opt_code {
	DHCP6_OPT_CLIENTID = 1,
	DHCP6_OPT_SERVERID = 2,
	DHCP6_OPT_IA_NA = 3,
	DHCP6_OPT_IA_TA = 4,
	DHCP6_OPT_IAADDR = 5,
	DHCP6_OPT_ORO = 6,
	DHCP6_OPT_PREFERENCE = 7,
	DHCP6_OPT_STATUS = 13,
	DHCP6_OPT_RAPID_COMMIT = 14,
	DHCP6_OPT_DNS = 23,
	DHCP6_OPT_SEARCH = 24,
	DHCP6_OPT_IA_PD = 25,
	DHCP6_OPT_FQDN = 39,
};

enum dhcp6_status {
	DHCP6_SUCCESS = 0,
	DHCP6_NO_ADDRS_AVAIL = 2,
	DHCP6_NO_BINDING = 3,
	DHCP6_NOT_ON_LINK = 4,
	DHCP6_USE_MULTICAST = 5,
	DHCP6_NO_PREFIX_AVAIL = 6,
};

/* Flags of option 39 (RFC 4704 4.1) */
#define DHCP6_FQDN_S 0x01
#define DHCP6_FQDN_O 0x02
#define DHCP6_FQDN_N 0x04

struct dhcp6_opt {
	uint16_t code;
	struct rd body;
};

/* A message as read; the readers point into it. */
struct dhcp6_msg {
	uint8_t type;
	uint32_t xid; /* 24 bits */
	struct rd client_id, server_id; /* DUIDs; len 0: none */
	bool has_oro, rapid_commit, has_ia, has_fqdn;
	struct rd oro; /* codes of two bytes */
	uint8_t fqdn_flags;
	struct rd opts; /* all options, for dhcp6_opt_next() */
};

/* IA_NA, IA_TA or IA_PD. */
struct dhcp6_ia {
	uint16_t code;
	uint32_t iaid;
	struct rd opts; /* what is inside, for dhcp6_opt_next() */
};

/* Next option of a message or of an IA. -EBADMSG if it is cut. */
MUST_USE int dhcp6_opt_next(struct rd *r, struct dhcp6_opt *ret_opt);

/* Reads a whole message and checks the lengths of the options that we know. -EBADMSG drops it. */
MUST_USE int dhcp6_read(struct rd *r, struct dhcp6_msg *ret_msg);

/* Next IA among options: -ENOENT if there is no more. The lengths were checked by dhcp6_read(). */
MUST_USE int dhcp6_ia_next(struct rd *opts, struct dhcp6_ia *ret_ia);

/* Next address of an IA: -ENOENT if there is no more, -EBADMSG if an option inside is cut or too short. */
MUST_USE int dhcp6_ia_addr_next(struct rd *opts, struct addr *ret_addr);

/* True if the option request option names the code. */
bool dhcp6_oro_has(const struct dhcp6_msg *m, uint16_t code);

void dhcp6_hdr_put(struct wr *w, uint8_t type, uint32_t xid);
void dhcp6_opt_put(struct wr *w, uint16_t code, const void *body, size_t len);

/* Code and a length to be filled in by dhcp6_opt_end() when the body is written; returns where that length stands. */
size_t dhcp6_opt_begin(struct wr *w, uint16_t code);
void dhcp6_opt_end(struct wr *w, size_t at);

/* IAID, and T1 and T2 as given (IA_TA has neither): the head of the body of an IA. */
void dhcp6_ia_put(struct wr *w, const struct dhcp6_ia *ia, uint32_t t1_t2);
void dhcp6_iaaddr_put(struct wr *w, const struct addr *a, uint32_t lifetime);
void dhcp6_status_put(struct wr *w, enum dhcp6_status status);

/* DUID-LL of an Ethernet address (RFC 8415 11.4). */
void dhcp6_duid_ll_put(struct wr *w, const uint8_t mac[MAC_LEN]);
