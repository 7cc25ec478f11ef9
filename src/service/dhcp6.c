/* SPDX-License-Identifier: MIT */
/* DHCPv6 server (RFC 8415) with one address to give, for ever, and so without state. */
#include "wire/dhcp6.h"

#include <errno.h>

#include "service/reply.h"
#include "wire/dnsname.h"

#define UDP_CSUM_AT 6
#define MSG_MAX (1280 - IP6_HLEN) /* with the IP header, the MTU that every link has (RFC 8200 5) */
#define PREFERENCE_MAX 255 /* the client need not wait for other servers (RFC 8415 18.2.1) */

/* Presence of a server identifier in a request (RFC 8415 16). */
enum id_rule { ID_NONE, ID_OURS, ID_OURS_OR_NONE };

struct answer;

/* What a request of each type has to look like, and what it gets. */
struct type_rule {
	uint8_t type, reply;
	bool client_id; /* must be there */
	enum id_rule server_id;
	bool unicast; /* answered with UseMulticast; otherwise dropped (RFC 8415 18.3) */
	bool config; /* DNS, search list and name come along */
	bool (*body)(struct answer *a); /* false: no answer */
};

/* A reply being written. */
struct answer {
	const struct guestconf *c;
	const struct dhcp6_msg *m; /* the request */
	const struct type_rule *rule;
	bool given; /* an IA_NA has the address already */
	struct wr w; /* UDP header and message */
};

/* What the addresses inside an IA are. */
struct ia_addrs {
	bool ours, other;
};

/* The caller skips an IA whose options are cut. */
static bool ia_addrs_read(const struct guestconf *c, const struct dhcp6_ia *ia, struct ia_addrs *ret_addrs)
{
	struct ia_addrs found = { false, false };
	struct rd opts = ia->opts;
	struct addr addr;
	int err;

	while (!(err = dhcp6_ia_addr_next(&opts, &addr))) {
		if (addr_eq(&addr, &c->addr6))
			found.ours = true;
		else
			found.other = true;
	}
	*ret_addrs = found;
	return rd_ok(&opts) && err != -EBADMSG;
}

static void ia_status_put(struct answer *a, const struct dhcp6_ia *ia, enum dhcp6_status status)
{
	size_t at = dhcp6_opt_begin(&a->w, ia->code);

	dhcp6_ia_put(&a->w, ia, 0);
	dhcp6_status_put(&a->w, status);
	dhcp6_opt_end(&a->w, at);
}

/* The IA with our address, if with is set, and with lifetime zero for all others that it came with, if without is. */
static void ia_addrs_put(struct answer *a, const struct dhcp6_ia *ia, bool with, bool without)
{
	size_t at = dhcp6_opt_begin(&a->w, ia->code);
	struct rd opts = ia->opts;
	struct addr addr;

	dhcp6_ia_put(&a->w, ia, with ? DHCP6_INFINITY : 0);
	if (with) {
		dhcp6_iaaddr_put(&a->w, &a->c->addr6, DHCP6_INFINITY);
		a->given = true;
	}
	while (without && !dhcp6_ia_addr_next(&opts, &addr)) {
		if (!with || !addr_eq(&addr, &a->c->addr6))
			dhcp6_iaaddr_put(&a->w, &addr, 0);
	}
	dhcp6_opt_end(&a->w, at);
}

static void ia_na_put(struct answer *a, const struct dhcp6_ia *ia)
{
	bool extend = a->m->type == DHCP6_RENEW || a->m->type == DHCP6_REBIND;
	struct ia_addrs in;

	if (!ia_addrs_read(a->c, ia, &in))
		return;
	if (a->m->type == DHCP6_REQUEST && in.other)
		ia_status_put(a, ia, DHCP6_NOT_ON_LINK);
	else if (a->m->type == DHCP6_RENEW && in.other && !in.ours)
		ia_status_put(a, ia, DHCP6_NO_BINDING);
	else if (extend && in.other)
		ia_addrs_put(a, ia, in.ours && !a->given, true);
	else if (a->given)
		ia_status_put(a, ia, DHCP6_NO_ADDRS_AVAIL);
	else
		ia_addrs_put(a, ia, true, false);
}

/* SOLICIT, REQUEST, RENEW, REBIND: every IA gets its answer. */
static bool body_lease(struct answer *a)
{
	struct rd opts = a->m->opts;
	struct dhcp6_ia ia;

	while (!dhcp6_ia_next(&opts, &ia)) {
		if (ia.code == DHCP6_OPT_IA_NA)
			ia_na_put(a, &ia);
		else
			ia_status_put(a, &ia, ia.code == DHCP6_OPT_IA_TA ? DHCP6_NO_ADDRS_AVAIL : DHCP6_NO_PREFIX_AVAIL);
	}
	return true;
}

