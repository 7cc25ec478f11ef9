/* SPDX-License-Identifier: MIT */
/* DHCP server (RFC 2131) with one lease: the address of the guest, for ever. There is nothing to remember, so it keeps no state. */
#include "wire/dhcp.h"

#include "service/reply.h"
#include "wire/dnsname.h"
#include "wire/eth.h"
#include "wire/udp.h"

#define LEASE_INFINITE UINT32_MAX
#define FRAME_MAX_DEFAULT DHCP_SIZE_MIN /* some clients have a buffer of just that, and for the whole frame */
#define IP_MAX 1500 /* longest reply, whatever the client would take */
#define IP_MTU_MIN 68
#define UDP_CSUM_AT 6
#define ROUTE_LEN_MAX 9 /* prefix length, four bytes, gateway */

/* A reply being written. */
struct answer {
	const struct guestconf *c;
	const struct dhcp_msg *m; /* the request */
	uint8_t type; /* enum dhcp_type of the reply */
	struct wr w; /* UDP header and message; its end is the limit of the client */
};

/* Room for the body of one more option, in front of the end marker. */
static size_t opt_room(const struct answer *a)
{
	size_t left = wr_left(&a->w);

	return left > 3 ? MIN(left - 3, (size_t)DHCP_OPT_LEN_MAX) : 0;
}

/* What does not fit is left out whole. */
static void opt_put(struct answer *a, uint8_t code, const void *body, size_t len)
{
	if (len && len <= opt_room(a))
		dhcp_opt_put(&a->w, code, body, len);
}

static void opt_addr_put(struct answer *a, uint8_t code, const struct addr *addr)
{
	if (!addr_is_any(addr))
		opt_put(a, code, addr_bytes(addr), 4);
}

static void opt_be32_put(struct answer *a, uint8_t code, uint32_t v)
{
	uint8_t b[4];
	struct wr w = wr_init(b, sizeof(b));

	wr_be32(&w, v);
	opt_put(a, code, b, sizeof(b));
}

static void put_dns(struct answer *a)
{
	uint8_t b[GUESTCONF_DNS * 4];
	struct wr w = wr_init(b, sizeof(b));

	for (unsigned i = 0; a->c->dns && i < a->c->n_dns4 && i < GUESTCONF_DNS; i++)
		wr_bytes(&w, addr_bytes(&a->c->dns4[i]), 4);
	opt_put(a, DHCP_OPT_DNS, b, wr_len(&w));
}

static void put_hostname(struct answer *a)
{
	opt_put(a, DHCP_OPT_HOSTNAME, a->c->hostname, strnlen(a->c->hostname, sizeof(a->c->hostname)));
}

static void put_mtu(struct answer *a)
{
	uint8_t b[2];
	struct wr w = wr_init(b, sizeof(b));

	wr_be16(&w, a->c->mtu);
	if (a->c->mtu >= IP_MTU_MIN)
		opt_put(a, DHCP_OPT_MTU, b, sizeof(b));
}

/* RFC 4702: the name, in the encoding that the client used, and the word that we update no zone. */
static void put_fqdn(struct answer *a)
{
	const char *name = a->c->fqdn;
	size_t len = strnlen(name, sizeof(a->c->fqdn));
	uint8_t flags = DHCP_FQDN_N | DHCP_FQDN_E;
	uint8_t b[3 + DNSNAME_LEN_MAX];
	struct wr w = wr_init(b, sizeof(b));

	if (a->m->has_fqdn) {
		flags = DHCP_FQDN_N | (a->m->fqdn_flags & DHCP_FQDN_E);
		if (a->m->fqdn_flags & DHCP_FQDN_S)
			flags |= DHCP_FQDN_O;
	}
	wr_u8(&w, flags);
	wr_u8(&w, 255); /* RCODE1 and RCODE2: of no meaning, set to 255 by a server */
	wr_u8(&w, 255);
	if (flags & DHCP_FQDN_E)
		dnsname_put(&w, name);
	else
		wr_bytes(&w, name, len && name[len - 1] == '.' ? len - 1 : len);
	if (len)
		opt_put(a, DHCP_OPT_FQDN, b, wr_len(&w));
}

