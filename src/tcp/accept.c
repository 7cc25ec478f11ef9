/* SPDX-License-Identifier: MIT */
/* Connections that come from the host: a listening socket of a forwarding rule, a SYN to the guest. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fwd/inbound.h"
#include "os/sock.h"
#include "tcp/conn.h"
#include "wire/ip.h"

/* Who is who, as the guest will see it. */
static int accept_key(const struct tcp *t, const struct listener *ls, const struct ep *peer, struct flow_key *ret_key)
{
	struct inbound in = {
		.guest = t->d.guest,
		.nat = t->d.nat,
		.flows = t->d.flows,
		.rule = &t->ls->table->rule[ls->rule],
		.proto = PROTO_TCP,
		.to = ls->to,
		.peer = peer,
	};
	struct flow *none;

	return inbound_find(&in, ret_key, &none);
}

static int accept_conn(struct tcp *t, const struct listener *ls, int fd, const struct ep *peer)
{
	struct flow_key key = { 0 };
	bool peek_off = false;
	struct tcp_conn *k;
	int err = accept_key(t, ls, peer, &key);

	if (!err)
		err = conn_sock_setup(t, fd, !ls->v6, &peek_off);
	if (err)
		return err;
	k = conn_new(t, &key, fd);
	if (!k)
		return -ENOSPC;
	k->peek_off = peek_off;
	k->host_first = true;
	k->tos = carry_tos_accepted(fd, addr_is4(&peer->addr));
	tcp_snd_init(&k->snd, conn_isn(t, &key), conn_mss_local(t, addr_is4(&key.guest)));
	conn_set(k, CONN_SYN_SENT);
	(void)seg_send_ctl(k, TCP_SYN, k->snd.iss); /* no guest yet, or no room: the timer sends it again */
	tcp_snd_on_sent(&k->snd, 1, t->d.loop->now_ns);
	conn_timer_update(k, true);
	if (conn_watch(k))
		conn_reset(k);
	return 0;
}

/* True if the connection has gone another way, however that ended. */
static bool accept_handed(struct tcp *t, const struct listener *ls, int fd, const struct ep *peer)
{
	struct flow_key key = { 0 };
	struct hand_in in;
	int err;

	if (!t->hand || accept_key(t, ls, peer, &key) || !hand_takes(t->hand, tcp_syn_stays_between(&key.guest, &key.remote)))
		return false;
	in = (struct hand_in){ .as = { .addr = key.remote, .port = key.rport },
			       .to = { .addr = key.guest, .port = key.gport },
			       .tos = carry_tos_accepted(fd, addr_is4(&peer->addr)) };
	err = t->hand->c.inwards(t->hand->c.ctx, fd, &in);
	t->hand->stats.end[err ? HAND_NO_SOCKET : HAND_IN]++;
	if (err)
		log_limited(LOG_LVL_WARN, "TCP: can't hand over a connection to port %u: %s", ls->port, strerror(-err));
	return true;
}

void tcp_accepted(struct tcp *t, const struct listener *ls, int fd, const struct ep *peer)
{
	int err = accept_handed(t, ls, fd, peer) ? 0 : accept_conn(t, ls, fd, peer);

	if (!err)
		return;
	log_limited(LOG_LVL_WARN, "TCP: can't pass on a connection to port %u: %s", ls->port, strerror(-err));
	sock_abort(fd);
}

static int on_conn(void *ctx, const struct listener *ls, int fd, const struct ep *peer)
{
	tcp_accepted(ctx, ls, fd, peer);
	return 0;
}

void tcp_on_listen(void *ctx, struct ref ref, uint32_t events)
{
	struct tcp *t = ctx;

	(void)events;
	if (t->ls)
		listener_accept(t->ls, ref.index, on_conn, t);
}
