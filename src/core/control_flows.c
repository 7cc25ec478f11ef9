/* SPDX-License-Identifier: MIT */
/* What the control socket tells of flows, and the counters. */
#include "core/control.h"
#include "core/engine.h"
#include "os/sock.h"
#include "os/tcpinfo.h"
#include "tcp/hand.h"
#include "wire/ip.h"

#define PAGE_MAX 64 /* flows in one reply */
#define SLOTS_MAX 4096 /* looked at for one reply */

/* Values of jansson's are NULL where there was no memory: what they are put into then says so. */

static json_t *ep_json(const struct ep *ep)
{
	char buf[ADDR_STRLEN];

	return json_pack("[s, i]", addr_fmt(&ep->addr, buf), (int)ep->port);
}

static json_t *count_json(const struct flow_count *n)
{
	return json_pack("{s:I, s:I}", "bytes", (json_int_t)n->bytes, "packets", (json_int_t)n->packets);
}

static const char *proto_name(uint8_t proto)
{
	return proto == PROTO_TCP ? "tcp" : proto == PROTO_UDP ? "udp" : "icmp";
}

static void flow_show(const struct flow *f, struct flow_show *ret_show)
{
	if (f->key.proto == PROTO_TCP)
		tcp_flow_show(f, ret_show);
	else if (f->key.proto == PROTO_UDP)
		udp_flow_show(f, ret_show);
	else
		icmp_flow_show(f, ret_show);
}

/* What the host's kernel counts. */
static int tcp_put(json_t *j, const struct flow_show *s, struct flow_count *to_host, struct flow_count *to_guest)
{
	struct tcpinfo i;
	int err;

	if (s->fd < 0 || tcpinfo_get(s->fd, &i))
		return 0;
	i.bytes_out -= !s->host_first && i.bytes_out;
	*to_host = (struct flow_count){ .packets = i.segs_out, .bytes = i.bytes_out };
	*to_guest = (struct flow_count){ .packets = i.segs_in, .bytes = i.bytes_in };
	err = json_object_set_new(j, "rtt_us", json_integer(i.rtt_us));
	return err | json_object_set_new(j, "rexmit", json_integer(i.rexmit));
}

static int host_put(json_t *j, const struct flow_show *s)
{
	struct ep host, peer = s->peer;
	int err = 0;

	if (s->fd >= 0 && !sock_local(s->fd, &host) && !addr_is_any(&host.addr))
		err = json_object_set_new(j, "host", ep_json(&host));
	if (addr_is_set(&peer.addr) || (s->fd >= 0 && !sock_peer(s->fd, &peer)))
		err |= json_object_set_new(j, "peer", ep_json(&peer));
	return err;
}

static int flow_put(json_t *list, const struct flow *f, uint64_t now_ns)
{
	struct ep guest = { f->key.guest, f->key.gport }, remote = { f->key.remote, f->key.rport };
	struct flow_count to_host = f->to_host, to_guest = f->to_guest;
	struct flow_show s;
	json_t *j = json_object();
	int err;

	flow_show(f, &s);
	err = json_object_set_new(j, "proto", json_string(proto_name(f->key.proto)));
	err |= json_object_set_new(j, "state", json_string(s.state));
	err |= json_object_set_new(j, "from", json_string(s.host_first ? "host" : "guest"));
	err |= json_object_set_new(j, "guest", ep_json(&guest));
	err |= json_object_set_new(j, "remote", ep_json(&remote));
	err |= host_put(j, &s);
	err |= json_object_set_new(j, "age_ms", json_integer((json_int_t)((now_ns - f->born_ns) / NSEC_PER_MSEC)));
	if (f->key.proto == PROTO_TCP)
		err |= tcp_put(j, &s, &to_host, &to_guest);
	err |= json_object_set_new(j, "to_host", count_json(&to_host));
	err |= json_object_set_new(j, "to_guest", count_json(&to_guest));
	return json_array_append_new(list, j) | err;
}

/* --- what is spliced --- */

/* Sockets of ours and whom each talks to: an endpoint whose port is 0 is not known. */
struct spliced {
	const char *proto, *state;
	bool inwards; /* the host began it */
	uint64_t born_ns;
	struct ep near_us, near_peer; /* the side that began it */
	struct ep far_us, far_peer;
	json_t *out, *back; /* what went from near to far, and back; taken */
};

