/* SPDX-License-Identifier: MIT */
/* BOOTP and DHCP messages (RFC 951, RFC 1542, RFC 2131) and their options (RFC 2132, 3396, 4039, 4702). Behind the UDP header. */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"

#define DHCP_PORT_SERVER 67
#define DHCP_PORT_CLIENT 68

#define DHCP_HDR_LEN 236 /* fixed part, before the cookie */
#define DHCP_LEN_MIN 300 /* shortest reply, as BOOTP has it (RFC 1542 2.1) */
#define DHCP_SIZE_MIN 576 /* what every client must take, with IP and UDP headers (RFC 2131 2) */
#define DHCP_OPT_LEN_MAX 255
#define DHCP_CHADDR_LEN 16

#define BOOTP_REQUEST 1
#define BOOTP_REPLY 2
#define DHCP_HTYPE_ETHER 1
#define DHCP_FLAG_BROADCAST 0x8000

enum dhcp_type {
	DHCP_BOOTP = 0, /* no message type: plain BOOTP */
	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_DECLINE = 4,
	DHCP_ACK = 5,
	DHCP_NAK = 6,
	DHCP_RELEASE = 7,
	DHCP_INFORM = 8,
};

enum dhcp_opt {
	DHCP_OPT_PAD = 0,
	DHCP_OPT_MASK = 1,
	DHCP_OPT_ROUTER = 3,
	DHCP_OPT_DNS = 6,
	DHCP_OPT_HOSTNAME = 12,
	DHCP_OPT_MTU = 26,
	DHCP_OPT_REQUESTED = 50,
	DHCP_OPT_LEASE = 51,
	DHCP_OPT_OVERLOAD = 52,
	DHCP_OPT_TYPE = 53,
	DHCP_OPT_SERVER = 54,
	DHCP_OPT_PARAMS = 55,
	DHCP_OPT_MAX_SIZE = 57,
	DHCP_OPT_CLIENT_ID = 61,
	DHCP_OPT_RAPID_COMMIT = 80,
	DHCP_OPT_FQDN = 81,
	DHCP_OPT_SEARCH = 119,
	DHCP_OPT_ROUTES = 121,
	DHCP_OPT_END = 255,
};

/* Flags of option 81 (RFC 4702 2.1) */
#define DHCP_FQDN_S 0x01 /* the server updates the A record */
#define DHCP_FQDN_O 0x02 /* the server overrode S */
#define DHCP_FQDN_E 0x04 /* the name is in DNS wire format, not in ASCII */
#define DHCP_FQDN_N 0x08 /* the server updates nothing */

struct dhcp_hdr {
	uint8_t op, htype, hlen;
	uint32_t xid;
	uint16_t flags;
	struct addr ciaddr, yiaddr, giaddr; /* always IPv4 */
	uint8_t chaddr[DHCP_CHADDR_LEN];
};

/* A request as read. */
struct dhcp_msg {
	struct dhcp_hdr h;
	uint8_t type; /* enum dhcp_type, or what else stood there */
	bool has_requested, has_server, has_params, has_fqdn, rapid_commit;
	struct addr requested, server;
	uint16_t max_size; /* of an IP datagram to the client; 0: not given */
	uint8_t fqdn_flags;
	uint8_t overload; /* 1: file holds options, 2: sname does, 3: both */
	uint8_t params[DHCP_OPT_LEN_MAX]; /* parameter request list, parts put together (RFC 3396) */
	uint8_t n_params;
	struct rd client_id; /* in place; len 0: none */
};

/*
 * Reads a whole message: the fixed part, the options behind the cookie, then those in file and sname if option 52 says so. Without a
 * cookie there are no options. -EBADMSG if it is cut, or an option has a length that it cannot have.
 */
MUST_USE int dhcp_read(struct rd *r, struct dhcp_msg *ret_msg);

/* Writes the fixed part (secs, hops, siaddr, sname and file are zero) and the cookie. */
void dhcp_hdr_put(struct wr *w, const struct dhcp_hdr *h);

/* One option of up to 255 bytes. */
void dhcp_opt_put(struct wr *w, uint8_t code, const void *body, size_t len);

/* Bytes that a body of len bytes takes as an option, split where it has to be; and the same option written (RFC 3396 5). */
size_t dhcp_opt_long_len(size_t len);
void dhcp_opt_long_put(struct wr *w, uint8_t code, const void *body, size_t len);