/* RFC 3397: the whole list is one body, cut into options of 255 bytes. */
static void put_search(struct answer *a)
{
	uint8_t b[GUESTCONF_SEARCH * DNSNAME_LEN_MAX];
	struct wr w = wr_init(b, sizeof(b));
	size_t room = wr_left(&a->w), over = dhcp_opt_long_len(room) - room + 1;

	if (!a->c->search_on || room <= over)
		return;
	dnsname_list_put(&w, a->c->search, MIN(a->c->n_search, (unsigned)GUESTCONF_SEARCH), room - over);
	if (wr_len(&w))
		dhcp_opt_long_put(&a->w, DHCP_OPT_SEARCH, b, wr_len(&w));
}

/* RFC 3442: prefix length, its significant bytes, gateway. */
static void route_put(struct wr *w, const struct addr *dst, uint8_t plen, const struct addr *gw)
{
	struct addr net = *dst;

	if (plen > 32)
		plen = 32;
	if (plen % 8)
		net.b[12 + plen / 8] &= (uint8_t)(0xff00 >> plen % 8);
	wr_u8(w, plen);
	wr_bytes(w, addr_bytes(&net), (plen + 7u) / 8);
	wr_bytes(w, addr_bytes(gw), 4);
}

static bool gw_is_offlink(const struct guestconf *c)
{
	return !addr_is_any(&c->gw4) && !addr_same_net(&c->addr4, &c->gw4, c->plen4);
}

/*
 * Clients that take this option ignore the router option, so it holds the default route as well. They add routes in order: what is on
 * link, the gateway's own route before all, comes before what is behind a gateway.
 */
static void put_routes(struct answer *a)
{
	const struct guestconf *c = a->c;
	unsigned n = MIN(c->n_route4, (unsigned)GUESTCONF_ROUTES);
	uint8_t b[(GUESTCONF_ROUTES + 2) * ROUTE_LEN_MAX];
	struct wr w = wr_init(b, sizeof(b));

	if (!n && !gw_is_offlink(c))
		return;
	if (gw_is_offlink(c))
		route_put(&w, &c->gw4, 32, &addr_any4);
	for (unsigned i = 0; i < n; i++) {
		if (addr_is_any(&c->route4[i].gw))
			route_put(&w, &c->route4[i].dst, c->route4[i].plen, &addr_any4);
	}
	if (!addr_is_any(&c->gw4))
		route_put(&w, &addr_any4, 0, &c->gw4);
	for (unsigned i = 0; i < n; i++) {
		if (!addr_is_any(&c->route4[i].gw))
			route_put(&w, &c->route4[i].dst, c->route4[i].plen, &c->route4[i].gw);
	}
	opt_put(a, DHCP_OPT_ROUTES, b, wr_len(&w));
}

/* Options that a client gets if it asks for them, or if it does not say what it wants. */
static const struct opt_extra {
	uint8_t code;
	bool bootp; /* also without DHCP */
	bool asked; /* only if asked for by name, or sent by the client */
	void (*put)(struct answer *a);
} opt_extras[] = {
	{ DHCP_OPT_DNS, true, false, put_dns },        { DHCP_OPT_HOSTNAME, true, false, put_hostname },
	{ DHCP_OPT_MTU, true, false, put_mtu },        { DHCP_OPT_FQDN, false, true, put_fqdn },
	{ DHCP_OPT_SEARCH, false, false, put_search },
};

static bool is_asked(const struct dhcp_msg *m, uint8_t code)
{
	return memchr(m->params, code, m->n_params) || (code == DHCP_OPT_FQDN && m->has_fqdn);
}