static int known_ep_put(json_t *j, const char *name, const struct ep *ep)
{
	return ep->port ? json_object_set_new(j, name, ep_json(ep)) : 0;
}

static int spliced_put(json_t *list, const struct spliced *s, uint64_t now_ns)
{
	json_t *j = json_object();
	int err;

	err = json_object_set_new(j, "proto", json_string(s->proto));
	err |= json_object_set_new(j, "state", json_string(s->state));
	err |= json_object_set_new(j, "from", json_string(s->inwards ? "host" : "guest"));
	err |= json_object_set_new(j, "spliced", json_true());
	err |= known_ep_put(j, "guest", s->inwards ? &s->far_peer : &s->near_peer);
	err |= known_ep_put(j, "remote", s->inwards ? &s->far_us : &s->near_us);
	err |= known_ep_put(j, "host", s->inwards ? &s->near_us : &s->far_us);
	err |= known_ep_put(j, "peer", s->inwards ? &s->near_peer : &s->far_peer);
	err |= json_object_set_new(j, "age_ms", json_integer((json_int_t)((now_ns - s->born_ns) / NSEC_PER_MSEC)));
	err |= json_object_set_new(j, s->inwards ? "to_guest" : "to_host", s->out);
	err |= json_object_set_new(j, s->inwards ? "to_host" : "to_guest", s->back);
	return json_array_append_new(list, j) | err;
}

/* Of a socket of ours. Unknown while it is not connected. */
static void ends_of(int fd, struct ep *ret_us, struct ep *ret_peer)
{
	struct ep us, peer;

	if (fd < 0 || sock_peer(fd, &peer) || sock_local(fd, &us))
		return;
	*ret_us = us;
	*ret_peer = peer;
}

static int splice_put(json_t *list, const struct splice_show *s, uint64_t now_ns)
{
	struct spliced j = {
		.proto = "tcp",
		.state = s->state,
		.inwards = s->way == SPLICE_IN,
		.born_ns = s->born_ns,
		.out = json_pack("{s:I}", "bytes", (json_int_t)s->bytes[0]),
		.back = json_pack("{s:I}", "bytes", (json_int_t)s->bytes[1]),
	};

	ends_of(s->fd[0], &j.near_us, &j.near_peer);
	ends_of(s->fd[1], &j.far_us, &j.far_peer);
	return spliced_put(list, &j, now_ns);
}

static int udp_splice_put(json_t *list, const struct udp_splice_show *u, uint64_t now_ns)
{
	struct spliced j = {
		.proto = "udp",
		.state = u->answered ? "answered" : "one-way",
		.inwards = pasta_fwd_inwards(u),
		.born_ns = u->born_ns,
		.near_peer = u->path.peer,
		.out = count_json(&u->out),
		.back = count_json(&u->back),
	};

	if (!sock_local(u->bound_fd, &j.near_us) && !addr_is_any(&u->path.local))
		j.near_us.addr = u->path.local;
	ends_of(u->fd, &j.far_us, &j.far_peer);
	return spliced_put(list, &j, now_ns);
}

/* A whole number from min to max. False: it is something else. */
static bool number(const json_t *j, json_int_t min, json_int_t max, uint32_t *val)
{
	if (!j)
		return true;
	if (!json_is_integer(j) || json_integer_value(j) < min || json_integer_value(j) > max)
		return false;
	*val = (uint32_t)json_integer_value(j);
	return true;
}

/* --- pages --- */

/* Each puts the first one in slot *slot or behind it, before slot end: 0, *slot being its slot. 1: there is none; -1: no memory. */

static int part_flow(struct engine *e, json_t *list, uint32_t *slot, uint32_t end)
{
	const struct flow *f = flow_next(e->flows, slot, end);

	return !f ? 1 : flow_put(list, f, e->loop.now_ns);
}

static int part_splice(struct engine *e, json_t *list, uint32_t *slot, uint32_t end)
{
	struct splice_show s;

	return splice_next(pasta_fwd_splice(e->fwd), slot, end, &s) ? splice_put(list, &s, e->loop.now_ns) : 1;
}

