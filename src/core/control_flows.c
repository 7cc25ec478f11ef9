/* SPDX-License-Identifier: MIT */
/* What the control socket tells of flows, and the counters. */
#include "core/control.h"
#include "core/engine.h"
#include "os/sock.h"
#include "os/tcpinfo.h"
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

enum ctl_result control_flows(struct engine *e, struct ctl_call *call)
{
	uint32_t at = 0, max = PAGE_MAX, end, all = flow_max(e->flows);
	json_t *list;
	int err;

	if (!number(json_object_get(call->args, "from"), 0, all, &at) ||
	    !number(json_object_get(call->args, "max"), 1, PAGE_MAX, &max))
		return ctl_fail(call, "bad-argument", "from has to be a number that a page before gave, max one from 1 to 64");
	list = json_array();
	err = json_object_set(call->reply, "flows", list);
	for (end = MIN(all, at + SLOTS_MAX); max && !err; max--, at++) {
		const struct flow *f = flow_next(e->flows, &at, end);

		if (!f)
			break;
		err = flow_put(list, f, e->loop.now_ns);
	}
	json_decref(list);
	/* Slots behind the last one that was ever used are not looked at. */
	if (at < end && max)
		at = all;
	err |= json_object_set_new(call->reply, "next", at < all ? json_integer(at) : json_null());
	err |= json_object_set_new(call->reply, "count", json_integer(flow_count(e->flows)));
	return err ? ctl_fail(call, "too-big", "The reply needs too much memory") : CTL_REPLY;
}

/* --- counters --- */

static int put(json_t *j, const char *name, uint64_t val)
{
	return json_object_set_new(j, name, json_integer((json_int_t)val));
}

static int splice_put(const struct engine *e, json_t *counters, json_t *gauges)
{
	const struct splice_stats *s = pasta_fwd_splice_stats(e->fwd);
	const struct udp_splice_stats *u = pasta_fwd_udp_stats(e->fwd);
	int err = put(gauges, "splices", s->now) | put(gauges, "udp_splice_peers", u->now);

	err |= put(counters, "splices_opened", s->opened) | put(counters, "splices_refused", s->refused);
	err |= put(counters, "splices_closed", s->closed) | put(counters, "splices_reset", s->reset);
	err |= put(counters, "splice_bytes_from_client", s->bytes[0]) | put(counters, "splice_bytes_to_client", s->bytes[1]);
	err |= put(counters, "udp_splice_out", u->out) | put(counters, "udp_splice_back", u->back);
	return err | put(counters, "udp_splice_lost", u->lost);
}

enum ctl_result control_counters(struct engine *e, struct ctl_call *call)
{
	json_t *counters = json_object(), *gauges = json_object();
	int err;

	err = json_object_set_new(call->reply, "counters", counters);
	err |= json_object_set_new(call->reply, "gauges", gauges);
	if (err)
		return ctl_fail(call, "too-big", "The reply needs too much memory");
	err = put(counters, "loop_turns", e->loop.turns);
	if (e->tcp) {
		const struct tcp_stats *t = tcp_stats(e->tcp);

		err |= put(counters, "tcp_guest_rexmit", t->rexmit) | put(counters, "tcp_guest_rto", t->rto);
		err |= put(counters, "tcp_spilled", t->spilled) | put(counters, "tcp_ahead", t->ooo);
	}
	if (e->fwd)
		err |= splice_put(e, counters, gauges);
	err |= put(gauges, "flows", flow_count(e->flows)) | put(gauges, "flows_max", flow_max(e->flows));
	err |= put(gauges, "listeners", (uint64_t)listeners_held(&e->listeners) + listeners_held(&e->ns_listeners));
	return err ? ctl_fail(call, "too-big", "The reply needs too much memory") : CTL_REPLY;
}