/* In the order of the request list (RFC 2131 4.3.1), then what else there is to say. */
static void extras_put(struct answer *a)
{
	const struct dhcp_msg *m = a->m;
	unsigned done = 0; /* a bit for each of opt_extras */

	for (unsigned k = 0; k < m->n_params; k++) {
		for (unsigned i = 0; i < ARRAY_SIZE(opt_extras); i++) {
			if (opt_extras[i].code != m->params[k] || done & 1u << i)
				continue;
			opt_extras[i].put(a);
			done |= 1u << i;
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(opt_extras); i++) {
		const struct opt_extra *e = &opt_extras[i];
		bool wanted = is_asked(m, e->code) || (!m->has_params && !e->asked);

		if (wanted && !(done & 1u << i) && (e->bootp || m->type != DHCP_BOOTP))
			e->put(a);
	}
}

/* Network and router: always sent. The mask stands before the router (RFC 2132 3.3). */
static void network_put(struct answer *a)
{
	uint32_t plen = MIN(a->c->plen4, (uint8_t)32);

	opt_be32_put(a, DHCP_OPT_MASK, plen ? UINT32_MAX << (32 - plen) : 0);
	if (a->m->type != DHCP_BOOTP && (is_asked(a->m, DHCP_OPT_ROUTES) || !a->m->has_params))
		put_routes(a);
	opt_addr_put(a, DHCP_OPT_ROUTER, &a->c->gw4);
}

static void opts_put(struct answer *a)
{
	const struct dhcp_msg *m = a->m;

	if (m->type != DHCP_BOOTP) {
		opt_put(a, DHCP_OPT_TYPE, &a->type, 1);
		opt_addr_put(a, DHCP_OPT_SERVER, &a->c->our4);
		if (a->type != DHCP_NAK && m->type != DHCP_INFORM)
			opt_be32_put(a, DHCP_OPT_LEASE, LEASE_INFINITE);
		if (m->client_id.len) /* RFC 6842 */
			opt_put(a, DHCP_OPT_CLIENT_ID, m->client_id.p, m->client_id.len);
		if (a->type == DHCP_ACK && m->type == DHCP_DISCOVER)
			dhcp_opt_put(&a->w, DHCP_OPT_RAPID_COMMIT, NULL, 0);
	}
	if (a->type != DHCP_NAK) {
		network_put(a);
		extras_put(a);
	}
	wr_u8(&a->w, DHCP_OPT_END);
}

/* The address that a REQUEST is about: RFC 2131 4.3.2 has it in option 50, or in ciaddr once the client uses it. */
static bool request_is_ok(const struct guestconf *c, const struct dhcp_msg *m)
{
	if (m->has_requested && !addr_is_any(&m->requested))
		return addr_eq(&m->requested, &c->addr4);
	return addr_is_any(&m->h.ciaddr) || addr_eq(&m->h.ciaddr, &c->addr4);
}

/* Type of the reply; false if there is none. */
static bool answer_type(const struct guestconf *c, const struct dhcp_msg *m, uint8_t *ret_type)
{
	switch (m->type) {
	case DHCP_BOOTP:
	case DHCP_INFORM:
		*ret_type = DHCP_ACK;
		return true;
	case DHCP_DISCOVER:
		*ret_type = m->rapid_commit ? DHCP_ACK : DHCP_OFFER;
		return true;
	case DHCP_REQUEST:
		if (m->has_server && !addr_eq(&m->server, &c->our4) && !addr_eq(&m->server, &c->gw4))
			return false; /* it took the offer of someone else */
		*ret_type = request_is_ok(c, m) ? DHCP_ACK : DHCP_NAK;
		return true;
	default: /* RELEASE and DECLINE get no answer; the rest is for clients */
		return false;
	}
}

/* Where to (RFC 2131 4.1): a relay, a client that has an address, one that cannot be reached by address yet, or the new address. */
static struct reply_to answer_to(const struct answer *a, const struct service_req *q)
{
	static const uint8_t bcast_mac[MAC_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct dhcp_hdr *h = &a->m->h;
	struct reply_to to = {
		.our_mac = a->c->our_mac,
		.mac = h->chaddr,
		.ip = { .src = a->c->our4, .proto = PROTO_UDP, .ttl = IP_TTL_DEFAULT },
		.csum_at = UDP_CSUM_AT,
	};

	if (!addr_is_any(&h->giaddr)) {
		to.ip.dst = h->giaddr;
		to.mac = q->p->src_mac;
	} else if (a->type != DHCP_NAK && !addr_is_any(&h->ciaddr)) {
		to.ip.dst = h->ciaddr;
	} else if (a->type == DHCP_NAK || a->m->type == DHCP_INFORM || h->flags & DHCP_FLAG_BROADCAST) {
		to.ip.dst = ADDR4_INIT(255, 255, 255, 255);
		to.mac = bcast_mac;
	} else {
		to.ip.dst = a->c->addr4;
	}
	return to;
}

/* Bytes of UDP that the client takes. */
static size_t answer_limit(const struct guestconf *c, const struct dhcp_msg *m)
{
	size_t ip = FRAME_MAX_DEFAULT - ETH_HLEN;

	if (m->type == DHCP_BOOTP)
		return UDP_HLEN + DHCP_LEN_MIN;
	if (m->max_size)
		ip = CLAMP((size_t)m->max_size, (size_t)DHCP_SIZE_MIN, (size_t)IP_MAX);
	if (c->mtu >= DHCP_SIZE_MIN)
		ip = MIN(ip, (size_t)c->mtu);
	return ip - IP4_HLEN;
}

static void answer_hdr_put(struct answer *a)
{
	const struct dhcp_hdr *in = &a->m->h;
	struct dhcp_hdr h = {
		.op = BOOTP_REPLY,
		.htype = in->htype,
		.hlen = in->hlen,
		.xid = in->xid,
		.flags = in->flags,
		.ciaddr = addr_any4,
		.yiaddr = addr_any4,
		.giaddr = in->giaddr,
	};

	/* A relay cannot reach a client by an address that was refused. */
	if (a->type == DHCP_NAK && !addr_is_any(&in->giaddr))
		h.flags |= DHCP_FLAG_BROADCAST;
	if (a->type == DHCP_ACK && a->m->type != DHCP_DISCOVER)
		h.ciaddr = in->ciaddr;
	if (a->type != DHCP_NAK && a->m->type != DHCP_INFORM)
		h.yiaddr = a->c->addr4;
	memcpy(h.chaddr, in->chaddr, sizeof(h.chaddr));
	dhcp_hdr_put(&a->w, &h);
}

static bool is_request(const struct dhcp_hdr *h)
{
	return h->op == BOOTP_REQUEST && h->htype == DHCP_HTYPE_ETHER && h->hlen == MAC_LEN;
}

enum service_verdict dhcp_from_guest(const struct service_req *q, struct wr *reply)
{
	const struct guestconf *c = q->c;
	struct dhcp_msg m;
	struct answer a = { .c = c, .m = &m };
	uint8_t buf[IP_MAX];
	struct reply_to to;
	struct rd body;

	if (addr_is_any(&c->addr4) || addr_is_any(&c->our4))
		return SERVICE_DROP;
	if (reply_udp_body(q->msg, &body) || dhcp_read(&body, &m) || !is_request(&m.h) || !answer_type(c, &m, &a.type))
		return SERVICE_DROP;

	to = answer_to(&a, q);
	a.w = wr_init(buf, answer_limit(c, &m));
	reply_udp_begin(&a.w, DHCP_PORT_SERVER, addr_is_any(&m.h.giaddr) ? DHCP_PORT_CLIENT : DHCP_PORT_SERVER);
	answer_hdr_put(&a);
	opts_put(&a);
	if (wr_len(&a.w) < UDP_HLEN + DHCP_LEN_MIN)
		wr_zero(&a.w, UDP_HLEN + DHCP_LEN_MIN - wr_len(&a.w));
	reply_udp_end(&a.w);
	reply_put(reply, &to, &a.w);
	return SERVICE_REPLY;
}