static int part_udp(struct engine *e, json_t *list, uint32_t *slot, uint32_t end)
{
	struct udp_splice_show u;

	return udp_splice_next(pasta_fwd_udp_splice(e->fwd), slot, end, &u) ? udp_splice_put(list, &u, e->loop.now_ns) : 1;
}

/* What there is to be listed: the numbers that pages begin with go through the slots of one part after the other. */
struct part {
	int (*put)(struct engine *e, json_t *list, uint32_t *slot, uint32_t end);
	uint32_t slots;
};

#define PARTS 3

static uint32_t parts_of(const struct engine *e, struct part ret_part[PARTS])
{
	ret_part[0] = (struct part){ part_flow, flow_max(e->flows) };
	ret_part[1] = (struct part){ part_splice, e->fwd ? splice_max(pasta_fwd_splice(e->fwd)) : 0 };
	ret_part[2] = (struct part){ part_udp, e->fwd ? udp_splice_max(pasta_fwd_udp_splice(e->fwd)) : 0 };
	return ret_part[0].slots + ret_part[1].slots + ret_part[2].slots;
}

/* Up to *max of one part, from slot *slot on, which becomes where the next page begins. -1: no memory. */
static int part_list(struct engine *e, const struct part *p, json_t *list, uint32_t *slot, uint32_t *max)
{
	uint32_t end = MIN(p->slots, *slot + SLOTS_MAX);
	int r = 0;

	for (; *max && *slot < end; ++*slot, --*max) {
		r = p->put(e, list, slot, end);
		if (r)
			break;
	}
	/* Slots behind the last one that was ever used are not looked at. */
	if (r > 0 && *slot < end)
		*slot = p->slots;
	return MIN(r, 0);
}

static int page_fill(struct engine *e, const struct part part[PARTS], json_t *list, uint32_t *at, uint32_t max)
{
	uint32_t base = 0;
	int err = 0;

	for (unsigned i = 0; !err && i < PARTS; base += part[i++].slots) {
		uint32_t slot = *at - base;

		if (slot >= part[i].slots)
			continue;
		err = part_list(e, &part[i], list, &slot, &max);
		*at = base + slot;
		if (slot < part[i].slots)
			break;
	}
	return err;
}

static uint64_t flows_now(const struct engine *e)
{
	uint64_t n = flow_count(e->flows);

	return !e->fwd ? n : n + splice_stats(pasta_fwd_splice(e->fwd))->now + udp_splice_stats(pasta_fwd_udp_splice(e->fwd))->now;
}

enum ctl_result control_flows(struct engine *e, struct ctl_call *call)
{
	struct part part[PARTS];
	uint32_t at = 0, max = PAGE_MAX, all = parts_of(e, part);
	json_t *list;
	int err;

	if (!number(json_object_get(call->args, "from"), 0, all, &at) ||
	    !number(json_object_get(call->args, "max"), 1, PAGE_MAX, &max))
		return ctl_fail(call, "bad-argument", "from has to be a number that a page before gave, max one from 1 to 64");
	list = json_array();
	err = json_object_set(call->reply, "flows", list);
	if (!err)
		err = page_fill(e, part, list, &at, max);
	json_decref(list);
	err |= json_object_set_new(call->reply, "next", at < all ? json_integer(at) : json_null());
	err |= json_object_set_new(call->reply, "count", json_integer((json_int_t)flows_now(e)));
	return err ? ctl_fail(call, "too-big", "The reply needs too much memory") : CTL_REPLY;
}

/* --- counters --- */

static int put(json_t *j, const char *name, uint64_t val)
{
	return json_object_set_new(j, name, json_integer((json_int_t)val));
}

