/* SPDX-License-Identifier: MIT */
/* Neighbour and router solicitations (RFC 4861), and the router advertisement, solicited or not. */
#include "service/reply.h"
#include "wire/dnsname.h"
#include "wire/nd.h"

_Static_assert(GUESTCONF_NAME_MAX == DNSNAME_TEXT_MAX, "names are handed over as they are");

#define RA_LEN_MAX 1240 /* with the IP header, the MTU that every link has (RFC 8200 5) */
#define RA_INITIAL 3 /* RFC 4861 10: MAX_INITIAL_RTR_ADVERTISEMENTS */
#define RA_INITIAL_S 16 /* MAX_INITIAL_RTR_ADVERT_INTERVAL */
#define RA_MIN_S 200 /* MinRtrAdvInterval and MaxRtrAdvInterval: the defaults (6.2.1) */
#define RA_MAX_S 600

/*
 * The longest that RFC 8319 4 allows. It is over a hundred times the interval of the unsolicited ones, so the default route cannot
 * expire as long as the guest runs, and hardly while it was stopped.
 */
#define RA_LIFETIME_S 65535

#define SOL_NODE_PLEN 104 /* of ff02::1:ff00:0 */

static const struct addr all_nodes = { .b = { 0xff, 0x02, [15] = 1 } };
static const struct addr sol_node = { .b = { 0xff, 0x02, [11] = 1, [12] = 0xff } };
static const uint8_t all_nodes_mac[MAC_LEN] = { 0x33, 0x33, 0, 0, 0, 1 };

/* To the sender, or to all nodes where it has no address yet. */
static struct reply_to nd_to(const struct guestconf *c, const struct pkt *p)
{
	bool to_all = !p || addr_is_any(&p->src);

	return (struct reply_to){
		.our_mac = c->our_mac,
		.mac = to_all ? all_nodes_mac : p->src_mac,
		.ip = {
			.src = c->our_ll6,
			.dst = to_all ? all_nodes : p->src,
			.proto = PROTO_ICMP6,
			.ttl = ND_HOPLIMIT,
		},
		.csum_at = ND_CSUM_AT,
	};
}

static bool is_ours(const struct guestconf *c, const struct addr *a)
{
	return !addr_is_any(a) && (addr_eq(a, &c->our_ll6) || addr_eq(a, &c->gw6));
}

static enum service_verdict ns_from_guest(const struct service_req *q, const struct nd_sol *ns, struct wr *reply)
{
	const struct guestconf *c = q->c;
	struct reply_to to = nd_to(c, q->p);
	bool ours = is_ours(c, &ns->target);
	uint8_t buf[64];
	struct wr msg = wr_init(buf, sizeof(buf));
	uint8_t flags = ND_NA_OVERRIDE;

	if (addr_is_any(&q->p->src)) {
		/* Duplicate address detection (RFC 4862 5.4.3): only what is ours is taken. */
		if (!ours || ns->has_lladdr || !addr_same_net(&q->p->dst, &sol_node, SOL_NODE_PLEN))
			return SERVICE_DROP;
	} else {
		flags |= ND_NA_SOLICITED;
	}
	if (!addr_is_any(&c->addr6) && addr_eq(&ns->target, &c->addr6))
		return SERVICE_DROP;
	if (ours) {
		flags |= ND_NA_ROUTER;
		to.ip.src = ns->target;
	}
	nd_na_put(&msg, flags, &ns->target);
	nd_opt_lladdr_put(&msg, ND_OPT_TGT_LLADDR, c->our_mac);
	reply_put(reply, &to, &msg);
	return SERVICE_REPLY;
}

static void ra_put(const struct guestconf *c, const struct reply_to *to, struct wr *frame)
{
	uint8_t buf[RA_LEN_MAX];
	struct wr msg = wr_init(buf, sizeof(buf));
	struct nd_ra ra = { .hop_limit = IP_TTL_DEFAULT, .lifetime = RA_LIFETIME_S };
	bool global = !addr_is_any(&c->addr6) && !addr_is_linklocal(&c->addr6);

	if (c->dhcp6)
		ra.flags = ND_RA_OTHER | (addr_is_any(&c->addr6) ? 0 : ND_RA_MANAGED);
	nd_ra_put(&msg, &ra);
	nd_opt_lladdr_put(&msg, ND_OPT_SRC_LLADDR, c->our_mac);
	if (global)
		nd_opt_prefix64_put(&msg, ND_PREFIX_ONLINK | ND_PREFIX_AUTO, &c->addr6);
	if (c->mtu)
		nd_opt_mtu_put(&msg, c->mtu);
	if (c->dns && c->n_dns6)
		nd_opt_rdnss_put(&msg, c->dns6, MIN(c->n_dns6, (unsigned)GUESTCONF_DNS));
	if (c->search_on)
		nd_opt_dnssl_put(&msg, c->search, MIN(c->n_search, (unsigned)GUESTCONF_SEARCH), wr_left(&msg));
	reply_put(frame, to, &msg);
}

/* RFC 2464 section 7: the last four bytes of the group; RFC 4291 2.7.1: it has the last three of the address. */
void ndp_ask(const struct guestconf *c, const struct addr *target, struct wr *frame)
{
	uint8_t buf[64], mac[MAC_LEN] = { 0x33, 0x33, 0xff, target->b[13], target->b[14], target->b[15] };
	struct wr msg = wr_init(buf, sizeof(buf));
	struct reply_to to = {
		.our_mac = c->our_mac,
		.mac = mac,
		.ip = { .src = c->our_ll6, .dst = sol_node, .proto = PROTO_ICMP6, .ttl = ND_HOPLIMIT },
		.csum_at = ND_CSUM_AT,
	};

	if (!c->v6 || !c->ndp || addr_is_any(&c->our_ll6))
		return;
	memcpy(to.ip.dst.b + 13, target->b + 13, 3);
	nd_ns_put(&msg, target);
	nd_opt_lladdr_put(&msg, ND_OPT_SRC_LLADDR, c->our_mac);
	reply_put(frame, &to, &msg);
}

static bool ra_on(const struct guestconf *c)
{
	return c->v6 && c->ndp && c->ra;
}

enum service_verdict ndp_from_guest(const struct service_req *q, struct wr *reply)
{
	const struct pkt *p = q->p;
	struct rd r = q->msg;
	struct nd_sol sol;

	/* The checksum is not looked at, as nowhere (wire/pkt.h). */
	if (!q->c->v6 || !q->c->ndp || p->ttl != ND_HOPLIMIT || addr_is_multicast(&p->src))
		return SERVICE_DROP;
	if (nd_sol_read(&r, &sol))
		return SERVICE_DROP;
	if (sol.type == ND_NS)
		return ns_from_guest(q, &sol, reply);
	if (sol.type == ND_RS && ra_on(q->c) && !(addr_is_any(&p->src) && sol.has_lladdr)) {
		struct reply_to to = nd_to(q->c, p);

		ra_put(q->c, &to, reply);
		return SERVICE_REPLY;
	}
	return SERVICE_DROP;
}

void service_ra(const struct guestconf *c, struct wr *frame)
{
	struct reply_to to = nd_to(c, NULL);

	if (ra_on(c))
		ra_put(c, &to, frame);
}

unsigned service_ra_interval(unsigned sent_so_far, uint32_t rnd)
{
	if (sent_so_far < RA_INITIAL)
		return 1 + rnd % RA_INITIAL_S;
	return RA_MIN_S + rnd % (RA_MAX_S - RA_MIN_S + 1);
}