/* RFC 8415 18.3.3: are all its addresses right for this link? Without any there is nothing to say. */
static bool body_confirm(struct answer *a)
{
	struct ia_addrs all = { false, false };
	struct rd opts = a->m->opts;
	struct dhcp6_ia ia;

	while (!dhcp6_ia_next(&opts, &ia)) {
		struct ia_addrs in;

		if (ia.code == DHCP6_OPT_IA_PD)
			continue;
		if (!ia_addrs_read(a->c, &ia, &in))
			return false;
		all.ours |= in.ours;
		all.other |= in.other;
	}
	if (!all.ours && !all.other)
		return false;
	dhcp6_status_put(&a->w, all.other ? DHCP6_NOT_ON_LINK : DHCP6_SUCCESS);
	return true;
}

/* RELEASE and DECLINE: success, and a word for each IA that we know nothing of (RFC 8415 18.3.7, 18.3.8). */
static bool body_release(struct answer *a)
{
	struct rd opts = a->m->opts;
	struct dhcp6_ia ia;

	dhcp6_status_put(&a->w, DHCP6_SUCCESS);
	while (!dhcp6_ia_next(&opts, &ia)) {
		struct ia_addrs in = { false, false };

		if (ia.code == DHCP6_OPT_IA_NA && !ia_addrs_read(a->c, &ia, &in))
			return false;
		if (!in.ours)
			ia_status_put(a, &ia, DHCP6_NO_BINDING);
	}
	return true;
}

/* RFC 8415 16.12: with an IA it is no such request. */
static bool body_information(struct answer *a)
{
	return !a->m->has_ia;
}

static const struct type_rule type_rules[] = {
	{ DHCP6_SOLICIT, DHCP6_ADVERTISE, true, ID_NONE, false, true, body_lease },
	{ DHCP6_REQUEST, DHCP6_REPLY, true, ID_OURS, true, true, body_lease },
	{ DHCP6_CONFIRM, DHCP6_REPLY, true, ID_NONE, false, false, body_confirm },
	{ DHCP6_RENEW, DHCP6_REPLY, true, ID_OURS, true, true, body_lease },
	{ DHCP6_REBIND, DHCP6_REPLY, true, ID_NONE, false, true, body_lease },
	{ DHCP6_RELEASE, DHCP6_REPLY, true, ID_OURS, true, false, body_release },
	{ DHCP6_DECLINE, DHCP6_REPLY, true, ID_OURS, true, false, body_release },
	{ DHCP6_INFORMATION_REQUEST, DHCP6_REPLY, false, ID_OURS_OR_NONE, false, true, body_information },
};

static bool server_id_ok(const struct guestconf *c, const struct dhcp6_msg *m, enum id_rule rule)
{
	uint8_t duid[DHCP6_DUID_LL_LEN];
	struct wr w = wr_init(duid, sizeof(duid));

	if (!m->server_id.len)
		return rule != ID_OURS;
	dhcp6_duid_ll_put(&w, c->our_mac);
	return rule != ID_NONE && m->server_id.len == sizeof(duid) && !memcmp(m->server_id.p, duid, sizeof(duid));
}

/* The rule for a request that may be answered; NULL otherwise. */
static const struct type_rule *rule_find(const struct guestconf *c, const struct pkt *p, const struct dhcp6_msg *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_rules); i++) {
		const struct type_rule *u = &type_rules[i];

		if (u->type != m->type)
			continue;
		if ((u->client_id && !m->client_id.len) || !server_id_ok(c, m, u->server_id))
			return NULL;
		if (!u->unicast && !addr_is_multicast(&p->dst))
			return NULL;
		if (addr_is_any(&c->addr6) && m->type != DHCP6_INFORMATION_REQUEST)
			return NULL;
		return u;
	}
	return NULL;
}

static bool wants(const struct dhcp6_msg *m, uint16_t code)
{
	return !m->has_oro || dhcp6_oro_has(m, code);
}

static void dns_put(struct answer *a)
{
	unsigned n = MIN(a->c->n_dns6, (unsigned)GUESTCONF_DNS);
	size_t at;

	if (!n || !a->c->dns || !wants(a->m, DHCP6_OPT_DNS))
		return;
	at = dhcp6_opt_begin(&a->w, DHCP6_OPT_DNS);
	for (unsigned i = 0; i < n; i++)
		wr_bytes(&a->w, a->c->dns6[i].b, sizeof(a->c->dns6[i].b));
	dhcp6_opt_end(&a->w, at);
}