static int splices_put(const struct engine *e, json_t *counters, json_t *gauges)
{
	const struct splice_stats *s = splice_stats(pasta_fwd_splice(e->fwd));
	const struct udp_splice_stats *u = udp_splice_stats(pasta_fwd_udp_splice(e->fwd));
	int err = put(gauges, "splices", s->now) | put(gauges, "udp_splice_peers", u->now);

	err |= put(counters, "splices_opened", s->opened) | put(counters, "splices_refused", s->refused);
	err |= put(counters, "splices_closed", s->closed) | put(counters, "splices_reset", s->reset);
	err |= put(counters, "splice_bytes_from_client", s->bytes[0]) | put(counters, "splice_bytes_to_client", s->bytes[1]);
	err |= put(counters, "udp_splice_out", u->out) | put(counters, "udp_splice_back", u->back);
	return err | put(counters, "udp_splice_lost", u->lost);
}

/* What passes between us and the guest. */
static int link_put(const struct engine *e, json_t *counters)
{
	const struct link_stats *l = &e->link->stats;
	int err = put(counters, "frames_from_guest", l->rx_frames) | put(counters, "frame_bytes_from_guest", l->rx_bytes);

	err |= put(counters, "frames_to_guest", l->tx_frames) | put(counters, "frame_bytes_to_guest", l->tx_bytes);
	err |= put(counters, "frames_bad", l->rx_bad) | put(counters, "guest_no_room", l->tx_full);
	return err | put(counters, "kicks", l->kicks) | put(counters, "kicks_idle", l->kicks_idle);
}

/* What the limits of one guest are about. */
static int limits_put(const struct engine *e, json_t *counters, json_t *gauges)
{
	const struct flow_stats *f = flow_stats(e->flows);
	int err = put(counters, "flows_displaced", f->displaced) | put(counters, "flows_over_rate", f->over_rate);

	err |= put(counters, "reassembly_displaced", frags_displaced(e->frags));
	err |= put(gauges, "half_open", f->half_open) | put(gauges, "reassembly", frags_open(e->frags));
	return err;
}

static int tcp_counters_put(const struct tcp *tcp, json_t *counters, json_t *gauges)
{
	const struct tcp_stats *t = tcp_stats(tcp);
	int err = put(counters, "tcp_guest_rexmit", t->rexmit) | put(counters, "tcp_guest_rto", t->rto);

	err |= put(counters, "tcp_spilled", t->spilled) | put(counters, "tcp_ahead", t->ooo);
	err |= put(counters, "tcp_spill_full", t->spill_full) | put(gauges, "tcp_spill_bytes", tcp_spill_used(tcp));
	err |= put(counters, "tcp_challenges", t->challenges) | put(counters, "tcp_challenges_held", t->challenges_held);
	return err;
}

/* What has become of connections that may be handed over, and why others were not. */
static int hand_put(const struct tcp *tcp, json_t *counters, json_t *gauges)
{
	const struct hand_stats *h = tcp_hand_stats(tcp);
	int err = put(gauges, "tcp_handover", h != NULL) | put(gauges, "tcp_handover_listeners", tcp_hand_listeners(tcp));

	for (enum hand_end e = 0; h && e < HAND_ENDS; e++)
		err |= put(counters, hand_end_name(e), h->end[e]);
	for (enum tcp_stay s = TCP_STAYS_NOT + 1; h && s < TCP_STAYS_KINDS; s++)
		err |= put(counters, hand_stay_name(s), h->stays[s]);
	return err;
}

enum ctl_result control_counters(struct engine *e, struct ctl_call *call)
{
	json_t *counters = json_object(), *gauges = json_object();
	int err;

	err = json_object_set_new(call->reply, "counters", counters);
	err |= json_object_set_new(call->reply, "gauges", gauges);
	if (err)
		return ctl_fail(call, "too-big", "The reply needs too much memory");
	err = put(counters, "loop_turns", e->loop.turns) | link_put(e, counters);
	if (e->tcp)
		err |= tcp_counters_put(e->tcp, counters, gauges);
	if (e->fwd)
		err |= splices_put(e, counters, gauges);
	if (e->fwd && e->tcp)
		err |= hand_put(e->tcp, counters, gauges);
	err |= limits_put(e, counters, gauges);
	err |= put(gauges, "flows", flow_count(e->flows)) | put(gauges, "flows_max", flow_max(e->flows));
	err |= put(gauges, "listeners", (uint64_t)listeners_held(&e->listeners) + listeners_held(&e->ns_listeners));
	return err ? ctl_fail(call, "too-big", "The reply needs too much memory") : CTL_REPLY;
}