/* RFC 4704: the name, and the word that we update no zone. For those who sent the option, or ask for it by name. */
static void fqdn_put(struct answer *a)
{
	uint8_t flags = DHCP6_FQDN_N;
	size_t len = dnsname_len(a->c->fqdn), at;

	if (!len || wr_left(&a->w) < DHCP6_OPT_HLEN + 1 + len)
		return;
	if (!a->m->has_fqdn && !dhcp6_oro_has(a->m, DHCP6_OPT_FQDN))
		return;
	if (a->m->has_fqdn && a->m->fqdn_flags & DHCP6_FQDN_S)
		flags |= DHCP6_FQDN_O;
	at = dhcp6_opt_begin(&a->w, DHCP6_OPT_FQDN);
	wr_u8(&a->w, flags);
	dnsname_put(&a->w, a->c->fqdn);
	dhcp6_opt_end(&a->w, at);
}

/* Last, since it takes what room is left. */
static void search_put(struct answer *a)
{
	uint8_t b[GUESTCONF_SEARCH * DNSNAME_LEN_MAX];
	struct wr list = wr_init(b, sizeof(b));
	size_t room = wr_left(&a->w);

	if (!a->c->search_on || !wants(a->m, DHCP6_OPT_SEARCH) || room <= DHCP6_OPT_HLEN)
		return;
	dnsname_list_put(&list, a->c->search, MIN(a->c->n_search, (unsigned)GUESTCONF_SEARCH), room - DHCP6_OPT_HLEN);
	if (wr_len(&list))
		dhcp6_opt_put(&a->w, DHCP6_OPT_SEARCH, b, wr_len(&list));
}

static void ids_put(struct answer *a)
{
	uint8_t duid[DHCP6_DUID_LL_LEN];
	struct wr w = wr_init(duid, sizeof(duid));

	dhcp6_duid_ll_put(&w, a->c->our_mac);
	if (a->m->client_id.len)
		dhcp6_opt_put(&a->w, DHCP6_OPT_CLIENTID, a->m->client_id.p, a->m->client_id.len);
	dhcp6_opt_put(&a->w, DHCP6_OPT_SERVERID, duid, sizeof(duid));
}

/* Writes the message; false if there is nothing to send. */
static bool answer_put(struct answer *a, const struct pkt *p)
{
	static const uint8_t preference = PREFERENCE_MAX;
	bool rapid = a->m->type == DHCP6_SOLICIT && a->m->rapid_commit;

	dhcp6_hdr_put(&a->w, rapid ? DHCP6_REPLY : a->rule->reply, a->m->xid);
	ids_put(a);
	if (!addr_is_multicast(&p->dst)) {
		dhcp6_status_put(&a->w, DHCP6_USE_MULTICAST);
		return true;
	}
	if (rapid)
		dhcp6_opt_put(&a->w, DHCP6_OPT_RAPID_COMMIT, NULL, 0);
	else if (a->rule->reply == DHCP6_ADVERTISE)
		dhcp6_opt_put(&a->w, DHCP6_OPT_PREFERENCE, &preference, 1);
	if (!a->rule->body(a))
		return false;
	if (a->rule->config) {
		dns_put(a);
		fqdn_put(a);
		search_put(a);
	}
	return true;
}

enum service_verdict dhcp6_from_guest(const struct service_req *q, struct wr *reply)
{
	const struct pkt *p = q->p;
	struct dhcp6_msg m;
	struct answer a = { .c = q->c, .m = &m };
	uint8_t buf[MSG_MAX];
	struct reply_to to = {
		.our_mac = q->c->our_mac,
		.mac = p->src_mac,
		.ip = { .src = q->c->our_ll6, .dst = p->src, .proto = PROTO_UDP, .ttl = IP_TTL_DEFAULT },
		.csum_at = UDP_CSUM_AT,
	};
	struct rd body;

	/* Clients speak from their link-local address (RFC 8415 16). */
	if (!addr_is_linklocal(&p->src))
		return SERVICE_DROP;
	if (reply_udp_body(q->msg, &body) || dhcp6_read(&body, &m))
		return SERVICE_DROP;
	a.rule = rule_find(q->c, p, &m);
	if (!a.rule)
		return SERVICE_DROP;

	a.w = wr_init(buf, sizeof(buf));
	reply_udp_begin(&a.w, DHCP6_PORT_SERVER, DHCP6_PORT_CLIENT);
	if (!answer_put(&a, p))
		return SERVICE_DROP;
	reply_udp_end(&a.w);
	reply_put(reply, &to, &a.w);
	return SERVICE_REPLY;
}
